//! Frozen formats. A file of every released version of the frame format stays readable, and what is
//! written today is what the newest of these files holds.
//!
//! When the format changes, its version in `snapshot::frame` grows, the old reader stays, and
//! `LTMC_GOLDEN_WRITE=1 cargo test --no-default-features --test golden as_they_were` writes the
//! files of the new version. Existing files are never overwritten.
#![cfg(not(feature = "module"))]

mod audit;
mod buffer;
mod cache;
mod flow;
mod hostile;
mod lock;
mod mail;
mod registry;
mod report;
mod samples;
mod versioned;

use ltmc::domain::entity::record::Payload;
use ltmc::domain::{Entity, Error};
use ltmc::snapshot;
use ltmc::snapshot::frame;
use samples::Samples;
use std::path::PathBuf;

/// The file of one sample in one format version.
fn file(version: u8, name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("v{version}")).join(format!("{name}.bin"))
}

fn read(version: u8, name: &str) -> Vec<u8> {
    let path = file(version, name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file of the current version if there is none and the environment variable is set.
fn write_if_asked(name: &str, bytes: &[u8]) {
    let path = file(frame::FORMAT, name);
    if std::env::var_os("LTMC_GOLDEN_WRITE").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, bytes).expect("the file can be written");
    }
}

/// Runs `$body` with `$samples` being those of each type.
macro_rules! for_each_type {
    ($samples:ident => $body:expr) => {
        for_each_type!(@ $samples => $body; lock::samples registry::samples versioned::sessions versioned::contexts
            cache::samples mail::samples buffer::samples flow::samples)
    };
    (@ $samples:ident => $body:expr; $($module:ident::$of:ident)*) => {
        $({
            let $samples = $module::$of();
            $body;
        })*
    };
}

/// All files that should be there, of every version.
fn all_files() -> Vec<(String, Vec<u8>)> {
    let mut names = Vec::new();
    for_each_type!(samples => names.extend(names_of(&samples)));
    let of_version = |version| names.iter().map(move |name| (format!("v{version}/{name}"), read(version, name)));
    (1..=frame::FORMAT).flat_map(of_version).collect()
}

fn names_of<E: Entity>(samples: &Samples<E>) -> Vec<&'static str> {
    let snapshots = samples.snapshots.iter().map(|(name, _)| *name);
    snapshots.chain(samples.changes.iter().map(|(name, _)| *name)).collect()
}

fn decode<E: Entity>(bytes: &[u8]) -> Result<Payload<E>, Error> {
    snapshot::decode::<E>(&frame::read(bytes)?)
}

#[test]
fn values_of_every_version_are_read_and_written_as_they_were() {
    for_each_type!(samples => check_snapshots(&samples));
}

fn check_snapshots<E: Entity>(samples: &Samples<E>) {
    for (name, stored) in &samples.snapshots {
        let written = snapshot::encode_snapshot(stored);
        write_if_asked(name, &written);
        for version in 1..=frame::FORMAT {
            let Payload::Snapshot(found) = decode::<E>(&read(version, name)).expect(name) else {
                panic!("{name} of version {version} holds changes");
            };
            assert_eq!(snapshot::encode_snapshot(&found), written, "{name} of version {version}: {found:?}");
        }
        assert_eq!(read(frame::FORMAT, name), written, "{name} is written in another way than it was");
    }
}

#[test]
fn every_sample_can_be_shown() {
    for_each_type!(samples => names_of(&samples).into_iter().for_each(|name| check_shown(&samples, name)));
}

fn check_shown<E: Entity>(_: &Samples<E>, name: &str) {
    let bytes = read(frame::FORMAT, name);
    let text = frame::read(&bytes).and_then(|frame| snapshot::explain::<E>(&frame, Vec::new(), usize::MAX));
    let text = text.unwrap_or_else(|error| panic!("{name}: {}", error.text));
    let shown: serde_json::Value = serde_json::from_str(&text).expect(name);
    assert!(!shown["value"].is_null(), "{name}: {text}");
}

#[test]
fn changes_of_every_version_are_read_and_written_as_they_were() {
    for_each_type!(samples => check_changes(&samples));
}

fn check_changes<E: Entity>(samples: &Samples<E>)
where
    E::Event: PartialEq,
{
    for (name, changes) in &samples.changes {
        let mut writer = snapshot::ChangesWriter::new::<E>();
        writer.push::<E>(changes);
        let written = writer.finish().frame;
        write_if_asked(name, &written);
        for version in 1..=frame::FORMAT {
            let Payload::Changes(found) = decode::<E>(&read(version, name)).expect(name) else {
                panic!("{name} of version {version} holds a value");
            };
            assert_eq!(&found, changes, "{name} of version {version}");
        }
        assert_eq!(read(frame::FORMAT, name), written, "{name} is written in another way than it was");
    }
}
