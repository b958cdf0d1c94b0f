//! A server with its clients: the real module on the host in memory, beside the naive mailbox.

use super::naive::{Got, Naive, Policy, State, Wait};
use super::ops::{Answer, Op, AGENTS};
use crate::driver::{History, Schedule};
use crate::host::{Fact, MemoryHost};
use crate::original::Original;
use crate::prng::Prng;
use crate::server::{blocked, decoded, execute, field, int};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::node::Node;
use ltmc::command::reply::Reply;
use ltmc::command::scheduler;
use ltmc::command::settings::Setting;
use ltmc::domain::mail::Mail;
use ltmc::domain::queue::rank::WaiterId;
use ltmc::domain::{Entity, Error, KeyId};
use ltmc::snapshot;
use std::collections::BTreeMap;

pub struct World {
    node: Node,
    host: MemoryHost,
    naive: Naive,
    policy: Policy,
    rng: Prng,
    history: History,
    /// Ids of messages that were sent, the newest last.
    old: Vec<u64>,
    /// The last message that was sent with a `REQID`.
    last_send: Option<Op>,
    /// Waiters that were answered and not told yet, each with its delivery.
    untold: Vec<(Wait, Option<u64>)>,
    /// Deliveries whose clients were not told.
    take_backs: Vec<u64>,
    next_client: u64,
    original: Option<Original<Mail>>,
}

fn key() -> KeyId {
    KeyId::new(0, b"m")
}

impl Schedule for World {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let is_tight = rng.percent(50);
        let bound = |rng: &mut Prng, tight: u64| if is_tight { 1 + rng.below(tight) as usize } else { 1_000_000 };
        let policy = Policy {
            deliveries_max: 1 + rng.below(4),
            dead_max: rng.below(4) as usize,
            messages_max: bound(&mut rng, 12),
            bytes_max: 1024 + bound(&mut rng, 300),
            inbox_max: bound(&mut rng, 8),
            agents_max: bound(&mut rng, 5),
        };
        let mut world = Self {
            node: Node::default(),
            host: MemoryHost::default(),
            naive: Naive::default(),
            policy,
            rng,
            history: History::default(),
            old: Vec::new(),
            last_send: None,
            untold: Vec::new(),
            take_backs: Vec::new(),
            next_client: 1,
            original: None,
        };
        world.history.seed = seed;
        let values = [
            (Setting::MailDeliveriesMax, policy.deliveries_max as usize),
            (Setting::MailDeadMax, policy.dead_max),
            (Setting::MailMessagesMax, policy.messages_max),
            (Setting::MailBytesMax, policy.bytes_max),
            (Setting::MailInboxMax, policy.inbox_max),
            (Setting::MailAgentsMax, policy.agents_max),
        ];
        values.into_iter().for_each(|(setting, value)| world.node.settings.set_at(setting as usize, value as i64));
        world.set_time(1_700_000_000_000);
        world
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..=69 => self.act(),
            70..=94 => {
                let ms = self.rng.below(25);
                self.pass(ms);
            }
            95 => self.reload(),
            96 => self.replace_by_copy(),
            _ => self.hang_up(),
        }
        self.compare();
    }

    /// Everything comes to an end: messages die or are acknowledged, and nothing is left.
    fn finish(&mut self) {
        self.pass(100);
        for agent in AGENTS {
            let copies = self.naive.copies.iter().filter(|copy| copy.agent == agent);
            let ids: Vec<u64> = copies.map(|copy| copy.id).collect();
            if !ids.is_empty() {
                self.run(&Op::Ack { agent: agent.into(), ids });
            }
            self.run(&Op::Leave(agent.into()));
        }
        self.compare();
        assert!(self.host.keys.is_empty() && self.host.replica.is_empty(), "something is left");
    }
}

impl World {
    fn set_time(&mut self, ms: u64) {
        // The clock stays at the start of the millisecond, so that ids have to grow within it.
        self.node.clock.set_now_us(ms * 1000);
        self.host.now = ms;
    }

