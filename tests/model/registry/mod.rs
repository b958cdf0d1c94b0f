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

use crate::schedules::run_all;
use world::World;

#[test]
fn a_registry_does_what_the_naive_registry_does() {
    run_all(60_000, 1_000, |seed, steps| {
        let mut world = World::new(seed);
        (0..steps).for_each(|_| world.step());
    });
}
