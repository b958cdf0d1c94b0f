//! Where ended tasks are kept.

use serde::{Deserialize, Serialize};

/// Where ended tasks are kept that nothing waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shelf {
    /// They succeeded, were cancelled or skipped.
    Done,
    /// They are dead. One dead task may have skipped many others, which must not push it out.
    Dead,
}

impl Shelf {
    /// All of them.
    pub const ALL: [Shelf; 2] = [Shelf::Done, Shelf::Dead];
}
