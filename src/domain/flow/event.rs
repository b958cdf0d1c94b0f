//! What can happen to a flow.

use super::index::Retired;
use super::task::{Backoff, Cause, How, Needs, On};
use super::{Options, Shelf, TaskNo};
use crate::domain::entity::event_json::EventJson;
use crate::domain::value::capability::Capability;
use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One step in the life of a flow. Tasks are named by id, times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FlowEvent {
    /// The flow was created.
    Created {
        /// When.
        at: Millis,
        /// Its bounds.
        options: Options,
    },
    /// A task was added.
    Added(Box<Addition>),
    /// A worker claimed a task.
    Claimed(Box<Claimed>),
    /// A worker was heard of: its lease is renewed.
    Extended {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// The new end of the lease.
        ends_at: Millis,
        /// The progress in percent and the worker's note, if they changed.
        progress: Option<(Option<u8>, Bytes)>,
    },
    /// A task was completed.
    Completed {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// The result.
        result: Blob,
    },
    /// An attempt failed.
    Failed {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// Why.
        cause: Cause,
        /// The worker's words.
        reason: Bytes,
        /// When the next attempt may begin; 0 if there is none and the task is dead.
        retry_at: Millis,
    },
    /// A task ended without being completed, and without an attempt that says why.
    Ended {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// How.
        how: How,
        /// Why.
        reason: Bytes,
    },
    /// The worker of a task is asked to stop.
    Stopping {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// How the task ends then.
        how: How,
        /// When the task is taken away from the worker.
        ends_at: Millis,
    },
    /// A claim was taken back, since its client was gone before it could be told.
    TakenBack {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// The time of a delayed task has come.
    Ripened {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// Tasks were told of the end of a parent.
    Told {
        /// The parent.
        parent: Bytes,
        /// When.
        at: Millis,
        /// All tasks up to this number that did not know it.
        upto: TaskNo,
    },
    /// A task got the signal that it waited for.
    Signalled {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
        /// The data of the signal.
        data: Blob,
    },
    /// A task that had ended without success was requeued.
    Requeued {
        /// The task.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// The flow was paused.
    Paused {
        /// When.
        at: Millis,
    },
    /// The flow was resumed.
    Resumed {
        /// When.
        at: Millis,
    },
    /// The flow was cancelled.
    Cancelled {
        /// When.
        at: Millis,
    },
    /// The tasks up to this number were cancelled with the flow.
    Swept {
        /// When.
        at: Millis,
        /// The number.
        upto: TaskNo,
    },
    /// Ended tasks that were kept for long enough were forgotten.
    Forgotten {
        /// When.
        at: Millis,
        /// Where they were kept.
        shelf: Shelf,
        /// All of them up to this end.
        upto: Retired,
    },
    /// Its time to live begins anew, or another one.
    Touched {
        /// When.
        at: Millis,
        /// The new time to live, ms; the same if `None`.
        ttl_ms: Option<Millis>,
    },
}

/// A new task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Addition {
    /// Its name in the flow.
    pub id: Bytes,
    /// When it was added.
    pub at: Millis,
    /// What its worker gets.
    pub payload: Blob,
    /// What it needs to run.
    pub needs: Needs,
    /// Higher runs earlier.
    pub priority: u16,
    /// Which ends of its parents let it run.
    pub on: On,
    /// The names of its parents.
    pub after: Vec<Bytes>,
    /// The earliest time it may run; 0 for at once.
    pub not_before: Millis,
    /// When it ends dead if it has not ended before; 0 for never.
    pub deadline: Millis,
    /// The lease of a claim without its own, ms; 0 for the default.
    pub lease_ms: Millis,
    /// Retries after the first attempt; `None` for the default.
    pub retries: Option<u32>,
    /// The pause between attempts.
    pub backoff: Option<Backoff>,
    /// Whether it waits for a signal.
    pub waits_for_signal: bool,
}

/// The claim of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// The task.
    pub task: Bytes,
    /// The fence of the claim.
    pub fence: Fence,
    /// When.
    pub at: Millis,
    /// The worker.
    pub agent: Bytes,
    /// The registry of the worker; empty if it named none.
    pub registry: Bytes,
    /// The worker's capabilities.
    pub caps: Vec<Capability>,
    /// The lease, ms.
    pub lease_ms: Millis,
    /// When the lease ends.
    pub ends_at: Millis,
    /// The fences of the task's locks.
    pub locks: Vec<Fence>,
    /// The task with whose completion this one was requested; empty if there is none.
    pub after: Bytes,
    /// The fence under which that one was completed; 0 if there is none.
    pub after_fence: Fence,
}

impl FlowEvent {
    /// The task that the event is about.
    pub fn task(&self) -> Option<&Bytes> {
        match self {
            FlowEvent::Added(addition) => Some(&addition.id),
            FlowEvent::Claimed(claimed) => Some(&claimed.task),
            FlowEvent::Extended { task, .. }
            | FlowEvent::Completed { task, .. }
            | FlowEvent::Failed { task, .. }
            | FlowEvent::Ended { task, .. }
            | FlowEvent::Stopping { task, .. }
            | FlowEvent::TakenBack { task, .. }
            | FlowEvent::Ripened { task, .. }
            | FlowEvent::Told { parent: task, .. }
            | FlowEvent::Signalled { task, .. }
            | FlowEvent::Requeued { task, .. } => Some(task),
            FlowEvent::Created { .. }
            | FlowEvent::Paused { .. }
            | FlowEvent::Resumed { .. }
            | FlowEvent::Cancelled { .. }
            | FlowEvent::Swept { .. }
            | FlowEvent::Forgotten { .. }
            | FlowEvent::Touched { .. } => None,
        }
    }

    /// Whether it ends an attempt.
    pub fn ends_attempt(&self) -> bool {
        matches!(
            self,
            FlowEvent::Completed { .. }
                | FlowEvent::Failed { .. }
                | FlowEvent::Ended { .. }
                | FlowEvent::TakenBack { .. }
        )
    }

    /// Whether it ends its task.
    pub fn ends_task(&self) -> bool {
        matches!(self, FlowEvent::Completed { .. } | FlowEvent::Failed { retry_at: 0, .. } | FlowEvent::Ended { .. })
    }

    /// When it happened, unix ms.
    pub fn at(&self) -> Millis {
        match self {
            FlowEvent::Added(addition) => addition.at,
            FlowEvent::Claimed(claimed) => claimed.at,
            FlowEvent::Created { at, .. }
            | FlowEvent::Extended { at, .. }
            | FlowEvent::Completed { at, .. }
            | FlowEvent::Failed { at, .. }
            | FlowEvent::Ended { at, .. }
            | FlowEvent::Stopping { at, .. }
            | FlowEvent::TakenBack { at, .. }
            | FlowEvent::Ripened { at, .. }
            | FlowEvent::Told { at, .. }
            | FlowEvent::Signalled { at, .. }
            | FlowEvent::Requeued { at, .. }
            | FlowEvent::Paused { at }
            | FlowEvent::Resumed { at }
            | FlowEvent::Cancelled { at }
            | FlowEvent::Swept { at, .. }
            | FlowEvent::Forgotten { at, .. }
            | FlowEvent::Touched { at, .. } => *at,
        }
    }
}

fn end_name(how: How) -> &'static str {
    match how {
        How::Succeeded => "task.completed",
        How::Dead => "task.dead",
        How::Cancelled | How::CancelledWithAll => "task.cancelled",
        How::Skipped => "task.skipped",
    }
}

