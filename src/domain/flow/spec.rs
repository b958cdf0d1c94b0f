//! A whole graph as JSON: `{"tasks": [{"id": "b", "payload": "...", "after": ["a"], ...}]}`, with
//! the options of `LTMC.TASK.ADD` in lower case.

use super::event::Addition;
use super::task::{Backoff, Needs, On};
use crate::domain::json::text;
use crate::domain::json::text::Room;
use crate::domain::limits::{
    AGENT_LABELS_MAX, DURATION_MS_MAX, FLOW_SPEC_BYTES_MAX, ID_BYTES_MAX, PRIORITY_MAX, TASK_LOCKS_MAX,
    TASK_PARENTS_MAX, TASK_RETRIES_MAX,
};
use crate::domain::value::bytes::printable;
use crate::domain::value::capability::Requirement;
use crate::domain::{Blob, Bytes, Error, Millis};
use ahash::AHashMap;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};

/// The bounds of the tasks in a specification.
#[derive(Debug)]
pub struct Bounds<'a> {
    /// When they are added, unix ms.
    pub at: Millis,
    /// The largest number of tasks.
    pub tasks_max: u64,
    /// The longest payload, bytes.
    pub payload_bytes_max: u64,
    /// The locks that may be named: the keys of the command.
    pub locks: &'a [&'a [u8]],
}

/// The longest pause between attempts of a task without its own, ms.
pub const BACKOFF_MS_MAX: Millis = 3_600_000;

/// Reads a specification. Each task comes after its parents.
pub fn read(json: &[u8], bounds: &Bounds) -> Result<Vec<Addition>, Error> {
    if json.len() > FLOW_SPEC_BYTES_MAX {
        return Err(bad(&format!("is {} bytes long, at most {FLOW_SPEC_BYTES_MAX} are allowed", json.len())));
    }
    Room::new(0, 0).take("SPEC", text::weigh(json).heap_bytes)?;
    let spec: Value = serde_json::from_slice(json).map_err(|error| bad(&format!("is no JSON: {error}")))?;
    let tasks = match &spec {
        Value::Object(members) if members.keys().all(|name| name == "tasks") => members.get("tasks"),
        _ => None,
    };
    let tasks =
        tasks.and_then(Value::as_array).ok_or_else(|| bad("is no object with a list 'tasks' and nothing else"))?;
    if tasks.len() as u64 > bounds.tasks_max {
        return Err(Error::limit("flow-tasks-max", &format!("{} tasks", tasks.len()), bounds.tasks_max));
    }
    let tasks = tasks.iter().map(|task| read_task(task, bounds)).collect::<Result<Vec<_>, _>>()?;
    in_order(tasks)
}

fn bad(text: &str) -> Error {
    Error::usage(format!("SPEC {text}"))
}

/// The members of one task.
struct Reader<'a> {
    id: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Reader<'a> {
    fn wrong(&self, name: &str, allowed: &str) -> Error {
        let given = self.members.get(name).map_or("missing".into(), |value| printable(value.to_string().as_bytes()));
        bad(&format!("task '{}': '{name}' is {given}, allowed {allowed}", printable(self.id.as_bytes())))
    }

    fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Error> {
        let Some(value) = self.members.get(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| self.wrong(name, &format!("are whole numbers from {min} to {max}")))
    }

    fn millis(&self, name: &str) -> Result<Option<Millis>, Error> {
        self.number(name, 1, DURATION_MS_MAX)
    }

    fn text(&self, name: &str, max: usize) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.members.get(name) else { return Ok(None) };
        let text = value.as_str().filter(|text| (1..=max).contains(&text.len()));
        text.map(Some).ok_or_else(|| self.wrong(name, &format!("are texts of 1 to {max} bytes")))
    }

    fn texts(&self, name: &str, max: usize) -> Result<Vec<&'a str>, Error> {
        let Some(value) = self.members.get(name) else { return Ok(Vec::new()) };
        let texts = value.as_array().filter(|texts| texts.len() <= max);
        let texts = texts.and_then(|texts| texts.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| self.wrong(name, &format!("are lists of at most {max} texts")))
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.members.get(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, "are true and false")),
        }
    }
}

const MEMBERS: [&str; 14] = [
    "id",
    "payload",
    "after",
    "on",
    "caps",
    "priority",
    "delay",
    "deadline",
    "lease",
    "retries",
    "backoff",
    "group",
    "locks",
    "waitsignal",
];

