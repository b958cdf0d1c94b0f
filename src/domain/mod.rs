//! The state machines, one folder per service. Pure: no clock, no globals, no random source and no Redis.
//!
//! A key is an entity. A write *decides* (validates and returns events, mutating nothing) and the events are then *applied*;
//! nothing else changes an entity. Replicas, AOF replay and tests apply the same events and so reach the same state.
//!
//! What every service shares stands here: [`Entity`] and [`Event`], the [`Stored`] value that holds an entity in its key, the
//! [`Fences`] that every grant takes its number from, the queue order of those who wait ([`wait`]), the log that watchers
//! read ([`watch`]), the error type and the limits.

pub mod blob;
pub mod bonds;
#[cfg(any(test, feature = "test-hooks"))]
pub mod broken;
pub mod buffer;
pub mod cache;
pub mod capability;
pub mod context;
pub mod error;
pub mod eviction;
pub mod fault;
pub mod fence;
pub mod few;
pub mod flow;
pub mod id;
pub mod json;
pub mod limits;
pub mod lines;
pub mod lock;
pub mod mail;
pub mod memory;
pub mod parts;
pub mod random;
pub mod reactions;
pub mod registry;
pub mod report;
pub mod requests;
pub mod service;
pub mod session;
pub mod stored;
pub mod versioned;
pub mod wait;
pub mod watch;
pub mod xxhash;

pub use blob::Blob;
pub use bonds::Bond;
pub use error::{Code, Error};
pub use fault::Fault;
pub use fence::{Fence, Fences};
pub use id::Bytes;
pub use service::{Entity, Event, Invariant, Service};
pub use stored::{Change, Stored};

/// Unix time or a duration, in milliseconds.
pub type Millis = u64;

/// Number of a Redis database.
pub type Db = u32;

/// A key of this node: the same name in another database is another key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// Database number.
    pub db: Db,
    /// Name of the key, any bytes.
    pub name: Bytes,
}

impl KeyId {
    /// The key `name` of database `db`.
    pub fn new(db: Db, name: &[u8]) -> Self {
        Self { db, name: Bytes::from(name) }
    }

    /// The key under which its value is after `SWAPDB one other`.
    pub fn swapped(mut self, one: Db, other: Db) -> Self {
        self.db = match self.db {
            db if db == one => other,
            db if db == other => one,
            db => db,
        };
        self
    }
}

/// One client connection of one server process.
///
/// Client ids start anew with each process, so the id alone would name a stranger after a restart or a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Connection {
    /// When the process loaded the module, unix microseconds.
    pub boot: u64,
    /// Redis' id of the client.
    pub client: u64,
}
