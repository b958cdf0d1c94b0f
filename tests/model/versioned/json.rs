//! JSON as the RFCs define it, as naive as possible: every change makes a new copy of the whole
//! document.

use crate::prng::Prng;
use serde_json::{json, Map, Value};

/// RFC 6901: the names of a pointer.
pub fn parts(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// The pointer of names.
pub fn pointer(parts: &[String]) -> String {
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

fn index(name: &str) -> Option<usize> {
    name.parse::<usize>().ok().filter(|index| index.to_string() == name)
}

pub fn get<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((name, rest)) = path.split_first() else { return Some(root) };
    let inner = match root {
        Value::Object(members) => members.get(name)?,
        Value::Array(items) => items.get(index(name)?)?,
        _ => return None,
    };
    get(inner, rest)
}

/// What is done to the last name of a path.
pub enum Deed {
    /// RFC 6902 `add`: into an array before an element or at its end.
    Add(Value),
    /// Sets an existing member or element.
    Put(Value),
    Remove,
}

/// A copy in which something is done at a path; `None` if that is impossible.
pub fn with(root: &Value, path: &[String], deed: Deed) -> Option<Value> {
    let Some((name, rest)) = path.split_first() else {
        return match deed {
            Deed::Add(value) | Deed::Put(value) => Some(value),
            Deed::Remove => None,
        };
    };
    let mut copy = root.clone();
    match &mut copy {
        Value::Object(members) if rest.is_empty() => match deed {
            Deed::Add(value) | Deed::Put(value) => drop(members.insert(name.clone(), value)),
            Deed::Remove => drop(members.remove(name)?),
        },
        Value::Object(members) => *members.get_mut(name)? = with(&root[name], rest, deed)?,
        Value::Array(items) => {
            let last = if name == "-" { Some(items.len()) } else { index(name) };
            let at = last.filter(|at| *at <= items.len())?;
            match deed {
                Deed::Add(value) if rest.is_empty() => items.insert(at, value),
                _ if name == "-" || at == items.len() => return None,
                Deed::Put(value) if rest.is_empty() => items[at] = value,
                Deed::Remove if rest.is_empty() => drop(items.remove(at)),
                deed => items[at] = with(&items[at], rest, deed)?,
            }
        }
        _ => return None,
    }
    Some(copy)
}

/// RFC 7396, the pseudocode of its section 2.
pub fn merge(target: &Value, patch: &Value) -> Value {
    let Value::Object(members) = patch else { return patch.clone() };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (name, value) in members {
        if value.is_null() {
            result.remove(name);
        } else {
            let known = result.get(name).cloned().unwrap_or(Value::Null);
            result.insert(name.clone(), merge(&known, value));
        }
    }
    Value::Object(result)
}

/// Equal numbers are the same, however they are written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}

/// Why an operation fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failure {
    /// A `test` found something else.
    Conflict,
    Other,
}

/// An operation of `LTMC.CTX.UPDATE`.
#[derive(Debug, Clone)]
pub enum Op {
    Merge(Value),
    Patch(Value),
    Set(String, Value),
    Del(String),
    Append(String, Value),
    IncrBy(String, Value),
    Replace(Value),
}

pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The bytes of the compact text, with a comma after the last item of every list, too.
pub fn bytes(value: &Value) -> usize {
    fn full(value: &Value) -> usize {
        let inner: usize = match value {
            Value::Array(items) => items.iter().map(full).sum(),
            Value::Object(members) => members.values().map(full).sum(),
            _ => return 0,
        };
        inner + usize::from(value != &json!([]) && value != &json!({}))
    }
    value.to_string().len() + full(value)
}

pub fn has_null(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        value => value.is_null(),
    }
}

