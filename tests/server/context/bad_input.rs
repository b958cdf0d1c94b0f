//! What is refused, and that nothing changes then.

use super::documents::{create, doc, update};
use crate::bad_input::{all_refusals, refused, refused_as, refused_line, refused_line_as, Refusals, FIXED, SYNTAX};
use crate::harness::*;
use serde_json::json;

/// A server with a context, a session, a registry, a lock and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    server.run("LTMC.SESSION.SET s f v").int();
    server.run("LTMC.REGISTER r a PX 600000").int();
    create(&server, "c", &json!({"n": 1, "list": [1], "o": {}, "t": "x"}));
    server.run("LTMC.CTX.CHECKPOINT c NAME good").int();
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.CTX"],
    key: "c",
    others: &["text", "lock", "s", "r"],
    least: &[
        ("LTMC.CTX.CREATE @", SYNTAX),
        ("LTMC.CTX.JOIN @ a", SYNTAX),
        ("LTMC.CTX.LEAVE @ a", FIXED),
        ("LTMC.CTX.TOUCH @", SYNTAX),
        ("LTMC.CTX.UPDATE @ a REPLACE 1", SYNTAX),
        ("LTMC.CTX.GET @", SYNTAX),
        ("LTMC.CTX.DIFF @ 1", SYNTAX),
        ("LTMC.CTX.GENERATE @ 1 c", SYNTAX),
        ("LTMC.CTX.BUILD @ FOR a", SYNTAX),
        ("LTMC.CTX.ROUTE @ r", SYNTAX),
        ("LTMC.CTX.CHECKPOINT @", SYNTAX),
        ("LTMC.CTX.CHECKPOINTS @", SYNTAX),
        ("LTMC.CTX.RESTORE @ 1", SYNTAX),
        ("LTMC.CTX.ROLLBACK @ 1", SYNTAX),
        ("LTMC.CTX.FORK @ dest", SYNTAX),
        ("LTMC.CTX.PRUNE @ KEEPLAST 1", SYNTAX),
    ],
    options: &[
        ("LTMC.CTX.CREATE new", "OWNER a|DOC 1|META 1|PX 9|EX 9"),
        ("LTMC.CTX.JOIN c a", "ROLE x"),
        ("LTMC.CTX.GET c", "PATH 1 /a|AT 1"),
        ("LTMC.CTX.DIFF c 1", "PATH /a"),
        ("LTMC.CTX.GENERATE dest 1 c", "BUDGET 9|FOR a|TAGS 1 x"),
        ("LTMC.CTX.BUILD c FOR a", "BUDGET 9|PATH 1 /a"),
        ("LTMC.CTX.ROUTE c r", "PATH /a|CAPS 1 c|TAGS 1 t|MINFREE 1|EXCLUDE 1 a|STATUS 1 idle"),
        ("LTMC.CTX.CHECKPOINT c", "NAME x"),
        ("LTMC.CTX.RESTORE c 1", "IFVERSION 1"),
        ("LTMC.CTX.ROLLBACK c 1", "IFVERSION 1"),
        ("LTMC.CTX.FORK c dest", "AT 1"),
        ("LTMC.CTX.PRUNE c KEEPLAST 1", "MAXAGE 1"),
        ("LTMC.CTX.TOUCH c", "PX 9|EX 9"),
        ("LTMC.CTX.UPDATE c a REPLACE 1", "IFVERSION 1"),
    ],
    numbers: &[
        ("LTMC.CTX.CREATE new PX #", "", 1, 3153600000000),
        ("LTMC.CTX.CREATE new EX #", "", 1, 3153600000),
        ("LTMC.CTX.UPDATE c a REPLACE 1 IFVERSION #", "", 0, 9223372036854775807),
        ("LTMC.CTX.GET c AT #", "", 0, 9223372036854775807),
        ("LTMC.CTX.GET c PATH # /a", "", 1, 1024),
        ("LTMC.CTX.DIFF c #", "", 0, 9223372036854775807),
        ("LTMC.CTX.GENERATE dest 1 c BUDGET #", "", 1, 4294967295),
        ("LTMC.CTX.GENERATE dest 1 c TAGS # x", "", 1, 64),
        ("LTMC.CTX.BUILD c FOR a BUDGET #", "", 1, 4294967295),
        ("LTMC.CTX.BUILD c FOR a PATH # /a", "", 1, 1024),
        ("LTMC.CTX.ROLLBACK c 1 IFVERSION #", "", 0, 9223372036854775807),
        ("LTMC.CTX.PRUNE c KEEPLAST #", "", 0, 4294967295),
        ("LTMC.CTX.TOUCH c PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.CTX.TOUCH c EX #", "EX", 1, 3_153_600_000),
        ("LTMC.CTX.PRUNE c KEEPLAST 1 MAXAGE #", "", 0, 3153600000000),
    ],
    texts: &[
        ("LTMC.CTX.CREATE new OWNER #", "", 1, 256),
        ("LTMC.CTX.JOIN c #", "", 1, 256),
        ("LTMC.CTX.LEAVE c #", "", 1, 256),
        ("LTMC.CTX.UPDATE c # SET /a 1", "", 1, 256),
        ("LTMC.CTX.BUILD c FOR #", "", 1, 256),
        ("LTMC.CTX.GENERATE dest 1 c FOR #", "", 1, 256),
        ("LTMC.CTX.JOIN c a ROLE #", "ROLE", 0, 256),
        ("LTMC.CTX.CHECKPOINT c NAME #", "NAME", 0, 256),
    ],
};

