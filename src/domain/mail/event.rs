//! What can happen to a mailbox.

use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// One step in the life of a mailbox. Agents are named by id, messages by theirs, times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MailEvent {
    /// An agent takes part: it is reached by what is sent to all.
    Joined {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// An agent takes no part any more; what was in its inbox is gone.
    Left {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A message was sent.
    Sent(Box<Letter>),
    /// An agent received messages, with a lease.
    Received {
        /// Names the lease.
        fence: Fence,
        /// Who.
        agent: Bytes,
        /// Which, in order.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
        /// When they come back if they are not acknowledged.
        ends_at: Millis,
    },
    /// An agent got more time for a message: a lease of its own.
    Extended {
        /// Names the new lease.
        fence: Fence,
        /// Who.
        agent: Bytes,
        /// Which.
        id: Fence,
        /// When.
        at: Millis,
        /// When it comes back now.
        ends_at: Millis,
    },
    /// An agent is done with messages.
    Acknowledged {
        /// Who.
        agent: Bytes,
        /// Which, in order.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
    },
    /// An agent gave a message back.
    Returned {
        /// Who.
        agent: Bytes,
        /// Which.
        id: Fence,
        /// When.
        at: Millis,
        /// The name of the delay and its end, if it is not to be received at once.
        delay: Option<(Fence, Millis)>,
    },
    /// A lease is over: what was not acknowledged can be received again.
    LeaseEnded {
        /// Which lease.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// The delay of a message that was given back is over.
    DelayEnded {
        /// Which delay.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// The client that waited for messages was gone before it could be told of them: they were not received.
    TakenBack {
        /// The lease.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// A message was received too often, or is not wanted: it is a dead letter.
    Died {
        /// Whose.
        agent: Bytes,
        /// Which.
        id: Fence,
        /// When.
        at: Millis,
        /// Why.
        reason: Reason,
    },
    /// A dead letter is in the inbox again, as if it had never been received.
    Requeued {
        /// Whose.
        agent: Bytes,
        /// Which.
        id: Fence,
        /// When.
        at: Millis,
    },
    /// A dead letter went since there are too many.
    Dropped {
        /// Whose.
        agent: Bytes,
        /// Which.
        id: Fence,
        /// When.
        at: Millis,
    },
    /// The time of messages is over: they are gone, wherever they were.
    Expired {
        /// Which.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
    },
    /// An agent that is gone takes no part any more; what it has not received stays for the next one of its name.
    Parted {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
}

/// A message as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Its name; grows.
    pub id: Fence,
    /// Who sent it.
    pub from: Bytes,
    /// To whom, in order.
    pub to: Vec<Bytes>,
    /// When.
    pub at: Millis,
    /// When it is gone, whoever has received it or not.
    pub expires_at: Option<Millis>,
    /// The message that it answers.
    pub reply_to: Option<Fence>,
    /// What it says.
    pub payload: Blob,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It was received as often as allowed, and never acknowledged.
    Deliveries,
    /// Its receiver said so.
    Refused,
}

impl Reason {
    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::Deliveries => "deliveries",
            Reason::Refused => "refused",
        }
    }
}

impl MailEvent {
    /// How much work it is to apply it, in messages.
    pub fn weight(&self) -> usize {
        match self {
            MailEvent::Expired { ids, .. } => ids.len().max(1),
            _ => 1,
        }
    }
}

impl Event for MailEvent {
    fn name(&self) -> Option<&'static str> {
        Some(match self {
            MailEvent::Joined { .. } => "mail.joined",
            MailEvent::Left { .. } => "mail.left",
            MailEvent::Sent(_) => "mail.sent",
            MailEvent::Received { .. } => "mail.received",
            MailEvent::Extended { .. } => "mail.extended",
            MailEvent::Acknowledged { .. } => "mail.acked",
            MailEvent::Returned { .. } => "mail.returned",
            MailEvent::LeaseEnded { .. } => "mail.leaseended",
            MailEvent::DelayEnded { .. } => "mail.delayended",
            MailEvent::TakenBack { .. } => "mail.takenback",
            MailEvent::Died { .. } => "mail.died",
            MailEvent::Requeued { .. } => "mail.requeued",
            MailEvent::Dropped { .. } => "mail.dropped",
            MailEvent::Expired { .. } => "mail.expired",
            MailEvent::Parted { .. } => "mail.parted",
        })
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            MailEvent::Sent(letter) => Some(letter.id),
            MailEvent::Received { fence, .. } | MailEvent::Extended { fence, .. } => Some(*fence),
            MailEvent::Returned { delay, .. } => delay.map(|(fence, _)| fence),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        None
    }
}
