//! Changes that come for a broken value from a primary or an AOF.

use super::*;
use crate::faults::payloads::payload_from;

#[test]
fn changes_for_a_broken_value_are_dropped_counted_and_told_of_once() {
    let source = plain().start();
    tell(&source);
    let whole = dump(&source, "k");
    let whole = &whole[frames(&whole)[0].clone()];
    let mut forged = whole.to_vec();
    assert_eq!(forge(&mut forged, break_undo), 1);
    let change = payload_from(&source, "LTMC.CTX.UPDATE k a SET /x 1");
    let mut server = plain().durable().start();
    server.run("SET other x").ok();
    server.kill();
    let apply = |payload| vec![b"LTMC.APPLY".as_slice(), b"k", payload];
    append(&server, &[apply(&forged), apply(&change), apply(&change)]);
    server.start_again();
    assert_broken(&server, "k");
    let health = server.run("LTMC.HEALTH");
    assert_eq!((health.get("dropped_changes").int(), quarantined(&server)), (2, (1, 1)));
    assert_eq!(server.info_int("ltmc", "ltmc_dropped_changes"), 2);
    assert_eq!(server.log().matches("the changes that come for it are dropped").count(), 1, "{}", server.log());
    let refused = server.cmd(&apply(&change));
    assert_eq!(refused.error_code(), "QUARANTINED", "a client is told: {refused:?}");
    // A whole value replaces it, from a client or from the file.
    server.cmd(&apply(whole)).ok();
    assert_eq!((server.run("LTMC.CTX.GET k").get("version").int(), quarantined(&server)), (2, (0, 0)));
    server.crash_and_restart();
    assert_eq!((server.run("LTMC.CTX.GET k").get("version").int(), quarantined(&server)), (2, (0, 0)));
    assert!(server.run("LTMC.CTX.ROLLBACK k 1").int() > 0);
}

#[test]
fn a_broken_copy_drops_what_its_primary_sends_until_that_sends_a_whole_value() {
    let primary = plain().start();
    primary.run("LTMC.LOCK k a SHARED PX 600000").int();
    let replica = primary.replica();
    replica.run("CONFIG SET replica-read-only no").ok();
    replica.run("LTMC.DEBUG BREAK k *").ok();
    replica.run("CONFIG SET ltmc.check-rate 1000").ok();
    wait_until("it is in quarantine", || quarantined(&replica).0 == 1);
    primary.run("LTMC.LOCK k b SHARED PX 600000").int();
    replica.wait_synced(&primary);
    assert_eq!(replica.run("LTMC.HEALTH").get("dropped_changes").int(), 1);
    primary.run("LTMC.REPAIR k").get("type").text();
    replica.wait_synced(&primary);
    assert_eq!((quarantined(&replica).0, digest(&replica, "k")), (0, digest(&primary, "k")));
}

/// Puts `key` of a replica into quarantine, since it is broken or only under suspicion.
fn put_aside(replica: &Server, key: &str, is_broken: bool) {
    replica.run("CONFIG SET replica-read-only no").ok();
    if is_broken {
        replica.run(&format!("LTMC.DEBUG BREAK {key} *")).ok();
        replica.run("CONFIG SET ltmc.check-rate 1000").ok();
        wait_until("it is in quarantine", || quarantined(replica).0 == 1);
        replica.run("CONFIG SET ltmc.check-rate 0").ok();
    } else {
        (0..3).for_each(|_| assert!(replica.run(&format!("LTMC.DEBUG PANIC {key}")).is_error()));
    }
    assert_eq!(quarantined(replica).0, 1);
}

#[test]
fn a_copy_under_suspicion_follows_its_primary_and_is_not_stale_when_it_is_cleared() {
    let primary = plain().start();
    tell(&primary);
    let replica = primary.replica();
    put_aside(&replica, "k", false);
    assert_eq!(primary.run("LTMC.CTX.UPDATE k a SET /x 1").int(), 3);
    replica.wait_synced(&primary);
    assert_eq!(replica.run("LTMC.CTX.GET k").error_code(), "QUARANTINED");
    assert_eq!((quarantined(&replica), digest(&replica, "k")), ((1, 1), digest(&primary, "k")));
    assert_eq!(replica.info_int("ltmc", "ltmc_dropped_changes"), 0);
    replica.run("REPLICAOF NO ONE").ok();
    assert_eq!(replica.run("LTMC.REPAIR k").get("type").text(), "ltmc-ctxt");
    assert_eq!((replica.run("LTMC.CTX.GET k").get("version").int(), quarantined(&replica)), (3, (0, 0)));
}

