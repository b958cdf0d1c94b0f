//! Orchestration: what has to be done next, and who does it.

pub mod commands;
mod due;
pub mod queries;
pub mod reply;
pub mod serve;
pub(crate) mod spec;
pub mod task_commands;
pub mod task_locks;
pub mod task_queries;
pub mod worker_commands;
