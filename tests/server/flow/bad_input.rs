//! What is refused, and that nothing changes then.

use super::*;
use crate::bad_input::{all_refusals, refused_as, refused_line, Refusals, FIXED, OPEN, SYNTAX};

fn with_data() -> Server {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    add(&server, "a", "");
    add(&server, "b", "");
    fence_of(&server, "a");
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.FLOW", "LTMC.TASK"],
    key: "f",
    others: &["text", "lock"],
    least: &[
        ("LTMC.FLOW.CREATE @", SYNTAX),
        ("LTMC.FLOW.INFO @", FIXED),
        ("LTMC.FLOW.PAUSE @", FIXED),
        ("LTMC.FLOW.TOUCH @", SYNTAX),
        ("LTMC.FLOW.RESUME @", FIXED),
        ("LTMC.FLOW.CANCEL @", FIXED),
        ("LTMC.FLOW.GRAPH @", SYNTAX),
        ("LTMC.TASK.ADD @ x p", SYNTAX),
        ("LTMC.TASK.CLAIM @ w", SYNTAX),
        ("LTMC.TASK.HEARTBEAT @ a 2", SYNTAX),
        ("LTMC.TASK.COMPLETE @ a 2 r", SYNTAX),
        ("LTMC.TASK.FAIL @ a 2 r", SYNTAX),
        ("LTMC.TASK.CANCEL @ a", SYNTAX),
        ("LTMC.TASK.GET @ a", SYNTAX),
        ("LTMC.TASK.LIST @", SYNTAX),
        ("LTMC.TASK.WAIT @", OPEN),
        ("LTMC.TASK.SIGNAL @ a", OPEN),
        ("LTMC.TASK.REQUEUE @ a", SYNTAX),
    ],
    options: &[
        ("LTMC.FLOW.CREATE g", "MAXACTIVE 1|GROUPMAX 1|RATE 1 5|KEEP 1|PX 9|EX 9|REQID i"),
        ("LTMC.FLOW.TOUCH f", "PX 9|EX 9"),
        ("LTMC.TASK.ADD f x p",
            "AFTER 1 a|ON ANY|CAPS 1 c|PRIORITY 1|DELAY 1|DEADLINE 1|LEASE 1|RETRIES 1|BACKOFF FIXED 1|GROUP g|LOCKS 1 l|REQID i"),
        ("LTMC.TASK.CLAIM f w", "CAPS 1 c|COUNT 1|PX 9|EX 9|BLOCK 1|REQID i"),
        ("LTMC.TASK.HEARTBEAT f a 2", "PROGRESS 1"),
        ("LTMC.TASK.COMPLETE f a 2 r", "NEXT"),
        ("LTMC.TASK.CANCEL f a", "CASCADE"),
        ("LTMC.TASK.LIST f", "STATE ready|LIMIT 0 1"),
        ("LTMC.TASK.REQUEUE f a", "CASCADE"),
    ],
    numbers: &[
        ("LTMC.FLOW.TOUCH f PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.FLOW.TOUCH f EX #", "EX", 1, 3_153_600_000),
        ("LTMC.TASK.ADD f x p PRIORITY #", "PRIORITY", 0, 1000),
        ("LTMC.TASK.CLAIM f w COUNT #", "COUNT", 1, 1000),
        ("LTMC.TASK.CLAIM f w BLOCK #", "BLOCK", 0, 3_153_600_000_000),
        ("LTMC.TASK.CLAIM f w PX #", "PX", 1, 3_153_600_000_000),
        ("LTMC.TASK.CLAIM f w EX #", "EX", 1, 3_153_600_000),
        ("LTMC.TASK.ADD f x p LEASE #", "LEASE", 1, 3_153_600_000_000),
        ("LTMC.TASK.WAIT f a BLOCK #", "BLOCK", 0, 3_153_600_000_000),
    ],
    texts: &[
        ("LTMC.TASK.ADD f # p", "task", 1, 256),
        ("LTMC.TASK.CLAIM f #", "agent", 1, 256),
        ("LTMC.TASK.CLAIM f w REQID #", "REQID", 1, 256),
        ("LTMC.TASK.GET f #", "task", 1, 256),
    ],
};

all_refusals!(OF);

