//! Tool cache: what has been computed before, shared by all, and computed once.
//!
//! A [`Cache`] holds an [entry](entry::Entry) for each call (a tool with its arguments): its answer, and the flight of whoever computes one. An
//! entry without both is gone.
//!
//! ```text
//!               Ticketed                    Put
//!   (nothing) -----------> in flight ---------------> answered: fresh, then stale, then gone (Removed)
//!       ^                   |     ^                     |   ^
//!       +-------------------+     |   Ticketed          |   | Put
//!         TicketEnded:            +---------------------+   |
//!         failed, lease over,      (stale: the old answer stays while a new one is in flight)
//!         void
//! ```
//!
//! What is called off is called off at once, however much it is: [`Dying`] says what, and the answers are removed in batches. Who may do what is
//! decided in [`decide`], those who wait for an answer stand in [`queue`]. What is known of the use of answers is this node's own and is not saved.

pub mod decide;
mod dying;
pub mod entry;
pub mod event;
pub mod labels;
pub mod queue;
mod saved;
pub mod stats;

pub use entry::{Call, CallRef, Entry};
pub use event::{CacheEvent, Filled, Removal, Target, TicketEnd};

use super::eviction::{Evictor, Policy, Rank, Weight};
use super::memory::{allocated, table_bytes};
use super::{Connection, Entity, Error, Event, Fence, Invariant, Millis, Service};
use ahash::AHashMap;
use dying::{Dying, Voids};
use entry::{Answer, AnswerId, Flight, Slot, NEVER};
use labels::{Kind, Label, Labels};
use serde::{Deserialize, Serialize};
use stats::{Counters, Given, Top};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The bounds and habits of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Most bytes of all entries.
    pub bytes_max: u64,
    /// Most answers.
    pub entries_max: u64,
    /// Time to live of an answer that comes without, ms; none if it stays.
    pub ttl_ms: Option<Millis>,
    /// Who goes when there is no room.
    pub policy: Policy,
}

/// What a call finds.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// An answer that can be given, with its place.
    Answer(Slot, Given, &'a Answer),
    /// Nothing.
    Nothing,
}

/// Results of tools.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    config: Config,
    stays: bool,
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<Slot>,
    /// The first entry with each hash.
    by_hash: AHashMap<u64, Slot>,
    hasher: ahash::RandomState,
    answers: BTreeMap<AnswerId, Slot>,
    tickets: BTreeMap<Fence, Slot>,
    ends: BTreeSet<(Millis, Slot)>,
    /// Entries with an answer, in no order: to draw from.
    placed: Vec<Slot>,
    labels: Labels,
    dying: VecDeque<Dying>,
    voids: Voids,
    last_answer: AnswerId,
    last_fence: Fence,
    entry_bytes: usize,
    /// Answers that are for one agent alone.
    private: usize,
    evictor: Evictor,
    top: Top,
    counters: Counters,
}

impl Cache {
    /// Its bounds and habits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether it was ever told its bounds.
    pub fn is_configured(&self) -> bool {
        self.config.bytes_max > 0
    }

    /// How many answers there are.
    pub fn count(&self) -> usize {
        self.answers.len()
    }

    /// How many tickets are out.
    pub fn tickets(&self) -> usize {
        self.tickets.len()
    }

    /// Bytes that its entries take, which `bytes_max` bounds.
    pub fn bytes(&self) -> usize {
        self.entry_bytes
    }

    /// What happened with its answers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The entry at a place.
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_deref()
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

    /// The answer of a call at `now`: that of `agent` alone before that of all. Nothing older than `age_ms_max`.
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

