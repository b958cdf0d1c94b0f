//! The commands of workers: claiming tasks, and what becomes of them.

use super::due::decide_due;
use super::serve::{await_rate, claim_tasks, claims_reply, existing, go_on, registry_of, stored_claims};
use super::task_commands::blob;
use super::task_locks;
use crate::command::engine::args::Args;
use crate::command::engine::bindings::alive;
use crate::command::engine::commit::commit;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::quotas;
use crate::command::engine::requests::answered;
use crate::command::engine::waiting::{wait, NewWait};
use crate::command::host::{check_here, Host, Key};
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::flow::queue::TaskWaiter;
use crate::domain::flow::work::{ClaimArgs, ClaimedTask, HeartbeatOutcome};
use crate::domain::flow::{decide, work, Flow, Task};
use crate::domain::limits::{AGENT_LABELS_MAX, TASK_CLAIMS_MAX, TASK_TEXT_BYTES_MAX};
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, Error, Fence, Millis, Service};
use crate::observe::trace::Stage;
use std::sync::Arc;

/// How much of what is due is decided before a claim looks for a task.
const DUE_BEFORE_CLAIM: usize = 64;

/// The arguments of `LTMC.TASK.CLAIM`.
struct TaskClaimArgs {
    claim: ClaimArgs,
    /// The worker's capabilities are those that its agent registered.
    asks_registry: bool,
    block_ms: Option<Millis>,
    request_id: Option<RequestId>,
}

fn parse_claim(args: &mut Args) -> Result<TaskClaimArgs, Error> {
    let agent = args.id("agent")?;
    let (mut caps, mut registry) = (None, None);
    let (mut count, mut lease_ms, mut block_ms, mut request_id) = (1, None, None, None);
    while let Some(word) = args.option()? {
        match word {
            "CAPS" => {
                let given = args.list("CAPS", 0, AGENT_LABELS_MAX)?.iter().map(|cap| Capability::parse(cap));
                let mut given: Vec<Capability> = given.collect::<Result<_, _>>()?;
                given.sort_unstable();
                given.dedup();
                caps = Some(given);
            }
            "REGISTRY" => registry = Some(args.registry()?),
            "COUNT" => count = args.number("COUNT", 1, TASK_CLAIMS_MAX as u64)? as usize,
            "PX" | "EX" => lease_ms = Some(args.duration(word)?),
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            "REQID" => request_id = Some(args.request_id(agent)?),
            _ => return Err(args.unread(word)),
        }
    }
    let asks_registry = caps.is_none();
    let (caps, registry) = (Arc::new(caps.unwrap_or_default()), registry.unwrap_or(Bytes::EMPTY));
    let claim = ClaimArgs { agent: Bytes::from(agent), caps, registry, lease_ms, count, after: (Bytes::EMPTY, 0) };
    Ok(TaskClaimArgs { claim, asks_registry, block_ms, request_id })
}

/// `LTMC.TASK.CLAIM`
pub fn claim<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let mut claim_args = parse_claim(&mut args)?;
    let key = cx.key(1);
    let claim = &mut claim_args.claim;
    if !claim.registry.is_empty() {
        let agent = alive(cx.node, cx.host, key, &claim.registry, &claim.agent)?;
        if claim_args.asks_registry {
            claim.caps = Arc::new(agent.profile.caps.to_vec());
        }
    }
    if let Some(answer) = answered::<Flow, H>(cx.node, cx.host, key, claim_args.request_id.as_ref())? {
        return Ok(Outcome::Reply(stored_claims(cx.node, cx.host, key, &answer)));
    }
    cx.node.following(Stage::Decide, |node| decide_due(node, cx.host, key, DUE_BEFORE_CLAIM))?;
    go_on(cx.node, cx.host, key);
    claim_or_wait(cx, claim_args)
}

/// Claims what there is, or waits for it. Waiting clients have been offered everything that is
/// ready, so nobody is overtaken.
fn claim_or_wait<H: Host>(cx: &mut Cx<H>, args: TaskClaimArgs) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let fences = claim_tasks(cx.node, cx.host, key, &args.claim, args.request_id.as_ref())?;
    if !fences.is_empty() {
        return Ok(Outcome::Reply(claims_reply(cx.node, cx.host, key, &fences)));
    }
    let Some(block_ms) = args.block_ms.filter(|_| cx.host.may_block()) else {
        return Ok(Outcome::Reply(Reply::Array(Vec::new())));
    };
    let TaskClaimArgs { claim, request_id, .. } = args;
    let principal = quotas::principal::<Flow, H>(cx.node, cx.host, key, registry_of(&claim), &claim.agent)?;
    let waiter = TaskWaiter { key: key.id(), args: claim, request_id };
    let new = NewWait {
        service: Service::Flow,
        waiting: cx.node.queues.tasks.waiting_for(&key.id()),
        key: key.id(),
        max: Setting::TaskWaitersMax,
        what: "one more client waiting for a task",
        block_ms,
        principal,
    };
    let outcome = wait(cx, new, |queues, id| queues.tasks.insert(id, waiter))?;
    await_rate(cx.node, cx.host, key);
    Ok(outcome)
}

/// The flow, a task and a fence: the first arguments of most commands of workers.
fn parse_held<'a>(args: &mut Args<'a>) -> Result<(&'a [u8], Fence), Error> {
    args.bytes("flow")?;
    Ok((args.id("task")?, args.fence_or_zero("fence")?))
}

