//! Decisions about locks. Nothing here changes a lock: the functions return events.

use super::event::{Cause, LockEvent};
use super::grant::{Extra, Grant, Mode, NO_END};
use super::path::Path;
use super::{holders_text, Lock};
use crate::domain::limits::LOCK_LEVELS_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Clock, Code, Connection, Error, Fence, Millis};
use smallvec::{smallvec, SmallVec};

/// A request for a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The owner.
    pub owner: Bytes,
    /// The mode.
    pub mode: Mode,
    /// The subtree.
    pub path: Path,
    /// How many may share it; 0 for any number.
    pub limit: u32,
    /// The lease from the grant on, ms; `None` until it is released.
    pub lease_ms: Option<Millis>,
    /// Whether the owner's other grants are no obstacle.
    pub reentrant: bool,
    /// Redis' id of the client; 0 if there is none.
    pub client: u64,
    /// The connection whose end releases it.
    pub connection: Option<Connection>,
    /// A text for others to read.
    pub meta: Option<Bytes>,
}

impl Request {
    /// A plain exclusive request; the tests and the conversions start from it.
    pub fn new(owner: &[u8], mode: Mode) -> Self {
        Self {
            owner: Bytes::from(owner),
            mode,
            path: Path::default(),
            limit: 0,
            lease_ms: None,
            reentrant: true,
            client: 0,
            connection: None,
            meta: None,
        }
    }

    fn ends_at(&self, now: Millis) -> Millis {
        self.lease_ms.map_or(NO_END, |lease| now.saturating_add(lease))
    }

    /// Whether this request has to wait behind an earlier one, since both cannot be served now. Two
    /// shared requests can be, unless a limit keeps the first one waiting.
    pub fn waits_behind(&self, earlier: &Request) -> bool {
        if self.reentrant && earlier.owner == self.owner {
            return false;
        }
        let exclusive = self.mode == Mode::Exclusive || earlier.mode == Mode::Exclusive;
        (exclusive && self.path.overlaps(&earlier.path)) || (earlier.limit > 0 && self.path == earlier.path)
    }

    /// Whether this request cannot be served while `grant` lasts. A full limit does not depend on a
    /// single grant and is left out.
    pub fn is_kept_out_by(&self, grant: &Grant) -> bool {
        let foreign = !self.reentrant || grant.owner != self.owner;
        let exclusive = self.mode == Mode::Exclusive || grant.mode == Mode::Exclusive;
        foreign && exclusive && grant.mode != Mode::Optimistic && grant.path().overlaps(&self.path)
    }
}

/// The events that end expired grants.
pub fn expire(lock: &Lock, now: Millis) -> Vec<LockEvent> {
    let expired = lock.grants().expired(now).into_iter();
    expired.map(|fence| LockEvent::Ended { fence, cause: Cause::Expired }).collect()
}

/// The grant that `request` takes again, if its owner holds what it asks for (or more)
/// on the same path.
fn reentered<'a>(lock: &'a Lock, request: &Request) -> Option<&'a Grant> {
    let covers =
        |grant: &&&Grant| grant.mode == request.mode || (grant.mode == Mode::Exclusive && request.mode == Mode::Shared);
    lock.grants().of_owner_on(&request.owner, &request.path).iter().rev().find(covers).copied()
}

/// Whether the owner already holds what `request` asks for, so that it only adds a level.
pub fn is_covered(lock: &Lock, request: &Request) -> bool {
    request.reentrant && request.mode != Mode::Optimistic && reentered(lock, request).is_some()
}

/// Whether `request` is compatible with the present grants. The queue is not checked.
pub fn fits(lock: &Lock, request: &Request) -> bool {
    if lock.grants().is_empty() || request.mode == Mode::Optimistic {
        return true;
    }
    let Request { path, mode, limit, .. } = request;
    if lock.occupancy.admits(path, *mode, *limit, &[]) {
        return true;
    }
    // Only the owner's grants on the path can be in the way.
    let mut own = if request.reentrant { lock.grants().of_owner(&request.owner) } else { Default::default() };
    own.retain(|grant| grant.path().overlaps(path));
    !own.is_empty() && lock.occupancy.admits(path, *mode, *limit, &own)
}

/// Adds a level to what the owner holds. `None` if no grant covers the request.
pub fn reenter(lock: &Lock, request: &Request, now: Millis) -> Result<Option<(LockEvent, Fence)>, Error> {
    if !request.reentrant || request.mode == Mode::Optimistic || lock.grants().is_empty() {
        return Ok(None);
    }
    let Some(grant) = reentered(lock, request) else {
        return Ok(None);
    };
    if grant.levels >= LOCK_LEVELS_MAX {
        return Err(Error::usage(format!(
            "the owner has taken the lock {LOCK_LEVELS_MAX} times, which is the most allowed"
        )));
    }
    // The outer level keeps its lease. A nested one may only extend it.
    let ends_at = grant.ends_at.max(request.ends_at(now));
    Ok(Some((LockEvent::Reentered { fence: grant.fence, ends_at }, grant.fence)))
}

