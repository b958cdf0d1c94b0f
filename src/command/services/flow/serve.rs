//! What follows from changes of a flow: locks are given back, whoever comes after is told, tasks are handed to who waits for them, ends are told
//! to who waits for those, and what time brings is decided.

use super::task_locks;
use super::task_locks::Bundle;
use super::task_queries::{claim_bytes, claim_map};
use crate::command::engine::bindings::{alive, binding_always};
use crate::command::engine::budget::Budget;
use crate::command::engine::commit::commit_changes;
use crate::command::engine::cx::Cx;
use crate::command::host::{Host, Key, UNSURE_MS};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::{passes, Node};
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::Answer;
use crate::domain::flow::queue::TaskWaiter;
use crate::domain::flow::work::ClaimArgs;
use crate::domain::flow::{decide, time, work, Flow, FlowEvent, Task};
use crate::domain::limits::TASK_LINES_TRIED_MAX;
use crate::domain::queue::rank::WaiterId;
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, Change, Entity, Error, Fence, KeyId};
use smallvec::SmallVec;
use std::sync::Arc;

/// Applies what was decided, and everything that follows from it.
pub fn change<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Vec<Change<FlowEvent>>) -> Result<(), Error> {
    commit(node, host, key, changes)?;
    follow(node, host, key);
    Ok(())
}

/// [`change`] for events only.
pub fn decided<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    events: impl IntoIterator<Item = FlowEvent>,
) -> Result<(), Error> {
    change(node, host, key, events.into_iter().map(Change::Event).collect())
}

/// Applies what was decided: gives back the locks of attempts that are over, and tells those who wait for ends. Errs before anything changes if such a
/// lock may be on another node.
fn commit<H: Host>(node: &mut Node, host: &mut H, key: Key, mut changes: Vec<Change<FlowEvent>>) -> Result<(), Error> {
    let events =
        || changes.iter().filter_map(|change| if let Change::Event(event) = change { Some(event) } else { None });
    let bundles = bundles_given_back(host, key, events())?;
    task_locks::check_locks(host, key, bundles.iter().flat_map(Bundle::keys))?;
    let ended = events().filter(|event| event.ends_task()).filter_map(FlowEvent::task);
    let ended: Vec<Bytes> = if node.completion_waiters.is_empty() { Vec::new() } else { ended.cloned().collect() };
    commit_changes::<Flow, H>(node, host, key, &mut changes)?;
    bundles.into_iter().for_each(|bundle| task_locks::give_back(node, host, key.db, bundle));
    ended.into_iter().for_each(|task| tell_end(node, host, key, &Some(task)));
    Ok(())
}

/// The locks that are given back by these events.
fn bundles_given_back<'a, H: Host>(
    host: &mut H,
    key: Key,
    events: impl Iterator<Item = &'a FlowEvent>,
) -> Result<Vec<Bundle>, Error> {
    let mut over = events.filter(|event| event.ends_attempt()).filter_map(FlowEvent::task).peekable();
    let stored = if over.peek().is_some() { host.read::<Flow>(key)? } else { None };
    Ok(stored.map_or_else(Vec::new, |stored| over.filter_map(|id| bundle_of(stored.state.task(id)?)).collect()))
}

/// The locks that are held with an attempt.
pub fn bundle_of(task: &Task) -> Option<Bundle> {
    let run = task.run().filter(|run| !run.locks.is_empty())?;
    let locks = task.needs.locks.iter().cloned().zip(run.locks.iter().copied()).collect();
    Some(Bundle { owner: run.agent.clone(), locks })
}

/// Tells those who come after what has ended, hands out what is ready, and answers those who wait for the end of the flow.
fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key) -> usize {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    let work = tell_on(node, host, key, max) + node.serving(|node| hand_out(node, host, key, max));
    if !node.completion_waiters.is_empty() {
        tell_end(node, host, key, &None);
    }
    work
}

/// Tells at most `max` tasks of ends; what is left is done by the scheduler.
fn tell_on<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> usize {
    let mut work = 0;
    while work < max {
        let at = node.now();
        let Ok(Some(stored)) = host.read::<Flow>(key) else { break };
        let (events, told) = decide::tell(&stored.state, at, max - work);
        if events.is_empty() {
            break;
        }
        if commit(node, host, key, events.into_iter().map(Change::Event).collect()).is_err() {
            // One of those that are told runs, and where its locks are is not known.
            node.schedule.postpone(key.id(), at + UNSURE_MS);
            break;
        }
        work += told.max(1);
    }
    work
}

