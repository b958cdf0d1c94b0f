//! Retries: `REQID`.

use crate::harness::*;
use crate::waiting::set_clock;
use std::collections::BTreeSet;

/// A lease that does not end here.
const FAR_MS: i64 = 90_000_000;
const REFUSED: &str = "the REQID 'r' was used with other arguments";

/// What the requests need: grants to give back and to convert, an agent, a flow's task. Returns the
/// fence of the shared grant.
fn prepare(server: &Server) -> i64 {
    run(server, &format!("LTMC.LOCK k keeper PATH keep PX {FAR_MS}"));
    for _ in 0..3 {
        run(server, &format!("LTMC.LOCK k u PATH u PX {FAR_MS}"));
    }
    run(server, &format!("LTMC.REGISTER reg agent CAPACITY 9 PX {FAR_MS}"));
    run(server, &format!("LTMC.LOCK k c SHARED PATH c PX {FAR_MS}")).int()
}

/// Every command that takes a `REQID`, and the words in which another request differs.
fn requests(shared: i64) -> Vec<(String, [String; 2])> {
    let px = format!("PX {FAR_MS}");
    let convert = format!("LTMC.LOCK.CONVERT k c TOKEN {shared} EXCLUSIVE BLOCK 5 REQID r");
    let rows = [
        ("LTMC.UNLOCK k u PATH u REQID r", ["PATH u", "PATH u ALL"]),
        (&convert, ["EXCLUSIVE", "SHARED"]),
        ("LTMC.LOCK k l PATH l PX REQID r", ["PATH l", "PATH l NOREENTRANT"]),
        ("LTMC.MLOCK m 2 x y PX REQID r", ["x y", "x z"]),
        ("LTMC.AGENT.CLAIM reg PX REQID r BLOCK 5", ["REQID", "REF other REQID"]),
        ("LTMC.FLOW.CREATE f PX REQID r", ["REQID", "MAXACTIVE 3 REQID"]),
        ("LTMC.TASK.ADD f t payload REQID r/", ["payload", "another"]),
        ("LTMC.TASK.CLAIM f w PX REQID r BLOCK 5", ["f w", "f w COUNT 2"]),
        ("LTMC.CTX.CREATE ctx DOC {\"n\":0} REQID r", ["0", "1"]),
        ("LTMC.CTX.UPDATE ctx a INCRBY /n 1 INCRBY /n 2 REQID r", ["/n 1 INCRBY /n 2", "/n 2 INCRBY /n 1"]),
        ("LTMC.CTX.CHECKPOINT ctx NAME one REQID r/", ["one", "two"]),
        ("LTMC.CTX.RESTORE ctx one AGENT a REQID r/", ["one", "one IFVERSION 9"]),
        ("LTMC.CTX.ROLLBACK ctx one AGENT b REQID r", ["one", "one IFVERSION 9"]),
        ("LTMC.CTX.FORK ctx fork REQID r", ["REQID", "AT one REQID"]),
        ("LTMC.CTX.GENERATE made 1 ctx REQID r", ["1 ctx", "2 ctx fork"]),
        ("LTMC.SESSION.CREATE s STATE {\"f\":1} REQID r", ["1", "2"]),
        ("LTMC.SESSION.SET s f 3 REQID r/", ["3", "4"]),
        ("LTMC.SESSION.CHECKPOINT s NAME one REQID r//", ["one", "two"]),
        ("LTMC.SESSION.RESTORE s one AGENT a REQID r", ["one", "one IFVERSION 9"]),
        ("LTMC.SESSION.FORK s t REQID r", ["REQID", "AT one REQID"]),
        ("LTMC.CHUNK.ALLOC b SIZE 5 PX REQID r", ["5", "6"]),
        ("LTMC.CHUNK.PUT b * data PIN a 90000000 REQID r", ["data", "other"]),
        ("LTMC.MSG.SEND mail a TO 1 b text REQID r", ["text", "other"]),
    ];
    rows.map(|(line, words)| (line.replace("PX ", &format!("{px} ")), words.map(String::from))).into()
}

/// Sends every request again: it gets the same answer, and nothing happens.
#[track_caller]
fn repeat(server: &Server, when: &str, requests: &[(String, [String; 2])], answers: &[Reply]) {
    let before = server.dataset();
    for ((line, [words, others]), answer) in requests.iter().zip(answers) {
        assert_eq!(server.run(line), *answer, "{when}: {line}");
        // The time that is left to wait is no part of it, and a retry may not want to wait.
        assert_eq!(server.run(&line.replace(" BLOCK 5", "")), *answer, "{when}: {line}");
        let other = line.replacen(words, others, 1);
        let refused = server.run(&other);
        assert!(refused.error().contains("was used with other arguments"), "{when}: {other}: {refused:?}");
        assert!(refused.error().contains("REQID"), "{refused:?}");
    }
    assert_same(when, &before, &server.dataset());
}

