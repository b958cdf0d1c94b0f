//! The settings, declared once: module configs (`CONFIG GET/SET ltmc.*`), `redis.conf.example` and the documentation come from this
//! table.

/// A setting. The table [`SETTINGS`] is in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the table documents each
pub enum Setting {
    MemoryLockingStrategy,
    LockLeaseMs,
    LockAgeingMs,
    LockWaitersMax,
    LockHoldersMax,
    AgentTtlMs,
    AgentDeadPercent,
    AgentGraceMs,
    FailureDetector,
    PhiThreshold,
    AgentDampingHalfLifeMs,
    AgentHoldSharePercent,
    AgentHoldAgentsMin,
    AgentHoldPercent,
    RegistryAgentsMax,
    ClaimWaitersMax,
    WatchersMax,
    ContextBytesMax,
    SessionBytesMax,
    SessionFieldsMax,
    SessionResourcesMax,
    SessionEndGraceMs,
    ParticipantsMax,
    JsonDepthMax,
    HistoryVersionsMax,
    HistoryBytesMax,
    MailLeaseMs,
    MailDeliveriesMax,
    MailMessagesMax,
    MailBytesMax,
    MailInboxMax,
    MailAgentsMax,
    MailDeadMax,
    MailWaitersMax,
    SweepBatchMax,
    BindAgentToUser,
    CacheBytesMax,
    CacheEntriesMax,
    CacheTtlMs,
    CacheNegativeTtlMs,
    CacheLeaseMs,
    CacheOrphanMs,
    CacheTicketsMax,
    CacheWaitersMax,
    BufferBytesMax,
    BufferBytesMin,
    BufferChunksMax,
    BufferShrinkPercent,
    ChunkBytesMax,
    ChunkLeaseMs,
    ChunkHoldersMax,
    FlowTasksMax,
    FlowKeep,
    TaskPayloadBytesMax,
    TaskLeaseMs,
    TaskRetries,
    TaskAgeingMs,
    TaskStopGraceMs,
    TaskWaitersMax,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number in a range.
    Integer {
        /// If nothing is said.
        default: i64,
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// One of several words; the value is the word's index, and the first is the default.
    Word(&'static [&'static str]),
}

/// What is known of a setting.
#[derive(Debug)]
pub struct Row {
    /// Name without the `ltmc.` before it.
    pub name: &'static str,
    /// Values.
    pub kind: Kind,
    /// Unit of the value.
    pub unit: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Environment name that gives the default at load.
    pub environment: &'static str,
}

