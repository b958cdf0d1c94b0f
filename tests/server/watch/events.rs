//! What the events say: their names, and the fields of each.

use super::*;

/// The last event; it has this name and exactly these fields beside revision, name and time.
#[track_caller]
fn last(server: &Server, name: &str, fields: &[&str]) -> Value {
    let all = story(server);
    let event = all.last().expect("there are events").clone();
    has_fields(&event, name, fields);
    event
}

#[track_caller]
fn has_fields(event: &Value, name: &str, fields: &[&str]) {
    let mut found: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [&["revision", "event", "at_ms"], fields].concat();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(event["event"], name, "{event}");
    assert_eq!(found, expected, "{event}");
    for field in ["revision", "at_ms"] {
        assert!(event[field].as_i64().is_some_and(|n| n > 1_600_000_000_000), "{field} of {event}");
    }
}

/// Moves the clock and waits until that has caused one more of these events.
#[track_caller]
fn until(server: &Server, offset_ms: i64, name: &str) {
    let count = || server.info("ltmc").get(&format!("ltmc_event_{}", name.replace('.', "_"))).cloned();
    let before = count();
    set_clock(server, offset_ms);
    wait_until(&format!("{name} happens"), || count() != before);
}

#[test]
fn what_agents_say_is_told() {
    let server = Server::start();
    let epoch = register(&server, "a\"é\\", "CAPACITY 3 STATUS STARTING NAME secret META {\"x\":1}");
    let event = last(&server, "agent.registered", &["agent", "epoch", "status", "capacity"]);
    assert_eq!((&event["agent"], &event["epoch"]), (&Value::from("a\"é\\"), &Value::from(epoch)));
    assert_eq!((&event["status"], &event["capacity"]), (&Value::from("starting"), &Value::from(3)));
    let shown = server.run("LTMC.AGENT.GET r a\"é\\");
    assert_eq!(event["at_ms"].as_i64(), Some(shown.get("registered_at_ms").int()));

    register(&server, "a", "");
    server.run("LTMC.HEARTBEAT r a STATUS BUSY").int();
    let event = last(&server, "agent.status", &["agent", "status"]);
    assert_eq!((&event["agent"], &event["status"]), (&Value::from("a"), &Value::from("busy")));
    server.run("LTMC.HEARTBEAT r a HEALTH FAILED REASON disk").int();
    let event = last(&server, "agent.health", &["agent", "health", "reason"]);
    assert_eq!((&event["health"], &event["reason"]), (&Value::from("failed"), &Value::from("disk")));
    server.run("LTMC.HEARTBEAT r a HEALTH OK").int();
    assert_eq!(last(&server, "agent.health", &["agent", "health"])["health"], "ok");
    server.run("LTMC.DEREGISTER r a").int();
    assert_eq!(last(&server, "agent.deregistered", &["agent"])["agent"], "a");
}

#[test]
fn what_is_not_text_is_escaped() {
    let server = Server::start();
    let id = b"\xff\x00\"\n";
    server.cmd(&[b"LTMC.REGISTER".as_slice(), b"r", id, b"PX", b"600000"]).int();
    assert_eq!(
        last(&server, "agent.registered", &["agent", "epoch", "status", "capacity"])["agent"],
        r#"\xff\x00\"\n"#
    );
    server.cmd(&[b"LTMC.AGENT.CLAIM".as_slice(), b"r", b"PX", b"600000", b"REF", b"tab\tand\x01"]).array();
    let event = last(&server, "agent.claimed", &["agent", "fence", "ends_at_ms", "ref"]);
    assert_eq!(event["ref"], "tab\tand\u{1}");
}

#[test]
fn what_happens_to_claims_is_told() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 9");
    let claim = |more: &str| server.run(&format!("LTMC.AGENT.CLAIM r PX 1000 {more}")).array()[1].int();
    let fence = claim("REF job");
    let event = last(&server, "agent.claimed", &["agent", "fence", "ends_at_ms", "ref"]);
    assert_eq!((event["fence"].as_i64(), &event["ref"]), (Some(fence), &Value::from("job")));
    assert_eq!(event["ends_at_ms"].as_i64(), event["at_ms"].as_i64().map(|at| at + 1000));
    let other = claim("");
    last(&server, "agent.claimed", &["agent", "fence", "ends_at_ms"]);
    for (fence, more, outcome) in [(fence, "OUTCOME OK LATENCY 7", "ok"), (other, "OUTCOME FAIL LATENCY 7", "fail")] {
        assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence} {more}")).int(), 1);
        let event = last(&server, "agent.released", &["agent", "fence", "outcome", "latency_us"]);
        assert_eq!((event["fence"].as_i64(), &event["outcome"]), (Some(fence), &Value::from(outcome)));
        assert_eq!(event["latency_us"].as_i64(), Some(7000));
    }
    let fence = claim("");
    until(&server, 1001, "agent.claimexpired");
    let event = last(&server, "agent.claimexpired", &["agent", "fence", "outcome"]);
    assert_eq!((event["fence"].as_i64(), &event["outcome"]), (Some(fence), &Value::from("expired")));
}

