//! What the settings mean to the services: each in the form that the rules of the service take.

use super::{Setting, Settings};
use crate::domain::algorithm::eviction::Policy;
use crate::domain::entity::idempotency::Bounds as RequestBounds;
use crate::domain::flow::work::Policy as TaskPolicy;
use crate::domain::flow::{Keep, Options};
use crate::domain::mail::decide::Policy as MailPolicy;
use crate::domain::reactions::ReactionEnv;
use crate::domain::registry::time::Policy as RegistryPolicy;
use crate::domain::{buffer, cache, Code, Error, Millis, Service};

/// How closely the services work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Every service on its own.
    Basic,
    /// What a dead agent held is given back.
    Full,
    /// The same, and every command is traced.
    Debug,
}

/// What goes into the audit trail. Each level has what the one before has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    /// Nothing.
    Off,
    /// What was denied, and what operators do.
    Denied,
    /// Every change.
    Write,
    /// Everything.
    All,
}

impl Settings {
    /// What goes into the audit trail.
    #[inline]
    pub fn audit_level(&self) -> AuditLevel {
        match self.get(Setting::Audit) {
            0 if self.mode() == Mode::Basic => AuditLevel::Off,
            1 => AuditLevel::Off,
            2 => AuditLevel::Denied,
            0 | 3 => AuditLevel::Write,
            _ => AuditLevel::All,
        }
    }

    /// Whether commands fail while the audit trail cannot take more.
    pub fn audit_blocks(&self) -> bool {
        self.get(Setting::AuditOnFull) == 0
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        match self.get(Setting::OrchestrationMode) {
            0 => Mode::Basic,
            1 => Mode::Full,
            _ => Mode::Debug,
        }
    }

    /// How much a key remembers of requests with `REQID`.
    pub fn request_bounds(&self) -> RequestBounds {
        RequestBounds {
            of_owner: self.get(Setting::RequestMemoryMax) as usize,
            age_ms: self.get(Setting::RequestMemoryMs),
        }
    }

    /// The switch of a service; `None` if it has none.
    pub fn switch_of(service: Service) -> Option<Setting> {
        Some(match service {
            Service::Registry => Setting::AgentRegistryEnabled,
            Service::Context => Setting::ContextCoordinationEnabled,
            Service::Lock => Setting::MemoryLockingEnabled,
            Service::Session => Setting::SessionStateEnabled,
            Service::Cache => Setting::ToolCacheEnabled,
            Service::Buffer => Setting::ChunkBufferEnabled,
            Service::Flow | Service::Mail => Setting::OrchestrationEnabled,
            Service::Watch => return None,
        })
    }

    /// Whether a service is switched on.
    pub fn is_enabled(&self, service: Service) -> bool {
        Self::switch_of(service).is_none_or(|switch| self.get(switch) == 1)
    }

    /// Errs if a service is switched off.
    pub fn check_enabled(&self, service: Service) -> Result<(), Error> {
        match Self::switch_of(service).filter(|switch| self.get(*switch) == 0) {
            None => Ok(()),
            Some(switch) => {
                let (service, setting) = (service.name(), switch.row().name);
                let text = format!("the {service} service is switched off (setting ltmc.{setting})");
                Err(Error::new(Code::Disabled, text))
            }
        }
    }

    /// The lease of a lock that names none; `None` for no end.
    pub fn lock_lease(&self) -> Option<Millis> {
        Some(self.get(Setting::LockLeaseMs)).filter(|lease| *lease > 0)
    }

    /// The bounds and habits of a new cache.
    pub fn cache_config(&self) -> cache::Config {
        cache::Config {
            bytes_max: self.get(Setting::CacheBytesMax),
            entries_max: self.get(Setting::CacheEntriesMax),
            ttl_ms: Some(self.get(Setting::CacheTtlMs)).filter(|ttl| *ttl > 0),
            policy: Policy::Gdsf,
        }
    }

    /// The bounds and policy of a new buffer.
    pub fn buffer_config(&self) -> buffer::Config {
        let max_bytes = self.get(Setting::BufferBytesMax);
        let min_bytes = self.get(Setting::BufferBytesMin).min(max_bytes);
        buffer::Config { max_bytes, min_bytes, policy: Policy::default() }
    }

    /// What time and failures do to agents.
    pub fn registry_policy(&self) -> RegistryPolicy {
        let is_phi = self.get(Setting::FailureDetector) == 1;
        RegistryPolicy {
            dead_percent: self.get(Setting::AgentDeadPercent),
            grace_ms: self.get(Setting::AgentGraceMs),
            damping_half_life_ms: self.get(Setting::AgentDampingHalfLifeMs),
            phi_threshold: is_phi.then(|| self.get(Setting::PhiThreshold)),
            hold_share_percent: self.get(Setting::AgentHoldSharePercent) as u8,
            hold_agents_min: self.get(Setting::AgentHoldAgentsMin) as usize,
            hold_extra_percent: self.get(Setting::AgentHoldPercent) as u32,
        }
    }

    /// How tasks are leased and tried again.
    pub fn task_policy(&self) -> TaskPolicy {
        TaskPolicy {
            lease_ms: self.get(Setting::TaskLeaseMs),
            retries: self.get(Setting::TaskRetries) as u32,
            backoff_ms: self.get(Setting::TaskBackoffMs),
            grace_ms: self.get(Setting::TaskStopGraceMs),
        }
    }

    /// What becomes of messages that are not acknowledged.
    pub fn mail_policy(&self) -> MailPolicy {
        MailPolicy {
            deliveries_max: self.get(Setting::MailDeliveriesMax) as u32,
            dead_max: self.get(Setting::MailDeadMax) as usize,
        }
    }

    /// What the reactions to an end depend on, at the time `at`.
    pub fn reaction_env(&self, at: Millis) -> ReactionEnv {
        let orphans_until = at + self.get(Setting::CacheOrphanMs);
        ReactionEnv { at, tasks: self.task_policy(), mails: self.mail_policy(), orphans_until }
    }

    /// The options of a new flow.
    pub fn flow_options(&self) -> Options {
        let keep = |tasks, age_ms| Keep { tasks: self.get(tasks), age_ms: self.get(age_ms) };
        Options {
            keep: keep(Setting::FlowKeep, Setting::FlowKeepMs),
            keep_dead: keep(Setting::FlowKeepDead, Setting::FlowKeepDeadMs),
            ageing_ms: self.get(Setting::TaskAgeingMs),
            ..Options::default()
        }
    }

    /// Whether an ACL user may act only under its own name.
    pub fn agents_are_bound(&self) -> bool {
        self.get(Setting::BindAgentToUser) == 1
    }

    /// Whether a lock that names no mode is an optimistic stamp.
    pub fn locks_are_optimistic(&self) -> bool {
        self.get(Setting::MemoryLockingStrategy) == 1
    }
}
