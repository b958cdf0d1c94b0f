//! What a command answers.

use crate::domain::entity::idempotency::Answer;
use crate::domain::Blob;
use std::borrow::Cow;
use std::ops::Range;

/// What each value, and each name of a value, counts in a reply besides its own bytes.
pub const ELEMENT_BYTES: usize = 16;

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

    /// The size it counts as: the bytes of its texts, and what each value and each name takes
    /// besides.
    pub fn size_bytes(&self) -> usize {
        let inside: usize = match self {
            Reply::Nil | Reply::Ok | Reply::Integer(_) | Reply::Called => 0,
            Reply::Text(text) => text.len(),
            Reply::Bytes(bytes) => bytes.len(),
            Reply::Blob(blob) => blob.len(),
            Reply::BlobPart(_, part) => part.len(),
            Reply::Array(items) => items.iter().map(Reply::size_bytes).sum(),
            Reply::Pairs(pairs) => pairs.iter().map(|(name, value)| name.size_bytes() + value.size_bytes()).sum(),
            Reply::Map(fields) => {
                fields.iter().map(|(name, value)| ELEMENT_BYTES + name.len() + value.size_bytes()).sum()
            }
        };
        ELEMENT_BYTES + inside
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
