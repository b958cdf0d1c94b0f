//! Buckets of one width, the experts that learn from them, and how right they were.

use super::experts::{Levels, Season, EXPERTS, SEASON, YESTERDAY};
use super::horizons::{Horizon, Widths};

/// Horizons at which errors are counted.
pub const HORIZONS: usize = 5;
/// A longer gap counts as one of so many buckets: then nothing before it matters.
pub const GAP_MAX: u32 = 256;

/// What is said of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// The mean.
    pub mean: f64,
    /// The bounds.
    pub bounds: (f64, f64),
    /// Comparisons of forecasts so far ahead with what came.
    pub samples: u32,
}

/// The experts of one width of buckets.
#[derive(Debug, Clone, Default)]
pub struct Model {
    levels: Levels,
    horizons: [Horizon; HORIZONS],
    widths: Widths,
    /// The last bucket that was learned.
    last: u32,
}

impl Model {
    /// Learns the value of the next bucket. O(1): some hundred operations. `ahead` are the horizons
    /// in buckets, in ascending order; the season has its buckets of a day.
    pub fn learn(&mut self, bucket: u32, value: f64, ahead: &[u32; HORIZONS], mut season: Option<(&mut Season, u64)>) {
        for horizon in &mut self.horizons {
            horizon.score(bucket, value, &mut self.widths);
        }
        self.levels.learn(value);
        if let Some((season, of_day)) = season.as_mut() {
            season.learn(value, u64::from(bucket), *of_day);
        }
        self.last = bucket;
        let season = season.as_ref().map(|(season, of_day)| (&**season, *of_day));
        for (at, steps) in ahead.iter().enumerate() {
            if self.horizons.get(at).is_some_and(|horizon| horizon.is_free(bucket)) {
                let said = self.ask(*steps, season);
                let (together, _) = self.together(&said, at);
                if let Some(horizon) = self.horizons.get_mut(at) {
                    horizon.say(bucket.saturating_add(*steps), said, together);
                }
            }
        }
    }

    /// What is to be expected in a bucket to come. `None` if nothing is known.
    pub fn say(&self, bucket: u32, ahead: &[u32; HORIZONS], season: Option<(&Season, u64)>) -> Option<Said> {
        if self.levels.known() == 0 {
            return None;
        }
        let steps = bucket.saturating_sub(self.last).max(1);
        let at = ahead.iter().rposition(|known| *known <= steps).unwrap_or(0);
        let (mean, bound) = self.together(&self.ask(steps, season), at);
        // An error of all together from before the day was known is no longer to be expected.
        let far = f64::from(steps) / f64::from(ahead.get(at).copied().unwrap_or(1).max(1));
        let error = self.error_between(steps, at, ahead);
        let samples = self.horizons.get(at).map_or(0, Horizon::known);
        let nearest = self.horizons.first().and_then(Horizon::error).unwrap_or(0.0);
        // The mean of few errors is uncertain itself. What is further away is not easier.
        let doubt = 1.0 + 1.0 / (f64::from(samples) + 1.0);
        let capped = |error: f64| bound.map_or(error, |bound| error.min(bound * growth(far)));
        let error = error.map(|error| (capped(error) * doubt).max(nearest));
        // Without any error known, half of it either way and at least 1.
        let (low, high) = self.widths.around(mean, error.unwrap_or(mean * 0.5 + 1.0));
        Some(Said { mean, bounds: (low.max(0.0), high.max(0.0)), samples })
    }

    /// Buckets learned.
    pub fn known(&self) -> u32 {
        self.levels.known()
    }

    fn ask(&self, steps: u32, season: Option<(&Season, u64)>) -> [Option<f64>; EXPERTS] {
        let mut said = [None; EXPERTS];
        for (to, one) in said.iter_mut().zip(self.levels.say(steps)) {
            *to = Some(one);
        }
        if let Some((season, of_day)) = season {
            let bucket = u64::from(self.last) + u64::from(steps);
            said[SEASON] = season.say(bucket, of_day, steps);
            said[YESTERDAY] = season.yesterday(bucket, of_day);
        }
        said
    }

    /// The mean of what was said, by the fourth power of how right each was at this horizon, and
    /// the same mean of their errors, which the error of all together does not pass.
    fn together(&self, said: &[Option<f64>; EXPERTS], at: usize) -> (f64, Option<f64>) {
        let (mut sum, mut errors, mut weights) = (0.0, 0.0, 0.0);
        for (expert, said) in said.iter().enumerate() {
            let Some(said) = said else { continue };
            // What an expert has not shown so far ahead is taken from nearer ones.
            let nearer = self.horizons.iter().take(at + 1).rev();
            let Some(error) = nearer.filter_map(|horizon| horizon.error_of(expert)).next() else { continue };
            let square = 1.0 / (error * error + 1e-9);
            sum += said.max(0.0) * square * square;
            errors += error * square * square;
            weights += square * square;
        }
        if weights > 0.0 {
            return (sum / weights, Some(errors / weights));
        }
        // Nothing was compared yet: the level of middle memory.
        (said.get(1).copied().flatten().unwrap_or(0.0).max(0.0), None)
    }

    /// The error to expect, between those of the horizons next to it. Further away than the last
    /// one known, it grows.
    fn error_between(&self, steps: u32, at: usize, ahead: &[u32; HORIZONS]) -> Option<f64> {
        let known = |at: usize| Some((f64::from(*ahead.get(at)?), self.horizons.get(at)?.error()?));
        let steps = f64::from(steps);
        if let (Some((near, one)), Some((far, other))) = (known(at), known(at + 1)) {
            let share = ((steps - near) / (far - near)).clamp(0.0, 1.0);
            return Some(one + (other - one) * share);
        }
        let (near, error) = (0..=at).rev().find_map(known)?;
        Some(error * growth(steps / near))
    }
}

/// How much the error grows if the horizon does so many times. A random walk has the square root,
/// what always comes back to the same has 1; this is between, the fourth root.
fn growth(times: f64) -> f64 {
    times.max(1.0).sqrt().sqrt()
}
