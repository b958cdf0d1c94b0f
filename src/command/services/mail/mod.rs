//! Mailboxes: talking about the work.

pub mod commands;
pub mod queries;
pub mod send;
pub mod serve;
pub(crate) mod spec;
