//! How much a turn of a search looks at.

use crate::domain::looked;

/// What is left of a turn. A look is at a grant or at a waiter, or follows one edge of the graph:
/// that takes about a third of a microsecond.
#[derive(Debug)]
pub struct Looks(usize);

impl Looks {
    /// A turn of so many looks.
    pub fn of(max: usize) -> Self {
        Self(max)
    }

    /// So many are done. What a turn has begun it may end, so the last step may take some more.
    pub fn take(&mut self, count: usize) {
        looked(count);
        self.0 = self.0.saturating_sub(count);
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.0
    }

    /// Whether others have their turn now.
    pub fn are_over(&self) -> bool {
        self.0 == 0
    }
}
