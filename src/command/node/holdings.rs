//! In which keys agents of registries hold something, and how much.
//!
//! These are hints. A stale one is harmless: the key is opened and asked.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::quota::Quota;
use crate::domain::{AgentBinding, Bytes, Db, Fence, KeyId, Millis};
use ahash::AHashMap;
use std::collections::{BTreeMap, BTreeSet};

/// How many changed keys are kept until the scheduler asks them. What moves in a longer
/// transaction is counted behind it.
const CHANGED_MAX: usize = 1_000;

/// What an agent holds in one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// The incarnation that holds it.
    epoch: Fence,
    /// How much it is of what is counted.
    amount: Option<(Quota, u64)>,
}

/// What an agent of a registry holds.
#[derive(Debug, Default)]
struct Holdings {
    keys: BTreeMap<KeyId, Held>,
    /// How much that is together, by [`Quota`].
    sums: [u64; Quota::COUNT],
    /// The last of the [doubts](HoldingsIndex::doubt) after which all these keys were asked.
    asked_after: u64,
}

impl Holdings {
    fn insert(&mut self, key: KeyId, held: Held) -> Option<Held> {
        let before = self.keys.insert(key, held);
        self.subtract(before);
        if let Some((quota, amount)) = held.amount {
            self.sums[quota as usize] += amount;
        }
        before
    }

    fn remove(&mut self, key: &KeyId) {
        let before = self.keys.remove(key);
        self.subtract(before);
    }

    fn subtract(&mut self, held: Option<Held>) {
        if let Some((quota, amount)) = held.and_then(|held| held.amount) {
            self.sums[quota as usize] -= amount;
        }
    }
}

/// In which keys agents of registries hold something. It is made from the
/// [bindings](crate::domain::entity::bindings) in these keys, so it is the same after a restart and
/// on a replica.
#[derive(Debug, Default)]
pub struct HoldingsIndex {
    keys: AHashMap<KeyId, BTreeMap<Bytes, Holdings>>,
    /// Registries of which it has to be checked whether these agents are still there.
    rechecks: BTreeMap<KeyId, Recheck>,
    /// How often something happened to a key that this index does not know of yet.
    doubts: u64,
    /// Keys to which that happened, and which may hold what was elsewhere before.
    changed: BTreeSet<KeyId>,
}

/// What is left to check in a registry.
#[derive(Debug, Clone, Default)]
pub struct Recheck {
    /// Agents up to this one have been checked.
    pub after: Bytes,
    /// Since when there is no such key, unix ms; `None` if there is one, or if nobody has looked.
    pub missing_since: Option<Millis>,
    /// When to check those agents again whose holdings could not be given back yet.
    pub again_at: Option<Millis>,
}

impl HoldingsIndex {
    /// Whether no agent holds anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether an agent of a registry holds something.
    pub fn has(&self, registry: &KeyId) -> bool {
        self.keys.contains_key(registry)
    }

    /// An agent holds something in `key`, of which so much is counted. True if it or its
    /// incarnation did not do so before.
    pub fn hold(&mut self, binding: &AgentBinding, key: KeyId, amount: Option<(Quota, u64)>) -> bool {
        let registry = KeyId::new(key.db, &binding.registry);
        let holdings = self.keys.entry(registry).or_default().entry(binding.agent.clone()).or_default();
        let before = holdings.insert(key, Held { epoch: binding.epoch, amount });
        before.is_none_or(|before| before.epoch != binding.epoch)
    }

    /// An agent holds nothing in `key` any more.
    pub fn let_go(&mut self, binding: &AgentBinding, key: &KeyId) {
        self.forget(&KeyId::new(key.db, &binding.registry), &binding.agent, key);
    }

    /// The same, where all that is known is that the entry is stale.
    pub fn forget(&mut self, registry: &KeyId, agent: &[u8], key: &KeyId) {
        let Some(agents) = self.keys.get_mut(registry) else { return };
        let Some(holdings) = agents.get_mut(agent) else { return };
        holdings.remove(key);
        if holdings.keys.is_empty() {
            agents.remove(agent);
        }
        if agents.is_empty() {
            self.keys.remove(registry);
            self.keys.give_back_room();
        }
    }

