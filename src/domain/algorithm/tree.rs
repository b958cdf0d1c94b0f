//! A map and a list whose copies share what is the same.
//!
//! A [`Tree`] holds entries in an order: as a map by their keys, as a list (with `()` for a key) by
//! their positions. To clone one costs nothing. A write to a clone copies the nodes on the way to
//! its place and shares all others; a write to a tree that nobody shares copies nothing.
//!
//! It is a B+tree (Bayer and McCreight, "Organization and Maintenance of Large Ordered Indices",
//! 1972; the variant with all entries in the leaves is in Comer, "The Ubiquitous B-Tree", 1979).
//! Each node but the root is at least half full. A full node is split on the way down to an
//! insertion (Cormen et al., "Introduction to Algorithms", 18.2); a node that a removal leaves less
//! than half full is joined with its neighbour, and both are split evenly if that is too much for
//! one. Copies of the path make it persistent (Driscoll, Sarnak, Sleator and Tarjan, "Making Data
//! Structures Persistent", 1989). Branches count what is below them, so that a position is found as
//! fast as a key, and each node knows what a [`Measure`] says of all that is in it (Hinze and
//! Paterson, "Finger Trees", 2006).

mod differences;
mod iter;
mod measure;
mod node;
mod search;
#[cfg(test)]
mod tests;

pub use differences::{Differences, Pair};
pub use iter::Iter;
pub use measure::Measure;

use super::allocator::allocated;
use super::looks::looked;
use node::{child_at, child_of, nodes_of, Child, Node, Parts, WIDTH};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// About how many entries a leaf has room for, and uses.
const USUAL_WIDTH: usize = 28;

/// Entries in an order, see [above](self).
pub struct Tree<K, V, M = ()> {
    /// `None` if there are no entries.
    root: Option<Arc<Node<K, V, M>>>,
}

