//! What every service is made of.

pub mod bindings;
pub mod event_json;
pub mod event_log;
pub mod fault;
#[cfg(any(test, feature = "test-hooks"))]
pub mod fault_injection;
pub mod idempotency;
pub mod invariant;
pub mod partial_check;
pub mod record;

use super::{Bytes, Connection, Error, Fence, Millis};
use event_json::EventJson;
use invariant::Invariant;
use partial_check::Part;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// Declares the services: each with what it is for, and its name in INFO, STATUS and messages.
macro_rules! services {
    ($($(#[doc = $text:literal])+ $id:ident = $name:literal,)+) => {
        /// The services. Each has its key types, its folder in `domain` and its folder in `command/services`.
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
    /// Agent registry: who is there, how are they, who can do this.
    Registry = "registry",
    /// Shared contexts: what everyone in a team knows.
    Context = "context",
    /// Memory locking: who may touch what.
    Lock = "lock",
    /// Session state: the state of one piece of work, and how to get it back.
    Session = "session",
    /// Tool cache: what has been computed before.
    Cache = "cache",
    /// Chunk buffer: large shared memory, in pieces.
    Buffer = "buffer",
    /// Watching the keys of the other services.
    Watch = "watch",
    /// Mailboxes: talking about the work.
    Mail = "mail",
    /// Flows and tasks: what has to be done next, and who does it.
    Flow = "flow",
}

/// Something that happened to an entity. Times in it are absolute, fences are given: applying it asks nobody anything.
pub trait Event: Serialize + DeserializeOwned + Clone + std::fmt::Debug {
    /// The keyspace notification of the module class that tells of it; `None` if no one outside can see it.
    fn name(&self) -> Option<&'static str>;

    /// The largest fence in it, which this node's fences then have to pass.
    fn fence(&self) -> Option<Fence>;

    /// The connection whose end the entity has to hear of from now on.
    fn connection(&self) -> Option<Connection>;

    /// Whether only this node hears of it: such an event has no name, is not replicated, and changes nothing that is saved.
    fn is_local(&self) -> bool {
        false
    }

    /// Tells a watcher what happened. Only asked of events with a name, of entities that keep a log.
    fn describe(&self, _story: &mut EventJson) {}
}

/// The state in one key.
pub trait Entity: Serialize + DeserializeOwned + Default + std::fmt::Debug + 'static {
    /// What can happen to it.
    type Event: Event;

    /// The service it belongs to.
    const SERVICE: Service;
    /// Redis' name of the key type, nine characters.
    const TYPE_NAME: &'static str;
    /// What a frame that holds it or its events is tagged with. Never reused.
    const TYPE_TAG: u8;
    /// So many of its visible events are kept for those who `LTMC.WATCH` it; 0 if it keeps none.
    const WATCH_EVENTS_MAX: usize = 0;
    /// Whether it is looked at when the server is short of memory, to give up what can be computed again.
    const GIVES_WAY: bool = false;
    /// Whether COPY makes another key of it.
    const COPIES: bool = false;
    /// Whether a loaded value must be told of an unclean shutdown.
    const RECOVERS: bool = false;

    /// Changes the state. Never fails and never panics: an event that does not fit (only an unchecked payload can hold one) is
    /// passed over.
    fn apply(&mut self, event: &Self::Event);

    /// The same with an event of which nobody needs the content any more: it can go into the state without being copied.
    fn take(&mut self, event: &mut Self::Event) {
        self.apply(event);
    }

    /// Errs if `event`, coming from an unchecked payload, is out of the bounds that the commands keep.
    fn admit(event: &Self::Event) -> Result<(), Error>;

    /// When the whole key becomes meaningless: its TTL, so that PTTL shows it and Redis reaps it.
    fn expires_at(&self) -> Option<Millis>;

    /// When the primary has to decide something inside the key. `waited_for` says whether a client waits for this key.
    fn wakes_at(&self, waited_for: bool) -> Option<Millis>;

    /// Whether nothing is left: the key is then deleted.
    fn is_empty(&self) -> bool;

    /// The largest fence in it.
    fn last_fence(&self) -> Fence;

    /// The largest of the numbers in it that it counts up by itself: versions, serials.
    fn last_number(&self) -> u64 {
        0
    }

    /// Connections whose end changes this entity.
    fn connections(&self) -> Vec<Connection>;

    /// Whether an agent holds something here that others could have, or takes part in it.
    fn holds(&self, _agent: &[u8]) -> bool {
        false
    }

    /// The agents that may hold nothing any more after `event`.
    fn losers(&self, _event: &Self::Event) -> Vec<Bytes> {
        Vec::new()
    }

    /// The connection of what `event` is about to end.
    fn unties(&self, event: &Self::Event) -> Option<Connection>;

    /// Bytes held, exact as to lengths, kept incrementally.
    fn memory_bytes(&self) -> usize;

    /// How many allocations freeing it takes: large ones are freed by Redis in the background.
    fn free_effort(&self) -> usize;

    /// What COPY puts under another name, if it [does](Self::COPIES): everything except what someone holds in the original.
    /// Made from the value alone: replicas make it themselves.
    fn copied(&self) -> Self {
        Self::default()
    }

    /// The value is one that a file held when the server had stopped without notice.
    fn found(&mut self) {}

    /// The value was loaded, restored or received whole at `now`.
    fn loaded(&mut self, _now: Millis) {}

    /// Whether all invariants hold. Run after every load and every repair.
    fn check(&self) -> Result<(), Invariant>;

    /// The same after `event` was applied, for debug builds. An entity that can be large looks at what the event has touched only.
    fn check_after(&self, _event: &Self::Event) -> Result<(), Invariant> {
        self.check()
    }

    /// How long a check takes, measured in elements: one takes half a microsecond at most. Measured with a release build for ten thousand
    /// agents 12 ms, grants on paths 7, messages 6, chunks 7, tasks 4, members of a document 4, answers 2, fields less than one.
    fn check_effort(&self) -> usize {
        self.free_effort()
    }

    /// Looks at a part of a value that takes long to check: at some of its elements, from the one with the number `from` on, each against
    /// all that is derived from it, and at what can be counted at once. A part takes as much as `room` elements, in the same measure, or what
    /// its last element takes more. Sums over all elements are left to a whole check. `None` if it can only be checked whole.
    fn check_part(&self, _from: u64, _room: usize) -> Result<Option<Part>, Invariant> {
        Ok(None)
    }

    /// Makes the derived indexes anew from the primary data.
    fn rebuild(&mut self);

    /// Gives up what is broken, cannot be made anew, and can be done without. Says what that was; `None` if there is no such thing.
    fn salvage(&mut self) -> Option<String> {
        None
    }
}

/// Counts so many more. A total that is saved may be anything, and stays at the end of its numbers.
pub fn count(total: &mut u64, more: u64) {
    *total = total.saturating_add(more).min(NUMBER_MAX);
}

/// Numbers that are saved and go up by one are no higher: what a value does with them then stays far from every overflow.
pub const NUMBER_MAX: u64 = i64::MAX as u64 / 2;

/// So high they are when they are loaded. The rest is left to count with: nobody counts to its end, so no decision has to ask for it.
pub const LOADED_NUMBER_MAX: u64 = 1 << 52;

/// So high they are when a client hands them in: what is counted on from there is loaded again.
pub const HANDED_IN_NUMBER_MAX: u64 = LOADED_NUMBER_MAX / 2;

/// So many bytes of what an entity keeps in lists and texts cost a check as much as one element.
pub const CHECKED_BYTES: usize = 512;

/// The text of a list of owners or keys, for messages.
pub fn joined<'a>(items: impl Iterator<Item = &'a Bytes>) -> String {
    items.map(Bytes::show).collect::<Vec<_>>().join(", ")
}
