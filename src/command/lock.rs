//! The commands of memory locking, and what the scheduler does with locks. The rules are in `domain::lock`.

use super::args::Args;
use super::dispatch::{commit, commit_changes, Cx, Outcome};
use super::settings::Setting;
use super::{Host, Key, Node, Reply};
use crate::domain::limits::{LOCK_LIMIT_MAX, LOCK_META_BYTES_MAX, MLOCK_KEYS_MAX, PRIORITY_MAX};
use crate::domain::lock::queue::{GrantPass, LockWaiter, Locks};
use crate::domain::lock::{deadlock, decide, Lock, LockEvent, Mode, Path, Request};
use crate::domain::requests::Answer;
use crate::domain::wait::{Class, Rank, WaiterId};
use crate::domain::{Bytes, Change, Connection, Error, Fence, KeyId, Millis, Service, Stored};
use smallvec::{smallvec, SmallVec};
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

/// What `LTMC.LOCK` and `LTMC.MLOCK` ask for beside the request itself.
struct Wish {
    request: Request,
    block_ms: Option<Millis>,
    priority: u64,
    request_id: Option<Bytes>,
}

const LOCK_WORDS: [&str; 14] = [
    "EXCLUSIVE", "SHARED", "OPTIMISTIC", "LIMIT", "PATH", "PX", "EX", "BLOCK", "PRIORITY", "REGISTRY", "ONDISCONNECT", "NOREENTRANT",
    "META", "REQID",
];

fn parse_wish<H: Host>(cx: &Cx<H>, args: &mut Args, owner: &[u8], allowed: &[&str]) -> Result<Wish, Error> {
    let mut wish = Wish { request: Request::new(owner, Mode::Exclusive), block_ms: None, priority: 0, request_id: None };
    wish.request.lease_ms = cx.node.settings.lock_lease();
    let mut mode = None;
    while let Some(option) = args.option(allowed)? {
        match allowed[option] {
            "EXCLUSIVE" => mode = Some(Mode::Exclusive),
            "SHARED" => mode = Some(Mode::Shared),
            "OPTIMISTIC" => mode = Some(Mode::Optimistic),
            "LIMIT" => wish.request.limit = args.number("LIMIT", 1, LOCK_LIMIT_MAX)? as u32,
            "PATH" => wish.request.path = Path::parse(args.bytes("PATH")?)?,
            "PX" => wish.request.lease_ms = Some(args.millis("PX", 1)?),
            "EX" => wish.request.lease_ms = Some(args.seconds("EX")?),
            "BLOCK" => wish.block_ms = Some(args.millis("BLOCK", 0)?),
            "PRIORITY" => wish.priority = args.number("PRIORITY", 0, PRIORITY_MAX)?,
            "REGISTRY" => {
                args.bytes("REGISTRY")?;
                return Err(Error::usage("REGISTRY is not available in this version: it comes with the agent registry's reactions"));
            }
            "ONDISCONNECT" => {
                let release = args.word("ONDISCONNECT", &["RELEASE", "KEEP"])? == 0;
                wish.request.connection = release.then(|| connection(cx)).transpose()?;
            }
            "NOREENTRANT" => wish.request.reentrant = false,
            "META" => wish.request.meta = Some(Bytes::from(args.text("META", LOCK_META_BYTES_MAX)?)),
            _ => wish.request_id = Some(Bytes::from(args.id("REQID")?)),
        }
    }
    exclude(args, allowed, &["EXCLUSIVE", "SHARED", "OPTIMISTIC"])?;
    exclude(args, allowed, &["PX", "EX"])?;
    let usual = if cx.node.settings.locks_are_optimistic() { Mode::Optimistic } else { Mode::Exclusive };
    wish.request.mode = mode.unwrap_or(usual);
    if wish.request.limit > 0 && wish.request.mode != Mode::Shared {
        return Err(Error::usage("LIMIT goes with SHARED only: it says how many may share"));
    }
    Ok(wish)
}

fn exclude(args: &Args, allowed: &[&str], words: &[&str]) -> Result<(), Error> {
    let indexes: SmallVec<[usize; 4]> = words.iter().filter_map(|word| allowed.iter().position(|known| known == word)).collect();
    args.exclusive(allowed, &indexes)
}

fn connection<H: Host>(cx: &Cx<H>) -> Result<Connection, Error> {
    let client = cx.host.connection();
    let client = client.ok_or_else(|| Error::usage("ONDISCONNECT RELEASE needs a connection: it is not for scripts and inner calls"))?;
    Ok(Connection { boot: cx.node.boot, client })
}