/// Hands out what is ready to those who wait, the longest waiting of those who can do it first. Says how many were served.
fn hand_out<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> usize {
    if node.task_waiters.is_empty() || node.task_waiters.waiting_for(&key.id()) == 0 {
        return 0;
    }
    let (mut served, mut in_vain): (usize, SmallVec<[Arc<Vec<Capability>>; 2]>) = (0, SmallVec::new());
    while served < max {
        let Ok(Some(stored)) = host.read::<Flow>(key) else { return served };
        let flow = &stored.state;
        if work::room(flow, node.now()) == 0 {
            await_rate(node, host, key);
            return served;
        }
        let fits = |caps: &Arc<Vec<Capability>>| !in_vain.contains(caps) && work::offers(flow, caps).next().is_some();
        let Some(id) = node.task_waiters.first_fitting(&key.id(), fits) else { return served };
        let Some(waiter) = node.task_waiters.waiter(id).cloned() else { return served };
        if give(node, host, key, id, &waiter) {
            served += 1;
        } else {
            // Whoever can do the same finds the same locks held.
            in_vain.push(waiter.wish.caps);
        }
    }
    node.look_at_soon(key.id());
    served
}

/// Has the flow looked at when its rate allows more, if that is what those who wait wait for: nothing else tells.
pub fn await_rate<H: Host>(node: &mut Node, host: &mut H, key: Key) {
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return };
    if let Some(when) = time::claimable_at(&stored.state).filter(|when| *when > node.now()) {
        node.schedule.look_at(key.id(), when);
    }
}

/// Gives a waiter what it waits for, and the same to who repeats its request. False if the locks of what it could have are held.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId, waiter: &TaskWaiter) -> bool {
    let retries = retries_of(node, &key.id(), waiter.request_id.as_ref());
    let stored = host.read::<Flow>(key).ok().flatten();
    if let Some(answer) = stored.zip(waiter.request_id.as_ref()).and_then(|(stored, request)| stored.answer(request)) {
        // Its retry, with other capabilities, was quicker.
        let answer = answer.clone();
        let reply = stored_claims(node, host, key, &answer);
        retries.into_iter().for_each(|retry| node.serve_wait(retry, UndeliveredGrant::default(), reply.clone(), host));
        return true;
    }
    let claimed = check_agent(node, host, key, &waiter.wish)
        .and_then(|()| claim_tasks(node, host, key, &waiter.wish, waiter.request_id.as_ref()));
    match claimed {
        Ok(fences) if fences.is_empty() => return false,
        Ok(fences) => {
            let reply = claims_reply(node, host, key, &fences);
            if retries.len() > 1 {
                // They are told of the same claims, so these stay even if one of them is gone.
                retries
                    .into_iter()
                    .for_each(|retry| node.serve_wait(retry, UndeliveredGrant::default(), reply.clone(), host));
            } else {
                let grants = fences.into_iter().map(|fence| (key.id(), fence)).collect();
                node.serve_wait(id, UndeliveredGrant { grants, request_id: waiter.request_id.clone() }, reply, host);
            }
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
    true
}

/// All who wait with the same `REQID`: one request, sent again.
fn retries_of(node: &Node, key: &KeyId, request_id: Option<&Bytes>) -> Vec<WaiterId> {
    let Some(request_id) = request_id else { return Vec::new() };
    let same = |id: &WaiterId| {
        node.task_waiters.waiter(*id).is_some_and(|waiter| waiter.request_id.as_ref() == Some(request_id))
    };
    node.task_waiters.waiters(key).into_iter().filter(same).collect()
}

/// Errs if the agent that claims is not alive in the registry that it names.
fn check_agent<H: Host>(node: &Node, host: &mut H, key: Key, wish: &ClaimArgs) -> Result<(), Error> {
    if wish.registry.is_empty() {
        return Ok(());
    }
    alive(node, host, key, &wish.registry, &wish.agent).map(drop)
}

/// Claims what a worker asks for, as far as it is there and can be answered; with the request id that this is to be remembered under.
pub fn claim_tasks<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    wish: &ClaimArgs,
    request_id: Option<&Bytes>,
) -> Result<Vec<Fence>, Error> {
    let mut binding = match &wish.registry {
        // A worker that names its registry says who answers for its tasks, in every mode.
        registry if !registry.is_empty() => binding_always::<Flow, H>(node, host, key, registry, &wish.agent)?,
        _ => None,
    };
    let (mut fences, mut budget) = (Vec::new(), Budget::of(node));
    while fences.len() < wish.count {
        let Some((event, fence)) = claim_one(node, host, key, wish, &mut budget)? else { break };
        let bound = binding.take().map(Change::Bound);
        commit(node, host, key, [Change::Event(event)].into_iter().chain(bound).collect())?;
        fences.push(fence);
    }
    if let Some(id) = request_id.filter(|_| !fences.is_empty()) {
        let answer = Answer::Clock(fences.clone().into());
        commit(node, host, key, vec![Change::Answered { id: id.clone(), answer }])?;
    }
    Ok(fences)
}

