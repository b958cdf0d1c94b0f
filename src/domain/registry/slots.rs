//! Sets of agents, by the number of the slot that each agent has in its registry: the sets of the
//! inverted indexes.
//!
//! A small set is a sorted list, a large one a bitmap, after the containers of S. Chambi et al.,
//! "Better bitmap performance with Roaring bitmaps" (2016). So a tag that one agent has costs a few
//! bytes, and the intersection of large sets takes one step for 64 agents.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::looked_at_parts;
use smallvec::SmallVec;

/// The place of an agent in its registry. Reused when the agent is gone; it means nothing
/// outside this process.
pub type Slot = u32;

/// A set of slots.
#[derive(Debug, Clone)]
pub enum SlotSet {
    /// In order.
    InlineList(SmallVec<[Slot; 4]>),
    /// A bit for each slot.
    Many(Bits),
}

/// A bitmap that counts its bits.
#[derive(Debug, Clone, Default)]
pub struct Bits {
    words: Vec<u64>,
    len: u32,
}

/// Up to this many slots are always a list.
const FEW: usize = 64;
/// A list becomes a bitmap when it has more than one in this many slots, where both
/// take the same room.
const SPARSE: usize = 32;

/// As many words of a bitmap are passed in one look, and as many slots of a list.
const WORDS_OF_LOOK: usize = 1024;
const SLOTS_OF_LOOK: usize = 128;

fn looked_at_set(set: &SlotSet) {
    match set {
        SlotSet::InlineList(list) => looked_at_parts(list.len(), SLOTS_OF_LOOK),
        SlotSet::Many(bits) => looked_at_parts(bits.words.len(), WORDS_OF_LOOK),
    }
}

/// Up to this many slots of several lists are sorted; more become a bitmap.
const SORTED_MAX: usize = 1024;

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet::InlineList(SmallVec::new())
    }
}

impl SlotSet {
    /// The slots of a sorted list without duplicates.
    pub fn from_sorted(slots: SmallVec<[Slot; 4]>) -> Self {
        SlotSet::InlineList(slots)
    }

    /// The number of slots in it.
    pub fn len(&self) -> usize {
        match self {
            SlotSet::InlineList(list) => list.len(),
            SlotSet::Many(bits) => bits.len as usize,
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `slot` is in it.
    pub fn contains(&self, slot: Slot) -> bool {
        match self {
            SlotSet::InlineList(list) => list.binary_search(&slot).is_ok(),
            SlotSet::Many(bits) => bits.contains(slot),
        }
    }

    /// Adds `slot`. False if it was there.
    pub fn insert(&mut self, slot: Slot) -> bool {
        match self {
            SlotSet::InlineList(list) => {
                let Err(at) = list.binary_search(&slot) else { return false };
                list.insert(at, slot);
                let span = list.last().map_or(0, |last| *last as usize + 1);
                if list.len() > FEW && list.len() * SPARSE > span {
                    *self = SlotSet::Many(Bits::of(list.iter().copied()));
                }
                true
            }
            SlotSet::Many(bits) => bits.insert(slot),
        }
    }

    /// Removes `slot`. False if it was not there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        match self {
            SlotSet::InlineList(list) => {
                let Ok(at) = list.binary_search(&slot) else { return false };
                list.remove(at);
                if list.spilled() && list.len() * 4 < list.capacity() {
                    list.shrink_to_fit();
                }
                true
            }
            SlotSet::Many(bits) => {
                let was_there = bits.remove(slot);
                // Four times sparser than where it became a bitmap, so that it does not
                // switch back and forth.
                if (bits.len as usize) * 4 * SPARSE < bits.words.len() * 64 || (bits.len as usize) < FEW / 2 {
                    *self = SlotSet::InlineList(self.iter().collect());
                }
                was_there
            }
        }
    }