    /// How an answer can be given at `now`; `None` if it cannot.
    pub fn state_of(&self, answer: &Answer, now: Millis) -> Option<Given> {
        let called_off = self.dying.iter().filter(|dying| dying.covers(answer.id));
        let (is_dead, is_soft) = called_off
            .fold((false, answer.is_soft), |(dead, soft), dying| (dead | !dying.is_soft, soft | dying.is_soft));
        if is_dead || now >= answer.gone_at {
            None
        } else if is_soft || now >= answer.fresh_until {
            Some(Given::Stale)
        } else if answer.is_negative {
            Some(Given::Negative)
        } else {
            Some(Given::Fresh)
        }
    }

    /// Who computes the answer of a call.
    pub fn flight(&self, call: CallRef) -> Option<&Flight> {
        self.entry(self.find(call)?)?.flight.as_deref()
    }

    /// The call and the flight that a ticket was given for, if it is not void.
    pub fn of_ticket(&self, ticket: Fence) -> Option<(&Entry, &Flight)> {
        let entry = self.entry(*self.tickets.get(&ticket)?)?;
        let flight = entry.flight.as_deref().filter(|flight| flight.ticket == ticket)?;
        let is_void = |answer: &Answer| self.dying.iter().any(|dying| dying.covers(answer.id) && ticket < dying.fence);
        (!entry.answer.as_ref().is_some_and(is_void)).then_some((entry, flight))
    }

    /// The tickets that were given over a connection, with their calls.
    pub fn tickets_of(&self, connection: Connection) -> Vec<(Fence, Call)> {
        let entries = self.tickets.iter().filter_map(|(ticket, slot)| Some((*ticket, self.entry(*slot)?)));
        let own = entries
            .filter(|(_, entry)| entry.flight.as_ref().is_some_and(|flight| flight.connection == Some(connection)));
        own.map(|(ticket, entry)| (ticket, Call::from(entry.call()))).collect()
    }

    /// When the next answer is gone or the next ticket ends, unix ms.
    pub fn next_end(&self) -> Option<Millis> {
        self.ends.first().map(|(when, _)| *when)
    }

    /// Whether something is called off and not removed yet.
    pub fn has_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// How many answers it concerns to call this off.
    pub fn affected_by(&self, what: &Target) -> usize {
        let Target::Labels(labels) = what else { return self.count() };
        let answers = |label: &Label| self.labels.answers(self.labels.find(label)?);
        match labels.as_slice() {
            [label] => answers(label).map_or(0, BTreeSet::len),
            labels => labels.iter().filter_map(answers).flatten().collect::<BTreeSet<_>>().len(),
        }
    }

    /// Whether what a ticket was computed from was called off meanwhile.
    pub fn is_void(&self, ticket: Fence, labels: &[Label]) -> bool {
        self.voids.hit(ticket, labels)
    }

    /// The answers in the order in which they came, from `id` on.
    pub fn answers_from(&self, id: AnswerId) -> impl Iterator<Item = &Entry> {
        self.answers.range(id..).filter_map(|(_, slot)| self.entry(*slot))
    }

    /// The entries used most, at most [`TOP_MAX`](stats::TOP_MAX) of them.
    pub fn top(&self) -> Vec<&Entry> {
        let known = self.top.slots().iter().filter_map(|slot| self.entry(*slot));
        let mut top: Vec<&Entry> = known.filter(|entry| entry.is_top && entry.answer.is_some()).collect();
        top.sort_unstable_by(|one, other| (other.uses, &one.call).cmp(&(one.uses, &other.call)));
        top.dedup_by(|one, other| one.call == other.call);
        top.truncate(stats::TOP_MAX);
        top
    }

    /// What matters of an answer besides its use.
    fn weight(entry: &Entry, answer: &Answer) -> Weight {
        let ends_at = Some(answer.gone_at).filter(|end| *end != NEVER);
        Weight { bytes: entry.bytes(), cost_ms: answer.cost_ms, ends_at, came: answer.id }
    }

