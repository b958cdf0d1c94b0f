//! A count-min sketch of four-bit counters that are halved now and then: how often things were seen
//! lately, in little space.
//!
//! G. Einziger, R. Friedman, B. Manes, "TinyLFU: A Highly Efficient Cache Admission Policy" (2017).
//! The count may be too high for a thing that shares all its counters with others. Apart from the
//! halving it is never too low.

/// The frequencies of hashes, up to 15.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Sixteen counters in each word. The number of words is a power of two.
    words: Vec<u64>,
    /// How many hashes were counted since the last halving.
    counted: usize,
}

/// Rows of the sketch: the number of counters for each hash.
const ROWS: u32 = 4;
/// How many hashes are counted for each word until all counters are halved.
const COUNTED_PER_WORD: usize = 10;
/// The smallest number of words.
const WORDS_MIN: usize = 64;
/// The largest number of words. Beyond 16 million values the counters become crowded instead.
const WORDS_MAX: usize = 1 << 24;
const HALF: u64 = 0x7777_7777_7777_7777;

impl Sketch {
    /// Makes room for the frequencies of `values` values, or gives room back if a quarter of it
    /// would do. What was counted stays.
    pub fn fit(&mut self, values: usize) {
        let wanted = values.next_power_of_two().clamp(WORDS_MIN, WORDS_MAX);
        if self.words.is_empty() {
            self.words = vec![0; WORDS_MIN];
        }
        while self.words.len() < wanted {
            // The place of a hash now has one more bit: both halves have its counters.
            self.words.extend_from_within(..);
        }
        while self.words.len() > 4 * wanted {
            self.fold();
        }
    }

    /// Halves the number of words. Two counters become one, which has the larger count.
    fn fold(&mut self) {
        let half = self.words.len() / 2;
        let (kept, other) = self.words.split_at_mut(half);
        for (word, other) in kept.iter_mut().zip(other) {
            let larger = |shift: u32| (*word >> shift & 15).max(*other >> shift & 15) << shift;
            *word = (0..16).map(|at| larger(at * 4)).sum();
        }
        self.words.truncate(half);
        self.words.shrink_to_fit();
        self.counted /= 2;
    }

    /// Counts a hash.
    pub fn count(&mut self, hash: u64) {
        if self.words.is_empty() {
            return;
        }
        for row in 0..ROWS {
            let (word, shift) = self.place(hash, row);
            if (self.words[word] >> shift) & 15 < 15 {
                self.words[word] += 1 << shift;
            }
        }
        self.counted += 1;
        if self.counted >= self.words.len() * COUNTED_PER_WORD {
            self.counted /= 2;
            self.words.iter_mut().for_each(|word| *word = (*word >> 1) & HALF);
        }
    }

    /// How often a hash was seen lately, 0 to 15.
    pub fn frequency(&self, hash: u64) -> u8 {
        if self.words.is_empty() {
            return 0;
        }
        let counters = (0..ROWS).map(|row| {
            let (word, shift) = self.place(hash, row);
            (self.words[word] >> shift) & 15
        });
        counters.min().unwrap_or(0) as u8
    }

    /// The word, and the bit at which the counter of a hash begins, in a row.
    fn place(&self, hash: u64, row: u32) -> (usize, u32) {
        const SEEDS: [u64; ROWS as usize] =
            [0xC3A5_C85C_97CB_3127, 0xB492_B66F_BE98_F273, 0x9AE1_6A3B_2F90_404F, 0xCBF2_9CE4_8422_2325];
        let mixed = (hash ^ SEEDS[row as usize]).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = mixed ^ (mixed >> 32);
        // Each row has four of the sixteen counters of a word.
        let counter = row * 4 + ((mixed >> 60) as u32 & 3);
        (mixed as usize & (self.words.len() - 1), counter * 4)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        crate::domain::algorithm::allocator::allocated(self.words.capacity() * size_of::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let mut seed = n;
        crate::domain::algorithm::splitmix::next_random(&mut seed)
    }

    #[test]
    fn frequencies_are_known_and_never_too_small() {
        let mut sketch = Sketch::default();
        sketch.count(1);
        assert_eq!(sketch.frequency(1), 0, "without room nothing is known");
        sketch.fit(1024);
        for n in 0..100 {
            (0..=n % 7).for_each(|_| sketch.count(hash(n)));
        }
        let too_much: u64 = (0..100)
            .map(|n| {
                let found = u64::from(sketch.frequency(hash(n)));
                assert!(found > n % 7, "{n} was seen {} times, not {found}", n % 7 + 1);
                found - n % 7 - 1
            })
            .sum();
        assert!(too_much < 10, "{too_much}");
    }

    #[test]
    fn what_was_often_seen_long_ago_is_forgotten_and_growing_or_shrinking_forgets_nothing() {
        let mut sketch = Sketch::default();
        sketch.fit(64);
        (0..15).for_each(|_| sketch.count(hash(1)));
        sketch.fit(4096);
        assert_eq!(sketch.frequency(hash(1)), 15);
        sketch.fit(64);
        assert_eq!((sketch.frequency(hash(1)), sketch.words.len()), (15, 256));
        sketch.fit(4096);
        let before = sketch.counted;
        (0..200_000).for_each(|n| sketch.count(hash(1_000 + n % 2_000)));
        assert!(sketch.frequency(hash(1)) < 15, "halved since {before}");
    }
}
