//! The bounds and the policy of a buffer.

use crate::domain::algorithm::eviction::Policy;
use serde::{Deserialize, Serialize};

/// The bounds of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// The upper bound of its size, bytes. 0 only in a buffer that does not exist.
    pub max_bytes: u64,
    /// The size below which it does not shrink, bytes.
    pub min_bytes: u64,
    /// Which chunk goes when there is no room.
    pub policy: Policy,
}

impl Config {
    /// The word of the policy.
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

    /// Whether its size changes with its use.
    pub const fn is_dynamic(&self) -> bool {
        self.min_bytes < self.max_bytes
    }
}
