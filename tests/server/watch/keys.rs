//! What watchers are told when the key is deleted, replaced, moved, or becomes something else.

use super::*;

#[test]
fn watchers_of_a_key_that_goes_are_told_that_their_revision_is_of_an_earlier_life() {
    let server = Server::start();
    for line in [
        "DEL r",
        "UNLINK r",
        "EXPIRE r 0",
        "FLUSHDB",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "RENAME r elsewhere",
        "MOVE r 1",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
    ] {
        register(&server, "a", "");
        let mut watchers = [watcher(&server), watcher_of(&server, "2 none r SINCE 0 $")];
        // A client that waits for a missing key continues to wait.
        let mut patient = watcher_of(&server, "1 none SINCE 0");
        let reply = server.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(compacted(&watchers[0].recv().array()[0]), (0, 0), "{line}");
        let both = watchers[1].recv();
        assert_eq!(news(&both.array()[0]), (0, vec![]), "{line}");
        assert_eq!(compacted(&both.array()[1]), (0, 0), "{line}");
        assert_eq!(patient.recv_within(1), None, "{line}");
        assert_eq!(waiting(&server), 1, "{line}");
        server.run(&format!("LTMC.REGISTER none a PX {TTL_MS}")).int();
        assert_eq!(names_in(&patient.recv()), ["agent.registered"], "{line}");
        server.run("FLUSHALL").ok();
    }
    assert_idle(&server);
}

#[test]
fn a_key_that_is_made_anew_in_one_transaction_is_another_life() {
    let server = Server::start();
    register(&server, "a", "");
    let before = revision(&server, "r");
    let mut watcher = watcher(&server);
    let again = format!("LTMC.REGISTER r a PX {TTL_MS}");
    server.client().pipeline(&["MULTI", "DEL r", &again, "EXEC"]);
    let (now, oldest) = compacted(&watcher.recv().array()[0]);
    assert!(now > before && now == oldest, "{before} {now} {oldest}");
}

#[test]
fn a_registry_keeps_its_log_under_another_name() {
    let server = Server::start();
    register(&server, "a", "");
    register(&server, "b", "");
    let before = only_news(&server.run("LTMC.WATCH 1 r SINCE 0"));
    let mut waiting_there = watcher_of(&server, "1 there SINCE 0");
    server.run("RENAME r there").ok();
    assert_eq!(only_news(&waiting_there.recv()), before, "from the beginning of what came there");
    let mut watcher = watcher_of(&server, &format!("1 there SINCE {}", before.0));
    server.run("LTMC.DEREGISTER there a").int();
    let (now, told) = only_news(&watcher.recv());
    assert_eq!((now, names(&told)), (before.0 + 1, vec!["agent.deregistered"]));
}

#[test]
fn watchers_of_a_key_that_is_replaced_by_another_registry_are_told_so() {
    for commands in [&["RENAME other r"][..], &["MOVE other 1", "SELECT 1", "RENAME other r", "SWAPDB 0 1"]] {
        let server = Server::start();
        register(&server, "a", "");
        let mut watcher = watcher(&server);
        let mut client = server.client();
        client.run(&format!("LTMC.REGISTER other z PX {TTL_MS}")).int();
        for command in commands {
            let reply = client.run(command);
            assert!(!reply.is_error(), "{command}: {reply:?}");
        }
        let (now, oldest) = compacted(&watcher.recv().array()[0]);
        assert_eq!(now, oldest);
        assert_eq!(story(&server)[0]["agent"], "z");
        assert_eq!(revision(&server, "r"), now);
    }
}

#[test]
fn a_registry_that_is_restored_brings_its_log() {
    let server = Server::start();
    register(&server, "a", "");
    let dump = server.run("DUMP r").bytes().to_vec();
    let saved = revision(&server, "r");
    register(&server, "b", "");
    let mut behind = watcher_of(&server, "1 r SINCE $");
    let mut elsewhere = watcher_of(&server, "1 copy SINCE $");
    server.cmd(&[b"RESTORE".as_slice(), b"copy", b"0", &dump]).ok();
    assert_eq!(names_in(&elsewhere.recv()), ["agent.registered"]);
    server.cmd(&[b"RESTORE".as_slice(), b"r", b"0", &dump, b"REPLACE"]).ok();
    // The key was set back: what this watcher knows has not happened in it.
    assert_eq!(compacted(&behind.recv().array()[0]), (saved, saved));
}

#[test]
fn watchers_learn_that_their_key_became_something_else() {
    let server = Server::start();
    for (put, code) in [
        ("SET r v", "WRONGTYPE"),
        ("SET r v PX 600000", "WRONGTYPE"),
        ("RENAME string r", "WRONGTYPE"),
        ("RENAME lock r", "ERR"),
    ] {
        register(&server, "a", "");
        server.run("SET string v").ok();
        server.run("LTMC.LOCK lock z PX 600000").int();
        let mut watchers = [watcher(&server), watcher_of(&server, "2 q r SINCE $ $")];
        server.run(put).ok();
        for watcher in &mut watchers {
            assert_eq!(watcher.recv().error_code(), code, "{put}");
            assert_eq!(watcher.run("PING"), Reply::Simple("PONG".into()));
        }
        assert_idle(&server);
        server.run("FLUSHALL").ok();
    }
}

#[test]
fn a_copy_begins_its_story_where_the_original_was() {
    let server = Server::start();
    for (make, change, revision) in [
        ("LTMC.REGISTER k a", "LTMC.REGISTER copy b", "LTMC.AGENT.STATS k"),
        ("LTMC.CHUNK.PUT k a x", "LTMC.CHUNK.PUT copy a y", "LTMC.CHUNK.STATS k"),
        ("LTMC.TASK.ADD k a x", "LTMC.TASK.ADD copy b x", "LTMC.FLOW.INFO k"),
    ] {
        assert!(!server.run(make).is_error(), "{make}");
        let mut client = server.client();
        client.send_line("LTMC.WATCH 1 copy SINCE 0 BLOCK 0");
        server.wait_blocked(1);
        let revision = || server.run(revision).get("revision").int();
        let before = revision();
        assert_eq!(server.run("COPY k copy").int(), 1);
        assert_eq!(compacted(&client.recv().array()[0]).0, before, "nobody is told how it began: {make}");
        assert!(!server.run(change).is_error(), "{change}");
        let (now, events) = only_news(&server.run(&format!("LTMC.WATCH 1 copy SINCE {before}")));
        assert_eq!((now, events.len(), revision()), (before + 1, 1, before), "{change}");
        assert_eq!(server.run("DEL k").int(), 1);
        server.run("DEL copy").int();
    }
}
