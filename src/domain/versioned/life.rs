//! How long a key lives, and its participants.

use crate::domain::{Bytes, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a time is far from every overflow, and within what Redis accepts as a time.
pub(super) fn is_time(when: Millis) -> bool {
    when <= i64::MAX as Millis / 4
}

/// How long a key lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its time to live, ms.
    pub ttl_ms: Option<Millis>,
    /// Whether every write renews its time to live.
    pub is_sliding: bool,
    /// When it expires at the latest, unix ms.
    pub dies_at: Option<Millis>,
}

impl Life {
    /// A life that begins at `at`.
    pub fn new(at: Millis, ttl_ms: Option<Millis>, is_sliding: bool, max_life_ms: Option<Millis>) -> Self {
        Self { ttl_ms, is_sliding, dies_at: max_life_ms.map(|max_life_ms| at.saturating_add(max_life_ms)) }
    }

    /// When it expires if its time to live begins at `at`, unix ms.
    pub fn ends_from(&self, at: Millis) -> Option<Millis> {
        self.at_most(self.ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms)))
    }

    /// An end, but no later than its latest.
    pub fn at_most(&self, expires_at: Option<Millis>) -> Option<Millis> {
        expires_at.into_iter().chain(self.dies_at).min()
    }
}

/// An end before its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, unix ms.
    pub at: Millis,
    /// A fence of that moment; later grants are larger. 0 if nothing had to be given back.
    pub fence: Fence,
    /// When it is gone, unix ms; 0 if at once. What has to be given back may take longer.
    pub gone_at: Millis,
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Its role; empty if it has none.
    pub role: Bytes,
    /// When it joined, unix ms.
    pub since: Millis,
}

/// The participants, ordered by id.
pub type Participants = BTreeMap<Bytes, Participant>;

/// Bytes that participants take.
pub fn participants_bytes(participants: &Participants) -> usize {
    let texts: usize = participants.iter().map(|(id, one)| id.heap_bytes() + one.role.heap_bytes()).sum();
    texts + participants.len() * size_of::<(Bytes, Participant)>() * 4 / 3
}
