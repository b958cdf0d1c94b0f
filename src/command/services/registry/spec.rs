//! The rows of the commands of the agent registry.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape, Unit};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::services::spec::{
    with_registry, BLOCK, BY_CURSOR, BY_OFFSET, NEXT, PAGE, READ_ROW, REGISTRY, REQID, ROW, WRITE_FAST,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const REGISTRY_ROW: Spec = Spec { service: Some(Service::Registry), complexity: "O(log N) with N the agents", ..ROW };

const REGISTRY_KEY: Arg = Arg::key("registry", 0);
const AGENT: Arg = Arg::string("agent").acting();
const EPOCH: Arg = Arg::integer("epoch").after("EPOCH").optional();

/// `TOKEN n value [value ...]`
const fn counted(args: &'static [Arg], token: &'static str) -> Arg {
    Arg::new("values", ArgKind::Block(args)).after(token).optional()
}

const N: Arg = Arg::integer("n");
const CAPS: Arg = counted(&[N, Arg::string("cap").multiple()], "CAPS");
const TAGS: Arg = counted(&[N, Arg::string("tag").multiple()], "TAGS");

const CLAIM_MAP: Shape = Shape::map(&[
    Field::new("fence", Shape::FENCE),
    Field::new("since_at_ms", Shape::UNIX_MS),
    Field::new("ends_at_ms", Shape::UNIX_MS),
    Field::new("ref", Shape::BYTES.or_nil("none was given")),
]);

/// An agent.
const AGENT_MAP: Shape = Shape::map(&[
    Field::new("id", Shape::BYTES),
    Field::new("epoch", Shape::FENCE),
    Field::new("status", Shape::word(STATUS_WORDS)),
    Field::new("declared", Shape::word(DECLARED_WORDS)),
    Field::new("health", Shape::word(&["ok", "degraded", "failed"])),
    Field::new("reason", Shape::BYTES.or_nil("none was given")),
    Field::new("name", Shape::BYTES.or_nil("none was given")),
    Field::new("caps", Shape::list(&Shape::BYTES)),
    Field::new("tags", Shape::list(&Shape::BYTES)),
    Field::new("meta", Shape::JSON.or_nil("none was given")),
    Field::new("session", Shape::BYTES.or_nil("none was given")),
    Field::new("capacity", Shape::COUNT),
    Field::new("free", Shape::COUNT),
    Field::new("load", Shape::DECIMAL.about("0 to 1")),
    Field::new("latency_ms", Shape::MS.or_nil("none is known")),
    Field::new("succeeded", Shape::COUNT),
    Field::new("failed", Shape::COUNT),
    Field::new("registered_at_ms", Shape::UNIX_MS),
    Field::new("heartbeat_at_ms", Shape::UNIX_MS),
    Field::new("ttl_ms", Shape::MS),
    Field::new("suspect_at_ms", Shape::UNIX_MS),
    Field::new("dead_at_ms", Shape::UNIX_MS.or_nil("it is not suspect")),
    Field::new("removed_at_ms", Shape::UNIX_MS.or_nil("it is not dead")),
    Field::new("phi", Shape::DECIMAL.or_nil("there were too few heartbeats")),
    Field::new("damped", Shape::FLAG),
    Field::new("damped_until_at_ms", Shape::UNIX_MS.or_nil("it is not damped")),
    Field::new("penalty", Shape::integer(Unit::Points)),
    Field::new("beats_without_epoch", Shape::COUNT.about("since it took the place of a living one of its name")),
    Field::new("claims", Shape::list(&CLAIM_MAP).about("as many as fit")),
    Field::new("holds", Shape::list(&Shape::BYTES.about("keys")).about("in which it holds something, as many as fit")),
]);

const STATS_MAP: Shape = Shape::map(&[
    Field::new("revision", Shape::REVISION),
    Field::new("agents", Shape::COUNT),
    Field::new("starting", Shape::COUNT),
    Field::new("active", Shape::COUNT),
    Field::new("idle", Shape::COUNT),
    Field::new("busy", Shape::COUNT),
    Field::new("draining", Shape::COUNT),
    Field::new("suspect", Shape::COUNT),
    Field::new("dead", Shape::COUNT),
    Field::new("error", Shape::COUNT),
    Field::new("offered", Shape::COUNT),
    Field::new("claimable", Shape::COUNT),
    Field::new("claims", Shape::COUNT),
    Field::new("waiting", Shape::COUNT),
    Field::new("held", Shape::FLAG),
    Field::new("held_since_at_ms", Shape::UNIX_MS.or_nil("no outage is assumed")),
    Field::new("capabilities", Shape::COUNT),
    Field::new("tags", Shape::COUNT),
    Field::new("meta_values", Shape::COUNT),
    Field::new("total_registered", Shape::COUNT),
    Field::new("total_suspected", Shape::COUNT),
    Field::new("total_recovered", Shape::COUNT),
    Field::new("total_died", Shape::COUNT),
    Field::new("total_claimed", Shape::COUNT),
    Field::new("memory_bytes", Shape::SIZE),
]);

