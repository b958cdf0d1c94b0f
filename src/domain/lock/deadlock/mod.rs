//! Would waiting close a cycle? This is checked before a client waits; a cycle is refused.
//!
//! The wait-for graph has owners as nodes. An owner waits for the holders that keep it out (hard
//! edges) and for the waiters before it in a queue (soft edges), as in PostgreSQL's lock manager. A
//! full semaphore needs *some* of its holders to end, not all, so a plain cycle search would report
//! false deadlocks. Instead the graph is reduced (R. C. Holt, "Some Deadlock Properties of Computer
//! Systems", 1972). An owner that waits for nothing can run to its end, and so can an owner that
//! waits only for such owners. Those that are left are deadlocked. Only what can be reached from
//! the new waiter is looked at, since a new cycle has to go through it.
//!
//! An owner with several waits at once (one in each of several connections) runs only when
//! all of them end.
//!
//! A search that takes more looks than a command may have goes on in [turns](search) while the
//! client waits.

mod asking;
pub mod edges;
mod graph;
pub mod looks;
pub mod search;
#[cfg(test)]
mod tests;

use super::queue::{LockQueues, LockWaiter, Locks};
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Error, KeyId, Millis};
use search::{Found, Search, Searches};

/// What is known of a waiter, which is in the queues already.
#[derive(Debug)]
pub enum Checked {
    /// It closes no cycle.
    Free,
    /// It can never be served.
    Refused(Error),
    /// The search has to go on.
    Unknown(Box<Search>),
}

impl Checked {
    fn of(found: Found, search: Search) -> Self {
        match found {
            Found::Nothing => Checked::Free,
            Found::Refused(error) => Checked::Refused(error),
            Found::GoesOn => Checked::Unknown(Box::new(search)),
        }
    }
}

/// Looks after which it is asked whether anybody can wait for the waiter at all, and most looks
/// where other searches go on. Most searches end sooner.
const FEW_LOOKS: usize = 1_000;

/// Searches for a cycle that the waiter `id` closes, with the looks that commands have at this
/// moment, see [`Searches::room`].
pub fn check(queues: &LockQueues, searches: &mut Searches, id: WaiterId, locks: &impl Locks, now: Millis) -> Checked {
    let (room, mut search) = (searches.room(now), Search::of(id, true));
    let mut found = searches.try_now(&mut search, queues, locks, now, room.min(FEW_LOOKS));
    if let Found::GoesOn = found {
        if queues.waiter(id).is_none_or(|waiter| is_needed_by_nobody(queues, waiter, locks)) {
            return Checked::Free;
        }
        if searches.is_empty() && room > FEW_LOOKS {
            search.is_still_the_same_turn();
            found = searches.try_now(&mut search, queues, locks, now, room - FEW_LOOKS);
        }
    }
    Checked::of(found, search)
}

/// The same for a waiter whose owner has got something over another connection, with few looks:
/// many may be served in one step.
pub fn recheck(queues: &LockQueues, searches: &mut Searches, id: WaiterId, locks: &impl Locks, now: Millis) -> Checked {
    let (room, mut search) = (searches.room(now), Search::of(id, false));
    let found = searches.try_now(&mut search, queues, locks, now, room.min(FEW_LOOKS));
    Checked::of(found, search)
}

/// Up to this many waited-for keys are checked one by one for a grant of the new waiter.
const WAITED_KEYS_MAX: usize = 200;

/// Whether it is plain that nobody waits for the new waiter: it holds nothing that is waited for,
/// waits nowhere else and is last. Then no cycle can go through it, however long the queue is.
fn is_needed_by_nobody(queues: &LockQueues, waiter: &LockWaiter, locks: &impl Locks) -> bool {
    let owner = &waiter.request.owner;
    let holds = |key: &KeyId| locks.with(key, |lock| !lock.grants().of_owner(owner).is_empty());
    queues.keys().len() <= WAITED_KEYS_MAX
        && waiter.keys.iter().all(|key| queues.is_last(key, waiter.rank) && queues.of_owner(key.db, owner).len() == 1)
        && !queues.keys().any(holds)
}
