//! What clients may do to a buffer. Each function validates everything, and returns
//! events or an error.

use super::chunk::{Chunk, Phase, Serial, Version};
use super::sharing::Sharers;
use super::working::Need;
use super::{Buffer, BufferEvent, Config, End, Why};
use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::eviction::Policy;
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::entity::joined;
use crate::domain::value::bytes::printable;
use crate::domain::{Blob, Bytes, Code, Error, Millis};

/// The limits of a buffer apart from its own bounds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Length of a chunk, bytes.
    pub chunk_bytes_max: u64,
    /// Chunks.
    pub chunks_max: u64,
    /// Agents that hold one chunk.
    pub holders_max: u64,
}

/// The conditions of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Now, unix ms.
    pub at: Millis,
    /// Whether the server is short of memory.
    pub is_short: bool,
}

/// A chunk to be put.
#[derive(Debug)]
pub struct Putting<'a> {
    /// Its name.
    pub id: &'a [u8],
    /// Its content.
    pub data: Blob,
    /// The version that must be the current one, 0 for none.
    pub expected: Option<Version>,
    /// The agent that pins it, and for how long, ms.
    pub pin: Option<(&'a [u8], Millis)>,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// Its time to live, ms.
    pub ttl_ms: Option<Millis>,
}

/// A chunk to be allocated.
#[derive(Debug)]
pub struct Allocating<'a> {
    /// Its name.
    pub id: &'a [u8],
    /// The agent; empty if none was named.
    pub agent: &'a [u8],
    /// Its length, bytes.
    pub bytes: u64,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// How long it may stay unsealed without a write, ms.
    pub lease_ms: Millis,
}

/// The content of a chunk after a change.
enum Content<'a> {
    /// The one it has.
    Kept,
    /// This many bytes of its own.
    Own(usize),
    /// These bytes, which other chunks may share.
    Maybe(u64, &'a [u8]),
}

/// Errs if `expected` is not the version of the chunk; 0 means that there must be no chunk.
pub fn check_version(chunk: Option<&Chunk>, expected: Option<Version>) -> Result<(), Error> {
    let current = chunk.map_or(0, |chunk| chunk.record.version);
    match expected.filter(|expected| *expected != current) {
        None => Ok(()),
        Some(expected) => {
            let text = format!("version {expected} is not current, the current one is {current}");
            Err(Error::new(Code::Conflict, text))
        }
    }
}

/// The error for a missing chunk.
pub fn missing(id: &[u8]) -> Error {
    Error::new(Code::NoChunk, format!("there is no chunk '{}'", printable(id)))
}

fn unsealed(id: &[u8], wanted: &str) -> Error {
    let text = format!("chunk '{}' is unsealed, it has to be sealed to be {wanted}", printable(id));
    Error::new(Code::BadState, text)
}

/// The first version of a new chunk.
fn first_version(buffer: &Buffer) -> Version {
    buffer.gone_version + 1
}

fn check_length(bytes: u64, bounds: &Bounds) -> Result<(), Error> {
    if bytes <= bounds.chunk_bytes_max {
        return Ok(());
    }
    Err(Error::limit("chunk-bytes-max", &format!("a chunk of {bytes} bytes"), bounds.chunk_bytes_max))
}

fn check_count(buffer: &Buffer, bounds: &Bounds) -> Result<(), Error> {
    if (buffer.count() as u64) < bounds.chunks_max {
        return Ok(());
    }
    Err(Error::limit("buffer-chunks-max", "one more chunk", bounds.chunks_max))
}

fn check_holders(chunk: &Chunk, bounds: &Bounds) -> Result<(), Error> {
    if (chunk.holders() as u64) < bounds.holders_max {
        return Ok(());
    }
    Err(Error::limit("chunk-holders-max", "one more agent that holds this chunk", bounds.holders_max))
}

