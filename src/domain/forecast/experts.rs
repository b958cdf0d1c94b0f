//! The experts: exponential smoothing with long, middle and short memory, with a damped trend, and
//! with the hours of the day.
//!
//! E. S. Gardner, E. McKenzie, "Forecasting Trends in Time Series" (1985) for the damped trend;
//! J. W. Taylor, "Short-term Electricity Demand Forecasting Using Double Seasonal Exponential
//! Smoothing" (2003) for the season with a correction for the last errors.

/// Experts; the last two are those that know the day.
pub const EXPERTS: usize = 6;
/// The place of the expert with the season.
pub const SEASON: usize = 4;
/// The place of the one that says what was yesterday.
pub const YESTERDAY: usize = 5;

/// How much of a new value goes into the levels.
const LEVEL_RATES: [f64; 3] = [0.03, 0.15, 0.6];
const HOLT_RATE: f64 = 0.3;
const TREND_RATE: f64 = 0.05;
const TREND_DAMPING: f64 = 0.97;
/// How much of an error stays in the level of the season and in its short correction.
const SHIFT_RATE: f64 = 0.03;
const NEAR_RATE: f64 = 0.4;
/// What is left of the short correction after each bucket.
const NEAR_DAMPING: f64 = 0.92;
/// Hours of a day.
const SLOTS: u64 = 24;
/// Parts of a day that are kept of yesterday: 20 min each.
const PARTS: u64 = 72;
const PART_UNKNOWN: u16 = u16::MAX;
/// How much of a new value goes into its hour on the first day, the second, and later.
const SLOT_RATES: [f64; 3] = [0.35, 0.15, 0.06];

/// `base` to the power of `exponent`, by multiplications only.
fn power(base: f64, exponent: u32) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        square *= square;
        rest >>= 1;
    }
    result
}

/// Levels and a damped trend: experts 0 to 3. 24 bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    levels: [f32; 3],
    holt: f32,
    trend: f32,
    known: u32,
}

impl Levels {
    /// Takes the value of a bucket. O(1).
    pub fn learn(&mut self, value: f64) {
        self.known = self.known.saturating_add(1);
        // The first values count alike.
        let first = 1.0 / f64::from(self.known);
        for (level, rate) in self.levels.iter_mut().zip(LEVEL_RATES) {
            *level += ((value - f64::from(*level)) * rate.max(first)) as f32;
        }
        let (old, trend) = (f64::from(self.holt), f64::from(self.trend) * TREND_DAMPING);
        let level = old + trend + (value - old - trend) * HOLT_RATE.max(first);
        self.holt = level as f32;
        if self.known > 2 {
            self.trend = (trend + (level - old - trend) * TREND_RATE) as f32;
        }
    }

    /// Values learned.
    pub fn known(&self) -> u32 {
        self.known
    }

    /// What the four experts say of the bucket that is `ahead` after the last.
    pub fn say(&self, ahead: u32) -> [f64; 4] {
        let damped = TREND_DAMPING * (1.0 - power(TREND_DAMPING, ahead)) / (1.0 - TREND_DAMPING);
        let [slow, middle, fast] = self.levels.map(f64::from);
        [slow, middle, fast, f64::from(self.holt) + f64::from(self.trend) * damped]
    }
}

/// The hours of the day, with what the last days and the last buckets were above them, and
/// the last day as it was. 252 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Season {
    /// What is usual in each hour; below 0 while nothing is known of it. Values are at least 0.
    hours: [f32; SLOTS as usize],
    /// The upper halves of floats: 8 bits of precision.
    yesterday: [u16; PARTS as usize],
    shift: f32,
    near: f32,
    known: u32,
}

impl Default for Season {
    fn default() -> Self {
        let yesterday = [PART_UNKNOWN; PARTS as usize];
        Self { hours: [-1.0; SLOTS as usize], yesterday, shift: 0.0, near: 0.0, known: 0 }
    }
}

impl Season {
    /// Takes the value of bucket number `bucket` of those that a day has `of_day`. O(1).
    pub fn learn(&mut self, value: f64, bucket: u64, of_day: u64) {
        let usual = self.usual(bucket, of_day);
        if let Some(usual) = usual {
            let error = value - usual;
            self.near += ((error - f64::from(self.near)) * NEAR_RATE) as f32;
            self.shift += ((error - f64::from(self.shift)) * SHIFT_RATE) as f32;
        }
        let day = (u64::from(self.known) / of_day.max(1)).min(2) as usize;
        let rate = SLOT_RATES.get(day).copied().unwrap_or(0.0);
        let wanted = (value - if day < 2 { 0.0 } else { f64::from(self.shift) }).max(0.0);
        for (slot, share) in slots_of(bucket, of_day) {
            if let Some(hour) = self.hours.get_mut(slot) {
                let old = f64::from(*hour);
                *hour = if old < 0.0 { wanted } else { old + (wanted - old) * rate * share } as f32;
            }
        }
        self.keep(value, bucket, of_day);
        self.known = self.known.saturating_add(1);
    }

