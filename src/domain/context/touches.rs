//! Who touched which part of a document, and when.
//!
//! Kept for the first levels of a document and for a bounded number of places. The place with the
//! oldest touch is forgotten first.

use crate::domain::algorithm::allocator::{allocated, tree_bytes};
use crate::domain::json::Pointer;
use crate::domain::limits::{ID_BYTES_MAX, TOUCHES_MAX, TOUCH_AGENTS_MAX, TOUCH_DEPTH_MAX};
use crate::domain::versioned::{Stamp, Version};
use crate::domain::{Bytes, Invariant, Millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The last touches of a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The version that the last touch made.
    pub version: Version,
    /// The time of the last touch, unix ms.
    pub at: Millis,
    /// The agents that touched it, each with its last version, the latest first. Anonymous
    /// clients are left out.
    pub by: Vec<(Bytes, Version)>,
}

/// Places and their last touches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Pointer, Touch>", into = "BTreeMap<Pointer, Touch>")]
pub struct Touches {
    places: BTreeMap<Pointer, Touch>,
    by_age: BTreeSet<(Version, Pointer)>,
    bytes: usize,
}

impl From<BTreeMap<Pointer, Touch>> for Touches {
    fn from(places: BTreeMap<Pointer, Touch>) -> Self {
        let mut touches = Touches { places, ..Touches::default() };
        touches.rebuild();
        touches
    }
}

impl From<Touches> for BTreeMap<Pointer, Touch> {
    fn from(touches: Touches) -> Self {
        touches.places
    }
}

/// Bytes that a place takes besides its entries.
fn place_bytes(path: &Pointer, touch: &Touch) -> usize {
    let names: usize = touch.by.iter().map(|(agent, _)| agent.heap_bytes()).sum();
    allocated(path.heap_bytes()) + allocated(touch.by.len() * size_of::<(Bytes, Version)>()) + names
}

fn fits(path: &Pointer, touch: &Touch) -> bool {
    let names = touch.by.iter().all(|(agent, _)| agent.len() <= ID_BYTES_MAX);
    path.is_valid() && path.depth() <= TOUCH_DEPTH_MAX && touch.by.len() <= TOUCH_AGENTS_MAX && names
}

impl Touches {
    /// Records touches of places by one change. Of more than are remembered those count that come
    /// last, ordered by path.
    pub fn touch_all(&mut self, paths: Vec<Pointer>, stamp: &Stamp) {
        let mut places: Vec<Pointer> = paths.into_iter().map(|path| path.cut(TOUCH_DEPTH_MAX)).collect();
        // Those of a version are mostly in order, be it backwards, and this sort makes use of it.
        places.sort();
        places.dedup();
        let forgotten = places.len().saturating_sub(TOUCHES_MAX);
        places[forgotten..].iter().for_each(|place| self.touch(place, stamp));
    }

    /// Records a touch of a place.
    pub fn touch(&mut self, path: &Pointer, stamp: &Stamp) {
        let path = path.cut(TOUCH_DEPTH_MAX);
        let mut touch = self.remove(&path).unwrap_or_default();
        (touch.version, touch.at) = (stamp.version, stamp.at);
        if !stamp.by.is_empty() {
            touch.by.retain(|(agent, _)| agent != stamp.by);
            touch.by.insert(0, (stamp.by.clone(), stamp.version));
            touch.by.truncate(TOUCH_AGENTS_MAX);
        }
        self.insert(path, touch);
        if self.places.len() > TOUCHES_MAX {
            if let Some((_, oldest)) = self.by_age.first().cloned() {
                self.remove(&oldest);
            }
        }
    }

    fn insert(&mut self, path: Pointer, touch: Touch) {
        self.bytes += place_bytes(&path, &touch);
        self.by_age.insert((touch.version, path.clone()));
        self.places.insert(path, touch);
    }

    fn remove(&mut self, path: &Pointer) -> Option<Touch> {
        let touch = self.places.remove(path)?;
        self.bytes -= place_bytes(path, &touch);
        self.by_age.remove(&(touch.version, path.clone()));
        Some(touch)
    }

    /// The touches at, inside and around `path`.
    pub fn around(&self, path: &Pointer) -> impl Iterator<Item = &Touch> {
        let place = path.cut(TOUCH_DEPTH_MAX);
        let outer: Vec<&Touch> = (0..=place.depth()).filter_map(|depth| self.places.get(&place.cut(depth))).collect();
        let inside = if path.depth() < TOUCH_DEPTH_MAX { Some(self.inside(&place)) } else { None };
        outer.into_iter().chain(inside.into_iter().flatten())
    }

