//! Waiting for news of sessions and contexts, with and without a path, through everything that can
//! happen to a key.

use super::*;

/// The versions in a reply about one key.
#[track_caller]
fn versions(reply: &Reply) -> Vec<u64> {
    only_news(reply).1.iter().filter_map(|event| event["version"].as_u64()).collect()
}

#[test]
fn who_waits_at_a_path_sleeps_through_all_other_changes() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c DOC {\"n\":0}", "LTMC.SESSION.CREATE s"]);
    let mut waiters =
        [watcher_of(&server, "1 c SINCE $ PATH /mine/x"), watcher_of(&server, "2 s c SINCE $ $ PATH /mine COUNT 2")];
    // Far more than the log keeps.
    let mut client = server.client();
    for _ in 0..10 {
        let lines: Vec<String> = (0..500)
            .flat_map(|n| {
                [format!("LTMC.CTX.UPDATE c a SET /other/k{} {n}", n % 9), format!("LTMC.SESSION.SET s other {n}")]
            })
            .collect();
        assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
    }
    assert_eq!(compacted(&server.run("LTMC.WATCH 1 c SINCE 0").array()[0]).0, revision(&server, "c"));
    assert!(waiters.iter_mut().all(|waiter| waiter.recv_within(1).is_none()));
    assert_eq!(waiting(&server), 2);
    let lines = [
        "MULTI",
        "LTMC.CTX.UPDATE c a SET /mine/y 1",
        "LTMC.CTX.UPDATE c a SET /mine/x 2",
        "LTMC.CTX.UPDATE c a SET /mine/z 3",
        "EXEC",
    ];
    client.pipeline(&lines);
    let (now, events) = only_news(&waiters[0].recv());
    assert_eq!(now, revision(&server, "c"));
    // The first of them creates the object that all the others are in.
    let edits: Vec<&Value> = events.iter().map(|event| &event["edits"]).collect();
    assert_eq!(
        edits,
        [
            &json!([{"op": "set", "path": "/mine", "value": {"y": 1}}]),
            &json!([{"op": "set", "path": "/mine/x", "value": 2}]),
        ]
    );
    let reply = waiters[1].recv();
    assert_eq!(news(&reply.array()[0]), (revision(&server, "s"), vec![]));
    assert_eq!(news(&reply.array()[1]).1.len(), 2, "at most COUNT");
    assert_idle(&server);
}

#[test]
fn who_waits_at_a_path_is_told_when_more_happens_at_one_go_than_the_log_keeps() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c");
    let mut waiter = watcher_of(&server, "1 c SINCE $ PATH /mine");
    // No watcher is served within a script. Whether the place was among the dropped events is no
    // longer known.
    let script = "for n = 1, 5000 do redis.call('LTMC.CTX.UPDATE', KEYS[1], 'a', 'SET', '/other', n) end";
    assert!(!server.cmd(&["EVAL", script, "1", "c"]).is_error());
    let (now, oldest) = compacted(&waiter.recv().array()[0]);
    assert_eq!((now, now - oldest), (revision(&server, "c"), 4095));
}

#[test]
fn what_wakes_and_what_does_not() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c", "LTMC.SESSION.CREATE s STATE {\"f\":1}"]);
    let quiet = [
        "LTMC.CTX.UPDATE c a SET /b 1",
        "LTMC.CTX.UPDATE c a DEL /none",
        "LTMC.SESSION.SET s g 1",
        "LTMC.SESSION.TOUCH s",
        "LTMC.CTX.GET c",
        "PERSIST c",
    ];
    let loud = [
        ("LTMC.CTX.UPDATE c a SET /f 1", 1),
        ("LTMC.CTX.CHECKPOINT c", 1),
        ("LTMC.CTX.UPDATE c a SET /f 2", 1),
        ("LTMC.CTX.RESTORE c 1", 1),
        ("LTMC.CTX.JOIN c z", 1),
        ("LTMC.SESSION.SET s f 2", 0),
        ("LTMC.SESSION.DEL s f", 0),
        ("LTMC.SESSION.OWN s l", 0),
        ("LTMC.SESSION.DISOWN s l", 0),
        ("LTMC.SESSION.STATUS s SUSPENDED", 0),
        ("LTMC.SESSION.END s", 0),
        ("LTMC.SESSION.CREATE s", 0),
    ];
    for (line, part) in loud {
        let mut watcher = watcher_of(&server, "2 s c SINCE $ $ PATH /f");
        for line in quiet {
            server.run(line);
        }
        assert_eq!(watcher.recv_within(1), None, "before {line}");
        run(&server, line);
        let reply = watcher.recv();
        let told: Vec<usize> = reply.array().iter().map(|part| news(part).1.len()).collect();
        assert_eq!(told, [usize::from(part == 0), usize::from(part == 1)], "{line}");
    }
    assert_idle(&server);
}

