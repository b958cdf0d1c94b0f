//! The value of a key: an entity, with what every entity has besides its own state.

use super::bindings::{AgentBinding, AgentBindings};
use super::event_json::EventJson;
use super::event_log::Log;
use super::expiry::{Expired, Expiry};
use super::fault::{Fault, Original};
use super::idempotency::{Answered, Requests};
use super::invariant::rule;
use super::partial_check::Part;
use super::quota::Quota;
use super::LOADED_NUMBER_MAX;
use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::looks::{looked, uncounted};
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::value::fence::FENCE_END;
use crate::domain::{Bytes, Entity, Error, Event, Fence, Invariant, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;

/// One step in the life of a key. It is applied, replicated, notified, counted and watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change<V> {
    /// An event of the service.
    Event(V),
    /// A request with `REQID` was answered. The answer is kept for a retry.
    Answered(Box<Answered>),
    /// What a request was granted was taken back. A retry starts from the beginning.
    Forgotten {
        /// Whose the request was.
        owner: Bytes,
        /// Its id.
        id: Bytes,
    },
    /// The key was created. Only keys that keep a log begin with it.
    Born {
        /// Above all revisions of earlier lives of the key.
        revision: u64,
    },
    /// What an agent holds in the key belongs to this incarnation from now on.
    Bound(AgentBinding),
    /// It no longer does.
    Unbound {
        /// The agent.
        agent: Bytes,
    },
    /// The key ended with the event before it, since nothing was left. It changes nothing. A broken
    /// copy learns by it that the key has ended.
    Gone,
}

impl<V: Event> Change<V> {
    /// The event of the service, if it is one.
    pub fn event(&self) -> Option<&V> {
        match self {
            Change::Event(event) => Some(event),
            _ => None,
        }
    }

    /// The keyspace notification of this change.
    pub fn name(&self) -> Option<&'static str> {
        self.event()?.name()
    }

    /// The index at which `changes` begin a new life of the key, if they do.
    pub fn new_life(changes: &[Self]) -> Option<usize> {
        let beginning = |(at, change): (usize, &Self)| match change {
            Change::Gone => Some(at + 1),
            Change::Born { .. } => Some(at),
            _ => None,
        };
        changes.iter().enumerate().rev().find_map(beginning)
    }

    /// The largest fence in it.
    pub fn fence(&self) -> Option<Fence> {
        match self {
            Change::Event(event) => event.fence(),
            Change::Bound(binding) => Some(binding.epoch),
            _ => None,
        }
    }
}

/// An entity in its key.
#[derive(Debug, Clone, Default)]
pub struct Record<E> {
    /// The service's own state.
    pub state: E,
    /// Grows with every visible event: from 0, or from the revision that a key with a log
    /// was created with.
    pub revision: u64,
    requests: Option<Box<Requests>>,
    log: Option<Box<Log>>,
    bindings: Option<Box<AgentBindings>>,
    fault: Option<Box<Fault>>,
    /// The members that the host has counted.
    counted: usize,
}

/// The content of an `LTMC.APPLY` payload.
#[derive(Debug, Clone)]
pub enum Payload<E: Entity> {
    /// What happened to the key, in order.
    Changes(Vec<Change<E::Event>>),
    /// The whole value of the key.
    Snapshot(Record<E>),
}

/// What a change has done beside the value.
#[derive(Debug, Default)]
pub struct Effects {
    /// The bindings that it has ended.
    pub ended_bindings: Vec<AgentBinding>,
    /// Agents that hold more or less than before.
    pub touched: Vec<Bytes>,
    /// What becomes of the TTL of the key.
    pub expiry: Expiry,
}

impl Effects {
    fn ending(binding: Option<AgentBinding>) -> Self {
        Self { ended_bindings: binding.into_iter().collect(), ..Self::default() }
    }
}

impl<E: Entity> Record<E> {
    /// Applies one change. In debug builds the invariants are checked after it.
    pub fn apply(&mut self, change: &Change<E::Event>) -> Effects {
        let effects = self.apply_unchecked(change);
        if let Change::Event(event) = change {
            debug_assert_eq!(uncounted(|| self.state.check_after(event)), Ok(()), "after {change:?}");
        }
        effects
    }

    /// Applies one change whose content is no longer needed. What a client hands in may break the
    /// invariants on the way to its end, so whoever has decided the changes checks them.
    pub fn take(&mut self, change: &mut Change<E::Event>) -> Effects {
        let Change::Event(event) = change else { return self.apply_unchecked(change) };
        self.happen(event, |state, event| state.take(event))
    }

