//! A task: what it needs, when it may run, and what became of it.

use super::TaskNo;
use crate::domain::algorithm::allocator::allocated;
use crate::domain::value::capability::{Capability, Requirement};
use crate::domain::{Blob, Bytes, Fence, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// What has to be there for a task to run. Tasks that need the same stand in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// What its worker can do, in order and without duplicates.
    pub caps: Box<[Requirement]>,
    /// Its group, of which only so many run at a time; empty for none.
    pub group: Bytes,
    /// Keys of locks that are taken with the claim, in order and without duplicates.
    pub locks: Box<[Bytes]>,
}

impl Needs {
    /// In any order, with any duplicates.
    pub fn new(mut caps: Vec<Requirement>, group: Bytes, mut locks: Vec<Bytes>) -> Self {
        caps.sort_unstable();
        caps.dedup();
        locks.sort_unstable();
        locks.dedup();
        Self { caps: caps.into(), group, locks: locks.into() }
    }

    /// Whether who can do `caps` can do this.
    pub fn fit(&self, caps: &[Capability]) -> bool {
        are_met(&self.caps, caps)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let caps: usize = self.caps.iter().map(|cap| cap.name.heap_bytes()).sum();
        let locks: usize = self.locks.iter().map(Bytes::heap_bytes).sum();
        let lists = allocated(size_of_val(&*self.caps)) + allocated(size_of_val(&*self.locks));
        lists + caps + locks + self.group.heap_bytes()
    }
}

/// Whether everything that is wanted is among `caps`.
pub fn are_met(wanted: &[Requirement], caps: &[Capability]) -> bool {
    wanted.iter().all(|wanted| caps.iter().any(|cap| wanted.is_met_by(cap)))
}

/// How the ends of a task's parents let it run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum On {
    /// All of them succeeded.
    #[default]
    Success,
    /// All of them ended, in whatever way.
    Done,
    /// One of them succeeded.
    Any,
}

impl On {
    /// All of them, in the order of [`WORDS`](Self::WORDS).
    pub const ALL: [On; 3] = [On::Success, On::Done, On::Any];
    /// Their words.
    pub const WORDS: [&'static str; 3] = ["SUCCESS", "DONE", "ANY"];

    /// Its word in replies.
    pub fn word(self) -> &'static str {
        ["success", "done", "any"][self as usize]
    }
}

/// What a task knows of one of its parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Which.
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
    /// Nothing, and it does not matter any more.
    Void,
}

/// How long a task waits before its next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Twice as long each time.
    pub is_exponential: bool,
    /// The first time, ms.
    pub ms: Millis,
    /// At most, ms.
    pub max_ms: Millis,
}

/// What is said of few tasks only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// It ends dead if it has not ended until then, unix ms; 0 for never.
    pub deadline: Millis,
    /// The lease of a claim that says none, ms; 0 for the usual one.
    pub lease_ms: Millis,
    /// So many attempts more than the first; the usual number if it is not said.
    pub retries: Option<u32>,
    /// How long to wait between attempts.
    pub backoff: Option<Backoff>,
    /// Whether it waits for a signal.
    pub waits_for_signal: bool,
    /// What came with the signal.
    pub signal: Option<Blob>,
}

/// One attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its claim.
    pub fence: Fence,
    /// Who tried.
    pub agent: Bytes,
    /// From when, unix ms.
    pub since: Millis,
    /// Until when, unix ms.
    pub at: Millis,
    /// What went wrong.
    pub cause: Cause,
    /// In the worker's words.
    pub reason: Bytes,
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The worker said so.
    Failed,
    /// Nothing was heard of the worker until its lease was over.
    LeaseEnded,
    /// The worker died or said goodbye as an agent.
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

/// Why a task that runs is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What becomes of it then.
    pub how: How,
    /// If its worker does not give it back until then, it is taken away, unix ms.
    pub ends_at: Millis,
}

/// An attempt that is being made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The claim.
    pub fence: Fence,
    /// Who.
    pub agent: Bytes,
    /// The registry that its agent is in; empty if it named none.
    pub registry: Bytes,
    /// What its worker can do: for the next claim of the same worker.
    pub caps: Box<[Capability]>,
    /// Since when, unix ms.
    pub since: Millis,
    /// Its lease, ms.
    pub lease_ms: Millis,
    /// When the lease ends, unix ms.
    pub ends_at: Millis,
    /// Percent, if the worker said it.
    pub progress: Option<u8>,
    /// What the worker said of it.
    pub note: Bytes,
    /// The fences of its locks, in the order of [`Needs::locks`].
    pub locks: Box<[Fence]>,
    /// It was asked to stop.
    pub stop: Option<Stop>,
}

