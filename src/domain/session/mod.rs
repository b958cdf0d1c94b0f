//! Session state: the fields of one piece of work, and how to restore them.
//!
//! A session is a [`Versioned`] value whose state is a map of fields to bytes. Its participants,
//! resources, statuses, checkpoints and life are those of every versioned value, see
//! [`versioned`](crate::domain::versioned).

pub mod decide;

use super::limits::{FIELDS_END, FIELD_BYTES_MAX};
use super::versioned::{Names, Stamp, State, Undo, Version, Versioned};
use super::{Bytes, Code, Error, Invariant, Service};
use crate::domain::algorithm::allocator::tree_bytes;
use crate::domain::entity::event_json::EventJson;
use crate::domain::value::inline_list::InlineList;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A session.
pub type Session = Versioned<Fields>;

/// The fields of a session, ordered by name.
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

/// Fields with their new values; `None` for a deleted field.
pub type Change = InlineList<(Bytes, Option<Bytes>)>;

/// The old values of fields. Most versions change one field, and there are many versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Was>", into = "Vec<Was>")]
pub struct Before {
    /// Empty if there are many.
    few: InlineList<Was>,
    many: Option<Box<Many>>,
}

/// A field with its old value; `None` if there was none.
type Was = (Bytes, Option<Bytes>);

/// More fields than this are looked up in a map.
const FEW: usize = 16;

/// The old values of many fields.
#[derive(Debug, Clone, Default, PartialEq)]
struct Many {
    map: BTreeMap<Bytes, Option<Bytes>>,
    /// Bytes allocated by the names and values.
    bytes: usize,
}

impl Many {
    fn push(&mut self, was: Was) {
        if !self.map.contains_key(&was.0) {
            self.bytes += was_bytes(&was);
            self.map.insert(was.0, was.1);
        }
    }
}

fn was_bytes((name, value): &Was) -> usize {
    name.heap_bytes() + value.as_ref().map_or(0, Bytes::heap_bytes)
}

impl From<Vec<Was>> for Before {
    fn from(fields: Vec<Was>) -> Self {
        let mut before = Before::with_room(fields.len());
        fields.into_iter().for_each(|was| before.push(was));
        before
    }
}

impl From<Before> for Vec<Was> {
    fn from(before: Before) -> Self {
        before.few.into_iter().chain(before.many.into_iter().flat_map(|many| many.map)).collect()
    }
}

impl Before {
    /// With room for the fields of one change.
    fn with_room(fields: usize) -> Self {
        Before { few: InlineList::with_room(fields.min(FEW)), many: None }
    }

    fn iter(&self) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        let many = self.many.iter().flat_map(|many| &many.map);
        self.few.iter().map(|(name, value)| (name, value)).chain(many)
    }

    /// The fields that it restores.
    pub fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.iter().map(|(name, _)| name)
    }

    /// Adds the old value of a field, unless an older one is known.
    fn push(&mut self, was: Was) {
        if let Some(many) = &mut self.many {
            many.push(was);
        } else if self.few.iter().all(|(known, _)| *known != was.0) {
            if self.few.len() < FEW {
                return self.few.push(was);
            }
            let mut many = Many::default();
            std::mem::take(&mut self.few).into_iter().chain([was]).for_each(|was| many.push(was));
            self.many = Some(Box::new(many));
        }
    }
}

impl Undo for Before {
    fn absorb(&mut self, later: Self) {
        Vec::from(later).into_iter().for_each(|was| self.push(was));
    }

    fn heap_bytes(&self) -> usize {
        let few = self.few.heap_bytes() + self.few.iter().map(was_bytes).sum::<usize>();
        let many = self
            .many
            .as_ref()
            .map_or(0, |many| size_of::<Many>() + many.bytes + many.map.len() * size_of::<Was>() * 4 / 3);
        few + many
    }

    fn is_within_bounds(&self) -> bool {
        self.iter().all(|(name, value)| is_field(name, value.as_ref()))
    }
}

fn is_field(name: &Bytes, value: Option<&Bytes>) -> bool {
    name.len() <= FIELD_BYTES_MAX && value.is_none_or(|value| value.len() <= FIELD_BYTES_MAX)
}