    /// Applies one change that may break the invariants: from a payload of unknown origin, to a
    /// copy that is checked afterwards.
    pub fn apply_unchecked(&mut self, change: &Change<E::Event>) -> Effects {
        match change {
            Change::Event(event) => return self.happen(event, |state, event| state.apply(event)),
            Change::Bound(binding) => {
                if !self.state.is_empty() {
                    return Effects::ending(self.bindings.get_or_insert_default().bind(binding));
                }
            }
            Change::Unbound { agent } => return Effects::ending(self.unbind(agent)),
            Change::Answered(answered) => {
                // The memory ends with the value: with the last grant, for example.
                if !self.state.is_empty() {
                    self.requests.get_or_insert_default().remember(answered);
                }
            }
            Change::Forgotten { owner, id } => {
                if let Some(requests) = &mut self.requests {
                    requests.forget(owner, id);
                }
            }
            Change::Born { revision } => {
                if E::WATCH_EVENTS_MAX > 0 && self.state.is_empty() {
                    let log = Some(Box::new(Log::new(*revision)));
                    *self = self.emptied(*revision, log);
                }
            }
            Change::Gone => {}
        }
        Effects::default()
    }

    /// The same key with nothing in it.
    fn emptied(&mut self, revision: u64, log: Option<Box<Log>>) -> Self {
        Self { revision, log, fault: self.fault.take(), counted: self.counted, ..Self::default() }
    }

    fn unbind(&mut self, agent: &[u8]) -> Option<AgentBinding> {
        let bindings = self.bindings.as_mut()?;
        let ended = bindings.unbind(agent);
        if bindings.is_empty() {
            self.bindings = None;
        }
        ended
    }

    /// Has `apply` make an event, and logs it for watchers. Agents that hold nothing here
    /// afterwards are unbound.
    fn happen<T: Borrow<E::Event>>(&mut self, mut event: T, apply: impl FnOnce(&mut E, &mut T)) -> Effects {
        looked(1);
        let is_bound = self.bindings.is_some();
        let losers = if is_bound { self.state.losers(event.borrow()) } else { Vec::new() };
        let touched = if is_bound { self.state.touched(event.borrow()) } else { Vec::new() };
        let was_empty = self.state.is_empty();
        let name = event.borrow().name();
        self.revision = (self.revision + u64::from(name.is_some())).min(i64::MAX as u64);
        match name.filter(|_| E::WATCH_EVENTS_MAX > 0) {
            Some(name) => {
                // Described before its content moves into the state.
                let mut json = EventJson::new(self.revision, name);
                event.borrow().describe(&mut json);
                apply(&mut self.state, &mut event);
                let before = self.revision - 1;
                self.log.get_or_insert_with(|| Box::new(Log::new(before))).push(&mut json, E::WATCH_EVENTS_MAX);
            }
            None => apply(&mut self.state, &mut event),
        }
        let mut effects = Effects { expiry: self.state.expiry_after(event.borrow()), touched, ..Effects::default() };
        for loser in losers {
            match self.state.holds(&loser) {
                true => effects.touched.push(loser),
                false => effects.ended_bindings.extend(self.unbind(&loser)),
            }
        }
        // What was empty before has only begun: the first event of a value may just say how it is
        // made.
        if self.state.is_empty() && !was_empty {
            effects.expiry = Expiry::Never;
            effects.ended_bindings.extend(self.bindings().cloned());
            // The node that decided this deletes the key, and a later change starts a new value. A
            // copy may get both in one payload. The log stays for watchers until then.
            let log = self.log.take();
            *self = self.emptied(log.as_ref().map_or(0, |log| log.revision()), log);
        }
        effects
    }

    /// What its end is if Redis has deleted it at `at`, with its log if that `is_watched`.
    pub fn expired(&self, at: Millis, is_watched: bool) -> Option<Expired> {
        let event = self.state.expired(at).filter(|_| self.fault.is_none())?;
        let name = event.name()?;
        let mut log = self.log.clone().filter(|_| is_watched);
        if let Some(log) = &mut log {
            let mut json = EventJson::new(self.revision + 1, name);
            event.describe(&mut json);
            log.push(&mut json, E::WATCH_EVENTS_MAX);
        }
        Some(Expired { event: name, loser: self.state.losers(&event).into_iter().next(), log })
    }

    /// What COPY stores under the other name. It continues from the same revision, but has its own
    /// log and its own requests.
    pub fn copied(&self) -> Self {
        let log = self.log.as_ref().map(|_| Box::new(Log::of_copy(self.revision)));
        Self { state: self.state.copied(), revision: self.revision, log, ..Self::default() }
    }

