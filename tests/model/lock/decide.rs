//! The commands once more, decided by the model from its own state.

use super::naive::{overlap, Hold, Mode, Name, Wait, Want};
use super::ops::Op;
use super::reduction::stuck;
use super::world::World;
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::queue::rank::{Class, Rank, WaiterId};
use ltmc::domain::{Code, Error};

pub type Answer = Result<Outcome, Error>;

/// What a command has to answer.
#[derive(Debug, PartialEq)]
enum Expect {
    Number(u64),
    Clock(Vec<u64>),
    Nil,
    Refused(Code),
    Waits,
    /// The model says nothing about it.
    Anything,
}

/// The fences in a reply.
pub fn numbers(reply: &Reply) -> Option<Vec<u64>> {
    match reply {
        Reply::Integer(value) => Some(vec![*value as u64]),
        Reply::Array(items) => items.iter().map(|item| numbers(item).map(|found| found[0])).collect(),
        _ => None,
    }
}

fn wants(outcome: &Answer) -> Expect {
    match outcome {
        Ok(Outcome::Waits | Outcome::Offloaded(_)) => Expect::Waits,
        Ok(Outcome::Reply(Reply::Nil)) => Expect::Nil,
        Ok(Outcome::Reply(Reply::Integer(value))) => Expect::Number(*value as u64),
        Ok(Outcome::Reply(reply)) => numbers(reply).map_or(Expect::Anything, Expect::Clock),
        Err(error) => Expect::Refused(error.code),
    }
}

impl World {
    /// Between the end of a lease and the scheduler's next round, the search for deadlocks may see
    /// an expired grant.
    pub fn is_unsure(&self) -> bool {
        let waited = self.model.waits.iter().flat_map(|wait| &wait.keys);
        waited.into_iter().any(|key| self.model.holds(key).iter().any(|hold| hold.is_over(self.model.now)))
    }

    /// The command itself: the model decides it from its own state.
    pub fn decide(&mut self, client: u64, op: &Op, outcome: &Answer, blocked: u64) {
        let given = wants(outcome);
        let fences = match &given {
            Expect::Number(fence) => vec![*fence],
            Expect::Clock(fences) => fences.clone(),
            _ => Vec::new(),
        };
        let expected = match op {
            Op::Lock { key, .. } | Op::Unlock { key, .. } if self.known(key, op).is_some() => {
                self.known(key, op).unwrap_or(Expect::Anything)
            }
            Op::Lock { key, want, .. } => {
                self.decide_lock(client, op, std::slice::from_ref(key), want, &fences, (&given, blocked))
            }
            Op::Mlock { keys, want, .. } => self.decide_lock(client, op, keys, want, &fences, (&given, blocked)),
            Op::Convert { key, owner, token, mode, .. } => {
                self.decide_convert(client, op, (key, owner, *token, *mode), &fences, (&given, blocked))
            }
            _ => self.decide_rest(op),
        };
        let expected = match (expected, &given) {
            (Expect::Clock(mut fences), Expect::Number(_)) if fences.len() == 1 => Expect::Number(fences.remove(0)),
            (expected, _) => expected,
        };
        assert!(expected == Expect::Anything || expected == given, "expected {expected:?}, got {outcome:?}");
        if let Op::Info { key } = op {
            self.check_info(key, outcome);
        }
    }

    /// What was answered to the same request, or the refusal of another one with its name. Whoever
    /// hears it has what was granted.
    fn known(&mut self, key: &Name, op: &Op) -> Option<Expect> {
        let asked = op.asked().filter(|_| !self.is_foreign(std::slice::from_ref(key)))?;
        let Ok(answer) = self.model.remembered(key, &asked)? else { return Some(Expect::Refused(Code::Err)) };
        for untold in self.undelivered.iter_mut().filter(|untold| untold.asked.as_ref() == Some(&asked)) {
            if untold.grants.iter().any(|(name, _)| name == key) {
                untold.grants.clear();
            }
        }
        Some(Expect::Number(answer))
    }

