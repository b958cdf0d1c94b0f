//! All settings. To add one, add its row here, read it with `Settings::get`, and run `make docs`.

use super::declare::Name;
use super::{Row, SettingType};

settings! {
    "Node" {
        /// How closely the services work together. `basic`: each on its own. `full`: when an agent
        /// dies or deregisters, everything it took with REGISTRY is given back. `debug`: as `full`,
        /// and LTMC.TRACE records commands.
        OrchestrationMode: word(basic | full | debug), env ORCHESTRATION_MODE;

        /// If `yes`, an ACL user may only act under its own name: as owners and agents whose id is
        /// the user name, or the user name, a colon and more (user ada: `ada`, `ada:1`). Other ids
        /// fail with DENIED.
        BindAgentToUser: switch = no;

        /// Maximum size of one reply; each value in it counts 16 bytes on top of its own. Lists end
        /// before the limit, so that the client can ask for the rest. A reply that cannot be cut
        /// fails with LIMIT. A single value is always returned.
        ReplyBytesMax: number("bytes", 65_536..=1_073_741_824) = 4_194_304,
            costs "about a millisecond for each MiB of a reply";

        /// Maximum number of values in one reply; the names of fields count, too. Parts of lists
        /// end before the limit, as with `ltmc.reply-bytes-max`. A whole list that does not fit
        /// fails with LIMIT; CURSOR or LIMIT asks for a part.
        ReplyElementsMax: number("values", 1_000..=100_000_000) = 40_000,
            costs "about a millisecond for 8,000 values of a reply";

        /// Maximum number of arguments of a command of the services: ids, fields, operations. One
        /// more fails with LIMIT, before anything is looked at.
        ArgumentsMax: number("arguments", 1_000..=100_000_000) = 12_000,
            costs "up to a microsecond for each argument";

        /// How many threads do long work beside the event loop: large documents, replies of many
        /// values. More than the machine has processors to spare slow the server down. 0:
        /// everything is done at once, and what takes long fails with LIMIT.
        WorkerThreads: number("threads", 0..=64) = 1;

        /// Maximum number of commands of one ACL user that threads work on or have to begin. One
        /// more fails with LIMIT. Each client has at most one, and users have their turns one after
        /// the other.
        WorkerQueueMax: number("commands", 1..=1_000_000) = 1_000;

        /// How many deadlines (of waits, keys, agents) are handled, how many locks, claims and pins
        /// of an ended session are given back, and how many tasks of a flow and edges between them
        /// are looked at, before other commands run.
        SweepBatchMax: number("deadlines", 1..=100_000) = 128,
            costs "up to a tenth of a millisecond for each of them";

        /// Maximum number of clients that wait for events of one key with LTMC.WATCH. One more
        /// fails with LIMIT.
        WatchersMax: number("clients", 1..=1_000_000) = 10_000,
            costs "more rounds, not longer ones: who waits is served in parts, with other commands in between";

        /// Maximum nesting depth of a JSON document.
        JsonDepthMax: number("levels", 1..=100) = 64;

        /// How many values the self-check examines per second; it repairs derived data that is
        /// broken. A large value counts once for every 100 elements. 0: no self-check.
        CheckRate: number("entities per second", 0..=100_000) = 100;

        /// The self-check examines a value with more elements than this in parts, one part a round.
        /// It skips the value if its type has no parts; LTMC.REPAIR checks it as a whole. An
        /// element takes up to two microseconds, and holds up everything else.
        CheckElementsMax: number("elements", 1..=100_000_000) = 4_000;

        /// How many requests with REQID a key remembers of each owner, the latest first; of all
        /// owners together, and of commands that name no owner, 100 times as many. Once this is
        /// lowered, each new request forgets up to 16 of its owner and up to 16 of all.
        RequestMemoryMax: number("requests", 1..=1_000) = 64;

        /// How long a key remembers a request with REQID. A later one with the same id is a new
        /// request. What is too old goes with the next requests, up to 16 with each.
        RequestMemoryMs: number("ms", 1_000..=86_400_000) = 600_000;

        /// How many of the latest commands LTMC.TRACE keeps in `debug` mode.
        TraceMax: number("commands", 1..=10_000) = 128;
    }

    "Audit" {
        /// What goes into the audit trail. `auto`: as `off` in `basic` mode, and as `write` in
        /// `full` and `debug`. `off`: nothing. `denied`: what was refused because the caller may
        /// not do it or no longer, LTMC.LOCK.BREAK, LTMC.REPAIR, LTMC.APPLY by clients,
        /// quarantines, and changes of these settings. `write`: also every change of a key, and
        /// what follows from it. `all`: also reads and commands that change nothing.
        Audit: word(auto | off | denied | write | all);

        /// The file of the audit trail; empty: only LTMC.AUDIT shows it. A file that holds a trail
        /// is continued. Not two servers may write to one file.
        AuditFile: path;

        /// How many of the latest records LTMC.AUDIT shows.
        AuditRingMax: number("records", 0..=1_000_000) = 10_000;

        /// What happens while the file cannot take more. `block`: commands fail with LIMIT, and
        /// what time brings waits. `drop`: records are dropped and counted.
        AuditOnFull: word(block | drop);
    }

    "Locks" {
        /// If `no`, every lock command fails with DISABLED; data is kept.
        MemoryLockingEnabled: switch = yes;

        /// What LTMC.LOCK takes when the command names no mode. `pessimistic`: an exclusive lock.
        /// `optimistic`: an optimistic stamp.
        MemoryLockingStrategy: word(pessimistic | optimistic), env MEMORY_LOCKING_STRATEGY;

        /// Lease of a lock taken without PX or EX. 0: the lock does not expire and is held until it
        /// is released.
        LockLeaseMs: number("ms", 0..=31_536_000_000) = 30_000;

        /// One unit of PRIORITY is worth this much waiting time. So a client that has waited long
        /// enough overtakes one of higher priority that came later.
        LockAgeingMs: number("ms", 1..=86_400_000) = 1_000;

        /// Maximum number of clients that wait for one lock. One more fails with LIMIT.
        LockWaitersMax: number("clients", 1..=1_000_000) = 10_000,
            costs "about a millisecond for 2,500 clients that have to be passed over";

        /// Maximum number of grants (holders, paths) on one lock. One more fails with LIMIT.
        /// The paths of its grants may have four times as many segments together. Optimistic stamps
        /// have the same limit and are counted separately.
        LockHoldersMax: number("grants", 1..=10_000_000) = 5_000,
            costs "about a millisecond for 1,000 grants that end at once";
    }

    "Agent registry" {
        /// If `no`, every command of the agent registry fails with DISABLED; data is kept.
        AgentRegistryEnabled: switch = yes, env AGENT_REGISTRY_ENABLED;

        /// Maximum number of agents in one registry. One more fails with LIMIT.
        RegistryAgentsMax: number("agents", 1..=100_000_000) = 10_000,
            costs "about a millisecond for 3,000 agents that LTMC.AGENT.FIND compares, and twice that to COPY them";

        /// Maximum number of versions of one capability among the agents of one registry. One more
        /// fails with LIMIT.
        CapabilityVersionsMax: number("versions", 1..=1_000_000) = 100,
            costs "about a millisecond for 10,000 versions that the `name@>=version` of a search mean together";

        /// Maximum CAPACITY of an agent: of the claims on it at a time. More fails with LIMIT.
        AgentCapacityMax: number("claims", 1..=100_000) = 1_000,
            costs "about a millisecond for 1,000 claims that end with their agent";

        /// TTL of an agent that registers without PX or EX. An agent that is silent for longer is
        /// suspect.
        AgentTtlMs: number("ms", 1..=31_536_000_000) = 30_000;

        /// An agent is dead when it has been silent for this share of its TTL. It is suspect from
        /// 100 percent at the latest.
        AgentDeadPercent: number("percent", 101..=10_000) = 200;

        /// How long a dead agent stays visible before it is removed.
        AgentGraceMs: number("ms", 0..=31_536_000_000) = 10_000;

        /// What makes an agent suspect. `deadline`: the end of its TTL. `phi`: the end of its TTL,
        /// or earlier if its silence does not fit the intervals of its own heartbeats (phi
        /// accrual).
        FailureDetector: word(deadline | phi);

        /// The value of phi at which an agent is suspect. At n, about one heartbeat in 10^n comes
        /// so late by chance.
        PhiThreshold: number("phi", 1..=16) = 8;

        /// Half-life of the penalty for an agent that keeps failing and returning. An agent with a
        /// high penalty is not offered for work. 0: no penalty.
        AgentDampingHalfLifeMs: number("ms", 0..=86_400_000) = 60_000;

        /// If at least this share of the living agents of a registry is suspect, LTMC assumes a
        /// network outage and stops declaring agents dead (a hold) until fewer are suspect, or
        /// until an agent has been silent for a further `agent-hold-percent` of its TTL. 0: no
        /// hold.
        AgentHoldSharePercent: number("percent", 0..=100) = 60;

        /// Minimum number of suspect agents for a hold to begin.
        AgentHoldAgentsMin: number("agents", 1..=10_000_000) = 10;

        /// How much longer than usual an agent may be silent during a hold before it is dead, as a
        /// share of its TTL.
        AgentHoldPercent: number("percent", 1..=10_000) = 300;

        /// Maximum number of keys in which one registered agent holds something with REGISTRY. One
        /// more fails with LIMIT.
        AgentHoldingsMax: number("keys", 1..=100_000) = 1_000;

        /// Quota of locks: maximum number of grants, shares and stamps that one registered agent
        /// holds with REGISTRY in all keys together. One more fails with LIMIT. 0: no quota.
        AgentLocksMax: number("locks", 0..=1_000_000_000) = 0;

        /// Quota of tasks: maximum number of claimed tasks that one registered agent holds with
        /// REGISTRY. A claim gets as many as there is room for, and fails with LIMIT if there is
        /// none. 0: no quota.
        AgentTasksMax: number("tasks", 0..=1_000_000_000) = 0;

        /// Quota of waits: maximum number of clients that wait on behalf of one registered agent,
        /// for anything, with REGISTRY. One more fails with LIMIT. 0: no quota.
        AgentWaitsMax: number("clients", 0..=1_000_000_000) = 0;

        /// Quota of messages: maximum number of messages that one registered agent has received
        /// with REGISTRY and not acknowledged. LTMC.MSG.RECV gets as many as there is room for, and
        /// fails with LIMIT if there is none. 0: no quota.
        AgentMessagesMax: number("messages", 0..=1_000_000_000) = 0;

        /// Quota of chunks: maximum size of the chunks that one registered agent pins, retains or
        /// has not sealed yet, with REGISTRY. More fails with LIMIT. 0: no quota.
        AgentChunkBytesMax: number("bytes", 0..=1_125_899_906_842_624) = 0;

        /// Maximum number of clients that wait for an agent of one registry. One more fails with
        /// LIMIT.
        ClaimWaitersMax: number("clients", 1..=1_000_000) = 1_000,
            costs "up to a millisecond for 150 clients that wait with different filters, for each agent that becomes free";
    }

    "Contexts and sessions" {
        /// If `no`, every command of shared contexts fails with DISABLED; data is kept.
        ContextCoordinationEnabled: switch = yes, env CONTEXT_COORDINATION_ENABLED;

        /// If `no`, every command of session state fails with DISABLED; data is kept.
        SessionStateEnabled: switch = yes;

        /// Maximum size of the document of a context, as compact JSON.
        ContextBytesMax: number("bytes", 1_024..=536_870_912) = 1_048_576,
            costs "about a millisecond for each MiB of texts that is read";

        /// Maximum number of values in the document of a context, and in all JSON arguments of one
        /// command together: texts, numbers and the like, arrays and objects. More fails with
        /// LIMIT.
        ContextValuesMax: number("values", 100..=100_000_000) = 10_000,
            costs "a millisecond or two for 10,000 values that are read, and half of one to write them";

        /// Maximum number of edits of one LTMC.CTX.UPDATE: of values that it sets, adds, moves or
        /// removes. More fails with LIMIT; REPLACE is one edit.
        ContextEditsMax: number("edits", 10..=1_000_000) = 2_000,
            costs "some milliseconds for 2,000 edits of one command";

        /// Maximum size of all fields of a session, names and values together. The names of the
        /// keys that it owns have the same limit.
        SessionBytesMax: number("bytes", 1_024..=536_870_912) = 1_048_576,
            costs "two to five milliseconds for each MiB that one command sets, reads or restores";

        /// Maximum number of fields of a session.
        SessionFieldsMax: number("fields", 1..=100_000_000) = 3_000,
            costs "about a millisecond for 1,000 fields that one command sets, deletes, restores or copies";

        /// Maximum number of keys that a session owns.
        SessionResourcesMax: number("keys", 1..=1_000_000) = 3_000,
            costs "about a millisecond for 1,000 keys that one LTMC.SESSION.OWN gives";

        /// How long an ended session stays readable if LTMC.SESSION.END has no GRACE.
        SessionEndGraceMs: number("ms", 0..=31_536_000_000) = 60_000;

        /// Maximum number of participants of a session or context.
        ParticipantsMax: number("agents", 1..=1_000_000) = 1_000;

        /// How many past versions a new session or context keeps, not counting those with a
        /// checkpoint.
        HistoryVersionsMax: number("versions", 1..=1_000_000) = 1_000;

        /// Maximum number of checkpoints of one session or context. One more fails with LIMIT.
        CheckpointsMax: number("checkpoints", 1..=1_000_000) = 4_000,
            costs "about a millisecond for 1,000 checkpoints, where a command looks for a name or removes many";

        /// Maximum size of the history of a new session or context. The oldest versions are dropped
        /// first, then checkpoints that are not pinned.
        HistoryBytesMax: number("bytes", 1_024..=2_147_483_648) = 67_108_864;
    }

    "Tool cache" {
        /// If `no`, every command of the tool cache fails with DISABLED; data is kept.
        ToolCacheEnabled: switch = yes;

        /// MAXBYTES of a new cache: the maximum size of all its entries. A new answer evicts others
        /// once the cache is full.
        CacheBytesMax: number("bytes", 4_096..=1_099_511_627_776) = 67_108_864;

        /// MAXENTRIES of a new cache: the maximum number of its answers.
        CacheEntriesMax: number("entries", 1..=100_000_000) = 10_000,
            costs "up to a millisecond for 1,000 answers that an invalidation by many labels removes";

        /// Maximum size of one answer. A longer one fails with LIMIT, and is given to those who
        /// wait for it.
        CacheAnswerBytesMax: number("bytes", 1_024..=536_870_912) = 4_194_304,
            costs "about a millisecond for each MiB that is put, and for each client that gets it";

        /// Maximum size of the arguments of a tool. Longer ones fail with LIMIT.
        CacheArgsBytesMax: number("bytes", 1_024..=1_048_576) = 65_536,
            costs "about a millisecond for 50 KB of JSON that is brought into its canonical form";

        /// Caches evict answers, those of least value first, while memory use is at or above this
        /// share of the server's `maxmemory`.
        CacheShrinkPercent: number("percent", 1..=100) = 90;

        /// TTL of an answer put without PX or EX, in a new cache. 0: the answer stays until it is
        /// evicted.
        CacheTtlMs: number("ms", 0..=31_536_000_000) = 0;

        /// TTL of an answer put with NEGATIVE and without PX or EX.
        CacheNegativeTtlMs: number("ms", 1..=31_536_000_000) = 10_000;

        /// Lease of the ticket that LTMC.CACHE.GET hands out without LEASE. When it expires, the
        /// next client may compute the answer.
        CacheLeaseMs: number("ms", 1..=31_536_000_000) = 30_000;

        /// How long a ticket stays valid after the connection that received it has closed. Then the
        /// next client may compute the answer.
        CacheOrphanMs: number("ms", 0..=31_536_000_000) = 500;

        /// Maximum number of open tickets of one cache. Who misses beyond that computes without a
        /// ticket.
        CacheTicketsMax: number("tickets", 1..=1_000_000) = 4_000,
            costs "about a millisecond for 2,000 tickets that one LTMC.CACHE.INVALIDATE calls off";

        /// Maximum number of clients that wait for answers of one cache. One more fails with LIMIT.
        CacheWaitersMax: number("clients", 1..=1_000_000) = 10_000,
            costs "more rounds, not longer ones: who waits is served in parts, with other commands in between";
    }

    "Chunk buffer" {
        /// If `no`, every command of the chunk buffer fails with DISABLED; data is kept.
        ChunkBufferEnabled: switch = yes;

        /// MAXBYTES of a new buffer that does not name it: the buffer never grows beyond this size.
        BufferBytesMax: number("bytes", 65_536..=1_125_899_906_842_624) = 1_073_741_824;

        /// MINBYTES of a new buffer that does not name it, but at most its MAXBYTES: the buffer
        /// begins with this size and never shrinks below it by itself.
        BufferBytesMin: number("bytes", 0..=1_125_899_906_842_624) = 67_108_864;

        /// Maximum number of chunks in one buffer. One more fails with LIMIT.
        BufferChunksMax: number("chunks", 1..=100_000_000) = 1_000_000;

        /// Buffers shrink, down to their MINBYTES, while memory use is at or above this share of
        /// the server's `maxmemory`.
        BufferShrinkPercent: number("percent", 1..=100) = 90;

        /// Maximum size of one chunk.
        ChunkBytesMax: number("bytes", 1..=536_870_912) = 4_194_304,
            costs "one to two milliseconds for each MiB that is put, written, sealed or read";

        /// Lease of a chunk allocated without PX or EX. A chunk that is not sealed is reclaimed
        /// when this much time has passed since its last write.
        ChunkLeaseMs: number("ms", 1..=31_536_000_000) = 60_000;

        /// Maximum number of agents that hold one chunk. An agent counts once for a retain, and
        /// once for a pin.
        ChunkHoldersMax: number("agents", 1..=10_000) = 1_000;
    }

    "Mailboxes" {
        /// Lease of a message received without PX or EX. A message that is not acknowledged in time
        /// is delivered again.
        MailLeaseMs: number("ms", 1..=31_536_000_000) = 30_000;

        /// A message that was delivered this often without an acknowledgement becomes a dead
        /// letter.
        MailDeliveriesMax: number("deliveries", 1..=1_000_000) = 10;

        /// Maximum number of messages in one mailbox. A message to several agents counts once. One
        /// more fails with LIMIT.
        MailMessagesMax: number("messages", 1..=100_000_000) = 1_000_000;

        /// Maximum size of the payload of one message. More fails with LIMIT.
        MailPayloadBytesMax: number("bytes", 1_024..=536_870_912) = 4_194_304,
            costs "about a millisecond for each MiB that is sent, and for each client that gets it";

        /// Maximum size of all payloads in one mailbox. More fails with LIMIT.
        MailBytesMax: number("bytes", 1_024..=2_147_483_648) = 268_435_456;

        /// Maximum number of messages in the inbox of one agent. One more fails with LIMIT.
        MailInboxMax: number("messages", 1..=10_000_000) = 10_000,
            costs "about a millisecond for 2,000 messages that go with their inbox";

        /// Maximum number of agents that have joined one mailbox or have messages in it. One more
        /// fails with LIMIT.
        MailAgentsMax: number("agents", 1..=1_000_000) = 2_500,
            costs "about a millisecond for 1,000 agents that one message is sent to";

        /// How many dead letters one mailbox keeps. The oldest are dropped first.
        MailDeadMax: number("messages", 0..=1_000_000) = 1_000;

        /// Maximum number of clients that wait for messages of one mailbox. One more fails with
        /// LIMIT.
        MailWaitersMax: number("clients", 1..=1_000_000) = 10_000,
            costs "more rounds, not longer ones: who waits is served in parts, with other commands in between";
    }

    "Flows and tasks" {
        /// If `no`, every command of flows, tasks and mailboxes fails with DISABLED; data is kept.
        OrchestrationEnabled: switch = yes;

        /// Maximum number of tasks in one flow, including the finished tasks it keeps.
        FlowTasksMax: number("tasks", 1..=100_000_000) = 1_000_000;

        /// Maximum length of the SPEC of a new flow.
        FlowSpecBytesMax: number("bytes", 1..=67_108_864) = 1_048_576;

        /// Maximum number of tasks in one SPEC. They are added in one step. Without SPEC,
        /// LTMC.TASK.ADD adds as many as ltmc.flow-tasks-max.
        FlowSpecTasksMax: number("tasks", 1..=100_000_000) = 2_500,
            costs "about two microseconds for each task of a SPEC";

        /// Maximum number of names in the AFTER lists of one SPEC.
        FlowSpecEdgesMax: number("names", 0..=100_000_000) = 7_500,
            costs "up to a microsecond for each name in a SPEC";

        /// Maximum number of different sets of CAPS that the tasks of one flow require. A claim
        /// looks at those that its worker can do.
        FlowCapsMax: number("sets", 1..=1_000_000) = 1_000,
            costs "about a microsecond for each set that a worker can do";

        /// How many tasks that succeeded, were cancelled or skipped a new flow keeps if it has no
        /// KEEP. The oldest are dropped first.
        FlowKeep: number("tasks", 0..=100_000_000) = 10_000;

        /// How long a new flow keeps them if its KEEP has no MAXAGE. 0: as long as there are not
        /// too many.
        FlowKeepMs: number("ms", 0..=31_536_000_000) = 0;

        /// How many dead tasks a new flow keeps if it has no KEEPDEAD. The oldest are dropped
        /// first.
        FlowKeepDead: number("tasks", 0..=100_000_000) = 10_000;

        /// How long a new flow keeps them if its KEEPDEAD has no MAXAGE. 0: as long as there are
        /// not too many.
        FlowKeepDeadMs: number("ms", 0..=31_536_000_000) = 0;

        /// Maximum size of a payload, result or signal of a task.
        TaskPayloadBytesMax: number("bytes", 1..=536_870_912) = 4_194_304,
            costs "about a millisecond for each MiB that comes or is handed out";

        /// Lease of a claimed task if neither the claim nor the task names one.
        TaskLeaseMs: number("ms", 1..=31_536_000_000) = 30_000;

        /// How many times a task without RETRIES is tried again after its first attempt. Then it is
        /// dead.
        TaskRetries: number("attempts", 0..=1_000_000) = 3;

        /// First pause of a task without BACKOFF after its worker failed. It doubles with each
        /// attempt, up to an hour, and is shortened by up to a half. 0: the next attempt may begin
        /// at once.
        TaskBackoffMs: number("ms", 0..=3_600_000) = 1_000;

        /// In a new flow, one unit of PRIORITY is worth this much waiting time. So a task that has
        /// been ready long enough overtakes one of higher priority.
        TaskAgeingMs: number("ms", 1..=86_400_000) = 1_000;

        /// How long a worker has to stop after its task was cancelled or passed its deadline. Then
        /// the task is taken away from it.
        TaskStopGraceMs: number("ms", 0..=86_400_000) = 10_000;

        /// Maximum number of clients that wait for tasks of one flow. Clients that wait for tasks
        /// or the flow to end have the same limit and are counted separately.
        TaskWaitersMax: number("clients", 1..=1_000_000) = 10_000,
            costs "more rounds, not longer ones: who waits is served in parts, with other commands in between";
    }
}
