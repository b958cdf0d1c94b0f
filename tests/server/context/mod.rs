//! Shared contexts on real servers.

mod bad_input;
mod build;
mod documents;
mod memory;
mod rebase;
mod versions;
