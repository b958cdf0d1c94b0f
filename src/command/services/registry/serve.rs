//! What follows from changes of a registry: free agents are handed to the clients that wait for
//! them, and what time brings is decided.

use crate::command::engine::bindings::binding_for;
use crate::command::engine::commit::{commit, commit_step};
use crate::command::engine::reactions;
use crate::command::engine::requests::{answered, remember};
use crate::command::engine::service::Serve;
use crate::command::engine::waiting::serve_retries;
use crate::command::host::{Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::queue::rank::WaiterId;
use crate::domain::reactions::departed;
use crate::domain::registry::decide::ClaimArgs;
use crate::domain::registry::time::View;
use crate::domain::registry::{decide, Registry, RegistryEvent};
use crate::domain::{AgentBinding, Bytes, Change, Entity, Error, Fence, KeyId};
use ahash::AHashSet;
use smallvec::smallvec;
use std::sync::Arc;

/// What follows from changes of a registry.
pub struct Plan {
    /// The agents that the changes may free, if a client waits for one.
    freed: Vec<Bytes>,
    /// The agents whose incarnations the changes end, if any agent holds something.
    departed: Vec<Bytes>,
}

impl Serve for Registry {
    /// Meanwhile agents could not send heartbeats.
    fn switched_on(node: &mut Node) {
        node.since = node.now();
    }

    type Plan = Plan;

    fn plan<H: Host>(
        node: &mut Node,
        _host: &mut H,
        key: Key,
        changes: &[Change<RegistryEvent>],
    ) -> Result<Plan, Error> {
        let events = || changes.iter().filter_map(Change::event);
        let is_waited_for = !node.queues.claims.is_empty() && node.queues.claims.waiting_for(&key.id()) > 0;
        let freed = events().filter(|event| is_waited_for && event.may_free()).filter_map(RegistryEvent::agent);
        let departed = events().filter(|_| !node.holdings.is_empty()).filter_map(departed);
        Ok(Plan { freed: freed.cloned().collect(), departed: departed.cloned().collect() })
    }

    /// Hands the agents to the clients that wait for them. What an agent held that is gone is given
    /// back in the same transaction.
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, plan: Plan) {
        plan.freed.iter().for_each(|agent| node.serving(|node| hand_out(node, host, key, agent)));
        plan.departed.iter().for_each(|agent| reactions::agent_gone(node, host, &key.id(), agent));
    }

    /// Decides what time has brought, and serves waiting clients if the key may have changed
    /// unnoticed.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let max = node.settings.get(Setting::SweepBatchMax) as usize;
        let work = decide_due(node, host, key.into(), max)?;
        Ok(if has_changed { work + node.serving(|node| serve_all(node, host, key, max)) } else { work })
    }
}

impl Node {
    /// How this node sees the registries.
    pub fn view(&self) -> View {
        View { now: self.now(), since: self.since, gaps: self.gaps, is_replica: self.replica }
    }
}

/// A suspect agent was heard of before its suspicion was decided: nothing changed, but it is
/// offered again.
pub fn is_back<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &[u8]) {
    if !node.queues.claims.is_empty() {
        node.serving(|node| hand_out(node, host, key, &Bytes::from(agent)));
    }
}

/// Reserves the free units of an agent for the clients that wait for it, the longest waiting first
/// whose filter fits.
fn hand_out<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &Bytes) {
    loop {
        let view = node.view();
        let Ok(Some(stored)) = host.read::<Registry>(key) else { return };
        let registry = &stored.state;
        let Some(agent) = registry.agent(agent).filter(|agent| agent.free() > 0) else { return };
        let fitting = node.queues.claims.first_fitting(&key.id(), |filter| filter.fits(&view, registry, agent));
        let Some((id, waiter)) = fitting.and_then(|id| Some((id, node.queues.claims.waiter(id)?))) else { return };
        let (event, fence) = decide::claim_of(agent, &waiter.args, &mut node.clock);
        give(node, host, key, id, event, fence);
    }
}