impl Fields {
    /// The value of a field.
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.map.get(name)
    }

    /// All fields, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.map.iter()
    }

    /// The number of fields.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Bytes of all names and values.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Bytes of the texts of a field, and bytes allocated for them.
    fn sizes(name: &Bytes, value: &Bytes) -> (usize, usize) {
        (name.len() + value.len(), name.heap_bytes() + value.heap_bytes())
    }

    fn set(&mut self, name: &Bytes, value: Option<Bytes>) -> Option<Bytes> {
        if let Some(value) = &value {
            let (text, heap) = Self::sizes(name, value);
            (self.text_bytes, self.heap_bytes) = (self.text_bytes + text, self.heap_bytes + heap);
        }
        let before = match (self.map.get_mut(name), value) {
            (Some(known), Some(value)) => Some(std::mem::replace(known, value)),
            (None, Some(value)) => self.map.insert(name.clone(), value),
            (_, None) => self.map.remove(name),
        };
        if let Some(before) = &before {
            let (text, heap) = Self::sizes(name, before);
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
    const KEYS: &'static str = "sessions";
    const MISSING: Code = Code::NoSession;
    const RECOVERS: bool = true;
    const UNDOES_ANYTHING: bool = true;
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

    fn apply(&mut self, change: Change, _stamp: &Stamp) -> Before {
        let mut before = Before::with_room(change.len());
        for (name, value) in change {
            let was = self.set(&name, value);
            before.push((name, was));
        }
        before
    }

    fn undo(&mut self, undo: &Before) -> Option<Before> {
        let mut back = Before::with_room(undo.few.len());
        for (name, value) in undo.iter() {
            let was = self.set(name, value.clone());
            back.push((name.clone(), was));
        }
        Some(back)
    }

    fn admit(change: &Change) -> Result<(), Error> {
        let all_fit = change.iter().all(|(name, value)| is_field(name, value.as_ref()));
        if all_fit && change.len() <= FIELDS_END {
            return Ok(());
        }
        Err(Error::usage("payload holds fields of a session that are out of bounds"))
    }

    fn describe(change: &Change, json: &mut EventJson) {
        // Values are any bytes and may be large. A watcher that needs one reads it.
        let named = |is_deleted: bool| change.iter().filter(move |(_, value)| value.is_none() == is_deleted);
        for (what, is_deleted) in [("set", false), ("deleted", true)] {
            if named(is_deleted).next().is_some() {
                json.texts(what, named(is_deleted).map(|(name, _)| name));
            }
        }
    }

    fn changed_since(value: &Session, version: Version) -> Option<String> {
        decide::changed_since(value, version)
    }

    fn is_as_at(value: &Session, version: Version) -> bool {
        decide::is_as_at(value, version)
    }

    fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes + tree_bytes(self.map.len(), size_of::<(Bytes, Bytes)>())
    }

    fn free_effort(&self) -> usize {
        self.map.len()
    }

    fn check(&self) -> Result<(), Invariant> {
        let sizes = self.map.iter().map(|(name, value)| Self::sizes(name, value));
        let (text, heap) = sizes.fold((0, 0), |(text, heap), (more, more_heap)| (text + more, heap + more_heap));
        let is_counted = (text, heap) == (self.text_bytes, self.heap_bytes);
        let fits = self.map.len() <= FIELDS_END && self.iter().all(|(name, value)| is_field(name, Some(value)));
        if is_counted && fits {
            Ok(())
        } else {
            Err(Invariant("the counted bytes differ from the fields, or there is more than allowed".into()))
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

#[cfg(any(test, feature = "test-hooks"))]
impl crate::domain::versioned::faults::BreakableState for Fields {
    const PARTS: &'static [&'static str] = &["text-bytes", "heap-bytes"];

    fn break_part(&mut self, part: &str) {
        match part {
            "text-bytes" => self.text_bytes += 1,
            _ => self.heap_bytes += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(fields: std::ops::Range<usize>, value: &str) -> Change {
        let field = |n: usize| (Bytes::from(format!("field-{n}").as_str()), Some(Bytes::from(value)));
        fields.map(field).collect()
    }

    #[test]
    fn what_few_and_many_fields_were_is_brought_back() {
        let by = Bytes::EMPTY;
        let stamp = Stamp { version: 1, at: 1, by: &by };
        for count in [1, 2, FEW, FEW + 1, 3 * FEW] {
            let mut fields = Fields::default();
            fields.apply(change(0..count / 2, "what it was before, and longer than what is kept inline"), &stamp);
            let before = fields.clone();
            let mut undo = fields.apply(change(0..count, "first"), &stamp);
            undo.absorb(fields.apply(change(count / 2..count + 3, "then"), &stamp));
            assert_eq!(undo.names().count(), count + 3);
            let saved = Before::from(Vec::from(undo.clone()));
            assert_eq!((saved.heap_bytes(), &saved), (undo.heap_bytes(), &undo), "{count}");
            assert!(fields.undo(&undo).is_some() && fields.check().is_ok());
            assert_eq!(fields, before, "{count}");
        }
    }
}
