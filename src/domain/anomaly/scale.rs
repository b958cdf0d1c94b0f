//! Base-2 logarithms of whole numbers in fixed point. Durations are compared as ratios: twice as
//! long is as much for 5 ms as for 5 s, and their logarithms are nearly normally distributed.

/// One in the fixed point of this folder: 2^20.
pub const ONE: i64 = 1 << BITS;
const BITS: u32 = 20;

/// log2 of `value` / 2^20, in 1/2^20; `value` is at least 1. The error is below 0.01.
fn log2(value: u64) -> i64 {
    let exponent = 63 - i64::from(value.max(1).leading_zeros());
    // The mantissa less 1, in 1/2^20.
    let shifted = if exponent > i64::from(BITS) {
        value >> (exponent - i64::from(BITS))
    } else {
        value << (i64::from(BITS) - exponent)
    };
    let part = shifted as i64 & (ONE - 1);
    // log2(1 + f) is about f + 0.34 f (1 - f).
    let bend = (((part * (ONE - part)) >> BITS) * 22) >> 6;
    (exponent - i64::from(BITS)) * ONE + part + bend
}

/// log2 of a number of 1/2^20, which is at least 1; in 1/2^20.
pub fn log2_of_fixed(value: i64) -> i64 {
    log2(value.max(1) as u64)
}

/// log2(value + 1), in 1/2^20: at most 64 * 2^20.
pub fn level_of(value: u64) -> i64 {
    log2(value.saturating_add(1)) + i64::from(BITS) * ONE
}

/// The value of which this is the level, within 1 %.
pub fn value_of(level: i64) -> u64 {
    let (exponent, part) = ((level.max(0) >> BITS) as u32, level.max(0) & (ONE - 1));
    // 2^f is about 1 + f - 0.34 f (1 - f).
    let mantissa = ONE + part - ((((part * (ONE - part)) >> BITS) * 22) >> 6);
    let value = (mantissa as u128) << exponent.min(64) >> BITS;
    u64::try_from(value).unwrap_or(u64::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_logarithms() {
        for value in (0..5_000).chain([1 << 20, 3 << 33, u64::MAX / 3, u64::MAX]) {
            let wanted = (value as f64 + 1.0).log2();
            let level = level_of(value) as f64 / ONE as f64;
            assert!((level - wanted).abs() < 0.01, "{value}: {level} {wanted}");
        }
    }

    #[test]
    fn values_come_back_within_two_percent() {
        for value in (10..5_000).chain([1 << 20, 3 << 33, u64::MAX / 3]) {
            let back = value_of(level_of(value));
            assert!(back.abs_diff(value) <= value / 50 + 1, "{value}: {back}");
        }
        assert_eq!(value_of(level_of(0)), 0);
    }

    #[test]
    fn levels_never_fall_as_values_grow() {
        assert!((0..100_000).all(|value| level_of(value) <= level_of(value + 1)));
    }
}
