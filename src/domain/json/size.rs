//! How large JSON is.

use crate::domain::algorithm::allocator::{allocated, tree_bytes};
use serde::Serialize;
use serde_json::Value;
use std::io::Write;

/// The size of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the compact text, with a comma after every member and element.
    pub text: usize,
    /// Bytes allocated, without the value itself.
    pub heap: usize,
}

/// Counts what is written to it, up to a bound.
pub struct Counter {
    bytes: usize,
    max: usize,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes += bytes.len();
        if self.bytes > self.max {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes of the JSON text of a value.
pub fn text_bytes(value: &(impl Serialize + ?Sized)) -> usize {
    let mut counter = Counter { bytes: 0, max: usize::MAX };
    // Without a bound, counting does not fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.bytes
}

/// Whether the JSON text of a value has more than `max` bytes. Stops as soon as that is known.
pub fn is_longer(value: &(impl Serialize + ?Sized), max: usize) -> bool {
    serde_json::to_writer(&mut Counter { bytes: 0, max }, value).is_err()
}

/// Bytes allocated for a number of values in one container, without what they hold.
pub type RoomOf = fn(usize) -> usize;

/// Members often come in the order of their names, at the latest when a saved document is read.
/// That leaves the nodes of large objects emptier than usual.
pub const MEMBERS: RoomOf = |count| {
    let bytes = tree_bytes(count, size_of::<String>() + size_of::<Value>());
    bytes + if count > 11 { bytes / 16 } else { 0 }
};
/// As if the list had no spare room: what is read has none, see [`trim`]. After an append it may
/// take up to twice that.
pub const ELEMENTS: RoomOf = |count| allocated(count * size_of::<Value>());

impl Size {
    /// The size of a value. The recursion is no deeper than documents are.
    pub fn of(value: &Value) -> Self {
        const EMPTY: Size = Size { text: 2, heap: 0 };
        match value {
            Value::Array(items) => {
                let empty = EMPTY.and(Size::of_room(items.len(), ELEMENTS));
                items.iter().fold(empty, |size, item| size.and(Size::of(item).as_element()))
            }
            Value::Object(members) => {
                let empty = EMPTY.and(Size::of_room(members.len(), MEMBERS));
                members.iter().fold(empty, |size, (name, member)| size.and(Size::of(member).as_member(name)))
            }
            Value::String(text) => Size { text: text_bytes(text), heap: allocated(text.len()) },
            single => Size { text: text_bytes(single), heap: 0 },
        }
    }

    /// The size of a container with this many values.
    pub fn of_room(count: usize, room: RoomOf) -> Self {
        Size { text: 0, heap: room(count) }
    }

    pub(crate) fn and(self, other: Size) -> Size {
        Size { text: self.text + other.text, heap: self.heap + other.heap }
    }

    /// The size as a member of an object, with its name, colon and comma.
    pub(crate) fn as_member(self, name: &str) -> Size {
        self.and(Size { text: text_bytes(name) + 2, heap: allocated(name.len()) })
    }

    /// The size as an element of an array, with its comma.
    pub(crate) fn as_element(self) -> Size {
        self.and(Size { text: 1, heap: 0 })
    }

    pub(crate) fn more(&mut self, other: Size) {
        *self = self.and(other);
    }

    pub(crate) fn less(&mut self, other: Size) {
        self.text = self.text.saturating_sub(other.text);
        self.heap = self.heap.saturating_sub(other.heap);
    }
}
