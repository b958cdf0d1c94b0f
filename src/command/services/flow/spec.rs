//! The rows of the commands of flows and tasks.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape, Unit};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::spec::{
    with_registry, BLOCK, BY_CURSOR, BY_OFFSET, NEXT, PAGE, READ_FIRST, READ_ROW, REGISTRY, REQID, ROW, WRITE_FAST,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const NEEDS_FLOW: Nothing = Nothing::Error(Code::NoFlow);

const FLOW_ROW: Spec = Spec { service: Some(Service::Flow), complexity: "O(log N) with N the tasks", ..ROW };

/// What the rows of commands that only read share.
const FLOW_READ: Spec = Spec { service: FLOW_ROW.service, complexity: FLOW_ROW.complexity, ..READ_ROW };

const FLOW: Arg = Arg::key("flow", 0);
const TASK: Arg = Arg::string("task");
const FENCE: Arg = Arg::integer("fence");
const N: Arg = Arg::integer("n");
const MAXAGE: Arg = Arg::integer("ms").after("MAXAGE").optional();
const CASCADE: Arg = Arg::word("cascade", "CASCADE").optional();

/// `TOKEN value ...`
const fn after(args: &'static [Arg], token: &'static str) -> Arg {
    Arg::new("values", ArgKind::Block(args)).after(token).optional()
}

const LOCKS: Arg = after(&[N, Arg::key("key", 1).multiple()], "LOCKS");
/// Redis Cluster uses the first key spec only, unless it may ask the command.
const NAMES_KEYS: Flags = WRITE_FAST.and(Flags::DENY_OOM).and(Flags::GETKEYS_API);
const UPDATE_FIRST: KeySpec = KeySpec { access: Access::Update, at: KeysAt::Index(1) };

const TASK_STATES: &[&str] =
    &["waiting", "held", "delayed", "ready", "running", "succeeded", "dead", "cancelled", "skipped"];
const TASK_ENDS: &[&str] = &["succeeded", "dead", "cancelled", "skipped"];

const FLOW_MAP: Shape = Shape::map(&[
    Field::new("state", Shape::word(&["empty", "running", "paused", "cancelled", "succeeded", "failed"])),
    Field::new("revision", Shape::REVISION),
    Field::new("created_at_ms", Shape::UNIX_MS),
    Field::new("ttl_ms", Shape::MS.or_nil("it has none")),
    Field::new("expires_at_ms", Shape::UNIX_MS.or_nil("it does not expire")),
    Field::new("paused", Shape::FLAG),
    Field::new("max_active", Shape::COUNT.or_nil("there is no bound")),
    Field::new("group_max", Shape::COUNT.or_nil("there is no bound")),
    Field::new(
        "rate",
        Shape::tuple(&[Field::new("tasks", Shape::COUNT), Field::new("per_ms", Shape::MS)]).or_nil("there is no bound"),
    ),
    Field::new("keep", Shape::COUNT),
    Field::new("keep_ms", Shape::MS.or_nil("there is no bound")),
    Field::new("keep_dead", Shape::COUNT),
    Field::new("keep_dead_ms", Shape::MS.or_nil("there is no bound")),
    Field::new("tasks", Shape::COUNT),
    Field::new("waiting", Shape::COUNT),
    Field::new("held", Shape::COUNT),
    Field::new("delayed", Shape::COUNT),
    Field::new("ready", Shape::COUNT),
    Field::new("running", Shape::COUNT),
    Field::new("succeeded", Shape::COUNT),
    Field::new("dead", Shape::COUNT),
    Field::new("cancelled", Shape::COUNT),
    Field::new("skipped", Shape::COUNT),
    Field::new("total_added", Shape::COUNT),
    Field::new("total_succeeded", Shape::COUNT),
    Field::new("total_dead", Shape::COUNT),
    Field::new("total_cancelled", Shape::COUNT),
    Field::new("total_skipped", Shape::COUNT),
    Field::new("total_claimed", Shape::COUNT),
    Field::new("total_failed", Shape::COUNT),
    Field::new("progress", Shape::integer(Unit::Percent)),
    Field::new("mean_ms", Shape::MS.or_nil("no task has succeeded")),
    Field::new("critical_path", Shape::list(&Shape::BYTES.about("tasks")).about("as many as fit")),
    Field::new("critical_ms", Shape::MS.or_nil("it is unknown")),
    Field::new("left_ms", Shape::MS.or_nil("it is unknown")),
    Field::new("waiting_workers", Shape::COUNT),
    Field::new("memory_bytes", Shape::SIZE),
]);

