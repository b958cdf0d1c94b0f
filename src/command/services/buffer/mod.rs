//! Chunk buffer: large shared memory, in pieces.

pub mod commands;
pub mod queries;
pub mod serve;
pub(crate) mod spec;
