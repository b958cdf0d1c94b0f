//! Every write, through every way in which a server copies or reloads what it holds.

use super::*;

/// Numbers and texts that a careless codec changes.
const HARD_DOC: &str = concat!(
    r#"{"big":18446744073709551615,"small":-9223372036854775808,"third":0.3333333333333333,"tenth":0.1,"#,
    r#""tiny":5e-324,"huge":1.7976931348623157e308,"minus":-0.0,"whole":1.0,"more":1e21,"exact":9007199254740993,"#,
    r#""text":"größe 漢字 🦀 \u0000\"\\/\u2028","":{"~":{"/":[null,true,[],{}]}}}"#
);

/// Contexts: every kind of change of a document, and everything else that happens to one.
fn make_contexts(server: &Server) {
    let create =
        format!("LTMC.CTX.CREATE c OWNER ada DOC {} META {{\"k\":[1]}} PX {FAR_MS}", HARD_DOC.replace(' ', "_"));
    run(server, &create);
    for op in [
        r#"MERGE {"gone":1,"text":null,"list":[0.1,1e-7]}"#,
        r#"PATCH [{"op":"test","path":"/gone","value":1},{"op":"add","path":"/list/1","value":2.50},{"op":"move","from":"/gone","path":"/moved"}]"#,
        r#"SET /a/b/c {"deep":[[]]} SET /a/b/c/deep/0/- -0.0"#,
        "DEL /a/b",
        "APPEND /log 1 APPEND /log 2.5 APPEND /log \"é\"",
        "INCRBY /n 1 INCRBY /n 0.1 INCRBY /n 9007199254740992",
        "INCRBY /whole 7 INCRBY /exact 2",
        r#"REPLACE {"all":{"new":1}}"#,
        "SET /all/new 1",
    ] {
        run(server, &format!("LTMC.CTX.UPDATE c bob {op}"));
        run(server, "LTMC.CTX.CHECKPOINT c NAME after PIN");
    }
    run_all(server, &["LTMC.CTX.JOIN c cleo ROLE r", "LTMC.CTX.JOIN c cleo ROLE other", "LTMC.CTX.JOIN c dan"]);
    run_all(server, &["LTMC.CTX.LEAVE c dan", "LTMC.CTX.CHECKPOINT c NAME loose", "LTMC.CTX.CHECKPOINT c"]);
    run_all(server, &["LTMC.CTX.ROLLBACK c 3", "LTMC.CTX.UPDATE c cleo SET /a/x 0.1", "LTMC.CTX.PRUNE c KEEPLAST 1"]);
    run_all(server, &["LTMC.CTX.FORK c forked", "LTMC.CTX.FORK c early AT 2", "LTMC.CTX.UPDATE early eve DEL /n"]);
    run_all(server, &["LTMC.CTX.CREATE slides PX 90000000 SLIDING", "LTMC.CTX.UPDATE slides x SET /a 1"]);
    run_all(server, &["LTMC.CTX.CREATE again", "DEL again", "LTMC.CTX.CREATE again DOC [1]"]);
    // Little history: old versions are joined, and those of checkpoints stay.
    server.run("CONFIG SET ltmc.history-versions-max 3").ok();
    run(server, "LTMC.CTX.CREATE short DOC {\"n\":0,\"list\":[]}");
    for n in 0..40 {
        run(server, &format!("LTMC.CTX.UPDATE short a{} SET /n {n}.5 APPEND /list {n} SET /k{n} 1", n % 3));
        if n % 7 == 0 {
            run(server, &format!("LTMC.CTX.CHECKPOINT short NAME c{n} {}", if n == 14 { "PIN" } else { "" }));
        }
    }
    run_all(server, &["LTMC.CTX.UPDATE short a DEL /list/3 DEL /k5", "LTMC.CTX.PRUNE short KEEPLAST 2"]);
    run_all(server, &["LTMC.CTX.ROLLBACK short c14", "LTMC.CTX.ROLLBACK short c28"]);
    server.run("CONFIG SET ltmc.history-versions-max 100").ok();
}

