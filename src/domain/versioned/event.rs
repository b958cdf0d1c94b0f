//! What can happen to a versioned value.

use super::history::{CheckpointId, Keep, Version};
use super::life::Life;
use super::{Shared, State, Status};
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// The keyspace notifications of a kind of versioned value.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // each is the name of the event that is called like it
pub struct Names {
    pub created: &'static str,
    pub changed: &'static str,
    pub restored: &'static str,
    pub checkpointed: &'static str,
    pub pruned: &'static str,
    pub joined: &'static str,
    pub left: &'static str,
    pub owned: &'static str,
    pub disowned: &'static str,
    pub status: &'static str,
    pub ended: &'static str,
    pub returned: &'static str,
}

/// One step in the life of a versioned value. Times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub enum VersionedEvent<S: State> {
    /// It came into being.
    Created(Box<Created<S>>),
    /// Its state has a new version.
    Changed {
        /// Its number.
        version: Version,
        /// When.
        at: Millis,
        /// By whom; empty if nobody was named.
        by: Bytes,
        /// How.
        change: S::Change,
        /// Its time to live from now on, if it was given another one, ms.
        ttl_ms: Option<Millis>,
    },
    /// Its state is again what it was at a checkpoint, as a new version.
    Restored {
        /// Its number.
        version: Version,
        /// When.
        at: Millis,
        /// By whom; empty if nobody was named.
        by: Bytes,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The current version has a checkpoint.
    Checkpointed {
        /// When.
        at: Millis,
        /// Its number.
        id: CheckpointId,
        /// For people.
        name: Bytes,
        /// Whether it stays.
        is_pinned: bool,
    },
    /// Checkpoints are gone.
    Pruned {
        /// When.
        at: Millis,
        /// Which.
        checkpoints: Vec<CheckpointId>,
    },
    /// Somebody takes part.
    Joined {
        /// When.
        at: Millis,
        /// Who.
        agent: Bytes,
        /// As what.
        role: Bytes,
    },
    /// Somebody takes part no more.
    Left {
        /// When.
        at: Millis,
        /// Who.
        agent: Bytes,
    },
    /// Keys belong to it.
    Owned {
        /// When.
        at: Millis,
        /// By whose word, see [`Resource`](super::resources::Resource).
        by: Bytes,
        /// Which.
        resources: Vec<Bytes>,
    },
    /// Keys belong to it no more.
    Disowned {
        /// When.
        at: Millis,
        /// By whose word; empty takes back everybody's.
        by: Bytes,
        /// Which.
        resources: Vec<Bytes>,
    },
    /// It was used, and lives on.
    Touched {
        /// When.
        at: Millis,
        /// Its time to live from now on, if it was given another one, ms.
        ttl_ms: Option<Millis>,
    },
    /// It has another status.
    StatusChanged {
        /// When.
        at: Millis,
        /// What it is now.
        status: Status,
    },
    /// It is over: what belonged to it is free.
    Ended {
        /// When.
        at: Millis,
        /// Until when it can still be read; it is gone then.
        gone_at: Millis,
    },
    /// It is over, and what belongs to it is given back from now on.
    Ending {
        /// When.
        at: Millis,
        /// Until when it can still be read; it is gone then, or when all is given back if that is later.
        gone_at: Millis,
        /// A fence of that moment: what was granted later is younger, and not taken back.
        fence: Fence,
    },
    /// Of what belonged to it, this is given back.
    Returned {
        /// When.
        at: Millis,
        /// Which keys.
        resources: Vec<Bytes>,
    },
}

/// How a value begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub struct Created<S: State> {
    /// When.
    pub at: Millis,
    /// Whose it is; empty if nobody was named.
    pub owner: Bytes,
    /// What it begins with.
    pub state: Shared<S>,
    /// The number of its first version.
    pub version: Version,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// Who takes part, each with its role.
    pub participants: Vec<(Bytes, Bytes)>,
    /// How long it lives.
    pub life: Life,
    /// How much of the past is kept.
    pub keep: Keep,
    /// Whether it is kept even if it is empty.
    pub stays: bool,
}

