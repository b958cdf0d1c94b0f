//! What follows for sessions and contexts from time and from their end.

use super::dispatch::{commit, commit_one};
use super::{lock_serve, registry_serve, Host, Key, Kind, Node};
use crate::domain::lock::{decide as lock_rules, Lock};
use crate::domain::registry::{decide as registry_rules, Registry};
use crate::domain::versioned::{decide, State, Status, Versioned, VersionedEvent};
use crate::domain::{Bytes, Entity, Error, KeyId, Millis};
use std::collections::BTreeSet;

/// The scheduler looks at a key: after a stop without notice its value is recovering, and at the end of its life what belongs to it is given
/// back.
pub fn wake<S: State, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> Result<(), Error> {
    // First, since what happens to a value gives it its life anew.
    end_if_over::<S, H>(node, host, key.into())?;
    let at = node.now();
    if host.read::<Versioned<S>>(key.into())?.is_some_and(|stored| stored.state.is_found()) {
        let event = VersionedEvent::StatusChanged { at, status: Status::Recovering };
        commit_one::<Versioned<S>, H>(node, host, key.into(), event)?;
    }
    Ok(())
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
    let now = node.now();
    let Some(stored) = host.read::<Versioned<S>>(key)? else { return Ok(false) };
    let value = &stored.state;
    let event = match decide::end(value, grace_ms, now) {
        Some(event) => event,
        // Its time as a terminated session is over, too.
        None if value.is_over(now) => VersionedEvent::Ended { at: now, gone_at: 0 },
        None => return Ok(false),
    };
    let resources: Vec<Bytes> = value.resources().iter().cloned().collect();
    // Where users are bound to their names, the name of a key is nobody's.
    let own_name = (!node.settings.agents_are_bound()).then(|| Bytes::from(key.name));
    let owners: BTreeSet<Bytes> = value.participants().keys().cloned().chain(own_name).collect();
    commit_one::<Versioned<S>, H>(node, host, key, event)?;
    for resource in resources {
        give_back(node, host, Key { db: key.db, name: &resource, arg: 0 }, &owners, key.name);
    }
    Ok(true)
}

/// What the participants of a session, or the session itself under the name of its key, hold of one of its resources.
fn give_back<H: Host>(node: &mut Node, host: &mut H, resource: Key, owners: &BTreeSet<Bytes>, session: &[u8]) {
    match host.kind(resource) {
        Kind::Ours(Lock::TYPE_TAG) => {
            let Ok(Some(stored)) = host.read::<Lock>(resource) else { return };
            let events = lock_rules::released(&stored.state, owners);
            // It was just read as a lock.
            if !events.is_empty() && commit::<Lock, H>(node, host, resource, events).is_ok() {
                lock_serve::serve_waiting(node, host, resource);
            }
        }
        Kind::Ours(Registry::TYPE_TAG) => {
            let at = node.now();
            let Ok(Some(stored)) = host.read::<Registry>(resource) else { return };
            let events = registry_rules::release_all(&stored.state, session, at);
            let _ = registry_serve::commit(node, host, resource, events);
        }
        _ => {}
    }
}
