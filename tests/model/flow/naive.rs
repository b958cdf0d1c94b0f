//! The rules of flows, as plainly as possible: every question is a walk over all tasks.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Success,
    Done,
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Dead,
    Cancelled,
    CancelledWithAll,
    Skipped,
}

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Waiting,
    Held,
    Delayed,
    Ready,
    Running { fence: u64, lease: u64, ends: u64, stop: Option<(End, u64)> },
    Ended(End, u64),
}

#[derive(Debug, Clone)]
pub struct Task {
    pub id: String,
    /// The tasks it comes after, and what it has heard of them.
    pub parents: BTreeMap<u64, Option<bool>>,
    pub on: On,
    pub cap: Option<String>,
    pub group: Option<String>,
    pub priority: u64,
    pub not_before: u64,
    pub deadline: u64,
    pub lease: u64,
    pub retries: u64,
    pub pause: u64,
    pub wants_signal: bool,
    pub has_signal: bool,
    pub ready_at: u64,
    pub attempts: u64,
    /// The fences of its attempts, without those that were taken back; 0 if one is not known yet.
    pub fences: Vec<u64>,
    /// The capabilities of its last worker.
    pub caps: BTreeSet<String>,
    /// Whether its last attempt ended because it was asked to stop.
    pub was_stopped: bool,
    /// The same for the attempt before, in case this one is taken back.
    pub was_stopped_before: bool,
    pub state: State,
}

impl Task {
    /// The fence of the last attempt, ended or not.
    pub fn fence(&self) -> u64 {
        self.fences.last().copied().unwrap_or(0)
    }

    pub fn word(&self) -> &'static str {
        match self.state {
            State::Waiting => "waiting",
            State::Held => "held",
            State::Delayed => "delayed",
            State::Ready => "ready",
            State::Running { .. } => "running",
            State::Ended(End::Succeeded, _) => "succeeded",
            State::Ended(End::Dead, _) => "dead",
            State::Ended(End::Cancelled | End::CancelledWithAll, _) => "cancelled",
            State::Ended(End::Skipped, _) => "skipped",
        }
    }

    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Ended(end, _) => Some(end),
            _ => None,
        }
    }

    /// Whether what it has heard lets it run, forbids that for ever, or neither.
    fn may_run(&self) -> Option<bool> {
        let heard = |what: Option<bool>| self.parents.values().filter(|heard| **heard == what).count();
        let (open, good, bad) = (heard(None), heard(Some(true)), heard(Some(false)));
        match self.on {
            On::Success if bad > 0 => Some(false),
            On::Any if good > 0 => Some(true),
            On::Any if open == 0 && bad > 0 => Some(false),
            _ if open > 0 => None,
            _ => Some(true),
        }
    }

    fn alarm(&self) -> Option<u64> {
        let deadline = Some(self.deadline).filter(|deadline| *deadline > 0);
        match &self.state {
            State::Ended(..) => None,
            State::Running { ends, stop: Some((_, until)), .. } => Some(*ends.min(until)),
            State::Running { ends, .. } => Some(deadline.map_or(*ends, |deadline| deadline.min(*ends))),
            State::Delayed => Some(deadline.map_or(self.not_before, |deadline| deadline.min(self.not_before))),
            _ => deadline,
        }
    }
}

/// A client that waits for tasks.
#[derive(Debug, Clone)]
pub struct TaskWaiter {
    pub wait: u64,
    pub client: u64,
    pub caps: BTreeSet<String>,
    pub count: usize,
    pub deadline: Option<u64>,
}

/// What a waiter was given: the tasks, in their order.
pub type Gift = (u64, Vec<String>);

#[derive(Debug, Clone, Default)]
pub struct Flow {
    pub exists: bool,
    pub tasks: BTreeMap<u64, Task>,
    /// The tasks that are no longer kept.
    pub forgotten: Vec<Task>,
    pub last_no: u64,
    pub added: u64,
    pub ended: BTreeMap<&'static str, u64>,
    pub paused: bool,
    pub cancelled: bool,
    pub max_active: usize,
    pub group_max: usize,
    pub rate: Option<(usize, u64)>,
    pub claims: Vec<u64>,
    /// How many ended tasks are kept, and how long: of those that are not dead, and of the dead.
    pub keep: [(usize, Option<u64>); 2],
    pub task_waiters: Vec<TaskWaiter>,
    pub now: u64,
    pub grace: u64,
    pub ageing: u64,
    pub pending: BTreeSet<u64>,
}

