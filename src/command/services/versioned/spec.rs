//! What the rows of sessions and contexts share.

use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::spec::{Arg, KeySpec, KeysAt};
use crate::command::host::Access;
use crate::command::services::spec::{BY_CURSOR, BY_OFFSET, KEY, NEXT, PAGE, REQID};

pub const AGENT: Arg = Arg::string("agent").acting();
pub const META: Arg = Arg::string("json").after("META").optional();
/// The acting agent, where the caller may be bound to a name.
pub const ACTING: Arg = AGENT.after("AGENT").optional();
pub const IFVERSION: Arg = Arg::integer("version").after("IFVERSION").optional();
pub const AT: Arg = Arg::string("checkpoint").after("AT").optional();
pub const CHECKPOINT_ARGS: &[Arg] =
    &[KEY, Arg::string("text").after("NAME").optional(), Arg::word("pin", "PIN").optional(), REQID];
pub const CHECKPOINTS_ARGS: &[Arg] = &[KEY, PAGE];
pub const CHECKPOINTS_COMPLEXITY: &str =
    "O(C) with C the checkpoints skipped and returned; with CURSOR O(C + log N) with C those looked at and N all of them";
pub const PRUNE_ARGS: &[Arg] = &[
    KEY,
    Arg::integer("n").after("KEEPLAST"),
    Arg::integer("ms").after("MAXAGE").optional(),
    Arg::word("dryrun", "DRYRUN").optional(),
];
/// The current state is shared until one of the two changes.
pub const FORK_COMPLEXITY: &str =
    "O(1), with AT O(N) with N its size; O(N) more for the first change of one of the two, and if there is a replica or an AOF";
/// Redis Cluster uses the first key spec only: commands with these need GETKEYS_API.
pub const FORK_KEYS: &[KeySpec] =
    &[KeySpec { access: Access::Read, at: KeysAt::Index(1) }, KeySpec { access: Access::Update, at: KeysAt::Index(2) }];

/// A checkpoint.
pub const CHECKPOINT_MAP: Shape = Shape::map(&[
    Field::new("id", Shape::NUMBER),
    Field::new("name", Shape::BYTES.or_nil("none was given")),
    Field::new("version", Shape::VERSION),
    Field::new("at_ms", Shape::UNIX_MS),
    Field::new("pinned", Shape::FLAG),
]);

const PARTICIPANT: Shape = Shape::map(&[
    Field::new("agent", Shape::BYTES),
    Field::new("role", Shape::BYTES.or_nil("none was given")),
    Field::new("since_at_ms", Shape::UNIX_MS),
]);

/// The last fields of the replies about a whole value.
pub const COMMON: [Field; 16] = [
    Field::new("owner", Shape::BYTES.or_nil("it has none")),
    Field::new("meta", Shape::JSON.or_nil("none was given")),
    Field::new("participants_count", Shape::COUNT),
    Field::new("participants", Shape::list(&PARTICIPANT).about("as many as fit")),
    Field::new("created_at_ms", Shape::UNIX_MS),
    Field::new("changed_at_ms", Shape::UNIX_MS),
    Field::new("changed_by", Shape::BYTES.or_nil("none was named")),
    Field::new("ttl_ms", Shape::MS.or_nil("it has none")),
    Field::new("sliding", Shape::FLAG),
    Field::new(
        "ends_at_ms",
        Shape::UNIX_MS.or_nil("it has no end").or_zero("it has ended, but not everything is given back"),
    ),
    Field::new("checkpoints", Shape::COUNT),
    Field::new("last_checkpoint", CHECKPOINT_MAP.or_nil("there is none")),
    Field::new("history_versions", Shape::COUNT),
    Field::new("history_bytes", Shape::SIZE),
    Field::new("memory_bytes", Shape::SIZE),
    Field::new("revision", Shape::REVISION),
];

pub const CHECKPOINT_LIST: Shape = Shape::one_of(&[
    Case::new(BY_OFFSET, Shape::list(&CHECKPOINT_MAP)),
    Case::new(BY_CURSOR, Shape::tuple(&[NEXT, Field::new("checkpoints", Shape::list(&CHECKPOINT_MAP))])),
]);
pub const JOINED: Shape = Shape::FLAG.about("1 if it is new, else 0");
pub const LEFT: Shape = Shape::FLAG.about("1 if it was a participant, else 0");
pub const MADE: Shape = Shape::VERSION.about("its version, 1");
pub const NEW_VERSION: Shape = Shape::VERSION.about("the version it has now, a new one if something has changed");
pub const CHECKPOINT_NUMBER: Shape = Shape::NUMBER.about("the number of the checkpoint");
pub const PRUNED: Shape = Shape::list(&Shape::NUMBER).about("the numbers of the checkpoints removed");