/// Sessions: the same, and their statuses, resources and ends.
fn make_sessions(server: &Server, clock: &mut i64) {
    let create =
        r#"LTMC.SESSION.CREATE s PARTICIPANTS 2 ada bob STATE {"t":"ü","n":1.50,"o":{"a":[1e2]}} META {"tags":["x"]}"#;
    run(server, &format!("{create} PX {FAR_MS} SLIDING MAXLIFE {}", 2 * FAR_MS));
    server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", b"\xff\x00\r\n", b"\x80 any", b"", b"x"]).error();
    server.cmd(&[b"LTMC.SESSION.SET".as_slice(), b"s", b"\xff\x00\r\n", b"\x80 any", b"n", b""]).int();
    run_all(server, &["LTMC.SESSION.SET s a 1 a 2 b 3 IFVERSION 2", "LTMC.SESSION.CHECKPOINT s NAME one PIN"]);
    run_all(
        server,
        &["LTMC.SESSION.DEL s a t none", "LTMC.SESSION.CHECKPOINT s", "LTMC.SESSION.SET s a 9 PX 90000000"],
    );
    run_all(server, &["LTMC.SESSION.JOIN s cleo ROLE r", "LTMC.SESSION.LEAVE s bob", "LTMC.SESSION.OWN s l1 l2 l3"]);
    run_all(server, &["LTMC.SESSION.DISOWN s l2", "LTMC.SESSION.STATUS s SUSPENDED", "LTMC.SESSION.RESTORE s one"]);
    run_all(
        server,
        &["LTMC.SESSION.STATUS s MIGRATING", "LTMC.SESSION.SET s late 1", "LTMC.SESSION.PRUNE s KEEPLAST 0"],
    );
    run_all(server, &["LTMC.SESSION.FORK s fork", "LTMC.SESSION.FORK s past AT 1", "LTMC.SESSION.SET past a b"]);
    run_all(server, &["LTMC.SESSION.SET made f v PX 90000000", "LTMC.SESSION.SET bare f v", "LTMC.SESSION.DEL bare f"]);
    assert_eq!(server.run("EXISTS bare").int(), 0);
    for key in ["suspended", "ended", "gone", "reborn", "terminated"] {
        run(server, &format!("LTMC.SESSION.CREATE {key} PARTICIPANTS 1 p STATE {{\"a\":1}} PX {FAR_MS}"));
        run(server, &format!("LTMC.SESSION.OWN {key} lock-{key}"));
        run(server, &format!("LTMC.LOCK lock-{key} p PX {FAR_MS}"));
    }
    run_all(server, &["LTMC.SESSION.STATUS suspended SUSPENDED", "LTMC.SESSION.TOUCH suspended PX 50000000000"]);
    run(server, &format!("LTMC.SESSION.END ended GRACE {FAR_MS}"));
    run_all(server, &["LTMC.SESSION.END gone GRACE 0", "LTMC.SESSION.END reborn", "LTMC.SESSION.SET other reborn 1"]);
    run_all(server, &["LTMC.SESSION.CREATE reborn STATE {\"b\":2}", "LTMC.SESSION.STATUS terminated TERMINATED"]);
    assert_eq!(server.run("EXISTS lock-ended lock-gone lock-reborn lock-terminated gone").int(), 0);
    run_all(server, &["LTMC.SESSION.CREATE late PX 100000 PARTICIPANTS 1 p", "LTMC.SESSION.OWN late lock-late"]);
    run(server, &format!("LTMC.LOCK lock-late p PX {FAR_MS}"));
    *clock += 100_001;
    set_clock(server, *clock);
    wait_until("it has ended by time", || server.run("EXISTS late lock-late").int() == 0);
    let mut client = server.client();
    client.run("SELECT 4").ok();
    client.run("LTMC.SESSION.SET s elsewhere 1").int();
    client.run("LTMC.CTX.CREATE c DOC {}").int();
}

