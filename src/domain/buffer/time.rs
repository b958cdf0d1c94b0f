//! What time ends in a buffer: leases of unsealed chunks, pins, TTLs, and the pause after a write
//! before an equal content is looked for.

use super::chunk::{Chunk, Phase, Serial};
use super::{Buffer, BufferEvent, End};
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::Millis;

/// What has expired at `at`, of the `most` chunks that are due longest.
pub fn due(buffer: &Buffer, at: Millis, most: usize) -> Vec<BufferEvent> {
    let due = buffer.dues.iter().take_while(|(due, _)| *due <= at).take(most);
    due.flat_map(|(_, serial)| due_of(buffer, *serial, at)).collect()
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
        events.extend(rest(chunk, at));
    }
    events
}

fn rest(chunk: &Chunk, at: Millis) -> Option<BufferEvent> {
    match chunk.record.phase {
        Phase::Written { rests_at } if rests_at <= at => {
            Some(BufferEvent::Rested { id: chunk.record.id.clone(), hash: xxh64(&chunk.content) })
        }
        _ => None,
    }
}
