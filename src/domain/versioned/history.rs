//! The versions of a state: the way back to each of them, and the checkpoints.
//!
//! The state is kept once, as it is now. Each earlier version is kept as what undoes the change
//! that replaced it, so history costs what has changed. All recent versions are kept, and older
//! ones only if they have a checkpoint. The way from one checkpoint to the next is then a single
//! step, which remembers what was overwritten repeatedly only once.

use super::cost::Cost;
use super::life::is_time;
use super::step::{free, Step};
use super::State;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::invariant::rule;
use crate::domain::entity::{CHECKED_BYTES, NUMBER_MAX};
use crate::domain::limits::{CHECKPOINTS_MAX, NAME_BYTES_MAX};
use crate::domain::value::bytes::parse_u64;
use crate::domain::{Bytes, Invariant, Millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use super::step::{Undo, Version};

/// The number of a checkpoint within its key. The first is 1; no number is used twice.
pub type CheckpointId = u64;

#[cfg(any(test, feature = "test-hooks"))]
impl<U> History<U> {
    /// Breaks something derived: the number of checkpoints of versions, or the counted bytes.
    pub(super) fn break_part(&mut self, of_marks: bool) {
        if of_marks {
            self.marks.clear();
        } else {
            self.cost.bytes += 1;
        }
    }
}

/// How much history is kept. Set when the key is created, so that all nodes keep the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keep {
    /// The number of versions before the current one.
    pub versions_max: u32,
    /// Bytes of everything needed to restore them and the checkpoints.
    pub bytes_max: u64,
}

/// A version that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The version.
    pub version: Version,
    /// Its name, for people; empty if it has none.
    pub name: Bytes,
    /// When it was made, unix ms.
    pub at: Millis,
    /// Whether it stays until it is pruned by name or the key is deleted.
    pub is_pinned: bool,
}

/// Whether a text reads as a whole number, however it is written: to people `+2` and `02` are 2.
pub fn is_whole_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// All versions that can be restored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved<U>", bound(deserialize = "U: Undo"))]
pub struct History<U> {
    version: Version,
    keep: Keep,
    /// From one checkpoint to the next, the oldest first.
    old: Vec<Step<U>>,
    /// From one version to the next, the oldest first.
    recent: VecDeque<Step<U>>,
    checkpoints: BTreeMap<CheckpointId, Checkpoint>,
    last_checkpoint: CheckpointId,
    /// The number of checkpoints of a version.
    #[serde(skip)]
    marks: BTreeMap<Version, u32>,
    /// What all of it takes.
    #[serde(skip)]
    cost: Cost,
}

#[derive(Deserialize)]
struct Saved<U> {
    version: Version,
    keep: Keep,
    old: Vec<Step<U>>,
    recent: VecDeque<Step<U>>,
    checkpoints: BTreeMap<CheckpointId, Checkpoint>,
    last_checkpoint: CheckpointId,
}

impl<U: Undo> From<Saved<U>> for History<U> {
    fn from(saved: Saved<U>) -> Self {
        let Saved { version, keep, old, recent, checkpoints, last_checkpoint } = saved;
        let marks = BTreeMap::new();
        let mut history =
            Self { version, keep, old, recent, checkpoints, last_checkpoint, marks, cost: Cost::default() };
        history.rebuild();
        history
    }
}

impl Checkpoint {
    fn cost(&self) -> Cost {
        // A B-tree's nodes are about three quarters full.
        let entries = (size_of::<(CheckpointId, Self)>() + size_of::<(Version, u32)>()) * 4 / 3;
        Cost { bytes: entries + self.name.heap_bytes(), ..Cost::default() }
    }
}

impl<U: Undo> History<U> {
    /// The history of a state that begins with `version`.
    pub fn new(version: Version, keep: Keep) -> Self {
        Self { version, keep, ..Self::default() }
    }

    /// The largest number of a version or checkpoint.
    pub fn last_number(&self) -> u64 {
        self.version.max(self.last_checkpoint)
    }

    /// The current version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How much history is kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The number of versions before the current one that can be restored, besides those
    /// with a checkpoint.
    pub fn recent_versions(&self) -> usize {
        self.recent.len()
    }

    /// Bytes of everything needed to restore versions, including the checkpoints themselves.
    pub fn bytes(&self) -> usize {
        self.cost.bytes
    }

    /// How many changes all its steps undo.
    pub fn changes(&self) -> usize {
        self.cost.changes
    }

