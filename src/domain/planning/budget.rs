//! How much a search may work. A budget in ms becomes a number of steps by a fixed rate, without a
//! clock, so a seed gives the same plan on every machine. A step is about the work of placing one
//! task. The rate is that of a core of 2020's servers: measured, see the bench.

/// Steps per millisecond.
pub const STEPS_PER_MS: u64 = 40_000;
/// A budget, ms.
pub const BUDGET_MAX_MS: u32 = 60_000;
/// Steps between two questions whether it is over: about 1 ms.
const ASK_EVERY: u64 = STEPS_PER_MS;

/// Counts steps.
pub struct Meter<'a> {
    total: u64,
    used: u64,
    ask_at: u64,
    is_over: &'a mut dyn FnMut() -> bool,
    /// Whether it was ended early.
    pub is_cut: bool,
}

impl<'a> Meter<'a> {
    /// A meter for this budget. `is_over` is asked about each millisecond of work.
    pub fn new(budget_ms: u32, is_over: &'a mut dyn FnMut() -> bool) -> Self {
        let total = u64::from(budget_ms.min(BUDGET_MAX_MS)) * STEPS_PER_MS;
        Self { total, used: 0, ask_at: 0, is_over, is_cut: false }
    }

    /// Counts steps. Returns whether there may be more.
    pub fn spend(&mut self, steps: u64) -> bool {
        self.used += steps;
        if self.used >= self.ask_at && !self.is_cut {
            self.ask_at = self.used + ASK_EVERY;
            self.is_cut = (self.is_over)();
        }
        !self.is_cut && self.used < self.total
    }

    /// What is used of the budget, from 0 to 1.
    pub fn share(&self) -> f64 {
        (self.used as f64 / self.total.max(1) as f64).min(1.0)
    }

    /// Steps used.
    pub fn used(&self) -> u64 {
        self.used
    }
}
