//! Session state: the fields of one piece of work, and how to restore them.
//!
//! A session is a [`Versioned`] value whose state is a map of fields to bytes. Its participants,
//! resources, statuses, checkpoints and life are those of every versioned value, see
//! [`versioned`](crate::domain::versioned).

pub mod decide;

use super::limits::{EVENT_NAMES_BYTES_MAX, FIELDS_END, FIELD_BYTES_MAX, HISTORY_FIELDS_MAX};
use super::versioned::{Names, Stamp, State, Undo, Version, Versioned};
use super::{Bytes, Code, Error, Invariant, Service};
use crate::domain::algorithm::tree::{room_for, Measure, Tree};
use crate::domain::entity::event_json::EventJson;
use crate::domain::value::inline_list::InlineList;
use ahash::AHashMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::btree_map::{BTreeMap, Entry};

/// A session.
pub type Session = Versioned<Fields>;

/// The fields of a session, ordered by name. A clone shares them; a write beside it costs its path.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<Bytes, Bytes>")]
pub struct Fields {
    map: Tree<Bytes, Bytes, Size>,
}

/// What fields take.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Size {
    /// Bytes of names and values.
    text: usize,
    /// Bytes allocated for them.
    heap: usize,
}

impl Measure<Bytes, Bytes> for Size {
    fn of(name: &Bytes, value: &Bytes) -> Self {
        Self { text: name.len() + value.len(), heap: name.heap_bytes() + value.heap_bytes() }
    }
    fn and(self, other: Self) -> Self {
        Self { text: self.text + other.text, heap: self.heap + other.heap }
    }
    fn without(self, part: Self) -> Option<Self> {
        // A broken size is mended, and until then counts nothing.
        Some(Self { text: self.text.saturating_sub(part.text), heap: self.heap.saturating_sub(part.heap) })
    }
}

impl From<BTreeMap<Bytes, Bytes>> for Fields {
    fn from(map: BTreeMap<Bytes, Bytes>) -> Self {
        Fields { map: Tree::of_ordered(map.into_iter().collect()) }
    }
}

/// As a map.
impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.map.iter())
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
    changes: usize,
}

impl Many {
    fn push(&mut self, was: Was) {
        let (bytes, changes) = (was_bytes(&was), changes_of(&was.0));
        if let Entry::Vacant(place) = self.map.entry(was.0) {
            place.insert(was.1);
            (self.bytes, self.changes) = (self.bytes + bytes, self.changes + changes);
        }
    }
}

impl From<BTreeMap<Bytes, Option<Bytes>>> for Many {
    fn from(map: BTreeMap<Bytes, Option<Bytes>>) -> Self {
        let bytes = map.iter().map(|(name, value)| heap_bytes(name, value)).sum();
        let changes = map.keys().map(changes_of).sum();
        Self { map, bytes, changes }
    }
}

/// How many changes the change of a field counts for: going back over it compares its name.
fn changes_of(name: &Bytes) -> usize {
    const NAME_BYTES: usize = 256;
    1 + name.len() / NAME_BYTES
}

fn was_bytes((name, value): &Was) -> usize {
    heap_bytes(name, value)
}

fn heap_bytes(name: &Bytes, value: &Option<Bytes>) -> usize {
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

    /// Adds the old values of fields, each of which comes once.
    fn extend(&mut self, fields: Vec<Was>) {
        if fields.len() <= FEW || self.changes() > 0 {
            return fields.into_iter().for_each(|was| self.push(was));
        }
        self.many = Some(Box::new(fields.into_iter().collect::<BTreeMap<_, _>>().into()));
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

/// Each field with the oldest of its old values: of all of them, that is the one to restore. They
/// are in the order in which they come first.
fn oldest<'a>(way: &[&'a Before]) -> Vec<(&'a Bytes, &'a Option<Bytes>)> {
    let all = way.iter().flat_map(|before| before.iter());
    if way.len() < 2 {
        return all.collect();
    }
    let mut oldest: Vec<(&Bytes, &Option<Bytes>)> = Vec::new();
    let changes = way.iter().map(|before| before.changes()).sum();
    let mut places: AHashMap<&Bytes, usize> = AHashMap::with_capacity(changes);
    for (name, value) in all {
        let place = *places.entry(name).or_insert(oldest.len());
        match oldest.get_mut(place) {
            Some(known) => known.1 = value,
            None => oldest.push((name, value)),
        }
    }
    oldest
}

