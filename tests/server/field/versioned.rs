//! Sessions and contexts: checkpoints, versions, and what is left out.

use crate::harness::*;

/// The four names of the report: the ids of these checkpoints are 1 to 4.
#[test]
fn a_checkpoint_cannot_be_named_like_the_id_of_another() {
    let server = Server::start();
    for (kind, restore, write) in [
        ("SESSION", "LTMC.SESSION.RESTORE", "LTMC.SESSION.SET k n"),
        ("CTX", "LTMC.CTX.RESTORE", "LTMC.CTX.UPDATE k ada SET /n"),
    ] {
        server.run("DEL k");
        run(&server, &format!("LTMC.{kind}.CREATE k"));
        for n in 0..4 {
            run(&server, &format!("{write} {n}"));
            for name in [format!("{n}"), format!("0{n}"), format!("+{n}"), format!("-{n}")] {
                let before = server.debug_digest();
                let error = server.run(&format!("LTMC.{kind}.CHECKPOINT k NAME {name}"));
                assert_eq!(error.error_code(), "ERR");
                let told = format!("option NAME is '{name}', allowed are texts that are no whole number");
                assert!(error.error().contains(&told), "{error:?}");
                assert_eq!(server.debug_digest(), before);
            }
            assert_eq!(run(&server, &format!("LTMC.{kind}.CHECKPOINT k NAME step-{n}")).int(), n + 1);
        }
        // A number is an id, whatever the names are.
        for text in ["0", "5", "01", "+1", "99999999999999999999"] {
            for line in [format!("{restore} k {text}"), format!("LTMC.{kind}.FORK k other AT {text}")] {
                let error = server.run(&line);
                assert!(
                    error.error().contains(&format!("there is no checkpoint '{text}', none has this id")),
                    "{line}"
                );
            }
        }
        for (text, n) in [("2", 1), ("step-2", 2), ("4", 3), ("step-0", 0)] {
            run(&server, &format!("{restore} k {text}"));
            run(&server, &format!("LTMC.{kind}.FORK k f{text} AT {text}"));
            for key in ["k".to_string(), format!("f{text}")] {
                let shown = match kind {
                    "SESSION" => run(&server, &format!("LTMC.SESSION.GET {key} n")).text().to_string(),
                    _ => run(&server, &format!("LTMC.CTX.GET {key}")).get("doc").text().replace(['{', '}'], ""),
                };
                assert_eq!(shown.trim_start_matches("\"n\":"), n.to_string(), "{kind}: {text}");
            }
        }
        server.run("DEL f2 fstep-2 f4 fstep-0");
    }
}

#[test]
fn a_name_that_several_checkpoints_have_means_the_newest_that_is_left() {
    let server = Server::start();
    for n in 1..=3 {
        run(&server, &format!("LTMC.SESSION.SET s n {n}"));
        run(&server, &format!("LTMC.SESSION.CHECKPOINT s NAME same {}", if n == 1 { "PIN" } else { "" }));
    }
    run(&server, "LTMC.SESSION.SET s n 4");
    run(&server, "LTMC.SESSION.RESTORE s same");
    assert_eq!(run(&server, "LTMC.SESSION.GET s n").text(), "3");
    run(&server, "LTMC.SESSION.PRUNE s KEEPLAST 0");
    run(&server, "LTMC.SESSION.RESTORE s same");
    assert_eq!(run(&server, "LTMC.SESSION.GET s n").text(), "1");
}

/// Lines that change nothing, each with its answer.
const IDLE_SESSION: [(&str, &str); 13] = [
    ("LTMC.SESSION.SET s a 1", "4"),
    ("LTMC.SESSION.SET s a 1 b 2", "4"),
    ("LTMC.SESSION.SET s a 9 a 1", "4"),
    ("LTMC.SESSION.SET s a 1 IFVERSION 4 REQID r", "4"),
    ("LTMC.SESSION.DEL s none nobody", "0"),
    ("LTMC.SESSION.RESTORE s 2", "4"),
    ("LTMC.SESSION.RESTORE s same IFVERSION 4", "4"),
    ("LTMC.SESSION.JOIN s ada", "0"),
    ("LTMC.SESSION.LEAVE s nobody", "0"),
    ("LTMC.SESSION.STATUS s active", "active"),
    ("LTMC.SESSION.OWN s lock", "0"),
    ("LTMC.SESSION.DISOWN s other", "0"),
    ("LTMC.SESSION.PRUNE s KEEPLAST 9", "[]"),
];

