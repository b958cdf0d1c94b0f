//! What rows of several services have in common.

use crate::command::spec::{Access, Arg, Flags, KeySpec, KeysAt, Spec};

pub const UPDATE_FIRST: &[KeySpec] = &[KeySpec { access: Access::Update, at: KeysAt::Index(1) }];
pub const READ_FIRST: &[KeySpec] = &[KeySpec { access: Access::Read, at: KeysAt::Index(1) }];
pub const KEY: Arg = Arg::key("key", 0);
pub const BLOCK: Arg = Arg::integer("ms").after("BLOCK").optional();
pub const REQID: Arg = Arg::string("id").after("REQID").optional();
pub const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
pub const GROWS: Flags = Flags::WRITE.and(Flags::DENY_OOM).and(Flags::BLOCKING);

/// What most rows have in common.
pub const ROW: Spec = Spec {
    name: "",
    arity: 0,
    flags: WRITE_FAST,
    keys: UPDATE_FIRST,
    categories: "write fast",
    service: None,
    is_verbatim: false,
    since: "0.1.0",
    complexity: "",
    summary: "",
    reply: "",
    args: &[],
};
