//! The row of `LTMC.WATCH`.

use crate::command::engine::missing::{Missing, Nothing};
use crate::command::engine::reply_shape::{Case, Field, Shape};
use crate::command::engine::spec::{Arg, ArgKind, Flags, KeySpec, KeysAt, Spec};
use crate::command::engine::work::Work;
use crate::command::host::Access;
use crate::command::services::spec::{BLOCK, KEY, READ_ROW};
use crate::domain::Service;

const NEWS: Shape = Shape::tuple(&[
    Field::new("revision", Shape::REVISION),
    Field::new("events", Shape::list(&Shape::JSON.about("events"))),
]);

const TOO_LATE: Shape = Shape::tuple(&[
    Field::new("revision", Shape::REVISION),
    Field::new("compacted", Shape::word(&["COMPACTED"])),
    Field::new("oldest", Shape::REVISION.about("the oldest revision that is kept")),
]);

pub const WATCH: Spec = Spec {
    name: "LTMC.WATCH",
    work: &[Work::Reply, Work::Looks(4_000)],
    arity: -5,
    // Redis Cluster ignores key specs like this one.
    flags: Flags::READONLY.and(Flags::BLOCKING).and(Flags::GETKEYS_API),
    keys: &[KeySpec { access: Access::Read, at: KeysAt::CountAt(1) }],
    categories: "read slow blocking",
    service: Some(Service::Watch),
    complexity: "O(K + M) with K keys and M the events returned",
    summary: "Tells what happened to keys after a revision; waits for news if asked to.",
    reply: Shape::list(&Shape::one_of(&[Case::new("as a rule", NEWS), Case::new("if that is too long ago", TOO_LATE)]))
        .about("for each key")
        .or_nil("the wait timed out"),
    missing: Missing::OneOf(&[("without BLOCK", Nothing::Reply("[[0,[]]]")), ("with BLOCK", Nothing::Nil)]),
    args: &[
        Arg::integer("numkeys"),
        KEY.multiple(),
        Arg::new("since", ArgKind::Block(&[Arg::string("revision").multiple()])).after("SINCE"),
        Arg::integer("n").after("COUNT").optional(),
        Arg::string("path").after("PATH").optional(),
        BLOCK,
    ],
    ..READ_ROW
};
