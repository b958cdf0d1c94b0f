//! A list of values that keep their places.
//!
//! A place is reused when its value is gone, the lowest one first, and free places at the end are
//! given back. So what is left of a peak is one pointer for each place below the last value.

use super::allocator::allocated;
use super::room::GiveBack;

/// Values by their places.
#[derive(Debug, Clone)]
pub struct Slab<T> {
    /// The last one is taken.
    places: Vec<Option<Box<T>>>,
    /// A bit for each place that is free.
    free: Vec<u64>,
    free_count: usize,
    /// No word of `free` before this one has a bit.
    first_free: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), free_count: 0, first_free: 0 }
    }
}

impl<T> Slab<T> {
    /// The number of values.
    pub fn count(&self) -> usize {
        self.places.len().saturating_sub(self.free_count)
    }

    /// The number of places, free ones included.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The value at a place.
    pub fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_deref()
    }

    /// The value at a place, to be changed.
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_deref_mut()
    }

    /// All values, by their places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.from(0)
    }

    /// The values at this place and at later ones.
    pub fn from(&self, first: u64) -> impl Iterator<Item = (u32, &T)> {
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(self.places.len());
        let places = (first as u32..).zip(&self.places[first..]);
        places.filter_map(|(place, value)| Some((place, value.as_deref()?)))
    }

    /// All values, to be changed.
    #[cfg(any(test, feature = "test-hooks"))]
    pub fn values_mut(&mut self) -> std::iter::Flatten<std::slice::IterMut<'_, Option<Box<T>>>> {
        self.places.iter_mut().flatten()
    }

    /// All values, in the order of their places.
    pub fn into_values(self) -> impl Iterator<Item = Box<T>> {
        self.places.into_iter().flatten()
    }

    /// The place of the next value.
    pub fn next_place(&self) -> u32 {
        let free = self.free.iter().enumerate().skip(self.first_free).find(|(_, word)| **word != 0);
        free.map_or(self.places.len(), |(at, word)| at * 64 + word.trailing_zeros() as usize) as u32
    }

    /// Adds a value, and returns its place.
    pub fn insert(&mut self, value: Box<T>) -> u32 {
        let place = self.next_place();
        let at = place as usize;
        if at == self.places.len() {
            self.places.push(Some(value));
            self.free.resize(self.places.len().div_ceil(64), 0);
        } else {
            self.places[at] = Some(value);
            self.free[at / 64] &= !(1 << (at % 64));
            self.free_count -= 1;
        }
        self.first_free = at / 64;
        place
    }

    /// Puts another value at a place that is taken, and returns the earlier one.
    pub fn replace(&mut self, place: u32, value: Box<T>) -> Option<Box<T>> {
        self.places.get_mut(place as usize)?.as_mut().map(|known| std::mem::replace(known, value))
    }

    /// Takes a value out.
    pub fn remove(&mut self, place: u32) -> Option<Box<T>> {
        let at = place as usize;
        let value = self.places.get_mut(at)?.take()?;
        self.free[at / 64] |= 1 << (at % 64);
        self.free_count += 1;
        self.first_free = self.first_free.min(at / 64);
        while let Some(None) = self.places.last() {
            self.places.pop();
            let last = self.places.len();
            self.free[last / 64] &= !(1 << (last % 64));
            self.free_count -= 1;
        }
        self.free.truncate(self.places.len().div_ceil(64));
        self.places.give_back_room();
        self.free.give_back_room();
        Some(value)
    }

    /// Whether the free places are those without a value.
    pub fn is_sound(&self) -> bool {
        let is_free = |at: usize| self.free.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0);
        let counted: u32 = self.free.iter().map(|word| word.count_ones()).sum();
        counted as usize == self.free_count
            && !matches!(self.places.last(), Some(None))
            && self.places.iter().enumerate().all(|(at, value)| value.is_none() == is_free(at))
            && self.free.iter().take(self.first_free).all(|word| *word == 0)
    }

    /// Bytes allocated outside the struct itself, without the values.
    pub fn heap_bytes(&self) -> usize {
        allocated(self.places.capacity() * size_of::<Option<Box<T>>>())
            + allocated(self.free.capacity() * size_of::<u64>())
    }

    /// Counts a free place too many.
    #[cfg(any(test, feature = "test-hooks"))]
    pub fn break_free(&mut self) {
        self.free_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_slab_is_a_map_that_chooses_the_lowest_keys() {
        let (mut slab, mut naive) = (Slab::default(), BTreeMap::new());
        let mut seed = 7;
        for step in 0..20_000u64 {
            let random = crate::domain::algorithm::splitmix::next_random(&mut seed);
            // Grows, shrinks, and grows again.
            if random % 100 < if (step / 5_000) % 2 == 0 { 70 } else { 30 } {
                let lowest = (0..).find(|place| !naive.contains_key(place)).unwrap_or_default();
                assert_eq!(slab.insert(Box::new(step)), lowest);
                naive.insert(lowest, step);
            } else if let Some(place) = naive.keys().nth(random as usize % naive.len().max(1)).copied() {
                assert_eq!(slab.remove(place).map(|value| *value), naive.remove(&place));
                assert_eq!(slab.remove(place), None);
            }
            if step % 61 == 0 {
                assert!(slab.is_sound() && slab.count() == naive.len());
                assert!(slab.iter().eq(naive.iter().map(|(place, value)| (*place, value))));
            }
        }
    }

    #[test]
    fn an_empty_slab_has_no_places() {
        let mut slab = Slab::default();
        for n in 0..1000 {
            slab.insert(Box::new(n));
        }
        (0..999).for_each(|place| drop(slab.remove(place)));
        assert_eq!((slab.count(), slab.places()), (1, 1000));
        assert_eq!(slab.remove(999), Some(Box::new(999)));
        assert_eq!((slab.count(), slab.places()), (0, 0));
        assert!(slab.heap_bytes() < 512, "{}", slab.heap_bytes());
    }
}
