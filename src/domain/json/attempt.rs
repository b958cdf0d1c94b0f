//! Operations of one call, all or none.
//!
//! Each operation has to see what those before it did, and a document is too large to be copied for that. So an [`Attempt`] makes the
//! edits on the document itself and takes every one of them back when it ends, however it ends: nothing has changed then, and what is
//! left is the list of edits to be decided upon.

use super::patch::Operation;
use super::pointer::{index, step};
use super::text::Json;
use super::{depth, merge, same, Document, Edit, Pointer};
use crate::domain::id::printable;
use crate::domain::{Code, Error};
use serde_json::{Map, Number, Value};

/// What a client wants of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `MERGE`: RFC 7396.
    Merge(Value),
    /// `PATCH`: RFC 6902.
    Patch(Vec<Operation>),
    /// `SET`: makes the objects on the way if they are missing.
    Set(Pointer, Value),
    /// `DEL`: does nothing if there is nothing.
    Del(Pointer),
    /// `APPEND`: to an array, which is made if there is none.
    Append(Pointer, Value),
    /// `INCRBY`: a number, 0 if there is none.
    IncrBy(Pointer, Number),
    /// `REPLACE`: the whole document.
    Replace(Value),
}

/// What a document may at most be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of its compact text, commas counted.
    pub bytes_max: usize,
    /// Levels.
    pub depth_max: usize,
}

impl Bounds {
    /// Errs if a document is larger or deeper.
    pub fn check(&self, document: &Document) -> Result<(), Error> {
        self.check_depth(depth(document.root()))?;
        self.check_bytes(document.size().text)
    }

    fn check_depth(&self, levels: usize) -> Result<(), Error> {
        if levels <= self.depth_max {
            return Ok(());
        }
        let max = self.depth_max;
        let text =
            format!("the document would have {levels} levels, at most {max} are allowed (setting ltmc.json-depth-max)");
        Err(Error::new(Code::Limit, text))
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), Error> {
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let max = self.bytes_max;
        let text = format!(
            "the document would have {bytes} bytes, at most {max} are allowed (setting ltmc.context-bytes-max)"
        );
        Err(Error::new(Code::Limit, text))
    }
}

/// Operations being tried on a document.
#[derive(Debug)]
pub struct Attempt<'a> {
    document: &'a mut Document,
    bounds: Bounds,
    done: Vec<Edit>,
    undo: Vec<Edit>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        while let Some(edit) = self.undo.pop() {
            let undone = self.document.apply(edit);
            debug_assert!(undone.is_some(), "an edit could not be taken back");
        }
    }
}

impl<'a> Attempt<'a> {
    /// Begins to try.
    pub fn new(document: &'a mut Document, bounds: Bounds) -> Self {
        Self { document, bounds, done: Vec::new(), undo: Vec::new() }
    }

    /// The edits that all operations together amount to, or why one of them cannot be.
    pub fn all(mut self, ops: Vec<Op>) -> Result<Vec<Edit>, Error> {
        for op in ops {
            self.run(op)?;
        }
        self.bounds.check_bytes(self.document.size().text)?;
        Ok(std::mem::take(&mut self.done))
    }

    fn run(&mut self, op: Op) -> Result<(), Error> {
        match op {
            Op::Merge(patch) => self.merge(&Pointer::default(), &patch),
            Op::Patch(operations) => operations.into_iter().enumerate().try_for_each(|(at, operation)| {
                let says_where =
                    |error: Error| Error::new(error.code, format!("operation {at} of PATCH: {}", error.text));
                self.patch(operation).map_err(says_where)
            }),
            Op::Set(path, value) => self.set(path, value),
            Op::Del(path) => self.delete(path),
            Op::Append(path, value) => self.append(path, value),
            Op::IncrBy(path, by) => self.increment(path, &by),
            Op::Replace(value) => self.edit(Edit::Put { path: Pointer::default(), value: Json(value) }),
        }
    }

    fn root(&self) -> &Value {
        self.document.root()
    }

    /// Makes an edit, now on trial.
    fn edit(&mut self, edit: Edit) -> Result<(), Error> {
        let levels = edit.path().depth() + edit.value().map_or(0, |Json(value)| depth(value));
        self.bounds.check_depth(levels)?;
        let undo = self.document.apply(edit.clone()).ok_or_else(|| missing(edit.path()))?;
        self.undo.push(undo);
        self.done.push(edit);
        Ok(())
    }

