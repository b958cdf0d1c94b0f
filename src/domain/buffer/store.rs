//! The chunks of a buffer and everything derived from them. A chunk that changes leaves all
//! indexes, changes, and enters them again.

use super::chunk::{Chunk, Phase, Serial};
use super::sharing::{Sharers, Sharing, COMPARED_MAX};
use super::{Buffer, BufferEvent, Config};
use crate::domain::algorithm::eviction::Policy;
use crate::domain::algorithm::room::GiveBack;
use crate::domain::{looked, looked_at_bytes, Blob, Bytes, Looked, Millis};
use ahash::{AHashMap, AHashSet};
use std::collections::hash_map::Entry;
use std::collections::BTreeSet;

/// Counts and sizes of a buffer, all kept incrementally.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes besides the contents.
    own_bytes: usize,
    /// Bytes that all contents take.
    content_bytes: usize,
    /// The same of held chunks.
    held_own_bytes: usize,
    /// Bytes of the contents of held chunks.
    held_content_bytes: usize,
    /// The lengths of the contents of all chunks.
    pub logical_bytes: u64,
    /// The lengths of all contents, each counted once.
    pub physical_bytes: u64,
    /// The number of chunks that are not sealed.
    pub unsealed: usize,
    /// The number of retained chunks.
    pub retained: usize,
    /// The number of pinned chunks.
    pub pinned: usize,
}

impl Totals {
    /// Bytes that the buffer takes.
    pub fn used_bytes(&self) -> u64 {
        (self.own_bytes + self.content_bytes) as u64
    }

    /// Bytes that cannot be evicted.
    pub fn held_bytes(&self) -> u64 {
        (self.held_own_bytes + self.held_content_bytes) as u64
    }

    /// Adds a chunk with its share of its content, or subtracts it.
    fn count(&mut self, chunk: &Chunk, sharers: Sharers, comes: bool) {
        let add = |total: &mut usize, more: usize| *total = if comes { *total + more } else { *total - more };
        let (own, content, len) = (chunk.record.own_bytes(), chunk.content.heap_bytes(), chunk.content.len() as u64);
        add(&mut self.own_bytes, own);
        let mut lengths = [self.logical_bytes as usize, self.physical_bytes as usize];
        add(&mut lengths[0], len as usize);
        if !sharers.any {
            add(&mut self.content_bytes, content);
            add(&mut lengths[1], len as usize);
        }
        (self.logical_bytes, self.physical_bytes) = (lengths[0] as u64, lengths[1] as u64);
        if chunk.is_held() {
            add(&mut self.held_own_bytes, own);
            if !sharers.held {
                add(&mut self.held_content_bytes, content);
            }
        }
        add(&mut self.unsealed, usize::from(!chunk.is_sealed()));
        add(&mut self.retained, usize::from(!chunk.record.retained_by.is_empty()));
        add(&mut self.pinned, usize::from(!chunk.record.pins.is_empty()));
    }
}

impl Buffer {
    /// The place of a chunk in the order of eviction, if the policy keeps one.
    pub(super) fn order_of(&self, serial: Serial, chunk: &Chunk) -> Option<(u64, Serial)> {
        match self.config.policy {
            Policy::Ring => Some((serial, serial)),
            Policy::Ttl => Some((chunk.record.ends_at.unwrap_or(Millis::MAX), serial)),
            _ => None,
        }
    }

    pub(super) fn configure(&mut self, config: Config) {
        let policy_changes = self.config.policy != config.policy;
        self.config = config;
        if policy_changes {
            let places = self.loose.iter().looked().filter_map(|serial| self.order_of(*serial, self.at(*serial)?));
            self.order = places.collect();
        }
    }

    /// Whether chunks have the content of the sealed chunk `serial`, itself included, but not
    /// `except`.
    pub(super) fn sharers(&self, serial: Serial, except: Option<Serial>) -> Sharers {
        let Some(chunk) = self.at(serial).filter(|chunk| chunk.is_shareable()) else { return Sharers::default() };
        let mut sharing = self.sharing.get(&chunk.content.address()).copied().unwrap_or_else(|| Sharing::of(chunk));
        let except = except.and_then(|except| self.at(except));
        if let Some(except) = except.filter(|except| except.content.is_same(&chunk.content)) {
            sharing.count(except, false);
        }
        sharing.sharers()
    }

