//! How a decision takes effect: it is replicated, applied, notified and counted, in one place for
//! all services.

use super::auditing;
use super::bindings;
use super::service::Serve;
use super::watch_log;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::domain::algorithm::looks::uncounted;
use crate::domain::entity::expiry::Expiry;
use crate::domain::{looked, Bytes, Change, Connection, Entity, Error, Event, Millis, Record};
use crate::observe::trace::Stage;
use smallvec::SmallVec;

/// How long before the end of a TTL its key is looked at, ms: Redis deletes it when it is over.
pub const EXPIRY_LEAD_MS: Millis = 5;

/// Makes one event happen that was decided, with all that follows from it.
pub fn commit_one<E: Serve, H: Host>(node: &mut Node, host: &mut H, key: Key, event: E::Event) -> Result<(), Error> {
    commit_changes::<E, H>(node, host, key, &mut [Change::Event(event)])
}

/// Makes events happen that were decided, with all that follows from them.
pub fn commit<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    events: impl IntoIterator<Item = E::Event>,
) -> Result<(), Error> {
    let mut changes: Vec<Change<E::Event>> = events.into_iter().map(Change::Event).collect();
    commit_changes::<E, H>(node, host, key, &mut changes)
}

/// Makes changes happen that were decided, with all that follows from them. The contents of
/// `changes` may have been moved out afterwards.
pub fn commit_changes<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    if let Some(plan) = change::<E, H>(node, host, key, changes)? {
        E::follow(node, host, key, plan);
    }
    Ok(())
}

/// The same for a step of follow-up work that continues by itself: nothing follows from it.
pub fn commit_step<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    change::<E, H>(node, host, key, changes).map(drop)
}

/// The one place where a decision of this node changes an entity.
fn change<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<Option<E::Plan>, Error> {
    if changes.is_empty() {
        return Ok(None);
    }
    let mut plan = E::plan(node, host, key, changes)?;
    let audited = auditing::foresee::<E, H>(node, host, key, changes);
    if host.read::<E>(key)?.is_none() {
        if E::GIVES_WAY {
            node.evictable_keys.insert(key.id());
        }
        if E::WATCH_EVENTS_MAX > 0 {
            create::<E, H>(node, host, key)?;
        }
    }
    if cfg!(debug_assertions) {
        check_admitted::<E>(changes);
    }
    let expiry = change_value::<E, H>(node, host, key, changes)?;
    if cfg!(debug_assertions) {
        check_decided::<E, H>(host, key, changes);
    }
    if let Some(audited) = audited {
        auditing::note::<E, H>(node, host, key, audited);
    }
    node.trace.at(Stage::Wake);
    tell_watchers::<E, H>(node, host, key, changes);
    node.trace.at(Stage::Notify);
    // What happened is notified before the key goes because of it, as Redis does: rpop, then del.
    observe::<E, H>(node, host, key, changes);
    host.finish_change::<E>(key, expiry);
    act_at_expiry::<E, H>(node, host, key);
    node.key_interest.wake(&key.id(), &mut node.schedule);
    node.trace.back();
    E::settle(node, host, key, &mut plan);
    Ok(Some(plan))
}

/// In debug builds: no replica refuses what this node decides.
fn check_admitted<E: Entity>(changes: &[Change<E::Event>]) {
    for change in changes.iter().filter(|change| !change.event().is_some_and(Event::is_local)) {
        assert_eq!(uncounted(|| Record::<E>::admit(change)), Ok(()), "a replica refuses {change:?}");
    }
}

/// In debug builds the invariants are checked after each decision.
fn check_decided<E: Entity, H: Host>(host: &mut H, key: Key, changes: &[Change<E::Event>]) {
    let Ok(Some(stored)) = host.raw::<E>(key) else { return };
    for event in changes.iter().filter_map(Change::event) {
        assert_eq!(uncounted(|| stored.state.check_after(event)), Ok(()), "after {event:?}");
    }
}

/// Creates a key with a log, with revisions above those of its earlier lives.
fn create<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let revision = node.clock.birth();
    change_value::<E, H>(node, host, key, &mut [Change::Born { revision }]).map(drop)
}

