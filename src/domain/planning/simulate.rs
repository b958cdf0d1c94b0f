//! What happens without a plan: whoever is free first claims the first ready task that it may do,
//! by priority, then by how long the task has been ready. It is the baseline of the bench, and
//! GREEDY takes it where it is better than HEFT, so that a plan never promises less than no plan.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::domain::planning::instance::Instance;
use crate::domain::Millis;

/// Looks at ready tasks and agents, in all: some ten milliseconds.
const LOOKS_MAX: u64 = 1_000_000;

/// The jobs in the order of their claims, and the agent of each job. `None` if it takes too long to
/// find out.
pub fn claims(instance: &Instance) -> Option<(Vec<u32>, Vec<u32>)> {
    let mut state = State::new(instance);
    let mut now = 0;
    loop {
        state.wake(now);
        while state.claim(now) {
            state.wake(now);
        }
        if state.looks > LOOKS_MAX {
            return None;
        }
        let Some(next) = state.next_after(now) else { break };
        now = next;
    }
    Some((state.order, state.agents))
}

type Ready = (Reverse<i64>, Millis, u32);

struct State<'a> {
    instance: &'a Instance<'a>,
    order: Vec<u32>,
    agents: Vec<u32>,
    /// When each token is free.
    tokens: Vec<Millis>,
    /// By pool: the token that is free first, and when.
    first: Vec<(Millis, usize)>,
    /// Pools that every job uses.
    common: Vec<u32>,
    ready: BTreeSet<Ready>,
    /// When something becomes free or a job becomes ready.
    events: BTreeSet<(Millis, u32)>,
    /// Parents that have not ended.
    missing: Vec<u32>,
    /// When a job has no more missing parents.
    since: Vec<Millis>,
    looks: u64,
}

impl<'a> State<'a> {
    fn new(instance: &'a Instance<'a>) -> Self {
        let jobs = instance.len();
        let missing: Vec<u32> = (0..jobs).map(|job| instance.parents_of(job).len() as u32).collect();
        let mut events: BTreeSet<_> = instance.tokens.iter().map(|free| (*free, u32::MAX)).collect();
        let first = (0..jobs).filter(|job| missing[*job] == 0);
        events.extend(first.map(|job| (instance.jobs[job].release, (jobs + job) as u32)));
        Self {
            instance,
            order: Vec::with_capacity(jobs),
            agents: vec![0; jobs],
            tokens: instance.tokens.clone(),
            first: (0..instance.pools() as u32)
                .map(|pool| instance.tokens_of(pool).map(|at| (instance.tokens[at], at)).min().unwrap_or((0, 0)))
                .collect(),
            common: common(instance),
            ready: BTreeSet::new(),
            events,
            missing,
            since: instance.jobs.iter().map(|job| job.release).collect(),
            looks: 0,
        }
    }

    /// Jobs that end or become ready until now.
    fn wake(&mut self, now: Millis) {
        let jobs = self.instance.len();
        while let Some(&(at, what)) = self.events.first().filter(|(at, _)| *at <= now) {
            self.events.pop_first();
            let what = what as usize;
            if what < jobs {
                for &child in self.instance.children_of(what) {
                    let child = child as usize;
                    self.missing[child] -= 1;
                    self.since[child] = self.since[child].max(at);
                    if self.missing[child] == 0 {
                        self.events.insert((self.since[child], (jobs + child) as u32));
                    }
                }
            } else if what < 2 * jobs {
                let job = what - jobs;
                let priority = self.instance.problem.priority[self.instance.tasks[job] as usize];
                self.ready.insert((Reverse(priority), at, job as u32));
            }
        }
    }

    fn next_after(&self, now: Millis) -> Option<Millis> {
        self.events.first().map(|(at, _)| (*at).max(now))
    }

    /// The first free token of a pool: when it was free, and which.
    fn free(&self, pool: u32, now: Millis) -> Option<(Millis, usize)> {
        Some(self.first[pool as usize]).filter(|(free, _)| *free <= now)
    }

    /// Each free agent, the one that waits longest first, claims one job. Returns whether one did.
    fn claim(&mut self, now: Millis) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let agents = 0..self.instance.problem.agents.len() as u32;
        self.looks += u64::from(agents.end);
        let mut free: Vec<_> = agents.filter_map(|agent| Some((self.free(agent, now)?.0, agent))).collect();
        free.sort_unstable();
        let mut has_claimed = false;
        for (_, agent) in free {
            if self.common.iter().any(|pool| self.free(*pool, now).is_none()) {
                break;
            }
            let mut looks = 0;
            let found = self.ready.iter().find(|(_, _, job)| {
                looks += 1;
                let job = *job as usize;
                let is_able = self.instance.able_of(job).binary_search(&agent).is_ok();
                is_able && self.instance.uses_of(job).iter().all(|pool| self.free(*pool, now).is_some())
            });
            let found = found.copied();
            self.looks += looks;
            if let Some(entry) = found {
                self.ready.remove(&entry);
                self.start(entry.2 as usize, agent, now);
                has_claimed = true;
            }
        }
        has_claimed && self.looks <= LOOKS_MAX
    }

    fn start(&mut self, job: usize, agent: u32, now: Millis) {
        let duration = self.instance.duration(job, agent);
        for &pool in std::iter::once(&agent).chain(self.instance.uses_of(job)) {
            let until = now + self.instance.hold(pool, duration);
            if let Some((_, at)) = self.free(pool, now) {
                self.tokens[at] = until;
                self.events.insert((until, u32::MAX));
                let tokens = self.instance.tokens_of(pool).map(|at| (self.tokens[at], at));
                self.first[pool as usize] = tokens.min().unwrap_or((0, 0));
            }
        }
        self.agents[job] = agent;
        self.order.push(job as u32);
        self.events.insert((now + duration, job as u32));
    }
}

/// The pools that every job uses.
fn common(instance: &Instance) -> Vec<u32> {
    let Some(last) = instance.len().checked_sub(1) else { return Vec::new() };
    let all = instance.uses_of(last).iter().copied();
    all.filter(|pool| (0..=last).all(|job| instance.uses_of(job).contains(pool))).collect()
}
