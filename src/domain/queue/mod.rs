//! The order of waiting clients.

pub mod rank;
pub mod waiting_lines;
