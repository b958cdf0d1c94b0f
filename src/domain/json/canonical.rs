//! The one text of all JSON texts with the same meaning: the JSON Canonicalization
//! Scheme (RFC 8785).
//!
//! Members are sorted by the UTF-16 code units of their names, white space is removed, texts have
//! the shortest escapes, and numbers are written as ECMAScript writes them. What I-JSON (RFC
//! 7493) does not allow is refused: a duplicate member, half a surrogate pair, a number beyond a
//! double. So is a whole number that a double would change: two ids that differ in their last
//! digit must not become one.

use crate::domain::algorithm::looks::{looked, looked_at_json, looked_at_parts};
use crate::domain::value::bytes::printable;
use crate::domain::{Code, Error};
use std::cmp::Ordering;
use std::ops::Range;

/// As many numbers are written in one look.
const NUMBERS_OF_LOOK: usize = 4;

/// The canonical form of a JSON text of at most `depth_max` levels; `what` names the argument.
pub fn canonical(what: &str, text: &[u8], depth_max: usize) -> Result<Vec<u8>, Error> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(Error::usage(format!("{what} is no JSON: it is not UTF-8; give RAW to have it compared as it is")));
    };
    let mut reader = Reader { what, text: text.as_bytes(), at: 0, depth_left: depth_max, depth_max, out: Vec::new() };
    looked_at_json(text.len());
    reader.out.reserve(text.len());
    reader.value()?;
    reader.space();
    match reader.peek() {
        None => Ok(reader.out),
        Some(_) => Err(reader.bad("more text after the value")),
    }
}

/// Whether a text of at most `depth_max` levels is in canonical form.
pub fn is_canonical(text: &[u8], depth_max: usize) -> bool {
    canonical("args", text, depth_max).is_ok_and(|canonical| canonical == text)
}

/// Reads a text and writes its canonical form.
struct Reader<'a> {
    what: &'a str,
    text: &'a [u8],
    at: usize,
    depth_left: usize,
    depth_max: usize,
    out: Vec<u8>,
}

/// A member of an object: its name, and its range in the output.
struct Member {
    name: String,
    place: Range<usize>,
}

