//! The part of a context that one agent should see: what matters most to it, within a byte budget.
//!
//! The document is cut into pieces. Each piece is worth its weight (from `META`), more if it was
//! touched recently, and more if the agent itself touched it. The best pieces are taken as long as
//! they fit. All of it is whole-number arithmetic over the state, so every node builds the same.
//!
//! The document is walked once, whatever the paths are: what is known of a place is passed down to
//! the places inside it.

use super::touches::{recency, Touch, Touches};
use crate::domain::json::size::string_bytes;
use crate::domain::json::{Pointer, Value};
use crate::domain::limits::{PIECES_MAX, TOUCH_DEPTH_MAX};
use crate::domain::versioned::Version;
use crate::domain::{Code, Error};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The paths of what was left out may take this share of the budget, or [`LEFT_OUT_BYTES_MIN`].
const LEFT_OUT_SHARE: usize = 4;
/// Bytes that they may take in any case.
const LEFT_OUT_BYTES_MIN: usize = 256;

/// The result.
#[derive(Debug, PartialEq)]
pub struct Built {
    /// The part.
    pub doc: Value,
    /// Places that did not fit, ordered by path: of too many the most valuable ones.
    pub left_out: Vec<Pointer>,
    /// How many did not fit.
    pub left_out_count: usize,
}

/// The places that did not fit. A caller with a budget for the part has one for what was left out,
/// too: their paths may be many times the part.
struct LeftOut {
    places: Vec<Pointer>,
    count: usize,
    /// Bytes that are left for the paths.
    room: usize,
}

impl LeftOut {
    /// Within a budget, or as many as there are.
    fn within(budget: Option<usize>) -> Self {
        let room = budget.map_or(usize::MAX, |budget| (budget / LEFT_OUT_SHARE).max(LEFT_OUT_BYTES_MIN));
        Self { places: Vec::new(), count: 0, room }
    }

    /// The next place, the most valuable one first. A longer path may make way for shorter ones.
    fn push(&mut self, path: Pointer) {
        self.count += 1;
        let bytes = path.text().len() + "\"\",".len();
        if bytes <= self.room {
            self.room -= bytes;
            self.places.push(path);
        }
    }

    fn of(mut self, doc: Value) -> Built {
        self.places.sort_unstable();
        Built { doc, left_out: self.places, left_out_count: self.count }
    }
}

/// The arguments of a build.
#[derive(Debug, Clone, Copy)]
pub struct BuildArgs<'a> {
    /// The agent it is for; empty if for none in particular.
    pub agent: &'a [u8],
    /// Bytes of JSON text; `None` for no limit.
    pub budget: Option<usize>,
    /// `META` of the context, for its `weights`.
    pub meta: &'a serde_json::Value,
    /// Who touched what.
    pub touches: &'a Touches,
    /// The current version.
    pub version: Version,
    /// The bytes that the paths of all pieces may have.
    pub paths_bytes_max: usize,
}

/// A part of the document that is taken whole or left out.
struct Piece<'a> {
    path: Pointer,
    value: &'a Value,
    worth: u64,
}

/// Builds a part of `root`: of all of it, or of what is at `paths`. Errs if there are more pieces
/// than one call should look at.
pub fn build(root: &Value, paths: &[Pointer], args: &BuildArgs) -> Result<Built, Error> {
    let whole = [Pointer::default()];
    let requested = outermost(if paths.is_empty() { &whole[..] } else { paths });
    let found = requested.into_iter().filter_map(|path| Some((path, path.find(root)?)));
    let (mut part, mut left_out) = (Value::object(), LeftOut::within(args.budget));
    let Some(budget) = args.budget else {
        // Everything fits; nothing has to be chosen.
        for (path, value) in found {
            if !place(&mut part, path, value.clone()) {
                left_out.push(path.clone());
            }
        }
        return Ok(left_out.of(part));
    };
    // A piece should be small compared to the budget, so that something fits.
    let mut cut = Cut { args, small: (budget / 16).max(64), pieces: Vec::new(), paths_bytes: 0 };
    for (path, value) in found {
        let around = (0..path.depth()).fold(Known::NOTHING, |known, depth| known.at(&path.cut(depth), depth, args));
        cut.place(path.clone(), path.depth(), value, around)?;
    }
    let mut pieces = cut.pieces;
    pieces.sort_unstable_by(|one, other| other.worth.cmp(&one.worth).then_with(|| one.path.cmp(&other.path)));
    let mut bytes = "{}".len();
    for piece in pieces {
        let more = bytes_with(&part, bytes, &piece);
        if more <= budget && place(&mut part, &piece.path, piece.value.clone()) {
            bytes = more;
        } else {
            left_out.push(piece.path);
        }
    }
    Ok(left_out.of(part))
}

