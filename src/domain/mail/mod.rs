//! Mailboxes: agents send each other messages, and no message is lost because its
//! recipient is away.
//!
//! A [`Mail`] holds messages, each once however many recipients it has, and an [inbox](Inbox) for
//! each agent that has joined or has a message. The life of a message in one inbox:
//!
//! ```text
//!   Sent           Received               Acknowledged
//! --------> ready ----------> leased -------------------> (gone)
//!            ^ ^                | |
//!            | +----------------+ |  Died
//!            |   LeaseEnded,      +--------> dead letter ---------> (gone)
//!            |   Returned,        |           |     Acknowledged, Dropped
//!            |   TakenBack        v           |
//!            |              delayed           |          Expired: gone from anywhere
//!            |  DelayEnded      |             |
//!            +------------------+-------------+
//!                                  Requeued
//! ```
//!
//! Ids are fences and so grow, whatever happens to the key. Ready messages are received in the
//! order of their ids, so a message that comes back precedes messages that were sent later.
//!
//! [`decide`] decides what may be done; clients that wait for messages stand in [`queue`].

mod change;
mod codec;
pub mod decide;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
pub mod inbox;
pub mod queue;

pub use event::{Letter, MailEvent, Reason};
pub use inbox::{Entry, Inbox};

use super::entity::{count, CHECKED_BYTES};
use super::{Blob, Bytes, Connection, Entity, Error, Fence, Invariant, Looked, Millis, Service};
use crate::domain::algorithm::allocator::allocated;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::quota::Quota;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The id of an agent, shared by everything that names it.
type Name = Arc<[u8]>;

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The sender.
    pub from: Bytes,
    /// When it was sent, unix ms.
    pub sent_at: Millis,
    /// When it expires; `None` if it stays until it is acknowledged.
    pub expires_at: Option<Millis>,
    /// The message that it answers.
    pub reply_to: Option<Fence>,
    /// Its content.
    pub payload: Blob,
    /// The recipients, some of which may have acknowledged it.
    to: SmallVec<[Name; 1]>,
    /// The number of inboxes and dead letters that have it.
    left: usize,
}

impl Message {
    fn heap_bytes(&self) -> usize {
        let to = if self.to.spilled() { allocated(self.to.capacity() * size_of::<Name>()) } else { 0 };
        self.payload.heap_bytes() + self.from.heap_bytes() + to
    }

    /// Whether it has expired at `now`.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A message that could not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dead {
    /// How often it was received.
    pub deliveries: u32,
    /// When it died, unix ms.
    pub since: Millis,
    /// Why.
    pub reason: Reason,
}

/// What keeps messages of one agent from being received: a lease or a delay.
#[derive(Debug, Clone)]
pub struct Hold {
    agent: Name,
    /// When it ends, unix ms.
    pub ends_at: Millis,
    /// Whether it is a delay: nobody has received them.
    pub is_delay: bool,
    /// The fence that the receiver was told; it stays when the lease is extended. 0 for a delay.
    pub token: Fence,
    /// The messages it began with. Those that left it have another hold, or none.
    ids: SmallVec<[Fence; 1]>,
    /// The number of messages it still holds.
    left: usize,
}

impl Hold {
    /// The agent of the messages.
    pub fn agent(&self) -> &[u8] {
        &self.agent
    }
}

/// What has happened in a mailbox since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages received, counted each time.
    pub received: u64,
    /// Messages acknowledged, counted for each recipient.
    pub acknowledged: u64,
    /// Messages that came back: returned, or at the end of a lease.
    pub returned: u64,
    /// Messages that expired.
    pub expired: u64,
    /// Dead letters.
    pub died: u64,
    /// Dead letters removed since there were too many.
    pub dropped: u64,
}

/// A mailbox.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    messages: BTreeMap<Fence, Message>,
    inboxes: BTreeMap<Name, Inbox>,
    holds: BTreeMap<Fence, Hold>,
    dead: BTreeMap<(Fence, Name), Dead>,
    totals: Totals,
    /// The largest id or fence that was ever in it.
    last_fence: Fence,
    // Derived from these:
    joined: usize,
    ends: BTreeSet<(Millis, Fence)>,
    expiries: BTreeSet<(Millis, Fence)>,
    /// Bytes of all payloads.
    payload_bytes: usize,
    heap_bytes: usize,
}

impl Mail {
    /// A message by its id.
    pub fn message(&self, id: Fence) -> Option<&Message> {
        self.messages.get(&id)
    }

    /// The number of messages. One to several agents counts once.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of the payloads of all messages.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// The oldest message.
    pub fn oldest(&self) -> Option<(Fence, &Message)> {
        self.messages.first_key_value().map(|(id, message)| (*id, message))
    }

