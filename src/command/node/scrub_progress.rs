//! How far the automatic check of all values has come.

use crate::domain::algorithm::looks::uncounted;
use crate::domain::entity::checkable::Checkable;
use crate::domain::{looked, Invariant, KeyId, Millis};
use ahash::AHashMap;

/// How far the check has come.
#[derive(Debug, Default)]
pub struct Checks {
    /// Whether there may be values of ours.
    pub has_values: bool,
    /// When the last step was, and when the next one may come, unix ms.
    pub(crate) stepped_at: Millis,
    pub(crate) next_at: Millis,
    pub(crate) round: Option<Round>,
    /// Where the next part of each large value begins.
    pub(crate) places: AHashMap<KeyId, u64>,
    /// How many of the next checks panic: `LTMC.DEBUG CHECK`.
    #[cfg(feature = "test-hooks")]
    pub panics_due: u64,
}

/// A round over all keys.
#[derive(Debug, Default)]
pub struct Round {
    pub(crate) began: Millis,
    pub(crate) skipped: u64,
    /// The large values that were looked at, each with the part that comes in the next round.
    pub(crate) places: AHashMap<KeyId, u64>,
}

impl Round {
    /// Checks a value, or the next part of one that has more than `room` elements. Returns how many
    /// elements that was; `None` if the value was skipped. `places` are those of the round before.
    /// A key may come twice in a round.
    pub(crate) fn look(
        &mut self,
        places: &AHashMap<KeyId, u64>,
        key: &KeyId,
        value: &dyn Checkable,
        room: usize,
    ) -> Result<Option<usize>, Invariant> {
        let effort = value.effort();
        if effort <= room {
            looked(effort);
            return uncounted(|| value.check()).map(|()| Some(effort));
        }
        let from = self.places.get(key).or(places.get(key)).copied().unwrap_or(0);
        let part = uncounted(|| value.check_part(from, room))?;
        looked(part.as_ref().map_or(1, |part| part.effort));
        match part {
            Some(part) => drop(self.places.insert(key.clone(), part.next.unwrap_or(0))),
            None => self.skipped += 1,
        }
        Ok(part.map(|part| part.effort))
    }
}

impl Checks {
    /// When the next step comes at `rate` values a second, unix ms; `None` if none does.
    pub fn next_step(&self, rate: u64, now: Millis) -> Option<Millis> {
        if rate == 0 || !self.has_values {
            return None;
        }
        // If the clock was set back, the next step does not wait until it has caught up.
        Some(if now < self.stepped_at { now } else { self.next_at })
    }

    /// The rate may have changed, and the wait for the next step was by the old one.
    pub fn rate_changed(&mut self) {
        self.next_at = 0;
    }
}
