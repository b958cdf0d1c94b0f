//! What workers may do. Each function validates everything, and returns events or an error.

use super::decide::no_task;
use super::event::{Claimed, FlowEvent};
use super::offers::Offers;
use super::past::EndedClaim;
use super::spec::BACKOFF_MS_MAX;
use super::task::{Backoff, Cause, How, Run, State, Task};
use super::Flow;
use crate::domain::algorithm::splitmix::next_random;
use crate::domain::value::bytes::printable;
use crate::domain::value::capability::Capability;
use crate::domain::value::fence::Clock;
use crate::domain::{Blob, Bytes, Code, Error, Fence, Millis};
use std::sync::Arc;

/// What settings decide.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The default lease of a task, ms.
    pub lease_ms: Millis,
    /// The default number of retries after the first attempt.
    pub retries: u32,
    /// The first pause after a failure of a task without its own backoff, ms; 0 for none.
    pub backoff_ms: Millis,
    /// How long a worker may take to stop when asked to, ms.
    pub grace_ms: Millis,
}

/// The arguments of a claim.
#[derive(Debug, Clone)]
pub struct ClaimArgs {
    /// The worker.
    pub agent: Bytes,
    /// Its capabilities, sorted and without duplicates.
    pub caps: Arc<Vec<Capability>>,
    /// The registry of the worker; empty if it names none.
    pub registry: Bytes,
    /// The lease, ms, if it gives one.
    pub lease_ms: Option<Millis>,
    /// The largest number of tasks.
    pub count: usize,
    /// The task with whose completion it claims, and its fence; empty and 0 if there is none.
    pub after: (Bytes, Fence),
}

/// How many tasks may be claimed now.
pub fn room(flow: &Flow, now: Millis) -> usize {
    if flow.is_paused() || flow.is_cancelled() {
        return 0;
    }
    let options = flow.options();
    let active = match options.max_active as usize {
        0 => usize::MAX,
        max => max.saturating_sub(flow.index().running()),
    };
    let rated = options.rate.map_or(usize::MAX, |rate| {
        let expired = flow.claim_times.iter().take_while(|at| at.saturating_add(rate.per_ms) <= now).count();
        (rate.claims as usize).saturating_sub(flow.claim_times.len() - expired)
    });
    active.min(rated)
}

/// The tasks that a worker with `caps` may claim, the best first: one of each line.
pub fn offers<'a>(flow: &'a Flow, caps: &[Capability]) -> Offers<'a> {
    flow.index().offers(caps)
}

/// The lease of a claim, ms: the worker's, else the task's, else the default.
pub fn lease_of(task: &Task, args: &ClaimArgs, policy: &Policy) -> Millis {
    let own = task.plan.as_ref().map(|plan| plan.lease_ms).filter(|lease| *lease > 0);
    args.lease_ms.or(own).unwrap_or(policy.lease_ms)
}

/// Claims a task that is on offer, with the fences of its locks.
pub fn claim(
    task: &Task,
    args: &ClaimArgs,
    locks: Vec<Fence>,
    policy: &Policy,
    clock: &mut Clock,
) -> (FlowEvent, Fence) {
    let (fence, at) = (clock.next_fence(), clock.now());
    let claimed = Claimed {
        task: task.id.clone(),
        fence,
        at,
        agent: args.agent.clone(),
        registry: args.registry.clone(),
        caps: args.caps.to_vec(),
        lease_ms: lease_of(task, args, policy),
        ends_at: at.saturating_add(lease_of(task, args, policy)),
        locks,
        after: args.after.0.clone(),
        after_fence: args.after.1,
    };
    (FlowEvent::Claimed(Box::new(claimed)), fence)
}

/// Takes a claim back, since its client was gone before it could be told.
pub fn take_back(flow: &Flow, fence: Fence, at: Millis) -> Option<FlowEvent> {
    let task = flow.claimed(fence)?;
    let id = task.id.clone();
    Some(match &task.run()?.stop {
        Some(stop) => FlowEvent::Ended { task: id, at, how: stop.how, reason: Bytes::EMPTY },
        None => FlowEvent::TakenBack { task: id, at },
    })
}