    /// The slots, in order.
    pub fn iter(&self) -> Slots<'_> {
        match self {
            SlotSet::InlineList(list) => Slots::InlineList(list.iter()),
            SlotSet::Many(_) => self.iter_from(0),
        }
    }

    /// The slots from `first` on, in order.
    pub fn iter_from(&self, first: Slot) -> Slots<'_> {
        match self {
            SlotSet::InlineList(list) => Slots::InlineList(list[list.partition_point(|slot| *slot < first)..].iter()),
            SlotSet::Many(bits) => {
                let at = first as usize / 64;
                let word = bits.words.get(at).map_or(0, |word| word & (u64::MAX << (first % 64)));
                Slots::Many { words: &bits.words, at, word }
            }
        }
    }

    /// The slot with `n` others before it.
    pub fn nth(&self, n: usize) -> Option<Slot> {
        match self {
            SlotSet::InlineList(list) => list.get(n).copied(),
            SlotSet::Many(bits) => bits.nth(n),
        }
    }

    /// Calls `visit` with each slot in both sets, in order, until it returns false. Returns
    /// false if it did.
    pub fn visit_common(&self, other: &SlotSet, mut visit: impl FnMut(Slot) -> bool) -> bool {
        match (self, other) {
            (SlotSet::Many(one), SlotSet::Many(two)) => {
                looked_at_parts(one.words.len(), WORDS_OF_LOOK);
                for (at, (one, two)) in one.words.iter().zip(&two.words).enumerate() {
                    let mut word = one & two;
                    while word != 0 {
                        if !visit((at * 64) as Slot + word.trailing_zeros()) {
                            return false;
                        }
                        word &= word - 1;
                    }
                }
                true
            }
            (SlotSet::InlineList(_), _) if self.len() <= other.len() || matches!(other, SlotSet::Many(_)) => {
                looked_at_set(self);
                self.iter().all(|slot| !other.contains(slot) || visit(slot))
            }
            _ => other.iter().all(|slot| !self.contains(slot) || visit(slot)),
        }
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            SlotSet::InlineList(list) if list.spilled() => list.capacity() * std::mem::size_of::<Slot>(),
            SlotSet::InlineList(_) => 0,
            SlotSet::Many(bits) => bits.words.capacity() * 8,
        }
    }
}

impl PartialEq for SlotSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Bits {
    fn of(slots: impl Iterator<Item = Slot>) -> Self {
        let mut bits = Bits::default();
        slots.for_each(|slot| {
            bits.insert(slot);
        });
        bits
    }

    fn place(slot: Slot) -> (usize, u64) {
        (slot as usize / 64, 1 << (slot % 64))
    }

    fn contains(&self, slot: Slot) -> bool {
        let (at, bit) = Self::place(slot);
        self.words.get(at).is_some_and(|word| word & bit != 0)
    }

    fn insert(&mut self, slot: Slot) -> bool {
        let (at, bit) = Self::place(slot);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let is_new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        self.len += u32::from(is_new);
        is_new
    }

    fn remove(&mut self, slot: Slot) -> bool {
        let (at, bit) = Self::place(slot);
        let Some(word) = self.words.get_mut(at) else { return false };
        let was_there = *word & bit != 0;
        *word &= !bit;
        self.len -= u32::from(was_there);
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        self.words.give_back_room();
        was_there
    }

