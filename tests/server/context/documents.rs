//! Operations on documents, reading them, and what has changed.

use crate::harness::*;
use serde_json::{json, Map, Value};

pub fn parsed(reply: &Reply) -> Value {
    serde_json::from_slice(reply.bytes()).unwrap_or_else(|error| panic!("{error} in {reply:?}"))
}

#[track_caller]
pub fn create(server: &Server, key: &str, doc: &Value) {
    assert_eq!(server.cmd(&["LTMC.CTX.CREATE", key, "DOC", &doc.to_string()]).int(), 1);
}

/// Runs `ops` on a context as the agent `me`. The words are separated by a bar, since JSON has
/// blanks.
pub fn update(server: &Server, key: &str, ops: &str) -> Reply {
    let words = ["LTMC.CTX.UPDATE", key, "me"].into_iter().chain(ops.split('|'));
    server.cmd(&words.collect::<Vec<_>>())
}

/// The document as it is now.
#[track_caller]
pub fn doc(server: &Server, key: &str) -> Value {
    parsed(server.cmd(&["LTMC.CTX.GET", key]).get("doc"))
}

#[track_caller]
pub fn doc_at(server: &Server, key: &str, version: i64) -> Value {
    let shown = server.cmd(&["LTMC.CTX.GET", key, "AT", &version.to_string()]);
    assert_eq!(shown.get("version").int(), version);
    parsed(shown.get("doc"))
}

#[track_caller]
pub fn diff(server: &Server, key: &str, since: i64) -> Value {
    parsed(&server.cmd(&["LTMC.CTX.DIFF", key, &since.to_string()]))
}

/// RFC 7396, as its pseudo code defines it.
fn merge_patch(target: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut members = target.as_object().cloned().unwrap_or_else(Map::new);
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            let before = members.get(name).cloned().unwrap_or(Value::Null);
            members.insert(name.clone(), merge_patch(&before, change));
        }
    }
    Value::Object(members)
}

#[test]
fn a_context_begins_as_it_is_told() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.CTX.CREATE bare").int(), 1);
    let bare = server.run("LTMC.CTX.GET bare");
    assert_eq!(parsed(bare.get("doc")), json!({}));
    for field in ["owner", "meta", "ttl_ms", "ends_at_ms", "last_checkpoint", "changed_by"] {
        assert!(bare.get(field).is_nil(), "{field}");
    }
    assert!(bare.get("participants").array().is_empty());
    let line = "LTMC.CTX.CREATE c SLIDING META {\"goal\":\"x\"} ex 600 OWNER ann DOC [1,{\"a\":null}]";
    assert_eq!(server.run(line).int(), 1, "options in any order");
    let shown = server.run("LTMC.CTX.GET c");
    assert_eq!(parsed(shown.get("doc")), json!([1, {"a": null}]));
    assert_eq!((shown.get("owner").text(), shown.get("meta").text()), ("ann", "{\"goal\":\"x\"}"));
    assert_eq!((shown.get("ttl_ms").int(), shown.get("sliding").int()), (600_000, 1));
    let participants = shown.get("participants").array();
    assert_eq!((participants.len(), participants[0].get("agent").text()), (1, "ann"), "the owner takes part");
    assert_eq!(shown.get("ends_at_ms").int(), shown.get("created_at_ms").int() + 600_000);
    assert_eq!(server.run("PEXPIRETIME c").int(), shown.get("ends_at_ms").int());
    assert_eq!(update(&server, "c", "APPEND||2").int(), 2);
    let again = server.run("LTMC.CTX.CREATE c");
    assert_eq!(again.error_code(), "CONFLICT");
    assert!(again.error().contains("its version is 2"), "{again:?}");
    assert_eq!(doc(&server, "c"), json!([1, {"a": null}, 2]));
}

