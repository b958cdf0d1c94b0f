//! The rows of the lock commands.

use super::commands::MLOCK_LOOKS_MAX;
use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Field, Shape, Unit};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::spec::{with_registry, BLOCK, GROWS, KEY, READ_FIRST, READ_ROW, REGISTRY, REQID, ROW};
use crate::command::settings::Setting;
use crate::domain::lock::deadlock::{edges, search};
use crate::domain::{Code, Service};

/// A fence of a lock that is not held is old.
const NEEDS_GRANT: Nothing = Nothing::Error(Code::Stale);

const LOCK_ROW: Spec =
    Spec { service: Some(Service::Lock), complexity: "O(log N) with N the grants on the lock", ..ROW };

const LOCK_READ: Spec = Spec { service: LOCK_ROW.service, complexity: LOCK_ROW.complexity, ..READ_ROW };

/// Whether waiting closes a cycle. What takes more goes on in turns.
const SEARCH: Work = Work::Looks(search::LOOKS_MAX as u64);

const OWNER: Arg = Arg::string("owner").acting();
const TOKEN: Arg = Arg::integer("fence").after("TOKEN");
const PRIORITY: Arg = Arg::integer("n").after("PRIORITY").optional();
const PATH: Arg = Arg::string("path").after("PATH").optional();
const EXCLUSIVE: Arg = Arg::word("exclusive", "EXCLUSIVE");
const SHARED: Arg = Arg::word("shared", "SHARED");

const MODES: &[&str] = &["exclusive", "shared", "optimistic"];

const HOLDER: Shape = Shape::map(&[
    Field::new("owner", Shape::BYTES),
    Field::new("mode", Shape::word(MODES)),
    Field::new("path", Shape::BYTES),
    Field::new("fence", Shape::FENCE),
    Field::new("levels", Shape::COUNT),
    Field::new("limit", Shape::COUNT.about("how many may share").or_zero("there is no bound")),
    Field::new("since_at_ms", Shape::UNIX_MS),
    Field::new("ends_at_ms", Shape::UNIX_MS.or_nil("it has no lease")),
    Field::new("lease_ms", Shape::MS.or_nil("it has no lease")),
    Field::new("on_disconnect", Shape::word(&["release", "keep"])),
    Field::new("client", Shape::NUMBER.about("the id of the connection").or_nil("it is kept on disconnect")),
    Field::new(
        "connections",
        Shape::COUNT.about("those that took it and are still there").or_zero("there is none, or it is not known"),
    ),
    Field::new("meta", Shape::BYTES.or_nil("none was given")),
]);

const WAITER: Shape = Shape::map(&[
    Field::new("owner", Shape::BYTES),
    Field::new("mode", Shape::word(MODES)),
    Field::new("path", Shape::BYTES),
    Field::new("priority", Shape::integer(Unit::Priority)),
    Field::new("since_at_ms", Shape::UNIX_MS),
    Field::new("waited_ms", Shape::MS),
    Field::new("keys", Shape::COUNT),
    Field::new("converts", Shape::FENCE.or_nil("it does not convert a grant")),
    Field::new("client", Shape::NUMBER.about("the id of the connection")),
]);

const LOCK_MAP: Shape = Shape::map(&[
    Field::new("mode", Shape::word(&["exclusive", "shared", "optimistic", "free"])),
    Field::new("version", Shape::VERSION.about("counts exclusive grants, their ends and commits")),
    Field::new("holders_count", Shape::COUNT),
    Field::new("holders", Shape::list(&HOLDER).about("the first hundred in the order of their fences")),
    Field::new("waiters_count", Shape::COUNT),
    Field::new("waiters", Shape::list(&WAITER).about("the first hundred in the order in which they are served")),
]);

const EDGE: Shape = Shape::map(&[
    Field::new("waiter", Shape::BYTES),
    Field::new("key", Shape::BYTES),
    Field::new("db", Shape::NUMBER),
    Field::new("waits_for", Shape::BYTES),
    Field::new("kind", Shape::word(&["holder", "queue"])),
]);

