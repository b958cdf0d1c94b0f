//! The saved form of a registry, and the invariants of a loaded one.

use super::agent::{Agent, Claim, Life, Place};
use super::event::{Registration, RegistryEvent};
use super::index::Index;
use super::slots::Slot;
use super::{damping, meta, Hold, PastHold, Registry, Totals};
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::CHECKED_BYTES;
use crate::domain::limits::{
    AGENT_LABELS_MAX, AGENT_TEXT_BYTES_MAX, CAPABILITY_BYTES_MAX, CAPACITY_MAX, DURATION_MS_MAX, ID_BYTES_MAX,
};
use crate::domain::value::fence::check_fence;
use crate::domain::{Bytes, Error, Fence, Invariant, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The saved form: the agents ordered by epoch, so that equal registries are equal bytes
/// whatever slots they use.
#[derive(Serialize, Deserialize)]
struct Saved<A> {
    hold: Option<Hold>,
    past_hold: Option<PastHold>,
    totals: Totals,
    /// New fences are above this, and so above those of agents and claims that are gone.
    last_fence: Fence,
    agents: Vec<A>,
}

impl Serialize for Registry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut agents: Vec<&Agent> = self.agents().collect();
        agents.sort_unstable_by_key(|agent| agent.epoch);
        let Registry { hold, past_hold, totals, last_fence, .. } = *self;
        Saved { hold, past_hold, totals, last_fence, agents }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Registry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::<Box<Agent>>::deserialize(deserializer)?;
        let Saved { hold, past_hold, totals, last_fence, agents } = saved;
        let mut registry = Registry { hold, past_hold, totals, last_fence, ..Registry::default() };
        for agent in agents {
            if registry.slot(&agent.id).is_some() || registry.by_epoch.contains_key(&agent.epoch) {
                return Err(serde::de::Error::custom("an agent is there twice"));
            }
            registry.adopt(agent);
        }
        Ok(registry)
    }
}

fn is_time(when: Millis) -> bool {
    // Far from every overflow, and within what Redis accepts as a time.
    when <= i64::MAX as Millis / 4
}

