//! A list that nearly always has one element, which then costs no allocation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::ops::Deref;

/// A list that is saved like any other.
#[derive(Debug, Clone, PartialEq)]
pub struct InlineList<T>(SmallVec<[T; 1]>);

impl<T> InlineList<T> {
    /// An empty list with room for this many elements.
    pub fn with_room(elements: usize) -> Self {
        Self(SmallVec::with_capacity(elements))
    }

    /// Adds an element at the end.
    pub fn push(&mut self, element: T) {
        self.0.push(element);
    }

    /// Bytes allocated outside the struct itself, without what the elements hold. Equal
    /// lists have the same.
    pub fn heap_bytes(&self) -> usize {
        if self.len() > 1 {
            self.len() * size_of::<T>()
        } else {
            0
        }
    }
}

impl<T> Default for InlineList<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T> Deref for InlineList<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> FromIterator<T> for InlineList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

impl<T> IntoIterator for InlineList<T> {
    type Item = T;
    type IntoIter = smallvec::IntoIter<[T; 1]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Serialize> Serialize for InlineList<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0[..].serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for InlineList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A vector does not trust an announced length.
        Vec::deserialize(deserializer).map(|elements| elements.into_iter().collect())
    }
}
