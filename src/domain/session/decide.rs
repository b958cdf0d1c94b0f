//! What clients may do to the fields of a session.

use super::{Change, Fields, Session};
use crate::domain::entity::event_json::json_text;
use crate::domain::json::Value;
use crate::domain::limits::FIELD_NAME_BYTES_MAX;
use crate::domain::versioned::{decide, Version, VersionedEvent};
use crate::domain::{Bytes, Error, Millis};
use ahash::{AHashMap, AHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// The bounds of a session.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Fields.
    pub fields_max: u64,
    /// Bytes of all names and values.
    pub bytes_max: u64,
}

/// How many changes are looked at for a conflict.
const LOOKED_AT_MAX: usize = 2_000;
/// How many fields a conflict names.
const NAMED_MAX: usize = 32;

/// What is left of a `change` that sets fields to these values: the fields that have another value.
/// Errs if they cannot be set. Of several values for a field, the last one counts.
pub fn set<'a>(
    session: Option<&Session>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    change: Change,
    expected: Option<Version>,
    bounds: &Bounds,
) -> Result<Change, Error> {
    if let Some(session) = session {
        decide::check_open(session)?;
    }
    decide::check_version(session, expected, changed_since)?;
    fields.clone().try_for_each(|(name, _)| check_name(name))?;
    let state = session.map(Session::state);
    let change = match state {
        Some(state) => without_known(state, change),
        None => change,
    };
    if change.is_empty() {
        return Ok(change);
    }
    check_bounds(state, fields, bounds)?;
    session.map_or(Ok(()), decide::check_history)?;
    Ok(change)
}

/// Leaves out the fields that have their value already.
fn without_known(state: &Fields, change: Change) -> Change {
    let is_known = |(name, value): &(Bytes, Option<Bytes>)| state.get(name) == value.as_ref();
    if !change.iter().any(is_known) {
        return change;
    }
    // Nearly always it is the only one. Else an earlier value of the same field must not win.
    if change.len() == 1 {
        return Change::default();
    }
    let last: BTreeMap<Bytes, Option<Bytes>> = change.into_iter().collect();
    last.into_iter().filter(|field| !is_known(field)).collect()
}

/// The change that sets fields, if that is possible.
pub fn change_to<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Change {
    fields.map(|(name, value)| (Bytes::from(name), Some(Bytes::from(value)))).collect()
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    Error::check_length("field", name.len(), FIELD_NAME_BYTES_MAX)
}

fn check_bounds<'a>(
    state: Option<&Fields>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    bounds: &Bounds,
) -> Result<(), Error> {
    let (mut count, mut bytes) = (state.map_or(0, Fields::count), state.map_or(0, Fields::text_bytes));
    // Nearly always there is room for everything, whatever was there before.
    let all = fields
        .clone()
        .fold((count, bytes), |(count, bytes), (name, value)| (count + 1, bytes + name.len() + value.len()));
    if all.0 as u64 <= bounds.fields_max && all.1 as u64 <= bounds.bytes_max {
        return Ok(());
    }
    // Of several values for a field, the last one counts.
    for (name, value) in fields.collect::<AHashMap<_, _>>() {
        match state.and_then(|state| state.get(name)) {
            Some(before) => bytes -= before.len(),
            None => (count, bytes) = (count + 1, bytes + name.len()),
        }
        bytes += value.len();
    }
    if count as u64 > bounds.fields_max {
        return Err(Error::limit("session-fields-max", "so many fields of one session", bounds.fields_max));
    }
    if bytes as u64 > bounds.bytes_max {
        return Err(Error::limit("session-bytes-max", &format!("{bytes} bytes in one session"), bounds.bytes_max));
    }
    Ok(())
}

/// Deletes those of the fields that exist. `None` if none does.
pub fn delete(
    session: &Session,
    names: &[&[u8]],
    at: Millis,
) -> Result<Option<(VersionedEvent<Fields>, usize)>, Error> {
    decide::check_open(session)?;
    let known: BTreeSet<&[u8]> = names.iter().copied().filter(|name| session.state().get(name).is_some()).collect();
    if known.is_empty() {
        return Ok(None);
    }
    decide::check_history(session)?;
    let count = known.len();
    let change = known.into_iter().map(|name| (Bytes::from(name), None)).collect();
    let version = session.version() + 1;
    Ok(Some((VersionedEvent::Changed { version, at, by: Bytes::EMPTY, change, ttl_ms: None }, count)))
}

/// The fields of a new session with `STATE json`, an object: text members become their text, other
/// members their JSON.
pub fn first_state(state: Value, bounds: &Bounds) -> Result<Fields, Error> {
    let Value::Object(members) = state else {
        return Err(Error::usage("STATE is no JSON object, allowed is an object with a member for each field"));
    };
    let mut fields = BTreeMap::new();
    for (name, value) in &members {
        check_name(name.as_bytes())?;
        let value = match value {
            Value::String(text) => Bytes::from(&**text),
            other => Bytes::from(other.to_string().as_str()),
        };
        fields.insert(Bytes::from(&**name), value);
    }
    check_bounds(None, fields.iter().map(|(name, value)| (&name[..], &value[..])), bounds)?;
    Ok(Fields::from(fields))
}

/// Whether all fields are now what they were at a version; false if that is not known.
pub fn is_as_at(session: &Session, version: Version) -> bool {
    let Some(way) = session.history().way_back(version) else { return false };
    // Of several old values of a field, the oldest is that of the version.
    let mut seen = AHashSet::new();
    let mut oldest = way.iter().rev().flat_map(|step| step.undo.iter()).filter(|(name, _)| seen.insert(*name));
    oldest.all(|(name, value)| session.state().get(name) == value.as_ref())
}

/// The names of the fields that have changed since a version, as JSON texts; `None` if
/// it is not known.
pub fn changed_since(session: &Session, version: Version) -> Option<String> {
    let way = session.history().way_back(version)?;
    let names: BTreeSet<&Bytes> = way.iter().flat_map(|step| step.undo.names()).take(LOOKED_AT_MAX).collect();
    let shown: Vec<String> = names.iter().take(NAMED_MAX).map(|name| json_text(name)).collect();
    let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
    Some(format!("{}{more}", shown.join(", ")))
}