    /// An agent's inbox.
    pub fn inbox(&self, agent: &[u8]) -> Option<&Inbox> {
        self.inboxes.get(agent)
    }

    /// All inboxes, ordered by agent.
    pub fn inboxes(&self) -> impl Iterator<Item = (&[u8], &Inbox)> {
        self.inboxes.iter().looked().map(|(agent, inbox)| (&**agent, inbox))
    }

    /// The inboxes from that of an agent on, ordered by agent.
    pub fn inboxes_from(&self, agent: &[u8]) -> impl Iterator<Item = (&[u8], &Inbox)> {
        self.inboxes
            .range::<[u8], _>((Bound::Included(agent), Bound::Unbounded))
            .map(|(agent, inbox)| (&**agent, inbox))
    }

    /// The number of inboxes: of agents that have joined or have messages.
    pub fn agents(&self) -> usize {
        self.inboxes.len()
    }

    /// The number of joined agents.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// A lease or delay.
    pub fn hold(&self, fence: Fence) -> Option<&Hold> {
        self.holds.get(&fence)
    }

    /// The fence under which an agent has received a message, and has it still.
    pub fn token(&self, agent: &[u8], id: Fence) -> Option<Fence> {
        let hold = self.hold(self.inbox(agent)?.entry(id)?.hold)?;
        Some(hold.token).filter(|token| *token > 0)
    }

    /// The dead letters in the order of their ids, with their agents.
    pub fn dead(&self) -> impl Iterator<Item = (Fence, &[u8], &Dead)> {
        self.dead.iter().map(|((id, agent), dead)| (*id, &**agent, dead))
    }

    /// The dead letters from one on, in the same order.
    pub fn dead_from(&self, (id, agent): (Fence, Bytes)) -> impl Iterator<Item = (Fence, &[u8], &Dead)> {
        self.dead.range((id, Name::from(&agent[..]))..).map(|((id, agent), dead)| (*id, &**agent, dead))
    }

    /// A dead letter.
    pub fn dead_letter(&self, id: Fence, agent: &[u8]) -> Option<&Dead> {
        if self.dead.is_empty() {
            return None;
        }
        self.dead.get(&(id, Name::from(agent)))
    }

    /// The number of dead letters.
    pub fn dead_len(&self) -> usize {
        self.dead.len()
    }

    /// The recipients that are not done with a message.
    pub fn receivers(&self, id: Fence) -> impl Iterator<Item = &[u8]> {
        let to = self.messages.get(&id).into_iter().flat_map(|message| &message.to);
        let has = move |agent: &&Name| {
            self.inbox(agent).is_some_and(|inbox| inbox.entry(id).is_some())
                || self.dead.contains_key(&(id, Name::clone(agent)))
        };
        to.looked().filter(has).map(|agent| &**agent)
    }

    /// How much work an event is: a piece for each message in each inbox that it changes.
    pub fn weight_of(&self, event: &MailEvent) -> usize {
        match event {
            MailEvent::Expired { ids, .. } => ids.iter().map(|id| self.weight_of_message(*id)).sum(),
            MailEvent::LeaseEnded { fence, .. } | MailEvent::DelayEnded { fence, .. } => self.weight_of_hold(*fence),
            _ => 1,
        }
    }

    fn weight_of_message(&self, id: Fence) -> usize {
        self.message(id).map_or(1, |message| message.to.len())
    }

    fn weight_of_hold(&self, fence: Fence) -> usize {
        self.hold(fence).map_or(1, |hold| hold.left)
    }

    /// What has happened so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The messages that a hold still has.
    pub fn held(&self, fence: Fence) -> impl Iterator<Item = (Fence, &Entry)> {
        let hold = self.holds.get(&fence).into_iter();
        let entry = move |hold: &Hold, id: Fence| {
            self.inbox(&hold.agent)?.entry(id).filter(|entry| entry.hold == fence).map(|entry| (id, entry))
        };
        hold.flat_map(move |hold| hold.ids.iter().looked().filter_map(move |id| entry(hold, *id)))
    }
}

impl Entity for Mail {
    type Event = MailEvent;

    const SERVICE: Service = Service::Mail;
    const TYPE_NAME: &'static str = "ltmc-mail";
    const TYPE_TAG: u8 = 8;
    const KEYS: &'static str = "mailboxes";
    const MEMBERS: Option<&'static str> = Some("messages");
    const QUOTA: Option<Quota> = Some(Quota::Messages);
    const COPIES: bool = true;

