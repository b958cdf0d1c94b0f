//! Locks as one would write them in a minute: lists, and a look at everything each time.

use crate::requests::{Asked, Memory};
use std::collections::BTreeMap;

pub type Name = (u32, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
    Stamp,
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Want {
    pub owner: String,
    pub mode: Mode,
    pub path: String,
    pub limit: u64,
    pub lease: Option<u64>,
    pub reentrant: bool,
    pub client: Option<u64>,
}

/// What an owner has.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    pub fence: u64,
    pub owner: String,
    pub mode: Mode,
    pub path: String,
    pub limit: u64,
    pub levels: u64,
    pub ends: Option<u64>,
    pub client: Option<u64>,
    pub voided: bool,
}

#[derive(Debug, Clone)]
pub struct Wait {
    pub id: u64,
    pub client: u64,
    pub keys: Vec<Name>,
    pub want: Want,
    /// Class, virtual start, order of arrival.
    pub rank: (u8, i64, u64),
    pub converts: Option<u64>,
    pub asked: Option<Asked>,
    pub deadline: Option<u64>,
}

#[derive(Debug, Default)]
pub struct NaiveLock {
    pub holds: Vec<Hold>,
    pub version: u64,
    pub requests: Memory<u64>,
}

#[derive(Debug, Default)]
pub struct Naive {
    pub locks: BTreeMap<Name, NaiveLock>,
    /// Keys of another type, and since when.
    pub foreign: BTreeMap<Name, u64>,
    pub waits: Vec<Wait>,
    pub now: u64,
}

pub fn overlap(a: &str, b: &str) -> bool {
    let below = |a: &str, b: &str| b.is_empty() || a == b || a.starts_with(&format!("{b}/"));
    below(a, b) || below(b, a)
}

impl Hold {
    pub fn is_over(&self, now: u64) -> bool {
        self.ends.is_some_and(|end| end <= now)
    }
}

impl Want {
    pub fn is_kept_out_by(&self, hold: &Hold) -> bool {
        if hold.mode == Mode::Stamp || (self.reentrant && hold.owner == self.owner) {
            return false;
        }
        let both_share = self.mode == Mode::Shared && hold.mode == Mode::Shared;
        !both_share && overlap(&self.path, &hold.path)
    }

    pub fn stays_behind(&self, earlier: &Want) -> bool {
        if self.reentrant && earlier.owner == self.owner {
            return false;
        }
        let both_share = self.mode == Mode::Shared && earlier.mode == Mode::Shared;
        (!both_share && overlap(&self.path, &earlier.path)) || (earlier.limit > 0 && self.path == earlier.path)
    }
}

impl Naive {
    pub fn holds(&self, key: &Name) -> &[Hold] {
        self.locks.get(key).map_or(&[], |lock| &lock.holds)
    }

    pub fn hold(&self, key: &Name, fence: u64) -> Option<&Hold> {
        self.holds(key).iter().find(|hold| hold.fence == fence)
    }

    /// The clients that wait for `key`, first to last.
    pub fn queue(&self, key: &Name) -> Vec<&Wait> {
        let mut queue: Vec<&Wait> = self.waits.iter().filter(|wait| wait.keys.contains(key)).collect();
        queue.sort_by_key(|wait| wait.rank);
        queue
    }

    pub fn wait(&self, id: u64) -> Option<&Wait> {
        self.waits.iter().find(|wait| wait.id == id)
    }

    /// The newest grant in force that this request would only take once more.
    pub fn covering(&self, key: &Name, want: &Want) -> Option<&Hold> {
        if !want.reentrant || want.mode == Mode::Stamp {
            return None;
        }
        let covers = |hold: &&Hold| {
            let mode = hold.mode == want.mode || (hold.mode == Mode::Exclusive && want.mode == Mode::Shared);
            hold.owner == want.owner && hold.path == want.path && mode && !hold.is_over(self.now)
        };
        self.holds(key).iter().filter(covers).max_by_key(|hold| hold.fence)
    }

    pub fn fits(&self, key: &Name, want: &Want) -> bool {
        if want.mode == Mode::Stamp {
            return true;
        }
        let holds = self.holds(key);
        let sharing = || holds.iter().filter(|hold| hold.mode == Mode::Shared && hold.path == want.path);
        let limits = sharing().map(|hold| hold.limit).chain([want.limit]);
        let room = want.mode == Mode::Exclusive
            || limits.filter(|limit| *limit > 0).all(|limit| (sharing().count() as u64) < limit);
        room && holds.iter().all(|hold| !want.is_kept_out_by(hold))
    }

    pub fn is_behind(&self, key: &Name, want: &Want, rank: (u8, i64, u64)) -> bool {
        let mut before = self.queue(key).into_iter().filter(|wait| wait.rank < rank);
        want.mode != Mode::Stamp && before.any(|wait| want.stays_behind(&wait.want))
    }

    /// Whether nobody wrote since the stamp and nobody is writing.
    pub fn is_committable(&self, key: &Name, stamp: &Hold) -> bool {
        let writes = |hold: &Hold| hold.mode == Mode::Exclusive && overlap(&hold.path, &stamp.path);
        !stamp.voided && !self.holds(key).iter().any(writes)
    }

