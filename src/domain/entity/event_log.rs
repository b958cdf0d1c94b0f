//! The watch log of a key: a bounded log of its visible events, each with its revision, as JSON.
//!
//! The log is part of the value and is saved and replicated. So a watcher resumes from the
//! last revision it saw after a reconnect, a restart or a failover. The revisions of a new
//! key begin above those of any earlier life of the same name, so a revision of an earlier
//! life is recognised.

use super::event_json::EventJson;
use super::invariant::rule;
use crate::domain::algorithm::looks::{looked_at_json, looked_at_parts};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::json::pointer::{index, Pointer};
use crate::domain::limits::WATCH_LOG_BYTES_MAX;
use crate::domain::value::bytes::Text;
use crate::domain::Invariant;
use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{vec_deque, VecDeque};

/// The last visible events of a key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "SavedLog")]
pub struct Log {
    /// The revision the key was created with: the first event has the next one.
    born: u64,
    /// The number of events dropped from the front.
    dropped: u64,
    /// The length of the text of each revision after those.
    lengths: VecDeque<u32>,
    /// The texts in order. Each is whole in one piece, so adding or dropping one rarely allocates
    /// and never moves another.
    pieces: VecDeque<Vec<u8>>,
    /// The number of bytes dropped from the front of the first piece.
    dropped_bytes: usize,
    /// Bytes of all texts.
    bytes: usize,
}

/// As many events are passed in one look.
const EVENTS_OF_LOOK: usize = 64;
/// Bytes of a piece, unless a text in it is longer.
const PIECE_BYTES: usize = 4096;

#[derive(Deserialize)]
struct SavedLog {
    born: u64,
    dropped: u64,
    events: Vec<Text>,
}

impl From<SavedLog> for Log {
    fn from(saved: SavedLog) -> Self {
        let mut log = Self { born: saved.born, dropped: saved.dropped, ..Self::default() };
        saved.events.iter().for_each(|event| log.add(event.as_bytes(), b""));
        log
    }
}

impl Serialize for Log {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut saved = serializer.serialize_struct("Log", 3)?;
        saved.serialize_field("born", &self.born)?;
        saved.serialize_field("dropped", &self.dropped)?;
        saved.serialize_field("events", &self.skip(0))?;
        saved.end()
    }
}

/// Events of a log, oldest first.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    lengths: vec_deque::Iter<'a, u32>,
    pieces: vec_deque::Iter<'a, Vec<u8>>,
    /// The rest of the piece that holds the next event.
    piece: &'a [u8],
}

impl<'a> Events<'a> {
    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        let length = *self.lengths.next()? as usize;
        looked_at_parts(1, EVENTS_OF_LOOK);
        if self.piece.len() < length {
            self.piece = self.pieces.next()?;
        }
        let (event, rest) = self.piece.split_at_checked(length)?;
        self.piece = rest;
        Some(event)
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // Only whole texts were written.
        self.next_bytes().map(|event| std::str::from_utf8(event).unwrap_or_default())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.clone())
    }
}

/// Whether an event concerns a place. An event that names the places it changed
/// concerns only those.
pub fn concerns(event: &str, place: &Pointer) -> bool {
    looked_at_json(event.len());
    let Ok(json) = serde_json::from_str::<Value>(event) else { return true };
    if let Some(edits) = json.get("edits").and_then(Value::as_array) {
        return edits.iter().any(|edit| edit_concerns(edit, place));
    }
    // The fields of a session are the first level.
    let field = place.cut(1);
    let names = ["set", "deleted"].into_iter().filter_map(|what| json.get(what)?.as_array());
    let mut names = names.flatten().filter_map(Value::as_str).peekable();
    names.peek().is_none() || field.is_root() || names.any(|name| Pointer::default().child(name) == field)
}

/// Whether an edit is at, around or inside a place, or moves an array element that is there.
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
    /// More than the log holds: the oldest revision that is kept.
    Compacted(u64),
}

impl Log {
    /// The log of a key that is created with `revision`.
    pub fn new(revision: u64) -> Self {
        Self { born: revision, ..Self::default() }
    }

    /// The log of a copy that continues from `revision`: earlier events belong to another key.
    pub fn of_copy(revision: u64) -> Self {
        Self { born: revision.saturating_sub(1), dropped: revision.min(1), ..Self::default() }
    }

