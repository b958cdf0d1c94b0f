//! The rows of the commands of sessions.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::spec::{with_registry, KEY, READ_ROW, REGISTRY, REQID, ROW, WRITE_FAST};
use crate::command::services::versioned::spec::{
    ACTING, AGENT, AT, CHECKPOINTS_ARGS, CHECKPOINTS_COMPLEXITY, CHECKPOINT_ARGS, CHECKPOINT_LIST, CHECKPOINT_NUMBER,
    COMMON, FORK_COMPLEXITY, FORK_KEYS, IFVERSION, JOINED, LEFT, MADE, META, NEW_VERSION, PRUNED, PRUNE_ARGS,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const NEEDS_SESSION: Nothing = Nothing::Error(Code::NoSession);

const SESSION_ROW: Spec = Spec {
    service: Some(Service::Session),
    complexity: "O(log N) with N the fields, participants or resources of the session",
    ..ROW
};

const SESSION_READ: Spec = Spec { service: SESSION_ROW.service, complexity: SESSION_ROW.complexity, ..READ_ROW };

const GROWS: Flags = WRITE_FAST.and(Flags::DENY_OOM);

const STATUS_WORDS: &[&str] = &["active", "suspended", "migrating", "recovering", "terminated"];

const SESSION_MAP: Shape = Shape::map(&Field::join::<_, _, 22>(
    [
        Field::new("status", Shape::word(STATUS_WORDS)),
        Field::new("version", Shape::VERSION),
        Field::new("fields", Shape::COUNT),
        Field::new("bytes", Shape::SIZE),
        Field::new("resources_count", Shape::COUNT),
        Field::new("resources", Shape::list(&Shape::BYTES.about("keys")).about("as many as fit")),
    ],
    COMMON,
));

pub const CREATE: Spec = Spec {
    name: "LTMC.SESSION.CREATE",
    work: &[Work::Offloaded, Work::Each(2, Setting::ParticipantsMax)],
    arity: -2,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &with_registry(2),
    complexity: "O(N) with N the fields and participants given",
    summary: "Creates a session.",
    reply: MADE,
    missing: Missing::Always(Nothing::Made),
    args: &[
        KEY,
        Arg::new("values", ArgKind::Block(&[Arg::integer("n"), AGENT.multiple()])).after("PARTICIPANTS").optional(),
        Arg::string("json").after("STATE").optional(),
        META,
        TTL,
        Arg::word("sliding", "SLIDING").optional(),
        Arg::integer("ms").after("MAXLIFE").optional(),
        REGISTRY,
        REQID,
    ],
    ..SESSION_ROW
};

pub const SET: Spec = Spec {
    name: "LTMC.SESSION.SET",
    work: &[Work::Arguments(2), Work::KiB(2, Setting::SessionBytesMax)],
    arity: -4,
    flags: GROWS,
    complexity: "O(F log N) with F the fields given and N those of the session",
    summary: "Sets fields, as one new version if any differs; creates the session if there is none.",
    reply: NEW_VERSION,
    missing: Missing::Always(Nothing::Made),
    args: &[
        KEY,
        Arg::new("pair", ArgKind::Block(&[Arg::string("field"), Arg::string("value")])).multiple(),
        IFVERSION,
        TTL,
        REQID,
    ],
    ..SESSION_ROW
};

pub const GET: Spec = Spec {
    name: "LTMC.SESSION.GET",
    work: &[Work::Arguments(1), Work::Offloaded],
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: "read fast",
    complexity: "O(F log N) with F the fields named, or O(N) for all, with N those of the session",
    summary: "Reads one field, several, or all.",
    reply: Shape::one_of(&[
        Case::new("for one field", Shape::BYTES.or_nil("there is none of this name")),
        Case::new("for several", Shape::list(&Shape::BYTES.about("value").or_nil("there is none of this name"))),
        Case::new("without fields", Shape::map_of("field", &Shape::BYTES.about("value")).or_nil("there is no session")),
    ]),
    args: &[KEY, Arg::string("field").multiple().optional()],
    ..SESSION_READ
};

pub const DEL: Spec = Spec {
    name: "LTMC.SESSION.DEL",
    work: &[Work::Arguments(2)],
    arity: -3,
    complexity: "O(F log N) with F the fields given and N those of the session",
    summary: "Deletes fields as one new version; a session created by SET is deleted with its last field.",
    reply: Shape::COUNT.about("the number of fields deleted"),
    args: &[KEY, Arg::string("field").multiple()],
    ..SESSION_ROW
};

pub const INFO: Spec = Spec {
    name: "LTMC.SESSION.INFO",
    work: &[Work::Each(2, Setting::SessionResourcesMax), Work::Each(2, Setting::ParticipantsMax)],
    arity: 2,
    complexity: "O(P + R) with P the participants and R the resources",
    summary: "Shows a session without its fields.",
    reply: SESSION_MAP.or_nil("there is no session"),
    args: &[KEY],
    ..SESSION_READ
};

pub const STATUS: Spec = Spec {
    name: "LTMC.SESSION.STATUS",
    arity: -2,
    roles: Roles::ENDERS,
    complexity: "O(1)",
    summary: "Shows or changes the status of a session; terminated ends it.",
    reply: Shape::word(STATUS_WORDS).or_nil("there is no session"),
    missing: Missing::OneOf(&[("without a status", Nothing::Nil), ("with a status", NEEDS_SESSION)]),
    args: &[KEY, Arg::string("status").optional(), ACTING],
    ..SESSION_ROW
};

pub const JOIN: Spec = Spec {
    name: "LTMC.SESSION.JOIN",
    arity: -3,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    summary: "Adds a participant, or changes its role.",
    reply: JOINED,
    missing: Missing::Always(NEEDS_SESSION),
    args: &[KEY, AGENT, Arg::string("text").after("ROLE").optional(), REGISTRY],
    ..SESSION_ROW
};

pub const LEAVE: Spec = Spec {
    name: "LTMC.SESSION.LEAVE",
    arity: 3,
    roles: Roles::ENDERS,
    summary: "Removes a participant.",
    reply: LEFT,
    args: &[KEY, AGENT],
    ..SESSION_ROW
};

pub const TOUCH: Spec = Spec {
    name: "LTMC.SESSION.TOUCH",
    arity: -2,
    complexity: "O(1)",
    summary: "Starts the TTL of a session anew, or sets another one.",
    reply: Shape::FLAG.about("1, or 0 if there is no session"),
    args: &[KEY, TTL],
    ..SESSION_ROW
};

/// Resources are keys, which Redis Cluster and ACL have to see.
const OWN_KEYS: &[KeySpec] = &[
    KeySpec { access: Access::Update, at: KeysAt::Index(1) },
    KeySpec { access: Access::Update, at: KeysAt::From(2) },
];

pub const OWN: Spec = Spec {
    name: "LTMC.SESSION.OWN",
    work: &[Work::Each(7, Setting::SessionResourcesMax), Work::KiB(2, Setting::SessionBytesMax)],
    arity: -3,
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: OWN_KEYS,
    roles: Roles::ENDERS,
    summary: "Makes a session own keys: when it ends, what its participants hold there is given back; with AGENT only what that agent holds.",
    reply: Shape::COUNT.about("the number of keys that did not belong to it before"),
    missing: Missing::Always(NEEDS_SESSION),
    args: &[KEY, Arg::key("resource", 1).multiple(), ACTING],
    ..SESSION_ROW
};

pub const DISOWN: Spec = Spec {
    name: "LTMC.SESSION.DISOWN",
    work: &[Work::Each(7, Setting::SessionResourcesMax), Work::KiB(2, Setting::SessionBytesMax)],
    arity: -3,
    flags: WRITE_FAST.and(Flags::GETKEYS_API),
    keys: OWN_KEYS,
    roles: Roles::ENDERS,
    summary: "Ends a session's ownership of keys; with AGENT only what that agent named.",
    reply: Shape::COUNT.about("the number of keys that it owned"),
    args: &[KEY, Arg::key("resource", 1).multiple(), ACTING],
    ..SESSION_ROW
};

pub const CHECKPOINT: Spec = Spec {
    name: "LTMC.SESSION.CHECKPOINT",
    arity: -2,
    flags: GROWS,
    complexity: "O(log C) with C the checkpoints",
    summary: "Marks the current version so that it can be restored later.",
    reply: CHECKPOINT_NUMBER,
    missing: Missing::Always(NEEDS_SESSION),
    args: CHECKPOINT_ARGS,
    ..SESSION_ROW
};

pub const CHECKPOINTS: Spec = Spec {
    name: "LTMC.SESSION.CHECKPOINTS",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: CHECKPOINTS_COMPLEXITY,
    summary: "Lists the checkpoints of a session, the oldest first.",
    reply: CHECKPOINT_LIST,
    args: CHECKPOINTS_ARGS,
    ..SESSION_READ
};

pub const RESTORE: Spec = Spec {
    name: "LTMC.SESSION.RESTORE",
    work: &[Work::Offloaded],
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENY_OOM),
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(D log N) with D the fields that have changed since and N those of the session",
    summary: "Makes the state of a checkpoint the newest version.",
    reply: NEW_VERSION,
    missing: Missing::Always(NEEDS_SESSION),
    args: &[KEY, Arg::string("checkpoint"), IFVERSION, REQID, ACTING],
    ..SESSION_ROW
};

