//! Replies that may be cut stop before the bound. A client that asks on gets all of it, each part
//! once.

use super::*;
use crate::waiting::{assert_idle, set_clock};
use std::collections::BTreeSet;

/// A size of which two fit into the smallest bound and three do not.
const LARGE: usize = 30_000;

/// The payloads of messages or tasks, each by its first byte. The rest of it is the same byte
/// again.
fn letters(reply: &Reply) -> String {
    reply.array().iter().map(|one| char::from(one.get("payload").bytes()[0])).collect()
}

fn large(letter: char) -> String {
    letter.to_string().repeat(LARGE)
}

#[test]
fn a_receiver_leases_no_more_than_it_is_told() {
    let server = server();
    for letter in "abcde".chars() {
        run(&server, &["LTMC.MSG.SEND", "m", "ann", "TO", "1", "bob", &large(letter)]).int();
    }
    let received = server.run("LTMC.MSG.RECV m bob COUNT 10");
    assert_eq!(letters(&received), "ab");
    assert_eq!(server.run("LTMC.MSG.PENDING m bob").array().len(), 2, "the others can be received by the next call");
    assert_eq!(letters(&server.run("LTMC.MSG.RECV m bob COUNT 1")), "c");
    assert_eq!(letters(&server.run("LTMC.MSG.RECV m bob COUNT 10")), "de");
    assert_eq!(server.run("LTMC.MSG.RECV m bob COUNT 10").array(), []);
    // A message that is larger than the bound comes alone.
    for bytes in [2 * BOUND, 1, 2 * BOUND] {
        run(&server, &["LTMC.MSG.SEND", "m", "ann", "TO", "1", "bob", &text(bytes)]).int();
    }
    for bytes in [2 * BOUND, 1, 2 * BOUND] {
        let received = server.run("LTMC.MSG.RECV m bob COUNT 10");
        let received: Vec<usize> = received.array().iter().map(|one| one.get("payload").bytes().len()).collect();
        assert_eq!(received, [bytes]);
    }
}

#[test]
fn messages_fit_up_to_the_last_byte_of_the_bound() {
    let server = server();
    // A message is a map of nine fields.
    let half = BOUND / 2 - 19 * ELEMENT - "ann".len();
    for bytes in [half, half, half, half + 1] {
        run(&server, &["LTMC.MSG.SEND", "m", "ann", "TO", "1", "bob", &text(bytes)]).int();
    }
    assert_eq!(server.run("LTMC.MSG.RECV m bob COUNT 10").array().len(), 2);
    assert_eq!(server.run("LTMC.MSG.RECV m bob COUNT 10").array().len(), 1, "one byte too many");
    assert_eq!(server.run("LTMC.MSG.RECV m bob COUNT 10").array().len(), 1);
}

#[test]
fn who_waits_for_messages_is_given_no_more_than_it_is_told() {
    let server = server();
    for letter in "abc".chars() {
        run(&server, &["LTMC.MSG.SEND", "m", "ann", "TO", "1", "bob", &large(letter)]).int();
    }
    bound(&server, 4 * BOUND);
    assert_eq!(letters(&server.run("LTMC.MSG.RECV m bob COUNT 10 PX 1000")), "abc");
    bound(&server, BOUND);
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters, |_| "LTMC.MSG.RECV m bob COUNT 10 PX 600000 BLOCK 0".to_string());
    // The lease of all three ends at once.
    set_clock(&server, 2_000);
    assert_eq!(waiters.iter_mut().map(|waiter| letters(&waiter.recv())).collect::<Vec<_>>(), ["ab", "c"]);
    assert_idle(&server);
}

