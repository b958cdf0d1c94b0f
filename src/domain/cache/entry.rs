//! What is known of one call of a tool: its answer, and who computes one.

use super::ids::{AnswerId, LabelId, Slot};
use crate::domain::algorithm::allocator::{allocated, table_bytes, tree_bytes};
use crate::domain::algorithm::eviction::Usage;
use crate::domain::{Blob, Bytes, Connection, Fence, Millis};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use smallvec::SmallVec;
use std::fmt;

/// The time of what never ends.
pub const NEVER: Millis = Millis::MAX;

/// A call in one piece: a tool with its arguments, and the agent it is private to.
///
/// ```text
/// 1 byte   how the arguments are compared: 0 as canonical JSON, 1 as they are
/// 2 bytes  length of the tool's name, big endian
/// 2 bytes  length of the agent's name, big endian; 0 if the entry is for all
/// then     tool, agent, arguments
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(SmallVec<[u8; CALL_INLINE_BYTES]>);

const CALL_INLINE_BYTES: usize = 104;
const HEAD_BYTES: usize = 5;

impl Call {
    /// The call of `tool` with `args`. `scope` is the agent that the entry is private to; empty
    /// if it is for all.
    pub fn new(tool: &[u8], scope: &[u8], args: &[u8], is_raw: bool) -> Self {
        let length = |name: &[u8]| (name.len() as u16).to_be_bytes();
        let mut packed = SmallVec::with_capacity(HEAD_BYTES + tool.len() + scope.len() + args.len());
        packed.push(is_raw.into());
        for part in [&length(tool)[..], &length(scope), tool, scope, args] {
            packed.extend_from_slice(part);
        }
        Self(packed)
    }

    /// The same call, private to `scope` or for all.
    pub fn with_scope(&self, scope: &[u8]) -> Self {
        let call = self.as_ref();
        Self::new(call.tool(), scope, call.args(), call.is_raw())
    }

    /// A view of it.
    pub fn as_ref(&self) -> CallRef<'_> {
        CallRef(&self.0)
    }
}

impl From<CallRef<'_>> for Call {
    fn from(call: CallRef) -> Self {
        Self(SmallVec::from_slice(call.0))
    }
}

/// A view of a [`Call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallRef<'a>(pub &'a [u8]);

impl<'a> CallRef<'a> {
    fn length(self, at: usize) -> usize {
        self.0.get(at..at + 2).map_or(0, |bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn part(self, start: usize, end: usize) -> &'a [u8] {
        self.0.get(start..end).unwrap_or_default()
    }

    /// Name of the tool.
    pub fn tool(self) -> &'a [u8] {
        self.part(HEAD_BYTES, HEAD_BYTES + self.length(1))
    }

    /// The agent that the entry is private to; empty if it is for all.
    pub fn scope(self) -> &'a [u8] {
        let start = HEAD_BYTES + self.length(1);
        self.part(start, start + self.length(3))
    }

    /// The arguments: canonical JSON, or as they were given.
    pub fn args(self) -> &'a [u8] {
        let start = HEAD_BYTES + self.length(1) + self.length(3);
        self.part(start, self.0.len())
    }

    /// Whether the arguments are compared as they are.
    pub fn is_raw(self) -> bool {
        self.0.first() == Some(&1)
    }

    /// Whether it is a call. An unchecked payload may hold anything.
    pub fn is_valid(self) -> bool {
        let has_parts = self.0.len() >= HEAD_BYTES + self.length(1) + self.length(3);
        self.0.len() >= HEAD_BYTES && self.0[0] <= 1 && has_parts && self.length(1) > 0
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.as_ref();
        let show = crate::domain::value::bytes::printable;
        write!(f, "{}({}) of '{}'", show(call.tool()), show(call.args()), show(call.scope()))
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&format!("{self:?}"))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Call;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Call, E> {
                Ok(Call(SmallVec::from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The result.
    pub value: Blob,
    /// When it was put, unix ms.
    pub at: Millis,
    /// When it becomes stale, unix ms; [`NEVER`] if it stays fresh.
    pub fresh_until: Millis,
    /// When it is removed. It may be served stale until then.
    pub gone_at: Millis,
    /// What it cost to compute, ms; 0 if that is not known.
    pub cost_ms: Millis,
    /// Its number.
    pub id: AnswerId,
    /// Whether it is negative: it says that there is no result.
    pub is_negative: bool,
    /// Whether it was invalidated softly: it is stale whatever its time.
    pub is_soft: bool,
    /// The agent that put it, if one was named.
    pub agent: Option<LabelId>,
    /// Its dependencies and tags.
    pub labels: Box<[LabelId]>,
}

/// An agent computes an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The fence that allows putting the answer.
    pub ticket: Fence,
    /// The agent; empty if none was named.
    pub agent: Bytes,
    /// When it began, unix ms.
    pub since: Millis,
    /// When its lease ends, unix ms.
    pub ends_at: Millis,
    /// The connection of the ticket; `None` once it has ended.
    pub connection: Option<Connection>,
    /// How long the answer is awaited after the end of the connection, unix ms.
    pub waited_until: Option<Millis>,
    /// Whether the answer is no longer awaited, though it may still be put. The next caller
    /// gets another ticket.
    pub is_orphaned: bool,
}

impl Flight {
    /// Whether it keeps others from computing the same at `now`.
    pub fn is_on(&self, now: Millis) -> bool {
        !self.is_orphaned && now < self.due_at()
    }

    /// When the primary next has to decide something about it, unix ms.
    fn due_at(&self) -> Millis {
        self.waited_until.map_or(self.ends_at, |until| until.min(self.ends_at))
    }
}

/// One call.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The call.
    pub call: Box<[u8]>,
    /// The hash of the call.
    pub hash: u64,
    /// The next entry with the same hash.
    pub next: Option<Slot>,
    /// The tool.
    pub tool: LabelId,
    /// The answer.
    pub answer: Option<Answer>,
    /// Who computes an answer.
    pub flight: Option<Box<Flight>>,
    /// Its place among the entries with an answer.
    pub place: u32,
    /// When it is due; its key in the order of due times.
    pub due: Millis,
    /// Its use on this node, for eviction.
    pub usage: Usage,
    /// How often the answer was served by this node.
    pub uses: u32,
    /// How often it was served to others than the agent that put it.
    pub others: u32,
    /// Whether it is a candidate for the most used answers.
    pub is_top: bool,
}

