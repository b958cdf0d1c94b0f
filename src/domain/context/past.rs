//! A document as it is and as it was, for whoever reads it, be it a thread: it does not change with
//! its context.

use super::Context;
use crate::domain::json::edit::Undo;
use crate::domain::json::merge::Patch;
use crate::domain::json::{Document, Edit, Json, Pointer};
use crate::domain::versioned::{Shared, Version};
use crate::domain::Error;

/// A document, and the way back to an earlier version of it.
#[derive(Debug)]
pub struct Past {
    now: Document,
    way_back: Vec<Shared<Undo>>,
}

impl Past {
    /// The document of a context, and the way back to `version`. Errs if that is not kept.
    pub fn of(context: &Context, version: Version) -> Result<Self, Error> {
        let way = context.history().way_back(version).ok_or_else(|| not_kept(context, version))?;
        let way_back = way.into_iter().map(|step| step.undo.clone()).collect();
        Ok(Self { now: context.state().document().clone(), way_back })
    }

    /// The document as it is now.
    pub fn now(&self) -> &Document {
        &self.now
    }

    /// How many edits lie between.
    pub fn edits(&self) -> usize {
        self.way_back.iter().map(|undo| undo.steps().len()).sum()
    }

    /// The document as it was.
    pub fn then(&self) -> Result<Document, Error> {
        let mut document = self.now.clone();
        let is_undone = self.way_back.iter().try_for_each(|undo| document.undo(undo, drop));
        is_undone.map(|()| document).ok_or_else(Error::internal)
    }

    /// The merge patch that leads from then to now, of the whole document or of what is at `path`;
    /// `None` if nothing has changed there. It is passed to `work`, since it refers to parts of the
    /// documents.
    pub fn diff<T>(&self, path: &Pointer, work: impl FnOnce(Option<Patch>) -> T) -> Result<T, Error> {
        let then = self.then()?;
        Ok(work(match (path.find(then.root()), path.find(self.now.root())) {
            (Some(before), Some(after)) => Patch::between(before, after),
            (None, Some(after)) => Some(Patch::Value(after)),
            (Some(_), None) => Some(Patch::Gone),
            (None, None) => None,
        }))
    }

    /// Whether both are the same.
    pub fn is_same(&self) -> bool {
        let first = self.way_back.iter().flat_map(|undo| undo.steps()).last();
        first.is_none_or(|edit| self.is_undone(edit)) && self.then().is_ok_and(|then| then == self.now)
    }

    /// Whether what the edit that leads to the earlier version does is done already. The edit tells
    /// what was there then. Mostly it is not done, and no other edit has to be looked at.
    fn is_undone(&self, edit: &Edit) -> bool {
        let now = edit.path().find(self.now.root());
        match edit {
            Edit::Put { value: Json(value), .. } | Edit::Insert { value: Json(value), .. } => now == Some(value),
            Edit::Drop { .. } => now.is_none(),
            Edit::Remove { .. } => true,
        }
    }
}