/// Claims the first task that can be had, unless there is no room for it in the reply.
fn claim_one<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    wish: &ClaimArgs,
    budget: &mut Budget,
) -> Result<Option<(FlowEvent, Fence)>, Error> {
    let (policy, now) = (node.settings.task_policy(), node.now());
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(None) };
    let flow = &stored.state;
    if work::room(flow, now) == 0 {
        return Ok(None);
    }
    let mut tried: SmallVec<[Bytes; 4]> = SmallVec::new();
    for task in work::offers(flow, &wish.caps).take(TASK_LINES_TRIED_MAX).filter_map(|no| flow.at(no)) {
        if task.needs.locks.is_empty() && tried.is_empty() {
            let fits = budget.takes(claim_bytes(task));
            return Ok(fits.then(|| work::claim(task, wish, Vec::new(), &policy, &mut node.clock)));
        }
        tried.push(task.id.clone());
        if task.needs.locks.is_empty() {
            break;
        }
    }
    for id in tried {
        let Some((needs, lease_ms, bytes)) = host.read::<Flow>(key)?.and_then(|stored| {
            let task = stored.state.task(&id)?;
            Some((task.needs.clone(), work::lease_of(task, wish, &policy), claim_bytes(task)))
        }) else {
            continue;
        };
        if !budget.has_room(bytes) {
            return Ok(None);
        }
        let Some(locks) = task_locks::take_all(node, host, key, &needs.locks, &wish.agent, lease_ms) else { continue };
        let Some(task) = host.read::<Flow>(key)?.and_then(|stored| stored.state.task(&id)) else { continue };
        budget.takes(bytes);
        return Ok(Some(work::claim(task, wish, locks, &policy, &mut node.clock)));
    }
    Ok(None)
}

/// The tasks that run under these fences, as their worker is told of them. Signals that came since the claim may make them more than can
/// be answered: a worker that is not told of a task loses it with its lease, and nobody else does.
pub fn claims_reply<H: Host>(node: &Node, host: &mut H, key: Key, fences: &[Fence]) -> Reply {
    let mut budget = Budget::of(node);
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return Reply::Array(Vec::new()) };
    let tasks = fences.iter().filter_map(|fence| stored.state.claimed(*fence));
    let fitting = tasks.take_while(|task| budget.takes(claim_bytes(task)));
    Reply::Array(fitting.filter_map(claim_map).collect())
}

/// The same for an answer that is remembered: what is over meanwhile is left out.
pub fn stored_claims<H: Host>(node: &Node, host: &mut H, key: Key, answer: &Answer) -> Reply {
    match answer {
        Answer::Clock(fences) => claims_reply(node, host, key, fences),
        other => Reply::from(other),
    }
}

/// The end of a task, or of the flow, as those who wait for it are told; `None` if it has not come.
pub fn end_reply(flow: &Flow, task: Option<&[u8]>) -> Result<Option<Reply>, Error> {
    let Some(id) = task else {
        return Ok(flow.is_over().then(|| crate::command::services::flow::queries::end_map(flow)));
    };
    let task = decide::task(flow, id)?;
    Ok(task.end().map(|end| crate::command::services::flow::task_queries::end_map(task, end)))
}

/// Answers those who wait for the end of a task, or of the flow, if it has come.
fn tell_end<H: Host>(node: &mut Node, host: &mut H, key: Key, task: &Option<Bytes>) {
    let completion_waiters = node.completion_waiters.waiters_in(&key.id(), task);
    if completion_waiters.is_empty() {
        return;
    }
    let reply = match host.read::<Flow>(key) {
        Ok(Some(stored)) => end_reply(&stored.state, task.as_deref()),
        Ok(None) => Err(decide::no_flow()),
        Err(error) => Err(error),
    };
    for id in completion_waiters {
        match &reply {
            Ok(None) => {}
            Ok(Some(reply)) => node.serve_wait(id, UndeliveredGrant::default(), reply.clone(), host),
            Err(error) => node.refuse_wait(id, error.clone(), host),
        }
    }
}

