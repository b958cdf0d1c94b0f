//! Walks along a tree.

use super::super::looks::looked;
use super::node::{Child, Node, Parts};
use std::slice;

/// The entries of a tree, in order.
pub struct Iter<'a, K, V, M> {
    /// What is still to come on each level, the highest first.
    branches: Vec<slice::Iter<'a, Child<K, V, M>>>,
    leaf: slice::Iter<'a, (K, V)>,
    left: usize,
}

impl<'a, K, V, M> Iter<'a, K, V, M> {
    pub(super) fn new(root: Option<&'a Node<K, V, M>>) -> Self {
        let mut iter = Self { branches: Vec::new(), leaf: [].iter(), left: 0 };
        if let Some(root) = root {
            iter.left = root.parts.count();
            iter.enter(root);
        }
        iter
    }

    fn enter(&mut self, node: &'a Node<K, V, M>) {
        match &node.parts {
            Parts::Leaf(entries) => self.leaf = entries.iter(),
            Parts::Branch(children) => self.branches.push(children.iter()),
        }
    }
}

impl<'a, K, V, M> Iterator for Iter<'a, K, V, M> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                self.left -= 1;
                looked(1);
                return Some((key, value));
            }
            match self.branches.last_mut()?.next() {
                Some(child) => self.enter(&child.node),
                None => drop(self.branches.pop()),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V, M> ExactSizeIterator for Iter<'_, K, V, M> {}
