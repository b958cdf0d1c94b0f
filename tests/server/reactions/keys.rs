//! Keys that are renamed, moved, deleted, restored, broken, switched off or on their way to another
//! node.

use super::*;

/// A lock of `ada`, and the registry in which she is.
fn locked() -> Server {
    let server = full().start();
    register(&server, "ada");
    server.run("LTMC.LOCK lock ada PX 600000000 REGISTRY r").int();
    server
}

#[track_caller]
fn is_gone(server: &Server, key: &str) {
    wait_until("the lock is gone", || server.run(&format!("EXISTS {key}")).int() == 0);
}

#[test]
fn a_registry_that_stays_away_has_no_agents() {
    for line in ["DEL r", "UNLINK r", "RENAME r elsewhere", "PEXPIRE r 1"] {
        let server = locked();
        server.run(line);
        wait_until("the registry is gone", || server.run("EXISTS r").int() == 0);
        // It is waited for as long as for a silent agent.
        set_clock(&server, 29_000);
        server.run("LTMC.LOCK other eve PX 600000").int();
        assert_eq!(server.run("EXISTS lock").int(), 1, "{line}");
        set_clock(&server, 31_000);
        is_gone(&server, "lock");
    }
}

#[test]
fn a_registry_that_comes_back_in_time_has_its_agents() {
    let server = locked();
    let dump = server.run("DUMP r").bytes().to_vec();
    server.run("DEL r").int();
    server.cmd(&[b"RESTORE".as_slice(), b"r", b"0", &dump]).ok();
    set_clock(&server, 31_000);
    server.run("LTMC.HEARTBEAT r ada").int();
    assert_eq!(server.run("EXISTS lock").int(), 1);
    assert_eq!(holds(&server, "ada"), ["lock"]);
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(server.run("EXISTS lock").int(), 0);
}

#[test]
fn who_registers_in_a_new_registry_begins_with_nothing() {
    for line in ["DEL r", "SET r text"] {
        let server = locked();
        server.run(line);
        server.run("DEL r");
        register(&server, "ada");
        is_gone(&server, "lock");
        assert_eq!(holds(&server, "ada"), [""; 0]);
    }
}

#[test]
fn a_lock_that_is_renamed_or_restored_belongs_to_the_same_agent() {
    for way in ["rename", "restore", "reload"] {
        let server = locked();
        let mut key = "lock";
        match way {
            "rename" => {
                server.run("RENAME lock other").ok();
                key = "other";
            }
            "restore" => {
                let dump = server.run("DUMP lock").bytes().to_vec();
                server.run("DEL lock").int();
                server.cmd(&[b"RESTORE".as_slice(), b"lock", b"600000000", &dump]).ok();
            }
            _ => server.debug_reload(),
        }
        wait_until("it is known", || holds(&server, "ada").contains(&key.to_string()));
        server.run("PING");
        assert_eq!(server.run(&format!("EXISTS {key}")).int(), 1, "{way}");
        server.run("LTMC.DEREGISTER r ada").int();
        assert_eq!(server.run(&format!("EXISTS {key}")).int(), 0, "{way}");
    }
}

#[test]
fn what_is_restored_of_an_agent_that_is_gone_goes_back() {
    let server = locked();
    register(&server, "bob");
    let dump = server.run("DUMP lock").bytes().to_vec();
    server.run("LTMC.DEREGISTER r ada").int();
    server.cmd(&[b"RESTORE".as_slice(), b"lock", b"600000000", &dump]).ok();
    is_gone(&server, "lock");
    register(&server, "ada");
    server.cmd(&[b"RESTORE".as_slice(), b"lock", b"600000000", &dump]).ok();
    is_gone(&server, "lock");
}

#[test]
fn what_is_restored_of_an_earlier_incarnation_goes_back_though_the_key_is_known() {
    let server = locked();
    let dump = server.run("DUMP lock").bytes().to_vec();
    register(&server, "ada");
    server.run("LTMC.LOCK lock ada PX 600000000 REGISTRY r").int();
    server.cmd(&[b"RESTORE".as_slice(), b"lock", b"600000000", &dump, b"REPLACE"]).ok();
    is_gone(&server, "lock");
}

