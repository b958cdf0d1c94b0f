//! A task: what it needs, when it may run, and how it ended.

use super::shelf::Shelf;
use super::TaskNo;
use crate::domain::algorithm::allocator::allocated;
use crate::domain::value::capability::{Capability, Requirement};
use crate::domain::{Blob, Bytes, Fence, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// What a task needs to run. Tasks with the same needs stand in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// The required capabilities, sorted and without duplicates.
    pub caps: Box<[Requirement]>,
    /// Its group, of which only a limited number run at a time; empty for none.
    pub group: Bytes,
    /// Keys of the locks that are taken with the claim, sorted and without duplicates.
    pub locks: Box<[Bytes]>,
}

impl Needs {
    /// Takes them in any order, with any duplicates.
    pub fn new(mut caps: Vec<Requirement>, group: Bytes, mut locks: Vec<Bytes>) -> Self {
        caps.sort_unstable();
        caps.dedup();
        locks.sort_unstable();
        locks.dedup();
        Self { caps: caps.into(), group, locks: locks.into() }
    }

    /// Whether a worker with `caps` can do it.
    pub fn fit(&self, caps: &[Capability]) -> bool {
        are_met(&self.caps, caps)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let locks: usize = self.locks.iter().map(Bytes::heap_bytes).sum();
        caps_bytes(&self.caps) + allocated(size_of_val(&*self.locks)) + locks + self.group.heap_bytes()
    }
}

/// Bytes of required capabilities.
pub fn caps_bytes(caps: &[Requirement]) -> usize {
    allocated(size_of_val(caps)) + caps.iter().map(|cap| cap.name.heap_bytes()).sum::<usize>()
}

/// Whether `caps` meet all requirements.
pub fn are_met(wanted: &[Requirement], caps: &[Capability]) -> bool {
    wanted.iter().all(|wanted| caps.iter().any(|cap| wanted.is_met_by(cap)))
}

/// Which ends of its parents let a task run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum On {
    /// All of them succeeded.
    #[default]
    Success,
    /// All of them ended.
    Done,
    /// One of them succeeded.
    Any,
}

impl On {
    /// All values, in the order of [`WORDS`](Self::WORDS).
    pub const ALL: [On; 3] = [On::Success, On::Done, On::Any];
    /// Their words.
    pub const WORDS: [&'static str; 3] = ["SUCCESS", "DONE", "ANY"];

    /// Its word in replies.
    pub fn word(self) -> &'static str {
        ["success", "done", "any"][self as usize]
    }
}

/// What a task knows of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The parent.
    pub no: TaskNo,
    /// How it ended.
    pub told: Told,
}

/// What a task was told of the end of a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Nothing yet.
    Open,
    /// It succeeded.
    Succeeded,
    /// It ended in another way.
    Failed,
    /// Nothing, and it no longer matters.
    Void,
}

/// The pause before the next attempt of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Whether it doubles each time.
    pub is_exponential: bool,
    /// The first pause, ms.
    pub ms: Millis,
    /// The longest pause, ms.
    pub max_ms: Millis,
}

/// Properties that few tasks have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// When it ends dead if it has not ended before, unix ms; 0 for never.
    pub deadline: Millis,
    /// The lease of a claim without its own, ms; 0 for the default.
    pub lease_ms: Millis,
    /// Retries after the first attempt; `None` for the default.
    pub retries: Option<u32>,
    /// The pause between attempts.
    pub backoff: Option<Backoff>,
    /// Whether it waits for a signal.
    pub waits_for_signal: bool,
    /// The data of the signal.
    pub signal: Option<Blob>,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its claim.
    pub fence: Fence,
    /// The worker.
    pub agent: Bytes,
    /// When it began, unix ms.
    pub since: Millis,
    /// When it ended, unix ms.
    pub at: Millis,
    /// Why it failed.
    pub cause: Cause,
    /// The worker's words.
    pub reason: Bytes,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The worker said so.
    Failed,
    /// The worker was silent until its lease expired.
    LeaseEnded,
    /// The worker died or deregistered as an agent.
    AgentGone,
    /// It was asked to stop.
    Stopped,
}

impl Cause {
    /// Its word in replies.
    pub fn word(self) -> &'static str {
        ["failed", "lease ended", "agent gone", "stopped"][self as usize]
    }
}

/// A request to stop a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// How the task ends then.
    pub how: How,
    /// When it is taken away if the worker has not given it back, unix ms.
    pub ends_at: Millis,
}

