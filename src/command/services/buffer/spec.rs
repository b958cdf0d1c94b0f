//! The rows of the commands of chunk buffers.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::services::spec::{
    with_registry, BY_CURSOR, BY_OFFSET, NEXT, PAGE, READ_ROW, REGISTRY, REQID, ROW, WRITE_FAST,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const NEEDS_BUFFER: Nothing = Nothing::Error(Code::NoBuffer);

const CHUNK_ROW: Spec = Spec { service: Some(Service::Buffer), complexity: "O(log N) with N the chunks", ..ROW };

const CHUNK_READ: Spec = Spec { service: CHUNK_ROW.service, complexity: CHUNK_ROW.complexity, ..READ_ROW };

const GROWS_FAST: Flags = WRITE_FAST.and(Flags::DENY_OOM);
const GROWS: Flags = Flags::WRITE.and(Flags::DENY_OOM);

const BUFFER_KEY: Arg = Arg::key("buffer", 0);
const ID: Arg = Arg::string("id");
const IDS: Arg = ID.multiple();
const AGENT: Arg = Arg::string("agent").acting();
const META_OPTION: Arg = Arg::string("json").after("META").optional();
const IFVERSION: Arg = Arg::integer("version").after("IFVERSION").optional();
const MAXBYTES: Arg = Arg::integer("bytes").after("MAXBYTES");

const POLICY: Arg = Arg::one_of(
    "policy",
    &[Arg::word("gdsf", "GDSF"), Arg::word("lru", "LRU"), Arg::word("ttl", "TTL"), Arg::word("none", "NONE")],
)
.after("POLICY");

const PIN_MAP: Shape = Shape::map(&[Field::new("agent", Shape::BYTES), Field::new("until_at_ms", Shape::UNIX_MS)]);

const CHUNK_MAP: Shape = Shape::map(&[
    Field::new("id", Shape::BYTES),
    Field::new("state", Shape::word(&["unsealed", "sealed"])),
    Field::new("version", Shape::VERSION),
    Field::new("bytes", Shape::SIZE),
    Field::new(
        "hash",
        Shape::TEXT
            .about("XXH64, 16 hexadecimal digits")
            .or_nil("the content is not shareable: unsealed or written since"),
    ),
    Field::new("shared", Shape::FLAG),
    Field::new("owner", Shape::BYTES.or_nil("none was named")),
    Field::new("meta", Shape::JSON.or_nil("it has none")),
    Field::new("created_at_ms", Shape::UNIX_MS),
    Field::new("changed_at_ms", Shape::UNIX_MS),
    Field::new("ends_at_ms", Shape::UNIX_MS.or_nil("it has no end")),
    Field::new("retained_by", Shape::list(&Shape::BYTES.about("agents")).about("as many as fit")),
    Field::new("pins", Shape::list(&PIN_MAP).about("as many as fit")),
    Field::new("reads_1h", Shape::COUNT),
    Field::new("reads_4h", Shape::COUNT),
    Field::new("reads_24h", Shape::COUNT),
    Field::new("memory_bytes", Shape::SIZE),
]);

const READS: Shape = Shape::tuple(&[Field::new("id", Shape::BYTES), Field::new("reads", Shape::COUNT)]);

const HOLDER: Shape = Shape::map(&[Field::new("agent", Shape::BYTES), Field::new("chunks", Shape::COUNT)]);

const BUFFER_MAP: Shape = Shape::map(&[
    Field::new("chunks", Shape::COUNT),
    Field::new("unsealed", Shape::COUNT),
    Field::new("retained", Shape::COUNT),
    Field::new("pinned", Shape::COUNT),
    Field::new("evictable", Shape::COUNT),
    Field::new("logical_bytes", Shape::SIZE),
    Field::new("physical_bytes", Shape::SIZE),
    Field::new("ratio", Shape::DECIMAL.about("logical to physical bytes")),
    Field::new("used_bytes", Shape::SIZE),
    Field::new("held_bytes", Shape::SIZE),
    Field::new("working_bytes", Shape::SIZE),
    Field::new("size_bytes", Shape::SIZE),
    Field::new("min_bytes", Shape::SIZE),
    Field::new("max_bytes", Shape::SIZE),
    Field::new("policy", Shape::word(&["GDSF", "LRU", "LFU", "TTL", "RING", "NONE"])),
    Field::new("stays", Shape::FLAG),
    Field::new("hits", Shape::COUNT),
    Field::new("misses", Shape::COUNT),
    Field::new("evicted", Shape::COUNT),
    Field::new("agents", Shape::list(&HOLDER).about("as many as fit")),
    Field::new("memory_bytes", Shape::SIZE),
    Field::new("revision", Shape::REVISION),
]);