    fn of(&self, registry: &KeyId, agent: &[u8]) -> Option<&Holdings> {
        self.keys.get(registry)?.get(agent)
    }

    /// The keys in which an agent may hold something, in order.
    pub fn keys_of(&self, registry: &KeyId, agent: &[u8]) -> impl ExactSizeIterator<Item = &KeyId> {
        static NONE: BTreeMap<KeyId, Held> = BTreeMap::new();
        self.of(registry, agent).map_or(&NONE, |holdings| &holdings.keys).keys()
    }

    /// The next keys in which an agent may hold something, at most `max`.
    pub fn keys_after(&self, registry: &KeyId, agent: &[u8], last: Option<&KeyId>, max: usize) -> Vec<KeyId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(Unbounded, Excluded);
        let keys = self.of(registry, agent).into_iter().flat_map(|holdings| holdings.keys.range((from, Unbounded)));
        keys.take(max).map(|(key, _)| key.clone()).collect()
    }

    /// How much an agent holds in all keys of what `quota` counts.
    pub fn sum(&self, registry: &KeyId, agent: &[u8], quota: Quota) -> u64 {
        self.of(registry, agent).map_or(0, |holdings| holdings.sums[quota as usize])
    }

    /// Something happened to a key, and the scheduler will find out what. Until then an entry may
    /// be stale.
    pub fn doubt(&mut self) {
        self.doubts += 1;
    }

    /// The same, and what this key holds now is not known yet.
    pub fn doubt_key(&mut self, key: &KeyId) {
        self.doubt();
        if self.changed.len() < CHANGED_MAX && !self.keys.is_empty() {
            self.changed.insert(key.clone());
        }
    }

    /// A key was asked.
    pub fn key_asked(&mut self, key: &KeyId) {
        self.changed.remove(key);
    }

    /// Takes the keys that were not asked yet.
    pub fn take_changed(&mut self) -> BTreeSet<KeyId> {
        std::mem::take(&mut self.changed)
    }

    /// Whether no entry of an agent can be stale: all its keys were asked after the last doubt.
    pub fn is_sure(&self, registry: &KeyId, agent: &[u8]) -> bool {
        self.of(registry, agent).is_none_or(|holdings| holdings.asked_after == self.doubts)
    }

    /// All keys of an agent were asked.
    pub fn asked(&mut self, registry: &KeyId, agent: &[u8]) {
        let holdings = self.keys.get_mut(registry).and_then(|agents| agents.get_mut(agent));
        holdings.into_iter().for_each(|holdings| holdings.asked_after = self.doubts);
    }

    /// The first `max` agents after `after` that hold something, in order.
    pub fn agents_after(&self, registry: &KeyId, after: &Bytes, max: usize) -> Vec<Bytes> {
        use std::ops::Bound::{Excluded, Unbounded};
        let agents = self.keys.get(registry).into_iter();
        agents
            .flat_map(|agents| agents.range((Excluded(after.clone()), Unbounded)))
            .take(max)
            .map(|(agent, _)| agent.clone())
            .collect()
    }

    /// Something may have happened to the registry: all its agents have to be checked.
    pub fn recheck(&mut self, registry: &KeyId) {
        if self.has(registry) {
            self.rechecks.entry(registry.clone()).or_default().after = Bytes::EMPTY;
        }
    }

    /// The same for all registries, which are returned.
    pub fn recheck_all(&mut self) -> Vec<KeyId> {
        let registries: Vec<KeyId> = self.keys.keys().cloned().collect();
        registries.iter().for_each(|registry| self.recheck(registry));
        registries
    }

    /// What is left to check in a registry. It counts as done.
    pub fn take_recheck(&mut self, registry: &KeyId) -> Option<Recheck> {
        self.rechecks.remove(registry)
    }

    /// Puts back what is left to check.
    pub fn go_on(&mut self, registry: &KeyId, rest: Recheck) {
        let known = self.rechecks.entry(registry.clone()).or_insert_with(|| rest.clone());
        *known = Recheck { after: std::cmp::min(&known.after, &rest.after).clone(), ..rest };
    }

    /// Forgets the keys that are gone.
    pub fn retain(&mut self, keep: impl Fn(&KeyId) -> bool) {
        for agents in self.keys.values_mut() {
            for holdings in agents.values_mut() {
                let gone: Vec<KeyId> = holdings.keys.keys().filter(|key| !keep(key)).cloned().collect();
                gone.iter().for_each(|key| holdings.remove(key));
            }
            agents.retain(|_, holdings| !holdings.keys.is_empty());
        }
        self.keys.retain(|_, agents| !agents.is_empty());
        self.keys.give_back_room();
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        for (registry, mut agents) in std::mem::take(&mut self.keys) {
            for holdings in agents.values_mut() {
                let keys = std::mem::take(&mut holdings.keys);
                holdings.keys = keys.into_iter().map(|(key, held)| (key.swapped(one, other), held)).collect();
            }
            self.keys.insert(registry.swapped(one, other), agents);
        }
        self.rechecks =
            std::mem::take(&mut self.rechecks).into_iter().map(|(key, at)| (key.swapped(one, other), at)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(agent: &str, epoch: Fence) -> AgentBinding {
        AgentBinding { registry: "r".into(), agent: agent.into(), epoch }
    }

    fn key(db: Db, name: &str) -> KeyId {
        KeyId::new(db, name.as_bytes())
    }

    #[test]
    fn the_sum_follows_what_is_held_in_each_key() {
        let (mut index, r) = (HoldingsIndex::default(), key(0, "r"));
        let locks = |amount| Some((Quota::Locks, amount));
        assert!(index.hold(&binding("ada", 1), key(0, "a"), locks(1)));
        assert!(index.hold(&binding("ada", 1), key(0, "b"), locks(2)));
        assert!(index.hold(&binding("ada", 1), key(0, "mail"), Some((Quota::Messages, 7))));
        assert!(index.hold(&binding("ada", 1), key(0, "context"), None));
        assert!(!index.hold(&binding("ada", 1), key(0, "a"), locks(5)), "no news, but another amount");
        assert!(index.hold(&binding("ada", 2), key(0, "a"), locks(5)), "another incarnation");
        index.hold(&binding("bob", 1), key(0, "a"), locks(9));
        assert_eq!((index.sum(&r, b"ada", Quota::Locks), index.sum(&r, b"ada", Quota::Messages)), (7, 7));
        index.let_go(&binding("ada", 2), &key(0, "b"));
        index.forget(&r, b"ada", &key(0, "unknown"));
        assert_eq!(index.sum(&r, b"ada", Quota::Locks), 5);
        index.swap(0, 1);
        assert_eq!((index.sum(&r, b"ada", Quota::Locks), index.sum(&key(1, "r"), b"ada", Quota::Locks)), (0, 5));
        index.retain(|known| *known != key(1, "a"));
        assert_eq!(index.sum(&key(1, "r"), b"ada", Quota::Locks), 0);
        assert_eq!(index.sum(&key(1, "r"), b"ada", Quota::Messages), 7);
        assert_eq!(index.sum(&key(1, "r"), b"bob", Quota::Locks), 0);
    }

    #[test]
    fn entries_are_sure_when_their_keys_were_asked_after_the_last_doubt() {
        let (mut index, r) = (HoldingsIndex::default(), key(0, "r"));
        assert!(index.is_sure(&r, b"ada"), "there is nothing to ask");
        index.doubt();
        index.hold(&binding("ada", 1), key(0, "a"), None);
        assert!(!index.is_sure(&r, b"ada"));
        index.asked(&r, b"ada");
        assert!(index.is_sure(&r, b"ada"));
        index.doubt();
        assert!(!index.is_sure(&r, b"ada"));
    }
}
