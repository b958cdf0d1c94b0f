//! What can happen to a versioned value.

use super::history::{CheckpointId, Keep, Version};
use super::life::Life;
use super::{Shared, State, Status};
use crate::domain::entity::event_json::EventJson;
use crate::domain::limits::EVENT_NAMES_BYTES_MAX;
use crate::domain::{Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

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

impl Names {
    /// All of them.
    pub const fn all(&self) -> [&'static str; 12] {
        let Names { created, changed, restored, checkpointed, pruned, joined, left, .. } = *self;
        let Names { owned, disowned, status, ended, returned, .. } = *self;
        [created, changed, restored, checkpointed, pruned, joined, left, owned, disowned, status, ended, returned]
    }
}

/// One step in the life of a versioned value. Times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub enum VersionedEvent<S: State> {
    /// It was created.
    Created(Box<Created<S>>),
    /// Its state has a new version.
    Changed {
        /// The number of the version.
        version: Version,
        /// When.
        at: Millis,
        /// The agent; empty if none was named.
        by: Bytes,
        /// The change.
        change: S::Change,
        /// Its new time to live, if one was given, ms.
        ttl_ms: Option<Millis>,
    },
    /// Its state was restored from a checkpoint, as a new version.
    Restored {
        /// The number of the version.
        version: Version,
        /// When.
        at: Millis,
        /// The agent; empty if none was named.
        by: Bytes,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A checkpoint of the current version was made.
    Checkpointed {
        /// When.
        at: Millis,
        /// Its number.
        id: CheckpointId,
        /// Its name, for people.
        name: Bytes,
        /// Whether it is pinned.
        is_pinned: bool,
    },
    /// Checkpoints were removed.
    Pruned {
        /// When.
        at: Millis,
        /// Their numbers.
        checkpoints: Vec<CheckpointId>,
    },
    /// An agent joined.
    Joined {
        /// When.
        at: Millis,
        /// The agent.
        agent: Bytes,
        /// Its role.
        role: Bytes,
    },
    /// An agent left.
    Left {
        /// When.
        at: Millis,
        /// The agent.
        agent: Bytes,
    },
    /// Keys were given to it.
    Owned {
        /// When.
        at: Millis,
        /// The giver, see [`Resource`](super::resources::Resource).
        by: Bytes,
        /// The keys.
        resources: Vec<Bytes>,
    },
    /// Keys were taken back.
    Disowned {
        /// When.
        at: Millis,
        /// The giver; empty takes back every giver's.
        by: Bytes,
        /// The keys.
        resources: Vec<Bytes>,
    },
    /// It was used, and its time to live begins anew.
    Touched {
        /// When.
        at: Millis,
        /// Its new time to live, if one was given, ms.
        ttl_ms: Option<Millis>,
    },
    /// Its status changed.
    StatusChanged {
        /// When.
        at: Millis,
        /// The new status.
        status: Status,
    },
    /// It ended, and nothing belongs to it.
    Ended {
        /// When.
        at: Millis,
        /// When it is removed. It can be read until then.
        gone_at: Millis,
    },
    /// It ended, and what belongs to it is given back from now on.
    Ending {
        /// When.
        at: Millis,
        /// When it is removed, or when everything is given back if that is later. It can be
        /// read until then.
        gone_at: Millis,
        /// A fence of that moment. Later grants are larger and are not given back.
        fence: Fence,
    },
    /// Some of what belonged to it was given back.
    Returned {
        /// When.
        at: Millis,
        /// The keys.
        resources: Vec<Bytes>,
    },
}

/// The beginning of a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub struct Created<S: State> {
    /// When.
    pub at: Millis,
    /// The owner; empty if none was named.
    pub owner: Bytes,
    /// The first state.
    pub state: Shared<S>,
    /// The number of its first version.
    pub version: Version,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// The participants, each with its role.
    pub participants: Vec<(Bytes, Bytes)>,
    /// Its life.
    pub life: Life,
    /// How much history is kept.
    pub keep: Keep,
    /// Whether it stays when it is empty.
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

    /// The number of the version or checkpoint that it makes; 0 if none.
    pub fn number(&self) -> u64 {
        match self {
            VersionedEvent::Created(created) => created.version,
            VersionedEvent::Changed { version, .. } | VersionedEvent::Restored { version, .. } => *version,
            VersionedEvent::Checkpointed { id, .. } => *id,
            _ => 0,
        }
    }
}

/// Names that are very long together are left out: a watcher that needs them reads the value.
fn name_resources(resources: &[Bytes], json: &mut EventJson) {
    if resources.iter().map(|name| name.len()).sum::<usize>() <= EVENT_NAMES_BYTES_MAX {
        json.texts("resources", resources);
    }
}

impl<S: State> Event for VersionedEvent<S> {
    const NAMES: &'static [&'static str] = &S::NAMES.all();

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
            // A watcher is interested in changes, not in uses.
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

    fn object(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            VersionedEvent::Returned { resources, .. } => resources.first().map(|first| first[..].into()),
            _ => None,
        }
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
                name_resources(resources, json);
            }
            VersionedEvent::Returned { resources, .. } => name_resources(resources, json),
            VersionedEvent::StatusChanged { status, .. } => json.word("status", status.word()),
            VersionedEvent::Ended { gone_at, .. } | VersionedEvent::Ending { gone_at, .. } => {
                json.number("gone_at_ms", *gone_at);
            }
            VersionedEvent::Touched { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::Fields;

    #[test]
    fn an_event_names_what_is_owned_unless_the_names_are_very_long() {
        for (names, are_named) in [(64, true), (65, false)] {
            let resources = (0..names).map(|n| Bytes::from(format!("{n:01024}").as_str())).collect();
            let event = VersionedEvent::<Fields>::Owned { at: 1, by: Bytes::EMPTY, resources };
            let mut json = EventJson::new(1, "session.owned");
            event.describe(&mut json);
            let (start, rest) = json.finish();
            let text = String::from_utf8([start, rest].concat()).expect("JSON");
            let shown: serde_json::Value = serde_json::from_str(&text).expect(&text);
            assert_eq!(shown["resources"].as_array().map(Vec::len), are_named.then_some(names), "{names}");
        }
    }
}
