//! Checkpoints, rollback, forks, pruning, and what they cost.

use super::documents::{create, diff, doc, doc_at, parsed, update};
use crate::harness::*;
use serde_json::{json, Value};

#[track_caller]
fn checkpoint(server: &Server, key: &str, more: &str) -> i64 {
    server.run(&format!("LTMC.CTX.CHECKPOINT {key} {more}")).int()
}

#[track_caller]
fn checkpoints(server: &Server, key: &str) -> Vec<(i64, i64)> {
    let list = server.cmd(&["LTMC.CTX.CHECKPOINTS", key]);
    list.array().iter().map(|one| (one.get("id").int(), one.get("version").int())).collect()
}

#[track_caller]
fn history(server: &Server, key: &str, field: &str) -> i64 {
    server.cmd(&["LTMC.CTX.GET", key]).get(field).int()
}

#[test]
fn checkpoints_are_listed_with_what_they_were_given() {
    let server = Server::start();
    create(&server, "c", &json!({}));
    assert_eq!(checkpoint(&server, "c", ""), 1);
    update(&server, "c", "SET|/n|1").int();
    assert_eq!(checkpoint(&server, "c", "PIN NAME good"), 2);
    assert_eq!(checkpoint(&server, "c", "name good"), 3, "names and versions may have several");
    let list = server.run("LTMC.CTX.CHECKPOINTS c");
    let shown: Vec<_> = list
        .array()
        .iter()
        .map(|one| {
            assert!(one.get("at_ms").int() > 0);
            let name = Some(one.get("name")).filter(|name| !name.is_nil()).map(|name| name.text().to_string());
            (one.get("id").int(), name, one.get("version").int(), one.get("pinned").int())
        })
        .collect();
    let good = Some("good".to_string());
    assert_eq!(shown, [(1, None, 1, 0), (2, good.clone(), 2, 1), (3, good, 2, 0)]);
    let context = server.run("LTMC.CTX.GET c");
    assert_eq!((context.get("checkpoints").int(), context.get("last_checkpoint").get("id").int()), (3, 3));
    assert_eq!(context.get("version").int(), 2, "a checkpoint makes no version");
}

#[test]
fn a_rollback_is_a_new_version_and_nothing_is_rewritten() {
    let server = Server::start();
    let states = [json!({"a": 1, "l": [1]}), json!({"a": 2, "l": [1, 2]}), json!([]), json!({"b": 1, "l": {}})];
    create(&server, "c", &states[0]);
    checkpoint(&server, "c", "NAME first");
    for state in &states[1..] {
        update(&server, "c", &format!("REPLACE|{state}")).int();
        checkpoint(&server, "c", "NAME x");
    }
    let mut expected: Vec<Value> = states.to_vec();
    // Ids precede names. Of several checkpoints with a name, the newest is meant.
    for (name, at) in [("first", 0), ("2", 1), ("x", 3), ("3", 2), ("1", 0)] {
        let version = server.run(&format!("LTMC.CTX.ROLLBACK c {name}")).int();
        expected.push(states[at].clone());
        assert_eq!(version as usize, expected.len());
        assert_eq!(doc(&server, "c"), states[at], "{name}");
    }
    for (before, state) in expected.iter().enumerate() {
        assert_eq!(&doc_at(&server, "c", before as i64 + 1), state, "version {}", before + 1);
    }
    let conflict = server.run("LTMC.CTX.ROLLBACK c 2 IFVERSION 8");
    assert!(conflict.error_code() == "CONFLICT" && conflict.error().contains("the current one is 9"), "{conflict:?}");
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 2 IFVERSION 9").int(), 10);
    assert_eq!(diff(&server, "c", 9), json!({"a": 2, "l": [1, 2]}));
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 2").int(), 10, "to what it is already");
}

#[test]
fn a_rollback_leads_over_what_was_made_and_removed_again() {
    let server = Server::start();
    create(&server, "c", &json!({"x": 1}));
    checkpoint(&server, "c", "");
    server.run("LTMC.CTX.CHECKPOINT c PIN").int();
    update(&server, "c", "SET|/new|1").int();
    update(&server, "c", "DEL|/new|SET|/x|2").int();
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 1").int(), 4);
    // The undo must not lose a step, as in documents.rs. Here the steps back are joined.
    update(&server, "c", "SET|/new|1|DEL|/x").int();
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 1"), Reply::Int(6));
    assert_eq!((doc(&server, "c"), doc_at(&server, "c", 3)), (json!({"x": 1}), json!({"x": 2})));
}

