//! What agents and claimers may do. Each function validates everything, and returns
//! events or an error.

use super::agent::{Agent, Health, Life, Profile, Status};
use super::event::{ClaimEnd, Registration, RegistryEvent};
use super::filter::Filter;
use super::find::{find, Sort};
use super::time::{Policy, View};
use super::{damping, Registry};
use crate::domain::value::bytes::printable;
use crate::domain::value::fence::Clock;
use crate::domain::{Bytes, Code, Error, Fence, Millis};

/// The arguments of a registration. What is not given stays as it was.
#[derive(Debug, Clone, Default)]
pub struct RegisterArgs {
    /// Whether to fail if it is registered.
    pub only_new: bool,
    /// Its name, for people.
    pub name: Option<Bytes>,
    /// Its capabilities, sorted and without duplicates.
    pub caps: Option<Vec<crate::domain::value::capability::Capability>>,
    /// Its tags, sorted and without duplicates.
    pub tags: Option<Vec<Bytes>>,
    /// JSON.
    pub meta: Option<Bytes>,
    /// How many claims it takes at a time.
    pub capacity: Option<u32>,
    /// The session it belongs to.
    pub session: Option<Bytes>,
    /// The status it begins with.
    pub status: Option<Status>,
    /// How long it may be silent, ms.
    pub ttl_ms: Option<Millis>,
}

/// The arguments of a heartbeat.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heartbeat<'a> {
    /// Its incarnation.
    pub epoch: Option<Fence>,
    /// Its new status.
    pub status: Option<Status>,
    /// Its load, thousandths.
    pub load: Option<u16>,
    /// Its new health, and the reason.
    pub health: Option<(Health, &'a [u8])>,
}

/// The outcome of a heartbeat.
#[derive(Debug)]
pub struct HeartbeatOutcome {
    /// The event for this node alone.
    pub pulse: RegistryEvent,
    /// The events for all nodes; usually none.
    pub events: Vec<RegistryEvent>,
    /// When the next silence has to be checked, if that is earlier than usual.
    pub wakes_at: Option<Millis>,
    /// Whether the agent was suspect without that being decided: nothing changes, but it
    /// is offered again.
    pub is_back: bool,
    /// The time to live that it gets, ms.
    pub ttl_ms: Millis,
}

/// The capacity of a new agent that gives none.
const FIRST_CAPACITY: u32 = 1;

/// Registers an agent. `None` if it has to be new and is registered.
pub fn register(
    registry: &Registry,
    id: &[u8],
    args: RegisterArgs,
    default_ttl_ms: Millis,
    policy: &Policy,
    clock: &mut Clock,
) -> Option<RegistryEvent> {
    let known = registry.agent(id);
    if args.only_new && known.is_some_and(|agent| !agent.is_dead()) {
        return None;
    }
    let at = clock.now();
    let first = Profile { capacity: FIRST_CAPACITY, ttl_ms: default_ttl_ms, ..Profile::default() };
    let before = known.map_or(first, |agent| agent.profile.clone());
    let profile = Profile {
        name: args.name.unwrap_or(before.name),
        caps: args.caps.map_or(before.caps, Vec::into_boxed_slice),
        tags: args.tags.map_or(before.tags, Vec::into_boxed_slice),
        meta: args.meta.unwrap_or(before.meta),
        session: args.session.unwrap_or(before.session),
        capacity: args.capacity.unwrap_or(before.capacity),
        ttl_ms: args.ttl_ms.unwrap_or(before.ttl_ms),
    };
    let flaps = known.and_then(|agent| match agent.life {
        Life::Alive => agent.flaps.as_deref().copied(),
        Life::Suspect { .. } | Life::Dead { .. } => penalty(registry, agent, at, policy),
    });
    let status = args.status.unwrap_or(Status::Active);
    let epoch = clock.next_fence();
    Some(RegistryEvent::Registered(Box::new(Registration {
        agent: Bytes::from(id),
        epoch,
        at,
        profile,
        status,
        flaps,
    })))
}

/// The penalty for a return from silence. None if everyone was silent, since then the agent
/// was not at fault.
fn penalty(registry: &Registry, agent: &Agent, at: Millis, policy: &Policy) -> Option<super::agent::Flaps> {
    let before = agent.flaps.as_deref();
    let back_from_hold = registry.past_hold.is_some_and(|past| at < past.ended_at.saturating_add(agent.profile.ttl_ms));
    if registry.hold.is_some() || back_from_hold {
        return before.copied();
    }
    damping::returned(before, at, policy.damping_half_life_ms)
}

/// Deregisters an agent. `None` if it does not exist.
pub fn deregister(
    registry: &Registry,
    id: &[u8],
    epoch: Option<Fence>,
    at: Millis,
) -> Result<Option<RegistryEvent>, Error> {
    let Some(agent) = registry.agent(id) else { return Ok(None) };
    check_epoch(agent, epoch)?;
    Ok(Some(RegistryEvent::Deregistered { agent: agent.id.clone(), at }))
}

