//! How clients that wait for locks are served: by the command that ends a grant, in the same step,
//! or by the scheduler.

use super::connections;
use crate::command::engine::bindings::bindings_for;
use crate::command::engine::commit::{commit_changes, commit_one, commit_step};
use crate::command::engine::current::current;
use crate::command::engine::quotas;
use crate::command::engine::requests::{answered, remember};
use crate::command::engine::service::Serve;
use crate::command::engine::waiting::serve_retries;
use crate::command::host::{check_here, Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::limits::{PATH_DEPTH_MAX, PATH_SEGMENTS_PER_GRANT};
use crate::domain::lock::deadlock::looks::Looks;
use crate::domain::lock::deadlock::search::{Found, Search};
use crate::domain::lock::deadlock::{self, Checked};
use crate::domain::lock::queue::{LockWaiter, Locks};
use crate::domain::lock::round::{Next, GRANT_LOOKS, ROUND_LOOKS};
use crate::domain::lock::{decide, Lock, LockEvent, Mode, Request};
use crate::domain::queue::rank::{Class, Rank, WaiterId};
use crate::domain::queues::Queues;
use crate::domain::{AgentBinding, Bytes, Change, Code, Error, Fence, KeyId, Millis, Service};
use crate::observe::trace::Stage;
use smallvec::SmallVec;
use std::cell::RefCell;

/// The locks of the host, as the queue and the deadlock search read them.
pub struct HostLocks<'a, H>(RefCell<&'a mut H>);

impl<'a, H: Host> HostLocks<'a, H> {
    /// Lends the locks of `host`.
    pub fn new(host: &'a mut H) -> Self {
        Self(RefCell::new(host))
    }
}

impl<H: Host> Locks for HostLocks<'_, H> {
    fn with<T>(&self, key: &KeyId, read: impl FnOnce(&Lock) -> T) -> T {
        let mut host = self.0.borrow_mut();
        match host.read::<Lock>(key.into()) {
            Ok(Some(stored)) => read(&stored.state),
            _ => read(&Lock::default()),
        }
    }
}

/// The place in the queue of a wait that begins now.
pub fn rank(node: &Node, class: Class, priority: u64, id: WaiterId) -> Rank {
    Rank::new(class, node.now(), priority, node.settings.get(Setting::LockAgeingMs), id)
}

/// Errs if the lock has as many grants as are allowed, or if their paths are too deep together.
pub fn check_room(node: &Node, lock: &Lock, request: &Request) -> Result<(), Error> {
    let max = node.settings.get(Setting::LockHoldersMax);
    // Stamps have the same bound, but on their own: readers must not be able to keep writers out.
    let stamps = u64::from(lock.stamps());
    let taken = if request.mode == Mode::Optimistic { stamps } else { lock.grants().len() as u64 - stamps };
    if taken >= max && !decide::is_covered(lock, request) {
        return Err(Error::limit("lock-holders-max", "one more grant on this lock", max));
    }
    let segments = (lock.segments() + request.path.depth()) as u64;
    let most = max.saturating_mul(PATH_SEGMENTS_PER_GRANT).max(PATH_DEPTH_MAX as u64);
    if request.mode != Mode::Optimistic && segments > most && !decide::is_covered(lock, request) {
        let what = format!("one more grant on this lock, whose paths may have {most} segments together,");
        return Err(Error::limit("lock-holders-max", &what, max));
    }
    Ok(())
}

/// The same for the lock under `key`. All keys of a request are checked before anything is granted
/// on one of them.
fn check_room_on<H: Host>(node: &Node, host: &mut H, key: Key, request: &Request) -> Result<(), Error> {
    let Some(stored) = host.read::<Lock>(key)? else { return Ok(()) };
    check_room(node, &stored.state, request)?;
    decide::reenter(&stored.state, request, node.now()).map(drop)
}

/// Errs if the owner, as an agent of a registry, may not have a grant on each of these locks.
pub fn check_quota<H: Host>(
    node: &mut Node,
    host: &mut H,
    keys: &[KeyId],
    request: &Request,
    registry: Option<&Bytes>,
) -> Result<(), Error> {
    if !quotas::is_limited::<Lock>(node) {
        return Ok(());
    }
    let mut is_new = |key: &KeyId| !HostLocks::new(host).with(key, |lock| decide::is_covered(lock, request));
    let wanted: SmallVec<[(KeyId, u64); 1]> = keys.iter().map(|key| (key.clone(), is_new(key).into())).collect();
    quotas::check_all::<Lock, H>(node, host, wanted.into_iter(), registry, &request.owner)
}

