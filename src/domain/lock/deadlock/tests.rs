//! Searches that take several turns, while others come and go.

use super::looks::Looks;
use super::search::{Found, Search, Searches};
use super::*;
use crate::domain::algorithm::splitmix::next_random;
use crate::domain::lock::{decide, Cause, Lock, LockEvent, Mode, Path, Request};
use crate::domain::queue::rank::{Class, Rank};
use crate::domain::{Clock, Code, Entity, Fence};
use std::collections::BTreeMap;

const NOW: Millis = 1;
/// The kinds of steps: all, or those by which no deadlock ends.
const ALL: u64 = 8;
const ONLY_MORE: u64 = 6;

#[derive(Default)]
struct World {
    locks: BTreeMap<KeyId, Lock>,
    queues: LockQueues,
    clock: Clock,
    waiters: Vec<WaiterId>,
    last: u64,
}

impl Locks for World {
    fn with<T>(&self, key: &KeyId, read: impl FnOnce(&Lock) -> T) -> T {
        read(self.locks.get(key).unwrap_or(&Lock::default()))
    }
}

fn key(n: u64) -> KeyId {
    KeyId::new(0, format!("k{n}").as_bytes())
}

fn request(owner: u64, mode: Mode) -> Request {
    Request::new(format!("o{owner}").as_bytes(), mode)
}

impl World {
    /// Grants what fits.
    fn take(&mut self, key: KeyId, request: &Request) {
        let lock = self.locks.entry(key).or_default();
        if decide::fits(lock, request) {
            let (event, _) = decide::take(lock, request, &mut self.clock).expect("it fits");
            lock.apply(&event);
        }
    }

    fn end(&mut self, key: &KeyId, fence: Fence) {
        let lock = self.locks.get_mut(key).expect("it is there");
        lock.apply(&LockEvent::Ended { fence, cause: Cause::Released });
    }

    fn wait(&mut self, keys: impl IntoIterator<Item = KeyId>, request: Request) -> WaiterId {
        self.last += 1;
        let id = WaiterId(self.last);
        self.queues.insert(LockWaiter {
            keys: keys.into_iter().collect(),
            request,
            rank: Rank::new(Class::Usual, 1, 0, 1000, id),
            converts: None,
            is_multiple: true,
            request_id: None,
            registry: None,
            priority: 0,
            since: 1,
            client: self.last,
        });
        self.waiters.push(id);
        id
    }

    /// Somebody takes, waits, or, if that is one of the `kinds`, gives back or goes; not `spared`.
    fn step(&mut self, seed: &mut u64, kinds: u64, spared: Option<WaiterId>) {
        let mut below = |n: u64| next_random(seed) % n;
        let mut request = request(below(8), if below(2) == 0 { Mode::Shared } else { Mode::Exclusive });
        if request.mode == Mode::Shared {
            request.limit = [0, 0, 2, 3][below(4) as usize];
        }
        if below(3) == 0 {
            request.path = Path::parse([&b"a"[..], b"a/b", b"c"][below(3) as usize]).expect("a path");
        }
        match below(kinds) {
            0..3 => self.take(key(below(5)), &request),
            3..6 => {
                let first = below(5);
                let keys: Vec<KeyId> = (0..=below(2)).map(|n| key((first + n) % 5)).collect();
                self.wait(keys, request);
            }
            6 => {
                let key = key(below(5));
                let fences: Vec<Fence> =
                    self.with(&key, |lock| lock.grants().iter().map(|grant| grant.fence).collect());
                if let Some(fence) = fences.get(below(4) as usize) {
                    self.end(&key, *fence);
                }
            }
            _ => {
                let left: Vec<WaiterId> = self.waiters.iter().copied().filter(|id| Some(*id) != spared).collect();
                if let Some(gone) = left.get(below(12) as usize) {
                    self.queues.remove(*gone);
                    self.waiters.retain(|id| id != gone);
                }
            }
        }
    }

    fn turn(&self, search: &mut Search, looks: usize) -> Option<Option<Error>> {
        match search.go_on(&self.queues, self, NOW, &mut Looks::of(looks)) {
            Found::Nothing => Some(None),
            Found::Refused(error) => Some(Some(error)),
            Found::GoesOn => None,
        }
    }

    /// What is true at this moment.
    fn verdict(&self, id: WaiterId) -> Option<Error> {
        self.turn(&mut Search::of(id, true), usize::MAX).expect("one turn is enough")
    }
}

#[test]
fn a_search_in_turns_finds_what_a_search_in_one_go_finds() {
    let mut cycles = 0;
    for start in 0..200 {
        let (mut world, mut seed) = (World::default(), start);
        (0..30).for_each(|_| world.step(&mut seed, ALL, None));
        for id in world.waiters.clone() {
            let (mut search, looks) = (Search::of(id, true), 1 + next_random(&mut seed) as usize % 6);
            let found = std::iter::repeat_with(|| world.turn(&mut search, looks)).flatten().next();
            let (found, expected) = (found.expect("it ends"), world.verdict(id));
            assert_eq!(found, expected, "seed {start}, {id:?}, {looks} looks");
            cycles += usize::from(found.is_some());
        }
    }
    assert!(cycles > 200, "{cycles}");
}

