//! What follows for sessions and contexts from time and from their end.

use crate::command::engine::commit::{commit_one, EXPIRY_LEAD_MS};
use crate::command::engine::remains::give_back_one;
use crate::command::engine::repair::check_usable;
use crate::command::engine::service::Serve;
use crate::command::host::{check_here, Host, Key};
use crate::command::node::{passes, Node};
use crate::command::settings::Setting;
use crate::domain::reactions::Debt;
use crate::domain::versioned::{decide, Resource, Resources, State, Status, Versioned, VersionedEvent};
use crate::domain::{Bytes, Change, Entity, Error, KeyId, Millis};
use crate::observe::trace::Stage;
use std::ops::Bound;

/// Only watchers wait for a session or a context.
impl<S: State> Serve for Versioned<S> {
    const PASSES: bool = true;
    type Plan = ();

    fn plan<H: Host>(
        _node: &mut Node,
        _host: &mut H,
        _key: Key,
        _changes: &[Change<VersionedEvent<S>>],
    ) -> Result<(), Error> {
        Ok(())
    }

    /// A value that was found after a stop without notice becomes recovering. At the end of its
    /// life, what belongs to it is given back.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, _has_changed: bool) -> Result<usize, Error> {
        if host.read::<Self>(key.into())?.is_some_and(|stored| stored.state.owes().is_some()) {
            return give_back::<S, H>(node, host, key.into());
        }
        // This comes first, since an event may renew the life of a value.
        end_if_expired::<S, H>(node, host, key.into())?;
        let at = node.now();
        if host.read::<Self>(key.into())?.is_some_and(|stored| stored.state.is_found()) {
            let event = VersionedEvent::StatusChanged { at, status: Status::Recovering };
            commit_one::<Self, H>(node, host, key.into(), event)?;
        }
        Ok(0)
    }
}

/// Ends a value whose life has run out.
pub fn end_if_expired<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let now = node.now();
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(()) };
    // What belongs to it is given back in the last moment: at the end of its TTL, Redis deletes it.
    let lead_ms = if stored.state.acts_at_expiry() { EXPIRY_LEAD_MS } else { 0 };
    if host.expires_at(key).is_some_and(|end| end <= now + lead_ms) {
        node.following(Stage::Decide, |node| end::<S, H>(node, host, key, 0))?;
    }
    Ok(())
}

/// Whether the TTL of a key is over, though Redis has not deleted it yet: to us it does not exist.
pub fn has_expired<H: Host>(node: &Node, host: &mut H, key: Key) -> bool {
    host.expires_at(key).is_some_and(|end| end <= node.now())
}

/// Ends a session: what it owns is given back, and after its grace it is gone. False if it had
/// ended before.
pub fn end<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key, grace_ms: Millis) -> Result<bool, Error> {
    // Newer than any grant of any node: a lock on its way here may be younger than the last one of
    // this node.
    let (now, fence) = (node.now(), node.clock.next_fence());
    let has_expired = has_expired(node, host, key);
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(false) };
    let value = &stored.state;
    let event = match decide::end(value, grace_ms, fence, now) {
        Some(event) => event,
        // Its grace as a terminated session has run out, too.
        None if has_expired && value.owes().is_none() => VersionedEvent::Ended { at: now, gone_at: 0 },
        None => return Ok(false),
    };
    commit_one::<Versioned<S>, H>(node, host, key, event)?;
    give_back::<S, H>(node, host, key)?;
    Ok(true)
}

/// Gives back the next resources of a session that has ended, at most `sweep-batch-max` pieces. The
/// rest follows in the rounds of the scheduler, so that nobody has to wait for all of it. Returns
/// how many pieces that was.
///
/// A resource that is not here may be on another node while the slot moves, and stays owed: it is
/// skipped, and the session, here or there, is asked again until both are in one place.
fn give_back<S: State, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<usize, Error> {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    // Where users are bound to their names, no agent owns the name of a key.
    let is_bound = node.settings.agents_are_bound();
    let own_name = (!is_bound).then(|| Bytes::from(key.name));
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(0) };
    let value = &stored.state;
    let Some(end) = value.owes() else { return Ok(0) };
    let (people, until) = (value.participants().keys().cloned().chain(own_name).collect(), end.fence);
    let mut last = node.passes.take::<Bytes>(key);
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
        let at_ms = node.now();
        let debt = Debt { resource: &resource, people: &people, session: key.name, is_bound, until, at: at_ms };
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
        last.filter(|_| !is_through).into_iter().for_each(|last| node.passes.stop_at(key, last));
    } else {
        node.schedule.look_at(key.id(), node.now());
    }
    Ok(max - left)
}

/// The resources after `last`, or all.
fn behind<'a>(resources: &'a Resources, last: Option<&Bytes>) -> impl Iterator<Item = (&'a Bytes, &'a Resource)> {
    resources.range::<Bytes, _>((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}
