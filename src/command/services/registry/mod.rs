//! Agent registry: who is there, how are they, who can do this.

pub mod commands;
pub mod filter;
pub mod queries;
pub mod serve;
pub(crate) mod spec;
