//! Timelines with gaps, for schedules made by insertion.

use crate::domain::planning::instance::Instance;
use crate::domain::Millis;

/// Looks at gaps and tokens, in all: two or three seconds. With more, jobs are only placed behind
/// all others, which is much worse.
const LOOKS_MAX: u64 = 400_000_000;

/// When one token is free: gaps in order, the last without an end.
#[derive(Debug, Clone)]
struct Gaps {
    list: Vec<(Millis, Millis)>,
    /// No gap but the last is longer.
    longest: Millis,
}

impl Gaps {
    /// The earliest start at or after `ready` of something this long.
    fn earliest(&self, ready: Millis, hold: Millis, looks: &mut u64) -> Millis {
        *looks += 1;
        let (open, _) = self.list[self.list.len() - 1];
        if open <= ready || hold > self.longest || *looks > LOOKS_MAX {
            return open.max(ready);
        }
        let from = self.list.partition_point(|(_, end)| *end < ready + hold);
        let fits = |(start, end): &&(Millis, Millis)| {
            *looks += 1;
            end.saturating_sub((*start).max(ready)) >= hold
        };
        self.list[from..].iter().find(fits).map_or(open.max(ready), |(start, _)| (*start).max(ready))
    }

    /// Takes this time out, which is free.
    fn take(&mut self, start: Millis, hold: Millis) {
        let at = self.list.partition_point(|(_, end)| *end < start + hold);
        let Some(gap) = self.list.get_mut(at) else { return };
        let (before, behind) = ((gap.0, start), (start + hold, gap.1));
        if behind.0 < behind.1 {
            *gap = behind;
            if behind.1 != Millis::MAX {
                self.longest = self.longest.max(behind.1 - behind.0);
            }
            if before.0 < before.1 {
                self.list.insert(at, before);
            }
        } else if before.0 < before.1 {
            *gap = before;
        } else {
            self.list.remove(at);
        }
        if before.0 < before.1 {
            self.longest = self.longest.max(before.1 - before.0);
        }
    }
}

/// The timelines of all pools. Tokens of a pool are opened one after the other, so a pool of many
/// costs no more than are in use.
#[derive(Debug)]
pub struct Timelines<'a> {
    instance: &'a Instance<'a>,
    /// By token; empty until it is opened.
    tokens: Vec<Option<Gaps>>,
    /// By pool: tokens that are open.
    open: Vec<usize>,
    looks: u64,
}

impl<'a> Timelines<'a> {
    /// Timelines on which nothing is placed.
    pub fn new(instance: &'a Instance<'a>) -> Self {
        let mut made =
            Self { instance, tokens: vec![None; instance.tokens.len()], open: vec![0; instance.pools()], looks: 0 };
        (0..instance.pools() as u32).for_each(|pool| made.open_next(pool));
        made
    }

    /// Opens tokens until one is open that is like all that are not, or all are.
    fn open_next(&mut self, pool: u32) {
        let range = self.instance.tokens_of(pool);
        let open = &mut self.open[pool as usize];
        while *open < range.len() {
            let free = self.instance.tokens[range.start + *open];
            self.tokens[range.start + *open] = Some(Gaps { list: vec![(free, Millis::MAX)], longest: 0 });
            *open += 1;
            let next = self.instance.tokens.get(range.start + *open);
            if *open < range.len() && next == Some(&free) {
                break;
            }
        }
    }

    /// The earliest start in one pool, and the token.
    fn earliest_of(&mut self, pool: u32, ready: Millis, hold: Millis) -> (Millis, usize) {
        let begin = self.instance.tokens_of(pool).start;
        let mut best = (Millis::MAX, begin);
        for at in begin..begin + self.open[pool as usize] {
            let Some(gaps) = &self.tokens[at] else { break };
            let start = gaps.earliest(ready, hold, &mut self.looks);
            if start < best.0 {
                best = (start, at);
                if start == ready {
                    break;
                }
            }
        }
        best
    }

    /// The earliest start of a job with this agent, in all its pools, if it is before `end`.
    pub fn earliest(&mut self, job: usize, agent: u32, ready: Millis, end: Millis) -> Option<Millis> {
        let instance = self.instance;
        let duration = instance.duration(job, agent);
        let (mut start, _) = self.earliest_of(agent, ready, duration);
        let uses = instance.uses_of(job);
        loop {
            let before = start;
            for pool in uses {
                if start >= end {
                    return None;
                }
                start = self.earliest_of(*pool, start, instance.hold(*pool, duration)).0;
            }
            if start > before {
                start = self.earliest_of(agent, start, duration).0;
            }
            if start == before {
                return Some(start);
            }
        }
    }

    /// Places a job there, where it was found to fit.
    pub fn take(&mut self, job: usize, agent: u32, start: Millis) {
        let duration = self.instance.duration(job, agent);
        for &pool in std::iter::once(&agent).chain(self.instance.uses_of(job)) {
            let hold = self.instance.hold(pool, duration);
            let (_, at) = self.earliest_of(pool, start, hold);
            if let Some(gaps) = &mut self.tokens[at] {
                if hold > 0 {
                    gaps.take(start, hold);
                }
            }
            if at + 1 == self.instance.tokens_of(pool).start + self.open[pool as usize] {
                self.open_next(pool);
            }
        }
    }
}
