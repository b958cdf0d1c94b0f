//! Values that have versions: the one engine below sessions and shared contexts.
//!
//! A [`Versioned`] holds a [`State`] (fields of bytes, or a JSON document), the [history] that
//! leads back to its earlier versions, its participants, the keys that belong to it, and its
//! [life]. A service adds only its state: what a change of it is, and what undoes one.
//!
//! ```text
//!             Changed, Restored: a new version, with what undoes it in the history
//!               +--+
//!   Created     v  |      STATUS           STATUS
//!  ---------> active <-----------> suspended <-----> migrating      (see Status::next)
//!               ^ |  a restart without notice
//!        STATUS | +----------------> recovering
//!               +------------------------+
//!   Ended, from anywhere: terminated, and removed after a grace. A value with keys
//!   is Ending first, until all of them are Returned.
//! ```

mod codec;
mod cost;
pub mod decide;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
pub mod faults;
mod fork;
pub mod history;
pub mod life;
pub mod resources;
pub mod shared;
pub mod stamp;
pub mod status;
mod step;

pub use event::{Created, Names, VersionedEvent};
pub use history::{CheckpointId, History, Keep, Undo, Version};
pub use life::{End, Life, Participant, Participants};
pub use resources::{Resource, Resources};
pub use shared::Shared;
pub use stamp::Stamp;
pub use status::Status;

use super::{Bytes, Code, Connection, Entity, Error, Fence, Invariant, Millis, Service};
use crate::domain::algorithm::discard::discard;
use crate::domain::entity::event_json::EventJson;
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::CHECKED_BYTES;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A state that has versions.
pub trait State:
    Default + Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// How it changes from one version to the next.
    type Change: Clone + Default + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned;
    /// What undoes a change.
    type Undo: Undo;

    /// The service it belongs to.
    const SERVICE: Service;
    /// Redis' name of the key type.
    const TYPE_NAME: &'static str;
    /// See [`Entity::TYPE_TAG`].
    const TYPE_TAG: u8;
    /// See [`Entity::KEYS`].
    const KEYS: &'static str;
    /// The names of its events.
    const NAMES: Names;
    /// The error code for a missing value.
    const MISSING: Code;
    /// See [`Entity::RECOVERS`].
    const RECOVERS: bool;

    /// Whether every undo fits every state, so that none has to be tried.
    const UNDOES_ANYTHING: bool = false;

    /// Makes a change and returns what undoes it. What does not fit is ignored.
    fn apply(&mut self, change: Self::Change, stamp: &Stamp) -> Self::Undo;

    /// Undoes changes, that of the newest version first, and adds to `back` what undoes that.
    /// `None` if something does not fit; what comes before that is undone.
    fn go_back(&mut self, way: &[&Self::Undo], back: Option<&mut Self::Undo>) -> Option<()>;

    /// Undoes a change, and returns what undoes that. `None` if it does not fit.
    fn undo(&mut self, undo: &Self::Undo) -> Option<Self::Undo> {
        let mut back = Self::Undo::default();
        self.go_back(&[undo], Some(&mut back)).map(|()| back)
    }

    /// Notes who restored the state.
    fn was_restored(&mut self, _undone: &[&Self::Undo], _stamp: &Stamp) {}

    /// The state is now one of `version`, and forgets everything later.
    fn forget_after(&mut self, _version: Version) {}

    /// Errs if a change from an unchecked payload is outside the bounds that commands keep.
    fn admit(change: &Self::Change) -> Result<(), Error>;

    /// Describes a change for a watcher.
    fn describe(change: &Self::Change, json: &mut EventJson);

    /// Where a value has changed since a version, for a conflict; `None` if that is not known.
    fn changed_since(value: &Versioned<Self>, version: Version) -> Option<String>;

    /// Whether it is now what it was at a version; false if that is not known.
    fn is_as_at(value: &Versioned<Self>, version: Version) -> bool;

    /// Whether nothing is in it.
    fn is_empty(&self) -> bool;

    /// Bytes allocated outside the struct itself, kept incrementally.
    fn heap_bytes(&self) -> usize;

    /// How many allocations freeing it takes.
    fn free_effort(&self) -> usize;

    /// Whether all its own invariants hold.
    fn check(&self) -> Result<(), Invariant>;

    /// How long that takes, see [`Entity::check_effort`].
    fn check_effort(&self) -> usize {
        self.free_effort()
    }

    /// Rebuilds what is derived.
    fn rebuild(&mut self);

    /// See [`Entity::salvage`].
    fn salvage(&mut self) -> Option<String> {
        None
    }
}

