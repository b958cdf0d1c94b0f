//! Payloads that no server of ours has made: cut, damaged, forged. The answer is an error or OK,
//! the server stays up, and an error changes nothing.

use crate::harness::*;

/// The `LTMC.APPLY` payload of one command.
fn payload_of(line: &str) -> Vec<u8> {
    let source = Server::start();
    payload_from(&source, line)
}

pub fn payload_from(source: &Server, line: &str) -> Vec<u8> {
    let stream = replication_stream(source, || assert!(!source.run(line).is_error()));
    assert_eq!(stream.len(), 1, "{:?}", show_stream(&stream));
    assert_eq!(stream[0][0], b"LTMC.APPLY");
    stream[0][2].clone()
}

/// A payload with every kind of part, for a key that is empty.
fn rich_payload() -> Vec<u8> {
    payload_of("LTMC.LOCK k owner SHARED LIMIT 3 PATH src/db META text REQID r1 ONDISCONNECT RELEASE PX 6000000")
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

/// Corrects the checksum at the end of a frame, as somebody would who forges one.
pub fn reseal(frame: &mut [u8]) {
    let body = frame.len() - 4;
    let crc = crc32(&frame[..body]);
    frame[body..].copy_from_slice(&crc.to_le_bytes());
}

/// A server whose key `k` is locked already: forged payloads may contradict that.
fn target() -> Server {
    let server = Server::start();
    reset(&server);
    server
}

fn reset(server: &Server) {
    server.run("FLUSHALL").ok();
    server.run("CONFIG SET ltmc.lock-lease-ms 0").ok();
    server.run("LTMC.LOCK k holder PATH src").int();
}

/// Applies `payload` to a held key and to a free one. An error must change nothing and must not be
/// an internal one.
#[track_caller]
fn try_payload(server: &Server, what: &str, payload: &[u8]) -> bool {
    expect_forged_values();
    let mut any_applied = false;
    for key in ["k", "free"] {
        let before = server.debug_digest();
        let reply = server.cmd(&[b"LTMC.APPLY".as_slice(), key.as_bytes(), payload]);
        if reply.is_error() {
            assert_eq!(reply.error_code(), "ERR", "{what}: {reply:?}");
            assert!(!reply.error().contains("internal error"), "{what} on {key}: {reply:?}");
            assert_eq!(server.debug_digest(), before, "{what} on {key} changed something");
        } else {
            reply.ok();
            any_applied = true;
            // An accepted value has to be sound: it can be shown, saved and loaded.
            let info = server.cmd(&["LTMC.LOCK.INFO", key]);
            assert!(!info.is_error(), "{what} on {key}: {info:?}");
            assert!(!server.cmd(&["DUMP", key]).is_error());
        }
    }
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), payload]);
    assert!(!explained.is_error() || !explained.error().contains("internal error"), "{what}: {explained:?}");
    if any_applied {
        reset(server);
    }
    any_applied
}

#[test]
fn a_real_payload_is_accepted() {
    let server = target();
    assert!(try_payload(&server, "untouched", &rich_payload()));
}

#[test]
fn cut_and_lengthened_payloads_are_refused() {
    let (server, payload) = (target(), rich_payload());
    for length in 0..payload.len() {
        assert!(!try_payload(&server, &format!("cut to {length}"), &payload[..length]));
    }
    for surplus in [b"\0".as_slice(), b"LT", &payload.clone()] {
        let long = [&payload[..], surplus].concat();
        assert!(!try_payload(&server, "lengthened", &long));
    }
}

#[test]
fn garbage_is_refused() {
    let server = target();
    for garbage in [b"".as_slice(), b"LT", b"payload", &[0; 64], &[0xff; 64], &[0; 100_000], b"LT\x01\x01\x01"] {
        assert!(!try_payload(&server, "garbage", garbage));
    }
}

#[test]
fn damaged_payloads_are_refused() {
    let (server, payload) = (target(), rich_payload());
    for at in 0..payload.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = payload.clone();
            damaged[at] ^= mask;
            let what = format!("byte {at} ^ {mask:#x}");
            assert!(!try_payload(&server, &what, &damaged), "{what} was applied");
        }
    }
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    let (server, payload) = (target(), rich_payload());
    for length in [0u32, 1, 12, u32::MAX, u32::MAX / 2, 512 << 20] {
        let mut lying = payload.clone();
        lying[5..9].copy_from_slice(&length.to_le_bytes());
        reseal(&mut lying);
        assert!(!try_payload(&server, &format!("length {length}"), &lying));
    }
    let before = server.info_int("memory", "used_memory_peak");
    for at in 9..payload.len() - 4 {
        // A length in the encoding: the marker of eight bytes, then a huge number.
        let mut lying = payload[..at].to_vec();
        lying.push(253);
        lying.extend_from_slice(&(u64::MAX / 4).to_le_bytes());
        lying.extend_from_slice(&payload[at..]);
        let length = (lying.len() - 13) as u32;
        lying[5..9].copy_from_slice(&length.to_le_bytes());
        reseal(&mut lying);
        try_payload(&server, &format!("huge number at {at}"), &lying);
    }
    let grown = server.info_int("memory", "used_memory_peak") - before;
    assert!(grown < 64 << 20, "{grown} bytes more were in use");
}

