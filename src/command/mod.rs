//! Commands: the table that declares them, the parser, the replies, and the one way that all of
//! them take.
//!
//! ```text
//! argv -> Args (parse) -> domain decides -> engine::commit -> Reply
//!                                           all services: replicate, apply, notify, count, hint
//! ```
//!
//! Nothing here knows Redis. A command asks its [`Host`] for what it needs of the server: `ffi`
//! implements that trait for Redis, the model tests implement it in memory. The [`Node`] is the
//! state of the process that is in no key: waiting clients, deadlines, counters, settings.

pub mod acl;
pub mod engine;
pub mod host;
pub mod node;
pub mod reply;
pub mod scheduler;
pub mod services;
pub mod settings;
pub mod table;
