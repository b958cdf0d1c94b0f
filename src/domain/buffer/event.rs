//! What can happen to a buffer.

use super::chunk::{Serial, Version};
use super::config::Config;
use crate::domain::entity::event_json::EventJson;
use crate::domain::{Blob, Bytes, Connection, Event, Fence, Millis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why the size of a buffer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// A client asked for it.
    Asked,
    /// Its use: much or little is needed.
    Use,
    /// The server is short of memory.
    Memory,
}

impl Why {
    /// Its word in events.
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
    /// A client freed them.
    Freed,
    /// They had to make room.
    Evicted,
    /// Their time ran out.
    Expired,
    /// They were not sealed in time.
    Reclaimed,
}

/// One step in the life of a buffer. Times are unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BufferEvent {
    /// It was created, or its bounds changed.
    Configured {
        /// When.
        at: Millis,
        /// Its bounds.
        config: Config,
        /// The size now in force, bytes.
        size_bytes: u64,
        /// Whether it stays without chunks.
        stays: bool,
    },
    /// Its size changed.
    Resized {
        /// When.
        at: Millis,
        /// The size now in force, bytes.
        size_bytes: u64,
        /// Why.
        why: Why,
    },
    /// A chunk was allocated, filled with zeros.
    Allocated {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The agent; empty if none was named.
        agent: Bytes,
        /// Its length, bytes.
        bytes: u64,
        /// The version of its content.
        version: Version,
        /// JSON; empty if there is none.
        meta: Bytes,
        /// How long it may stay unsealed without a write, ms.
        lease_ms: Millis,
    },
    /// A chunk was put whole: a new one, or new content of an existing one.
    Put {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// Its content.
        data: Blob,
        /// The hash of the content.
        hash: u64,
        /// The version of the content.
        version: Version,
        /// JSON; empty if there is none.
        meta: Bytes,
        /// When it expires unless somebody holds it.
        ends_at: Option<Millis>,
        /// The agent that pins it, and until when.
        pin: Option<(Bytes, Millis)>,
    },
    /// A part of a chunk was written.
    Written {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The version of its content.
        version: Version,
        /// Where the part begins.
        offset: u64,
        /// The new bytes.
        data: Blob,
    },
    /// A chunk was sealed and can be read.
    Sealed {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The hash of its content.
        hash: u64,
        /// When it expires unless somebody holds it.
        ends_at: Option<Millis>,
    },
    /// A written chunk rests: it shares its content with chunks that have the same.
    Rested {
        /// Its name.
        id: Bytes,
        /// The hash of its content.
        hash: u64,
    },
    /// An agent retains a chunk.
    Retained {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The agent.
        agent: Bytes,
    },
    /// An agent no longer retains a chunk.
    Released {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The agent.
        agent: Bytes,
    },
    /// An agent pinned a chunk.
    Pinned {
        /// When.
        at: Millis,
        /// Its name.
        id: Bytes,
        /// The agent.
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
        /// The agent.
        agent: Bytes,
        /// Whether it expired.
        is_over: bool,
    },
    /// The metadata of a chunk changed.
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
        /// The chunk.
        serial: Serial,
    },
    /// A client asked for a chunk that does not exist. Local.
    Missed {
        /// The hash of its name.
        hash: u64,
    },
    /// The windows of popularity moved. Local.
    Slid {
        /// The time they moved to.
        at: Millis,
        /// How many chunks are updated at most.
        most: usize,
    },
    /// A client asks for the order by popularity. Local.
    Asked {
        /// When.
        at: Millis,
    },
    /// The primary checked whether the size is right. Local.
    Looked {
        /// When.
        at: Millis,
    },
}

impl BufferEvent {
    /// The chunk that the event is about, if it is about one.
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
    const NAMES: &'static [&'static str] = &[
        "buffer.configured",
        "buffer.resized",
        "chunk.allocated",
        "chunk.put",
        "chunk.written",
        "chunk.sealed",
        "chunk.retained",
        "chunk.released",
        "chunk.pinned",
        "chunk.unpinned",
        "chunk.pinexpired",
        "chunk.described",
        "chunk.freed",
        "chunk.evicted",
        "chunk.expired",
        "chunk.reclaimed",
    ];

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
            // How a content is stored is not visible.
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

    fn object(&self) -> Option<Cow<'_, [u8]>> {
        self.id().map(|id| id[..].into())
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
                json.number("until_at_ms", *until);
            }
            BufferEvent::Retained { agent, .. }
            | BufferEvent::Released { agent, .. }
            | BufferEvent::Unpinned { agent, .. } => json.text("agent", agent),
            BufferEvent::Gone { ids, .. } => json.texts("chunks", ids),
            _ => {}
        }
    }
}
