//! The audit records that this node makes, until they are handed over to the thread that writes
//! them. [`crate::observe::audit`] says what the trail is.

use super::recent::Recent;
use crate::domain::{Db, Fence};
use crate::observe::audit::batch::{Batch, Draft, Span};
use crate::observe::audit::{Class, Ended};

/// The command in progress.
#[derive(Debug)]
pub struct Open {
    /// Whether its changes are recorded.
    pub notes_changes: bool,
    /// Whether its arguments may say who acts; nobody else is meant.
    pub names_agent: bool,
    /// The agent for which it acts, if they do not.
    pub agent: Option<Span>,
    /// Where its records begin.
    pub from: usize,
}

/// The change of a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changed {
    /// Its revision before.
    pub before: Option<u64>,
    /// Its revision after.
    pub after: Option<u64>,
    /// The event that is notified.
    pub event: Option<&'static str>,
    /// The agent that got or lost something.
    pub agent: Option<Span>,
    /// What it was about.
    pub object: Option<Span>,
}

/// The records of a node that are not handed over yet.
#[derive(Debug)]
pub struct Audit {
    /// The number of the next record.
    pub next: u64,
    /// Those that are made.
    pub batch: Batch,
    /// The command in progress.
    pub open: Option<Open>,
    /// Whether what happens now follows from something else.
    pub follows: bool,
    /// Whether the thread can take no more.
    pub is_full: bool,
    /// Whether records are dropped for that reason.
    pub drops: bool,
    /// How many records were dropped since that was recorded last.
    pub dropped: u64,
    /// How many records were dropped.
    pub dropped_total: u64,
    /// The first record of what goes on now.
    first: Option<u64>,
    /// The records of the ends of incarnations.
    ends: Recent<u64>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            next: 1,
            batch: Batch::default(),
            open: None,
            follows: false,
            is_full: false,
            drops: false,
            dropped: 0,
            dropped_total: 0,
            first: None,
            ends: Recent::default(),
        }
    }
}

impl Audit {
    /// Something new begins: a command, or a piece of the scheduler's work.
    #[inline]
    pub fn begin(&mut self, open: Option<Open>) {
        if self.batch.is_empty() && self.batch.bytes() > 0 {
            // Texts for records that were not made in the end.
            self.batch.clear();
        }
        (self.open, self.first, self.follows) = (open, None, false);
    }

    /// Whether what happens now is what the command in progress is for.
    pub fn is_own(&self) -> bool {
        self.open.is_some() && !self.follows
    }

    /// A key has changed. What a command does itself is completed at its end.
    pub fn changed(&mut self, at: u64, db: Db, key: &[u8], changed: Changed) {
        if self.is_dropped() {
            return;
        }
        let is_own = self.is_own();
        if is_own {
            if let Some(known) = self.own(db, key) {
                known.after = changed.after;
                known.object = known.object.or(changed.object);
                return;
            }
        }
        let class = if is_own { Class::Write } else { Class::Reaction };
        let mut draft = self.draft(at, class, changed.event.unwrap_or("changed"), db, Some(key));
        (draft.before, draft.after) = (changed.before, changed.after);
        (draft.agent, draft.object) = (changed.agent, changed.object);
        self.push(draft);
    }

    /// The record of a key that the command in progress has changed.
    fn own(&mut self, db: Db, key: &[u8]) -> Option<&mut Draft> {
        let from = self.open.as_ref()?.from;
        let is_same = |draft: &Draft| {
            draft.class == Class::Write && draft.db == db && draft.key.is_some_and(|span| self.batch.is(span, key))
        };
        let at = self.batch.drafts[from..].iter().position(is_same)?;
        self.batch.drafts.get_mut(from + at)
    }

    /// A record of which no more is known.
    pub fn draft(&mut self, at: u64, class: Class, command: &'static str, db: Db, key: Option<&[u8]>) -> Draft {
        let key = key.map(|key| self.batch.keep(key));
        Draft::new(at, class, command, db, key)
    }

    /// Whether a record that is to be made now is dropped. Then it is counted.
    pub fn is_dropped(&mut self) -> bool {
        self.dropped += u64::from(self.drops);
        self.dropped_total += u64::from(self.drops);
        self.drops
    }

