//! What follows from changes of a flow: locks are given back, tasks that come after are told, ready
//! tasks are handed to waiting workers, ends are told to the clients that wait for them, and what
//! time brings is decided.

use super::due::decide_due;
use super::reply::{claim_map, claim_size, flow_end_map, task_end_map};
use super::task_locks::{bundles_given_back, Bundle};
use super::{due, task_locks};
use crate::command::engine::bindings::{alive, binding_always};
use crate::command::engine::budget::Budget;
use crate::command::engine::commit::commit_step;
use crate::command::engine::cx::Cx;
use crate::command::engine::quotas;
use crate::command::engine::requests::{answered, remember};
use crate::command::engine::round::Round;
use crate::command::engine::service::Serve;
use crate::command::engine::waiting::{serve_retries, tell};
use crate::command::host::{Host, Key, UNSURE_MS};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::flow::queue::TaskWaiter;
use crate::domain::flow::task::End;
use crate::domain::flow::work::ClaimArgs;
use crate::domain::flow::{decide, rounds, time, work, Flow, FlowEvent};
use crate::domain::limits::{CLAIM_BYTES_MAX, CLAIM_LOCKS_MAX, CLAIM_LOOKS_MAX, TASK_LINES_TRIED_MAX};
use crate::domain::queue::rank::WaiterId;
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, Change, Error, Fence, KeyId, Millis};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::Arc;

/// What follows from changes of a flow.
#[derive(Default)]
pub struct Plan {
    /// The locks of attempts that have ended.
    bundles: Vec<Bundle>,
    /// The ends that clients wait for, as they are told. The tasks may be forgotten at once.
    ends: Vec<(Bytes, Reply)>,
}

impl Serve for Flow {
    const PASSES: bool = true;
    type Plan = Plan;

    fn initial(node: &Node) -> Option<FlowEvent> {
        Some(FlowEvent::Created { at: node.now(), options: node.settings.flow_options() })
    }

    /// Errs if a lock that is given back may be on another node.
    fn plan<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<FlowEvent>]) -> Result<Plan, Error> {
        let events = || changes.iter().filter_map(Change::event);
        let bundles = bundles_given_back(host, key, events())?;
        task_locks::check_locks(host, key, bundles.iter().flat_map(Bundle::keys))?;
        let ends = ends_waited_for(node, host, key, changes);
        Ok(Plan { bundles, ends })
    }

    /// Gives back the locks of ended attempts, and tells the clients that wait for the ends of
    /// tasks.
    fn settle<H: Host>(node: &mut Node, host: &mut H, key: Key, plan: &mut Plan) {
        let Plan { bundles, ends } = std::mem::take(plan);
        bundles.into_iter().for_each(|bundle| task_locks::give_back(node, host, key.db, bundle));
        tell_task_ends(node, host, key, ends);
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, _plan: Plan) {
        go_on(node, host, key);
    }

    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let max = node.settings.get(Setting::SweepBatchMax) as usize;
        let work = decide_due(node, host, key.into(), max)?;
        if has_changed {
            tell_ends(node, host, key);
        }
        Ok(work + go_on(node, host, key.into()))
    }

    /// The tasks may be forgotten with the change, so the clients that wait for their ends are told
    /// before it.
    fn foresee<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<FlowEvent>]) {
        let ends = ends_waited_for(node, host, key, changes);
        tell_task_ends(node, host, key, ends);
    }

    fn wake_on_replica<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
        tell_ends(node, host, key);
    }

    fn choose<H: Host>(node: &mut Node, host: &mut H, key: Key, events: &mut Vec<FlowEvent>, max: usize) {
        due::choose(node, host, key, events, max);
    }
}

/// Tells tasks that come after what has ended, hands out what is ready, and answers clients that
/// wait for the end of the flow.
pub fn go_on<H: Host>(node: &mut Node, host: &mut H, key: Key) -> usize {
    let max = node.settings.get(Setting::SweepBatchMax) as usize;
    let work = tell_on(node, host, key, max) + node.serving(|node| hand_out(node, host, key, max));
    if !node.queues.completions.is_empty() {
        tell_end(node, host, &mut Round::of(node), key, &None);
    }
    work
}

