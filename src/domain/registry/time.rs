//! What time does to a registry: silence makes agents suspect and then dead, claims end, dead
//! agents are forgotten.
//!
//! Only the primary decides it, and writes the resulting times into the events. A reader on any
//! node may show that an agent is suspect before that is decided ([`View::status`]).

use super::agent::{Agent, Life, Status};
use super::event::{ClaimEnd, RegistryEvent};
use super::slots::{Slot, SlotSet};
use super::{Registry, NEVER};
use crate::domain::value::time::Gaps;
use crate::domain::{Looked, Millis};

/// So many claims that end take as long as the change of an agent.
const CLAIMS_OF_AGENT: usize = 4;

/// The point of view from which a registry is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The time, unix ms.
    pub now: Millis,
    /// Since when this node has heard the heartbeats itself, unix ms: earlier silence is not
    /// counted. After a load or a failover this gives everyone one time to live of grace.
    pub since: Millis,
    /// Spans in which this node could hear nobody: silence in them is not counted.
    pub gaps: Gaps,
    /// Whether this is a replica. It knows heartbeats only roughly, and waits half a
    /// time to live longer.
    pub is_replica: bool,
}

/// What settings decide.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// An agent is dead when it has been silent for this many percent of its time to live; above
    /// 100, where suspicion begins.
    pub dead_percent: u64,
    /// How long a dead agent is remembered, ms.
    pub grace_ms: Millis,
    /// The half-life of the penalty for coming and going, ms; 0 without damping.
    pub damping_half_life_ms: Millis,
    /// Phi at which an agent is suspect; `None` if only the deadline counts.
    pub phi_threshold: Option<u64>,
    /// If at least this share of the agents is silent at a time, none dies for a while,
    /// percent; 0 for never.
    pub hold_share_percent: u8,
    /// The smallest number of silent agents for that.
    pub hold_agents_min: usize,
    /// How much longer an agent may then be silent, in percent of its time to live.
    pub hold_extra_percent: u32,
}

/// What the scheduler has to do about a registry.
#[derive(Debug, Default)]
pub struct Due {
    /// The decided events.
    pub events: Vec<RegistryEvent>,
    /// Agents that were heard of meanwhile, and when to look at them again.
    pub later: Vec<(Slot, Millis)>,
    /// How much work that is.
    pub work: usize,
}

fn share_of(ttl_ms: Millis, percent: u64) -> Millis {
    (u128::from(ttl_ms) * u128::from(percent) / 100) as Millis
}

/// When to look at an agent, at the earliest. Only then is it found out what the grace after a load
/// and the hold add.
pub fn alarm(agent: &Agent) -> Millis {
    match agent.life {
        Life::Alive => agent.pulse.suspect_at.min(undamped_at(agent)),
        Life::Suspect { dead_at, .. } => dead_at.min(undamped_at(agent)),
        Life::Dead { remove_at, .. } => remove_at,
    }
}

fn undamped_at(agent: &Agent) -> Millis {
    agent.flaps.as_ref().map(|flaps| flaps.damped_until).filter(|until| *until > 0).unwrap_or(NEVER)
}

/// Whether so many are silent at a time that the network failed, not the agents, and no
/// hold is in force.
fn is_network(registry: &Registry, policy: &Policy) -> bool {
    registry.hold.is_none()
        && policy.hold_share_percent > 0
        && registry.index.with_status(Status::Suspect).len() >= policy.hold_agents_min
        && registry.is_held_silent(policy.hold_share_percent)
}

impl View {
    /// The status of an agent for a reader, who sees suspicion from the moment it is due.
    pub fn status(&self, registry: &Registry, agent: &Agent) -> Status {
        if self.is_due_suspect(registry, agent) {
            return Status::Suspect;
        }
        agent.decided()
    }

    /// Whether an agent is suspect though that is not decided yet.
    pub fn is_due_suspect(&self, registry: &Registry, agent: &Agent) -> bool {
        matches!(agent.life, Life::Alive) && self.suspect_at(registry, agent) <= self.now
    }

    /// When an agent that is alive becomes suspect.
    pub fn suspect_at(&self, registry: &Registry, agent: &Agent) -> Millis {
        let ttl_ms = agent.profile.ttl_ms;
        let slack = if self.is_replica { ttl_ms / 2 } else { 0 };
        let suspect_at = self.gaps.postpone(agent.pulse.beat, agent.pulse.suspect_at);
        suspect_at.max(self.heard_since(registry).saturating_add(ttl_ms)).saturating_add(slack)
    }

    /// The agents that are suspect though that is not decided yet.
    pub fn due_suspects(&self, registry: &Registry) -> SlotSet {
        let mut suspects = SlotSet::default();
        for (_, slot) in registry.alarms.range(..=(self.now, Slot::MAX)).looked() {
            if registry.at(*slot).is_some_and(|agent| self.is_due_suspect(registry, agent)) {
                suspects.insert(*slot);
            }
        }
        suspects
    }

    fn heard_since(&self, registry: &Registry) -> Millis {
        self.since.max(registry.loaded_at)
    }

