//! Claims: which agent is chosen, fences, leases, release, capacity, REQID.

use super::agents::{field, let_die, names, register, shown, TTL_MS};
use crate::harness::*;
use std::collections::{BTreeMap, BTreeSet};

const LEASE: &str = "PX 6000000";

/// The agent and the fence of a claim, or nothing.
#[track_caller]
fn claim(server: &Server, more: &str) -> Option<(String, i64)> {
    agent_and_fence(&server.run(&format!("LTMC.AGENT.CLAIM r {LEASE} {more}")))
}

#[track_caller]
fn agent_and_fence(reply: &Reply) -> Option<(String, i64)> {
    (!reply.is_nil()).then(|| (reply.array()[0].text().to_string(), reply.array()[1].int()))
}

/// The claimed agent; there has to be one.
#[track_caller]
fn claimed(server: &Server, more: &str) -> String {
    claim(server, more).unwrap_or_else(|| panic!("nobody for {more:?}")).0
}

#[track_caller]
fn release(server: &Server, fence: i64, more: &str) -> i64 {
    server.run(&format!("LTMC.AGENT.RELEASE r {fence} {more}")).int()
}

fn free(server: &Server, agent: &str) -> i64 {
    shown(server, agent).get("free").int()
}

fn claims(server: &Server) -> i64 {
    server.run("LTMC.AGENT.STATS r").get("claims").int()
}

#[test]
fn a_claim_goes_to_the_least_loaded_until_all_are_full() {
    let server = Server::start();
    for (agent, capacity, load) in [("a", 2, "0.6"), ("b", 4, "0.1"), ("c", 1, "0.3"), ("d", 9, "0")] {
        register(&server, agent, &format!("CAPACITY {capacity}"));
        server.run(&format!("LTMC.HEARTBEAT r {agent} LOAD {load}")).int();
    }
    server.run("LTMC.HEARTBEAT r d HEALTH DEGRADED").int();
    // b counts 0.1, 0.25, 0.5, 0.75; c 0.3; a 0.6 twice: more than the half of it that is claimed.
    let order: Vec<String> = (0..7).map(|_| claimed(&server, "")).collect();
    assert_eq!(order, ["b", "b", "c", "b", "a", "a", "b"]);
    let rest: Vec<String> = (0..9).map(|_| claimed(&server, "")).collect();
    assert_eq!(rest, ["d"; 9], "the degraded one is the last resort");
    assert!(claim(&server, "").is_none(), "without BLOCK there is no waiting");
    assert_eq!((claims(&server), server.run("LTMC.AGENT.STATS r").get("claimable").int()), (16, 0));
}

#[test]
fn a_claim_takes_who_fits_the_filter() {
    let server = Server::start();
    register(&server, "a", "CAPS 2 go@1.4 sql TAGS 1 eu META {\"z\":1} CAPACITY 50");
    register(&server, "b", "CAPS 1 go@1.5 TAGS 1 us META {\"z\":\"1\"} CAPACITY 40");
    register(&server, "c", "CAPS 1 go CAPACITY 0");
    server.run("LTMC.HEARTBEAT r a LOAD 1").int();
    for (filter, expected) in [
        ("", Some("b")),
        ("CAPS 1 go@>=1.5", Some("b")),
        ("CAPS 1 sql", Some("a")),
        ("ANYCAP 2 none sql", Some("a")),
        ("TAGS 1 eu", Some("a")),
        ("META /z 1 EXCLUDE 1 b", Some("a")),
        ("META /z \"1\"", Some("b")),
        ("MINFREE 45", Some("a")),
        ("SORT LOAD", Some("b")),
        ("SORT RANDOM EXCLUDE 1 a", Some("b")),
        ("SORT LATENCY EXCLUDE 1 b", Some("a")),
        ("STATUS 2 active busy TAGS 1 us", Some("b")),
        ("EXCLUDE 2 a b", None),
        ("CAPS 1 go MINFREE 51", None),
        ("STATUS 1 busy", None),
        ("CAPS 1 none", None),
        ("MINFREE 0 EXCLUDE 2 a b", None),
    ] {
        assert_eq!(claim(&server, filter).map(|(agent, _)| agent).as_deref(), expected, "{filter}");
    }
    for (options, takes) in
        [("STATUS BUSY", false), ("STATUS IDLE", true), ("HEALTH FAILED", false), ("STATUS ERROR", false)]
    {
        server.run(&format!("LTMC.HEARTBEAT r a {options}")).int();
        assert_eq!(claim(&server, "TAGS 1 eu").is_some(), takes, "{options}");
    }
    assert!(claim(&server, "TAGS 1 eu STATUS 1 error").is_none(), "it has failed, too");
    server.run("LTMC.HEARTBEAT r a HEALTH OK").int();
    assert!(claim(&server, "TAGS 1 eu").is_none());
    assert_eq!(claimed(&server, "TAGS 1 eu STATUS 1 error"), "a", "who asks for it gets it");
}

