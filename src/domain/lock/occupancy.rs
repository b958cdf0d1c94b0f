//! What is taken of a lock, node by node of its path tree, with intent modes.
//!
//! Multiple granularity locking after J. Gray et al., "Granularity of Locks and Degrees of
//! Consistency in a Shared Data Base" (1976): a grant on a node puts an intent (IS or IX) on each
//! of its ancestors. So a request checks only the nodes on its own path from the root: O(depth),
//! whatever the number of holders.

use super::grant::{Grant, Mode};
use super::path::Path;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::{looked_at_parts, Bytes};
use ahash::AHashMap;
use std::collections::BTreeMap;

/// As many segments of a path are passed in one look.
const SEGMENTS_OF_LOOK: usize = 4;

fn looked_at_path(path: &Path) {
    looked_at_parts(path.depth(), SEGMENTS_OF_LOOK);
}

/// The number of grants of each kind on one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Node {
    shared: u32,
    exclusive: u32,
    intent_shared: u32,
    intent_exclusive: u32,
    /// The smallest limit among the shared grants; 0 for none.
    limit: u32,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.shared + self.exclusive + self.intent_shared + self.intent_exclusive == 0
    }

    fn without(mut self, other: Node) -> Node {
        self.shared = self.shared.saturating_sub(other.shared);
        self.exclusive = self.exclusive.saturating_sub(other.exclusive);
        self.intent_shared = self.intent_shared.saturating_sub(other.intent_shared);
        self.intent_exclusive = self.intent_exclusive.saturating_sub(other.intent_exclusive);
        self
    }

    fn count(&mut self, mode: Mode, intent: bool) -> &mut u32 {
        match (mode, intent) {
            (Mode::Exclusive, false) => &mut self.exclusive,
            (Mode::Exclusive, true) => &mut self.intent_exclusive,
            (_, false) => &mut self.shared,
            (_, true) => &mut self.intent_shared,
        }
    }
}

/// How many shared grants have each limit on each path.
#[derive(Debug, Clone, Default, PartialEq)]
struct Limits {
    counts: BTreeMap<(Path, u32), u32>,
}

/// The tree of what is taken. Derived from the grants, never saved.
#[derive(Debug, Clone, Default)]
pub struct Occupancy {
    root: Node,
    inner: Option<Box<AHashMap<Bytes, Node>>>,
    /// The number of shared grants with each limit on each path: they give the next smallest.
    limits: Option<Box<Limits>>,
}

impl PartialEq for Occupancy {
    fn eq(&self, other: &Self) -> bool {
        let is_none = |tree: &Self| tree.inner.as_deref().is_none_or(|inner| inner.is_empty());
        let is_same = self.inner == other.inner || (is_none(self) && is_none(other));
        is_same && self.root == other.root && self.limits == other.limits
    }
}

