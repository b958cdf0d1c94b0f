//! The commands that only read tasks, and how tasks are shown. They work on replicas, too.

use super::reply::{blob_or_nil, locks_of, time_or_nil};
use super::task_locks;
use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::page::{Items, Paging};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::domain::flow::task::{Attempt, Run, STATE_WORDS};
use crate::domain::flow::why::{why, Outside};
use crate::domain::flow::{Flow, State, Task};
use crate::domain::registry::filter::Statuses;
use crate::domain::registry::find::{find, Sort};
use crate::domain::registry::{Filter, Registry, Status};
use crate::domain::{Bytes, Error};
use std::borrow::Cow;

type Fields = Vec<(Cow<'static, str>, Reply)>;

fn texts<'a>(list: impl IntoIterator<Item = &'a Bytes>) -> Reply {
    Reply::Array(list.into_iter().map(|text| Reply::bytes(text)).collect())
}

/// `LTMC.TASK.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let id = args.id("task")?;
    let mut registry = None;
    while args.option()?.is_some() {
        registry = Some(args.position());
        args.bytes("REGISTRY")?;
    }
    let key = cx.key(1);
    let Some(task) = cx.host.read::<Flow>(key)?.and_then(|stored| stored.state.task(id)) else {
        return Ok(Outcome::Reply(Reply::Nil));
    };
    let (needs, is_ready) = (task.needs.clone(), matches!(task.state, State::Ready));
    let has_nobody = match registry.map(|at| cx.key(at)).filter(|_| is_ready) {
        Some(registry) => !is_somebody_able(cx.node, cx.host, registry, &needs.caps)?,
        None => false,
    };
    let held = if is_ready { held_lock(cx.node, cx.host, key, &needs.locks) } else { None };
    let moving = if is_ready { task_locks::first_moving(cx.host, key, &needs.locks) } else { None };
    let now = cx.now();
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let lock = |at: usize| &needs.locks[at][..];
    let outside = Outside { held_lock: held.map(lock), moving_lock: moving.map(lock), has_nobody };
    let shown = stored.state.task(id).map(|task| (task, why(&stored.state, task, outside, now)));
    Ok(Outcome::Reply(shown.map_or(Reply::Nil, |(task, why)| task_map(&stored.state, task, why))))
}

fn held_lock<H: Host>(node: &mut Node, host: &mut H, key: Key, locks: &[Bytes]) -> Option<usize> {
    task_locks::first_held(node, host, key.db, locks, &Bytes::EMPTY)
}

/// Whether an agent with these capabilities is alive.
fn is_somebody_able<H: Host>(
    node: &Node,
    host: &mut H,
    registry: Key,
    caps: &[crate::domain::value::capability::Requirement],
) -> Result<bool, Error> {
    let alive = [Status::Starting, Status::Active, Status::Idle, Status::Busy];
    let statuses = alive.into_iter().fold(Statuses::NONE, Statuses::with);
    let filter = Filter { caps: caps.to_vec(), statuses: Some(statuses), ..Filter::ANY };
    let view = node.view();
    let stored = host.read::<Registry>(registry)?;
    Ok(stored.is_some_and(|stored| !find(&stored.state, &view, &filter, Sort::None, 1, 0).is_empty()))
}

fn task_map(flow: &Flow, task: &Task, why: String) -> Reply {
    let plan = task.plan.as_deref();
    let mut fields: Fields = Vec::with_capacity(32);
    let mut add = |name: &'static str, value: Reply| fields.push((name.into(), value));
    add("task", Reply::bytes(&task.id));
    add("state", Reply::text(task.state.word()));
    add("why", Reply::text(why));
    add("payload", Reply::Blob(task.payload.clone()));
    add("result", blob_or_nil(task.end().filter(|end| end.how.is_success()).map(|end| &end.result)));
    add("after", texts(task.parents.iter().filter_map(|parent| flow.at(parent.no)).map(|parent| &parent.id)));
    add("on", Reply::text(task.on.word()));
    add("caps", Reply::Array(task.needs.caps.iter().map(|cap| Reply::bytes(&cap.text())).collect()));
    add("group", Reply::bytes_or_nil(&task.needs.group));
    add("priority", Reply::number(task.priority.into()));
    add("locks", texts(task.needs.locks.iter()));
    add("attempts", Reply::number(task.attempts.into()));
    add("retries", plan.and_then(|plan| plan.retries).map_or(Reply::Nil, |retries| Reply::number(retries.into())));
    add("added_at_ms", Reply::number(task.added_at));
    add("not_before_at_ms", time_or_nil(task.not_before));
    add("deadline_at_ms", Reply::number_or_nil(task.deadline()));
    add("signal", blob_or_nil(plan.and_then(|plan| plan.signal.as_ref())));
    if let Some(run) = task.run() {
        add_run(&mut add, task, run);
    }
    if let Some(end) = task.end() {
        add("agent", Reply::bytes_or_nil(&end.agent));
        add("fence", time_or_nil(end.fence));
        add("claimed_at_ms", time_or_nil(end.since));
        add("ended_at_ms", Reply::number(end.at));
        add("reason", Reply::bytes_or_nil(&end.reason));
    }
    add("history", Reply::Array(task.past.iter().map(attempt_map).collect()));
    Reply::Map(fields)
}

fn add_run(add: &mut impl FnMut(&'static str, Reply), task: &Task, run: &Run) {
    add("agent", Reply::bytes(&run.agent));
    add("fence", Reply::number(run.fence));
    add("registry", Reply::bytes_or_nil(&run.registry));
    add("claimed_at_ms", Reply::number(run.since));
    add("lease_ms", Reply::number(run.lease_ms));
    add("ends_at_ms", Reply::number(run.ends_at));
    add("progress", run.progress.map_or(Reply::Nil, |percent| Reply::number(percent.into())));
    add("note", Reply::bytes_or_nil(&run.note));
    add("held_locks", locks_of(task, &run.locks));
    add("stopping", Reply::Integer(i64::from(run.stop.is_some())));
}

fn attempt_map(attempt: &Attempt) -> Reply {
    Reply::map([
        ("agent", Reply::bytes(&attempt.agent)),
        ("fence", Reply::number(attempt.fence)),
        ("since_at_ms", Reply::number(attempt.since)),
        ("ended_at_ms", Reply::number(attempt.at)),
        ("cause", Reply::text(attempt.cause.word())),
        ("reason", Reply::bytes_or_nil(&attempt.reason)),
    ])
}

/// `LTMC.TASK.LIST`
pub fn list<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let words = STATE_WORDS.map(str::to_ascii_uppercase);
    let words = words.each_ref().map(String::as_str);
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let (mut state, mut page) = (None, Paging::all(Items::Tasks));
    while let Some(word) = args.option()? {
        match word {
            "STATE" => state = Some(args.word("STATE", &words)?),
            _ => page = Paging::read(Items::Tasks, word, &mut args)?,
        }
    }
    let (key, mut budget) = (cx.key(1), Budget::of(cx.node));
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Ok(Outcome::Reply(page.nothing())) };
    let (flow, start, show) = (&stored.state, page.start(), |task: &Task| Reply::bytes(&task.id));
    let Some(state) = state else {
        let tasks = flow.tasks_from(start);
        return Ok(Outcome::Reply(page.list(&mut budget, tasks, |task| task.no, |_| true, show)?));
    };
    let tasks = flow.index().in_state(state).range(start..).filter_map(|no| flow.at(*no));
    Ok(Outcome::Reply(page.list(&mut budget, tasks, |task| task.no, |_| true, show)?))
}
