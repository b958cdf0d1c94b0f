//! What is sent to replicas and the AOF.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

/// The changes in a stream, as `LTMC.EXPLAIN` shows them. Every command in it is one of ours, about
/// `r`.
#[track_caller]
fn changes(server: &Server, stream: &Stream) -> Vec<Value> {
    let mut all = Vec::new();
    for command in stream {
        let name = command[0].to_ascii_uppercase();
        if matches!(name.as_slice(), b"MULTI" | b"EXEC") {
            continue;
        }
        assert_eq!(name, b"LTMC.APPLY", "{:?}", show_stream(std::slice::from_ref(command)));
        assert_eq!((command[1].as_slice(), command.len()), (b"r".as_slice(), 3));
        let shown = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]);
        let json: Value = serde_json::from_str(shown.text()).expect("it is JSON");
        assert_eq!((&json["type"], &json["content"]), (&Value::from("ltmcagent"), &Value::from("changes")), "{json}");
        all.extend(json["value"].as_array().expect("a list").iter().cloned());
    }
    all
}

/// `Born`, `Answered`, `Gone`, or the kind of event.
fn kind(change: &Value) -> String {
    if let Some(name) = change.as_str() {
        return name.into();
    }
    let (name, inner) = change.as_object().and_then(|fields| fields.iter().next()).expect("a change has a name");
    let event = inner.as_object().and_then(|fields| fields.keys().next());
    if name == "Event" {
        event.expect("an event has a name").clone()
    } else {
        name.clone()
    }
}

#[track_caller]
fn sends(server: &Server, line: &str, expected: &[&str]) -> Reply {
    let mut reply = Reply::Nil;
    let stream = replication_stream(server, || reply = server.run(line));
    let kinds: Vec<String> = changes(server, &stream).iter().map(kind).collect();
    assert_eq!(kinds, expected, "{line}: {reply:?}");
    assert!(stream.len() <= 1, "{line}: one command is one message");
    reply
}

#[test]
fn a_write_sends_its_events_and_nothing_else() {
    let server = Server::start();
    let long = format!("PX {TTL_MS}");
    sends(&server, &format!("LTMC.REGISTER r a CAPACITY 2 {long}"), &["Born", "Registered"]);
    sends(&server, "LTMC.REGISTER r a NX", &[]);
    sends(&server, "LTMC.REGISTER r a", &["Registered"]);
    sends(&server, "LTMC.HEARTBEAT r a", &[]);
    sends(&server, "LTMC.HEARTBEAT r a STATUS BUSY HEALTH DEGRADED LOAD 0.5", &["StatusChanged", "HealthChanged"]);
    sends(&server, "LTMC.HEARTBEAT r a STATUS BUSY HEALTH DEGRADED LOAD 0.6", &[]);
    sends(&server, "LTMC.HEARTBEAT r a STATUS IDLE", &["StatusChanged"]);
    for line in ["LTMC.AGENT.GET r a", "LTMC.AGENT.LIST r", "LTMC.AGENT.FIND r", "LTMC.AGENT.STATS r"] {
        sends(&server, line, &[]);
    }
    let fence =
        sends(&server, &format!("LTMC.AGENT.CLAIM r REQID x {long}"), &["Claimed", "Answered"]).array()[1].int();
    sends(&server, &format!("LTMC.AGENT.CLAIM r REQID x {long}"), &[]);
    sends(&server, &format!("LTMC.AGENT.CLAIM r {long}"), &["Claimed"]);
    sends(&server, &format!("LTMC.AGENT.CLAIM r {long}"), &[]);
    sends(&server, &format!("LTMC.AGENT.RELEASE r {fence}"), &["Released"]);
    sends(&server, &format!("LTMC.AGENT.RELEASE r {fence}"), &[]);
    sends(&server, "LTMC.HEARTBEAT r a STATUS STARTING", &[]);
    sends(&server, "LTMC.DEREGISTER r b", &[]);
    sends(&server, "LTMC.DEREGISTER r a EPOCH 5", &[]);
    sends(&server, "LTMC.DEREGISTER r a", &["Deregistered", "Gone"]);
    sends(&server, "LTMC.DEREGISTER r a", &[]);
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn what_time_decides_is_sent_as_it_is_decided() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-hold-agents-min 2 ltmc.agent-damping-half-life-ms 10000000").ok();
    for agent in ["a", "b"] {
        register(&server, agent, "");
    }
    run(&server, "LTMC.AGENT.CLAIM r PX 1000");
    let mut tap = ReplicationTap::attach(&server);
    let mut step = |clock: i64, event: &str, count: i64, expected: &[&str]| {
        set_clock(&server, clock);
        wait_for(&server, event, count);
        let kinds: Vec<String> = changes(&server, &tap.take(&server)).iter().map(kind).collect();
        assert_eq!(kinds, expected, "{event}");
    };
    step(2000, "agent.claimexpired", 1, &["Released"]);
    step(STEP, "registry.held", 1, &["Suspected", "Suspected", "HoldBegan"]);
    run(&server, "LTMC.HEARTBEAT r a");
    // One of two is still silent: less than 60 percent.
    step(STEP + 1000, "registry.resumed", 1, &["Recovered", "Seen", "HoldEnded"]);
    run(&server, "LTMC.DEREGISTER r b");
    let mut clock = 2 * STEP;
    for turn in 1..=3 {
        clock += STEP;
        let before: &[&str] =
            if turn == 1 { &["Deregistered", "Suspected"] } else { &["Recovered", "Seen", "Suspected"] };
        step(clock, "agent.suspected", 2 + turn, before);
        run(&server, "LTMC.HEARTBEAT r a");
    }
    run(&server, &format!("LTMC.REGISTER r a PX {}", 50 * TTL_MS));
    assert_eq!(shown(&server, "a").get("damped").int(), 1);
    clock += 25_000_000;
    step(clock, "agent.undamped", 1, &["Recovered", "Seen", "Registered", "Undamped"]);
    clock += 51 * TTL_MS;
    step(clock, "agent.suspected", 6, &["Suspected"]);
    clock += 51 * TTL_MS;
    step(clock, "agent.died", 1, &["Died"]);
    clock += STEP;
    step(clock, "agent.removed", 1, &["Removed", "Gone"]);
}

