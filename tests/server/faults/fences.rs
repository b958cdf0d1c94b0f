//! No payload uses up the fences of a node.

use super::*;

const DAY_MS: i64 = 24 * 3600 * 1000;
const HALF: i64 = 1 << 52;

/// A server whose clock is ahead, ms.
fn ahead(ms: i64) -> Server {
    let server = plain().start();
    server.run(&format!("LTMC.DEBUG CLOCK {ms}")).ok();
    server
}

/// What makes one value of each type that has fences, and a binding.
const FENCED: [(&str, &str); 5] = [
    ("lock", "LTMC.LOCK lock a PX 600000000"),
    ("agents", "LTMC.REGISTER agents a PX 600000000"),
    ("mail", "LTMC.MSG.SEND mail a TO 1 b hello"),
    ("flow", "LTMC.TASK.CLAIM flow a PX 600000000"),
    ("cache", "LTMC.CACHE.GET cache tool [1] LEASE 600000"),
];

fn make_fenced(server: &Server) {
    server.run("LTMC.TASK.ADD flow t p").text();
    FENCED.iter().for_each(|(_, line)| assert!(!server.run(line).is_error(), "{line}"));
}

#[test]
fn a_client_restores_no_fence_that_is_more_than_a_day_beyond_the_clock() {
    let (source, target) = (ahead(2 * DAY_MS), plain().start());
    make_fenced(&source);
    for (key, _) in FENCED {
        let saved = dump(&source, key);
        let restore = [b"RESTORE".as_slice(), key.as_bytes(), b"0", &saved];
        assert!(target.cmd(&restore).is_error(), "{key}");
        let applied = target.cmd(&[b"LTMC.APPLY".as_slice(), key.as_bytes(), &saved[frames(&saved)[0].clone()]]);
        assert!(applied.error().contains("a day beyond the clock"), "{key}: {applied:?}");
        // The node that gave the fence takes it back.
        source.cmd(&[&restore[..], &[b"REPLACE"]].concat()).ok();
    }
    target.wait_log("LTMC cannot load a ltmc-lock: ERR payload holds the fence");
    assert_eq!(target.run("DBSIZE").int(), 0);
    // Within a day all of them are accepted.
    target.run(&format!("LTMC.DEBUG CLOCK {}", DAY_MS + 600_000)).ok();
    let saved = dump(&source, "lock");
    target.cmd(&[b"RESTORE".as_slice(), b"lock", b"0", &saved]).ok();
}

#[test]
fn a_lock_that_would_use_up_the_fences_is_refused() {
    let server = plain().start();
    let fence = server.run("LTMC.LOCK k a PX 600000000").int() as u64;
    let mut forged = dump(&server, "k");
    let count = forge(&mut forged, |frame| {
        let at = frame.windows(8).position(|bytes| bytes == fence.to_le_bytes()).expect("the fence");
        frame[at..at + 8].copy_from_slice(&((1u64 << 52) - 2).to_le_bytes());
        true
    });
    assert_eq!(count, 1);
    reseal_dump(&mut forged);
    assert!(server.cmd(&[b"RESTORE".as_slice(), b"z", b"0", &forged]).is_error());
    let next = server.run("LTMC.LOCK other a PX 600000000").int();
    assert!(next < HALF, "{next}");
}

#[test]
fn files_and_the_stream_of_a_primary_are_taken_whatever_they_hold_and_the_fences_go_on() {
    // Far beyond the year 2112, so that half of the fences are used up at once.
    let mut primary = plain().durable().start();
    let replica = primary.replica();
    primary.run(&format!("LTMC.DEBUG CLOCK {}", 200 * 365 * DAY_MS)).ok();
    make_fenced(&primary);
    assert!(primary.run("LTMC.STATUS").get("last_fence").int() >= HALF);
    replica.wait_synced(&primary);
    assert_eq!(replica.debug_digest(), primary.debug_digest());
    primary.crash_and_restart();
    primary.debug_reload();
    primary.rewrite_aof();
    primary.crash_and_restart();
    let fence = primary.run("LTMC.LOCK new a PX 600000000").int();
    assert!(fence > HALF, "{fence}");
    assert!(primary.run("LTMC.REGISTER agents b PX 600000000").int() > fence);
    let saved = dump(&primary, "new");
    primary.cmd(&[b"RESTORE".as_slice(), b"again", b"0", &saved]).ok();
    primary.crash_and_restart();
    assert_eq!(primary.run(&format!("LTMC.LOCK.CHECK new {fence}")).int(), 1, "what was answered is there");
    assert_eq!(quarantined(&primary).0, 0);
    let later = primary.replica();
    later.wait_synced(&primary);
    assert_eq!(later.debug_digest(), primary.debug_digest());
}

