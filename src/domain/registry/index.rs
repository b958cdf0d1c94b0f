//! The inverted indexes of a registry: the agents with each capability, tag, value in `META` and
//! status, and the orders by load and latency. All of it is derived from the agents.

use super::agent::{Agent, Place, Status};
use super::slots::{AnyOf, Slot, SlotSet};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::value::capability::{Capability, RequiredVersion, Requirement, VersionNumbers};
use crate::domain::{looked, looked_at_parts, Bytes};
use ahash::AHashMap;
use std::collections::BTreeMap;

/// Agents ordered by a measure, the smallest first; with equal measures, by slot.
pub type Order = BTreeMap<u32, SlotSet>;

/// As many sets are named in one look.
const SETS_OF_LOOK: usize = 64;

/// The agents with a capability.
#[derive(Debug, Clone, Default, PartialEq)]
struct Capable {
    /// In any version, or without one.
    any: SlotSet,
    versions: BTreeMap<VersionNumbers, SlotSet>,
}

/// The indexes.
#[derive(Debug, Clone, Default)]
pub struct Index {
    all: SlotSet,
    statuses: [SlotSet; Status::ALL.len()],
    fit: SlotSet,
    offered: SlotSet,
    claimable: SlotSet,
    capable: AHashMap<Bytes, Capable>,
    tagged: AHashMap<Bytes, SlotSet>,
    with_meta: AHashMap<Bytes, SlotSet>,
    by_load: Order,
    by_latency: Order,
    bytes: usize,
}

impl PartialEq for Index {
    /// Whether the same agents are in the same places. The bytes held depend on earlier contents.
    fn eq(&self, other: &Self) -> bool {
        (&self.all, &self.statuses, &self.fit, &self.offered, &self.claimable)
            == (&other.all, &other.statuses, &other.fit, &other.offered, &other.claimable)
            && (&self.capable, &self.tagged, &self.with_meta) == (&other.capable, &other.tagged, &other.with_meta)
            && (&self.by_load, &self.by_latency) == (&other.by_load, &other.by_latency)
    }
}

/// Bytes that a map entry takes besides key and value: control bytes and spare room.
const ENTRY_BYTES: usize = 16;

impl Index {
    /// All agents.
    pub fn all(&self) -> &SlotSet {
        &self.all
    }

    /// The agents with this status, as the primary has decided it.
    pub fn with_status(&self, status: Status) -> &SlotSet {
        &self.statuses[status as usize]
    }

    /// The agents that have not failed and are not damped, whatever their status.
    pub fn fit(&self) -> &SlotSet {
        &self.fit
    }

    /// Those of them that are ready.
    pub fn offered(&self) -> &SlotSet {
        &self.offered
    }

    /// Those of them that have free capacity.
    pub fn claimable(&self) -> &SlotSet {
        &self.claimable
    }

    /// By load, the least loaded first.
    pub fn by_load(&self) -> &Order {
        &self.by_load
    }

    /// By latency, the fastest first. Agents without a measurement come before them, so that
    /// they get measured.
    pub fn by_latency(&self) -> &Order {
        &self.by_latency
    }

    /// The agents with the tag.
    pub fn tagged(&self, tag: &[u8]) -> Option<&SlotSet> {
        self.tagged.get(tag)
    }

    /// The agents with a value at a path of their `META`, see [`meta`](super::meta).
    pub fn with_meta(&self, key: &[u8]) -> Option<&SlotSet> {
        self.with_meta.get(key)
    }