/// Grants what fits and has room.
pub fn take<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    request: &Request,
    request_id: Option<&RequestId>,
    binding: Option<AgentBinding>,
) -> Result<Fence, Error> {
    let lock = current::<Lock, H>(node, host, key)?;
    let (event, fence) = decide::take(&lock, request, &mut node.clock)?;
    connections::note(node, host, &event, request.client);
    commit_grant(node, host, key, event, fence, request_id, binding)?;
    Ok(fence)
}

/// Applies a grant, with the request id under which it is remembered and the binding of its owner.
pub fn commit_grant<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    event: LockEvent,
    fence: Fence,
    request_id: Option<&RequestId>,
    binding: Option<AgentBinding>,
) -> Result<(), Error> {
    if request_id.is_none() && binding.is_none() {
        return commit_one::<Lock, H>(node, host, key, event);
    }
    let answer = Answer::Integer(fence as i64);
    let answered = remember::<Lock, H>(node, host, key, request_id, answer)?;
    let changes = [Some(Change::Event(event)), binding.map(Change::Bound), answered];
    let mut changes: SmallVec<[Change<LockEvent>; 3]> = changes.into_iter().flatten().collect();
    commit_changes::<Lock, H>(node, host, key, &mut changes)
}

/// Before a command decides: removes the grants whose leases have expired, and serves waiting
/// clients. That is not what the command is for.
pub fn expire<H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let mut ends = expired(node, host, key)?;
    if ends.is_empty() {
        return Ok(());
    }
    node.following(Stage::Decide, |node| commit_changes::<Lock, H>(node, host, key, &mut ends))
}

/// The ends of the grants whose leases have expired.
fn expired<H: Host>(node: &Node, host: &mut H, key: Key) -> Result<Vec<Change<LockEvent>>, Error> {
    let now = node.now();
    let stored = host.read::<Lock>(key)?.filter(|stored| stored.state.grants().first_end() <= now);
    let events = stored.map_or_else(Vec::new, |stored| decide::expire(&stored.state, now));
    Ok(events.into_iter().map(Change::Event).collect())
}

impl Serve for Lock {
    /// Meanwhile tasks could not get their locks.
    fn switched_on(node: &mut Node) {
        node.key_interest.wake_all(&mut node.schedule);
    }

    /// Whether a waiting client may have the lock now.
    type Plan = bool;

    fn plan<H: Host>(node: &mut Node, _host: &mut H, key: Key, changes: &[Change<LockEvent>]) -> Result<bool, Error> {
        let is_waited_for = !node.queues.locks.is_empty() && node.queues.locks.waiting_for(&key.id()) > 0;
        Ok(is_waited_for && changes.iter().filter_map(Change::event).any(LockEvent::frees))
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, is_freed: bool) {
        if is_freed {
            node.queues.locks.look_again(&key.id());
            node.serving(|node| serve(node, host, &key.id()));
        }
    }

    /// Ends expired leases, and serves every client that can be served.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let mut ends = expired(node, host, key.into())?;
        commit_step::<Lock, H>(node, host, key.into(), &mut ends)?;
        if node.queues.locks.waiting_for(key) == 0 {
            return Ok(0);
        }
        if has_changed || !ends.is_empty() {
            node.queues.locks.look_again(key);
        }
        Ok(node.serving(|node| serve(node, host, key)))
    }

    /// Goes on with the searches for deadlocks.
    fn take_turn<H: Host>(node: &mut Node, host: &mut H) -> usize {
        search_on(node, host)
    }
}

/// How long a key that clients wait for may go unlooked at, ms. Everything that matters is noticed
/// at once by an event. This catches what Redis does not tell: a key that SET has overwritten, a
/// slot that has moved.
const RECHECK_MS: Millis = 1000;

