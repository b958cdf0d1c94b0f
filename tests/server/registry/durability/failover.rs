//! Failover, restart, reload, restore: no agent is blamed for silence that this node did not hear.

use super::*;

/// Moves the clock of a node in any role.
#[track_caller]
fn clock(server: &Server, offset: i64) {
    // Redis considers `LTMC.DEBUG` a write.
    server.run("CONFIG SET replica-read-only no").ok();
    set_clock(server, offset);
}

/// Three agents and a claim.
fn team(server: &Server) {
    for agent in ["a", "b", "c"] {
        register(server, agent, "");
    }
    run(server, &format!("LTMC.AGENT.CLAIM r PX {FAR_MS}"));
}

/// No agent was suspected or died by now, though all seem to have been silent for long. From
/// `loaded_ms` on they have one TTL. `offset` is the current offset of the clock.
#[track_caller]
fn has_grace(server: &Server, offset: i64, way: &str) {
    let at = |name: &str| shown(server, "b").get(name).int();
    let loaded_ms = at("suspect_at_ms") - TTL_MS;
    assert!(loaded_ms > at("heartbeat_at_ms") + TTL_MS, "{way}: this test is about long silence");
    assert_eq!(server.run("LTMC.AGENT.LIST r STATUS active").array().len(), 3, "{way}");
    // Almost to the end of the grace: one of them sends a heartbeat, and the others still need not.
    clock(server, offset + TTL_MS - 10_000);
    run(server, "LTMC.HEARTBEAT r a");
    clock(server, offset + TTL_MS + 10_000);
    wait_until("the others are suspect", || server.run("LTMC.AGENT.STATS r").get("total_suspected").int() == 2);
    let all = story(server, "r");
    for suspected in named(&all, "agent.suspected") {
        assert!(number(suspected, "at_ms") >= loaded_ms + TTL_MS, "{way}: {suspected}");
        assert_ne!(suspected["agent"], "a", "{way}");
    }
    assert!(named(&all, "agent.died").is_empty(), "{way}: {all:?}");
    clock(server, offset + TTL_MS + TTL_MS / 2);
    run(server, "LTMC.HEARTBEAT r a");
    clock(server, offset + 2 * TTL_MS + 20_000);
    wait_until("and then they die", || server.run("LTMC.AGENT.STATS r").get("total_died").int() == 2);
    assert_eq!(shown(server, "a").get("status").text(), "active", "{way}");
}

#[test]
fn a_failover_kills_nobody() {
    let mut primary = Server::start();
    let replica = primary.replica();
    team(&primary);
    // Plain heartbeats, which the replica does not hear of.
    primary.client().pipeline(&["LTMC.HEARTBEAT r a", "LTMC.HEARTBEAT r b", "LTMC.HEARTBEAT r c"]);
    replica.wait_synced(&primary);
    primary.kill();
    clock(&replica, 10 * TTL_MS);
    assert_eq!(super::super::health::count(&replica, "r", "suspect"), 3, "what a replica shows");
    replica.promote();
    has_grace(&replica, 10 * TTL_MS, "failover");
}

#[test]
fn a_suspect_gets_a_time_to_live_from_its_new_primary() {
    let mut primary = Server::start();
    let replica = primary.replica();
    register(&primary, "a", "CAPACITY 2");
    run(&primary, &format!("LTMC.AGENT.CLAIM r PX {FAR_MS}"));
    set_clock(&primary, STEP);
    wait_for(&primary, "agent.suspected", 1);
    replica.wait_synced(&primary);
    primary.kill();
    // Long after its death was due.
    clock(&replica, 10 * TTL_MS);
    replica.promote();
    clock(&replica, 11 * TTL_MS - 10_000);
    let agent = shown(&replica, "a");
    assert_eq!((agent.get("status").text(), agent.get("claims").array().len()), ("suspect", 1));
    run(&replica, "LTMC.HEARTBEAT r a");
    assert_eq!(shown(&replica, "a").get("status").text(), "active");
    assert_eq!(happened(&replica, "agent.died"), 0);
}

#[test]
fn a_restart_kills_nobody_however_long_it_took() {
    for is_crash in [false, true] {
        let spec = if is_crash { Server::builder().durable() } else { Server::builder() };
        let mut server = spec.start();
        // The clock of the next process is right again, as if ten TTLs had passed meanwhile.
        set_clock(&server, -10 * TTL_MS);
        team(&server);
        if is_crash {
            server.crash_and_restart();
        } else {
            server.restart();
        }
        has_grace(&server, 0, if is_crash { "crash" } else { "restart" });
    }
}

#[test]
fn loading_older_data_kills_nobody() {
    let server = Server::builder().durable().start();
    for way in ["DEBUG RELOAD", "DEBUG LOADAOF", "DEBUG RELOAD NOSAVE", "RESTORE", "RESTORE REPLACE"] {
        set_clock(&server, 0);
        server.run("FLUSHALL").ok();
        team(&server);
        let mut client = server.client();
        let dump = client.cmd(&["DUMP", "r"]);
        server.run("SAVE").ok();
        // In one go, so that the scheduler has no turn before the load.
        let clock = format!("LTMC.DEBUG CLOCK {}", 10 * TTL_MS);
        if way.starts_with("RESTORE") {
            let first = if way == "RESTORE" { "DEL r" } else { "PING" };
            client.pipeline(&[first, &clock]);
            let restore = [b"RESTORE".as_slice(), b"r", b"0", dump.bytes(), b"REPLACE"];
            client.cmd(&restore[..if way == "RESTORE" { 4 } else { 5 }]).ok();
        } else {
            client.pipeline(&[clock.as_str(), way]);
        }
        has_grace(&server, 10 * TTL_MS, way);
    }
}

