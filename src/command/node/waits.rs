//! Clients that wait, whatever they wait for.
//!
//! A wait begins in a command that finds nothing to give, and ends exactly once: it is served, its time limit comes, `CLIENT UNBLOCK`
//! or `CLIENT KILL` ends it, its client goes, or its key moves to another node. The service keeps its own queue; this is what all
//! queues have in common.

use crate::domain::queue::rank::WaiterId;
use crate::domain::{Bytes, Fence, KeyId, Millis, Service};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// How often a node of a cluster makes sure that a key which clients wait for is still its own, ms.
pub const OWNERSHIP_MS: Millis = 1000;

/// A client that waits.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Which service keeps it in a queue.
    pub service: Service,
    /// The keys it waits for.
    pub keys: SmallVec<[KeyId; 1]>,
    /// The server's id of the client.
    pub client: u64,
    /// Since when, unix microseconds.
    pub since_us: u64,
    /// Until when, unix ms; 0 without limit.
    pub deadline: Millis,
}

/// What a waiter got, in case it turns out that nobody is there to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndeliveredGrant {
    /// The keys with the fences that were granted.
    pub grants: SmallVec<[(KeyId, Fence); 1]>,
    /// The `REQID` under which the answer is remembered.
    pub request_id: Option<Bytes>,
}

/// All waits of a node.
#[derive(Debug, Default)]
pub struct Waits {
    pub(super) waits: AHashMap<WaiterId, Wait>,
    /// The same by service, in the order in which they began.
    of_service: [BTreeSet<WaiterId>; Service::ALL.len()],
    /// Who was served in this tick and may not have been told yet, with what it got.
    pub(super) undelivered: AHashMap<WaiterId, UndeliveredGrant>,
    last_id: u64,
}

impl Waits {
    /// A new name for a waiter.
    pub fn next_id(&mut self) -> WaiterId {
        self.last_id += 1;
        WaiterId(self.last_id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// How many wait for a service, and since when the first of them, unix microseconds.
    pub fn of(&self, service: Service) -> (usize, Option<u64>) {
        let ids = &self.of_service[service as usize];
        let first = ids.first().and_then(|id| self.waits.get(id));
        (ids.len(), first.map(|wait| wait.since_us))
    }

    pub(super) fn insert(&mut self, id: WaiterId, wait: Wait) {
        self.of_service[wait.service as usize].insert(id);
        self.waits.insert(id, wait);
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        self.of_service[wait.service as usize].remove(&id);
        Some(wait)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// The waiter has been told.
    pub fn told(&mut self, id: WaiterId) {
        self.undelivered.remove(&id);
    }

    /// The waiter is gone without having been told: what it got, if it got something.
    pub fn take_undelivered(&mut self, id: WaiterId) -> Option<UndeliveredGrant> {
        self.undelivered.remove(&id)
    }
}

/// How a wait ended without being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// Its time limit came, or `CLIENT UNBLOCK` said so.
    TimedOut,
    /// The client is gone or was unblocked with an error.
    Gone,
    /// It was refused after it had begun: a deadlock, a wrong type, another node.
    Refused,
}