const IDLE_CONTEXT: [(&str, &str); 19] = [
    ("LTMC.CTX.UPDATE c ada SET /a 1", "4"),
    ("LTMC.CTX.UPDATE c ada IFVERSION 4 REQID r MERGE {\"a\":1,\"o\":{\"l\":[1,2]}}", "4"),
    ("LTMC.CTX.UPDATE c ada REPLACE {\"a\":1,\"o\":{\"l\":[1,2]}}", "4"),
    ("LTMC.CTX.UPDATE c ada DEL /none", "4"),
    ("LTMC.CTX.UPDATE c ada MERGE {\"none\":null}", "4"),
    ("LTMC.CTX.UPDATE c ada INCRBY /a 0", "4"),
    ("LTMC.CTX.UPDATE c ada INCRBY /a 1 INCRBY /a -1", "4"),
    ("LTMC.CTX.UPDATE c ada APPEND /o/l 3 DEL /o/l/2", "4"),
    ("LTMC.CTX.UPDATE c ada SET /o {} SET /o/l [1,2]", "4"),
    ("LTMC.CTX.UPDATE c ada PATCH [{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]", "4"),
    ("LTMC.CTX.UPDATE c ada PATCH [{\"op\":\"move\",\"from\":\"/o/l/0\",\"path\":\"/o/l/0\"}]", "4"),
    ("LTMC.CTX.UPDATE c ada PATCH [{\"op\":\"add\",\"path\":\"/x\",\"value\":1},{\"op\":\"remove\",\"path\":\"/x\"}]", "4"),
    ("LTMC.CTX.GENERATE c 1 twin FOR bob", "4"),
    ("LTMC.CTX.ROLLBACK c 2", "4"),
    ("LTMC.CTX.RESTORE c same IFVERSION 4", "4"),
    ("LTMC.CTX.JOIN c ada", "0"),
    ("LTMC.CTX.LEAVE c nobody", "0"),
    ("LTMC.CTX.PRUNE c KEEPLAST 9", "[]"),
    ("LTMC.CTX.UPDATE c ada REQID r2 DEL /none", "4"),
];

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Int(number) => number.to_string(),
        Reply::Array(items) => format!("{items:?}"),
        reply => reply.text().to_string(),
    }
}

fn set_up(server: &Server, sliding: &str) {
    for line in [
        &format!("LTMC.SESSION.CREATE s PARTICIPANTS 1 ada {sliding}")[..],
        "LTMC.SESSION.SET s a 1 b 2",
        "LTMC.SESSION.CHECKPOINT s NAME first",
        "LTMC.SESSION.SET s a 2",
        "LTMC.SESSION.SET s a 1",
        "LTMC.SESSION.CHECKPOINT s NAME same",
        "LTMC.SESSION.OWN s lock",
        &format!("LTMC.CTX.CREATE c OWNER ada {sliding}"),
        "LTMC.CTX.UPDATE c ada SET /a 1 SET /o/l [1,2]",
        "LTMC.CTX.CHECKPOINT c NAME first",
        "LTMC.CTX.UPDATE c ada SET /a 2 APPEND /o/l 3",
        "LTMC.CTX.UPDATE c ada SET /a 1 DEL /o/l/2",
        "LTMC.CTX.CHECKPOINT c NAME same",
        "LTMC.CTX.CREATE twin DOC {\"a\":1,\"o\":{\"l\":[1,2]}}",
    ] {
        run(server, line);
    }
}

