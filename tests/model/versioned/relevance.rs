//! What matters to whom, as `src/domain/context/README.md` defines it: the part of a context for
//! one agent, and the agent for a place.

use super::json::{self, get, parts};
use super::naive::{covers, Thing};
use super::world::World;
use serde_json::{json, Map, Value};
use std::collections::BTreeSet;

/// From 1000 for the current version down to a half after 64 more.
fn recency(version: u64, now: u64) -> u64 {
    64_000 / (64 + now - version)
}

/// The weight times how lately a place was touched at all, and by the agent.
fn worth(thing: &Thing, path: &str, agent: &str) -> u64 {
    let meta: Value = serde_json::from_str(&thing.meta).unwrap_or(Value::Null);
    let names = parts(path);
    let mut around = (0..=names.len()).rev().map(|depth| json::pointer(&names[..depth]));
    let weight = around.find_map(|place| meta["weights"].get(place)?.as_f64()).unwrap_or(1.0);
    let recent = thing.around(path).map(|touch| recency(touch.version, thing.version)).max().unwrap_or(0);
    let own = thing.around(path).filter_map(|touch| touch.by.get(agent));
    let own = own.map(|version| recency(*version, thing.version)).max().unwrap_or(0);
    (weight * 1000.0) as u64 * (1000 + recent + own)
}

/// The pieces that a value is cut into.
fn cut(path: String, value: &Value, small: usize, pieces: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) if !members.is_empty() && (path.is_empty() || value.to_string().len() > small) => {
            for (name, member) in members {
                cut(format!("{path}{}", json::pointer(std::slice::from_ref(name))), member, small, pieces);
            }
        }
        value => pieces.push((path, value.clone())),
    }
}

/// The part with one more piece, and the objects on the way to it; `None` if something else is in
/// the way.
fn placed(part: &Value, names: &[String], value: &Value) -> Option<Value> {
    let Some((name, rest)) = names.split_first() else { return Some(value.clone()) };
    let mut members = part.as_object()?.clone();
    let inner = members.get(name).cloned().unwrap_or_else(|| json!({}));
    members.insert(name.clone(), placed(&inner, rest, value)?);
    Some(Value::Object(members))
}

/// What `LTMC.CTX.BUILD` returns of a context, the places that it leaves out, as far as their paths
/// fit into a quarter of the budget, and how many there are.
pub fn built(thing: &Thing, agent: &str, budget: Option<usize>, paths: &[String]) -> (Value, BTreeSet<String>, u64) {
    let small = budget.map_or(usize::MAX, |budget| 64.max(budget / 16));
    let whole = [String::new()];
    let places: BTreeSet<&String> = if paths.is_empty() { whole.iter().collect() } else { paths.iter().collect() };
    let is_inside = |path: &&String| places.iter().any(|other| other != path && covers(other, path));
    let mut pieces = Vec::new();
    for path in places.iter().filter(|path| !is_inside(path)) {
        if let Some(value) = get(thing.doc(), &parts(path)) {
            cut(path.to_string(), value, small, &mut pieces);
        }
    }
    pieces.sort_by_key(|(path, _)| (std::cmp::Reverse(worth(thing, path, agent)), path.clone()));
    let (mut part, mut left_out, mut count) = (Value::Object(Map::new()), BTreeSet::new(), 0);
    let mut room = budget.map_or(usize::MAX, |budget| 256.max(budget / 4));
    for (path, value) in pieces {
        let fits = |more: &Value| budget.is_none_or(|budget| more.to_string().len() <= budget);
        match placed(&part, &parts(&path), &value).filter(fits) {
            Some(more) => part = more,
            None => {
                count += 1;
                if path.len() + 3 <= room {
                    room -= path.len() + 3;
                    left_out.insert(path);
                }
            }
        }
    }
    (part, left_out, count)
}

/// The agent of the team that `LTMC.CTX.ROUTE` chooses for a place.
pub fn routed(thing: &Thing, path: &str, excluded: &str) -> Option<&'static str> {
    let knowledge = |agent: &str| {
        let known = thing.around(path).filter_map(|touch| touch.by.get(agent));
        let joined = thing.participants.contains_key(agent).then_some(200);
        known.map(|version| recency(*version, thing.version)).chain(joined).max().unwrap_or(0)
    };
    let team = World::TEAM.iter().filter(|(agent, _)| *agent != excluded);
    let best = team.min_by_key(|(agent, load)| (std::cmp::Reverse(knowledge(agent) + 1000 - load), *agent));
    best.map(|(agent, _)| *agent)
}
