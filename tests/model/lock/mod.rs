//! Locks against a naive list of who has what: random operations of several clients, each answer
//! decided again by the model.
//!
//! [`naive`] has the rules, [`decide`] the answers of commands, [`ops`] the operations, [`world`]
//! the server with its clients. [`audit`] compares what the module did on its own with the rules,
//! [`check`] says what has to be true at all times.

mod audit;
mod check;
mod decide;
mod fairness;
mod many;
mod naive;
mod ops;
mod reduction;
mod regressions;
pub mod world;

use world::World;

#[test]
fn random_schedules_do_what_the_naive_model_does() {
    crate::driver::run::<World>(300_000, 2_000);
}
