//! The targets. Each takes any bytes. It may refuse them, but not panic, and what it accepts has to
//! be sound.

use ltmc::command::engine::requests;
use ltmc::command::engine::walk::Walk;
use ltmc::command::table::Table;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::json::attempt::Bounds;
use ltmc::domain::json::canonical::canonical;
use ltmc::domain::json::text::Room;
use ltmc::domain::json::{patch, Attempt, Document, Op, Pointer, Value};
use ltmc::domain::{Blob, Entity, Record};
use ltmc::snapshot;
use ltmc::snapshot::frame::{Content, Writer};

use crate::host::MemoryHost;
use crate::server::{execute, Server};

/// Large enough for whatever a fuzzer makes.
const BYTES_MAX: usize = 1 << 16;
const DEPTH_MAX: usize = 64;

const CONTENTS: [Content; 6] = [
    Content::Snapshot,
    Content::Changes,
    Content::BoundSnapshot,
    Content::Part,
    Content::Misplaced,
    Content::Unknown(9),
];

/// A frame with a right checksum: the first byte says which content, the rest is the payload.
fn sealed(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let (content, payload) = bytes.split_first().unwrap_or((&0, &[]));
    let mut writer = Writer::new(CONTENTS[usize::from(*content) % CONTENTS.len()], tag);
    writer.payload().extend_from_slice(payload);
    writer.finish()
}

/// The envelope, with the checksum that was given and with the right one.
pub fn frame(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    if let Some(body) = bytes.len().checked_sub(4) {
        right.truncate(body);
        right.extend(snapshot::crc::crc32(&bytes[..body]).to_le_bytes());
    }
    for bytes in [bytes, &right] {
        let newer = snapshot::frame::is_newer(bytes);
        assert!(!newer || snapshot::frame::read(bytes).is_err());
    }
    let _ = snapshot::report::decode(bytes);
}

/// A value or changes, as `LTMC.APPLY` gets them.
pub fn decode<E: Entity + Clone>(bytes: &[u8]) {
    let bytes = sealed(E::TYPE_TAG, bytes);
    match snapshot::decode::<E>(&snapshot::frame::read(&bytes).expect("a whole frame")) {
        Ok(Payload::Snapshot(stored)) => check_value(&stored),
        Ok(Payload::Changes(changes)) => {
            // They may not fit the value they are for: a check finds that, nothing else.
            let mut stored = Record::<E>::default();
            changes.iter().for_each(|change| drop(stored.apply_unchecked(change)));
            if stored.check().is_err() {
                stored.rebuild();
            } else if !stored.is_empty() && stored.check_loaded().is_ok() {
                // A key without anything in it is deleted, and never saved.
                check_value(&stored);
            }
        }
        Err(_) => {}
    }
}

/// A value that was accepted is saved and loaded as it is.
fn check_value<E: Entity>(stored: &Record<E>) {
    assert_eq!(stored.check_loaded(), Ok(()));
    let saved = snapshot::encode_snapshot(stored);
    let frame = snapshot::frame::read(&saved).expect("our own frame");
    let again = snapshot::decode_value::<E>(&frame, Vec::new()).expect("what was accepted can be loaded");
    assert!(snapshot::encode_snapshot(&again) == saved, "loading and saving changes something");
    assert!(stored.memory_bytes() > 0 && stored.free_effort() < usize::MAX);
}

