//! Chunk buffers in the golden files. They are part of the frozen format: samples may be added, but
//! never changed.

use crate::samples::{answered, value, Samples, FENCE, NOW};
use ltmc::domain::algorithm::eviction::Policy;
use ltmc::domain::algorithm::xxhash::xxh64;
use ltmc::domain::buffer::{Buffer, BufferEvent, Config, End, Why};
use ltmc::domain::entity::idempotency::Answer;
use ltmc::domain::{Blob, Bytes, Change};

type Changes = Vec<Change<BufferEvent>>;

fn configured(policy: Policy, stays: bool) -> BufferEvent {
    let config = Config { max_bytes: 1 << 20, min_bytes: 1 << 16, policy };
    BufferEvent::Configured { at: NOW, config, size_bytes: 1 << 17, stays }
}

fn put(id: &str, data: &[u8], version: u64) -> BufferEvent {
    let (hash, data) = (xxh64(data), Blob::from(data));
    let (id, meta) = (Bytes::from(id), Bytes::EMPTY);
    BufferEvent::Put { at: NOW + 1, id, data, hash, version, meta, ends_at: None, pin: None }
}

fn allocated(id: &str, bytes: u64) -> BufferEvent {
    BufferEvent::Allocated {
        at: NOW + 2,
        id: Bytes::from(id),
        agent: Bytes::from("ada"),
        bytes,
        version: 1,
        meta: Bytes::from(r#"{"k":[1]}"#),
        lease_ms: 60_000,
    }
}

fn written(id: &str, version: u64, offset: u64, data: &[u8]) -> BufferEvent {
    BufferEvent::Written { at: NOW + 3, id: Bytes::from(id), version, offset, data: Blob::from(data) }
}

fn gone(ids: &[&str], why: End) -> BufferEvent {
    BufferEvent::Gone { at: NOW + 9, ids: ids.iter().map(|id| Bytes::from(*id)).collect(), why }
}

/// Everything that can happen, such that something of each is left.
fn all_changes() -> Changes {
    let (at, ada, bob) = (NOW + 4, || Bytes::from("ada"), || Bytes::from("bob-with-a-name-of-some-length"));
    let id = |text: &str| Bytes::from(text);
    let mortal = match put("mortal\0\u{e9}", b"\0\xff\n", 1) {
        BufferEvent::Put { at, id, data, hash, version, .. } => BufferEvent::Put {
            at,
            id,
            data,
            hash,
            version,
            meta: Bytes::from("[true]"),
            ends_at: Some(NOW + 90_000),
            pin: Some((Bytes::from("ada"), NOW + 80_000)),
        },
        other => other,
    };
    let events = vec![
        configured(Policy::Gdsf, false),
        put("a", b"equal", 1),
        put("b", b"equal", 1),
        put("c", &[7; 300], 1),
        put("c", &[8; 200], 2),
        put("empty", b"", 1),
        mortal,
        allocated("open", 20),
        allocated("sealed", 10),
        allocated("slow", 10),
        written("open", 2, 5, b"text"),
        BufferEvent::Sealed { at, id: id("sealed"), hash: xxh64(&[0; 10]), ends_at: Some(NOW + 70_000) },
        written("b", 2, 0, b"E"),
        BufferEvent::Rested { id: id("b"), hash: xxh64(b"Equal") },
        written("c", 3, 100, b"later"),
        BufferEvent::Retained { at, id: id("a"), agent: ada() },
        BufferEvent::Retained { at, id: id("a"), agent: bob() },
        BufferEvent::Released { at, id: id("a"), agent: ada() },
        BufferEvent::Pinned { at, id: id("c"), agent: ada(), until: NOW + 50_000 },
        BufferEvent::Pinned { at, id: id("c"), agent: bob(), until: NOW + 60_000 },
        BufferEvent::Unpinned { at, id: id("c"), agent: ada(), is_over: true },
        BufferEvent::Described { at, id: id("empty"), meta: Bytes::from(r#"{"a":1}"#) },
        put("1", b"1", 1),
        put("2", b"2", 1),
        put("3", b"3", 1),
        gone(&["1"], End::Freed),
        gone(&["2"], End::Evicted),
        gone(&["3"], End::Expired),
        gone(&["slow"], End::Reclaimed),
        BufferEvent::Resized { at, size_bytes: 1 << 18, why: Why::Use },
        BufferEvent::Resized { at, size_bytes: 1 << 19, why: Why::Asked },
        BufferEvent::Resized { at, size_bytes: 1 << 16, why: Why::Memory },
        configured(Policy::Ring, true),
    ];
    let mut list: Changes = vec![Change::Born { revision: FENCE }];
    list.extend(events.into_iter().map(Change::Event));
    list.push(answered(b"req-1", Answer::Versioned { id: Bytes::from("a"), version: 1 }));
    list
}

/// The samples in the golden files of this type.
pub fn samples() -> Samples<Buffer> {
    let all = all_changes();
    let plain: Changes =
        [configured(Policy::None, false), put("a", b"text", 1)].into_iter().map(Change::Event).collect();
    let bare: Changes = vec![Change::Event(configured(Policy::Ttl, true))];
    Samples {
        snapshots: vec![("buffer-plain", value(&plain)), ("buffer-rich", value(&all)), ("buffer-bare", value(&bare))],
        changes: vec![("buffer-changes-all", all), ("buffer-changes-plain", plain)],
    }
}
