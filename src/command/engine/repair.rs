//! Rebuilds what is derived in a value, whatever its type, and keeps everybody from broken keys
//! until that is done.

use super::auditing;
use super::entity_types::{service_of, with_key_type};
use super::replay::note_value;
use super::tracing;
use crate::command::host::{Host, Key, KeyType};
use crate::command::node::Node;
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::fault::Reason;
use crate::domain::limits::PANICS_PER_KEY_MAX;
use crate::domain::{Code, Entity, Error, Fault, Invariant, KeyId, Record, Service};

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Redis' name of the type.
    pub type_name: &'static str,
    /// The service of that type.
    pub service: Service,
    /// What was broken before.
    pub was_broken: Option<Invariant>,
    /// What is still broken, since there is nothing to rebuild it from.
    pub is_broken: Option<Invariant>,
    /// What was given up to save the rest.
    pub given_up: Option<String>,
}

/// Checks the value of `key` and rebuilds what is derived in it. `None` if there is no value of
/// ours, or one that only an explicit repair mends.
///
/// With `tells`, replicas get the whole value, since a change of it may not have been sent.
/// Without, nothing leaves this node.
pub fn repair<H: Host>(host: &mut H, key: Key, tells: bool) -> Result<Option<Repaired>, Error> {
    match host.key_type(key) {
        KeyType::Nothing => Ok(None),
        kind => with_key_type!(kind, E => repair_type::<E, H>(host, key, tells), else Err(Error::wrong_type())),
    }
}

fn repair_type<E: Entity, H: Host>(host: &mut H, key: Key, tells: bool) -> Result<Option<Repaired>, Error> {
    let Some(stored) = host.raw::<E>(key)?.filter(|stored| stored.original().is_none()) else { return Ok(None) };
    let repaired = mend(stored, false);
    if tells && repaired.is_broken.is_none() {
        host.finish_change::<E>(key, Expiry::Keeps);
        host.replicate_snapshot::<E>(key);
        // What the change was to do to the TTL was not done, and is not known here.
        correct_expiry::<E, H>(host, key);
    }
    Ok(Some(repaired))
}

/// A client may have given a key a TTL that its value does not allow (EXPIRE, PERSIST, RESTORE).
pub fn correct_expiry<E: Entity, H: Host>(host: &mut H, key: Key) {
    let given = host.expires_at(key);
    let Ok(Some(stored)) = host.read::<E>(key) else { return };
    let allowed = stored.state.expiry_allowed(given);
    if allowed != given {
        host.correct_expiry(key, allowed);
    }
}

/// Rebuilds what is derived. If that does not help and `gives_up` is set, gives up what the rest
/// can do without.
fn mend<E: Entity>(stored: &mut Record<E>, gives_up: bool) -> Repaired {
    let was_broken = stored.check_loaded().err();
    stored.rebuild();
    let mut is_broken = stored.check_loaded().err();
    let given_up = if gives_up && is_broken.is_some() { stored.salvage() } else { None };
    if given_up.is_some() {
        is_broken = stored.check_loaded().err();
    }
    Repaired { type_name: E::TYPE_NAME, service: E::SERVICE, was_broken, is_broken, given_up }
}

/// An explicit repair. A value that could not be read is read once more, and broken parts are given
/// up if the rest can do without. If that helps, the value leaves quarantine. `None` if there is no
/// value of ours.
pub fn repair_asked<H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<Option<Repaired>, Error> {
    match host.key_type(key) {
        KeyType::Nothing => Ok(None),
        kind => with_key_type!(kind, E => repair_asked_type::<E, H>(node, host, key), else Err(Error::wrong_type())),
    }
}

fn repair_asked_type<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<Option<Repaired>, Error> {
    let Some(stored) = host.raw::<E>(key)? else { return Ok(None) };
    let dropped = stored.fault().map_or(0, |fault| fault.dropped);
    if dropped > 0 {
        // A repair would bring back the value as it was before these changes.
        let text = format!("{dropped} changes of it were dropped since; only a whole value can replace it");
        return Err(broken_beyond(E::TYPE_NAME, &text));
    }
    let repaired = match (stored.fault().map(Fault::text), stored.original()) {
        (Some(text), Some(original)) => {
            // The current value stays as it is if nothing can be made of the original.
            let mut found = H::decode::<E>(original).map_err(|error| broken_beyond(E::TYPE_NAME, &error.text))?;
            let repaired = Repaired { was_broken: Some(Invariant(text)), ..mend(&mut found, true) };
            if repaired.is_broken.is_none() {
                found.state.loaded(node.now());
                host.put(key, found)?;
            }
            repaired
        }
        _ => mend(stored, true),
    };
    if let Some(broken) = &repaired.is_broken {
        return Err(broken_beyond(repaired.type_name, &broken.0));
    }
    host.set_fault::<E>(key, None)?;
    if let Some(stored) = host.read::<E>(key)? {
        note_value(node, key, stored);
    }
    host.finish_change::<E>(key, Expiry::Keeps);
    host.replicate_snapshot::<E>(key);
    Ok(Some(repaired))
}

