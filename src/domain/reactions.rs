//! What follows in one key from what happened in another: the only place where services meet.
//!
//! There is one cause, and there are many effects:
//!
//! ```text
//! a registry: an incarnation of an agent ended         every key that it is bound to
//!   it died, deregistered, or registered anew    ->    lock: passed to the next waiter
//!                                                      registry: its claims end
//!                                                      buffer: its pins end
//!                                                      flow: its tasks return
//!                                                      mailbox: its messages return
//!                                                      session, context: it leaves
//! ```
//!
//! A loop is impossible. A reaction begins with an event for which [`departed`] names an agent, and
//! all such events are events of a registry. The only registry events among the effects are ends of
//! claims, for which it names none. So a reaction never causes another (see the test below).
//!
//! Nothing is done twice and nothing is forgotten: the state shows at any time whether something is
//! left to do. An [`AgentBinding`] has ended if its registry does not have that incarnation alive,
//! and the binding is removed together with what was held.

use super::buffer::Buffer;
use super::cache::{Cache, CacheEvent, TicketEnd};
use super::entity::event_log::Log;
use super::entity::expiry::Expired;
use super::flow::Flow;
use super::lock::Lock;
use super::mail::Mail;
use super::registry::{Registry, RegistryEvent};
use super::versioned::{Resource, Resources, State, Versioned};
use super::Record;
use super::{buffer, flow, lock, mail, registry, versioned, AgentBinding, Bytes, Connection, Entity, Fence, Millis};
use std::collections::BTreeSet;

/// The agent whose incarnation a registry event ends.
pub fn departed(event: &RegistryEvent) -> Option<&Bytes> {
    match event {
        RegistryEvent::Registered(_) | RegistryEvent::Deregistered { .. } | RegistryEvent::Died { .. } => event.agent(),
        _ => None,
    }
}

/// Whether the incarnation of a binding has ended in its registry, which is `None` if
/// there is no such key.
pub fn has_ended(binding: &AgentBinding, registry: Option<&Registry>) -> bool {
    let agent = registry.and_then(|registry| registry.agent(&binding.agent));
    !agent.is_some_and(|agent| agent.epoch == binding.epoch && !agent.is_dead())
}

/// What effects depend on besides the value of their key.
#[derive(Debug, Clone, Copy)]
pub struct ReactionEnv {
    /// Now, unix ms.
    pub at: Millis,
    /// How tasks are retried.
    pub tasks: flow::work::Policy,
    /// What happens to messages that nobody acknowledges.
    pub mails: mail::decide::Policy,
    /// How long an answer is awaited after its computing client has disconnected, unix ms.
    pub orphans_until: Millis,
}

/// What an ended session gives back of one resource.
#[derive(Debug)]
pub struct Debt<'a> {
    /// The resource, with the agents that gave it to the session.
    pub resource: &'a Resource,
    /// The participants, and the session itself under the name of its key.
    pub people: &'a BTreeSet<Bytes>,
    /// The reference on its claims: the name of its key.
    pub session: &'a [u8],
    /// Whether users are bound to their names. Then a giver cannot end claims that
    /// others have made.
    pub is_bound: bool,
    /// The fence of the session's end. What was granted later is kept.
    pub until: Fence,
    /// Now, unix ms.
    pub at: Millis,
}

/// What a session owned that Redis has deleted, at the end of its TTL or to evict it.
#[derive(Debug, Clone)]
pub struct Estate {
    /// Its participants.
    pub people: BTreeSet<Bytes>,
    /// What belonged to it.
    pub resources: Resources,
    /// The fence of its end; 0 before that is drawn.
    pub until: Fence,
}

/// What is left of a value that Redis has deleted by itself.
#[derive(Debug, Clone)]
pub struct Remains {
    /// What its end is called.
    pub event: Option<&'static str>,
    /// Its last revision.
    pub revision: u64,
    /// Who has lost something by its end.
    pub loser: Option<Bytes>,
    /// Its log with that event, for its watchers.
    pub log: Option<Box<Log>>,
    /// What it owned.
    pub estate: Option<Estate>,
}