/// `LTMC.LOCK`
pub fn lock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let wish = parse_wish(cx, &mut args, owner, &LOCK_WORDS)?;
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    expire(cx.node, cx.host, key)?;
    let stored = cx.host.read::<Lock>(key)?;
    if let (Some(id), Some(stored)) = (&wish.request_id, stored) {
        if let Some(answer) = stored.answer(id) {
            return Ok(Outcome::Reply(answer.into()));
        }
    }
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Usual, wish.priority, id);
    let free = |stored: Option<&Stored<Lock>>| stored.is_none_or(|stored| decide::fits(&stored.state, &wish.request));
    let covered = stored.is_some_and(|stored| decide::is_covered(&stored.state, &wish.request));
    if covered || (free(stored) && !is_behind(cx.node, key, &wish.request, rank)) {
        check_room(cx.node, cx.host, key, &wish.request)?;
        let fence = take(cx.node, cx.host, key, &wish.request, wish.request_id.as_ref())?;
        recheck_owner(cx.node, cx.host, key, &wish.request.owner);
        return Ok(Outcome::Reply(Reply::number(fence)));
    }
    let waiter = new_waiter(cx, smallvec![key.id()], wish.request, rank, None);
    wait(cx, LockWaiter { request_id: wish.request_id, priority: wish.priority, ..waiter }, wish.block_ms)
}

fn rank(node: &Node, class: Class, priority: u64, id: WaiterId) -> Rank {
    Rank::new(class, node.now(), priority, node.settings.get(Setting::LockAgeingMs), id)
}

fn is_behind(node: &Node, key: Key, request: &Request, rank: Rank) -> bool {
    request.mode != Mode::Optimistic && !node.locks.is_empty() && node.locks.blocks(&key.id(), request, rank)
}

/// Errs if the lock has as many grants as are allowed. Asked for all keys before anything is granted on one of them.
fn check_room<H: Host>(node: &Node, host: &mut H, key: Key, request: &Request) -> Result<(), Error> {
    let max = node.settings.get(Setting::LockHoldersMax);
    match host.read::<Lock>(key)? {
        Some(stored) if stored.state.grants().len() as u64 >= max && !decide::is_covered(&stored.state, request) => {
            Err(Error::limit("lock-holders-max", "one more grant on this lock", max))
        }
        Some(stored) => decide::reenter(&stored.state, request, node.now()).map(drop),
        None => Ok(()),
    }
}

/// Grants what fits and has room: a new grant, or one level more of what the owner holds.
fn take<H: Host>(node: &mut Node, host: &mut H, key: Key, request: &Request, request_id: Option<&Bytes>) -> Result<Fence, Error> {
    let empty = Lock::default();
    let stored = host.read::<Lock>(key)?;
    let lock = stored.map_or(&empty, |stored| &stored.state);
    let (event, fence) = match decide::reenter(lock, request, node.fences.now())? {
        Some(reentered) => reentered,
        None => decide::grant(lock, request, &mut node.fences),
    };
    match request_id {
        None => commit::<Lock, H>(node, host, key, [event])?,
        Some(id) => {
            let answered = Change::Answered { id: id.clone(), answer: Answer::Integer(fence as i64) };
            commit_changes::<Lock, H>(node, host, key, &[Change::Event(event), answered])?;
        }
    }
    Ok(fence)
}

/// `LTMC.MLOCK`
pub fn mlock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let owner = args.id("owner")?;
    let count = args.number("numkeys", 1, MLOCK_KEYS_MAX as u64)? as usize;
    let first = args.position();
    for _ in 0..count {
        args.bytes("key")?;
    }
    let allowed = ["EXCLUSIVE", "SHARED", "PX", "EX", "BLOCK", "PRIORITY", "REGISTRY"];
    let mut wish = parse_wish(cx, &mut args, owner, &allowed)?;
    if wish.request.mode == Mode::Optimistic {
        // The setting may make plain locks stamps; several locks at once are always held.
        wish.request.mode = Mode::Exclusive;
    }
    let keys: SmallVec<[Key; 4]> = (first..first + count).map(|index| cx.key(index)).collect();
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|earlier| earlier.name == key.name) {
            let name = crate::domain::id::printable(key.name);
            return Err(Error::usage(format!("the key '{name}' is given twice")));
        }
        cx.node.check_quarantine(*key)?;
        cx.host.read::<Lock>(*key)?;
    }
    for key in &keys {
        expire(cx.node, cx.host, *key)?;
    }
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Usual, wish.priority, id);
    let waiter = new_waiter(cx, keys.iter().map(Key::id).collect(), wish.request, rank, None);
    if keys.iter().all(|key| can_take(cx, *key, &waiter.request, rank)) {
        for key in &keys {
            check_room(cx.node, cx.host, *key, &waiter.request)?;
        }
        let mut fences = Vec::with_capacity(count);
        for key in &keys {
            fences.push(Reply::number(take(cx.node, cx.host, *key, &waiter.request, None)?));
        }
        recheck_owner(cx.node, cx.host, keys[0], &waiter.request.owner);
        return Ok(Outcome::Reply(Reply::Array(fences)));
    }
    wait(cx, LockWaiter { priority: wish.priority, is_multiple: true, ..waiter }, wish.block_ms)
}