    /// What a file or a primary held in place of a value.
    pub fn broken(reason: impl Into<String>, original: Original) -> Self {
        Self { fault: Some(Box::new(Fault::found(reason, original))), ..Self::default() }
    }

    /// Why the value cannot be used; `None` if it is intact.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_deref()
    }

    /// Whether no change can be made to it.
    pub fn is_broken(&self) -> bool {
        self.fault().is_some_and(Fault::is_broken)
    }

    /// Puts it into quarantine, or takes it out. Only a host calls this, since the
    /// host counts them.
    pub fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault.map(Box::new);
    }

    /// How many members were counted before, and how many there are now. Only a host calls this,
    /// since the host counts them.
    pub fn recount(&mut self) -> (usize, usize) {
        let now = self.state.members();
        (std::mem::replace(&mut self.counted, now), now)
    }

    /// How many members were counted last.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// The saved form, if no value could be made of it.
    pub fn original(&self) -> Option<&Original> {
        self.fault()?.original.as_ref()
    }

    /// Counts changes that were meant for it and are dropped. Returns whether they are the first.
    pub fn drop_changes(&mut self, count: usize) -> bool {
        let Some(fault) = &mut self.fault else { return false };
        let are_first = fault.dropped == 0;
        fault.dropped += count as u64;
        are_first
    }

    /// The bindings of the agents that hold something here.
    pub fn bindings(&self) -> impl Iterator<Item = &AgentBinding> {
        self.bindings.iter().flat_map(|bindings| bindings.iter())
    }

    /// The number of agents bound here.
    pub fn bound(&self) -> usize {
        self.bindings.as_ref().map_or(0, |bindings| bindings.len())
    }

    /// The binding that says to which incarnation an agent's holdings here belong.
    pub fn binding_of(&self, agent: &[u8]) -> Option<&AgentBinding> {
        self.bindings.as_ref()?.of(agent)
    }

    /// How much an agent holds here of what is counted.
    pub fn amount_of(&self, agent: &[u8]) -> Option<(Quota, u64)> {
        E::QUOTA.map(|quota| (quota, self.state.amount(agent)))
    }

    /// The same value with the bindings that were saved with it.
    pub fn with_bindings(self, bindings: Vec<AgentBinding>) -> Self {
        let bindings = Some(bindings).filter(|bindings| !bindings.is_empty());
        Self { bindings: bindings.map(|bindings| Box::new(bindings.into_iter().collect())), ..self }
    }

    /// The largest fence in it.
    pub fn last_fence(&self) -> Fence {
        self.bindings().map(|binding| binding.epoch).chain([self.state.last_fence()]).max().unwrap_or(0)
    }

    /// The largest number that it counts up by itself. This excludes revisions of a key with a log,
    /// which go by the clock.
    pub fn last_number(&self) -> u64 {
        self.state.last_number().max(if E::WATCH_EVENTS_MAX > 0 { 0 } else { self.revision })
    }

    /// The last visible events, if the entity keeps a log.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_deref()
    }

    /// Errs if `change`, from an unchecked payload, is out of bounds.
    pub fn admit(change: &Change<E::Event>) -> Result<(), Error> {
        match change {
            Change::Event(event) => E::admit(event),
            Change::Answered(answered) => answered.admit(),
            Change::Forgotten { owner, id } if owner.len().max(id.len()) <= ID_BYTES_MAX => Ok(()),
            Change::Forgotten { .. } => Err(Error::usage("payload holds a request id that is too long")),
            Change::Bound(binding) => binding.admit(),
            Change::Unbound { agent } if agent.len() <= ID_BYTES_MAX => Ok(()),
            Change::Gone => Ok(()),
            Change::Unbound { .. } => Err(Error::usage("payload holds the name of an agent that is too long")),
            Change::Born { revision } if *revision < FENCE_END => Ok(()),
            Change::Born { revision } => Err(Error::usage(format!("payload holds the first revision {revision}"))),
        }
    }

    /// What is remembered of requests with `REQID`.
    pub fn requests(&self) -> Option<&Requests> {
        self.requests.as_deref()
    }

    /// Whether the key can be deleted. Remembered requests alone do not keep a key. A broken
    /// value is never empty.
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && !self.is_broken()
    }

    /// How many allocations freeing it takes.
    pub fn free_effort(&self) -> usize {
        let requests = self.requests.as_ref().map_or(0, |requests| requests.len());
        self.original().map_or_else(|| self.state.free_effort() + requests, |original| original.blobs.len().max(1))
    }

    /// Bytes held by the value, without the key.
    pub fn memory_bytes(&self) -> usize {
        let requests = self.requests.as_ref().map_or(0, |r| allocated(size_of::<Requests>()) + r.heap_bytes());
        let log = self.log.as_ref().map_or(0, |log| allocated(size_of::<Log>()) + log.heap_bytes());
        let bindings =
            self.bindings.as_ref().map_or(0, |bindings| allocated(size_of::<AgentBindings>()) + bindings.heap_bytes());
        let fault = self.fault().map_or(0, |fault| allocated(size_of::<Fault>()) + fault.heap_bytes());
        allocated(size_of::<Self>()) - size_of::<E>() + self.state.memory_bytes() + requests + log + bindings + fault
    }

    /// Whether all invariants hold.
    pub fn check(&self) -> Result<(), Invariant> {
        self.check_beside()?;
        self.check_requests()?;
        self.state.check()?;
        if cfg!(debug_assertions) {
            self.check_in_parts(100)?;
        }
        Ok(())
    }

    /// Whether it may come from a file or from another node: all invariants hold, and its numbers
    /// are far from their limits.
    pub fn check_loaded(&self) -> Result<(), Invariant> {
        self.check()?;
        self.log.as_ref().map_or(Ok(()), |log| log.check_texts())?;
        rule(self.revision < 2 * FENCE_END, "the revision is too high to count on from")?;
        rule(self.last_number() <= LOADED_NUMBER_MAX, "its numbers are too high to count on from")
    }

    /// Whether the invariants hold in all parts of the state. Each part takes `room` elements.
    pub fn check_in_parts(&self, room: usize) -> Result<(), Invariant> {
        let mut from = Some(0);
        while let Some(place) = from {
            from = self.check_part(place, room)?.and_then(|part| part.next);
        }
        Ok(())
    }

    /// Whether the invariants hold in a part of the state (see [`Entity::check_part`]) and in what
    /// is kept beside the state.
    pub fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        self.check_beside()?;
        if from == 0 {
            self.check_requests()?;
        }
        self.state.check_part(from, room)
    }

    fn check_requests(&self) -> Result<(), Invariant> {
        self.requests.as_ref().map_or(Ok(()), |requests| requests.check())
    }

    fn check_beside(&self) -> Result<(), Invariant> {
        rule(i64::try_from(self.revision).is_ok(), "the revision is out of bounds")?;
        self.bindings.as_ref().map_or(Ok(()), |bindings| bindings.check())?;
        let Some(log) = &self.log else { return Ok(()) };
        log.check(E::WATCH_EVENTS_MAX)?;
        rule(log.revision() == self.revision, "the revision differs from that of the watch log")
    }

    /// Gives up what is broken and not essential, and returns what that was. `None` if there
    /// is no such thing.
    pub fn salvage(&mut self) -> Option<String> {
        let log = self.log.as_mut().and_then(|log| log.salvage());
        let given_up: Vec<String> = self.state.salvage().into_iter().chain(log).collect();
        (!given_up.is_empty()).then(|| given_up.join("; "))
    }

    /// Rebuilds everything derived.
    pub fn rebuild(&mut self) {
        self.log.iter_mut().for_each(|log| log.rebuild());
        self.requests.iter_mut().for_each(|requests| requests.rebuild());
        self.bindings.iter_mut().for_each(|bindings| bindings.rebuild());
        self.state.rebuild();
    }
}

/// The saved form of a value. Only entities that keep a log have one.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Stored")]
struct Plain<S, R> {
    state: S,
    revision: u64,
    requests: R,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Stored")]
struct Watched<S, R, L> {
    state: S,
    revision: u64,
    requests: R,
    log: L,
}

impl<E: Entity> Serialize for Record<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Bindings stand before the value, see `snapshot`: most values have none.
        let Record { state, revision, requests, log, .. } = self;
        if E::WATCH_EVENTS_MAX > 0 {
            Watched { state, revision: *revision, requests, log }.serialize(serializer)
        } else {
            Plain { state, revision: *revision, requests }.serialize(serializer)
        }
    }
}

impl<'de, E: Entity> Deserialize<'de> for Record<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if E::WATCH_EVENTS_MAX > 0 {
            let Watched { state, revision, requests, log } = Watched::deserialize(deserializer)?;
            Ok(Self { state, revision, requests, log, ..Self::default() })
        } else {
            let Plain { state, revision, requests } = Plain::deserialize(deserializer)?;
            Ok(Self { state, revision, requests, ..Self::default() })
        }
    }
}
