//! What rows of several services share.

use crate::command::engine::missing::Missing;
use crate::command::engine::reply_shape::{Field, Shape};
use crate::command::engine::roles::Roles;
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec};
use crate::command::host::Access;

pub const UPDATE_FIRST: &[KeySpec] = &[KeySpec { access: Access::Update, at: KeysAt::Index(1) }];
pub const READ_FIRST: &[KeySpec] = &[KeySpec { access: Access::Read, at: KeysAt::Index(1) }];
pub const KEY: Arg = Arg::key("key", 0);
pub const BLOCK: Arg = Arg::integer("ms").after("BLOCK").optional();
/// A place in a list, see [`Cursor`](crate::command::engine::page::Cursor).
pub const CURSOR: Arg = Arg::string("cursor");
pub const COUNT: Arg = Arg::integer("n").after("COUNT").optional();
/// The next cursor, in the reply of a command that takes one.
pub const NEXT: Field = Field::new("cursor", Shape::TEXT.about("the next one, 0 at the end"));
/// Which part of a list is asked for, see [`Paging`](crate::command::engine::page::Paging).
pub const PAGE: Arg = Arg::one_of(
    "page",
    &[
        Arg::new("limit", ArgKind::Block(&[Arg::integer("offset"), Arg::integer("count")])).after("LIMIT"),
        Arg::new("scan", ArgKind::Block(&[CURSOR, COUNT])).after("CURSOR"),
    ],
)
.optional();
/// When the reply of a command with [`PAGE`] is a list alone, and when it has the next cursor.
pub const BY_OFFSET: &str = "without CURSOR";
pub const BY_CURSOR: &str = "with CURSOR";
pub const REQID: Arg = Arg::string("id").after("REQID").optional();
/// Binds what the agent gets to its incarnation in that registry.
pub const REGISTRY: Arg = Arg::key("registry", 1).after("REGISTRY").optional();

/// A key that is changed, and the registry of the agent, behind its word after the argument `from`.
/// Redis Cluster ignores key specs like the second: commands with these need GETKEYS_API.
pub const fn with_registry(from: i32) -> [KeySpec; 2] {
    [UPDATE_FIRST[0], KeySpec { access: Access::Read, at: KeysAt::AfterWord("REGISTRY", from) }]
}

pub const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
pub const GROWS: Flags = Flags::WRITE.and(Flags::DENY_OOM).and(Flags::BLOCKING);

/// What most rows share.
pub const ROW: Spec = Spec {
    name: "",
    arity: 0,
    flags: WRITE_FAST,
    keys: UPDATE_FIRST,
    roles: Roles::TEAM,
    categories: "write fast",
    service: None,
    is_verbatim: false,
    since: "0.1.0",
    complexity: "",
    work: &[],
    summary: "",
    reply: Shape::OK,
    missing: Missing::Rule,
    args: &[],
};

/// What most rows of commands that only read share.
pub const READ_ROW: Spec =
    Spec { flags: Flags::READONLY, keys: READ_FIRST, roles: Roles::READERS, categories: "read slow", ..ROW };