/// The paths that are not inside another path.
fn outermost(paths: &[Pointer]) -> BTreeSet<&Pointer> {
    let all: BTreeSet<&Pointer> = paths.iter().collect();
    let is_inside = |path: &Pointer| (0..path.depth()).any(|depth| all.contains(&path.cut(depth)));
    all.iter().copied().filter(|path| !is_inside(path)).collect()
}

/// What is known of a place, from itself and from the places around it. It also holds inside,
/// unless something there says more.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Thousandths, from `META {"weights":{"/path":n}}`: of the place itself, or of the closest
    /// place around it that has a weight.
    weight: u64,
    /// How recently it was touched.
    recent: u64,
    /// How recently the agent itself touched it.
    own: u64,
}

impl Known {
    const NOTHING: Known = Known { weight: 1000, recent: 0, own: 0 };

    /// What is known of `path`, which has `depth` parts. `self` is what is known of the place
    /// right around it.
    fn at(self, path: &Pointer, depth: usize, args: &BuildArgs) -> Self {
        let weights = args.meta.get("weights").and_then(serde_json::Value::as_object);
        let weight = weights.and_then(|weights| weights.get(path.text())?.as_f64());
        let weight = weight.map_or(self.weight, |weight| (weight.clamp(0.0, 1_000_000.0) * 1000.0) as u64);
        let touch = if depth <= TOUCH_DEPTH_MAX { args.touches.at(path) } else { None };
        touch.into_iter().fold(Known { weight, ..self }, |known, touch| known.touched(touch, args))
    }

    fn touched(self, touch: &Touch, args: &BuildArgs) -> Self {
        let own = touch.by.iter().filter(|(agent, _)| **agent == *args.agent);
        let own = own.map(|(_, version)| recency(*version, args.version)).max().unwrap_or(0);
        let recent = recency(touch.version, args.version);
        Known { recent: self.recent.max(recent), own: self.own.max(own), ..self }
    }

    /// The worth of a piece, from what is known of it and what was touched inside it.
    fn worth(self, path: &Pointer, depth: usize, args: &BuildArgs) -> u64 {
        let known = match depth < TOUCH_DEPTH_MAX {
            true => args.touches.inside(path).fold(self, |known, touch| known.touched(touch, args)),
            false => self,
        };
        known.weight * (1000 + known.recent + known.own)
    }
}

/// A document that is being cut.
struct Cut<'a, 'w> {
    args: &'w BuildArgs<'w>,
    /// Objects with a longer text are cut further.
    small: usize,
    pieces: Vec<Piece<'a>>,
    paths_bytes: usize,
}

impl<'a> Cut<'a, '_> {
    /// Cuts what is at a place. `around` is what is known around it. The recursion is no deeper
    /// than documents are.
    fn place(&mut self, path: Pointer, depth: usize, value: &'a Value, around: Known) -> Result<(), Error> {
        let known = around.at(&path, depth, self.args);
        match value {
            Value::Object(members) if !members.is_empty() && (path.is_root() || value.text_bytes() > self.small) => {
                members.iter().try_for_each(|(name, member)| self.place(path.child(name), depth + 1, member, known))
            }
            value => {
                self.check(&path)?;
                self.pieces.push(Piece { worth: known.worth(&path, depth, self.args), path, value });
                Ok(())
            }
        }
    }

    /// Errs if one more piece is too many.
    fn check(&mut self, path: &Pointer) -> Result<(), Error> {
        const ADVICE: &str = "ask for a part of it with PATH, or for all of it without BUDGET";
        if self.pieces.len() >= PIECES_MAX {
            let text = format!("the document falls into more than {PIECES_MAX} pieces to choose from; {ADVICE}");
            return Err(Error::new(Code::Limit, text));
        }
        self.paths_bytes += path.text().len();
        if self.paths_bytes > self.args.paths_bytes_max {
            let what = format!("choosing from pieces whose paths have at least {} bytes", self.paths_bytes);
            return Err(Error::limit("reply-bytes-max", &what, self.args.paths_bytes_max as u64));
        }
        Ok(())
    }
}

