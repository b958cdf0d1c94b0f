//! Mailboxes against a naive mailbox: random operations, and every answer, every waiter and every inbox compared after every step.
//!
//! [`naive`] has the rules, [`ops`] what is done, [`world`] the server with its clients. The environment is that of the whole crate.

mod naive;
mod ops;
mod world;

use crate::registry::number;
use world::World;

const STEPS_PER_SCHEDULE: u64 = 1_000;

fn run(seed: u64, steps: u64) {
    let mut world = World::new(seed);
    (0..steps).for_each(|_| world.step());
    world.finish();
}

#[test]
fn a_mailbox_does_what_the_naive_mailbox_does() {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let steps = number("LTMC_MODEL_STEPS").unwrap_or(60_000);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    let base = number("LTMC_MODEL_BASE").unwrap_or(now);
    println!("{steps} steps, seeds from {base} on");
    (0..steps.div_ceil(STEPS_PER_SCHEDULE)).for_each(|schedule| run(base + schedule, STEPS_PER_SCHEDULE));
}
