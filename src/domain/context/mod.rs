//! Shared contexts: what everyone in a team knows, as one JSON document.
//!
//! A context is a [`Versioned`] value whose state is a [`Document`], together with who touched
//! which part of it and when. [Building](build) a part for one agent and [routing](route) work to
//! the agent that knows it depend on that.

pub mod build;
pub mod decide;
pub mod diff;
pub mod generate;
pub mod route;
pub mod touches;

use super::entity::CHECKED_BYTES;
use super::json::{depth, Document, Edit, Json};
use super::limits::{EDITS_MAX, JSON_DEPTH_END};
use super::versioned::{Names, Stamp, State, Undo, Version, Versioned};
use super::{Code, Error, Invariant, Service};
use crate::domain::entity::event_json::EventJson;
use crate::domain::json::edit::Undo as JsonUndo;
use crate::domain::json::past::is_same_before;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    pub fn new(root: Value) -> Self {
        Self { document: Document::new(root), touches: Touches::default() }
    }

    /// The value.
    pub fn root(&self) -> &Value {
        self.document.root()
    }

    /// The document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The document, for trying changes that are taken back.
    pub fn document_mut(&mut self) -> &mut Document {
        &mut self.document
    }

    /// Who touched which part, and when.
    pub fn touches(&self) -> &Touches {
        &self.touches
    }
}

/// Whether an edit leaves a document within the bounds.
fn fits(edit: &Edit) -> bool {
    let levels = edit.value().map_or(0, |Json(value)| depth(value));
    edit.path().is_valid() && edit.path().depth() + levels <= JSON_DEPTH_END
}

impl Undo for JsonUndo {
    fn absorb(&mut self, later: Self) {
        JsonUndo::absorb(self, later);
    }

    fn heap_bytes(&self) -> usize {
        JsonUndo::heap_bytes(self)
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
        let mut undo = JsonUndo::with_room(change.len());
        for edit in change {
            let seen_at = edit.seen_at();
            if let Some(back) = self.document.apply(edit) {
                undo.push(back);
                self.touches.touch(&seen_at, stamp);
            }
        }
        undo
    }

    fn undo(&mut self, undo: &JsonUndo) -> Option<JsonUndo> {
        let mut back = JsonUndo::default();
        for edit in undo.steps() {
            // What was added and removed between the two versions is gone already.
            let is_gone = matches!(edit, Edit::Drop { path } if path.find(self.root()).is_none());
            if !is_gone {
                back.push(self.document.apply(edit.clone())?);
            }
        }
        Some(back)
    }

    fn was_restored(&mut self, undone: &[&JsonUndo], stamp: &Stamp) {
        for edit in undone.iter().flat_map(|undo| undo.steps()) {
            self.touches.touch(&edit.seen_at(), stamp);
        }
    }

    fn forget_after(&mut self, version: Version) {
        self.touches.forget_after(version);
    }

    fn admit(change: &Vec<Edit>) -> Result<(), Error> {
        if change.len() <= EDITS_MAX && change.iter().all(fits) {
            return Ok(());
        }
        Err(Error::usage("payload holds edits of a document that are out of bounds"))
    }

    fn describe(change: &Vec<Edit>, json: &mut EventJson) {
        let values = change.iter().filter_map(Edit::value);
        let is_short =
            values.map(|Json(value)| crate::domain::json::size::Size::of(value).text).sum::<usize>() <= TOLD_BYTES_MAX;
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
        diff::changed_since(value, version)
    }

    fn is_as_at(value: &Context, version: Version) -> bool {
        let Some(way) = value.history().way_back(version) else { return false };
        let undo: Vec<&Edit> = way.iter().flat_map(|step| step.undo.steps()).collect();
        is_same_before(value.state().root(), undo.into_iter())
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
        let is_flat = depth(self.root()) <= JSON_DEPTH_END;
        if self.document.is_sound() && is_flat {
            return self.touches.check();
        }
        Err(Invariant("the size of the document differs from what was counted, or it is too deep".into()))
    }

    fn rebuild(&mut self) {
        self.document = Document::new(std::mem::take(&mut self.document).into_root());
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
