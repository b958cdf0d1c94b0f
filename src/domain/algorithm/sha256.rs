//! SHA-256: the hash that chains the lines of the audit trail, so that a cut or a change shows.
//!
//! NIST, FIPS 180-4, "Secure Hash Standard", sections 4.1.2, 5.1.1 and 6.2.

use super::looks::looked_at_parts;

/// As many bytes are hashed in one look.
const BYTES_OF_LOOK: usize = 128;
/// Bytes of a block.
const BLOCK: usize = 64;

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
#[rustfmt::skip]
const ROUNDS: [u32; BLOCK] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The first 32 bits of the fractional parts of the square roots of the first eight primes.
const FIRST: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    looked_at_parts(bytes.len(), BYTES_OF_LOOK);
    let mut state = FIRST;
    let blocks = bytes.chunks_exact(BLOCK);
    let rest = blocks.remainder();
    blocks.for_each(|block| compress(&mut state, block));
    // The rest, a one bit, zeros, and the length in bits: one block, or two.
    let mut last = [0; 2 * BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() + 9 > BLOCK { 2 * BLOCK } else { BLOCK };
    last[end - 8..end].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    last[..end].chunks_exact(BLOCK).for_each(|block| compress(&mut state, block));
    let mut digest = [0; 32];
    digest.chunks_exact_mut(4).zip(state).for_each(|(to, word)| to.copy_from_slice(&word.to_be_bytes()));
    digest
}

/// Digits of a digest as [`hex`] writes it.
pub const HEX_LEN: usize = 64;

/// A digest in hexadecimal digits.
pub fn hex(digest: [u8; 32]) -> impl Iterator<Item = char> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
    digest.into_iter().flat_map(move |byte| [digit(byte >> 4), digit(byte)])
}

/// A round. The caller renames the variables from round to round, instead of moving their values.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $added:expr) => {
        let choice = $g ^ ($e & ($f ^ $g));
        let mixed = $e.rotate_right(6) ^ $e.rotate_right(11) ^ $e.rotate_right(25);
        let one = $h.wrapping_add(mixed).wrapping_add(choice).wrapping_add($added);
        let majority = ($a & $b) | ($c & ($a | $b));
        let two = ($a.rotate_right(2) ^ $a.rotate_right(13) ^ $a.rotate_right(22)).wrapping_add(majority);
        $d = $d.wrapping_add(one);
        $h = one.wrapping_add(two);
    };
}

/// Words of the schedule that are there at a time.
const WORDS: usize = 16;

fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut words = [0u32; WORDS];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        // Always four bytes, which the compiler knows.
        *word = bytes.try_into().map_or(0, u32::from_be_bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (nth, rounds) in ROUNDS.chunks_exact(WORDS).enumerate() {
        if nth > 0 {
            schedule(&mut words);
        }
        for (words, rounds) in words.chunks_exact(8).zip(rounds.chunks_exact(8)) {
            let added = |at: usize| words[at].wrapping_add(rounds[at]);
            round!(a b c d e f g h, added(0));
            round!(h a b c d e f g, added(1));
            round!(g h a b c d e f, added(2));
            round!(f g h a b c d e, added(3));
            round!(e f g h a b c d, added(4));
            round!(d e f g h a b c, added(5));
            round!(c d e f g h a b, added(6));
            round!(b c d e f g h a, added(7));
        }
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(more);
    }
}

/// The next words of the schedule, each from those before it.
fn schedule(words: &mut [u32; WORDS]) {
    for at in 0..WORDS {
        let (early, late) = (words[(at + 1) % WORDS], words[(at + 14) % WORDS]);
        let early = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
        let late = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
        words[at] = words[at].wrapping_add(early).wrapping_add(words[(at + 9) % WORDS]).wrapping_add(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> String {
        hex(sha256(bytes)).collect()
    }

    /// The examples that NIST gives for FIPS 180-4, and a million times the letter a.
    #[test]
    fn it_gives_the_values_of_the_standard() {
        assert_eq!(of(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(of(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            of(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
        let longer = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
        assert_eq!(of(longer), "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
        assert_eq!(of(&vec![b'a'; 1_000_000]), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    /// Where the length no longer fits into the block of the rest.
    #[test]
    fn every_length_around_a_block_is_padded() {
        assert_eq!(of(&[b'a'; 55]), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
        assert_eq!(of(&[b'a'; 56]), "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
        assert_eq!(of(&[b'a'; 64]), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    }
}