/// Gives a waiter its claim, and the same to its retries.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId, event: RegistryEvent, fence: Fence) {
    let Some(waiter) = node.queues.claims.waiter(id) else { return };
    let (claim, request_id) = (waiter.args.clone(), waiter.request_id.clone());
    let retries = node.queues.claims.retries_of(&key.id(), id);
    match answered::<Registry, H>(node, host, key, request_id.as_ref()) {
        Ok(None) => {}
        // A retry that did not wait was quicker.
        Ok(Some(answer)) => {
            return serve_retries(node, host, retries, UndeliveredGrant::default(), &Reply::from(&answer));
        }
        Err(error) => return node.refuse_wait(id, error, host),
    }
    let claimed = claim_binding(node, host, key, &claim)
        .and_then(|binding| commit_claim(node, host, key, event, fence, request_id.as_ref(), binding));
    match claimed {
        Ok(reply) => {
            let grant = UndeliveredGrant { grants: smallvec![(key.id(), fence)], request_id };
            serve_retries(node, host, retries, grant, &reply);
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
}

/// The binding of the agent that a claim belongs to. `NOAGENT` if it is not alive.
pub fn claim_binding<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    claim: &ClaimArgs,
) -> Result<Option<AgentBinding>, Error> {
    binding_for::<Registry, H>(node, host, key, claim.registry.as_ref(), &claim.reference)
}

/// Applies a claim, with the request id under which it is remembered and its binding. Returns the
/// reply.
pub fn commit_claim<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    event: RegistryEvent,
    fence: Fence,
    request_id: Option<&RequestId>,
    binding: Option<AgentBinding>,
) -> Result<Reply, Error> {
    let agent = event.agent().cloned().unwrap_or_default();
    let answer = Answer::Claim { agent, fence };
    let reply = Reply::from(&answer);
    let answered = remember::<Registry, H>(node, host, key, request_id, answer)?;
    let bound = binding.map(Change::Bound);
    let mut changes: Vec<_> = [Change::Event(event)].into_iter().chain(bound).chain(answered).collect();
    commit_step::<Registry, H>(node, host, key, &mut changes)?;
    Ok(reply)
}

/// Decides at most `max` things that are due.
pub fn decide_due<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<usize, Error> {
    let (view, policy) = (node.view(), node.settings.registry_policy());
    let Some(stored) = host.read::<Registry>(key)? else { return Ok(0) };
    let due = view.due(&stored.state, &policy, max);
    let work = due.events.len() + due.later.len();
    let has_suspects = due.events.iter().any(|event| matches!(event, RegistryEvent::Suspected { .. }));
    commit::<Registry, H>(node, host, key, due.events)?;
    if has_suspects {
        let hold = host.read::<Registry>(key)?.and_then(|stored| view.hold_after_suspicion(&stored.state, &policy));
        commit::<Registry, H>(node, host, key, hold)?;
    }
    if host.read::<Registry>(key)?.is_some() {
        // When to look at which agents is derived, so it is no change to send.
        let registry = &mut host.write::<Registry>(key)?.state;
        registry.postpone(&due.later);
        if let Some(when) = registry.wakes_at(false) {
            node.schedule.look_at(key.id(), when);
        }
    }
    Ok(work)
}

/// Serves at most `max` waiting clients, after something happened to the key unnoticed.
fn serve_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, max: usize) -> usize {
    let (mut served, mut in_vain) = (0, AHashSet::new());
    for id in node.queues.claims.waiters(key) {
        if served == max {
            node.look_at_soon(key.clone());
            break;
        }
        let (view, seed) = (node.view(), node.random());
        let Ok(Some(stored)) = host.read::<Registry>(key.into()) else { break };
        let Some(waiter) = node.queues.claims.waiter(id) else { continue };
        // If a waiter got nothing, those behind it in the same line get nothing either.
        let line = Arc::as_ptr(&waiter.args.filter);
        if in_vain.contains(&line) {
            continue;
        }
        match decide::claim(&stored.state, &view, &waiter.args, seed, &mut node.clock) {
            Some((event, fence)) => {
                give(node, host, key.into(), id, event, fence);
                served += 1;
            }
            None => drop(in_vain.insert(line)),
        }
    }
    served
}