/// Puts a chunk, whether it exists or not.
pub fn put(
    buffer: &Buffer,
    putting: Putting,
    bounds: &Bounds,
    conditions: Conditions,
) -> Result<(Vec<BufferEvent>, Version), Error> {
    let Putting { id, data, expected, pin, meta, ttl_ms } = putting;
    let known = buffer.find(id);
    check_version(known.map(|(_, chunk)| chunk), expected)?;
    check_length(data.len() as u64, bounds)?;
    let mut own = Chunk::bare_bytes() + 2 * allocated(Bytes::from(id).heap_bytes());
    let version = match known {
        None => {
            check_count(buffer, bounds)?;
            first_version(buffer)
        }
        Some((_, chunk)) if !chunk.is_sealed() => return Err(unsealed(id, "put")),
        Some((_, chunk)) => {
            if pin.is_some_and(|(agent, _)| chunk.pinned_until(agent).is_none()) {
                check_holders(chunk, bounds)?;
            }
            own = own.max(chunk.record.own_bytes());
            chunk.record.version + 1
        }
    };
    own += allocated(meta.heap_bytes()) + pin.map_or(0, |(agent, _)| holder_bytes(agent));
    let hash = xxh64(&data);
    let serial = known.map(|(serial, _)| serial);
    let grown = room(buffer, serial, own, Content::Maybe(hash, &data), conditions)?;
    let at = conditions.at;
    let pin = pin.map(|(agent, ms)| (Bytes::from(agent), pin_end(known.map(|(_, chunk)| chunk), agent, ms, at)));
    let ends_at = ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms));
    let put = BufferEvent::Put { at, id: Bytes::from(id), data, hash, version, meta, ends_at, pin };
    Ok((grown.into_iter().chain([put]).collect(), version))
}

/// Allocates a chunk.
pub fn allocate(
    buffer: &Buffer,
    allocating: Allocating,
    bounds: &Bounds,
    conditions: Conditions,
) -> Result<Vec<BufferEvent>, Error> {
    let Allocating { id, agent, bytes, meta, lease_ms } = allocating;
    if let Some((_, chunk)) = buffer.find(id) {
        let text = format!("chunk '{}' exists, its version is {}", printable(id), chunk.record.version);
        return Err(Error::new(Code::Conflict, text));
    }
    check_length(bytes, bounds)?;
    check_count(buffer, bounds)?;
    let (id, agent, version, at) = (Bytes::from(id), Bytes::from(agent), first_version(buffer), conditions.at);
    let texts = [&id, &id, &agent, &agent, &meta];
    let own = Chunk::bare_bytes() + texts.iter().map(|text| allocated(text.heap_bytes())).sum::<usize>();
    let grown = room(buffer, None, own, Content::Own(bytes as usize), conditions)?;
    let allocated = BufferEvent::Allocated { at, id, agent, bytes, version, meta, lease_ms };
    Ok(grown.into_iter().chain([allocated]).collect())
}

/// Writes a part of a chunk.
pub fn write(
    buffer: &Buffer,
    id: &[u8],
    offset: u64,
    data: Blob,
    expected: Option<Version>,
    conditions: Conditions,
) -> Result<(Vec<BufferEvent>, Version), Error> {
    let (serial, chunk) = buffer.find(id).ok_or_else(|| missing(id))?;
    check_version(Some(chunk), expected)?;
    let (len, size) = (data.len() as u64, chunk.content.len() as u64);
    if offset.checked_add(len).is_none_or(|end| end > size) {
        let text = format!("{len} bytes at offset {offset} would end behind the chunk, which has {size} bytes");
        return Err(Error::usage(text));
    }
    // A shared content is copied.
    let content = if buffer.sharers_at(serial).any { Content::Own(chunk.content.len()) } else { Content::Kept };
    let grown = room(buffer, Some(serial), chunk.record.own_bytes(), content, conditions)?;
    let version = chunk.record.version + 1;
    let written = BufferEvent::Written { at: conditions.at, id: Bytes::from(id), version, offset, data };
    Ok((grown.into_iter().chain([written]).collect(), version))
}

/// Seals a chunk. `None` if it is sealed already and no time to live is given.
pub fn seal(
    buffer: &Buffer,
    id: &[u8],
    ttl_ms: Option<Millis>,
    at: Millis,
) -> Result<(Option<BufferEvent>, Version), Error> {
    let (_, chunk) = buffer.find(id).ok_or_else(|| missing(id))?;
    let version = chunk.record.version;
    if chunk.is_shareable() && ttl_ms.is_none() {
        return Ok((None, version));
    }
    // A chunk that is sealed again keeps its time to live, unless another is given.
    let before = chunk.record.ends_at;
    let ends_at = ttl_ms.map(|ttl_ms| at.saturating_add(ttl_ms)).or(before);
    Ok((Some(BufferEvent::Sealed { at, id: Bytes::from(id), hash: xxh64(&chunk.content), ends_at }), version))
}

