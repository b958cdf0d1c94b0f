//! Samples of the normal, gamma and beta distributions, the same on all processors: of floats only
//! `+ - * /`, the square root and comparisons are used, which IEEE 754 defines to the last bit.

use crate::domain::algorithm::splitmix::next_share;

/// A rejection method gives up after as many attempts and returns the middle. Each attempt of the
/// ones below is accepted with more than 75 %, so that never happens in practice: 4^-32.
const ATTEMPTS_MAX: usize = 32;

/// The natural logarithm of a number above 0. The error is below 1e-11; -745 for what is not above
/// 0.
///
/// The binary exponent is taken off, and the rest, between 0.7 and 1.42, goes through the series of
/// the inverse hyperbolic tangent: ln m = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1) / (m + 1).
pub fn ln(value: f64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: i64 = 1023;
    /// Odd terms up to s^17: s is below 0.172, so what is left out is below 1e-14.
    const TERMS: [f64; 8] =
        [1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0];
    if value.is_nan() || value < f64::MIN_POSITIVE {
        return -745.0;
    }
    let bits = value.to_bits();
    let mut exponent = (bits >> MANTISSA_BITS) as i64 - BIAS;
    let mut rest = f64::from_bits((bits & ((1 << MANTISSA_BITS) - 1)) | ((BIAS as u64) << MANTISSA_BITS));
    if rest > std::f64::consts::SQRT_2 {
        rest *= 0.5;
        exponent += 1;
    }
    let s = (rest - 1.0) / (rest + 1.0);
    let square = s * s;
    let series = TERMS.iter().fold(0.0, |sum, term| sum * square + term);
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * (1.0 + square * series)
}

/// A sample of the standard normal distribution: G. Marsaglia, T. A. Bray, "A Convenient Method for
/// Generating Normal Variables" (1964), the polar method.
pub fn normal(seed: &mut u64) -> f64 {
    for _ in 0..ATTEMPTS_MAX {
        let (x, y) = (2.0 * next_share(seed) - 1.0, 2.0 * next_share(seed) - 1.0);
        let square = x * x + y * y;
        if square < 1.0 && square > 0.0 {
            return x * (-2.0 * ln(square) / square).sqrt();
        }
    }
    0.0
}

/// A sample of the gamma distribution with this shape, at least 1, and scale 1: G. Marsaglia,
/// W. W. Tsang, "A Simple Method for Generating Gamma Variables" (2000).
pub fn gamma(shape: f64, seed: &mut u64) -> f64 {
    let d = shape.max(1.0) - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..ATTEMPTS_MAX {
        let x = normal(seed);
        let root = 1.0 + c * x;
        if root <= 0.0 {
            continue;
        }
        let v = root * root * root;
        let share = next_share(seed);
        let square = x * x;
        // The first comparison decides nearly always, and saves two logarithms.
        if share < 1.0 - 0.0331 * square * square || ln(share) < 0.5 * square + d * (1.0 - v + ln(v)) {
            return d * v;
        }
    }
    d
}

/// A sample of the beta distribution, both shapes at least 1: the share of one gamma sample in two.
pub fn beta(successes: f64, failures: f64, seed: &mut u64) -> f64 {
    let (one, other) = (gamma(successes, seed), gamma(failures, seed));
    one / (one + other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many samples.
    fn moments(mut sample: impl FnMut(&mut u64) -> f64) -> (f64, f64) {
        const COUNT: usize = 40_000;
        let mut seed = 7;
        let samples: Vec<f64> = (0..COUNT).map(|_| sample(&mut seed)).collect();
        let mean = samples.iter().sum::<f64>() / COUNT as f64;
        (mean, samples.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / COUNT as f64)
    }

    #[test]
    fn the_logarithm_is_right_to_ten_digits() {
        for n in 1..20_000_u32 {
            for value in [f64::from(n) / 7_000.0, f64::from(n) * 1e9, 1.0 / f64::from(n) / 1e12] {
                assert!((ln(value) - value.ln()).abs() < 1e-10, "{value}");
            }
        }
        assert!(ln(0.0) < -700.0 && ln(-1.0) < -700.0 && ln(f64::NAN) < -700.0);
        assert!(ln(f64::INFINITY).is_finite());
    }

    #[test]
    fn normal_samples_have_mean_zero_and_variance_one() {
        let (mean, variance) = moments(normal);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn gamma_samples_have_the_shape_as_mean_and_variance() {
        for shape in [1.0, 1.5, 4.0, 60.0] {
            let (mean, variance) = moments(|seed| gamma(shape, seed));
            assert!((mean / shape - 1.0).abs() < 0.02, "{shape}: {mean}");
            assert!((variance / shape - 1.0).abs() < 0.05, "{shape}: {variance}");
        }
    }

    #[test]
    fn beta_samples_have_the_moments_of_the_beta_distribution() {
        for (a, b) in [(1.0, 1.0), (9.0, 1.0), (30.0, 10.0)] {
            let (mean, variance) = moments(|seed| beta(a, b, seed));
            let wanted = a * b / ((a + b) * (a + b) * (a + b + 1.0));
            assert!((mean - a / (a + b)).abs() < 0.01 && (variance / wanted - 1.0).abs() < 0.06, "{a} {b}");
        }
    }

    #[test]
    fn samples_are_the_same_everywhere() {
        let mut seed = 42;
        let samples: Vec<u64> = (0..4).map(|_| gamma(2.5, &mut seed).to_bits()).collect();
        assert_eq!(samples, PINNED, "{samples:?}");
    }

    /// Made on x86-64. Another processor has to make the same.
    const PINNED: [u64; 4] =
        [4_613_884_415_799_869_351, 4_611_732_412_942_059_305, 4_608_965_810_527_751_054, 4_613_918_710_723_387_491];
}
