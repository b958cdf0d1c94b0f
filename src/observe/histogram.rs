//! Percentiles of durations in constant space.
//!
//! Logarithmic buckets with four steps per power of two, so a percentile is at most a quarter too
//! high (the idea of G. Tene's HdrHistogram with two significant bits).

const STEPS: usize = 4;
const BUCKETS: usize = 64 * STEPS;

/// A histogram of whole numbers, here microseconds.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one value.
    pub fn record(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The number of values added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that `percent` of 100 of all values do not exceed, rounded up to the end of its
    /// bucket; 0 if there is no value.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = (self.count as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper_end(at).min(self.max);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS as u64 {
        return value as usize;
    }
    let power = 63 - value.leading_zeros() as usize;
    let step = (value >> (power - 2)) as usize & (STEPS - 1);
    (power - 1) * STEPS + step
}

fn upper_end(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let power = bucket / STEPS + 1;
    let step = (bucket % STEPS) as u64;
    ((STEPS as u64 + step + 1) << (power - 2)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..4096).chain([u64::MAX / 3, u64::MAX]) {
            let at = bucket(value);
            assert!(value <= upper_end(at), "{value}");
            assert!(at == 0 || value > upper_end(at - 1), "{value}");
        }
    }

    #[test]
    fn percentiles_are_at_most_a_quarter_too_high() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value));
        for (percent, exact) in [(50.0, 500), (99.0, 990), (100.0, 1000)] {
            let found = histogram.percentile(percent);
            assert!(found >= exact && found <= exact * 5 / 4, "{percent}: {found}");
        }
        assert_eq!(Histogram::default().percentile(50.0), 0);
    }
}
