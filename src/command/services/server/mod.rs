//! Commands about the module itself.

pub mod audit;
pub mod cluster;
pub mod commands;
pub mod health;
pub(crate) mod spec;
pub mod trace;
