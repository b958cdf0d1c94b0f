//! What follows for sessions and contexts from time and from their end.

use crate::command::engine::commit::{commit, commit_one};
use crate::command::engine::repair::check_usable;
use crate::command::host::{check_here, Host, Key, KeyType};
use crate::command::node::{passes, Node};
use crate::command::services::buffer::serve as buffer_serve;
use crate::command::services::lock::serve as lock_serve;
use crate::command::services::registry::serve as registry_serve;
use crate::command::settings::Setting;
use crate::domain::buffer::{decide as buffer_rules, Buffer};
use crate::domain::lock::{decide as lock_rules, Lock};
use crate::domain::registry::{decide as registry_rules, Registry};
use crate::domain::versioned::{decide, Resource, Resources, State, Status, Versioned, VersionedEvent};
use crate::domain::{Bytes, Entity, Error, Fence, KeyId, Millis};
use std::collections::BTreeSet;
use std::ops::Bound;

/// The scheduler looks at a key: after a stop without notice its value is recovering, and at the end of its life what belongs to it is given
/// back. Says how much work it was.
pub fn wake<S: State, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> Result<usize, Error> {
    if host.read::<Versioned<S>>(key.into())?.is_some_and(|stored| stored.state.owes().is_some()) {
        return give_back::<S, H>(node, host, key.into());
    }
    // First, since what happens to a value gives it its life anew.
    end_if_over::<S, H>(node, host, key.into())?;
    let at = node.now();
    if host.read::<Versioned<S>>(key.into())?.is_some_and(|stored| stored.state.is_found()) {
        let event = VersionedEvent::StatusChanged { at, status: Status::Recovering };
        commit_one::<Versioned<S>, H>(node, host, key.into(), event)?;
    }
    Ok(0)
}

/// Ends what is still there though its life is over.
pub fn end_if_over<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let now = node.now();
    match host.read::<Versioned<S>>(key)? {
        Some(stored) if stored.state.is_over(now) => end::<S, H>(node, host, key, 0).map(drop),
        _ => Ok(()),
    }
}

/// Ends a session: what it owns is given back, and after a while it is gone. False if it had ended before.
pub fn end<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key, grace_ms: Millis) -> Result<bool, Error> {
    // Newer than what any node has granted: a lock that is on its way here may be younger than the last one of this node.
    let (now, fence) = (node.now(), node.clock.next_fence());
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(false) };
    let value = &stored.state;
    let event = match decide::end(value, grace_ms, fence, now) {
        Some(event) => event,
        // Its time as a terminated session is over, too.
        None if value.is_over(now) && value.owes().is_none() => VersionedEvent::Ended { at: now, gone_at: 0 },
        None => return Ok(false),
    };
    commit_one::<Versioned<S>, H>(node, host, key, event)?;
    give_back::<S, H>(node, host, key)?;
    Ok(true)
}

/// What a session gives back of a resource.
struct Debt<'a> {
    /// By whose word it belongs to the session.
    resource: &'a Resource,
    /// The participants, and the session itself under the name of its key.
    people: &'a BTreeSet<Bytes>,
    /// What is written on its claims, which is the name of its key.
    session: &'a [u8],
    /// Users are bound to their names, so that no word is about what others have written on claims.
    is_bound: bool,
    /// The fence of its end: what was granted later is younger.
    until: Fence,
}

impl Debt<'_> {
    fn is_of(&self, holder: &[u8]) -> bool {
        self.resource.frees(holder, |holder| self.people.contains(holder))
    }

    /// The claims on agents of a registry that are given back: those of the session, and those on which a giver has written its own name.
    fn claims_in<'a>(&'a self, registry: &'a Registry) -> impl Iterator<Item = Fence> + 'a {
        let is_of_session = !self.is_bound || self.resource.givers().any(|giver| giver.is_empty());
        let of_session = is_of_session.then(|| registry.claims_with(self.session, self.until));
        let named = self.resource.givers().filter(|giver| !giver.is_empty());
        let of_givers = named.flat_map(|giver| registry.claims_under(giver, self.until));
        of_session.into_iter().flatten().chain(of_givers)
    }

    /// Those who have something in a buffer that is given back.
    fn holders_in<'a>(&'a self, buffer: &'a Buffer) -> impl Iterator<Item = &'a Bytes> {
        let of_all = || self.resource.givers().any(|giver| giver.is_empty()).then_some(self.people);
        let named = self.resource.givers().filter(|giver| !giver.is_empty());
        of_all().into_iter().flatten().chain(named.flat_map(|giver| buffer.agents_under(giver)))
    }
}

