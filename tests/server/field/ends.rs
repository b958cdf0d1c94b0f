//! The end of a key is its TTL in Redis, whoever set it.

use crate::harness::*;
use std::thread;
use std::time::Duration;

/// Makes a key `k` of each type, and writes to it in ways that have undone an `EXPIRE`.
const WRITES: [(&str, &str); 15] = [
    ("LTMC.SESSION.SET k a 1", "LTMC.SESSION.SET k a 2"),
    ("LTMC.SESSION.SET k a 1", "LTMC.SESSION.JOIN k ada"),
    ("LTMC.SESSION.SET k a 1", "LTMC.SESSION.CHECKPOINT k"),
    ("LTMC.CTX.CREATE k", "LTMC.CTX.UPDATE k ada SET /a 1"),
    ("LTMC.CACHE.PUT k tool {} answer", "LTMC.CACHE.PUT k tool [1] answer"),
    ("LTMC.CACHE.PUT k tool {} answer", "LTMC.CACHE.GET k tool [2]"),
    ("LTMC.MSG.SEND k bob TO 1 ada text", "LTMC.MSG.SEND k bob TO 1 ada more"),
    ("LTMC.MSG.SEND k bob TO 1 ada text", "LTMC.MSG.RECV k ada PX 20"),
    ("LTMC.CHUNK.PUT k a text", "LTMC.CHUNK.PUT k b more"),
    ("LTMC.TASK.ADD k a text", "LTMC.TASK.ADD k * text"),
    ("LTMC.TASK.ADD k a text", "LTMC.TASK.CLAIM k ada PX 20"),
    ("LTMC.REGISTER k ada", "LTMC.REGISTER k bob PX 20"),
    ("LTMC.REGISTER k ada", "LTMC.AGENT.CLAIM k PX 20"),
    ("LTMC.REGISTER k ada", "LTMC.HEARTBEAT k ada LOAD 0.5"),
    ("LTMC.FLOW.CREATE k PX 60000", "LTMC.TASK.ADD k * text"),
];

#[track_caller]
fn assert_ttl(server: &Server, key: &str, expected: Option<i64>, what: &str) {
    let ttl = server.run(&format!("PTTL {key}")).int();
    match expected {
        None => assert_eq!(ttl, -1, "{what}"),
        Some(ms) => assert!(ttl > ms - 5000 && ttl <= ms, "{what}: {ttl} instead of {ms}"),
    }
}

#[test]
fn what_a_client_sets_by_expire_and_persist_outlives_writes_and_timed_events() {
    let primary = Server::builder().arg("ltmc.cache-lease-ms", 20).durable().start();
    let replica = primary.replica();
    for (first, write) in WRITES {
        run(&primary, first);
        for (set, expected) in [("EXPIRE k 100", Some(100_000)), ("PERSIST k", None), ("EXPIRE k 900", Some(900_000))] {
            primary.run(set);
            run(&primary, write);
            assert_ttl(&primary, "k", expected, &format!("{set}; {write}"));
            // Timed events come meanwhile: leases of 20 ms end.
            thread::sleep(Duration::from_millis(40));
            assert_ttl(&primary, "k", expected, &format!("{set}; {write}; a tick"));
            replica.wait_synced(&primary);
            assert_ttl(&replica, "k", expected, &format!("a replica; {set}; {write}"));
        }
        primary.debug_reload();
        assert_ttl(&primary, "k", Some(900_000), &format!("a reload; {write}"));
        primary.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_ttl(&primary, "k", Some(900_000), &format!("AOF; {write}"));
        primary.run("DEL k").int();
    }
}

#[test]
fn a_context_whose_life_its_user_has_made_longer_is_not_lost() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c PX 300");
    server.run("PEXPIRE c 60000").int();
    run(&server, "LTMC.CTX.UPDATE c ada SET /a 1");
    thread::sleep(Duration::from_millis(400));
    assert_eq!(run(&server, "LTMC.CTX.GET c").get("doc").text(), r#"{"a":1}"#);
    assert_ttl(&server, "c", Some(60_000), "an update");
    let shown = run(&server, "LTMC.CTX.GET c").get("ends_at_ms").int();
    assert!((shown - server.run("PEXPIRETIME c").int()).abs() <= 1);
    // Its own time to live begins anew when that is asked for.
    assert_eq!(run(&server, "LTMC.CTX.TOUCH c").int(), 1);
    assert!(server.run("PTTL c").int() <= 300);
    assert_eq!(run(&server, "LTMC.CTX.TOUCH c EX 50").int(), 1);
    assert_ttl(&server, "c", Some(50_000), "TOUCH EX");
    assert_eq!(run(&server, "LTMC.CTX.TOUCH none").int(), 0);
}