/// The current attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The fence of the claim.
    pub fence: Fence,
    /// The worker.
    pub agent: Bytes,
    /// The registry of the worker; empty if it named none.
    pub registry: Bytes,
    /// The worker's capabilities, for its next claim.
    pub caps: Box<[Capability]>,
    /// When it began, unix ms.
    pub since: Millis,
    /// Its lease, ms.
    pub lease_ms: Millis,
    /// When the lease ends, unix ms.
    pub ends_at: Millis,
    /// Percent, if the worker has reported it.
    pub progress: Option<u8>,
    /// The worker's note.
    pub note: Bytes,
    /// The fences of its locks, in the order of [`Needs::locks`].
    pub locks: Box<[Fence]>,
    /// The request to stop, if there is one.
    pub stop: Option<Stop>,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It was completed.
    Succeeded,
    /// All attempts failed, or its deadline passed.
    Dead,
    /// It was cancelled.
    Cancelled,
    /// It was cancelled, with all tasks that wait for it.
    CancelledWithAll,
    /// Its parents ended so that it can never run.
    Skipped,
}

impl How {
    /// Whether it was completed.
    pub fn is_success(self) -> bool {
        self == How::Succeeded
    }
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub how: How,
    /// When, unix ms.
    pub at: Millis,
    /// Why.
    pub reason: Bytes,
    /// The fence of the last claim; 0 if it never ran.
    pub fence: Fence,
    /// The last worker.
    pub agent: Bytes,
    /// When the last attempt began, unix ms.
    pub since: Millis,
    /// The result.
    pub result: Blob,
    /// The claim that its worker made in the same call; 0 if none.
    pub next: Fence,
}

/// The state of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// It waits for parents.
    Waiting,
    /// It waits for a signal.
    Held,
    /// Its time has not come.
    Delayed,
    /// It may be claimed.
    Ready,
    /// A worker has it.
    Running(Box<Run>),
    /// It has ended.
    Ended(Box<End>),
}

/// The states as they are counted and shown.
pub const STATE_WORDS: [&str; 9] =
    ["waiting", "held", "delayed", "ready", "running", "succeeded", "dead", "cancelled", "skipped"];
/// How many of them, from the front, are open.
pub const OPEN_STATES: usize = 5;

impl State {
    /// Its place in [`STATE_WORDS`].
    pub fn index(&self) -> usize {
        match self {
            State::Waiting => 0,
            State::Held => 1,
            State::Delayed => 2,
            State::Ready => 3,
            State::Running(_) => 4,
            State::Ended(end) => OPEN_STATES + end.how.index(),
        }
    }

    /// Its word.
    pub fn word(&self) -> &'static str {
        STATE_WORDS[self.index()]
    }
}

impl How {
    /// Its place among the ends in [`STATE_WORDS`].
    pub fn index(self) -> usize {
        match self {
            How::Succeeded => 0,
            How::Dead => 1,
            How::Cancelled | How::CancelledWithAll => 2,
            How::Skipped => 3,
        }
    }

    /// Where tasks are kept that ended so.
    pub fn shelf(self) -> Shelf {
        match self {
            How::Dead => Shelf::Dead,
            _ => Shelf::Done,
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        STATE_WORDS[OPEN_STATES + self.index()]
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its number: grows, and is larger than those of its parents.
    pub no: TaskNo,
    /// Its name in its flow.
    pub id: Bytes,
    /// What its worker gets.
    pub payload: Blob,
    /// What it needs to run.
    #[serde(serialize_with = "write_shared", deserialize_with = "read_shared")]
    pub needs: Arc<Needs>,
    /// When it was added, unix ms.
    pub added_at: Millis,
    /// Higher runs earlier.
    pub priority: u16,
    /// Which ends of its parents let it run.
    pub on: On,
    /// Its parents, ordered by number.
    pub parents: Box<[Parent]>,
    /// Properties that few tasks have.
    pub plan: Option<Box<Plan>>,
    /// The earliest time it may run, unix ms; 0 for at once.
    pub not_before: Millis,
    /// When it became ready, unix ms.
    pub ready_at: Millis,
    /// Claims so far, without those that were taken back.
    pub attempts: u32,
    /// The last failed attempts, oldest first.
    pub past: Vec<Attempt>,
    /// Its state.
    pub state: State,
    /// The number of parents whose end it does not know. Derived.
    #[serde(skip)]
    pub(super) open: u32,
    /// The number of open tasks that come after it. Derived.
    #[serde(skip)]
    pub(super) children: u32,
}

fn write_shared<S: Serializer>(needs: &Arc<Needs>, serializer: S) -> Result<S::Ok, S::Error> {
    Needs::serialize(needs, serializer)
}

fn read_shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Needs>, D::Error> {
    Needs::deserialize(deserializer).map(Arc::new)
}

impl Task {
    /// The current attempt.
    pub fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Running(run) => Some(run),
            _ => None,
        }
    }

