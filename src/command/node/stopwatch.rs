//! How long the module has been at work since the server called it.
//!
//! Counted looks bound the work of a command and of a round. What a look takes depends on the
//! machine and on what else it does, so what may just as well be done in the next round also waits
//! for it once a while has passed. No decision depends on it: only how much of what is due is done
//! in one go.

/// Microseconds by a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    clock: fn() -> u64,
    started_us: u64,
}

impl Default for Stopwatch {
    /// One that stands still.
    fn default() -> Self {
        Self { clock: || 0, started_us: 0 }
    }
}

impl Stopwatch {
    /// After so long, what can wait does, us. The server answers other clients before the rest. To
    /// send the replies of a round takes the server several times as long, and a round may begin in
    /// the same turn of its loop as the command before it.
    const LATE_US: u64 = 1_000;

    /// One that measures by this clock.
    pub fn of(clock: fn() -> u64) -> Self {
        Self { clock, started_us: clock() }
    }

    /// The server has called the module at this time of the clock.
    pub fn start(&mut self, now_us: u64) {
        self.started_us = now_us;
    }

    /// How long that was ago.
    pub fn elapsed_us(&self) -> u64 {
        (self.clock)().saturating_sub(self.started_us)
    }

    /// Whether that was so long ago that what can wait does.
    pub fn is_late(&self) -> bool {
        self.elapsed_us() >= Self::LATE_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_late_a_millisecond_after_the_call() {
        let mut stopwatch = Stopwatch::of(|| 5_000);
        stopwatch.start(4_001);
        assert_eq!((stopwatch.elapsed_us(), stopwatch.is_late()), (999, false));
        stopwatch.start(4_000);
        assert!(stopwatch.is_late());
        assert!(!Stopwatch::default().is_late(), "one that stands still is never late");
    }
}
