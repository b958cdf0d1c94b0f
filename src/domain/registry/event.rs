//! What can happen to a registry.

use super::agent::{Flaps, Health, Profile, Status};
use super::slots::Slot;
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// One step in the life of a registry. Agents are named by id, times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RegistryEvent {
    /// An agent registered, or registered again: what is claimed of it is free then.
    Registered(Box<Registration>),
    /// An agent said good-bye.
    Deregistered {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A heartbeat that only this node hears of: never replicated, never saved.
    Pulse {
        /// Who: the slot, since the event never leaves this node.
        slot: Slot,
        /// When.
        at: Millis,
        /// When silence from now on makes it suspect.
        suspect_at: Millis,
        /// The load it reports, thousandths, if it does.
        load: Option<u16>,
        /// Whether the detector wants the interval.
        is_measured: bool,
    },
    /// An agent was heard of: one of its heartbeats, now and then, so that replicas know roughly.
    Seen {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// Its load, thousandths.
        load: u16,
    },
    /// An agent declared another status.
    StatusChanged {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// What it is now.
        status: Status,
    },
    /// An agent's health changed.
    HealthChanged {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// How it is now.
        health: Health,
        /// Why.
        reason: Bytes,
    },
    /// An agent was silent for too long.
    Suspected {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When it is dead if it stays silent.
        dead_at: Millis,
    },
    /// A suspect was heard of again.
    Recovered {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// What that costs it.
        flaps: Option<Flaps>,
    },
    /// A suspect stayed silent: what is claimed of it is free.
    Died {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When it is forgotten.
        remove_at: Millis,
    },
    /// A dead agent was forgotten.
    Removed {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// An agent that was kept back for coming and going is offered again.
    Undamped {
        /// Who.
        agent: Bytes,
        /// When.
        at: Millis,
    },
    /// A unit of an agent's capacity was reserved.
    Claimed {
        /// Its name.
        fence: Fence,
        /// Of whom.
        agent: Bytes,
        /// When.
        at: Millis,
        /// When the lease ends.
        ends_at: Millis,
        /// What the claimer wrote on it.
        reference: Bytes,
    },
    /// A reservation is over.
    Released {
        /// Which.
        fence: Fence,
        /// Of whom.
        agent: Bytes,
        /// When.
        at: Millis,
        /// Why.
        end: ClaimEnd,
    },
    /// So many agents are silent that it is not they who are broken: nobody dies for a while.
    HoldBegan {
        /// When.
        at: Millis,
        /// The hold ends when fewer than this share of the agents is silent, percent.
        share_percent: u8,
        /// So much longer, in percent of its time to live, may an agent be silent.
        extra_percent: u32,
    },
    /// Enough of them are back.
    HoldEnded {
        /// When.
        at: Millis,
    },
}

/// What a registration makes of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Who.
    pub agent: Bytes,
    /// Its incarnation from now on.
    pub epoch: Fence,
    /// When.
    pub at: Millis,
    /// What it says of itself, with what it said before and did not say again.
    pub profile: Profile,
    /// The status it begins with.
    pub status: Status,
    /// How it came and went.
    pub flaps: Option<Flaps>,
}

/// Why a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimEnd {
    /// Its claimer gave it back.
    Released {
        /// Whether the work was done.
        is_ok: bool,
        /// How long it took, microseconds.
        duration_us: u64,
    },
    /// Its lease ran out.
    Expired,
    /// The client that waited for it was gone before it could be told.
    TakenBack,
    /// The registered agent that had it is gone.
    AgentGone,
}

impl RegistryEvent {
    /// The agent it is about.
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

    /// Whether its agent may be offered after it to who was not offered it before.
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
        json.number("damped_until_ms", until);
    }
}