fn can_take<H: Host>(cx: &mut Cx<H>, key: Key, request: &Request, rank: Rank) -> bool {
    let Ok(stored) = cx.host.read::<Lock>(key) else { return false };
    let Some(stored) = stored else { return !is_behind(cx.node, key, request, rank) };
    let covered = decide::is_covered(&stored.state, request);
    covered || (decide::fits(&stored.state, request) && !is_behind(cx.node, key, request, rank))
}

fn new_waiter<H: Host>(cx: &Cx<H>, keys: SmallVec<[KeyId; 1]>, request: Request, rank: Rank, converts: Option<Fence>) -> LockWaiter {
    LockWaiter {
        keys,
        request,
        rank,
        converts,
        is_multiple: false,
        request_id: None,
        priority: 0,
        since: cx.now(),
        client: cx.host.client(),
    }
}

/// Lets the client wait, unless it does not want to, may not, or waiting would close a cycle. If it would close one only because of
/// those who stand before it in the queue, it goes before them: they cannot move before it does.
fn wait<H: Host>(cx: &mut Cx<H>, waiter: LockWaiter, block_ms: Option<Millis>) -> Result<Outcome, Error> {
    let Some(block_ms) = block_ms.filter(|_| cx.host.may_block()) else {
        return Ok(Outcome::Reply(Reply::Nil));
    };
    let max = cx.node.settings.get(Setting::LockWaitersMax);
    if waiter.keys.iter().any(|key| cx.node.locks.waiting_for(key) as u64 >= max) {
        return Err(Error::limit("lock-waiters-max", "one more client waiting for this lock", max));
    }
    let (id, keys, now) = (waiter.rank.waiter(), waiter.keys.clone(), cx.now());
    cx.node.locks.insert(waiter.clone());
    let behind = deadlock::check(&cx.node.locks, id, &HostLocks::new(cx.host), now);
    if let Err(cycle) = behind {
        cx.node.locks.remove(id);
        let ahead = LockWaiter { rank: rank(cx.node, Class::Ahead, waiter.priority, id), ..waiter };
        cx.node.locks.insert(ahead);
        if deadlock::check(&cx.node.locks, id, &HostLocks::new(cx.host), now).is_err() {
            cx.node.locks.remove(id);
            cx.node.metrics.of_mut(Service::Lock).deadlocks += 1;
            return Err(cycle);
        }
    }
    cx.node.begin_wait(id, Service::Lock, keys.clone(), block_ms, cx.host);
    for key in &keys {
        // It may fit now that it stands in front, and the leases that it waits for need a timer from now on.
        serve(cx.node, cx.host, key);
    }
    Ok(Outcome::Waits)
}

/// `LTMC.UNLOCK`
pub fn unlock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let mut target = decide::Target { owner: Bytes::from(args.id("owner")?), token: None, path: None };
    let mut all = false;
    while let Some(option) = args.option(&["TOKEN", "PATH", "ALL"])? {
        match option {
            0 => target.token = Some(parse_fence(&mut args, "TOKEN")?),
            1 => target.path = Some(Path::parse(args.bytes("PATH")?)?),
            _ => all = true,
        }
    }
    args.exclusive(&["TOKEN", "PATH", "ALL"], &[0, 1])?;
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    let now = cx.now();
    let empty = Lock::default();
    let stored = cx.host.read::<Lock>(key)?;
    let events = decide::unlock(stored.map_or(&empty, |stored| &stored.state), &target, all, now)?;
    if events.is_empty() {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    }
    commit::<Lock, H>(cx.node, cx.host, key, events)?;
    serve_waiting(cx.node, cx.host, key);
    Ok(Outcome::Reply(Reply::Integer(1)))
}

fn parse_fence(args: &mut Args, name: &str) -> Result<Fence, Error> {
    args.number(name, 1, crate::domain::fence::FENCE_END - 1)
}

fn parse_token(args: &mut Args) -> Result<Fence, Error> {
    args.word("the word before the fence", &["TOKEN"])?;
    parse_fence(args, "TOKEN")
}

