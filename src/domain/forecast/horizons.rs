//! How right each expert was so far ahead, and how wrong all together.

use super::experts::EXPERTS;

/// A new error takes this share in the mean of the errors.
const ERROR_RATE: f64 = 1.0 / 16.0;
/// Half-widths of the interval in mean absolute errors, at first: 5 % of a normal distribution is
/// above 1.645 deviations, which are 0.798 of a mean absolute error each.
const WIDTH_FIRST: f32 = 2.06;
const WIDTH_MIN: f32 = 0.3;
const WIDTH_MAX: f32 = 20.0;
/// How much a value outside widens the interval, and the share that should be on each side outside.
const WIDTH_RATE: f32 = 0.12;
const OUTSIDE: f32 = 0.05;

/// What was said of one bucket, and the errors made so far ahead before.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// The bucket of which it was said; 0 for none.
    due: u32,
    said: [f32; EXPERTS],
    together: f32,
    /// Mean absolute errors; below 0 while unknown.
    errors: [f32; EXPERTS],
    error: f32,
    known: u32,
}

impl Default for Horizon {
    fn default() -> Self {
        let errors = [-1.0; EXPERTS];
        Self { due: 0, said: [-1.0; EXPERTS], together: 0.0, errors, error: -1.0, known: 0 }
    }
}

/// The interval in mean absolute errors, learned from whether values were inside: I. Gibbs,
/// E. Candès, "Adaptive Conformal Inference Under Distribution Shift" (2021). One for all horizons.
#[derive(Debug, Clone, Copy)]
pub struct Widths {
    below: f32,
    above: f32,
}

impl Default for Widths {
    fn default() -> Self {
        Self { below: WIDTH_FIRST, above: WIDTH_FIRST }
    }
}

impl Widths {
    /// The bounds around a forecast with this mean absolute error.
    pub fn around(&self, mean: f64, error: f64) -> (f64, f64) {
        (mean - f64::from(self.below) * error, mean + f64::from(self.above) * error)
    }

    fn learn(&mut self, mean: f64, error: f64, value: f64) {
        let (low, high) = self.around(mean, error);
        let moved = |width: f32, is_outside: bool| {
            (width + WIDTH_RATE * (if is_outside { 1.0 } else { 0.0 } - OUTSIDE)).clamp(WIDTH_MIN, WIDTH_MAX)
        };
        self.below = moved(self.below, value < low);
        self.above = moved(self.above, value > high);
    }
}

impl Horizon {
    /// Compares what was said of this bucket with its value. O(1).
    pub fn score(&mut self, bucket: u32, value: f64, widths: &mut Widths) {
        if self.due != bucket || bucket == 0 {
            return;
        }
        self.known = self.known.saturating_add(1);
        let rate = ERROR_RATE.max(1.0 / f64::from(self.known));
        if self.error > 0.0 {
            widths.learn(f64::from(self.together), f64::from(self.error), value);
        }
        let mixed = |mean: f32, said: f32| {
            let error = (value - f64::from(said)).abs();
            let mean = if mean < 0.0 { error } else { f64::from(mean) + (error - f64::from(mean)) * rate };
            mean as f32
        };
        self.error = mixed(self.error, self.together);
        for (error, said) in self.errors.iter_mut().zip(self.said) {
            if said >= 0.0 {
                *error = mixed(*error, said);
            }
        }
    }

    /// Whether something new may be said: nothing is, or it is over.
    pub fn is_free(&self, bucket: u32) -> bool {
        self.due <= bucket
    }

    /// Says something of a bucket to come.
    pub fn say(&mut self, due: u32, said: [Option<f64>; EXPERTS], together: f64) {
        self.due = due;
        self.said = said.map(|said| said.map_or(-1.0, |said| said.max(0.0) as f32));
        self.together = together as f32;
    }

    /// The mean absolute error of an expert so far ahead.
    pub fn error_of(&self, expert: usize) -> Option<f64> {
        self.errors.get(expert).filter(|error| **error >= 0.0).map(|error| f64::from(*error))
    }

    /// The mean absolute error of all together.
    pub fn error(&self) -> Option<f64> {
        (self.error >= 0.0).then_some(f64::from(self.error))
    }

    /// Comparisons made.
    pub fn known(&self) -> u32 {
        self.known
    }
}
