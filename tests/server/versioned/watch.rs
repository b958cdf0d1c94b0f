//! `LTMC.WATCH` on sessions and contexts: what the events tell, and which watchers with `PATH` are
//! told.

use super::*;
use serde_json::json;

mod crowd;
mod waits;

/// The events after `since`, without what differs from run to run.
#[track_caller]
fn told(server: &Server, key: &str, since: i64) -> Vec<Value> {
    let (_, mut events) = only_news(&server.run(&format!("LTMC.WATCH 1 {key} SINCE {since}")));
    for event in &mut events {
        let fields = event.as_object_mut().expect("an object");
        assert!(fields.remove("revision").is_some_and(|revision| revision.is_u64()));
        assert!(fields.remove("at_ms").is_some_and(|at| at.is_u64()));
        if let Some(gone_at) = fields.remove("gone_at_ms") {
            assert!(gone_at.is_u64());
        }
    }
    events
}

/// Runs each line and compares the events that come of it.
#[track_caller]
fn tells(server: &Server, key: &str, table: &[(&str, Value)]) {
    for (line, expected) in table {
        let since = revision(server, key);
        run(server, line);
        let expected = if expected.is_null() { vec![] } else { vec![expected.clone()] };
        assert_eq!(told(server, key, since), expected, "{line}");
    }
}

#[test]
fn each_event_of_a_context_says_what_has_happened() {
    let server = Server::start();
    let edit = |version: u64, edits: Value| json!({"event": "context.changed", "by": "bob", "version": version, "edits": edits});
    let table = [
        (
            "LTMC.CTX.CREATE c OWNER ada DOC {\"l\":[1,2]}",
            json!({"event": "context.created", "by": "ada", "version": 1}),
        ),
        (
            "LTMC.CTX.UPDATE c bob SET /a/b {\"c\":[1.50]}",
            edit(2, json!([{"op": "set", "path": "/a", "value": {"b": {"c": [1.5]}}}])),
        ),
        (
            "LTMC.CTX.UPDATE c bob SET /a/b 1 DEL /a/b",
            edit(3, json!([{"op": "set", "path": "/a/b", "value": 1}, {"op": "remove", "path": "/a/b"}])),
        ),
        (
            "LTMC.CTX.UPDATE c bob APPEND /l \"é\" DEL /l/0",
            edit(4, json!([{"op": "insert", "path": "/l/2", "value": "é"}, {"op": "remove", "path": "/l/0"}])),
        ),
        ("LTMC.CTX.UPDATE c bob DEL /none", Value::Null),
        ("LTMC.CTX.UPDATE c bob SET /a/d {} SET /l/0 2", edit(5, json!([{"op": "set", "path": "/a/d", "value": {}}]))),
        (
            "LTMC.CTX.UPDATE c bob REPLACE {\"x~y/z\":1}",
            edit(6, json!([{"op": "set", "path": "", "value": {"x~y/z": 1}}])),
        ),
        (
            "LTMC.CTX.UPDATE c bob MERGE {\"x~y/z\":{\"k\":2}}",
            edit(7, json!([{"op": "set", "path": "/x~0y~1z", "value": {"k": 2}}])),
        ),
        (
            "LTMC.CTX.UPDATE c bob INCRBY /x~0y~1z/k 0.5",
            edit(8, json!([{"op": "set", "path": "/x~0y~1z/k", "value": 2.5}])),
        ),
        ("LTMC.CTX.CHECKPOINT c NAME n", json!({"event": "context.checkpointed", "name": "n", "checkpoint": 1})),
        ("LTMC.CTX.CHECKPOINT c PIN", json!({"event": "context.checkpointed", "checkpoint": 2})),
        ("LTMC.CTX.RESTORE c n", Value::Null),
        (
            "LTMC.CTX.UPDATE c bob INCRBY /x~0y~1z/k 1",
            edit(9, json!([{"op": "set", "path": "/x~0y~1z/k", "value": 3.5}])),
        ),
        ("LTMC.CTX.RESTORE c n", json!({"event": "context.restored", "version": 10, "checkpoint": 1})),
        ("LTMC.CTX.PRUNE c KEEPLAST 0", json!({"event": "context.pruned", "checkpoints": [1]})),
        ("LTMC.CTX.JOIN c cleo ROLE r", json!({"event": "context.joined", "agent": "cleo", "role": "r"})),
        ("LTMC.CTX.JOIN c cleo", Value::Null),
        ("LTMC.CTX.LEAVE c cleo", json!({"event": "context.left", "agent": "cleo"})),
        ("LTMC.CTX.GET c", Value::Null),
        ("LTMC.CTX.FORK c d", Value::Null),
    ];
    tells(&server, "c", &table);
    assert_eq!(told(&server, "d", 0), [json!({"event": "context.created", "by": "ada", "version": 10})]);
    run(&server, "LTMC.CTX.GENERATE g 1 c FOR ada");
    assert_eq!(told(&server, "g", 0), [json!({"event": "context.created", "by": "ada", "version": 1})]);
    // Long values are left out of the event: a watcher can ask for them.
    let since = revision(&server, "c");
    let long = format!("\"{}\"", "x".repeat(17 * 1024));
    server.cmd(&["LTMC.CTX.UPDATE", "c", "bob", "SET", "/long", &long, "SET", "/n", "1"]).int();
    assert_eq!(
        told(&server, "c", since),
        [edit(11, json!([{"op": "set", "path": "/long"}, {"op": "set", "path": "/n"}]))]
    );
}