pub const BUFFER: Spec = Spec {
    name: "LTMC.CHUNK.BUFFER",
    work: &[Work::Round, Work::Each(1, Setting::BufferChunksMax)],
    arity: -2,
    // Bounds can be lowered when memory is short.
    flags: WRITE_FAST,
    roles: Roles::LEADERS,
    complexity:
        "O(1); O(N log N) with another policy, with N the chunks; what exceeds the bounds is evicted in parts later",
    summary: "Creates a buffer, or changes its bounds or policy; what is not named stays.",
    reply: Shape::OK,
    missing: Missing::Always(Nothing::Made),
    args: &[
        BUFFER_KEY,
        MAXBYTES.optional(),
        Arg::integer("bytes").after("MINBYTES").optional(),
        Arg::one_of("eviction", &[POLICY, Arg::word("ring", "RING")]).optional(),
    ],
    ..CHUNK_ROW
};

pub const ALLOC: Spec = Spec {
    name: "LTMC.CHUNK.ALLOC",
    work: &[Work::KiB(1, Setting::ChunkBytesMax), Work::Round],
    arity: -4,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &with_registry(2),
    categories: "write slow",
    complexity: "O(B + E log N) with B the bytes, E the chunks evicted for it and N the chunks",
    summary: "Creates a chunk of zeros to write. It can be read once it is sealed, and is reclaimed if that takes longer than its lease.",
    reply: Shape::BYTES.about("the id"),
    missing: Missing::Always(Nothing::Made),
    args: &[
        BUFFER_KEY,
        Arg::integer("bytes").after("SIZE"),
        ID.after("ID").optional(),
        AGENT.after("AGENT").optional(),
        META_OPTION,
        TTL,
        REGISTRY,
        REQID,
    ],
    ..CHUNK_ROW
};

pub const PUT: Spec = Spec {
    name: "LTMC.CHUNK.PUT",
    work: &[Work::KiB(5, Setting::ChunkBytesMax), Work::Round],
    arity: -4,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &with_registry(4),
    categories: "write slow",
    complexity: "O(B + E log N) with B the bytes, E the chunks evicted for it and N the chunks",
    summary: "Stores a whole chunk under an id, or under a new one for *; replaces what was there. Can pin it in the same step.",
    reply: Shape::tuple(&[Field::new("id", Shape::BYTES), Field::new("version", Shape::VERSION)]),
    missing: Missing::Always(Nothing::Made),
    args: &[
        BUFFER_KEY,
        ID,
        Arg::string("data"),
        IFVERSION,
        Arg::new("pin", ArgKind::Block(&[AGENT, Arg::integer("ms")])).after("PIN").optional(),
        META_OPTION,
        TTL,
        REGISTRY,
        REQID,
    ],
    ..CHUNK_ROW
};

pub const WRITE: Spec = Spec {
    name: "LTMC.CHUNK.WRITE",
    work: &[Work::KiB(2, Setting::ChunkBytesMax)],
    arity: -5,
    flags: GROWS_FAST,
    complexity: "O(B + log N) with B the bytes and N the chunks; that of a copy of the chunk if its content is shared",
    summary: "Writes a part of a chunk, within its length.",
    reply: Shape::VERSION.about("the new version"),
    missing: Missing::Always(NEEDS_BUFFER),
    args: &[BUFFER_KEY, ID, Arg::integer("offset"), Arg::string("data"), IFVERSION],
    ..CHUNK_ROW
};

pub const SEAL: Spec = Spec {
    name: "LTMC.CHUNK.SEAL",
    work: &[Work::KiB(3, Setting::ChunkBytesMax), Work::Round],
    arity: -3,
    flags: Flags::WRITE,
    categories: "write slow",
    complexity: "O(B + log N) with B the bytes of the chunk and N the chunks",
    summary: "Publishes a chunk: it can be read from now on, has no lease any more, and may have a TTL.",
    reply: Shape::VERSION,
    missing: Missing::Always(NEEDS_BUFFER),
    args: &[BUFFER_KEY, ID, TTL],
    ..CHUNK_ROW
};

