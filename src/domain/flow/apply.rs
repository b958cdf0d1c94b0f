//! How the events of a flow change it. An event that does not fit is ignored.

use super::event::{Addition, Claimed, FlowEvent};
use super::index::Retired;
use super::past::EndedClaim;
use super::task::{Attempt, Cause, End, How, Parent, Plan, Run, State, Stop, Task, Told, Verdict};
use super::{decide, Flow, Shelf, TaskNo};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity::count;
use crate::domain::limits::{ATTEMPTS_KEPT_MAX, FORGOTTEN_AT_ONCE};
use crate::domain::{looked, Blob, Bytes, Fence, Millis};

impl Flow {
    pub(super) fn happen(&mut self, event: &FlowEvent) {
        match event {
            FlowEvent::Created { at, options } => {
                if self.created_at == 0 {
                    (self.created_at, self.options) = (*at, *options);
                }
            }
            FlowEvent::Touched { ttl_ms, .. } => self.options.ttl_ms = ttl_ms.or(self.options.ttl_ms),
            FlowEvent::Added(addition) => self.add(addition),
            FlowEvent::Claimed(claimed) => self.claim(claimed),
            FlowEvent::Extended { task, ends_at, progress, .. } => self.edit_run(task, |run| {
                run.ends_at = *ends_at;
                if let Some((percent, note)) = progress {
                    (run.progress, run.note) = (*percent, note.clone());
                }
            }),
            FlowEvent::Completed { task, at, result } => self.completed(task, *at, result),
            FlowEvent::Failed { task, at, cause, reason, retry_at } => {
                self.failed(task, *at, *cause, reason, *retry_at)
            }
            FlowEvent::Ended { task, at, how, reason } => self.ended_otherwise(task, *at, *how, reason),
            FlowEvent::Stopping { task, how, ends_at, .. } => {
                self.edit_run(task, |run| run.stop = Some(Stop { how: *how, ends_at: *ends_at }));
            }
            FlowEvent::TakenBack { task, .. } => self.taken_back(task),
            FlowEvent::Ripened { task, at } => self.ripened(task, *at),
            FlowEvent::Told { parent, at, upto } => self.told(parent, *at, *upto),
            FlowEvent::Signalled { task, at, data } => self.signalled(task, *at, data),
            FlowEvent::Requeued { task, at } => self.requeue(task, *at),
            FlowEvent::Paused { .. } => self.is_paused = true,
            FlowEvent::Resumed { .. } => self.is_paused = false,
            FlowEvent::Cancelled { .. } => self.cancelled = Some(self.cancelled.unwrap_or(0)),
            FlowEvent::Swept { upto, .. } => {
                self.cancelled = self.cancelled.map(|swept| swept.max(*upto).min(self.last_no));
            }
            FlowEvent::Forgotten { shelf, upto, .. } => self.forget_outdated(*shelf, *upto),
        }
    }

    /// Changes a task, and moves it to where it belongs afterwards.
    fn edit(&mut self, no: TaskNo, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.tasks.get_mut(&no) else { return };
        looked(1);
        self.index.lift(task, &self.options);
        change(task);
        self.index.set_down(task, &self.options);
    }

    /// Changes the current attempt of a task.
    fn edit_run(&mut self, id: &[u8], change: impl FnOnce(&mut Run)) {
        let Some(no) = self.index.no(id) else { return };
        self.edit(no, |task| {
            if let State::Running(run) = &mut task.state {
                change(run);
            }
        });
    }

    fn add(&mut self, addition: &Addition) {
        if self.created_at == 0 || self.index.no(&addition.id).is_some() {
            return;
        }
        self.last_no += 1;
        count(&mut self.totals.added, 1);
        let mut parents: Vec<Parent> = Vec::with_capacity(addition.after.len());
        parents.extend(addition.after.iter().filter_map(|id| self.task(id).map(Task::as_parent)));
        parents.sort_unstable_by_key(|parent| parent.no);
        parents.dedup_by_key(|parent| parent.no);
        let a = addition;
        let plan = Plan {
            deadline: a.deadline,
            lease_ms: a.lease_ms,
            retries: a.retries,
            backoff: a.backoff,
            waits_for_signal: a.waits_for_signal,
            signal: None,
        };
        let mut task = Box::new(Task {
            no: self.last_no,
            id: a.id.clone(),
            payload: a.payload.clone(),
            needs: self.index.shared(&a.needs),
            added_at: a.at,
            priority: a.priority,
            on: a.on,
            parents: parents.into(),
            plan: Some(plan).filter(|plan| *plan != Plan::default()).map(Box::new),
            not_before: a.not_before,
            ready_at: a.at,
            attempts: 0,
            past: Vec::new(),
            state: State::Waiting,
            open: 0,
            children: 0,
        });
        if task.verdict() == Verdict::Runs {
            let open = task.parents.iter_mut().filter(|parent| parent.told == Told::Open);
            open.for_each(|parent| parent.told = Told::Void);
            task.state = task.freed(a.at);
        }
        self.adopt(task);
    }

