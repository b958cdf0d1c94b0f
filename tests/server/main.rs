//! Tests on real servers with the module loaded. `LTMC_SERVER=valkey-server` runs them on another server.

mod harness;
mod harness_selftest;
