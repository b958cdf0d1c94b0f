//! A problem made ready for the search: only the tasks that are still to be placed, and every
//! limit as a **pool of tokens**. A task takes a token of each of its pools when it starts. It
//! keeps those of its agent, its locks, its group and the flow until it ends, and that of the rate
//! for the window. So one rule covers all of them: a task starts when each pool has a free token.
//!
//! Scheduled in the order of their starts, tasks lose nothing by taking the token that became free
//! first: tokens of a pool are alike. So every left-shifted schedule is an order and an agent for
//! each task, and the best schedule is among them.

use crate::domain::planning::model::{Problem, NEVER, NONE};
use crate::domain::planning::schedule::{Schedule, Unplaceable};
use crate::domain::Millis;

/// Tokens of all pools; agents with a larger capacity count as if they had an equal share of this.
pub const TOKENS_MAX: usize = 65_536;

/// The part of a task that every decoding reads.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// No start before, ms.
    pub release: Millis,
    /// Deadline, ms; the largest number is none.
    pub deadline: Millis,
    /// Where its row in the table of durations begins.
    pub row: u32,
    /// Where its parents begin.
    pub parent_at: u32,
    /// Where its uses of pools other than its agent begin.
    pub use_at: u32,
    /// Its class.
    pub class: u32,
}

/// Tasks to be placed are *jobs* here and have numbers of their own, parents first.
#[derive(Debug)]
pub struct Instance<'a> {
    /// What it was made of.
    pub problem: &'a Problem,
    /// The task of each job.
    pub tasks: Vec<u32>,
    /// One more than there are jobs, for the ends of their lists.
    pub jobs: Vec<Job>,
    /// Parents of all jobs.
    pub parents: Vec<u32>,
    /// Where the children of each job begin.
    pub child_at: Vec<u32>,
    /// Children of all jobs.
    pub children: Vec<u32>,
    /// Pools of all jobs, without their agents.
    pub uses: Vec<u32>,
    /// Where the tokens of each pool begin. The first pools are the agents.
    pub token_at: Vec<u32>,
    /// When each token is free at first, ms; the smallest of each pool first.
    pub tokens: Vec<Millis>,
    /// The pool of the rate and its window, ms.
    pub rate: Option<(u32, Millis)>,
    /// Where the agents of each class begin.
    pub able_at: Vec<u32>,
    /// Agents that may do each class, by number.
    pub able: Vec<u32>,
    /// The shortest duration of each class, ms.
    pub fastest: Vec<u32>,
    /// The longest way from the end of a job to the end of the flow, with the fastest agents, ms.
    pub below: Vec<Millis>,
    /// Running tasks, and the tasks that cannot be placed.
    pub fixed: Schedule,
    /// When the last running task ends, ms.
    pub running_until: Millis,
    /// Lateness of the running tasks, ms.
    pub late: u64,
    /// Affinity of the running tasks above the best, ms.
    pub regret: u64,
    /// Affinity above the best by class and agent, ms; empty if there is none.
    pub regrets: Vec<u32>,
    /// Whether some pool has several tokens.
    pub has_wide_pools: bool,
}

impl<'a> Instance<'a> {
    /// Makes it ready.
    pub fn new(problem: &'a Problem) -> Result<Self, String> {
        problem.validate()?;
        let mut able_at = vec![0];
        let mut able = Vec::new();
        let mut fastest = Vec::with_capacity(problem.classes);
        for class in 0..problem.classes {
            let durations = problem.durations_of(class as u32);
            let can = |agent: &usize| durations[*agent] != NEVER && problem.agents[*agent].capacity > 0;
            able.extend((0..durations.len()).filter(can).map(|agent| agent as u32));
            fastest.push((0..durations.len()).filter(can).map(|agent| durations[agent]).min().unwrap_or(NEVER));
            able_at.push(able.len() as u32);
        }
        let fixed = fixed(problem, &fastest);
        let mut made = Self {
            problem,
            tasks: (0..problem.len() as u32).filter(|task| is_job(problem, &fixed, *task as usize)).collect(),
            jobs: Vec::new(),
            parents: Vec::new(),
            child_at: Vec::new(),
            children: Vec::new(),
            uses: Vec::new(),
            token_at: vec![0],
            tokens: Vec::new(),
            rate: None,
            able_at,
            able,
            fastest,
            below: Vec::new(),
            running_until: fixed.end_ms.iter().copied().max().unwrap_or(0),
            late: 0,
            regret: 0,
            regrets: Vec::new(),
            has_wide_pools: false,
            fixed,
        };
        made.link();
        made.add_pools();
        made.add_costs();
        Ok(made)
    }

    /// The number of jobs.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing is to be placed.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The parents of a job.
    pub fn parents_of(&self, job: usize) -> &[u32] {
        &self.parents[self.jobs[job].parent_at as usize..self.jobs[job + 1].parent_at as usize]
    }

