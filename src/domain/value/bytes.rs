//! Short binary-safe strings: owners, ids, paths, key names.

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Bytes. A few of them are kept inline, so that a typical owner id needs no allocation. More are
/// shared by all clones: a long name that many places remember is there once.
#[derive(Clone)]
pub struct Bytes(Kept);

/// As many as fit beside the words that shared ones need.
const INLINE_MAX: usize = 22;

#[derive(Clone)]
enum Kept {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Shared(Arc<[u8]>),
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self(Kept::Inline { len: 0, bytes: [0; INLINE_MAX] });

    /// Bytes allocated outside the struct itself, as if nobody else shared them. They follow from
    /// the length.
    pub fn heap_bytes(&self) -> usize {
        const COUNTS_BYTES: usize = 2 * size_of::<usize>();
        match &self.0 {
            Kept::Inline { .. } => 0,
            Kept::Shared(bytes) => COUNTS_BYTES + bytes.len(),
        }
    }

    /// Whether both are the same bytes in memory, so that nothing has to be compared.
    fn is_one_with(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Kept::Shared(one), Kept::Shared(other)) if Arc::ptr_eq(one, other))
    }

    /// Readable form for messages, see [`printable`].
    pub fn show(&self) -> String {
        printable(self)
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.is_one_with(other) || self[..] == other[..]
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_one_with(other) {
            return Ordering::Equal;
        }
        self[..].cmp(&other[..])
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

/// A text that is kept for a long time.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Text(Box<str>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::from(text))
            }
        }
        // Not as a string: serde would allocate before it is known whether the bytes are there.
        deserializer.deserialize_str(TextVisitor)
    }
}

/// User bytes made fit for a message or JSON: printable UTF-8 stays, any other byte becomes `\xNN`,
/// and the text is cut after 64 bytes.
pub fn printable(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 64;
    let is_start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    // No character is cut in two.
    let end = match bytes.len() {
        len @ ..=SHOWN_MAX => len,
        _ => (SHOWN_MAX - 3..=SHOWN_MAX).rev().find(is_start).unwrap_or(SHOWN_MAX),
    };
    let mut out = escaped(&bytes[..end]);
    if bytes.len() > SHOWN_MAX {
        out.push_str("...");
    }
    out
}

/// The same without a cut.
pub fn whole_printable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') => text.into(),
        _ => escaped(bytes).into(),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                _ if is_printable(char) => out.push(char),
                _ => char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(byte, &mut out)),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(*byte, &mut out));
    }
    out
}

fn escape(byte: u8, out: &mut String) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// Whether a character shows as itself: it ends no line, has a width, and changes no direction.
fn is_printable(char: char) -> bool {
    let is_format =
        matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !char.is_control() && !is_format
}

impl From<&[u8]> for Bytes {
    #[inline]
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        let Some(place) = bytes.get_mut(..from.len()) else { return Self(Kept::Shared(from.into())) };
        place.copy_from_slice(from);
        Self(Kept::Inline { len: from.len() as u8, bytes })
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl Deref for Bytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            // There are never more, and this needs no way out.
            Kept::Inline { len, bytes } => &bytes[..usize::from(*len).min(INLINE_MAX)],
            Kept::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.show())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.show())
        } else {
            serializer.serialize_bytes(self)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, v: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::from(v))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// Whether a user that may act as `name` may also act as `id`: both are equal, or `id` begins with
/// `name` and a colon.
pub fn acts_as(name: &[u8], id: &[u8]) -> bool {
    id.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b':')))
}

/// Parses a whole number without sign, white space or leading zeros.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || (text.len() > 1 && text[0] == b'0') {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_escapes_and_cuts() {
        assert_eq!(printable(b"a\\\0\xff z"), "a\\\\\\x00\\xff z");
        assert_eq!(
            printable("J\u{fc}rgen \u{5f00}\u{53d1} \u{1f980}".as_bytes()),
            "J\u{fc}rgen \u{5f00}\u{53d1} \u{1f980}"
        );
        assert_eq!(printable("a\u{2028}b\u{202e}c\u{85}".as_bytes()), r"a\xe2\x80\xa8b\xe2\x80\xaec\xc2\x85");
        assert_eq!(printable("\u{fc}".repeat(33).as_bytes()), format!("{}...", "\u{fc}".repeat(32)));
        assert_eq!(printable(format!("x{}", "\u{fc}".repeat(33)).as_bytes()), format!("x{}...", "\u{fc}".repeat(31)));
        assert_eq!(printable(&[0x80; 65]), format!("{}...", r"\x80".repeat(64)));
        assert_eq!(printable(&[b'x'; 65]), format!("{}...", "x".repeat(64)));
    }

    #[test]
    fn few_bytes_stay_inline_and_many_are_shared() {
        assert_eq!((size_of::<Bytes>(), size_of::<Option<Bytes>>()), (24, 24));
        for len in [0, 1, INLINE_MAX, INLINE_MAX + 1, 1000] {
            let text = vec![7; len];
            let (one, other) = (Bytes::from(&text[..]), Bytes::from(&text[..]));
            let is_shared = len > INLINE_MAX;
            assert!(one[..] == text && one == other && one.cmp(&other).is_eq() && one == one.clone(), "{len}");
            assert_eq!((one.is_one_with(&one.clone()), one.is_one_with(&other)), (is_shared, false), "{len}");
            assert_eq!(one.heap_bytes(), if is_shared { len + 16 } else { 0 });
        }
        assert!(Bytes::from("b") > Bytes::from("a".repeat(50).as_str()) && Bytes::from("a") != Bytes::from("aa"));
    }
}
