//! Drives the random schedules of all models, as the crate's documentation says.

use super::host::MemoryHost;
use ltmc::command::node::Node;
use ltmc::command::scheduler;
use std::collections::VecDeque;

/// The module beside a model, and random operations on both.
pub trait Schedule {
    fn new(seed: u64) -> Self;

    /// One step, and all checks.
    fn step(&mut self);

    /// The checks after the last step.
    fn finish(&mut self) {}
}

/// Runs schedules of one kind, about `steps` steps in all.
pub fn run<S: Schedule>(steps: u64, steps_each: u64) {
    run_all(steps, steps_each, |seed, steps| {
        let mut schedule = S::new(seed);
        (0..steps).for_each(|_| schedule.step());
        schedule.finish();
    });
}

/// A server whose time is moved by a schedule.
pub trait Timed {
    fn node(&self) -> &Node;
    fn node_and_host(&mut self) -> (&mut Node, &mut MemoryHost);
    fn now_us(&self) -> u64;

    /// The time is now this. The world notes it where its model needs it.
    fn note_time(&mut self, _now_us: u64) {}

    /// Sets the time of the node, of the host and of the model.
    fn set_time(&mut self, now_us: u64) {
        let (node, host) = self.node_and_host();
        node.clock.set_now_us(now_us);
        host.now = now_us / 1000;
        self.note_time(now_us);
    }

    /// Runs a round of the scheduler.
    fn tick(&mut self) {
        let (node, host) = self.node_and_host();
        host.client = 0;
        scheduler::tick(node, host);
        self.ticked();
    }

    /// Called after each round of the scheduler.
    fn ticked(&mut self) {}

    /// Lets time pass. A prompt server handles every deadline when it comes, a busy one later.
    fn pass(&mut self, micros: u64, prompt: bool) {
        let target = self.now_us() + micros;
        for _ in 0..100_000 {
            match scheduler::next_tick(self.node()).filter(|next| prompt && next * 1000 <= target) {
                Some(next) => {
                    self.set_time(self.now_us().max(next * 1000));
                    self.tick();
                }
                None => return self.set_time(target),
            }
        }
        panic!("the scheduler goes round in circles");
    }

    /// Lets the scheduler run until it has nothing more to do now.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            match scheduler::next_tick(self.node()) {
                Some(next) if next <= self.now_us() / 1000 => self.tick(),
                _ => return self.rested(),
            }
        }
        panic!("the scheduler does not come to rest");
    }

    /// Called when the scheduler has nothing more to do.
    fn rested(&mut self) {}
}

/// The last operations, shown when a check fails.
#[derive(Default)]
pub struct History {
    pub seed: u64,
    lines: VecDeque<String>,
}

impl History {
    pub fn of(seed: u64) -> Self {
        Self { seed, lines: VecDeque::new() }
    }

    pub fn lines(&self) -> &VecDeque<String> {
        &self.lines
    }

    pub fn note(&mut self, line: String) {
        if self.lines.len() == 30 {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nLTMC_MODEL_SEED={} fails after these operations:", self.seed);
            self.lines.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// The seed of the first schedule.
fn first_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_secs());
    number("LTMC_MODEL_BASE").unwrap_or(now)
}

/// Runs `schedule` with a seed and a number of steps: the requested one, or enough of them for
/// about `steps` in all.
pub fn run_all(steps: u64, steps_each: u64, schedule: impl Fn(u64, u64)) {
    if let Some(seed) = number("LTMC_MODEL_SEED") {
        return schedule(seed, number("LTMC_MODEL_STEPS").unwrap_or(steps_each));
    }
    let (steps, first) = (number("LTMC_MODEL_STEPS").unwrap_or(steps), first_seed());
    println!("{steps} steps, seeds from {first} on");
    (0..steps.div_ceil(steps_each)).for_each(|at| schedule(first + at, steps_each));
}
