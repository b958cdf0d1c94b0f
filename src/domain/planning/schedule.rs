//! A plan: who does what when. [`Schedule::check`] proves that it keeps every rule.

use crate::domain::planning::model::{Problem, NEVER, NONE};
use crate::domain::Millis;

/// Why a task has no place in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplaceable {
    /// There are no agents, or none has a capacity.
    NoAgents,
    /// No agent may do its class.
    NobodyCan,
    /// A limit of zero holds it back: of its group or of the rate.
    LimitIsZero,
    /// It comes after this task, which cannot be placed.
    After(u32),
}

/// Who does what when, by task. Running tasks start at 0, and end when they will.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The agent, or [`NONE`] if the task cannot be placed.
    pub agent: Vec<u32>,
    /// Start, ms from now.
    pub start_ms: Vec<Millis>,
    /// End, ms from now.
    pub end_ms: Vec<Millis>,
    /// The tasks that cannot be placed, in the order of their numbers.
    pub unplaceable: Vec<(u32, Unplaceable)>,
    /// When the last task ends.
    pub makespan_ms: Millis,
    /// The sum of makespan, lateness of all tasks, and affinity above the best possible, each with
    /// its weight ([`crate::domain::planning::model::Weights`]). It stops at the largest number.
    pub cost: u64,
}

/// The cost of a schedule from its parts.
pub fn cost_of(problem: &Problem, makespan_ms: Millis, late_ms: u64, regret_ms: u64) -> u64 {
    let weights = problem.weights;
    let part = |weight: u32, ms: u64| u64::from(weight).saturating_mul(ms);
    part(weights.makespan, makespan_ms)
        .saturating_add(part(weights.tardiness, late_ms))
        .saturating_add(part(weights.affinity, regret_ms))
}

impl Schedule {
    /// A schedule in which nothing is placed.
    pub fn empty(tasks: usize) -> Self {
        Self { agent: vec![NONE; tasks], start_ms: vec![0; tasks], end_ms: vec![0; tasks], ..Self::default() }
    }

    /// Computes makespan and cost from the places.
    pub fn total(&mut self, problem: &Problem) {
        let (mut makespan, mut late, mut regret) = (0, 0_u64, 0_u64);
        for task in (0..self.agent.len()).filter(|task| self.agent[*task] != NONE) {
            makespan = makespan.max(self.end_ms[task]);
            if problem.deadline_ms[task] > 0 {
                late += self.end_ms[task].saturating_sub(problem.deadline_ms[task]);
            }
            regret += problem.regret(problem.class[task], self.agent[task]);
        }
        self.makespan_ms = makespan;
        self.cost = cost_of(problem, makespan, late, regret);
    }

    /// Says which rule of the problem is broken.
    pub fn check(&self, problem: &Problem) -> Result<(), String> {
        self.check_places(problem)?;
        self.check_agents(problem)?;
        self.check_locks_and_groups(problem)?;
        let all: Vec<usize> = self.placed().collect();
        if problem.active_max > 0 {
            self.at_most(problem, &all, &[], problem.active_max as usize, "tasks at once")?;
        }
        if let Some(rate) = &problem.rate {
            let starts = all.iter().filter(|task| problem.running[**task].is_none());
            let window = Millis::from(rate.window_ms);
            let new: Vec<_> = starts.map(|task| (self.start_ms[*task], self.start_ms[*task] + window)).collect();
            overlaps(&new, &rate.recent_until_ms, rate.count as usize, "starts in a window")?;
        }
        let mut again = self.clone();
        again.total(problem);
        if (again.makespan_ms, again.cost) != (self.makespan_ms, self.cost) {
            return Err(format!("makespan or cost is {} {}", again.makespan_ms, again.cost));
        }
        Ok(())
    }

