//! One document from several: what [`LTMC.CTX.GENERATE`](crate::command) combines.
//!
//! Objects are merged member by member. For other values, the source changed most recently at that
//! path wins; on a tie, or if that is not known, the later one in the order given.

use super::touches::Touches;
use crate::domain::json::value::{Object, Value};
use crate::domain::json::Pointer;
use crate::domain::Millis;
use std::sync::Arc;

/// One of the documents.
#[derive(Debug)]
pub struct Source<'a> {
    /// The document.
    pub root: &'a Value,
    /// Who touched what in it, if known.
    pub touches: Option<&'a Touches>,
    /// The time of everything in it that nobody touched, unix ms.
    pub since: Millis,
}

impl Source<'_> {
    fn touched_at(&self, path: &Pointer) -> Millis {
        self.touches.and_then(|touches| touches.last(path)).map_or(self.since, |touch| touch.at)
    }
}

/// A value with the time of its last touch, on its way into the result.
struct Candidate<'a> {
    value: &'a Value,
    source: &'a Source<'a>,
}

/// Merges the sources, later ones over earlier ones.
pub fn generate(sources: &[Source]) -> Value {
    let candidates: Vec<Candidate> = sources.iter().map(|source| Candidate { value: source.root, source }).collect();
    merged(&Pointer::default(), &candidates).unwrap_or_else(Value::object)
}

fn merged(path: &Pointer, candidates: &[Candidate]) -> Option<Value> {
    // A member that only one source has needs no touches.
    if let [only] = candidates {
        return Some(only.value.clone());
    }
    // The winner decides whether this is an object. If it is, all objects take part.
    let newest = candidates.iter().enumerate().max_by_key(|(at, one)| (one.source.touched_at(path), *at));
    let (_, winner) = newest?;
    let Value::Object(_) = winner.value else { return Some(winner.value.clone()) };
    let objects: Vec<(&Object, &Source)> =
        candidates.iter().filter_map(|one| Some((one.value.as_object()?, one.source))).collect();
    let mut names: Vec<&Arc<str>> =
        objects.iter().flat_map(|(members, _)| members.iter().map(|(name, _)| name)).collect();
    names.sort_unstable();
    names.dedup();
    let member = |name: &Arc<str>| {
        let inside: Vec<Candidate> = objects
            .iter()
            .filter_map(|(members, source)| Some(Candidate { value: members.value(name)?, source }))
            .collect();
        Some((name.clone(), merged(&path.child(name), &inside)?))
    };
    Some(Value::Object(names.into_iter().filter_map(member).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(root: &Value, since: Millis) -> Source<'_> {
        Source { root, touches: None, since }
    }

    #[test]
    fn objects_are_merged_and_the_newer_value_wins() {
        let one = json!({"a": {"x": 1, "y": 1}, "b": [1], "only": true}).into();
        let other = json!({"a": {"x": 2, "z": 2}, "b": [2]}).into();
        let older = source(&one, 5);
        let newer = source(&other, 9);
        let expected = json!({"a": {"x": 2, "y": 1, "z": 2}, "b": [2], "only": true});
        assert!(generate(&[older, newer]) == expected);
        let (one, other, deep) = (json!({"a": 1}).into(), json!({"a": 2}).into(), json!({"a": {"b": 2}}).into());
        let (newer, older) = (source(&one, 9), source(&other, 5));
        assert!(generate(&[newer, older]) == json!({"a": 1}), "in whatever order");
        let (first, second) = (source(&one, 5), source(&deep, 5));
        assert!(generate(&[first, second]) == json!({"a": {"b": 2}}), "the later one if they are of one age");
    }
}
