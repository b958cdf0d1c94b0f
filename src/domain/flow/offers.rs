//! The tasks on offer: the first ready task of each line whose group has room, by the capabilities
//! that it requires.
//!
//! The sets of capabilities are in order, and each set is in order itself. So the sets that begin
//! with the same requirements stand together, and a worker that lacks one of them passes by all of
//! those at once.

use super::TaskNo;
use crate::domain::limits::CAPABILITY_BYTES_MAX;
use crate::domain::value::capability::{Capability, RequiredVersion, Requirement};
use crate::domain::Bytes;
use std::collections::{btree_set, BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;

/// The place of a ready task: smaller is earlier. Priority is a head start, as for waiting clients.
pub type Place = (i64, TaskNo);

/// Different capabilities, sorted.
pub type Caps = Box<[Requirement]>;

/// The places on offer, by required capabilities. No set of places is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnOffer(BTreeMap<Caps, BTreeSet<Place>>);

impl OnOffer {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this place is on offer under these capabilities.
    pub fn has(&self, caps: &[Requirement], place: &Place) -> bool {
        self.0.get(caps).is_some_and(|heads| heads.contains(place))
    }

    /// Puts a place on offer.
    pub fn add(&mut self, caps: &Caps, place: Place) {
        match self.0.get_mut(caps) {
            Some(heads) => drop(heads.insert(place)),
            None => drop(self.0.insert(caps.clone(), BTreeSet::from([place]))),
        }
    }

    /// Takes a place from offer.
    pub fn remove(&mut self, caps: &[Requirement], place: &Place) {
        if let Some(heads) = self.0.get_mut(caps) {
            heads.remove(place);
            if heads.is_empty() {
                self.0.remove(caps);
            }
        }
    }

    /// The tasks that a worker with these capabilities can do, the best first. `caps` are sorted.
    pub fn to(&self, caps: &[Capability]) -> Offers<'_> {
        let mut search = Search { sets: &self.0, caps, path: Vec::new(), found: Offers::default() };
        search.look();
        search.found
    }

    #[cfg(any(test, feature = "test-hooks"))]
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A walk over the sets that begin with what the worker can do.
struct Search<'a, 'c> {
    sets: &'a BTreeMap<Caps, BTreeSet<Place>>,
    caps: &'c [Capability],
    /// How the sets begin that are looked at: the worker can do all of it.
    path: Vec<Requirement>,
    found: Offers<'a>,
}

impl<'a> Search<'a, '_> {
    /// Looks at the sets that begin with the path.
    fn look(&mut self) {
        let depth = self.path.len();
        let mut next = self.first_from(depth, Bound::Included(()));
        while let Some((set, heads)) = next {
            let Some(wanted) = set.get(depth) else {
                // It is the path itself.
                self.found.heads.push(heads.iter().peekable());
                next = self.first_from(depth, Bound::Excluded(()));
                continue;
            };
            let at = self.caps.partition_point(|cap| cap.name < wanted.name);
            let Some(cap) = self.caps.get(at) else { return };
            if cap.name > wanted.name {
                self.path.push(Requirement { name: cap.name.clone(), version: RequiredVersion::Any });
                next = self.first_from(depth, Bound::Included(()));
            } else {
                self.path.push(wanted.clone());
                if self.caps[at..].iter().take_while(|cap| cap.name == wanted.name).any(|cap| wanted.is_met_by(cap)) {
                    self.look();
                }
                self.path.push(behind_all());
                next = self.first_from(depth, Bound::Included(()));
            }
            self.path.truncate(depth);
        }
    }

    /// The first set from the path on, or behind it, if it begins with the path of this depth.
    fn first_from(&mut self, depth: usize, from: Bound<()>) -> Option<(&'a Caps, &'a BTreeSet<Place>)> {
        self.found.looks += 1;
        let from = from.map(|()| &self.path[..]);
        let next = self.sets.range::<[Requirement], _>((from, Bound::Unbounded)).next();
        next.filter(|(set, _)| set.starts_with(&self.path[..depth]))
    }
}

/// A requirement behind all that there can be.
fn behind_all() -> Requirement {
    Requirement { name: Bytes::from(&[u8::MAX; CAPABILITY_BYTES_MAX + 1][..]), version: RequiredVersion::Any }
}

/// The tasks on offer to a worker, the best first: one of each line.
#[derive(Debug, Default)]
pub struct Offers<'a> {
    heads: Vec<Peekable<btree_set::Iter<'a, Place>>>,
    looks: usize,
}

impl Offers<'_> {
    /// How often sets of capabilities were looked for, and how many can be done.
    pub fn looks(&self) -> usize {
        self.looks + self.heads.len()
    }
}

impl Iterator for Offers<'_> {
    type Item = TaskNo;

    fn next(&mut self) -> Option<TaskNo> {
        let best = self.heads.iter_mut().enumerate().filter_map(|(at, heads)| Some((**heads.peek()?, at))).min();
        let (_, at) = best?;
        self.heads[at].next().map(|(_, no)| *no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::algorithm::splitmix::next_random;
    use crate::domain::flow::task::are_met;

    fn caps(names: impl IntoIterator<Item = String>) -> Vec<Capability> {
        let mut caps: Vec<Capability> =
            names.into_iter().map(|name| Capability::parse(name.as_bytes()).expect("a capability")).collect();
        caps.sort_unstable();
        caps.dedup();
        caps
    }

    fn set(names: impl IntoIterator<Item = String>) -> Caps {
        let names = names.into_iter().map(|name| Requirement::parse(name.as_bytes()).expect("a requirement"));
        let set: BTreeSet<Requirement> = names.collect();
        set.into_iter().collect()
    }

    #[test]
    fn a_worker_is_offered_what_it_can_do_and_nothing_else() {
        let mut random = 7;
        let mut draw = |max: u64| next_random(&mut random) % max;
        for _ in 0..300 {
            let mut offers = OnOffer::default();
            for no in 0..draw(30) {
                let size = draw(4);
                let names: Vec<String> = (0..size)
                    .map(|_| format!("c{}{}", draw(5), ["", "@1", "@2.1", "@>=1", "@>=2"][draw(5) as usize]))
                    .collect();
                offers.add(&set(names), (draw(9) as i64, no));
            }
            let size = draw(6);
            let worker = caps((0..size).map(|_| format!("c{}{}", draw(5), ["", "@1", "@2", "@2.1"][draw(4) as usize])));
            let fitting = offers.0.iter().filter(|(set, _)| are_met(set, &worker)).flat_map(|(_, heads)| heads);
            let expected: BTreeSet<Place> = fitting.copied().collect();
            let found: Vec<TaskNo> = offers.to(&worker).collect();
            assert_eq!(found, expected.iter().map(|(_, no)| *no).collect::<Vec<_>>(), "{worker:?} {offers:?}");
        }
    }

    #[test]
    fn a_worker_passes_by_the_sets_that_it_cannot_do() {
        let mut offers = OnOffer::default();
        for no in 0..10_000 {
            offers.add(&set([format!("other-{no}")]), (0, no));
            offers.add(&set(["a".to_string(), format!("b-{no}")]), (0, no));
            offers.add(&set(["a".to_string(), "m@>=2".into(), format!("n-{no}")]), (0, no));
        }
        let many = caps((0..62).map(|n| format!("none-{n}")).chain(["a".into(), "m@1".into()]));
        let found = offers.to(&many);
        assert!(found.looks() < 200, "{} looks", found.looks());
        assert_eq!(found.count(), 0);
    }
}