/// Serves the clients that can be served on `key`, first to last: those that one round has room
/// for, and the others in the next rounds of the scheduler. Schedules a look at the key for the end
/// of its next lease. Returns how much work that was.
fn serve<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> usize {
    let (mut pass, mut has_served) = (node.queues.locks.take_pass(key), false);
    loop {
        let room = if has_served && node.stopwatch.is_late() { 0 } else { ROUND_LOOKS };
        match pass.next(&node.queues.locks, key, &HostLocks::new(host), room) {
            Next::Waiter(id) => {
                serve_one(node, host, id);
                has_served = true;
            }
            Next::Paused => {
                node.queues.locks.keep_pass(key.clone(), pass);
                node.schedule.look_at(key.clone(), node.now());
                // That was a round: others have their turn.
                return node.settings.get(Setting::SweepBatchMax) as usize;
            }
            Next::Through => break,
        }
    }
    if node.queues.locks.waiting_for(key) > 0 {
        watch(node, host, key);
    }
    pass.looks() / GRANT_LOOKS
}

/// Schedules a look at a key that clients wait for: when its next lease ends, or after a while.
pub fn watch<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let first_end = HostLocks::new(host).with(key, |lock| lock.grants().first_end());
    node.schedule.look_at(key.clone(), first_end.min(node.now() + RECHECK_MS));
}

fn serve_one<H: Host>(node: &mut Node, host: &mut H, id: WaiterId) {
    if let Some(waiter) = end_wait(node, host, id) {
        recheck_owner(node, host, (&waiter.keys[0]).into(), &waiter.request.owner);
    }
}

/// Takes a waiter that can be served out of its queues and answers it. Returns it if it got what it
/// asked for.
fn end_wait<H: Host>(node: &mut Node, host: &mut H, id: WaiterId) -> Option<LockWaiter> {
    let waiter = node.queues.locks.remove(id)?;
    let served = match answered_on(node, host, &waiter.keys, waiter.request_id.as_ref()) {
        // A retry that did not wait was quicker.
        Ok(Some(answers)) => Ok((SmallVec::new(), reply_of(&waiter, answers))),
        Ok(None) => match waiter.converts {
            Some(fence) => serve_conversion(node, host, &waiter, fence),
            None => check_all_here(host, &waiter).and_then(|()| serve_request(node, host, &waiter)),
        },
        Err(error) => Err(error),
    };
    let (grants, reply) = match served {
        Ok(served) => served,
        Err(error) => {
            node.refuse_wait(id, error, host);
            return None;
        }
    };
    let retries = [id].into_iter().chain(retries_of(node, &waiter)).collect();
    let grant = UndeliveredGrant { grants, request_id: waiter.request_id.clone() };
    serve_retries(node, host, retries, grant, &reply);
    // It has left other queues, too. A conversion behind it may have to be told that its grant has
    // ended.
    for key in waiter.keys.iter().filter(|_| waiter.is_multiple) {
        if node.queues.locks.waiting_for(key) > 0 {
            node.look_at_soon(key.clone());
        }
    }
    Some(waiter)
}

/// Errs if one of several locks may have moved away since the wait began. A single lock is checked
/// when it is looked at.
fn check_all_here<H: Host>(host: &mut H, waiter: &LockWaiter) -> Result<(), Error> {
    if !waiter.is_multiple {
        return Ok(());
    }
    let keys: SmallVec<[Key; 4]> = waiter.keys.iter().map(Key::from).collect();
    check_here(host, &keys)
}

/// Adds up what a client ends who takes several locks: leases that have expired, and stamps that
/// become void. Together that may be as much as on one lock; more is refused with `LIMIT`.
pub fn check_ending<H: Host>(node: &Node, host: &mut H, key: Key, mode: Mode, ending: &mut usize) -> Result<(), Error> {
    let (now, max) = (node.now(), node.settings.get(Setting::LockHoldersMax));
    let of_this = host.read::<Lock>(key)?.map_or(0, |stored| {
        let voided = if mode == Mode::Exclusive { stored.state.stamps() as usize } else { 0 };
        voided.max(stored.state.grants().expired(now).len())
    });
    if *ending > 0 && (*ending + of_this) as u64 > max {
        let what = "so many expired leases and void stamps of several locks at once (try again)";
        return Err(Error::limit(Setting::LockHoldersMax.row().name, what, max));
    }
    *ending += of_this;
    Ok(())
}

