//! Which keys are tied to which connections.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::{Connection, Db, KeyId};
use ahash::AHashMap;
use std::collections::BTreeSet;

/// Which keys are tied to which connections.
#[derive(Debug, Default)]
pub struct ConnectionIndex(AHashMap<Connection, BTreeSet<KeyId>>);

impl ConnectionIndex {
    /// `key` has to hear of the end of `connection`.
    pub fn tie(&mut self, connection: Connection, key: KeyId) {
        self.0.entry(connection).or_default().insert(key);
    }

    /// `key` need not hear of the end of `connection` any more.
    pub fn untie(&mut self, connection: Connection, key: &KeyId) {
        if let Some(keys) = self.0.get_mut(&connection) {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&connection);
                self.0.give_back_room();
            }
        }
    }

    /// Takes out one of the keys tied to `connection`, in order.
    pub fn take_one(&mut self, connection: Connection) -> Option<KeyId> {
        let keys = self.0.get_mut(&connection)?;
        let key = keys.pop_first();
        if keys.is_empty() {
            self.0.remove(&connection);
            self.0.give_back_room();
        }
        key
    }

    /// Keeps the ties of these keys only.
    pub fn retain(&mut self, keep: impl Fn(&KeyId) -> bool) {
        self.0.values_mut().for_each(|keys| keys.retain(&keep));
        self.0.retain(|_, keys| !keys.is_empty());
        self.0.give_back_room();
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        for keys in self.0.values_mut() {
            *keys = std::mem::take(keys).into_iter().map(|key| key.swapped(one, other)).collect();
        }
    }

    /// Whether a key is tied to `connection`.
    pub fn has(&self, connection: Connection) -> bool {
        !self.0.is_empty() && self.0.contains_key(&connection)
    }

    /// The connections of other processes than the one that started at `boot`, in order.
    pub fn foreign(&self, boot: u64) -> Vec<Connection> {
        let mut foreign: Vec<_> = self.0.keys().filter(|connection| connection.boot != boot).copied().collect();
        foreign.sort();
        foreign
    }
}
