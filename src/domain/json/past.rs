//! A document as it was, seen through what it is now: edits are undone without copying it.
//!
//! Only the objects and arrays on the way to a difference are built anew, out of references. A
//! [`Patch`] that leads from there to now also refers to what is new.

use super::pointer::index;
use super::{Edit, Json, Pointer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value as it was.
#[derive(Debug)]
pub enum Past<'a> {
    /// As it is now, or as in the history.
    Same(&'a Value),
    /// An object.
    Object {
        /// The object that it is based on.
        base: &'a Map<String, Value>,
        /// The members that differ from that one; `None` for a member that did not exist.
        others: BTreeMap<Cow<'a, str>, Option<Past<'a>>>,
    },
    /// An array.
    Array(Vec<Past<'a>>),
}

impl<'a> Past<'a> {
    /// Makes an edit. One that does not fit is ignored.
    pub fn apply(&mut self, edit: &'a Edit) {
        let mut parts: Vec<Cow<str>> = edit.path().parts().collect();
        let value = edit.value().map(|Json(value)| Past::Same(value));
        let Some(name) = parts.pop() else {
            // The root can only be replaced by another value.
            if let (Edit::Put { .. }, Some(value)) = (edit, value) {
                *self = value;
            }
            return;
        };
        let Some(parent) = parts.into_iter().try_fold(self, Past::step) else { return };
        match (parent.open(), edit, value) {
            (Past::Object { others, .. }, Edit::Put { .. } | Edit::Drop { .. }, value) => {
                others.insert(name, value);
            }
            (Past::Array(items), edit, value) => change_element(items, &name, edit, value),
            _ => {}
        }
    }

    /// The value at a place.
    pub fn find(&mut self, path: &'a Pointer) -> Option<&mut Self> {
        path.parts().try_fold(self, Past::step)
    }

    /// The member or element of a value.
    fn step(&mut self, part: Cow<'a, str>) -> Option<&mut Self> {
        match self.open() {
            Past::Object { base, others } => {
                if !others.contains_key(&part) {
                    others.insert(part.clone(), Some(Past::Same(base.get(&*part)?)));
                }
                others.get_mut(&part)?.as_mut()
            }
            Past::Array(items) => items.get_mut(index(&part)?),
            Past::Same(_) => None,
        }
    }

    /// Builds this level anew, so that it can differ from its base.
    fn open(&mut self) -> &mut Self {
        match self {
            Past::Same(Value::Object(base)) => *self = Past::Object { base, others: BTreeMap::new() },
            Past::Same(Value::Array(items)) => *self = Past::Array(items.iter().map(Past::Same).collect()),
            _ => {}
        }
        self
    }
}

/// Whether a document was the same before it was edited. `undo` is what takes the edits back, the
/// last one first.
pub fn is_same_before<'a>(now: &'a Value, undo: impl DoubleEndedIterator<Item = &'a Edit> + Clone) -> bool {
    // The first edit of all was made on the document as it was, so what takes it back tells what
    // was there. Mostly that is enough, and cheaper than the arrays on the way to all differences.
    let was_there = match undo.clone().next_back() {
        None => return true,
        Some(Edit::Put { path, value: Json(value) } | Edit::Insert { path, value: Json(value) }) => {
            path.find(now) == Some(value)
        }
        Some(Edit::Drop { path }) => path.find(now).is_none(),
        Some(Edit::Remove { .. }) => true,
    };
    if !was_there {
        return false;
    }
    let mut past = Past::Same(now);
    undo.for_each(|edit| past.apply(edit));
    Patch::between(&past, now).is_none()
}

fn change_element<'a>(items: &mut Vec<Past<'a>>, name: &str, edit: &Edit, value: Option<Past<'a>>) {
    match (edit, index(name), value) {
        (Edit::Put { .. }, Some(at), Some(value)) if at < items.len() => items[at] = value,
        (Edit::Insert { .. }, Some(at), Some(value)) if at <= items.len() => items.insert(at, value),
        (Edit::Remove { .. }, Some(at), _) if at < items.len() => drop(items.remove(at)),
        _ => {}
    }
}

/// A JSON Merge Patch (RFC 7396) of references.
#[derive(Debug)]
pub enum Patch<'a> {
    /// This value.
    Value(&'a Value),
    /// A member that is gone.
    Gone,
    /// Some members of an object.
    Members(BTreeMap<&'a str, Patch<'a>>),
}

impl<'a> Patch<'a> {
    /// The patch that turns `then` into `now`; `None` if they are the same. A merge patch cannot
    /// express a null in an object of `now`, since null means removal.
    pub fn between(then: &'a Past<'a>, now: &'a Value) -> Option<Self> {
        match (then, now) {
            (Past::Same(then), now) => Self::between_values(then, now),
            (Past::Object { base, others }, Value::Object(members)) => {
                let mut patch = match std::ptr::eq(*base, members) {
                    true => BTreeMap::new(),
                    false => changed_members(base, members),
                };
                for (name, then) in others {
                    let (name, now) = (&**name, members.get(&**name));
                    let change = match (then, now) {
                        (Some(then), Some(now)) => Self::between(then, now),
                        (None, Some(now)) => Some(Patch::Value(now)),
                        (Some(_), None) => Some(Patch::Gone),
                        (None, None) => None,
                    };
                    match change {
                        Some(change) => patch.insert(name, change),
                        None => patch.remove(name),
                    };
                }
                (!patch.is_empty()).then_some(Patch::Members(patch))
            }
            (Past::Array(then), Value::Array(items)) => {
                let is_same = |(then, now)| Self::between(then, now).is_none();
                let are_same = then.len() == items.len() && then.iter().zip(items).all(is_same);
                (!are_same).then_some(Patch::Value(now))
            }
            _ => Some(Patch::Value(now)),
        }
    }

