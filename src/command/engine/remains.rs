//! What follows when Redis has deleted a key by itself, at the end of its TTL or to evict it.
//!
//! The type's `unlink` callback reads what is left of the value, and Redis' notification says why
//! it went. There the event is published. Before anything else is decided, the node
//! [takes in](super::endings) what is left. The scheduler does the rest in its next round: watchers
//! are told, and what a session owned is given back. LTMC ends a session that owns something just
//! before its TTL is over, so this is for those that Redis was faster with.

use super::endings::ended;
use super::entity_types::with_key_type;
use super::repair::check_usable;
use super::service::Serve;
use super::watch_log;
use crate::command::engine::commit::commit;
use crate::command::host::{check_here, Host, Key, KeyType};
use crate::command::node::deferred::DeferredWork;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::reactions::{remains, Debt, Estate, Reacts};
use crate::domain::{KeyId, Record};

/// What was given back of one resource.
pub struct GiveBack {
    /// How many pieces.
    pub pieces: usize,
    /// Whether that was all.
    pub is_all: bool,
}

/// Tells the watchers of a key that has ended, and gives back at most `sweep-batch-max` pieces of
/// what it owned. The rest follows in the next rounds. Returns how much work that was.
pub fn settle<H: Host>(node: &mut Node, host: &mut H, key: KeyId, estate: Option<Box<Estate>>) -> usize {
    let (mut work, are_all_told) = watch_log::serve_last(node, host, &key);
    let mut estate = estate;
    if let Some(estate) = &mut estate {
        work += give_back(node, host, &key, estate);
    }
    let estate = estate.filter(|estate| !estate.resources.is_empty());
    if estate.is_some() || !are_all_told {
        node.deferred.push_back(DeferredWork::Expired { key, estate });
    }
    work
}

/// A resource that cannot be worked on now (it is in quarantine, or its slot is moving) is left to
/// its own leases: nothing else remembers it.
fn give_back<H: Host>(node: &mut Node, host: &mut H, session: &KeyId, estate: &mut Estate) -> usize {
    let is_bound = node.settings.agents_are_bound();
    // Where users are bound to their names, no agent owns the name of a key.
    let own_name = (!is_bound).then(|| session.name.clone());
    let people = estate.people.iter().cloned().chain(own_name).collect();
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    let (mut left, until) = (max, estate.until);
    node.audit.gives_back(until);
    while left > 0 {
        let Some((name, resource)) = estate.resources.pop_first() else { break };
        let at = Key { db: session.db, name: &name, arg: 0 };
        if check_here(host, &[session.into(), at]).is_err() || check_usable(node, host, at).is_err() {
            left -= 1;
            continue;
        }
        let debt =
            Debt { resource: &resource, people: &people, session: &session.name, is_bound, until, at: node.now() };
        let given = give_back_one(node, host, at, &debt, left);
        left = left.saturating_sub(given.pieces.max(1));
        if !given.is_all {
            estate.resources.insert(name, resource);
        }
    }
    max - left
}

/// Gives back what is held of one resource, at most `max` pieces.
pub fn give_back_one<H: Host>(node: &mut Node, host: &mut H, resource: Key, debt: &Debt, max: usize) -> GiveBack {
    let nothing = GiveBack { pieces: 0, is_all: true };
    with_key_type!(host.key_type(resource), E => give_back_of::<E, H>(node, host, resource, debt, max), else nothing)
}

fn give_back_of<E: Serve, H: Host>(node: &mut Node, host: &mut H, resource: Key, debt: &Debt, max: usize) -> GiveBack {
    let stored = host.read::<E>(resource).ok().flatten();
    let mut events = stored.map_or_else(Vec::new, |stored| stored.state.session_ended(debt, max + 1));
    let is_all = events.len() <= max;
    events.truncate(max);
    let pieces = events.len();
    // The key was just read as of this type.
    commit::<E, H>(node, host, resource, events).ok();
    GiveBack { pieces, is_all }
}

/// A file held a session that owns something. Redis drops a key whose TTL was over before an RDB
/// was loaded, without a word. From an AOF it drops none.
pub fn note_estate<E: Reacts>(node: &mut Node, key: &KeyId, stored: &Record<E>) {
    if stored.state.acts_at_expiry() {
        // Its TTL is not known yet.
        node.look_at_soon(key.clone());
    }
    let remains = remains(stored, node.now(), false).filter(|remains| remains.estate.is_some());
    let Some(loading) = node.loading.as_mut().filter(|_| !node.replica) else { return };
    loading.extend(remains.map(|remains| (key.clone(), remains)));
}

/// An RDB was loaded, and no command has run since: what it held and what is missing had ended.
pub fn loaded<H: Host>(node: &mut Node, host: &mut H) {
    for (key, remains) in node.loading.take().into_iter().flatten() {
        let is_missing = host.key_type((&key).into()) == KeyType::Nothing;
        // One that ends only now, when it is looked at, leaves its remains itself.
        let ends_now = host.take_expired();
        if is_missing && ends_now.is_empty() {
            remains.event.into_iter().for_each(|event| host.notify((&key).into(), event));
            ended(node, key, remains);
        }
        ends_now.into_iter().for_each(|(key, remains)| ended(node, key, remains));
    }
}
