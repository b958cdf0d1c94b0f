//! What each decoder and the argument parser do with any bytes, as functions. `cargo fuzz` calls
//! them by the files in `fuzz_targets`, and the test `fuzz` of the module by `bounded`.
#![cfg(not(feature = "module"))]
#![allow(dead_code)] // The model tests use more of their host.

#[cfg(test)]
mod bounded;
#[path = "../../model/held.rs"]
mod held;
#[path = "../../model/host.rs"]
mod host;
#[path = "../../model/original.rs"]
mod original;
#[path = "../../model/server.rs"]
mod server;
pub mod targets;