#[test]
fn agents_join_with_roles_and_leave() {
    let server = Server::start();
    create(&server, "c", &json!({}));
    let who = || -> Vec<(String, Option<String>)> {
        let shown = server.run("LTMC.CTX.GET c");
        let role = |one: &Reply| Some(one.get("role")).filter(|role| !role.is_nil()).map(|role| role.text().into());
        shown.get("participants").array().iter().map(|one| (one.get("agent").text().into(), role(one))).collect()
    };
    let named = |agent: &str, role: Option<&str>| (agent.to_string(), role.map(str::to_string));
    for (line, reply) in [
        ("LTMC.CTX.JOIN c bob", 1),
        ("LTMC.CTX.JOIN c ann ROLE chief", 1),
        ("LTMC.CTX.JOIN c bob", 0),
        ("LTMC.CTX.JOIN c bob ROLE clerk", 0),
        ("LTMC.CTX.JOIN c ann", 0),
        ("LTMC.CTX.LEAVE c nobody", 0),
    ] {
        assert_eq!(server.run(line).int(), reply, "{line}");
    }
    assert_eq!(who(), [named("ann", Some("chief")), named("bob", Some("clerk"))], "no role said: the role stays");
    assert_eq!(server.run("LTMC.CTX.LEAVE c ann").int(), 1);
    assert_eq!(server.run("LTMC.CTX.LEAVE c ann").int(), 0);
    assert_eq!(who(), [named("bob", Some("clerk"))]);
    assert_eq!(server.run("LTMC.CTX.GET c").get("version").int(), 1, "who takes part makes no version");
    server.run("CONFIG SET ltmc.participants-max 2").ok();
    assert_eq!(server.run("LTMC.CTX.JOIN c ann").int(), 1);
    let third = server.run("LTMC.CTX.JOIN c eve");
    assert!(third.error_code() == "LIMIT" && third.error().contains("participants-max"), "{third:?}");
}

/// The document that operations are tried on.
fn before() -> Value {
    json!({"n": 1, "f": 1.5, "list": [1, 2], "o": {"a": 1, "b": {"c": 2}}, "t": "x", "z": null, "a/b": 0, "m~n": 0})
}

#[test]
fn each_operation_changes_what_it_names() {
    let server = Server::start();
    for (ops, path, expected) in [
        (
            "MERGE|{\"n\":null,\"o\":{\"b\":{\"c\":null,\"d\":[null]}},\"new\":{\"x\":null,\"y\":1}}",
            "/o/b",
            json!({"d": [null]}),
        ),
        ("merge|{\"new\":{\"x\":null,\"y\":1}}", "/new", json!({"y": 1})),
        ("MERGE|[1,null]", "", json!([1, null])),
        ("MERGE|{\"t\":{\"deep\":1}}", "/t", json!({"deep": 1})),
        ("PATCH|[{\"op\":\"add\",\"path\":\"/list/1\",\"value\":9}]", "/list", json!([1, 9, 2])),
        ("PATCH|[{\"op\":\"move\",\"from\":\"/o/b\",\"path\":\"/list/-\"}]", "/list", json!([1, 2, {"c": 2}])),
        ("PATCH|[{\"op\":\"copy\",\"from\":\"\",\"path\":\"/n\"},{\"op\":\"remove\",\"path\":\"/t\"}]", "/n", before()),
        ("PATCH|[{\"op\":\"test\",\"path\":\"/f\",\"value\":15e-1}]", "", before()),
        ("SET|/x/y/z|{}", "/x", json!({"y": {"z": {}}})),
        ("SET|/list/0|[]", "/list", json!([[], 2])),
        ("SET|/list/-|3", "/list", json!([1, 2, 3])),
        ("SET|/list/2|3", "/list", json!([1, 2, 3])),
        ("SET|/|5", "/", json!(5)),
        ("SET|/a~1b|1|SET|/m~0n|2", "/a~1b", json!(1)),
        ("SET|/o/0|1", "/o/0", json!(1)),
        ("SET||7", "", json!(7)),
        ("DEL|/list/0", "/list", json!([2])),
        ("DEL|/o/b", "/o", json!({"a": 1})),
        ("DEL|/none/at/all", "", before()),
        ("DEL|/list/7", "", before()),
        ("APPEND|/list|[3]", "/list", json!([1, 2, [3]])),
        ("APPEND|/new/list|3", "/new", json!({"list": [3]})),
        ("INCRBY|/n|-3", "/n", json!(-2)),
        ("INCRBY|/f|-0.5", "/f", json!(1.0)),
        ("INCRBY|/made/here|7", "/made/here", json!(7)),
        ("INCRBY|/list/1|40", "/list", json!([1, 42])),
        ("INCRBY|/n|9223372036854775806", "/n", json!(i64::MAX)),
        ("REPLACE|\"all new\"", "", json!("all new")),
        ("REPLACE|{\"d\":1,\"d\":2}", "", json!({"d": 2})),
    ] {
        create(&server, "c", &before());
        let is_new = !path.is_empty() || expected != before();
        assert_eq!(update(&server, "c", ops).int(), 1 + i64::from(is_new), "{ops}: a new version if anything is new");
        let found = parsed(server.cmd(&["LTMC.CTX.GET", "c", "PATH", "1", path]).get("doc"));
        assert_eq!(found, json!({ path: expected }), "{ops}");
        assert_eq!(doc_at(&server, "c", 1), before(), "{ops}: what was can still be read");
        server.run("DEL c").int();
    }
}

