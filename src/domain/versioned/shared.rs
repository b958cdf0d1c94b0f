//! What several keys share until one of them changes it: states, and what undoes changes.

use super::{State, Versioned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::sync::Arc;

/// A value that others may share until one of them changes it: a fork, a copy or a snapshot costs
/// nothing before that.
///
/// It is saved and sent as the value itself.
#[derive(Debug, Default, PartialEq)]
pub struct Shared<S>(Arc<S>);

/// Bytes of the two counts that are allocated beside the value.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();

impl<S> Shared<S> {
    /// Bytes allocated, as if nobody else shared it. The value says what it has allocated itself.
    pub fn heap_bytes(&self, of_value: impl FnOnce(&S) -> usize) -> usize {
        COUNTS_BYTES + size_of::<S>() + of_value(&self.0)
    }

    /// Whether both are the same value in memory.
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<S: Clone> Shared<S> {
    /// The value, to be changed: a clone of its own if others share it.
    pub fn edit(&mut self) -> &mut S {
        Arc::make_mut(&mut self.0)
    }

    /// The value alone.
    pub fn into_inner(self) -> S {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<S: State> Versioned<S> {
    /// The state as it is now, to be read in a thread, whatever happens here meanwhile.
    pub fn snapshot(&self) -> Shared<S> {
        self.state.clone()
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
