//! Algorithms that know nothing of agents.

pub mod allocator;
pub mod discard;
pub mod eviction;
pub mod looks;
pub mod room;
pub mod sha256;
pub mod slab;
pub mod splitmix;
pub mod steady_clock;
pub mod tree;
pub mod xxhash;