    /// Adds the event of the next revision. Drops the oldest events if there are more than
    /// `events_max`, or too many bytes.
    pub fn push(&mut self, json: &mut EventJson, events_max: usize) {
        let (start, rest) = json.finish();
        self.add(start, rest);
        while self.lengths.len() > events_max || self.bytes > WATCH_LOG_BYTES_MAX {
            self.drop_oldest();
        }
    }

    fn add(&mut self, start: &[u8], rest: &[u8]) {
        let length = start.len() + rest.len();
        looked_at_json(length);
        let room = match self.pieces.back() {
            Some(last) if last.len() + length <= PIECE_BYTES => None,
            // Most keys have a short log, in one piece that grows with it.
            None => Some(length),
            Some(_) => Some(length.max(PIECE_BYTES)),
        };
        self.pieces.extend(room.map(Vec::with_capacity));
        if let Some(piece) = self.pieces.back_mut() {
            if piece.capacity() - piece.len() < length {
                piece.reserve_exact(length.max(piece.len().min(PIECE_BYTES - piece.len())));
            }
            piece.extend_from_slice(start);
            piece.extend_from_slice(rest);
        }
        // An event is no longer than what a client can send at once, 512 MB.
        self.lengths.push_back(length as u32);
        self.bytes += length;
    }

    fn drop_oldest(&mut self) {
        let length = self.lengths.pop_front().unwrap_or(0) as usize;
        (self.dropped_bytes, self.bytes) = (self.dropped_bytes + length, self.bytes - length);
        self.dropped += 1;
        if self.pieces.front().is_some_and(|piece| piece.len() == self.dropped_bytes) {
            self.pieces.pop_front();
            self.dropped_bytes = 0;
            self.pieces.give_back_room();
        }
        self.lengths.give_back_room();
    }

    /// The revision of the last event.
    pub fn revision(&self) -> u64 {
        self.born + self.dropped + self.lengths.len() as u64
    }

