//! Clients that wait for tasks, and for the ends of tasks and flows.

use super::work::ClaimArgs;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, KeyId};
use std::sync::Arc;

/// A worker that waits for a task.
#[derive(Debug, Clone)]
pub struct TaskWaiter {
    /// The flow.
    pub key: KeyId,
    /// The arguments of its claim.
    pub args: ClaimArgs,
    /// The `REQID` under which the claims are remembered.
    pub request_id: Option<RequestId>,
}

impl InLine for TaskWaiter {
    type Line = Arc<Vec<Capability>>;

    fn key(&self) -> &KeyId {
        &self.key
    }

    fn line(&self) -> &Arc<Vec<Capability>> {
        &self.args.caps
    }

    fn request_id(&self) -> Option<&RequestId> {
        self.request_id.as_ref()
    }
}

/// All waiters for tasks on a node. Those with the same capabilities stand in one line.
pub type TaskWaiters = Lines<TaskWaiter>;

/// A client that waits for an end.
#[derive(Debug, Clone)]
pub struct CompletionWaiter {
    /// The flow.
    pub key: KeyId,
    /// The task; `None` for the end of the flow.
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

/// All waiters for ends on a node. Those for the same end stand in one line.
pub type CompletionWaiters = Lines<CompletionWaiter>;
