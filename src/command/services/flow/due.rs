//! What time and the ends of agents do to a flow, decided in rounds. The end of an attempt whose
//! locks may be on another node has to wait, and keeps no other waiting.

use super::task_locks::{self, bundles_given_back, Bundle};
use crate::command::engine::commit::{commit, commit_step};
use crate::command::host::{Host, Key};
use crate::command::node::{passes, Node};
use crate::domain::flow::index::Alarm;
use crate::domain::flow::looks::Work;
use crate::domain::flow::{rounds, time, Flow, FlowEvent};
use crate::domain::{Change, Entity, Error};

/// Decides what is due, or a part of what was begun, with about `max` looks at tasks and edges.
/// What has to wait is skipped, and the next look continues behind it.
pub fn decide_due<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<usize, Error> {
    let (policy, now) = (node.settings.task_policy(), node.now());
    let behind = node.passes.take::<Alarm>(key);
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(0) };
    let (mut due, looks, last) = time::due(&stored.state, &policy, &node.gaps, now, behind, max);
    let seen = due.len();
    due.retain(|(_, event)| is_here(host, key, event));
    let is_held_up = due.len() < seen;
    let chosen = within(host, key, due.iter().map(|(_, event)| event), max);
    let cut = due.get(chosen.count).and_then(|_| due[..chosen.count].last()).map(|(alarm, _)| *alarm);
    let last = cut.or(last);
    let mut events: Vec<_> = due.into_iter().take(chosen.count).map(|(_, event)| event).collect();
    let mut work = looks.max(chosen.weight);
    if let Some(stored) = host.read::<Flow>(key)?.filter(|_| events.is_empty()) {
        let (more, looks) = rounds::go_on(&stored.state, now, policy.grace_ms, max);
        (events, work) = (more, work + looks);
    }
    let has_done = !events.is_empty();
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).collect();
    commit_step::<Flow, H>(node, host, key, &mut changes)?;
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(work) };
    if is_held_up || behind.is_some() {
        // There may be more to do of what was begun, and that does not wait for what is held up.
        let is_through = last.is_none() && !stored.state.has_begun();
        node.schedule.postpone(key.id(), passes::again_at(now, is_through, has_done || stored.state.has_begun()));
        last.into_iter().for_each(|last| node.passes.stop_at(key, last));
    } else if let Some(when) = stored.state.wakes_at(false) {
        node.schedule.look_at(key.id(), when);
    }
    Ok(work)
}

/// Keeps those of these events that can happen now, as far as they take no more than about `max`
/// looks at tasks and edges.
pub fn choose<H: Host>(node: &mut Node, host: &mut H, key: Key, events: &mut Vec<FlowEvent>, max: usize) {
    if host.is_clustered() {
        // Other events each time, so that those whose locks may be on another node do not hold up
        // the others for good.
        let first = node.random() % events.len().max(1) as u64;
        events.rotate_left(first as usize);
        let mut looks = Work::of(max);
        if let Ok(Some(stored)) = host.read::<Flow>(key) {
            let seen = events.iter().take_while(|event| looks.takes(stored.state.looks_of(event))).count();
            events.truncate(seen);
        }
        events.retain(|event| is_here(host, key, event));
    }
    let chosen = within(host, key, events.iter(), max);
    events.truncate(chosen.count);
}

/// The first of some events.
struct Chosen {
    count: usize,
    weight: usize,
}

/// As many of these events as take no more than about `max` looks.
fn within<'a, H: Host>(host: &mut H, key: Key, events: impl Iterator<Item = &'a FlowEvent>, max: usize) -> Chosen {
    let mut work = Work::of(max);
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return Chosen { count: 0, weight: 0 } };
    let count = events.take_while(|event| work.takes(stored.state.weight_of(event))).count();
    Chosen { count, weight: work.taken }
}

/// Whether no lock that an event gives back may be on another node.
fn is_here<H: Host>(host: &mut H, key: Key, event: &FlowEvent) -> bool {
    if !host.is_clustered() {
        return true;
    }
    let bundles = bundles_given_back(host, key, [event].into_iter());
    bundles.is_ok_and(|bundles| task_locks::check_locks(host, key, bundles.iter().flat_map(Bundle::keys)).is_ok())
}

/// Cancels tasks of a cancelled flow, with about `max` looks. The scheduler cancels the rest.
pub fn sweep<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<(), Error> {
    let (grace_ms, now) = (node.settings.task_policy().grace_ms, node.now());
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(()) };
    let (events, _) = rounds::sweep(&stored.state, now, grace_ms, max);
    commit::<Flow, H>(node, host, key, events)
}
