//! The command table. A row here is all it takes to have a command: registration, arity, key specs, flags, ACL categories, COMMAND DOCS,
//! the syntax line in errors, the reference page and the tests that walk the table come from it.

use super::spec::{Access, Arg, Command, Flags, KeySpec, KeysAt, Spec, TTL};
use super::{lock, lock_info, server, Host};
use crate::domain::Service;

/// All commands, on any host.
pub struct Table<H>(std::marker::PhantomData<H>);

const UPDATE_FIRST: &[KeySpec] = &[KeySpec { access: Access::Update, at: KeysAt::Index(1) }];
const READ_FIRST: &[KeySpec] = &[KeySpec { access: Access::Read, at: KeysAt::Index(1) }];

const KEY: Arg = Arg::key("key", 0);
const OWNER: Arg = Arg::string("owner");
const TOKEN: Arg = Arg::integer("fence").after("TOKEN");
const BLOCK: Arg = Arg::integer("ms").after("BLOCK").optional();
const PRIORITY: Arg = Arg::integer("n").after("PRIORITY").optional();
const PATH: Arg = Arg::string("path").after("PATH").optional();
const REGISTRY: Arg = Arg::key("registry", 1).after("REGISTRY").optional();
const REQID: Arg = Arg::string("id").after("REQID").optional();
const EXCLUSIVE: Arg = Arg::word("exclusive", "EXCLUSIVE");
const SHARED: Arg = Arg::word("shared", "SHARED");

const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROWS: Flags = Flags::WRITE.and(Flags::DENY_OOM).and(Flags::BLOCKING);

/// What the rows of one service have in common.
const LOCK_ROW: Spec = Spec {
    name: "",
    arity: 0,
    flags: WRITE_FAST,
    keys: UPDATE_FIRST,
    categories: "write fast",
    service: Some(Service::Lock),
    is_verbatim: false,
    since: "0.1.0",
    complexity: "O(log N) with N the grants on the lock",
    summary: "",
    reply: "",
    args: &[],
};

const SERVER_ROW: Spec = Spec { service: None, keys: &[], flags: Flags::READONLY, categories: "read fast", ..LOCK_ROW };

const LOCK: Spec = Spec {
    name: "LTMC.LOCK",
    arity: -3,
    flags: GROWS.and(Flags::FAST),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::Index(1) },
        KeySpec { access: Access::Update, at: KeysAt::AfterWord("REGISTRY", 3) },
    ],
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

const UNLOCK: Spec = Spec {
    name: "LTMC.UNLOCK",
    arity: -3,
    summary:
        "Gives a lock back, one level or all of it, or commits an optimistic stamp; the next waiter has it at once.",
    reply: "1 if released, 0 if nothing was held",
    args: &[
        KEY,
        OWNER,
        Arg::one_of("what", &[TOKEN, Arg::string("path").after("PATH")]).optional(),
        Arg::word("all", "ALL").optional(),
    ],
    ..LOCK_ROW
};

const RENEW: Spec = Spec {
    name: "LTMC.LOCK.RENEW",
    arity: 7,
    summary: "Sets the lease of a grant that is still in force.",
    reply: "1",
    args: &[KEY, OWNER, TOKEN, Arg { optional: false, ..TTL }],
    ..LOCK_ROW
};

const CONVERT: Spec = Spec {
    name: "LTMC.LOCK.CONVERT",
    arity: -6,
    flags: GROWS,
    categories: "write slow blocking",
    summary: "Makes a shared grant exclusive or an exclusive one shared, under a new fence, without letting go of it.",
    reply: "the new fence; nil if others share the lock and the wait timed out",
    args: &[KEY, OWNER, TOKEN, Arg::one_of("mode", &[SHARED, EXCLUSIVE]), BLOCK],
    ..LOCK_ROW
};

