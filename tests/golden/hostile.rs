//! Payloads that are cut, damaged, made up or malicious: they are refused, without a panic and
//! without large allocations.

use crate::samples::noise;
use crate::{all_files, buffer, cache, decode, flow, lock, mail, registry, versioned};
use ltmc::domain::buffer::Buffer;
use ltmc::domain::cache::Cache;
use ltmc::domain::context::Context;
use ltmc::domain::entity::record::Payload;
use ltmc::domain::flow::Flow;
use ltmc::domain::lock::Lock;
use ltmc::domain::mail::Mail;
use ltmc::domain::registry::Registry;
use ltmc::domain::session::Session;
use ltmc::domain::{Entity, Error, Record};
use ltmc::snapshot::frame;
use ltmc::snapshot::frame::{Content, Writer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Notes the largest allocation of this thread.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static LOCKS: Vec<(&'static str, Record<Lock>)> = lock::samples().snapshots;
    static SESSIONS: Vec<(&'static str, Record<Session>)> = versioned::sessions().snapshots;
    static CONTEXTS: Vec<(&'static str, Record<Context>)> = versioned::contexts().snapshots;
    static BUFFERS: Vec<(&'static str, Record<Buffer>)> = buffer::samples().snapshots;
    static CACHES: Vec<(&'static str, Record<Cache>)> = cache::samples().snapshots;
    static MAILBOXES: Vec<(&'static str, Record<Mail>)> = mail::samples().snapshots;
    static FLOWS: Vec<(&'static str, Record<Flow>)> = flow::samples().snapshots;
    static REGISTRIES: Vec<(&'static str, Record<Registry>)> = registry::samples().snapshots;
}

fn note(size: usize) {
    // A thread that is ending has no thread locals any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: everything is the system allocator's; noting a size allocates nothing.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) }
    }
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(start, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Serde believes a claimed length up to this many bytes.
const BELIEVED_BYTES: usize = 1024 * 1024;

/// Decodes a payload, which must not cost much more than its own size. Returns whether it was
/// accepted.
fn try_decode(bytes: &[u8]) -> bool {
    LARGEST.set(0);
    let taken = decode_any(bytes).is_ok();
    let allowed = BELIEVED_BYTES + 64 * bytes.len();
    assert!(LARGEST.get() <= allowed, "{} bytes made it allocate {}", bytes.len(), LARGEST.get());
    taken
}

fn decode_any(bytes: &[u8]) -> Result<(), Error> {
    match frame::read(bytes)?.tag {
        Registry::TYPE_TAG => REGISTRIES.with(|values| decode_and_apply(bytes, values)),
        Flow::TYPE_TAG => FLOWS.with(|values| decode_and_apply(bytes, values)),
        Session::TYPE_TAG => SESSIONS.with(|values| decode_and_apply(bytes, values)),
        Context::TYPE_TAG => CONTEXTS.with(|values| decode_and_apply(bytes, values)),
        Buffer::TYPE_TAG => BUFFERS.with(|values| decode_and_apply(bytes, values)),
        Cache::TYPE_TAG => CACHES.with(|values| decode_and_apply(bytes, values)),
        Mail::TYPE_TAG => MAILBOXES.with(|values| decode_and_apply(bytes, values)),
        _ => LOCKS.with(|values| decode_and_apply(bytes, values)),
    }
}

/// Changes that can be read may not fit the value they are for. A check finds that; it is never a
/// panic.
fn decode_and_apply<E: Entity + Clone>(bytes: &[u8], values: &[(&str, Record<E>)]) -> Result<(), Error> {
    if let Payload::Changes(changes) = decode::<E>(bytes)? {
        let largest = LARGEST.get();
        for mut stored in values.iter().map(|(_, stored)| stored.clone()) {
            for change in &changes {
                stored.apply_unchecked(change);
            }
            if stored.check().is_err() {
                stored.state.rebuild();
            }
        }
        LARGEST.set(largest);
    }
    Ok(())
}

/// A frame with a right checksum around any payload.
fn framed(content: Content, tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(content, tag);
    writer.payload().extend_from_slice(payload);
    writer.finish()
}

#[test]
fn every_truncation_is_refused() {
    for (name, bytes) in all_files() {
        for len in 0..bytes.len() {
            assert!(!try_decode(&bytes[..len]), "{name} cut to {len} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(!try_decode(&longer), "{name} with a byte too many");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for (name, bytes) in all_files() {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The type tag is protected by the checksum like everything else.
            assert!(!try_decode(&damaged), "{name} with bit {bit} flipped");
        }
    }
}

#[test]
fn damage_under_a_right_checksum_never_panics() {
    for (_, bytes) in all_files() {
        let content = if bytes[3] == 1 { Content::Changes } else { Content::Snapshot };
        let tag = frame::read(&bytes).expect("a golden file").tag;
        let payload = &bytes[9..bytes.len() - 4];
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            try_decode(&framed(content, tag, &damaged));
        }
        for len in 0..payload.len() {
            try_decode(&framed(content, tag, &payload[..len]));
        }
    }
}

#[test]
fn garbage_never_panics() {
    let mut byte = noise(0x1234_5678_9abc_def1);
    for round in 0..30_000usize {
        let garbage: Vec<u8> = (0..round % 90).map(|_| byte()).collect();
        try_decode(&garbage);
        for tag in [
            Lock::TYPE_TAG,
            Registry::TYPE_TAG,
            Session::TYPE_TAG,
            Context::TYPE_TAG,
            Cache::TYPE_TAG,
            Buffer::TYPE_TAG,
            Mail::TYPE_TAG,
            Flow::TYPE_TAG,
        ] {
            try_decode(&framed(Content::Snapshot, tag, &garbage));
            try_decode(&framed(Content::Changes, tag, &garbage));
        }
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_allocated() {
    // In the encoding of numbers, 253 says that eight bytes follow.
    let huge = [&[253u8][..], &(1u64 << 60).to_le_bytes()].concat();
    let counts = [huge, vec![252, 0xff, 0xff, 0xff, 0x1f]];
    for count in counts {
        // A value: version 0, then a huge number of grants.
        assert!(!try_decode(&framed(Content::Snapshot, Lock::TYPE_TAG, &[&[0u8][..], &count].concat())));
        // A value without grants, revision 0, with a huge number of requests.
        assert!(!try_decode(&framed(Content::Snapshot, Lock::TYPE_TAG, &[&[0u8, 0, 0, 1][..], &count].concat())));
        // A change: an event, a grant with numbers 2, 9 and 1, and an owner of huge length.
        //
        // A registry: no hold, no past one, five totals, no fence, a huge number of agents.
        let before = [0u8; 8];
        assert!(!try_decode(&framed(Content::Snapshot, Registry::TYPE_TAG, &[&before[..], &count].concat())));
        // A mailbox: no fence, seven totals, a huge number of messages.
        assert!(!try_decode(&framed(Content::Snapshot, Mail::TYPE_TAG, &[&before[..], &count].concat())));
        // A registration of an agent with an id of huge length.
        assert!(!try_decode(&framed(Content::Changes, Registry::TYPE_TAG, &[&[0u8, 0][..], &count].concat())));
        assert!(!try_decode(&framed(Content::Changes, Lock::TYPE_TAG, &[&[0u8, 0, 2, 9, 1][..], &count].concat())));
    }
}

#[test]
fn a_frame_of_a_newer_format_says_so() {
    for (name, mut bytes) in all_files() {
        bytes[2] = ltmc::snapshot::frame::FORMAT + 1;
        let error = decode_any(&bytes).expect_err(&name);
        assert!(error.text.contains("format"), "{}", error.text);
    }
}
