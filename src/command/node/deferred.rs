//! Work that is left to the scheduler.

use super::waits::UndeliveredGrant;
use crate::command::reply::Reply;
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::Estate;
use crate::domain::{AgentBinding, Connection, Db, Error, KeyId};

/// Work for the scheduler: the callback that notices it must not write.
#[derive(Debug, Clone)]
pub enum DeferredWork {
    /// A grant whose client went away before it was told.
    TakeBack(UndeliveredGrant),
    /// A connection ended.
    Disconnected(Connection),
    /// A value that this process knows of is gone.
    ValueGone {
        /// Its key.
        key: KeyId,
        /// The connections it was tied to.
        connections: Vec<Connection>,
        /// The bindings it had.
        bindings: Vec<AgentBinding>,
    },
    /// Redis has deleted a key by itself, at the end of its TTL or to evict it.
    Expired {
        /// Its key.
        key: KeyId,
        /// What it owned.
        estate: Option<Box<Estate>>,
    },
    /// The keys were loaded, or this node was promoted: the connections of other processes will not
    /// come back.
    ForgetForeignConnections,
    /// Clients that wait no more are told what has come, or why it never will.
    Tell {
        /// Their waits.
        clients: Vec<WaiterId>,
        /// What they are told.
        answer: Result<Reply, Error>,
    },
}

impl DeferredWork {
    /// Follows SWAPDB: what is to be done for a key is done where its value, or what it owned, is
    /// now. Watchers stay with the number of their database, and are told there.
    pub fn swapped(self, one: Db, other: Db) -> Vec<Self> {
        match self {
            DeferredWork::TakeBack(grant) => vec![DeferredWork::TakeBack(grant.swapped(one, other))],
            DeferredWork::ValueGone { key, connections, bindings } => {
                vec![DeferredWork::ValueGone { key: key.swapped(one, other), connections, bindings }]
            }
            DeferredWork::Expired { key, estate: Some(estate) } => vec![
                DeferredWork::Expired { key: key.clone(), estate: None },
                DeferredWork::Expired { key: key.swapped(one, other), estate: Some(estate) },
            ],
            DeferredWork::Expired { estate: None, .. }
            | DeferredWork::Disconnected(_)
            | DeferredWork::ForgetForeignConnections
            | DeferredWork::Tell { .. } => vec![self],
        }
    }
}
