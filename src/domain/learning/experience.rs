//! What is remembered of one agent, and the draw from it.

use super::sampling::{beta, gamma};
use crate::domain::Millis;

/// One piece of work, in the unit of weights.
const ONE: u32 = 1 << 16;
/// An outcome takes this share (a power of two) off the weight of all before it: an agent that
/// works is judged by its last 32 outcomes or so.
const EVENT_SHIFT: u32 = 5;
/// No weight can be above this: it is where the outcome that comes in is as much as what is taken
/// off.
const WEIGHT_MAX: u32 = ONE << EVENT_SHIFT;
/// Evidence also loses half of its weight in this time at least, so that who was bad gets another
/// try.
const HALF_LIFE_MIN_MS: Millis = 120_000;
/// And in no less than so many times its mean latency: slow work needs longer memory.
const HALF_LIFE_LATENCIES: u64 = 16;
/// Time is forgotten in this many steps of a half-life.
const STEPS: u64 = 64;
/// 2^(-1/64), 2^(-2/64), 2^(-4/64), ..., 2^(-32/64), times 2^32.
const STEP_FACTORS: [u64; 6] =
    [4_248_701_965, 4_202_935_003, 4_112_874_773, 3_938_502_376, 3_611_622_603, 3_037_000_500];
/// After so many half-lives nothing is left.
const HALF_LIVES_MAX: u64 = 40;
/// A latency of an agent of which nothing is known, and of a team of which nothing is known, ms.
const LATENCY_UNKNOWN_MS: f64 = 1_000.0;

/// What an agent, or all agents together, achieved lately. 24 bytes, whole numbers only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Experience {
    /// Until when time has been taken off the weights.
    at: Millis,
    /// Latencies times their weights, ms in 1/65536.
    latencies: u64,
    /// The weight of the successes, in 1/65536.
    successes: u32,
    /// The weight of the failures, in 1/65536.
    failures: u32,
}

impl Experience {
    /// Adds an outcome. `latency_ms` is how long the agent worked on it, without the time for which
    /// it waited for the agent: the load is counted by [`draw`](Self::draw). O(1).
    pub fn note(&mut self, is_success: bool, latency_ms: Millis, now: Millis) {
        *self = self.aged(now);
        self.successes -= self.successes >> EVENT_SHIFT;
        self.failures -= self.failures >> EVENT_SHIFT;
        self.latencies -= self.latencies >> EVENT_SHIFT;
        let side = if is_success { &mut self.successes } else { &mut self.failures };
        *side = side.saturating_add(ONE);
        self.latencies = self.latencies.saturating_add(latency_ms.min(u64::from(u32::MAX)) << 16);
    }

    /// A guess of how much this agent would achieve if it got the next piece of work: sampled
    /// successes for each ms of work, less what waiting takes off. The highest is to be chosen; it
    /// is the bits of a float, so only the order means something. O(1), about three gamma samples.
    ///
    /// A piece that comes to a full agent takes as many latencies as there are pieces before it for
    /// each place, with itself. That number counts three times (as its cube): one that joins
    /// a queue also delays all that come later. In simulations with the number itself, good agents
    /// got long queues near full load, even if the true qualities were known.
    ///
    /// `team` is the experience of all agents together: what is unknown of an agent is thought to
    /// be like the others. `load` is the number of pieces of work that the agent has, running or
    /// waiting; `capacity` how many it can run at once.
    pub fn draw(&self, team: &Self, load: u32, capacity: u32, seed: &mut u64, now: Millis) -> u64 {
        let known = self.aged(now);
        let [successes, failures] = [known.successes, known.failures].map(in_ones);
        let success = beta(1.0 + successes, 1.0 + failures, seed);
        // Latencies as if they were exponentially distributed: a cautious guess, and its rate has a
        // gamma distribution. The team's mean counts as one piece of work.
        let weight = successes + failures;
        let prior = team.latency_ms().unwrap_or(LATENCY_UNKNOWN_MS);
        let rate = gamma(1.0 + weight, seed) / (prior + in_ones_u64(known.latencies)).max(0.01);
        let lanes = f64::from(load.saturating_add(1)) / f64::from(capacity.max(1));
        let wait = lanes.max(1.0);
        // Floats that are not negative have the order of their bits. A whole number of fixed point
        // would be 0 for all where queues are very long.
        (success * rate / (wait * wait * wait)).max(0.0).to_bits()
    }

