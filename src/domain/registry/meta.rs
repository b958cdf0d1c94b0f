//! `META`: JSON of an agent. Each single value in it can be searched for.
//!
//! A value is indexed under its *key*: the length of the JSON Pointer (RFC 6901) that leads to it,
//! the pointer, the value's type and its text.

use crate::domain::limits::{AGENT_META_BYTES_MAX, AGENT_META_VALUES_MAX};
use crate::domain::{Bytes, Error};
use serde_json::{Number, Value};

/// A character of a text takes at most so many times its bytes as JSON, or in a pointer.
const ESCAPED_BYTES_MAX: usize = 6;

/// Checks a `META` text and returns it as given. `null` and the empty text mean no metadata.
pub fn parse(text: &[u8]) -> Result<Bytes, Error> {
    if text.is_empty() {
        return Ok(Bytes::EMPTY);
    }
    Ok(if read(text)?.is_null() { Bytes::EMPTY } else { Bytes::from(text) })
}

/// Errs if [`parse`] cannot have made a `META` from an unchecked payload.
pub fn admit(meta: &[u8]) -> Result<(), Error> {
    if meta.is_empty() {
        return Ok(());
    }
    read(meta).map(drop)
}

fn read(text: &[u8]) -> Result<Value, Error> {
    check_length(text)?;
    let value: Value =
        serde_json::from_slice(text).map_err(|error| Error::usage(format!("META is not valid JSON: {error}")))?;
    let mut values = 0;
    visit(&value, &mut String::new(), &mut |_, _| values += 1);
    if values > AGENT_META_VALUES_MAX {
        let text = format!("META has {values} single values, at most {AGENT_META_VALUES_MAX} are allowed");
        return Err(Error::usage(text));
    }
    Ok(value)
}

fn check_length(text: &[u8]) -> Result<(), Error> {
    if text.len() <= AGENT_META_BYTES_MAX {
        return Ok(());
    }
    Err(Error::usage(format!("META is {} bytes long, at most {AGENT_META_BYTES_MAX} are allowed", text.len())))
}

/// Calls `visit` with the key of every single value.
pub fn for_each_key(meta: &[u8], mut found: impl FnMut(Bytes)) {
    if meta.is_empty() {
        return;
    }
    if let Ok(value) = serde_json::from_slice::<Value>(meta) {
        visit(&value, &mut String::new(), &mut |path, value| found(key(path.as_bytes(), kind_and_text(value))));
    }
}

/// The keys that a filter `META path value` means: the value as JSON, and as a plain text.
pub fn wanted(path: &[u8], value: &[u8]) -> [Option<Bytes>; 2] {
    if path.len().max(value.len()) > AGENT_META_BYTES_MAX * ESCAPED_BYTES_MAX {
        return [None, None];
    }
    let as_json = serde_json::from_slice::<Value>(value).ok().filter(|value| !value.is_array() && !value.is_object());
    let as_text = std::str::from_utf8(value).ok().map(|text| key(path, ('s', text.to_string())));
    [as_json.map(|value| key(path, kind_and_text(&value))), as_text]
}

/// Visits every value that is neither an array nor an object. The parser bounds the depth (128).
fn visit(value: &Value, path: &mut String, found: &mut impl FnMut(&str, &Value)) {
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                visit(member, path, found);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                path.push('/');
                path.push_str(&at.to_string());
                visit(item, path, found);
                path.truncate(length);
            }
        }
        single => found(path, single),
    }
}

fn key(path: &[u8], (kind, text): (char, String)) -> Bytes {
    let length = (path.len() as u32).to_be_bytes();
    Bytes::from(&[&length, path, &[kind as u8], text.as_bytes()].concat()[..])
}

fn kind_and_text(value: &Value) -> (char, String) {
    match value {
        Value::String(text) => ('s', text.clone()),
        Value::Number(number) => ('n', number_text(number)),
        other => ('w', other.to_string()),
    }
}

/// The same text for equal numbers: 4, 4.0 and 4e0.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e30 => format!("{}", float as i128),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(meta: &str, path: &str, value: &str) -> bool {
        let mut keys = Vec::new();
        for_each_key(&parse(meta.as_bytes()).unwrap(), |key| keys.push(key));
        wanted(path.as_bytes(), value.as_bytes()).iter().flatten().any(|wanted| keys.contains(wanted))
    }

    #[test]
    fn values_are_found_by_their_path() {
        let meta = r#"{"region":"eu","gpu":{"count":4,"kinds":["a100","h100"]},"a/b":true,"n":"4"}"#;
        assert!(finds(meta, "/region", "eu") && finds(meta, "/region", "\"eu\""));
        assert!(finds(meta, "/gpu/count", "4") && finds(meta, "/gpu/count", "4.0"));
        assert!(finds(meta, "/gpu/kinds/1", "h100") && finds(meta, "/a~1b", "true") && finds(meta, "/n", "4"));
        assert!(!finds(meta, "/region", "e") && !finds(meta, "/gpu", "4") && !finds(meta, "region", "eu"));
        assert!(finds("5", "", "5"));
    }

    #[test]
    fn hostile_metadata_is_refused() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(parse(&deep.as_bytes()[..AGENT_META_BYTES_MAX - 1]).is_err());
        assert!(parse(deep.as_bytes()).is_err() && parse(b"{").is_err() && parse(b"\xff").is_err());
        let wide = format!("[{}0]", "0,".repeat(AGENT_META_VALUES_MAX));
        assert!(parse(wide.as_bytes()).unwrap_err().text.contains("single values"));
        assert_eq!(parse(b" { } ").unwrap(), Bytes::from(" { } "));
        assert_eq!(parse(b"null").unwrap(), Bytes::EMPTY);
    }
}
