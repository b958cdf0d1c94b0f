//! Trees that share structure beside the maps and lists of the standard library: random writes to
//! many clones, none of which may change when another one does.

use crate::driver::{run_all, History};
use crate::prng::Prng;
use ltmc::domain::algorithm::tree::{Measure, Tree};
use std::collections::BTreeMap;

/// The sum of all values, and the largest.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums(u64, u64);

impl<K> Measure<K, u64> for Sums {
    fn of(_key: &K, value: &u64) -> Self {
        Sums(*value, *value)
    }
    fn and(self, other: Self) -> Self {
        Sums(self.0 + other.0, self.1.max(other.1))
    }
    fn without(self, part: Self) -> Option<Self> {
        (part.1 < self.1).then(|| Sums(self.0 - part.0, self.1))
    }
}

fn sums<'a>(values: impl Iterator<Item = &'a u64>) -> Sums {
    values.fold(Sums::default(), |all, value| Sums(all.0 + value, all.1.max(*value)))
}

type Map = (Tree<u64, u64, Sums>, BTreeMap<u64, u64>);
type List = (Tree<(), u64, Sums>, Vec<u64>);

/// As many clones are kept.
const CLONES: usize = 6;

struct Trees {
    rng: Prng,
    maps: Vec<Map>,
    lists: Vec<List>,
    /// Keys and lengths stay below this, so that trees grow and shrink.
    end: u64,
}

impl Trees {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let end = *rng.pick(&[10, 60, 300, 3_000]);
        Self { rng, maps: vec![Map::default()], lists: vec![List::default()], end }
    }

    fn step(&mut self) {
        // A while of growing, then one of shrinking.
        let growing = if self.rng.percent(50) { 80 } else { 30 };
        for _ in 0..self.rng.below(self.end) {
            self.write_map(growing);
            self.write_list(growing);
        }
        if self.rng.percent(10) {
            self.build();
        }
        self.check();
        clone_one(&mut self.rng, &mut self.maps);
        clone_one(&mut self.rng, &mut self.lists);
    }

    fn write_map(&mut self, growing: u64) {
        let at = self.rng.below(self.maps.len() as u64) as usize;
        let (map, naive) = &mut self.maps[at];
        let (key, value) = (self.rng.below(self.end), self.rng.below(1000));
        if self.rng.percent(growing) {
            assert_eq!(map.set(key, value), naive.insert(key, value));
        } else {
            assert_eq!(map.take(&key), naive.remove(&key));
        }
        assert_eq!(map.value(&key), naive.get(&key));
    }

    fn write_list(&mut self, growing: u64) {
        let index = self.rng.below(self.lists.len() as u64) as usize;
        let (list, naive) = &mut self.lists[index];
        let (len, value) = (naive.len() as u64, self.rng.below(1000));
        let at = match self.rng.below(4) {
            0 => 0,
            1 => len as usize,
            _ => self.rng.below(len + 1) as usize,
        };
        if self.rng.percent(growing) && len < self.end {
            list.insert(at, (), value);
            naive.insert(at, value);
        } else if self.rng.percent(50) {
            let expected = naive.get_mut(at).map(|known| std::mem::replace(known, value));
            assert_eq!(list.change(at, |known| std::mem::replace(known, value)), expected);
        } else {
            let expected = (at < naive.len()).then(|| ((), naive.remove(at)));
            assert_eq!(list.remove(at), expected);
        }
    }

    /// One of the trees is built anew.
    fn build(&mut self) {
        let at = self.rng.below(self.maps.len() as u64) as usize;
        let (map, naive) = &mut self.maps[at];
        *map = Tree::of_ordered(naive.iter().map(|(key, value)| (*key, *value)).collect());
        let at = self.rng.below(self.lists.len() as u64) as usize;
        let (list, naive) = &mut self.lists[at];
        *list = Tree::of_ordered(naive.iter().map(|value| ((), *value)).collect());
    }

    fn check(&self) {
        for (map, naive) in &self.maps {
            assert!(map.is_sound() && map.len() == naive.len(), "{map:?} and not {naive:?}");
            assert!(map.iter().eq(naive.iter()), "{map:?} and not {naive:?}");
            assert_eq!(map.measure(), sums(naive.values()));
            let key = self.end / 2;
            assert_eq!(map.find(&key).unwrap_or_else(|at| at), naive.range(..key).count());
        }
        for (list, naive) in &self.lists {
            assert!(list.is_sound() && list.len() == naive.len(), "{list:?} and not {naive:?}");
            assert!(list.iter().map(|(_, value)| value).eq(naive), "{list:?} and not {naive:?}");
            assert_eq!(list.measure(), sums(naive.iter()));
            let at = naive.len() / 2;
            assert_eq!(list.get(at).map(|(_, value)| value), naive.get(at));
        }
        let (map, naive) = &self.maps[0];
        for (other, other_naive) in &self.maps {
            assert_eq!(map == other, naive == other_naive);
            assert_differences(map, naive, other, other_naive);
        }
        let (list, naive) = &self.lists[0];
        self.lists.iter().for_each(|(other, other_naive)| assert_eq!(list == other, naive == other_naive));
    }
}

fn assert_differences(
    one: &Tree<u64, u64, Sums>,
    naive: &BTreeMap<u64, u64>,
    other: &Tree<u64, u64, Sums>,
    other_naive: &BTreeMap<u64, u64>,
) {
    let mut patched = naive.clone();
    for (was, is) in one.differences(other) {
        match (was, is) {
            (was, Some((key, value))) => assert_eq!(patched.insert(*key, *value), was.map(|(_, value)| *value)),
            (Some((key, value)), None) => assert_eq!(patched.remove(key), Some(*value)),
            (None, None) => panic!("no difference"),
        }
    }
    assert_eq!(patched, *other_naive);
}

/// Clones one of several, which takes the place of another if there are many.
fn clone_one<T: Clone>(rng: &mut Prng, trees: &mut Vec<T>) {
    let clone = rng.pick(trees).clone();
    if trees.len() < CLONES {
        trees.push(clone);
    } else {
        let at = rng.below(CLONES as u64) as usize;
        trees[at] = clone;
    }
}

#[test]
fn trees_do_what_maps_and_lists_do_and_clones_do_not_change() {
    run_all(1_000, 40, |seed, steps| {
        let _shown = History::of(seed);
        let mut trees = Trees::new(seed);
        (0..steps).for_each(|_| trees.step());
    });
}
