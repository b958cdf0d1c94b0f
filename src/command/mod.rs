//! Commands: the table that declares them, the parser, replies, and the one way through which all of them go.
//!
//! ```text
//! argv -> Args (parse) -> domain decides -> engine::commit -> Reply
//!                                            replicate, apply, notify, count, hint: in one place, for every service
//! ```
//!
//! Nothing here knows Redis. What a command needs of the server it asks of its [`Host`], which `ffi` implements for Redis and the
//! model tests implement in memory. The state of the process that is in no key (who waits, what is due, counters, settings) is the
//! [`Node`].

pub mod engine;
pub mod host;
pub mod node;
pub mod reply;
pub mod scheduler;
pub mod services;
pub mod settings;
pub mod table;
