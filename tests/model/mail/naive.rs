//! A mailbox as naive as possible: lists that are searched.

use crate::requests::Memory;

/// A message.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: u64,
    pub from: String,
    pub sent: u64,
    pub end: Option<u64>,
    pub reply_to: Option<u64>,
    pub payload: String,
}

/// The state of a message for one of its receivers.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Ready,
    /// Received by this delivery, until this time.
    Leased(u64, u64),
    Delayed(u64),
    /// Since when, and why.
    Dead(u64, &'static str),
}

/// A message in an inbox, or a dead letter.
#[derive(Debug, Clone)]
pub struct Copy {
    pub id: u64,
    pub agent: String,
    pub deliveries: u64,
    pub state: State,
}

/// What a receiver asks for.
#[derive(Debug, Clone)]
pub struct ReceiveArgs {
    pub agent: String,
    pub count: usize,
    pub answer_to: Option<u64>,
    pub lease: u64,
}

/// A client that waits.
#[derive(Debug, Clone)]
pub struct Wait {
    pub id: u64,
    pub args: ReceiveArgs,
    /// 0 for none.
    pub deadline: u64,
}

/// The bounds, and what becomes of messages that nobody acknowledges.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub deliveries_max: u64,
    pub dead_max: usize,
    pub messages_max: usize,
    pub bytes_max: usize,
    pub inbox_max: usize,
    pub agents_max: usize,
}

/// What a receiver got: the delivery, and the messages with their number of deliveries and the end
/// of their lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    pub delivery: u64,
    pub messages: Vec<(u64, u64, u64)>,
}

#[derive(Debug, Default)]
pub struct Naive {
    pub letters: Vec<Letter>,
    pub copies: Vec<Copy>,
    pub joined: Vec<(String, u64)>,
    pub requests: Memory<u64>,
    pub waits: Vec<Wait>,
    pub last_delivery: u64,
}

impl Naive {
    pub fn letter(&self, id: u64) -> Option<&Letter> {
        self.letters.iter().find(|letter| letter.id == id)
    }

    pub fn copy(&mut self, agent: &str, id: u64) -> Option<&mut Copy> {
        self.copies.iter_mut().find(|copy| copy.id == id && copy.agent == agent)
    }

    /// The messages in an inbox, the dead ones not counted.
    pub fn inbox(&self, agent: &str) -> Vec<&Copy> {
        let mut inbox: Vec<&Copy> =
            self.copies.iter().filter(|copy| copy.agent == agent && !matches!(copy.state, State::Dead(..))).collect();
        inbox.sort_by_key(|copy| copy.id);
        inbox
    }

    pub fn dead(&self) -> Vec<&Copy> {
        let mut dead: Vec<&Copy> = self.copies.iter().filter(|copy| matches!(copy.state, State::Dead(..))).collect();
        dead.sort_by_key(|copy| (copy.id, copy.agent.clone()));
        dead
    }

    /// The agents that have joined or have something in their inbox.
    pub fn agents(&self) -> Vec<String> {
        let living = self.copies.iter().filter(|copy| !matches!(copy.state, State::Dead(..)));
        let mut agents: Vec<String> = living.map(|copy| copy.agent.clone()).collect();
        agents.extend(self.joined.iter().map(|(agent, _)| agent.clone()));
        agents.sort();
        agents.dedup();
        agents
    }

    /// Removes messages without a receiver. An empty mailbox goes with all it remembers.
    pub fn tidy(&mut self) {
        let copies = &self.copies;
        self.letters.retain(|letter| copies.iter().any(|copy| copy.id == letter.id));
        if self.letters.is_empty() && self.joined.is_empty() {
            self.requests.clear();
        }
    }

    /// Whether there is room for one more message to these agents.
    pub fn has_room(&self, to: &[String], bytes: usize, policy: &Policy) -> bool {
        let known = self.agents();
        let new = to.iter().filter(|agent| !known.contains(agent)).count();
        let held: usize = self.letters.iter().map(|letter| letter.payload.len()).sum();
        self.letters.len() < policy.messages_max
            && held + bytes <= policy.bytes_max
            && to.iter().all(|agent| self.inbox(agent).len() < policy.inbox_max)
            && (new == 0 || known.len() + new <= policy.agents_max)
    }

    /// Receives messages if any are ready.
    pub fn receive(&mut self, args: &ReceiveArgs, now: u64) -> Option<Got> {
        let is_worth = |copy: &&Copy| {
            let letter = self.letter(copy.id).expect("a copy has its letter");
            let fits = args.answer_to.is_none() || letter.reply_to == args.answer_to;
            copy.state == State::Ready && fits && letter.end.is_none_or(|end| end > now)
        };
        let ids: Vec<u64> =
            self.inbox(&args.agent).into_iter().filter(is_worth).map(|copy| copy.id).take(args.count).collect();
        if ids.is_empty() {
            return None;
        }
        self.last_delivery += 1;
        let (delivery, until) = (self.last_delivery, now + args.lease);
        let mut messages = Vec::new();
        for id in ids {
            let copy = self.copy(&args.agent, id).expect("just found");
            copy.deliveries += 1;
            copy.state = State::Leased(delivery, until);
            messages.push((id, copy.deliveries, until));
        }
        Some(Got { delivery, messages })
    }

    /// Serves waiting clients, the longest first. Returns who got what.
    pub fn serve(&mut self, now: u64) -> Vec<(Wait, Got)> {
        let mut served = Vec::new();
        for wait in self.waits.clone() {
            if let Some(got) = self.receive(&wait.args, now) {
                self.waits.retain(|other| other.id != wait.id);
                served.push((wait, got));
            }
        }
        served
    }

    /// A message dies, and the oldest dead letters go.
    pub fn die(&mut self, agent: &str, id: u64, now: u64, reason: &'static str, policy: &Policy) {
        if let Some(copy) = self.copy(agent, id) {
            copy.state = State::Dead(now, reason);
        }
        while self.dead().len() > policy.dead_max {
            let (id, agent) = self.dead().first().map(|copy| (copy.id, copy.agent.clone())).expect("too many");
            self.copies.retain(|copy| copy.id != id || copy.agent != agent);
        }
        self.tidy();
    }

    /// Decides what time has brought.
    pub fn settle(&mut self, now: u64, policy: &Policy) {
        let over: Vec<u64> = self
            .letters
            .iter()
            .filter(|letter| letter.end.is_some_and(|end| end <= now))
            .map(|letter| letter.id)
            .collect();
        self.copies.retain(|copy| !over.contains(&copy.id));
        for copy in self.copies.clone() {
            let ready = |copy: &mut Copy| copy.state = State::Ready;
            match copy.state {
                State::Leased(_, until) if until <= now && copy.deliveries >= policy.deliveries_max => {
                    self.die(&copy.agent, copy.id, now, "deliveries", policy);
                }
                State::Leased(_, until) | State::Delayed(until) if until <= now => {
                    self.copy(&copy.agent, copy.id).into_iter().for_each(ready);
                }
                _ => {}
            }
        }
        self.tidy();
    }

    /// Takes back a delivery whose client was not told.
    pub fn take_back(&mut self, delivery: u64) {
        for copy in &mut self.copies {
            if matches!(copy.state, State::Leased(known, _) if known == delivery) {
                copy.state = State::Ready;
                copy.deliveries -= 1;
            }
        }
    }
}
