//! Shared contexts: what everyone in a team knows, as one JSON document.
//!
//! A context is a [`Versioned`] value whose state is a [`Document`], together with who touched
//! which part of it and when. [Building](build) a part for one agent and [routing](route) work to
//! the agent that knows it depend on that.

pub mod build;
pub mod changed;
pub mod decide;
pub mod generate;
pub mod past;
pub mod route;
pub mod touches;

use super::entity::CHECKED_BYTES;
use super::json::{Document, Edit, Json, Value};
use super::limits::{EDITS_END, HISTORY_EDITS_MAX, JSON_DEPTH_END};
use super::versioned::{Names, Stamp, State, Undo, Version, Versioned};
use super::{Code, Error, Invariant, Service};
use crate::domain::entity::event_json::EventJson;
use crate::domain::json::edit::Undo as JsonUndo;
use serde::{Deserialize, Serialize};
use touches::Touches;

/// A shared context.
pub type Context = Versioned<Doc>;

/// A document, and who touched it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Doc {
    document: Document,
    touches: Touches,
}

/// Events show a value to watchers if its text has at most this many bytes;
/// otherwise only the paths.
const TOLD_BYTES_MAX: usize = 16 * 1024;

impl Doc {
    /// A document that nobody has touched.
    pub fn new(root: impl Into<Value>) -> Self {
        Document::new(root).into()
    }

    /// The value.
    pub fn root(&self) -> &Value {
        self.document.root()
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Who touched which part, and when.
    pub fn touches(&self) -> &Touches {
        &self.touches
    }
}

impl From<Document> for Doc {
    fn from(document: Document) -> Self {
        Self { document, touches: Touches::default() }
    }
}

/// Whether an edit leaves a document within the bounds.
fn fits(edit: &Edit) -> bool {
    let levels = edit.value().map_or(0, |Json(value)| value.depth());
    edit.path().is_valid() && edit.path().depth() + levels <= JSON_DEPTH_END
}

impl Undo for JsonUndo {
    const CHANGES_MAX: usize = HISTORY_EDITS_MAX;

    fn changes(&self) -> usize {
        self.steps().len()
    }

    fn absorb(&mut self, later: Self) {
        JsonUndo::absorb(self, later);
    }

    fn heap_bytes(&self) -> usize {
        JsonUndo::heap_bytes(self)
    }

    fn free_effort(&self) -> usize {
        self.changes() + JsonUndo::heap_bytes(self) / 128
    }

    fn is_within_bounds(&self) -> bool {
        self.steps().all(fits)
    }
}

impl State for Doc {
    type Change = Vec<Edit>;
    type Undo = JsonUndo;

    const SERVICE: Service = Service::Context;
    const TYPE_NAME: &'static str = "ltmc-ctxt";
    const TYPE_TAG: u8 = 3;
    const KEYS: &'static str = "contexts";
    const MISSING: Code = Code::NoContext;
    const RECOVERS: bool = false;
    const NAMES: Names = Names {
        created: "context.created",
        changed: "context.changed",
        restored: "context.restored",
        checkpointed: "context.checkpointed",
        pruned: "context.pruned",
        joined: "context.joined",
        left: "context.left",
        owned: "context.owned",
        disowned: "context.disowned",
        status: "context.status",
        ended: "context.ended",
        returned: "context.returned",
    };

    fn apply(&mut self, change: Vec<Edit>, stamp: &Stamp) -> JsonUndo {
        let (mut undo, mut touched) = (JsonUndo::with_room(change.len()), Vec::with_capacity(change.len()));
        for edit in change {
            let seen_at = edit.seen_at();
            if let Some(back) = self.document.apply(edit) {
                undo.push(back);
                touched.push(seen_at);
            }
        }
        self.touches.touch_all(touched, stamp);
        undo
    }

    fn go_back(&mut self, way: &[&JsonUndo], back: Option<&mut JsonUndo>) -> Option<()> {
        let Some(back) = back else {
            return way.iter().try_for_each(|undo| self.document.undo(undo, drop));
        };
        back.reserve(way.iter().map(|undo| undo.steps().len()).sum());
        let done = way.iter().try_for_each(|undo| {
            if !back.moves_elements() {
                return self.document.undo(undo, |edit| back.push(edit));
            }
            // Within a version, a place may still be the same.
            let mut later = JsonUndo::default();
            self.document.undo(undo, |edit| later.push(edit))?;
            JsonUndo::absorb(back, later);
            Some(())
        });
        back.give_back_room();
        done
    }

    fn was_restored(&mut self, undone: &[&JsonUndo], stamp: &Stamp) {
        self.touches.touch_all(undone.iter().flat_map(|undo| undo.steps()).map(Edit::seen_at).collect(), stamp);
    }

    fn forget_after(&mut self, version: Version) {
        self.touches.forget_after(version);
    }

    fn admit(change: &Vec<Edit>) -> Result<(), Error> {
        if change.len() <= EDITS_END && change.iter().all(fits) {
            return Ok(());
        }
        Err(Error::usage("payload holds edits of a document that are out of bounds"))
    }

