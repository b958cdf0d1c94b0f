//! The eight statuses: which may follow which, who declares them, and how they show; health and
//! load.

use super::*;

/// What an agent may declare after each status.
const NEXT: &[(&str, &[&str])] = &[
    ("starting", &["starting", "active", "idle", "busy", "draining", "error"]),
    ("active", &["active", "idle", "busy", "draining", "error"]),
    ("idle", &["active", "idle", "busy", "draining", "error"]),
    ("busy", &["active", "idle", "busy", "draining", "error"]),
    ("draining", &["draining", "error"]),
    ("error", &["active", "idle", "busy", "draining", "error"]),
];

/// Registers `a` anew and lets it declare `status`.
fn begin_with(server: &Server, status: &str) {
    register(server, "a", if status == "starting" { "STATUS STARTING" } else { "STATUS ACTIVE" });
    server.run(&format!("LTMC.HEARTBEAT r a STATUS {status}")).int();
}

#[test]
fn the_whole_table_of_transitions_is_kept() {
    let server = Server::start();
    for (from, allowed) in NEXT {
        for (to, _) in NEXT {
            begin_with(&server, from);
            assert_eq!(field(&server, "a", "status"), *from);
            let reply = server.run(&format!("LTMC.HEARTBEAT r a STATUS {to} LOAD 0.5"));
            if allowed.contains(to) {
                assert_eq!(reply.int(), TTL_MS, "{from} to {to}");
                assert_eq!(field(&server, "a", "status"), *to);
                continue;
            }
            assert_eq!(reply.error_code(), "BADSTATE", "{from} to {to}");
            assert!(reply.error().contains(&format!("is {from} and cannot become {to}")), "{reply:?}");
            assert_eq!(field(&server, "a", "status"), *from);
            assert_eq!(field(&server, "a", "load"), "0", "nothing of the heartbeat counts");
        }
    }
}

#[test]
fn silence_alone_makes_suspect_and_dead() {
    let server = Server::start();
    for (from, _) in NEXT {
        begin_with(&server, from);
        let before = server.debug_digest();
        for word in ["suspect", "DEAD"] {
            let refused = server.run(&format!("LTMC.HEARTBEAT r a STATUS {word}"));
            assert_eq!(refused.error_code(), "ERR");
            assert!(refused.error().contains(&format!("STATUS is '{}'", word.to_lowercase())), "{refused:?}");
        }
        assert_eq!(server.debug_digest(), before);
    }
    begin_with(&server, "busy");
    let offset = let_die(&server, "a");
    assert_eq!(field(&server, "a", "declared"), "busy", "what it said last is still shown");
    let refused = server.run("LTMC.HEARTBEAT r a");
    assert_eq!(refused.error_code(), "BADSTATE");
    assert!(refused.error().contains("'a' is dead since"), "{refused:?}");
    silent_until(&server, offset + 20_000, "a", "agent.removed");
    assert_eq!(server.run("LTMC.HEARTBEAT r a").error_code(), "NOAGENT");
}

#[test]
fn every_status_is_listed_found_and_counted() {
    let server = Server::start();
    for silent in ["dead", "suspect"] {
        register(&server, silent, "");
    }
    silent_until(&server, TTL_MS + 1, "dead", "agent.suspected");
    server.run("LTMC.HEARTBEAT r suspect").int();
    silent_until(&server, 2 * TTL_MS + 2, "dead", "agent.died");
    for (status, _) in NEXT {
        register(&server, status, "STATUS STARTING");
        server.run(&format!("LTMC.HEARTBEAT r {status} STATUS {status}")).int();
    }
    let is_listed = |status: &str| server.run(&format!("LTMC.AGENT.LIST r STATUS {status}")).texts() == [status];
    wait_until("the silent one is a suspect", || is_listed("suspect"));
    let stats = server.run("LTMC.AGENT.STATS r");
    for status in ["starting", "active", "idle", "busy", "draining", "suspect", "dead", "error"] {
        assert_eq!(field(&server, status, "status"), status);
        assert!(is_listed(status), "{status}");
        assert_eq!(server.run(&format!("LTMC.AGENT.FIND r STATUS 1 {status}")).texts(), [status]);
        assert_eq!(stats.get(status).int(), 1, "{status} in {stats:?}");
    }
    assert_eq!(server.run("LTMC.AGENT.LIST r").array().len(), 8);
}

