//! The phi-accrual failure detector.

use super::*;

/// Heartbeats of `a`, one every `every_ms` of the moved clock. Returns the clock after them.
fn beat(server: &Server, from: i64, every_ms: i64, times: i64) -> i64 {
    let mut client = server.client();
    let beats =
        (1..=times).flat_map(|n| [format!("LTMC.DEBUG CLOCK {}", from + n * every_ms), "LTMC.HEARTBEAT r a".into()]);
    let replies = client.pipeline(&beats.collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    from + times * every_ms
}

/// How long after its last heartbeat the agent becomes suspect.
fn patience_ms(server: &Server) -> i64 {
    let agent = shown(server, "a");
    agent.get("suspect_at_ms").int() - agent.get("heartbeat_at_ms").int()
}

/// Long after its start, which gives all agents one TTL of grace.
const START: i64 = 2 * TTL_MS;

fn phi_server() -> Server {
    let server = Server::start();
    server.run("CONFIG SET ltmc.failure-detector phi").ok();
    set_clock(&server, START);
    server
}

#[test]
fn an_agent_with_a_quick_rhythm_is_suspect_long_before_its_time_to_live() {
    let server = phi_server();
    register(&server, "a", "");
    register(&server, "quiet", "");
    let now = beat(&server, START, 10_000, 7);
    assert_eq!(patience_ms(&server), TTL_MS, "seven intervals tell too little");
    assert!(shown(&server, "a").get("phi").is_nil());
    let now = beat(&server, now, 10_000, 13);
    // Ten seconds, give or take an eighth: with phi 8 that is 10 s + 5.2 deviations of 1.25 s.
    assert!((15_000..20_000).contains(&patience_ms(&server)), "{}", patience_ms(&server));
    let phi = |offset: i64| {
        let clock = format!("LTMC.DEBUG CLOCK {}", now + offset);
        server.client().pipeline(&[&clock, "LTMC.AGENT.GET r a"])[1].get("phi").float()
    };
    let (early, late) = (phi(1000), phi(14_000));
    assert!(early < 0.01 && late > 2.0 && late < 8.0, "{early} {late}");
    set_clock(&server, now + 20_000);
    wait_for(&server, "agent.suspected", 1);
    assert_eq!(field(&server, "a", "status"), "suspect");
    assert_eq!(field(&server, "quiet", "status"), "active", "who has no rhythm has its time to live");
    server.run("LTMC.HEARTBEAT r a").int();
    assert_eq!(field(&server, "a", "status"), "active");
}

#[test]
fn an_early_suspicion_brings_no_early_death() {
    let server = phi_server();
    register(&server, "a", "");
    let now = beat(&server, START, 1000, 20);
    let heard = shown(&server, "a").get("heartbeat_at_ms").int();
    set_clock(&server, now + 10_000);
    wait_for(&server, "agent.suspected", 1);
    let agent = shown(&server, "a");
    assert!(
        agent.get("dead_at_ms").int() >= heard + 2 * TTL_MS,
        "dead after 200 percent of its time to live: {agent:?}"
    );
}

#[test]
fn the_rhythm_never_gives_more_time_than_the_time_to_live() {
    let server = phi_server();
    register(&server, "a", "");
    beat(&server, START, TTL_MS - 1000, 12);
    assert_eq!(patience_ms(&server), TTL_MS);
}

#[test]
fn a_higher_threshold_is_more_patient() {
    let server = phi_server();
    register(&server, "a", "");
    let mut now = beat(&server, START, 1000, 20);
    let mut patience = Vec::new();
    for threshold in [1, 4, 8, 16] {
        server.run(&format!("CONFIG SET ltmc.phi-threshold {threshold}")).ok();
        now = beat(&server, now, 1000, 1);
        patience.push(patience_ms(&server));
    }
    assert!(patience.is_sorted() && patience[0] > 1000 && patience[0] < patience[3], "{patience:?}");
}

#[test]
fn the_detector_can_be_changed_while_agents_live() {
    let server = phi_server();
    register(&server, "a", "");
    let now = beat(&server, START, 1000, 20);
    assert!(patience_ms(&server) < 3000);
    server.run("CONFIG SET ltmc.failure-detector deadline").ok();
    let now = beat(&server, now, 1000, 1);
    assert_eq!(patience_ms(&server), TTL_MS, "from its next heartbeat on");
    assert!(shown(&server, "a").get("phi").is_nil());
    server.run("CONFIG SET ltmc.failure-detector phi").ok();
    let now = beat(&server, now, 1000, 7);
    assert_eq!(patience_ms(&server), TTL_MS, "its rhythm is learnt anew");
    beat(&server, now, 1000, 2);
    assert!(patience_ms(&server) < 3000);
}
