//! What follows from changes of a registry: agents that become free are handed to who waits for them, and what time brings is decided.

use crate::command::engine::commit::commit_changes;
use crate::command::engine::reactions;
use crate::command::host::{Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::Answer;
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::departed;
use crate::domain::registry::decide::ClaimArgs;
use crate::domain::registry::{decide, Registry, RegistryEvent};
use crate::domain::{AgentBinding, Bytes, Change, Entity, Error, Fence, KeyId};
use ahash::AHashSet;
use smallvec::smallvec;
use std::sync::Arc;

/// Applies what was decided, and hands the agents that it is about to who waits for them.
pub fn commit<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    events: impl IntoIterator<Item = RegistryEvent>,
) -> Result<(), Error> {
    commit_all(node, host, key, events.into_iter().map(Change::Event).collect())
}

/// [`commit`] for changes of any kind. Of an agent that is gone everything goes back that it held, in the same transaction.
pub fn commit_all<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    mut changes: Vec<Change<RegistryEvent>>,
) -> Result<(), Error> {
    let events = || changes.iter().filter_map(Change::event);
    let is_waited_for = !node.claims.is_empty() && node.claims.waiting_for(&key.id()) > 0;
    let agents = events().filter(|event| is_waited_for && event.may_free()).filter_map(RegistryEvent::agent);
    let agents: Vec<Bytes> = agents.cloned().collect();
    let departed: Vec<Bytes> = match node.holdings.is_empty() {
        true => Vec::new(),
        false => events().filter_map(departed).cloned().collect(),
    };
    commit_changes::<Registry, H>(node, host, key, &mut changes)?;
    agents.iter().for_each(|agent| node.serving(|node| hand_out(node, host, key, agent)));
    departed.iter().for_each(|agent| reactions::agent_gone(node, host, &key.id(), agent));
    Ok(())
}

/// An agent that was suspect without that being decided was heard of: nothing changed, but it is offered again.
pub fn is_back<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &[u8]) {
    if !node.claims.is_empty() {
        node.serving(|node| hand_out(node, host, key, &Bytes::from(agent)));
    }
}

/// Reserves what an agent has free for those who wait for it, the longest waiting of those whose filter fits first.
fn hand_out<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &Bytes) {
    loop {
        let view = node.view();
        let Ok(Some(stored)) = host.read::<Registry>(key) else { return };
        let registry = &stored.state;
        let Some(agent) = registry.agent(agent).filter(|agent| agent.free() > 0) else { return };
        let fitting = node.claims.first_fitting(&key.id(), |filter| filter.fits(&view, registry, agent));
        let Some((id, waiter)) = fitting.and_then(|id| Some((id, node.claims.waiter(id)?))) else { return };
        let (event, fence) = decide::claim_of(agent, &waiter.wish, &mut node.clock);
        give(node, host, key, id, event, fence);
    }
}

/// Gives a waiter its claim, and the same to who repeats its request.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId, event: RegistryEvent, fence: Fence) {
    let request_id = node.claims.waiter(id).and_then(|waiter| waiter.request_id.clone());
    let told = retries_of(node, &key.id(), request_id.as_ref());
    let stored = host.read::<Registry>(key).ok().flatten();
    if let Some(answer) = stored.zip(request_id.as_ref()).and_then(|(stored, request)| stored.answer(request)) {
        // Its retry, with another filter, was quicker.
        let reply = Reply::from(answer);
        return told
            .into_iter()
            .for_each(|retry| node.serve_wait(retry, UndeliveredGrant::default(), reply.clone(), host));
    }
    let binding = match node.claims.waiter(id).map(|waiter| waiter.wish.clone()) {
        Some(wish) => claim_binding(node, host, key, &wish),
        None => Ok(None),
    };
    match binding.and_then(|binding| commit_claim(node, host, key, event, fence, request_id.as_ref(), binding)) {
        // They are told of the same claim, so it stays even if one of them is gone.
        Ok(reply) if told.len() > 1 => {
            told.into_iter().for_each(|retry| node.serve_wait(retry, UndeliveredGrant::default(), reply.clone(), host));
        }
        Ok(reply) => {
            node.serve_wait(id, UndeliveredGrant { grants: smallvec![(key.id(), fence)], request_id }, reply, host)
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
}

/// All who wait with the same `REQID`: one request, sent again.
fn retries_of(node: &Node, key: &KeyId, request_id: Option<&Bytes>) -> Vec<WaiterId> {
    let Some(request_id) = request_id else { return Vec::new() };
    let same =
        |id: &WaiterId| node.claims.waiter(*id).is_some_and(|other| other.request_id.as_ref() == Some(request_id));
    node.claims.waiters(key).into_iter().filter(same).collect()
}

/// The bond of the agent that a claim belongs to; `NOAGENT` if it is not alive.
pub fn claim_binding<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    wish: &ClaimArgs,
) -> Result<Option<AgentBinding>, Error> {
    crate::command::engine::bindings::binding_for::<Registry, H>(
        node,
        host,
        key,
        wish.registry.as_ref(),
        &wish.reference,
    )
}

