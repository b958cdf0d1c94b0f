//! Services that are switched off: they answer DISABLED, their data stays, and its replication
//! continues.

use crate::harness::*;
use crate::waiting::{assert_idle, set_clock};

/// The switch of each service, a command that writes to it, and one that reads what was written.
const SERVICES: &[(&str, &str, &str)] = &[
    ("agent-registry-enabled", "LTMC.REGISTER r ada PX 60000", "LTMC.AGENT.GET r ada"),
    ("context-coordination-enabled", "LTMC.CTX.CREATE c DOC {}", "LTMC.CTX.GET c"),
    ("memory-locking-enabled", "LTMC.LOCK l ada PX 60000", "LTMC.LOCK.INFO l"),
    ("orchestration-enabled", "LTMC.TASK.ADD f t p", "LTMC.FLOW.INFO f"),
    ("orchestration-enabled", "LTMC.MSG.SEND m boss TO 1 ada hello", "LTMC.MSG.INFO m"),
    ("tool-cache-enabled", "LTMC.CACHE.PUT k tool {} value", "LTMC.CACHE.STATS k"),
    ("chunk-buffer-enabled", "LTMC.CHUNK.PUT b c data", "LTMC.CHUNK.INFO b c"),
    ("session-state-enabled", "LTMC.SESSION.SET s field value", "LTMC.SESSION.GET s field"),
];

#[track_caller]
fn switch(server: &Server, name: &str, to: &str) {
    server.run(&format!("CONFIG SET ltmc.{name} {to}")).ok();
}

#[test]
fn every_command_of_a_disabled_service_says_so() {
    let server = Server::start();
    let listed = server.run("COMMAND LIST FILTERBY MODULE ltmc").texts();
    let service_of = |name: &str| match name.split('.').nth(1).unwrap_or_default() {
        "register" | "deregister" | "heartbeat" | "agent" => Some("agent-registry-enabled"),
        "lock" | "unlock" | "mlock" | "guard" => Some("memory-locking-enabled"),
        "ctx" => Some("context-coordination-enabled"),
        "session" => Some("session-state-enabled"),
        "cache" => Some("tool-cache-enabled"),
        "chunk" => Some("chunk-buffer-enabled"),
        "flow" | "task" | "msg" => Some("orchestration-enabled"),
        _ => None,
    };
    let mut switched = 0;
    for name in listed.iter().map(|name| name.to_ascii_lowercase()) {
        let Some(setting) = service_of(&name) else { continue };
        switch(&server, setting, "no");
        let arity = server.cmd(&["COMMAND", "INFO", &name]).array()[0].array()[1].int();
        let mut words = vec![name.clone()];
        words.extend((1..arity.abs()).map(|_| "1".to_string()));
        let reply = server.cmd(&words);
        assert_eq!(reply.error_code(), "DISABLED", "{name}: {reply:?}");
        assert!(reply.error().contains(&format!("ltmc.{setting}")), "{reply:?}");
        switch(&server, setting, "yes");
        let again = server.cmd(&words);
        assert!(!again.is_error() || again.error_code() != "DISABLED", "{name}: {again:?}");
        switched += 1;
    }
    assert!(switched > 90, "{switched}");
    for line in ["LTMC.STATUS", "PING"] {
        assert!(!server.run(line).is_error());
    }
}

#[test]
fn data_of_a_disabled_service_stays() {
    for (setting, write, read) in SERVICES {
        let mut server = Server::builder().durable().start();
        let replica = server.replica();
        assert!(!server.run(write).is_error(), "{write}");
        let before = format!("{:?}", server.run(read));
        switch(&server, setting, "no");
        switch(&replica, setting, "no");
        assert_eq!(server.run(write).error_code(), "DISABLED");
        assert_eq!(server.run(read).error_code(), "DISABLED");
        assert_eq!(replica.run(read).error_code(), "DISABLED");
        replica.wait_synced(&server);
        assert_same("the replica", &server.dataset(), &replica.dataset());
        server.debug_reload();
        server.run("CONFIG REWRITE").ok();
        server.restart();
        assert_eq!(server.run(read).error_code(), "DISABLED", "{setting} after a restart");
        switch(&server, setting, "yes");
        let after = server.run(read);
        assert!(!after.is_error() && !after.is_nil(), "{read}: {before} {after:?}");
    }
}

