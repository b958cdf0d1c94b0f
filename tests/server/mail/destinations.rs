//! Who receives a message.

use super::*;
use crate::waiting::{set_clock, waiting};

/// The agents that have a message in their inbox.
#[track_caller]
fn receivers(server: &Server, id: i64) -> Vec<String> {
    let shown = server.run(&format!("LTMC.MSG.GET m {id}"));
    shown.get("receivers").array().iter().map(|one| one.get("agent").text().to_string()).collect()
}

#[test]
fn a_capability_means_the_agent_that_find_by_load_names_first() {
    let server = Server::start();
    for (agent, caps, load) in [
        ("a", "go@1.1", "0.9"),
        ("b", "go@1.2", "0.2"),
        ("c", "go@1.5", "0.4"),
        ("d", "rust", "0"),
        ("me", "go@2", "0"),
    ] {
        server.run(&format!("LTMC.REGISTER r {agent} CAPS 1 {caps} PX 600000")).int();
        server.run(&format!("LTMC.HEARTBEAT r {agent} LOAD {load}")).int();
    }
    for (cap, expected) in [("go", "b"), ("go@>=1.3", "c"), ("go@1.1", "a"), ("rust", "d")] {
        let found = server.run(&format!("LTMC.AGENT.FIND r CAPS 1 {cap} EXCLUDE 1 me SORT LOAD LIMIT 1")).texts();
        let id = send(&server, &format!("me CAP {cap} REGISTRY r work"));
        assert_eq!(receivers(&server, id), found);
        assert_eq!(found, [expected], "{cap}: never the sender itself");
    }
    server.run("LTMC.HEARTBEAT r b HEALTH FAILED").int();
    let id = send(&server, "me CAP go REGISTRY r work");
    assert_eq!(receivers(&server, id), ["c"], "who has failed is offered no work");
}

#[test]
fn a_message_to_nobody_is_refused_and_changes_nothing() {
    let server = Server::start();
    server.run("LTMC.REGISTER r me CAPS 1 go PX 600000").int();
    server.run("LTMC.REGISTER r other CAPS 1 rust PX 600000").int();
    server.run("LTMC.MSG.JOIN m me").int();
    let before = server.debug_digest();
    for line in ["CAP go REGISTRY r", "CAP go REGISTRY none", "REGISTRY none", "ALL"] {
        let reply = server.run(&format!("LTMC.MSG.SEND m me {line} hello"));
        assert_eq!(reply.error_code(), "NOAGENT", "{line}: {reply:?}");
    }
    assert_eq!(server.debug_digest(), before);
}

#[test]
fn a_registry_means_all_who_are_not_dead_but_the_sender() {
    let server = Server::start();
    for (agent, more) in [("a", "PX 1000"), ("b", "PX 1500"), ("c", "STATUS STARTING PX 600000"), ("me", "PX 600000")] {
        server.run(&format!("LTMC.REGISTER r {agent} {more}")).int();
    }
    server.run("CONFIG SET ltmc.agent-grace-ms 1000000").ok();
    set_clock(&server, 2100);
    wait_for(&server, "agent.suspected", 2);
    wait_for(&server, "agent.died", 1);
    let id = send(&server, "me REGISTRY r all-of-you");
    let shown = server.run("LTMC.AGENT.LIST r STATUS dead").texts();
    assert_eq!(shown, ["a"]);
    assert_eq!(receivers(&server, id), ["b", "c"]);
}

#[test]
fn all_means_who_has_joined_who_has_messages_and_who_waits() {
    let server = Server::start();
    server.run("LTMC.MSG.JOIN m member").int();
    send(&server, "x TO 1 reader first");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.MSG.RECV m waiter BLOCK 0".into());
    let id = send(&server, "me ALL hello");
    assert_eq!(receivers(&server, id), ["member", "reader", "waiter"]);
    assert_eq!(payloads(waiter.recv().array()), ["hello"]);
    let id = send(&server, "member ALL again");
    assert_eq!(receivers(&server, id), ["reader", "waiter"], "the sender does not get it");
    assert_eq!(waiting(&server), 0);
}

#[test]
fn who_has_joined_keeps_the_mailbox_until_it_leaves() {
    let server = Server::start();
    let call = |line: &str| server.run(&format!("LTMC.MSG.{line}")).int();
    assert_eq!((call("JOIN m bob"), call("JOIN m bob")), (1, 0));
    let id = send(&server, "ada ALL one");
    recv(&server, "bob");
    assert_eq!(ack(&server, "bob", &[id]), 1);
    assert_eq!(server.run("EXISTS m").int(), 1, "bob takes part in it");
    send(&server, "ada TO 2 bob eve two");
    send(&server, "ada TO 1 bob three");
    recv(&server, "bob");
    assert_eq!((call("LEAVE m bob"), call("LEAVE m bob"), call("LEAVE m nobody")), (1, 0, 0));
    assert!(recv(&server, "bob COUNT 9").is_empty(), "what was in its inbox is gone");
    assert_eq!(info(&server, "messages"), 1);
    assert_eq!(call("LEAVE m eve"), 1, "whoever has an inbox can leave");
    assert_eq!(server.run("EXISTS m").int(), 0);
    assert_eq!(call("LEAVE m eve"), 0);
}

#[test]
fn words_are_told_from_agents_and_payloads_by_where_they_stand() {
    let server = Server::start();
    let id = send(&server, "all TO 2 ALL TO REGISTRY PX 60000");
    assert_eq!(receivers(&server, id), ["ALL", "TO"]);
    assert_eq!(read(&server, "TO"), ["REGISTRY"]);
    let cluster = Cluster::start(2);
    // Only a key is a key, or these would be in several slots.
    for line in [
        "LTMC.MSG.SEND {t}:m a TO 1 b registry PX 60000",
        "LTMC.MSG.SEND {t}:m a TO 3 REGISTRY x y hello",
        "LTMC.MSG.SEND {t}:m a ALL registry PX 60000",
    ] {
        let reply = cluster.client_of("{t}:m").run(line);
        assert!(reply.int() > 0, "{line}: {reply:?}");
    }
    let reply = cluster.client_of("{t}:m").run("LTMC.MSG.SEND {t}:m a REGISTRY {other}:r hello");
    assert_eq!(reply.error_code(), "CROSSSLOT", "{reply:?}");
    assert_eq!(cluster.client_of("{t}:m").run("LTMC.MSG.SEND {t}:m a CAP x REGISTRY {t}:r hi").error_code(), "NOAGENT");
}
