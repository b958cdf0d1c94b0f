//! The grants of a lock, or of a part of it, each named by its fence.

use super::path::Path;
use crate::domain::{Bytes, Connection, Fence, Looked, Millis};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// `ends_at` of a grant without a lease.
pub const NO_END: Millis = Millis::MAX;

/// What a grant excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Excludes exclusive grants; others may share.
    Shared,
    /// Excludes everyone else.
    Exclusive,
    /// Excludes nobody: a stamp that can be committed if nobody else has written since.
    Optimistic,
}

impl Mode {
    /// The word in commands and replies.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Shared => "shared",
            Mode::Exclusive => "exclusive",
            Mode::Optimistic => "optimistic",
        }
    }
}

/// One owner's hold on a lock or on a path of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// The fencing token.
    pub fence: Fence,
    /// When the lease ends, unix ms; [`NO_END`] without a lease.
    pub ends_at: Millis,
    /// When it was granted, unix ms.
    pub since: Millis,
    /// The owner.
    pub owner: Bytes,
    /// How often its owner has taken it without releasing it.
    pub levels: u32,
    /// What it excludes.
    pub mode: Mode,
    /// Redis' id of the client that took it, on the node where it did; 0 if that is not known.
    #[serde(skip)]
    pub client: u64,
    /// Properties that few grants have, kept apart so that a plain lock stays small.
    pub extra: Option<Box<Extra>>,
}

/// The less usual properties of a grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// The subtree it is about.
    pub path: Path,
    /// Of a shared grant: how many may share; 0 for any number.
    pub limit: u32,
    /// The connection whose end releases it.
    pub connection: Option<Connection>,
    /// A text of the owner for others to read.
    pub meta: Option<Bytes>,
    /// Of a stamp: the lock's version when it was taken.
    pub version: u64,
    /// Of a stamp: whether somebody has written since, so that it can no longer be committed.
    pub voided: bool,
}

impl Grant {
    /// The subtree it is about.
    pub fn path(&self) -> &Path {
        self.extra.as_ref().map_or(Path::root(), |extra| &extra.path)
    }

    /// How many segments of its path it is counted on: a stamp is counted nowhere.
    pub fn segments(&self) -> usize {
        if self.mode == Mode::Optimistic {
            return 0;
        }
        self.path().depth()
    }

    /// How many may share it; 0 for any number.
    pub fn limit(&self) -> u32 {
        self.extra.as_ref().map_or(0, |extra| extra.limit)
    }

    /// The connection whose end releases it.
    pub fn connection(&self) -> Option<Connection> {
        self.extra.as_ref()?.connection
    }

    /// Of a stamp: whether somebody has written since, so that it can no longer be committed.
    pub fn is_voided(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.voided)
    }

    /// Whether the lease has expired at `now`.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.ends_at <= now
    }

    /// Its place among those of its owner.
    fn place(&self) -> (Bytes, Path, Fence) {
        (self.owner.clone(), self.path().clone(), self.fence)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let extra = self.extra.as_ref().map_or(0, |extra| {
            let meta = extra.meta.as_ref().map_or(0, Bytes::heap_bytes);
            std::mem::size_of::<Extra>() + extra.path.bytes().heap_bytes() + meta
        });
        self.owner.heap_bytes() + extra
    }
}

/// Up to this many grants are kept in a plain list and searched one by one.
const FEW: usize = 8;

/// The grants of a lock, in the order of their fences.
#[derive(Debug, Clone)]
pub enum Grants {
    /// The usual lock: one grant, inline.
    InlineList(SmallVec<[Grant; 1]>),
    /// A semaphore or a tree of paths with many holders: every look-up is O(log n).
    Many(Box<ManyGrants>),
}

