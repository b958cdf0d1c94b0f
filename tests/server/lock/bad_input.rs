//! Bad input: a clear error each, nothing changed, and the server stays up.

use super::*;
use crate::bad_input::{all_refusals, refused, refused_line, Refusals, FIXED, OPEN, SYNTAX};

/// A server with values that must not change, and the fence of the lock `k`, held by `a`.
fn with_data() -> (Server, i64) {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.REGISTER r a PX 6000000").int();
    server.run("LTMC.LOCK shared b SHARED LIMIT 3 PX 600000").int();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    (server, fence)
}

const OF: Refusals = Refusals {
    with_data: || with_data().0,
    names: &["LTMC.LOCK", "LTMC.UNLOCK", "LTMC.MLOCK", "LTMC.GUARD"],
    key: "k",
    others: &["text", "r"],
    least: &[
        ("LTMC.LOCK @ a", SYNTAX),
        ("LTMC.UNLOCK @ a", SYNTAX),
        ("LTMC.LOCK.RENEW @ a TOKEN 5 PX 1000", FIXED),
        ("LTMC.LOCK.CONVERT @ a TOKEN 5 SHARED", SYNTAX),
        ("LTMC.LOCK.CHECK @ 5", FIXED),
        ("LTMC.LOCK.INFO @", FIXED),
        ("LTMC.LOCK.BREAK @", OPEN),
        ("LTMC.LOCK.GRAPH", FIXED),
        ("LTMC.MLOCK a 1 @", SYNTAX),
        ("LTMC.GUARD @ 5 PING", OPEN),
    ],
    options: &[
        ("LTMC.LOCK x a", "PX 5|EX 5|BLOCK 5|PATH p|META m|REQID i|PRIORITY 5|SHARED|EXCLUSIVE|ONDISCONNECT KEEP"),
        ("LTMC.MLOCK a 1 x", "PX 5|EX 5|BLOCK 5|REQID i|PRIORITY 5"),
        ("LTMC.UNLOCK k a", "TOKEN 5|PATH p|ALL"),
    ],
    numbers: &[
        ("LTMC.LOCK x a PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.LOCK x a EX #", "EX", 1, 3_153_600_000),
        ("LTMC.LOCK k b BLOCK #", "BLOCK", 0, 3_153_600_000_000),
        ("LTMC.LOCK x a SHARED LIMIT #", "LIMIT", 1, 1_000_000),
        ("LTMC.LOCK x a PRIORITY #", "PRIORITY", 0, 1000),
        ("LTMC.UNLOCK k a TOKEN #", "TOKEN", 0, 9_007_199_254_740_991),
        ("LTMC.LOCK.RENEW k a TOKEN 5 PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.LOCK.RENEW k a TOKEN 5 EX #", "EX", 1, 3_153_600_000),
        ("LTMC.LOCK.RENEW k a TOKEN # PX 1000", "TOKEN", 0, 9_007_199_254_740_991),
        ("LTMC.LOCK.CONVERT k a TOKEN # SHARED", "TOKEN", 0, 9_007_199_254_740_991),
        ("LTMC.LOCK.CONVERT k a TOKEN 5 SHARED BLOCK #", "BLOCK", 0, 3_153_600_000_000),
        ("LTMC.LOCK.CHECK k #", "", 0, 9_007_199_254_740_991),
        ("LTMC.MLOCK a # x", "", 1, 128),
        ("LTMC.MLOCK a 1 x PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.MLOCK a 1 x PRIORITY #", "PRIORITY", 0, 1000),
        ("LTMC.MLOCK a 1 k BLOCK #", "BLOCK", 0, 3_153_600_000_000),
        ("LTMC.GUARD k # PING", "", 0, 9_007_199_254_740_991),
    ],
    texts: &[
        ("LTMC.LOCK x #", "", 1, 256),
        ("LTMC.LOCK x a REQID #", "", 1, 256),
        ("LTMC.UNLOCK k #", "", 1, 256),
        ("LTMC.LOCK.RENEW k # TOKEN 5 PX 1000", "", 1, 256),
        ("LTMC.LOCK.CONVERT k # TOKEN 5 SHARED", "", 1, 256),
        ("LTMC.MLOCK # 1 x", "", 1, 256),
        ("LTMC.LOCK.BREAK k #", "", 1, 256),
        ("LTMC.LOCK x a META #", "META", 0, 4096),
    ],
};