#[test]
fn old_versions_are_kept_for_checkpoints_only() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-versions-max 3").ok();
    create(&server, "c", &json!({"n": 1, "log": []}));
    for n in 2..=20 {
        if n % 5 == 0 {
            checkpoint(&server, "c", "");
        }
        update(&server, "c", &format!("SET|/n|{n}|APPEND|/log|{n}")).int();
    }
    server.run("CONFIG SET ltmc.history-versions-max 1000").ok();
    let at = |n: i64| json!({"n": n, "log": (2..=n).collect::<Vec<_>>()});
    for version in 0..=22 {
        let is_kept = [4, 9, 14, 17, 18, 19, 20].contains(&version);
        let get = server.run(&format!("LTMC.CTX.GET c AT {version}"));
        let since = server.run(&format!("LTMC.CTX.DIFF c {version}"));
        assert_eq!((get.is_error(), since.is_error()), (!is_kept, !is_kept), "version {version}: {get:?}, {since:?}");
        if is_kept {
            assert_eq!(parsed(get.get("doc")), at(version));
            assert_eq!(parsed(&since), if version == 20 { json!({}) } else { at(20) });
        } else {
            let text = format!("ERR version {version} is not kept: there are 17 to 20, and those of checkpoints");
            assert!(get.error().starts_with(&text) && since.error().starts_with(&text), "{get:?}, {since:?}");
        }
    }
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 1").int(), 21);
    assert_eq!(doc(&server, "c"), at(4));
    let digest = server.debug_digest();
    server.debug_reload();
    assert_eq!(server.debug_digest(), digest);
    assert_eq!((doc_at(&server, "c", 9), doc_at(&server, "c", 20)), (at(9), at(20)), "after a reload");
}

#[test]
fn pruning_removes_what_is_neither_new_nor_young_nor_pinned() {
    let server = Server::start();
    create(&server, "c", &json!({}));
    for n in 1..=6 {
        update(&server, "c", &format!("SET|/n|{n}")).int();
        // 1 to 3 are a minute older than the others; 2 and 5 are pinned.
        if n == 4 {
            server.run("LTMC.DEBUG CLOCK 60000").ok();
        }
        checkpoint(&server, "c", if n == 2 || n == 5 { "PIN" } else { "" });
    }
    for (line, ids) in [
        ("KEEPLAST 0 DRYRUN", vec![1, 3, 4, 6]),
        ("KEEPLAST 1 MAXAGE 30000 DRYRUN", vec![1, 3]),
        ("DRYRUN", vec![]),
        ("KEEPLAST 3 dryrun MAXAGE 30000", vec![1]),
        ("KEEPLAST 0 MAXAGE 3600000 DRYRUN", vec![]),
        ("KEEPLAST 4294967295", vec![]),
    ] {
        let digest = server.debug_digest();
        let reply = server.run(&format!("LTMC.CTX.PRUNE c {line}"));
        if line.starts_with("KEEPLAST") {
            assert_eq!(reply.ints(), ids, "{line}");
        } else {
            assert_eq!(reply.error_code(), "ERR");
        }
        assert_eq!(server.debug_digest(), digest, "{line}: nothing is removed");
    }
    assert_eq!(server.run("LTMC.CTX.PRUNE c KEEPLAST 1 MAXAGE 30000").ints(), [1, 3]);
    assert_eq!(checkpoints(&server, "c"), [(2, 3), (4, 5), (5, 6), (6, 7)]);
    assert_eq!(server.run("LTMC.CTX.ROLLBACK c 1").error_code(), "ERR");
    assert_eq!(server.run("LTMC.CTX.PRUNE c KEEPLAST 0").ints(), [4, 6]);
    assert!(server.run("LTMC.CTX.PRUNE c KEEPLAST 0").array().is_empty(), "pinned ones never go");
    assert_eq!(checkpoint(&server, "c", ""), 7, "numbers are not given twice");
}

