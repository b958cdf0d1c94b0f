//! Chunk buffers against a map of full copies, in which nothing is shared and nobody is evicted but by what the buffer says.
//!
//! [`world`] is the server beside the model, [`steps`] what is done at random, [`stories`] what is told in a few commands each. The environment
//! is that of the whole crate.

mod steps;
mod stories;
mod world;

const STEPS_PER_SCHEDULE: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Shows the seed of a schedule that fails, and what was done last.
struct Shown<'a>(&'a mut world::World);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.0.history.len().saturating_sub(30);
            eprintln!("\n{}\nLTMC_MODEL_SEED={} fails", self.0.history[from..].join("\n"), self.0.seed);
        }
    }
}

#[test]
fn chunks_are_what_full_copies_are() {
    let run = |seed: u64, steps: u64| {
        let mut world = world::World::new(seed);
        let shown = Shown(&mut world);
        (0..steps).for_each(|_| shown.0.step());
    };
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return run(seed, number("LTMC_MODEL_STEPS").unwrap_or(STEPS_PER_SCHEDULE));
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    let (steps, base) = (number("LTMC_MODEL_STEPS").unwrap_or(8_000), number("LTMC_MODEL_BASE").unwrap_or(now));
    println!("{steps} steps, seeds from {base} on");
    (0..steps.div_ceil(STEPS_PER_SCHEDULE)).for_each(|schedule| run(base + schedule, STEPS_PER_SCHEDULE));
}