#[test]
fn a_flow_is_touched_like_a_session() {
    let primary = Server::builder().durable().start();
    let replica = primary.replica();
    run(&primary, "LTMC.FLOW.CREATE f EX 100");
    run(&primary, "LTMC.FLOW.CREATE endless");
    primary.run("EXPIRE f 1000").int();
    assert_eq!(run(&primary, "LTMC.FLOW.TOUCH f").int(), 1);
    assert_ttl(&primary, "f", Some(100_000), "TOUCH");
    assert_eq!(run(&primary, "LTMC.FLOW.TOUCH f EX 200").int(), 1);
    assert_ttl(&primary, "f", Some(200_000), "TOUCH EX");
    let info = run(&primary, "LTMC.FLOW.INFO f");
    assert_eq!(info.get("ttl_ms").int(), 200_000);
    assert!((info.get("expires_at_ms").int() - primary.run("PEXPIRETIME f").int()).abs() <= 1);
    assert_eq!(run(&primary, "LTMC.FLOW.TOUCH endless").int(), 1, "there is nothing to renew");
    assert_ttl(&primary, "endless", None, "TOUCH");
    assert_eq!(run(&primary, "LTMC.FLOW.TOUCH none").int(), 0);
    replica.wait_synced(&primary);
    assert_ttl(&replica, "f", Some(200_000), "a replica");
    assert_persisted_everywhere(&primary, &[&replica]);
}

#[test]
fn a_sliding_life_begins_anew_at_each_write_and_maxlife_bounds_everything() {
    let server = Server::start();
    run(&server, "LTMC.SESSION.CREATE s EX 100 SLIDING");
    for set in ["EXPIRE s 1000", "PERSIST s", "EXPIRE s 10"] {
        server.run(set).int();
        run(&server, &format!("LTMC.SESSION.SET s f {}", set.len()));
        assert_ttl(&server, "s", Some(100_000), set);
    }
    run(&server, "LTMC.SESSION.CREATE m MAXLIFE 50000");
    for set in ["EXPIRE m 1000", "PERSIST m"] {
        server.run(set).int();
        let is_back = || (1..=50_000).contains(&server.run("PTTL m").int());
        wait_until("the TTL is no longer than MAXLIFE", is_back);
    }
    server.run("EXPIRE m 10").int();
    run(&server, "LTMC.SESSION.SET m f v");
    assert_ttl(&server, "m", Some(10_000), "a shorter one stands");
}

#[test]
fn the_lease_of_a_lock_ends_when_it_ends() {
    let server = Server::start();
    let replica = server.replica();
    for set in ["EXPIRE l 1000", "PERSIST l", "EXPIRE l 500"] {
        run(&server, "LTMC.LOCK l ada PX 20000");
        server.run(set).int();
        wait_until("the TTL is that of the lease", || (1..=20_000).contains(&server.run("PTTL l").int()));
        replica.wait_synced(&server);
        assert!((1..=20_000).contains(&replica.run("PTTL l").int()), "{set}");
    }
    // A shorter one ends it, and the next one is served.
    let mut next = server.client();
    next.send_line("LTMC.LOCK l bob BLOCK 0");
    server.wait_blocked(1);
    server.run("PEXPIRE l 30").int();
    assert!(next.recv().int() > 0);
    // RENEW in the same turn means what it says.
    run(&server, "DEL l");
    let fence = run(&server, "LTMC.LOCK l ada PX 20000").int();
    let mut client = server.client();
    client.pipeline(&["EXPIRE l 1000".to_string(), format!("LTMC.LOCK.RENEW l ada TOKEN {fence} PX 30000")]);
    assert_ttl(&server, "l", Some(30_000), "RENEW");
}

/// A session `s` that owns the lock `l`, which the session's agent holds.
fn with_owner(server: &Server) {
    run(server, "LTMC.SESSION.CREATE s");
    run(server, "LTMC.SESSION.JOIN s ada");
    run(server, "LTMC.LOCK l ada PX 900000");
    run(server, "LTMC.SESSION.OWN s l");
}

