//! What a command answers.

use crate::domain::entity::idempotency::Answer;
use crate::domain::Blob;
use std::borrow::Cow;
use std::iter::Sum;
use std::ops::Add;
use std::ops::Range;

/// What each value, and each name of a value, counts in a reply besides its own bytes.
pub const ELEMENT_BYTES: usize = 16;

/// How large a reply is, or a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// The bytes of its texts.
    pub text_bytes: usize,
    /// Its values, and the names of values.
    pub elements: usize,
}

impl Size {
    /// One value of so many bytes.
    pub const fn value(text_bytes: usize) -> Self {
        Self { text_bytes, elements: 1 }
    }

    /// A map with so many fields, with so many bytes in it.
    pub const fn map(fields: usize, text_bytes: usize) -> Self {
        Self { text_bytes, elements: 1 + 2 * fields }
    }

    /// What it counts as, bytes.
    pub const fn bytes(self) -> usize {
        self.text_bytes.saturating_add(self.elements.saturating_mul(ELEMENT_BYTES))
    }
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size {
            text_bytes: self.text_bytes.saturating_add(other.text_bytes),
            elements: self.elements.saturating_add(other.elements),
        }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), Add::add)
    }
}

/// A reply, independent of the protocol version. Maps are RESP3 maps or their flat RESP2 form.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A single thing that is not there.
    Nil,
    /// `OK`.
    Ok,
    /// A number.
    Integer(i64),
    /// Text of our own.
    Text(Cow<'static, str>),
    /// Bytes of a user.
    Bytes(Vec<u8>),
    /// Bytes of a user that are stored, so they are copied only once, to where the client reads
    /// them.
    Blob(Blob),
    /// A part of such bytes.
    BlobPart(Blob, Range<usize>),
    /// A list.
    Array(Vec<Reply>),
    /// Values under names that users gave.
    Pairs(Vec<(Reply, Reply)>),
    /// Named values.
    Map(Vec<(Cow<'static, str>, Reply)>),
    /// The reply of the command that was called last with
    /// [`Host::call`](crate::command::host::Host::call).
    Called,
}

impl Reply {
    /// A number, or nil if there is none.
    pub fn number_or_nil(value: Option<u64>) -> Self {
        value.map_or(Reply::Nil, Reply::number)
    }

    /// A number that is known to be below 2^63: a fence, a time, a count.
    pub fn number(value: u64) -> Self {
        Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// Text of our own.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Reply::Text(text.into())
    }

    /// Bytes of a user.
    pub fn bytes(bytes: &[u8]) -> Self {
        Reply::Bytes(bytes.to_vec())
    }

    /// Bytes of a user, or nil if there are none.
    pub fn bytes_or_nil(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            Reply::Nil
        } else {
            Self::bytes(bytes)
        }
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        let (text, list) = (Size::value, |inside: Size| inside + Size::value(0));
        match self {
            Reply::Nil | Reply::Ok | Reply::Integer(_) | Reply::Called => text(0),
            Reply::Text(words) => text(words.len()),
            Reply::Bytes(bytes) => text(bytes.len()),
            Reply::Blob(blob) => text(blob.len()),
            Reply::BlobPart(_, part) => text(part.len()),
            Reply::Array(items) => list(items.iter().map(Reply::size).sum()),
            Reply::Pairs(pairs) => list(pairs.iter().map(|(name, value)| name.size() + value.size()).sum()),
            Reply::Map(fields) => list(fields.iter().map(|(name, value)| text(name.len()) + value.size()).sum()),
        }
    }

    /// A map with fixed names.
    pub fn map<const N: usize>(fields: [(&'static str, Reply); N]) -> Self {
        Reply::Map(fields.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())
    }
}

impl From<&Answer> for Reply {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Integer(value) => Reply::Integer(*value),
            Answer::Bytes(bytes) => Reply::bytes(bytes),
            Answer::Fences(fences) => Reply::Array(fences.iter().map(|fence| Reply::number(*fence)).collect()),
            Answer::Claim { agent, fence } => Reply::Array(vec![Reply::bytes(agent), Reply::number(*fence)]),
            Answer::Versioned { id, version } => Reply::Array(vec![Reply::bytes(id), Reply::number(*version)]),
        }
    }
}
