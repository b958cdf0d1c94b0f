//! From an order of jobs and an agent for each of them to a schedule: the serial schedule
//! generation scheme (Kolisch 1996), which starts each job as early as its parents and its pools
//! permit.
//!
//! A search changes a piece of the order and asks whether the schedule is good enough. Four things
//! make that fast:
//! - The state of the pools is kept at each mark, so decoding begins at the first change.
//! - *Tails* (the longest way from the start of a job to the end of the schedule, along parents and
//!   along the tokens that are handed on) of the jobs behind the last change stay valid. A job
//!   whose start and tail pass the limit ends the attempt, usually just behind the change. With
//!   pools of several tokens they are good guesses: an attempt may be given up wrongly, never
//!   accepted wrongly.
//! - An attempt ends where the tokens are again those of a mark, and no later job has a parent
//!   whose end has changed: the rest is as before.
//! - Only an attempt that is kept has its tails computed again.

mod links;

use crate::domain::planning::instance::Instance;
use crate::domain::planning::model::NONE;
use crate::domain::planning::schedule::{cost_of, Schedule};
use crate::domain::Millis;

/// Bits of a token that tell who had it last.
const USE_BITS: u32 = 18;
/// Tokens kept at all marks together: 8 MiB.
const MARKED_TOKENS_MAX: usize = 1 << 20;
/// Jobs between two marks, at least.
const MARK_EVERY: usize = 16;

/// What the jobs between a mark and the next one add.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    makespan: Millis,
    late: u64,
    last: u32,
}

impl Block {
    fn add(&mut self, other: &Self) {
        if other.makespan >= self.makespan {
            (self.makespan, self.last) = (other.makespan, other.last);
        }
        self.late += other.late;
    }
}

/// An order, agents, and the schedule they make.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// What is planned.
    pub instance: &'a Instance<'a>,
    /// Jobs, parents first.
    pub order: Vec<u32>,
    /// The agent of each job.
    pub agent: Vec<u32>,
    /// The place of each job in the order.
    pub place: Vec<u32>,
    /// Starts, ms.
    pub start: Vec<Millis>,
    /// Ends, ms.
    pub end: Vec<Millis>,
    /// The longest way from the start of each job to the end of the schedule, ms.
    pub tail: Vec<Millis>,
    /// By use: the use that had the token before, or [`NONE`]. The first uses are those of agents.
    pub before: Vec<u32>,
    /// By use: the use that has the token next, or [`NONE`].
    pub after: Vec<u32>,
    /// By agent: the first job that takes its token, or [`NONE`]; a guess if there are several
    /// tokens.
    pub first: Vec<u32>,
    /// The job of each use.
    owner: Vec<u32>,
    /// Tokens at each mark.
    marked: Vec<u64>,
    blocks: Vec<Block>,
    every: usize,
    /// Where the last attempt met the old schedule again: a mark, or the end.
    pub met: usize,
    /// Successors of those who have the tokens there.
    met_after: Vec<u32>,
    /// Tokens at the place that was looked at last.
    pub tokens: Vec<u64>,
    saved: Vec<Millis>,
    /// Affinity above the best, ms; whoever changes an agent changes it too.
    pub regret: u64,
    /// The end of the last job, ms.
    pub makespan: Millis,
    /// The job that ends last.
    pub last: u32,
    /// Lateness of all tasks, ms.
    pub late: u64,
    /// The cost of the schedule.
    pub cost: u64,
    /// Work done since it was taken, in steps of [`crate::domain::planning::budget`].
    pub steps: u64,
    /// Steps for decoding 16 jobs.
    effort: u64,
}

/// When a token is free.
pub fn free_at(token: u64) -> Millis {
    token >> USE_BITS
}

/// The use that had a token last.
pub fn holder_of(token: u64) -> u32 {
    (token as u32 & ((1 << USE_BITS) - 1)).wrapping_sub(1)
}

fn token(free: Millis, by: usize) -> u64 {
    free << USE_BITS | (by as u64 + 1)
}

/// Takes the token that is free first and gives it back as `token`. The tokens are a heap.
fn hand_on(heap: &mut [u64], token: u64) {
    let mut at = 0;
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            break;
        }
        if child + 1 < heap.len() && heap[child + 1] < heap[child] {
            child += 1;
        }
        if heap[child] >= token {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = token;
}