/// The chunk that an agent wants to hold.
fn to_hold<'a>(buffer: &'a Buffer, id: &[u8], wanted: &str) -> Result<(Serial, &'a Chunk), Error> {
    let (serial, chunk) = buffer.find(id).ok_or_else(|| missing(id))?;
    if chunk.is_sealed() {
        Ok((serial, chunk))
    } else {
        Err(unsealed(id, wanted))
    }
}

fn holder_bytes(agent: &[u8]) -> usize {
    allocated(Bytes::from(agent).heap_bytes()) + 2 * size_of::<Bytes>()
}

/// Makes room for one more holder of a chunk, which then cannot be evicted.
fn room_to_hold(
    buffer: &Buffer,
    serial: Serial,
    chunk: &Chunk,
    agent: &[u8],
    conditions: Conditions,
) -> Result<Option<BufferEvent>, Error> {
    room(buffer, Some(serial), chunk.record.own_bytes() + holder_bytes(agent), Content::Kept, conditions)
}

/// An agent retains a chunk. No event if it does so already.
pub fn retain(
    buffer: &Buffer,
    id: &[u8],
    agent: &[u8],
    bounds: &Bounds,
    conditions: Conditions,
) -> Result<Vec<BufferEvent>, Error> {
    let (serial, chunk) = to_hold(buffer, id, "retained")?;
    if chunk.is_retained_by(agent) {
        return Ok(Vec::new());
    }
    check_holders(chunk, bounds)?;
    let grown = room_to_hold(buffer, serial, chunk, agent, conditions)?;
    let retained = BufferEvent::Retained { at: conditions.at, id: Bytes::from(id), agent: Bytes::from(agent) };
    Ok(grown.into_iter().chain([retained]).collect())
}

/// Until when an agent's pin lasts if it pins for `ms` from now on. It has one pin of a chunk, and
/// the longer end stands: two parts of an agent that need a chunk do not shorten each other's time.
fn pin_end(chunk: Option<&Chunk>, agent: &[u8], ms: Millis, at: Millis) -> Millis {
    let pinned_until = chunk.and_then(|chunk| chunk.pinned_until(agent)).unwrap_or(0);
    pinned_until.max(at.saturating_add(ms))
}

/// An agent pins a chunk for a time from now on. Returns until when; no event if it has pinned it
/// for longer already.
pub fn pin(
    buffer: &Buffer,
    id: &[u8],
    (agent, ms): (&[u8], Millis),
    bounds: &Bounds,
    conditions: Conditions,
) -> Result<(Vec<BufferEvent>, Millis), Error> {
    let (serial, chunk) = to_hold(buffer, id, "pinned")?;
    let until = pin_end(Some(chunk), agent, ms, conditions.at);
    match chunk.pinned_until(agent) {
        Some(pinned_until) if pinned_until == until => return Ok((Vec::new(), until)),
        Some(_) => {}
        None => check_holders(chunk, bounds)?,
    }
    let grown = room_to_hold(buffer, serial, chunk, agent, conditions)?;
    let pinned = BufferEvent::Pinned { at: conditions.at, id: Bytes::from(id), agent: Bytes::from(agent), until };
    Ok((grown.into_iter().chain([pinned]).collect(), until))
}

/// Releases an agent's hold on a retained chunk. `None` if there is none.
pub fn release(buffer: &Buffer, id: &[u8], agent: &[u8], at: Millis) -> Option<BufferEvent> {
    let (_, chunk) = buffer.find(id).filter(|(_, chunk)| chunk.is_retained_by(agent))?;
    Some(BufferEvent::Released { at, id: chunk.record.id.clone(), agent: Bytes::from(agent) })
}

/// Ends an agent's pin. `None` if there is none.
pub fn unpin(buffer: &Buffer, id: &[u8], agent: &[u8], at: Millis) -> Option<BufferEvent> {
    let (_, chunk) = buffer.find(id).filter(|(_, chunk)| chunk.pinned_until(agent).is_some())?;
    Some(BufferEvent::Unpinned { at, id: chunk.record.id.clone(), agent: Bytes::from(agent), is_over: false })
}

