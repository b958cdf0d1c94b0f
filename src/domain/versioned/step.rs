//! The steps of a history, each of which leads from a version back to an earlier one.

use super::cost::Cost;
use super::life::is_time;
use super::Shared;
use crate::domain::algorithm::discard::discard;
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::{Bytes, Millis};
use serde::{Deserialize, Serialize};

/// The number of a version. The first is 1.
pub type Version = u64;

/// What undoes changes.
pub trait Undo:
    Default + Clone + std::fmt::Debug + PartialEq + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static
{
    /// A history keeps at most this many changes, since all of them may have to be undone at once.
    const CHANGES_MAX: usize = usize::MAX;

    /// How many changes it undoes.
    fn changes(&self) -> usize;

    /// Adds what undoes changes made after those that this undoes.
    fn absorb(&mut self, later: Self);

    /// Bytes allocated outside the struct itself.
    fn heap_bytes(&self) -> usize;

    /// How many allocations freeing it takes, about.
    fn free_effort(&self) -> usize {
        self.changes()
    }

    /// Whether a change within the bounds of commands can have made it.
    fn is_within_bounds(&self) -> bool;
}

/// Leads from one version back to an earlier one. It is cheap to clone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step<U> {
    /// The version that it leads back to.
    pub to: Version,
    /// When that version was replaced, unix ms.
    pub left_at: Millis,
    /// The agent that replaced it; empty if none was named.
    pub left_by: Bytes,
    /// What undoes the change.
    pub undo: Shared<U>,
}

impl<U: Undo> Step<U> {
    /// Extends the way back over a later step.
    pub fn absorb(&mut self, later: Self) {
        self.undo.edit().absorb(later.undo.into_inner());
        (self.left_at, self.left_by) = (later.left_at, later.left_by);
    }

    /// Whether changes within the bounds of commands can have made it.
    pub fn is_within_bounds(&self) -> bool {
        is_time(self.left_at) && self.left_by.len() <= ID_BYTES_MAX && self.undo.is_within_bounds()
    }

    /// What it takes.
    pub fn cost(&self) -> Cost {
        let bytes = size_of::<Self>() + self.left_by.heap_bytes() + self.undo.heap_bytes(U::heap_bytes);
        Cost { bytes, changes: self.undo.changes(), pieces: 1 + self.undo.free_effort() }
    }
}

/// Frees steps that nobody needs.
pub fn free<U: Undo>(steps: Vec<Step<U>>) {
    let pieces = steps.iter().map(|step| step.cost().pieces).sum();
    discard(steps, pieces);
}