#[test]
fn a_write_that_changes_nothing_makes_no_version_no_event_and_no_conflict() {
    let mut server = Server::builder().durable().start();
    let replica = server.replica();
    set_up(&server, "");
    let revision = |key: &str| match key {
        "s" => run(&server, "LTMC.SESSION.INFO s").get("revision").int(),
        _ => run(&server, "LTMC.CTX.GET c").get("revision").int(),
    };
    for (key, idle) in [("s", &IDLE_SESSION[..]), ("c", &IDLE_CONTEXT[..])] {
        let before = revision(key);
        for (line, expected) in idle {
            assert_eq!(shown(&run(&server, line)), *expected, "{line}");
            assert_eq!(revision(key), before, "{line} is an event");
        }
        let news = run(&server, &format!("LTMC.WATCH 1 {key} SINCE {before}"));
        assert!(news.array()[0].array()[1].array().is_empty(), "{news:?}");
    }
    // Nobody who read before is in conflict, and what differs is all that a conflict names.
    assert_eq!(run(&server, "LTMC.SESSION.SET s a 1 b 3 IFVERSION 4").int(), 5);
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c bob IFVERSION 4 MERGE {\"a\":1,\"b\":3}").int(), 5);
    for (line, named) in [
        ("LTMC.SESSION.SET s a 7 IFVERSION 4", "changed since: \"b\""),
        ("LTMC.CTX.UPDATE c ada IFVERSION 4 SET /a 7", "changed since: \"/b\""),
    ] {
        let error = server.run(line);
        assert!(error.error_code() == "CONFLICT" && error.error().ends_with(named), "{error:?}");
    }
    // A retry is answered the same, though it would change something by now.
    run(&server, "LTMC.SESSION.SET s a 5");
    run(&server, "LTMC.CTX.UPDATE c ada SET /none 1");
    assert_eq!(run(&server, "LTMC.SESSION.SET s a 1 IFVERSION 4 REQID r").int(), 4);
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c ada REQID r2 DEL /none").int(), 4);
    assert_eq!(run(&server, "LTMC.SESSION.GET s a").text(), "5");
    assert_persisted_everywhere(&server, &[&replica]);
    server.crash_and_restart();
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c ada REQID r2 DEL /none").int(), 4);
}

#[test]
fn a_write_that_changes_nothing_renews_a_sliding_life_and_takes_another_ttl() {
    let server = Server::start();
    set_up(&server, "PX 600000 SLIDING");
    let ends = |key: &str| match key {
        "c" => run(&server, "LTMC.CTX.GET c").get("ends_at_ms").int(),
        key => run(&server, &format!("LTMC.SESSION.INFO {key}")).get("ends_at_ms").int(),
    };
    for (key, idle) in [("s", &IDLE_SESSION[..]), ("c", &IDLE_CONTEXT[..])] {
        for (line, _) in idle {
            let before = ends(key);
            std::thread::sleep(std::time::Duration::from_millis(2));
            run(&server, line);
            assert!(ends(key) > before, "{line} does not renew the life");
        }
    }
    let before = ends("s");
    run(&server, "LTMC.SESSION.SET s a 1 PX 900000");
    assert!(ends("s") > before + 200_000);
    // Without SLIDING a write leaves the life as it is.
    run(&server, "LTMC.SESSION.SET plain a 1 PX 500000");
    let before = ends("plain");
    std::thread::sleep(std::time::Duration::from_millis(2));
    run(&server, "LTMC.SESSION.SET plain a 1");
    assert_eq!(ends("plain"), before);
}

