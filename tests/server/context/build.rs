//! Parts for one agent, merging, and routing.

use super::documents::{create, doc, parsed, update, Dice};
use crate::harness::*;
use serde_json::{json, Value};

/// The result of BUILD: the part, how many bytes it has, and what was left out.
struct Built {
    doc: Value,
    bytes: usize,
    left_out: Vec<String>,
    left_out_count: usize,
}

#[track_caller]
fn build(server: &Server, key: &str, agent: &str, more: &str) -> Built {
    let more: Vec<&str> = more.split(' ').filter(|word| !word.is_empty()).collect();
    let reply = server.cmd(&[&["LTMC.CTX.BUILD", key, "FOR", agent], &more[..]].concat());
    let in_another_order = server.cmd(&[&["LTMC.CTX.BUILD", key], &more[..], &["for", agent]].concat());
    assert_eq!(in_another_order, reply);
    let (bytes, text) = (reply.get("bytes").int() as usize, reply.get("doc").bytes());
    assert_eq!(bytes, text.len());
    let left_out_count = reply.get("left_out_count").int() as usize;
    Built { doc: parsed(reply.get("doc")), bytes, left_out: reply.get("left_out").texts(), left_out_count }
}

/// All single values, empty containers and arrays of a document, each with its path.
fn leaves(path: String, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                leaves(format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), member, found);
            }
        }
        value => found.push((path, value.clone())),
    }
}

/// A document of many parts of different sizes.
fn large() -> Value {
    let text = |n: usize| "x".repeat(1 + n * 37 % 90);
    let part = |n: usize| json!({"text": text(n), "list": vec![n; n % 7], "in": {"a/~": n, "b": {}, "c": text(n + 1)}});
    Value::Object((0..40).map(|n| (format!("part-{n}"), part(n))).collect())
}

