//! Sessions as keys of Redis: type, shapes of replies, memory, copies, notifications, events.

use super::*;

#[test]
fn a_session_has_a_type_and_no_other_type_is_one() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s f v");
    assert_eq!(run(&server, "TYPE s").text(), "ltmc-sess");
    assert_eq!(server.run("GET s").error_code(), "WRONGTYPE");
    assert_eq!(server.run("LTMC.LOCK s a").error_code(), "WRONGTYPE");
    assert_eq!(server.run("LTMC.CTX.GET s").error_code(), "WRONGTYPE");
    assert_eq!(run(&server, "SCAN 0 TYPE ltmc-sess").array()[1].texts(), ["s"]);
}

#[test]
fn memory_usage_grows_and_shrinks_with_what_is_kept() {
    let server = Server::start();
    let used = || run(&server, "MEMORY USAGE s").int();
    let big = "x".repeat(100_000);
    run(&server, "LTMC.SESSION.CREATE s");
    let bare = used();
    run(&server, &format!("LTMC.SESSION.SET s f {big}"));
    let one = used();
    assert!(one >= bare + 100_000 && one < bare + 110_000, "{bare} {one}");
    run(&server, "LTMC.SESSION.CHECKPOINT s");
    run(&server, "LTMC.SESSION.SET s f small");
    assert!(used() >= one, "the old value is kept by the history");
    let shown = info(&server, "s", "memory_bytes").int();
    assert!(shown > 100_000 && shown <= used(), "{shown}");
    assert!(info(&server, "s", "history_bytes").int() > 100_000);
}

/// A client of RESP3.
fn resp3(server: &Server) -> Client {
    let mut client = server.client();
    client.resp3();
    client
}

#[test]
fn replies_have_their_shapes_in_both_protocols() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1,\"g\":2}");
    run(&server, "LTMC.SESSION.CHECKPOINT s");
    run(&server, "LTMC.SESSION.CREATE empty");
    let (mut old, mut new) = (server.client(), resp3(&server));
    for line in ["LTMC.SESSION.GET s", "LTMC.SESSION.INFO s", "LTMC.SESSION.GET empty"] {
        let (flat, map) = (old.run(line), new.run(line));
        assert!(matches!(flat, Reply::Array(_)), "{line}: {flat:?}");
        assert!(matches!(map, Reply::Map(_)), "{line}: {map:?}");
        assert_eq!(flat.pairs().len(), map.pairs().len(), "{line}");
        for ((one, _), (other, _)) in flat.pairs().iter().zip(map.pairs()) {
            assert_eq!(*one, other, "{line}");
        }
    }
    let listed = new.run("LTMC.SESSION.CHECKPOINTS s");
    assert!(matches!(listed.array()[0], Reply::Map(_)), "{listed:?}");
    for client in [&mut old, &mut new] {
        assert!(client.run("LTMC.SESSION.GET s none").is_nil());
        assert!(client.run("LTMC.SESSION.GET none").is_nil());
        assert!(client.run("LTMC.SESSION.INFO none").is_nil());
        assert_eq!(client.run("LTMC.SESSION.GET s g none").array()[0].text(), "2");
        assert!(client.run("LTMC.SESSION.SET s f v").int() > 1);
        assert_eq!(client.run("LTMC.SESSION.STATUS s").text(), "active");
    }
    let script = "return redis.call('LTMC.SESSION.GET', KEYS[1], 'f', 'none')";
    let scripted = server.cmd(&["EVAL", script, "1", "s"]);
    assert_eq!(scripted.array()[0].text(), "v");
    assert!(scripted.array()[1].is_nil());
}

#[test]
fn all_commands_work_in_a_transaction_and_with_a_guard() {
    let server = Server::start();
    let mut client = server.client();
    let lines =
        ["LTMC.SESSION.SET s f 1", "LTMC.SESSION.CHECKPOINT s", "LTMC.SESSION.SET s f 2", "LTMC.SESSION.RESTORE s 1"];
    client.run("MULTI").ok();
    for line in lines {
        client.run(line);
    }
    assert_eq!(client.run("EXEC").ints(), [1, 1, 2, 3]);
    let fence = run(&server, "LTMC.LOCK k a PX 600000").int();
    let guarded = format!("LTMC.GUARD k {fence} LTMC.SESSION.SET s f 3");
    assert_eq!(run(&server, &guarded).int(), 4);
    assert_eq!(run(&server, "LTMC.UNLOCK k a").int(), 1);
    assert!(server.run(&guarded).is_error());
    assert_eq!(fields(&server, "s"), ["f=3"]);
}