impl<'a> Line<'a> {
    /// The schedule of this order with these agents.
    pub fn new(instance: &'a Instance<'a>, order: Vec<u32>, agent: Vec<u32>) -> Self {
        let jobs = instance.len();
        let owners = (0..jobs as u32).chain((0..jobs).flat_map(|job| {
            let uses = instance.uses_of(job).len();
            std::iter::repeat_n(job as u32, uses)
        }));
        let owner: Vec<u32> = owners.collect();
        // Measured: a use of a pool is as much work as a job and a quarter, a parent a quarter.
        let links = 20 * instance.uses.len() + 4 * instance.parents.len();
        let effort = 16 + links as u64 / jobs.max(1) as u64;
        let width = instance.tokens.len();
        let every = MARK_EVERY.max((jobs * width).div_ceil(MARKED_TOKENS_MAX));
        let marks = jobs / every + 1;
        let mut line = Self {
            instance,
            place: vec![0; jobs],
            start: vec![0; jobs],
            end: vec![0; jobs],
            tail: vec![0; jobs],
            before: vec![NONE; owner.len()],
            after: vec![NONE; owner.len()],
            first: vec![NONE; instance.problem.agents.len()],
            owner,
            marked: vec![0; marks * width],
            blocks: vec![Block::default(); marks],
            every,
            met: jobs,
            met_after: Vec::new(),
            tokens: instance.tokens.iter().map(|free| free << USE_BITS).collect(),
            saved: vec![0; jobs],
            regret: instance.regret,
            makespan: 0,
            last: 0,
            late: 0,
            cost: 0,
            steps: 0,
            effort,
            order,
            agent,
        };
        line.restart();
        line
    }

    /// Computes everything anew from the order and the agents.
    pub fn restart(&mut self) {
        self.order.iter().enumerate().for_each(|(at, job)| self.place[*job as usize] = at as u32);
        let regret = |job: usize| self.instance.regret_of(job, self.agent[job]);
        self.regret = self.instance.regret + (0..self.agent.len()).map(regret).sum::<u64>();
        let width = self.instance.tokens.len();
        if width > 0 {
            let tokens = self.instance.tokens.iter().map(|free| free << USE_BITS);
            self.marked.iter_mut().zip(tokens).for_each(|(marked, token)| *marked = token);
        }
        self.first.fill(NONE);
        let end = self.order.len().saturating_sub(1);
        self.attempt(0, end, u64::MAX);
        self.keep(0, end);
    }

    /// Puts the jobs in the order of their starts. No job starts later by that.
    pub fn sort(&mut self) {
        let (start, place) = (&self.start, &self.place);
        let mut order = std::mem::take(&mut self.order);
        order.sort_unstable_by_key(|job| (start[*job as usize], place[*job as usize]));
        self.order = order;
        self.steps += 2 * self.order.len() as u64;
        self.restart();
    }

    /// Puts the tokens of a place into `self.tokens`, as they are without the job `without`.
    pub fn tokens_before(&mut self, at: usize, without: u32) {
        let mark = at / self.every;
        let width = self.instance.tokens.len();
        self.tokens.copy_from_slice(&self.marked[mark * width..(mark + 1) * width]);
        for place in mark * self.every..at {
            let job = self.order[place];
            if job != without {
                self.pass(job as usize);
            }
        }
        self.steps += (at - mark * self.every) as u64 * self.effort / 32 + width as u64 / 16;
    }

    /// A job whose end is known takes and gives back its tokens.
    fn pass(&mut self, job: usize) {
        let end = self.end[job];
        hand_on(&mut self.tokens[self.instance.tokens_of(self.agent[job])], token(end, job));
        let begin = self.instance.jobs[job].use_at as usize;
        for (number, &pool) in self.instance.uses_of(job).iter().enumerate() {
            let duration = self.instance.duration(job, self.agent[job]);
            let free = end - duration + self.instance.hold(pool, duration);
            hand_on(&mut self.tokens[self.instance.tokens_of(pool)], token(free, self.order.len() + begin + number));
        }
    }

    /// Starts a job as early as it can. Returns its start and end.
    fn put(&mut self, job: usize) -> (Millis, Millis) {
        let instance = self.instance;
        let mut start = instance.jobs[job].release;
        for parent in instance.parents_of(job) {
            start = start.max(self.end[*parent as usize]);
        }
        let slots = instance.tokens_of(self.agent[job]);
        start = start.max(free_at(self.tokens[slots.start]));
        for pool in instance.uses_of(job) {
            start = start.max(free_at(self.tokens[instance.tokens_of(*pool).start]));
        }
        let end = start + instance.duration(job, self.agent[job]);
        self.end[job] = end;
        self.pass(job);
        (start, end)
    }

    /// The running tasks and the jobs of these blocks.
    fn sum(&self, blocks: std::ops::Range<usize>, mut sum: Block) -> Block {
        self.blocks[blocks].iter().for_each(|block| sum.add(block));
        sum
    }