fn read_task(task: &Value, bounds: &Bounds) -> Result<Addition, Error> {
    let members = task.as_object().ok_or_else(|| bad("has a task that is no object"))?;
    let id = members.get("id").and_then(Value::as_str).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    let id = id.ok_or_else(|| bad(&format!("has a task without an 'id' of 1 to {ID_BYTES_MAX} bytes of text")))?;
    let reader = Reader { id, members };
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        let (id, unknown) = (printable(id.as_bytes()), printable(unknown.as_bytes()));
        return Err(bad(&format!("task '{id}' has '{unknown}', allowed are {}", MEMBERS.join(", "))));
    }
    let on = match members.get("on") {
        None => On::Success,
        Some(word) => {
            let at = word.as_str().and_then(|word| On::WORDS.iter().position(|on| word.eq_ignore_ascii_case(on)));
            On::ALL[at.ok_or_else(|| reader.wrong("on", "are success, done and any"))?]
        }
    };
    let after = |ms: Option<Millis>| ms.map_or(0, |ms| bounds.at.saturating_add(ms));
    Ok(Addition {
        id: Bytes::from(id),
        at: bounds.at,
        payload: read_payload(&reader, bounds)?,
        needs: read_needs(&reader, bounds)?,
        priority: reader.number("priority", 0, PRIORITY_MAX)?.unwrap_or(0) as u16,
        on,
        after: reader.texts("after", TASK_PARENTS_MAX)?.into_iter().map(Bytes::from).collect(),
        not_before: after(reader.number("delay", 0, DURATION_MS_MAX)?.filter(|ms| *ms > 0)),
        deadline: after(reader.millis("deadline")?),
        lease_ms: reader.millis("lease")?.unwrap_or(0),
        retries: reader.number("retries", 0, TASK_RETRIES_MAX)?.map(|retries| retries as u32),
        backoff: read_backoff(&reader)?,
        waits_for_signal: reader.flag("waitsignal")?,
    })
}

/// A text as it is, anything else as JSON.
fn read_payload(reader: &Reader, bounds: &Bounds) -> Result<Blob, Error> {
    let payload = match reader.members.get("payload") {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if payload.len() as u64 > bounds.payload_bytes_max {
        let what = format!("the payload of '{}' with {} bytes", printable(reader.id.as_bytes()), payload.len());
        return Err(Error::limit("task-payload-bytes-max", &what, bounds.payload_bytes_max));
    }
    Ok(Blob::from(payload.as_bytes()))
}

fn read_needs(reader: &Reader, bounds: &Bounds) -> Result<Needs, Error> {
    let caps = reader.texts("caps", AGENT_LABELS_MAX)?.into_iter().map(|cap| Requirement::parse(cap.as_bytes()));
    let locks = reader.texts("locks", TASK_LOCKS_MAX)?;
    if let Some(unnamed) = locks.iter().find(|lock| !bounds.locks.contains(&lock.as_bytes())) {
        let (id, lock) = (printable(reader.id.as_bytes()), printable(unnamed.as_bytes()));
        return Err(bad(&format!(
            "task '{id}' has the lock '{lock}', which LOCKS n key ... of the command does not name"
        )));
    }
    Ok(Needs::new(
        caps.collect::<Result<_, _>>()?,
        reader.text("group", ID_BYTES_MAX)?.map_or(Bytes::EMPTY, Bytes::from),
        locks.into_iter().map(Bytes::from).collect(),
    ))
}

fn read_backoff(reader: &Reader) -> Result<Option<Backoff>, Error> {
    let Some(value) = reader.members.get("backoff") else { return Ok(None) };
    let wrong = || reader.wrong("backoff", "are {\"fixed\": ms} and {\"exp\": ms, \"max\": ms}");
    let members = value.as_object().ok_or_else(wrong)?;
    let ms = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(ms) => ms.as_u64().filter(|ms| *ms <= DURATION_MS_MAX).map(Some).ok_or_else(wrong),
    };
    let (fixed, exp, max) = (ms("fixed")?, ms("exp")?, ms("max")?);
    let is_known = members.keys().all(|name| ["fixed", "exp", "max"].contains(&name.as_str()));
    match (fixed, exp) {
        _ if !is_known => Err(wrong()),
        (Some(ms), None) => Ok(Some(Backoff { is_exponential: false, ms, max_ms: max.unwrap_or(ms) })),
        (None, Some(ms)) => Ok(Some(Backoff { is_exponential: true, ms, max_ms: max.unwrap_or(BACKOFF_MS_MAX) })),
        _ => Err(wrong()),
    }
}

