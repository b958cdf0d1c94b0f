//! A server with its workers: the real module on the host in memory, beside the naive flow.

use super::naive::{Flow as Naive, Gift, State as NaiveState};
use super::ops::{Answer, Op};
use crate::driver::{History, Schedule};
use crate::host::{Fact, MemoryHost};
use crate::original::Original;
use crate::prng::Prng;
use crate::server::{blocked, execute, field, saved, set};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::flow::{Flow, How};
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::{Entity, Error, KeyId};
use ltmc::snapshot::encode_snapshot;
use std::collections::BTreeMap;

/// How many ended tasks a flow keeps that nobody created.
pub const KEEP: usize = 8;
/// The same of dead ones.
pub const KEEP_DEAD: usize = 3;

pub struct World {
    node: Node,
    host: MemoryHost,
    model: Naive,
    rng: Prng,
    history: History,
    serial: u64,
    next_client: u64,
    /// Clients that were answered with tasks and may not have been told yet.
    untold: Vec<Gift>,
    original: Option<Original<Flow>>,
}

fn key() -> KeyId {
    KeyId::new(0, b"f")
}

fn tasks_of(reply: &Reply) -> Vec<String> {
    let Reply::Array(tasks) = reply else { panic!("no list: {reply:?}") };
    let id = |task: &Reply| match field(task, "task") {
        Reply::Bytes(id) => String::from_utf8_lossy(id).into_owned(),
        other => panic!("no id: {other:?}"),
    };
    tasks.iter().map(id).collect()
}

fn answer_of(op: &Op, outcome: Result<Outcome, Error>) -> Answer {
    match outcome {
        Err(error) => Answer::Error(error.code.word()),
        Ok(Outcome::Waits | Outcome::Offloaded(_)) => Answer::Waits,
        Ok(Outcome::Reply(Reply::Nil)) => Answer::Nil,
        Ok(Outcome::Reply(Reply::Ok)) => Answer::Ok,
        Ok(Outcome::Reply(Reply::Integer(number))) => Answer::Number(number),
        Ok(Outcome::Reply(Reply::Bytes(_))) if matches!(op, Op::Add { .. }) => Answer::Ok,
        Ok(Outcome::Reply(Reply::Text(word))) => {
            let words = ["CANCEL", "DEADLINE", "RETRY", "DEAD", "CANCELLED"];
            Answer::Word(words.into_iter().find(|known| *known == word).expect("a known word"))
        }
        Ok(Outcome::Reply(reply)) => Answer::Tasks(tasks_of(&reply)),
    }
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let model = Naive { grace: 1 + rng.below(300), ageing: 1 + rng.below(400), ..Naive::default() };
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            model,
            rng,
            history: History::default(),
            serial: 0,
            next_client: 1,
            untold: Vec::new(),
            original: None,
        };
        world.history.seed = seed;
        world.model.now = 1_700_000_000_000;
        world.boot();
        world
    }

    /// One step of a random schedule, and all checks.
    fn step(&mut self) {
        let ms = if self.rng.percent(70) { self.rng.below(8) } else { self.rng.below(400) };
        self.pass(ms);
        if self.rng.percent(4) {
            return self.incident();
        }
        let op = if !self.model.exists && self.rng.percent(50) {
            Op::new_flow(&mut self.rng)
        } else {
            Op::random(&mut self.rng, &self.model, &mut self.serial)
        };
        self.run(op);
    }
}

impl World {
    /// A process starts: no client waits.
    fn boot(&mut self) {
        self.node = Node::default();
        self.set_time(self.model.now);
        self.node.boot = self.model.now * 1000;
        self.model.task_waiters.clear();
        let values = [
            (Setting::FlowKeep, KEEP as u64),
            (Setting::FlowKeepDead, KEEP_DEAD as u64),
            (Setting::TaskAgeingMs, self.model.ageing),
            (Setting::TaskStopGraceMs, self.model.grace),
        ];
        set(&mut self.node, values);
    }

