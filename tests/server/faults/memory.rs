//! When the server's memory runs short: what can be recomputed goes first, growth is refused, and
//! everything else continues.

use crate::harness::*;

/// Sets `maxmemory` so that this many percent of it are in use.
#[track_caller]
fn fill_to(server: &Server, percent: i64) -> i64 {
    let limit = server.info_int("memory", "used_memory") * 100 / percent;
    server.run(&format!("CONFIG SET maxmemory {limit}")).ok();
    limit
}

#[track_caller]
fn percent_of(server: &Server, limit: i64) -> i64 {
    server.info_int("memory", "used_memory") * 100 / limit
}

#[test]
fn caches_give_way_before_a_write_is_refused() {
    let server = Server::start();
    let value = "v".repeat(50_000);
    let mut client = server.client();
    for n in 0..600 {
        client.cmd(&["LTMC.CACHE.PUT", &format!("cache{}", n % 3), "tool", &n.to_string(), &value]).ok();
    }
    // What is costly to compute stays longest.
    client.cmd(&["LTMC.CACHE.PUT", "cache0", "dear", "{}", &value, "COST", "1000000"]).ok();
    let entries = |key: &str| server.run(&format!("LTMC.CACHE.STATS {key}")).get("entries").int();
    assert_eq!(["cache0", "cache1", "cache2"].map(entries), [201, 200, 200]);
    let limit = fill_to(&server, 95);
    wait_until("there is room again", || percent_of(&server, limit) < 90);
    let left: i64 = ["cache0", "cache1", "cache2"].map(entries).iter().sum();
    assert!(left < 601 && left > 100, "no more goes than has to: {left}");
    assert_eq!(server.run("LTMC.CACHE.GET cache0 dear {}").get("status").text(), "HIT");
    assert_eq!(server.info_int("stats", "evicted_keys"), 0);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    // It continues with new answers.
    for n in 1000..2000 {
        client.cmd(&["LTMC.CACHE.PUT", "cache0", "tool", &n.to_string(), &value]).ok();
    }
    assert!(percent_of(&server, limit) < 100);
}

/// Fills a server to 89 percent, then writes a fifth of its maximum in other keys, as fast as one
/// client can.
#[track_caller]
fn burst(server: &Server) {
    let mut client = server.client();
    let limit = fill_to(server, 89);
    let value = "x".repeat(10_000);
    for n in 0..limit / 5 / 10_000 {
        client.cmd(&["SET", &format!("other{n}"), &value]).ok();
    }
    assert!(percent_of(server, limit) < 100);
}

#[test]
fn a_burst_of_other_writes_is_not_refused_as_long_as_a_cache_has_something_to_give() {
    let server = Server::start();
    let value = "v".repeat(50_000);
    for n in 0..600 {
        server.cmd(&["LTMC.CACHE.PUT", "k", "tool", &n.to_string(), &value]).ok();
    }
    burst(&server);
    let left = server.run("LTMC.CACHE.STATS k").get("entries").int();
    assert!((100..600).contains(&left), "{left}");
}

#[test]
fn a_burst_of_other_writes_is_not_refused_as_long_as_a_buffer_has_something_to_give() {
    let server = Server::start();
    server.run("LTMC.CHUNK.BUFFER b MAXBYTES 500000000 MINBYTES 0").ok();
    for n in 0..600 {
        // All of them differ.
        let value = format!("{n:0>50000}");
        assert!(!server.cmd(&["LTMC.CHUNK.PUT", "b", &n.to_string(), &value]).is_error());
    }
    burst(&server);
    let left = server.run("LTMC.CHUNK.STATS b").get("chunks").int();
    assert!((100..600).contains(&left), "{left}");
}

