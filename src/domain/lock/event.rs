//! What can happen to a lock.

use super::grant::{Grant, Mode};
use crate::domain::{Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// Something that happened to a lock. A grant is named by its fence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LockEvent {
    /// An owner got a grant or an optimistic stamp.
    Granted(Grant),
    /// An owner took another level of its grant.
    Reentered {
        /// The grant.
        fence: Fence,
        /// The new end of its lease.
        ends_at: Millis,
    },
    /// One of several levels was released.
    Unlocked {
        /// The grant.
        fence: Fence,
    },
    /// The lease was renewed.
    Renewed {
        /// The grant.
        fence: Fence,
        /// The new end of its lease.
        ends_at: Millis,
    },
    /// The grant changed its mode, and so its fence.
    Converted {
        /// The old grant.
        fence: Fence,
        /// The new grant.
        new_fence: Fence,
        /// The new mode.
        mode: Mode,
    },
    /// The grant ended.
    Ended {
        /// The grant.
        fence: Fence,
        /// Why.
        cause: Cause,
    },
}

/// Why a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its owner released it.
    Released,
    /// Its lease expired.
    Expired,
    /// `LTMC.LOCK.BREAK`.
    Broken,
    /// Its connection ended, and it was taken with `ONDISCONNECT RELEASE`.
    Disconnected,
    /// The client that waited for it was gone before it could be told.
    TakenBack,
    /// An optimistic stamp was committed.
    Committed,
    /// The registered agent that held it is gone.
    AgentGone,
}

impl LockEvent {
    /// Whether others may get what it releases.
    pub fn frees(&self) -> bool {
        matches!(self, LockEvent::Unlocked { .. } | LockEvent::Converted { .. } | LockEvent::Ended { .. })
    }
}

impl Event for LockEvent {
    const NAMES: &'static [&'static str] = &[
        "lock.stamped",
        "lock.granted",
        "lock.reentered",
        "lock.unlocked",
        "lock.renewed",
        "lock.converted",
        "lock.released",
        "lock.expired",
        "lock.broken",
        "lock.disconnected",
        "lock.takenback",
        "lock.committed",
        "lock.agentgone",
    ];

    fn name(&self) -> Option<&'static str> {
        Some(match self {
            LockEvent::Granted(grant) if grant.mode == Mode::Optimistic => "lock.stamped",
            LockEvent::Granted(_) => "lock.granted",
            LockEvent::Reentered { .. } => "lock.reentered",
            LockEvent::Unlocked { .. } => "lock.unlocked",
            LockEvent::Renewed { .. } => "lock.renewed",
            LockEvent::Converted { .. } => "lock.converted",
            LockEvent::Ended { cause, .. } => match cause {
                Cause::Released => "lock.released",
                Cause::Expired => "lock.expired",
                Cause::Broken => "lock.broken",
                Cause::Disconnected => "lock.disconnected",
                Cause::TakenBack => "lock.takenback",
                Cause::Committed => "lock.committed",
                Cause::AgentGone => "lock.agentgone",
            },
        })
    }

    fn agent(&self) -> Option<&[u8]> {
        match self {
            LockEvent::Granted(grant) => Some(&grant.owner),
            _ => None,
        }
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            LockEvent::Granted(grant) => Some(grant.fence),
            LockEvent::Converted { new_fence, .. } => Some(*new_fence),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        match self {
            LockEvent::Granted(grant) => grant.connection(),
            _ => None,
        }
    }
}
