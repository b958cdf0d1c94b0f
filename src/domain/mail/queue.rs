//! Clients that wait for messages. The receivers of one agent stand in one line. Those that want
//! only the answers to a message stand in a line of their own.

use super::decide::ReceiveArgs;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{Bytes, Fence, KeyId};

/// The line of a waiter: its agent, and the message whose answers it wants, if not all.
pub type Line = (Bytes, Option<Fence>);

/// A client that waits for messages.
#[derive(Debug, Clone)]
pub struct MailWaiter {
    /// The mailbox.
    pub key: KeyId,
    /// The line it stands in.
    pub line: Line,
    /// The arguments of its request.
    pub args: ReceiveArgs,
    /// The registry of the receiver, if it named one.
    pub registry: Option<Bytes>,
}

impl InLine for MailWaiter {
    type Line = Line;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Line {
        &self.line
    }
}

/// All waiters for messages on a node.
pub type MailQueues = Lines<MailWaiter>;

impl MailQueues {
    /// The agents that have waiters, in order.
    pub fn agents(&self, key: &KeyId) -> Vec<Bytes> {
        let mut agents: Vec<Bytes> = self.lines(key).map(|(agent, _)| agent.clone()).collect();
        agents.sort_unstable();
        agents.dedup();
        agents
    }
}
