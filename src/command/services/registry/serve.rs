//! What follows from changes of a registry: free agents are handed to the clients that wait for
//! them, and what time brings is decided.

use crate::command::engine::bindings::binding_for;
use crate::command::engine::commit::{commit, commit_step};
use crate::command::engine::reactions;
use crate::command::engine::requests::{answered, remember};
use crate::command::engine::round::Round;
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
use crate::domain::registry::queue::Unserved;
use crate::domain::registry::time::View;
use crate::domain::registry::{decide, Registry, RegistryEvent};
use crate::domain::{AgentBinding, Bytes, Change, Entity, Error, Fence, KeyId};
use smallvec::smallvec;
use std::cell::Cell;
use std::sync::Arc;

/// Comparing an agent with so many labels of a filter takes as long as looking at one waiter.
const LABELS_OF_LOOK: usize = 8;
/// A search for an agent takes as long as so many looks, for each label.
const LOOKS_OF_SEARCH: usize = 16;

/// What follows from changes of a registry.
pub struct Plan {
    /// The agents that the changes may free, if a client waits for one.
    freed: Vec<Bytes>,
    /// The agents whose incarnations the changes end, if any agent holds something.
    departed: Vec<Bytes>,
}

impl Serve for Registry {
    /// A round ends before all waiting clients are served.
    const PASSES: bool = true;

    type Plan = Plan;

    /// Meanwhile agents could not send heartbeats.
    fn switched_on(node: &mut Node) {
        node.since = node.now();
    }

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
        if !plan.freed.is_empty() {
            serve_freed(node, host, key, plan.freed);
        }
        reactions::agents_gone(node, host, &key.id(), &plan.departed);
    }

    /// Decides what time has brought, goes on serving, and serves waiting clients if the key may
    /// have changed unnoticed.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let max = node.settings.get(Setting::SweepBatchMax) as usize;
        let work = decide_due(node, host, key.into(), max)?;
        let mut unserved = node.passes.take::<Unserved>(key.into()).unwrap_or_default();
        if has_changed {
            (unserved.offered_to, unserved.in_vain) = (Some(WaiterId(0)), Vec::new());
        }
        if unserved.is_empty() {
            return Ok(work);
        }
        Ok(work + node.serving(|node| serve_round(node, host, key.into(), unserved, Round::of(node))))
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
    if !node.queues.claims.is_empty() && node.queues.claims.waiting_for(&key.id()) > 0 {
        serve_freed(node, host, key, vec![Bytes::from(agent)]);
    }
}

/// Offers agents that may be free to the clients that wait.
fn serve_freed<H: Host>(node: &mut Node, host: &mut H, key: Key, freed: Vec<Bytes>) {
    let mut unserved = node.passes.take::<Unserved>(key).unwrap_or_default();
    freed.into_iter().for_each(|agent| unserved.add(agent));
    node.serving(|node| serve_round(node, host, key, unserved, Round::of(node)));
}

/// Before a client claims an agent: those that wait come first. False if there are more than one
/// round has room for.
pub fn serve_before<H: Host>(node: &mut Node, host: &mut H, key: Key) -> bool {
    let Some(unserved) = node.passes.take::<Unserved>(key) else { return true };
    node.serving(|node| serve_round(node, host, key, unserved, Round::default()));
    !node.passes.has(key)
}

/// Serves as many waiting clients as one round has room for; the others follow in the next rounds
/// of the scheduler. Returns how much work that was.
fn serve_round<H: Host>(node: &mut Node, host: &mut H, key: Key, mut unserved: Unserved, mut round: Round) -> usize {
    if unserved.offered_to.is_some() {
        offer_all(node, host, key, &mut unserved, &mut round);
    }
    while !round.is_over() {
        let Some(agent) = unserved.take_next() else { break };
        if !hand_out(node, host, key, &agent, &mut round) {
            unserved.add(agent);
        }
    }
    if !unserved.is_empty() && node.queues.claims.waiting_for(&key.id()) > 0 {
        node.passes.stop_at(key, unserved);
        node.schedule.look_at(key.id(), node.now());
    }
    round.work()
}

/// Reserves the free units of an agent for the clients that wait for it, the longest waiting first
/// whose filter fits. False if the round is over before that is done.
fn hand_out<H: Host>(node: &mut Node, host: &mut H, key: Key, agent: &Bytes, round: &mut Round) -> bool {
    while !round.is_over() {
        let view = node.view();
        let Ok(Some(stored)) = host.read::<Registry>(key) else { return true };
        let registry = &stored.state;
        let Some(agent) = registry.agent(agent).filter(|agent| agent.free() > 0) else { return true };
        let looks = Cell::new(0);
        let fitting = node.queues.claims.first_fitting(&key.id(), |filter| {
            looks.set(looks.get() + 1 + filter.labels() / LABELS_OF_LOOK);
            filter.fits(&view, registry, agent)
        });
        round.looks(looks.get());
        let Some((id, waiter)) = fitting.and_then(|id| Some((id, node.queues.claims.waiter(id)?))) else { return true };
        let (event, fence) = decide::claim_of(agent, &waiter.args, &mut node.clock);
        give(node, host, key, id, event, fence, round);
    }
    false
}

/// Gives a waiter its claim, and the same to its retries.
fn give<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    id: WaiterId,
    event: RegistryEvent,
    fence: Fence,
    round: &mut Round,
) {
    let Some(waiter) = node.queues.claims.waiter(id) else { return };
    let (claim, request_id) = (waiter.args.clone(), waiter.request_id.clone());
    let retries = node.queues.claims.retries_of(&key.id(), id);
    round.serves(retries.len());
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
    let work = due.work;
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

/// Offers every agent to the waiting clients, after something happened to the key unnoticed, as far
/// as the round has room.
fn offer_all<H: Host>(node: &mut Node, host: &mut H, key: Key, unserved: &mut Unserved, round: &mut Round) {
    let Some(last) = unserved.offered_to.take() else { return };
    for id in node.queues.claims.waiters(&key.id()).into_iter().filter(|id| *id > last) {
        if round.is_over() {
            // The first of the next round.
            unserved.offered_to = Some(WaiterId(id.0 - 1));
            return;
        }
        let (view, seed) = (node.view(), node.random());
        let Ok(Some(stored)) = host.read::<Registry>(key) else { return };
        let Some(waiter) = node.queues.claims.waiter(id) else { continue };
        // If a waiter got nothing, those behind it in the same line get nothing either.
        let line = &waiter.args.filter;
        round.looks(1);
        if unserved.in_vain.iter().any(|other| Arc::ptr_eq(other, line)) {
            continue;
        }
        round.looks(LOOKS_OF_SEARCH * (1 + line.labels()));
        match decide::claim(&stored.state, &view, &waiter.args, seed, &mut node.clock) {
            Some((event, fence)) => give(node, host, key, id, event, fence, round),
            None => unserved.in_vain.push(line.clone()),
        }
    }
    unserved.in_vain = Vec::new();
}
