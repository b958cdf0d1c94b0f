//! One measure of one agent, tool, lock or flow: what is normal, and whether it still holds.
//!
//! Durations are watched on a logarithmic scale, one step for each second in which something came:
//! an EWMA (S. W. Roberts, "Control Chart Tests Based on Geometric Moving Averages", 1959) of the
//! level and of its absolute deviation, both winsorised (P. J. Huber, "Robust Statistics", 1981),
//! and a two-sided CUSUM of the z-scores (E. S. Page, "Continuous Inspection Schemes", 1954).
//! Shares (errors, hits) have the CUSUM of the log likelihood ratio of four times the odds: M. R.
//! Reynolds, Z. G. Stoumbos, "A CUSUM Chart for Monitoring a Proportion" (1999).

use super::scale::{level_of, log2_of_fixed, value_of, ONE};
use crate::domain::Millis;

/// What comes within this time makes one step.
const STEP_MS: Millis = 1_000;
/// Steps before anything is judged.
const WARM_UP: u16 = 64;
/// Steps that make up what is normal, about.
const MEMORY: u16 = 1 << 10;
const MEMORY_ROOT: i64 = 1 << 5;
/// The same for what is seen now; twice as many events, of shares.
const SEEN_MEMORY: i64 = 8;
/// An alarm of so many steps is the new normal.
const PERSISTS: u16 = 600;
/// After this time without an event a suspicion is dropped.
const GAP_MS: Millis = 3_600_000;

/// Deviation of a normal distribution by its mean absolute deviation: sqrt(pi / 2) is about 5/4.
const DEVIATION_NUM: i64 = 5;
const DEVIATION_DEN: i64 = 4;
/// A deviation is at least this in levels: 5 % of the value.
const DEVIATION_MIN: i64 = ONE / 14;
/// A step of more events than this counts as one of so many: what they have in common does not
/// become less with their number.
const COUNT_MAX: i64 = 16;
const ROOT_ONE: i64 = 16;
/// What is further away than this counts as if it were here, in deviations.
const WINSOR: i64 = 3;
/// Thousandths of a deviation: what a step adds to the sum at most, what it takes off, where the
/// alarm is.
const Z_MAX: i64 = 4_000;
const SLACK: i64 = 500;
const LEVEL_ALARM: i64 = 14_000;
/// One step as far out as this is a spike.
const SPIKE: i64 = 8_000;

/// Thousandths of bits of evidence: what a step adds at most, and where the alarm is.
const BITS_MAX: i64 = 6_000;
const SHARE_ALARM: i64 = 18_000;
/// Shares are thought to be at least this, and at most 1 less this: in 1/2^20.
const SHARE_MIN: i64 = ONE / 512;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Ms of a piece of work or a call.
    Latency,
    /// 1 for an error, 0 for none.
    Errors,
    /// Ms of waiting.
    Wait,
    /// Ms of holding.
    Hold,
    /// 1 for a hit, 0 for a miss.
    Hits,
}

impl Metric {
    fn is_share(self) -> bool {
        matches!(self, Self::Errors | Self::Hits)
    }
}

/// What happened to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It rose and stays up.
    Rise,
    /// It fell and stays down.
    Fall,
    /// It was far too high for once. Durations only.
    Spike,
}

/// A change that was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// What happened.
    pub change: Change,
    /// Since when: the time at which the sum that led to the alarm was last 0, ms.
    pub since: Millis,
    /// What was normal: ms, or a share in 1/1000000.
    pub normal: u64,
    /// What is seen now, in the same unit.
    pub seen: u64,
    /// How far that is from normal, in 1/1000 of the deviation of one step (one event, of shares).
    pub score: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Calm,
    Risen,
    Fallen,
}

/// One series. 64 bytes; a note is O(1).
#[derive(Debug, Clone)]
pub struct Series {
    /// When the step began.
    at: Millis,
    high_since: Millis,
    low_since: Millis,
    /// Sum of the levels, or number of ones, of the step.
    sum: u64,
    count: u32,
    mean: i32,
    /// Mean absolute deviation of one event: that of a step by the root of its events.
    spread: i32,
    seen: i32,
    high: u32,
    low: u32,
    /// Steps that `mean` is made of, at most `MEMORY`.
    known: u16,
    alarm_steps: u16,
    metric: Metric,
    mood: Mood,
}

