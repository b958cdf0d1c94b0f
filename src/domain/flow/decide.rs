//! What clients may do to tasks. Each function validates everything, and returns
//! events or an error.

use super::event::{Addition, FlowEvent};
use super::looks::Work;
use super::task::{How, On, Parent, Run, State, Task, Told, Verdict};
use super::{Flow, TaskNo};
use crate::domain::limits::{FLOW_BYTES_MAX, REQUEUE_LOOKS_MAX};
use crate::domain::value::bytes::printable;
use crate::domain::value::fence::Clock;
use crate::domain::{Blob, Bytes, Code, Error, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// The error for a missing task. If it is known how it ended, it says so.
pub fn no_task(flow: &Flow, id: &[u8]) -> Error {
    let ended = flow.past().last_of(id).map(|claim| format!(": it is {}, and no longer kept", claim.how.word()));
    let text = format!("there is no task '{}' in this flow{}", printable(id), ended.unwrap_or_default());
    Error::new(Code::NoTask, text)
}

/// The error for a missing flow.
pub fn no_flow() -> Error {
    Error::new(Code::NoFlow, "there is no flow under this key")
}

/// A name for a task that `is_taken` does not know. It grows like a fence.
pub fn new_name(clock: &mut Clock, is_taken: impl Fn(&Bytes) -> bool) -> Bytes {
    loop {
        let name = Bytes::from(clock.next_fence().to_string().as_str());
        if !is_taken(&name) {
            return name;
        }
    }
}

/// A task by its name.
pub fn task<'a>(flow: &'a Flow, id: &[u8]) -> Result<&'a Task, Error> {
    flow.task(id).ok_or_else(|| no_task(flow, id))
}

/// The flow cannot be created, since it is there.
pub fn exists() -> Error {
    Error::new(Code::BadState, "the flow exists: a flow is created once, tasks are added to it")
}

/// Errs if no task can be added to the flow.
pub fn check_open(flow: &Flow) -> Result<(), Error> {
    if flow.is_cancelled() {
        return Err(Error::new(Code::BadState, "the flow is cancelled: nothing more is done in it"));
    }
    if flow.index().inline_bytes() > FLOW_BYTES_MAX {
        let text = format!("the tasks of the flow take {FLOW_BYTES_MAX} bytes, which is all that one may have");
        return Err(Error::new(Code::Limit, text));
    }
    Ok(())
}

/// Adds a task. If its parents have ended so that it can never run, it ends at once.
pub fn add(flow: &Flow, addition: Addition) -> Result<Vec<FlowEvent>, Error> {
    check_open(flow)?;
    if flow.task(&addition.id).is_some() {
        let text = format!("there is a task '{}' in this flow already", addition.id.show());
        return Err(Error::new(Code::BadState, text));
    }
    let mut told = [0; 4];
    let parents = addition.after.iter().map(|id| task(flow, id).map(|parent| (parent.no, parent)));
    let parents: BTreeMap<TaskNo, &Task> = parents.collect::<Result<_, _>>()?;
    parents.values().for_each(|parent| told[parent.as_parent().told as usize] += 1);
    let [open, succeeded, failed, _] = told;
    let verdict = Verdict::of(addition.on, open, succeeded, failed);
    let (id, at, on) = (addition.id.clone(), addition.at, addition.on);
    let mut events = vec![FlowEvent::Added(Box::new(addition))];
    if verdict == Verdict::Skipped {
        let failed = parents.values().find(|parent| parent.end().is_some_and(|end| !end.how.is_success()));
        let reason = failed.map_or(Bytes::EMPTY, |parent| skip_reason(on, parent));
        events.push(FlowEvent::Ended { task: id, at, how: How::Skipped, reason });
    }
    Ok(events)
}

pub(super) fn skip_reason(on: On, parent: &Task) -> Bytes {
    let id = parent.id.show();
    let text = match on {
        On::Any => format!("nothing that it waited for succeeded, '{id}' was the last"),
        _ => format!("'{id}' is {}", parent.state.word()),
    };
    Bytes::from(&text.as_bytes()[..text.len().min(crate::domain::limits::TASK_TEXT_BYTES_MAX)])
}

/// What becomes of a waiting task once it is told how a parent ended.
pub fn verdict_when_told(task: &Task, is_success: bool) -> Verdict {
    let is_last = task.open <= 1;
    match task.on {
        On::Success if !is_success => Verdict::Skipped,
        On::Any if is_success => Verdict::Runs,
        On::Any if is_last => Verdict::Skipped,
        _ if is_last => Verdict::Runs,
        _ => Verdict::Waits,
    }
}

/// Cancels a task, and with `and_all` those that wait for it. `None` if it has ended, or never was.
pub fn cancel(flow: &Flow, id: &[u8], and_all: bool, at: Millis, grace_ms: Millis) -> Option<FlowEvent> {
    flow.task(id).and_then(|task| cancelled(task, and_all, at, grace_ms))
}

pub(super) fn cancelled(task: &Task, and_all: bool, at: Millis, grace_ms: Millis) -> Option<FlowEvent> {
    let how = if and_all { How::CancelledWithAll } else { How::Cancelled };
    match &task.state {
        State::Ended(_) => None,
        State::Running(run) => Some(stop(task, run, how, at, grace_ms)),
        _ => Some(FlowEvent::Ended { task: task.id.clone(), at, how, reason: Bytes::EMPTY }),
    }
}

