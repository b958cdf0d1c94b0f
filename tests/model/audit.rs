//! Holds what the module did against what the model says it had to do.

use crate::host::{Fact, Value};
use crate::naive::{Hold, Mode, Name, Wait, Want};
use crate::ops::Op;
use crate::reduction::stuck;
use crate::world::{id_of, name_of, Untold, World};
use ltmc::command::{Outcome, Reply};
use ltmc::domain::lock::{Cause, Grant, Lock, LockEvent, Mode as RealMode, NO_END};
use ltmc::domain::wait::{Class, Rank, WaiterId};
use ltmc::domain::{Code, Error, Fence, Stored};
use ltmc::snapshot::encode_snapshot;

type Answer = Result<Outcome, Error>;

/// What a command has to answer.
#[derive(Debug, PartialEq)]
enum Expect {
    Number(u64),
    Fences(Vec<u64>),
    Nil,
    Refused(Code),
    Waits,
    /// Not the model's matter.
    Anything,
}

fn numbers(reply: &Reply) -> Option<Vec<u64>> {
    match reply {
        Reply::Integer(value) => Some(vec![*value as u64]),
        Reply::Array(items) => items
            .iter()
            .map(|item| numbers(item).map(|found| found[0]))
            .collect(),
        _ => None,
    }
}

fn wants(outcome: &Answer) -> Expect {
    match outcome {
        Ok(Outcome::Waits) => Expect::Waits,
        Ok(Outcome::Reply(Reply::Nil)) => Expect::Nil,
        Ok(Outcome::Reply(Reply::Integer(value))) => Expect::Number(*value as u64),
        Ok(Outcome::Reply(reply)) => numbers(reply).map_or(Expect::Anything, Expect::Fences),
        Err(error) => Expect::Refused(error.code),
    }
}

/// What is granted but not yet known to be the command's or a waiter's.
type Pending = Vec<Name>;

impl World {
    pub fn absorb_command(&mut self, client: u64, op: &Op, outcome: &Answer) {
        let mut decided = false;
        let mut pending = Pending::new();
        self.twin = None;
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
        self.twin = None;
        for fact in std::mem::take(&mut self.host.log) {
            match &fact {
                Fact::Event(
                    key,
                    LockEvent::Ended {
                        fence,
                        cause: Cause::Disconnected,
                    },
                ) => {
                    let key = name_of(key);
                    let hold = self.model.hold(&key, *fence).expect("a grant that ends exists");
                    assert!(
                        hold.client.is_some_and(|client| self.gone.contains(&client)),
                        "{hold:?}"
                    );
                    self.model.end(&key, *fence, false);
                }
                Fact::Event(
                    key,
                    LockEvent::Ended {
                        fence,
                        cause: Cause::TakenBack,
                    },
                ) => {
                    self.taken_back(&name_of(key), *fence);
                    self.model.end(&name_of(key), *fence, false);
                }
                Fact::Event(key, LockEvent::Unlocked { fence }) => {
                    self.taken_back(&name_of(key), *fence);
                    self.model.level_down(&name_of(key), *fence);
                }
                _ => {}
            }
            self.absorb(fact, &mut pending);
        }
        assert!(pending.is_empty(), "granted, and nobody was told: {pending:?}");
    }

    fn taken_back(&mut self, key: &Name, fence: Fence) {
        let at = self
            .take_backs
            .iter()
            .position(|(name, known)| name == key && *known == fence);
        self.take_backs
            .remove(at.expect("only what nobody was told of is taken back"));
    }

    fn own_pending(&self, fact: &Fact, pending: &Pending) -> usize {
        match fact {
            Fact::Answered(id, reply) => self.grants_of_answer(id.0, reply, pending),
            _ => 0,
        }
    }

    /// How many of the grants just made are told of by this answer.
    fn grants_of_answer(&self, id: u64, reply: &Result<Reply, Error>, pending: &Pending) -> usize {
        let granted = matches!(reply, Ok(Reply::Integer(_) | Reply::Array(_)));
        let keys = self.model.wait(id).map_or(0, |wait| wait.keys.len());
        if granted && pending.len() >= keys {
            keys
        } else {
            0
        }
    }