#[test]
fn options_that_are_unknown_or_exclude_each_other_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("LTMC.FLOW.CREATE g PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.FLOW.CREATE g LOCKS 1 l", "LOCKS goes with SPEC only"),
        ("LTMC.TASK.CLAIM f w PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.TASK.ADD f x p MAX 5", "MAX goes with BACKOFF only"),
        ("LTMC.TASK.COMPLETE f a 2 r BLOCK 5", "BLOCK goes with NEXT only"),
        ("LTMC.TASK.ADD f x p ON NEVER", "ON is 'NEVER', allowed are SUCCESS, DONE, ANY"),
        ("LTMC.TASK.ADD f x p BACKOFF SLOW 1", "BACKOFF is 'SLOW', allowed are FIXED, EXP"),
        ("LTMC.TASK.ADD f x p PRIORITY 1001", "PRIORITY is '1001', allowed are whole numbers from 0 to 1000"),
        ("LTMC.TASK.ADD f x p CAPS 1 a@b", "capability is 'a@b'"),
        ("LTMC.TASK.ADD f x p AFTER 0", "the number of values of AFTER is '0'"),
        ("LTMC.TASK.ADD f x p LEASE 0", "LEASE is '0'"),
        ("LTMC.TASK.CLAIM f w COUNT 0", "COUNT is '0', allowed are whole numbers from 1 to 1000"),
        ("LTMC.TASK.CLAIM f w CAPS 1 a@>=1", "capability is 'a@>=1'"),
        ("LTMC.TASK.HEARTBEAT f a 2 PROGRESS 101", "PROGRESS is '101', allowed are whole numbers from 0 to 100"),
        ("LTMC.TASK.HEARTBEAT f a -1", "fence is '-1'"),
        ("LTMC.TASK.LIST f STATE gone", "STATE is 'gone', allowed are WAITING, HELD"),
        ("LTMC.FLOW.CREATE g RATE 10001 5", "RATE is '10001'"),
        ("LTMC.FLOW.CREATE g SPEC [", "SPEC is no JSON"),
        ("LTMC.FLOW.GRAPH f SVG", "'SVG' is not understood here"),
        ("LTMC.TASK.FAIL f a 2 r MAYBE", "'MAYBE' is not understood here"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn names_and_texts_have_their_bounds() {
    let server = with_data();
    let (long, longer) = ("x".repeat(257), "x".repeat(1_025));
    for (line, part) in [
        (format!("LTMC.TASK.ADD f {long} p"), "task is 257 bytes long, allowed are 1 to 256"),
        (format!("LTMC.TASK.CLAIM f {long}"), "agent is 257 bytes long"),
        (format!("LTMC.TASK.ADD f x p GROUP {long}"), "GROUP is 257 bytes long"),
        (format!("LTMC.TASK.ADD f x p REQID {long}"), "REQID is 257 bytes long"),
        (format!("LTMC.TASK.FAIL f a 2 {longer}"), "reason is 1025 bytes long, at most 1024"),
        (format!("LTMC.TASK.HEARTBEAT f a 2 PROGRESS 1 {longer}"), "text is 1025 bytes long"),
    ] {
        refused_line(&server, &line, part);
    }
    refused_as(&server, &["LTMC.TASK.ADD", "f", "", "p"], "ERR", "task is 0 bytes long");
    refused_as(&server, &["LTMC.TASK.CLAIM", "f", "w", "REGISTRY", ""], "ERR", "REGISTRY is 0 bytes long");
    for id in [&b"\0\xff \r\n"[..], b"*x", &[b'z'; 256]] {
        assert_eq!(server.cmd(&[b"LTMC.TASK.ADD".as_slice(), b"f", id, b"p"]).bytes(), id);
        assert_eq!(server.cmd(&[b"LTMC.TASK.GET".as_slice(), b"f", id]).get("task").bytes(), id);
    }
}

#[test]
fn what_is_not_there_or_something_else_is_said() {
    let server = with_data();
    for (line, _) in OF.least {
        let words: Vec<&str> = line.split(' ').collect();
        let mut missing = words.clone();
        missing[1] = "none";
        let reply = server.cmd(&missing);
        match words[0] {
            "LTMC.FLOW.INFO" | "LTMC.FLOW.GRAPH" | "LTMC.TASK.GET" => assert!(reply.is_nil(), "{line}"),
            "LTMC.FLOW.TOUCH" | "LTMC.FLOW.CANCEL" | "LTMC.TASK.CANCEL" => assert_eq!(reply.int(), 0, "{line}"),
            "LTMC.TASK.LIST" | "LTMC.TASK.CLAIM" => assert!(reply.array().is_empty(), "{line}"),
            "LTMC.FLOW.CREATE" | "LTMC.TASK.ADD" => drop(server.run("DEL none")),
            _ => assert_eq!(reply.error_code(), "NOFLOW", "{line}"),
        }
    }
    for line in ["HEARTBEAT f x 2", "COMPLETE f x 2 r", "FAIL f x 2 r", "WAIT f x", "SIGNAL f x", "REQUEUE f x"] {
        let line = format!("LTMC.TASK.{line}");
        refused_as(&server, &line.split(' ').collect::<Vec<_>>(), "NOTASK", "'x'");
    }
    assert_eq!(server.run("LTMC.TASK.CANCEL f x").int(), 0);
    refused_as(&server, &["LTMC.TASK.CLAIM", "f", "w", "REGISTRY", "text"], "WRONGTYPE", "");
}

#[test]
fn bounds_are_named_when_they_are_met() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.flow-tasks-max 2 ltmc.task-payload-bytes-max 10").ok();
    add(&server, "a", "");
    refused_as(&server, &["LTMC.TASK.ADD", "f", "b", "12345678901"], "LIMIT", "task-payload-bytes-max");
    add(&server, "b", "");
    refused_as(&server, &["LTMC.TASK.ADD", "f", "c", "p"], "LIMIT", "flow-tasks-max");
    let fence = fence_of(&server, "a").to_string();
    refused_as(&server, &["LTMC.TASK.COMPLETE", "f", "a", &fence, "12345678901"], "LIMIT", "task-payload-bytes-max");
    let spec = r#"{"tasks":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#;
    refused_as(&server, &["LTMC.FLOW.CREATE", "g", "SPEC", spec], "LIMIT", "flow-tasks-max");
}

