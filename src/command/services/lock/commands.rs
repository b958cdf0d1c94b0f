//! The commands of memory locking: what they take, what they decide, what they answer. The rules
//! are in `domain::lock`.

use super::connections;
use super::placing::{wait, Placed};
use super::serve::{
    answered_on, check_ending, check_quota, check_room, commit_grant, expire, rank, recheck_owner, serve_request,
};
use crate::command::engine::args::Args;
use crate::command::engine::bindings::{binding_for, bindings_for};
use crate::command::engine::commit::{commit, commit_changes, commit_one};
use crate::command::engine::current::{current, Current};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::requests::{answered, remember};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::domain::entity::idempotency::{Answer, RequestId};
use crate::domain::limits::{LOCK_LIMIT_MAX, LOCK_META_BYTES_MAX, MLOCK_KEYS_MAX, PRIORITY_MAX};
use crate::domain::lock::queue::LockWaiter;
use crate::domain::lock::{decide, Lock, LockEvent, Mode, Path, Request};
use crate::domain::queue::rank::{Class, Rank};
use crate::domain::value::bytes;
use crate::domain::{Bytes, Change, Connection, Error, Fence, KeyId, Millis};
use smallvec::{smallvec, SmallVec};

/// The arguments of `LTMC.LOCK` and `LTMC.MLOCK`: the request itself, and what comes beside it.
struct LockArgs {
    request: Request,
    block_ms: Option<Millis>,
    priority: u64,
    request_id: Option<RequestId>,
    registry: Option<Bytes>,
}

/// Lease of a stamp where locks have none by the setting, ms.
const STAMP_LEASE_MS: Millis = 30_000;

/// Reads the options. With `may_stamp`, the setting may make the lock optimistic: that is for
/// single locks, and several at once are always held.
fn parse_options<H: Host>(cx: &Cx<H>, args: &mut Args, owner: &[u8], may_stamp: bool) -> Result<LockArgs, Error> {
    let request = Request::new(owner, Mode::Exclusive);
    let mut options = LockArgs { request, block_ms: None, priority: 0, request_id: None, registry: None };
    options.request.lease_ms = cx.node.settings.lock_lease();
    options.request.client = cx.host.client();
    let mut mode = None;
    while let Some(word) = args.option()? {
        match word {
            "EXCLUSIVE" => mode = Some(Mode::Exclusive),
            "SHARED" => mode = Some(Mode::Shared),
            "OPTIMISTIC" => mode = Some(Mode::Optimistic),
            "PX" | "EX" => options.request.lease_ms = Some(args.duration(word)?),
            "BLOCK" => options.block_ms = Some(args.millis("BLOCK", 0)?),
            "PRIORITY" => options.priority = args.number("PRIORITY", 0, PRIORITY_MAX)?,
            "REGISTRY" => options.registry = Some(args.registry()?),
            "REQID" => options.request_id = Some(args.request_id(owner)?),
            "LIMIT" => options.request.limit = args.number("LIMIT", 1, LOCK_LIMIT_MAX)? as u32,
            "PATH" => options.request.path = Path::to_lock(args.bytes("PATH")?)?,
            "ONDISCONNECT" => {
                let release = args.choice("action")? == "RELEASE";
                options.request.connection = release.then(|| connection(cx)).transpose()?;
            }
            "NOREENTRANT" => options.request.reentrant = false,
            "META" => options.request.meta = Some(Bytes::from(args.text("META", LOCK_META_BYTES_MAX)?)),
            _ => return Err(args.unread(word)),
        }
    }
    let default_mode = match cx.node.settings.locks_are_optimistic() {
        true if may_stamp => Mode::Optimistic,
        _ => Mode::Exclusive,
    };
    options.request.mode = mode.unwrap_or(default_mode);
    if options.request.mode == Mode::Optimistic {
        // A stamp without end would keep its key for ever.
        options.request.lease_ms = options.request.lease_ms.or(Some(STAMP_LEASE_MS));
    }
    if options.request.limit > 0 && options.request.mode != Mode::Shared {
        return Err(Error::usage("LIMIT goes with SHARED only: it says how many may share"));
    }
    Ok(options)
}