impl<S: State> VersionedEvent<S> {
    /// When it happened, unix ms.
    pub fn at(&self) -> Millis {
        match self {
            VersionedEvent::Created(created) => created.at,
            VersionedEvent::Changed { at, .. }
            | VersionedEvent::Restored { at, .. }
            | VersionedEvent::Checkpointed { at, .. }
            | VersionedEvent::Pruned { at, .. }
            | VersionedEvent::Joined { at, .. }
            | VersionedEvent::Left { at, .. }
            | VersionedEvent::Owned { at, .. }
            | VersionedEvent::Disowned { at, .. }
            | VersionedEvent::Touched { at, .. }
            | VersionedEvent::StatusChanged { at, .. }
            | VersionedEvent::Ended { at, .. }
            | VersionedEvent::Ending { at, .. }
            | VersionedEvent::Returned { at, .. } => *at,
        }
    }

    /// The number of the version or checkpoint that it makes; 0 if it makes none.
    pub fn number(&self) -> u64 {
        match self {
            VersionedEvent::Created(created) => created.version,
            VersionedEvent::Changed { version, .. } | VersionedEvent::Restored { version, .. } => *version,
            VersionedEvent::Checkpointed { id, .. } => *id,
            _ => 0,
        }
    }
}

impl<S: State> Event for VersionedEvent<S> {
    fn name(&self) -> Option<&'static str> {
        let Names { created, changed, restored, checkpointed, pruned, joined, left, .. } = S::NAMES;
        let Names { owned, disowned, status, ended, returned, .. } = S::NAMES;
        Some(match self {
            VersionedEvent::Created(_) => created,
            VersionedEvent::Changed { .. } => changed,
            VersionedEvent::Restored { .. } => restored,
            VersionedEvent::Checkpointed { .. } => checkpointed,
            VersionedEvent::Pruned { .. } => pruned,
            VersionedEvent::Joined { .. } => joined,
            VersionedEvent::Left { .. } => left,
            VersionedEvent::Owned { .. } => owned,
            VersionedEvent::Disowned { .. } => disowned,
            VersionedEvent::StatusChanged { .. } => status,
            VersionedEvent::Ended { .. } | VersionedEvent::Ending { .. } => ended,
            VersionedEvent::Returned { .. } => returned,
            // Whoever watches wants to know what changes, not that somebody looked.
            VersionedEvent::Touched { .. } => return None,
        })
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            VersionedEvent::Ending { fence, .. } => Some(*fence),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        None
    }

    fn describe(&self, json: &mut EventJson) {
        json.number("at_ms", self.at());
        let mut named = |name: &'static str, text: &Bytes| {
            if !text.is_empty() {
                json.text(name, text);
            }
        };
        match self {
            VersionedEvent::Created(created) => {
                named("by", &created.owner);
                json.number("version", created.version);
            }
            VersionedEvent::Changed { version, by, change, .. } => {
                named("by", by);
                json.number("version", *version);
                S::describe(change, json);
            }
            VersionedEvent::Restored { version, by, checkpoint, .. } => {
                named("by", by);
                json.number("version", *version);
                json.number("checkpoint", *checkpoint);
            }
            VersionedEvent::Checkpointed { id, name, .. } => {
                named("name", name);
                json.number("checkpoint", *id);
            }
            VersionedEvent::Pruned { checkpoints, .. } => json.numbers("checkpoints", checkpoints),
            VersionedEvent::Joined { agent, role, .. } => {
                named("agent", agent);
                named("role", role);
            }
            VersionedEvent::Left { agent, .. } => named("agent", agent),
            VersionedEvent::Owned { resources, by, .. } | VersionedEvent::Disowned { resources, by, .. } => {
                named("by", by);
                json.texts("resources", resources);
            }
            VersionedEvent::Returned { resources, .. } => json.texts("resources", resources),
            VersionedEvent::StatusChanged { status, .. } => json.word("status", status.word()),
            VersionedEvent::Ended { gone_at, .. } | VersionedEvent::Ending { gone_at, .. } => {
                json.number("gone_at_ms", *gone_at);
            }
            VersionedEvent::Touched { .. } => {}
        }
    }
}