#[test]
fn a_claim_that_is_taken_back_is_told() {
    let server = Server::start();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.AGENT.CLAIM r PX 600000 BLOCK 0".into());
    let kill = format!("CLIENT KILL ID {}", waiter.id());
    server.client().pipeline(&[&format!("LTMC.REGISTER r a PX {TTL_MS}"), &kill]);
    wait_until("it is taken back", || server.info_int("ltmc", "ltmc_registry_taken_back") == 1);
    let event = last(&server, "agent.released", &["agent", "fence", "outcome"]);
    assert_eq!(event["outcome"], "taken back");
    assert_eq!(names(&story(&server)), ["agent.registered", "agent.claimed", "agent.released"]);
}

#[test]
fn what_silence_does_is_told() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 86400000").ok();
    server.run("LTMC.REGISTER r stays EX 99999999").int();
    register(&server, "a", "");
    let mut offset = 0;
    for returns in 1..=3 {
        offset += TTL_MS + 1;
        until(&server, offset, "agent.suspected");
        let event = last(&server, "agent.suspected", &["agent", "dead_at_ms"]);
        assert_eq!(event["dead_at_ms"].as_i64(), event["at_ms"].as_i64().map(|at| at + TTL_MS));
        server.run("LTMC.HEARTBEAT r a").int();
        let damped: &[&str] = if returns == 3 { &["agent", "damped_until_at_ms"] } else { &["agent"] };
        last(&server, "agent.recovered", damped);
    }
    let until_ms = story(&server).last().and_then(|event| event["damped_until_at_ms"].as_i64()).expect("it is damped");
    assert_eq!(server.run("LTMC.AGENT.GET r a").get("damped_until_at_ms").int(), until_ms);
    // A registration in between keeps the penalty and says so.
    register(&server, "a", "");
    let event = last(&server, "agent.registered", &["agent", "epoch", "status", "capacity", "damped_until_at_ms"]);
    assert_eq!(event["damped_until_at_ms"].as_i64(), Some(until_ms));
    until(&server, offset + TTL_MS + 1, "agent.suspected");
    until(&server, offset + 2 * TTL_MS + 60_000, "agent.died");
    let event = last(&server, "agent.died", &["agent", "remove_at_ms"]);
    assert_eq!(event["remove_at_ms"].as_i64(), Some(until_ms), "it is remembered as long as it is damped");
    until(&server, until_ms - event["at_ms"].as_i64().unwrap_or(0) + offset + 3 * TTL_MS, "agent.removed");
    last(&server, "agent.removed", &["agent"]);
}

#[test]
fn the_end_of_damping_is_told() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 60000").ok();
    register(&server, "a", "");
    server.run("LTMC.REGISTER r a PX 10").int();
    for returns in 1..=3 {
        let suspected = || server.info("ltmc").get("ltmc_event_agent_suspected").and_then(|n| n.parse::<i64>().ok());
        wait_until("it is suspect", || suspected().is_some_and(|count| count >= returns));
        let ttl = if returns == 3 { TTL_MS } else { 10 };
        server.run(&format!("LTMC.REGISTER r a PX {ttl}")).int();
    }
    let damped = story(&server).last().is_some_and(|event| event["damped_until_at_ms"].is_i64());
    assert!(damped, "{:?}", story(&server));
    until(&server, 500_000, "agent.undamped");
    assert_eq!(last(&server, "agent.undamped", &["agent"])["agent"], "a");
}

#[test]
fn a_hold_and_its_end_are_told() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-hold-agents-min 2").ok();
    for agent in ["a", "b", "c"] {
        register(&server, agent, "");
    }
    until(&server, TTL_MS + 1, "agent.suspected");
    wait_until("the silence is held", || names(&story(&server)).contains(&"registry.held"));
    last(&server, "registry.held", &[]);
    for agent in ["a", "b"] {
        server.run(&format!("LTMC.HEARTBEAT r {agent}")).int();
    }
    wait_until("the hold is over", || names(&story(&server)).contains(&"registry.resumed"));
    let all = story(&server);
    let resumed = all.iter().find(|event| event["event"] == "registry.resumed").expect("it was told");
    has_fields(resumed, "registry.resumed", &[]);
}
