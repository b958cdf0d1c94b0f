//! How large JSON is.

use crate::domain::algorithm::allocator::allocated;
use serde_json::Number;

/// The size of a value, or of some entries of an array or object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the compact text, with a comma after every member and element.
    pub text: usize,
    /// Bytes allocated, without the value itself. They do not depend on how the value was made.
    pub heap: usize,
    /// Levels: 0 for a single value, 1 for a flat array. Of entries, the most that one has.
    pub depth: usize,
    /// Single values, arrays and objects, including those inside.
    pub values: usize,
    /// Arrays and objects with something in them: in the text no comma follows the last entry.
    pub filled: usize,
}

/// Bytes of a text in JSON: in quotes, with the escapes that it needs.
pub fn string_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => "\\n".len(),
        0..0x20 => "\\u0000".len(),
        _ => 1,
    };
    "\"\"".len() + text.bytes().map(escaped).sum::<usize>()
}

/// Bytes of a number in JSON.
pub fn number_bytes(number: &Number) -> usize {
    match number.as_u64() {
        Some(whole) => whole.checked_ilog10().unwrap_or(0) as usize + 1,
        None => number.to_string().len(),
    }
}

/// Bytes allocated for a text that is shared: two counts stand before it.
pub fn shared_bytes(text: &str) -> usize {
    allocated(2 * size_of::<usize>() + text.len())
}

impl Size {
    /// The size of a single value with a text of so many bytes.
    pub fn of_single(text: usize) -> Self {
        Size { text, values: 1, ..Size::default() }
    }

    /// The size of an array or object with these entries, for which `room` bytes are allocated.
    pub fn enclosed(self, room: usize) -> Self {
        Size {
            text: "{}".len() + self.text,
            heap: room + self.heap,
            depth: 1 + self.depth,
            values: 1 + self.values,
            filled: usize::from(room > 0) + self.filled,
        }
    }

    /// Of two parts together.
    pub fn with(self, other: Self) -> Self {
        Size {
            text: self.text + other.text,
            heap: self.heap + other.heap,
            depth: self.depth.max(other.depth),
            values: self.values + other.values,
            filled: self.filled + other.filled,
        }
    }

    /// Of the rest without a part; `None` if the part may have been the deepest one.
    pub fn less(self, part: Self) -> Option<Self> {
        let is_depth_known = part.depth == 0 || part.depth < self.depth;
        is_depth_known.then(|| Size {
            text: self.text.saturating_sub(part.text),
            heap: self.heap.saturating_sub(part.heap),
            depth: self.depth,
            values: self.values.saturating_sub(part.values),
            filled: self.filled.saturating_sub(part.filled),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_counted_is_what_is_written() {
        let texts = ["", "a", "\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}", "é€😀", "x"];
        for text in texts {
            assert_eq!(string_bytes(text), json!(text).to_string().len(), "{text:?}");
        }
        for number in [json!(0), json!(9), json!(10), json!(u64::MAX), json!(-1), json!(1.5), json!(1e300), json!(-0.0)]
        {
            let bytes = number.as_number().map(number_bytes);
            assert_eq!(bytes, Some(number.to_string().len()), "{number}");
        }
    }
}
