//! What can happen to a registry.

use super::agent::{Flaps, Health, Profile, Status};
use super::slots::Slot;
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// One step in the life of a registry. Agents are named by id, times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RegistryEvent {
    /// An agent registered, or registered again, which ends the claims on it.
    Registered(Box<Registration>),
    /// An agent deregistered.
    Deregistered {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A heartbeat. Local: never replicated and never saved.
    Pulse {
        /// The slot of the agent, since the event never leaves this node.
        slot: Slot,
        /// When.
        at: Millis,
        /// When further silence makes it suspect.
        suspect_at: Millis,
        /// The load it reports, if it does, thousandths.
        load: Option<u16>,
        /// Whether the detector needs the interval.
        is_measured: bool,
    },
    /// An agent was heard of. One of its heartbeats now and then, so that replicas know roughly.
    Seen {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// Its load, thousandths.
        load: u16,
    },
    /// An agent declared another status.
    StatusChanged {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// The new status.
        status: Status,
    },
    /// An agent's health changed.
    HealthChanged {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// The new health.
        health: Health,
        /// The reason.
        reason: Bytes,
    },
    /// An agent was silent for too long.
    Suspected {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When it dies if it stays silent.
        dead_at: Millis,
    },
    /// A suspect was heard of again.
    Recovered {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// The penalty for its return.
        flaps: Option<Flaps>,
    },
    /// A suspect stayed silent and died, which ends the claims on it.
    Died {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When it is forgotten.
        remove_at: Millis,
    },
    /// A dead agent was forgotten.
    Removed {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A damped agent is offered again.
    Undamped {
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// An agent was claimed.
    Claimed {
        /// The fence of the claim.
        fence: Fence,
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When the lease ends.
        ends_at: Millis,
        /// The claimer's reference.
        reference: Bytes,
    },
    /// A claim ended.
    Released {
        /// The claim.
        fence: Fence,
        /// The agent.
        agent: Bytes,
        /// When.
        at: Millis,
        /// Why.
        end: ClaimEnd,
    },
    /// A hold began: so many agents are silent that the network is at fault, and none
    /// dies for a while.
    HoldBegan {
        /// When.
        at: Millis,
        /// The hold ends when less than this share of the agents is silent, percent.
        share_percent: u8,
        /// How much longer an agent may be silent, in percent of its time to live.
        extra_percent: u32,
    },
    /// The hold ended: enough agents are back.
    HoldEnded {
        /// When.
        at: Millis,
    },
}

/// The new state of a registered agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The agent.
    pub agent: Bytes,
    /// Its new incarnation.
    pub epoch: Fence,
    /// When.
    pub at: Millis,
    /// What it says about itself, now or before.
    pub profile: Profile,
    /// Its first status.
    pub status: Status,
    /// Its returns from silence.
    pub flaps: Option<Flaps>,
}

/// Why a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimEnd {
    /// Its claimer released it.
    Released {
        /// Whether the work was done.
        is_ok: bool,
        /// How long it took, microseconds.
        duration_us: u64,
    },
    /// Its lease expired.
    Expired,
    /// The client that waited for it was gone before it could be told.
    TakenBack,
    /// The registered agent that held it is gone.
    AgentGone,
}

impl RegistryEvent {
    /// The agent that the event is about.
    pub fn agent(&self) -> Option<&Bytes> {
        match self {
            RegistryEvent::Registered(registration) => Some(&registration.agent),
            RegistryEvent::Deregistered { agent, .. }
            | RegistryEvent::Seen { agent, .. }
            | RegistryEvent::StatusChanged { agent, .. }
            | RegistryEvent::HealthChanged { agent, .. }
            | RegistryEvent::Suspected { agent, .. }
            | RegistryEvent::Recovered { agent, .. }
            | RegistryEvent::Died { agent, .. }
            | RegistryEvent::Removed { agent, .. }
            | RegistryEvent::Undamped { agent, .. }
            | RegistryEvent::Claimed { agent, .. }
            | RegistryEvent::Released { agent, .. } => Some(agent),
            RegistryEvent::Pulse { .. } | RegistryEvent::HoldBegan { .. } | RegistryEvent::HoldEnded { .. } => None,
        }
    }

    /// Whether the agent may be offered after it to a claimer that it was not offered to before.
    pub fn may_free(&self) -> bool {
        matches!(
            self,
            RegistryEvent::Registered(_)
                | RegistryEvent::StatusChanged { .. }
                | RegistryEvent::HealthChanged { .. }
                | RegistryEvent::Recovered { .. }
                | RegistryEvent::Undamped { .. }
                | RegistryEvent::Released { .. }
        )
    }

    /// When it happened, unix ms.
    pub fn at(&self) -> Millis {
        match self {
            RegistryEvent::Registered(registration) => registration.at,
            RegistryEvent::Deregistered { at, .. }
            | RegistryEvent::Pulse { at, .. }
            | RegistryEvent::Seen { at, .. }
            | RegistryEvent::StatusChanged { at, .. }
            | RegistryEvent::HealthChanged { at, .. }
            | RegistryEvent::Suspected { at, .. }
            | RegistryEvent::Recovered { at, .. }
            | RegistryEvent::Died { at, .. }
            | RegistryEvent::Removed { at, .. }
            | RegistryEvent::Undamped { at, .. }
            | RegistryEvent::Claimed { at, .. }
            | RegistryEvent::Released { at, .. }
            | RegistryEvent::HoldBegan { at, .. }
            | RegistryEvent::HoldEnded { at } => *at,
        }
    }
}