impl Entry {
    /// The call.
    pub fn call(&self) -> CallRef<'_> {
        CallRef(&self.call)
    }

    /// Its bytes, with all that belongs to it alone.
    pub fn bytes(&self) -> usize {
        let answer =
            self.answer.as_ref().map_or(0, |answer| answer_bytes(answer.value.heap_bytes(), answer.labels.len()));
        let flight = self.flight.as_ref().map_or(0, |flight| flight_bytes(&flight.agent));
        entry_bytes(self.call.len()) + answer + flight
    }

    /// When the primary next has to decide something about it, unix ms.
    pub fn due_at(&self) -> Millis {
        let gone_at = self.answer.as_ref().map_or(NEVER, |answer| answer.gone_at);
        self.flight.as_ref().map_or(gone_at, |flight| gone_at.min(flight.due_at()))
    }
}

/// Bytes of an entry whose call has this length, without answer and flight: itself, and its places
/// in the slab, the hash table and the order of due times.
pub fn entry_bytes(call_len: usize) -> usize {
    const PLACES: usize = size_of::<Option<Box<Entry>>>() + table_bytes(1000, 16) / 1000 + tree_bytes(1000, 16) / 1000;
    allocated(size_of::<Entry>()) + allocated(call_len) + PLACES
}

/// Bytes of an answer with `labels` labels and a value that takes `value_bytes`.
pub fn answer_bytes(value_bytes: usize, labels: usize) -> usize {
    const PLACES: usize = size_of::<Slot>() + tree_bytes(1000, size_of::<(AnswerId, Slot)>()) / 1000;
    const LABEL: usize = tree_bytes(1000, size_of::<AnswerId>()) / 1000;
    // The tool is a label, too.
    value_bytes + allocated(labels * size_of::<LabelId>()) + PLACES + (labels + 1) * LABEL
}

/// Bytes of a flight of this agent.
pub fn flight_bytes(agent: &Bytes) -> usize {
    allocated(size_of::<Flight>()) + agent.heap_bytes() + tree_bytes(1000, size_of::<(Fence, Slot)>()) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_it_was_made() {
        let call = Call::new(b"tool", b"ada", b"{\"a\":1}", false);
        let read = call.as_ref();
        assert_eq!((read.tool(), read.scope(), read.args()), (&b"tool"[..], &b"ada"[..], &b"{\"a\":1}"[..]));
        assert!(read.is_valid() && !read.is_raw());
        let shared = call.with_scope(b"");
        assert!(shared.as_ref().scope().is_empty() && shared.as_ref().args() == read.args() && shared != call);
        for broken in [&b""[..], b"\0\0\0\0\0", b"\0\0\x05\0\0tool", b"\x02\0\x01\0\0t", b"\0\0\x01\0"] {
            assert!(!CallRef(broken).is_valid(), "{broken:?}");
            let _ = (CallRef(broken).tool(), CallRef(broken).scope(), CallRef(broken).args());
        }
    }
}
