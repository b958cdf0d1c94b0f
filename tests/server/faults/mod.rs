//! Values that no command would have made. A client cannot bring one in. One that comes from a
//! file, an AOF or a primary keeps no server from starting: it is in quarantine, wherever it goes.

mod changes;
mod fences;
mod files;
mod memory;
mod names;
mod newer;
pub mod payloads;
mod repairs;
mod steps;
mod texts;

use crate::harness::*;
use payloads::reseal;
use std::path::PathBuf;

/// Where the frames are in a dump, a file or a payload, from start to end.
pub fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"LT\x01") && bytes.len() > at + 13);
    let length = |at: usize| u32::from_le_bytes(bytes[at + 5..at + 9].try_into().expect("four bytes")) as usize;
    starts.map(|at| at..at + 13 + length(at)).filter(|range| range.end <= bytes.len()).collect()
}

/// Lets `change` change frames under a right checksum, and returns how many it says it changed.
fn forge(bytes: &mut [u8], change: impl Fn(&mut [u8]) -> bool) -> usize {
    let mut count = 0;
    for range in frames(bytes) {
        let frame = &mut bytes[range];
        if change(frame) {
            reseal(frame);
            count += 1;
        }
    }
    count
}

/// CRC-64 of Jones, as in Redis.
fn crc64(bytes: &[u8]) -> u64 {
    let step = |crc: u64, byte: &u8| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| (crc >> 1) ^ (0x95ac_9329_ac4b_c9b5 & (crc & 1).wrapping_neg()))
    };
    bytes.iter().fold(0, step)
}

#[test]
fn the_check_value_of_crc_64_comes_out() {
    assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
}

/// Corrects the checksum at the end of a dump.
pub fn reseal_dump(dump: &mut [u8]) {
    let body = dump.len() - 8;
    let crc = crc64(&dump[..body]);
    dump[body..].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the context `k`, with a checkpoint of version 1 and one edit that leads back to it.
const STORY: [&str; 3] =
    ["LTMC.CTX.CREATE k DOC {\"n\":{\"k\":1}}", "LTMC.CTX.CHECKPOINT k", "LTMC.CTX.UPDATE k a DEL /n/k"];

fn tell(server: &Server) {
    STORY.iter().for_each(|line| assert!(server.run(line).int() > 0));
}

/// Gives that edit a path that no command takes. The path comes first in the touches, and then in
/// the undo.
fn break_undo(frame: &mut [u8]) -> bool {
    let path = b"\x04/n/k";
    let places: Vec<usize> = (0..frame.len()).filter(|at| frame[*at..].starts_with(path)).collect();
    let is_whole = frame[3] == 2 && places.len() == 2;
    if is_whole {
        frame[places[1] + 1] = b'0';
    }
    is_whole
}

/// Makes the second half of a whole value unreadable.
fn break_half(frame: &mut [u8]) -> bool {
    let end = frame.len() - 4;
    frame[9 + (end - 9) / 2..end].fill(0xff);
    frame[3] == 2 || frame[3] == 4
}

/// A server that writes files which can be changed: without checksums, and uncompressed.
fn plain() -> Builder {
    Server::builder().arg("ltmc.check-rate", 0).arg("rdbcompression", "no").arg("rdbchecksum", "no")
}

/// Changes a file of a server that is stopped.
#[track_caller]
fn forge_file(path: PathBuf, change: impl Fn(&mut [u8]) -> bool) {
    let mut bytes = std::fs::read(&path).expect("the file is there");
    assert!(forge(&mut bytes, change) > 0, "{} has no such frame", path.display());
    std::fs::write(&path, bytes).expect("the file can be written");
}

/// The AOF of a stopped server, as far as it is commands.
fn commands_file(server: &Server) -> PathBuf {
    let folder = std::fs::read_dir(server.dir().join("appendonlydir")).expect("a folder");
    let mut paths = folder.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.to_string_lossy().contains(".incr.")).expect("a file of commands")
}

/// Adds commands to the end of it.
fn append(server: &Server, commands: &[Vec<&[u8]>]) {
    let path = commands_file(server);
    let mut bytes = std::fs::read(&path).expect("the file is there");
    for command in commands {
        bytes.extend(format!("*{}\r\n", command.len()).bytes());
        for word in command {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    std::fs::write(&path, bytes).expect("the file can be written");
}

/// A server that was started with a file in which `k` is as in the story, its undo broken, and with
/// a lock `well`.
fn broken() -> Server {
    let mut server = plain().start();
    tell(&server);
    server.run("LTMC.LOCK well a PX 600000").int();
    server.stop();
    forge_file(server.dir().join("dump.rdb"), break_undo);
    server.start_again();
    server
}

/// How many values are in quarantine, and how many of them are contexts.
fn quarantined(server: &Server) -> (i64, i64) {
    let health = server.run("LTMC.HEALTH");
    let of_contexts = health.get("services").get("context").get("quarantined_keys").int();
    (health.get("quarantined_keys").int(), of_contexts)
}

#[track_caller]
fn assert_broken(server: &Server, key: &str) {
    for line in [
        format!("LTMC.CTX.GET {key}"),
        format!("LTMC.CTX.UPDATE {key} a SET /x 1"),
        format!("LTMC.CTX.ROLLBACK {key} 1"),
    ] {
        let refused = server.run(&line);
        assert_eq!(refused.error_code(), "QUARANTINED", "{line}: {refused:?}");
        assert!(refused.error().contains("cannot be got back to"), "{line}: {refused:?}");
    }
}

/// The same of a replica, to which nobody writes.
#[track_caller]
fn assert_broken_copy(replica: &Server, key: &str) {
    let refused = replica.run(&format!("LTMC.CTX.GET {key}"));
    assert_eq!(refused.error_code(), "QUARANTINED", "{refused:?}");
}

fn digest(server: &Server, key: &str) -> String {
    format!("{:?}", server.run(&format!("DEBUG DIGEST-VALUE {key}")))
}

fn dump(server: &Server, key: &str) -> Vec<u8> {
    server.cmd(&["DUMP", key]).bytes().to_vec()
}