#[test]
fn who_waits_for_a_key_that_is_not_there_is_told_of_its_beginning() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE src DOC {\"a\":1}", "LTMC.SESSION.SET old a 1"]);
    for line in [
        "LTMC.CTX.CREATE k",
        "LTMC.SESSION.CREATE k",
        "LTMC.SESSION.SET k f v",
        "LTMC.CTX.FORK src k",
        "LTMC.SESSION.FORK old k",
        "LTMC.CTX.GENERATE k 1 src",
    ] {
        let mut watcher = watcher_of(&server, "1 k SINCE 0 PATH /deep/place");
        run(&server, line);
        let (_, events) = only_news(&watcher.recv());
        assert!(names(&events)[0].ends_with(".created"), "{line}: {events:?}");
        server.run("DEL k").int();
    }
}

#[test]
fn the_end_of_a_key_is_told_to_who_waits_at_it() {
    let server = Server::start();
    let ends: [&[&str]; 6] = [
        &["DEL s c"],
        &["UNLINK s c"],
        &["FLUSHALL"],
        &["RENAME s x", "RENAME c y"],
        &["SWAPDB 0 7"],
        &["MOVE s 1", "MOVE c 1"],
    ];
    for lines in ends {
        run_all(&server, &["FLUSHALL", "LTMC.SESSION.CREATE s", "LTMC.CTX.CREATE c"]);
        let mut watchers = ["s", "c"].map(|key| watcher_of(&server, &format!("1 {key} SINCE $ PATH /p")));
        for line in lines {
            assert!(!server.run(line).is_error(), "{line}");
        }
        for watcher in &mut watchers {
            assert_eq!(compacted(&watcher.recv().array()[0]), (0, 0), "{lines:?}");
        }
    }
    // The end of a session is told as an event, even if nothing is left of it.
    for (line, event) in [
        ("LTMC.SESSION.END s GRACE 0", "session.ended"),
        ("PEXPIRE s 1", "session.ended"),
        ("LTMC.SESSION.DEL s f", "session.changed"),
    ] {
        run_all(&server, &["FLUSHALL", "LTMC.SESSION.SET s f v"]);
        let mut watcher = watcher_of(&server, "1 s SINCE $ PATH /f");
        run(&server, line);
        assert_eq!(names(&only_news(&watcher.recv()).1), [event]);
        assert_eq!(server.run("EXISTS s").int(), 0);
    }
    // A value of another type under the name.
    run_all(&server, &["FLUSHALL", "LTMC.SESSION.SET s f v", "LTMC.CTX.CREATE c"]);
    let mut watcher = watcher_of(&server, "1 s SINCE $");
    run(&server, "SET s text");
    assert_eq!(watcher.recv().error_code(), "WRONGTYPE");
    assert_idle(&server);
}

#[test]
fn the_end_by_time_of_a_session_that_owns_something_is_told() {
    let server = Server::start();
    run_all(&server, &["LTMC.SESSION.CREATE s PX 60000", "LTMC.SESSION.OWN s l"]);
    let mut watcher = watcher_of(&server, "1 s SINCE $ PATH /f");
    set_clock(&server, 60_001);
    assert_eq!(names(&only_news(&watcher.recv()).1), ["session.ended", "session.returned"]);
    assert_idle(&server);
}

#[test]
fn transactions_and_scripts_are_told_together_and_do_not_wait_themselves() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c", "LTMC.SESSION.CREATE s"]);
    let mut client = server.client();
    let mut watcher = watcher_of(&server, "2 c s SINCE $ $ PATH /k");
    let lines = [
        "MULTI",
        "LTMC.CTX.UPDATE c a SET /k 1",
        "LTMC.SESSION.SET s k 1",
        "LTMC.CTX.UPDATE c a SET /o 2",
        "LTMC.CTX.UPDATE c a SET /k 3",
        "LTMC.WATCH 1 c SINCE $ BLOCK 0",
        "EXEC",
    ];
    let replies = client.pipeline(&lines);
    assert!(replies[6].array()[4].is_nil(), "nothing new: and it cannot wait");
    let reply = watcher.recv();
    let told: Vec<usize> = reply.array().iter().map(|part| news(part).1.len()).collect();
    assert_eq!(told, [2, 1]);
    let mut watcher = watcher_of(&server, "1 c SINCE $ PATH /k");
    let script = "for n = 1, 3 do redis.call('LTMC.CTX.UPDATE', KEYS[1], 'a', 'SET', '/k', n) end \
                  return redis.call('LTMC.WATCH', 1, KEYS[1], 'SINCE', '$', 'BLOCK', 0)";
    assert!(client.cmd(&["EVAL", script, "1", "c"]).is_nil());
    assert_eq!(versions(&watcher.recv()), [5, 6, 7]);
    assert_idle(&server);
}

