//! What is done in rounds, with other commands in between: a task may have a million others behind
//! it, and each of those may come after thousands. So a round counts looks at tasks and at edges.

use super::decide::{cancelled, skip_reason, verdict_when_told};
use super::event::FlowEvent;
use super::looks::Work;
use super::task::{How, Task, Verdict};
use super::{Flow, Shelf, TaskNo};
use crate::domain::{Bytes, Millis};

/// A lock that goes back takes as long as so many looks.
const LOCK_WEIGHT: usize = 8;

impl Flow {
    /// How many looks it takes to see whether an event can happen now: at the task, and at each
    /// lock that goes back with an attempt.
    pub fn looks_of(&self, event: &FlowEvent) -> usize {
        1 + self.ending(event).and_then(Task::run).map_or(0, |run| run.locks.len())
    }

    /// How much work an event is, with the locks that go back with an attempt: each may go on to
    /// who waits for it.
    pub fn weight_of(&self, event: &FlowEvent) -> usize {
        let locks = LOCK_WEIGHT * (self.looks_of(event) - 1);
        let task = self.ending(event).filter(|_| event.ends_task());
        locks + task.map_or(1, Task::weight)
    }

    /// The task whose attempt an event ends.
    fn ending(&self, event: &FlowEvent) -> Option<&Task> {
        event.task().filter(|_| event.ends_attempt()).and_then(|id| self.task(id))
    }
}

/// Tells tasks of the end of a parent, as far as that takes no more than about `max` looks at tasks
/// and edges. Also returns how many it takes. Empty if none has to be told.
pub fn tell(flow: &Flow, at: Millis, max: usize) -> (Vec<FlowEvent>, usize) {
    let (mut events, mut work) = (Vec::new(), Work::of(max));
    let pending = flow.index().pending.first_key_value();
    let Some((parent, first)) = pending.and_then(|(no, first)| Some((flow.at(*no)?, *first))) else {
        return (events, 0);
    };
    let Some(end) = parent.end() else { return (events, 0) };
    let mut upto = first;
    for child in flow.index().edges().untold(parent.no).filter_map(|no| flow.at(no)) {
        let is_cancelled = end.how == How::CancelledWithAll;
        let verdict = verdict_when_told(child, end.how.is_success());
        let waits = !is_cancelled && verdict == Verdict::Waits;
        if !work.takes(if waits { 1 } else { child.weight() }) {
            break;
        }
        upto = child.no;
        let task = child.id.clone();
        if is_cancelled {
            let reason = Bytes::from(format!("with '{}'", parent.id.show()).as_bytes());
            events.push(FlowEvent::Ended { task, at, how: How::CancelledWithAll, reason });
        } else if verdict == Verdict::Skipped {
            let reason = skip_reason(child.on, parent);
            events.push(FlowEvent::Ended { task, at, how: How::Skipped, reason });
        }
    }
    events.push(FlowEvent::Told { parent: parent.id.clone(), at, upto });
    (events, work.taken)
}

/// Cancels tasks of a cancelled flow, as far as that takes no more than about `max` looks at tasks
/// and edges. Also returns how many it takes. Empty if none is left.
pub fn sweep(flow: &Flow, at: Millis, grace_ms: Millis, max: usize) -> (Vec<FlowEvent>, usize) {
    let (mut events, mut work) = (Vec::new(), Work::of(max));
    let Some(swept) = flow.cancelled.filter(|swept| *swept < flow.last_no) else { return (events, 0) };
    let mut upto = flow.last_no;
    for task in flow.tasks_after(swept) {
        if !work.takes(if task.has_ended() { 1 } else { task.weight() }) {
            upto = task.no - 1;
            break;
        }
        let is_stopping = task.run().is_some_and(|run| run.stop.is_some());
        events.extend(cancelled(task, true, at, grace_ms).filter(|_| !is_stopping));
    }
    events.push(FlowEvent::Swept { at, upto });
    (events, work.taken)
}

/// Forgets tasks that the flow does not keep, or were kept for long enough, as far as that takes no
/// more than about `max` looks at tasks and edges. Also returns how many it takes. Empty if there
/// are none.
pub fn forget(flow: &Flow, at: Millis, max: usize) -> (Vec<FlowEvent>, usize) {
    let mut work = Work::of(max);
    let mut of_shelf = |shelf: Shelf| {
        let age_ms = Some(flow.options().keep_on(shelf).age_ms).filter(|age_ms| *age_ms > 0);
        let oldest = age_ms.and_then(|age_ms| Some((at.checked_sub(age_ms)?, TaskNo::MAX)));
        let surplus = flow.surplus(shelf) as usize;
        let kept = flow.index().retired(shelf).iter().enumerate();
        let due = kept.take_while(|(place, end)| *place < surplus || oldest.is_some_and(|oldest| **end <= oldest));
        let due = due.take_while(|(_, (_, no))| work.takes(flow.at(*no).map_or(1, Task::weight)));
        let upto = due.last().map(|(_, end)| *end);
        Some(FlowEvent::Forgotten { at, shelf, upto: upto? })
    };
    let events = Shelf::ALL.into_iter().filter_map(&mut of_shelf).collect();
    (events, work.taken)
}

