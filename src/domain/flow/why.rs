//! Why a task does not run, in words.

use super::decide::names;
use super::task::{Cause, State, Task, Told};
use super::work::room;
use super::Flow;
use crate::domain::value::bytes::printable;
use crate::domain::Millis;

/// What is known outside the flow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outside<'a> {
    /// The first lock of the task that another owner holds.
    pub held_lock: Option<&'a [u8]>,
    /// The first lock of the task that may be on another node.
    pub moving_lock: Option<&'a [u8]>,
    /// Whether no live agent of the named registry can do the task.
    pub has_nobody: bool,
}

/// What a task waits for, or how it ended.
pub fn why(flow: &Flow, task: &Task, outside: Outside, now: Millis) -> String {
    match &task.state {
        State::Waiting => {
            let open = task.parents.iter().filter(|parent| parent.told == Told::Open);
            format!("waits for {}", names(open.filter_map(|parent| flow.at(parent.no))))
        }
        State::Held => "waits for a signal".into(),
        State::Delayed => match task.past.last() {
            Some(attempt) if task.attempts > 0 => {
                let (left_ms, cause) = (task.not_before.saturating_sub(now), after(attempt.cause));
                let reason =
                    if attempt.reason.is_empty() { String::new() } else { format!(": {}", attempt.reason.show()) };
                let number = task.attempts;
                format!("waits {left_ms} ms for its next attempt after {cause} of attempt {number}{reason}")
            }
            _ => format!("waits {} ms, until its delay is over", task.not_before.saturating_sub(now)),
        },
        State::Ready => ready(flow, task, outside, now),
        State::Running(run) => match &run.stop {
            Some(stop) => format!("'{}' was asked to stop and has until {}", run.agent.show(), stop.ends_at),
            None => format!("'{}' has it since {}", run.agent.show(), run.since),
        },
        State::Ended(end) if end.reason.is_empty() => task.state.word().into(),
        State::Ended(end) => format!("{}: {}", task.state.word(), end.reason.show()),
    }
}

fn after(cause: Cause) -> &'static str {
    match cause {
        Cause::Failed => "a failure",
        Cause::LeaseEnded => "the lost lease",
        Cause::AgentGone => "the loss of the agent",
        Cause::Stopped => "the stop",
    }
}

fn ready(flow: &Flow, task: &Task, outside: Outside, now: Millis) -> String {
    let (options, index) = (flow.options(), flow.index());
    let caps: Vec<String> = task.needs.caps.iter().map(|cap| printable(&cap.text())).collect();
    if flow.is_cancelled() {
        return "the flow is cancelled".into();
    }
    if flow.is_paused() {
        return "the flow is paused".into();
    }
    if !index.has_room(&task.needs.group, options) {
        let group = task.needs.group.show();
        return format!("group {group} is full: {} of {} run", index.running_of(&task.needs.group), options.group_max);
    }
    if options.max_active > 0 && index.running() >= options.max_active as usize {
        return format!("the flow is full: {} of {} run", index.running(), options.max_active);
    }
    if room(flow, now) == 0 {
        let at = super::time::claimable_at(flow).unwrap_or(now);
        return format!("rate limit: the next claim may be made at {at}");
    }
    if let Some(lock) = outside.moving_lock {
        return format!("the lock {} may be on another node", printable(lock));
    }
    if let Some(lock) = outside.held_lock {
        return format!("the lock {} is held", printable(lock));
    }
    match (outside.has_nobody, caps.is_empty()) {
        (true, true) => "no agent is alive".into(),
        (true, false) => format!("no live agent has {}", caps.join(", ")),
        (false, true) => "ready: nobody has asked for it yet".into(),
        (false, false) => format!("ready: nobody who has {} has asked for it yet", caps.join(", ")),
    }
}
