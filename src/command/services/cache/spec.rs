//! The rows of the commands of the tool cache.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::services::spec::{BLOCK, COUNT, CURSOR, NEXT, READ_ROW, ROW};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const MISS: Nothing = Nothing::Reply(r#"{"status":"MISS"}"#);

const CACHE_ROW: Spec = Spec { service: Some(Service::Cache), complexity: "O(log N) with N the answers", ..ROW };
const CACHE_READ: Spec = Spec { service: CACHE_ROW.service, complexity: CACHE_ROW.complexity, ..READ_ROW };

const CACHE: Arg = Arg::key("cache", 0);
const TOOL: Arg = Arg::string("tool");
const ARGS: Arg = Arg::string("args");
const CALLER: Arg = Arg::string("agent").acting().after("AGENT").optional();
const MAXAGE: Arg = Arg::integer("ms").after("MAXAGE").optional();
const RAW: Arg = Arg::word("raw", "RAW").optional();
const OF_TOOL: Arg = Arg::string("tool").after("TOOL").optional();

const fn counted(name: &'static str, of: &'static [Arg]) -> Arg {
    Arg::new(name, ArgKind::Block(of))
}

const DEPS: &[Arg] = &[Arg::integer("n"), Arg::string("dep").multiple()];
const TAGS: &[Arg] = &[Arg::integer("n"), Arg::string("tag").multiple()];

const ANSWER: Shape = Shape::map(&[
    Field::new("status", Shape::word(&["HIT", "STALE", "NEGATIVE", "MISS"])),
    Field::new("value", Shape::BYTES.or_nil("status is MISS")),
    Field::new("age_ms", Shape::MS.or_nil("status is MISS")),
    Field::new("ttl_ms", Shape::MS.or_nil("status is MISS or the answer has no end")),
    Field::new("ticket", Shape::FENCE.or_nil("another client computes the answer or no one has to or none is left")),
]);

/// The counters of a cache, and of one tool in it.
const COUNTERS: [Field; 13] = [
    Field::new("hits", Shape::COUNT),
    Field::new("stale_hits", Shape::COUNT),
    Field::new("negative_hits", Shape::COUNT),
    Field::new("misses", Shape::COUNT),
    Field::new("tickets", Shape::COUNT),
    Field::new("puts", Shape::COUNT),
    Field::new("evicted", Shape::COUNT),
    Field::new("expired", Shape::COUNT),
    Field::new("invalidated", Shape::COUNT),
    Field::new("shared_hits", Shape::COUNT),
    Field::new("calls_saved", Shape::COUNT),
    Field::new("time_saved_ms", Shape::MS),
    Field::new("bytes_saved", Shape::SIZE),
];

const CACHE_STATS: Shape = Shape::map(&Field::join::<_, _, 22>(
    [
        Field::new("entries", Shape::COUNT),
        Field::new("entries_max", Shape::COUNT),
        Field::new("bytes", Shape::SIZE),
        Field::new("bytes_max", Shape::SIZE),
        Field::new("memory_bytes", Shape::SIZE),
        Field::new("policy", Shape::word(&["GDSF", "LRU", "LFU"])),
        Field::new("default_ttl_ms", Shape::MS.or_nil("it has none")),
        Field::new("tickets_out", Shape::COUNT),
        Field::new("labels", Shape::COUNT),
    ],
    COUNTERS,
));

const TOOL_STATS: Shape = Shape::map(&Field::join::<_, _, 15>(
    [Field::new("tool", Shape::BYTES), Field::new("entries", Shape::COUNT)],
    COUNTERS,
));

