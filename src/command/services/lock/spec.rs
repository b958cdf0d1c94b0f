//! The rows of the lock commands.

use crate::command::engine::spec::{Arg, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::host::Access;
use crate::command::services::spec::{with_registry, BLOCK, GROWS, KEY, READ_FIRST, REGISTRY, REQID, ROW};
use crate::domain::Service;

const LOCK_ROW: Spec =
    Spec { service: Some(Service::Lock), complexity: "O(log N) with N the grants on the lock", ..ROW };

const OWNER: Arg = Arg::string("owner");
const TOKEN: Arg = Arg::integer("fence").after("TOKEN");
const PRIORITY: Arg = Arg::integer("n").after("PRIORITY").optional();
const PATH: Arg = Arg::string("path").after("PATH").optional();
const EXCLUSIVE: Arg = Arg::word("exclusive", "EXCLUSIVE");
const SHARED: Arg = Arg::word("shared", "SHARED");

pub const LOCK: Spec = Spec {
    name: "LTMC.LOCK",
    arity: -3,
    flags: GROWS.and(Flags::FAST).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    categories: "write fast blocking",
    complexity: "O(log N) with N the grants on the lock; O(W) more with W clients waiting before",
    summary: "Takes a lock, or a path of it, with a lease; waits for it if asked to.",
    reply: "the fence; nil if the lock is busy or the wait timed out",
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
    arity: -3,
    summary:
        "Gives a lock back, one level or all of it, or commits an optimistic stamp; the next waiter has it at once.",
    reply: "1 if released, 0 if nothing was held",
    args: &[KEY, OWNER, TOKEN.optional(), PATH, Arg::word("all", "ALL").optional()],
    ..LOCK_ROW
};

pub const RENEW: Spec = Spec {
    name: "LTMC.LOCK.RENEW",
    arity: 7,
    summary: "Sets the lease of a grant that is still in force.",
    reply: "1",
    args: &[KEY, OWNER, TOKEN, Arg { optional: false, ..TTL }],
    ..LOCK_ROW
};

pub const CONVERT: Spec = Spec {
    name: "LTMC.LOCK.CONVERT",
    arity: -6,
    flags: GROWS,
    categories: "write slow blocking",
    summary: "Makes a shared grant exclusive or an exclusive one shared, under a new fence, without letting go of it.",
    reply: "the new fence; nil if others share the lock and the wait timed out",
    args: &[KEY, OWNER, TOKEN, Arg::one_of("mode", &[SHARED, EXCLUSIVE]), BLOCK],
    ..LOCK_ROW
};

pub const CHECK: Spec = Spec {
    name: "LTMC.LOCK.CHECK",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: READ_FIRST,
    categories: "read fast",
    summary: "Says whether a fence is current.",
    reply: "1 if a grant with this fence is in force, else 0",
    args: &[KEY, Arg::integer("fence")],
    ..LOCK_ROW
};

pub const INFO: Spec = Spec {
    name: "LTMC.LOCK.INFO",
    arity: 2,
    flags: Flags::READONLY,
    keys: READ_FIRST,
    categories: "read slow",
    complexity: "O(N + W) with N the grants and W the clients waiting",
    summary: "Shows who holds a lock and who waits for it.",
    reply: "map: mode, version, holders and waiters with their counts, as many as fit; nil if there is no such lock",
    args: &[KEY],
    ..LOCK_ROW
};

pub const MLOCK: Spec = Spec {
    name: "LTMC.MLOCK",
    arity: -4,
    // Redis Cluster does not look at key specs like these: without this it would neither redirect nor refuse keys of several slots.
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::CountAt(2) },
        KeySpec { access: Access::Read, at: KeysAt::AfterWord("REGISTRY", 4) },
    ],
    categories: "write slow blocking",
    complexity: "O(K log N) with K keys and N the grants on each; O(W) more for each with W clients waiting before",
    summary: "Takes several locks at once or none of them; holds nothing while it waits.",
    reply: "the fences in the order of the keys; nil if one is busy or the wait timed out",
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
    arity: -2,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: &[KeySpec { access: Access::Delete, at: KeysAt::Index(1) }],
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the grants on the lock",
    summary: "Takes a lock away from everyone who holds it, or from one owner; the server's log says who did.",
    reply: "the number of grants removed",
    args: &[KEY, OWNER.optional()],
    ..LOCK_ROW
};

pub const GRAPH: Spec = Spec {
    name: "LTMC.LOCK.GRAPH",
    arity: 1,
    flags: Flags::READONLY.and(Flags::ADMIN),
    keys: &[],
    categories: "read slow admin dangerous",
    complexity: "O(E) with E the edges, at most 10000",
    summary: "Lists the wait-for graph of this node.",
    reply: "list of maps: waiter, key, db, waits_for, kind (holder or queue)",
    ..LOCK_ROW
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
