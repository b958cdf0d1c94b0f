//! The whole wait-for graph, for people to read.

use super::looks::Looks;
use crate::domain::limits::GRAPH_EDGES_MAX;
use crate::domain::lock::grant::{Grant, Mode};
use crate::domain::lock::queue::{LockQueues, LockWaiter, Locks};
use crate::domain::lock::Lock;
use crate::domain::{Bytes, KeyId, Millis};

/// One edge of the wait-for graph, for `LTMC.LOCK.GRAPH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The waiting owner.
    pub waiter: Bytes,
    /// The key.
    pub key: KeyId,
    /// The owner that it waits for.
    pub waits_for: Bytes,
    /// Whether that owner holds the lock; otherwise it is earlier in the queue.
    pub holds: bool,
}

/// The edges that were found.
struct Found<F> {
    edges: Vec<Edge>,
    fits: F,
    /// None are left when the list is full, too.
    looks: Looks,
}

/// Most grants and waiters that are looked at for a list: that takes some ms.
pub const LOOKS_MAX: usize = 40_000;

/// The wait-for graph of the node, ordered by key and place in the queue: at most
/// [`GRAPH_EDGES_MAX`] edges, up to the first that does not fit, and no more than can be found in
/// [`LOOKS_MAX`] looks.
pub fn edges(queues: &LockQueues, locks: &impl Locks, now: Millis, fits: impl FnMut(&Edge) -> bool) -> Vec<Edge> {
    let mut keys: Vec<&KeyId> = queues.keys().collect();
    keys.sort();
    let mut found = Found { edges: Vec::new(), fits, looks: Looks::of(LOOKS_MAX) };
    for key in keys {
        for (rank, waiter) in queues.queue(key) {
            locks.with(key, |lock| found.note_holders(key, lock, waiter, now));
            let before = queues.queue(key).map_while(|(earlier, waiter)| (earlier < rank).then_some(waiter));
            found.note_queue(key, waiter, before);
            if found.looks.are_over() {
                return found.edges;
            }
        }
    }
    found.edges
}

impl<F: FnMut(&Edge) -> bool> Found<F> {
    fn note(&mut self, key: &KeyId, waiter: &LockWaiter, waits_for: &Bytes, holds: bool) {
        let (waiter, key) = (waiter.request.owner.clone(), key.clone());
        let edge = Edge { waiter, key, waits_for: waits_for.clone(), holds };
        if self.edges.len() == GRAPH_EDGES_MAX || !(self.fits)(&edge) {
            self.looks = Looks::of(0);
        } else {
            self.edges.push(edge);
        }
    }

    fn note_holders(&mut self, key: &KeyId, lock: &Lock, waiter: &LockWaiter, now: Millis) {
        let missing = lock.permits_missing(&waiter.request) > 0 && waiter.request.mode == Mode::Shared;
        let keeps_out = |grant: &Grant| {
            let permit = missing && grant.mode == Mode::Shared && grant.path() == &waiter.request.path;
            let is_out = permit || waiter.request.is_kept_out_by(grant);
            is_out && !grant.is_expired(now) && waiter.converts != Some(grant.fence)
        };
        for grant in lock.grants().iter() {
            if self.looks.are_over() {
                return;
            }
            self.looks.take(1);
            if keeps_out(grant) {
                self.note(key, waiter, &grant.owner, true);
            }
        }
    }

    fn note_queue<'a>(&mut self, key: &KeyId, waiter: &LockWaiter, before: impl Iterator<Item = &'a LockWaiter>) {
        for earlier in before {
            if self.looks.are_over() {
                return;
            }
            self.looks.take(1);
            if waiter.request.waits_behind(&earlier.request) {
                self.note(key, waiter, &earlier.request.owner, false);
            }
        }
    }
}