/// A state with its versions and everything that belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound = "S: State")]
pub struct Versioned<S: State> {
    state: Shared<S>,
    history: History<S::Undo>,
    status: Status,
    owner: Bytes,
    meta: Bytes,
    participants: Participants,
    resources: Resources,
    life: Life,
    created_at: Millis,
    changed_at: Millis,
    changed_by: Bytes,
    stays: bool,
    end: End,
    /// Whether this process found it in a file after a stop without notice, and has yet to decide.
    #[serde(skip)]
    is_found: bool,
}

impl<S: State> Versioned<S> {
    /// The state as it is now.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Whether both share one state in memory.
    pub fn shares_state_with(&self, other: &Self) -> bool {
        self.state.is_one_with(&other.state)
    }

    /// Its versions.
    pub fn history(&self) -> &History<S::Undo> {
        &self.history
    }

    /// The current version.
    pub fn version(&self) -> Version {
        self.history.version()
    }

    /// The owner; empty if none was named.
    pub fn owner(&self) -> &Bytes {
        &self.owner
    }

    /// JSON; empty if there is none.
    pub fn meta(&self) -> &Bytes {
        &self.meta
    }

    /// The participants.
    pub fn participants(&self) -> &Participants {
        &self.participants
    }

    /// The keys that belong to it.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Its life.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// When it was created, unix ms.
    pub fn created_at(&self) -> Millis {
        self.created_at
    }

    /// When and by whom its current version was made.
    pub fn changed(&self) -> (Millis, &Bytes) {
        (self.changed_at, &self.changed_by)
    }

    /// Its status. After a stop without notice it is recovering, even before that is decided.
    pub fn status(&self) -> Status {
        if self.is_found {
            Status::Recovering
        } else {
            self.status
        }
    }

    /// When it ended and which grants it still has to give back, if any.
    pub fn owes(&self) -> Option<&End> {
        (self.status == Status::Terminated && !self.resources.is_empty()).then_some(&self.end)
    }

    /// Whether it is not yet decided that it is recovering.
    pub fn is_found(&self) -> bool {
        self.is_found
    }

    /// Whether it has ended and its grace is over at `now`, though it may still owe something.
    pub fn is_gone(&self, now: Millis) -> bool {
        self.status == Status::Terminated && self.end.gone_at <= now
    }

    /// The state as it was at `version`; `None` if that cannot be restored.
    pub fn at_version(&self, version: Version) -> Option<S> {
        let mut state = S::clone(&self.state);
        state.go_back(&self.history.undone(version)?, None)?;
        Some(state)
    }

    fn create(&mut self, created: &Created<S>) {
        let Created { at, owner, state, version, meta, participants, life, keep, stays } = created;
        let participant = |(id, role): &(Bytes, Bytes)| (id.clone(), Participant { role: role.clone(), since: *at });
        let before = std::mem::take(self);
        let pieces = before.free_effort();
        discard(before, pieces);
        *self = Self {
            state: state.clone(),
            history: History::new(*version, *keep),
            owner: owner.clone(),
            meta: meta.clone(),
            participants: participants.iter().map(participant).collect(),
            life: *life,
            created_at: *at,
            changed_at: *at,
            changed_by: owner.clone(),
            stays: *stays,
            ..Self::default()
        };
    }

    fn change(&mut self, at: Millis, by: &Bytes, change: S::Change, ttl_ms: Option<Millis>) {
        let stamp = Stamp { version: self.version() + 1, at, by };
        let undo = self.state.edit().apply(change, &stamp);
        self.new_version(undo, at, by);
        self.life.ttl_ms = ttl_ms.or(self.life.ttl_ms);
    }

    fn new_version(&mut self, undo: S::Undo, at: Millis, by: &Bytes) {
        self.history.record(undo, at, by);
        (self.changed_at, self.changed_by) = (at, by.clone());
    }