    fn act(&mut self) {
        let is_again = self.last_send.is_some() && self.rng.percent(10);
        let op = match self.last_send.clone().filter(|_| is_again) {
            Some(again) => again,
            None => Op::random(&mut self.rng, &self.naive, &self.old),
        };
        if op.asked().is_some() {
            self.last_send = Some(op.clone());
        }
        self.run(&op);
        self.tick();
    }

    fn run(&mut self, op: &Op) {
        let now = self.host.now;
        if matches!(op, Op::Delete) {
            self.history.note(format!("{now}: DEL m"));
            self.host.delete(&key());
            self.host.gone.clear();
            self.node.key_changed(key());
            let (waits, last_delivery) = (std::mem::take(&mut self.naive.waits), self.naive.last_delivery);
            self.naive = Naive { waits, last_delivery, ..Naive::default() };
            return;
        }
        let words = op.words();
        self.host.in_multi = self.rng.percent(10);
        let mut served = Vec::new();
        if matches!(op, Op::Recv { .. }) {
            // What is due comes first, and then the clients that wait for it.
            self.naive.settle(now, &self.policy);
            served = self.naive.serve(now);
        }
        let expected = op.apply(&mut self.naive, now, !self.host.in_multi, &self.policy);
        let outcome = execute(&mut self.node, &mut self.host, (self.next_client, 0), &words);
        self.history.note(format!("{now}: {} => {outcome:?}", words.join(" ")));
        self.check_answer(op, &expected, outcome);
        served.extend(self.naive.serve(now));
        self.check_served(served);
    }

    fn check_answer(&mut self, op: &Op, expected: &Answer, outcome: Result<Outcome, Error>) {
        match (expected, outcome) {
            (Answer::Sent, Ok(Outcome::Reply(Reply::Integer(id)))) => {
                let id = id as u64;
                assert!(self.old.last().is_none_or(|last| *last < id), "ids grow");
                self.old.push(id);
                self.naive.letters.iter_mut().filter(|letter| letter.id == u64::MAX).for_each(|letter| letter.id = id);
                self.naive.copies.iter_mut().filter(|copy| copy.id == u64::MAX).for_each(|copy| copy.id = id);
                let now = self.host.now;
                op.asked().iter().for_each(|asked| self.naive.requests.remember(asked, now, id));
            }
            (Answer::Known(known), Ok(Outcome::Reply(Reply::Integer(id)))) => assert_eq!(id as u64, *known),
            (Answer::Number(number), Ok(Outcome::Reply(Reply::Integer(found)))) => assert_eq!(found as u64, *number),
            (Answer::Got(messages), Ok(Outcome::Reply(reply))) => self.check_messages(&reply, messages),
            (Answer::Waits, Ok(Outcome::Waits)) => {
                let Op::Recv { args, block } = op else { panic!("only RECV waits") };
                let (id, block) = (blocked(&self.host).expect("the client waits"), block.unwrap_or(0));
                let deadline = if block == 0 { 0 } else { self.host.now + block };
                self.naive.waits.push(Wait { id, args: args.clone(), deadline });
                self.next_client += 1;
            }
            (Answer::Error(code), Err(error)) => assert_eq!(error.code.word(), *code, "{error}"),
            (expected, found) => panic!("expected {expected:?}, found {found:?}"),
        }
    }

    /// A receiver is told what the naive mailbox says.
    fn check_messages(&self, reply: &Reply, expected: &[(u64, u64, u64)]) {
        let Reply::Array(messages) = reply else { panic!("{reply:?} is no list") };
        let found: Vec<(u64, u64, u64)> = messages
            .iter()
            .map(|message| {
                let field = |name: &str| field(message, name);
                let letter = self.naive.letter(int(field("id"))).expect("a known message");
                assert_eq!(field("from"), &Reply::bytes(letter.from.as_bytes()));
                assert!(matches!(field("payload"), Reply::Blob(blob) if **blob == *letter.payload.as_bytes()));
                assert_eq!(int(field("sent_at_ms")), letter.sent);
                assert_eq!(field("reply_to"), &letter.reply_to.map_or(Reply::Nil, Reply::number));
                assert_eq!(field("expires_at_ms"), &letter.end.map_or(Reply::Nil, Reply::number));
                (int(field("id")), int(field("deliveries")), int(field("ends_at_ms")))
            })
            .collect();
        assert_eq!(found, expected);
    }