/// Everything at once. Returns the clock after that.
pub fn make_everything(server: &Server) -> i64 {
    let mut clock = 0;
    server.run(&format!("CONFIG SET ltmc.session-end-grace-ms {}", FAR_MS / 2)).ok();
    make_contexts(server);
    make_sessions(server, &mut clock);
    run_all(server, &["LTMC.CTX.GENERATE generated 3 c s short", "LTMC.CTX.UPDATE generated x SET /new 0.1"]);
    run_all(server, &["LTMC.CTX.GENERATE generated 2 forked s TAGS 1 x", "LTMC.CTX.GENERATE little 1 short BUDGET 60"]);
    for kind in ["created", "changed", "restored", "checkpointed", "pruned", "joined", "left"] {
        for service in ["context", "session"] {
            assert!(happened(server, &format!("{service}.{kind}")) > 0, "{service}.{kind} did not happen");
        }
    }
    for kind in ["owned", "disowned", "status", "ended"] {
        assert!(happened(server, &format!("session.{kind}")) > 0, "session.{kind} did not happen");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    clock
}

const CONTEXTS: [&str; 8] = ["c", "forked", "early", "slides", "again", "short", "generated", "little"];
const SESSIONS: [&str; 8] = ["s", "fork", "past", "made", "suspended", "ended", "reborn", "terminated"];

/// All that readers are told, including past versions, checkpoints and revisions.
pub fn readable(server: &Server) -> Vec<String> {
    let mut lines = Vec::new();
    for key in CONTEXTS {
        lines.push(format!("LTMC.CTX.GET {key}"));
        lines.push(format!("LTMC.CTX.CHECKPOINTS {key}"));
        lines.push(format!("LTMC.CTX.BUILD {key} FOR a1 BUDGET 100"));
        for version in 1..=45 {
            lines.push(format!("LTMC.CTX.GET {key} AT {version}"));
            lines.push(format!("LTMC.CTX.DIFF {key} {version}"));
        }
    }
    for key in SESSIONS {
        lines.push(format!("LTMC.SESSION.GET {key}"));
        lines.push(format!("LTMC.SESSION.INFO {key}"));
        lines.push(format!("LTMC.SESSION.CHECKPOINTS {key}"));
    }
    lines.extend(CONTEXTS.iter().chain(&SESSIONS).map(|key| format!("LTMC.WATCH 1 {key} SINCE 0")));
    let replies = server.client().pipeline(&lines);
    lines.iter().zip(replies).map(|(line, reply)| format!("{line}: {}", without_memory(&reply))).collect()
}

/// Spare capacity is not part of the value.
pub fn without_memory(reply: &Reply) -> String {
    without(&format!("{reply:?}"), "memory_bytes")
}

/// A reply without the number in a field.
pub fn without(reply: &str, field: &str) -> String {
    let Some((before, rest)) = reply.split_once(&format!("\"{field}\", ")) else { return reply.to_string() };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{after}")
}

#[track_caller]
fn assert_readable(server: &Server, expected: &[String], way: &str) {
    for (found, expected) in readable(server).iter().zip(expected) {
        assert_eq!(found, expected, "{way}");
    }
}

#[test]
fn everything_that_can_happen_to_sessions_and_contexts_is_persisted_everywhere() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    make_everything(&primary);
    let seen = readable(&primary);
    let kept = seen.iter().filter(|line| line.contains(" AT ") && !line.contains(": -")).count();
    assert!(kept > 20, "so many versions can be asked for: {kept}");
    replica.wait_synced(&primary);
    assert_readable(&replica, &seen, "live replica");
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_readable(&primary, &seen, "what was reloaded");
    let other = primary.spec().start();
    primary.restore_into(&other);
    assert_readable(&other, &seen, "DUMP and RESTORE");
    other.follow(&primary);
    assert_readable(&other, &seen, "replica that joins later");
    replica.wait_synced(&primary);
    let last = primary.dataset();
    primary.kill();
    replica.promote();
    assert_same("promoted replica", &last, &replica.dataset());
    assert_readable(&replica, &seen, "promoted replica");
    // Earlier versions can be restored, and what has begun continues.
    let (version, checkpoint) = (run(&replica, "LTMC.CTX.GET c").get("version").int(), "LTMC.CTX.ROLLBACK c 1");
    let then = doc(&replica, "early");
    assert_eq!(run(&replica, checkpoint).int(), version + 1);
    assert!(doc(&replica, "c").contains("1e-7") && doc(&replica, "early") == then);
    assert_eq!(story_of(&replica, "c").last().map(|event| event["checkpoint"].clone()), Some(1.into()));
}