    /// Whether it takes more than it may.
    fn is_over(&self) -> bool {
        self.cost.bytes as u64 > self.keep.bytes_max || self.cost.changes > self.changes_max()
    }

    /// How many changes its steps may undo: at least some for each version that it keeps.
    pub fn changes_max(&self) -> usize {
        const OF_A_VERSION: usize = 10;
        U::CHANGES_MAX.max(self.keep.versions_max as usize * OF_A_VERSION)
    }

    /// Whether nothing more can be remembered: it takes more than it may, and nothing in it may go.
    pub fn is_full(&self) -> bool {
        self.is_over() && self.checkpoints.values().all(|checkpoint| checkpoint.is_pinned)
    }

    /// Rebuilds what is derived.
    pub fn rebuild(&mut self) {
        (self.marks, self.cost) = (self.counted_marks(), self.counted_cost());
    }

    fn counted_marks(&self) -> BTreeMap<Version, u32> {
        let mut marks = BTreeMap::new();
        self.checkpoints.values().for_each(|checkpoint| *marks.entry(checkpoint.version).or_default() += 1);
        marks
    }

    /// How long a check takes, in elements.
    pub fn check_effort(&self, goes_back: bool) -> usize {
        let steps = self.old.len() + self.recent.len() + self.checkpoints.len();
        steps + if goes_back { self.cost.bytes / CHECKED_BYTES } else { 0 }
    }

    fn counted_cost(&self) -> Cost {
        let mut cost = Cost::default();
        self.old.iter().chain(&self.recent).for_each(|step| cost += step.cost());
        self.checkpoints.values().for_each(|checkpoint| cost += checkpoint.cost());
        cost
    }

    /// The checkpoints from a number on, the oldest first.
    pub fn checkpoints_from(&self, id: CheckpointId) -> impl Iterator<Item = (CheckpointId, &Checkpoint)> {
        self.checkpoints.range(id..).map(|(id, checkpoint)| (*id, checkpoint))
    }

