//! A whole graph as JSON: `{"tasks": [{"id": "b", "payload": "...", "after": ["a"], ...}]}`, with
//! the options of `LTMC.TASK.ADD` in lower case.

use super::decide::new_name;
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
use crate::domain::value::fence::Clock;
use crate::domain::{Blob, Bytes, Error, Millis};
use ahash::{AHashMap, AHashSet};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// The members of an object, as their values are written.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a specification. Each task comes after its parents. A task with the id `*` gets one that
/// `clock` makes.
pub fn read(json: &[u8], bounds: &Bounds, clock: &mut Clock) -> Result<Vec<Addition>, Error> {
    if json.len() > FLOW_SPEC_BYTES_MAX {
        return Err(bad(&format!("is {} bytes long, at most {FLOW_SPEC_BYTES_MAX} are allowed", json.len())));
    }
    Room::new(0, 0).take("SPEC", text::weigh(json).heap_bytes)?;
    let spec: &RawValue = serde_json::from_slice(json).map_err(|error| bad(&format!("is no JSON: {error}")))?;
    let spec = members_of(spec).filter(|members| members.keys().all(|name| name == "tasks"));
    let tasks = spec.and_then(|members| serde_json::from_str::<Vec<&RawValue>>(members.get("tasks")?.get()).ok());
    let tasks = tasks.ok_or_else(|| bad("is no object with a list 'tasks' and nothing else"))?;
    if tasks.len() as u64 > bounds.tasks_max {
        return Err(Error::limit("flow-tasks-max", &format!("{} tasks", tasks.len()), bounds.tasks_max));
    }
    let mut tasks = tasks.into_iter().map(|task| read_task(task, bounds)).collect::<Result<Vec<_>, _>>()?;
    name_nameless(&mut tasks, clock);
    in_order(tasks)
}

fn members_of(object: &RawValue) -> Option<Members<'_>> {
    serde_json::from_str(object.get()).ok()
}

/// Gives tasks with the id `*` a new one each.
fn name_nameless(tasks: &mut [Addition], clock: &mut Clock) {
    let is_nameless = |task: &Addition| *task.id == *b"*";
    if !tasks.iter().any(is_nameless) {
        return;
    }
    let given: AHashSet<Bytes> = tasks.iter().map(|task| task.id.clone()).collect();
    for task in tasks.iter_mut().filter(|task| is_nameless(task)) {
        task.id = new_name(clock, |name| given.contains(name));
    }
}

fn bad(text: &str) -> Error {
    Error::usage(format!("SPEC {text}"))
}

/// The members of one task.
struct Reader<'a> {
    id: &'a str,
    /// All but the payload, which is not read.
    members: &'a Map<String, Value>,
    /// All of them as they are written.
    written: &'a Members<'a>,
}

impl<'a> Reader<'a> {
    fn wrong(&self, name: &str, allowed: &str) -> Error {
        let given = self.written.get(name).map_or("missing".into(), |value| printable(value.get().as_bytes()));
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

fn read_task(task: &RawValue, bounds: &Bounds) -> Result<Addition, Error> {
    let written = members_of(task).ok_or_else(|| bad("has a task that is no object"))?;
    let members = read_members(&written)?;
    let id = members.get("id").and_then(Value::as_str).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    let id = id.ok_or_else(|| bad(&format!("has a task without an 'id' of 1 to {ID_BYTES_MAX} bytes of text")))?;
    let reader = Reader { id, members: &members, written: &written };
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

/// The values of all members but the payload, of which nobody needs more than its bytes.
fn read_members(written: &Members) -> Result<Map<String, Value>, Error> {
    let read = |(name, value): (&String, &&RawValue)| match serde_json::from_str(value.get()) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => Err(bad(&format!("is no JSON: '{}' of a task: {error}", printable(name.as_bytes())))),
    };
    written.iter().filter(|(name, _)| *name != "payload").map(read).collect()
}

/// The text of a JSON string, and any other JSON as it is written.
fn read_payload(reader: &Reader, bounds: &Bounds) -> Result<Blob, Error> {
    let written = reader.written.get("payload").map_or("", |value| value.get());
    let payload = match written.starts_with('"').then(|| serde_json::from_str::<String>(written)) {
        None => Cow::Borrowed(written),
        Some(Ok(text)) => Cow::Owned(text),
        Some(Err(_)) => return Err(reader.wrong("payload", "are JSON values; a text has no half of a character")),
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

    fn tasks(json: &str, payload_bytes_max: u64) -> Result<Vec<Addition>, String> {
        let bounds = Bounds { at: 1_000, tasks_max: 5, payload_bytes_max, locks: &[b"l"] };
        let mut clock = Clock::default();
        clock.set_now_us(1_700_000_000_000_000);
        read(json.as_bytes(), &bounds, &mut clock).map_err(|error| error.line())
    }

    fn ids(json: &str) -> Result<Vec<String>, String> {
        Ok(tasks(json, 10)?.into_iter().map(|task| task.id.show()).collect())
    }

    #[test]
    fn payloads_are_kept_as_they_are_written() {
        for (written, kept) in [
            (r#"{"b":1,"a":[1.0,123456789012345678901]}"#, None),
            (r#" [ 1e2 , {"z":-0.0,"z":1} ] "#, Some(r#"[ 1e2 , {"z":-0.0,"z":1} ]"#)),
            (r#"1.50"#, None),
            ("null", None),
            (r#"["\u00fc\ud800"]"#, None),
            (r#""a\n\"b\" \u00fc""#, Some("a\n\"b\" \u{fc}")),
            (&"[".repeat(500).chars().chain("]".repeat(500).chars()).collect::<String>(), None),
        ] {
            let read = tasks(&format!(r#"{{"tasks":[{{"payload":{written},"id":"a"}}]}}"#), 2_000).unwrap();
            assert_eq!(String::from_utf8_lossy(&read[0].payload), kept.unwrap_or(written));
        }
    }

    #[test]
    fn a_star_is_a_new_name_each_time() {
        let read = ids(r#"{"tasks":[{"id":"*"},{"id":"a"},{"id":"*","after":["a"]}]}"#).unwrap();
        assert_eq!((read.len(), read[1].as_str()), (3, "a"));
        let (first, last) = (read[0].parse::<u64>().unwrap(), read[2].parse::<u64>().unwrap());
        assert!(first < last);
        let error = ids(r#"{"tasks":[{"id":"*"},{"id":"a","after":["*"]}]}"#).unwrap_err();
        assert!(error.contains("'*', which is not among"), "{error}");
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
            (r#"[[{"id":"a"}]]"#, "no object with a list"),
            (r#"{"tasks":[["a"]]}"#, "a task that is no object"),
            (r#"{"tasks":[{"id":"a","lease":123456789012345678901}]}"#, "'lease' is 123456789012345678901, allowed"),
            (r#"{"tasks":[{"id":"a","payload":"\ud800"}]}"#, "'payload' is"),
        ] {
            let error = ids(spec).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
