//! Sessions and contexts against plain maps and documents with full copies of every version.
//!
//! [`json`] is JSON as the RFCs say it, on copies; [`attempt`] holds attempts against it. [`naive`] is the model, [`commands`] and
//! [`people`] what is done, [`reads`] what is asked, with [`relevance`] of who knows what; [`world`] the server, [`check`] what has to be true after every step. The environment is that of the whole crate.

mod attempt;
mod check;
mod commands;
mod copies;
mod found;
mod json;
mod naive;
mod people;
mod reads;
mod relevance;
pub mod world;

const STEPS_PER_SCHEDULE: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The seed of the first schedule.
fn base() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    number("LTMC_MODEL_BASE").unwrap_or(now)
}

/// Shows the seed of a schedule that fails.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nLTMC_MODEL_SEED={} fails", self.0);
        }
    }
}

#[test]
fn sessions_and_contexts_do_what_full_copies_do() {
    let run = |seed: u64, steps: u64| {
        let mut world = world::World::new(seed);
        (0..steps).for_each(|_| world.step());
    };
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let (steps, base) = (number("LTMC_MODEL_STEPS").unwrap_or(3_000), base());
    println!("{steps} steps, seeds from {base} on");
    (0..steps.div_ceil(STEPS_PER_SCHEDULE)).for_each(|schedule| run(base + schedule, STEPS_PER_SCHEDULE));
}
