//! A JSON document that changes by edits.

use super::edit::{Edit, Undo};
use super::pointer::{index, Pointer};
use super::size::Size;
use super::text::Json;
use super::value::Value;
use serde::{Deserialize, Serialize};

/// A JSON document. A clone of it shares everything until one of them changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
pub struct Document {
    root: Value,
}

impl From<Json> for Document {
    fn from(Json(root): Json) -> Self {
        Self { root }
    }
}

impl From<Document> for Json {
    fn from(document: Document) -> Self {
        Json(document.root)
    }
}

impl Document {
    /// A document with this root.
    pub fn new(root: impl Into<Value>) -> Self {
        Self { root: root.into() }
    }

    /// The whole value.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// The value alone.
    pub fn into_root(self) -> Value {
        self.root
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.root.size()
    }

    /// Makes an edit and returns the one that undoes it. `None` if it does not fit; then
    /// nothing has changed.
    pub fn apply(&mut self, edit: Edit) -> Option<Edit> {
        match edit {
            Edit::Put { path, value: Json(value) } => {
                let old = if path.is_root() {
                    Some(std::mem::replace(&mut self.root, value))
                } else {
                    self.change_around(&path, |around, name| put(around, name, value))?
                };
                Some(match old {
                    Some(old) => Edit::Put { path, value: Json(old) },
                    None => Edit::Drop { path },
                })
            }
            Edit::Drop { path } => {
                let value = self.change_around(&path, |around, name| match around {
                    Value::Object(members) => members.take(name),
                    _ => None,
                })?;
                Some(Edit::Put { path, value: Json(value) })
            }
            Edit::Insert { path, value: Json(value) } => {
                self.change_around(&path, |around, at| match (around, index(at)?) {
                    (Value::Array(items), at) if at <= items.len() => {
                        items.insert(at, (), value);
                        Some(())
                    }
                    _ => None,
                })?;
                Some(Edit::Remove { path })
            }
            Edit::Remove { path } => {
                let ((), value) = self.change_around(&path, |around, at| match around {
                    Value::Array(items) => items.remove(index(at)?),
                    _ => None,
                })?;
                Some(Edit::Insert { path, value: Json(value) })
            }
        }
    }

    /// Undoes changes. What undoes that is passed to `back`. `None` if something does not fit.
    pub fn undo(&mut self, undo: &Undo, mut back: impl FnMut(Edit)) -> Option<()> {
        for edit in undo.steps() {
            match self.apply(edit.clone()) {
                Some(undone) => back(undone),
                // What was added and removed between the two versions is gone already.
                None if matches!(edit, Edit::Drop { path } if path.find(&self.root).is_none()) => {}
                None => return None,
            }
        }
        Some(())
    }

    /// Changes the object or array around a place. The change is told the name or index in it.
    fn change_around<R>(&mut self, path: &Pointer, change: impl FnOnce(&mut Value, &str) -> Option<R>) -> Option<R> {
        let (around, name) = path.place().split()?;
        around.change(&mut self.root, |around| change(around, &name))?
    }

    /// Whether all that is kept of it besides its values is right.
    pub fn is_sound(&self) -> bool {
        self.root.is_sound()
    }

    /// Makes that anew.
    pub fn rebuild(&mut self) {
        self.root = self.root.rebuilt();
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.size().heap
    }
}

/// Sets a member, or an existing element. Returns its old value, if it had one. `None` if nothing
/// can be put there.
fn put(around: &mut Value, name: &str, value: Value) -> Option<Option<Value>> {
    match around {
        Value::Object(members) => Some(match members.find(name) {
            Ok(at) => members.change(at, |known| std::mem::replace(known, value)),
            Err(at) => {
                members.insert(at, name.into(), value);
                None
            }
        }),
        Value::Array(items) => items.change(index(name)?, |known| std::mem::replace(known, value)).map(Some),
        _ => None,
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl Document {
    /// Breaks the size that is kept.
    pub fn break_size(&mut self) {
        let more = Size { text: 1, ..Size::default() };
        match &mut self.root {
            Value::Array(items) => items.break_measure(more),
            Value::Object(members) => members.break_measure(more),
            _ => {}
        }
    }
}
