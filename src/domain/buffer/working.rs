//! How many bytes of a buffer were used within the last hour, and how large the buffer
//! should be for that.
//!
//! Each node measures it and does not save it. The primary decides what follows from it, and
//! replicates that as an event.

use super::chunk::Used;
use super::config::Config;
use super::event::Why;
use crate::domain::Millis;

/// Length of a step, ms. A use counts for twelve steps.
const STEP_MS: Millis = 5 * 60 * 1000;
const STEPS: usize = 12;

/// How often a dynamic buffer checks whether the server is short of memory, ms.
pub const LOOK_MS: Millis = 1000;
/// How long after a change of its size a buffer may shrink for lack of use, ms.
pub const REST_MS: Millis = STEP_MS;

/// Bytes by the step of their last use.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkingSet {
    step: u64,
    bytes: [usize; STEPS],
}

impl WorkingSet {
    fn advance(&mut self, now: Millis) {
        let step = now / STEP_MS;
        for past in (self.step + 1..=step).take(STEPS) {
            self.bytes[past as usize % STEPS] = 0;
        }
        self.step = self.step.max(step);
    }

    /// A chunk of `bytes` bytes is used now.
    pub fn used(&mut self, used: &mut Used, bytes: usize, now: Millis) {
        self.advance(now);
        self.forget(used);
        self.bytes[self.step as usize % STEPS] += bytes;
        (used.step, used.bytes) = (self.step, bytes);
    }

    /// A chunk is gone.
    pub fn forget(&mut self, used: &Used) {
        if used.step + STEPS as u64 > self.step {
            let counted = &mut self.bytes[used.step as usize % STEPS];
            *counted = counted.saturating_sub(used.bytes);
        }
    }

    /// Bytes used within the last hour.
    pub fn bytes(&self, now: Millis) -> usize {
        let mut current = *self;
        current.advance(now);
        current.bytes.iter().sum()
    }
}

/// The figures that decide the size of a buffer. Bytes, except the times.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// Its bounds.
    pub config: Config,
    /// The size in force.
    pub size: u64,
    /// Bytes in use by chunks.
    pub used: u64,
    /// Bytes of those that may not be evicted.
    pub held: u64,
    /// Bytes used within the last hour.
    pub working: u64,
    /// Whether the server is short of memory. Then a buffer grows only if it must.
    pub is_short: bool,
}

impl Need {
    /// The best size: what is in use and a quarter more.
    fn wanted(&self) -> u64 {
        let in_use = self.working.min(self.used).max(self.held);
        in_use.saturating_add(in_use / 4).clamp(self.config.min_bytes, self.config.max_bytes)
    }

    /// The larger size that it needs if `used`, `held` and `working` count the new chunk. `None` if
    /// it can keep its size, and evict something for the new chunk.
    pub fn grown(&self) -> Option<u64> {
        if self.used <= self.size || self.size >= self.config.max_bytes {
            return None;
        }
        let in_use = self.working.max(self.held);
        // An eighth stays for what is not in use. Otherwise new chunks would push out
        // those that are read.
        let is_worth_it = !self.is_short && in_use > self.size - self.size / 8;
        let step = self.size.saturating_add(self.size / 4);
        if is_worth_it {
            return Some(in_use.saturating_add(in_use / 4).max(step).min(self.config.max_bytes));
        }
        (self.held > self.size).then(|| self.held.min(self.config.max_bytes))
    }

