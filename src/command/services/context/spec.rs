//! The rows of the commands of contexts.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::registry::spec::with_filter;
use crate::command::services::spec::{with_registry, KEY, READ_ROW, REGISTRY, REQID, ROW, WRITE_FAST};
use crate::command::services::versioned::spec::{
    ACTING, AGENT, AT, CHECKPOINTS_ARGS, CHECKPOINTS_COMPLEXITY, CHECKPOINT_ARGS, CHECKPOINT_LIST, CHECKPOINT_NUMBER,
    COMMON, FORK_COMPLEXITY, FORK_KEYS, IFVERSION, JOINED, LEFT, MADE, META, NEW_VERSION, PRUNED, PRUNE_ARGS,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const NEEDS_CONTEXT: Nothing = Nothing::Error(Code::NoContext);

const CONTEXT_ROW: Spec = Spec {
    service: Some(Service::Context),
    flags: Flags::WRITE,
    categories: "write slow",
    complexity: "O(log N) with N the participants",
    ..ROW
};

const CONTEXT_READ: Spec = Spec { service: CONTEXT_ROW.service, complexity: CONTEXT_ROW.complexity, ..READ_ROW };

const GROWS: Flags = Flags::WRITE.and(Flags::DENY_OOM);

const PATHS: Arg =
    Arg::new("values", ArgKind::Block(&[Arg::integer("n"), Arg::string("path").multiple()])).after("PATH").optional();
const PATH: Arg = Arg::string("path").after("PATH").optional();
const BUDGET: Arg = Arg::integer("bytes").after("BUDGET").optional();

const CONTEXT_MAP: Shape = Shape::map(&Field::join::<_, _, 18>(
    [
        Field::new("version", Shape::VERSION),
        Field::new("doc", Shape::JSON.about("the document; with PATH an object with the value at each path")),
    ],
    COMMON,
));

const BUILT: Shape = Shape::map(&[
    Field::new("version", Shape::VERSION),
    Field::new("bytes", Shape::SIZE),
    Field::new("left_out_count", Shape::COUNT),
    Field::new("left_out", Shape::list(&Shape::BYTES.about("paths")).about("as many as fit")),
    Field::new("doc", Shape::JSON),
]);

pub const CREATE: Spec = Spec {
    name: "LTMC.CTX.CREATE",
    work: &[Work::Offloaded],
    arity: -2,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &with_registry(2),
    complexity: "O(N) with N the size of the document",
    summary: "Creates a context.",
    reply: MADE,
    missing: Missing::Always(Nothing::Made),
    args: &[
        KEY,
        AGENT.after("OWNER").optional(),
        Arg::string("json").after("DOC").optional(),
        META,
        TTL,
        Arg::word("sliding", "SLIDING").optional(),
        REGISTRY,
        REQID,
    ],
    ..CONTEXT_ROW
};

pub const JOIN: Spec = Spec {
    name: "LTMC.CTX.JOIN",
    arity: -3,
    flags: WRITE_FAST.and(Flags::DENY_OOM).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    categories: "write fast",
    summary: "Adds a participant, or changes its role.",
    reply: JOINED,
    missing: Missing::Always(NEEDS_CONTEXT),
    args: &[KEY, AGENT, Arg::string("text").after("ROLE").optional(), REGISTRY],
    ..CONTEXT_ROW
};

pub const LEAVE: Spec = Spec {
    name: "LTMC.CTX.LEAVE",
    arity: 3,
    flags: WRITE_FAST,
    roles: Roles::ENDERS,
    categories: "write fast",
    summary: "Removes a participant.",
    reply: LEFT,
    args: &[KEY, AGENT],
    ..CONTEXT_ROW
};

const OPERATION: Arg = Arg::one_of(
    "op",
    &[
        Arg::string("json").after("MERGE"),
        Arg::string("json").after("PATCH"),
        Arg::new("set", ArgKind::Block(&[Arg::string("path"), Arg::string("json")])).after("SET"),
        Arg::string("path").after("DEL"),
        Arg::new("append", ArgKind::Block(&[Arg::string("path"), Arg::string("json")])).after("APPEND"),
        Arg::new("incrby", ArgKind::Block(&[Arg::string("path"), Arg::string("number")])).after("INCRBY"),
        Arg::string("json").after("REPLACE"),
    ],
);

pub const UPDATE: Spec = Spec {
    name: "LTMC.CTX.UPDATE",
    work: &[
        Work::Each(16, Setting::ContextEditsMax),
        Work::Each(1, Setting::ContextValuesMax),
        Work::KiB(16, Setting::ContextBytesMax),
    ],
    arity: -5,
    // Whether it may run beyond maxmemory depends on its operations: the handler asks.
    flags: Flags::WRITE,
    complexity: "O(C log N) with C the size of what changes and N the width of the objects on the way to it",
    summary: "Applies all operations to the document in their order, or none; with IFVERSION 0 it makes the context.",
    reply: NEW_VERSION,
    missing: Missing::OneOf(&[("with IFVERSION 0", Nothing::Made), ("without IFVERSION 0", NEEDS_CONTEXT)]),
    args: &[KEY, AGENT, IFVERSION, REQID, OPERATION.multiple()],
    ..CONTEXT_ROW
};

pub const GET: Spec = Spec {
    name: "LTMC.CTX.GET",
    work: &[Work::Offloaded],
    arity: -2,
    complexity: "O(N) with N the size of what is returned; with AT that of the document and of what has changed since",
    summary: "Reads the document, or parts of it, as it is or as it was.",
    reply: CONTEXT_MAP.or_nil("there is no context"),
    args: &[KEY, PATHS, Arg::integer("version").after("AT").optional()],
    ..CONTEXT_READ
};

pub const TOUCH: Spec = Spec {
    name: "LTMC.CTX.TOUCH",
    arity: -2,
    flags: WRITE_FAST,
    categories: "write fast",
    complexity: "O(1)",
    summary: "Starts the TTL of a context anew, or sets another one.",
    reply: Shape::FLAG.about("1, or 0 if there is no context"),
    args: &[KEY, TTL],
    ..CONTEXT_ROW
};

pub const DIFF: Spec = Spec {
    name: "LTMC.CTX.DIFF",
    work: &[Work::Offloaded],
    arity: -3,
    complexity: "O(C) with C the size of what has changed since",
    summary: "Tells what has changed since a version, of the whole document or of what is at a path.",
    reply: Shape::JSON.about("a merge patch (RFC 7396)").or_nil("there is no context"),
    args: &[KEY, Arg::integer("since"), PATH],
    ..CONTEXT_READ
};

pub const GENERATE: Spec = Spec {
    name: "LTMC.CTX.GENERATE",
    work: &[Work::Offloaded],
    arity: -4,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::Index(1) },
        KeySpec { access: Access::Read, at: KeysAt::CountAt(2) },
    ],
    complexity: "O(N) with N the size of all sources",
    summary: "Merges contexts and sessions into one context; where they differ, the source changed most recently wins.",
    reply: Shape::VERSION.about("the version of dest, a new one if something has changed"),
    missing: Missing::Always(NEEDS_CONTEXT),
    args: &[
        Arg::key("dest", 0),
        Arg::integer("numkeys"),
        Arg::key("src", 1).multiple(),
        BUDGET,
        AGENT.after("FOR").optional(),
        Arg::new("values", ArgKind::Block(&[Arg::integer("n"), Arg::string("tag").multiple()]))
            .after("TAGS")
            .optional(),
        REQID,
    ],
    ..CONTEXT_ROW
};