#[test]
fn what_a_part_leaves_out_takes_no_more_room_than_the_part() {
    let server = Server::start();
    let members: Vec<String> = (0..2_000).map(|n| format!(r#""section-{n:04}":"{}""#, "x".repeat(60))).collect();
    server.cmd(&["LTMC.CTX.CREATE", "c", "DOC", &format!("{{{}}}", members.join(","))]).int();
    let built = run(&server, "LTMC.CTX.BUILD c FOR ada BUDGET 2000");
    let paths: usize = built.get("left_out").array().iter().map(|path| path.bytes().len()).sum();
    assert!((400..=500).contains(&paths), "{paths} bytes of paths");
    let taken = built.get("doc").text().matches("section-").count() as i64;
    assert_eq!(built.get("left_out_count").int(), 2_000 - taken);
}

#[test]
fn ifversion_0_makes_a_context_and_is_a_conflict_if_there_is_one() {
    let mut server = Server::builder().durable().start();
    let replica = server.replica();
    assert_eq!(server.run("LTMC.CTX.UPDATE c ada SET /a 1").error_code(), "NOCONTEXT");
    assert_eq!(server.run("LTMC.CTX.UPDATE c ada IFVERSION 1 SET /a 1").error_code(), "NOCONTEXT");
    // Of two who begin one is first, and a retry of hers is still hers.
    let line = "LTMC.CTX.UPDATE c ada IFVERSION 0 REQID r SET /a 1 APPEND /l 2";
    assert_eq!(run(&server, line).int(), 1);
    let late = server.run("LTMC.CTX.UPDATE c bob IFVERSION 0 SET /a 2");
    assert!(late.error().starts_with("CONFLICT version 0 is not current, the current one is 1"), "{late:?}");
    assert_eq!(run(&server, line).int(), 1);
    let shown = run(&server, "LTMC.CTX.GET c");
    assert_eq!((shown.get("doc").text(), shown.get("owner").text()), ("{\"a\":1,\"l\":[2]}", "ada"));
    assert_eq!(shown.get("participants").array(), []);
    // What cannot be done makes nothing.
    for bad in ["INCRBY / x", "PATCH [{\"op\":\"remove\",\"path\":\"/a\"}]"] {
        assert!(server.run(&format!("LTMC.CTX.UPDATE d ada IFVERSION 0 {bad}")).is_error());
        assert_eq!(run(&server, "EXISTS d").int(), 0);
    }
    assert_eq!(run(&server, "LTMC.CTX.UPDATE d ada IFVERSION 0 DEL /none").int(), 1);
    assert_eq!(run(&server, "LTMC.CTX.GET d").get("doc").text(), "{}");
    assert_persisted_everywhere(&server, &[&replica]);
    server.crash_and_restart();
    assert_eq!(run(&server, line).int(), 1);
}

#[test]
fn restore_is_the_name_for_both_and_rollback_the_old_one() {
    let server = Server::start();
    for line in ["LTMC.CTX.CREATE c DOC {\"n\":1}", "LTMC.CTX.CHECKPOINT c NAME one", "LTMC.CTX.UPDATE c a SET /n 2"] {
        run(&server, line);
    }
    assert_eq!(run(&server, "LTMC.CTX.RESTORE c one IFVERSION 2 REQID r AGENT ada").int(), 3);
    let shown = run(&server, "LTMC.CTX.GET c");
    assert_eq!((shown.get("doc").text(), shown.get("changed_by").text()), ("{\"n\":1}", "ada"));
    assert_eq!(
        run(&server, "LTMC.CTX.ROLLBACK c one IFVERSION 2 REQID r AGENT ada").int(),
        3,
        "it is the same command"
    );
    assert_eq!(run(&server, "LTMC.CTX.ROLLBACK c one").int(), 3);
}

#[test]
fn reads_of_what_is_not_there_follow_one_rule() {
    let server = Server::start();
    // A single thing is nil, a list of things that are asked for by name has a nil for each.
    for line in [
        "LTMC.SESSION.GET none",
        "LTMC.SESSION.GET none field",
        "LTMC.SESSION.INFO none",
        "LTMC.SESSION.STATUS none",
        "LTMC.CTX.GET none",
        "LTMC.CTX.GET none AT 1",
        "LTMC.CTX.GET none PATH 1 /a",
        "LTMC.CTX.DIFF none 1",
        "LTMC.CTX.BUILD none FOR ada",
        "LTMC.CTX.ROUTE none agents",
    ] {
        assert!(server.run(line).is_nil(), "{line}: {:?}", server.run(line));
    }
    assert!(run(&server, "LTMC.SESSION.GET none a b").array().iter().all(Reply::is_nil));
    for line in ["LTMC.SESSION.CHECKPOINTS none", "LTMC.CTX.CHECKPOINTS none"] {
        assert_eq!(run(&server, line).array(), [], "{line}");
    }
    // A session without fields is there.
    run(&server, "LTMC.SESSION.CREATE empty");
    assert!(run(&server, "LTMC.SESSION.GET empty").pairs().is_empty());
}
