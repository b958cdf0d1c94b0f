//! Which places of a document have changed since a version.

use super::Context;
use crate::domain::entity::event_json::json_text;
use crate::domain::json::{Edit, Pointer};
use crate::domain::versioned::Version;
use std::collections::BTreeSet;

/// How many edits are looked at for a conflict.
const LOOKED_AT_MAX: usize = 10_000;
/// How many places a conflict names.
const NAMED_MAX: usize = 32;

/// The places that have changed since `version`, none inside another; `None` if that version is not
/// kept. If there are many, the places around them: every change is at or inside one of them, so a
/// client none of whose places is among them can go on.
fn changed_paths(context: &Context, version: Version) -> Option<BTreeSet<Pointer>> {
    let way = context.history().way_back(version)?;
    let edits: Vec<&Edit> = way.iter().flat_map(|step| step.undo.steps()).take(LOOKED_AT_MAX + 1).collect();
    if edits.len() > LOOKED_AT_MAX {
        return Some(BTreeSet::from([Pointer::default()]));
    }
    let mut paths = outermost(edits.into_iter().map(Edit::seen_at).collect());
    let mut depth = paths.iter().map(Pointer::depth).max().unwrap_or(0);
    while paths.len() > NAMED_MAX && depth > 0 {
        depth -= 1;
        paths = outermost(paths.iter().map(|path| path.cut(depth)).collect());
    }
    Some(paths)
}

/// Ordered by text, a place comes before the places inside it, though not always right before.
fn outermost(paths: BTreeSet<Pointer>) -> BTreeSet<Pointer> {
    let is_inside = |path: &Pointer| (0..path.depth()).any(|depth| paths.contains(&path.cut(depth)));
    paths.iter().filter(|path| !is_inside(path)).cloned().collect()
}

/// The places that have changed since `version`, for a conflict.
pub fn changed_since(context: &Context, version: Version) -> Option<String> {
    let paths = changed_paths(context, version)?;
    let shown: Vec<String> = paths.iter().map(|path| json_text(path.text().as_bytes())).collect();
    Some(shown.join(", "))
}
