//! The nodes of trees: leaves, which have the entries, and branches.

use super::super::looks::{looked, looked_at_parts};
use super::measure::Measure;
use std::borrow::Borrow;
use std::sync::Arc;

/// Most entries of a leaf, and most children of a branch.
pub(super) const WIDTH: usize = 32;
/// As many parts are copied in one look.
const PARTS_OF_LOOK: usize = 8;
/// A node with fewer parts is joined with its neighbour.
const LEAST: usize = WIDTH / 2;

/// A part of a tree.
pub(super) struct Node<K, V, M> {
    pub(super) measure: M,
    pub(super) parts: Parts<K, V, M>,
}

/// A node is copied when a tree that shares it is written to.
impl<K: Clone, V: Clone, M: Copy> Clone for Node<K, V, M> {
    fn clone(&self) -> Self {
        looked(1);
        looked_at_parts(self.parts.width(), PARTS_OF_LOOK);
        Self { measure: self.measure, parts: self.parts.clone() }
    }
}

/// What a node consists of, in order.
#[derive(Clone)]
pub(super) enum Parts<K, V, M> {
    Leaf(Vec<(K, V)>),
    Branch(Vec<Child<K, V, M>>),
}

/// A node below a branch, with what a search has to know of it.
pub(super) struct Child<K, V, M> {
    /// The first key in it.
    pub(super) first: K,
    /// The number of entries in it.
    pub(super) count: usize,
    pub(super) node: Arc<Node<K, V, M>>,
}

impl<K: Clone, V, M> Child<K, V, M> {
    pub(super) fn of(node: Arc<Node<K, V, M>>) -> Self {
        Self { first: node.parts.first().clone(), count: node.parts.count(), node }
    }
}

impl<K: Clone, V, M> Clone for Child<K, V, M> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), count: self.count, node: self.node.clone() }
    }
}