#[test]
fn a_fork_is_a_context_of_its_own() {
    let server = Server::start();
    server.run("LTMC.CTX.CREATE src OWNER ann META {\"m\":1} PX 600000 SLIDING DOC {\"n\":1}").int();
    server.run("LTMC.CTX.JOIN src bob").int();
    checkpoint(&server, "src", "NAME start");
    update(&server, "src", "SET|/n|2").int();
    assert_eq!(server.run("LTMC.CTX.FORK src now").int(), 2);
    assert_eq!(server.run("LTMC.CTX.FORK src then AT start").int(), 1);
    let fork = server.run("LTMC.CTX.GET now");
    for field in ["owner", "meta", "ttl_ms", "sliding"] {
        assert_eq!(fork.get(field), server.run("LTMC.CTX.GET src").get(field), "{field}");
    }
    let agents: Vec<&str> = fork.get("participants").array().iter().map(|one| one.get("agent").text()).collect();
    assert_eq!((agents, history(&server, "now", "checkpoints")), (vec!["ann", "bob"], 0));
    assert_eq!(server.run("LTMC.CTX.GET now AT 1").error_code(), "ERR", "a fork has no past");
    for (line, code) in [
        ("src now", "CONFLICT"),
        ("src src", "ERR"),
        ("src other AT none", "ERR"),
        ("src other AT 2", "ERR"),
        ("src text", "WRONGTYPE"),
        ("text other", "WRONGTYPE"),
    ] {
        server.run("SET text v").ok();
        let digest = server.debug_digest();
        assert_eq!(server.run(&format!("LTMC.CTX.FORK {line}")).error_code(), code, "{line}");
        assert_eq!(server.debug_digest(), digest);
    }
    update(&server, "src", "SET|/n|9").int();
    server.run("LTMC.CTX.PRUNE src KEEPLAST 0").array();
    server.run("LTMC.CTX.ROLLBACK src start").error();
    server.run("DEL src").int();
    assert_eq!((doc(&server, "now"), doc(&server, "then")), (json!({"n": 2}), json!({"n": 1})));
    assert_eq!(update(&server, "then", "IFVERSION|1|INCRBY|/n|5").int(), 2, "versions go on from the forked one");
    assert_eq!((doc(&server, "now"), doc_at(&server, "then", 1)), (json!({"n": 2}), json!({"n": 1})));
    server.debug_reload();
    assert_eq!((doc(&server, "now"), doc(&server, "then")), (json!({"n": 2}), json!({"n": 6})));
}

#[test]
fn those_who_take_part_in_a_fork_have_the_roles_that_they_had() {
    let server = Server::start();
    create(&server, "src", &json!({}));
    server.run("LTMC.CTX.JOIN src ann ROLE chief").int();
    server.run("LTMC.CTX.FORK src fork").int();
    let role = |key: &str| server.cmd(&["LTMC.CTX.GET", key]).get("participants").array()[0].get("role").clone();
    // A fork takes over the roles of participants, not only their names.
    assert_eq!(role("fork"), role("src"));
}

/// A context with a state that grows by `count` members, one checkpoint after each.
fn grown(server: &Server, count: usize) -> usize {
    create(server, "c", &json!({"n": 0}));
    let mut client = server.client();
    let mut changes = 0;
    for part in (0..count).collect::<Vec<_>>().chunks(500) {
        let lines: Vec<String> = part
            .iter()
            .flat_map(|n| {
                let change = format!("SET /part-{n} {{\"by\":\"agent-{n}\",\"done\":true}} INCRBY /n 1");
                changes += change.len();
                [format!("LTMC.CTX.UPDATE c me {change}"), "LTMC.CTX.CHECKPOINT c".to_string()]
            })
            .collect();
        for reply in client.pipeline(&lines) {
            reply.int();
        }
    }
    changes
}

