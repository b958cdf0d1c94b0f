//! What those who `LTMC.WATCH` a key read: a bounded log of its visible events, each with its revision, as JSON.
//!
//! The log is a part of the value: it is saved and replicated, so a watcher goes on where it was after a reconnect, a restart or a
//! failover. A key that comes into being begins its revisions above those of any earlier life of the same name, so that a revision
//! of an earlier life is recognised as such.

use super::id::Text;
use super::json::pointer::{index, Pointer};
use super::limits::WATCH_LOG_BYTES_MAX;
use super::{Bytes, Invariant};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write;

/// An event that is being told: a flat JSON object, written as it is told. Names and words are our own and need no escapes.
#[derive(Debug)]
pub struct Story(String);

impl Story {
    /// What happened, and the revision that it made.
    pub fn new(revision: u64, event: &'static str) -> Self {
        // Room for most events, so that telling one is one allocation.
        let mut text = String::with_capacity(192);
        let _ = write!(text, r#"{{"revision":{revision},"event":"{event}""#);
        Self(text)
    }

    /// Adds a number: a time, a fence, a count.
    pub fn number(&mut self, name: &'static str, value: u64) {
        let _ = write!(self.0, r#","{name}":{value}"#);
    }

    /// Adds a word of our own.
    pub fn word(&mut self, name: &'static str, value: &'static str) {
        let _ = write!(self.0, r#","{name}":"{value}""#);
    }

    /// Adds bytes of a user. What is not UTF-8 is escaped as `\xNN`.
    pub fn text(&mut self, name: &'static str, value: &[u8]) {
        let _ = write!(self.0, r#","{name}":{}"#, json_text(value));
    }

    /// Adds a list of numbers.
    pub fn numbers(&mut self, name: &'static str, values: &[u64]) {
        self.list(name, values.iter().map(u64::to_string));
    }

    /// Adds a list of bytes of a user.
    pub fn texts(&mut self, name: &'static str, values: &[Bytes]) {
        self.list(name, values.iter().map(|value| json_text(value)));
    }

    /// Adds a list of JSON texts.
    pub fn list(&mut self, name: &'static str, values: impl Iterator<Item = String>) {
        let _ = write!(self.0, r#","{name}":[{}]"#, values.collect::<Vec<_>>().join(","));
    }

    /// The JSON text.
    pub fn finish(mut self) -> Text {
        self.0.push('}');
        Text::from(self.0)
    }
}

/// Bytes of a user as a JSON text.
pub fn json_text(value: &[u8]) -> String {
    let text = match std::str::from_utf8(value) {
        Ok(text) => serde_json::to_string(text),
        Err(_) => serde_json::to_string(&value.escape_ascii().to_string()),
    };
    // A text can always be written.
    text.unwrap_or_default()
}

/// The last visible events of a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "SavedLog")]
pub struct Log {
    /// The revision that the key was born with: the first event has the next one.
    born: u64,
    /// How many events were dropped from the front.
    dropped: u64,
    /// One text for each revision after those.
    events: VecDeque<Text>,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Deserialize)]
struct SavedLog {
    born: u64,
    dropped: u64,
    events: VecDeque<Text>,
}

impl From<SavedLog> for Log {
    fn from(saved: SavedLog) -> Self {
        let bytes = saved.events.iter().map(|event| event.len()).sum();
        Self { born: saved.born, dropped: saved.dropped, events: saved.events, bytes }
    }
}

/// Events of a log, oldest first.
#[derive(Debug)]
pub struct Events<'a>(std::iter::Skip<std::collections::vec_deque::Iter<'a, Text>>);

impl<'a> Iterator for Events<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next().map(|event| &**event)
    }
}

/// Whether an event concerns a place: those that say where something has changed only if it is there.
pub fn concerns(event: &str, place: &Pointer) -> bool {
    let Ok(story) = serde_json::from_str::<Value>(event) else { return true };
    if let Some(edits) = story.get("edits").and_then(Value::as_array) {
        return edits.iter().any(|edit| edit_concerns(edit, place));
    }
    // The fields of a session are its first level.
    let field = place.cut(1);
    let names = ["set", "deleted"].into_iter().filter_map(|what| story.get(what)?.as_array());
    let mut names = names.flatten().filter_map(Value::as_str).peekable();
    names.peek().is_none() || field.is_root() || names.any(|name| Pointer::default().child(name) == field)
}

/// Whether an edit is at, around or inside a place, or moves the element of an array that is there.
fn edit_concerns(edit: &Value, place: &Pointer) -> bool {
    let text = |name: &str| edit.get(name).and_then(Value::as_str);
    let Some(path) = text("path").and_then(|path| Pointer::parse(path.as_bytes()).ok()) else { return true };
    let moves = || {
        let (array, at) = path.split()?;
        let (at, part) = (index(&at)?, place.parts().nth(array.depth())?);
        Some(text("op") != Some("set") && array.covers(place) && index(&part)? >= at)
    };
    path.touches(place) || moves().unwrap_or(false)
}

/// What a watcher has missed.
#[derive(Debug)]
pub enum Missed<'a> {
    /// These events, oldest first.
    Events(Events<'a>),
    /// More than is known: the oldest revision that is kept.
    Compacted(u64),
}

impl Log {
    /// The log of a key that is born with `revision`.
    pub fn new(revision: u64) -> Self {
        Self { born: revision, ..Self::default() }
    }