impl Occupancy {
    /// The tree of these grants.
    pub fn of<'a>(grants: impl Iterator<Item = &'a Grant>) -> Self {
        let mut tree = Self::default();
        grants.for_each(|grant| tree.add(grant));
        tree
    }

    /// Adds a grant. Stamps exclude nobody and are ignored.
    pub fn add(&mut self, grant: &Grant) {
        if grant.mode == Mode::Optimistic {
            return;
        }
        self.on_the_way(grant.path(), |node, at_target| {
            *node.count(grant.mode, !at_target) += 1;
        });
        if grant.limit() > 0 {
            *self.limits.get_or_insert_default().counts.entry((grant.path().clone(), grant.limit())).or_default() += 1;
            self.find_limit(grant.path());
        }
    }

    /// Whether a grant is counted at its place and on the way there.
    pub fn has(&self, grant: &Grant) -> bool {
        if grant.mode == Mode::Optimistic {
            return true;
        }
        let counts = |name: &[u8], intent| *self.node(name).count(grant.mode, intent) > 0;
        let path = grant.path();
        let on_the_way = || counts(b"", true) && path.inner_ancestors().all(|name| counts(name, true));
        counts(path.bytes(), false) && (path.is_root() || on_the_way())
    }

    /// Adds a requested mode.
    pub fn note(&mut self, path: &Path, mode: Mode) {
        self.on_the_way(path, |node, at_target| *node.count(mode, !at_target) += 1);
    }

    /// Removes a grant.
    pub fn remove(&mut self, grant: &Grant) {
        if grant.mode == Mode::Optimistic {
            return;
        }
        if grant.limit() > 0 {
            self.remove_limit(grant);
        }
        let path = grant.path();
        looked_at_path(path);
        let leave = |node: &mut Node, intent| {
            let count = node.count(grant.mode, intent);
            *count = count.saturating_sub(1);
        };
        leave(&mut self.root, !path.is_root());
        let Some(inner) = self.inner.as_mut().filter(|_| !path.is_root()) else { return };
        for name in path.inner_ancestors().chain([&path.bytes()[..]]) {
            let Some(node) = inner.get_mut(name) else { continue };
            leave(node, name.len() < path.bytes().len());
            if node.is_empty() {
                inner.remove(name);
            }
        }
        inner.give_back_room();
        if inner.is_empty() {
            self.inner = None;
        }
    }

    fn remove_limit(&mut self, grant: &Grant) {
        let Some(limits) = self.limits.as_mut().map(|limits| &mut limits.counts) else { return };
        let place = (grant.path().clone(), grant.limit());
        let left = limits.get_mut(&place).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            limits.remove(&place);
            if limits.is_empty() {
                self.limits = None;
            }
            self.find_limit(grant.path());
        }
    }

    /// Notes the smallest limit on a path.
    fn find_limit(&mut self, path: &Path) {
        let limits = self.limits.iter().flat_map(|limits| limits.counts.range((path.clone(), 0)..));
        let smallest = limits.take(1).find(|((place, _), _)| place == path).map_or(0, |((_, limit), _)| *limit);
        self.visit(path.bytes(), |node| node.limit = smallest);
    }

    /// Whether `mode` on `path` is compatible with everything taken, except by `own`.
    /// Limits are ignored.
    pub fn is_compatible(&self, path: &Path, mode: Mode, own: &[&Grant]) -> bool {
        looked_at_path(path);
        let own = if own.is_empty() { None } else { Some(Self::of(own.iter().copied())) };
        self.is_compatible_beside(path, mode, own.as_ref())
    }

    /// The same, if the occupancy of one's own grants is known.
    pub fn is_compatible_beside(&self, path: &Path, mode: Mode, own: Option<&Self>) -> bool {
        let others = |name: &[u8]| {
            let node = self.node(name);
            own.map_or(node, |own| node.without(own.node(name)))
        };
        let passes = |node: Node| node.exclusive == 0 && (mode == Mode::Shared || node.shared == 0);
        let passes_on_the_way = || passes(others(b"")) && path.inner_ancestors().all(|name| passes(others(name)));
        if !path.is_root() && !passes_on_the_way() {
            return false;
        }
        let target = others(path.bytes());
        match mode {
            Mode::Exclusive => target.is_empty(),
            _ => target.exclusive == 0 && target.intent_exclusive == 0,
        }
    }

    /// Whether `mode` on `path`, shared by at most `limit` (0: any number), is compatible with
    /// everything taken, except by `own`.
    pub fn admits(&self, path: &Path, mode: Mode, limit: u32, own: &[&Grant]) -> bool {
        self.is_compatible(path, mode, own) && (mode == Mode::Exclusive || self.permits_missing(path, limit) == 0)
    }

    /// How many shared grants on `path` have to end before one more with this `limit` (0: any
    /// number) keeps everyone's limit.
    pub fn permits_missing(&self, path: &Path, limit: u32) -> u32 {
        let node = self.node(path.bytes());
        let tightest = [limit, node.limit].into_iter().filter(|n| *n > 0).min();
        tightest.map_or(0, |most| (node.shared + 1).saturating_sub(most))
    }

    /// How many grants are shared, and how many exclusive.
    pub fn counts(&self) -> (u32, u32) {
        let Node { shared, exclusive, intent_shared, intent_exclusive, .. } = self.root;
        (shared + intent_shared, exclusive + intent_exclusive)
    }

    /// Bytes allocated outside the struct itself, without spilled paths.
    pub fn heap_bytes(&self) -> usize {
        let entry = std::mem::size_of::<(Bytes, Node)>() + 1;
        let inner = self.inner.as_ref().map_or(0, |inner| std::mem::size_of_val(&**inner) + inner.capacity() * entry);
        let limit = std::mem::size_of::<((Path, u32), u32)>();
        let limits = self.limits.as_ref().map_or(0, |limits| limits.counts.len() * limit * 4 / 3);
        inner + limits
    }

    fn node(&self, name: &[u8]) -> Node {
        if name.is_empty() {
            return self.root;
        }
        self.inner.as_ref().and_then(|inner| inner.get(name)).copied().unwrap_or_default()
    }

    fn visit(&mut self, name: &[u8], visit: impl FnOnce(&mut Node)) {
        if name.is_empty() {
            return visit(&mut self.root);
        }
        let inner = self.inner.get_or_insert_default();
        // Most nodes are there already, and then their name is not copied.
        match inner.get_mut(name) {
            Some(node) => visit(node),
            None => visit(inner.entry(Bytes::from(name)).or_default()),
        }
    }

    fn on_the_way(&mut self, path: &Path, mut visit: impl FnMut(&mut Node, bool)) {
        looked_at_path(path);
        if path.is_root() {
            return visit(&mut self.root, true);
        }
        visit(&mut self.root, false);
        for name in path.inner_ancestors() {
            self.visit(name, |node| visit(node, false));
        }
        self.visit(path.bytes(), |node| visit(node, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lock::grant::{Extra, NO_END};

    fn grant(fence: u64, mode: Mode, path: &str, limit: u32) -> Grant {
        let path = Path::parse(path.as_bytes()).unwrap();
        let extra = Some(Box::new(Extra { path, limit, ..Extra::default() }));
        Grant { fence, ends_at: NO_END, since: 0, owner: Bytes::from("o"), levels: 1, mode, client: 0, extra }
    }

    fn admits(held: (Mode, &str), wanted: (Mode, &str)) -> bool {
        let tree = Occupancy::of([grant(2, held.0, held.1, 0)].iter());
        tree.admits(&Path::parse(wanted.1.as_bytes()).unwrap(), wanted.0, 0, &[])
    }

    #[test]
    fn paths_exclude_along_one_line_of_the_tree_only() {
        use Mode::{Exclusive, Shared};
        for (held, wanted) in [("a", "a/b"), ("a/b", "a"), ("a", "a"), ("", "a/b/c"), ("a/b/c", "")] {
            assert!(!admits((Exclusive, held), (Shared, wanted)), "{held} {wanted}");
            assert!(!admits((Shared, held), (Exclusive, wanted)), "{held} {wanted}");
            assert!(admits((Shared, held), (Shared, wanted)), "{held} {wanted}");
            assert!(admits((Mode::Optimistic, held), (Exclusive, wanted)), "{held} {wanted}");
        }
        assert!(admits((Exclusive, "a/b"), (Exclusive, "a/c")) && admits((Exclusive, "a"), (Exclusive, "ab")));
    }

    #[test]
    fn a_stamp_brings_no_limit_to_its_place() {
        let (shared, stamp) = (grant(2, Mode::Shared, "p", 3), grant(3, Mode::Optimistic, "p", 3));
        let mut tree = Occupancy::of([&shared, &stamp].into_iter());
        tree.remove(&shared);
        assert_eq!(tree, Occupancy::default());
    }

    #[test]
    fn the_smallest_limit_counts_and_is_found_again_when_it_ends() {
        let grants = [3, 0, 5].map(|limit| grant(2 + 2 * u64::from(limit), Mode::Shared, "p", limit));
        let mut tree = Occupancy::of(grants.iter());
        let path = Path::parse(b"p").unwrap();
        assert_eq!((tree.permits_missing(&path, 0), tree.permits_missing(&path, 2)), (1, 2));
        tree.remove(&grants[0]);
        assert_eq!((tree.permits_missing(&path, 0), tree.permits_missing(&path, 2)), (0, 1));
        grants[1..].iter().for_each(|grant| tree.remove(grant));
        assert_eq!(tree, Occupancy::default());
    }

    #[test]
    fn the_room_of_paths_that_are_free_again_is_given_back() {
        let grants: Vec<Grant> =
            (1..=100_000).map(|n| grant(2 * n, Mode::Exclusive, &format!("folder-{n}/file"), 0)).collect();
        let mut tree = Occupancy::of(grants.iter());
        let peak = tree.heap_bytes();
        grants[10..].iter().for_each(|grant| tree.remove(grant));
        assert!(tree == Occupancy::of(grants[..10].iter()));
        assert!(peak > 10_000_000 && tree.heap_bytes() < 10_000, "{peak} {}", tree.heap_bytes());
    }

    #[test]
    fn nothing_is_left_when_all_grants_have_ended() {
        let grants = ["a/b", "a/b/c", "", "d"].map(|path| grant(path.len() as u64 * 2, Mode::Exclusive, path, 0));
        let mut tree = Occupancy::of(grants.iter());
        grants.iter().for_each(|grant| tree.remove(grant));
        assert!(tree == Occupancy::default() && tree.heap_bytes() == 0);
    }
}
