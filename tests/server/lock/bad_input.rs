//! Bad input: a clear error each, nothing changed, and the server stays up.

use super::*;

/// Runs a command that must be refused with `code`, its text containing `part`, and must change nothing.
#[track_caller]
fn refused<A: AsRef<[u8]>>(server: &Server, args: &[A], code: &str, part: &str) {
    let shown = || show_stream(&[args.iter().map(|arg| arg.as_ref().to_vec()).collect()]);
    let before = server.debug_digest();
    let reply = server.cmd(args);
    assert!(reply.is_error(), "{:?} was accepted: {reply:?}", shown());
    assert_eq!(reply.error_code(), code, "{:?}: {reply:?}", shown());
    assert!(reply.error().contains(part), "{:?}: no {part:?} in {reply:?}", shown());
    assert_eq!(server.debug_digest(), before, "{:?} changed something", shown());
}

#[track_caller]
fn refused_line(server: &Server, line: &str, part: &str) {
    refused(server, &line.split_whitespace().collect::<Vec<_>>(), "ERR", part);
}

/// The words of a line, the word `placeholder` among them replaced.
fn fill<'a>(line: &'a str, placeholder: &str, value: &'a str) -> Vec<&'a str> {
    let fill_in = |word| if word == placeholder { value } else { word };
    line.split_whitespace().map(fill_in).collect()
}

/// A server with something on it that must not change, and the fence of the lock `k`, held by `a`.
fn with_data() -> (Server, i64) {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK shared b SHARED LIMIT 3 PX 600000").int();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    (server, fence)
}

/// Each command with arguments that it accepts; `F` stands for a fence.
const GOOD: &[&str] = &[
    "LTMC.LOCK x a",
    "LTMC.UNLOCK k a",
    "LTMC.LOCK.RENEW k a TOKEN F PX 1000",
    "LTMC.LOCK.CONVERT k a TOKEN F SHARED",
    "LTMC.LOCK.CHECK k F",
    "LTMC.LOCK.INFO k",
    "LTMC.MLOCK a 1 x",
    "LTMC.LOCK.BREAK k",
    "LTMC.LOCK.GRAPH",
    "LTMC.GUARD k F PING",
    "LTMC.STATUS",
    "LTMC.CLUSTER",
    "LTMC.HEALTH",
    "LTMC.APPLY k payload",
    "LTMC.EXPLAIN payload",
    "LTMC.REPAIR k",
];

#[test]
fn too_few_arguments_are_refused_by_every_command() {
    let (server, fence) = with_data();
    let fence = fence.to_string();
    for line in GOOD {
        let words = fill(line, "F", &fence);
        for count in 1..words.len() {
            refused(&server, &words[..count], "ERR", "wrong number of arguments");
        }
    }
}