/// The bytes of the part, `bytes` now, with this piece and the objects on the way to it.
fn bytes_with(part: &Value, bytes: usize, piece: &Piece) -> usize {
    if piece.path.is_root() {
        return piece.value.text_bytes();
    }
    let mut bytes = bytes + piece.value.text_bytes();
    let mut around = Some(part);
    for name in piece.path.parts() {
        let members = around.and_then(Value::as_object);
        let member = members.and_then(|members| members.value(&*name));
        if member.is_none() {
            // The name, a colon, and either the comma before it or the braces of the new
            // object around it.
            bytes += string_bytes(&name) + 1 + members.map_or("{}".len(), |members| usize::from(!members.is_empty()));
        }
        around = member;
    }
    bytes
}

/// Puts a value into the part, with the objects on the way to it. An array element that
/// was requested by its path becomes a member named by its index. False if something
/// else is on the way.
fn place(part: &mut Value, path: &Pointer, value: Value) -> bool {
    place_inside(part, &mut path.parts(), value)
}

fn place_inside<'a>(part: &mut Value, names: &mut impl Iterator<Item = Cow<'a, str>>, value: Value) -> bool {
    let Some(name) = names.next() else {
        *part = value;
        return true;
    };
    let Value::Object(members) = part else { return false };
    let at = members.find(&*name).unwrap_or_else(|at| {
        members.insert(at, name.into(), Value::object());
        at
    });
    members.change(at, |member| place_inside(member, names, value)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::versioned::Stamp;
    use crate::domain::Bytes;
    use serde_json::json;

    fn at(text: &str) -> Pointer {
        Pointer::parse(text.as_bytes()).expect(text)
    }

    fn args<'a>(budget: Option<usize>, meta: &'a serde_json::Value, touches: &'a Touches) -> BuildArgs<'a> {
        BuildArgs { agent: b"ann", budget, meta, touches, version: 9, paths_bytes_max: usize::MAX }
    }

    #[test]
    fn what_is_known_of_a_place_holds_inside_it() {
        let meta = json!({"weights": {"/a": 3, "/a/b": 2, "/a/b/x": "none", "/~1": 9}});
        let (mut touches, by) = (Touches::default(), [Bytes::from("bob"), Bytes::from("ann")]);
        for (version, path, agent) in [(1, "/a", 1), (5, "/a/b/c/d", 0), (7, "/c/d", 1), (8, "", 0), (9, "/c/d/e", 0)] {
            touches.touch(&at(path), &Stamp { version, at: version, by: &by[agent] });
        }
        let args = args(Some(1), &meta, &touches);
        for path in
            ["", "/a", "/a/b", "/a/b/c", "/a/b/x/y", "/a/b/c/d/e", "/c", "/c/d", "/c/d/e/f", "/x", "/~1/y"].map(at)
        {
            let known = |known: Known, depth| known.at(&path.cut(depth), depth, &args);
            let worth = (0..=path.depth()).fold(Known::NOTHING, known).worth(&path, path.depth(), &args);
            let last = touches.last(&path).map_or(0, |touch| recency(touch.version, 9));
            let own = touches.around(&path).flat_map(|touch| &touch.by).filter(|(agent, _)| **agent == *b"ann");
            let own = own.map(|(_, version)| recency(*version, 9)).max().unwrap_or(0);
            let weights = meta["weights"].as_object().expect("an object");
            let of = |depth| weights.get(path.cut(depth).text())?.as_f64();
            let weight = (0..=path.depth()).rev().find_map(of).unwrap_or(1.0);
            assert_eq!(worth, weight as u64 * 1000 * (1000 + last + own), "{path:?}");
        }
    }

    #[test]
    fn a_path_inside_another_one_adds_nothing() {
        let (meta, touches) = (json!(null), Touches::default());
        let naive = json!({"a": {"b": {"c": 1}, "b!": 2}, "d": [{"e": 3}, 4]});
        let root = Value::from(naive.clone());
        for budget in [None, Some(1000)] {
            let built = |paths: &[&str]| {
                let paths: Vec<Pointer> = paths.iter().map(|path| at(path)).collect();
                build(&root, &paths, &args(budget, &meta, &touches)).expect("a few pieces")
            };
            assert_eq!(built(&[]).doc, root);
            assert_eq!(built(&["/a/b/c", "", "/d"]).doc, root);
            assert_eq!(built(&["/a/b!", "/a/b/c", "/a"]).doc, json!({"a": naive["a"]}));
            assert_eq!(built(&["/a/b/c", "/a/b!", "/none"]).doc, json!({"a": naive["a"]}));
            assert_eq!(built(&["/d/0/e", "/d/1"]).doc, json!({"d": {"0": {"e": 3}, "1": 4}}));
        }
    }

    #[test]
    fn what_was_left_out_is_bounded_like_the_part_and_the_rest_is_counted() {
        let (meta, touches) = (json!({"weights": {"/m500": 2, "/m700": 3}}), Touches::default());
        let root =
            Value::Object((0..1000).map(|n| (format!("m{n:03}").into(), json!("x".repeat(90)).into())).collect());
        let place = "\"/m000\",".len();
        for budget in [1, 90, 1024, 2000, 20_000] {
            let built = build(&root, &[], &args(Some(budget), &meta, &touches)).expect("some pieces");
            let taken = built.doc.as_object().map_or(0, |members| members.len());
            assert_eq!(built.left_out_count, 1000 - taken, "{budget}");
            assert_eq!(built.left_out.len(), built.left_out_count.min((budget / 4).max(256) / place), "{budget}");
            assert!(built.left_out.is_sorted());
        }
        let built = build(&root, &[], &args(Some(1), &meta, &touches)).expect("some pieces");
        assert!(["/m500", "/m700"].iter().all(|path| built.left_out.contains(&at(path))), "the most valuable ones");
        let paths = [at("/a"), at("/b"), at("/c")];
        let built = build(&json!([1]).into(), &paths, &args(None, &meta, &touches)).expect("nothing");
        assert_eq!((built.left_out.len(), built.left_out_count), (0, 0));
    }

    #[test]
    fn more_pieces_than_one_call_should_look_at_are_refused() {
        let (meta, touches) = (json!(null), Touches::default());
        let wide = |count: usize| Value::Object((0..count).map(|n| (n.to_string().into(), json!(0).into())).collect());
        assert!(build(&wide(PIECES_MAX), &[], &args(Some(100), &meta, &touches)).is_ok());
        let (root, chosen) = (wide(PIECES_MAX + 1), args(Some(100), &meta, &touches));
        let error = build(&root, &[], &chosen).expect_err("one too many");
        assert!(error.code == Code::Limit && error.text.contains("250000 pieces"), "{error}");
        assert!(build(&root, &[], &args(None, &meta, &touches)).is_ok_and(|built| built.doc == root));
        let paths_bytes_max = "/a/b".len() + "/a/c".len();
        let (root, small) = (json!({"a": {"b": 1, "c": 2}}).into(), BuildArgs { paths_bytes_max, ..chosen });
        assert!(build(&root, &[at("/a/b"), at("/a/c")], &small).is_ok());
        let error =
            build(&root, &[at("/a/b"), at("/a/c")], &BuildArgs { paths_bytes_max: paths_bytes_max - 1, ..small });
        assert!(error.expect_err("a byte too many").text.contains("ltmc.reply-bytes-max"));
    }
}
