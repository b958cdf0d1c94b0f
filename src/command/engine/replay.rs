//! What another node decided or a file held: it is applied as it was decided.

use super::commit::{act_at_expiry, change_value, tell_watchers};
use super::cx::Cx;
use super::service::Serve;
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::record::Payload;
use crate::domain::entity::HANDED_IN_NUMBER_MAX;
use crate::domain::entity_types::with_type;
use crate::domain::value::bytes::printable;
use crate::domain::{Change, Entity, Error, KeyId, Record};
use crate::observe::trace::Stage;

/// Applies a framed payload, with its blobs, to a key. If a file or a primary sent it and it cannot
/// be applied, it is lost, so the operator is told.
pub fn apply_payload<H: Host>(cx: &mut Cx<H>, key: Key, payload: &[u8], blobs: &[&[u8]]) -> Result<(), Error> {
    let applied = apply_read(cx, key, payload, blobs);
    if let (Err(error), true) = (&applied, cx.host.is_trusted()) {
        cx.host.payload_lost(key, payload, error);
    }
    applied
}

fn apply_read<H: Host>(cx: &mut Cx<H>, key: Key, payload: &[u8], blobs: &[&[u8]]) -> Result<(), Error> {
    with_type!(H::payload_tag(payload)?, E => match cx.host.read_payload::<E>(key, payload, blobs)? {
        Some(Payload::Changes(mut changes)) => apply_changes::<E, H>(cx, key, &mut changes),
        Some(Payload::Snapshot(stored)) => apply_snapshot::<E, H>(cx, key, stored),
        None => Ok(()),
    }, other => Err(unknown_type(other)))
}

/// The error for an unknown type tag.
pub fn unknown_type(tag: u8) -> Error {
    Error::usage(format!("payload has the unknown type tag {tag}"))
}

/// Applies changes that another node decided or that a file held. A value under suspicion gets
/// them, too, or it would be stale once it is cleared. If the client is not trusted, the result is
/// checked first, and nothing changes if it breaks a rule.
pub fn apply_changes<E: Serve + Clone, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    let is_trusted = cx.host.is_trusted();
    let dropped = if is_trusted { drop_changes::<E, H>(cx, key, changes)? } else { 0 };
    let changes = &mut changes[dropped..];
    if dropped > 0 && changes.is_empty() {
        return Ok(());
    }
    let stored = if is_trusted { cx.host.raw::<E>(key)?.map(|stored| &*stored) } else { cx.host.read::<E>(key)? };
    let is_new = stored.is_none();
    if !is_trusted {
        changes.iter().filter_map(Change::fence).try_for_each(|fence| cx.node.clock.check_handed_in(fence))?;
        let mut trial = stored.cloned().unwrap_or_default();
        changes.iter().for_each(|change| drop(trial.apply_unchecked(change)));
        trial.check_loaded().map_err(|broken| Error::usage(format!("payload does not fit this key: {}", broken.0)))?;
        check_handed_in(cx.node, &trial)?;
    }
    if E::GIVES_WAY && is_new {
        cx.node.evictable_keys.insert(key.id());
    }
    E::foresee(cx.node, cx.host, key, changes);
    let expiry = change_value::<E, H>(cx.node, cx.host, key, changes)?;
    note_found::<E>(cx.node, key, &mut cx.host.raw_or_new::<E>(key)?.state);
    cx.node.trace.at(Stage::Notify);
    tell_watchers::<E, H>(cx.node, cx.host, key, changes);
    finish_applied::<E, H>(cx, key, changes.len(), expiry);
    Ok(())
}

/// Drops changes of a broken value, until a whole value comes or the life of the key ends. Returns
/// how many it dropped.
fn drop_changes<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, changes: &[Change<E::Event>]) -> Result<usize, Error> {
    let Some(stored) = cx.host.raw::<E>(key)?.filter(|stored| stored.is_broken()) else { return Ok(0) };
    let new_life = Change::new_life(changes);
    let count = new_life.unwrap_or(changes.len());
    let are_first = count > 0 && stored.drop_changes(count);
    let shown = shown::<E>(key);
    if new_life.is_some() {
        cx.host.warn(&format!("LTMC: {shown} was broken, and is gone: the key has ended where it was well"));
        cx.host.put(key, Record::<E>::default())?;
        cx.host.finish_change::<E>(key, Expiry::Keeps);
    } else if are_first {
        cx.host.warn(&format!("LTMC: {shown} is broken, and the changes that come for it are dropped"));
    }
    // This node's own AOF holds them all the same.
    cx.host.replicate::<E>(key, &changes[..count]);
    cx.node.metrics.dropped += count as u64;
    Ok(count)
}