    /// The children of a job.
    pub fn children_of(&self, job: usize) -> &[u32] {
        &self.children[self.child_at[job] as usize..self.child_at[job + 1] as usize]
    }

    /// The pools of a job without its agent.
    pub fn uses_of(&self, job: usize) -> &[u32] {
        &self.uses[self.jobs[job].use_at as usize..self.jobs[job + 1].use_at as usize]
    }

    /// The agents that may do a job.
    pub fn able_of(&self, job: usize) -> &[u32] {
        let class = self.jobs[job].class as usize;
        &self.able[self.able_at[class] as usize..self.able_at[class + 1] as usize]
    }

    /// How long an agent that may do it takes, ms.
    pub fn duration(&self, job: usize, agent: u32) -> Millis {
        Millis::from(self.problem.duration_ms[self.jobs[job].row as usize + agent as usize])
    }

    /// Affinity above the best, ms.
    pub fn regret_of(&self, job: usize, agent: u32) -> u64 {
        let at = self.jobs[job].row as usize + agent as usize;
        self.regrets.get(at).map_or(0, |regret| u64::from(*regret))
    }

    /// How long a job keeps a token of a pool, if it takes so long, ms.
    pub fn hold(&self, pool: u32, duration: Millis) -> Millis {
        self.rate.filter(|(rate, _)| *rate == pool).map_or(duration, |(_, window)| window)
    }

    /// The number of pools.
    pub fn pools(&self) -> usize {
        self.token_at.len() - 1
    }

    /// The tokens of a pool.
    pub fn tokens_of(&self, pool: u32) -> std::ops::Range<usize> {
        self.token_at[pool as usize] as usize..self.token_at[pool as usize + 1] as usize
    }

    /// Jobs, their parents and children, and the way below them.
    fn link(&mut self) {
        let problem = self.problem;
        let mut job_of = vec![NONE; problem.len()];
        self.tasks.iter().enumerate().for_each(|(job, task)| job_of[*task as usize] = job as u32);
        let mut counts = vec![0_u32; self.len() + 1];
        for &task in &self.tasks {
            let task = task as usize;
            let parent_at = self.parents.len() as u32;
            let mut release = problem.earliest_ms[task];
            for parent in problem.parents_of(task).iter().map(|parent| *parent as usize) {
                if job_of[parent] == NONE {
                    release = release.max(self.fixed.end_ms[parent]);
                } else {
                    counts[job_of[parent] as usize] += 1;
                    self.parents.push(job_of[parent]);
                }
            }
            let deadline = problem.deadline_ms[task].checked_sub(1).map_or(Millis::MAX, |before| before + 1);
            let (class, row) = (problem.class[task], problem.class[task] * problem.agents.len() as u32);
            self.jobs.push(Job { release, deadline, row, parent_at, use_at: 0, class });
        }
        let parent_at = self.parents.len() as u32;
        self.jobs.push(Job { release: 0, deadline: Millis::MAX, row: 0, parent_at, use_at: 0, class: 0 });
        let starts = counts.iter().scan(0, |at, count| {
            *at += count;
            Some(*at - count)
        });
        self.child_at = starts.collect();
        self.children = vec![0; self.parents.len()];
        let mut next = self.child_at.clone();
        self.below = vec![0; self.len()];
        for job in 0..self.len() {
            for &parent in &self.parents[self.jobs[job].parent_at as usize..self.jobs[job + 1].parent_at as usize] {
                let place = &mut next[parent as usize];
                self.children[*place as usize] = job as u32;
                *place += 1;
            }
        }
        for job in (0..self.len()).rev() {
            let way = |child: &u32| {
                let fastest = self.fastest[self.jobs[*child as usize].class as usize];
                self.below[*child as usize] + Millis::from(fastest)
            };
            self.below[job] = self.children_of(job).iter().map(way).max().unwrap_or(0);
        }
    }