#[test]
fn a_claim_is_shown_until_it_is_released() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let mut client = server.client();
    client.resp3();
    let reply = client.run("LTMC.AGENT.CLAIM r EX 60 REF job:7");
    let (agent, first) = agent_and_fence(&reply).expect("it is free");
    let second = claim(&server, "").expect("one is left").1;
    assert!(agent == "a" && second > first);
    let shown = shown(&server, "a");
    assert_eq!((shown.get("free").int(), shown.get("load").text()), (0, "1"));
    let shown = shown.get("claims").array();
    assert_eq!(names(&shown[0].pairs()), ["fence", "since_at_ms", "ends_at_ms", "ref"]);
    assert_eq!((shown[0].get("fence").int(), shown[1].get("fence").int()), (first, second));
    assert_eq!(shown[0].get("ends_at_ms").int() - shown[0].get("since_at_ms").int(), 60_000);
    assert!(shown[0].get("ref").text() == "job:7" && shown[1].get("ref").is_nil());
    for never in [first - 2, second + 2, 1] {
        assert_eq!(release(&server, never, ""), 0);
    }
    assert_eq!((release(&server, first, ""), release(&server, first, "OUTCOME FAIL")), (1, 0), "only once");
    assert_eq!((free(&server, "a"), field(&server, "a", "load")), (1, "0.5".into()));
    let agent = super::agents::shown(&server, "a");
    assert_eq!((agent.get("succeeded").int(), agent.get("failed").int()), (1, 0));
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE other {second}")).int(), 0, "claims belong to their registry");
}

#[test]
fn claimers_at_the_same_time_never_get_the_same_slot() {
    let server = Server::start();
    for agent in 0..5 {
        register(&server, &format!("a{agent}"), &format!("CAPACITY {}", agent + 1));
    }
    let mut clients = server.clients(20);
    for round in 0..3 {
        clients.iter_mut().for_each(|client| client.send_line(&format!("LTMC.AGENT.CLAIM r {LEASE} SORT RANDOM")));
        let replies: Vec<Reply> = clients.iter_mut().map(Client::recv).collect();
        let given: Vec<(String, i64)> = replies.iter().filter_map(agent_and_fence).collect();
        assert_eq!(given.len(), 15, "1 + 2 + 3 + 4 + 5 of 20, round {round}");
        let fences: BTreeSet<i64> = given.iter().map(|(_, fence)| *fence).collect();
        assert_eq!(fences.len(), 15);
        let mut each: BTreeMap<&str, i64> = BTreeMap::new();
        given.iter().for_each(|(agent, _)| *each.entry(agent).or_default() += 1);
        assert_eq!(each.into_iter().collect::<Vec<_>>(), [("a0", 1), ("a1", 2), ("a2", 3), ("a3", 4), ("a4", 5)]);
        // All release at the same time, each twice.
        for (client, (_, fence)) in clients.iter_mut().zip(&given) {
            client.send_line(&format!("LTMC.AGENT.RELEASE r {fence}"));
            client.send_line(&format!("LTMC.AGENT.RELEASE r {fence}"));
        }
        for client in &mut clients[..15] {
            assert_eq!((client.recv().int(), client.recv().int()), (1, 0));
        }
        assert_eq!(claims(&server), 0);
    }
}

#[test]
fn fences_and_epochs_grow_whatever_becomes_of_the_registry() {
    let mut server = Server::start();
    let mut last = 0;
    let grows = |server: &Server, last: &mut i64| {
        let epoch = register(server, "a", "CAPACITY 2");
        let fences = [claim(server, ""), claim(server, "")].map(|claim| claim.expect("two are free").1);
        // Locks take their fences from the same source.
        server.run("DEL k").int();
        let lock = server.run("LTMC.LOCK k owner PX 600000").int();
        for fence in [epoch, fences[0], fences[1], lock] {
            assert!(fence > *last && fence < 1 << 53, "{fence} after {last}");
            *last = fence;
        }
    };
    grows(&server, &mut last);
    grows(&server, &mut last);
    for line in ["DEL r", "LTMC.DEREGISTER r a", "FLUSHALL", "LTMC.DEBUG CLOCK -86400000"] {
        assert!(!server.run(line).is_error());
        grows(&server, &mut last);
    }
    server.run("LTMC.DEBUG CLOCK 86400000").ok();
    grows(&server, &mut last);
    server.restart();
    // The clock is set back by a day.
    grows(&server, &mut last);
    assert_eq!(claims(&server), 2);
}

