//! Memory locking: who may touch what.
//!
//! A [`Lock`] is the set of its [grants](grant::Grant), each named by a fence. [`decide`] decides
//! on a request, from the grants, their [occupancy] of the path tree, and the [queue] of waiters;
//! [`deadlock`] tells whether waiting would close a cycle.
//!
//! ```text
//!                 acquire                    unlock, expire, break, disconnect, take back
//!   (no grant) ------------> Granted -----------------------------------------------------> Ended
//!        |                    |   ^
//!        | busy, BLOCK        |   | Reentered, Unlocked (one level), Renewed,
//!        v                    |   | Converted (a new fence)
//!     waiting  --------------->   |
//!        (direct hand-off: the step that ends a grant also serves the queue)
//! ```
//!
//! The queue is no part of the entity: it names connections of one process, so it is neither saved
//! nor replicated. A stamp ([`Mode::Optimistic`]) is a grant that excludes nobody; every write
//! beside it voids it.

pub mod deadlock;
pub mod decide;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
pub mod grant;
pub mod occupancy;
pub mod pass;
pub mod path;
pub mod queue;
pub mod round;
mod stamps;

pub use decide::Request;
pub use event::{Cause, LockEvent};
pub use grant::{Extra, Grant, Mode, NO_END};
pub use path::Path;

use super::entity::{CHECKED_BYTES, NUMBER_MAX};
use super::limits::{ID_BYTES_MAX, LOCK_LEVELS_MAX, LOCK_LIMIT_MAX, LOCK_META_BYTES_MAX};
use super::{Bytes, Clock, Connection, Entity, Error, Fence, Invariant, Millis, Service};
use crate::domain::entity::expiry::Expiry;
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::quota::Quota;
use crate::domain::value::fence::check_fence;
use ahash::AHashMap;
use grant::Grants;
use occupancy::Occupancy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stamps::Stamps;

/// A lock: its grants, and a count of the writes under it.
#[derive(Debug, Clone, Default)]
pub struct Lock {
    grants: Grants,
    version: u64,
    // Derived from the grants:
    occupancy: Occupancy,
    stamps: Stamps,
    segments: usize,
    grant_bytes: usize,
}

impl Lock {
    /// The grants, in the order of their fences.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The number of grants in force at `now`, and the strongest of their modes. O(e) with e the
    /// grants that have expired and are not taken away yet.
    pub fn in_force(&self, now: Millis) -> (usize, Option<Mode>) {
        let (shared, exclusive) = self.occupancy.counts();
        let mut counts = [exclusive as usize, shared as usize, self.stamps.count() as usize];
        let modes = [Mode::Exclusive, Mode::Shared, Mode::Optimistic];
        for grant in self.grants.expired(now).into_iter().filter_map(|fence| self.grants.get(fence)) {
            modes
                .iter()
                .zip(&mut counts)
                .filter(|(mode, _)| **mode == grant.mode)
                .for_each(|(_, count)| *count = count.saturating_sub(1));
        }
        let strongest = modes.into_iter().zip(counts).find(|(_, count)| *count > 0);
        (counts.iter().sum(), strongest.map(|(mode, _)| mode))
    }

    /// The number of stamps among the grants.
    pub fn stamps(&self) -> u32 {
        self.stamps.count()
    }

    /// The number of segments that the paths of all grants have together, without those of stamps.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Counts exclusive grants, their ends, and commits: equal versions mean that nobody
    /// wrote in between.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether `fence` names a grant that is in force at `now`, or a stamp that can
    /// still be committed.
    pub fn is_current(&self, fence: Fence, now: Millis) -> bool {
        let in_force = self.grants.get(fence).filter(|grant| !grant.is_expired(now));
        in_force.is_some_and(|grant| grant.mode != Mode::Optimistic || decide::commit(self, grant).is_ok())
    }

    fn add(&mut self, grant: Grant) {
        if self.grants.get(grant.fence).is_some() {
            self.take(grant.fence);
        }
        self.occupancy.add(&grant);
        self.stamps.add(&grant);
        self.segments += grant.segments();
        self.grant_bytes += grant.heap_bytes();
        self.grants.insert(grant);
    }

