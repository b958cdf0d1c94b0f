//! JSON Merge Patch (RFC 7396).

use super::value::Value;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::sync::Arc;

/// A patch applied to nothing: the patch without its nulls.
pub fn made_of_nothing(patch: &Value) -> Value {
    match patch {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| **value != Value::Null);
            Value::Object(kept.map(|(name, value)| (name.clone(), made_of_nothing(value))).collect())
        }
        other => other.clone(),
    }
}

/// A patch of references.
#[derive(Debug)]
pub enum Patch<'a> {
    /// This value.
    Value(&'a Value),
    /// A member that is gone.
    Gone,
    /// Some members of an object.
    Members(Vec<(&'a str, Patch<'a>)>),
}

impl<'a> Patch<'a> {
    /// The patch that turns `then` into `now`; `None` if they are the same. What both share is not
    /// looked at. A merge patch cannot express a null in an object of `now`, since null means
    /// removal.
    pub fn between(then: &'a Value, now: &'a Value) -> Option<Self> {
        let (Value::Object(before), Value::Object(after)) = (then, now) else {
            return (then != now).then_some(Patch::Value(now));
        };
        let changes: Vec<_> = before.differences(after).filter_map(|(then, now)| Self::of_member(then, now)).collect();
        (!changes.is_empty()).then_some(Patch::Members(changes))
    }

    fn of_member(then: Option<&'a (Arc<str>, Value)>, now: Option<&'a (Arc<str>, Value)>) -> Option<(&'a str, Self)> {
        let (name, _) = now.or(then)?;
        let change = match (then, now) {
            (Some((_, then)), Some((_, now))) => Self::between(then, now)?,
            (None, Some((_, now))) => Patch::Value(now),
            (_, None) => Patch::Gone,
        };
        Some((name, change))
    }
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
