//! Flows against a naive simulator: random operations and faults, and every task compared after every step.
//!
//! [`naive`] has the rules in plain loops over all tasks, [`ops`] what is done, [`world`] the server, its time and what befalls it. The environment
//! is that of the whole crate.

mod naive;
mod ops;
mod world;

const STEPS_PER_SCHEDULE: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn run(seed: u64, steps: u64) {
    let mut world = world::World::new(seed);
    (0..steps).for_each(|_| world.step());
}

#[test]
fn a_flow_does_what_the_naive_simulator_does() {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let steps = number("LTMC_MODEL_STEPS").unwrap_or(40_000);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    let base = number("LTMC_MODEL_BASE").unwrap_or(now);
    println!("{steps} steps, seeds from {base} on");
    (0..steps.div_ceil(STEPS_PER_SCHEDULE)).for_each(|schedule| run(base + schedule, STEPS_PER_SCHEDULE));
}
