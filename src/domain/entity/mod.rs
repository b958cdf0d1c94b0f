//! What all services share.

pub mod bindings;
pub mod checkable;
pub mod event_json;
pub mod event_log;
pub mod expiry;
pub mod fault;
#[cfg(any(test, feature = "test-hooks"))]
pub mod fault_injection;
pub mod idempotency;
pub mod invariant;
pub mod partial_check;
pub mod quota;
pub mod record;

use super::{Bytes, Connection, Error, Fence, Millis};
use event_json::EventJson;
use expiry::Expiry;
use invariant::Invariant;
use partial_check::Part;
use quota::Quota;
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::borrow::Cow;

/// Declares the services: each with what it is for, and its name in INFO, STATUS and messages.
macro_rules! services {
    ($($(#[doc = $text:literal])+ $id:ident = $name:literal,)+) => {
        /// The services. Each has its key types, its folder in `domain` and its folder in
        /// `command/services`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Service {
            $($(#[doc = $text])+ $id,)+
        }

        impl Service {
            /// All services, in the order in which they are listed.
            pub const ALL: &'static [Service] = &[$(Service::$id,)+];

            /// The name in INFO, STATUS and messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Service::$id => $name,)+
                }
            }
        }
    };
}

services! {
    /// Agent registry: which agents exist, how they are, and what they can do.
    Registry = "registry",
    /// Shared contexts: what everyone in a team knows.
    Context = "context",
    /// Locks: who may touch what.
    Lock = "lock",
    /// Session state: the state of one piece of work, and how to restore it.
    Session = "session",
    /// Tool cache: what has been computed before.
    Cache = "cache",
    /// Chunk buffer: large shared memory, in pieces.
    Buffer = "buffer",
    /// Watching the keys of the other services.
    Watch = "watch",
    /// Mailboxes: messages between agents.
    Mail = "mail",
    /// Flows and tasks: what is to be done next, and who does it.
    Flow = "flow",
}

/// Something that happened to an entity. Its times are absolute and its fences are given, so
/// applying it needs no other input.
pub trait Event: Serialize + DeserializeOwned + Clone + std::fmt::Debug {
    /// All that [`name`](Event::name) answers.
    const NAMES: &'static [&'static str];

    /// The keyspace notification (module class) of this event; `None` if it is not visible outside.
    fn name(&self) -> Option<&'static str>;

    /// The largest fence in it. Later fences of this node are larger.
    fn fence(&self) -> Option<Fence>;

    /// The connection whose end the entity reacts to from now on.
    fn connection(&self) -> Option<Connection>;

    /// The agent that got something by it, or about which it is.
    fn agent(&self) -> Option<&[u8]> {
        None
    }

    /// What in the key it is about: a task, chunk, message.
    fn object(&self) -> Option<Cow<'_, [u8]>> {
        None
    }

    /// Whether the event stays on this node. Such an event has no name, is not replicated, and
    /// changes nothing that is saved.
    fn is_local(&self) -> bool {
        false
    }

    /// Describes the event for a watcher. Called only for events with a name, of entities
    /// that keep a log.
    fn describe(&self, _story: &mut EventJson) {}
}

