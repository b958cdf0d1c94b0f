//! The examples of the RFCs, and cases that they leave out.

use super::*;
use crate::domain::json::merge::Patch;
use crate::domain::json::patch;
use serde_json::{json, Value};

const BOUNDS: Bounds = Bounds { bytes_max: 100_000, values_max: 100, depth_max: 64, edits_max: 10 };

/// The result of the operations on a value. Checks that the attempt itself changes nothing.
fn after(before: &Value, ops: Vec<Op>) -> Result<Value, Error> {
    let mut document = Document::new(before.clone());
    let edits = Attempt::new(&document, BOUNDS).all(ops);
    assert!(*document.root() == *before && document.is_sound(), "an attempt changes nothing");
    for edit in edits? {
        document.apply(edit).expect("what was tried fits");
    }
    assert!(document.is_sound());
    Ok(document.root().into())
}

fn at(text: &str) -> Pointer {
    Pointer::parse(text.as_bytes()).expect(text)
}

#[test]
fn the_examples_of_rfc_7396() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ];
    for (before, patch, expected) in cases {
        assert_eq!(
            after(&before, vec![Op::Merge(patch.clone().into())]),
            Ok(expected.clone()),
            "{before} with {patch}"
        );
        let (then, now) = (before.clone().into(), expected.clone().into());
        let made = Patch::between(&then, &now);
        let made = made.map(|made| serde_json::to_value(made).expect("it can be written"));
        let made = made.map_or(Ok(before.clone()), |made| after(&before, vec![Op::Merge(made.into())]));
        assert_eq!(made, Ok(expected), "the patch that was made of {before}");
    }
}

fn patched(before: &Value, patch: Value) -> Result<Value, Error> {
    after(before, vec![Op::Patch(patch::read(patch.into())?)])
}

