//! A task as it is written in a specification. Only what is asked for is read.

use super::bad::bad;
use crate::domain::limits::DURATION_MS_MAX;
use crate::domain::value::bytes::printable;
use crate::domain::{Error, Millis};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The id of a task that gets a name.
pub const NAMELESS: &[u8] = b"*";

/// A member of a task.
#[derive(Debug, Clone, Copy)]
pub enum Member {
    Id,
    Payload,
    After,
    On,
    Caps,
    Priority,
    Delay,
    Deadline,
    Lease,
    Retries,
    Backoff,
    Group,
    Locks,
    WaitSignal,
}

/// Their names.
pub const MEMBERS: [&str; 14] = [
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

/// A JSON string, which is borrowed if nothing in it is escaped.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The members of one task.
#[derive(Debug, Default)]
pub struct Written<'a> {
    values: [Option<&'a str>; MEMBERS.len()],
    /// A member that no task has.
    pub unknown: Option<Cow<'a, str>>,
    /// The id, once it was read.
    pub id: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Written<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Written<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Written<'de>, A::Error> {
                let mut written = Written::default();
                while let Some(Text(name)) = members.next_key()? {
                    let value: &'de RawValue = members.next_value()?;
                    match MEMBERS.iter().position(|known| *known == name) {
                        Some(at) => written.values[at] = Some(value.get()),
                        None => written.unknown = Some(name),
                    }
                }
                Ok(written)
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

impl<'a> Written<'a> {
    /// A value as it is written.
    pub fn value(&self, member: Member) -> Option<&'a str> {
        self.values[member as usize]
    }

    /// The error for a value that is not allowed.
    pub fn wrong(&self, member: Member, allowed: &str) -> Error {
        let (name, id) = (MEMBERS[member as usize], printable(self.id.as_bytes()));
        let given = self.value(member).map_or("missing".into(), |value| printable(value.as_bytes()));
        bad(&format!("task '{id}': '{name}' is {given}, allowed {allowed}"))
    }

    /// A whole number.
    pub fn number(&self, member: Member, min: u64, max: u64) -> Result<Option<u64>, Error> {
        let Some(value) = self.value(member) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| self.wrong(member, &format!("are whole numbers from {min} to {max}")))
    }

    /// A duration.
    pub fn millis(&self, member: Member) -> Result<Option<Millis>, Error> {
        self.number(member, 1, DURATION_MS_MAX)
    }

    /// A text of at most this many bytes.
    pub fn text(&self, member: Member, max: usize) -> Result<Option<Cow<'a, str>>, Error> {
        let Some(value) = self.value(member) else { return Ok(None) };
        let text = text_of(value).filter(|text| (1..=max).contains(&text.len()));
        text.map(Some).ok_or_else(|| self.wrong(member, &format!("are texts of 1 to {max} bytes")))
    }

    /// A list of at most this many texts.
    pub fn texts(&self, member: Member, max: usize) -> Result<Vec<Text<'a>>, Error> {
        let Some(value) = self.value(member) else { return Ok(Vec::new()) };
        let texts: Option<Vec<Text>> = serde_json::from_str(value).ok();
        let texts = texts.filter(|texts| texts.len() <= max);
        texts.ok_or_else(|| self.wrong(member, &format!("are lists of at most {max} texts")))
    }

    /// `true` or `false`.
    pub fn flag(&self, member: Member) -> Result<bool, Error> {
        match self.value(member) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(member, "are true and false")),
        }
    }
}

/// The text of a JSON string.
pub fn text_of(value: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(value).ok().map(|Text(text)| text)
}

/// The pauses of a task.
#[derive(Debug, Default)]
pub struct Pauses {
    /// `fixed`
    pub fixed: Option<Millis>,
    /// `exp`
    pub exp: Option<Millis>,
    /// `max`
    pub max: Option<Millis>,
}

impl<'de> Deserialize<'de> for Pauses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PausesVisitor;
        impl<'de> Visitor<'de> for PausesVisitor {
            type Value = Pauses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pauses, A::Error> {
                let mut pauses = Pauses::default();
                while let Some(Text(name)) = members.next_key()? {
                    let ms = match &*name {
                        "fixed" => &mut pauses.fixed,
                        "exp" => &mut pauses.exp,
                        "max" => &mut pauses.max,
                        _ => return Err(A::Error::custom("unknown")),
                    };
                    *ms = Some(members.next_value()?);
                }
                Ok(pauses)
            }
        }
        deserializer.deserialize_map(PausesVisitor)
    }
}