all_refusals!(OF);

#[test]
fn sources_and_destinations_of_other_types_are_refused() {
    let server = with_data();
    for other in ["text", "lock", "r"] {
        refused_line_as(&server, &format!("LTMC.CTX.GENERATE dest 1 {other}"), "WRONGTYPE", "");
    }
    for other in ["text", "lock", "s", "r"] {
        refused_line_as(&server, &format!("LTMC.CTX.GENERATE {other} 1 c"), "WRONGTYPE", "");
        refused_line_as(&server, &format!("LTMC.CTX.FORK c {other}"), "WRONGTYPE", "");
    }
    for other in ["text", "lock", "s", "c"] {
        refused_line_as(&server, &format!("LTMC.CTX.ROUTE c {other}"), "WRONGTYPE", "");
    }
}

#[test]
fn options_that_are_unknown_or_exclude_each_other_are_refused() {
    let server = with_data();
    for op in ["MERGE", "PATCH", "SET", "SET /a", "DEL", "APPEND", "APPEND /a", "INCRBY", "INCRBY /a", "REPLACE"] {
        refused_line(&server, &format!("LTMC.CTX.UPDATE c a DEL /n {op}"), "is missing; syntax: LTMC.CTX.UPDATE");
    }
    for (line, part) in [
        ("LTMC.CTX.CREATE new PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.CTX.CREATE new SLIDING", "SLIDING goes with PX or EX only"),
        ("LTMC.CTX.CREATE new MAXLIFE 5", "'MAXLIFE' is not understood here"),
        ("LTMC.CTX.UPDATE c a IFVERSION 1", "an operation is missing, allowed are MERGE, PATCH, SET"),
        ("LTMC.CTX.UPDATE c a JUMP 1", "'JUMP' is not understood here"),
        ("LTMC.CTX.BUILD c WITH a", "'WITH' is not understood here"),
        ("LTMC.CTX.BUILD c BUDGET 9", "FOR is missing; syntax"),
        ("LTMC.CTX.BUILD c FOR a FOR a", "option FOR is given twice"),
        ("LTMC.CTX.PRUNE c MAXAGE 5", "KEEPLAST is missing; syntax"),
        ("LTMC.CTX.CHECKPOINT c PIN PIN", "option PIN is given twice"),
        ("LTMC.CTX.FORK c c", "src and dst are the same key"),
        ("LTMC.CTX.RESTORE c bad", "there is no checkpoint 'bad'"),
        ("LTMC.CTX.ROLLBACK c 0", "there is no checkpoint '0'"),
        ("LTMC.CTX.FORK c dest AT -1", "there is no checkpoint '-1'"),
        ("LTMC.CTX.GENERATE dest 2 c", "announces 2 values, but only 1 follow"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn the_number_of_sources_is_checked() {
    let server = with_data();
    for number in ["-1", "+1", "01", "1.5", "1e3", "abc", "", "1\0", "18446744073709551616", "129", "0"] {
        refused(&server, &["LTMC.CTX.GENERATE", "dest", number, "c"], "");
    }
}

#[test]
fn ids_names_and_metadata_have_their_limits() {
    let server = with_data();
    let longest = "x".repeat(256);
    let meta = format!("\"{}\"", "m".repeat(16 * 1024));
    refused(&server, &["LTMC.CTX.CREATE", "new", "META", &meta], "at most 16384 are allowed");
    refused(&server, &["LTMC.CTX.CREATE", "new", "META", "{bad"], "META is not valid JSON");
    server.cmd(&["LTMC.CTX.JOIN", "c", &longest, "ROLE", &longest]).int();
    server.cmd(&["LTMC.CTX.CHECKPOINT", "c", "NAME", &longest]).int();
    assert_eq!(server.cmd(&["LTMC.CTX.ROLLBACK", "c", &longest]).int(), 1, "it is there already");
}

#[test]
fn paths_that_are_no_pointers_are_refused_wherever_they_stand() {
    let server = with_data();
    let (deep, long) = ("/a".repeat(129), format!("/{}", "x".repeat(1024)));
    for path in [
        b"a".as_slice(),
        b"a/b",
        b"/~",
        b"/~2",
        b"/a~",
        b"/\xff",
        b"/\xed\xa0\x80",
        b" /a",
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        for line in [
            "LTMC.CTX.UPDATE c a DEL /n SET # 1",
            "LTMC.CTX.UPDATE c a DEL #",
            "LTMC.CTX.UPDATE c a APPEND # 1",
            "LTMC.CTX.UPDATE c a INCRBY # 1",
            "LTMC.CTX.GET c PATH 2 /n #",
            "LTMC.CTX.DIFF c 1 PATH #",
            "LTMC.CTX.BUILD c FOR a PATH 1 #",
            "LTMC.CTX.ROUTE c r PATH #",
        ] {
            let words: Vec<&[u8]> =
                line.split(' ').map(|word| if word == "#" { path } else { word.as_bytes() }).collect();
            refused(&server, &words, "allowed are JSON Pointers (RFC 6901)");
        }
        let Ok(text) = std::str::from_utf8(path) else { continue };
        for patch in [json!([{"op": "remove", "path": text}]), json!([{"op": "copy", "from": text, "path": "/x"}])] {
            refused(&server, &["LTMC.CTX.UPDATE", "c", "a", "PATCH", &patch.to_string()], "JSON Pointers");
        }
    }
}

#[test]
fn hostile_json_is_refused_with_what_is_wrong() {
    let server = with_data();
    let (brackets, braces) = ("[".repeat(1_000_000), "{\"a\":".repeat(200_000));
    let closed = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for deep in [brackets.as_str(), &braces, &closed] {
        for op in [
            vec!["MERGE"],
            vec!["PATCH"],
            vec!["SET", "/a"],
            vec!["APPEND", "/list"],
            vec!["INCRBY", "/n"],
            vec!["REPLACE"],
        ] {
            let args = [vec!["LTMC.CTX.UPDATE", "c", "a"], op, vec![deep]].concat();
            refused_as(&server, &args, "LIMIT", "ltmc.json-depth-max");
        }
        refused_as(&server, &["LTMC.CTX.CREATE", "new", "DOC", deep], "LIMIT", "ltmc.json-depth-max");
    }
    for bad in [
        b"".as_slice(),
        b" ",
        b"{",
        b"[1,]",
        b"{\"a\" 1}",
        b"nul",
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"01",
        b"+1",
        b"0x1",
        b"1 2",
        b"'a'",
        b"\"\xff\"",
        b"\"\xc0\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\u0041\"",
        b"\"\\x\"",
        b"\"a\nb\"",
        b"\"\0\"",
        b"{\"a\":1}\0",
        b"\xef\xbb\xbf{}",
        b"{1:2}",
        b"]",
        b"{}}",
        b"//x\n1",
    ] {
        for op in ["MERGE", "PATCH", "REPLACE"] {
            refused(
                &server,
                &[b"LTMC.CTX.UPDATE".as_slice(), b"c", b"a", b"SET", b"/n", b"2", op.as_bytes(), bad],
                "is not valid JSON",
            );
        }
        for op in ["SET", "APPEND", "INCRBY"] {
            refused(
                &server,
                &[b"LTMC.CTX.UPDATE".as_slice(), b"c", b"a", op.as_bytes(), b"/list", bad],
                "is not valid JSON",
            );
        }
        refused(&server, &[b"LTMC.CTX.CREATE".as_slice(), b"new", b"DOC", bad], "DOC is not valid JSON");
    }
}

#[test]
fn patches_and_numbers_that_make_no_sense_are_refused() {
    let server = with_data();
    for (patch, part) in [
        ("{}", "is no array"),
        ("[5]", "operation 0 of PATCH is no object"),
        ("[{}]", "no text under 'path'"),
        ("[{\"op\":\"add\",\"path\":5,\"value\":1}]", "no text under 'path'"),
        ("[{\"op\":\"add\",\"path\":\"/x\"}]", "no 'value'"),
        ("[{\"op\":\"jump\",\"path\":\"/x\",\"value\":1}]", "allowed are add, remove"),
        ("[{\"op\":\"move\",\"path\":\"/x\"}]", "no text under 'from'"),
    ] {
        refused(&server, &["LTMC.CTX.UPDATE", "c", "a", "PATCH", patch], part);
    }
    server.run("CONFIG SET ltmc.context-values-max 100000").ok();
    let many = format!("[{}]", vec!["{\"op\":\"remove\",\"path\":\"/n\"}"; 10_001].join(","));
    refused(&server, &["LTMC.CTX.UPDATE", "c", "a", "PATCH", &many], "at most 10000 are allowed");
    for number in ["\"1\"", "[]", "null", "true"] {
        refused(&server, &["LTMC.CTX.UPDATE", "c", "a", "INCRBY", "/n", number], "allowed are numbers");
    }
    for args in [["/n", "18446744073709551615"], ["/t", "1"], ["/list", "1"], ["/list/x", "1"]] {
        refused(&server, &[&["LTMC.CTX.UPDATE", "c", "a", "INCRBY"][..], &args].concat(), args[0]);
    }
    refused_line(&server, "LTMC.CTX.UPDATE c a SET /big 1e308 INCRBY /big 1e308", "range");
}

#[test]
fn json_that_is_odd_but_valid_is_taken() {
    let server = with_data();
    for (text, value) in [
        ("{\"a\":1,\"b\":2,\"a\":3}", json!({"a": 3, "b": 2})),
        (" \t\r\n[ ] ", json!([])),
        ("\"\\ud83d\\ude00\\u0000\"", json!("\u{1f600}\0")),
        ("-0", json!(-0.0)),
        ("18446744073709551615", json!(u64::MAX)),
        ("1e-400", json!(0.0)),
        ("{\"\":{\"\":null}}", json!({"": {"": null}})),
    ] {
        assert!(update(&server, "c", &format!("REPLACE|{text}")).int() > 1, "{text}");
        assert_eq!(doc(&server, "c"), value, "{text}");
        server.debug_reload();
        assert_eq!(doc(&server, "c"), value, "{text}, after a reload");
    }
}

#[test]
fn limits_of_size_and_depth_are_named() {
    let server = with_data();
    server.run("CONFIG SET ltmc.context-bytes-max 16777216").ok();
    let large = format!("\"{}\"", "x".repeat(10_000_000));
    assert_eq!(server.cmd(&["LTMC.CTX.UPDATE", "c", "a", "SET", "/large", &large]).int(), 2);
    for args in [vec!["SET", "/more", &large], vec!["MERGE", "{\"t\":null}", "APPEND", "/list", &large]] {
        refused_as(&server, &[vec!["LTMC.CTX.UPDATE", "c", "a"], args].concat(), "LIMIT", "ltmc.context-bytes-max");
    }
    refused_as(
        &server,
        &["LTMC.CTX.UPDATE", "c", "a", "PATCH", "[{\"op\":\"copy\",\"from\":\"/large\",\"path\":\"/x\"}]"],
        "LIMIT",
        "ltmc.context-bytes-max",
    );
    assert_eq!(update(&server, "c", "DEL|/large").int(), 3);
    server.run("CONFIG SET ltmc.json-depth-max 4").ok();
    refused_line_as(&server, "LTMC.CTX.UPDATE c a SET /o/b/c/d {}", "LIMIT", "ltmc.json-depth-max");
    refused_line_as(&server, "LTMC.CTX.UPDATE c a APPEND /o/b/c/d 1", "LIMIT", "ltmc.json-depth-max");
    refused_line_as(
        &server,
        "LTMC.CTX.UPDATE c a MERGE {\"o\":{\"b\":{\"c\":{\"d\":{}}}}}",
        "LIMIT",
        "ltmc.json-depth-max",
    );
    assert_eq!(update(&server, "c", "SET|/o/b/c|{}").int(), 4);
    server.run("CONFIG SET ltmc.context-bytes-max 1024").ok();
    let text = format!("\"{}\"", "x".repeat(1020));
    refused_as(&server, &["LTMC.CTX.CREATE", "new", "DOC", &format!("[{text}]")], "LIMIT", "");
}

#[test]
fn a_document_that_is_too_large_is_refused_by_the_name_of_the_limit() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.context-bytes-max 1024").ok();
    let text = format!("\"{}\"", "x".repeat(2000));
    // LIMIT with the name of the setting, not the ERR of a long argument.
    refused_as(&server, &["LTMC.CTX.CREATE", "new", "DOC", &text], "LIMIT", "ltmc.context-bytes-max");
}

#[test]
fn what_was_accepted_can_be_loaded_again() {
    let server = Server::start();
    let (long, deep) = ("n".repeat(2000), format!("{}1{}", "{\"a\":".repeat(80), "}".repeat(80)));
    server.run("CONFIG SET ltmc.json-depth-max 100").ok();
    for (first, patch) in [("{}".to_string(), json!({ long: 1 }).to_string()), (deep.clone(), deep.replace('1', "2"))] {
        create(&server, "c", &serde_json::from_str(&first).expect("JSON"));
        // A merge must not make pointers of more than 1024 bytes or 64 parts: replicas and loads
        // refuse those, so the RDB could not be loaded.
        let reply = server.cmd(&["LTMC.CTX.UPDATE", "c", "a", "MERGE", &patch]);
        assert!(
            reply == Reply::Int(2)
                || matches!(reply.error_code(), "ERR" | "LIMIT") && !reply.error().contains("internal"),
            "{reply:?}"
        );
        let digest = server.debug_digest();
        assert_eq!(server.run("DEBUG RELOAD"), Reply::Simple("OK".into()));
        assert_eq!(server.debug_digest(), digest);
        server.run("DEL c").int();
    }
}
