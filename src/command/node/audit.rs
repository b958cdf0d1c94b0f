//! The audit records that this node makes, until they are handed over to the thread that writes
//! them. [`crate::observe::audit`] says what the trail is.

use super::recent::Recent;
use crate::domain::{Fence, KeyId};
use crate::observe::audit::{Class, Ended, Record, Subject};
use std::sync::Arc;

/// Says what a command was about, from its arguments. It is done by the thread of the trail.
pub type Described = Arc<dyn Fn() -> Subject + Send + Sync>;

/// A record on its way to the trail.
pub struct Handed {
    /// The record; what it is about may still be missing.
    pub record: Record,
    /// Says what it is about.
    pub described: Option<Described>,
}

impl Handed {
    /// The whole record.
    pub fn finish(self: Box<Self>) -> Record {
        let subject = self.described.map_or(self.record.subject, |described| described());
        Record { subject, ..self.record }
    }
}

impl std::fmt::Debug for Handed {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.record.fmt(to)
    }
}

/// The command in progress.
#[derive(Debug)]
pub struct Open {
    /// When it began, monotonic ns.
    pub began_ns: u64,
    /// Whether its changes are recorded.
    pub notes_changes: bool,
    /// Where its records begin.
    pub from: usize,
}

/// The change of a key.
#[derive(Debug, Default)]
pub struct Changed {
    /// The key.
    pub key: KeyId,
    /// Its revision before.
    pub before: Option<u64>,
    /// Its revision after.
    pub after: Option<u64>,
    /// The event that is notified.
    pub event: Option<&'static str>,
    /// The agent that got or lost something.
    pub agent: Option<Box<[u8]>>,
}

/// The records of a node that are not handed over yet.
#[derive(Debug)]
pub struct Audit {
    /// The number of the next record.
    pub next: u64,
    /// Those that are made.
    pub records: Vec<Box<Handed>>,
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
    /// A monotonic clock, ns.
    pub clock: fn() -> u64,
    /// The first record of what goes on now.
    first: Option<u64>,
    /// The records of the ends of incarnations.
    ends: Recent<u64>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            next: 1,
            records: Vec::new(),
            open: None,
            follows: false,
            is_full: false,
            drops: false,
            dropped: 0,
            dropped_total: 0,
            clock: || 0,
            first: None,
            ends: Recent::default(),
        }
    }
}

impl Audit {
    /// Something new begins: a command, or a piece of the scheduler's work.
    #[inline]
    pub fn begin(&mut self, open: Option<Open>) {
        (self.open, self.first) = (open, None);
    }

    /// Whether what happens now is what the command in progress is for.
    pub fn is_own(&self) -> bool {
        self.open.is_some() && !self.follows
    }

    /// A key has changed. What a command does itself is completed at its end.
    pub fn changed(&mut self, at: u64, changed: Changed) {
        let is_own = self.is_own();
        let from = self.open.as_ref().map_or(self.records.len(), |open| open.from);
        let is_same = |record: &Record| {
            record.class == Class::Write
                && record.db == changed.key.db
                && record.key.as_deref() == Some(&changed.key.name[..])
        };
        if is_own {
            if let Some(known) = self.records[from..].iter_mut().find(|known| is_same(&known.record)) {
                known.record.after = changed.after;
                return;
            }
        }
        let class = if is_own { Class::Write } else { Class::Reaction };
        let event = changed.event.unwrap_or("changed");
        let record = Record::new(at, class, event, changed.key.db, Some(changed.key.name));
        let subject = Subject { agent: changed.agent, ..Subject::default() };
        self.push(Record { subject, before: changed.before, after: changed.after, ..record });
    }

    /// Adds a record, and gives it its number and its cause. The first record of what goes on is
    /// the cause of the others.
    pub fn push(&mut self, record: Record) {
        if self.drops {
            self.dropped += 1;
            self.dropped_total += 1;
            return;
        }
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let note = Record::new(record.at, Class::Admin, "(dropped)", record.db, None);
            self.add(Record { ended: Ended::Integer(dropped.min(i64::MAX as u64) as i64), ..note });
        }
        let cause = record.cause.or(self.first).filter(|_| record.class == Class::Reaction);
        let n = self.add(Record { cause, ..record });
        self.first.get_or_insert(n);
    }

    fn add(&mut self, record: Record) -> u64 {
        let n = self.next;
        self.next += 1;
        self.records.push(Box::new(Handed { record: Record { n, ..record }, described: None }));
        n
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

    fn changed(name: &str, after: u64) -> Changed {
        Changed { key: KeyId::new(0, name.as_bytes()), before: None, after: Some(after), event: None, agent: None }
    }

    fn seen(audit: &Audit) -> Vec<(u64, Class, Option<u64>, Option<u64>)> {
        let record = |made: &Record| (made.n, made.class, made.after, made.cause);
        audit.records.iter().map(|handed| record(&handed.record)).collect()
    }

    fn open(audit: &Audit) -> Option<Open> {
        Some(Open { began_ns: 0, notes_changes: true, from: audit.records.len() })
    }

    #[test]
    fn each_key_has_one_record_and_what_follows_names_its_cause() {
        let mut audit = Audit::default();
        audit.begin(open(&audit));
        audit.changed(1, changed("a", 1));
        audit.changed(1, changed("a", 2));
        audit.follows = true;
        audit.changed(1, changed("a", 3));
        audit.changed(1, changed("b", 1));
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
        audit.changed(1, changed("registry", 1));
        audit.gives_back(77);
        audit.changed(1, changed("lock", 1));
        audit.begin(None);
        audit.gives_back(77);
        audit.changed(1, changed("later", 1));
        let causes: Vec<_> = seen(&audit).into_iter().map(|(.., cause)| cause).collect();
        assert_eq!(causes, [None, Some(1), Some(1)]);
    }

    #[test]
    fn what_was_dropped_is_a_record_of_its_own() {
        let mut audit = Audit { drops: true, ..Audit::default() };
        audit.changed(1, changed("a", 1));
        audit.changed(1, changed("b", 1));
        audit.drops = false;
        audit.changed(1, changed("c", 1));
        let first = &audit.records[0].record;
        assert_eq!((&*first.command, first.ended.text()), ("(dropped)", "integer 2".into()));
        assert_eq!((audit.records.len(), audit.dropped, audit.dropped_total), (2, 0, 2));
    }
}
