//! A payload of several changes counts as a whole: what holds after the last one has to be sound.
//! On the way there it may be what no command would have made.

use super::payloads::{payload_from, reseal};
use crate::harness::*;

const HEAD_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 4;

/// One payload with the changes of several.
fn joined(payloads: &[&[u8]]) -> Vec<u8> {
    let changes = payloads.iter().flat_map(|payload| &payload[HEAD_BYTES..payload.len() - CHECKSUM_BYTES]);
    let mut all: Vec<u8> = payloads[0][..HEAD_BYTES].iter().chain(changes).copied().collect();
    let length = (all.len() - HEAD_BYTES) as u32;
    all[5..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    all.extend([0; CHECKSUM_BYTES]);
    reseal(&mut all);
    all
}

#[test]
fn the_size_of_a_buffer_may_leave_its_bounds_only_on_the_way() {
    expect_forged_values();
    let source = Server::start();
    source.run("LTMC.CHUNK.BUFFER k MAXBYTES 1000 MINBYTES 20").ok();
    let mut shrunk = payload_from(&source, "LTMC.CHUNK.RESIZE k MAXBYTES 16");
    // At its end are the new size and why it changed.
    let size_at = shrunk.len() - CHECKSUM_BYTES - 2;
    assert_eq!(shrunk[size_at..size_at + 2], [16, 0]);
    shrunk[size_at] = 0;
    reseal(&mut shrunk);
    let mended = payload_from(&source, "LTMC.CHUNK.BUFFER k MAXBYTES 32 MINBYTES 0");
    for (key, kept) in [("small", 1), ("large", 30)] {
        let server = Server::start();
        server.run(&format!("LTMC.CHUNK.BUFFER {key} MAXBYTES 100000000 MINBYTES 1000")).ok();
        for chunk in 0..kept {
            server.run(&format!("LTMC.CHUNK.PUT {key} c{chunk} data PIN a 600000")).array();
        }
        let apply = |payload: &[u8]| server.cmd(&[b"LTMC.APPLY".as_slice(), key.as_bytes(), payload]);
        let refused = apply(&shrunk);
        assert!(refused.error().contains("the bounds are out of bounds"), "{refused:?}");
        apply(&joined(&[&shrunk, &mended])).ok();
        assert_eq!(server.run(&format!("LTMC.CHUNK.STATS {key}")).get("max_bytes").int(), 32);
        assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
        server.debug_reload();
        assert_eq!(server.info_int("ltmc", "ltmc_quarantined_keys"), 0);
    }
}
