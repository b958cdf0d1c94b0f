//! A session or a context as naive as possible: a full copy of every version that ever was.

use super::json::{self, parts, pointer, Deed};
use ltmc::command::engine::commit::EXPIRY_LEAD_MS;
use serde_json::{json, Map, Value};
use std::collections::{BTreeMap, BTreeSet};

pub type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Fields(Fields),
    Doc(Value),
}

#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub version: u64,
    pub name: String,
    pub at: u64,
    pub pinned: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Life {
    pub ttl: Option<u64>,
    pub sliding: bool,
    pub ends: Option<u64>,
    pub dies: Option<u64>,
}

impl Life {
    pub fn new(at: u64, ttl: Option<u64>, sliding: bool, max: Option<u64>) -> Self {
        Self { ttl, sliding, ends: ttl.map(|ttl| at + ttl), dies: max.map(|max| at + max) }
    }

    pub fn over_at(&self) -> Option<u64> {
        [self.ends, self.dies].into_iter().flatten().min()
    }

    pub fn renew(&mut self, at: u64, ttl: Option<u64>) {
        self.ttl = ttl.or(self.ttl);
        self.ends = self.ttl.map(|ttl| at + ttl);
    }
}

#[derive(Debug, Clone)]
pub struct Thing {
    pub versions: BTreeMap<u64, State>,
    /// What each version changed: fields, or paths of the document.
    pub places: BTreeMap<u64, BTreeSet<String>>,
    pub version: u64,
    /// The oldest version that is kept without a checkpoint.
    pub recent_from: u64,
    pub versions_max: u64,
    pub bytes_max: u64,
    pub checkpoints: BTreeMap<u64, Checkpoint>,
    pub last_checkpoint: u64,
    pub status: &'static str,
    pub owner: String,
    pub meta: String,
    pub participants: BTreeMap<String, (String, u64)>,
    /// The keys it owns, each with the agents that named it. The empty name stands for nobody in
    /// particular.
    pub resources: BTreeMap<String, Vec<String>>,
    pub life: Life,
    pub created_at: u64,
    pub changed: (u64, String),
    pub stays: bool,
    /// The last touch of each place, at most three levels deep.
    pub touches: BTreeMap<String, Touch>,
    /// Whether it is unknown who touched what. A restore touches what it undoes, and skips what
    /// came and went meanwhile. In a fork from before it, one cannot tell which of these places are
    /// forgotten.
    pub vague: bool,
    /// Whether it is a copy: then watchers cannot know what happened before.
    pub is_copy: bool,
    /// All events that were compared, as watchers are told of them.
    pub log: Vec<String>,
    /// What watchers have to be told and was not compared yet.
    pub told: Vec<Value>,
    /// The last revision that was compared; `None` before the first.
    pub revision: Option<u64>,
}

/// Who touched a place, and when.
#[derive(Debug, Clone, Default)]
pub struct Touch {
    pub at: u64,
    pub version: u64,
    /// The last four agents, each with its last version.
    pub by: BTreeMap<String, u64>,
    pub restored: bool,
}