/// Goes on with what was begun: the cancel of the flow, else what it has to forget.
pub fn go_on(flow: &Flow, at: Millis, grace_ms: Millis, max: usize) -> (Vec<FlowEvent>, usize) {
    let (events, work) = sweep(flow, at, grace_ms, max);
    if events.is_empty() {
        return forget(flow, at, max);
    }
    (events, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flow::{Addition, Keep, Options};
    use crate::domain::limits::FORGOTTEN_AT_ONCE;
    use crate::domain::Entity;

    const MAX: usize = 256;

    /// Two layers of so many tasks, each of the second after all of the first, and one behind them.
    fn layers(size: usize, keep: u64) -> Flow {
        let mut flow = Flow::default();
        let kept = Keep { tasks: keep, age_ms: 0 };
        flow.apply(&FlowEvent::Created {
            at: 1,
            options: Options { keep: kept, keep_dead: kept, ..Options::default() },
        });
        let ids = |layer: &str| (0..size).map(|no| Bytes::from(format!("{layer}{no}").as_str())).collect::<Vec<_>>();
        let mut after = Vec::new();
        for layer in [ids("a"), ids("b"), vec![Bytes::from("last")]] {
            for id in &layer {
                let addition = Addition { id: id.clone(), at: 1, after: after.clone(), ..Addition::default() };
                flow.apply(&FlowEvent::Added(Box::new(addition)));
            }
            after = layer;
        }
        flow
    }

    /// Does all that is begun in rounds, and returns how much work the largest was.
    fn finish(flow: &mut Flow) -> usize {
        let mut largest = 0;
        while flow.has_begun() {
            let (mut events, mut work) = tell(flow, 9, MAX);
            if events.is_empty() {
                (events, work) = go_on(flow, 9, 0, MAX);
            }
            assert!(!events.is_empty(), "it goes on");
            events.iter().for_each(|event| flow.apply(event));
            largest = largest.max(work);
        }
        flow.check().expect("it is as it should be");
        largest
    }

    #[test]
    fn a_round_counts_what_tasks_come_after() {
        let mut flow = layers(100, 1_000);
        flow.apply(&FlowEvent::Cancelled { at: 9 });
        assert!(finish(&mut flow) <= MAX);
        assert_eq!(flow.ended(How::Cancelled), 201);
        let mut flow = layers(100, 1_000);
        let how = How::CancelledWithAll;
        flow.apply(&FlowEvent::Ended { task: Bytes::from("a0"), at: 9, how, reason: Bytes::EMPTY });
        assert!(finish(&mut flow) <= MAX);
        assert_eq!(flow.ended(How::Cancelled), 102);
    }

    #[test]
    fn a_task_with_more_edges_than_a_round_has_one_of_its_own() {
        let mut flow = layers(400, 1_000);
        flow.apply(&FlowEvent::Cancelled { at: 9 });
        assert_eq!(finish(&mut flow), 401);
    }

    #[test]
    fn what_begins_anew_at_once_is_bounded() {
        let fallen = |size: usize| {
            let mut flow = layers(size, 1_000);
            let (how, reason) = (How::CancelledWithAll, Bytes::EMPTY);
            flow.apply(&FlowEvent::Ended { task: Bytes::from("a0"), at: 9, how, reason });
            finish(&mut flow);
            super::super::decide::requeue(&flow, b"a0", true, 10).map(|events| events.len())
        };
        assert_eq!(fallen(60), Ok(62));
        let error = fallen(80).expect_err("80 tasks come after 80 others each");
        assert!(error.line().starts_with("LIMIT CASCADE would look at more than 5000 tasks"), "{error:?}");
    }

    #[test]
    fn no_change_forgets_more_than_a_part() {
        let mut flow = layers(60, 0);
        flow.apply(&FlowEvent::Cancelled { at: 9 });
        let mut most = 0;
        while flow.has_begun() {
            let events =
                [tell(&flow, 9, MAX).0, go_on(&flow, 9, 0, MAX).0].into_iter().find(|events| !events.is_empty());
            for event in events.expect("it goes on") {
                let weights = |flow: &Flow| flow.tasks().map(Task::weight).sum::<usize>();
                let before = weights(&flow);
                flow.apply(&event);
                most = most.max(before - weights(&flow));
            }
        }
        assert!(most <= FORGOTTEN_AT_ONCE + 61, "{most}");
        assert_eq!((flow.count(), flow.ended(How::Cancelled), flow.check()), (0, 121, Ok(())));
    }
}