    /// Adds a complete task to the flow. Its parents are in the flow already.
    pub(super) fn adopt(&mut self, mut task: Box<Task>) {
        let no = task.no;
        looked(task.weight());
        task.open = task.parents.iter().filter(|parent| parent.told == Told::Open).count() as u32;
        task.children = 0;
        self.index.enter(&mut task);
        if let Some(run) = task.run() {
            self.last_fence = self.last_fence.max(run.fence);
        }
        for parent in &task.parents {
            let Some(above) = self.tasks.get_mut(&parent.no) else { continue };
            above.children += u32::from(!task.has_ended());
            let Some(end) = above.end() else { continue };
            if !task.has_ended() {
                self.index.need(end, parent.no);
            }
            // From a file: the parent has ended, and this task has not been told yet.
            if parent.told == Told::Open {
                self.index.need(end, parent.no);
                self.index.pending.entry(parent.no).or_insert(no);
            }
        }
        self.index.set_down(&task, &self.options);
        self.tasks.insert(no, task);
    }

    /// One more open task comes after this one.
    fn gain_child(&mut self, no: TaskNo) {
        let Some(task) = self.tasks.get_mut(&no) else { return };
        task.children += 1;
        if let Some(end) = task.end() {
            self.index.need(end, no);
        }
    }

    /// One open task less comes after this one.
    fn lose_child(&mut self, no: TaskNo) {
        looked(1);
        let Some(task) = self.tasks.get_mut(&no) else { return };
        task.children = task.children.saturating_sub(1);
        self.retire(no);
    }

    /// Notes that a task is no longer needed, if so.
    fn retire(&mut self, no: TaskNo) {
        let Some((task, end)) = self.tasks.get(&no).and_then(|task| Some((task, task.end()?))) else { return };
        if task.children == 0 && !self.index.pending.contains_key(&no) {
            self.index.retire(end, no);
        }
    }

    /// Tells a task of the end of a parent.
    fn close(&mut self, parent: TaskNo, child: TaskNo, told: Told) {
        looked(1);
        let Some(task) = self.tasks.get_mut(&child) else { return };
        let Ok(at) = task.parents.binary_search_by_key(&parent, |known| known.no) else { return };
        let known = &mut task.parents[at];
        self.index.edges.untie(known, child);
        if std::mem::replace(&mut known.told, told) == Told::Open {
            task.open = task.open.saturating_sub(1);
        }
        self.index.edges.tie(known, child);
        if self.index.pending.get(&parent) == Some(&child) {
            let next = self.index.edges.untold(parent).next();
            match next {
                Some(next) => drop(self.index.pending.insert(parent, next)),
                None => {
                    self.index.pending.remove(&parent);
                    self.retire(parent);
                }
            }
        }
    }

    /// A task no longer needs to be told of its parents.
    fn close_all(&mut self, child: TaskNo) {
        let Some(task) = self.tasks.get(&child).filter(|task| task.open > 0) else { return };
        let open = task.parents.iter().filter(|parent| parent.told == Told::Open);
        let open: Vec<TaskNo> = open.map(|parent| parent.no).collect();
        open.into_iter().for_each(|parent| self.close(parent, child, Told::Void));
    }

    /// Moves a task on if its parents let it run.
    fn free_if_let(&mut self, no: TaskNo, at: Millis) {
        if self.tasks.get(&no).is_some_and(|task| task.verdict() == Verdict::Runs) {
            self.free(no, at);
        }
    }

    fn free(&mut self, no: TaskNo, at: Millis) {
        self.close_all(no);
        self.edit(no, |task| {
            task.state = task.freed(at);
            task.ready_at = at;
        });
    }

    fn told(&mut self, parent: &[u8], at: Millis, upto: TaskNo) {
        let Some(no) = self.index.no(parent) else { return };
        let Some(end) = self.at(no).and_then(Task::end) else { return };
        let is_success = end.how.is_success();
        let told = if is_success { Told::Succeeded } else { Told::Failed };
        while let Some(child) = self.index.pending.get(&no).copied().filter(|child| *child <= upto) {
            let verdict = self.at(child).map(|task| decide::verdict_when_told(task, is_success));
            self.close(no, child, told);
            if verdict == Some(Verdict::Runs) {
                self.free(child, at);
            }
        }
        self.forget_surplus();
    }

