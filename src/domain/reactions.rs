//! What follows in one key from what happened in another: the only place where services meet.
//!
//! There is one cause, and there are many effects:
//!
//! ```text
//! a registry: an incarnation of an agent is over         every key that it is bound to
//!   it died, said good-bye, or registered anew    ->     lock: passed on to who waits      flow: its tasks return
//!                                                        registry: its claims end         mailbox: its messages come back
//!                                                        buffer: its pins go              session, context: it leaves
//! ```
//!
//! A loop is impossible. A reaction begins with an event for which [`departed`] names an agent, and
//! all of these are events of a registry. The only events of a registry among the effects are ends
//! of claims, for which it names none. So a reaction never causes another (see the test below).
//!
//! Nothing is done twice and nothing is forgotten: whether something is left to do can be read off
//! the state at any time. An [`AgentBinding`] has ended if its registry does not have that
//! incarnation alive, and the binding goes together with what was held.

use super::buffer::Buffer;
use super::cache::Cache;
use super::flow::Flow;
use super::lock::Lock;
use super::mail::Mail;
use super::registry::{Registry, RegistryEvent};
use super::versioned::{State, Versioned};
use super::{buffer, flow, lock, mail, registry, versioned, AgentBinding, Bytes, Entity, Millis};
use crate::domain::registry::agent::Life;

/// The agent whose incarnation is over by an event of its registry.
pub fn departed(event: &RegistryEvent) -> Option<&Bytes> {
    match event {
        RegistryEvent::Registered(_) | RegistryEvent::Deregistered { .. } | RegistryEvent::Died { .. } => event.agent(),
        _ => None,
    }
}

/// Whether the incarnation of a bond is over in its registry, which is `None` if there is no such key.
pub fn is_over(binding: &AgentBinding, registry: Option<&Registry>) -> bool {
    let agent = registry.and_then(|registry| registry.agent(&binding.agent));
    !agent.is_some_and(|agent| agent.epoch == binding.epoch && !matches!(agent.life, Life::Dead { .. }))
}

/// What effects depend on beside the value of their key.
#[derive(Debug, Clone, Copy)]
pub struct ReactionEnv {
    /// Now, unix ms.
    pub at: Millis,
    /// How tasks are tried again.
    pub tasks: flow::work::Policy,
    /// What becomes of messages that nobody acknowledges.
    pub mails: mail::decide::Policy,
}

/// A service in which agents hold something.
pub trait Reacts: Entity {
    /// What happens if the incarnation of `binding` is over: what it held here is released, returned or left.
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event>;
}

impl Reacts for Lock {
    fn agent_gone(&self, binding: &AgentBinding, _moment: &ReactionEnv) -> Vec<Self::Event> {
        lock::decide::agent_gone(self, &binding.agent)
    }
}

impl Reacts for Registry {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event> {
        registry::decide::claimer_gone(self, &binding.agent, env.at)
    }
}

impl Reacts for Flow {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event> {
        flow::work::agent_gone(self, &binding.registry, &binding.agent, &env.tasks, env.at)
    }
}

impl Reacts for Mail {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event> {
        mail::decide::agent_gone(self, &binding.agent, &env.mails, env.at)
    }
}

impl Reacts for Buffer {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event> {
        buffer::decide::agent_gone(self, &binding.agent, env.at)
    }
}

impl<S: State> Reacts for Versioned<S> {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv) -> Vec<Self::Event> {
        versioned::decide::leave(self, &binding.agent, env.at).into_iter().collect()
    }
}

impl Reacts for Cache {
    /// A ticket is bound to the connection of its holder, not to an agent.
    fn agent_gone(&self, _bond: &AgentBinding, _moment: &ReactionEnv) -> Vec<Self::Event> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use super::{registry::decide::register, registry::decide::Introduction};
    use crate::domain::Clock;

    const AT: Millis = 1_767_225_600_000;

    fn registered(registry: &mut Registry, agent: &str, fences: &mut Clock) -> RegistryEvent {
        let said = Introduction { capacity: Some(5), ..Introduction::default() };
        let policy = crate::domain::registry::time::Policy {
            dead_percent: 200,
            grace_ms: 1000,
            damping_half_life_ms: 0,
            phi_threshold: None,
            hold_share_percent: 0,
            hold_agents_min: 0,
            hold_extra_percent: 0,
        };
        let event = register(registry, agent.as_bytes(), said, 1000, &policy, fences).expect("it can register");
        registry.apply(&event);
        event
    }

    #[test]
    fn no_effect_is_a_cause() {
        let (mut registry, mut fences) = (Registry::default(), Clock::default());
        fences.set_now_us(AT * 1000);
        let begun = registered(&mut registry, "ada", &mut fences);
        registered(&mut registry, "worker", &mut fences);
        for _ in 0..3 {
            let (fence, agent, reference) = (fences.next_fence(), "worker".into(), "ada".into());
            registry.apply(&RegistryEvent::Claimed { fence, agent, at: AT, ends_at: AT + 1000, reference });
        }
        let binding = AgentBinding { registry: "r".into(), agent: "ada".into(), epoch: 1 };
        let effects = registry::decide::claimer_gone(&registry, &binding.agent, AT);
        assert_eq!(effects.len(), 3);
        assert!(effects.iter().all(|effect| departed(effect).is_none()), "{effects:?}");
        assert_eq!(departed(&begun).map(|agent| &agent[..]), Some(&b"ada"[..]));
    }

    #[test]
    fn a_bond_lasts_as_long_as_its_incarnation() {
        let (mut registry, mut fences) = (Registry::default(), Clock::default());
        fences.set_now_us(AT * 1000);
        registered(&mut registry, "ada", &mut fences);
        let epoch = registry.agent(b"ada").expect("it is there").epoch;
        let binding = |epoch| AgentBinding { registry: "r".into(), agent: "ada".into(), epoch };
        assert!(!is_over(&binding(epoch), Some(&registry)));
        assert!(is_over(&binding(epoch - 2), Some(&registry)), "an earlier one");
        assert!(is_over(&binding(epoch), None), "no registry");
        registry.apply(&RegistryEvent::Suspected { agent: "ada".into(), at: AT, dead_at: AT + 1000 });
        assert!(!is_over(&binding(epoch), Some(&registry)), "a suspect is not dead");
        registry.apply(&RegistryEvent::Died { agent: "ada".into(), at: AT, remove_at: AT + 1000 });
        assert!(is_over(&binding(epoch), Some(&registry)));
        registered(&mut registry, "ada", &mut fences);
        assert!(is_over(&binding(epoch), Some(&registry)), "another incarnation");
    }
}