/// `LTMC.LOCK.RENEW`
pub fn renew<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let token = parse_token(&mut args)?;
    let lease_ms = match args.word("the word before the lease", &["PX", "EX"])? {
        0 => args.millis("PX", 1)?,
        _ => args.seconds("EX")?,
    };
    args.finish()?;
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    let empty = Lock::default();
    let now = cx.now();
    let stored = cx.host.read::<Lock>(key)?;
    let event = decide::renew(stored.map_or(&empty, |stored| &stored.state), owner, token, lease_ms, now)?;
    commit::<Lock, H>(cx.node, cx.host, key, [event])?;
    Ok(Outcome::Reply(Reply::Integer(1)))
}

/// `LTMC.LOCK.CONVERT`
pub fn convert<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let token = parse_token(&mut args)?;
    let mode = [Mode::Shared, Mode::Exclusive][args.word("mode", &["SHARED", "EXCLUSIVE"])?];
    let mut block_ms = None;
    while args.option(&["BLOCK"])?.is_some() {
        block_ms = Some(args.millis("BLOCK", 0)?);
    }
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    expire(cx.node, cx.host, key)?;
    let (empty, now) = (Lock::default(), cx.now());
    let stored = cx.host.read::<Lock>(key)?;
    let lock = stored.map_or(&empty, |stored| &stored.state);
    let grant = decide::owned(lock, owner, token, now)?;
    if grant.mode == Mode::Optimistic {
        return Err(Error::usage("a stamp cannot be converted: it excludes nobody"));
    }
    if let Some((event, fence)) = decide::convert(lock, token, mode, &mut cx.node.fences) {
        commit::<Lock, H>(cx.node, cx.host, key, [event])?;
        serve_waiting(cx.node, cx.host, key);
        return Ok(Outcome::Reply(Reply::number(fence)));
    }
    let request = decide::conversion(grant, mode);
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Ahead, 0, id);
    let waiter = new_waiter(cx, smallvec![key.id()], request, rank, Some(token));
    wait(cx, waiter, block_ms)
}

/// `LTMC.LOCK.BREAK`
pub fn break_lock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = if cx.args.len() > 2 { Some(args.id("owner")?) } else { None };
    args.finish()?;
    let key = cx.key(1);
    cx.node.check_quarantine(key)?;
    let Some(stored) = cx.host.read::<Lock>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let events = decide::breaking(&stored.state, owner);
    let count = events.len();
    if count > 0 {
        let name = crate::domain::id::printable(key.name);
        cx.host.log(&format!("client {} broke the lock '{name}': {count} holders removed", cx.host.client()));
    }
    commit::<Lock, H>(cx.node, cx.host, key, events)?;
    serve_waiting(cx.node, cx.host, key);
    Ok(Outcome::Reply(Reply::number(count as u64)))
}

/// Removes the grants whose leases are over; whoever waited is served.
fn expire<H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let now = node.now();
    let Some(stored) = host.read::<Lock>(key)? else { return Ok(()) };
    if stored.state.grants().first_end() > now {
        return Ok(());
    }
    let events = decide::expire(&stored.state, now);
    commit::<Lock, H>(node, host, key, events)?;
    serve_waiting(node, host, key);
    Ok(())
}

fn serve_waiting<H: Host>(node: &mut Node, host: &mut H, key: Key) {
    if node.is_waited_for(key) {
        serve(node, host, &key.id());
    }
}

/// Serves everyone who can be served on `key`, first to last, and sees to it that the key is looked at when its next lease ends.
fn serve<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let mut pass = GrantPass::default();
    while let Some(id) = pass.next(&node.locks, key, &HostLocks::new(host)) {
        serve_one(node, host, id);
    }
    if node.locks.waiting_for(key) > 0 {
        if let Some(end) = HostLocks::new(host).with(key, |lock| lock.grants().first_end()).checked_add(1) {
            node.schedule.look_at(key.clone(), end - 1);
        }
    }
}

