//! In which keys agents of registries hold something.
//!
//! These are hints. A stale one is harmless: the key is opened and asked.

use crate::domain::algorithm::room::GiveBack;
use crate::domain::{AgentBinding, Bytes, Db, Fence, KeyId, Millis};
use ahash::AHashMap;
use std::collections::BTreeMap;

/// The keys in which an agent holds something, each with the epoch of the incarnation that holds
/// it.
type HeldKeys = BTreeMap<KeyId, Fence>;

/// In which keys agents of registries hold something. It is made from the
/// [bindings](crate::domain::entity::bindings) in these keys, so it is the same after a restart and
/// on a replica.
#[derive(Debug, Default)]
pub struct HoldingsIndex {
    keys: AHashMap<KeyId, BTreeMap<Bytes, HeldKeys>>,
    /// Registries of which it has to be checked whether these agents are still there.
    rechecks: BTreeMap<KeyId, Recheck>,
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

    /// An agent holds something in `key`. True if that is news.
    pub fn hold(&mut self, binding: &AgentBinding, key: KeyId) -> bool {
        let registry = KeyId::new(key.db, &binding.registry);
        let held = self.keys.entry(registry).or_default().entry(binding.agent.clone()).or_default();
        held.insert(key, binding.epoch) != Some(binding.epoch)
    }

    /// An agent holds nothing in `key` any more.
    pub fn let_go(&mut self, binding: &AgentBinding, key: &KeyId) {
        self.forget(&KeyId::new(key.db, &binding.registry), &binding.agent, key);
    }

    /// The same, where all that is known is that the entry is stale.
    pub fn forget(&mut self, registry: &KeyId, agent: &[u8], key: &KeyId) {
        let Some(agents) = self.keys.get_mut(registry) else { return };
        let Some(keys) = agents.get_mut(agent) else { return };
        keys.remove(key);
        if keys.is_empty() {
            agents.remove(agent);
        }
        if agents.is_empty() {
            self.keys.remove(registry);
            self.keys.give_back_room();
        }
    }

    /// The keys in which an agent may hold something, in order.
    pub fn keys_of(&self, registry: &KeyId, agent: &[u8]) -> impl ExactSizeIterator<Item = &KeyId> {
        static NONE: HeldKeys = HeldKeys::new();
        self.keys.get(registry).and_then(|agents| agents.get(agent)).unwrap_or(&NONE).keys()
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
            agents.values_mut().for_each(|keys| keys.retain(|key, _| keep(key)));
            agents.retain(|_, keys| !keys.is_empty());
        }
        self.keys.retain(|_, agents| !agents.is_empty());
        self.keys.give_back_room();
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        for (registry, agents) in std::mem::take(&mut self.keys) {
            let swapped =
                |keys: HeldKeys| keys.into_iter().map(|(key, epoch)| (key.swapped(one, other), epoch)).collect();
            let agents = agents.into_iter().map(|(agent, keys)| (agent, swapped(keys))).collect();
            self.keys.insert(registry.swapped(one, other), agents);
        }
        self.rechecks =
            std::mem::take(&mut self.rechecks).into_iter().map(|(key, at)| (key.swapped(one, other), at)).collect();
    }
}
