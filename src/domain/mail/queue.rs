//! Those who wait for messages. The receivers of one agent stand in one line, and those of them who want only the answers to a message in
//! one of their own.

use super::decide::ReceiveArgs;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{Bytes, Fence, KeyId};

/// In which line somebody waits: for whom, and for the answers to which message, if not for all.
pub type Line = (Bytes, Option<Fence>);

/// Somebody who waits for messages.
#[derive(Debug, Clone)]
pub struct MailWaiter {
    /// The mailbox.
    pub key: KeyId,
    /// The line it stands in.
    pub line: Line,
    /// What it asks for.
    pub wish: ReceiveArgs,
    /// The registry that the receiver is an agent of, if it named one.
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

/// All who wait for messages on a node.
pub type MailQueues = Lines<MailWaiter>;

impl MailQueues {
    /// The agents for whom somebody waits, in order.
    pub fn agents(&self, key: &KeyId) -> Vec<Bytes> {
        let mut agents: Vec<Bytes> = self.lines(key).map(|(agent, _)| agent.clone()).collect();
        agents.sort_unstable();
        agents.dedup();
        agents
    }
}