    /// Whether other chunks share the content of this one.
    pub(super) fn sharers_at(&self, serial: Serial) -> Sharers {
        self.sharers(serial, Some(serial))
    }

    /// A chunk whose content equals these bytes.
    pub(super) fn equal(&self, hash: u64, bytes: &[u8]) -> Option<Serial> {
        let serials = self.by_hash.range((hash, false, 0)..=(hash, true, Serial::MAX)).take(COMPARED_MAX);
        let mut serials = serials.map(|(.., serial)| *serial);
        serials.find(|serial| {
            looked_at_bytes(bytes.len());
            self.at(*serial).is_some_and(|chunk| chunk.content[..] == *bytes)
        })
    }

    /// A content that equals these bytes, for a chunk that is about to share it.
    pub(super) fn equal_to_share(&mut self, hash: u64, bytes: &[u8]) -> Option<Blob> {
        let chunk = self.at(self.equal(hash, bytes)?)?;
        let (content, sharing) = (chunk.content.clone(), Sharing::of(chunk));
        self.sharing.entry(content.address()).or_insert(sharing);
        Some(content)
    }

    /// Several chunks that are about to be added have this content.
    pub(super) fn will_share(&mut self, content: &Blob) {
        self.sharing.insert(content.address(), Sharing::default());
    }

    /// Counts a chunk among those that have its content. Returns whether there are others.
    fn count_sharing(&mut self, serial: Serial, comes: bool) -> Sharers {
        let Some(chunk) = self.chunks.get(&serial).filter(|chunk| chunk.is_shareable()) else {
            return Sharers::default();
        };
        let Entry::Occupied(mut entry) = self.sharing.entry(chunk.content.address()) else {
            return Sharers::default();
        };
        let before = *entry.get();
        entry.get_mut().count(chunk, comes);
        let after = *entry.get();
        if after.chunks == 0 {
            entry.remove();
            self.sharing.give_back_room();
        }
        if comes { before } else { after }.sharers()
    }

    /// Adds a chunk.
    pub(super) fn insert(&mut self, chunk: Chunk) -> Serial {
        self.last_serial += 1;
        let serial = self.last_serial;
        self.adopt(serial, Box::new(chunk));
        self.usage.evictor.fit(self.chunks.len());
        serial
    }

    /// Adds a chunk under its number.
    pub(super) fn adopt(&mut self, serial: Serial, chunk: Box<Chunk>) {
        self.by_id.insert(chunk.record.id.clone(), serial);
        self.is_of_agents(serial, &chunk);
        self.chunks.insert(serial, chunk);
        self.enter(serial);
    }

    /// Removes a chunk.
    pub(super) fn remove(&mut self, serial: Serial) {
        self.leave(serial);
        looked(2);
        let Some(chunk) = self.chunks.remove(&serial) else { return };
        self.by_id.remove(&chunk.record.id);
        self.by_id.give_back_room();
        self.usage.evictor.fit(self.chunks.len());
        self.no_longer_of_agents(serial, &chunk);
        self.gone_version = self.gone_version.max(chunk.record.version);
        self.usage.popularity.forget(serial);
        self.usage.working.forget(&chunk.used);
    }

    /// Changes a chunk.
    pub(super) fn update(&mut self, serial: Serial, change: impl FnOnce(&mut Chunk)) {
        self.leave(serial);
        if let Some(chunk) = self.chunks.get_mut(&serial) {
            change(chunk);
        }
        self.enter(serial);
    }

    fn enter(&mut self, serial: Serial) {
        looked(1);
        let sharers = self.count_sharing(serial, true);
        let Some(chunk) = self.chunks.get(&serial) else { return };
        let (is_loose, due) = (!chunk.is_held(), chunk.due());
        self.totals.count(chunk, sharers, true);
        if chunk.is_shareable() {
            self.by_hash.insert((chunk.hash, is_loose, serial));
        }
        if due < Millis::MAX {
            self.dues.insert((due, serial));
        }
        if is_loose {
            let place = self.order_of(serial, chunk);
            self.order.extend(place);
            let at = self.loose.len() as u32;
            self.loose.push(serial);
            self.set_loose_at(serial, Some(at));
        }
    }

