//! Tests on real servers with the module loaded. `LTMC_SERVER=valkey-server` runs them on another server.

mod bad_input;
mod bad_payloads;
mod blocking;
mod guard;
mod harness;
mod harness_selftest;
mod locks;
mod locks_clients;
mod locks_keys;
mod locks_optimistic;
mod locks_paths;
mod settings;
mod waiting;
mod commands;
mod docs;
mod blocking_ends;
mod deadlocks;
mod replication;
mod thousand;
mod cluster;
mod real_client;
mod stress;
mod listeners;
