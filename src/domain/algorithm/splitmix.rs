//! SplitMix64 for random choices. The seed is an argument, like the time: decisions take it,
//! applying never does.

/// The next number of a sequence: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number
/// Generators" (2014).
pub fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number below `end`, or 0 if that is 0.
pub fn next_below(seed: &mut u64, end: usize) -> usize {
    (next_random(seed) % end.max(1) as u64) as usize
}

/// A number above 0 and at most 1.
pub fn next_share(seed: &mut u64) -> f64 {
    const STEPS: f64 = (1u64 << 53) as f64;
    ((next_random(seed) >> 11) + 1) as f64 / STEPS
}