    /// What was at the same time of the day before, or last was. `None` before a day is known.
    pub fn yesterday(&self, bucket: u64, of_day: u64) -> Option<f64> {
        if u64::from(self.known) < of_day {
            return None;
        }
        let part = *self.yesterday.get(part_of(bucket, of_day))?;
        (part != PART_UNKNOWN).then(|| f64::from(f32::from_bits(u32::from(part) << 16)))
    }

    /// The first bucket of a part replaces it, the others are mixed in.
    fn keep(&mut self, value: f64, bucket: u64, of_day: u64) {
        let of_part = (of_day / PARTS).max(1);
        let nth = bucket % of_day.max(1) % of_part;
        let known = self.yesterday(bucket, of_day).filter(|_| nth > 0);
        let mean = known.map_or(value, |known| known + (value - known) / (nth + 1) as f64);
        // Half of the last place is added, so that it is rounded and not cut.
        let bits = (mean as f32).to_bits().saturating_add(1 << 15) >> 16;
        if let Some(part) = self.yesterday.get_mut(part_of(bucket, of_day)) {
            *part = u16::try_from(bits).unwrap_or(PART_UNKNOWN);
        }
    }

    /// What the expert says of bucket number `bucket`, `ahead` after the last. `None` before two
    /// days are known.
    pub fn say(&self, bucket: u64, of_day: u64, ahead: u32) -> Option<f64> {
        if u64::from(self.known) < 2 * of_day {
            return None;
        }
        let (shift, near) = (f64::from(self.shift), f64::from(self.near));
        Some(self.usual(bucket, of_day)? + shift + (near - shift) * power(NEAR_DAMPING, ahead))
    }

    fn usual(&self, bucket: u64, of_day: u64) -> Option<f64> {
        let mut sum = 0.0;
        for (slot, share) in slots_of(bucket, of_day) {
            let hour = f64::from(*self.hours.get(slot)?);
            if hour < 0.0 {
                return None;
            }
            sum += hour * share;
        }
        Some(sum)
    }
}

fn part_of(bucket: u64, of_day: u64) -> usize {
    let of_day = of_day.max(1);
    (bucket % of_day * PARTS / of_day) as usize
}

/// The two hours whose middles are next to the middle of the bucket, and their shares.
fn slots_of(bucket: u64, of_day: u64) -> [(usize, f64); 2] {
    let of_day = of_day.max(1);
    // Half an hour back, from the middle of the first hour.
    let place = (bucket % of_day) as f64 + 0.5;
    let hours = place * SLOTS as f64 / of_day as f64 + SLOTS as f64 - 0.5;
    let before = hours as u64;
    let share = hours - before as f64;
    [((before % SLOTS) as usize, 1.0 - share), (((before + 1) % SLOTS) as usize, share)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_products() {
        assert!((power(0.9, 10) - 0.348_678_440_1).abs() < 1e-12 && power(0.5, 0) == 1.0);
    }

    #[test]
    fn the_shares_of_a_bucket_are_one_together_and_move_evenly() {
        for bucket in 0..144 {
            let [(one, share), (other, rest)] = slots_of(bucket, 144);
            assert!((share + rest - 1.0).abs() < 1e-9 && (one + 1) % 24 == other, "{bucket}");
        }
        assert_eq!(slots_of(0, 144)[0].0, 23);
    }

    #[test]
    fn a_trend_is_followed_and_ends() {
        let mut levels = Levels::default();
        (0..200).for_each(|n| levels.learn(f64::from(n)));
        let near = levels.say(5)[3];
        assert!((198.0..206.0).contains(&near), "{near}");
        assert!(levels.say(1_000)[3] < 240.0, "it is damped");
    }

    #[test]
    fn yesterday_is_kept_with_a_precision_of_one_percent() {
        let mut season = Season::default();
        (0..144).for_each(|bucket| season.learn(1_000.0 + bucket as f64 * 10.0, bucket, 144));
        let part = season.yesterday(144 + 50, 144).expect("a day is known");
        assert!((part - 1_505.0).abs() < 15.0, "{part}");
    }

    #[test]
    fn the_season_says_nothing_before_two_days() {
        let mut season = Season::default();
        (0..288).for_each(|bucket| {
            assert_eq!(season.say(bucket, 144, 1), None);
            season.learn((bucket % 144).min(144 - bucket % 144) as f64, bucket, 144);
        });
        let noon = season.say(288 + 72, 144, 73).expect("two days are known");
        assert!((66.0..78.0).contains(&noon), "{noon}");
    }
}
