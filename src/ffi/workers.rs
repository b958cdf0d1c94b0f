//! The threads that do long work beside the event loop. They share one queue and are started when
//! the first work comes: a server that becomes a daemon forks before that.
//!
//! The ACL users for whom work is waited for have their turns one after the other, so that none of
//! them keeps the threads from the others. Every other time it is the turn of what nobody waits
//! for: freeing large values. Nothing of a key is ever behind the lock of the queue, so a fork may
//! come at any time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// The name of an ACL user; empty for the server itself.
type User = Arc<[u8]>;

/// What is awaited for one user.
#[derive(Default)]
struct Lane {
    works: VecDeque<Work>,
    /// How many of its works are in the queue or being done.
    count: u64,
}

struct Queue {
    /// Of each user for whom there is work in the queue or being done.
    lanes: BTreeMap<User, Lane>,
    /// The users with work in the queue, in the order of their turns.
    turns: VecDeque<User>,
    unawaited: VecDeque<Work>,
    /// Whose turn it is if there is both.
    is_turn_of_unawaited: bool,
    /// How many threads run, and how many there are to be.
    running: u64,
    wanted: u64,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    lanes: BTreeMap::new(),
    turns: VecDeque::new(),
    unawaited: VecDeque::new(),
    is_turn_of_unawaited: false,
    running: 0,
    wanted: 0,
});
static WAKE: Condvar = Condvar::new();
/// How much is in the queue or being done that clients wait for.
static AWAITED: AtomicU64 = AtomicU64::new(0);

/// How much is in the queue or being done that clients wait for.
pub fn awaited() -> u64 {
    AWAITED.load(Relaxed)
}

/// The same of what is awaited for one user.
pub fn awaited_for(user: &[u8]) -> u64 {
    lock().lanes.get(user).map_or(0, |lane| lane.count)
}

/// How many threads there are to be.
pub fn want(threads: u64) {
    lock().wanted = threads;
    // Those that are too many end.
    WAKE.notify_all();
}

/// Has a thread do what a client of this user waits for.
pub fn submit(user: &[u8], work: impl FnOnce() + Send + 'static) {
    AWAITED.fetch_add(1, Relaxed);
    let user = User::from(user);
    let for_whom = User::clone(&user);
    let work = move || {
        work();
        AWAITED.fetch_sub(1, Relaxed);
        lock().is_done(&for_whom);
    };
    put(|queue| queue.add(user, Box::new(work)));
}

/// Has a thread free this.
pub fn free(value: impl Send + 'static) {
    put(|queue| queue.unawaited.push_back(Box::new(|| drop(value))));
}

/// Puts work into the queue. It is done at once if no thread runs and none can be started.
fn put(push: impl FnOnce(&mut Queue)) {
    let mut queue = lock();
    push(&mut queue);
    while queue.running < queue.wanted && start().is_ok() {
        queue.running += 1;
    }
    if queue.running > 0 {
        drop(queue);
        return WAKE.notify_one();
    }
    while let Some(work) = queue.take() {
        drop(queue);
        run(work);
        queue = lock();
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> std::io::Result<()> {
    thread::Builder::new().name("ltmc-worker".into()).spawn(serve).map(drop)
}

fn serve() {
    while let Some(work) = next() {
        run(work);
    }
}

/// The next work. `None` if this thread is one too many.
fn next() -> Option<Work> {
    let mut queue = lock();
    loop {
        // The last one does what is left.
        let is_surplus = queue.running > queue.wanted;
        if is_surplus && (queue.running > 1 || queue.is_empty()) {
            queue.running -= 1;
            return None;
        }
        match queue.take() {
            Some(work) => return Some(work),
            None => queue = WAKE.wait(queue).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.unawaited.is_empty()
    }

    fn add(&mut self, user: User, work: Work) {
        let lane = self.lanes.entry(User::clone(&user)).or_default();
        if lane.works.is_empty() {
            self.turns.push_back(user);
        }
        lane.works.push_back(work);
        lane.count += 1;
    }

    fn is_done(&mut self, user: &User) {
        if let Some(lane) = self.lanes.get_mut(user) {
            lane.count -= 1;
            if lane.count == 0 {
                self.lanes.remove(user);
            }
        }
    }

    /// The first work of the user whose turn it is.
    fn take_awaited(&mut self) -> Option<Work> {
        let user = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&user)?;
        let work = lane.works.pop_front();
        if !lane.works.is_empty() {
            self.turns.push_back(user);
        }
        work
    }

    fn take(&mut self) -> Option<Work> {
        self.is_turn_of_unawaited = !self.is_turn_of_unawaited;
        match self.is_turn_of_unawaited {
            true => self.unawaited.pop_front().or_else(|| self.take_awaited()),
            false => self.take_awaited().or_else(|| self.unawaited.pop_front()),
        }
    }
}

/// Works contain their panics themselves.
fn run(work: Work) {
    #[cfg(feature = "test-hooks")]
    thread::sleep(std::time::Duration::from_millis(DELAY_MS.load(Relaxed)));
    work();
}

/// How much later each work begins: `LTMC.DEBUG OFFLOAD`.
#[cfg(feature = "test-hooks")]
static DELAY_MS: AtomicU64 = AtomicU64::new(0);

/// Has each work begin so much later, ms.
#[cfg(feature = "test-hooks")]
pub fn set_delay(ms: u64) {
    DELAY_MS.store(ms, Relaxed);
}