pub const READ: Spec = Spec {
    name: "LTMC.CHUNK.READ",
    work: &[Work::KiB(1, Setting::ChunkBytesMax)],
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: "read fast",
    complexity: "O(B + log N) with B the bytes returned and N the chunks",
    summary: "Reads a chunk, or a part of it; the part ends with the chunk at the latest.",
    reply: Shape::BYTES.or_nil("there is no such chunk or it is not sealed"),
    args: &[
        BUFFER_KEY,
        ID,
        Arg::new("range", ArgKind::Block(&[Arg::integer("offset"), Arg::integer("length")])).optional(),
    ],
    ..CHUNK_READ
};

pub const MGET: Spec = Spec {
    name: "LTMC.CHUNK.MGET",
    work: &[Work::Looks(4_000), Work::Reply, Work::KiB(1, Setting::ChunkBytesMax)],
    arity: -3,
    complexity: "O(B + C log N) with B the bytes returned, C the chunks named and N all chunks",
    summary: "Reads several chunks.",
    reply: Shape::list(&Shape::BYTES.or_nil("it cannot be read")),
    args: &[BUFFER_KEY, IDS],
    ..CHUNK_READ
};

pub const HAVE: Spec = Spec {
    name: "LTMC.CHUNK.HAVE",
    work: &[Work::Arguments(2)],
    arity: -4,
    complexity: "O(H log N) with H the hashes and N the chunks",
    summary: "Finds chunks by the hashes of their contents (XXH64, 16 hexadecimal digits), so that a client need not send them.",
    reply: Shape::list(&Shape::BYTES.about("id").or_nil("no chunk has it")),
    args: &[BUFFER_KEY, Arg::integer("n"), Arg::string("hash").multiple()],
    ..CHUNK_READ
};

pub const RETAIN: Spec = Spec {
    name: "LTMC.CHUNK.RETAIN",
    work: &[Work::Each(2, Setting::ChunkHoldersMax)],
    arity: -4,
    flags: GROWS_FAST.and(Flags::GETKEYS_API),
    keys: &with_registry(4),
    summary: "Holds a chunk for an agent until LTMC.CHUNK.RELEASE: it is not evicted, freed or expired.",
    reply: Shape::FLAG.about("1, or 0 if the agent retained it already"),
    missing: Missing::Always(NEEDS_BUFFER),
    args: &[BUFFER_KEY, ID, AGENT, REGISTRY],
    ..CHUNK_ROW
};

pub const RELEASE: Spec = Spec {
    name: "LTMC.CHUNK.RELEASE",
    work: &[Work::Each(2, Setting::ChunkHoldersMax)],
    arity: 4,
    roles: Roles::ENDERS,
    summary: "Releases an agent's hold on a retained chunk, however often it retained it.",
    reply: Shape::FLAG.about("1 if the agent retains it no longer, or 0 if it did not"),
    args: &[BUFFER_KEY, ID, AGENT],
    ..CHUNK_ROW
};

pub const PIN: Spec = Spec {
    name: "LTMC.CHUNK.PIN",
    work: &[Work::Each(2, Setting::ChunkHoldersMax)],
    arity: -6,
    flags: GROWS_FAST.and(Flags::GETKEYS_API),
    keys: &with_registry(4),
    summary: "Holds a chunk for an agent for some time, counted from now: it is not evicted, freed or expired. \
              An agent has one pin of a chunk, and the longest end stands.",
    reply: Shape::UNIX_MS.about("until when the agent pins it, by this or an earlier pin that lasts longer"),
    missing: Missing::Always(NEEDS_BUFFER),
    args: &[BUFFER_KEY, ID, AGENT, Arg { optional: false, ..TTL }, REGISTRY],
    ..CHUNK_ROW
};