    /// All pools: agents, locks, groups, the flow, the rate. Those that can hold nobody up are left
    /// out.
    fn add_pools(&mut self) {
        let problem = self.problem;
        let running = |task: usize| problem.running[task].is_some();
        let mut by_agent: Vec<Vec<Millis>> = problem.agents.iter().map(|agent| agent.busy_until_ms.clone()).collect();
        let mut by_lock: Vec<Vec<Millis>> = problem.lock_busy_until_ms.iter().map(|until| vec![*until]).collect();
        let mut by_group: Vec<Vec<Millis>> = vec![Vec::new(); problem.group_max.len()];
        let mut in_flow = Vec::new();
        for task in (0..problem.len()).filter(|task| running(*task)) {
            let until = self.fixed.end_ms[task];
            by_agent[self.fixed.agent[task] as usize].push(until);
            problem.locks_of(task).iter().for_each(|lock| by_lock[*lock as usize].push(until));
            if problem.group[task] != NONE {
                by_group[problem.group[task] as usize].push(until);
            }
            in_flow.push(until);
        }
        let share = (TOKENS_MAX / 2 / problem.agents.len().max(1)).clamp(1, self.len().max(1));
        for (agent, busy) in problem.agents.iter().zip(by_agent) {
            self.add_pool((agent.capacity as usize).min(share), busy);
        }
        let slots = self.tokens.len();
        let mut pools_of: Vec<Vec<u32>> = vec![Vec::new(); self.len()];
        let mut users = vec![Vec::new(); by_lock.len() + by_group.len()];
        for (job, task) in self.tasks.iter().enumerate() {
            let task = *task as usize;
            problem.locks_of(task).iter().for_each(|lock| users[*lock as usize].push(job));
            if problem.group[task] != NONE {
                users[by_lock.len() + problem.group[task] as usize].push(job);
            }
        }
        let maxima: Vec<usize> =
            by_lock.iter().map(|_| 1).chain(problem.group_max.iter().map(|max| *max as usize)).collect();
        for ((mut jobs, busy), max) in users.into_iter().zip(by_lock.into_iter().chain(by_group)).zip(maxima) {
            jobs.dedup();
            if jobs.is_empty() || jobs.len() + busy.iter().filter(|until| **until > 0).count() <= max {
                continue;
            }
            let pool = self.add_pool(max, busy);
            jobs.iter().for_each(|job| pools_of[*job].push(pool));
        }
        let active = problem.active_max as usize;
        if active > 0 && active < slots.min(self.len()) + in_flow.len() {
            let pool = self.add_pool(active, in_flow);
            pools_of.iter_mut().for_each(|pools| pools.push(pool));
        }
        if let Some(rate) = &problem.rate {
            if (rate.count as usize) < self.len() + rate.recent_until_ms.len() {
                let pool = self.add_pool(rate.count as usize, rate.recent_until_ms.clone());
                self.rate = Some((pool, Millis::from(rate.window_ms)));
                pools_of.iter_mut().for_each(|pools| pools.push(pool));
            }
        }
        for (job, pools) in pools_of.iter().enumerate() {
            self.jobs[job].use_at = self.uses.len() as u32;
            self.uses.extend_from_slice(pools);
        }
        self.jobs[self.tasks.len()].use_at = self.uses.len() as u32;
    }

    /// A pool of so many tokens. Of those who hold some already only the last ones count: while as
    /// many as there are tokens hold one, nobody else gets one.
    fn add_pool(&mut self, count: usize, mut busy: Vec<Millis>) -> u32 {
        busy.sort_unstable_by(|one, other| other.cmp(one));
        busy.resize(count, 0);
        self.tokens.extend(busy.iter().rev());
        self.token_at.push(self.tokens.len() as u32);
        self.has_wide_pools |= count > 1;
        (self.token_at.len() - 2) as u32
    }

    fn add_costs(&mut self) {
        let problem = self.problem;
        for task in 0..problem.len() {
            if let Some(running) = problem.running[task] {
                let deadline = problem.deadline_ms[task];
                if deadline > 0 {
                    self.late += self.fixed.end_ms[task].saturating_sub(deadline);
                }
                self.regret += problem.regret(problem.class[task], running.agent);
            }
        }
        if problem.affinity_ms.iter().any(|affinity| *affinity != 0) {
            for (class, row) in problem.affinity_ms.chunks(problem.agents.len()).enumerate() {
                let best = problem.best_affinity(class as u32);
                let above = |cost: &i32| (i64::from(*cost) - best).clamp(0, i64::from(u32::MAX)) as u32;
                self.regrets.extend(row.iter().map(above));
            }
        }
    }
}

fn is_job(problem: &Problem, fixed: &Schedule, task: usize) -> bool {
    let place = fixed.unplaceable.binary_search_by_key(&(task as u32), |(other, _)| *other);
    problem.running[task].is_none() && place.is_err()
}

/// The running tasks, and those that cannot be placed.
fn fixed(problem: &Problem, fastest: &[u32]) -> Schedule {
    let mut fixed = Schedule::empty(problem.len());
    let mut is_out = vec![false; problem.len()];
    let is_alone = problem.agents.iter().all(|agent| agent.capacity == 0);
    for task in 0..problem.len() {
        if let Some(running) = problem.running[task] {
            fixed.agent[task] = running.agent;
            fixed.end_ms[task] = Millis::from(running.remaining_ms);
            continue;
        }
        let group = problem.group[task];
        let is_closed = group != NONE && problem.group_max[group as usize] == 0;
        let why = if is_alone {
            Unplaceable::NoAgents
        } else if fastest[problem.class[task] as usize] == NEVER {
            Unplaceable::NobodyCan
        } else if is_closed || problem.rate.as_ref().is_some_and(|rate| rate.count == 0) {
            Unplaceable::LimitIsZero
        } else if let Some(parent) = problem.parents_of(task).iter().find(|parent| is_out[**parent as usize]) {
            Unplaceable::After(*parent)
        } else {
            continue;
        };
        is_out[task] = true;
        fixed.unplaceable.push((task as u32, why));
    }
    fixed
}
