//! A round of a [pass](GrantPass): it looks at a bounded number of waiters, and finds those who can
//! be served.

use super::decide::Request;
use super::grant::Mode;
use super::pass::GrantPass;
use super::queue::{LockQueues, LockWaiter, Locks};
use super::Lock;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{looked, KeyId, Looked};

/// How many looks one round has: at waiters, at those before them on their other keys, and at the
/// grants that their owners have. Other commands have their turn after a few ms.
pub const ROUND_LOOKS: usize = 10_000;
/// As many segments of a path are compared in one look.
const SEGMENTS_OF_LOOK: usize = 2;
/// A grant, with the reply to its client, takes as long as so many looks, for each key.
pub const GRANT_LOOKS: usize = 50;

/// What a pass has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This waiter can be served now.
    Waiter(WaiterId),
    /// Nobody is left who can be served.
    Through,
    /// The pass goes on in the next round.
    Paused,
}

impl GrantPass {
    /// The next waiter for `key` that can be served now, in a round of so many looks.
    pub fn next(&mut self, queues: &LockQueues, key: &KeyId, locks: &impl Locks, room: usize) -> Next {
        loop {
            let Some(waiter) = queues.behind(key, self.resume_after).next() else {
                if !self.again {
                    return Next::Through;
                }
                *self = Self { looks: self.looks, ..Self::default() };
                continue;
            };
            if self.looks >= room {
                // What serving a waiter has brought about is for another pass.
                self.again |= self.has_served;
                return Next::Paused;
            }
            let looks = 1 + waiter.request.path.depth() / SEGMENTS_OF_LOOK;
            self.looks += looks;
            looked(looks);
            self.resume_after = Some(waiter.rank);
            if self.is_free(queues, waiter) && self.can_be_served(queues, waiter, key, locks) {
                self.looks += GRANT_LOOKS * waiter.keys.len();
                self.has_served = true;
                return Next::Waiter(waiter.rank.waiter());
            }
            self.pass_over(waiter.rank.waiter(), &waiter.request);
            if waiter.request.mode == Mode::Exclusive && waiter.request.path.is_root() && queues.waits_once(waiter) {
                self.resume_after = queues.queue(key).next_back().map(|(rank, _)| rank);
            }
        }
    }

    fn is_free(&mut self, queues: &LockQueues, waiter: &LockWaiter) -> bool {
        let Request { path, mode, .. } = &waiter.request;
        if self.wanted.is_compatible(path, *mode, &[]) && !self.limited.contains(path) {
            return true;
        }
        // An owner with a single wait cannot be in its own way.
        if queues.waits_once(waiter) {
            return false;
        }
        let looks = &mut self.looks;
        let mut earlier = self.passed_over.iter().looked().inspect(|_| *looks += 1).filter_map(|id| queues.waiter(*id));
        !earlier.any(|earlier| waiter.request.waits_behind(&earlier.request))
    }