/// In which way a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It was completed.
    Succeeded,
    /// All attempts failed, or its deadline came.
    Dead,
    /// Somebody cancelled it.
    Cancelled,
    /// The same, and all that wait for it with it.
    CancelledWithAll,
    /// What it waited for cannot come any more.
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
    /// The last claim; 0 if it never ran.
    pub fence: Fence,
    /// Who had it last.
    pub agent: Bytes,
    /// Since when, unix ms.
    pub since: Millis,
    /// What came of it.
    pub result: Blob,
    /// The claim that its worker asked for in the same call; 0 if none.
    pub next: Fence,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// It waits for parents.
    Waiting,
    /// It waits for a signal.
    Held,
    /// Its time has not come.
    Delayed,
    /// Anybody who can may claim it.
    Ready,
    /// Somebody has it.
    Running(Box<Run>),
    /// It is over.
    Ended(Box<End>),
}

/// The states as they are counted and shown.
pub const STATE_WORDS: [&str; 9] =
    ["waiting", "held", "delayed", "ready", "running", "succeeded", "dead", "cancelled", "skipped"];
/// So many of them, from the front, are of tasks that are not over.
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
    /// What has to be there for it to run.
    #[serde(serialize_with = "write_shared", deserialize_with = "read_shared")]
    pub needs: Arc<Needs>,
    /// When it was added, unix ms.
    pub added_at: Millis,
    /// Higher is earlier.
    pub priority: u16,
    /// How its parents let it run.
    pub on: On,
    /// What it comes after, in the order of their numbers.
    pub parents: Box<[Parent]>,
    /// What is said of few only.
    pub plan: Option<Box<Plan>>,
    /// It does not run earlier, unix ms; 0 if it may at once.
    pub not_before: Millis,
    /// Since when it could be claimed, unix ms.
    pub ready_at: Millis,
    /// Claims so far, without those that nobody was told of.
    pub attempts: u32,
    /// The last attempts that did not succeed, oldest first.
    pub past: Vec<Attempt>,
    /// Where it stands.
    pub state: State,
    /// How many of its parents it was told nothing of yet. Derived.
    #[serde(skip)]
    pub(super) open: u32,
    /// How many tasks that are not over come after it. Derived.
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
    /// The attempt that is being made.
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

    /// What is to be said of it as a parent.
    pub fn as_parent(&self) -> Parent {
        let told = match self.end() {
            None => Told::Open,
            Some(end) if end.how.is_success() => Told::Succeeded,
            Some(_) => Told::Failed,
        };
        Parent { no: self.no, told }
    }

    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// When it ends dead if it has not ended until then, unix ms.
    pub fn deadline(&self) -> Option<Millis> {
        self.plan.as_ref().map(|plan| plan.deadline).filter(|deadline| *deadline > 0)
    }

    /// Whether it still has to wait for a signal.
    pub fn lacks_signal(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.waits_for_signal && plan.signal.is_none())
    }

    /// When the primary has to look at it.
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

    /// What its parents' ends make of it.
    pub fn verdict(&self) -> Verdict {
        let mut told = [0usize; 4];
        self.parents.iter().for_each(|parent| told[parent.told as usize] += 1);
        Verdict::of(self.on, told[Told::Open as usize], told[Told::Succeeded as usize], told[Told::Failed as usize])
    }

    /// Where it stands once its parents let it run, at a time.
    pub(super) fn freed(&self, at: Millis) -> State {
        if self.lacks_signal() {
            State::Held
        } else if self.not_before > at {
            State::Delayed
        } else {
            State::Ready
        }
    }

    /// Bytes allocated outside the struct itself. What it needs is counted with its line.
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

    /// Bytes of it that stand beside a payload and not in it.
    pub fn beside_bytes(&self) -> usize {
        let signal = self.plan.as_ref().and_then(|plan| plan.signal.as_ref());
        let result = self.end().map(|end| &end.result);
        let blobs = [Some(&self.payload), signal, result].into_iter().flatten();
        blobs.map(|blob| blob.len()).filter(|len| *len > crate::domain::value::blob::INLINE_BYTES_MAX).sum()
    }
}

/// What the ends of its parents make of a task.
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
    /// By how many of the parents it is known how they ended.
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