    fn absorb(&mut self, fact: Fact, pending: &mut Pending) {
        match fact {
            Fact::Vanished(key) => self.vanished(&name_of(&key)),
            Fact::Blocked(_) => {}
            Fact::Event(key, event) => {
                let name = name_of(&key);
                self.touched.insert(key);
                self.check_fence(&event);
                match event {
                    LockEvent::Granted(_) | LockEvent::Reentered { .. } | LockEvent::Converted { .. } => {
                        pending.push(name);
                    }
                    LockEvent::Ended {
                        fence,
                        cause: Cause::Expired,
                    } => {
                        let hold = self
                            .model
                            .hold(&name, fence)
                            .expect("a grant that expires exists");
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
        let over = self
            .model
            .holds(key)
            .iter()
            .all(|hold| hold.is_over(self.model.now));
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
        assert!(
            new > self.last_fence && new < 1 << 53,
            "fence {new} after {}",
            self.last_fence
        );
        self.last_fence = new;
    }

    /// A waiter was answered: was it its turn, and is the answer right?
    fn answered(&mut self, id: u64, reply: Result<Reply, Error>, has_grants: bool) {
        let wait = self.model.wait(id).cloned();
        let wait = wait.unwrap_or_else(|| panic!("waiter {id} was answered, and nobody waits under this id"));
        self.history.note(format!(
            "  client {} {:?} is answered {reply:?}",
            wait.client, wait.want
        ));
        match &reply {
            Ok(Reply::Nil) => {
                let over = wait.deadline.is_some_and(|deadline| deadline <= self.model.now);
                assert!(over, "timed out too early: {wait:?}");
            }
            Ok(_) if has_grants => self.served(&wait, &numbers(reply.as_ref().expect("ok")).expect("fences")),
            Ok(Reply::Integer(fence)) => {
                let twin = (
                    wait.keys.clone(),
                    wait.request_id.clone().unwrap_or_default(),
                    *fence as u64,
                );
                assert_eq!(self.twin, Some(twin), "answered with a grant that is none");
                self.untold.push(Untold {
                    id,
                    client: wait.client,
                    grants: Vec::new(),
                });
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
        if let Some(request_id) = &wait.request_id {
            self.model.remember(&wait.keys[0], request_id, fences[0]);
            self.twin = Some((wait.keys.clone(), request_id.clone(), fences[0]));
        }
        if wait.converts.is_some() {
            grants.clear();
        }
        self.untold.push(Untold {
            id: wait.id,
            client: wait.client,
            grants,
        });
    }

    fn check_refusal(&self, wait: &Wait, error: &Error) {
        let right = match error.code {
            Code::Deadlock => {
                self.is_unsure() || stuck(&self.model, wait.keys[0].0).contains(&wait.want.owner)
            }
            Code::WrongType => wait.keys.iter().any(|key| self.model.foreign.contains_key(key)),
            Code::Stale | Code::NotOwner => wait.converts.is_some_and(|fence| {
                let hold = self.model.hold(&wait.keys[0], fence);
                hold.is_none_or(|hold| hold.is_over(self.model.now))
            }),
            _ => false,
        };
        assert!(right, "refused for no reason: {wait:?}, {error:?}");
    }

    /// Between the end of a lease and the scheduler's next round the search for deadlocks may see a grant that is over.
    fn is_unsure(&self) -> bool {
        let waited = self.model.waits.iter().flat_map(|wait| &wait.keys);
        waited.into_iter().any(|key| {
            self.model
                .holds(key)
                .iter()
                .any(|hold| hold.is_over(self.model.now))
        })
    }

    /// The command itself: the model decides it anew, from its own state.
    fn decide(&mut self, client: u64, op: &Op, outcome: &Answer, blocked: u64) {
        let given = wants(outcome);
        let fences = match &given {
            Expect::Number(fence) => vec![*fence],
            Expect::Fences(fences) => fences.clone(),
            _ => Vec::new(),
        };
        let expected = match op {
            Op::Lock {
                key,
                want,
                request_id,
                ..
            } => {
                let known = request_id.as_ref().and_then(|id| self.model.remembered(key, id));
                match known {
                    Some(fence) => Expect::Number(fence),
                    None => self.decide_lock(
                        client,
                        op,
                        std::slice::from_ref(key),
                        want,
                        &fences,
                        (&given, blocked),
                    ),
                }
            }
            Op::Mlock { keys, want, .. } => {
                self.decide_lock(client, op, keys, want, &fences, (&given, blocked))
            }
            Op::Convert {
                key,
                owner,
                token,
                mode,
                ..
            } => self.decide_convert(
                client,
                op,
                (key, owner, *token, *mode),
                &fences,
                (&given, blocked),
            ),
            _ => self.decide_rest(op),
        };
        let expected = match (expected, &given) {
            (Expect::Fences(mut fences), Expect::Number(_)) if fences.len() == 1 => {
                Expect::Number(fences.remove(0))
            }
            (expected, _) => expected,
        };
        assert!(
            expected == Expect::Anything || expected == given,
            "expected {expected:?}, got {outcome:?}"
        );
        if let Op::Info { key } = op {
            self.check_info(key, outcome);
        }
    }

    fn is_foreign(&self, keys: &[Name]) -> bool {
        keys.iter().any(|key| self.model.foreign.contains_key(key))
    }

    fn decide_lock(
        &mut self,
        client: u64,
        op: &Op,
        keys: &[Name],
        want: &Want,
        fences: &[u64],
        given: (&Expect, u64),
    ) -> Expect {
        if self.is_foreign(keys) {
            return Expect::Refused(Code::WrongType);
        }
        let (Op::Lock { block, priority, .. } | Op::Mlock { block, priority, .. }) = op else {
            return Expect::Anything;
        };
        let start = self.model.now as i64 - *priority as i64 * 1000;
        let request_id = match op {
            Op::Lock { request_id, .. } => request_id.clone(),
            _ => None,
        };
        let free = keys.iter().all(|key| {
            self.model.covering(key, want).is_some()
                || (self.model.fits(key, want) && !self.model.is_behind(key, want, (1, start, u64::MAX)))
        });
        if free {
            let taken = keys.iter().zip(fences);
            taken.for_each(|(key, fence)| self.model.give(key, want, *fence));
            if let (Some(id), Some(fence)) = (&request_id, fences.first()) {
                self.model.remember(&keys[0], id, *fence);
            }
            return Expect::Fences(if fences.len() == keys.len() {
                fences.to_vec()
            } else {
                vec![0; keys.len()]
            });
        }
        let wait = Wait {
            id: given.1,
            client,
            keys: keys.to_vec(),
            want: want.clone(),
            rank: (1, start, given.1),
            converts: None,
            request_id,
            deadline: None,
        };
        self.decide_wait(wait, *block, given.0)
    }

    fn decide_wait(&mut self, mut wait: Wait, block: Option<u64>, given: &Expect) -> Expect {
        let Some(block) = block.filter(|_| !self.host.in_multi) else {
            return Expect::Nil;
        };
        if wait.id == 0 {
            (wait.id, wait.rank.2) = (u64::MAX, u64::MAX);
        }
        wait.deadline = (block > 0).then(|| self.model.now + block);
        let (id, db, owner) = (wait.id, wait.keys[0].0, wait.want.owner.clone());
        let unsure = self.is_unsure();
        let mut refused = true;
        for class in [wait.rank.0, 0] {
            wait.rank.0 = class;
            self.model.waits.push(wait.clone());
            refused = stuck(&self.model, db).contains(&owner);
            if !refused {
                break;
            }
            self.model.waits.retain(|known| known.id != id);
        }
        if unsure {
            self.model.waits.retain(|known| known.id != id);
            refused = *given != Expect::Waits;
            if !refused {
                wait.rank.0 = u8::from(!self.stands_ahead(id));
                self.model.waits.push(wait.clone());
            }
        }
        if refused {
            return Expect::Refused(Code::Deadlock);
        }
        self.clients.insert(wait.client, Some(id));
        Expect::Waits
    }

    /// Whether the module put a waiter before the usual queue. One that is served already must have been.
    fn stands_ahead(&self, id: u64) -> bool {
        let first = Rank::new(Class::Usual, 0, u64::MAX, u64::MAX, WaiterId(0));
        self.node
            .locks
            .waiter(WaiterId(id))
            .is_none_or(|waiter| waiter.rank < first)
    }

    fn decide_convert(
        &mut self,
        client: u64,
        op: &Op,
        (key, owner, token, mode): (&Name, &str, u64, Mode),
        fences: &[u64],
        given: (&Expect, u64),
    ) -> Expect {
        let hold = match self.owned(key, owner, token) {
            Ok(hold) => hold,
            Err(refused) => return refused,
        };
        if hold.mode == Mode::Stamp {
            return Expect::Refused(Code::Err);
        }
        let want = Want {
            owner: owner.into(),
            mode,
            path: hold.path.clone(),
            limit: if mode == Mode::Shared { hold.limit } else { 0 },
            lease: None,
            reentrant: true,
            client: None,
        };
        if hold.mode == mode || hold.mode == Mode::Exclusive || self.model.fits(key, &want) {
            let Some(fence) = fences.first() else {
                return Expect::Number(0);
            };
            self.model.convert(key, token, mode, *fence);
            return Expect::Number(*fence);
        }
        let Op::Convert { block, .. } = op else {
            return Expect::Anything;
        };
        let wait = Wait {
            id: given.1,
            client,
            keys: vec![key.clone()],
            want,
            rank: (0, self.model.now as i64, given.1),
            converts: Some(token),
            request_id: None,
            deadline: None,
        };
        self.decide_wait(wait, *block, given.0)
    }

    fn owned(&self, key: &Name, owner: &str, token: u64) -> Result<Hold, Expect> {
        if self.model.foreign.contains_key(key) {
            return Err(Expect::Refused(Code::WrongType));
        }
        match self.model.hold(key, token) {
            Some(hold) if hold.owner != owner => Err(Expect::Refused(Code::NotOwner)),
            Some(hold) if !hold.is_over(self.model.now) => Ok(hold.clone()),
            _ => Err(Expect::Refused(Code::Stale)),
        }
    }

    fn decide_rest(&mut self, op: &Op) -> Expect {
        match op {
            Op::Unlock {
                key,
                owner,
                token,
                path,
                all,
            } => self.decide_unlock(key, owner, *token, path.as_deref(), *all),
            Op::Renew {
                key,
                owner,
                token,
                lease,
            } => match self.owned(key, owner, *token) {
                Err(refused) => refused,
                Ok(hold) => {
                    let ends = Some(self.model.now + lease);
                    let lock = self.model.locks.get_mut(key).expect("held");
                    let held = lock.holds.iter_mut().find(|known| known.fence == hold.fence);
                    held.expect("held").ends = ends;
                    Expect::Number(1)
                }
            },
            Op::Check { key, .. } | Op::Break { key, .. } if self.model.foreign.contains_key(key) => {
                Expect::Refused(Code::WrongType)
            }
            Op::Check { key, fence } => {
                let hold = self.model.hold(key, *fence);
                Expect::Number(u64::from(hold.is_some_and(|hold| !hold.is_over(self.model.now))))
            }
            Op::Break { key, owner } => {
                let hit = |hold: &&Hold| owner.as_ref().is_none_or(|owner| hold.owner == *owner);
                let fences: Vec<u64> = self
                    .model
                    .holds(key)
                    .iter()
                    .filter(hit)
                    .map(|hold| hold.fence)
                    .collect();
                fences.iter().for_each(|fence| self.model.end(key, *fence, false));
                Expect::Number(fences.len() as u64)
            }
            _ => Expect::Anything,
        }
    }

    fn decide_unlock(
        &mut self,
        key: &Name,
        owner: &str,
        token: Option<u64>,
        path: Option<&str>,
        all: bool,
    ) -> Expect {
        if self.model.foreign.contains_key(key) {
            return Expect::Refused(Code::WrongType);
        }
        if token.is_some_and(|token| token % 2 == 0) && self.model.holds(key).is_empty() {
            return Expect::Number(0);
        }
        let mut targets: Vec<Hold> = match token.map(|token| self.owned(key, owner, token)) {
            Some(Err(refused)) => return refused,
            Some(Ok(hold)) => vec![hold],
            None => {
                let wanted = |hold: &&Hold| match path {
                    Some(path) => hold.path == path,
                    None => all || hold.path.is_empty(),
                };
                let live = |hold: &&Hold| hold.mode != Mode::Stamp && !hold.is_over(self.model.now);
                let held = self.model.holds(key).iter().filter(live);
                let (own, foreign): (Vec<&Hold>, Vec<&Hold>) = held.partition(|hold| hold.owner == owner);
                let own: Vec<Hold> = own.into_iter().filter(|hold| wanted(hold)).cloned().collect();
                let in_the_way =
                    |hold: &&&Hold| path.is_none_or(|path| crate::naive::overlap(path, &hold.path));
                match (own.is_empty(), foreign.iter().any(|hold| in_the_way(&hold))) {
                    (true, true) => return Expect::Refused(Code::NotOwner),
                    (true, false) => return Expect::Number(0),
                    _ => own,
                }
            }
        };
        targets.sort_by_key(|hold| std::cmp::Reverse(hold.fence));
        targets.truncate(if all { targets.len() } else { 1 });
        for hold in targets {
            if hold.mode == Mode::Stamp {
                let wrote = |other: &Hold| {
                    other.mode == Mode::Exclusive && crate::naive::overlap(&other.path, &hold.path)
                };
                if hold.voided || self.model.holds(key).iter().any(wrote) {
                    return Expect::Refused(Code::Conflict);
                }
                self.model.end(key, hold.fence, true);
            } else if hold.levels > 1 && !all {
                self.model.level_down(key, hold.fence);
            } else {
                self.model.end(key, hold.fence, false);
            }
        }
        Expect::Number(1)
    }

    fn check_info(&self, key: &Name, outcome: &Answer) {
        let live = self
            .model
            .holds(key)
            .iter()
            .filter(|hold| !hold.is_over(self.model.now))
            .count();
        let Ok(Outcome::Reply(Reply::Map(fields))) = outcome else {
            return;
        };
        for (name, value) in fields {
            let count = match value {
                Reply::Array(items) => items.len(),
                _ => continue,
            };
            let expected = if name == "holders" {
                live
            } else {
                self.model.queue(key).len()
            };
            assert_eq!(count, expected, "LTMC.LOCK.INFO shows other {name}");
        }
    }

    /// After every step: the keys are what the model says, and the replica's are the same to the byte.
    pub fn check_state(&mut self) {
        let full = self.rng.percent(3);
        for (key, (value, _)) in &self.host.keys {
            let Value::Lock(stored) = value else { continue };
            let known = self.model.locks.get(&name_of(key));
            let known = known.unwrap_or_else(|| panic!("{key:?} holds {stored:?}, the model has nothing"));
            assert_eq!(stored.state.version(), known.version, "version of {key:?}");
            let mut holds = known.holds.clone();
            holds.sort_by_key(|hold| hold.fence);
            let real: Vec<Hold> = stored.state.grants().iter().map(hold_of).collect();
            assert_eq!(real, holds, "{key:?}");
            if full || self.touched.contains(key) {
                check_value(stored);
                let copy = self.host.replica.get(key);
                let copy = copy.unwrap_or_else(|| panic!("the replica has no {key:?}"));
                assert_eq!(
                    encode_snapshot(&**stored),
                    encode_snapshot(copy),
                    "replica of {key:?}"
                );
            }
        }
        let locks = self
            .host
            .keys
            .values()
            .filter(|(value, _)| matches!(value, Value::Lock(_)))
            .count();
        assert_eq!(
            self.model.locks.len(),
            locks,
            "keys of the model and of the server"
        );
        assert_eq!(self.host.replica.len(), locks, "keys of the replica");
        self.touched.clear();
    }

    /// When the scheduler is at rest: nobody waits for what is there, and nobody for what never comes.
    pub fn check_rest(&mut self) {
        for wait in &self.model.waits {
            // Nobody tells that a key that was free holds something else now: that is found within a second.
            let strange = wait
                .keys
                .iter()
                .filter_map(|key| self.model.foreign.get(key))
                .max();
            let settled = strange.is_none_or(|since| since + 3_000 < self.model.now);
            assert!(!settled || !self.model.is_servable(wait), "lost: {wait:?}");
            assert!(
                strange.is_none() || !settled,
                "waits for a key of another type: {wait:?}"
            );
            assert!(
                wait.deadline.is_none_or(|deadline| deadline > self.model.now),
                "overdue: {wait:?}"
            );
        }
        assert!(
            !self.is_unsure(),
            "a lease that others wait for is over and still there"
        );
        assert_eq!(self.node.waits.len(), self.model.waits.len(), "number of waiters");
        for name in &self.shape.keys {
            let real: Vec<u64> = self
                .node
                .locks
                .queue(&id_of(name))
                .map(|(rank, _)| rank.waiter().0)
                .collect();
            let naive: Vec<u64> = self.model.queue(name).iter().map(|wait| wait.id).collect();
            assert_eq!(real, naive, "the queue of {name:?}");
            for hold in self.model.holds(name) {
                let gone = hold.client.is_some_and(|client| self.gone.contains(&client));
                assert!(!gone, "its connection is gone: {hold:?}");
            }
        }
        for db in 0..2 {
            let stuck = stuck(&self.model, db);
            assert!(
                stuck.is_empty(),
                "a deadlock was not seen: {stuck:?}, {:#?}",
                self.model
            );
        }
        self.take_backs.clear();
    }
}

fn hold_of(grant: &Grant) -> Hold {
    Hold {
        fence: grant.fence,
        owner: String::from_utf8_lossy(&grant.owner).into_owned(),
        mode: match grant.mode {
            RealMode::Shared => Mode::Shared,
            RealMode::Exclusive => Mode::Exclusive,
            RealMode::Optimistic => Mode::Stamp,
        },
        path: String::from_utf8_lossy(grant.path().bytes()).into_owned(),
        limit: grant.limit().into(),
        levels: grant.levels.into(),
        ends: Some(grant.ends_at).filter(|end| *end != NO_END),
        client: grant.connection().map(|connection| connection.client),
        voided: grant.extra.as_ref().is_some_and(|extra| extra.voided),
    }
}

/// No two owners hold what excludes each other, and what is derived can be derived anew.
fn check_value(stored: &Stored<Lock>) {
    assert_eq!(stored.check(), Ok(()));
    let holds: Vec<Hold> = stored.state.grants().iter().map(hold_of).collect();
    for (at, one) in holds.iter().enumerate() {
        for other in &holds[..at] {
            let both_share = one.mode == Mode::Shared && other.mode == Mode::Shared;
            let stamp = one.mode == Mode::Stamp || other.mode == Mode::Stamp;
            let apart = !crate::naive::overlap(&one.path, &other.path);
            assert!(
                both_share || stamp || apart || one.owner == other.owner,
                "{one:?} beside {other:?}"
            );
        }
        let sharing = |hold: &&Hold| hold.mode == Mode::Shared && hold.path == one.path;
        let count = holds.iter().filter(sharing).count() as u64;
        let limited = one.limit > 0 && one.mode == Mode::Shared;
        assert!(!limited || count <= one.limit, "{count} share {one:?}");
    }
    let mut again = stored.clone();
    ltmc::domain::Entity::rebuild(&mut again.state);
    assert_eq!(again.check(), Ok(()));
    assert_eq!(encode_snapshot(&again), encode_snapshot(stored));
}