    /// The events after revision `since`. 0 is the beginning of the key's life.
    pub fn after(&self, since: u64) -> Missed<'_> {
        let known_from = self.born + self.dropped;
        let from_the_beginning = since == 0 && self.dropped == 0;
        if !from_the_beginning && (since < known_from || since > self.revision()) {
            return Missed::Compacted(known_from + 1);
        }
        Missed::Events(self.skip(since.saturating_sub(known_from) as usize))
    }

    /// All events except the oldest `skipped`.
    fn skip(&self, skipped: usize) -> Events<'_> {
        let mut pieces = self.pieces.iter();
        let piece = pieces.next().map_or(&[][..], |first| &first[self.dropped_bytes..]);
        let mut events = Events { lengths: self.lengths.iter(), pieces, piece };
        for _ in 0..skipped {
            events.next_bytes();
        }
        events
    }

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Vec::capacity).sum();
        self.lengths.capacity() * size_of::<u32>() + self.pieces.capacity() * size_of::<Vec<u8>>() + pieces
    }

    /// Recounts its bytes.
    pub fn rebuild(&mut self) {
        self.bytes = self.lengths.iter().map(|length| *length as usize).sum();
    }

    /// Errs if it is longer than commands can make it.
    pub fn check(&self, events_max: usize) -> Result<(), Invariant> {
        let bytes: usize = self.lengths.iter().map(|length| *length as usize).sum();
        let fits = self.lengths.len() <= events_max && bytes <= WATCH_LOG_BYTES_MAX;
        let counts = self.born.checked_add(self.dropped).and_then(|n| n.checked_add(events_max as u64));
        if fits && self.bytes == bytes && counts.is_some_and(|n| i64::try_from(n).is_ok()) {
            return Ok(());
        }
        Err(Invariant("the watch log is out of bounds".into()))
    }

    /// Errs if a text is no JSON object, as only one that was made by hand is.
    pub fn check_texts(&self) -> Result<(), Invariant> {
        let is_event = |text: &str| text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
        rule(self.skip(0).all(is_event), "the watch log holds what is no event")
    }

    /// Gives up all events if one is none. Watchers are told that they have missed some.
    pub fn salvage(&mut self) -> Option<String> {
        self.check_texts().err()?;
        *self = Self { born: self.born, dropped: self.dropped + self.lengths.len() as u64, ..Self::default() };
        Some("the events of the watch log".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: usize, max: usize) -> Log {
        let mut log = Log::new(1_000);
        (1..=events as u64).for_each(|n| log.push(&mut EventJson::new(n, "x"), max));
        log
    }

    /// The numbers of the events after a revision, or the oldest revision that is kept.
    fn after(log: &Log, since: u64) -> Result<Vec<u64>, u64> {
        let number = |event: &str| serde_json::from_str::<Value>(event).expect("JSON")["revision"].as_u64();
        match log.after(since) {
            Missed::Events(events) => Ok(events.map(|event| number(event).expect("a number")).collect()),
            Missed::Compacted(oldest) => Err(oldest),
        }
    }

    #[test]
    fn bytes_that_are_counted_wrong_are_counted_anew() {
        let mut log = log(5, 10);
        log.bytes += 1;
        assert!(log.check(10).is_err());
        log.rebuild();
        assert_eq!(log.check(10), Ok(()));
    }

    #[test]
    fn a_log_with_a_text_that_is_no_event_is_given_up() {
        let mut sound = log(5, 10);
        assert_eq!((sound.check_texts(), sound.salvage()), (Ok(()), None));
        for text in ["", "5", "{\"revision\":1", "{}x"] {
            let mut log = log(5, 10);
            log.add(text.as_bytes(), b"");
            assert!(log.check_texts().is_err(), "{text}");
            assert!(log.salvage().is_some());
            assert_eq!((log.revision(), log.check(10), log.check_texts()), (1_006, Ok(()), Ok(())));
            assert_eq!((after(&log, 1_003), after(&log, 1_006)), (Err(1_007), Ok(vec![])), "{text}");
        }
    }

    #[test]
    fn a_watcher_gets_what_it_missed() {
        let log = log(5, 10);
        assert_eq!(log.revision(), 1_005);
        assert_eq!(after(&log, 1_003), Ok(vec![4, 5]));
        assert_eq!(after(&log, 1_005), Ok(vec![]));
        assert_eq!(after(&log, 0), Ok(vec![1, 2, 3, 4, 5]), "0 is the beginning");
    }

    #[test]
    fn who_is_too_far_behind_or_from_an_earlier_life_is_told_so() {
        let long = log(15, 10);
        assert_eq!(after(&long, 1_004), Err(1_006));
        assert_eq!(after(&long, 1_014), Ok(vec![15]));
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
        for revision in 1..=9 {
            let mut json = EventJson::new(revision, "x");
            json.text("long", &[b'x'; WATCH_LOG_BYTES_MAX / 4 - 50]);
            log.push(&mut json, 1_000);
        }
        assert_eq!((log.revision(), log.lengths.len()), (9, 4));
        assert_eq!(log.check(1_000), Ok(()));
    }

    #[test]
    fn events_are_what_they_were_in_whichever_piece_they_lie() {
        let told = |n: usize| {
            let mut json = EventJson::new(n as u64, "x");
            json.text("text", "é".repeat(n * n % 3_000).as_bytes());
            json
        };
        let text = |n: usize| format!(r#"{{"revision":{n},"event":"x","text":"{}"}}"#, "é".repeat(n * n % 3_000));
        let mut log = Log::new(0);
        for n in 1..=500 {
            log.push(&mut told(n), 20);
            let since = n.saturating_sub(20);
            let kept: Vec<String> = (since + 1..=n).map(text).collect();
            let Missed::Events(events) = log.after(since as u64) else { panic!("{n}") };
            assert!(events.eq(kept.iter().map(String::as_str)), "{n}");
            assert_eq!(log.check(20), Ok(()));
            assert!(log.heap_bytes() < 2 * kept.iter().map(String::len).sum::<usize>() + 3 * PIECE_BYTES, "{n}");
        }
        let saved = serde_json::to_string(&log).expect("it can be saved");
        let again: Log = serde_json::from_str(&saved).expect("it can be read");
        assert_eq!(serde_json::to_string(&again).expect("it can be saved again"), saved);
        assert_eq!((again.revision(), again.check(20)), (500, Ok(())));
    }

    #[test]
    fn stories_are_json() {
        let mut json = EventJson::new(5, "agent.died");
        json.number("n", 7);
        json.text("who", b"a\xff\"");
        json.text("utf8", "é\n".as_bytes());
        let mut log = Log::new(0);
        log.push(&mut json, 1);
        let Missed::Events(mut events) = log.after(0) else { panic!("nothing was dropped") };
        let text = events.next().expect("one event");
        assert_eq!(text, r#"{"revision":5,"event":"agent.died","n":7,"who":"a\\xff\\\"","utf8":"é\n"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
    }
}
