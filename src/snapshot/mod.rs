//! Versioned bytes <-> entities and changes: what goes into RDB and AOF files and to replicas.
//!
//! A [frame] names its content and protects it by a checksum; inside is `bincode` ([codec]). The
//! reader of a released format is never edited: a change adds the next version, and `tests/golden`
//! keeps a file of each.
//!
//! Long [blobs](Blob) stand beside the frame, in the order in which it names them: as
//! further arguments of `LTMC.APPLY`, as further strings of an RDB value. They are never
//! copied into a payload.

pub mod codec;
pub mod crc;
pub mod frame;
pub mod report;

use crate::domain::entity::fault::Original;
use crate::domain::entity::record::Payload;
use crate::domain::json::text;
use crate::domain::value::blob;
use crate::domain::value::blob::Blob;
use crate::domain::{AgentBinding, Change, Entity, Error, Record};
use frame::{Content, Frame};
use serde::Serialize;
use std::collections::VecDeque;

/// A frame with the long blobs that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The frame.
    pub frame: Vec<u8>,
    /// The blobs beside it.
    pub blobs: Vec<Blob>,
}

/// The frame of a whole value, with everything in it. The frame of a broken value is the frame that
/// was found. If the value has missed changes, that frame is wrapped: otherwise a load could repair
/// it to a state from before those changes.
pub fn encode_snapshot<E: Entity>(stored: &Record<E>) -> Vec<u8> {
    let frame = stored.original().map_or_else(|| encode_whole(stored), |original| original.frame.to_vec());
    let has_missed = stored.fault().is_some_and(|fault| fault.dropped > 0);
    if has_missed && frame::read(&frame).is_ok_and(|frame| frame.content != Content::Misplaced) {
        return misplaced::<E>(&frame);
    }
    frame
}

fn misplaced<E: Entity>(frame: &[u8]) -> Vec<u8> {
    let mut writer = frame::Writer::new(Content::Misplaced, E::TYPE_TAG);
    writer.payload().extend_from_slice(frame);
    writer.finish()
}

fn encode_whole<E: Entity>(stored: &Record<E>) -> Vec<u8> {
    let is_bound = stored.bound() > 0;
    let mut writer = frame::Writer::new(if is_bound { Content::BoundSnapshot } else { Content::Snapshot }, E::TYPE_TAG);
    if is_bound {
        codec::encode_into(writer.payload(), &stored.bindings().collect::<Vec<_>>());
    }
    codec::encode_into(writer.payload(), stored);
    writer.finish()
}

/// The frame of a whole value, with its long blobs beside it.
pub fn encode_snapshot_beside<E: Entity>(stored: &Record<E>) -> Encoded {
    let (frame, blobs) = blob::collect(|| encode_snapshot(stored));
    let blobs = stored.original().map_or(blobs, |original| original.blobs.to_vec());
    Encoded { frame, blobs }
}

/// The same for `LTMC.APPLY` in a file, where the frame itself names its content: what a broken
/// value was found as may name another.
pub fn encode_rewrite<E: Entity>(stored: &Record<E>) -> Encoded {
    let Encoded { frame, blobs } = encode_snapshot_beside(stored);
    let is_placed = frame::read(&frame).is_ok_and(|frame| frame.content.is_whole() && frame.tag == E::TYPE_TAG);
    if is_placed {
        return Encoded { frame, blobs };
    }
    Encoded { frame: misplaced::<E>(&frame), blobs }
}

/// The frame that stands for a value that cannot be saved: a whole value that cannot be read.
pub fn encode_nothing<E: Entity>() -> Encoded {
    Encoded { frame: frame::Writer::new(Content::Snapshot, E::TYPE_TAG).finish(), blobs: Vec::new() }
}

/// The frame that says that the blobs beside it belong to the next whole value of the same key.
pub fn encode_part<E: Entity>() -> Vec<u8> {
    frame::Writer::new(Content::Part, E::TYPE_TAG).finish()
}

/// Collects the changes of one key in one frame, with their long blobs beside it.
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

/// Reads the payload of a frame with `blobs` beside it, all of which it must name.
pub fn decode_with<E: Entity>(frame: &Frame, blobs: Vec<Blob>) -> Result<Payload<E>, Error> {
    supplied(blobs, || decode::<E>(frame))
}

fn supplied<T>(blobs: Vec<Blob>, decode: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let mut blobs = VecDeque::from(blobs);
    let decoded = blob::supply(&mut blobs, decode)?;
    if blobs.is_empty() {
        return Ok(decoded);
    }
    Err(Error::usage(format!("payload does not name {} of the blobs beside it", blobs.len())))
}

/// Reads a value of type `E` from a file. Everything in it is checked.
pub fn decode_value<E: Entity>(frame: &Frame, blobs: Vec<Blob>) -> Result<Record<E>, Error> {
    decode_unchecked(frame, blobs).and_then(checked)
}

