//! The rows of the commands of mailboxes.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec, TTL};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::spec::{
    with_registry, BLOCK, BY_CURSOR, BY_OFFSET, NEXT, PAGE, READ_ROW, REGISTRY as BOUND, REQID, ROW, WRITE_FAST,
};
use crate::command::settings::Setting;
use crate::domain::{Code, Service};

const MAIL_ROW: Spec =
    Spec { service: Some(Service::Mail), complexity: "O(log N) with N the messages in the mailbox", ..ROW };

const MAIL: Arg = Arg::key("mail", 0);
const AGENT: Arg = Arg::string("agent").acting();
const ID: Arg = Arg::integer("id");
const REGISTRY: Arg = Arg::key("registry", 1).after("REGISTRY");
const TOKEN: Arg = Arg::integer("fence").after("TOKEN").optional();
const REPLYTO: Arg = Arg::integer("id").after("REPLYTO");

/// The destination of a message.
const DESTINATION: Arg = Arg::one_of(
    "destination",
    &[
        Arg::new("agents", ArgKind::Block(&[Arg::integer("n"), Arg::string("agent").multiple()])).after("TO"),
        Arg::new("capable", ArgKind::Block(&[Arg::string("cap"), REGISTRY])).after("CAP"),
        REGISTRY,
        Arg::word("all", "ALL"),
        REPLYTO,
    ],
);

/// The sender gives this number, and it need not be a message.
const REPLY_TO: Shape = Shape::NUMBER.about("the id of the message that it answers").or_nil("it answers none");

/// All messages of one `LTMC.MSG.RECV` have the same.
const TOKEN_SHAPE: Shape = Shape::FENCE.about("the fence of the lease, for TOKEN");

const RECEIVED: Shape = Shape::map(&[
    Field::new("id", Shape::FENCE),
    Field::new("from", Shape::BYTES),
    Field::new("payload", Shape::BYTES),
    Field::new("sent_at_ms", Shape::UNIX_MS),
    Field::new("deliveries", Shape::COUNT),
    Field::new("ends_at_ms", Shape::UNIX_MS),
    Field::new("fence", TOKEN_SHAPE),
    Field::new("reply_to", REPLY_TO),
    Field::new("expires_at_ms", Shape::UNIX_MS.or_nil("it does not expire")),
]);

const PENDING_MAP: Shape = Shape::map(&[
    Field::new("id", Shape::FENCE),
    Field::new("from", Shape::BYTES),
    Field::new("sent_at_ms", Shape::UNIX_MS),
    Field::new("deliveries", Shape::COUNT),
    Field::new("ends_at_ms", Shape::UNIX_MS),
    Field::new("fence", TOKEN_SHAPE),
    Field::new("reply_to", REPLY_TO),
]);

const DEAD_MAP: Shape = Shape::map(&[
    Field::new("id", Shape::FENCE),
    Field::new("agent", Shape::BYTES),
    Field::new("from", Shape::BYTES),
    Field::new("payload", Shape::BYTES),
    Field::new("sent_at_ms", Shape::UNIX_MS),
    Field::new("deliveries", Shape::COUNT),
    Field::new("died_at_ms", Shape::UNIX_MS),
    Field::new("reason", Shape::word(&["deliveries", "refused"])),
    Field::new("reply_to", REPLY_TO),
]);

const RECEIVER: Shape = Shape::map(&[
    Field::new("agent", Shape::BYTES),
    Field::new("state", Shape::word(&["ready", "received", "delayed", "dead"])),
    Field::new("deliveries", Shape::COUNT),
    Field::new("ends_at_ms", Shape::UNIX_MS.or_nil("it is ready or dead")),
]);

const MESSAGE: Shape = Shape::map(&[
    Field::new("id", Shape::FENCE),
    Field::new("from", Shape::BYTES),
    Field::new("payload", Shape::BYTES),
    Field::new("sent_at_ms", Shape::UNIX_MS),
    Field::new("reply_to", REPLY_TO),
    Field::new("expires_at_ms", Shape::UNIX_MS.or_nil("it does not expire")),
    Field::new("receivers", Shape::list(&RECEIVER).about("as many as fit")),
]);

const INBOX: Shape = Shape::map(&[
    Field::new("agent", Shape::BYTES),
    Field::new("joined_at_ms", Shape::UNIX_MS.or_nil("it has not joined")),
    Field::new("messages", Shape::COUNT),
    Field::new("ready", Shape::COUNT),
    Field::new("waiting", Shape::COUNT),
]);

