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

use world::World;

const STEPS_PER_SCHEDULE: u64 = 1_000;

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(seed: u64, steps: u64) {
    let mut world = World::new(seed);
    (0..steps).for_each(|_| world.step());
}

#[test]
fn a_registry_does_what_the_naive_registry_does() {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let steps = number("LTMC_MODEL_STEPS").unwrap_or(60_000);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    let base = number("LTMC_MODEL_BASE").unwrap_or(now);
    println!("{steps} steps, seeds from {base} on");
    (0..steps.div_ceil(STEPS_PER_SCHEDULE)).for_each(|schedule| run(base + schedule, STEPS_PER_SCHEDULE));
}
