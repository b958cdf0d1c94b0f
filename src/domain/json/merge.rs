//! JSON Merge Patch (RFC 7396): applying one. [`past`](super::past) makes them.

use serde_json::Value;

/// A patch applied to nothing: the patch without its nulls.
pub fn made_of_nothing(patch: &Value) -> Value {
    match patch {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), made_of_nothing(value))).collect())
        }
        other => other.clone(),
    }
}