pub const LOCK: Spec = Spec {
    name: "LTMC.LOCK",
    work: &[Work::Each(4, Setting::LockHoldersMax), Work::Each(1, Setting::LockWaitersMax), SEARCH, Work::Round],
    arity: -3,
    flags: GROWS.and(Flags::FAST).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    categories: "write fast blocking",
    complexity: "O(log N) with N the grants on the lock; O(W) more with W clients waiting before",
    summary: "Takes a lock, or a path of it, with a lease; waits for it if asked to.",
    reply: Shape::FENCE.or_nil("the lock is busy or the wait timed out"),
    missing: Missing::Always(Nothing::Made),
    args: &[
        KEY,
        OWNER,
        Arg::one_of("mode", &[EXCLUSIVE, SHARED, Arg::word("optimistic", "OPTIMISTIC")]).optional(),
        Arg::integer("n").after("LIMIT").optional(),
        PATH,
        TTL,
        BLOCK,
        PRIORITY,
        REGISTRY,
        Arg::one_of("action", &[Arg::word("release", "RELEASE"), Arg::word("keep", "KEEP")])
            .after("ONDISCONNECT")
            .optional(),
        Arg::word("noreentrant", "NOREENTRANT").optional(),
        Arg::string("text").after("META").optional(),
        REQID,
    ],
    ..LOCK_ROW
};

pub const UNLOCK: Spec = Spec {
    name: "LTMC.UNLOCK",
    work: &[Work::Each(4, Setting::LockHoldersMax), Work::Round],
    arity: -3,
    summary:
        "Releases a lock, one level or all of it, or commits an optimistic stamp; the next waiter gets it at once.",
    complexity: "O(log N) with N the grants on the lock, with ALL for each that ends; O(1) more for each client served",
    reply: Shape::FLAG.about("1 if released, 0 if nothing was held; a stamp needs its TOKEN"),
    missing: Missing::OneOf(&[("without TOKEN", Nothing::Zero), ("with TOKEN", NEEDS_GRANT)]),
    args: &[KEY, OWNER, TOKEN.optional(), PATH, Arg::word("all", "ALL").optional(), REQID],
    ..LOCK_ROW
};

pub const RENEW: Spec = Spec {
    name: "LTMC.LOCK.RENEW",
    work: &[Work::Each(4, Setting::LockHoldersMax), Work::Round],
    arity: 7,
    summary: "Sets the lease of a grant that is still in force.",
    reply: Shape::FLAG.about("1"),
    missing: Missing::Always(NEEDS_GRANT),
    args: &[KEY, OWNER, TOKEN, Arg { optional: false, ..TTL }],
    ..LOCK_ROW
};

pub const CONVERT: Spec = Spec {
    name: "LTMC.LOCK.CONVERT",
    work: &[Work::Each(4, Setting::LockHoldersMax), Work::Each(1, Setting::LockWaitersMax), SEARCH, Work::Round],
    arity: -6,
    flags: Flags::WRITE.and(Flags::BLOCKING),
    categories: "write slow blocking",
    summary: "Makes a shared grant exclusive or an exclusive one shared, under a new fence, without letting go of it.",
    reply: Shape::FENCE.about("the new fence").or_nil("others share the lock and the wait timed out"),
    missing: Missing::Always(NEEDS_GRANT),
    args: &[KEY, OWNER, TOKEN, Arg::one_of("mode", &[SHARED, EXCLUSIVE]), BLOCK, REQID],
    ..LOCK_ROW
};

pub const CHECK: Spec = Spec {
    name: "LTMC.LOCK.CHECK",
    work: &[Work::Each(1, Setting::LockHoldersMax)],
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: "read fast",
    summary: "Says whether a fence is current.",
    reply: Shape::FLAG.about("1 if a grant with this fence is in force, else 0"),
    args: &[KEY, Arg::integer("fence")],
    ..LOCK_READ
};