    fn take(&mut self, fence: Fence) -> Option<Grant> {
        let grant = self.grants.remove(fence)?;
        self.occupancy.remove(&grant);
        self.stamps.remove(&grant);
        self.segments -= grant.segments();
        self.grant_bytes -= grant.heap_bytes();
        Some(grant)
    }

    /// Somebody may have written under `path`: the version grows, and overlapping stamps can no
    /// longer be committed.
    fn wrote(&mut self, path: &Path) {
        self.version += 1;
        for fence in self.stamps.void(path) {
            self.grants.void(fence);
        }
    }

    fn ended(&mut self, fence: Fence, cause: Cause) {
        let Some(grant) = self.take(fence) else { return };
        if grant.mode == Mode::Exclusive || (grant.mode == Mode::Optimistic && cause == Cause::Committed) {
            self.wrote(grant.path());
        }
    }

    fn converted(&mut self, fence: Fence, new_fence: Fence, mode: Mode) {
        let Some(grant) = self.take(fence) else { return };
        let writes = grant.mode == Mode::Exclusive || mode == Mode::Exclusive;
        let path = grant.path().clone();
        self.add(Grant { fence: new_fence, mode, ..grant });
        if writes {
            self.wrote(&path);
        }
    }
}

impl Lock {
    /// When its last lease ends; `None` if one does not.
    fn ends_at(&self) -> Option<Millis> {
        Some(self.grants.last_end()).filter(|end| *end != NO_END)
    }
}

impl Entity for Lock {
    type Event = LockEvent;

    const SERVICE: Service = Service::Lock;
    const TYPE_NAME: &'static str = "ltmc-lock";
    const TYPE_TAG: u8 = 1;
    const KEYS: &'static str = "locks";
    const MEMBERS: Option<&'static str> = Some("grants");
    const QUOTA: Option<Quota> = Some(Quota::Locks);

    fn apply(&mut self, event: &LockEvent) {
        match event {
            LockEvent::Granted(grant) => {
                self.add(grant.clone());
                if grant.mode == Mode::Exclusive {
                    self.wrote(grant.path());
                }
            }
            LockEvent::Reentered { fence, ends_at } => self.grants.update(*fence, |grant| {
                grant.levels = grant.levels.saturating_add(1);
                grant.ends_at = *ends_at;
            }),
            LockEvent::Unlocked { fence } => {
                self.grants.update(*fence, |grant| grant.levels = grant.levels.saturating_sub(1).max(1));
            }
            LockEvent::Renewed { fence, ends_at } => self.grants.update(*fence, |grant| grant.ends_at = *ends_at),
            LockEvent::Converted { fence, new_fence, mode } => self.converted(*fence, *new_fence, *mode),
            LockEvent::Ended { fence, cause } => self.ended(*fence, *cause),
        }
    }

    fn admit(event: &LockEvent) -> Result<(), Error> {
        match event {
            LockEvent::Granted(grant) => admit_grant(grant),
            LockEvent::Converted { new_fence, mode, .. }
                if *mode != Mode::Optimistic && !Clock::is_stamp(*new_fence) =>
            {
                check_fence(*new_fence)
            }
            LockEvent::Converted { .. } => Err(Error::usage("payload converts a lock into a stamp")),
            LockEvent::Reentered { ends_at, .. } | LockEvent::Renewed { ends_at, .. } => admit_end(*ends_at),
            LockEvent::Unlocked { .. } | LockEvent::Ended { .. } => Ok(()),
        }
    }

    fn expiry_after(&self, _event: &LockEvent) -> Expiry {
        Expiry::of(self.ends_at())
    }

    fn expired(&self, _at: Millis) -> Option<LockEvent> {
        self.grants.iter().next().map(|grant| LockEvent::Ended { fence: grant.fence, cause: Cause::Expired })
    }

    /// A lease ends when it ends. A TTL can only be shorter; it ends the lock.
    fn expiry_allowed(&self, expires_at: Option<Millis>) -> Option<Millis> {
        expires_at.into_iter().chain(self.ends_at()).min()
    }

