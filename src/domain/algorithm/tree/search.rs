//! The search for keys that are texts, which may be long and begin with the same bytes.

use super::node::{Child, Parts};
use super::Tree;
use std::cmp::Ordering;

/// The text that a search looks for, and how much of it the keys around its place begin with: what
/// both begin with, all keys between them do, and it is not compared again (Manber and Myers,
/// "Suffix Arrays", 1993).
struct Search<'a> {
    text: &'a [u8],
    below: usize,
    above: usize,
}

impl Search<'_> {
    /// The place of the text among keys.
    fn among<K: AsRef<[u8]>, T>(&mut self, parts: &[T], key_of: impl Fn(&T) -> &K) -> Result<usize, usize> {
        let (mut from, mut to) = (0, parts.len());
        while from < to {
            let at = from + (to - from) / 2;
            let key = key_of(&parts[at]).as_ref();
            let known = self.below.min(self.above);
            let common = known + common_beginning(&key[known..], &self.text[known..]);
            // Of two texts, the one that ends there comes first.
            match key.get(common).cmp(&self.text.get(common)) {
                Ordering::Equal => return Ok(at),
                Ordering::Less => (from, self.below) = (at + 1, common),
                Ordering::Greater => (to, self.above) = (at, common),
            }
        }
        Err(from)
    }

    /// The child that holds the text, if any does.
    fn child<K: AsRef<[u8]>, V, M>(&mut self, children: &[Child<K, V, M>]) -> usize {
        self.among(children, |child| &child.first).unwrap_or_else(|at| at.saturating_sub(1))
    }
}

/// With how many equal bytes two texts begin.
fn common_beginning(one: &[u8], other: &[u8]) -> usize {
    const AT_ONCE: usize = 32;
    let chunks = one.chunks_exact(AT_ONCE).zip(other.chunks_exact(AT_ONCE));
    let equal = AT_ONCE * chunks.take_while(|(one, other)| one == other).count();
    equal + one[equal..].iter().zip(&other[equal..]).take_while(|(one, other)| one == other).count()
}

impl<K: AsRef<[u8]>, V, M> Tree<K, V, M> {
    /// The value of a key that is a text.
    pub fn value_of_text(&self, text: &[u8]) -> Option<&V> {
        let (mut node, mut search) = (self.root.as_ref()?, Search { text, below: 0, above: 0 });
        loop {
            match &node.parts {
                Parts::Leaf(entries) => {
                    let at = search.among(entries, |(key, _)| key).ok()?;
                    return Some(&entries[at].1);
                }
                Parts::Branch(children) => node = &children[search.child(children)].node,
            }
        }
    }

    /// The position of a key that is a text, or the one at which to insert it. As
    /// [`find`](Tree::find), and fast where long keys begin with the same.
    pub fn find_text(&self, text: &[u8]) -> Result<usize, usize> {
        let (mut node, mut before) = (self.root.as_ref().ok_or(0usize)?, 0);
        let mut search = Search { text, below: 0, above: 0 };
        loop {
            match &node.parts {
                Parts::Leaf(entries) => {
                    let found = search.among(entries, |(key, _)| key);
                    return found.map(|at| before + at).map_err(|at| before + at);
                }
                Parts::Branch(children) => {
                    let index = search.child(children);
                    before += children[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &children[index].node;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_where_any_key_is() {
        let text = |n: usize| format!("{}{}", "x".repeat(n % 3 * 40), n * n % 1009).into_bytes();
        for count in [0, 1, 2, 40, 3000] {
            let mut tree: Tree<Vec<u8>, usize> = Tree::default();
            for n in 0..count {
                tree.set(text(n), n);
            }
            for n in 0..2 * count + 10 {
                for key in [text(n), format!("{}x", "x".repeat(n)).into_bytes(), text(n)[..text(n).len() / 2].into()] {
                    let found = (tree.find_text(&key), tree.value_of_text(&key));
                    assert_eq!(found, (tree.find(&key), tree.value(&key)), "{}", String::from_utf8_lossy(&key));
                }
            }
        }
    }
}
