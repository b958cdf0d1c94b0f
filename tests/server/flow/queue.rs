//! A flow without edges: order, priority, delay, retries, groups, bounds.

use super::*;
use crate::waiting::set_clock;

#[test]
fn tasks_are_handed_out_in_the_order_in_which_they_came() {
    let server = Server::start();
    for task in ["a", "b", "c"] {
        add(&server, task, "");
    }
    let first = server.run("LTMC.TASK.CLAIM f w PX 5000");
    let task = &first.array()[0];
    assert_eq!((task.get("task").text(), task.get("payload").text()), ("a", "p-a"));
    assert_eq!((task.get("attempt").int(), task.get("lease_ms").int()), (1, 5000));
    assert!(task.get("signal").is_nil() && task.get("group").is_nil() && task.get("deadline_at_ms").is_nil());
    let rest = server.run("LTMC.TASK.CLAIM f w COUNT 5");
    let rest: Vec<&str> = rest.array().iter().map(|task| task.get("task").text()).collect();
    assert_eq!(rest, ["b", "c"]);
    assert!(is_idle(&server, ""));
    assert!(server.run("LTMC.TASK.CLAIM none w").array().is_empty(), "no flow, no task");
}

#[test]
fn a_task_without_a_name_gets_one() {
    let server = Server::start();
    let names: Vec<String> = (0..3).map(|_| server.run("LTMC.TASK.ADD f * p").text().to_string()).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(server.run("LTMC.TASK.LIST f").texts(), names);
    assert_eq!(claim(&server, "w", "").0, names[0]);
}

#[test]
fn a_completed_task_has_one_result_and_the_same_call_again_the_same_answer() {
    let server = Server::start();
    add(&server, "a", "");
    let fence = fence_of(&server, "a");
    let stale = server.run(&format!("LTMC.TASK.COMPLETE f a {} other", fence - 2));
    assert_eq!(stale.error_code(), "STALE");
    for _ in 0..3 {
        server.run(&format!("LTMC.TASK.COMPLETE f a {fence} 42")).ok();
    }
    let other = server.run(&format!("LTMC.TASK.COMPLETE f a {fence} 43"));
    assert_eq!(other.error_code(), "BADSTATE");
    let late = server.run(&format!("LTMC.TASK.FAIL f a {fence} late"));
    assert_eq!(late.error_code(), "STALE");
    let shown = shown(&server, "a");
    assert_eq!((shown.get("state").text(), shown.get("result").text()), ("succeeded", "42"));
    assert_eq!((shown.get("agent").text(), shown.get("fence").int()), ("w", fence));
    assert_eq!(info(&server, "succeeded"), 1);
}

#[test]
fn next_hands_out_the_next_task_in_the_same_call_and_again_if_it_is_repeated() {
    let server = Server::start();
    for task in ["a", "b", "x"] {
        add(&server, task, if task == "x" { "CAPS 1 rust" } else { "CAPS 1 go" });
    }
    let (_, fence) = claim(&server, "w", "CAPS 1 go");
    let call = format!("LTMC.TASK.COMPLETE f a {fence} r NEXT");
    let (next, next_fence) = claimed(&server.run(&call));
    assert_eq!(next, "b", "the same worker can do the same as before");
    assert_eq!(claimed(&server.run(&call)), (next, next_fence), "the answer got lost");
    let last = format!("LTMC.TASK.COMPLETE f b {next_fence} r NEXT");
    assert!(server.run(&last).array().is_empty());
    assert!(server.run(&call).array().is_empty(), "that one is over meanwhile");
    assert_eq!(state(&server, "x"), "ready");
}

#[test]
fn priority_is_a_head_start_and_age_catches_up() {
    let server = Server::start();
    add(&server, "old", "");
    add(&server, "urgent", "PRIORITY 5");
    assert_eq!(work(&server), "urgent");
    assert_eq!(work(&server), "old");
    add(&server, "older", "");
    set_clock(&server, 6_000);
    add(&server, "late", "PRIORITY 5");
    assert_eq!(work(&server), "older", "it waits for longer than five seconds");
}

#[test]
fn a_delayed_task_is_ready_when_its_time_comes() {
    let server = Server::start();
    add(&server, "a", "DELAY 60000");
    assert_eq!(state(&server, "a"), "delayed");
    assert!(why(&server, "a").ends_with(" ms, until its delay is over"), "{}", why(&server, "a"));
    assert!(is_idle(&server, ""));
    set_clock(&server, 60_001);
    assert_eq!(work(&server), "a");
}

