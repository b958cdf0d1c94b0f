//! Events as JSON, as watchers read them.

use crate::domain::limits::EVENT_SHOWN_MAX;
use crate::domain::Bytes;
use std::io::Write;

/// An event as a flat JSON object, built field by field. Names and words come from this code and
/// need no escapes.
///
/// Every visible change is described, so this runs on every write.
#[derive(Debug)]
pub struct EventJson(Buffer);

impl EventJson {
    /// Starts the description of an event that made `revision`.
    pub fn new(revision: u64, event: &'static str) -> Self {
        let mut json = Self(Buffer { start: [0; START_BYTES], len: 0, rest: Vec::new() });
        json.0.push(b"{\"revision\":");
        json.push_number(revision);
        json.word("event", event);
        json
    }

    /// Ends the object and returns its bytes, in two pieces.
    pub fn finish(&mut self) -> (&[u8], &[u8]) {
        self.0.push(b"}");
        (&self.0.start[..self.0.len], &self.0.rest)
    }

    /// Adds a number: a time, a fence, a count.
    #[inline]
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.push_name(name);
        self.push_number(value);
    }

    /// Adds a word of this code.
    #[inline]
    pub fn word(&mut self, name: &'static str, value: &'static str) {
        self.push_name(name);
        self.0.push(b"\"");
        self.0.push(value.as_bytes());
        self.0.push(b"\"");
    }

    /// Adds bytes from a user. What is not UTF-8 is escaped as `\xNN`.
    #[inline]
    pub fn text(&mut self, name: &'static str, value: &[u8]) {
        self.push_name(name);
        self.push_text(value);
    }

    /// Adds a list of numbers.
    pub fn numbers(&mut self, name: &'static str, values: &[u64]) {
        self.list(name, values, |json, value| json.push_number(*value));
    }

    /// Adds a list of byte strings from users.
    pub fn texts<'a>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'a Bytes>) {
        self.list(name, values, |json, value| json.push_text(value));
    }

    /// Adds the first [`EVENT_SHOWN_MAX`] of a list of byte strings from users, and under `count`
    /// how many there are if that is not all.
    pub fn first_texts(&mut self, name: &'static str, count: &'static str, values: &[Bytes]) {
        self.texts(name, values.iter().take(EVENT_SHOWN_MAX));
        if values.len() > EVENT_SHOWN_MAX {
            self.number(count, values.len() as u64);
        }
    }

    /// Adds a list of JSON texts.
    pub fn jsons(&mut self, name: &'static str, values: impl IntoIterator<Item = String>) {
        self.list(name, values, |json, value| json.0.push(value.as_bytes()));
    }

    fn list<T>(&mut self, name: &'static str, values: impl IntoIterator<Item = T>, push: impl Fn(&mut Self, T)) {
        self.push_name(name);
        self.0.push(b"[");
        for (nth, value) in values.into_iter().enumerate() {
            self.0.push(if nth == 0 { b"" } else { b"," });
            push(self, value);
        }
        self.0.push(b"]");
    }

    #[inline(always)]
    fn push_name(&mut self, name: &'static str) {
        self.0.push(b",\"");
        self.0.push(name.as_bytes());
        self.0.push(b"\":");
    }

    fn push_text(&mut self, value: &[u8]) {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\');
        // A chunk is looked at in whole, many bytes at a time.
        if value.chunks(64).all(|chunk| chunk.iter().fold(true, |all, byte| all & is_plain(byte))) {
            self.0.push(b"\"");
            self.0.push(value);
            self.0.push(b"\"");
        } else {
            self.0.push(json_text(value).as_bytes());
        }
    }

    fn push_number(&mut self, value: u64) {
        // Writing a number cannot fail.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }
}

/// The bytes of an event that are written without an allocation; most events need no more.
const START_BYTES: usize = 192;

/// The text. What does not fit into the start goes into the rest, with everything after it.
#[derive(Debug)]
pub struct Buffer {
    start: [u8; START_BYTES],
    len: usize,
    rest: Vec<u8>,
}

impl Buffer {
    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        match self.start.get_mut(self.len..self.len + bytes.len()) {
            Some(place) if self.rest.is_empty() => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.rest.extend_from_slice(bytes),
        }
    }
}

impl Write for Buffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes from a user as a JSON text.
pub fn json_text(value: &[u8]) -> String {
    let text = match std::str::from_utf8(value) {
        Ok(text) => serde_json::to_string(text),
        Err(_) => serde_json::to_string(&value.escape_ascii().to_string()),
    };
    // Writing a text cannot fail.
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(count: usize) -> serde_json::Value {
        let names: Vec<Bytes> = (0..count).map(|n| Bytes::from(n.to_string().as_str())).collect();
        let mut json = EventJson::new(1, "task.added");
        json.first_texts("after", "after_count", &names);
        let (start, rest) = json.finish();
        serde_json::from_slice(&[start, rest].concat()).expect("JSON")
    }

    #[test]
    fn of_a_long_list_the_first_are_shown_and_the_rest_is_counted() {
        let all = shown(EVENT_SHOWN_MAX);
        assert_eq!((all["after"].as_array().map(Vec::len), all.get("after_count")), (Some(EVENT_SHOWN_MAX), None));
        let more = shown(EVENT_SHOWN_MAX + 1);
        assert_eq!(more["after"].as_array().map(Vec::len), Some(EVENT_SHOWN_MAX));
        assert_eq!(more["after_count"], EVENT_SHOWN_MAX + 1);
    }
}
