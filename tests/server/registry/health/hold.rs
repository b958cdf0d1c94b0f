//! The network breaks, not the agents: the bounded hold on deaths.

use super::*;

/// A registry of `size` agents, `a0` and on.
fn team(server: &Server, size: usize) {
    let lines: Vec<String> = (0..size).map(|n| format!("LTMC.REGISTER r a{n} PX {TTL_MS} CAPACITY 2")).collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| reply.int() > 0));
}

/// Heartbeats of the agents with these numbers, in one go.
fn beat(server: &Server, agents: std::ops::Range<usize>) {
    let lines: Vec<String> = agents.map(|n| format!("LTMC.HEARTBEAT r a{n}")).collect();
    let replies = server.client().pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
}

fn held(server: &Server) -> bool {
    let stats = server.run("LTMC.AGENT.STATS r");
    assert_eq!(stats.get("held_since_at_ms").is_nil(), stats.get("held").int() == 0);
    stats.get("held").int() == 1
}

/// Of 24 agents 20 fall silent at once. Their claims run for longer than the test.
fn silence(settings: &str) -> Server {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-grace-ms 31536000000 ltmc.agent-damping-half-life-ms 86400000").ok();
    server.run(&format!("CONFIG SET {settings}")).ok();
    team(&server, 24);
    for _ in 0..24 {
        server.run("LTMC.AGENT.CLAIM r PX 60000000").array();
    }
    set_clock(&server, TTL_MS - 1000);
    beat(&server, 20..24);
    set_clock(&server, TTL_MS + 1000);
    wait_for(&server, "agent.suspected", 20);
    beat(&server, 20..24);
    server
}

/// The deaths are held, and by now the first agent would be dead.
fn held_silence() -> Server {
    let server = silence("ltmc.agent-hold-agents-min 10");
    wait_for(&server, "registry.held", 1);
    set_clock(&server, 2 * TTL_MS - 1000);
    beat(&server, 20..24);
    set_clock(&server, 2 * TTL_MS + 2000);
    beat(&server, 20..24);
    server
}

#[test]
fn silences_too_short_for_any_death_cost_nobody_anything() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 86400000").ok();
    team(&server, 12);
    for outage in 1..=4 {
        set_clock(&server, outage * 3 * TTL_MS / 2);
        wait_for(&server, "registry.held", outage);
        // The network is back for one after the other.
        beat(&server, 0..6);
        wait_for(&server, "registry.resumed", outage);
        beat(&server, 6..12);
    }
    assert_eq!((happened(&server, "agent.suspected"), happened(&server, "agent.died")), (48, 0));
    for n in 0..12 {
        let agent = shown(&server, &format!("a{n}"));
        assert_eq!((agent.get("penalty").int(), agent.get("damped").int()), (0, 0), "a{n}");
    }
}

#[test]
fn nobody_dies_when_most_go_silent_and_who_comes_back_pays_nothing() {
    let server = held_silence();
    assert!(held(&server));
    for hundredths in [300, 350, 400, 450, 490] {
        // The four continue. A step of theirs is less than a TTL.
        set_clock(&server, hundredths * TTL_MS / 100);
        beat(&server, 20..24);
    }
    assert_eq!((count(&server, "r", "suspect"), count(&server, "r", "dead")), (20, 0));
    assert_eq!(server.run("LTMC.AGENT.STATS r").get("claims").int(), 24, "what they do goes on, too");
    // The network is back for all within one tick, or for one after the other.
    beat(&server, 0..5);
    assert!(held(&server), "15 of 24 are still silent");
    beat(&server, 5..8);
    wait_for(&server, "registry.resumed", 1);
    assert!(!held(&server));
    beat(&server, 8..20);
    for n in 0..24 {
        let agent = shown(&server, &format!("a{n}"));
        let seen = (agent.get("status").text(), agent.get("penalty").int(), agent.get("claims").array().len());
        assert_eq!(seen, ("active", 0, 1), "a{n}");
    }
    assert_eq!(happened(&server, "agent.died"), 0);
    let story = story(&server, "r");
    let names: Vec<&str> = story.iter().map(|event| event["event"].as_str().unwrap_or("")).collect();
    let mut rest = names.into_iter().skip_while(|name| *name != "registry.held");
    assert_eq!(rest.next(), Some("registry.held"));
    // The scheduler finds the end of the hold between two heartbeats or after all of them.
    let rest: Vec<&str> = rest.filter(|name| *name != "registry.resumed").collect();
    assert_eq!(rest, vec!["agent.recovered"; 20]);
}