fn connection<H: Host>(cx: &Cx<H>) -> Result<Connection, Error> {
    let client = cx.host.connection();
    let client = client.ok_or_else(|| {
        Error::usage("ONDISCONNECT RELEASE needs a connection: it is not for scripts and inner calls")
    })?;
    Ok(Connection { boot: cx.node.boot, client })
}

/// `LTMC.LOCK`
pub fn lock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let options = parse_options(cx, &mut args, owner, true)?;
    let key = cx.key(1);
    expire(cx.node, cx.host, key)?;
    if let Some(answer) = answered::<Lock, H>(cx.node, cx.host, key, options.request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let binding = binding_for::<Lock, H>(cx.node, cx.host, key, options.registry.as_ref(), owner)?;
    check_quota(cx.node, cx.host, &[key.id()], &options.request, options.registry.as_ref())?;
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Usual, options.priority, id);
    let behind = is_behind(cx.node, key, &options.request, rank);
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    let fits = decide::fits(&lock, &options.request);
    if decide::is_covered(&lock, &options.request) || (fits && !behind) {
        check_room(cx.node, &lock, &options.request)?;
        let (event, fence) = decide::take(&lock, &options.request, &mut cx.node.clock)?;
        connections::note(cx.node, cx.host, &event, options.request.client);
        commit_grant(cx.node, cx.host, key, event, fence, options.request_id.as_ref(), binding)?;
        recheck_owner(cx.node, cx.host, key, &options.request.owner);
        return Ok(Outcome::Reply(Reply::number(fence)));
    }
    let block_ms = options.block_ms;
    let waiter = new_waiter(cx, smallvec![key.id()], options, rank);
    wait_or_grant(cx, waiter, fits, block_ms)
}

/// Lets the client wait if it asked for that. If only the waiters before it keep it from the lock,
/// and they cannot move before it does, it is granted at once.
fn wait_or_grant<H: Host>(
    cx: &mut Cx<H>,
    waiter: LockWaiter,
    fits: bool,
    block_ms: Option<Millis>,
) -> Result<Outcome, Error> {
    match wait(cx, waiter, fits, block_ms)? {
        Placed::Nowhere => Ok(Outcome::Reply(Reply::Nil)),
        Placed::Waits => Ok(Outcome::Waits),
        Placed::GoesAhead(waiter) => {
            let (_, reply) = serve_request(cx.node, cx.host, &waiter)?;
            recheck_owner(cx.node, cx.host, (&waiter.keys[0]).into(), &waiter.request.owner);
            Ok(Outcome::Reply(reply))
        }
    }
}

fn is_behind(node: &Node, key: Key, request: &Request, rank: Rank) -> bool {
    request.mode != Mode::Optimistic
        && !node.queues.locks.is_empty()
        && node.queues.locks.blocks(&key.id(), request, rank)
}

/// Most waiters that are looked at to see whether a client that wants several locks has to stand
/// behind one of them.
pub const MLOCK_LOOKS_MAX: usize = 10_000;

