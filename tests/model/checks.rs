//! The automatic check: how much it looks at, when, and what it skips.

use crate::host::{MemoryHost, Value};
use ltmc::command::node::Node;
use ltmc::command::scheduler;
use ltmc::command::settings::{Setting, SETTINGS};
use ltmc::domain::lock::{Grant, Lock, LockEvent, Mode};
use ltmc::domain::{Bytes, Change, KeyId, Record};

const NOW: u64 = 1_767_225_600_000;

fn set(node: &mut Node, setting: Setting, value: i64) {
    let at = SETTINGS.iter().position(|row| row.name == setting.row().name).expect("a setting");
    node.settings.set_at(at, value);
}

fn lock(grants: u64) -> Value {
    let mut stored = Record::<Lock>::default();
    for n in 0..grants {
        let owner = Bytes::from(format!("o{n}").as_str());
        let (fence, ends_at) = (NOW * 1000 + 2 * n, NOW + 3_600_000);
        let grant = Grant { fence, ends_at, since: NOW, owner, levels: 1, mode: Mode::Shared, client: 0, extra: None };
        stored.apply(&Change::Event(LockEvent::Granted(grant)));
    }
    Value::Ours(Box::new(stored))
}

/// A node and a time, with keys of this many grants each.
fn world(grants: &[u64]) -> (Node, MemoryHost) {
    let (mut node, mut host) = (Node::default(), MemoryHost::default());
    for (at, grants) in grants.iter().enumerate() {
        host.keys.insert(KeyId::new(0, format!("k{at}").as_bytes()), (lock(*grants), None));
    }
    node.checks.has_values = !grants.is_empty();
    node.clock.set_now_us(NOW * 1000);
    (node, host)
}

/// Lets time pass until `end`, with a round of the scheduler whenever one is due. Returns the times
/// of the rounds in which something was checked.
fn run_until(node: &mut Node, host: &mut MemoryHost, end: u64) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(next) = scheduler::next_tick(node).map(|next| next.max(node.now())).filter(|next| *next <= end) {
        assert!(times.len() < 1_000, "time stands still");
        node.clock.set_now_us(next * 1000);
        let before = node.metrics.checked;
        scheduler::tick(node, host);
        times.extend((node.metrics.checked > before).then_some(next - NOW));
    }
    node.clock.set_now_us(end * 1000);
    times
}

#[test]
fn without_values_or_without_a_rate_nothing_is_due() {
    let (node, _) = world(&[]);
    assert_eq!((ltmc::command::scheduler::scrub::next_step(&node), scheduler::next_tick(&node)), (None, None));
    let (mut node, mut host) = world(&[1, 1]);
    set(&mut node, Setting::CheckRate, 0);
    assert_eq!(scheduler::next_tick(&node), None);
    set(&mut node, Setting::CheckRate, 100);
    assert_eq!(run_until(&mut node, &mut host, NOW), [0]);
    assert_eq!((node.metrics.checked, node.metrics.sweeps), (2, 0));
}

#[test]
fn few_values_are_checked_once_a_second() {
    let (mut node, mut host) = world(&[1, 1, 1]);
    assert_eq!(run_until(&mut node, &mut host, NOW + 3_500), [0, 1_000, 2_000, 3_000]);
    assert_eq!(node.metrics.checked, 12);
    assert_eq!(node.metrics.check_round_ms, Some(0));
    node.replica = true;
    assert_eq!(run_until(&mut node, &mut host, NOW + 4_500), [4_000], "replicas do it, too");
}

#[test]
fn large_values_count_for_more_and_are_looked_at_in_parts_if_they_are_too_large() {
    let (mut node, mut host) = world(&[1_000, 1]);
    set(&mut node, Setting::CheckRate, 2);
    // Ten for the large one: five seconds at two a second.
    assert_eq!(run_until(&mut node, &mut host, NOW + 11_000), [0, 5_000, 10_000]);
    assert_eq!(node.metrics.check_in_parts, 0);
    set(&mut node, Setting::CheckElementsMax, 400);
    // Parts of 400, 400 and 200, and from the beginning: two seconds for four hundred.
    let times = run_until(&mut node, &mut host, NOW + 24_500);
    assert_eq!(times, [15_000, 17_000, 19_000, 20_000, 22_000, 24_000]);
    assert_eq!((node.metrics.check_in_parts, node.metrics.check_skipped), (1, 0));
    host.keys.remove(&KeyId::new(0, b"k0"));
    run_until(&mut node, &mut host, NOW + 30_000);
    assert_eq!(node.metrics.check_in_parts, 0, "it is forgotten");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let (mut node, mut host) = world(&[1]);
    run_until(&mut node, &mut host, NOW);
    node.clock.set_now_us((NOW - 3_600_000) * 1000);
    let before = node.metrics.checked;
    scheduler::tick(&mut node, &mut host);
    assert_eq!(node.metrics.checked, before + 1);
    assert_eq!(scheduler::next_tick(&node), Some(NOW - 3_600_000 + 1_000));
}
