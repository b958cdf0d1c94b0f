//! Logarithm and exponential from operations that IEEE 754 rounds exactly, so that a seed gives the
//! same plan on every processor. Those of libm differ between machines.

/// The natural logarithm of a number above 0.
pub fn ln(x: f64) -> f64 {
    let (mut rest, mut halvings) = (x.max(f64::MIN_POSITIVE), 0.0);
    while rest > 1.5 {
        rest *= 0.5;
        halvings += 1.0;
    }
    while rest < 0.75 {
        rest *= 2.0;
        halvings -= 1.0;
    }
    // ln r = 2 artanh((r - 1) / (r + 1)); the argument is at most 0.2.
    let ratio = (rest - 1.0) / (rest + 1.0);
    let square = ratio * ratio;
    let (mut power, mut sum, mut odd) = (ratio, 0.0, 1.0);
    while odd < 26.0 {
        sum += power / odd;
        power *= square;
        odd += 2.0;
    }
    2.0 * sum + halvings * std::f64::consts::LN_2
}

/// e to the power of a number from -700 to 700.
pub fn exp(x: f64) -> f64 {
    let (mut rest, mut squarings) = (x.clamp(-700.0, 700.0), 0);
    while rest.abs() > 0.125 {
        rest *= 0.5;
        squarings += 1;
    }
    let (mut term, mut sum, mut step) = (1.0, 1.0, 1.0);
    while step < 13.0 {
        term *= rest / step;
        sum += term;
        step += 1.0;
    }
    (0..squarings).fold(sum, |power, _| power * power)
}

/// Entries of [`Exponential`].
const ENTRIES: usize = 4096;

/// Random numbers with the exponential distribution of mean 1: quantiles of which one is drawn.
#[derive(Debug, Clone)]
pub struct Exponential(Vec<f64>);

impl Exponential {
    /// Computes the quantiles.
    pub fn new() -> Self {
        Self((0..ENTRIES).map(|at| -ln((at as f64 + 0.5) / ENTRIES as f64)).collect())
    }

    /// The quantile that the lowest bits of a random number choose.
    pub fn draw(&self, random: u64) -> f64 {
        self.0[random as usize % ENTRIES]
    }
}

impl Default for Exponential {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_are_right() {
        for x in [1e-9, 0.01, 0.3, 0.75, 1.0, 1.49, 2.0, 10.0, 12_345.678] {
            assert!((ln(x) - x.ln()).abs() < 1e-12 * (1.0 + x.ln().abs()), "{x}");
            assert!((exp(ln(x)) / x - 1.0).abs() < 1e-11, "{x}");
        }
        assert!(exp(-700.0) > 0.0);
    }

    #[test]
    fn draws_have_the_mean_of_the_distribution() {
        let exponential = Exponential::new();
        let mean = (0..ENTRIES as u64).map(|at| exponential.draw(at)).sum::<f64>() / ENTRIES as f64;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
    }
}
