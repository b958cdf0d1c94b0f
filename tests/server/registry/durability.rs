//! Persistence, replication, failover, AOF of registries.

use super::agents::{register, shown, TTL_MS};
use super::health::{happened, named, number, story, wait_for};
use crate::harness::*;
use crate::waiting::set_clock;

mod copies;
mod failover;
mod keys;
mod stream;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;
/// A little more than a TTL.
const STEP: i64 = TTL_MS + 1000;

/// A claim that has to succeed. Returns its fence.
#[track_caller]
fn claim(server: &Server, key: &str, more: &str) -> i64 {
    run(server, &format!("LTMC.AGENT.CLAIM {key} PX {FAR_MS} {more}")).array()[1].int()
}

/// Lets all agents with a short TTL fall silent once. This many are suspected then.
#[track_caller]
fn fall_silent(server: &Server, clock: &mut i64, suspects: i64) {
    let before = happened(server, "agent.suspected");
    *clock += STEP;
    set_clock(server, *clock);
    wait_for(server, "agent.suspected", before + suspects);
}

/// What agents declare, and which are there.
fn make_agents(server: &Server) {
    run(
        server,
        &format!("LTMC.REGISTER said a NAME A CAPS 2 go@1.5 db TAGS 2 eu gpu CAPACITY 3 SESSION s PX {FAR_MS}"),
    );
    run(server, &format!("LTMC.REGISTER said b META {{\"z\":[1,\"x\"]}} STATUS STARTING PX {FAR_MS}"));
    for (agent, beat) in [
        ("a", "STATUS BUSY LOAD 0.5"),
        ("a", "HEALTH DEGRADED REASON heat"),
        ("b", "STATUS DRAINING"),
        ("b", "HEALTH FAILED"),
    ] {
        run(server, &format!("LTMC.HEARTBEAT said {agent} {beat}"));
    }
    for n in 0..30 {
        run(server, &format!("LTMC.REGISTER crowd a{n} CAPS 1 c{} TAGS 1 t{} PX {FAR_MS}", n % 3, n % 4));
    }
    run(server, "LTMC.DEREGISTER crowd a7");
    run(server, "LTMC.REGISTER crowd a9 CAPS 1 other NAME again");
    run(server, "LTMC.REGISTER gone a");
    assert_eq!(run(server, "LTMC.DEREGISTER gone a").int(), 1);
    let mut other = server.client();
    other.run("SELECT 4").ok();
    other.run(&format!("LTMC.REGISTER said z PX {FAR_MS}")).int();
}

/// Claims, and everything that ends one.
fn make_claims(server: &Server, clock: &mut i64) {
    run(server, &format!("LTMC.REGISTER claims a CAPACITY 9 PX {FAR_MS}"));
    run(server, &format!("LTMC.REGISTER claims again CAPACITY 9 TAGS 1 again PX {FAR_MS}"));
    run(server, &format!("LTMC.REGISTER claims leaves CAPACITY 9 TAGS 1 leaves PX {FAR_MS}"));
    let only_a = "EXCLUDE 2 again leaves";
    let ends = [claim(server, "claims", only_a), claim(server, "claims", only_a)];
    claim(server, "claims", &format!("{only_a} REF job REQID once"));
    run(server, &format!("LTMC.AGENT.RELEASE claims {} LATENCY 30", ends[0]));
    run(server, &format!("LTMC.AGENT.RELEASE claims {} OUTCOME FAIL LATENCY 70", ends[1]));
    run(server, &format!("LTMC.AGENT.CLAIM claims PX 1000 {only_a}"));
    *clock += 2000;
    set_clock(server, *clock);
    wait_for(server, "agent.claimexpired", 1);
    claim(server, "claims", "TAGS 1 again");
    run(server, "LTMC.REGISTER claims again");
    claim(server, "claims", "TAGS 1 leaves");
    run(server, "LTMC.DEREGISTER claims leaves");
    // It is taken back: the client is gone in the tick in which it is served.
    let mut waiter = server.client();
    let line = format!("LTMC.AGENT.CLAIM claims CAPS 1 late PX {FAR_MS} REQID never BLOCK 0");
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| line.clone());
    let late = format!("LTMC.REGISTER claims late CAPS 1 late PX {FAR_MS}");
    server.client().pipeline(&[late, format!("CLIENT KILL ID {}", waiter.id())]);
    wait_until("it is taken back", || server.info_int("ltmc", "ltmc_registry_taken_back") == 1);
}