    /// Adds a record, and gives it its number and its cause. The first record of what goes on is
    /// the cause of the others.
    pub fn push(&mut self, mut draft: Draft) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let note = Draft::new(draft.at, Class::Admin, "(dropped)", draft.db, None);
            self.add(Draft { ended: Ended::Counted("integer", dropped.min(i64::MAX as u64) as i64), ..note });
        }
        if draft.class == Class::Reaction {
            draft.cause = draft.cause.or(self.first);
        }
        self.first.get_or_insert(self.next);
        self.add(draft);
    }

    fn add(&mut self, mut draft: Draft) {
        draft.n = self.next;
        self.next += 1;
        self.batch.drafts.push(draft);
    }

    /// Whether the records may be handed over: the command in progress has none yet.
    pub fn is_complete(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.from == self.batch.len())
    }

    /// Takes the records, for `empty`.
    pub fn take(&mut self, empty: Batch) -> Batch {
        debug_assert!(self.is_complete(), "the records of a command in progress are not complete");
        self.open.iter_mut().for_each(|open| open.from = 0);
        std::mem::replace(&mut self.batch, empty)
    }

    /// What an incarnation held is given back: that follows from what ended it, also in later
    /// rounds.
    pub fn gives_back(&mut self, epoch: Fence) {
        match (self.ends.get(epoch).copied(), self.first) {
            (Some(end), _) => self.first = Some(end),
            (None, Some(first)) => self.ends.insert(epoch, first),
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(audit: &mut Audit, key: &str, after: u64) {
        audit.changed(1, 0, key.as_bytes(), Changed { after: Some(after), ..Changed::default() });
    }

    fn seen(audit: &Audit) -> Vec<(u64, Class, Option<u64>, Option<u64>)> {
        audit.batch.drafts.iter().map(|made| (made.n, made.class, made.after, made.cause)).collect()
    }

    fn open(audit: &Audit) -> Option<Open> {
        Some(Open { agent: None, notes_changes: true, names_agent: true, from: audit.batch.len() })
    }

    #[test]
    fn each_key_has_one_record_and_what_follows_names_its_cause() {
        let mut audit = Audit::default();
        audit.begin(open(&audit));
        change(&mut audit, "a", 1);
        change(&mut audit, "a", 2);
        audit.follows = true;
        change(&mut audit, "a", 3);
        change(&mut audit, "b", 1);
        assert_eq!(
            seen(&audit),
            [
                (1, Class::Write, Some(2), None),
                (2, Class::Reaction, Some(3), Some(1)),
                (3, Class::Reaction, Some(1), Some(1))
            ]
        );
    }

    #[test]
    fn what_time_brings_has_no_cause_but_what_follows_from_it() {
        let mut audit = Audit::default();
        audit.begin(None);
        change(&mut audit, "registry", 1);
        audit.gives_back(77);
        change(&mut audit, "lock", 1);
        audit.begin(None);
        audit.gives_back(77);
        change(&mut audit, "later", 1);
        let causes: Vec<_> = seen(&audit).into_iter().map(|(.., cause)| cause).collect();
        assert_eq!(causes, [None, Some(1), Some(1)]);
    }

    #[test]
    fn texts_of_records_that_were_not_made_do_not_pile_up() {
        let mut audit = Audit::default();
        for _ in 0..3 {
            audit.begin(open(&audit));
            audit.batch.keep(b"ada");
            assert_eq!(audit.batch.bytes(), 3);
        }
        change(&mut audit, "a", 1);
        audit.begin(open(&audit));
        assert_eq!((audit.batch.len(), audit.batch.bytes()), (1, 4), "those of a record stay");
    }

    #[test]
    fn what_was_dropped_is_a_record_of_its_own() {
        let mut audit = Audit { drops: true, ..Audit::default() };
        change(&mut audit, "a", 1);
        change(&mut audit, "b", 1);
        audit.drops = false;
        change(&mut audit, "c", 1);
        let first = &audit.batch.drafts[0];
        assert_eq!((first.command, first.ended.to_string()), ("(dropped)", "integer 2".to_string()));
        assert_eq!((audit.batch.len(), audit.dropped, audit.dropped_total), (2, 0, 2));
        assert_eq!(audit.batch.bytes(), 1, "what is dropped leaves nothing");
    }
}