    /// The share of successes, in 1/1000, that is expected now; an agent of which nothing is known
    /// has 500.
    pub fn success_permille(&self, now: Millis) -> u32 {
        let known = self.aged(now);
        let [successes, all] = [known.successes, known.successes.saturating_add(known.failures)].map(u64::from);
        ((successes + u64::from(ONE)) * 1_000 / (all + 2 * u64::from(ONE))) as u32
    }

    /// The mean latency, ms; `None` if nothing is known.
    pub fn mean_latency_ms(&self) -> Option<Millis> {
        self.latencies.checked_div(u64::from(self.successes) + u64::from(self.failures))
    }

    /// How many outcomes the evidence is worth now, in 1/1000.
    pub fn weight_permille(&self, now: Millis) -> u64 {
        let known = self.aged(now);
        (u64::from(known.successes) + u64::from(known.failures)) * 1_000 / u64::from(ONE)
    }

    /// Whether notes could have made this: for what comes from a file or another node.
    pub fn is_sound(&self) -> bool {
        let weight = u64::from(self.successes) + u64::from(self.failures);
        weight <= 2 * u64::from(WEIGHT_MAX) && u128::from(self.latencies) <= u128::from(weight + 64) << 32
    }

    /// The same with what time has taken off the weights until `now`. A clock that goes back takes
    /// nothing off. Whole steps only: the rest of the time is kept for later.
    fn aged(&self, now: Millis) -> Self {
        let half_life = self.half_life_ms();
        if self.successes | self.failures == 0 {
            return Self { at: now.max(self.at), ..Self::default() };
        }
        // Steps of 1/64 half-life; no product of times can overflow after the bound.
        let elapsed = now.saturating_sub(self.at).min(half_life.saturating_mul(HALF_LIVES_MAX));
        let steps = (u128::from(elapsed) * u128::from(STEPS) / u128::from(half_life)) as u64;
        if steps >= STEPS * HALF_LIVES_MAX {
            return Self { at: now, ..Self::default() };
        }
        let used = (u128::from(steps) * u128::from(half_life) / u128::from(STEPS)) as u64;
        Self {
            at: self.at + used,
            latencies: halved(self.latencies, steps),
            successes: halved(u64::from(self.successes), steps) as u32,
            failures: halved(u64::from(self.failures), steps) as u32,
        }
    }

    fn half_life_ms(&self) -> Millis {
        let latency = self.mean_latency_ms().unwrap_or(0);
        latency.saturating_mul(HALF_LIFE_LATENCIES).max(HALF_LIFE_MIN_MS)
    }

    /// The mean latency, ms.
    fn latency_ms(&self) -> Option<f64> {
        let weight = in_ones(self.successes) + in_ones(self.failures);
        (weight > 0.0).then(|| in_ones_u64(self.latencies) / weight)
    }
}

fn in_ones(weight: u32) -> f64 {
    f64::from(weight) / f64::from(ONE)
}

fn in_ones_u64(sum: u64) -> f64 {
    sum as f64 / f64::from(ONE)
}

/// What is left of `amount` after so many steps of 1/64 half-life.
fn halved(amount: u64, steps: u64) -> u64 {
    let mut left = amount.checked_shr((steps / STEPS) as u32).unwrap_or(0);
    for (bit, factor) in STEP_FACTORS.iter().enumerate() {
        if steps >> bit & 1 == 1 {
            left = ((u128::from(left) * u128::from(*factor)) >> 32) as u64;
        }
    }
    left
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
