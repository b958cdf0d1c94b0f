//! Shared contexts: what all agents of a team know.

pub mod commands;
pub(crate) mod spec;