    /// Whether a waiter has to be answered now: it is its turn, or its owner has got all of it by
    /// another connection.
    pub fn is_servable(&self, wait: &Wait) -> bool {
        let has_all = wait.keys.iter().all(|key| self.covering(key, &wait.want).is_some());
        if wait.converts.is_none() && has_all {
            return true;
        }
        wait.keys.iter().all(|key| {
            let converted = wait.converts.map(|fence| self.hold(key, fence));
            let fits = match converted {
                Some(None) => true,
                Some(Some(hold)) if hold.mode == Mode::Exclusive || hold.mode == wait.want.mode => true,
                _ => self.covering(key, &wait.want).is_some() || self.fits(key, &wait.want),
            };
            fits && !self.is_behind(key, &wait.want, wait.rank)
        })
    }

    /// Something below `path` may have been written.
    fn wrote(&mut self, key: &Name, path: &str) {
        let Some(lock) = self.locks.get_mut(key) else {
            return;
        };
        lock.version += 1;
        for hold in &mut lock.holds {
            hold.voided |= hold.mode == Mode::Stamp && overlap(&hold.path, path);
        }
    }

    /// Grants a request: one level more, or a new grant under `fence`.
    pub fn give(&mut self, key: &Name, want: &Want, fence: u64) {
        let now = self.now;
        // A stamp always has an end.
        let lease = want.lease.or((want.mode == Mode::Stamp).then_some(30_000));
        let ends = lease.map(|lease| now + lease);
        if let Some(known) = self.covering(key, want).map(|hold| hold.fence) {
            assert_eq!(known, fence, "the owner holds it already, under this fence");
            let lock = self.locks.get_mut(key).expect("it has a grant");
            let hold = lock.holds.iter_mut().find(|hold| hold.fence == known);
            let hold = hold.expect("just seen");
            hold.levels += 1;
            hold.ends = hold.ends.and_then(|end| ends.map(|new| end.max(new)));
            return;
        }
        assert!(self.hold(key, fence).is_none(), "fence {fence} names another grant");
        assert_eq!(fence % 2 == 1, want.mode == Mode::Stamp, "stamps are odd, grants even");
        self.locks.entry(key.clone()).or_default().holds.push(Hold {
            fence,
            owner: want.owner.clone(),
            mode: want.mode,
            path: want.path.clone(),
            limit: want.limit,
            levels: 1,
            ends,
            client: want.client,
            voided: false,
        });
        if want.mode == Mode::Exclusive {
            self.wrote(key, &want.path);
        }
    }

    /// Ends a grant. With the last one the key goes, and all it remembers.
    pub fn end(&mut self, key: &Name, fence: u64, committed: bool) {
        let Some(lock) = self.locks.get_mut(key) else {
            return;
        };
        let Some(at) = lock.holds.iter().position(|hold| hold.fence == fence) else {
            return;
        };
        let hold = lock.holds.remove(at);
        if lock.holds.is_empty() {
            self.locks.remove(key);
        } else if committed || hold.mode == Mode::Exclusive {
            self.wrote(key, &hold.path);
        }
    }

    pub fn level_down(&mut self, key: &Name, fence: u64) {
        let lock = self.locks.get_mut(key).expect("a lock with this grant");
        let hold = lock.holds.iter_mut().find(|hold| hold.fence == fence);
        hold.expect("a grant with this fence").levels -= 1;
    }

    pub fn convert(&mut self, key: &Name, fence: u64, mode: Mode, new_fence: u64) {
        let lock = self.locks.get_mut(key).expect("a lock with this grant");
        let at = lock.holds.iter().position(|hold| hold.fence == fence);
        let mut hold = lock.holds.remove(at.expect("a grant with this fence"));
        let writes = hold.mode == Mode::Exclusive || mode == Mode::Exclusive;
        let path = hold.path.clone();
        (hold.fence, hold.mode) = (new_fence, mode);
        lock.holds.push(hold);
        if writes {
            self.wrote(key, &path);
        }
    }

    /// A lock that has ended remembers nothing.
    pub fn remember(&mut self, key: &Name, asked: &Asked, answer: u64) {
        let now = self.now;
        self.locks.get_mut(key).into_iter().for_each(|lock| lock.requests.remember(asked, now, answer));
    }

    pub fn forget(&mut self, key: &Name, name: &str) {
        self.locks.get_mut(key).into_iter().for_each(|lock| lock.requests.forget(name));
    }

    /// The answer to the same request; an error if another one has its name.
    pub fn remembered(&self, key: &Name, asked: &Asked) -> Option<Result<u64, ()>> {
        let known = self.locks.get(key).and_then(|lock| lock.requests.find(asked, self.now));
        let waits = self.waits.iter().filter(|wait| wait.keys.contains(key));
        let is_other = waits.filter_map(|wait| wait.asked.as_ref()).any(|other| asked.excludes(other));
        known.or(is_other.then_some(Err(())))
    }
}
