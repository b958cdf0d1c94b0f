//! The saved form of a flow, and the invariants of a loaded one.

use super::event::{Addition, Claimed, FlowEvent};
use super::past::{EndedClaim, EndedClaims};
use super::task::{Attempt, End, Needs, Parent, Plan, Run, State, Task, Told, Verdict};
use super::{Flow, Keep, Options, TaskNo, Totals};
use crate::domain::algorithm::allocator::{allocated, tree_bytes};
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::CHECKED_BYTES;
use crate::domain::entity::NUMBER_MAX;
use crate::domain::limits::{
    is_ttl, AGENT_LABELS_MAX, ATTEMPTS_KEPT_MAX, DURATION_MS_MAX, ENDED_CLAIMS_MAX, FLOW_TASKS_END, ID_BYTES_MAX,
    PRIORITY_MAX, RATE_CLAIMS_MAX, TASK_BYTES_END, TASK_LOCKS_MAX, TASK_PARENTS_MAX, TASK_RETRIES_MAX,
    TASK_TEXT_BYTES_MAX,
};
use crate::domain::value::capability::{Capability, Requirement};
use crate::domain::value::fence::{check_fence, FENCE_END};
use crate::domain::{Blob, Bytes, Error, Fence, Invariant, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::VecDeque;

/// The saved form: the tasks in the order of their numbers.
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    created_at: Millis,
    options: Options,
    is_paused: bool,
    cancelled: Option<TaskNo>,
    last_no: TaskNo,
    last_fence: Fence,
    totals: Totals,
    claim_times: VecDeque<Millis>,
    tasks: Vec<T>,
    past: EndedClaims,
}

impl Serialize for Flow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tasks: Vec<&Task> = self.tasks().collect();
        let Flow { created_at, options, is_paused, cancelled, last_no, last_fence, totals, .. } = *self;
        let claim_times = self.claim_times.clone();
        let past = self.past.clone();
        let saved =
            Saved { created_at, options, is_paused, cancelled, last_no, last_fence, totals, claim_times, tasks, past };
        saved.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Flow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::<Box<Task>>::deserialize(deserializer)?;
        let mut flow = Flow {
            created_at: saved.created_at,
            options: saved.options,
            is_paused: saved.is_paused,
            cancelled: saved.cancelled,
            last_no: saved.last_no,
            last_fence: saved.last_fence,
            totals: saved.totals,
            claim_times: saved.claim_times,
            past: saved.past,
            ..Flow::default()
        };
        let mut last = 0;
        for task in saved.tasks {
            if task.no <= last || flow.index.no(&task.id).is_some() || !are_parents(&task) {
                return Err(serde::de::Error::custom("a task is there twice or out of order"));
            }
            last = task.no;
            flow.adopt(task);
        }
        Ok(flow)
    }
}

fn are_parents(task: &Task) -> bool {
    task.parents.is_sorted_by(|one, next| one.no < next.no) && task.parents.iter().all(|parent| parent.no < task.no)
}

fn is_time(when: Millis) -> bool {
    // Far from every overflow, and within what Redis accepts as a time.
    when <= i64::MAX as Millis / 4
}

