//! JSON as text: reading it within bounds, and the saved form of values.

use super::value::Value;
use crate::domain::algorithm::looks::looked_at_json;
use crate::domain::limits::{JSON_DEPTH_END, JSON_HEAP_BYTES};
use crate::domain::{Code, Error};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, io};

/// A JSON value that is saved as its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Json(pub Value);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            // Its `to_string` takes twice as long, since that goes through `fmt`.
            let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
            serializer.serialize_str(&text)
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;
        impl Visitor<'_> for JsonVisitor {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Json, E> {
                serde_json::from_str(text).map(Json).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(JsonVisitor)
    }
}

/// The memory that the JSON of one call may take. A short text can be a large value: `{"":0}` takes
/// a hundred times its bytes.
#[derive(Debug)]
pub struct Room {
    values_max: usize,
    values_left: usize,
    depth_max: usize,
    heap_max: usize,
    heap_left: usize,
}

impl Room {
    /// For texts of at most `bytes_max` bytes and `depth_max` levels. Together they may take
    /// [`JSON_HEAP_BYTES`] of memory, or eight times `bytes_max` if that is more.
    pub fn new(bytes_max: usize, depth_max: usize) -> Self {
        let heap_max = bytes_max.saturating_mul(8).max(JSON_HEAP_BYTES);
        Self { values_max: usize::MAX, values_left: usize::MAX, depth_max, heap_max, heap_left: heap_max }
    }

    /// The same for texts of at most `values_max` values together: see `ltmc.context-values-max`.
    pub fn of_values(self, values_max: usize) -> Self {
        Self { values_max, values_left: values_max, ..self }
    }

    /// Errs if `what` has more values than are left.
    fn take_values(&mut self, what: &str, values: usize) -> Result<(), Error> {
        if let Some(left) = self.values_left.checked_sub(values) {
            self.values_left = left;
            return Ok(());
        }
        let what = match self.values_max - self.values_left {
            0 => format!("{what} of {values} values"),
            before => format!("{what} of {values} values behind {before} others of the same call"),
        };
        Err(Error::limit("context-values-max", &what, self.values_max as u64))
    }

    /// Errs if `what` takes more than is left of the memory.
    pub fn take(&mut self, what: &str, heap_bytes: usize) -> Result<(), Error> {
        if heap_bytes > self.heap_left {
            let text = format!(
                "{what} takes about {heap_bytes} bytes of memory as it is read, {} of {} that one call may take are left",
                self.heap_left, self.heap_max
            );
            return Err(Error::new(Code::Limit, text));
        }
        self.heap_left -= heap_bytes;
        Ok(())
    }

    /// Reads a JSON text if there is room for it; `what` names the argument.
    pub fn read(&mut self, what: &str, text: &[u8]) -> Result<Value, Error> {
        let Weight { levels, values, heap_bytes } = weigh(text);
        if levels > self.depth_max {
            let text = format!("{what} has more than {} levels (setting ltmc.json-depth-max)", self.depth_max);
            return Err(Error::new(Code::Limit, text));
        }
        self.take_values(what, values)?;
        self.take(what, heap_bytes)?;
        looked_at_json(text.len());
        serde_json::from_slice(text).map_err(|error| Error::usage(format!("{what} is not valid JSON: {error}")))
    }
}

/// Whether a command with a `META` of at most `bytes_max` bytes can have left this text: JSON, or
/// nothing.
pub fn is_meta(text: &[u8], bytes_max: usize) -> bool {
    let is_json = || Room::new(bytes_max, JSON_DEPTH_END).read("META", text).is_ok();
    text.is_empty() || (text.len() <= bytes_max && is_json())
}

/// The compact text of a value. `bytes` is the room to reserve.
pub fn write(value: &(impl Serialize + ?Sized), bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes);
    // Writing a value to memory cannot fail.
    let _ = serde_json::to_writer(&mut text, value);
    looked_at_json(text.len());
    text
}

