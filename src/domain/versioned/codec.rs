//! The rules for values and events from an unchecked payload.

use super::event::VersionedEvent;
use super::life::{is_time, Life};
use super::{Created, Participant, State, Status, Versioned};
use crate::domain::entity::invariant::rule;
use crate::domain::entity::NUMBER_MAX;
use crate::domain::json::text;
use crate::domain::limits::{
    is_ttl, CHECKPOINTS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX, PARTICIPANTS_END, RESOURCES_END,
    VERSIONED_META_BYTES_MAX,
};
use crate::domain::value::fence::FENCE_END;
use crate::domain::{Bytes, Error, Invariant};

fn is_life(life: &Life) -> bool {
    is_ttl(life.ttl_ms) && life.dies_at.is_none_or(is_time)
}

fn is_agent(agent: &Bytes) -> bool {
    agent.len() <= ID_BYTES_MAX
}

fn is_participant(agent: &Bytes) -> bool {
    !agent.is_empty() && is_agent(agent)
}

fn is_meta(meta: &[u8]) -> bool {
    text::is_meta(meta, VERSIONED_META_BYTES_MAX)
}

fn are_resources(resources: &[Bytes]) -> bool {
    resources.len() <= RESOURCES_END
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit<S: State>(event: &VersionedEvent<S>) -> Result<(), Error> {
    let fits = match event {
        VersionedEvent::Created(created) => is_creation(created),
        VersionedEvent::Changed { by, change, ttl_ms, .. } => {
            S::admit(change)?;
            is_agent(by) && is_ttl(*ttl_ms)
        }
        VersionedEvent::Restored { by, .. } => is_agent(by),
        VersionedEvent::Checkpointed { id, name, .. } => (1..=NUMBER_MAX).contains(id) && name.len() <= NAME_BYTES_MAX,
        VersionedEvent::Pruned { checkpoints, .. } => checkpoints.len() <= CHECKPOINTS_MAX,
        VersionedEvent::Joined { agent, role, .. } => is_participant(agent) && role.len() <= NAME_BYTES_MAX,
        VersionedEvent::Left { agent, .. } => is_participant(agent),
        VersionedEvent::Owned { resources, by, .. } | VersionedEvent::Disowned { resources, by, .. } => {
            are_resources(resources) && is_agent(by)
        }
        VersionedEvent::Returned { resources, .. } => are_resources(resources),
        VersionedEvent::Touched { ttl_ms, .. } => is_ttl(*ttl_ms),
        VersionedEvent::StatusChanged { .. } => true,
        VersionedEvent::Ended { gone_at, .. } => is_time(*gone_at),
        VersionedEvent::Ending { gone_at, fence, .. } => is_time(*gone_at) && *fence < FENCE_END,
    };
    if fits && is_time(event.at()) {
        return Ok(());
    }
    Err(Error::usage(format!("payload holds an event of a {} that is out of bounds", S::TYPE_NAME)))
}

fn is_creation<S: State>(created: &Created<S>) -> bool {
    let has_version = (1..=i64::MAX as u64 / 2).contains(&created.version);
    let are_known = created.participants.len() <= PARTICIPANTS_END
        && created.participants.iter().all(|(agent, role)| is_participant(agent) && role.len() <= NAME_BYTES_MAX);
    let texts = is_meta(&created.meta) && is_agent(&created.owner);
    has_version && are_known && texts && is_life(&created.life) && created.state.check().is_ok()
}

/// Gives up the part of the history that does not fit an intact state. Returns what that was.
pub fn salvage<S: State>(value: &mut Versioned<S>) -> Option<String> {
    let state = value.state.edit().salvage();
    value.state.check().ok()?;
    let history = value.history.check::<S>(&value.state).is_err().then(|| value.history.cut::<S>(&value.state));
    let given_up: Vec<String> = state.into_iter().chain(history).collect();
    (!given_up.is_empty()).then(|| given_up.join("; "))
}

/// Whether all invariants hold.
pub fn check<S: State>(value: &Versioned<S>) -> Result<(), Invariant> {
    if value.history.version() == 0 {
        return rule(*value.state == S::default(), "it has a state and no version");
    }
    value.state.check()?;
    value.history.check::<S>(&value.state)?;
    rule(is_life(&value.life), "its life is out of bounds")?;
    rule(value.participants.len() <= PARTICIPANTS_END, "it has too many participants")?;
    rule(value.resources.len() <= RESOURCES_END, "it owns too much")?;
    value.resources.values().try_for_each(|resource| resource.check())?;
    let texts = is_agent(&value.owner) && is_agent(&value.changed_by) && is_meta(&value.meta);
    rule(texts && is_time(value.created_at) && is_time(value.changed_at), "its description is out of bounds")?;
    let fits = |(id, one): (&Bytes, &Participant)| {
        is_participant(id) && one.role.len() <= NAME_BYTES_MAX && is_time(one.since)
    };
    rule(value.participants.iter().all(fits), "a participant is out of bounds")?;
    rule(value.resources.keys().all(|name| name.len() <= KEY_BYTES_MAX), "a resource is out of bounds")?;
    rule(is_time(value.end.at) && value.end.fence < FENCE_END, "its end is out of bounds")?;
    let is_done = value.status != Status::Terminated || value.resources.is_empty() || value.end.at > 0;
    rule(is_done, "it has ended and still owns something")
}
