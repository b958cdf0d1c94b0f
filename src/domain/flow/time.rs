//! What time does to a flow: leases end, pauses end, deadlines pass. Only the primary decides it.

use super::decide::stop;
use super::event::FlowEvent;
use super::index::Alarm;
use super::looks::Work;
use super::task::{Cause, How, Run, State, Task};
use super::work::{failed, Policy};
use super::Flow;
use crate::domain::value::time::Gaps;
use crate::domain::{Bytes, Millis};

/// What is due, with `behind` only what comes after that alarm, as far as it takes no more than
/// about `max` looks to see whether it can happen now. Also returns how many it takes, and the
/// alarm of the last event if there may be more.
pub fn due(
    flow: &Flow,
    policy: &Policy,
    gaps: &Gaps,
    now: Millis,
    behind: Option<Alarm>,
    max: usize,
) -> (Vec<(Alarm, FlowEvent)>, usize, Option<Alarm>) {
    let (mut events, mut work, mut last) = (Vec::new(), Work::of(max), None);
    for alarm in flow.index().due(now, behind) {
        let Some(task) = flow.at(alarm.1) else { continue };
        let Some(event) = due_of(task, policy, gaps, now) else { continue };
        if !work.takes(flow.looks_of(&event)) {
            return (events, work.taken, last);
        }
        events.push((alarm, event));
        last = Some(alarm);
    }
    (events, work.taken, None)
}

fn due_of(task: &Task, policy: &Policy, gaps: &Gaps, now: Millis) -> Option<FlowEvent> {
    let (id, at) = (task.id.clone(), now);
    let renewed = |run: &Run| gaps.renewed(run.ends_at, run.lease_ms).filter(|until| *until > now);
    let is_late = task.deadline().is_some_and(|deadline| deadline <= now);
    match &task.state {
        State::Ended(_) => None,
        State::Running(run) => match &run.stop {
            Some(stop) => {
                let reason = Bytes::from("its worker did not stop");
                Some(FlowEvent::Ended { task: id, at, how: stop.how, reason })
            }
            None if is_late => Some(stop(task, run, How::Dead, at, policy.grace_ms)),
            // Its locks have ended with the lease, if it has any.
            None if run.locks.is_empty() && renewed(run).is_some() => {
                let ends_at = renewed(run)?;
                Some(FlowEvent::Extended { task: id, at, ends_at, progress: None })
            }
            None => Some(failed(task, run, Cause::LeaseEnded, b"", false, policy, at)),
        },
        _ if is_late => Some(FlowEvent::Ended { task: id, at, how: How::Dead, reason: Bytes::from("deadline") }),
        State::Delayed => Some(FlowEvent::Ripened { task: id, at }),
        State::Waiting | State::Held | State::Ready => None,
    }
}

/// When the rate allows the next claim, if only the rate keeps waiting workers from ready tasks.
pub fn claimable_at(flow: &Flow) -> Option<Millis> {
    let rate = flow.options.rate?;
    let is_open = !flow.is_paused && !flow.is_cancelled() && flow.index.has_offers();
    if !is_open || flow.claim_times.len() < rate.claims as usize {
        return None;
    }
    flow.claim_times.front().map(|first| first.saturating_add(rate.per_ms))
}
