//! Session state: the fields of one piece of work, and how to get them back.
//!
//! A session is a [`Versioned`] value whose state is a map of fields with any bytes. Who takes part in it, what belongs to it, its statuses,
//! checkpoints and life are those of every versioned value, see [`versioned`](crate::domain::versioned).

pub mod decide;

use super::limits::{FIELDS_END, FIELD_BYTES_MAX};
use super::versioned::{Names, Stamp, State, Undo, Version, Versioned};
use super::watch::{json_text, Story};
use super::{Bytes, Code, Error, Invariant, Service};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A session.
pub type Session = Versioned<Fields>;

/// The fields of a session, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Bytes, Bytes>", into = "BTreeMap<Bytes, Bytes>")]
pub struct Fields {
    map: BTreeMap<Bytes, Bytes>,
    /// Bytes of names and values.
    text_bytes: usize,
    heap_bytes: usize,
}

impl From<BTreeMap<Bytes, Bytes>> for Fields {
    fn from(map: BTreeMap<Bytes, Bytes>) -> Self {
        let mut fields = Fields { map, ..Fields::default() };
        fields.rebuild();
        fields
    }
}

impl From<Fields> for BTreeMap<Bytes, Bytes> {
    fn from(fields: Fields) -> Self {
        fields.map
    }
}

/// Fields with what they become; `None` is gone.
pub type Change = Vec<(Bytes, Option<Bytes>)>;

/// What fields were.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Was>", into = "Vec<Was>")]
pub struct Before {
    /// Few fields are a list: most versions change one.
    few: Vec<Was>,
    many: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

/// A field with what it was; `None` if there was none.
type Was = (Bytes, Option<Bytes>);

/// More fields than this are looked up in a map.
const FEW: usize = 16;

impl From<Vec<Was>> for Before {
    fn from(fields: Vec<Was>) -> Self {
        let mut before = Before { few: Vec::with_capacity(fields.len().min(FEW)), ..Before::default() };
        fields.into_iter().for_each(|(name, value)| before.push(name, value));
        before
    }
}

impl From<Before> for Vec<Was> {
    fn from(before: Before) -> Self {
        before.few.into_iter().chain(before.many).collect()
    }
}

impl Before {
    /// For the fields of one change.
    fn with_room(fields: usize) -> Self {
        Before { few: Vec::with_capacity(fields.min(FEW)), ..Before::default() }
    }

    fn iter(&self) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.few.iter().map(|(name, value)| (name, value)).chain(&self.many)
    }

    /// The fields that it brings back.
    pub fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.iter().map(|(name, _)| name)
    }

    fn push(&mut self, name: Bytes, value: Option<Bytes>) {
        // What it was first is what counts.
        if self.many.contains_key(&name) || self.few.iter().any(|(known, _)| *known == name) {
            return;
        }
        let value_bytes = value.as_ref().map_or(0, Bytes::heap_bytes);
        self.bytes += name.heap_bytes() + value_bytes;
        if self.many.is_empty() && self.few.len() < FEW {
            self.few.push((name, value));
        } else {
            self.many.extend(std::mem::take(&mut self.few));
            self.many.insert(name, value);
        }
    }
}

impl Undo for Before {
    fn absorb(&mut self, later: Self) {
        later.few.into_iter().chain(later.many).for_each(|(name, value)| self.push(name, value));
    }

    fn heap_bytes(&self) -> usize {
        self.bytes + self.few.len() * size_of::<Was>() + self.many.len() * size_of::<Was>() * 4 / 3
    }
}

impl Fields {
    /// A field.
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.map.get(name)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.map.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Bytes of all names and values.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    fn set(&mut self, name: &Bytes, value: Option<Bytes>) -> Option<Bytes> {
        let count = |name: &Bytes, value: &Bytes| {
            let heap = size_of::<(Bytes, Bytes)>() * 4 / 3 + name.heap_bytes() + value.heap_bytes();
            (name.len() + value.len(), heap)
        };
        if let Some(value) = &value {
            let (text, heap) = count(name, value);
            (self.text_bytes, self.heap_bytes) = (self.text_bytes + text, self.heap_bytes + heap);
        }
        let before = match value {
            Some(value) => self.map.insert(name.clone(), value),
            None => self.map.remove(name),
        };
        if let Some(before) = &before {
            let (text, heap) = count(name, before);
            (self.text_bytes, self.heap_bytes) = (self.text_bytes - text, self.heap_bytes - heap);
        }
        before
    }
}

impl State for Fields {
    type Change = Change;
    type Undo = Before;

    const SERVICE: Service = Service::Session;
    const TYPE_NAME: &'static str = "ltmc-sess";
    const TYPE_TAG: u8 = 4;
    const MISSING: Code = Code::NoSession;
    const RECOVERS: bool = true;
    const NAMES: Names = Names {
        created: "session.created",
        changed: "session.changed",
        restored: "session.restored",
        checkpointed: "session.checkpointed",
        pruned: "session.pruned",
        joined: "session.joined",
        left: "session.left",
        owned: "session.owned",
        disowned: "session.disowned",
        status: "session.status",
        ended: "session.ended",
        returned: "session.returned",
    };

    fn apply(&mut self, change: &Change, _stamp: &Stamp) -> Before {
        let mut before = Before::with_room(change.len());
        for (name, value) in change {
            let was = self.set(name, value.clone());
            before.push(name.clone(), was);
        }
        before
    }

    fn undo(&mut self, undo: &Before) -> Option<Before> {
        let mut back = Before::with_room(undo.few.len());
        for (name, value) in undo.iter() {
            let was = self.set(name, value.clone());
            back.push(name.clone(), was);
        }
        Some(back)
    }

    fn admit(change: &Change) -> Result<(), Error> {
        let fits = |bytes: &Bytes| bytes.len() <= FIELD_BYTES_MAX;
        let all_fit = change.iter().all(|(name, value)| fits(name) && value.as_ref().is_none_or(fits));
        if all_fit && change.len() <= FIELDS_END {
            return Ok(());
        }
        Err(Error::usage("payload holds fields of a session that are out of bounds"))
    }

    fn tell(change: &Change, story: &mut Story) {
        // Values are any bytes and may be large: whoever wants one asks for it.
        let named = |gone: bool| change.iter().filter(move |(_, value)| value.is_none() == gone);
        let texts = |gone: bool| named(gone).map(|(name, _)| json_text(name)).collect::<Vec<_>>();
        for (what, texts) in [("set", texts(false)), ("deleted", texts(true))] {
            if !texts.is_empty() {
                story.list(what, texts.into_iter());
            }
        }
    }

    fn changed_since(value: &Session, version: Version) -> Option<String> {
        decide::changed_since(value, version)
    }

    fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    fn free_effort(&self) -> usize {
        self.map.len()
    }

    fn check(&self) -> Result<(), Invariant> {
        let mut fresh = Fields { map: self.map.clone(), ..Fields::default() };
        fresh.rebuild();
        let is_counted = (fresh.text_bytes, fresh.heap_bytes) == (self.text_bytes, self.heap_bytes);
        let fits = self.map.len() <= FIELDS_END;
        if is_counted && fits {
            Ok(())
        } else {
            Err(Invariant("the counted bytes differ from the fields".into()))
        }
    }

    fn rebuild(&mut self) {
        let map = std::mem::take(&mut self.map);
        (self.text_bytes, self.heap_bytes) = (0, 0);
        for (name, value) in map {
            self.set(&name, Some(value));
        }
    }
}
