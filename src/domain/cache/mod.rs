//! Tool cache: what has been computed before, shared by all, and computed once.
//!
//! A [`Cache`] holds an [entry](entry::Entry) for each call (a tool with its arguments): its
//! answer, and the flight of an agent that computes one. An entry without both is removed.
//!
//! ```text
//!               Ticketed                    Put
//!   (nothing) -----------> in flight ---------------> answered: fresh, stale, gone (Removed)
//!       ^                   |     ^                     |   ^
//!       +-------------------+     |   Ticketed          |   | Put
//!         TicketEnded:            +---------------------+   |
//!         failed, expired,         (stale: the old answer stays while a new one is in flight)
//!         void
//! ```
//!
//! An invalidation takes effect at once, however many answers it concerns: [`Dying`] says which,
//! and the answers are removed in batches. Decisions are in [`decide`], waiting clients in
//! [`queue`]. The use of answers is local to each node and not saved.

mod apply;
mod codec;
mod concern;
pub mod decide;
mod dying;
pub mod entry;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
pub mod ids;
pub mod labels;
pub mod queue;
pub mod stats;

pub use entry::{Call, CallRef, Entry};
pub use event::{CacheEvent, Filled, Removal, Target, TicketEnd};

use super::{Connection, Entity, Error, Event, Fence, Invariant, Millis, Service};
use crate::domain::algorithm::allocator::table_bytes;
use crate::domain::algorithm::eviction::{Evictor, Policy, Rank, Weight};
use crate::domain::algorithm::slab::Slab;
use crate::domain::entity::partial_check::Part;
use ahash::AHashMap;
use dying::{Dying, Voids};
use entry::{Answer, Flight, NEVER};
use ids::{AnswerId, Slot};
use labels::{Label, Labels};
use serde::{Deserialize, Serialize};
use stats::{Counters, HitKind, Top};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The bounds and the policy of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The upper bound of the bytes of all entries.
    pub bytes_max: u64,
    /// The upper bound of the number of answers.
    pub entries_max: u64,
    /// The time to live of an answer that is put without one, ms; `None` if it stays.
    pub ttl_ms: Option<Millis>,
    /// Which answer goes when there is no room.
    pub policy: Policy,
}

/// What a call finds.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// An answer that can be served, with its place.
    Answer(Slot, HitKind, &'a Answer),
    /// Nothing.
    Nothing,
}

/// Results of tools.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    config: Config,
    stays: bool,
    slots: Slab<Entry>,
    /// The first entry with each hash.
    by_hash: AHashMap<u64, Slot>,
    hasher: ahash::RandomState,
    answers: BTreeMap<AnswerId, Slot>,
    tickets: BTreeMap<Fence, Slot>,
    ends: BTreeSet<(Millis, Slot)>,
    /// The entries with an answer, in no order, for sampling.
    placed: Vec<Slot>,
    labels: Labels,
    dying: VecDeque<Dying>,
    voids: Voids,
    last_answer: AnswerId,
    last_fence: Fence,
    entry_bytes: usize,
    /// The number of answers that are private to an agent.
    private: usize,
    evictor: Evictor,
    top: Top,
    counters: Counters,
}

impl Cache {
    /// Its bounds and policy.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of answers.
    pub fn count(&self) -> usize {
        self.answers.len()
    }

    /// The number of tickets that are out.
    pub fn tickets(&self) -> usize {
        self.tickets.len()
    }

    /// Bytes of its entries and their labels, which `bytes_max` bounds.
    pub fn bytes(&self) -> usize {
        self.entry_bytes + self.labels.used_bytes()
    }

