//! The agent registry on real servers.

mod agents;
mod bad_input;
mod claims;

mod durability;
mod find;
pub mod health;
mod scale;
mod waiting;
