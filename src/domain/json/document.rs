//! A JSON document that knows its size.

use super::edit::Edit;
use super::pointer::index;
use super::text::Json;
use super::Pointer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Write;

/// How much room a value takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the compact text, a comma after every member and element counted.
    pub text: usize,
    /// Bytes allocated, without the value itself.
    pub heap: usize,
}

/// A JSON document. Its size is kept with every edit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
pub struct Document {
    root: Value,
    size: Size,
}

impl From<Json> for Document {
    fn from(Json(root): Json) -> Self {
        let size = Size::of(&root);
        Self { root, size }
    }
}

impl From<Document> for Json {
    fn from(document: Document) -> Self {
        Json(document.root)
    }
}

impl Document {
    /// A document with this root.
    pub fn new(root: Value) -> Self {
        Json(root).into()
    }

    /// The whole value.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// The value by itself.
    pub fn into_root(self) -> Value {
        self.root
    }

    /// How much room it takes.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Makes an edit and returns the one that undoes it. `None` if it does not fit, and then nothing has changed.
    pub fn apply(&mut self, edit: Edit) -> Option<Edit> {
        match edit {
            Edit::Put { path, value: Json(value) } => self.put(path, value),
            Edit::Drop { path } => {
                let (parent, name) = path.split()?;
                let members = parent.find_mut(&mut self.root)?.as_object_mut()?;
                let value = members.remove(&*name)?;
                self.size.less(Size::of(&value).as_member(&name));
                Some(Edit::Put { path, value: Json(value) })
            }
            Edit::Insert { path, value: Json(value) } => {
                let (parent, at) = path.split()?;
                let (items, at) = (parent.find_mut(&mut self.root)?.as_array_mut()?, index(&at)?);
                if at > items.len() {
                    return None;
                }
                self.size.more(Size::of(&value).as_element());
                items.insert(at, value);
                Some(Edit::Remove { path })
            }
            Edit::Remove { path } => {
                let (parent, at) = path.split()?;
                let (items, at) = (parent.find_mut(&mut self.root)?.as_array_mut()?, index(&at)?);
                if at >= items.len() {
                    return None;
                }
                let value = items.remove(at);
                self.size.less(Size::of(&value).as_element());
                Some(Edit::Insert { path, value: Json(value) })
            }
        }
    }

    fn put(&mut self, path: Pointer, value: Value) -> Option<Edit> {
        if let Some(place) = path.find_mut(&mut self.root) {
            let new = Size::of(&value);
            let old = std::mem::replace(place, value);
            self.size.less(Size::of(&old));
            self.size.more(new);
            return Some(Edit::Put { path, value: Json(old) });
        }
        let (parent, name) = path.split()?;
        let members = parent.find_mut(&mut self.root)?.as_object_mut()?;
        self.size.more(Size::of(&value).as_member(&name));
        members.insert(name.into_owned(), value);
        Some(Edit::Drop { path })
    }

    /// Whether the size is what it should be.
    pub fn is_sound(&self) -> bool {
        self.size == Size::of(&self.root)
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.size.heap
    }
}

/// Counts what is written to it.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of the JSON text of a value.
pub fn text_bytes(value: &(impl Serialize + ?Sized)) -> usize {
    let mut counter = Counter(0);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// What the nodes of a B-tree take that are not full: those of small objects have room for eleven members.
const OBJECT_BYTES: usize = 400;

impl Size {
    /// Of a value. The depth of the recursion is bounded by that of documents.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Array(items) => {
                let empty = Size { text: 2, heap: 0 };
                items.iter().fold(empty, |size, item| size.and(Size::of(item).as_element()))
            }
            Value::Object(members) => {
                let empty = Size { text: 2, heap: OBJECT_BYTES };
                members.iter().fold(empty, |size, (name, member)| size.and(Size::of(member).as_member(name)))
            }
            Value::String(text) => Size { text: text_bytes(text), heap: text.len() },
            single => Size { text: text_bytes(single), heap: 0 },
        }
    }

    fn and(self, other: Size) -> Size {
        Size { text: self.text + other.text, heap: self.heap + other.heap }
    }

    /// Of a member of an object, with its name, colon and comma.
    fn as_member(self, name: &str) -> Size {
        let entry = size_of::<String>() + size_of::<Value>() + 8;
        self.and(Size { text: text_bytes(name) + 2, heap: name.len() + entry })
    }

    /// Of an element of an array, with its comma.
    fn as_element(self) -> Size {
        self.and(Size { text: 1, heap: size_of::<Value>() * 4 / 3 })
    }

    fn more(&mut self, other: Size) {
        *self = self.and(other);
    }

    fn less(&mut self, other: Size) {
        self.text = self.text.saturating_sub(other.text);
        self.heap = self.heap.saturating_sub(other.heap);
    }
}
