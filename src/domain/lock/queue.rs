//! Clients that wait for locks of this node, and which of them is served next.
//!
//! A waiter stands in the queue of every key it waits for (several with `LTMC.MLOCK`) at one
//! [rank](Rank). It is served when, on all its keys at once, it is compatible with the grants and
//! no waiter before it has to be served first. So a waiting writer keeps later readers out, and a
//! wait for several locks holds none of them meanwhile.

use super::decide::{fits, is_covered, Request};
use super::grant::Mode;
use super::pass::GrantPass;
use super::Lock;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::rank::{Rank, WaiterId};
use crate::domain::{looked_at_parts, Bytes, Db, Fence, KeyId, Millis};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// As many waiters are passed in one look.
const WAITERS_OF_LOOK: usize = 8;

/// Lends the locks of this node: the queue needs more than one when a client waits for several.
pub trait Locks {
    /// Calls `read` with the lock under `key`, or with an empty one if there is none.
    fn with<T>(&self, key: &KeyId, read: impl FnOnce(&Lock) -> T) -> T;
}

/// A client that waits.
#[derive(Debug, Clone)]
pub struct LockWaiter {
    /// The keys, all of one database.
    pub keys: SmallVec<[KeyId; 1]>,
    /// What it requests of each of them.
    pub request: Request,
    /// Its rank.
    pub rank: Rank,
    /// It holds this grant and waits to convert it to the request's mode.
    pub converts: Option<Fence>,
    /// It waits by `LTMC.MLOCK` and gets a list as its reply.
    pub is_multiple: bool,
    /// The `REQID` under which the grant is remembered.
    pub request_id: Option<RequestId>,
    /// The registry of its owner, if it named one.
    pub registry: Option<Bytes>,
    /// Its `PRIORITY`.
    pub priority: u64,
    /// When its wait began, unix ms.
    pub since: Millis,
    /// Redis' id of the client.
    pub client: u64,
}

impl LockWaiter {
    /// Whether it is compatible with the grants on one of its keys.
    pub fn fits(&self, lock: &Lock) -> bool {
        match self.converts.map(|fence| lock.grants().get(fence)) {
            // The grant has ended: serving it means telling it so.
            Some(None) => true,
            Some(Some(grant)) if grant.mode == Mode::Exclusive || grant.mode == self.request.mode => true,
            _ => is_covered(lock, &self.request) || fits(lock, &self.request),
        }
    }
}

/// All lock queues of a node.
#[derive(Debug, Default)]
pub struct LockQueues {
    queues: AHashMap<KeyId, BTreeSet<Rank>>,
    waiters: AHashMap<WaiterId, Arc<LockWaiter>>,
    by_owner: AHashMap<(Db, Bytes), SmallVec<[WaiterId; 1]>>,
    /// The passes that are not through.
    passes: AHashMap<KeyId, GrantPass>,
}

impl LockQueues {
    /// Whether nobody waits for any lock: the usual case, and the only check that an
    /// uncontended lock makes.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// The number of waiters.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How many wait for `key`.
    pub fn waiting_for(&self, key: &KeyId) -> usize {
        self.queues.get(key).map_or(0, BTreeSet::len)
    }