#[test]
fn every_request_that_is_sent_again_is_answered_the_same_and_another_under_its_id_is_refused() {
    let mut server = Server::builder().durable().start();
    let replica = server.replica();
    let requests = requests(prepare(&server));
    let answers: Vec<Reply> = requests.iter().map(|(line, _)| run(&server, line)).collect();
    let covered: BTreeSet<&str> = requests.iter().filter_map(|(line, _)| line.split(' ').next()).collect();
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("../../../src/command/services/reference.json")).expect("JSON");
    for command in reference.as_array().expect("a list") {
        let (name, syntax) = (command["name"].as_str().unwrap_or(""), command["syntax"].as_str().unwrap_or(""));
        assert_eq!(syntax.contains("REQID"), covered.contains(name), "{syntax}");
    }
    repeat(&server, "at once", &requests, &answers);
    assert_persisted_everywhere(&server, &[&replica]);
    repeat(&server, "after all reloads", &requests, &answers);
    server.crash_and_restart();
    repeat(&server, "after a crash", &requests, &answers);
    replica.wait_synced(&server);
    server.kill();
    replica.promote();
    repeat(&replica, "after a failover", &requests, &answers);
}

fn levels(server: &Server, owner: &str) -> i64 {
    let info = server.run("LTMC.LOCK.INFO k");
    let holders = info.get("holders").array().to_vec();
    holders.iter().find(|holder| holder.get("owner").text() == owner).map_or(0, |holder| holder.get("levels").int())
}

#[test]
fn an_unlock_that_is_sent_twice_gives_back_one_level() {
    let server = Server::start();
    let fence = (0..3).map(|_| run(&server, "LTMC.LOCK k a PX 600000").int()).last().unwrap_or(0);
    for _ in 0..2 {
        assert_eq!(run(&server, "LTMC.UNLOCK k a REQID r").int(), 1);
    }
    assert_eq!(levels(&server, "a"), 2);
    assert_eq!(run(&server, "LTMC.UNLOCK k a REQID s").int(), 1);
    // That nothing was held is an answer, too.
    assert_eq!(run(&server, "LTMC.UNLOCK k a PATH docs REQID none").int(), 0);
    assert_eq!(run(&server, "LTMC.UNLOCK k a PATH docs REQID none").int(), 0);
    assert_eq!(run(&server, &format!("LTMC.UNLOCK k a TOKEN {fence} REQID t")).int(), 1);
    // With the last level the key has ended, and its memory: what names its TOKEN is safe still.
    run(&server, "LTMC.LOCK k a PX 600000").int();
    let late = server.run(&format!("LTMC.UNLOCK k a TOKEN {fence} REQID t"));
    assert_eq!((late.error_code(), levels(&server, "a")), ("STALE", 1));
}

#[test]
fn options_in_another_order_are_the_same_request() {
    let server = Server::start();
    let fence = run(&server, "LTMC.LOCK k a SHARED PATH src PX 600000 REQID r").int();
    assert_eq!(run(&server, "LTMC.LOCK k a px 600000 reqid r path src shared BLOCK 9").int(), fence);
    assert_eq!(levels(&server, "a"), 1);
    run(&server, "RENAME k other");
    assert_eq!(run(&server, "LTMC.LOCK other a SHARED PATH src PX 600000 REQID r").int(), fence, "under its new name");
}

#[test]
fn many_other_senders_do_not_push_a_request_out() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let line = |owner: &str, id: u64| format!("LTMC.LOCK k {owner} SHARED PX {FAR_MS} REQID r{id}");
    let fence = run(&server, &line("a", 0)).int();
    let others: Vec<String> = (0..1000).map(|n| line(&format!("other{}", n % 200), n)).collect();
    server.client().pipeline(&others);
    assert_eq!(run(&server, &line("a", 0)).int(), fence);
    assert_eq!(levels(&server, "a"), 1);
    // Each owner has 64.
    (1..64).for_each(|id| drop(run(&server, &line("a", id))));
    assert_eq!((run(&server, &line("a", 0)).int(), levels(&server, "a")), (fence, 64));
    run(&server, &line("a", 64));
    run(&server, &line("a", 0));
    assert_eq!(levels(&server, "a"), 66, "the oldest was forgotten");
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn requests_are_forgotten_after_their_time_and_a_lowered_bound_gives_memory_back() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    run(&server, &format!("LTMC.LOCK k a SHARED PX {FAR_MS}"));
    let usage = || run(&server, "MEMORY USAGE k").int();
    let empty = usage();
    let ask = |id: &str| run(&server, &format!("LTMC.LOCK k a SHARED PX {FAR_MS} REQID {id}")).int();
    for n in 0..64 {
        ask(&format!("a-rather-long-request-id-{n}"));
    }
    let full = usage();
    assert!(full > empty + 64 * 100, "what is remembered is counted: {empty} {full}");
    run(&server, "CONFIG SET ltmc.request-memory-max 2");
    for n in 0..5 {
        ask(&format!("b{n}"));
    }
    assert!(usage() < empty + (full - empty) / 6, "{empty} {full} {}", usage());
    assert_persisted_everywhere(&server, &[&replica]);
    run(&server, "CONFIG SET ltmc.request-memory-ms 5000");
    let refused = server.run("LTMC.LOCK k a SHARED PX 5 REQID b4");
    assert!(refused.error().contains("the REQID 'b4' was used with other arguments"), "{refused:?}");
    set_clock(&server, 5_001);
    let before = levels(&server, "a");
    run(&server, "LTMC.LOCK k a SHARED PX 5 REQID b4").int();
    assert_eq!(levels(&server, "a"), before + 1, "a new request");
    replica.wait_synced(&server);
    assert_same("replica", &server.dataset(), &replica.dataset());
    for (setting, bad) in [("max", "0"), ("max", "1001"), ("ms", "999")] {
        assert!(server.run(&format!("CONFIG SET ltmc.request-memory-{setting} {bad}")).is_error());
    }
}

