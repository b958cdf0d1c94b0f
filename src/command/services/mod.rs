//! The services, a folder each.

pub mod buffer;
pub mod cache;
pub mod context;
pub mod flow;
pub mod lock;
pub mod mail;
pub mod registry;
pub mod server;
pub mod session;
pub(crate) mod spec;
pub mod versioned;
pub mod watch;