const LOCK_FENCES: Shape = Shape::map_of("lock", &Shape::FENCE);

/// A claimed task as its worker is told of it.
const CLAIMED: Shape = Shape::map(&[
    Field::new("task", Shape::BYTES),
    Field::new("fence", Shape::FENCE),
    Field::new("payload", Shape::BYTES),
    Field::new("attempt", Shape::COUNT),
    Field::new("lease_ms", Shape::MS),
    Field::new("ends_at_ms", Shape::UNIX_MS),
    Field::new("deadline_at_ms", Shape::UNIX_MS.or_nil("it has none")),
    Field::new("group", Shape::BYTES.or_nil("it has none")),
    Field::new("locks", LOCK_FENCES),
    Field::new("signal", Shape::BYTES.or_nil("it had none")),
]);

const ATTEMPT: Shape = Shape::map(&[
    Field::new("agent", Shape::BYTES),
    Field::new("fence", Shape::FENCE),
    Field::new("since_at_ms", Shape::UNIX_MS),
    Field::new("ended_at_ms", Shape::UNIX_MS),
    Field::new("cause", Shape::word(&["failed", "lease ended", "agent gone", "stopped"])),
    Field::new("reason", Shape::BYTES.or_nil("none was given")),
]);

const TASK_MAP: Shape = Shape::map(&[
    Field::new("task", Shape::BYTES),
    Field::new("state", Shape::word(TASK_STATES)),
    Field::new("why", Shape::TEXT.about("why it does not run")),
    Field::new("payload", Shape::BYTES),
    Field::new("result", Shape::BYTES.or_nil("it has not succeeded")),
    Field::new("after", Shape::list(&Shape::BYTES)),
    Field::new("on", Shape::word(&["success", "done", "any"])),
    Field::new("caps", Shape::list(&Shape::BYTES)),
    Field::new("group", Shape::BYTES.or_nil("it has none")),
    Field::new("priority", Shape::integer(Unit::Priority)),
    Field::new("locks", Shape::list(&Shape::BYTES)),
    Field::new("attempts", Shape::COUNT),
    Field::new("retries", Shape::COUNT.or_nil("the default applies")),
    Field::new("added_at_ms", Shape::UNIX_MS),
    Field::new("not_before_at_ms", Shape::UNIX_MS.or_nil("it has none")),
    Field::new("deadline_at_ms", Shape::UNIX_MS.or_nil("it has none")),
    Field::new("signal", Shape::BYTES.or_nil("it had none")),
    Field::new("agent", Shape::BYTES.or_nil("no worker had it")).only("it is running or has ended"),
    Field::new("fence", Shape::FENCE.or_nil("no worker had it")).only("it is running or has ended"),
    Field::new("registry", Shape::BYTES.or_nil("none was named")).only("it is running"),
    Field::new("claimed_at_ms", Shape::UNIX_MS.or_nil("no worker had it")).only("it is running or has ended"),
    Field::new("lease_ms", Shape::MS).only("it is running"),
    Field::new("ends_at_ms", Shape::UNIX_MS).only("it is running"),
    Field::new("progress", Shape::integer(Unit::Percent).or_nil("the worker reported none")).only("it is running"),
    Field::new("note", Shape::BYTES.or_nil("the worker reported none")).only("it is running"),
    Field::new("held_locks", LOCK_FENCES).only("it is running"),
    Field::new("stopping", Shape::FLAG).only("it is running"),
    Field::new("ended_at_ms", Shape::UNIX_MS).only("it has ended"),
    Field::new("reason", Shape::BYTES.or_nil("none was given")).only("it has ended"),
    Field::new("history", Shape::list(&ATTEMPT)),
]);

const TASK_END: Shape = Shape::map(&[
    Field::new("task", Shape::BYTES),
    Field::new("state", Shape::word(TASK_ENDS)),
    Field::new("result", Shape::BYTES.or_nil("it has not succeeded")),
    Field::new("reason", Shape::BYTES.or_nil("none was given")),
    Field::new("agent", Shape::BYTES.or_nil("no worker had it")),
    Field::new("ended_at_ms", Shape::UNIX_MS),
]);

