//! `LTMC.HEALTH` itself: each word, each reason, each number, everywhere.

use super::{has_reason, health, number, of_service, quiet, state};
use crate::harness::{Reply, Server};

const SERVICES: [&str; 9] = ["registry", "context", "lock", "session", "cache", "buffer", "watch", "mail", "flow"];

fn status(server: &Server) -> String {
    health(server).get("status").text().to_string()
}

fn set_clock(server: &Server, ms: i64) {
    server.run(&format!("LTMC.DEBUG CLOCK {ms}")).ok();
}

fn panic_on(server: &Server, key: &str, times: usize) {
    for _ in 0..times {
        assert!(server.run(&format!("LTMC.DEBUG PANIC {key}")).error().contains("internal error"));
    }
}

#[test]
fn a_node_that_is_well_says_so() {
    let server = Server::start();
    let shown = health(&server);
    assert_eq!((shown.get("status").text(), shown.get("reasons").array().len()), ("ok", 0));
    let numbers =
        ["sweep_lag_ms", "quarantined_keys", "panics", "repairs", "checked", "check_in_parts", "check_skipped"];
    numbers.into_iter().for_each(|field| assert_eq!(shown.get(field).int(), 0, "{field}"));
    assert!(shown.get("event_loop_delay_us").int() <= shown.get("event_loop_delay_max_us").int());
    assert!(shown.get("memory_permille").is_nil() && shown.get("check_round_ms").is_nil());
    let services: Vec<_> = shown.get("services").pairs().into_iter().map(|(name, _)| name.text()).collect();
    assert_eq!(services, SERVICES);
    for service in SERVICES {
        assert_eq!(state(&server, service), "ok");
        for field in ["panics", "repairs", "quarantined_keys", "waiting_clients", "oldest_waiter_ms", "rejected"] {
            assert_eq!(of_service(&server, service, field).int(), 0, "{service} {field}");
        }
    }
    assert_eq!(server.info("ltmc")["ltmc_health"], "ok");
}

#[test]
fn a_panic_is_news_for_five_minutes() {
    let server = quiet();
    server.run("LTMC.REGISTER r a PX 3600000").int();
    panic_on(&server, "r", 1);
    assert_eq!((status(&server).as_str(), state(&server, "registry").as_str()), ("degraded", "degraded"));
    assert!(has_reason(&server, "panic") && !has_reason(&server, "quarantine"));
    assert_eq!(of_service(&server, "registry", "panics").int(), 1);
    assert_eq!((state(&server, "lock").as_str(), number(&server, "panics")), ("ok", 1));
    assert_eq!(server.info("ltmc")["ltmc_registry_state"], "degraded");
    set_clock(&server, 290_000);
    assert!(has_reason(&server, "panic"));
    set_clock(&server, 300_001);
    assert!(!has_reason(&server, "panic") && state(&server, "registry") == "ok");
    assert_eq!(number(&server, "panics"), 1, "it is still counted");
}

#[test]
fn keys_in_quarantine_show_until_they_are_repaired_and_three_are_a_failure() {
    let server = quiet();
    for key in ["k1", "k2", "k3"] {
        server.run(&format!("LTMC.LOCK {key} a PX 3600000")).int();
        assert_ne!(status(&server), "failed");
        panic_on(&server, key, 3);
    }
    assert_eq!((status(&server).as_str(), number(&server, "quarantined_keys")), ("failed", 3));
    assert_eq!(of_service(&server, "lock", "quarantined_keys").int(), 3);
    assert_eq!(server.info("ltmc")["ltmc_health"], "failed");
    assert_eq!(server.info_int("ltmc", "ltmc_lock_quarantined_keys"), 3);
    set_clock(&server, 300_001);
    for left in [2, 1, 0] {
        let expected = if left == 2 { "failed" } else { "degraded" };
        assert_eq!(status(&server), expected);
        server.run(&format!("LTMC.REPAIR k{}", left + 1)).get("type").text();
        assert_eq!(number(&server, "quarantined_keys"), left);
    }
    assert!(!has_reason(&server, "quarantine") && state(&server, "lock") == "ok");
}

#[test]
fn who_waits_shows_by_service_and_for_how_long() {
    let server = quiet();
    server.run("LTMC.LOCK k a PX 3600000").int();
    server.run("LTMC.REGISTER r a PX 3600000").int();
    let (mut locks, mut claims) = (server.clients(2), server.clients(1));
    server.block_in_turn(&mut locks, |n| format!("LTMC.LOCK k w{n} BLOCK 0"));
    set_clock(&server, 5_000);
    server.block_in_turn(&mut claims, |_| "LTMC.AGENT.CLAIM r CAPS 1 gpu PX 5 BLOCK 0".into());
    set_clock(&server, 7_000);
    let shown = |service: &str, field: &str| of_service(&server, service, field).int();
    assert_eq!((shown("lock", "waiting_clients"), shown("registry", "waiting_clients")), (2, 1));
    assert!((7_000..60_000).contains(&shown("lock", "oldest_waiter_ms")));
    assert!((2_000..7_000).contains(&shown("registry", "oldest_waiter_ms")));
    assert_eq!(server.info_int("ltmc", "ltmc_lock_waiting_clients"), 2);
    assert!(server.info_int("ltmc", "ltmc_lock_oldest_waiter_ms") >= 7_000);
    locks.remove(0).close();
    server.wait_blocked(2);
    assert_eq!(shown("lock", "waiting_clients"), 1);
    server.run("LTMC.UNLOCK k a").int();
    assert!(locks[0].recv().int() > 0);
    assert_eq!((shown("lock", "waiting_clients"), shown("lock", "oldest_waiter_ms")), (0, 0));
}

