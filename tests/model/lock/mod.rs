//! Locks against a naive list of who has what: random operations of several clients, every answer decided once more by the model.
//!
//! [`naive`] has the rules, [`decide`] what commands answer, [`ops`] what is done, [`world`] the server with its clients. [`audit`] holds what
//! the module did on its own against them, [`check`] what has to be true at all times.

mod audit;
mod check;
mod decide;
mod fairness;
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