    /// Its end.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// What its children are told of it.
    pub fn as_parent(&self) -> Parent {
        let told = match self.end() {
            None => Told::Open,
            Some(end) if end.how.is_success() => Told::Succeeded,
            Some(_) => Told::Failed,
        };
        Parent { no: self.no, told }
    }

    /// How much work it is to end or forget it: it, and each edge to what it comes after.
    pub fn weight(&self) -> usize {
        1 + self.parents.len()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// When it ends dead if it has not ended before, unix ms.
    pub fn deadline(&self) -> Option<Millis> {
        self.plan.as_ref().map(|plan| plan.deadline).filter(|deadline| *deadline > 0)
    }

    /// Whether it still waits for a signal.
    pub fn lacks_signal(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.waits_for_signal && plan.signal.is_none())
    }

    /// When the primary next has to decide something about it.
    pub fn alarm(&self) -> Option<Millis> {
        let own = match &self.state {
            State::Waiting | State::Held | State::Ready => None,
            State::Delayed => Some(self.not_before),
            State::Running(run) => match &run.stop {
                Some(stop) => return Some(stop.ends_at.min(run.ends_at)),
                None => Some(run.ends_at),
            },
            State::Ended(_) => return None,
        };
        own.into_iter().chain(self.deadline()).min()
    }

    /// What the ends of its parents mean for it.
    pub fn verdict(&self) -> Verdict {
        let mut told = [0usize; 4];
        self.parents.iter().for_each(|parent| told[parent.told as usize] += 1);
        Verdict::of(self.on, told[Told::Open as usize], told[Told::Succeeded as usize], told[Told::Failed as usize])
    }

    /// Its state once its parents let it run.
    pub(super) fn freed(&self, at: Millis) -> State {
        if self.lacks_signal() {
            State::Held
        } else if self.not_before > at {
            State::Delayed
        } else {
            State::Ready
        }
    }

    /// Bytes allocated outside the struct itself. Its needs are counted with its line.
    pub fn heap_bytes(&self) -> usize {
        let plan = self
            .plan
            .as_ref()
            .map_or(0, |plan| allocated(size_of::<Plan>()) + plan.signal.as_ref().map_or(0, Blob::heap_bytes));
        let past: usize =
            self.past.iter().map(|attempt| attempt.agent.heap_bytes() + attempt.reason.heap_bytes()).sum();
        let state = match &self.state {
            State::Running(run) => {
                let names: usize = run.caps.iter().map(|cap| cap.name.heap_bytes()).sum();
                let lists = allocated(size_of_val(&*run.caps)) + allocated(size_of_val(&*run.locks)) + names;
                let texts = run.agent.heap_bytes() + run.registry.heap_bytes() + run.note.heap_bytes();
                allocated(size_of::<Run>()) + lists + texts
            }
            State::Ended(end) => {
                let texts = end.reason.heap_bytes() + end.agent.heap_bytes();
                allocated(size_of::<End>()) + texts + end.result.heap_bytes()
            }
            _ => 0,
        };
        let lists = allocated(size_of_val(&*self.parents)) + allocated(size_of_val(&*self.past));
        self.id.heap_bytes() + self.payload.heap_bytes() + plan + past + state + lists
    }

    /// Bytes of it that travel beside a payload and not in it.
    pub fn beside_bytes(&self) -> usize {
        let signal = self.plan.as_ref().and_then(|plan| plan.signal.as_ref());
        let result = self.end().map(|end| &end.result);
        let blobs = [Some(&self.payload), signal, result].into_iter().flatten();
        blobs.map(|blob| blob.len()).filter(|len| *len > crate::domain::value::blob::INLINE_BYTES_MAX).sum()
    }
}

/// What the ends of its parents mean for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet.
    Waits,
    /// They let it run.
    Runs,
    /// They never will.
    Skipped,
}

impl Verdict {
    /// From the number of parents whose end is not known, that succeeded, and that failed.
    pub fn of(on: On, open: usize, succeeded: usize, failed: usize) -> Self {
        match on {
            On::Success if failed > 0 => Verdict::Skipped,
            On::Any if succeeded > 0 => Verdict::Runs,
            On::Any if open == 0 && failed > 0 => Verdict::Skipped,
            _ if open > 0 => Verdict::Waits,
            _ => Verdict::Runs,
        }
    }
}
