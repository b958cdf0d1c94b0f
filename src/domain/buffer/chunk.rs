//! A piece of a buffer: bytes with a version, and the agents that hold it.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::eviction::{Usage, Weight};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::{Blob, Bytes, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names a chunk within its buffer for good. Chunks are numbered in the order of their creation.
pub type Serial = u64;

/// The version of a chunk's content. Grows with every change of it.
pub type Version = u64;

/// The phase of a chunk's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It is being filled and cannot be read. It is reclaimed when its lease ends, unless it
    /// is sealed before.
    Unsealed {
        /// Each write renews the lease for this long, ms.
        lease_ms: Millis,
        /// When the lease ends, unix ms.
        ends_at: Millis,
    },
    /// It can be read, and shares its content with chunks that have the same.
    Sealed,
    /// It was written after it was sealed: it has its own content until it rests.
    Written {
        /// When an equal content is looked for again, unix ms.
        rests_at: Millis,
    },
}

/// An agent needs a chunk until a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The agent.
    pub agent: Bytes,
    /// Until when, unix ms.
    pub until: Millis,
}

/// The saved part of a chunk besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Its name.
    pub id: Bytes,
    /// The version of its content.
    pub version: Version,
    /// Its phase.
    pub phase: Phase,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// The agent that allocated it; empty if none was named.
    pub owner: Bytes,
    /// When it was created, unix ms.
    pub created_at: Millis,
    /// When its content changed last, unix ms.
    pub changed_at: Millis,
    /// When it expires unless somebody holds it, unix ms.
    pub ends_at: Option<Millis>,
    /// The agents that retain it, in order.
    pub retained_by: Vec<Bytes>,
    /// The pins, ordered by agent.
    pub pins: Vec<Pin>,
}

impl ChunkRecord {
    /// The record of a new chunk that nobody holds.
    pub fn new(id: &Bytes, version: Version, phase: Phase, meta: &Bytes, at: Millis) -> Self {
        Self {
            id: id.clone(),
            version,
            phase,
            meta: meta.clone(),
            owner: Bytes::EMPTY,
            created_at: at,
            changed_at: at,
            ends_at: None,
            retained_by: Vec::new(),
            pins: Vec::new(),
        }
    }

    /// Bytes that a chunk takes besides its content.
    pub fn own_bytes(&self) -> usize {
        let text = |text: &Bytes| allocated(text.heap_bytes());
        let lists = [self.retained_by.len() * size_of::<Bytes>(), self.pins.len() * size_of::<Pin>()];
        let agents = self.retained_by.iter().chain(self.pins.iter().map(|pin| &pin.agent));
        // The id exists twice: here and in the index.
        Chunk::bare_bytes()
            + 2 * text(&self.id)
            + text(&self.meta)
            + text(&self.owner)
            + lists.map(|bytes| allocated(bytes * 3 / 2)).iter().sum::<usize>()
            + agents.map(text).sum::<usize>()
    }
}

/// The use of a chunk on this node. Not saved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// For the evictor.
    pub usage: Usage,
    /// The step of the working set in which it was last used, and the bytes counted there.
    pub step: u64,
    /// See [`WorkingSet`](super::working::WorkingSet).
    pub bytes: usize,
}

/// A chunk.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The saved part besides its content.
    pub record: ChunkRecord,
    /// Its bytes.
    pub content: Blob,
    /// Hash of a sealed chunk's content.
    pub hash: u64,
    /// Its use on this node.
    pub used: Used,
    /// Its place among the chunks that may be evicted.
    pub loose_at: Option<u32>,
}

/// Bytes that a chunk takes in the indexes of its buffer, on average: by serial, id, hash, and
/// among the loose chunks.
const INDEX_BYTES: usize = 130;

impl Chunk {
    /// A chunk that nobody has used.
    pub fn new(record: ChunkRecord, content: Blob) -> Self {
        Self { record, content, hash: 0, used: Used::default(), loose_at: None }
    }

    /// Whether it was sealed and can be read.
    pub fn is_sealed(&self) -> bool {
        !matches!(self.record.phase, Phase::Unsealed { .. })
    }

    /// Whether its content is shared with others that have the same.
    pub fn is_shareable(&self) -> bool {
        self.record.phase == Phase::Sealed
    }

    /// Whether it may not be evicted. A pin counts until the primary has ended it.
    pub fn is_held(&self) -> bool {
        !self.is_sealed() || !self.record.retained_by.is_empty() || !self.record.pins.is_empty()
    }

    /// Whether somebody retains it, or pins it beyond `now`.
    pub fn is_needed(&self, now: Millis) -> bool {
        !self.record.retained_by.is_empty() || self.record.pins.iter().any(|pin| pin.until > now)
    }

