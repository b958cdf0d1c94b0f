//! Lower bounds of the makespan. Each is valid for every schedule, however good the prices are.
//!
//! - **Critical path**: the longest way with the fastest agents, from when those are free.
//! - **Area**: give each agent a price w per ms. A job costs at least its smallest duration times
//!   price, and until C an agent offers w for each ms in which a slot is free. C has to be so large
//!   that the offer covers the costs. With the best prices that is the linear relaxation of the
//!   assignment problem (J. K. Lenstra, D. B. Shmoys, É. Tardos 1990); prices are improved by
//!   subgradient steps and the best are kept. It is repeated for the jobs between a first time and
//!   a last time (by heads and tails), since work that comes late or early has less room.
//! - **Pools**: the same for each lock, group, the flow, and the starts that the rate admits.
//!
//! Sums are integers; prices are rounded before they are used. Work: about [`CELLS`] cells of the
//! table of durations, and [`CUTS`]² looks at all jobs.

use crate::domain::planning::instance::Instance;
use crate::domain::Millis;

/// Cells that may be looked at to improve prices.
const CELLS: usize = 200_000;
/// Rounds of improving prices.
const ROUNDS_MAX: usize = 100;
/// First times, and last times, for which the area is computed.
const CUTS: usize = 10;
/// Prices are fractions of this.
const PRICE_SCALE: f64 = (1_u64 << 24) as f64;

/// Lower bounds of the makespan, ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The critical path.
    pub critical_path_ms: Millis,
    /// The area of the agents.
    pub area_ms: Millis,
    /// The pools besides agents.
    pub pools_ms: Millis,
    /// Lateness that no schedule avoids, ms.
    pub late_ms: u64,
}

impl Bounds {
    /// The largest of them.
    pub fn makespan_ms(&self) -> Millis {
        self.critical_path_ms.max(self.area_ms).max(self.pools_ms)
    }
}

/// Computes the bounds.
pub fn bounds(instance: &Instance) -> Bounds {
    let mut bounds = Bounds { critical_path_ms: instance.running_until, late_ms: instance.late, ..Bounds::default() };
    if instance.is_empty() {
        return bounds;
    }
    let mut heads = Vec::with_capacity(instance.len());
    let mut ends: Vec<Millis> = Vec::with_capacity(instance.len());
    for job in 0..instance.len() {
        let parents = instance.parents_of(job).iter().map(|parent| ends[*parent as usize]);
        let head = parents.max().unwrap_or(0).max(instance.jobs[job].release);
        let first = |agent: u32| instance.tokens[instance.tokens_of(agent).start];
        let end = |agent: &u32| head.max(first(*agent)) + instance.duration(job, *agent);
        let end = instance.able_of(job).iter().map(end).min().unwrap_or(head);
        heads.push(head);
        ends.push(end);
        bounds.critical_path_ms = bounds.critical_path_ms.max(end + instance.below[job]);
        bounds.late_ms += end.saturating_sub(instance.jobs[job].deadline);
    }
    bounds.area_ms = area(instance, &heads);
    bounds.pools_ms = pools(instance, &heads);
    bounds
}

/// Slots that an agent can use at most at once.
fn slots(instance: &Instance, agent: usize) -> f64 {
    instance.tokens_of(agent as u32).len() as f64
}

/// Prices of the agents, improved as long as the work permits.
fn prices(instance: &Instance) -> Vec<u64> {
    let agents = instance.problem.agents.len();
    let mut counts = vec![0_u32; instance.problem.classes];
    (0..instance.len()).for_each(|job| counts[instance.jobs[job].class as usize] += 1);
    let classes: Vec<(usize, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(class, count)| (class, f64::from(*count)))
        .collect();
    let mut price = first_prices(instance, &classes);
    let mut best = (-1.0, price.clone());
    let cells: usize =
        classes.iter().map(|(class, _)| (instance.able_at[class + 1] - instance.able_at[*class]) as usize).sum();
    let rounds = (CELLS / cells.max(1)).clamp(2, ROUNDS_MAX);
    let busy: Vec<f64> = (0..agents as u32)
        .map(|agent| instance.tokens[instance.tokens_of(agent)].iter().map(|free| *free as f64).sum())
        .collect();
    let mut load = vec![0.0; agents];
    for round in 0..rounds {
        load.copy_from_slice(&busy);
        let mut value = 0.0;
        for &(class, count) in &classes {
            let (mut least, mut who) = (f64::INFINITY, 0);
            for &agent in &instance.able[instance.able_at[class] as usize..instance.able_at[class + 1] as usize] {
                let agent = agent as usize;
                let cost = price[agent] * f64::from(instance.problem.duration_ms[class * agents + agent]);
                if cost < least {
                    (least, who) = (cost, agent);
                }
            }
            value += least * count;
            load[who] += f64::from(instance.problem.duration_ms[class * agents + who]) * count;
        }
        let offer: f64 = (0..agents).map(|agent| price[agent] * slots(instance, agent)).sum();
        value += price.iter().zip(&busy).map(|(price, busy)| price * busy).sum::<f64>();
        if offer <= 0.0 {
            break;
        }
        let bound = value / offer;
        if bound > best.0 {
            best = (bound, price.clone());
        }
        // An agent that would have to work for longer than the bound becomes dearer.
        let step = 0.3 / (1.0 + round as f64 / 6.0);
        for agent in 0..agents {
            let room = slots(instance, agent) * bound;
            let excess = if room > 0.0 { (load[agent] / room - 1.0).clamp(-1.0, 1.0) } else { 0.0 };
            price[agent] *= 1.0 + step * excess;
        }
    }
    let most = best.1.iter().copied().fold(0.0, f64::max);
    best.1.iter().map(|price| (price / most.max(f64::MIN_POSITIVE) * PRICE_SCALE) as u64).collect()
}

