//! What is refused, and that nothing changes then.

use super::*;
use crate::bad_input::{all_refusals, refused, refused_as, refused_line, Refusals, SYNTAX};

/// A server with a cache, a lock, a session and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    server.run("LTMC.SESSION.CREATE session").int();
    put(&server, "c t 1 v DEPS 1 d TAGS 1 g AGENT a");
    ticket(&server, "c t 2");
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.CACHE"],
    key: "c",
    others: &["text", "lock", "session"],
    least: &[
        ("LTMC.CACHE.GET @ t 1", SYNTAX),
        ("LTMC.CACHE.PEEK @ t 1", SYNTAX),
        ("LTMC.CACHE.PUT @ t 1 v", SYNTAX),
        ("LTMC.CACHE.FAIL @ t 1 5", SYNTAX),
        ("LTMC.CACHE.INVALIDATE @ ALL", SYNTAX),
        ("LTMC.CACHE.CONFIG @", SYNTAX),
        ("LTMC.CACHE.STATS @", SYNTAX),
        ("LTMC.CACHE.TOP @", SYNTAX),
        ("LTMC.CACHE.SCAN @ 0", SYNTAX),
    ],
    options: &[
        ("LTMC.CACHE.GET c t 9", "AGENT a|MAXAGE 5|LEASE 5|BLOCK 5|BETA 1|RAW"),
        ("LTMC.CACHE.PEEK c t 9", "AGENT a|MAXAGE 5|RAW"),
        ("LTMC.CACHE.PUT c t 9 v", "TICKET 5|PX 5|EX 5|STALE 5|DEPS 2 a b|TAGS 1 a|COST 5|AGENT a|NEGATIVE|RAW"),
        ("LTMC.CACHE.PUT c t 9 v AGENT a", "PRIVATE"),
        ("LTMC.CACHE.FAIL c t 9 5", "RAW"),
        ("LTMC.CACHE.INVALIDATE c ALL", "SOFT"),
        ("LTMC.CACHE.CONFIG c", "MAXBYTES 5000|MAXENTRIES 5|PX 5|EX 5|POLICY LRU"),
        ("LTMC.CACHE.STATS c", "TOOL t"),
        ("LTMC.CACHE.TOP c", "LIMIT 5"),
        ("LTMC.CACHE.SCAN c 0", "COUNT 5|TOOL t"),
    ],
    numbers: &[
        ("LTMC.CACHE.GET c t 9 MAXAGE #", "MAXAGE", 0, 3_153_600_000_000),
        ("LTMC.CACHE.GET c t 9 LEASE #", "LEASE", 1, 3_153_600_000_000),
        ("LTMC.CACHE.GET c t 9 BLOCK #", "BLOCK", 0, 3_153_600_000_000),
        ("LTMC.CACHE.PUT c t 9 v TICKET #", "TICKET", 1, (1 << 53) - 1),
        ("LTMC.CACHE.PUT c t 9 v PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.CACHE.PUT c t 9 v EX #", "EX", 1, 3_153_600_000),
        ("LTMC.CACHE.PUT c t 9 v STALE #", "STALE", 0, 3_153_600_000_000),
        ("LTMC.CACHE.PUT c t 9 v COST #", "COST", 0, 3_153_600_000_000),
        ("LTMC.CACHE.PUT c t 9 v DEPS # d", "the number of values of DEPS", 0, 128),
        ("LTMC.CACHE.PUT c t 9 v TAGS # d", "the number of values of TAGS", 0, 128),
        ("LTMC.CACHE.FAIL c t 9 #", "ticket", 1, (1 << 53) - 1),
        ("LTMC.CACHE.INVALIDATE c DEP # d", "the number of values of DEP", 1, 128),
        ("LTMC.CACHE.INVALIDATE c TAG # d", "the number of values of TAG", 1, 128),
        ("LTMC.CACHE.CONFIG c MAXBYTES #", "MAXBYTES", 1, 1 << 40),
        ("LTMC.CACHE.CONFIG c MAXENTRIES #", "MAXENTRIES", 1, 100_000_000),
        ("LTMC.CACHE.CONFIG c PX #", "PX", 0, 3_153_600_000_000),
        ("LTMC.CACHE.CONFIG c EX #", "EX", 1, 3_153_600_000),
        ("LTMC.CACHE.TOP c LIMIT #", "LIMIT", 0, 1000),
        ("LTMC.CACHE.SCAN c 0 COUNT #", "COUNT", 1, 10_000_000),
    ],
    texts: &[
        ("LTMC.CACHE.GET c # 1", "tool", 1, 256),
        ("LTMC.CACHE.PUT c # 1 v", "tool", 1, 256),
        ("LTMC.CACHE.FAIL c # 1 5", "tool", 1, 256),
        ("LTMC.CACHE.GET c t 1 AGENT #", "AGENT", 1, 256),
        ("LTMC.CACHE.PUT c t 1 v AGENT #", "AGENT", 1, 256),
        ("LTMC.CACHE.INVALIDATE c AGENT #", "AGENT", 1, 256),
    ],
};