    /// The counters of the whole cache.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The entry at a place.
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot)
    }

    fn hash(&self, call: CallRef) -> u64 {
        self.hasher.hash_one(call.0)
    }

    /// The place of a call.
    pub fn find(&self, call: CallRef) -> Option<Slot> {
        let mut next = self.by_hash.get(&self.hash(call)).copied();
        while let Some(slot) = next {
            let entry = self.entry(slot)?;
            if *entry.call == *call.0 {
                return Some(slot);
            }
            next = entry.next;
        }
        None
    }

    /// The answer to a call at `now`: the one private to `agent` before the one for all. Nothing
    /// older than `age_ms_max`.
    pub fn look(&self, call: &Call, agent: &[u8], now: Millis, age_ms_max: Millis) -> Found<'_> {
        if self.private > 0 && !agent.is_empty() {
            let own = self.look_at(call.with_scope(agent).as_ref(), now, age_ms_max);
            if matches!(own, Found::Answer(..)) {
                return own;
            }
        }
        self.look_at(call.as_ref(), now, age_ms_max)
    }

    fn look_at(&self, call: CallRef, now: Millis, age_ms_max: Millis) -> Found<'_> {
        let slot = self.find(call);
        let answer = slot.and_then(|slot| Some((slot, self.entry(slot)?.answer.as_ref()?)));
        match answer {
            Some((slot, answer)) if now.saturating_sub(answer.at) <= age_ms_max => {
                self.state_of(answer, now).map_or(Found::Nothing, |given| Found::Answer(slot, given, answer))
            }
            _ => Found::Nothing,
        }
    }

    /// How an answer can be served at `now`; `None` if it cannot.
    pub fn state_of(&self, answer: &Answer, now: Millis) -> Option<HitKind> {
        let called_off = self.dying.iter().filter(|dying| dying.covers(answer.id));
        let (is_dead, is_soft) = called_off
            .fold((false, answer.is_soft), |(dead, soft), dying| (dead | !dying.is_soft, soft | dying.is_soft));
        if is_dead || now >= answer.gone_at {
            None
        } else if is_soft || now >= answer.fresh_until {
            Some(HitKind::Stale)
        } else if answer.is_negative {
            Some(HitKind::Negative)
        } else {
            Some(HitKind::Fresh)
        }
    }

    /// Who computes the answer to a call.
    pub fn flight(&self, call: CallRef) -> Option<&Flight> {
        self.entry(self.find(call)?)?.flight.as_deref()
    }

    /// The call and the flight of a ticket that is not void.
    pub fn of_ticket(&self, ticket: Fence) -> Option<(&Entry, &Flight)> {
        let entry = self.entry(*self.tickets.get(&ticket)?)?;
        let flight = entry.flight.as_deref().filter(|flight| flight.ticket == ticket)?;
        let is_void = |answer: &Answer| self.dying.iter().any(|dying| dying.covers(answer.id) && ticket < dying.fence);
        (!entry.answer.as_ref().is_some_and(is_void)).then_some((entry, flight))
    }

    /// The tickets of a connection.
    pub fn tickets_of(&self, connection: Connection) -> Vec<Fence> {
        let flights = self.tickets.values().filter_map(|slot| self.entry(*slot)?.flight.as_ref());
        flights.filter(|flight| flight.connection == Some(connection)).map(|flight| flight.ticket).collect()
    }

    /// When the next answer is removed or the next ticket ends, unix ms.
    pub fn next_end(&self) -> Option<Millis> {
        self.ends.first().map(|(when, _)| *when)
    }

    /// Whether something is invalidated and not removed yet.
    pub fn has_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Whether what `agent` computed for a ticket was invalidated meanwhile, or what it
    /// computed that from.
    pub fn is_void(&self, ticket: Fence, labels: &[Label], agent: &[u8]) -> bool {
        self.voids.hit(ticket, labels, agent)
    }

    /// The answers in the order of their ids, from `id` on.
    pub fn answers_from(&self, id: AnswerId) -> impl Iterator<Item = &Entry> {
        self.answers.range(id..).filter_map(|(_, slot)| self.entry(*slot))
    }

    /// The most used entries, at most [`TOP_MAX`](stats::TOP_MAX) of them.
    pub fn top(&self) -> Vec<&Entry> {
        let known = self.top.slots().iter().filter_map(|slot| self.entry(*slot));
        let mut top: Vec<&Entry> = known.filter(|entry| entry.is_top && entry.answer.is_some()).collect();
        top.sort_unstable_by(|one, other| (other.uses, &one.call).cmp(&(one.uses, &other.call)));
        top.dedup_by(|one, other| one.call == other.call);
        top.truncate(stats::TOP_MAX);
        top
    }

    /// The properties of an answer that matter besides its use.
    fn weight(entry: &Entry, answer: &Answer) -> Weight {
        let ends_at = Some(answer.gone_at).filter(|end| *end != NEVER);
        Weight { bytes: entry.bytes(), cost_ms: answer.cost_ms, ends_at, came: answer.id }
    }

    /// The rank for eviction of the entry at `slot`; `None` without an answer.
    pub fn rank(&self, slot: Slot) -> Option<Rank> {
        let entry = self.entry(slot)?;
        let answer = entry.answer.as_ref()?;
        Some(self.evictor.rank(self.config.policy, entry.hash, entry.usage, &Self::weight(entry, answer)))
    }

    /// Whether a bound is exceeded.
    pub fn is_too_large(&self) -> bool {
        let has_answers = !self.answers.is_empty();
        has_answers && (self.bytes() as u64 > self.config.bytes_max || self.count() as u64 > self.config.entries_max)
    }
}