const FLOW_END: Shape = Shape::map(&[
    Field::new("state", Shape::word(&["succeeded", "failed", "cancelled"])),
    Field::new("succeeded", Shape::COUNT),
    Field::new("dead", Shape::COUNT),
    Field::new("cancelled", Shape::COUNT),
    Field::new("skipped", Shape::COUNT),
]);

pub const CREATE: Spec = Spec {
    name: "LTMC.FLOW.CREATE",
    work: &[
        Work::Each(6, Setting::FlowSpecTasksMax),
        Work::Each(1, Setting::FlowSpecEdgesMax),
        Work::KiB(1, Setting::FlowSpecBytesMax),
        Work::Offloaded,
    ],
    arity: -2,
    flags: NAMES_KEYS,
    keys: &[UPDATE_FIRST, KeySpec { access: Access::Update, at: KeysAt::CountAfter("LOCKS", 2) }],
    roles: Roles::COORDINATOR,
    complexity: "O(N log N) with N the tasks given and what they come after",
    summary: "Creates a flow with all of the tasks in SPEC, or none; a cycle is refused and named.",
    reply: Shape::OK,
    missing: Missing::Always(Nothing::Made),
    args: &[
        FLOW,
        Arg::string("json").after("SPEC").optional(),
        Arg::integer("n").after("MAXACTIVE").optional(),
        Arg::integer("n").after("GROUPMAX").optional(),
        after(&[N, Arg::integer("ms")], "RATE"),
        after(&[N, MAXAGE], "KEEP"),
        after(&[N, MAXAGE], "KEEPDEAD"),
        LOCKS,
        TTL,
        REQID,
    ],
    ..FLOW_ROW
};

pub const INFO: Spec = Spec {
    name: "LTMC.FLOW.INFO",
    work: &[Work::Looks(30_000)],
    arity: 2,
    complexity: "O(N + E) with N the tasks and E what they come after; O(1) for more than 5000 or 20000 of them",
    summary: "Shows a flow: its state, its tasks by state, what is left and how long that takes.",
    reply: FLOW_MAP.or_nil("there is no such flow"),
    args: &[FLOW],
    ..FLOW_READ
};

pub const TOUCH: Spec = Spec {
    name: "LTMC.FLOW.TOUCH",
    arity: -2,
    complexity: "O(1)",
    summary: "Starts the TTL of a flow anew, or sets another one.",
    reply: Shape::FLAG.about("1, or 0 if there is no flow"),
    args: &[FLOW, TTL],
    ..FLOW_ROW
};

pub const PAUSE: Spec = Spec {
    name: "LTMC.FLOW.PAUSE",
    arity: 2,
    roles: Roles::LEADERS,
    complexity: "O(1)",
    summary: "Stops handing out tasks of a flow; running tasks continue.",
    reply: Shape::FLAG.about("1, or 0 if it was paused already"),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW],
    ..FLOW_ROW
};

pub const RESUME: Spec = Spec {
    name: "LTMC.FLOW.RESUME",
    work: &[Work::Round],
    complexity: "O(W log N) with W the clients that are served and N the tasks",
    summary: "Hands out tasks of a paused flow again.",
    reply: Shape::FLAG.about("1, or 0 if it was not paused"),
    ..PAUSE
};

pub const CANCEL: Spec = Spec {
    name: "LTMC.FLOW.CANCEL",
    work: &[Work::Round, Work::Arguments(4)],
    complexity:
        "O(M log N) with M the open tasks and what they come after, in turns with other commands, and N the tasks",
    summary: "Cancels all tasks of a flow.",
    reply: Shape::FLAG.about("1, or 0 if it was cancelled already or there is none"),
    missing: Missing::Rule,
    ..PAUSE
};

pub const GRAPH: Spec = Spec {
    name: "LTMC.FLOW.GRAPH",
    work: &[Work::Looks(50_000), Work::Reply],
    arity: -2,
    complexity: "O(N + E) with N the tasks, at most 5000, and E what they come after, at most 20000",
    summary: "Draws a flow with the states of its tasks.",
    reply: Shape::TEXT.about("text for Graphviz (DOT, the default) or Mermaid").or_nil("there is no such flow"),
    args: &[FLOW, Arg::one_of("format", &[Arg::word("dot", "DOT"), Arg::word("mermaid", "MERMAID")]).optional()],
    ..FLOW_READ
};