#[test]
fn a_hold_goes_on_after_a_failover() {
    let mut primary = Server::start();
    let replica = primary.replica();
    for server in [&primary, &replica] {
        server.run("CONFIG SET ltmc.agent-hold-agents-min 2 ltmc.agent-damping-half-life-ms 86400000").ok();
    }
    for agent in ["a", "b", "c"] {
        register(&primary, agent, "");
    }
    set_clock(&primary, STEP);
    wait_for(&primary, "agent.suspected", 3);
    set_clock(&primary, 2 * STEP + 1000);
    wait_for(&primary, "registry.held", 1);
    replica.wait_synced(&primary);
    primary.kill();
    clock(&replica, 2 * STEP + 2000);
    replica.promote();
    assert_eq!(replica.run("LTMC.AGENT.STATS r").get("held").int(), 1);
    // Past the grace, and before the bound, which is three TTLs after the postponed death.
    clock(&replica, 4 * TTL_MS);
    run(&replica, "LTMC.HEARTBEAT r a");
    assert_eq!(replica.run("LTMC.AGENT.STATS r").get("suspect").int(), 2);
    run(&replica, "LTMC.HEARTBEAT r b");
    wait_for(&replica, "registry.resumed", 1);
    run(&replica, "LTMC.HEARTBEAT r c");
    for agent in ["a", "b", "c"] {
        assert_eq!(shown(&replica, agent).get("penalty").int(), 0, "{agent}");
    }
    assert_eq!(happened(&replica, "agent.died"), 0);
}

#[test]
fn epochs_fences_and_revisions_grow_after_a_failover_and_a_restart() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    // The first clock is ahead.
    set_clock(&primary, 60_000);
    let revision = |server: &Server| server.run("LTMC.AGENT.STATS r").get("revision").int();
    let claim = |server: &Server| super::claim(server, "r", "");
    register(&primary, "a", "CAPACITY 90");
    let epoch = register(&primary, "b", "CAPACITY 90");
    let given_back = claim(&primary);
    assert_eq!(run(&primary, &format!("LTMC.AGENT.RELEASE r {given_back}")).int(), 1);
    let seen = revision(&primary);
    replica.wait_synced(&primary);
    // Its clock is right again now, and so behind.
    primary.crash_and_restart();
    for server in [&primary, &replica] {
        if server.run("ROLE").array()[0].text() == "slave" {
            server.promote();
        }
        assert_eq!(revision(server), seen);
        let fence = claim(server);
        assert!(fence > given_back && given_back > epoch, "{fence} {given_back} {epoch}");
        let again = register(server, "b", "");
        assert!(again > fence && again > epoch, "{again} {fence} {epoch}");
        assert_eq!(run(server, &format!("LTMC.HEARTBEAT r b EPOCH {again}")).int(), TTL_MS);
        assert_eq!(server.run(&format!("LTMC.HEARTBEAT r b EPOCH {epoch}")).error_code(), "STALE");
        assert_eq!(revision(server), seen + 2);
    }
}

#[test]
fn a_replica_decides_nothing_but_shows_who_is_silent() {
    let primary = Server::start();
    let replica = primary.replica();
    team(&primary);
    replica.wait_synced(&primary);
    let before = replica.dataset();
    // On time for the primary. It is half a TTL later for a replica, which hears of heartbeats
    // roughly.
    clock(&replica, TTL_MS + 10_000);
    assert_eq!(shown(&replica, "a").get("status").text(), "active");
    let heard = shown(&replica, "a").get("heartbeat_at_ms").int();
    let suspect_ms = shown(&replica, "a").get("suspect_at_ms").int();
    assert!(suspect_ms >= heard + TTL_MS + TTL_MS / 2 && suspect_ms < heard + TTL_MS * 2, "{suspect_ms} {heard}");
    clock(&replica, 20 * TTL_MS);
    for agent in ["a", "b", "c"] {
        assert_eq!(shown(&replica, agent).get("status").text(), "suspect");
    }
    assert!(replica.run("LTMC.AGENT.FIND r").array().is_empty());
    assert_eq!(replica.run("LTMC.AGENT.FIND r STATUS 1 suspect").array().len(), 3);
    assert_eq!(replica.run("LTMC.AGENT.STATS r").get("suspect").int(), 3);
    assert_eq!(replica.run("LTMC.AGENT.STATS r").get("total_suspected").int(), 0);
    for line in [
        "LTMC.REGISTER r d",
        "LTMC.DEREGISTER r a",
        "LTMC.HEARTBEAT r a",
        "LTMC.AGENT.CLAIM r PX 1000",
        "LTMC.AGENT.RELEASE r 5",
    ] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line}");
    }
    // A write from the primary, so that the replica had many turns.
    run(&primary, "LTMC.REGISTER other a");
    wait_until("the replica goes on", || replica.run("EXISTS other").int() == 1);
    primary.run("DEL other").int();
    replica.wait_synced(&primary);
    assert_same("nobody decided anything", &before, &replica.dataset());
    set_clock(&primary, STEP);
    wait_for(&primary, "agent.suspected", 3);
    replica.wait_synced(&primary);
    assert_same("the primary decided", &primary.dataset(), &replica.dataset());
}

#[test]
fn fences_of_claims_that_were_given_back_do_not_come_again_after_a_load() {
    let mut server = Server::start();
    // The clock of the next process is behind.
    set_clock(&server, 60_000);
    register(&server, "a", "CAPACITY 90");
    let given_back = claim(&server, "r", "");
    assert_eq!(run(&server, &format!("LTMC.AGENT.RELEASE r {given_back}")).int(), 1);
    server.restart();
    let next = claim(&server, "r", "");
    assert!(next > given_back, "{next} {given_back}");
}