/// Appendix A, by number. Examples that have to fail change nothing.
#[test]
fn the_examples_of_rfc_6902() {
    let foo = json!({"foo": "bar"});
    let cases = [
        (
            foo.clone(),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            Some(json!({"baz": "qux", "foo": "bar"})),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            Some(json!({"foo": ["bar", "qux", "baz"]})),
        ),
        (json!({"baz": "qux", "foo": "bar"}), json!([{"op": "remove", "path": "/baz"}]), Some(foo.clone())),
        (
            json!({"foo": ["bar", "qux", "baz"]}),
            json!([{"op": "remove", "path": "/foo/1"}]),
            Some(json!({"foo": ["bar", "baz"]})),
        ),
        (
            json!({"baz": "qux", "foo": "bar"}),
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            Some(json!({"baz": "boo", "foo": "bar"})),
        ),
        (
            json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
            json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
            Some(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
        ),
        (
            json!({"foo": ["all", "grass", "cows", "eat"]}),
            json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
            Some(json!({"foo": ["all", "cows", "eat", "grass"]})),
        ),
        (
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
            json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
            Some(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
        ),
        (json!({"baz": "qux"}), json!([{"op": "test", "path": "/baz", "value": "bar"}]), None),
        (
            foo.clone(),
            json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
            Some(json!({"foo": "bar", "child": {"grandchild": {}}})),
        ),
        (
            foo.clone(),
            json!([{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]),
            Some(json!({"foo": "bar", "baz": "qux"})),
        ),
        (foo.clone(), json!([{"op": "add", "path": "/baz/bat", "value": "qux"}]), None),
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            Some(json!({"/": 9, "~1": 10})),
        ),
        (json!({"/": 9, "~1": 10}), json!([{"op": "test", "path": "/~01", "value": "10"}]), None),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
            Some(json!({"foo": ["bar", ["abc", "def"]]})),
        ),
    ];
    for (before, patch, expected) in cases {
        assert_eq!(patched(&before, patch.clone()).ok(), expected, "{before} with {patch}");
    }
}

#[test]
fn a_patch_that_fails_late_changes_nothing() {
    let before = json!({"a": [1, 2], "b": {}});
    let bad = [
        json!([{"op": "remove", "path": "/a/0"}, {"op": "remove", "path": "/none"}]),
        json!([{"op": "move", "from": "/b", "path": "/b/x"}]),
        json!([{"op": "add", "path": "/a/3", "value": 0}]),
        json!([{"op": "remove", "path": ""}]),
        json!([{"op": "replace", "path": "/none", "value": 0}]),
        json!([{"op": "copy", "from": "/none", "path": "/x"}]),
        json!([{"op": "add", "path": "/x"}]),
        json!([{"op": "add", "value": 0}]),
        json!([{"op": "jump", "path": "/x", "value": 0}]),
        json!([{"path": "/x", "value": 0}]),
        json!([{"op": "move", "path": "/x"}]),
        json!([5]),
        json!({}),
    ];
    for patch in bad {
        assert!(patched(&before, patch.clone()).is_err(), "{patch}");
    }
}

#[test]
fn single_operations() {
    let before = json!({"n": 1, "list": [1], "text": "x"});
    let set = |path: &str, value: Value| Op::Set(at(path), value.into());
    let number = |value: Value| serde_json::from_value::<Number>(value).expect("a number");
    let cases = [
        (set("/a/b/c", json!(1)), Some(json!({"n": 1, "list": [1], "text": "x", "a": {"b": {"c": 1}}}))),
        (set("/list/1", json!(2)), Some(json!({"n": 1, "list": [1, 2], "text": "x"}))),
        (set("/list/-", json!(2)), Some(json!({"n": 1, "list": [1, 2], "text": "x"}))),
        (set("/list/0", json!(2)), Some(json!({"n": 1, "list": [2], "text": "x"}))),
        (set("/list/2", json!(2)), None),
        (set("/text/a", json!(2)), None),
        (set("/text/a/b", json!(2)), None),
        (set("/list/x/y", json!(2)), None),
        (set("", json!([])), Some(json!([]))),
        (Op::Del(at("/list/0")), Some(json!({"n": 1, "list": [], "text": "x"}))),
        (Op::Del(at("/none/x")), Some(before.clone())),
        (Op::Del(at("")), None),
        (Op::Append(at("/list"), json!([2]).into()), Some(json!({"n": 1, "list": [1, [2]], "text": "x"}))),
        (
            Op::Append(at("/new/list"), json!(2).into()),
            Some(json!({"n": 1, "list": [1], "text": "x", "new": {"list": [2]}})),
        ),
        (Op::Append(at("/text"), json!(2).into()), None),
        (Op::IncrBy(at("/n"), number(json!(-3))), Some(json!({"n": -2, "list": [1], "text": "x"}))),
        (Op::IncrBy(at("/n"), number(json!(0.5))), Some(json!({"n": 1.5, "list": [1], "text": "x"}))),
        (Op::IncrBy(at("/m"), number(json!(7))), Some(json!({"n": 1, "list": [1], "text": "x", "m": 7}))),
        (Op::IncrBy(at("/n"), number(json!(u64::MAX))), None),
        (Op::IncrBy(at("/text"), number(json!(1))), None),
        (Op::Replace(json!(5).into()), Some(json!(5))),
    ];
    for (op, expected) in cases {
        assert_eq!(after(&before, vec![op.clone()]).ok(), expected, "{op:?}");
    }
}

#[test]
fn later_operations_see_earlier_ones() {
    let test = patch::read(json!([{"op": "test", "path": "/n", "value": 2}]).into()).expect("a patch");
    let increment = || Op::IncrBy(at("/n"), Number::from(1));
    let ops = vec![increment(), increment(), Op::Patch(test.clone()), Op::Set(at("/ok"), json!(true).into())];
    assert_eq!(after(&json!({}), ops), Ok(json!({"n": 2, "ok": true})));
    assert!(after(&json!({}), vec![increment(), Op::Patch(test)]).is_err());
}

#[test]
fn bounds_are_kept() {
    let deep = (0..40).fold(json!(1), |value, _| json!([value]));
    assert_eq!(after(&json!({}), vec![Op::Set(at("/a"), deep.clone().into())]).map(|_| ()), Ok(()));
    let path = at(&"/x".repeat(30));
    let error = after(&json!({}), vec![Op::Set(path, deep.into())]).expect_err("too deep");
    assert!(error.code == Code::Limit && error.text.contains("json-depth-max"), "{error}");
    let error = after(&json!({}), vec![Op::Set(at("/a"), json!("x".repeat(100_000)).into())]).expect_err("too large");
    assert!(error.code == Code::Limit && error.text.contains("context-bytes-max"), "{error}");
    let members = |count: usize| (0..count).map(|n| (n.to_string(), json!(n))).collect::<Value>();
    let merge = |count: usize| Op::Merge(members(count).into());
    assert!(after(&json!({}), vec![merge(10)]).is_ok());
    let error = after(&json!({}), vec![merge(11)]).expect_err("too many edits");
    assert!(error.code == Code::Limit && error.text.contains("context-edits-max"), "{error}");
    assert!(after(&json!({}), vec![Op::Replace(members(99).into())]).is_ok());
    let error = after(&json!({}), vec![Op::Replace(members(100).into())]).expect_err("too many values");
    assert!(error.code == Code::Limit && error.text.contains("context-values-max"), "{error}");
}

#[test]
fn a_document_that_is_larger_than_allowed_may_shrink() {
    let large = (0..200).map(|n| (n.to_string(), json!(n))).collect::<Value>();
    assert!(after(&large, vec![Op::Del(at("/7")), Op::Set(at("/new"), json!(1).into())]).is_ok());
    assert!(after(&large, vec![Op::Set(at("/new"), json!(1).into())]).is_err());
}
