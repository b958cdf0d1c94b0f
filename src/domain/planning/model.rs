//! What is to be planned: the tasks of one flow, the agents, and the resources they share.
//! Times are milliseconds from now on. All of it is flat arrays, so ten thousand tasks stay in the
//! processor's caches.

use crate::domain::Millis;

/// Tasks of one problem.
pub const TASKS_MAX: usize = 10_000;
/// Agents of one problem.
pub const AGENTS_MAX: usize = 1_024;
/// Parents of all tasks together.
pub const EDGES_MAX: usize = 1_000_000;
/// Classes times agents.
pub const TABLE_MAX: usize = 4_000_000;
/// Locks of all tasks together.
pub const LOCK_USES_MAX: usize = 200_000;
/// A duration, the window of a rate, and an affinity without its sign, ms: about 24 days.
pub const DURATION_MAX_MS: u32 = 1 << 31;
/// An earliest start, or the end of what is busy, ms: about 557 years.
pub const DELAY_MAX_MS: Millis = 1 << 44;
/// The duration of a class on an agent that may not do it.
pub const NEVER: u32 = u32::MAX;
/// No agent, no group.
pub const NONE: u32 = u32::MAX;

/// Someone who does tasks.
#[derive(Debug, Clone, Default)]
pub struct Agent {
    /// Tasks it can do at once; with 0 it does none.
    pub capacity: u32,
    /// When the slots become free that are busy with something else than tasks of this flow.
    pub busy_until_ms: Vec<Millis>,
}

/// Where a running task is, and how long it still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The agent that does it.
    pub agent: u32,
    /// Until it ends, ms.
    pub remaining_ms: u32,
}

/// At most `count` starts within any `window_ms`.
#[derive(Debug, Clone)]
pub struct Rate {
    /// Starts.
    pub count: u32,
    /// The length of the window.
    pub window_ms: u32,
    /// When each start of the past leaves the window.
    pub recent_until_ms: Vec<Millis>,
}

/// What a millisecond of each kind costs. The sum is the cost of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Of the makespan.
    pub makespan: u32,
    /// Of lateness after a deadline, for each late task.
    pub tardiness: u32,
    /// Of affinity, above the best that is possible for each task.
    pub affinity: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { makespan: 1, tardiness: 1, affinity: 1 }
    }
}

/// One task, as [`Problem::push`] takes it.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// The row of the tables of durations and affinities.
    pub class: u32,
    /// The tasks that have to end before it starts; each was pushed before.
    pub parents: &'a [u32],
    /// It does not start before, ms.
    pub earliest_ms: Millis,
    /// It is late if it ends after this, ms; 0 is never.
    pub deadline_ms: Millis,
    /// Higher goes first where nothing else decides.
    pub priority: i64,
    /// The locks it holds while it runs.
    pub locks: &'a [u32],
    /// Its group, or [`NONE`].
    pub group: u32,
    /// If it runs already.
    pub running: Option<Running>,
}

impl Default for Task<'_> {
    fn default() -> Self {
        let (parents, locks): (&[u32], &[u32]) = (&[], &[]);
        Self { class: 0, parents, earliest_ms: 0, deadline_ms: 0, priority: 0, locks, group: NONE, running: None }
    }
}

/// Tasks, agents and resources. The fields are arrays by task unless they say otherwise.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// By agent.
    pub agents: Vec<Agent>,
    /// Rows of the tables.
    pub classes: usize,
    /// By class and agent, ms, or [`NEVER`].
    pub duration_ms: Vec<u32>,
    /// By class and agent, ms; below 0 is a preference. Empty: nobody is preferred.
    pub affinity_ms: Vec<i32>,
    /// The class of each task.
    pub class: Vec<u32>,
    /// Where the parents of each task begin in `parents`; one more than there are tasks.
    pub parent_at: Vec<u32>,
    /// The parents of all tasks, each with a smaller number than its child.
    pub parents: Vec<u32>,
    /// Earliest start.
    pub earliest_ms: Vec<Millis>,
    /// Deadline; 0 is none.
    pub deadline_ms: Vec<Millis>,
    /// Priority.
    pub priority: Vec<i64>,
    /// Where the locks of each task begin in `locks`; one more than there are tasks.
    pub lock_at: Vec<u32>,
    /// The locks of all tasks.
    pub locks: Vec<u32>,
    /// By lock: when it becomes free of those who are not in this flow.
    pub lock_busy_until_ms: Vec<Millis>,
    /// Group, or [`NONE`].
    pub group: Vec<u32>,
    /// By group: tasks at once.
    pub group_max: Vec<u32>,
    /// The tasks that run.
    pub running: Vec<Option<Running>>,
    /// Tasks of the flow at once; 0 is any number.
    pub active_max: u32,
    /// The limit of starts.
    pub rate: Option<Rate>,
    /// Weights of the cost.
    pub weights: Weights,
}

impl Problem {
    /// A problem without tasks. `duration_ms` has a row of one number per agent for each class.
    pub fn new(agents: Vec<Agent>, classes: usize, duration_ms: Vec<u32>) -> Self {
        Self { agents, classes, duration_ms, parent_at: vec![0], lock_at: vec![0], ..Self::default() }
    }

    /// Adds a task and returns its number.
    pub fn push(&mut self, task: &Task) -> u32 {
        let number = self.class.len() as u32;
        self.class.push(task.class);
        self.parents.extend_from_slice(task.parents);
        self.parent_at.push(self.parents.len() as u32);
        self.earliest_ms.push(task.earliest_ms);
        self.deadline_ms.push(task.deadline_ms);
        self.priority.push(task.priority);
        self.locks.extend_from_slice(task.locks);
        self.lock_at.push(self.locks.len() as u32);
        self.group.push(task.group);
        self.running.push(task.running);
        number
    }

