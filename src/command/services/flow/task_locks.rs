//! The locks of tasks: taken with a claim, all or none, renewed with its lease, given back with it.
//! The lock service decides what a lock allows; a task comes after all clients that wait for the
//! lock.
//!
//! No argument of a command names these locks, except in the command that added the task. So in a
//! cluster nothing has checked that they are here. A lock that is missing while its slot moves may
//! be held on the other node: it cannot be taken, and nothing that would give it back is decided
//! before its place is known.

use crate::command::engine::commit::commit_one;
use crate::command::host::{check_here, Host, Key, KeyType, Ownership, UNSURE_MS};
use crate::command::node::Node;
use crate::command::services::lock;
use crate::domain::flow::{Flow, FlowEvent, Task};
use crate::domain::lock::{decide, Lock, Mode, Request};
use crate::domain::queue::rank::{Class, Rank};
use crate::domain::{Bytes, Db, Entity, Error, Fence, Millis};
use smallvec::SmallVec;
use std::iter::once;

/// The locks that are held with one claim.
#[derive(Debug)]
pub struct Bundle {
    /// Their owner.
    pub owner: Bytes,
    /// The locks, each with its fence.
    pub locks: Vec<(Bytes, Fence)>,
}

impl Bundle {
    /// The keys of the locks.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.locks.iter().map(|(lock, _)| lock)
    }
}

/// The locks that are given back by these events.
pub fn bundles_given_back<'a, H: Host>(
    host: &mut H,
    key: Key,
    events: impl Iterator<Item = &'a FlowEvent>,
) -> Result<Vec<Bundle>, Error> {
    let mut ended = events.filter(|event| event.ends_attempt()).filter_map(FlowEvent::task).peekable();
    let stored = if ended.peek().is_some() { host.read::<Flow>(key)? } else { None };
    Ok(stored.map_or_else(Vec::new, |stored| ended.filter_map(|id| bundle_of(stored.state.task(id)?)).collect()))
}

/// The locks that are held with an attempt.
pub fn bundle_of(task: &Task) -> Option<Bundle> {
    let run = task.run().filter(|run| !run.locks.is_empty())?;
    let locks = task.needs.locks.iter().cloned().zip(run.locks.iter().copied()).collect();
    Some(Bundle { owner: run.agent.clone(), locks })
}

fn key_of(db: Db, name: &Bytes) -> Key<'_> {
    Key { db, name, arg: 0 }
}

/// Two tasks of one agent exclude each other, too.
fn request(owner: &Bytes, lease_ms: Millis) -> Request {
    Request { lease_ms: Some(lease_ms), reentrant: false, ..Request::new(owner, Mode::Exclusive) }
}

/// The flow and these locks.
fn with_flow<'a>(flow: Key<'a>, locks: impl IntoIterator<Item = &'a Bytes>) -> SmallVec<[Key<'a>; 4]> {
    once(flow).chain(locks.into_iter().map(|lock| key_of(flow.db, lock))).collect()
}

/// Errs with `TRYAGAIN` if one of these locks of a flow may be on another node.
pub fn check_locks<'a, H: Host>(
    host: &mut H,
    flow: Key<'a>,
    locks: impl IntoIterator<Item = &'a Bytes>,
) -> Result<(), Error> {
    match &with_flow(flow, locks)[..] {
        [_] => Ok(()),
        keys => check_here(host, keys),
    }
}

/// The first of these locks of a flow that may be on another node.
pub fn first_moving<H: Host>(host: &mut H, flow: Key, locks: &[Bytes]) -> Option<usize> {
    let keys = with_flow(flow, locks);
    if host.presence(&keys) == Ownership::Here {
        return None;
    }
    keys[1..].iter().position(|lock| host.key_type(*lock) == KeyType::Nothing)
}

/// The first of the locks that cannot be had now.
pub fn first_held<H: Host>(node: &mut Node, host: &mut H, db: Db, locks: &[Bytes], owner: &Bytes) -> Option<usize> {
    let last = node.waits.next_id();
    let rank = lock::serve::rank(node, Class::Usual, 0, last);
    let request = request(owner, 1);
    locks.iter().position(|lock| !is_free(node, host, key_of(db, lock), &request, rank))
}

