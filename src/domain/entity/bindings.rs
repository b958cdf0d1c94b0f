//! The registered agents that hold something in a key.
//!
//! With `REGISTRY key`, what an agent holds in a key belongs to its present incarnation in that
//! registry: the key has an [`AgentBinding`]. The binding is part of the value, and is saved,
//! replicated, renamed and deleted with it. When the incarnation ends, so does the binding, and
//! what the agent held there is given back (see [`reactions`](crate::domain::reactions)). The
//! registry's node also keeps a list of what each agent holds. That list is derived, and a stale
//! entry in it is harmless: the key itself decides.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::limits::{BINDINGS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX};
use crate::domain::value::fence::check_fence;
use crate::domain::{Bytes, Error, Fence, Invariant};
use serde::{Deserialize, Serialize};

/// What an agent holds in a key belongs to this incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentBinding {
    /// The key of the registry, in the same database.
    pub registry: Bytes,
    /// The agent.
    pub agent: Bytes,
    /// Its incarnation.
    pub epoch: Fence,
}

impl AgentBinding {
    /// Errs if it is out of bounds.
    pub fn admit(&self) -> Result<(), Error> {
        let fits = (1..=ID_BYTES_MAX).contains(&self.agent.len()) && (1..=KEY_BYTES_MAX).contains(&self.registry.len());
        if !fits {
            return Err(Error::usage("payload holds a binding to an agent that is out of bounds"));
        }
        check_fence(self.epoch)
    }

    /// Bytes allocated outside the struct itself.
    fn heap_bytes(&self) -> usize {
        self.registry.heap_bytes() + self.agent.heap_bytes()
    }
}

/// The bindings of a key: at most one for each agent, the latest. A sorted list, since
/// most keys have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentBindings {
    by_agent: Vec<AgentBinding>,
    heap_bytes: usize,
}

impl AgentBindings {
    fn place(&self, agent: &[u8]) -> Result<usize, usize> {
        self.by_agent.binary_search_by(|binding| binding.agent[..].cmp(agent))
    }

    /// The binding of an agent.
    pub fn of(&self, agent: &[u8]) -> Option<&AgentBinding> {
        self.place(agent).ok().map(|at| &self.by_agent[at])
    }

    /// All bindings, ordered by agent.
    pub fn iter(&self) -> impl Iterator<Item = &AgentBinding> {
        self.by_agent.iter()
    }

    /// The number of bindings.
    pub fn len(&self) -> usize {
        self.by_agent.len()
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.by_agent.is_empty()
    }

    /// Makes a binding. Returns the agent's binding to another registry, which it replaces.
    pub fn bind(&mut self, binding: &AgentBinding) -> Option<AgentBinding> {
        self.heap_bytes += binding.heap_bytes();
        match self.place(&binding.agent) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.by_agent[at], binding.clone());
                self.heap_bytes -= before.heap_bytes();
                Some(before).filter(|before| before.registry != binding.registry)
            }
            Err(at) => {
                self.by_agent.insert(at, binding.clone());
                None
            }
        }
    }

    /// Ends the binding of an agent.
    pub fn unbind(&mut self, agent: &[u8]) -> Option<AgentBinding> {
        let binding = self.by_agent.remove(self.place(agent).ok()?);
        self.heap_bytes -= binding.heap_bytes();
        self.by_agent.give_back_room();
        Some(binding)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        allocated(self.by_agent.capacity() * size_of::<AgentBinding>()) + self.heap_bytes
    }

    /// Recounts their bytes.
    pub fn rebuild(&mut self) {
        self.heap_bytes = self.iter().map(AgentBinding::heap_bytes).sum();
    }

    /// Errs if a binding is out of bounds, or if there are too many.
    pub fn check(&self) -> Result<(), Invariant> {
        if self.len() > BINDINGS_MAX {
            return Err(Invariant("more agents are bound to the key than allowed".into()));
        }
        if !self.by_agent.is_sorted_by(|one, next| one.agent < next.agent) {
            return Err(Invariant("the bindings are not in the order of their agents".into()));
        }
        if !self.iter().all(|binding| binding.admit().is_ok()) {
            return Err(Invariant("a binding to an agent is out of bounds".into()));
        }
        let bytes: usize = self.iter().map(AgentBinding::heap_bytes).sum();
        if bytes != self.heap_bytes {
            return Err(Invariant("the counted bytes of the bindings differ from them".into()));
        }
        Ok(())
    }
}

impl FromIterator<AgentBinding> for AgentBindings {
    fn from_iter<T: IntoIterator<Item = AgentBinding>>(bindings: T) -> Self {
        let mut all = Self::default();
        bindings.into_iter().for_each(|binding| drop(all.bind(&binding)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(registry: &str, agent: &str, epoch: Fence) -> AgentBinding {
        AgentBinding { registry: Bytes::from(registry), agent: Bytes::from(agent), epoch }
    }

    #[test]
    fn the_last_binding_of_an_agent_counts() {
        let mut bindings = AgentBindings::default();
        assert_eq!(bindings.bind(&binding("r", "ada", 1)), None);
        assert_eq!(bindings.bind(&binding("r", "ada", 2)), None, "the same registry");
        assert_eq!(bindings.bind(&binding("q", "ada", 3)), Some(binding("r", "ada", 2)));
        assert_eq!(bindings.of(b"ada"), Some(&binding("q", "ada", 3)));
        assert_eq!(bindings.check(), Ok(()));
        assert_eq!(bindings.unbind(b"ada"), Some(binding("q", "ada", 3)));
        assert!(bindings.is_empty() && bindings.unbind(b"ada").is_none());
    }

    #[test]
    fn bytes_that_are_counted_wrong_are_counted_anew() {
        let mut bindings: AgentBindings =
            [binding("a registry with a long name", "ada", 1), binding("r", "bob", 2)].into_iter().collect();
        bindings.heap_bytes += 1;
        assert!(bindings.check().is_err());
        bindings.rebuild();
        assert_eq!(bindings.check(), Ok(()));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert!(binding("", "ada", 1).admit().is_err());
        assert!(binding("r", "", 1).admit().is_err());
        assert!(binding("r", "ada", 0).admit().is_err());
        assert!(binding("r", &"a".repeat(ID_BYTES_MAX + 1), 1).admit().is_err());
        assert!(binding("r", "ada", 1).admit().is_ok());
    }
}
