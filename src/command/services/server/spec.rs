//! The rows of the commands across all services and about the module itself.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape, Unit};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, Spec};
use crate::command::engine::work::Work;
use crate::command::services::spec::{KEY, READ_ROW, UPDATE_FIRST};
use crate::command::settings::Setting;

/// What they share. Most of them are an operator's.
const SERVER_ROW: Spec = Spec { keys: &[], roles: Roles::OPERATOR, categories: "read fast", ..READ_ROW };

const ROLES: &[&str] = &["primary", "replica"];
const MODES: &[&str] = &["basic", "full", "debug"];
const HEALTHS: &[&str] = &["ok", "degraded", "failed"];

const COUNTERS: Shape = Shape::map(&[
    Field::new("commands", Shape::COUNT),
    Field::new("errors", Shape::COUNT),
    Field::new("changes", Shape::COUNT),
    Field::new("applied", Shape::COUNT),
    Field::new("waits", Shape::COUNT),
    Field::new("panics", Shape::COUNT),
]);

const STATUS_MAP: Shape = Shape::map(&[
    Field::new("version", Shape::TEXT),
    Field::new("server", Shape::TEXT),
    Field::new("role", Shape::word(ROLES)),
    Field::new("mode", Shape::word(MODES)),
    Field::new("health", Shape::word(HEALTHS)),
    Field::new("cluster", Shape::FLAG),
    Field::new("replicas", Shape::COUNT),
    Field::new("uptime_ms", Shape::MS),
    Field::new("memory_permille", Shape::integer(Unit::Permille).or_nil("maxmemory is not set")),
    Field::new("last_fence", Shape::FENCE.or_zero("none was granted yet")),
    Field::new("waiting_clients", Shape::COUNT),
    Field::new("deadlines", Shape::COUNT),
    Field::new("sweep_lag_ms", Shape::MS),
    Field::new("panics", Shape::COUNT),
    Field::new("quarantined_keys", Shape::COUNT),
    Field::new("totals", Shape::map_of("kind", &Shape::COUNT).about("keys, and what they hold")),
    Field::new("services", Shape::map_of("service", &COUNTERS)),
    Field::new(
        "settings",
        Shape::map_of(
            "setting",
            &Shape::one_of(&[
                Case::new("for numbers", Shape::integer(Unit::Setting)),
                Case::new("for words", Shape::TEXT),
            ]),
        ),
    ),
]);