/// What was granted, and the reply.
pub type Served = (SmallVec<[(KeyId, Fence); 1]>, Reply);

/// Gives a waiter what it asks for on all its keys, or errs before anything is given.
pub fn serve_request<H: Host>(node: &mut Node, host: &mut H, waiter: &LockWaiter) -> Result<Served, Error> {
    let mut ending = 0;
    for key in &waiter.keys {
        check_ending(node, host, key.into(), waiter.request.mode, &mut ending)?;
        // An own grant that has expired must not be taken again: its fence has been refused
        // already.
        let mut ends = expired(node, host, key.into())?;
        commit_step::<Lock, H>(node, host, key.into(), &mut ends)?;
        check_room_on(node, host, key.into(), &waiter.request)?;
    }
    // The owner may have died while it waited. All keys are checked before anything is granted on
    // one of them.
    let (registry, owner) = (waiter.registry.as_ref(), &waiter.request.owner);
    let bindings = bindings_for::<Lock, H>(node, host, &waiter.keys, registry, owner)?;
    check_quota(node, host, &waiter.keys, &waiter.request, registry)?;
    let mut grants = SmallVec::new();
    for (key, binding) in waiter.keys.iter().zip(bindings) {
        let fence = take(node, host, key.into(), &waiter.request, waiter.request_id.as_ref(), binding)?;
        grants.push((key.clone(), fence));
    }
    let fences = grants.iter().map(|(_, fence)| Reply::number(*fence)).collect();
    Ok((grants, reply_of(waiter, fences)))
}

/// The reply to a waiter that got these fences on its keys.
fn reply_of(waiter: &LockWaiter, mut fences: Vec<Reply>) -> Reply {
    if waiter.is_multiple {
        Reply::Array(fences)
    } else {
        fences.remove(0)
    }
}

/// What all of these keys remember as the answers to a request. If one of them has ended since, the
/// request begins anew on all of them.
pub fn answered_on<H: Host>(
    node: &mut Node,
    host: &mut H,
    keys: &[KeyId],
    request_id: Option<&RequestId>,
) -> Result<Option<Vec<Reply>>, Error> {
    let Some(request_id) = request_id else { return Ok(None) };
    let answers = keys.iter().map(|key| answered::<Lock, H>(node, host, key.into(), Some(request_id)));
    let answers: Vec<Option<Answer>> = answers.collect::<Result<_, _>>()?;
    Ok(answers.iter().map(|answer| answer.as_ref().map(Reply::from)).collect())
}

fn serve_conversion<H: Host>(
    node: &mut Node,
    host: &mut H,
    waiter: &LockWaiter,
    fence: Fence,
) -> Result<Served, Error> {
    let now = node.now();
    let key = &waiter.keys[0];
    let lock = current::<Lock, H>(node, host, key.into())?;
    decide::owned(&lock, &waiter.request.owner, fence, now)?;
    let Some((event, new_fence)) = decide::convert(&lock, fence, waiter.request.mode, &mut node.clock) else {
        return Err(decide::stale(&lock, fence));
    };
    connections::note(node, host, &event, waiter.client);
    let answer = Answer::Integer(new_fence as i64);
    let answered = remember::<Lock, H>(node, host, key.into(), waiter.request_id.as_ref(), answer)?;
    let mut changes: SmallVec<[_; 2]> = [Change::Event(event)].into_iter().chain(answered).collect();
    commit_step::<Lock, H>(node, host, key.into(), &mut changes)?;
    // A conversion that its owner was not told of stays: the owner holds the lock by the old
    // fence's grant and can look it up.
    Ok((SmallVec::new(), Reply::number(new_fence)))
}

/// The waiters with the same `REQID`: a retry may wait beside the request it repeats, and gets the
/// same answer.
fn retries_of(node: &Node, served: &LockWaiter) -> Vec<WaiterId> {
    let Some(request_id) = &served.request_id else { return Vec::new() };
    let same = |waiter: &LockWaiter| waiter.request_id.as_ref() == Some(request_id);
    let queues = served.keys.iter().flat_map(|key| node.queues.locks.queue(key));
    queues.filter(|(_, waiter)| same(waiter)).map(|(rank, _)| rank.waiter()).collect()
}