const ENTRY: Shape = Shape::map(&[
    Field::new("tool", Shape::BYTES),
    Field::new("args", Shape::BYTES),
    Field::new("raw", Shape::FLAG),
    Field::new("status", Shape::word(&["FRESH", "STALE", "NEGATIVE"])),
    Field::new("agent", Shape::BYTES.or_nil("none was named")),
    Field::new("private", Shape::FLAG),
    Field::new("bytes", Shape::SIZE),
    Field::new("age_ms", Shape::MS),
    Field::new("ttl_ms", Shape::MS.or_nil("it has no end")),
    Field::new("cost_ms", Shape::MS),
    Field::new("uses", Shape::COUNT),
    Field::new("uses_by_others", Shape::COUNT),
    Field::new("time_saved_ms", Shape::MS),
    Field::new("deps", Shape::list(&Shape::BYTES)),
    Field::new("tags", Shape::list(&Shape::BYTES)),
]);

pub const GET: Spec = Spec {
    name: "LTMC.CACHE.GET",
    work: &[Work::KiB(200, Setting::CacheArgsBytesMax), Work::KiB(1, Setting::CacheAnswerBytesMax)],
    arity: -4,
    // A miss hands out a ticket, so it may write. A hit does not, and works when memory is short.
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::BLOCKING),
    categories: "write fast blocking",
    complexity: "O(A) with A the bytes of the arguments; O(log T) more for a ticket with T tickets out",
    summary:
        "Returns the answer that a tool gave to the same arguments before. On a miss, one client gets a ticket to \
              compute it; with BLOCK the others wait for it.",
    reply: ANSWER.or_nil("the wait timed out"),
    missing: Missing::OneOf(&[("without PEEK", Nothing::Made), ("with PEEK", MISS)]),
    args: &[
        CACHE,
        TOOL,
        ARGS,
        CALLER,
        MAXAGE,
        Arg::integer("ms").after("LEASE").optional(),
        BLOCK,
        Arg::string("beta").after("BETA").optional(),
        Arg::word("peek", "PEEK").optional(),
        RAW,
    ],
    ..CACHE_ROW
};

pub const PEEK: Spec = Spec {
    name: "LTMC.CACHE.PEEK",
    work: &[Work::KiB(200, Setting::CacheArgsBytesMax), Work::KiB(1, Setting::CacheAnswerBytesMax)],
    arity: -4,
    flags: Flags::READONLY.and(Flags::FAST),
    // Not an operator's: whoever is free to name any agent would see the private answers of all.
    roles: Roles::TEAM.and(Roles::OBSERVER),
    categories: "read fast",
    complexity: "O(A) with A the bytes of the arguments",
    summary:
        "Returns the answer that a tool gave to the same arguments before, and hands out no ticket; also on a replica.",
    reply: ANSWER,
    missing: Missing::Always(MISS),
    args: &[CACHE, TOOL, ARGS, CALLER, MAXAGE, RAW],
    ..CACHE_READ
};

pub const PUT: Spec = Spec {
    name: "LTMC.CACHE.PUT",
    work: &[
        Work::KiB(200, Setting::CacheArgsBytesMax),
        Work::KiB(1, Setting::CacheAnswerBytesMax),
        Work::Looks(12_000),
        Work::Round,
    ],
    arity: -5,
    // Beyond maxmemory nothing is stored, but those who wait get the answer.
    flags: Flags::WRITE,
    categories: "write slow",
    complexity: "O(A + L log N) with A the bytes of arguments and value, L the dependencies and tags and N the answers; O(V) more with V \
                 the answers evicted for it",
    summary: "Stores the answer of a tool; all clients that wait for it get it at once, even if it cannot be kept.",
    reply: Shape::OK,
    missing: Missing::OneOf(&[("without TICKET", Nothing::Made), ("with TICKET", Nothing::Error(Code::Stale))]),
    args: &[
        CACHE,
        TOOL,
        ARGS,
        Arg::string("value"),
        Arg::integer("ticket").after("TICKET").optional(),
        TTL,
        Arg::integer("ms").after("STALE").optional(),
        counted("deps", DEPS).after("DEPS").optional(),
        counted("tags", TAGS).after("TAGS").optional(),
        Arg::integer("ms").after("COST").optional(),
        CALLER,
        Arg::word("private", "PRIVATE").optional(),
        Arg::word("negative", "NEGATIVE").optional(),
        RAW,
    ],
    ..CACHE_ROW
};