fn is_id(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

fn is_text(text: &[u8]) -> bool {
    text.len() <= TASK_TEXT_BYTES_MAX
}

fn is_blob(blob: &Blob) -> bool {
    blob.len() <= TASK_BYTES_END
}

fn are_needs(needs: &Needs) -> bool {
    needs.caps.len() <= AGENT_LABELS_MAX
        && needs.caps.iter().all(Requirement::is_valid)
        && needs.caps.is_sorted_by(|one, next| one < next)
        && needs.group.len() <= ID_BYTES_MAX
        && needs.locks.len() <= TASK_LOCKS_MAX
        && needs.locks.is_sorted_by(|one, next| one < next)
}

fn are_caps(caps: &[Capability]) -> bool {
    caps.len() <= AGENT_LABELS_MAX && caps.iter().all(Capability::is_valid) && caps.is_sorted_by(|one, next| one < next)
}

fn are_options(options: &Options) -> bool {
    let rate = options.rate.is_none_or(|rate| {
        (1..=RATE_CLAIMS_MAX).contains(&rate.claims.into()) && (1..=DURATION_MS_MAX).contains(&rate.per_ms)
    });
    let ends = is_ttl(options.ttl_ms);
    let is_kept = |keep: Keep| keep.tasks <= FLOW_TASKS_END as u64 && keep.age_ms <= DURATION_MS_MAX;
    let kept = is_kept(options.keep) && is_kept(options.keep_dead);
    rate && ends && kept && options.ageing_ms <= DURATION_MS_MAX
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit(event: &FlowEvent) -> Result<(), Error> {
    let fits = event.task().is_none_or(|task| is_id(task)) && is_time(event.at());
    let rest_fits = match event {
        FlowEvent::Created { at, options } => *at > 0 && are_options(options),
        FlowEvent::Touched { ttl_ms, .. } => is_ttl(*ttl_ms),
        FlowEvent::Added(addition) => is_addition(addition),
        FlowEvent::Claimed(claimed) => {
            claimed.locks.iter().chain([&claimed.fence]).try_for_each(|fence| check_fence(*fence))?;
            is_claim(claimed)
        }
        FlowEvent::Extended { ends_at, progress, .. } => {
            let is_said = |(percent, note): &(Option<u8>, Bytes)| percent.is_none_or(|n| n <= 100) && is_text(note);
            is_time(*ends_at) && progress.as_ref().is_none_or(is_said)
        }
        FlowEvent::Completed { result, .. } => is_blob(result),
        FlowEvent::Failed { reason, retry_at, .. } => is_text(reason) && is_time(*retry_at),
        FlowEvent::Ended { reason, how, .. } => is_text(reason) && !how.is_success(),
        FlowEvent::Stopping { ends_at, how, .. } => is_time(*ends_at) && !how.is_success(),
        FlowEvent::Signalled { data, .. } => is_blob(data),
        FlowEvent::TakenBack { .. }
        | FlowEvent::Ripened { .. }
        | FlowEvent::Told { .. }
        | FlowEvent::Requeued { .. }
        | FlowEvent::Paused { .. }
        | FlowEvent::Resumed { .. }
        | FlowEvent::Cancelled { .. }
        | FlowEvent::Swept { .. }
        | FlowEvent::Forgotten { .. } => true,
    };
    if fits && rest_fits {
        return Ok(());
    }
    Err(Error::usage("payload holds an event of a flow that is out of bounds"))
}

fn are_retries(retries: Option<u32>) -> bool {
    retries.is_none_or(|retries| u64::from(retries) <= TASK_RETRIES_MAX)
}

fn is_addition(addition: &Addition) -> bool {
    let times = is_time(addition.not_before) && is_time(addition.deadline) && addition.lease_ms <= DURATION_MS_MAX;
    let backoff = addition.backoff.is_none_or(|b| b.ms <= DURATION_MS_MAX && b.max_ms <= DURATION_MS_MAX);
    let parents = addition.after.len() <= TASK_PARENTS_MAX && addition.after.iter().all(|id| is_id(id));
    let numbers = u64::from(addition.priority) <= PRIORITY_MAX && is_blob(&addition.payload);
    times && backoff && parents && numbers && are_retries(addition.retries) && are_needs(&addition.needs)
}

fn is_claim(claimed: &Claimed) -> bool {
    let names = is_id(&claimed.agent) && claimed.after.len() <= ID_BYTES_MAX && is_blob_key(&claimed.registry);
    let lease = (1..=DURATION_MS_MAX).contains(&claimed.lease_ms) && is_time(claimed.ends_at);
    let names = names && claimed.after_fence < FENCE_END;
    names && lease && are_caps(&claimed.caps) && claimed.locks.len() <= TASK_LOCKS_MAX
}

fn is_blob_key(key: &Bytes) -> bool {
    key.len() <= TASK_BYTES_END
}

/// Whether all invariants hold.
pub fn check(flow: &Flow) -> Result<(), Invariant> {
    check_bounds(flow)?;
    flow.tasks().try_for_each(|task| check_task(flow, task))?;
    let fresh = derived(flow);
    rule(fresh.index == flow.index, "the indexes differ from the tasks")?;
    let same = |(one, other): (&Task, &Task)| (one.open, one.children) == (other.open, other.children);
    let are_same = fresh.tasks().zip(flow.tasks()).all(same);
    rule(are_same, "the counted parents and children differ from the tasks")
}

/// What can be checked without the tasks.
fn check_bounds(flow: &Flow) -> Result<(), Invariant> {
    rule(flow.created_at > 0 || flow.tasks.is_empty(), "it has tasks and was never made")?;
    rule(is_time(flow.created_at) && are_options(&flow.options), "its options are out of bounds")?;
    rule(flow.last_fence == 0 || check_fence(flow.last_fence).is_ok(), "the last fence is out of bounds")?;
    rule(are_totals(&flow.totals), "its totals are out of bounds")?;
    let known = flow.totals.forgotten.iter().fold(flow.tasks.len() as u64, |sum, count| sum.saturating_add(*count));
    rule(known <= flow.totals.added, "there are more tasks than were added")?;
    rule(flow.cancelled.is_none_or(|swept| swept <= flow.last_no), "more was cancelled than there was")?;
    rule(flow.tasks.len() <= FLOW_TASKS_END && flow.last_no < FENCE_END, "it has too many tasks")?;
    let rate = flow.options.rate.map_or(0, |rate| rate.claims as usize);
    rule(
        flow.claim_times.len() <= rate && flow.claim_times.iter().all(|at| is_time(*at)),
        "its rate is out of bounds",
    )?;
    rule(are_past(&flow.past), "the claims of forgotten tasks are out of bounds")
}

/// Checks it after one event. In a large flow, only its bounds and the task that the event is
/// about.
pub fn check_after(flow: &Flow, event: &FlowEvent) -> Result<(), Invariant> {
    const SMALL: usize = 24;
    if flow.count() <= SMALL {
        return check(flow);
    }
    check_bounds(flow)?;
    event.task().and_then(|task| flow.task(task)).map_or(Ok(()), |task| check_task(flow, task))
}

/// Checks a part of it, by the numbers of the tasks.
pub fn check_part(flow: &Flow, from: TaskNo, room: usize) -> Result<Part, Invariant> {
    if from == 0 {
        check_bounds(flow)?;
    }
    rule(flow.index.counts_all(flow.count()), "the indexes differ from the tasks")?;
    Part::of(flow.tasks.range(from..).map(|(no, task)| (*no, &**task)), room, |no, task| {
        check_task(flow, task)?;
        rule(flow.index.has(task, &flow.options), "the indexes differ from the tasks")?;
        let has_edge = |parent: &Parent| flow.index.edges.has(parent, no);
        rule(task.parents.iter().all(has_edge), "the indexes differ from the tasks")?;
        let has_ended = |no: TaskNo| flow.at(no).is_none_or(Task::has_ended);
        let open = || task.parents.iter().filter(|parent| parent.told == Told::Open);
        let is_told_of = |parent: &Parent| !has_ended(parent.no) || flow.index.pending.contains_key(&parent.no);
        rule(open().all(is_told_of), "the end of a task is told to nobody")?;
        let (mut all, mut children) = (0, 0);
        for child in flow.index.edges.untold(no).chain(flow.index.edges.told(no)) {
            all += 1;
            children += u32::from(!has_ended(child));
        }
        let counted = (task.open as usize, task.children) == (open().count(), children);
        rule(counted, "the counted parents and children differ from the tasks")?;
        let needs = (task.needs.locks.len() + task.needs.caps.len()) / 2;
        Ok(1 + task.parents.len() + all + needs + 4 * task.needs.heap_bytes() / CHECKED_BYTES)
    })
}

fn are_totals(totals: &Totals) -> bool {
    let Totals { added, completed, failed, claimed, forgotten, .. } = totals;
    [added, completed, failed, claimed].into_iter().chain(forgotten).all(|total| *total <= NUMBER_MAX)
}

fn check_task(flow: &Flow, task: &Task) -> Result<(), Invariant> {
    rule(task.no <= flow.last_no && is_id(&task.id), "a task is out of bounds")?;
    rule(are_needs(&task.needs) && is_blob(&task.payload), "the needs of a task are out of bounds")?;
    rule(u64::from(task.priority) <= PRIORITY_MAX, "a priority is out of bounds")?;
    let times = [task.added_at, task.not_before, task.ready_at];
    rule(times.into_iter().all(is_time), "the times of a task are out of bounds")?;
    rule(task.plan.as_deref().is_none_or(is_plan), "the plan of a task is out of bounds")?;
    rule(task.parents.len() <= TASK_PARENTS_MAX && are_parents(task), "the parents of a task are out of order")?;
    let knows = |parent: &Parent| parent.told != Told::Open || flow.tasks.contains_key(&parent.no);
    rule(task.parents.iter().all(knows), "a task waits for one that is gone")?;
    rule(matches!(task.state, State::Waiting) || task.open == 0, "a task goes on and waits all the same")?;
    let may_go_on = matches!(task.state, State::Waiting) && task.verdict() == Verdict::Runs;
    rule(!may_go_on, "a task waits for nothing")?;
    let past = task.past.len() <= ATTEMPTS_KEPT_MAX && task.past.iter().all(is_attempt);
    rule(past, "the attempts of a task are out of bounds")?;
    match &task.state {
        State::Running(run) => {
            check_fence(run.fence).map_err(|error| Invariant(error.text.into_owned()))?;
            rule(is_run(run), "a claim is out of bounds")?;
            rule(flow.index.claimed(run.fence) == Some(task.no), "a claim is not indexed")
        }
        State::Ended(end) => rule(is_end(end), "the end of a task is out of bounds"),
        State::Held => rule(task.lacks_signal(), "a task waits for a signal that it has"),
        _ => Ok(()),
    }
}

fn is_plan(plan: &Plan) -> bool {
    let backoff = plan.backoff.is_none_or(|b| b.ms <= DURATION_MS_MAX && b.max_ms <= DURATION_MS_MAX);
    let signal = plan.signal.as_ref().is_none_or(is_blob);
    is_time(plan.deadline) && plan.lease_ms <= DURATION_MS_MAX && are_retries(plan.retries) && backoff && signal
}

fn is_attempt(attempt: &Attempt) -> bool {
    attempt.fence < FENCE_END
        && attempt.agent.len() <= ID_BYTES_MAX
        && is_time(attempt.since)
        && is_time(attempt.at)
        && is_text(&attempt.reason)
}

fn is_run(run: &Run) -> bool {
    is_id(&run.agent)
        && are_caps(&run.caps)
        && is_time(run.since)
        && is_time(run.ends_at)
        && run.lease_ms <= DURATION_MS_MAX
        && run.progress.is_none_or(|percent| percent <= 100)
        && is_text(&run.note)
        && run.locks.len() <= TASK_LOCKS_MAX
        && run.locks.iter().all(|fence| check_fence(*fence).is_ok())
        && run.stop.is_none_or(|stop| is_time(stop.ends_at) && !stop.how.is_success())
}

fn are_past(past: &EndedClaims) -> bool {
    let is_claim = |claim: &EndedClaim| {
        let fences = check_fence(claim.fence).is_ok() && claim.next < FENCE_END;
        fences && is_id(&claim.task) && claim.agent.len() <= ID_BYTES_MAX
    };
    past.len() <= ENDED_CLAIMS_MAX && past.iter().all(is_claim)
}

fn is_end(end: &End) -> bool {
    let texts = is_text(&end.reason) && end.agent.len() <= ID_BYTES_MAX && is_blob(&end.result);
    is_time(end.at) && is_time(end.since) && end.fence < FENCE_END && end.next < FENCE_END && texts
}

/// The same flow, with everything derived rebuilt.
fn derived(flow: &Flow) -> Flow {
    let mut fresh = flow.clone_without_tasks();
    flow.tasks().for_each(|task| fresh.adopt(Box::new(task.clone())));
    fresh
}

impl Flow {
    fn clone_without_tasks(&self) -> Flow {
        Flow {
            created_at: self.created_at,
            options: self.options,
            is_paused: self.is_paused,
            cancelled: self.cancelled,
            last_no: self.last_no,
            last_fence: self.last_fence,
            totals: self.totals,
            claim_times: self.claim_times.clone(),
            past: self.past.clone(),
            ..Flow::default()
        }
    }
}

/// Rebuilds everything derived from the tasks.
pub fn rebuild(flow: &mut Flow) {
    let mut fresh = flow.clone_without_tasks();
    std::mem::take(&mut flow.tasks).into_values().for_each(|task| fresh.adopt(task));
    *flow = fresh;
}

/// Bytes held by the flow, its tasks and its indexes.
pub fn memory_bytes(flow: &Flow) -> usize {
    size_of::<Flow>()
        + tree_bytes(flow.tasks.len(), size_of::<(TaskNo, Box<Task>)>())
        + allocated(flow.claim_times.capacity() * size_of::<Millis>())
        + flow.past.heap_bytes()
        + flow.index.heap_bytes()
}
