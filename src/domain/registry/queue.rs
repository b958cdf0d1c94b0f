//! Those who wait for a claim, and who of them gets an agent that becomes free: the one who waits longest of those whose filter fits.
//!
//! Waiters with the same filter stand in one line, so that an agent that becomes free is held against each different filter once, not
//! against each waiter.

use super::decide::ClaimWish;
use super::filter::Filter;
use crate::domain::wait::WaiterId;
use crate::domain::{Bytes, KeyId, Millis};
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Somebody who waits for a claim.
#[derive(Debug, Clone)]
pub struct ClaimWaiter {
    /// The registry.
    pub key: KeyId,
    /// What it asks for.
    pub wish: ClaimWish,
    /// The `REQID` to remember the claim under.
    pub request_id: Option<Bytes>,
    /// Since when it waits, unix ms.
    pub since: Millis,
}

/// All who wait for claims on a node. Ids of waiters grow, so the smallest of a line has waited longest.
#[derive(Debug, Default)]
pub struct ClaimQueues {
    lines: AHashMap<KeyId, AHashMap<Arc<Filter>, BTreeSet<WaiterId>>>,
    counts: AHashMap<KeyId, usize>,
    waiters: AHashMap<WaiterId, ClaimWaiter>,
}

impl ClaimQueues {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait for claims on `key`.
    pub fn waiting_for(&self, key: &KeyId) -> usize {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// The registries that are waited for.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.lines.keys()
    }

    /// A waiter by its id.
    pub fn waiter(&self, id: WaiterId) -> Option<&ClaimWaiter> {
        self.waiters.get(&id)
    }

    /// Those who wait for claims on `key`, the longest first.
    pub fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        let mut ids: Vec<WaiterId> =
            self.lines.get(key).into_iter().flat_map(|lines| lines.values()).flatten().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The longest waiting of those whose filter fits.
    pub fn first_fitting(&self, key: &KeyId, fits: impl Fn(&Filter) -> bool) -> Option<WaiterId> {
        let lines = self.lines.get(key)?.iter().filter(|(filter, _)| fits(filter));
        lines.filter_map(|(_, line)| line.first().copied()).min()
    }

    /// Lets somebody wait.
    pub fn insert(&mut self, id: WaiterId, mut waiter: ClaimWaiter) {
        let lines = self.lines.entry(waiter.key.clone()).or_default();
        if let Some((same, _)) = lines.get_key_value(&waiter.wish.filter) {
            waiter.wish.filter = same.clone();
        }
        lines.entry(waiter.wish.filter.clone()).or_default().insert(id);
        *self.counts.entry(waiter.key.clone()).or_default() += 1;
        self.waiters.insert(id, waiter);
    }

    /// Takes a waiter out.
    pub fn remove(&mut self, id: WaiterId) -> Option<ClaimWaiter> {
        let waiter = self.waiters.remove(&id)?;
        if let Some(lines) = self.lines.get_mut(&waiter.key) {
            if let Some(line) = lines.get_mut(&waiter.wish.filter) {
                line.remove(&id);
                if line.is_empty() {
                    lines.remove(&waiter.wish.filter);
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
