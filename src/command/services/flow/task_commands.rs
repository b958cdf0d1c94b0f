//! The commands about tasks for clients that give work: adding, cancelling, signalling, waiting for
//! the end.

use super::serve::{end_reply, existing};
use crate::command::engine::args::Args;
use crate::command::engine::commit::{commit, commit_changes};
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::requests::{answered, remember};
use crate::command::engine::waiting;
use crate::command::engine::waiting::NewWait;
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::flow::queue::CompletionWaiter;
use crate::domain::flow::spec::BACKOFF_MS_MAX;
use crate::domain::flow::task::{Backoff, Needs, On};
use crate::domain::flow::{decide, Addition, Flow};
use crate::domain::limits::{
    AGENT_LABELS_MAX, DURATION_MS_MAX, PRIORITY_MAX, TASK_LOCKS_MAX, TASK_PARENTS_MAX, TASK_RETRIES_MAX,
};
use crate::domain::value::capability::Requirement;
use crate::domain::{Blob, Bytes, Change, Error, Millis, Service};

/// Argument `index` as a payload, result or signal.
pub fn blob<H: Host>(cx: &mut Cx<H>, what: &str, index: usize) -> Result<Blob, Error> {
    let (len, max) = (cx.args[index].len() as u64, cx.node.settings.get(Setting::TaskPayloadBytesMax));
    if len > max {
        return Err(Error::limit("task-payload-bytes-max", &format!("{what} of {len} bytes"), max));
    }
    Ok(cx.blob(index))
}

/// The options of `LTMC.TASK.ADD`, and the request id.
fn parse_addition(args: &mut Args, at: Millis) -> Result<(Addition, Option<RequestId>), Error> {
    let mut task = Addition { at, ..Addition::default() };
    let (mut caps, mut group, mut locks) = (Vec::new(), Bytes::EMPTY, Vec::new());
    let (mut backoff, mut pause_max_ms, mut request_id) = (None, None, None);
    while let Some(word) = args.option()? {
        match word {
            "AFTER" => {
                let after = args.list("AFTER", 1, TASK_PARENTS_MAX)?;
                task.after = after.iter().map(|id| Bytes::from(*id)).collect();
            }
            "ON" => task.on = On::ALL[args.word("ON", &On::WORDS)?],
            "CAPS" => {
                let texts = args.list("CAPS", 0, AGENT_LABELS_MAX)?.iter();
                caps = texts.map(|cap| Requirement::parse(cap)).collect::<Result<_, _>>()?;
            }
            "PRIORITY" => task.priority = args.number("PRIORITY", 0, PRIORITY_MAX)? as u16,
            "DELAY" => {
                let delay_ms = args.millis("DELAY", 0)?;
                task.not_before = if delay_ms > 0 { at.saturating_add(delay_ms) } else { 0 };
            }
            "DEADLINE" => task.deadline = at.saturating_add(args.millis("DEADLINE", 1)?),
            "LEASE" => task.lease_ms = args.millis("LEASE", 1)?,
            "RETRIES" => task.retries = Some(args.number("RETRIES", 0, TASK_RETRIES_MAX)? as u32),
            "BACKOFF" => backoff = Some((args.choice("kind")? == "EXP", args.millis("BACKOFF", 0)?)),
            "MAX" => pause_max_ms = Some(args.number("MAX", 0, DURATION_MS_MAX)?),
            "GROUP" => group = Bytes::from(args.id("GROUP")?),
            "LOCKS" => locks = args.list("LOCKS", 1, TASK_LOCKS_MAX)?.iter().map(|lock| Bytes::from(*lock)).collect(),
            "WAITSIGNAL" => task.waits_for_signal = true,
            "REQID" => request_id = Some(args.request_id(b"")?),
            _ => return Err(args.unread(word)),
        }
    }
    task.backoff = match (backoff, pause_max_ms) {
        (None, None) => None,
        (None, Some(_)) => return Err(Error::usage("MAX goes with BACKOFF only: it bounds the pauses")),
        (Some((is_exponential, ms)), max) => {
            let default_max = if is_exponential { BACKOFF_MS_MAX } else { ms };
            Some(Backoff { is_exponential, ms, max_ms: max.unwrap_or(default_max) })
        }
    };
    task.needs = Needs::new(caps, group, locks);
    Ok((task, request_id))
}

