//! A team of agents whose quality changes, and the routes that send work to them.
//!
//! Regret. At each arrival an agent's true worth is p / (L * max(1, (q + 1) / c)^3): its chance of
//! success by its latency and the wait (see `Experience::draw`). The regret of a decision is
//! 1 - worth(chosen) / worth(best); the oracle that knows p, L and q has none. It is counted in
//! pieces of work. `value` is measured at the end of each piece: 1 s / (1 s + time from arrival to
//! completion) if it succeeded, otherwise 0; it does not depend on how regret is defined.

use super::{sampling, Experience};
use crate::domain::algorithm::splitmix::{next_below, next_random, next_share};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How the next agent is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// The lowest share of its capacity in use; ties go to a random one.
    LeastLoaded,
    /// The lowest expected completion time by mean latency seen, no exploration.
    Fastest,
    /// `SORT LEARNED`.
    Learned,
    /// Knows all true values.
    Oracle,
}

/// What a run has.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// Agents.
    pub agents: usize,
    /// Arrivals as a share of what all agents together can do at the beginning.
    pub load: f64,
    /// Simulated time.
    pub duration_ms: u64,
    /// A quarter of the agents changes each time this is over; 0 for never.
    pub drift_ms: u64,
    /// Multiplies all latencies: 1 for 100 ms to 1 s.
    pub scale: f64,
    /// Decides everything random. The same for all routes.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Pieces of work.
    pub work: u64,
    /// Sum of the regrets of all decisions.
    pub regret: f64,
    /// The same with the wait itself instead of its cube: the first definition.
    pub plain_regret: f64,
    /// Sum of the values of all finished pieces.
    pub value: f64,
    /// How many failed.
    pub failed: u64,
    /// How many were finished in time.
    pub finished: u64,
    /// Sum of the times from arrival to completion of finished pieces, ms.
    pub completion_ms: f64,
}

/// When, agent, arrived, started, success of what is running.
type End = (u64, usize, u64, u64, bool);

struct Agent {
    capacity: u32,
    success: f64,
    latency: f64,
    running: u32,
    /// Arrival times.
    waiting: VecDeque<u64>,
    experience: Experience,
}

impl Agent {
    fn load(&self) -> u32 {
        self.running + self.waiting.len() as u32
    }

    fn worth(&self) -> f64 {
        let wait = (f64::from(self.load() + 1) / f64::from(self.capacity)).max(1.0);
        self.success / (self.latency * wait * wait * wait)
    }

    fn plain_worth(&self) -> f64 {
        let wait = (f64::from(self.load() + 1) / f64::from(self.capacity)).max(1.0);
        self.success / (self.latency * wait)
    }

    fn change(&mut self, scale: f64, seed: &mut u64) {
        // Log-uniform from 100 ms to 1.6 s in sixteen steps; success 0.5 to 1, sometimes 0.1.
        let steps = next_below(seed, 17) as f64 / 4.0;
        self.latency = scale * 100.0 * steps.exp2().min(16.0);
        self.success = if next_below(seed, 6) == 0 { 0.1 } else { 0.5 + 0.5 * next_share(seed) };
    }
}

/// Runs one route through a scene.
pub fn run(scene: Scene, route: Route) -> Outcome {
    let (mut world, mut arrivals) = (scene.seed, scene.seed ^ 0xA11);
    let (mut service, mut choice) = (scene.seed ^ 0x5E7, scene.seed ^ 0xC01);
    let mut agents: Vec<Agent> = (0..scene.agents).map(|_| agent(scene.scale, &mut world)).collect();
    let total: f64 = agents.iter().map(|agent| f64::from(agent.capacity) / agent.latency).sum();
    let (mut team, mut outcome) = (Experience::default(), Outcome::default());
    let mut ends: BinaryHeap<Reverse<End>> = BinaryHeap::new();
    let (mut at, mut turn, mut next_drift) = (0.0, 0, scene.drift_ms);
    while at < scene.duration_ms as f64 {
        at -= sampling::ln(next_share(&mut arrivals)) / (scene.load * total);
        let now = at as u64;
        while ends.peek().is_some_and(|Reverse((end, ..))| *end <= now) {
            let Some(Reverse((end, chosen, arrived, started, is_success))) = ends.pop() else { break };
            let done = &mut agents[chosen];
            done.running -= 1;
            done.experience.note(is_success, end - started, end);
            team.note(is_success, end - started, end);
            outcome.finished += 1;
            outcome.failed += u64::from(!is_success);
            outcome.completion_ms += (end - arrived) as f64;
            let value = 1_000.0 * scene.scale / (1_000.0 * scene.scale + (end - arrived) as f64);
            outcome.value += if is_success { value } else { 0.0 };
            if let Some(arrived) = done.waiting.pop_front() {
                ends.push(Reverse(start(done, chosen, arrived, end, &mut service)));
            }
        }
        if scene.drift_ms > 0 && now >= next_drift {
            next_drift += scene.drift_ms;
            for _ in 0..scene.agents.div_ceil(4) {
                let chosen = next_below(&mut world, scene.agents);
                agents[chosen].change(scene.scale, &mut world);
            }
        }
        let chosen = choose(&agents, route, &team, &mut turn, &mut choice, now);
        let best = agents.iter().map(Agent::worth).fold(0.0, f64::max);
        outcome.work += 1;
        outcome.regret += 1.0 - agents[chosen].worth() / best;
        let plain_best = agents.iter().map(Agent::plain_worth).fold(0.0, f64::max);
        outcome.plain_regret += 1.0 - agents[chosen].plain_worth() / plain_best;
        let agent = &mut agents[chosen];
        if agent.running < agent.capacity {
            ends.push(Reverse(start(agent, chosen, now, now, &mut service)));
        } else {
            agent.waiting.push_back(now);
        }
    }
    outcome
}