#[test]
fn a_retry_of_a_waiting_request_waits_beside_it_and_another_request_is_refused() {
    let server = Server::start();
    for (hold, line, other, give) in [
        (
            "LTMC.LOCK k holder PX 600000",
            "LTMC.LOCK k a PX 600000 REQID r",
            "LTMC.LOCK k a PX 600001 REQID r",
            "LTMC.UNLOCK k holder",
        ),
        (
            "LTMC.FLOW.CREATE f",
            "LTMC.TASK.CLAIM f a PX 600000 REQID r",
            "LTMC.TASK.CLAIM f a PX 600000 COUNT 2 REQID r",
            "LTMC.TASK.ADD f t p",
        ),
        (
            "LTMC.LOCK unused unused",
            "LTMC.AGENT.CLAIM reg PX 600000 REQID r",
            "LTMC.AGENT.CLAIM reg PX 600000 REF x REQID r",
            "LTMC.REGISTER reg agent PX 600000",
        ),
    ] {
        run(&server, hold);
        let mut waiting = server.clients(2);
        server.block_in_turn(&mut waiting, |n| format!("{line} BLOCK {}", n * 600_000));
        for other in [other.to_string(), format!("{other} BLOCK 0")] {
            let refused = server.run(&other);
            assert!(refused.error().contains(REFUSED), "{other}: {refused:?}");
        }
        // Who does not want to wait hears that there is nothing yet.
        let nothing = server.run(line);
        assert!(nothing.is_nil() || nothing.array().is_empty(), "{nothing:?}");
        run(&server, give);
        let answers: Vec<Reply> = waiting.iter_mut().map(|client| client.recv()).collect();
        assert_eq!(answers[0], answers[1], "{line}");
        assert_eq!(server.run(line), answers[0]);
        assert!(server.run(other).error().contains(REFUSED));
    }
}

#[test]
fn what_a_retry_was_told_stays_when_the_first_client_is_killed_in_the_same_step() {
    let server = Server::start();
    run(&server, "LTMC.LOCK k holder PX 600000");
    run(&server, "LTMC.FLOW.CREATE f");
    for (line, give) in [
        ("LTMC.LOCK k a PX 600000 REQID r", "LTMC.UNLOCK k holder"),
        ("LTMC.TASK.CLAIM f a PX 600000 REQID r", "LTMC.TASK.ADD f t p"),
        ("LTMC.AGENT.CLAIM reg PX 600000 REQID r", "LTMC.REGISTER reg agent PX 600000"),
    ] {
        let mut first = server.client();
        let id = first.id();
        server.block_in_turn(std::slice::from_mut(&mut first), |_| format!("{line} BLOCK 0"));
        let replies = server.client().pipeline(&["MULTI", give, line, &format!("CLIENT KILL ID {id}"), "EXEC"]);
        let told = replies[4].array()[1].clone();
        assert!(!told.is_error() && !told.is_nil(), "{replies:?}");
        wait_until("nobody waits", || server.info_int("clients", "blocked_clients") == 0);
        assert_eq!(server.run(line), told, "{line}");
    }
    assert_eq!(levels(&server, "a"), 1);
    assert_eq!(server.run("LTMC.TASK.GET f t").get("state").text(), "running");
    assert_eq!(server.run("LTMC.AGENT.GET reg agent").get("claims").array().len(), 1);
    for service in ["lock", "flow", "registry"] {
        assert_eq!(server.info_int("ltmc", &format!("ltmc_{service}_taken_back")), 0, "{service}");
    }
}
