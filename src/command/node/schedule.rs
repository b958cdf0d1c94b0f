//! When the primary has to look again: an ordered set of deadlines.
//!
//! A hint says that a key may have something to decide at a time. A wrong or stale hint is
//! harmless: the key is opened and asked. So any doubt (a key was renamed, flushed or swapped, a
//! waiter is gone) becomes a hint for now.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Db, KeyId, Millis, DUE_ALREADY};
use ahash::{AHashMap, AHashSet};
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// What has to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A wait reaches its time limit.
    Wait(WaiterId),
    /// A key has to be opened and asked, since its time has come.
    Key(KeyId),
    /// A key has to be opened and asked, since something may have happened to it unnoticed.
    Changed(KeyId),
    /// A client waits for a key: does this node of the cluster still own it?
    Owner(KeyId),
}

/// When a key is looked at. `None` is at once, and comes before every time.
type When = Option<NonZeroU64>;

fn at(time: Millis) -> When {
    NonZeroU64::new(time).or(Some(NonZeroU64::MIN))
}

fn time_of(when: When) -> Millis {
    when.map_or(0, NonZeroU64::get)
}

/// The deadlines of a node.
#[derive(Debug, Default)]
pub struct Schedule {
    waits: BTreeSet<(Millis, WaiterId)>,
    hints: BTreeSet<(When, KeyId)>,
    keys: AHashMap<KeyId, Hint>,
    owners: BTreeSet<(Millis, KeyId)>,
    owned: AHashSet<KeyId>,
}

#[derive(Debug, Clone, Copy)]
struct Hint {
    when: When,
    has_changed: bool,
    /// If nothing happens to the key, it is looked at no sooner than this.
    not_before: When,
}

impl Schedule {
    /// Schedules a look at `key` at once, since something may have happened to it.
    pub fn look_at_once(&mut self, key: KeyId) {
        self.hint(key, None, true);
    }

    /// Schedules a look at `key` for the time `when`. Of several hints for a key, the earliest
    /// counts.
    pub fn look_at(&mut self, key: KeyId, when: Millis) {
        self.hint(key, at(when), false);
    }

    /// Schedules a look at `key` for the time `when`, though something has happened to it already.
    pub fn look_later(&mut self, key: KeyId, when: Millis, has_changed: bool) {
        self.hint(key, at(when), has_changed);
    }

    fn hint(&mut self, key: KeyId, when: When, has_changed: bool) {
        let mut hint = Hint { when, has_changed, not_before: None };
        if let Some(known) = self.keys.get(&key).copied() {
            let when = if has_changed { when } else { when.max(known.not_before) };
            hint = Hint { when: when.min(known.when), has_changed: known.has_changed | has_changed, ..known };
        }
        self.set(key, hint);
    }

    /// What is due in `key` cannot be decided now. The next look is at the time `when`, or earlier
    /// if something happens to the key.
    pub fn postpone(&mut self, key: KeyId, when: Millis) {
        if self.keys.get(&key).is_none_or(|known| !known.has_changed) {
            self.set(key, Hint { when: at(when), has_changed: false, not_before: at(when) });
        }
    }

    fn set(&mut self, key: KeyId, hint: Hint) {
        match self.keys.insert(key.clone(), hint) {
            Some(known) if known.when == hint.when => return,
            Some(known) => drop(self.hints.remove(&(known.when, key.clone()))),
            None => {}
        }
        self.hints.insert((hint.when, key));
    }

