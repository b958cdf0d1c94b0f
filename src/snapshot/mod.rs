//! Versioned bytes <-> entities and changes: what goes into RDB and AOF files and to replicas.
//!
//! A [frame] says what is in it and protects it by a checksum; inside is `bincode` ([codec]). A released format's reader
//! is never edited: a change adds the next version, and `tests/golden` keeps a file of each.

pub mod codec;
pub mod crc;
pub mod frame;

use crate::domain::{Change, Entity, Error, Stored};
use frame::{Content, Frame};

/// What a payload of `LTMC.APPLY` holds.
#[derive(Debug, Clone)]
pub enum Payload<E: Entity> {
    /// What happened to the key, in order.
    Changes(Vec<Change<E::Event>>),
    /// The whole value of the key.
    Snapshot(Stored<E>),
}

/// The frame of a whole value.
pub fn encode_snapshot<E: Entity>(stored: &Stored<E>) -> Vec<u8> {
    let mut writer = frame::Writer::new(Content::Snapshot, E::TYPE_TAG);
    codec::encode_into(writer.payload(), stored);
    writer.finish()
}

/// Collects the changes of one key into one frame.
#[derive(Debug)]
pub struct ChangesWriter(frame::Writer);

impl ChangesWriter {
    /// An empty frame for changes of `E`.
    pub fn new<E: Entity>() -> Self {
        Self(frame::Writer::new(Content::Changes, E::TYPE_TAG))
    }

    /// Adds changes at the end.
    pub fn push<E: Entity>(&mut self, changes: &[Change<E::Event>]) {
        for change in changes {
            codec::encode_into(self.0.payload(), change);
        }
    }

    /// The finished frame.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
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
        Content::Snapshot => {
            let (stored, used) = codec::decode_prefix::<Stored<E>>(frame.payload)?;
            if used != frame.payload.len() {
                return Err(Error::usage(format!("payload has {} bytes too many", frame.payload.len() - used)));
            }
            stored.check().map_err(|broken| Error::usage(format!("payload holds a broken value: {}", broken.0)))?;
            Ok(Payload::Snapshot(stored))
        }
    }
}

/// A payload as JSON, for people who read an AOF.
pub fn explain<E: Entity>(frame: &Frame) -> Result<String, Error> {
    let content = match decode::<E>(frame)? {
        Payload::Changes(changes) => serde_json::to_value(changes),
        Payload::Snapshot(stored) => serde_json::to_value(stored),
    };
    let content = content.map_err(|error| Error::usage(format!("payload cannot be shown as JSON: {error}")))?;
    let shown = serde_json::json!({
        "type": E::TYPE_NAME,
        "format": frame::FORMAT,
        "content": match frame.content { Content::Changes => "changes", Content::Snapshot => "snapshot" },
        "value": content,
    });
    Ok(shown.to_string())
}
