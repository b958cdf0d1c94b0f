//! How much is looked at in one step.

use crate::domain::looked;

/// The work of one round, in looks at tasks and edges.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    max: usize,
    /// How much was taken so far.
    pub taken: usize,
}

impl Work {
    /// A round in which about this much is done.
    pub fn of(max: usize) -> Self {
        Self { max, taken: 0 }
    }

    /// Takes a piece. False if it is too much; the first one never is.
    pub fn takes(&mut self, looks: usize) -> bool {
        looked(looks);
        let fits = self.taken == 0 || self.taken.saturating_add(looks) <= self.max;
        if fits {
            self.taken = self.taken.saturating_add(looks);
        }
        fits
    }
}