    /// Exactly those waiters are answered that the naive mailbox has served, with what it gave
    /// them.
    fn check_served(&mut self, served: Vec<(Wait, Got)>) {
        let mut answers: BTreeMap<u64, Result<Reply, Error>> = BTreeMap::new();
        for fact in std::mem::take(&mut self.host.log) {
            if let Fact::Answered(WaiterId(id), reply) = fact {
                assert!(answers.insert(id, reply).is_none(), "waiter {id} is answered twice");
            }
        }
        for (wait, got) in served {
            let reply = answers.remove(&wait.id).unwrap_or_else(|| panic!("waiter {} is not served: {got:?}", wait.id));
            self.check_messages(&reply.expect("a served waiter gets no error"), &got.messages);
            self.untold.push((wait, Some(got.delivery)));
        }
        for (id, reply) in answers {
            assert_eq!(reply, Ok(Reply::Array(Vec::new())), "waiter {id} is served, and should not");
            let at = self.naive.waits.iter().position(|wait| wait.id == id).expect("a waiter");
            let wait = self.naive.waits.remove(at);
            assert!(wait.deadline > 0 && wait.deadline <= self.host.now, "{wait:?} ended too early");
            self.untold.push((wait, None));
        }
    }

    /// The scheduler runs, as it does after each command.
    fn tick(&mut self) {
        self.tell();
        for _ in 0..1000 {
            if scheduler::next_tick(&self.node).is_none_or(|next| next > self.host.now) {
                let late = self.naive.waits.iter().find(|wait| wait.deadline > 0 && wait.deadline <= self.host.now);
                assert!(late.is_none(), "{late:?} waits too long");
                return;
            }
            self.host.client = 0;
            scheduler::tick(&mut self.node, &mut self.host);
            let now = self.host.now;
            let mut served = Vec::new();
            for delivery in std::mem::take(&mut self.take_backs) {
                self.naive.take_back(delivery);
                served.extend(self.naive.serve(now));
            }
            // Time limits come before anything else in the same millisecond.
            let (over, waits): (Vec<Wait>, Vec<Wait>) = std::mem::take(&mut self.naive.waits)
                .into_iter()
                .partition(|wait| wait.deadline > 0 && wait.deadline <= now);
            self.naive.waits = waits;
            self.naive.settle(now, &self.policy);
            served.extend(self.naive.serve(now));
            self.naive.waits.extend(over);
            self.naive.waits.sort_by_key(|wait| wait.id);
            self.check_served(served);
            self.tell();
        }
        panic!("the scheduler goes round in circles");
    }

    /// The answered clients read their answers, unless they go away just now.
    fn tell(&mut self) {
        for (wait, delivery) in std::mem::take(&mut self.untold) {
            if self.rng.percent(10) {
                self.history.note(format!("waiter {} goes before it can be told", wait.id));
                scheduler::waiter_gone(&mut self.node, WaiterId(wait.id));
                self.take_backs.extend(delivery);
            } else {
                self.node.waits.told(WaiterId(wait.id));
            }
        }
    }

    /// Time passes. The scheduler is prompt, but now and then a client comes first.
    fn pass(&mut self, ms: u64) {
        let target = self.host.now + ms;
        while let Some(next) = scheduler::next_tick(&self.node).filter(|next| *next <= target) {
            self.set_time(next.max(self.host.now));
            if self.rng.percent(20) {
                let op = Op::random(&mut self.rng, &self.naive, &self.old);
                self.run(&op);
            }
            self.tick();
        }
        self.set_time(target);
    }