#[test]
fn too_many_arguments_are_refused_by_every_command() {
    let (server, fence) = with_data();
    let fence = fence.to_string();
    for line in GOOD.iter().filter(|line| !line.starts_with("LTMC.GUARD")) {
        let mut words = fill(line, "F", &fence);
        // BREAK takes one more.
        words.extend(["surplus", "surplus"]);
        refused(&server, &words, "ERR", "");
    }
}

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
fn numbers_out_of_their_range_are_refused_with_that_range() {
    let (server, fence) = with_data();
    // An argument with a place for a number, the least and the most that it takes.
    let places = [
        ("LTMC.LOCK x a PX N".to_string(), 1, "3153600000000"),
        ("LTMC.LOCK x a EX N".to_string(), 1, "3153600000"),
        ("LTMC.LOCK k b BLOCK N".to_string(), 0, "3153600000000"),
        ("LTMC.LOCK x a SHARED LIMIT N".to_string(), 1, "1000000"),
        ("LTMC.LOCK x a PRIORITY N".to_string(), 0, "1000"),
        ("LTMC.UNLOCK k a TOKEN N".to_string(), 0, "9007199254740991"),
        (format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX N"), 1, "3153600000000"),
        (format!("LTMC.LOCK.RENEW k a TOKEN {fence} EX N"), 1, "3153600000"),
        ("LTMC.LOCK.RENEW k a TOKEN N PX 1000".to_string(), 0, "9007199254740991"),
        ("LTMC.LOCK.CONVERT k a TOKEN N SHARED".to_string(), 0, "9007199254740991"),
        (format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED BLOCK N"), 0, "3153600000000"),
        ("LTMC.LOCK.CHECK k N".to_string(), 0, "9007199254740991"),
        ("LTMC.MLOCK a N x".to_string(), 1, "128"),
        ("LTMC.MLOCK a 1 x PX N".to_string(), 1, "3153600000000"),
        ("LTMC.MLOCK a 1 x PRIORITY N".to_string(), 0, "1000"),
        ("LTMC.MLOCK a 1 k BLOCK N".to_string(), 0, "3153600000000"),
        ("LTMC.GUARD k N PING".to_string(), 0, "9007199254740991"),
    ];
    for (line, least, most) in places {
        let range = format!("allowed are whole numbers from {least} to {most}");
        let above = (most.parse::<u64>().unwrap() + 1).to_string();
        let mut wrong = vec!["-1", "+1", "01", "1.5", "1e3", "abc", "", "1\0", "18446744073709551616", &above];
        if least > 0 {
            wrong.push("0");
        }
        for number in wrong {
            refused(&server, &fill(&line, "N", number), "ERR", &range);
        }
    }
}

#[test]
fn ids_have_1_to_256_bytes() {
    let (server, fence) = with_data();
    let fence = fence.to_string();
    let (longest, too_long) = ("x".repeat(256), "x".repeat(257));
    for id in ["", too_long.as_str()] {
        for args in [
            vec!["LTMC.LOCK", "x", id],
            vec!["LTMC.LOCK", "x", "a", "REQID", id],
            vec!["LTMC.UNLOCK", "k", id],
            vec!["LTMC.LOCK.RENEW", "k", id, "TOKEN", &fence, "PX", "1000"],
            vec!["LTMC.LOCK.CONVERT", "k", id, "TOKEN", &fence, "SHARED"],
            vec!["LTMC.MLOCK", id, "1", "x"],
            vec!["LTMC.LOCK.BREAK", "k", id],
        ] {
            refused(&server, &args, "ERR", "bytes long, allowed are 1 to 256");
        }
    }
    server.cmd(&["LTMC.LOCK", "x", &longest, "REQID", &longest]).int();
    assert_eq!(server.cmd(&["LTMC.UNLOCK", "x", &longest]).int(), 1);
}

#[test]
fn any_bytes_are_a_good_id_a_good_key_and_a_good_path() {
    let server = Server::start();
    let all: Vec<u8> = (0..=255).filter(|byte| *byte != b'/').collect();
    for id in [b"\0".as_slice(), b"\r\n", b"\xff\xfe", b"%s%n", b" ", &all] {
        let lock = |owner: &[u8]| server.cmd(&[b"LTMC.LOCK".as_slice(), id, owner, b"PATH", id, b"PX", b"600000"]);
        let fence = lock(id).int();
        let info = server.cmd(&[b"LTMC.LOCK.INFO".as_slice(), id]);
        let held = &info.get("holders").array()[0];
        assert_eq!(held.get("owner").bytes(), id);
        assert_eq!(held.get("path").bytes(), id);
        assert!(lock(b"other").is_nil());
        let foreign = server.cmd(&[b"LTMC.UNLOCK".as_slice(), id, b"other\r\n+OK", b"PATH", id]);
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
            refused(&server, &[command, "x", "a", "PATH", &path], "ERR", part);
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
    refused(&server, &["LTMC.LOCK", "x", "a", "META", &meta], "ERR", "at most 4096 are allowed");
    server.cmd(&["LTMC.LOCK", "x", "a", "META", &meta[1..]]).int();
    let keys = |count: usize| (0..count).map(|n| format!(" many{n}")).collect::<String>();
    refused_line(&server, &format!("LTMC.MLOCK a 129{}", keys(129)), "from 1 to 128");
    assert_eq!(server.run(&format!("LTMC.MLOCK a 128{}", keys(128))).array().len(), 128);
}
