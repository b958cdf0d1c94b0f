//! How clients that wait for locks are served: by the command that ends a grant, in the same step,
//! or by the scheduler.

use super::connections;
use crate::command::engine::bindings::bindings_for;
use crate::command::engine::commit::{commit_changes, commit_one, commit_step};
use crate::command::engine::current::current;
use crate::command::engine::cx::Cx;
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
use crate::domain::lock::queue::{GrantPass, LockWaiter, Locks};
use crate::domain::lock::{deadlock, decide, Lock, LockEvent, Mode, Request};
use crate::domain::queue::rank::{Class, Rank, WaiterId};
use crate::domain::{AgentBinding, Bytes, Change, Error, Fence, KeyId, Millis, Service};
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

/// Where a client was placed that could not be served in turn.
pub enum Placed {
    /// Nowhere: it does not want to wait, or may not.
    Nowhere,
    /// In the queue.
    Waits,
    /// Before the only waiters that kept it from the lock, so it need not wait.
    GoesAhead(Box<LockWaiter>),
}

/// Finds a place for a client that cannot be served in turn. `fits` says that it could be served if
/// there were no queue.
///
/// It is refused if waiting would close a cycle. If only the waiters before it in the queue close
/// that cycle, it goes before them, since they cannot move before it does.
pub fn wait<H: Host>(
    cx: &mut Cx<H>,
    waiter: LockWaiter,
    fits: bool,
    block_ms: Option<Millis>,
) -> Result<Placed, Error> {
    let block_ms = block_ms.filter(|_| cx.host.may_block());
    if block_ms.is_none() && !fits {
        return Ok(Placed::Nowhere);
    }
    let max = cx.node.settings.get(Setting::LockWaitersMax);
    if block_ms.is_some() && waiter.keys.iter().any(|key| cx.node.queues.locks.waiting_for(key) as u64 >= max) {
        return Err(Error::limit("lock-waiters-max", "one more client waiting for this lock", max));
    }
    let (first, owner) = ((&waiter.keys[0]).into(), &waiter.request.owner);
    let named = waiter.registry.as_ref();
    let principal =
        block_ms.map(|_| quotas::principal::<Lock, H>(cx.node, cx.host, first, named, owner)).transpose()?;
    let id = waiter.rank.waiter();
    if let Err(cycle) = stand(cx, waiter.clone()) {
        let ahead = LockWaiter { rank: rank(cx.node, Class::Ahead, waiter.priority, id), ..waiter };
        match stand(cx, ahead) {
            Ok(()) if fits => {
                return Ok(cx
                    .node
                    .queues
                    .locks
                    .remove(id)
                    .map_or(Placed::Nowhere, |waiter| Placed::GoesAhead(Box::new(waiter))));
            }
            Err(_) if block_ms.is_some() => {
                cx.node.metrics.of_mut(Service::Lock).deadlocks += 1;
                return Err(cycle);
            }
            _ => {}
        }
    }
    let Some(block_ms) = block_ms else {
        cx.node.queues.locks.remove(id);
        return Ok(Placed::Nowhere);
    };
    let keys = cx.node.queues.locks.waiter(id).map(|waiter| waiter.keys.clone()).unwrap_or_default();
    cx.node.begin_wait(id, Service::Lock, keys.clone(), block_ms, principal.flatten(), cx.host);
    for key in &keys {
        watch(cx.node, cx.host, key);
    }
    Ok(Placed::Waits)
}

/// Puts a waiter into the queues, unless it could never be served there.
fn stand<H: Host>(cx: &mut Cx<H>, waiter: LockWaiter) -> Result<(), Error> {
    let (id, now) = (waiter.rank.waiter(), cx.now());
    cx.node.queues.locks.insert(waiter);
    let checked = deadlock::check(&cx.node.queues.locks, id, &HostLocks::new(cx.host), now);
    if checked.is_err() {
        cx.node.queues.locks.remove(id);
    }
    checked
}

/// The place in the queue of a wait that begins now.
pub fn rank(node: &Node, class: Class, priority: u64, id: WaiterId) -> Rank {
    Rank::new(class, node.now(), priority, node.settings.get(Setting::LockAgeingMs), id)
}

/// Errs if the lock has as many grants as are allowed.
pub fn check_room(node: &Node, lock: &Lock, request: &Request) -> Result<(), Error> {
    let max = node.settings.get(Setting::LockHoldersMax);
    // Stamps have the same bound, but on their own: readers must not be able to keep writers out.
    let stamps = u64::from(lock.stamps());
    let taken = if request.mode == Mode::Optimistic { stamps } else { lock.grants().len() as u64 - stamps };
    if taken >= max && !decide::is_covered(lock, request) {
        return Err(Error::limit("lock-holders-max", "one more grant on this lock", max));
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
            node.serving(|node| serve(node, host, &key.id()));
        }
    }

    /// Ends expired leases, and serves every client that can be served.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, _has_changed: bool) -> Result<usize, Error> {
        let mut ends = expired(node, host, key.into())?;
        commit_changes::<Lock, H>(node, host, key.into(), &mut ends)?;
        if node.queues.locks.waiting_for(key) > 0 {
            node.serving(|node| serve(node, host, key));
        }
        Ok(0)
    }
}

/// How long a key that clients wait for may go unlooked at, ms. Everything that matters is noticed
/// at once by an event. This catches what Redis does not tell: a key that SET has overwritten, a
/// slot that has moved.
const RECHECK_MS: Millis = 1000;

/// Serves every client that can be served on `key`, first to last, and schedules a look at the key
/// for the end of its next lease.
fn serve<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let mut pass = GrantPass::default();
    while let Some(id) = pass.next(&node.queues.locks, key, &HostLocks::new(host)) {
        serve_one(node, host, id);
    }
    if node.queues.locks.waiting_for(key) > 0 {
        watch(node, host, key);
    }
}

/// Schedules a look at a key that clients wait for: when its next lease ends, or after a while.
fn watch<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
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

/// What was granted, and the reply.
pub type Served = (SmallVec<[(KeyId, Fence); 1]>, Reply);

/// Gives a waiter what it asks for on all its keys, or errs before anything is given.
pub fn serve_request<H: Host>(node: &mut Node, host: &mut H, waiter: &LockWaiter) -> Result<Served, Error> {
    for key in &waiter.keys {
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
        let Err(cycle) = deadlock::check(&node.queues.locks, id, &HostLocks::new(host), now) else { return };
        node.metrics.of_mut(Service::Lock).deadlocks += 1;
        node.refuse_wait(id, cycle, host);
    }
}

fn is_covered(waiter: &LockWaiter, locks: &impl Locks) -> bool {
    let covered = |key: &KeyId| locks.with(key, |lock| decide::is_covered(lock, &waiter.request));
    waiter.converts.is_none() && waiter.keys.iter().all(covered)
}
