//! The steps by which documents change, and the steps that undo them.

use super::text::Json;
use super::Pointer;
use crate::domain::algorithm::allocator::table_bytes;
use crate::domain::algorithm::room::GiveBack;
use ahash::AHashSet;
use serde::{Deserialize, Serialize};

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Edit {
    /// Sets the root, a member of an object, or an existing element of an array.
    Put {
        /// The place.
        path: Pointer,
        /// The value.
        value: Json,
    },
    /// Removes a member of an object.
    Drop {
        /// The place.
        path: Pointer,
    },
    /// Inserts an element into an array, before the one at its index or at the end.
    Insert {
        /// The place.
        path: Pointer,
        /// The element.
        value: Json,
    },
    /// Removes an element of an array.
    Remove {
        /// The place.
        path: Pointer,
    },
}

impl Edit {
    /// The place.
    pub fn path(&self) -> &Pointer {
        match self {
            Edit::Put { path, .. } | Edit::Drop { path } | Edit::Insert { path, .. } | Edit::Remove { path } => path,
        }
    }

    /// The value that it adds.
    pub fn value(&self) -> Option<&Json> {
        match self {
            Edit::Put { value, .. } | Edit::Insert { value, .. } => Some(value),
            Edit::Drop { .. } | Edit::Remove { .. } => None,
        }
    }

    /// Where others can see it: adding or removing an element moves the rest of its array.
    pub fn seen_at(&self) -> Pointer {
        match self {
            Edit::Put { path, .. } | Edit::Drop { path } => path.clone(),
            Edit::Insert { path, .. } | Edit::Remove { path } => {
                path.split().map(|(array, _)| array).unwrap_or_default()
            }
        }
    }

    fn moves_elements(&self) -> bool {
        matches!(self, Edit::Insert { .. } | Edit::Remove { .. })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let value = self.value().map_or(0, |Json(value)| value.size().heap);
        size_of::<Edit>() + self.path().heap_bytes() + value
    }
}

/// More edits than this are looked up in a set.
const FEW: usize = 16;

/// The edits that undo one or more versions of a document, ordered like the edits they undo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Edit>", into = "Vec<Edit>")]
pub struct Undo {
    edits: Vec<Edit>,
    /// Places that are restored whole; empty as long as there are few edits, which are
    /// searched instead.
    restored: AHashSet<Pointer>,
    moves_elements: bool,
    bytes: usize,
}

impl From<Vec<Edit>> for Undo {
    fn from(edits: Vec<Edit>) -> Self {
        let mut undo = Undo::default();
        edits.into_iter().for_each(|edit| undo.push(edit));
        undo
    }
}

impl From<Undo> for Vec<Edit> {
    fn from(undo: Undo) -> Self {
        undo.edits
    }
}

impl Undo {
    /// With room for `edits` edits.
    pub fn with_room(edits: usize) -> Self {
        Self { edits: Vec::with_capacity(edits), ..Self::default() }
    }

    /// Makes room for so many edits more.
    pub fn reserve(&mut self, edits: usize) {
        self.edits.reserve(edits);
        if edits > FEW && !self.moves_elements {
            self.restored.reserve(edits);
        }
    }

