//! The tasks on offer: the first ready task of each line whose group has room, by the capabilities
//! that it requires.
//!
//! The sets of capabilities are in order, and each set is in order itself. So the sets that begin
//! with the same requirements stand together, and a worker that lacks one of them passes by all of
//! those at once.

use super::TaskNo;
use crate::domain::limits::CAPABILITY_BYTES_MAX;
use crate::domain::value::capability::{Capability, RequiredVersion, Requirement};
use crate::domain::{looked, looked_at_parts, Bytes};
use std::collections::{btree_set, BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;

/// As many heads of sets are compared in one look.
const HEADS_OF_LOOK: usize = 8;

/// As many requirements are compared in one look.
const REQUIREMENTS_OF_LOOK: usize = 16;

/// After so many sets in a row that the worker cannot do, all that lack the same are passed by: a
/// search for the next one takes as long as looking at a few.
const LACKING_IN_A_ROW: usize = 4;

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
            None => drop(self.0.insert(self.sharing_names(caps), BTreeSet::from([place]))),
        }
    }

    /// The same capabilities, whose names share their memory with those of other sets that begin
    /// with the same: then long names are compared by their address. The sets next to it have the
    /// longest equal beginnings of all, so this holds for any two sets.
    fn sharing_names(&self, caps: &Caps) -> Caps {
        let (here, mut shared) = (&caps[..], caps.clone());
        let before = self.0.range::<[Requirement], _>((Bound::Unbounded, Bound::Excluded(here))).next_back();
        let behind = self.0.range::<[Requirement], _>((Bound::Excluded(here), Bound::Unbounded)).next();
        for (near, _) in before.into_iter().chain(behind) {
            let equal = shared.iter_mut().zip(near).take_while(|(own, other)| own == other);
            equal.for_each(|(own, other)| own.clone_from(other));
        }
        shared
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
        self.search(caps, usize::MAX)
    }

    /// Whether there is a task that a worker with these capabilities can do, and how much was
    /// looked at for that. `caps` are sorted.
    pub fn has_any(&self, caps: &[Capability]) -> (bool, usize) {
        let found = self.search(caps, 1);
        (!found.heads.is_empty(), found.looks)
    }

    /// What a worker can do of `most` sets of capabilities.
    fn search(&self, caps: &[Capability], most: usize) -> Offers<'_> {
        let (mut found, mut lacking) = (Offers::default(), 0);
        let mut sets = self.0.range::<[Requirement], _>(..);
        while let Some((set, heads)) = sets.next().filter(|_| found.heads.len() < most) {
            let unmet = first_unmet(set, caps);
            found.looks_at(unmet.unwrap_or(set.len()));
            let Some(at) = unmet else {
                found.heads.push(heads.iter().peekable());
                lacking = 0;
                continue;
            };
            lacking += 1;
            if lacking % LACKING_IN_A_ROW == 0 {
                found.looks_at(2 * at);
                let from = behind(set, at, caps);
                sets = self.0.range::<[Requirement], _>((Bound::Included(&from[..]), Bound::Unbounded));
            }
        }
        found
    }

    #[cfg(any(test, feature = "test-hooks"))]
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where the first requirement is that the worker does not meet.
fn first_unmet(set: &[Requirement], caps: &[Capability]) -> Option<usize> {
    let mut rest = caps;
    set.iter().position(|wanted| {
        // Both are in order.
        let behind = rest.iter().position(|cap| cap.name >= wanted.name).unwrap_or(rest.len());
        rest = &rest[behind..];
        let is_it = |cap: &Capability| cap.name == wanted.name;
        let same = match rest.get(1) {
            Some(second) if is_it(second) => rest.partition_point(is_it),
            _ => usize::from(rest.first().is_some_and(is_it)),
        };
        !is_met(&wanted.version, &rest[..same])
    })
}

/// Whether one of these versions of a capability will do. They are in order.
fn is_met(wanted: &RequiredVersion, versions: &[Capability]) -> bool {
    let numbers = |cap: &Capability| cap.version.map(|version| version.numbers());
    match wanted {
        RequiredVersion::Any => !versions.is_empty(),
        RequiredVersion::AtLeast(least) => versions.last().and_then(numbers) >= Some(least.numbers()),
        RequiredVersion::Exactly(version) => versions.binary_search_by_key(&Some(version.numbers()), numbers).is_ok(),
    }
}

/// How the sets begin that come behind `set` and all those that lack the same: the worker meets
/// what is before the requirement at `at`, but not that one.
fn behind(set: &[Requirement], at: usize, caps: &[Capability]) -> Vec<Requirement> {
    let (met, unmet) = (&set[..at], &set[at]);
    let from = caps.partition_point(|cap| cap.name < unmet.name);
    let mut way = met.to_vec();
    match caps.get(from) {
        // Another version of it may be met.
        Some(cap) if cap.name == unmet.name => way.extend([unmet.clone(), behind_all()]),
        Some(cap) => way.push(Requirement { name: cap.name.clone(), version: RequiredVersion::Any }),
        None => way.push(behind_all()),
    }
    way
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
    /// How much was looked at: sets of capabilities, most of them more than once if they are large,
    /// and how many can be done.
    pub fn looks(&self) -> usize {
        self.looks + self.heads.len()
    }

    /// A set is compared with others, or with the worker, as far as this requirement.
    fn looks_at(&mut self, requirements: usize) {
        let looks = 1 + requirements / REQUIREMENTS_OF_LOOK;
        self.looks += looks;
        looked(looks);
    }
}

impl Iterator for Offers<'_> {
    type Item = TaskNo;

    fn next(&mut self) -> Option<TaskNo> {
        looked_at_parts(8 + self.heads.len(), HEADS_OF_LOOK);
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
            assert_eq!(offers.has_any(&worker).0, !expected.is_empty(), "{worker:?} {offers:?}");
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

    #[test]
    fn no_set_is_looked_at_twice_however_long_it_is() {
        let name = |no: usize| format!("cap{}{no:02}", "y".repeat(100));
        let (many, sets) = (64, 300);
        // Two sets differ in the first requirements, or in the last ones.
        for differs in [0, many - 10] {
            let mut offers = OnOffer::default();
            for no in 0..sets {
                let version = |at: usize| if at < differs { 1 } else { 1 + ((no >> ((at - differs) % 10)) & 1) };
                offers.add(&set((0..many).map(|at| format!("{}@>={}", name(at), version(at)))), (0, no as u64));
            }
            for (version, least) in [(5, sets), (1, 1)] {
                let found = offers.to(&caps((0..many).map(|at| format!("{}@{version}", name(at)))));
                assert!(found.looks() <= sets * 10, "{} looks: see the work of TASK.CLAIM", found.looks());
                assert!(found.count() >= least);
            }
            let first: Vec<_> = offers.0.keys().map(|set| &set[0].name).collect();
            let is_one = |two: &[&Bytes]| two[0].as_ptr() == two[1].as_ptr();
            assert!(differs == 0 || first.windows(2).all(is_one), "equal beginnings share their names");
        }
    }
}