/// What is left of a value that Redis deletes at `at`; `None` if nothing follows.
pub fn remains<E: Reacts>(stored: &Record<E>, at: Millis, is_watched: bool) -> Option<Remains> {
    let expired = stored.expired(at, is_watched);
    let (revision, estate) = (stored.revision, stored.state.estate());
    let is_followed = expired.is_some() || estate.is_some();
    let event = expired.as_ref().map(|expired| expired.event);
    let Expired { loser, log, .. } = expired.unwrap_or_default();
    is_followed.then_some(Remains { event, revision, loser, log, estate })
}

impl Debt<'_> {
    fn is_of(&self, holder: &[u8]) -> bool {
        self.resource.frees(holder, |holder| self.people.contains(holder))
    }

    fn names_all(&self) -> bool {
        self.resource.givers().any(|giver| giver.is_empty())
    }

    fn named(&self) -> impl Iterator<Item = &Bytes> {
        self.resource.givers().filter(|giver| !giver.is_empty())
    }
}

/// What happens to a value when something outside it ends.
pub trait Reacts: Entity {
    /// The incarnation of `binding` has ended: what it held here is released or
    /// returned, and it leaves. At least `max` of the events, if there are as many.
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, max: usize) -> Vec<Self::Event>;

    /// The session that this belongs to has ended: the first `max` things that it gives back.
    fn session_ended(&self, _debt: &Debt, _max: usize) -> Vec<Self::Event> {
        Vec::new()
    }

    /// What has to be given back if Redis deletes this.
    fn estate(&self) -> Option<Estate> {
        None
    }

    /// A connection has ended.
    fn disconnected(&self, _connection: Connection, _env: &ReactionEnv) -> Vec<Self::Event> {
        Vec::new()
    }

    /// Takes back what was granted under `fence`, since the client was gone before it could be
    /// told. `None` if nothing is held under it.
    fn taken_back(&self, _fence: Fence, _at: Millis) -> Option<Self::Event> {
        None
    }
}

impl Reacts for Lock {
    fn agent_gone(&self, binding: &AgentBinding, _env: &ReactionEnv, max: usize) -> Vec<Self::Event> {
        lock::decide::agent_gone(self, &binding.agent, max)
    }

    fn session_ended(&self, debt: &Debt, max: usize) -> Vec<Self::Event> {
        lock::decide::released(self, |owner| debt.is_of(owner), debt.until, max)
    }

    fn disconnected(&self, connection: Connection, _env: &ReactionEnv) -> Vec<Self::Event> {
        lock::decide::disconnect(self, connection)
    }

    fn taken_back(&self, fence: Fence, _at: Millis) -> Option<Self::Event> {
        lock::decide::take_back(self, fence)
    }
}

impl Reacts for Registry {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, max: usize) -> Vec<Self::Event> {
        registry::decide::claimer_gone(self, &binding.agent, max, env.at)
    }

    /// The claims of the session end, and those whose reference is the name of a giver.
    fn session_ended(&self, debt: &Debt, max: usize) -> Vec<Self::Event> {
        let of_session = (!debt.is_bound || debt.names_all()).then(|| self.claims_with(debt.session, debt.until));
        let of_givers = debt.named().flat_map(|giver| self.claims_under(giver, debt.until));
        let claims = of_session.into_iter().flatten().chain(of_givers).take(max);
        registry::decide::release_all(self, claims, debt.at)
    }

    fn taken_back(&self, fence: Fence, at: Millis) -> Option<Self::Event> {
        registry::decide::take_back(self, fence, at)
    }
}

impl Reacts for Flow {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, _max: usize) -> Vec<Self::Event> {
        flow::work::agent_gone(self, &binding.registry, &binding.agent, &env.tasks, env.at)
    }

    fn taken_back(&self, fence: Fence, at: Millis) -> Option<Self::Event> {
        flow::work::take_back(self, fence, at)
    }
}

impl Reacts for Mail {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, _max: usize) -> Vec<Self::Event> {
        mail::decide::agent_gone(self, &binding.agent, &env.mails, env.at)
    }

    fn taken_back(&self, fence: Fence, at: Millis) -> Option<Self::Event> {
        mail::decide::take_back(self, fence, at)
    }
}

