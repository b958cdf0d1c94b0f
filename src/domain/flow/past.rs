//! What is remembered of the last claims whose tasks are forgotten, so that a worker that did not
//! hear the answer and asks again hears it, however few tasks the flow keeps.

use super::task::{Cause, How, Task};
use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::limits::ENDED_CLAIMS_MAX;
use crate::domain::{Blob, Bytes, Fence};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The last claim of a forgotten task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedClaim {
    /// The task.
    pub task: Bytes,
    /// The fence of the claim.
    pub fence: Fence,
    /// The worker.
    pub agent: Bytes,
    /// How the task ended.
    pub how: How,
    /// Why the attempt failed, if it did.
    pub cause: Option<Cause>,
    /// The hash of the result. It tells a request that is repeated from another one, and no more.
    pub result_hash: u64,
    /// The claim that the worker made in the same call; 0 if none.
    pub next: Fence,
}

impl EndedClaim {
    /// The last claim of a task that has ended; `None` if nobody ever had it.
    pub fn of(task: &Task) -> Option<Self> {
        let (end, attempt) = (task.end()?, task.past.last());
        let (fence, agent) = match attempt {
            // It ended between two attempts.
            Some(attempt) if end.fence == 0 => (attempt.fence, &attempt.agent),
            _ => (end.fence, &end.agent),
        };
        (fence > 0).then(|| Self {
            task: task.id.clone(),
            fence,
            agent: agent.clone(),
            how: end.how,
            cause: attempt.filter(|attempt| attempt.fence == fence).map(|attempt| attempt.cause),
            result_hash: xxh64(&end.result),
            next: end.next,
        })
    }

    /// Whether the task was completed with this result.
    pub fn has_result(&self, result: &Blob) -> bool {
        self.how.is_success() && self.result_hash == xxh64(result)
    }
}

/// The last [`ENDED_CLAIMS_MAX`] of them, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedClaims(VecDeque<EndedClaim>);

impl EndedClaims {
    /// The claim of a task under this fence.
    pub fn get(&self, task: &[u8], fence: Fence) -> Option<&EndedClaim> {
        self.0.iter().rev().find(|claim| claim.fence == fence && *claim.task == *task)
    }

    /// The last claim of a task.
    pub fn last_of(&self, task: &[u8]) -> Option<&EndedClaim> {
        self.0.iter().rev().find(|claim| *claim.task == *task)
    }

    /// Remembers a claim. The oldest one goes if there are too many.
    pub(super) fn remember(&mut self, claim: EndedClaim) {
        if self.0.len() >= ENDED_CLAIMS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(claim);
    }

    /// Notes the claim that the worker made in the same call.
    pub(super) fn follow(&mut self, task: &[u8], fence: Fence, next: Fence) {
        let claim = self.0.iter_mut().rev().find(|claim| claim.fence == fence && *claim.task == *task);
        claim.into_iter().for_each(|claim| claim.next = next);
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &EndedClaim> {
        self.0.iter()
    }

    /// The number of them.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes allocated outside the struct itself.
    pub(super) fn heap_bytes(&self) -> usize {
        let texts: usize = self.0.iter().map(|claim| claim.task.heap_bytes() + claim.agent.heap_bytes()).sum();
        allocated(self.0.capacity() * size_of::<EndedClaim>()) + texts
    }
}