    fn apply(&mut self, event: &MailEvent) {
        match event {
            MailEvent::Joined { agent, at } => self.joined_or_left(agent, (*at).max(1)),
            MailEvent::Left { agent, .. } => self.left(agent),
            MailEvent::Sent(letter) => self.sent(letter),
            MailEvent::Received { fence, agent, ids, ends_at, .. } => {
                let received = self.put_under((*fence, *ends_at, *fence), agent, ids, |entry| {
                    entry.deliveries = entry.deliveries.saturating_add(1);
                    entry.hold == 0
                });
                count(&mut self.totals.received, received as u64);
            }
            MailEvent::Extended { fence, agent, id, ends_at, .. } => {
                let token = self.token(agent, *id).unwrap_or(*fence);
                self.put_under((*fence, *ends_at, token), agent, &[*id], |entry| entry.hold > 0);
            }
            MailEvent::Acknowledged { agent, ids, .. } => self.acknowledged(agent, ids),
            MailEvent::Returned { agent, id, delay, .. } => self.returned(agent, *id, *delay),
            MailEvent::LeaseEnded { fence, .. } => {
                let returned = self.end_hold(*fence, |_| {});
                count(&mut self.totals.returned, returned as u64);
            }
            MailEvent::DelayEnded { fence, .. } => drop(self.end_hold(*fence, |_| {})),
            MailEvent::TakenBack { fence, .. } => self.taken_back(*fence),
            MailEvent::Died { agent, id, at, reason } => self.died(agent, *id, *at, *reason),
            MailEvent::Requeued { agent, id, .. } => self.requeued(agent, *id),
            MailEvent::Dropped { agent, id, .. } => {
                let is_out = self.bring_out(agent, *id).is_some();
                count(&mut self.totals.dropped, u64::from(is_out));
            }
            MailEvent::Expired { ids, .. } => self.expired(ids),
            MailEvent::Parted { agent, .. } => {
                if self.inbox(agent).is_some() {
                    self.joined_or_left(agent, 0);
                }
            }
        }
    }

    fn admit(event: &MailEvent) -> Result<(), Error> {
        codec::admit(event)
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        let first = |times: &BTreeSet<(Millis, Fence)>| times.first().map(|(when, _)| *when);
        first(&self.ends).into_iter().chain(first(&self.expiries)).min()
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.joined == 0
    }

    fn members(&self) -> usize {
        self.messages.len()
    }

    fn last_fence(&self) -> Fence {
        self.last_fence
    }

    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    fn unties(&self, _event: &MailEvent) -> Option<Connection> {
        None
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.inbox(agent).is_some_and(|inbox| inbox.is_joined() || inbox.ready() < inbox.len())
    }

    fn amount(&self, agent: &[u8]) -> u64 {
        self.inbox(agent).map_or(0, Inbox::leased) as u64
    }

    fn touched(&self, event: &MailEvent) -> Vec<Bytes> {
        match event {
            MailEvent::Received { agent, .. } | MailEvent::Extended { agent, .. } => vec![agent.clone()],
            _ => Vec::new(),
        }
    }

    fn losers(&self, event: &MailEvent) -> Vec<Bytes> {
        match event {
            MailEvent::Left { agent, .. }
            | MailEvent::Parted { agent, .. }
            | MailEvent::Acknowledged { agent, .. }
            | MailEvent::Returned { agent, .. }
            | MailEvent::Died { agent, .. } => vec![agent.clone()],
            MailEvent::LeaseEnded { fence, .. } | MailEvent::TakenBack { fence, .. } => {
                self.hold(*fence).map(|hold| Bytes::from(hold.agent())).into_iter().collect()
            }
            MailEvent::Expired { ids, .. } => {
                let messages = ids.iter().filter_map(|id| self.messages.get(id));
                messages.flat_map(|message| message.to.iter().map(|name| Bytes::from(&name[..]))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn memory_bytes(&self) -> usize {
        codec::memory_bytes(self)
    }

    fn free_effort(&self) -> usize {
        (self.messages.len() + self.inboxes.len()).max(1)
    }

    fn copied(&self) -> Self {
        // As if received messages that are not acknowledged had never been received. A delay
        // belongs to nobody.
        let mut copy = codec::cloned(self);
        let leases = self.holds.iter().filter(|(_, hold)| !hold.is_delay);
        leases.for_each(|(fence, _)| copy.taken_back(*fence));
        copy
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, event: &MailEvent) -> Result<(), Invariant> {
        codec::check_after(self, event)
    }

    fn check_effort(&self) -> usize {
        self.free_effort() + 4 * self.heap_bytes.saturating_sub(self.payload_bytes) / CHECKED_BYTES
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        codec::check_part(self, from, room).map(Some)
    }

    fn rebuild(&mut self) {
        codec::rebuild(self);
    }
}
