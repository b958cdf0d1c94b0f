//! The agent registry against a naive registry: random operations, and every answer and index compared after every step.
//!
//! [`naive`] has the rules, [`answers`] what commands answer and do, [`story`] what watchers are told. [`audit`] holds what the module
//! did on its own against them, [`check`] what has to be true at all times. The environment is that of the whole crate.

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
