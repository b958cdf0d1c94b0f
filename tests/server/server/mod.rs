//! What the module says of its own node: its health, its traces, and the other nodes it knows.

mod bad_input;
pub mod health;
mod nodes;
mod trace;