    fn nth(&self, mut n: usize) -> Option<Slot> {
        looked_at_parts(self.words.len(), WORDS_OF_LOOK);
        for (at, word) in self.words.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if n < ones {
                let mut word = *word;
                (0..n).for_each(|_| word &= word - 1);
                return Some((at * 64) as Slot + word.trailing_zeros());
            }
            n -= ones;
        }
        None
    }

    /// Adds the slots of a set. They are not counted yet.
    fn add_all(&mut self, set: &SlotSet) {
        looked_at_set(set);
        match set {
            SlotSet::InlineList(list) => {
                let words = list.last().map_or(0, |last| Self::place(*last).0 + 1);
                if self.words.len() < words {
                    self.words.resize(words, 0);
                }
                for (at, bit) in list.iter().map(|slot| Self::place(*slot)) {
                    self.words[at] |= bit;
                }
            }
            SlotSet::Many(bits) => {
                if self.words.len() < bits.words.len() {
                    self.words.resize(bits.words.len(), 0);
                }
                self.words.iter_mut().zip(&bits.words).for_each(|(own, other)| *own |= other);
            }
        }
    }

    fn keep_all(&mut self, bits: &Bits) {
        looked_at_parts(bits.words.len(), WORDS_OF_LOOK);
        self.words.truncate(bits.words.len());
        self.words.iter_mut().zip(&bits.words).for_each(|(own, other)| *own &= other);
    }

    fn count(mut self) -> Self {
        self.len = self.words.iter().map(|word| word.count_ones()).sum();
        self
    }
}

/// The slots of a set, in order.
#[derive(Debug, Clone)]
pub enum Slots<'a> {
    /// Of a list.
    InlineList(std::slice::Iter<'a, Slot>),
    /// Of a bitmap.
    Many {
        /// The bitmap.
        words: &'a [u64],
        /// The index of the current word.
        at: usize,
        /// The rest of the current word.
        word: u64,
    },
}

impl Iterator for Slots<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        match self {
            Slots::InlineList(list) => list.next().copied(),
            Slots::Many { words, at, word } => {
                while *word == 0 {
                    *at += 1;
                    *word = *words.get(*at)?;
                }
                let slot = (*at * 64) as Slot + word.trailing_zeros();
                *word &= *word - 1;
                Some(slot)
            }
        }
    }
}

/// Sets of which at least one must contain a slot.
pub type AnyOf<'a> = SmallVec<[&'a SlotSet; 2]>;

