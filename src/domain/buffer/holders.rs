//! What one agent has to do with the chunks of a buffer.

use super::chunk::Serial;
use std::collections::BTreeSet;

/// What one agent has to do with chunks. Derived from them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OfAgent {
    /// The chunks that it allocated, retains or pins.
    pub(super) serials: BTreeSet<Serial>,
    /// The lengths of those that it [holds](super::chunk::Chunk::held_by).
    pub(super) held_bytes: u64,
}