#[test]
fn operations_of_one_call_see_those_before_and_make_one_version() {
    let server = Server::start();
    create(&server, "c", &json!({}));
    let ops = "INCRBY|/n|1|INCRBY|/n|1|PATCH|[{\"op\":\"test\",\"path\":\"/n\",\"value\":2}]|IFVERSION|1|APPEND|/l|1|SET|/l/-|2|\
               DEL|/l/0|MERGE|{\"o\":{\"x\":1}}|SET|/o/y|2";
    assert_eq!(update(&server, "c", ops).int(), 2);
    let after = json!({"n": 2, "l": [2], "o": {"x": 1, "y": 2}});
    assert_eq!(doc(&server, "c"), after);
    assert_eq!(diff(&server, "c", 1), after);
    assert_eq!(update(&server, "c", "SET|/later|1|REPLACE|{\"n\":0}|INCRBY|/n|5").int(), 3);
    assert_eq!(doc(&server, "c"), json!({"n": 5}));
    assert_eq!(diff(&server, "c", 2), json!({"n": 5, "l": null, "o": null}));
}

#[test]
fn a_call_that_fails_late_changes_nothing() {
    let server = Server::start();
    create(&server, "c", &before());
    const GOOD: &str =
        "SET|/n|2|DEL|/o|APPEND|/list|3|MERGE|{\"t\":null}|DEL|/list/0|REPLACE|{\"list\":[],\"t\":\"x\",\"n\":1}";
    let digest = server.debug_digest();
    for (bad, code, part) in [
        ("SET|/t/x|1", "ERR", "/t/x"),
        ("SET|/list/5|1", "ERR", "/list/5"),
        ("SET|/list/01|1", "ERR", "/list/01"),
        ("APPEND|/t|1", "ERR", "/t"),
        ("INCRBY|/t|1", "ERR", "/t"),
        ("INCRBY|/n|18446744073709551615", "ERR", "range"),
        ("DEL|", "ERR", "REPLACE"),
        (
            "PATCH|[{\"op\":\"add\",\"path\":\"/q\",\"value\":1},{\"op\":\"remove\",\"path\":\"/none\"}]",
            "ERR",
            "operation 1 of PATCH",
        ),
        (
            "PATCH|[{\"op\":\"add\",\"path\":\"/q\",\"value\":1},{\"op\":\"test\",\"path\":\"/n\",\"value\":7}]",
            "CONFLICT",
            "operation 1 of PATCH",
        ),
        ("PATCH|[{\"op\":\"move\",\"from\":\"/list\",\"path\":\"/list/0\"}]", "ERR", "into itself"),
        ("IFVERSION|7", "CONFLICT", "the current one is 1"),
        ("SET|/x|[1,|DEL|/y", "ERR", "not valid JSON"),
    ] {
        let reply = update(&server, "c", &format!("{GOOD}|{bad}"));
        assert_eq!(reply.error_code(), code, "{bad}: {reply:?}");
        assert!(reply.error().contains(part), "{bad}: {reply:?}");
        assert_eq!(server.debug_digest(), digest, "{bad}");
    }
    assert_eq!((doc(&server, "c"), diff(&server, "c", 1)), (before(), json!({})));
}

