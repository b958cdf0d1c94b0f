//! Workers that are agents of a registry, and users that are bound to their names.

use super::*;
use crate::waiting::set_clock;

#[track_caller]
fn register(server: &Server, agent: &str, more: &str) {
    assert!(server.run(&format!("LTMC.REGISTER r {agent} PX 30000 {more}")).int() > 0);
}

#[test]
fn a_registered_worker_gets_what_its_agent_can_do() {
    let server = Server::start();
    add(&server, "a", "CAPS 1 gpu");
    add(&server, "b", "CAPS 1 go@>=1.2");
    assert_eq!(server.run("LTMC.TASK.CLAIM f ada REGISTRY r").error_code(), "NOAGENT");
    register(&server, "ada", "CAPS 1 go@1.3");
    assert_eq!(claim(&server, "ada", "REGISTRY r").0, "b");
    assert!(server.run("LTMC.TASK.CLAIM f ada REGISTRY r").array().is_empty());
    assert_eq!(shown(&server, "b").get("registry").text(), "r");
    assert_eq!(claim(&server, "ada", "REGISTRY r CAPS 1 gpu").0, "a", "or what it says");
}

#[test]
fn it_is_said_if_nobody_alive_could_do_a_task() {
    let server = Server::start();
    add(&server, "a", "CAPS 1 gpu");
    let why = |server: &Server| server.run("LTMC.TASK.GET f a REGISTRY r").get("why").text().to_string();
    assert_eq!(why(&server), "no live agent has gpu");
    register(&server, "ada", "CAPS 1 go");
    assert_eq!(why(&server), "no live agent has gpu");
    register(&server, "bob", "CAPS 1 gpu STATUS STARTING");
    assert_eq!(why(&server), "ready: nobody who has gpu has asked for it yet");
    server.run("LTMC.DEREGISTER r bob");
    assert_eq!(why(&server), "no live agent has gpu");
}

#[test]
fn the_tasks_of_an_agent_that_is_gone_go_to_others_at_once() {
    for end in ["LTMC.DEREGISTER r ada", "LTMC.REGISTER r ada", "silence"] {
        let server = Server::start();
        register(&server, "ada", "");
        server.run("LTMC.REGISTER r bob PX 6000000").int();
        add(&server, "a", "LOCKS 1 l");
        let (_, fence) = claim(&server, "ada", "REGISTRY r");
        let mut other = server.client();
        server.block_in_turn(std::slice::from_mut(&mut other), |_| "LTMC.TASK.CLAIM f bob REGISTRY r BLOCK 0".into());
        match end {
            "silence" => {
                set_clock(&server, 30_001);
                wait_until("it is suspect", || server.info_int("ltmc", "ltmc_event_agent_suspected") == 1);
                assert_eq!(state(&server, "a"), "running", "a suspect keeps its tasks");
                set_clock(&server, 60_001);
            }
            line => assert!(server.run(line).int() > 0),
        }
        let (task, next) = claimed(&other.recv());
        assert!(task == "a" && next > fence, "{end}");
        assert_eq!(shown(&server, "a").get("history").array()[0].get("cause").text(), "agent gone");
        assert_eq!(server.run("LTMC.LOCK.INFO l").get("holders").array()[0].get("owner").text(), "bob");
        assert_eq!(server.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).error_code(), "STALE");
    }
}

#[test]
fn a_promoted_replica_and_a_restarted_server_know_whose_tasks_are_whose() {
    for way in ["failover", "restart", "rename"] {
        let mut server = Server::start();
        let replica = server.replica();
        server.run("LTMC.REGISTER r ada PX 6000000").int();
        add(&server, "a", "");
        claim(&server, "ada", "REGISTRY r");
        let mut flow = "f";
        let server = match way {
            "failover" => {
                replica.wait_synced(&server);
                server.kill();
                replica.promote();
                replica
            }
            "restart" => {
                drop(replica);
                server.restart();
                server
            }
            _ => {
                server.run("RENAME f g").ok();
                flow = "g";
                server
            }
        };
        wait_until("the scheduler has looked at it", || server.run("PING") == Reply::Simple("PONG".into()));
        assert_eq!(server.run("LTMC.DEREGISTER r ada").int(), 1);
        let shown = server.run(&format!("LTMC.TASK.GET {flow} a"));
        assert_eq!(shown.get("state").text(), "ready", "{way}");
    }
}

#[test]
fn a_waiting_worker_whose_agent_dies_is_told_so() {
    let server = Server::start();
    register(&server, "ada", "");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.TASK.CLAIM f ada REGISTRY r BLOCK 0".into());
    server.run("LTMC.DEREGISTER r ada");
    add(&server, "a", "");
    assert_eq!(waiter.recv().error_code(), "NOAGENT");
    assert_eq!(work(&server), "a");
}

#[test]
fn a_bound_user_works_under_its_own_name_only() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.bind-agent-to-user yes").ok();
    server.run("ACL SETUSER ada on >pw ~* +@all").ok();
    server.run("ACL SETUSER bob on >pw ~* +@all").ok();
    let (mut ada, mut bob) = (server.client(), server.client());
    ada.auth("ada", "pw");
    bob.auth("bob", "pw");
    ada.run("LTMC.TASK.ADD f a p").text();
    assert_eq!(ada.run("LTMC.TASK.CLAIM f bob").error_code(), "DENIED");
    let (_, fence) = claimed(&ada.run("LTMC.TASK.CLAIM f ada:1"));
    for line in [
        format!("LTMC.TASK.HEARTBEAT f a {fence}"),
        format!("LTMC.TASK.COMPLETE f a {fence} r"),
        format!("LTMC.TASK.FAIL f a {fence} r"),
    ] {
        assert_eq!(bob.run(&line).error_code(), "DENIED", "{line}");
    }
    ada.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).ok();
    assert_eq!(bob.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).error_code(), "DENIED");
    ada.run(&format!("LTMC.TASK.COMPLETE f a {fence} r")).ok();
}
