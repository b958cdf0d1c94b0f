//! What the module says of its own node: its health, its traces, and the other nodes it knows.

pub mod health;
mod nodes;
mod trace;
