//! Eviction: which value goes first when there is no room. For everything that is bounded and can
//! be computed again.
//!
//! No order is kept, since that would make every use of a value more expensive. A value records
//! when it was used. When one has to go, the worst of a small sample goes; if there are few values,
//! all are compared. The use of values is local to each node and not replicated. The primary
//! decides which of them go, and replicates their names.
//!
//! GDSF: L. Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency
//! Caching Policy" (1998). Sampling: K. Psounis, B. Prabhakar, "A randomized Web-cache
//! replacement scheme" (2001).

mod sketch;

pub use sketch::Sketch;

use super::looks::{looked, Looked};
use super::splitmix::next_below;
use crate::domain::Millis;
use serde::{Deserialize, Serialize};

/// The rule for which value goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Policy {
    /// The one worth least: its frequency times its cost, divided by its size. The worth of what
    /// was used long ago fades.
    #[default]
    Gdsf,
    /// The least recently used.
    Lru,
    /// The least frequently used.
    Lfu,
    /// The one that would expire first.
    Ttl,
    /// The oldest.
    Ring,
    /// None.
    None,
}

impl Policy {
    /// The policy that a row of the table calls so.
    pub fn of_word(word: &str) -> Option<Policy> {
        Some(match word {
            "GDSF" => Policy::Gdsf,
            "LRU" => Policy::Lru,
            "LFU" => Policy::Lfu,
            "TTL" => Policy::Ttl,
            "RING" => Policy::Ring,
            "NONE" => Policy::None,
            _ => return None,
        })
    }
}

/// What this node knows of the use of one value.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// The evictor's clock at its last use.
    last: u64,
    /// The evictor's level then.
    level: f64,
}

/// The properties of a value that matter besides its use.
#[derive(Debug, Clone, Copy)]
pub struct Weight {
    /// Its size in bytes.
    pub bytes: usize,
    /// What it costs to make it again, ms.
    pub cost_ms: Millis,
    /// When it expires, unix ms.
    pub ends_at: Option<Millis>,
    /// Grows with each new value.
    pub came: u64,
}

/// The rank of a value for eviction: the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64, u64);

/// What this node knows of the use of all values of one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evictor {
    clock: u64,
    /// The worth of the last victim. A value that is used now starts from there, so that the
    /// worth of what was used long ago fades.
    level: f64,
    sketch: Sketch,
}

/// How many values are compared to find one that goes.
pub const SAMPLE: usize = 16;

impl Evictor {
    /// A value was added or used, or looked up in vain: so its frequency is known
    /// before it is added.
    pub fn seen(&mut self, hash: u64) {
        self.sketch.count(hash);
    }

    /// Records a use of a value now.
    pub fn used(&mut self, usage: &mut Usage) {
        self.clock += 1;
        *usage = Usage { last: self.clock, level: self.level };
    }

    /// There are `values` values now: makes room for their frequencies, or gives room back.
    pub fn fit(&mut self, values: usize) {
        self.sketch.fit(values);
    }

    /// The rank of a value.
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
        // Never negative, so the bits of two of them have the same order.
        usage.level + frequency * cost / weight.bytes.max(1) as f64
    }

    /// A value was evicted with this rank.
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

/// The candidate with the smallest rank in a random sample, or of all if there are few. A candidate
/// without a rank stays.
pub fn worst<T: Copy>(candidates: &[T], seed: &mut u64, rank: impl Fn(T) -> Option<Rank>) -> Option<(T, Rank)> {
    looked(SAMPLE);
    let ranked = |one: T| rank(one).map(|rank| (one, rank));
    let smallest = |one: &(T, Rank), other: &(T, Rank)| one.1.cmp(&other.1);
    if candidates.len() > SAMPLE {
        let drawn = (0..SAMPLE).filter_map(|_| ranked(candidates[next_below(seed, candidates.len())]));
        if let Some(found) = drawn.min_by(smallest) {
            return Some(found);
        }
    }
    candidates.iter().looked().filter_map(|one| ranked(*one)).min_by(smallest)
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
        evictor.fit(16);
        let (mut dear, mut cheap) = (Usage::default(), Usage::default());
        evictor.used(&mut dear);
        evictor.used(&mut cheap);
        let rank = |evictor: &Evictor, usage, cost| evictor.rank(Policy::Gdsf, 1, usage, &weight(100, cost));
        assert!(rank(&evictor, cheap, 1) < rank(&evictor, dear, 50));
        // After more valuable ones have gone, a value that is used now overtakes it.
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
