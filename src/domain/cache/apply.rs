//! How a cache changes: the parts of [`Cache::apply`](crate::domain::Entity::apply). Each keeps
//! everything derived consistent.

use super::dying::{Dying, Voids};
use super::entry::{Answer, Call, CallRef, Entry, Flight, NEVER};
use super::event::{Filled, Removal, Target};
use super::ids::{AnswerId, LabelId, Slot};
use super::labels::{Label, LabelKind};
use super::stats::{Counters, HitKind, Top};
use super::Cache;
use crate::domain::algorithm::eviction::Evictor;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::algorithm::slab::Slab;
use crate::domain::{looked, Fence, Looked};
use ahash::AHashMap;

impl Cache {
    pub(super) fn slot_for(&mut self, call: &Call) -> Slot {
        if let Some(slot) = self.find(call.as_ref()) {
            return slot;
        }
        let hash = self.hash(call.as_ref());
        let slot = self.slots.next_place();
        let next = self.by_hash.insert(hash, slot);
        let tool = self.labels.join(Label::new(LabelKind::Tool, call.as_ref().tool()));
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
        self.slots.insert(Box::new(entry))
    }

    /// Changes an entry, and everything counted and ordered by its content.
    pub(super) fn change<T>(&mut self, slot: Slot, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        looked(1);
        let entry = self.slots.get_mut(slot)?;
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

    /// Removes an entry that holds nothing.
    pub(super) fn drop_if_bare(&mut self, slot: Slot) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.answer.is_some() || entry.flight.is_some() {
            return;
        }
        let (hash, next, tool, bytes, is_top) = (entry.hash, entry.next, entry.tool, entry.bytes(), entry.is_top);
        self.entry_bytes -= bytes;
        if is_top {
            self.top.lose();
        }
        self.unlink(hash, slot, next);
        self.labels.leave(tool);
        self.slots.remove(slot);
        self.by_hash.give_back_room();
        if self.slots.count() == 0 {
            // An empty cache keeps nothing: no table, no slab, no sketch.
            (self.slots, self.placed) = (Slab::default(), Vec::new());
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
        while let Some(entry) = self.slots.get_mut(at) {
            if entry.next == Some(slot) {
                entry.next = next;
                return;
            }
            let Some(further) = entry.next else { return };
            at = further;
        }
    }

    fn count_both(&mut self, tool: LabelId, count: impl Fn(&mut Counters)) {
        count(&mut self.counters);
        if let Some(counters) = self.labels.counters_mut(tool) {
            count(counters);
        }
    }

    pub(super) fn ticketed(&mut self, call: &Call, flight: &Flight) {
        let slot = self.slot_for(call);
        self.end_flight(slot);
        self.change(slot, |entry| entry.flight = Some(Box::new(flight.clone())));
        self.tickets.insert(flight.ticket, slot);
        self.missed(slot, |counters| counters.tickets += 1);
    }

    pub(super) fn missed(&mut self, slot: Slot, count: impl Fn(&mut Counters)) {
        let Some((hash, tool)) = self.entry(slot).map(|entry| (entry.hash, entry.tool)) else { return };
        self.evictor.fit(self.answers.len().max(1));
        self.evictor.seen(hash);
        self.count_both(tool, |counters| {
            counters.misses += 1;
            count(counters);
        });
    }

    /// A call had no answer, and nothing is kept of it: nobody got a ticket.
    pub(super) fn missed_unknown(&mut self, call: CallRef) {
        self.counters.misses += 1;
        let tool = self.labels.find(&Label::new(LabelKind::Tool, call.tool()));
        if let Some(counters) = tool.and_then(|tool| self.labels.counters_mut(tool)) {
            counters.misses += 1;
        }
        // An empty cache keeps no sketch.
        if !self.answers.is_empty() {
            let hash = self.hash(call);
            self.evictor.seen(hash);
        }
    }

    pub(super) fn change_flight(&mut self, ticket: Fence, work: impl FnOnce(&mut Flight)) {
        if let Some(slot) = self.tickets.get(&ticket).copied() {
            self.change(slot, |entry| entry.flight.as_deref_mut().map(work));
        }
    }

    pub(super) fn end_flight(&mut self, slot: Slot) {
        if let Some(Some(flight)) = self.change(slot, |entry| entry.flight.take()) {
            self.tickets.remove(&flight.ticket);
            if self.tickets.is_empty() {
                self.voids = Voids::default();
            }
        }
    }

    pub(super) fn end_ticket(&mut self, ticket: Fence) {
        if let Some(slot) = self.tickets.get(&ticket).copied() {
            self.end_flight(slot);
            self.drop_if_bare(slot);
        }
    }

    pub(super) fn put(&mut self, filled: &Filled) {
        let slot = self.slot_for(&filled.call);
        self.clear_answer(slot);
        self.last_answer += 1;
        self.attach(slot, self.last_answer, filled, false);
        let mut usage = Default::default();
        self.evictor.used(&mut usage);
        self.change(slot, |entry| entry.usage = usage);
        // The answer is there already, so the entry is never empty in between.
        filled.ticket.into_iter().for_each(|ticket| self.end_ticket(ticket));
        if let Some(tool) = self.entry(slot).map(|entry| entry.tool) {
            self.count_both(tool, |counters| counters.puts += 1);
        }
    }

    /// Gives an answer to an entry without one.
    pub(super) fn attach(&mut self, slot: Slot, id: AnswerId, filled: &Filled, is_soft: bool) {
        let labels: Box<[_]> = filled.labels.iter().looked().map(|label| self.labels.join(label.clone())).collect();
        let agent = (!filled.agent.is_empty()).then(|| self.labels.join(Label::new(LabelKind::Agent, &filled.agent)));
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
        self.evictor.fit(self.answers.len());
        self.change(slot, |entry| (entry.answer, entry.place) = (Some(answer), place));
    }

    /// Removes the answer from an entry.
    fn clear_answer(&mut self, slot: Slot) -> Option<Answer> {
        let (answer, place, tool) = self
            .change(slot, |entry| (entry.answer.take(), entry.place as usize, entry.tool))
            .and_then(|(answer, place, tool)| Some((answer?, place, tool)))?;
        for label in answer.labels.iter().copied().chain(answer.agent).looked() {
            self.labels.remove_answer(label, answer.id);
            self.labels.leave(label);
        }
        self.labels.remove_answer(tool, answer.id);
        self.answers.remove(&answer.id);
        self.placed.swap_remove(place);
        self.placed.give_back_room();
        self.evictor.fit(self.answers.len());
        if let Some(moved) = self.placed.get(place).copied() {
            if let Some(entry) = self.slots.get_mut(moved) {
                entry.place = place as u32;
            }
        }
        let is_private = self.entry(slot).is_some_and(|entry| !entry.call().scope().is_empty());
        self.private -= usize::from(is_private);
        Some(answer)
    }

    pub(super) fn invalidate(&mut self, what: &Target, is_soft: bool, fence: Fence) {
        self.last_fence = self.last_fence.max(fence);
        let void: Vec<Slot> =
            self.tickets.values().copied().looked().filter(|slot| self.is_aimed_at(what, *slot)).collect();
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
                let answers = match labels.as_slice() {
                    // The answers of one label can move. What is only stale can be invalidated
                    // once more.
                    [label] if !is_soft => {
                        self.labels.find(label).map(|id| self.labels.take_answers(id)).unwrap_or_default()
                    }
                    labels => self.concerned(labels).into_iter().collect(),
                };
                Dying::these(answers, is_soft, fence)
            }
        };
        self.dying.iter_mut().for_each(|earlier| earlier.leave_to(&dying));
        self.dying.retain(|earlier| !earlier.is_empty());
        self.dying.push_back(dying);
    }

    /// Whether the invalidation voids a ticket for this call, whatever its answer will depend on.
    fn is_aimed_at(&self, what: &Target, slot: Slot) -> bool {
        let Target::Labels(labels) = what else { return true };
        let Some(entry) = self.entry(slot) else { return false };
        let agent = entry.flight.as_ref().map(|flight| &flight.agent[..]);
        labels.iter().any(|label| match label.kind {
            LabelKind::Tool => *label.text == *entry.call().tool(),
            LabelKind::Agent => Some(&label.text[..]) == agent,
            LabelKind::Dep | LabelKind::Tag => false,
        })
    }

    fn void_all_tickets(&mut self) {
        for slot in std::mem::take(&mut self.tickets).into_values() {
            self.end_flight(slot);
            self.drop_if_bare(slot);
        }
    }

    /// Removes the next `batch` answers that are being invalidated, or makes them stale.
    pub(super) fn bury(&mut self, batch: u32) {
        let mut left = batch;
        while let Some(dying) = self.dying.front_mut() {
            if left == 0 {
                return;
            }
            let Some(id) = dying.next(&self.answers) else {
                self.dying.pop_front();
                self.dying.give_back_room();
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
        // Before the entry goes, and the number of its tool with it.
        self.count_both(tool, |counters| counters.invalidated += 1);
        if is_soft {
            self.change(slot, |entry| entry.answer.iter_mut().for_each(|answer| answer.is_soft = true));
        } else {
            self.clear_answer(slot);
            self.drop_if_bare(slot);
        }
    }

    pub(super) fn remove(&mut self, ids: &[AnswerId], why: Removal) {
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

    pub(super) fn used(&mut self, slot: Slot, given: HitKind, by_other: bool) {
        let Some(entry) = self.slots.get_mut(slot) else { return };
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
                HitKind::Fresh => counters.hits += 1,
                HitKind::Stale => counters.stale += 1,
                HitKind::Negative => counters.negative += 1,
            }
            counters.shared += u64::from(by_other);
            counters.saved_bytes += bytes;
            counters.saved_ms += cost_ms;
        });
    }

    fn add_top(&mut self, slot: Slot) {
        let slots = &self.slots;
        let uses = |slot: Slot| slots.get(slot).filter(|entry| entry.is_top).map(|entry| entry.uses);
        for out in self.top.add(slot, uses) {
            if let Some(entry) = self.slots.get_mut(out) {
                entry.is_top = false;
            }
        }
    }
}
