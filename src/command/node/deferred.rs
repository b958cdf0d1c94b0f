//! Work that is left to the scheduler.

use super::waits::UndeliveredGrant;
use crate::domain::{AgentBinding, Connection, KeyId};

/// Something to be done by the scheduler, since callbacks in which it is noticed may not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeferredWork {
    /// A grant whose client went away before it was told.
    TakeBack(UndeliveredGrant),
    /// A connection ended.
    Disconnected(Connection),
    /// A value is gone that this process knows of.
    ValueGone {
        /// Its key.
        key: KeyId,
        /// What it was tied to.
        connections: Vec<Connection>,
        /// For whom something was held in it.
        bindings: Vec<AgentBinding>,
    },
    /// The keys were loaded or this node was promoted: connections of other processes are gone for good.
    ForgetForeignConnections,
}