    fn restore(&mut self, at: Millis, by: &Bytes, checkpoint: CheckpointId) {
        let Some(version) = self.history.checkpoint(checkpoint).map(|checkpoint| checkpoint.version) else { return };
        let Some(undone) = self.history.undone(version) else { return };
        let (mut undo, state) = (S::Undo::default(), self.state.edit());
        // What does not fit is left out. Only an unchecked history can have that.
        let _ = state.go_back(&undone, Some(&mut undo));
        state.was_restored(&undone, &Stamp { version: self.history.version() + 1, at, by });
        self.new_version(undo, at, by);
    }
}

impl<S: State> Versioned<S> {
    fn finish(&mut self, end: End) {
        (self.status, self.is_found, self.end) = (Status::Terminated, false, end);
        self.life = Life::default();
        self.forget_people();
    }

    /// Whether it has ended and owes nothing.
    fn has_returned_all(&self) -> bool {
        self.status == Status::Terminated && self.resources.is_empty()
    }

    /// Participants are known until what they hold is given back.
    fn forget_people(&mut self) {
        if self.has_returned_all() {
            self.participants.clear();
        }
    }
}

impl<S: State> Entity for Versioned<S> {
    type Event = VersionedEvent<S>;

    const SERVICE: Service = S::SERVICE;
    const TYPE_NAME: &'static str = S::TYPE_NAME;
    const TYPE_TAG: u8 = S::TYPE_TAG;
    const KEYS: &'static str = S::KEYS;
    const WATCH_EVENTS_MAX: usize = 4096;
    const RECOVERS: bool = S::RECOVERS;
    const COPIES: bool = true;

    fn apply(&mut self, event: &VersionedEvent<S>) {
        match event {
            VersionedEvent::Created(created) => self.create(created),
            VersionedEvent::Changed { at, by, change, ttl_ms, .. } => self.change(*at, by, change.clone(), *ttl_ms),
            VersionedEvent::Restored { at, by, checkpoint, .. } => self.restore(*at, by, *checkpoint),
            VersionedEvent::Checkpointed { at, id, name, is_pinned } => {
                self.history.mark(*id, name, *at, *is_pinned);
            }
            VersionedEvent::Pruned { checkpoints, .. } => {
                self.history.remove_checkpoints(checkpoints);
            }
            VersionedEvent::Joined { at, agent, role } => {
                let since = self.participants.get(agent).map_or(*at, |known| known.since);
                self.participants.insert(agent.clone(), Participant { role: role.clone(), since });
            }
            VersionedEvent::Left { agent, .. } => {
                self.participants.remove(agent);
            }
            VersionedEvent::Owned { by, resources, .. } => {
                resources::give(&mut self.resources, resources, by);
            }
            VersionedEvent::Disowned { by, resources, .. } => {
                resources::take_back(&mut self.resources, resources, by);
            }
            VersionedEvent::Touched { ttl_ms, .. } => self.life.ttl_ms = ttl_ms.or(self.life.ttl_ms),
            VersionedEvent::StatusChanged { status, .. } => (self.status, self.is_found) = (*status, false),
            VersionedEvent::Ended { at, gone_at } => {
                self.resources.clear();
                self.finish(End { at: *at, fence: 0, gone_at: *gone_at });
            }
            VersionedEvent::Ending { at, gone_at, fence } => {
                self.finish(End { at: *at, fence: *fence, gone_at: *gone_at });
            }
            VersionedEvent::Returned { resources, .. } => {
                resources::take_back(&mut self.resources, resources, b"");
                self.forget_people();
            }
        }
    }

    fn take(&mut self, event: &mut VersionedEvent<S>) {
        match event {
            VersionedEvent::Changed { at, by, change, ttl_ms, .. } => {
                self.change(*at, by, std::mem::take(change), *ttl_ms);
            }
            event => self.apply(event),
        }
    }

    fn admit(event: &VersionedEvent<S>) -> Result<(), Error> {
        codec::admit(event)
    }

