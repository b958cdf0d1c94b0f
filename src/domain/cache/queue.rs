//! Clients that wait for an answer that another agent computes: one line for each call.

use super::decide::TicketArgs;
use super::entry::Call;
use crate::domain::queue::rank::WaiterId;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{KeyId, Millis};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

/// A client that waits for an answer.
#[derive(Debug, Clone)]
pub struct FillWaiter {
    /// The cache.
    pub key: KeyId,
    /// The call.
    pub call: Call,
    /// The ticket that it takes if it is its turn to compute.
    pub args: TicketArgs,
    /// The oldest answer that it accepts, ms.
    pub age_ms_max: Millis,
}

impl InLine for FillWaiter {
    type Line = Call;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Call {
        &self.call
    }
}

/// All waiters for answers on a node.
pub type FillQueues = Lines<FillWaiter>;

/// Who is still to be served when a round is over.
#[derive(Debug)]
pub struct Unserved<R> {
    calls: BTreeSet<Call>,
    /// The call whose turn was last.
    last: Option<Call>,
    /// Waiters with the answers that were brought for them and are not kept.
    pub given: VecDeque<(WaiterId, R)>,
}

impl<R> Default for Unserved<R> {
    fn default() -> Self {
        Self { calls: BTreeSet::new(), last: None, given: VecDeque::new() }
    }
}

impl<R> Unserved<R> {
    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.given.is_empty()
    }

    /// Adds calls whose waiters may be served.
    pub fn add(&mut self, calls: impl IntoIterator<Item = Call>) {
        self.calls.extend(calls);
    }

    /// Takes the call whose turn is next.
    pub fn take_next(&mut self) -> Option<Call> {
        let behind = self.last.take().and_then(|last| self.calls.range((Excluded(last), Unbounded)).next());
        let call = behind.or_else(|| self.calls.first())?.clone();
        self.calls.remove(&call);
        self.last = Some(call.clone());
        Some(call)
    }

    /// Takes a call, if it is among them.
    pub fn take(&mut self, call: &Call) -> bool {
        self.calls.remove(call)
    }
}
