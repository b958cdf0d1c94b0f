use super::*;

/// The sum of the values, and the largest of them.
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

type Map = Tree<u64, u64, Sums>;
type List = Tree<(), u64, Sums>;

fn map(keys: impl IntoIterator<Item = u64>) -> Map {
    Tree::of_ordered(keys.into_iter().map(|key| (key, 10 * key)).collect())
}

fn list(values: impl IntoIterator<Item = u64>) -> List {
    Tree::of_ordered(values.into_iter().map(|value| ((), value)).collect())
}

/// The nodes of a tree that are not in another one.
fn own_nodes<K, V, M>(tree: &Tree<K, V, M>, other: &Tree<K, V, M>) -> usize {
    fn nodes<K, V, M>(node: &Arc<Node<K, V, M>>, found: &mut Vec<*const Node<K, V, M>>) {
        found.push(Arc::as_ptr(node));
        if let Parts::Branch(children) = &node.parts {
            children.iter().for_each(|child| nodes(&child.node, found));
        }
    }
    let (mut own, mut others) = (Vec::new(), Vec::new());
    tree.root.iter().for_each(|root| nodes(root, &mut own));
    other.root.iter().for_each(|root| nodes(root, &mut others));
    own.iter().filter(|node| !others.contains(node)).count()
}

#[test]
fn trees_of_every_size_are_built_in_order() {
    for count in (0..200).chain([1000, 1024, 1025, 5000, 40_000]) {
        let map = map((0..count).map(|n| 2 * n));
        assert!(map.is_sound() && map.len() == count as usize, "{count}");
        assert!(map.iter().map(|(key, _)| *key).eq((0..count).map(|n| 2 * n)), "{count}");
        assert_eq!(map.iter().len(), count as usize);
        assert_eq!(map.measure().0, 10 * count * count.saturating_sub(1));
        for key in (0..count).step_by(7) {
            let at = key as usize;
            assert_eq!((map.find(&(2 * key)), map.find(&(2 * key + 1))), (Ok(at), Err(at + 1)));
            assert_eq!((map.value(&(2 * key)), map.value(&(2 * key + 1))), (Some(&(20 * key)), None));
            assert_eq!(map.get(at), Some((&(2 * key), &(20 * key))));
        }
        assert_eq!(map.get(count as usize), None);
    }
}

#[test]
fn a_map_grows_and_shrinks_anywhere() {
    let mut map = Map::default();
    // 7919 is prime, so each key comes once.
    for n in 0..5000 {
        assert_eq!(map.set(n * 7919 % 5000, n), None);
    }
    assert!(map.is_sound() && map.iter().map(|(key, _)| *key).eq(0..5000));
    assert_eq!((map.set(7919 % 5000, 5), map.set(7919 % 5000, 6)), (Some(1), Some(5)));
    for n in 0..5000 {
        assert!(map.take(&(n * 7919 % 5000)).is_some());
        assert!(n % 100 != 0 || map.is_sound(), "{n} were removed");
    }
    assert!(map.is_empty() && map.take(&1).is_none() && map.remove(0).is_none());
}

#[test]
fn a_list_is_changed_at_positions() {
    let mut list = List::default();
    (0..2000).for_each(|n| list.insert(0, (), n));
    (2000..4000).for_each(|n| list.insert(list.len(), (), n));
    list.insert(2000, (), 7);
    assert!(list.is_sound());
    assert!(list.iter().map(|(_, value)| *value).eq((0..2000).rev().chain([7]).chain(2000..4000)));
    assert_eq!(list.change(2000, |value| std::mem::replace(value, 8)), Some(7));
    assert_eq!((list.change(4001, |_| ()), list.remove(4001)), (None, None));
    assert_eq!(list.remove(2000), Some(((), 8)));
    assert!(list.is_sound() && list.measure() == Sums(4000 * 3999 / 2, 3999));
}

#[test]
fn the_largest_value_is_known_when_it_goes() {
    let mut list = list(0..1000);
    assert_eq!(list.remove(999), Some(((), 999)));
    assert_eq!(list.measure(), Sums(999 * 998 / 2, 998));
    list.change(0, |value| *value = 5000);
    list.change(0, |value| *value = 1);
    assert!(list.is_sound() && list.measure() == Sums(999 * 998 / 2 + 1, 998));
}

#[test]
fn a_write_beside_a_clone_copies_only_its_path() {
    let before = map(0..100_000);
    for write in
        [|map: &mut Map| map.set(50_000, 1), |map: &mut Map| map.set(1_000_000, 1), |map: &mut Map| map.take(&70_000)]
    {
        let mut map = before.clone();
        write(&mut map);
        // A full leaf is split, and so may be all above it.
        assert!(own_nodes(&map, &before) <= 8, "{}", own_nodes(&map, &before));
        assert!(map.is_sound() && before.is_sound() && before.len() == 100_000);
        let again = map.clone();
        write(&mut map);
        assert!(again.is_sound());
    }
}

#[test]
fn what_is_shared_is_not_looked_at() {
    let before = map(0..100_000);
    let mut after = before.clone();
    after.set(10, 1);
    after.set(200_000, 2);
    after.take(&50_000);
    assert_eq!(before.differences(&before.clone()).count(), 0);
    let seen: Vec<_> = before.differences(&after).collect();
    assert!(seen.len() < 8 * WIDTH, "{}", seen.len());
    let differs = |(one, other): &Pair<u64, u64>| one.map(|one| one.1) != other.map(|other| other.1);
    let seen: Vec<_> = seen.into_iter().filter(differs).collect();
    assert_eq!(
        seen,
        [(Some(&(10, 100)), Some(&(10, 1))), (Some(&(50_000, 500_000)), None), (None, Some(&(200_000, 2)))]
    );
}

#[test]
fn equal_trees_of_other_shapes_are_equal() {
    let built = map(0..3000);
    let mut grown = Map::default();
    (0..3000).rev().for_each(|key| assert_eq!(grown.set(key, 10 * key), None));
    assert!(built == grown && built.measure() == grown.measure());
    grown.set(1500, 1);
    assert!(built != grown && built != map(0..2999) && map([]) == Map::default());
    assert!(list([1, 2, 3]) != list([1, 3, 2]) && list([1]) != list([1, 1]));
}

#[test]
fn a_broken_measure_is_noticed() {
    let mut map = map(0..100);
    map.break_measure(Sums(1, 0));
    assert!(!map.is_sound());
}

#[test]
fn a_list_gives_back_the_room_of_what_was_removed() {
    let mut list = list(0..10_000);
    (4..10_000).rev().for_each(|at| assert!(list.remove(at).is_some()));
    match list.root.as_ref().map(|root| &root.parts) {
        Some(Parts::Leaf(entries)) => assert!(entries.len() == 4 && entries.capacity() <= 16, "{}", entries.capacity()),
        _ => panic!("a leaf"),
    }
}