impl<'a> Reader<'a> {
    fn bad(&self, why: &str) -> Error {
        let (what, at) = (self.what, self.at);
        Error::usage(format!("{what} is no JSON: {why} at byte {at}; give RAW to have it compared as it is"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte after white space, consumed if it is `byte`.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self) -> Result<(), Error> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => {
                let text = self.string()?;
                self.write_string(&text);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
            None => Err(self.bad("the text ends too early")),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if self.depth_left == 0 {
            let text = format!("{} has more than {} levels (setting ltmc.json-depth-max)", self.what, self.depth_max);
            return Err(Error::new(Code::Limit, text));
        }
        self.depth_left -= 1;
        self.at += 1;
        read(self)?;
        self.depth_left += 1;
        Ok(())
    }

    fn word(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
        let word = word.ok_or_else(|| self.bad("no value"))?;
        self.at += word.len();
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn array(&mut self) -> Result<(), Error> {
        self.out.push(b'[');
        if !self.take(b']') {
            loop {
                self.value()?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.bad("no comma or bracket"));
                }
                self.out.push(b',');
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self) -> Result<(), Error> {
        self.out.push(b'{');
        let first = self.out.len();
        let mut members = Vec::new();
        if !self.take(b'}') {
            loop {
                members.push(self.member()?);
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.bad("no comma or brace"));
                }
                self.out.push(b',');
            }
        }
        self.sort(first, members)?;
        self.out.push(b'}');
        Ok(())
    }

    fn member(&mut self) -> Result<Member, Error> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(self.bad("no name of a member"));
        }
        looked(1);
        let name = self.string()?;
        if !self.take(b':') {
            return Err(self.bad("no colon"));
        }
        let start = self.out.len();
        self.write_string(&name);
        self.out.push(b':');
        self.value()?;
        Ok(Member { name, place: start..self.out.len() })
    }

    /// Sorts the members of an object, which are in the output from `first` on.
    fn sort(&mut self, first: usize, mut members: Vec<Member>) -> Result<(), Error> {
        let is_sorted = members.is_sorted_by(|one, next| by_utf16(&one.name, &next.name) == Ordering::Less);
        if is_sorted {
            return Ok(());
        }
        members.sort_by(|one, other| by_utf16(&one.name, &other.name));
        if let Some(twice) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let name = printable(twice[0].name.as_bytes());
            return Err(self.bad(&format!("the member '{name}' stands twice in the object that ends")));
        }
        let mut sorted = Vec::with_capacity(self.out.len() - first);
        for member in members {
            if !sorted.is_empty() {
                sorted.push(b',');
            }
            sorted.extend_from_slice(&self.out[member.place]);
        }
        self.out.truncate(first);
        self.out.append(&mut sorted);
        Ok(())
    }

    fn string(&mut self) -> Result<String, Error> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    // Runs of UTF-8 that end at ASCII, and whole characters.
                    return String::from_utf8(text).map_err(|_| self.bad("a text is not UTF-8"));
                }
                Some(b'\\') => {
                    let read = self.escape()?;
                    text.extend_from_slice(read.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => return Err(self.bad("a control character in a text")),
                None => return Err(self.bad("a text that does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        self.at += 2;
        Ok(match self.text.get(self.at - 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.bad("an unknown escape")),
        })
    }

    fn unicode(&mut self) -> Result<char, Error> {
        let unit = self.unit()?;
        let is_high = (0xd800..0xdc00).contains(&unit);
        let low = if is_high && self.text[self.at..].starts_with(b"\\u") {
            self.at += 2;
            Some(self.unit()?)
        } else {
            None
        };
        let mut read = char::decode_utf16([unit].into_iter().chain(low));
        match (read.next(), read.next()) {
            (Some(Ok(read)), None) => Ok(read),
            _ => Err(self.bad("half a surrogate pair")),
        }
    }

    fn unit(&mut self) -> Result<u16, Error> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let unit = digits.and_then(|digits| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        self.at += 4;
        unit.ok_or_else(|| self.bad("no four hexadecimal digits after \\u"))
    }

    fn write_string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            self.out.extend_from_slice(&rest[..at]);
            match rest[at] {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                control => self.out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
            }
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    fn number(&mut self) -> Result<(), Error> {
        /// A double always holds this many digits.
        const SAFE_DIGITS: usize = 15;
        let literal = self.number_literal()?;
        let is_whole = literal.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
        if is_whole && literal.len() <= SAFE_DIGITS {
            self.out.extend_from_slice(if literal == "-0" { b"0" } else { literal.as_bytes() });
            return Ok(());
        }
        looked_at_parts(1, NUMBERS_OF_LOOK);
        if let Some((digits, point)) = few_digits(literal).filter(|_| !is_whole) {
            self.out.extend_from_slice(layout(literal.starts_with('-'), digits, point).as_bytes());
            return Ok(());
        }
        let value: f64 = literal.parse().map_err(|_| self.bad("no number"))?;
        if !value.is_finite() {
            return Err(self.bad("a number that is too large"));
        }
        let written = number_text(value);
        if is_whole && written != literal && literal != "-0" {
            let (what, shown) = (self.what, printable(literal.as_bytes()));
            let text = format!("{what} holds the whole number {shown}, which canonical JSON (RFC 8785) would change to {written}; give it as a text");
            return Err(Error::usage(text));
        }
        self.out.extend_from_slice(written.as_bytes());
        Ok(())
    }

    fn number_literal(&mut self) -> Result<&'a str, Error> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let first = self.peek();
        let digits = self.digits();
        if digits == 0 || (digits > 1 && first == Some(b'0')) {
            return Err(self.bad("no number"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.bad("no digit after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.bad("no digit in the exponent"));
            }
        }
        std::str::from_utf8(&self.text[start..self.at]).map_err(|_| self.bad("no number"))
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }
}

/// The order of RFC 8785, 3.2.3: by UTF-16 code units.
fn by_utf16(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        one.cmp(other)
    } else {
        one.encode_utf16().cmp(other.encode_utf16())
    }
}

/// Of two equally short texts that are equally close to a number, ECMAScript takes the one whose
/// last digit is even.
fn even(value: f64, digits: String) -> String {
    let (count, last) = (digits.len(), digits.as_bytes()[digits.len() - 1]);
    if last % 2 == 0 {
        return digits;
    }
    // It lies in the middle if a five and only zeros follow the digits.
    let exact = format!("{value:.60e}").replace('.', "");
    let (before, after) = exact.split_at(count);
    let is_between =
        after.starts_with('5') && after[1..].chars().take_while(char::is_ascii_digit).all(|digit| digit == '0');
    if !is_between {
        return digits;
    }
    // A nine would have been carried, and there would be fewer digits.
    let other = if before == digits { (last + 1).min(b'9') } else { last - 1 };
    format!("{}{}", &digits[..count - 1], char::from(other))
}

/// A finite number as ECMAScript writes it (ECMA-262, Number::toString), as RFC 8785,
/// 3.2.2.3 requires.
fn number_text(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    // Rust writes the shortest digits that are read back as the same number, d.ddde-7, as
    // ECMAScript requires.
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = even(value.abs(), mantissa.replace('.', ""));
    layout(value < 0.0, digits, exponent.parse::<i32>().unwrap_or(0) + 1)
}

/// The significant digits of a number that has few, and where its point stands before or behind the
/// first of them. `None` if it has so many that a double may be another number, or is so large or
/// small.
///
/// No other number with as few digits is the same double. So these are the shortest digits.
fn few_digits(literal: &str) -> Option<(String, i32)> {
    /// A double always holds this many digits, and these are well within its range.
    const DIGITS_MAX: usize = 15;
    const POINT_MAX: i32 = 280;
    let literal = literal.strip_prefix('-').unwrap_or(literal);
    let (mantissa, exponent) = literal.split_once(['e', 'E']).unwrap_or((literal, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = String::with_capacity(mantissa.len());
    digits.extend([whole, fraction]);
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let point = exponent.parse::<i32>().ok()?.checked_add(whole.len() as i32 - leading as i32)?;
    digits.drain(..leading);
    digits.truncate(digits.trim_end_matches('0').len());
    (digits.len() <= DIGITS_MAX && point.abs() <= POINT_MAX).then_some((digits, point))
}

/// Digits with a point at its place, or with an exponent.
fn layout(is_negative: bool, digits: String, point: i32) -> String {
    if digits.is_empty() {
        return "0".into();
    }
    let count = digits.len() as i32;
    let text = match point {
        // All digits before the point, filled up with zeros.
        22.. | i32::MIN..=-6 => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{}{}", if point > 0 { "+" } else { "-" }, (point - 1).abs())
        }
        _ if point >= count => digits + &"0".repeat((point - count) as usize),
        1.. => [&digits[..point as usize], ".", &digits[point as usize..]].concat(),
        _ => ["0.", &"0".repeat(-point as usize), &digits].concat(),
    };
    if is_negative {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
