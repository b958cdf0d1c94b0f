//! Waiting for news: what wakes a watcher, what does not, and what it is told.

use super::*;

#[test]
fn a_watcher_is_told_the_next_event_at_once() {
    let server = Server::start();
    register(&server, "a", "");
    let mut watcher = watcher(&server);
    register(&server, "b", "");
    let (now, told) = only_news(&watcher.recv());
    assert_eq!(names(&told), ["agent.registered"]);
    assert_eq!(told[0]["agent"], "b");
    assert_eq!(told[0]["revision"].as_i64(), Some(now));
    assert_idle(&server);
}

#[test]
fn who_is_behind_does_not_wait() {
    let server = Server::start();
    register(&server, "a", "");
    register(&server, "b", "");
    let now = revision(&server, "r");
    let mut client = server.client();
    assert_eq!(names_in(&client.run("LTMC.WATCH 1 r SINCE 0 BLOCK 0")).len(), 2);
    assert_eq!(names_in(&client.run(&format!("LTMC.WATCH 1 r SINCE {} BLOCK 0", now - 1))).len(), 1);
    assert_eq!(compacted(&client.run("LTMC.WATCH 1 none SINCE 5 BLOCK 0").array()[0]), (0, 0));
    // News of one of several keys is enough. Then the watcher is told about all of them.
    let both = client.run("LTMC.WATCH 2 none r SINCE 0 0 BLOCK 0");
    assert_eq!(news(&both.array()[0]), (0, vec![]));
    assert_eq!(news(&both.array()[1]).1.len(), 2);
}

#[test]
fn a_registry_that_comes_into_being_wakes_who_watched_for_it() {
    let server = Server::start();
    let mut watchers = [watcher(&server), watcher_of(&server, "1 r SINCE 0")];
    register(&server, "a", "");
    for watcher in &mut watchers {
        let (now, told) = only_news(&watcher.recv());
        assert_eq!(told[0]["revision"].as_i64(), Some(now));
        assert_eq!(told[0]["agent"], "a");
    }
}

#[test]
fn any_of_several_keys_wakes() {
    let server = Server::start();
    server.run(&format!("LTMC.REGISTER z a PX {TTL_MS}")).int();
    for key in ["x", "y", "z"] {
        let mut watcher = watcher_of(&server, "3 x y z SINCE $ $ $");
        server.run(&format!("LTMC.REGISTER {key} b PX {TTL_MS}")).int();
        let reply = watcher.recv();
        for (other, part) in ["x", "y", "z"].iter().zip(reply.array()) {
            assert_eq!(news(part).1.len(), usize::from(*other == key), "{key}: {reply:?}");
            assert_eq!(news(part).0, revision(&server, other));
        }
    }
    assert_idle(&server);
}

#[test]
fn heartbeats_that_change_nothing_visible_wake_nobody() {
    let server = Server::start();
    register(&server, "a", "");
    let before = revision(&server, "r");
    let mut watcher = watcher(&server);
    let mut beats = 0;
    for line in ["", "LOAD 0.9", "STATUS ACTIVE", "HEALTH OK", "STATUS ACTIVE LOAD 0 HEALTH OK", "LOAD 1"] {
        server.run(&format!("LTMC.HEARTBEAT r a {line}")).int();
        // After half of its TTL a heartbeat is made known to replicas: that is no news either.
        beats += 1;
        set_clock(&server, beats * (TTL_MS / 2 + 1));
    }
    assert!(server.run("LTMC.HEARTBEAT r missing").is_error());
    assert_eq!(server.run("LTMC.AGENT.RELEASE r 5").int(), 0);
    assert_eq!(server.run("LTMC.DEREGISTER r missing").int(), 0);
    assert!(server.run("LTMC.REGISTER r a NX").is_nil());
    assert_eq!(revision(&server, "r"), before);
    assert_eq!(watcher.recv_within(1), None);
    assert_eq!(waiting(&server), 1);
    for (line, event) in [("HEALTH DEGRADED LOAD 0.1", "agent.health"), ("STATUS IDLE", "agent.status")] {
        server.run(&format!("LTMC.HEARTBEAT r a {line}")).int();
        assert_eq!(names_in(&watcher.recv()), [event]);
        watcher = super::watcher(&server);
    }
    server.run("LTMC.HEARTBEAT r a HEALTH DEGRADED REASON heat").int();
    assert_eq!(names_in(&watcher.recv()), ["agent.health"], "another reason is news");
}