pub const BUILD: Spec = Spec {
    name: "LTMC.CTX.BUILD",
    work: &[Work::Offloaded],
    arity: -4,
    complexity: "O(N + P log P) with N the size of what is at the paths and P the pieces that it is cut into; O(N) without BUDGET",
    summary: "Builds the part of a context that an agent should see, within a number of bytes.",
    reply: BUILT.or_nil("there is no context"),
    args: &[KEY, Arg::string("agent").after("FOR"), BUDGET, PATHS],
    ..CONTEXT_READ
};

pub const ROUTE: Spec = Spec {
    name: "LTMC.CTX.ROUTE",
    work: &[
        Work::Each(2, Setting::RegistryAgentsMax),
        Work::Each(32, Setting::CapabilityVersionsMax),
        Work::Each(4, Setting::ParticipantsMax),
    ],
    arity: -3,
    flags: Flags::READONLY.and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Read, at: KeysAt::Index(1) },
        KeySpec { access: Access::Read, at: KeysAt::Index(2) },
    ],
    complexity: "that of LTMC.AGENT.FIND; O(P + L) more with P the agents that take part or touched the paths and L the agents with the least load",
    summary: "Chooses the agent that work on a context should go to: capable, alive, healthy, lightly loaded, and familiar with it.",
    reply: Shape::BYTES.about("the agent").or_nil("no agent fits, or there is no context or registry"),
    args: &with_filter::<2, 1, 11>([KEY, Arg::key("registry", 1)], [PATH]),
    ..CONTEXT_READ
};