const STATUS_WORDS: &[&str] = &["starting", "active", "idle", "busy", "draining", "suspect", "dead", "error"];
const DECLARED_WORDS: &[&str] = &["starting", "active", "idle", "busy", "draining", "error"];

pub const REGISTER: Spec = Spec {
    name: "LTMC.REGISTER",
    work: &[Work::Round, Work::Each(20, Setting::ClaimWaitersMax)],
    arity: -3,
    flags: WRITE_FAST.and(Flags::DENY_OOM),
    complexity: "O(C log N) with C the capabilities, tags and metadata values of the agent and N the agents",
    summary: "Registers an agent, or registers it again under a new epoch; values that are not given again stay.",
    reply: Shape::FENCE.about("the epoch of the agent").or_nil("NX is given and the agent is registered already"),
    missing: Missing::Always(Nothing::Made),
    args: &[
        REGISTRY_KEY,
        AGENT,
        Arg::word("nx", "NX").optional(),
        Arg::string("text").after("NAME").optional(),
        CAPS,
        TAGS,
        Arg::string("json").after("META").optional(),
        Arg::integer("n").after("CAPACITY").optional(),
        Arg::string("id").after("SESSION").optional(),
        Arg::one_of("status", &[Arg::word("starting", "STARTING"), Arg::word("active", "ACTIVE")])
            .after("STATUS")
            .optional(),
        TTL,
    ],
    ..REGISTRY_ROW
};

pub const DEREGISTER: Spec = Spec {
    name: "LTMC.DEREGISTER",
    work: &[Work::Round, Work::Each(4, Setting::LockHoldersMax), Work::Each(6, Setting::AgentCapacityMax)],
    arity: -3,
    roles: Roles::ENDERS,
    complexity: "O(C log N) with C the capabilities, tags, metadata values and claims of the agent and N the agents",
    summary: "Removes an agent from the registry; the claims on it end.",
    reply: Shape::FLAG.about("1 if it was there, else 0"),
    args: &[REGISTRY_KEY, AGENT, EPOCH],
    ..REGISTRY_ROW
};

pub const HEARTBEAT: Spec = Spec {
    name: "LTMC.HEARTBEAT",
    work: &[Work::Round, Work::Each(20, Setting::ClaimWaitersMax)],
    arity: -3,
    summary: "Keeps an agent alive, and reports its status, load and health.",
    reply: Shape::MS.about("the TTL of the agent"),
    missing: Missing::Always(Nothing::Error(Code::NoAgent)),
    args: &[
        REGISTRY_KEY,
        AGENT,
        EPOCH,
        Arg::string("status").after("STATUS").optional(),
        Arg::string("share").after("LOAD").optional(),
        Arg::one_of(
            "health",
            &[Arg::word("ok", "OK"), Arg::word("degraded", "DEGRADED"), Arg::word("failed", "FAILED")],
        )
        .after("HEALTH")
        .optional(),
        Arg::string("text").after("REASON").optional(),
    ],
    ..REGISTRY_ROW
};

/// What the rows of commands that only read agents share.
const REGISTRY_READ: Spec = Spec { service: REGISTRY_ROW.service, complexity: REGISTRY_ROW.complexity, ..READ_ROW };

pub const AGENT_GET: Spec = Spec {
    name: "LTMC.AGENT.GET",
    work: &[Work::Each(4, Setting::AgentCapacityMax), Work::Each(2, Setting::AgentHoldingsMax)],
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    categories: "read fast",
    complexity: "O(K) with K the keys in which it holds something",
    summary: "Shows an agent, with the keys in which it holds something.",
    reply: AGENT_MAP.or_nil("there is no such agent"),
    args: &[REGISTRY_KEY, Arg::string("agent")],
    ..REGISTRY_READ
};

pub const AGENT_LIST: Spec = Spec {
    name: "LTMC.AGENT.LIST",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: "O(M) with M the ids returned; with CURSOR O(M + log N) with M the agents looked at and N all of them",
    summary: "Lists the ids of agents, in no particular order; with CURSOR in the order of their epochs.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&Shape::BYTES.about("ids"))),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("agents", Shape::list(&Shape::BYTES.about("ids")))])),
    ]),
    args: &[REGISTRY_KEY, Arg::string("status").after("STATUS").optional(), PAGE],
    ..REGISTRY_READ
};

