//! XXH64: the hash that finds equal contents, and that clients can compute. It is fast and does not
//! protect against an attacker who wants a collision. So it only finds candidates; comparing the
//! bytes decides equality.
//!
//! Y. Collet, "xxHash fast digest algorithm", version 0.1.1, section "XXH64 algorithm description".

use super::looks::looked_at_bytes;

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// Bytes that the four lanes consume at a time.
const STRIPE: usize = 32;

/// The XXH64 of `bytes` with seed 0.
pub fn xxh64(bytes: &[u8]) -> u64 {
    looked_at_bytes(bytes.len());
    let stripes = bytes.chunks_exact(STRIPE);
    let mut rest = stripes.remainder();
    let mut hash = if bytes.len() < STRIPE { PRIME_5 } else { stripes_hash(stripes) };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((lane, after)) = rest.split_first_chunk::<8>() {
        hash ^= round(0, u64::from_le_bytes(*lane));
        hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        rest = after;
    }
    if let Some((lane, after)) = rest.split_first_chunk::<4>() {
        hash ^= u64::from(u32::from_le_bytes(*lane)).wrapping_mul(PRIME_1);
        hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
        rest = after;
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    avalanche(hash)
}

fn stripes_hash(stripes: std::slice::ChunksExact<u8>) -> u64 {
    let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u64.wrapping_sub(PRIME_1)];
    for stripe in stripes {
        for (lane, input) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
            // Always eight bytes, which the compiler knows.
            let input = input.try_into().map_or(0, u64::from_le_bytes);
            *lane = round(*lane, input);
        }
    }
    let [one, two, three, four] = lanes;
    let sum = one.rotate_left(1).wrapping_add(two.rotate_left(7));
    let sum = sum.wrapping_add(three.rotate_left(12)).wrapping_add(four.rotate_left(18));
    lanes.into_iter().fold(sum, |hash, lane| (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4))
}

const fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

const fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::xxh64;

    #[test]
    fn it_is_that_of_the_reference() {
        // Computed with `xxh64sum` of xxHash 0.8: the empty text, texts, and the sanity buffer of
        // its own tests at lengths around each step.
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCE_A83C_8A37_8BF1);
    }
}
