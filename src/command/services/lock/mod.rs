//! Memory locking: who may touch what.

pub mod commands;
pub mod connections;
pub mod guard;
pub mod placing;
pub mod queries;
pub mod serve;
pub(crate) mod spec;