/// The price of an agent is its mean speed compared with the others: right if agents differ only by
/// their speed.
fn first_prices(instance: &Instance, classes: &[(usize, f64)]) -> Vec<f64> {
    let agents = instance.problem.agents.len();
    let (mut ratios, mut counts) = (vec![0.0; agents], vec![0.0; agents]);
    for &(class, count) in classes {
        let able = &instance.able[instance.able_at[class] as usize..instance.able_at[class + 1] as usize];
        let duration = |agent: u32| f64::from(instance.problem.duration_ms[class * agents + agent as usize]);
        let mean = able.iter().map(|agent| duration(*agent)).sum::<f64>() / able.len().max(1) as f64;
        if mean > 0.0 {
            for &agent in able {
                // By work: long classes show speeds more exactly.
                ratios[agent as usize] += duration(agent) * count;
                counts[agent as usize] += mean * count;
            }
        }
    }
    ratios.iter().zip(&counts).map(|(ratio, count)| if *ratio > 0.0 { count / ratio } else { 0.0 }).collect()
}

/// The area bound for all jobs, and for those between a first and a last time.
fn area(instance: &Instance, heads: &[Millis]) -> Millis {
    let prices = prices(instance);
    let mut least: Vec<Option<u64>> = vec![None; instance.problem.classes];
    let costs: Vec<u128> = (0..instance.len())
        .map(|job| {
            let cost = |agent: &u32| prices[*agent as usize].saturating_mul(instance.duration(job, *agent));
            let able = instance.able_of(job).iter();
            let slot = &mut least[instance.jobs[job].class as usize];
            u128::from(*slot.get_or_insert_with(|| able.map(cost).min().unwrap_or(0)))
        })
        .collect();
    let slots: Vec<(Millis, u64)> = prices
        .iter()
        .enumerate()
        .flat_map(|(agent, price)| instance.tokens[instance.tokens_of(agent as u32)].iter().map(|free| (*free, *price)))
        .collect();
    let mut best: Millis = 0;
    for first in cuts(heads) {
        for last in cuts(&instance.below) {
            let inside = |job: &usize| heads[*job] >= first && instance.below[*job] >= last;
            let work: u128 = (0..heads.len()).filter(inside).map(|job| costs[job]).sum();
            best = best.max(until_covered(&slots, first, work, best.saturating_sub(last)).saturating_add(last));
        }
    }
    best
}

/// Some of the values, evenly spaced by rank, with 0.
fn cuts(values: &[Millis]) -> Vec<Millis> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let mut cuts: Vec<Millis> = (0..CUTS).filter_map(|cut| sorted.get(cut * sorted.len() / CUTS)).copied().collect();
    cuts.push(0);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// The first time, not before `at_least`, at which the slots have offered enough since `first`.
fn until_covered(slots: &[(Millis, u64)], first: Millis, work: u128, at_least: Millis) -> Millis {
    let is_enough = |time: Millis| {
        let offers =
            slots.iter().map(|(free, price)| u128::from(time.saturating_sub(first.max(*free))) * u128::from(*price));
        offers.sum::<u128>() >= work
    };
    if is_enough(at_least) {
        return at_least;
    }
    let (mut low, mut high) = (at_least, at_least.max(1));
    while !is_enough(high) {
        low = high;
        if high > Millis::MAX / 4 {
            return at_least;
        }
        high *= 2;
    }
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The bound of the pools besides agents.
fn pools(instance: &Instance, heads: &[Millis]) -> Millis {
    let agents = instance.problem.agents.len();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); instance.pools() - agents];
    for job in 0..instance.len() {
        instance.uses_of(job).iter().for_each(|pool| users[*pool as usize - agents].push(job));
    }
    let fastest = |job: usize| Millis::from(instance.fastest[instance.jobs[job].class as usize]);
    let mut best = 0;
    for (pool, jobs) in users.iter().enumerate() {
        let pool = (agents + pool) as u32;
        let frees = &instance.tokens[instance.tokens_of(pool)];
        let head = jobs.iter().map(|job| heads[*job]).min().unwrap_or(0);
        if let Some((_, window)) = instance.rate.filter(|(rate, _)| *rate == pool) {
            let tail = jobs.iter().map(|job| fastest(*job) + instance.below[*job]).min().unwrap_or(0);
            best = best.max(last_start(frees, head, window, jobs.len() as u64) + tail);
        } else {
            let tail = jobs.iter().map(|job| instance.below[*job]).min().unwrap_or(0);
            let slots: Vec<(Millis, u64)> = frees.iter().map(|free| (*free, 1)).collect();
            let work = jobs.iter().map(|job| u128::from(fastest(*job))).sum();
            best = best.max(until_covered(&slots, head, work, 0) + tail);
        }
    }
    best
}

/// When the last of so many starts is, at the earliest, if each token admits one per window.
fn last_start(frees: &[Millis], head: Millis, window: Millis, starts: u64) -> Millis {
    let count = |time: Millis| {
        let since = frees.iter().filter_map(|free| time.checked_sub(head.max(*free)));
        since.map(|since| since.checked_div(window).map_or(starts, |more| more + 1)).fold(0, u64::saturating_add)
    };
    let (mut low, mut high) = (0, (1 << 44) + head + window * starts);
    while low < high {
        let middle = low + (high - low) / 2;
        if count(middle) >= starts {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}
