//! What happened with the answers of a cache, and which of them are used most. All of it is this node's own: it begins anew with the process.

use super::ids::Slot;

/// Counts, of a whole cache or of one tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Fresh answers given.
    pub hits: u64,
    /// Stale answers given.
    pub stale: u64,
    /// Answers given that say that there is none.
    pub negative: u64,
    /// Calls for which there was no answer.
    pub misses: u64,
    /// Tickets given.
    pub tickets: u64,
    /// Answers put.
    pub puts: u64,
    /// Answers that had to make room.
    pub evicted: u64,
    /// Answers whose time was over.
    pub expired: u64,
    /// Answers called off, softly or not.
    pub invalidated: u64,
    /// Bytes of answers given.
    pub saved_bytes: u64,
    /// What it would have cost to compute them, ms.
    pub saved_ms: u64,
    /// Answers given to others than who put them.
    pub shared: u64,
}

impl Counters {
    /// Calls that need not be made: answers given.
    pub fn saved_calls(&self) -> u64 {
        self.hits + self.stale + self.negative
    }
}

/// How an answer was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum HitKind {
    /// It is fresh.
    Fresh,
    /// It is stale.
    Stale,
    /// It says that there is none.
    Negative,
}

/// The answers that are used most: candidates that were used at least so often. If there are too many, the less used half goes and the
/// bar is raised to what is left, so a use costs next to nothing. Once many of them are gone whoever is used next is one.
#[derive(Debug, Clone, Default)]
pub struct Top {
    slots: Vec<Slot>,
    bar: u32,
    /// So many of them are there still.
    alive: usize,
}

/// So many can be asked for.
pub const TOP_MAX: usize = 1000;

impl Top {
    /// Whether somebody with so many uses becomes a candidate.
    pub fn admits(&self, uses: u32) -> bool {
        uses > self.bar
    }

    /// A candidate. `uses` says how often another one was used, if it still is one; those that are none any more are returned.
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