#[test]
fn thousands_of_checkpoints_of_a_growing_state_cost_what_changes() {
    const COUNT: usize = 4_000;
    let args = [("ltmc.reply-elements-max", 1_000_000), ("ltmc.context-values-max", 100_000)];
    let server = args.into_iter().fold(Server::builder(), |server, (name, value)| server.arg(name, value)).start();
    let usage = || server.run("MEMORY USAGE c SAMPLES 0").int() as usize;
    let changes = grown(&server, COUNT);
    let (with, state) = (usage(), doc(&server, "c").to_string().len());
    assert_eq!(checkpoints(&server, "c").len(), COUNT);
    println!("{COUNT} checkpoints: {with} bytes for a state of {state} and changes of {changes} bytes of text");
    assert!(with < 14 * (state + changes), "{with} bytes for a state of {state} and changes of {changes}");
    assert!(with > state, "{with} bytes for a state of {state}: not all is counted");
    for n in [1, 17, 2000, 3999] {
        let then = doc_at(&server, "c", n + 1);
        assert_eq!((&then["n"], then.as_object().map(|members| members.len())), (&json!(n), Some(n as usize + 1)));
    }
    // Only what undoes 1000 versions is left, and the state.
    assert_eq!(server.run("LTMC.CTX.PRUNE c KEEPLAST 0").array().len(), COUNT);
    let (pruned, bytes) = (usage(), history(&server, "c", "history_bytes") as usize);
    println!("pruned: {pruned} bytes, of these {bytes} of history");
    assert!(pruned < with * 4 / 5, "{with} bytes, pruned {pruned}");
    assert!(doc_at(&server, "c", 3100)["n"] == json!(3099) && server.run("LTMC.CTX.GET c AT 3000").is_error());
}

#[test]
fn history_has_its_bytes_and_loose_checkpoints_go_before_pinned_ones() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-bytes-max 20000").ok();
    create(&server, "c", &json!({}));
    let text = |n: usize| format!("SET|/t|\"{n}{}\"", "x".repeat(1000));
    checkpoint(&server, "c", "NAME loose");
    for n in 0..60 {
        update(&server, "c", &text(n)).int();
        assert!(history(&server, "c", "history_bytes") <= 20_000, "after {n}");
        if n == 5 || n == 40 {
            checkpoint(&server, "c", if n == 5 { "PIN NAME pinned" } else { "NAME later" });
        }
    }
    assert!(history(&server, "c", "history_versions") < 30);
    assert!(server.run("LTMC.CTX.GET c AT 2").is_error(), "the oldest have gone");
    for (name, n) in [("pinned", 5), ("later", 40), ("loose", -1)] {
        server.run(&format!("LTMC.CTX.ROLLBACK c {name}")).int();
        let text = doc(&server, "c")["t"].as_str().map(str::len);
        assert_eq!(text, (n >= 0).then(|| n.to_string().len() + 1000), "{name}: checkpoints outlive versions");
    }
    let mut refused = None;
    for n in 0..100 {
        let replies = [server.run("LTMC.CTX.CHECKPOINT c PIN"), update(&server, "c", &text(n))];
        refused = replies.into_iter().find(Reply::is_error);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("pinned checkpoints fill the history");
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains("ltmc.history-bytes-max"), "{refused:?}");
    let names: Vec<String> = server
        .run("LTMC.CTX.CHECKPOINTS c")
        .array()
        .iter()
        .filter(|one| one.get("pinned").int() == 0)
        .map(|one| format!("{:?}", one.get("name")))
        .collect();
    assert!(names.is_empty(), "loose ones go first: {names:?}");
}

#[test]
fn one_large_change_does_not_close_a_context_for_ever() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-bytes-max 1024").ok();
    create(&server, "c", &json!({"text": "x".repeat(3000)}));
    update(&server, "c", "REPLACE|{}").int();
    // One large recent version must not make every further update fail while nothing is pinned.
    assert_eq!(update(&server, "c", "SET|/a|1"), Reply::Int(3));
}

#[test]
fn the_room_for_history_is_what_it_was_when_the_context_was_made() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.history-versions-max 2").ok();
    create(&server, "few", &json!({}));
    server.run("CONFIG SET ltmc.history-versions-max 50").ok();
    create(&server, "many", &json!({}));
    for key in ["few", "many"] {
        for n in 0..10 {
            update(&server, key, &format!("SET|/n|{n}")).int();
        }
    }
    server.run("LTMC.CTX.FORK few fork").int();
    for n in 0..10 {
        update(&server, "fork", &format!("SET|/n|{n}")).int();
    }
    let kept = ["few", "many", "fork"].map(|key| history(&server, key, "history_versions"));
    assert_eq!(kept, [2, 10, 2], "a fork keeps what its source keeps");
}