/// What a fence is to a task.
#[derive(Debug)]
pub enum ClaimedTask<'a> {
    /// The task runs under it.
    Running(&'a Task, &'a Run),
    /// It ran under it.
    Past(&'a Task),
    /// The same, but the task is forgotten.
    Forgotten(&'a EndedClaim),
}

/// The task, and what `fence` is to it.
pub fn claimed_task<'a>(flow: &'a Flow, id: &[u8], fence: Fence) -> Result<ClaimedTask<'a>, Error> {
    let Some(task) = flow.task(id) else { return forgotten_claim(flow, id, fence) };
    let newest = match &task.state {
        State::Running(run) if run.fence == fence => return Ok(ClaimedTask::Running(task, run)),
        State::Running(run) => run.fence,
        State::Ended(end) if end.fence == fence => return Ok(ClaimedTask::Past(task)),
        State::Ended(end) => end.fence,
        _ => 0,
    };
    let past = task.past.last();
    if newest == 0 && past.is_some_and(|attempt| attempt.fence == fence) {
        return Ok(ClaimedTask::Past(task));
    }
    // A task that is forgotten by now may have had the same name.
    if let Some(claim) = flow.past().get(id, fence) {
        return Ok(ClaimedTask::Forgotten(claim));
    }
    let newest = past.map_or(0, |attempt| attempt.fence).max(newest);
    let known = if newest == 0 { "nobody has it".into() } else { format!("the newest is {newest}") };
    let (id, state) = (task.id.show(), task.state.word());
    Err(Error::new(Code::Stale, format!("fence {fence} of '{id}' is not current, {known}; it is {state}")))
}

/// What `fence` was to a task that is not there.
fn forgotten_claim<'a>(flow: &'a Flow, id: &[u8], fence: Fence) -> Result<ClaimedTask<'a>, Error> {
    let claims = flow.past();
    if let Some(claim) = claims.get(id, fence) {
        return Ok(ClaimedTask::Forgotten(claim));
    }
    let last = claims.last_of(id).ok_or_else(|| no_task(flow, id))?;
    let (newest, id, state) = (last.fence, printable(id), last.how.word());
    Err(Error::new(
        Code::Stale,
        format!("fence {fence} of '{id}' is not current, the newest is {newest}; it is {state}"),
    ))
}

/// The outcome of a heartbeat.
#[derive(Debug, PartialEq)]
pub enum HeartbeatOutcome {
    /// The worker may go on.
    GoOn(FlowEvent),
    /// The task was cancelled.
    Cancelled,
    /// Its deadline has passed.
    Deadline,
}

/// A worker sends a heartbeat.
pub fn heartbeat(
    flow: &Flow,
    id: &[u8],
    fence: Fence,
    progress: Option<(Option<u8>, Bytes)>,
    at: Millis,
) -> Result<HeartbeatOutcome, Error> {
    let told = |how: How| if how == How::Dead { HeartbeatOutcome::Deadline } else { HeartbeatOutcome::Cancelled };
    match claimed_task(flow, id, fence)? {
        ClaimedTask::Running(_, run) if run.stop.is_some() => {
            Ok(told(run.stop.map_or(How::Cancelled, |stop| stop.how)))
        }
        // Its locks have ended with the lease, and others may hold them by now.
        ClaimedTask::Running(task, run) if run.ends_at <= at && !run.locks.is_empty() => Err(ended_claim(task, fence)),
        ClaimedTask::Running(task, run) => {
            let progress = progress.filter(|(percent, note)| (*percent, note) != (run.progress, &run.note));
            let ends_at = at.saturating_add(run.lease_ms);
            Ok(HeartbeatOutcome::GoOn(FlowEvent::Extended { task: task.id.clone(), at, ends_at, progress }))
        }
        ClaimedTask::Past(task) => match task.end() {
            // It was asked to stop and did not hear of it in time.
            Some(end) if was_stopped(task, fence) => Ok(told(end.how)),
            _ => Err(ended_claim(task, fence)),
        },
        ClaimedTask::Forgotten(claim) if claim.cause == Some(Cause::Stopped) => Ok(told(claim.how)),
        ClaimedTask::Forgotten(claim) => Err(forgotten(claim)),
    }
}

