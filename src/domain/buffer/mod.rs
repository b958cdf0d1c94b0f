//! Chunk buffer: large shared memory, in pieces.
//!
//! A buffer holds chunks of bytes by their ids. A chunk is put whole, or allocated, filled by
//! writes and then sealed; from then on it can be read. Equal contents are kept once: a hash finds
//! them and comparing the bytes confirms them. A write to a chunk that shares its content makes a
//! copy first. So what happens to one chunk never changes another.
//!
//! A chunk that an agent retains or pins, or that is not sealed yet, is *held*: it is never
//! evicted. Every other chunk is *loose*: when room is needed, the policy says which goes. The size
//! in force moves between two bounds. It depends on what is in use (see [`working`]) and on the
//! server's free memory. The primary decides all of that, and replicates the names of the chunks
//! that go. The use of chunks, on which it decides, is local to each node.
//!
//! ```text
//! chunks: serial -> Chunk         the primary data, in the order of creation
//! by_id, by_hash, by_agent        derived
//! sharing                         derived; by addresses, which differ between nodes
//! dues, loose, order, totals      derived
//! Use                             this node's own: evictor, popularity, working set
//! ```

pub mod chunk;
mod codec;
pub mod config;
pub mod decide;
pub mod event;
#[cfg(any(test, feature = "test-hooks"))]
mod faults;
mod holders;
pub mod popularity;
mod sharing;
mod store;
pub mod time;
pub mod working;

pub use config::Config;
pub use event::{BufferEvent, End, Why};
pub use store::Totals;

use super::algorithm::allocator::table_bytes;
use super::algorithm::eviction;
use super::entity::CHECKED_BYTES;
use super::{Blob, Bytes, Connection, Entity, Error, Fence, Invariant, Millis, Service};
use crate::domain::algorithm::eviction::{Evictor, Policy, Rank};
use crate::domain::algorithm::xxhash::xxh64;
use crate::domain::entity::partial_check::Part;
use crate::domain::entity::quota::Quota;
use ahash::AHashMap;
use chunk::{Chunk, ChunkRecord, Phase, Serial, Version};
use holders::OfAgent;
use popularity::{Popularity, Window};
use sharing::{Sharing, LOOKED_AT_MAX};
use std::collections::{BTreeMap, BTreeSet};
use working::{WorkingSet, LOOK_MS};

/// How long after a write to a sealed chunk an equal content is looked for, ms.
pub const REST_AFTER_WRITE_MS: Millis = 1000;

/// The use of a buffer on this node since the node has it. Neither saved nor replicated.
#[derive(Debug, Clone, Default)]
pub struct Use {
    evictor: Evictor,
    popularity: Popularity,
    working: WorkingSet,
    looked_at: Millis,
    /// Reads that found their chunk.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Chunks evicted.
    pub evicted: u64,
}

/// Bytes hashed in the time that a check takes for one element, half a microsecond.
const HASHED_BYTES: usize = 4 * 1024;

/// A chunk buffer.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    config: Config,
    size_bytes: u64,
    resized_at: Millis,
    stays: bool,
    last_serial: Serial,
    /// The highest version of a chunk that is gone. New chunks begin above it, so that a client
    /// cannot confuse the two.
    gone_version: Version,
    chunks: BTreeMap<Serial, Box<Chunk>>,
    by_id: AHashMap<Bytes, Serial>,
    /// Sealed contents: the hash, whether the chunk is loose, the chunk. Held chunks come first.
    by_hash: BTreeSet<(u64, bool, Serial)>,
    /// How many sealed chunks have a content, by its address. A content that is not here has one
    /// chunk.
    sharing: AHashMap<usize, Sharing>,
    by_agent: BTreeMap<Bytes, OfAgent>,
    dues: BTreeSet<(Millis, Serial)>,
    loose: Vec<Serial>,
    /// The loose chunks in the order in which they go, if the policy needs an order.
    order: BTreeSet<(u64, Serial)>,
    totals: Totals,
    usage: Use,
}

impl Buffer {
    /// Its bounds.
    pub fn config(&self) -> Config {
        self.config
    }

    /// The size in force, bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether it stays without chunks.
    pub fn stays(&self) -> bool {
        self.stays
    }

    /// Counts and sizes.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Its use on this node.
    pub fn usage(&self) -> &Use {
        &self.usage
    }

    /// Number of chunks.
    pub fn count(&self) -> usize {
        self.chunks.len()
    }

    /// Number of chunks that may be evicted.
    pub fn loose(&self) -> usize {
        self.loose.len()
    }

    /// A chunk by its id, in any phase.
    pub fn find(&self, id: &[u8]) -> Option<(Serial, &Chunk)> {
        let serial = *self.by_id.get(id)?;
        self.at(serial).map(|chunk| (serial, chunk))
    }

