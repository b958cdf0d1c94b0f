//! The value of a key: an entity with what every entity has besides its own state.

use super::requests::{Answer, Requests, REQUEST_KEY_BYTES_MAX};
use super::{Bytes, Entity, Error, Event, Fence, Invariant};
use serde::{Deserialize, Serialize};

/// One step in the life of a key: what is applied, replicated, notified, counted and watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change<V> {
    /// An event of the service.
    Event(V),
    /// A request with `REQID` was answered: the answer is kept for a retry.
    Answered {
        /// Owner and id, see [`request_key`](super::requests::request_key).
        id: Bytes,
        /// What it was answered.
        answer: Answer,
    },
    /// What a request was granted was taken back: a retry begins anew.
    Forgotten {
        /// Owner and id.
        id: Bytes,
    },
}

impl<V: Event> Change<V> {
    /// The keyspace notification that tells of it.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Change::Event(event) => event.name(),
            Change::Answered { .. } | Change::Forgotten { .. } => None,
        }
    }

    /// The largest fence in it.
    pub fn fence(&self) -> Option<Fence> {
        match self {
            Change::Event(event) => event.fence(),
            Change::Answered { .. } | Change::Forgotten { .. } => None,
        }
    }
}

/// An entity in its key. `revision` counts the events that a watcher can see; the log of a watched service hangs here too.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stored<E> {
    /// The service's own state.
    pub state: E,
    /// Grows with every visible event, from 0.
    pub revision: u64,
    requests: Option<Box<Requests>>,
}

impl<E: Entity> Stored<E> {
    /// Applies one change. In debug builds the invariants are checked after it.
    pub fn apply(&mut self, change: &Change<E::Event>) {
        self.apply_unchecked(change);
        debug_assert_eq!(self.state.check(), Ok(()), "after {change:?}");
    }

    /// Applies one change that may break the invariants: from a payload of unknown origin, to a copy that is checked then.
    pub fn apply_unchecked(&mut self, change: &Change<E::Event>) {
        match change {
            Change::Event(event) => {
                self.state.apply(event);
                self.revision += u64::from(event.name().is_some());
                if self.state.is_empty() {
                    // The node that decided this has deleted the key, and what came next began anew. A copy may get all of it in
                    // one payload.
                    *self = Self::default();
                }
            }
            Change::Answered { id, answer } => self.requests.get_or_insert_default().remember(id, answer),
            Change::Forgotten { id } => {
                if let Some(requests) = &mut self.requests {
                    requests.forget(id);
                }
            }
        }
    }

    /// Errs if `change`, coming from an unchecked payload, is out of bounds.
    pub fn admit(change: &Change<E::Event>) -> Result<(), Error> {
        match change {
            Change::Event(event) => E::admit(event),
            Change::Answered { id, .. } | Change::Forgotten { id } if id.len() <= REQUEST_KEY_BYTES_MAX => Ok(()),
            Change::Answered { .. } | Change::Forgotten { .. } => {
                Err(Error::usage("payload holds a request id that is too long"))
            }
        }
    }

    /// What request `id` was answered, while that is remembered.
    pub fn answer(&self, id: &[u8]) -> Option<&Answer> {
        self.requests.as_ref()?.answer(id)
    }

    /// Whether the key can go. Remembered requests alone keep no key alive.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    /// Bytes held by the value, without the key.
    pub fn memory_bytes(&self) -> usize {
        let requests = self.requests.as_ref().map_or(0, |r| std::mem::size_of::<Requests>() + r.memory_bytes());
        std::mem::size_of::<Self>() - std::mem::size_of::<E>() + self.state.memory_bytes() + requests
    }

    /// Whether all invariants hold.
    pub fn check(&self) -> Result<(), Invariant> {
        if self.requests.as_ref().is_some_and(|r| r.len() > super::limits::REQUESTS_MAX) {
            return Err(Invariant("more requests are remembered than allowed".into()));
        }
        self.state.check()
    }
}