impl Undo for Before {
    const CHANGES_MAX: usize = HISTORY_FIELDS_MAX;

    fn changes(&self) -> usize {
        let few: usize = self.few.iter().map(|(name, _)| changes_of(name)).sum();
        few + self.many.as_ref().map_or(0, |many| many.changes)
    }

    fn absorb(&mut self, mut later: Self) {
        if let (Some(many), Some(more)) = (&mut self.many, &mut later.many) {
            // Each is in order. What is known counts.
            if more.map.len() > many.map.len() / 8 {
                more.map.append(&mut many.map);
                **many = std::mem::take(&mut more.map).into();
                return;
            }
        }
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
        self.map.value_of_text(name)
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
        self.map.measure().text
    }

    fn set(&mut self, name: &Bytes, value: Option<Bytes>) -> Option<Bytes> {
        match (self.map.find_text(name), value) {
            (Ok(at), Some(value)) => self.map.change(at, |known| std::mem::replace(known, value)),
            (Ok(at), None) => self.map.remove(at).map(|(_, value)| value),
            (Err(at), Some(value)) => {
                self.map.insert(at, name.clone(), value);
                None
            }
            (Err(_), None) => None,
        }
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

    fn go_back(&mut self, way: &[&Before], back: Option<&mut Before>) -> Option<()> {
        let oldest = oldest(way);
        let Some(back) = back else {
            oldest.into_iter().for_each(|(name, value)| drop(self.set(name, value.clone())));
            return Some(());
        };
        let undone = oldest.into_iter().map(|(name, value)| (name.clone(), self.set(name, value.clone())));
        back.extend(undone.collect());
        Some(())
    }

    fn admit(change: &Change) -> Result<(), Error> {
        let all_fit = change.iter().all(|(name, value)| is_field(name, value.as_ref()));
        if all_fit && change.len() <= FIELDS_END {
            return Ok(());
        }
        Err(Error::usage("payload holds fields of a session that are out of bounds"))
    }

    fn describe(change: &Change, json: &mut EventJson) {
        // Values are any bytes and may be large. A watcher that needs one reads it. Names that are
        // very long together are left out: then the event concerns all fields.
        if change.iter().map(|(name, _)| name.len()).sum::<usize>() > EVENT_NAMES_BYTES_MAX {
            return;
        }
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
        self.map.measure().heap + room_for::<Bytes, Bytes, Size>(self.map.len())
    }

    fn free_effort(&self) -> usize {
        self.map.len()
    }

    fn check(&self) -> Result<(), Invariant> {
        let fits = self.map.len() <= FIELDS_END && self.iter().all(|(name, value)| is_field(name, Some(value)));
        if fits && self.map.is_sound() {
            Ok(())
        } else {
            Err(Invariant(
                "the order or the size of the fields differs from them, or there is more than allowed".into(),
            ))
        }
    }

    fn rebuild(&mut self) {
        self.map = Tree::of_ordered(self.map.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    }
}

#[cfg(any(test, feature = "test-hooks"))]
impl crate::domain::versioned::faults::BreakableState for Fields {
    const PARTS: &'static [&'static str] = &["text-bytes", "heap-bytes"];

    fn break_part(&mut self, part: &str) {
        let is_text = part == "text-bytes";
        self.map.break_measure(Size { text: usize::from(is_text), heap: usize::from(!is_text) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::versioned::{Created, Keep, Life, VersionedEvent};
    use crate::domain::Entity;

    fn change(fields: std::ops::Range<usize>, value: &str) -> Change {
        let field = |n: usize| (Bytes::from(format!("field-{n}").as_str()), Some(Bytes::from(value)));
        fields.map(field).collect()
    }

    fn session(keep: Keep) -> Session {
        let (owner, meta, participants, life) = (Bytes::EMPTY, Bytes::EMPTY, Vec::new(), Life::default());
        let created = Created {
            at: 1,
            owner,
            state: Default::default(),
            version: 1,
            meta,
            participants,
            life,
            keep,
            stays: true,
        };
        let mut session = Session::default();
        session.apply(&VersionedEvent::Created(Box::new(created)));
        session
    }

    fn happen(session: &mut Session, change: Change) {
        let (version, by) = (session.version() + 1, Bytes::EMPTY);
        session.apply(&VersionedEvent::Changed { version, at: version, by, change, ttl_ms: None });
    }

    fn mark(session: &mut Session, id: u64) {
        session.apply(&VersionedEvent::Checkpointed { at: 1, id, name: Bytes::EMPTY, is_pinned: false });
    }

    #[test]
    fn a_write_beside_a_fork_shares_the_rest() {
        let mut session = session(Keep { versions_max: 10, bytes_max: 1 << 30 });
        happen(&mut session, change(0..5000, "a value that is longer than what is kept inline"));
        let fork = session.clone();
        assert!(session.shares_state_with(&fork));
        happen(&mut session, change(7..8, "x"));
        happen(&mut session, change(9999..10_000, "x"));
        let looked_at = fork.state().map.differences(&session.state().map).count();
        assert!(looked_at < 200, "{looked_at}");
        assert_eq!((fork.state().count(), session.state().count()), (5000, 5001));
        assert!(fork.check().is_ok() && session.check().is_ok());
    }

    #[test]
    fn the_changes_of_a_history_are_bounded() {
        let mut session = session(Keep { versions_max: 1000, bytes_max: 1 << 30 });
        for n in 0..30 {
            mark(&mut session, n + 1);
            happen(&mut session, change(0..1000, &n.to_string()));
        }
        assert_eq!((session.history().changes(), session.history().checkpoints().len()), (HISTORY_FIELDS_MAX, 20));
        session.apply(&VersionedEvent::Restored { version: 32, at: 1, by: Bytes::EMPTY, checkpoint: 12 });
        assert_eq!(session.state().get(b"field-5"), Some(&Bytes::from("10")));
        assert_eq!(session.check(), Ok(()));
        assert!(session.history().changes() <= HISTORY_FIELDS_MAX && session.at_version(1).is_none());
    }

    /// Fields come and go, change and change back, and some steps are about many.
    #[test]
    fn going_back_at_once_is_going_back_step_by_step() {
        let stamp = Stamp { version: 1, at: 1, by: &Bytes::EMPTY };
        for rounds in [1, 2, 3, 10] {
            let mut fields = Fields::default();
            fields.apply(change(0..40, "first"), &stamp);
            let mut undos = Vec::new();
            for n in 0..rounds {
                let places = (n * 7)..(n * 7 + if n % 3 == 0 { 50 } else { 3 });
                let value = |at: usize| (at % 4 != n % 4).then(|| Bytes::from(format!("{}", n / 2).as_str()));
                let named = change(places.clone(), "").into_iter().zip(places);
                undos.push(fields.apply(named.map(|((name, _), at)| (name, value(at))).collect(), &stamp));
            }
            let way: Vec<&Before> = undos.iter().rev().collect();
            let (mut one, mut other, mut back, mut expected) =
                (fields.clone(), fields.clone(), Before::default(), Before::default());
            way.iter().for_each(|undo| expected.absorb(other.undo(undo).expect("it fits")));
            assert_eq!(one.go_back(&way, Some(&mut back)), Some(()));
            assert_eq!((&one, &back, back.heap_bytes()), (&other, &expected, expected.heap_bytes()), "{rounds}");
            assert_eq!(Vec::from(back.clone()), Vec::from(expected));
            assert!(one.check().is_ok() && one.undo(&back).is_some() && one == fields, "{rounds}");
        }
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