impl Series {
    /// A series of which nothing is known.
    pub fn new(metric: Metric) -> Self {
        Self {
            at: 0,
            high_since: 0,
            low_since: 0,
            sum: 0,
            count: 0,
            mean: 0,
            spread: 0,
            seen: 0,
            high: 0,
            low: 0,
            known: 0,
            alarm_steps: 0,
            metric,
            mood: Mood::Calm,
        }
    }

    /// Adds a value: ms, or 0 or 1 for shares. Returns an alarm when it begins, and spikes. O(1).
    pub fn note(&mut self, value: u64, now: Millis) -> Option<Alarm> {
        self.sum += if self.metric.is_share() { value.min(1) } else { level_of(value) as u64 };
        self.count += 1;
        // A clock that goes back ends the step, too: the next one begins at the new time.
        if now.wrapping_sub(self.at) < STEP_MS && self.count < u32::MAX / 2 {
            return None;
        }
        if now.saturating_sub(self.at) > GAP_MS && self.mood == Mood::Calm {
            (self.high, self.low) = (0, 0);
        }
        let (sum, count) = (self.sum as i64, i64::from(self.count));
        (self.sum, self.count, self.at) = (0, 0, now);
        if self.metric.is_share() {
            self.step_share(sum, count, now)
        } else {
            self.step_level(if count == 1 { sum } else { sum / count }, root_of(count), now)
        }
    }

    /// The alarm that lasts, with what is seen now. `None` if all is normal.
    pub fn alarm(&self) -> Option<Alarm> {
        match self.mood {
            Mood::Calm => None,
            Mood::Risen => Some(self.tell(Change::Rise, self.high_since)),
            Mood::Fallen => Some(self.tell(Change::Fall, self.low_since)),
        }
    }

    /// What is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What is normal: ms, or a share in 1/1000000. `None` while too little is known.
    pub fn normal(&self) -> Option<u64> {
        (self.known >= WARM_UP).then(|| self.as_value(self.mean))
    }

    fn step_level(&mut self, level: i64, root: i64, now: Millis) -> Option<Alarm> {
        // The mean of many deviates less than one.
        let deviation = (self.deviation() * ROOT_ONE / root).max(DEVIATION_MIN);
        let apart = level - i64::from(self.mean);
        if self.known < WARM_UP {
            let bound = if self.known < WARM_UP / 4 { i64::MAX } else { WINSOR * deviation };
            self.learn_level(apart, bound, root);
            self.seen = self.mean;
            return None;
        }
        self.seen += ((level - i64::from(self.seen)) / SEEN_MEMORY) as i32;
        let z = apart * 1_000 / deviation;
        // The mean itself is uncertain by 1/sqrt(known) deviations; two of them are no evidence.
        let known = if self.known == MEMORY { MEMORY_ROOT } else { i64::from(self.known.isqrt()) };
        let slack = SLACK + 2_000 / known;
        let bounded = z.clamp(-Z_MAX, Z_MAX);
        // Of several in a row the first is a spike; together they are a rise.
        let is_first = self.mood == Mood::Calm && i64::from(self.high) < Z_MAX - SLACK;
        let alarm = self.judge(bounded - slack, -bounded - slack, LEVEL_ALARM, now);
        if self.mood == Mood::Calm {
            self.learn_level(apart, WINSOR * deviation, root);
        }
        if alarm.is_none() && is_first && z >= SPIKE {
            let (normal, seen) = (self.as_value(self.mean), value_of(level));
            return Some(Alarm { change: Change::Spike, since: now, normal, seen, score: z });
        }
        alarm
    }

