//! What can happen to a cache.

use super::entry::{Call, Flight};
use super::ids::{AnswerId, Slot};
use super::labels::Label;
use super::stats::HitKind;
use super::Config;
use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// One step in the life of a cache. Times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CacheEvent {
    /// It has these bounds and habits.
    Configured {
        /// Which.
        config: Config,
        /// Whether it stays when it is empty: somebody asked for them.
        stays: bool,
    },
    /// Somebody computes the answer of a call.
    Ticketed {
        /// Which call.
        call: Call,
        /// Who, and until when.
        flight: Flight,
    },
    /// The connection over which a ticket was given has ended.
    Abandoned {
        /// The ticket.
        ticket: Fence,
        /// Until when the answer is waited for all the same, unix ms.
        until: Millis,
    },
    /// What a ticket was given for is not waited for any more; but it may still come.
    Orphaned {
        /// The ticket.
        ticket: Fence,
    },
    /// A ticket is worth nothing any more.
    TicketEnded {
        /// The ticket.
        ticket: Fence,
        /// Why.
        why: TicketEnd,
    },
    /// A call has an answer.
    Put(Box<Filled>),
    /// What has a label is called off, or everything.
    Invalidated {
        /// When.
        at: Millis,
        /// What.
        what: Target,
        /// Whether it may still be served as stale.
        is_soft: bool,
        /// Tickets that are older are void.
        fence: Fence,
        /// So many answers at once; the others later.
        batch: u32,
    },
    /// So many more of the answers that are being called off.
    Buried {
        /// How many.
        batch: u32,
    },
    /// Answers are gone.
    Removed {
        /// Which.
        answers: Vec<AnswerId>,
        /// Why.
        why: Removal,
    },
    /// An answer was given to somebody. Only this node counts.
    Used {
        /// Where.
        slot: Slot,
        /// How.
        given: HitKind,
        /// To somebody else than who put it.
        by_other: bool,
    },
    /// A call had no answer, and somebody else computes it already. Only this node counts.
    Missed {
        /// Which.
        call: Call,
    },
}

/// An answer that comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Of which call.
    pub call: Call,
    /// The result.
    pub value: Blob,
    /// When it was put, unix ms.
    pub at: Millis,
    /// Until when it is fresh, unix ms.
    pub fresh_until: Millis,
    /// Until when it is there at all, unix ms.
    pub gone_at: Millis,
    /// What it cost to compute, ms.
    pub cost_ms: Millis,
    /// Who put it; empty if nobody was named.
    pub agent: Bytes,
    /// Whether it says that there is none.
    pub is_negative: bool,
    /// What it depends on, and its tags; in order, none twice.
    pub labels: Vec<Label>,
    /// The ticket that it was computed for, which is used up.
    pub ticket: Option<Fence>,
}

/// Why a ticket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketEnd {
    /// Who had it gave up.
    Failed,
    /// Its lease is over.
    Expired,
    /// What it was computed from was called off meanwhile.
    Void,
    /// Who had waited for it was gone before it could be told.
    TakenBack,
}

/// Why answers are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Their time is over.
    Expired,
    /// They had to make room.
    Evicted,
}

/// What is called off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// What has one of these labels.
    Labels(Vec<Label>),
    /// All of it.
    All,
}

impl Event for CacheEvent {
    fn name(&self) -> Option<&'static str> {
        Some(match self {
            CacheEvent::Configured { .. } => "cache.configured",
            CacheEvent::Ticketed { .. } => "cache.ticketed",
            CacheEvent::TicketEnded { .. } => "cache.ticketended",
            CacheEvent::Put(_) => "cache.put",
            CacheEvent::Invalidated { .. } => "cache.invalidated",
            CacheEvent::Removed { why: Removal::Expired, .. } => "cache.expired",
            CacheEvent::Removed { why: Removal::Evicted, .. } => "cache.evicted",
            CacheEvent::Abandoned { .. } | CacheEvent::Orphaned { .. } | CacheEvent::Buried { .. } => return None,
            CacheEvent::Used { .. } | CacheEvent::Missed { .. } => return None,
        })
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            CacheEvent::Ticketed { flight, .. } => Some(flight.ticket),
            CacheEvent::Invalidated { fence, .. } => Some(*fence),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        match self {
            CacheEvent::Ticketed { flight, .. } => flight.connection,
            _ => None,
        }
    }

    fn is_local(&self) -> bool {
        matches!(self, CacheEvent::Used { .. } | CacheEvent::Missed { .. })
    }
}