#[test]
fn each_event_of_a_session_says_what_has_happened() {
    let server = Server::start();
    let table = [
        ("LTMC.SESSION.CREATE s PARTICIPANTS 1 a PX 600000", json!({"event": "session.created", "version": 1})),
        ("LTMC.SESSION.SET s b 1 a/~ 2", json!({"event": "session.changed", "version": 2, "set": ["b", "a/~"]})),
        ("LTMC.SESSION.DEL s b none", json!({"event": "session.changed", "version": 3, "deleted": ["b"]})),
        ("LTMC.SESSION.DEL s none", Value::Null),
        ("LTMC.SESSION.TOUCH s", Value::Null),
        ("LTMC.SESSION.JOIN s é ROLE ü", json!({"event": "session.joined", "agent": "é", "role": "ü"})),
        ("LTMC.SESSION.LEAVE s é", json!({"event": "session.left", "agent": "é"})),
        ("LTMC.SESSION.OWN s m l l", json!({"event": "session.owned", "resources": ["l", "m"]})),
        ("LTMC.SESSION.DISOWN s m x", json!({"event": "session.disowned", "resources": ["m"]})),
        ("LTMC.SESSION.CHECKPOINT s NAME n", json!({"event": "session.checkpointed", "name": "n", "checkpoint": 1})),
        ("LTMC.SESSION.RESTORE s n", Value::Null),
        ("LTMC.SESSION.SET s a/~ 2 c 1", json!({"event": "session.changed", "version": 4, "set": ["c"]})),
        ("LTMC.SESSION.RESTORE s n", json!({"event": "session.restored", "version": 5, "checkpoint": 1})),
        ("LTMC.SESSION.PRUNE s KEEPLAST 0", json!({"event": "session.pruned", "checkpoints": [1]})),
        ("LTMC.SESSION.STATUS s MIGRATING", json!({"event": "session.status", "status": "migrating"})),
        ("LTMC.SESSION.STATUS s MIGRATING", Value::Null),
        ("LTMC.SESSION.DISOWN s l", json!({"event": "session.disowned", "resources": ["l"]})),
        ("LTMC.SESSION.END s", json!({"event": "session.ended"})),
        ("LTMC.SESSION.END s", Value::Null),
        ("LTMC.SESSION.CREATE s", json!({"event": "session.created", "version": 1})),
    ];
    tells(&server, "s", &table);
    run(&server, "LTMC.SESSION.OWN s n m");
    let since = revision(&server, "s");
    run(&server, "LTMC.SESSION.END s");
    let returned = json!({"event": "session.returned", "resources": ["m", "n"]});
    assert_eq!(told(&server, "s", since), [json!({"event": "session.ended"}), returned]);
    run(&server, "LTMC.SESSION.CREATE s");
    let since = revision(&server, "s");
    server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", b"\xff\x00", b"v"]).int();
    let changed = json!({"event": "session.changed", "version": 2, "set": ["\\xff\\x00"]});
    assert_eq!(told(&server, "s", since), [changed], "what is no text is escaped");
}

/// Whether a watcher of `path` is told of what `line` does.
#[track_caller]
fn concerns(server: &Server, key: &str, path: &str, line: &str) -> bool {
    let since = revision(server, key);
    run(server, line);
    let reply = server.cmd(&["LTMC.WATCH", "1", key, "SINCE", &since.to_string(), "PATH", path]);
    let (now, events) = only_news(&reply);
    assert_eq!(now, revision(server, key), "the revision is that of the key");
    !events.is_empty()
}

