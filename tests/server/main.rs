//! Tests on real servers with the module loaded. `LTMC_SERVER=valkey-server` runs them on another
//! server.

mod bad_input;
mod buffer;
mod cache;
mod clients;
mod cluster;
mod commands;
mod context;
mod docs;
mod faults;
mod field;
mod flow;
mod harness;
mod lock;
mod mail;
mod reactions;
mod readme;
mod registry;
mod replication;
mod security;
mod server;
mod session;
mod settings;
mod versioned;
mod waiting;
mod watch;
