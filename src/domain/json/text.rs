//! JSON as text: reading it within bounds, and how values are saved.

use super::document::trim;
use crate::domain::{Code, Error};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::{fmt, io};

/// A JSON value that is saved as its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Json(pub Value);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            // Its `to_string` takes twice as long: that goes by way of `fmt`.
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
                trimmed(serde_json::from_str(text)).map(Json).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(JsonVisitor)
    }
}

/// Reads a JSON text of at most `depth_max` levels; `what` names the argument.
pub fn read(what: &str, text: &[u8], depth_max: usize) -> Result<Value, Error> {
    if depth_of(text) > depth_max {
        let text = format!("{what} has more than {depth_max} levels (setting ltmc.json-depth-max)");
        return Err(Error::new(Code::Limit, text));
    }
    trimmed(serde_json::from_slice(text)).map_err(|error| Error::usage(format!("{what} is not valid JSON: {error}")))
}

fn trimmed(read: serde_json::Result<Value>) -> serde_json::Result<Value> {
    read.map(|mut value| {
        trim(&mut value);
        value
    })
}

/// The compact text of a value. Room for `bytes` is made first.
pub fn write(value: &(impl Serialize + ?Sized), bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes);
    // Values can always be written to memory.
    let _ = serde_json::to_writer(&mut text, value);
    text
}

/// The compact text of a value, of at most `max` bytes; `None` if it would be longer.
pub fn write_within(value: &impl Serialize, max: usize) -> serde_json::Result<Option<String>> {
    let mut text = Bounded { text: Vec::new(), max };
    match serde_json::to_writer(&mut text, value) {
        // It was written as UTF-8.
        Ok(()) => Ok(Some(String::from_utf8(text.text).unwrap_or_default())),
        Err(error) if error.is_io() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A text that is being written. What would make it too long is not.
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

/// The most brackets that are open at a time, whether the text is valid or not.
fn depth_of(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut is_escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_no_levels() {
        assert_eq!(depth_of(br#"{"[[\"[": ["]", {}]}"#), 3);
        assert_eq!(depth_of(b"]]]["), 1);
    }

    #[test]
    fn hostile_depth_is_refused_by_name() {
        let deep = "[".repeat(1_000_000);
        let error = read("DOC", deep.as_bytes(), 64).expect_err("too deep");
        assert!(error.code == Code::Limit && error.text.contains("DOC"), "{error}");
        assert!(read("DOC", b"[1,2", 64).expect_err("cut").text.contains("not valid JSON"));
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        // The shortest text of a float is read back as the same float.
        for text in ["0.1", "1e-7", "123456789012345680.0", "2.2250738585072011e-308", "18446744073709551615", "-0.0"] {
            let value = read("DOC", text.as_bytes(), 1).expect(text);
            assert_eq!(read("DOC", value.to_string().as_bytes(), 1).expect(text), value, "{text}");
        }
    }

    #[test]
    fn a_text_is_not_written_longer_than_it_may_be() {
        let value = serde_json::json!({"a": [1, "x\n"]});
        let text = value.to_string();
        assert_eq!(write_within(&value, text.len()).expect("it is written"), Some(text.clone()));
        assert_eq!(write_within(&value, text.len() - 1).expect("it is too long"), None);
    }
}
