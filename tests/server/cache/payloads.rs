//! Payloads for a cache that no server of ours has made. The answer is an error or OK, the server
//! stays up, and an error changes nothing.

use super::*;
use crate::faults::payloads::{damage_dump, payload_from, reseal};

/// A server with a cache `c` in which something is being computed, and something is invalidated.
fn target() -> Server {
    let server = Server::start();
    reset(&server);
    server
}

fn reset(server: &Server) {
    server.run("FLUSHALL").ok();
    put(server, "c t 1 v DEPS 1 d");
    ticket(server, "c t 2");
}

/// An accepted payload is a cache that can be used. Its bounds may be so low that nothing fits.
#[track_caller]
fn use_it(server: &Server, what: &str, key: &str) {
    for line in ["STATS #", "SCAN # 0", "TOP #", "GET # t 1 AGENT a", "PUT # t 1 w", "INVALIDATE # ALL"] {
        let reply = server.run(&format!("LTMC.CACHE.{}", line.replace('#', key)));
        let is_limit = reply.is_error() && reply.error_code() == "LIMIT";
        // The payload of another type was for a free key.
        let is_other = reply.is_error() && server.run(&format!("TYPE {key}")).text() != "ltmccache";
        assert!(!reply.is_error() || is_limit || is_other, "{what} on {key}: {line}: {reply:?}");
    }
}

/// Applies a payload with its blobs to a cache and to a free key.
#[track_caller]
fn try_payload(server: &Server, what: &str, payload: &[u8], beside: &[&[u8]]) -> bool {
    let mut any_applied = false;
    for key in ["c", "free"] {
        let before = server.debug_digest();
        let reply = server.cmd(&[&[b"LTMC.APPLY".as_slice(), key.as_bytes(), payload], beside].concat());
        if reply.is_error() {
            // WRONGTYPE if it says that it is for a lock.
            assert!(["ERR", "WRONGTYPE"].contains(&reply.error_code()), "{what}: {reply:?}");
            assert!(!reply.error().contains("internal error"), "{what} on {key}: {reply:?}");
            assert_eq!(server.debug_digest(), before, "{what} on {key} changed something");
        } else {
            any_applied = true;
            // An accepted value has to be sound: it can be shown, used, saved and invalidated.
            use_it(server, what, key);
            assert!(!server.cmd(&["DUMP", key]).is_error());
        }
    }
    if any_applied {
        reset(server);
    }
    any_applied
}

/// The payloads of all that can happen to a cache.
fn real_payloads() -> Vec<(&'static str, Vec<u8>)> {
    let source = Server::start();
    let full = "LTMC.CACHE.PUT free t 1 v PX 600000 STALE 5 DEPS 2 d e TAGS 1 g COST 5 AGENT a PRIVATE NEGATIVE";
    let mut payloads = vec![("Put", payload_from(&source, full))];
    payloads.push(("Configured", payload_from(&source, "LTMC.CACHE.CONFIG free MAXENTRIES 1 PX 5000")));
    payloads.push(("Removed", payload_from(&source, "LTMC.CACHE.PUT free t 2 v")));
    payloads.push(("Ticketed", payload_from(&source, "LTMC.CACHE.GET free t 3 AGENT a")));
    payloads.push(("Invalidated", payload_from(&source, "LTMC.CACHE.INVALIDATE free DEP 2 d e SOFT")));
    let next = ticket(&source, "free t 4");
    payloads.push(("TicketEnded", payload_from(&source, &format!("LTMC.CACHE.FAIL free t 4 {next}"))));
    payloads.push(("All", payload_from(&source, "LTMC.CACHE.INVALIDATE free ALL")));
    payloads
}

#[test]
fn cut_lengthened_and_damaged_payloads_are_refused() {
    let server = target();
    let (_, payload) = &real_payloads()[0];
    assert!(try_payload(&server, "untouched", payload, &[]));
    for length in 0..payload.len() {
        assert!(!try_payload(&server, &format!("cut to {length}"), &payload[..length], &[]));
    }
    for surplus in [b"\0".as_slice(), b"LT", payload] {
        assert!(!try_payload(&server, "lengthened", &[payload, surplus].concat(), &[]));
    }
    for at in 0..payload.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = payload.clone();
            damaged[at] ^= mask;
            assert!(!try_payload(&server, &format!("byte {at} ^ {mask:#x}"), &damaged, &[]));
        }
    }
}

#[test]
fn forged_payloads_do_no_harm() {
    let server = target();
    for (kind, payload) in real_payloads() {
        assert!(try_payload(&server, kind, &payload, &[]), "{kind}");
        for at in 3..payload.len() - 4 {
            for mask in [0x01, 0x02, 0x04, 0x10, 0x80, 0xff] {
                let mut forged = payload.clone();
                forged[at] ^= mask;
                reseal(&mut forged);
                try_payload(&server, &format!("{kind}, forged byte {at} ^ {mask:#x}"), &forged, &[]);
            }
        }
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    server.debug_reload();
    put(&server, "c t 1 v");
}

#[test]
fn what_stands_beside_a_payload_has_to_fit_it() {
    let server = target();
    let source = Server::start();
    let value = "x".repeat(600);
    let stream = replication_stream(&source, || put(&source, &format!("free t 1 {value}")));
    let (payload, beside) = (&stream[0][2], &stream[0][3]);
    assert!(try_payload(&server, "untouched", payload, &[beside]));
    let (short, long) = (&beside[1..], [&beside[..], b"x"].concat());
    for wrong in [&[][..], &[short], &[&long], &[beside, beside], &[b""], &[b"", beside]] {
        assert!(!try_payload(&server, &format!("{} beside", wrong.len()), payload, wrong));
    }
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), payload]);
    assert!(explained.text().contains("600 bytes beside the payload"), "{explained:?}");
}

#[test]
fn forged_values_are_refused_or_sound() {
    let server = target();
    put(&server, "c t 3 v PX 600000 STALE 5 TAGS 1 g AGENT a");
    damage_dump(&server, "c", |what| use_it(&server, what, "copy"));
}
