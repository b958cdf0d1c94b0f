//! Clients that wait for locks of this node, and which of them is served next.
//!
//! A waiter stands in the queue of every key it waits for (several with `LTMC.MLOCK`) at one
//! [rank](Rank). It is served when, on all its keys at once, it is compatible with the grants and
//! no waiter before it has to be served first. So a waiting writer keeps later readers out, and a
//! wait for several locks holds none of them meanwhile.

use super::decide::{fits, is_covered, Request};
use super::grant::Mode;
use super::occupancy::Occupancy;
use super::path::Path;
use super::Lock;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::rank::{Rank, WaiterId};
use crate::domain::{Bytes, Db, Fence, KeyId, Millis};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

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
    waiters: AHashMap<WaiterId, LockWaiter>,
    by_owner: AHashMap<(Db, Bytes), SmallVec<[WaiterId; 1]>>,
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
        self.waiters.get(&id)
    }

    /// The waiters for `key`, first to last.
    pub fn queue(&self, key: &KeyId) -> impl DoubleEndedIterator<Item = (Rank, &LockWaiter)> {
        self.queues.get(key).into_iter().flatten().filter_map(|rank| Some((*rank, self.waiters.get(&rank.waiter())?)))
    }

    /// The waiters before `rank` in the queue of `key`, the nearest first.
    pub fn before(&self, key: &KeyId, rank: Rank) -> impl Iterator<Item = &LockWaiter> {
        let ranks = self.queues.get(key).into_iter().flat_map(move |ranks| ranks.range(..rank).rev());
        ranks.filter_map(|rank| self.waiters.get(&rank.waiter()))
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
        }
        if let Some(key) = waiter.keys.first() {
            self.by_owner.entry((key.db, waiter.request.owner.clone())).or_default().push(id);
        }
        self.waiters.insert(id, waiter);
    }

    /// Removes a waiter from all queues.
    pub fn remove(&mut self, id: WaiterId) -> Option<LockWaiter> {
        let waiter = self.waiters.remove(&id)?;
        self.waiters.give_back_room();
        for key in &waiter.keys {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.remove(&waiter.rank);
                if queue.is_empty() {
                    self.queues.remove(key);
                    self.queues.give_back_room();
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
        Some(waiter)
    }

    /// Whether `request` would have to wait for a waiter before `rank` in the queue of `key`.
    pub fn blocks(&self, key: &KeyId, request: &Request, rank: Rank) -> bool {
        let before = self.queue(key).take_while(|(earlier, _)| *earlier < rank);
        before.into_iter().any(|(_, earlier)| request.waits_behind(&earlier.request))
    }
}

/// One pass over the queue of a key from the front, which serves every waiter that can be served.
///
/// Between two calls of [`next`](Self::next) the caller grants what was returned and removes that
/// waiter from the queue. A grant only takes room away, so a waiter that was passed over stays
/// passed over, and the pass continues where it stopped.
#[derive(Debug, Default)]
pub struct GrantPass {
    resume_after: Option<Rank>,
    passed_over: Vec<WaiterId>,
    /// What the passed-over waiters request, so that later ones need not be compared
    /// with each of them.
    wanted: Occupancy,
    /// Paths on which a shared request with a limit was passed over.
    limited: Vec<Path>,
}

impl GrantPass {
    /// The next waiter for `key` that can be served now.
    pub fn next(&mut self, queues: &LockQueues, key: &KeyId, locks: &impl Locks) -> Option<WaiterId> {
        use std::ops::Bound;
        let ranks = queues.queues.get(key)?;
        let from = self.resume_after.map_or(Bound::Unbounded, Bound::Excluded);
        for rank in ranks.range((from, Bound::Unbounded)) {
            let Some(waiter) = queues.waiter(rank.waiter()) else {
                continue;
            };
            self.resume_after = Some(*rank);
            if self.is_free(queues, waiter) && can_be_served(queues, waiter, key, locks) {
                return Some(rank.waiter());
            }
            self.pass_over(waiter);
            if waiter.request.mode == Mode::Exclusive && waiter.request.path.is_root() && queues.waits_once(waiter) {
                self.resume_after = ranks.last().copied();
                return None;
            }
        }
        None
    }

    fn pass_over(&mut self, waiter: &LockWaiter) {
        let Request { path, mode, limit, .. } = &waiter.request;
        self.passed_over.push(waiter.rank.waiter());
        self.wanted.note(path, *mode);
        if *limit > 0 && !self.limited.contains(path) {
            self.limited.push(path.clone());
        }
    }

    fn is_free(&self, queues: &LockQueues, waiter: &LockWaiter) -> bool {
        let Request { path, mode, .. } = &waiter.request;
        if self.wanted.is_compatible(path, *mode, &[]) && !self.limited.contains(path) {
            return true;
        }
        // An owner with a single wait cannot be in its own way.
        let earlier = || self.passed_over.iter().filter_map(|id| queues.waiter(*id));
        !queues.waits_once(waiter) && !earlier().any(|earlier| waiter.request.waits_behind(&earlier.request))
    }
}

impl LockQueues {
    /// Whether this is its owner's only wait.
    fn waits_once(&self, waiter: &LockWaiter) -> bool {
        waiter.keys.first().is_some_and(|key| self.of_owner(key.db, &waiter.request.owner).len() == 1)
    }
}

/// Whether a waiter is compatible on all its keys and has nobody before it on those other than
/// `key`, which the pass has checked already.
fn can_be_served(queues: &LockQueues, waiter: &LockWaiter, key: &KeyId, locks: &impl Locks) -> bool {
    waiter.keys.iter().all(|other| {
        let free = other == key || !queues.blocks(other, &waiter.request, waiter.rank);
        free && locks.with(other, |lock| waiter.fits(lock))
    })
}
