//! Sessions and contexts in the golden files. They are part of the frozen format: samples may be
//! added, but never changed.

use crate::samples::{answered, bound, value, Samples, FENCE, NOW};
use ltmc::domain::context::{Context, Doc};
use ltmc::domain::entity::idempotency::Answer;
use ltmc::domain::json::{Edit, Json, Pointer};
use ltmc::domain::session::{Fields, Session};
use ltmc::domain::versioned::{Created, Keep, Life, State, Status, Versioned, VersionedEvent};
use ltmc::domain::{Bytes, Change};
use serde_json::json;
use std::collections::BTreeMap;

type Changes<S> = Vec<Change<VersionedEvent<S>>>;

fn born<S: State>() -> Change<VersionedEvent<S>> {
    Change::Born { revision: FENCE }
}

fn created<S: State>(state: S, stays: bool) -> Change<VersionedEvent<S>> {
    let life = Life { ttl_ms: Some(60_000), is_sliding: true, dies_at: Some(NOW + 900_000) };
    Change::Event(VersionedEvent::Created(Box::new(Created {
        at: NOW,
        owner: Bytes::from("ada"),
        state: state.into(),
        version: 1,
        meta: Bytes::from(r#"{"tags":["x"],"weights":{"/a":2.5}}"#),
        participants: vec![(Bytes::from("ada"), Bytes::from("lead")), (Bytes::from("bob"), Bytes::EMPTY)],
        life,
        keep: Keep { versions_max: 3, bytes_max: 1 << 20 },
        stays,
    })))
}

/// What happens to both kinds, around their own changes.
fn story<S: State>(first: S, mut change: impl FnMut(u64) -> S::Change) -> Changes<S> {
    let by = || Bytes::from("ada");
    let mut changed = |version: u64| VersionedEvent::Changed {
        version,
        at: NOW + version,
        by: by(),
        change: change(version),
        ttl_ms: (version == 3).then_some(120_000),
    };
    let at = NOW + 50;
    let mark = |id, name: &str, is_pinned| VersionedEvent::Checkpointed { at, id, name: Bytes::from(name), is_pinned };
    let events = vec![
        mark(1, "first", true),
        changed(2),
        mark(2, "", false),
        changed(3),
        changed(4),
        mark(3, "third\0\u{e9}", false),
        changed(5),
        changed(6),
        VersionedEvent::Restored { version: 7, at, by: by(), checkpoint: 1 },
        changed(8),
        VersionedEvent::Pruned { at, checkpoints: vec![2] },
        VersionedEvent::Joined { at, agent: Bytes::from("cy"), role: Bytes::from("reader") },
        VersionedEvent::Left { at, agent: Bytes::from("bob") },
        VersionedEvent::Owned { at, by: Bytes::EMPTY, resources: vec![Bytes::from("lock:1"), Bytes::from("lock:2")] },
        VersionedEvent::Disowned { at, by: Bytes::EMPTY, resources: vec![Bytes::from("lock:1")] },
        VersionedEvent::Touched { at, ttl_ms: None },
        VersionedEvent::StatusChanged { at, status: Status::Suspended },
    ];
    [born(), created(first, true)].into_iter().chain(events.into_iter().map(Change::Event)).collect()
}

fn ended<S: State>() -> Change<VersionedEvent<S>> {
    Change::Event(VersionedEvent::Ended { at: NOW + 60, gone_at: NOW + 5_000 })
}

/// It ends and owes its resources. Of two keys, one is given back.
fn ending<S: State>() -> Changes<S> {
    let keys = |names: &[&str]| names.iter().map(|name| Bytes::from(*name)).collect();
    let events = [
        VersionedEvent::Owned { at: NOW + 55, by: Bytes::from("ada"), resources: keys(&["lock:3", "lock:4"]) },
        VersionedEvent::Ending { at: NOW + 60, gone_at: NOW + 5_000, fence: FENCE },
        VersionedEvent::Returned { at: NOW + 61, resources: keys(&["lock:2", "lock:3"]) },
    ];
    let answered = answered(b"r1", Answer::Integer(8));
    events.into_iter().map(Change::Event).chain([answered]).collect()
}

fn fields(pairs: &[(&str, &[u8])]) -> Fields {
    let map = pairs.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(*value)));
    Fields::from(map.collect::<BTreeMap<_, _>>())
}

fn session_changes() -> Changes<Fields> {
    let first = fields(&[("a", b"1"), ("binary", b"\0\xff\n"), ("long", &[b'x'; 300])]);
    story(first, |version| {
        let set = (Bytes::from(format!("field-{}", version % 4).as_str()), Some(Bytes::from(&[version as u8; 20][..])));
        [set, (Bytes::from("a"), (version % 2 == 0).then(|| Bytes::from("even")))].into_iter().collect()
    })
}

fn context_changes() -> Changes<Doc> {
    let first = Doc::new(json!({"a": {"b": [1, 2.5, "x\u{e9}"], "c": null}, "big": u64::MAX, "n": -7, "t": true}));
    let at = |path: &str| Pointer::parse(path.as_bytes()).expect("a path");
    story(first, move |version| {
        vec![
            Edit::Put {
                path: at(&format!("/a/m{version}")),
                value: Json(json!({"v": version, "x": [0.1, 1e300]}).into()),
            },
            Edit::Insert { path: at("/a/b/0"), value: Json(json!(version).into()) },
            if version == 4 { Edit::Drop { path: at("/t") } } else { Edit::Remove { path: at("/a/b/1") } },
        ]
    })
}

/// The samples in the golden files of sessions.
pub fn sessions() -> Samples<Session> {
    let all = session_changes();
    let done: Changes<Fields> = all.iter().cloned().chain([ended()]).collect();
    let owing: Changes<Fields> = all.iter().cloned().chain(ending()).collect();
    let plain: Changes<Fields> = vec![born(), created(fields(&[("a", b"1")]), false)];
    Samples {
        snapshots: [
            snapshots(["session-plain", "session-rich", "session-ended"], [&plain, &all, &done]),
            vec![
                ("session-ending", value(&owing)),
                ("session-bound", value(&[&plain[..], &[bound("ada", FENCE)]].concat())),
            ],
        ]
        .concat(),
        changes: vec![("session-changes-all", done), ("session-changes-ending", owing)],
    }
}

/// The samples in the golden files of contexts.
pub fn contexts() -> Samples<Context> {
    let all = context_changes();
    let plain: Changes<Doc> = vec![born(), created(Doc::new(json!({"a": 1})), true)];
    let done: Changes<Doc> = all.iter().cloned().chain([ended()]).collect();
    Samples {
        snapshots: snapshots(["context-plain", "context-rich", "context-ended"], [&plain, &all, &done]),
        changes: vec![("context-changes-all", done)],
    }
}

fn snapshots<S: State>(
    names: [&'static str; 3],
    changes: [&Changes<S>; 3],
) -> Vec<(&'static str, ltmc::domain::Record<Versioned<S>>)> {
    names.into_iter().zip(changes).map(|(name, changes)| (name, value(changes))).collect()
}