/// Ends all holds and pins of an agent.
pub fn let_go<'a>(buffer: &'a Buffer, agent: &'a [u8], at: Millis) -> impl Iterator<Item = BufferEvent> + 'a {
    buffer.chunks_of(agent, 0).flat_map(move |(_, chunk)| {
        let id = &chunk.record.id;
        [release(buffer, id, agent, at), unpin(buffer, id, agent, at)].into_iter().flatten()
    })
}

/// Up to so many chunks that an agent was writing are reclaimed by one event.
const RECLAIMED_TOGETHER: usize = 16;

/// An agent is gone: ends its holds and pins, and reclaims what it was still writing.
pub fn agent_gone(buffer: &Buffer, agent: &[u8], max: usize, at: Millis) -> Vec<BufferEvent> {
    let mut events: Vec<BufferEvent> = let_go(buffer, agent, at).take(max).collect();
    if events.len() == max {
        return events;
    }
    let unfinished = buffer.chunks_of(agent, 0).map(|(_, chunk)| chunk);
    let unfinished = unfinished.filter(|chunk| !chunk.is_sealed() && chunk.record.owner[..] == *agent);
    let unfinished: Vec<Bytes> = unfinished.map(|chunk| chunk.record.id.clone()).collect();
    // Many go one by one, so that only some of them can.
    let each = if unfinished.len() > RECLAIMED_TOGETHER { 1 } else { RECLAIMED_TOGETHER };
    events.extend(unfinished.chunks(each).map(|ids| BufferEvent::Gone { at, ids: ids.to_vec(), why: End::Reclaimed }));
    events
}

/// Changes the metadata of a chunk. `None` if the chunk has it already.
pub fn describe(buffer: &Buffer, id: &[u8], meta: Bytes, conditions: Conditions) -> Result<Vec<BufferEvent>, Error> {
    let (serial, chunk) = buffer.find(id).ok_or_else(|| missing(id))?;
    if chunk.record.meta == meta {
        return Ok(Vec::new());
    }
    let own = chunk.record.own_bytes() + allocated(meta.heap_bytes());
    let grown = room(buffer, Some(serial), own, Content::Kept, conditions)?;
    let described = BufferEvent::Described { at: conditions.at, id: Bytes::from(id), meta };
    Ok(grown.into_iter().chain([described]).collect())
}

/// Frees chunks: all that exist, or none if one of them is held.
pub fn free(buffer: &Buffer, ids: &[&[u8]], at: Millis) -> Result<Option<BufferEvent>, Error> {
    let mut found: Vec<&[u8]> = ids.iter().copied().filter(|id| buffer.live(id, at).is_some()).collect();
    found.sort_unstable();
    found.dedup();
    let needed = found.iter().filter_map(|id| buffer.find(id)).find(|(_, chunk)| chunk.is_needed(at));
    if let Some((_, chunk)) = needed {
        let holders = joined(chunk.needed_by(at).into_iter().take(8));
        let id = chunk.record.id.show();
        let text = format!("chunk '{id}' is held, it can be freed when nobody retains or pins it; agents: {holders}");
        return Err(Error::new(Code::BadState, text));
    }
    let ids: Vec<Bytes> = found.into_iter().map(Bytes::from).collect();
    Ok((!ids.is_empty()).then_some(BufferEvent::Gone { at, ids, why: End::Freed }))
}

/// Gives a buffer other bounds. The new size is the last event. The size takes effect at once; the
/// excess is evicted in parts.
pub fn configure(buffer: &Buffer, config: Config, at: Millis) -> Result<Vec<BufferEvent>, Error> {
    if config.min_bytes > config.max_bytes {
        let text = format!("MINBYTES is {}, at most MAXBYTES ({}) is allowed", config.min_bytes, config.max_bytes);
        return Err(Error::usage(text));
    }
    let is_new = buffer.config.max_bytes == 0;
    let before = if is_new { config.min_bytes } else { buffer.size_bytes };
    let size_bytes = before.clamp(config.min_bytes, config.max_bytes);
    let is_same = config == buffer.config && buffer.stays;
    let configured = BufferEvent::Configured { at, config, size_bytes, stays: true };
    let resized = BufferEvent::Resized { at, size_bytes, why: Why::Asked };
    let events = [(!is_same).then_some(configured), (!is_new && size_bytes != before).then_some(resized)];
    Ok(events.into_iter().flatten().collect())
}