#[test]
fn caches_that_came_from_an_aof_or_a_primary_give_way_too() {
    for way in ["restart", "failover"] {
        let mut server = Server::builder().durable().start();
        let replica = server.replica();
        let value = "v".repeat(50_000);
        for n in 0..300 {
            server.cmd(&["LTMC.CACHE.PUT", "cache", "tool", &n.to_string(), &value]).ok();
        }
        replica.wait_synced(&server);
        let server = if way == "restart" {
            server.crash_and_restart();
            server
        } else {
            replica.promote();
            replica
        };
        let entries = || server.run("LTMC.CACHE.STATS cache").get("entries").int();
        assert_eq!(entries(), 300);
        fill_to(&server, 98);
        wait_until("it gives way", || entries() < 300);
    }
}

#[test]
fn caches_that_are_gone_are_forgotten() {
    let server = Server::start();
    for line in ["DEL k", "LTMC.CACHE.INVALIDATE k ALL", "PEXPIRE k 1"] {
        server.run("LTMC.CACHE.PUT k tool {} value").ok();
        assert!(!server.run(line).is_error(), "{line}");
        wait_until("it is gone", || server.run("EXISTS k").int() == 0);
        // Nothing is asked to give up memory any more.
        wait_until("nobody is asked any more", || {
            let before = server.info_int("ltmc", "ltmc_sweeps");
            std::thread::sleep(std::time::Duration::from_millis(1100));
            server.info_int("ltmc", "ltmc_sweeps") == before
        });
    }
}

#[test]
fn a_cache_that_has_given_all_it_had_leaves_the_server_in_peace() {
    let server = Server::start();
    server.run("LTMC.CACHE.PUT k tool {} value").ok();
    let value = "x".repeat(100_000);
    for n in 0..300 {
        server.cmd(&["SET", &format!("other{n}"), &value]).ok();
    }
    fill_to(&server, 99);
    wait_until("nothing is left of it", || server.run("EXISTS k").int() == 0);
    let before = server.info_int("ltmc", "ltmc_sweeps");
    server.run("LTMC.LOCK l ada PX 600000");
    assert!(server.info_int("ltmc", "ltmc_sweeps") - before < 100);
}

/// What is there before memory runs short.
const BEFORE: &[&str] = &[
    "LTMC.REGISTER r ada PX 600000 CAPACITY 5",
    "LTMC.REGISTER r bob PX 600000",
    "LTMC.LOCK held ada PX 600000 REGISTRY r",
    "LTMC.LOCK mine bob PX 600000",
    "LTMC.TASK.ADD f a p",
    "LTMC.TASK.ADD f b p",
    "LTMC.MSG.SEND m boss TO 1 ada one",
    "LTMC.MSG.RECV m ada PX 600000",
    "LTMC.MSG.JOIN m ada",
    "LTMC.CHUNK.PUT b c data PIN ada 600000",
    "LTMC.CHUNK.RETAIN b c bob",
    "LTMC.CTX.CREATE c OWNER ada DOC {}",
    "LTMC.SESSION.CREATE s PARTICIPANTS 1 ada",
    "LTMC.SESSION.SET s field value",
];

/// Commands that store more than was there.
const GROWTH: &[&str] = &[
    "LTMC.REGISTER r eve",
    "LTMC.LOCK new ada",
    "LTMC.MLOCK ada 1 new",
    "LTMC.TASK.ADD f c p",
    "LTMC.FLOW.CREATE g",
    "LTMC.MSG.SEND m boss TO 1 ada two",
    "LTMC.MSG.JOIN m eve",
    "LTMC.CHUNK.PUT b d data",
    "LTMC.CHUNK.ALLOC b SIZE 10",
    "LTMC.CTX.CREATE d",
    "LTMC.CTX.UPDATE c ada MERGE {}",
    "LTMC.CTX.JOIN c eve",
    "LTMC.SESSION.CREATE t",
    "LTMC.SESSION.SET s other value",
    "LTMC.SESSION.CHECKPOINT s",
    "LTMC.CACHE.PUT k tool {} value",
];

