//! Small changes of a schedule, the same for ANNEAL and QUANTUM. Most are made to a job on a path
//! that makes the schedule as long as it is: others cannot shorten it (as in the neighbourhoods of
//! the flexible job shop, M. Mastrolilli, L. M. Gambardella, 2000).
//!
//! - **Relocation**: a place in the order is drawn. For each agent the longest way through the job,
//!   if it were there, is estimated from heads and tails in constant time. A heat bath chooses: the
//!   agent with the lowest estimate plus noise.
//! - **Exchange**: two jobs near each other in the order change agents, and places if their
//!   families permit. The partner is chosen in the same way. Three moves of four: measured best.

use crate::domain::algorithm::splitmix::{next_below, next_random};
use crate::domain::planning::decode::{free_at, holder_of, Line};
use crate::domain::planning::model::NONE;
use crate::domain::planning::numbers::Exponential;
use crate::domain::Millis;

/// Places between two jobs that are exchanged, at most.
const NEAR: usize = 80;
/// Partners of an exchange that are looked at.
const PARTNERS: usize = 32;

/// Makes moves. It has all the random numbers.
#[derive(Debug, Clone)]
pub struct Mover {
    seed: u64,
    exponential: Exponential,
    path: Vec<u32>,
    /// Attempts to decode.
    pub attempts: u64,
    /// Attempts kept.
    pub kept: u64,
}

