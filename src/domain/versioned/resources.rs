//! The keys that a session owns, and who gave them: at its end, only what the giver holds
//! there is given back.

use crate::domain::entity::invariant::rule;
use crate::domain::limits::{ID_BYTES_MAX, RESOURCE_GIVERS_MAX};
use crate::domain::value::bytes::acts_as;
use crate::domain::value::inline_list::InlineList;
use crate::domain::{Bytes, Invariant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys that belong to a session.
pub type Resources = BTreeMap<Bytes, Resource>;

/// The givers of a key, each once. The empty name stands for clients that are not bound to a name:
/// they give what all participants hold there. Any other giver gives only what it holds itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    givers: InlineList<Bytes>,
}

/// Adds `by` to the givers of keys.
pub fn give(resources: &mut Resources, names: &[Bytes], by: &Bytes) {
    if resources.is_empty() {
        // Names that are in order, as they are, are not compared with all others.
        let given = |name: &Bytes| (name.clone(), Resource { givers: [by.clone()].into_iter().collect() });
        *resources = names.iter().map(given).collect();
        return;
    }
    for name in names {
        resources.entry(name.clone()).or_default().give(by);
    }
}

/// Removes `by` from the givers of keys, or all givers if it is empty.
pub fn take_back(resources: &mut Resources, names: &[Bytes], by: &[u8]) {
    for name in names {
        if resources.get_mut(name).is_some_and(|resource| resource.take_back(by)) {
            resources.remove(name);
        }
    }
}

impl Resource {
    /// Whether `giver` has given it.
    pub fn is_given_by(&self, giver: &[u8]) -> bool {
        self.givers.iter().any(|known| known[..] == *giver)
    }

    /// Adds a giver.
    pub fn give(&mut self, giver: &Bytes) {
        if !self.is_given_by(giver) {
            self.givers.push(giver.clone());
        }
    }

    /// Removes a giver, or all if it is empty. Returns whether none is left.
    pub fn take_back(&mut self, giver: &[u8]) -> bool {
        let mut left = InlineList::default();
        self.givers
            .iter()
            .filter(|known| !giver.is_empty() && known[..] != *giver)
            .for_each(|known| left.push(known.clone()));
        self.givers = left;
        self.givers.is_empty()
    }

    /// The givers, in the order in which they gave it.
    pub fn givers(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.givers.iter()
    }

    /// Whether what `holder` holds there is given back at the end of the session. `takes_part`
    /// tells whom the session is about.
    pub fn frees(&self, holder: &[u8], takes_part: impl Fn(&[u8]) -> bool) -> bool {
        self.givers.iter().any(|giver| if giver.is_empty() { takes_part(holder) } else { acts_as(giver, holder) })
    }

    /// Whether commands can have made it.
    pub fn check(&self) -> Result<(), Invariant> {
        let givers = &self.givers;
        rule(
            !givers.is_empty() && givers.len() <= RESOURCE_GIVERS_MAX,
            "a resource was given by nobody or by too many",
        )?;
        let is_once = |at: usize| !givers[..at].contains(&givers[at]) && givers[at].len() <= ID_BYTES_MAX;
        rule((0..givers.len()).all(is_once), "a resource was given twice by one, or by a name that is too long")
    }

    /// Bytes that it takes in the session, with its name.
    pub fn bytes(name: &Bytes, resource: &Self) -> usize {
        let givers = resource.givers.heap_bytes() + resource.givers.iter().map(Bytes::heap_bytes).sum::<usize>();
        // A B-tree's nodes are about three quarters full.
        size_of::<(Bytes, Self)>() * 4 / 3 + name.heap_bytes() + givers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_by(givers: &[&str]) -> Resource {
        let mut resource = Resource::default();
        givers.iter().for_each(|giver| resource.give(&Bytes::from(*giver)));
        resource
    }

    #[test]
    fn a_word_is_about_what_its_giver_holds_and_about_nobody_else() {
        let takes_part = |holder: &[u8]| [&b"ada"[..], b"job"].contains(&holder);
        let by_mallory = given_by(&["mallory"]);
        for (holder, is_freed) in
            [("mallory", true), ("mallory:2", true), ("ada", false), ("mallory2", false), ("job", false)]
        {
            assert_eq!(by_mallory.frees(holder.as_bytes(), takes_part), is_freed, "{holder}");
        }
        let by_all = given_by(&[""]);
        for (holder, is_freed) in [("ada", true), ("job", true), ("mallory", false), ("ada:2", false)] {
            assert_eq!(by_all.frees(holder.as_bytes(), takes_part), is_freed, "{holder}");
        }
    }

    #[test]
    fn only_ones_own_word_is_taken_back_unless_one_is_not_bound() {
        let mut resource = given_by(&["ada", "bob", "ada"]);
        assert_eq!(resource.givers().len(), 2);
        assert!(!resource.take_back(b"mallory") && !resource.take_back(b"ada"));
        assert!(!resource.is_given_by(b"ada") && resource.is_given_by(b"bob"));
        assert!(resource.take_back(b"") && resource.check().is_err());
    }
}
