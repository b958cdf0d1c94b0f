//! Persistence, replication and failover of flows.

use super::*;
use crate::waiting::set_clock;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;

/// Something of everything, and nothing that is about to happen.
pub fn make_flows(server: &Server) {
    let long = "x".repeat(2_000);
    server
        .run(&format!("LTMC.FLOW.CREATE rich MAXACTIVE 50 GROUPMAX 2 RATE 40 {FAR_MS} KEEP 20 PX {FAR_MS} REQID c"))
        .ok();
    server.run("LTMC.REGISTER agents ada CAPS 2 gpu python@3.10 PX 31536000000").int();
    for line in [
        format!("LTMC.TASK.ADD rich a {long} PRIORITY 5 LEASE {FAR_MS} REQID r1"),
        "LTMC.TASK.ADD rich b p AFTER 1 a CAPS 2 gpu python@>=3.9 GROUP g LOCKS 2 l1 l2 PRIORITY 50".into(),
        "LTMC.TASK.ADD rich c p AFTER 2 a b ON DONE".into(),
        "LTMC.TASK.ADD rich d p AFTER 2 b c ON ANY".into(),
        format!("LTMC.TASK.ADD rich e p DELAY {FAR_MS} DEADLINE {FAR_MS}0"),
        format!("LTMC.TASK.ADD rich f p RETRIES 2 BACKOFF EXP {FAR_MS}"),
        "LTMC.TASK.ADD rich g p WAITSIGNAL".into(),
        "LTMC.TASK.ADD rich h p WAITSIGNAL".into(),
        "LTMC.TASK.ADD rich i p RETRIES 0 PRIORITY 9".into(),
        "LTMC.TASK.ADD rich j p AFTER 1 i".into(),
        "LTMC.TASK.ADD rich k p".into(),
    ] {
        assert!(!server.run(&line).is_error(), "{line}");
    }
    let claim =
        |agent: &str, more: &str| claimed(&server.run(&format!("LTMC.TASK.CLAIM rich {agent} PX {FAR_MS} {more}")));
    let (task, fence) = claim("w", "");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL rich {task} {fence} broken")).text(), "DEAD");
    let (task, fence) = claim("w", "REQID q1");
    server.cmd(&["LTMC.TASK.COMPLETE", "rich", &task, &fence.to_string(), &long]).ok();
    let (task, fence) = claim("ada", "REGISTRY agents");
    assert_eq!(task, "b");
    server.run(&format!("LTMC.TASK.HEARTBEAT rich {task} {fence} PROGRESS 30 going")).ok();
    let (task, fence) = claim("w", "");
    assert_eq!(task, "f");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL rich f {fence} later")).text(), "RETRY");
    server.run("LTMC.TASK.SIGNAL rich h yes").int();
    server.run("LTMC.TASK.CANCEL rich k").int();
    server.run("LTMC.FLOW.CREATE paused").ok();
    server.run("LTMC.TASK.ADD paused a p").text();
    server.run("LTMC.FLOW.PAUSE paused").int();
    server.run("LTMC.FLOW.CREATE gone").ok();
    server.run("LTMC.TASK.ADD gone a p").text();
    server.run("LTMC.FLOW.CANCEL gone").int();
    let mut other = server.client();
    other.run("SELECT 4").ok();
    other.run("LTMC.TASK.ADD rich z p").text();
}

#[test]
fn flows_survive_every_copy_and_reload() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_flows(&server);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn only_decisions_with_absolute_times_are_replicated() {
    let server = Server::start();
    let mut tap = ReplicationTap::attach(&server);
    add(&server, "a", "DELAY 5000 LOCKS 1 l");
    set_clock(&server, 5_001);
    claim(&server, "w", "");
    let stream = tap.take(&server);
    let names: Vec<String> = stream.iter().map(|command| String::from_utf8_lossy(&command[0]).into_owned()).collect();
    assert!(names.iter().all(|name| ["LTMC.APPLY", "MULTI", "EXEC"].contains(&name.as_str())), "{names:?}");
    let applied = stream.iter().filter(|command| command[0] == b"LTMC.APPLY");
    let shown: Vec<String> =
        applied.map(|command| server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]).text().to_string()).collect();
    assert!(shown.iter().any(|text| text.contains("\"Claimed\"") && text.contains("\"ends_at\"")), "{shown:?}");
    assert!(shown.iter().any(|text| text.contains("ltmc-lock")), "the lock goes along: {shown:?}");
}