    fn step_share(&mut self, ones: i64, count: i64, now: Millis) -> Option<Alarm> {
        let share = ones * ONE / count;
        if self.known < WARM_UP {
            self.learn_share(share);
            self.seen = self.mean;
            return None;
        }
        let seen_memory = 2 * SEEN_MEMORY + count;
        self.seen += ((share - i64::from(self.seen)) * count / seen_memory) as i32;
        let normal = i64::from(self.mean).clamp(SHARE_MIN, ONE - SHARE_MIN);
        // Odds of four times (a quarter) as much: log2 of the likelihood ratio of a one is 2 (-2)
        // less log2(1 + 3 p) (log2(1 - 3/4 p)), of a zero only the latter.
        let in_milli = |bits: i64| bits * 1_000 / ONE;
        let rise = 2_000 * ones - in_milli(count * log2_of_fixed(ONE + 3 * normal));
        let fall = -2_000 * ones - in_milli(count * log2_of_fixed(ONE - normal * 3 / 4));
        let bounded = |bits: i64| bits.clamp(-BITS_MAX, BITS_MAX);
        let alarm = self.judge(bounded(rise), bounded(fall), SHARE_ALARM, now);
        if self.mood == Mood::Calm {
            self.learn_share(share);
        }
        alarm
    }

    /// The two sums of Page. Above `limit` an alarm begins; it ends when its sum is 0 again, or
    /// when it has become normal.
    fn judge(&mut self, rise: i64, fall: i64, limit: i64, now: Millis) -> Option<Alarm> {
        let summed = |sum: &mut u32, since: &mut Millis, more: i64| {
            if *sum == 0 {
                *since = now;
            }
            *sum = (i64::from(*sum) + more).clamp(0, limit) as u32;
        };
        summed(&mut self.high, &mut self.high_since, rise);
        summed(&mut self.low, &mut self.low_since, fall);
        let is_over = match self.mood {
            Mood::Calm => {
                let (is_high, is_low) = (i64::from(self.high) >= limit, i64::from(self.low) >= limit);
                self.mood = if is_high {
                    Mood::Risen
                } else if is_low {
                    Mood::Fallen
                } else {
                    return None;
                };
                self.alarm_steps = 0;
                return self.alarm();
            }
            Mood::Risen => self.high == 0,
            Mood::Fallen => self.low == 0,
        };
        self.alarm_steps = self.alarm_steps.saturating_add(1);
        let is_normal_now = self.alarm_steps >= PERSISTS;
        if is_normal_now {
            (self.mean, self.known) = (self.seen, WARM_UP);
        }
        if is_over || is_normal_now {
            (self.mood, self.high, self.low) = (Mood::Calm, 0, 0);
        }
        None
    }

    fn learn_level(&mut self, apart: i64, bound: i64, root: i64) {
        let bounded = apart.clamp(-bound.max(1), bound.max(1));
        self.mean += part(bounded, self.known + 1) as i32;
        // The first step has no deviation; each later one is measured from a mean without it.
        if self.known > 0 {
            let of_one = bounded.abs() * root / ROOT_ONE;
            let steps = self.known + self.known / MEMORY;
            self.spread += part(of_one - i64::from(self.spread), steps) as i32;
        }
        self.known = (self.known + 1).min(MEMORY);
    }

    fn learn_share(&mut self, share: i64) {
        self.mean += part(share - i64::from(self.mean), self.known + 1) as i32;
        self.known = (self.known + 1).min(MEMORY);
    }

    fn deviation(&self) -> i64 {
        if self.metric.is_share() {
            let share = i64::from(self.mean).clamp(SHARE_MIN, ONE - SHARE_MIN);
            return (share * (ONE - share)).max(1).isqrt();
        }
        (i64::from(self.spread) * DEVIATION_NUM / DEVIATION_DEN).max(DEVIATION_MIN)
    }

    fn as_value(&self, place: i32) -> u64 {
        if self.metric.is_share() {
            return (i64::from(place).max(0) * 1_000_000 / ONE) as u64;
        }
        value_of(i64::from(place))
    }

    fn tell(&self, change: Change, since: Millis) -> Alarm {
        let score = (i64::from(self.seen) - i64::from(self.mean)) * 1_000 / self.deviation();
        Alarm { change, since, normal: self.as_value(self.mean), seen: self.as_value(self.seen), score }
    }
}

/// `amount` by the number of steps known. When enough are known, that is a shift.
fn part(amount: i64, steps: u16) -> i64 {
    if steps > MEMORY {
        return amount >> MEMORY.ilog2();
    }
    amount / i64::from(steps.max(1))
}

/// The root of the number of events of a step, times [`ROOT_ONE`].
fn root_of(count: i64) -> i64 {
    if count == 1 {
        return ROOT_ONE;
    }
    (count.min(COUNT_MAX) * ROOT_ONE * ROOT_ONE).isqrt()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
