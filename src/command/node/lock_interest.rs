//! Which flows wait for which locks.

use super::schedule::Schedule;
use crate::domain::KeyId;
use ahash::AHashMap;
use std::collections::BTreeSet;

/// Which flows wait for which locks. A change of the lock schedules a look at the flow.
#[derive(Debug, Default)]
pub struct LockInterest(AHashMap<KeyId, BTreeSet<KeyId>>);

impl LockInterest {
    /// `flow` could hand out a task if it had `lock`.
    pub fn hope(&mut self, lock: KeyId, flow: KeyId) {
        self.0.entry(lock).or_default().insert(flow);
    }

    /// Something happened to `lock`.
    pub fn wake(&mut self, lock: &KeyId, schedule: &mut Schedule) {
        if self.0.is_empty() {
            return;
        }
        for flow in self.0.remove(lock).unwrap_or_default() {
            schedule.look_at_once(flow);
        }
    }

    /// Something may have happened to any lock.
    pub fn wake_all(&mut self, schedule: &mut Schedule) {
        std::mem::take(&mut self.0).into_values().flatten().for_each(|flow| schedule.look_at_once(flow));
    }
}
