//! What is refused, and that nothing changes then.

use super::agents::{register, shown};
use crate::bad_input::{
    all_refusals, random_words, refused, refused_in_one_line, refused_line, Refusals, FIXED, SYNTAX,
};
use crate::harness::*;

/// A server with a registry, a lock and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    register(&server, "a", "CAPS 1 go TAGS 1 eu META {\"x\":1} CAPACITY 3");
    server.run("LTMC.AGENT.CLAIM r PX 600000").array();
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.REGISTER", "LTMC.DEREGISTER", "LTMC.HEARTBEAT", "LTMC.AGENT"],
    key: "r",
    others: &["text", "lock"],
    least: &[
        ("LTMC.REGISTER @ b", SYNTAX),
        ("LTMC.DEREGISTER @ a", SYNTAX),
        ("LTMC.HEARTBEAT @ a", SYNTAX),
        ("LTMC.AGENT.GET @ a", FIXED),
        ("LTMC.AGENT.LIST @", SYNTAX),
        ("LTMC.AGENT.FIND @", SYNTAX),
        ("LTMC.AGENT.CLAIM @ PX 600000", SYNTAX),
        ("LTMC.AGENT.RELEASE @ 2", SYNTAX),
        ("LTMC.AGENT.STATS @", FIXED),
    ],
    options: &[
        ("LTMC.REGISTER r b", "NX|NAME x|CAPS 1 c|TAGS 1 t|META 1|CAPACITY 1|SESSION s|STATUS ACTIVE|PX 9|EX 9"),
        ("LTMC.DEREGISTER r a", "EPOCH 2"),
        ("LTMC.HEARTBEAT r a", "EPOCH 2|STATUS BUSY|LOAD 1|HEALTH OK|REASON x"),
        ("LTMC.AGENT.LIST r", "STATUS active|LIMIT 0 1"),
        ("LTMC.AGENT.FIND r", "CAPS 1 c|ANYCAP 1 c|TAGS 1 t|STATUS 1 active|META /x 1|MINFREE 1|EXCLUDE 1 a|SORT LOAD|LIMIT 1|WITHINFO"),
        ("LTMC.AGENT.CLAIM r REF x", "PX 9|EX 9"),
        ("LTMC.AGENT.CLAIM r PX 1", "CAPS 1 c|ANYCAP 1 c|TAGS 1 t|STATUS 1 active|META /x 1|MINFREE 1|EXCLUDE 1 a|SORT LOAD|REF x|BLOCK 1|REQID i"),
        ("LTMC.AGENT.RELEASE r 2", "OUTCOME OK|LATENCY 5"),
    ],
    numbers: &[
        ("LTMC.REGISTER r b CAPACITY #", "CAPACITY", 0, 100000),
        ("LTMC.REGISTER r b PX #", "PX", 1, 3153600000000),
        ("LTMC.REGISTER r b EX #", "EX", 1, 3153600000),
        ("LTMC.REGISTER r b CAPS # x", "the number of values of CAPS", 0, 64),
        ("LTMC.REGISTER r b TAGS # x", "the number of values of TAGS", 0, 64),
        ("LTMC.DEREGISTER r a EPOCH #", "EPOCH", 0, 9007199254740991),
        ("LTMC.HEARTBEAT r a EPOCH #", "EPOCH", 0, 9007199254740991),
        ("LTMC.AGENT.LIST r LIMIT # 1", "the offset after LIMIT", 0, 10000000),
        ("LTMC.AGENT.LIST r LIMIT 1 #", "the count after LIMIT offset", 0, 10000000),
        ("LTMC.AGENT.FIND r LIMIT #", "LIMIT", 1, 10000000),
        ("LTMC.AGENT.FIND r MINFREE #", "MINFREE", 0, 100000),
        ("LTMC.AGENT.FIND r CAPS # x", "the number of values of CAPS", 1, 64),
        ("LTMC.AGENT.FIND r ANYCAP # x", "the number of values of ANYCAP", 1, 64),
        ("LTMC.AGENT.FIND r TAGS # x", "the number of values of TAGS", 1, 64),
        ("LTMC.AGENT.FIND r STATUS # idle", "the number of values of STATUS", 1, 8),
        ("LTMC.AGENT.FIND r EXCLUDE # x", "the number of values of EXCLUDE", 1, 1024),
        ("LTMC.AGENT.CLAIM r PX #", "PX", 1, 3153600000000),
        ("LTMC.AGENT.CLAIM r EX #", "EX", 1, 3153600000),
        ("LTMC.AGENT.CLAIM r PX 5 BLOCK #", "BLOCK", 0, 3153600000000),
        ("LTMC.AGENT.CLAIM r PX 5 MINFREE #", "MINFREE", 0, 100000),
        ("LTMC.AGENT.RELEASE r #", "fence", 0, 9007199254740991),
        ("LTMC.AGENT.RELEASE r 2 LATENCY #", "LATENCY", 0, 3153600000000),
    ],
    texts: &[
        ("LTMC.REGISTER r #", "agent", 1, 256),
        ("LTMC.DEREGISTER r #", "agent", 1, 256),
        ("LTMC.HEARTBEAT r #", "agent", 1, 256),
        ("LTMC.AGENT.GET r #", "agent", 1, 256),
        ("LTMC.AGENT.CLAIM r PX 5 REQID #", "REQID", 1, 256),
        ("LTMC.REGISTER r b NAME #", "NAME", 0, 1024),
        ("LTMC.HEARTBEAT r a HEALTH OK REASON #", "REASON", 0, 1024),
        ("LTMC.AGENT.CLAIM r PX 5 REF #", "REF", 0, 1024),
        ("LTMC.REGISTER r b SESSION #", "SESSION", 0, 256),
    ],
};