#[track_caller]
fn assert_given_back(server: &Server, what: &str) {
    assert!(holds_within(Duration::from_secs(5), || server.run("EXISTS l s").int() == 0), "{what}");
}

#[test]
fn what_a_session_owns_is_given_back_at_the_end_of_its_ttl_whoever_ends_it() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    // In time.
    for set in ["PEXPIRE s 100", "LTMC.SESSION.TOUCH s PX 100", "LTMC.SESSION.SET s f v PX 100"] {
        with_owner(&server);
        assert_ttl(&server, "s", None, "it has no TTL yet");
        server.run(set);
        assert!((1..=100).contains(&server.run("PTTL s").int()), "PTTL shows it, {set}");
        assert_given_back(&server, set);
        replica.wait_synced(&server);
        assert_eq!(replica.run("EXISTS l s").int(), 0, "{set}");
    }
    // Redis is faster: in a turn that takes longer, and in one transaction.
    for lines in
        [&["PEXPIRE s 10", "DEBUG SLEEP 0.05", "EXISTS s"][..], &["PEXPIREAT s 1"], &["MULTI", "PEXPIRE s 0", "EXEC"]]
    {
        with_owner(&server);
        server.client().pipeline(lines);
        assert_given_back_or_deleted(&server, lines);
        replica.wait_synced(&server);
        assert_eq!(replica.run("EXISTS s").int(), 0, "{lines:?}");
    }
    // The server was stopped longer.
    with_owner(&server);
    server.run("PEXPIRE s 100").int();
    server.freeze(Duration::from_millis(300));
    assert_given_back(&server, "a server that was stopped");
}

/// `PEXPIREAT` with a time that is over is a `DEL`, which gives nothing back.
fn assert_given_back_or_deleted(server: &Server, lines: &[&str]) {
    if lines.len() == 3 && lines[0].starts_with("PEXPIRE ") {
        return assert_given_back(server, &format!("{lines:?}"));
    }
    assert_eq!(server.run("EXISTS s").int(), 0);
    server.run("DEL l").int();
}

#[test]
fn a_large_estate_is_given_back_in_rounds_and_nothing_of_it_is_lost() {
    let server = Server::builder().arg("ltmc.sweep-batch-max", 2).start();
    let replica = server.replica();
    run(&server, "LTMC.SESSION.CREATE s");
    run(&server, "LTMC.SESSION.JOIN s ada");
    let locks: Vec<String> = (0..9).map(|n| format!("l{n}")).collect();
    for lock in &locks {
        run(&server, &format!("LTMC.LOCK {lock} ada PX 900000"));
        run(&server, &format!("LTMC.SESSION.OWN s {lock}"));
    }
    server.client().pipeline(&["PEXPIRE s 10", "DEBUG SLEEP 0.05", "EXISTS s"]);
    wait_until("all locks are free", || server.run(&format!("EXISTS {}", locks.join(" "))).int() == 0);
    replica.wait_synced(&server);
    assert_eq!(replica.run(&format!("EXISTS s {}", locks.join(" "))).int(), 0);
}

#[test]
fn what_a_session_owns_is_given_back_if_its_ttl_ends_while_the_server_is_down() {
    for aof in ["yes", "no"] {
        let mut server = Server::builder().durable().arg("appendonly", aof).start();
        with_owner(&server);
        server.run("PEXPIRE s 300").int();
        server.run("SAVE").ok();
        server.kill();
        thread::sleep(Duration::from_millis(400));
        server.start_again();
        assert_given_back(&server, &format!("appendonly {aof}"));
    }
}

