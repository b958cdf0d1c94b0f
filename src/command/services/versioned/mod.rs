//! What sessions and contexts share.

pub mod commands;
pub mod serve;
pub(crate) mod spec;