impl Event for FlowEvent {
    const NAMES: &'static [&'static str] = &[
        "flow.created",
        "task.added",
        "task.claimed",
        "task.progress",
        "task.completed",
        "task.dead",
        "task.failed",
        "task.stopping",
        "task.takenback",
        "task.signalled",
        "task.requeued",
        "flow.paused",
        "flow.resumed",
        "flow.cancelled",
        "task.cancelled",
        "task.skipped",
    ];

    fn name(&self) -> Option<&'static str> {
        Some(match self {
            FlowEvent::Created { .. } => "flow.created",
            FlowEvent::Added(_) => "task.added",
            FlowEvent::Claimed(_) => "task.claimed",
            FlowEvent::Extended { progress: Some(_), .. } => "task.progress",
            FlowEvent::Completed { .. } => "task.completed",
            FlowEvent::Failed { retry_at: 0, .. } => "task.dead",
            FlowEvent::Failed { .. } => "task.failed",
            FlowEvent::Ended { how, .. } => end_name(*how),
            FlowEvent::Stopping { .. } => "task.stopping",
            FlowEvent::TakenBack { .. } => "task.takenback",
            FlowEvent::Signalled { .. } => "task.signalled",
            FlowEvent::Requeued { .. } => "task.requeued",
            FlowEvent::Paused { .. } => "flow.paused",
            FlowEvent::Resumed { .. } => "flow.resumed",
            FlowEvent::Cancelled { .. } => "flow.cancelled",
            FlowEvent::Extended { .. }
            | FlowEvent::Ripened { .. }
            | FlowEvent::Told { .. }
            | FlowEvent::Swept { .. }
            | FlowEvent::Forgotten { .. }
            | FlowEvent::Touched { .. } => return None,
        })
    }

    fn agent(&self) -> Option<&[u8]> {
        match self {
            FlowEvent::Claimed(claimed) => Some(&claimed.agent),
            _ => None,
        }
    }

    fn object(&self) -> Option<Cow<'_, [u8]>> {
        self.task().map(|task| task[..].into())
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            FlowEvent::Claimed(claimed) => claimed.locks.iter().copied().chain([claimed.fence]).max(),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        None
    }

    fn describe(&self, json: &mut EventJson) {
        json.number("at_ms", self.at());
        if let Some(task) = self.task() {
            json.text("task", task);
        }
        match self {
            FlowEvent::Added(addition) if !addition.after.is_empty() => {
                json.first_texts("after", "after_count", &addition.after);
            }
            FlowEvent::Claimed(claimed) => {
                json.text("agent", &claimed.agent);
                json.number("fence", claimed.fence);
                json.number("ends_at_ms", claimed.ends_at);
            }
            FlowEvent::Extended { progress: Some((percent, note)), .. } => {
                if let Some(percent) = percent {
                    json.number("progress", (*percent).into());
                }
                tell_if_any(json, "note", note);
            }
            FlowEvent::Completed { result, .. } => json.number("result_bytes", result.len() as u64),
            FlowEvent::Failed { cause, reason, retry_at, .. } => {
                json.word("cause", cause.word());
                tell_if_any(json, "reason", reason);
                if *retry_at > 0 {
                    json.number("retry_at_ms", *retry_at);
                }
            }
            FlowEvent::Ended { reason, .. } => tell_if_any(json, "reason", reason),
            FlowEvent::Stopping { how, ends_at, .. } => {
                json.word("why", if *how == How::Dead { "deadline" } else { "cancelled" });
                json.number("ends_at_ms", *ends_at);
            }
            _ => {}
        }
    }
}

fn tell_if_any(json: &mut EventJson, name: &'static str, text: &Bytes) {
    if !text.is_empty() {
        json.text(name, text);
    }
}
