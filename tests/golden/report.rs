//! What nodes of a cluster tell each other: messages of every version stay readable, and anything
//! else is refused.

use crate::file;
use crate::samples::noise;
use ltmc::domain::limits::{REPORT_BYTES_MAX, REPORT_TEXT_BYTES_MAX};
use ltmc::domain::node_report::Report;
use ltmc::snapshot::crc::crc32;
use ltmc::snapshot::report::{decode, encode, FORMAT};

fn sample() -> Report {
    Report {
        version: "0.1.0".into(),
        server: "valkey 8.0.1".into(),
        role: "replica".into(),
        mode: "full".into(),
        health: "degraded".into(),
        uptime_ms: 86_400_000,
        waiting_clients: 3,
        commands: 1_000_000,
        errors: 256,
        panics: 4,
        quarantined_keys: 1,
        deadlines: 70_000,
        sweep_lag_ms: 0,
    }
}

/// A message with a right length and checksum around any fields.
fn message(version: u8, fields: &[u8]) -> Vec<u8> {
    let mut bytes = [&b"LTMR"[..], &[version], &(fields.len() as u16).to_le_bytes(), fields].concat();
    let checksum = crc32(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The fields of a message.
fn fields(message: &[u8]) -> Vec<u8> {
    message[7..message.len() - 4].to_vec()
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let error = decode(bytes).expect_err("it has to be refused");
    assert!(error.text.contains(why), "{}", error.text);
}

#[test]
fn reports_of_every_version_are_read_and_written_as_they_were() {
    let written = encode(sample());
    let path = |version| file(version, "node-report");
    if std::env::var_os("LTMC_GOLDEN_WRITE").is_some() && !path(FORMAT).exists() {
        std::fs::write(path(FORMAT), &written).expect("the file can be written");
    }
    for version in 1..=FORMAT {
        let bytes = std::fs::read(path(version)).expect("a golden file");
        assert_eq!(decode(&bytes).expect("a message"), sample(), "version {version}");
    }
    assert_eq!(std::fs::read(path(FORMAT)).expect("a golden file"), written, "it is written in another way");
    assert!(written.len() <= REPORT_BYTES_MAX / 2, "{} bytes", written.len());
}

#[test]
fn the_largest_report_is_taken_and_anything_in_a_text_is_made_printable() {
    let text = "\u{e9}\r\n\0".repeat(100);
    let texts = || text.clone();
    let most = Report {
        version: texts(),
        server: texts(),
        role: texts(),
        mode: texts(),
        health: texts(),
        uptime_ms: u64::MAX,
        waiting_clients: u64::MAX,
        commands: u64::MAX,
        errors: u64::MAX,
        panics: u64::MAX,
        quarantined_keys: u64::MAX,
        deadlines: u64::MAX,
        sweep_lag_ms: u64::MAX,
    };
    let message = encode(most);
    let read = decode(&message).expect("a message");
    assert_eq!(read.server, "?".repeat(REPORT_TEXT_BYTES_MAX));
    assert_eq!((read.uptime_ms, read.sweep_lag_ms), (u64::MAX, u64::MAX));
    assert!(message.len() <= REPORT_BYTES_MAX, "{} bytes", message.len());
    assert_eq!(decode(&encode(Report::default())).expect("a message"), Report::default());
}

#[test]
fn a_newer_version_is_understood_as_far_as_it_is_known() {
    let more = [&fields(&encode(sample()))[..], &[14, 3, 1, 2, 3], &[200, 0], &[255, 2, 0xff, 0xff]].concat();
    for version in [FORMAT, FORMAT + 1, u8::MAX] {
        assert_eq!(decode(&message(version, &more)).expect("a message"), sample(), "version {version}");
    }
}

#[test]
fn what_an_older_version_does_not_say_is_empty() {
    let some = [&[1, 3][..], b"0.0", &[8, 2, 0, 1]].concat();
    let read = decode(&message(1, &some)).expect("a message");
    assert_eq!(read, Report { version: "0.0".into(), commands: 256, ..Report::default() });
    assert_eq!(decode(&message(1, &[])).expect("a message"), Report::default());
}

#[test]
fn what_is_cut_short_or_too_long_is_refused() {
    let whole = encode(sample());
    for len in 0..whole.len() {
        assert!(decode(&whole[..len]).is_err(), "cut to {len} bytes");
        // The same with a checksum that is right.
        let cut = &fields(&whole)[..len.min(whole.len() - 12)];
        if decode(&message(1, cut)).is_ok() {
            assert!(ends_between_fields(cut), "fields cut to {} bytes", cut.len());
        }
    }
    refused(&[&whole[..], &[0]].concat(), "bytes and has");
    // Unknown fields are skipped, but not this many.
    let filler: Vec<u8> = (100..=101).flat_map(|number| [&[number, 255][..], &[0; 255]].concat()).collect();
    refused(&message(1, &filler), "at most 512 are allowed");
    refused(&vec![0; 1 << 20], "no message of LTMC");
}

fn ends_between_fields(mut rest: &[u8]) -> bool {
    while let [_, len, after @ ..] = rest {
        if after.len() < usize::from(*len) {
            return false;
        }
        rest = &after[usize::from(*len)..];
    }
    rest.is_empty()
}

#[test]
fn every_flipped_bit_is_refused() {
    let whole = encode(sample());
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit} flipped");
    }
}

#[test]
fn messages_of_others_are_refused() {
    for foreign in [&b""[..], b"LTMR", b"LTM", b"hello from another module", &[0; 64], &[0xff; 64]] {
        refused(foreign, "no message of LTMC");
    }
    refused(&message(0, &fields(&encode(sample()))), "no message of LTMC");
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    refused(&message(1, &[0, 0]), "field 0 after");
    refused(&message(1, &[7, 0, 7, 0]), "field 7 after field 7");
    refused(&message(1, &[8, 0, 6, 0]), "field 6 after field 8");
    refused(&message(1, &[6, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1]), "no number");
    refused(&message(1, &[4, 2, b'f', b'\n']), "no short text");
    refused(&message(1, &[4, 1, 0xc3]), "no short text");
    refused(&message(1, &[&[4, 33][..], &[b'a'; 33]].concat()), "no short text");
    refused(&message(1, &[4, 5, b'a']), "ends within field 4");
    refused(&message(1, &[4]), "ends within a field");
}

#[test]
fn garbage_never_panics() {
    let mut byte = noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..30_000usize {
        let garbage: Vec<u8> = (0..round % 90).map(|_| byte()).collect();
        let _ = decode(&garbage);
        let _ = decode(&message(round as u8, &garbage));
    }
}