#[test]
fn a_part_is_within_its_budget_and_says_what_it_left_out() {
    let server = Server::start();
    let whole = large();
    create(&server, "c", &whole);
    let (mut all, mut last) = (Vec::new(), 0);
    leaves(String::new(), &whole, &mut all);
    for budget in [2, 3, 20, 64, 65, 100, 300, 1000, 2000, 5000, 10_000, 100_000] {
        let built = build(&server, "c", "ann", &format!("BUDGET {budget}"));
        assert!(built.bytes <= budget, "{} of {budget} bytes", built.bytes);
        let is_left_out = |path: &str| {
            built.left_out.iter().any(|place| {
                path.strip_prefix(place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        for (path, value) in &all {
            let there = built.doc.pointer(path);
            let is_told = built.left_out.len() == built.left_out_count || is_left_out(path);
            assert!(!is_told || there.is_some() != is_left_out(path), "budget {budget}: {path}");
            assert!(there.is_none_or(|there| there == value), "budget {budget}: {path}");
        }
        assert!(built.left_out.is_sorted(), "{:?}", built.left_out);
        assert!(built.left_out.len() <= built.left_out_count);
        assert!(built.bytes * 2 > budget.min(last), "budget {budget}: more room is used");
        last = built.bytes;
    }
    let built = build(&server, "c", "ann", "");
    assert_eq!((built.doc, built.left_out), (whole, Vec::new()), "without a budget it is all of it");
}

#[test]
fn what_fits_to_the_byte_is_taken() {
    let server = Server::start();
    for whole in [json!({"a": "x"}), json!({"a": {"b/~": 1, "\"": []}, "c": null}), json!([1, 2]), json!(7), large()] {
        create(&server, "c", &whole);
        let bytes = whole.to_string().len();
        let exact = build(&server, "c", "ann", &format!("BUDGET {bytes}"));
        assert_eq!((exact.doc, exact.bytes, exact.left_out), (whole.clone(), bytes, Vec::new()));
        if bytes > 1 {
            let less = build(&server, "c", "ann", &format!("BUDGET {}", bytes - 1));
            assert!(!less.left_out.is_empty() && less.bytes < bytes, "{whole}: {} of {bytes}", less.bytes);
        }
        server.run("DEL c").int();
    }
    create(&server, "c", &json!({"a": {"b": {"c": 1}}, "d": 2}));
    for (paths, part) in [("1 /a/b/c", r#"{"a":{"b":{"c":1}}}"#), ("2 /a/b/c /d", r#"{"a":{"b":{"c":1}},"d":2}"#)] {
        let exact = build(&server, "c", "ann", &format!("PATH {paths} BUDGET {}", part.len()));
        assert_eq!(exact.doc.to_string(), part);
    }
}

#[test]
fn a_part_of_names_that_are_escaped_is_within_its_budget_too() {
    let server = Server::start();
    for name in ["\u{1}", "\"", "/", "~"] {
        create(&server, "c", &json!({ name.repeat(50): 1 }));
        // A name may be longer as JSON text than in the pointer: \u0001 takes six bytes.
        let built = build(&server, "c", "ann", "BUDGET 120");
        assert!(built.bytes <= 120, "{name:?}: {} bytes", built.bytes);
        server.run("DEL c").int();
    }
}

#[test]
fn documents_that_are_no_objects_are_taken_whole_or_not() {
    let server = Server::start();
    for (whole, fits) in [(json!([1, 2, 3]), 20), (json!("text"), 20), (json!({}), 20)] {
        create(&server, "c", &whole);
        assert_eq!(build(&server, "c", "a", &format!("BUDGET {fits}")).doc, whole);
        let none = build(&server, "c", "a", "BUDGET 2");
        assert!(none.doc == json!({}) && (none.left_out == [""] || whole == json!({})), "{whole}");
        server.run("DEL c").int();
    }
}

#[test]
fn places_that_are_asked_for_are_all_that_is_shown() {
    let server = Server::start();
    create(&server, "c", &json!({"a": {"x": 1, "y": {"z": 2}}, "l": [1, {"q": 2}], "t": "text"}));
    for (paths, expected) in [
        ("1 /a/x", json!({"a": {"x": 1}})),
        ("2 /a/y/z /t", json!({"a": {"y": {"z": 2}}, "t": "text"})),
        ("1 /l", json!({"l": [1, {"q": 2}]})),
        ("2 /none /a/x/deeper", json!({})),
        ("2 /a /a/x", json!({"a": {"x": 1, "y": {"z": 2}}})),
    ] {
        let built = build(&server, "c", "ann", &format!("PATH {paths}"));
        assert_eq!((built.doc, built.left_out), (expected, Vec::new()), "{paths}");
    }
    let built = build(&server, "c", "ann", "PATH 2 /a/x /t BUDGET 22");
    assert_eq!((built.doc, built.left_out), (json!({"a": {"x": 1}}), vec!["/t".to_string()]));
}

#[test]
fn what_is_in_the_part_is_not_left_out_of_it() {
    let server = Server::start();
    create(&server, "c", &json!({"a": {"b": "12345678901234567890"}}));
    // A place inside another requested one counts once, and is not reported as left out.
    let built = build(&server, "c", "ann", "BUDGET 60 PATH 2 /a /a/b");
    assert_eq!((built.doc, built.left_out), (json!({"a": {"b": "12345678901234567890"}}), Vec::new()));
}

/// The members in the part when the budget is enough for about one of them.
#[track_caller]
fn chosen(server: &Server, agent: &str) -> Vec<String> {
    let built = build(server, "c", agent, "BUDGET 40");
    built.doc.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn what_was_touched_lately_comes_first_and_own_work_before_that() {
    let server = Server::start();
    let text = "x".repeat(20);
    create(&server, "c", &json!({"a": text, "b": text, "c": text}));
    assert_eq!(chosen(&server, "ann"), ["a"], "equal: by the path");
    let other = "y".repeat(20);
    let touch = |agent: &str, path: &str| {
        // Who writes what is there already touches nothing.
        let is_same = server.cmd(&["LTMC.CTX.GET", "c", "PATH", "1", path]).get("doc").text().contains(&text);
        let text = if is_same { &other } else { &text };
        server.cmd(&["LTMC.CTX.UPDATE", "c", agent, "SET", path, &format!("\"{text}\"")]).int();
    };
    touch("bob", "/c");
    assert_eq!(chosen(&server, "ann"), ["c"], "touched by anybody");
    touch("ann", "/b");
    touch("bob", "/c");
    assert_eq!((chosen(&server, "ann"), chosen(&server, "bob")), (vec!["b".into()], vec!["c".into()]), "own touches");
    for _ in 0..1000 {
        touch("bob", "/a");
    }
    assert_eq!(chosen(&server, "ann"), ["a"], "own touches grow old");
}

#[test]
fn weights_count_for_a_place_and_all_inside_it() {
    let server = Server::start();
    let text = "x".repeat(20);
    for (weights, first) in [
        (json!({"/b": 1.5}), "b"),
        (json!({"": 5, "/a": 1, "/b": 2}), "c"),
        (json!({"/a": 0, "/b": -3}), "c"),
        (json!({"/a": "high", "/b": 1.5}), "b"),
        (json!({"/b/deeper": 100, "/nothing": 100}), "a"),
        (json!([1]), "a"),
    ] {
        let (meta, whole) =
            (json!({ "weights": weights }).to_string(), json!({"a": text, "b": text, "c": text}).to_string());
        server.cmd(&["LTMC.CTX.CREATE", "c", "META", &meta, "DOC", &whole]).int();
        assert_eq!(chosen(&server, "ann"), [first], "{weights}");
        server.run("DEL c").int();
    }
    // The document is cut where it is large, and each piece has the weight of the whole.
    let inside: Value = (0..20).map(|n| (format!("m{n}"), json!(text))).collect::<serde_json::Map<_, _>>().into();
    let (meta, whole) = (json!({"weights": {"/z": 9}}).to_string(), json!({"a": inside, "z": inside}).to_string());
    server.cmd(&["LTMC.CTX.CREATE", "c", "META", &meta, "DOC", &whole]).int();
    let built = build(&server, "c", "ann", "BUDGET 300");
    assert!(built.doc.get("a").is_none() && built.doc.get("z").is_some(), "{}", built.doc);
}

/// Touches within one millisecond would tie.
fn next_millisecond(server: &Server) {
    let now_ms = || {
        let time: Vec<u64> = server.run("TIME").texts().iter().map(|part| part.parse().expect("a number")).collect();
        time[0] * 1000 + time[1] / 1000
    };
    let before = now_ms();
    wait_until("the clock goes on", || now_ms() > before + 1);
}

#[test]
fn several_sources_become_one_context() {
    let server = Server::start();
    create(&server, "one", &json!({}));
    create(&server, "two", &json!({}));
    for (key, ops) in [
        ("one", "SET|/same|\"old\"|SET|/o/x|1|SET|/o/both|1|SET|/list|[1]|SET|/kind|{\"a\":1}"),
        ("two", "SET|/same|\"new\"|SET|/o/y|2|SET|/o/both|2|SET|/list|[2,3]|SET|/kind|\"text\""),
    ] {
        next_millisecond(&server);
        update(&server, key, ops).int();
    }
    let merged = json!({"same": "new", "o": {"x": 1, "y": 2, "both": 2}, "list": [2, 3], "kind": "text"});
    for order in ["one two", "two one"] {
        assert_eq!(server.run(&format!("LTMC.CTX.GENERATE dest 2 {order} FOR ann")).int(), 1, "{order}");
        assert_eq!(doc(&server, "dest"), merged, "{order}: what was touched later wins");
        let shown = server.run("LTMC.CTX.GET dest");
        assert_eq!(shown.get("owner").text(), "ann");
        server.run("DEL dest").int();
    }
    // An existing destination gets a new version, and may be one of the sources.
    create(&server, "dest", &json!({"before": true}));
    assert_eq!(server.run("LTMC.CTX.GENERATE dest 2 one two FOR ann").int(), 2);
    assert_eq!(
        (doc(&server, "dest"), parsed(&server.run("LTMC.CTX.DIFF dest 1"))["before"].clone()),
        (merged, Value::Null)
    );
    assert_eq!(server.run("LTMC.CTX.GET dest").get("changed_by").text(), "ann");
    assert_eq!(server.run("LTMC.CTX.GENERATE one 2 one two").int(), 3);
    assert_eq!(doc(&server, "one"), doc(&server, "dest"));
    for (line, code) in
        [("dest 2 one none", "NOCONTEXT"), ("dest 2 one text", "WRONGTYPE"), ("text 1 one", "WRONGTYPE")]
    {
        server.run("SET text v").ok();
        let digest = server.debug_digest();
        assert_eq!(server.run(&format!("LTMC.CTX.GENERATE {line}")).error_code(), code, "{line}");
        assert_eq!(server.debug_digest(), digest);
    }
}

#[test]
fn sessions_are_sources_by_their_fields() {
    let server = Server::start();
    server.cmd(&["LTMC.SESSION.SET", "s", "n", "5", "o", "{\"a\":[1]}", "t", "plain text", "broken", "[1,"]).int();
    server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", b"bytes", b"\xff"]).int();
    create(&server, "c", &json!({}));
    update(&server, "c", "SET|/o|{\"b\":2}|SET|/mine|1").int();
    assert_eq!(server.run("LTMC.CTX.GENERATE dest 2 c s").int(), 1);
    let expected =
        json!({"n": 5, "o": {"a": [1], "b": 2}, "t": "plain text", "broken": "[1,", "bytes": "\u{fffd}", "mine": 1});
    assert_eq!(doc(&server, "dest"), expected);
}

#[test]
fn tags_choose_sources_and_a_budget_what_is_kept() {
    let server = Server::start();
    let text = "x".repeat(20);
    for (key, tags) in [("a", "[\"x\",\"y\"]"), ("b", "[\"x\"]"), ("c", "\"x\""), ("d", "[5]")] {
        let (whole, meta) = (json!({ key: text }).to_string(), format!("{{\"tags\":{tags}}}"));
        server.cmd(&["LTMC.CTX.CREATE", key, "META", &meta, "DOC", &whole]).int();
    }
    server.cmd(&["LTMC.SESSION.CREATE", "s", "STATE", "{\"s\":1}", "META", "{\"tags\":[\"y\",\"x\"]}"]).int();
    for (more, names) in
        [("", vec!["a", "b", "c", "d", "s"]), ("TAGS 1 x", vec!["a", "b", "s"]), ("TAGS 2 y x", vec!["a", "s"])]
    {
        server.run(&format!("LTMC.CTX.GENERATE dest 5 a b c d s {more}")).int();
        let found: Vec<String> = doc(&server, "dest").as_object().expect("an object").keys().cloned().collect();
        assert_eq!(found, names, "{more}");
    }
    let before = server.dataset();
    for (line, text) in
        [("dest 5 a b c d s TAGS 1 none", "no source has the TAGS 'none'"), ("new 1 d TAGS 2 x y", "'x', 'y'")]
    {
        let refused = server.run(&format!("LTMC.CTX.GENERATE {line}"));
        assert!(refused.error_code() == "ERR" && refused.error().contains(text), "{refused:?}");
    }
    assert_same("what is generated from nothing", &before, &server.dataset());
    next_millisecond(&server);
    update(&server, "c", &format!("SET|/c|\"{}\"", "y".repeat(20))).int();
    for (budget, most) in [(2, 0), (40, 1), (75, 2), (1000, 5)] {
        server.run(&format!("LTMC.CTX.GENERATE dest 5 a b c d s BUDGET {budget} FOR me")).int();
        let kept = doc(&server, "dest");
        assert!(kept.to_string().len() <= budget, "{kept}");
        let names = kept.as_object().expect("an object");
        assert!(
            names.len() <= most + 1 && names.len() >= most && (most != 1 || names.contains_key("c")),
            "{budget}: {kept}"
        );
    }
}

/// A context `c` and a registry `r` with agents of these names, capabilities and loads.
fn team(server: &Server, agents: &[(&str, &str, &str)]) {
    create(server, "c", &json!({"a": 1, "b": 1}));
    register(server, agents);
}

#[track_caller]
fn register(server: &Server, agents: &[(&str, &str, &str)]) {
    for (agent, capability, load) in agents {
        server.run(&format!("LTMC.REGISTER r {agent} CAPS 1 {capability} TAGS 1 eu CAPACITY 4 PX 600000")).int();
        let beat = server.run(&format!("LTMC.HEARTBEAT r {agent} LOAD {load}"));
        assert!(!beat.is_error(), "{beat:?}");
    }
}

#[test]
fn work_goes_to_whom_is_capable_rested_and_at_home() {
    let server = Server::start();
    let route = |more: &str| {
        let reply = server.run(&format!("LTMC.CTX.ROUTE c r {more}"));
        if reply.is_nil() {
            "-".to_string()
        } else {
            reply.text().to_string()
        }
    };
    create(&server, "lonely", &json!({}));
    assert!(server.run("LTMC.CTX.ROUTE lonely r").is_nil(), "no registry");
    team(&server, &[("busy", "go", "0.9"), ("calm", "go", "0.3"), ("rust", "rust", "0.5"), ("idle", "go", "0.1")]);
    assert_eq!(route(""), "idle", "nobody knows it: who is rested");
    assert_eq!(
        (route("CAPS 1 rust"), route("CAPS 1 cobol"), route("EXCLUDE 1 idle")),
        ("rust".into(), "-".into(), "calm".into())
    );
    server.run("LTMC.CTX.JOIN c calm").int();
    assert_eq!(route(""), "calm", "700 + 200 for taking part, and 900: a tie goes by the id");
    server.run("LTMC.HEARTBEAT r calm LOAD 0.31");
    assert_eq!(route(""), "idle", "who takes part is worth no more than that");
    for (agent, path, n) in [("calm", "/a", 2), ("rust", "/b", 2), ("busy", "/b", 3)] {
        server.run(&format!("LTMC.CTX.UPDATE c {agent} SET {path} {n}")).int();
    }
    assert_eq!((route("PATH /a"), route("PATH /b"), route("")), ("calm".into(), "rust".into(), "calm".into()));
    assert_eq!(route("PATH /b CAPS 1 go"), "busy", "at home is worth more than rested");
    assert_eq!(route("PATH /b CAPS 1 go EXCLUDE 1 busy"), "idle");
    server.run("LTMC.HEARTBEAT r calm STATUS DRAINING");
    assert_eq!(route("PATH /a"), "idle", "who takes no work is not offered, whatever it knows");
    server.run("LTMC.DEREGISTER r rust").int();
    assert_eq!(route("PATH /b CAPS 1 rust"), "-");
    assert!(server.run("LTMC.CTX.ROUTE none r").is_nil(), "no context");
    assert_eq!(server.run("LTMC.CTX.ROUTE c lonely").error_code(), "WRONGTYPE");
}

#[test]
fn of_equals_the_first_id_is_chosen_wherever_it_stands_and_who_is_degraded_comes_last() {
    let server = Server::start();
    let replica = server.replica();
    // A reload gives the agents new places in the registry: here z precedes b and a, after a reload
    // the first registered does.
    team(&server, &[("gone", "go", "0.2"), ("c", "go", "0.2"), ("b", "go", "0.2")]);
    server.run("LTMC.DEREGISTER r gone").int();
    register(&server, &[("z", "go", "0.2"), ("a", "go", "0.2")]);
    let route = |server: &Server, more: &str| server.run(&format!("LTMC.CTX.ROUTE c r {more}")).text().to_string();
    let all = |expected: &str, more: &str| {
        replica.wait_synced(&server);
        assert_eq!((route(&server, more), route(&replica, more)), (expected.into(), expected.into()), "{more}");
        server.debug_reload();
        assert_eq!(route(&server, more), expected, "{more} after a reload");
    };
    all("a", "");
    all("b", "EXCLUDE 1 a");
    // Half of its capacity is claimed, which counts like half a load.
    for _ in 0..2 {
        server.run("LTMC.AGENT.CLAIM r PX 600000 EXCLUDE 3 b c z").array();
    }
    all("b", "");
    server.run("LTMC.HEARTBEAT r b HEALTH DEGRADED");
    all("c", "");
    server.run("LTMC.CTX.UPDATE c b SET /a 2").int();
    all("c", "PATH /a");
    for agent in ["a", "c", "z"] {
        server.run(&format!("LTMC.HEARTBEAT r {agent} HEALTH DEGRADED"));
    }
    all("b", "PATH /a");
}

#[test]
fn the_same_is_built_and_chosen_on_a_replica_and_after_a_reload() {
    let server = Server::start();
    let replica = server.replica();
    team(&server, &[("b", "go", "0.5"), ("a", "go", "0.5"), ("c", "go", "0.5")]);
    update(&server, "c", &format!("REPLACE|{}", large())).int();
    let mut dice = Dice(9);
    for _ in 0..150 {
        let (agent, part) = (["a", "b", "c"][dice.below(3)], dice.below(40));
        server.run(&format!("LTMC.CTX.UPDATE c {agent} SET /part-{part}/in/c {}", dice.below(100))).int();
    }
    server.run("LTMC.CTX.CHECKPOINT c").int();
    server.run("LTMC.CTX.ROLLBACK c 1").int();
    let answers = |server: &Server| -> Vec<Reply> {
        let lines = [
            "LTMC.CTX.BUILD c FOR a BUDGET 900",
            "LTMC.CTX.BUILD c FOR b BUDGET 2000",
            "LTMC.CTX.ROUTE c r PATH /part-7",
            "LTMC.CTX.ROUTE c r EXCLUDE 1 a",
            "LTMC.CTX.DIFF c 30",
        ];
        lines.iter().map(|line| server.run(line)).collect()
    };
    let before = answers(&server);
    assert!(before.iter().all(|reply| !reply.is_error()), "{before:?}");
    replica.wait_synced(&server);
    assert_eq!(answers(&replica), before, "on a replica");
    server.debug_reload();
    assert_eq!(answers(&server), before, "after a reload");
}