/// An owner has got something. It may now have what it waits for over other connections, and only
/// now may those waits be part of a cycle.
pub fn recheck_owner<H: Host>(node: &mut Node, host: &mut H, key: Key, owner: &Bytes) {
    let waits: SmallVec<[WaiterId; 4]> = node.queues.locks.of_owner(key.db, owner).iter().copied().collect();
    for id in &waits {
        if node.queues.locks.waiter(*id).is_some_and(|waiter| is_covered(waiter, &HostLocks::new(host))) {
            // It was not its turn: the waiters behind it may continue.
            let served = node.serving(|node| end_wait(node, host, *id));
            let left = served.map(|waiter| waiter.keys).unwrap_or_default();
            left.into_iter().for_each(|key| node.look_at_soon(key));
        }
    }
    // A verdict is about the owner: all its waits are part of a cycle, or none. The youngest wait
    // ends until there is no cycle.
    while let Some(id) = node.queues.locks.of_owner(key.db, owner).last().copied() {
        let now = node.now();
        let Queues { locks, searches, .. } = &mut node.queues;
        match deadlock::recheck(locks, searches, id, &HostLocks::new(host), now) {
            Checked::Free => return,
            Checked::Unknown(search) => return search_in_turns(node, search),
            Checked::Refused(error) => refuse(node, host, id, error),
        }
    }
}

/// Ends a wait that can never be served.
fn refuse<H: Host>(node: &mut Node, host: &mut H, id: WaiterId, error: Error) {
    if error.code == Code::Deadlock {
        node.metrics.of_mut(Service::Lock).deadlocks += 1;
    }
    node.refuse_wait(id, error, host);
}

/// How many looks a search has in one of its turns: about a millisecond.
const TURN_LOOKS: usize = 2_048;

/// The search whether a wait closes a cycle goes on in turns.
pub fn search_in_turns(node: &mut Node, search: Box<Search>) {
    node.queues.searches.add(search);
    node.turns.ask(Service::Lock);
}

/// A turn of the searches for deadlocks. Returns how much work that was.
fn search_on<H: Host>(node: &mut Node, host: &mut H) -> usize {
    let (now, mut looks) = (node.now(), Looks::of(TURN_LOOKS));
    let Queues { locks, searches, .. } = &mut node.queues;
    let judged = searches.go_on(locks, &HostLocks::new(host), now, &mut looks);
    if !searches.is_empty() {
        node.turns.ask(Service::Lock);
    }
    if let Some((search, Found::Refused(error))) = judged {
        refuse_or_go_first(node, host, &search, error);
    }
    TURN_LOOKS / GRANT_LOOKS
}

/// A wait closes a cycle. It is refused, unless it has just begun and can go before the waiters
/// before it, which cannot move before it does.
fn refuse_or_go_first<H: Host>(node: &mut Node, host: &mut H, search: &Search, error: Error) {
    let id = search.waiter();
    let locks = &mut node.queues.locks;
    let Some(waiter) = locks.waiter(id) else { return };
    let is_first = waiter.keys.iter().all(|key| locks.is_first(key, waiter.rank));
    if error.code != Code::Deadlock || is_first || !search.may_go_first() {
        let (db, owner) = (waiter.keys[0].db, waiter.request.owner.clone());
        refuse(node, host, id, error);
        // What is true of this wait may be true of its owner's others.
        if let Some(other) = node.queues.locks.of_owner(db, &owner).last() {
            search_in_turns(node, Box::new(Search::of(*other, false)));
        }
        return;
    }
    if let Some(waiter) = locks.remove(id) {
        let (rank, keys) = (rank(node, Class::Ahead, waiter.priority, id), waiter.keys.clone());
        node.queues.locks.insert(LockWaiter { rank, ..waiter });
        keys.into_iter().for_each(|key| node.look_at_soon(key));
        search_in_turns(node, Box::new(Search::of(id, false)));
    }
}

fn is_covered(waiter: &LockWaiter, locks: &impl Locks) -> bool {
    let covered = |key: &KeyId| locks.with(key, |lock| decide::is_covered(lock, &waiter.request));
    waiter.converts.is_none() && waiter.keys.iter().all(covered)
}