fn patched(root: &Value, op: &Value) -> Result<Value, Failure> {
    let path = parts(op["path"].as_str().expect("a path"));
    let from = op.get("from").map(|from| parts(from.as_str().expect("a path")));
    let there = |path: &[String]| get(root, path).cloned().ok_or(Failure::Other);
    let value = op.get("value").cloned().unwrap_or(Value::Null);
    let done = match (op["op"].as_str().expect("an op"), from) {
        ("add", _) => with(root, &path, Deed::Add(value)),
        ("remove", _) => with(root, &path, Deed::Remove),
        ("replace", _) => there(&path).ok().and_then(|_| with(root, &path, Deed::Put(value))),
        ("move", Some(from)) if from == path => there(&from).ok().map(|_| root.clone()),
        ("move", Some(from)) if path.starts_with(&from) => None,
        ("move", Some(from)) => {
            let value = there(&from)?;
            with(root, &from, Deed::Remove).and_then(|rest| with(&rest, &path, Deed::Add(value)))
        }
        ("copy", Some(from)) => with(root, &path, Deed::Add(there(&from)?)),
        ("test", _) => {
            let is_there = get(root, &path).is_some_and(|there| same(there, &value));
            return if is_there { Ok(root.clone()) } else { Err(Failure::Conflict) };
        }
        other => panic!("unknown {other:?}"),
    };
    done.ok_or(Failure::Other)
}

