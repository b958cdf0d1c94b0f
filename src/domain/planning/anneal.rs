//! ANNEAL: simulated annealing (S. Kirkpatrick et al. 1983) from a first schedule. The temperature
//! falls with the square of what is left of the budget.

use crate::domain::planning::budget::Meter;
use crate::domain::planning::decode::Line;
use crate::domain::planning::moves::Mover;

/// The first temperature as a share of [`mean_cost`].
const HEAT: f64 = 0.15;
/// Moves between two looks at the temperature.
const LOOK_EVERY: u64 = 32;

/// The best order and agents that were seen.
#[derive(Debug, Clone)]
pub struct Best {
    /// Its cost.
    pub cost: u64,
    /// Its order.
    pub order: Vec<u32>,
    /// Its agents.
    pub agent: Vec<u32>,
}

impl Best {
    /// What a line has now.
    pub fn of(line: &Line) -> Self {
        Self { cost: line.cost, order: line.order.clone(), agent: line.agent.clone() }
    }

    /// Takes what a line has now, if that is better.
    pub fn improve(&mut self, line: &Line) {
        if line.cost < self.cost {
            self.cost = line.cost;
            self.order.copy_from_slice(&line.order);
            self.agent.copy_from_slice(&line.agent);
        }
    }
}

/// Searches from this line until the budget is used. `floor` is a cost that cannot be beaten.
pub fn anneal(line: &mut Line, floor: u64, mover: &mut Mover, meter: &mut Meter) -> Best {
    let mut best = Best::of(line);
    if line.order.is_empty() {
        return best;
    }
    let first = HEAT * mean_cost(line);
    let mut temperature = first;
    let sort_every = 2 * line.order.len() as u64;
    let (mut moves, mut sort_at) = (0_u64, sort_every);
    while meter.spend(std::mem::take(&mut line.steps)) && best.cost > floor {
        if moves % LOOK_EVERY == 0 {
            let left = 1.0 - meter.share();
            temperature = first * left * left;
        }
        moves += 1;
        if mover.step(line, temperature, &|_, _| 0) {
            best.improve(line);
        }
        if mover.kept >= sort_at {
            sort_at = mover.kept + sort_every;
            line.sort();
            mover.forget();
            best.improve(line);
        }
    }
    best
}

/// What a job of mean duration adds to the cost if all wait for it: the scale of temperatures.
pub fn mean_cost(line: &Line) -> f64 {
    let weights = line.instance.problem.weights;
    let sum: u64 = line.end.iter().zip(&line.start).map(|(end, start)| end - start).sum();
    let weight = weights.makespan.max(weights.tardiness).max(weights.affinity);
    sum as f64 / line.end.len().max(1) as f64 * f64::from(weight)
}