/// The state in one key.
pub trait Entity: Serialize + DeserializeOwned + Default + std::fmt::Debug + Send + 'static {
    /// What can happen to it.
    type Event: Event;

    /// The service it belongs to.
    const SERVICE: Service;
    /// Redis' name of the key type, nine characters.
    const TYPE_NAME: &'static str;
    /// The tag of a frame that holds this type or its events. Never reused.
    const TYPE_TAG: u8;
    /// What the keys of this type are called where they are counted.
    const KEYS: &'static str;
    /// What they hold is called so there; `None` if nothing in them is counted.
    const MEMBERS: Option<&'static str> = None;
    /// How many of its visible events are kept for `LTMC.WATCH`; 0 if it keeps none.
    const WATCH_EVENTS_MAX: usize = 0;
    /// What is counted of each registered agent's [amount](Self::amount); `None` if nothing is.
    const QUOTA: Option<Quota> = None;
    /// Whether it is asked to give up what can be computed again when memory is short.
    const GIVES_WAY: bool = false;
    /// Whether COPY can copy it.
    const COPIES: bool = false;
    /// Whether a loaded value must be told of an unclean shutdown.
    const RECOVERS: bool = false;

    /// Changes the state. Never fails and never panics: an event that does not fit is ignored. Only
    /// an unchecked payload can hold one.
    fn apply(&mut self, event: &Self::Event);

    /// The same for an event whose content is no longer needed: it can move into the
    /// state without a copy.
    fn take(&mut self, event: &mut Self::Event) {
        self.apply(event);
    }

    /// Errs if `event`, from an unchecked payload, is outside the bounds that commands keep.
    fn admit(event: &Self::Event) -> Result<(), Error>;

    /// What `event`, which has just been applied, does to the TTL of the key.
    fn expiry_after(&self, _event: &Self::Event) -> Expiry {
        Expiry::Keeps
    }

    /// The TTL that the key may have, where a client has set this one by EXPIRE or PERSIST.
    /// Unix ms; `None` is no TTL.
    fn expiry_allowed(&self, expires_at: Option<Millis>) -> Option<Millis> {
        expires_at
    }

    /// What it means that Redis has deleted the key at `at`, at the end of its TTL or to evict it.
    /// The event is never applied, only told.
    fn expired(&self, _at: Millis) -> Option<Self::Event> {
        None
    }

    /// Whether there is something to do before Redis deletes the key at the end of its TTL.
    fn acts_at_expiry(&self) -> bool {
        false
    }

    /// When the primary next has to decide something inside the key. `waited_for` says whether a
    /// client waits for this key.
    fn wakes_at(&self, waited_for: bool) -> Option<Millis>;

    /// Whether nothing is left; the key is then deleted.
    fn is_empty(&self) -> bool;

    /// How many [members](Self::MEMBERS) it has.
    fn members(&self) -> usize {
        0
    }

    /// The largest fence in it.
    fn last_fence(&self) -> Fence;

    /// The largest number that it counts up by itself: versions, serials.
    fn last_number(&self) -> u64 {
        0
    }

    /// The connections whose end changes this entity.
    fn connections(&self) -> Vec<Connection>;

    /// Whether an agent takes part here, or holds something that others could have.
    fn holds(&self, _agent: &[u8]) -> bool {
        false
    }

    /// How much an agent holds here of what its [quota](Self::QUOTA) counts. O(log n).
    fn amount(&self, _agent: &[u8]) -> u64 {
        0
    }

    /// The agents that may hold nothing here after `event`.
    fn losers(&self, _event: &Self::Event) -> Vec<Bytes> {
        Vec::new()
    }

    /// The other agents whose [amount](Self::amount) changes with `event`.
    fn touched(&self, _event: &Self::Event) -> Vec<Bytes> {
        Vec::new()
    }

    /// The connection of what `event` is about to end.
    fn unties(&self, event: &Self::Event) -> Option<Connection>;

    /// Bytes held. Exact as to lengths, and kept incrementally.
    fn memory_bytes(&self) -> usize;

    /// How many allocations freeing it takes. Redis frees large values in the background.
    fn free_effort(&self) -> usize;

    /// What COPY stores under the other name, if the type [allows it](Self::COPIES): everything
    /// except what someone holds in the original. It is made from the value alone, so replicas
    /// make it themselves.
    fn copied(&self) -> Self {
        Self::default()
    }

    /// The value comes from a file, and the server had stopped without notice.
    fn found(&mut self) {}

    /// The value was loaded, restored or received whole at `now`.
    fn loaded(&mut self, _now: Millis) {}

    /// Whether all invariants hold. Run after every load and every repair.
    fn check(&self) -> Result<(), Invariant>;

    /// The same after `event` was applied, for debug builds. An entity that can be large checks
    /// only what the event has touched.
    fn check_after(&self, _event: &Self::Event) -> Result<(), Invariant> {
        self.check()
    }

    /// How long a check takes, in elements. One element takes about half a microsecond, and up
    /// to two with cold caches. A release build took 12 ms for ten thousand agents, 7 for grants
    /// on paths, 6 for
    /// messages, 7 for chunks, 4 for tasks, 4 for members of a document, 2 for answers and
    /// less than one for fields.
    fn check_effort(&self) -> usize {
        self.free_effort()
    }

    /// Checks a part of a value whose check takes long. It checks some elements, beginning with
    /// number `from`, against everything derived from them, and whatever can be counted at
    /// once. The part takes about `room` elements, in the same measure; the last element may
    /// exceed it. Sums over all elements are left to a whole check. `None` if the value can
    /// only be checked whole.
    fn check_part(&self, _from: u64, _room: usize) -> Result<Option<Part>, Invariant> {
        Ok(None)
    }

    /// Rebuilds the derived indexes from the primary data.
    fn rebuild(&mut self);

    /// Gives up what is broken, cannot be rebuilt and is not essential. Returns what that was;
    /// `None` if there is no such thing.
    fn salvage(&mut self) -> Option<String> {
        None
    }
}

/// Adds to a total. A loaded total may be anything, so it saturates.
pub fn count(total: &mut u64, more: u64) {
    *total = total.saturating_add(more).min(NUMBER_MAX);
}

/// The limit of saved numbers that go up by one. All arithmetic on them is then far
/// from an overflow.
pub const NUMBER_MAX: u64 = i64::MAX as u64 / 2;

/// The limit of such numbers when they are loaded. The rest is left for counting. No node ever
/// counts that far, so no decision has to check it.
pub const LOADED_NUMBER_MAX: u64 = 1 << 52;

/// The limit of such numbers when a client hands them in. What is counted on from there can
/// be loaded again.
pub const HANDED_IN_NUMBER_MAX: u64 = LOADED_NUMBER_MAX / 2;

/// How many bytes of lists and texts cost a check as much as one element.
pub const CHECKED_BYTES: usize = 512;

/// A list of owners or keys as a text, for messages.
pub fn joined<'a>(items: impl Iterator<Item = &'a Bytes>) -> String {
    items.map(Bytes::show).collect::<Vec<_>>().join(", ")
}
