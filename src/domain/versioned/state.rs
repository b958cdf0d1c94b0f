//! What a service has to say of its state, so that it can have versions.

use super::history::{Undo, Version};
use super::{Names, Stamp, Versioned};
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Code, Error, Invariant, Service};
use serde::de::DeserializeOwned;
use serde::Serialize;

/// A state that has versions.
pub trait State: Default + Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + 'static {
    /// How it changes from one version to the next.
    type Change: Clone + Default + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned;
    /// What undoes a change.
    type Undo: Undo;

    /// The service it belongs to.
    const SERVICE: Service;
    /// Redis' name of the key type.
    const TYPE_NAME: &'static str;
    /// See [`Entity::TYPE_TAG`].
    const TYPE_TAG: u8;
    /// The names of its events.
    const NAMES: Names;
    /// The error code for a missing value.
    const MISSING: Code;
    /// See [`Entity::RECOVERS`].
    const RECOVERS: bool;

    /// Whether every undo fits every state, so that none has to be tried.
    const UNDOES_ANYTHING: bool = false;

    /// Makes a change and returns what undoes it. What does not fit is ignored.
    fn apply(&mut self, change: Self::Change, stamp: &Stamp) -> Self::Undo;

    /// Undoes a change, and returns what undoes that. `None` if it does not fit.
    fn undo(&mut self, undo: &Self::Undo) -> Option<Self::Undo>;

    /// Notes who restored the state.
    fn was_restored(&mut self, _undone: &[&Self::Undo], _stamp: &Stamp) {}

    /// The state is now one of `version`, and forgets everything later.
    fn forget_after(&mut self, _version: Version) {}

    /// Errs if a change from an unchecked payload is outside the bounds that commands keep.
    fn admit(change: &Self::Change) -> Result<(), Error>;

    /// Describes a change for a watcher.
    fn describe(change: &Self::Change, json: &mut EventJson);

    /// Where a value has changed since a version, for a conflict; `None` if that is not known.
    fn changed_since(value: &Versioned<Self>, version: Version) -> Option<String>;

    /// Whether it is now what it was at a version; false if that is not known.
    fn is_as_at(value: &Versioned<Self>, version: Version) -> bool;

    /// Whether nothing is in it.
    fn is_empty(&self) -> bool;

    /// Bytes allocated outside the struct itself, kept incrementally.
    fn heap_bytes(&self) -> usize;

    /// How many allocations freeing it takes.
    fn free_effort(&self) -> usize;

    /// Whether all its own invariants hold.
    fn check(&self) -> Result<(), Invariant>;

    /// How long that takes, see [`Entity::check_effort`].
    fn check_effort(&self) -> usize {
        self.free_effort()
    }

    /// Rebuilds what is derived.
    fn rebuild(&mut self);

    /// See [`Entity::salvage`].
    fn salvage(&mut self) -> Option<String> {
        None
    }
}
