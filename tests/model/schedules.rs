//! Random schedules. `LTMC_MODEL_STEPS` and `LTMC_MODEL_SEED` as in the crate's documentation.

use crate::world::World;

const STEPS_PER_SCHEDULE: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn run(seed: u64, steps: u64) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
}

#[test]
fn random_schedules_do_what_the_naive_model_does() {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let steps = number("LTMC_MODEL_STEPS").unwrap_or(300_000);
    let base = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    let base = number("LTMC_MODEL_BASE").unwrap_or(base);
    println!("{steps} steps, seeds from {base} on");
    for schedule in 0..steps.div_ceil(STEPS_PER_SCHEDULE) {
        run(base + schedule, STEPS_PER_SCHEDULE);
    }
}
