//! What has to be true after every step.

use super::json::{get, has_null, merge, parts};
use super::naive::{retold, State, Thing};
use super::world::{id_of, is_session, World};
use crate::server::saved;
use ltmc::command::reply::Reply;
use ltmc::domain::context::Context;
use ltmc::domain::entity::event_log::Missed;
use ltmc::domain::session::Session;
use ltmc::domain::versioned;
use ltmc::domain::versioned::Versioned;
use ltmc::domain::{Code, Entity};
use ltmc::snapshot::encode_snapshot;
use serde_json::{json, Value};
use std::collections::BTreeMap;

pub fn text(text: &str) -> Reply {
    if text.is_empty() {
        Reply::Nil
    } else {
        Reply::bytes(text.as_bytes())
    }
}

fn json_of(reply: &Reply) -> Value {
    match reply {
        Reply::Bytes(bytes) => serde_json::from_slice(bytes).expect("JSON"),
        other => panic!("no JSON: {other:?}"),
    }
}

impl World {
    pub fn check(&mut self) {
        assert_eq!(std::mem::take(&mut self.answered), std::mem::take(&mut self.due), "who got a lock");
        assert_eq!(
            self.host.keys.len(),
            self.things.len() + self.locks.len() + 1,
            "number of keys: {:?}, expected {:?} {:?}",
            self.host.keys.keys(),
            self.things.keys(),
            self.locks
        );
        assert_eq!(self.host.replica.len(), self.host.keys.len(), "number of keys of the replica");
        let full = self.rng.percent(10);
        for key in self.things.keys().cloned().collect::<Vec<_>>() {
            match is_session(&key) {
                true => self.check_key::<ltmc::domain::session::Fields>(&key, full),
                false => self.check_key::<ltmc::domain::context::Doc>(&key, full),
            }
            let changed = self.check_log(&key);
            if changed || full {
                self.check_versions(&key, full);
                self.check_shown(&key);
            }
        }
    }

    fn check_key<S: versioned::State>(&mut self, key: &str, full: bool) {
        let stored = self.host.peek::<Versioned<S>>(&id_of(key)).unwrap_or_else(|| panic!("there is no {key}"));
        let copy = self.host.copied::<Versioned<S>>(&id_of(key)).unwrap_or_else(|| panic!("no copy of {key}"));
        assert_eq!(stored.revision, copy.revision, "{key}");
        let is_new = self.things[key].revision != Some(stored.revision);
        if !is_new && !full {
            return;
        }
        assert_eq!(stored.check(), Ok(()));
        assert!(encode_snapshot(stored) == encode_snapshot(copy), "replica of {key}: {stored:#?} {copy:#?}");
        let again = saved(stored);
        let (now, fresh) = (stored.state.memory_bytes(), again.state.memory_bytes());
        if is_session(key) {
            assert_eq!(now, fresh, "counted bytes of {key} and of a fresh copy");
        } else {
            // The capacity that lists of names have grown to is counted, too. A fresh copy has
            // less.
            let touches = |stored: &ltmc::domain::Record<Context>| stored.state.state().touches().heap_bytes();
            let real = self.host.peek::<Context>(&id_of(key)).expect("a context");
            let (t, fresh_t) = (touches(real), touches(&saved(real)));
            assert_eq!(now - t, fresh - fresh_t, "counted bytes of {key} and of a fresh copy");
            assert!(t >= fresh_t && t <= fresh_t * 2, "touches take {t} bytes, and fresh {fresh_t}");
        }
    }

    /// Watchers are told everything that happened, once.
    fn check_log(&mut self, key: &str) -> bool {
        let (revision, events) = match is_session(key) {
            true => self.events::<Session>(key),
            false => self.events::<Context>(key),
        };
        let thing = self.things.get_mut(key).expect("a thing");
        let told = std::mem::take(&mut thing.told);
        assert_eq!(events.len(), told.len(), "{key} tells {events:?} and not {told:?}");
        let first = revision - events.len() as u64;
        for (at, (event, expected)) in events.iter().zip(&told).enumerate() {
            let mut event: Value = serde_json::from_str(event).expect("JSON");
            let mut expected = expected.clone();
            expected["revision"] = json!(first + at as u64 + 1);
            for names in ["set", "deleted"] {
                if let Some(Value::Array(names)) = event.get_mut(names) {
                    names.sort_by_key(Value::to_string);
                    names.dedup();
                }
                if let Some(Value::Array(names)) = expected.get_mut(names) {
                    names.sort_by_key(Value::to_string);
                }
            }
            if expected.get("edits").is_some() {
                learn(thing, &event);
                expected["edits"] = event["edits"].clone();
            }
            assert_eq!(event, expected, "what {key} tells");
        }
        thing.log.extend(events);
        thing.revision = Some(revision);
        !told.is_empty()
    }

    fn events<E: Entity>(&self, key: &str) -> (u64, Vec<String>) {
        let stored = self.host.peek::<E>(&id_of(key)).expect("a value");
        let since = self.things[key].revision.unwrap_or(0);
        match stored.log().expect("a log").after(since) {
            Missed::Events(events) => (stored.revision, events.map(str::to_string).collect()),
            Missed::Compacted(oldest) => panic!("{since} of {key} is compacted, the oldest is {oldest}"),
        }
    }