/// The compact text of a value, of at most `max` bytes; `None` if it is longer.
pub fn write_within(value: &impl Serialize, max: usize) -> serde_json::Result<Option<String>> {
    let mut text = Bounded { text: Vec::new(), max };
    match serde_json::to_writer(&mut text, value) {
        // It was written as UTF-8.
        Ok(()) => Ok(Some(String::from_utf8(text.text).unwrap_or_default())),
        Err(error) if error.is_io() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A text in progress. What would make it too long is not written.
struct Bounded {
    text: Vec<u8>,
    max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An estimate of a text, made before it is parsed and even if it is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// The largest number of open brackets.
    pub levels: usize,
    /// The number of values. Exact for a valid text.
    pub values: usize,
    /// The approximate memory of its value, bytes.
    pub heap_bytes: usize,
}

/// The first node of an object and of a list, and room for a few members or elements, bytes.
const OBJECT_BYTES: usize = 240;
const LIST_BYTES: usize = 176;
/// Bytes of a further element of a list, which grows by doubling, or of a further
/// member of an object.
const ELEMENT_BYTES: usize = 48;
const MEMBER_BYTES: usize = 40;
/// The least that a text takes besides its bytes.
const TEXT_BYTES: usize = 16;

/// Estimates a text in one pass.
pub fn weigh(text: &[u8]) -> Weight {
    looked_at_json(text.len());
    let (mut depth, mut in_text, mut is_escaped, mut was_opened) = (0usize, false, false, false);
    // The first value follows nothing, all others a comma or an opening bracket.
    let mut weight = Weight { levels: 0, values: 1, heap_bytes: text.len() };
    for byte in text {
        if in_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => {
                in_text = true;
                weight.heap_bytes += TEXT_BYTES;
            }
            b'[' | b'{' => {
                depth += 1;
                weight.levels = weight.levels.max(depth);
                weight.values += 1;
                weight.heap_bytes += if *byte == b'{' { OBJECT_BYTES } else { LIST_BYTES };
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                weight.values -= usize::from(was_opened);
            }
            b',' => {
                weight.values += 1;
                weight.heap_bytes += ELEMENT_BYTES;
            }
            b':' => weight.heap_bytes += MEMBER_BYTES,
            _ => {}
        }
        was_opened = matches!(byte, b'[' | b'{');
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_no_levels() {
        assert_eq!(weigh(br#"{"[[\"[": ["]", {}]}"#).levels, 3);
        assert_eq!(weigh(b"]]][").levels, 1)
    }

    #[test]
    fn the_values_of_a_text_are_counted() {
        let texts = ["1", "[]", "{ }", "[1]", r#"[[], {"a": {"b": []}}, "[,"]"#, "[1,2,[3,[ ]]]"];
        for text in texts {
            let value: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(weigh(text.as_bytes()).values, value.size().values, "{text}");
        }
    }

    #[test]
    fn the_texts_of_one_call_share_a_bound_of_their_values() {
        let mut room = Room::new(100, 8).of_values(5);
        for (text, fits) in [(&b"[1,2,3,4,5]"[..], false), (b"[1,2]", true), (b"[1,2]", false), (b"[1]", true)] {
            let read = room.read("it", text);
            assert_eq!(read.is_ok(), fits, "{}", text.escape_ascii());
            if let Err(error) = read {
                assert!(error.code == Code::Limit && error.text.contains("context-values-max"), "{error}");
            }
        }
        let error = room.read("it", b"1").expect_err("none is left");
        assert!(error.text.contains("it of 1 values behind 5 others of the same call"), "{error}");
    }

    #[test]
    fn a_text_is_weighed_by_what_is_made_of_it() {
        let many = |what: &str, count: usize| format!("[{}]", vec![what; count].join(","));
        assert!(weigh(many("{\"\":0}", 1000).as_bytes()).heap_bytes > 1000 * 240);
        assert!((30_000..70_000).contains(&weigh(many("0", 1000).as_bytes()).heap_bytes));
        let prose = format!("\"{}\"", "a, b: [c] {d} ".repeat(1000));
        assert!(weigh(prose.as_bytes()).heap_bytes < prose.len() + 100);
    }

    #[test]
    fn meta_is_json_or_nothing() {
        for text in ["", "null", "5", r#"{"a":[1]}"#, "[[[[]]]]"] {
            assert!(is_meta(text.as_bytes(), 9), "{text}");
        }
        let deep = "[".repeat(JSON_DEPTH_END + 1) + &"]".repeat(JSON_DEPTH_END + 1);
        for text in [b"{a:1}".as_slice(), b"text", b"\"\xff\"", b"1e999", b"[1,2,3,4,5]", deep.as_bytes()] {
            assert!(!is_meta(text, if text.len() > 99 { 1 << 20 } else { 9 }), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_one_call_reads_has_a_bound_that_its_texts_share() {
        let mut room = Room::new(1, 8);
        let heavy = format!("[{}]", vec!["{\"\":0}"; JSON_HEAP_BYTES / 700].join(","));
        assert!(room.read("first", heavy.as_bytes()).is_ok());
        let error = room.read("second", heavy.as_bytes()).expect_err("no room is left");
        assert!(error.code == Code::Limit && error.text.starts_with("second takes about "), "{error}");
        assert!(room.read("third", b"{}").is_ok());
        assert_eq!(Room::new(1, 1).read("deep", b"[[]]").expect_err("too deep").code, Code::Limit);
    }
}