    /// A chunk, by its number.
    pub fn at(&self, serial: Serial) -> Option<&Chunk> {
        self.chunks.get(&serial).map(|chunk| &**chunk)
    }

    /// A chunk that has not expired.
    pub fn live(&self, id: &[u8], now: Millis) -> Option<(Serial, &Chunk)> {
        self.find(id).filter(|(_, chunk)| !chunk.is_expired(now))
    }

    /// A chunk that can be read.
    pub fn readable(&self, id: &[u8], now: Millis) -> Option<(Serial, &Chunk)> {
        self.live(id, now).filter(|(_, chunk)| chunk.is_sealed())
    }

    /// All chunks, in the order of creation.
    pub fn chunks(&self) -> impl Iterator<Item = (Serial, &Chunk)> {
        self.chunks.iter().map(|(serial, chunk)| (*serial, &**chunk))
    }

    /// The chunks from a number on, in the order of creation.
    pub fn chunks_from(&self, first: Serial) -> impl Iterator<Item = (Serial, &Chunk)> {
        self.chunks.range(first..).map(|(serial, chunk)| (*serial, &**chunk))
    }

    /// A readable chunk whose content has this hash.
    pub fn with_hash(&self, hash: u64, now: Millis) -> Option<&Chunk> {
        let serials = self.by_hash.range((hash, false, 0)..=(hash, true, Serial::MAX));
        let mut chunks = serials.take(LOOKED_AT_MAX).filter_map(|(.., serial)| self.at(*serial));
        chunks.find(|chunk| !chunk.is_expired(now))
    }

    /// How often a chunk was read in each [`Window`].
    pub fn reads_of(&self, serial: Serial, now: Millis) -> [u32; 3] {
        self.usage.popularity.of(serial, now)
    }

    /// The most read chunks, with their reads. To be called right after [`BufferEvent::Asked`].
    pub fn popular(&self, window: Window, now: Millis) -> impl Iterator<Item = (&Chunk, u32)> {
        let most = self.usage.popularity.most(window);
        let chunks = most.filter_map(|(serial, reads)| self.at(serial).map(|chunk| (chunk, reads)));
        chunks.filter(move |(chunk, _)| !chunk.is_expired(now))
    }

    /// Whether other chunks share its content.
    pub fn is_shared(&self, serial: Serial) -> bool {
        self.sharers_at(serial).any
    }

    /// Whether there are reads that will leave a window.
    pub fn counts_reads(&self) -> bool {
        self.usage.popularity.slides_at().is_some()
    }

    /// When the size is checked next, if it may have to shrink.
    fn looks_at(&self) -> Option<Millis> {
        let may_shrink = self.config.is_dynamic() && self.size_bytes > self.config.min_bytes;
        may_shrink.then_some(self.usage.looked_at + LOOK_MS)
    }

    /// Whether it has to evict something and can.
    pub fn is_too_large(&self) -> bool {
        self.totals.used_bytes() > self.size_bytes && !self.loose.is_empty() && self.config.policy != Policy::None
    }

    /// The chunk that goes first, apart from `spared`. `None` if all are held or the
    /// policy evicts nothing.
    pub fn victim(&self, spared: Option<Serial>, seed: &mut u64) -> Option<(Serial, Rank)> {
        let policy = self.config.policy;
        let rank = |serial: Serial| {
            let chunk = self.at(serial).filter(|_| Some(serial) != spared)?;
            let hash = xxh64(&chunk.record.id);
            Some(self.usage.evictor.rank(policy, hash, chunk.used.usage, &chunk.weight(serial)))
        };
        match policy {
            Policy::None => None,
            Policy::Ring | Policy::Ttl => {
                let first = self.order.iter().map(|(_, serial)| *serial).find(|serial| Some(*serial) != spared)?;
                rank(first).map(|rank| (first, rank))
            }
            Policy::Gdsf | Policy::Lru | Policy::Lfu => eviction::worst(&self.loose, seed, rank),
        }
    }

    fn allocate(&mut self, record: ChunkRecord, bytes: u64) {
        if self.by_id.contains_key(&record.id) || bytes > super::limits::CHUNK_BYTES_END as u64 {
            return;
        }
        let at = record.created_at;
        let serial = self.insert(Chunk::new(record, Blob::zeros(bytes as usize)));
        self.note_use(serial, at);
    }