/// A value with blobs beside it, as a file has it. What cannot be read is kept as it is; what is
/// broken can be repaired or not.
pub fn load<E: Entity>(bytes: &[u8]) {
    let (count, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let blobs: Vec<Blob> = (0..count % 3).map(|_| Blob::from(&b"a blob that stands beside its frame"[..])).collect();
    let bytes = sealed(E::TYPE_TAG, rest);
    let frame = snapshot::frame::read(&bytes).expect("a whole frame");
    match snapshot::decode_value::<E>(&frame, blobs.clone()) {
        Ok(stored) => check_value(&stored),
        Err(error) => {
            let broken = snapshot::broken::<E>(error.text, &bytes, blobs.clone());
            let kept = snapshot::encode_rewrite(&broken);
            assert!(snapshot::frame::read(&kept.frame).is_ok() && !broken.is_empty());
            if let Ok(mut stored) = snapshot::decode_unchecked::<E>(&frame, blobs) {
                stored.rebuild();
                let _ = stored.salvage();
                if stored.check_loaded().is_ok() {
                    check_value(&stored);
                }
            }
        }
    }
}

/// A payload for people to read. The first byte chooses the type.
pub fn explain(bytes: &[u8]) {
    use ltmc::domain::{
        buffer::Buffer, cache::Cache, context::Context, flow::Flow, lock::Lock, mail::Mail, registry::Registry,
        session::Session,
    };
    fn show<E: Entity>(bytes: &[u8]) {
        let bytes = sealed(E::TYPE_TAG, bytes);
        let frame = snapshot::frame::read(&bytes).expect("a whole frame");
        if let Ok(text) = snapshot::explain::<E>(&frame, Vec::new(), BYTES_MAX) {
            assert!(text.len() <= BYTES_MAX);
            serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
        }
    }
    let shows: [fn(&[u8]); 8] = [
        show::<Lock>,
        show::<Registry>,
        show::<Context>,
        show::<Session>,
        show::<Cache>,
        show::<Buffer>,
        show::<Mail>,
        show::<Flow>,
    ];
    if let Some((kind, rest)) = bytes.split_first() {
        shows[usize::from(*kind) % shows.len()](rest);
    }
}

/// A text as JSON, as the arguments of a tool, as a path and as a patch.
pub fn json(bytes: &[u8]) {
    if let Ok(value) = Room::new(BYTES_MAX, DEPTH_MAX).read("it", bytes) {
        assert!(value.depth() <= DEPTH_MAX && value.text_bytes() == value.to_string().len());
        assert!(Document::new(value.clone()).is_sound());
        let _ = patch::read(value);
    }
    if let Ok(text) = canonical("it", bytes, DEPTH_MAX) {
        assert_eq!(canonical("it", &text, DEPTH_MAX).ok().as_ref(), Some(&text), "it is its own canonical form");
    }
    if let Ok(path) = Pointer::parse(bytes) {
        assert_eq!(Pointer::parse(path.text().as_bytes()).ok().as_ref(), Some(&path));
        assert!(path.is_valid() && path.parts().count() == path.depth());
    }
}

/// Operations on a document. Parts are separated by zero bytes: the document, then path and value
/// in turn. What they did is undone by what they gave back.
pub fn edits(bytes: &[u8]) {
    let mut room = Room::new(BYTES_MAX, DEPTH_MAX);
    let mut parts = bytes.split(|byte| *byte == 0);
    let Some(Ok(root)) = parts.next().map(|text| room.read("it", text)) else { return };
    let mut document = Document::new(root);
    let parts: Vec<&[u8]> = parts.collect();
    let ops: Vec<Op> = parts.chunks_exact(2).filter_map(|pair| op(&mut room, pair[0], pair[1])).collect();
    let before = document.root().clone();
    let bounds = Bounds { bytes_max: BYTES_MAX, values_max: BYTES_MAX, depth_max: DEPTH_MAX, edits_max: BYTES_MAX };
    let Ok(edits) = Attempt::new(&document, bounds).all(ops) else { return };
    assert!(document.root() == &before, "an attempt leaves the document as it was");
    let undo: Vec<_> = edits.into_iter().map(|edit| document.apply(edit).expect("it was tried")).collect();
    assert!(document.is_sound() && bounds.check(&document).is_ok());
    undo.into_iter().rev().for_each(|edit| drop(document.apply(edit).expect("a way back")));
    assert!(document.root() == &before && document.is_sound(), "the way back leads elsewhere");
}

/// The length of the path chooses the operation.
fn op(room: &mut Room, path: &[u8], value: &[u8]) -> Option<Op> {
    let value: Value = room.read("it", value).ok()?;
    let at = Pointer::parse(path).ok()?;
    match (path.len() + value.to_string().len()) % 7 {
        0 => Some(Op::Merge(value)),
        1 => patch::read(value).ok().map(Op::Patch),
        2 => Some(Op::Del(at)),
        3 => Some(Op::Append(at, value)),
        4 => Some(Op::Replace(value)),
        5 => match value {
            Value::Number(number) => Some(Op::IncrBy(at, number)),
            _ => None,
        },
        _ => Some(Op::Set(at, value)),
    }
}

/// Commands: lines of arguments that are separated by zero bytes. The first byte of a line chooses
/// the command. They are walked along their row, and run one after the other.
pub fn args(bytes: &[u8]) {
    let mut server = Server::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Some((first, rest)) = line.split_first() else { continue };
        let commands = Table::<MemoryHost>::COMMANDS;
        let spec = commands[usize::from(*first) % commands.len()].spec;
        if spec.name == "LTMC.DEBUG" {
            continue;
        }
        let mut args: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
        args.insert(0, spec.name.as_bytes());
        let walk = || Walk::new(spec, &args);
        assert!(walk().leaves().iter().all(|leaf| leaf.at < args.len()), "{}", spec.name);
        assert!(walk().keys().iter().all(|(at, _)| *at < args.len()), "{}", spec.name);
        assert!(walk().actors().iter().all(|at| *at < args.len()), "{}", spec.name);
        assert!(walk().parts().1.iter().all(|(_, range)| range.end <= args.len()), "{}", spec.name);
        let _ = requests::digest(spec, &args);
        let client = 1 + at as u64 % 3;
        if let Err(error) = execute(&mut server.node, &mut server.host, (client, 0), &args) {
            assert!(!error.text.contains("internal error"), "{}: {}", spec.name, error.text);
        }
        server.pass_ms(at as u64 * 10);
        server.settle();
    }
}
