//! What can happen to a flow.

use super::task::{Backoff, Cause, How, Needs, On};
use super::{Options, TaskNo};
use crate::domain::entity::event_json::EventJson;
use crate::domain::value::capability::Capability;
use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// One step in the life of a flow. Tasks are named by id, times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FlowEvent {
    /// The flow came into being.
    Created {
        /// When.
        at: Millis,
        /// Its bounds.
        options: Options,
    },
    /// A task was added.
    Added(Box<Addition>),
    /// A worker has a task.
    Claimed(Box<Claimed>),
    /// A worker was heard of: its lease goes on.
    Extended {
        /// Which task.
        task: Bytes,
        /// When.
        at: Millis,
        /// When the lease ends now.
        ends_at: Millis,
        /// How far it is, percent, and what the worker says of it, if it said something else than before.
        progress: Option<(Option<u8>, Bytes)>,
    },
    /// A task was completed.
    Completed {
        /// Which.
        task: Bytes,
        /// When.
        at: Millis,
        /// What came of it.
        result: Blob,
    },
    /// An attempt did not succeed.
    Failed {
        /// Of which task.
        task: Bytes,
        /// When.
        at: Millis,
        /// Why.
        cause: Cause,
        /// In the worker's words.
        reason: Bytes,
        /// When the next attempt may begin; 0 if there is none: the task is dead.
        retry_at: Millis,
    },
    /// A task ended without being completed and without an attempt that says why.
    Ended {
        /// Which.
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
        /// Which task.
        task: Bytes,
        /// When.
        at: Millis,
        /// What becomes of it then.
        how: How,
        /// When it is taken away from the worker.
        ends_at: Millis,
    },
    /// The client that was given a task was gone before it could be told.
    TakenBack {
        /// Which task.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// The time of a delayed task has come.
    Ripened {
        /// Which.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// Tasks that come after one that has ended were told of that.
    Told {
        /// The one that has ended.
        parent: Bytes,
        /// When.
        at: Millis,
        /// All up to this number that did not know it.
        upto: TaskNo,
    },
    /// What a task waited for has happened outside.
    Signalled {
        /// Which task.
        task: Bytes,
        /// When.
        at: Millis,
        /// What came with it.
        data: Blob,
    },
    /// A task that had ended without success begins anew.
    Requeued {
        /// Which.
        task: Bytes,
        /// When.
        at: Millis,
    },
    /// No task is handed out for a while.
    Paused {
        /// When.
        at: Millis,
    },
    /// Tasks are handed out again.
    Resumed {
        /// When.
        at: Millis,
    },
    /// Nothing more is done.
    Cancelled {
        /// When.
        at: Millis,
    },
    /// The tasks up to this number were cancelled with the flow.
    Swept {
        /// When.
        at: Millis,
        /// Up to which number.
        upto: TaskNo,
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
    /// What has to be there for it to run.
    pub needs: Needs,
    /// Higher is earlier.
    pub priority: u16,
    /// How the ends of its parents let it run.
    pub on: On,
    /// What it comes after, by name.
    pub after: Vec<Bytes>,
    /// It does not run earlier; 0 if it may at once.
    pub not_before: Millis,
    /// It ends dead if it has not ended until then; 0 for never.
    pub deadline: Millis,
    /// The lease of a claim that says none, ms; 0 for the usual one.
    pub lease_ms: Millis,
    /// So many attempts more than the first; the usual number if it is not said.
    pub retries: Option<u32>,
    /// How long to wait between attempts.
    pub backoff: Option<Backoff>,
    /// Whether it waits for a signal.
    pub waits_for_signal: bool,
}

/// A claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// Which task.
    pub task: Bytes,
    /// The claim's name.
    pub fence: Fence,
    /// When.
    pub at: Millis,
    /// Who.
    pub agent: Bytes,
    /// The registry that its agent is in; empty if it named none.
    pub registry: Bytes,
    /// What the worker can do.
    pub caps: Vec<Capability>,
    /// The lease, ms.
    pub lease_ms: Millis,
    /// When it ends.
    pub ends_at: Millis,
    /// The fences of the locks of the task.
    pub locks: Vec<Fence>,
    /// The task with whose completion it was asked for; empty if there is none.
    pub after: Bytes,
}

impl FlowEvent {
    /// The task that it is about.
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
            | FlowEvent::Swept { .. } => None,
        }
    }

    /// Whether an attempt is over by it.
    pub fn ends_attempt(&self) -> bool {
        matches!(
            self,
            FlowEvent::Completed { .. }
                | FlowEvent::Failed { .. }
                | FlowEvent::Ended { .. }
                | FlowEvent::TakenBack { .. }
        )
    }

    /// Whether its task is over by it.
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
            | FlowEvent::Swept { at, .. } => *at,
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
            | FlowEvent::Swept { .. } => return None,
        })
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
            FlowEvent::Added(addition) if !addition.after.is_empty() => json.texts("after", &addition.after),
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