#[test]
fn what_happens_to_a_session_is_notified() {
    let server = Server::start();
    run(&server, "CONFIG SET notify-keyspace-events KEAd");
    let mut listener = server.client();
    listener.run("SUBSCRIBE __keyspace@0__:s __keyspace@0__:mark");
    listener.recv();
    for (line, events) in [
        ("LTMC.SESSION.SET s f 1", &["session.created"][..]),
        ("LTMC.SESSION.SET s f 2 g 1", &["session.changed"]),
        ("LTMC.SESSION.GET s", &[]),
        ("LTMC.SESSION.DEL s none", &[]),
        ("LTMC.SESSION.DEL s g", &["session.changed"]),
        ("LTMC.SESSION.CHECKPOINT s", &["session.checkpointed"]),
        ("LTMC.SESSION.RESTORE s 1", &[]),
        ("LTMC.SESSION.SET s f 2", &[]),
        ("LTMC.SESSION.SET s f 3", &["session.changed"]),
        ("LTMC.SESSION.RESTORE s 1", &["session.restored"]),
        ("LTMC.SESSION.PRUNE s KEEPLAST 0 DRYRUN", &[]),
        ("LTMC.SESSION.PRUNE s KEEPLAST 0", &["session.pruned"]),
        ("LTMC.SESSION.JOIN s a", &["session.joined"]),
        ("LTMC.SESSION.JOIN s a", &[]),
        ("LTMC.SESSION.JOIN s a ROLE x", &["session.joined"]),
        ("LTMC.SESSION.LEAVE s b", &[]),
        ("LTMC.SESSION.LEAVE s a", &["session.left"]),
        ("LTMC.SESSION.OWN s r", &["session.owned"]),
        ("LTMC.SESSION.OWN s r", &[]),
        ("LTMC.SESSION.DISOWN s r", &["session.disowned"]),
        ("LTMC.SESSION.TOUCH s PX 600000", &[]),
        ("LTMC.SESSION.STATUS s", &[]),
        ("LTMC.SESSION.STATUS s active", &[]),
        ("LTMC.SESSION.STATUS s suspended", &["session.status"]),
        ("LTMC.SESSION.FORK s t", &[]),
        ("LTMC.SESSION.END s", &["session.ended"]),
        ("LTMC.SESSION.END s", &[]),
        ("LTMC.SESSION.CREATE s", &["session.created"]),
        ("LTMC.SESSION.STATUS s terminated", &["session.ended"]),
        ("LTMC.SESSION.FORK t s", &["session.created"]),
        ("LTMC.SESSION.END s GRACE 0", &["session.ended", "del"]),
    ] {
        run(&server, line);
        // An event of our own behind it: there are no others before it.
        run(&server, "SET mark x");
        let next = || listener.recv().array()[1..].iter().map(|part| part.text().to_string()).collect::<Vec<_>>();
        let told: Vec<Vec<String>> =
            std::iter::repeat_with(next).take_while(|told| !told[0].ends_with("mark")).collect();
        let names: Vec<&str> = told.iter().map(|told| told[1].as_str()).collect();
        assert_eq!(names, events, "{line}");
    }
}

#[test]
fn a_session_that_moves_takes_its_past_and_its_life_along() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.SET s n 1");
    run(&server, "LTMC.SESSION.CHECKPOINT s NAME first");
    run(&server, "LTMC.SESSION.SET s n 2 PX 600000");
    run(&server, "RENAME s t");
    assert_eq!(run(&server, "MOVE t 3").int(), 1);
    let mut other = server.client();
    other.run("SELECT 3").ok();
    assert_eq!(other.run("LTMC.SESSION.RESTORE t first").int(), 3);
    assert_eq!(other.run("LTMC.SESSION.GET t n").text(), "1");
    assert!((1..=600_000).contains(&other.run("PTTL t").int()));
    let dumped = other.cmd(&["DUMP", "t"]);
    server.cmd(&[b"RESTORE".as_slice(), b"u", b"0", dumped.bytes()]).ok();
    assert_eq!(run(&server, "LTMC.SESSION.RESTORE u first").int(), 3, "it is there already");
    assert_eq!(run(&server, "LTMC.SESSION.SET u n 9 IFVERSION 3").int(), 4);
    assert_eq!(other.run("LTMC.SESSION.GET t n").text(), "1", "it is one of its own");
}
