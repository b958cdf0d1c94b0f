//! On whose behalf a command runs: the name that the server has for the user, whatever way the
//! command came.

use crate::harness::*;
use std::io::Write;

/// Ways for a client to run a command, by its words.
const WAYS: &[&[&str]] = &[
    &["EVAL", "return redis.call(unpack(ARGV))", "0"],
    &["FCALL", "run", "0"],
    &["LTMC.GUARD", "guard", "FENCE"],
    &["LTMC.GUARD", "guard", "FENCE", "EVAL", "return redis.call(unpack(ARGV))", "0"],
    &["LTMC.GUARD", "guard", "FENCE", "FCALL", "run", "0"],
    &["EVAL", "return redis.call(unpack(ARGV))", "0", "LTMC.GUARD", "guard", "FENCE"],
];

const FUNCTION: &str =
    "#!lua name=way\nredis.register_function('run', function(keys, args) return redis.call(unpack(args)) end)";

/// A command that came by one of these ways.
fn by(way: &[&str], fence: i64, line: &str) -> Vec<String> {
    let words = way.iter().copied().chain(line.split(' '));
    words.map(|word| if word == "FENCE" { fence.to_string() } else { word.to_string() }).collect()
}

#[test]
fn a_bound_user_is_bound_whatever_way_its_command_comes() {
    let server = Server::start();
    server.cmd(&["FUNCTION", "LOAD", FUNCTION]).text();
    let fence = server.run("LTMC.LOCK guard ada PX 600000").int();
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    let mut ada = server.user("ada", "~* +@all");
    for way in WAYS {
        let reply = ada.cmd(&by(way, fence, "LTMC.LOCK k bob"));
        assert!(reply.is_error() && reply.error().contains("user 'ada' may not act as 'bob'"), "{way:?}: {reply:?}");
        let reply = ada.cmd(&by(way, fence, "LTMC.LOCK k ada PX 600000"));
        assert!(reply.int() > 0, "{way:?}");
        assert_eq!(ada.cmd(&by(way, fence, "LTMC.UNLOCK k ada")).int(), 1, "{way:?}");
    }
    ada.run("MULTI").ok();
    ada.run("LTMC.LOCK k bob");
    ada.run("LTMC.LOCK k ada:1");
    let both = ada.run("EXEC");
    assert!(both.array()[0].is_error() && both.array()[1].int() > 0, "{both:?}");
}

#[test]
fn rights_over_keys_are_those_of_the_caller_whatever_way_its_command_comes() {
    let server = Server::start();
    server.cmd(&["FUNCTION", "LOAD", FUNCTION]).text();
    let fence = server.run("LTMC.LOCK guard ada PX 600000").int();
    let mut agent = server.user("agent", "~sess:* ~guard +@all");
    for way in WAYS {
        let line = "LTMC.TASK.ADD sess:f * p GROUP LOCKS LOCKS 1 secret:lock";
        let reply = agent.cmd(&by(way, fence, line));
        assert!(reply.is_error() && !reply.error().contains("internal"), "{way:?}: {reply:?}");
        let line = "LTMC.TASK.ADD sess:f * p GROUP LOCKS LOCKS 1 sess:lock";
        assert!(!agent.cmd(&by(way, fence, line)).is_error(), "{way:?}");
    }
    assert_eq!(server.run("LTMC.TASK.LIST sess:f").array().len(), WAYS.len());
}

/// A file is loaded by a client without a user, whose name must not be asked for.
#[test]
fn a_command_without_a_user_is_nobodys_and_does_no_harm() {
    let mut server = Server::builder().durable().arg("ltmc.bind-agent-to-user", "yes").start();
    server.run("SET before 1").ok();
    server.stop();
    let folder = std::fs::read_dir(server.dir().join("appendonlydir")).expect("a folder");
    let files = folder.map(|entry| entry.expect("a file").path());
    let log = files.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("the log");
    let mut log = std::fs::OpenOptions::new().append(true).open(log).expect("the log");
    for line in
        ["LTMC.LOCK k ada PX 600000", "LTMC.TASK.ADD f t p LOCKS 1 l", "LTMC.SESSION.SET s a 1", "LTMC.SESSION.OWN s k"]
    {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| command.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        log.write_all(command.as_bytes()).expect("it is written");
    }
    server.start_again();
    assert_eq!(server.run("EXISTS before k f s").int(), 4);
}

#[test]
fn a_guard_asks_for_no_more_rights_than_its_command() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK sess:l ada PX 600000").int();
    server.run("SET ro:x text").ok();
    let mut agent = server.user("agent", "resetkeys ~sess:* %R~ro:* %W~wo:* +@all");
    let mut guard = |line: &str| agent.run(&format!("LTMC.GUARD sess:l {fence} {line}"));
    assert_eq!(guard("GET ro:x").text(), "text");
    guard("SET wo:x 1").ok();
    for line in ["SET ro:x 1", "GET wo:x", "GET other", "SET other 1", "MSET sess:a 1 other 2", "LTMC.LOCK ro:x ada"] {
        let reply = guard(line);
        assert_eq!(reply.error_code(), "NOPERM", "{line}: {reply:?}");
    }
}

#[test]
fn finding_the_keys_takes_no_longer_than_there_are_arguments() {
    let server = Server::start();
    server.run("ACL SETUSER agent on >p ~k +@all").ok();
    let mut agent = server.client();
    agent.auth("agent", "p");
    // Each of these may begin options, and all of that comes to nothing at the end.
    for (first, again) in [
        ("LTMC.WATCH 1 k", "SINCE 0"),
        ("LTMC.GUARD k 1 LTMC.WATCH 1 k", "SINCE 0"),
        ("LTMC.SESSION.OWN k", "AGENT k"),
        ("LTMC.SESSION.SET k", "PX 1"),
        ("LTMC.TASK.ADD k t p", "LOCKS 1 k"),
        ("LTMC.TASK.WAIT k", "BLOCK 1"),
        ("LTMC.CTX.UPDATE k a", "DEL /x"),
        ("LTMC.TASK.HEARTBEAT k t 5", "PROGRESS 5"),
    ] {
        let words: Vec<&str> =
            first.split(' ').chain(std::iter::repeat_n(again, 50_000).flat_map(|again| again.split(' '))).collect();
        let question: Vec<&str> = ["COMMAND", "GETKEYS"].into_iter().chain(words.iter().copied()).collect();
        assert!(!server.cmd(&question).array().is_empty(), "{first}");
        agent.cmd(&words);
    }
    assert_eq!(server.run("PING").text(), "PONG");
}