    fn claim(&mut self, claimed: &Claimed) {
        let Some(no) = self.index.no(&claimed.task) else { return };
        if !matches!(self.tasks.get(&no).map(|task| &task.state), Some(State::Ready)) {
            return;
        }
        self.last_fence = self.last_fence.max(claimed.fence).max(claimed.locks.iter().copied().max().unwrap_or(0));
        count(&mut self.totals.claimed, 1);
        if let Some(rate) = self.options.rate {
            self.claim_times.push_back(claimed.at);
            while self.claim_times.len() > rate.claims as usize {
                self.claim_times.pop_front();
            }
            self.claim_times.give_back_room();
        }
        let run = Run {
            fence: claimed.fence,
            agent: claimed.agent.clone(),
            registry: claimed.registry.clone(),
            caps: claimed.caps.clone().into(),
            since: claimed.at,
            lease_ms: claimed.lease_ms,
            ends_at: claimed.ends_at,
            progress: None,
            note: Bytes::EMPTY,
            locks: claimed.locks.clone().into(),
            stop: None,
        };
        self.edit(no, |task| {
            task.attempts = task.attempts.saturating_add(1);
            task.state = State::Running(Box::new(run));
        });
        if claimed.after_fence > 0 {
            self.follow(&claimed.after, claimed.after_fence, claimed.fence);
        }
    }

    /// Notes the claim that a worker made with the completion of another one. The task of that one
    /// may be forgotten, and another may have its name.
    fn follow(&mut self, id: &[u8], fence: Fence, next: Fence) {
        let is_it = |no: &TaskNo| self.at(*no).and_then(Task::end).is_some_and(|end| end.fence == fence);
        let Some(before) = self.index.no(id).filter(is_it) else { return self.past.follow(id, fence, next) };
        self.edit(before, |task| {
            if let State::Ended(end) = &mut task.state {
                end.next = next;
            }
        });
    }

    fn taken_back(&mut self, id: &[u8]) {
        let Some(no) = self.index.no(id) else { return };
        self.edit(no, |task| {
            if matches!(&task.state, State::Running(run) if run.stop.is_none()) {
                task.attempts = task.attempts.saturating_sub(1);
                task.state = State::Ready;
            }
        });
    }

    fn failed(&mut self, id: &[u8], at: Millis, cause: Cause, reason: &Bytes, retry_at: Millis) {
        let Some(no) = self.index.no(id) else { return };
        let Some(run) = self.at(no).and_then(Task::run) else { return };
        let attempt = attempt_of(run, at, cause, reason);
        count(&mut self.totals.failed, 1);
        self.edit(no, |task| task.remember(attempt));
        if retry_at == 0 {
            return self.end(no, at, How::Dead, reason, Blob::default());
        }
        self.edit(no, |task| {
            task.not_before = retry_at;
            task.ready_at = at;
            task.state = if retry_at > at { State::Delayed } else { State::Ready };
        });
    }

    fn completed(&mut self, id: &[u8], at: Millis, result: &Blob) {
        let Some(no) = self.index.no(id) else { return };
        let Some(run) = self.at(no).and_then(Task::run) else { return };
        let took_ms = at.saturating_sub(run.since);
        count(&mut self.totals.completed, 1);
        self.totals.worked_ms = self.totals.worked_ms.saturating_add(took_ms);
        self.end(no, at, How::Succeeded, &Bytes::EMPTY, result.clone());
    }

    fn ended_otherwise(&mut self, id: &[u8], at: Millis, how: How, reason: &Bytes) {
        let Some(no) = self.index.no(id) else { return };
        let Some(task) = self.at(no).filter(|task| !task.has_ended()) else { return };
        if let Some(attempt) = task.run().map(|run| attempt_of(run, at, Cause::Stopped, reason)) {
            self.edit(no, |task| task.remember(attempt));
        }
        self.end(no, at, how, reason, Blob::default());
    }

    /// Ends a task.
    fn end(&mut self, no: TaskNo, at: Millis, how: How, reason: &Bytes, result: Blob) {
        self.close_all(no);
        let untold = self.index.edges.untold(no).next();
        untold.map(|first| self.index.pending.insert(no, first));
        let Some(task) = self.tasks.get(&no) else { return };
        let end = End::of(task, at, how, reason, result);
        let parents: Vec<TaskNo> = task.parents.iter().map(|parent| parent.no).collect();
        self.edit(no, |task| task.state = State::Ended(Box::new(end)));
        parents.into_iter().for_each(|parent| self.lose_child(parent));
        self.forget_surplus();
    }

    /// Forgets tasks that are no longer needed, if there are more than the flow keeps. If it is
    /// much work, the scheduler [goes on](super::rounds::forget).
    fn forget_surplus(&mut self) {
        let mut room = FORGOTTEN_AT_ONCE;
        for shelf in Shelf::ALL {
            while room > 0 && self.surplus(shelf) > 0 {
                let Some((_, no)) = self.index.retired(shelf).first().copied() else { break };
                room = room.saturating_sub(self.at(no).map_or(1, Task::weight));
                if !self.forget(no) {
                    break;
                }
            }
        }
    }

