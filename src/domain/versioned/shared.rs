//! A state that several keys share until one of them changes it.

use super::State;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::sync::Arc;

/// A state that other keys may share until one of them changes it: a fork or a copy costs
/// nothing before that.
///
/// It is saved and sent as the state itself.
#[derive(Debug, Default, PartialEq)]
pub struct Shared<S>(Arc<S>);

/// Bytes of the two counts that are allocated beside the state.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();

impl<S: State> Shared<S> {
    /// The state, to be changed: a copy of its own if others share it.
    pub fn edit(&mut self) -> &mut S {
        if Arc::strong_count(&self.0) > 1 {
            let mut own = S::clone(&self.0);
            // The spare room of a list is not copied, but is counted.
            own.rebuild();
            self.0 = Arc::new(own);
        }
        Arc::make_mut(&mut self.0)
    }

    /// Bytes allocated, as if nobody else shared it.
    pub fn heap_bytes(&self) -> usize {
        COUNTS_BYTES + size_of::<S>() + self.0.heap_bytes()
    }

    /// Whether both are the same state in memory.
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<S> From<S> for Shared<S> {
    fn from(state: S) -> Self {
        Self(Arc::new(state))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Deref for Shared<S> {
    type Target = S;
    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Serialize> Serialize for Shared<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Shared<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        S::deserialize(deserializer).map(Self::from)
    }
}
