//! Reads the log of what the module did, and compares it with the model step by step.

use super::decide::{numbers, Answer};
use super::naive::{Hold, Name, Wait};
use super::ops::Op;
use super::reduction::stuck;
use super::world::{id_of, name_of, Undelivered, World};
use crate::host::Fact;
use crate::requests::Asked;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::lock::{Cause, LockEvent};
use ltmc::domain::{Code, Error, Fence};

/// Grants of which it is not known yet whether they belong to the command or to a waiter.
type Pending = Vec<Name>;

impl World {
    pub fn absorb_command(&mut self, client: u64, op: &Op, outcome: &Answer) {
        let mut decided = false;
        let mut pending = Pending::new();
        (self.retry, self.own_request) = (None, None);
        if let (Some(asked), Ok(Outcome::Reply(Reply::Integer(fence)))) = (op.asked(), outcome) {
            self.own_request = Some((asked, *fence));
        }
        if let (Op::Break { key, owner }, Ok(Outcome::Reply(Reply::Integer(0)))) = (op, outcome) {
            // The command granted nothing itself: whoever was granted something was waiting, and is
            // served afterwards.
            let is_hit = |hold: &Hold| owner.as_ref().is_none_or(|owner| hold.owner == *owner);
            let in_force = |hold: &&Hold| is_hit(hold) && !hold.is_over(self.model.now);
            assert_eq!(self.model.holds(key).iter().find(in_force), None, "it was not broken");
            decided = true;
        }
        for fact in std::mem::take(&mut self.host.log) {
            let decision = match &fact {
                Fact::Blocked(id) => Some(id.0),
                Fact::Event(_, LockEvent::Unlocked { .. } | LockEvent::Renewed { .. }) => Some(0),
                Fact::Event(_, LockEvent::Ended { cause, .. }) if *cause != Cause::Expired => Some(0),
                Fact::Answered(id, reply) => {
                    (pending.len() > self.grants_of_answer(id.0, reply, &pending)).then_some(0)
                }
                _ => None,
            };
            if let Some(id) = decision.filter(|_| !decided) {
                decided = true;
                self.decide(client, op, outcome, id);
                pending.drain(..pending.len() - self.own_pending(&fact, &pending));
            }
            self.absorb(fact, &mut pending);
        }
        if !decided {
            self.decide(client, op, outcome, 0);
        }
    }

    pub fn absorb_tick(&mut self) {
        let mut pending = Pending::new();
        (self.retry, self.own_request) = (None, None);
        for fact in std::mem::take(&mut self.host.log) {
            match &fact {
                Fact::Event(key, LockEvent::Ended { fence, cause: Cause::Disconnected }) => {
                    let key = name_of(key);
                    let hold = self.model.hold(&key, *fence).expect("a grant that ends exists");
                    assert!(hold.client.is_some_and(|client| self.gone.contains(&client)), "{hold:?}");
                    self.model.end(&key, *fence, false);
                }
                Fact::Event(key, LockEvent::Ended { fence, cause: Cause::TakenBack }) => {
                    let asked = self.taken_back(&name_of(key), *fence);
                    self.model.end(&name_of(key), *fence, false);
                    asked.iter().for_each(|asked| self.model.forget(&name_of(key), &asked.name));
                }
                Fact::Event(key, LockEvent::Unlocked { fence }) => {
                    let asked = self.taken_back(&name_of(key), *fence);
                    self.model.level_down(&name_of(key), *fence);
                    asked.iter().for_each(|asked| self.model.forget(&name_of(key), &asked.name));
                }
                _ => {}
            }
            self.absorb(fact, &mut pending);
        }
        assert!(pending.is_empty(), "granted, and nobody was told: {pending:?}");
    }

    fn taken_back(&mut self, key: &Name, fence: Fence) -> Option<Asked> {
        let at = self.take_backs.iter().position(|(name, known, _)| name == key && *known == fence);
        self.take_backs.remove(at.expect("only what nobody was told of is taken back")).2
    }

    fn own_pending(&self, fact: &Fact, pending: &Pending) -> usize {
        match fact {
            Fact::Answered(id, reply) => self.grants_of_answer(id.0, reply, pending),
            _ => 0,
        }
    }

    /// How many of the new grants belong to this answer.
    fn grants_of_answer(&self, id: u64, reply: &Result<Reply, Error>, pending: &Pending) -> usize {
        let granted = matches!(reply, Ok(Reply::Integer(_) | Reply::Array(_)));
        let wait = self.model.wait(id);
        let keys = wait.map_or(0, |wait| wait.keys.len());
        if let (Some((asked, fence)), Some(wait)) = (&self.own_request, wait) {
            // The command repeats what this client waits for, and was quicker; unless the wait was
            // served first, and the command is told what that got.
            let is_its_own = self.tied_to.is_some() && self.tied_to == wait.want.client;
            if wait.asked.as_ref() == Some(asked) && *reply == Ok(Reply::Integer(*fence)) && !is_its_own {
                return 0;
            }
        }
        if granted && pending.len() >= keys {
            keys
        } else {
            0
        }
    }

