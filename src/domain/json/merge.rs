//! JSON Merge Patch (RFC 7396): applying one, and making one from two values.

use serde_json::{Map, Value};

/// What a patch makes of nothing: the patch without its nulls.
pub fn made_of_nothing(patch: &Value) -> Value {
    match patch {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), made_of_nothing(value))).collect())
        }
        other => other.clone(),
    }
}

/// The patch that makes `new` of `old`; `None` if they are the same. A null in an object of `new` cannot be said by a merge patch, for
/// which null means removal.
pub fn between(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after {
        let change = match before.get(name) {
            Some(known) => between(known, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}