/// Suspicion, recovery, death, removal.
fn make_silence(server: &Server, clock: &mut i64) {
    for agent in ["back", "dies"] {
        run(server, &format!("LTMC.REGISTER silence {agent} CAPACITY 2 TAGS 1 {agent} PX {TTL_MS}"));
        claim(server, "silence", &format!("TAGS 1 {agent}"));
    }
    for n in 0..8 {
        run(server, &format!("LTMC.REGISTER silence stays{n} PX {FAR_MS}"));
    }
    run(server, &format!("LTMC.REGISTER removed a PX {TTL_MS}"));
    run(server, &format!("LTMC.REGISTER removed stays PX {FAR_MS}"));
    server.run("CONFIG SET ltmc.agent-grace-ms 0").ok();
    fall_silent(server, clock, 3);
    run(server, "LTMC.HEARTBEAT silence back");
    run(server, "LTMC.HEARTBEAT silence dies");
    *clock += STEP;
    set_clock(server, *clock);
    wait_for(server, "agent.removed", 1);
    // The two have fallen silent once more meanwhile.
    wait_for(server, "agent.suspected", 5);
    run(server, "LTMC.HEARTBEAT silence back STATUS IDLE");
    server.run(&format!("CONFIG SET ltmc.agent-grace-ms {FAR_MS}")).ok();
    *clock += STEP;
    set_clock(server, *clock);
    wait_for(server, "agent.died", 2);
    wait_for(server, "agent.suspected", 6);
}

/// Damping and its end.
fn make_damping(server: &Server, clock: &mut i64) {
    // The remaining agents of `make_silence` have died by then.
    server.run("CONFIG SET ltmc.agent-damping-half-life-ms 10000000").ok();
    run(server, "LTMC.DEREGISTER silence back");
    for agent in ["damped", "undamped"] {
        run(server, &format!("LTMC.REGISTER damping {agent} PX {TTL_MS}"));
    }
    for n in 0..8 {
        run(server, &format!("LTMC.REGISTER damping stays{n} PX {FAR_MS}"));
    }
    for _ in 0..3 {
        fall_silent(server, clock, 2);
        run(server, "LTMC.HEARTBEAT damping damped");
        run(server, "LTMC.HEARTBEAT damping undamped");
    }
    run(server, &format!("LTMC.REGISTER damping undamped PX {FAR_MS}"));
    run(server, "LTMC.DEREGISTER damping damped");
    *clock += 20_000_000;
    set_clock(server, *clock);
    wait_for(server, "agent.undamped", 1);
    run(server, &format!("LTMC.REGISTER damping damped PX {TTL_MS}"));
    for _ in 0..3 {
        fall_silent(server, clock, 1);
        run(server, "LTMC.HEARTBEAT damping damped");
    }
    assert_eq!(server.run("LTMC.AGENT.GET damping damped").get("damped").int(), 1);
    run(server, &format!("LTMC.REGISTER damping damped PX {FAR_MS}"));
}

/// A hold that has ended, one that continues, and a suspect.
fn make_holds(server: &Server, clock: &mut i64) {
    server.run("CONFIG SET ltmc.agent-hold-agents-min 3").ok();
    for key in ["held", "resumed"] {
        for n in 0..4 {
            run(server, &format!("LTMC.REGISTER {key} a{n} CAPACITY 2 PX {TTL_MS}"));
        }
        claim(server, key, "");
    }
    fall_silent(server, clock, 8);
    *clock += STEP;
    set_clock(server, *clock);
    wait_for(server, "registry.held", 2);
    for n in 0..4 {
        run(server, &format!("LTMC.HEARTBEAT resumed a{n} LOAD 0.25"));
    }
    wait_for(server, "registry.resumed", 1);
    run(server, &format!("LTMC.REGISTER suspect a PX {TTL_MS}"));
    fall_silent(server, clock, 5);
}

/// The events of the registry that have a name. Each of them happens in [`make_everything`].
const EVENTS: [&str; 14] = [
    "agent.registered",
    "agent.deregistered",
    "agent.status",
    "agent.health",
    "agent.suspected",
    "agent.recovered",
    "agent.died",
    "agent.removed",
    "agent.undamped",
    "agent.claimed",
    "agent.released",
    "agent.claimexpired",
    "registry.held",
    "registry.resumed",
];