#[test]
fn what_the_scheduler_decides_wakes() {
    let server = Server::start();
    register(&server, "a", "");
    server.run("LTMC.AGENT.CLAIM r PX 1000").array();
    let mut since = revision(&server, "r");
    let grace = TTL_MS * 2 + 60_000;
    for (offset, event) in [(1_001, "agent.claimexpired"), (TTL_MS + 1, "agent.suspected"), (grace, "agent.died")] {
        let mut watcher = watcher_of(&server, &format!("1 r SINCE {since}"));
        set_clock(&server, offset);
        let (now, told) = only_news(&watcher.recv());
        assert_eq!(names(&told), [event]);
        since = now;
    }
    // The last agent is forgotten. Watchers are told before the key goes, and its log with it.
    let mut watcher = watcher_of(&server, &format!("1 r SINCE {since}"));
    set_clock(&server, grace * 2);
    assert_eq!(names_in(&watcher.recv()), ["agent.removed"]);
    assert_eq!(server.run("EXISTS r").int(), 0);
}

#[test]
fn all_events_of_a_transaction_or_a_script_are_told_together() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let mut client = server.client();
    let mut first = watcher(&server);
    let mut counted = watcher_of(&server, "1 r SINCE $ COUNT 2");
    let lines = [
        "MULTI",
        "LTMC.REGISTER r b PX 600000",
        "SET x 1",
        "LTMC.HEARTBEAT r a STATUS BUSY",
        "LTMC.HEARTBEAT r b LOAD 1",
        "LTMC.AGENT.CLAIM r PX 600000",
        "EXEC",
    ];
    assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
    let (now, told) = only_news(&first.recv());
    assert_eq!(names(&told), ["agent.registered", "agent.status", "agent.claimed"]);
    assert_eq!(told[2]["revision"].as_i64(), Some(now));
    let (now_too, part) = only_news(&counted.recv());
    assert_eq!((now_too, &part[..]), (now, &told[..2]));

    let mut second = watcher(&server);
    let script = "for _, status in ipairs({'IDLE', 'ACTIVE', 'ERROR'}) do \
                  redis.call('LTMC.HEARTBEAT', KEYS[1], 'a', 'STATUS', status) end";
    assert!(!client.cmd(&["EVAL", script, "1", "r"]).is_error());
    let (_, told) = only_news(&second.recv());
    let statuses: Vec<&str> = told.iter().filter_map(|event| event["status"].as_str()).collect();
    assert_eq!(statuses, ["idle", "active", "error"]);
}

#[test]
fn the_last_agents_leave_is_told_before_the_log_goes() {
    let server = Server::start();
    register(&server, "a", "");
    register(&server, "b", "");
    let mut watchers: Vec<Client> = (0..3).map(|_| watcher(&server)).collect();
    let mut client = server.client();
    let lines = ["MULTI", "LTMC.HEARTBEAT r a STATUS BUSY", "LTMC.DEREGISTER r a", "LTMC.DEREGISTER r b", "EXEC"];
    client.pipeline(&lines);
    let mut last = 0;
    for watcher in &mut watchers {
        let (now, told) = only_news(&watcher.recv());
        assert_eq!(names(&told), ["agent.status", "agent.deregistered", "agent.deregistered"]);
        last = now;
    }
    assert_eq!(server.run("EXISTS r").int(), 0);
    let gone = format!("LTMC.WATCH 1 r SINCE {last} BLOCK 0");
    assert_eq!(compacted(&client.run(&gone).array()[0]), (0, 0));
    // A later key of this name begins above all of that.
    register(&server, "a", "");
    let (now, oldest) = compacted(&client.run(&gone).array()[0]);
    assert!(oldest > last && now == oldest, "{last} {oldest} {now}");
}

#[test]
fn a_watcher_that_goes_on_from_where_it_was_misses_nothing() {
    let server = Server::start();
    let mut watcher = server.client();
    let mut driver = server.client();
    let (mut since, mut seen) = ("0".to_string(), Vec::new());
    const EVENTS: usize = 300;
    let lines: Vec<String> = (0..EVENTS).map(|n| format!("LTMC.REGISTER r a{n} PX {TTL_MS}")).collect();
    let mut parts = lines.chunks(7);
    while seen.len() < EVENTS {
        watcher.send_line(&format!("LTMC.WATCH 1 r SINCE {since} COUNT 5 BLOCK 0"));
        if let Some(part) = parts.next() {
            driver.pipeline(part);
        }
        let (_, told) = only_news(&watcher.recv());
        since = told.last().map(|event| event["revision"].to_string()).expect("never told of nothing");
        seen.extend(told.iter().map(|event| event["agent"].as_str().unwrap_or("").to_string()));
        if seen.len() % 50 == 0 {
            watcher = server.client();
        }
    }
    assert_eq!(seen, (0..EVENTS).map(|n| format!("a{n}")).collect::<Vec<_>>());
}
