//! Those who wait for an answer that somebody else computes: a line for each call.

use super::decide::Wish;
use super::entry::Call;
use crate::domain::wait::WaiterId;
use crate::domain::{KeyId, Millis};
use ahash::AHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Somebody who waits for an answer.
#[derive(Debug, Clone)]
pub struct FillWaiter {
    /// The cache.
    pub key: KeyId,
    /// The call.
    pub call: Call,
    /// The ticket that it would take, should it be its turn to compute.
    pub wish: Wish,
    /// The oldest answer that it takes, ms.
    pub age_ms_max: Millis,
}

/// All who wait for answers on a node. Ids of waiters grow, so the smallest of a line has waited longest.
#[derive(Debug, Default)]
pub struct FillQueues {
    lines: AHashMap<KeyId, BTreeMap<Call, BTreeSet<WaiterId>>>,
    counts: AHashMap<KeyId, usize>,
    waiters: AHashMap<WaiterId, FillWaiter>,
}

impl FillQueues {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait for answers of `key`.
    pub fn waiting_for(&self, key: &KeyId) -> usize {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// The caches that are waited for.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.lines.keys()
    }

    /// A waiter by its id.
    pub fn waiter(&self, id: WaiterId) -> Option<&FillWaiter> {
        self.waiters.get(&id)
    }

    /// The calls that are waited for, in order.
    pub fn calls(&self, key: &KeyId) -> Vec<Call> {
        self.lines.get(key).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Those who wait for the answer of a call, the longest first.
    pub fn line(&self, key: &KeyId, call: &Call) -> Vec<WaiterId> {
        self.lines.get(key).and_then(|lines| lines.get(call)).into_iter().flatten().copied().collect()
    }

    /// All who wait for answers of `key`.
    pub fn all(&self, key: &KeyId) -> Vec<WaiterId> {
        self.lines.get(key).into_iter().flat_map(BTreeMap::values).flatten().copied().collect()
    }

    /// Lets somebody wait.
    pub fn insert(&mut self, id: WaiterId, waiter: FillWaiter) {
        self.lines.entry(waiter.key.clone()).or_default().entry(waiter.call.clone()).or_default().insert(id);
        *self.counts.entry(waiter.key.clone()).or_default() += 1;
        self.waiters.insert(id, waiter);
    }

    /// Takes a waiter out.
    pub fn remove(&mut self, id: WaiterId) -> Option<FillWaiter> {
        let waiter = self.waiters.remove(&id)?;
        if let Some(lines) = self.lines.get_mut(&waiter.key) {
            if let Some(line) = lines.get_mut(&waiter.call) {
                line.remove(&id);
                if line.is_empty() {
                    lines.remove(&waiter.call);
                }
            }
            if lines.is_empty() {
                self.lines.remove(&waiter.key);
            }
        }
        if let Some(count) = self.counts.get_mut(&waiter.key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&waiter.key);
            }
        }
        Some(waiter)
    }
}
