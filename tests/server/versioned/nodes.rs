//! What only one node decides: replicas follow, only sessions that were at work are found after a
//! crash, and slots move with their keys.

use super::durability::{without, without_memory};
use super::*;

/// Moves the clock of a node in any role.
#[track_caller]
fn clock(server: &Server, offset: i64) {
    // Redis considers `LTMC.DEBUG` a write.
    server.run("CONFIG SET replica-read-only no").ok();
    set_clock(server, offset);
}

#[track_caller]
fn status(server: &Server, key: &str) -> String {
    run(server, &format!("LTMC.SESSION.INFO {key}")).get("status").text().to_string()
}

#[test]
fn a_replica_decides_nothing_until_it_is_promoted() {
    let mut primary = Server::start();
    let replica = primary.replica();
    run_all(
        &primary,
        &[
            "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1} PX 600000 SLIDING",
            "LTMC.SESSION.OWN s l",
            "LTMC.LOCK l a PX 6000000",
            "LTMC.CTX.CREATE c DOC {\"n\":1}",
            "LTMC.CTX.CHECKPOINT c",
        ],
    );
    replica.wait_synced(&primary);
    let before = primary.dataset();
    clock(&replica, 600_001);
    let writes = [
        "LTMC.SESSION.SET s f 2",
        "LTMC.SESSION.SET new f 2",
        "LTMC.SESSION.END s",
        "LTMC.SESSION.TOUCH s",
        "LTMC.SESSION.FORK s t",
        "LTMC.CTX.UPDATE c a SET /n 2",
        "LTMC.CTX.CREATE d",
        "LTMC.CTX.ROLLBACK c 1",
        "LTMC.CTX.GENERATE d 1 c",
    ];
    for line in writes {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line}");
    }
    assert!(replica.run("LTMC.SESSION.INFO s").is_nil(), "its time is over for who reads here");
    let swept = replica.info_int("ltmc", "ltmc_swept_keys");
    clock(&replica, 600_500);
    assert_same("it does nothing about it", &before, &replica.dataset());
    assert_eq!(happened(&replica, "session.ended"), 0, "{swept}");
    assert_eq!(replica.run("EXISTS s l").int(), 2);
    primary.kill();
    replica.promote();
    wait_until("the new primary ends it", || replica.run("EXISTS s l").int() == 0);
    assert_eq!(run(&replica, "LTMC.CTX.UPDATE c a SET /n 2").int(), 2);
}

#[test]
fn after_a_crash_only_the_primary_finds_who_was_at_work() {
    let mut primary = Server::builder().durable().start();
    let mut replica = primary.replica();
    run_all(
        &primary,
        &[
            "LTMC.SESSION.CREATE active",
            "LTMC.SESSION.CREATE other",
            "LTMC.SESSION.STATUS other SUSPENDED",
            "LTMC.CTX.CREATE c",
        ],
    );
    replica.wait_synced(&primary);
    let before = primary.dataset();
    replica.crash_and_restart();
    replica.wait_synced(&primary);
    assert_eq!(status(&replica, "active"), "active", "its primary goes on");
    assert_same("the replica", &before, &replica.dataset());
    let known = revision(&primary, "active");
    primary.crash_and_restart();
    assert_eq!(status(&primary, "active"), "recovering");
    assert_eq!(status(&primary, "other"), "suspended");
    wait_until("it is decided", || revision(&primary, "active") > known);
    replica.wait_synced(&primary);
    assert_eq!(status(&replica, "active"), "recovering");
    assert_same("the replica", &primary.dataset(), &replica.dataset());
    assert_eq!(run(&primary, "LTMC.SESSION.STATUS active ACTIVE").text(), "active");
    primary.restart();
    assert_eq!(status(&primary, "active"), "active", "a stop in good order");
}

// An AOF may carry a session to another name by RENAME, MOVE or SWAPDB after it was read.
#[test]
fn a_session_is_found_recovering_under_the_name_and_in_the_database_that_it_had_last() {
    let mut server = Server::builder().durable().start();
    run_all(
        &server,
        &["LTMC.SESSION.CREATE s", "RENAME s renamed", "LTMC.SESSION.CREATE t", "LTMC.SESSION.CREATE moved"],
    );
    run_all(&server, &["MOVE moved 2", "SWAPDB 2 3"]);
    server.crash_and_restart();
    wait_until("the one that stayed is recovering", || status(&server, "t") == "recovering");
    let mut client = server.client();
    client.run("SELECT 3").ok();
    let found = [status(&server, "renamed"), client.run("LTMC.SESSION.INFO moved").get("status").text().to_string()];
    assert_eq!(found, ["recovering", "recovering"]);
}

