//! A whole graph as JSON: `{"tasks": [{"id": "b", "payload": "...", "after": ["a"], ...}]}`, with
//! the options of `LTMC.TASK.ADD` in lower case.

mod bad;
mod order;
mod written;

use super::decide::new_name;
use super::event::Addition;
use super::task::{Backoff, Needs, On};
use crate::domain::algorithm::looks::looked_at_json;
use crate::domain::limits::{
    AGENT_LABELS_MAX, DURATION_MS_MAX, ID_BYTES_MAX, PRIORITY_MAX, TASK_LOCKS_MAX, TASK_PARENTS_MAX, TASK_RETRIES_MAX,
};
use crate::domain::value::bytes::printable;
use crate::domain::value::capability::Requirement;
use crate::domain::value::fence::Clock;
use crate::domain::{Blob, Bytes, Error, Millis};
use ahash::AHashSet;
use bad::bad;
use order::in_order;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use written::{text_of, Member, Pauses, Text, Written, MEMBERS, NAMELESS};

/// The bounds of a specification.
#[derive(Debug)]
pub struct Bounds {
    /// The longest text, bytes.
    pub bytes_max: u64,
    /// The largest number of tasks of a flow.
    pub flow_tasks_max: u64,
    /// The largest number of tasks.
    pub tasks_max: u64,
    /// The largest number of names in all lists `after`.
    pub edges_max: u64,
    /// The largest number of different sets of capabilities.
    pub sets_max: u64,
    /// The longest payload, bytes.
    pub payload_bytes_max: u64,
    /// The locks that may be named: the keys of the command.
    pub locks: Vec<Bytes>,
}

/// The tasks of a specification that was read, each behind its parents. They are not named and
/// dated yet.
#[derive(Debug)]
pub struct Graph(Vec<Addition>);

impl Graph {
    /// The tasks as they are added now. One with the id `*` gets a name that `clock` makes.
    pub fn into_additions(self, at: Millis, clock: &mut Clock) -> Vec<Addition> {
        let Self(mut tasks) = self;
        name_nameless(&mut tasks, clock);
        for task in &mut tasks {
            task.at = at;
            // So far they were counted from then.
            for time in [&mut task.not_before, &mut task.deadline].into_iter().filter(|time| **time > 0) {
                *time = time.saturating_add(at);
            }
        }
        tasks
    }
}

/// What reading a specification takes, in strings: most of the time goes into them.
pub fn strings_in(json: &[u8]) -> usize {
    json.iter().filter(|byte| **byte == b'"').count() / 2
}

/// The longest pause between attempts of a task without its own, ms.
pub const BACKOFF_MS_MAX: Millis = 3_600_000;

/// Reads a specification.
pub fn read(json: &[u8], bounds: &Bounds) -> Result<Graph, Error> {
    if json.len() as u64 > bounds.bytes_max {
        return Err(Error::limit("flow-spec-bytes-max", &format!("SPEC of {} bytes", json.len()), bounds.bytes_max));
    }
    looked_at_json(json.len());
    let spec: &RawValue = serde_json::from_slice(json).map_err(|error| bad(&format!("is no JSON: {error}")))?;
    let spec: Option<BTreeMap<Text, &RawValue>> = serde_json::from_str(spec.get()).ok();
    let spec = spec.filter(|members| members.keys().all(|name| name.0 == "tasks"));
    let tasks = spec.and_then(|members| serde_json::from_str::<Vec<&RawValue>>(members.values().next()?.get()).ok());
    let tasks = tasks.ok_or_else(|| bad("is no object with a list 'tasks' and nothing else"))?;
    for (name, max) in [("flow-tasks-max", bounds.flow_tasks_max), ("flow-spec-tasks-max", bounds.tasks_max)] {
        if tasks.len() as u64 > max {
            return Err(Error::limit(name, &format!("{} tasks", tasks.len()), max));
        }
    }
    let mut additions = Vec::with_capacity(tasks.len());
    let (locks, mut edges) = (bounds.locks.iter().map(|lock| &lock[..]).collect(), 0);
    for task in tasks {
        let task = read_task(task, bounds, &locks)?;
        edges += task.after.len() as u64;
        if edges > bounds.edges_max {
            let what = format!("{edges} names in 'after' up to task '{}'", task.id.show());
            return Err(Error::limit("flow-spec-edges-max", &what, bounds.edges_max));
        }
        additions.push(task);
    }
    let sets = additions.iter().map(|task| &task.needs.caps).collect::<AHashSet<_>>().len() as u64;
    if sets > bounds.sets_max {
        return Err(Error::limit("flow-caps-max", &format!("{sets} different sets of 'caps'"), bounds.sets_max));
    }
    in_order(additions).map(Graph)
}

