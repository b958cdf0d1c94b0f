//! One agent: its profile, its state, and the claims on it.

use super::detector::Intervals;
use crate::domain::value::capability::{Capability, Requirement};
use crate::domain::{Bytes, Fence, Millis};
use serde::{Deserialize, Serialize};

/// The status of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Registered, not yet ready.
    Starting,
    /// Ready or at work.
    Active,
    /// Ready, nothing to do.
    Idle,
    /// At work; takes no more.
    Busy,
    /// Finishes what it has and takes nothing new.
    Draining,
    /// Silent for too long.
    Suspect,
    /// Silent for so long that it counts as dead.
    Dead,
    /// Reports that something is wrong with it.
    Error,
}

impl Status {
    /// All statuses, in the order in which they are listed.
    pub const ALL: [Status; 8] = [
        Status::Starting,
        Status::Active,
        Status::Idle,
        Status::Busy,
        Status::Draining,
        Status::Suspect,
        Status::Dead,
        Status::Error,
    ];

    /// The words of [`ALL`](Self::ALL), in upper case as the parser needs them.
    pub const WORDS: [&'static str; 8] = ["STARTING", "ACTIVE", "IDLE", "BUSY", "DRAINING", "SUSPECT", "DEAD", "ERROR"];

    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Starting => "starting",
            Status::Active => "active",
            Status::Idle => "idle",
            Status::Busy => "busy",
            Status::Draining => "draining",
            Status::Suspect => "suspect",
            Status::Dead => "dead",
            Status::Error => "error",
        }
    }

    /// The statuses that an agent may declare in its heartbeats after this one. Suspect and dead
    /// are never declared: silence makes an agent suspect and then dead, a heartbeat ends the
    /// suspicion, and only a registration ends death.
    ///
    /// ```text
    /// starting -> active idle busy draining error
    /// active   ->        idle busy draining error      (so do idle and busy)
    /// draining ->                           error      (has to register again to get new work)
    /// error    -> active idle busy draining
    /// ```
    pub const fn next(self) -> &'static [Status] {
        use Status::{Active, Busy, Draining, Error, Idle};
        match self {
            Status::Starting | Status::Active | Status::Idle | Status::Busy => &[Active, Idle, Busy, Draining, Error],
            Status::Draining => &[Draining, Error],
            Status::Error => &[Error, Active, Idle, Busy, Draining],
            Status::Suspect | Status::Dead => &[],
        }
    }

    /// Whether an agent can declare it.
    pub const fn is_declared(self) -> bool {
        !matches!(self, Status::Suspect | Status::Dead)
    }
}

/// The health that an agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Well.
    Ok,
    /// Works, but others should be preferred.
    Degraded,
    /// Sends heartbeats but can do nothing: it is not offered.
    Failed,
}

impl Health {
    /// The words of the three, in upper case.
    pub const WORDS: [&'static str; 3] = ["OK", "DEGRADED", "FAILED"];
    /// In the order of [`WORDS`](Self::WORDS).
    pub const ALL: [Health; 3] = [Health::Ok, Health::Degraded, Health::Failed];

    /// The word in replies.
    pub const fn word(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Degraded => "degraded",
            Health::Failed => "failed",
        }
    }
}

/// What an agent says about itself when it registers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name, for people.
    pub name: Bytes,
    /// Its capabilities, sorted and without duplicates.
    pub caps: Box<[Capability]>,
    /// Its tags, sorted and without duplicates.
    pub tags: Box<[Bytes]>,
    /// JSON text; empty if there is none.
    pub meta: Bytes,
    /// The session it belongs to; empty if none.
    pub session: Bytes,
    /// How many claims it takes at a time.
    pub capacity: u32,
    /// How long it may be silent, ms.
    pub ttl_ms: Millis,
}

impl Profile {
    /// Whether it meets a requirement.
    pub fn can(&self, wanted: &Requirement) -> bool {
        let first = self.caps.partition_point(|cap| cap.name < wanted.name);
        let same = self.caps[first..].iter().take_while(|cap| cap.name == wanted.name);
        same.into_iter().any(|cap| wanted.is_met_by(cap))
    }

