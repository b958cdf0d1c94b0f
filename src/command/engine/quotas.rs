//! Quotas: how much of a kind a registered agent may hold in all keys of this node together, and
//! how many clients may wait on its behalf.
//!
//! What counts is what is bound to the agent, see [`bindings`](super::bindings). The [index of
//! holdings](crate::command::node::holdings) keeps the sums. A command asks before it changes
//! anything, and so does whoever serves a client that has waited. Replicas only count.

use super::bindings::ask_keys;
use crate::command::host::{Host, Key};
use crate::command::node::waits::Principal;
use crate::command::node::Node;
use crate::command::settings::policies::Mode;
use crate::command::settings::Setting;
use crate::domain::entity::quota::Quota;
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Entity, Error, KeyId};
use smallvec::SmallVec;

/// The setting of a quota.
fn setting_of(quota: Quota) -> Setting {
    match quota {
        Quota::Locks => Setting::AgentLocksMax,
        Quota::Tasks => Setting::AgentTasksMax,
        Quota::Messages => Setting::AgentMessagesMax,
        Quota::ChunkBytes => Setting::AgentChunkBytesMax,
    }
}

/// What is counted in keys of a type, and how much of it an agent may hold; `None` if that is not
/// limited now.
fn limit_of<E: Entity>(node: &Node) -> Option<(Quota, u64)> {
    let quota = E::QUOTA.filter(|_| node.settings.mode() > Mode::Basic)?;
    Some((quota, node.settings.get(setting_of(quota)))).filter(|(_, max)| *max > 0)
}

/// Whether a quota counts what is in keys of a type.
pub fn is_limited<E: Entity>(node: &Node) -> bool {
    limit_of::<E>(node).is_some()
}

/// How much an agent holds. If it seems to be more than `at_most`, its keys are asked before that
/// is believed.
fn held<H: Host>(
    node: &mut Node,
    host: &mut H,
    (registry, agent): (&KeyId, &[u8]),
    quota: Quota,
    at_most: Option<u64>,
) -> u64 {
    if at_most.is_none_or(|at_most| node.holdings.sum(registry, agent, quota) > at_most) {
        ask_keys(node, host, registry, agent);
    }
    node.holdings.sum(registry, agent, quota)
}

fn exceeded(quota: Quota, agent: &[u8], held: u64, more: u64, max: u64) -> Error {
    let (words, agent) = (quota.words(), printable(agent));
    let what = format!("the {words} of agent '{agent}', which are {held} and would be {more} more,");
    Error::limit(setting_of(quota).row().name, &what, max)
}

/// The registry whose quota holds for what an agent gets in a key: the one that it names, or the
/// one to which it is bound there. Also what it holds there that will be bound, too, and so is not
/// counted yet.
fn registry_of<E: Entity, H: Host>(
    host: &mut H,
    key: Key,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Option<(KeyId, u64)> {
    let stored = host.read::<E>(key).ok().flatten();
    let bound = stored.and_then(|stored| stored.binding_of(agent)).map(|binding| &binding.registry);
    let registry = named.or(bound)?;
    let uncounted = stored.filter(|_| bound != Some(registry)).map_or(0, |stored| stored.state.amount(agent));
    Some((KeyId::new(key.db, registry), uncounted))
}

/// Errs with `LIMIT` if an agent may not get so much more in these keys.
pub fn check_all<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    wanted: impl Iterator<Item = (KeyId, u64)>,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Result<(), Error> {
    let Some((quota, max)) = limit_of::<E>(node) else { return Ok(()) };
    let mut all: SmallVec<[(KeyId, u64); 1]> = SmallVec::new();
    for (key, more) in wanted {
        let Some((registry, uncounted)) = registry_of::<E, H>(host, (&key).into(), named, agent) else { continue };
        match all.iter_mut().find(|(known, _)| *known == registry) {
            Some((_, sum)) => *sum += more + uncounted,
            None => all.push((registry, more + uncounted)),
        }
    }
    for (registry, more) in all.into_iter().filter(|(_, more)| *more > 0) {
        let held = held(node, host, (&registry, agent), quota, max.checked_sub(more));
        if held + more > max {
            return Err(exceeded(quota, agent, held, more, max));
        }
    }
    Ok(())
}

/// The same for one key.
pub fn check<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    more: u64,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Result<(), Error> {
    check_all::<E, H>(node, host, [(key.id(), more)].into_iter(), named, agent)
}

/// Errs with `LIMIT` if an agent that gives a piece back may not get another for it: it holds more
/// than it may since the quota was lowered.
pub fn check_exchange<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Result<(), Error> {
    let Some((quota, max)) = limit_of::<E>(node) else { return Ok(()) };
    let Some((registry, uncounted)) = registry_of::<E, H>(host, key, named, agent) else { return Ok(()) };
    let held = uncounted + held(node, host, (&registry, agent), quota, max.checked_sub(uncounted));
    if held > max {
        return Err(exceeded(quota, agent, held - 1, 1, max));
    }
    Ok(())
}

/// How many of `wanted` pieces an agent may get in a key. Errs with `LIMIT` if it may get none.
pub fn room<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    wanted: usize,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Result<usize, Error> {
    let Some((quota, max)) = limit_of::<E>(node) else { return Ok(wanted) };
    let Some((registry, uncounted)) = registry_of::<E, H>(host, key, named, agent) else { return Ok(wanted) };
    let held = uncounted + held(node, host, (&registry, agent), quota, max.checked_sub(uncounted + wanted as u64));
    if held >= max {
        return Err(exceeded(quota, agent, held, 1, max));
    }
    Ok(wanted.min((max - held) as usize))
}

/// On whose behalf a client is about to wait: an agent of the registry that it names, or of the one
/// to which it is bound in the key. Errs with `LIMIT` if too many do so already.
pub fn principal<E: Entity, H: Host>(
    node: &Node,
    host: &mut H,
    key: Key,
    named: Option<&Bytes>,
    agent: &[u8],
) -> Result<Option<Principal>, Error> {
    if node.settings.mode() == Mode::Basic {
        return Ok(None);
    }
    let Some((registry, _)) = registry_of::<E, H>(host, key, named, agent) else { return Ok(None) };
    let principal = Principal { registry, agent: Bytes::from(agent) };
    let (waiting, max) = (node.waits.of_principal(&principal), node.settings.get(Setting::AgentWaitsMax));
    if max > 0 && waiting >= max {
        let what = format!("one more client that waits on behalf of agent '{}'", printable(agent));
        return Err(Error::limit(Setting::AgentWaitsMax.row().name, &what, max));
    }
    Ok(Some(principal))
}
