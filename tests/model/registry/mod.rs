//! The agent registry against a naive registry: random operations. Every answer and every index is
//! compared after every step.
//!
//! [`naive`] has the rules, [`answers`] what commands answer and do, [`story`] what watchers are
//! told. [`audit`] compares what the module did on its own with the rules, [`check`] says what has
//! to be true at all times. The environment variables are those of the whole crate.

mod answers;
mod audit;
mod check;
mod found;
mod incidents;
mod naive;
mod ops;
mod routes;
mod story;
mod world;

use crate::driver::run;
use world::World;

#[test]
fn a_registry_does_what_the_naive_registry_does() {
    run::<World>(60_000, 1_000);
}
