//! Ids within a cache.

/// The place of an entry in its cache. Differs between nodes.
pub type Slot = u32;

/// The number of an answer within its cache. Ids grow, and are the same on all nodes.
pub type AnswerId = u64;

/// The number of a label on this node.
pub type LabelId = u32;