    fn heap_bytes(&self) -> usize {
        let caps: usize = self.caps.iter().map(|cap| size_of::<Capability>() + cap.name.heap_bytes()).sum();
        let tags: usize = self.tags.iter().map(|tag| size_of::<Bytes>() + tag.heap_bytes()).sum();
        caps + tags + self.name.heap_bytes() + self.meta.heap_bytes() + self.session.heap_bytes()
    }
}

/// The effect of silence on an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Heard of in time.
    Alive,
    /// Silent; dies at `dead_at` if it stays silent.
    Suspect {
        /// Since when, unix ms.
        since: Millis,
        /// Until when, unix ms.
        dead_at: Millis,
    },
    /// Dead; forgotten at `remove_at`.
    Dead {
        /// Since when, unix ms.
        since: Millis,
        /// Until when it is remembered, unix ms.
        remove_at: Millis,
    },
}

/// A claim: the reservation of one unit of an agent's capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The fence of the claim.
    pub fence: Fence,
    /// When it was made, unix ms.
    pub since: Millis,
    /// When its lease ends, unix ms.
    pub ends_at: Millis,
    /// The claimer's reference.
    pub reference: Bytes,
}

/// How often an agent recently returned from silence, see [`damping`](super::damping).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Flaps {
    /// The penalty at `at`. It halves with every half-life.
    pub penalty: u32,
    /// The time of the penalty, unix ms.
    pub at: Millis,
    /// Until when it is not offered, unix ms; 0 if it is offered.
    pub damped_until: Millis,
}

/// The results of its claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Claims released as OK.
    pub succeeded: u64,
    /// Claims released as FAIL.
    pub failed: u64,
    /// Exponentially weighted mean of their durations, microseconds; 0 if none was measured.
    pub latency_us: u64,
}

impl TrackRecord {
    /// The newest duration counts one part in this many.
    const WEIGHT: u64 = 4;

    /// Adds the outcome of one claim.
    pub fn add(&mut self, is_ok: bool, duration_us: u64) {
        *(if is_ok { &mut self.succeeded } else { &mut self.failed }) += 1;
        // Never 0, which means that nothing was measured.
        let mean = if self.latency_us == 0 {
            duration_us
        } else {
            ((u128::from(self.latency_us) * u128::from(Self::WEIGHT - 1) + u128::from(duration_us))
                / u128::from(Self::WEIGHT)) as u64
        };
        self.latency_us = mean.max(1);
    }
}

/// One agent. Fields after `#[serde(skip)]` are neither saved nor sent: each node has its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: Bytes,
    /// Its incarnation: the fence of its last registration.
    pub epoch: Fence,
    /// What it says about itself.
    pub profile: Profile,
    /// The status it last declared.
    pub declared: Status,
    /// The effect of silence.
    pub life: Life,
    /// The health that it reports.
    pub health: Health,
    /// The reason for its health.
    pub reason: Bytes,
    /// When it registered last, unix ms.
    pub registered_at: Millis,
    /// The last heartbeat that all nodes know of, unix ms.
    pub seen: Millis,
    /// The load that all nodes know of, thousandths.
    pub load: u16,
    /// Its returns from silence.
    pub flaps: Option<Box<Flaps>>,
    /// The results of its claims.
    pub record: TrackRecord,
    /// The claims on it, ordered by fence.
    pub claims: Vec<Claim>,
    /// Its heartbeats as this node hears them.
    #[serde(skip)]
    pub pulse: Pulse,
}

/// What this node knows of an agent's heartbeats, and the agent's place in the indexes.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    /// The last heartbeat, unix ms.
    pub beat: Millis,
    /// When it becomes suspect, unix ms.
    pub suspect_at: Millis,
    /// The load it reported last, thousandths.
    pub load: u16,
    /// Its place in the indexes.
    pub place: Place,
    /// The intervals between its heartbeats, if the detector needs them.
    pub intervals: Option<Box<Intervals>>,
}

