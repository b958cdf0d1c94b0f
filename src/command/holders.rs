//! What has to hear of what happens to other keys: flows in which an agent of a registry has tasks, and flows that wait for locks.
//!
//! Both are hints. One that is stale is harmless: the flow is opened and asked.

use super::schedule::Schedule;
use crate::domain::{Bytes, Db, KeyId};
use ahash::AHashMap;
use std::collections::BTreeSet;

/// Which flows have tasks that agents of registries run.
#[derive(Debug, Default)]
pub struct Holders(AHashMap<KeyId, AHashMap<Bytes, BTreeSet<KeyId>>>);

impl Holders {
    /// `agent` of `registry` has something in `flow`.
    pub fn hold(&mut self, registry: KeyId, agent: &Bytes, flow: KeyId) {
        self.0.entry(registry).or_default().entry(agent.clone()).or_default().insert(flow);
    }

    /// Where an agent may have something, in order; that is forgotten.
    pub fn take(&mut self, registry: &KeyId, agent: &[u8]) -> BTreeSet<KeyId> {
        let Some(agents) = self.0.get_mut(registry) else { return BTreeSet::new() };
        let flows = agents.remove(agent).unwrap_or_default();
        if agents.is_empty() {
            self.0.remove(registry);
        }
        flows
    }

    /// Follows SWAPDB.
    pub fn swap(&mut self, one: Db, other: Db) {
        for (registry, agents) in std::mem::take(&mut self.0) {
            for (agent, flows) in agents {
                let flows = flows.into_iter().map(|flow| flow.swapped(one, other));
                flows.for_each(|flow| self.hold(registry.clone().swapped(one, other), &agent, flow));
            }
        }
    }
}

/// Which flows wait for which locks: a change of the lock has them looked at.
#[derive(Debug, Default)]
pub struct Hopes(AHashMap<KeyId, BTreeSet<KeyId>>);

impl Hopes {
    /// `flow` could hand out a task if it had `lock`.
    pub fn hope(&mut self, lock: KeyId, flow: KeyId) {
        self.0.entry(lock).or_default().insert(flow);
    }

    /// Something happened to `lock`.
    pub fn wake(&mut self, lock: &KeyId, schedule: &mut Schedule) {
        if self.0.is_empty() {
            return;
        }
        for flow in self.0.remove(lock).unwrap_or_default() {
            schedule.look_at(flow, 0);
        }
    }

    /// Something may have happened to any lock.
    pub fn wake_all(&mut self, schedule: &mut Schedule) {
        std::mem::take(&mut self.0).into_values().flatten().for_each(|flow| schedule.look_at(flow, 0));
    }
}