/// `SET`: missing objects on the way are created.
fn set(root: &Value, path: &[String], value: Value) -> Option<Value> {
    let Some((name, rest)) = path.split_first() else { return Some(value) };
    match root {
        Value::Object(members) => {
            let inner = match members.get(name) {
                Some(inner) => set(inner, rest, value)?,
                None => rest.iter().rev().fold(value, |value, name| json!({name: value})),
            };
            with(root, &path[..1], Deed::Put(inner))
        }
        Value::Array(items) if rest.is_empty() && (name == "-" || index(name) == Some(items.len())) => {
            with(root, &path[..1], Deed::Add(value))
        }
        Value::Array(items) => {
            let inner = set(items.get(index(name)?)?, rest, value)?;
            with(root, &path[..1], Deed::Put(inner))
        }
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

fn sum(one: &Value, other: &Value) -> Option<Value> {
    if let (Some(one), Some(other)) = (whole(one), whole(other)) {
        let sum = one + other;
        return i64::try_from(sum).map(Value::from).or_else(|_| u64::try_from(sum).map(Value::from)).ok();
    }
    serde_json::Number::from_f64(one.as_f64()? + other.as_f64()?).map(Value::Number)
}

fn one(root: &Value, op: &Op) -> Result<Value, Failure> {
    let done = match op {
        Op::Merge(patch) => Some(merge(root, patch)),
        Op::Patch(_) => unreachable!("its operations are taken one by one"),
        Op::Set(path, value) => set(root, &parts(path), value.clone()),
        Op::Del(path) if path.is_empty() => None,
        Op::Del(path) => with(root, &parts(path), Deed::Remove).or_else(|| Some(root.clone())),
        Op::Append(path, value) => match get(root, &parts(path)) {
            None => set(root, &parts(path), json!([value])),
            Some(Value::Array(items)) => {
                let items: Vec<&Value> = items.iter().chain([value]).collect();
                with(root, &parts(path), Deed::Put(json!(items)))
            }
            Some(_) => None,
        },
        Op::IncrBy(path, by) => match get(root, &parts(path)) {
            None => set(root, &parts(path), by.clone()),
            Some(known) if known.is_number() => sum(known, by).and_then(|sum| with(root, &parts(path), Deed::Put(sum))),
            Some(_) => None,
        },
        Op::Replace(value) => Some(value.clone()),
    };
    done.ok_or(Failure::Other)
}

/// The result of all operations on a document, if all of them succeed and none of them leaves the
/// bounds.
pub fn all(root: &Value, ops: &[Op], bytes_max: usize, depth_max: usize) -> Result<Value, Failure> {
    let mut now = root.clone();
    for op in ops {
        let steps: Vec<&Value> = match op {
            Op::Patch(patch) => patch.as_array().expect("a list").iter().collect(),
            _ => vec![&Value::Null],
        };
        for step in steps {
            now = if step.is_null() { one(&now, op)? } else { patched(&now, step)? };
            if depth(&now) > depth_max {
                return Err(Failure::Other);
            }
        }
    }
    if bytes(&now) > bytes_max {
        return Err(Failure::Other);
    }
    Ok(now)
}

const NAMES: [&str; 11] = ["a", "b", "c", "d", "0", "1", "-", "", "a/b", "m~n", "~1\u{fc}\""];

/// A random value of at most `levels` levels.
pub fn value(rng: &mut Prng, levels: u64, nulls: bool) -> Value {
    let kinds = if levels == 0 { 6 } else { 10 };
    match rng.below(kinds) {
        0 if nulls => Value::Null,
        0 | 1 => json!(rng.percent(50)),
        2 => [json!(1), json!(1.0), json!(-0.5), json!(u64::MAX), json!(i64::MIN), json!(1e300)][rng.below(6) as usize]
            .clone(),
        3 => json!(rng.below(5)),
        4 | 5 => json!(["", "x", "\u{fc}\n\"", "a longer text that takes some room"][rng.below(4) as usize]),
        6 | 7 => (0..rng.below(5)).map(|_| value(rng, levels - 1, nulls)).collect(),
        _ => Value::Object(object(rng, levels - 1, nulls)),
    }
}

pub fn object(rng: &mut Prng, levels: u64, nulls: bool) -> Map<String, Value> {
    (0..rng.below(5)).map(|_| (rng.pick(&NAMES).to_string(), value(rng, levels, nulls))).collect()
}

/// A path: mostly one that exists, or right beside it.
pub fn path(rng: &mut Prng, root: &Value) -> String {
    let (mut there, mut parts) = (root, Vec::new());
    while !rng.percent(20) {
        let (name, next) = match there {
            Value::Object(members) if !members.is_empty() => {
                let at = rng.below(members.len() as u64) as usize;
                members.iter().nth(at).map(|(name, next)| (name.clone(), next)).expect("there are so many")
            }
            Value::Array(items) if !items.is_empty() => {
                let at = rng.below(items.len() as u64) as usize;
                (at.to_string(), &items[at])
            }
            _ => break,
        };
        parts.push(name);
        there = next;
    }
    let beside = if rng.percent(40) { rng.below(2) + 1 } else { 0 };
    for _ in 0..beside {
        let end = there.as_array().map_or(0, Vec::len).to_string();
        parts.push(if rng.percent(30) { end } else { rng.pick(&NAMES).to_string() });
    }
    pointer(&parts)
}

fn patch_step(rng: &mut Prng, root: &Value, nulls: bool) -> Value {
    let (path, from) = (path(rng, root), path(rng, root));
    let value = value(rng, 2, nulls);
    match rng.below(8) {
        0 | 1 => json!({"op": "add", "path": path, "value": value}),
        2 => json!({"op": "remove", "path": path}),
        3 => json!({"op": "replace", "path": path, "value": value}),
        4 => json!({"op": "move", "from": from, "path": path}),
        5 => json!({"op": "copy", "from": from, "path": path}),
        _ => {
            let there = get(root, &parts(&path)).filter(|_| rng.percent(90)).cloned();
            json!({"op": "test", "path": path, "value": there.unwrap_or(value)})
        }
    }
}

/// A random operation for a document.
pub fn op(rng: &mut Prng, root: &Value, nulls: bool) -> Op {
    match rng.below(20) {
        0..=3 => Op::Merge(if rng.percent(95) { Value::Object(object(rng, 2, true)) } else { value(rng, 2, false) }),
        4..=8 => {
            let mut now = root.clone();
            let mut steps = Vec::new();
            for _ in 0..rng.below(5) {
                let step = patch_step(rng, &now, nulls);
                now = patched(&now, &step).unwrap_or(now);
                steps.push(step);
            }
            Op::Patch(json!(steps))
        }
        9..=12 => Op::Set(path(rng, root), value(rng, 2, nulls)),
        13..=14 => Op::Del(path(rng, root)),
        15..=16 => Op::Append(path(rng, root), value(rng, 2, nulls)),
        17..=18 => {
            let by = [json!(1), json!(-3), json!(0.5), json!(i64::MAX), json!(1e308)];
            Op::IncrBy(path(rng, root), rng.pick(&by).clone())
        }
        _ => Op::Replace(Value::Object(object(rng, 3, nulls))),
    }
}
