//! The optimistic stamps of a lock, and which of them a write voids.
//!
//! Only stamps that can still be committed are kept by path. A write takes those that it voids out
//! of there, so each stamp costs the writers beside it once, and a write that meets none costs
//! O(depth).

use super::grant::{Grant, Mode};
use super::path::Path;
use crate::domain::{looked, Fence};
use std::collections::BTreeSet;

/// The stamps that can still be committed.
#[derive(Debug, Clone, Default, PartialEq)]
struct Live {
    by_path: BTreeSet<(Path, Fence)>,
}

/// The stamps among the grants. Derived from them, never saved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stamps {
    pub(super) count: u32,
    live: Option<Box<Live>>,
}

impl Stamps {
    /// The stamps among these grants.
    pub fn of<'a>(grants: impl Iterator<Item = &'a Grant>) -> Self {
        let mut stamps = Self::default();
        grants.for_each(|grant| stamps.add(grant));
        stamps
    }

    /// How many there are, voided or not.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds a grant, if it is a stamp.
    pub fn add(&mut self, grant: &Grant) {
        if grant.mode != Mode::Optimistic {
            return;
        }
        self.count += 1;
        if !grant.is_voided() {
            self.live.get_or_insert_default().by_path.insert((grant.path().clone(), grant.fence));
        }
    }

    /// Removes a grant, if it is a stamp.
    pub fn remove(&mut self, grant: &Grant) {
        if grant.mode != Mode::Optimistic {
            return;
        }
        self.count = self.count.saturating_sub(1);
        if let Some(live) = self.live.as_mut().filter(|_| !grant.is_voided()) {
            let by_path = &mut live.by_path;
            by_path.remove(&(grant.path().clone(), grant.fence));
            if by_path.is_empty() {
                self.live = None;
            }
        }
    }

    /// Whether a grant is where it belongs.
    pub fn has(&self, grant: &Grant) -> bool {
        let place = || (grant.path().clone(), grant.fence);
        let is_kept = self.live.as_ref().is_some_and(|live| live.by_path.contains(&place()));
        is_kept == (grant.mode == Mode::Optimistic && !grant.is_voided())
    }

    /// Takes out the stamps that a write under `path` voids: those on it, above it and below it.
    pub fn void(&mut self, path: &Path) -> Vec<Fence> {
        let Some(live) = self.live.as_mut() else { return Vec::new() };
        let by_path = &mut live.by_path;
        if path.is_root() {
            looked(by_path.len());
            return self.live.take().into_iter().flat_map(|all| all.by_path).map(|(_, fence)| fence).collect();
        }
        let above = [Path::default()].into_iter().chain(path.inner_ancestors().map(Path::known));
        let mut voided: Vec<(Path, Fence)> = Vec::new();
        for place in above.chain([path.clone()]) {
            voided.extend(by_path.range((place.clone(), 0)..=(place, Fence::MAX)).cloned());
        }
        let below = [path.bytes(), &b"/"[..]].concat();
        let from = (Path::known(&below), 0);
        voided.extend(by_path.range(from..).take_while(|(place, _)| place.bytes().starts_with(&below)).cloned());
        looked(voided.len());
        for place in &voided {
            by_path.remove(place);
        }
        if by_path.is_empty() {
            self.live = None;
        }
        voided.into_iter().map(|(_, fence)| fence).collect()
    }

    /// Bytes allocated outside the struct itself, without spilled paths.
    pub fn heap_bytes(&self) -> usize {
        // A B-tree node is about three quarters full.
        let entry = std::mem::size_of::<(Path, Fence)>();
        self.live.as_ref().map_or(0, |live| std::mem::size_of::<Live>() + live.by_path.len() * entry * 4 / 3)
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Stamps {
    /// Forgets where one of them is.
    pub(super) fn break_paths(&mut self) {
        self.live.as_mut().map(|live| live.by_path.pop_first());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lock::{Extra, NO_END};
    use crate::domain::Bytes;

    fn stamp(fence: Fence, path: &Path) -> Grant {
        let extra = Some(Box::new(Extra { path: path.clone(), ..Extra::default() }));
        let mode = Mode::Optimistic;
        Grant { fence, ends_at: NO_END, since: 0, owner: Bytes::from("o"), levels: 1, mode, client: 0, extra }
    }

    #[test]
    fn a_write_voids_what_it_overlaps_once_and_looks_at_nothing_else() {
        let paths = ["", "a", "a-b", "a/b", "a/b/c", "a/b-c", "a0", "ab", "b", "b/a"];
        let paths = paths.map(|path| Path::parse(path.as_bytes()).expect("a path"));
        let all: Vec<Grant> = paths.iter().zip(1..).map(|(path, n)| stamp(2 * n + 1, path)).collect();
        for written in &paths {
            let mut stamps = Stamps::of(all.iter());
            let mut voided = stamps.void(written);
            voided.sort_unstable();
            let overlapping = all.iter().filter(|stamp| stamp.path().overlaps(written));
            assert_eq!(voided, overlapping.map(|stamp| stamp.fence).collect::<Vec<_>>(), "{written:?}");
            assert_eq!(stamps.live.as_ref().map_or(0, |live| live.by_path.len()), all.len() - voided.len());
            assert!(stamps.void(written).is_empty(), "{written:?}");
        }
    }
}
