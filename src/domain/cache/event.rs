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
    /// Its bounds and policy were set.
    Configured {
        /// The bounds and the policy.
        config: Config,
        /// Whether it stays when it is empty, since a client has set the bounds.
        stays: bool,
    },
    /// An agent computes the answer to a call.
    Ticketed {
        /// The call.
        call: Call,
        /// Who computes it, and until when.
        flight: Flight,
    },
    /// The connection of a ticket has ended.
    Abandoned {
        /// The ticket.
        ticket: Fence,
        /// How long the answer is still awaited, unix ms.
        until: Millis,
    },
    /// The answer to a ticket is no longer awaited, but may still be put.
    Orphaned {
        /// The ticket.
        ticket: Fence,
    },
    /// A ticket ended.
    TicketEnded {
        /// The ticket.
        ticket: Fence,
        /// Why.
        why: TicketEnd,
    },
    /// An answer to a call was put.
    Put(Box<Filled>),
    /// Everything with a label was invalidated, or the whole cache.
    Invalidated {
        /// When.
        at: Millis,
        /// What was invalidated.
        what: Target,
        /// Whether it may still be served as stale.
        is_soft: bool,
        /// Older tickets are void.
        fence: Fence,
        /// How many answers are removed at once; the others follow.
        batch: u32,
    },
    /// More of the answers that are being invalidated were removed.
    Buried {
        /// How many.
        batch: u32,
    },
    /// Answers were removed.
    Removed {
        /// Their ids.
        answers: Vec<AnswerId>,
        /// Why.
        why: Removal,
    },
    /// An answer was served. Local.
    Used {
        /// Its place.
        slot: Slot,
        /// Whether it was fresh, stale or negative.
        given: HitKind,
        /// Whether it was served to another agent than the one that put it.
        by_other: bool,
    },
    /// A call had no answer, and who asked got no ticket. Local.
    Missed {
        /// The call.
        call: Call,
    },
}

/// An answer to be put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Its call.
    pub call: Call,
    /// The result.
    pub value: Blob,
    /// When it was put, unix ms.
    pub at: Millis,
    /// When it becomes stale, unix ms.
    pub fresh_until: Millis,
    /// When it is removed, unix ms.
    pub gone_at: Millis,
    /// What it cost to compute, ms.
    pub cost_ms: Millis,
    /// The agent that put it; empty if none was named.
    pub agent: Bytes,
    /// Whether it is negative: it says that there is no result.
    pub is_negative: bool,
    /// Its dependencies and tags; sorted, without duplicates.
    pub labels: Vec<Label>,
    /// The ticket that it was computed for, which it uses up.
    pub ticket: Option<Fence>,
}

/// Why a ticket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketEnd {
    /// Its owner gave up, or its answer could not be kept.
    Failed,
    /// Its lease expired.
    Expired,
    /// What it was computed from was invalidated meanwhile.
    Void,
    /// Its client was gone before it could be told.
    TakenBack,
}

/// Why answers are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Their time ran out.
    Expired,
    /// They had to make room.
    Evicted,
}

/// What is invalidated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Everything with one of these labels.
    Labels(Vec<Label>),
    /// The whole cache.
    All,
}

impl Event for CacheEvent {
    const NAMES: &'static [&'static str] = &[
        "cache.configured",
        "cache.ticketed",
        "cache.ticketended",
        "cache.put",
        "cache.invalidated",
        "cache.expired",
        "cache.evicted",
    ];

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
