//! Tests on real servers with the module loaded. `LTMC_SERVER=valkey-server` runs them on another server.

mod bad_input;
mod bad_payloads;
mod blocking;
mod blocking_ends;
mod cluster;
mod commands;
mod deadlocks;
mod docs;
mod guard;
mod harness;
mod harness_selftest;
mod listeners;
mod locks;
mod locks_clients;
mod locks_keys;
mod locks_optimistic;
mod locks_paths;
mod real_client;
mod registry;
mod replication;
mod settings;
mod stress;
mod thousand;
mod waiting;
mod watch;