    /// Schedules a check that this node still owns the slot of `key`.
    pub fn check_owner(&mut self, key: KeyId, when: Millis) {
        if self.owned.insert(key.clone()) {
            self.owners.insert((when, key));
        }
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

    /// The time of the earliest look at a key; 0 if one is to come at once.
    pub fn next_key(&self) -> Option<Millis> {
        self.hints.first().map(|(when, _)| time_of(*when))
    }

    /// Whether a look at a key is to come at once.
    pub fn has_key_at_once(&self) -> bool {
        self.hints.first().is_some_and(|(when, _)| when.is_none())
    }

    /// The earliest deadline of a key. What is to come at once, or was due from the start, is none.
    pub fn next_deadline(&self) -> Option<Millis> {
        let first = (at(DUE_ALREADY + 1), KeyId::new(0, b""));
        self.hints.range(first..).next().map(|(when, _)| time_of(*when))
    }

    /// The earliest time to check the owner of a key.
    pub fn next_owner(&self) -> Option<Millis> {
        self.owners.first().map(|(when, _)| *when)
    }

    /// Takes out what is due at `now`, the earliest first. Without `with_keys`, only those keys
    /// count that are to be looked at at once.
    pub fn pop_due(&mut self, now: Millis, with_keys: bool) -> Option<Due> {
        if self.next_owner().is_some_and(|when| when <= now) {
            let (_, key) = self.owners.pop_first()?;
            self.owned.remove(&key);
            self.owned.give_back_room();
            return Some(Due::Owner(key));
        }
        let wait = self.next_wait().filter(|when| *when <= now);
        let keys_until = if with_keys { at(now) } else { None };
        let key = self.hints.first().map(|(when, _)| *when).filter(|when| *when <= keys_until);
        if wait.is_some_and(|wait| key.is_none_or(|key| at(wait) <= key)) {
            return self.waits.pop_first().map(|(_, waiter)| Due::Wait(waiter));
        }
        key?;
        let (_, key) = self.hints.pop_first()?;
        let has_changed = self.keys.remove(&key).is_some_and(|hint| hint.has_changed);
        self.keys.give_back_room();
        Some(if has_changed { Due::Changed(key) } else { Due::Key(key) })
    }

    /// Follows SWAPDB: the hints for one database become hints for the other.
    pub fn swap(&mut self, one: Db, other: Db) {
        let swapped: Vec<_> = self
            .keys
            .iter()
            .filter(|(key, _)| key.db == one || key.db == other)
            .map(|(k, w)| (k.clone(), *w))
            .collect();
        for (key, hint) in &swapped {
            self.hints.remove(&(hint.when, key.clone()));
            self.keys.remove(key);
        }
        for (key, hint) in swapped {
            self.hint(key.swapped(one, other), hint.when, hint.has_changed);
        }
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.waits.len() + self.hints.len() + self.owners.len()
    }

    /// Whether there are none.
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
        assert_eq!(schedule.pop_due(19, true), None);
        assert_eq!(schedule.pop_due(30, true), Some(Due::Key(key(0, "a"))));
        assert_eq!(schedule.pop_due(30, true), Some(Due::Wait(WaiterId(1))));
        assert!(schedule.is_empty());
    }

    #[test]
    fn what_has_happened_to_a_key_is_not_forgotten_by_looking_later() {
        let mut schedule = Schedule::default();
        schedule.look_later(key(0, "a"), 50, true);
        schedule.look_at(key(0, "a"), 80);
        schedule.look_at(key(0, "a"), 20);
        schedule.look_at_once(key(0, "b"));
        assert_eq!(schedule.pop_due(20, true), Some(Due::Changed(key(0, "b"))));
        assert_eq!(schedule.pop_due(20, true), Some(Due::Changed(key(0, "a"))));
        assert!(schedule.is_empty());
    }

    #[test]
    fn what_is_put_off_is_looked_at_then_or_when_something_happens() {
        let (mut schedule, put_off) = (Schedule::default(), key(0, "a"));
        schedule.look_at(put_off.clone(), 10);
        schedule.postpone(put_off.clone(), 50);
        schedule.look_at(put_off.clone(), 20);
        assert_eq!(schedule.pop_due(49, true), None);
        assert_eq!(schedule.pop_due(50, true), Some(Due::Key(put_off.clone())));
        assert!(schedule.is_empty());
        schedule.postpone(put_off.clone(), 50);
        schedule.look_at_once(put_off.clone());
        assert_eq!(schedule.pop_due(1, true), Some(Due::Changed(put_off.clone())));
        schedule.look_at_once(put_off.clone());
        schedule.postpone(put_off.clone(), 50);
        assert_eq!(schedule.pop_due(1, true), Some(Due::Changed(put_off.clone())), "what has happened is not put off");
        assert!(schedule.is_empty());
        schedule.look_at(put_off.clone(), 20);
        assert_eq!(schedule.pop_due(20, true), Some(Due::Key(put_off)), "it was put off once");
    }

    #[test]
    fn what_is_to_be_looked_at_at_once_is_no_deadline() {
        let mut schedule = Schedule::default();
        schedule.look_at_once(key(0, "a"));
        schedule.look_at(key(0, "b"), DUE_ALREADY);
        assert_eq!(schedule.next_deadline(), None);
        schedule.look_at(key(0, "c"), 70);
        schedule.look_at(key(0, "d"), 50);
        assert_eq!((schedule.next_deadline(), schedule.next_key()), (Some(50), Some(0)));
    }

    #[test]
    fn an_owner_is_made_sure_of_once_and_on_replicas_too() {
        let mut schedule = Schedule::default();
        schedule.check_owner(key(0, "a"), 50);
        schedule.check_owner(key(0, "a"), 60);
        assert_eq!(schedule.pop_due(49, false), None);
        assert_eq!(schedule.pop_due(50, false), Some(Due::Owner(key(0, "a"))));
        assert!(schedule.is_empty());
    }

    #[test]
    fn swapdb_moves_the_hints() {
        let mut schedule = Schedule::default();
        schedule.look_at(key(0, "a"), 50);
        schedule.look_at(key(1, "b"), 60);
        schedule.look_at(key(2, "c"), 70);
        schedule.swap(0, 1);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_due(100, true)).collect();
        assert_eq!(order, [Due::Key(key(1, "a")), Due::Key(key(0, "b")), Due::Key(key(2, "c"))]);
    }
}
