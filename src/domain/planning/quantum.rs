//! QUANTUM: path-integral simulated quantum annealing (G. E. Santoro, R. Martoňák, E. Tosatti, R.
//! Car, "Theory of Quantum Annealing of an Ising Spin Glass", 2002). Several replicas of the
//! schedule stand in a ring. A job that has the same agent in neighbouring replicas lowers the
//! energy by J = -T/2 ln tanh(G / (P T)), where the transverse field G falls to 0, so the replicas
//! begin free and end as one. Spins are "this job has this agent"; the orders are not coupled. In
//! the bench it is no better than ANNEAL, since each replica gets only its share of the budget.

use crate::domain::planning::anneal::{mean_cost, Best};
use crate::domain::planning::budget::Meter;
use crate::domain::planning::decode::Line;
use crate::domain::planning::moves::Mover;
use crate::domain::planning::numbers::{exp, ln};

/// Replicas.
const REPLICAS: usize = 3;
/// The temperature of each replica, as a share of [`mean_cost`]: low, since the field mixes, too.
const HEAT: f64 = 0.1;
/// The transverse field at first, in temperatures.
const FIELD: f64 = 3.0;
/// Moves of a replica before the next one has its turn.
const TURN: u64 = 64;

/// Searches from this line until the budget is used. `floor` is a cost that cannot be beaten.
pub fn quantum(line: &Line, floor: u64, mover: &mut Mover, meter: &mut Meter) -> Best {
    let mut best = Best::of(line);
    if line.order.is_empty() {
        return best;
    }
    let mut replicas = vec![line.clone(); REPLICAS];
    let sort_every = 2 * line.order.len() as u64;
    let scale = mean_cost(line);
    let mut kept = [0; REPLICAS];
    let mut turn = 0;
    let mut is_going = true;
    while is_going && best.cost > floor {
        let (at, left) = (turn % REPLICAS, 1.0 - meter.share());
        turn += 1;
        let temperature = HEAT * scale * (0.1 + 0.9 * left);
        let bond = (temperature * strength(FIELD * left)) as i64;
        let (one, other) = ((at + 1) % REPLICAS, (at + REPLICAS - 1) % REPLICAS);
        let agents = [replicas[one].agent.clone(), replicas[other].agent.clone()];
        let replica = &mut replicas[at];
        let pull = |job: usize, agent: u32| -bond * agents.iter().filter(|agents| agents[job] == agent).count() as i64;
        mover.forget();
        for _ in 0..TURN {
            is_going = meter.spend(std::mem::take(&mut replica.steps));
            if !is_going {
                break;
            }
            if mover.step(replica, temperature, &pull) {
                kept[at] += 1;
                best.improve(replica);
            }
        }
        if kept[at] >= sort_every {
            kept[at] = 0;
            replica.sort();
            best.improve(replica);
        }
    }
    best
}

/// -1/2 ln tanh(x): the coupling in temperatures, for a field of x temperatures and replica.
fn strength(field: f64) -> f64 {
    let shrunk = exp(-2.0 * field.max(1e-4));
    -0.5 * ln((1.0 - shrunk) / (1.0 + shrunk))
}
