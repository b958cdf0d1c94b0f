//! Silence: suspicion, death, recovery, grace, damping, the hold, phi.

use super::agents::{field, register, shown, TTL_MS};
use crate::harness::*;
use crate::waiting::set_clock;
use serde_json::Value;

mod damping;
mod hold;
mod phi;

/// How often the server has counted an event.
pub fn happened(server: &Server, event: &str) -> i64 {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    server.info("ltmc").get(&field).map_or(0, |text| text.parse().unwrap_or(-1))
}

/// Waits until an event was counted this often. More often is an error.
#[track_caller]
pub fn wait_for(server: &Server, event: &str, count: i64) {
    wait_until(&format!("{event} has happened {count} times"), || happened(server, event) >= count);
    assert_eq!(happened(server, event), count, "{event}");
}

/// What a watcher of `key` is told from the beginning.
#[track_caller]
pub fn story(server: &Server, key: &str) -> Vec<Value> {
    let reply = server.run(&format!("LTMC.WATCH 1 {key} SINCE 0"));
    let parse = |text: &String| serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
    reply.array()[0].array()[1].texts().iter().map(parse).collect()
}

/// The events of one name in a story.
pub fn named<'a>(story: &'a [Value], name: &str) -> Vec<&'a Value> {
    story.iter().filter(|event| event["event"] == name).collect()
}

#[track_caller]
pub fn number(event: &Value, name: &str) -> i64 {
    event[name].as_i64().unwrap_or_else(|| panic!("no number {name} in {event}"))
}

/// The number of agents that have a status for a reader of `key`.
#[track_caller]
pub fn count(server: &Server, key: &str, status: &str) -> usize {
    server.run(&format!("LTMC.AGENT.LIST {key} STATUS {status}")).array().len()
}

#[track_caller]
fn wait_status(server: &Server, agent: &str, status: &str) {
    wait_until(&format!("{agent} is {status}"), || field(server, agent, "status") == status);
}

#[test]
fn silence_makes_suspect_then_dead_then_forgotten() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.agent-grace-ms 100").ok();
    server.run("LTMC.REGISTER r a PX 60 CAPACITY 2").int();
    let fence = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    // Real time, without help. The log tells what was decided, when and in which order. It ends
    // with the key, so it is read continuously.
    let mut log = Vec::new();
    wait_until("the agent is forgotten", || {
        let now = story(&server, "r");
        if !now.is_empty() {
            log = now;
        }
        server.run("EXISTS r").int() == 0
    });
    let names: Vec<&str> = log.iter().map(|event| event["event"].as_str().unwrap_or("")).collect();
    assert_eq!(names, ["agent.registered", "agent.claimed", "agent.suspected", "agent.died"]);
    let at = |index: usize| number(&log[index], "at_ms");
    assert!(at(2) >= at(0) + 60, "{log:?}");
    assert_eq!(number(&log[2], "dead_at_ms"), at(2) + 60);
    assert!(at(3) >= at(2) + 60, "{log:?}");
    assert_eq!(number(&log[3], "remove_at_ms"), at(3) + 100);
    wait_for(&server, "agent.removed", 1);
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 0);
    assert_eq!(server.run("LTMC.HEARTBEAT r a").error_code(), "NOAGENT");
}

#[test]
fn a_heart_that_beats_in_real_time_is_never_suspected() {
    let server = Server::start();
    server.run("LTMC.REGISTER r steady PX 2000").int();
    server.run("LTMC.REGISTER r silent PX 100").int();
    // As long as another one takes to die.
    wait_until("the silent one is dead", || {
        server.run("LTMC.HEARTBEAT r steady").int();
        field(&server, "silent", "status") == "dead"
    });
    assert_eq!(happened(&server, "agent.suspected"), 1);
    assert_eq!(field(&server, "steady", "status"), "active");
}

