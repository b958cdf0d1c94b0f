//! What is done to a flow, and what has to come of it.

use super::naive::{End, Flow, On, State, Task, TaskWaiter};
use crate::prng::Prng;
use std::collections::BTreeSet;

#[derive(Debug, Clone)]
pub enum Op {
    Create { max_active: usize, group_max: usize, rate: Option<(usize, u64)>, keep: Keeps },
    Add { task: Box<Task>, after: Vec<String> },
    Claim { caps: BTreeSet<String>, count: usize, block: Option<u64> },
    Heartbeat { id: String, fence: u64 },
    Complete { id: String, fence: u64, next: bool },
    Fail { id: String, fence: u64, is_final: bool },
    Cancel { id: String, with_all: bool },
    Signal { id: String },
    Requeue { id: String, with_all: bool },
    Pause,
    Resume,
    CancelFlow,
}

/// How many ended tasks are kept and how long, of those that are not dead and of the dead.
pub type Keeps = [(usize, Option<u64>); 2];

/// The result of a command: a word or a number, tasks, a wait, or the first word of an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Ok,
    Nil,
    Number(i64),
    Word(&'static str),
    Tasks(Vec<String>),
    Waits,
    Error(&'static str),
}

pub const CAPS: [&str; 3] = ["go", "gpu", "sql"];

impl Op {
    pub fn argv(&self, flow: &Flow) -> String {
        let next = |block: &Option<u64>| block.map_or(String::new(), |ms| format!(" BLOCK {ms}"));
        match self {
            Op::Create { max_active, group_max, rate, keep } => {
                let mut line = "LTMC.FLOW.CREATE f".to_string();
                for (word, (most, age)) in ["KEEP", "KEEPDEAD"].into_iter().zip(keep) {
                    line += &format!(" {word} {most}");
                    line += &age.map_or(String::new(), |age| format!(" MAXAGE {age}"));
                }
                for (word, value) in [("MAXACTIVE", max_active), ("GROUPMAX", group_max)] {
                    if *value > 0 {
                        line += &format!(" {word} {value}");
                    }
                }
                if let Some((count, ms)) = rate {
                    line += &format!(" RATE {count} {ms}");
                }
                line
            }
            Op::Add { task, after } => add_line(task, after, flow.now),
            Op::Claim { caps, count, block } => {
                let caps: Vec<&str> = caps.iter().map(String::as_str).collect();
                let line = format!("LTMC.TASK.CLAIM f w COUNT {count} CAPS {} {}", caps.len(), caps.join(" "));
                format!("{}{}", line.trim_end(), next(block))
            }
            Op::Heartbeat { id, fence } => format!("LTMC.TASK.HEARTBEAT f {id} {fence}"),
            Op::Complete { id, fence, next } => {
                format!("LTMC.TASK.COMPLETE f {id} {fence} r{}", if *next { " NEXT" } else { "" })
            }
            Op::Fail { id, fence, is_final } => {
                format!("LTMC.TASK.FAIL f {id} {fence} why{}", if *is_final { " DEAD" } else { "" })
            }
            Op::Cancel { id, with_all } => {
                format!("LTMC.TASK.CANCEL f {id}{}", if *with_all { " CASCADE" } else { "" })
            }
            Op::Signal { id } => format!("LTMC.TASK.SIGNAL f {id} data"),
            Op::Requeue { id, with_all } => {
                format!("LTMC.TASK.REQUEUE f {id}{}", if *with_all { " CASCADE" } else { "" })
            }
            Op::Pause => "LTMC.FLOW.PAUSE f".into(),
            Op::Resume => "LTMC.FLOW.RESUME f".into(),
            Op::CancelFlow => "LTMC.FLOW.CANCEL f".into(),
        }
    }

    pub fn new_flow(rng: &mut Prng) -> Op {
        Op::Create {
            max_active: if rng.percent(40) { 1 + rng.below(5) as usize } else { 0 },
            group_max: if rng.percent(50) { 1 + rng.below(2) as usize } else { 0 },
            rate: rng.percent(30).then(|| (1 + rng.below(3) as usize, 1 + rng.below(300))),
            keep: [0, 1].map(|_| (rng.below(12) as usize, rng.percent(30).then(|| 1 + rng.below(400)))),
        }
    }

    pub fn random(rng: &mut Prng, flow: &Flow, serial: &mut u64) -> Op {
        let ids: Vec<String> = flow.tasks.values().map(|task| task.id.clone()).collect();
        let id = if ids.is_empty() || rng.percent(3) { "nobody".into() } else { rng.pick(&ids).clone() };
        let running: Vec<(String, u64)> = flow
            .tasks
            .values()
            .filter(|task| task.fence() > 0 && (matches!(task.state, State::Running { .. }) || rng.percent(20)))
            .map(|task| (task.id.clone(), task.fence()))
            .collect();
        let held = match flow.forgotten.last() {
            Some(task) if rng.percent(5) => (task.id.clone(), task.fence().max(2)),
            _ if running.is_empty() => (id.clone(), 2),
            _ => rng.pick(&running).clone(),
        };
        let id = if rng.percent(3) { held.0.clone() } else { id };
        let fence = if rng.percent(6) { held.1 + 2 } else { held.1 };
        match rng.below(100) {
            0..=29 => new_task(rng, flow, &ids, serial),
            30..=54 => {
                let caps = CAPS.iter().filter(|_| rng.percent(60)).map(|cap| cap.to_string()).collect();
                let block = rng.percent(40).then(|| rng.below(3) * 200);
                Op::Claim { caps, count: 1 + rng.below(3) as usize, block }
            }
            55..=59 => Op::Heartbeat { id: held.0, fence },
            60..=74 => Op::Complete { id: held.0, fence, next: rng.percent(30) },
            75..=82 => Op::Fail { id: held.0, fence, is_final: rng.percent(30) },
            83..=86 => Op::Cancel { id, with_all: rng.percent(50) },
            87..=90 => Op::Signal { id },
            91..=95 => Op::Requeue { id, with_all: rng.percent(60) },
            96 => Op::Pause,
            97..=98 => Op::Resume,
            _ if rng.percent(15) => Op::CancelFlow,
            _ => Op::new_flow(rng),
        }
    }
}

fn add_line(task: &Task, after: &[String], now: u64) -> String {
    let mut line = format!("LTMC.TASK.ADD f {} p LEASE {} RETRIES {}", task.id, task.lease, task.retries);
    let on = ["SUCCESS", "DONE", "ANY"][task.on as usize];
    line += &format!(" ON {on} PRIORITY {} BACKOFF FIXED {}", task.priority, task.pause);
    if !after.is_empty() {
        line += &format!(" AFTER {} {}", after.len(), after.join(" "));
    }
    if let Some(cap) = &task.cap {
        line += &format!(" CAPS 1 {cap}");
    }
    if let Some(group) = &task.group {
        line += &format!(" GROUP {group}");
    }
    for (word, when) in [("DELAY", task.not_before), ("DEADLINE", task.deadline)] {
        if when > 0 {
            line += &format!(" {word} {}", when - now);
        }
    }
    if task.wants_signal {
        line += " WAITSIGNAL";
    }
    line
}

fn new_task(rng: &mut Prng, flow: &Flow, ids: &[String], serial: &mut u64) -> Op {
    *serial += 1;
    let later = |rng: &mut Prng, percent: u64| if rng.percent(percent) { flow.now + 1 + rng.below(800) } else { 0 };
    let task = Task {
        id: if rng.percent(4) && !ids.is_empty() { rng.pick(ids).clone() } else { format!("t{serial}") },
        parents: Default::default(),
        on: *rng.pick(&[On::Success, On::Success, On::Done, On::Any]),
        cap: rng.percent(40).then(|| rng.pick(&CAPS).to_string()),
        group: rng.percent(40).then(|| rng.pick(&["g", "h"]).to_string()),
        priority: if rng.percent(30) { rng.below(4) } else { 0 },
        not_before: later(rng, 15),
        deadline: later(rng, 15),
        lease: 50 + rng.below(500),
        retries: rng.below(3),
        pause: if rng.percent(50) { rng.below(300) } else { 0 },
        wants_signal: rng.percent(8),
        has_signal: false,
        ready_at: 0,
        attempts: 0,
        fences: Vec::new(),
        caps: BTreeSet::new(),
        was_stopped: false,
        was_stopped_before: false,
        state: State::Waiting,
    };
    let mut after = Vec::new();
    if rng.percent(55) && !ids.is_empty() {
        after = (0..1 + rng.below(3)).map(|_| rng.pick(ids).clone()).collect();
        if rng.percent(2) {
            after.push("nobody".into());
        }
    }
    Op::Add { task: Box::new(task), after }
}

impl Flow {
    /// Does what the command does, and returns its answer. What follows is not done yet.
    pub fn expect(&mut self, op: &Op, wait: u64, client: u64) -> Answer {
        match op {
            Op::Cancel { .. } | Op::CancelFlow if !self.exists => Answer::Number(0),
            op if !self.exists && !matches!(op, Op::Create { .. } | Op::Add { .. } | Op::Claim { .. }) => {
                Answer::Error("NOFLOW")
            }
            Op::Create { .. } if self.exists => Answer::Error("BADSTATE"),
            Op::Create { max_active, group_max, rate, keep } => {
                self.begin(*max_active, *group_max, *rate, *keep);
                Answer::Ok
            }
            Op::Add { task, after } => {
                if self.cancelled || self.no(&task.id).is_some() {
                    return Answer::Error("BADSTATE");
                }
                if after.iter().any(|id| self.no(id).is_none()) {
                    return Answer::Error("NOTASK");
                }
                if !self.exists {
                    self.begin(0, 0, None, [(super::world::KEEP, None), (super::world::KEEP_DEAD, None)]);
                }
                self.add((**task).clone(), after);
                Answer::Ok
            }
            Op::Claim { caps, count, block } => {
                let tasks = self.claim(caps, *count);
                match block {
                    _ if !tasks.is_empty() => Answer::Tasks(tasks),
                    None => Answer::Tasks(Vec::new()),
                    Some(block) => {
                        let deadline = Some(self.now + block).filter(|_| *block > 0);
                        self.task_waiters.push(TaskWaiter {
                            wait,
                            client,
                            caps: caps.clone(),
                            count: *count,
                            deadline,
                        });
                        Answer::Waits
                    }
                }
            }
            Op::Heartbeat { id, fence } => self.expect_heartbeat(id, *fence),
            Op::Complete { id, fence, .. } => self.expect_complete(id, *fence),
            Op::Fail { id, fence, is_final } => self.expect_fail(id, *fence, *is_final),
            Op::Cancel { id, with_all } => {
                Answer::Number(self.no(id).is_some_and(|no| self.cancel(no, *with_all)).into())
            }
            Op::Signal { id } => self.expect_signal(id),
            Op::Requeue { .. } if self.cancelled => Answer::Error("BADSTATE"),
            Op::Requeue { id, with_all } => match self.no(id) {
                None => Answer::Error("NOTASK"),
                Some(no) => self.requeue(no, *with_all).map_or(Answer::Error("BADSTATE"), |n| Answer::Number(n as i64)),
            },
            Op::Pause | Op::Resume if self.cancelled => Answer::Error("BADSTATE"),
            Op::Pause => Answer::Number((!std::mem::replace(&mut self.paused, true)).into()),
            Op::Resume => Answer::Number(std::mem::replace(&mut self.paused, false).into()),
            Op::CancelFlow => {
                let is_new = !self.cancelled;
                self.cancel_flow();
                Answer::Number(is_new.into())
            }
        }
    }

    fn begin(&mut self, max_active: usize, group_max: usize, rate: Option<(usize, u64)>, keep: Keeps) {
        let Flow { now, grace, ageing, .. } = *self;
        let task_waiters = std::mem::take(&mut self.task_waiters);
        *self = Flow {
            exists: true,
            max_active,
            group_max,
            rate,
            keep,
            task_waiters,
            now,
            grace,
            ageing,
            ..Flow::default()
        };
    }

    fn expect_heartbeat(&mut self, id: &str, fence: u64) -> Answer {
        let now = self.now;
        let Some(no) = self.no(id) else {
            return self.expect_of_forgotten(id, |task| match task.end() {
                Some(End::Dead) if task.was_stopped && task.fence() == fence => Answer::Word("DEADLINE"),
                _ if task.was_stopped && task.fence() == fence => Answer::Word("CANCEL"),
                _ => Answer::Error("STALE"),
            });
        };
        let task = self.tasks.get_mut(&no).expect("there");
        let is_again = task.fence() == fence && task.was_stopped;
        let told = |how: End| Answer::Word(if how == End::Dead { "DEADLINE" } else { "CANCEL" });
        match &mut task.state {
            State::Running { fence: known, stop: Some((how, _)), .. } if *known == fence => told(*how),
            State::Running { fence: known, lease, ends, .. } if *known == fence => {
                *ends = now + *lease;
                Answer::Ok
            }
            State::Ended(how, _) if is_again => told(*how),
            _ => Answer::Error("STALE"),
        }
    }

    fn expect_of_forgotten(&self, id: &str, answer: impl Fn(&Task) -> Answer) -> Answer {
        self.forgotten(id).map_or(Answer::Error("NOTASK"), answer)
    }

    fn expect_complete(&mut self, id: &str, fence: u64) -> Answer {
        let Some(no) = self.no(id) else {
            return self.expect_of_forgotten(id, |task| match task.end() {
                Some(End::Succeeded) if task.fence() == fence => Answer::Ok,
                _ => Answer::Error("STALE"),
            });
        };
        match self.tasks[&no].state {
            State::Running { fence: known, stop: Some(_), .. } if known == fence => Answer::Error("BADSTATE"),
            State::Running { fence: known, .. } if known == fence => {
                self.finish(no, End::Succeeded);
                Answer::Ok
            }
            State::Ended(End::Succeeded, _) if self.tasks[&no].fence() == fence => Answer::Ok,
            _ => Answer::Error("STALE"),
        }
    }

    fn expect_fail(&mut self, id: &str, fence: u64, is_final: bool) -> Answer {
        let Some(no) = self.no(id) else { return self.expect_of_forgotten(id, |_| Answer::Error("STALE")) };
        match self.tasks[&no].state {
            State::Running { fence: known, .. } if known == fence => {
                self.fail(no, is_final);
                Answer::Word(match self.tasks[&no].end() {
                    None => "RETRY",
                    Some(End::Dead) => "DEAD",
                    Some(_) => "CANCELLED",
                })
            }
            // A retry: what is remembered of it is checked on a real server.
            _ => Answer::Error("STALE"),
        }
    }

    fn expect_signal(&mut self, id: &str) -> Answer {
        let now = self.now;
        let Some(no) = self.no(id) else { return Answer::Error("NOTASK") };
        let task = self.tasks.get_mut(&no).expect("there");
        if !task.wants_signal || task.end().is_some() {
            return Answer::Error("BADSTATE");
        }
        if std::mem::replace(&mut task.has_signal, true) {
            return Answer::Number(0);
        }
        if task.state == State::Held {
            task.ready_at = now;
            task.state = if task.not_before > now { State::Delayed } else { State::Ready };
        }
        Answer::Number(1)
    }
}