impl Event for RegistryEvent {
    const NAMES: &'static [&'static str] = &[
        "agent.registered",
        "agent.deregistered",
        "agent.status",
        "agent.health",
        "agent.suspected",
        "agent.recovered",
        "agent.died",
        "agent.removed",
        "agent.undamped",
        "agent.claimed",
        "agent.claimexpired",
        "agent.released",
        "registry.held",
        "registry.resumed",
    ];

    fn name(&self) -> Option<&'static str> {
        Some(match self {
            RegistryEvent::Pulse { .. } | RegistryEvent::Seen { .. } => return None,
            RegistryEvent::Registered(_) => "agent.registered",
            RegistryEvent::Deregistered { .. } => "agent.deregistered",
            RegistryEvent::StatusChanged { .. } => "agent.status",
            RegistryEvent::HealthChanged { .. } => "agent.health",
            RegistryEvent::Suspected { .. } => "agent.suspected",
            RegistryEvent::Recovered { .. } => "agent.recovered",
            RegistryEvent::Died { .. } => "agent.died",
            RegistryEvent::Removed { .. } => "agent.removed",
            RegistryEvent::Undamped { .. } => "agent.undamped",
            RegistryEvent::Claimed { .. } => "agent.claimed",
            RegistryEvent::Released { end: ClaimEnd::Expired, .. } => "agent.claimexpired",
            RegistryEvent::Released { .. } => "agent.released",
            RegistryEvent::HoldBegan { .. } => "registry.held",
            RegistryEvent::HoldEnded { .. } => "registry.resumed",
        })
    }

    fn agent(&self) -> Option<&[u8]> {
        match self {
            RegistryEvent::Registered(registration) => Some(&registration.agent),
            RegistryEvent::Deregistered { agent, .. }
            | RegistryEvent::Seen { agent, .. }
            | RegistryEvent::StatusChanged { agent, .. }
            | RegistryEvent::HealthChanged { agent, .. }
            | RegistryEvent::Suspected { agent, .. }
            | RegistryEvent::Recovered { agent, .. }
            | RegistryEvent::Died { agent, .. }
            | RegistryEvent::Removed { agent, .. }
            | RegistryEvent::Undamped { agent, .. }
            | RegistryEvent::Claimed { agent, .. }
            | RegistryEvent::Released { agent, .. } => Some(agent),
            RegistryEvent::Pulse { .. } | RegistryEvent::HoldBegan { .. } | RegistryEvent::HoldEnded { .. } => None,
        }
    }

    fn fence(&self) -> Option<Fence> {
        match self {
            RegistryEvent::Registered(registration) => Some(registration.epoch),
            RegistryEvent::Claimed { fence, .. } => Some(*fence),
            _ => None,
        }
    }

    fn connection(&self) -> Option<Connection> {
        None
    }

    fn is_local(&self) -> bool {
        matches!(self, RegistryEvent::Pulse { .. })
    }

    fn describe(&self, json: &mut EventJson) {
        json.number("at_ms", self.at());
        if let Some(agent) = self.agent() {
            json.text("agent", agent);
        }
        match self {
            RegistryEvent::Registered(registration) => {
                json.number("epoch", registration.epoch);
                json.word("status", registration.status.word());
                json.number("capacity", registration.profile.capacity.into());
                tell_flaps(json, registration.flaps.as_ref());
            }
            RegistryEvent::StatusChanged { status, .. } => json.word("status", status.word()),
            RegistryEvent::HealthChanged { health, reason, .. } => {
                json.word("health", health.word());
                if !reason.is_empty() {
                    json.text("reason", reason);
                }
            }
            RegistryEvent::Suspected { dead_at, .. } => json.number("dead_at_ms", *dead_at),
            RegistryEvent::Recovered { flaps, .. } => tell_flaps(json, flaps.as_ref()),
            RegistryEvent::Died { remove_at, .. } => json.number("remove_at_ms", *remove_at),
            RegistryEvent::Claimed { fence, ends_at, reference, .. } => {
                json.number("fence", *fence);
                json.number("ends_at_ms", *ends_at);
                if !reference.is_empty() {
                    json.text("ref", reference);
                }
            }
            RegistryEvent::Released { fence, end, .. } => {
                json.number("fence", *fence);
                match end {
                    ClaimEnd::Released { is_ok, duration_us } => {
                        json.word("outcome", if *is_ok { "ok" } else { "fail" });
                        json.number("latency_us", *duration_us);
                    }
                    ClaimEnd::Expired => json.word("outcome", "expired"),
                    ClaimEnd::TakenBack => json.word("outcome", "taken back"),
                    ClaimEnd::AgentGone => json.word("outcome", "agent gone"),
                }
            }
            _ => {}
        }
    }
}

fn tell_flaps(json: &mut crate::domain::entity::event_json::EventJson, flaps: Option<&Flaps>) {
    if let Some(until) = flaps.map(|flaps| flaps.damped_until).filter(|until| *until > 0) {
        json.number("damped_until_at_ms", until);
    }
}