all_refusals!(OF);

#[test]
fn a_cache_is_the_wrong_type_for_all_others() {
    let server = with_data();
    for line in ["LTMC.SESSION.INFO c", "LTMC.LOCK c a", "LTMC.AGENT.LIST c", "GET c", "LTMC.CTX.GET c"] {
        assert_eq!(server.run(line).error_code(), "WRONGTYPE", "{line}");
    }
}

#[test]
fn options_that_exclude_each_other_or_do_not_belong_there_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("PUT c t 9 v PX 5 EX 5", "PX and EX exclude each other"),
        ("CONFIG c EX 5 PX 5", "PX and EX exclude each other"),
        ("PUT c t 9 v PRIVATE", "PRIVATE goes with AGENT only"),
        ("GET c t 9 SOFT", "'SOFT' is not understood here"),
        ("GET c t 9 TICKET 5", "'TICKET' is not understood here"),
        ("PUT c t 9 v BLOCK 5", "'BLOCK' is not understood here"),
        ("INVALIDATE c SOFT", "what is 'SOFT', allowed are ALL, DEP, TAG, TOOL, AGENT"),
        ("INVALIDATE c ALL DEP 1 d", "ALL and DEP exclude each other"),
        ("INVALIDATE c DEP 1", "DEP announces 1 values, but only 0 follow"),
        ("INVALIDATE c DEP 1 a b", "'b' is not understood here"),
        ("INVALIDATE c TOOL", "syntax: LTMC.CACHE.INVALIDATE"),
        ("INVALIDATE c AGENT", "syntax: LTMC.CACHE.INVALIDATE"),
        ("PUT c t 9 v DEPS 2 a", "DEPS announces 2 values, but only 1 follow"),
        ("CONFIG c POLICY TTL", "POLICY is 'TTL', allowed are GDSF, LRU, LFU"),
        ("CONFIG c POLICY NONE", "POLICY is 'NONE', allowed are GDSF, LRU, LFU"),
    ] {
        refused_line(&server, &format!("LTMC.CACHE.{line}"), part);
    }
}

#[test]
fn beta_is_a_number_from_0_to_1000() {
    let server = with_data();
    for number in ["-0.1", "1000.1", "NaN", "inf", "-inf", "abc", "", "1,5", "1\0"] {
        let words = ["LTMC.CACHE.GET", "c", "t", "9", "BETA", number];
        refused(&server, &words, "allowed are numbers from 0 to 1000");
    }
}

