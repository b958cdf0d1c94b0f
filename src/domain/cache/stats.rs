//! Counters of the answers of a cache, and the most used ones. All of it is local to this node and
//! begins anew with the process.

use super::ids::Slot;

/// Counters of a whole cache or of one tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fresh answers served.
    pub hits: u64,
    /// Stale answers served.
    pub stale: u64,
    /// Negative answers served.
    pub negative: u64,
    /// Calls without an answer.
    pub misses: u64,
    /// Tickets granted.
    pub tickets: u64,
    /// Answers put.
    pub puts: u64,
    /// Answers that had to make room.
    pub evicted: u64,
    /// Answers that expired.
    pub expired: u64,
    /// Answers invalidated, softly or not.
    pub invalidated: u64,
    /// Bytes of answers served.
    pub saved_bytes: u64,
    /// What computing them would have cost, ms.
    pub saved_ms: u64,
    /// Answers served to others than the agent that put them.
    pub shared: u64,
}

impl Counters {
    /// Calls that were saved: answers served.
    pub fn saved_calls(&self) -> u64 {
        self.hits + self.stale + self.negative
    }
}

/// How an answer was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HitKind {
    /// It is fresh.
    Fresh,
    /// It is stale.
    Stale,
    /// It is negative: it says that there is no result.
    Negative,
}

/// The most used answers: candidates with at least a certain number of uses. If there are too many,
/// the less used half goes and the bar rises to what is left, so a use costs next to nothing. When
/// many candidates are gone, the bar falls, and the next used answer becomes one.
#[derive(Debug, Clone, Default)]
pub struct Top {
    slots: Vec<Slot>,
    bar: u32,
    /// The number of candidates that still exist.
    alive: usize,
}

/// The largest number that can be asked for.
pub const TOP_MAX: usize = 1000;

impl Top {
    /// Whether an answer with this many uses becomes a candidate.
    pub fn admits(&self, uses: u32) -> bool {
        uses > self.bar
    }

    /// Adds a candidate. `uses` returns how often another candidate was used, if it still is one.
    /// Returns those that no longer are.
    pub fn add(&mut self, slot: Slot, uses: impl Fn(Slot) -> Option<u32>) -> Vec<Slot> {
        self.slots.push(slot);
        self.alive += 1;
        if self.slots.len() < 2 * TOP_MAX {
            return Vec::new();
        }
        let mut known: Vec<(u32, Slot)> = self.slots.iter().filter_map(|slot| Some((uses(*slot)?, *slot))).collect();
        known.sort_unstable_by(|one, other| other.cmp(one));
        known.dedup();
        self.bar = known.get(TOP_MAX).map_or(0, |(uses, _)| *uses);
        let out = known.split_off(known.len().min(TOP_MAX));
        self.slots = known.into_iter().map(|(_, slot)| slot).collect();
        self.alive = self.slots.len();
        out.into_iter().map(|(_, slot)| slot).collect()
    }

    /// A candidate is gone.
    pub fn lose(&mut self) {
        self.alive = self.alive.saturating_sub(1);
        if self.alive < TOP_MAX / 2 {
            self.bar = 0;
        }
    }

    /// The candidates.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        crate::domain::algorithm::allocator::allocated(self.slots.capacity() * size_of::<Slot>())
    }
}
