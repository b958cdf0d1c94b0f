//! Versioned bytes <-> entities and changes: what goes into RDB and AOF files and to replicas.
//!
//! A [frame] says what is in it and protects it by a checksum; inside is `bincode` ([codec]). A released format's reader
//! is never edited: a change adds the next version, and `tests/golden` keeps a file of each.
//!
//! Long [blobs](Blob) stand beside the frame, in the order in which it names them: as further arguments of `LTMC.APPLY`, as further strings of an
//! RDB value. They are never copied into a payload.

pub mod codec;
pub mod crc;
pub mod frame;
pub mod report;

use crate::domain::blob::{self, Blob};
use crate::domain::json::text;
use crate::domain::{Bond, Change, Entity, Error, Stored};
use frame::{Content, Frame};
use serde::Serialize;
use std::collections::VecDeque;

/// What a payload of `LTMC.APPLY` holds.
#[derive(Debug, Clone)]
pub enum Payload<E: Entity> {
    /// What happened to the key, in order.
    Changes(Vec<Change<E::Event>>),
    /// The whole value of the key.
    Snapshot(Stored<E>),
}

/// A frame with the long blobs that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The frame.
    pub frame: Vec<u8>,
    /// What stands beside it.
    pub blobs: Vec<Blob>,
}

/// The frame of a whole value, with everything in it.
pub fn encode_snapshot<E: Entity>(stored: &Stored<E>) -> Vec<u8> {
    let is_bound = stored.bound() > 0;
    let mut writer = frame::Writer::new(if is_bound { Content::BoundSnapshot } else { Content::Snapshot }, E::TYPE_TAG);
    if is_bound {
        codec::encode_into(writer.payload(), &stored.bonds().collect::<Vec<_>>());
    }
    codec::encode_into(writer.payload(), stored);
    writer.finish()
}

/// The frame of a whole value, with its long blobs beside it.
pub fn encode_snapshot_beside<E: Entity>(stored: &Stored<E>) -> Encoded {
    let (frame, blobs) = blob::collect(|| encode_snapshot(stored));
    Encoded { frame, blobs }
}

/// The frame that says: what stands beside it belongs to the whole value that comes next for the same key.
pub fn encode_part<E: Entity>() -> Vec<u8> {
    frame::Writer::new(Content::Part, E::TYPE_TAG).finish()
}

/// Collects the changes of one key into one frame, with their long blobs beside it.
#[derive(Debug)]
pub struct ChangesWriter {
    writer: frame::Writer,
    blobs: Vec<Blob>,
}

impl ChangesWriter {
    /// An empty frame for changes of `E`.
    pub fn new<E: Entity>() -> Self {
        Self { writer: frame::Writer::new(Content::Changes, E::TYPE_TAG), blobs: Vec::new() }
    }

    /// Adds changes at the end.
    pub fn push<E: Entity>(&mut self, changes: &[Change<E::Event>]) {
        let payload = self.writer.payload();
        let ((), blobs) = blob::collect(|| changes.iter().for_each(|change| codec::encode_into(payload, change)));
        self.blobs.extend(blobs);
    }

    /// The finished frame.
    pub fn finish(self) -> Encoded {
        Encoded { frame: self.writer.finish(), blobs: self.blobs }
    }
}

/// Reads the payload of a frame with `blobs` beside it, all of which it has to name.
pub fn decode_with<E: Entity>(frame: &Frame, blobs: Vec<Blob>) -> Result<Payload<E>, Error> {
    let mut blobs = VecDeque::from(blobs);
    let payload = blob::supply(&mut blobs, || decode::<E>(frame))?;
    if blobs.is_empty() {
        return Ok(payload);
    }
    Err(Error::usage(format!("payload does not name {} of the blobs beside it", blobs.len())))
}

/// Reads the payload of a frame, of which the tag is known to be `E`'s. Everything in it is checked: bounds and, for a whole value,
/// all invariants.
pub fn decode<E: Entity>(frame: &Frame) -> Result<Payload<E>, Error> {
    debug_assert_eq!(frame.tag, E::TYPE_TAG);
    match frame.content {
        Content::Changes => {
            let mut changes = Vec::new();
            let mut rest = frame.payload;
            while !rest.is_empty() {
                let (change, used) = codec::decode_prefix::<Change<E::Event>>(rest)?;
                Stored::<E>::admit(&change)?;
                changes.push(change);
                rest = &rest[used..];
            }
            Ok(Payload::Changes(changes))
        }
        Content::Snapshot | Content::BoundSnapshot => {
            let (bonds, head) = match frame.content {
                Content::BoundSnapshot => codec::decode_prefix::<Vec<Bond>>(frame.payload)?,
                _ => (Vec::new(), 0),
            };
            let rest = &frame.payload[head..];
            let (stored, used) = codec::decode_prefix::<Stored<E>>(rest)?;
            if used != rest.len() {
                return Err(Error::usage(format!("payload has {} bytes too many", rest.len() - used)));
            }
            let stored = stored.with_bonds(bonds);
            stored.check().map_err(|broken| Error::usage(format!("payload holds a broken value: {}", broken.0)))?;
            Ok(Payload::Snapshot(stored))
        }
        Content::Part => Err(Error::usage("payload is a part of a value, which only a file has")),
    }
}

/// A payload as people see it.
#[derive(Serialize)]
struct Shown<'a, V> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bonds: Vec<&'a Bond>,
    content: &'a str,
    format: u8,
    #[serde(rename = "type")]
    type_name: &'a str,
    value: V,
}

/// A payload as JSON of at most `bytes_max` bytes, for people who read an AOF.
/// Of long blobs it shows the length, if they are not given.
pub fn explain<E: Entity>(frame: &Frame, blobs: Vec<Blob>, bytes_max: usize) -> Result<String, Error> {
    if frame.content == Content::Part {
        return Ok(serde_json::json!({"type": E::TYPE_NAME, "format": frame::FORMAT, "content": "part"}).to_string());
    }
    let decoded = if blobs.is_empty() { blob::imagine(|| decode(frame)) } else { decode_with(frame, blobs) };
    let (content, format, type_name) = (frame.content.word(), frame::FORMAT, E::TYPE_NAME);
    let text = match decoded? {
        Payload::<E>::Changes(value) => {
            text::write_within(&Shown { bonds: Vec::new(), content, format, type_name, value }, bytes_max)
        }
        Payload::Snapshot(value) => {
            let bonds = value.bonds().collect();
            text::write_within(&Shown { bonds, content, format, type_name, value: &value }, bytes_max)
        }
    };
    let text = text.map_err(|error| Error::usage(format!("payload cannot be shown as JSON: {error}")))?;
    text.ok_or_else(|| Error::limit("reply-bytes-max", "the payload as JSON", bytes_max as u64))
}
