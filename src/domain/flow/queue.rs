//! Those who wait for tasks, and for the ends of tasks and flows.

use super::work::ClaimArgs;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, KeyId};
use std::sync::Arc;

/// A worker that waits for something to do.
#[derive(Debug, Clone)]
pub struct TaskWaiter {
    /// The flow.
    pub key: KeyId,
    /// What it asks for.
    pub wish: ClaimArgs,
    /// The `REQID` to remember the claims under.
    pub request_id: Option<Bytes>,
}

impl InLine for TaskWaiter {
    type Line = Arc<Vec<Capability>>;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Arc<Vec<Capability>> {
        &self.wish.caps
    }

    fn request_id(&self) -> Option<&Bytes> {
        self.request_id.as_ref()
    }
}

/// All who wait for tasks on a node, those who can do the same in one line.
pub type TaskWaiters = Lines<TaskWaiter>;

/// Somebody who waits for an end.
#[derive(Debug, Clone)]
pub struct CompletionWaiter {
    /// The flow.
    pub key: KeyId,
    /// That of which task; `None` for that of the flow.
    pub task: Option<Bytes>,
}

impl InLine for CompletionWaiter {
    type Line = Option<Bytes>;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Option<Bytes> {
        &self.task
    }
}

/// All who wait for ends on a node, those who wait for the same in one line.
pub type CompletionWaiters = Lines<CompletionWaiter>;