/// Gives tasks with the id `*` a new one each.
fn name_nameless(tasks: &mut [Addition], clock: &mut Clock) {
    let is_nameless = |task: &Addition| *task.id == *NAMELESS;
    if !tasks.iter().any(is_nameless) {
        return;
    }
    let given: AHashSet<Bytes> = tasks.iter().map(|task| task.id.clone()).collect();
    for task in tasks.iter_mut().filter(|task| is_nameless(task)) {
        task.id = new_name(clock, |name| given.contains(name));
    }
}

fn read_task(task: &RawValue, bounds: &Bounds, locks: &AHashSet<&[u8]>) -> Result<Addition, Error> {
    let task: Option<Written> = serde_json::from_str(task.get()).ok();
    let mut task = task.ok_or_else(|| bad("has a task that is no object"))?;
    let id = task.value(Member::Id).and_then(text_of).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    task.id = id.ok_or_else(|| bad(&format!("has a task without an 'id' of 1 to {ID_BYTES_MAX} bytes of text")))?;
    if let Some(unknown) = &task.unknown {
        let (id, unknown) = (printable(task.id.as_bytes()), printable(unknown.as_bytes()));
        return Err(bad(&format!("task '{id}' has '{unknown}', allowed are {}", MEMBERS.join(", "))));
    }
    let on = match task.value(Member::On) {
        None => On::Success,
        Some(word) => {
            let word = text_of(word);
            let at = word.and_then(|word| On::WORDS.iter().position(|on| word.eq_ignore_ascii_case(on)));
            On::ALL[at.ok_or_else(|| task.wrong(Member::On, "are success, done and any"))?]
        }
    };
    Ok(Addition {
        id: Bytes::from(&*task.id),
        at: 0,
        payload: read_payload(&task, bounds)?,
        needs: read_needs(&task, locks)?,
        priority: task.number(Member::Priority, 0, PRIORITY_MAX)?.unwrap_or(0) as u16,
        on,
        after: names(task.texts(Member::After, TASK_PARENTS_MAX)?),
        not_before: task.number(Member::Delay, 0, DURATION_MS_MAX)?.unwrap_or(0),
        deadline: task.millis(Member::Deadline)?.unwrap_or(0),
        lease_ms: task.millis(Member::Lease)?.unwrap_or(0),
        retries: task.number(Member::Retries, 0, TASK_RETRIES_MAX)?.map(|retries| retries as u32),
        backoff: read_backoff(&task)?,
        waits_for_signal: task.flag(Member::WaitSignal)?,
    })
}

fn names(texts: Vec<Text>) -> Vec<Bytes> {
    texts.into_iter().map(|Text(text)| Bytes::from(&*text)).collect()
}

/// The text of a JSON string, and any other JSON as it is written.
fn read_payload(task: &Written, bounds: &Bounds) -> Result<Blob, Error> {
    let written = task.value(Member::Payload).unwrap_or("");
    let payload = match written.starts_with('"').then(|| text_of(written)) {
        None => Cow::Borrowed(written),
        Some(Some(text)) => text,
        Some(None) => {
            return Err(task.wrong(Member::Payload, "are JSON values; a text has no half of a character"));
        }
    };
    if payload.len() as u64 > bounds.payload_bytes_max {
        let what = format!("the payload of '{}' with {} bytes", printable(task.id.as_bytes()), payload.len());
        return Err(Error::limit("task-payload-bytes-max", &what, bounds.payload_bytes_max));
    }
    Ok(Blob::from(payload.as_bytes()))
}

