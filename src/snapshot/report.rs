//! The message with which a node reports on itself over the cluster bus.
//!
//! The bus knows a module by a name of nine characters. Ours has four, so other modules may get our
//! messages, and we theirs. So a message says that it is ours, and everything else is refused.
//!
//! ```text
//! offset  bytes  what
//! 0       4      magic "LTMR"
//! 4       1      format version of the sender (1)
//! 5       2      length of the fields, little endian
//! 7       n      fields, each: number (1 byte), length (1 byte), value;
//!                in ascending order of their numbers
//! 7 + n   4      CRC-32 of everything before, little endian
//! ```
//!
//! A field is a text or a whole number (little endian, without the zero bytes at its end). Unknown
//! fields are ignored, and missing ones are empty or 0, so nodes of different versions understand
//! each other while a cluster is upgraded. A new field gets the next number. A change that an older
//! version could not read at all would need another magic.

use super::crc::crc32;
use crate::domain::limits::{REPORT_BYTES_MAX, REPORT_TEXT_BYTES_MAX};
use crate::domain::node_report::Report;
use crate::domain::Error;

/// The format version that is written.
pub const FORMAT: u8 = 1;

const MAGIC: &[u8; 4] = b"LTMR";
const HEADER_BYTES: usize = 7;
const CHECKSUM_BYTES: usize = 4;

enum Field<'a> {
    Text(&'a mut String),
    Number(&'a mut u64),
}

/// The fields in the order of their numbers, from 1 on. New ones are added at the end.
fn fields(report: &mut Report) -> [Field<'_>; 13] {
    [
        Field::Text(&mut report.version),
        Field::Text(&mut report.server),
        Field::Text(&mut report.role),
        Field::Text(&mut report.mode),
        Field::Text(&mut report.health),
        Field::Number(&mut report.uptime_ms),
        Field::Number(&mut report.waiting_clients),
        Field::Number(&mut report.commands),
        Field::Number(&mut report.errors),
        Field::Number(&mut report.panics),
        Field::Number(&mut report.quarantined_keys),
        Field::Number(&mut report.deadlines),
        Field::Number(&mut report.sweep_lag_ms),
    ]
}

/// The message of a report. Texts are cut and made printable, so that every node accepts it.
pub fn encode(mut report: Report) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[FORMAT, 0, 0]);
    for (field, number) in fields(&mut report).into_iter().zip(1u8..) {
        let value = match field {
            Field::Text(text) => text.bytes().take(REPORT_TEXT_BYTES_MAX).map(printable).collect(),
            Field::Number(value) => significant(*value),
        };
        bytes.extend_from_slice(&[number, value.len() as u8]);
        bytes.extend_from_slice(&value);
    }
    let length = (bytes.len() - HEADER_BYTES) as u16;
    bytes[5..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

fn printable(byte: u8) -> u8 {
    if is_printable(byte) {
        byte
    } else {
        b'?'
    }
}

/// A number without the zero bytes at its end.
fn significant(value: u64) -> Vec<u8> {
    let len = 8 - value.leading_zeros() as usize / 8;
    value.to_le_bytes()[..len].to_vec()
}

/// Reads a message of this version, an older or a newer one. The error says what is wrong
/// with anything else.
pub fn decode(bytes: &[u8]) -> Result<Report, Error> {
    let mut rest = body(bytes)?;
    let mut report = Report::default();
    let mut fields = fields(&mut report);
    let mut last = 0;
    while let [number, length, after @ ..] = rest {
        let Some((value, next)) = after.split_at_checked(usize::from(*length)) else {
            return Err(bad(format!("ends within field {number}")));
        };
        if *number <= last {
            return Err(bad(format!("has field {number} after field {last}")));
        }
        // Field 0 does not exist: no number is below the first.
        match fields.get_mut(usize::from(*number) - 1) {
            Some(Field::Text(text)) => **text = text_of(*number, value)?,
            Some(Field::Number(known)) => **known = number_of(*number, value)?,
            None => {}
        }
        (last, rest) = (*number, next);
    }
    if !rest.is_empty() {
        return Err(bad("ends within a field".into()));
    }
    Ok(report)
}

fn bad(what: String) -> Error {
    Error::usage(format!("report {what}"))
}

/// The fields of a complete message with a correct checksum.
fn body(bytes: &[u8]) -> Result<&[u8], Error> {
    let is_ours = bytes.starts_with(MAGIC);
    let [_, _, _, _, version, l0, l1, ..] = *bytes else {
        return Err(bad(format!("is no message of LTMC ({} bytes)", bytes.len())));
    };
    if !is_ours || version == 0 {
        return Err(bad(format!("is no message of LTMC ({} bytes)", bytes.len())));
    }
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let whole = HEADER_BYTES + length + CHECKSUM_BYTES;
    if whole > REPORT_BYTES_MAX || bytes.len() != whole {
        let given = bytes.len();
        return Err(bad(format!("says {whole} bytes and has {given}, at most {REPORT_BYTES_MAX} are allowed")));
    }
    let (covered, checksum) = bytes.split_at(HEADER_BYTES + length);
    if crc32(covered).to_le_bytes() != *checksum {
        return Err(bad("has a wrong checksum".into()));
    }
    Ok(&covered[HEADER_BYTES..])
}

fn text_of(number: u8, value: &[u8]) -> Result<String, Error> {
    if value.len() > REPORT_TEXT_BYTES_MAX || !value.iter().copied().all(is_printable) {
        return Err(bad(format!("has a field {number} that is no short text")));
    }
    Ok(value.iter().copied().map(char::from).collect())
}

fn number_of(number: u8, value: &[u8]) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    let Some(given) = bytes.get_mut(..value.len()) else {
        return Err(bad(format!("has a field {number} that is no number of 64 bits")));
    };
    given.copy_from_slice(value);
    Ok(u64::from_le_bytes(bytes))
}
