//! What is refused, and that nothing changes then.

use super::fields::{fields, run};
use crate::bad_input::{
    all_refusals, random_words, refused, refused_as, refused_in_one_line, refused_line, Refusals, FIXED, OPEN, SYNTAX,
};
use crate::harness::*;

/// A server with a session, a context, a lock and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    run(&server, "SET text v");
    run(&server, "LTMC.LOCK lock b PX 600000");
    run(&server, "LTMC.CTX.CREATE context DOC {\"f\":1}");
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1} META {\"x\":1}");
    run(&server, "LTMC.SESSION.CHECKPOINT s NAME n");
    run(&server, "LTMC.SESSION.OWN s lock");
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.SESSION"],
    key: "s",
    others: &["text", "lock", "context"],
    least: &[
        ("LTMC.SESSION.CREATE @", SYNTAX),
        ("LTMC.SESSION.SET @ f v", OPEN),
        ("LTMC.SESSION.GET @", OPEN),
        ("LTMC.SESSION.DEL @ f", OPEN),
        ("LTMC.SESSION.INFO @", FIXED),
        ("LTMC.SESSION.STATUS @", Some("allowed are ACTIVE, SUSPENDED, MIGRATING, RECOVERING, TERMINATED")),
        ("LTMC.SESSION.JOIN @ b", SYNTAX),
        ("LTMC.SESSION.LEAVE @ a", FIXED),
        ("LTMC.SESSION.TOUCH @", SYNTAX),
        ("LTMC.SESSION.OWN @ r", OPEN),
        ("LTMC.SESSION.DISOWN @ lock", OPEN),
        ("LTMC.SESSION.CHECKPOINT @", SYNTAX),
        ("LTMC.SESSION.CHECKPOINTS @", SYNTAX),
        ("LTMC.SESSION.RESTORE @ n", SYNTAX),
        ("LTMC.SESSION.FORK @ new", SYNTAX),
        ("LTMC.SESSION.PRUNE @ KEEPLAST 0", SYNTAX),
        ("LTMC.SESSION.END @", SYNTAX),
    ],
    options: &[
        ("LTMC.SESSION.CREATE new", "PARTICIPANTS 1 a|STATE {}|META 1|PX 9|EX 9|MAXLIFE 9"),
        ("LTMC.SESSION.CREATE new PX 9", "SLIDING"),
        ("LTMC.SESSION.JOIN s a", "ROLE x"),
        ("LTMC.SESSION.TOUCH s", "PX 9|EX 9"),
        ("LTMC.SESSION.CHECKPOINT s", "NAME x|PIN"),
        ("LTMC.SESSION.RESTORE s n", "IFVERSION 1"),
        ("LTMC.SESSION.FORK s new", "AT n"),
        ("LTMC.SESSION.PRUNE s KEEPLAST 0", "MAXAGE 5|DRYRUN"),
        ("LTMC.SESSION.END s", "GRACE 5"),
    ],
    numbers: &[
        ("LTMC.SESSION.CREATE new PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.SESSION.CREATE new EX #", "EX", 1, 3_153_600_000),
        ("LTMC.SESSION.CREATE new MAXLIFE #", "MAXLIFE", 1, 3_153_600_000_000),
        ("LTMC.SESSION.CREATE new PARTICIPANTS # a", "the number of values of PARTICIPANTS", 0, 1_000_000),
        ("LTMC.SESSION.SET s f v IFVERSION #", "IFVERSION", 0, i64::MAX as u64),
        ("LTMC.SESSION.SET s f v PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.SESSION.SET s f v EX #", "EX", 1, 3_153_600_000),
        ("LTMC.SESSION.TOUCH s PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.SESSION.TOUCH s EX #", "EX", 1, 3_153_600_000),
        ("LTMC.SESSION.RESTORE s n IFVERSION #", "IFVERSION", 0, i64::MAX as u64),
        ("LTMC.SESSION.PRUNE s KEEPLAST #", "KEEPLAST", 0, u32::MAX as u64),
        ("LTMC.SESSION.PRUNE s KEEPLAST 0 MAXAGE #", "MAXAGE", 0, 3_153_600_000_000),
        ("LTMC.SESSION.END s GRACE #", "GRACE", 0, 3_153_600_000_000),
    ],
    texts: &[
        ("LTMC.SESSION.JOIN s #", "agent", 1, 256),
        ("LTMC.SESSION.LEAVE s #", "agent", 1, 256),
        ("LTMC.SESSION.CREATE new PARTICIPANTS 2 a #", "a participant", 1, 256),
        ("LTMC.SESSION.JOIN s a ROLE #", "ROLE", 0, 256),
        ("LTMC.SESSION.CHECKPOINT s NAME #", "NAME", 0, 256),
    ],
};

