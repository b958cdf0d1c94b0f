//! A JSON document that knows its size.

use super::edit::Edit;
use super::pointer::index;
use super::text::Json;
use super::Pointer;
use crate::domain::memory::{allocated, tree_bytes};
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
                let before = Size::of_room(members.len(), MEMBERS);
                let value = members.remove(&*name)?;
                self.size.more(Size::of_room(members.len(), MEMBERS));
                self.size.less(Size::of(&value).as_member(&name).and(before));
                Some(Edit::Put { path, value: Json(value) })
            }
            Edit::Insert { path, value: Json(value) } => {
                let (parent, at) = path.split()?;
                let (items, at) = (parent.find_mut(&mut self.root)?.as_array_mut()?, index(&at)?);
                if at > items.len() {
                    return None;
                }
                let before = Size::of_room(items.len(), ELEMENTS);
                items.insert(at, value);
                self.size.more(Size::of(&items[at]).as_element().and(Size::of_room(items.len(), ELEMENTS)));
                self.size.less(before);
                Some(Edit::Remove { path })
            }
            Edit::Remove { path } => {
                let (parent, at) = path.split()?;
                let (items, at) = (parent.find_mut(&mut self.root)?.as_array_mut()?, index(&at)?);
                if at >= items.len() {
                    return None;
                }
                let before = Size::of_room(items.len(), ELEMENTS);
                let value = items.remove(at);
                self.size.more(Size::of_room(items.len(), ELEMENTS));
                self.size.less(Size::of(&value).as_element().and(before));
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
        let (before, new) = (Size::of_room(members.len(), MEMBERS), Size::of(&value).as_member(&name));
        members.insert(name.into_owned(), value);
        self.size.more(new.and(Size::of_room(members.len(), MEMBERS)));
        self.size.less(before);
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

#[cfg(any(test, feature = "test-hooks"))]
impl Document {
    /// Breaks the size that is kept.
    pub fn break_size(&mut self) {
        self.size.text += 1;
    }
}

/// Counts what is written to it, up to a bound.
struct Counter {
    bytes: usize,
    max: usize,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes += bytes.len();
        if self.bytes > self.max {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of the JSON text of a value.
pub fn text_bytes(value: &(impl Serialize + ?Sized)) -> usize {
    let mut counter = Counter { bytes: 0, max: usize::MAX };
    // Counting does not fail without a bound.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.bytes
}

/// Whether the JSON text of a value has more than `max` bytes. Not more of it is looked at than it takes to tell.
pub fn is_longer(value: &(impl Serialize + ?Sized), max: usize) -> bool {
    serde_json::to_writer(&mut Counter { bytes: 0, max }, value).is_err()
}

/// Bytes allocated for so many values in one container, without what they hold.
type Room = fn(usize) -> usize;

/// Members often come in the order of their names, at the latest when a saved document is read: that leaves the nodes of large objects
/// emptier than usual.
const MEMBERS: Room = |count| {
    let bytes = tree_bytes(count, size_of::<String>() + size_of::<Value>());
    bytes + if count > 11 { bytes / 16 } else { 0 }
};
/// As if there were no more than are in it: what is read is made so, see [`trim`]. What is appended later takes up to twice that.
const ELEMENTS: Room = |count| allocated(count * size_of::<Value>());

impl Size {
    /// Of a value. The depth of the recursion is bounded by that of documents.
    pub fn of(value: &Value) -> Self {
        const EMPTY: Size = Size { text: 2, heap: 0 };
        match value {
            Value::Array(items) => {
                let empty = EMPTY.and(Size::of_room(items.len(), ELEMENTS));
                items.iter().fold(empty, |size, item| size.and(Size::of(item).as_element()))
            }
            Value::Object(members) => {
                let empty = EMPTY.and(Size::of_room(members.len(), MEMBERS));
                members.iter().fold(empty, |size, (name, member)| size.and(Size::of(member).as_member(name)))
            }
            Value::String(text) => Size { text: text_bytes(text), heap: allocated(text.len()) },
            single => Size { text: text_bytes(single), heap: 0 },
        }
    }

    fn of_room(count: usize, room: Room) -> Self {
        Size { text: 0, heap: room(count) }
    }

    fn and(self, other: Size) -> Size {
        Size { text: self.text + other.text, heap: self.heap + other.heap }
    }

    /// Of a member of an object, with its name, colon and comma.
    fn as_member(self, name: &str) -> Size {
        self.and(Size { text: text_bytes(name) + 2, heap: allocated(name.len()) })
    }

    /// Of an element of an array, with its comma.
    fn as_element(self) -> Size {
        self.and(Size { text: 1, heap: 0 })
    }

    fn more(&mut self, other: Size) {
        *self = self.and(other);
    }

    fn less(&mut self, other: Size) {
        self.text = self.text.saturating_sub(other.text);
        self.heap = self.heap.saturating_sub(other.heap);
    }
}

/// Gives back the room for elements that were expected and did not come while a value was read, which may be as much again as all that
/// came. The depth of the recursion is bounded by that of documents.
pub fn trim(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.shrink_to_fit();
            items.iter_mut().for_each(trim);
        }
        Value::Object(members) => members.values_mut().for_each(trim),
        _ => {}
    }
}