impl<K, V, M> Tree<K, V, M> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.parts.count())
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V, M> {
        Iter::new(self.root.as_deref())
    }

    /// What differs from another tree. What both share is not looked at.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Differences<'a, K, V, M> {
        Differences::new(self.root.as_ref(), other.root.as_ref())
    }

    /// The entry at a position.
    pub fn get(&self, mut at: usize) -> Option<(&K, &V)> {
        let mut node = self.root.as_ref().filter(|root| at < root.parts.count())?;
        looked(1);
        loop {
            match &node.parts {
                Parts::Leaf(entries) => return entries.get(at).map(|(key, value)| (key, value)),
                Parts::Branch(children) => {
                    let (index, inside) = child_at(children, at, false);
                    (node, at) = (&children[index].node, inside);
                }
            }
        }
    }

    /// The position of a key, or the one at which to insert it.
    pub fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        let (mut node, mut before) = (self.root.as_ref().ok_or(0usize)?, 0);
        looked(1);
        loop {
            match &node.parts {
                Parts::Leaf(entries) => {
                    let found = entries.binary_search_by(|(known, _)| known.borrow().cmp(key));
                    return found.map(|at| before + at).map_err(|at| before + at);
                }
                Parts::Branch(children) => {
                    let index = child_of(children, key);
                    before += children[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &children[index].node;
                }
            }
        }
    }

    /// The value of a key.
    pub fn value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_ref()?;
        looked(1);
        loop {
            match &node.parts {
                Parts::Leaf(entries) => {
                    let at = entries.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
                    return Some(&entries[at].1);
                }
                Parts::Branch(children) => node = &children[child_of(children, key)].node,
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone, M: Measure<K, V>> Tree<K, V, M> {
    /// Of entries that are in order, each key once.
    pub fn of_ordered(entries: Vec<(K, V)>) -> Self {
        looked(entries.len());
        let mut level = nodes_of(entries, Parts::Leaf);
        while level.len() > 1 {
            level = nodes_of(level, Parts::Branch);
        }
        Self { root: level.pop().map(|root| root.node) }
    }

    /// The measure of all entries.
    pub fn measure(&self) -> M {
        self.root.as_ref().map_or_else(M::default, |root| root.measure)
    }

    /// Inserts an entry before the one at a position, or at the end.
    ///
    /// # Panics
    ///
    /// Beyond the end.
    pub fn insert(&mut self, at: usize, key: K, value: V) {
        assert!(at <= self.len(), "{at} is beyond the end");
        looked(1);
        let Some(root) = &mut self.root else {
            *self = Self::of_ordered(vec![(key, value)]);
            return;
        };
        let measure = M::of(&key, &value);
        if let Some(next) = Arc::make_mut(root).insert(at, (key, value), measure) {
            let halves = vec![Child::of(root.clone()), next];
            *root = Arc::new(Node::new(Parts::Branch(halves)));
        }
    }

    /// Removes the entry at a position.
    pub fn remove(&mut self, at: usize) -> Option<(K, V)> {
        let root = self.root.as_mut().filter(|root| at < root.parts.count())?;
        looked(1);
        let (entry, _) = Arc::make_mut(root).remove(at);
        match &root.parts {
            Parts::Leaf(entries) if entries.is_empty() => self.root = None,
            Parts::Branch(children) if children.len() == 1 => *root = children[0].node.clone(),
            _ => {}
        }
        Some(entry)
    }

    /// Changes the value at a position, and returns what `change` returns.
    pub fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let root = self.root.as_mut().filter(|root| at < root.parts.count())?;
        looked(1);
        Some(Arc::make_mut(root).change(at, change).0)
    }

    /// Sets the value of a key. Returns the one that it had.
    pub fn set(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.change(at, |known| std::mem::replace(known, value)),
            Err(at) => {
                self.insert(at, key, value);
                None
            }
        }
    }

    /// Removes a key. Returns its value.
    pub fn take<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        self.remove(at).map(|(_, value)| value)
    }

    /// Whether the order, the balance, the counts and the measures are right.
    pub fn is_sound(&self) -> bool
    where
        M: PartialEq,
    {
        self.root.as_ref().is_none_or(|root| root.is_sound(true, root.height()))
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl<K: Clone, V: Clone, M: Measure<K, V>> Tree<K, V, M> {
    /// Breaks the measure: says that there is more.
    pub fn break_measure(&mut self, more: M) {
        if let Some(root) = self.root.as_mut().map(Arc::make_mut) {
            root.measure = root.measure.and(more);
        }
    }
}

/// Bytes allocated for a tree of this many entries, without what they point to and with a measure
/// of this size. It does not depend on the shape: nodes that are built are full, others are two
/// thirds full on average, and this lies between.
pub const fn room_for<K, V, M>(count: usize) -> usize {
    const COUNTS_BYTES: usize = 2 * size_of::<usize>();
    let node = allocated(COUNTS_BYTES + size_of::<Node<K, V, M>>());
    let entry = size_of::<(K, V)>();
    if count <= WIDTH {
        return if count == 0 { 0 } else { node + allocated(count * entry) };
    }
    // In a tree of many nodes, each of them and what it needs in a branch.
    let nodes = count.div_ceil(USUAL_WIDTH);
    nodes * (node + allocated(USUAL_WIDTH * entry) + size_of::<Child<K, V, M>>())
}

impl<K, V, M> Default for Tree<K, V, M> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<K, V, M> Clone for Tree<K, V, M> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K: Ord, V: PartialEq, M> PartialEq for Tree<K, V, M> {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): Pair<K, V>| one.zip(other).is_some_and(|(one, other)| one.1 == other.1);
        self.len() == other.len() && self.differences(other).all(is_same)
    }
}

impl<K: fmt::Debug, V: fmt::Debug, M> fmt::Debug for Tree<K, V, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a, K, V, M> IntoIterator for &'a Tree<K, V, M> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V, M>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