    /// The keys that are waited for.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &KeyId> {
        self.queues.keys()
    }

    /// A waiter by its id.
    pub fn waiter(&self, id: WaiterId) -> Option<&LockWaiter> {
        self.shared(id).map(|waiter| &**waiter)
    }

    /// A waiter by its id, to keep it beside the queues.
    pub fn shared(&self, id: WaiterId) -> Option<&Arc<LockWaiter>> {
        self.waiters.get(&id)
    }

    /// The waiters for `key`, first to last.
    pub fn queue(&self, key: &KeyId) -> impl DoubleEndedIterator<Item = (Rank, &LockWaiter)> {
        self.queues.get(key).into_iter().flatten().filter_map(|rank| Some((*rank, self.waiter(rank.waiter())?)))
    }

    /// The waiters before `rank` in the queue of `key`, the nearest first.
    pub fn before(&self, key: &KeyId, rank: Rank) -> impl Iterator<Item = &Arc<LockWaiter>> {
        let ranks = self.queues.get(key).into_iter().flat_map(move |ranks| ranks.range(..rank).rev());
        ranks.filter_map(|rank| {
            looked_at_parts(1, WAITERS_OF_LOOK);
            self.waiters.get(&rank.waiter())
        })
    }

    /// Whether no waiter is before `rank` in the queue of `key`.
    pub fn is_first(&self, key: &KeyId, rank: Rank) -> bool {
        self.queues.get(key).and_then(BTreeSet::first).is_none_or(|first| *first >= rank)
    }

    /// Whether no waiter is behind `rank` in the queue of `key`.
    pub fn is_last(&self, key: &KeyId, rank: Rank) -> bool {
        self.queues.get(key).is_none_or(|ranks| ranks.last() == Some(&rank))
    }

    /// The waits of one owner.
    pub fn of_owner(&self, db: Db, owner: &Bytes) -> &[WaiterId] {
        if self.by_owner.is_empty() {
            return &[];
        }
        self.by_owner.get(&(db, owner.clone())).map_or(&[], |ids| ids)
    }

    /// Adds a waiter to the queues of its keys.
    pub fn insert(&mut self, waiter: LockWaiter) {
        let id = waiter.rank.waiter();
        for key in &waiter.keys {
            self.queues.entry(key.clone()).or_default().insert(waiter.rank);
            if let Some(pass) = self.passes.get_mut(key) {
                pass.joined_by(waiter.rank, &waiter.request);
            }
        }
        if let Some(key) = waiter.keys.first() {
            self.by_owner.entry((key.db, waiter.request.owner.clone())).or_default().push(id);
        }
        self.waiters.insert(id, Arc::new(waiter));
    }

    /// Removes a waiter from all queues.
    pub fn remove(&mut self, id: WaiterId) -> Option<LockWaiter> {
        let waiter = self.waiters.remove(&id)?;
        self.waiters.give_back_room();
        for key in &waiter.keys {
            self.look_again(key);
            if let Some(queue) = self.queues.get_mut(key) {
                queue.remove(&waiter.rank);
                if queue.is_empty() {
                    self.queues.remove(key);
                    self.queues.give_back_room();
                    self.passes.remove(key);
                }
            }
        }
        if let Some(key) = waiter.keys.first() {
            let owner = (key.db, waiter.request.owner.clone());
            if let Some(ids) = self.by_owner.get_mut(&owner) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    self.by_owner.remove(&owner);
                    self.by_owner.give_back_room();
                }
            }
        }
        Some(Arc::unwrap_or_clone(waiter))
    }

    /// Whether `request` would have to wait for a waiter before `rank` in the queue of `key`.
    pub fn blocks(&self, key: &KeyId, request: &Request, rank: Rank) -> bool {
        self.blocks_counted(key, request, rank, &mut 0)
    }

    /// The same, which counts the waiters that were looked at.
    pub fn blocks_counted(&self, key: &KeyId, request: &Request, rank: Rank, looks: &mut usize) -> bool {
        let mut before = self.queue(key).take_while(|(earlier, _)| *earlier < rank).inspect(|_| {
            looked_at_parts(1, WAITERS_OF_LOOK);
            *looks += 1;
        });
        before.any(|(_, earlier)| request.waits_behind(&earlier.request))
    }

    /// The waiters for `key` behind this rank, or all of them.
    pub fn behind(&self, key: &KeyId, rank: Option<Rank>) -> impl Iterator<Item = &LockWaiter> {
        let from = rank.map_or(Bound::Unbounded, Bound::Excluded);
        let ranks = self.queues.get(key).into_iter().flat_map(move |ranks| ranks.range((from, Bound::Unbounded)));
        ranks.filter_map(|rank| self.waiter(rank.waiter()))
    }

    /// Whether this is its owner's only wait.
    pub fn waits_once(&self, waiter: &LockWaiter) -> bool {
        waiter.keys.first().is_some_and(|key| self.of_owner(key.db, &waiter.request.owner).len() == 1)
    }

    /// The pass over the queue of `key` that goes on, or one that begins at the front. Its next
    /// round begins.
    pub fn take_pass(&mut self, key: &KeyId) -> GrantPass {
        let mut pass = self.passes.remove(key).unwrap_or_default();
        self.passes.give_back_room();
        pass.begin_round();
        pass
    }

    /// A pass over the queue of `key` goes on in a later round.
    pub fn keep_pass(&mut self, key: KeyId, pass: GrantPass) {
        self.passes.insert(key, pass);
    }

    /// Something was freed on `key`, or a waiter has left: a pass that is not through is followed
    /// by another one.
    pub fn look_again(&mut self, key: &KeyId) {
        if let Some(pass) = self.passes.get_mut(key) {
            pass.look_again();
        }
    }
}