all_refusals!(OF);

#[test]
fn options_that_are_unknown_or_exclude_each_other_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("LTMC.REGISTER r b PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.AGENT.CLAIM r EX 5 PX 5", "PX and EX exclude each other"),
        ("LTMC.AGENT.CLAIM r REF x", "PX ms (or EX s) is missing: a claim always has a lease"),
        ("LTMC.AGENT.CLAIM r CAPS 1 go", "a claim always has a lease"),
        ("LTMC.AGENT.CLAIM r PX 5 LIMIT 1", "'LIMIT' is not understood here"),
        ("LTMC.AGENT.CLAIM r PX 5 WITHINFO", "'WITHINFO' is not understood here"),
        ("LTMC.AGENT.FIND r PX 5", "'PX' is not understood here"),
        ("LTMC.REGISTER r b LOAD 1", "'LOAD' is not understood here"),
        ("LTMC.HEARTBEAT r a REASON x", "REASON goes with HEALTH only"),
        ("LTMC.HEARTBEAT r a PX 5", "'PX' is not understood here"),
        ("LTMC.REGISTER r b STATUS idle", "STATUS is 'idle', allowed are STARTING, ACTIVE"),
        (
            "LTMC.HEARTBEAT r a STATUS gone",
            "STATUS is 'gone', allowed are STARTING, ACTIVE, IDLE, BUSY, DRAINING, SUSPECT, DEAD, ERROR",
        ),
        ("LTMC.HEARTBEAT r a STATUS suspect", "silence makes an agent that"),
        ("LTMC.HEARTBEAT r a HEALTH GOOD", "HEALTH is 'GOOD', allowed are OK, DEGRADED, FAILED"),
        ("LTMC.AGENT.LIST r STATUS all", "STATUS is 'all', allowed are STARTING"),
        ("LTMC.AGENT.FIND r STATUS 1 all", "status is 'all', allowed are STARTING"),
        ("LTMC.AGENT.FIND r SORT LEARNED", "SORT is 'LEARNED', allowed are LOAD, LATENCY, RANDOM"),
        ("LTMC.AGENT.CLAIM r PX 5 SORT none", "SORT is 'none', allowed are LOAD, LATENCY, RANDOM"),
        ("LTMC.AGENT.CLAIM r PX 5 STATUS 2 active dead", "STATUS of a claim cannot be suspect or dead"),
        ("LTMC.AGENT.CLAIM r PX 5 STATUS 1 SUSPECT", "STATUS of a claim cannot be suspect or dead"),
        ("LTMC.AGENT.RELEASE r 2 OUTCOME MAYBE", "OUTCOME is 'MAYBE', allowed are OK, FAIL"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn a_load_is_a_number_from_0_to_1() {
    let server = with_data();
    for load in ["-0.1", "1.001", "NaN", "inf", "-inf", "half", "", "1,0", "0.5x", "1e400"] {
        let part = format!("LOAD is '{load}', allowed are numbers from 0 to 1");
        refused(&server, &["LTMC.HEARTBEAT", "r", "a", "LOAD", load], &part);
    }
}

#[test]
fn counts_that_lie_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("LTMC.REGISTER r b CAPS 3 x y", "CAPS announces 3 values, but only 2 follow"),
        ("LTMC.REGISTER r b TAGS 64", "TAGS announces 64 values, but only 0 follow"),
        ("LTMC.REGISTER r b CAPS 1 x y", "'y' is not understood here"),
        ("LTMC.REGISTER r b TAGS 2 x CAPS 1 y", "'1' is not understood here"),
        ("LTMC.AGENT.FIND r ANYCAP 2 x", "ANYCAP announces 2 values, but only 1 follow"),
        ("LTMC.AGENT.FIND r EXCLUDE 1024 x", "EXCLUDE announces 1024 values, but only 1 follow"),
        ("LTMC.AGENT.FIND r STATUS 2 idle", "status is missing"),
        ("LTMC.AGENT.FIND r STATUS 1 idle busy", "'busy' is not understood here"),
        ("LTMC.AGENT.CLAIM r PX 5 CAPS 2 x", "CAPS announces 2 values, but only 1 follow"),
        ("LTMC.AGENT.FIND r META /x", "the value after META path is missing"),
        ("LTMC.AGENT.LIST r LIMIT 5", "the count after LIMIT offset is missing"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn ids_labels_and_texts_have_their_lengths() {
    let server = with_data();
    let name = "n".repeat(129);
    let claims = ["LTMC.AGENT.CLAIM", "r", "PX", "5"];
    for command in [&["LTMC.REGISTER", "r", "b"][..], &["LTMC.AGENT.FIND", "r"], &claims] {
        for wrong in ["", name.as_str()] {
            let part = format!("a value of TAGS is {} bytes long, allowed are 1 to 128", wrong.len());
            refused(&server, &[command, &["TAGS", "2", "good", wrong]].concat(), &part);
        }
        let digits = format!("x@{}", "9".repeat(5000));
        let many = format!("x@{}", "1.".repeat(5000));
        for wrong in [
            "",
            "@",
            "@1",
            "x@",
            "x@1.",
            "x@.1",
            "x@1..2",
            "x@01",
            "x@v1",
            "x@1.2.3.4.5",
            "x@4294967296",
            "x@-1",
            "x@1@2",
            "x@>=",
            "x@>1",
            "x@>= 1",
            &name,
            &digits,
            &many,
        ] {
            refused(&server, &[command, &["CAPS", "2", "good", wrong]].concat(), "capability is '");
        }
    }
    refused_line(
        &server,
        "LTMC.REGISTER r b CAPS 1 x@>=1",
        "'x@>=1', allowed are name and name@version; >= is for filters",
    );
    refused_line(&server, "LTMC.AGENT.FIND r ANYCAP 1 x@>=x", "capability is 'x@>=x', allowed are name, name@version");
    for path in ["x", "x/y", " /x", "\0"] {
        let part = "allowed are JSON Pointers: /a/b/0";
        refused(&server, &["LTMC.AGENT.FIND", "r", "META", path, "1"], part);
        refused(&server, &["LTMC.AGENT.CLAIM", "r", "PX", "5", "META", path, "1"], part);
    }
}

#[test]
fn hostile_metadata_is_refused() {
    let server = with_data();
    let deep = |open: &str, close: &str, depth: usize| [open.repeat(depth), "1".into(), close.repeat(depth)].concat();
    let wide = format!("[{}]", vec!["1"; 129].join(","));
    let members: Vec<String> = (0..129).map(|n| format!("\"{n}\":{n}")).collect();
    let long = format!("\"{}\"", "x".repeat(16 * 1024 - 1));
    for (meta, part) in [
        ("{", "META is not valid JSON"),
        ("{}x", "META is not valid JSON"),
        ("'x'", "META is not valid JSON"),
        ("NaN", "META is not valid JSON"),
        ("1e999", "META is not valid JSON"),
        ("\"\\ud800\"", "META is not valid JSON"),
        ("[1,]", "META is not valid JSON"),
        (" ", "META is not valid JSON"),
        ("\0", "META is not valid JSON"),
        ("nul", "META is not valid JSON"),
        (&deep("[", "]", 128), "recursion limit"),
        (&deep("{\"a\":", "}", 2000), "recursion limit"),
        (&"[".repeat(16 * 1024), "recursion limit"),
        (&wide, "META has 129 single values, at most 128 are allowed"),
        (&format!("{{{}}}", members.join(",")), "META has 129 single values, at most 128 are allowed"),
        (&long, "META is 16385 bytes long, at most 16384 are allowed"),
        (&"9".repeat(1_000_000), "META is 1000000 bytes long, at most 16384 are allowed"),
    ] {
        refused(&server, &["LTMC.REGISTER", "r", "b", "META", meta], part);
        refused(&server, &["LTMC.REGISTER", "r", "a", "META", meta], part);
    }
    refused(&server, &[b"LTMC.REGISTER".as_slice(), b"r", b"b", b"META", b"\"\xff\""], "META is not valid JSON");
    // A value to search for need not be JSON: then it is text. No agent has it.
    for value in [deep("[", "]", 5000), "\"".into(), "x".repeat(100_000), "1e999".into()] {
        assert!(server.cmd(&["LTMC.AGENT.FIND", "r", "META", "/x", &value]).array().is_empty());
    }
    assert!(server.cmd(&[b"LTMC.AGENT.FIND".as_slice(), b"r", b"META", b"/\xff", b"\xff"]).array().is_empty());
    let deepest = deep("[", "]", 127);
    server.cmd(&["LTMC.REGISTER", "r", "deep", "META", &deepest]).int();
    assert_eq!(server.cmd(&["LTMC.AGENT.FIND", "r", "META", &"/0".repeat(127), "1"]).texts(), ["deep"]);
}

#[test]
fn an_error_is_one_line_whatever_was_given() {
    let lines = [
        "LTMC.REGISTER r b #",
        "LTMC.REGISTER r b STATUS #",
        "LTMC.REGISTER r b META #",
        "LTMC.REGISTER r b CAPS 1 x@#",
        "LTMC.REGISTER r b CAPS # x",
        "LTMC.REGISTER lock #",
        "LTMC.DEREGISTER r a EPOCH #",
        "LTMC.HEARTBEAT r #",
        "LTMC.HEARTBEAT r a LOAD #",
        "LTMC.HEARTBEAT r a HEALTH #",
        "LTMC.AGENT.FIND r META # #",
        "LTMC.AGENT.FIND r SORT #",
        "LTMC.AGENT.FIND r STATUS 1 #",
        "LTMC.AGENT.LIST r LIMIT # #",
        "LTMC.AGENT.CLAIM r #  #",
        "LTMC.AGENT.RELEASE r #",
        "LTMC.AGENT.RELEASE r 2 #",
        "LTMC.AGENT.STATS r #",
    ];
    refused_in_one_line(&with_data(), &lines.map(String::from));
}

#[test]
fn random_words_break_nothing() {
    let server = with_data();
    const WORDS: &str = "a b c d NX NAME CAPS TAGS META CAPACITY SESSION STATUS PX EX EPOCH LOAD HEALTH REASON ANYCAP \
        MINFREE EXCLUDE SORT LIMIT WITHINFO REF REQID OUTCOME LATENCY 0 1 1 2 3 9 64 65 600000 -1 0.5 x@1 x@>=1 go eu \
        /x /x/0 {} {\"x\":[1]} null [ STARTING active idle BUSY draining error OK DEGRADED FAILED 9007199254740991";
    random_words(&server, &OF.lines(), WORDS, 6, &["ERR", "NOAGENT", "STALE", "BADSTATE"], |_| {});
    register(&server, "a", "");
    assert_eq!(server.run("LTMC.REPAIR r").get("was_broken").int(), 0);
    assert_eq!(shown(&server, "a").get("id").text(), "a");
}