#[test]
fn a_specification_has_bounds_of_its_own() {
    let server = Server::start();
    let spec = r#"{"tasks":[{"id":"a"},{"id":"b","after":["a"]},{"id":"c","after":["a","b"],"caps":["x"]}]}"#;
    for (setting, fits, less) in [
        ("flow-spec-tasks-max", 3, 2),
        ("flow-spec-edges-max", 3, 2),
        ("flow-caps-max", 2, 1),
        ("flow-spec-bytes-max", spec.len(), spec.len() - 1),
    ] {
        server.run(&format!("CONFIG SET ltmc.{setting} {less}")).ok();
        refused_as(&server, &["LTMC.FLOW.CREATE", "g", "SPEC", spec], "LIMIT", setting);
        server.run(&format!("CONFIG SET ltmc.{setting} {fits}")).ok();
    }
    server.cmd(&["LTMC.FLOW.CREATE", "g", "SPEC", spec]).ok();
    server.run("LTMC.TASK.ADD g d p CAPS 1 x").text();
    refused_as(&server, &["LTMC.TASK.ADD", "g", "e", "p", "CAPS", "1", "y"], "LIMIT", "flow-caps-max");
}

#[test]
fn a_list_looks_at_a_part_of_a_large_flow() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.flow-spec-tasks-max 12000").ok();
    let tasks: Vec<String> = (0..12_000).map(|n| format!(r#"{{"id":"t{n}"}}"#)).collect();
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", &format!(r#"{{"tasks":[{}]}}"#, tasks.join(","))]).ok();
    for more in ["", " STATE ready"] {
        let line = format!("LTMC.TASK.LIST f{more} LIMIT 10001 1");
        refused_as(&server, &line.split(' ').collect::<Vec<_>>(), "LIMIT", "CURSOR");
    }
    refused_as(&server, &["LTMC.FLOW.GRAPH", "f"], "LIMIT", "12000 tasks");
    assert!(server.run("LTMC.FLOW.INFO f").get("critical_path").array().is_empty());
    assert_eq!(server.run("LTMC.TASK.LIST f LIMIT 9990 10").array().len(), 10);
    for more in ["", " LIMIT 10001 10"] {
        assert!(server.run(&format!("LTMC.TASK.LIST f STATE dead{more}")).array().is_empty(), "nothing is skipped");
    }
    for state in ["", " STATE ready"] {
        let page = server.run(&format!("LTMC.TASK.LIST f{state} CURSOR 0 COUNT 1000000"));
        assert_eq!(page.array()[1].array().len(), 10_000, "no call looks at more");
        let rest = server.run(&format!("LTMC.TASK.LIST f{state} CURSOR {} COUNT 1000000", page.array()[0].text()));
        assert_eq!((rest.array()[0].text(), rest.array()[1].array().len()), ("0", 2_000));
    }
}

#[test]
fn a_claim_of_many_ends_when_they_are_long() {
    let server = Server::start();
    let long = "x".repeat(3_000_000);
    for task in ["a", "b"] {
        assert!(!server.cmd(&["LTMC.TASK.ADD", "f", task, &long]).is_error());
    }
    assert_eq!(server.run("LTMC.TASK.CLAIM f w COUNT 2").array().len(), 1);
    assert_eq!(server.run("LTMC.TASK.CLAIM f w COUNT 2").array().len(), 1);
}
