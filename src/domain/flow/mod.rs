//! Flows: what has to be done next, by whom, and with what result.
//!
//! A [`Flow`] is a graph of [tasks](task::Task). A queue is a flow without edges. Workers
//! claim ready tasks, each claim with a fence and a lease, and exactly one result of each
//! task is accepted.
//!
//! ```text
//!            its parents let it      SIGNAL            its time comes
//!   Waiting ------------------> Held -----> Delayed -----------------> Ready
//!      |                          (those that do not apply are skipped)  |  ^
//!      |                                                         Claimed |  | TakenBack, Failed
//!      |  its parents cannot                                             v  | (by way of Delayed)
//!      |  let it any more                                            Running
//!      v                                                                 |
//!   Ended (skipped)      Ended (cancelled, dead) from anywhere           v
//!                        Requeued: back to the start             Ended (succeeded, dead)
//! ```
//!
//! However a task ends, the tasks that come after it have to be told. That is done in batches
//! ([`rounds::tell`]), so the end of a task with a million children does not stall the server. A
//! batch counts tasks and edges, since a task may come after thousands of others.
//! Finished tasks that nothing waits for are forgotten, the oldest first, if there are more
//! than the flow keeps, or when they are too old. Dead ones have a [shelf](Shelf) of their own, so
//! that no success pushes them out. Their last claims stay known for a while ([`past`]), so that a
//! worker that repeats a request gets its answer.
//!
//! [`decide`] and [`work`] decide what clients and workers may do, [`time`] what time does.
//! [`Index`] holds what is derived.

mod apply;
mod codec;
pub mod decide;
pub mod edges;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
pub mod graph;
pub mod index;
pub mod looks;
pub mod offers;
pub mod past;
pub mod queue;
pub mod rounds;
pub mod shelf;
pub mod spec;
pub mod task;
pub mod time;
pub mod why;
pub mod work;

pub use event::{Addition, Claimed, FlowEvent};
pub use index::Index;
pub use past::EndedClaims;
pub use shelf::Shelf;
pub use task::{How, State, Task};

use super::{Bytes, Connection, Entity, Error, Fence, Invariant, Millis, Service};
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::quota::Quota;
use crate::domain::entity::CHECKED_BYTES;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The number of a task within its flow: 1 is the first. A number is never used again.
pub type TaskNo = u64;

/// A limit of claims in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The number of claims.
    pub claims: u32,
    /// The period, ms.
    pub per_ms: Millis,
}

/// Which ended tasks a flow keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// How many.
    pub tasks: u64,
    /// How long after their end, ms; 0 for as long as there are not too many.
    pub age_ms: Millis,
}

/// The options of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The largest number of running tasks; 0 for no limit.
    pub max_active: u32,
    /// The largest number of running tasks of each group; 0 for no limit.
    pub group_max: u32,
    /// The largest rate of claims.
    pub rate: Option<Rate>,
    /// Which tasks are kept that ended in another way than dead.
    pub keep: Keep,
    /// Its time to live, ms.
    pub ttl_ms: Option<Millis>,
    /// How long a wait is worth one unit of priority, ms.
    pub ageing_ms: Millis,
    /// Which dead tasks are kept.
    pub keep_dead: Keep,
}

impl Options {
    /// When its time to live ends if it begins at `at`, unix ms.
    fn ends_from(&self, at: Millis) -> Option<Millis> {
        self.ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms))
    }

    /// Which tasks of a shelf are kept.
    pub fn keep_on(&self, shelf: Shelf) -> Keep {
        match shelf {
            Shelf::Done => self.keep,
            Shelf::Dead => self.keep_dead,
        }
    }
}

/// What has happened in a flow since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks added.
    pub added: u64,
    /// Claims.
    pub claimed: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Forgotten tasks by their end, see [`How::index`].
    pub forgotten: [u64; 4],
    /// Tasks completed.
    pub completed: u64,
    /// The duration of their last attempts, in total, ms.
    pub worked_ms: u64,
}

/// A flow.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// When it was created, unix ms; 0 if it was not.
    created_at: Millis,
    options: Options,
    is_paused: bool,
    /// If it was cancelled: the number up to which its tasks were cancelled with it.
    cancelled: Option<TaskNo>,
    /// The number of the last task.
    last_no: TaskNo,
    /// The largest fence that was ever in it.
    last_fence: Fence,
    totals: Totals,
    /// The times of the last claims, if there is a rate.
    claim_times: VecDeque<Millis>,
    /// The last claims of forgotten tasks.
    past: EndedClaims,
    tasks: BTreeMap<TaskNo, Box<Task>>,
    index: Index,
}

impl Flow {
    /// When it was created, unix ms.
    pub fn created_at(&self) -> Millis {
        self.created_at
    }

    /// Its options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// What has happened so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A task by its name.
    pub fn task(&self, id: &[u8]) -> Option<&Task> {
        self.at(self.index.no(id)?)
    }

    /// A task by its number.
    pub fn at(&self, no: TaskNo) -> Option<&Task> {
        self.tasks.get(&no).map(|task| &**task)
    }

    /// The last claims of tasks that are forgotten.
    pub fn past(&self) -> &EndedClaims {
        &self.past
    }

    /// The task of a claim.
    pub fn claimed(&self, fence: Fence) -> Option<&Task> {
        self.at(self.index.claimed(fence)?)
    }