    fn set_time(&mut self, now: u64) {
        self.node.clock.set_now_us(now * 1000 + 1);
        (self.model.now, self.host.now) = (now, now);
    }

    /// Time passes. Everything is looked at when its time comes.
    fn pass(&mut self, ms: u64) {
        let target = self.model.now + ms;
        for _ in 0..10_000 {
            let real = scheduler::next_tick(&self.node).filter(|next| *next > self.model.now);
            let next = real.into_iter().chain(self.model.next_alarm()).min().filter(|next| *next <= target);
            let Some(next) = next else { return self.set_time(target) };
            self.set_time(next.max(self.model.now));
            let over = self.model.expire_waits();
            let mut gifts: Vec<Gift> = over.into_iter().map(|wait| (wait, Vec::new())).collect();
            while self.model.settle_due() {
                gifts.extend(self.model.follow());
            }
            gifts.extend(self.model.follow());
            self.settle();
            self.compare(gifts);
        }
        panic!("time goes round in circles");
    }

    /// Lets the scheduler run until it has nothing more to do now.
    fn settle(&mut self) {
        self.host.client = 0;
        for _ in 0..10_000 {
            match scheduler::next_tick(&self.node) {
                Some(next) if next <= self.host.now => scheduler::tick(&mut self.node, &mut self.host),
                _ => return,
            }
        }
        panic!("the scheduler does not come to rest");
    }

    fn run(&mut self, op: Op) {
        let line = op.argv(&self.model);
        let client = self.next_client;
        self.next_client += 1;
        let caps = match &op {
            Op::Complete { id, .. } => self.model.task(id).map(|task| task.caps.clone()),
            _ => None,
        };
        let was_running = match &op {
            Op::Complete { id, .. } => {
                self.model.task(id).is_some_and(|task| matches!(task.state, NaiveState::Running { .. }))
            }
            _ => false,
        };
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = execute(&mut self.node, &mut self.host, (client, 0), &words);
        let answer = answer_of(&op, outcome);
        self.history.note(format!("{} ms: {line} => {answer:?}", self.model.now % 1_000_000));
        let expected = self.model.expect(&op, blocked(&self.host).unwrap_or(0), client);
        let mut gifts = self.model.follow();
        match (&op, &expected, &answer) {
            (Op::Complete { next: true, .. }, Answer::Ok, Answer::Tasks(tasks)) if was_running => {
                assert_eq!(*tasks, self.model.claim(&caps.expect("it ran"), 1), "the next one");
                gifts.extend(self.model.follow());
            }
            // Sent again.
            (Op::Complete { next: true, .. }, Answer::Ok, Answer::Tasks(_)) => {}
            (Op::Fail { .. }, Answer::Error("STALE"), Answer::Word(_)) => {}
            _ => assert_eq!(answer, expected, "{line}"),
        }
        self.settle();
        self.compare(gifts);
    }

    /// Compares who was answered what, and then everything else.
    fn compare(&mut self, gifts: Vec<Gift>) {
        let mut answered: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for fact in std::mem::take(&mut self.host.log) {
            if let Fact::Answered(id, reply) = fact {
                let reply = reply.unwrap_or_else(|error| panic!("{id:?} was refused: {error}"));
                answered.insert(id.0, if reply == Reply::Nil { Vec::new() } else { tasks_of(&reply) });
            }
        }
        let expected: BTreeMap<u64, Vec<String>> = gifts.iter().cloned().collect();
        assert_eq!(answered, expected, "who was answered");
        self.untold.extend(gifts);
        self.learn_fences();
        self.original.iter().for_each(Original::check);
        self.check();
        self.tell();
    }

    /// The answered clients read their answers, unless they go away just now.
    fn tell(&mut self) {
        for (wait, tasks) in std::mem::take(&mut self.untold) {
            if !self.rng.percent(8) {
                self.node.waits.told(WaiterId(wait));
                continue;
            }
            self.history.note(format!("waiter {wait} goes before it is told of {tasks:?}"));
            scheduler::waiter_gone(&mut self.node, WaiterId(wait));
            let mut gifts = Vec::new();
            for task in tasks {
                self.model.take_back(&task);
                gifts.extend(self.model.follow());
            }
            self.settle();
            self.compare(gifts);
        }
    }

