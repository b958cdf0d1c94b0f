//! When the primary has to look again: an ordered set of deadlines.
//!
//! A hint says that a key may have something to decide at a time. One that is wrong or stale is harmless: the key is opened and asked.
//! So any doubt (a key was renamed, flushed, swapped, a waiter is gone) is expressed as a hint for now.

use crate::domain::wait::WaiterId;
use crate::domain::{Db, KeyId, Millis};
use ahash::AHashMap;
use std::collections::BTreeSet;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Somebody's wait reaches its time limit.
    Wait(WaiterId),
    /// A key is to be opened and asked, since its time has come.
    Key(KeyId),
    /// A key is to be opened and asked, since something may have happened to it that nobody told us of.
    Changed(KeyId),
}

/// The deadlines of a node.
#[derive(Debug, Default)]
pub struct Schedule {
    waits: BTreeSet<(Millis, WaiterId)>,
    hints: BTreeSet<(Millis, KeyId)>,
    keys: AHashMap<KeyId, Millis>,
}

impl Schedule {
    /// Has `key` looked at when `when` comes; 0 is at once, since something may have happened to it. Of several hints for a key the
    /// earliest counts.
    pub fn look_at(&mut self, key: KeyId, when: Millis) {
        match self.keys.get(&key) {
            Some(known) if *known <= when => return,
            Some(known) => drop(self.hints.remove(&(*known, key.clone()))),
            None => {}
        }
        self.hints.insert((when, key.clone()));
        self.keys.insert(key, when);
    }

    /// Ends the wait of `waiter` when `deadline` comes.
    pub fn limit_wait(&mut self, waiter: WaiterId, deadline: Millis) {
        self.waits.insert((deadline, waiter));
    }

    /// Forgets the time limit of a wait.
    pub fn forget_wait(&mut self, waiter: WaiterId, deadline: Millis) {
        self.waits.remove(&(deadline, waiter));
    }

    /// The earliest time limit of a wait.
    pub fn next_wait(&self) -> Option<Millis> {
        self.waits.first().map(|(when, _)| *when)
    }

    /// The earliest hint for a key.
    pub fn next_key(&self) -> Option<Millis> {
        self.hints.first().map(|(when, _)| *when)
    }

    /// Takes out what is due: waits that end until `waits_until` and keys to be looked at until `keys_until`, the earliest first.
    pub fn pop_due(&mut self, waits_until: Millis, keys_until: Millis) -> Option<Due> {
        let wait = self.next_wait().filter(|when| *when <= waits_until);
        let key = self.next_key().filter(|when| *when <= keys_until);
        if wait.is_some() && key.is_none_or(|key| wait <= Some(key)) {
            return self.waits.pop_first().map(|(_, waiter)| Due::Wait(waiter));
        }
        key?;
        let (when, key) = self.hints.pop_first()?;
        self.keys.remove(&key);
        Some(if when == 0 { Due::Changed(key) } else { Due::Key(key) })
    }

    /// Follows SWAPDB: what was hinted for one database is hinted for the other.
    pub fn swap(&mut self, one: Db, other: Db) {
        let swapped: Vec<_> = self
            .keys
            .iter()
            .filter(|(key, _)| key.db == one || key.db == other)
            .map(|(k, w)| (k.clone(), *w))
            .collect();
        for (key, when) in &swapped {
            self.hints.remove(&(*when, key.clone()));
            self.keys.remove(key);
        }
        for (key, when) in swapped {
            self.look_at(key.swapped(one, other), when);
        }
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.waits.len() + self.hints.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(db: Db, name: &str) -> KeyId {
        KeyId::new(db, name.as_bytes())
    }

    #[test]
    fn the_earliest_hint_of_a_key_counts() {
        let mut schedule = Schedule::default();
        schedule.look_at(key(0, "a"), 50);
        schedule.look_at(key(0, "a"), 80);
        schedule.look_at(key(0, "a"), 20);
        schedule.limit_wait(WaiterId(1), 30);
        assert_eq!(schedule.pop_due(19, 19), None);
        assert_eq!(schedule.pop_due(30, 30), Some(Due::Key(key(0, "a"))));
        assert_eq!(schedule.pop_due(30, 30), Some(Due::Wait(WaiterId(1))));
        assert!(schedule.is_empty());
    }

    #[test]
    fn swapdb_moves_the_hints() {
        let mut schedule = Schedule::default();
        schedule.look_at(key(0, "a"), 50);
        schedule.look_at(key(1, "b"), 60);
        schedule.look_at(key(2, "c"), 70);
        schedule.swap(0, 1);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_due(100, 100)).collect();
        assert_eq!(order, [Due::Key(key(1, "a")), Due::Key(key(0, "b")), Due::Key(key(2, "c"))]);
    }
}
