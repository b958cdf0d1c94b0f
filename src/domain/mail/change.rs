//! How a mailbox changes: each event moves messages from one place to another. What does
//! not fit is ignored.

use super::{Dead, Entry, Hold, Inbox, Letter, Mail, Message, Name, Reason};
use crate::domain::entity::count;
use crate::domain::{looked, Bytes, Fence, Millis};
use smallvec::SmallVec;

impl Mail {
    /// Changes an inbox. Creates it if there is none, and removes it if nothing is left in it.
    pub(super) fn with_inbox<T>(&mut self, agent: &[u8], change: impl FnOnce(&mut Inbox) -> T) -> T {
        looked(1);
        let (inbox, before) = match self.inboxes.get_mut(agent) {
            Some(inbox) => {
                let before = inbox.heap_bytes();
                (inbox, before)
            }
            None => {
                let name = Name::from(agent);
                (self.inboxes.entry(name.clone()).or_insert_with(|| Inbox::new(name)), 0)
            }
        };
        let result = change(inbox);
        let (is_idle, after) = (inbox.is_idle(), inbox.heap_bytes());
        self.heap_bytes = self.heap_bytes - before + if is_idle { 0 } else { after };
        if is_idle {
            self.inboxes.remove(agent);
        }
        result
    }

    pub(super) fn joined_or_left(&mut self, agent: &[u8], joined_at: Millis) {
        let was_joined = self.with_inbox(agent, |inbox| std::mem::replace(&mut inbox.joined_at, joined_at) > 0);
        self.joined = self.joined + usize::from(joined_at > 0) - usize::from(was_joined);
    }

    pub(super) fn left(&mut self, agent: &[u8]) {
        let Some(inbox) = self.inbox(agent) else { return };
        let was_joined = inbox.is_joined();
        let entries = self.with_inbox(agent, |inbox| {
            inbox.joined_at = 0;
            inbox.take_all()
        });
        self.joined -= usize::from(was_joined);
        for (id, entry) in entries {
            self.loosen(entry.hold);
            self.release(id);
        }
    }

    pub(super) fn sent(&mut self, letter: &Letter) {
        let id = letter.id;
        if self.messages.contains_key(&id) {
            return;
        }
        let entry = Entry { deliveries: 0, hold: 0, reply_to: letter.reply_to.unwrap_or(0), is_leased: false };
        let put = |mail: &mut Mail, agent: &Bytes| {
            mail.with_inbox(agent, |inbox| inbox.put(id, entry).then(|| inbox.name.clone()))
        };
        let to: SmallVec<[Name; 1]> = letter.to.iter().filter_map(|agent| put(self, agent)).collect();
        if to.is_empty() {
            return;
        }
        count(&mut self.totals.sent, 1);
        self.keep(
            id,
            Message {
                from: letter.from.clone(),
                sent_at: letter.at,
                expires_at: letter.expires_at,
                reply_to: letter.reply_to,
                payload: letter.payload.clone(),
                left: to.len(),
                to,
            },
        );
    }

    pub(super) fn keep(&mut self, id: Fence, message: Message) {
        self.last_fence = self.last_fence.max(id);
        self.payload_bytes += message.payload.len();
        self.heap_bytes += message.heap_bytes();
        self.expiries.extend(message.expires_at.map(|end| (end, id)));
        self.messages.insert(id, message);
    }