#[test]
fn the_end_by_a_ttl_is_an_event_like_any_other_end() {
    let server = Server::start();
    server.run("CONFIG SET notify-keyspace-events KEAd").ok();
    let counted = |event: &str| run(&server, "LTMC.HEALTH").find(event).map(Reply::int);
    for (make, event) in [
        ("LTMC.LOCK k ada PX 50", "lock.expired"),
        ("LTMC.LOCK k ada SHARED PX 50", "lock.expired"),
        ("LTMC.SESSION.SET k f v PX 50", "session.ended"),
        ("LTMC.CTX.CREATE k PX 50", "context.ended"),
    ] {
        let before = counted(event);
        let mut listener = server.client();
        listener.run("SUBSCRIBE __keyspace@0__:k");
        run(&server, make);
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != "expired") {
            names.push(listener.recv().array()[2].text().to_string());
        }
        assert_eq!(names.iter().position(|name| name == event), Some(names.len() - 2), "{make}: {names:?}");
        assert!(before.is_none() || counted(event) > before, "{make}");
    }
    // A native key, and a key that was deleted, say nothing of the kind.
    let mut listener = server.client();
    listener.run("PSUBSCRIBE __keyspace@0__:*");
    for line in [
        "SET k v PX 30",
        "LTMC.LOCK d ada PX 5000",
        "DEL d",
        "LTMC.SESSION.SET t f v",
        "LTMC.SESSION.END t",
        "PEXPIRE t 20",
    ] {
        server.run(line);
    }
    thread::sleep(Duration::from_millis(200));
    server.run("SET mark 1").ok();
    let mut names = Vec::new();
    while names.last().is_none_or(|(key, _): &(String, String)| !key.ends_with("mark")) {
        let told = listener.recv();
        names.push((told.array()[2].text().to_string(), told.array()[3].text().to_string()));
    }
    assert!(names.iter().all(|(_, name)| name != "lock.expired"), "{names:?}");
    assert_eq!(names.iter().filter(|(_, name)| name == "session.ended").count(), 1, "{names:?}");
}

#[test]
fn watchers_hear_of_an_end_by_a_ttl_with_all_that_they_had_not_seen() {
    let server = Server::start();
    for (make, write, event) in [
        ("LTMC.SESSION.CREATE k", "LTMC.SESSION.SET k f v", "session.ended"),
        ("LTMC.CTX.CREATE k", "LTMC.CTX.UPDATE k ada SET /a 1", "context.ended"),
    ] {
        run(&server, make);
        run(&server, write);
        let mut watchers = server.clients(3);
        for (watcher, since) in watchers.iter_mut().zip(["$", "$ PATH /nowhere", "$ COUNT 1"]) {
            watcher.send_line(&format!("LTMC.WATCH 1 k SINCE {since} BLOCK 0"));
        }
        server.wait_blocked(3);
        server.run("PEXPIRE k 50").int();
        for watcher in &mut watchers {
            let told = watcher.recv();
            let events = told.array()[0].array()[1].texts();
            assert!(events.len() == 1 && events[0].contains(&format!("\"event\":\"{event}\"")), "{told:?}");
        }
        assert_eq!(server.run("EXISTS k").int(), 0);
    }
}

/// Waits until the scheduler has had a round after what was sent.
fn wait_for_a_round(server: &Server) {
    run(server, "LTMC.LOCK round ada PX 60000");
    let mut waiter = server.client();
    waiter.send_line("LTMC.LOCK round bob BLOCK 20");
    assert_eq!(waiter.recv(), Reply::Nil);
}

#[test]
fn a_session_of_the_base_that_the_aof_has_ended_takes_nothing_from_new_owners() {
    let mut server = Server::builder().durable().start();
    for end in ["LTMC.SESSION.END s GRACE 0", "DEL s", "RENAME s t", "MOVE s 1", "LTMC.SESSION.DISOWN s l", "PERSIST s"]
    {
        server.run("FLUSHALL").ok();
        with_owner(&server);
        server.run("PEXPIRE s 900000").int();
        server.rewrite_aof();
        server.run(end);
        run(&server, "LTMC.UNLOCK l ada ALL");
        let fence = run(&server, "LTMC.LOCK l ada PX 600000").int();
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        wait_for_a_round(&server);
        assert_eq!(run(&server, &format!("LTMC.LOCK.CHECK l {fence}")).int(), 1, "{end}, LOADAOF");
        server.kill();
        server.start_again();
        wait_for_a_round(&server);
        assert_eq!(run(&server, &format!("LTMC.LOCK.CHECK l {fence}")).int(), 1, "{end}, a restart");
    }
}