#[test]
fn a_replica_with_a_disabled_service_still_follows() {
    let server = Server::start();
    let replica = server.replica();
    for (setting, ..) in SERVICES {
        switch(&replica, setting, "no");
    }
    for (_, write, _) in SERVICES {
        assert!(!server.run(write).is_error());
    }
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
    for (setting, _, read) in SERVICES {
        switch(&replica, setting, "yes");
        assert!(!replica.run(read).is_error(), "{read}");
    }
}

#[test]
fn who_waits_for_something_of_a_service_is_told_that_it_is_switched_off() {
    let server = Server::start();
    server.run("LTMC.LOCK l ada PX 600000").int();
    server.run("LTMC.CACHE.GET k tool {} LEASE 600000");
    let lines = [
        ("memory-locking-enabled", "LTMC.LOCK l bob BLOCK 0"),
        ("memory-locking-enabled", "LTMC.MLOCK eve 2 l l2 BLOCK 0"),
        ("agent-registry-enabled", "LTMC.AGENT.CLAIM r PX 1000 BLOCK 0"),
        ("orchestration-enabled", "LTMC.TASK.CLAIM f w BLOCK 0"),
        ("orchestration-enabled", "LTMC.MSG.RECV m w BLOCK 0"),
        ("tool-cache-enabled", "LTMC.CACHE.GET k tool {} BLOCK 0"),
    ];
    let mut waiters = server.clients(lines.len());
    server.block_in_turn(&mut waiters, |n| lines[n].1.into());
    for ((setting, line), waiter) in lines.iter().zip(&mut waiters) {
        switch(&server, setting, "no");
        assert_eq!(waiter.recv().error_code(), "DISABLED", "{line}");
    }
    assert_idle(&server);
}

#[test]
fn time_stands_still_for_a_disabled_service() {
    let server = Server::start();
    server.run("LTMC.REGISTER r ada PX 60000").int();
    server.run("LTMC.TASK.ADD f t p").text();
    let fence = server.run("LTMC.TASK.CLAIM f w PX 60000").array()[0].get("fence").int();
    switch(&server, "agent-registry-enabled", "no");
    switch(&server, "orchestration-enabled", "no");
    set_clock(&server, 600_000);
    // A key that is looked at after everything that is due.
    server.run("LTMC.LOCK l ada PX 1000").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK l bob BLOCK 0".into());
    set_clock(&server, 602_000);
    assert!(waiter.recv().int() > 0);
    for setting in ["agent-registry-enabled", "orchestration-enabled"] {
        switch(&server, setting, "yes");
    }
    // What was due meanwhile is decided now, except for agents: they could not send heartbeats, and
    // get one TTL.
    wait_until("the lease is over", || server.run("LTMC.TASK.GET f t").get("state").text() != "running");
    assert_eq!(server.run(&format!("LTMC.TASK.COMPLETE f t {fence} done")).error_code(), "STALE");
    assert_eq!(server.run("LTMC.AGENT.GET r ada").get("status").text(), "active");
    assert_eq!(server.info_int("ltmc", "ltmc_event_agent_died"), 0);
}

#[test]
fn a_task_that_needs_locks_waits_for_the_locks_to_be_switched_on() {
    let server = Server::start();
    server.run("LTMC.TASK.ADD f t p LOCKS 1 l").text();
    switch(&server, "memory-locking-enabled", "no");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM f w BLOCK 0".into());
    assert_eq!(server.run("EXISTS l").int(), 0);
    switch(&server, "memory-locking-enabled", "yes");
    let task = waiter.recv();
    assert_eq!(task.array()[0].get("task").text(), "t");
    let fence = task.array()[0].get("fence").int();
    switch(&server, "memory-locking-enabled", "no");
    server.run(&format!("LTMC.TASK.COMPLETE f t {fence} done")).ok();
    assert_eq!(server.run("EXISTS l").int(), 0, "what is given back is given back");
}

#[test]
fn what_a_dead_agent_held_of_a_disabled_service_goes_back_too() {
    let server = Server::builder().arg("ltmc.orchestration-mode", "full").start();
    server.run("LTMC.REGISTER r ada").int();
    server.run("LTMC.LOCK l ada PX 600000 REGISTRY r").int();
    switch(&server, "memory-locking-enabled", "no");
    server.run("LTMC.DEREGISTER r ada").int();
    assert_eq!(server.run("EXISTS l").int(), 0);
}