fn broken_beyond(type_name: &str, text: &str) -> Error {
    Error::new(Code::Err, format!("the {type_name} is broken beyond its derived indexes: {text}"))
}

/// Errs if the value of `key` must not be used.
pub fn check_usable<H: Host>(node: &Node, host: &mut H, key: Key) -> Result<(), Error> {
    node.check_quarantine(key)?;
    with_key_type!(host.key_type(key), E => host.read::<E>(key).map(drop), else Ok(()))
}

/// Puts the value of `key` into quarantine, since it stays broken.
pub fn close<H: Host>(node: &mut Node, host: &mut H, key: Key, broken: &Invariant) {
    put_aside(host, key, Fault::new(Reason::Broken(broken.clone())));
    auditing::quarantined(node, key, "broken");
}

/// Puts the value of `key` into quarantine. False if there is no value of ours.
fn put_aside<H: Host>(host: &mut H, key: Key, fault: Fault) -> bool {
    fn of_type<E: Entity, H: Host>(host: &mut H, key: Key, fault: Fault) -> bool {
        match host.raw::<E>(key) {
            Ok(Some(stored)) if stored.fault().is_some() => true,
            // An internal error left this value behind. It will go, and says nothing about the key.
            Ok(Some(stored)) if stored.is_empty() && !fault.is_broken() => false,
            Ok(Some(_)) => host.set_fault::<E>(key, Some(fault)).is_ok(),
            _ => false,
        }
    }
    with_key_type!(host.key_type(key), E => of_type::<E, H>(host, key, fault), else false)
}

/// Counts a panic on a key. After too many of them its value is in quarantine, whatever becomes of
/// the name. A key without a value is itself in quarantine.
pub fn count_panic_on<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, service: Option<Service>) {
    let panics = node.quarantine.count_panic(key.clone(), service);
    let is_too_many = panics >= PANICS_PER_KEY_MAX;
    if panics == PANICS_PER_KEY_MAX {
        auditing::quarantined(node, key.into(), "internal errors");
    }
    if is_too_many && put_aside(host, key.into(), Fault::new(Reason::Panics(panics))) {
        node.quarantine.remove(key);
    }
}

/// The service whose value is under `key`.
pub fn service_at<H: Host>(host: &mut H, key: Key) -> Option<Service> {
    service_of(host.key_type(key))
}

/// Breaks a derived part of the value of `key`, for tests. `*` breaks something that cannot be
/// rebuilt. Errs with what can be broken.
#[cfg(feature = "test-hooks")]
pub fn break_value<H: Host>(host: &mut H, key: Key, part: Option<&[u8]>) -> Result<(), Error> {
    use crate::domain::entity::fault_injection::Breakable;
    fn of_type<E: Breakable, H: Host>(host: &mut H, key: Key, part: Option<&[u8]>) -> Result<(), Error> {
        let parts = E::parts();
        let known = match part {
            None => parts.first(),
            Some(part) => parts.iter().find(|known| known.as_bytes() == part),
        };
        let state = &mut host.write::<E>(key)?.state;
        match known {
            Some(known) => state.break_part(known),
            None if part == Some(b"*") => state.break_beyond_repair(),
            None => return Err(Error::usage(format!("part is one of {}", parts.join(", ")))),
        }
        Ok(())
    }
    let nothing = || Err(Error::usage("the key holds nothing of LTMC"));
    with_key_type!(host.key_type(key), E => of_type::<E, H>(host, key, part), else nothing())
}

impl Node {
    /// Counts a repair that mended something.
    pub fn count_repair(&mut self, repaired: &Repaired) {
        if repaired.was_broken.is_some() {
            let now = self.now();
            self.metrics.count_repair(repaired.service, now);
        }
    }
}

/// A panic was contained while a command worked on `keys`. The values are checked and what is
/// derived in them is rebuilt. Replicas get the whole values, since a change may have been applied
/// and not sent.
pub fn after_panic<H: Host>(node: &mut Node, host: &mut H, service: Option<Service>, keys: &[Key]) {
    let looked_at = node.looking_at.take();
    auditing::panicked(node);
    let concerned = || keys.iter().copied().chain(looked_at.as_ref().map(Key::from));
    let blamed = service.or_else(|| concerned().find_map(|key| service_at(host, key)));
    node.count_panic(blamed);
    let mut concerned: Vec<KeyId> = concerned().map(|key| key.id()).collect();
    concerned.sort();
    concerned.dedup();
    for key in concerned {
        count_panic_on(node, host, &key, blamed);
        // If the scheduler panicked, its hint is used up. Clients that wait for the key must not be
        // forgotten.
        node.look_at_soon(key);
    }
    for key in keys {
        if let Ok(Some(repaired)) = repair(host, *key, true) {
            node.count_repair(&repaired);
        }
    }
    tracing::end(node, host, &Err(Error::internal()));
}