/// Puts each task behind its parents, and keeps the order otherwise. Errs with a cycle,
/// if there is one.
fn in_order(tasks: Vec<Addition>) -> Result<Vec<Addition>, Error> {
    let mut places: AHashMap<&[u8], usize> = AHashMap::with_capacity(tasks.len());
    for (at, task) in tasks.iter().enumerate() {
        if places.insert(&task.id, at).is_some() {
            return Err(bad(&format!("has the task '{}' twice", task.id.show())));
        }
    }
    let mut parents: Vec<BTreeSet<usize>> = Vec::with_capacity(tasks.len());
    for task in &tasks {
        let unknown = |parent: &Bytes| {
            bad(&format!("task '{}' comes after '{}', which is not among the tasks", task.id.show(), parent.show()))
        };
        let found = task.after.iter().map(|id| places.get(&id[..]).copied().ok_or_else(|| unknown(id)));
        parents.push(found.collect::<Result<_, _>>()?);
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (child, parents) in parents.iter().enumerate() {
        parents.iter().for_each(|parent| children[*parent].push(child));
    }
    let mut open: Vec<usize> = parents.iter().map(BTreeSet::len).collect();
    let mut free: BTreeSet<usize> = (0..tasks.len()).filter(|at| open[*at] == 0).collect();
    let mut order = VecDeque::with_capacity(tasks.len());
    while let Some(next) = free.pop_first() {
        order.push_back(next);
        for child in &children[next] {
            open[*child] -= 1;
            if open[*child] == 0 {
                free.insert(*child);
            }
        }
    }
    if let Some(first) = open.iter().position(|open| *open > 0) {
        return Err(cycle(&tasks, &parents, &open, first));
    }
    let mut tasks: Vec<Option<Addition>> = tasks.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|at| tasks[at].take()).collect())
}

/// Follows the parents of a task that is on or behind a cycle until one comes again.
fn cycle(tasks: &[Addition], parents: &[BTreeSet<usize>], open: &[usize], first: usize) -> Error {
    let mut way = vec![first];
    loop {
        let last = way[way.len() - 1];
        let Some(next) = parents[last].iter().copied().find(|parent| open[*parent] > 0) else { break };
        let round = way.iter().position(|known| *known == next);
        way.push(next);
        if let Some(start) = round {
            way.drain(..start);
            break;
        }
    }
    const SHOWN_MAX: usize = 32;
    let mut names: Vec<String> = way.iter().take(SHOWN_MAX).map(|at| format!("'{}'", tasks[*at].id.show())).collect();
    if way.len() > SHOWN_MAX {
        names.push("...".into());
    }
    bad(&format!("has a cycle: {}", names.join(" comes after ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(json: &str) -> Result<Vec<String>, String> {
        let bounds = Bounds { at: 1_000, tasks_max: 5, payload_bytes_max: 10, locks: &[b"l"] };
        let read = read(json.as_bytes(), &bounds).map_err(|error| error.line())?;
        Ok(read.into_iter().map(|task| task.id.show()).collect())
    }

    #[test]
    fn tasks_come_behind_what_they_come_after_and_else_in_their_order() {
        let spec =
            r#"{"tasks":[{"id":"d","after":["b","c"]},{"id":"c","after":["a"]},{"id":"b","after":["a"]},{"id":"a"}]}"#;
        assert_eq!(ids(spec).unwrap(), ["a", "c", "b", "d"]);
    }

    #[test]
    fn cycles_strangers_twins_and_crowds_are_named() {
        for (spec, text) in [
            (r#"{"tasks":[{"id":"a","after":["a"]}]}"#, "cycle: 'a' comes after 'a'"),
            (
                r#"{"tasks":[{"id":"x","after":["a"]},{"id":"a","after":["b"]},{"id":"b","after":["c"]},{"id":"c","after":["a"]}]}"#,
                "cycle: 'a' comes after 'b' comes after 'c' comes after 'a'",
            ),
            (r#"{"tasks":[{"id":"a","after":["z"]}]}"#, "'z', which is not among"),
            (r#"{"tasks":[{"id":"a"},{"id":"a"}]}"#, "'a' twice"),
            (r#"{"tasks":[{},{},{},{},{},{}]}"#, "LIMIT 6 tasks"),
            (r#"{"tasks":[{"id":"a","payload":"12345678901"}]}"#, "LIMIT the payload of 'a'"),
            (r#"{"tasks":[{"id":"a","locks":["k"]}]}"#, "the lock 'k'"),
            (r#"{"tasks":[{"id":"a","retry":1}]}"#, "'retry', allowed are id,"),
            (r#"{"tasks":[{"id":"a","backoff":{"exp":1,"fixed":2}}]}"#, "'backoff' is"),
            (r#"{"tasks":[{"id":"a","priority":1001}]}"#, "from 0 to 1000"),
            (r#"{"tasks":{}}"#, "no object with a list"),
            (r#"{"tasks":[], "more":1}"#, "no object with a list"),
            ("[", "is no JSON"),
        ] {
            let error = ids(spec).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
