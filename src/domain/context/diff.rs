//! What has changed in a document since a version: as paths, and as a merge patch.
//!
//! Only the parts that have changed are looked at: they are copied into a small document of their own, and the history is undone there.

use super::Context;
use crate::domain::json::pointer::step;
use crate::domain::json::{merge, Document, Edit, Json, Pointer};
use crate::domain::versioned::Version;
use crate::domain::watch::json_text;
use crate::domain::Error;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most edits that are looked at for a conflict.
const LOOKED_AT_MAX: usize = 10_000;
/// Most paths that a conflict names.
const NAMED_MAX: usize = 32;

/// The places that have changed since `version`, none inside another; `None` if that version is not known.
pub fn changed_paths(context: &Context, version: Version) -> Option<BTreeSet<Pointer>> {
    let way = context.history().way_back(version)?;
    let edits = way.iter().flat_map(|step| step.undo.steps()).take(LOOKED_AT_MAX);
    Some(outermost(edits.map(Edit::seen_at).collect()))
}

/// In the order of their texts a place comes before those inside it, though not always right before.
fn outermost(paths: BTreeSet<Pointer>) -> BTreeSet<Pointer> {
    let is_inside = |path: &Pointer| (0..path.depth()).any(|depth| paths.contains(&path.cut(depth)));
    paths.iter().filter(|path| !is_inside(path)).cloned().collect()
}

/// The places that have changed since `version`, for a conflict.
pub fn changed_since(context: &Context, version: Version) -> Option<String> {
    let paths = changed_paths(context, version)?;
    let shown: Vec<String> = paths.iter().take(NAMED_MAX).map(|path| json_text(path.text().as_bytes())).collect();
    let more = if paths.len() > NAMED_MAX { ", ..." } else { "" };
    Some(format!("{}{more}", shown.join(", ")))
}

/// The version is not kept.
pub fn not_kept(context: &Context, version: Version) -> Error {
    let (current, recent) = (context.version(), context.history().recent_versions() as u64);
    let oldest = current - recent;
    Error::usage(format!(
        "version {version} is not kept: there are {oldest} to {current}, and those of checkpoints; read the whole context"
    ))
}

/// The merge patch that leads from `version` to now, of the whole document or of what is at `path`.
pub fn diff(context: &Context, version: Version, path: &Pointer) -> Result<Value, Error> {
    let way = context.history().way_back(version).ok_or_else(|| not_kept(context, version))?;
    let now = context.state().root();
    let all: BTreeSet<Pointer> = way.iter().flat_map(|step| step.undo.steps()).map(Edit::seen_at).collect();
    // A merge patch replaces arrays as a whole.
    let places = outermost(all.iter().map(|place| up_to_array(now, place)).collect());
    let mut part = Value::Object(Map::new());
    for place in &places {
        copy_way(now, &mut part, place);
    }
    let mut past = Document::new(part.clone());
    for edit in way.iter().flat_map(|step| step.undo.steps()) {
        past.apply(edit.clone());
    }
    let (before, after) = (path.find(past.root()), path.find(&part));
    let patch = match (before, after) {
        (Some(before), Some(after)) => merge::between(before, after),
        (None, Some(after)) => Some(after.clone()),
        (Some(_), None) => Some(Value::Null),
        // Nothing at or below the path has changed.
        (None, None) => None,
    };
    Ok(patch.unwrap_or_else(|| Value::Object(Map::new())))
}

/// The place, or the first array on the way to it.
fn up_to_array(root: &Value, place: &Pointer) -> Pointer {
    let mut value = root;
    for (depth, part) in place.parts().enumerate() {
        if value.is_array() {
            return place.cut(depth);
        }
        match step(value, &part) {
            Some(next) => value = next,
            None => return place.clone(),
        }
    }
    place.clone()
}

/// Copies what is at `place`, with the objects on the way to it but without what else is in them.
fn copy_way(from: &Value, to: &mut Value, place: &Pointer) {
    let (mut from, mut to) = (Some(from), to);
    for part in place.parts() {
        if !to.is_object() {
            *to = Value::Object(Map::new());
        }
        let Value::Object(members) = to else { return };
        let Some(next) = from.and_then(|from| step(from, &part)) else { return };
        from = Some(next);
        to = members.entry(part.into_owned()).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(value) = from {
        *to = value.clone();
    }
}

/// The values at several paths, each under its path; those where nothing is are left out.
pub fn values_at(root: &Value, paths: &[Pointer]) -> Json {
    let found = paths.iter().filter_map(|path| Some((path.text().to_string(), path.find(root)?.clone())));
    Json(Value::Object(found.collect()))
}