pub const ADD: Spec = Spec {
    name: "LTMC.TASK.ADD",
    work: &[Work::Arguments(3), Work::KiB(1, Setting::TaskPayloadBytesMax)],
    arity: -4,
    flags: NAMES_KEYS,
    keys: &[UPDATE_FIRST, KeySpec { access: Access::Update, at: KeysAt::CountAfter("LOCKS", 4) }],
    complexity: "O(P log N) with P the tasks that it comes after and N the tasks",
    summary: "Adds a task; if it is ready, a waiting worker gets it at once.",
    reply: Shape::BYTES.about("its id: the given one, or a new one for *"),
    missing: Missing::Always(Nothing::Made),
    args: &[
        FLOW,
        TASK,
        Arg::string("payload"),
        after(&[N, Arg::string("task").multiple()], "AFTER"),
        Arg::one_of("on", &[Arg::word("success", "SUCCESS"), Arg::word("done", "DONE"), Arg::word("any", "ANY")])
            .after("ON")
            .optional(),
        after(&[N, Arg::string("cap").multiple()], "CAPS"),
        Arg::integer("n").after("PRIORITY").optional(),
        Arg::integer("ms").after("DELAY").optional(),
        Arg::integer("ms").after("DEADLINE").optional(),
        Arg::integer("ms").after("LEASE").optional(),
        Arg::integer("n").after("RETRIES").optional(),
        after(
            &[Arg::one_of("kind", &[Arg::word("fixed", "FIXED"), Arg::word("exp", "EXP")]), Arg::integer("ms")],
            "BACKOFF",
        ),
        Arg::integer("ms").after("MAX").optional(),
        Arg::string("name").after("GROUP").optional(),
        LOCKS,
        Arg::word("waitsignal", "WAITSIGNAL").optional(),
        REQID,
    ],
    ..FLOW_ROW
};

pub const CLAIM: Spec = Spec {
    name: "LTMC.TASK.CLAIM",
    work: &[Work::Looks(10_000), Work::Each(10, Setting::FlowCapsMax), Work::Reply, Work::Round],
    arity: -3,
    flags: WRITE_FAST.and(Flags::BLOCKING).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    categories: "write fast blocking",
    complexity:
        "O(C + M log N) with C the sets of capabilities that ready tasks need and the worker has, M the tasks claimed and N the tasks",
    summary: "Hands out the best tasks that are ready and fit, each with a fence and a lease; waits for one if asked to.",
    reply: Shape::list(&CLAIMED),
    args: &[
        FLOW,
        Arg::string("agent").acting(),
        after(&[N, Arg::string("cap").multiple()], "CAPS"),
        REGISTRY,
        Arg::integer("n").after("COUNT").optional(),
        TTL,
        BLOCK,
        REQID,
    ],
    ..FLOW_ROW
};

pub const HEARTBEAT: Spec = Spec {
    name: "LTMC.TASK.HEARTBEAT",
    arity: -4,
    summary: "Starts the lease of a claimed task anew, and reports its progress.",
    reply: Shape::one_of(&[
        Case::new("if the worker may continue", Shape::OK),
        Case::new("if it has to stop", Shape::word(&["CANCEL", "DEADLINE"])),
    ]),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW, TASK, FENCE, after(&[Arg::integer("percent"), Arg::string("text").optional()], "PROGRESS")],
    ..FLOW_ROW
};

pub const COMPLETE: Spec = Spec {
    name: "LTMC.TASK.COMPLETE",
    work: &[
        Work::KiB(1, Setting::TaskPayloadBytesMax),
        Work::Each(10, Setting::FlowCapsMax),
        Work::Arguments(1),
        Work::Round,
    ],
    arity: -5,
    // Finished work is not refused for lack of memory.
    flags: WRITE_FAST.and(Flags::BLOCKING),
    categories: "write fast blocking",
    complexity:
        "O(log N + M) with N the tasks and M those that come after it; many of them in turns with other commands",
    summary:
        "Completes a claimed task with its result, once; with NEXT the worker gets its next task in the same call.",
    reply: Shape::one_of(&[Case::new("without NEXT", Shape::OK), Case::new("with NEXT", Shape::list(&CLAIMED))]),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW, TASK, FENCE, Arg::string("result"), Arg::word("next", "NEXT").optional(), BLOCK],
    ..FLOW_ROW
};