impl Agent {
    /// Whether it is dead and only still shown.
    pub fn is_dead(&self) -> bool {
        matches!(self.life, Life::Dead { .. })
    }

    /// Whether the primary has decided that it is not offered for a while, since it returned from
    /// silence too often.
    pub fn is_damped(&self) -> bool {
        self.flaps.as_ref().is_some_and(|flaps| flaps.damped_until > 0)
    }

    /// The number of claims that it can still take.
    pub fn free(&self) -> u32 {
        self.profile.capacity.saturating_sub(self.claims.len() as u32)
    }

    /// Its load, thousandths: what it reported, or the claimed share of its capacity
    /// if that is more.
    pub fn effective_load(&self) -> u16 {
        let capacity = u64::from(self.profile.capacity.max(1));
        let claimed = (self.claims.len() as u64 * 1000 / capacity).min(1000) as u16;
        self.pulse.load.max(claimed)
    }

    /// The status as the primary has decided it.
    pub fn decided(&self) -> Status {
        match self.life {
            Life::Alive => self.declared,
            Life::Suspect { .. } => Status::Suspect,
            Life::Dead { .. } => Status::Dead,
        }
    }

    /// Bytes allocated outside the struct itself, without what the indexes take.
    pub fn heap_bytes(&self) -> usize {
        // A reference is in the registry's index, too.
        let claims: usize = self.claims.iter().map(|claim| 2 * claim.reference.heap_bytes()).sum();
        let flaps = self.flaps.as_ref().map_or(0, |_| size_of::<Flaps>());
        let intervals = self.pulse.intervals.as_ref().map_or(0, |intervals| intervals.memory_bytes());
        // The id is in the registry's map, too.
        let texts = 2 * self.id.heap_bytes() + self.reason.heap_bytes() + self.profile.heap_bytes();
        texts + flaps + intervals + claims + self.claims.len() * size_of::<Claim>()
    }
}

/// A degraded agent comes after all that are well.
const DEGRADED: u32 = 1 << 30;

/// The place of an agent in the indexes that follow its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub(super) status: Option<Status>,
    pub(super) is_fit: bool,
    pub(super) is_offered: bool,
    pub(super) is_claimable: bool,
    pub(super) load: u32,
    pub(super) latency: u32,
}

impl Place {
    /// The place that an agent should have.
    pub fn of(agent: &Agent) -> Self {
        let is_ready = matches!(agent.life, Life::Alive) && matches!(agent.declared, Status::Active | Status::Idle);
        let is_fit = agent.health != Health::Failed && !agent.is_damped();
        let behind = if agent.health == Health::Degraded { DEGRADED } else { 0 };
        let latency_ms = u32::try_from(agent.record.latency_us.div_ceil(1000)).unwrap_or(u32::MAX).min(DEGRADED - 1);
        Self {
            status: Some(agent.decided()),
            is_fit,
            is_offered: is_ready && is_fit,
            is_claimable: is_ready && is_fit && agent.free() > 0,
            load: behind + u32::from(agent.effective_load()),
            latency: behind + latency_ms,
        }
    }

    /// The key in [`Index::by_load`].
    pub fn load(&self) -> u32 {
        self.load
    }

    /// The key in [`Index::by_latency`].
    pub fn latency(&self) -> u32 {
        self.latency
    }

    /// Whether the agent is ready, well and not damped, as the primary has decided.
    pub fn is_offered(&self) -> bool {
        self.is_offered
    }
}

impl Pulse {
    /// A heartbeat came.
    pub(super) fn hear(&mut self, at: Millis, ttl_ms: Millis) {
        (self.beat, self.suspect_at) = (at, at.saturating_add(ttl_ms));
    }
}

impl Agent {
    /// It is no longer suspect.
    pub(super) fn is_alive_after(&mut self, at: Millis, flaps: Option<Flaps>) {
        self.life = Life::Alive;
        self.flaps = flaps.map(Box::new);
        self.pulse.hear(self.pulse.beat.max(at), self.profile.ttl_ms);
    }
}
