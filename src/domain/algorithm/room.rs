//! Containers that give back room.
//!
//! The containers of the standard library grow by themselves and never shrink. Here a container
//! gives back half of its room, or more, when less than a quarter is in use, so it has to double
//! before it grows again: a size that swings does not make it grow and shrink in turn. Each time
//! moves at most a quarter of what the last growth moved, and only after as many removals.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// Room for this many elements is kept in any case.
const FEW: usize = 32;

/// A container that can give back room. To be called after something was taken out.
pub trait GiveBack {
    /// Gives back what it does not need, if that is most of it.
    fn give_back_room(&mut self);
}

impl<K: Eq + Hash, V, S: BuildHasher> GiveBack for HashMap<K, V, S> {
    fn give_back_room(&mut self) {
        // A table has a power of two of places, and this does nothing unless half of them will do.
        // `capacity` says less, since it leaves out the places of what was removed.
        self.shrink_to((2 * self.len()).max(FEW));
    }
}

impl<T: Eq + Hash, S: BuildHasher> GiveBack for HashSet<T, S> {
    fn give_back_room(&mut self) {
        self.shrink_to((2 * self.len()).max(FEW));
    }
}

impl<T> GiveBack for Vec<T> {
    fn give_back_room(&mut self) {
        if self.capacity() > FEW && self.len() < self.capacity() / 4 {
            self.shrink_to((2 * self.len()).max(FEW));
        }
    }
}

impl<T> GiveBack for VecDeque<T> {
    fn give_back_room(&mut self) {
        if self.capacity() > FEW && self.len() < self.capacity() / 4 {
            self.shrink_to((2 * self.len()).max(FEW));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahash::AHashMap;

    #[test]
    fn what_is_nearly_empty_gives_back_room() {
        let (mut map, mut set) = (AHashMap::new(), HashSet::new());
        let (mut list, mut queue) = (Vec::new(), VecDeque::new());
        for n in 0..100_000 {
            map.insert(n, n);
            set.insert(n);
            list.push(n);
            queue.push_back(n);
        }
        for n in 0..99_990 {
            map.remove(&n);
            set.remove(&n);
            list.pop();
            queue.pop_front();
            map.give_back_room();
            set.give_back_room();
            list.give_back_room();
            queue.give_back_room();
        }
        let room = [map.capacity(), set.capacity(), list.capacity(), queue.capacity()];
        assert!(room.iter().all(|room| (10..4 * FEW).contains(room)), "{room:?}");
        assert!((99_990..100_000).all(|n| map.contains_key(&n) && set.contains(&n) && queue.contains(&n)));
    }

    #[test]
    fn a_size_that_swings_moves_nothing() {
        let (mut map, mut list) = (AHashMap::new(), Vec::new());
        for n in 0..10_000 {
            map.insert(n, n);
            list.push(n);
        }
        let mut moves = 0;
        let mut room = (map.capacity(), list.capacity());
        for _ in 0..100 {
            for n in (5_000..10_000).rev() {
                map.remove(&n);
                list.pop();
                map.give_back_room();
                list.give_back_room();
            }
            for n in 5_000..10_000 {
                map.insert(n, n);
                list.push(n);
            }
            // Places of removed elements may not count, see above.
            let now = (map.capacity().next_power_of_two(), list.capacity());
            moves += usize::from(now.1 != room.1 || now.0 != room.0.next_power_of_two());
            room = (map.capacity(), list.capacity());
        }
        assert_eq!(moves, 0);
    }
}