pub const FAIL: Spec = Spec {
    name: "LTMC.CACHE.FAIL",
    work: &[Work::KiB(200, Setting::CacheArgsBytesMax), Work::Round],
    arity: -5,
    complexity: "O(A + log T) with A the bytes of the arguments and T the tickets out",
    summary: "Returns a ticket without an answer; the longest waiter gets a new one.",
    reply: Shape::FLAG.about("1, or 0 if the ticket was no longer valid"),
    args: &[CACHE, TOOL, ARGS, Arg::integer("ticket"), RAW],
    ..CACHE_ROW
};

pub const INVALIDATE: Spec = Spec {
    name: "LTMC.CACHE.INVALIDATE",
    work: &[Work::Each(2, Setting::CacheTicketsMax), Work::Each(5, Setting::CacheEntriesMax), Work::Round],
    arity: -3,
    flags: Flags::WRITE,
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(K log N + T) with K the answers concerned, of which at most ltmc.sweep-batch-max at once, N all answers and T the tickets out",
    summary: "Invalidates answers by dependency, tag, tool or agent, or all of them, and the tickets that are out for them.",
    reply: Shape::COUNT.about("the number of answers concerned"),
    args: &[
        CACHE,
        Arg::one_of(
            "what",
            &[
                Arg::word("all", "ALL"),
                counted("deps", DEPS).after("DEP"),
                counted("tags", TAGS).after("TAG"),
                Arg::string("tool").after("TOOL"),
                Arg::string("agent").acting().after("AGENT"),
            ],
        ),
        Arg::word("soft", "SOFT").optional(),
    ],
    ..CACHE_ROW
};

pub const CONFIG: Spec = Spec {
    name: "LTMC.CACHE.CONFIG",
    arity: -2,
    flags: Flags::WRITE,
    roles: Roles::LEADERS,
    categories: "write slow",
    complexity: "O(1)",
    summary: "Sets the bounds, TTL and policy of a cache; creates it if there is none, and keeps it when it is empty.",
    reply: Shape::OK,
    missing: Missing::Always(Nothing::Made),
    args: &[
        CACHE,
        Arg::integer("n").after("MAXBYTES").optional(),
        Arg::integer("n").after("MAXENTRIES").optional(),
        TTL,
        Arg::one_of("policy", &[Arg::word("gdsf", "GDSF"), Arg::word("lru", "LRU"), Arg::word("lfu", "LFU")])
            .after("POLICY")
            .optional(),
    ],
    ..CACHE_ROW
};

pub const STATS: Spec = Spec {
    name: "LTMC.CACHE.STATS",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: "read fast",
    complexity: "O(1)",
    summary: "Shows what a cache, or one tool in it, has saved and costs.",
    reply: Shape::one_of(&[Case::new("without TOOL", CACHE_STATS), Case::new("with TOOL", TOOL_STATS)])
        .or_nil("there is no such cache"),
    args: &[CACHE, OF_TOOL],
    ..CACHE_READ
};

pub const TOP: Spec = Spec {
    name: "LTMC.CACHE.TOP",
    work: &[Work::Looks(10_000)],
    arity: -2,
    complexity: "O(1): at most the 1000 answers used most",
    summary: "Lists the answers used most, with the agent that put them and how often others used them.",
    reply: Shape::list(&ENTRY),
    args: &[CACHE, Arg::integer("n").after("LIMIT").optional()],
    ..CACHE_READ
};

pub const SCAN: Spec = Spec {
    name: "LTMC.CACHE.SCAN",
    work: &[Work::Passed, Work::Reply],
    arity: -3,
    complexity: "O(M + log N) with M the answers looked at and N all of them",
    summary: "Iterates over all answers, oldest first: begin with cursor 0, and continue with the one returned until that is 0.",
    reply: Shape::tuple(&[
        NEXT,
        Field::new("entries", Shape::list(&ENTRY)),
    ]),
    args: &[CACHE, CURSOR, COUNT, OF_TOOL],
    ..CACHE_READ
};
