//! Names of what a cache keeps, within the cache.

/// Place of an entry in its cache. Every node has its own.
pub type Slot = u32;

/// Number of an answer within its cache. They grow, and are the same on all nodes.
pub type AnswerId = u64;

/// Number of a label on this node.
pub type LabelId = u32;
