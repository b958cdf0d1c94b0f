//! Labels, by which entries can be invalidated: tools, agents, dependencies and tags, each with the
//! entries that have it.
//!
//! A label exists as long as an entry has it. Its number is local to this node; its kind and text
//! are saved and sent.

use super::entry::Answer;
use super::ids::{AnswerId, LabelId};
use super::stats::Counters;
use crate::domain::algorithm::allocator::{allocated, table_bytes, tree_bytes};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::algorithm::slab::Slab;
use crate::domain::limits::IDLE_TOOLS_MAX;
use crate::domain::Bytes;
use ahash::AHashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// The kind of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LabelKind {
    /// Something that answers were computed from.
    Dep,
    /// A tag that a client chose.
    Tag,
    /// The tool that was called.
    Tool,
    /// The agent that put the answer.
    Agent,
}

/// A property that entries share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label {
    /// Its kind.
    pub kind: LabelKind,
    /// Its name.
    pub text: Bytes,
}

impl Label {
    /// A label of this kind.
    pub fn new(kind: LabelKind, text: &[u8]) -> Self {
        Self { kind, text: Bytes::from(text) }
    }
}

#[derive(Debug, Clone)]
struct LabelRecord {
    label: Label,
    /// The number of entries that have it.
    users: u32,
    /// Their answers, except those that are being invalidated.
    answers: BTreeSet<AnswerId>,
    /// The counters of a tool.
    counters: Option<Box<Counters>>,
}

impl LabelRecord {
    fn bytes(&self) -> usize {
        let counters = if self.counters.is_some() { allocated(size_of::<Counters>()) } else { 0 };
        2 * self.label.text.heap_bytes() + counters
    }
}

/// Bytes of a record, and of its place.
const RECORD_BYTES: usize = size_of::<Option<Box<LabelRecord>>>() + allocated(size_of::<LabelRecord>());

/// Bytes of a label that an entry has: its record with its name, and its places in the table and in
/// a set of answers.
pub fn label_bytes(label: &Label) -> usize {
    const PLACES: usize = RECORD_BYTES
        + table_bytes(1000, size_of::<(Label, LabelId)>()) / 1000
        + tree_bytes(1, size_of::<AnswerId>()) / 2;
    PLACES + 2 * label.text.heap_bytes()
}

/// All labels of a cache.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    records: Slab<LabelRecord>,
    ids: AHashMap<Label, LabelId>,
    /// Tools without entries, kept for their counters.
    idle: usize,
    text_bytes: usize,
    /// Bytes of the labels that entries have.
    used_bytes: usize,
    /// The number of pairs of an entry and a label.
    uses: usize,
}

/// Labels counted from the entries, for a check.
#[derive(Debug, Default)]
pub struct Census(Vec<Counted>);

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    users: u32,
    answers: usize,
}

impl Census {
    /// Counts the tool of an entry.
    pub fn tool(&mut self, id: LabelId) {
        self.of(id).users += 1;
    }

    /// Counts the labels of an answer besides its tool.
    pub fn answer(&mut self, labels: &Labels, answer: &Answer, tool: LabelId) {
        let own = answer.labels.iter().copied().chain(answer.agent);
        own.for_each(|id| self.of(id).users += 1);
        for id in labels_of(answer, tool) {
            self.of(id).answers += usize::from(labels.knows(id, answer.id));
        }
    }

    fn of(&mut self, id: LabelId) -> &mut Counted {
        let at = id as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, Counted::default());
        }
        &mut self.0[at]
    }
}

