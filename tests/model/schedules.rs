//! Random schedules of all models, as the crate's documentation says.

use crate::world::World;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// The seed of the first schedule.
fn first_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    number("LTMC_MODEL_BASE").unwrap_or(now)
}

/// Runs `schedule` with a seed and a number of steps: the one that is asked for, or so many that there are about `steps` in all.
pub fn run_all(steps: u64, steps_each: u64, schedule: impl Fn(u64, u64)) {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return schedule(seed, number("LTMC_MODEL_STEPS").unwrap_or(steps_each));
    }
    let (steps, first) = (number("LTMC_MODEL_STEPS").unwrap_or(steps), first_seed());
    println!("{steps} steps, seeds from {first} on");
    (0..steps.div_ceil(steps_each)).for_each(|at| schedule(first + at, steps_each));
}

#[test]
fn random_schedules_do_what_the_naive_model_does() {
    run_all(300_000, 2_000, |seed, steps| {
        let mut world = World::new(seed);
        (0..steps).for_each(|_| world.step());
    });
}