/// The smaller size that a buffer should have now, if any.
pub fn shrink(buffer: &Buffer, conditions: Conditions) -> Option<BufferEvent> {
    if !buffer.config.is_dynamic() {
        return None;
    }
    let rested_ms = conditions.at.saturating_sub(buffer.resized_at);
    let (size_bytes, why) = buffer.need(conditions.at, conditions.is_short).shrunk(rested_ms)?;
    Some(BufferEvent::Resized { at: conditions.at, size_bytes, why })
}

/// Makes room for a chunk as it is after a change, without evicting that chunk. Returns the size
/// that the buffer has to grow to, if it has to. Errs if even that is not enough.
fn room(
    buffer: &Buffer,
    serial: Option<Serial>,
    own_bytes: usize,
    content: Content,
    conditions: Conditions,
) -> Result<Option<BufferEvent>, Error> {
    let mut need = buffer.need(conditions.at, conditions.is_short);
    let (before_used, before_held) = (need.used, need.held);
    // With the policy NONE, everything counts as held.
    let has_held = |sharers: Sharers| sharers.held || (sharers.any && buffer.config.policy == Policy::None);
    let own = own_bytes as u64;
    let chunk = serial.and_then(|serial| buffer.at(serial));
    let sharers = serial.map_or_else(Sharers::default, |serial| buffer.sharers_at(serial));
    if let Some(chunk) = chunk {
        let (out, bytes) = (chunk.record.own_bytes() as u64, chunk.content.heap_bytes() as u64);
        need.used -= out + if sharers.any { 0 } else { bytes };
        if chunk.is_held() || buffer.config.policy == Policy::None {
            need.held -= out + if has_held(sharers) { 0 } else { bytes };
        }
    }
    let (bytes, after) = match content {
        Content::Kept => (chunk.map_or(0, |chunk| chunk.content.heap_bytes()), sharers),
        Content::Own(len) => (Blob::heap_bytes_of(len), Sharers::default()),
        Content::Maybe(hash, bytes) => {
            let equal = buffer.equal(hash, bytes);
            let after = equal.map_or_else(Sharers::default, |equal| buffer.sharers(equal, serial));
            (Blob::heap_bytes_of(bytes.len()), after)
        }
    };
    let bytes = bytes as u64;
    need.used += own + if after.any { 0 } else { bytes };
    need.held += own + if has_held(after) { 0 } else { bytes };
    need.working = need.working.saturating_add(own + bytes);
    if need.held > buffer.config.max_bytes {
        return Err(full(buffer, own + bytes, before_used, before_held));
    }
    let at = conditions.at;
    Ok(need.grown().map(|size_bytes| BufferEvent::Resized { at, size_bytes, why: Why::Use }))
}

fn full(buffer: &Buffer, bytes: u64, used: u64, held: u64) -> Error {
    let Config { max_bytes, policy, .. } = buffer.config;
    let held = match policy {
        Policy::None => "and its policy lets none go".to_string(),
        _ => format!("{held} of them retained, pinned or unsealed"),
    };
    let text =
        format!("{bytes} bytes do not fit: {used} of {max_bytes} bytes are in use, {held} (MAXBYTES of the buffer)");
    Error::new(Code::Limit, text)
}

/// The error while room is still being made: more chunks have to go than one command may evict.
pub fn making_room(buffer: &Buffer) -> Error {
    let (used, size) = (buffer.totals.used_bytes(), buffer.size_bytes);
    let text =
        format!("room is being made: {used} bytes are in use, {size} are allowed (size of the buffer); try again");
    Error::new(Code::Limit, text)
}

/// The word for the state of a chunk.
pub fn state_word(chunk: &Chunk) -> &'static str {
    match chunk.record.phase {
        Phase::Unsealed { .. } => "unsealed",
        Phase::Sealed | Phase::Written { .. } => "sealed",
    }
}

impl Buffer {
    /// Bytes of chunks used within the last hour.
    pub fn working_bytes(&self, now: Millis) -> u64 {
        self.usage.working.bytes(now) as u64
    }

    /// The figures that decide its size.
    pub fn need(&self, now: Millis, is_short: bool) -> Need {
        let can_evict = self.config.policy != Policy::None;
        Need {
            config: self.config,
            size: self.size_bytes,
            used: self.totals.used_bytes(),
            held: if can_evict { self.totals.held_bytes() } else { self.totals.used_bytes() },
            working: self.working_bytes(now),
            is_short,
        }
    }
}
