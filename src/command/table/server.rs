//! The rows of the commands across all services and about the module itself.

use super::common::{BLOCK, KEY, READ_FIRST, ROW, UPDATE_FIRST};
use crate::command::spec::{Access, Arg, ArgKind, Flags, KeySpec, KeysAt, Spec};
use crate::domain::Service;

const SERVER_ROW: Spec = Spec { service: None, keys: &[], flags: Flags::READONLY, categories: "read fast", ..ROW };

pub const WATCH: Spec = Spec {
    name: "LTMC.WATCH",
    arity: -5,
    // Redis Cluster does not look at key specs like this one.
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::GETKEYS_API),
    keys: &[KeySpec { access: Access::Read, at: KeysAt::CountAt(1) }],
    categories: "read slow blocking",
    service: Some(Service::Watch),
    complexity: "O(K + M) with K keys and M the events returned",
    summary: "Tells what happened to keys after a revision; waits for news if asked to.",
    reply: "for each key its revision and a list of events as JSON, or its revision, COMPACTED and the oldest revision kept; nil \
            if the wait timed out",
    args: &[
        Arg::integer("numkeys"),
        KEY.multiple(),
        Arg::new("since", ArgKind::Block(&[Arg::string("revision").multiple()])).after("SINCE"),
        Arg::integer("n").after("COUNT").optional(),
        Arg::string("path").after("PATH").optional(),
        BLOCK,
    ],
    ..ROW
};

pub const GUARD: Spec = Spec {
    name: "LTMC.GUARD",
    arity: -4,
    flags: Flags::WRITE.and(Flags::GETKEYS_API).and(Flags::WRAPS),
    keys: READ_FIRST,
    categories: "write slow",
    service: Some(Service::Lock),
    complexity: "that of the command",
    summary: "Runs any command only if a fence is the current one of a lock: makes Redis itself the fenced resource.",
    reply: "that of the command",
    args: &[
        Arg::key("lockkey", 0),
        Arg::integer("fence"),
        Arg::string("command"),
        Arg::string("arg").multiple().optional(),
    ],
    ..ROW
};

pub const STATUS: Spec = Spec {
    name: "LTMC.STATUS",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALLOW_STALE),
    complexity: "O(1)",
    summary: "Shows the state of this node.",
    reply: "map: version, server, role, mode, health, cluster, replicas, settings, who waits and, per service, the counters",
    ..SERVER_ROW
};

pub const CLUSTER: Spec = Spec {
    name: "LTMC.CLUSTER",
    arity: 1,
    flags: STATUS.flags,
    complexity: "O(N) with N the nodes",
    summary: "Shows all nodes of the cluster, each with what it last told of itself; without cluster primary and replicas.",
    reply: "list of maps, this node first: id, address, role, primary, link, health, age_ms, module, version, server, mode, \
            uptime_ms and the counters; nil for what is not known",
    ..SERVER_ROW
};

pub const HEALTH: Spec = Spec {
    name: "LTMC.HEALTH",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALLOW_STALE),
    complexity: "O(N) with N the keys on which internal errors happened, normally none",
    summary: "Shows whether this node is well, and why not.",
    reply: "map: status (ok, degraded or failed), reasons, how far the scheduler and the event loop are behind, memory, quarantine, \
            what the automatic check found, and a map of each service",
    ..SERVER_ROW
};

pub const APPLY: Spec = Spec {
    name: "LTMC.APPLY",
    is_verbatim: true,
    arity: -3,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: UPDATE_FIRST,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the changes in the payload",
    summary: "Applies changes that a primary decided: how LTMC's writes reach replicas and the AOF. Not for clients.",
    reply: "OK",
    args: &[KEY, Arg::string("payload"), Arg::string("blob").multiple().optional()],
    ..SERVER_ROW
};

pub const EXPLAIN: Spec = Spec {
    name: "LTMC.EXPLAIN",
    arity: -2,
    categories: "read slow",
    complexity: "O(N) with N the size of the payload",
    summary:
        "Shows the payload of an LTMC.APPLY as JSON, for reading an AOF, and what is wrong with that of a broken value.",
    reply: "JSON text",
    args: &[Arg::string("payload"), Arg::string("blob").multiple().optional()],
    ..SERVER_ROW
};

pub const REPAIR: Spec = Spec {
    name: "LTMC.REPAIR",
    arity: 2,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: UPDATE_FIRST,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the size of the value",
    summary: "Checks a key, makes its derived indexes anew and takes it out of quarantine. Of a broken context or session the past may go.",
    reply: "map: type, was_broken, given_up (what had to go, nil if nothing); nil if the key holds nothing of LTMC",
    args: &[KEY],
    ..SERVER_ROW
};

pub const TRACE: Spec = Spec {
    name: "LTMC.TRACE",
    arity: -2,
    flags: Flags::READONLY.and(Flags::ADMIN).and(Flags::ALLOW_STALE),
    categories: "read slow admin dangerous",
    complexity: "O(N) with N the traces returned",
    summary: "Shows the last commands in debug mode: their stages in microseconds, what followed from them and who was woken.",
    reply: "GET: a list of maps, the newest first; LEN: how many there are; RESET: OK",
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

#[cfg(feature = "test-hooks")]
pub const DEBUG: Spec = Spec {
    name: "LTMC.DEBUG",
    arity: -2,
    // The key of PANIC: the one that is counted towards quarantine.
    keys: &[KeySpec { access: Access::Update, at: KeysAt::Index(2) }],
    flags: Flags::WRITE.and(Flags::ADMIN),
    categories: "write slow admin dangerous",
    complexity: "O(1)",
    summary: "Exists in test builds only: panics on demand (PANIC [key], SWEEP times, CHECK times), moves the \
              clock (CLOCK ms) and breaks what is derived in a value (BREAK key [part]).",
    reply: "OK",
    args: &[Arg::string("what"), Arg::key("arg", 0).optional(), Arg::string("part").optional()],
    ..SERVER_ROW
};
