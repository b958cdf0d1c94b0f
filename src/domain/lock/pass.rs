//! How far a pass over the queue of a key has come, which serves every waiter that can be served.

use super::decide::Request;
use super::occupancy::Occupancy;
use super::path::Path;
use crate::domain::queue::rank::{Rank, WaiterId};
use ahash::AHashSet;

/// One pass over the queue of a key from the front.
///
/// Between two calls of [`next`](Self::next) the caller grants what was returned and removes that
/// waiter from the queue. A grant only takes room away, so a waiter that was passed over stays
/// passed over, and the pass continues where it stopped. What is freed between two rounds is for a
/// waiter behind that place only if no waiter before it wants it; for those before it, another pass
/// follows.
#[derive(Debug, Default)]
pub struct GrantPass {
    pub(super) resume_after: Option<Rank>,
    pub(super) passed_over: Vec<WaiterId>,
    /// What the passed-over waiters request, so that later ones need not be compared
    /// with each of them.
    pub(super) wanted: Occupancy,
    /// Paths on which a shared request with a limit was passed over.
    pub(super) limited: AHashSet<Path>,
    /// What was looked at in this round.
    pub(super) looks: usize,
    /// Whether somebody was served in this round.
    pub(super) has_served: bool,
    /// Whether another pass follows.
    pub(super) again: bool,
}

impl GrantPass {
    /// A round begins.
    pub fn begin_round(&mut self) {
        (self.looks, self.has_served) = (0, false);
    }

    /// How much was looked at in this round.
    pub fn looks(&self) -> usize {
        self.looks
    }

    /// Another pass follows this one.
    pub fn look_again(&mut self) {
        self.again = true;
    }

    /// A waiter has come. Those behind it wait for it, though the pass has come further.
    pub fn joined_by(&mut self, rank: Rank, request: &Request) {
        if self.resume_after.is_some_and(|resume_after| rank < resume_after) {
            self.pass_over(rank.waiter(), request);
            self.again = true;
        }
    }

    /// A waiter cannot be served now. Those behind it wait for it, too.
    pub fn pass_over(&mut self, id: WaiterId, request: &Request) {
        let Request { path, mode, limit, .. } = request;
        self.passed_over.push(id);
        self.wanted.note(path, *mode);
        if *limit > 0 && !self.limited.contains(path) {
            self.limited.insert(path.clone());
        }
    }
}
