//! Frozen formats: a file of every frame format version that was ever released stays readable, and what is written today is what the
//! newest of these files holds.
//!
//! When the format changes, its version in `snapshot::frame` grows, the old reader stays, and
//! `LTMC_GOLDEN_WRITE=1 cargo test --no-default-features --test golden as_they_were` writes the files of the new version. Existing files are never
//! overwritten.
#![cfg(not(feature = "module"))]

mod hostile;
mod samples;

use ltmc::domain::lock::Lock;
use ltmc::snapshot::{self, frame, Payload};
use samples::{changes, snapshots, Changes};
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

/// Writes a file of the current version if there is none and the environment asks for it.
fn write_if_asked(name: &str, bytes: &[u8]) {
    let path = file(frame::FORMAT, name);
    if std::env::var_os("LTMC_GOLDEN_WRITE").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, bytes).expect("the file can be written");
    }
}

/// All files that should be there, of every version.
fn all_files() -> Vec<(String, Vec<u8>)> {
    let names = || {
        let snapshots = snapshots().into_iter().map(|(name, _)| name);
        snapshots.chain(changes().into_iter().map(|(name, _)| name))
    };
    let of_version = |version| names().map(move |name| (format!("v{version}/{name}"), read(version, name)));
    (1..=frame::FORMAT).flat_map(of_version).collect()
}

fn decode(bytes: &[u8]) -> Result<Payload<Lock>, ltmc::domain::Error> {
    snapshot::decode::<Lock>(&frame::read(bytes)?)
}

#[test]
fn values_of_every_version_are_read_and_written_as_they_were() {
    for (name, stored) in snapshots() {
        let written = snapshot::encode_snapshot(&stored);
        write_if_asked(name, &written);
        for version in 1..=frame::FORMAT {
            let Payload::Snapshot(found) = decode(&read(version, name)).expect(name) else {
                panic!("{name} of version {version} holds changes");
            };
            let same = found.state.grants().iter().eq(stored.state.grants().iter())
                && found.state.version() == stored.state.version()
                && found.revision == stored.revision;
            assert!(same, "{name} of version {version}: {found:?} instead of {stored:?}");
            assert_eq!(snapshot::encode_snapshot(&found), written, "{name} of version {version}");
        }
        assert_eq!(read(frame::FORMAT, name), written, "{name} is written in another way than it was");
    }
}

#[test]
fn changes_of_every_version_are_read_and_written_as_they_were() {
    for (name, changes) in changes() {
        let written = encode(&changes);
        write_if_asked(name, &written);
        for version in 1..=frame::FORMAT {
            let Payload::Changes(found) = decode(&read(version, name)).expect(name) else {
                panic!("{name} of version {version} holds a value");
            };
            assert_eq!(found, changes, "{name} of version {version}");
        }
        assert_eq!(read(frame::FORMAT, name), written, "{name} is written in another way than it was");
    }
}

fn encode(changes: &Changes) -> Vec<u8> {
    let mut writer = snapshot::ChangesWriter::new::<Lock>();
    writer.push::<Lock>(changes);
    writer.finish()
}
