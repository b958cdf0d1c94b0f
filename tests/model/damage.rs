//! Changes of saved bytes that reach far into a decoder. The model tests, the fuzzer of the server
//! and the fuzz targets share them.

use super::prng::Prng;

/// Changes a few bytes of a payload: bits, small and large numbers, lengths, places.
pub fn damage(rng: &mut Prng, payload: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        if payload.is_empty() {
            return;
        }
        let at = rng.below(payload.len() as u64) as usize;
        match rng.below(8) {
            0 => payload[at] ^= 1 << rng.below(8),
            1 => payload[at] = *rng.pick(&[0, 1, 2, 250, 251, 252, 253, 255, b'/', b'0', b'"']),
            2 => payload[at] = payload[at].wrapping_add(1),
            3 => payload[at] = payload[at].wrapping_sub(1),
            4 => drop(payload.remove(at)),
            5 => payload.insert(at, rng.next() as u8),
            6 => {
                // Replaces a number by a large one, such as a bound. Not by the largest that is
                // loaded: only a file made by hand has that.
                let bounds = [(1 << 63) - 1, (1 << 62) - 1, 1 << 61, (1 << 52) + 1];
                let number = *rng.pick(&[&bounds[..], &[u64::MAX, (1 << 63) + 1, 1 << 54, 1 << 51, 1 << 32]].concat());
                let large: Vec<u8> = [253].into_iter().chain(number.to_le_bytes()).collect();
                let taken = if payload[at] == 253 { 9 } else { 1 };
                payload.splice(at..(at + taken).min(payload.len()), large);
            }
            _ => {
                let from = rng.below(payload.len() as u64) as usize;
                payload[at] = payload[from];
            }
        }
    }
}
