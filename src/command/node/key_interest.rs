//! Which keys wait for a change of which other keys.

use super::schedule::Schedule;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::KeyId;
use ahash::AHashMap;
use std::collections::BTreeSet;

/// Which keys wait for a change of which other keys. A flow has a task to hand out, for example,
/// as soon as a lock is free. A change of the other key schedules a look at the one that waits.
#[derive(Debug, Default)]
pub struct KeyInterest(AHashMap<KeyId, BTreeSet<KeyId>>);

impl KeyInterest {
    /// `waiting` is looked at when `key` changes next.
    pub fn note(&mut self, key: KeyId, waiting: KeyId) {
        self.0.entry(key).or_default().insert(waiting);
    }

    /// Something happened to `key`.
    pub fn wake(&mut self, key: &KeyId, schedule: &mut Schedule) {
        if self.0.is_empty() {
            return;
        }
        let waiting = self.0.remove(key).unwrap_or_default();
        waiting.into_iter().for_each(|waiting| schedule.look_at_once(waiting));
        self.0.give_back_room();
    }

    /// Something may have happened to any key.
    pub fn wake_all(&mut self, schedule: &mut Schedule) {
        let waiting = std::mem::take(&mut self.0).into_values().flatten();
        waiting.for_each(|waiting| schedule.look_at_once(waiting));
    }
}
