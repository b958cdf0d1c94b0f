//! A piece of a buffer: bytes with a version, and who holds it.

use crate::domain::algorithm::allocator::allocated;
use crate::domain::algorithm::eviction::{Usage, Weight};
use crate::domain::{Blob, Bytes, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Names a chunk within its buffer for good: chunks are numbered in the order in which they come.
pub type Serial = u64;

/// Number of a chunk's content. Grows with every change of it.
pub type Version = u64;

/// How far a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It is being filled and nobody can read it. Reclaimed when its lease ends, unless it is sealed before.
    Unsealed {
        /// Each write gives it so much time anew, ms.
        lease_ms: Millis,
        /// When the lease ends, unix ms.
        ends_at: Millis,
    },
    /// It can be read, and its content is shared with chunks that have the same.
    Sealed,
    /// It was written after it was sealed: its content is its own until it rests.
    Written {
        /// When it is looked for an equal one again, unix ms.
        rests_at: Millis,
    },
}

/// That an agent needs a chunk for some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Who.
    pub agent: Bytes,
    /// Until when, unix ms.
    pub until: Millis,
}

/// What is saved of a chunk besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Its name.
    pub id: Bytes,
    /// Number of its content.
    pub version: Version,
    /// How far it is.
    pub phase: Phase,
    /// JSON; empty if there is none.
    pub meta: Bytes,
    /// Who allocated it; empty if nobody was named.
    pub owner: Bytes,
    /// When it came, unix ms.
    pub created_at: Millis,
    /// When its content changed last, unix ms.
    pub changed_at: Millis,
    /// When it is gone unless somebody holds it, unix ms.
    pub ends_at: Option<Millis>,
    /// Who needs it until further notice, in order.
    pub retained_by: Vec<Bytes>,
    /// Who needs it for some time, in the order of the agents.
    pub pins: Vec<Pin>,
}

impl ChunkRecord {
    /// That of a chunk which comes now and which nobody holds.
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
        // The id is there twice: here and in the look-up.
        Chunk::bare_bytes()
            + 2 * text(&self.id)
            + text(&self.meta)
            + text(&self.owner)
            + lists.map(|bytes| allocated(bytes * 3 / 2)).iter().sum::<usize>()
            + agents.map(text).sum::<usize>()
    }
}

/// What this node knows of the use of a chunk. Not saved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// For the evictor.
    pub usage: Usage,
    /// In which step of the working set it was used last, and the bytes that were counted there.
    pub step: u64,
    /// See [`WorkingSet`](super::working::WorkingSet).
    pub bytes: usize,
}

/// A chunk.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// What is saved of it besides its content.
    pub record: ChunkRecord,
    /// Its bytes.
    pub content: Blob,
    /// Hash of a sealed chunk's content.
    pub hash: u64,
    /// Its use on this node.
    pub used: Used,
    /// Its place among those that may be evicted.
    pub loose_at: Option<u32>,
}

/// Bytes that a chunk takes in the indexes of its buffer, on average: by serial, id, hash, and among those that may go.
const INDEX_BYTES: usize = 130;

impl Chunk {
    /// A chunk that nobody has used.
    pub fn new(record: ChunkRecord, content: Blob) -> Self {
        Self { record, content, hash: 0, used: Used::default(), loose_at: None }
    }

    /// Whether it can be read: it was sealed.
    pub fn is_sealed(&self) -> bool {
        !matches!(self.record.phase, Phase::Unsealed { .. })
    }

    /// Whether its content is shared with others that have the same.
    pub fn is_shareable(&self) -> bool {
        self.record.phase == Phase::Sealed
    }

    /// Whether it may not be evicted, as far as it is decided: a pin counts until the primary has ended it.
    pub fn is_held(&self) -> bool {
        !self.is_sealed() || !self.record.retained_by.is_empty() || !self.record.pins.is_empty()
    }

    /// Whether somebody retains it, or pins it beyond `now`.
    pub fn is_needed(&self, now: Millis) -> bool {
        !self.record.retained_by.is_empty() || self.record.pins.iter().any(|pin| pin.until > now)
    }

    /// Whether its time is over, though it may still be there.
    pub fn is_over(&self, now: Millis) -> bool {
        match self.record.phase {
            Phase::Unsealed { ends_at, .. } => ends_at <= now,
            _ => self.record.ends_at.is_some_and(|ends_at| ends_at <= now) && !self.is_needed(now),
        }
    }

    /// When the primary has to decide something about it; `Millis::MAX` for never.
    pub fn due(&self) -> Millis {
        let rests_at = match self.record.phase {
            Phase::Unsealed { ends_at, .. } => return ends_at,
            Phase::Sealed => Millis::MAX,
            Phase::Written { rests_at } => rests_at,
        };
        let ends_at = self.record.ends_at.filter(|_| !self.is_held()).unwrap_or(Millis::MAX);
        self.record.pins.iter().map(|pin| pin.until).fold(rests_at.min(ends_at), Millis::min)
    }

    /// Whether `agent` has to do with it: allocated, retains or pins it.
    pub fn concerns(&self, agent: &Bytes) -> bool {
        let ChunkRecord { owner, retained_by, pins, .. } = &self.record;
        owner == agent
            || retained_by.binary_search(agent).is_ok()
            || pins.binary_search_by(|pin| pin.agent.cmp(agent)).is_ok()
    }

    /// The agents that it concerns; some may come twice.
    pub fn agents(&self) -> impl Iterator<Item = &Bytes> {
        let ChunkRecord { owner, retained_by, pins, .. } = &self.record;
        let owner = std::iter::once(owner).filter(|owner| !owner.is_empty());
        owner.chain(retained_by).chain(pins.iter().map(|pin| &pin.agent))
    }

    /// Those who retain it, or pin it beyond `now`, each once.
    pub fn needed_by(&self, now: Millis) -> BTreeSet<&Bytes> {
        let pins = self.record.pins.iter().filter(|pin| pin.until > now).map(|pin| &pin.agent);
        self.record.retained_by.iter().chain(pins).collect()
    }

    /// Whether an agent retains it.
    pub fn is_retained_by(&self, agent: &[u8]) -> bool {
        self.record.retained_by.binary_search_by(|known| known[..].cmp(agent)).is_ok()
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        self.record.retained_by.len() + self.record.pins.len()
    }

    /// An agent needs it until further notice.
    pub fn retain(&mut self, agent: &Bytes) {
        if let Err(at) = self.record.retained_by.binary_search(agent) {
            self.record.retained_by.insert(at, agent.clone());
        }
    }

    /// An agent needs it no more.
    pub fn release(&mut self, agent: &Bytes) {
        if let Ok(at) = self.record.retained_by.binary_search(agent) {
            self.record.retained_by.remove(at);
        }
    }

    /// An agent needs it until then.
    pub fn pin(&mut self, agent: &Bytes, until: Millis) {
        match self.pin_at(agent) {
            Ok(at) => self.record.pins[at].until = until,
            Err(at) => self.record.pins.insert(at, Pin { agent: agent.clone(), until }),
        }
    }

    /// A pin is over.
    pub fn unpin(&mut self, agent: &Bytes) {
        if let Ok(at) = self.pin_at(agent) {
            self.record.pins.remove(at);
        }
    }

    /// Until when an agent has pinned it.
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

    /// What matters of it for eviction.
    pub fn weight(&self, serial: Serial) -> Weight {
        let bytes = Self::bare_bytes() + self.content.heap_bytes();
        Weight { bytes, cost_ms: 1, ends_at: self.record.ends_at, came: serial }
    }
}
