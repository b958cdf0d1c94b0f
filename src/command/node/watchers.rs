//! The clients that watch keys.

use crate::command::host::Key;
use crate::command::reply::Reply;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::event_log::Log;
use crate::domain::json::Pointer;
use crate::domain::queue::rank::WaiterId;
use crate::domain::KeyId;
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};

/// A client that watches.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// The keys, each with the last revision that the client has seen.
    pub(crate) keys: SmallVec<[(KeyId, u64); 1]>,
    /// The most events of each key in one reply.
    pub(crate) count: usize,
    /// If set, only events that concern this place count.
    pub(crate) path: Option<Pointer>,
}

/// All watchers of a node.
#[derive(Debug, Default)]
pub struct Watchers {
    pub(crate) watchers: AHashMap<WaiterId, Watcher>,
    pub(crate) by_key: AHashMap<KeyId, BTreeSet<WaiterId>>,
    /// Keys with news, and then the watchers that have to hear of it.
    woken_keys: BTreeSet<KeyId>,
    woken: VecDeque<WaiterId>,
    /// The logs of keys that have ended and of which they are not told yet, each with the last
    /// watcher that was.
    last_logs: AHashMap<KeyId, (Box<Log>, Option<WaiterId>)>,
}

impl Watchers {
    /// Whether no client watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Whether a client watches `key`.
    pub fn is_watched(&self, key: Key) -> bool {
        !self.is_empty() && self.by_key.contains_key(&key.id())
    }

    /// The keys that are watched.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.by_key.keys()
    }

    /// The watchers of `key`.
    pub fn of(&self, key: &KeyId) -> Vec<WaiterId> {
        self.by_key.get(key).into_iter().flatten().copied().collect()
    }

    /// There is news of `key`.
    pub fn wake(&mut self, key: &KeyId) {
        if !self.is_empty() && self.by_key.contains_key(key) {
            self.woken_keys.insert(key.clone());
        }
    }

    /// A watcher has to be looked at once more.
    pub fn look_again(&mut self, id: WaiterId) {
        self.woken.push_back(id);
    }

    /// Whether a watcher has to be looked at.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty() || !self.woken_keys.is_empty()
    }

    /// The next watcher to look at.
    pub fn pop_woken(&mut self) -> Option<WaiterId> {
        while self.woken.is_empty() {
            let key = self.woken_keys.pop_first()?;
            self.woken.extend(self.by_key.get(&key).into_iter().flatten());
        }
        let next = self.woken.pop_front();
        self.woken.give_back_room();
        next
    }

    /// Keeps the log of a key that has ended until its watchers are told. Of two lives that end
    /// before that, the first counts. Returns whether there are watchers.
    pub fn keep_log(&mut self, key: &KeyId, log: Box<Log>) -> bool {
        let is_watched = self.by_key.contains_key(key);
        if is_watched {
            self.last_logs.entry(key.clone()).or_insert((log, None));
        }
        is_watched
    }

    /// The log of a key that has ended, if its watchers are not told yet.
    pub fn last_log(&self, key: &KeyId) -> Option<&Log> {
        self.last_logs.get(key).map(|(log, _)| &**log)
    }

    /// The watchers of a key that has ended that are not told yet, in their order.
    pub fn not_told(&self, key: &KeyId) -> Vec<WaiterId> {
        let last = self.last_logs.get(key).and_then(|(_, last)| *last);
        self.of(key).into_iter().filter(|id| last.is_none_or(|last| *id > last)).collect()
    }

    /// A watcher was told that a key has ended, and so were those before it.
    pub fn told(&mut self, key: &KeyId, id: WaiterId) {
        self.last_logs.get_mut(key).into_iter().for_each(|(_, last)| *last = Some(id));
    }

    /// Its watchers are told that a key has ended.
    pub fn drop_log(&mut self, key: &KeyId) {
        self.last_logs.remove(key);
        self.last_logs.give_back_room();
    }

    pub(crate) fn insert(&mut self, id: WaiterId, watcher: Watcher) {
        for (key, _) in &watcher.keys {
            self.by_key.entry(key.clone()).or_default().insert(id);
        }
        self.watchers.insert(id, watcher);
    }

    /// Nothing up to the revisions in `reply` concerns this watcher, so it need not look at them
    /// again.
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

    /// Removes a watcher.
    pub fn remove(&mut self, id: WaiterId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        self.watchers.give_back_room();
        for (key, _) in watcher.keys {
            if let Some(others) = self.by_key.get_mut(&key) {
                others.remove(&id);
                if others.is_empty() {
                    self.by_key.remove(&key);
                    self.by_key.give_back_room();
                }
            }
        }
    }
}