    /// The chunk with this name has this content from now on.
    fn put(&mut self, mut record: ChunkRecord, data: &Blob, hash: u64, pin: Option<&(Bytes, Millis)>) {
        let at = record.changed_at;
        let content = self.equal_to_share(hash, data).unwrap_or_else(|| data.clone());
        let serial = match self.by_id.get(&record.id).copied() {
            None => {
                let mut chunk = Chunk::new(record, content);
                chunk.hash = hash;
                self.insert(chunk)
            }
            Some(serial) => {
                self.reshape(serial, |chunk| {
                    let before = &mut chunk.record;
                    (record.created_at, record.owner) = (before.created_at, std::mem::take(&mut before.owner));
                    record.retained_by = std::mem::take(&mut before.retained_by);
                    record.pins = std::mem::take(&mut before.pins);
                    (chunk.record, chunk.content, chunk.hash) = (record, content, hash);
                });
                serial
            }
        };
        if let Some((agent, until)) = pin {
            self.hold(serial, agent, |chunk| chunk.pin(agent, *until));
        }
        self.note_use(serial, at);
    }

    fn write(&mut self, serial: Serial, version: Version, offset: u64, data: &Blob, at: Millis) {
        self.update(serial, |chunk| {
            let end = offset.saturating_add(data.len() as u64);
            if end > chunk.content.len() as u64 {
                return;
            }
            chunk.content.make_mut()[offset as usize..end as usize].copy_from_slice(data);
            (chunk.record.version, chunk.record.changed_at) = (version, at);
            chunk.record.phase = match chunk.record.phase {
                Phase::Unsealed { lease_ms, .. } => Phase::Unsealed { lease_ms, ends_at: at.saturating_add(lease_ms) },
                _ => Phase::Written { rests_at: at + REST_AFTER_WRITE_MS },
            };
        });
        self.note_use(serial, at);
    }

    /// A content is complete: the chunk shares it with chunks that have the same.
    fn share(&mut self, serial: Serial, hash: u64, ends_at: Option<Option<Millis>>) {
        let Some(chunk) = self.at(serial) else { return };
        let is_new = !chunk.is_shareable();
        let content = chunk.content.clone();
        let equal = if is_new { self.equal_to_share(hash, &content) } else { None };
        self.reshape(serial, |chunk| {
            if is_new {
                (chunk.record.phase, chunk.hash) = (Phase::Sealed, hash);
            }
            chunk.record.ends_at = ends_at.unwrap_or(chunk.record.ends_at);
            if let Some(equal) = equal {
                chunk.content = equal;
            }
        });
    }

    fn note_use(&mut self, serial: Serial, at: Millis) {
        let Some(chunk) = self.chunks.get_mut(&serial) else { return };
        let bytes = Chunk::bare_bytes() + chunk.content.heap_bytes();
        self.usage.evictor.seen(xxh64(&chunk.record.id));
        self.usage.evictor.used(&mut chunk.used.usage);
        self.usage.working.used(&mut chunk.used, bytes, at);
    }

    fn read(&mut self, serial: Serial, at: Millis) {
        self.note_use(serial, at);
        self.usage.hits += 1;
        self.usage.popularity.count(serial, at);
    }

    /// Removes chunks. What the evictor learns from it is local to this node.
    fn end(&mut self, ids: &[Bytes], why: End) {
        for id in ids {
            let Some((serial, chunk)) = self.find(id) else { continue };
            if why == End::Evicted {
                let rank =
                    self.usage.evictor.rank(self.config.policy, xxh64(id), chunk.used.usage, &chunk.weight(serial));
                self.usage.evictor.evicted(self.config.policy, rank);
                self.usage.evicted += 1;
            }
            self.remove(serial);
        }
    }

    fn change(&mut self, id: &Bytes, event: &BufferEvent) {
        let Some(serial) = self.by_id.get(id).copied() else { return };
        match event {
            BufferEvent::Written { at, version, offset, data, .. } => self.write(serial, *version, *offset, data, *at),
            BufferEvent::Sealed { hash, ends_at, .. } => self.share(serial, *hash, Some(*ends_at)),
            BufferEvent::Rested { hash, .. } => self.share(serial, *hash, None),
            BufferEvent::Retained { agent, .. } => self.hold(serial, agent, |chunk| chunk.retain(agent)),
            BufferEvent::Released { agent, .. } => self.hold(serial, agent, |chunk| chunk.release(agent)),
            BufferEvent::Pinned { agent, until, .. } => self.hold(serial, agent, |chunk| chunk.pin(agent, *until)),
            BufferEvent::Unpinned { agent, .. } => self.hold(serial, agent, |chunk| chunk.unpin(agent)),
            BufferEvent::Described { meta, .. } => self.update(serial, |chunk| chunk.record.meta = meta.clone()),
            _ => {}
        }
    }
}

impl Entity for Buffer {
    type Event = BufferEvent;

    const SERVICE: Service = Service::Buffer;
    const TYPE_NAME: &'static str = "ltmcchunk";
    const TYPE_TAG: u8 = 6;
    const KEYS: &'static str = "buffers";
    const MEMBERS: Option<&'static str> = Some("chunks");
    const QUOTA: Option<Quota> = Some(Quota::ChunkBytes);
    const WATCH_EVENTS_MAX: usize = 4096;
    const COPIES: bool = true;
    const GIVES_WAY: bool = true;

