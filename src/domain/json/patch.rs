//! JSON Patch (RFC 6902): reading one.

use super::{Pointer, Value};
use crate::domain::limits::PATCH_OPERATIONS_MAX;
use crate::domain::Error;

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Puts a value into an object or an array.
    Add(Pointer, Value),
    /// Removes a value that has to exist.
    Remove(Pointer),
    /// Replaces a value that has to exist.
    Replace(Pointer, Value),
    /// Moves a value from the first place to the second.
    Move(Pointer, Pointer),
    /// Copies a value from the first place to the second.
    Copy(Pointer, Pointer),
    /// Goes on only if the value at the place is equal.
    Test(Pointer, Value),
}

/// Reads a patch: an array of objects with `op`, `path` and the other members of the operation.
pub fn read(patch: Value) -> Result<Vec<Operation>, Error> {
    let Value::Array(operations) = patch else {
        return Err(Error::usage("PATCH is no array, allowed are the arrays of operations of RFC 6902"));
    };
    if operations.len() > PATCH_OPERATIONS_MAX {
        let given = operations.len();
        return Err(Error::usage(format!("PATCH has {given} operations, at most {PATCH_OPERATIONS_MAX} are allowed")));
    }
    operations.iter().enumerate().map(|(at, (_, operation))| one(at, operation)).collect()
}

fn one(at: usize, operation: &Value) -> Result<Operation, Error> {
    let bad = |text: &str| Error::usage(format!("operation {at} of PATCH {text}"));
    let Value::Object(members) = operation else { return Err(bad("is no object")) };
    let pointer = |name: &str| match members.value(name) {
        Some(Value::String(text)) => {
            Pointer::parse(text.as_bytes()).map_err(|error| bad(&format!("has a bad {name}: {}", error.text)))
        }
        _ => Err(bad(&format!("has no text under '{name}'"))),
    };
    let path = pointer("path")?;
    let op = match members.value("op") {
        Some(Value::String(op)) => op,
        _ => return Err(bad("has no text under 'op'")),
    };
    if let "move" | "copy" = &**op {
        let from = match members.value("from") {
            Some(Value::String(text)) => Pointer::parse(text.as_bytes())?,
            _ => return Err(bad("has no text under 'from'")),
        };
        return Ok(if &**op == "move" { Operation::Move(from, path) } else { Operation::Copy(from, path) });
    }
    if &**op == "remove" {
        return Ok(Operation::Remove(path));
    }
    let value = members.value("value").cloned().ok_or_else(|| bad("has no 'value'"));
    match &**op {
        "add" => Ok(Operation::Add(path, value?)),
        "replace" => Ok(Operation::Replace(path, value?)),
        "test" => Ok(Operation::Test(path, value?)),
        _ => Err(bad("has an unknown 'op', allowed are add, remove, replace, move, copy and test")),
    }
}