fn was_stopped(task: &Task, fence: Fence) -> bool {
    task.past.last().is_some_and(|attempt| attempt.fence == fence && attempt.cause == Cause::Stopped)
}

fn ended_claim(task: &Task, fence: Fence) -> Error {
    ended(&task.id, fence, task.state.word())
}

fn forgotten(claim: &EndedClaim) -> Error {
    ended(&claim.task, claim.fence, claim.how.word())
}

fn ended(id: &Bytes, fence: Fence, state: &str) -> Error {
    Error::new(Code::Stale, format!("fence {fence} of '{}' has ended; the task is {state}", id.show()))
}

fn other_result(id: &Bytes) -> Error {
    Error::new(Code::BadState, format!("'{}' was completed under this fence with another result", id.show()))
}

/// A worker completes its task. `None` if it has done so before.
pub fn complete(flow: &Flow, id: &[u8], fence: Fence, result: Blob, at: Millis) -> Result<Option<FlowEvent>, Error> {
    match claimed_task(flow, id, fence)? {
        ClaimedTask::Running(task, run) => {
            if let Some(stop) = &run.stop {
                let why = if stop.how == How::Dead { "its deadline has come" } else { "it was cancelled" };
                let text = format!("'{}' cannot be completed, {why}: LTMC.TASK.FAIL gives it back", task.id.show());
                return Err(Error::new(Code::BadState, text));
            }
            Ok(Some(FlowEvent::Completed { task: task.id.clone(), at, result }))
        }
        ClaimedTask::Past(task) => match task.end() {
            Some(end) if end.how.is_success() && end.result == result => Ok(None),
            Some(end) if end.how.is_success() => Err(other_result(&task.id)),
            _ => Err(ended_claim(task, fence)),
        },
        ClaimedTask::Forgotten(claim) if claim.has_result(&result) => Ok(None),
        ClaimedTask::Forgotten(claim) if claim.how.is_success() => Err(other_result(&claim.task)),
        ClaimedTask::Forgotten(claim) => Err(forgotten(claim)),
    }
}

/// The claim that a worker made with this completion; 0 if none.
pub fn next_of(flow: &Flow, id: &[u8], fence: Fence) -> Fence {
    let end = flow.task(id).and_then(Task::end).filter(|end| end.fence == fence);
    let next = end.map(|end| end.next).or_else(|| flow.past().get(id, fence).map(|claim| claim.next));
    next.unwrap_or(0)
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// There will be another attempt.
    Retry,
    /// There will be none.
    Dead,
    /// The task was cancelled.
    Cancelled,
}

impl Fate {
    /// Its word in replies.
    pub fn word(self) -> &'static str {
        ["RETRY", "DEAD", "CANCELLED"][self as usize]
    }
}

/// A worker gives up its task. `is_final` says that no other worker should try. No event if it
/// has done so before.
pub fn fail(
    flow: &Flow,
    id: &[u8],
    fence: Fence,
    reason: &[u8],
    is_final: bool,
    policy: &Policy,
    at: Millis,
) -> Result<(Option<FlowEvent>, Fate), Error> {
    match claimed_task(flow, id, fence)? {
        ClaimedTask::Running(task, run) => {
            let event = failed(task, run, Cause::Failed, reason, is_final, policy, at);
            let fate = match &event {
                FlowEvent::Failed { retry_at: 0, .. } | FlowEvent::Ended { how: How::Dead, .. } => Fate::Dead,
                FlowEvent::Ended { .. } => Fate::Cancelled,
                _ => Fate::Retry,
            };
            Ok((Some(event), fate))
        }
        ClaimedTask::Past(task) => match (task.past.last(), task.end()) {
            (Some(attempt), _) if attempt.fence != fence => Err(ended_claim(task, fence)),
            (Some(attempt), None) if attempt.cause == Cause::Failed => Ok((None, Fate::Retry)),
            (Some(_), Some(end)) if end.how == How::Dead => Ok((None, Fate::Dead)),
            (Some(attempt), Some(_)) if attempt.cause == Cause::Stopped => Ok((None, Fate::Cancelled)),
            _ => Err(ended_claim(task, fence)),
        },
        ClaimedTask::Forgotten(claim) => match claim.cause {
            Some(_) if claim.how == How::Dead => Ok((None, Fate::Dead)),
            Some(Cause::Stopped) => Ok((None, Fate::Cancelled)),
            _ => Err(forgotten(claim)),
        },
    }
}