#[test]
fn other_formats_contents_and_types_are_named() {
    let (server, payload) = (target(), rich_payload());
    for (at, value, part) in [(2, 2, "has format 2"), (3, 9, "unknown content 9"), (4, 15, "unknown type tag 15")] {
        let mut other = payload.clone();
        other[at] = value;
        reseal(&mut other);
        let reply = server.cmd(&[b"LTMC.APPLY".as_slice(), b"k", &other]);
        assert!(reply.error().contains(part), "{reply:?}");
        assert!(!try_payload(&server, part, &other));
    }
    let blob = server.cmd(&[b"LTMC.APPLY".as_slice(), b"k", &payload, b"blob"]);
    assert_eq!(blob.error_code(), "ERR");
}

/// Flips every byte of `payload` under a right checksum.
fn forge(payload: &[u8]) {
    let server = target();
    for at in 3..payload.len() - 4 {
        for mask in [0x01, 0x02, 0x04, 0x10, 0x80, 0xff] {
            let mut forged = payload.to_vec();
            forged[at] ^= mask;
            reseal(&mut forged);
            try_payload(&server, &format!("forged byte {at} ^ {mask:#x}"), &forged);
        }
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    server.debug_reload();
}

#[test]
fn forged_grants_do_no_harm() {
    forge(&rich_payload());
}

#[test]
fn forged_stamps_and_conversions_and_releases_do_no_harm() {
    let source = Server::start();
    let stamp = source.run("LTMC.LOCK stamped a OPTIMISTIC PX 600000").int();
    forge(&payload_from(&source, &format!("LTMC.UNLOCK stamped a TOKEN {stamp}")));
    let fence = source.run("LTMC.LOCK k a PX 600000").int();
    forge(&payload_from(&source, &format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED")));
    forge(&payload_from(&source, "LTMC.UNLOCK k a"));
}

#[test]
fn two_who_exclude_each_other_are_not_let_in() {
    let server = Server::start();
    server.run("LTMC.LOCK k holder PX 600000").int();
    let payload = payload_of("LTMC.LOCK k other PX 600000");
    let before = server.debug_digest();
    let reply = server.cmd(&[b"LTMC.APPLY".as_slice(), b"k", &payload]);
    assert_eq!(reply.error_code(), "ERR");
    assert!(reply.error().contains("two owners hold what excludes each other"), "{reply:?}");
    assert_eq!(server.debug_digest(), before);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

/// Damages every byte of the dump of `key`: that is refused. Under a right checksum it is refused,
/// or there is a key `copy` that can be used.
pub fn damage_dump(server: &Server, key: &str, use_copy: impl Fn(&str)) {
    let dump = server.cmd(&["DUMP", key]).bytes().to_vec();
    let frame_at = dump.windows(4).position(|bytes| bytes == b"LT\x01\x02").expect("the frame is in the dump");
    let restore = |dump: &[u8]| server.cmd(&[b"RESTORE".as_slice(), b"copy", b"0", dump]);
    restore(&dump).ok();
    server.run("DEL copy").int();
    // Bypasses the server's own checksum, else ours would never be checked.
    server.run("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1").ok();
    let frame_end = dump.len() - 11;
    for at in frame_at..frame_end {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = dump.clone();
            damaged[at] ^= mask;
            let reply = restore(&damaged);
            assert!(reply.is_error(), "byte {at} ^ {mask:#x}: {reply:?}");
            reseal(&mut damaged[frame_at..frame_end]);
            if !restore(&damaged).is_error() {
                use_copy(&format!("byte {at} ^ {mask:#x}"));
                server.run("DEL copy").int();
            }
        }
    }
    // The server does not look at what follows the value, so a cut end alone goes unnoticed.
    for length in 0..=frame_end {
        assert!(restore(&dump[..length]).is_error(), "cut to {length}");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    assert_eq!(server.run("DBSIZE").int(), 1);
    let kind = server.run(&format!("TYPE {key}"));
    assert!(server.log().contains(&format!("LTMC cannot load a {}", kind.text())));
}

#[test]
fn a_damaged_dump_is_refused() {
    let server = Server::start();
    server.run("LTMC.LOCK k owner PATH src META text PX 6000000").int();
    server.run("LTMC.LOCK k other SHARED PATH docs PX 6000000").int();
    damage_dump(&server, "k", |what| assert!(!server.run("LTMC.LOCK.INFO copy").is_error(), "{what}"));
}