/// Grants with the indexes that many of them need.
#[derive(Debug, Clone, Default)]
pub struct ManyGrants {
    by_fence: BTreeMap<Fence, Grant>,
    by_owner: BTreeSet<(Bytes, Path, Fence)>,
    by_end: BTreeSet<(Millis, Fence)>,
    /// How many grants each owner has.
    counts: BTreeMap<Bytes, usize>,
}

impl Default for Grants {
    fn default() -> Self {
        Grants::InlineList(SmallVec::new())
    }
}

impl Grants {
    /// The number of grants.
    pub fn len(&self) -> usize {
        match self {
            Grants::InlineList(list) => list.len(),
            Grants::Many(many) => many.by_fence.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All grants, in the order of their fences.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        let (few, many) = match self {
            Grants::InlineList(list) => (Some(list), None),
            Grants::Many(many) => (None, Some(&many.by_fence)),
        };
        few.into_iter().flatten().chain(many.into_iter().flat_map(BTreeMap::values)).looked()
    }

    /// The grants with this fence or a larger one, in order.
    pub fn from(&self, fence: Fence) -> impl Iterator<Item = &Grant> {
        let (few, many) = match self {
            Grants::InlineList(list) => (Some(list), None),
            Grants::Many(many) => (None, Some(many.by_fence.range(fence..))),
        };
        let few = few.into_iter().flatten().filter(move |grant| grant.fence >= fence);
        few.chain(many.into_iter().flatten().map(|(_, grant)| grant))
    }

    /// The only grant, if there is just one.
    pub fn single(&self) -> Option<&Grant> {
        match self {
            Grants::InlineList(list) if list.len() == 1 => list.first(),
            _ => None,
        }
    }

    /// The grant with this fence.
    pub fn get(&self, fence: Fence) -> Option<&Grant> {
        match self {
            Grants::InlineList(list) => list.iter().find(|grant| grant.fence == fence),
            Grants::Many(many) => many.by_fence.get(&fence),
        }
    }

    /// The largest fence.
    pub fn newest(&self) -> Option<Fence> {
        match self {
            Grants::InlineList(list) => list.last().map(|grant| grant.fence),
            Grants::Many(many) => many.by_fence.last_key_value().map(|(fence, _)| *fence),
        }
    }

    /// The grants of one owner, in the order of their fences.
    pub fn of_owner(&self, owner: &[u8]) -> SmallVec<[&Grant; 2]> {
        match self {
            Grants::InlineList(list) => list.iter().filter(|grant| grant.owner[..] == *owner).collect(),
            Grants::Many(many) => {
                let from = (Bytes::from(owner), Path::default(), 0);
                let own = many.by_owner.range(from..).take_while(|(known, ..)| known[..] == *owner);
                let mut fences: Vec<Fence> = own.looked().map(|(.., fence)| *fence).collect();
                fences.sort_unstable();
                fences.iter().filter_map(|fence| many.by_fence.get(fence)).collect()
            }
        }
    }

    /// How many grants an owner has.
    pub fn count_of(&self, owner: &[u8]) -> usize {
        match self {
            Grants::InlineList(list) => list.iter().filter(|grant| grant.owner[..] == *owner).count(),
            Grants::Many(many) => many.counts.get(owner).copied().unwrap_or(0),
        }
    }

    /// The grants of one owner on exactly this path, in the order of their fences.
    pub fn of_owner_on(&self, owner: &[u8], path: &Path) -> SmallVec<[&Grant; 2]> {
        match self {
            Grants::InlineList(list) => list.iter().filter(|g| g.owner[..] == *owner && g.path() == path).collect(),
            Grants::Many(many) => {
                let place = |fence: Fence| (Bytes::from(owner), path.clone(), fence);
                let own = many.by_owner.range(place(0)..=place(Fence::MAX)).looked();
                own.filter_map(|(.., fence)| many.by_fence.get(fence)).collect()
            }
        }
    }

    /// The earliest end of a lease, [`NO_END`] if none ends.
    pub fn first_end(&self) -> Millis {
        match self {
            Grants::InlineList(list) => list.iter().map(|grant| grant.ends_at).min().unwrap_or(NO_END),
            Grants::Many(many) => many.by_end.first().map_or(NO_END, |(end, _)| *end),
        }
    }

    /// The latest end of a lease, [`NO_END`] if one never ends.
    pub fn last_end(&self) -> Millis {
        match self {
            Grants::InlineList(list) => list.iter().map(|grant| grant.ends_at).max().unwrap_or(NO_END),
            Grants::Many(many) => many.by_end.last().map_or(NO_END, |(end, _)| *end),
        }
    }

    /// The fences of the grants that have expired at `now`.
    pub fn expired(&self, now: Millis) -> Vec<Fence> {
        match self {
            Grants::InlineList(list) => list.iter().filter(|g| g.is_expired(now)).map(|g| g.fence).collect(),
            Grants::Many(many) => {
                many.by_end.iter().take_while(|(end, _)| *end <= now).looked().map(|(_, fence)| *fence).collect()
            }
        }
    }

    /// Adds a grant, which replaces one with the same fence.
    pub fn insert(&mut self, grant: Grant) {
        self.remove(grant.fence);
        match self {
            Grants::InlineList(list) if list.len() < FEW => {
                let at = list.iter().rposition(|known| known.fence < grant.fence).map_or(0, |before| before + 1);
                list.insert(at, grant);
            }
            Grants::InlineList(list) => {
                let mut many = Box::<ManyGrants>::default();
                list.drain(..).for_each(|known| many.insert(known));
                many.insert(grant);
                *self = Grants::Many(many);
            }
            Grants::Many(many) => many.insert(grant),
        }
    }

    /// Removes a grant.
    pub fn remove(&mut self, fence: Fence) -> Option<Grant> {
        match self {
            Grants::InlineList(list) => {
                let at = list.iter().position(|grant| grant.fence == fence)?;
                Some(list.remove(at))
            }
            Grants::Many(many) => {
                let removed = many.remove(fence);
                if many.by_fence.len() <= FEW / 2 {
                    let list = std::mem::take(&mut many.by_fence).into_values().collect();
                    *self = Grants::InlineList(list);
                }
                removed
            }
        }
    }

    /// Changes a grant in place; its fence and owner must stay.
    pub fn update(&mut self, fence: Fence, change: impl FnOnce(&mut Grant)) {
        match self {
            Grants::InlineList(list) => {
                if let Some(grant) = list.iter_mut().find(|grant| grant.fence == fence) {
                    change(grant);
                }
            }
            Grants::Many(many) => {
                if let Some(grant) = many.by_fence.get_mut(&fence) {
                    many.by_end.remove(&(grant.ends_at, fence));
                    change(grant);
                    many.by_end.insert((grant.ends_at, fence));
                }
            }
        }
    }

    /// Voids a stamp.
    pub fn void(&mut self, fence: Fence) {
        let stamp = match self {
            Grants::InlineList(list) => list.iter_mut().find(|grant| grant.fence == fence),
            Grants::Many(many) => many.by_fence.get_mut(&fence),
        };
        if let Some(extra) = stamp.and_then(|stamp| stamp.extra.as_mut()) {
            extra.voided = true;
        }
    }

    /// Whether the indexes agree with the grants.
    pub fn are_indexed(&self) -> bool {
        let Grants::Many(many) = self else { return true };
        let mut counts: BTreeMap<Bytes, usize> = BTreeMap::new();
        for (owner, ..) in &many.by_owner {
            *counts.entry(owner.clone()).or_default() += 1;
        }
        counts == many.counts
            && many.by_owner.len() == many.by_fence.len()
            && self.iter().all(|grant| self.is_indexed(grant))
    }

    /// Whether a grant is indexed, and there are as many ends as grants.
    pub fn is_indexed(&self, grant: &Grant) -> bool {
        let Grants::Many(many) = self else { return true };
        many.by_owner.contains(&grant.place())
            && many.by_end.contains(&(grant.ends_at, grant.fence))
            && many.by_end.len() == many.by_fence.len()
    }

    /// Rebuilds these indexes.
    pub fn rebuild(&mut self) {
        if let Grants::Many(many) = self {
            let grants = std::mem::take(&mut many.by_fence);
            **many = ManyGrants::default();
            grants.into_values().for_each(|grant| many.insert(grant));
        }
    }

    /// Bytes allocated outside the struct itself, without what the grants hold.
    pub fn heap_bytes(&self) -> usize {
        const GRANT: usize = std::mem::size_of::<Grant>();
        match self {
            Grants::InlineList(list) if list.spilled() => list.capacity() * GRANT,
            Grants::InlineList(_) => 0,
            // A B-tree node is about three quarters full; the owner index repeats the owner.
            Grants::Many(many) => {
                let entry = GRANT + 8 + std::mem::size_of::<(Bytes, Path, Fence)>() + 16;
                let counts = many.counts.len() * std::mem::size_of::<(Bytes, usize)>();
                std::mem::size_of::<ManyGrants>() + (many.by_fence.len() * entry + counts) * 4 / 3
            }
        }
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Grants {
    /// Breaks the index of owners or the one of ends.
    pub(super) fn break_index(&mut self, of_owners: bool) {
        match self {
            Grants::Many(many) if of_owners => drop(many.by_owner.pop_first()),
            Grants::Many(many) => drop(many.by_end.pop_first()),
            Grants::InlineList(_) => {}
        }
    }
}

impl ManyGrants {
    fn insert(&mut self, grant: Grant) {
        self.by_owner.insert(grant.place());
        self.by_end.insert((grant.ends_at, grant.fence));
        *self.counts.entry(grant.owner.clone()).or_default() += 1;
        self.by_fence.insert(grant.fence, grant);
    }

    fn remove(&mut self, fence: Fence) -> Option<Grant> {
        let grant = self.by_fence.remove(&fence)?;
        self.by_end.remove(&(grant.ends_at, fence));
        self.by_owner.remove(&grant.place());
        if let Some(count) = self.counts.get_mut(&grant.owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&grant.owner);
            }
        }
        Some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(fence: Fence, owner: &str, ends_at: Millis) -> Grant {
        Grant {
            fence,
            ends_at,
            since: 1,
            owner: Bytes::from(owner),
            levels: 1,
            mode: Mode::Shared,
            client: 0,
            extra: None,
        }
    }

    #[test]
    fn few_and_many_answer_alike() {
        let mut grants = Grants::default();
        for n in (1..=50).rev() {
            grants.insert(grant(n, if n % 2 == 0 { "even" } else { "odd" }, 1000 - n));
            assert!(grants.iter().map(|g| g.fence).eq(n..=50));
            assert_eq!((grants.first_end(), grants.last_end()), (950, 1000 - n));
        }
        assert_eq!((grants.of_owner(b"odd").len(), grants.count_of(b"odd")), (25, 25));
        assert_eq!(grants.expired(952), [50, 49, 48]);
        grants.update(50, |g| g.ends_at = NO_END);
        assert_eq!(grants.last_end(), NO_END);
        for n in 1..=50 {
            assert_eq!(grants.remove(n).map(|g| g.fence), Some(n));
            assert_eq!(grants.len() as u64, 50 - n);
            assert_eq!(grants.count_of(b"odd") as u64, 25 - n.div_ceil(2));
            assert!(grants.are_indexed());
            assert!(grants.iter().map(|g| g.fence).eq(n + 1..=50));
        }
    }

    #[test]
    fn a_plain_lock_stays_small() {
        assert!(std::mem::size_of::<Grant>() <= 72, "{}", std::mem::size_of::<Grant>());
    }
}