#[test]
fn what_a_failover_brings_is_not_recovering() {
    let mut primary = Server::start();
    let replica = primary.replica();
    run(&primary, "LTMC.SESSION.CREATE s STATE {\"f\":1}");
    run(&primary, "LTMC.SESSION.CHECKPOINT s");
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    assert_eq!(run(&replica, "LTMC.SESSION.SET s f 2").int(), 2);
    assert_eq!(run(&replica, "LTMC.SESSION.RESTORE s 1").int(), 3);
    assert_eq!(status(&replica, "s"), "active");
    replica.debug_reload();
    assert_eq!(status(&replica, "s"), "active", "a reload is no crash");
}

#[test]
fn keys_of_several_slots_are_refused_by_all_that_take_several() {
    let cluster = Cluster::start(2);
    let node = cluster.node_of("{t}");
    run_all(
        node,
        &[
            "LTMC.CTX.CREATE {t}:c DOC {\"n\":1}",
            "LTMC.SESSION.CREATE {t}:s STATE {\"f\":\"v\"}",
            "LTMC.REGISTER {t}:r a PX 600000",
            "LTMC.CTX.FORK {t}:c {t}:d",
            "LTMC.SESSION.FORK {t}:s {t}:u",
            "LTMC.CTX.GENERATE {t}:g 2 {t}:c {t}:s",
            "LTMC.SESSION.OWN {t}:s {t}:l",
            "LTMC.WATCH 2 {t}:s {t}:c SINCE 0 0",
        ],
    );
    assert_eq!(run(node, "LTMC.CTX.ROUTE {t}:c {t}:r").text(), "a");
    let refused = [
        "LTMC.CTX.FORK {t}:c {other}:d",
        "LTMC.SESSION.FORK {t}:s {other}:u",
        "LTMC.CTX.GENERATE {t}:h 2 {t}:c {other}:s",
        "LTMC.CTX.GENERATE {other}:h 1 {t}:c",
        "LTMC.CTX.ROUTE {t}:c {other}:r",
        "LTMC.SESSION.OWN {t}:s {t}:m {other}:l",
        "LTMC.SESSION.DISOWN {t}:s {other}:l",
        "LTMC.WATCH 2 {t}:s {other}:c SINCE 0 0",
    ];
    for line in refused {
        assert_eq!(node.run(line).error_code(), "CROSSSLOT", "{line}");
    }
    let stranger = cluster.nodes.iter().find(|other| other.port() != node.port()).expect("there are two");
    for line in ["LTMC.CTX.GET {t}:c", "LTMC.SESSION.SET {t}:s f 2", "LTMC.CTX.GENERATE {t}:h 1 {t}:c"] {
        assert_eq!(stranger.run(line).error_code(), "MOVED", "{line}");
    }
    assert_eq!(node.run("DBSIZE").int(), 6);
}

#[test]
fn a_slot_that_moves_takes_versions_checkpoints_and_deadlines_along() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[1 - from]);
    run_all(
        old,
        &[
            "LTMC.CTX.CREATE {t}:c DOC {\"n\":0.1,\"t\":\"ü\"}",
            "LTMC.CTX.CHECKPOINT {t}:c NAME first",
            "LTMC.CTX.UPDATE {t}:c a SET /n 2",
            "LTMC.SESSION.CREATE {t}:s PARTICIPANTS 1 a STATE {\"f\":\"v\"} PX 600000",
            "LTMC.SESSION.OWN {t}:s {t}:l",
            "LTMC.LOCK {t}:l a PX 6000000",
        ],
    );
    let shown = |node: &Server| {
        let lines = [
            "LTMC.CTX.GET {t}:c",
            "LTMC.CTX.GET {t}:c AT 1",
            "LTMC.CTX.CHECKPOINTS {t}:c",
            "LTMC.SESSION.INFO {t}:s",
            "LTMC.WATCH 1 {t}:c SINCE 0",
        ];
        // MIGRATE sends how much of a TTL is left, so its end is some milliseconds later.
        lines.map(|line| without(&without_memory(&node.run(line)), "ends_at_ms"))
    };
    let (before, end) = (shown(old), old.run("PEXPIRETIME {t}:s").int());
    let mut watchers = ["{t}:c", "{t}:s"].map(|key| watcher_of(old, &format!("1 {key} SINCE $ PATH /n")));
    cluster.migrate_slot(slot, from, 1 - from);
    for watcher in &mut watchers {
        assert_eq!(watcher.recv().error_code(), "MOVED");
    }
    assert_eq!(shown(new), before);
    assert!((0..1000).contains(&(new.run("PEXPIRETIME {t}:s").int() - end)));
    assert_eq!(old.run("LTMC.CTX.UPDATE {t}:c a SET /n 3").error_code(), "MOVED");
    assert_eq!(run(new, "LTMC.CTX.ROLLBACK {t}:c first").int(), 3);
    assert_eq!(run(new, "LTMC.CTX.GET {t}:c").get("doc").text(), "{\"n\":0.1,\"t\":\"ü\"}");
    run(new, "LTMC.SESSION.TOUCH {t}:s PX 30");
    wait_until("its end comes there", || new.run("EXISTS {t}:s {t}:l").int() == 0);
}