/// Grants a request that is covered or fits: a further level, or a new grant.
pub fn take(lock: &Lock, request: &Request, clock: &mut Clock) -> Result<(LockEvent, Fence), Error> {
    match reenter(lock, request, clock.now())? {
        Some(reentered) => Ok(reentered),
        None => Ok(grant(lock, request, clock)),
    }
}

/// The grant of `request`, which [`fits`].
fn grant(lock: &Lock, request: &Request, clock: &mut Clock) -> (LockEvent, Fence) {
    let stamp = request.mode == Mode::Optimistic;
    let fence = if stamp { clock.stamp() } else { clock.next_fence() };
    let plain = request.path.is_root() && request.limit == 0 && request.connection.is_none() && request.meta.is_none();
    let extra = (stamp || !plain).then(|| {
        Box::new(Extra {
            path: request.path.clone(),
            limit: request.limit,
            connection: request.connection,
            meta: request.meta.clone(),
            version: if stamp { lock.version() } else { 0 },
            voided: false,
        })
    });
    let grant = Grant {
        fence,
        ends_at: request.ends_at(clock.now()),
        since: clock.now(),
        owner: request.owner.clone(),
        levels: 1,
        mode: request.mode,
        client: request.client,
        extra,
    };
    (LockEvent::Granted(grant), fence)
}

/// The grants of an owner that a command is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The owner.
    pub owner: Bytes,
    /// Only the grant with this fence.
    pub token: Option<Fence>,
    /// Only the grants on this path.
    pub path: Option<Path>,
}

/// The grant with the fence `token`, if it is in force and `owner`'s.
pub fn owned<'a>(lock: &'a Lock, owner: &[u8], token: Fence, now: Millis) -> Result<&'a Grant, Error> {
    match lock.grants().get(token) {
        Some(grant) if grant.owner[..] != *owner => Err(not_owner(lock, owner)),
        Some(grant) if !grant.is_expired(now) => Ok(grant),
        _ => Err(stale(lock, token)),
    }
}

fn not_owner(lock: &Lock, owner: &[u8]) -> Error {
    let others = holders_text(lock, owner);
    Error::new(Code::NotOwner, format!("what is asked for is held by {others}, not by {}", printable(owner)))
}

/// The error for a fence that is not current.
pub fn stale(lock: &Lock, token: Fence) -> Error {
    let now =
        lock.grants().newest().map_or("the lock is not held".to_string(), |fence| format!("the newest is {fence}"));
    Error::new(Code::Stale, format!("fence {token} is not current, {now}"))
}

/// The event of `LTMC.UNLOCK`: one level less of the newest grant that `target` names. `None` if
/// nothing is held at all.
pub fn unlock(lock: &Lock, target: &Target, now: Millis) -> Result<Option<LockEvent>, Error> {
    let Some(grant) = named(lock, target, false, now)?.pop() else { return Ok(None) };
    if grant.levels > 1 {
        return Ok(Some(LockEvent::Unlocked { fence: grant.fence }));
    }
    end(lock, grant).map(Some)
}

/// The events of `LTMC.UNLOCK ... ALL`: the end of everything that `target` names. Empty if
/// nothing is held at all.
pub fn unlock_all(lock: &Lock, target: &Target, now: Millis) -> Result<Vec<LockEvent>, Error> {
    named(lock, target, true, now)?.into_iter().map(|grant| end(lock, grant)).collect()
}

/// The grants in force that `target` names, oldest first: without a path those on the root, or with
/// `everywhere` on any path.
fn named<'a>(
    lock: &'a Lock,
    target: &Target,
    everywhere: bool,
    now: Millis,
) -> Result<SmallVec<[&'a Grant; 2]>, Error> {
    if let Some(token) = target.token {
        if lock.grants().is_empty() && !Clock::is_stamp(token) {
            return Ok(SmallVec::new());
        }
        let grant = owned(lock, &target.owner, token, now)?;
        if let Some(path) = target.path.as_ref().filter(|path| *path != grant.path()) {
            let text = format!(
                "PATH is '{}', but the fence {token} is one of '{}'",
                path.bytes().show(),
                grant.path().bytes().show()
            );
            return Err(Error::usage(text));
        }
        return Ok(smallvec![grant]);
    }
    let holds = |grant: &Grant| grant.mode != Mode::Optimistic && !grant.is_expired(now);
    // Without a path it is the root, which overlaps every path.
    let path = target.path.as_ref().unwrap_or(Path::root());
    let mut named = match everywhere && target.path.is_none() {
        true => lock.grants().of_owner(&target.owner),
        false => lock.grants().of_owner_on(&target.owner, path),
    };
    named.retain(|grant| holds(grant));
    let foreign = |grant: &Grant| grant.owner != target.owner && holds(grant) && grant.path().overlaps(path);
    if named.is_empty() && lock.grants().iter().any(foreign) {
        return Err(not_owner(lock, &target.owner));
    }
    Ok(named)
}

