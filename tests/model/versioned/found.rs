//! The shortest ways to what the random schedules found.

use super::world::World;
use crate::driver::{Schedule, Timed};
use ltmc::command::reply::Reply;
use ltmc::domain::context::Doc;
use ltmc::domain::json::edit::Undo;
use ltmc::domain::json::{Document, Edit, Json, Pointer};
use ltmc::domain::versioned::State;
use serde_json::json;

// `Undo::push` skips the edit that brings a member back, since an earlier one drops it anyway. If
// the member is gone at the end, the drop that is left does not fit, and the whole way back is
// lost.
#[test]
fn a_member_that_came_and_went_is_no_obstacle_on_the_way_back() {
    let path = || Pointer::parse(b"/x").expect("a path");
    let (mut document, mut undo) = (Document::new(json!({"a": 1})), Undo::default());
    for edit in [Edit::Put { path: path(), value: Json(json!(1).into()) }, Edit::Drop { path: path() }] {
        undo.push(document.apply(edit).expect("it fits"));
    }
    let mut doc = Doc::new(document.root().clone());
    assert!(doc.undo(&undo).is_some(), "{undo:?} does not fit {}", doc.root());
    assert!(doc.root().as_object().is_some_and(|members| members.value("a").is_some_and(|a| *a == json!(1))));
}

// A fork of an old version takes the touches of all later versions with it. Their numbers are above
// those of the fork's own versions, so writes to the fork seem older than earlier writes to the
// original.
#[test]
fn what_is_written_to_a_fork_is_newer_than_what_was_written_to_the_original() {
    let mut world = World::new(1);
    for line in ["LTMC.CTX.CREATE c0", "LTMC.CTX.CHECKPOINT c0"] {
        assert!(world.run_line(line).is_ok());
    }
    for _ in 0..3 {
        assert!(world.run_line(r#"LTMC.CTX.UPDATE c0 a0 REPLACE {"x":1}"#).is_ok());
    }
    assert!(world.run_line("LTMC.CTX.FORK c0 c1 AT 1").is_ok());
    world.pass(10_000, true);
    assert!(world.run_line("LTMC.SESSION.SET s0 x 5").is_ok());
    world.pass(10_000, true);
    assert_eq!(world.run_line("LTMC.CTX.UPDATE c1 a1 SET /x 7"), Ok(Reply::Integer(2)));
    assert!(world.run_line("LTMC.CTX.GENERATE c2 2 s0 c1").is_ok());
    let Ok(Reply::Map(fields)) = world.run_line("LTMC.CTX.GET c2") else { panic!("no context") };
    let doc = fields.into_iter().find(|(name, _)| name == "doc").map(|(_, doc)| doc);
    assert_eq!(doc, Some(Reply::bytes(br#"{"x":7}"#)));
}