    pub fn is_foreign(&self, keys: &[Name]) -> bool {
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
        let free = keys.iter().all(|key| {
            self.model.covering(key, want).is_some()
                || (self.model.fits(key, want) && !self.model.is_behind(key, want, (1, start, u64::MAX)))
        });
        let wait = Wait {
            id: given.1,
            client,
            keys: keys.to_vec(),
            want: want.clone(),
            rank: (1, start, given.1),
            converts: None,
            asked: op.asked(),
            deadline: None,
        };
        if free {
            return self.take(&wait, fences);
        }
        if self.goes_ahead(&wait, !fences.is_empty()) {
            self.model.waits.retain(|known| known.id != wait.id);
            return self.take(&wait, fences);
        }
        self.decide_wait(wait, *block, given.0)
    }

    fn take(&mut self, wait: &Wait, fences: &[u64]) -> Expect {
        let taken = wait.keys.iter().zip(fences);
        taken.for_each(|(key, fence)| self.model.give(key, &wait.want, *fence));
        if let (Some(id), Some(fence)) = (&wait.asked, fences.first()) {
            self.model.remember(&wait.keys[0], id, *fence);
            self.retry = Some((wait.keys.clone(), wait.asked.clone(), *fence));
        }
        Expect::Clock(if fences.len() == wait.keys.len() { fences.to_vec() } else { vec![0; wait.keys.len()] })
    }

    /// Whether only the queue is in the way, and those in it cannot move before this one does. Then
    /// it is served at once, waiting or not.
    fn goes_ahead(&mut self, wait: &Wait, was_served: bool) -> bool {
        let has_room = |key: &Name| self.model.covering(key, &wait.want).is_some() || self.model.fits(key, &wait.want);
        if !wait.keys.iter().all(has_room) {
            return false;
        }
        if self.is_unsure() {
            return was_served;
        }
        let mut wait = Wait { id: u64::MAX, ..wait.clone() };
        wait.rank.2 = u64::MAX;
        let mut stuck_at = |class| {
            wait.rank.0 = class;
            self.model.waits.push(wait.clone());
            let is_stuck = stuck(&self.model, wait.keys[0].0).contains(&wait.want.owner);
            self.model.waits.retain(|known| known.id != u64::MAX);
            is_stuck
        };
        stuck_at(1) && !stuck_at(0)
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

    /// Whether the module put a waiter before the usual queue. It must have done so with one that
    /// is served already.
    fn stands_ahead(&self, id: u64) -> bool {
        let first = Rank::new(Class::Usual, 0, u64::MAX, u64::MAX, WaiterId(0));
        self.node.queues.locks.waiter(WaiterId(id)).is_none_or(|waiter| waiter.rank < first)
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
            asked: None,
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
            Op::Unlock { key, owner, token, path, all, .. } => {
                let answer = self.decide_unlock(key, owner, *token, path.as_deref(), *all);
                if let (Some(asked), Expect::Number(answer)) = (op.asked(), &answer) {
                    self.model.remember(key, &asked, *answer);
                }
                answer
            }
            Op::Renew { key, owner, token, lease } => match self.owned(key, owner, *token) {
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
                let hold = self.model.hold(key, *fence).filter(|hold| !hold.is_over(self.model.now));
                let current = hold.is_some_and(|hold| hold.mode != Mode::Stamp || self.model.is_committable(key, hold));
                Expect::Number(u64::from(current))
            }
            Op::Break { key, owner } => {
                let hit = |hold: &&Hold| owner.as_ref().is_none_or(|owner| hold.owner == *owner);
                let fences: Vec<u64> = self.model.holds(key).iter().filter(hit).map(|hold| hold.fence).collect();
                fences.iter().for_each(|fence| self.model.end(key, *fence, false));
                Expect::Number(fences.len() as u64)
            }
            _ => Expect::Anything,
        }
    }

    fn decide_unlock(&mut self, key: &Name, owner: &str, token: Option<u64>, path: Option<&str>, all: bool) -> Expect {
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
                let is_meant = |hold: &&Hold| match path {
                    Some(path) => hold.path == path,
                    None => all || hold.path.is_empty(),
                };
                let live = |hold: &&Hold| hold.mode != Mode::Stamp && !hold.is_over(self.model.now);
                let held = self.model.holds(key).iter().filter(live);
                let (own, foreign): (Vec<&Hold>, Vec<&Hold>) = held.partition(|hold| hold.owner == owner);
                let own: Vec<Hold> = own.into_iter().filter(|hold| is_meant(hold)).cloned().collect();
                let in_the_way = |hold: &&&Hold| path.is_none_or(|path| overlap(path, &hold.path));
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
                let wrote = |other: &Hold| other.mode == Mode::Exclusive && overlap(&other.path, &hold.path);
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
}