    fn placed(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.agent.len()).filter(|task| self.agent[*task] != NONE)
    }

    /// Rules about single tasks and their parents.
    fn check_places(&self, problem: &Problem) -> Result<(), String> {
        let mut missing = self.unplaceable.iter().map(|(task, _)| *task as usize).peekable();
        for task in 0..problem.len() {
            let agent = self.agent[task];
            if let Some(running) = problem.running[task] {
                let now = (agent, self.start_ms[task], self.end_ms[task]);
                if now != (running.agent, 0, Millis::from(running.remaining_ms)) {
                    return Err(format!("task {task} runs elsewhere"));
                }
                continue;
            }
            if agent == NONE {
                if missing.next_if_eq(&task).is_none() {
                    return Err(format!("task {task} has no place and no reason"));
                }
                continue;
            }
            let duration = problem.durations_of(problem.class[task])[agent as usize];
            if duration == NEVER || self.end_ms[task] != self.start_ms[task] + Millis::from(duration) {
                return Err(format!("task {task} has a wrong agent or duration"));
            }
            if self.start_ms[task] < problem.earliest_ms[task] {
                return Err(format!("task {task} starts too early"));
            }
            for parent in problem.parents_of(task) {
                let parent = *parent as usize;
                if self.agent[parent] == NONE || self.end_ms[parent] > self.start_ms[task] {
                    return Err(format!("task {task} starts before {parent} ends"));
                }
            }
        }
        missing.next().map_or(Ok(()), |task| Err(format!("task {task} has a place and a reason to have none")))
    }

    fn check_agents(&self, problem: &Problem) -> Result<(), String> {
        let mut by_agent = vec![Vec::new(); problem.agents.len()];
        self.placed().for_each(|task| by_agent[self.agent[task] as usize].push(task));
        for (agent, tasks) in problem.agents.iter().zip(&by_agent) {
            self.at_most(problem, tasks, &agent.busy_until_ms, agent.capacity as usize, "tasks on an agent")?;
        }
        Ok(())
    }

    fn check_locks_and_groups(&self, problem: &Problem) -> Result<(), String> {
        let mut by_lock = vec![Vec::new(); problem.lock_busy_until_ms.len()];
        let mut by_group = vec![Vec::new(); problem.group_max.len()];
        for task in self.placed() {
            let mut locks = problem.locks_of(task).to_vec();
            locks.sort_unstable();
            locks.dedup();
            locks.iter().for_each(|lock| by_lock[*lock as usize].push(task));
            if problem.group[task] != NONE {
                by_group[problem.group[task] as usize].push(task);
            }
        }
        for (tasks, busy) in by_lock.iter().zip(&problem.lock_busy_until_ms) {
            self.at_most(problem, tasks, &[*busy], 1, "holders of a lock")?;
        }
        for (tasks, max) in by_group.iter().zip(&problem.group_max) {
            self.at_most(problem, tasks, &[], *max as usize, "tasks of a group")?;
        }
        Ok(())
    }

    /// At most so many of these tasks run at once. What runs already is not to blame, but new tasks
    /// have to wait for it.
    fn at_most(
        &self,
        problem: &Problem,
        tasks: &[usize],
        busy: &[Millis],
        max: usize,
        what: &str,
    ) -> Result<(), String> {
        let (running, new): (Vec<usize>, Vec<usize>) = tasks.iter().partition(|task| problem.running[**task].is_some());
        let busy: Vec<Millis> = busy.iter().copied().chain(running.iter().map(|task| self.end_ms[*task])).collect();
        let new: Vec<_> = new.iter().map(|task| (self.start_ms[*task], self.end_ms[*task])).collect();
        overlaps(&new, &busy, max, what)
    }
}

/// At the start of each new interval at most `max` intervals hold, with those that are busy.
/// Empty intervals hold nothing, but need room.
fn overlaps(new: &[(Millis, Millis)], busy: &[Millis], max: usize, what: &str) -> Result<(), String> {
    let mut ends: Vec<_> = new.iter().filter(|(start, end)| start < end).map(|(_, end)| *end).collect();
    let mut holding: Vec<_> = new.iter().filter(|(start, end)| start < end).map(|(start, _)| *start).collect();
    ends.sort_unstable();
    holding.sort_unstable();
    for &(start, end) in new {
        // One that holds nothing may come just before one that starts at the same time.
        let begun = if start < end {
            holding.partition_point(|other| *other <= start)
        } else {
            holding.partition_point(|other| *other < start) + 1
        };
        let ended = ends.partition_point(|other| *other <= start);
        let busy = busy.iter().filter(|until| **until > start).count();
        if begun - ended + busy > max {
            return Err(format!("at {start} there are more than {max} {what}"));
        }
    }
    Ok(())
}