/// The same without checking invariants, for a repair.
pub fn decode_unchecked<E: Entity>(frame: &Frame, blobs: Vec<Blob>) -> Result<Record<E>, Error> {
    if frame.tag != E::TYPE_TAG {
        return Err(Error::usage(format!("payload holds type {} under the name of type {}", frame.tag, E::TYPE_TAG)));
    }
    if frame.content == Content::Misplaced {
        return Err(Error::usage("payload holds what is no value, or a broken one that has missed changes"));
    }
    if !frame.content.is_whole() {
        return Err(Error::usage(format!("payload holds {} instead of a value", frame.content.word())));
    }
    supplied(blobs, || read_whole(frame))
}

/// The broken value of a key of type `E` whose frame and blobs cannot be made into a value,
/// for this `reason`.
pub fn broken<E: Entity>(reason: impl Into<String>, frame: &[u8], blobs: Vec<Blob>) -> Record<E> {
    Record::broken(reason, Original { frame: frame.into(), blobs: blobs.into() })
}

/// Reads the payload of a frame whose tag is known to be `E`'s. Everything in it is checked: bounds
/// and, for a whole value, all invariants.
pub fn decode<E: Entity>(frame: &Frame) -> Result<Payload<E>, Error> {
    debug_assert_eq!(frame.tag, E::TYPE_TAG);
    match frame.content {
        Content::Changes => {
            let mut changes = Vec::new();
            let mut rest = frame.payload;
            while !rest.is_empty() {
                let (change, used) = codec::decode_prefix::<Change<E::Event>>(rest)?;
                Record::<E>::admit(&change)?;
                changes.push(change);
                rest = &rest[used..];
            }
            Ok(Payload::Changes(changes))
        }
        Content::Snapshot | Content::BoundSnapshot => read_whole(frame).and_then(checked).map(Payload::Snapshot),
        Content::Part => Err(Error::usage("payload is a part of a value, which only a file has")),
        Content::Misplaced => Err(Error::usage("payload is what was found in place of a value, which only a file has")),
        Content::Unknown(content) => Err(Error::usage(format!("payload has the unknown content {content}"))),
    }
}

fn read_whole<E: Entity>(frame: &Frame) -> Result<Record<E>, Error> {
    let (bindings, head) = match frame.content {
        Content::BoundSnapshot => codec::decode_prefix::<Vec<AgentBinding>>(frame.payload)?,
        _ => (Vec::new(), 0),
    };
    let rest = &frame.payload[head..];
    let (stored, used) = codec::decode_prefix::<Record<E>>(rest)?;
    if used != rest.len() {
        return Err(Error::usage(format!("payload has {} bytes too many", rest.len() - used)));
    }
    Ok(stored.with_bindings(bindings))
}

fn checked<E: Entity>(stored: Record<E>) -> Result<Record<E>, Error> {
    match stored.check_loaded() {
        Ok(()) => Ok(stored),
        Err(broken) => Err(Error::usage(format!("payload holds a broken value: {}", broken.0))),
    }
}

/// A payload for people to read.
#[derive(Serialize)]
struct Shown<V> {
    #[serde(rename = "bonds", skip_serializing_if = "Vec::is_empty")]
    bindings: Vec<AgentBinding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    content: &'static str,
    format: u8,
    #[serde(rename = "type")]
    type_name: &'static str,
    value: V,
}

/// A payload as JSON of at most `bytes_max` bytes, for people who read an AOF. For a broken
/// value it shows what can be read, and what is wrong. For long blobs that are not given it
/// shows the length.
pub fn explain<E: Entity>(frame: &Frame, blobs: Vec<Blob>, bytes_max: usize) -> Result<String, Error> {
    let (content, format, type_name) = (frame.content.word(), frame::FORMAT, E::TYPE_NAME);
    let read = || match frame.content {
        Content::Snapshot | Content::BoundSnapshot => read_whole(frame).map(Payload::Snapshot),
        _ => decode::<E>(frame),
    };
    let decoded = match frame.content {
        Content::Part | Content::Misplaced => {
            return Ok(serde_json::json!({"type": type_name, "format": format, "content": content}).to_string());
        }
        _ if blobs.is_empty() => blob::imagine(read),
        _ => supplied(blobs, read),
    };
    let (bindings, broken) = (Vec::new(), None);
    let text = match decoded {
        Ok(Payload::Changes(value)) => {
            text::write_within(&Shown { bindings, broken, content, format, type_name, value }, bytes_max)
        }
        Ok(Payload::Snapshot(value)) => {
            let (bindings, broken) =
                (value.bindings().cloned().collect(), value.check_loaded().err().map(|broken| broken.0));
            text::write_within(&Shown { bindings, broken, content, format, type_name, value: &value }, bytes_max)
        }
        Err(error) if frame.content.is_whole() => {
            let broken = Some(error.text.into_owned());
            text::write_within(&Shown { bindings, broken, content, format, type_name, value: () }, bytes_max)
        }
        Err(error) => return Err(error),
    };
    let text = text.map_err(|error| Error::usage(format!("payload cannot be shown as JSON: {error}")))?;
    text.ok_or_else(|| Error::limit("reply-bytes-max", "the payload as JSON", bytes_max as u64))
}