    fn merge(&mut self, path: &Pointer, patch: &Value) -> Result<(), Error> {
        let target = path.find(self.root());
        let (Value::Object(members), Some(Value::Object(known))) = (patch, target) else {
            return self.edit(Edit::Put { path: path.clone(), value: Json(merge::made_of_nothing(patch)) });
        };
        let wanted = |(name, value): &(&String, &Value)| !value.is_null() || known.contains_key(*name);
        let changes: Vec<(Pointer, &Value)> =
            members.iter().filter(wanted).map(|(name, value)| (path.child(name), value)).collect();
        for (path, value) in changes {
            match value {
                Value::Null => self.edit(Edit::Drop { path })?,
                value => self.merge(&path, value)?,
            }
        }
        Ok(())
    }

    fn patch(&mut self, operation: Operation) -> Result<(), Error> {
        match operation {
            Operation::Add(path, value) => self.add(path, value),
            Operation::Remove(path) => self.remove(path).map(drop),
            Operation::Replace(path, value) => {
                self.existing(&path)?;
                self.edit(Edit::Put { path, value: Json(value) })
            }
            Operation::Move(from, path) => {
                if from == path {
                    return self.existing(&from).map(drop);
                }
                if from.covers(&path) {
                    let text = format!("'{}' cannot be moved into itself", show(&from));
                    return Err(Error::usage(text));
                }
                let value = self.remove(from)?;
                self.add(path, value)
            }
            Operation::Copy(from, path) => {
                let value = self.existing(&from)?.clone();
                self.add(path, value)
            }
            Operation::Test(path, value) => {
                if path.find(self.root()).is_some_and(|there| same(there, &value)) {
                    return Ok(());
                }
                let text = format!("the test of '{}' fails, something else is there", show(&path));
                Err(Error::new(Code::Conflict, text))
            }
        }
    }

    fn existing(&self, path: &Pointer) -> Result<&Value, Error> {
        path.find(self.root()).ok_or_else(|| missing(path))
    }

    /// `add` of RFC 6902.
    fn add(&mut self, path: Pointer, value: Value) -> Result<(), Error> {
        let value = Json(value);
        let Some((parent, name)) = path.split() else { return self.edit(Edit::Put { path, value }) };
        match self.existing(&parent)? {
            Value::Array(items) if name == "-" => {
                let path = parent.child(&items.len().to_string());
                self.edit(Edit::Insert { path, value })
            }
            Value::Array(_) => self.edit(Edit::Insert { path, value }),
            _ => self.edit(Edit::Put { path, value }),
        }
    }

    /// `remove` of RFC 6902; returns what was there.
    fn remove(&mut self, path: Pointer) -> Result<Value, Error> {
        let value = self.existing(&path)?.clone();
        let Some((parent, _)) = path.split() else {
            return Err(Error::usage("the whole document cannot be removed, allowed is REPLACE"));
        };
        let is_element = matches!(parent.find(self.root()), Some(Value::Array(_)));
        self.edit(if is_element { Edit::Remove { path } } else { Edit::Drop { path } })?;
        Ok(value)
    }

    fn set(&mut self, path: Pointer, value: Value) -> Result<(), Error> {
        let (path, value) = self.with_way(path, value)?;
        let Some((parent, name)) = path.split() else { return self.edit(Edit::Put { path, value: Json(value) }) };
        let appends = match parent.find(self.root()) {
            Some(Value::Array(items)) => name == "-" || index(&name) == Some(items.len()),
            _ => false,
        };
        if appends {
            self.add(path, value)
        } else {
            self.edit(Edit::Put { path, value: Json(value) })
        }
    }

    /// The objects that are missing on the way to `path` are put there with the value inside: the path of the first of them, and it.
    fn with_way(&self, path: Pointer, value: Value) -> Result<(Pointer, Value), Error> {
        let parts: Vec<_> = path.parts().map(|part| part.into_owned()).collect();
        let (mut there, mut known) = (self.root(), 0);
        while let Some(next) = parts.get(known).and_then(|part| step(there, part)) {
            (there, known) = (next, known + 1);
        }
        // The last part need not be there.
        if known + 1 >= parts.len() {
            return Ok((path, value));
        }
        if !there.is_object() {
            return Err(missing(&path));
        }
        let inside = parts[known + 1..]
            .iter()
            .rev()
            .fold(value, |value, part| Value::Object(Map::from_iter([(part.clone(), value)])));
        Ok((path.cut(known + 1), inside))
    }

    fn delete(&mut self, path: Pointer) -> Result<(), Error> {
        if path.is_root() {
            return Err(Error::usage("DEL of the whole document, allowed is REPLACE"));
        }
        if path.find(self.root()).is_none() {
            return Ok(());
        }
        self.remove(path).map(drop)
    }