fn is_id(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit(event: &RegistryEvent) -> Result<(), Error> {
    let fits = event.agent().is_none_or(|agent| is_id(agent)) && is_time(event.at());
    let rest_fits = match event {
        RegistryEvent::Registered(registration) => return admit_registration(registration, fits),
        RegistryEvent::Pulse { .. } => return Err(Error::usage("payload holds an event that never travels")),
        RegistryEvent::Seen { load, .. } => *load <= 1000,
        RegistryEvent::StatusChanged { status, .. } => status.is_declared(),
        RegistryEvent::HealthChanged { reason, .. } => reason.len() <= AGENT_TEXT_BYTES_MAX,
        RegistryEvent::Suspected { dead_at, .. } => is_time(*dead_at),
        RegistryEvent::Died { remove_at, .. } => is_time(*remove_at),
        RegistryEvent::Recovered { flaps, .. } => flaps.is_none_or(|flaps| is_flaps(&flaps)),
        RegistryEvent::Claimed { fence, ends_at, reference, .. } => {
            check_fence(*fence)?;
            is_time(*ends_at) && reference.len() <= AGENT_TEXT_BYTES_MAX
        }
        RegistryEvent::HoldBegan { share_percent, .. } => (1..=100).contains(share_percent),
        RegistryEvent::Deregistered { .. }
        | RegistryEvent::Removed { .. }
        | RegistryEvent::Undamped { .. }
        | RegistryEvent::Released { .. }
        | RegistryEvent::HoldEnded { .. } => true,
    };
    if fits && rest_fits {
        return Ok(());
    }
    Err(Error::usage("payload holds an event of a registry that is out of bounds"))
}

fn admit_registration(registration: &Registration, fits: bool) -> Result<(), Error> {
    check_fence(registration.epoch)?;
    let profile = &registration.profile;
    let texts = [&profile.name, &profile.session].into_iter().all(|text| text.len() <= AGENT_TEXT_BYTES_MAX);
    let caps = profile.caps.len() <= AGENT_LABELS_MAX
        && profile.caps.iter().all(crate::domain::value::capability::Capability::is_valid)
        && profile.caps.is_sorted_by(|one, next| one < next);
    let tags = profile.tags.len() <= AGENT_LABELS_MAX
        && profile.tags.iter().all(|tag| (1..=CAPABILITY_BYTES_MAX).contains(&tag.len()))
        && profile.tags.is_sorted_by(|one, next| one < next);
    let numbers = u64::from(profile.capacity) <= CAPACITY_MAX && (1..=DURATION_MS_MAX).contains(&profile.ttl_ms);
    let status = registration.status.is_declared() && registration.flaps.is_none_or(|flaps| is_flaps(&flaps));
    meta::admit(&profile.meta)?;
    if fits && texts && caps && tags && numbers && status {
        return Ok(());
    }
    Err(Error::usage("payload holds an agent that is out of bounds"))
}

fn is_flaps(flaps: &crate::domain::registry::agent::Flaps) -> bool {
    flaps.penalty <= damping::PENALTY_MAX && is_time(flaps.at) && is_time(flaps.damped_until)
}

/// Whether all invariants hold.
pub fn check(registry: &Registry) -> Result<(), Invariant> {
    let (mut claims, mut references) = (0, 0);
    for agent in registry.agents() {
        check_agent(registry, agent)?;
        claims += agent.claims.len();
        references += agent.claims.iter().filter(|claim| !claim.reference.is_empty()).count();
    }
    check_counts(registry)?;
    rule(registry.agents().count() == registry.count(), "the ids differ from the agents")?;
    rule(registry.agents.is_sound(), "the free slots differ from the agents")?;
    rule(claims == registry.claims.len(), "the claims differ from those of the agents")?;
    rule(references == registry.by_reference.len(), "the references differ from those of the claims")?;
    rule(registry.agent_bytes == counted_bytes(registry), "the counted bytes differ from the agents")?;
    rule(registry.index == index_of(registry), "the indexes differ from the agents")?;
    rule(registry.index.is_counted(), "the counted bytes differ from the indexes")
}

/// What can be checked without the agents.
fn check_counts(registry: &Registry) -> Result<(), Invariant> {
    rule(registry.agents.count() == registry.count(), "the free slots differ from the agents")?;
    rule(registry.claims.len() == registry.claim_ends.len(), "the ends of claims differ from the claims")?;
    rule(registry.by_epoch.len() == registry.count(), "the epochs differ from the agents")?;
    rule(registry.alarms.len() == registry.count(), "an agent has no alarm")?;
    rule(registry.last_fence == 0 || check_fence(registry.last_fence).is_ok(), "the last fence is out of bounds")?;
    let hold = registry.hold.as_ref();
    rule(hold.is_none_or(|hold| (1..=100).contains(&hold.share_percent)), "the hold is out of bounds")
}

/// Checks a part of it, by the slots of the agents.
pub fn check_part(registry: &Registry, from: u64, room: usize) -> Result<Part, Invariant> {
    check_counts(registry)?;
    let agents = registry.agents.from(from).map(|(slot, agent)| (slot.into(), (slot, agent)));
    Part::of(agents, room, |_, (slot, agent)| {
        check_agent(registry, agent)?;
        rule(registry.index.has(slot, agent), "the indexes differ from the agents")?;
        Ok(1 + 4 * agent.heap_bytes() / CHECKED_BYTES)
    })
}

/// Checks it after one event. In a large registry, only its counts and the agent that the event is
/// about.
pub fn check_after(registry: &Registry, event: &RegistryEvent) -> Result<(), Invariant> {
    const SMALL: usize = 40;
    if registry.count() <= SMALL {
        return check(registry);
    }
    check_counts(registry)?;
    let agent = event.agent().and_then(|agent| registry.agent(agent));
    agent.map_or(Ok(()), |agent| check_agent(registry, agent))
}

fn check_agent(registry: &Registry, agent: &Agent) -> Result<(), Invariant> {
    rule(agent.declared.is_declared() && is_id(&agent.id) && agent.load <= 1000, "an agent is out of bounds")?;
    let registration = Registration {
        agent: agent.id.clone(),
        epoch: agent.epoch,
        at: agent.registered_at,
        profile: agent.profile.clone(),
        status: agent.declared,
        flaps: agent.flaps.as_deref().copied(),
    };
    let fits = is_time(agent.seen) && is_time(agent.registered_at) && agent.reason.len() <= AGENT_TEXT_BYTES_MAX;
    admit_registration(&registration, fits).map_err(|error| Invariant(error.text.into_owned()))?;
    let slot = registry.slot(&agent.id);
    rule(slot.and_then(|slot| registry.at(slot)).is_some_and(|at| at.id == agent.id), "an agent is in a wrong slot")?;
    rule(registry.by_epoch.get(&agent.epoch).copied() == slot, "the epochs differ from the agents")?;
    let times = match agent.life {
        Life::Alive => true,
        Life::Suspect { since, dead_at } => is_time(since) && is_time(dead_at),
        Life::Dead { since, remove_at } => is_time(since) && is_time(remove_at) && agent.claims.is_empty(),
    };
    rule(times, "the life of an agent is out of bounds")?;
    let room = agent.claims.len() <= agent.profile.capacity as usize;
    rule(room && agent.claims.is_sorted_by(|one, next| one.fence < next.fence), "an agent has too many claims")?;
    let known = |claim: &Claim| {
        check_fence(claim.fence).is_ok()
            && registry.claims.get(&claim.fence).copied() == slot
            && registry.claim_ends.contains(&(claim.ends_at, claim.fence))
            && (claim.reference.is_empty()
                || registry.claims_with(&claim.reference, claim.fence).next_back() == Some(claim.fence))
            && is_time(claim.ends_at)
            && claim.reference.len() <= AGENT_TEXT_BYTES_MAX
    };
    rule(agent.claims.iter().all(known), "a claim is out of bounds or not indexed")?;
    rule(agent.pulse.place == Place::of(agent), "an agent is in a wrong place of the indexes")?;
    let alarm =
        slot.and_then(|slot| registry.alarm_of.get(slot as usize)).copied().unwrap_or(crate::domain::registry::NEVER);
    // When it is due depends on when this node loaded it and on the hold. The
    // scheduler finds that out.
    rule(slot.is_some_and(|slot| registry.alarms.contains(&(alarm, slot))), "an alarm is missing")
}

fn counted_bytes(registry: &Registry) -> usize {
    registry.agents().map(Agent::heap_bytes).sum()
}

fn index_of(registry: &Registry) -> Index {
    let mut index = Index::default();
    for (slot, agent) in registry.agents.iter() {
        index.enter(slot, agent);
        index.move_to(slot, Place::default(), Place::of(agent));
    }
    index
}

/// The same without claims, which belong to the holders of their fences. Heartbeats are as this
/// node hears them.
pub fn copied(registry: &Registry) -> Registry {
    let Registry { hold, past_hold, totals, loaded_at, last_fence, .. } = *registry;
    let mut copy = Registry { hold, past_hold, totals, loaded_at, last_fence, ..Registry::default() };
    for agent in registry.agents() {
        copy.agents.insert(Box::new(Agent { claims: Vec::new(), ..agent.clone() }));
    }
    rebuild(&mut copy);
    copy
}

/// Rebuilds everything derived from the agents.
pub fn rebuild(registry: &mut Registry) {
    let agents = std::mem::take(&mut registry.agents);
    let Registry { hold, past_hold, totals, loaded_at, last_fence, .. } = *registry;
    *registry = Registry { hold, past_hold, totals, loaded_at, last_fence, ..Registry::default() };
    for mut agent in agents.into_values() {
        agent.pulse.place = Place::default();
        let pulse = std::mem::take(&mut agent.pulse);
        let slot = registry.agents.next_place();
        registry.adopt(agent);
        // The heartbeats that this node heard are not derived.
        if let Some(agent) = registry.agents.get_mut(slot) {
            registry.agent_bytes -= agent.heap_bytes();
            let place = agent.pulse.place;
            agent.pulse = crate::domain::registry::Pulse { place, ..pulse };
            registry.agent_bytes += agent.heap_bytes();
        }
        registry.settle(slot);
    }
}

/// Bytes held by the registry, its agents and its indexes.
pub fn memory_bytes(registry: &Registry) -> usize {
    // The nodes of a B-tree are about three quarters full. A hash map has a control byte for each
    // place, and fills at most seven eighths of the places.
    let tree = |len: usize, entry: usize| len * entry * 4 / 3;
    let places = registry.by_id.capacity() * 8 / 7;
    size_of::<Registry>()
        + registry.agents.heap_bytes()
        + registry.count() * size_of::<Agent>()
        + registry.agent_bytes
        + places * (size_of::<(Bytes, Slot)>() + 1)
        + registry.index.memory_bytes()
        + tree(registry.by_epoch.len(), size_of::<(u64, Slot)>())
        + tree(registry.claims.len(), size_of::<(u64, Slot)>())
        + tree(registry.claim_ends.len(), size_of::<(Millis, u64)>())
        + tree(registry.by_reference.len(), size_of::<(Bytes, u64)>())
        + tree(registry.alarms.len(), size_of::<(Millis, Slot)>())
        + registry.alarm_of.capacity() * size_of::<Millis>()
}
