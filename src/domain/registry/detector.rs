//! When silence becomes suspicious: a phi-accrual failure detector per agent.
//!
//! N. Hayashibara, X. Défago, R. Yared, T. Katayama, "The φ Accrual Failure Detector" (2004): the
//! intervals between an agent's heartbeats are assumed to be normally distributed, and phi is
//! -log10 of the probability that a heartbeat comes later than now. The tail of the normal
//! distribution follows S. R. Bowling et al., "A logistic approximation to the cumulative normal
//! distribution" (2009). Only the primary computes it, and replicates the resulting time.

use crate::domain::Millis;

/// Intervals kept.
const INTERVALS_MAX: usize = 32;
/// With fewer intervals than this only the deadline counts.
const INTERVALS_MIN: usize = 8;
/// The deviation is at least the mean divided by this: the first hiccup of a very regular agent
/// is not suspicious.
const DEVIATION_SHARE: f64 = 8.0;
/// And at least this, ms: the granularity of a scheduler.
const DEVIATION_MIN_MS: f64 = 10.0;

/// The last intervals between the heartbeats of one agent.
#[derive(Debug, Clone)]
pub struct Intervals {
    /// A ring once it is full, ms.
    ring: Vec<u32>,
    at: u8,
    sum: u64,
    sum_of_squares: u128,
}

impl Default for Intervals {
    fn default() -> Self {
        // All the room it will ever need.
        Self { ring: Vec::with_capacity(INTERVALS_MAX), at: 0, sum: 0, sum_of_squares: 0 }
    }
}

impl Intervals {
    /// Adds an interval.
    pub fn push(&mut self, interval_ms: Millis) {
        let interval = u32::try_from(interval_ms).unwrap_or(u32::MAX);
        if self.ring.len() < INTERVALS_MAX {
            self.ring.push(interval);
        } else {
            let at = usize::from(self.at);
            let oldest = std::mem::replace(&mut self.ring[at], interval);
            self.sum -= u64::from(oldest);
            self.sum_of_squares -= u128::from(oldest).pow(2);
        }
        self.at = ((usize::from(self.at) + 1) % INTERVALS_MAX) as u8;
        self.sum += u64::from(interval);
        self.sum_of_squares += u128::from(interval).pow(2);
    }

    /// Mean and deviation, ms; `None` while too little is known.
    fn shape(&self) -> Option<(f64, f64)> {
        if self.ring.len() < INTERVALS_MIN {
            return None;
        }
        let count = self.ring.len() as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.sum_of_squares as f64 / count - mean * mean).max(0.0);
        Some((mean, variance.sqrt().max(mean / DEVIATION_SHARE).max(DEVIATION_MIN_MS)))
    }

    /// How long after a heartbeat phi reaches `threshold`, ms; `None` while too little is known.
    pub fn suspicious_after(&self, threshold: u64) -> Option<Millis> {
        let (mean, deviation) = self.shape()?;
        Some((mean + deviation * deviations_at(threshold as f64)).ceil() as Millis)
    }

    /// Phi at this time after the last heartbeat; `None` while too little is known.
    pub fn phi(&self, silence_ms: Millis) -> Option<f64> {
        let (mean, deviation) = self.shape()?;
        Some(phi_at((silence_ms as f64 - mean) / deviation))
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + INTERVALS_MAX * size_of::<u32>()
    }
}

/// -log10 of the probability of being more than `deviations` above the mean.
fn phi_at(deviations: f64) -> f64 {
    let exponent = deviations * (1.5976 + 0.070_566 * deviations * deviations);
    // 1 - 1 / (1 + e^-x) = e^-x / (1 + e^-x), in a form that is valid for large x.
    (exponent + (-exponent).exp().ln_1p()) / std::f64::consts::LN_10
}

/// The number of deviations at which [`phi_at`] is `phi`, which is above 0: the one real root of a
/// cubic without a quadratic term.
fn deviations_at(phi: f64) -> f64 {
    let exponent = (10f64.powf(phi) - 1.0).ln();
    let (p, q) = (1.5976 / 0.070_566, exponent / 0.070_566);
    let third = (p / 3.0_f64).sqrt();
    2.0 * third * ((1.5 * q / p / third).asinh() / 3.0).sinh()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regular(interval: Millis, count: usize) -> Intervals {
        let mut intervals = Intervals::default();
        (0..count).for_each(|n| intervals.push(interval + n as Millis % 3));
        intervals
    }

    #[test]
    fn phi_is_that_of_the_normal_distribution() {
        // -log10 of the upper tail at 0, 1, 2, 3 deviations: 0.301, 0.800, 1.643, 2.870.
        for (deviations, phi) in [(0.0, 0.301), (1.0, 0.800), (2.0, 1.643), (3.0, 2.870)] {
            // The approximation is best near the mean and errs towards suspicion further out.
            assert!((phi_at(deviations) - phi).abs() < 0.05, "{deviations}: {}", phi_at(deviations));
            assert!((deviations_at(phi_at(deviations)) - deviations).abs() < 1e-9);
        }
    }

    #[test]
    fn suspicion_follows_the_agents_own_rhythm() {
        let quick = regular(100, 40).suspicious_after(8).unwrap();
        let slow = regular(5_000, 40).suspicious_after(8).unwrap();
        assert!((150..400).contains(&quick), "{quick}");
        assert!((7_500..15_000).contains(&slow), "{slow}");
        assert_eq!(regular(100, INTERVALS_MIN - 1).suspicious_after(8), None, "too little is known");
    }

    #[test]
    fn old_intervals_are_forgotten() {
        let mut intervals = regular(60_000, 40);
        (0..INTERVALS_MAX).for_each(|_| intervals.push(100));
        assert_eq!(intervals.suspicious_after(8), regular_exact(100).suspicious_after(8));
    }

    fn regular_exact(interval: Millis) -> Intervals {
        let mut intervals = Intervals::default();
        (0..INTERVALS_MAX).for_each(|_| intervals.push(interval));
        intervals
    }

    #[test]
    fn phi_reaches_the_threshold_when_said() {
        let intervals = regular(1_000, 32);
        let after = intervals.suspicious_after(8).unwrap();
        assert!(intervals.phi(after - 2).unwrap() < 8.0 && intervals.phi(after + 1).unwrap() >= 8.0);
    }
}