#[test]
fn when_an_agent_is_suspect_dead_and_forgotten_is_shown_beforehand() {
    let server = Server::start();
    for (percent, grace_ms, agent) in [(200, 10_000, "a"), (150, 0, "b"), (101, 86_400_000, "c")] {
        set_clock(&server, 0);
        server.run(&format!("CONFIG SET ltmc.agent-dead-percent {percent} ltmc.agent-grace-ms {grace_ms}")).ok();
        register(&server, agent, "");
        // So that the key and its log stay.
        server.run(&format!("LTMC.REGISTER r stays PX {}", 1000 * TTL_MS)).int();
        let heard = shown(&server, agent).get("heartbeat_at_ms").int();
        assert_eq!(shown(&server, agent).get("suspect_at_ms").int(), heard + TTL_MS);
        let happen = |offset: i64, event: &str| {
            let before = happened(&server, event);
            set_clock(&server, offset);
            wait_for(&server, event, before + 1);
            let story = story(&server, "r");
            number(named(&story, event).last().expect("it was told"), "at_ms")
        };
        let suspected = happen(TTL_MS + 1000, "agent.suspected");
        assert!(suspected > heard + TTL_MS);
        let after = TTL_MS * (percent - 100) / 100;
        assert_eq!(shown(&server, agent).get("dead_at_ms").int(), suspected + after, "{percent} percent");
        let died = happen(TTL_MS + 2000 + after, "agent.died");
        assert!(died >= suspected + after);
        if grace_ms > 0 {
            let dead = shown(&server, agent);
            assert_eq!(dead.get("removed_at_ms").int(), died + grace_ms);
            assert!(dead.get("dead_at_ms").is_nil());
            set_clock(&server, TTL_MS + 3000 + after + grace_ms);
        }
        wait_until("it is forgotten", || shown(&server, agent).is_nil());
        server.run("DEL r").int();
    }
}

#[test]
fn a_suspect_that_is_heard_of_again_is_offered_again() {
    let server = Server::start();
    for (turn, words) in ["", "STATUS IDLE LOAD 0.5", "HEALTH DEGRADED"].into_iter().enumerate() {
        let agent = format!("a{turn}");
        register(&server, &agent, "");
        let found = || server.run("LTMC.AGENT.FIND r").texts().contains(&agent);
        assert!(found());
        set_clock(&server, (turn as i64 + 1) * (TTL_MS + 1000));
        wait_for(&server, "agent.suspected", turn as i64 + 1);
        assert!(!found() && server.run("LTMC.AGENT.CLAIM r PX 1000").is_nil());
        assert!(!shown(&server, &agent).get("dead_at_ms").is_nil());
        server.run(&format!("LTMC.HEARTBEAT r {agent} {words}")).int();
        assert!(found(), "{words}");
        let back = shown(&server, &agent);
        assert!(back.get("dead_at_ms").is_nil());
        assert_eq!(back.get("suspect_at_ms").int(), back.get("heartbeat_at_ms").int() + TTL_MS);
        assert_eq!(happened(&server, "agent.recovered"), turn as i64 + 1);
        server.run(&format!("LTMC.DEREGISTER r {agent}")).int();
    }
}

#[test]
fn a_suspect_keeps_its_claims_and_the_dead_lose_them() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 3");
    let claim = || server.run("LTMC.AGENT.CLAIM r PX 6000000").array()[1].int();
    let fences = [claim(), claim()];
    set_clock(&server, TTL_MS + 1000);
    wait_for(&server, "agent.suspected", 1);
    assert_eq!(shown(&server, "a").get("claims").array().len(), 2);
    assert_eq!(
        server.run(&format!("LTMC.AGENT.RELEASE r {}", fences[0])).int(),
        1,
        "a suspect's claim can be released"
    );
    // Longer than the other claim's lease would take, so that death ended it.
    set_clock(&server, 2 * TTL_MS + 2000);
    wait_for(&server, "agent.died", 1);
    let dead = shown(&server, "a");
    assert!(dead.get("claims").array().is_empty());
    assert_eq!((dead.get("free").int(), dead.get("load").text()), (3, "0"));
    assert_eq!(server.run("LTMC.AGENT.STATS r").get("claims").int(), 0);
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {}", fences[1])).int(), 0);
    let before = happened(&server, "agent.claimexpired");
    register(&server, "a", "");
    set_clock(&server, 2 * TTL_MS + 6_100_000);
    wait_until("its lease would be over", || happened(&server, "agent.suspected") == 2);
    assert_eq!(happened(&server, "agent.claimexpired"), before, "its lease is forgotten with it");
}