/// Handles a heartbeat.
pub fn heartbeat(
    registry: &Registry,
    id: &[u8],
    beat: &Heartbeat,
    policy: &Policy,
    view: &View,
) -> Result<HeartbeatOutcome, Error> {
    let at = view.now;
    let known = registry.slot(id).and_then(|slot| Some((slot, registry.at(slot)?)));
    let (slot, agent) = known.ok_or_else(|| no_agent(id))?;
    check_epoch(agent, beat.epoch)?;
    let (is_suspect, id) = (matches!(agent.life, Life::Suspect { .. }), &agent.id);
    if let Life::Dead { since, .. } = agent.life {
        let text = format!("'{}' is dead since {since}, a heartbeat does not change that: register again", id.show());
        return Err(Error::new(Code::BadState, text));
    }
    let mut events = Vec::new();
    if is_suspect {
        let flaps = penalty(registry, agent, at, policy);
        events.push(RegistryEvent::Recovered { agent: id.clone(), at, flaps });
    }
    if let Some(status) = beat.status {
        if !agent.declared.next().contains(&status) && status != agent.declared {
            let (now, wanted) = (agent.declared.word(), status.word());
            let text = format!("'{}' is {now} and cannot become {wanted} by a heartbeat", id.show());
            return Err(Error::new(Code::BadState, text));
        }
        if status != agent.declared {
            events.push(RegistryEvent::StatusChanged { agent: id.clone(), at, status });
        }
    }
    if let Some((health, reason)) = beat.health {
        if health != agent.health || *reason != agent.reason[..] {
            let reason = Bytes::from(reason);
            events.push(RegistryEvent::HealthChanged { agent: id.clone(), at, health, reason });
        }
    }
    let ttl_ms = agent.profile.ttl_ms;
    if at.saturating_sub(agent.seen) >= ttl_ms / 2 {
        let load = beat.load.unwrap_or(agent.pulse.load);
        events.push(RegistryEvent::Seen { agent: id.clone(), at, load });
    }
    let phi = policy.phi_threshold.and_then(|threshold| agent.pulse.intervals.as_ref()?.suspicious_after(threshold));
    let suspect_at = at.saturating_add(phi.map_or(ttl_ms, |after| after.min(ttl_ms)));
    let is_measured = policy.phi_threshold.is_some();
    let pulse = RegistryEvent::Pulse { slot, at, suspect_at, load: beat.load, is_measured };
    Ok(HeartbeatOutcome {
        pulse,
        events,
        wakes_at: phi.map(|_| suspect_at),
        is_back: view.is_due_suspect(registry, agent),
        ttl_ms,
    })
}

/// Claims one unit of the capacity of the best agent that fits, if any fits.
pub fn claim(
    registry: &Registry,
    view: &View,
    args: &ClaimArgs,
    seed: u64,
    clock: &mut Clock,
) -> Option<(RegistryEvent, Fence)> {
    let best = find(registry, view, &args.filter, args.sort, 1, seed);
    let agent = registry.at(*best.first()?)?;
    Some(claim_of(agent, args, clock))
}

/// Claims one unit of the capacity of an agent that fits.
pub fn claim_of(agent: &Agent, args: &ClaimArgs, clock: &mut Clock) -> (RegistryEvent, Fence) {
    let (fence, at) = (clock.next_fence(), clock.now());
    let (agent, ends_at) = (agent.id.clone(), at.saturating_add(args.lease_ms));
    (RegistryEvent::Claimed { fence, agent, at, ends_at, reference: args.reference.clone() }, fence)
}

/// The arguments of a claim.
#[derive(Debug, Clone)]
pub struct ClaimArgs {
    /// Which agents fit.
    pub filter: std::sync::Arc<Filter>,
    /// Which of them is preferred.
    pub sort: Sort,
    /// The lease, ms.
    pub lease_ms: Millis,
    /// The reference of the claim.
    pub reference: Bytes,
    /// The registry in which the reference is the id of an agent, to which the claim then belongs.
    pub registry: Option<Bytes>,
}

/// A claimer releases a claim. `None` if it has ended.
pub fn release(
    registry: &Registry,
    fence: Fence,
    is_ok: bool,
    latency_ms: Option<Millis>,
    at: Millis,
) -> Option<RegistryEvent> {
    let (agent, claim) = registry.claim(fence)?;
    if claim.ends_at <= at {
        return None;
    }
    let duration_ms = latency_ms.unwrap_or(at.saturating_sub(claim.since));
    let end = ClaimEnd::Released { is_ok, duration_us: duration_ms.saturating_mul(1000) };
    Some(RegistryEvent::Released { fence, agent: agent.id.clone(), at, end })
}

/// The events that release these claims.
pub fn release_all(registry: &Registry, claims: impl Iterator<Item = Fence>, at: Millis) -> Vec<RegistryEvent> {
    claims.filter_map(|fence| take_back(registry, fence, at)).collect()
}

/// The events that end the claims whose reference is the name of an agent that is gone.
pub fn claimer_gone(registry: &Registry, claimer: &[u8], max: usize, at: Millis) -> Vec<RegistryEvent> {
    let claims = registry.claims_with(claimer, Fence::MAX).take(max);
    let claims = claims.filter_map(|fence| Some((fence, registry.claim(fence)?.0)));
    let end = ClaimEnd::AgentGone;
    claims.map(|(fence, agent)| RegistryEvent::Released { fence, agent: agent.id.clone(), at, end }).collect()
}

/// Takes a claim back, since its client was gone before it could be told.
pub fn take_back(registry: &Registry, fence: Fence, at: Millis) -> Option<RegistryEvent> {
    let (agent, _) = registry.claim(fence)?;
    Some(RegistryEvent::Released { fence, agent: agent.id.clone(), at, end: ClaimEnd::TakenBack })
}

fn check_epoch(agent: &Agent, epoch: Option<Fence>) -> Result<(), Error> {
    match epoch {
        Some(epoch) if epoch != agent.epoch => {
            let text =
                format!("epoch {epoch} of '{}' is not current, the current one is {}", agent.id.show(), agent.epoch);
            Err(Error::new(Code::Stale, text))
        }
        _ => Ok(()),
    }
}

/// The error for a missing agent.
pub fn no_agent(id: &[u8]) -> Error {
    Error::new(Code::NoAgent, format!("'{}' is not registered", printable(id)))
}