/// What a watcher knows, and what happens behind its back. At the end the value of `/mine` is 3,
/// and three events concern it.
#[track_caller]
fn history(server: &Server) -> (i64, i64) {
    run_all(server, &["LTMC.CTX.CREATE c DOC {\"mine\":0}", "LTMC.SESSION.SET s mine 0"]);
    let known = (revision(server, "c"), revision(server, "s"));
    for n in 1..=3 {
        run(server, &format!("LTMC.CTX.UPDATE c a SET /mine {n}"));
        run(server, &format!("LTMC.CTX.UPDATE c a SET /other {n}"));
        run(server, &format!("LTMC.SESSION.SET s mine {n}"));
        run(server, &format!("LTMC.SESSION.SET s other {n}"));
    }
    known
}

/// A watcher that knows that revision continues here as if nothing had happened.
#[track_caller]
fn goes_on(server: &Server, known: (i64, i64)) {
    let mut client = server.client();
    let reply = client.run(&format!("LTMC.WATCH 2 c s SINCE {} {} PATH /mine BLOCK 0", known.0, known.1));
    let parts: Vec<(i64, Vec<Value>)> = reply.array().iter().map(news).collect();
    assert_eq!(parts[0].1.iter().map(|event| event["edits"][0]["value"].clone()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(parts[1].1.iter().map(|event| event["set"][0].clone()).collect::<Vec<_>>(), ["mine", "mine", "mine"]);
    let mut watcher = watcher_of(server, &format!("2 c s SINCE {} {} PATH /mine", parts[0].0, parts[1].0));
    run_all(server, &["LTMC.CTX.UPDATE c a SET /other 9 IFVERSION 7", "LTMC.SESSION.SET s mine 4"]);
    let reply = watcher.recv();
    assert_eq!(news(&reply.array()[1]).1[0]["version"], 8);
}

#[test]
fn a_watcher_goes_on_after_a_restart_a_crash_and_a_failover() {
    for is_crash in [false, true] {
        let spec = if is_crash { Server::builder().durable() } else { Server::builder() };
        let mut server = spec.start();
        let known = history(&server);
        let mut waiting = watcher_of(&server, "1 c SINCE $ PATH /mine");
        if is_crash {
            server.crash_and_restart();
            let is_recovering = || story_of(&server, "s").last().is_some_and(|event| event["status"] == "recovering");
            wait_until("the session is recovering", is_recovering);
            run(&server, "LTMC.SESSION.STATUS s ACTIVE");
            waiting.wait_closed();
            let reply = server.run(&format!("LTMC.WATCH 1 s SINCE {} PATH /mine", known.1));
            assert_eq!(names(&only_news(&reply).1).len(), 5, "its statuses are told to everybody");
        } else {
            server.restart();
            waiting.wait_closed();
            goes_on(&server, known);
        }
    }
    let mut primary = Server::start();
    let replica = primary.replica();
    let known = history(&primary);
    replica.wait_synced(&primary);
    let mut on_replica = watcher_of(&replica, "1 c SINCE $ PATH /mine");
    run(&primary, "LTMC.CTX.CHECKPOINT c");
    assert_eq!(names(&only_news(&on_replica.recv()).1), ["context.checkpointed"]);
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    let reply = replica.run(&format!("LTMC.WATCH 1 c SINCE {} PATH /mine COUNT 3", known.0));
    assert_eq!(versions(&reply), [2, 4, 6]);
    let mut watcher = watcher_of(&replica, "1 c SINCE $ PATH /mine");
    run_all(&replica, &["LTMC.CTX.UPDATE c a SET /other 5", "LTMC.CTX.UPDATE c a SET /mine 5"]);
    assert_eq!(versions(&watcher.recv()), [9]);
}

#[test]
fn watchers_on_a_replica_are_told_only_of_their_path() {
    let primary = Server::start();
    let replica = primary.replica();
    run_all(&primary, &["LTMC.CTX.CREATE c", "LTMC.SESSION.CREATE s"]);
    replica.wait_synced(&primary);
    let mut watchers = [watcher_of(&replica, "1 c SINCE $ PATH /a"), watcher_of(&replica, "1 s SINCE $ PATH /a")];
    run_all(&primary, &["LTMC.CTX.UPDATE c x SET /b 1", "LTMC.SESSION.SET s b 1"]);
    replica.wait_synced(&primary);
    assert!(watchers.iter_mut().all(|watcher| watcher.recv_within(1).is_none()));
    run_all(&primary, &["LTMC.CTX.UPDATE c x SET /a 1", "LTMC.SESSION.DEL s b", "LTMC.SESSION.SET s a 1"]);
    assert_eq!(versions(&watchers[0].recv()), [3]);
    assert_eq!(versions(&watchers[1].recv()), [4]);
    replica.wait_synced(&primary);
    for key in ["c", "s"] {
        assert_eq!(story_of(&replica, key), story_of(&primary, key));
    }
    let mut watchers = ["c", "s"].map(|key| watcher_of(&replica, &format!("1 {key} SINCE $ PATH /zzz")));
    run(&primary, "FLUSHALL");
    for watcher in &mut watchers {
        assert_eq!(compacted(&watcher.recv().array()[0]), (0, 0));
    }
    assert_idle(&replica);
}