    /// The place of the entry at `slot` among those that may have to make room; `None` without an answer.
    pub fn rank(&self, slot: Slot) -> Option<Rank> {
        let entry = self.entry(slot)?;
        let answer = entry.answer.as_ref()?;
        Some(self.evictor.rank(self.config.policy, entry.hash, entry.usage, &Self::weight(entry, answer)))
    }

    /// Whether there is more than there may be.
    pub fn is_over(&self) -> bool {
        let has_answers = !self.answers.is_empty();
        has_answers
            && (self.entry_bytes as u64 > self.config.bytes_max || self.count() as u64 > self.config.entries_max)
    }

    fn slot_for(&mut self, call: &Call) -> Slot {
        if let Some(slot) = self.find(call.as_ref()) {
            return slot;
        }
        let hash = self.hash(call.as_ref());
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as Slot
        });
        let next = self.by_hash.insert(hash, slot);
        let tool = self.labels.join(Label::new(Kind::Tool, call.as_ref().tool()));
        let entry = Entry {
            call: call.as_ref().0.into(),
            hash,
            next,
            tool,
            answer: None,
            flight: None,
            place: 0,
            due: NEVER,
            usage: Default::default(),
            uses: 0,
            others: 0,
            is_top: false,
        };
        self.entry_bytes += entry.bytes();
        self.slots[slot as usize] = Some(Box::new(entry));
        slot
    }

    /// Changes an entry, with all that is counted and ordered by what it holds.
    fn change<T>(&mut self, slot: Slot, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?.as_deref_mut()?;
        self.entry_bytes -= entry.bytes();
        let result = work(entry);
        self.entry_bytes += entry.bytes();
        let (before, due) = (entry.due, entry.due_at());
        if before != due {
            entry.due = due;
            self.ends.remove(&(before, slot));
            if due != NEVER {
                self.ends.insert((due, slot));
            }
        }
        Some(result)
    }

    /// Lets go of an entry that holds nothing.
    fn drop_if_bare(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.answer.is_some() || entry.flight.is_some() {
            return;
        }
        let (hash, next, tool, bytes) = (entry.hash, entry.next, entry.tool, entry.bytes());
        self.entry_bytes -= bytes;
        self.unlink(hash, slot, next);
        self.labels.leave(tool);
        self.slots[slot as usize] = None;
        self.free.push(slot);
        if self.free.len() == self.slots.len() {
            // Nothing is left, so nothing is kept: no table, no slab, no sketch.
            (self.slots, self.free, self.placed) = (Vec::new(), Vec::new(), Vec::new());
            (self.by_hash, self.evictor, self.top) = (AHashMap::new(), Evictor::default(), Top::default());
        }
    }

    fn unlink(&mut self, hash: u64, slot: Slot, next: Option<Slot>) {
        let Some(first) = self.by_hash.get(&hash).copied() else { return };
        if first == slot {
            match next {
                Some(next) => drop(self.by_hash.insert(hash, next)),
                None => drop(self.by_hash.remove(&hash)),
            }
            return;
        }
        let mut at = first;
        while let Some(entry) = self.slots.get_mut(at as usize).and_then(Option::as_deref_mut) {
            if entry.next == Some(slot) {
                entry.next = next;
                return;
            }
            let Some(further) = entry.next else { return };
            at = further;
        }
    }

    fn count_both(&mut self, tool: labels::LabelId, count: impl Fn(&mut Counters)) {
        count(&mut self.counters);
        if let Some(counters) = self.labels.counters_mut(tool) {
            count(counters);
        }
    }

    fn ticketed(&mut self, call: &Call, flight: &Flight) {
        let slot = self.slot_for(call);
        self.end_flight(slot);
        self.change(slot, |entry| entry.flight = Some(Box::new(flight.clone())));
        self.tickets.insert(flight.ticket, slot);
        self.missed(slot, |counters| counters.tickets += 1);
    }

    fn missed(&mut self, slot: Slot, count: impl Fn(&mut Counters)) {
        let Some((hash, tool)) = self.entry(slot).map(|entry| (entry.hash, entry.tool)) else { return };
        self.evictor.grow(self.answers.len().max(1));
        self.evictor.seen(hash);
        self.count_both(tool, |counters| {
            counters.misses += 1;
            count(counters);
        });
    }

    fn end_flight(&mut self, slot: Slot) {
        if let Some(Some(flight)) = self.change(slot, |entry| entry.flight.take()) {
            self.tickets.remove(&flight.ticket);
            if self.tickets.is_empty() {
                self.voids = Voids::default();
            }
        }
    }

    fn end_ticket(&mut self, ticket: Fence) {
        if let Some(slot) = self.tickets.get(&ticket).copied() {
            self.end_flight(slot);
            self.drop_if_bare(slot);
        }
    }

    fn put(&mut self, filled: &Filled) {
        let slot = self.slot_for(&filled.call);
        self.clear_answer(slot);
        self.last_answer += 1;
        self.attach(slot, self.last_answer, filled, false);
        let mut usage = Default::default();
        self.evictor.used(&mut usage);
        self.change(slot, |entry| entry.usage = usage);
        // After the answer is there, so that the entry is never bare in between.
        filled.ticket.into_iter().for_each(|ticket| self.end_ticket(ticket));
        if let Some(tool) = self.entry(slot).map(|entry| entry.tool) {
            self.count_both(tool, |counters| counters.puts += 1);
        }
    }

    /// Gives an entry without answer this one.
    fn attach(&mut self, slot: Slot, id: AnswerId, filled: &Filled, is_soft: bool) {
        let labels: Box<[_]> = filled.labels.iter().map(|label| self.labels.join(label.clone())).collect();
        let agent = (!filled.agent.is_empty()).then(|| self.labels.join(Label::new(Kind::Agent, &filled.agent)));
        let Some(tool) = self.entry(slot).map(|entry| entry.tool) else { return };
        for label in labels.iter().copied().chain(agent).chain([tool]) {
            self.labels.add_answer(label, id);
        }
        let Filled { at, fresh_until, gone_at, cost_ms, is_negative, .. } = *filled;
        let value = filled.value.clone();
        let answer = Answer { value, at, fresh_until, gone_at, cost_ms, id, is_negative, is_soft, agent, labels };
        let place = self.placed.len() as u32;
        self.placed.push(slot);
        self.answers.insert(id, slot);
        self.private += usize::from(!filled.call.as_ref().scope().is_empty());
        self.evictor.grow(self.answers.len());
        self.change(slot, |entry| (entry.answer, entry.place) = (Some(answer), place));
    }

    /// Takes the answer out of an entry.
    fn clear_answer(&mut self, slot: Slot) -> Option<Answer> {
        let (answer, place, tool) = self
            .change(slot, |entry| (entry.answer.take(), entry.place as usize, entry.tool))
            .and_then(|(answer, place, tool)| Some((answer?, place, tool)))?;
        for label in answer.labels.iter().copied().chain(answer.agent) {
            self.labels.remove_answer(label, answer.id);
            self.labels.leave(label);
        }
        self.labels.remove_answer(tool, answer.id);
        self.answers.remove(&answer.id);
        self.placed.swap_remove(place);
        if let Some(moved) = self.placed.get(place).copied() {
            if let Some(entry) = self.slots.get_mut(moved as usize).and_then(Option::as_deref_mut) {
                entry.place = place as u32;
            }
        }
        let is_private = self.entry(slot).is_some_and(|entry| !entry.call().scope().is_empty());
        self.private -= usize::from(is_private);
        Some(answer)
    }

    fn invalidate(&mut self, what: &Target, is_soft: bool, fence: Fence) {
        self.last_fence = self.last_fence.max(fence);
        let void: Vec<Slot> = self.tickets.values().copied().filter(|slot| self.is_aimed_at(what, *slot)).collect();
        for slot in void {
            self.end_flight(slot);
            self.drop_if_bare(slot);
        }
        let dying = match what {
            Target::All => Dying::up_to(self.last_answer, is_soft, fence),
            Target::Labels(labels) => {
                if !self.tickets.is_empty() && self.voids.note(labels, fence).is_err() {
                    self.void_all_tickets();
                }
                let mut answers = BTreeSet::new();
                for label in labels {
                    let Some(id) = self.labels.find(label) else { continue };
                    // What is only stale can be called off once more.
                    let mut more = match is_soft {
                        true => self.labels.answers(id).cloned().unwrap_or_default(),
                        false => self.labels.take_answers(id),
                    };
                    answers.append(&mut more);
                }
                Dying::these(answers, is_soft, fence)
            }
        };
        self.dying.push_back(dying);
    }

    /// Whether a ticket for this call is void by what is called off, whatever its answer will depend on.
    fn is_aimed_at(&self, what: &Target, slot: Slot) -> bool {
        let Target::Labels(labels) = what else { return true };
        let Some(entry) = self.entry(slot) else { return false };
        let agent = entry.flight.as_ref().map(|flight| &flight.agent[..]);
        labels.iter().any(|label| match label.kind {
            Kind::Tool => *label.text == *entry.call().tool(),
            Kind::Agent => Some(&label.text[..]) == agent,
            Kind::Dep | Kind::Tag => false,
        })
    }

    fn void_all_tickets(&mut self) {
        for slot in std::mem::take(&mut self.tickets).into_values() {
            self.end_flight(slot);
            self.drop_if_bare(slot);
        }
    }

    /// Removes so many more of what is being called off, or makes it stale.
    fn bury(&mut self, batch: u32) {
        let mut left = batch;
        while let Some(dying) = self.dying.front_mut() {
            if left == 0 {
                return;
            }
            let Some(id) = dying.next(&self.answers) else {
                self.dying.pop_front();
                continue;
            };
            let (is_soft, fence) = (dying.is_soft, dying.fence);
            left -= 1;
            if let Some(slot) = self.answers.get(&id).copied() {
                self.bury_one(slot, is_soft, fence);
            }
        }
    }

    fn bury_one(&mut self, slot: Slot, is_soft: bool, fence: Fence) {
        let is_void = |entry: &Entry| entry.flight.as_ref().is_some_and(|flight| flight.ticket < fence);
        if self.entry(slot).is_some_and(is_void) {
            self.end_flight(slot);
        }
        let Some(tool) = self.entry(slot).map(|entry| entry.tool) else { return };
        if is_soft {
            self.change(slot, |entry| entry.answer.iter_mut().for_each(|answer| answer.is_soft = true));
        } else {
            self.clear_answer(slot);
            self.drop_if_bare(slot);
        }
        self.count_both(tool, |counters| counters.invalidated += 1);
    }

    fn remove(&mut self, ids: &[AnswerId], why: Removal) {
        for id in ids {
            let Some(slot) = self.answers.get(id).copied() else { continue };
            if let Some(rank) = self.rank(slot).filter(|_| why == Removal::Evicted) {
                self.evictor.evicted(self.config.policy, rank);
            }
            let Some(tool) = self.entry(slot).map(|entry| entry.tool) else { continue };
            self.count_both(tool, |counters| match why {
                Removal::Expired => counters.expired += 1,
                Removal::Evicted => counters.evicted += 1,
            });
            self.clear_answer(slot);
            self.drop_if_bare(slot);
        }
    }

    fn used(&mut self, slot: Slot, given: Given, by_other: bool) {
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::as_deref_mut) else { return };
        let Some(answer) = &entry.answer else { return };
        self.evictor.seen(entry.hash);
        self.evictor.used(&mut entry.usage);
        entry.uses = entry.uses.saturating_add(1);
        entry.others = entry.others.saturating_add(by_other.into());
        let (tool, bytes, cost_ms) = (entry.tool, answer.value.len() as u64, answer.cost_ms);
        let becomes_top = !entry.is_top && self.top.admits(entry.uses);
        if becomes_top {
            entry.is_top = true;
            self.add_top(slot);
        }
        self.count_both(tool, |counters| {
            match given {
                Given::Fresh => counters.hits += 1,
                Given::Stale => counters.stale += 1,
                Given::Negative => counters.negative += 1,
            }
            counters.shared += u64::from(by_other);
            counters.saved_bytes += bytes;
            counters.saved_ms += cost_ms;
        });
    }

    fn add_top(&mut self, slot: Slot) {
        let slots = &self.slots;
        let uses =
            |slot: Slot| slots.get(slot as usize)?.as_deref().filter(|entry| entry.is_top).map(|entry| entry.uses);
        for out in self.top.add(slot, uses) {
            if let Some(entry) = self.slots.get_mut(out as usize).and_then(Option::as_deref_mut) {
                entry.is_top = false;
            }
        }
    }
}