/// Registries in which everything that can happen has happened. Returns the clock after that.
fn make_everything(server: &Server) -> i64 {
    let mut clock = 0;
    make_agents(server);
    make_claims(server, &mut clock);
    make_silence(server, &mut clock);
    make_damping(server, &mut clock);
    make_holds(server, &mut clock);
    for event in EVENTS {
        assert!(happened(server, event) > 0, "{event} did not happen");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    clock
}

/// What readers find: the lists behind every index, sorted, since the order of slots does not
/// matter.
fn found(server: &Server) -> Vec<(String, Vec<String>)> {
    let mut lines = Vec::new();
    for key in ["said", "crowd", "claims", "silence", "removed", "damping", "held", "resumed", "suspect"] {
        for status in ["starting", "active", "idle", "busy", "draining", "suspect", "dead", "error"] {
            lines.push(format!("LTMC.AGENT.LIST {key} STATUS {status}"));
        }
        for filter in ["", "STATUS 4 busy idle draining active", "MINFREE 2", "SORT LOAD", "SORT LATENCY"] {
            lines.push(format!("LTMC.AGENT.FIND {key} {filter}"));
        }
    }
    for filter in ["CAPS 1 c1", "ANYCAP 2 c0 other", "TAGS 1 t3", "CAPS 1 c0 TAGS 1 t0"] {
        lines.push(format!("LTMC.AGENT.FIND crowd {filter}"));
    }
    lines.push("LTMC.AGENT.FIND said STATUS 1 busy CAPS 1 go@>=1.2 TAGS 1 gpu".into());
    lines.push("LTMC.AGENT.FIND claims STATUS 1 active SORT LATENCY".into());
    let look = |line: String| {
        let mut ids = server.run(&line).texts();
        ids.sort();
        (line, ids)
    };
    lines.into_iter().map(look).collect()
}

#[test]
fn everything_that_can_happen_to_a_registry_is_persisted_everywhere() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    // The clock is moved by more than requests are remembered by default.
    run(&primary, "CONFIG SET ltmc.request-memory-ms 86400000");
    make_everything(&primary);
    let once = format!("LTMC.AGENT.CLAIM claims PX {FAR_MS} EXCLUDE 2 again leaves REF job REQID once");
    let (seen, answered) = (found(&primary), primary.run(&once));
    replica.wait_synced(&primary);
    assert_eq!(found(&replica), seen);
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_eq!(found(&primary), seen, "what is derived is made anew");
    assert_eq!(primary.run(&once), answered);
    assert_eq!(story(&primary, "damping").len(), story(&replica, "damping").len());
    replica.wait_synced(&primary);
    let last = primary.dataset();
    primary.kill();
    replica.promote();
    // Its clock was never moved, so nothing is due there.
    assert_same("promoted replica", &last, &replica.dataset());
    assert_eq!(found(&replica), seen);
    assert_eq!(replica.run(&once), answered, "what was answered is remembered");
    let again = replica.run("LTMC.AGENT.CLAIM claims CAPS 1 late PX 5000 REQID never");
    assert_eq!(again.array()[0].text(), "late", "what was taken back begins anew");
    assert!(again.array()[1].int() > answered.array()[1].int());
}

#[test]
fn an_aof_that_is_rewritten_while_agents_come_and_go_loses_nothing() {
    for preamble in ["yes", "no"] {
        let server = Server::builder().durable().arg("aof-use-rdb-preamble", preamble).start();
        let lines: Vec<String> =
            (0..2000).map(|n| format!("LTMC.REGISTER r a{n} CAPACITY 2 CAPS 1 c{} PX {FAR_MS}", n % 7)).collect();
        server.client().pipeline(&lines);
        server.run("BGREWRITEAOF");
        let (mut client, mut turns) = (server.client(), 0);
        loop {
            let n = turns * 3 % 2000;
            let lines = [
                format!("LTMC.REGISTER r a{n} PX {FAR_MS}"),
                format!("LTMC.DEREGISTER r a{}", n + 1),
                format!("LTMC.HEARTBEAT r a{} STATUS BUSY", n + 2),
                format!("LTMC.REGISTER r{turns} a PX {FAR_MS}"),
                format!("LTMC.AGENT.CLAIM r PX {FAR_MS} REQID q{turns}"),
            ];
            let replies = client.pipeline(&lines);
            assert!(replies[4].array().len() == 2, "{replies:?}");
            turns += 1;
            if turns >= 20 && !server.is_rewriting_aof() {
                break;
            }
        }
        assert_eq!(server.info("persistence")["aof_last_bgrewrite_status"], "ok");
        let before = server.dataset();
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("AOF with RDB preamble {preamble}"), &before, &server.dataset());
        let answer = format!("LTMC.AGENT.CLAIM r PX {FAR_MS} REQID q{}", turns - 1);
        assert_eq!(server.run(&answer), server.run(&answer));
        assert_eq!(before, server.dataset(), "a repeated request is a question");
    }
}
