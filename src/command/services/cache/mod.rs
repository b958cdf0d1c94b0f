//! Tool cache: what has been computed before.

pub mod commands;
pub mod queries;
pub mod serve;
pub(crate) mod spec;
