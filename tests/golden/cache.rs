//! Caches in the golden files. They are part of the frozen format: samples may be added, but never
//! changed.

use crate::samples::{value, Samples, FENCE, NOW};
use ltmc::domain::algorithm::eviction::Policy;
use ltmc::domain::cache::entry::{Flight, NEVER};
use ltmc::domain::cache::labels::{Label, LabelKind};
use ltmc::domain::cache::{Cache, CacheEvent, Call, Config, Filled, Removal, Target, TicketEnd};
use ltmc::domain::entity::record::Payload;
use ltmc::domain::{Blob, Bytes, Change, Connection};
use ltmc::snapshot::{decode_with, encode_snapshot, encode_snapshot_beside, explain, frame, ChangesWriter};

fn config(stays: bool) -> CacheEvent {
    let config = Config { bytes_max: 1 << 20, entries_max: 1000, ttl_ms: Some(60_000), policy: Policy::Lfu };
    CacheEvent::Configured { config, stays }
}

fn flight(ticket: u64, agent: &str) -> Flight {
    Flight {
        ticket,
        agent: Bytes::from(agent),
        since: NOW,
        ends_at: NOW + 30_000,
        connection: Some(Connection { boot: FENCE, client: 7 }),
        waited_until: None,
        is_orphaned: false,
    }
}

fn filled(tool: &str, args: &str, value: &[u8]) -> Filled {
    Filled {
        call: Call::new(tool.as_bytes(), b"", args.as_bytes(), false),
        value: Blob::from(value),
        at: NOW + 1,
        fresh_until: NEVER,
        gone_at: NEVER,
        cost_ms: 0,
        agent: Bytes::EMPTY,
        is_negative: false,
        labels: Vec::new(),
        ticket: None,
    }
}

fn put(filled: Filled) -> CacheEvent {
    CacheEvent::Put(Box::new(filled))
}

fn labels() -> Vec<Label> {
    vec![
        Label::new(LabelKind::Dep, b"file:a"),
        Label::new(LabelKind::Dep, b"file:b"),
        Label::new(LabelKind::Tag, b"t\0\xff"),
    ]
}

/// Everything that can happen to a cache.
fn story() -> Vec<CacheEvent> {
    let call = |args: &str| Call::new(b"search", b"", args.as_bytes(), false);
    let private = Filled {
        call: Call::new(b"search", b"bob", b"[1]", false),
        agent: Bytes::from("bob"),
        is_negative: true,
        fresh_until: NOW + 500,
        gone_at: NOW + 900,
        ..filled("search", "[1]", b"none")
    };
    let whole = Filled {
        ticket: Some(FENCE),
        labels: labels(),
        cost_ms: 1234,
        agent: Bytes::from("ada"),
        fresh_until: NOW + 60_000,
        gone_at: NOW + 90_000,
        ..filled("search", "[1]", &[0, 255, 10])
    };
    vec![
        config(true),
        CacheEvent::Ticketed { call: call("[1]"), flight: flight(FENCE, "ada") },
        put(whole),
        put(private),
        put(filled("fetch", r#"{"url":"x"}"#, &[b'v'; 500])),
        put(Filled { call: Call::new(b"fetch", b"", b"not json", true), ..filled("fetch", "1", b"") }),
        put(filled("fetch", "2", b"evicted")),
        put(filled("fetch", "3", b"expired")),
        CacheEvent::Ticketed { call: call("[2]"), flight: flight(FENCE + 2, "") },
        CacheEvent::Ticketed { call: call("[3]"), flight: flight(FENCE + 4, "cy") },
        CacheEvent::Ticketed { call: call("[4]"), flight: flight(FENCE + 6, "cy") },
        CacheEvent::Abandoned { ticket: FENCE + 2, until: NOW + 500 },
        CacheEvent::Orphaned { ticket: FENCE + 4 },
        CacheEvent::TicketEnded { ticket: FENCE + 6, why: TicketEnd::Failed },
        CacheEvent::Removed { answers: vec![5], why: Removal::Evicted },
        CacheEvent::Removed { answers: vec![6], why: Removal::Expired },
        CacheEvent::Invalidated {
            at: NOW + 2,
            what: Target::Labels(labels()),
            is_soft: true,
            fence: FENCE + 8,
            batch: 10,
        },
        CacheEvent::Invalidated { at: NOW + 3, what: Target::All, is_soft: false, fence: FENCE + 10, batch: 1 },
        CacheEvent::Buried { batch: 1 },
        put(filled("new", "null", b"after")),
        CacheEvent::Ticketed { call: call("[5]"), flight: flight(FENCE + 12, "ada") },
    ]
}

fn changes(events: Vec<CacheEvent>) -> Vec<Change<CacheEvent>> {
    events.into_iter().map(Change::Event).collect()
}

/// The samples in the golden files of caches.
pub fn samples() -> Samples<Cache> {
    let rich: Vec<_> = story().into_iter().take(14).collect();
    Samples {
        snapshots: vec![
            ("cache-plain", value(&changes(vec![config(false), put(filled("t", "1", b"v"))]))),
            ("cache-bare", value(&changes(vec![config(true)]))),
            ("cache-rich", value(&changes(rich))),
            ("cache-voids", value(&changes(story().into_iter().take(17).collect()))),
            ("cache-dying", value(&changes(story()))),
        ],
        changes: vec![("cache-changes-all", changes(story()))],
    }
}

#[test]
fn long_values_stand_beside_their_payload() {
    let long = put(filled("t", "1", &[b'v'; 600]));
    let stored = value::<Cache>(&changes(vec![config(false), long.clone(), put(filled("t", "2", &[b'w'; 70_000]))]));
    let encoded = encode_snapshot_beside(&stored);
    assert!(encoded.frame.len() < 400 && encoded.blobs.len() == 2, "{} bytes", encoded.frame.len());
    let decode = |blobs: Vec<Blob>| {
        let frame = frame::read(&encoded.frame).expect("our own frame");
        decode_with::<Cache>(&frame, blobs)
    };
    match decode(encoded.blobs.clone()).expect("with its blobs") {
        Payload::Snapshot(again) => assert_eq!(encode_snapshot(&again), encode_snapshot(&stored)),
        Payload::Changes(_) => panic!("changes"),
    }
    let (one, other) = (encoded.blobs[0].clone(), encoded.blobs[1].clone());
    for wrong in [vec![], vec![one.clone()], vec![other.clone(), one.clone()], vec![one, other.clone(), other]] {
        let error = decode(wrong).expect_err("not these");
        assert!(error.text.contains("beside"), "{}", error.text);
    }
    let mut writer = ChangesWriter::new::<Cache>();
    writer.push::<Cache>(&changes(vec![long]));
    let encoded = writer.finish();
    assert_eq!(encoded.blobs.len(), 1);
    let shown = explain::<Cache>(&frame::read(&encoded.frame).expect("our own frame"), Vec::new(), usize::MAX)
        .expect("without them");
    assert!(shown.contains("600 bytes beside the payload"), "{shown}");
}
