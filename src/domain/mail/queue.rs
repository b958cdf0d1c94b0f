//! Clients that wait for messages. The receivers of one agent stand in one line. Those that want
//! only the answers to a message stand in a line of their own.

use super::decide::ReceiveArgs;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::{Bytes, Fence, KeyId};
use std::collections::BTreeSet;
use std::ops::Bound;

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

/// The lines whose waiters may be served, and that could not be looked at in one round. Agents have
/// their turns.
#[derive(Debug, Default)]
pub struct Readied {
    lines: BTreeSet<Line>,
    /// The agent whose turn was last.
    last: Bytes,
}

impl Readied {
    /// Whether no line is left.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds lines.
    pub fn add(&mut self, lines: impl IntoIterator<Item = Line>) {
        self.lines.extend(lines);
    }

    /// Takes the lines of the agent whose turn is next.
    pub fn take_next(&mut self) -> Option<(Bytes, Vec<Line>)> {
        let behind = (Bound::Excluded((self.last.clone(), Some(Fence::MAX))), Bound::Unbounded);
        let (agent, _) = self.lines.range(behind).next().or_else(|| self.lines.first())?;
        self.last = agent.clone();
        let agent = agent.clone();
        let lines = self.take_of(&agent);
        Some((agent, lines))
    }

    /// Takes the lines of an agent.
    pub fn take_of(&mut self, agent: &Bytes) -> Vec<Line> {
        let lines = self.lines.range((agent.clone(), None)..).take_while(|(other, _)| other == agent);
        let lines: Vec<Line> = lines.cloned().collect();
        for line in &lines {
            self.lines.remove(line);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_whose_lines_are_readied_have_their_turns() {
        let mut readied = Readied::default();
        let line = |agent: &str, answer_to| (Bytes::from(agent), answer_to);
        readied.add([line("b", None), line("a", Some(7)), line("a", None), line("c", Some(Fence::MAX))]);
        assert_eq!(readied.take_next(), Some(("a".into(), vec![line("a", None), line("a", Some(7))])));
        readied.add([line("a", None)]);
        assert_eq!(readied.take_next(), Some(("b".into(), vec![line("b", None)])));
        assert_eq!(readied.take_of(&"x".into()), []);
        assert_eq!(readied.take_next().map(|(agent, _)| agent), Some("c".into()));
        assert_eq!(readied.take_next().map(|(agent, _)| agent), Some("a".into()), "it begins anew");
        assert!(readied.is_empty() && readied.take_next().is_none());
    }
}
