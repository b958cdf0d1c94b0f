//! For which registered agents something is held in a key.
//!
//! With `REGISTRY key` what an agent holds in a key belongs to its present incarnation in that registry: the key remembers a [`Bond`]. It stands with
//! what is held, in the same value: saved, replicated, renamed and deleted with it. When the incarnation is over, so is the bond, and what the
//! agent held there goes back (see [`reactions`](crate::domain::reactions)). So the list of what an agent holds, which the registry's node keeps, is derived, and
//! an entry of it that is stale does no harm: the key is opened and asked.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::limits::{BONDS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX};
use crate::domain::value::fence::check_fence;
use crate::domain::{Bytes, Error, Fence, Invariant};
use serde::{Deserialize, Serialize};

/// All that an agent holds in a key belongs to an incarnation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// The key of the registry, in the same database.
    pub registry: Bytes,
    /// The agent.
    pub agent: Bytes,
    /// Its incarnation.
    pub epoch: Fence,
}

impl Bond {
    /// Errs if it is out of bounds.
    pub fn admit(&self) -> Result<(), Error> {
        let fits = (1..=ID_BYTES_MAX).contains(&self.agent.len()) && (1..=KEY_BYTES_MAX).contains(&self.registry.len());
        if !fits {
            return Err(Error::usage("payload holds a bond to an agent that is out of bounds"));
        }
        check_fence(self.epoch)
    }

    /// Bytes allocated outside the struct itself.
    fn heap_bytes(&self) -> usize {
        self.registry.heap_bytes() + self.agent.heap_bytes()
    }
}

/// The bonds of a key: at most one for each agent, the one that was made last. A sorted list, since most keys have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bonds {
    by_agent: Vec<Bond>,
    heap_bytes: usize,
}

impl Bonds {
    fn place(&self, agent: &[u8]) -> Result<usize, usize> {
        self.by_agent.binary_search_by(|bond| bond.agent[..].cmp(agent))
    }

    /// That of an agent.
    pub fn of(&self, agent: &[u8]) -> Option<&Bond> {
        self.place(agent).ok().map(|at| &self.by_agent[at])
    }

    /// All of them, by their agents.
    pub fn iter(&self) -> impl Iterator<Item = &Bond> {
        self.by_agent.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_agent.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_agent.is_empty()
    }

    /// Makes a bond. If the agent had one to another registry, that is over and comes back.
    pub fn bind(&mut self, bond: &Bond) -> Option<Bond> {
        self.heap_bytes += bond.heap_bytes();
        match self.place(&bond.agent) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.by_agent[at], bond.clone());
                self.heap_bytes -= before.heap_bytes();
                Some(before).filter(|before| before.registry != bond.registry)
            }
            Err(at) => {
                self.by_agent.insert(at, bond.clone());
                None
            }
        }
    }

    /// Ends the bond of an agent.
    pub fn unbind(&mut self, agent: &[u8]) -> Option<Bond> {
        let bond = self.by_agent.remove(self.place(agent).ok()?);
        self.heap_bytes -= bond.heap_bytes();
        Some(bond)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        allocated(self.by_agent.capacity() * size_of::<Bond>()) + self.heap_bytes
    }

    /// Counts their bytes anew.
    pub fn rebuild(&mut self) {
        self.heap_bytes = self.iter().map(Bond::heap_bytes).sum();
    }

    /// Errs if one is out of bounds, or there are too many.
    pub fn check(&self) -> Result<(), Invariant> {
        if self.len() > BONDS_MAX {
            return Err(Invariant("more agents are bound to the key than allowed".into()));
        }
        if !self.by_agent.is_sorted_by(|one, next| one.agent < next.agent) {
            return Err(Invariant("the bonds are not in the order of their agents".into()));
        }
        if !self.iter().all(|bond| bond.admit().is_ok()) {
            return Err(Invariant("a bond to an agent is out of bounds".into()));
        }
        let bytes: usize = self.iter().map(Bond::heap_bytes).sum();
        if bytes != self.heap_bytes {
            return Err(Invariant("the counted bytes of the bonds differ from them".into()));
        }
        Ok(())
    }
}

impl FromIterator<Bond> for Bonds {
    fn from_iter<T: IntoIterator<Item = Bond>>(bonds: T) -> Self {
        let mut all = Self::default();
        bonds.into_iter().for_each(|bond| drop(all.bind(&bond)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bond(registry: &str, agent: &str, epoch: Fence) -> Bond {
        Bond { registry: Bytes::from(registry), agent: Bytes::from(agent), epoch }
    }

    #[test]
    fn the_last_bond_of_an_agent_counts() {
        let mut bonds = Bonds::default();
        assert_eq!(bonds.bind(&bond("r", "ada", 1)), None);
        assert_eq!(bonds.bind(&bond("r", "ada", 2)), None, "the same registry");
        assert_eq!(bonds.bind(&bond("q", "ada", 3)), Some(bond("r", "ada", 2)));
        assert_eq!(bonds.of(b"ada"), Some(&bond("q", "ada", 3)));
        assert_eq!(bonds.check(), Ok(()));
        assert_eq!(bonds.unbind(b"ada"), Some(bond("q", "ada", 3)));
        assert!(bonds.is_empty() && bonds.unbind(b"ada").is_none());
    }

    #[test]
    fn bytes_that_are_counted_wrong_are_counted_anew() {
        let mut bonds: Bonds =
            [bond("a registry with a long name", "ada", 1), bond("r", "bob", 2)].into_iter().collect();
        bonds.heap_bytes += 1;
        assert!(bonds.check().is_err());
        bonds.rebuild();
        assert_eq!(bonds.check(), Ok(()));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert!(bond("", "ada", 1).admit().is_err());
        assert!(bond("r", "", 1).admit().is_err());
        assert!(bond("r", "ada", 0).admit().is_err());
        assert!(bond("r", &"a".repeat(ID_BYTES_MAX + 1), 1).admit().is_err());
        assert!(bond("r", "ada", 1).admit().is_ok());
    }
}
