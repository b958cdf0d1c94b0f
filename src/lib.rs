//! LTMC
pub mod command;
pub mod domain;
pub mod observe;
pub mod snapshot;
