//! What a node remembers of the newest grants and incarnations, beside their keys.

use crate::domain::Fence;
use std::collections::BTreeMap;

/// How many are remembered, the newest first.
const RECENT_MAX: usize = 1024;

/// Something known of recent fences. What is over is forgotten when there is no room for what is
/// newer.
#[derive(Debug)]
pub struct Recent<T>(BTreeMap<Fence, T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Recent<T> {
    /// What is known of a fence, if it is remembered.
    #[inline]
    pub fn get(&self, fence: Fence) -> Option<&T> {
        self.0.get(&fence)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, fence: Fence) -> Option<&mut T> {
        self.0.get_mut(&fence)
    }

    /// Remembers a fence.
    pub fn insert(&mut self, fence: Fence, known: T) {
        self.0.insert(fence, known);
        if self.0.len() > RECENT_MAX {
            self.0.pop_first();
        }
    }

    /// Forgets a fence.
    pub fn remove(&mut self, fence: Fence) -> Option<T> {
        self.0.remove(&fence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut recent = Recent::default();
        (1..=2 * RECENT_MAX as Fence).for_each(|fence| recent.insert(fence, fence));
        assert_eq!((recent.0.len(), recent.get(1)), (RECENT_MAX, None));
        assert_eq!(recent.get(2 * RECENT_MAX as Fence), Some(&(2 * RECENT_MAX as Fence)));
    }
}
