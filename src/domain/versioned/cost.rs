//! What the parts of a history take.

use std::ops::{AddAssign, SubAssign};

/// What steps and checkpoints take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Bytes of memory.
    pub bytes: usize,
    /// Changes that steps undo.
    pub changes: usize,
    /// How many allocations freeing them takes, about.
    pub pieces: usize,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.changes += more.changes;
        self.pieces += more.pieces;
    }
}

impl SubAssign for Cost {
    fn sub_assign(&mut self, less: Self) {
        self.bytes -= less.bytes;
        self.changes -= less.changes;
        self.pieces -= less.pieces;
    }
}
