//! The envelope of everything that LTMC stores or sends.
//!
//! ```text
//! offset  bytes  what
//! 0       2      magic "LT"
//! 2       1      format version (1)
//! 3       1      content: 1 changes of a key, 2 a whole value, 3 a part of one,
//!                4 a whole value with bindings, 5 a frame: what was found in place
//!                of a value, or a broken value that has missed changes
//! 4       1      type tag of the entity
//! 5       4      length of the payload, little endian
//! 9       n      payload
//! 9 + n   4      CRC-32 of everything before, little endian
//! ```

use super::crc::crc32;
use crate::domain::limits::PAYLOAD_BYTES_MAX;
use crate::domain::Error;

/// The format version that is written.
pub const FORMAT: u8 = 1;

const MAGIC: &[u8; 2] = b"LT";
const HEADER_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 4;

/// The content of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Changes of a key, in order.
    Changes,
    /// The whole value of a key.
    Snapshot,
    /// Nothing itself: the blobs beside it belong to the next whole value of the
    /// key. Only in files.
    Part,
    /// The bindings of a key, followed by its snapshot.
    BoundSnapshot,
    /// What was found in place of a whole value: a frame with other content or of another type, or
    /// a broken value that has missed changes. Only for what is in quarantine.
    Misplaced,
    /// Content that this version does not know.
    Unknown(u8),
}

impl Content {
    /// Whether it is the whole value of a key.
    pub const fn is_whole(self) -> bool {
        matches!(self, Content::Snapshot | Content::BoundSnapshot)
    }

    /// The byte in the frame.
    const fn byte(self) -> u8 {
        match self {
            Content::Changes => 1,
            Content::Snapshot => 2,
            Content::Part => 3,
            Content::BoundSnapshot => 4,
            Content::Misplaced => 5,
            Content::Unknown(byte) => byte,
        }
    }

    const fn of(byte: u8) -> Self {
        match byte {
            1 => Content::Changes,
            2 => Content::Snapshot,
            3 => Content::Part,
            4 => Content::BoundSnapshot,
            5 => Content::Misplaced,
            unknown => Content::Unknown(unknown),
        }
    }

    /// Its word, for people.
    pub const fn word(self) -> &'static str {
        match self {
            Content::Changes => "changes",
            Content::Snapshot | Content::BoundSnapshot => "snapshot",
            Content::Part => "part",
            Content::Misplaced => "misplaced",
            Content::Unknown(_) => "unknown",
        }
    }
}

/// A frame that was read: complete, of a known format, with a correct checksum. Its content
/// may be anything.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Its content.
    pub content: Content,
    /// The tag of the entity type.
    pub tag: u8,
    /// The encoded content.
    pub payload: &'a [u8],
}

/// A frame that is being written.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A frame with an empty payload.
    pub fn new(content: Content, tag: u8) -> Self {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[FORMAT, content.byte(), tag, 0, 0, 0, 0]);
        Self(bytes)
    }

    /// The buffer to which the payload is appended.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Fills in length and checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - HEADER_BYTES) as u32;
        self.0[5..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32(&self.0);
        self.0.extend_from_slice(&checksum.to_le_bytes());
        self.0
    }
}

/// Whether it begins like a frame of a newer format, or like one that holds such a frame.
pub fn is_newer(mut bytes: &[u8]) -> bool {
    while let [m, n, format, content, ..] = *bytes {
        if [m, n] != *MAGIC || format != FORMAT || Content::of(content) != Content::Misplaced {
            return [m, n] == *MAGIC && format > FORMAT;
        }
        bytes = bytes.get(HEADER_BYTES..).unwrap_or_default();
    }
    false
}

/// Reads the envelope. The error says whether the bytes are no frame, cut short, damaged, or
/// of a newer format.
pub fn read(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let bad = |what: String| Error::usage(format!("payload {what}"));
    if bytes.len() < HEADER_BYTES + CHECKSUM_BYTES || &bytes[..2] != MAGIC {
        return Err(bad(format!("is no LTMC frame ({} bytes)", bytes.len())));
    }
    let [_, _, format, content, tag, l0, l1, l2, l3, ..] = *bytes else {
        return Err(bad("is cut short".into()));
    };
    if is_newer(bytes) {
        let what = if format > FORMAT { format!("has format {format}") } else { "holds a frame of a format".into() };
        return Err(bad(format!("{what}, which a newer version of LTMC has written; this one reads format {FORMAT}")));
    }
    if format != FORMAT {
        return Err(bad(format!("has format {format}, this version reads format {FORMAT}")));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > PAYLOAD_BYTES_MAX || bytes.len() != HEADER_BYTES + length + CHECKSUM_BYTES {
        return Err(bad(format!("says {length} bytes, but the frame has {}", bytes.len())));
    }
    let (body, checksum) = bytes.split_at(HEADER_BYTES + length);
    if crc32(body).to_le_bytes() != *checksum {
        return Err(bad("has a wrong checksum".into()));
    }
    Ok(Frame { content: Content::of(content), tag, payload: &body[HEADER_BYTES..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut writer = Writer::new(Content::Changes, 9);
        writer.payload().extend_from_slice(b"abc");
        let bytes = writer.finish();
        let frame = read(&bytes).unwrap();
        assert_eq!((frame.content, frame.tag, frame.payload), (Content::Changes, 9, &b"abc"[..]));
    }

    #[test]
    fn a_frame_that_holds_a_newer_one_is_newer() {
        let within = |frame: &[u8]| {
            let mut writer = Writer::new(Content::Misplaced, 1);
            writer.payload().extend_from_slice(frame);
            writer.finish()
        };
        let known = Writer::new(Content::Changes, 1).finish();
        let mut newer = known.clone();
        newer[2] = FORMAT + 1;
        for newer in [newer.clone(), within(&newer), within(&within(&newer))] {
            assert!(is_newer(&newer) && read(&newer).unwrap_err().text.contains("newer version"));
        }
        for known in [known.clone(), within(&known), within(&within(&known)), within(b""), Vec::new()] {
            assert!(!is_newer(&known), "{known:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_said() {
        let bytes = Writer::new(Content::Snapshot, 1).finish();
        let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            read(&bytes).unwrap_err().text.into_owned()
        };
        assert!(refusal(&|bytes| bytes[0] = b'X').contains("no LTMC frame"));
        assert!(refusal(&|bytes| bytes[2] = FORMAT + 1).contains("format"));
        assert!(refusal(&|bytes| bytes[2] = FORMAT + 1).contains("newer version"));
        assert!(!refusal(&|bytes| bytes[2] = 0).contains("newer version"));
        assert!(!refusal(&|bytes| (bytes[2], bytes[3]) = (0, 5)).contains("newer version"));
        assert!(refusal(&|bytes| bytes[4] ^= 1).contains("checksum"));
        assert!(refusal(&|bytes| bytes.push(0)).contains("says 0 bytes"));
        assert!(refusal(&|bytes| bytes.truncate(5)).contains("5 bytes"));
    }
}
