//! Shared contexts: what all agents of a team know.

pub mod commands;
pub mod generate;
pub mod queries;
pub(crate) mod spec;
