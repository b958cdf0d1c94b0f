//! `LTMC.WATCH`: revisions, the log of events, and which watchers are told.

use crate::harness::*;
use crate::waiting::*;
use news::*;
use serde_json::Value;

mod crowd;
mod ends;
mod events;
mod keys;
mod line;
pub mod news;
mod places;
mod wakes;

/// Longer than any test takes: no agent becomes suspect unless the clock is moved.
const TTL_MS: i64 = 600_000;

#[track_caller]
fn register(server: &Server, agent: &str, more: &str) -> i64 {
    server.run(&format!("LTMC.REGISTER r {agent} PX {TTL_MS} {more}")).int()
}

/// Everything that is known of `r`.
#[track_caller]
fn story(server: &Server) -> Vec<Value> {
    story_of(server, "r")
}

/// Names of the events in a reply about one key.
#[track_caller]
fn names_in(reply: &Reply) -> Vec<String> {
    names(&only_news(reply).1).into_iter().map(String::from).collect()
}

/// A client that waits for news of `r`, from now on.
#[track_caller]
fn watcher(server: &Server) -> Client {
    watcher_of(server, "1 r SINCE $")
}

#[test]
fn a_key_that_is_not_there_has_revision_0() {
    let server = Server::start();
    for since in ["0", "$"] {
        let reply = server.run(&format!("LTMC.WATCH 1 none SINCE {since}"));
        assert_eq!(only_news(&reply), (0, Vec::new()), "{since}");
    }
    // A watcher that knows more has seen something that is gone.
    for since in [1, 1_767_225_600_000_000, i64::MAX] {
        let reply = server.run(&format!("LTMC.WATCH 1 none SINCE {since}"));
        assert_eq!(compacted(&reply.array()[0]), (0, 0), "{since}");
    }
    assert_eq!(server.run("EXISTS none").int(), 0);
}

