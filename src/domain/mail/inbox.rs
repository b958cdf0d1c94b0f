//! The messages of one agent in a mailbox, in the order of their ids, in which they were sent.

use super::Name;
use crate::domain::algorithm::allocator::{allocated, tree_bytes};
use crate::domain::{looked, Fence, Looked, Millis};
use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};

/// A message in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// How often it was received.
    pub deliveries: u32,
    /// The lease or delay that keeps it from being received; 0 if it is ready.
    pub hold: Fence,
    /// The message that it answers; 0 if none. Derived from the message.
    pub reply_to: Fence,
    /// Whether the hold is a lease: the agent has received it. Derived from the hold.
    pub is_leased: bool,
}

/// The messages of one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inbox {
    /// The agent.
    pub(super) name: Name,
    /// When the agent joined, unix ms; 0 if it did not and is only sent to.
    pub joined_at: Millis,
    entries: BTreeMap<Fence, Entry>,
    // Derived from the entries:
    ready: BTreeSet<Fence>,
    /// The ready messages that are answers: the id of the question, and their own.
    answers: BTreeSet<(Fence, Fence)>,
    /// How many messages the agent has received and not acknowledged.
    leased: usize,
}

impl Inbox {
    /// An inbox with nothing in it.
    pub(super) fn new(name: Name) -> Self {
        Self { name, ..Self::default() }
    }

    /// Whether the agent is joined.
    pub fn is_joined(&self) -> bool {
        self.joined_at > 0
    }

    /// Whether it need not be kept.
    pub fn is_idle(&self) -> bool {
        !self.is_joined() && self.entries.is_empty()
    }

    /// The number of messages in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no message is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of messages that can be received.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The number of messages that the agent has received and not acknowledged.
    pub fn leased(&self) -> usize {
        self.leased
    }

    /// A message in it.
    pub fn entry(&self, id: Fence) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Whether an answer to `reply_to` in it is indexed.
    pub(super) fn offers(&self, id: Fence, reply_to: Option<Fence>) -> bool {
        let reply_to = reply_to.unwrap_or(0);
        self.entry(id).is_some_and(|entry| {
            let is_ready = entry.hold == 0;
            entry.reply_to == reply_to
                && self.ready.contains(&id) == is_ready
                && self.answers.contains(&(reply_to, id)) == (is_ready && reply_to > 0)
        })
    }

    /// All messages, in order.
    pub fn entries(&self) -> impl Iterator<Item = (Fence, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The messages from an id on, in order.
    pub fn entries_from(&self, id: Fence) -> impl Iterator<Item = (Fence, &Entry)> {
        self.entries.range(id..).map(|(id, entry)| (*id, entry))
    }

    /// The messages that can be received, in order. With `answer_to`, only answers to that message.
    pub fn receivable(&self, answer_to: Option<Fence>) -> Box<dyn Iterator<Item = Fence> + '_> {
        match answer_to {
            None => Box::new(self.ready.iter().looked().copied()),
            Some(question) => {
                Box::new(self.answers.range((question, 0)..=(question, Fence::MAX)).looked().map(|(_, id)| *id))
            }
        }
    }

    /// Adds a message. False if it is there already.
    pub(super) fn put(&mut self, id: Fence, entry: Entry) -> bool {
        looked(1);
        let MapEntry::Vacant(place) = self.entries.entry(id) else { return false };
        place.insert(entry);
        if entry.hold == 0 {
            self.offer(id, entry.reply_to);
        }
        self.leased += usize::from(entry.is_leased);
        true
    }

    /// Removes a message.
    pub(super) fn take(&mut self, id: Fence) -> Option<Entry> {
        looked(1);
        let entry = self.entries.remove(&id)?;
        if entry.hold == 0 {
            self.withdraw(id, entry.reply_to);
        }
        self.leased -= usize::from(entry.is_leased);
        Some(entry)
    }

    /// Removes all messages.
    pub(super) fn take_all(&mut self) -> BTreeMap<Fence, Entry> {
        self.ready.clear();
        self.answers.clear();
        self.leased = 0;
        std::mem::take(&mut self.entries)
    }

    /// Changes a message and its place in the indexes. Returns what it was before; `None` if
    /// it is not there.
    pub(super) fn edit(&mut self, id: Fence, change: impl FnOnce(&mut Entry)) -> Option<Entry> {
        looked(1);
        let entry = self.entries.get_mut(&id)?;
        let before = *entry;
        change(entry);
        let after = *entry;
        self.leased = self.leased + usize::from(after.is_leased) - usize::from(before.is_leased);
        match (before.hold, after.hold) {
            (0, 0) => {}
            (0, _) => self.withdraw(id, after.reply_to),
            (_, 0) => self.offer(id, after.reply_to),
            _ => {}
        }
        Some(before)
    }

    fn offer(&mut self, id: Fence, reply_to: Fence) {
        self.ready.insert(id);
        if reply_to > 0 {
            self.answers.insert((reply_to, id));
        }
    }

    fn withdraw(&mut self, id: Fence, reply_to: Fence) {
        self.ready.remove(&id);
        if reply_to > 0 {
            self.answers.remove(&(reply_to, id));
        }
    }

    #[cfg(any(test, feature = "test-hooks"))]
    pub(super) fn break_part(&mut self, part: &str) {
        match part {
            "ready" => drop(self.ready.pop_first()),
            "answers" => drop(self.answers.pop_first()),
            "leased" => self.leased += 1,
            _ => self.entries.values_mut().for_each(|entry| entry.reply_to += 1),
        }
    }

    /// Bytes allocated outside the struct itself, with those of the agent's name.
    pub(super) fn heap_bytes(&self) -> usize {
        // The name is shared, with two counts before it.
        allocated(2 * size_of::<usize>() + self.name.len())
            + tree_bytes(self.entries.len(), size_of::<(Fence, Entry)>())
            + tree_bytes(self.ready.len(), size_of::<Fence>())
            + tree_bytes(self.answers.len(), size_of::<(Fence, Fence)>())
    }
}
