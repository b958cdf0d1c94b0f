//! COPY: the tasks are copied, what workers hold of them is not.

use super::durability::make_flows;
use super::*;
use crate::waiting::set_clock;

/// A field of a task of the flow `g`, the copy of `f`.
#[track_caller]
fn of_copy(server: &Server, task: &str, field: &str) -> Reply {
    server.run(&format!("LTMC.TASK.GET g {task}")).get(field).clone()
}

#[track_caller]
fn state_of_copy(server: &Server, task: &str) -> String {
    of_copy(server, task, "state").text().to_string()
}

/// Claims a task of the copy.
#[track_caller]
fn claim_of_copy(server: &Server) -> (String, i64) {
    claimed(&server.run(&format!("LTMC.TASK.CLAIM g w PX {LEASE_MS}")))
}

#[track_caller]
fn refused(server: &Server, line: &str, code: &str) {
    let reply = server.run(line);
    assert_eq!(reply.error_code(), code, "{line}: {reply:?}");
}

#[test]
fn flows_with_everything_are_copied_in_every_way_and_persisted_everywhere() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_flows(&server);
    for flow in ["rich", "paused", "gone"] {
        assert_copied(&server, flow);
        let info = |key: &str| server.run(&format!("LTMC.FLOW.INFO {key}"));
        assert_eq!(info(&format!("{flow}.1")).get("state"), info(flow).get("state"));
    }
    assert_eq!(server.run("LTMC.FLOW.INFO rich.1").get("running").int(), 0);
    let end = server.run("PEXPIRETIME rich").int();
    assert!(end > 0 && server.run("PEXPIRETIME rich.1").int() == end, "it goes when the original does");
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn what_somebody_has_claimed_is_ready_in_the_copy() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f MAXACTIVE 2 GROUPMAX 1").ok();
    add(&server, "a", "GROUP g RETRIES 1 PRIORITY 9 BACKOFF FIXED 0");
    add(&server, "b", "AFTER 1 a");
    add(&server, "c", "RETRIES 1");
    let (_, failed) = claim(&server, "w", "");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f a {failed} once")).text(), "RETRY");
    let (again, fence) = claim(&server, "w", "REQID q");
    let (other, second) = claim(&server, "w", "");
    assert_eq!((&*again, &*other), ("a", "c"));
    server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence} PROGRESS 50 half")).ok();
    assert_eq!(server.run("COPY f g").int(), 1);
    assert_eq!(["a", "b", "c"].map(|task| state_of_copy(&server, task)), ["ready", "waiting", "ready"]);
    assert_eq!(["a", "b", "c"].map(|task| state(&server, task)), ["running", "waiting", "running"]);
    // The current attempt is the original's. The one before belongs to both.
    assert_eq!((of_copy(&server, "a", "attempts").int(), shown(&server, "a").get("attempts").int()), (1, 2));
    assert_eq!(of_copy(&server, "a", "history").array().len(), 1);
    for fence in [fence, second] {
        refused(&server, &format!("LTMC.TASK.HEARTBEAT g a {fence}"), "STALE");
        refused(&server, &format!("LTMC.TASK.COMPLETE g a {fence} r"), "STALE");
        refused(&server, &format!("LTMC.TASK.FAIL g a {fence} r"), "STALE");
    }
    // Both tasks that may run at a time can be claimed, the one of the group, too, and fences
    // continue to grow.
    let (first, own) = claim_of_copy(&server);
    assert!(first == "a" && own > second, "{first} {own}");
    let line = format!("LTMC.TASK.CLAIM g w PX {LEASE_MS} REQID q");
    assert_eq!(claimed(&server.run(&line)).0, "c", "a request was answered for the original only");
    assert!(server.run("LTMC.TASK.CLAIM g w").array().is_empty());
    server.run(&format!("LTMC.TASK.COMPLETE g a {own} of-the-copy")).ok();
    assert_eq!((state_of_copy(&server, "b"), state(&server, "b")), ("ready".into(), "waiting".into()));
    complete(&server, "a", fence);
    assert_eq!(shown(&server, "a").get("result").text(), "done");
    assert_eq!(of_copy(&server, "a", "result").text(), "of-the-copy");
}

#[test]
fn a_copy_keeps_to_the_rate_that_the_claims_before_it_count_for() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f RATE 2 60000").ok();
    ["a", "b", "c"].iter().for_each(|task| add(&server, task, ""));
    (0..2).for_each(|_| drop(claim(&server, "w", "")));
    server.run("COPY f g").int();
    assert!(server.run("LTMC.TASK.CLAIM g w").array().is_empty(), "not more in a minute than the flow may");
    let mut waits = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waits), |_| "LTMC.TASK.CLAIM g w BLOCK 0".into());
    set_clock(&server, 60_001);
    assert_eq!(claimed(&waits.recv()).0, "a");
}