#[test]
fn a_cycle_that_is_found_while_others_come_and_go_was_there_and_one_that_stays_is_found() {
    let (mut free, mut cycles) = (0, 0);
    for start in 0..500 {
        let (mut world, mut seed) = (World::default(), start);
        (0..25).for_each(|_| world.step(&mut seed, ALL, None));
        let Some(id) = world.waiters.last().copied() else { continue };
        let kinds = if start % 2 == 0 { ALL } else { ONLY_MORE };
        let is_there = world.verdict(id).is_some();
        let (mut search, mut was_there) = (Search::of(id, true), false);
        let found = loop {
            was_there |= world.verdict(id).is_some();
            if let Some(found) = world.turn(&mut search, 1 + next_random(&mut seed) as usize % 8) {
                break found.is_some();
            }
            if next_random(&mut seed) % 3 == 0 {
                world.step(&mut seed, kinds, Some(id));
            }
        };
        assert!(was_there || !found, "seed {start}");
        assert!(found || !is_there || kinds == ALL, "seed {start}");
        *(if found { &mut cycles } else { &mut free }) += 1;
    }
    assert!(free > 60 && cycles > 60, "{free} {cycles}");
}

/// A wait for so many locks, each of which so many others share, one of whom waits for the waiter.
fn crowd(keys: u64, holders: u64) -> (World, WaiterId) {
    let mut world = World::default();
    for n in 0..keys {
        (0..holders).for_each(|holder| world.take(key(n), &request(100 + holder, Mode::Shared)));
    }
    world.take(key(keys), &request(1, Mode::Exclusive));
    world.wait([key(keys)], request(100 + holders - 1, Mode::Exclusive));
    let id = world.wait((0..keys).map(key), request(1, Mode::Exclusive));
    (world, id)
}

#[test]
fn a_command_has_some_looks_and_the_rest_goes_on_in_turns() {
    let (world, id) = crowd(20, 100);
    assert!(
        matches!(check(&world.queues, &mut Searches::default(), id, &world, NOW), Checked::Refused(error) if error.code == Code::Deadlock)
    );
    let (mut world, id) = crowd(100, 150);
    let Checked::Unknown(search) = check(&world.queues, &mut Searches::default(), id, &world, NOW) else {
        panic!("it goes on")
    };
    let mut searches = Searches::default();
    // The second waits until the first is over, and one is enough.
    let other = world.wait([key(7)], request(2, Mode::Exclusive));
    searches.add(search);
    (0..3).for_each(|_| searches.add(Box::new(Search::of(other, true))));
    let mut judged = Vec::new();
    while !searches.is_empty() {
        if let Some((search, found)) = searches.go_on(&world.queues, &world, NOW, &mut Looks::of(1_000)) {
            world.queues.remove(search.waiter());
            judged.push((search.waiter(), matches!(found, Found::Refused(_))));
        }
    }
    assert_eq!(judged, [(id, true), (other, false)]);
}

#[test]
fn commands_of_one_moment_share_their_looks() {
    let (world, id) = crowd(20, 100);
    let mut searches = Searches::default();
    let mut is_known = |now| !matches!(check(&world.queues, &mut searches, id, &world, now), Checked::Unknown(_));
    assert_eq!([1, 1, 2, 3, 20].map(&mut is_known), [true, true, false, false, true]);
}

#[test]
fn a_turn_ends_soon_after_its_looks() {
    // A long queue with many grants before it: one question takes many turns.
    let mut world = World::default();
    (0..5_000).for_each(|n| world.take(key(0), &request(1_000 + n, Mode::Shared)));
    (0..5_000).for_each(|n| _ = world.wait([key(0)], request(10_000 + n, Mode::Exclusive)));
    world.take(key(1), &request(1, Mode::Exclusive));
    world.wait([key(1)], request(1_000, Mode::Exclusive));
    let id = world.wait([key(0)], request(1, Mode::Exclusive));
    let (mut search, mut turns) = (Search::of(id, true), 1);
    let found = loop {
        if let Some(found) = world.turn(&mut search, 500) {
            break found;
        }
        turns += 1;
    };
    assert!(turns > 10, "{turns}");
    assert_eq!(found.map(|error| error.code), Some(Code::Deadlock));
}

#[test]
fn a_graph_that_takes_too_much_memory_is_refused() {
    let (world, id) = crowd(101, 1_000);
    let refused = world.verdict(id).expect("refused");
    assert_eq!((refused.code, refused.text.contains("100000 edges")), (Code::Limit, true), "{refused:?}");
}

#[test]
fn an_owner_that_waits_in_many_connections_for_the_same_is_asked_once() {
    let mut world = World::default();
    world.take(key(0), &request(1, Mode::Exclusive));
    world.take(key(1), &request(2, Mode::Exclusive));
    (0..2_000).for_each(|_| _ = world.wait([key(0)], request(2, Mode::Exclusive)));
    let id = world.wait([key(1)], request(1, Mode::Exclusive));
    let mut looks = Looks::of(9_000);
    let found = Search::of(id, true).go_on(&world.queues, &world, NOW, &mut looks);
    assert!(matches!(found, Found::Refused(error) if error.code == Code::Deadlock));
    assert!(!looks.are_over());
}
