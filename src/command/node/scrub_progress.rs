//! How far the automatic check of all values has come.

use crate::domain::entity::record::Checkable;
use crate::domain::{Invariant, KeyId, Millis};
use ahash::AHashMap;

/// How far the check has come.
#[derive(Debug, Default)]
pub struct Checks {
    /// Whether there may be values of ours.
    pub has_values: bool,
    /// When the last step was, and when the next one is due, unix ms.
    pub(crate) stepped_at: Millis,
    pub(crate) due: Millis,
    pub(crate) round: Option<Round>,
    /// Where the next part of each large value begins.
    pub(crate) places: AHashMap<KeyId, u64>,
    /// So often the next checks panic: `LTMC.DEBUG CHECK`.
    #[cfg(feature = "test-hooks")]
    pub panics_due: u64,
}

/// A round over all keys.
#[derive(Debug, Default)]
pub struct Round {
    pub(crate) began: Millis,
    pub(crate) skipped: u64,
    /// The large values that were looked at, with the beginning of the part that comes in the next round.
    pub(crate) places: AHashMap<KeyId, u64>,
}

impl Round {
    /// Looks at a value, or at the next part of it if it counts more elements than `room`. Says how many it was; `None` if it was left out.
    /// `places` are those of the round before; a key may come twice in a round.
    pub(crate) fn look(
        &mut self,
        places: &AHashMap<KeyId, u64>,
        key: &KeyId,
        value: &dyn Checkable,
        room: usize,
    ) -> Result<Option<usize>, Invariant> {
        let effort = value.effort();
        if effort <= room {
            return value.check().map(|()| Some(effort));
        }
        let from = self.places.get(key).or(places.get(key)).copied().unwrap_or(0);
        let part = value.check_part(from, room)?;
        match part {
            Some(part) => drop(self.places.insert(key.clone(), part.next.unwrap_or(0))),
            None => self.skipped += 1,
        }
        Ok(part.map(|part| part.effort))
    }
}

impl Checks {
    /// When the next step is due at `rate` values a second, unix ms; `None` if none is.
    pub fn next_step(&self, rate: u64, now: Millis) -> Option<Millis> {
        if rate == 0 || !self.has_values {
            return None;
        }
        // If the clock was set back, nobody waits until it is again what it was.
        Some(if now < self.stepped_at { now } else { self.due })
    }

    /// The rate may be another one now: the wait for the next step was by the old one.
    pub fn rate_changed(&mut self) {
        self.due = 0;
    }
}