    fn describe(change: &Vec<Edit>, json: &mut EventJson) {
        let values = change.iter().filter_map(Edit::value);
        let is_short = values.map(|Json(value)| value.size().text).sum::<usize>() <= TOLD_BYTES_MAX;
        let told = change.iter().map(|edit| {
            let (op, value) = match edit {
                Edit::Put { value, .. } => ("set", Some(value)),
                Edit::Insert { value, .. } => ("insert", Some(value)),
                Edit::Drop { .. } | Edit::Remove { .. } => ("remove", None),
            };
            let path = crate::domain::entity::event_json::json_text(edit.path().text().as_bytes());
            match value.filter(|_| is_short) {
                Some(Json(value)) => format!(r#"{{"op":"{op}","path":{path},"value":{value}}}"#),
                None => format!(r#"{{"op":"{op}","path":{path}}}"#),
            }
        });
        json.jsons("edits", told);
    }

    fn changed_since(value: &Context, version: Version) -> Option<String> {
        changed::changed_since(value, version)
    }

    fn is_as_at(value: &Context, version: Version) -> bool {
        past::Past::of(value, version).is_ok_and(|past| past.is_same())
    }

    fn is_empty(&self) -> bool {
        // A context stays until it is deleted, whatever its document is.
        false
    }

    fn heap_bytes(&self) -> usize {
        self.document.heap_bytes() + self.touches.heap_bytes()
    }

    fn free_effort(&self) -> usize {
        self.document.heap_bytes() / 128
    }

    fn check_effort(&self) -> usize {
        State::heap_bytes(self) / CHECKED_BYTES
    }

    fn check(&self) -> Result<(), Invariant> {
        let is_flat = self.root().depth() <= JSON_DEPTH_END;
        if self.document.is_sound() && is_flat {
            return self.touches.check();
        }
        Err(Invariant("the size of the document differs from what was counted, or it is too deep".into()))
    }

    fn rebuild(&mut self) {
        self.document.rebuild();
        self.touches.rebuild();
    }

    fn salvage(&mut self) -> Option<String> {
        self.touches.salvage()
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl crate::domain::versioned::faults::BreakableState for Doc {
    const PARTS: &'static [&'static str] = &["size", "touches", "touched-bytes"];

    fn break_part(&mut self, part: &str) {
        match part {
            "size" => self.document.break_size(),
            part => self.touches.break_part(part == "touches"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::Pointer;
    use crate::domain::versioned::{Created, Keep, Life, VersionedEvent};
    use crate::domain::{Bytes, Entity};
    use serde_json::json;

    fn context() -> Context {
        let (owner, meta, participants, life) = (Bytes::EMPTY, Bytes::EMPTY, Vec::new(), Life::default());
        let (state, keep) = (Doc::new(json!({})).into(), Keep { versions_max: 1000, bytes_max: 1 << 30 });
        let created = Created { at: 1, owner, state, version: 1, meta, participants, life, keep, stays: true };
        let mut context = Context::default();
        context.apply(&VersionedEvent::Created(Box::new(created)));
        context
    }

    /// Sets members, each with a number of its own.
    fn set(context: &mut Context, members: std::ops::Range<usize>) {
        let path = |n: usize| Pointer::default().child(&n.to_string());
        let change = members.map(|n| Edit::Put { path: path(n), value: Json(json!(n).into()) }).collect();
        let (version, by) = (context.version() + 1, Bytes::EMPTY);
        context.apply(&VersionedEvent::Changed { version, at: version, by, change, ttl_ms: None });
    }

    #[test]
    fn the_edits_of_a_history_are_bounded() {
        let mut context = context();
        for n in 0..12 {
            set(&mut context, n * 1000..(n + 1) * 1000);
        }
        assert_eq!((context.history().changes(), context.history().recent_versions()), (HISTORY_EDITS_MAX, 10));
        assert!(context.check().is_ok() && context.at_version(3).is_some() && context.at_version(2).is_none());
        let pin = VersionedEvent::Checkpointed { at: 1, id: 1, name: Bytes::EMPTY, is_pinned: true };
        context.apply(&pin);
        for n in 20..31 {
            assert!(!context.history().is_full());
            set(&mut context, n * 1000..(n + 1) * 1000);
        }
        let error = crate::domain::versioned::decide::check_history(&context).expect_err("it is full");
        assert!(error.code == Code::Limit && error.text.contains("takes 11000 changes"), "{error}");
        assert!(context.at_version(13).is_some_and(|then| then.root().size().values == 12_001));
    }

    #[test]
    fn a_write_beside_a_fork_shares_the_rest() {
        let mut context = context();
        set(&mut context, 0..5000);
        let fork = context.clone();
        assert!(context.shares_state_with(&fork));
        set(&mut context, 7..8);
        set(&mut context, 9999..10_000);
        let (then, now) = (fork.state().root(), context.state().root());
        let looked_at = then.as_object().zip(now.as_object()).map(|(then, now)| then.differences(now).count());
        assert!(looked_at.is_some_and(|count| count < 200), "{looked_at:?}");
        assert_eq!((then.size().values, now.size().values), (5001, 5002));
    }
}
