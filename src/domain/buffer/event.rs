//! What can happen to a buffer.

use super::chunk::{Serial, Version};
use super::config::Config;
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};

/// Why a buffer has another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// Somebody asked for it.
    Asked,
    /// So much is in use, or so little.
    Use,
    /// The server is short of memory.
    Memory,
}

impl Why {
    /// As it is told.
    pub const fn word(self) -> &'static str {
        match self {
            Why::Asked => "asked",
            Why::Use => "use",
            Why::Memory => "memory",
        }
    }
}

/// Why chunks are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Somebody freed them.
    Freed,
    /// There was no room for them any more.
    Evicted,
    /// Their time was over.
    Expired,
    /// They were not sealed in time.
    Reclaimed,
}

/// One step in the life of a buffer. Times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BufferEvent {
    /// It came into being, or its bounds are others.
    Configured {
        /// When.
        at: Millis,
        /// Its bounds.
        config: Config,
        /// The bound that is in force now, bytes.
        size_bytes: u64,
        /// Whether it stays if it has no chunk.
        stays: bool,
    },
    /// It has another size.
    Resized {
        /// When.
        at: Millis,
        /// The bound that is in force now, bytes.
        size_bytes: u64,
        /// Why.
        why: Why,
    },
    /// A chunk has its room, all zeros.
    Allocated {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// For whom; empty if nobody was named.
        agent: Bytes,
        /// How long it is, bytes.
        bytes: u64,
        /// Number of its content.
        version: Version,
        /// JSON; empty if there is none.
        meta: Bytes,
        /// How long it may stay unsealed without a write, ms.
        lease_ms: Millis,
    },
    /// A chunk is there with all that is in it: a new one, or another content of one that was there.
    Put {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// What is in it.
        data: Blob,
        /// The hash of that.
        hash: u64,
        /// Number of its content.
        version: Version,
        /// JSON; empty if there is none.
        meta: Bytes,
        /// When it is gone unless somebody holds it.
        ends_at: Option<Millis>,
        /// Who needs it, and until when.
        pin: Option<(Bytes, Millis)>,
    },
    /// A part of a chunk is another.
    Written {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Number of its content.
        version: Version,
        /// Where the part begins.
        offset: u64,
        /// What it is now.
        data: Blob,
    },
    /// A chunk can be read.
    Sealed {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The hash of its content.
        hash: u64,
        /// When it is gone unless somebody holds it.
        ends_at: Option<Millis>,
    },
    /// A chunk that was written rests: its content is shared with those that have the same.
    Rested {
        /// Its name.
        id: Bytes,
        /// The hash of its content.
        hash: u64,
    },
    /// An agent needs a chunk until further notice.
    Retained {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Who.
        agent: Bytes,
    },
    /// An agent needs a chunk no more.
    Released {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Who.
        agent: Bytes,
    },
    /// An agent needs a chunk until then.
    Pinned {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Who.
        agent: Bytes,
        /// Until when.
        until: Millis,
    },
    /// The pin of an agent ended.
    Unpinned {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Who.
        agent: Bytes,
        /// Whether its time was over.
        is_over: bool,
    },
    /// A chunk has other metadata.
    Described {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// JSON; empty if there is none.
        meta: Bytes,
    },
    /// Chunks are gone.
    Gone {
        /// When.
        at: Millis,
        /// Their names.
        ids: Vec<Bytes>,
        /// Why.
        why: End,
    },
    /// A chunk was read. Local.
    Used {
        /// When.
        at: Millis,
        /// Which.
        serial: Serial,
    },
    /// Somebody asked for a chunk that is not there. Local.
    Missed {
        /// Hash of its name.
        hash: u64,
    },
    /// The windows of popularity slide. Local.
    Slid {
        /// To when.
        at: Millis,
        /// So many chunks are looked at.
        most: usize,
    },
    /// The order by popularity is asked for. Local.
    Asked {
        /// When.
        at: Millis,
    },
    /// The primary looked whether its size is right. Local.
    Looked {
        /// When.
        at: Millis,
    },
}

impl BufferEvent {
    /// The chunk that it is about, if it is about one.
    pub fn id(&self) -> Option<&Bytes> {
        match self {
            BufferEvent::Allocated { id, .. }
            | BufferEvent::Put { id, .. }
            | BufferEvent::Written { id, .. }
            | BufferEvent::Sealed { id, .. }
            | BufferEvent::Rested { id, .. }
            | BufferEvent::Retained { id, .. }
            | BufferEvent::Released { id, .. }
            | BufferEvent::Pinned { id, .. }
            | BufferEvent::Unpinned { id, .. }
            | BufferEvent::Described { id, .. } => Some(id),
            _ => None,
        }
    }

