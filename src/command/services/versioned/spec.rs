//! What the rows of sessions and contexts have in common.

use crate::command::engine::spec::{Arg, ArgKind, KeySpec, KeysAt};
use crate::command::host::Access;
use crate::command::services::spec::{KEY, REQID};

pub const AGENT: Arg = Arg::string("agent");
pub const META: Arg = Arg::string("json").after("META").optional();
/// Who acts, where the caller may be bound to a name.
pub const ACTING: Arg = AGENT.after("AGENT").optional();
pub const IFVERSION: Arg = Arg::integer("version").after("IFVERSION").optional();
pub const AT: Arg = Arg::string("checkpoint").after("AT").optional();
pub const CHECKPOINT_ARGS: &[Arg] =
    &[KEY, Arg::string("text").after("NAME").optional(), Arg::word("pin", "PIN").optional(), REQID];
pub const CHECKPOINTS_ARGS: &[Arg] = &[
    KEY,
    Arg::new("page", ArgKind::Block(&[Arg::integer("offset"), Arg::integer("count")])).after("LIMIT").optional(),
];
pub const PRUNE_ARGS: &[Arg] = &[
    KEY,
    Arg::integer("n").after("KEEPLAST"),
    Arg::integer("ms").after("MAXAGE").optional(),
    Arg::word("dryrun", "DRYRUN").optional(),
];
/// What is as it is now is shared until one of the two changes.
pub const FORK_COMPLEXITY: &str =
    "O(1) as it is now, O(N) with AT, N being its size; O(N) for the first change of one of the two, and if it goes to a replica or an AOF";
/// Redis Cluster looks at the first key spec only: commands with these need GETKEYS_API.
pub const FORK_KEYS: &[KeySpec] =
    &[KeySpec { access: Access::Read, at: KeysAt::Index(1) }, KeySpec { access: Access::Update, at: KeysAt::Index(2) }];