fn agent(scale: f64, seed: &mut u64) -> Agent {
    let capacity = 1 + next_below(seed, 4) as u32;
    let (waiting, experience) = (VecDeque::new(), Experience::default());
    let mut agent = Agent { capacity, success: 0.0, latency: 0.0, running: 0, waiting, experience };
    agent.change(scale, seed);
    agent
}

/// Starts a piece of work: its time is gamma distributed with shape 3 (58 % deviation).
fn start(agent: &mut Agent, chosen: usize, arrived: u64, now: u64, seed: &mut u64) -> End {
    agent.running += 1;
    let takes = agent.latency * sampling::gamma(3.0, seed) / 3.0;
    (now + 1 + takes as u64, chosen, arrived, now, next_share(seed) <= agent.success)
}

fn choose(agents: &[Agent], route: Route, team: &Experience, turn: &mut usize, seed: &mut u64, now: u64) -> usize {
    let mut best = |worth: &mut dyn FnMut(&Agent, &mut u64) -> f64| {
        let mut first = (f64::MIN, 0, 0);
        for (at, agent) in agents.iter().enumerate() {
            let one = (worth(agent, seed), next_random(seed), at);
            first = if one > first { one } else { first };
        }
        first.2
    };
    match route {
        Route::Random => next_below(seed, agents.len()),
        Route::RoundRobin => {
            *turn = (*turn + 1) % agents.len();
            *turn
        }
        Route::LeastLoaded => best(&mut |agent, _| -f64::from(agent.load()) / f64::from(agent.capacity)),
        Route::Fastest => best(&mut |agent, _| {
            let lanes = (f64::from(agent.load() + 1) / f64::from(agent.capacity)).max(1.0);
            -(agent.experience.mean_latency_ms().unwrap_or(0) as f64) * lanes
        }),
        Route::Learned => best(&mut |agent, seed| {
            f64::from_bits(agent.experience.draw(team, agent.load(), agent.capacity, seed, now))
        }),
        Route::Oracle => best(&mut |agent, _| agent.worth()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The regret of each route over two short scenes.
    fn regrets<const N: usize>(load: f64, routes: [Route; N]) -> [f64; N] {
        routes.map(|route| {
            let scene = |seed| Scene { agents: 8, load, duration_ms: 600_000, drift_ms: 150_000, scale: 1.0, seed };
            (1..=2).map(|seed| run(scene(seed), route).regret).sum()
        })
    }

    #[test]
    fn learned_has_at_most_half_the_regret_of_least_loaded() {
        for load in [0.3, 0.6, 0.9] {
            let [learned, least_loaded] = regrets(load, [Route::Learned, Route::LeastLoaded]);
            assert!(learned < 0.5 * least_loaded, "{load}: {learned} {least_loaded}");
        }
    }

    #[test]
    fn the_other_routes_regret_more_and_who_knows_all_regrets_nothing() {
        let [learned, oracle] = regrets(0.6, [Route::Learned, Route::Oracle]);
        assert_eq!(oracle, 0.0);
        for other in regrets(0.6, [Route::Random, Route::RoundRobin, Route::Fastest]) {
            assert!(learned < other, "{learned} {other}");
        }
    }
}