#[test]
fn a_failed_task_is_tried_again_until_its_attempts_are_used_up() {
    let server = Server::start();
    add(&server, "a", "RETRIES 1 BACKOFF FIXED 5000");
    let fence = fence_of(&server, "a");
    let call = format!("LTMC.TASK.FAIL f a {fence} disk");
    assert_eq!(server.run(&call).text(), "RETRY");
    assert_eq!(server.run(&call).text(), "RETRY", "the same call again");
    assert!(why(&server, "a").ends_with(" ms for its next attempt after a failure of attempt 1: disk"));
    assert!(is_idle(&server, ""));
    set_clock(&server, 5_001);
    let again = fence_of(&server, "a");
    assert_eq!(server.run(&call).error_code(), "STALE");
    let call = format!("LTMC.TASK.FAIL f a {again} memory RETRY");
    assert_eq!((server.run(&call).text(), server.run(&call).text()), ("DEAD", "DEAD"));
    let shown = shown(&server, "a");
    assert_eq!(shown.get("state").text(), "dead");
    assert_eq!(shown.get("reason").text(), "memory");
    let history: Vec<(&str, &str, &str)> = shown
        .get("history")
        .array()
        .iter()
        .map(|attempt| (attempt.get("agent").text(), attempt.get("cause").text(), attempt.get("reason").text()))
        .collect();
    assert_eq!(history, [("w", "failed", "disk"), ("w", "failed", "memory")]);
}

#[test]
fn who_says_dead_ends_it_at_once_and_a_lost_lease_is_an_attempt() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.task-retries 1").ok();
    add(&server, "a", "");
    add(&server, "b", "LEASE 1000");
    let fence = fence_of(&server, "a");
    assert_eq!(server.run(&format!("LTMC.TASK.FAIL f a {fence} no DEAD")).text(), "DEAD");
    let mut clock = 0;
    for attempt in 1..=2 {
        let reply = server.run("LTMC.TASK.CLAIM f w");
        assert_eq!(reply.array()[0].get("attempt").int(), attempt);
        clock += 1_500;
        set_clock(&server, clock);
        wait_until("the lease is over", || state(&server, "b") != "running");
    }
    assert_eq!(state(&server, "b"), "dead");
    let history = shown(&server, "b").get("history").array().len();
    assert_eq!(history, 2);
}

#[test]
fn exponential_pauses_grow_and_are_bounded() {
    let server = Server::start();
    add(&server, "a", "RETRIES 20 BACKOFF EXP 1000 MAX 4000");
    let mut clock = 0;
    for full in [1000, 2000, 4000, 4000] {
        let fence = fence_of(&server, "a");
        server.run(&format!("LTMC.TASK.FAIL f a {fence} x")).text();
        let shown = shown(&server, "a");
        let last = shown.get("history").array().last().expect("an attempt").get("ended_at_ms").int();
        let pause = shown.get("not_before_at_ms").int() - last;
        assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        clock += 4_001;
        set_clock(&server, clock);
        wait_until("it is ready", || state(&server, "a") == "ready");
    }
}

#[test]
fn a_heartbeat_gives_the_lease_anew_and_says_how_far_it_is() {
    let server = Server::start();
    add(&server, "a", "LEASE 10000");
    let (_, fence) = claimed(&server.run("LTMC.TASK.CLAIM f w"));
    for step in 1..=4 {
        set_clock(&server, step * 8_000);
        server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence} PROGRESS {} step-{step}", step * 20)).ok();
    }
    let shown = shown(&server, "a");
    assert_eq!((shown.get("progress").int(), shown.get("note").text()), (80, "step-4"));
    server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).ok();
    complete(&server, "a", fence);
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT f a {fence}")).error_code(), "STALE");
}

#[test]
fn capabilities_decide_who_gets_what() {
    let server = Server::start();
    add(&server, "a", "CAPS 2 gpu python@>=3.9");
    add(&server, "b", "CAPS 1 python");
    add(&server, "c", "");
    assert_eq!(claim(&server, "w", "CAPS 1 gpu").0, "c");
    assert_eq!(claim(&server, "w", "CAPS 2 gpu python@3.8").0, "b");
    assert!(is_idle(&server, "CAPS 2 gpu python@3.8"));
    assert_eq!(why(&server, "a"), "ready: nobody who has gpu, python@>=3.9 has asked for it yet");
    assert_eq!(claim(&server, "w", "CAPS 2 gpu python@3.10").0, "a");
}

#[test]
fn a_group_runs_no_more_than_it_may_and_the_flow_neither() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f GROUPMAX 1 MAXACTIVE 3").ok();
    for task in ["g1", "g2"] {
        add(&server, task, "GROUP g");
    }
    add(&server, "h1", "GROUP h");
    add(&server, "a", "");
    add(&server, "b", "");
    let fence = fence_of(&server, "g1");
    assert_eq!(claim(&server, "w", "").0, "h1", "g is full");
    assert_eq!(why(&server, "g2"), "group g is full: 1 of 1 run");
    assert_eq!(claim(&server, "w", "").0, "a");
    assert!(is_idle(&server, ""));
    assert_eq!(why(&server, "b"), "the flow is full: 3 of 3 run");
    complete(&server, "g1", fence);
    assert_eq!(claim(&server, "w", "").0, "g2");
}

