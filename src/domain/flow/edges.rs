//! Which tasks come after which.
//!
//! An edge stays as long as the task that comes after, whether or not the other one is still kept:
//! to forget a task with a million children is no more work than to forget another one.

use super::task::{Parent, Told};
use super::TaskNo;
use std::collections::BTreeSet;

/// A task, and one that comes after it.
type Edge = (TaskNo, TaskNo);

/// All edges of a flow.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edges {
    /// Those whose second task waits to be told of the end of the first.
    open: BTreeSet<Edge>,
    /// Those whose second task was told, or does not have to be any more.
    told: BTreeSet<Edge>,
}

impl Edges {
    /// The number of edges.
    pub fn count(&self) -> usize {
        self.open.len() + self.told.len()
    }

    fn of(&mut self, told: Told) -> &mut BTreeSet<Edge> {
        if told == Told::Open {
            &mut self.open
        } else {
            &mut self.told
        }
    }

    /// Adds the edge from a parent to a task.
    pub fn tie(&mut self, parent: &Parent, no: TaskNo) {
        self.of(parent.told).insert((parent.no, no));
    }

    /// Removes it.
    pub fn untie(&mut self, parent: &Parent, no: TaskNo) {
        self.of(parent.told).remove(&(parent.no, no));
    }

    /// Whether the edge is there as the task knows it.
    pub fn has(&self, parent: &Parent, no: TaskNo) -> bool {
        let edge = (parent.no, no);
        let is_open = parent.told == Told::Open;
        (self.open.contains(&edge), self.told.contains(&edge)) == (is_open, !is_open)
    }

    /// The tasks that wait to be told of the end of this one.
    pub fn untold(&self, no: TaskNo) -> impl Iterator<Item = TaskNo> + '_ {
        after(&self.open, no)
    }

    /// The tasks that were told of the end of this one, or do not have to be any more.
    pub fn told(&self, no: TaskNo) -> impl Iterator<Item = TaskNo> + '_ {
        after(&self.told, no)
    }
}

fn after(edges: &BTreeSet<Edge>, no: TaskNo) -> impl Iterator<Item = TaskNo> + '_ {
    edges.range((no, 0)..=(no, TaskNo::MAX)).map(|(_, child)| *child)
}

#[cfg(any(test, feature = "test-hooks"))]
impl Edges {
    /// Loses one.
    pub(super) fn lose(&mut self) {
        self.open.pop_first();
    }
}