#[test]
fn a_key_that_is_deleted_or_runs_out_is_held_no_more() {
    let server = locked();
    server.run("LTMC.LOCK short ada PX 1 REGISTRY r").int();
    server.run("LTMC.LOCK old ada PX 600000 REGISTRY r").int();
    let replica = server.replica();
    replica.wait_synced(&server);
    server.run("DEL lock").int();
    server.run("SET old text").ok();
    wait_until("the list is right", || server.run("EXISTS short").int() == 0 && holds(&server, "ada").is_empty());
    replica.wait_synced(&server);
    wait_until("the replica's, too", || holds(&replica, "ada").is_empty());
    // What is taken by the command that finds the key expired is held.
    for _ in 0..20 {
        server.run("LTMC.LOCK short ada PX 1 REGISTRY r").int();
        server.run("DEBUG SLEEP 0.002").ok();
        server.run("LTMC.LOCK short ada PX 600000 NOREENTRANT REGISTRY r").int();
        assert_eq!(holds(&server, "ada"), ["short"]);
        server.run("LTMC.UNLOCK short ada").int();
    }
}

#[test]
fn who_has_to_wait_is_not_forgotten_among_many() {
    let server = full().start();
    let mut client = server.client();
    // More than one look at the registry checks.
    let mut lines = Vec::new();
    for n in 0..300 {
        lines.push(format!("LTMC.REGISTER r a{n:03} PX {LONG_MS}"));
        lines.push(format!("LTMC.LOCK lock{n:03} a{n:03} PX {LONG_MS} REGISTRY r"));
    }
    assert!(client.pipeline(&lines).iter().all(|reply| reply.int() > 0));
    for _ in 0..3 {
        assert!(server.run("LTMC.DEBUG PANIC lock007").is_error());
    }
    server.run("DEL r").int();
    set_clock(&server, 31_000);
    is_gone(&server, "lock299");
    assert_eq!(server.run("EXISTS lock007").int(), 1);
    server.run("LTMC.REPAIR lock007");
    set_clock(&server, 33_000);
    is_gone(&server, "lock007");
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn databases_have_registries_of_their_own() {
    let server = locked();
    server.run("MOVE lock 3").int();
    let mut other = server.client();
    other.run("SELECT 3").ok();
    set_clock(&server, 31_000);
    wait_until("nobody is registered there", || other.run("EXISTS lock").int() == 0);
    let server = locked();
    server.run("SWAPDB 0 3").ok();
    let mut other = server.client();
    other.run("SELECT 3").ok();
    assert_eq!(other.run("LTMC.AGENT.GET r ada").get("holds").texts(), ["lock"]);
    assert_eq!(other.run("EXISTS lock").int(), 1);
    other.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(other.run("EXISTS lock").int(), 0);
}

#[test]
fn a_flush_takes_all_of_it_along() {
    for line in ["FLUSHALL", "FLUSHDB"] {
        let server = locked();
        server.run(line).ok();
        register(&server, "ada");
        assert_eq!(holds(&server, "ada"), [""; 0]);
        assert_eq!(server.info_int("ltmc", "ltmc_reactions"), 0);
    }
}

#[test]
fn a_key_in_quarantine_waits_for_its_repair() {
    let server = locked();
    for _ in 0..3 {
        assert!(server.run("LTMC.DEBUG PANIC lock").is_error());
    }
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(server.run("LTMC.LOCK.INFO lock").error_code(), "QUARANTINED");
    server.run("LTMC.REPAIR lock");
    is_gone(&server, "lock");
}

#[test]
fn one_key_that_has_to_wait_keeps_no_other_waiting() {
    let server = full().start();
    let mut client = server.client();
    let lines: Vec<String> = (0..600)
        .flat_map(|n| {
            [format!("LTMC.REGISTER r a{n} PX {LONG_MS}"), format!("LTMC.LOCK k{n} a{n} PX {LONG_MS} REGISTRY r")]
        })
        .collect();
    assert!(client.pipeline(&lines).iter().all(|reply| reply.int() > 0));
    for key in ["k0", "k599"] {
        (0..3).for_each(|_| assert!(server.run(&format!("LTMC.DEBUG PANIC {key}")).is_error()));
    }
    server.run("DEL r").int();
    set_clock(&server, 31_000);
    wait_until("all others are back", || server.run("DBSIZE").int() == 2);
    server.run("LTMC.REPAIR k0");
    server.run("LTMC.REPAIR k599");
    set_clock(&server, 40_000);
    wait_until("and those, too", || server.run("DBSIZE").int() == 0);
}

#[test]
fn a_copy_belongs_to_nobody() {
    let server = full().start();
    register_for(&server, "ada", 60_000);
    hold_everything(&server, "ada");
    let copied = ["buffer", "context", "flow", "mail", "owned", "r", "session", "team"];
    for key in copied {
        assert_eq!(server.run(&format!("COPY {key} {key}.copy")).int(), 1, "{key}");
        assert_eq!(server.run(&format!("LTMC.REPAIR {key}.copy")).get("was_broken").int(), 0, "{key}");
    }
    server.run("LTMC.SESSION.FORK team fork").int();
    assert_eq!(holds(&server, "ada"), HELD);
    let before: Vec<String> =
        copied.iter().map(|key| server.run(&format!("DEBUG DIGEST-VALUE {key}.copy")).texts().concat()).collect();
    // What becomes of her in the copy of the registry does not matter.
    assert!(server.run("LTMC.DEREGISTER r.copy ada").int() == 1 && holds(&server, "ada") == HELD);
    assert_eq!(found(&server, "ada"), FOUND);
    server.run("LTMC.DEREGISTER r ada").int();
    wait_until("all is back", || found(&server, "ada").is_empty());
    for (key, before) in copied.iter().zip(before).filter(|(key, _)| **key != "r") {
        assert_eq!(server.run(&format!("DEBUG DIGEST-VALUE {key}.copy")).texts().concat(), before, "{key}");
    }
    let participants = |key: &str| server.run(&format!("LTMC.SESSION.INFO {key}")).get("participants").array().len();
    assert_eq!((participants("team"), participants("team.copy"), participants("fork")), (0, 1, 1));
}

#[test]
fn a_copy_over_a_registry_brings_other_incarnations() {
    let server = full().start();
    register(&server, "ada");
    server.run("COPY r old").int();
    let newer = register(&server, "ada");
    register(&server, "bob");
    server.run("COPY old other").int();
    for (lock, agent) in [("l", "ada"), ("m", "bob")] {
        server.run(&format!("LTMC.LOCK {lock} {agent} PX {LONG_MS} REGISTRY r")).int();
    }
    server.run("LTMC.LOCK n ada PX 600000 REGISTRY other").int();
    assert_eq!(server.run("COPY old r REPLACE").int(), 1);
    assert!(server.run("LTMC.AGENT.GET r ada").get("epoch").int() < newer);
    wait_until("what the newer incarnation and who is not there any more held goes back", || {
        server.run("EXISTS l m").int() == 0
    });
    // Under the same incarnation it stays.
    assert_eq!(server.run("COPY old other REPLACE").int(), 1);
    server.run("LTMC.LOCK l ada PX 600000 REGISTRY r").int();
    assert_eq!(server.run("EXISTS l n").int(), 2);
    server.run("LTMC.DEREGISTER other ada").int();
    wait_until("until its end", || server.run("EXISTS n").int() == 0);
    assert_eq!(server.run("EXISTS l").int(), 1);
}

#[test]
fn a_team_that_moves_to_another_node_keeps_what_it_holds() {
    let cluster = Cluster::start_with(2, full());
    let from = cluster.owner(cluster.slot("{t}r"));
    let to = 1 - from;
    let mut old = cluster.client_of("{t}r");
    old.run(&format!("LTMC.REGISTER {{t}}r ada PX {LONG_MS}")).int();
    // The locks move before the registry, and some after it.
    for n in 0..20 {
        old.run(&format!("LTMC.LOCK {{t}}{n} ada PX {LONG_MS} REGISTRY {{t}}r")).int();
    }
    assert_eq!(old.run("LTMC.LOCK {t}x ada REGISTRY r").error_code(), "CROSSSLOT");
    cluster.migrate_slot(cluster.slot("{t}r"), from, to);
    let mut new = cluster.client_of("{t}r");
    wait_until("the new node knows", || new.run("LTMC.AGENT.GET {t}r ada").get("holds").array().len() == 20);
    for n in 0..20 {
        assert_eq!(new.run(&format!("EXISTS {{t}}{n}")).int(), 1);
    }
    new.run("LTMC.DEREGISTER {t}r ada").int();
    wait_until("all is back", || (0..20).all(|n| new.run(&format!("EXISTS {{t}}{n}")).int() == 0));
}