/// Answers everybody who waits for an end that has come.
pub fn tell_ends<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let tasks: Vec<Option<Bytes>> = node.completion_waiters.lines(key).cloned().collect();
    tasks.iter().for_each(|task| tell_end(node, host, key.into(), task));
}

/// The scheduler looks at a flow. Says how much work it was.
pub fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    match settle_due(node, host, key.into(), max) {
        Ok(work) => {
            if has_changed {
                tell_ends(node, host, key);
            }
            work + follow(node, host, key.into())
        }
        Err(error) => {
            refuse_all(node, host, key, &error);
            0
        }
    }
}

/// Looks at no more than `max` things that are due, and decides them or a part of what was begun. The end of an attempt whose locks may be on another node
/// has to wait: it is passed over, and the next look goes on behind it.
pub fn settle_due<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<usize, Error> {
    let (policy, now) = (node.settings.task_policy(), node.now());
    let behind = node.passes.take_alarm(key);
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(0) };
    let (mut events, last) = time::due(&stored.state, &policy, now, behind, max);
    let mut work = events.len();
    let is_held_up = leave_out_moving(host, key, &mut events);
    if events.is_empty() {
        let stored = host.read::<Flow>(key)?;
        events = stored.map_or_else(Vec::new, |stored| decide::sweep(&stored.state, now, policy.grace_ms, max));
        work += events.len();
    }
    let has_done = !events.is_empty();
    commit(node, host, key, events.into_iter().map(Change::Event).collect())?;
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(work) };
    if is_held_up || behind.is_some() {
        // There may be more to do of what was begun, which does not wait for what is held up.
        let is_through = last.is_none() && !stored.state.has_begun();
        node.schedule.postpone(key.id(), passes::again_at(now, is_through, has_done || stored.state.has_begun()));
        last.into_iter().for_each(|last| node.passes.stop_at_alarm(key, last));
    } else if let Some(when) = stored.state.wakes_at(false) {
        node.schedule.look_at(key.id(), when.max(1));
    }
    Ok(work)
}

/// Leaves out what would give back a lock that may be on another node. Says whether there was such a thing.
pub fn leave_out_moving<H: Host>(host: &mut H, key: Key, events: &mut Vec<FlowEvent>) -> bool {
    if !host.is_clustered() {
        return false;
    }
    let count = events.len();
    events.retain(|event| {
        let bundles = bundles_given_back(host, key, [event].into_iter());
        bundles.is_ok_and(|bundles| task_locks::check_locks(host, key, bundles.iter().flat_map(Bundle::keys)).is_ok())
    });
    events.len() < count
}

/// Cancels at most `max` tasks of a flow that was cancelled; the scheduler goes on with the others.
pub fn sweep<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> Result<(), Error> {
    let (grace_ms, now) = (node.settings.task_policy().grace_ms, node.now());
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(()) };
    let events = decide::sweep(&stored.state, now, grace_ms, max);
    decided(node, host, key, events)
}

/// Nobody can be served on this key any more.
pub fn refuse_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, error: &Error) {
    let waiters = [node.task_waiters.waiters(key), node.completion_waiters.waiters(key)].concat();
    waiters.into_iter().for_each(|id| node.refuse_wait(id, error.clone(), host));
}

/// The client that was given these tasks was gone before it could be told. A retry of its request begins anew.
pub fn take_back<H: Host>(node: &mut Node, host: &mut H, undelivered: UndeliveredGrant) {
    for (key, fence) in undelivered.grants {
        let at = node.now();
        let event = match host.read::<Flow>((&key).into()) {
            Ok(Some(stored)) => work::take_back(&stored.state, fence, at),
            _ => None,
        };
        let Some(event) = event else { continue };
        node.metrics.of_mut(Flow::SERVICE).taken_back += 1;
        let forgotten = undelivered.request_id.iter().map(|id| Change::Forgotten { id: id.clone() });
        // The key was just read as a flow, so it cannot be of a wrong type. If a lock of it has moved away in this very moment, its lease ends it.
        change(node, host, (&key).into(), [Change::Event(event)].into_iter().chain(forgotten).collect()).ok();
    }
}

/// Errs if there is no flow under the key of a command.
pub fn existing<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    match cx.host.read::<Flow>(key)? {
        Some(_) => Ok(()),
        None => Err(decide::no_flow()),
    }
}