/// The end of a failed attempt.
pub fn failed(
    task: &Task,
    run: &Run,
    cause: Cause,
    reason: &[u8],
    is_final: bool,
    policy: &Policy,
    at: Millis,
) -> FlowEvent {
    let (id, reason) = (task.id.clone(), Bytes::from(reason));
    if let Some(stop) = &run.stop {
        return FlowEvent::Ended { task: id, at, how: stop.how, reason };
    }
    let plan = task.plan.as_deref();
    let retries = plan.and_then(|plan| plan.retries).unwrap_or(policy.retries);
    let retry_at = if is_final || task.attempts > retries {
        0
    } else {
        let backoff = plan.and_then(|plan| plan.backoff).or_else(|| default_backoff(cause, policy));
        at.saturating_add(backoff.map_or(0, |backoff| pause(&backoff, task)))
    };
    FlowEvent::Failed { task: id, at, cause, reason, retry_at }
}

/// The backoff of a task that names none. A worker that fails can come back at once and use up all
/// attempts. A lost lease took its time already, and the tasks of a dead agent go on at once.
fn default_backoff(cause: Cause, policy: &Policy) -> Option<Backoff> {
    (cause == Cause::Failed && policy.backoff_ms > 0).then_some(Backoff {
        is_exponential: true,
        ms: policy.backoff_ms,
        max_ms: BACKOFF_MS_MAX.max(policy.backoff_ms),
    })
}

/// The pause before the next attempt, ms. Tasks that fail together do not come back
/// together: an exponential pause is shortened by up to half. By how much depends only on
/// the task and the attempt.
fn pause(backoff: &Backoff, task: &Task) -> Millis {
    if !backoff.is_exponential {
        return backoff.ms.min(backoff.max_ms);
    }
    let doublings = task.attempts.saturating_sub(1).min(63);
    let full = backoff.ms.saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(backoff.max_ms);
    // FNV-1a of the name and the number of the attempt.
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut seed = task.id.iter().chain(&task.attempts.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, hash);
    full - next_random(&mut seed) % (full / 2 + 1)
}

/// The claims of an agent that is gone: its attempts end.
pub fn agent_gone(flow: &Flow, registry: &[u8], agent: &[u8], policy: &Policy, at: Millis) -> Vec<FlowEvent> {
    let runs = flow.index().run_by(agent).filter_map(|no| flow.at(no)).filter_map(|task| Some((task, task.run()?)));
    let claimed_so = runs.filter(|(_, run)| *run.registry == *registry);
    claimed_so.map(|(task, run)| failed(task, run, Cause::AgentGone, b"", false, policy, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(attempts: u32) -> Task {
        let mut flow = Flow::default();
        let addition = super::super::Addition { id: Bytes::from("t"), ..Default::default() };
        flow.happen(&FlowEvent::Created { at: 1, options: Default::default() });
        flow.happen(&FlowEvent::Added(Box::new(addition)));
        Task { attempts, ..flow.task(b"t").unwrap().clone() }
    }

    #[test]
    fn exponential_pauses_double_up_to_their_bound_and_lose_at_most_half() {
        let backoff = Backoff { is_exponential: true, ms: 100, max_ms: 5_000 };
        for (attempts, full) in [(1, 100), (2, 200), (3, 400), (6, 3_200), (7, 5_000), (200, 5_000)] {
            let pause = pause(&backoff, &task(attempts));
            assert!((full / 2..=full).contains(&pause), "{pause} after attempt {attempts}");
        }
        let pauses: std::collections::BTreeSet<Millis> =
            (7..40).map(|attempts| pause(&backoff, &task(attempts))).collect();
        assert!(pauses.len() > 20, "they are not all the same: {pauses:?}");
        assert_eq!(super::pause(&Backoff { is_exponential: false, ms: 70, max_ms: 5_000 }, &task(9)), 70);
    }
}