/// `LTMC.MLOCK`
pub fn mlock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let owner = args.id("owner")?;
    let count = args.number("numkeys", 1, MLOCK_KEYS_MAX as u64)? as usize;
    let first = args.position();
    for _ in 0..count {
        args.bytes("key")?;
    }
    let options = parse_options(cx, &mut args, owner, false)?;
    let keys: SmallVec<[Key; 4]> = (first..first + count).map(|index| cx.key(index)).collect();
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|earlier| earlier.name == key.name) {
            let name = bytes::printable(key.name);
            return Err(Error::usage(format!("the key '{name}' is given twice")));
        }
        cx.host.read::<Lock>(*key)?;
    }
    let mut ending = 0;
    for key in &keys {
        // Each further try ends some of the leases.
        check_ending(cx.node, cx.host, *key, options.request.mode, &mut ending)?;
        expire(cx.node, cx.host, *key)?;
    }
    let ids: SmallVec<[KeyId; 1]> = keys.iter().map(Key::id).collect();
    if let Some(answers) = answered_on(cx.node, cx.host, &ids, options.request_id.as_ref())? {
        return Ok(Outcome::Reply(Reply::Array(answers)));
    }
    bindings_for::<Lock, H>(cx.node, cx.host, &ids, options.registry.as_ref(), owner)?;
    check_quota(cx.node, cx.host, &ids, &options.request, options.registry.as_ref())?;
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Usual, options.priority, id);
    let block_ms = options.block_ms;
    let waiter = new_waiter(cx, ids, options, rank);
    let waiter = LockWaiter { is_multiple: true, ..waiter };
    let (mut fits, mut free, mut looks) = (true, true, 0);
    for key in &keys {
        let queues = &cx.node.queues.locks;
        // Where the queues are very long together, it waits for its turn in any case.
        let behind = looks > MLOCK_LOOKS_MAX || queues.blocks_counted(&key.id(), &waiter.request, rank, &mut looks);
        let lock = current::<Lock, H>(cx.node, cx.host, *key)?;
        let covered = decide::is_covered(&lock, &waiter.request);
        fits = fits && (covered || decide::fits(&lock, &waiter.request));
        free = free && (covered || !behind);
    }
    if !(fits && free) {
        return wait_or_grant(cx, waiter, fits, block_ms);
    }
    let (_, reply) = serve_request(cx.node, cx.host, &waiter)?;
    recheck_owner(cx.node, cx.host, keys[0], &waiter.request.owner);
    Ok(Outcome::Reply(reply))
}

fn new_waiter<H: Host>(cx: &Cx<H>, keys: SmallVec<[KeyId; 1]>, options: LockArgs, rank: Rank) -> LockWaiter {
    LockWaiter {
        keys,
        request: options.request,
        rank,
        converts: None,
        is_multiple: false,
        request_id: options.request_id,
        registry: options.registry,
        priority: options.priority,
        since: cx.now(),
        client: cx.host.client(),
    }
}

/// `LTMC.UNLOCK`
pub fn unlock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let mut target = decide::Target { owner: Bytes::from(args.id("owner")?), token: None, path: None };
    let (mut all, mut request_id) = (false, None);
    while let Some(word) = args.option()? {
        match word {
            "TOKEN" => target.token = Some(args.fence_or_zero("TOKEN")?),
            "PATH" => target.path = Some(Path::parse(args.bytes("PATH")?)?),
            "ALL" => all = true,
            "REQID" => request_id = Some(args.request_id(&target.owner)?),
            _ => return Err(args.unread(word)),
        }
    }
    let key = cx.key(1);
    let now = cx.now();
    if let Some(answer) = answered::<Lock, H>(cx.node, cx.host, key, request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    let is_there = matches!(lock, Current::Existing(_));
    let events: SmallVec<[LockEvent; 1]> = match all {
        true => decide::unlock_all(&lock, &target, now)?.into(),
        false => decide::unlock(&lock, &target, now)?.into_iter().collect(),
    };
    let has_held = i64::from(!events.is_empty());
    // A lock that is not there is not made to remember that it was not.
    let request_id = request_id.filter(|_| is_there);
    let answered = remember::<Lock, H>(cx.node, cx.host, key, request_id.as_ref(), Answer::Integer(has_held))?;
    let mut changes: SmallVec<[Change<LockEvent>; 2]> = events.into_iter().map(Change::Event).chain(answered).collect();
    commit_changes::<Lock, H>(cx.node, cx.host, key, &mut changes)?;
    Ok(Outcome::Reply(Reply::Integer(has_held)))
}

