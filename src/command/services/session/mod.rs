//! Session state: the state of one piece of work, and how to get it back.

pub mod commands;
pub(crate) mod spec;
