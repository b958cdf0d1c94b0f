//! Making anew what is derived in a value, whatever its type, and the keys that are kept from everybody until that is done.

use super::kinds::{service_of, with_kind};
use super::{Host, Key, Kind, Node};
use crate::domain::id::printable;
use crate::domain::limits::PANICS_PER_KEY_MAX;
use crate::domain::{Code, Db, Entity, Error, Invariant, KeyId, Service};
use ahash::AHashMap;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Redis' name of the type.
    pub type_name: &'static str,
    /// The service that it belongs to.
    pub service: Service,
    /// What was broken before.
    pub was_broken: Option<Invariant>,
    /// What is still broken, since nothing is left to make it from.
    pub is_broken: Option<Invariant>,
}

/// Checks the value of `key` and makes anew what is derived in it. `tells`: replicas get the whole value, for what happened to it may not
/// have been sent; without it nothing leaves this node. `None` if there is no value of ours.
pub fn repair<H: Host>(host: &mut H, key: Key, tells: bool) -> Result<Option<Repaired>, Error> {
    match host.kind(key) {
        Kind::Nothing => Ok(None),
        kind => with_kind!(kind, E => repair_type::<E, H>(host, key, tells), else Err(Error::wrong_type())),
    }
}

fn repair_type<E: Entity, H: Host>(host: &mut H, key: Key, tells: bool) -> Result<Option<Repaired>, Error> {
    if host.read::<E>(key)?.is_none() {
        return Ok(None);
    }
    let stored = host.write::<E>(key)?;
    let was_broken = stored.check().err();
    stored.rebuild();
    let is_broken = stored.check().err();
    if tells && is_broken.is_none() {
        host.settle::<E>(key);
        host.replicate_snapshot::<E>(key);
    }
    Ok(Some(Repaired { type_name: E::TYPE_NAME, service: E::SERVICE, was_broken, is_broken }))
}

/// The service whose value is under `key`.
pub fn service_at<H: Host>(host: &mut H, key: Key) -> Option<Service> {
    service_of(host.kind(key))
}

/// Breaks a part of the value of `key` that is derived, for tests; `*`: what nothing is left to rebuild from. Errs with what can be broken.
#[cfg(feature = "test-hooks")]
pub fn break_value<H: Host>(host: &mut H, key: Key, part: Option<&[u8]>) -> Result<(), Error> {
    use crate::domain::broken::Breakable;
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
    with_kind!(host.kind(key), E => of_type::<E, H>(host, key, part), else nothing())
}

/// What is wrong with a key.
#[derive(Debug, Clone, Default)]
struct Case {
    panics: u8,
    broken: Option<Invariant>,
    service: Option<Service>,
}

impl Case {
    fn is_closed(&self) -> bool {
        self.panics >= PANICS_PER_KEY_MAX || self.broken.is_some()
    }
}

/// Keys on which panics happened or that stay broken, and which of them are in quarantine for it.
#[derive(Debug, Default)]
pub struct Quarantine(AHashMap<KeyId, Case>);

impl Quarantine {
    /// Whether nothing is known of any key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is in quarantine.
    pub fn has(&self, key: &KeyId) -> bool {
        !self.0.is_empty() && self.0.get(key).is_some_and(Case::is_closed)
    }

    /// Errs with what is wrong if a key is in quarantine.
    pub fn check(&self, key: Key) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some(Case { panics, broken, .. }) = self.0.get(&key.id()).filter(|case| case.is_closed()) else {
            return Ok(());
        };
        let name = printable(key.name);
        let text = match broken {
            Some(broken) => format!("the key '{name}' is broken ({}); DEL it or try LTMC.REPAIR", broken.0),
            None => format!("{panics} internal errors on the key '{name}'; DEL it or try LTMC.REPAIR"),
        };
        Err(Error::new(Code::Quarantined, text))
    }

    /// How many keys are in quarantine, of all services or of one.
    pub fn count(&self, service: Option<Service>) -> u64 {
        let closed = self.0.values().filter(|case| case.is_closed());
        closed.filter(|case| service.is_none() || case.service == service).count() as u64
    }

    /// Counts a panic on a key.
    pub fn count_panic(&mut self, key: KeyId, service: Option<Service>) {
        let case = self.0.entry(key).or_default();
        case.panics = case.panics.saturating_add(1);
        case.service = case.service.or(service);
    }

    /// A key stays broken.
    pub fn close(&mut self, key: KeyId, broken: Invariant, service: Service) {
        let case = self.0.entry(key).or_default();
        (case.broken, case.service) = (Some(broken), Some(service));
    }

    /// A key is gone, or well again.
    pub fn remove(&mut self, key: &KeyId) {
        if !self.0.is_empty() {
            self.0.remove(key);
        }
    }

    /// Keeps what is known of these keys only.
    pub fn retain(&mut self, keep: impl Fn(&KeyId) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        self.0 = self.0.drain().map(|(key, case)| (key.swapped(one, other), case)).collect();
    }
}

impl Node {
    /// Errs if `key` is in quarantine.
    pub fn check_quarantine(&self, key: Key) -> Result<(), Error> {
        self.quarantine.check(key)
    }

    /// Counts a panic, of a service if it is known of which.
    pub fn count_panic(&mut self, service: Option<Service>) {
        let now = self.now();
        self.metrics.count_panic(service, now);
    }

    /// Counts what a repair has mended.
    pub fn count_repair(&mut self, repaired: &Repaired) {
        if repaired.was_broken.is_some() {
            let now = self.now();
            self.metrics.count_repair(repaired.service, now);
        }
    }
}