#[test]
fn who_stays_silent_dies_at_the_bound_of_the_hold() {
    let server = held_silence();
    let bounds: Vec<i64> =
        (0..20).map(|n| shown(&server, &format!("a{n}")).get("dead_at_ms").int() + 3 * TTL_MS).collect();
    for hundredths in [300, 350, 400, 450, 499] {
        set_clock(&server, hundredths * TTL_MS / 100);
        beat(&server, 20..24);
    }
    assert_eq!(count(&server, "r", "dead"), 0);
    set_clock(&server, 5 * TTL_MS + 5000);
    beat(&server, 20..24);
    wait_for(&server, "agent.died", 20);
    wait_for(&server, "registry.resumed", 1);
    let story = story(&server, "r");
    for (n, bound) in bounds.into_iter().enumerate() {
        let died =
            *named(&story, "agent.died").iter().find(|event| event["agent"] == format!("a{n}")).expect("it died");
        assert!(number(died, "at_ms") >= bound, "a{n}");
    }
    assert_eq!((count(&server, "r", "active"), happened(&server, "registry.held")), (4, 1));
    assert_eq!(server.run("LTMC.AGENT.STATS r").get("claims").int(), 4);
}

#[test]
fn who_stays_silent_after_the_hold_has_one_more_time_to_live() {
    let server = held_silence();
    beat(&server, 0..19);
    wait_for(&server, "registry.resumed", 1);
    let resumed = number(named(&story(&server, "r"), "registry.resumed")[0], "at_ms");
    // a19 stays silent. The clock stands at 2 TTL + 2 s.
    set_clock(&server, 3 * TTL_MS - 10_000);
    beat(&server, 0..19);
    beat(&server, 20..24);
    assert_eq!(field(&server, "a19", "status"), "suspect");
    set_clock(&server, 3 * TTL_MS + 60_000);
    wait_for(&server, "agent.died", 1);
    let story = story(&server, "r");
    let died = named(&story, "agent.died")[0];
    assert!(died["agent"] == "a19" && number(died, "at_ms") >= resumed + TTL_MS, "{died}");
}

#[test]
fn a_late_return_from_a_hold_is_forgiven_as_well() {
    let server = held_silence();
    beat(&server, 0..19);
    wait_for(&server, "registry.resumed", 1);
    set_clock(&server, 3 * TTL_MS - 10_000);
    beat(&server, 0..24);
    assert_eq!(shown(&server, "a19").get("penalty").int(), 0, "within one time to live after the hold");
    assert_eq!(happened(&server, "agent.died"), 0);
    // Later silence counts by itself again.
    set_clock(&server, 4 * TTL_MS - 15_000);
    beat(&server, 0..19);
    beat(&server, 20..24);
    set_clock(&server, 4 * TTL_MS);
    wait_for(&server, "agent.suspected", 21);
    beat(&server, 19..20);
    assert_eq!(shown(&server, "a19").get("penalty").int(), 1000);
}

#[test]
fn single_deaths_go_on_elsewhere_and_before() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-grace-ms 31536000000").ok();
    // One of the team is silent half a TTL longer than the others: when it fell silent, the others
    // had not.
    register(&server, "early", "");
    team(&server, 20);
    set_clock(&server, TTL_MS - 1000);
    beat(&server, 0..20);
    server.run(&format!("LTMC.REGISTER other lone PX {TTL_MS}")).int();
    let others: Vec<String> = (0..20).map(|n| format!("LTMC.REGISTER other b{n} PX {}", 20 * TTL_MS)).collect();
    server.client().pipeline(&others);
    set_clock(&server, TTL_MS + 1000);
    wait_for(&server, "agent.suspected", 1);
    set_clock(&server, 2 * TTL_MS - 5000);
    assert_eq!(happened(&server, "agent.died"), 0);
    set_clock(&server, 2 * TTL_MS + 2000);
    wait_for(&server, "agent.died", 1);
    assert_eq!(field(&server, "early", "status"), "dead");
    wait_for(&server, "agent.suspected", 22);
    set_clock(&server, 3 * TTL_MS + 5000);
    wait_for(&server, "agent.died", 2);
    wait_for(&server, "registry.held", 1);
    let lone = server.run("LTMC.AGENT.GET other lone");
    assert_eq!(lone.get("status").text(), "dead", "another registry is not held");
    assert_eq!((count(&server, "r", "suspect"), count(&server, "r", "dead")), (20, 1));
}

#[test]
fn the_hold_can_be_switched_off_and_needs_a_crowd() {
    for setting in ["agent-hold-share-percent 0", "agent-hold-agents-min 21", "agent-hold-share-percent 90"] {
        let server = silence(&format!("ltmc.{setting}"));
        set_clock(&server, 2 * TTL_MS - 1000);
        beat(&server, 20..24);
        set_clock(&server, 2 * TTL_MS + 2000);
        wait_for(&server, "agent.died", 20);
        assert_eq!(happened(&server, "registry.held"), 0, "{setting}");
        assert_eq!(count(&server, "r", "active"), 4, "{setting}");
    }
}

#[test]
fn the_lag_of_the_scheduler_is_a_lag_after_a_hold_too() {
    let server = held_silence();
    beat(&server, 0..20);
    wait_for(&server, "registry.resumed", 1);
    // The clock last moved by a few seconds. The end of the hold is found at once.
    let lag = server.info_int("ltmc", "ltmc_sweep_lag_ms");
    assert!(lag < 60_000, "{lag}");
}
