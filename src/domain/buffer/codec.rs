//! The saved form of a buffer, and the invariants of a loaded one.

use super::chunk::{Chunk, ChunkRecord, Phase, Pin, Serial, Version};
use super::{Buffer, BufferEvent, Config, HASHED_BYTES};
use crate::domain::algorithm::eviction::Policy;
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::CHECKED_BYTES;
use crate::domain::json::text;
use crate::domain::limits::{
    BUFFER_BYTES_END, CHUNK_BYTES_END, CHUNK_HOLDERS_END, CHUNK_META_BYTES_MAX, DURATION_MS_MAX, ID_BYTES_MAX,
};
use crate::domain::{Blob, Error, Invariant, Millis};
use ahash::AHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The saved form: each content once, in the order of the first chunk that has it, and the chunks
/// in the order of their creation.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Buffer")]
struct Saved<C, R> {
    config: Config,
    size_bytes: u64,
    resized_at: Millis,
    stays: bool,
    last_serial: Serial,
    gone_version: Version,
    contents: Vec<C>,
    chunks: Vec<SavedChunk<R>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Chunk")]
struct SavedChunk<R> {
    serial: Serial,
    record: R,
    /// The index of its content.
    content: u64,
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut contents: Vec<&Blob> = Vec::new();
        let mut known: AHashMap<*const u8, u64> = AHashMap::new();
        let chunks = self.chunks().map(|(serial, chunk)| {
            let content = *known.entry(chunk.content.as_ptr()).or_insert_with(|| {
                contents.push(&chunk.content);
                contents.len() as u64 - 1
            });
            SavedChunk { serial, record: &chunk.record, content }
        });
        let chunks = chunks.collect();
        let Buffer { config, size_bytes, resized_at, stays, last_serial, gone_version, .. } = *self;
        Saved { config, size_bytes, resized_at, stays, last_serial, gone_version, contents, chunks }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let saved = Saved::<Blob, ChunkRecord>::deserialize(deserializer)?;
        let Saved { config, size_bytes, resized_at, stays, last_serial, gone_version, contents, chunks } = saved;
        let mut buffer = Buffer { size_bytes, resized_at, stays, last_serial, gone_version, ..Buffer::default() };
        buffer.configure(config);
        let mut sealed = vec![0_u32; contents.len()];
        for chunk in chunks.iter().filter(|chunk| chunk.record.phase == Phase::Sealed) {
            if let Some(count) = usize::try_from(chunk.content).ok().and_then(|at| sealed.get_mut(at)) {
                *count += 1;
            }
        }
        let shared = contents.iter().zip(sealed).filter(|(_, count)| *count > 1);
        shared.for_each(|(content, _)| buffer.will_share(content));
        let mut hashes: Vec<Option<u64>> = vec![None; contents.len()];
        for SavedChunk { serial, record, content } in chunks {
            let at = usize::try_from(content).ok().filter(|at| *at < contents.len());
            let at = at.ok_or_else(|| D::Error::custom("a chunk has a content that is not there"))?;
            if buffer.by_id.contains_key(&record.id) || buffer.chunks.contains_key(&serial) {
                return Err(D::Error::custom("a chunk is there twice"));
            }
            let mut chunk = Box::new(Chunk::new(record, contents[at].clone()));
            chunk.hash = *hashes[at].get_or_insert_with(|| xxh64(&contents[at]));
            buffer.adopt(serial, chunk);
        }
        if hashes.contains(&None) {
            return Err(D::Error::custom("a content has no chunk"));
        }
        buffer.usage.evictor.fit(buffer.count());
        Ok(buffer)
    }
}

fn is_time(when: Millis) -> bool {
    // Far from every overflow, and within what Redis accepts as a time.
    when <= i64::MAX as Millis / 4
}

