//! JSON documents that change in small steps.
//!
//! A [`Document`] changes by [`Edit`]s, each of which returns the edit that undoes it. An
//! [`Attempt`](attempt::Attempt) turns what clients ask for (RFC 7396 merge patches, RFC 6902
//! patches, single operations) into edits. Edits are what is replicated, watched and kept as
//! history, so the cost depends on what changes, not on the size of the document. Paths are JSON
//! Pointers (RFC 6901).

pub mod attempt;
pub mod canonical;
pub mod document;
pub mod edit;
pub mod merge;
pub mod past;
pub mod patch;
pub mod pointer;
pub mod size;
pub mod text;

pub use attempt::{Attempt, Op};
pub use document::Document;
pub use edit::Edit;
pub use pointer::Pointer;
pub use text::Json;

use serde_json::{Number, Value};

/// Whether two values are equal. Numbers are compared by value: 1, 1.0 and 1e0 are equal
/// (RFC 6902, 4.6).
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => same_number(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_in = |(name, value): (&String, &Value)| other.get(name).is_some_and(|there| same(value, there));
            one.len() == other.len() && one.iter().all(is_in)
        }
        (one, other) => one == other,
    }
}

fn same_number(one: &Number, other: &Number) -> bool {
    if let (Some(one), Some(other)) = (one.as_i128(), other.as_i128()) {
        return one == other;
    }
    one.as_f64() == other.as_f64()
}

/// How deep a value is: 0 for a single one, 1 for a flat array.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_value() {
        assert!(same(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!same(&json!(9_007_199_254_740_993i64), &json!(9_007_199_254_740_992i64)));
        assert!(!same(&json!([1]), &json!([1, 1])) && !same(&json!({"a": 1}), &json!({"b": 1})));
    }

    #[test]
    fn depth_counts_containers() {
        assert_eq!([json!(1), json!([]), json!({"a": [1]})].map(|value| depth(&value)), [0, 1, 2]);
    }
}
