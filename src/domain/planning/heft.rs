//! GREEDY: H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-Effective and Low-Complexity Task
//! Scheduling for Heterogeneous Computing" (2002). Jobs go by upward rank, computed with the mean
//! duration of the agents that may do them. Each goes to the agent that ends it first, into a gap
//! if one is long enough. Affinity counts as if it were time. Work: jobs times agents times tokens
//! in use, within the bound of [`crate::domain::planning::gaps`].

use crate::domain::planning::gaps::Timelines;
use crate::domain::planning::instance::Instance;
use crate::domain::Millis;

/// Ranks are sixteenths of a millisecond.
const RANK_SCALE: u64 = 16;

/// The upward rank of each job.
fn ranks(instance: &Instance) -> Vec<u64> {
    let mut means = vec![None; instance.problem.classes];
    let mut ranks = vec![0_u64; instance.len()];
    for job in (0..instance.len()).rev() {
        let able = instance.able_of(job);
        let mean = *means[instance.jobs[job].class as usize].get_or_insert_with(|| {
            let sum: Millis = able.iter().map(|agent| instance.duration(job, *agent)).sum();
            sum * RANK_SCALE / able.len().max(1) as u64
        });
        let below = instance.children_of(job).iter().map(|child| ranks[*child as usize]).max().unwrap_or(0);
        // One more, so that a parent always goes before its child.
        ranks[job] = below + mean + 1;
    }
    ranks
}

/// The order of the jobs by start, and the agent of each job.
pub fn heft(instance: &Instance) -> (Vec<u32>, Vec<u32>) {
    let ranks = ranks(instance);
    let priority = |job: u32| instance.problem.priority[instance.tasks[job as usize] as usize];
    let mut order: Vec<u32> = (0..instance.len() as u32).collect();
    order.sort_unstable_by_key(|job| (std::cmp::Reverse((ranks[*job as usize], priority(*job))), *job));
    let mut agents = vec![0; instance.len()];
    let mut starts: Vec<Millis> = vec![0; instance.len()];
    let mut ends: Vec<Millis> = vec![0; instance.len()];
    let mut lines = Timelines::new(instance);
    for job in order.iter().map(|job| *job as usize) {
        let parents = instance.parents_of(job).iter().map(|parent| ends[*parent as usize]);
        let ready = parents.max().unwrap_or(0).max(instance.jobs[job].release);
        let mut best = (Millis::MAX, 0, 0, 0);
        for &agent in instance.able_of(job) {
            let (duration, regret) = (instance.duration(job, agent), instance.regret_of(job, agent));
            if ready + duration + regret >= best.0 {
                continue;
            }
            if let Some(start) = lines.earliest(job, agent, ready, best.0 - duration - regret) {
                best = best.min((start + duration + regret, start + duration, start, agent));
            }
        }
        let (_, end, start, agent) = best;
        lines.take(job, agent, start);
        (agents[job], starts[job], ends[job]) = (agent, start, end);
    }
    // Sorting keeps parents first: the order by rank has them so, and they start no later.
    order.sort_by_key(|job| starts[*job as usize]);
    (order, agents)
}