const ANYCAP: Arg = counted(&[N, Arg::string("cap").multiple()], "ANYCAP");
const STATUSES: Arg = counted(&[N, Arg::string("status").multiple()], "STATUS");
const META_VALUE: Arg = counted(&[Arg::string("path"), Arg::string("value")], "META");
const MINFREE: Arg = Arg::integer("n").after("MINFREE").optional();
const EXCLUDE: Arg = counted(&[N, Arg::string("id").multiple()], "EXCLUDE");

const SORT: Arg =
    Arg::one_of("sort", &[Arg::word("load", "LOAD"), Arg::word("latency", "LATENCY"), Arg::word("random", "RANDOM")])
        .after("SORT")
        .optional();

const FILTER: [Arg; 8] = [CAPS, ANYCAP, TAGS, STATUSES, META_VALUE, MINFREE, EXCLUDE, SORT];

/// The arguments of a command that chooses agents: the filter stands between `before` and `after`.
pub const fn with_filter<const A: usize, const B: usize, const ALL: usize>(
    before: [Arg; A],
    after: [Arg; B],
) -> [Arg; ALL] {
    assert!(ALL == A + FILTER.len() + B);
    let mut all = [FILTER[0]; ALL];
    let mut at = 0;
    while at < ALL {
        all[at] = match at {
            _ if at < A => before[at],
            _ if at < A + FILTER.len() => FILTER[at - A],
            _ => after[at - A - FILTER.len()],
        };
        at += 1;
    }
    all
}

pub const AGENT_FIND: Spec = Spec {
    name: "LTMC.AGENT.FIND",
    work: &[Work::Each(2, Setting::RegistryAgentsMax), Work::Each(32, Setting::CapabilityVersionsMax), Work::Reply],
    arity: -2,
    complexity: "O(F * A / 64 + M) at worst, with F the parts of the filter, A the agents and M those returned; less if few agents meet one part",
    summary: "Finds agents by capabilities, tags, status, metadata and free capacity.",
    reply: Shape::one_of(&[
        Case::new("without WITHINFO", Shape::list(&Shape::BYTES.about("ids"))),
        Case::new("with WITHINFO", Shape::list(&AGENT_MAP)),
    ]),
    args: &with_filter::<1, 2, 11>(
        [REGISTRY_KEY],
        [Arg::integer("n").after("LIMIT").optional(), Arg::word("withinfo", "WITHINFO").optional()],
    ),
    ..REGISTRY_READ
};

pub const AGENT_CLAIM: Spec = Spec {
    name: "LTMC.AGENT.CLAIM",
    work: &[
        Work::Each(2, Setting::RegistryAgentsMax),
        Work::Each(32, Setting::CapabilityVersionsMax),
        Work::Round,
        Work::Each(20, Setting::ClaimWaitersMax),
    ],
    arity: -4,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::GETKEYS_API),
    keys: &with_registry(2),
    categories: "write slow blocking",
    complexity: "that of LTMC.AGENT.FIND",
    summary: "Reserves one unit of the capacity of the best agent that fits, with a lease; waits for it if asked to.",
    reply: Shape::tuple(&[Field::new("agent", Shape::BYTES), Field::new("fence", Shape::FENCE)])
        .or_nil("no agent fits or the wait timed out"),
    args: &with_filter::<2, 4, 14>(
        [REGISTRY_KEY, Arg { optional: false, ..TTL }],
        [Arg::string("text").acting_with("REGISTRY").after("REF").optional(), BLOCK, REGISTRY, REQID],
    ),
    ..REGISTRY_ROW
};

pub const AGENT_RELEASE: Spec = Spec {
    name: "LTMC.AGENT.RELEASE",
    work: &[Work::Round, Work::Each(20, Setting::ClaimWaitersMax)],
    arity: -3,
    roles: Roles::ENDERS,
    summary: "Releases a claim and reports how it went; the longest waiter whose filter fits gets the agent at once.",
    reply: Shape::FLAG.about("1 if released, 0 if the claim had ended"),
    args: &[
        REGISTRY_KEY,
        Arg::integer("fence"),
        Arg::one_of("outcome", &[Arg::word("ok", "OK"), Arg::word("fail", "FAIL")]).after("OUTCOME").optional(),
        Arg::integer("ms").after("LATENCY").optional(),
    ],
    ..REGISTRY_ROW
};

pub const AGENT_STATS: Spec = Spec {
    name: "LTMC.AGENT.STATS",
    work: &[Work::Each(1, Setting::RegistryAgentsMax)],
    arity: 2,
    complexity: "O(1); O(S) more with S the agents that are silent",
    summary: "Counts the agents of a registry.",
    reply: STATS_MAP.or_nil("there is no such registry"),
    args: &[REGISTRY_KEY],
    ..REGISTRY_READ
};