    /// The touch of `path` itself.
    pub fn at(&self, path: &Pointer) -> Option<&Touch> {
        self.places.get(path)
    }

    /// The touches inside `path`.
    pub fn inside(&self, path: &Pointer) -> impl Iterator<Item = &Touch> {
        // The text of a place inside continues with a slash, and the digit 0 comes right
        // after the slash.
        self.places.range(path.followed_by('/')..path.followed_by('0')).map(|(_, touch)| touch)
    }

    /// Versions after `version` did not happen: forgets places that were touched then.
    pub fn forget_after(&mut self, version: Version) {
        for (path, touch) in std::mem::take(self).places {
            if touch.version <= version {
                self.insert(path, touch);
            }
        }
    }

    /// The last touch of `path`: the latest of all at, inside and around it.
    pub fn last(&self, path: &Pointer) -> Option<&Touch> {
        self.around(path).max_by_key(|touch| touch.version)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let count = self.places.len();
        self.bytes
            + tree_bytes(count, size_of::<(Pointer, Touch)>())
            + tree_bytes(count, size_of::<(Version, Pointer)>())
    }

    /// Whether it is within its bounds.
    pub fn check(&self) -> Result<(), Invariant> {
        let is_old = |(path, touch): (&Pointer, &Touch)| self.by_age.contains(&(touch.version, path.clone()));
        let is_indexed = self.by_age.len() == self.places.len() && self.places.iter().all(is_old);
        let bytes: usize = self.places.iter().map(|(path, touch)| place_bytes(path, touch)).sum();
        if self.places.len() > TOUCHES_MAX || !self.places.iter().all(|(path, touch)| fits(path, touch)) {
            return Err(Invariant("the touches are out of bounds".into()));
        }
        if is_indexed && bytes == self.bytes {
            return Ok(());
        }
        Err(Invariant("the order or the bytes of the touches differ from them".into()))
    }

    /// Forgets what is out of bounds. Returns what that was.
    pub fn salvage(&mut self) -> Option<String> {
        let before = self.places.len();
        for (path, touch) in std::mem::take(self).places {
            if fits(&path, &touch) {
                self.insert(path, touch);
            }
        }
        let gone = before - self.places.len();
        (gone > 0).then(|| format!("who touched {gone} places"))
    }

    /// Rebuilds what is derived.
    pub fn rebuild(&mut self) {
        for (path, touch) in std::mem::take(self).places {
            self.insert(path, touch);
        }
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Touches {
    /// Breaks the order by age, or the counted bytes.
    pub(super) fn break_part(&mut self, of_ages: bool) {
        if of_ages {
            if let Some((version, path)) = self.by_age.pop_last() {
                self.by_age.insert((version + 1, path));
            }
        } else {
            self.bytes += 1;
        }
    }
}

/// How recent a version is, thousandths: 1000 now, 500 after 64 more versions.
pub fn recency(version: Version, now: Version) -> u64 {
    const HALF: u64 = 64;
    1000 * HALF / (HALF + now.saturating_sub(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_and_the_oldest_are_forgotten() {
        let mut touches = Touches::default();
        for n in 0..TOUCHES_MAX as u64 + 10 {
            let by = Bytes::from(format!("agent-{}", n % 6).as_str());
            let path = Pointer::parse(format!("/p{n}/x/y/deep").as_bytes()).expect("a path");
            touches.touch(&path, &Stamp { version: n + 1, at: n, by: &by });
            touches.touch(&Pointer::default(), &Stamp { version: n + 1, at: n, by: &by });
        }
        assert_eq!(touches.places.len(), TOUCHES_MAX);
        let root = &touches.places[&Pointer::default()];
        assert_eq!(root.by.len(), TOUCH_AGENTS_MAX);
        assert!(root.by.is_sorted_by(|one, next| one.1 > next.1));
        assert!(!touches.places.contains_key(&Pointer::parse(b"/p0/x/y").expect("a path")));
        assert_eq!(touches.check(), Ok(()));
        let counted = touches.heap_bytes();
        touches.rebuild();
        assert!(counted >= touches.heap_bytes());
    }
}
