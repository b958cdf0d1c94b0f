//! Agent registry: which agents exist, how they are, and what they can do.
//!
//! A [`Registry`] holds [agents](agent::Agent), each with its profile, its life and the claims
//! on it. Derived from them are the inverted [index], and the order in which the primary has to
//! look at them again.
//!
//! ```text
//!                  StatusChanged (starting, active, idle, busy, draining, error: see Status::next)
//!                    +--+
//!      Registered    v  |      Suspected            Died                 Removed
//!   -------------> Alive ---------------> Suspect ---------> Dead -----------------> (gone)
//!                    ^  <---------------    |                 |
//!                    |      Recovered       |  Registered     |
//!                    +----------------------+-----------------+   Deregistered: gone from anywhere
//! ```
//!
//! [`decide`] decides what clients may do, [`time`] what time does, [`find`] which agents are
//! offered to a caller; waiting claimers stand in [`queue`].
//!
//! Most heartbeats change nothing visible. Such a heartbeat is a local event
//! ([`RegistryEvent::Pulse`]); now and then one is replicated ([`RegistryEvent::Seen`]). What only
//! this node knows is not saved, sent or compared.

pub mod agent;
mod claims;
mod codec;
pub mod damping;
pub mod decide;
pub mod detector;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
pub mod filter;
pub mod find;
pub mod hold;
pub mod index;
pub mod meta;
pub mod queue;
pub mod slots;
pub mod time;

pub use agent::{Agent, Claim, Health, Status};
pub use event::{ClaimEnd, Registration, RegistryEvent};
pub use filter::Filter;
pub use hold::{Hold, PastHold};

use super::entity::{count, CHECKED_BYTES};
use super::limits::REGISTRY_BYTES_MAX;
use super::{Bytes, Connection, Entity, Error, Fence, Invariant, Millis, Service};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::algorithm::slab::Slab;
use crate::domain::entity::partial_check::Part;
use agent::{Life, Place, Pulse};
use ahash::AHashMap;
use index::Index;
use slots::Slot;
use std::collections::{BTreeMap, BTreeSet};

/// What has happened in a registry since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Registrations.
    pub registered: u64,
    /// Suspicions.
    pub suspected: u64,
    /// Returns from suspicion.
    pub recovered: u64,
    /// Deaths.
    pub died: u64,
    /// Claims.
    pub claimed: u64,
}

/// A registry of agents.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The agents by slot.
    agents: Slab<Agent>,
    hold: Option<Hold>,
    past_hold: Option<PastHold>,
    totals: Totals,
    /// The largest epoch or fence that was ever in it.
    last_fence: Fence,
    /// When this node loaded it, unix ms: earlier silence is not counted.
    loaded_at: Millis,
    // Derived from the agents:
    by_id: AHashMap<Bytes, Slot>,
    /// The order of the agents that is the same on every node. No two have one epoch.
    by_epoch: BTreeMap<Fence, Slot>,
    index: Index,
    claims: BTreeMap<Fence, Slot>,
    claim_ends: BTreeSet<(Millis, Fence)>,
    /// The claims with a reference, by reference.
    by_reference: BTreeSet<(Bytes, Fence)>,
    /// When the primary has to look at an agent, at the latest. May be too early: a heartbeat moves
    /// an alarm only when it comes.
    alarms: BTreeSet<(Millis, Slot)>,
    alarm_of: Vec<Millis>,
    agent_bytes: usize,
}

/// No alarm.
const NEVER: Millis = Millis::MAX;

impl Registry {
    /// The number of agents, including dead ones.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The slot of an agent.
    pub fn slot(&self, id: &[u8]) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// An agent by its id.
    pub fn agent(&self, id: &[u8]) -> Option<&Agent> {
        self.at(self.slot(id)?)
    }

    /// The agent in a slot.
    pub fn at(&self, slot: Slot) -> Option<&Agent> {
        self.agents.get(slot)
    }

    /// Whether there is no room for one more registration.
    pub fn is_full(&self) -> bool {
        self.agent_bytes + self.count() * size_of::<Agent>() > REGISTRY_BYTES_MAX
    }

