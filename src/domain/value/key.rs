//! Names of keys and connections.

use super::bytes::Bytes;

/// Number of a Redis database.
pub type Db = u32;

/// A key of this node. The same name in another database is another key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// The key that its value has after `SWAPDB one other`.
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
/// Client ids start anew with each process, so after a restart or a failover the id alone would
/// name another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Connection {
    /// When the process loaded the module, unix microseconds.
    pub boot: u64,
    /// Redis' id of the client.
    pub client: u64,
}
