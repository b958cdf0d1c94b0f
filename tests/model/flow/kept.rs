//! Which ended tasks a naive flow still has, and which it had.

use super::naive::{End, Flow, State, Task};

impl Flow {
    /// The ended tasks that nothing waits for, with the times of their ends.
    pub fn retired(&self) -> Vec<(u64, u64)> {
        let is_needed = |no| self.tasks.values().any(|task| task.parents.contains_key(no) && task.end().is_none());
        let retired = self.tasks.iter().filter_map(|(no, task)| match task.state {
            State::Ended(_, at) if !is_needed(no) => Some((at, *no)),
            _ => None,
        });
        retired.collect()
    }

    /// Where a task is kept.
    pub fn shelf(&self, no: u64) -> usize {
        usize::from(self.tasks[&no].end() == Some(End::Dead))
    }

    /// When a task that is kept will have been kept for long enough.
    pub fn next_outdated(&self) -> Option<u64> {
        let ends = self.retired().into_iter().filter_map(|(at, no)| Some(at + self.keep[self.shelf(no)].1?));
        ends.min()
    }

    /// A task that is no longer kept, if anybody ever had it.
    pub fn forgotten(&self, id: &str) -> Option<&Task> {
        self.forgotten.iter().find(|task| task.id == id && task.fence() > 0)
    }
}
