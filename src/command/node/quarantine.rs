//! Keys with which something is wrong although they hold nothing.

use crate::command::host::Key;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::limits::PANICS_PER_KEY_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{Code, Db, Error, KeyId, Service};
use ahash::AHashMap;

/// The internal errors on a key.
#[derive(Debug, Clone, Default)]
struct Case {
    panics: u8,
    service: Option<Service>,
}

impl Case {
    fn is_closed(&self) -> bool {
        self.panics >= PANICS_PER_KEY_MAX
    }
}

/// Keys on which panics happened. After too many of them a key that holds nothing is in quarantine.
/// If it holds a value, the value is instead, see [`fault`](crate::domain::entity::fault).
#[derive(Debug, Default)]
pub struct Quarantine(AHashMap<KeyId, Case>);

impl Quarantine {
    /// Whether nothing is known of any key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Errs with what is wrong if a key is in quarantine.
    pub fn check(&self, key: Key) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        match self.0.get(&key.id()).filter(|case| case.is_closed()) {
            Some(case) => {
                let (panics, name) = (case.panics, printable(key.name));
                let text =
                    format!("{panics} internal errors on the key '{name}', which holds nothing; try LTMC.REPAIR");
                Err(Error::new(Code::Quarantined, text))
            }
            None => Ok(()),
        }
    }

    /// How many keys are in quarantine, of all services or of one.
    pub fn count(&self, service: Option<Service>) -> u64 {
        let closed = self.0.values().filter(|case| case.is_closed());
        closed.filter(|case| service.is_none() || case.service == service).count() as u64
    }

    /// Counts a panic on a key, and returns how many there were.
    pub(crate) fn count_panic(&mut self, key: KeyId, service: Option<Service>) -> u8 {
        let case = self.0.entry(key).or_default();
        case.panics = case.panics.saturating_add(1);
        case.service = case.service.or(service);
        case.panics
    }

    /// A key is gone, or is well again.
    pub fn remove(&mut self, key: &KeyId) {
        if !self.0.is_empty() {
            self.0.remove(key);
            self.0.give_back_room();
        }
    }

    /// Keeps what is known of these keys only.
    pub fn retain(&mut self, keep: impl Fn(&KeyId) -> bool) {
        self.0.retain(|key, _| keep(key));
        self.0.give_back_room();
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        self.0 = self.0.drain().map(|(key, case)| (key.swapped(one, other), case)).collect();
    }
}