    /// The checkpoints, the oldest first.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = (CheckpointId, &Checkpoint)> + ExactSizeIterator {
        self.checkpoints.iter().map(|(id, checkpoint)| (*id, checkpoint))
    }

    /// A checkpoint by its number, or the newest with a name. A number is never taken for a name:
    /// if it were, it would mean another checkpoint as soon as that number is given out.
    pub fn find_checkpoint(&self, text: &[u8]) -> Option<(CheckpointId, &Checkpoint)> {
        if text.is_empty() {
            return None;
        }
        if is_whole_number(text) {
            let id = parse_u64(text)?;
            return self.checkpoints.get(&id).map(|checkpoint| (id, checkpoint));
        }
        self.checkpoints().rev().find(|(_, checkpoint)| *checkpoint.name == *text)
    }

    /// A checkpoint by its number.
    pub fn checkpoint(&self, id: CheckpointId) -> Option<&Checkpoint> {
        self.checkpoints.get(&id)
    }

    /// The number of the next checkpoint.
    pub fn next_checkpoint(&self) -> CheckpointId {
        self.last_checkpoint + 1
    }

    /// The steps that lead back to `version`, in order. `None` if it cannot be restored.
    pub fn way_back(&self, version: Version) -> Option<Vec<&Step<U>>> {
        if version == self.version {
            return Some(Vec::new());
        }
        let mut way = Vec::new();
        for step in self.recent.iter().rev().chain(self.old.iter().rev()) {
            way.push(step);
            if step.to <= version {
                break;
            }
        }
        way.last().is_some_and(|last| last.to == version).then_some(way)
    }

    /// What leads back to `version`, that of the newest version first. `None` if it cannot be
    /// restored.
    pub fn undone(&self, version: Version) -> Option<Vec<&U>> {
        Some(self.way_back(version)?.into_iter().map(|step| &*step.undo).collect())
    }

    /// The state has a new version; `undo` leads back to the previous one.
    pub fn record(&mut self, undo: U, at: Millis, by: &Bytes) {
        let step = Step { to: self.version, left_at: at, left_by: by.clone(), undo: undo.into() };
        self.cost += step.cost();
        self.recent.push_back(step);
        self.version += 1;
        self.forget(CheckpointId::MAX);
    }

    /// Removes what exceeds the bounds, but no checkpoint from `spared` on.
    fn forget(&mut self, spared: CheckpointId) {
        let mut gone = Vec::new();
        while self.recent.len() > self.keep.versions_max as usize {
            gone.extend(self.age());
        }
        // More and more at a time, so that this costs no more than what is removed.
        let mut at_once = 1;
        while self.is_over() {
            if !self.recent.is_empty() {
                gone.extend(self.age());
                continue;
            }
            let older = self.checkpoints.range(..spared);
            let loose = older.filter(|(_, checkpoint)| !checkpoint.is_pinned).map(|(id, _)| *id);
            let loose: Vec<CheckpointId> = loose.take(at_once).collect();
            if loose.is_empty() {
                break;
            }
            self.remove_checkpoints(&loose);
            at_once *= 2;
        }
        free(gone);
    }

    /// Moves the oldest recent version to the old ones. Returns its step if nobody needs it.
    fn age(&mut self) -> Option<Step<U>> {
        let step = self.recent.pop_front()?;
        self.recent.give_back_room();
        self.cost -= step.cost();
        self.keep_old(step)
    }

    /// Adds a step behind the old ones. If the version that it leads back to is no longer needed,
    /// earlier ones may be: then it is joined with the step to those. Returned if there is none.
    fn keep_old(&mut self, step: Step<U>) -> Option<Step<U>> {
        if self.marks.contains_key(&step.to) {
            self.cost += step.cost();
            self.old.push(step);
            return None;
        }
        let Some(last) = self.old.last_mut() else { return Some(step) };
        self.cost -= last.cost();
        last.absorb(step);
        self.cost += last.cost();
        None
    }

    /// Makes a checkpoint of the current version. If that exceeds the bounds, others go.
    pub fn mark(&mut self, id: CheckpointId, name: &Bytes, at: Millis, is_pinned: bool) {
        let checkpoint = Checkpoint { version: self.version, name: name.clone(), at, is_pinned };
        self.last_checkpoint = self.last_checkpoint.max(id);
        if !self.checkpoints.contains_key(&id) {
            self.cost += checkpoint.cost();
            self.checkpoints.insert(id, checkpoint);
            *self.marks.entry(self.version).or_default() += 1;
            self.forget(id);
        }
    }

    /// Removes checkpoints, and everything that only they needed.
    pub fn remove_checkpoints(&mut self, ids: &[CheckpointId]) {
        const FEW: usize = 16;
        let mut gone = Vec::new();
        for id in ids {
            let Some(checkpoint) = self.checkpoints.remove(id) else { continue };
            self.cost -= checkpoint.cost();
            let Some(count) = self.marks.get_mut(&checkpoint.version) else { continue };
            *count -= 1;
            if *count == 0 {
                self.marks.remove(&checkpoint.version);
                if ids.len() <= FEW {
                    gone.extend(self.close_gap(checkpoint.version));
                }
            }
        }
        if ids.len() > FEW {
            for step in std::mem::take(&mut self.old) {
                self.cost -= step.cost();
                gone.extend(self.keep_old(step));
            }
        }
        free(gone);
    }

    /// An old version has no checkpoint any more: the step that led to it leads to the version
    /// before it, or nowhere, and then it is returned.
    fn close_gap(&mut self, version: Version) -> Option<Step<U>> {
        let at = self.old.binary_search_by_key(&version, |step| step.to).ok()?;
        let step = self.old.remove(at);
        self.old.give_back_room();
        self.cost -= step.cost();
        let Some(before) = at.checked_sub(1).and_then(|at| self.old.get_mut(at)) else { return Some(step) };
        self.cost -= before.cost();
        before.absorb(step);
        self.cost += before.cost();
        None
    }

    /// The checkpoints that a prune removes: all unpinned ones except the newest `keep_last`, and
    /// of those only the ones made before `before`.
    pub fn prunable(&self, keep_last: usize, before: Millis) -> Vec<CheckpointId> {
        let loose: Vec<(CheckpointId, Millis)> =
            self.checkpoints().filter(|(_, one)| !one.is_pinned).map(|(id, one)| (id, one.at)).collect();
        let end = loose.len().saturating_sub(keep_last);
        loose[..end].iter().filter(|(_, at)| *at < before).map(|(id, _)| *id).collect()
    }

    /// How many allocations freeing it takes, about.
    pub fn free_effort(&self) -> usize {
        self.cost.pieces + self.checkpoints.len()
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        // A list has room for at least four, and doubles when it is full.
        let spare = |len: usize| if len == 0 { 0 } else { len.next_power_of_two().max(4) - len };
        self.cost.bytes + (spare(self.recent.len()) + spare(self.old.len())) * size_of::<Step<U>>()
    }

    /// Whether all invariants hold with `state` as the current state: every way back can be walked.
    pub fn check<S: State<Undo = U>>(&self, state: &S) -> Result<(), Invariant> {
        let versions: Vec<Version> =
            self.old.iter().chain(&self.recent).map(|step| step.to).chain([self.version]).collect();
        rule(versions.is_sorted_by(|one, next| one < next), "the versions are not in order")?;
        rule(self.version > 0, "the version is out of bounds")?;
        rule(self.version <= NUMBER_MAX && self.last_checkpoint <= NUMBER_MAX, "the version is out of bounds")?;
        let is_between = |id: &CheckpointId| (1..=self.last_checkpoint).contains(id);
        rule(self.checkpoints.keys().all(is_between), "the numbers of the checkpoints are out of bounds")?;
        rule(self.checkpoints.values().all(Checkpoint::is_within_bounds), "a checkpoint is out of bounds")?;
        rule(self.checkpoints.len() <= CHECKPOINTS_MAX, "there are too many checkpoints")?;
        let is_there = |checkpoint: &Checkpoint| versions.binary_search(&checkpoint.version).is_ok();
        rule(self.checkpoints.values().all(is_there), "a checkpoint has no version")?;
        rule(self.old.iter().all(|step| self.marks.contains_key(&step.to)), "an old version has no checkpoint")?;
        rule(self.counted_marks() == self.marks, "the counted checkpoints differ from the history")?;
        rule(self.counted_cost() == self.cost, "the counted bytes differ from the history")?;
        rule(self.sound_steps(state) == versions.len() - 1, "a version cannot be got back to")
    }

    /// How many steps from `state` on can be made until one does not fit, or leads to what no
    /// command would have made.
    fn sound_steps<S: State<Undo = U>>(&self, state: &S) -> usize {
        let steps = || self.recent.iter().rev().chain(self.old.iter().rev());
        if S::UNDOES_ANYTHING {
            return steps().take_while(|step| step.is_within_bounds()).count();
        }
        let mut past = state.clone();
        steps().take_while(|step| step.is_within_bounds() && past.go_back(&[&step.undo], None).is_some()).count()
    }

    /// Walks back from now to the first broken step, and removes all versions beyond it.
    /// Returns what was removed.
    pub fn cut<S: State<Undo = U>>(&mut self, state: &S) -> String {
        let (mut later, mut kept) = (self.version, self.sound_steps(state));
        for (at, step) in self.recent.iter().rev().chain(self.old.iter().rev()).enumerate().take(kept) {
            if step.to == 0 || step.to >= later {
                kept = at;
                break;
            }
            later = step.to;
        }
        self.recent.drain(..self.recent.len() - kept.min(self.recent.len()));
        let old = kept - self.recent.len();
        self.old.drain(..self.old.len() - old);
        self.last_checkpoint = self.last_checkpoint.min(NUMBER_MAX);
        let known: BTreeSet<Version> =
            self.old.iter().chain(&self.recent).map(|step| step.to).chain([self.version]).collect();
        let before = self.checkpoints.len();
        self.checkpoints.retain(|id, checkpoint| {
            (1..=self.last_checkpoint).contains(id)
                && checkpoint.is_within_bounds()
                && known.contains(&checkpoint.version)
        });
        // A version that is neither recent nor needed by a checkpoint does not count.
        let needed: BTreeSet<Version> = self.checkpoints.values().map(|checkpoint| checkpoint.version).collect();
        let spare = self.old.iter().rposition(|step| !needed.contains(&step.to)).map_or(0, |at| at + 1);
        self.old.drain(..spare);
        let known: BTreeSet<Version> =
            self.old.iter().chain(&self.recent).map(|step| step.to).chain([self.version]).collect();
        self.checkpoints.retain(|_, checkpoint| known.contains(&checkpoint.version));
        self.rebuild();
        let (first, removed) = (known.first().copied().unwrap_or(self.version), before - self.checkpoints.len());
        format!("the versions before {first}, and {removed} checkpoints")
    }
}

impl Checkpoint {
    fn is_within_bounds(&self) -> bool {
        self.name.len() <= NAME_BYTES_MAX && is_time(self.at)
    }
}