    /// Every version that is kept is what it was, and no other version is there.
    fn check_versions(&mut self, key: &str, full: bool) {
        let all: Vec<u64> = self.things[key].versions.keys().copied().collect();
        for version in all {
            let thing = &self.things[key];
            let far = thing.version - version > thing.versions_max + 3;
            if (far && !full && !thing.is_kept(version)) || (!full && self.rng.percent(60)) {
                continue;
            }
            let expected = self.things[key].is_kept(version).then(|| self.things[key].versions[&version].clone());
            assert_eq!(self.real_state(key, version), expected, "version {version} of {key}");
            if !is_session(key) && (full || self.rng.percent(30)) {
                self.check_past(key, version, expected);
            }
        }
    }

    fn check_past(&mut self, key: &str, version: u64, expected: Option<State>) {
        let path = super::json::path(&mut self.rng, self.things[key].doc());
        let shown = self.run_line(&format!("LTMC.CTX.GET {key} AT {version}"));
        let whole = self.run_line(&format!("LTMC.CTX.DIFF {key} {version}"));
        let part = self.run(&super::commands::words(&["LTMC.CTX.DIFF", key, &version.to_string(), "PATH", &path]));
        let Some(State::Doc(before)) = expected else {
            for answer in [shown, whole, part] {
                assert_eq!(answer.expect_err("it is forgotten").code, Code::Err);
            }
            return;
        };
        let Ok(Reply::Map(fields)) = shown else { panic!("{shown:?}") };
        let doc = fields.iter().find(|(name, _)| name == "doc").map(|(_, doc)| json_of(doc));
        assert_eq!(doc.as_ref(), Some(&before), "version {version} of {key}");
        let now = self.things[key].doc();
        for (path, patch) in [("", whole), (&path[..], part)] {
            let patch = json_of(&patch.expect("a patch"));
            let (before, now) = (get(&before, &parts(path)), get(now, &parts(path)));
            if patch == json!({}) && before == now || now.is_some_and(has_null) {
                continue;
            }
            let after = merge(before.unwrap_or(&Value::Null), &patch);
            assert_eq!(&after, now.unwrap_or(&Value::Null), "{patch} of {before:?}, at '{path}' since {version}");
        }
    }

    pub fn check_shown(&mut self, key: &str) {
        let verb = if is_session(key) { "LTMC.SESSION.INFO" } else { "LTMC.CTX.GET" };
        let Ok(Reply::Map(fields)) = self.run_line(&format!("{verb} {key}")) else { panic!("no map") };
        let mut fields: BTreeMap<String, Reply> =
            fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let list =
            self.run_line(&format!("{} {key}", verb.replace("INFO", "CHECKPOINTS").replace("GET", "CHECKPOINTS")));
        let thing = &self.things[key];
        for measured in ["history_bytes", "memory_bytes"] {
            assert!(fields.remove(measured).is_some());
        }
        let number = |number: Option<u64>| number.map_or(Reply::Nil, Reply::number);
        let people = thing.participants.iter().map(|(agent, (role, since))| {
            Reply::map([("agent", text(agent)), ("role", text(role)), ("since_at_ms", Reply::number(*since))])
        });
        let points: Vec<Reply> = thing
            .checkpoints
            .iter()
            .map(|(id, one)| {
                Reply::map([
                    ("id", Reply::number(*id)),
                    ("name", text(&one.name)),
                    ("version", Reply::number(one.version)),
                    ("at_ms", Reply::number(one.at)),
                    ("pinned", Reply::Integer(one.pinned.into())),
                ])
            })
            .collect();
        assert_eq!(list, Ok(Reply::Array(points.clone())));
        let mut expected = vec![
            ("version", Reply::number(thing.version)),
            ("owner", text(&thing.owner)),
            ("meta", text(&thing.meta)),
            ("participants_count", Reply::number(thing.participants.len() as u64)),
            ("participants", Reply::Array(people.collect())),
            ("created_at_ms", Reply::number(thing.created_at)),
            ("changed_at_ms", Reply::number(thing.changed.0)),
            ("changed_by", text(&thing.changed.1)),
            ("ttl_ms", number(thing.life.ttl)),
            ("sliding", Reply::Integer(thing.life.sliding.into())),
            ("ends_at_ms", number(thing.life.over_at())),
            ("checkpoints", Reply::number(points.len() as u64)),
            ("last_checkpoint", points.last().cloned().unwrap_or(Reply::Nil)),
            ("history_versions", Reply::number(thing.version - thing.recent_from)),
            ("revision", number(thing.revision)),
        ];
        match thing.state() {
            State::Doc(doc) => expected.push(("doc", text(&doc.to_string()))),
            State::Fields(known) => {
                let resources = thing.resources.keys().map(|name| text(name)).collect();
                expected.extend([
                    ("status", Reply::text(thing.status)),
                    ("fields", Reply::number(known.len() as u64)),
                    ("bytes", Reply::number(known.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() as u64)),
                    ("resources_count", Reply::number(thing.resources.len() as u64)),
                    ("resources", Reply::Array(resources)),
                ]);
            }
        }
        let expected: BTreeMap<String, Reply> =
            expected.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(fields, expected, "{key}");
    }
}

/// What watchers are told of a change leads from the version before to the one after. Where it
/// changed is noted.
fn learn(thing: &mut Thing, event: &Value) {
    let version = event["version"].as_u64().expect("a version");
    let (State::Doc(before), State::Doc(after)) = (&thing.versions[&(version - 1)], &thing.versions[&version]) else {
        panic!("no documents")
    };
    let (now, places) = retold(before, &event["edits"]).unwrap_or_else(|| panic!("{event} does not fit {before}"));
    assert_eq!(now, *after, "{event} of {before}");
    let at = event["at_ms"].as_u64().expect("a time");
    assert_eq!(version, thing.version);
    thing.set_places(places, at, event.get("by").and_then(Value::as_str).unwrap_or(""));
}