#[test]
fn parts_and_the_past_can_be_read() {
    let server = Server::start();
    create(&server, "c", &json!({"a": {"b": [1, {"c": 2}]}, "~": 0}));
    update(&server, "c", "SET|/a/b/1/c|3").int();
    update(&server, "c", "DEL|/a|SET|/d|null").int();
    for (version, whole) in [
        ("1", json!({"a": {"b": [1, {"c": 2}]}, "~": 0})),
        ("2", json!({"a": {"b": [1, {"c": 3}]}, "~": 0})),
        ("3", json!({"d": null, "~": 0})),
    ] {
        let paths = ["/a/b/1/c", "/a/b/01", "/~0", "/d", "", "/none"];
        let words = ["LTMC.CTX.GET", "c", "PATH", "6"].into_iter().chain(paths).chain(["AT", version]);
        let found = parsed(server.cmd(&words.collect::<Vec<_>>()).get("doc"));
        let mut expected = json!({"/~0": 0, "": whole});
        for path in ["/a/b/1/c", "/d"] {
            if let Some(value) = whole.pointer(path) {
                expected[path] = value.clone();
            }
        }
        assert_eq!(found, expected, "version {version}");
        let number = version.parse().expect("a number");
        assert_eq!(doc_at(&server, "c", number), whole);
    }
}

#[test]
fn what_has_changed_is_told_of_the_whole_or_of_a_path() {
    let server = Server::start();
    let before = json!({"a": {"x": 1, "y": [1, {"z": 2}]}, "b": {"c": {"d": 1}}, "keep": {"big": [1, 2, 3]}});
    for (updates, path, expected) in [
        (vec!["SET|/a/x|1"], "", json!({})),
        (vec!["SET|/a/x|2", "SET|/a/x|1"], "", json!({})),
        (vec!["SET|/a/x|2"], "", json!({"a": {"x": 2}})),
        (vec!["SET|/a/x|2"], "/a", json!({"x": 2})),
        (vec!["SET|/a/x|2"], "/a/x", json!(2)),
        (vec!["SET|/a/x|2"], "/a/y", json!({})),
        (vec!["SET|/a/x|2"], "/none", json!({})),
        (vec!["SET|/a/y/1/z|3"], "", json!({"a": {"y": [1, {"z": 3}]}})),
        (vec!["SET|/a/y/1/z|3"], "/a/y/1", json!({"z": 3})),
        (vec!["DEL|/a/y/0"], "", json!({"a": {"y": [{"z": 2}]}})),
        (vec!["DEL|/a/y/0"], "/a/y/0", json!({"z": 2})),
        (vec!["DEL|/a/y/0"], "/a/y/1", json!(null)),
        (vec!["APPEND|/a/y|1", "DEL|/a/y/2"], "", json!({})),
        (vec!["DEL|/b/c/d"], "", json!({"b": {"c": {"d": null}}})),
        (vec!["DEL|/b"], "/b/c/d", json!(null)),
        (vec!["DEL|/b", "SET|/b/c/d|1"], "", json!({})),
        (vec!["DEL|/b", "SET|/b/c/e|1"], "", json!({"b": {"c": {"d": null, "e": 1}}})),
        (vec!["SET|/new/x|1", "SET|/new/y|2"], "/new", json!({"x": 1, "y": 2})),
        (vec!["SET|/new/x|1", "DEL|/new"], "", json!({})),
        (vec!["SET|/a|[]", "REPLACE|{\"a\":{\"x\":1}}"], "", json!({"a": {"y": null}, "b": null, "keep": null})),
        (vec!["REPLACE|5"], "", json!(5)),
        (vec!["REPLACE|5"], "/a/x", json!(null)),
    ] {
        create(&server, "c", &before);
        for ops in &updates {
            update(&server, "c", ops).int();
        }
        let found = parsed(&server.cmd(&["LTMC.CTX.DIFF", "c", "1", "PATH", path]));
        assert_eq!(found, expected, "{updates:?} at '{path}'");
        server.run("DEL c").int();
    }
}