    /// All tasks, in the order of their numbers.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(|task| &**task)
    }

    /// The tasks from a number on, in order.
    pub fn tasks_from(&self, no: TaskNo) -> impl Iterator<Item = &Task> {
        self.tasks.range(no..).map(|(_, task)| &**task)
    }

    /// The tasks after a number, in order.
    pub fn tasks_after(&self, no: TaskNo) -> impl Iterator<Item = &Task> {
        self.tasks.range(no.saturating_add(1)..).map(|(_, task)| &**task)
    }

    /// The number of tasks.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// What is derived from them.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether it had tasks and all of them have ended.
    pub fn has_ended(&self) -> bool {
        self.totals.added > 0 && self.index.open() == 0
    }

    /// The number of tasks with this end, including forgotten ones.
    pub fn ended(&self, how: How) -> u64 {
        self.index.counts()[task::OPEN_STATES + how.index()] as u64 + self.totals.forgotten[how.index()]
    }

    /// When the first of the ended tasks has been kept for long enough.
    pub fn outdated_at(&self) -> Option<Millis> {
        let first = |shelf: Shelf| {
            let age_ms = Some(self.options.keep_on(shelf).age_ms).filter(|age_ms| *age_ms > 0)?;
            Some(self.index.retired(shelf).first()?.0.saturating_add(age_ms))
        };
        Shelf::ALL.into_iter().filter_map(first).min()
    }

    /// How many tasks are on a shelf that the flow does not keep.
    pub fn surplus(&self, shelf: Shelf) -> u64 {
        (self.index.retired(shelf).len() as u64).saturating_sub(self.options.keep_on(shelf).tasks)
    }

    /// Whether work that is done in parts is unfinished: tasks are told of ends, cancelled with the
    /// flow, or forgotten.
    pub fn has_begun(&self) -> bool {
        let has_surplus = || Shelf::ALL.into_iter().any(|shelf| self.surplus(shelf) > 0);
        !self.index.pending.is_empty() || self.cancelled.is_some_and(|upto| upto < self.last_no) || has_surplus()
    }

    /// The state in one word.
    pub fn state(&self) -> &'static str {
        match () {
            () if self.is_cancelled() => "cancelled",
            () if self.has_ended() && self.ended(How::Succeeded) == self.totals.added => "succeeded",
            () if self.has_ended() => "failed",
            () if self.is_paused => "paused",
            () if self.totals.added == 0 => "empty",
            () => "running",
        }
    }
}

impl Entity for Flow {
    type Event = FlowEvent;

    const SERVICE: Service = Service::Flow;
    const TYPE_NAME: &'static str = "ltmc-flow";
    const TYPE_TAG: u8 = 7;
    const KEYS: &'static str = "flows";
    const MEMBERS: Option<&'static str> = Some("tasks");
    const QUOTA: Option<Quota> = Some(Quota::Tasks);
    const WATCH_EVENTS_MAX: usize = 4096;
    const COPIES: bool = true;

    fn apply(&mut self, event: &FlowEvent) {
        self.happen(event);
    }

    fn admit(event: &FlowEvent) -> Result<(), Error> {
        codec::admit(event)
    }

    fn expiry_after(&self, event: &FlowEvent) -> Expiry {
        match event {
            FlowEvent::Created { at, .. } => Expiry::of(self.options.ends_from(*at)),
            FlowEvent::Touched { at, .. } => self.options.ends_from(*at).map_or(Expiry::Keeps, Expiry::At),
            _ => Expiry::Keeps,
        }
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        if self.has_begun() {
            // More of that work is left, so it is long due. "At once" is another value, on which
            // replicas act too.
            return Some(super::DUE_ALREADY);
        }
        self.index.first_timer().into_iter().chain(self.outdated_at()).min()
    }

    fn is_empty(&self) -> bool {
        self.created_at == 0
    }

    fn last_number(&self) -> u64 {
        self.last_no
    }

    fn members(&self) -> usize {
        self.tasks.len()
    }

    fn last_fence(&self) -> Fence {
        self.last_fence
    }

    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    fn unties(&self, _event: &FlowEvent) -> Option<Connection> {
        None
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.index.running_by(agent) > 0
    }

    fn amount(&self, agent: &[u8]) -> u64 {
        self.index.running_by(agent) as u64
    }

    fn touched(&self, event: &FlowEvent) -> Vec<Bytes> {
        match event {
            FlowEvent::Claimed(claimed) => vec![claimed.agent.clone()],
            _ => Vec::new(),
        }
    }

    fn losers(&self, event: &FlowEvent) -> Vec<Bytes> {
        let task = event.task().filter(|_| event.ends_attempt()).and_then(|id| self.task(id));
        task.and_then(|task| task.run()).map(|run| run.agent.clone()).into_iter().collect()
    }

    fn memory_bytes(&self) -> usize {
        codec::memory_bytes(self)
    }

    fn free_effort(&self) -> usize {
        self.tasks.len().max(1)
    }

    fn copied(&self) -> Self {
        // As if the claims had never been told to anyone: they are taken back, which ends a task
        // that was asked to stop. The time is that of the worker's last heartbeat.
        let mut copy = self.clone();
        for run in self.index.claimed_tasks().filter_map(|no| self.at(no)?.run()) {
            let heard_at = run.ends_at.saturating_sub(run.lease_ms);
            work::take_back(&copy, run.fence, heard_at).iter().for_each(|event| copy.happen(event));
        }
        copy
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, event: &FlowEvent) -> Result<(), Invariant> {
        codec::check_after(self, event)
    }

    fn check_effort(&self) -> usize {
        self.free_effort() + self.index.edges.count() + 2 * self.memory_bytes() / CHECKED_BYTES
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        codec::check_part(self, from, room).map(Some)
    }

    fn rebuild(&mut self) {
        codec::rebuild(self);
    }
}