fn is_free<H: Host>(node: &Node, host: &mut H, key: Key, request: &Request, rank: Rank) -> bool {
    if node.check_quarantine(key).is_err() || node.queues.locks.blocks(&key.id(), request, rank) {
        return false;
    }
    match host.read::<Lock>(key) {
        Ok(None) => true,
        Ok(Some(stored)) => {
            decide::fits(&stored.state, request) && lock::serve::check_room(node, &stored.state, request).is_ok()
        }
        Err(_) => false,
    }
}

/// Takes all of the locks, or none. Then the lock that is held is noted, and the flow is looked at
/// when something happens to it. A lock that may be on another node counts as held.
pub fn take_all<H: Host>(
    node: &mut Node,
    host: &mut H,
    flow: Key,
    locks: &[Bytes],
    owner: &Bytes,
    lease_ms: Millis,
) -> Option<Vec<Fence>> {
    if !node.settings.is_enabled(Lock::SERVICE) {
        // The flow is looked at when the service is switched on again.
        locks.iter().for_each(|lock| node.key_interest.note(key_of(flow.db, lock).id(), flow.id()));
        return None;
    }
    match host.presence(&with_flow(flow, locks)) {
        Ownership::Here => {}
        Ownership::Unsure => {
            // Nothing tells that the slot has come to rest.
            node.schedule.look_at(flow.id(), node.now() + UNSURE_MS);
            return None;
        }
        Ownership::Moved(_) => return None,
    }
    for lock in locks {
        // Clients that wait for an expired lock come first.
        lock::serve::expire(node, host, key_of(flow.db, lock)).ok();
    }
    if let Some(at) = first_held(node, host, flow.db, locks, owner) {
        hope(node, host, flow, &locks[at]);
        return None;
    }
    let request = request(owner, lease_ms);
    let mut fences = Vec::with_capacity(locks.len());
    for lock in locks {
        let key = key_of(flow.db, lock);
        match lock::serve::take(node, host, key, &request, None, None) {
            Ok(fence) => fences.push(fence),
            Err(_) => {
                let locks = locks.iter().cloned().zip(fences).collect();
                give_back(node, host, flow.db, Bundle { owner: owner.clone(), locks });
                return None;
            }
        }
        lock::serve::recheck_owner(node, host, key, owner);
    }
    Some(fences)
}

fn hope<H: Host>(node: &mut Node, host: &mut H, flow: Key, lock: &Bytes) {
    let key = key_of(flow.db, lock);
    node.key_interest.note(key.id(), flow.id());
    if let Ok(Some(stored)) = host.read::<Lock>(key) {
        let first_end = stored.state.grants().first_end();
        if first_end < crate::domain::lock::NO_END {
            node.schedule.look_at(key.id(), first_end);
        }
    }
}

/// Gives back what is still held with a claim. Waiting clients have it at once. It [was
/// checked](check_locks) that the locks are here.
pub fn give_back<H: Host>(node: &mut Node, host: &mut H, db: Db, bundle: Bundle) {
    let Bundle { owner, locks } = bundle;
    for (lock, fence) in locks {
        let (key, now) = (key_of(db, &lock), node.now());
        let target = decide::Target { owner: owner.clone(), token: Some(fence), path: None };
        let event = match host.read::<Lock>(key) {
            Ok(Some(stored)) => decide::unlock(&stored.state, &target, now),
            _ => continue,
        };
        let Ok(Some(event)) = event else { continue };
        // The key was just read as a lock.
        commit_one::<Lock, H>(node, host, key, event).ok();
    }
}

/// Extends what is held with a claim to its new lease.
pub fn renew<H: Host>(node: &mut Node, host: &mut H, db: Db, bundle: &Bundle, lease_ms: Millis) {
    for (lock, fence) in &bundle.locks {
        let (key, now) = (key_of(db, lock), node.now());
        let event = match host.read::<Lock>(key) {
            Ok(Some(stored)) => decide::renew(&stored.state, &bundle.owner, *fence, lease_ms, now),
            _ => continue,
        };
        // A broken or expired lock is not taken again: its fence has been refused meanwhile.
        if let Ok(event) = event {
            commit_one::<Lock, H>(node, host, key, event).ok();
        }
    }
}
