//! The end of a key. A key has one end, its TTL in Redis: `PX` and `EX` of our commands set it,
//! and so do `EXPIRE` and `PERSIST`, as on a native key. No value holds it a second time.

use super::event_log::Log;
use crate::domain::{Bytes, Millis};

/// The end of a value by its time to live.
#[derive(Debug, Default)]
pub struct Expired {
    /// What it is called.
    pub event: &'static str,
    /// Who has lost something by it.
    pub loser: Option<Bytes>,
    /// The log up to it.
    pub log: Option<Box<Log>>,
}

/// What an event does to the TTL of its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// It stays as it is.
    #[default]
    Keeps,
    /// The key expires then, unix ms.
    At(Millis),
    /// The key no longer expires.
    Never,
}

impl Expiry {
    /// The same for a value that says when it ends, if ever.
    pub fn of(end: Option<Millis>) -> Self {
        end.map_or(Expiry::Never, Expiry::At)
    }

    /// What a later event does, or this one if the later does nothing.
    pub fn then(self, later: Self) -> Self {
        match later {
            Expiry::Keeps => self,
            later => later,
        }
    }
}