fn is_id(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

fn is_version(version: Version) -> bool {
    (1..=i64::MAX as u64 / 2).contains(&version)
}

fn is_lease(lease_ms: Millis) -> bool {
    (1..=DURATION_MS_MAX).contains(&lease_ms)
}

fn is_config(config: &Config, size_bytes: u64) -> bool {
    let is_known = config.policy != Policy::Lfu;
    is_known
        && config.max_bytes > 0
        && config.max_bytes <= BUFFER_BYTES_END
        && (config.min_bytes..=config.max_bytes).contains(&size_bytes)
}

fn is_meta(meta: &[u8]) -> bool {
    text::is_meta(meta, CHUNK_META_BYTES_MAX)
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit(event: &BufferEvent) -> Result<(), Error> {
    let fits = match event {
        BufferEvent::Configured { config, size_bytes, .. } => is_config(config, *size_bytes),
        BufferEvent::Resized { size_bytes, .. } => *size_bytes <= BUFFER_BYTES_END,
        BufferEvent::Allocated { agent, bytes, version, meta, lease_ms, .. } => {
            agent.len() <= ID_BYTES_MAX
                && *bytes <= CHUNK_BYTES_END as u64
                && is_version(*version)
                && is_meta(meta)
                && is_lease(*lease_ms)
        }
        BufferEvent::Put { data, hash, version, meta, ends_at, pin, .. } => {
            let is_pin = pin.as_ref().is_none_or(|(agent, until)| is_id(agent) && is_time(*until));
            data.len() <= CHUNK_BYTES_END
                && xxh64(data) == *hash
                && is_version(*version)
                && is_meta(meta)
                && ends_at.is_none_or(is_time)
                && is_pin
        }
        BufferEvent::Written { version, data, .. } => data.len() <= CHUNK_BYTES_END && is_version(*version),
        BufferEvent::Sealed { ends_at, .. } => ends_at.is_none_or(is_time),
        BufferEvent::Retained { agent, .. }
        | BufferEvent::Released { agent, .. }
        | BufferEvent::Unpinned { agent, .. } => is_id(agent),
        BufferEvent::Pinned { agent, until, .. } => is_id(agent) && is_time(*until),
        BufferEvent::Described { meta, .. } => is_meta(meta),
        BufferEvent::Gone { ids, .. } => ids.iter().all(|id| is_id(id)),
        BufferEvent::Rested { .. } => true,
        BufferEvent::Used { .. }
        | BufferEvent::Missed { .. }
        | BufferEvent::Slid { .. }
        | BufferEvent::Asked { .. }
        | BufferEvent::Looked { .. } => return Err(Error::usage("payload holds an event that never travels")),
    };
    if fits && event.id().is_none_or(|id| is_id(id)) && event.at().is_none_or(is_time) {
        return Ok(());
    }
    Err(Error::usage("payload holds an event of a buffer that is out of bounds"))
}

/// Whether all invariants hold.
pub fn check(buffer: &Buffer) -> Result<(), Invariant> {
    check_bounds(buffer)?;
    for (serial, chunk) in buffer.chunks() {
        check_chunk(buffer, serial, chunk)?;
    }
    let mut fresh = buffer.clone();
    fresh.index_anew();
    rule(fresh.totals == buffer.totals, "the counts differ from the chunks")?;
    rule(fresh.by_id == buffer.by_id, "the ids differ from the chunks")?;
    rule(fresh.by_hash == buffer.by_hash, "the hashes differ from the contents")?;
    let shared = buffer.sharing.values().filter(|sharing| sharing.chunks > 1).count();
    let is_same = fresh.sharing.iter().all(|(content, sharing)| buffer.sharing.get(content) == Some(sharing));
    rule(is_same && shared == fresh.sharing.len(), "who shares a content differs from the chunks")?;
    rule(fresh.by_agent == buffer.by_agent, "what agents have to do with differs from the chunks")?;
    rule(fresh.dues == buffer.dues && fresh.order == buffer.order, "what is due differs from the chunks")?;
    rule(fresh.loose.len() == buffer.loose.len(), "those that may go differ from the chunks")
}

/// What can be checked without the chunks.
fn check_bounds(buffer: &Buffer) -> Result<(), Invariant> {
    let Buffer { config, size_bytes, stays, .. } = buffer;
    let is_unborn = *config == Config::default() && *size_bytes == 0 && !stays && buffer.chunks.is_empty();
    rule(is_unborn || is_config(config, *size_bytes), "the bounds are out of bounds")?;
    rule(buffer.gone_version <= i64::MAX as u64 / 2, "the versions are used up")?;
    rule(buffer.last_serial <= i64::MAX as u64 / 2, "the numbers of chunks are used up")?;
    rule(is_time(buffer.resized_at), "a time is out of bounds")
}

/// Checks a part of it, by the numbers of the chunks. Hashes all their contents.
pub fn check_part(buffer: &Buffer, from: Serial, room: usize) -> Result<Part, Invariant> {
    check_bounds(buffer)?;
    rule(buffer.by_id.len() == buffer.chunks.len(), "the ids differ from the chunks")?;
    rule(buffer.dues.len() <= buffer.chunks.len(), "what is due differs from the chunks")?;
    Part::of(buffer.chunks.range(from..).map(|(serial, chunk)| (*serial, &**chunk)), room, |serial, chunk| {
        check_chunk(buffer, serial, chunk)?;
        let is_found = buffer.by_id.get(&chunk.record.id) == Some(&serial);
        rule(is_found, "the ids differ from the chunks")?;
        let is_hashed = !chunk.is_shareable() || chunk.hash == xxh64(&chunk.content);
        rule(is_hashed, "the hashes differ from the contents")?;
        let knows = |agent| buffer.by_agent.get(agent).is_some_and(|of| of.serials.contains(&serial));
        rule(chunk.agents().all(knows), "what agents have to do with differs from the chunks")?;
        let is_due = chunk.due() == Millis::MAX || buffer.dues.contains(&(chunk.due(), serial));
        let place = buffer.order_of(serial, chunk).filter(|_| !chunk.is_held());
        let is_in_order = place.is_none_or(|place| buffer.order.contains(&place));
        rule(is_due && is_in_order, "what is due differs from the chunks")?;
        Ok(1 + chunk.content.len() / HASHED_BYTES + chunk.record.meta.len() / CHECKED_BYTES + chunk.holders() / 8)
    })
}

/// Checks it after one event. In a large buffer, only its bounds and the chunk that the event is
/// about.
pub fn check_after(buffer: &Buffer, event: &BufferEvent) -> Result<(), Invariant> {
    const SMALL: usize = 24;
    const SMALL_BYTES: u64 = 256 * 1024;
    if buffer.count() <= SMALL && buffer.totals.used_bytes() <= SMALL_BYTES {
        return check(buffer);
    }
    check_bounds(buffer)?;
    let chunk = event.id().and_then(|id| buffer.find(id));
    chunk.map_or(Ok(()), |(serial, chunk)| check_chunk(buffer, serial, chunk))
}

fn check_chunk(buffer: &Buffer, serial: Serial, chunk: &Chunk) -> Result<(), Invariant> {
    let ChunkRecord { id, version, phase, meta, owner, created_at, changed_at, ends_at, retained_by, pins } =
        &chunk.record;
    rule(
        is_id(id) && is_version(*version) && is_meta(meta) && owner.len() <= ID_BYTES_MAX,
        "a chunk is out of bounds",
    )?;
    rule(is_time(*created_at) && is_time(*changed_at) && ends_at.is_none_or(is_time), "a time is out of bounds")?;
    rule(chunk.content.len() <= CHUNK_BYTES_END, "a content is too long")?;
    rule(serial > 0 && serial <= buffer.last_serial, "a chunk has a number that is not given yet")?;
    let is_phase = match phase {
        Phase::Unsealed { lease_ms, ends_at } => is_lease(*lease_ms) && is_time(*ends_at) && chunk.holders() == 0,
        Phase::Sealed => true,
        Phase::Written { rests_at } => is_time(*rests_at),
    };
    rule(is_phase, "a lease is out of bounds")?;
    let are_agents = retained_by.iter().all(|agent| is_id(agent)) && retained_by.is_sorted_by(|one, next| one < next);
    let is_pin = |pin: &Pin| is_id(&pin.agent) && is_time(pin.until);
    let are_pins = pins.iter().all(is_pin) && pins.is_sorted_by(|one, next| one.agent < next.agent);
    rule(
        are_agents && are_pins && chunk.holders() <= 2 * CHUNK_HOLDERS_END,
        "those who hold a chunk are out of bounds",
    )?;
    let hash = (chunk.hash, !chunk.is_held(), serial);
    rule(!chunk.is_shareable() || buffer.by_hash.contains(&hash), "a chunk is not found by its hash")?;
    let is_loose = chunk.loose_at.is_some_and(|at| buffer.loose.get(at as usize) == Some(&serial));
    rule(is_loose != chunk.is_held(), "a chunk that is held may go, or one that is not may not")
}

/// Rebuilds everything derived from the chunks, which keep their numbers.
pub fn rebuild(buffer: &mut Buffer) {
    buffer.index_anew();
    let last = buffer.chunks.last_key_value().map_or(0, |(serial, _)| *serial);
    buffer.last_serial = buffer.last_serial.max(last);
}