    /// Whether a waiter is compatible on all its keys and has nobody before it on those other than
    /// `key`, which the pass has checked already.
    fn can_be_served(&mut self, queues: &LockQueues, waiter: &LockWaiter, key: &KeyId, locks: &impl Locks) -> bool {
        let looks = &mut self.looks;
        waiter.keys.iter().all(|other| {
            let is_behind = other != key && queues.blocks_counted(other, &waiter.request, waiter.rank, looks);
            let mut fits = |lock: &Lock| {
                *looks += 1 + lock.grants().count_of(&waiter.request.owner);
                waiter.fits(lock)
            };
            !is_behind && locks.with(other, &mut fits)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lock::{decide, Cause, LockEvent, Path};
    use crate::domain::queue::rank::{Class, Rank};
    use crate::domain::{Bytes, Clock, Entity};
    use smallvec::smallvec;

    struct One(Lock);

    impl Locks for One {
        fn with<T>(&self, _key: &KeyId, read: impl FnOnce(&Lock) -> T) -> T {
            read(&self.0)
        }
    }

    fn key() -> KeyId {
        KeyId::new(0, b"k")
    }

    fn waiter(n: u64, mode: Mode, path: &str, limit: u32) -> LockWaiter {
        let class = if n == 0 { Class::Ahead } else { Class::Usual };
        let path = Path::parse(path.as_bytes()).expect("a path");
        LockWaiter {
            keys: smallvec![key()],
            request: Request { path, limit, ..Request::new(format!("o{n}").as_bytes(), mode) },
            rank: Rank::new(class, n, 0, 1000, WaiterId(n)),
            converts: None,
            is_multiple: false,
            request_id: None,
            registry: None,
            priority: 0,
            since: n,
            client: n,
        }
    }

    /// One round. Returns who was served, and whether the pass is through.
    fn round(queues: &mut LockQueues, lock: &mut One, clock: &mut Clock, room: usize) -> (Vec<u64>, bool) {
        let (mut pass, mut served) = (queues.take_pass(&key()), Vec::new());
        loop {
            match pass.next(queues, &key(), lock, room) {
                Next::Waiter(id) => {
                    let waiter = queues.remove(id).expect("it waits");
                    let (event, _) = decide::take(&lock.0, &waiter.request, clock).expect("it fits");
                    lock.0.apply(&event);
                    served.push(id.0);
                }
                Next::Through => return (served, true),
                Next::Paused => {
                    assert!(pass.looks() >= room, "it has used up its room");
                    queues.keep_pass(key(), pass);
                    return (served, false);
                }
            }
        }
    }

    /// Some that exclude each other and some that do not, always the same.
    fn mixed() -> LockQueues {
        let mut queues = LockQueues::default();
        for n in 1..400 {
            let mode = if n % 17 == 16 { Mode::Exclusive } else { Mode::Shared };
            let path = format!("{}/{}", n % 5, n * n % 23);
            let limit = if n % 13 == 1 && mode == Mode::Shared { 3 } else { 0 };
            queues.insert(waiter(n, mode, if n % 50 == 49 { "3" } else { &path }, limit));
        }
        queues
    }

    #[test]
    fn many_short_rounds_serve_whom_one_serves_in_the_same_order() {
        let (mut queues, mut lock, mut clock) = (mixed(), One(Lock::default()), Clock::default());
        let (whole, is_through) = round(&mut queues, &mut lock, &mut clock, usize::MAX);
        assert!(is_through && whole.len() > 30, "{whole:?}");
        for room in [1, 3, 60, 1000] {
            let (mut queues, mut lock, mut clock) = (mixed(), One(Lock::default()), Clock::default());
            let (mut served, mut is_through) = (Vec::new(), false);
            while !is_through {
                let (more, through) = round(&mut queues, &mut lock, &mut clock, room);
                assert!(more.len() <= 1 + room / GRANT_LOOKS, "{more:?}");
                served.extend(more);
                is_through = through;
            }
            assert_eq!(served, whole, "with room for {room}");
        }
    }

    #[test]
    fn who_comes_between_two_rounds_is_not_overtaken() {
        let (mut queues, mut lock, mut clock) = (LockQueues::default(), One(Lock::default()), Clock::default());
        (1..=20).for_each(|n| queues.insert(waiter(n, Mode::Shared, "", 0)));
        assert_eq!(round(&mut queues, &mut lock, &mut clock, 1), (vec![1], false));
        queues.insert(waiter(0, Mode::Exclusive, "", 0));
        let (served, _) = round(&mut queues, &mut lock, &mut clock, usize::MAX);
        assert_eq!(served, [0; 0], "the writer goes first, and a reader still holds the lock");
        let grant = lock.0.grants().single().expect("one reader").fence;
        lock.0.apply(&LockEvent::Ended { fence: grant, cause: Cause::Released });
        queues.look_again(&key());
        assert_eq!(round(&mut queues, &mut lock, &mut clock, usize::MAX).0, [0]);
        assert_eq!(lock.0.grants().single().map(|grant| grant.owner.clone()), Some(Bytes::from("o0")));
    }

    #[test]
    fn what_is_freed_between_two_rounds_is_found_by_the_next_pass() {
        let (mut queues, mut lock, mut clock) = (LockQueues::default(), One(Lock::default()), Clock::default());
        let holder = waiter(1, Mode::Exclusive, "a", 0).request;
        let (held, fence) = decide::take(&lock.0, &holder, &mut clock).expect("it is free");
        lock.0.apply(&held);
        (2..=9).for_each(|n| queues.insert(waiter(n, Mode::Shared, if n == 2 { "a" } else { "b" }, 0)));
        assert_eq!(round(&mut queues, &mut lock, &mut clock, 3), (vec![3], false));
        lock.0.apply(&LockEvent::Ended { fence, cause: Cause::Released });
        queues.look_again(&key());
        assert_eq!(round(&mut queues, &mut lock, &mut clock, usize::MAX), (vec![4, 5, 6, 7, 8, 9, 2], true));
    }
}