    fn append(&mut self, path: Pointer, value: Value) -> Result<(), Error> {
        match path.find(self.root()) {
            Some(Value::Array(items)) => {
                let path = path.child(&items.len().to_string());
                self.edit(Edit::Insert { path, value: Json(value) })
            }
            Some(other) => {
                let text = format!("APPEND to '{}', which is {} and no array", show(&path), kind(other));
                Err(Error::usage(text))
            }
            None => self.set(path, Value::Array(vec![value])),
        }
    }

    fn increment(&mut self, path: Pointer, by: &Number) -> Result<(), Error> {
        let sum = match path.find(self.root()) {
            None => Some(by.clone()),
            Some(Value::Number(number)) => sum(number, by),
            Some(other) => {
                let text = format!("INCRBY of '{}', which is {} and no number", show(&path), kind(other));
                return Err(Error::usage(text));
            }
        };
        let sum = sum
            .ok_or_else(|| Error::usage(format!("INCRBY of '{}' by {by} leaves the range of numbers", show(&path))))?;
        self.set(path, Value::Number(sum))
    }
}

/// Whole numbers stay whole.
fn sum(one: &Number, other: &Number) -> Option<Number> {
    if let (Some(one), Some(other)) = (one.as_i128(), other.as_i128()) {
        let sum = one + other;
        return i64::try_from(sum).map(Number::from).or_else(|_| u64::try_from(sum).map(Number::from)).ok();
    }
    Number::from_f64(one.as_f64()? + other.as_f64()?)
}

fn show(path: &Pointer) -> String {
    printable(path.text().as_bytes())
}