    /// Decodes after a change of the places `from` to `to` (inclusive). Returns the cost if it is
    /// at most `limit`; then [`Self::keep`] has to follow. Otherwise the ends are as before.
    pub fn attempt(&mut self, from: usize, to: usize, limit: u64) -> Option<u64> {
        let begin = from / self.every;
        let fixed = Block { makespan: self.instance.running_until, late: self.instance.late, last: NONE };
        let mut sum = self.sum(0..begin, fixed);
        self.tokens_before(from, NONE);
        for place in begin * self.every..from {
            self.count(self.order[place], &mut sum);
        }
        let mut allowed = self.makespan_within(limit, sum.late);
        // No job behind this place has a parent whose end has changed.
        let mut pending = to;
        self.met = self.order.len();
        for place in from..self.order.len() {
            if place > pending && place % self.every == 0 && self.is_met(place / self.every) {
                self.met = place;
                break;
            }
            let job = self.order[place] as usize;
            self.saved[place] = self.end[job];
            let (start, end) = self.put(job);
            let way = if place > to { start + self.tail[job] } else { end + self.instance.below[job] };
            if end > self.instance.jobs[job].deadline {
                allowed = self.makespan_within(limit, sum.late + end - self.instance.jobs[job].deadline);
            }
            if allowed.is_none_or(|allowed| way > allowed) {
                self.steps += (place - from) as u64 * self.effort / 16 + 1;
                self.restore(from, place + 1);
                return None;
            }
            self.count(job as u32, &mut sum);
            if end != self.saved[place] {
                let children = self.instance.children_of(job).iter();
                pending = children.fold(pending, |last, child| last.max(self.place[*child as usize] as usize));
            }
        }
        self.steps += (self.met - from) as u64 * self.effort / 16;
        if self.met < self.order.len() {
            sum = self.sum(self.met / self.every..self.blocks.len(), sum);
        }
        let cost = cost_of(self.instance.problem, sum.makespan, sum.late, self.regret);
        if cost > limit {
            self.restore(from, self.met);
            return None;
        }
        Some(cost)
    }

    /// Adds what a job adds.
    fn count(&self, job: u32, sum: &mut Block) {
        let end = self.end[job as usize];
        let late = end.saturating_sub(self.instance.jobs[job as usize].deadline);
        sum.add(&Block { makespan: end, late, last: job });
    }

    /// Whether the tokens are those of this mark.
    fn is_met(&self, mark: usize) -> bool {
        let width = self.tokens.len();
        self.marked[mark * width..(mark + 1) * width] == self.tokens
    }

    /// The longest makespan with which the cost is within the limit, if there is one.
    fn makespan_within(&self, limit: u64, late: u64) -> Option<Millis> {
        let problem = self.instance.problem;
        let rest = limit.checked_sub(cost_of(problem, 0, late, self.regret))?;
        Some(rest.checked_div(u64::from(problem.weights.makespan)).unwrap_or(Millis::MAX))
    }

    fn restore(&mut self, from: usize, end: usize) {
        for place in from..end {
            self.end[self.order[place] as usize] = self.saved[place];
        }
    }

    /// When its parents have ended, ms.
    pub fn ready(&self, job: usize) -> Millis {
        let ends = self.instance.parents_of(job).iter().map(|parent| self.end[*parent as usize]);
        ends.max().unwrap_or(0).max(self.instance.jobs[job].release)
    }

    /// Moves a job to another place of the order.
    pub fn shift(&mut self, from: usize, to: usize) {
        if from < to {
            self.order[from..=to].rotate_left(1);
        } else {
            self.order[to..=from].rotate_right(1);
        }
        for place in from.min(to)..=from.max(to) {
            self.place[self.order[place] as usize] = place as u32;
        }
        self.steps += from.abs_diff(to) as u64 / 4;
    }

    /// The jobs of two places change them.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        for place in [one, other] {
            self.place[self.order[place] as usize] = place as u32;
        }
    }

    /// The places a job can have: behind its parents and before its children.
    pub fn places(&self, job: usize) -> (usize, usize) {
        let parents = self.instance.parents_of(job).iter().map(|parent| self.place[*parent as usize] as usize + 1);
        let children = self.instance.children_of(job).iter().map(|child| self.place[*child as usize] as usize);
        let end = children.min().unwrap_or(self.order.len());
        (parents.max().unwrap_or(0), end - 1)
    }

    /// Gives a job to an agent, with its affinity.
    pub fn assign(&mut self, job: usize, agent: u32) {
        self.regret -= self.instance.regret_of(job, self.agent[job]);
        self.regret += self.instance.regret_of(job, agent);
        self.agent[job] = agent;
    }

    /// The schedule of all tasks.
    pub fn schedule(&self) -> Schedule {
        let mut schedule = self.instance.fixed.clone();
        for (job, task) in self.instance.tasks.iter().map(|task| *task as usize).enumerate() {
            schedule.agent[task] = self.agent[job];
            schedule.start_ms[task] = self.start[job];
            schedule.end_ms[task] = self.end[job];
        }
        schedule.total(self.instance.problem);
        schedule
    }
}
