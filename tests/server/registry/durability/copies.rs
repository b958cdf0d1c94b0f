//! COPY: the agents are copied as they are, the claims on them are not.

use super::*;

/// An agent of `twin`, the copy of `r`.
#[track_caller]
fn twin(server: &Server, agent: &str) -> Reply {
    run(server, &format!("LTMC.AGENT.GET twin {agent}"))
}

#[test]
fn registries_with_everything_are_copied_in_every_way_and_persisted_everywhere() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_everything(&server);
    let seen = found(&server);
    for key in ["said", "crowd", "claims", "silence", "removed", "damping", "held", "resumed", "suspect"] {
        assert_copied(&server, key);
        let stats = |key: &str| run(&server, &format!("LTMC.AGENT.STATS {key}"));
        let (copy, original) = (stats(&format!("{key}.1")), stats(key));
        assert_eq!(copy.get("claims").int(), 0);
        for field in ["agents", "starting", "active", "idle", "busy", "draining", "suspect", "dead", "damped"] {
            assert_eq!(copy.find(field), original.find(field), "{field} of {key}");
        }
    }
    assert_eq!(found(&server), seen);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_copy_has_the_agents_with_their_epochs_and_nobody_has_claimed_them() {
    let server = Server::start();
    let epoch = register(&server, "a", "CAPACITY 2 CAPS 1 go@1.5 TAGS 1 eu META {\"k\":1}");
    register(&server, "b", "CAPACITY 1");
    run(&server, "LTMC.HEARTBEAT r a STATUS IDLE LOAD 0.25");
    run(&server, "LTMC.HEARTBEAT r b STATUS BUSY HEALTH DEGRADED REASON heat");
    let first = claim(&server, "r", "CAPS 1 go REF job");
    run(&server, &format!("LTMC.AGENT.RELEASE r {first} OUTCOME FAIL LATENCY 70"));
    let fences = [claim(&server, "r", "CAPS 1 go REF job"), claim(&server, "r", "CAPS 1 go REQID once")];
    assert!(server.run("LTMC.AGENT.CLAIM r PX 5 CAPS 1 go").is_nil());
    let before = server.dataset();
    assert_eq!(run(&server, "COPY r twin").int(), 1);
    for (agent, free) in [("a", 2), ("b", 1)] {
        let (original, copy) = (shown(&server, agent), twin(&server, agent));
        let is_other = |name: &str| ["claims", "free", "load", "phi", "holds"].contains(&name);
        for (name, value) in original.pairs().into_iter().filter(|(name, _)| !is_other(name.text())) {
            assert_eq!(copy.get(name.text()), value, "{} of {agent}", name.text());
        }
        assert_eq!((copy.get("claims").array().len(), copy.get("free").int()), (0, free));
    }
    assert_eq!((twin(&server, "a").get("load").text(), shown(&server, "a").get("load").text()), ("0.25", "1"));
    // Whoever has a fence has it from the original.
    assert_eq!(run(&server, &format!("LTMC.AGENT.RELEASE twin {}", fences[0])).int(), 0);
    assert_eq!(server.run("LTMC.AGENT.FIND twin META /k 1 MINFREE 2").texts(), ["a"]);
    let own = claim(&server, "twin", "CAPS 1 go@>=1.2 TAGS 1 eu REQID once");
    assert!(own > fences[1], "fences go on growing, and a request was answered for the original only");
    assert_eq!(run(&server, &format!("LTMC.AGENT.RELEASE r {}", fences[0])).int(), 1);
    assert_eq!(twin(&server, "a").get("free").int(), 1);
    // Both know this incarnation, until it begins anew in one of them.
    run(&server, &format!("LTMC.HEARTBEAT twin a EPOCH {epoch}"));
    let next = run(&server, "LTMC.REGISTER twin a").int();
    assert!(next > own && twin(&server, "a").get("claims").array().is_empty());
    assert_eq!(server.run(&format!("LTMC.HEARTBEAT twin a EPOCH {epoch}")).error_code(), "STALE");
    run(&server, &format!("LTMC.HEARTBEAT r a EPOCH {epoch}"));
    assert_eq!(shown(&server, "a").get("claims").array().len(), 1);
    assert!(server.run("LTMC.REPAIR twin").get("was_broken").int() == 0 && before.len() == 1);
}