/// Errs if the caller may not act as the worker that has or had the task.
fn check_worker<H: Host>(cx: &mut Cx<H>, id: &[u8], fence: Fence) -> Result<(), Error> {
    existing(cx)?;
    if !cx.node.settings.agents_are_bound() {
        return Ok(());
    }
    let key = cx.key(1);
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let agent = match work::claimed_task(&stored.state, id, fence)? {
        ClaimedTask::Running(_, run) => run.agent.clone(),
        ClaimedTask::Past(task) => past_worker(task),
        ClaimedTask::Forgotten(claim) => claim.agent.clone(),
    };
    cx.check_actor(&agent)
}

fn past_worker(task: &Task) -> Bytes {
    let last = task.past.last().map(|attempt| &attempt.agent);
    task.end().filter(|end| !end.agent.is_empty()).map(|end| &end.agent).or(last).cloned().unwrap_or_default()
}

/// `LTMC.TASK.HEARTBEAT`
pub fn heartbeat<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (id, fence) = parse_held(&mut args)?;
    let mut progress = None;
    while args.option()?.is_some() {
        let percent = args.number("PROGRESS", 0, 100)? as u8;
        let text = if args.has_value() { args.text("text", TASK_TEXT_BYTES_MAX)? } else { b"" };
        progress = Some((Some(percent), Bytes::from(text)));
    }
    check_worker(cx, id, fence)?;
    let (key, at) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let flow = &stored.state;
    let event = match work::heartbeat(flow, id, fence, progress, at)? {
        HeartbeatOutcome::GoOn(event) => event,
        HeartbeatOutcome::Cancelled => return Ok(Outcome::Reply(Reply::text("CANCEL"))),
        HeartbeatOutcome::Deadline => return Ok(Outcome::Reply(Reply::text("DEADLINE"))),
    };
    let bundle = flow.task(id).and_then(|task| Some((task_locks::bundle_of(task)?, task.run()?.lease_ms)));
    if let Some((bundle, _)) = &bundle {
        task_locks::check_locks(cx.host, key, bundle.keys())?;
    }
    commit::<Flow, H>(cx.node, cx.host, key, [event])?;
    if let Some((bundle, lease_ms)) = bundle {
        task_locks::renew(cx.node, cx.host, key.db, &bundle, lease_ms);
    }
    Ok(Outcome::Reply(Reply::Ok))
}

/// `LTMC.TASK.COMPLETE`
pub fn complete<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (id, fence) = parse_held(&mut args)?;
    args.bytes("result")?;
    let (mut asks_next, mut block_ms) = (false, None);
    while let Some(word) = args.option()? {
        match word {
            "NEXT" => asks_next = true,
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            _ => return Err(args.unread(word)),
        }
    }
    if block_ms.is_some() && !asks_next {
        return Err(Error::usage("BLOCK goes with NEXT only: it waits for the next task"));
    }
    check_worker(cx, id, fence)?;
    let (key, at) = (cx.key(1), cx.now());
    let result = blob(cx, "a result", 4)?;
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let event = work::complete(&stored.state, id, fence, result, at)?;
    let next = event.as_ref().and_then(|_| next_claim(&stored.state, id));
    if let Some(next) = next.as_ref().filter(|_| asks_next) {
        // Checked before the task is completed: if the answer is an error, nothing has changed.
        check_next(cx, next, block_ms.is_some())?;
    }
    commit::<Flow, H>(cx.node, cx.host, key, event)?;
    match next {
        _ if !asks_next => Ok(Outcome::Reply(Reply::Ok)),
        None => Ok(Outcome::Reply(next_again(cx, id, fence)?)),
        Some(claim) => {
            cx.node.following(Stage::Decide, |node| decide_due(node, cx.host, key, DUE_BEFORE_CLAIM))?;
            go_on(cx.node, cx.host, key);
            claim_or_wait(cx, TaskClaimArgs { claim, asks_registry: false, block_ms, request_id: None })
        }
    }
}

/// Errs if the worker that completes a task may not have another one, or not wait for it.
fn check_next<H: Host>(cx: &mut Cx<H>, next: &ClaimArgs, waits: bool) -> Result<(), Error> {
    let (key, registry) = (cx.key(1), registry_of(next));
    if let Some(name) = registry {
        check_here(cx.host, &[key, Key { db: key.db, name, arg: 0 }])?;
    }
    if waits {
        quotas::principal::<Flow, H>(cx.node, cx.host, key, registry, &next.agent)?;
    }
    quotas::check_exchange::<Flow, H>(cx.node, cx.host, key, registry, &next.agent)
}

/// The next claim of the worker that has a task: the same as before.
fn next_claim(flow: &Flow, id: &[u8]) -> Option<ClaimArgs> {
    let run = flow.task(id)?.run()?;
    Some(ClaimArgs {
        agent: run.agent.clone(),
        caps: Arc::new(run.caps.to_vec()),
        registry: run.registry.clone(),
        lease_ms: None,
        count: 1,
        after: (Bytes::from(id), run.fence),
    })
}

/// The task that the worker got with the completion that it repeats now, if it still has it.
fn next_again<H: Host>(cx: &mut Cx<H>, id: &[u8], fence: Fence) -> Result<Reply, Error> {
    let key = cx.key(1);
    let next = cx.host.read::<Flow>(key)?.map_or(0, |stored| work::next_of(&stored.state, id, fence));
    Ok(claims_reply(cx.node, cx.host, key, &[next]))
}

/// `LTMC.TASK.FAIL`
pub fn fail<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let (id, fence) = parse_held(&mut args)?;
    let reason = args.text("reason", TASK_TEXT_BYTES_MAX)?;
    let is_final = args.option()? == Some("DEAD");
    args.finish()?;
    check_worker(cx, id, fence)?;
    let (key, at, policy) = (cx.key(1), cx.now(), cx.node.settings.task_policy());
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let (event, fate) = work::fail(&stored.state, id, fence, reason, is_final, &policy, at)?;
    commit::<Flow, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::text(fate.word())))
}