#[test]
fn what_a_bound_refuses_is_counted() {
    let server = quiet();
    server.run("CONFIG SET ltmc.lock-holders-max 1").ok();
    server.run("LTMC.LOCK k a SHARED PX 600000").int();
    assert_eq!(server.run("LTMC.LOCK k b SHARED PX 600000").error_code(), "LIMIT");
    assert_eq!(server.run("LTMC.LOCK k b SHARED PX").error_code(), "ERR");
    assert_eq!(of_service(&server, "lock", "rejected").int(), 1);
    assert_eq!(of_service(&server, "lock", "errors").int(), 2);
    assert_eq!(server.info_int("ltmc", "ltmc_lock_rejected"), 1);
    assert_eq!((state(&server, "lock").as_str(), status(&server).as_str()), ("ok", "ok"));
}

#[test]
fn a_scheduler_that_is_behind_shows() {
    let server = quiet();
    server.run("LTMC.LOCK k a PX 10000").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k b BLOCK 0".into());
    let mut client = server.client();
    // The scheduler has no turn within a transaction.
    for (ms, word) in [(15_000, "degraded"), (90_000, "failed")] {
        let lines = ["MULTI", &format!("LTMC.DEBUG CLOCK {ms}"), "LTMC.HEALTH", "LTMC.DEBUG CLOCK 0", "EXEC"];
        let replies = client.pipeline(&lines);
        let shown = &replies[4].array()[1];
        assert!(shown.get("sweep_lag_ms").int() > ms - 10_000 - 1_000, "{shown:?}");
        assert_eq!((shown.get("status").text(), shown.get("reasons").texts().join(" ")), (word, "sweep-lag".into()));
    }
    set_clock(&server, 15_000);
    assert!(waiter.recv().int() > 0);
    assert_eq!((number(&server, "sweep_lag_ms"), status(&server).as_str()), (0, "ok"));
}

#[test]
fn a_tick_that_takes_long_shows() {
    let server = quiet();
    server.run("DEBUG SLEEP 1.1").ok();
    assert!(has_reason(&server, "event-loop-delay"), "{:?}", health(&server));
    assert!(number(&server, "event_loop_delay_max_us") >= 1_100_000);
    assert!(server.info_int("ltmc", "ltmc_event_loop_delay_max_us") >= 1_100_000);
    assert_eq!(state(&server, "lock"), "ok");
}

#[test]
fn memory_that_is_nearly_used_up_shows() {
    let server = quiet();
    let used = server.info_int("memory", "used_memory");
    server.run(&format!("CONFIG SET maxmemory {}", used * 4)).ok();
    assert!((1..=950).contains(&number(&server, "memory_permille")));
    assert!(!has_reason(&server, "memory"));
    server.run(&format!("CONFIG SET maxmemory {}", used / 4)).ok();
    assert!(number(&server, "memory_permille") > 950);
    assert!(has_reason(&server, "memory") && status(&server) == "degraded");
    assert!(server.info_int("ltmc", "ltmc_memory_permille") > 950);
}

#[test]
fn a_service_that_is_off_shows_as_off() {
    let server = quiet();
    server.run("CONFIG SET ltmc.tool-cache-enabled no").ok();
    assert_eq!((state(&server, "cache").as_str(), state(&server, "lock").as_str()), ("disabled", "ok"));
    assert_eq!(status(&server), "ok");
    server.run("CONFIG SET ltmc.tool-cache-enabled yes").ok();
    assert_eq!(state(&server, "cache"), "ok");
}

#[test]
fn health_can_be_asked_everywhere() {
    let server = quiet();
    let fields = health(&server).pairs().len();
    let mut client = server.client();
    let replies = client.pipeline(&["MULTI", "LTMC.HEALTH", "EXEC"]);
    assert_eq!(replies[2].array()[0].get("status").text(), "ok");
    let in_script = client.cmd(&["EVAL", "return redis.call('LTMC.HEALTH')[2]", "0"]);
    assert_eq!(in_script.text(), "ok");
    client.resp3();
    assert!(matches!(client.run("LTMC.HEALTH"), Reply::Map(pairs) if pairs.len() == fields));
    assert_eq!(server.run("LTMC.HEALTH now").error_code(), "ERR");
    let mut reader = server.user("reader", "-@all +@read ~none");
    assert_eq!(reader.run("LTMC.HEALTH").is_error(), server.version() < (7, 2, 0), "+@read where categories are known");
    let mut named = server.user("named", "-@all +ltmc.health");
    assert_eq!(named.run("LTMC.HEALTH").get("status").text(), "ok");
    let replica = server.replica();
    assert_eq!(health(&replica).get("status").text(), "ok");
    server.run("CLIENT PAUSE 100 WRITE").ok();
    assert_eq!(status(&server), "ok");
}