fn missing(path: &Pointer) -> Error {
    Error::usage(format!("there is nothing at '{}', or nothing that could hold it", show(path)))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::super::patch;
    use super::*;
    use serde_json::json;

    const BOUNDS: Bounds = Bounds { bytes_max: 100_000, depth_max: 64 };

    /// What the operations make of a value; checks that the attempt itself changes nothing.
    fn after(before: &Value, ops: Vec<Op>) -> Result<Value, Error> {
        let mut document = Document::new(before.clone());
        let edits = Attempt::new(&mut document, BOUNDS).all(ops);
        assert!(document.root() == before && document.is_sound(), "an attempt changes nothing");
        for edit in edits? {
            document.apply(edit).expect("what was tried fits");
        }
        assert!(document.is_sound());
        Ok(document.root().clone())
    }

    fn at(text: &str) -> Pointer {
        Pointer::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn the_examples_of_rfc_7396() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (before, patch, expected) in cases {
            assert_eq!(after(&before, vec![Op::Merge(patch.clone())]), Ok(expected.clone()), "{before} with {patch}");
            let made = merge::between(&before, &expected);
            let made = made.map_or(Ok(before.clone()), |made| after(&before, vec![Op::Merge(made)]));
            assert_eq!(made, Ok(expected), "the patch that was made of {before}");
        }
    }

    fn patched(before: &Value, patch: Value) -> Result<Value, Error> {
        after(before, vec![Op::Patch(patch::read(patch)?)])
    }

    /// Appendix A, by number. Those that have to fail come to nothing.
    #[test]
    fn the_examples_of_rfc_6902() {
        let foo = json!({"foo": "bar"});
        let cases = [
            (
                foo.clone(),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                Some(json!({"baz": "qux", "foo": "bar"})),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                Some(json!({"foo": ["bar", "qux", "baz"]})),
            ),
            (json!({"baz": "qux", "foo": "bar"}), json!([{"op": "remove", "path": "/baz"}]), Some(foo.clone())),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                Some(json!({"foo": ["bar", "baz"]})),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                Some(json!({"baz": "boo", "foo": "bar"})),
            ),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                Some(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                Some(json!({"foo": ["all", "cows", "eat", "grass"]})),
            ),
            (
                json!({"baz": "qux", "foo": ["a", 2, "c"]}),
                json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
                Some(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
            ),
            (json!({"baz": "qux"}), json!([{"op": "test", "path": "/baz", "value": "bar"}]), None),
            (
                foo.clone(),
                json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
                Some(json!({"foo": "bar", "child": {"grandchild": {}}})),
            ),
            (
                foo.clone(),
                json!([{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]),
                Some(json!({"foo": "bar", "baz": "qux"})),
            ),
            (foo.clone(), json!([{"op": "add", "path": "/baz/bat", "value": "qux"}]), None),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": 10}]),
                Some(json!({"/": 9, "~1": 10})),
            ),
            (json!({"/": 9, "~1": 10}), json!([{"op": "test", "path": "/~01", "value": "10"}]), None),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
                Some(json!({"foo": ["bar", ["abc", "def"]]})),
            ),
        ];
        for (before, patch, expected) in cases {
            assert_eq!(patched(&before, patch.clone()).ok(), expected, "{before} with {patch}");
        }
    }

    #[test]
    fn a_patch_that_fails_late_changes_nothing() {
        let before = json!({"a": [1, 2], "b": {}});
        let bad = [
            json!([{"op": "remove", "path": "/a/0"}, {"op": "remove", "path": "/none"}]),
            json!([{"op": "move", "from": "/b", "path": "/b/x"}]),
            json!([{"op": "add", "path": "/a/3", "value": 0}]),
            json!([{"op": "remove", "path": ""}]),
            json!([{"op": "replace", "path": "/none", "value": 0}]),
            json!([{"op": "copy", "from": "/none", "path": "/x"}]),
            json!([{"op": "add", "path": "/x"}]),
            json!([{"op": "add", "value": 0}]),
            json!([{"op": "jump", "path": "/x", "value": 0}]),
            json!([{"path": "/x", "value": 0}]),
            json!([{"op": "move", "path": "/x"}]),
            json!([5]),
            json!({}),
        ];
        for patch in bad {
            assert!(patched(&before, patch.clone()).is_err(), "{patch}");
        }
    }

    #[test]
    fn single_operations() {
        let before = json!({"n": 1, "list": [1], "text": "x"});
        let set = |path: &str, value: Value| Op::Set(at(path), value);
        let number = |value: Value| serde_json::from_value::<Number>(value).expect("a number");
        let cases = [
            (set("/a/b/c", json!(1)), Some(json!({"n": 1, "list": [1], "text": "x", "a": {"b": {"c": 1}}}))),
            (set("/list/1", json!(2)), Some(json!({"n": 1, "list": [1, 2], "text": "x"}))),
            (set("/list/-", json!(2)), Some(json!({"n": 1, "list": [1, 2], "text": "x"}))),
            (set("/list/0", json!(2)), Some(json!({"n": 1, "list": [2], "text": "x"}))),
            (set("/list/2", json!(2)), None),
            (set("/text/a", json!(2)), None),
            (set("/text/a/b", json!(2)), None),
            (set("/list/x/y", json!(2)), None),
            (set("", json!([])), Some(json!([]))),
            (Op::Del(at("/list/0")), Some(json!({"n": 1, "list": [], "text": "x"}))),
            (Op::Del(at("/none/x")), Some(before.clone())),
            (Op::Del(at("")), None),
            (Op::Append(at("/list"), json!([2])), Some(json!({"n": 1, "list": [1, [2]], "text": "x"}))),
            (
                Op::Append(at("/new/list"), json!(2)),
                Some(json!({"n": 1, "list": [1], "text": "x", "new": {"list": [2]}})),
            ),
            (Op::Append(at("/text"), json!(2)), None),
            (Op::IncrBy(at("/n"), number(json!(-3))), Some(json!({"n": -2, "list": [1], "text": "x"}))),
            (Op::IncrBy(at("/n"), number(json!(0.5))), Some(json!({"n": 1.5, "list": [1], "text": "x"}))),
            (Op::IncrBy(at("/m"), number(json!(7))), Some(json!({"n": 1, "list": [1], "text": "x", "m": 7}))),
            (Op::IncrBy(at("/n"), number(json!(u64::MAX))), None),
            (Op::IncrBy(at("/text"), number(json!(1))), None),
            (Op::Replace(json!(5)), Some(json!(5))),
        ];
        for (op, expected) in cases {
            assert_eq!(after(&before, vec![op.clone()]).ok(), expected, "{op:?}");
        }
    }

    #[test]
    fn later_operations_see_earlier_ones() {
        let test = patch::read(json!([{"op": "test", "path": "/n", "value": 2}])).expect("a patch");
        let increment = || Op::IncrBy(at("/n"), Number::from(1));
        let ops = vec![increment(), increment(), Op::Patch(test.clone()), Op::Set(at("/ok"), json!(true))];
        assert_eq!(after(&json!({}), ops), Ok(json!({"n": 2, "ok": true})));
        assert!(after(&json!({}), vec![increment(), Op::Patch(test)]).is_err());
    }

    #[test]
    fn bounds_are_kept() {
        let deep = (0..40).fold(json!(1), |value, _| json!([value]));
        assert_eq!(after(&json!({}), vec![Op::Set(at("/a"), deep.clone())]).map(|_| ()), Ok(()));
        let path = at(&"/x".repeat(30));
        let error = after(&json!({}), vec![Op::Set(path, deep)]).expect_err("too deep");
        assert!(error.code == Code::Limit && error.text.contains("json-depth-max"), "{error}");
        let error = after(&json!({}), vec![Op::Set(at("/a"), json!("x".repeat(100_000)))]).expect_err("too large");
        assert!(error.code == Code::Limit && error.text.contains("context-bytes-max"), "{error}");
    }
}
