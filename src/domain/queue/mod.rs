//! The order of those who wait.

pub mod rank;
pub mod waiting_lines;
