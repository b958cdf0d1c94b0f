//! Attempts at documents against naive copies: random documents and operations. Every way back has
//! to lead where it should.

use super::json;
use super::json::{all, op, value, Deed, Failure, Op};
use crate::driver::{run_all, History};
use crate::prng::Prng;
use ltmc::domain::context::Doc;
use ltmc::domain::json::attempt::Bounds;
use ltmc::domain::json::edit::Undo;
use ltmc::domain::json::{patch, Attempt, Document, Edit, Op as RealOp, Pointer};
use ltmc::domain::versioned::State;
use ltmc::domain::Code;
use serde_json::Value;

fn at(path: &str) -> Pointer {
    Pointer::parse(path.as_bytes()).expect("a pointer")
}

fn real(op: &Op) -> RealOp {
    match op.clone() {
        Op::Merge(patch) => RealOp::Merge(patch.into()),
        Op::Patch(steps) => RealOp::Patch(patch::read(steps.into()).expect("a patch")),
        Op::Set(path, value) => RealOp::Set(at(&path), value.into()),
        Op::Del(path) => RealOp::Del(at(&path)),
        Op::Append(path, value) => RealOp::Append(at(&path), value.into()),
        Op::IncrBy(path, Value::Number(by)) => RealOp::IncrBy(at(&path), by),
        Op::IncrBy(_, other) => panic!("{other} is no number"),
        Op::Replace(value) => RealOp::Replace(value.into()),
    }
}

/// The document after an edit, by the naive functions.
fn edited(root: &Value, edit: &Edit) -> Value {
    let path = json::parts(edit.path().text());
    let deed = match edit {
        Edit::Put { value, .. } => Deed::Put((&value.0).into()),
        Edit::Insert { value, .. } => Deed::Add((&value.0).into()),
        Edit::Drop { .. } | Edit::Remove { .. } => Deed::Remove,
    };
    json::with(root, &path, deed).unwrap_or_else(|| panic!("{edit:?} does not fit {root}"))
}

/// Undoes all of `undo`. The result leads forward again.
fn back(root: &Value, undo: &Undo) -> Value {
    let mut doc = Doc::new(root.clone());
    let forward = doc.undo(undo).unwrap_or_else(|| panic!("{undo:?} does not fit {root}"));
    assert!(doc.document().is_sound());
    let past = doc.root().into();
    assert!(doc.undo(&forward).is_some() && *doc.root() == *root, "{forward:?} makes {} of {past}", doc.root());
    past
}

struct Trial {
    rng: Prng,
    document: Document,
    /// The document of every version so far, and what leads from each back to the one before.
    versions: Vec<Value>,
    undos: Vec<Undo>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let first = value(&mut rng, 4, true);
        Self { rng, document: Document::new(first.clone()), versions: vec![first], undos: Vec::new() }
    }

    fn bounds(&mut self) -> Bounds {
        let root = Value::from(self.document.root());
        let (depth, bytes) = (json::depth(&root), json::bytes(&root));
        let depth_max = if self.rng.percent(10) { depth + self.rng.below(2) as usize } else { 40 };
        let bytes_max = if self.rng.percent(10) { bytes + self.rng.below(10) as usize } else { 20_000 };
        Bounds { bytes_max, values_max: usize::MAX, depth_max, edits_max: usize::MAX }
    }

    fn step(&mut self) {
        let before = Value::from(self.document.root());
        assert_eq!(self.document.size().text, json::bytes(&before), "the counted size");
        let bounds = self.bounds();
        let mut ops = Vec::new();
        let mut now = before.clone();
        for _ in 0..=self.rng.below(3) {
            let next = op(&mut self.rng, &now, true);
            now = all(&now, std::slice::from_ref(&next), usize::MAX, usize::MAX).unwrap_or(now);
            ops.push(next);
        }
        let expected = all(&before, &ops, bounds.bytes_max, bounds.depth_max);
        let edits = Attempt::new(&self.document, bounds).all(ops.iter().map(real).collect());
        assert!(*self.document.root() == before && self.document.is_sound(), "{ops:?} changed the document {before}");
        let after = match (edits, expected) {
            (Ok(edits), Ok(after)) => {
                let naive = edits.iter().fold(before.clone(), |root, edit| edited(&root, edit));
                assert_eq!(naive, after, "{ops:?} of {before} amounts to {edits:?}");
                self.apply(&before, edits);
                after
            }
            (Err(error), Err(failure)) if error.code != Code::Limit || failure != Failure::Conflict => {
                let is_conflict = failure == Failure::Conflict;
                assert_eq!(error.code == Code::Conflict, is_conflict, "{ops:?} of {before}: {error}");
                return;
            }
            // A document that is too large on the way is refused as well. The naive one looks only
            // at the end.
            (Err(error), _) if error.code == Code::Limit && bounds.bytes_max < 20_000 => return,
            (real, naive) => panic!("{ops:?} of {before}, {bounds:?}: {real:?} and not {naive:?}"),
        };
        assert!(*self.document.root() == after);
        self.versions.push(after);
        if self.versions.len() > 30 || self.document.size().text > 8_000 {
            self.go_back();
        }
    }

    fn apply(&mut self, before: &Value, edits: Vec<Edit>) {
        let (mut undo, mut inverses) = (Undo::default(), Vec::new());
        for edit in edits {
            let inverse = self.document.apply(edit.clone()).unwrap_or_else(|| panic!("{edit:?} does not fit"));
            undo.push(inverse.clone());
            inverses.push(inverse);
        }
        assert!(self.document.is_sound());
        let mut plain = self.document.clone();
        inverses.into_iter().rev().for_each(|edit| drop(plain.apply(edit).expect("it fits")));
        assert!(*plain.root() == *before, "the inverses lead back");
        assert_eq!(back(&self.document.root().into(), &undo), *before, "what is kept of the inverses leads back");
        self.undos.push(undo);
    }

    /// From the last version to the first, in strides of many versions that are one step each.
    fn go_back(&mut self) {
        let mut to = self.undos.len();
        while to > 0 {
            let from = self.rng.below(to as u64) as usize;
            let mut stride = Undo::default();
            self.undos[from..to].iter().for_each(|undo| stride.absorb(undo.clone()));
            // The saved form is the same.
            let saved: Vec<Edit> = stride.clone().into();
            assert_eq!(Undo::from(saved), stride);
            self.document = Document::new(back(&self.document.root().into(), &stride));
            assert!(*self.document.root() == self.versions[from], "{to} back to {from}");
            to = from;
        }
        (self.undos, self.versions) = (Vec::new(), vec![self.document.root().into()]);
        let next = value(&mut self.rng, 4, true);
        if self.rng.percent(50) {
            (self.document, self.versions) = (Document::new(next.clone()), vec![next]);
        }
    }
}

#[test]
fn attempts_do_what_naive_copies_do_and_every_way_leads_back() {
    run_all(6_000, 500, |seed, steps| {
        let _shown = History::of(seed);
        let mut trial = Trial::new(seed);
        (0..steps).for_each(|_| trial.step());
        trial.go_back();
    });
}
