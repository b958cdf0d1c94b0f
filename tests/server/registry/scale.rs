//! Ten thousand agents and more.

use super::agents::TTL_MS;
use super::health::{happened, wait_for};
use crate::harness::*;
use crate::waiting::set_clock;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many commands are sent in one write.
const BATCH: usize = 2000;

/// Sends one line for each number, in writes of [`BATCH`].
#[track_caller]
fn send_all(client: &mut Client, numbers: impl Iterator<Item = usize>, line: impl Fn(usize) -> String) {
    let lines: Vec<String> = numbers.map(line).collect();
    for part in lines.chunks(BATCH) {
        let replies = client.pipeline(part);
        assert!(replies.iter().all(|reply| !reply.is_error() && !reply.is_nil()), "{:?}", replies.first());
    }
}

const TEAM: usize = 10_000;

/// Every third agent is killed.
fn is_killed(agent: &usize) -> bool {
    agent % 3 == 0
}

fn ids(keep: impl Fn(&usize) -> bool) -> BTreeSet<String> {
    (0..TEAM).filter(|agent| keep(agent)).map(|agent| format!("a{agent}")).collect()
}

fn set(reply: &Reply) -> BTreeSet<String> {
    reply.texts().into_iter().collect()
}

#[test]
fn of_ten_thousand_agents_exactly_those_die_that_are_killed() {
    let primary = Server::start();
    let replica = primary.replica();
    primary.run("CONFIG SET ltmc.agent-grace-ms 31536000000").ok();
    let mut client = primary.client();
    let register = |n| format!("LTMC.REGISTER r a{n} CAPACITY 2 CAPS 2 go c{} TAGS 1 t{} PX {TTL_MS}", n % 3, n % 7);
    send_all(&mut client, 0..TEAM, register);
    send_all(&mut client, 0..TEAM, |_| format!("LTMC.AGENT.CLAIM r PX {}", 100 * TTL_MS));
    let killed = ids(is_killed);
    let living = ids(|agent| !is_killed(agent));
    let dead = killed.len() as i64;
    for (offset, event, count) in [
        (TTL_MS - 30_000, "agent.claimed", TEAM as i64),
        (TTL_MS + 30_000, "agent.suspected", dead),
        (2 * TTL_MS - 60_000, "agent.suspected", dead),
        (2 * TTL_MS + 60_000, "agent.died", dead),
    ] {
        set_clock(&primary, offset);
        // Their heartbeats come while the scheduler works.
        send_all(&mut client, (0..TEAM).filter(|agent| !is_killed(agent)), |n| format!("LTMC.HEARTBEAT r a{n}"));
        wait_for(&primary, event, count);
    }
    for (event, count) in [("agent.suspected", dead), ("agent.recovered", 0), ("registry.held", 0)] {
        assert_eq!(happened(&primary, event), count, "{event}");
    }
    replica.wait_synced(&primary);
    for server in [&primary, &replica] {
        assert_eq!(set(&server.run("LTMC.AGENT.LIST r STATUS dead")), killed);
        assert_eq!(set(&server.run("LTMC.AGENT.FIND r CAPS 1 go")), living);
        assert_eq!(set(&server.run("LTMC.AGENT.FIND r SORT LOAD")), living);
        assert!(server.run("LTMC.AGENT.FIND r CAPS 1 c0").array().is_empty(), "these are the killed");
        assert_eq!(
            server.run("LTMC.AGENT.FIND r CAPS 1 c1 TAGS 1 t4 MINFREE 1").array().len(),
            (TEAM - 4).div_ceil(21)
        );
        let stats = server.run("LTMC.AGENT.STATS r");
        let living = living.len() as i64;
        for (name, value) in
            [("agents", TEAM as i64), ("active", living), ("dead", dead), ("claims", living), ("claimable", living)]
        {
            assert_eq!(stats.get(name).int(), value, "{name}");
        }
    }
    // Each living agent has one unit left, and no other has any.
    let line = format!("LTMC.AGENT.CLAIM r PX {TTL_MS}");
    let claimed: BTreeSet<String> = client
        .pipeline(&vec![line.as_str(); living.len()])
        .iter()
        .map(|got| got.array()[0].text().to_string())
        .collect();
    assert_eq!(claimed, living);
    assert!(client.run(&line).is_nil());
    replica.wait_synced(&primary);
    assert_same("replica", &primary.dataset(), &replica.dataset());
    primary.debug_reload();
    assert_eq!(set(&primary.run("LTMC.AGENT.LIST r STATUS dead")), killed);
}

const CROWD: usize = 100_000;

/// The longest answer to a ping since the last call, ms.
fn longest_ping(longest_us: &AtomicU64) -> f64 {
    longest_us.swap(0, Ordering::Relaxed) as f64 / 1000.0
}

#[test]
fn a_hundred_thousand_agents_come_and_go_while_others_are_served() {
    let primary = Server::builder().arg("ltmc.registry-agents-max", CROWD).start();
    let replica = primary.replica();
    // In real time: what is due is spread as the registrations were.
    primary.run("CONFIG SET ltmc.agent-grace-ms 0 ltmc.agent-hold-share-percent 0").ok();
    let (is_over, longest_us) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = primary.client();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.run("PING");
                longest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let mut client = primary.client();
        let began = Instant::now();
        send_all(&mut client, 0..CROWD, |n| format!("LTMC.REGISTER r a{n} CAPS 1 c{} PX 1000", n % 10));
        eprintln!("registration: {:?}, longest ping {:.1} ms", began.elapsed(), longest_ping(&longest_us));
        let (began, mut lag_ms) = (Instant::now(), 0);
        let mut all_are = |event: &str| {
            // Longer than the harness waits for a condition, for a busy machine.
            let done = holds_within(Duration::from_secs(60), || {
                lag_ms = lag_ms.max(primary.info_int("ltmc", "ltmc_sweep_lag_ms"));
                happened(&primary, event) == CROWD as i64
            });
            assert!(done, "{event}: {} of {CROWD}", happened(&primary, event));
            let (took, ping) = (began.elapsed(), longest_ping(&longest_us));
            eprintln!("all {event} after {took:?}, longest ping {ping:.1} ms, largest lag {lag_ms} ms");
        };
        ["agent.suspected", "agent.died", "agent.removed"].into_iter().for_each(&mut all_are);
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(happened(&primary, "agent.registered"), CROWD as i64);
    for (event, count) in [("agent.recovered", 0), ("registry.held", 0)] {
        assert_eq!(happened(&primary, event), count, "{event}");
    }
    assert_eq!(primary.run("DBSIZE").int(), 0, "the key went with the last of them");
    replica.wait_synced(&primary);
    assert_eq!(replica.run("DBSIZE").int(), 0);
    assert_eq!(primary.info_int("ltmc", "ltmc_panics") + replica.info_int("ltmc", "ltmc_panics"), 0);
}