fn end(lock: &Lock, grant: &Grant) -> Result<LockEvent, Error> {
    if grant.mode == Mode::Optimistic {
        return commit(lock, grant);
    }
    Ok(LockEvent::Ended { fence: grant.fence, cause: Cause::Released })
}

/// The commit of an optimistic stamp.
pub fn commit(lock: &Lock, stamp: &Grant) -> Result<LockEvent, Error> {
    let is_written = !lock.occupancy.is_compatible(stamp.path(), Mode::Shared, &[]);
    let why = match is_written {
        true => format!("{} holds it exclusively", writer_beside(lock, stamp)),
        false if stamp.is_voided() => "somebody wrote since the stamp".to_string(),
        false => return Ok(LockEvent::Ended { fence: stamp.fence, cause: Cause::Committed }),
    };
    let then = stamp.extra.as_ref().map_or(0, |extra| extra.version);
    let text = format!("{why}: the stamp's version is {then}, the current version is {}", lock.version());
    Err(Error::new(Code::Conflict, text))
}

/// How many grants are looked at for the one that an error names.
const LOOKED_AT: usize = 1000;

/// Who holds exclusively what `stamp` is about, for a message.
fn writer_beside(lock: &Lock, stamp: &Grant) -> String {
    let writes = |grant: &&Grant| grant.mode == Mode::Exclusive && grant.path().overlaps(stamp.path());
    let writer = lock.grants().iter().take(LOOKED_AT).find(writes);
    writer.map_or_else(|| "somebody".to_string(), |writer| writer.owner.show())
}

/// The new lease of `LTMC.LOCK.RENEW`.
pub fn renew(lock: &Lock, owner: &[u8], token: Fence, lease_ms: Millis, now: Millis) -> Result<LockEvent, Error> {
    let grant = owned(lock, owner, token, now)?;
    Ok(LockEvent::Renewed { fence: grant.fence, ends_at: now.saturating_add(lease_ms) })
}

/// The request for converting `grant` to `mode`.
pub fn conversion(grant: &Grant, mode: Mode) -> Request {
    Request {
        mode,
        path: grant.path().clone(),
        limit: if mode == Mode::Shared { grant.limit() } else { 0 },
        ..Request::new(&grant.owner, mode)
    }
}

/// Converts the grant `fence` to `mode`, if that is compatible with the grants of others.
pub fn convert(lock: &Lock, fence: Fence, mode: Mode, clock: &mut Clock) -> Option<(LockEvent, Fence)> {
    let grant = lock.grants().get(fence)?;
    let keeps = grant.mode == mode || grant.mode == Mode::Exclusive;
    if !keeps && !fits(lock, &conversion(grant, mode)) {
        return None;
    }
    let new_fence = clock.next_fence();
    Some((LockEvent::Converted { fence, new_fence, mode }, new_fence))
}

/// The events that end every grant (of `owner`, if given).
pub fn breaking(lock: &Lock, owner: Option<&[u8]>) -> Vec<LockEvent> {
    let broken = lock.grants().iter().filter(|grant| owner.is_none_or(|owner| grant.owner[..] == *owner));
    broken.map(|grant| LockEvent::Ended { fence: grant.fence, cause: Cause::Broken }).collect()
}

/// The events that release what these owners were granted up to the fence `until`, at
/// most `max` of them.
pub fn released(lock: &Lock, is_owner: impl Fn(&[u8]) -> bool, until: Fence, max: usize) -> Vec<LockEvent> {
    let held = lock.grants().iter().filter(|grant| grant.fence <= until && is_owner(&grant.owner));
    held.take(max).map(|grant| LockEvent::Ended { fence: grant.fence, cause: Cause::Released }).collect()
}

/// The events that end the grants of an agent that is gone.
pub fn agent_gone(lock: &Lock, agent: &[u8], max: usize) -> Vec<LockEvent> {
    let held = lock.grants().of_owner(agent);
    held.into_iter().take(max).map(|grant| LockEvent::Ended { fence: grant.fence, cause: Cause::AgentGone }).collect()
}

/// The events that end the grants tied to `connection`.
pub fn disconnect(lock: &Lock, connection: Connection) -> Vec<LockEvent> {
    let tied = lock.grants().iter().filter(|grant| grant.connection() == Some(connection));
    tied.map(|grant| LockEvent::Ended { fence: grant.fence, cause: Cause::Disconnected }).collect()
}

/// The event that takes back an undelivered grant: the whole grant if it was new, else
/// the added level.
pub fn take_back(lock: &Lock, fence: Fence) -> Option<LockEvent> {
    let grant = lock.grants().get(fence)?;
    if grant.levels > 1 {
        return Some(LockEvent::Unlocked { fence });
    }
    Some(LockEvent::Ended { fence, cause: Cause::TakenBack })
}