const MEMBER: Shape = Shape::map(&[
    Field::new("id", Shape::TEXT.or_nil("there is no cluster")),
    Field::new("address", Shape::TEXT.or_nil("it is not known")),
    Field::new("role", Shape::word(ROLES)),
    Field::new("primary", Shape::TEXT.or_nil("it is one")),
    Field::new("link", Shape::word(&["up", "suspect", "syncing", "down"])),
    Field::new("health", Shape::word(&["ok", "degraded", "failed", "unknown"])),
    Field::new("age_ms", Shape::MS.or_nil("nothing was heard of it")),
    Field::new("module", Shape::FLAG.or_nil("it is not known")),
    Field::new("version", Shape::TEXT.or_nil(UNHEARD)),
    Field::new("server", Shape::TEXT.or_nil(UNHEARD)),
    Field::new("mode", Shape::word(MODES).or_nil(UNHEARD)),
    Field::new("uptime_ms", Shape::MS.or_nil(UNHEARD)),
    Field::new("waiting_clients", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("commands", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("errors", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("panics", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("quarantined_keys", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("deadlines", Shape::COUNT.or_nil(UNHEARD)),
    Field::new("sweep_lag_ms", Shape::MS.or_nil(UNHEARD)),
]);
const UNHEARD: &str = "it has not reported";

const SERVICE_HEALTH: Shape = Shape::map(&[
    Field::new("state", Shape::word(&["ok", "degraded", "disabled"])),
    Field::new("panics", Shape::COUNT),
    Field::new("repairs", Shape::COUNT),
    Field::new("quarantined_keys", Shape::COUNT),
    Field::new("waiting_clients", Shape::COUNT),
    Field::new("oldest_waiter_ms", Shape::MS),
    Field::new("errors", Shape::COUNT),
    Field::new("rejected", Shape::COUNT),
]);

const HEALTH_MAP: Shape = Shape::map(&[
    Field::new("status", Shape::word(HEALTHS)),
    Field::new("reasons", Shape::list(&Shape::word(REASONS))),
    Field::new("sweep_lag_ms", Shape::MS),
    Field::new("event_loop_delay_us", Shape::US),
    Field::new("event_loop_delay_max_us", Shape::US),
    Field::new("memory_permille", Shape::integer(Unit::Permille).or_nil("maxmemory is not set")),
    Field::new("quarantined_keys", Shape::COUNT),
    Field::new("dropped_changes", Shape::COUNT),
    Field::new("panics", Shape::COUNT),
    Field::new("repairs", Shape::COUNT),
    Field::new("checked", Shape::COUNT),
    Field::new("check_in_parts", Shape::COUNT),
    Field::new("check_skipped", Shape::COUNT),
    Field::new("check_round_ms", Shape::MS.or_nil("no round has ended yet")),
    Field::new("services", Shape::map_of("service", &SERVICE_HEALTH)),
]);
const REASONS: &[&str] = &["quarantine", "panic", "repair", "sweep-lag", "event-loop-delay", "audit", "memory"];

const REPAIRED: Shape = Shape::map(&[
    Field::new(
        "type",
        Shape::word(&[
            "ltmcagent",
            "ltmc-lock",
            "ltmc-ctxt",
            "ltmc-sess",
            "ltmccache",
            "ltmcchunk",
            "ltmc-flow",
            "ltmc-mail",
        ]),
    ),
    Field::new("was_broken", Shape::FLAG),
    Field::new("given_up", Shape::TEXT.about("what was lost").or_nil("nothing was lost")),
]);

const STAGES: Shape = Shape::map(&[
    Field::new("check", Shape::US),
    Field::new("decide", Shape::US),
    Field::new("replicate", Shape::US),
    Field::new("apply", Shape::US),
    Field::new("notify", Shape::US),
    Field::new("wake", Shape::US),
    Field::new("send", Shape::US),
]);

const HAPPENED: Shape = Shape::tuple(&[
    Field::new("key", Shape::BYTES),
    Field::new("event", Shape::TEXT),
    Field::new("whose", Shape::word(&["command", "follow-up"])),
]);

const WOKEN: Shape = Shape::tuple(&[Field::new("client", Shape::NUMBER), Field::new("key", Shape::BYTES)]);

const TRACED: Shape = Shape::map(&[
    Field::new("id", Shape::NUMBER),
    Field::new("at_ms", Shape::UNIX_MS),
    Field::new("client", Shape::NUMBER),
    Field::new("db", Shape::NUMBER),
    Field::new("command", Shape::TEXT),
    Field::new("args", Shape::list(&Shape::BYTES)),
    Field::new("outcome", Shape::TEXT),
    Field::new("total_us", Shape::US),
    Field::new("stages_us", STAGES),
    Field::new("events", Shape::list(&HAPPENED)),
    Field::new("events_beyond", Shape::COUNT),
    Field::new("woken", Shape::list(&WOKEN)),
    Field::new("woken_beyond", Shape::COUNT),
]);

pub const STATUS: Spec = Spec {
    name: "LTMC.STATUS",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALLOW_STALE),
    roles: Roles::ALL,
    complexity: "O(1)",
    summary: "Shows the state of this node.",
    reply: STATUS_MAP,
    ..SERVER_ROW
};

pub const CLUSTER: Spec = Spec {
    name: "LTMC.CLUSTER",
    arity: 1,
    flags: STATUS.flags,
    roles: Roles::WATCHERS.and(Roles::AUDITOR),
    complexity: "O(N) with N the nodes",
    summary:
        "Shows all nodes of the cluster, each with its last report; without cluster, the primary and its replicas.",
    reply: Shape::list(&MEMBER).about("this node first"),
    ..SERVER_ROW
};

pub const HEALTH: Spec = Spec {
    name: "LTMC.HEALTH",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALLOW_STALE),
    roles: Roles::WATCHERS.and(Roles::AUDITOR),
    complexity: "O(N) with N the keys on which internal errors happened, normally none",
    summary: "Shows whether this node is well, and why not.",
    reply: HEALTH_MAP,
    ..SERVER_ROW
};

pub const APPLY: Spec = Spec {
    name: "LTMC.APPLY",
    work: &[Work::Whole],
    is_verbatim: true,
    arity: -3,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: UPDATE_FIRST,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the changes in the payload",
    summary: "Applies changes that a primary decided: how LTMC's writes reach replicas and the AOF. Not for clients.",
    reply: Shape::OK,
    missing: Missing::Always(Nothing::Made),
    args: &[KEY, Arg::string("payload"), Arg::string("blob").multiple().optional()],
    ..SERVER_ROW
};

pub const EXPLAIN: Spec = Spec {
    name: "LTMC.EXPLAIN",
    work: &[Work::Whole],
    arity: -2,
    categories: "read slow",
    complexity: "O(N) with N the size of the payload",
    summary: "Shows the payload of an LTMC.APPLY as JSON, for reading an AOF, and what is wrong with a broken one.",
    reply: Shape::JSON,
    args: &[Arg::string("payload"), Arg::string("blob").multiple().optional()],
    ..SERVER_ROW
};

pub const REPAIR: Spec = Spec {
    name: "LTMC.REPAIR",
    work: &[Work::Whole],
    arity: 2,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: UPDATE_FIRST,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the size of the value",
    summary: "Checks a key, rebuilds what is derived in it and ends its quarantine. A broken context or session may lose its history.",
    reply: REPAIRED.or_nil("the key holds nothing of LTMC"),
    args: &[KEY],
    ..SERVER_ROW
};

pub const TRACE: Spec = Spec {
    name: "LTMC.TRACE",
    work: &[Work::Each(10, Setting::TraceMax), Work::Reply],
    arity: -2,
    flags: Flags::READONLY.and(Flags::ADMIN).and(Flags::ALLOW_STALE),
    categories: "read slow admin dangerous",
    complexity: "O(N) with N the traces returned",
    summary: "Shows the last commands in debug mode: their stages in microseconds, what followed from them and who was woken.",
    reply: Shape::one_of(&[
        Case::new("GET", Shape::list(&TRACED).about("the newest first")),
        Case::new("LEN", Shape::COUNT),
        Case::new("RESET", Shape::OK),
    ]),
    args: &[Arg::one_of(
        "subcommand",
        &[
            Arg::new("get", ArgKind::Block(&[Arg::word("get", "GET"), Arg::integer("n").optional()])),
            Arg::word("len", "LEN"),
            Arg::word("reset", "RESET"),
        ],
    )],
    ..SERVER_ROW
};

const RECORD: Shape = Shape::map(&[
    Field::new("n", Shape::NUMBER.about("of the record")),
    Field::new("at_ms", Shape::UNIX_MS),
    Field::new("node", Shape::TEXT.about("run id of the node")),
    Field::new("user", Shape::TEXT.or_nil("it is not known, or it was the server")),
    Field::new("client", Shape::NUMBER.about("the id of the connection").or_nil("there was none")),
    Field::new("addr", Shape::TEXT.or_nil("it is not known")),
    Field::new("agent", Shape::TEXT.or_nil("none was named")),
    Field::new("command", Shape::TEXT.about("or the event")),
    Field::new("class", Shape::word(&["read", "write", "admin", "denied", "config", "reaction"])),
    Field::new("db", Shape::NUMBER),
    Field::new("key", Shape::TEXT.or_nil("it is about none")),
    Field::new("object", Shape::TEXT.about("path, task, tool, chunk, field").or_nil("none was named")),
    Field::new("before", Shape::NUMBER.about("revision").or_nil("there was no key, or nothing changed")),
    Field::new("after", Shape::NUMBER.about("revision").or_nil("there is no key, or nothing changed")),
    Field::new("outcome", Shape::TEXT),
    Field::new("us", Shape::US),
    Field::new("reqid", Shape::TEXT.or_nil("none was given")),
    Field::new("bytes", Shape::integer(Unit::Bytes).about("of the values that were given")),
    Field::new("cause", Shape::NUMBER.about("the record that it follows from").or_nil("it follows from none")),
    Field::new("chain", Shape::TEXT.about("SHA-256")),
]);

pub const AUDIT: Spec = Spec {
    name: "LTMC.AUDIT",
    work: &[Work::Each(2, Setting::AuditRingMax), Work::Reply],
    arity: -2,
    flags: Flags::READONLY.and(Flags::ADMIN).and(Flags::ALLOW_STALE),
    roles: Roles::AUDITOR,
    categories: "read slow admin dangerous",
    complexity: "O(N) with N the records in the ring",
    summary: "Shows the last records of the audit trail, or has it go on in a new file.",
    reply: Shape::one_of(&[
        Case::new("GET", Shape::list(&RECORD).about("the newest first")),
        Case::new("LEN", Shape::COUNT),
        Case::new("RESET or ROTATE", Shape::OK),
    ]),
    args: &[
        Arg::one_of(
            "subcommand",
            &[
                Arg::word("get", "GET"),
                Arg::word("len", "LEN"),
                Arg::word("reset", "RESET"),
                Arg::word("rotate", "ROTATE"),
            ],
        ),
        Arg::integer("n").optional(),
        Arg::string("user").after("USER").optional(),
        Arg::string("agent").after("AGENT").optional(),
        Arg::string("name").after("KEY").optional(),
        Arg::string("class").after("CLASS").optional(),
    ],
    ..SERVER_ROW
};

#[cfg(feature = "test-hooks")]
const WORKED: Shape = Shape::tuple(&[
    Field::new("command", Shape::TEXT.about("or `round`")),
    Field::new("looks", Shape::COUNT),
    Field::new("bound", Shape::COUNT),
]);

#[cfg(feature = "test-hooks")]
pub const DEBUG: Spec = Spec {
    name: "LTMC.DEBUG",
    arity: -2,
    // The key of PANIC, on which the panic is counted.
    keys: &[crate::command::engine::spec::KeySpec {
        access: crate::command::host::Access::Update,
        at: crate::command::engine::spec::KeysAt::Index(2),
    }],
    flags: Flags::WRITE.and(Flags::ADMIN),
    categories: "write slow admin dangerous",
    complexity: "O(1)",
    summary: "Exists in test builds only: panics on demand (PANIC [key], SWEEP times, CHECK times), moves the \
              clock (CLOCK ms) or the system's (WALL ms), breaks what is derived in a value (BREAK key [part]) and has threads do what has so many steps, later (OFFLOAD steps ms); shows the most that a command or a round looked at in one go and its bound (WORK).",
    reply: Shape::one_of(&[Case::new("WORK", Shape::list(&WORKED)), Case::new("else", Shape::OK)]),
    args: &[Arg::string("what"), Arg::key("arg", 0).optional(), Arg::string("part").optional()],
    ..SERVER_ROW
};