/// Asks the worker of a task to stop.
pub(super) fn stop(task: &Task, run: &Run, how: How, at: Millis, grace_ms: Millis) -> FlowEvent {
    // Asking again does not give it more time.
    let ends_at = run.stop.as_ref().map_or(at.saturating_add(grace_ms), |stop| stop.ends_at);
    FlowEvent::Stopping { task: task.id.clone(), at, how, ends_at }
}

/// Gives a task the signal that it waits for. `None` if it has the signal.
pub fn signal(task: &Task, data: Blob, at: Millis) -> Result<Option<FlowEvent>, Error> {
    let Some(plan) = task.plan.as_ref().filter(|plan| plan.waits_for_signal) else {
        let text = format!("'{}' was added without WAITSIGNAL: it waits for no signal", task.id.show());
        return Err(Error::new(Code::BadState, text));
    };
    if task.has_ended() {
        let text = format!("'{}' is {}: a signal does not change that", task.id.show(), task.state.word());
        return Err(Error::new(Code::BadState, text));
    }
    Ok(plan.signal.is_none().then(|| FlowEvent::Signalled { task: task.id.clone(), at, data }))
}

/// Requeues a task that ended without success, and with `and_all` those that were skipped or
/// cancelled because of it.
pub fn requeue(flow: &Flow, id: &[u8], and_all: bool, at: Millis) -> Result<Vec<FlowEvent>, Error> {
    check_open(flow)?;
    let first = task(flow, id)?;
    if first.end().is_none_or(|end| end.how.is_success()) {
        let text = format!(
            "'{}' is {}: dead, cancelled and skipped tasks can begin anew",
            first.id.show(),
            first.state.word()
        );
        return Err(Error::new(Code::BadState, text));
    }
    if !can_run(flow, first, &BTreeSet::new()) {
        let failed = first.parents.iter().filter_map(|parent| flow.at(parent.no));
        let failed = failed.filter(|parent| parent.end().is_some_and(|end| !end.how.is_success()));
        let names = names(failed);
        let text = format!("'{}' can never run, since it comes after {names}: requeue that first", first.id.show());
        return Err(Error::new(Code::BadState, text));
    }
    let again = if and_all { with_fallen(flow, first)? } else { BTreeSet::from([first.no]) };
    let tasks = again.into_iter().filter_map(|no| flow.at(no));
    Ok(tasks.map(|task| FlowEvent::Requeued { task: task.id.clone(), at }).collect())
}

/// A task, and those that were skipped or cancelled because of it and can begin anew with it.
fn with_fallen(flow: &Flow, first: &Task) -> Result<BTreeSet<TaskNo>, Error> {
    let (mut again, mut next) = (BTreeSet::from([first.no]), BTreeSet::new());
    let mut work = Work::of(REQUEUE_LOOKS_MAX);
    let mut look = |looks: usize| {
        let text = || {
            format!(
                "CASCADE would look at more than {REQUEUE_LOOKS_MAX} tasks and what they come after, which is more \
                 than one command may do: without it, one task after the other can begin anew"
            )
        };
        work.takes(looks).then_some(()).ok_or_else(|| Error::new(Code::Limit, text()))
    };
    let mut task = first;
    loop {
        for child in flow.index().edges().told(task.no) {
            look(1)?;
            next.insert(child);
        }
        // Parents come before their children.
        task = loop {
            let Some(no) = next.pop_first() else { return Ok(again) };
            let Some(task) = flow.at(no) else { continue };
            let fell = task.end().is_some_and(|end| matches!(end.how, How::Skipped | How::CancelledWithAll));
            look(if fell { task.weight() } else { 1 })?;
            if fell && can_run(flow, task, &again) {
                again.insert(no);
                break task;
            }
        };
    }
}

/// The names of tasks, for messages: the first ones, and how many more there are.
pub fn names<'a>(mut tasks: impl Iterator<Item = &'a Task>) -> String {
    const NAMES_MAX: usize = 8;
    let names: Vec<String> = tasks.by_ref().take(NAMES_MAX).map(|task| task.id.show()).collect();
    let more = match tasks.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

/// Whether a task could run some day if it and the tasks in `again` are requeued.
fn can_run(flow: &Flow, task: &Task, again: &BTreeSet<TaskNo>) -> bool {
    let mut told = [0; 4];
    for Parent { no, told: known } in &task.parents {
        let now = match flow.at(*no) {
            None if *known == Told::Succeeded => *known,
            None => Told::Void,
            Some(_) if again.contains(no) => Told::Open,
            Some(parent) => parent.as_parent().told,
        };
        told[now as usize] += 1;
    }
    let [open, succeeded, failed, _] = told;
    Verdict::of(task.on, open, succeeded, failed) != Verdict::Skipped
}

/// Pauses a flow: no task is handed out. `None` if it is paused.
pub fn pause(flow: &Flow, at: Millis) -> Result<Option<FlowEvent>, Error> {
    check_open(flow)?;
    Ok((!flow.is_paused()).then_some(FlowEvent::Paused { at }))
}

/// Resumes a flow. `None` if it is not paused.
pub fn resume(flow: &Flow, at: Millis) -> Result<Option<FlowEvent>, Error> {
    check_open(flow)?;
    Ok(flow.is_paused().then_some(FlowEvent::Resumed { at }))
}