#[test]
fn a_path_takes_what_touches_it_and_leaves_the_rest() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c DOC {\"a\":{\"b\":{\"c\":1}},\"ab\":1,\"l\":[0,1,2],\"x/y\":{},\"\":1}");
    let table = [
        ("/a/b", "SET /a/b/c 2", true),
        ("/a/b", "SET /a/x 2", false),
        ("/a", "SET /ab 2", false),
        ("/ab", "SET /a/z 2", false),
        ("/a/b", "MERGE {\"a\":{\"q\":1}}", false),
        ("/a/b", "MERGE {\"a\":{\"b\":{\"n\":1}},\"q\":1}", true),
        ("/a/b/c/d/e", "SET /a/b 5", true),
        ("/none", "SET /a 1", false),
        ("/none", "SET /none/deep 1", true),
        ("/a", "DEL /a", true),
        ("/a", "DEL /a", false),
        ("/x~1y", "SET /x~1y/k 1", true),
        ("/x", "SET /x~1y/k 1", false),
        ("/", "SET / 2", true),
        ("/", "SET /q 2", false),
        ("", "SET /q 3", true),
        ("/l/1", "SET /l/1 9", true),
        ("/l/1", "SET /l/2 9", false),
        ("/l", "APPEND /l 3", true),
        ("/q", "SET /m 1 SET /q 5 SET /n 1", true),
        ("/z", "REPLACE {}", true),
    ];
    for (path, ops, expected) in table {
        let found = concerns(&server, "c", path, &format!("LTMC.CTX.UPDATE c me {ops}"));
        assert_eq!(found, expected, "{path}: {ops}");
    }
    for line in [
        "LTMC.CTX.CHECKPOINT c",
        "LTMC.CTX.UPDATE c z SET /any 1",
        "LTMC.CTX.RESTORE c 1",
        "LTMC.CTX.JOIN c z",
        "LTMC.CTX.LEAVE c z",
    ] {
        assert!(concerns(&server, "c", "/any", line), "{line} is for everybody");
    }
    run(&server, "LTMC.SESSION.CREATE s");
    let table = [
        ("/f", "SET s f 1", true),
        ("/f/deep", "SET s f 2", true),
        ("/f", "SET s fg 1", false),
        ("", "SET s g 1", true),
        ("/g", "SET s a 1 g 2 z 3", true),
        ("/g", "DEL s a", false),
        ("/g", "DEL s a g", true),
        ("/x~1y", "SET s x/y 1", true),
        ("/~0", "SET s ~ 1", true),
        ("/any", "JOIN s z", true),
        ("/any", "STATUS s SUSPENDED", true),
    ];
    for (path, what, expected) in table {
        assert_eq!(concerns(&server, "s", path, &format!("LTMC.SESSION.{what}")), expected, "{path}: {what}");
    }
    for path in ["a", "/~2", "/a~"] {
        assert_eq!(server.run(&format!("LTMC.WATCH 1 c SINCE 0 PATH {path}")).error_code(), "ERR", "{path}");
    }
}

// An element that is inserted into an array or removed from it moves those behind it, and their
// watchers are told.
#[test]
fn a_watcher_of_an_element_is_told_when_another_one_comes_to_stand_there() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c DOC {\"l\":[0,1,2]}");
    let insert = "PATCH [{\"op\":\"add\",\"path\":\"/l/0\",\"value\":9}]";
    for ops in ["DEL /l/0", insert] {
        let before = run(&server, "LTMC.CTX.GET c PATH 1 /l/1").get("doc").text().to_string();
        let is_told = concerns(&server, "c", "/l/1", &format!("LTMC.CTX.UPDATE c me {ops}"));
        assert_ne!(run(&server, "LTMC.CTX.GET c PATH 1 /l/1").get("doc").text(), before);
        assert!(is_told, "{ops}: what is at the path has changed");
    }
}

#[test]
fn a_path_and_a_count_go_together() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c");
    let first = revision(&server, "c");
    for n in 0..30 {
        run(&server, &format!("LTMC.CTX.UPDATE c me SET /{} {n}", ["a", "b", "c"][n % 3]));
    }
    let (mut since, mut values) = (first, Vec::new());
    loop {
        let (_, part) = only_news(&server.run(&format!("LTMC.WATCH 1 c SINCE {since} PATH /b COUNT 3")));
        assert!(part.len() <= 3);
        let Some(last) = part.last() else { break };
        since = last["revision"].as_i64().expect("a number");
        values.extend(part.iter().map(|event| event["edits"][0]["value"].as_i64().expect("a number")));
    }
    assert_eq!(values, (0..10).map(|n| n * 3 + 1).collect::<Vec<_>>());
}