#[test]
fn arguments_that_are_no_json_are_refused_with_the_reason() {
    let server = with_data();
    let texts: [(&[u8], &str); 16] = [
        (b"", "the text ends too early"),
        (b"{", "at byte 1"),
        (b"{\"a\":1,}", "args is no JSON"),
        (b"{'a':1}", "args is no JSON"),
        (b"{\"a\" 1}", "args is no JSON"),
        (b"[1 2]", "args is no JSON"),
        (b"{} {}", "more text after the value"),
        (b"nul", "args is no JSON"),
        (b"NaN", "args is no JSON"),
        (b"01", "args is no JSON"),
        (b"1.", "args is no JSON"),
        (b"1e999", "args is no JSON"),
        (b"\"\x01\"", "args is no JSON"),
        (b"\"\\ud800\"", "args is no JSON"),
        (b"{\"a\":1,\"a\":1}", "args is no JSON"),
        (b"\"\xff\"", "it is not UTF-8"),
    ];
    for (args, part) in texts {
        let commands: [(&str, &[&[u8]]); 3] =
            [("LTMC.CACHE.GET", &[]), ("LTMC.CACHE.PUT", &[b"v"]), ("LTMC.CACHE.FAIL", &[b"5"])];
        for (command, more) in commands {
            let words = [&[command.as_bytes(), b"c", b"t", args], more].concat();
            refused(&server, &words, part);
            refused(&server, &words, "give RAW to have it compared as it is");
            let raw = [&words[..], &[b"RAW"]].concat();
            assert!(!server.cmd(&raw).is_error(), "{}", args.escape_ascii());
        }
        server.run("LTMC.CACHE.INVALIDATE c ALL").int();
    }
    // A number that a double would change into another one.
    refused(&server, &["LTMC.CACHE.GET", "c", "t", "9007199254740993"], "args holds the whole number");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    refused_as(&server, &["LTMC.CACHE.GET", "c", "t", &deep], "LIMIT", "ltmc.json-depth-max");
}

#[test]
fn labels_and_arguments_have_their_lengths() {
    let server = with_data();
    let (id, label, args) = ("i".repeat(257), "l".repeat(1025), format!("\"{}\"", "a".repeat(1 << 20)));
    for command in ["STATS", "INVALIDATE"] {
        let words = [&format!("LTMC.CACHE.{command}"), "c", "TOOL", &id];
        refused(&server, &words, "TOOL is 257 bytes long, at most 256 are allowed");
    }
    for wrong in ["", label.as_str()] {
        let part = |name: &str| format!("a value of {name} is {} bytes long, allowed are 1 to 1024", wrong.len());
        refused(&server, &["LTMC.CACHE.PUT", "c", "t", "1", "v", "DEPS", "2", "d", wrong], &part("DEPS"));
        refused(&server, &["LTMC.CACHE.PUT", "c", "t", "1", "v", "TAGS", "1", wrong], &part("TAGS"));
        refused(&server, &["LTMC.CACHE.INVALIDATE", "c", "DEP", "1", wrong], &part("DEP"));
        refused(&server, &["LTMC.CACHE.INVALIDATE", "c", "TAG", "1", wrong], &part("TAG"));
    }
    server.run("CONFIG SET ltmc.cache-args-bytes-max 1048576").ok();
    for more in [&[][..], &["RAW"]] {
        let part = "the arguments of a tool of 1048578 bytes would pass the limit of 1048576";
        refused_as(&server, &[&["LTMC.CACHE.GET", "c", "t", &args], more].concat(), "LIMIT", part);
        refused_as(&server, &[&["LTMC.CACHE.PUT", "c", "t", &args, "v"], more].concat(), "LIMIT", part);
    }
    // Of the greatest length, and with any bytes.
    let (id, label, args) = (&id[..256], &label[..1024], &args[..1 << 20]);
    server.cmd(&["LTMC.CACHE.PUT", "c", id, args, "v", "RAW", "AGENT", id, "PRIVATE", "DEPS", "1", label]).ok();
    assert_eq!(
        status_and_value(&server.cmd(&["LTMC.CACHE.GET", "c", id, args, "RAW", "AGENT", id])),
        answer("HIT", "v")
    );
    assert_eq!(server.cmd(&["LTMC.CACHE.INVALIDATE", "c", "DEP", "1", label]).int(), 1);
    let binary: &[u8] = b"\0\r\n\xff %s{}";
    let words =
        [b"LTMC.CACHE.PUT", b"c".as_slice(), binary, binary, binary, b"RAW", b"DEPS", b"1", binary, b"AGENT", binary];
    server.cmd(&words).ok();
    let shown = server.run("LTMC.CACHE.TOP c").array().len() + server.run("LTMC.CACHE.SCAN c 0").array().len();
    assert!(shown > 0);
    assert_eq!(server.cmd(&[b"LTMC.CACHE.INVALIDATE", b"c".as_slice(), b"AGENT", binary]).int(), 1);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}