    /// When it happened, unix ms; `None` if that does not matter.
    pub fn at(&self) -> Option<Millis> {
        match self {
            BufferEvent::Configured { at, .. }
            | BufferEvent::Resized { at, .. }
            | BufferEvent::Allocated { at, .. }
            | BufferEvent::Put { at, .. }
            | BufferEvent::Written { at, .. }
            | BufferEvent::Sealed { at, .. }
            | BufferEvent::Retained { at, .. }
            | BufferEvent::Released { at, .. }
            | BufferEvent::Pinned { at, .. }
            | BufferEvent::Unpinned { at, .. }
            | BufferEvent::Described { at, .. }
            | BufferEvent::Gone { at, .. }
            | BufferEvent::Used { at, .. }
            | BufferEvent::Slid { at, .. }
            | BufferEvent::Asked { at }
            | BufferEvent::Looked { at } => Some(*at),
            BufferEvent::Rested { .. } | BufferEvent::Missed { .. } => None,
        }
    }
}

impl Event for BufferEvent {
    fn name(&self) -> Option<&'static str> {
        Some(match self {
            BufferEvent::Configured { .. } => "buffer.configured",
            BufferEvent::Resized { .. } => "buffer.resized",
            BufferEvent::Allocated { .. } => "chunk.allocated",
            BufferEvent::Put { .. } => "chunk.put",
            BufferEvent::Written { .. } => "chunk.written",
            BufferEvent::Sealed { .. } => "chunk.sealed",
            BufferEvent::Retained { .. } => "chunk.retained",
            BufferEvent::Released { .. } => "chunk.released",
            BufferEvent::Pinned { .. } => "chunk.pinned",
            BufferEvent::Unpinned { is_over: false, .. } => "chunk.unpinned",
            BufferEvent::Unpinned { is_over: true, .. } => "chunk.pinexpired",
            BufferEvent::Described { .. } => "chunk.described",
            BufferEvent::Gone { why: End::Freed, .. } => "chunk.freed",
            BufferEvent::Gone { why: End::Evicted, .. } => "chunk.evicted",
            BufferEvent::Gone { why: End::Expired, .. } => "chunk.expired",
            BufferEvent::Gone { why: End::Reclaimed, .. } => "chunk.reclaimed",
            // Nobody sees how a content is stored.
            BufferEvent::Rested { .. }
            | BufferEvent::Used { .. }
            | BufferEvent::Missed { .. }
            | BufferEvent::Slid { .. }
            | BufferEvent::Asked { .. }
            | BufferEvent::Looked { .. } => return None,
        })
    }

    fn fence(&self) -> Option<Fence> {
        None
    }

    fn connection(&self) -> Option<Connection> {
        None
    }

    fn is_local(&self) -> bool {
        matches!(
            self,
            BufferEvent::Used { .. }
                | BufferEvent::Missed { .. }
                | BufferEvent::Slid { .. }
                | BufferEvent::Asked { .. }
                | BufferEvent::Looked { .. }
        )
    }

    fn describe(&self, json: &mut EventJson) {
        if let Some(at) = self.at() {
            json.number("at_ms", at);
        }
        if let Some(id) = self.id() {
            json.text("chunk", id);
        }
        match self {
            BufferEvent::Configured { config, size_bytes, .. } => {
                json.number("min_bytes", config.min_bytes);
                json.number("max_bytes", config.max_bytes);
                json.number("size_bytes", *size_bytes);
                json.word("policy", config.policy_word());
            }
            BufferEvent::Resized { size_bytes, why, .. } => {
                json.number("size_bytes", *size_bytes);
                json.word("why", why.word());
            }
            BufferEvent::Allocated { agent, bytes, version, .. } => {
                if !agent.is_empty() {
                    json.text("agent", agent);
                }
                json.number("bytes", *bytes);
                json.number("version", *version);
            }
            BufferEvent::Put { data, version, .. } => {
                json.number("bytes", data.len() as u64);
                json.number("version", *version);
            }
            BufferEvent::Written { version, offset, data, .. } => {
                json.number("version", *version);
                json.number("offset", *offset);
                json.number("bytes", data.len() as u64);
            }
            BufferEvent::Pinned { agent, until, .. } => {
                json.text("agent", agent);
                json.number("until_ms", *until);
            }
            BufferEvent::Retained { agent, .. }
            | BufferEvent::Released { agent, .. }
            | BufferEvent::Unpinned { agent, .. } => json.text("agent", agent),
            BufferEvent::Gone { ids, .. } => json.texts("chunks", ids),
            _ => {}
        }
    }
}