/// Tells tasks of ends, with about `max` looks at tasks and edges. The scheduler does the rest.
fn tell_on<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> usize {
    let mut work = 0;
    while work < max && (work == 0 || !node.stopwatch.is_late()) {
        let at = node.now();
        let Ok(Some(stored)) = host.read::<Flow>(key) else { break };
        let (events, told) = rounds::tell(&stored.state, at, max - work);
        if events.is_empty() {
            break;
        }
        let mut changes: Vec<_> = events.into_iter().map(Change::Event).collect();
        if commit_step::<Flow, H>(node, host, key, &mut changes).is_err() {
            // One of the tasks to be told is running, and it is unknown where its locks are.
            node.schedule.postpone(key.id(), at + UNSURE_MS);
            break;
        }
        work += told.max(1);
    }
    work
}

/// Most looks to see which waiting workers can do something, in one go: some ms. Only workers of
/// very many kinds, who can do nothing that is ready, take so many.
const MATCH_LOOKS_MAX: usize = 2_000;
/// How soon those are looked at who were not, ms.
const MATCH_AGAIN_MS: Millis = 200;

/// Hands ready tasks to waiting workers, the longest waiting first that can do one. Returns how
/// many were served.
fn hand_out<H: Host>(node: &mut Node, host: &mut H, key: Key, max: usize) -> usize {
    if node.queues.tasks.is_empty() || node.queues.tasks.waiting_for(&key.id()) == 0 {
        return 0;
    }
    let (mut served, mut in_vain): (usize, SmallVec<[Arc<Vec<Capability>>; 2]>) = (0, SmallVec::new());
    let looks = Cell::new(0);
    while served < max && (served == 0 || (looks.get() <= MATCH_LOOKS_MAX && !node.stopwatch.is_late())) {
        let Ok(Some(stored)) = host.read::<Flow>(key) else { return served };
        let flow = &stored.state;
        if work::room(flow, node.now()) == 0 {
            await_rate(node, host, key);
            return served;
        }
        let (first, passed) = (Cell::new(0), Cell::new(0));
        let fits = |caps: &Arc<Vec<Capability>>| {
            passed.set(passed.get() + 1);
            if passed.get() <= first.get() || looks.get() > MATCH_LOOKS_MAX || in_vain.contains(caps) {
                return false;
            }
            let (has_offer, cost) = flow.index().has_offer(caps);
            looks.set(looks.get() + cost);
            has_offer
        };
        let mut next = node.queues.tasks.first_fitting(&key.id(), fits);
        if next.is_none() && looks.get() > MATCH_LOOKS_MAX {
            // Other kinds of workers are first each time, so that each has its turn.
            first.set(node.now() as usize % passed.replace(0).max(1));
            looks.set(0);
            next = node.queues.tasks.first_fitting(&key.id(), fits);
            if next.is_none() {
                node.schedule.look_at(key.id(), node.now() + MATCH_AGAIN_MS);
            }
        }
        let Some(id) = next else { return served };
        let Some(waiter) = node.queues.tasks.waiter(id).cloned() else { return served };
        if give(node, host, key, id, &waiter) {
            served += 1;
        } else {
            // A waiter with the same capabilities finds the same locks held.
            in_vain.push(waiter.args.caps);
        }
    }
    node.look_at_soon(key.id());
    served
}

/// Schedules a look at the flow for when its rate allows more, if waiting workers wait for that:
/// nothing else tells.
pub fn await_rate<H: Host>(node: &mut Node, host: &mut H, key: Key) {
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return };
    if let Some(when) = time::claimable_at(&stored.state).filter(|when| *when > node.now()) {
        node.schedule.look_at(key.id(), when);
    }
}