pub const FORK: Spec = Spec {
    name: "LTMC.SESSION.FORK",
    work: &[Work::Offloaded],
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENY_OOM).and(Flags::GETKEYS_API),
    keys: FORK_KEYS,
    categories: "write slow",
    complexity: FORK_COMPLEXITY,
    summary: "Creates another session from this one, as it is or as it was at a checkpoint.",
    reply: Shape::VERSION.about("the version that the new session begins with"),
    missing: Missing::Always(NEEDS_SESSION),
    args: &[Arg::key("src", 0), Arg::key("dst", 1), AT, REQID],
    ..SESSION_ROW
};

pub const PRUNE: Spec = Spec {
    name: "LTMC.SESSION.PRUNE",
    work: &[Work::Each(2, Setting::CheckpointsMax)],
    arity: -4,
    flags: Flags::WRITE,
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(C) with C the checkpoints",
    summary: "Removes checkpoints that are not pinned, and what only they needed; DRYRUN only says which.",
    reply: PRUNED,
    args: PRUNE_ARGS,
    ..SESSION_ROW
};

pub const END: Spec = Spec {
    name: "LTMC.SESSION.END",
    work: &[Work::Round, Work::Each(1, Setting::SessionResourcesMax)],
    arity: -2,
    flags: Flags::WRITE,
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(R) with R what the participants hold of its resources, at most ltmc.sweep-batch-max at a time",
    summary: "Ends a session: what its participants hold of its resources is given back, a first part at once; it stays readable for a while.",
    reply: Shape::FLAG.about("1, or 0 if it had ended or there was none"),
    args: &[KEY, Arg::integer("ms").after("GRACE").optional(), ACTING],
    ..SESSION_ROW
};