    fn expiry_after(&self, event: &VersionedEvent<S>) -> Expiry {
        let renewed = |at| self.life.ends_from(at).map_or(Expiry::Keeps, Expiry::At);
        match event {
            VersionedEvent::Created(created) => Expiry::of(self.life.ends_from(created.at)),
            VersionedEvent::Changed { at, ttl_ms: Some(_), .. } | VersionedEvent::Touched { at, .. } => renewed(*at),
            VersionedEvent::Ended { gone_at, .. } => Expiry::At(*gone_at),
            // It stays until everything is given back, however late that is.
            VersionedEvent::Ending { .. } => Expiry::Never,
            VersionedEvent::Returned { .. } if self.has_returned_all() => Expiry::At(self.end.gone_at),
            event if self.life.is_sliding => renewed(event.at()),
            _ => Expiry::Keeps,
        }
    }

    fn expiry_allowed(&self, expires_at: Option<Millis>) -> Option<Millis> {
        match (self.owes(), self.status) {
            (Some(_), _) => None,
            (None, Status::Terminated) => Some(expires_at.map_or(self.end.gone_at, |end| end.min(self.end.gone_at))),
            (None, _) => self.life.at_most(expires_at),
        }
    }

    fn expired(&self, at: Millis) -> Option<VersionedEvent<S>> {
        (self.status != Status::Terminated).then_some(VersionedEvent::Ended { at, gone_at: 0 })
    }

    /// What belongs to it is given back.
    fn acts_at_expiry(&self) -> bool {
        !self.resources.is_empty() && self.status != Status::Terminated
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        self.owes().map(|end| end.at)
    }

    fn is_empty(&self) -> bool {
        // The history begins with version 1. Before that the value does not exist.
        let has_begun = self.history.version() > 0;
        let has_ended = self.has_returned_all() && self.end.gone_at == 0;
        // An ended value can be read during its grace, whatever is left of it.
        let is_bare = !self.stays
            && self.status != Status::Terminated
            && self.state.is_empty()
            && self.participants.is_empty()
            && self.resources.is_empty()
            && self.history.checkpoints().len() == 0;
        !has_begun || has_ended || is_bare
    }

    fn last_number(&self) -> u64 {
        self.history.last_number()
    }

    fn last_fence(&self) -> Fence {
        self.end.fence
    }

    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    fn unties(&self, _event: &VersionedEvent<S>) -> Option<Connection> {
        None
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.participants.contains_key(agent)
    }

    fn losers(&self, event: &VersionedEvent<S>) -> Vec<Bytes> {
        match event {
            VersionedEvent::Left { agent, .. } => vec![agent.clone()],
            _ => Vec::new(),
        }
    }

    fn memory_bytes(&self) -> usize {
        let texts = self.owner.heap_bytes() + self.meta.heap_bytes() + self.changed_by.heap_bytes();
        let resources = self.resources.iter().map(|(name, resource)| Resource::bytes(name, resource));
        size_of::<Self>()
            + texts
            + self.state.heap_bytes(S::heap_bytes)
            + self.history.heap_bytes()
            + life::participants_bytes(&self.participants)
            + resources.sum::<usize>()
    }

    fn free_effort(&self) -> usize {
        self.state.free_effort() + self.history.free_effort()
    }

    fn found(&mut self) {
        self.is_found = self.status.is_at_work();
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, _event: &VersionedEvent<S>) -> Result<(), Invariant> {
        // A check walks the whole history, so it is left out if that is long.
        const SHORT: usize = 64;
        if self.history.recent_versions() > SHORT || self.state().heap_bytes() > 64 * 1024 {
            return Ok(());
        }
        self.check()
    }

    fn copied(&self) -> Self {
        // Ownership cannot be copied: what belongs to one does not belong to the other. The copy
        // stays since a client asked for it.
        let mut copy = Self { resources: Resources::new(), stays: true, ..self.clone() };
        copy.forget_people();
        copy
    }

    fn check_effort(&self) -> usize {
        let around = self.meta.len() / CHECKED_BYTES + self.participants.len() + 4 * self.resources.len();
        around + self.state.check_effort() + self.history.check_effort(!S::UNDOES_ANYTHING)
    }

    fn rebuild(&mut self) {
        self.history.rebuild();
        self.state.edit().rebuild();
    }

    fn salvage(&mut self) -> Option<String> {
        codec::salvage(self)
    }
}
