//! The operations of one call, all or none.
//!
//! Each operation has to see what the earlier ones did. So an [`Attempt`] makes the edits on a
//! clone of the document, which costs nothing before it changes. The list of edits is left to be
//! decided on.

use super::patch::Operation;
use super::pointer::{index, step};
use super::size::Size;
use super::text::Json;
use super::value::Value;
use super::{merge, Document, Edit, Pointer};
use crate::domain::limits::POINTER_BYTES_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{Code, Error};
use serde_json::Number;

/// An operation on a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `MERGE`: RFC 7396.
    Merge(Value),
    /// `PATCH`: RFC 6902.
    Patch(Vec<Operation>),
    /// `SET`: makes the objects on the way if they are missing.
    Set(Pointer, Value),
    /// `DEL`: does nothing if nothing is there.
    Del(Pointer),
    /// `APPEND`: to an array, which is created if there is none.
    Append(Pointer, Value),
    /// `INCRBY`: a number, 0 if there is none.
    IncrBy(Pointer, Number),
    /// `REPLACE`: the whole document.
    Replace(Value),
}

/// The bounds of a document, and of what one call does to it.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of its compact text, including commas.
    pub bytes_max: usize,
    /// Values: single ones, arrays and objects.
    pub values_max: usize,
    /// Levels.
    pub depth_max: usize,
    /// Edits of one call.
    pub edits_max: usize,
}

impl Bounds {
    /// Errs if a document is larger or deeper.
    pub fn check(&self, document: &Document) -> Result<(), Error> {
        let size = document.size();
        self.check_depth(size.depth)?;
        self.check_size(&size)
    }

    fn check_depth(&self, levels: usize) -> Result<(), Error> {
        if levels <= self.depth_max {
            return Ok(());
        }
        let what = format!("a document of {levels} levels");
        Err(Error::limit("json-depth-max", &what, self.depth_max as u64))
    }

    fn check_size(&self, size: &Size) -> Result<(), Error> {
        if size.text > self.bytes_max {
            let what = format!("a document of {} bytes", size.text);
            return Err(Error::limit("context-bytes-max", &what, self.bytes_max as u64));
        }
        if size.values > self.values_max {
            let what = format!("a document of {} values", size.values);
            return Err(Error::limit("context-values-max", &what, self.values_max as u64));
        }
        Ok(())
    }
}

/// The edits of one call may hold this many times what the document may hold, or [`SPENT_MIN`].
const SPENT_SHARE: usize = 4;
/// Bytes that the edits of one call may hold in any case.
const SPENT_MIN: usize = 1024 * 1024;

/// Operations that are tried on a document.
#[derive(Debug)]
pub struct Attempt<'a> {
    before: &'a Document,
    document: Document,
    bounds: Bounds,
    done: Vec<Edit>,
    /// How many edits were made, with those that change nothing.
    tried: usize,
    /// Bytes that they hold.
    spent: usize,
}

impl<'a> Attempt<'a> {
    /// Begins an attempt. A document that is larger already, by an earlier setting, may shrink.
    pub fn new(before: &'a Document, bounds: Bounds) -> Self {
        let size = before.size();
        let (bytes_max, values_max) = (bounds.bytes_max.max(size.text), bounds.values_max.max(size.values));
        let bounds = Bounds { bytes_max, values_max, ..bounds };
        Self { before, document: before.clone(), bounds, done: Vec::new(), tried: 0, spent: 0 }
    }

    /// The edits of all operations together, or the error of one of them. There are none if the
    /// operations come to nothing.
    pub fn all(mut self, ops: Vec<Op>) -> Result<Vec<Edit>, Error> {
        for op in ops {
            self.run(op)?;
        }
        let is_same = self.document == *self.before;
        Ok(if is_same { Vec::new() } else { self.done })
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

    /// Makes an edit. Errs if it does not fit.
    fn edit(&mut self, edit: Edit) -> Result<(), Error> {
        let path = edit.path().clone();
        if self.edit_if_it_fits(edit)? {
            Ok(())
        } else {
            Err(missing(&path))
        }
    }

    /// Makes an edit, and says whether it fits. One that puts what is there already is left out.
    fn edit_if_it_fits(&mut self, edit: Edit) -> Result<bool, Error> {
        self.spend(&edit)?;
        let Some(undo) = self.document.apply(edit.clone()) else { return Ok(false) };
        if undo == edit {
            return Ok(true);
        }
        let levels = edit.path().depth() + edit.value().map_or(0, |Json(value)| value.depth());
        self.bounds.check_depth(levels)?;
        if !edit.path().is_valid() {
            let text = format!("a path would be longer than {POINTER_BYTES_MAX} bytes: '{}'", show(edit.path()));
            return Err(Error::new(Code::Limit, text));
        }
        self.done.push(edit);
        // After each edit, so that no call makes something huge on the way to something small.
        self.bounds.check_size(&self.document.size())?;
        Ok(true)
    }

    /// Errs if the call does more than one call should.
    fn spend(&mut self, edit: &Edit) -> Result<(), Error> {
        self.tried += 1;
        if self.tried > self.bounds.edits_max {
            return Err(Error::limit("context-edits-max", "so many edits of one call", self.bounds.edits_max as u64));
        }
        self.spent = self.spent.saturating_add(edit.bytes());
        let max = self.bounds.bytes_max.saturating_mul(SPENT_SHARE).max(SPENT_MIN);
        if self.spent > max {
            let what = format!("edits of one call that hold {} bytes", self.spent);
            return Err(Error::limit("context-bytes-max", &what, max as u64));
        }
        Ok(())
    }

    fn merge(&mut self, path: &Pointer, patch: &Value) -> Result<(), Error> {
        let is_object = || path.find(self.root()).is_some_and(|target| target.as_object().is_some());
        let Some(members) = patch.as_object().filter(|_| is_object()) else {
            return self.edit(Edit::Put { path: path.clone(), value: Json(merge::made_of_nothing(patch)) });
        };
        members.iter().try_for_each(|(name, value)| match (path.child(name), value) {
            (path, Value::Null) => self.edit_if_it_fits(Edit::Drop { path }).map(drop),
            (path, value) => self.merge(&path, value),
        })
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
                if path.find(self.root()).is_some_and(|there| there.is_same(&value)) {
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

    /// `remove` of RFC 6902; returns the value that was there.
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

    /// Wraps the value in the objects that are missing on the way to `path`. Returns the path of
    /// the first of them, and the wrapped value.
    fn with_way(&self, path: Pointer, value: Value) -> Result<(Pointer, Value), Error> {
        let parts: Vec<_> = path.parts().map(|part| part.into_owned()).collect();
        let (mut there, mut known) = (self.root(), 0);
        while let Some(next) = parts.get(known).and_then(|part| step(there, part)) {
            (there, known) = (next, known + 1);
        }
        // The last part need not exist.
        if known + 1 >= parts.len() {
            return Ok((path, value));
        }
        if there.as_object().is_none() {
            return Err(missing(&path));
        }
        let inside = parts[known + 1..]
            .iter()
            .rev()
            .fold(value, |value, part| Value::Object([(part.as_str().into(), value)].into_iter().collect()));
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
            None => self.set(path, Value::array([value])),
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
mod tests;
