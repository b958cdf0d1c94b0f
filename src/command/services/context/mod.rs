//! Shared contexts: what everyone in a team knows.

pub mod commands;
pub(crate) mod spec;