/// Applies a claim, with the request id that it is to be remembered under and its bond; the reply that tells of it.
pub fn commit_claim<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    event: RegistryEvent,
    fence: Fence,
    request_id: Option<&Bytes>,
    binding: Option<AgentBinding>,
) -> Result<Reply, Error> {
    let agent = event.agent().cloned().unwrap_or_default();
    let answer = Answer::Claim { agent, fence };
    let reply = Reply::from(&answer);
    let answered = request_id.map(|id| Change::Answered { id: id.clone(), answer });
    let bound = binding.map(Change::Bound);
    let mut changes: Vec<_> = [Change::Event(event)].into_iter().chain(bound).chain(answered).collect();
    commit_changes::<Registry, H>(node, host, key, &mut changes)?;
    Ok(reply)
}

/// The scheduler looks at a registry: decides what time has brought, and serves those who wait if the key may have changed behind our
/// back. Says how much work it was.
pub fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    match settle_due(node, host, key.into(), max) {
        Ok(work) if has_changed => work + node.serving(|node| serve_all(node, host, key, max)),
        Ok(work) => work,
        Err(error) => {
            refuse_all(node, host, key, &error);
            0
        }
    }
}

/// Decides at most `max` things that are due.
pub fn settle_due<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<usize, Error> {
    let (view, policy) = (node.view(), node.settings.registry_policy());
    let Some(stored) = host.read::<Registry>(key)? else { return Ok(0) };
    let due = view.due(&stored.state, &policy, max);
    let work = due.events.len() + due.later.len();
    let has_suspects = due.events.iter().any(|event| matches!(event, RegistryEvent::Suspected { .. }));
    commit(node, host, key, due.events)?;
    if has_suspects {
        let hold = host.read::<Registry>(key)?.and_then(|stored| view.hold_after_suspicion(&stored.state, &policy));
        commit(node, host, key, hold)?;
    }
    if host.read::<Registry>(key)?.is_some() {
        // Which agents to look at when is derived, and so no change to be sent.
        let registry = &mut host.write::<Registry>(key)?.state;
        registry.postpone(&due.later);
        if let Some(when) = registry.wakes_at(false) {
            node.schedule.look_at(key.id(), when);
        }
    }
    Ok(work)
}

/// Serves at most `max` of those who wait, after something happened to the key that nobody told us about.
fn serve_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, max: usize) -> usize {
    let (mut served, mut in_vain) = (0, AHashSet::new());
    for id in node.claims.waiters(key) {
        if served == max {
            node.look_at_soon(key.clone());
            break;
        }
        let (view, seed) = (node.view(), node.random());
        let Ok(Some(stored)) = host.read::<Registry>(key.into()) else { break };
        let Some(waiter) = node.claims.waiter(id) else { continue };
        // Who stands behind somebody that got nothing, in the same line, gets nothing either.
        let line = Arc::as_ptr(&waiter.wish.filter);
        if in_vain.contains(&line) {
            continue;
        }
        match decide::claim(&stored.state, &view, &waiter.wish, seed, &mut node.clock) {
            Some((event, fence)) => {
                give(node, host, key.into(), id, event, fence);
                served += 1;
            }
            None => drop(in_vain.insert(line)),
        }
    }
    served
}

/// Nobody can be served on this key any more.
pub fn refuse_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, error: &Error) {
    node.refuse_waits(node.claims.waiters(key), error, host);
}

/// The client that was given this claim was gone before it could be told. A retry of its request begins anew.
pub fn take_back<H: Host>(node: &mut Node, host: &mut H, undelivered: UndeliveredGrant) {
    for (key, fence) in undelivered.grants {
        let at = node.now();
        let event = match host.read::<Registry>((&key).into()) {
            Ok(Some(stored)) => decide::take_back(&stored.state, fence, at),
            _ => None,
        };
        let Some(event) = event else { continue };
        node.metrics.of_mut(Registry::SERVICE).taken_back += 1;
        let agent = event.agent().cloned().unwrap_or_default();
        let forgotten = undelivered.request_id.iter().map(|id| Change::Forgotten { id: id.clone() });
        let mut changes: Vec<_> = [Change::Event(event)].into_iter().chain(forgotten).collect();
        // The key was just read as a registry, so it cannot be of a wrong type.
        if commit_changes::<Registry, H>(node, host, (&key).into(), &mut changes).is_ok() {
            node.serving(|node| hand_out(node, host, (&key).into(), &agent));
        }
    }
}