pub fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Thing {
    pub fn new(state: State, version: u64, at: u64, keep: (u64, u64)) -> Self {
        Self {
            versions: BTreeMap::from([(version, state)]),
            places: BTreeMap::new(),
            version,
            recent_from: version,
            versions_max: keep.0,
            bytes_max: keep.1,
            checkpoints: BTreeMap::new(),
            last_checkpoint: 0,
            status: "active",
            owner: String::new(),
            meta: String::new(),
            participants: BTreeMap::new(),
            resources: BTreeMap::new(),
            life: Life::default(),
            created_at: at,
            changed: (at, String::new()),
            stays: true,
            touches: BTreeMap::new(),
            vague: false,
            is_copy: false,
            log: Vec::new(),
            told: Vec::new(),
            revision: None,
        }
    }

    pub fn state(&self) -> &State {
        &self.versions[&self.version]
    }

    pub fn doc(&self) -> &Value {
        match self.state() {
            State::Doc(doc) => doc,
            State::Fields(_) => panic!("no context"),
        }
    }

    pub fn fields(&self) -> &Fields {
        match self.state() {
            State::Fields(fields) => fields,
            State::Doc(_) => panic!("no session"),
        }
    }

    pub fn is_session(&self) -> bool {
        matches!(self.state(), State::Fields(_))
    }

    pub fn is_over(&self, now: u64) -> bool {
        self.life.over_at().is_some_and(|end| end <= now)
    }

    /// Whether the scheduler has ended it. What a session owns is given back in the last moment, a
    /// little before the end of the TTL.
    pub fn is_buried(&self, now: u64) -> bool {
        let owns = !self.resources.is_empty() && self.status != "terminated";
        self.is_over(if owns { now + EXPIRY_LEAD_MS } else { now })
    }

    /// A session that SET has created and that holds nothing any more.
    pub fn is_bare(&self) -> bool {
        let is_empty = matches!(self.state(), State::Fields(fields) if fields.is_empty());
        let nobody = self.participants.is_empty() && self.resources.is_empty();
        !self.stays && is_empty && nobody && self.checkpoints.is_empty()
    }

    pub fn is_kept(&self, version: u64) -> bool {
        let is_recent = (self.recent_from..=self.version).contains(&version);
        is_recent || self.checkpoints.values().any(|one| one.version == version)
    }

    pub fn used(&mut self, at: u64) {
        if self.life.sliding {
            self.life.renew(at, None);
        }
    }

    pub fn tell(&mut self, event: &str, at: u64, rest: Value) {
        let kind = if self.is_session() { "session" } else { "context" };
        let mut told =
            Map::from_iter([("event".into(), json!(format!("{kind}.{event}"))), ("at_ms".into(), json!(at))]);
        let rest = rest.as_object().expect("an object").clone();
        told.extend(rest.into_iter().filter(|(_, value)| *value != json!("")));
        self.told.push(Value::Object(told));
    }

    pub fn new_version(&mut self, state: State, at: u64, by: &str, places: BTreeSet<String>) {
        self.version += 1;
        self.recent_from = self.recent_from.max(self.version.saturating_sub(self.versions_max));
        self.versions.insert(self.version, state);
        self.changed = (at, by.into());
        if !self.is_session() {
            self.touch(&places, at, "", true);
        }
        self.places.insert(self.version, places);
    }

    fn touch(&mut self, places: &BTreeSet<String>, at: u64, by: &str, restored: bool) {
        for place in places {
            let place = pointer(&parts(place).into_iter().take(3).collect::<Vec<_>>());
            let touch = self.touches.entry(place).or_default();
            (touch.at, touch.version, touch.restored) = (at, self.version, restored);
            if !by.is_empty() {
                touch.by.insert(by.into(), self.version);
            }
            if touch.by.len() > 4 {
                let oldest = *touch.by.values().min().expect("five");
                touch.by.retain(|_, version| *version != oldest);
            }
        }
    }

    /// Notes what watchers were told of the last version of a document.
    pub fn set_places(&mut self, places: BTreeSet<String>, at: u64, by: &str) {
        self.touch(&places, at, by, false);
        self.places.insert(self.version, places);
    }

    pub fn places_since(&self, version: u64) -> BTreeSet<String> {
        self.places.range(version + 1..).flat_map(|(_, places)| places.clone()).collect()
    }

    /// What a conflict names.
    pub fn changed_since(&self, version: u64) -> Option<String> {
        if !self.is_kept(version) {
            return None;
        }
        let all = self.places_since(version);
        let outer: Vec<&String> = match self.state() {
            State::Fields(_) => all.iter().collect(),
            State::Doc(_) => {
                let inside = |place: &String| all.iter().any(|other| other != place && covers(other, place));
                all.iter().filter(|place| !inside(place)).collect()
            }
        };
        let shown: Vec<String> = outer.iter().take(32).map(|place| json!(place).to_string()).collect();
        Some(format!("{}{}", shown.join(", "), if outer.len() > 32 { ", ..." } else { "" }))
    }

    pub fn find_checkpoint(&self, text: &str) -> Option<u64> {
        if text.parse::<i64>().is_ok() {
            return text.parse::<u64>().ok().filter(|id| id.to_string() == text && self.checkpoints.contains_key(id));
        }
        self.checkpoints.iter().rev().find(|(_, one)| one.name == text).map(|(id, _)| *id)
    }

    /// When a place was last touched: at it, in it or around it.
    pub fn touched_at(&self, path: &str) -> u64 {
        if self.is_session() {
            return self.changed.0;
        }
        let last = self.around(path).map(|touch| (touch.at, touch.version)).max();
        last.map_or(self.created_at, |(at, _)| at)
    }

    /// The touches at, in and around a place.
    pub fn around<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Touch> {
        let around = self.touches.iter().filter(move |(place, _)| covers(place, path) || covers(path, place));
        around.map(|(_, touch)| touch)
    }

    /// What it is as a source of a generated context.
    pub fn as_source(&self) -> Value {
        match self.state() {
            State::Doc(doc) => doc.clone(),
            State::Fields(fields) => {
                let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                let value = |bytes: &Vec<u8>| serde_json::from_slice(bytes).unwrap_or_else(|_| json!(text(bytes)));
                Value::Object(fields.iter().map(|(name, bytes)| (text(name), value(bytes))).collect())
            }
        }
    }
}

/// A change as watchers were told of it, applied to the document before it: the new document, and
/// the places that changed.
pub fn retold(before: &Value, edits: &Value) -> Option<(Value, BTreeSet<String>)> {
    let (mut now, mut places) = (before.clone(), BTreeSet::new());
    for edit in edits.as_array()? {
        let path = edit["path"].as_str()?;
        let names = parts(path);
        let parent = &names[..names.len().saturating_sub(1)];
        let in_array = !names.is_empty() && json::get(&now, parent).is_some_and(Value::is_array);
        let deed = match edit["op"].as_str()? {
            "set" => Deed::Put(edit.get("value")?.clone()),
            "insert" => Deed::Add(edit.get("value")?.clone()),
            _ => Deed::Remove,
        };
        let moves = in_array && !matches!(deed, Deed::Put(_));
        places.insert(if moves { pointer(parent) } else { path.into() });
        now = json::with(&now, &names, deed)?;
    }
    Some((now, places))
}

/// The documents merged into one. Where they differ, the one that was touched last wins, and of
/// equal ones the later.
pub fn merged(path: &str, sources: &[(Value, &Thing)]) -> Option<Value> {
    let winner = sources.iter().enumerate().max_by_key(|(at, (_, thing))| (thing.touched_at(path), *at))?;
    if !winner.1 .0.is_object() {
        return Some(winner.1 .0.clone());
    }
    let names: BTreeSet<&String> =
        sources.iter().filter_map(|(value, _)| value.as_object()).flat_map(Map::keys).collect();
    let member = |name: &String| {
        let inner: Vec<(Value, &Thing)> =
            sources.iter().filter_map(|(value, thing)| Some((value.as_object()?.get(name)?.clone(), *thing))).collect();
        let path = format!("{path}{}", pointer(std::slice::from_ref(name)));
        Some((name.clone(), merged(&path, &inner)?))
    };
    Some(Value::Object(names.into_iter().filter_map(member).collect()))
}