/// Gives a waiter what it waits for, and the same to its retries. False if the locks of all tasks
/// it could have are held.
fn give<H: Host>(node: &mut Node, host: &mut H, key: Key, id: WaiterId, waiter: &TaskWaiter) -> bool {
    let (claim, request_id) = (&waiter.args, waiter.request_id.as_ref());
    let retries = node.queues.tasks.retries_of(&key.id(), id);
    match answered::<Flow, H>(node, host, key, request_id) {
        Ok(None) => {}
        // A retry was quicker: it did not wait, or its agent has other capabilities now.
        Ok(Some(answer)) => {
            let reply = stored_claims(node, host, key, &answer);
            serve_retries(node, host, retries, UndeliveredGrant::default(), &reply);
            return true;
        }
        Err(error) => {
            node.refuse_wait(id, error, host);
            return true;
        }
    }
    let claimed = check_agent(node, host, key, claim).and_then(|()| claim_tasks(node, host, key, claim, request_id));
    match claimed {
        Ok(fences) if fences.is_empty() => return false,
        Ok(fences) => {
            let reply = claims_reply(node, host, key, &fences);
            let grants = fences.into_iter().map(|fence| (key.id(), fence)).collect();
            serve_retries(node, host, retries, UndeliveredGrant { grants, request_id: request_id.cloned() }, &reply);
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
    true
}

/// The registry that a claim names.
pub fn registry_of(claim: &ClaimArgs) -> Option<&Bytes> {
    Some(&claim.registry).filter(|registry| !registry.is_empty())
}

/// Errs if the agent that claims is not alive in the registry that it names.
fn check_agent<H: Host>(node: &Node, host: &mut H, key: Key, claim: &ClaimArgs) -> Result<(), Error> {
    registry_of(claim).map_or(Ok(()), |registry| alive(node, host, key, registry, &claim.agent).map(drop))
}

/// Claims tasks for a worker, as far as they are there and fit into a reply. They are remembered
/// under the request id.
pub fn claim_tasks<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    claim: &ClaimArgs,
    request_id: Option<&RequestId>,
) -> Result<Vec<Fence>, Error> {
    let registry = registry_of(claim);
    let mut binding = match registry {
        // A worker that names its registry is bound to it, in every mode.
        Some(registry) => binding_always::<Flow, H>(node, host, key, registry, &claim.agent)?,
        None => None,
    };
    let count = quotas::room::<Flow, H>(node, host, key, claim.count, registry, &claim.agent)?;
    let (mut fences, mut effort) = (Vec::new(), Effort::new(Budget::of(node).at_most(CLAIM_BYTES_MAX)));
    while fences.len() < count && effort.sets < CLAIM_LOOKS_MAX {
        let Some((event, fence)) = claim_one(node, host, key, claim, &mut effort)? else { break };
        let bound = binding.take().map(Change::Bound);
        let mut changes: SmallVec<[_; 2]> = [Change::Event(event)].into_iter().chain(bound).collect();
        commit_step::<Flow, H>(node, host, key, &mut changes)?;
        fences.push(fence);
    }
    if let Some(request) = request_id.filter(|_| !fences.is_empty()) {
        let answer = Answer::Fences(fences.clone().into());
        let mut answered = remember::<Flow, H>(node, host, key, Some(request), answer)?;
        commit_step::<Flow, H>(node, host, key, answered.as_mut_slice())?;
    }
    Ok(fences)
}

/// What one claim may still do, whether it takes one task or many.
struct Effort {
    budget: Budget,
    /// How many looks for sets of capabilities it has taken.
    sets: usize,
    /// How many locks it has tried.
    locks: usize,
}

impl Effort {
    fn new(budget: Budget) -> Self {
        Self { budget, sets: 0, locks: 0 }
    }

    /// Whether the locks of a task can be tried: those of the first one can.
    fn tries(&mut self, locks: usize) -> bool {
        let tries = self.locks == 0 || self.locks + locks <= CLAIM_LOCKS_MAX;
        self.locks += if tries { locks } else { 0 };
        tries
    }
}

/// Claims the first task that can be had, unless there is no room for it in the reply.
fn claim_one<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    claim: &ClaimArgs,
    effort: &mut Effort,
) -> Result<Option<(FlowEvent, Fence)>, Error> {
    let (policy, now) = (node.settings.task_policy(), node.now());
    let Some(stored) = host.read::<Flow>(key)? else { return Ok(None) };
    let flow = &stored.state;
    if work::room(flow, now) == 0 {
        return Ok(None);
    }
    let mut tried: SmallVec<[Bytes; 4]> = SmallVec::new();
    let offers = work::offers(flow, &claim.caps);
    effort.sets += offers.looks();
    for task in offers.take(TASK_LINES_TRIED_MAX).filter_map(|no| flow.at(no)) {
        if task.needs.locks.is_empty() && tried.is_empty() {
            effort.sets += flow.index().lines_closed(&task.needs, flow.options());
            let fits = effort.budget.takes(claim_size(task));
            return Ok(fits.then(|| work::claim(task, claim, Vec::new(), &policy, &mut node.clock)));
        }
        tried.push(task.id.clone());
        if task.needs.locks.is_empty() {
            break;
        }
    }
    for id in tried {
        let Some((needs, lease_ms, size)) = host.read::<Flow>(key)?.and_then(|stored| {
            let task = stored.state.task(&id)?;
            Some((task.needs.clone(), work::lease_of(task, claim, &policy), claim_size(task)))
        }) else {
            continue;
        };
        if !effort.budget.has_room(size) || !effort.tries(needs.locks.len()) {
            return Ok(None);
        }
        let Some(locks) = task_locks::take_all(node, host, key, &needs.locks, &claim.agent, lease_ms) else { continue };
        let Some(task) = host.read::<Flow>(key)?.and_then(|stored| stored.state.task(&id)) else { continue };
        effort.budget.takes(size);
        return Ok(Some(work::claim(task, claim, locks, &policy, &mut node.clock)));
    }
    Ok(None)
}

