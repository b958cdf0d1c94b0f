//! Dumps and payloads that somebody has changed and given right checksums again, so that they reach
//! the decoders.

use super::damage::damage;
use super::prng::Prng;
use crate::faults::payloads::reseal;
use crate::faults::{frames, reseal_dump};

const HEADER_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 4;
/// The type of a value, and the module's type: other types are the server's own business.
const DUMP_HEAD_BYTES: usize = 10;
/// The version of the RDB format, and the checksum.
const DUMP_END_BYTES: usize = 10;

/// A frame that was changed under a right checksum.
pub fn forge_frame(rng: &mut Prng, frame: &[u8]) -> Vec<u8> {
    let mut head = frame[..HEADER_BYTES].to_vec();
    let mut payload = frame[HEADER_BYTES..frame.len() - CHECKSUM_BYTES].to_vec();
    match rng.below(30) {
        0 => head[3] = rng.below(7) as u8,
        1 => head[4] = rng.below(12) as u8,
        2 => head[2] = rng.below(3) as u8,
        _ => damage(rng, &mut payload),
    }
    head[5..].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut forged = [&head[..], &payload, &[0; CHECKSUM_BYTES]].concat();
    reseal(&mut forged);
    forged
}

/// A length as an RDB has it.
fn rdb_length(length: usize) -> Vec<u8> {
    match length {
        0..64 => vec![length as u8],
        64..16_384 => vec![0x40 | (length >> 8) as u8, length as u8],
        _ => [&[0x80], &(length as u32).to_be_bytes()[..]].concat(),
    }
}

/// A dump of ours that was changed under right checksums: in its frame, in what surrounds that, or
/// in the blobs beside it.
pub fn forge_dump(rng: &mut Prng, dump: &[u8]) -> Vec<u8> {
    let mut forged = dump.to_vec();
    let frame = frames(dump).into_iter().next().filter(|_| !rng.percent(15));
    match frame {
        Some(frame) => {
            let inner = forge_frame(rng, &dump[frame.clone()]);
            let length = rdb_length(frame.len());
            if dump[..frame.start].ends_with(&length) {
                let around = frame.start - length.len()..frame.end;
                drop(forged.splice(around, [rdb_length(inner.len()), inner].concat()));
            }
        }
        None if dump.len() > DUMP_HEAD_BYTES + DUMP_END_BYTES => {
            let mut body = dump[DUMP_HEAD_BYTES..dump.len() - DUMP_END_BYTES].to_vec();
            damage(rng, &mut body);
            forged = [&dump[..DUMP_HEAD_BYTES], &body, &dump[dump.len() - DUMP_END_BYTES..]].concat();
        }
        None => {}
    }
    reseal_dump(&mut forged);
    forged
}

/// The arguments of an `LTMC.APPLY` behind its key, a frame and blobs, changed.
pub fn forge_payload(rng: &mut Prng, payload: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut forged = payload.to_vec();
    if frames(&forged[0]).first().is_some_and(|frame| *frame == (0..forged[0].len())) {
        forged[0] = forge_frame(rng, &payload[0]);
    }
    match rng.below(10) {
        0 => forged.push(b"a blob".to_vec()),
        1 if forged.len() > 1 => drop(forged.pop()),
        2 if forged.len() > 1 => damage(rng, &mut forged[1]),
        _ => {}
    }
    forged
}
