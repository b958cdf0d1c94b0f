//! What has to hold after every step, and whenever the scheduler is at rest.

use super::decide::Answer;
use super::naive::{overlap, Hold, Mode, Name};
use super::reduction::stuck;
use super::world::{id_of, name_of, World};
use ltmc::command::engine::cx::Outcome;
use ltmc::command::reply::Reply;
use ltmc::domain::lock::{Grant, Lock, Mode as RealMode, NO_END};
use ltmc::domain::{Entity, Record};
use ltmc::snapshot::encode_snapshot;

impl World {
    pub fn check_info(&self, key: &Name, outcome: &Answer) {
        let live = self.model.holds(key).iter().filter(|hold| !hold.is_over(self.model.now)).count();
        let Ok(Outcome::Reply(Reply::Map(fields))) = outcome else {
            return;
        };
        for (name, value) in fields {
            let count = match value {
                Reply::Array(items) => items.len(),
                _ => continue,
            };
            let expected = if name == "holders" { live } else { self.model.queue(key).len() };
            assert_eq!(count, expected, "LTMC.LOCK.INFO shows other {name}");
        }
    }

    /// After every step: the keys are what the model says, and the replica's are the same to the
    /// byte.
    pub fn check_state(&mut self) {
        let full = self.rng.percent(3);
        let mut locks = 0;
        for key in self.host.keys.keys() {
            let Some(stored) = self.host.peek::<Lock>(key) else { continue };
            locks += 1;
            let known = self.model.locks.get(&name_of(key));
            let known = known.unwrap_or_else(|| panic!("{key:?} holds {stored:?}, the model has nothing"));
            assert_eq!(stored.state.version(), known.version, "version of {key:?}");
            let mut holds = known.holds.clone();
            holds.sort_by_key(|hold| hold.fence);
            let real: Vec<Hold> = stored.state.grants().iter().map(hold_of).collect();
            assert_eq!(real, holds, "{key:?}");
            if full || self.touched.contains(key) {
                check_value(stored);
                let copy = self.host.copied::<Lock>(key);
                let copy = copy.unwrap_or_else(|| panic!("the replica has no {key:?}"));
                assert_eq!(encode_snapshot(stored), encode_snapshot(copy), "replica of {key:?}");
            }
        }
        assert_eq!(self.model.locks.len(), locks, "keys of the model and of the server");
        assert_eq!(self.host.replica.len(), locks, "keys of the replica");
        self.touched.clear();
    }

    /// When the scheduler is at rest: no client waits for what it could have, or for what never
    /// comes.
    pub fn check_rest(&mut self) {
        for wait in &self.model.waits {
            // Nothing tells that a free key holds something else now. It is found within a second.
            let strange = wait.keys.iter().filter_map(|key| self.model.foreign.get(key)).max();
            let settled = strange.is_none_or(|since| since + 3_000 < self.model.now);
            assert!(!settled || !self.model.is_servable(wait), "lost: {wait:?}");
            assert!(strange.is_none() || !settled, "waits for a key of another type: {wait:?}");
            assert!(wait.deadline.is_none_or(|deadline| deadline > self.model.now), "overdue: {wait:?}");
        }
        assert!(!self.is_unsure(), "a lease that others wait for is over and still there");
        assert_eq!(self.node.waits.len(), self.model.waits.len(), "number of waiters");
        for name in &self.shape.keys {
            let real: Vec<u64> = self.node.queues.locks.queue(&id_of(name)).map(|(rank, _)| rank.waiter().0).collect();
            let naive: Vec<u64> = self.model.queue(name).iter().map(|wait| wait.id).collect();
            assert_eq!(real, naive, "the queue of {name:?}");
            for hold in self.model.holds(name) {
                let gone = hold.client.is_some_and(|client| self.gone.contains(&client));
                assert!(!gone, "its connection is gone: {hold:?}");
            }
        }
        for db in 0..2 {
            let stuck = stuck(&self.model, db);
            assert!(stuck.is_empty(), "a deadlock was not seen: {stuck:?}, {:#?}", self.model);
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

/// No two owners hold what excludes each other, and what is derived can be rebuilt.
fn check_value(stored: &Record<Lock>) {
    assert_eq!(stored.check(), Ok(()));
    let holds: Vec<Hold> = stored.state.grants().iter().map(hold_of).collect();
    for (at, one) in holds.iter().enumerate() {
        for other in &holds[..at] {
            let both_share = one.mode == Mode::Shared && other.mode == Mode::Shared;
            let stamp = one.mode == Mode::Stamp || other.mode == Mode::Stamp;
            let apart = !overlap(&one.path, &other.path);
            assert!(both_share || stamp || apart || one.owner == other.owner, "{one:?} beside {other:?}");
        }
        let sharing = |hold: &&Hold| hold.mode == Mode::Shared && hold.path == one.path;
        let count = holds.iter().filter(sharing).count() as u64;
        // An exclusive grant that becomes shared may stand beside another shared one of its own
        // owner.
        let alone = holds.iter().filter(sharing).all(|hold| hold.owner == one.owner);
        let limited = one.limit > 0 && one.mode == Mode::Shared && !alone;
        assert!(!limited || count <= one.limit, "{count} share {one:?}");
    }
    let mut again = stored.clone();
    again.state.rebuild();
    assert_eq!(again.check(), Ok(()));
    assert_eq!(encode_snapshot(&again), encode_snapshot(stored));
}
