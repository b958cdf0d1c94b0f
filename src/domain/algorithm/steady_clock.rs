//! A clock that shows unix time, and that never goes back and never stands still.
//!
//! It goes on with a monotonic clock from one look at the system's clock to the next. If the
//! system's clock is ahead then, it follows at once. If the system's clock was set back, it goes on
//! at 15/16 of the true rate until that one has caught up, as adjtime(3) does. Spans are therefore
//! measured right to a sixteenth, whatever happens to the system's clock, and no deadline moves
//! away.

use crate::domain::value::time::Gap;

/// While it is ahead of the system's clock, it loses one part of so many.
const SLEW: u64 = 16;

/// The clock. All times are microseconds; `monotonic` never goes back, `system` is unix time.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    monotonic: u64,
    now: u64,
    ahead: u64,
}

impl SteadyClock {
    /// A clock that agrees with the system's.
    pub fn new(monotonic: u64, system: u64) -> Self {
        Self { monotonic, now: system, ahead: 0 }
    }

    /// What it shows, which is when it was last looked at.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How far it is ahead of the system's clock.
    pub fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Time has passed. The gap that this is, if it is more than `usual`.
    pub fn advance(&mut self, monotonic: u64, usual: u64) -> Option<Gap> {
        let passed = monotonic.saturating_sub(self.monotonic);
        let lost = self.ahead.min(passed / SLEW);
        (self.monotonic, self.ahead) = (self.monotonic.max(monotonic), self.ahead - lost);
        self.set(self.now + passed - lost, usual)
    }

    /// The same with a look at the system's clock.
    pub fn sync(&mut self, monotonic: u64, system: u64, usual: u64) -> Option<Gap> {
        let passed = monotonic.saturating_sub(self.monotonic);
        let without = self.now + passed;
        self.monotonic = self.monotonic.max(monotonic);
        self.ahead = without.saturating_sub(system);
        let lost = self.ahead.min(passed / SLEW);
        self.ahead -= lost;
        self.set(without.max(system) - lost, usual)
    }

    fn set(&mut self, now: u64, usual: u64) -> Option<Gap> {
        let before = std::mem::replace(&mut self.now, now);
        (now - before > usual).then_some(Gap { began: before / 1000, ended: now / 1000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;
    const START: u64 = 1000 * S;
    const NO_GAP: u64 = u64::MAX;

    #[test]
    fn it_follows_the_system_forward() {
        let mut clock = SteadyClock::new(0, START);
        assert_eq!(clock.sync(S, START + S, NO_GAP), None);
        assert_eq!((clock.now(), clock.ahead()), (START + S, 0));
        assert_eq!(clock.advance(2 * S, NO_GAP), None);
        assert_eq!(clock.now(), START + 2 * S);
        clock.sync(3 * S, START + 3600 * S, NO_GAP);
        assert_eq!((clock.now(), clock.ahead()), (START + 3600 * S, 0));
    }

    #[test]
    fn it_never_goes_back_and_lets_the_system_catch_up() {
        let mut clock = SteadyClock::new(0, START);
        for step in 1..=16 * 60 {
            let before = clock.now();
            clock.sync(step * S, START - 60 * S + step * S, NO_GAP);
            let rate = clock.now() - before;
            assert!((S - S / 16..=S).contains(&rate), "{rate} in step {step}");
        }
        assert_eq!(clock.ahead(), 0);
        assert_eq!(clock.now(), START - 60 * S + 16 * 60 * S);
    }

    #[test]
    fn it_loses_time_between_two_looks_as_well() {
        let mut clock = SteadyClock::new(0, START);
        clock.sync(0, START - S, NO_GAP);
        assert_eq!((clock.now(), clock.ahead()), (START, S));
        clock.advance(16 * S, NO_GAP);
        assert_eq!((clock.now(), clock.ahead()), (START + 15 * S, 0));
    }

    #[test]
    fn a_jump_is_a_gap() {
        let mut clock = SteadyClock::new(0, START);
        assert_eq!(clock.advance(S, S), None);
        let gap = Gap { began: (START + S) / 1000, ended: (START + 3 * S) / 1000 };
        assert_eq!(clock.advance(3 * S, S), Some(gap));
        let gap = Gap { began: (START + 3 * S) / 1000, ended: (START + 60 * S) / 1000 };
        assert_eq!(clock.sync(3 * S, START + 60 * S, S), Some(gap), "the system's clock was set forward");
        assert_eq!(clock.sync(4 * S, START, S), None, "it was set back");
    }

    #[test]
    fn a_monotonic_clock_that_is_not_is_survived() {
        let mut clock = SteadyClock::new(5 * S, START);
        assert_eq!(clock.advance(4 * S, S), None);
        assert_eq!(clock.now(), START);
    }
}