    /// The smaller size that it should have, and why; `None` if it can keep its size. `rested_ms`
    /// is how long it has had this size.
    pub fn shrunk(&self, rested_ms: Millis) -> Option<(u64, Why)> {
        let least = self.config.min_bytes.max(self.held);
        if self.is_short {
            let size = (self.size.min(self.used) / 4 * 3).max(least);
            // Only when all the excess has gone does it show whether one step is enough.
            let is_done = self.used <= self.size;
            return (is_done && size < self.size).then_some((size, Why::Memory));
        }
        // It shrinks by at most a quarter, and only if that much is unused, so that it does not
        // grow again at once.
        let size = self.wanted().max(self.size / 4 * 3).max(least);
        (rested_ms >= REST_MS && size <= self.size / 4 * 3).then_some((size, Why::Use))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const NOW: Millis = 1_767_225_600_000;

    fn need(size: u64, used: u64, working: u64) -> Need {
        let config = Config { max_bytes: 100 * MIB, min_bytes: 10 * MIB, ..Config::default() };
        let bytes = |mib: u64| mib * MIB;
        let (size, used, working) = (bytes(size), bytes(used), bytes(working));
        Need { config, size, used, held: 0, working, is_short: false }
    }

    /// A chunk of `bytes` bytes is added.
    fn grown(need: Need, bytes: u64) -> Option<u64> {
        let Need { used, held, working, .. } = need;
        Need { used: used + bytes, held: held + bytes, working: working + bytes, ..need }.grown()
    }

    #[test]
    fn use_counts_for_an_hour_and_once_for_each_chunk() {
        let (mut working, mut one, mut other) = (WorkingSet::default(), Used::default(), Used::default());
        working.used(&mut one, 100, NOW);
        working.used(&mut other, 10, NOW);
        working.used(&mut one, 100, NOW + 30 * 60_000);
        assert_eq!(working.bytes(NOW + 30 * 60_000), 110);
        assert_eq!(working.bytes(NOW + 61 * 60_000), 100);
        working.forget(&one);
        assert_eq!(working.bytes(NOW + 30 * 60_000), 10);
        assert_eq!(working.bytes(NOW + 300 * 60_000), 0);
    }

    #[test]
    fn a_buffer_grows_for_what_is_in_use_and_not_for_what_is_not() {
        assert_eq!(grown(need(40, 30, 30), 5 * MIB), None, "there is room");
        assert_eq!(grown(need(40, 40, 10), 5 * MIB), None, "something can go that nobody uses");
        assert!(grown(need(40, 40, 40), 5 * MIB).is_some_and(|size| size > 50 * MIB));
        assert_eq!(grown(need(100, 100, 100), 5 * MIB), None, "it is as large as it may be");
        let short = Need { is_short: true, ..need(40, 40, 40) };
        assert_eq!(grown(short, 5 * MIB), None);
        assert_eq!(grown(Need { held: 38 * MIB, ..short }, 5 * MIB), Some(43 * MIB), "nothing else would do");
    }

    #[test]
    fn a_buffer_shrinks_slowly_by_use_and_at_once_for_memory() {
        assert_eq!(need(40, 40, 38).shrunk(REST_MS), None);
        assert_eq!(need(40, 40, 25).shrunk(REST_MS), None, "what it would gain is too little");
        assert_eq!(need(40, 40, 10).shrunk(REST_MS), Some((30 * MIB, Why::Use)), "a quarter at a time");
        assert_eq!(need(40, 40, 10).shrunk(REST_MS - 1), None, "it has changed just now");
        assert_eq!(need(10, 0, 0).shrunk(REST_MS), None, "never below the least");
        let short = Need { is_short: true, ..need(40, 40, 40) };
        assert_eq!(short.shrunk(0), Some((30 * MIB, Why::Memory)));
        assert_eq!(Need { held: 35 * MIB, ..short }.shrunk(0), Some((35 * MIB, Why::Memory)));
        assert_eq!(Need { used: 8 * MIB, ..short }.shrunk(0), Some((10 * MIB, Why::Memory)));
        assert_eq!(Need { size: 30 * MIB, ..short }.shrunk(REST_MS), None, "the last step is not done yet");
    }

    #[test]
    fn growing_and_shrinking_do_not_chase_each_other() {
        let mut now = need(10, 10, 10);
        now.size = grown(now, MIB).expect("all of it is in use");
        (now.used, now.working) = (11 * MIB, 11 * MIB);
        assert_eq!(now.shrunk(REST_MS), None, "the use is what it was");
    }
}
