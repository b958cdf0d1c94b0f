//! Sessions and contexts under other names, in other databases, copied, expired and repaired.

use super::*;

/// A session with a TTL that owns a held lock, and a context with a TTL. Both end 60000 ms from
/// now.
fn make(server: &Server) {
    set_clock(server, 0);
    run_all(
        server,
        &[
            "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":\"v\"} PX 60000",
            "LTMC.SESSION.OWN s l",
            "LTMC.LOCK l a PX 600000",
            "LTMC.CTX.CREATE c DOC {\"n\":1} PX 60000",
            "LTMC.CTX.UPDATE c a SET /n 2",
            "LTMC.CTX.CHECKPOINT c NAME two",
        ],
    );
}

#[test]
fn what_moves_keeps_its_versions_and_its_end() {
    let server = Server::start();
    let ways: [&[&str]; 6] = [
        &["RENAME s x", "RENAME c y"],
        &["RENAMENX s x", "RENAME x s", "RENAME s x", "RENAME c y"],
        &["MOVE s 3", "MOVE c 3", "MOVE l 3", "SWAPDB 0 3", "RENAME s x", "RENAME c y"],
        &["MULTI", "RENAME s x", "RENAME c y", "EXEC", "SWAPDB 0 2", "SWAPDB 2 0"],
        &["RENAME s x", "RENAME c y", "PERSIST x", "PEXPIRE x 59000", "PEXPIREAT y 99999999999999", "PEXPIRE y 59000"],
        &["LTMC.REPAIR s", "LTMC.REPAIR c", "RENAME s x", "RENAME c y"],
    ];
    for way in ways {
        make(&server);
        let told = story_of(&server, "c");
        let mut client = server.client();
        for line in way {
            assert!(!client.run(line).is_error(), "{line}");
        }
        assert_eq!(field(&server, "x", "f").as_deref(), Some("v"), "{way:?}");
        assert_eq!(doc(&server, "y"), r#"{"n":2}"#);
        assert_eq!(run(&server, "LTMC.CTX.GET y AT 1").get("doc").text(), r#"{"n":1}"#);
        assert_eq!(story_of(&server, "y"), told, "{way:?}");
        assert_eq!(run(&server, "LTMC.CTX.RESTORE y two").int(), 2, "it is there already");
        assert_eq!(run(&server, "LTMC.CTX.UPDATE y a SET /n 3").int(), 3);
        assert_eq!(run(&server, "LTMC.CTX.RESTORE y two").int(), 4);
        assert_eq!(server.run("EXISTS s c").int(), 0);
        set_clock(&server, 60_001);
        wait_until(&format!("{way:?}: the session gives back"), || server.run("EXISTS x l").int() == 0);
        assert!(server.run("LTMC.CTX.GET y").is_nil(), "{way:?}");
        server.run("FLUSHALL").ok();
    }
}

#[test]
fn the_key_expires_with_its_life_unless_persist_keeps_it() {
    let server = Server::start();
    let replica = server.replica();
    for (line, key) in [("LTMC.SESSION.SET s f v PX", "s"), ("LTMC.CTX.CREATE c PX", "c")] {
        run(&server, &format!("{line} 600000"));
        assert!(server.run(&format!("PEXPIRETIME {key}")).int() > 0);
        assert_eq!(server.run(&format!("PERSIST {key}")).int(), 1);
        std::thread::sleep(std::time::Duration::from_millis(20));
        replica.wait_synced(&server);
        for node in [&server, &replica] {
            assert_eq!(node.run(&format!("PEXPIRETIME {key}")).int(), -1);
        }
        server.run(&format!("DEL {key}"));
        run(&server, &format!("{line} 40"));
        wait_until("it is gone", || server.run(&format!("EXISTS {key}")).int() == 0);
        wait_until("on the replica, too", || replica.run("DBSIZE").int() == 0);
    }
    // A shorter TTL set by Redis counts: we are not asked.
    run_all(&server, &["LTMC.SESSION.CREATE s", "LTMC.CTX.CREATE c", "PEXPIRE s 1", "PEXPIRE c 1"]);
    wait_until("both are gone", || server.run("DBSIZE").int() == 0);
}

#[test]
fn a_time_to_live_that_is_renewed_moves_the_keys_end() {
    let server = Server::start();
    let ends = |key: &str| server.run(&format!("PEXPIRETIME {key}")).int();
    run(&server, "LTMC.SESSION.CREATE s PX 600000 SLIDING MAXLIFE 50000000");
    let first = ends("s");
    wait_until("a write moves it", || run(&server, "LTMC.SESSION.SET s a 1").int() > 0 && ends("s") > first);
    run(&server, "LTMC.SESSION.TOUCH s PX 900000000");
    assert_eq!(
        ends("s") - run(&server, "LTMC.SESSION.INFO s").get("created_at_ms").int(),
        50_000_000,
        "not beyond its life"
    );
    run(&server, "LTMC.SESSION.END s GRACE 100000");
    let end = run(&server, "LTMC.SESSION.INFO s").get("ends_at_ms").int();
    assert_eq!(ends("s"), end);
    run(&server, "LTMC.CTX.CREATE c PX 600000 SLIDING");
    let first = ends("c");
    wait_until("of a context, too", || run(&server, "LTMC.CTX.UPDATE c x SET /a 1").int() > 0 && ends("c") > first);
}

#[test]
fn a_dump_can_be_restored_as_one_of_its_own() {
    let server = Server::start();
    make(&server);
    for (key, twin) in [("c", "d"), ("s", "t")] {
        let dump = server.cmd(&["DUMP", key]);
        server.cmd(&[b"RESTORE".as_slice(), twin.as_bytes(), b"0", dump.bytes()]).ok();
    }
    run_all(&server, &["LTMC.CTX.UPDATE d z SET /n 3", "LTMC.SESSION.SET t f w"]);
    assert_eq!((doc(&server, "c"), doc(&server, "d")), (r#"{"n":2}"#.into(), r#"{"n":3}"#.into()));
    assert_eq!((field(&server, "s", "f"), field(&server, "t", "f")), (Some("v".into()), Some("w".into())));
    assert_eq!(run(&server, "LTMC.CTX.ROLLBACK d two").int(), 4);
}

#[test]
fn repair_changes_nothing_of_what_is_sound_and_sends_it_whole() {
    let server = Server::start();
    let replica = server.replica();
    super::durability::make_everything(&server);
    let (before, seen) = (server.dataset(), super::durability::readable(&server));
    let keys = ["c", "short", "generated", "s", "past", "ended"];
    let stream = replication_stream(&server, || {
        for key in keys {
            assert_eq!(run(&server, &format!("LTMC.REPAIR {key}")).get("was_broken").int(), 0);
        }
    });
    assert_eq!(stream.iter().map(|command| command[1].escape_ascii().to_string()).collect::<Vec<_>>(), keys);
    for command in &stream {
        let json: Value =
            serde_json::from_str(server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]).text()).expect("it is JSON");
        assert_eq!(json["content"], "snapshot", "{json}");
        assert!(["ltmc-ctxt", "ltmc-sess"].contains(&json["type"].as_str().expect("a type")));
    }
    replica.wait_synced(&server);
    assert_same("after the repair", &before, &server.dataset());
    assert_same("the replica", &before, &replica.dataset());
    assert_eq!(super::durability::readable(&server), seen);
    assert_eq!(super::durability::readable(&replica), seen);
}

#[test]
fn a_terminated_session_goes_when_its_grace_is_over_everywhere() {
    let mut server = Server::builder().durable().start();
    let replica = server.replica();
    run_all(&server, &["LTMC.SESSION.CREATE s STATE {\"a\":1}", "LTMC.SESSION.END s GRACE 600000"]);
    run_all(&server, &["LTMC.SESSION.CREATE t", "LTMC.SESSION.END t GRACE 60"]);
    replica.wait_synced(&server);
    assert_eq!(run(&replica, "LTMC.SESSION.INFO s").get("status").text(), "terminated");
    server.crash_and_restart();
    assert_eq!(run(&server, "LTMC.SESSION.STATUS s").text(), "terminated", "what has ended is not at work");
    assert_eq!(server.run("LTMC.SESSION.SET s a 2").error_code(), "BADSTATE");
    wait_until("the other is gone", || server.run("EXISTS t").int() == 0);
    set_clock(&server, 600_001);
    assert!(server.run("LTMC.SESSION.STATUS s").is_nil());
    assert_eq!(run(&server, "LTMC.SESSION.SET s b 1").int(), 1, "a new one under this name");
}