    /// Only these agents may do the tasks of a class.
    pub fn restrict(&mut self, class: usize, allowed: &[u32]) {
        let width = self.agents.len();
        let row = self.duration_ms.get_mut(class * width..(class + 1) * width).unwrap_or_default();
        for (agent, duration) in row.iter_mut().enumerate() {
            if !allowed.contains(&(agent as u32)) {
                *duration = NEVER;
            }
        }
    }

    /// The number of tasks.
    pub fn len(&self) -> usize {
        self.class.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.class.is_empty()
    }

    /// The parents of a task.
    pub fn parents_of(&self, task: usize) -> &[u32] {
        &self.parents[self.parent_at[task] as usize..self.parent_at[task + 1] as usize]
    }

    /// The locks of a task.
    pub fn locks_of(&self, task: usize) -> &[u32] {
        &self.locks[self.lock_at[task] as usize..self.lock_at[task + 1] as usize]
    }

    /// How long a class takes on each agent, ms.
    pub fn durations_of(&self, class: u32) -> &[u32] {
        let width = self.agents.len();
        &self.duration_ms[class as usize * width..(class as usize + 1) * width]
    }

    /// What it costs to give a task of this class to this agent, above the best agent for it, ms.
    pub fn regret(&self, class: u32, agent: u32) -> u64 {
        let at = class as usize * self.agents.len() + agent as usize;
        self.affinity_ms.get(at).map_or(0, |cost| (i64::from(*cost) - self.best_affinity(class)).max(0) as u64)
    }

    /// The lowest affinity of the agents that may do a class, ms; 0 if there is none.
    pub fn best_affinity(&self, class: u32) -> i64 {
        let at = class as usize * self.agents.len();
        let Some(row) = self.affinity_ms.get(at..at + self.agents.len()) else { return 0 };
        let able = self.durations_of(class).iter().zip(row).filter(|(duration, _)| **duration != NEVER);
        able.map(|(_, cost)| i64::from(*cost)).min().unwrap_or(0)
    }

    /// Says what is wrong with the arrays. Everything else in this module relies on it.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_sizes()?;
        let said = |what: &str, task: usize| Err(format!("task {task} has {what}"));
        for task in 0..self.len() {
            if self.class[task] as usize >= self.classes {
                return said("an unknown class", task);
            }
            if self.parents_of(task).iter().any(|parent| *parent as usize >= task) {
                return said("a parent that does not come before it", task);
            }
            if self.locks_of(task).iter().any(|lock| *lock as usize >= self.lock_busy_until_ms.len()) {
                return said("an unknown lock", task);
            }
            if self.group[task] != NONE && self.group[task] as usize >= self.group_max.len() {
                return said("an unknown group", task);
            }
            if self.earliest_ms[task] > DELAY_MAX_MS || self.deadline_ms[task] > DELAY_MAX_MS {
                return said("a time that is too late", task);
            }
            if let Some(running) = self.running[task] {
                if running.agent as usize >= self.agents.len() || running.remaining_ms > DURATION_MAX_MS {
                    return said("an unknown agent or runs for too long", task);
                }
            }
        }
        Ok(())
    }

    /// The part of [`Self::validate`] that is not about single tasks.
    fn validate_sizes(&self) -> Result<(), String> {
        let (tasks, cells) = (self.len(), self.classes.saturating_mul(self.agents.len()));
        let by_task = [self.earliest_ms.len(), self.deadline_ms.len(), self.priority.len()];
        let by_task = by_task.into_iter().chain([self.group.len(), self.running.len()]).all(|len| len == tasks);
        let grows = |at: &[u32], end: usize| {
            at.len() == tasks + 1
                && at[0] == 0
                && at[tasks] as usize == end
                && at.windows(2).all(|pair| pair[0] <= pair[1])
        };
        let busy = self.agents.iter().flat_map(|agent| &agent.busy_until_ms).chain(&self.lock_busy_until_ms);
        let mut busy = busy.chain(self.rate.iter().flat_map(|rate| &rate.recent_until_ms));
        let is_odd = |duration: &u32| *duration > DURATION_MAX_MS && *duration != NEVER;
        let broken = [
            (tasks > TASKS_MAX || self.agents.len() > AGENTS_MAX, "too many tasks or agents"),
            (cells > TABLE_MAX || self.duration_ms.len() != cells, "a table of durations of a wrong size"),
            (!self.affinity_ms.is_empty() && self.affinity_ms.len() != cells, "affinities of a wrong size"),
            (!by_task, "arrays of different lengths"),
            (!grows(&self.parent_at, self.parents.len()), "broken offsets of parents"),
            (!grows(&self.lock_at, self.locks.len()), "broken offsets of locks"),
            (
                self.lock_busy_until_ms.len() > LOCK_USES_MAX || self.group_max.len() > TASKS_MAX,
                "too many locks or groups",
            ),
            (self.parents.len() > EDGES_MAX || self.locks.len() > LOCK_USES_MAX, "too many parents or locks"),
            (self.duration_ms.iter().any(is_odd), "a duration that is too long"),
            (busy.any(|until| *until > DELAY_MAX_MS), "something that is busy for too long"),
            (self.rate.as_ref().is_some_and(|rate| rate.window_ms > DURATION_MAX_MS), "too long a window"),
        ];
        broken.iter().find(|(is_broken, _)| *is_broken).map_or(Ok(()), |(_, what)| Err(format!("it has {what}")))
    }
}
