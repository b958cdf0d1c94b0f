//! Large values: bytes that are shared instead of copied, and that travel beside a payload
//! instead of in it.
//!
//! While [`collect`] runs, encoding a long blob writes only its length and hands out the blob
//! itself. So a payload stays small, and the bytes go directly from memory to the file or the
//! replica. [`supply`] is the reverse. Both have to enclose the whole encoding, since serde
//! passes no context.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::discard::{discard_bytes, BYTES_FREED_ELSEWHERE_FROM};
use crate::domain::algorithm::looks::looked_at_bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Longer blobs travel beside the payload, bytes.
pub const INLINE_BYTES_MAX: usize = 512;

/// Bytes, possibly many. A clone shares them by reference count.
///
/// The counts stand apart from the bytes. In front of the bytes they would push a length
/// that is a power of two, which most large values have, into the allocator's next size
/// class, a quarter larger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(Arc<Box<[u8]>>);

/// The two counts and the pointer to the bytes.
const COUNTS_BYTES: usize = 2 * size_of::<usize>() + size_of::<Box<[u8]>>();

impl Blob {
    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        Self::heap_bytes_of(self.0.len())
    }

    /// Bytes that a blob of this length allocates outside the struct itself.
    pub fn heap_bytes_of(len: usize) -> usize {
        allocated(COUNTS_BYTES) + allocated(len)
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        looked_at_bytes(len);
        Self(Arc::new(vec![0; len].into_boxed_slice()))
    }

    /// Names the bytes in memory: the same for two blobs if and only if they share them. Differs
    /// between nodes, and may be given again once nobody has these bytes.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Whether both are the same bytes in memory.
    pub fn is_same(&self, other: &Blob) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The bytes, to be changed in place. Copied first if they are shared.
    pub fn make_mut(&mut self) -> &mut [u8] {
        if Arc::get_mut(&mut self.0).is_none() {
            looked_at_bytes(self.0.len());
        }
        &mut Arc::make_mut(&mut self.0)[..]
    }

    fn is_long(&self) -> bool {
        self.0.len() > INLINE_BYTES_MAX
    }
}

/// Who drops a long one last has a thread free the bytes.
impl Drop for Blob {
    fn drop(&mut self) {
        if self.0.len() >= BYTES_FREED_ELSEWHERE_FROM {
            if let Some(bytes) = Arc::get_mut(&mut self.0) {
                discard_bytes(std::mem::take(bytes));
            }
        }
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        looked_at_bytes(bytes.len());
        Self(Arc::new(bytes.into()))
    }
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ({} bytes)", crate::domain::value::bytes::printable(&self.0), self.0.len())
    }
}

/// Where long blobs come from while something is decoded.
#[derive(Default)]
enum Source {
    /// Nowhere: they have to be in the payload.
    #[default]
    Payload,
    /// From beside the payload, in order.
    Beside(VecDeque<Blob>),
    /// From nowhere: a text takes their place.
    Imagined,
}

thread_local! {
    static OUT: RefCell<Option<Vec<Blob>>> = const { RefCell::new(None) };
    static IN: RefCell<Source> = const { RefCell::new(Source::Payload) };
}

/// Runs `encode`. Returns its result, and the long blobs it met, in order.
pub fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Blob>) {
    let outer = OUT.replace(Some(Vec::new()));
    let result = encode();
    let blobs = OUT.replace(outer).unwrap_or_default();
    (result, blobs)
}

/// Runs `decode`, which takes the long blobs it needs from the front of `blobs`.
pub fn supply<T>(blobs: &mut VecDeque<Blob>, decode: impl FnOnce() -> T) -> T {
    let outer = IN.replace(Source::Beside(std::mem::take(blobs)));
    let result = decode();
    if let Source::Beside(left) = IN.replace(outer) {
        *blobs = left;
    }
    result
}

/// Runs `decode` with a text in place of each long blob: shows a payload when only the
/// frame is at hand.
pub fn imagine<T>(decode: impl FnOnce() -> T) -> T {
    let outer = IN.replace(Source::Imagined);
    let result = decode();
    IN.replace(outer);
    result
}

impl Source {
    fn next(&mut self, length: u64) -> Option<Blob> {
        match self {
            Source::Payload => None,
            Source::Beside(blobs) => blobs.pop_front().filter(|blob| blob.len() as u64 == length),
            Source::Imagined => Some(Blob::from(format!("{length} bytes beside the payload").as_bytes())),
        }
    }
}

/// A blob in a payload: its length, and its bytes if it is short.
impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&format!("{:?}", self));
        }
        let is_beside = self.is_long()
            && OUT.with_borrow_mut(|out| match out {
                Some(blobs) => {
                    blobs.push(self.clone());
                    true
                }
                None => false,
            });
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&(self.0.len() as u64))?;
        pair.serialize_element(&Inline(if is_beside { &[] } else { &self.0 }))?;
        pair.end()
    }
}

struct Inline<'a>(&'a [u8]);

impl Serialize for Inline<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length and bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Blob, A::Error> {
                let missing = || A::Error::custom("a blob is cut short");
                let length: u64 = pair.next_element()?.ok_or_else(missing)?;
                let inline: &[u8] = pair.next_element()?.ok_or_else(missing)?;
                if inline.len() as u64 == length {
                    return Ok(Blob::from(inline));
                }
                let beside = if inline.is_empty() { IN.with_borrow_mut(|source| source.next(length)) } else { None };
                beside.ok_or_else(|| {
                    A::Error::custom(format!("a blob of {length} bytes does not stand beside the payload"))
                })
            }
        }
        deserializer.deserialize_tuple(2, PairVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_bytes_until_it_is_changed() {
        let one = Blob::from(&b"abc"[..]);
        let mut other = one.clone();
        assert!(one.is_same(&other));
        other.make_mut()[0] = b'x';
        assert_eq!((&*one, &*other), (&b"abc"[..], &b"xbc"[..]));
    }
}
