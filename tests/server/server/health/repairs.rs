//! Broken values are found and mended, automatically or by `LTMC.REPAIR`.

use super::{check, digest, has_reason, health, number, of_service, quiet, state, wait_round, CASES};
use crate::harness::{wait_until, Server};

#[test]
fn a_broken_index_of_each_type_is_mended_by_itself() {
    let server = quiet();
    for (at, case) in CASES.iter().enumerate() {
        case.set_up(&server);
        let (before, saved) = (case.probe(&server), digest(&server, case.key));
        case.break_it(&server);
        assert!(!case.shows || case.probe(&server) != before, "{}: it works though it is broken", case.key);
        assert_eq!(number(&server, "repairs"), at as i64, "nothing is checked yet");
        check(&server, 1000);
        wait_until("it is repaired", || number(&server, "repairs") == at as i64 + 1);
        check(&server, 0);
        assert_eq!(case.probe(&server), before, "{}", case.key);
        assert_eq!(digest(&server, case.key), saved, "{}", case.key);
        assert_eq!(of_service(&server, case.service, "repairs").int(), 1, "{}", case.key);
        assert_eq!(state(&server, case.service), "degraded");
        let told = format!("the {} '{}' in database 0 was broken: ", case.type_name, case.key);
        assert_eq!(server.log().matches(&told).count(), 1, "{told}: {}", server.log());
    }
    assert!(has_reason(&server, "repair") && health(&server).get("status").text() == "degraded");
    assert_eq!(server.info_int("ltmc", "ltmc_repairs"), CASES.len() as i64);
    assert_eq!(server.info_int("ltmc", "ltmc_flow_repairs"), 1);
    assert_eq!((number(&server, "panics"), number(&server, "quarantined_keys")), (0, 0));
}

#[test]
fn a_broken_index_of_each_type_is_mended_by_repair() {
    let server = quiet();
    for case in CASES {
        case.set_up(&server);
        let (before, saved) = (case.probe(&server), digest(&server, case.key));
        case.break_it(&server);
        for was_broken in [1, 0] {
            let repaired = server.run(&format!("LTMC.REPAIR {}", case.key));
            assert_eq!((repaired.get("type").text(), repaired.get("was_broken").int()), (case.type_name, was_broken));
        }
        assert_eq!(case.probe(&server), before, "{}", case.key);
        assert_eq!(digest(&server, case.key), saved, "{}", case.key);
        assert_eq!(of_service(&server, case.service, "repairs").int(), 1);
    }
}

#[test]
fn each_part_of_each_type_is_mended() {
    let server = quiet();
    check(&server, 10_000);
    for case in CASES {
        case.set_up(&server);
        let reply = server.run(&format!("LTMC.DEBUG BREAK {} nonsense", case.key));
        let parts = reply.error().rsplit("one of ").next().expect("the parts").to_string();
        for part in parts.split(", ") {
            let before = number(&server, "repairs");
            server.run(&format!("LTMC.DEBUG BREAK {} {part}", case.key)).ok();
            // A small value does not have all parts that can be broken. Then there is nothing to
            // mend.
            let repaired = server.run(&format!("LTMC.REPAIR {}", case.key));
            assert!(!repaired.is_error(), "{} {part}: {repaired:?}", case.key);
            assert!(number(&server, "repairs") >= before);
            assert!(!server.run(case.probe.0).is_error(), "{} {part}", case.key);
        }
    }
    assert_eq!((number(&server, "panics"), number(&server, "quarantined_keys")), (0, 0));
}

#[test]
fn a_lock_that_is_mended_passes_on_as_before() {
    let server = quiet();
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k b BLOCK 0".into());
    server.run("LTMC.DEBUG BREAK k stamps").ok();
    check(&server, 1000);
    wait_until("it is repaired", || number(&server, "repairs") == 1);
    assert_eq!(of_service(&server, "lock", "waiting_clients").int(), 1, "nobody was served by that");
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert!(waiter.recv().int() > 0);
}

#[test]
fn keys_of_all_databases_are_checked_and_others_are_passed_by() {
    let server = quiet();
    let mut client = server.client();
    let strangers: Vec<String> = (0..2_000).map(|n| format!("SET other-{n} x")).collect();
    client.pipeline(&strangers);
    for db in [3, 15] {
        client.run(&format!("SELECT {db}")).ok();
        client.run("LTMC.LOCK k a PX 600000").int();
        client.run("LTMC.DEBUG BREAK k stamps").ok();
    }
    check(&server, 10);
    wait_until("both are repaired", || number(&server, "repairs") == 2);
    for db in [3, 15] {
        server.wait_log(&format!("the ltmc-lock 'k' in database {db} was broken"));
    }
    wait_round(&server);
    assert_eq!(number(&server, "repairs"), 2);
    assert!(!health(&server).get("check_round_ms").is_nil());
}