impl Entity for Cache {
    type Event = CacheEvent;

    const SERVICE: Service = Service::Cache;
    const TYPE_NAME: &'static str = "ltmccache";
    const TYPE_TAG: u8 = 5;

    fn apply(&mut self, event: &CacheEvent) {
        match event {
            CacheEvent::Configured { config, stays } => (self.config, self.stays) = (*config, self.stays | stays),
            CacheEvent::Ticketed { call, flight } => self.ticketed(call, flight),
            CacheEvent::Orphaned { ticket } => {
                if let Some(slot) = self.tickets.get(ticket).copied() {
                    self.change(slot, |entry| {
                        entry
                            .flight
                            .iter_mut()
                            .for_each(|flight| (flight.connection, flight.is_orphaned) = (None, true));
                    });
                }
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
            CacheEvent::Missed { call } => {
                if let Some(slot) = self.find(call.as_ref()) {
                    self.missed(slot, |_| {});
                }
            }
        }
        if let Some(fence) = event.fence() {
            self.last_fence = self.last_fence.max(fence);
        }
    }

    fn admit(event: &CacheEvent) -> Result<(), Error> {
        saved::admit(event)
    }

    fn expires_at(&self) -> Option<Millis> {
        None
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        if !self.dying.is_empty() || self.is_over() {
            return Some(1);
        }
        self.next_end()
    }

    fn is_empty(&self) -> bool {
        !self.stays && self.answers.is_empty() && self.tickets.is_empty()
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
            CacheEvent::Orphaned { ticket } | CacheEvent::TicketEnded { ticket, .. } => *ticket,
            CacheEvent::Put(filled) => filled.ticket?,
            _ => return None,
        };
        self.entry(*self.tickets.get(&ticket)?)?.flight.as_ref()?.connection
    }

    fn memory_bytes(&self) -> usize {
        let spare_slots = self.free.len() * size_of::<Option<Box<Entry>>>();
        size_of::<Self>()
            + self.entry_bytes
            + spare_slots
            + allocated(self.free.capacity() * size_of::<Slot>())
            + self.labels.heap_bytes()
            + self.dying.iter().map(Dying::heap_bytes).sum::<usize>()
            + self.voids.heap_bytes()
            + self.evictor.heap_bytes()
            + self.top.heap_bytes()
            + if self.slots.is_empty() { 0 } else { table_bytes(1, size_of::<(u64, Slot)>()) }
    }

    fn free_effort(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn check(&self) -> Result<(), Invariant> {
        saved::check(self)
    }

    fn check_after(&self, _event: &CacheEvent) -> Result<(), Invariant> {
        const SMALL: usize = 64;
        if self.slots.len() > SMALL {
            return Ok(());
        }
        self.check()
    }

    fn rebuild(&mut self) {
        saved::rebuild(self);
    }
}
