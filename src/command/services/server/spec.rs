//! The rows of the commands across all services and about the module itself.

use crate::command::engine::spec::{Arg, ArgKind, Flags, Spec};
use crate::command::services::spec::{KEY, ROW, UPDATE_FIRST};

const SERVER_ROW: Spec = Spec { service: None, keys: &[], flags: Flags::READONLY, categories: "read fast", ..ROW };

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
    keys: &[crate::command::engine::spec::KeySpec {
        access: crate::command::host::Access::Update,
        at: crate::command::engine::spec::KeysAt::Index(2),
    }],
    flags: Flags::WRITE.and(Flags::ADMIN),
    categories: "write slow admin dangerous",
    complexity: "O(1)",
    summary: "Exists in test builds only: panics on demand (PANIC [key], SWEEP times, CHECK times), moves the \
              clock (CLOCK ms) and breaks what is derived in a value (BREAK key [part]).",
    reply: "OK",
    args: &[Arg::string("what"), Arg::key("arg", 0).optional(), Arg::string("part").optional()],
    ..SERVER_ROW
};