#[test]
fn a_worker_claims_no_more_than_it_is_told_and_a_retry_tells_the_same() {
    let server = server();
    for letter in "abcde".chars() {
        run(&server, &["LTMC.TASK.ADD", "f", &letter.to_string(), &large(letter)]);
    }
    let claimed = server.run("LTMC.TASK.CLAIM f bob COUNT 10 PX 600000 REQID r");
    assert_eq!(letters(&claimed), "ab");
    let counts = |field: &str| server.run("LTMC.FLOW.INFO f").get(field).int();
    assert_eq!((counts("running"), counts("ready")), (2, 3));
    assert_eq!(server.run("LTMC.TASK.CLAIM f bob COUNT 10 PX 600000 REQID r"), claimed);
    let fence = claimed.array()[0].get("fence").int();
    let next = server.run(&format!("LTMC.TASK.COMPLETE f a {fence} done NEXT"));
    assert_eq!(letters(&next), "c", "the next one is answered alone");
    assert_eq!(letters(&server.run("LTMC.TASK.CLAIM f ann COUNT 10 PX 600000")), "de");
    assert_eq!(server.run("LTMC.TASK.CLAIM f ann COUNT 10").array(), []);
}

#[test]
fn a_task_that_does_not_fit_keeps_its_locks_free() {
    let server = server();
    for letter in "abc".chars() {
        run(
            &server,
            &["LTMC.TASK.ADD", "f", &letter.to_string(), &large(letter), "LOCKS", "1", &format!("lock-{letter}")],
        );
    }
    assert_eq!(letters(&server.run("LTMC.TASK.CLAIM f bob COUNT 10 PX 600000")), "ab");
    assert_eq!(server.run("EXISTS lock-a lock-b lock-c").int(), 2);
    assert_eq!(letters(&server.run("LTMC.TASK.CLAIM f ann COUNT 10 PX 600000")), "c");
}

#[test]
fn signals_that_came_since_a_claim_make_its_retry_no_longer_than_the_bound() {
    let server = server();
    for letter in "abc".chars() {
        run(&server, &["LTMC.TASK.ADD", "f", &letter.to_string(), "p", "WAITSIGNAL"]);
        run(&server, &["LTMC.TASK.SIGNAL", "f", &letter.to_string(), &large(letter)]);
    }
    bound(&server, 4 * BOUND);
    let claimed = server.run("LTMC.TASK.CLAIM f bob COUNT 10 PX 600000 REQID r");
    assert_eq!(claimed.array().len(), 3);
    bound(&server, BOUND);
    let again = server.run("LTMC.TASK.CLAIM f bob COUNT 10 PX 600000 REQID r");
    assert_eq!(again.array(), &claimed.array()[..2]);
}