    fn apply(&mut self, event: &BufferEvent) {
        match event {
            BufferEvent::Configured { at, config, size_bytes, stays } => {
                self.configure(*config);
                (self.size_bytes, self.resized_at) = (*size_bytes, *at);
                self.stays |= *stays;
            }
            BufferEvent::Resized { at, size_bytes, .. } => (self.size_bytes, self.resized_at) = (*size_bytes, *at),
            BufferEvent::Allocated { at, id, agent, bytes, version, meta, lease_ms } => {
                let phase = Phase::Unsealed { lease_ms: *lease_ms, ends_at: at.saturating_add(*lease_ms) };
                let record = ChunkRecord { owner: agent.clone(), ..ChunkRecord::new(id, *version, phase, meta, *at) };
                self.allocate(record, *bytes);
            }
            BufferEvent::Put { at, id, data, hash, version, meta, ends_at, pin } => {
                let record =
                    ChunkRecord { ends_at: *ends_at, ..ChunkRecord::new(id, *version, Phase::Sealed, meta, *at) };
                self.put(record, data, *hash, pin.as_ref());
            }
            BufferEvent::Gone { ids, why, .. } => self.end(ids, *why),
            BufferEvent::Used { at, serial } => self.read(*serial, *at),
            BufferEvent::Missed { hash } => {
                self.usage.misses += 1;
                self.usage.evictor.seen(*hash);
            }
            BufferEvent::Slid { at, most } => drop(self.usage.popularity.slide(*at, *most)),
            BufferEvent::Asked { at } => self.usage.popularity.settle(*at),
            BufferEvent::Looked { at } => self.usage.looked_at = *at,
            event => {
                if let Some(id) = event.id() {
                    self.change(id, event);
                }
            }
        }
    }

    fn admit(event: &BufferEvent) -> Result<(), Error> {
        codec::admit(event)
    }

    fn wakes_at(&self, _waited_for: bool) -> Option<Millis> {
        let first = self.dues.first().map(|(due, _)| *due);
        let evicts = self.is_too_large().then_some(1);
        first.into_iter().chain(evicts).chain(self.looks_at()).chain(self.usage.popularity.slides_at()).min()
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && !self.stays
    }

    fn last_number(&self) -> u64 {
        let versions = self.chunks().map(|(_, chunk)| chunk.record.version);
        versions.chain([self.gone_version, self.last_serial]).max().unwrap_or(0)
    }

    fn members(&self) -> usize {
        self.chunks.len()
    }

    fn last_fence(&self) -> Fence {
        0
    }

    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    fn unties(&self, _event: &BufferEvent) -> Option<Connection> {
        None
    }

    fn holds(&self, agent: &[u8]) -> bool {
        self.by_agent.contains_key(agent)
    }

    fn amount(&self, agent: &[u8]) -> u64 {
        self.held_bytes_of(agent)
    }

    fn touched(&self, event: &BufferEvent) -> Vec<Bytes> {
        self.agents_touched(event)
    }

    fn losers(&self, event: &BufferEvent) -> Vec<Bytes> {
        self.agents_losing(event)
    }

    fn memory_bytes(&self) -> usize {
        let usage = self.usage.evictor.heap_bytes() + self.usage.popularity.heap_bytes();
        let sharing = table_bytes(self.sharing.len(), size_of::<(usize, Sharing)>());
        size_of::<Self>() + self.totals.used_bytes() as usize + sharing + usage
    }

    fn free_effort(&self) -> usize {
        // The chunk, its content, and where the content is.
        3 * self.chunks.len()
    }

    fn loaded(&mut self, now: Millis) {
        // It is not known what was used when, so everything counts as used.
        let serials: Vec<Serial> = self.chunks.keys().copied().collect();
        serials.into_iter().for_each(|serial| self.note_use(serial, now));
        self.usage.looked_at = now;
    }

    fn copied(&self) -> Self {
        self.without_holders()
    }

    fn check(&self) -> Result<(), Invariant> {
        codec::check(self)
    }

    fn check_after(&self, event: &BufferEvent) -> Result<(), Invariant> {
        codec::check_after(self, event)
    }

    fn check_effort(&self) -> usize {
        // Every content is hashed, which is quick. The rest of a chunk is its agents.
        let own = (self.totals.used_bytes().saturating_sub(self.totals.physical_bytes)) as usize;
        self.chunks.len() + own / CHECKED_BYTES + self.totals.physical_bytes as usize / HASHED_BYTES
    }

    fn check_part(&self, from: u64, room: usize) -> Result<Option<Part>, Invariant> {
        codec::check_part(self, from, room).map(Some)
    }

    fn rebuild(&mut self) {
        codec::rebuild(self);
    }
}
