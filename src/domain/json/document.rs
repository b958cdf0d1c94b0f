//! A JSON document that keeps track of its size.

use super::edit::Edit;
use super::pointer::index;
use super::size::{Size, ELEMENTS, MEMBERS};
use super::text::Json;
use super::Pointer;
use crate::domain::algorithm::room::GiveBack;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON document. Each edit updates its size.
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

    /// The value alone.
    pub fn into_root(self) -> Value {
        self.root
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Makes an edit and returns the one that undoes it. `None` if it does not fit; then
    /// nothing has changed.
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
                items.give_back_room();
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

    /// Whether the size is right.
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
