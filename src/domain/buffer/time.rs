//! What time ends in a buffer: leases of unsealed chunks, pins, TTLs, and the pause after a write
//! before an equal content is looked for.

use super::chunk::{Chunk, Phase, Serial};
use super::{Buffer, BufferEvent, End};
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::Millis;

/// Bytes that one look hashes, and the content that it begins with if that is longer.
const HASHED_PER_LOOK: usize = 4 * 1024 * 1024;
/// As many bytes are hashed in the time that a round of the scheduler has for one deadline.
const HASHED_PER_DEADLINE: usize = 16 * 1024;

/// What has expired at `at`, of the `most` chunks that are due longest, as far as one look hashes
/// their contents. Also returns how many deadlines that counts as.
pub fn due(buffer: &Buffer, at: Millis, most: usize) -> (Vec<BufferEvent>, usize) {
    let due = buffer.dues.iter().take_while(|(due, _)| *due <= at).take(most);
    let (mut events, mut hashed) = (Vec::new(), 0);
    for (_, serial) in due {
        let bytes = buffer.at(*serial).filter(|chunk| rests(chunk, at)).map_or(0, |chunk| chunk.content.len());
        if hashed > 0 && hashed + bytes > HASHED_PER_LOOK {
            break;
        }
        hashed += bytes;
        events.extend(due_of(buffer, *serial, at));
    }
    let deadlines = events.len() + hashed / HASHED_PER_DEADLINE;
    (events, deadlines)
}

/// What has expired of one chunk at `at`.
pub fn due_of(buffer: &Buffer, serial: Serial, at: Millis) -> Vec<BufferEvent> {
    let Some(chunk) = buffer.at(serial).filter(|chunk| chunk.due() <= at) else { return Vec::new() };
    let id = &chunk.record.id;
    let gone = |why| BufferEvent::Gone { at, ids: vec![id.clone()], why };
    if !chunk.is_sealed() {
        return vec![gone(End::Reclaimed)];
    }
    let pins = chunk.record.pins.iter().filter(|pin| pin.until <= at);
    let unpinned = |agent| BufferEvent::Unpinned { at, id: id.clone(), agent, is_over: true };
    let mut events: Vec<BufferEvent> = pins.map(|pin| unpinned(pin.agent.clone())).collect();
    if chunk.is_expired(at) {
        events.push(gone(End::Expired));
    } else {
        let rested = || BufferEvent::Rested { id: id.clone(), hash: xxh64(&chunk.content) };
        events.extend(rests(chunk, at).then(rested));
    }
    events
}

/// Whether an equal of its content is to be looked for.
fn rests(chunk: &Chunk, at: Millis) -> bool {
    matches!(chunk.record.phase, Phase::Written { rests_at } if rests_at <= at) && !chunk.is_expired(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::buffer::Config;
    use crate::domain::{Blob, Bytes, Entity};

    #[test]
    fn one_look_hashes_a_bounded_number_of_bytes() {
        let at = 1_767_225_600_000;
        let id = |no: usize| Bytes::from(format!("chunk-{no}").as_bytes());
        let meta = Bytes::EMPTY;
        for (bytes, count, most) in [(HASHED_PER_LOOK + 1, 2, 1), (HASHED_PER_LOOK / 4, 9, 4), (16, 70, 64)] {
            let mut buffer = Buffer::default();
            let config = Config { max_bytes: 1 << 30, min_bytes: 0, ..Config::default() };
            buffer.apply(&BufferEvent::Configured { at, config, size_bytes: 1 << 30, stays: true });
            for no in 0..count {
                let (id, data, meta, version) = (id(no), Blob::zeros(bytes), meta.clone(), no as u64 * 2 + 1);
                let (ends_at, pin) = (None, None);
                buffer.apply(&BufferEvent::Put { at, id: id.clone(), data, hash: 0, version, meta, ends_at, pin });
                let (version, data) = (version + 1, Blob::from(&b"x"[..]));
                buffer.apply(&BufferEvent::Written { at, id, version, offset: 0, data });
            }
            let (mut left, later) = (count, at + 3_600_000);
            while left > 0 {
                let (events, deadlines) = due(&buffer, later, 64);
                assert_eq!(events.len(), left.min(most), "of {left} with {bytes} bytes");
                assert!(deadlines >= events.len() + events.len() * bytes / HASHED_PER_DEADLINE);
                events.iter().for_each(|event| buffer.apply(event));
                left -= events.len();
            }
            assert!(due(&buffer, later, 64).0.is_empty());
        }
    }
}