pub const INFO: Spec = Spec {
    name: "LTMC.LOCK.INFO",
    work: &[Work::Each(1, Setting::LockHoldersMax), Work::Looks(1_000)],
    arity: 2,
    complexity: "O(S) with S the holders and clients waiting that are shown, at most 200",
    summary: "Shows who holds a lock and who waits for it.",
    reply: LOCK_MAP.or_nil("there is no such lock"),
    args: &[KEY],
    ..LOCK_READ
};

pub const MLOCK: Spec = Spec {
    name: "LTMC.MLOCK",
    work: &[
        Work::Each(4, Setting::LockHoldersMax),
        Work::Each(1, Setting::LockWaitersMax),
        Work::Looks(MLOCK_LOOKS_MAX as u64),
        SEARCH,
        Work::Round,
    ],
    arity: -4,
    // Redis Cluster ignores key specs like these: without this flag it would neither redirect nor
    // refuse keys of several slots.
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::CountAt(2) },
        KeySpec { access: Access::Read, at: KeysAt::AfterWord("REGISTRY", 4) },
    ],
    categories: "write slow blocking",
    complexity: "O(K log N) with K keys and N the grants on each; O(W) more for each with W clients waiting before",
    summary: "Takes several locks at once or none of them; holds nothing while it waits.",
    reply: Shape::list(&Shape::FENCE)
        .about("the fences in the order of the keys")
        .or_nil("one is busy or the wait timed out"),
    missing: Missing::Always(Nothing::Made),
    args: &[
        OWNER,
        Arg::integer("numkeys"),
        KEY.multiple(),
        Arg::one_of("mode", &[EXCLUSIVE, SHARED]).optional(),
        TTL,
        BLOCK,
        PRIORITY,
        REGISTRY,
        REQID,
    ],
    ..LOCK_ROW
};

pub const BREAK: Spec = Spec {
    name: "LTMC.LOCK.BREAK",
    work: &[Work::Each(4, Setting::LockHoldersMax), Work::Round],
    arity: -2,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: &[KeySpec { access: Access::Delete, at: KeysAt::Index(1) }],
    roles: Roles::LEADERS,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the grants on the lock",
    summary: "Removes all grants of a lock, or those of one owner; the server's log says who did.",
    reply: Shape::COUNT.about("the number of grants removed"),
    args: &[KEY, Arg::string("owner").optional()],
    ..LOCK_ROW
};

pub const GRAPH: Spec = Spec {
    name: "LTMC.LOCK.GRAPH",
    work: &[Work::Looks(edges::LOOKS_MAX as u64), Work::Reply],
    arity: 1,
    flags: Flags::READONLY.and(Flags::ADMIN),
    keys: &[],
    roles: Roles::WATCHERS,
    categories: "read slow admin dangerous",
    complexity: "O(E) with E the edges, at most 10000",
    summary: "Lists the wait-for graph of this node.",
    reply: Shape::list(&EDGE),
    ..LOCK_ROW
};

pub const GUARD: Spec = Spec {
    name: "LTMC.GUARD",
    work: &[Work::Each(1, Setting::LockHoldersMax)],
    arity: -4,
    flags: Flags::WRITE.and(Flags::GETKEYS_API).and(Flags::WRAPS),
    keys: READ_FIRST,
    categories: "write slow",
    service: Some(Service::Lock),
    complexity: "that of the command",
    summary: "Runs any command only if a fence of a lock is current: makes Redis itself the fenced resource.",
    reply: Shape::ANY.about("that of the command"),
    missing: Missing::Always(NEEDS_GRANT),
    args: &[
        Arg::key("lockkey", 0),
        Arg::integer("fence"),
        Arg::string("command"),
        Arg::string("arg").multiple().optional(),
    ],
    ..ROW
};
