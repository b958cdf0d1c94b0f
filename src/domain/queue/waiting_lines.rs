//! Lines in which clients wait for the same thing in a key, first come, first served.
//!
//! Clients that wait for different things stand in different lines. So what becomes available is
//! compared with each line once, not with each waiter.

use super::rank::WaiterId;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::{KeyId, Looked};
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::hash::Hash;

/// A client that waits in a line.
pub trait InLine {
    /// What all waiters in a line have in common.
    type Line: Clone + Eq + Hash;

    /// The key that it waits for.
    fn key(&self) -> &KeyId;

    /// The line it stands in.
    fn line(&self) -> &Self::Line;

    /// The `REQID` of its request.
    fn request_id(&self) -> Option<&RequestId> {
        None
    }
}

/// The lines of one key. Waiter ids grow, so the smallest in a line has waited longest.
type LinesOfKey<L> = AHashMap<L, BTreeSet<WaiterId>>;

/// All waiters in lines for the keys of one service.
#[derive(Debug)]
pub struct Lines<W: InLine> {
    lines: AHashMap<KeyId, LinesOfKey<W::Line>>,
    counts: AHashMap<KeyId, usize>,
    waiters: AHashMap<WaiterId, W>,
}

impl<W: InLine> Default for Lines<W> {
    fn default() -> Self {
        Self { lines: AHashMap::new(), counts: AHashMap::new(), waiters: AHashMap::new() }
    }
}

impl<W: InLine> Lines<W> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// How many wait for `key`.
    pub fn waiting_for(&self, key: &KeyId) -> usize {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// The keys that are waited for.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.lines.keys()
    }

    /// The lines of a key, in no particular order.
    pub fn lines(&self, key: &KeyId) -> impl Iterator<Item = &W::Line> {
        self.lines.get(key).into_iter().flat_map(|lines| lines.keys()).looked()
    }

    /// The number of waiters in a line.
    pub fn in_line(&self, key: &KeyId, line: &W::Line) -> usize {
        self.lines.get(key).and_then(|lines| lines.get(line)).map_or(0, BTreeSet::len)
    }

    /// The waiters in a line, the longest wait first.
    pub fn waiters_in(&self, key: &KeyId, line: &W::Line) -> Vec<WaiterId> {
        self.lines.get(key).and_then(|lines| lines.get(line)).into_iter().flatten().looked().copied().collect()
    }

    /// A waiter by its id.
    pub fn waiter(&self, id: WaiterId) -> Option<&W> {
        self.waiters.get(&id)
    }

    /// The waiters for `key`, the longest wait first.
    pub fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        let lines = self.lines.get(key).into_iter().flat_map(|lines| lines.values());
        let mut ids: Vec<WaiterId> = lines.flatten().looked().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The requests with `REQID` of the waiters for `key`, in no particular order.
    pub fn requests_on(&self, key: &KeyId) -> impl Iterator<Item = &RequestId> {
        let lines = self.lines.get(key).into_iter().flat_map(|lines| lines.values());
        lines.flatten().looked().filter_map(|id| self.waiter(*id)?.request_id())
    }

    /// All waiters for `key` that repeat the request of this waiter, including itself.
    pub fn retries_of(&self, key: &KeyId, id: WaiterId) -> Vec<WaiterId> {
        let request_of = |id: &WaiterId| self.waiter(*id).and_then(InLine::request_id);
        match request_of(&id) {
            None => vec![id],
            request => self.waiters(key).into_iter().filter(|other| request_of(other) == request).collect(),
        }
    }

    /// The longest waiter in a line.
    pub fn first(&self, key: &KeyId, line: &W::Line) -> Option<WaiterId> {
        self.lines.get(key)?.get(line)?.first().copied()
    }

    /// The longest waiter of all lines that `fits`.
    pub fn first_fitting(&self, key: &KeyId, fits: impl Fn(&W::Line) -> bool) -> Option<WaiterId> {
        let lines = self.lines.get(key)?.iter().looked().filter(|(line, _)| fits(line));
        lines.filter_map(|(_, line)| line.first().copied()).min()
    }

    /// The line of a key that is equal to `line`, to share its memory.
    pub fn same_line(&self, key: &KeyId, line: &W::Line) -> Option<&W::Line> {
        self.lines.get(key)?.get_key_value(line).map(|(same, _)| same)
    }

    /// Adds a waiter.
    pub fn insert(&mut self, id: WaiterId, waiter: W) {
        let lines = self.lines.entry(waiter.key().clone()).or_default();
        lines.entry(waiter.line().clone()).or_default().insert(id);
        *self.counts.entry(waiter.key().clone()).or_default() += 1;
        self.waiters.insert(id, waiter);
    }

    /// Removes a waiter.
    pub fn remove(&mut self, id: WaiterId) -> Option<W> {
        let waiter = self.waiters.remove(&id)?;
        self.waiters.give_back_room();
        let (key, line) = (waiter.key(), waiter.line());
        if let Some(lines) = self.lines.get_mut(key) {
            if let Some(waiters) = lines.get_mut(line) {
                waiters.remove(&id);
                if waiters.is_empty() {
                    lines.remove(line);
                    lines.give_back_room();
                }
            }
            if lines.is_empty() {
                self.lines.remove(key);
                self.lines.give_back_room();
            }
        }
        if let Some(count) = self.counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(key);
                self.counts.give_back_room();
            }
        }
        Some(waiter)
    }
}