    /// A client that waits goes away.
    fn hang_up(&mut self) {
        if !self.naive.waits.is_empty() {
            let at = self.rng.below(self.naive.waits.len() as u64) as usize;
            let wait = self.naive.waits.remove(at);
            self.history.note(format!("waiter {} hangs up", wait.id));
            scheduler::waiter_gone(&mut self.node, WaiterId(wait.id));
            self.tick();
        }
    }

    /// The value is saved and loaded, or that of the replica takes its place.
    fn reload(&mut self) {
        let Some(stored) = self.host.peek::<Mail>(&key()) else { return };
        let payload = snapshot::encode_snapshot(stored);
        self.history.note("reload".into());
        self.host.restore(&key(), decoded::<Mail>(&payload), decoded::<Mail>(&payload));
        self.host.gone.clear();
        self.node.key_changed(key());
        self.tick();
    }

    /// A copy of the mailbox replaces it. Nobody has received anything of the copy.
    fn replace_by_copy(&mut self) {
        let Some(original) = self.host.replace_by_copy(&key()) else { return };
        self.history.note("COPY m copy, RENAME copy m".into());
        for copy in self.naive.copies.iter_mut().filter(|copy| matches!(copy.state, State::Leased(..))) {
            (copy.state, copy.deliveries) = (State::Ready, copy.deliveries - 1);
        }
        self.naive.requests.clear();
        self.original = Some(original);
        self.host.gone.clear();
        self.node.key_changed(key());
        self.tick();
    }

    /// The mailbox, its replica and the naive mailbox are the same.
    fn compare(&mut self) {
        self.original.iter().for_each(Original::check);
        let stored = self.host.peek::<Mail>(&key());
        let copy = self.host.copied::<Mail>(&key());
        assert_eq!(stored.map(snapshot::encode_snapshot), copy.map(snapshot::encode_snapshot), "the replica differs");
        let Some(stored) = stored else {
            assert!(self.naive.letters.is_empty() && self.naive.joined.is_empty(), "the key is gone too early");
            return;
        };
        let mail = &stored.state;
        assert_eq!(stored.check(), Ok(()));
        assert_eq!(mail.count(), self.naive.letters.len(), "{mail:?} and {:?}", self.naive);
        let agents: Vec<String> = mail.inboxes().map(|(agent, _)| String::from_utf8_lossy(agent).into()).collect();
        assert_eq!(agents, self.naive.agents());
        for agent in AGENTS {
            let joined = mail.inbox(agent.as_bytes()).map_or(0, |inbox| inbox.joined_at);
            assert_eq!(joined, self.naive.joined.iter().find(|(known, _)| known == agent).map_or(0, |(_, at)| *at));
            let entries = mail.inbox(agent.as_bytes()).into_iter().flat_map(|inbox| inbox.entries());
            let found: Vec<_> = entries
                .map(|(id, entry)| {
                    (id, u64::from(entry.deliveries), mail.hold(entry.hold).map(|hold| (hold.ends_at, hold.is_delay)))
                })
                .collect();
            let expected: Vec<_> =
                self.naive.inbox(agent).iter().map(|copy| (copy.id, copy.deliveries, hold(&copy.state))).collect();
            assert_eq!(found, expected, "the inbox of {agent}");
        }
        let found: Vec<_> = mail
            .dead()
            .map(|(id, agent, dead)| (id, agent, u64::from(dead.deliveries), dead.since, dead.reason.word()))
            .collect();
        let dead = self.naive.dead();
        let expected: Vec<_> = dead
            .iter()
            .filter_map(|copy| match copy.state {
                State::Dead(since, reason) => Some((copy.id, copy.agent.as_bytes(), copy.deliveries, since, reason)),
                _ => None,
            })
            .collect();
        assert_eq!(found, expected, "the dead letters");
        assert_eq!(self.node.queues.mails.waiting_for(&key()), self.naive.waits.len());
        assert!(mail.memory_bytes() > mail.payload_bytes());
    }
}

fn hold(state: &State) -> Option<(u64, bool)> {
    match state {
        State::Leased(_, until) => Some((*until, false)),
        State::Delayed(until) => Some((*until, true)),
        State::Ready | State::Dead(..) => None,
    }
}