    fn leave(&mut self, serial: Serial) {
        looked(1);
        let sharers = self.count_sharing(serial, false);
        let Some(chunk) = self.chunks.get(&serial) else { return };
        let (is_loose, due) = (!chunk.is_held(), chunk.due());
        self.totals.count(chunk, sharers, false);
        if chunk.is_shareable() {
            self.by_hash.remove(&(chunk.hash, is_loose, serial));
        }
        if due < Millis::MAX {
            self.dues.remove(&(due, serial));
        }
        if let Some(at) = chunk.loose_at {
            if let Some(place) = self.order_of(serial, chunk) {
                self.order.remove(&place);
            }
            self.loose.swap_remove(at as usize);
            self.loose.give_back_room();
            if let Some(moved) = self.loose.get(at as usize).copied() {
                self.set_loose_at(moved, Some(at));
            }
            self.set_loose_at(serial, None);
        }
    }

    fn set_loose_at(&mut self, serial: Serial, at: Option<u32>) {
        if let Some(chunk) = self.chunks.get_mut(&serial) {
            chunk.loose_at = at;
        }
    }

    /// Rebuilds everything derived from the chunks.
    pub(super) fn index_anew(&mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        self.by_id.clear();
        self.by_hash.clear();
        self.sharing.clear();
        self.by_agent.clear();
        self.dues.clear();
        self.loose.clear();
        self.order.clear();
        self.totals = Totals::default();
        let mut seen: AHashSet<usize> = AHashSet::new();
        for chunk in chunks.values().filter(|chunk| chunk.is_shareable()) {
            if !seen.insert(chunk.content.address()) {
                self.will_share(&chunk.content);
            }
        }
        // A content that many chunks share is hashed once.
        let mut hashes: AHashMap<*const u8, u64> = AHashMap::new();
        for (serial, mut chunk) in chunks {
            chunk.loose_at = None;
            if chunk.record.phase == Phase::Sealed {
                let content = &chunk.content;
                chunk.hash = *hashes.entry(content.as_ptr()).or_insert_with(|| super::xxh64(content));
            }
            self.adopt(serial, chunk);
        }
    }
}

/// What agents have to do with the chunks.
impl Buffer {
    /// The chunks that an agent allocated, retains or pins, from a number on, in the order of
    /// creation.
    pub fn chunks_of(&self, agent: &[u8], first: Serial) -> impl Iterator<Item = (Serial, &Chunk)> {
        let serials = self.by_agent.get(agent).into_iter().flat_map(move |of| of.serials.range(first..));
        serials.looked().filter_map(|serial| self.at(*serial).map(|chunk| (*serial, chunk)))
    }

    /// The agents that chunks concern, with the number of chunks.
    pub fn agents(&self) -> impl Iterator<Item = (&Bytes, usize)> {
        self.by_agent.iter().looked().map(|(agent, of)| (agent, of.serials.len()))
    }

    /// The agents with chunks whose name is `name`, or begins with `name` and a colon.
    pub fn agents_under(&self, name: &[u8]) -> impl Iterator<Item = &Bytes> {
        let exactly = self.by_agent.get_key_value(name).map(|(agent, _)| agent);
        let (from, to) = ([name, b":"].concat(), [name, b";"].concat());
        let below = self.by_agent.range(Bytes::from(&from[..])..Bytes::from(&to[..])).map(|(agent, _)| agent);
        exactly.into_iter().chain(below)
    }

    /// The bytes of the chunks that an agent [holds](Chunk::held_by).
    pub fn held_bytes_of(&self, agent: &[u8]) -> u64 {
        self.by_agent.get(agent).map_or(0, |of| of.held_bytes)
    }