impl<K, V, M> Parts<K, V, M> {
    pub(super) fn width(&self) -> usize {
        match self {
            Parts::Leaf(entries) => entries.len(),
            Parts::Branch(children) => children.len(),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Parts::Leaf(entries) => entries.len(),
            Parts::Branch(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// The first key.
    pub(super) fn first(&self) -> &K {
        match self {
            Parts::Leaf(entries) => &entries[0].0,
            Parts::Branch(children) => &children[0].first,
        }
    }

    /// Moves everything from `at` on into parts of their own. None of the two has spare room.
    fn split_off(&mut self, at: usize) -> Self {
        match self {
            Parts::Leaf(entries) => {
                let rest = entries.split_off(at);
                entries.shrink_to_fit();
                Parts::Leaf(rest)
            }
            Parts::Branch(children) => {
                let rest = children.split_off(at);
                children.shrink_to_fit();
                Parts::Branch(rest)
            }
        }
    }
}

/// The child that holds the entry at a position, and its position there. What is behind the last
/// entry of a child belongs to that child if `is_end` says so, which is where it would be inserted.
pub(super) fn child_at<K, V, M>(children: &[Child<K, V, M>], mut at: usize, is_end: bool) -> (usize, usize) {
    let mut index = 0;
    while at > children[index].count || (at == children[index].count && !is_end) {
        at -= children[index].count;
        index += 1;
    }
    (index, at)
}

/// The child that holds a key, if any does.
pub(super) fn child_of<K: Borrow<Q>, V, M, Q: Ord + ?Sized>(children: &[Child<K, V, M>], key: &Q) -> usize {
    children.partition_point(|child| child.first.borrow() <= key).saturating_sub(1)
}

impl<K: Ord + Clone, V: Clone, M: Measure<K, V>> Node<K, V, M> {
    pub(super) fn new(parts: Parts<K, V, M>) -> Self {
        let mut node = Self { measure: M::default(), parts };
        node.measure = node.measured();
        node
    }

    /// The measure of all that is in it.
    fn measured(&self) -> M {
        match &self.parts {
            Parts::Leaf(entries) => entries.iter().fold(M::default(), |all, (key, value)| all.and(M::of(key, value))),
            Parts::Branch(children) => children.iter().fold(M::default(), |all, child| all.and(child.node.measure)),
        }
    }

    /// An entry of this measure was removed from it, and one of that measure was added.
    fn measure_again(&mut self, removed: M, added: M) {
        let rest = self.measure.without(removed);
        self.measure = rest.map_or_else(|| self.measured(), |rest| rest.and(added));
    }

    /// Makes a node of its parts from `at` on.
    fn split_off(&mut self, at: usize) -> Child<K, V, M> {
        let rest = Self::new(self.parts.split_off(at));
        self.measure = self.measured();
        Child::of(Arc::new(rest))
    }

    /// Inserts an entry of this measure. Returns the second half if it has to be split.
    pub(super) fn insert(&mut self, at: usize, entry: (K, V), measure: M) -> Option<Child<K, V, M>> {
        if self.parts.width() < WIDTH {
            self.insert_within(at, entry, measure);
            return None;
        }
        let mut rest = self.split_off(WIDTH / 2);
        let count = self.parts.count();
        if at <= count {
            self.insert_within(at, entry, measure);
        } else {
            rest.count += 1;
            Arc::make_mut(&mut rest.node).insert_within(at - count, entry, measure);
        }
        Some(rest)
    }

    /// Inserts an entry. There is room for another part.
    fn insert_within(&mut self, at: usize, entry: (K, V), measure: M) {
        self.measure = self.measure.and(measure);
        match &mut self.parts {
            Parts::Leaf(entries) => entries.insert(at, entry),
            Parts::Branch(children) => {
                let (index, at) = child_at(children, at, true);
                let child = &mut children[index];
                if at == 0 {
                    child.first = entry.0.clone();
                }
                child.count += 1;
                if let Some(next) = Arc::make_mut(&mut child.node).insert(at, entry, measure) {
                    child.count -= next.count;
                    children.insert(index + 1, next);
                }
            }
        }
    }

    /// Removes an entry. Also returns its measure.
    pub(super) fn remove(&mut self, at: usize) -> ((K, V), M) {
        let (entry, measure) = match &mut self.parts {
            Parts::Leaf(entries) => {
                let entry = entries.remove(at);
                // Only the root can be that empty.
                if entries.len() < entries.capacity() / 4 {
                    entries.shrink_to_fit();
                }
                let measure = M::of(&entry.0, &entry.1);
                (entry, measure)
            }
            Parts::Branch(children) => {
                let (index, at) = child_at(children, at, false);
                let child = &mut children[index];
                let removed = Arc::make_mut(&mut child.node).remove(at);
                child.count -= 1;
                if at == 0 {
                    child.first = child.node.parts.first().clone();
                }
                if child.node.parts.width() < LEAST {
                    join(children, index);
                }
                removed
            }
        };
        self.measure_again(measure, M::default());
        (entry, measure)
    }

    /// Changes a value. Also returns the measure of the entry before and after that.
    pub(super) fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut V) -> R) -> (R, M, M) {
        let (result, before, after) = match &mut self.parts {
            Parts::Leaf(entries) => {
                let (key, value) = &mut entries[at];
                let before = M::of(key, value);
                let result = change(value);
                (result, before, M::of(key, value))
            }
            Parts::Branch(children) => {
                let (index, at) = child_at(children, at, false);
                Arc::make_mut(&mut children[index].node).change(at, change)
            }
        };
        self.measure_again(before, after);
        (result, before, after)
    }

    /// Adds everything in the next node.
    fn append(&mut self, next: Self) {
        self.measure = self.measure.and(next.measure);
        match (&mut self.parts, next.parts) {
            (Parts::Leaf(entries), Parts::Leaf(more)) => entries.extend(more),
            (Parts::Branch(children), Parts::Branch(more)) => children.extend(more),
            _ => unreachable!("all leaves of a tree are on one level"),
        }
    }

    /// Whether it is what it should be, as a root or as a child.
    pub(super) fn is_sound(&self, is_root: bool, height: usize) -> bool
    where
        M: PartialEq,
    {
        let least = match (&self.parts, is_root) {
            (_, false) => LEAST,
            (Parts::Leaf(_), true) => 1,
            (Parts::Branch(_), true) => 2,
        };
        let are_parts_sound = match &self.parts {
            Parts::Leaf(entries) => height == 0 && entries.is_sorted_by(|one, next| one.0 <= next.0),
            Parts::Branch(children) => {
                let is_child_sound = |child: &Child<K, V, M>| {
                    let parts = &child.node.parts;
                    child.node.is_sound(false, height - 1)
                        && child.count == parts.count()
                        && child.first == *parts.first()
                };
                let is_in_order = children.is_sorted_by(|one, next| one.first <= next.first);
                height > 0 && is_in_order && children.iter().all(is_child_sound)
            }
        };
        (least..=WIDTH).contains(&self.parts.width()) && are_parts_sound && self.measure == self.measured()
    }
}

impl<K, V, M> Node<K, V, M> {
    /// The number of branches above a leaf.
    pub(super) fn height(&self) -> usize {
        match &self.parts {
            Parts::Leaf(_) => 0,
            Parts::Branch(children) => 1 + children[0].node.height(),
        }
    }
}

/// Joins a child that is less than half full with a neighbour.
fn join<K: Ord + Clone, V: Clone, M: Measure<K, V>>(children: &mut Vec<Child<K, V, M>>, index: usize) {
    let left = if index + 1 < children.len() { index } else { index - 1 };
    let next = children.remove(left + 1);
    let child = &mut children[left];
    let node = Arc::make_mut(&mut child.node);
    node.append(Arc::unwrap_or_clone(next.node));
    child.count += next.count;
    let width = node.parts.width();
    if width > WIDTH {
        let rest = node.split_off(width / 2);
        child.count -= rest.count;
        children.insert(left + 1, rest);
    }
}

/// As few nodes as hold these parts, equally full.
pub(super) fn nodes_of<K: Ord + Clone, V: Clone, M: Measure<K, V>, P>(
    parts: Vec<P>,
    as_parts: fn(Vec<P>) -> Parts<K, V, M>,
) -> Vec<Child<K, V, M>> {
    let (count, nodes) = (parts.len(), parts.len().div_ceil(WIDTH));
    let mut parts = parts.into_iter();
    let width = |n: usize| count * (n + 1) / nodes - count * n / nodes;
    let mut node = |n| Node::new(as_parts(parts.by_ref().take(width(n)).collect()));
    (0..nodes).map(|n| Child::of(Arc::new(node(n)))).collect()
}