#[test]
fn workers_that_wait_share_what_one_reply_cannot_say() {
    let server = server();
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.CLAIM f w{n} COUNT 10 PX 600000 BLOCK 0"));
    let tasks: Vec<String> =
        "abcde".chars().map(|letter| format!(r#"{{"id":"{letter}","payload":"{}"}}"#, large(letter))).collect();
    run(&server, &["LTMC.FLOW.CREATE", "f", "SPEC", &format!(r#"{{"tasks":[{}]}}"#, tasks.join(","))]);
    assert_eq!(waiters.iter_mut().map(|waiter| letters(&waiter.recv())).collect::<Vec<_>>(), ["ab", "cd"]);
    assert_idle(&server);
    assert_eq!(letters(&server.run("LTMC.TASK.CLAIM f ann COUNT 10")), "e");
}

/// All elements of a list, page after page. Each page has some of them, and none comes twice.
#[track_caller]
fn pages(server: &Server, line: &str, show: impl Fn(&Reply) -> String) -> BTreeSet<String> {
    let (mut all, mut pages) = (BTreeSet::new(), 0);
    loop {
        let page = server.run(&format!("{line} LIMIT {} 1000000", all.len()));
        if page.array().is_empty() {
            break;
        }
        let before = all.len();
        all.extend(page.array().iter().map(&show));
        assert_eq!(all.len(), before + page.array().len(), "{line}: one came twice");
        pages += 1;
    }
    assert!(pages > 1, "{line} has all of it in one reply");
    all
}

#[test]
fn lists_are_read_page_after_page() {
    let server = server();
    let name = |n: usize| format!("n{n:0249}");
    let names: BTreeSet<String> = (0..400).map(name).collect();
    run(&server, &["LTMC.CTX.CREATE", "c"]);
    for name in &names {
        run(&server, &["LTMC.TASK.ADD", "f", name, "p"]);
        run(&server, &["LTMC.REGISTER", "r", name, "PX", "600000"]);
        run(&server, &["LTMC.CHUNK.PUT", "b", name, "data"]);
        run(&server, &["LTMC.MSG.JOIN", "m", name]);
        run(&server, &["LTMC.SESSION.SET", "s", "f", "1"]);
        for command in ["LTMC.SESSION.CHECKPOINT", "LTMC.CTX.CHECKPOINT"] {
            let key = if command.contains("CTX") { "c" } else { "s" };
            run(&server, &[command, key, "NAME", name]);
        }
    }
    let id = |one: &Reply| one.text().to_string();
    for line in ["LTMC.TASK.LIST f", "LTMC.AGENT.LIST r", "LTMC.CHUNK.LIST b"] {
        assert_eq!(pages(&server, line, id), names, "{line}");
    }
    assert_eq!(pages(&server, "LTMC.MSG.AGENTS m", |one| one.get("agent").text().to_string()), names);
    for line in ["LTMC.SESSION.CHECKPOINTS s", "LTMC.CTX.CHECKPOINTS c"] {
        assert_eq!(pages(&server, line, |one| one.get("name").text().to_string()), names, "{line}");
    }
    for line in ["LTMC.AGENT.FIND r LIMIT 400", "LTMC.AGENT.FIND r WITHINFO LIMIT 400", "LTMC.TASK.LIST f LIMIT 0 400"]
    {
        let found = server.run(line).array().len();
        assert!((1..400).contains(&found), "{line}: {found}");
    }
    // What is asked for as a whole comes whole, or not at all.
    let all = [
        ("LTMC.AGENT.FIND r", "LIMIT asks for fewer"),
        ("LTMC.AGENT.LIST r", "CURSOR asks for a part"),
        ("LTMC.TASK.LIST f", "CURSOR asks for a part"),
        ("LTMC.CHUNK.LIST b", "CURSOR asks for a part"),
        ("LTMC.MSG.AGENTS m", "CURSOR asks for a part"),
        ("LTMC.SESSION.CHECKPOINTS s", "CURSOR asks for a part"),
        ("LTMC.CTX.CHECKPOINTS c", "CURSOR asks for a part"),
    ];
    for (line, hint) in all {
        let refused = server.run(line);
        assert!(refused.error_code() == "LIMIT" && refused.error().contains(hint), "{line}: {refused:?}");
    }
}

#[test]
fn a_reply_has_no_more_values_than_it_may() {
    let server = Server::start();
    run(&server, &["CONFIG", "SET", "ltmc.reply-elements-max", "1000"]);
    for n in 0..1001 {
        run(&server, &["LTMC.TASK.ADD", "f", &n.to_string(), "p"]);
        run(&server, &["LTMC.SESSION.SET", "s", &n.to_string(), "v"]);
    }
    let refused = server.run("LTMC.TASK.LIST f");
    assert!(refused.error().contains("at least 1001 values,") && refused.error().contains("ltmc.reply-elements-max"));
    assert_eq!(server.run("LTMC.TASK.LIST f LIMIT 0 9999").array().len(), 1000);
    let page = server.run("LTMC.TASK.LIST f CURSOR 0 COUNT 9999");
    assert_eq!(page.array()[1].array().len(), 1000);
    assert_eq!(server.run("LTMC.SESSION.GET s").error_code(), "LIMIT");
    assert_eq!(server.run("LTMC.SESSION.GET s 1 2").texts(), ["v", "v"]);
    assert_eq!(server.run("LTMC.TASK.CLAIM f ada COUNT 1000").array().len(), 1000 / 21);
}

#[test]
fn dead_letters_and_what_is_pending_are_read_page_after_page() {
    let server = server();
    let all: BTreeSet<String> = (0..400).map(|n| format!("{n:0200}")).collect();
    for payload in &all {
        run(&server, &["LTMC.MSG.SEND", "m", "ann", "TO", "1", "bob", payload]).int();
    }
    while !server.run("LTMC.MSG.RECV m bob COUNT 1000 PX 600000").array().is_empty() {}
    let ids = pages(&server, "LTMC.MSG.PENDING m bob", |one| one.get("id").int().to_string());
    assert_eq!(ids.len(), all.len());
    for id in &ids {
        assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {id} DEAD")).int(), 1);
    }
    assert_eq!(pages(&server, "LTMC.MSG.DEAD m", |one| one.get("payload").text().to_string()), all);
}

#[test]
fn the_cursor_of_a_scan_stands_on_the_first_that_was_not_shown() {
    let server = server();
    let all: BTreeSet<String> = (0..100).map(|n| format!("\"{n:01000}\"")).collect();
    for args in &all {
        run(&server, &["LTMC.CACHE.PUT", "k", "tool", args, "value"]).ok();
    }
    let (mut cursor, mut found, mut calls) = ("0".to_string(), BTreeSet::new(), 0);
    loop {
        let reply = server.run(&format!("LTMC.CACHE.SCAN k {cursor} COUNT 1000"));
        let shown = reply.array()[1].array();
        assert!(!shown.is_empty());
        found.extend(shown.iter().map(|one| one.get("args").text().to_string()));
        (cursor, calls) = (reply.array()[0].text().to_string(), calls + 1);
        if cursor == "0" {
            break;
        }
    }
    assert!(calls > 1, "all of it was shown at once");
    assert_eq!(found, all);
    assert!(server.run("LTMC.CACHE.TOP k LIMIT 1000").array().len() < 100);
}

#[test]
fn a_watcher_goes_on_where_a_reply_was_full() {
    let server = server();
    let field = text(500);
    for key in ["s", "t"] {
        assert_eq!(server.run(&format!("LTMC.SESSION.CREATE {key}")).int(), 1);
    }
    for n in 0..300 {
        let key = ["s", "t"][n % 2];
        run(&server, &["LTMC.SESSION.SET", key, &format!("{field}{n}"), "1"]).int();
    }
    let (mut since, mut found, mut calls) = ([0, 0], Vec::new(), 0);
    loop {
        let reply = server.run(&format!("LTMC.WATCH 2 s t SINCE {} {}", since[0], since[1]));
        let before = found.len();
        for (known, told) in since.iter_mut().zip(reply.array()) {
            let events = told.array()[1].array();
            found.extend(events.iter().map(|event| event.text().to_string()));
            let revision = told.array()[0].int();
            assert!(revision >= *known);
            *known = revision;
        }
        if found.len() == before {
            break;
        }
        calls += 1;
    }
    assert!(calls > 2, "{calls} calls");
    let numbers: BTreeSet<String> =
        found.iter().filter_map(|event| event.split(&field).nth(1)).map(String::from).collect();
    assert_eq!((found.len(), numbers.len()), (302, 300), "each is told once");
    let still: Vec<i64> = since.to_vec();
    assert_eq!(
        server.run("LTMC.WATCH 2 s t SINCE $ $").array().iter().map(|key| key.array()[0].int()).collect::<Vec<_>>(),
        still
    );
}

#[test]
fn an_agent_is_shown_with_as_much_of_what_it_has_as_fits() {
    let server = server();
    run(&server, &["LTMC.REGISTER", "r", "ann", "CAPACITY", "1000", "PX", "600000"]).int();
    let reference = text(1000);
    for _ in 0..100 {
        run(&server, &["LTMC.AGENT.CLAIM", "r", "PX", "600000", "REF", &reference]);
    }
    let claims = || server.run("LTMC.AGENT.GET r ann").get("claims").array().len();
    assert!((50..70).contains(&claims()), "{}", claims());
    bound(&server, 4 * BOUND);
    assert_eq!(claims(), 100);
}

#[test]
fn the_keys_that_an_agent_holds_are_shown_as_far_as_they_fit() {
    let server = server();
    server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    run(&server, &["LTMC.REGISTER", "r", "ann", "PX", "600000"]).int();
    for n in 0..150 {
        run(&server, &["LTMC.LOCK", &format!("{n:01000}"), "ann", "REGISTRY", "r", "PX", "600000"]).int();
    }
    let holds = || server.run("LTMC.AGENT.GET r ann").get("holds").array().len();
    assert!((45..66).contains(&holds()), "{}", holds());
    bound(&server, 4 * BOUND);
    assert_eq!(holds(), 150);
}

#[test]
fn the_parts_of_a_thing_are_shown_as_far_as_they_fit_beside_how_many_there_are() {
    let server = server();
    run(&server, &["LTMC.CTX.CREATE", "c", "DOC", r#"{"a":1}"#]).int();
    run(&server, &["LTMC.SESSION.CREATE", "s"]).int();
    for n in 0..300 {
        let name = format!("{n:0250}");
        run(&server, &["LTMC.SESSION.OWN", "s", &name]).int();
        for verb in ["LTMC.CTX.JOIN", "LTMC.SESSION.JOIN"] {
            let key = if verb.contains("CTX") { "c" } else { "s" };
            run(&server, &[verb, key, &name, "ROLE", &text(200)]).int();
        }
        run(&server, &["LTMC.LOCK", "l", &name, "SHARED", "PX", "600000"]).int();
    }
    let mut waiters = server.clients(30);
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK l w{n} BLOCK 0 PATH {}", text(900)));
    let whole = |line: &str, part: &str| {
        let shown = server.run(line);
        let (count, parts) = (shown.get(&format!("{part}_count")).int(), shown.get(part).array().len());
        assert!(parts > 0 && parts as i64 <= count, "{line}: {parts} of {count} {part}");
        (count, parts as i64 == count)
    };
    for line in ["LTMC.CTX.GET c", "LTMC.CTX.GET c PATH 1 /a"] {
        let expected = if line.contains("PATH") { r#"{"/a":1}"# } else { r#"{"a":1}"# };
        assert_eq!(server.run(line).get("doc").text(), expected, "one single value is always answered");
    }
    let parts = [
        ("LTMC.CTX.GET c", "participants", 300),
        ("LTMC.SESSION.INFO s", "participants", 300),
        ("LTMC.SESSION.INFO s", "resources", 300),
        ("LTMC.LOCK.INFO l", "holders", 300),
        ("LTMC.LOCK.INFO l", "waiters", 30),
    ];
    for (line, part, count) in parts {
        assert_eq!(whole(line, part), (count, false), "{line}: {part}");
    }
    bound(&server, 10 * BOUND);
    for (line, part, count) in parts {
        let is_whole = part != "holders"; // Of these the first hundred are shown.
        assert_eq!(whole(line, part), (count, is_whole), "{line}: {part}");
    }
}

#[test]
fn a_command_has_no_more_arguments_than_it_may() {
    let server = Server::start();
    run(&server, &["CONFIG", "SET", "ltmc.arguments-max", "1000"]);
    let fields = |count: usize| {
        let pairs = (0..count).flat_map(|n| [n.to_string(), "v".into()]);
        ["LTMC.SESSION.SET".to_string(), "s".into()].into_iter().chain(pairs).collect::<Vec<_>>()
    };
    assert_eq!(server.cmd(&fields(499)).int(), 1);
    let refused = server.cmd(&fields(500));
    let text = "a command with 1002 arguments would pass the limit of 1000 (setting ltmc.arguments-max)";
    assert!(refused.error_code() == "LIMIT" && refused.error().contains(text), "{refused:?}");
    let script = "return redis.pcall('LTMC.SESSION.DEL', KEYS[1], unpack(ARGV))";
    let eval = [vec!["EVAL".to_string(), script.into(), "1".into(), "s".into()], fields(500)].concat();
    assert_eq!(server.cmd(&eval).error_code(), "LIMIT");
    assert_eq!(server.run("LTMC.SESSION.GET s").pairs().len(), 499);
}
