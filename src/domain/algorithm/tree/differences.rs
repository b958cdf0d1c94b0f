//! What differs in two trees.

use super::super::looks::looked;
use super::node::{Node, Parts};
use std::cmp::Ordering;
use std::sync::Arc;

/// An entry of one tree and the one with the same key of the other, if there are such. They may
/// be equal.
pub type Pair<'a, K, V> = (Option<&'a (K, V)>, Option<&'a (K, V)>);

/// The entries of two trees side by side, without the nodes that both share. The entries of lists
/// stand side by side if they have one position.
pub struct Differences<'a, K, V, M> {
    one: Way<'a, K, V, M>,
    other: Way<'a, K, V, M>,
}

/// What is ahead in one of the trees, the next one last.
struct Way<'a, K, V, M>(Vec<Ahead<'a, K, V, M>>);

enum Ahead<'a, K, V, M> {
    Node(&'a Arc<Node<K, V, M>>),
    Entry(&'a (K, V)),
}

impl<K, V, M> Clone for Ahead<'_, K, V, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, M> Copy for Ahead<'_, K, V, M> {}

impl<'a, K, V, M> Way<'a, K, V, M> {
    fn next(&self) -> Option<Ahead<'a, K, V, M>> {
        self.0.last().copied()
    }

    fn skip(&mut self) {
        self.0.pop();
    }

    /// Goes into a node that is next.
    fn enter(&mut self, node: &'a Node<K, V, M>) {
        self.0.pop();
        match &node.parts {
            Parts::Leaf(entries) => self.0.extend(entries.iter().rev().map(Ahead::Entry)),
            Parts::Branch(children) => self.0.extend(children.iter().rev().map(|child| Ahead::Node(&child.node))),
        }
    }
}

impl<'a, K, V, M> Differences<'a, K, V, M> {
    pub(super) fn new(one: Option<&'a Arc<Node<K, V, M>>>, other: Option<&'a Arc<Node<K, V, M>>>) -> Self {
        let way = |root: Option<&'a _>| Way(root.map(Ahead::Node).into_iter().collect());
        Self { one: way(one), other: way(other) }
    }

    /// Passes two nodes that are next: both if they are one, or into the higher one.
    fn pass(&mut self, one: &'a Arc<Node<K, V, M>>, other: &'a Arc<Node<K, V, M>>) {
        if Arc::ptr_eq(one, other) {
            self.one.skip();
            return self.other.skip();
        }
        let (height, other_height) = (one.height(), other.height());
        if height >= other_height {
            self.one.enter(one);
        }
        if other_height >= height {
            self.other.enter(other);
        }
    }
}

impl<'a, K: Ord, V, M> Iterator for Differences<'a, K, V, M> {
    type Item = Pair<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        use Ahead::{Entry, Node};
        loop {
            let order = match (self.one.next(), self.other.next()) {
                (None, None) => return None,
                (Some(Node(one)), Some(Node(other))) => {
                    self.pass(one, other);
                    continue;
                }
                // What comes before a node is not in it.
                (Some(Entry(one)), Some(Node(other))) if one.0 < *other.parts.first() => Ordering::Less,
                (Some(Node(one)), Some(Entry(other))) if other.0 < *one.parts.first() => Ordering::Greater,
                (Some(Node(one)), _) => {
                    self.one.enter(one);
                    continue;
                }
                (_, Some(Node(other))) => {
                    self.other.enter(other);
                    continue;
                }
                (Some(Entry(one)), Some(Entry(other))) => one.0.cmp(&other.0),
                (Some(Entry(_)), None) => Ordering::Less,
                (None, Some(Entry(_))) => Ordering::Greater,
            };
            let entry = |way: &mut Way<'a, K, V, M>| match way.0.pop() {
                Some(Entry(entry)) => Some(entry),
                _ => None,
            };
            looked(1);
            return Some(match order {
                Ordering::Less => (entry(&mut self.one), None),
                Ordering::Greater => (None, entry(&mut self.other)),
                Ordering::Equal => (entry(&mut self.one), entry(&mut self.other)),
            });
        }
    }
}