/// All settings.
pub const SETTINGS: &[Row] = &[
    Row {
        name: "memory-locking-strategy",
        kind: Kind::Word(&["pessimistic", "optimistic"]),
        unit: "word",
        doc: "What LTMC.LOCK means when it names no mode: an exclusive lock, or an optimistic stamp.",
        environment: "MEMORY_LOCKING_STRATEGY",
    },
    Row {
        name: "lock-lease-ms",
        kind: Kind::Integer { default: 30_000, min: 0, max: 31_536_000_000 },
        unit: "ms",
        doc: "Lease of a lock that is taken without PX or EX. 0: such a lock has no end and is held until it is given back.",
        environment: "LTMC_LOCK_LEASE_MS",
    },
    Row {
        name: "lock-ageing-ms",
        kind: Kind::Integer { default: 1_000, min: 1, max: 86_400_000 },
        unit: "ms",
        doc: "So long a wait is worth one unit of PRIORITY: whoever waits longer overtakes a higher priority that came later.",
        environment: "LTMC_LOCK_AGEING_MS",
    },
    Row {
        name: "lock-waiters-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may wait for one lock.",
        environment: "LTMC_LOCK_WAITERS_MAX",
    },
    Row {
        name: "lock-holders-max",
        kind: Kind::Integer { default: 100_000, min: 1, max: 10_000_000 },
        unit: "grants",
        doc: "Most grants (holders, paths, stamps) that one lock may have at a time.",
        environment: "LTMC_LOCK_HOLDERS_MAX",
    },
    Row {
        name: "agent-ttl-ms",
        kind: Kind::Integer { default: 30_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "Time to live of an agent that registers without PX or EX: silent for longer, it is suspect.",
        environment: "LTMC_AGENT_TTL_MS",
    },
    Row {
        name: "agent-dead-percent",
        kind: Kind::Integer { default: 200, min: 101, max: 10_000 },
        unit: "percent",
        doc: "An agent that is silent for so much of its time to live is dead; suspicion begins at 100 at the latest.",
        environment: "LTMC_AGENT_DEAD_PERCENT",
    },
    Row {
        name: "agent-grace-ms",
        kind: Kind::Integer { default: 10_000, min: 0, max: 31_536_000_000 },
        unit: "ms",
        doc: "So long a dead agent is still shown before it is removed.",
        environment: "LTMC_AGENT_GRACE_MS",
    },
    Row {
        name: "failure-detector",
        kind: Kind::Word(&["deadline", "phi"]),
        unit: "word",
        doc: "What makes an agent suspect: the end of its time to live, or earlier by phi over its own heartbeat intervals.",
        environment: "LTMC_FAILURE_DETECTOR",
    },
    Row {
        name: "phi-threshold",
        kind: Kind::Integer { default: 8, min: 1, max: 16 },
        unit: "phi",
        doc: "Phi at which an agent is suspect: at n about one heartbeat in 10^n comes later than that.",
        environment: "LTMC_PHI_THRESHOLD",
    },
    Row {
        name: "agent-damping-half-life-ms",
        kind: Kind::Integer { default: 60_000, min: 0, max: 86_400_000 },
        unit: "ms",
        doc: "Half-life of the penalty of an agent that comes and goes. 0: nobody is kept back for that.",
        environment: "LTMC_AGENT_DAMPING_HALF_LIFE_MS",
    },
    Row {
        name: "agent-hold-share-percent",
        kind: Kind::Integer { default: 60, min: 0, max: 100 },
        unit: "percent",
        doc: "If at least this share of the living agents of a registry is suspect, nobody dies for a while. 0: never.",
        environment: "LTMC_AGENT_HOLD_SHARE_PERCENT",
    },
    Row {
        name: "agent-hold-agents-min",
        kind: Kind::Integer { default: 10, min: 1, max: 10_000_000 },
        unit: "agents",
        doc: "Fewer suspects than this never begin a hold.",
        environment: "LTMC_AGENT_HOLD_AGENTS_MIN",
    },
    Row {
        name: "agent-hold-percent",
        kind: Kind::Integer { default: 300, min: 1, max: 10_000 },
        unit: "percent",
        doc: "So much of its time to live longer may an agent be silent in a hold before it is dead all the same.",
        environment: "LTMC_AGENT_HOLD_PERCENT",
    },
    Row {
        name: "registry-agents-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "agents",
        doc: "Most agents of one registry.",
        environment: "LTMC_REGISTRY_AGENTS_MAX",
    },
    Row {
        name: "claim-waiters-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may wait for an agent of one registry.",
        environment: "LTMC_CLAIM_WAITERS_MAX",
    },
    Row {
        name: "watchers-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may watch one key.",
        environment: "LTMC_WATCHERS_MAX",
    },
    Row {
        name: "context-bytes-max",
        kind: Kind::Integer { default: 16_777_216, min: 1_024, max: 536_870_912 },
        unit: "bytes",
        doc: "Largest document of a context, as compact JSON.",
        environment: "LTMC_CONTEXT_BYTES_MAX",
    },
    Row {
        name: "session-bytes-max",
        kind: Kind::Integer { default: 67_108_864, min: 1_024, max: 536_870_912 },
        unit: "bytes",
        doc: "Most bytes of names and values of all fields of a session.",
        environment: "LTMC_SESSION_BYTES_MAX",
    },
    Row {
        name: "session-fields-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "fields",
        doc: "Most fields of a session.",
        environment: "LTMC_SESSION_FIELDS_MAX",
    },
    Row {
        name: "session-resources-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "keys",
        doc: "Most keys that a session may own.",
        environment: "LTMC_SESSION_RESOURCES_MAX",
    },
    Row {
        name: "session-end-grace-ms",
        kind: Kind::Integer { default: 60_000, min: 0, max: 31_536_000_000 },
        unit: "ms",
        doc: "So long a session that has ended can still be read, if LTMC.SESSION.END says nothing else.",
        environment: "LTMC_SESSION_END_GRACE_MS",
    },
    Row {
        name: "participants-max",
        kind: Kind::Integer { default: 1_000, min: 1, max: 1_000_000 },
        unit: "agents",
        doc: "Most participants of a session or context.",
        environment: "LTMC_PARTICIPANTS_MAX",
    },
    Row {
        name: "json-depth-max",
        kind: Kind::Integer { default: 64, min: 1, max: 100 },
        unit: "levels",
        doc: "Most levels of a JSON document.",
        environment: "LTMC_JSON_DEPTH_MAX",
    },
    Row {
        name: "history-versions-max",
        kind: Kind::Integer { default: 1_000, min: 1, max: 1_000_000 },
        unit: "versions",
        doc: "So many versions of a new session or context can be asked for besides those with a checkpoint.",
        environment: "LTMC_HISTORY_VERSIONS_MAX",
    },
    Row {
        name: "history-bytes-max",
        kind: Kind::Integer { default: 67_108_864, min: 1_024, max: 2_147_483_648 },
        unit: "bytes",
        doc: "Most bytes of history of a new session or context; the oldest versions go first, then checkpoints that are not pinned.",
        environment: "LTMC_HISTORY_BYTES_MAX",
    },
    Row {
        name: "mail-lease-ms",
        kind: Kind::Integer { default: 30_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "Lease of messages that are received without PX or EX: what is not acknowledged by then can be received again.",
        environment: "LTMC_MAIL_LEASE_MS",
    },
    Row {
        name: "mail-deliveries-max",
        kind: Kind::Integer { default: 10, min: 1, max: 1_000_000 },
        unit: "deliveries",
        doc: "A message that was received so often without being acknowledged is a dead letter.",
        environment: "LTMC_MAIL_DELIVERIES_MAX",
    },
    Row {
        name: "mail-messages-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "messages",
        doc: "Most messages of one mailbox; one that is sent to several agents counts once.",
        environment: "LTMC_MAIL_MESSAGES_MAX",
    },
    Row {
        name: "mail-bytes-max",
        kind: Kind::Integer { default: 268_435_456, min: 1_024, max: 2_147_483_648 },
        unit: "bytes",
        doc: "Most bytes of the payloads of all messages of one mailbox.",
        environment: "LTMC_MAIL_BYTES_MAX",
    },
    Row {
        name: "mail-inbox-max",
        kind: Kind::Integer { default: 100_000, min: 1, max: 10_000_000 },
        unit: "messages",
        doc: "Most messages in the inbox of one agent.",
        environment: "LTMC_MAIL_INBOX_MAX",
    },
    Row {
        name: "mail-agents-max",
        kind: Kind::Integer { default: 100_000, min: 1, max: 1_000_000 },
        unit: "agents",
        doc: "Most agents that take part in one mailbox or have messages in it.",
        environment: "LTMC_MAIL_AGENTS_MAX",
    },
    Row {
        name: "mail-dead-max",
        kind: Kind::Integer { default: 1_000, min: 0, max: 1_000_000 },
        unit: "messages",
        doc: "So many dead letters of one mailbox are kept; the oldest go first.",
        environment: "LTMC_MAIL_DEAD_MAX",
    },
    Row {
        name: "mail-waiters-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may wait for messages of one mailbox.",
        environment: "LTMC_MAIL_WAITERS_MAX",
    },
    Row {
        name: "sweep-batch-max",
        kind: Kind::Integer { default: 256, min: 1, max: 100_000 },
        unit: "deadlines",
        doc: "Most deadlines (of waits, keys, agents) handled, and most locks and claims of an ended session given back, before other commands run.",
        environment: "LTMC_SWEEP_BATCH_MAX",
    },
    Row {
        name: "bind-agent-to-user",
        kind: Kind::Word(&["no", "yes"]),
        unit: "word",
        doc: "With yes an ACL user may act only as owners and agents whose id is its user name or starts with it and a colon.",
        environment: "LTMC_BIND_AGENT_TO_USER",
    },
    Row {
        name: "cache-bytes-max",
        kind: Kind::Integer { default: 67_108_864, min: 4_096, max: 1_099_511_627_776 },
        unit: "bytes",
        doc: "Most bytes of a new cache, with all that its entries take; beyond that answers make room for new ones.",
        environment: "LTMC_CACHE_BYTES_MAX",
    },
    Row {
        name: "cache-entries-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "entries",
        doc: "Most answers of a new cache.",
        environment: "LTMC_CACHE_ENTRIES_MAX",
    },
    Row {
        name: "cache-ttl-ms",
        kind: Kind::Integer { default: 0, min: 0, max: 31_536_000_000 },
        unit: "ms",
        doc: "Time to live of an answer that is put without PX or EX into a new cache. 0: it stays until it has to make room.",
        environment: "LTMC_CACHE_TTL_MS",
    },
    Row {
        name: "cache-negative-ttl-ms",
        kind: Kind::Integer { default: 10_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "Time to live of an answer that is put with NEGATIVE and without PX or EX.",
        environment: "LTMC_CACHE_NEGATIVE_TTL_MS",
    },
    Row {
        name: "cache-lease-ms",
        kind: Kind::Integer { default: 30_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "So long the ticket of a LTMC.CACHE.GET without LEASE is good; then the next one may compute.",
        environment: "LTMC_CACHE_LEASE_MS",
    },
    Row {
        name: "cache-orphan-ms",
        kind: Kind::Integer { default: 500, min: 0, max: 31_536_000_000 },
        unit: "ms",
        doc: "So long an answer is waited for after the connection has ended over which its ticket was given; then the next one may compute.",
        environment: "LTMC_CACHE_ORPHAN_MS",
    },
    Row {
        name: "cache-tickets-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "tickets",
        doc: "Most tickets of one cache that are out at a time.",
        environment: "LTMC_CACHE_TICKETS_MAX",
    },
    Row {
        name: "cache-waiters-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may wait for answers of one cache.",
        environment: "LTMC_CACHE_WAITERS_MAX",
    },
    Row {
        name: "buffer-bytes-max",
        kind: Kind::Integer { default: 1_073_741_824, min: 65_536, max: 1_125_899_906_842_624 },
        unit: "bytes",
        doc: "MAXBYTES of a new chunk buffer that does not say: it never takes more.",
        environment: "LTMC_BUFFER_BYTES_MAX",
    },
    Row {
        name: "buffer-bytes-min",
        kind: Kind::Integer { default: 67_108_864, min: 0, max: 1_125_899_906_842_624 },
        unit: "bytes",
        doc: "MINBYTES of a new chunk buffer that does not say: it begins with this size and never gets smaller by itself.",
        environment: "LTMC_BUFFER_BYTES_MIN",
    },
    Row {
        name: "buffer-chunks-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "chunks",
        doc: "Most chunks of one buffer.",
        environment: "LTMC_BUFFER_CHUNKS_MAX",
    },
    Row {
        name: "buffer-shrink-percent",
        kind: Kind::Integer { default: 90, min: 1, max: 100 },
        unit: "percent",
        doc: "When so much of the server's maxmemory is in use, chunk buffers get smaller, down to their MINBYTES.",
        environment: "LTMC_BUFFER_SHRINK_PERCENT",
    },
    Row {
        name: "chunk-bytes-max",
        kind: Kind::Integer { default: 67_108_864, min: 1, max: 536_870_912 },
        unit: "bytes",
        doc: "Longest chunk.",
        environment: "LTMC_CHUNK_BYTES_MAX",
    },
    Row {
        name: "chunk-lease-ms",
        kind: Kind::Integer { default: 60_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "So long after its last write a chunk that is allocated without PX or EX and not sealed is reclaimed.",
        environment: "LTMC_CHUNK_LEASE_MS",
    },
    Row {
        name: "chunk-holders-max",
        kind: Kind::Integer { default: 1_000, min: 1, max: 10_000 },
        unit: "agents",
        doc: "Most agents that hold one chunk: each that retains it, and each that has pinned it.",
        environment: "LTMC_CHUNK_HOLDERS_MAX",
    },
    Row {
        name: "flow-tasks-max",
        kind: Kind::Integer { default: 1_000_000, min: 1, max: 100_000_000 },
        unit: "tasks",
        doc: "Most tasks of one flow, those that have ended and are kept among them.",
        environment: "LTMC_FLOW_TASKS_MAX",
    },
    Row {
        name: "flow-keep",
        kind: Kind::Integer { default: 10_000, min: 0, max: 100_000_000 },
        unit: "tasks",
        doc: "So many tasks that have ended does a new flow keep for those who ask, if KEEP says nothing else; the oldest go first.",
        environment: "LTMC_FLOW_KEEP",
    },
    Row {
        name: "task-payload-bytes-max",
        kind: Kind::Integer { default: 16_777_216, min: 1, max: 536_870_912 },
        unit: "bytes",
        doc: "Longest payload, result or signal of a task.",
        environment: "LTMC_TASK_PAYLOAD_BYTES_MAX",
    },
    Row {
        name: "task-lease-ms",
        kind: Kind::Integer { default: 30_000, min: 1, max: 31_536_000_000 },
        unit: "ms",
        doc: "Lease of a claimed task if neither the claim nor the task says another.",
        environment: "LTMC_TASK_LEASE_MS",
    },
    Row {
        name: "task-retries",
        kind: Kind::Integer { default: 3, min: 0, max: 1_000_000 },
        unit: "attempts",
        doc: "So many attempts more than the first has a task that says nothing of RETRIES before it is dead.",
        environment: "LTMC_TASK_RETRIES",
    },
    Row {
        name: "task-ageing-ms",
        kind: Kind::Integer { default: 1_000, min: 1, max: 86_400_000 },
        unit: "ms",
        doc: "In a new flow so long a wait is worth one unit of PRIORITY: a task that is ready for longer overtakes one of higher priority.",
        environment: "LTMC_TASK_AGEING_MS",
    },
    Row {
        name: "task-stop-grace-ms",
        kind: Kind::Integer { default: 10_000, min: 0, max: 86_400_000 },
        unit: "ms",
        doc: "So long may a worker take to stop after a cancel or a deadline before its task is taken away.",
        environment: "LTMC_TASK_STOP_GRACE_MS",
    },
    Row {
        name: "task-waiters-max",
        kind: Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        unit: "clients",
        doc: "Most clients that may wait for tasks of one flow, and most that may wait for ends in it.",
        environment: "LTMC_TASK_WAITERS_MAX",
    },
];

impl Setting {
    /// Its row.
    pub fn row(self) -> &'static Row {
        &SETTINGS[self as usize]
    }
}

impl Row {
    /// The value if nothing is said.
    pub fn default_value(&self) -> i64 {
        match self.kind {
            Kind::Integer { default, .. } => default,
            Kind::Word(_) => 0,
        }
    }

    /// The largest value.
    pub fn max(&self) -> u64 {
        match self.kind {
            Kind::Integer { max, .. } => max.unsigned_abs(),
            Kind::Word(words) => words.len() as u64 - 1,
        }
    }

    /// Reads a value as the environment has it; errs with what is allowed.
    pub fn parse(&self, text: &str) -> Result<i64, String> {
        let (value, allowed) = match self.kind {
            Kind::Integer { min, max, .. } => {
                let value = text.parse::<i64>().ok().filter(|value| (min..=max).contains(value));
                (value, format!("whole numbers from {min} to {max}"))
            }
            Kind::Word(words) => {
                let at = words.iter().position(|word| word.eq_ignore_ascii_case(text));
                (at.map(|at| at as i64), words.join(", "))
            }
        };
        value
            .ok_or_else(|| format!("ltmc.{} is '{text}' (from {}), allowed are {allowed}", self.name, self.environment))
    }
}

/// The values in force.
#[derive(Debug, Clone)]
pub struct Settings([i64; SETTINGS.len()]);

impl Default for Settings {
    fn default() -> Self {
        Self(std::array::from_fn(|at| SETTINGS[at].default_value()))
    }
}

impl Settings {
    /// The value with this place in the table.
    pub fn at(&self, index: usize) -> i64 {
        self.0[index]
    }

    /// Sets the value with this place in the table; the server has checked its range.
    pub fn set_at(&mut self, index: usize, value: i64) {
        self.0[index] = value;
    }

    /// A value that is not negative by its range.
    pub fn get(&self, setting: Setting) -> u64 {
        u64::try_from(self.0[setting as usize]).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_say_what_is_allowed() {
        let strategy = Setting::MemoryLockingStrategy.row();
        assert_eq!(strategy.parse("Optimistic"), Ok(1));
        let text = strategy.parse("both").unwrap_err();
        assert!(text.contains("MEMORY_LOCKING_STRATEGY") && text.contains("pessimistic, optimistic"), "{text}");
        assert!(Setting::LockAgeingMs.row().parse("0").is_err());
        assert_eq!(
            Setting::SweepBatchMax.row().name,
            "sweep-batch-max",
            "the enum and the table are in the same order"
        );
    }
}