/// All labels of an answer, without duplicates.
fn labels_of(answer: &Answer, tool: LabelId) -> SmallVec<[LabelId; 8]> {
    let mut all: SmallVec<[LabelId; 8]> = answer.labels.iter().copied().chain(answer.agent).chain([tool]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Labels {
    fn knows(&self, id: LabelId, answer: AnswerId) -> bool {
        self.answers(id).is_some_and(|answers| answers.contains(&answer))
    }

    /// Whether all labels of an answer exist and list it. Those of an answer that is being
    /// invalidated need not list it.
    pub fn know(&self, answer: &Answer, tool: LabelId, is_off: bool) -> bool {
        labels_of(answer, tool).into_iter().all(|id| {
            let is_found = self.record(id).is_some_and(|of| of.users > 0 && self.ids.get(&of.label) == Some(&id));
            is_found && (is_off || self.knows(id, answer.id))
        })
    }

    fn record(&self, id: LabelId) -> Option<&LabelRecord> {
        self.records.get(id)
    }

    fn record_mut(&mut self, id: LabelId) -> Option<&mut LabelRecord> {
        self.records.get_mut(id)
    }

    /// Whether the labels and their counts agree with the entries.
    pub fn is_sound(&self, census: &Census) -> bool {
        let known = || self.records.iter();
        let is_right = |(id, record): (LabelId, &LabelRecord)| {
            let counted = census.0.get(id as usize).copied().unwrap_or_default();
            (record.users, record.answers.len()) == (counted.users, counted.answers)
                && (record.users > 0 || record.counters.is_some())
                && self.ids.get(&record.label) == Some(&id)
        };
        let used = |record: &LabelRecord| if record.users > 0 { label_bytes(&record.label) } else { 0 };
        let count = known().count();
        known().all(is_right)
            && self.records.is_sound()
            && census.0.len() <= self.records.places()
            && [self.ids.len(), self.records.count()] == [count; 2]
            && self.idle == known().filter(|(_, record)| record.users == 0).count()
            && self.text_bytes == known().map(|(_, record)| record.bytes()).sum::<usize>()
            && self.used_bytes == known().map(|(_, record)| used(record)).sum::<usize>()
            && self.uses == known().map(|(_, record)| record.users as usize).sum::<usize>()
    }

    /// The number of pairs of an entry and a label.
    pub fn uses(&self) -> usize {
        self.uses
    }

    /// Keeps the counters of tools in `others` that are also here.
    pub fn keep_counters(&mut self, others: Labels) {
        for LabelRecord { label, counters, .. } in others.records.into_values().map(|record| *record) {
            let kept = counters.and_then(|counters| Some((self.find(&label)?, counters)));
            if let Some((id, counters)) = kept {
                self.counters_mut(id).into_iter().for_each(|own| *own = *counters);
            }
        }
    }

    /// The label with this number.
    pub fn label(&self, id: LabelId) -> Option<&Label> {
        self.record(id).map(|record| &record.label)
    }

    /// The name of a label.
    pub fn text(&self, id: LabelId) -> &[u8] {
        self.label(id).map_or(&[], |label| &label.text)
    }

    /// The number of a label, if any entry has it.
    pub fn find(&self, label: &Label) -> Option<LabelId> {
        self.ids.get(label).copied()
    }

    /// The number of labels that entries have.
    pub fn len(&self) -> usize {
        self.ids.len() - self.idle
    }

    /// Whether no entry has a label.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry to a label.
    pub fn join(&mut self, label: Label) -> LabelId {
        let id = match self.ids.get(&label) {
            Some(id) => *id,
            None => self.add(label),
        };
        if let Some(record) = self.record_mut(id) {
            record.users += 1;
            if record.users == 1 {
                let (was_idle, bytes) = (record.counters.is_some(), label_bytes(&record.label));
                self.idle -= usize::from(was_idle);
                self.used_bytes += bytes;
            }
            self.uses += 1;
        }
        id
    }

    fn add(&mut self, label: Label) -> LabelId {
        let record = LabelRecord { label: label.clone(), users: 0, answers: BTreeSet::new(), counters: None };
        self.text_bytes += record.bytes();
        let id = self.records.insert(Box::new(record));
        self.ids.insert(label, id);
        id
    }

    /// Removes an entry from a label. A used tool stays for its counters, if there are not too
    /// many such tools.
    pub fn leave(&mut self, id: LabelId) {
        let idle = self.idle;
        let Some(record) = self.record_mut(id) else { return };
        record.users = record.users.saturating_sub(1);
        let is_used = record.users > 0;
        self.uses -= 1;
        if is_used {
            return;
        }
        let Some(record) = self.record(id) else { return };
        let (is_remembered, bytes) = (record.counters.is_some() && idle < IDLE_TOOLS_MAX, label_bytes(&record.label));
        self.used_bytes -= bytes;
        if is_remembered {
            self.idle += 1;
        } else if let Some(record) = self.records.remove(id) {
            self.text_bytes -= record.bytes();
            self.ids.remove(&record.label);
            self.ids.give_back_room();
        }
        if self.is_empty() {
            self.shrink();
        }
    }

    /// No entry has a label: keeps only the room that the remembered tools need.
    fn shrink(&mut self) {
        const SPARE: usize = 8;
        if self.idle > 0 && self.records.places() <= 2 * self.idle + SPARE {
            return;
        }
        let old = std::mem::take(self);
        for record in old.records.into_values() {
            let record = *record;
            let id = self.add(record.label);
            self.text_bytes += if record.counters.is_some() { allocated(size_of::<Counters>()) } else { 0 };
            self.idle += 1;
            self.record_mut(id).into_iter().for_each(|kept| kept.counters = record.counters.clone());
        }
    }

    /// Adds an answer to a label.
    pub fn add_answer(&mut self, id: LabelId, answer: AnswerId) {
        if let Some(record) = self.record_mut(id) {
            record.answers.insert(answer);
        }
    }

    /// Removes an answer from a label.
    pub fn remove_answer(&mut self, id: LabelId, answer: AnswerId) {
        if let Some(record) = self.record_mut(id) {
            record.answers.remove(&answer);
        }
    }

    /// Bytes of the labels that entries have. Idle tools are not counted.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The number of entries that have it.
    pub fn users(&self, id: LabelId) -> u32 {
        self.record(id).map_or(0, |record| record.users)
    }

    /// The answers that have it.
    pub fn answers(&self, id: LabelId) -> Option<&BTreeSet<AnswerId>> {
        self.record(id).map(|record| &record.answers)
    }

    /// Takes the answers out, since they are being invalidated.
    pub fn take_answers(&mut self, id: LabelId) -> BTreeSet<AnswerId> {
        self.record_mut(id).map(|record| std::mem::take(&mut record.answers)).unwrap_or_default()
    }

    /// The counters of a tool, to be changed.
    pub fn counters_mut(&mut self, id: LabelId) -> Option<&mut Counters> {
        let has_counters = self.record(id)?.counters.is_some();
        if !has_counters {
            self.text_bytes += allocated(size_of::<Counters>());
        }
        Some(self.record_mut(id)?.counters.get_or_insert_default())
    }

    /// The counters of a tool.
    pub fn counters(&self, id: LabelId) -> Option<&Counters> {
        self.record(id)?.counters.as_deref()
    }

    /// Bytes allocated outside the struct itself. The sets of entries are counted with the entries.
    pub fn heap_bytes(&self) -> usize {
        let sets = self.ids.len() * tree_bytes(1, size_of::<AnswerId>()) / 2;
        self.records.heap_bytes()
            + self.records.count() * allocated(size_of::<LabelRecord>())
            + table_bytes(self.ids.capacity(), size_of::<(Label, LabelId)>())
            + self.text_bytes
            + sets
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Labels {
    /// Breaks one of the parts.
    pub(super) fn break_part(&mut self, part: &str) {
        match part {
            "labels" => self.ids.clear(),
            "label-users" => self.records.values_mut().for_each(|record| record.users += 1),
            "label-answers" => self.records.values_mut().for_each(|record| record.answers.clear()),
            "label-rests" => self.records.values_mut().for_each(|record| record.answers.extend([999_999])),
            "label-free" => self.records.break_free(),
            "label-idle" => self.idle += 1,
            "label-texts" => self.text_bytes += 1,
            "label-uses" => self.uses += 1,
            _ => self.used_bytes += 1,
        }
    }
}
