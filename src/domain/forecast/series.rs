//! One series: its open buckets, and its two models.

use super::experts::Season;
use super::model::{Model, Said, GAP_MAX, HORIZONS};
use crate::domain::Millis;

/// Nothing further ahead is forecast: a week.
pub const HORIZON_MAX_MS: Millis = 7 * DAY_MS;
const DAY_MS: Millis = 86_400_000;
/// The buckets of the short and of the long model.
const WIDTHS_MS: [Millis; 2] = [10_000, 600_000];
/// Up to here the short model is asked: 10 min and 40 s.
const SHORT_MS: Millis = 640_000;
/// Where errors are counted, in buckets: 10 s to 11 min, 10 min to 15 h. The last two are 0.38 and
/// 0.62 of a day: one after the other, they come by all times of the day, not always by the same.
const AHEAD: [[u32; HORIZONS]; 2] = [[1, 2, 6, 24, 64], [1, 6, 23, 55, 89]];

/// How the values of a bucket are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Their sum in a second: arrivals, hits. Nothing is 0.
    Count,
    /// Their mean: load, wait. Nothing says nothing.
    Gauge,
}

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The mean: of counts in a second, otherwise in the unit of the values.
    pub mean: f64,
    /// 90 % should be between `low` and `high`: of means of buckets, not of single values.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The width of a bucket.
    pub bucket_ms: Millis,
    /// How many forecasts so far ahead were compared with what came. With few, the bounds are a
    /// guess.
    pub samples: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Open {
    bucket: u32,
    count: u32,
    sum: f64,
}

/// One series, less than 1 KB.
#[derive(Debug, Clone)]
pub struct Series {
    kind: Kind,
    open: [Open; 2],
    models: [Model; 2],
    season: Season,
}

impl Series {
    /// A series of which nothing is known.
    pub fn new(kind: Kind) -> Self {
        Self { kind, open: Default::default(), models: Default::default(), season: Season::default() }
    }

    /// Adds a value, which is at least 0: a number of arrivals or hits, or a load or wait. O(1) in
    /// a bucket; at most 256 steps of each model after a gap, however long. A clock that goes back
    /// adds to the open bucket.
    pub fn note(&mut self, value: u64, now: Millis) {
        self.advance(now);
        for open in &mut self.open {
            open.sum += value as f64;
            open.count = open.count.saturating_add(1);
        }
    }

    /// What is to be expected `horizon_ms` after `now`, at most a week. `None` until a bucket is
    /// full. Costs as much as a note.
    pub fn forecast(&self, now: Millis, horizon_ms: Millis) -> Option<Forecast> {
        let mut known = self.clone();
        known.advance(now);
        let horizon = horizon_ms.min(HORIZON_MAX_MS);
        let at = now.saturating_add(horizon);
        // The long model needs an hour before it knows better.
        let is_short = horizon <= SHORT_MS || known.models.get(1).is_none_or(|long| long.known() < 6);
        let which = usize::from(!is_short);
        let width = WIDTHS_MS.get(which)?;
        let season = (which == 1).then_some((&known.season, DAY_MS / width));
        let said = known.models.get(which)?.say(bucket_of(at, *width), AHEAD.get(which)?, season)?;
        Some(known.told(said, *width))
    }

    /// Closes the buckets that are over.
    fn advance(&mut self, now: Millis) {
        let parts = self.open.iter_mut().zip(&mut self.models).zip(WIDTHS_MS.iter().zip(&AHEAD));
        for (which, ((open, model), (width, ahead))) in parts.enumerate() {
            let bucket = bucket_of(now, *width);
            if open.bucket == 0 || bucket <= open.bucket {
                open.bucket = open.bucket.max(bucket);
                continue;
            }
            let season = &mut self.season;
            let mut learn = |bucket: u32, value: f64| {
                model.learn(bucket, value, ahead, (which == 1).then_some((&mut *season, DAY_MS / width)));
            };
            let value = match self.kind {
                Kind::Count => Some(open.sum),
                Kind::Gauge => (open.count > 0).then(|| open.sum / f64::from(open.count)),
            };
            if let Some(value) = value {
                learn(open.bucket, value);
            }
            if self.kind == Kind::Count {
                let first = (open.bucket + 1).max(bucket.saturating_sub(GAP_MAX));
                (first..bucket).for_each(|empty| learn(empty, 0.0));
            }
            *open = Open { bucket, count: 0, sum: 0.0 };
        }
    }

    fn told(&self, said: Said, width: Millis) -> Forecast {
        let scale = if self.kind == Kind::Count { 1_000.0 / width as f64 } else { 1.0 };
        let (low, high) = said.bounds;
        let samples = said.samples;
        Forecast { mean: said.mean * scale, low: low * scale, high: high * scale, bucket_ms: width, samples }
    }
}

/// The number of a bucket, from 1.
fn bucket_of(at: Millis, width: Millis) -> u32 {
    u32::try_from(at / width).unwrap_or(u32::MAX - 1).clamp(1, u32::MAX - 1)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