const MAIL_MAP: Shape = Shape::map(&[
    Field::new("revision", Shape::REVISION),
    Field::new("messages", Shape::COUNT),
    Field::new("payload_bytes", Shape::SIZE),
    Field::new("agents", Shape::COUNT),
    Field::new("joined", Shape::COUNT),
    Field::new("ready", Shape::COUNT),
    Field::new("held", Shape::COUNT),
    Field::new("dead", Shape::COUNT),
    Field::new("waiting", Shape::COUNT),
    Field::new("oldest_at_ms", Shape::UNIX_MS.or_nil("there is no message")),
    Field::new("total_sent", Shape::COUNT),
    Field::new("total_received", Shape::COUNT),
    Field::new("total_acknowledged", Shape::COUNT),
    Field::new("total_returned", Shape::COUNT),
    Field::new("total_expired", Shape::COUNT),
    Field::new("total_died", Shape::COUNT),
    Field::new("total_dropped", Shape::COUNT),
    Field::new("memory_bytes", Shape::SIZE),
]);

pub const SEND: Spec = Spec {
    name: "LTMC.MSG.SEND",
    work: &[
        Work::Each(4, Setting::MailAgentsMax),
        Work::KiB(1, Setting::MailPayloadBytesMax),
        Work::Arguments(1),
        Work::Round,
        Work::Each(2, Setting::RegistryAgentsMax),
        Work::Each(32, Setting::CapabilityVersionsMax),
    ],
    arity: -5,
    // The kind of destination decides whether there is a registry. Key specs cannot say that.
    flags: WRITE_FAST.and(Flags::DENY_OOM).and(Flags::GETKEYS_API),
    keys: &[
        KeySpec { access: Access::Update, at: KeysAt::Index(1) },
        KeySpec { access: Access::Read, at: KeysAt::Behind(&[&[(3, "CAP"), (5, "REGISTRY")], &[(3, "REGISTRY")]]) },
    ],
    complexity:
        "O(R log N) with R the receivers and N the messages in the mailbox; with CAP, that of LTMC.AGENT.FIND as well",
    summary:
        "Sends a message to named agents, to one agent of a registry with a capability, to all agents of a registry, \
              to all participants, or to the sender of the message it answers.",
    reply: Shape::FENCE.about("the id of the message"),
    missing: Missing::OneOf(&[
        ("with TO", Nothing::Made),
        ("with CAP or ALL", Nothing::Error(Code::NoAgent)),
        ("with REPLYTO alone", Nothing::Error(Code::Err)),
    ]),
    args: &[MAIL, Arg::string("from").acting(), DESTINATION, Arg::string("payload"), REPLYTO.optional(), TTL, REQID],
    ..MAIL_ROW
};

pub const RECV: Spec = Spec {
    name: "LTMC.MSG.RECV",
    work: &[Work::Looks(6_000), Work::Reply, Work::KiB(1, Setting::MailPayloadBytesMax)],
    arity: -3,
    flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    categories: "write slow blocking",
    complexity: "O(M log N) with M the messages received and N those in the mailbox",
    summary: "Receives an agent's messages in their order, with a lease; waits for one if asked to.",
    reply: Shape::list(&RECEIVED),
    args: &[MAIL, AGENT, Arg::integer("n").after("COUNT").optional(), TTL, BLOCK, BOUND, REPLYTO.optional()],
    ..MAIL_ROW
};

pub const ACK: Spec = Spec {
    name: "LTMC.MSG.ACK",
    work: &[Work::Arguments(3)],
    arity: -4,
    roles: Roles::ENDERS,
    complexity: "O(M log N) with M the ids and N the messages in the mailbox",
    summary: "Acknowledges messages: they leave the agent's inbox, or the dead letters.",
    reply: Shape::COUNT.about("how many of them were there"),
    args: &[MAIL, AGENT, ID.multiple(), TOKEN],
    ..MAIL_ROW
};

pub const NACK: Spec = Spec {
    name: "LTMC.MSG.NACK",
    arity: -4,
    roles: Roles::ENDERS,
    summary: "Returns a message: it can be received again at once or later, or becomes a dead letter.",
    reply: Shape::FLAG.about("1 if it is given back, 0 if the agent does not have it"),
    args: &[
        MAIL,
        AGENT,
        ID,
        Arg::one_of("how", &[Arg::integer("ms").after("DELAY"), Arg::word("dead", "DEAD")]).optional(),
        TOKEN,
    ],
    ..MAIL_ROW
};