    /// The log of a copy that goes on from `revision`: what came before was told of another key.
    pub fn of_copy(revision: u64) -> Self {
        Self { born: revision.saturating_sub(1), dropped: revision.min(1), ..Self::default() }
    }

    /// Adds the event of the next revision; the oldest are dropped if there are more than `events_max` or too many bytes.
    pub fn push(&mut self, event: Text, events_max: usize) {
        self.bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > events_max || self.bytes > WATCH_LOG_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// The revision of the last event.
    pub fn revision(&self) -> u64 {
        self.born + self.dropped + self.events.len() as u64
    }

    /// The events after revision `since`. 0 is the beginning of the key's life.
    pub fn after(&self, since: u64) -> Missed<'_> {
        let known_from = self.born + self.dropped;
        let from_the_beginning = since == 0 && self.dropped == 0;
        if !from_the_beginning && (since < known_from || since > self.revision()) {
            return Missed::Compacted(known_from + 1);
        }
        let skipped = since.saturating_sub(known_from) as usize;
        Missed::Events(Events(self.events.iter().skip(skipped)))
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        self.events.capacity() * size_of::<Text>() + self.bytes
    }

    /// Errs if it is longer than the commands let it become.
    pub fn check(&self, events_max: usize) -> Result<(), Invariant> {
        let bytes: usize = self.events.iter().map(|event| event.len()).sum();
        let fits = self.events.len() <= events_max && bytes <= WATCH_LOG_BYTES_MAX;
        let counts = self.born.checked_add(self.dropped).and_then(|n| n.checked_add(events_max as u64));
        if fits && self.bytes == bytes && counts.is_some_and(|n| i64::try_from(n).is_ok()) {
            return Ok(());
        }
        Err(Invariant("the watch log is out of bounds".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: usize, max: usize) -> Log {
        let mut log = Log::new(1_000);
        (1..=events).for_each(|n| log.push(n.to_string().into(), max));
        log
    }

    /// The events after a revision, or the oldest revision that is kept.
    fn after(log: &Log, since: u64) -> Result<Vec<&str>, u64> {
        match log.after(since) {
            Missed::Events(events) => Ok(events.collect()),
            Missed::Compacted(oldest) => Err(oldest),
        }
    }

    #[test]
    fn a_watcher_gets_what_it_missed() {
        let log = log(5, 10);
        assert_eq!(log.revision(), 1_005);
        assert_eq!(after(&log, 1_003), Ok(vec!["4", "5"]));
        assert_eq!(after(&log, 1_005), Ok(vec![]));
        assert_eq!(after(&log, 0), Ok(vec!["1", "2", "3", "4", "5"]), "0 is the beginning");
    }

    #[test]
    fn who_is_too_far_behind_or_from_an_earlier_life_is_told_so() {
        let long = log(15, 10);
        assert_eq!(after(&long, 1_004), Err(1_006));
        assert_eq!(after(&long, 1_014), Ok(vec!["15"]));
        assert_eq!(after(&long, 0), Err(1_006));
        assert_eq!(after(&log(5, 10), 999), Err(1_001), "an earlier life");
        assert_eq!(after(&log(5, 10), 1_006), Err(1_001), "the future of another life");
    }

    #[test]
    fn an_event_concerns_the_places_that_it_touches() {
        let at = |path: &str| Pointer::parse(path.as_bytes()).expect(path);
        let changed = r#"{"edits":[{"op":"set","path":"/a/b","value":1},{"op":"remove","path":"/c"}]}"#;
        for (place, expected) in
            [("", true), ("/a", true), ("/a/b/c", true), ("/c", true), ("/a/c", false), ("/d", false)]
        {
            assert_eq!(concerns(changed, &at(place)), expected, "{place}");
        }
        let moved = r#"{"edits":[{"op":"insert","path":"/l/1","value":1}]}"#;
        for (place, expected) in [("/l", true), ("/l/1", true), ("/l/2/x", true), ("/l/0", false), ("/m/2", false)] {
            assert_eq!(concerns(moved, &at(place)), expected, "{place}");
        }
        let set = r#"{"set":["x/y"],"deleted":["z"]}"#;
        for (place, expected) in [("", true), ("/x~1y", true), ("/z/more", true), ("/x", false)] {
            assert_eq!(concerns(set, &at(place)), expected, "{place}");
        }
        assert!(concerns(r#"{"event":"context.ended"}"#, &at("/a")));
    }

    #[test]
    fn the_log_is_bounded_in_bytes() {
        let mut log = Log::new(0);
        let event: Text = "x".repeat(WATCH_LOG_BYTES_MAX / 4).into();
        (0..9).for_each(|_| log.push(event.clone(), 1_000));
        assert_eq!((log.revision(), log.events.len()), (9, 4));
        assert_eq!(log.check(1_000), Ok(()));
    }

    #[test]
    fn stories_are_json() {
        let mut story = Story::new(5, "agent.died");
        story.number("n", 7);
        story.text("who", b"a\xff\"");
        story.text("utf8", "é\n".as_bytes());
        let text = story.finish();
        assert_eq!(&*text, r#"{"revision":5,"event":"agent.died","n":7,"who":"a\\xff\\\"","utf8":"é\n"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
