//! The way of every command and of every change, the same for all services.

pub mod args;
pub mod auditing;
pub mod bindings;
pub mod budget;
pub mod commit;
pub mod current;
pub mod cx;
pub mod dispatch;
pub mod endings;
pub mod entity_types;
pub mod keys;
pub mod missing;
pub mod page;
pub mod reactions;
pub mod remains;
pub mod repair;
pub mod replay;
pub mod reply_shape;
pub mod requests;
pub mod service;
pub mod spec;
pub mod tracing;
pub mod unit;
pub mod waiting;
pub mod walk;
pub mod watch_log;
