//! What a command or a round of the scheduler keeps for each of its keys.

use crate::command::host::Key;
use crate::domain::KeyId;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// Up to this many are searched one by one; there are hardly ever more.
const FEW: usize = 16;

/// Something that belongs to a key.
pub trait OfKey {
    /// Its key.
    fn key(&self) -> Key<'_>;
}

/// One element for each key, in the order in which they were added.
pub struct ByKey<T> {
    all: SmallVec<[T; 2]>,
    /// Where the elements after the first few are: an agent that dies may have held something in a
    /// hundred thousand keys.
    later: BTreeMap<KeyId, usize>,
}

impl<T> Default for ByKey<T> {
    fn default() -> Self {
        Self { all: SmallVec::new(), later: BTreeMap::new() }
    }
}

impl<T: OfKey> ByKey<T> {
    /// The last element that was added, and its index.
    #[inline]
    pub fn last(&self) -> Option<(usize, &T)> {
        self.all.last().map(|last| (self.all.len() - 1, last))
    }

    /// The index of a key's element.
    pub fn find(&self, key: Key) -> Option<usize> {
        let is_known = |known: Key| known.db == key.db && known.name == key.name;
        let found = self.all.iter().take(FEW).position(|one| is_known(one.key()));
        found.or_else(|| if self.later.is_empty() { None } else { self.later.get(&key.id()).copied() })
    }

    /// Adds an element and returns its index.
    pub fn push(&mut self, one: T) -> usize {
        let at = self.all.len();
        if at >= FEW {
            self.later.insert(one.key().id(), at);
        }
        self.all.push(one);
        at
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All elements.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter()
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> smallvec::IntoIter<[T; 2]> {
        self.later.clear();
        std::mem::take(&mut self.all).into_iter()
    }
}

impl<T> Index<usize> for ByKey<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.all[at]
    }
}

impl<T> IndexMut<usize> for ByKey<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.all[at]
    }
}