all_refusals!(OF);

#[test]
fn a_fork_onto_a_key_of_another_type_is_refused() {
    let server = with_data();
    for other in ["text", "lock", "context"] {
        refused_as(&server, &["LTMC.SESSION.FORK", "s", other], "WRONGTYPE", "");
    }
}

#[test]
fn a_field_without_a_value_and_a_word_too_many_are_refused() {
    let server = with_data();
    for line in ["s f", "s f v g", "s f v PX", "s f v IFVERSION", "s f v g w EX 5 h", "s PX 5 EX"] {
        let words: Vec<&str> = line.split(' ').collect();
        let part = if words.len() == 2 { "wrong number of arguments" } else { "a field has no value" };
        refused(&server, &[&["LTMC.SESSION.SET"], &words[..]].concat(), part);
    }
    refused_line(&server, "LTMC.SESSION.STATUS s active now", "'now' is not understood here");
    refused_line(&server, "LTMC.SESSION.PRUNE s MAXAGE 5", "KEEPLAST is missing; syntax");
}

#[test]
fn options_that_exclude_each_other_or_do_not_belong_there_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("CREATE new PX 5 EX 5", "PX and EX exclude each other"),
        ("SET s f v EX 5 PX 5", "PX and EX exclude each other"),
        ("TOUCH s PX 5 EX 5", "PX and EX exclude each other"),
        ("SET s f v IFVERSION 1 IFVERSION 1", "option IFVERSION is given twice"),
        ("SET s f v PX 5 px 5", "option PX is given twice"),
        ("CREATE new SLIDING", "SLIDING goes with PX or EX only"),
        ("CREATE new SLIDING MAXLIFE 5", "SLIDING goes with PX or EX only"),
        ("CREATE new OWNER a", "'OWNER' is not understood here"),
        ("JOIN s a AS x", "'AS' is not understood here"),
        ("CREATE new PARTICIPANTS 2 a", "PARTICIPANTS announces 2 values, but only 1 follow"),
        ("CREATE new PARTICIPANTS 1 a b", "'b' is not understood here"),
    ] {
        refused_line(&server, &format!("LTMC.SESSION.{line}"), part);
    }
}

#[test]
fn names_have_their_lengths() {
    let server = with_data();
    let field = "f".repeat(1025);
    for wrong in ["", field.as_str()] {
        let part = format!("field is {} bytes long, allowed are 1 to 1024", wrong.len());
        refused(&server, &["LTMC.SESSION.SET", "s", wrong, "v"], &part);
        refused(&server, &["LTMC.SESSION.SET", "s", "good", "v", wrong, "v"], &part);
        refused(&server, &["LTMC.SESSION.SET", "new", wrong, "v"], &part);
        let state = format!("{{\"{wrong}\":1}}");
        refused(&server, &["LTMC.SESSION.CREATE", "new", "STATE", &state], &part);
        assert!(server.cmd(&["LTMC.SESSION.GET", "s", wrong]).is_nil());
        assert_eq!(server.cmd(&["LTMC.SESSION.DEL", "s", wrong]).int(), 0);
    }
    let binary = [b"LTMC.SESSION.JOIN".as_slice(), b"s", b"\0\xff\r\n", b"ROLE", b"\xff\0"];
    assert_eq!(server.cmd(&binary).int(), 1);
    let shown = run(&server, "LTMC.SESSION.INFO s");
    let one = &shown.get("participants").array()[0];
    assert_eq!((one.get("agent").bytes(), one.get("role").bytes()), (&b"\0\xff\r\n"[..], &b"\xff\0"[..]));
}