#[test]
fn what_was_to_stop_has_ended_in_the_copy() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    server.run("CONFIG SET ltmc.task-stop-grace-ms 600000").ok();
    add(&server, "cancelled", "");
    add(&server, "child", "AFTER 1 cancelled ON DONE");
    let (_, first) = claim(&server, "w", "");
    add(&server, "late", "DEADLINE 60000");
    add(&server, "orphan", "AFTER 1 late");
    let (_, second) = claim(&server, "w", "");
    server.run("LTMC.TASK.CANCEL f cancelled").int();
    set_clock(&server, 60_001);
    wait_until("it is to stop", || shown(&server, "late").find("stopping").is_some_and(|stops| stops.int() == 1));
    assert_eq!(server.run("COPY f g").int(), 1);
    let states = || ["cancelled", "child", "late", "orphan"].map(|task| state_of_copy(&server, task));
    wait_until("who comes after them is told", || states() == ["cancelled", "ready", "dead", "skipped"]);
    assert_eq!((state(&server, "cancelled"), state(&server, "late")), ("running".into(), "running".into()));
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f cancelled {first}")).text(), "CANCEL");
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f late {second}")).text(), "DEADLINE");
    assert_eq!(server.run("LTMC.TASK.REQUEUE g late CASCADE").int(), 2);
    assert_eq!(claim_of_copy(&server).0, "child");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f late {second} x")).text(), "DEAD");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f cancelled {first} x")).text(), "CANCELLED");
    assert_eq!(server.run("LTMC.REPAIR g").get("was_broken").int(), 0);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn the_locks_of_a_claim_are_those_of_the_original() {
    let server = Server::start();
    add(&server, "a", "LOCKS 1 l");
    let fence = fence_of(&server, "a");
    assert_eq!(server.run("COPY f g").int(), 1);
    assert!(server.run("LTMC.TASK.CLAIM g w").array().is_empty(), "the lock is held");
    let mut waits = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waits), |_| format!("LTMC.TASK.CLAIM g w PX {LEASE_MS} BLOCK 0"));
    // Another copy ends, and with it nothing that is held.
    server.run("COPY g h").int();
    server.run("LTMC.TASK.CANCEL h a").int();
    server.run("DEL h").int();
    assert_eq!(server.run("EXISTS l").int(), 1);
    complete(&server, "a", fence);
    let (task, next) = claimed(&waits.recv());
    assert!(task == "a" && next > fence && server.run("EXISTS l").int() == 1);
    server.run(&format!("LTMC.TASK.COMPLETE g a {next} r")).ok();
    assert_eq!(server.run("EXISTS l").int(), 0);
}

#[test]
fn time_goes_on_in_a_copy() {
    let server = Server::start();
    let replica = server.replica();
    server.run("LTMC.FLOW.CREATE f PX 200000").ok();
    add(&server, "delayed", "DELAY 50000");
    add(&server, "mortal", "DEADLINE 60000 WAITSIGNAL");
    add(&server, "claimed", "RETRIES 0");
    fence_of(&server, "claimed");
    server.run("COPY f g").int();
    server.run("COPY f g DB 3").int();
    let mut elsewhere = server.client();
    elsewhere.run("SELECT 3").ok();
    let (task, _) = claimed(&server.run("LTMC.TASK.CLAIM g w PX 40000"));
    assert_eq!(task, "claimed");
    set_clock(&server, 60_001);
    for field in ["delayed", "mortal", "claimed"] {
        let expected = if field == "delayed" { "ready" } else { "dead" };
        wait_until(field, || state_of_copy(&server, field) == expected);
    }
    let state_there = |client: &mut Client, task: &str| {
        client.run(&format!("LTMC.TASK.GET g {task}")).get("state").text().to_string()
    };
    wait_until("it is ready there, too", || state_there(&mut elsewhere, "delayed") == "ready");
    assert_eq!(state_there(&mut elsewhere, "claimed"), "ready", "nobody has claimed it there");
    assert_eq!(state(&server, "claimed"), "running", "its lease is longer");
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
}

#[test]
fn who_waits_at_the_copys_name_is_served_from_it() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "b", "");
    fence_of(&server, "a");
    server.run("LTMC.TASK.ADD g other p DELAY 1000000").text();
    let mut waits = server.clients(3);
    let lines = ["LTMC.TASK.CLAIM g w1 BLOCK 0", "LTMC.TASK.CLAIM g w2 BLOCK 0", "LTMC.TASK.WAIT g a BLOCK 0"];
    server.block_in_turn(&mut waits[..2], |n| lines[n].into());
    assert_eq!(server.run("COPY f g REPLACE").int(), 1);
    let (first, fence) = claimed(&waits[0].recv());
    assert_eq!((&*first, &*claimed(&waits[1].recv()).0), ("a", "b"));
    server.block_in_turn(&mut waits[2..], |_| lines[2].into());
    server.run(&format!("LTMC.TASK.COMPLETE g a {fence} r")).ok();
    assert_eq!(waits[2].recv().get("state").text(), "succeeded");
    assert_eq!(state(&server, "a"), "running");
}