    /// The edits, in the order in which they have to be made.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &Edit> {
        self.edits.iter().rev()
    }

    /// Whether array elements move: then a path before that may not be the same place behind it.
    pub fn moves_elements(&self) -> bool {
        self.moves_elements
    }

    /// Adds an edit that undoes a later one.
    pub fn push(&mut self, edit: Edit) {
        self.moves_elements |= edit.moves_elements();
        // What is inside a place that is restored whole need not be restored itself. As long as no
        // array element has moved, the same path is the same place.
        if self.moves_elements {
            self.restored.clear();
        } else if !self.is_first_at(edit.path()) {
            return;
        }
        self.bytes += edit.bytes();
        self.edits.push(edit);
        if self.edits.len() == FEW && !self.moves_elements {
            self.restored = self.edits.iter().map(|edit| edit.path().clone()).collect();
        }
    }

    /// Whether no edit restores this place. It is restored from now on.
    fn is_first_at(&mut self, path: &Pointer) -> bool {
        if self.edits.len() < FEW {
            return !self.edits.iter().any(|edit| edit.path().covers(path));
        }
        !path.around().any(|place| self.restored.contains(place)) && self.restored.insert(path.clone())
    }

    /// Adds the edits that undo later versions.
    pub fn absorb(&mut self, later: Undo) {
        later.edits.into_iter().for_each(|edit| self.push(edit));
    }

    /// Gives back the room that it does not need.
    pub fn give_back_room(&mut self) {
        self.edits.give_back_room();
        self.restored.give_back_room();
    }

    /// Bytes held, without the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + table_bytes(self.restored.len(), size_of::<Pointer>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::Document;
    use serde_json::json;

    fn at(text: &str) -> Pointer {
        Pointer::parse(text.as_bytes()).expect(text)
    }

    fn put(path: &str, value: serde_json::Value) -> Edit {
        Edit::Put { path: at(path), value: Json(value.into()) }
    }

    #[test]
    fn every_edit_is_undone_by_what_it_gives_back() {
        let before = json!({"a": {"b": [1, 2, 3]}, "c": "x"});
        let edits = [
            put("/a/b/1", json!({"deep": [0]})),
            put("/new", json!(null)),
            put("", json!([])),
            Edit::Drop { path: at("/a") },
            Edit::Insert { path: at("/a/b/3"), value: Json(json!("end").into()) },
            Edit::Insert { path: at("/a/b/0"), value: Json(json!("first").into()) },
            Edit::Remove { path: at("/a/b/1") },
        ];
        for edit in edits {
            let mut document = Document::new(before.clone());
            let undo = document.apply(edit.clone()).expect("it fits");
            assert!(*document.root() != before && document.is_sound(), "{edit:?}");
            document.apply(undo).expect("it fits");
            assert!(*document.root() == before && document.is_sound(), "{edit:?}");
        }
    }

    #[test]
    fn an_edit_that_does_not_fit_changes_nothing() {
        let before = json!({"a": [1], "b": 5});
        let bad = [
            put("/a/1", json!(0)),
            put("/b/x", json!(0)),
            put("/none/x", json!(0)),
            Edit::Drop { path: at("/none") },
            Edit::Drop { path: at("") },
            Edit::Drop { path: at("/a/0") },
            Edit::Insert { path: at("/a/2"), value: Json(json!(0).into()) },
            Edit::Insert { path: at("/b"), value: Json(json!(0).into()) },
            Edit::Remove { path: at("/a/1") },
        ];
        for edit in bad {
            let mut document = Document::new(before.clone());
            assert_eq!(document.apply(edit.clone()), None, "{edit:?}");
            assert!(*document.root() == before && document.is_sound());
        }
    }

    #[test]
    fn what_is_overwritten_again_and_again_is_remembered_once() {
        let mut document = Document::new(json!({"a": {"n": 0}, "list": []}));
        let before = document.clone();
        let mut undo = Undo::default();
        for n in 1..=1000 {
            undo.push(document.apply(put("/a/n", json!(n))).expect("it fits"));
        }
        undo.push(document.apply(put("/a", json!("gone"))).expect("it fits"));
        undo.push(document.apply(put("/a", json!("again"))).expect("it fits"));
        assert_eq!(undo.edits.len(), 2);
        undo.push(document.apply(Edit::Insert { path: at("/list/0"), value: Json(json!(1).into()) }).expect("it fits"));
        undo.push(document.apply(put("/a", json!("more"))).expect("it fits"));
        assert_eq!(undo.edits.len(), 4, "elements have moved");
        for edit in undo.steps().cloned().collect::<Vec<_>>() {
            document.apply(edit).expect("it fits");
        }
        assert_eq!(document, before);
    }
}