pub const EXTEND: Spec = Spec {
    name: "LTMC.MSG.EXTEND",
    arity: -6,
    summary: "Sets a new end of the lease of a message, counted from now.",
    reply: Shape::FLAG.about("1 if it is set, 0 if the agent does not have the message"),
    args: &[MAIL, AGENT, ID, Arg { optional: false, ..TTL }, TOKEN],
    ..MAIL_ROW
};

pub const REQUEUE: Spec = Spec {
    name: "LTMC.MSG.REQUEUE",
    arity: 4,
    roles: Roles::ENDERS,
    summary: "Puts a dead letter back into the inbox it was in, as if it had never been received.",
    reply: Shape::FLAG.about("1 if it is there again, 0 if there is no such dead letter"),
    args: &[MAIL, AGENT, ID],
    ..MAIL_ROW
};

pub const JOIN: Spec = Spec {
    name: "LTMC.MSG.JOIN",
    arity: -3,
    flags: WRITE_FAST.and(Flags::DENY_OOM).and(Flags::GETKEYS_API),
    keys: &with_registry(3),
    complexity: "O(log A) with A the agents of the mailbox",
    summary: "Adds a participant: messages to all reach it, and the mailbox stays when it is empty.",
    reply: Shape::FLAG.about("1 if it had not joined before, else 0"),
    missing: Missing::Always(Nothing::Made),
    args: &[MAIL, AGENT, BOUND],
    ..MAIL_ROW
};

pub const LEAVE: Spec = Spec {
    name: "LTMC.MSG.LEAVE",
    work: &[Work::Each(2, Setting::MailInboxMax)],
    arity: 3,
    flags: Flags::WRITE,
    roles: Roles::ENDERS,
    categories: "write slow",
    complexity: "O(M log N) with M the messages in its inbox and N those in the mailbox",
    summary: "Removes an agent from a mailbox, with its inbox.",
    reply: Shape::FLAG.about("1 if it had an inbox, else 0"),
    args: &[MAIL, AGENT],
    ..MAIL_ROW
};

/// What the rows of commands that only read mailboxes share.
const MAIL_READ: Spec = Spec { service: MAIL_ROW.service, complexity: MAIL_ROW.complexity, ..READ_ROW };

pub const PENDING: Spec = Spec {
    name: "LTMC.MSG.PENDING",
    work: &[Work::Passed, Work::Reply],
    arity: -3,
    complexity:
        "O(M) with M the messages in the inbox; with CURSOR O(M + log N) with M those looked at and N all of them",
    summary: "Lists what an agent has received and not acknowledged, in the order of the ids.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&PENDING_MAP)),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("messages", Shape::list(&PENDING_MAP))])),
    ]),
    args: &[MAIL, AGENT, PAGE],
    ..MAIL_READ
};

pub const DEAD: Spec = Spec {
    name: "LTMC.MSG.DEAD",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: "O(M) with M the offset and the dead letters returned; with CURSOR O(M + log N) with N all of them",
    summary: "Lists the dead letters of a mailbox, in the order of the ids.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&DEAD_MAP)),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("letters", Shape::list(&DEAD_MAP))])),
    ]),
    args: &[MAIL, PAGE],
    ..MAIL_READ
};

pub const GET: Spec = Spec {
    name: "LTMC.MSG.GET",
    work: &[Work::Each(5, Setting::MailAgentsMax), Work::KiB(1, Setting::MailPayloadBytesMax)],
    arity: 3,
    complexity: "O(R log N) with R the receivers and N the messages in the mailbox",
    summary: "Shows a message, and its state for each receiver that has not acknowledged it.",
    reply: MESSAGE.or_nil("there is no such message"),
    args: &[MAIL, ID],
    ..MAIL_READ
};

pub const AGENTS: Spec = Spec {
    name: "LTMC.MSG.AGENTS",
    work: &[Work::Passed, Work::Reply],
    arity: -2,
    complexity: "O(A + W) with A the agents of the mailbox, with CURSOR those looked at, and W the clients waiting",
    summary: "Lists the agents that have joined a mailbox or have messages in it, in the order of their ids.",
    reply: Shape::one_of(&[
        Case::new(BY_OFFSET, Shape::list(&INBOX)),
        Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("agents", Shape::list(&INBOX))])),
    ]),
    args: &[MAIL, PAGE],
    ..MAIL_READ
};

pub const INFO: Spec = Spec {
    name: "LTMC.MSG.INFO",
    work: &[Work::Each(1, Setting::MailAgentsMax)],
    arity: 2,
    complexity: "O(A) with A the agents of the mailbox",
    summary: "Counts what is in a mailbox.",
    reply: MAIL_MAP.or_nil("there is no such mailbox"),
    args: &[MAIL],
    ..MAIL_READ
};