#[test]
fn growth_is_refused_and_everything_else_goes_on() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "full").start();
    for line in BEFORE {
        assert!(!server.run(line).is_error(), "{line}");
    }
    let fence = |reply: Reply| reply.array()[0].get("fence").int();
    let (one, two) =
        (fence(server.run("LTMC.TASK.CLAIM f w PX 600000")), fence(server.run("LTMC.TASK.CLAIM f w PX 600000")));
    let claim = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    let mine = server.run("LTMC.LOCK.INFO mine").get("holders").array()[0].get("fence").int();
    let ticket = server.run("LTMC.CACHE.GET k tool {} LEASE 600000").get("ticket").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK held eve PX 600000 BLOCK 0".into());
    server.run("CONFIG SET maxmemory 1").ok();
    for line in GROWTH {
        assert_eq!(server.run(line).error_code(), "OOM", "{line}");
    }
    for line in [
        "LTMC.HEARTBEAT r ada LOAD 0.5".into(),
        "LTMC.AGENT.GET r ada".into(),
        "LTMC.AGENT.FIND r".into(),
        format!("LTMC.AGENT.RELEASE r {claim}"),
        format!("LTMC.LOCK.RENEW mine bob TOKEN {mine} PX 600000"),
        "LTMC.LOCK.INFO held".into(),
        "LTMC.UNLOCK mine bob".into(),
        format!("LTMC.TASK.HEARTBEAT f a {one} PROGRESS 50"),
        format!("LTMC.TASK.COMPLETE f a {one} done"),
        format!("LTMC.TASK.FAIL f b {two} broken"),
        "LTMC.TASK.GET f a".into(),
        "LTMC.MSG.PENDING m ada".into(),
        "LTMC.MSG.LEAVE m ada".into(),
        "LTMC.CHUNK.READ b c".into(),
        "LTMC.CHUNK.UNPIN b c ada".into(),
        "LTMC.CHUNK.RELEASE b c bob".into(),
        "LTMC.CHUNK.FREE b c".into(),
        "LTMC.CTX.GET c".into(),
        "LTMC.CTX.LEAVE c ada".into(),
        "LTMC.SESSION.GET s field".into(),
        "LTMC.SESSION.LEAVE s ada".into(),
        "LTMC.SESSION.DEL s field".into(),
        "LTMC.SESSION.END s".into(),
        format!("LTMC.CACHE.FAIL k tool {{}} {ticket}"),
        "LTMC.CACHE.INVALIDATE k ALL".into(),
        "LTMC.STATUS".into(),
        "LTMC.DEREGISTER r ada".into(),
    ] {
        let reply = server.run(&line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    assert!(waiter.recv().int() > 0, "what a dead agent held is passed on");
    server.run("CONFIG SET maxmemory 0").ok();
    assert!(server.run("LTMC.LOCK new ada").int() > 0);
}

#[test]
fn overload_shows_as_lag_and_not_as_a_stalled_server() {
    let server = Server::builder().arg("ltmc.sweep-batch-max", 10).arg("ltmc.registry-agents-max", 20_000).start();
    let mut client = server.client();
    let lines: Vec<String> = (0..20_000).map(|n| format!("LTMC.REGISTER r a{n} PX 60000")).collect();
    for part in lines.chunks(1000) {
        assert!(client.pipeline(part).iter().all(|reply| reply.int() > 0));
    }
    server.run("LTMC.DEBUG CLOCK 61000").ok();
    // Commands run between the rounds, and what is left can be seen.
    let mut lagged = 0;
    wait_until("all are suspect", || {
        lagged = lagged.max(server.info_int("ltmc", "ltmc_sweep_lag_ms"));
        server.run("LTMC.AGENT.STATS r").get("suspect").int() == 20_000
    });
    assert!(lagged > 0);
    wait_until("it has caught up", || server.info_int("ltmc", "ltmc_sweep_lag_ms") == 0);
}