/// The error for a version that is not kept.
fn not_kept(context: &Context, version: Version) -> Error {
    let (current, recent) = (context.version(), context.history().recent_versions() as u64);
    let oldest = current - recent;
    Error::usage(format!(
        "version {version} is not kept: there are {oldest} to {current}, and those of checkpoints; read the whole context"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::context::Doc;
    use crate::domain::versioned::{Created, Keep, Life, VersionedEvent};
    use crate::domain::{Bytes, Entity};
    use serde_json::json;

    /// A context with this document, and with a version for each edit.
    fn context(root: serde_json::Value, edits: Vec<Edit>) -> Context {
        let (owner, meta, participants, life) = (Bytes::EMPTY, Bytes::EMPTY, Vec::new(), Life::default());
        let (state, keep) = (Doc::new(root).into(), Keep { versions_max: 100, bytes_max: 1 << 20 });
        let created = Created { at: 1, owner, state, version: 1, meta, participants, life, keep, stays: true };
        let mut context = Context::default();
        context.apply(&VersionedEvent::Created(Box::new(created)));
        for edit in edits {
            let (version, by) = (context.version() + 1, Bytes::EMPTY);
            context.apply(&VersionedEvent::Changed { version, at: version, by, change: vec![edit], ttl_ms: None });
        }
        context
    }

    fn edit(op: &str, path: &str, value: serde_json::Value) -> Edit {
        let path = Pointer::parse(path.as_bytes()).expect(path);
        match op {
            "put" => Edit::Put { path, value: Json(value.into()) },
            "insert" => Edit::Insert { path, value: Json(value.into()) },
            "drop" => Edit::Drop { path },
            _ => Edit::Remove { path },
        }
    }

    #[test]
    fn a_patch_names_what_has_changed_and_arrays_as_a_whole() {
        let before = json!({"a": {"b": 1, "c": [1, {"x": 1}]}, "d": 1});
        let list = json!({"a": {"c": [1, {"x": 0}]}});
        let cases = [
            (vec![edit("put", "/a/b", json!(0))], "", Some(json!({"a": {"b": 0}}))),
            (vec![edit("put", "/a/b", json!(1))], "", None),
            (vec![edit("drop", "/d", json!(0))], "", Some(json!({"d": null}))),
            (vec![edit("put", "/e", json!(0))], "", Some(json!({"e": 0}))),
            (vec![edit("put", "/a/c/1/x", json!(0))], "", Some(list)),
            (vec![edit("put", "/a/c/1/x", json!(0))], "/a/c/1", Some(json!({"x": 0}))),
            (vec![edit("put", "/a/c/1/x", json!(0))], "/a/c/0", None),
            (vec![edit("insert", "/a/c/0", json!({"x": 1}))], "/a/c/1", Some(json!(1))),
            (vec![edit("insert", "/a/c/0", json!(0)), edit("remove", "/a/c/0", json!(0))], "", None),
            (vec![edit("put", "", json!({"d": 1})), edit("put", "/f", json!(2))], "", Some(json!({"a": null, "f": 2}))),
            (vec![edit("put", "", json!({"d": 1})), edit("put", "/f", json!(2))], "/d", None),
        ];
        for (edits, path, expected) in cases {
            let (shown, path) = (format!("{edits:?} at '{path}'"), Pointer::parse(path.as_bytes()).expect(path));
            let past = Past::of(&context(before.clone(), edits), 1).expect("it is kept");
            let written =
                |patch: Option<Patch>| patch.map(|patch| serde_json::to_value(patch).expect("it can be written"));
            assert_eq!(past.diff(&path, written), Ok(expected), "{shown}");
            assert!(*past.then().expect("a way back").root() == before, "{shown}");
        }
    }

    #[test]
    fn edits_that_come_to_nothing_leave_the_same_document() {
        let before = json!({"a": {"b": [1, {"x": 2}]}, "c": 1});
        let cases = [
            (vec![], true),
            (vec![edit("put", "/c", json!(2)), edit("put", "/c", json!(1))], true),
            (vec![edit("put", "/c", json!(2)), edit("put", "/c", json!(3))], false),
            (vec![edit("put", "/c", json!(1.0))], false),
            (vec![edit("put", "/d", json!(1)), edit("drop", "/d", json!(0))], true),
            (vec![edit("drop", "/c", json!(0)), edit("put", "/d", json!(1))], false),
            (vec![edit("insert", "/a/b/0", json!(0)), edit("remove", "/a/b/0", json!(0))], true),
            (vec![edit("insert", "/a/b/0", json!(1)), edit("remove", "/a/b/1", json!(0))], true),
            (vec![edit("insert", "/a/b/0", json!(0)), edit("remove", "/a/b/1", json!(0))], false),
            (vec![edit("put", "/a/b/1/x", json!(3)), edit("put", "/a", before["a"].clone())], true),
            (vec![edit("put", "/a/b/1/x", json!(3)), edit("put", "", before.clone())], true),
            (vec![edit("put", "", json!(0)), edit("put", "", before.clone()), edit("drop", "/c", json!(0))], false),
        ];
        for (edits, is_same) in cases {
            let shown = format!("{edits:?}");
            let past = Past::of(&context(before.clone(), edits), 1).expect("it is kept");
            assert_eq!(past.is_same(), is_same, "{shown}");
        }
    }
}
