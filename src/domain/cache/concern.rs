//! Which answers an invalidation concerns, and how many of them go at once.

use super::dying::Dying;
use super::ids::{AnswerId, LabelId};
use super::labels::Label;
use super::{Cache, Entry, Target};
use crate::domain::{looked, looked_at_parts, Looked};
use ahash::AHashSet;
use std::collections::BTreeSet;

/// As many labels of an answer are looked up in one look, and as many ids listed.
const LABELS_OF_LOOK: usize = 256;
const IDS_OF_LOOK: usize = 8;
/// So many labels that an answer leaves take as long as the rest of it.
const LABELS_OF_ANSWER: usize = 4;

impl Entry {
    /// How much work it is to remove its answer.
    pub fn weight(&self) -> usize {
        1 + self.answer.as_ref().map_or(0, |answer| answer.labels.len()) / LABELS_OF_ANSWER
    }
}

impl Cache {
    /// How many answers an invalidation concerns.
    pub fn affected_by(&self, what: &Target) -> usize {
        let labels = match what {
            // The usual cases need no look at each answer.
            Target::All if self.dying.is_empty() => return self.count(),
            Target::All => return self.alive_of(self.answers.keys().copied()),
            Target::Labels(labels) => labels,
        };
        match labels.as_slice() {
            [label] if self.dying.is_empty() => self.answers_with(label).map_or(0, BTreeSet::len),
            labels => self.alive_of(self.concerned(labels).into_iter()),
        }
    }

    /// How many of these are not called off for good.
    fn alive_of(&self, ids: impl Iterator<Item = AnswerId>) -> usize {
        let mut dead: AHashSet<AnswerId> = AHashSet::new();
        let (mut end, hard) = (0, self.dying.iter().filter(|dying| !dying.is_soft));
        for dying in hard {
            let before = dead.len();
            dead.extend(dying.listed());
            looked_at_parts(dead.len() - before, IDS_OF_LOOK);
            end = end.max(dying.end());
        }
        ids.inspect(|_| looked_at_parts(1, IDS_OF_LOOK)).filter(|id| *id >= end && !dead.contains(id)).count()
    }

    fn answers_with(&self, label: &Label) -> Option<&BTreeSet<AnswerId>> {
        self.labels.answers(self.labels.find(label)?)
    }

    /// The answers with one of these labels, in order. If the labels have more answers together
    /// than there are, each answer is asked once.
    pub(super) fn concerned(&self, labels: &[Label]) -> Vec<AnswerId> {
        let sets = labels.iter().filter_map(|label| self.answers_with(label));
        let total: usize = sets.clone().map(BTreeSet::len).sum();
        if total <= self.answers.len() {
            let mut ids: Vec<AnswerId> = sets.flatten().copied().collect();
            looked_at_parts(ids.len(), IDS_OF_LOOK);
            ids.sort_unstable();
            ids.dedup();
            return ids;
        }
        // By number: it is asked for each label of each answer.
        let ids: Vec<LabelId> = labels.iter().filter_map(|label| self.labels.find(label)).collect();
        let mut wanted = vec![false; ids.iter().max().map_or(0, |last| *last as usize + 1)];
        ids.iter().for_each(|id| wanted[*id as usize] = true);
        let has_one = |entry: &Entry| {
            let answer = entry.answer.as_ref();
            let labels = answer.into_iter().flat_map(|answer| answer.labels.iter().chain(&answer.agent));
            labels.chain([&entry.tool]).any(|label| {
                looked_at_parts(1, LABELS_OF_LOOK);
                wanted.get(*label as usize).is_some_and(|is_wanted| *is_wanted)
            })
        };
        let entries = self.answers.iter().looked().filter_map(|(id, slot)| Some((*id, self.entry(*slot)?)));
        entries.filter(|(_, entry)| has_one(entry)).map(|(id, _)| id).collect()
    }

    /// How much work it is to remove these.
    pub fn weight_of(&self, ids: &[AnswerId]) -> usize {
        ids.iter().map(|id| self.work_of(*id)).sum()
    }

    fn work_of(&self, id: AnswerId) -> usize {
        looked(1);
        self.answers.get(&id).and_then(|slot| self.entry(*slot)).map_or(1, Entry::weight)
    }

    /// How many of the first of these are about `max` work. `max` if all of them are less.
    pub(super) fn within(&self, ids: impl Iterator<Item = AnswerId>, max: usize) -> u32 {
        let (mut work, mut count) = (0, 0);
        for id in ids {
            if work >= max {
                return count;
            }
            (work, count) = (work + self.work_of(id), count + 1);
        }
        // These are all.
        max as u32
    }

    /// How many answers of what is called off go at once, if that is `max` work.
    pub fn burial(&self, max: usize) -> u32 {
        self.within(self.dying.iter().flat_map(|dying: &Dying| dying.rest(&self.answers)), max)
    }

    /// The same if this is called off now.
    pub fn burial_of(&self, what: &Target, max: usize) -> u32 {
        if self.has_dying() {
            return self.burial(max);
        }
        match what {
            Target::All => self.within(self.answers.keys().copied(), max),
            Target::Labels(labels) => {
                let first = labels.iter().filter_map(|label| self.answers_with(label)).flatten().copied();
                self.within(first, max)
            }
        }
    }
}