#[test]
fn what_takes_too_long_to_check_at_once_is_checked_in_parts() {
    let server = quiet();
    server.run("CONFIG SET ltmc.check-elements-max 10").ok();
    for n in 0..50 {
        server.run(&format!("LTMC.LOCK large o{n} SHARED PX {}", 600_000 - n)).int();
    }
    server.run("LTMC.LOCK small a PX 600000").int();
    check(&server, 1000);
    wait_until("a round looked at a part of it", || number(&server, "check_in_parts") == 1);
    // The lease of the last one ends first: it is found in the fifth part.
    server.run("LTMC.DEBUG BREAK large ends").ok();
    wait_until("it is repaired", || number(&server, "repairs") == 1);
    server.wait_log("the ltmc-lock 'large' in database 0 was broken");
    // A sum over all elements is only checked when all of them are looked at.
    server.run("LTMC.DEBUG BREAK large stamps").ok();
    let checked = number(&server, "checked");
    wait_until("all parts were looked at", || number(&server, "checked") > checked + 20);
    assert_eq!((number(&server, "repairs"), number(&server, "check_skipped")), (1, 0));
    assert_eq!(server.run("LTMC.REPAIR large").get("was_broken").int(), 1);
    server.run("LTMC.DEBUG BREAK large stamps").ok();
    server.run("CONFIG SET ltmc.check-elements-max 10000").ok();
    wait_until("it is repaired", || number(&server, "repairs") == 3);
    wait_until("it is looked at whole", || number(&server, "check_in_parts") == 0);
}

#[test]
fn what_takes_too_long_to_check_and_has_no_parts_is_left_to_repair() {
    let server = quiet();
    server.run("CONFIG SET ltmc.check-elements-max 10").ok();
    for n in 0..20 {
        server.run(&format!("LTMC.SESSION.SET large f{n} v")).int();
    }
    server.run("LTMC.LOCK small a PX 600000").int();
    check(&server, 1000);
    wait_until("a round left it out", || number(&server, "check_skipped") == 1);
    server.run("CONFIG SET ltmc.check-elements-max 10000").ok();
    wait_until("nothing is left out", || number(&server, "check_skipped") == 0);
    assert_eq!((number(&server, "repairs"), number(&server, "check_in_parts")), (0, 0));
}

#[test]
fn what_stays_broken_is_told_of_once_and_in_quarantine_until_it_goes() {
    let server = quiet();
    server.run("LTMC.LOCK k a PX 600000").int();
    server.run("LTMC.LOCK well a PX 600000").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k b BLOCK 0".into());
    server.run("LTMC.DEBUG BREAK k *").ok();
    check(&server, 1000);
    wait_until("it is in quarantine", || number(&server, "quarantined_keys") == 1);
    assert_eq!(waiter.recv().error_code(), "QUARANTINED");
    let refused = server.run("LTMC.LOCK.INFO k");
    assert_eq!(refused.error_code(), "QUARANTINED");
    assert!(refused.error().contains("a grant is out of bounds"), "{refused:?}");
    assert_eq!(of_service(&server, "lock", "quarantined_keys").int(), 1);
    assert!(has_reason(&server, "quarantine") && state(&server, "lock") == "degraded");
    wait_round(&server);
    let told = "the ltmc-lock 'k' in database 0 is broken beyond its derived indexes";
    assert_eq!(server.log().matches(told).count(), 1, "{}", server.log());
    let refused = server.run("LTMC.REPAIR k");
    assert!(refused.error().contains("broken beyond"), "{refused:?}");
    assert_eq!(number(&server, "quarantined_keys"), 1);
    assert_eq!(server.run("DEL k").int(), 1);
    assert!(server.run("LTMC.LOCK k a").int() > 0);
    assert_eq!((number(&server, "quarantined_keys"), number(&server, "repairs")), (0, 0));
    assert_eq!((health(&server).get("status").text(), state(&server, "lock").as_str()), ("ok", "ok"));
}

#[test]
fn a_check_that_panics_is_contained_and_counts_for_its_key() {
    let server = quiet();
    server.run("LTMC.LOCK k a PX 600000").int();
    server.run("LTMC.DEBUG CHECK 3").ok();
    check(&server, 1000);
    wait_until("the key is in quarantine", || number(&server, "quarantined_keys") == 1);
    assert_eq!((number(&server, "panics"), of_service(&server, "lock", "panics").int()), (3, 3));
    server.wait_log("internal error in the check of a key, contained");
    assert_eq!(server.run("LTMC.LOCK k b").error_code(), "QUARANTINED");
    assert_eq!(server.run("LTMC.REPAIR k").get("was_broken").int(), 0);
    assert!(server.run("LTMC.LOCK k b").is_nil());
    wait_round(&server);
    assert_eq!(number(&server, "panics"), 3);
}

#[test]
fn the_check_is_no_use_of_a_key() {
    let server = Server::builder().arg("maxmemory-policy", "allkeys-lru").arg("ltmc.check-rate", 1000).start();
    server.run("LTMC.LOCK k a PX 600000").int();
    server.run("LTMC.LOCK gone a PX 1").int();
    wait_until("nobody has used it for a second", || server.run("OBJECT IDLETIME k").int() >= 1);
    let before = number(&server, "checked");
    wait_until("it was checked meanwhile", || number(&server, "checked") > before);
    assert!(server.run("OBJECT IDLETIME k").int() >= 1);
}
