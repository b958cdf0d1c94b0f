//! Invalidations: answers that are no longer served though they still exist, and
//! what voids tickets.

use super::ids::{AnswerId, Slot};
use super::labels::{Label, LabelKind};
use crate::domain::algorithm::allocator::tree_bytes;
use crate::domain::limits::VOIDS_MAX;
use crate::domain::{looked, looked_at_parts, Fence, Looked};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// As many ids are passed in one look.
const IDS_OF_LOOK: usize = 8;

/// Answers that were invalidated at once and are removed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dying {
    which: Which,
    /// Whether they may still be served as stale.
    pub is_soft: bool,
    /// Older tickets are void.
    pub fence: Fence,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Which {
    These(BTreeSet<AnswerId>),
    /// All earlier answers, except those already handled.
    Between {
        next: AnswerId,
        last: AnswerId,
    },
}

impl Dying {
    /// These answers.
    pub fn these(answers: BTreeSet<AnswerId>, is_soft: bool, fence: Fence) -> Self {
        Self { which: Which::These(answers), is_soft, fence }
    }

    /// All answers up to `last`.
    pub fn up_to(last: AnswerId, is_soft: bool, fence: Fence) -> Self {
        Self { which: Which::Between { next: 0, last }, is_soft, fence }
    }

    /// Whether an answer is among them.
    pub fn covers(&self, answer: AnswerId) -> bool {
        looked(1);
        match &self.which {
            Which::These(answers) => answers.contains(&answer),
            Which::Between { next, last } => (*next..=*last).contains(&answer),
        }
    }

    /// The answers, if they are listed.
    pub fn listed(&self) -> impl Iterator<Item = AnswerId> + '_ {
        let listed = if let Which::These(answers) = &self.which { Some(answers) } else { None };
        listed.into_iter().flatten().copied()
    }

    /// All answers before this one are among them, or are gone.
    pub fn end(&self) -> AnswerId {
        if let Which::Between { last, .. } = &self.which {
            last + 1
        } else {
            0
        }
    }

    /// Those that are left, in order.
    pub fn rest<'a>(&'a self, known: &'a BTreeMap<AnswerId, Slot>) -> impl Iterator<Item = AnswerId> + 'a {
        let between = match &self.which {
            Which::Between { next, last } if next <= last => Some(known.range(*next..=*last)),
            _ => None,
        };
        self.listed().chain(between.into_iter().flatten().map(|(id, _)| *id))
    }

    /// Takes the next one, which may be gone already. `None` if none is left.
    pub fn next(&mut self, known: &BTreeMap<AnswerId, Slot>) -> Option<AnswerId> {
        match &mut self.which {
            Which::These(answers) => answers.pop_first(),
            Which::Between { next, last } => {
                let found =
                    known.range(*next..=(*last).max(*next)).next().map(|(id, _)| *id).filter(|id| id <= last)?;
                *next = found + 1;
                Some(found)
            }
        }
    }

    /// Leaves what both cover to a later invalidation, which does the same or more.
    pub fn leave_to(&mut self, later: &Dying) {
        if later.is_soft && !self.is_soft {
            return;
        }
        match (&mut self.which, &later.which) {
            (Which::These(own), Which::These(others)) if others.len() < own.len() => {
                for id in others.iter().looked() {
                    own.remove(id);
                }
            }
            (Which::These(own), Which::These(others)) => {
                looked_at_parts(own.len(), IDS_OF_LOOK);
                own.retain(|id| !others.contains(id));
            }
            (_, Which::Between { .. }) => self.which = Which::These(BTreeSet::new()),
            (Which::Between { .. }, Which::These(_)) => {}
        }
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        matches!(&self.which, Which::These(answers) if answers.is_empty())
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let tree = match &self.which {
            Which::These(answers) => tree_bytes(answers.len(), size_of::<AnswerId>()),
            Which::Between { .. } => 0,
        };
        size_of::<Self>() + tree
    }
}

/// The labels that were invalidated while tickets are out. What a ticket's answer depends on is
/// known only when it is put.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<(Label, Fence)>")]
pub struct Voids(BTreeMap<Label, Fence>);

/// As a list: a label is no text, so it could not be a key in JSON.
impl Serialize for Voids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl From<Vec<(Label, Fence)>> for Voids {
    fn from(listed: Vec<(Label, Fence)>) -> Self {
        Self(listed.into_iter().collect())
    }
}

impl Voids {
    /// Notes invalidated labels: tickets older than `fence` must not bring an answer with one of
    /// them. Errs if that is too much to remember.
    pub fn note(&mut self, labels: &[Label], fence: Fence) -> Result<(), ()> {
        let unknown_till_then = labels.iter().filter(|label| label.kind != LabelKind::Tool);
        for label in unknown_till_then.looked() {
            self.0.insert(label.clone(), fence);
        }
        if self.0.len() > VOIDS_MAX {
            self.0.clear();
            return Err(());
        }
        Ok(())
    }

    /// Whether one of `labels`, or everything by `agent`, was invalidated after
    /// `ticket` was granted.
    pub fn hit(&self, ticket: Fence, labels: &[Label], agent: &[u8]) -> bool {
        let is_hit = |label: &Label| self.0.get(label).is_some_and(|fence| ticket < *fence);
        !self.0.is_empty() && (labels.iter().any(is_hit) || is_hit(&Label::new(LabelKind::Agent, agent)))
    }

    /// The number of labels remembered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        tree_bytes(self.0.len(), size_of::<(Label, Fence)>())
            + self.0.keys().map(|label| label.text.heap_bytes()).sum::<usize>()
    }
}