#[test]
fn a_document_is_the_same_text_after_every_way() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    server.cmd(&["LTMC.CTX.CREATE", "c", "DOC", HARD_DOC]).int();
    let first = doc(&server, "c");
    assert_eq!(serde_json::from_str::<Value>(&first).ok(), serde_json::from_str(HARD_DOC).ok());
    for part in
        ["18446744073709551615", "-9223372036854775808", "0.3333333333333333", "5e-324", "9007199254740993", "-0.0"]
    {
        assert!(first.contains(part), "{part}: {first}");
    }
    // The same values once more, as edits.
    server.cmd(&["LTMC.CTX.CREATE", "d"]).int();
    server.cmd(&["LTMC.CTX.UPDATE", "d", "x", "MERGE", HARD_DOC, "SET", "/copy", HARD_DOC]).int();
    let second = doc(&server, "d");
    replica.wait_synced(&server);
    assert_eq!((doc(&replica, "c"), doc(&replica, "d")), (first.clone(), second.clone()));
    let ways: [(&str, &[&str]); 3] = [
        ("reload", &["DEBUG RELOAD"]),
        ("AOF", &["DEBUG LOADAOF"]),
        ("plain AOF", &["CONFIG SET aof-use-rdb-preamble no", "BGREWRITEAOF", "DEBUG LOADAOF"]),
    ];
    for (way, lines) in ways {
        for line in lines {
            if *line == "BGREWRITEAOF" {
                server.rewrite_aof();
            } else {
                server.run(line).ok();
            }
        }
        assert_eq!((doc(&server, "c"), doc(&server, "d")), (first.clone(), second.clone()), "{way}");
    }
    // Reading a text and writing it back changes nothing.
    server.cmd(&["LTMC.CTX.UPDATE", "c", "x", "REPLACE", &first]).int();
    assert_eq!(doc(&server, "c"), first);
    assert_eq!(run(&server, "LTMC.CTX.DIFF c 1").text(), "{}");
}

#[test]
fn an_aof_that_is_rewritten_while_versions_are_made_loses_nothing() {
    for preamble in ["yes", "no"] {
        let server = Server::builder().durable().arg("aof-use-rdb-preamble", preamble).start();
        let text = "x".repeat(500);
        let lines: Vec<String> = (0..1500).map(|n| format!("LTMC.SESSION.SET s{n} f {text} n {n}")).collect();
        server.client().pipeline(&lines);
        run(&server, "LTMC.CTX.CREATE c");
        server.run("BGREWRITEAOF");
        let (mut client, mut turns) = (server.client(), 0);
        loop {
            let n = turns * 3 % 1500;
            let lines = [
                format!("LTMC.CTX.UPDATE c a{} SET /k{} 0.{turns} APPEND /list {turns}.25", turns % 5, turns % 50),
                format!("LTMC.CTX.CHECKPOINT c NAME t{turns}"),
                "LTMC.CTX.PRUNE c KEEPLAST 20".to_string(),
                format!("LTMC.SESSION.SET s{n} n {turns}"),
                format!("LTMC.SESSION.DEL s{} f n", n + 1),
                format!("LTMC.SESSION.FORK s{n} f{turns}"),
                format!("LTMC.SESSION.END s{} GRACE {FAR_MS}", n + 2),
            ];
            let replies = client.pipeline(&lines);
            assert!(replies[..3].iter().all(|reply| !reply.is_error()), "{replies:?}");
            turns += 1;
            if turns >= 20 && !server.is_rewriting_aof() {
                break;
            }
        }
        assert_eq!(server.info("persistence")["aof_last_bgrewrite_status"], "ok");
        let before = server.dataset();
        let seen =
            [without_memory(&server.run("LTMC.CTX.GET c")), format!("{:?}", server.run("LTMC.CTX.CHECKPOINTS c"))];
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("AOF with RDB preamble {preamble}"), &before, &server.dataset());
        assert_eq!(seen[0], without_memory(&server.run("LTMC.CTX.GET c")));
        assert_eq!(seen[1], format!("{:?}", server.run("LTMC.CTX.CHECKPOINTS c")));
    }
}
