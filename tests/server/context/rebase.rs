//! Many writers, conflicts, and that no update is lost.

use super::documents::{create, doc, update};
use crate::harness::*;
use serde_json::{json, Value};
use std::collections::BTreeSet;

/// The version that a conflict names as the current one.
#[track_caller]
fn current_in(conflict: &Reply) -> i64 {
    assert_eq!(conflict.error_code(), "CONFLICT", "{conflict:?}");
    let after = conflict.error().split("the current one is ").nth(1).expect("the current version is named");
    after.split(|letter: char| !letter.is_ascii_digit()).next().expect("a number").parse().expect("a number")
}

/// The paths that a conflict names.
fn paths_in(conflict: &Reply) -> Vec<String> {
    let list = conflict.error().split("changed since: ").nth(1).expect("what has changed is named");
    serde_json::from_str(&format!("[{list}]")).unwrap_or_else(|error| panic!("{error}: {conflict:?}"))
}

#[test]
fn a_hundred_writers_lose_nothing() {
    const WRITERS: usize = 100;
    const TURNS: usize = 3;
    let server = Server::start();
    create(&server, "c", &json!({"n": 0, "log": [], "by": {}}));
    let write = |writer: usize| {
        let mut client = server.client();
        let mut conflicts = 0;
        let mut known = 1;
        for turn in 0..TURNS {
            let (item, merged) =
                (json!([writer, turn]).to_string(), json!({"by": {writer.to_string(): turn}}).to_string());
            let agent = format!("agent-{writer}");
            loop {
                let version = known.to_string();
                let mut args = vec!["LTMC.CTX.UPDATE", "c", &agent, "IFVERSION", &version];
                args.extend(["INCRBY", "/n", "1", "APPEND", "/log", &item, "MERGE", &merged]);
                let reply = client.cmd(&args);
                if let Reply::Int(made) = reply {
                    assert_eq!(made, known + 1, "it is the next one after what was seen");
                    known = made;
                    break;
                }
                let current = current_in(&reply);
                assert!(current > known, "{reply:?}");
                let changed = paths_in(&reply);
                assert!(changed.contains(&"/n".to_string()) && changed.contains(&"/log".to_string()), "{reply:?}");
                (known, conflicts) = (current, conflicts + 1);
            }
        }
        conflicts
    };
    let conflicts: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer ended well")).sum()
    });
    // All begin with version 1, and only one of them can write it.
    assert!(conflicts >= WRITERS - 1, "{conflicts} conflicts");
    let end = doc(&server, "c");
    assert_eq!(end["n"], json!(WRITERS * TURNS));
    let log = end["log"].as_array().expect("the log");
    let all: BTreeSet<String> = log.iter().map(Value::to_string).collect();
    assert_eq!((log.len(), all.len()), (WRITERS * TURNS, WRITERS * TURNS), "each item is there once");
    for writer in 0..WRITERS {
        assert_eq!(end["by"][writer.to_string()], json!(TURNS - 1));
        let turns: Vec<&Value> = log.iter().filter(|item| item[0] == json!(writer)).map(|item| &item[1]).collect();
        assert_eq!(turns, [&json!(0), &json!(1), &json!(2)], "the items of a writer are in its order");
    }
    assert_eq!(server.run("LTMC.CTX.GET c").get("version").int(), (WRITERS * TURNS + 1) as i64);
}

#[test]
fn writers_without_a_version_lose_nothing_either() {
    const WRITERS: usize = 100;
    let server = Server::start();
    create(&server, "c", &json!({}));
    let mut clients = server.clients(WRITERS);
    for (writer, client) in clients.iter_mut().enumerate() {
        client.send_line(&format!("LTMC.CTX.UPDATE c a{writer} INCRBY /n 1 APPEND /log {writer} SET /by/{writer} 1"));
    }
    let versions: BTreeSet<i64> = clients.iter_mut().map(|client| client.recv().int()).collect();
    assert_eq!(versions, (2..=WRITERS as i64 + 1).collect(), "each has a version of its own");
    let end = doc(&server, "c");
    assert_eq!(end["n"], json!(WRITERS));
    assert_eq!(
        (end["log"].as_array().map(Vec::len), end["by"].as_object().map(|by| by.len())),
        (Some(WRITERS), Some(WRITERS))
    );
}

