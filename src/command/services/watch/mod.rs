//! Watching the keys of the other services.

pub mod commands;
pub(crate) mod spec;