#[test]
fn silence_goes_on_in_a_copy_and_a_claim_there_ends_by_itself() {
    let server = Server::start();
    let replica = server.replica();
    server.run("CONFIG SET ltmc.agent-grace-ms 0").ok();
    register(&server, "heard", "TAGS 1 heard");
    register(&server, "silent", "");
    claim(&server, "r", "TAGS 1 heard");
    set_clock(&server, TTL_MS / 2);
    run(&server, "LTMC.HEARTBEAT r heard");
    run(&server, "COPY r twin");
    run(&server, "COPY r twin DB 5");
    run(&server, "LTMC.AGENT.CLAIM twin PX 60000 TAGS 1 heard");
    set_clock(&server, TTL_MS / 2 + 60_001);
    wait_for(&server, "agent.claimexpired", 1);
    set_clock(&server, STEP);
    wait_for(&server, "agent.suspected", 3);
    // Each agent has to send heartbeats to its own registry.
    run(&server, "LTMC.HEARTBEAT twin heard");
    set_clock(&server, TTL_MS + TTL_MS / 2 + 1000);
    wait_for(&server, "agent.suspected", 5);
    let status = |key: &str| server.run(&format!("LTMC.AGENT.GET {key} heard")).get("status").text().to_string();
    assert_eq!((status("r"), status("twin")), ("suspect".into(), "active".into()));
    set_clock(&server, 4 * TTL_MS);
    wait_until("it is silent there, too", || status("twin") == "suspect");
    set_clock(&server, 20 * TTL_MS);
    wait_until("all are gone", || server.info("keyspace").is_empty());
    wait_until("on the replica, too", || replica.info("keyspace").is_empty());
}

#[test]
fn who_waits_at_the_copys_name_claims_there() {
    let server = Server::start();
    register(&server, "a", "");
    claim(&server, "r", "");
    let mut waits = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waits), |_| "LTMC.AGENT.CLAIM twin PX 600000 BLOCK 0".into());
    run(&server, "COPY r twin");
    assert_eq!(waits.recv().array()[0].text(), "a");
    assert_eq!(twin(&server, "a").get("claims").array().len(), 1);
}

#[test]
fn a_large_registry_with_many_claims_is_copied() {
    let server = Server::start();
    let lines: Vec<String> = (0..5000)
        .map(|n| {
            format!(
                "LTMC.REGISTER r a{n} CAPACITY 3 CAPS 2 c{} c{}@{} TAGS 1 t{} PX {FAR_MS}",
                n % 7,
                n % 90,
                n % 4,
                n % 300
            )
        })
        .collect();
    server.client().pipeline(&lines);
    let lines: Vec<String> =
        (0..9000).map(|n| format!("LTMC.AGENT.CLAIM r PX {FAR_MS} CAPS 1 c{} REF j{n}", n % 7)).collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| !reply.is_nil() && !reply.is_error()));
    run(&server, "COPY r twin");
    assert_eq!(run(&server, "LTMC.REPAIR twin").get("was_broken").int(), 0);
    for filter in ["CAPS 1 c5", "CAPS 1 c50@>=1", "TAGS 1 t3"] {
        let listed = |key: &str| {
            let mut ids = server.run(&format!("LTMC.AGENT.FIND {key} {filter}")).texts();
            ids.sort();
            ids
        };
        assert!(listed("twin") == listed("r") && !listed("r").is_empty(), "{filter}");
    }
    run(&server, "UNLINK r");
    assert!(claim(&server, "twin", "CAPS 1 c5") > 0);
}