#[test]
fn long_payloads_travel_beside_the_decision() {
    let server = Server::start();
    let mut tap = ReplicationTap::attach(&server);
    let long = "y".repeat(100_000);
    server.cmd(&["LTMC.TASK.ADD", "f", "a", &long]).text();
    let stream = tap.take(&server);
    let applied = stream.iter().find(|command| command[0] == b"LTMC.APPLY" && command.len() > 3).expect("a payload");
    assert_eq!(applied[3], long.as_bytes());
    assert!(applied[2].len() < 200, "{}", applied[2].len());
}

#[test]
fn a_promoted_replica_goes_on_where_its_primary_was() {
    let mut server = Server::start();
    let replica = server.replica();
    add(&server, "a", "LEASE 5000 BACKOFF FIXED 60000");
    add(&server, "b", "AFTER 1 a");
    add(&server, "c", "DELAY 60000");
    let (_, fence) = claimed(&server.run("LTMC.TASK.CLAIM f w"));
    replica.wait_synced(&server);
    assert_eq!(replica.run("LTMC.TASK.CLAIM f w").error_code(), "READONLY");
    server.kill();
    replica.promote();
    let mut waiters = replica.clients(2);
    replica.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.CLAIM f w{n} PX {LEASE_MS} BLOCK 0"));
    set_clock(&replica, 5_001);
    wait_until("the lease is over", || state(&replica, "a") == "delayed");
    assert_eq!(replica.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).error_code(), "STALE");
    set_clock(&replica, 70_000);
    let tasks: Vec<(String, i64)> = waiters.iter_mut().map(|waiter| claimed(&waiter.recv())).collect();
    assert_eq!((tasks[0].0.as_str(), tasks[1].0.as_str()), ("c", "a"));
    assert!(tasks.iter().all(|(_, next)| *next > fence));
    complete(&replica, "a", tasks[1].1);
    assert_eq!(work(&replica), "b");
}

#[test]
fn acknowledged_work_survives_a_crash() {
    let mut server = Server::builder().durable().start();
    for n in 0..20 {
        add(&server, &format!("t{n}"), if n > 0 { "AFTER 1 t0" } else { "" });
    }
    assert_eq!(work(&server), "t0");
    let (task, fence) = claim(&server, "w", "REQID q");
    server.crash_and_restart();
    assert_eq!(state(&server, "t0"), "succeeded");
    assert_eq!(claim(&server, "w", "REQID q"), (task.clone(), fence));
    complete(&server, &task, fence);
    assert!(claim(&server, "w", "").1 > fence);
}

#[test]
fn an_aof_that_is_rewritten_while_work_goes_on_loses_nothing() {
    for preamble in ["yes", "no"] {
        let server = Server::builder().durable().arg("aof-use-rdb-preamble", preamble).start();
        let lines: Vec<String> =
            (0..2000).map(|n| format!("LTMC.TASK.ADD f t{n} p{n} RETRIES 9 BACKOFF FIXED 0")).collect();
        server.client().pipeline(&lines);
        server.run("BGREWRITEAOF");
        let (mut client, mut turns) = (server.client(), 0);
        loop {
            let (task, fence) = claimed(&client.run(&format!("LTMC.TASK.CLAIM f w PX {FAR_MS}")));
            let call = if turns % 3 == 0 { "FAIL" } else { "COMPLETE" };
            client.pipeline(&[
                format!("LTMC.TASK.{call} f {task} {fence} x"),
                format!("LTMC.TASK.ADD f n{turns} p AFTER 1 {task}"),
            ]);
            turns += 1;
            let info = server.info("persistence");
            if turns >= 30 && info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0" {
                break;
            }
        }
        let before = server.dataset();
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("AOF with RDB preamble {preamble}"), &before, &server.dataset());
    }
}

#[test]
fn a_flow_is_measured_and_its_keys_are_moved_like_any_other() {
    let server = Server::start();
    let used = || server.info_int("memory", "used_memory");
    let before = used();
    for chunk in (0..20_000).collect::<Vec<_>>().chunks(1_000) {
        let lines: Vec<String> =
            chunk.iter().map(|n| format!("LTMC.TASK.ADD f task-{n} payload-of-some-{n}")).collect();
        server.client().pipeline(&lines);
    }
    let (measured, grown) = (server.run("MEMORY USAGE f").int() as f64, (used() - before) as f64);
    // The watch log is in both.
    assert!((0.7..1.4).contains(&(measured / grown)), "{measured} of {grown}");
    server.run("RENAME f g").ok();
    assert_eq!(server.run("LTMC.TASK.GET g task-7").get("payload").text(), "payload-of-some-7");
    assert_eq!(server.run("COPY g h").int(), 1);
    let copied = server.run("MEMORY USAGE h").int() as f64;
    assert!((0.5..1.1).contains(&(copied / measured)), "{copied} of {measured}: without the watch log");
    assert_eq!(server.run("UNLINK g").int(), 1);
}