all_refusals!(OF);

#[test]
fn options_that_are_unknown_double_or_exclusive_are_refused() {
    let (server, fence) = with_data();
    let token = format!("TOKEN {fence}");
    for (line, part) in [
        ("LTMC.LOCK x a FOO", "'FOO' is not understood here; syntax: LTMC.LOCK key owner"),
        ("LTMC.LOCK x a PX 1 PX 2", "option PX is given twice"),
        ("LTMC.LOCK x a SHARED shared", "option SHARED is given twice"),
        ("LTMC.LOCK x a EXCLUSIVE SHARED", "EXCLUSIVE and SHARED exclude each other"),
        ("LTMC.LOCK x a SHARED OPTIMISTIC", "exclude each other"),
        ("LTMC.LOCK x a PX 1000 EX 1", "PX and EX exclude each other"),
        ("LTMC.LOCK x a LIMIT 2", "LIMIT goes with SHARED only"),
        ("LTMC.LOCK x a ONDISCONNECT MAYBE", "allowed are RELEASE, KEEP"),
        ("LTMC.LOCK x a PATH", "PATH is missing"),
        ("LTMC.LOCK x a META", "META is missing"),
        ("LTMC.LOCK x a REQID", "REQID is missing"),
        ("LTMC.LOCK x a PX", "PX is missing"),
        ("LTMC.LOCK x a ONDISCONNECT", "ONDISCONNECT is missing"),
        ("LTMC.UNLOCK k a FOO", "not understood"),
        ("LTMC.UNLOCK k a ALL ALL", "given twice"),
        ("LTMC.UNLOCK k a TOKEN", "TOKEN is missing"),
        ("LTMC.UNLOCK k a PATH", "PATH is missing"),
        (&format!("LTMC.UNLOCK k a {token} PATH p"), &format!("PATH is 'p', but the fence {fence} is one of ''")),
        ("LTMC.LOCK.RENEW k a FENCE 2 PX 1", "'FENCE' is not understood here"),
        (&format!("LTMC.LOCK.RENEW k a {token} BY 1"), "'BY' is not understood here"),
        ("LTMC.LOCK.RENEW k a PX 1 EX 1", "PX and EX exclude each other"),
        ("LTMC.LOCK.RENEW k a PX 1 PX 1", "option PX is given twice"),
        (&format!("LTMC.LOCK.RENEW k a {token} {token}"), "option TOKEN is given twice"),
        (&format!("LTMC.LOCK.CONVERT k a {token} OPTIMISTIC"), "'OPTIMISTIC' is not understood here"),
        (&format!("LTMC.LOCK.CONVERT k a {token} SHARED EXCLUSIVE"), "SHARED and EXCLUSIVE exclude each other"),
        (&format!("LTMC.LOCK.CONVERT k a {token} BLOCK 1"), "SHARED or EXCLUSIVE is missing; syntax"),
        ("LTMC.LOCK.CONVERT k a SHARED BLOCK 1", "TOKEN is missing; syntax"),
        (&format!("LTMC.LOCK.CONVERT k a {token} SHARED BLOCK"), "BLOCK is missing"),
        (&format!("LTMC.LOCK.CONVERT k a {token} SHARED BLOCK 1 BLOCK 2"), "given twice"),
        ("LTMC.MLOCK a 1 x PATH p", "not understood"),
        ("LTMC.MLOCK a 1 x OPTIMISTIC", "not understood"),
        ("LTMC.MLOCK a 2 x x", "given twice"),
        ("LTMC.MLOCK a 3 x y", "key is missing"),
        ("LTMC.MLOCK a 1 x y", "not understood"),
        ("LTMC.DEBUG", "wrong number"),
        ("LTMC.DEBUG FOO", "allowed are PANIC, CLOCK"),
        ("LTMC.DEBUG CLOCK soon", "no whole number"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn any_bytes_are_a_good_id_a_good_key_and_a_good_path() {
    let server = Server::start();
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'/').collect();
    for id in [b"\0".as_slice(), b"\r\n", b"\xff\xfe", b"%s%n", b" ", &all] {
        let path: Vec<u8> = id.iter().copied().filter(|byte| !b"*?\\".contains(byte)).collect();
        let path = path.as_slice();
        let lock = |owner: &[u8]| server.cmd(&[b"LTMC.LOCK".as_slice(), id, owner, b"PATH", path, b"PX", b"600000"]);
        let fence = lock(id).int();
        let info = server.cmd(&[b"LTMC.LOCK.INFO".as_slice(), id]);
        let held = &info.get("holders").array()[0];
        assert_eq!(held.get("owner").bytes(), id);
        assert_eq!(held.get("path").bytes(), path);
        assert!(lock(b"other").is_nil());
        let foreign = server.cmd(&[b"LTMC.UNLOCK".as_slice(), id, b"other\r\n+OK", b"PATH", path]);
        assert_eq!(foreign.error_code(), "NOTOWNER");
        assert!(foreign.error().contains("other\\x0d\\x0a+OK"), "{foreign:?}");
        server.debug_reload();
        let token = fence.to_string();
        assert_eq!(server.cmd(&[b"LTMC.LOCK.CHECK".as_slice(), id, token.as_bytes()]).int(), 1);
        server.cmd(&[b"LTMC.LOCK.BREAK".as_slice(), id, id]).int();
        assert_eq!(server.run("DBSIZE").int(), 0);
    }
}

#[test]
fn an_error_is_one_line_whatever_was_given() {
    let server = Server::start();
    let nasty = b"\r\n-ERR fake\r\n+OK\r\n\0%s%n\xff".as_slice();
    let mut client = server.client();
    for args in [
        vec![b"LTMC.LOCK".as_slice(), b"k", b"a", nasty],
        vec![b"LTMC.LOCK", b"k", b"a", b"PX", nasty],
        vec![b"LTMC.LOCK", b"k", b"a", b"ONDISCONNECT", nasty],
        vec![b"LTMC.LOCK", b"k", b"a", b"PATH", b"\r\n//\0"],
        vec![b"LTMC.MLOCK", b"a", b"2", nasty, nasty],
        vec![b"LTMC.MLOCK", b"a", nasty],
        vec![b"LTMC.LOCK.CHECK", b"k", nasty],
        vec![b"LTMC.APPLY", b"k", nasty],
        vec![b"LTMC.EXPLAIN", nasty],
        vec![b"LTMC.GUARD", b"k", b"2", nasty],
    ] {
        assert!(client.cmd(&args).is_error(), "{args:?}");
        assert_eq!(client.run("ECHO next").text(), "next", "the protocol is in step");
    }
}

#[test]
fn paths_have_their_limits() {
    let (server, _) = with_data();
    let deep = |depth: usize| vec!["d"; depth].join("/");
    for (path, part) in [
        ("a//b".to_string(), "has an empty, '.' or '..' segment"),
        ("a/./b".to_string(), "segment"),
        ("..".to_string(), "segment"),
        ("a/..".to_string(), "segment"),
        ("x".repeat(1025), "PATH is 1025 bytes long, at most 1024 are allowed"),
        (deep(65), "PATH has 65 segments, at most 64 are allowed"),
    ] {
        for command in ["LTMC.LOCK", "LTMC.UNLOCK"] {
            refused(&server, &[command, "x", "a", "PATH", &path], part);
        }
    }
    for path in ["x".repeat(1024), deep(64), "...".into()] {
        server.cmd(&["LTMC.LOCK", "x", "a", "PATH", &path]).int();
    }
}

#[test]
fn metadata_and_the_number_of_keys_have_their_limits() {
    let (server, _) = with_data();
    let meta = "m".repeat(4097);
    refused(&server, &["LTMC.LOCK", "x", "a", "META", &meta], "at most 4096 are allowed");
    server.cmd(&["LTMC.LOCK", "x", "a", "META", &meta[1..]]).int();
    let keys = |count: usize| (0..count).map(|n| format!(" many{n}")).collect::<String>();
    refused_line(&server, &format!("LTMC.MLOCK a 129{}", keys(129)), "from 1 to 128");
    assert_eq!(server.run(&format!("LTMC.MLOCK a 128{}", keys(128))).array().len(), 128);
}

#[test]
fn an_id_of_256_bytes_is_taken() {
    let (server, _) = with_data();
    let longest = "x".repeat(256);
    server.cmd(&["LTMC.LOCK", "x", &longest, "REQID", &longest]).int();
    assert_eq!(server.cmd(&["LTMC.UNLOCK", "x", &longest]).int(), 1);
}