    /// The indexes.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The hold on deaths, if one is in force.
    pub fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// What has happened so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// All agents, in no particular order.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().map(|(_, agent)| agent)
    }

    /// The agents from an epoch on, ordered by epoch. One that registers again moves to the end.
    pub fn agents_from(&self, epoch: Fence) -> impl Iterator<Item = &Agent> {
        self.by_epoch.range(epoch..).filter_map(|(_, slot)| self.at(*slot))
    }

    /// Moves the alarms of agents that were heard of meanwhile. Changes nothing visible.
    pub fn postpone(&mut self, alarms: &[(Slot, Millis)]) {
        for (slot, when) in alarms {
            self.set_alarm(*slot, *when);
        }
    }

    /// Whether at least the share of the hold is silent.
    fn is_held_silent(&self, share_percent: u8) -> bool {
        let silent = self.index.with_status(Status::Suspect).len() as u64;
        let living = self.count() as u64 - self.index.with_status(Status::Dead).len() as u64;
        silent > 0 && silent * 100 >= living * u64::from(share_percent)
    }

    fn set_alarm(&mut self, slot: Slot, when: Millis) {
        let at = slot as usize;
        if at >= self.alarm_of.len() {
            self.alarm_of.resize(at + 1, NEVER);
        }
        let known = std::mem::replace(&mut self.alarm_of[at], when);
        if known != when {
            if known != NEVER {
                self.alarms.remove(&(known, slot));
            }
            if when != NEVER {
                self.alarms.insert((when, slot));
            }
        }
    }

    fn register(&mut self, registration: &Registration) {
        let Registration { agent: id, epoch, at, profile, status, flaps } = registration;
        let known = self.slot(id);
        if self.by_epoch.get(epoch).is_some_and(|slot| Some(*slot) != known) {
            return;
        }
        if let Some(slot) = known {
            self.drop_claims(slot);
        }
        let mut agent = Agent {
            id: id.clone(),
            epoch: *epoch,
            profile: profile.clone(),
            declared: *status,
            life: Life::Alive,
            health: Health::Ok,
            reason: Bytes::EMPTY,
            registered_at: *at,
            seen: *at,
            load: 0,
            flaps: flaps.map(Box::new),
            record: known.and_then(|slot| self.at(slot)).map(|agent| agent.record).unwrap_or_default(),
            claims: Vec::new(),
            pulse: Pulse::default(),
        };
        agent.pulse.hear(*at, profile.ttl_ms);
        if let Some((slot, before)) = known.and_then(|slot| Some((slot, self.agents.get(slot)?))) {
            // What stays the same need not leave the index and enter it again.
            self.index.leave(slot, before);
            self.by_epoch.remove(&before.epoch);
            self.agent_bytes -= before.heap_bytes();
            agent.pulse.place = before.pulse.place;
        }
        let slot = known.unwrap_or_else(|| self.agents.next_place());
        self.index.enter(slot, &agent);
        self.agent_bytes += agent.heap_bytes();
        match known {
            Some(slot) => drop(self.agents.replace(slot, Box::new(agent))),
            None => {
                self.by_id.insert(agent.id.clone(), slot);
                self.agents.insert(Box::new(agent));
            }
        }
        self.by_epoch.insert(*epoch, slot);
        self.settle(slot);
        self.last_fence = self.last_fence.max(*epoch);
        count(&mut self.totals.registered, 1);
    }

    /// Adds a complete agent in a new slot, from a file.
    fn adopt(&mut self, mut agent: Box<Agent>) {
        agent.pulse.hear(agent.seen, agent.profile.ttl_ms);
        agent.pulse.load = agent.load;
        let slot = self.agents.next_place();
        self.index.enter(slot, &agent);
        self.agent_bytes += agent.heap_bytes();
        self.by_id.insert(agent.id.clone(), slot);
        self.by_epoch.insert(agent.epoch, slot);
        self.last_fence = self.last_fence.max(agent.epoch);
        for claim in &agent.claims {
            self.last_fence = self.last_fence.max(claim.fence);
            self.index_claim(slot, claim);
        }
        self.agents.insert(agent);
        self.settle(slot);
    }

    fn remove(&mut self, id: &[u8]) {
        let Some(slot) = self.slot(id) else { return };
        self.drop_claims(slot);
        self.set_alarm(slot, NEVER);
        let Some(agent) = self.agents.remove(slot) else { return };
        self.index.leave(slot, &agent);
        self.index.move_to(slot, agent.pulse.place, Place::default());
        self.agent_bytes -= agent.heap_bytes();
        self.by_id.remove(id);
        self.by_epoch.remove(&agent.epoch);
        self.by_id.give_back_room();
        self.alarm_of.truncate(self.agents.places());
        self.alarm_of.give_back_room();
    }

    /// Changes an agent, and moves it to where it belongs afterwards.
    fn edit(&mut self, id: &[u8], change: impl FnOnce(&mut Agent)) {
        let Some(slot) = self.slot(id) else { return };
        let Some(agent) = self.agents.get_mut(slot) else { return };
        self.agent_bytes -= agent.heap_bytes();
        change(agent);
        self.agent_bytes += agent.heap_bytes();
        self.settle(slot);
    }

    /// Moves an agent to where it belongs in the indexes.
    fn settle(&mut self, slot: Slot) {
        let Some(agent) = self.agents.get_mut(slot) else { return };
        let place = Place::of(agent);
        let from = std::mem::replace(&mut agent.pulse.place, place);
        if from != place {
            self.index.move_to(slot, from, place);
        }
        let alarm = time::alarm(agent);
        let known = self.alarm_of.get(slot as usize).copied().unwrap_or(NEVER);
        // A later alarm is moved when the earlier one comes, unless that was for something else.
        if alarm < known || !matches!(agent.life, Life::Alive) {
            self.set_alarm(slot, alarm);
        }
    }

    fn end_hold(&mut self, at: Millis) {
        let before = self.past_hold.take();
        self.past_hold = self.hold.take().map(|hold| PastHold { ended_at: at, extra_percent: hold.extra_percent });
        let extra = |past: Option<PastHold>| past.map_or(0, |past| past.extra_percent);
        if extra(before) > extra(self.past_hold) {
            // Suspects had more time by an earlier hold: when they die is decided anew.
            let suspects: Vec<Slot> = self.index.with_status(Status::Suspect).iter().collect();
            suspects.into_iter().for_each(|slot| self.settle(slot));
        }
    }

    fn pulse(&mut self, slot: Slot, at: Millis, suspect_at: Millis, load: Option<u16>, is_measured: bool) {
        let Some(agent) = self.agents.get_mut(slot) else { return };
        let pulse = &mut agent.pulse;
        let interval = at.saturating_sub(pulse.beat);
        (pulse.beat, pulse.suspect_at) = (at, suspect_at);
        if is_measured {
            if pulse.intervals.is_none() {
                pulse.intervals = Some(Box::default());
                self.agent_bytes += pulse.intervals.as_ref().map_or(0, |intervals| intervals.memory_bytes());
            }
            // The silence that made it suspect says nothing about its rhythm.
            if let Some(intervals) = pulse.intervals.as_mut().filter(|_| interval <= agent.profile.ttl_ms) {
                intervals.push(interval);
            }
        } else if let Some(intervals) = pulse.intervals.take() {
            self.agent_bytes -= intervals.memory_bytes();
        }
        let has_moved = load.is_some_and(|load| std::mem::replace(&mut pulse.load, load) != load);
        if has_moved || suspect_at < self.alarm_of[slot as usize] {
            self.settle(slot);
        }
    }

    fn seen(&mut self, id: &[u8], at: Millis, load: u16) {
        self.edit(id, |agent| {
            (agent.seen, agent.load) = (at, load);
            if agent.pulse.beat < at {
                // A replica hears nothing else.
                agent.pulse.hear(at, agent.profile.ttl_ms);
            }
            agent.pulse.load = load;
        });
        // Rare enough to keep the alarms of agents that are heard of in the future. Also on
        // replicas, which do not look at the agents.
        if let Some((slot, agent)) = self.slot(id).and_then(|slot| Some((slot, self.at(slot)?))) {
            self.set_alarm(slot, time::alarm(agent));
        }
    }

    fn died(&mut self, id: &[u8], since: Millis, remove_at: Millis) {
        if let Some(slot) = self.slot(id) {
            self.drop_claims(slot);
        }
        self.edit(id, |agent| agent.life = Life::Dead { since, remove_at });
        count(&mut self.totals.died, 1);
    }
}