#[test]
fn what_is_in_quarantine_on_a_copy_ends_with_its_key_and_the_next_life_is_whole() {
    for is_broken in [true, false] {
        let primary = plain().start();
        primary.run("LTMC.LOCK k ada PX 600000").int();
        let replica = primary.replica();
        put_aside(&replica, "k", is_broken);
        assert_eq!(primary.run("LTMC.UNLOCK k ada").int(), 1);
        replica.wait_synced(&primary);
        assert_eq!((replica.run("EXISTS k").int(), quarantined(&replica).0), (0, 0), "{is_broken}");
        let fence = primary.run("LTMC.LOCK k bob PX 600000").int();
        replica.wait_synced(&primary);
        assert_eq!(digest(&replica, "k"), digest(&primary, "k"), "{is_broken}");
        replica.run("REPLICAOF NO ONE").ok();
        assert_eq!(replica.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1, "{is_broken}");
    }
}

#[test]
fn the_end_of_a_key_and_its_next_life_may_come_at_once() {
    let primary = plain().start();
    primary.run("LTMC.LOCK k ada PX 600000").int();
    let replica = primary.replica();
    put_aside(&replica, "k", true);
    let mut waiting = primary.client();
    waiting.send_line("LTMC.LOCK k bob PX 600000 BLOCK 0");
    primary.wait_blocked(1);
    for line in ["MULTI", "LTMC.UNLOCK k ada", "LTMC.LOCK k cy PX 600000", "LTMC.UNLOCK k cy", "EXEC"] {
        assert!(!primary.run(line).is_error());
    }
    assert!(waiting.recv().int() > 0);
    replica.wait_synced(&primary);
    assert_eq!((digest(&replica, "k"), quarantined(&replica).0), (digest(&primary, "k"), 0));
}

/// A server whose AOF has the story of `k`, broken, and then these payloads.
fn broken_then(payloads: &[&[u8]]) -> Server {
    let source = plain().start();
    tell(&source);
    let whole = dump(&source, "k");
    let mut forged = whole[frames(&whole)[0].clone()].to_vec();
    assert_eq!(forge(&mut forged, break_undo), 1);
    let mut server = plain().durable().start();
    server.run("SET other x").ok();
    server.kill();
    let apply = |payload| vec![b"LTMC.APPLY".as_slice(), b"k", payload];
    let all: Vec<_> = [&forged[..]].iter().chain(payloads).map(|payload| apply(*payload)).collect();
    append(&server, &all);
    server.start_again();
    server
}

#[test]
fn a_key_that_is_born_again_is_not_what_was_broken() {
    let source = plain().start();
    let born = payload_from(&source, "LTMC.CTX.CREATE k DOC {\"new\":1}");
    let server = broken_then(&[&born]);
    assert_eq!(server.run("LTMC.CTX.GET k").get("doc").text(), "{\"new\":1}");
    assert_eq!((quarantined(&server), server.info_int("ltmc", "ltmc_dropped_changes")), ((0, 0), 0));
}

#[test]
fn what_has_missed_changes_is_not_mended_into_what_was_before_them() {
    let source = plain().start();
    tell(&source);
    let change = payload_from(&source, "LTMC.CTX.UPDATE k a SET /x 1");
    let mut server = broken_then(&[&change, &change]);
    let refused = server.run("LTMC.REPAIR k");
    assert!(refused.error().contains("2 changes of it were dropped since; only a whole value can"), "{refused:?}");
    // A file that it is saved to says so, too.
    let assert_refused = |server: &Server| {
        let refused = server.run("LTMC.REPAIR k");
        assert!(refused.error().contains("a broken one that has missed changes"), "{refused:?}");
        assert_eq!(quarantined(server), (1, 1));
    };
    let before = digest(&server, "k");
    server.debug_reload();
    assert_refused(&server);
    server.rewrite_aof();
    server.crash_and_restart();
    assert_refused(&server);
    server.run("CONFIG SET aof-use-rdb-preamble no").ok();
    server.rewrite_aof();
    server.crash_and_restart();
    assert_refused(&server);
    assert_eq!(digest(&server, "k"), before);
    assert_eq!(server.run("DEL k").int(), 1);
    tell(&server);
}
