//! Clients that wait, whatever they wait for.
//!
//! A wait begins in a command that finds nothing to give. It ends exactly once: it is served, its
//! time limit comes, `CLIENT UNBLOCK` or `CLIENT KILL` ends it, its client disconnects, or its key
//! moves to another node. Each service keeps its own queue; this is what all queues have in common.

use crate::command::host::Key;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Bytes, Db, Fence, KeyId, Millis, Service};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// How often a node of a cluster checks that it still owns a key that clients wait for, ms.
pub const OWNERSHIP_MS: Millis = 1000;

/// A registered agent on whose behalf clients wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The key of its registry.
    pub registry: KeyId,
    /// The agent.
    pub agent: Bytes,
}

/// A client that waits.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The service that keeps it in a queue.
    pub service: Service,
    /// The keys it waits for.
    pub keys: SmallVec<[KeyId; 1]>,
    /// The server's id of the client.
    pub client: u64,
    /// When it began, unix microseconds.
    pub since_us: u64,
    /// When it times out, unix ms; `None` without limit.
    pub deadline: Option<Millis>,
    /// The agent on whose behalf it waits, if that is registered.
    pub principal: Option<Principal>,
}

/// What a waiter was granted, in case its client turns out to be gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndeliveredGrant {
    /// The keys with the fences that were granted.
    pub grants: SmallVec<[(KeyId, Fence); 1]>,
    /// The `REQID` under which the answer is remembered.
    pub request_id: Option<RequestId>,
}

impl UndeliveredGrant {
    /// Follows SWAPDB.
    pub fn swapped(mut self, one: Db, other: Db) -> Self {
        self.grants = self.grants.into_iter().map(|(key, fence)| (key.swapped(one, other), fence)).collect();
        self
    }
}

/// All waits of a node.
#[derive(Debug, Default)]
pub struct Waits {
    pub(super) waits: AHashMap<WaiterId, Wait>,
    /// Their ids by service, in the order in which they began.
    of_service: [BTreeSet<WaiterId>; Service::ALL.len()],
    /// How many wait on behalf of whom.
    of_principal: AHashMap<Principal, u64>,
    /// What was granted in this tick to waiters that may not have been told yet.
    pub(super) undelivered: AHashMap<WaiterId, UndeliveredGrant>,
    last_id: u64,
}

impl Waits {
    /// A new name for a waiter.
    pub fn next_id(&mut self) -> WaiterId {
        self.last_id += 1;
        WaiterId(self.last_id)
    }

    /// How many clients wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// How many clients wait for a service, and since when the first of them, unix microseconds.
    pub fn of(&self, service: Service) -> (usize, Option<u64>) {
        let ids = &self.of_service[service as usize];
        let first = ids.first().and_then(|id| self.waits.get(id));
        (ids.len(), first.map(|wait| wait.since_us))
    }

    /// How many clients wait on behalf of an agent.
    pub fn of_principal(&self, principal: &Principal) -> u64 {
        self.of_principal.get(principal).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, id: WaiterId, wait: Wait) {
        if let Some(principal) = &wait.principal {
            *self.of_principal.entry(principal.clone()).or_default() += 1;
        }
        self.of_service[wait.service as usize].insert(id);
        self.waits.insert(id, wait);
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        self.waits.give_back_room();
        self.of_service[wait.service as usize].remove(&id);
        if let Some(principal) = &wait.principal {
            let count = self.of_principal.get_mut(principal).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if count == 0 {
                self.of_principal.remove(principal);
                self.of_principal.give_back_room();
            }
        }
        Some(wait)
    }

    /// Whether no client waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// The waiter has been told.
    pub fn told(&mut self, id: WaiterId) {
        self.undelivered.remove(&id);
        self.undelivered.give_back_room();
    }

    /// A retry was told what a waiter was granted that may be gone: it stays granted.
    pub fn told_retry(&mut self, key: Key, request_id: &RequestId) {
        for undelivered in self.undelivered.values_mut() {
            let is_same = undelivered.request_id.as_ref() == Some(request_id);
            if is_same && undelivered.grants.iter().any(|(granted, _)| Key::from(granted).is_same(key)) {
                undelivered.grants.clear();
            }
        }
    }

    /// Follows SWAPDB. Clients stay with the number of their database; what they were granted goes.
    pub fn swap(&mut self, one: Db, other: Db) {
        let grants = std::mem::take(&mut self.undelivered).into_iter();
        self.undelivered = grants.map(|(id, grant)| (id, grant.swapped(one, other))).collect();
    }

    /// The waiter is gone and was not told: what it was granted, if anything.
    pub fn take_undelivered(&mut self, id: WaiterId) -> Option<UndeliveredGrant> {
        let grant = self.undelivered.remove(&id);
        self.undelivered.give_back_room();
        grant
    }
}

/// How a wait ended without being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// Its time limit came, or `CLIENT UNBLOCK` ended it.
    TimedOut,
    /// Its client is gone or was unblocked with an error.
    Gone,
    /// It was refused after it had begun: a deadlock, a wrong type, another node.
    Refused,
}
