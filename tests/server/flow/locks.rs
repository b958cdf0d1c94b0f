//! Locks that are taken with a claim and released with it.

use super::*;
use crate::waiting::set_clock;

#[track_caller]
fn holders(server: &Server, lock: &str) -> Vec<String> {
    let shown = server.run(&format!("LTMC.LOCK.INFO {lock}"));
    if shown.is_nil() {
        return Vec::new();
    }
    shown.get("holders").array().iter().map(|holder| holder.get("owner").text().to_string()).collect()
}

#[test]
fn the_locks_of_a_task_are_held_as_long_as_it_runs() {
    let server = Server::start();
    add(&server, "a", "LOCKS 2 m l");
    let reply = server.run("LTMC.TASK.CLAIM f ada PX 50000");
    let locks = reply.array()[0].get("locks").pairs().into_iter().map(|(lock, fence)| (lock.text(), fence.int()));
    let locks: Vec<(&str, i64)> = locks.collect();
    assert_eq!((locks[0].0, locks[1].0), ("l", "m"));
    for (lock, fence) in &locks {
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK {lock} {fence}")).int(), 1);
        assert_eq!(server.run(&format!("LTMC.GUARD {lock} {fence} SET x{lock} 1")).text(), "OK");
        assert_eq!(holders(&server, lock), ["ada"]);
        assert!((40_000..=50_000).contains(&server.run(&format!("PTTL {lock}")).int()));
    }
    let (task, fence) = claimed(&reply);
    set_clock(&server, 40_000);
    server.run(&format!("LTMC.TASK.HEARTBEAT f {task} {fence}")).ok();
    set_clock(&server, 80_000);
    assert_eq!(holders(&server, "l"), ["ada"], "renewed with the lease");
    complete(&server, &task, fence);
    assert_eq!(server.run("EXISTS l m").int(), 0);
}

#[test]
fn every_way_in_which_an_attempt_ends_gives_its_locks_back() {
    for end in [
        "LTMC.TASK.FAIL f a {fence} x",
        "LTMC.TASK.FAIL f a {fence} x DEAD",
        "LTMC.TASK.COMPLETE f a {fence} r",
        "lease",
        "stop",
    ] {
        let server = Server::start();
        add(&server, "a", "LOCKS 1 l");
        let fence = fence_of(&server, "a");
        let mut other = server.client();
        server.block_in_turn(std::slice::from_mut(&mut other), |_| "LTMC.LOCK l bob BLOCK 0".into());
        match end {
            "lease" => set_clock(&server, LEASE_MS + 1),
            "stop" => {
                server.run("LTMC.TASK.CANCEL f a").int();
                set_clock(&server, 10_001);
            }
            line => assert!(!server.run(&line.replace("{fence}", &fence.to_string())).is_error()),
        }
        assert!(other.recv().int() > fence, "{end}: whoever waits for the lock has it");
    }
}

#[test]
fn a_task_whose_lock_is_held_waits_and_does_not_hold_up_others() {
    let server = Server::start();
    let held = server.run("LTMC.LOCK l bob PX 600000").int();
    add(&server, "a", "LOCKS 1 l");
    add(&server, "b", "");
    add(&server, "c", "LOCKS 2 l m");
    add(&server, "d", "LOCKS 1 m");
    assert_eq!((work(&server), work(&server)), ("b".into(), "d".into()));
    assert!(is_idle(&server, ""));
    assert_eq!(why(&server, "a"), "the lock l is held");
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters, |n| format!("LTMC.TASK.CLAIM f w{n} BLOCK 0"));
    assert_eq!(server.run(&format!("LTMC.UNLOCK l bob TOKEN {held}")).int(), 1);
    let (task, fence) = claimed(&waiters[0].recv());
    assert_eq!(task, "a");
    assert_eq!(holders(&server, "l"), ["w0"]);
    complete(&server, "a", fence);
    assert_eq!(claimed(&waiters[1].recv()).0, "c", "one after the other");
}