const CHECK: Spec = Spec {
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

const INFO: Spec = Spec {
    name: "LTMC.LOCK.INFO",
    arity: 2,
    flags: Flags::READONLY,
    keys: READ_FIRST,
    categories: "read slow",
    complexity: "O(N + W) with N the grants and W the clients waiting",
    summary: "Shows who holds a lock and who waits for it.",
    reply: "map: mode, version, holders, waiters; nil if there is no such lock",
    args: &[KEY],
    ..LOCK_ROW
};

const MLOCK: Spec = Spec {
    name: "LTMC.MLOCK",
    arity: -4,
    // Redis Cluster does not look at key specs like these: without this it would neither redirect nor refuse keys of several slots.
    flags: GROWS.and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::CountAt(2) },
        KeySpec { access: Access::Update, at: KeysAt::AfterWord("REGISTRY", 4) },
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

const BREAK: Spec = Spec {
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

const GRAPH: Spec = Spec {
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

const GUARD: Spec = Spec {
    name: "LTMC.GUARD",
    arity: -4,
    flags: Flags::WRITE.and(Flags::GETKEYS_API).and(Flags::WRAPS),
    keys: READ_FIRST,
    categories: "write slow",
    complexity: "that of the command",
    summary: "Runs any command only if a fence is the current one of a lock: makes Redis itself the fenced resource.",
    reply: "that of the command",
    args: &[
        Arg::key("lockkey", 0),
        Arg::integer("fence"),
        Arg::string("command"),
        Arg::string("arg").multiple().optional(),
    ],
    ..LOCK_ROW
};

const STATUS: Spec = Spec {
    name: "LTMC.STATUS",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALLOW_STALE),
    complexity: "O(1)",
    summary: "Shows the state of this node.",
    reply: "map: version, server, role, mode, settings, who waits and, per service, the counters",
    ..SERVER_ROW
};

const APPLY: Spec = Spec {
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

const EXPLAIN: Spec = Spec {
    name: "LTMC.EXPLAIN",
    arity: 2,
    categories: "read slow",
    complexity: "O(N) with N the size of the payload",
    summary: "Shows the payload of an LTMC.APPLY as JSON, for reading an AOF.",
    reply: "JSON text",
    args: &[Arg::string("payload")],
    ..SERVER_ROW
};

const REPAIR: Spec = Spec {
    name: "LTMC.REPAIR",
    arity: 2,
    flags: Flags::WRITE.and(Flags::ADMIN),
    keys: UPDATE_FIRST,
    categories: "write slow admin dangerous",
    complexity: "O(N) with N the size of the value",
    summary: "Checks a key, makes its derived indexes anew and takes it out of quarantine.",
    reply: "map: type, was_broken; nil if the key holds nothing of LTMC",
    args: &[KEY],
    ..SERVER_ROW
};

#[cfg(feature = "test-hooks")]
const DEBUG: Spec = Spec {
    name: "LTMC.DEBUG",
    arity: -2,
    // The key of PANIC: the one that is counted towards quarantine.
    keys: &[KeySpec { access: Access::Update, at: KeysAt::Index(2) }],
    flags: Flags::WRITE.and(Flags::ADMIN),
    categories: "write slow admin dangerous",
    complexity: "O(1)",
    summary: "Exists in test builds only: panics on demand (PANIC [key], SWEEP times) and moves the clock (CLOCK ms).",
    reply: "OK",
    args: &[Arg::string("what"), Arg::key("arg", 0).optional()],
    ..SERVER_ROW
};

impl<H: Host> Table<H> {
    /// The rows.
    pub const COMMANDS: &'static [Command<H>] = &[
        Command { spec: &LOCK, run: lock::lock },
        Command { spec: &UNLOCK, run: lock::unlock },
        Command { spec: &RENEW, run: lock::renew },
        Command { spec: &CONVERT, run: lock::convert },
        Command { spec: &CHECK, run: lock_info::check },
        Command { spec: &INFO, run: lock_info::info },
        Command { spec: &MLOCK, run: lock::mlock },
        Command { spec: &BREAK, run: lock::break_lock },
        Command { spec: &GRAPH, run: lock_info::graph },
        Command { spec: &GUARD, run: server::guard },
        Command { spec: &STATUS, run: server::status },
        Command { spec: &APPLY, run: server::apply },
        Command { spec: &EXPLAIN, run: server::explain },
        Command { spec: &REPAIR, run: server::repair },
        #[cfg(feature = "test-hooks")]
        Command { spec: &DEBUG, run: server::debug },
    ];

    /// The row of a command, by its name in any case.
    pub fn find(name: &[u8]) -> Option<&'static Command<H>> {
        Self::COMMANDS.iter().find(|command| name.eq_ignore_ascii_case(command.spec.name.as_bytes()))
    }
}
