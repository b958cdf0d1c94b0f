//! JSON Pointer (RFC 6901): a place in a document.

use super::value::Value;
use crate::domain::limits::{POINTER_BYTES_MAX, POINTER_DEPTH_MAX};
use crate::domain::value::bytes::{printable, Text};
use crate::domain::Error;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::sync::Arc;

/// The names and indexes on the way from the root; none for the root itself. It is cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "Text")]
pub struct Pointer(Arc<str>);

/// A pointer whose text belongs to somebody else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(&'a str);

impl From<Text> for Pointer {
    fn from(text: Text) -> Self {
        Self((*text).into())
    }
}

impl Serialize for Pointer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Borrow<str> for Pointer {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Pointer {
    /// Reads a pointer: empty, or `/name/0/name`, with `~1` for a slash and `~0` for a tilde.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let bad = || {
            let shown = printable(text);
            Error::usage(format!(
                "path is '{shown}', allowed are JSON Pointers (RFC 6901) such as /a/b/0, UTF-8, with ~0 for ~ and ~1 for /, of at most \
                 {POINTER_BYTES_MAX} bytes and {POINTER_DEPTH_MAX} parts; the empty path is the whole document"
            ))
        };
        let pointer = std::str::from_utf8(text).map(|text| Self(text.into())).map_err(|_| bad())?;
        if pointer.is_valid() {
            Ok(pointer)
        } else {
            Err(bad())
        }
    }

    /// Whether [`parse`](Self::parse) can make it.
    pub fn is_valid(&self) -> bool {
        let text = &self.0;
        let escapes = || text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        let is_short = text.len() <= POINTER_BYTES_MAX && self.depth() <= POINTER_DEPTH_MAX;
        (text.is_empty() || text.starts_with('/')) && is_short && escapes()
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of its parts.
    pub fn depth(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == b'/').count()
    }

    /// The same as a place.
    pub fn place(&self) -> Place<'_> {
        Place(&self.0)
    }

    /// The names and indexes, from the root on.
    pub fn parts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.place().parts()
    }

    /// The texts of the places around it, from the root on.
    pub fn around(&self) -> impl Iterator<Item = &str> {
        self.slashes().map(|at| &self.0[..at])
    }

    /// Where its parts begin.
    fn slashes(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at)
    }

    /// The pointer to a member or an element of what this one points to.
    pub fn child(&self, name: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + 1 + name.len());
        text.push_str(&self.0);
        text.push('/');
        for letter in name.chars() {
            match letter {
                '~' => text.push_str("~0"),
                '/' => text.push_str("~1"),
                other => text.push(other),
            }
        }
        Self(text.into())
    }

    /// The pointer to what holds this place, and the name or index in it. `None` for the root.
    pub fn split(&self) -> Option<(Self, Cow<'_, str>)> {
        self.place().split().map(|(around, name)| (Self(around.0.into()), name))
    }

    /// Its first `depth` parts.
    pub fn cut(&self, depth: usize) -> Self {
        match self.slashes().nth(depth) {
            Some(end) => Self(self.0[..end].into()),
            None => self.clone(),
        }
    }

    /// The text with one more letter: the bound of a range of pointers.
    pub fn followed_by(&self, letter: char) -> Self {
        Self(format!("{}{letter}", self.text()).into())
    }

    /// Whether `other` is this place or one inside it.
    pub fn covers(&self, other: &Pointer) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a change at one of the two places can be seen at the other.
    pub fn touches(&self, other: &Pointer) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The value at this place.
    pub fn find<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.place().find(root)
    }

    /// Bytes allocated outside the struct itself, though others may share them.
    pub fn heap_bytes(&self) -> usize {
        2 * size_of::<usize>() + self.0.len()
    }
}

impl<'a> Place<'a> {
    fn parts(self) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.split('/').skip(1).map(unescaped)
    }

    /// What holds this place, and the name or index in it. `None` for the root.
    pub fn split(self) -> Option<(Self, Cow<'a, str>)> {
        let (around, name) = self.0.rsplit_once('/')?;
        Some((Self(around), unescaped(name)))
    }

    /// The value at this place.
    pub fn find(self, root: &Value) -> Option<&Value> {
        self.parts().try_fold(root, |value, part| step(value, &part))
    }

    /// Changes the value at this place, and returns what `change` returns. `None` if nothing is
    /// there.
    pub fn change<R>(self, root: &mut Value, change: impl FnOnce(&mut Value) -> R) -> Option<R> {
        change_inside(root, &mut self.parts(), change)
    }
}

/// The recursion is no deeper than pointers are.
fn change_inside<'a, R>(
    value: &mut Value,
    parts: &mut impl Iterator<Item = Cow<'a, str>>,
    change: impl FnOnce(&mut Value) -> R,
) -> Option<R> {
    let Some(part) = parts.next() else { return Some(change(value)) };
    match value {
        Value::Object(members) => {
            let at = members.find(&*part).ok()?;
            members.change(at, |member| change_inside(member, parts, change))?
        }
        Value::Array(items) => items.change(index(&part)?, |item| change_inside(item, parts, change))?,
        _ => None,
    }
}

/// The member or element of a value.
pub fn step<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.value(part),
        Value::Array(items) => items.get(index(part)?).map(|(_, item)| item),
        _ => None,
    }
}

/// An array index: digits without leading zeros.
pub fn index(part: &str) -> Option<usize> {
    let is_plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'));
    part.parse().ok().filter(|_| is_plain)
}

fn unescaped(part: &str) -> Cow<'_, str> {
    if part.contains('~') {
        Cow::Owned(part.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Pointer {
        Pointer::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let doc = Value::from(
            json!({"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}),
        );
        let cases = [
            ("", serde_json::Value::from(&doc)),
            ("/foo", json!(["bar", "baz"])),
            ("/foo/0", json!("bar")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/c%d", json!(2)),
            ("/e^f", json!(3)),
            ("/g|h", json!(4)),
            ("/i\\j", json!(5)),
            ("/k\"l", json!(6)),
            ("/ ", json!(7)),
            ("/m~0n", json!(8)),
        ];
        for (path, value) in cases {
            assert!(at(path).find(&doc).is_some_and(|found| *found == value), "{path}");
        }
        for path in ["/foo/2", "/foo/-", "/foo/01", "/foo/+1", "/none", "/foo/0/x"] {
            assert_eq!(at(path).find(&doc), None, "{path}");
        }
        assert!(at("/m~01").find(&json!({"m~1": 9}).into()).is_some(), "~01 is ~1, not /");
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        let deep = "/a".repeat(POINTER_DEPTH_MAX + 1);
        let long = format!("/{}", "x".repeat(POINTER_BYTES_MAX));
        for bad in ["a", "a/b", "/~", "/~2", "/a~", deep.as_str(), long.as_str()] {
            assert!(Pointer::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Pointer::parse(b"/\xff").is_err());
    }

    #[test]
    fn places_inside_of_places() {
        assert!(at("").covers(&at("/a")) && at("/a").covers(&at("/a/b")) && !at("/a").covers(&at("/ab")));
        assert!(at("/a/b").touches(&at("/a")) && !at("/a/b").touches(&at("/a/c")));
        assert_eq!(at("/a").child("b/~"), at("/a/b~1~0"));
        assert_eq!(at("/a/b~1").split(), Some((at("/a"), "b/".into())));
        assert_eq!(at("/a/b/c").cut(2), at("/a/b"));
        assert_eq!(at("/a").cut(2), at("/a"));
        assert_eq!(at("/a").cut(0), at(""));
        assert!(at("/a/b").around().eq(["", "/a"]) && at("").around().eq([""; 0]));
    }
}