#[test]
fn a_conflict_names_the_current_version_and_what_has_changed() {
    let server = Server::start();
    for (updates, expected) in [
        (vec!["SET|/a/x|2"], vec!["/a/x"]),
        (vec!["SET|/a/x|2", "SET|/a/x|3", "SET|/b|1"], vec!["/a/x", "/b"]),
        (vec!["SET|/a/x|2", "DEL|/a"], vec!["/a"]),
        (vec!["APPEND|/list|3"], vec!["/list"]),
        (vec!["DEL|/list/0"], vec!["/list"]),
        (vec!["SET|/list/0|5"], vec!["/list/0"]),
        (vec!["MERGE|{\"a\":{\"x\":null,\"y\":1},\"\\\"quoted\\\"\":1}"], vec!["/\"quoted\"", "/a/x", "/a/y"]),
        (vec!["SET|/x~1y/~0|1"], vec!["/x~1y"]),
        (vec!["REPLACE|{}", "SET|/a|1"], vec![""]),
        (vec!["DEL|/nothing", "SET|/a/x|1", "SET|/b|1"], vec!["/b"]),
    ] {
        create(&server, "c", &json!({"a": {"x": 1}, "list": [1, 2]}));
        let versions: Vec<i64> = updates.iter().map(|ops| update(&server, "c", ops).int()).collect();
        let digest = server.debug_digest();
        let conflict = update(&server, "c", "IFVERSION|1|SET|/mine|1");
        assert_eq!(Some(&current_in(&conflict)), versions.last());
        assert_eq!(paths_in(&conflict), expected, "{updates:?}");
        assert_eq!(server.debug_digest(), digest);
        server.run("DEL c").int();
    }
}

#[test]
fn a_conflict_names_32_places_or_those_around_them() {
    let server = Server::start();
    let members = |count: usize| -> Value { (0..count).map(|n| (format!("m{n}"), json!(1))).collect() };
    let named = |document: Value| {
        create(&server, "c", &json!({}));
        update(&server, "c", &format!("MERGE|{document}")).int();
        let paths = paths_in(&update(&server, "c", "IFVERSION|1|SET|/mine|1"));
        server.run("DEL c").int();
        paths
    };
    assert_eq!(named(members(32)).len(), 32);
    assert_eq!(named(members(33)), [""], "the whole document");
    let deep = (0..40).map(|n| json!({"op": "add", "path": format!("/a/{n}"), "value": n})).collect::<Vec<_>>();
    create(&server, "c", &json!({"a": {}, "b": 0}));
    update(&server, "c", &format!("PATCH|{}|SET|/b|1", json!(deep))).int();
    assert_eq!(paths_in(&update(&server, "c", "IFVERSION|1|SET|/mine|1")), ["/a", "/b"]);
}

#[test]
fn versions_that_are_not_known_conflict_without_paths() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-versions-max 2").ok();
    create(&server, "c", &json!({}));
    for n in 0..5 {
        update(&server, "c", &format!("SET|/n|{n}")).int();
    }
    for (version, is_known) in [(0, false), (1, false), (3, false), (4, true), (5, true), (7, false), (i64::MAX, false)]
    {
        let conflict = update(&server, "c", &format!("IFVERSION|{version}|SET|/mine|1"));
        assert_eq!(current_in(&conflict), 6);
        assert_eq!(conflict.error().contains("changed since: \"/n\""), is_known, "{conflict:?}");
    }
    assert_eq!(update(&server, "c", "IFVERSION|6|SET|/mine|1").int(), 7);
}

#[test]
fn who_is_not_concerned_by_what_changed_can_go_on_at_once() {
    let server = Server::start();
    create(&server, "c", &json!({"mine": 1, "yours": 1}));
    update(&server, "c", "SET|/yours|2").int();
    let conflict = update(&server, "c", "IFVERSION|1|INCRBY|/mine|1");
    assert!(paths_in(&conflict).iter().all(|path| !path.starts_with("/mine")));
    let again = format!("IFVERSION|{}|INCRBY|/mine|1", current_in(&conflict));
    assert_eq!(update(&server, "c", &again).int(), 3);
    assert_eq!(doc(&server, "c"), json!({"mine": 2, "yours": 2}));
}