/// Gives back the next of what a session that has ended owns, at most `sweep-batch-max` pieces; the rest follows in the rounds of the
/// scheduler, so that nobody has to wait for all of it. What may be on another node, since it is not here and the slot is on the move, stays owed:
/// it is passed over, and the session, here or there, is asked again until both are in one place. Says how many pieces it was.
fn give_back<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<usize, Error> {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    // Where users are bound to their names, the name of a key is nobody's.
    let is_bound = node.settings.agents_are_bound();
    let own_name = (!is_bound).then(|| Bytes::from(key.name));
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(0) };
    let value = &stored.state;
    let Some(end) = value.owes() else { return Ok(0) };
    let (people, until) = (value.participants().keys().cloned().chain(own_name).collect(), end.fence);
    let mut last = node.passes.take_resource(key);
    let next = behind(value.resources(), last.as_ref()).take(max);
    let next: Vec<(Bytes, Resource)> = next.map(|(name, resource)| (name.clone(), resource.clone())).collect();
    let (mut left, mut returned, mut has_done, mut waits) = (max, Vec::new(), false, last.is_some());
    for (name, resource) in next {
        if left == 0 {
            break;
        }
        let at = Key { db: key.db, name: &name, arg: 0 };
        if check_here(host, &[key, at]).is_err() || check_usable(node, host, at).is_err() {
            (left, waits, last) = (left - 1, true, Some(name));
            continue;
        }
        let debt = Debt { resource: &resource, people: &people, session: key.name, is_bound, until };
        let given = give_back_one(node, host, at, &debt, left);
        (left, has_done) = (left - given.pieces.max(1), true);
        if given.is_all {
            returned.push(name);
        }
    }
    if !returned.is_empty() {
        let event = VersionedEvent::Returned { at: node.now(), resources: returned };
        commit_one::<Versioned<S>, H>(node, host, key, event)?;
    }
    let owing = host.read::<Versioned<S>>(key)?.map(|stored| &stored.state).filter(|value| value.owes().is_some());
    let Some(value) = owing else { return Ok(max - left) };
    if waits {
        let is_through = behind(value.resources(), last.as_ref()).next().is_none();
        node.schedule.postpone(key.id(), passes::again_at(node.now(), is_through, has_done));
        last.filter(|_| !is_through).into_iter().for_each(|last| node.passes.stop_at_resource(key, last));
    } else {
        node.schedule.look_at(key.id(), node.now());
    }
    Ok(max - left)
}

/// The resources after one, or all.
fn behind<'a>(resources: &'a Resources, last: Option<&Bytes>) -> impl Iterator<Item = (&'a Bytes, &'a Resource)> {
    resources.range::<Bytes, _>((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// What was given back of one resource.
struct GiveBack {
    pieces: usize,
    is_all: bool,
}

/// The first `max` of what is to be given back.
fn first<V>(events: &mut Vec<V>, max: usize) -> GiveBack {
    let is_all = events.len() <= max;
    events.truncate(max);
    GiveBack { pieces: events.len(), is_all }
}

/// Gives back what is held of one resource, at most `max` pieces.
fn give_back_one<H: Host>(node: &mut Node, host: &mut H, resource: Key, debt: &Debt, max: usize) -> GiveBack {
    const NOTHING: GiveBack = GiveBack { pieces: 0, is_all: true };
    match host.kind(resource) {
        KeyType::Ours(Lock::TYPE_TAG) => {
            let Ok(Some(stored)) = host.read::<Lock>(resource) else { return NOTHING };
            let mut events = lock_rules::released(&stored.state, |owner| debt.is_of(owner), debt.until, max + 1);
            let given = first(&mut events, max);
            // It was just read as a lock.
            if given.pieces > 0 && commit::<Lock, H>(node, host, resource, events).is_ok() {
                lock_serve::serve_waiting(node, host, resource);
            }
            given
        }
        KeyType::Ours(Registry::TYPE_TAG) => {
            let at = node.now();
            let Ok(Some(stored)) = host.read::<Registry>(resource) else { return NOTHING };
            let claims = debt.claims_in(&stored.state).take(max + 1);
            let mut events = registry_rules::release_all(&stored.state, claims, at);
            let given = first(&mut events, max);
            let _ = registry_serve::commit(node, host, resource, events);
            given
        }
        KeyType::Ours(Buffer::TYPE_TAG) => {
            let at = node.now();
            let Ok(Some(stored)) = host.read::<Buffer>(resource) else { return NOTHING };
            let holders = debt.holders_in(&stored.state);
            let held = holders.flat_map(|holder| buffer_rules::let_go(&stored.state, holder, at));
            let mut events = held.take(max + 1).collect();
            let given = first(&mut events, max);
            let _ = buffer_serve::commit(node, host, resource, events);
            given
        }
        _ => NOTHING,
    }
}