fn serve_one<H: Host>(node: &mut Node, host: &mut H, id: WaiterId) {
    let Some(waiter) = node.locks.remove(id) else { return };
    let served = match waiter.converts {
        Some(fence) => serve_conversion(node, host, &waiter, fence),
        None => serve_request(node, host, &waiter),
    };
    match served {
        Ok((grants, reply)) => {
            node.serve_wait(id, grants, reply.clone(), host);
            if let Some(request_id) = &waiter.request_id {
                answer_twins(node, host, &waiter, request_id, &reply);
            }
            recheck_owner(node, host, (&waiter.keys[0]).into(), &waiter.request.owner);
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
}

type Served = (SmallVec<[(KeyId, Fence); 1]>, Reply);

fn serve_request<H: Host>(node: &mut Node, host: &mut H, waiter: &LockWaiter) -> Result<Served, Error> {
    for key in &waiter.keys {
        check_room(node, host, key.into(), &waiter.request)?;
    }
    let mut grants = SmallVec::new();
    for key in &waiter.keys {
        let fence = take(node, host, key.into(), &waiter.request, waiter.request_id.as_ref())?;
        grants.push((key.clone(), fence));
    }
    let mut fences: Vec<Reply> = grants.iter().map(|(_, fence)| Reply::number(*fence)).collect();
    let reply = if waiter.is_multiple { Reply::Array(fences) } else { fences.remove(0) };
    Ok((grants, reply))
}

fn serve_conversion<H: Host>(node: &mut Node, host: &mut H, waiter: &LockWaiter, fence: Fence) -> Result<Served, Error> {
    let (empty, now) = (Lock::default(), node.now());
    let key = &waiter.keys[0];
    let stored = host.read::<Lock>(key.into())?;
    let lock = stored.map_or(&empty, |stored| &stored.state);
    decide::owned(lock, &waiter.request.owner, fence, now)?;
    let Some((event, new_fence)) = decide::convert(lock, fence, waiter.request.mode, &mut node.fences) else {
        return Err(decide::stale(lock, fence));
    };
    commit::<Lock, H>(node, host, key.into(), [event])?;
    // A conversion that nobody was told of stays: its owner holds the lock by the old fence's grant and can look it up.
    Ok((SmallVec::new(), Reply::number(new_fence)))
}

/// A retry may wait beside the request it repeats: it gets the same answer.
fn answer_twins<H: Host>(node: &mut Node, host: &mut H, served: &LockWaiter, request_id: &Bytes, reply: &Reply) {
    for key in &served.keys {
        let same = |waiter: &LockWaiter| waiter.request_id.as_ref() == Some(request_id);
        let twins: Vec<WaiterId> = node.locks.queue(key).filter(|(_, waiter)| same(waiter)).map(|(rank, _)| rank.waiter()).collect();
        for twin in twins {
            node.serve_wait(twin, SmallVec::new(), reply.clone(), host);
        }
    }
}

/// An owner that waits elsewhere, in another connection, has got something: only now may that wait be part of a cycle.
fn recheck_owner<H: Host>(node: &mut Node, host: &mut H, key: Key, owner: &Bytes) {
    let waits: SmallVec<[WaiterId; 4]> = node.locks.of_owner(key.db, owner).iter().copied().collect();
    for id in waits {
        let now = node.now();
        let checked = deadlock::check(&node.locks, id, &HostLocks::new(host), now);
        if let Err(cycle) = checked {
            node.metrics.of_mut(Service::Lock).deadlocks += 1;
            node.refuse_wait(id, cycle, host);
        }
    }
}

/// The scheduler looks at a key: leases that are over end, and whoever can be served is.
pub fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    if let Err(error) = expire(node, host, key.into()) {
        return refuse_all(node, host, key, error);
    }
    if node.locks.waiting_for(key) > 0 {
        serve(node, host, key);
    }
}

/// Nobody can be served on this key any more.
pub fn refuse_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, error: Error) {
    let waiters: Vec<WaiterId> = node.locks.queue(key).map(|(rank, _)| rank.waiter()).collect();
    waiters.into_iter().for_each(|id| node.refuse_wait(id, error.clone(), host));
}

/// The client that waited for these grants was gone before it could be told.
pub fn take_back<H: Host>(node: &mut Node, host: &mut H, grants: Vec<(KeyId, Fence)>) {
    for (key, fence) in grants {
        let event = match host.read::<Lock>((&key).into()) {
            Ok(Some(stored)) => decide::take_back(&stored.state, fence),
            _ => None,
        };
        if let Some(event) = event {
            node.metrics.of_mut(Service::Lock).taken_back += 1;
            end_and_serve(node, host, &key, vec![event]);
        }
    }
}

/// A connection has ended: what was taken with `ONDISCONNECT RELEASE` over it is released.
pub fn disconnected<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, connection: Connection) {
    if let Ok(Some(stored)) = host.read::<Lock>(key.into()) {
        let events = decide::disconnect(&stored.state, connection);
        end_and_serve(node, host, key, events);
    }
}

fn end_and_serve<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, events: Vec<LockEvent>) {
    // The key was just read as a lock, so it cannot be of a wrong type.
    if commit::<Lock, H>(node, host, key.into(), events).is_ok() {
        serve_waiting(node, host, key.into());
    }
}
