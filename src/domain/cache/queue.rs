//! Clients that wait for an answer that another agent computes: one line for each call.

use super::decide::TicketArgs;
use super::entry::Call;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{KeyId, Millis};

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

impl FillQueues {
    /// The calls that are waited for, in order.
    pub fn calls(&self, key: &KeyId) -> Vec<Call> {
        let mut calls: Vec<Call> = self.lines(key).cloned().collect();
        calls.sort_unstable();
        calls
    }
}