    /// How many bytes more an agent would hold if it held the chunk `id` with a content of this
    /// length; without one, with the content that it has.
    pub fn held_more(&self, agent: &[u8], id: &[u8], bytes: Option<u64>) -> u64 {
        let chunk = self.find(id).map(|(_, chunk)| chunk);
        let bytes = bytes.or(chunk.map(|chunk| chunk.content.len() as u64)).unwrap_or(0);
        bytes.saturating_sub(chunk.map_or(0, |chunk| chunk.held_by(agent)))
    }

    /// The agents that may hold nothing after `event`.
    pub(super) fn agents_losing(&self, event: &BufferEvent) -> Vec<Bytes> {
        match event {
            BufferEvent::Released { agent, .. } | BufferEvent::Unpinned { agent, .. } => vec![agent.clone()],
            BufferEvent::Gone { ids, .. } => {
                let chunks = ids.iter().filter_map(|id| self.find(id));
                chunks.flat_map(|(_, chunk)| chunk.agents().cloned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The other agents that hold more or less after `event`.
    pub(super) fn agents_touched(&self, event: &BufferEvent) -> Vec<Bytes> {
        let all_of = |id: &Bytes| self.find(id).into_iter().flat_map(|(_, chunk)| chunk.agents().cloned());
        match event {
            BufferEvent::Allocated { agent, .. }
            | BufferEvent::Retained { agent, .. }
            | BufferEvent::Pinned { agent, .. } => vec![agent.clone()],
            BufferEvent::Put { id, pin, .. } => all_of(id).chain(pin.iter().map(|(agent, _)| agent.clone())).collect(),
            BufferEvent::Sealed { id, .. } => all_of(id).collect(),
            _ => Vec::new(),
        }
    }

    /// Changes what an agent has to do with a chunk.
    pub(super) fn hold(&mut self, serial: Serial, agent: &Bytes, change: impl FnOnce(&mut Chunk)) {
        let before = self.at(serial).map_or(0, |chunk| chunk.held_by(agent));
        self.update(serial, change);
        let Some(chunk) = self.chunks.get(&serial) else { return };
        let of = self.by_agent.entry(agent.clone()).or_default();
        of.held_bytes = of.held_bytes - before + chunk.held_by(agent);
        match chunk.concerns(agent) {
            true => of.serials.insert(serial),
            false => of.serials.remove(&serial),
        };
        if of.serials.is_empty() {
            self.by_agent.remove(agent);
        }
    }

    /// Changes the length of a chunk, or whether it is sealed, for all agents that hold it.
    pub(super) fn reshape(&mut self, serial: Serial, change: impl FnOnce(&mut Chunk)) {
        self.count_held(serial, false);
        self.update(serial, change);
        self.count_held(serial, true);
    }

    fn count_held(&mut self, serial: Serial, comes: bool) {
        let Some(chunk) = self.chunks.get(&serial) else { return };
        let agents: BTreeSet<&Bytes> = chunk.agents().looked().collect();
        for agent in agents {
            let Some(of) = self.by_agent.get_mut(agent) else { continue };
            let bytes = chunk.held_by(agent);
            of.held_bytes = if comes { of.held_bytes + bytes } else { of.held_bytes - bytes };
        }
    }

    /// A chunk is there.
    pub(super) fn is_of_agents(&mut self, serial: Serial, chunk: &Chunk) {
        for agent in chunk.agents().looked() {
            let of = self.by_agent.entry(agent.clone()).or_default();
            if of.serials.insert(serial) {
                of.held_bytes += chunk.held_by(agent);
            }
        }
    }

    /// A chunk is gone.
    pub(super) fn no_longer_of_agents(&mut self, serial: Serial, chunk: &Chunk) {
        for agent in chunk.agents().looked() {
            let Some(of) = self.by_agent.get_mut(agent) else { continue };
            if of.serials.remove(&serial) {
                of.held_bytes -= chunk.held_by(agent);
            }
            if of.serials.is_empty() {
                self.by_agent.remove(agent);
            }
        }
    }

    /// The same buffer without holders. It shares the contents, and the use of the
    /// chunks is copied.
    pub(super) fn without_holders(&self) -> Self {
        let mut copy = self.clone();
        for (agent, of) in &self.by_agent {
            for serial in of.serials.iter().filter(|serial| self.at(**serial).is_some_and(|chunk| chunk.holders() > 0))
            {
                copy.hold(*serial, agent, |chunk| {
                    chunk.release(agent);
                    chunk.unpin(agent);
                });
            }
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::algorithm::looks;
    use crate::domain::algorithm::xxhash::xxh64;
    use crate::domain::buffer::End;
    use crate::domain::Entity;

    const AT: Millis = 1_767_225_600_000;

    fn put(id: &str, data: &[u8], version: u64, pin: Option<&str>) -> BufferEvent {
        let (hash, data) = (xxh64(data), Blob::from(data));
        let pin = pin.map(|agent| (agent.into(), AT + 1000));
        BufferEvent::Put { at: AT, id: id.into(), data, hash, version, meta: Bytes::EMPTY, ends_at: None, pin }
    }

    #[test]
    fn a_part_of_a_check_hashes_four_kib_for_each_element_of_its_room() {
        let mut buffer = Buffer::default();
        let config = Config { max_bytes: 1 << 30, min_bytes: 0, ..Config::default() };
        buffer.apply(&BufferEvent::Configured { at: AT, config, size_bytes: 1 << 30, stays: true });
        for no in 1..=40u64 {
            let content: Vec<u8> = no.to_le_bytes().into_iter().cycle().take(64 * 1024).collect();
            buffer.apply(&put(&no.to_string(), &content, no, None));
        }
        let (mut from, mut parts) = (0, 0);
        loop {
            looks::take();
            let part = buffer.check_part(from, 100).expect("it is sound").expect("it has parts");
            // A look is a KiB, and the part ends with the content that it has begun.
            let looked = looks::take();
            assert!(looked <= 4 * (100 + 17), "{looked} KiB hashed");
            parts += 1;
            let Some(next) = part.next else { break };
            from = next;
        }
        assert_eq!(parts, 7, "40 contents of 17 elements, six in a part");
    }

    #[test]
    fn what_an_agent_holds_is_counted_once_for_each_chunk() {
        let mut buffer = Buffer::default();
        let config = Config { max_bytes: 1 << 20, min_bytes: 0, ..Config::default() };
        let happen = |buffer: &mut Buffer, event: BufferEvent, held: u64| {
            buffer.apply(&event);
            assert_eq!(buffer.held_bytes_of(b"ada"), held, "{event:?}");
            assert_eq!(buffer.check(), Ok(()), "{event:?}");
        };
        let (ada, a) = (|| Bytes::from("ada"), || Bytes::from("a"));
        happen(&mut buffer, BufferEvent::Configured { at: AT, config, size_bytes: 1 << 20, stays: true }, 0);
        happen(&mut buffer, put("a", b"12345", 1, Some("ada")), 5);
        happen(&mut buffer, BufferEvent::Retained { at: AT, id: a(), agent: ada() }, 5);
        happen(&mut buffer, put("a", b"1234567", 2, Some("bob")), 7);
        assert_eq!(buffer.held_more(b"ada", b"a", Some(9)), 2);
        assert_eq!(buffer.held_more(b"eve", b"a", None), 7);
        let draft = || Bytes::from("draft");
        let allocated = BufferEvent::Allocated {
            at: AT,
            id: draft(),
            agent: ada(),
            bytes: 10,
            version: 1,
            meta: Bytes::EMPTY,
            lease_ms: 1000,
        };
        happen(&mut buffer, allocated, 17);
        happen(&mut buffer, BufferEvent::Sealed { at: AT, id: draft(), hash: xxh64(&[0; 10]), ends_at: None }, 7);
        happen(&mut buffer, BufferEvent::Retained { at: AT, id: draft(), agent: ada() }, 17);
        assert_eq!(buffer.without_holders().held_bytes_of(b"ada"), 0);
        happen(&mut buffer, BufferEvent::Unpinned { at: AT, id: a(), agent: ada(), is_over: true }, 17);
        happen(&mut buffer, BufferEvent::Released { at: AT, id: a(), agent: ada() }, 10);
        happen(&mut buffer, BufferEvent::Gone { at: AT, ids: vec![draft()], why: End::Freed }, 0);
    }
}
