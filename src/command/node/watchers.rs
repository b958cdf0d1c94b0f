//! Who watches which keys.

use crate::command::host::Key;
use crate::command::reply::Reply;
use crate::domain::json::Pointer;
use crate::domain::queue::rank::WaiterId;
use crate::domain::KeyId;
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};

/// Somebody who watches.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// The keys, each with the last revision that is known.
    pub(crate) keys: SmallVec<[(KeyId, u64); 1]>,
    /// At most so many events of each key at a time.
    pub(crate) count: usize,
    /// Only what concerns this place, if one was named.
    pub(crate) path: Option<Pointer>,
}

/// All who watch on a node.
#[derive(Debug, Default)]
pub struct Watchers {
    pub(crate) watchers: AHashMap<WaiterId, Watcher>,
    pub(crate) by_key: AHashMap<KeyId, BTreeSet<WaiterId>>,
    /// Keys with news, and then those who stand beside them.
    woken_keys: BTreeSet<KeyId>,
    woken: VecDeque<WaiterId>,
}

impl Watchers {
    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Whether somebody watches `key`.
    pub fn is_watched(&self, key: Key) -> bool {
        !self.is_empty() && self.by_key.contains_key(&key.id())
    }

    /// The keys that are watched.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.by_key.keys()
    }

    /// Those who watch `key`.
    pub fn of(&self, key: &KeyId) -> Vec<WaiterId> {
        self.by_key.get(key).into_iter().flatten().copied().collect()
    }

    /// There is news of `key`.
    pub fn wake(&mut self, key: &KeyId) {
        if !self.is_empty() && self.by_key.contains_key(key) {
            self.woken_keys.insert(key.clone());
        }
    }

    /// Whether somebody has to be looked at.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty() || !self.woken_keys.is_empty()
    }

    /// The next one to be looked at.
    pub fn pop_woken(&mut self) -> Option<WaiterId> {
        while self.woken.is_empty() {
            let key = self.woken_keys.pop_first()?;
            self.woken.extend(self.by_key.get(&key).into_iter().flatten());
        }
        self.woken.pop_front()
    }

    pub(crate) fn insert(&mut self, id: WaiterId, watcher: Watcher) {
        for (key, _) in &watcher.keys {
            self.by_key.entry(key.clone()).or_default().insert(id);
        }
        self.watchers.insert(id, watcher);
    }

    /// Somebody was told nothing, since nothing up to here concerns it: it need not be looked at again.
    pub(crate) fn advance(&mut self, id: WaiterId, reply: &Reply) {
        let (Some(watcher), Reply::Array(looked_at)) = (self.watchers.get_mut(&id), reply) else { return };
        for ((_, since), looked_at) in watcher.keys.iter_mut().zip(looked_at) {
            if let Reply::Array(parts) = looked_at {
                if let Some(Reply::Integer(revision)) = parts.first() {
                    *since = (*since).max(u64::try_from(*revision).unwrap_or(0));
                }
            }
        }
    }

    /// Somebody watches no more.
    pub fn remove(&mut self, id: WaiterId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for (key, _) in watcher.keys {
            if let Some(others) = self.by_key.get_mut(&key) {
                others.remove(&id);
                if others.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}