#[test]
fn of_many_heartbeats_one_an_agent_and_half_a_time_to_live_is_sent() {
    let server = Server::start();
    let registered =
        ["a", "b"].map(|agent| (register(&server, agent, ""), shown(&server, agent).get("heartbeat_at_ms").int()));
    let mut tap = ReplicationTap::attach(&server);
    let before = (server.debug_digest(), server.info_int("persistence", "rdb_changes_since_last_save"));
    let beats: Vec<String> =
        (0..200).map(|n| format!("LTMC.HEARTBEAT r {} LOAD 0.{n:03}", ["a", "b"][n % 2])).collect();
    server.client().pipeline(&beats);
    assert!(tap.take(&server).is_empty(), "plain heartbeats are for this node alone");
    let after = (server.debug_digest(), server.info_int("persistence", "rdb_changes_since_last_save"));
    assert_eq!(before, after, "and change nothing that is saved");
    // Twenty times a quarter of a TTL: five heartbeats of each agent at each stop.
    let mut client = server.client();
    for quarter in 1..=20 {
        let clock = format!("LTMC.DEBUG CLOCK {}", quarter * TTL_MS / 4);
        client.pipeline(&[&[clock], &beats[..10]].concat());
    }
    let sent = changes(&server, &tap.take(&server));
    let kinds: BTreeSet<String> = sent.iter().map(kind).collect();
    assert_eq!(kinds, BTreeSet::from(["Seen".to_string()]));
    for (agent, (_, registered_ms)) in ["a", "b"].into_iter().zip(registered) {
        let id: Vec<Value> = agent.bytes().map(Value::from).collect();
        let of_agent = |change: &&Value| {
            let seen = &change["Event"]["Seen"]["agent"];
            *seen == agent || *seen == Value::Array(id.clone())
        };
        let times: Vec<i64> =
            sent.iter().filter(of_agent).map(|change| number(&change["Event"]["Seen"], "at")).collect();
        let all = [&[registered_ms], times.as_slice()].concat();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= TTL_MS / 2), "{agent}: {all:?}");
        assert_eq!(times.len(), 10, "{agent}: {times:?}");
    }
    assert_eq!(happened(&server, "agent.suspected"), 0);
}

#[test]
fn a_load_that_was_sent_is_known_to_replicas_and_files() {
    let server = Server::start();
    let replica = server.replica();
    register(&server, "a", "");
    let load = |server: &Server| shown(server, "a").get("load").text().to_string();
    run(&server, "LTMC.HEARTBEAT r a LOAD 0.75");
    replica.wait_synced(&server);
    assert_eq!((load(&server), load(&replica)), ("0.75".into(), "0".into()), "not sent yet");
    set_clock(&server, TTL_MS / 2 + 1000);
    run(&server, "LTMC.HEARTBEAT r a");
    replica.wait_synced(&server);
    assert_eq!(load(&replica), "0.75", "what it said last goes with the next that is sent");
    run(&server, "LTMC.HEARTBEAT r a LOAD 0.125");
    server.debug_reload();
    assert_eq!(load(&server), "0.75", "what was only for this node is forgotten with the load");
}