/// `LTMC.LOCK.RENEW`
pub fn renew<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let (mut token, mut lease_ms) = (None, None);
    while let Some(word) = args.option()? {
        match word {
            "TOKEN" => token = Some(args.fence_or_zero("TOKEN")?),
            "PX" | "EX" => lease_ms = Some(args.duration(word)?),
            _ => return Err(args.unread(word)),
        }
    }
    let token = token.ok_or_else(|| args.missing("TOKEN"))?;
    let lease_ms = lease_ms.ok_or_else(|| args.missing("PX ms (or EX s)"))?;
    let key = cx.key(1);
    let now = cx.now();
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    let event = decide::renew(&lock, owner, token, lease_ms, now)?;
    commit_one::<Lock, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(1)))
}

/// The arguments of `LTMC.LOCK.CONVERT` behind the owner.
struct ConvertArgs {
    token: Fence,
    mode: Mode,
    block_ms: Option<Millis>,
    request_id: Option<RequestId>,
}

fn parse_conversion(args: &mut Args, owner: &[u8]) -> Result<ConvertArgs, Error> {
    let (mut token, mut mode, mut block_ms, mut request_id) = (None, None, None, None);
    while let Some(word) = args.option()? {
        match word {
            "TOKEN" => token = Some(args.fence_or_zero("TOKEN")?),
            "SHARED" => mode = Some(Mode::Shared),
            "EXCLUSIVE" => mode = Some(Mode::Exclusive),
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            "REQID" => request_id = Some(args.request_id(owner)?),
            _ => return Err(args.unread(word)),
        }
    }
    let token = token.ok_or_else(|| args.missing("TOKEN"))?;
    let mode = mode.ok_or_else(|| args.missing("SHARED or EXCLUSIVE"))?;
    Ok(ConvertArgs { token, mode, block_ms, request_id })
}

/// `LTMC.LOCK.CONVERT`
pub fn convert<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = args.id("owner")?;
    let ConvertArgs { token, mode, block_ms, request_id } = parse_conversion(&mut args, owner)?;
    let key = cx.key(1);
    expire(cx.node, cx.host, key)?;
    if let Some(answer) = answered::<Lock, H>(cx.node, cx.host, key, request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let now = cx.now();
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    let grant = decide::owned(&lock, owner, token, now)?;
    if grant.mode == Mode::Optimistic {
        return Err(Error::usage("a stamp cannot be converted: it excludes nobody"));
    }
    if let Some((event, fence)) = decide::convert(&lock, token, mode, &mut cx.node.clock) {
        connections::note(cx.node, cx.host, &event, cx.host.client());
        commit_grant(cx.node, cx.host, key, event, fence, request_id.as_ref(), None)?;
        recheck_owner(cx.node, cx.host, key, &Bytes::from(owner));
        return Ok(Outcome::Reply(Reply::number(fence)));
    }
    let request = decide::conversion(grant, mode);
    let id = cx.node.waits.next_id();
    let rank = rank(cx.node, Class::Ahead, 0, id);
    let options = LockArgs { request, block_ms, priority: 0, request_id, registry: None };
    let waiter = LockWaiter { converts: Some(token), ..new_waiter(cx, smallvec![key.id()], options, rank) };
    wait_or_grant(cx, waiter, false, block_ms)
}

/// `LTMC.LOCK.BREAK`
pub fn break_lock<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let owner = if cx.args.len() > 2 { Some(args.id("owner")?) } else { None };
    args.finish()?;
    let key = cx.key(1);
    expire(cx.node, cx.host, key)?;
    let Some(stored) = cx.host.read::<Lock>(key)? else {
        return Ok(Outcome::Reply(Reply::Integer(0)));
    };
    let events = decide::breaking(&stored.state, owner);
    let count = events.len();
    if count > 0 {
        let name = bytes::printable(key.name);
        let user = cx.host.user().map_or_else(|| "nobody".into(), |user| bytes::printable(&user));
        let client = cx.host.client();
        cx.host.log(&format!("user {user} (client {client}) broke the lock '{name}': {count} holders removed"));
    }
    commit::<Lock, H>(cx.node, cx.host, key, events)?;
    Ok(Outcome::Reply(Reply::number(count as u64)))
}