    /// When a suspect dies.
    fn dies_at(&self, registry: &Registry, agent: &Agent, dead_at: Millis) -> Millis {
        let ttl_ms = agent.profile.ttl_ms;
        let dead_at = self.gaps.postpone(agent.pulse.beat, dead_at);
        let held = |percent: u32| dead_at.saturating_add(share_of(ttl_ms, percent.into()));
        let now = registry.hold.as_ref().map_or(dead_at, |hold| held(hold.extra_percent));
        // Agents that were silent together come back one after the other.
        let after = registry.past_hold.as_ref();
        let after = after.map_or(0, |past| held(past.extra_percent).min(past.ended_at.saturating_add(ttl_ms)));
        now.max(after).max(self.heard_since(registry).saturating_add(ttl_ms))
    }

    /// What is due: at most `max` pieces of work.
    pub fn due(&self, registry: &Registry, policy: &Policy, max: usize) -> Due {
        let mut due = Due::default();
        if registry.hold.as_ref().is_some_and(|hold| !registry.is_held_silent(hold.share_percent)) {
            due.events.push(RegistryEvent::HoldEnded { at: self.now });
            due.work = 1;
            return due;
        }
        for (_, fence) in registry.claim_ends.range(..=(self.now, u64::MAX)).take(max).looked() {
            if let Some((agent, claim)) = registry.claim(*fence) {
                let (fence, agent) = (claim.fence, agent.id.clone());
                due.events.push(RegistryEvent::Released { fence, agent, at: self.now, end: ClaimEnd::Expired });
            }
        }
        due.work = due.events.len();
        for (_, slot) in registry.alarms.range(..=(self.now, Slot::MAX)).looked() {
            if due.work >= max {
                break;
            }
            let Some(agent) = registry.at(*slot) else { continue };
            // The claims on an agent end with it.
            due.work += 1 + agent.claims.len() / CLAIMS_OF_AGENT;
            match self.decide(registry, policy, agent) {
                Ok(event) => {
                    let holds = matches!(event, RegistryEvent::HoldBegan { .. });
                    due.events.push(event);
                    if holds {
                        break;
                    }
                }
                Err(later) => due.later.push((*slot, later)),
            }
        }
        due
    }

    /// What happens to an agent now, or when to look at it again.
    fn decide(&self, registry: &Registry, policy: &Policy, agent: &Agent) -> Result<RegistryEvent, Millis> {
        let (id, at) = (agent.id.clone(), self.now);
        let undamped_at = undamped_at(agent);
        if undamped_at <= self.now && !agent.is_dead() {
            return Ok(RegistryEvent::Undamped { agent: id, at });
        }
        match agent.life {
            Life::Alive => {
                let suspect_at = self.suspect_at(registry, agent);
                if suspect_at > self.now {
                    return Err(suspect_at.min(undamped_at));
                }
                let ttl_ms = agent.profile.ttl_ms;
                // An early suspicion is no reason for an early death, and a late one
                // still gives time.
                let dead_at = agent.pulse.beat.saturating_add(share_of(ttl_ms, policy.dead_percent));
                let dead_at = dead_at.max(at.saturating_add(share_of(ttl_ms, policy.dead_percent.saturating_sub(100))));
                Ok(RegistryEvent::Suspected { agent: id, at, dead_at })
            }
            Life::Suspect { dead_at, .. } => {
                let dies_at = self.dies_at(registry, agent, dead_at);
                if dies_at > self.now {
                    // A hold may end earlier, and then leaves one time to live.
                    let in_one_ttl = self.now.saturating_add(agent.profile.ttl_ms);
                    return Err(dies_at.min(in_one_ttl).min(undamped_at));
                }
                if self.should_hold(registry, policy, agent, dead_at) {
                    return Ok(self.hold(policy));
                }
                // A damped agent is remembered as long as it is damped.
                let kept_back = agent.flaps.as_ref().map_or(0, |flaps| flaps.damped_until);
                let remove_at = at.saturating_add(policy.grace_ms).max(kept_back);
                Ok(RegistryEvent::Died { agent: id, at, remove_at })
            }
            Life::Dead { remove_at, .. } if remove_at > self.now => Err(remove_at),
            Life::Dead { .. } => Ok(RegistryEvent::Removed { agent: id, at }),
        }
    }

    /// Whether a hold that begins now postpones a death. The hold is bounded: an agent that would
    /// be dead even with it starts none.
    fn should_hold(&self, registry: &Registry, policy: &Policy, agent: &Agent, dead_at: Millis) -> bool {
        let bound = dead_at.saturating_add(share_of(agent.profile.ttl_ms, policy.hold_extra_percent.into()));
        self.now < bound && is_network(registry, policy)
    }

    /// The hold that begins after an agent became suspect, if enough are silent by now. So even a
    /// silence that is too short for any death costs no penalty.
    pub fn hold_after_suspicion(&self, registry: &Registry, policy: &Policy) -> Option<RegistryEvent> {
        is_network(registry, policy).then(|| self.hold(policy))
    }

    fn hold(&self, policy: &Policy) -> RegistryEvent {
        let (share_percent, extra_percent) = (policy.hold_share_percent, policy.hold_extra_percent);
        RegistryEvent::HoldBegan { at: self.now, share_percent, extra_percent }
    }
}