#[test]
fn the_end_of_a_lock_by_whatever_means_serves_the_task_that_needs_it() {
    for end in ["DEL l", "FLUSHALL", "clock", "LTMC.LOCK.BREAK l"] {
        let server = Server::start();
        server.run("LTMC.LOCK l bob PX 60000").int();
        add(&server, "a", "LOCKS 1 l");
        let mut waiter = server.client();
        server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM f w BLOCK 0".into());
        match end {
            "clock" => set_clock(&server, 60_001),
            line => drop(server.run(line)),
        }
        if end == "FLUSHALL" {
            add(&server, "a", "LOCKS 1 l");
        }
        assert_eq!(claimed(&waiter.recv()).0, "a", "{end}");
    }
}

#[test]
fn two_tasks_of_one_worker_exclude_each_other_and_who_waits_for_the_lock_goes_first() {
    let server = Server::start();
    add(&server, "a", "LOCKS 1 l");
    add(&server, "b", "LOCKS 1 l");
    let first = server.run("LTMC.TASK.CLAIM f w COUNT 2");
    let (task, fence) = claimed(&first);
    let mut bob = server.client();
    server.block_in_turn(std::slice::from_mut(&mut bob), |_| "LTMC.LOCK l bob PX 600000 BLOCK 0".into());
    complete(&server, &task, fence);
    bob.recv().int();
    assert!(is_idle(&server, ""));
    assert_eq!(server.run("LTMC.UNLOCK l bob").int(), 1);
    assert_eq!(work(&server), "b");
}

#[test]
fn a_lock_that_is_no_lock_keeps_its_task_waiting() {
    let server = Server::start();
    server.run("SET l v").ok();
    add(&server, "a", "LOCKS 1 l");
    assert!(is_idle(&server, ""));
    assert_eq!(why(&server, "a"), "the lock l is held");
    server.run("DEL l");
    assert_eq!(work(&server), "a");
}

#[test]
fn the_keys_of_locks_are_keys_of_the_command() {
    let server = Server::start();
    let keys = server.run("COMMAND GETKEYS LTMC.TASK.ADD f a p AFTER 1 b LOCKS 2 l m PRIORITY 1");
    assert_eq!(keys.texts(), ["f", "l", "m"]);
    let keys = server.run("COMMAND GETKEYS LTMC.TASK.CLAIM f w REGISTRY r");
    assert_eq!(keys.texts(), ["f", "r"]);
    let spec = r#"{"tasks":[{"id":"a","locks":["l"]}]}"#;
    let refused = server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", spec]);
    assert!(refused.error().contains("does not name"), "{refused:?}");
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", spec, "LOCKS", "1", "l"]).ok();
    fence_of(&server, "a");
    assert_eq!(holders(&server, "l"), ["w"]);
}

#[test]
fn locks_of_tasks_are_replicated_and_saved_with_them() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    for task in ["a", "b", "c"] {
        add(&server, task, &format!("LOCKS 2 l{task} m{task}"));
    }
    let fence = fence_of(&server, "a");
    fence_of(&server, "b");
    complete(&server, "a", fence);
    replica.wait_synced(&server);
    assert_eq!(holders(&replica, "lb"), ["w"]);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_claim_tries_a_bounded_number_of_locks() {
    let server = Server::start();
    run(&server, "LTMC.LOCK z other PX 600000");
    for task in 0..16 {
        let locks: Vec<String> = (0..31).map(|lock| format!("a{task}-{lock}")).collect();
        add(&server, &format!("held{task}"), &format!("LOCKS 32 {} z", locks.join(" ")));
    }
    add(&server, "free", "LOCKS 1 q");
    assert!(server.run("LTMC.TASK.CLAIM f w").array().is_empty(), "sixteen tasks have all locks that one claim tries");
    run(&server, "LTMC.TASK.CANCEL f held0");
    assert_eq!(claimed(&server.run("LTMC.TASK.CLAIM f w")).0, "free");
}