impl Entity for Cache {
    type Event = CacheEvent;

    const SERVICE: Service = Service::Cache;
    const TYPE_NAME: &'static str = "ltmccache";
    const TYPE_TAG: u8 = 5;
    const KEYS: &'static str = "caches";
    const MEMBERS: Option<&'static str> = Some("answers");
    const GIVES_WAY: bool = true;
    const COPIES: bool = true;

    fn apply(&mut self, event: &CacheEvent) {
        match event {
            CacheEvent::Configured { config, stays } => (self.config, self.stays) = (*config, self.stays | stays),
            CacheEvent::Ticketed { call, flight } => self.ticketed(call, flight),
            CacheEvent::Abandoned { ticket, until } => {
                self.change_flight(*ticket, |flight| (flight.connection, flight.waited_until) = (None, Some(*until)));
            }
            CacheEvent::Orphaned { ticket } => {
                self.change_flight(*ticket, |flight| (flight.waited_until, flight.is_orphaned) = (None, true));
            }
            CacheEvent::TicketEnded { ticket, .. } => self.end_ticket(*ticket),
            CacheEvent::Put(filled) => self.put(filled),
            CacheEvent::Invalidated { what, is_soft, fence, batch, .. } => {
                self.invalidate(what, *is_soft, *fence);
                self.bury(*batch);
            }
            CacheEvent::Buried { batch } => self.bury(*batch),
            CacheEvent::Removed { answers, why } => self.remove(answers, *why),
            CacheEvent::Used { slot, given, by_other } => self.used(*slot, *given, *by_other),
            CacheEvent::Missed { call } => match self.find(call.as_ref()) {
                Some(slot) => self.missed(slot, |_| {}),
                None => self.missed_unknown(call.as_ref()),
            },
        }
        if let Some(fence) = event.fence() {
            self.last_fence = self.last_fence.max(fence);
        }
    }

    fn admit(event: &CacheEvent) -> Result<(), Error> {
        codec::admit(event)
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        if !self.dying.is_empty() || self.is_too_large() {
            return Some(super::DUE_ALREADY);
        }
        self.next_end()
    }

    fn is_empty(&self) -> bool {
        !self.stays && self.answers.is_empty() && self.tickets.is_empty()
    }

    fn last_number(&self) -> u64 {
        self.last_answer
    }

    fn members(&self) -> usize {
        self.answers.len()
    }

    fn last_fence(&self) -> Fence {
        self.last_fence
    }

    fn connections(&self) -> Vec<Connection> {
        let flights = self.tickets.values().filter_map(|slot| self.entry(*slot)?.flight.as_ref());
        flights.filter_map(|flight| flight.connection).collect()
    }

    fn unties(&self, event: &CacheEvent) -> Option<Connection> {
        let ticket = match event {
            CacheEvent::Abandoned { ticket, .. } | CacheEvent::TicketEnded { ticket, .. } => *ticket,
            CacheEvent::Put(filled) => filled.ticket?,
            _ => return None,
        };
        self.entry(*self.tickets.get(&ticket)?)?.flight.as_ref()?.connection
    }

    fn memory_bytes(&self) -> usize {
        let spare_slots = (self.slots.places() - self.slots.count()) * size_of::<Option<Box<Entry>>>();
        size_of::<Self>()
            + self.entry_bytes
            + spare_slots
            + self.labels.heap_bytes()
            + self.dying.iter().map(Dying::heap_bytes).sum::<usize>()
            + self.voids.heap_bytes()
            + self.evictor.heap_bytes()
            + self.top.heap_bytes()
            + if self.slots.count() == 0 { 0 } else { table_bytes(1, size_of::<(u64, Slot)>()) }
    }

    fn free_effort(&self) -> usize {
        self.slots.count()
    }

    fn copied(&self) -> Self {
        // A client that computes an answer puts it into the original.
        let mut copy = self.clone();
        self.tickets.keys().for_each(|ticket| copy.end_ticket(*ticket));
        // A cache with tickets only becomes an empty copy, which stays since a client asked for it.
        copy.stays |= copy.is_empty();
        copy
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, _event: &CacheEvent) -> Result<(), Invariant> {
        const SMALL: usize = 64;
        if self.slots.count() > SMALL {
            return codec::check_bounds(self);
        }
        self.check()
    }

    fn check_effort(&self) -> usize {
        // Labels shared with other entries are looked up quickly.
        self.free_effort() / 2 + self.labels.uses() / 8
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        codec::check_part(self, from, room).map(Some)
    }

    fn rebuild(&mut self) {
        codec::rebuild(self);
    }
}