    /// Forgets the tasks on a shelf up to this one.
    fn forget_outdated(&mut self, shelf: Shelf, upto: Retired) {
        while let Some((_, no)) = self.index.retired(shelf).first().copied().filter(|first| *first <= upto) {
            if !self.forget(no) {
                return;
            }
        }
    }

    /// Forgets a task. False if it is not there, which only a broken index can say.
    fn forget(&mut self, no: TaskNo) -> bool {
        let Some(task) = self.tasks.remove(&no) else { return false };
        looked(task.weight());
        self.index.lift(&task, &self.options);
        self.index.leave(&task);
        EndedClaim::of(&task).into_iter().for_each(|claim| self.past.remember(claim));
        if let Some(end) = task.end() {
            count(&mut self.totals.forgotten[end.how.index()], 1);
        }
        true
    }

    fn requeue(&mut self, id: &[u8], at: Millis) {
        let Some(no) = self.index.no(id) else { return };
        let Some(task) = self.at(no) else { return };
        if task.end().is_none_or(|end| end.how.is_success()) {
            return;
        }
        let again = |parent: &Parent| match self.at(parent.no) {
            Some(now) => now.as_parent(),
            // A forgotten parent cannot be requeued any more: only a success counts.
            None if parent.told == Told::Succeeded => *parent,
            None => Parent { told: Told::Void, ..*parent },
        };
        looked(2 * task.weight());
        let parents: Box<[Parent]> = task.parents.iter().map(again).collect();
        self.index.pending.remove(&no);
        if let Some(task) = self.tasks.get(&no) {
            task.parents.iter().for_each(|parent| self.index.edges.untie(parent, no));
        }
        parents.iter().for_each(|parent| self.index.edges.tie(parent, no));
        let open = parents.iter().filter(|parent| parent.told == Told::Open).count() as u32;
        let above: Vec<TaskNo> = parents.iter().map(|parent| parent.no).collect();
        self.edit(no, |task| {
            (task.parents, task.open) = (parents, open);
            (task.attempts, task.not_before, task.ready_at) = (0, 0, at);
            if let Some(plan) = &mut task.plan {
                plan.deadline = 0;
            }
            task.state = State::Waiting;
        });
        above.into_iter().for_each(|parent| self.gain_child(parent));
        self.free_if_let(no, at);
    }

    fn signalled(&mut self, id: &[u8], at: Millis, data: &Blob) {
        let Some(no) = self.index.no(id) else { return };
        self.edit(no, |task| {
            if let Some(plan) = task.plan.as_mut().filter(|plan| plan.signal.is_none()) {
                plan.signal = Some(data.clone());
            }
            if matches!(task.state, State::Held) {
                task.state = task.freed(at);
                task.ready_at = at;
            }
        });
    }

    fn ripened(&mut self, id: &[u8], at: Millis) {
        let Some(no) = self.index.no(id) else { return };
        self.edit(no, |task| {
            if matches!(task.state, State::Delayed) {
                task.state = State::Ready;
                // A busy server looks late; that must not change the order.
                task.ready_at = task.not_before.min(at);
            }
        });
    }
}

impl End {
    /// The end that comes to a task now.
    fn of(task: &Task, at: Millis, how: How, reason: &Bytes, result: Blob) -> Self {
        let (fence, agent, since) = match task.run() {
            Some(run) => (run.fence, run.agent.clone(), run.since),
            None => (0, Bytes::EMPTY, 0),
        };
        End { how, at, reason: reason.clone(), fence, agent, since, result, next: 0 }
    }

    /// What an event ends a task with; `None` if it does not end it.
    pub fn by(task: &Task, event: &FlowEvent) -> Option<Self> {
        let (at, how, reason, result) = match event {
            FlowEvent::Completed { at, result, .. } => (*at, How::Succeeded, &Bytes::EMPTY, result.clone()),
            FlowEvent::Failed { at, reason, retry_at: 0, .. } => (*at, How::Dead, reason, Blob::default()),
            FlowEvent::Ended { at, how, reason, .. } => (*at, *how, reason, Blob::default()),
            _ => return None,
        };
        (!task.has_ended()).then(|| End::of(task, at, how, reason, result))
    }
}

impl Task {
    fn remember(&mut self, attempt: Attempt) {
        if self.past.len() >= ATTEMPTS_KEPT_MAX {
            self.past.remove(0);
        }
        self.past.reserve_exact(1);
        self.past.push(attempt);
    }
}

fn attempt_of(run: &Run, at: Millis, cause: Cause, reason: &Bytes) -> Attempt {
    Attempt { fence: run.fence, agent: run.agent.clone(), since: run.since, at, cause, reason: reason.clone() }
}