#[test]
fn what_was_put_there_can_go_again_within_one_call() {
    let server = Server::start();
    for (ops, after) in [
        ("SET|/new|1|DEL|/new|SET|/x|3", json!({"x": 3})),
        ("SET|/new/deep|1|DEL|/new/deep", json!({"x": 1, "new": {}})),
        ("MERGE|{\"new\":1}|MERGE|{\"new\":null,\"x\":2}", json!({"x": 2})),
        ("PATCH|[{\"op\":\"add\",\"path\":\"/new\",\"value\":1},{\"op\":\"move\",\"from\":\"/new\",\"path\":\"/y\"}]", json!({"x": 1, "y": 1})),
    ] {
        // The undo of the deletion must not be left out because of the drop of the same member:
        // dropping a missing member would fail, and no server could load the saved value.
        create(&server, "c", &json!({"x": 1}));
        assert_eq!(update(&server, "c", ops), Reply::Int(2), "{ops}");
        assert_eq!(doc(&server, "c"), after, "{ops}");
        assert_eq!(doc_at(&server, "c", 1), json!({"x": 1}), "{ops}");
        server.debug_reload();
        assert_eq!(doc_at(&server, "c", 1), json!({"x": 1}), "{ops}");
        server.run("DEL c").int();
    }
}

/// Numbers that look random and are the same every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn value(&mut self, levels: usize) -> Value {
        match self.below(if levels == 0 { 3 } else { 6 }) {
            0 => json!(self.below(5)),
            1 => json!(["text", "~/\"", ""][self.below(3)]),
            2 => json!(self.below(2) == 0),
            3 => Value::Array((0..self.below(4)).map(|_| self.value(levels - 1)).collect()),
            _ => Value::Object((0..self.below(4)).map(|_| (self.name().to_string(), self.value(levels - 1))).collect()),
        }
    }

    fn name(&mut self) -> &'static str {
        ["a", "b", "0", "1", "", "x/y"][self.below(6)]
    }

    fn path(&mut self) -> String {
        let parts = 1 + self.below(3);
        (0..parts).map(|_| format!("/{}", self.name().replace('/', "~1"))).collect()
    }

    fn op(&mut self) -> Vec<String> {
        let (path, value) = (self.path(), self.value(2).to_string());
        match self.below(9) {
            0 | 1 => vec!["SET".into(), path, value],
            2 | 3 => vec!["DEL".into(), path],
            4 => vec!["APPEND".into(), path, value],
            5 => vec!["INCRBY".into(), path, "1".into()],
            6 => vec!["MERGE".into(), json!({ self.name(): self.value(2), self.name(): null }).to_string()],
            7 => {
                let op = ["move", "copy"][self.below(2)];
                vec!["PATCH".into(), json!([{"op": op, "from": path, "path": self.path()}]).to_string()]
            }
            _ if self.below(8) == 0 => vec!["REPLACE".into(), value],
            _ => vec!["SET".into(), format!("{path}/-"), value],
        }
    }
}