    /// Whether it has expired, though it may not be removed yet.
    pub fn is_expired(&self, now: Millis) -> bool {
        match self.record.phase {
            Phase::Unsealed { ends_at, .. } => ends_at <= now,
            _ => self.record.ends_at.is_some_and(|ends_at| ends_at <= now) && !self.is_needed(now),
        }
    }

    /// When the primary next has to decide something about it; `Millis::MAX` for never.
    pub fn due(&self) -> Millis {
        let rests_at = match self.record.phase {
            Phase::Unsealed { ends_at, .. } => return ends_at,
            Phase::Sealed => Millis::MAX,
            Phase::Written { rests_at } => rests_at,
        };
        let ends_at = self.record.ends_at.filter(|_| !self.is_held()).unwrap_or(Millis::MAX);
        self.record.pins.iter().map(|pin| pin.until).fold(rests_at.min(ends_at), Millis::min)
    }

    /// Whether `agent` allocated, retains or pins it.
    pub fn concerns(&self, agent: &Bytes) -> bool {
        let ChunkRecord { owner, retained_by, pins, .. } = &self.record;
        owner == agent
            || retained_by.binary_search(agent).is_ok()
            || pins.binary_search_by(|pin| pin.agent.cmp(agent)).is_ok()
    }

    /// The agents that it concerns, possibly with duplicates.
    pub fn agents(&self) -> impl Iterator<Item = &Bytes> {
        let ChunkRecord { owner, retained_by, pins, .. } = &self.record;
        let owner = std::iter::once(owner).filter(|owner| !owner.is_empty());
        owner.chain(retained_by).chain(pins.iter().map(|pin| &pin.agent))
    }

    /// The agents that retain it, or pin it beyond `now`, without duplicates.
    pub fn needed_by(&self, now: Millis) -> BTreeSet<&Bytes> {
        let pins = self.record.pins.iter().filter(|pin| pin.until > now).map(|pin| &pin.agent);
        self.record.retained_by.iter().chain(pins).collect()
    }

    /// Whether an agent retains it.
    pub fn is_retained_by(&self, agent: &[u8]) -> bool {
        self.record.retained_by.binary_search_by(|known| known[..].cmp(agent)).is_ok()
    }

    /// How many bytes an agent holds with it: its length if the agent retains or pins it, or
    /// allocated it and has not sealed it. All of that ends with the agent.
    pub fn held_by(&self, agent: &[u8]) -> u64 {
        let is_unfinished = !self.is_sealed() && self.record.owner[..] == *agent;
        let is_held = is_unfinished || self.is_retained_by(agent) || self.pinned_until(agent).is_some();
        if is_held {
            self.content.len() as u64
        } else {
            0
        }
    }

    /// The number of its holders.
    pub fn holders(&self) -> usize {
        self.record.retained_by.len() + self.record.pins.len()
    }

    /// Adds the hold of an agent without a deadline.
    pub fn retain(&mut self, agent: &Bytes) {
        if let Err(at) = self.record.retained_by.binary_search(agent) {
            self.record.retained_by.insert(at, agent.clone());
        }
    }

    /// Ends the hold of an agent.
    pub fn release(&mut self, agent: &Bytes) {
        if let Ok(at) = self.record.retained_by.binary_search(agent) {
            self.record.retained_by.remove(at);
            self.record.retained_by.give_back_room();
        }
    }

    /// Sets the pin of an agent.
    pub fn pin(&mut self, agent: &Bytes, until: Millis) {
        match self.pin_at(agent) {
            Ok(at) => self.record.pins[at].until = until,
            Err(at) => self.record.pins.insert(at, Pin { agent: agent.clone(), until }),
        }
    }

    /// Ends the pin of an agent.
    pub fn unpin(&mut self, agent: &Bytes) {
        if let Ok(at) = self.pin_at(agent) {
            self.record.pins.remove(at);
            self.record.pins.give_back_room();
        }
    }

    /// The end of an agent's pin.
    pub fn pinned_until(&self, agent: &[u8]) -> Option<Millis> {
        self.pin_at(agent).ok().map(|at| self.record.pins[at].until)
    }

    fn pin_at(&self, agent: &[u8]) -> Result<usize, usize> {
        self.record.pins.binary_search_by(|pin| pin.agent[..].cmp(agent))
    }

    /// Bytes that a chunk with a short id and nothing else takes besides its content.
    pub fn bare_bytes() -> usize {
        allocated(size_of::<Self>()) + INDEX_BYTES
    }

    /// Its properties that matter for eviction.
    pub fn weight(&self, serial: Serial) -> Weight {
        let bytes = Self::bare_bytes() + self.content.heap_bytes();
        Weight { bytes, cost_ms: 1, ends_at: self.record.ends_at, came: serial }
    }
}