/// The tasks that run under these fences, as their worker is told of them. Signals that came since
/// the claim may make them too large for one reply. A task that the worker is not told of is lost
/// to it when its lease ends, and to nobody else.
pub fn claims_reply<H: Host>(node: &Node, host: &mut H, key: Key, fences: &[Fence]) -> Reply {
    let mut budget = Budget::of(node);
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return Reply::Array(Vec::new()) };
    let tasks = fences.iter().filter_map(|fence| stored.state.claimed(*fence));
    let fitting = tasks.take_while(|task| budget.takes(claim_size(task)));
    Reply::Array(fitting.filter_map(claim_map).collect())
}

/// The same for a remembered answer. Tasks that have ended meanwhile are left out.
pub fn stored_claims<H: Host>(node: &Node, host: &mut H, key: Key, answer: &Answer) -> Reply {
    match answer {
        Answer::Fences(fences) => claims_reply(node, host, key, fences),
        other => Reply::from(other),
    }
}

/// The end of a task, or of the flow, as the clients that wait for it are told; `None` if it has
/// not come.
pub fn end_reply(flow: &Flow, task: Option<&[u8]>) -> Result<Option<Reply>, Error> {
    let Some(id) = task else {
        return Ok(flow.has_ended().then(|| flow_end_map(flow)));
    };
    let task = decide::task(flow, id)?;
    Ok(task.end().map(|end| task_end_map(task, end)))
}

/// The ends of tasks that changes bring and clients wait for, as they are told.
fn ends_waited_for<H: Host>(node: &Node, host: &mut H, key: Key, changes: &[Change<FlowEvent>]) -> Vec<(Bytes, Reply)> {
    let completions = &node.queues.completions;
    if completions.is_empty() || completions.waiting_for(&key.id()) == 0 {
        return Vec::new();
    }
    let Ok(Some(stored)) = host.read::<Flow>(key) else { return Vec::new() };
    let end = |event: &FlowEvent| {
        let task = stored.state.task(event.task()?)?;
        let is_waited_for = completions.first(&key.id(), &Some(task.id.clone())).is_some();
        let end = End::by(task, event).filter(|_| is_waited_for)?;
        Some((task.id.clone(), task_end_map(task, &end)))
    };
    changes.iter().filter_map(Change::event).filter_map(end).collect()
}

/// Tells clients the ends of tasks that they wait for.
fn tell_task_ends<H: Host>(node: &mut Node, host: &mut H, key: Key, ends: Vec<(Bytes, Reply)>) {
    let mut round = Round::of(node);
    for (task, reply) in ends {
        let clients = node.queues.completions.waiters_in(&key.id(), &Some(task));
        tell(node, host, &mut round, clients, Ok(reply));
    }
}

/// Answers the clients that wait for the end of a task, or of the flow, if it has come.
fn tell_end<H: Host>(node: &mut Node, host: &mut H, round: &mut Round, key: Key, task: &Option<Bytes>) {
    let clients = node.queues.completions.waiters_in(&key.id(), task);
    if clients.is_empty() {
        return;
    }
    let reply = match host.read::<Flow>(key) {
        Ok(Some(stored)) => end_reply(&stored.state, task.as_deref()),
        Ok(None) => Err(decide::no_flow()),
        Err(error) => Err(error),
    };
    if let Some(answer) = reply.transpose() {
        tell(node, host, round, clients, answer);
    }
}

/// Answers all clients that wait for an end that has come.
fn tell_ends<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let tasks: Vec<Option<Bytes>> = node.queues.completions.lines(key).cloned().collect();
    let mut round = Round::of(node);
    tasks.iter().for_each(|task| tell_end(node, host, &mut round, key.into(), task));
}

/// Errs if there is no flow under the key of a command.
pub fn existing<H: Host>(cx: &mut Cx<H>) -> Result<(), Error> {
    let key = cx.key(1);
    match cx.host.read::<Flow>(key)? {
        Some(_) => Ok(()),
        None => Err(decide::no_flow()),
    }
}