#[test]
fn a_heartbeat_needs_a_registered_agent_and_returns_its_time_to_live() {
    let server = Server::start();
    for line in ["LTMC.HEARTBEAT r a", "LTMC.HEARTBEAT r a EPOCH 5 STATUS IDLE LOAD 1 HEALTH OK"] {
        let refused = server.run(line);
        assert_eq!(refused.error_code(), "NOAGENT", "{line}");
        assert!(refused.error().contains("'a' is not registered"), "{refused:?}");
    }
    assert_eq!(server.run("EXISTS r").int(), 0, "a heartbeat makes no registry");
    register(&server, "b", "");
    assert_eq!(server.run("LTMC.HEARTBEAT r a").error_code(), "NOAGENT");
    server.run("LTMC.REGISTER r a EX 77").int();
    assert_eq!(server.run("LTMC.HEARTBEAT r a").int(), 77_000);
    let heard = || shown(&server, "a").get("heartbeat_at_ms").int();
    let before = heard();
    server.run("LTMC.DEBUG CLOCK 30000").ok();
    server.run("LTMC.HEARTBEAT r a").int();
    assert!(heard() >= before + 30_000);
    assert_eq!(shown(&server, "a").get("suspect_at_ms").int(), heard() + 77_000);
}

#[test]
fn health_is_said_with_its_reason_and_stays_until_something_else_is_said() {
    let server = Server::start();
    register(&server, "a", "");
    let health = || {
        let agent = shown(&server, "a");
        let reason = agent.get("reason").clone();
        (agent.get("health").text().to_string(), if reason.is_nil() { "-".into() } else { reason.text().to_string() })
    };
    for (line, expected) in [
        ("HEALTH FAILED REASON disk", ("failed", "disk")),
        ("LOAD 0.1", ("failed", "disk")),
        ("STATUS IDLE", ("failed", "disk")),
        ("REASON slow HEALTH degraded", ("degraded", "slow")),
        ("HEALTH DEGRADED", ("degraded", "-")),
        ("HEALTH OK REASON restarted", ("ok", "restarted")),
        ("HEALTH OK", ("ok", "-")),
    ] {
        server.run(&format!("LTMC.HEARTBEAT r a {line}")).int();
        assert_eq!(health(), (expected.0.to_string(), expected.1.to_string()), "{line}");
    }
    let refused = server.run("LTMC.HEARTBEAT r a REASON why");
    assert!(refused.error().contains("REASON goes with HEALTH only"), "{refused:?}");
}

#[test]
fn load_is_what_is_reported_or_what_is_claimed_if_that_is_more() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 4");
    for (given, load) in
        [("0.25", "0.25"), ("1", "1"), ("0.0004", "0"), ("0.0006", "0.001"), ("1e-2", "0.01"), ("0", "0")]
    {
        server.run(&format!("LTMC.HEARTBEAT r a LOAD {given}")).int();
        assert_eq!(field(&server, "a", "load"), load, "{given}");
    }
    server.run("LTMC.HEARTBEAT r a LOAD 0.3").int();
    for load in ["0.3", "0.5", "0.75", "1"] {
        server.run("LTMC.AGENT.CLAIM r PX 600000").array();
        assert_eq!(field(&server, "a", "load"), load);
    }
    server.run("LTMC.HEARTBEAT r a").int();
    assert_eq!(field(&server, "a", "load"), "1", "a heartbeat that says no load changes none");
}