impl Mover {
    /// A mover with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, exponential: Exponential::new(), path: Vec::new(), attempts: 0, kept: 0 }
    }

    /// Random: may be up by this at this temperature.
    fn heat(&mut self, temperature: f64) -> u64 {
        (self.exponential.draw(next_random(&mut self.seed)) * temperature) as u64
    }

    /// A job to change: on a path that ends last, sometimes on one that ends late, sometimes any.
    fn pick(&mut self, line: &mut Line) -> usize {
        let random = next_random(&mut self.seed);
        let jobs = line.order.len();
        if random % 8 == 0 {
            return next_below(&mut self.seed, jobs);
        }
        if line.late > line.instance.late && random % 2 == 0 {
            let over = |job: u32| {
                let job = job as usize;
                line.end[job].saturating_sub(line.instance.jobs[job].deadline)
            };
            let drawn = (0..16).map(|_| next_below(&mut self.seed, jobs) as u32);
            let late = drawn.max_by_key(|job| over(*job)).filter(|job| over(*job) > 0);
            if let Some(job) = late {
                self.path.clear();
                line.trace(job, random >> 8, &mut self.path);
            }
        }
        if self.path.is_empty() {
            line.trace(line.last, random >> 8, &mut self.path);
        }
        let at = next_below(&mut self.seed, self.path.len());
        self.path.get(at).map_or_else(|| next_below(&mut self.seed, jobs), |job| *job as usize)
    }

    /// Tries one move. `pull` is what a job costs with an agent besides the cost of the schedule.
    /// Returns whether the schedule has changed.
    pub fn step(&mut self, line: &mut Line, temperature: f64, pull: &impl Fn(usize, u32) -> i64) -> bool {
        line.steps += 1;
        let job = self.pick(line);
        let has_changed = if next_random(&mut self.seed) % 4 != 0 {
            self.exchange(line, job, temperature, pull)
        } else {
            self.relocate(line, job, temperature, pull)
        };
        if has_changed {
            self.kept += 1;
            self.path.clear();
        }
        has_changed
    }

    fn relocate(&mut self, line: &mut Line, job: usize, temperature: f64, pull: &impl Fn(usize, u32) -> i64) -> bool {
        let (from, old) = (line.place[job] as usize, line.agent[job]);
        let to = self.draw_place(line, job, from);
        let Some(agent) = self.draw_agent(line, job, to, temperature, pull) else { return false };
        let limit = line.cost.saturating_add(self.heat(temperature));
        let limit = limit.saturating_add_signed(pull(job, old) - pull(job, agent));
        line.assign(job, agent);
        line.shift(from, to);
        let (begin, end) = (from.min(to), from.max(to));
        self.attempts += 1;
        if line.attempt(begin, end, limit).is_some() {
            line.keep(begin, end);
            return true;
        }
        line.shift(to, from);
        line.assign(job, old);
        false
    }

    /// A place that its parents and children permit: where it is, near it, or any.
    fn draw_place(&mut self, line: &Line, job: usize, from: usize) -> usize {
        let random = next_random(&mut self.seed);
        let (low, high) = match random % 8 {
            0..4 => return from,
            4..7 => (from.saturating_sub(NEAR), from + NEAR),
            _ => (0, usize::MAX),
        };
        let (first, last) = line.places(job);
        let (low, high) = (low.max(first), high.min(last));
        low + next_below(&mut self.seed, high - low + 1)
    }

    /// The agent with the lowest estimate plus noise, if the job is at this place of the order.
    fn draw_agent(
        &mut self,
        line: &mut Line,
        job: usize,
        to: usize,
        temperature: f64,
        pull: &impl Fn(usize, u32) -> i64,
    ) -> Option<u32> {
        let instance = line.instance;
        let (from, old) = (line.place[job] as usize, line.agent[job]);
        line.tokens_before(if to > from { to + 1 } else { to }, job as u32);
        let (ready, below) = (line.ready(job), line.tail_below(job));
        let weights = instance.problem.weights;
        let by_time = f64::from(weights.makespan.max(1));
        let able = instance.able_of(job);
        line.steps += able.len() as u64 / 2 + 1;
        let mut best = (f64::INFINITY, NONE);
        for &agent in able {
            if agent == old && to == from {
                continue;
            }
            let through = through(line, job, agent, ready, below);
            let regret = u64::from(weights.affinity) * instance.regret_of(job, agent);
            let noise = self.exponential.draw(next_random(&mut self.seed)) * temperature;
            let estimate = through as f64 * by_time + regret as f64 + pull(job, agent) as f64 + noise;
            if estimate < best.0 {
                best = (estimate, agent);
            }
        }
        Some(best.1).filter(|agent| *agent != NONE)
    }

    /// Two jobs change agents and, if their families permit, places. Of some partners the one with
    /// the lowest estimate plus noise is taken.
    fn exchange(&mut self, line: &mut Line, job: usize, temperature: f64, pull: &impl Fn(usize, u32) -> i64) -> bool {
        let from = line.place[job] as usize;
        let (low, high) = (from.saturating_sub(NEAR), (from + NEAR + 1).min(line.order.len()));
        let mine = line.agent[job];
        let can = |job: usize, agent: u32| line.instance.able_of(job).binary_search(&agent).is_ok();
        let mut best = (f64::INFINITY, NONE);
        line.steps += PARTNERS as u64 / 2;
        for _ in 0..PARTNERS {
            let other = line.order[low + next_below(&mut self.seed, high - low)] as usize;
            let its = line.agent[other];
            if mine == its || !can(job, its) || !can(other, mine) {
                continue;
            }
            let way = instead(line, job, other).max(instead(line, other, job));
            let noise = self.exponential.draw(next_random(&mut self.seed)) * temperature;
            let estimate = way as f64 * f64::from(line.instance.problem.weights.makespan) + noise;
            if estimate < best.0 {
                best = (estimate, other as u32);
            }
        }
        if best.1 == NONE {
            return false;
        }
        let other = best.1 as usize;
        let its = line.agent[other];
        let limit = line.cost.saturating_add(self.heat(temperature));
        let before = pull(job, mine) + pull(other, its);
        let limit = limit.saturating_add_signed(before - pull(job, its) - pull(other, mine));
        let to = line.place[other] as usize;
        let (begin, end) = (from.min(to), from.max(to));
        let is_free =
            line.places(line.order[begin] as usize).1 >= end && line.places(line.order[end] as usize).0 <= begin;
        line.assign(job, its);
        line.assign(other, mine);
        if is_free {
            line.swap(from, to);
        }
        self.attempts += 1;
        if line.attempt(begin, end, limit).is_some() {
            line.keep(begin, end);
            return true;
        }
        if is_free {
            line.swap(from, to);
        }
        line.assign(job, mine);
        line.assign(other, its);
        false
    }

    /// The order is another now, so paths are.
    pub fn forget(&mut self) {
        self.path.clear();
    }
}

/// The longest way through a job with this agent, at the place for which the tokens are.
fn through(line: &Line, job: usize, agent: u32, ready: Millis, below: Millis) -> Millis {
    let instance = line.instance;
    let root = line.tokens[instance.tokens_of(agent).start];
    let (mut free, mut by) = (free_at(root), holder_of(root));
    if by == job as u32 {
        by = line.before[job];
        free = if by == NONE { instance.tokens[instance.tokens_of(agent).start] } else { line.end[by as usize] };
    }
    let mut next = if by == NONE { line.first[agent as usize] } else { line.after[by as usize] };
    if next == job as u32 {
        next = line.after[job];
    }
    let behind = if next == NONE { 0 } else { line.tail[next as usize] };
    ready.max(free) + instance.duration(job, agent) + below.max(behind)
}

/// The longest way through a job if it were where another one is.
fn instead(line: &Line, job: usize, other: usize) -> Millis {
    let (before, after) = (line.before[other], line.after[other]);
    let agent = line.agent[other];
    let free = if before == NONE {
        line.instance.tokens[line.instance.tokens_of(agent).start]
    } else {
        line.end[before as usize]
    };
    let behind = if after == NONE { 0 } else { line.tail[after as usize] };
    line.ready(job).max(free) + line.instance.duration(job, agent) + line.tail_below(job).max(behind)
}