/// Applies an event that only this node needs. It is not replicated, notified or saved: no other
/// node could see it. `wakes_at` says when the key has to be looked at because of it.
pub fn touch<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    event: E::Event,
    wakes_at: Option<Millis>,
) -> Result<(), Error> {
    debug_assert!(event.is_local() && event.name().is_none(), "{event:?}");
    host.write::<E>(key)?.apply(&Change::Event(event));
    if let Some(when) = wakes_at {
        node.schedule.look_at(key.id(), when);
    }
    Ok(())
}

/// Watchers of the key are served in the next round of the scheduler. If the key is about to go,
/// and its log with it, they are served at once.
pub fn tell_watchers<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<E::Event>]) {
    if E::WATCH_EVENTS_MAX == 0
        || !node.watchers.is_watched(key)
        || changes.iter().all(|change| change.name().is_none())
    {
        return;
    }
    if matches!(host.raw::<E>(key), Ok(Some(stored)) if stored.is_empty()) {
        watch_log::serve_key::<E, H>(node, host, key);
    } else {
        node.watchers.wake(&key.id());
        node.trace_watchers(key);
    }
}

/// Notifies subscribers and counts what was decided.
pub fn observe<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<E::Event>]) {
    for name in changes.iter().filter_map(Change::name) {
        host.notify(key, name);
        node.metrics.count_event(name);
    }
    node.metrics.of_mut(E::SERVICE).changes += changes.len() as u64;
}

/// Replicates changes and then applies them, on a key that was read as one of this type. In this
/// order the values in them can move into the state without a copy. Returns what becomes of the TTL
/// of the key.
pub fn change_value<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<Expiry, Error> {
    let waited_for = node.is_waited_for(key);
    node.trace.at(Stage::Replicate);
    looked(changes.len());
    host.replicate::<E>(key, changes);
    node.trace.at(Stage::Apply);
    node.trace.events(key.db, key.name, changes);
    let stored = host.raw_or_new::<E>(key)?;
    let mut untied: SmallVec<[Connection; 2]> = SmallVec::new();
    let mut touched: SmallVec<[Bytes; 2]> = SmallVec::new();
    let mut expiry = Expiry::Keeps;
    for change in changes {
        if let Change::Event(event) = change {
            if let Some(connection) = stored.state.unties(event) {
                untied.push(connection);
            }
        }
        let effects = stored.take(change);
        expiry = expiry.then(effects.expiry);
        effects.ended_bindings.iter().for_each(|binding| node.holdings.let_go(binding, &key.id()));
        touched.extend(effects.touched);
        if let Some(fence) = change.fence() {
            node.clock.observe(fence);
        }
        match change {
            Change::Event(event) => {
                event.connection().into_iter().for_each(|connection| node.connections.tie(connection, key.id()));
            }
            Change::Bound(binding) => touched.push(binding.agent.clone()),
            _ => {}
        }
    }
    bindings::note_amounts(node, key, stored, &touched);
    if E::WATCH_EVENTS_MAX > 0 {
        node.clock.observe_revision(stored.revision);
    }
    if !untied.is_empty() {
        let tied = stored.state.connections();
        untied.retain(|connection| !tied.contains(connection));
        untied.into_iter().for_each(|connection| node.connections.untie(connection, &key.id()));
    }
    if let Some(when) = stored.state.wakes_at(waited_for) {
        // What is due because of this change is not overdue.
        node.schedule.look_at(key.id(), when.max(node.now()));
    }
    Ok(expiry)
}

/// Schedules what has to be done before Redis deletes a key at the end of its TTL.
pub fn act_at_expiry<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key) {
    if !matches!(host.raw::<E>(key), Ok(Some(stored)) if stored.state.acts_at_expiry()) {
        return;
    }
    if let Some(end) = host.expires_at(key) {
        node.schedule.look_at(key.id(), end.saturating_sub(EXPIRY_LEAD_MS).max(node.now()));
    }
}