#[test]
fn each_event_makes_one_revision_and_is_told_to_who_knows_less() {
    let server = Server::start();
    let before = server.run("TIME").texts()[0].parse::<i64>().expect("seconds") * 1_000_000;
    register(&server, "a", "");
    server.run("LTMC.HEARTBEAT r a STATUS BUSY").int();
    server.run("LTMC.HEARTBEAT r a STATUS IDLE HEALTH DEGRADED").int();
    let all = story(&server);
    assert_eq!(names(&all), ["agent.registered", "agent.status", "agent.status", "agent.health"]);
    let revisions: Vec<i64> = all.iter().map(|event| event["revision"].as_i64().expect("a number")).collect();
    assert!(revisions[0] > before, "a key begins with the time in microseconds");
    assert!(revisions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{revisions:?}");
    assert_eq!(revision(&server, "r"), revisions[3]);
    for (known, since) in revisions.iter().enumerate() {
        let (now, rest) = only_news(&server.run(&format!("LTMC.WATCH 1 r SINCE {since}")));
        assert_eq!((now, &rest[..]), (revisions[3], &all[known + 1..]));
    }
    let (now, all_again) = only_news(&server.run(&format!("LTMC.WATCH 1 r SINCE {}", revisions[0] - 1)));
    assert_eq!((now, all_again), (revisions[3], all));
    // This key never told any of these.
    for since in [1, revisions[0] - 2, revisions[3] + 1, i64::MAX] {
        let reply = server.run(&format!("LTMC.WATCH 1 r SINCE {since}"));
        assert_eq!(compacted(&reply.array()[0]), (revisions[3], revisions[0]), "{since}");
    }
}

#[test]
fn count_bounds_the_events_of_each_key() {
    let server = Server::start();
    for agent in ["a", "b", "c", "d", "e"] {
        register(&server, agent, "");
    }
    let all = story(&server);
    let (mut since, mut told) = (0, Vec::new());
    loop {
        let (now, part) = only_news(&server.run(&format!("LTMC.WATCH 1 r SINCE {since} COUNT 2 BLOCK 1")));
        assert_eq!(now, revision(&server, "r"), "the key's revision, not the last one told");
        assert!((1..=2).contains(&part.len()));
        told.extend(part);
        since = told[told.len() - 1]["revision"].as_i64().expect("a number");
        if since == now {
            break;
        }
    }
    assert_eq!(told, all);
    server.run(&format!("LTMC.REGISTER q z PX {TTL_MS}")).int();
    let both = server.run("LTMC.WATCH 2 q r SINCE 0 0 COUNT 3");
    let lengths: Vec<usize> = both.array().iter().map(|part| news(part).1.len()).collect();
    assert_eq!(lengths, [1, 3]);
}

#[test]
fn several_keys_are_answered_in_their_order_each_from_its_own_revision() {
    let server = Server::start();
    for (key, agents) in [("x", 1), ("y", 2), ("z", 3)] {
        for n in 0..agents {
            server.run(&format!("LTMC.REGISTER {key} {key}{n} PX {TTL_MS}")).int();
        }
    }
    let y = revision(&server, "y");
    let reply = server.run(&format!("LTMC.WATCH 5 z none y x gone SINCE 0 $ {} $ 7", y - 1));
    let parts = reply.array();
    let agents = |part: &Reply| news(part).1.iter().map(|event| event["agent"].to_string()).collect::<Vec<_>>();
    assert_eq!(agents(&parts[0]), ["\"z0\"", "\"z1\"", "\"z2\""]);
    assert_eq!(news(&parts[1]), (0, vec![]));
    assert_eq!(agents(&parts[2]), ["\"y1\""]);
    assert_eq!(news(&parts[3]), (revision(&server, "x"), vec![]));
    assert_eq!(compacted(&parts[4]), (0, 0));
}

#[test]
fn who_is_more_than_the_log_behind_is_told_so() {
    const KEPT: i64 = 4096;
    let server = Server::start();
    register(&server, "a", "");
    let first = revision(&server, "r");
    let mut slow = watcher_of(&server, "2 r none SINCE $ 0");
    let mut client = server.client();
    client.run("LTMC.HEARTBEAT r a STATUS ERROR").int();
    // A waiting client is told long before it can fall behind.
    let (_, told) = news(&slow.recv().array()[0]);
    assert_eq!((told.len(), told[0]["revision"].as_i64()), (1, Some(first + 1)));
    let lines: Vec<&str> = ["LTMC.HEARTBEAT r a STATUS IDLE", "LTMC.HEARTBEAT r a STATUS BUSY"].repeat(2100);
    assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
    let last = revision(&server, "r");
    assert_eq!(last, first + 4201);
    let oldest = last - KEPT + 1;
    for since in [0, first, oldest - 2] {
        let reply = client.run(&format!("LTMC.WATCH 1 r SINCE {since} BLOCK 0"));
        assert_eq!(compacted(&reply.array()[0]), (last, oldest), "{since}");
    }
    let (_, kept) = only_news(&client.run(&format!("LTMC.WATCH 1 r SINCE {}", oldest - 1)));
    assert_eq!(kept.len() as i64, KEPT);
    assert_eq!((kept[0]["revision"].as_i64(), kept[4095]["revision"].as_i64()), (Some(oldest), Some(last)));
}

#[test]
fn long_events_make_a_shorter_log() {
    let server = Server::builder().arg("ltmc.agent-capacity-max", 2000).start();
    register(&server, "a", "CAPACITY 2000");
    let claim = format!("LTMC.AGENT.CLAIM r PX 600000 REF {}", "x".repeat(1024));
    let mut client = server.client();
    assert!(client.pipeline(&vec![&claim; 1200]).iter().all(|reply| !reply.is_error()));
    let (last, oldest) = compacted(&client.run("LTMC.WATCH 1 r SINCE 0").array()[0]);
    let reply = client.run(&format!("LTMC.WATCH 1 r SINCE {}", oldest - 1));
    let bytes: usize = reply.array()[0].array()[1].texts().iter().map(String::len).sum();
    assert!((1 << 20) - 2048 < bytes && bytes <= 1 << 20, "{bytes} bytes are kept");
    assert_eq!(only_news(&reply).1.len() as i64, last - oldest + 1);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let server = Server::start();
    register(&server, "a", "");
    server.run("LTMC.LOCK l me PX 600000").int();
    server.run("SET s v").ok();
    let many = vec!["k"; 129].join(" ");
    let table = [
        ("1 r SINCE -1", "ERR", "revision"),
        ("1 r SINCE 1.5", "ERR", "revision"),
        ("1 r SINCE x", "ERR", "revision"),
        ("1 r SINCE 9223372036854775808", "ERR", "revision"),
        ("1 r SINCE 0 COUNT 0", "ERR", "COUNT"),
        ("1 r SINCE 0 COUNT", "ERR", "COUNT"),
        ("1 r SINCE 0 BLOCK -1", "ERR", "BLOCK"),
        ("1 r SINCE 0 LIMIT 1", "ERR", "LIMIT"),
        ("1 r AFTER 0", "ERR", "SINCE"),
        ("2 r q SINCE 0", "ERR", "revision"),
        ("1 r SINCE 0 0", "ERR", "0"),
        ("0 SINCE 0 COUNT 1", "ERR", "numkeys"),
        ("x r SINCE 0", "ERR", "numkeys"),
        ("9 r SINCE 0", "ERR", ""),
        ("2 r r SINCE 0 0", "ERR", "'r' is given twice"),
        ("3 r q r SINCE 0 0 $ BLOCK 0", "ERR", "'r' is given twice"),
        ("1 l SINCE 0", "ERR", "cannot be watched"),
        ("2 r l SINCE 0 $ BLOCK 0", "ERR", "cannot be watched"),
        ("1 s SINCE 0", "WRONGTYPE", ""),
        ("2 r s SINCE $ $ BLOCK 0", "WRONGTYPE", ""),
        (&format!("129 {many} SINCE 0"), "ERR", "numkeys"),
    ];
    for (what, code, says) in table {
        let reply = server.run(&format!("LTMC.WATCH {what}"));
        assert_eq!(reply.error_code(), code, "{what}");
        assert!(reply.error().contains(says), "{what}: {reply:?}");
    }
    assert_eq!(waiting(&server), 0);
}

#[test]
fn the_keys_are_known_to_the_server() {
    let server = Server::start();
    let keys = server.run("COMMAND GETKEYS LTMC.WATCH 3 a b c SINCE 0 $ 1 COUNT 5 BLOCK 0").texts();
    assert_eq!(keys, ["a", "b", "c"]);
    // Each of them has to be readable, wherever it stands.
    server.run("ACL SETUSER u on >p +ltmc.watch %R~a* %W~w* ~b*").ok();
    let mut client = server.client();
    client.auth("u", "p");
    for (keys, is_allowed) in
        [("1 a", true), ("2 a1 b1", true), ("2 a c", false), ("2 c a", false), ("3 a b w", false), ("1 w", false)]
    {
        let count = keys.split(' ').count() - 1;
        let reply = client.run(&format!("LTMC.WATCH {keys} SINCE {}", vec!["0"; count].join(" ")));
        let expected = if is_allowed { None } else { Some("NOPERM") };
        assert_eq!(reply.is_error().then(|| reply.error_code()), expected, "{keys}: {reply:?}");
    }
}

#[test]
fn both_protocols_have_the_same_form() {
    let server = Server::start();
    register(&server, "a", "");
    let mut client = server.client();
    let old = client.run("LTMC.WATCH 2 r none SINCE 0 3");
    client.resp3();
    assert_eq!(client.run("LTMC.WATCH 2 r none SINCE 0 3"), old);
    let mut waiter = server.client();
    waiter.resp3();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.WATCH 1 r SINCE $ BLOCK 0".into());
    register(&server, "b", "");
    assert_eq!(names_in(&waiter.recv()), ["agent.registered"]);
    assert!(waiter.run("LTMC.WATCH 1 none SINCE 0 BLOCK 1").is_nil());
}
