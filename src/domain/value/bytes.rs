//! Short binary-safe strings: owners, ids, paths, key names.

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use smallvec::SmallVec;
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

/// Bytes, up to 16 of them kept inline, so that a typical owner id needs no allocation.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(SmallVec<[u8; 16]>);

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self(SmallVec::new_const());

    /// Bytes allocated outside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        if self.0.spilled() {
            self.0.capacity()
        } else {
            0
        }
    }

    /// Readable form for messages, see [`printable`].
    pub fn show(&self) -> String {
        printable(&self.0)
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

impl Clone for Bytes {
    fn clone(&self) -> Self {
        // One copy of memory; the derived implementation copies byte by byte.
        Self(SmallVec::from_slice(&self.0))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
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
            serializer.serialize_bytes(&self.0)
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
            fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(SmallVec::from_vec(v)))
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
    fn sixteen_bytes_stay_inline() {
        assert_eq!(Bytes::from(&[1u8; 16][..]).heap_bytes(), 0);
        assert!(Bytes::from(&[1u8; 17][..]).heap_bytes() >= 17);
    }
}