impl Entity for Registry {
    type Event = RegistryEvent;

    const SERVICE: Service = Service::Registry;
    const TYPE_NAME: &'static str = "ltmcagent";
    const TYPE_TAG: u8 = 2;
    const KEYS: &'static str = "registries";
    const MEMBERS: Option<&'static str> = Some("agents");
    const WATCH_EVENTS_MAX: usize = 4096;
    const COPIES: bool = true;

    fn apply(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::Registered(registration) => self.register(registration),
            RegistryEvent::Deregistered { agent, .. } | RegistryEvent::Removed { agent, .. } => self.remove(agent),
            RegistryEvent::Pulse { slot, at, suspect_at, load, is_measured } => {
                self.pulse(*slot, *at, *suspect_at, *load, *is_measured);
            }
            RegistryEvent::Seen { agent, at, load } => self.seen(agent, *at, *load),
            RegistryEvent::StatusChanged { agent, status, .. } => self.edit(agent, |agent| agent.declared = *status),
            RegistryEvent::HealthChanged { agent, health, reason, .. } => self.edit(agent, |agent| {
                (agent.health, agent.reason) = (*health, reason.clone());
            }),
            RegistryEvent::Suspected { agent, at, dead_at } => {
                self.edit(agent, |agent| agent.life = Life::Suspect { since: *at, dead_at: *dead_at });
                count(&mut self.totals.suspected, 1);
            }
            RegistryEvent::Recovered { agent, at, flaps } => {
                self.edit(agent, |agent| agent.is_alive_after(*at, *flaps));
                count(&mut self.totals.recovered, 1);
            }
            RegistryEvent::Died { agent, at, remove_at } => self.died(agent, *at, *remove_at),
            RegistryEvent::Undamped { agent, .. } => self.edit(agent, |agent| {
                if let Some(flaps) = &mut agent.flaps {
                    flaps.damped_until = 0;
                }
            }),
            RegistryEvent::Claimed { fence, agent, at, ends_at, reference } => {
                let claim = Claim { fence: *fence, since: *at, ends_at: *ends_at, reference: reference.clone() };
                self.claimed(*fence, agent, claim);
            }
            RegistryEvent::Released { fence, end, .. } => self.released(*fence, *end),
            RegistryEvent::HoldBegan { at, share_percent, extra_percent } => {
                let (since, share_percent, extra_percent) = (*at, *share_percent, *extra_percent);
                self.hold = Some(Hold { since, share_percent, extra_percent });
            }
            RegistryEvent::HoldEnded { at } => self.end_hold(*at),
        }
    }

    fn admit(event: &RegistryEvent) -> Result<(), Error> {
        codec::admit(event)
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        if let Some(hold) = self.hold.as_ref().filter(|hold| !self.is_held_silent(hold.share_percent)) {
            // It should end at once.
            return Some(hold.since);
        }
        let alarm = self.alarms.first().map(|(when, _)| *when);
        let claim_end = self.claim_ends.first().map(|(when, _)| *when);
        alarm.into_iter().chain(claim_end).min()
    }

    fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn members(&self) -> usize {
        self.by_id.len()
    }

    fn last_fence(&self) -> Fence {
        self.last_fence
    }

    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    fn unties(&self, _event: &RegistryEvent) -> Option<Connection> {
        None
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.claims_with(agent, Fence::MAX).next().is_some()
    }

    fn losers(&self, event: &RegistryEvent) -> Vec<Bytes> {
        let ended_fence = match event {
            RegistryEvent::Released { fence, .. } => Some(*fence),
            // All claims on it end.
            RegistryEvent::Registered(_)
            | RegistryEvent::Deregistered { .. }
            | RegistryEvent::Died { .. }
            | RegistryEvent::Removed { .. } => None,
            _ => return Vec::new(),
        };
        let claimed = event.agent().and_then(|id| self.agent(id));
        let claims = claimed.into_iter().flat_map(|agent| agent.claims.iter());
        let ended = claims.filter(|claim| ended_fence.is_none_or(|fence| claim.fence == fence));
        ended.map(|claim| claim.reference.clone()).filter(|reference| !reference.is_empty()).collect()
    }

    fn memory_bytes(&self) -> usize {
        codec::memory_bytes(self)
    }

    fn free_effort(&self) -> usize {
        self.agents.count().max(1)
    }

    fn check_effort(&self) -> usize {
        self.free_effort() + 4 * self.agent_bytes / CHECKED_BYTES
    }

    fn loaded(&mut self, now: Millis) {
        self.loaded_at = now;
    }

    fn copied(&self) -> Self {
        codec::copied(self)
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, event: &RegistryEvent) -> Result<(), Invariant> {
        codec::check_after(self, event)
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        codec::check_part(self, from, room).map(Some)
    }

    fn rebuild(&mut self) {
        codec::rebuild(self);
    }
}
