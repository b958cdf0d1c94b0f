//! Chunk buffers against a map of full copies, in which nothing is shared and nobody is evicted but by what the buffer says.
//!
//! [`world`] is the server beside the model, [`steps`] what is done at random, [`stories`] what is told in a few commands each. The environment
//! is that of the whole crate.

mod steps;
mod stories;
mod world;

use crate::schedules::run_all;

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
    run_all(8_000, 400, |seed, steps| {
        let mut world = world::World::new(seed);
        let shown = Shown(&mut world);
        (0..steps).for_each(|_| shown.0.step());
    });
}