    fn absorb(&mut self, fact: Fact, pending: &mut Pending) {
        match fact {
            Fact::Vanished(key) => self.vanished(&name_of(&key)),
            Fact::Blocked(_) | Fact::Agent(..) | Fact::Cache(..) => {}
            Fact::Event(key, event) => {
                let name = name_of(&key);
                self.touched.insert(key);
                self.check_fence(&event);
                if let LockEvent::Granted(grant) = &event {
                    self.tied_to = grant.connection().map(|connection| connection.client);
                }
                match event {
                    LockEvent::Granted(_) | LockEvent::Reentered { .. } | LockEvent::Converted { .. } => {
                        pending.push(name);
                    }
                    LockEvent::Ended { fence, cause: Cause::Expired } => {
                        let hold = self.model.hold(&name, fence).expect("a grant that expires exists");
                        assert!(hold.is_over(self.model.now), "expired too early: {hold:?}");
                        self.model.end(&name, fence, false);
                    }
                    _ => {}
                }
            }
            Fact::Answered(id, reply) => {
                let own = self.grants_of_answer(id.0, &reply, pending);
                self.answered(id.0, reply, own > 0);
                pending.clear();
            }
        }
    }

    /// The server found that nothing in a key is in force any more.
    pub fn vanished(&mut self, key: &Name) {
        let over = self.model.holds(key).iter().all(|hold| hold.is_over(self.model.now));
        assert!(over, "{key:?} vanished while held: {:?}", self.model.holds(key));
        self.model.locks.remove(key);
        self.touched.insert(id_of(key));
    }

    fn check_fence(&mut self, event: &LockEvent) {
        let new = match event {
            LockEvent::Granted(grant) => grant.fence,
            LockEvent::Converted { new_fence, .. } => *new_fence,
            _ => return,
        };
        assert!(new > self.last_fence && new < 1 << 53, "fence {new} after {}", self.last_fence);
        self.last_fence = new;
    }

    /// A waiter was answered: was it its turn, and is the answer right?
    fn answered(&mut self, id: u64, reply: Result<Reply, Error>, has_grants: bool) {
        let wait = self.model.wait(id).cloned();
        let wait = wait.unwrap_or_else(|| panic!("waiter {id} was answered, and nobody waits under this id"));
        self.history.note(format!("  client {} {:?} is answered {reply:?}", wait.client, wait.want));
        match &reply {
            Ok(Reply::Nil) => {
                let over = wait.deadline.is_some_and(|deadline| deadline <= self.model.now);
                assert!(over, "timed out too early: {wait:?}");
            }
            Ok(_) if has_grants => self.served(&wait, &numbers(reply.as_ref().expect("ok")).expect("fences")),
            Ok(Reply::Integer(fence)) => {
                let retry = (wait.keys.clone(), wait.asked.clone(), *fence as u64);
                assert_eq!(self.retry, Some(retry), "answered with a grant that is none");
                self.undelivered.push(Undelivered { id, client: wait.client, grants: Vec::new(), asked: None });
            }
            Ok(other) => panic!("no answer for a waiter: {other:?}"),
            Err(error) => self.check_refusal(&wait, error),
        }
        self.model.waits.retain(|known| known.id != id);
        self.clients.insert(wait.client, None);
    }

    fn served(&mut self, wait: &Wait, fences: &[u64]) {
        assert!(self.model.is_servable(wait), "served out of turn: {wait:?}");
        self.model.waits.retain(|known| known.id != wait.id);
        let mut grants: Vec<_> = wait.keys.iter().cloned().zip(fences.iter().copied()).collect();
        for (key, fence) in &grants {
            match wait.converts {
                Some(old) => self.model.convert(key, old, wait.want.mode, *fence),
                None => self.model.give(key, &wait.want, *fence),
            }
        }
        if let Some(asked) = &wait.asked {
            self.model.remember(&wait.keys[0], asked, fences[0]);
            self.retry = Some((wait.keys.clone(), wait.asked.clone(), fences[0]));
        }
        if wait.converts.is_some() {
            grants.clear();
        }
        let asked = wait.asked.clone();
        self.undelivered.push(Undelivered { id: wait.id, client: wait.client, grants, asked });
    }

    fn check_refusal(&self, wait: &Wait, error: &Error) {
        let right = match error.code {
            Code::Deadlock => self.is_unsure() || stuck(&self.model, wait.keys[0].0).contains(&wait.want.owner),
            Code::WrongType => wait.keys.iter().any(|key| self.model.foreign.contains_key(key)),
            Code::Stale | Code::NotOwner => wait.converts.is_some_and(|fence| {
                let hold = self.model.hold(&wait.keys[0], fence);
                hold.is_none_or(|hold| hold.is_over(self.model.now))
            }),
            _ => false,
        };
        assert!(right, "refused for no reason: {wait:?}, {error:?}");
    }
}