pub const UNPIN: Spec = Spec {
    name: "LTMC.CHUNK.UNPIN",
    work: &[Work::Each(2, Setting::ChunkHoldersMax)],
    arity: 4,
    roles: Roles::ENDERS,
    summary: "Ends an agent's pin of a chunk, however often it pinned it.",
    reply: Shape::FLAG.about("1 if the agent pins it no longer, or 0 if it had no pin"),
    args: &[BUFFER_KEY, ID, AGENT],
    ..CHUNK_ROW
};

pub const FREE: Spec = Spec {
    name: "LTMC.CHUNK.FREE",
    work: &[Work::Arguments(3), Work::Each(2, Setting::ChunkHoldersMax)],
    arity: -3,
    flags: Flags::WRITE,
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(C log N) with C the chunks given and N all chunks",
    summary: "Frees chunks; none of them if one is retained or pinned.",
    reply: Shape::COUNT.about("the number of chunks freed"),
    args: &[BUFFER_KEY, IDS],
    ..CHUNK_ROW
};

pub const META: Spec = Spec {
    name: "LTMC.CHUNK.META",
    arity: -3,
    flags: GROWS_FAST,
    summary: "Shows or sets the metadata of a chunk; null removes it.",
    reply: Shape::one_of(&[
        Case::new("without json", Shape::JSON.or_nil("there is no such chunk or it has none")),
        Case::new("with json", Shape::OK),
    ]),
    missing: Missing::OneOf(&[("without json", Nothing::Nil), ("with json", NEEDS_BUFFER)]),
    args: &[BUFFER_KEY, ID, Arg::string("json").optional()],
    ..CHUNK_ROW
};

pub const INFO: Spec = Spec {
    name: "LTMC.CHUNK.INFO",
    work: &[Work::Each(3, Setting::ChunkHoldersMax)],
    arity: 3,
    complexity: "O(log N + H) with N the chunks and H the agents that hold it",
    summary: "Shows a chunk without its content.",
    reply: CHUNK_MAP.or_nil("there is none"),
    args: &[BUFFER_KEY, ID],
    ..CHUNK_READ
};

pub const LIST: Spec = Spec {
    name: "LTMC.CHUNK.LIST",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: "O(M) with M the chunks skipped and returned; with CURSOR O(M + log N) with M the chunks looked at and N all of them",
    summary: "Lists the chunks, oldest first, or those that an agent allocated, retains or pins.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&Shape::BYTES.about("ids"))),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("chunks", Shape::list(&Shape::BYTES.about("ids")))])),
    ]),
    args: &[BUFFER_KEY, Arg::string("agent").after("AGENT").optional(), PAGE],
    ..CHUNK_READ
};

pub const POPULAR: Spec = Spec {
    name: "LTMC.CHUNK.POPULAR",
    work: &[Work::Looks(4_000)],
    arity: -2,
    complexity: "O(log N + M) with N the chunks and M those returned",
    summary: "Lists the chunks that were read most on this node within the last 1, 4 or 24 hours.",
    reply: Shape::list(&READS),
    args: &[
        BUFFER_KEY,
        Arg::one_of("window", &[Arg::word("hour", "1H"), Arg::word("hours", "4H"), Arg::word("day", "24H")])
            .after("WINDOW")
            .optional(),
        Arg::integer("n").after("LIMIT").optional(),
    ],
    ..CHUNK_READ
};

pub const RESIZE: Spec = Spec {
    name: "LTMC.CHUNK.RESIZE",
    work: &[Work::Round],
    arity: 4,
    // Bounds can be lowered when memory is short.
    flags: WRITE_FAST,
    roles: Roles::LEADERS,
    complexity: "O(1); what exceeds the bounds is evicted in parts later",
    summary: "Changes the upper bound of a buffer while it is in use.",
    reply: Shape::SIZE.about("the size now in force"),
    missing: Missing::Always(NEEDS_BUFFER),
    args: &[BUFFER_KEY, MAXBYTES],
    ..CHUNK_ROW
};

pub const STATS: Spec = Spec {
    name: "LTMC.CHUNK.STATS",
    work: &[Work::Looks(3_000)],
    arity: 2,
    complexity: "O(A) with A the agents that allocated or hold chunks, at most 1000",
    summary: "Counts what is in a buffer, how it is used, and which agents hold it.",
    reply: BUFFER_MAP.or_nil("there is no buffer"),
    args: &[BUFFER_KEY],
    ..CHUNK_READ
};