#[test]
fn a_session_that_is_gone_right_after_a_reload_takes_nothing_from_its_owners() {
    let server = Server::start();
    for end in ["DEL s", "RENAME s t", "MOVE s 1", "LTMC.SESSION.DISOWN s l"] {
        server.run("FLUSHALL").ok();
        with_owner(&server);
        server.client().pipeline(&["DEBUG RELOAD", end]);
        wait_for_a_round(&server);
        assert_eq!(server.run("EXISTS l").int(), 1, "{end}");
    }
    // One that is dumped and restored, too.
    server.run("FLUSHALL").ok();
    with_owner(&server);
    let dump = server.cmd(&["DUMP", "s"]).bytes().to_vec();
    let mut client = server.client();
    client.send(&[b"RESTORE".to_vec(), b"r".to_vec(), b"0".to_vec(), dump]);
    client.send_line("DEL r");
    client.recv().ok();
    client.recv().int();
    wait_for_a_round(&server);
    assert_eq!(server.run("EXISTS l").int(), 1);
}

#[test]
fn what_is_granted_after_the_end_of_a_session_is_kept() {
    let server = Server::start();
    with_owner(&server);
    run(&server, "LTMC.LOCK other ada PX 900000");
    run(&server, "LTMC.SESSION.OWN s other");
    let ended = ["PEXPIRE s 20", "DEBUG SLEEP 0.06", "EXISTS s"];
    let granted = ["LTMC.UNLOCK l ada ALL", "LTMC.LOCK l ada PX 600000"];
    server.client().pipeline(&[&ended[..], &granted].concat());
    wait_until("what it owned is given back", || server.run("EXISTS other").int() == 0);
    wait_for_a_round(&server);
    assert_eq!(server.run("EXISTS l").int(), 1);
}

/// What was published of `key`, until `last` comes for the `count`th time.
fn told(listener: &mut Client, last: &str, count: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.iter().filter(|name| *name == last).count() < count {
        names.push(listener.recv().array()[2].text().to_string());
    }
    names
}

#[test]
fn an_end_by_a_ttl_is_published_before_what_comes_next() {
    let server = Server::start();
    server.run("CONFIG SET notify-keyspace-events KEAd").ok();
    for (begin, next) in [
        (["LTMC.LOCK k ada PX 20", "LTMC.LOCK k bob PX 60000"], ["lock.expired", "lock.granted"]),
        (["LTMC.SESSION.SET k f v PX 20", "LTMC.SESSION.CREATE k"], ["session.ended", "session.created"]),
        (["LTMC.CTX.CREATE k PX 20", "LTMC.CTX.CREATE k"], ["context.ended", "context.created"]),
    ] {
        server.run("DEL k").int();
        let mut listener = server.client();
        listener.run("SUBSCRIBE __keyspace@0__:k");
        server.client().pipeline(&[begin[0], "DEBUG SLEEP 0.06", begin[1]]);
        let names = told(&mut listener, next[1], 2);
        let at = |event| names.iter().position(|name| name == event);
        assert!(at(next[0]).is_some() && at(next[0]) < at("expired"), "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == next[0]).count(), 1, "{names:?}");
        assert_eq!(names.last().map(String::as_str), Some(next[1]), "{names:?}");
    }
    // A waiter is served by the scheduler.
    server.run("DEL k").int();
    let mut listener = server.client();
    listener.run("SUBSCRIBE __keyspace@0__:k");
    run(&server, "LTMC.LOCK k ada PX 60");
    server.client().run("LTMC.LOCK k bob BLOCK 3000 PX 60000").int();
    let names = told(&mut listener, "lock.granted", 2);
    assert!(names.contains(&"lock.expired".to_string()), "{names:?}");
}

#[test]
fn watchers_get_what_a_transaction_wrote_that_took_longer_than_the_key_lasted() {
    let server = Server::start();
    let ended = |told: &Reply| told.array()[0].array()[1].texts();
    for script in [false, true] {
        run(&server, "LTMC.CTX.CREATE c PX 200");
        let mut watcher = server.client();
        watcher.send_line("LTMC.WATCH 1 c SINCE $ BLOCK 5000");
        server.wait_blocked(1);
        if script {
            let slow = "redis.call('LTMC.CTX.UPDATE', 'c', 'ada', 'SET', '/a', '1')
                local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
                local end_ = now() + 300 while now() < end_ do end";
            server.cmd(&["EVAL", slow, "1", "c"]);
        } else {
            server.client().pipeline(&["MULTI", "LTMC.CTX.UPDATE c ada SET /a 1", "DEBUG SLEEP 0.3", "EXEC"]);
        }
        let events = ended(&watcher.recv());
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events[0].contains("context.changed") && events[1].contains("context.ended"), "{events:?}");
    }
}