    /// One place less has the message; the last one removes it.
    pub(super) fn release(&mut self, id: Fence) {
        looked(1);
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.left -= 1;
        if message.left == 0 {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: Fence) -> Option<Message> {
        let message = self.messages.remove(&id)?;
        self.payload_bytes -= message.payload.len();
        self.heap_bytes -= message.heap_bytes();
        if let Some(end) = message.expires_at {
            self.expiries.remove(&(end, id));
        }
        Some(message)
    }

    /// Removes a message from an inbox and from its lease.
    pub(super) fn remove_entry(&mut self, agent: &[u8], id: Fence) -> Option<Entry> {
        looked(1);
        // One way down for all of it: of a message to thousands, each inbox is somewhere else.
        let inbox = self.inboxes.get_mut(agent)?;
        let before = inbox.heap_bytes();
        let entry = inbox.take(id)?;
        let (is_idle, after) = (inbox.is_idle(), inbox.heap_bytes());
        self.heap_bytes = self.heap_bytes - before + if is_idle { 0 } else { after };
        if is_idle {
            self.inboxes.remove(agent);
        }
        self.loosen(entry.hold);
        Some(entry)
    }

    /// A hold has one message less; the last one removes the hold.
    pub(super) fn loosen(&mut self, fence: Fence) {
        let Some(hold) = self.holds.get_mut(&fence) else { return };
        hold.left -= 1;
        if hold.left == 0 {
            self.ends.remove(&(hold.ends_at, fence));
            self.holds.remove(&fence);
        }
    }

    /// Puts those messages that `change` selects under a new hold: a lease with the token that its
    /// receiver was told, or a delay, which has none.
    pub(super) fn put_under(
        &mut self,
        (fence, ends_at, token): (Fence, Millis, Fence),
        agent: &[u8],
        ids: &[Fence],
        change: impl Fn(&mut Entry) -> bool,
    ) -> usize {
        if self.inbox(agent).is_none() || self.holds.contains_key(&fence) || fence == 0 {
            return 0;
        }
        let (mut held, mut loosened): (SmallVec<[Fence; 1]>, SmallVec<[Fence; 1]>) = Default::default();
        let name = self.with_inbox(agent, |inbox| {
            for id in ids {
                let Some(entry) = inbox.entry(*id) else { continue };
                let mut after = *entry;
                if change(&mut after) {
                    held.push(*id);
                    (after.hold, after.is_leased) = (fence, token > 0);
                    loosened.extend(inbox.edit(*id, |entry| *entry = after).map(|before| before.hold));
                }
            }
            inbox.name.clone()
        });
        let left = held.len();
        if left > 0 {
            self.last_fence = self.last_fence.max(fence);
            self.ends.insert((ends_at, fence));
            let is_delay = token == 0;
            self.holds.insert(fence, Hold { agent: name, ends_at, is_delay, token, ids: held, left });
        }
        loosened.into_iter().for_each(|before| self.loosen(before));
        left
    }

    /// Makes the remaining messages of a hold ready again.
    pub(super) fn end_hold(&mut self, fence: Fence, change: impl Fn(&mut Entry)) -> usize {
        let Some(hold) = self.holds.remove(&fence) else { return 0 };
        self.ends.remove(&(hold.ends_at, fence));
        let mut ended = 0;
        self.with_inbox(&hold.agent, |inbox| {
            for id in hold.ids {
                if inbox.entry(id).is_some_and(|entry| entry.hold == fence) {
                    inbox.edit(id, |entry| {
                        (entry.hold, entry.is_leased) = (0, false);
                        change(entry);
                    });
                    ended += 1;
                }
            }
        });
        ended
    }

    /// The remaining messages of a lease count as never received.
    pub(super) fn taken_back(&mut self, fence: Fence) {
        let taken = self.end_hold(fence, |entry| entry.deliveries = entry.deliveries.saturating_sub(1));
        self.totals.received = self.totals.received.saturating_sub(taken as u64);
    }

    pub(super) fn returned(&mut self, agent: &[u8], id: Fence, delay: Option<(Fence, Millis)>) {
        let Some(Entry { hold, .. }) = self.inbox(agent).and_then(|inbox| inbox.entry(id)).copied() else { return };
        if hold == 0 {
            return;
        }
        match delay {
            Some((fence, ends_at)) => drop(self.put_under((fence, ends_at, 0), agent, &[id], |_| true)),
            None => {
                self.with_inbox(agent, |inbox| inbox.edit(id, |entry| (entry.hold, entry.is_leased) = (0, false)));
                self.loosen(hold);
            }
        }
        count(&mut self.totals.returned, 1);
    }

    pub(super) fn acknowledged(&mut self, agent: &[u8], ids: &[Fence]) {
        let mut taken: Vec<Option<Entry>> = Vec::new();
        if self.inbox(agent).is_some() {
            taken = self.with_inbox(agent, |inbox| ids.iter().map(|id| inbox.take(*id)).collect());
        }
        for (nth, id) in ids.iter().enumerate() {
            match taken.get(nth).copied().flatten() {
                Some(entry) => {
                    self.loosen(entry.hold);
                    self.release(*id);
                }
                None if self.bring_out(agent, *id).is_none() => continue,
                None => {}
            }
            count(&mut self.totals.acknowledged, 1);
        }
    }

    pub(super) fn died(&mut self, agent: &[u8], id: Fence, since: Millis, reason: Reason) {
        let Some(entry) = self.remove_entry(agent, id) else { return };
        count(&mut self.totals.died, 1);
        let dead = Dead { deliveries: entry.deliveries, since, reason };
        self.dead.insert((id, Name::from(agent)), dead);
    }

    /// Removes a message from the dead letters.
    pub(super) fn bring_out(&mut self, agent: &[u8], id: Fence) -> Option<Dead> {
        if self.dead.is_empty() {
            return None;
        }
        let dead = self.dead.remove(&(id, Name::from(agent)))?;
        self.release(id);
        Some(dead)
    }

    pub(super) fn requeued(&mut self, agent: &[u8], id: Fence) {
        if self.dead_letter(id, agent).is_none() {
            return;
        }
        let Some(reply_to) = self.message(id).map(|message| message.reply_to.unwrap_or(0)) else { return };
        self.dead.remove(&(id, Name::from(agent)));
        let entry = Entry { deliveries: 0, hold: 0, reply_to, is_leased: false };
        self.with_inbox(agent, |inbox| inbox.put(id, entry));
    }

    pub(super) fn expired(&mut self, ids: &[Fence]) {
        for id in ids {
            let Some(message) = self.forget(*id) else { continue };
            count(&mut self.totals.expired, 1);
            for agent in &message.to {
                if self.remove_entry(agent, *id).is_none() && !self.dead.is_empty() {
                    self.dead.remove(&(*id, agent.clone()));
                }
            }
        }
    }
}
