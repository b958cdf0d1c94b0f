//! How long a key lives, and who takes part in it.

use crate::domain::{Bytes, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a time is far from every overflow, and within what Redis takes for a time.
pub(super) fn is_time(when: Millis) -> bool {
    when <= i64::MAX as Millis / 4
}

/// How long a key lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its time to live, ms.
    pub ttl_ms: Option<Millis>,
    /// Whether every write gives it its time to live anew.
    pub is_sliding: bool,
    /// When its time to live is over, unix ms.
    pub ends_at: Option<Millis>,
    /// When it is over whatever happens, unix ms.
    pub dies_at: Option<Millis>,
}

impl Life {
    /// A life that begins at `at`.
    pub fn new(at: Millis, ttl_ms: Option<Millis>, is_sliding: bool, max_life_ms: Option<Millis>) -> Self {
        let after = |ms: Option<Millis>| ms.map(|ms| at.saturating_add(ms));
        Self { ttl_ms, is_sliding, ends_at: after(ttl_ms), dies_at: after(max_life_ms) }
    }

    /// When it is over, unix ms.
    pub fn over_at(&self) -> Option<Millis> {
        self.ends_at.into_iter().chain(self.dies_at).min()
    }

    /// Something was written.
    pub fn used(&mut self, at: Millis) {
        if self.is_sliding {
            self.renew(at, None);
        }
    }

    /// Gives it its time to live anew, or another one.
    pub fn renew(&mut self, at: Millis, ttl_ms: Option<Millis>) {
        self.ttl_ms = ttl_ms.or(self.ttl_ms);
        self.ends_at = self.ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms));
    }
}

/// How a life was over before its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, unix ms.
    pub at: Millis,
    /// A fence of that moment: what was granted later is younger. 0 if nothing had to be given back.
    pub fence: Fence,
}

/// One of those who take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// As what; empty if it did not say.
    pub role: Bytes,
    /// Since when, unix ms.
    pub since: Millis,
}

/// Those who take part, by their ids.
pub type Participants = BTreeMap<Bytes, Participant>;

/// Bytes that participants take.
pub fn participants_bytes(participants: &Participants) -> usize {
    let texts: usize = participants.iter().map(|(id, one)| id.heap_bytes() + one.role.heap_bytes()).sum();
    texts + participants.len() * size_of::<(Bytes, Participant)>() * 4 / 3
}