impl Reacts for Buffer {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, max: usize) -> Vec<Self::Event> {
        buffer::decide::agent_gone(self, &binding.agent, max, env.at)
    }

    fn session_ended(&self, debt: &Debt, max: usize) -> Vec<Self::Event> {
        let of_people = debt.names_all().then_some(debt.people).into_iter().flatten();
        let holders = of_people.chain(debt.named().flat_map(|giver| self.agents_under(giver)));
        holders.flat_map(|holder| buffer::decide::let_go(self, holder, debt.at)).take(max).collect()
    }
}

impl<S: State> Reacts for Versioned<S> {
    fn agent_gone(&self, binding: &AgentBinding, env: &ReactionEnv, _max: usize) -> Vec<Self::Event> {
        versioned::decide::leave(self, &binding.agent, env.at).into_iter().collect()
    }

    fn estate(&self) -> Option<Estate> {
        let people = || self.participants().keys().cloned().collect();
        (!self.resources().is_empty()).then(|| Estate {
            people: people(),
            resources: self.resources().clone(),
            until: 0,
        })
    }
}

impl Reacts for Cache {
    /// A ticket is bound to its connection, not to an agent.
    fn agent_gone(&self, _binding: &AgentBinding, _env: &ReactionEnv, _max: usize) -> Vec<Self::Event> {
        Vec::new()
    }

    /// A client may continue over another connection, so its answers are awaited a little longer.
    fn disconnected(&self, connection: Connection, env: &ReactionEnv) -> Vec<Self::Event> {
        let abandoned = |ticket| CacheEvent::Abandoned { ticket, until: env.orphans_until };
        self.tickets_of(connection).into_iter().map(abandoned).collect()
    }

    fn taken_back(&self, ticket: Fence, _at: Millis) -> Option<Self::Event> {
        self.of_ticket(ticket).map(|_| CacheEvent::TicketEnded { ticket, why: TicketEnd::TakenBack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use super::{registry::decide::register, registry::decide::RegisterArgs};
    use crate::domain::Clock;

    const AT: Millis = 1_767_225_600_000;

    fn registered(registry: &mut Registry, agent: &str, fences: &mut Clock) -> RegistryEvent {
        let args = RegisterArgs { capacity: Some(5), ..RegisterArgs::default() };
        let policy = crate::domain::registry::time::Policy {
            dead_percent: 200,
            grace_ms: 1000,
            damping_half_life_ms: 0,
            phi_threshold: None,
            hold_share_percent: 0,
            hold_agents_min: 0,
            hold_extra_percent: 0,
        };
        let event = register(registry, agent.as_bytes(), args, 1000, &policy, fences).expect("it can register");
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
        let effects = registry::decide::claimer_gone(&registry, &binding.agent, 9, AT);
        assert_eq!(effects.len(), 3);
        assert!(effects.iter().all(|effect| departed(effect).is_none()), "{effects:?}");
        assert_eq!(departed(&begun).map(|agent| &agent[..]), Some(&b"ada"[..]));
    }

    #[test]
    fn a_binding_lasts_as_long_as_its_incarnation() {
        let (mut registry, mut fences) = (Registry::default(), Clock::default());
        fences.set_now_us(AT * 1000);
        registered(&mut registry, "ada", &mut fences);
        let epoch = registry.agent(b"ada").expect("it is there").epoch;
        let binding = |epoch| AgentBinding { registry: "r".into(), agent: "ada".into(), epoch };
        assert!(!has_ended(&binding(epoch), Some(&registry)));
        assert!(has_ended(&binding(epoch - 2), Some(&registry)), "an earlier one");
        assert!(has_ended(&binding(epoch), None), "no registry");
        registry.apply(&RegistryEvent::Suspected { agent: "ada".into(), at: AT, dead_at: AT + 1000 });
        assert!(!has_ended(&binding(epoch), Some(&registry)), "a suspect is not dead");
        registry.apply(&RegistryEvent::Died { agent: "ada".into(), at: AT, remove_at: AT + 1000 });
        assert!(has_ended(&binding(epoch), Some(&registry)));
        registered(&mut registry, "ada", &mut fences);
        assert!(has_ended(&binding(epoch), Some(&registry)), "another incarnation");
    }
}