/// The slots that are in at least one set of every group.
pub fn in_all(mut groups: SmallVec<[AnyOf<'_>; 8]>) -> SlotSet {
    let size = |group: &AnyOf| group.iter().map(|set| set.len()).sum::<usize>();
    groups.sort_by_cached_key(size);
    let Some((smallest, others)) = groups.split_first() else { return SlotSet::default() };
    if let [SlotSet::InlineList(list)] = smallest[..] {
        return SlotSet::InlineList(kept_by(others, list.clone()));
    }
    if size(smallest) <= SORTED_MAX && smallest.iter().all(|set| matches!(set, SlotSet::InlineList(_))) {
        let mut slots: SmallVec<[Slot; 4]> = smallest.iter().flat_map(|set| set.iter()).collect();
        slots.sort_unstable();
        slots.dedup();
        return SlotSet::InlineList(kept_by(others, slots));
    }
    let mut bits = union_of(smallest);
    for group in others {
        match group[..] {
            [SlotSet::Many(other)] => bits.keep_all(other),
            _ => bits.keep_all(&union_of(group)),
        }
    }
    SlotSet::Many(bits.count())
}

/// Those of a list that are in at least one set of each of these groups. A group of many sets is
/// united first, if that costs less than asking each set for each slot.
fn kept_by(groups: &[AnyOf], mut slots: SmallVec<[Slot; 4]>) -> SmallVec<[Slot; 4]> {
    for group in groups {
        looked_at_parts(slots.len(), SLOTS_OF_LOOK);
        let steps = |set: &&SlotSet| match set {
            SlotSet::InlineList(list) => list.len(),
            SlotSet::Many(bits) => bits.words.len(),
        };
        if group.len() > 1 && slots.len() * group.len() > group.iter().map(steps).sum() {
            let bits = union_of(group);
            slots.retain(|slot| bits.contains(*slot));
        } else {
            looked_at_parts(slots.len() * group.len(), SLOTS_OF_LOOK);
            slots.retain(|slot| group.iter().any(|set| set.contains(*slot)));
        }
    }
    slots
}

fn union_of(group: &AnyOf) -> Bits {
    let mut bits = Bits::default();
    group.iter().for_each(|set| bits.add_all(set));
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;
    use std::collections::BTreeSet;

    /// A pseudo-random sequence (xorshift), so that a failure repeats.
    fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        })
    }

    #[test]
    fn a_slot_set_is_a_set_in_either_form() {
        let mut random = numbers(7);
        let mut next = |below: u64| (random.next().unwrap_or(0) % below) as Slot;
        let (mut set, mut naive) = (SlotSet::default(), BTreeSet::new());
        let mut forms = BTreeSet::new();
        for step in 0..60_000u64 {
            // Grows, then shrinks, then grows again.
            let slot = next(3_000);
            if next(100) < if (step / 20_000) % 2 == 0 { 70 } else { 20 } {
                assert_eq!(set.insert(slot), naive.insert(slot));
            } else {
                assert_eq!(set.remove(slot), naive.remove(&slot));
            }
            forms.insert(matches!(set, SlotSet::Many(_)));
            assert_eq!(set.len(), naive.len());
            if step % 97 == 0 {
                assert!(set.iter().eq(naive.iter().copied()), "step {step}");
                assert!(set.iter_from(slot).eq(naive.range(slot..).copied()), "step {step}");
                let n = next(naive.len() as u64 + 1) as usize;
                assert_eq!(set.nth(n), naive.iter().nth(n).copied());
            }
        }
        assert_eq!(forms.len(), 2, "both forms were used");
    }

    #[test]
    fn groups_of_very_many_small_sets_are_united() {
        let set = |slots: &[Slot]| SlotSet::from_sorted(slots.iter().copied().collect());
        let small: Vec<SlotSet> = (0..600).map(|n| set(&[n, n + 1, 5_000 + 3 * n])).collect();
        let (few, one) = (set(&[7, 8, 601, 5_006, 5_007]), set(&[3, 5_003, 6_800]));
        let mut many = SlotSet::default();
        (0..7_000).for_each(|slot| assert!(many.insert(slot)));
        let united: AnyOf = small.iter().collect();
        let of = |groups: &[&AnyOf]| in_all(groups.iter().map(|group| (*group).clone()).collect());
        let found = of(&[&united, &smallvec![&many], &united]);
        assert!(found.iter().eq((0..=600).chain((0..600).map(|n| 5_000 + 3 * n))), "{found:?}");
        assert!(of(&[&united, &smallvec![&few]]).iter().eq([7, 8, 5_006]));
        assert!(of(&[&united, &smallvec![&few, &one], &smallvec![&many]]).iter().eq([3, 7, 8, 5_003, 5_006]));
    }

    #[test]
    fn intersections_are_those_of_plain_sets() {
        let mut random = numbers(11);
        for round in 0..200u64 {
            let mut make = |one_in: u64| -> SlotSet {
                let mut set = SlotSet::default();
                let picked = (0..2_000).filter(|_| random.next().unwrap_or(0) % one_in == 0);
                picked.for_each(|slot| assert!(set.insert(slot)));
                set
            };
            let (a, b, c, d) = (make(2), make(1 + round % 50), make(3), make(400));
            let groups: [AnyOf; 3] = [smallvec![&a], smallvec![&b, &d], smallvec![&c]];
            let naive = (0..2_000).filter(|s| a.contains(*s) && (b.contains(*s) || d.contains(*s)) && c.contains(*s));
            let found = in_all(groups.into_iter().collect());
            assert!(found.iter().eq(naive.clone()), "round {round}");
            assert_eq!(found.len(), naive.count());
            let mut common = Vec::new();
            assert!(b.visit_common(&a, |slot| {
                common.push(slot);
                true
            }));
            assert!(common.iter().copied().eq((0..2_000).filter(|s| a.contains(*s) && b.contains(*s))));
        }
    }
}