#[test]
fn hostile_state_and_metadata_are_refused() {
    let server = with_data();
    let deep = |open: &str, close: &str, depth: usize| [open.repeat(depth), "1".into(), close.repeat(depth)].concat();
    for json in ["{", "{}x", "'x'", "NaN", "1e999", "\"\\ud800\"", "[1,]", " ", "\0", "nul", "{\"a\":1,}", "{a:1}"] {
        refused(&server, &["LTMC.SESSION.CREATE", "new", "STATE", json], "STATE is not valid JSON");
        refused(&server, &["LTMC.SESSION.CREATE", "new", "META", json], "META is not valid JSON");
    }
    refused(&server, &["LTMC.SESSION.CREATE", "new", "STATE", ""], "STATE is not valid JSON");
    for json in ["[]", "1", "null", "\"text\"", "true"] {
        refused(&server, &["LTMC.SESSION.CREATE", "new", "STATE", json], "STATE is no JSON object");
    }
    for what in ["STATE", "META"] {
        let not_utf8 = [b"LTMC.SESSION.CREATE".as_slice(), b"new", what.as_bytes(), b"{\"\xff\":1}"];
        refused(&server, &not_utf8, &format!("{what} is not valid JSON"));
    }
    for json in [deep("[", "]", 65), deep("{\"a\":", "}", 2000), "[".repeat(1_000_000), "{\"a\":[".repeat(100_000)] {
        refused_as(&server, &["LTMC.SESSION.CREATE", "new", "STATE", &json], "LIMIT", "ltmc.json-depth-max");
    }
    for json in [deep("[", "]", 65), deep("{\"a\":", "}", 2000), "[".repeat(16_000)] {
        refused_as(&server, &["LTMC.SESSION.CREATE", "new", "META", &json], "LIMIT", "META has more than 64 levels");
    }
    let long = format!("\"{}\"", "x".repeat(16 * 1024 - 1));
    refused(&server, &["LTMC.SESSION.CREATE", "new", "META", &long], "META is 16385 bytes long, at most 16384");
    let deepest = format!("{{\"f\":{}}}", deep("[", "]", 63));
    assert_eq!(server.cmd(&["LTMC.SESSION.CREATE", "new", "STATE", &deepest, "META", &deepest]).int(), 1);
    assert_eq!(fields(&server, "new"), [format!("f={}", deep("[", "]", 63))]);
}

#[test]
fn the_depth_of_metadata_is_not_blamed_on_a_setting_that_allows_more() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.json-depth-max 100");
    let meta = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let reply = server.cmd(&["LTMC.SESSION.CREATE", "s", "META", &meta]);
    // A refusal must not name `json-depth-max` where that allows more.
    assert!(!reply.is_error() || !reply.error().contains("ltmc.json-depth-max"), "{reply:?}");
}

#[test]
fn an_error_is_one_line_whatever_was_given() {
    let lines = [
        "CREATE new #",
        "CREATE new STATE #",
        "CREATE new META #",
        "CREATE new PARTICIPANTS # a",
        "CREATE new PX #",
        "SET s f v IFVERSION #",
        "SET s # v IFVERSION 9",
        "STATUS s #",
        "STATUS # active",
        "JOIN # a",
        "JOIN s a # x",
        "TOUCH s #",
        "OWN # r",
        "CHECKPOINT s #",
        "CHECKPOINT #",
        "RESTORE s #",
        "RESTORE s n #",
        "FORK s new AT #",
        "FORK # new",
        "PRUNE s # 1",
        "PRUNE s KEEPLAST #",
        "END s GRACE #",
    ];
    refused_in_one_line(&with_data(), &lines.map(|line| format!("LTMC.SESSION.{line}")));
}

#[test]
fn random_words_break_nothing() {
    let server = with_data();
    const WORDS: &str = "a b f g n s new PARTICIPANTS STATE META PX EX SLIDING MAXLIFE IFVERSION ROLE NAME PIN AT MAXAGE \
        DRYRUN KEEPLAST GRACE 0 1 1 2 3 9 64 600000 600000 -1 0.5 {} {\"f\":[1]} null [ active SUSPENDED migrating lock \
        recovering 9223372036854775807";
    random_words(&server, &OF.lines(), WORDS, 5, &["ERR", "NOSESSION", "CONFLICT", "BADSTATE"], |client| {
        client.run("LTMC.SESSION.END new GRACE 0");
        client.run("LTMC.SESSION.CREATE s STATE {\"f\":1}");
    });
    assert_eq!(run(&server, "LTMC.REPAIR s").get("was_broken").int(), 0);
}

#[test]
fn a_resource_with_a_longer_name_than_a_key_may_have_is_refused() {
    let server = with_data();
    refused(&server, &["LTMC.SESSION.OWN", "s", &"x".repeat(65_537)], "bytes long");
    server.debug_reload();
    assert!(!server.run("LTMC.SESSION.INFO s").is_error());
}