#[test]
fn the_key_goes_with_its_last_agent() {
    let server = Server::start();
    register(&server, "a", "");
    server.run(&format!("LTMC.REGISTER r b PX {}", 10 * TTL_MS)).int();
    for (offset, event) in
        [(TTL_MS + 1000, "agent.suspected"), (2 * TTL_MS + 2000, "agent.died"), (2 * TTL_MS + 20_000, "agent.removed")]
    {
        set_clock(&server, offset);
        wait_for(&server, event, 1);
    }
    assert_eq!(server.run("LTMC.AGENT.LIST r").texts(), ["b"]);
    assert_eq!(server.run("PTTL r").int(), -1, "the key itself has no time to live");
    server.run("CONFIG SET notify-keyspace-events KEA").ok();
    let mut subscriber = server.client();
    subscriber.cmd(&["SUBSCRIBE", "__keyspace@0__:r"]);
    set_clock(&server, 11 * TTL_MS);
    wait_for(&server, "agent.suspected", 2);
    set_clock(&server, 22 * TTL_MS);
    wait_for(&server, "agent.died", 2);
    set_clock(&server, 23 * TTL_MS);
    let told: Vec<String> = (0..4).map(|_| subscriber.recv().array()[2].text().to_string()).collect();
    assert_eq!(told, ["agent.suspected", "agent.died", "agent.removed", "del"]);
    assert_eq!(server.run("EXISTS r").int(), 0);
}

#[test]
fn who_says_that_it_failed_is_out_at_once_though_its_heart_beats() {
    let server = Server::start();
    register(&server, "a", "CAPS 1 go CAPACITY 2");
    let fence = server.run("LTMC.AGENT.CLAIM r PX 600000").array()[1].int();
    server.run("LTMC.HEARTBEAT r a HEALTH FAILED REASON disk").int();
    for beat in ["", "LOAD 0.1", "STATUS IDLE"] {
        server.run(&format!("LTMC.HEARTBEAT r a {beat}")).int();
        for filter in ["", "CAPS 1 go", "STATUS 2 active idle", "SORT LOAD", "SORT RANDOM"] {
            assert!(server.run(&format!("LTMC.AGENT.FIND r {filter}")).array().is_empty(), "{filter}");
            assert!(server.run(&format!("LTMC.AGENT.CLAIM r PX 9 {filter}")).is_nil(), "{filter}");
        }
    }
    assert_eq!(field(&server, "a", "health"), "failed");
    assert_eq!(happened(&server, "agent.suspected"), 0, "that is no suspicion");
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE r {fence}")).int(), 1, "what it had goes on");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.AGENT.CLAIM r PX 600000 BLOCK 0".into());
    server.run("LTMC.HEARTBEAT r a HEALTH OK").int();
    assert_eq!(waiter.recv().array()[0].text(), "a", "who waited gets it when it is well");
}

#[test]
fn a_reader_sees_suspicion_before_it_is_decided() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 9");
    register(&server, "b", "STATUS STARTING");
    // Sent in one go: the scheduler has no turn in between.
    let clock = format!("LTMC.DEBUG CLOCK {}", TTL_MS + 1000);
    let replies = server.client().pipeline(&[
        &clock,
        "LTMC.AGENT.GET r a",
        "LTMC.AGENT.FIND r",
        "LTMC.AGENT.LIST r STATUS suspect",
        "LTMC.AGENT.FIND r STATUS 1 suspect",
        "LTMC.AGENT.LIST r STATUS active",
        "LTMC.AGENT.STATS r",
        "INFO ltmc",
    ]);
    let info = replies[7].text();
    assert!(!info.contains("ltmc_event_agent_suspected:") || info.contains("ltmc_event_agent_suspected:0"), "{info}");
    assert_eq!(replies[1].get("status").text(), "suspect");
    assert!(replies[1].get("dead_at_ms").is_nil(), "when it dies is decided with its suspicion");
    for (index, expected) in [(2, 0), (3, 2), (4, 2), (5, 0)] {
        assert_eq!(replies[index].array().len(), expected, "reply {index}");
    }
    for (status, agents) in [("suspect", 2), ("active", 0), ("starting", 0)] {
        assert_eq!(replies[6].get(status).int(), agents, "{status}");
    }
    wait_status(&server, "a", "suspect");
    wait_for(&server, "agent.suspected", 2);
}