/// A value, in a line of the log.
fn shown<E: Entity>(key: Key) -> String {
    format!("the {} '{}' in database {}", E::TYPE_NAME, printable(key.name), key.db)
}

/// Puts a whole value that another node or a file sent under `key`. A broken one goes into
/// quarantine.
pub fn apply_snapshot<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, mut stored: Record<E>) -> Result<(), Error> {
    if !cx.host.is_trusted() {
        check_handed_in(cx.node, &stored)?;
    }
    if let Some(fault) = stored.fault() {
        let (shown, text) = (shown::<E>(key), fault.text());
        cx.host.warn(&format!("LTMC: {shown} is broken, and in quarantine: {text}"));
    } else {
        stored.state.loaded(cx.now());
        note_found::<E>(cx.node, key, &mut stored.state);
    }
    cx.host.put(key, stored)?;
    // If the old value was broken, it is replaced now.
    cx.node.quarantine.remove(&key.id());
    if let Some(stored) = cx.host.raw::<E>(key)?.filter(|stored| stored.fault().is_none()) {
        note_value(cx.node, key, stored);
    }
    cx.node.watchers.wake(&key.id());
    cx.host.replicate_snapshot::<E>(key);
    finish_applied::<E, H>(cx, key, 1, Expiry::Keeps);
    Ok(())
}

/// Errs if a value from a client would take fences or revisions from this node, or has used up its
/// own numbers.
pub fn check_handed_in<E: Entity>(node: &Node, stored: &Record<E>) -> Result<(), Error> {
    node.clock.check_handed_in(stored.last_fence())?;
    if E::WATCH_EVENTS_MAX > 0 {
        node.clock.check_revision(stored.revision)?;
    }
    let number = stored.last_number();
    if number <= HANDED_IN_NUMBER_MAX {
        return Ok(());
    }
    Err(Error::usage(format!("payload holds the number {number}, allowed are up to {HANDED_IN_NUMBER_MAX}")))
}

fn finish_applied<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, changes: usize, expiry: Expiry) {
    cx.node.metrics.of_mut(E::SERVICE).applied += changes as u64;
    cx.host.finish_change::<E>(key, expiry);
    act_at_expiry::<E, H>(cx.node, cx.host, key);
    // A replica serves nobody, but clients that wait for an end are told.
    if cx.node.is_waited_for(key) && (!cx.node.replica || cx.node.queues.has_replica_waiters()) {
        cx.node.look_at_soon(key.id());
    }
}

/// Learns what a value means for this process: its fences, deadlines and connections. Called for
/// every value that is loaded.
pub fn note_value<E: Entity>(node: &mut Node, key: Key, stored: &Record<E>) {
    node.clock.observe(stored.last_fence());
    if E::WATCH_EVENTS_MAX > 0 {
        node.clock.observe_revision(stored.revision);
    }
    for connection in stored.state.connections() {
        node.connections.tie(connection, key.id());
    }
    if E::GIVES_WAY {
        node.evictable_keys.insert(key.id());
    }
    for binding in stored.bindings() {
        if node.holdings.hold(binding, key.id(), stored.amount_of(&binding.agent)) {
            // The value comes from a file, another name or another node: is its agent still there?
            node.ask_for_agents(KeyId::new(key.db, &binding.registry));
        }
    }
    if let Some(when) = stored.state.wakes_at(node.is_waited_for(key)) {
        node.schedule.look_at(key.id(), when);
    }
}

/// A value that was loaded from a file after a stop without notice is told of that, and is looked
/// at soon. A replica learns from its primary what has become of it.
pub fn note_found<E: Entity>(node: &mut Node, key: Key, state: &mut E) {
    if E::RECOVERS && node.recovers && !node.replica {
        state.found();
        node.look_at_soon(key.id());
    }
}
