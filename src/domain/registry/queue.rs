//! Clients that wait for a claim. An agent that becomes free goes to the longest waiter whose
//! filter fits. Waiters with the same filter stand in one line.

use super::decide::ClaimArgs;
use super::filter::Filter;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::rank::WaiterId;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{Bytes, KeyId, Millis};
use ahash::AHashSet;
use std::collections::VecDeque;
use std::sync::Arc;

/// A client that waits for a claim.
#[derive(Debug, Clone)]
pub struct ClaimWaiter {
    /// The registry.
    pub key: KeyId,
    /// The arguments of the claim.
    pub args: ClaimArgs,
    /// The `REQID` under which the claim is remembered.
    pub request_id: Option<RequestId>,
    /// When its wait began, unix ms.
    pub since: Millis,
}

impl InLine for ClaimWaiter {
    type Line = Arc<Filter>;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Arc<Filter> {
        &self.args.filter
    }

    fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }
}

/// All waiters for claims on a node.
pub type ClaimQueues = Lines<ClaimWaiter>;

impl ClaimQueues {
    /// Adds a waiter. Waiters in one line share their filter.
    pub fn insert_claimer(&mut self, id: WaiterId, mut waiter: ClaimWaiter) {
        if let Some(same) = self.same_line(&waiter.key, &waiter.args.filter) {
            waiter.args.filter = same.clone();
        }
        self.insert(id, waiter);
    }
}

/// Who is still to be served, and with what, when a round is over.
#[derive(Debug, Default)]
pub struct Unserved {
    /// Agents that may be free, in their turn.
    free: VecDeque<Bytes>,
    known: AHashSet<Bytes>,
    /// Waiters behind this one are still to be offered every agent.
    pub offered_to: Option<WaiterId>,
    /// The lines in which nobody could be given anything meanwhile.
    pub in_vain: Vec<Arc<Filter>>,
}

impl Unserved {
    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty() && self.offered_to.is_none()
    }

    /// Adds an agent that may be free.
    pub fn add(&mut self, agent: Bytes) {
        if self.known.insert(agent.clone()) {
            self.free.push_back(agent);
        }
    }

    /// Takes the next agent that may be free.
    pub fn take_next(&mut self) -> Option<Bytes> {
        let agent = self.free.pop_front()?;
        self.known.remove(&agent);
        Some(agent)
    }
}
