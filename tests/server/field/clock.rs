//! The server stands still, or its system's clock is moved.

use crate::harness::*;
use crate::registry::health::{happened, wait_for};
use std::thread;
use std::time::{Duration, Instant};

const HOUR_MS: i64 = 3_600_000;

/// Registers agents whose TTL is a second, and lets them beat until `during` is over.
fn with_beating_agents(server: &Server, during: impl FnOnce()) {
    for agent in 0..5 {
        server.run(&format!("LTMC.REGISTER team a{agent} PX 1000")).int();
    }
    thread::scope(|scope| {
        let beats = scope.spawn(|| {
            let mut client = server.client();
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(10) && server_is_on(&mut client) {
                for agent in 0..5 {
                    client.run(&format!("LTMC.HEARTBEAT team a{agent}")).int();
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        during();
        server.run("SET done 1").ok();
        beats.join().expect("the agents beat");
    });
}

fn server_is_on(client: &mut Client) -> bool {
    client.run("GET done").is_nil()
}

#[track_caller]
fn assert_nobody_is_blamed(server: &Server) {
    for event in ["agent.suspected", "agent.died", "agent.recovered"] {
        assert_eq!(happened(server, event), 0, "{event}");
    }
    assert_eq!(server.run("LTMC.AGENT.FIND team").array().len(), 5);
}

#[test]
fn agents_are_not_blamed_for_a_server_that_was_stopped() {
    let server = Server::start();
    with_beating_agents(&server, || {
        for _ in 0..4 {
            server.freeze(Duration::from_millis(1600));
            assert_nobody_is_blamed(&server);
            thread::sleep(Duration::from_millis(300));
        }
    });
    assert_nobody_is_blamed(&server);
}

#[test]
fn agents_are_not_blamed_for_a_command_that_took_long() {
    let server = Server::start();
    with_beating_agents(&server, || {
        for _ in 0..2 {
            server.run("DEBUG SLEEP 1.6").ok();
            assert_nobody_is_blamed(&server);
        }
        // In one step of the event loop with what comes behind it.
        let mut client = server.client();
        client.send(&["DEBUG", "SLEEP", "1.6"]);
        client.send(&["LTMC.HEARTBEAT", "team", "a0"]);
        client.recv().ok();
        client.recv().int();
        assert_nobody_is_blamed(&server);
    });
}

#[test]
fn agents_are_not_blamed_for_a_clock_that_was_set_forward() {
    let server = Server::start();
    with_beating_agents(&server, || {
        server.run(&format!("LTMC.DEBUG WALL {HOUR_MS}")).ok();
        assert_nobody_is_blamed(&server);
        thread::sleep(Duration::from_millis(500));
    });
    assert_nobody_is_blamed(&server);
    // A silence that is their own counts.
    wait_for(&server, "agent.suspected", 5);
}

#[test]
fn a_worker_keeps_a_task_whose_lease_ended_while_the_server_was_stopped() {
    let server = Server::start();
    server.run("LTMC.TASK.ADD flow t work RETRIES 0").text();
    let claim = server.run("LTMC.TASK.CLAIM flow w PX 1000");
    let fence = claim.array()[0].get("fence").int();
    server.freeze(Duration::from_millis(1600));
    assert_eq!(server.run(&format!("LTMC.TASK.HEARTBEAT flow t {fence}")).text(), "OK");
    // Silence of its own ends it all the same.
    wait_until("the task is dead", || server.run("LTMC.TASK.GET flow t").get("state").text() == "dead");
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK l ada PX 1000").int();
    let mut waits = server.client();
    waits.send_line("LTMC.LOCK l bob PX 1000 BLOCK 60000");
    let mut gives_up = server.client();
    gives_up.send_line("LTMC.TASK.CLAIM flow w BLOCK 1000");
    server.wait_blocked(2);
    let began = Instant::now();
    server.run(&format!("LTMC.DEBUG WALL -{HOUR_MS}")).ok();
    assert!(waits.recv().int() > fence, "ada's lease has ended");
    assert!({
        let reply = gives_up.recv();
        reply.is_nil() || reply.array().is_empty()
    });
    assert!(began.elapsed() < PATIENCE, "both waited for the clock");
    // What is granted from now on ends in time as well, though Redis' clock is behind.
    wait_until("bob's lease has ended", || !server.run("LTMC.LOCK l cy PX 50").is_nil());
    let pttl = server.run("PTTL l").int();
    assert!((-2..=50).contains(&pttl), "{pttl} ms");
}

#[test]
fn fences_grow_though_the_clock_is_set_back() {
    let server = Server::start();
    let first = server.run("LTMC.LOCK l ada PX 60000").int();
    server.run("LTMC.UNLOCK l ada").int();
    server.run(&format!("LTMC.DEBUG WALL -{HOUR_MS}")).ok();
    assert!(server.run("LTMC.LOCK l ada PX 60000").int() > first);
}