pub const FAIL: Spec = Spec {
    name: "LTMC.TASK.FAIL",
    work: &[Work::Each(10, Setting::FlowCapsMax), Work::Arguments(1), Work::Round],
    arity: -5,
    complexity:
        "O(log N + M) with N the tasks and M those that come after it; many of them in turns with other commands",
    summary: "Gives up a claimed task: it is tried again while attempts are left; with DEAD it is not.",
    reply: Shape::word(&["RETRY", "DEAD", "CANCELLED"]).about("what becomes of the task"),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[
        FLOW,
        TASK,
        FENCE,
        Arg::string("reason"),
        Arg::one_of("what", &[Arg::word("retry", "RETRY"), Arg::word("dead", "DEAD")]).optional(),
    ],
    ..FLOW_ROW
};

pub const TASK_CANCEL: Spec = Spec {
    name: "LTMC.TASK.CANCEL",
    work: &[Work::Arguments(3), Work::Round],
    arity: -3,
    roles: Roles::LEADERS,
    complexity:
        "O(log N + M) with N the tasks and M those that come after it; many of them in turns with other commands",
    summary: "Cancels a task, with CASCADE also all tasks that wait for it; its worker is asked to stop.",
    reply: Shape::FLAG.about("1, or 0 if it had ended or there is none"),
    args: &[FLOW, TASK, CASCADE],
    ..FLOW_ROW
};

pub const GET: Spec = Spec {
    name: "LTMC.TASK.GET",
    work: &[Work::Arguments(1)],
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::GETKEYS_API),
    keys: &[READ_FIRST[0], KeySpec { access: Access::Read, at: KeysAt::AfterWord("REGISTRY", 3) }],
    categories: "read fast",
    complexity: "O(P) with P the tasks that it comes after",
    summary:
        "Shows a task, and says in words why it does not run; with REGISTRY also whether a living agent could do it.",
    reply: TASK_MAP.or_nil("there is no such task"),
    args: &[FLOW, TASK, REGISTRY],
    ..FLOW_READ
};

pub const LIST: Spec = Spec {
    name: "LTMC.TASK.LIST",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: "O(M + log N) with M the tasks shown and skipped, at most 10000 each, and N the tasks",
    summary: "Lists the ids of tasks, in the order in which they were added.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&Shape::BYTES.about("ids"))),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("tasks", Shape::list(&Shape::BYTES.about("ids")))])),
    ]),
    args: &[FLOW, Arg::string("state").after("STATE").optional(), PAGE],
    ..FLOW_READ
};

pub const WAIT: Spec = Spec {
    name: "LTMC.TASK.WAIT",
    arity: -2,
    flags: Flags::READONLY.and(Flags::BLOCKING),
    categories: "read slow blocking",
    complexity: "O(1)",
    summary: "Waits for the end of a task, or of all tasks of the flow.",
    reply: Shape::one_of(&[Case::new("for a task", TASK_END), Case::new("for the flow", FLOW_END)])
        .or_nil("it has not ended or the wait timed out"),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW, TASK.optional(), BLOCK],
    ..FLOW_READ
};

pub const SIGNAL: Spec = Spec {
    name: "LTMC.TASK.SIGNAL",
    work: &[Work::KiB(1, Setting::TaskPayloadBytesMax)],
    arity: -3,
    flags: WRITE_FAST.and(Flags::DENY_OOM),
    summary: "Gives a task that was added with WAITSIGNAL the signal that it waits for, with data for its worker.",
    reply: Shape::FLAG.about("1, or 0 if it had one already"),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW, TASK, Arg::string("data").optional()],
    ..FLOW_ROW
};

pub const REQUEUE: Spec = Spec {
    name: "LTMC.TASK.REQUEUE",
    work: &[Work::Looks(20_000), Work::Arguments(3)],
    arity: -3,
    roles: Roles::LEADERS,
    complexity: "O(M log N) with M the tasks looked at and what they come after, at most 5000, and N the tasks",
    summary:
        "Begins a dead, cancelled or skipped task anew; with CASCADE also those skipped or cancelled because of it.",
    reply: Shape::COUNT.about("the number of tasks that begin anew"),
    missing: Missing::Always(NEEDS_FLOW),
    args: &[FLOW, TASK, CASCADE],
    ..FLOW_ROW
};
