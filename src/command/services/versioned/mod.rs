//! What sessions and contexts have in common.

pub mod commands;
pub mod serve;
pub(crate) mod spec;