#[test]
fn a_lease_that_ends_gives_the_capacity_back() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let long = claim(&server, "").expect("free").1;
    let short = agent_and_fence(&server.run("LTMC.AGENT.CLAIM r PX 60")).expect("free").1;
    assert_eq!(free(&server, "a"), 0);
    wait_until("the short one is over", || free(&server, "a") == 1);
    assert_eq!(server.info_int("ltmc", "ltmc_event_agent_claimexpired"), 1);
    assert_eq!(release(&server, short, ""), 0);
    let agent = shown(&server, "a");
    assert_eq!((agent.get("succeeded").int(), agent.get("failed").int()), (0, 0), "nobody said how it went");
    assert!(agent.get("latency_ms").is_nil());
    assert_eq!(release(&server, long, ""), 1);
}

#[test]
fn a_claim_does_not_wait_for_the_scheduler_to_see_that_a_lease_has_ended() {
    let server = Server::start();
    register(&server, "a", "");
    let first = claim(&server, "").expect("free").1;
    // No other client can run between these.
    let replies = server.client().pipeline(&[
        "MULTI",
        "LTMC.DEBUG CLOCK 6000001",
        "LTMC.AGENT.CLAIM r PX 1",
        &format!("LTMC.AGENT.RELEASE r {first}"),
        "LTMC.AGENT.CLAIM r PX 1",
        "EXEC",
    ]);
    let replies = replies[5].array();
    // Its TTL is shorter than the lease: it is suspect by now.
    assert!(replies[1].is_nil() && replies[3].is_nil(), "{replies:?}");
    assert_eq!(replies[2].int(), 0, "the lease is over");
    let server = Server::start();
    server.run("LTMC.REGISTER r a PX 600000000").int();
    claim(&server, "").expect("free");
    let replies = server.client().pipeline(&["MULTI", "LTMC.DEBUG CLOCK 6000001", "LTMC.AGENT.CLAIM r PX 1", "EXEC"]);
    assert_eq!(replies[3].array()[1].array()[0].text(), "a");
}

#[test]
fn released_claims_make_the_order_by_latency() {
    let server = Server::start();
    for agent in ["a", "b", "c"] {
        register(&server, agent, "CAPACITY 2");
    }
    let others =
        |agent: &str| ["a", "b", "c"].into_iter().filter(|other| *other != agent).collect::<Vec<_>>().join(" ");
    let run = |agent: &str, more: &str| {
        let fence = claim(&server, &format!("EXCLUDE 2 {}", others(agent))).expect("free").1;
        assert_eq!(release(&server, fence, more), 1);
        shown(&server, agent).get("latency_ms").int()
    };
    let order = || server.run("LTMC.AGENT.FIND r SORT LATENCY").texts().join("");
    assert_eq!(order(), "abc", "nothing is known yet");
    // A quarter of each new one: 100, 125, 195.
    assert_eq!(["100", "200", "400"].map(|ms| run("a", &format!("LATENCY {ms}"))), [100, 125, 194]);
    assert_eq!(order(), "bca", "who was never measured comes first, so that it gets measured");
    assert_eq!(run("b", "OUTCOME FAIL LATENCY 150"), 150);
    assert_eq!(run("c", "LATENCY 3153600000000 OUTCOME ok"), 3_153_600_000_000);
    assert_eq!(order(), "bac");
    assert_eq!(claimed(&server, "SORT LATENCY"), "b");
    let before = shown(&server, "c").get("latency_ms").int();
    assert!(run("c", "") < before, "without LATENCY the time since the claim counts");
    for (agent, succeeded, failed) in [("a", 3, 0), ("b", 0, 1), ("c", 2, 0)] {
        let agent = shown(&server, agent);
        assert_eq!((agent.get("succeeded").int(), agent.get("failed").int()), (succeeded, failed), "{agent:?}");
    }
    register(&server, "new", "");
    let fence = claim(&server, "SORT LATENCY EXCLUDE 1 a").expect("free");
    assert_eq!(fence.0, "new");
    assert_eq!(release(&server, fence.1, "LATENCY 0"), 1);
    assert_eq!(shown(&server, "new").get("latency_ms").int(), 1, "measured, though it took no time");
}

#[test]
fn the_time_since_the_claim_is_what_it_took() {
    let server = Server::start();
    register(&server, "a", "");
    let fence = claim(&server, "").expect("free").1;
    server.run("LTMC.DEBUG CLOCK 5000").ok();
    assert_eq!(release(&server, fence, ""), 1);
    let latency = shown(&server, "a").get("latency_ms").int();
    assert!((5000..15_000).contains(&latency), "{latency}");
}