    fn wakes_at(&self, waited_for: bool) -> Option<Millis> {
        Some(self.grants.first_end()).filter(|end| waited_for && *end != NO_END)
    }

    fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    fn members(&self) -> usize {
        self.grants.len()
    }

    fn last_fence(&self) -> Fence {
        self.grants.newest().unwrap_or(0)
    }

    fn last_number(&self) -> u64 {
        self.version
    }

    fn connections(&self) -> Vec<Connection> {
        self.grants.iter().filter_map(Grant::connection).collect()
    }

    fn unties(&self, event: &LockEvent) -> Option<Connection> {
        match event {
            LockEvent::Ended { fence, .. } => self.grants.get(*fence)?.connection(),
            _ => None,
        }
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.grants.count_of(agent) > 0
    }

    fn amount(&self, agent: &[u8]) -> u64 {
        self.grants.count_of(agent) as u64
    }

    fn touched(&self, event: &LockEvent) -> Vec<Bytes> {
        match event {
            LockEvent::Granted(grant) => vec![grant.owner.clone()],
            _ => Vec::new(),
        }
    }

    fn losers(&self, event: &LockEvent) -> Vec<Bytes> {
        match event {
            LockEvent::Ended { fence, .. } => {
                self.grants.get(*fence).map(|grant| grant.owner.clone()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn memory_bytes(&self) -> usize {
        let derived = self.occupancy.heap_bytes() + self.stamps.heap_bytes();
        std::mem::size_of::<Self>() + self.grants.heap_bytes() + derived + self.grant_bytes
    }

    fn free_effort(&self) -> usize {
        self.grants.len().max(1)
    }

    fn check(&self) -> Result<(), Invariant> {
        rule(self.version <= NUMBER_MAX, "the version is out of bounds")?;
        let mut own: AHashMap<&Bytes, Occupancy> = AHashMap::new();
        for grant in self.grants.iter() {
            rule(admit_grant(grant).is_ok(), "a grant is out of bounds")?;
            own.entry(&grant.owner).or_default().add(grant);
        }
        rule(self.occupancy == Occupancy::of(self.grants.iter()), "the occupancy differs from the grants")?;
        for grant in self.grants.iter().filter(|grant| grant.mode != Mode::Optimistic) {
            let own = own.get(&grant.owner);
            let alone = self.occupancy.is_compatible_beside(grant.path(), grant.mode, own);
            rule(alone, "two owners hold what excludes each other")?;
        }
        rule(self.grants.are_indexed(), "the owners or ends differ from the grants")?;
        rule(self.stamps == Stamps::of(self.grants.iter()), "the stamps differ from the grants")?;
        let segments = self.grants.iter().map(Grant::segments).sum::<usize>();
        rule(self.segments == segments, "the counted segments differ from the grants")?;
        let bytes = self.grants.iter().map(Grant::heap_bytes).sum::<usize>();
        rule(self.grant_bytes == bytes, "the counted bytes differ from the grants")
    }

    fn check_effort(&self) -> usize {
        self.free_effort() + 2 * self.segments + 4 * self.grant_bytes / CHECKED_BYTES
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        rule(self.stamps.count() as usize <= self.grants.len(), "the number of stamps differs from the grants")?;
        let part = Part::of(self.grants.from(from).map(|grant| (grant.fence, grant)), room, |_, grant| {
            rule(admit_grant(grant).is_ok(), "a grant is out of bounds")?;
            rule(self.grants.is_indexed(grant), "the owners or ends differ from the grants")?;
            rule(self.occupancy.has(grant), "the occupancy differs from the grants")?;
            rule(self.stamps.has(grant), "the stamps differ from the grants")?;
            Ok(1 + 2 * grant.segments() + 4 * grant.heap_bytes() / CHECKED_BYTES)
        });
        part.map(Some)
    }

    fn rebuild(&mut self) {
        self.grants.rebuild();
        self.occupancy = Occupancy::of(self.grants.iter());
        self.stamps = Stamps::of(self.grants.iter());
        self.segments = self.grants.iter().map(Grant::segments).sum();
        self.grant_bytes = self.grants.iter().map(Grant::heap_bytes).sum();
    }
}

fn admit_end(ends_at: Millis) -> Result<(), Error> {
    // Redis keeps expiry times as signed numbers.
    if ends_at == NO_END || ends_at <= i64::MAX as Millis / 2 {
        return Ok(());
    }
    Err(Error::usage(format!("payload holds a lease that ends at {ends_at}")))
}

fn admit_grant(grant: &Grant) -> Result<(), Error> {
    check_fence(grant.fence)?;
    admit_end(grant.ends_at)?;
    let meta_bytes = grant.extra.as_ref().and_then(|extra| extra.meta.as_ref()).map_or(0, |meta| meta.len());
    let path_known = Path::parse(grant.path().bytes()).is_ok_and(|path| path == *grant.path());
    let fits = (1..=ID_BYTES_MAX).contains(&grant.owner.len())
        && (1..=LOCK_LEVELS_MAX).contains(&grant.levels)
        && u64::from(grant.limit()) <= LOCK_LIMIT_MAX
        && meta_bytes <= LOCK_META_BYTES_MAX
        && path_known
        && (grant.mode == Mode::Optimistic) == Clock::is_stamp(grant.fence)
        && (grant.mode != Mode::Optimistic || (grant.extra.is_some() && grant.limit() == 0));
    if fits {
        Ok(())
    } else {
        Err(Error::usage("payload holds a grant that is out of bounds"))
    }
}

#[derive(Serialize, Deserialize)]
struct Saved<G> {
    version: u64,
    grants: G,
}

impl Serialize for Lock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Saved { version: self.version, grants: self.grants.iter().collect::<Vec<_>>() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Lock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::<Vec<Grant>>::deserialize(deserializer)?;
        let mut lock = Lock { version: saved.version, ..Lock::default() };
        saved.grants.into_iter().for_each(|grant| lock.add(grant));
        Ok(lock)
    }
}

/// The owners other than `owner` that hold a lock, for messages: at most three.
pub fn holders_text(lock: &Lock, owner: &[u8]) -> String {
    let holders = lock.grants.iter().filter(|grant| grant.mode != Mode::Optimistic && grant.owner[..] != *owner);
    let mut owners: Vec<&Bytes> = holders.map(|grant| &grant.owner).take(4).collect();
    owners.dedup();
    let more = if owners.len() > 3 { " and others" } else { "" };
    format!("{}{more}", crate::domain::entity::joined(owners.into_iter().take(3)))
}

impl Lock {
    /// How many shared grants have to end before `request` keeps everyone's limit.
    pub fn permits_missing(&self, request: &Request) -> u32 {
        self.occupancy.permits_missing(&request.path, request.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_a_stamp_if_its_fence_says_so_and_a_stamp_has_no_limit() {
        let grant = |fence, mode, limit| {
            let (owner, extra) = (Bytes::from("a"), Some(Box::new(Extra { limit, ..Extra::default() })));
            let grant = Grant { fence, ends_at: NO_END, since: 0, owner, levels: 1, mode, client: 0, extra };
            Lock::admit(&LockEvent::Granted(grant)).is_ok()
        };
        assert!(grant(2, Mode::Exclusive, 0) && grant(2, Mode::Shared, 3) && grant(3, Mode::Optimistic, 0));
        // A shared grant with a limit keeps it when it becomes exclusive, for when it
        // is shared again.
        assert!(grant(2, Mode::Exclusive, 3));
        assert!(!grant(3, Mode::Exclusive, 0) && !grant(3, Mode::Shared, 0) && !grant(2, Mode::Optimistic, 0));
        assert!(!grant(3, Mode::Optimistic, 3));
        let converted = |new_fence| LockEvent::Converted { fence: 2, new_fence, mode: Mode::Shared };
        assert!(Lock::admit(&converted(4)).is_ok() && Lock::admit(&converted(5)).is_err());
    }
}