#[test]
fn a_rate_allows_so_many_claims_in_a_time() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f RATE 2 60000").ok();
    for task in ["a", "b", "c", "d"] {
        add(&server, task, "");
    }
    assert_eq!(server.run("LTMC.TASK.CLAIM f w COUNT 5").array().len(), 2);
    assert!(is_idle(&server, ""));
    assert!(why(&server, "c").starts_with("rate limit: the next claim may be made at "));
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM f w BLOCK 0".into());
    set_clock(&server, 60_001);
    assert_eq!(claimed(&waiter.recv()).0, "c", "who waits gets it when the rate allows");
    assert_eq!(work(&server), "d");
}

#[test]
fn what_has_ended_is_forgotten_when_there_is_too_much_of_it() {
    let server = Server::start();
    server.run("LTMC.FLOW.CREATE f KEEP 2").ok();
    for n in 0..6 {
        add(&server, &format!("t{n}"), "");
    }
    for _ in 0..5 {
        work(&server);
    }
    assert_eq!(server.run("LTMC.TASK.LIST f").texts(), ["t3", "t4", "t5"]);
    assert!(shown(&server, "t0").is_nil());
    assert_eq!((info(&server, "total_succeeded"), info(&server, "tasks"), info(&server, "progress")), (5, 3, 83));
    add(&server, "t0", "");
}

#[test]
fn a_request_that_is_sent_again_adds_and_claims_once() {
    let server = Server::start();
    for _ in 0..2 {
        server.run("LTMC.FLOW.CREATE f MAXACTIVE 9 REQID c").ok();
    }
    assert_eq!(server.run("LTMC.FLOW.CREATE f REQID d").error_code(), "BADSTATE");
    let ids: Vec<Reply> = (0..2).map(|_| server.run("LTMC.TASK.ADD f * p REQID a")).collect();
    assert_eq!(ids[0], ids[1]);
    add(&server, "b", "");
    let claims: Vec<Reply> = (0..2).map(|_| server.run("LTMC.TASK.CLAIM f w COUNT 2 REQID k")).collect();
    assert_eq!(claims[0], claims[1]);
    assert_eq!(claims[0].array().len(), 2);
    let fence = claims[0].array()[1].get("fence").int();
    complete(&server, "b", fence);
    assert_eq!(server.run("LTMC.TASK.CLAIM f w COUNT 2 REQID k").array().len(), 1, "what is over is left out");
    assert_eq!(info(&server, "total_claimed"), 2);
}

#[test]
fn tasks_are_listed_by_state_and_in_pages() {
    let server = Server::start();
    for task in ["a", "b", "c", "d"] {
        add(&server, task, "");
    }
    work(&server);
    fence_of(&server, "b");
    assert_eq!(server.run("LTMC.TASK.LIST f STATE ready").texts(), ["c", "d"]);
    assert_eq!(server.run("LTMC.TASK.LIST f STATE SUCCEEDED").texts(), ["a"]);
    assert_eq!(server.run("LTMC.TASK.LIST f STATE running").texts(), ["b"]);
    assert_eq!(server.run("LTMC.TASK.LIST f LIMIT 1 2").texts(), ["b", "c"]);
    assert!(server.run("LTMC.TASK.LIST none").array().is_empty());
}

#[test]
fn a_claim_that_fills_many_groups_of_many_lines_ends_early() {
    let server = Server::start();
    for (setting, max) in [("flow-spec-tasks-max", 20_000), ("flow-spec-bytes-max", 1 << 24)] {
        server.run(&format!("CONFIG SET ltmc.{setting} {max}")).ok();
    }
    let (groups, sets) = (20, 900);
    let task = |group: usize, set: usize| format!(r#"{{"id":"{set}-{group}","caps":["c{set}"],"group":"g{group}"}}"#);
    let tasks: Vec<String> = (0..sets).flat_map(|set| (0..groups).map(move |group| task(group, set))).collect();
    let spec = format!(r#"{{"tasks":[{}]}}"#, tasks.join(","));
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", &spec, "GROUPMAX", "1"]).ok();
    let claimed = |server: &Server| server.run("LTMC.TASK.CLAIM f w COUNT 1000 CAPS 1 c0").array().len();
    // The one that passes the bound is the last.
    assert_eq!((claimed(&server), claimed(&server), claimed(&server)), (12, 8, 0));
}
