//! The part of a context that one agent should see: what matters most to it, within a number of bytes.
//!
//! The document is cut into pieces. Each is worth its weight (from `META`), more if it was touched lately, and more if the agent itself touched
//! it. The best are taken as long as they fit. All of it is whole-number arithmetic over the state, so every node builds the same.

use super::touches::{recency, Touches};
use crate::domain::json::document::{text_bytes, Size};
use crate::domain::json::{Document, Edit, Json, Pointer};
use crate::domain::versioned::Version;
use serde_json::{Map, Value};

/// What was built.
#[derive(Debug, PartialEq)]
pub struct Built {
    /// The part.
    pub doc: Value,
    /// The places that did not fit, in the order of their paths.
    pub left_out: Vec<Pointer>,
}

/// For whom and from what.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// For whom; empty if for nobody in particular.
    pub agent: &'a [u8],
    /// Bytes of JSON text; `None` for no bound.
    pub budget: Option<usize>,
    /// `META` of the context, for its `weights`.
    pub meta: &'a Value,
    /// Who touched what.
    pub touches: &'a Touches,
    /// The current version.
    pub version: Version,
}

/// A part of the document that is taken as a whole or left out.
struct Piece<'a> {
    path: Pointer,
    value: &'a Value,
    worth: u64,
}

/// Builds a part of `root`: of all of it, or of what is at `paths`.
pub fn build(root: &Value, paths: &[Pointer], wish: &Wish) -> Built {
    let mut pieces = Vec::new();
    // A piece should be small beside the budget, so that something fits.
    let small = wish.budget.map_or(usize::MAX, |budget| (budget / 16).max(64));
    let whole = [Pointer::default()];
    let asked = if paths.is_empty() { &whole[..] } else { paths };
    let is_inside = |path: &&Pointer| asked.iter().any(|other| other != *path && other.covers(path));
    for path in asked.iter().filter(|path| !is_inside(path)) {
        if let Some(value) = path.find(root) {
            cut(path.clone(), value, small, wish, &mut pieces);
        }
    }
    pieces.sort_by(|one, other| other.worth.cmp(&one.worth).then_with(|| one.path.cmp(&other.path)));
    pieces.dedup_by(|one, other| one.path == other.path);
    let mut built = Document::new(Value::Object(Map::new()));
    let (mut bytes, mut left_out) = ("{}".len(), Vec::new());
    for piece in pieces {
        let more = wish.budget.map_or(0, |_| bytes_with(built.root(), bytes, &piece));
        let fits = wish.budget.is_none_or(|budget| more <= budget);
        if fits && place(&mut built, &piece.path, piece.value.clone()) {
            bytes = more;
        } else {
            left_out.push(piece.path);
        }
    }
    left_out.sort();
    Built { doc: built.into_root(), left_out }
}

fn cut<'a>(path: Pointer, value: &'a Value, small: usize, wish: &Wish, pieces: &mut Vec<Piece<'a>>) {
    match value {
        Value::Object(members) if !members.is_empty() && (path.is_root() || Size::of(value).text > small) => {
            for (name, member) in members {
                cut(path.child(name), member, small, wish, pieces);
            }
        }
        value => pieces.push(Piece { worth: worth(&path, wish), path, value }),
    }
}

fn worth(path: &Pointer, wish: &Wish) -> u64 {
    let touch = wish.touches.last(path);
    let recent = touch.map_or(0, |touch| recency(touch.version, wish.version));
    let own = wish.touches.around(path).flat_map(|touch| &touch.by).filter(|(agent, _)| **agent == *wish.agent);
    let own = own.map(|(_, version)| recency(*version, wish.version)).max().unwrap_or(0);
    weight(path, wish.meta) * (1000 + recent + own)
}

/// The weight that `META {"weights":{"/path":n}}` gives a place: that of the place itself or of the closest one around it, 1 if there is
/// none. Thousandths.
fn weight(path: &Pointer, meta: &Value) -> u64 {
    let weights = meta.get("weights").and_then(Value::as_object);
    let of = |depth: usize| weights?.get(path.cut(depth).text())?.as_f64();
    let found = (0..=path.depth()).rev().find_map(of).unwrap_or(1.0);
    (found.clamp(0.0, 1_000_000.0) * 1000.0) as u64
}

/// The bytes of the part, which has so many now, when it has this piece, too, with the objects on the way to it.
fn bytes_with(part: &Value, bytes: usize, piece: &Piece) -> usize {
    if piece.path.is_root() {
        return text_bytes(piece.value);
    }
    let mut bytes = bytes + text_bytes(piece.value);
    let mut around = Some(part);
    for name in piece.path.parts() {
        let members = around.and_then(Value::as_object);
        let member = members.and_then(|members| members.get(&*name));
        if member.is_none() {
            // The name, a colon, and the comma before it, or the braces of the object that has to be made around it.
            bytes += text_bytes(&name) + 1 + members.map_or("{}".len(), |members| usize::from(!members.is_empty()));
        }
        around = member;
    }
    bytes
}

/// Puts a value into the part, with the objects on the way to it.
fn place(built: &mut Document, path: &Pointer, value: Value) -> bool {
    for depth in 0..path.depth() {
        let way = path.cut(depth);
        match way.find(built.root()) {
            Some(Value::Object(_)) => {}
            // An array was asked for by the path of an element: the part has an object with the index as a name.
            Some(_) => return false,
            None => drop(built.apply(Edit::Put { path: way, value: Json(Value::Object(Map::new())) })),
        }
    }
    built.apply(Edit::Put { path: path.clone(), value: Json(value) }).is_some()
}