impl Flow {
    pub fn no(&self, id: &str) -> Option<u64> {
        self.tasks.iter().find(|(_, task)| task.id == id).map(|(no, _)| *no)
    }

    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.get(&self.no(id)?)
    }

    pub fn running(&self) -> usize {
        self.tasks.values().filter(|task| matches!(task.state, State::Running { .. })).count()
    }

    /// Does everything that follows from an operation: clients that wait for an end are told,
    /// surplus tasks are forgotten, ready tasks are handed out.
    pub fn follow(&mut self) -> Vec<Gift> {
        self.propagate();
        self.hand_out()
    }

    pub fn propagate(&mut self) {
        while let Some(parent) = self.pending.pop_first() {
            let Some(end) = self.tasks[&parent].end() else { continue };
            let children: Vec<u64> = self.tasks.keys().copied().filter(|no| self.waits_for(*no, parent)).collect();
            for child in children {
                let task = self.tasks.get_mut(&child).expect("just found");
                if end == End::CancelledWithAll {
                    self.finish(child, End::CancelledWithAll);
                    continue;
                }
                task.parents.insert(parent, Some(end == End::Succeeded));
                match task.may_run() {
                    Some(true) => self.free(child),
                    Some(false) => self.finish(child, End::Skipped),
                    None => {}
                }
            }
        }
        let mut surplus = self.retired();
        surplus.sort_unstable();
        for (shelf, (most, age)) in self.keep.into_iter().enumerate() {
            let here = surplus.iter().filter(|(_, no)| self.tasks.contains_key(no) && self.shelf(*no) == shelf);
            let here: Vec<(u64, u64)> = here.copied().collect();
            let count = here.len().saturating_sub(most);
            for (nth, (at, no)) in here.into_iter().enumerate() {
                if nth < count || age.is_some_and(|age| at + age <= self.now) {
                    self.forgotten.extend(self.tasks.remove(&no));
                }
            }
        }
    }

    fn waits_for(&self, no: u64, parent: u64) -> bool {
        let task = &self.tasks[&no];
        task.state == State::Waiting && task.parents.get(&parent) == Some(&None)
    }

    fn free(&mut self, no: u64) {
        let now = self.now;
        let task = self.tasks.get_mut(&no).expect("there");
        task.ready_at = now;
        task.state = if task.wants_signal && !task.has_signal {
            State::Held
        } else if task.not_before > now {
            State::Delayed
        } else {
            State::Ready
        };
    }

    pub fn finish(&mut self, no: u64, end: End) {
        let now = self.now;
        let task = self.tasks.get_mut(&no).expect("there");
        task.state = State::Ended(end, now);
        let word = task.word();
        *self.ended.entry(word).or_default() += 1;
        self.pending.insert(no);
    }

    pub fn add(&mut self, mut task: Task, after: &[String]) {
        self.last_no += 1;
        self.added += 1;
        let parents = after.iter().filter_map(|id| self.no(id));
        task.parents = parents.map(|no| (no, self.tasks[&no].end().map(|end| end == End::Succeeded))).collect();
        task.ready_at = self.now;
        let verdict = task.may_run();
        self.tasks.insert(self.last_no, task);
        match verdict {
            Some(true) => self.free(self.last_no),
            Some(false) => self.finish(self.last_no, End::Skipped),
            None => {}
        }
    }

    pub fn room(&self) -> usize {
        if self.paused || self.cancelled {
            return 0;
        }
        let active = if self.max_active == 0 { usize::MAX } else { self.max_active.saturating_sub(self.running()) };
        let rated = self.rate.map_or(usize::MAX, |(count, ms)| {
            let recent = self.claims.iter().rev().take(count).filter(|at| **at + ms > self.now).count();
            count - recent
        });
        active.min(rated)
    }

    /// The best task that a worker with these capabilities can have now.
    pub fn best(&self, caps: &BTreeSet<String>) -> Option<u64> {
        if self.room() == 0 {
            return None;
        }
        let in_group = |group: &String| {
            let of = |task: &&Task| matches!(task.state, State::Running { .. }) && task.group.as_ref() == Some(group);
            self.tasks.values().filter(of).count()
        };
        let fits = |task: &Task| {
            task.state == State::Ready
                && task.cap.as_ref().is_none_or(|cap| caps.contains(cap))
                && (self.group_max == 0 || task.group.as_ref().is_none_or(|group| in_group(group) < self.group_max))
        };
        let fitting = self.tasks.iter().filter(|(_, task)| fits(task));
        let place = |no: u64, task: &Task| (task.ready_at as i64 - (task.priority * self.ageing) as i64, no);
        fitting.min_by_key(|(no, task)| place(**no, task)).map(|(no, _)| *no)
    }

    /// Hands out a task. Its fence is not known yet.
    pub fn claim(&mut self, caps: &BTreeSet<String>, count: usize) -> Vec<String> {
        let mut claimed = Vec::new();
        while claimed.len() < count {
            let Some(no) = self.best(caps) else { break };
            let now = self.now;
            self.claims.push(now);
            let task = self.tasks.get_mut(&no).expect("there");
            task.attempts += 1;
            task.fences.push(0);
            task.was_stopped_before = std::mem::replace(&mut task.was_stopped, false);
            task.caps = caps.clone();
            task.state = State::Running { fence: 0, lease: task.lease, ends: now + task.lease, stop: None };
            claimed.push(task.id.clone());
        }
        claimed
    }

    pub fn hand_out(&mut self) -> Vec<Gift> {
        let mut gifts = Vec::new();
        loop {
            let first = self.task_waiters.iter().position(|waiter| self.best(&waiter.caps).is_some());
            let Some(at) = first else { return gifts };
            let waiter = self.task_waiters.remove(at);
            let tasks = self.claim(&waiter.caps.clone(), waiter.count);
            gifts.push((waiter.wait, tasks));
        }
    }

    /// An attempt has failed.
    pub fn fail(&mut self, no: u64, is_final: bool) {
        let now = self.now;
        let task = self.tasks.get_mut(&no).expect("there");
        if let State::Running { stop: Some((how, _)), .. } = task.state {
            task.was_stopped = true;
            return self.finish(no, how);
        }
        if is_final || task.attempts > task.retries {
            return self.finish(no, End::Dead);
        }
        task.ready_at = now;
        if task.pause > 0 {
            task.not_before = now + task.pause;
            task.state = State::Delayed;
        } else {
            task.not_before = now;
            task.state = State::Ready;
        }
    }

    pub fn cancel(&mut self, no: u64, with_all: bool) -> bool {
        let how = if with_all { End::CancelledWithAll } else { End::Cancelled };
        let until = self.now + self.grace;
        let task = self.tasks.get_mut(&no).expect("there");
        match &mut task.state {
            State::Ended(..) => false,
            State::Running { stop, .. } => {
                *stop = Some((how, stop.map_or(until, |(_, known)| known)));
                true
            }
            _ => {
                self.finish(no, how);
                true
            }
        }
    }

    pub fn cancel_flow(&mut self) {
        self.cancelled = true;
        for no in self.tasks.keys().copied().collect::<Vec<_>>() {
            let is_stopping = matches!(self.tasks[&no].state, State::Running { stop: Some(_), .. });
            if self.tasks[&no].end().is_none() && !is_stopping {
                self.cancel(no, true);
            }
        }
    }

    /// Whether a task could run if these began anew.
    fn could_run(&self, no: u64, again: &BTreeSet<u64>) -> bool {
        let mut task = self.tasks[&no].clone();
        self.look_again(&mut task, again);
        task.may_run() != Some(false)
    }

    fn look_again(&self, task: &mut Task, again: &BTreeSet<u64>) {
        // A forgotten task does not count, except for its success.
        task.parents.retain(|no, heard| *heard == Some(true) || self.tasks.contains_key(no));
        for (no, heard) in &mut task.parents {
            if let Some(parent) = self.tasks.get(no) {
                let is_open = again.contains(no) || parent.end().is_none();
                *heard = if is_open { None } else { Some(parent.end() == Some(End::Succeeded)) };
            }
        }
    }

    /// How many tasks begin anew; `None` if that is refused.
    pub fn requeue(&mut self, no: u64, with_all: bool) -> Option<usize> {
        let end = self.tasks[&no].end();
        if self.cancelled || end.is_none_or(|end| end == End::Succeeded) || !self.could_run(no, &BTreeSet::new()) {
            return None;
        }
        let mut again = BTreeSet::from([no]);
        for child in self.tasks.keys().copied().filter(|child| with_all && *child > no) {
            let task = &self.tasks[&child];
            let fell = matches!(task.end(), Some(End::Skipped | End::CancelledWithAll));
            let is_below = task.parents.keys().any(|parent| again.contains(parent));
            if fell && is_below && self.could_run(child, &again) {
                again.insert(child);
            }
        }
        for no in &again {
            let mut task = self.tasks[no].clone();
            *self.ended.get_mut(task.word()).expect("counted") -= 1;
            task.state = State::Waiting;
            (task.attempts, task.not_before, task.deadline, task.ready_at) = (0, 0, 0, self.now);
            self.look_again(&mut task, &BTreeSet::new());
            let verdict = task.may_run();
            self.tasks.insert(*no, task);
            if verdict == Some(true) {
                self.free(*no);
            }
        }
        Some(again.len())
    }

    /// The client that was given a task was gone before it was told.
    pub fn take_back(&mut self, id: &str) {
        let Some(no) = self.no(id) else { return };
        let task = self.tasks.get_mut(&no).expect("there");
        match task.state {
            State::Running { stop: Some((how, _)), .. } => {
                task.was_stopped = true;
                self.finish(no, how);
            }
            State::Running { .. } => {
                task.attempts -= 1;
                task.fences.pop();
                task.was_stopped = task.was_stopped_before;
                task.state = State::Ready;
            }
            _ => {}
        }
    }

    /// A copy: nobody was given anything of it. A task that was asked to stop ends when its worker
    /// was last heard of.
    pub fn take_back_all(&mut self) {
        let now = self.now;
        for task in self.tasks.values().cloned().collect::<Vec<_>>() {
            if let State::Running { ends, lease, .. } = task.state {
                self.now = ends - lease;
                self.take_back(&task.id);
            }
        }
        self.now = now;
    }

    /// When something may happen by itself.
    pub fn next_alarm(&self) -> Option<u64> {
        let rated = self.rate.iter().flat_map(|(_, ms)| self.claims.iter().map(move |at| at + ms));
        let rated = rated.filter(|at| !self.task_waiters.is_empty() && *at > self.now);
        let limits = self.task_waiters.iter().filter_map(|waiter| waiter.deadline);
        let outdated = self.next_outdated();
        self.tasks.values().filter_map(Task::alarm).chain(limits).chain(rated).chain(outdated).min()
    }

    /// Takes out the clients whose wait has expired.
    pub fn expire_waits(&mut self) -> Vec<u64> {
        let (over, left) = std::mem::take(&mut self.task_waiters)
            .into_iter()
            .partition(|waiter| waiter.deadline.is_some_and(|deadline| deadline <= self.now));
        self.task_waiters = left;
        let over: Vec<TaskWaiter> = over;
        over.into_iter().map(|waiter| waiter.wait).collect()
    }

    /// Decides what is due now: each such task once.
    pub fn settle_due(&mut self) -> bool {
        let mut due: Vec<(u64, u64)> = self
            .tasks
            .iter()
            .filter_map(|(no, task)| Some((task.alarm().filter(|at| *at <= self.now)?, *no)))
            .collect();
        due.sort_unstable();
        for (_, no) in &due {
            let (now, grace) = (self.now, self.grace);
            let task = self.tasks.get_mut(no).expect("there");
            let is_late = task.deadline > 0 && task.deadline <= now;
            match &mut task.state {
                State::Running { stop: Some((how, _)), .. } => {
                    let how = *how;
                    task.was_stopped = true;
                    self.finish(*no, how);
                }
                State::Running { stop, .. } if is_late => *stop = Some((End::Dead, now + grace)),
                State::Running { .. } => self.fail(*no, false),
                _ if is_late => self.finish(*no, End::Dead),
                State::Delayed => {
                    task.ready_at = task.not_before;
                    task.state = State::Ready;
                }
                _ => {}
            }
        }
        !due.is_empty()
    }
}
