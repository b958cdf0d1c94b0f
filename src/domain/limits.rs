//! Bounds that are not settings: limits of single arguments and entities.
//!
//! Bounds that an operator may want to change are settings, see `command::settings`.

use super::Millis;

/// Longest owner, agent or request id, bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest name of a key that a value remembers, bytes.
pub const KEY_BYTES_MAX: usize = 65_536;
/// Longest name of a key that a command takes. It is hashed, compared and copied again and again
/// while clients wait.
pub const COMMAND_KEY_BYTES_MAX: usize = 1_024;
/// How many grants, claims, tasks and pins are given back at once when agents are gone; the rest
/// follows right after. A key counts as four, a client that is served as sixteen.
pub const REACTION_PIECES_MAX: usize = 1_000;
/// Most agents that one key is bound to.
pub const BINDINGS_MAX: usize = 1_000_000;
/// Longest `META` text of a lock, bytes.
pub const LOCK_META_BYTES_MAX: usize = 4096;
/// Longest JSON Pointer, bytes.
pub const POINTER_BYTES_MAX: usize = 1024;
/// Most parts of a JSON Pointer.
pub const POINTER_DEPTH_MAX: usize = 128;
/// Most operations of one JSON Patch.
pub const PATCH_OPERATIONS_MAX: usize = 10_000;
/// Longest lock path, bytes, after normalisation.
pub const PATH_BYTES_MAX: usize = 1024;
/// Deepest lock path, segments.
pub const PATH_DEPTH_MAX: usize = 64;
/// The paths of a lock's grants have together this many segments for each grant that is allowed:
/// what ends grants costs as much for each segment as for a grant.
pub const PATH_SEGMENTS_PER_GRANT: u64 = 4;
/// Most keys of one `LTMC.MLOCK`.
pub const MLOCK_KEYS_MAX: usize = 128;
/// Longest lease, wait or time to live: 100 years, ms. Keeps every sum of now and a duration
/// far from overflow.
pub const DURATION_MS_MAX: Millis = 100 * 365 * 24 * 3600 * 1000;
/// Highest `PRIORITY`.
pub const PRIORITY_MAX: u64 = 1000;
/// Highest `LIMIT` of a counted lock.
pub const LOCK_LIMIT_MAX: u64 = 1_000_000;
/// Most levels one owner may take of one reentrant lock.
pub const LOCK_LEVELS_MAX: u32 = 1_000_000;
/// All owners together have so many times the requests that a key remembers of one owner.
pub const REQUEST_OWNERS_SHARE: usize = 100;
/// Highest number of requests of one owner that a key can be made to remember.
pub const REQUESTS_OF_OWNER_END: usize = 1_000;
/// Most requests that a key remembers, whatever is set.
pub const REQUESTS_END: usize = REQUEST_OWNERS_SHARE * REQUESTS_OF_OWNER_END;
/// Most requests of one owner, and most of all, that are forgotten when one is remembered.
pub const REQUESTS_FORGOTTEN_MAX: usize = 16;
/// Largest payload that `LTMC.APPLY` and a load accept, bytes: the largest length that
/// a frame can hold.
pub const PAYLOAD_BYTES_MAX: usize = u32::MAX as usize;
/// Most bytes that a registry takes, so that it can be saved in one frame.
pub const REGISTRY_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// Largest report of a cluster node about itself, bytes: twice what it needs today.
pub const REPORT_BYTES_MAX: usize = 512;
/// Longest text in such a report, bytes.
pub const REPORT_TEXT_BYTES_MAX: usize = 32;
/// Other cluster nodes whose reports are kept: as many as a Redis Cluster should have.
pub const PEERS_MAX: usize = 1000;
/// Panics on one key after which it is quarantined.
pub const PANICS_PER_KEY_MAX: u8 = 3;
/// Most holders, and most waiters, that `LTMC.LOCK.INFO` lists, and most links of a cycle that
/// `DEADLOCK` shows.
pub const LOCK_SHOWN_MAX: usize = 100;
/// Most names of a list that an event shows to watchers, where the state has them all.
pub const EVENT_SHOWN_MAX: usize = 100;
/// Most edges that `LTMC.LOCK.GRAPH` lists.
pub const GRAPH_EDGES_MAX: usize = 10_000;
/// Longest capability name or tag, bytes.
pub const CAPABILITY_BYTES_MAX: usize = 128;
/// Most capabilities, and most tags, of one agent and of one filter.
pub const AGENT_LABELS_MAX: usize = 64;
/// Longest `META` of an agent, bytes of JSON.
pub const AGENT_META_BYTES_MAX: usize = 16 * 1024;
/// Most single values (numbers, texts, booleans, nulls) in the `META` of an agent, since each can
/// be searched for.
pub const AGENT_META_VALUES_MAX: usize = 128;
/// Longest `NAME`, `REASON` or `REF`, bytes.
pub const AGENT_TEXT_BYTES_MAX: usize = 1024;
/// Highest `CAPACITY`, and so the most claims on one agent: as much as a setting allows.
pub const CAPACITY_MAX: u64 = 100_000;
/// Most ids that a filter excludes.
pub const EXCLUDED_MAX: usize = 1024;
/// Most results that one `LIMIT` can ask for.
pub const RESULTS_MAX: u64 = 10_000_000;
/// An offset skips no more: it has to pass them all, however few are shown.
pub const SKIPPED_MAX: usize = 10_000;
/// Most keys of one `LTMC.WATCH`.
pub const WATCH_KEYS_MAX: usize = 128;
/// Most bytes of events that the log of one key holds.
pub const WATCH_LOG_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of names of fields, or of keys, in one event of a watch log.
pub const EVENT_NAMES_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a checkpoint and longest role of a participant, bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most checkpoints of one key: more than any setting allows.
pub const CHECKPOINTS_MAX: usize = 1_000_000;
/// Participants: more than any setting allows.
pub const PARTICIPANTS_END: usize = 1_000_000;
/// Resources of one session: more than any setting allows.
pub const RESOURCES_END: usize = 1_000_000;
/// Most agents that give the same resource to a session.
pub const RESOURCE_GIVERS_MAX: usize = 64;
/// Most memory for the JSON that one call brings or reads from sessions, bytes.
pub const JSON_HEAP_BYTES: usize = 512 * 1024 * 1024;
/// Longest `META` of a context or session, bytes of JSON.
pub const VERSIONED_META_BYTES_MAX: usize = 16 * 1024;
/// Longest name of a session's field, bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 1024;
/// Longest value of a session's field, bytes: the limit of Redis.
pub const FIELD_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Fields of one session: more than any setting allows.
pub const FIELDS_END: usize = 100_000_000;
/// Edits of one update of a document: more than any setting allows.
pub const EDITS_END: usize = 1_000_000;
/// Most edits of a document that its history keeps, since all of them may have to be undone at
/// once: about half a microsecond each.
pub const HISTORY_EDITS_MAX: usize = 10_000;
/// Most changes of fields that the history of a session keeps, for the same reason: about a third
/// of a microsecond each.
pub const HISTORY_FIELDS_MAX: usize = 20_000;
/// Depth of a document: more than any setting allows. What is saved can still be read
/// (serde_json: 127).
pub const JSON_DEPTH_END: usize = 120;
/// Most places of a document whose touches are remembered.
pub const TOUCHES_MAX: usize = 1024;
/// How many levels of a document are distinguished in that.
pub const TOUCH_DEPTH_MAX: usize = 3;
/// How many agents are remembered for each place.
pub const TOUCH_AGENTS_MAX: usize = 4;
/// Most paths of one command.
pub const PATHS_MAX: usize = 1024;
/// Most pieces of a document from which a part of it is built.
pub const PIECES_MAX: usize = 250_000;
/// Most sources of one `LTMC.CTX.GENERATE`.
pub const SOURCES_MAX: usize = 128;
/// Longest name of a tool, bytes.
pub const TOOL_BYTES_MAX: usize = 256;
/// Longest arguments of a tool, bytes: more than any setting allows.
pub const TOOL_ARGS_BYTES_MAX: usize = 1024 * 1024;
/// Longest cached result, bytes: the limit of a Redis string, and more than any setting allows.
pub const RESULT_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Longest dependency or tag of a cached result, bytes.
pub const CACHE_LABEL_BYTES_MAX: usize = 1024;
/// Most dependencies, and most tags, of one result or of one `LTMC.CACHE.INVALIDATE`.
pub const CACHE_LABELS_MAX: usize = 128;
/// Tools of a cache without results whose counters are kept.
pub const IDLE_TOOLS_MAX: usize = 1000;
/// Most invalidations that a cache remembers while tickets are out. Beyond that all
/// tickets are void.
pub const VOIDS_MAX: usize = 4096;
/// Most results that one event removes.
pub const CACHE_BATCH_MAX: usize = 1024;
/// Most agents that one message can be sent to.
pub const MAIL_RECEIVERS_MAX: usize = 1_000_000;
/// Most messages that one `LTMC.MSG.RECV` receives.
pub const MAIL_RECEIVE_MAX: usize = 1000;
/// Chunk of a buffer, bytes: larger than any setting allows, and the longest argument that Redis
/// accepts by default.
pub const CHUNK_BYTES_END: usize = 512 * 1024 * 1024;
/// Largest bound of a buffer, bytes: 1 PiB.
pub const BUFFER_BYTES_END: u64 = 1 << 50;
/// Holders of one chunk, which retain or pin it: more than any setting allows.
pub const CHUNK_HOLDERS_END: usize = 10_000;
/// Longest `META` of a chunk, bytes of JSON.
pub const CHUNK_META_BYTES_MAX: usize = 16 * 1024;
/// Most hashes of one `LTMC.CHUNK.HAVE`.
pub const CHUNK_HASHES_MAX: usize = 100_000;
/// Most chunks that one command reads.
pub const CHUNKS_READ_MAX: usize = 2_000;
/// Most chunks that one command frees.
pub const CHUNKS_FREED_MAX: usize = 2_000;
/// Most chunks that one command evicts to make room for another. The scheduler evicts the rest.
pub const EVICTED_PER_COMMAND_MAX: usize = 128;
/// Agents whose holdings one `LTMC.CHUNK.STATS` lists.
pub const CHUNK_HOLDERS_SHOWN_MAX: usize = 1000;
/// Most parents of one task.
pub const TASK_PARENTS_MAX: usize = 10_000;
/// Most locks of one task.
pub const TASK_LOCKS_MAX: usize = 32;
/// Longest reason, note or other text of a worker, bytes.
pub const TASK_TEXT_BYTES_MAX: usize = 1024;
/// Longest payload, result or signal, bytes: the limit of Redis.
pub const TASK_BYTES_END: usize = 512 * 1024 * 1024;
/// Most retries after the first attempt.
pub const TASK_RETRIES_MAX: u64 = 1_000_000;
/// Most attempts remembered of each task.
pub const ATTEMPTS_KEPT_MAX: usize = 16;
/// Most ended claims of forgotten tasks that a flow remembers.
pub const ENDED_CLAIMS_MAX: usize = 1_024;
/// Most tasks of one claim.
pub const TASK_CLAIMS_MAX: usize = 1_000;
/// Most lines of tasks whose locks are tried in one claim.
pub const TASK_LINES_TRIED_MAX: usize = 128;
/// Most claims of a rate, since the time of each is remembered.
pub const RATE_CLAIMS_MAX: u64 = 10_000;
/// Most tasks of a flow that is drawn as a graph, or whose critical path is searched.
pub const FLOW_GRAPH_TASKS_MAX: usize = 5_000;
/// Most edges of such a flow.
pub const FLOW_GRAPH_EDGES_MAX: usize = 20_000;
/// Most looks at tasks and edges of a command that requeues a task with those that fell with it:
/// one takes about a microsecond.
pub const REQUEUE_LOOKS_MAX: usize = 5_000;
/// About how many tasks and edges are forgotten with one change, if a flow has more than it keeps.
/// The scheduler forgets the rest.
pub const FORGOTTEN_AT_ONCE: usize = 1_000;
/// Bytes of the tasks of one claim, unless its first task is longer. A claim of many tasks ends
/// there.
pub const CLAIM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most looks for sets of capabilities in one claim, and at lines that it closes since their group
/// is full. A claim of many tasks ends there.
pub const CLAIM_LOOKS_MAX: usize = 10_000;
/// Most locks that one claim tries, once it has tried those of one task.
pub const CLAIM_LOCKS_MAX: usize = 512;
/// Tasks of one flow: more than any setting allows.
pub const FLOW_TASKS_END: usize = 100_000_000;
/// Most bytes of the tasks of a flow without their long values, so that it can be
/// saved in one frame.
pub const FLOW_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;
/// Most arguments kept of a traced command. One of them says how many more there were.
pub const TRACE_ARGS_MAX: usize = 16;
/// Longest argument and key name in a trace, bytes.
pub const TRACE_ARG_BYTES_MAX: usize = 64;
/// Longest text of an event or an error in a trace, bytes.
pub const TRACE_TEXT_BYTES_MAX: usize = 200;
/// Most events kept of a traced command.
pub const TRACE_EVENTS_MAX: usize = 64;
/// Most woken clients kept of a traced command.
pub const TRACE_WOKEN_MAX: usize = 64;
/// Most bytes of all traces.
pub const TRACE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whether a time to live, ms, is within the bounds that commands keep.
pub fn is_ttl(ttl_ms: Option<Millis>) -> bool {
    ttl_ms.is_none_or(|ttl_ms| (1..=DURATION_MS_MAX).contains(&ttl_ms))
}
