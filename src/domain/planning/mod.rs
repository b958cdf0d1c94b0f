//! Planning: which agent does which task of a flow, and when.
//!
//! ```text
//! Problem (model)    what is to be planned: tasks, agents, locks, groups, rates
//!   | Instance       every limit as a pool of tokens
//!   v
//! heft, simulate     first schedules: HEFT, and what happens without a plan
//!   v
//! anneal, quantum    searches from there: moves, and a decoder that makes schedules of them
//!   v
//! Schedule           who does what when, checked against the problem; bounds that none can beat
//! ```
//!
//! All of it is pure: the budget is a number of steps, the seed is an argument. The same problem
//! and seed give the same plan on all processors: of floats only `+ - * /` and comparisons are
//! used.

pub mod anneal;
pub mod bound;
pub mod budget;
pub mod decode;
pub mod gaps;
pub mod heft;
pub mod instance;
pub mod model;
pub mod moves;
pub mod numbers;
pub mod plan;
pub mod quantum;
pub mod schedule;
pub mod simulate;
#[cfg(test)]
mod tests;
