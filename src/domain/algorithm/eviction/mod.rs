//! Eviction: which value goes first when there is no room. For everything that is bounded and can
//! be computed again.
//!
//! No order is kept, since that would cost every use of a value something. A value notes when it
//! was used. If one has to go, the worst of a few drawn values goes; if there are few, all are
//! compared. The use of values is local to each node and not replicated. The primary decides which
//! of them go, and that is replicated by name.
//!
//! GDSF: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy" (1998). Sampling: K. Psounis, B.
//! Prabhakar, "A randomized Web-cache replacement scheme" (2001).

mod sketch;

pub use sketch::Sketch;

use super::splitmix::next_below;
use crate::domain::Millis;
use serde::{Deserialize, Serialize};

/// What decides who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Policy {
    /// Who is worth least: how often it is used times what it costs to make, for each byte. What was used long ago loses its worth.
    #[default]
    Gdsf,
    /// Who was used longest ago.
    Lru,
    /// Who is used least often.
    Lfu,
    /// Who would be gone first anyway.
    Ttl,
    /// Who came first.
    Ring,
    /// Nobody.
    None,
}

/// What this node knows of the use of one value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// The evictor's clock at its last use.
    last: u64,
    /// The evictor's level then.
    level: f64,
}

/// What matters of a value besides its use.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    /// Bytes that it takes.
    pub bytes: usize,
    /// What it costs to make it again, ms.
    pub cost_ms: Millis,
    /// When it is gone anyway, unix ms.
    pub ends_at: Option<Millis>,
    /// Grows with each value that comes.
    pub came: u64,
}

/// The place of a value among those that may go: the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64, u64);

/// What this node knows of the use of all values of one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evictor {
    clock: u64,
    /// The worth of the value that went last: whoever is used now starts from there, so that what was worth much once ages.
    level: f64,
    sketch: Sketch,
}

/// So many values are looked at to find one that goes.
pub const SAMPLE: usize = 16;

impl Evictor {
    /// A value came or was used, or somebody looked for it in vain: its frequency is known before it comes.
    pub fn seen(&mut self, hash: u64) {
        self.sketch.count(hash);
    }

    /// A value is used now.
    pub fn used(&mut self, usage: &mut Usage) {
        self.clock += 1;
        *usage = Usage { last: self.clock, level: self.level };
    }

    /// Makes room to know of the frequencies of `values` values.
    pub fn grow(&mut self, values: usize) {
        self.sketch.grow(values);
    }

    /// The place of a value.
    pub fn rank(&self, policy: Policy, hash: u64, usage: Usage, weight: &Weight) -> Rank {
        match policy {
            Policy::Gdsf => Rank(self.worth(hash, usage, weight).to_bits(), usage.last),
            Policy::Lfu => Rank(u64::from(self.sketch.frequency(hash)), usage.last),
            Policy::Ttl => Rank(weight.ends_at.unwrap_or(Millis::MAX), usage.last),
            Policy::Ring => Rank(weight.came, 0),
            Policy::Lru | Policy::None => Rank(usage.last, 0),
        }
    }

    fn worth(&self, hash: u64, usage: Usage, weight: &Weight) -> f64 {
        let frequency = f64::from(self.sketch.frequency(hash).max(1));
        let cost = weight.cost_ms.max(1) as f64;
        // Never negative, so the bits of two of them compare as they do.
        usage.level + frequency * cost / weight.bytes.max(1) as f64
    }

    /// A value went because it had the smallest rank.
    pub fn evicted(&mut self, policy: Policy, rank: Rank) {
        if policy == Policy::Gdsf {
            self.level = self.level.max(f64::from_bits(rank.0));
        }
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.sketch.heap_bytes()
    }
}

/// The one with the smallest rank of a few that are drawn, or of all if there are few. Whoever has no rank stays.
pub fn worst<T: Copy>(candidates: &[T], seed: &mut u64, rank: impl Fn(T) -> Option<Rank>) -> Option<(T, Rank)> {
    let ranked = |one: T| rank(one).map(|rank| (one, rank));
    let smallest = |one: &(T, Rank), other: &(T, Rank)| one.1.cmp(&other.1);
    if candidates.len() > SAMPLE {
        let drawn = (0..SAMPLE).filter_map(|_| ranked(candidates[next_below(seed, candidates.len())]));
        if let Some(found) = drawn.min_by(smallest) {
            return Some(found);
        }
    }
    candidates.iter().filter_map(|one| ranked(*one)).min_by(smallest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(bytes: usize, cost_ms: Millis) -> Weight {
        Weight { bytes, cost_ms, ends_at: None, came: 0 }
    }

    #[test]
    fn what_is_small_dear_and_often_used_stays_and_ages() {
        let mut evictor = Evictor::default();
        evictor.grow(16);
        let (mut dear, mut cheap) = (Usage::default(), Usage::default());
        evictor.used(&mut dear);
        evictor.used(&mut cheap);
        let rank = |evictor: &Evictor, usage, cost| evictor.rank(Policy::Gdsf, 1, usage, &weight(100, cost));
        assert!(rank(&evictor, cheap, 1) < rank(&evictor, dear, 50));
        // Others went that were worth more than it was: whoever is used now overtakes it.
        evictor.evicted(Policy::Gdsf, rank(&evictor, dear, 500));
        evictor.used(&mut cheap);
        assert!(rank(&evictor, cheap, 1) > rank(&evictor, dear, 50));
    }

    #[test]
    fn of_few_the_worst_goes_and_of_many_one_of_the_worse() {
        let mut seed = 7;
        let few: Vec<u64> = (1..=SAMPLE as u64).rev().collect();
        assert_eq!(worst(&few, &mut seed, |n| Some(Rank(n, 0))), Some((1, Rank(1, 0))));
        assert_eq!(worst(&few, &mut seed, |n| (n > 3).then_some(Rank(n, 0))), Some((4, Rank(4, 0))));
        let many: Vec<u64> = (0..10_000).collect();
        let chosen: Vec<u64> =
            (0..100).filter_map(|_| worst(&many, &mut seed, |n| Some(Rank(n, 0)))).map(|(n, _)| n).collect();
        assert!(chosen.iter().sum::<u64>() / 100 < 1_500, "the average of the smallest of 16 is about 590: {chosen:?}");
        assert_eq!(
            worst(&many, &mut seed, |n| (n == 77).then_some(Rank(n, 0))),
            Some((77, Rank(77, 0))),
            "the only one"
        );
        assert_eq!(worst(&many, &mut seed, |_| None), None);
    }
}