    /// The same for two whole values.
    pub fn between_values(then: &'a Value, now: &'a Value) -> Option<Self> {
        match (then, now) {
            _ if std::ptr::eq(then, now) => None,
            (Value::Object(before), Value::Object(after)) => {
                let patch = changed_members(before, after);
                (!patch.is_empty()).then_some(Patch::Members(patch))
            }
            _ => (then != now).then_some(Patch::Value(now)),
        }
    }
}

fn changed_members<'a>(before: &'a Map<String, Value>, after: &'a Map<String, Value>) -> BTreeMap<&'a str, Patch<'a>> {
    let removed = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.as_str(), Patch::Gone));
    let changed = after.iter().filter_map(|(name, now)| {
        let change = match before.get(name) {
            Some(then) => Patch::between_values(then, now)?,
            None => Patch::Value(now),
        };
        Some((name.as_str(), change))
    });
    removed.chain(changed).collect()
}

impl Serialize for Patch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Patch::Value(value) => value.serialize(serializer),
            Patch::Gone => serializer.serialize_unit(),
            Patch::Members(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, patch)| map.serialize_entry(name, patch))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json::Document;
    use serde_json::json;

    fn edit(op: &str, path: &str, value: Value) -> Edit {
        let path = Pointer::parse(path.as_bytes()).expect(path);
        match op {
            "put" => Edit::Put { path, value: Json(value) },
            "insert" => Edit::Insert { path, value: Json(value) },
            "drop" => Edit::Drop { path },
            _ => Edit::Remove { path },
        }
    }

    /// The patch that turns `now` with edits into `now` without them.
    fn patch(now: &Value, edits: &[Edit], path: &str) -> Option<Value> {
        let path = Pointer::parse(path.as_bytes()).expect(path);
        let mut past = Past::Same(now);
        edits.iter().for_each(|edit| past.apply(edit));
        let (then, now) = (past.find(&path), path.find(now).expect("it is there"));
        let patch = then.map_or(Some(Patch::Value(now)), |then| Patch::between(then, now));
        patch.map(|patch| serde_json::to_value(patch).expect("it can be written"))
    }

    #[test]
    fn a_patch_names_what_has_changed_and_arrays_as_a_whole() {
        let now = json!({"a": {"b": 1, "c": [1, {"x": 1}]}, "d": 1});
        let cases = [
            (vec![edit("put", "/a/b", json!(0))], "", Some(json!({"a": {"b": 1}}))),
            (vec![edit("put", "/a/b", json!(1))], "", None),
            (vec![edit("drop", "/d", json!(0))], "", Some(json!({"d": 1}))),
            (vec![edit("put", "/e", json!(0))], "", Some(json!({"e": null}))),
            (vec![edit("put", "/a/c/1/x", json!(0))], "", Some(json!({"a": {"c": [1, {"x": 1}]}}))),
            (vec![edit("put", "/a/c/1/x", json!(0))], "/a/c/1", Some(json!({"x": 1}))),
            (vec![edit("put", "/a/c/1/x", json!(0))], "/a/c/0", None),
            (vec![edit("insert", "/a/c/0", json!(0))], "/a/c/1", Some(json!({"x": 1}))),
            (vec![edit("insert", "/a/c/0", json!(0)), edit("remove", "/a/c/0", json!(0))], "", None),
            (vec![edit("put", "/a", json!([1])), edit("insert", "/a/1", json!(2))], "", Some(json!({"a": now["a"]}))),
            (vec![edit("put", "", json!({"d": 1})), edit("put", "/f", json!(2))], "/a", Some(now["a"].clone())),
            (vec![edit("put", "", json!({"d": 1})), edit("put", "/f", json!(2))], "/d", None),
        ];
        for (edits, path, expected) in cases {
            assert_eq!(patch(&now, &edits, path), expected, "{edits:?} at '{path}'");
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
            let mut document = Document::new(before.clone());
            let undo: Vec<Edit> = edits.iter().map(|edit| document.apply(edit.clone()).expect("it fits")).collect();
            assert_eq!(is_same_before(document.root(), undo.iter().rev()), is_same, "{edits:?}");
        }
    }

    #[test]
    fn edits_do_to_the_past_what_they_do_to_a_document() {
        let now = json!({"a": {"b": [1, {"x": [2]}, 3]}, "c": {"d": {"e": 1}}});
        let edits = [
            edit("put", "/a/b/1/x/0", json!({"deep": [0]})),
            edit("put", "/a/b/1/x/0/deep/0", json!("deeper")),
            edit("insert", "/a/b/3", json!("end")),
            edit("remove", "/a/b/0", json!(0)),
            edit("put", "/a/b/9", json!("beyond")),
            edit("insert", "/c/x", json!("no array")),
            edit("drop", "/c/d", json!(0)),
            edit("put", "/c/d/x", json!("nowhere")),
            edit("put", "/c/n", json!({"m": 1})),
            edit("put", "/c/n/o", json!([])),
        ];
        for count in 0..=edits.len() {
            let (mut document, mut past) = (Document::new(now.clone()), Past::Same(&now));
            edits[..count].iter().for_each(|edit| {
                document.apply(edit.clone());
                past.apply(edit);
            });
            let then = document.into_root();
            assert!(Patch::between(&past, &then).is_none(), "{count} edits: {past:?} and not {then}");
        }
    }
}
