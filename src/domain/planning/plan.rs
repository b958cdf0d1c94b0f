//! One plan, by one of three methods.

use crate::domain::planning::anneal::anneal;
use crate::domain::planning::bound::{bounds, Bounds};
use crate::domain::planning::budget::Meter;
use crate::domain::planning::decode::Line;
use crate::domain::planning::heft::heft;
use crate::domain::planning::instance::Instance;
use crate::domain::planning::model::Problem;
use crate::domain::planning::moves::Mover;
use crate::domain::planning::quantum::quantum;
use crate::domain::planning::schedule::{cost_of, Schedule};
use crate::domain::planning::simulate::claims;

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The better one of HEFT and what happens without a plan. It needs no budget.
    Greedy,
    /// Simulated annealing from there.
    Anneal,
    /// Simulated quantum annealing from there.
    Quantum,
}

/// A schedule and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who does what when.
    pub schedule: Schedule,
    /// Below these no makespan can be.
    pub bounds: Bounds,
    /// Steps of the budget that were used.
    pub steps: u64,
    /// Moves that were decoded.
    pub attempts: u64,
    /// Moves that were kept.
    pub kept: u64,
    /// Whether it was ended before its budget.
    pub cut: bool,
}

/// Plans. The same problem, budget and seed give the same plan on every machine, unless `is_over`
/// says true: it is asked about each millisecond of work, and then the best plan so far is
/// returned. Bounds: those of [`crate::domain::planning::model`] for memory (about 100 bytes per
/// task, 8 per parent, 8 MiB of marks; times the replicas for QUANTUM), and the budget for work
/// after the first schedule.
pub fn plan(
    problem: &Problem,
    method: Method,
    budget_ms: u32,
    seed: u64,
    is_over: &mut dyn FnMut() -> bool,
) -> Result<Plan, String> {
    let instance = Instance::new(problem)?;
    let bounds = bounds(&instance);
    let (order, agent) = heft(&instance);
    let mut line = Line::new(&instance, order, agent);
    if let Some((order, agent)) = claims(&instance) {
        let other = Line::new(&instance, order, agent);
        if other.cost < line.cost {
            line = other;
        }
    }
    let mut meter = Meter::new(budget_ms, is_over);
    let mut mover = Mover::new(seed);
    let floor = cost_of(problem, bounds.makespan_ms(), bounds.late_ms, instance.regret);
    let best = match method {
        Method::Greedy => None,
        Method::Anneal => Some(anneal(&mut line, floor, &mut mover, &mut meter)),
        Method::Quantum => Some(quantum(&line, floor, &mut mover, &mut meter)),
    };
    let (steps, cut) = (meter.used(), meter.is_cut);
    if let Some(best) = best {
        line.order = best.order;
        line.agent = best.agent;
        line.restart();
        line.sort();
    }
    let (attempts, kept) = (mover.attempts, mover.kept);
    Ok(Plan { schedule: line.schedule(), bounds, steps, attempts, kept, cut })
}
