//! Cancels and deadlines of tasks that run, and of whole flows.

use super::*;
use crate::waiting::set_clock;

#[test]
fn a_worker_learns_of_a_cancel_by_its_heartbeat_and_gives_its_task_back() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "b", "AFTER 1 a ON DONE");
    let fence = fence_of(&server, "a");
    assert_eq!(server.run("LTMC.TASK.CANCEL f a").int(), 1);
    assert_eq!(state(&server, "a"), "running");
    assert_eq!(shown(&server, "a").get("stopping").int(), 1);
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).text(), "CANCEL");
    let refused = server.run(&format!("LTMC.TASK.COMPLETE f a {fence} r"));
    assert_eq!(refused.error_code(), "BADSTATE");
    assert_eq!(state(&server, "b"), "waiting", "it is not over yet");
    let back = format!("LTMC.TASK.FAIL f a {fence} stopped");
    assert_eq!((server.run(&back).text(), server.run(&back).text()), ("CANCELLED", "CANCELLED"));
    assert_eq!((state(&server, "a"), state(&server, "b")), ("cancelled".into(), "ready".into()));
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).text(), "CANCEL", "still");
}

#[test]
fn a_worker_that_does_not_stop_loses_its_task_after_the_grace() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.task-stop-grace-ms 5000").ok();
    add(&server, "a", "");
    let fence = fence_of(&server, "a");
    server.run("LTMC.TASK.CANCEL f a").int();
    set_clock(&server, 3_000);
    assert_eq!(server.run("LTMC.TASK.CANCEL f a").int(), 1, "asking again gives no more time");
    set_clock(&server, 5_001);
    wait_until("it is taken away", || state(&server, "a") == "cancelled");
    assert_eq!(why(&server, "a"), "cancelled: its worker did not stop");
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).text(), "CANCEL");
    assert_eq!(server.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).error_code(), "STALE");
}

#[test]
fn a_deadline_ends_what_waits_at_once_and_stops_what_runs() {
    let server = Server::start();
    add(&server, "a", "DEADLINE 60000");
    add(&server, "b", "DEADLINE 60000 DELAY 90000");
    add(&server, "c", "AFTER 1 b");
    let fence = fence_of(&server, "a");
    set_clock(&server, 60_001);
    wait_until("b is dead", || state(&server, "b") == "dead");
    assert_eq!((why(&server, "b"), state(&server, "c")), ("dead: deadline".into(), "skipped".into()));
    wait_until("a is to stop", || shown(&server, "a").find("stopping").is_some_and(|stops| stops.int() == 1));
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).text(), "DEADLINE");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f a {fence} late")).text(), "DEAD");
    assert_eq!(state(&server, "a"), "dead");
    assert_eq!(server.run("LTMC.TASK.REQUEUE f a").int(), 1, "without the old deadline");
    assert_eq!(work(&server), "a");
}

#[test]
fn a_cancelled_flow_cancels_everything_and_takes_nothing_more() {
    let server = Server::start();
    for task in ["a", "b"] {
        add(&server, task, "");
    }
    add(&server, "c", "AFTER 1 b ON DONE");
    let fence = fence_of(&server, "a");
    assert_eq!((server.run("LTMC.FLOW.CANCEL f").int(), server.run("LTMC.FLOW.CANCEL f").int()), (1, 0));
    assert_eq!(["a", "b", "c"].map(|task| state(&server, task)), ["running", "cancelled", "cancelled"]);
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).text(), "CANCEL");
    for line in ["LTMC.TASK.ADD f d p", "LTMC.FLOW.RESUME f", "LTMC.TASK.REQUEUE f b"] {
        assert_eq!(server.run(line).error_code(), "BADSTATE", "{line}");
    }
    assert!(is_idle(&server, ""));
    server.run(&format!("LTMC.TASK.FAIL f a {fence} stopped")).text();
    assert_eq!(server.run("LTMC.FLOW.INFO f").get("state").text(), "cancelled");
}

#[test]
fn many_tasks_are_cancelled_in_turns() {
    let server = Server::start();
    let lines: Vec<String> = (0..5_000).map(|n| format!("LTMC.TASK.ADD f t{n} p")).collect();
    server.client().pipeline(&lines);
    server.run("LTMC.TASK.ADD f last p AFTER 1 t0 ON DONE").text();
    let replies = server.client().pipeline(&["LTMC.FLOW.CANCEL f", "PING"]);
    assert_eq!(replies[0].int(), 1);
    wait_until("all are cancelled", || info(&server, "cancelled") == 5_001);
    assert!(server.info_int("ltmc", "ltmc_sweeps") > 5, "not in one go");
}

#[test]
fn an_end_that_many_wait_for_is_told_in_turns() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    server.run("LTMC.FLOW.CREATE f KEEP 100000").ok();
    add(&server, "root", "");
    let lines: Vec<String> = (0..5_000).map(|n| format!("LTMC.TASK.ADD f t{n} p AFTER 1 root")).collect();
    server.client().pipeline(&lines);
    let join: Vec<String> = (0..5_000).map(|n| format!("t{n}")).collect();
    server.run(&format!("LTMC.TASK.ADD f join p AFTER 5000 {} ON DONE", join.join(" "))).text();
    let fence = fence_of(&server, "root");
    let call = format!("LTMC.TASK.FAIL f root {fence} x DEAD");
    let replies = server.client().pipeline(&[&call, "LTMC.TASK.LIST f STATE waiting LIMIT 0 1"]);
    assert_eq!(replies[0].text(), "DEAD");
    assert_eq!(replies[1].array().len(), 1, "some have not been told yet");
    wait_until("all are told", || state(&server, "join") == "ready");
    assert_eq!(info(&server, "skipped"), 5_000);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}
