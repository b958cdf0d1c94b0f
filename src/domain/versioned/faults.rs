//! What can be broken in sessions and contexts.

use super::{State, Versioned};
use crate::domain::entity::fault_injection::Breakable;

/// What can be broken in a state.
pub trait BreakableState: State {
    /// The names of the derived parts.
    const PARTS: &'static [&'static str];

    /// Breaks one of them.
    fn break_part(&mut self, part: &str);
}

impl<S: BreakableState> Breakable for Versioned<S> {
    fn parts() -> Vec<&'static str> {
        ["bytes", "marks"].into_iter().chain(S::PARTS.iter().copied()).collect()
    }

    fn break_part(&mut self, part: &str) {
        match part {
            "bytes" | "marks" => self.history.break_part(part == "marks"),
            part => self.state.edit().break_part(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::context::Doc;
    use crate::domain::entity::fault_injection::{testing::assert_breaks_are_mended, testing::value, testing::NOW};
    use crate::domain::json::{Edit, Json, Pointer};
    use crate::domain::session::Fields;
    use crate::domain::versioned::{Created, Keep, Life, VersionedEvent};
    use crate::domain::{Bytes, Record};
    use serde_json::json;
    use std::collections::BTreeMap;

    /// A value with `versions` versions; each hundredth has a checkpoint.
    fn versioned<S: State>(state: S, versions: u64, change: impl Fn(u64) -> S::Change) -> Record<Versioned<S>> {
        let created = Created {
            at: NOW,
            owner: Bytes::EMPTY,
            state: state.into(),
            version: 1,
            meta: Bytes::EMPTY,
            participants: Vec::new(),
            life: Life::default(),
            keep: Keep { versions_max: versions as u32 / 2, bytes_max: 1 << 30 },
            stays: true,
        };
        let by = Bytes::from("ada");
        let step = |n: u64| {
            let (change, by) = (change(n), by.clone());
            let mark = VersionedEvent::Checkpointed { at: NOW, id: n / 100 + 1, name: Bytes::EMPTY, is_pinned: false };
            let changed = VersionedEvent::Changed { version: n + 2, at: NOW + n, by, change, ttl_ms: None };
            [changed].into_iter().chain((n % 100 == 0).then_some(mark))
        };
        value([VersionedEvent::Created(Box::new(created))].into_iter().chain((0..versions).flat_map(step)))
    }

    fn field(n: u64) -> Bytes {
        Bytes::from(format!("field-{n}").as_str())
    }

    /// A session with `fields` fields and `versions` versions.
    pub fn session(fields: u64, versions: u64) -> Record<Versioned<Fields>> {
        let map: BTreeMap<Bytes, Bytes> = (0..fields).map(|n| (field(n), Bytes::from(&[b'x'; 40][..]))).collect();
        versioned(Fields::from(map), versions, move |n| {
            [(field(n % fields), Some(Bytes::from(n.to_string().as_str())))].into_iter().collect()
        })
    }

    /// A context with `members` members and `versions` versions.
    pub fn context(members: u64, versions: u64) -> Record<Versioned<Doc>> {
        let root: BTreeMap<String, _> =
            (0..members).map(|n| (format!("m{n}"), json!({"n": n, "text": "what is known"}))).collect();
        versioned(Doc::new(json!(root)), versions, move |n| {
            let path = Pointer::parse(format!("/m{}/n", n % members).as_bytes()).expect("a path");
            vec![Edit::Put { path, value: Json(json!(n).into()) }]
        })
    }

    #[test]
    fn each_break_of_a_session_or_a_context_is_noticed_and_mended() {
        assert_breaks_are_mended(&session(10, 250));
        assert_breaks_are_mended(&context(10, 250));
    }
}