#[test]
fn when_the_fences_are_used_up_nothing_begins_that_could_take_one() {
    let mut server = plain().start();
    let fence = server.run("LTMC.LOCK k a").int() as u64;
    server.run("LTMC.CTX.CREATE c").int();
    server.stop();
    forge_file(server.dir().join("dump.rdb"), |frame| {
        let at = frame.windows(8).position(|bytes| bytes == fence.to_le_bytes()).filter(|_| frame[4] == 1);
        at.into_iter().for_each(|at| frame[at..at + 8].copy_from_slice(&((1u64 << 53) - 2).to_le_bytes()));
        at.is_some()
    });
    server.start_again();
    assert_eq!(server.run("LTMC.STATUS").get("last_fence").int(), (1 << 53) - 2);
    for line in
        ["LTMC.LOCK other a", "LTMC.REGISTER r a PX 5000", "LTMC.MSG.SEND m a TO 1 b x", "LTMC.LOCK k b BLOCK 0"]
    {
        let refused = server.run(line);
        assert_eq!(refused.error_code(), "LIMIT", "{line}: {refused:?}");
        assert!(refused.error().contains("the fences are used up"), "{refused:?}");
    }
    assert!(!server.run("LTMC.LOCK.INFO k").is_nil() && !server.run("LTMC.CTX.GET c").is_error());
    // It ends with the key that brought it.
    assert_eq!(server.run("DEL k").int(), 1);
    server.restart();
    assert!(server.run("LTMC.LOCK k a").int() < 1 << 52);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn a_client_brings_no_revision_from_which_the_next_life_of_a_key_would_go_back() {
    let (source, target) = (ahead(2 * DAY_MS), plain().start());
    tell(&source);
    let saved = dump(&source, "k");
    assert!(target.cmd(&[b"RESTORE".as_slice(), b"k", b"0", &saved]).is_error());
    target.wait_log("payload holds the revision");
    let whole = &saved[frames(&saved)[0].clone()];
    let applied = target.cmd(&[b"LTMC.APPLY".as_slice(), b"k", whole]);
    assert!(applied.error().contains("payload holds the revision"), "{applied:?}");
    // Within a day it is accepted, and the next life is above it.
    target.run(&format!("LTMC.DEBUG CLOCK {}", DAY_MS + 600_000)).ok();
    target.cmd(&[b"RESTORE".as_slice(), b"k", b"0", &saved]).ok();
    let revision = |server: &Server| server.run("LTMC.WATCH 1 k SINCE 0").array()[0].array()[0].int();
    let before = revision(&target);
    assert_eq!(target.run("DEL k").int(), 1);
    tell(&target);
    assert!(revision(&target) > before, "{before}");
}

#[test]
fn a_client_brings_no_number_that_is_near_its_end() {
    let server = plain().start();
    let fence = server.run("LTMC.LOCK k a PX 600000000").int();
    let saved = dump(&server, "k");
    let whole = &saved[frames(&saved)[0].clone()];
    // A lock begins with its version.
    let with_version = |version: u64| {
        let payload = [&[253], &version.to_le_bytes()[..], &whole[10..whole.len() - 4]].concat();
        let length = (payload.len() as u32).to_le_bytes();
        let mut frame = [&whole[..5], &length, &payload, &[0; 4]].concat();
        reseal(&mut frame);
        frame
    };
    let apply = |version| server.cmd(&[b"LTMC.APPLY".as_slice(), b"z", &with_version(version)]);
    let refused = apply((1 << 51) + 1);
    assert!(refused.error().contains("the number 2251799813685249, allowed are up to 2251799813685248"), "{refused:?}");
    assert!(apply((1 << 62) - 1).error().contains("its numbers are too high to count on from"));
    assert_eq!(server.run("EXISTS z").int(), 0);
    apply(1 << 51).ok();
    assert_eq!(server.run("LTMC.UNLOCK z a").int(), 1);
    apply(1 << 51).ok();
    assert!(server.run("LTMC.LOCK z a PX 600000000").int() >= fence);
    server.debug_reload();
    assert_eq!((server.run("EXISTS z").int(), quarantined(&server).0), (1, 0));
}