    fn learn_fences(&mut self) {
        let Some(stored) = self.host.peek::<Flow>(&key()) else { return };
        for task in self.model.tasks.values_mut() {
            if let NaiveState::Running { fence, .. } = &mut task.state {
                let real = stored.state.task(task.id.as_bytes()).and_then(|task| task.run());
                *fence = real.unwrap_or_else(|| panic!("{} does not run", task.id)).fence;
                *task.fences.last_mut().expect("it runs") = *fence;
            }
        }
    }

    fn check(&self) {
        let stored = self.host.peek::<Flow>(&key());
        assert_eq!(stored.is_some(), self.model.exists, "whether there is a flow");
        let Some(stored) = stored else { return };
        assert_eq!(stored.check(), Ok(()));
        let flow = &stored.state;
        let real: BTreeMap<String, (&str, u64, u64)> = flow
            .tasks()
            .map(|task| {
                (task.id.show(), (task.state.word(), u64::from(task.attempts), task.run().map_or(0, |run| run.ends_at)))
            })
            .collect();
        let ends = |task: &super::naive::Task| match task.state {
            NaiveState::Running { ends, .. } => ends,
            _ => 0,
        };
        let naive: BTreeMap<String, (&str, u64, u64)> =
            self.model.tasks.values().map(|task| (task.id.clone(), (task.word(), task.attempts, ends(task)))).collect();
        assert_eq!(real, naive, "the tasks");
        for (how, word) in [
            (How::Succeeded, "succeeded"),
            (How::Dead, "dead"),
            (How::Cancelled, "cancelled"),
            (How::Skipped, "skipped"),
        ] {
            assert_eq!(flow.ended(how), self.model.ended.get(word).copied().unwrap_or(0), "{word}");
        }
        assert_eq!(flow.totals().added, self.model.added);
        let copy = self.host.copied::<Flow>(&key()).expect("the replica has it, too");
        assert!(encode_snapshot(stored) == encode_snapshot(copy), "the replica differs");
        assert_eq!(flow.index().running(), self.model.running());
        assert_eq!(Flow::TYPE_TAG, 7);
    }

    /// An incident of the server or a client.
    fn incident(&mut self) {
        match self.rng.below(12) {
            0 => {
                self.history.note("DEL".into());
                self.host.delete(&key());
                self.note_change();
                (self.model.exists, self.model.cancelled, self.model.paused) = (false, false, false);
                self.model.tasks.clear();
                self.model.forgotten.clear();
            }
            1..=2 => {
                let Some(again) = self.host.peek::<Flow>(&key()).map(|stored| (saved(stored), saved(stored))) else {
                    return;
                };
                self.history.note("reload".into());
                self.host.restore(&key(), again.0, again.1);
                self.note_change();
            }
            3 => {
                let Some(copy) = self.host.copied::<Flow>(&key()).map(saved) else { return };
                self.history.note("failover".into());
                self.host.promote(&key(), copy);
                self.boot();
                self.note_change();
            }
            4..=5 => {
                let Some(original) = self.host.replace_by_copy(&key()) else { return };
                self.history.note("COPY f copy, RENAME copy f".into());
                self.original = Some(original);
                self.model.take_back_all();
                self.note_change();
            }
            _ => {
                let Some(waiter) = self.model.task_waiters.first().cloned() else { return };
                self.history.note(format!("waiter {} of client {} hangs up", waiter.wait, waiter.client));
                scheduler::waiter_gone(&mut self.node, WaiterId(waiter.wait));
                self.model.task_waiters.remove(0);
            }
        }
        self.settle();
        let gifts = self.model.follow();
        self.compare(gifts);
    }

    fn note_change(&mut self) {
        self.host.gone.clear();
        self.node.key_changed(key());
    }
}
