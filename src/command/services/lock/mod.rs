//! Memory locking: who may touch what.

pub mod commands;
pub mod connections;
pub mod guard;
pub mod queries;
pub mod serve;
pub(crate) mod spec;