pub const CHECKPOINT: Spec = Spec {
    name: "LTMC.CTX.CHECKPOINT",
    arity: -2,
    flags: WRITE_FAST.and(Flags::DENY_OOM),
    categories: "write fast",
    complexity: "O(log C) with C the checkpoints",
    summary: "Marks the current version so that it can be restored later.",
    reply: CHECKPOINT_NUMBER,
    missing: Missing::Always(NEEDS_CONTEXT),
    args: CHECKPOINT_ARGS,
    ..CONTEXT_ROW
};

pub const CHECKPOINTS: Spec = Spec {
    name: "LTMC.CTX.CHECKPOINTS",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: CHECKPOINTS_COMPLEXITY,
    summary: "Lists the checkpoints of a context, the oldest first.",
    reply: CHECKPOINT_LIST,
    args: CHECKPOINTS_ARGS,
    ..CONTEXT_READ
};

pub const RESTORE: Spec = Spec {
    name: "LTMC.CTX.RESTORE",
    work: &[Work::Offloaded],
    arity: -3,
    flags: GROWS,
    roles: Roles::ENDERS,
    complexity: "O(C) with C the size of what has changed since",
    summary: "Makes the document of a checkpoint the newest version.",
    reply: NEW_VERSION,
    missing: Missing::Always(NEEDS_CONTEXT),
    args: &[KEY, Arg::string("checkpoint"), IFVERSION, REQID, ACTING],
    ..CONTEXT_ROW
};

pub const ROLLBACK: Spec = Spec { name: "LTMC.CTX.ROLLBACK", summary: "The old name of LTMC.CTX.RESTORE.", ..RESTORE };

pub const FORK: Spec = Spec {
    name: "LTMC.CTX.FORK",
    work: &[Work::Offloaded],
    arity: -3,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: FORK_KEYS,
    complexity: FORK_COMPLEXITY,
    summary: "Creates another context from this one, as it is or as it was at a checkpoint.",
    reply: Shape::VERSION.about("the version that the new context begins with"),
    missing: Missing::Always(NEEDS_CONTEXT),
    args: &[Arg::key("src", 0), Arg::key("dst", 1), AT, REQID],
    ..CONTEXT_ROW
};

pub const PRUNE: Spec = Spec {
    name: "LTMC.CTX.PRUNE",
    work: &[Work::Each(2, Setting::CheckpointsMax)],
    arity: -4,
    roles: Roles::ENDERS,
    complexity: "O(C) with C the checkpoints",
    summary: "Removes checkpoints that are not pinned, and what only they needed; DRYRUN only says which.",
    reply: PRUNED,
    args: PRUNE_ARGS,
    ..CONTEXT_ROW
};