#[test]
fn a_repeated_request_gets_the_same_claim_and_takes_nothing_more() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 200");
    let first = claim(&server, "REQID 1");
    let before = server.debug_digest();
    for more in ["REQID 1", "REQID 1 BLOCK 5", "BLOCK 0 REQID 1"] {
        assert_eq!(claim(&server, more), first, "{more}");
    }
    assert_eq!(server.debug_digest(), before);
    assert_eq!((claims(&server), server.run("LTMC.AGENT.STATS r").get("total_claimed").int()), (1, 1));
    assert_ne!(claim(&server, "REQID 2"), first);
    server.run("LTMC.REGISTER other b").int();
    assert_eq!(
        server.run("LTMC.AGENT.CLAIM other PX 600000 REQID 1").array()[0].text(),
        "b",
        "ids belong to a registry"
    );
    let fence = first.as_ref().map_or(0, |(_, fence)| *fence);
    assert_eq!(release(&server, fence, ""), 1);
    assert_eq!(claim(&server, "REQID 1"), first, "what was answered once stays the answer");
    assert_eq!(release(&server, fence, ""), 0);
    assert!(claim(&server, "REQID none CAPS 1 go").is_none());
    register(&server, "b", "CAPS 1 go");
    assert_eq!(claimed(&server, "REQID none CAPS 1 go"), "b", "nil was no answer to remember");
    // The ids belong to the registry, so a hundred other clients do not push it out.
    for id in 100..190 {
        claim(&server, &format!("REQID {id}")).expect("free");
    }
    assert_eq!(claim(&server, "REQID 1"), first);
}

#[test]
fn claims_end_with_the_incarnation_of_their_agent() {
    let server = Server::start();
    let begin = || {
        register(&server, "a", "CAPACITY 2");
        [claim(&server, ""), claim(&server, "")].map(|claim| claim.expect("both are free").1)
    };
    let assert_over = |fences: [i64; 2], how: &str| {
        for fence in fences {
            assert_eq!(release(&server, fence, ""), 0, "after {how}");
        }
    };
    let fences = begin();
    register(&server, "a", "CAPACITY 1");
    assert_over(fences, "registration");
    assert_eq!((claims(&server), free(&server, "a")), (0, 1));
    let fences = begin();
    assert_eq!(server.run("LTMC.DEREGISTER r a").int(), 1);
    assert_over(fences, "deregistration");
    let fences = begin();
    assert_eq!(server.run("DEL r").int(), 1);
    assert_over(fences, "deletion");
    register(&server, "other", "");
    let fences = begin();
    server.run("LTMC.DEREGISTER r other").int();
    let_die(&server, "a");
    assert_eq!(claims(&server), 0);
    assert_over(fences, "death");
    assert!(claim(&server, "").is_none());
    assert!(claim(&server, "STATUS 1 active").is_none());
}

#[test]
fn a_suspect_keeps_its_claims_and_gets_no_new_ones() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let fence = claim(&server, "").expect("free").1;
    super::agents::silent_until(&server, TTL_MS + 1, "a", "agent.suspected");
    assert!(claim(&server, "").is_none());
    assert_eq!(claims(&server), 1);
    server.run("LTMC.HEARTBEAT r a").int();
    assert_eq!(claimed(&server, ""), "a");
    assert_eq!(release(&server, fence, ""), 1);
}

#[test]
fn in_transactions_and_scripts_a_claim_is_tried_once() {
    let server = Server::start();
    register(&server, "a", "CAPACITY 2");
    let line = format!("LTMC.AGENT.CLAIM r {LEASE} BLOCK 0");
    let replies = server.client().pipeline(&["MULTI", &line, "LTMC.AGENT.LIST r", "EXEC"]);
    assert_eq!(replies[3].array()[0].array()[0].text(), "a");
    let script = "return redis.call('LTMC.AGENT.CLAIM', KEYS[1], 'PX', '6000000', 'BLOCK', '0')";
    let eval = || server.cmd(&["EVAL", script, "1", "r"]);
    assert_eq!(agent_and_fence(&eval()).map(|(agent, _)| agent).as_deref(), Some("a"));
    assert!(eval().is_nil(), "a script does not wait");
    let replies = server.client().pipeline(&["MULTI", &line, "LTMC.DEREGISTER r a", "EXEC"]);
    assert!(replies[3].array()[0].is_nil(), "a transaction does not wait: {replies:?}");
    assert_eq!(replies[3].array()[1].int(), 1);
    server.run("LTMC.REGISTER r a").int();
    let script = "local c = redis.call('LTMC.AGENT.CLAIM', KEYS[1], 'PX', '60000')
        return redis.call('LTMC.AGENT.RELEASE', KEYS[1], string.format('%.0f', c[2]), 'OUTCOME', 'FAIL')";
    assert_eq!(server.cmd(&["EVAL", script, "1", "r"]).int(), 1, "a fence survives the numbers of Lua");
    assert_eq!(shown(&server, "a").get("failed").int(), 1);
    assert_eq!(server.info_int("clients", "blocked_clients"), 0);
}
