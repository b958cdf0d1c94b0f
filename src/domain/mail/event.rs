//! What can happen to a mailbox.

use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One step in the life of a mailbox. Agents and messages are named by their ids,
/// times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MailEvent {
    /// An agent joined: messages to all reach it.
    Joined {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// An agent left; its inbox is gone.
    Left {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A message was sent.
    Sent(Box<Letter>),
    /// An agent received messages, with a lease.
    Received {
        /// The name of the lease.
        fence: Fence,
        /// The agent.
        agent: Bytes,
        /// The messages, in order.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
        /// When they come back unless they are acknowledged.
        ends_at: Millis,
    },
    /// An agent extended its lease on a message, which is a lease of its own now.
    Extended {
        /// The name of the new lease.
        fence: Fence,
        /// The agent.
        agent: Bytes,
        /// The message.
        id: Fence,
        /// When.
        at: Millis,
        /// When it comes back now.
        ends_at: Millis,
    },
    /// An agent acknowledged messages.
    Acknowledged {
        /// The agent.
        agent: Bytes,
        /// The messages, in order.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
    },
    /// An agent gave a message back.
    Returned {
        /// The agent.
        agent: Bytes,
        /// The message.
        id: Fence,
        /// When.
        at: Millis,
        /// The name and the end of the delay, unless it can be received at once.
        delay: Option<(Fence, Millis)>,
    },
    /// A lease expired: messages that were not acknowledged can be received again.
    LeaseEnded {
        /// The lease.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// The delay of a returned message expired.
    DelayEnded {
        /// The delay.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// The client that waited for messages was gone before it could be told of them: they count
    /// as never received.
    TakenBack {
        /// The lease.
        fence: Fence,
        /// When.
        at: Millis,
    },
    /// A message became a dead letter: it was received too often, or refused.
    Died {
        /// The agent.
        agent: Bytes,
        /// The message.
        id: Fence,
        /// When.
        at: Millis,
        /// Why.
        reason: Reason,
    },
    /// A dead letter is back in the inbox, as if it had never been received.
    Requeued {
        /// The agent.
        agent: Bytes,
        /// The message.
        id: Fence,
        /// When.
        at: Millis,
    },
    /// A dead letter was removed since there were too many.
    Dropped {
        /// The agent.
        agent: Bytes,
        /// The message.
        id: Fence,
        /// When.
        at: Millis,
    },
    /// Messages expired, wherever they were.
    Expired {
        /// The messages.
        ids: Vec<Fence>,
        /// When.
        at: Millis,
    },
    /// An agent is gone. What it has not received stays for the next agent of its name.
    Parted {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
}

/// A message as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Its id; grows.
    pub id: Fence,
    /// The sender.
    pub from: Bytes,
    /// The recipients, in order.
    pub to: Vec<Bytes>,
    /// When.
    pub at: Millis,
    /// When it expires, whether it was received or not.
    pub expires_at: Option<Millis>,
    /// The message that it answers.
    pub reply_to: Option<Fence>,
    /// Its content.
    pub payload: Blob,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It was received as often as allowed, and never acknowledged.
    Deliveries,
    /// Its recipient refused it.
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

impl Event for MailEvent {
    const NAMES: &'static [&'static str] = &[
        "mail.joined",
        "mail.left",
        "mail.sent",
        "mail.received",
        "mail.extended",
        "mail.acked",
        "mail.returned",
        "mail.leaseended",
        "mail.delayended",
        "mail.takenback",
        "mail.died",
        "mail.requeued",
        "mail.dropped",
        "mail.expired",
        "mail.parted",
    ];

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

    fn agent(&self) -> Option<&[u8]> {
        match self {
            MailEvent::Received { agent, .. } => Some(agent),
            _ => None,
        }
    }

    fn object(&self) -> Option<Cow<'_, [u8]>> {
        let id = match self {
            MailEvent::Sent(letter) => letter.id,
            MailEvent::Received { ids, .. } | MailEvent::Acknowledged { ids, .. } | MailEvent::Expired { ids, .. } => {
                *ids.first()?
            }
            MailEvent::Extended { id, .. }
            | MailEvent::Returned { id, .. }
            | MailEvent::Died { id, .. }
            | MailEvent::Requeued { id, .. }
            | MailEvent::Dropped { id, .. } => *id,
            _ => return None,
        };
        Some(id.to_string().into_bytes().into())
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