fn read_needs(task: &Written, known: &AHashSet<&[u8]>) -> Result<Needs, Error> {
    let caps = task.texts(Member::Caps, AGENT_LABELS_MAX)?.into_iter();
    let caps = caps.map(|Text(cap)| Requirement::parse(cap.as_bytes())).collect::<Result<_, _>>()?;
    let locks = task.texts(Member::Locks, TASK_LOCKS_MAX)?;
    if let Some(Text(unnamed)) = locks.iter().find(|lock| !known.contains(lock.0.as_bytes())) {
        let (id, lock) = (printable(task.id.as_bytes()), printable(unnamed.as_bytes()));
        return Err(bad(&format!(
            "task '{id}' has the lock '{lock}', which LOCKS n key ... of the command does not name"
        )));
    }
    let group = task.text(Member::Group, ID_BYTES_MAX)?.map_or(Bytes::EMPTY, |group| Bytes::from(&*group));
    Ok(Needs::new(caps, group, names(locks)))
}

fn read_backoff(task: &Written) -> Result<Option<Backoff>, Error> {
    let Some(value) = task.value(Member::Backoff) else { return Ok(None) };
    let pauses: Option<Pauses> = serde_json::from_str(value).ok();
    let is_short = |ms: Option<Millis>| ms.is_none_or(|ms| ms <= DURATION_MS_MAX);
    let pauses = pauses.filter(|pauses| [pauses.fixed, pauses.exp, pauses.max].into_iter().all(is_short));
    let backoff = pauses.and_then(|pauses| match (pauses.fixed, pauses.exp) {
        (Some(ms), None) => Some(Backoff { is_exponential: false, ms, max_ms: pauses.max.unwrap_or(ms) }),
        (None, Some(ms)) => Some(Backoff { is_exponential: true, ms, max_ms: pauses.max.unwrap_or(BACKOFF_MS_MAX) }),
        _ => None,
    });
    let wrong = || task.wrong(Member::Backoff, "are {\"fixed\": ms} and {\"exp\": ms, \"max\": ms}");
    backoff.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(json: &str, payload_bytes_max: u64) -> Result<Vec<Addition>, String> {
        let bounds = Bounds {
            bytes_max: 10_000,
            flow_tasks_max: 5,
            tasks_max: 4,
            edges_max: 5,
            sets_max: 2,
            payload_bytes_max,
            locks: vec![Bytes::from("l")],
        };
        let mut clock = Clock::default();
        clock.set_now_us(1_700_000_000_000_000);
        let graph = read(json.as_bytes(), &bounds).map_err(|error| error.line())?;
        Ok(graph.into_additions(1_000, &mut clock))
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
            (
                r#"{"tasks":[{},{},{},{},{},{}]}"#,
                "LIMIT 6 tasks would pass the limit of 5 (setting ltmc.flow-tasks-max)",
            ),
            (
                r#"{"tasks":[{},{},{},{},{}]}"#,
                "LIMIT 5 tasks would pass the limit of 4 (setting ltmc.flow-spec-tasks-max)",
            ),
            (r#"{"tasks":[{"id":"a","after":["b","b","b","b","b","b"]}]}"#, "LIMIT 6 names in 'after' up to task 'a'"),
            (
                r#"{"tasks":[{"id":"a","caps":["x"]},{"id":"b"},{"id":"c","caps":["y"]}]}"#,
                "LIMIT 3 different sets of 'caps'",
            ),
            (&format!(r#"{{"tasks":[]{}}}"#, " ".repeat(10_000)), "LIMIT SPEC of 10012 bytes"),
            (r#"{"tasks":[{"id":"\ud800"}]}"#, "without an 'id'"),
            (r#"{"tasks":[{"id":"a","caps":["\ud800"]}]}"#, "'caps' is"),
            (r#"{"tasks":[{"id":"a","waitsignal":1}]}"#, "'waitsignal' is 1, allowed are true and false"),
            (r#"{"tasks":[{"id":"a","backoff":{"exp":1,"min":2}}]}"#, "'backoff' is"),
            (r#"{"tasks":[{"id":"a","priority":1.0}]}"#, "'priority' is 1.0, allowed"),
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