/// `LTMC.TASK.ADD`
pub fn add<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let name = Some(args.id("task")?).filter(|name| *name != b"*");
    args.bytes("payload")?;
    let (addition, request_id) = parse_addition(&mut args, cx.now())?;
    let key = cx.key(1);
    let payload = blob(cx, "a payload", 3)?;
    let max = cx.node.settings.get(Setting::FlowTasksMax);
    if let Some(answer) = answered::<Flow, H>(cx.node, cx.host, key, request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let flow = current::<Flow, H>(cx.node, cx.host, key)?;
    if flow.count() as u64 >= max {
        return Err(Error::limit("flow-tasks-max", "one more task in this flow", max));
    }
    let (index, sets_max) = (flow.index(), cx.node.settings.get(Setting::FlowCapsMax));
    if index.sets() as u64 >= sets_max && !index.has_set(&addition.needs.caps) {
        return Err(Error::limit("flow-caps-max", "one more set of CAPS in this flow", sets_max));
    }
    let id = match name {
        Some(name) => Bytes::from(name),
        None => decide::new_name(&mut cx.node.clock, |name| flow.task(name).is_some()),
    };
    let added = decide::add(&flow, Addition { id: id.clone(), payload, ..addition })?;
    let events = flow.first().into_iter().chain(added).map(Change::Event);
    let answered = remember::<Flow, H>(cx.node, cx.host, key, request_id.as_ref(), Answer::Bytes(id.clone()))?;
    let mut changes: Vec<_> = events.chain(answered).collect();
    commit_changes::<Flow, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::bytes(&id)))
}

/// `LTMC.TASK.CANCEL`
pub fn cancel<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (id, and_all) = parse_cascade(cx)?;
    let (key, at, grace_ms) = (cx.key(1), cx.now(), cx.node.settings.task_policy().grace_ms);
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::cancel(&stored.state, id, and_all, at, grace_ms);
    let is_cancelled = event.is_some();
    commit::<Flow, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(is_cancelled.into())))
}

fn parse_cascade<'a, H: Host>(cx: &Cx<'a, H>) -> Result<(&'a [u8], bool), Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let (id, mut and_all) = (args.id("task")?, false);
    while args.option()?.is_some() {
        and_all = true;
    }
    Ok((id, and_all))
}

/// `LTMC.TASK.REQUEUE`
pub fn requeue<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (id, and_all) = parse_cascade(cx)?;
    let (key, at) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let events = decide::requeue(&stored.state, id, and_all, at)?;
    let count = events.len() as u64;
    commit::<Flow, H>(cx.node, cx.host, key, events)?;
    Ok(Outcome::Reply(Reply::number(count)))
}

/// `LTMC.TASK.SIGNAL`
pub fn signal<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let (id, has_data) = (args.id("task")?, cx.args.len() > 3);
    if has_data {
        args.bytes("data")?;
    }
    args.finish()?;
    existing(cx)?;
    let (key, at) = (cx.key(1), cx.now());
    let data = if has_data { blob(cx, "a signal", 3)? } else { Blob::default() };
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    let event = decide::signal(decide::task(&stored.state, id)?, data, at)?;
    let is_new = event.is_some();
    commit::<Flow, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(is_new.into())))
}

/// `LTMC.TASK.WAIT`
pub fn wait<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let task = if args.has_argument() { Some(args.id("task")?) } else { None };
    let mut block_ms = None;
    while args.option()?.is_some() {
        block_ms = Some(args.millis("BLOCK", 0)?);
    }
    existing(cx)?;
    let key = cx.key(1);
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Err(decide::no_flow()) };
    if let Some(reply) = end_reply(&stored.state, task)? {
        return Ok(Outcome::Reply(reply));
    }
    let Some(block_ms) = block_ms.filter(|_| cx.host.may_block()) else { return Ok(Outcome::Reply(Reply::Nil)) };
    let waiter = CompletionWaiter { key: key.id(), task: task.map(Bytes::from) };
    let new = NewWait {
        service: Service::Flow,
        waiting: cx.node.queues.completions.waiting_for(&key.id()),
        key: key.id(),
        max: Setting::TaskWaitersMax,
        what: "one more client waiting for an end",
        block_ms,
        principal: None,
    };
    waiting::wait(cx, new, |queues, id| queues.completions.insert(id, waiter))
}