#[test]
fn the_difference_to_any_version_leads_from_it_to_now() {
    let server = Server::start();
    let mut dice = Dice(4);
    for round in 0..12 {
        let key = format!("c{round}");
        create(&server, &key, &dice.value(3));
        let mut past = vec![doc(&server, &key)];
        while past.len() < 40 {
            let ops = (0..1 + dice.below(3)).flat_map(|_| dice.op());
            let words: Vec<String> = ["LTMC.CTX.UPDATE", &key, "me"].map(String::from).into_iter().chain(ops).collect();
            let reply = server.cmd(&words);
            let now = doc(&server, &key);
            if reply.is_error() {
                assert_eq!(reply.error_code(), "ERR", "{words:?}");
                assert!(!reply.error().contains("internal"), "{words:?}");
                assert_eq!(Some(&now), past.last(), "{words:?}");
                continue;
            }
            if Some(&now) != past.last() {
                past.push(now.clone());
            }
            assert_eq!(reply.int() as usize, past.len(), "{words:?}");
            let since = dice.below(past.len());
            let patch = diff(&server, &key, since as i64 + 1);
            // `{}` says that nothing has changed, which a merge patch cannot say of a value that is
            // not an object.
            let led_to =
                if patch == json!({}) && past[since] == now { now.clone() } else { merge_patch(&past[since], &patch) };
            assert_eq!(led_to, now, "round {round}: {patch} since {}, {words:?}", past[since]);
            assert_eq!(doc_at(&server, &key, since as i64 + 1), past[since], "round {round}");
        }
    }
    let digest = server.debug_digest();
    server.debug_reload();
    assert_eq!(server.debug_digest(), digest);
}

#[test]
fn who_is_not_there_is_reported_or_is_nil() {
    let server = Server::start();
    server.run("SET text v").ok();
    for line in [
        "LTMC.CTX.JOIN @ a",
        "LTMC.CTX.UPDATE @ a IFVERSION 1 SET /a 1",
        "LTMC.CTX.GENERATE dest 1 @",
        "LTMC.CTX.CHECKPOINT @",
        "LTMC.CTX.ROLLBACK @ 1",
        "LTMC.CTX.FORK @ dest",
    ] {
        let missing = server.run(&line.replace('@', "none"));
        assert_eq!(missing.error_code(), "NOCONTEXT", "{line}: {missing:?}");
        assert!(missing.error().contains("there is no context 'none'"), "{line}: {missing:?}");
    }
    assert!(server.run("LTMC.CTX.GET none").is_nil() && server.run("LTMC.CTX.BUILD none FOR a").is_nil());
    assert!(server.run("LTMC.CTX.DIFF none 1").is_nil() && server.run("LTMC.CTX.ROUTE none r").is_nil());
    for line in ["LTMC.CTX.CHECKPOINTS none", "LTMC.CTX.PRUNE none KEEPLAST 1"] {
        assert!(server.run(line).array().is_empty(), "{line}");
    }
    assert_eq!(server.run("LTMC.CTX.LEAVE none a").int(), 0);
    assert_eq!(server.run("DBSIZE").int(), 1);
}

#[test]
fn a_context_lives_as_long_as_it_was_told_and_writes_renew_it_if_it_slides() {
    let server = Server::start();
    for key in ["fixed", "slides"] {
        let more = if key == "slides" { "SLIDING" } else { "" };
        server.run(&format!("LTMC.CTX.CREATE {key} PX 600000 {more}")).int();
    }
    server.run("LTMC.DEBUG CLOCK 500000").ok();
    for key in ["fixed", "slides"] {
        update(&server, key, "SET|/a|1").int();
        server.run(&format!("LTMC.CTX.GET {key}")).get("doc");
    }
    server.run("LTMC.DEBUG CLOCK 700000").ok();
    assert!(server.run("LTMC.CTX.GET fixed").is_nil(), "a write renews nothing unless it slides");
    assert_eq!(update(&server, "fixed", "SET|/a|2").error_code(), "NOCONTEXT");
    assert_eq!(doc(&server, "slides"), json!({"a": 1}));
    // A context that has ended is an empty value, and the key is free. Here the clock of the module
    // is ahead of that of Redis, as in a script, for which Redis stops its clock.
    assert_eq!(server.run("LTMC.CTX.CREATE fixed").int(), 1, "a key whose time is over is free");
    assert_eq!(doc(&server, "fixed"), json!({}));
    server.run("LTMC.DEBUG CLOCK 1200000").ok();
    assert!(server.run("LTMC.CTX.GET slides").is_nil(), "reads renew nothing");
}