    /// Adds the agents that meet a requirement to a group.
    pub fn add_capable<'a>(&'a self, wanted: &Requirement, group: &mut AnyOf<'a>) {
        looked(1);
        let Some(capable) = self.capable.get(&wanted.name) else { return };
        match &wanted.version {
            RequiredVersion::Any => group.push(&capable.any),
            RequiredVersion::Exactly(version) => group.extend(capable.versions.get(&version.numbers())),
            RequiredVersion::AtLeast(version) => {
                let before = group.len();
                group.extend(capable.versions.range(version.numbers()..).map(|(_, agents)| agents));
                looked_at_parts(group.len() - before, SETS_OF_LOOK);
            }
        }
    }

    /// Whether an agent has this version of the capability, and how many versions agents have.
    pub fn versions_of(&self, cap: &Capability) -> (bool, usize) {
        let capable = self.capable.get(&cap.name);
        let versions = capable.map(|capable| &capable.versions);
        let is_known = |version: VersionNumbers| versions.is_some_and(|versions| versions.contains_key(&version));
        (cap.version.is_none_or(|version| is_known(version.numbers())), versions.map_or(0, BTreeMap::len))
    }

    /// The number of different capabilities, tags and values in `META`.
    pub fn widths(&self) -> [usize; 3] {
        [self.capable.len(), self.tagged.len(), self.with_meta.len()]
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let sets = self.statuses.iter().chain([&self.all, &self.fit, &self.offered, &self.claimable]);
        let orders = [&self.by_load, &self.by_latency].into_iter().flat_map(|order| order.values());
        // Few and large, so counted on demand.
        let sets: usize = sets.map(SlotSet::heap_bytes).sum();
        let orders: usize = orders.map(|set| size_of::<(u32, SlotSet)>() + ENTRY_BYTES + set.heap_bytes()).sum();
        self.bytes + sets + orders
    }

    /// Whether the counted bytes are right.
    pub fn is_counted(&self) -> bool {
        let named = |(name, agents): (&Bytes, &SlotSet)| {
            size_of::<(Bytes, SlotSet)>() + name.heap_bytes() + ENTRY_BYTES + agents.heap_bytes()
        };
        let capable = self.capable.iter().map(|(name, capable)| {
            let versions = capable.versions.values();
            let versions =
                versions.map(|agents| size_of::<(VersionNumbers, SlotSet)>() + ENTRY_BYTES + agents.heap_bytes());
            let name = size_of::<(Bytes, Capable)>() + name.heap_bytes() + ENTRY_BYTES;
            name + capable.any.heap_bytes() + versions.sum::<usize>()
        });
        let named: usize = self.tagged.iter().chain(&self.with_meta).map(named).sum();
        self.bytes == named + capable.sum::<usize>()
    }

    /// Whether an agent is in all its places.
    pub fn has(&self, slot: Slot, agent: &Agent) -> bool {
        let place = Place::of(agent);
        let is_in = |agents: Option<&SlotSet>| agents.is_some_and(|agents| agents.contains(slot));
        let has_status = |status: &Status| self.with_status(*status).contains(slot) == (place.status == Some(*status));
        let sets = [
            (&self.all, true),
            (&self.fit, place.is_fit),
            (&self.offered, place.is_offered),
            (&self.claimable, place.is_claimable),
        ];
        let can = |cap: &Capability| {
            self.capable.get(&cap.name).is_some_and(|capable| {
                capable.any.contains(slot)
                    && cap.version.is_none_or(|version| is_in(capable.versions.get(&version.numbers())))
            })
        };
        let mut has_meta = true;
        super::meta::for_each_key(&agent.profile.meta, |key| has_meta &= is_in(self.with_meta.get(&key)));
        Status::ALL.iter().all(has_status)
            && sets.iter().all(|(agents, is_there)| agents.contains(slot) == *is_there)
            && is_in(self.by_load.get(&place.load))
            && is_in(self.by_latency.get(&place.latency))
            && agent.profile.caps.iter().all(can)
            && agent.profile.tags.iter().all(|tag| is_in(self.tagged.get(tag)))
            && has_meta
    }

    /// Adds the profile of `agent`.
    pub fn enter(&mut self, slot: Slot, agent: &Agent) {
        self.all.insert(slot);
        for cap in &agent.profile.caps {
            self.enter_capable(slot, cap);
        }
        for tag in &agent.profile.tags {
            enter(&mut self.tagged, &mut self.bytes, tag, slot);
        }
        super::meta::for_each_key(&agent.profile.meta, |key| {
            enter(&mut self.with_meta, &mut self.bytes, &key, slot);
        });
    }

    /// Removes the profile of `agent`.
    pub fn leave(&mut self, slot: Slot, agent: &Agent) {
        self.all.remove(slot);
        for cap in &agent.profile.caps {
            self.leave_capable(slot, cap);
        }
        for tag in &agent.profile.tags {
            leave(&mut self.tagged, &mut self.bytes, tag, slot);
        }
        super::meta::for_each_key(&agent.profile.meta, |key| {
            leave(&mut self.with_meta, &mut self.bytes, &key, slot);
        });
    }

    fn enter_capable(&mut self, slot: Slot, cap: &Capability) {
        looked(2);
        let capable = self.capable.entry(cap.name.clone()).or_insert_with(|| {
            self.bytes += size_of::<(Bytes, Capable)>() + cap.name.heap_bytes() + ENTRY_BYTES;
            Capable::default()
        });
        counted(&mut self.bytes, &mut capable.any, |any| any.insert(slot));
        if let Some(version) = cap.version {
            let with_version = capable.versions.entry(version.numbers()).or_insert_with(|| {
                self.bytes += size_of::<(VersionNumbers, SlotSet)>() + ENTRY_BYTES;
                SlotSet::default()
            });
            counted(&mut self.bytes, with_version, |agents| agents.insert(slot));
        }
    }

    fn leave_capable(&mut self, slot: Slot, cap: &Capability) {
        looked(2);
        let Some(capable) = self.capable.get_mut(&cap.name) else { return };
        if let Some(version) = cap.version {
            if let Some(agents) = capable.versions.get_mut(&version.numbers()) {
                counted(&mut self.bytes, agents, |agents| agents.remove(slot));
                if agents.is_empty() {
                    self.bytes -= size_of::<(VersionNumbers, SlotSet)>() + ENTRY_BYTES + agents.heap_bytes();
                    capable.versions.remove(&version.numbers());
                }
            }
        }
        counted(&mut self.bytes, &mut capable.any, |any| any.remove(slot));
        if capable.any.is_empty() && capable.versions.is_empty() {
            self.bytes -= capable.any.heap_bytes();
            if let Some((name, _)) = self.capable.remove_entry(&cap.name) {
                self.bytes -= size_of::<(Bytes, Capable)>() + name.heap_bytes() + ENTRY_BYTES;
            }
            self.capable.give_back_room();
        }
    }

    /// Moves an agent from one place to another: a new agent from the default place, a
    /// removed one to it.
    pub fn move_to(&mut self, slot: Slot, from: Place, to: Place) {
        if from.status != to.status {
            from.status.map(|status| self.statuses[status as usize].remove(slot));
            to.status.map(|status| self.statuses[status as usize].insert(slot));
        }
        set(&mut self.fit, slot, to.is_fit);
        set(&mut self.offered, slot, to.is_offered);
        set(&mut self.claimable, slot, to.is_claimable);
        let (was_in, is_in) = (from.status.is_some(), to.status.is_some());
        if (was_in, from.load) != (is_in, to.load) {
            reorder(&mut self.by_load, slot, was_in.then_some(from.load), is_in.then_some(to.load));
        }
        if (was_in, from.latency) != (is_in, to.latency) {
            reorder(&mut self.by_latency, slot, was_in.then_some(from.latency), is_in.then_some(to.latency));
        }
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Index {
    /// Breaks one of the indexes.
    pub(super) fn break_part(&mut self, part: &str) {
        match part {
            "all" => self.all = SlotSet::default(),
            "statuses" => self.statuses = Default::default(),
            "fit" => self.fit = SlotSet::default(),
            "offered" => self.offered = SlotSet::default(),
            "claimable" => self.claimable = SlotSet::default(),
            "capable" => self.capable.clear(),
            "versions" => self.capable.values_mut().for_each(|capable| capable.versions.clear()),
            "tagged" => self.tagged.clear(),
            "meta" => self.with_meta.clear(),
            "load" => drop(self.by_load.pop_first()),
            "latency" => drop(self.by_latency.pop_first()),
            _ => self.bytes += 1,
        }
    }
}

fn set(set: &mut SlotSet, slot: Slot, is_in: bool) {
    if is_in {
        set.insert(slot);
    } else {
        set.remove(slot);
    }
}

fn reorder(order: &mut Order, slot: Slot, from: Option<u32>, to: Option<u32>) {
    if let Some(from) = from {
        if let Some(agents) = order.get_mut(&from) {
            agents.remove(slot);
            if agents.is_empty() {
                order.remove(&from);
            }
        }
    }
    if let Some(to) = to {
        order.entry(to).or_default().insert(slot);
    }
}

/// Changes a set and keeps the count of its bytes.
fn counted(bytes: &mut usize, set: &mut SlotSet, change: impl FnOnce(&mut SlotSet) -> bool) {
    *bytes -= set.heap_bytes();
    change(set);
    *bytes += set.heap_bytes();
}

fn enter(map: &mut AHashMap<Bytes, SlotSet>, bytes: &mut usize, key: &Bytes, slot: Slot) {
    looked(1);
    let agents = match map.get_mut(key) {
        Some(agents) => agents,
        None => {
            *bytes += size_of::<(Bytes, SlotSet)>() + key.heap_bytes() + ENTRY_BYTES;
            map.entry(key.clone()).or_default()
        }
    };
    counted(bytes, agents, |agents| agents.insert(slot));
}

fn leave(map: &mut AHashMap<Bytes, SlotSet>, bytes: &mut usize, key: &Bytes, slot: Slot) {
    looked(1);
    let Some(agents) = map.get_mut(key) else { return };
    counted(bytes, agents, |agents| agents.remove(slot));
    if agents.is_empty() {
        *bytes -= agents.heap_bytes();
        if let Some((key, _)) = map.remove_entry(key) {
            *bytes -= size_of::<(Bytes, SlotSet)>() + key.heap_bytes() + ENTRY_BYTES;
        }
        map.give_back_room();
    }
}
