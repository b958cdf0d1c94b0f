//! The bounds and habits of a buffer.

use crate::domain::algorithm::eviction::Policy;
use serde::{Deserialize, Serialize};

/// The bounds of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// It never takes more, bytes. 0 only in a buffer that is not there.
    pub max_bytes: u64,
    /// It never gets smaller by itself, bytes.
    pub min_bytes: u64,
    /// Who goes when there is no room.
    pub policy: Policy,
}

impl Config {
    /// The policy as it is written.
    pub const fn policy_word(&self) -> &'static str {
        match self.policy {
            Policy::Gdsf => "GDSF",
            Policy::Lru => "LRU",
            Policy::Lfu => "LFU",
            Policy::Ttl => "TTL",
            Policy::Ring => "RING",
            Policy::None => "NONE",
        }
    }

    /// Whether its size moves.
    pub const fn is_dynamic(&self) -> bool {
        self.min_bytes < self.max_bytes
    }
}
