//! Leases, pins, retains and TTLs: what stays, and what time ends.

use super::*;

/// A buffer with little room, and this many chunks of 10 KB that are pinned for some time.
#[track_caller]
fn pinned(server: &Server, count: u64, ms: i64) {
    run(server, "LTMC.CHUNK.BUFFER b MAXBYTES 200000 MINBYTES 200000 POLICY LRU");
    for n in 0..count {
        put(server, &format!("p{n}"), &content(n, 10_000));
        run(server, &format!("LTMC.CHUNK.PIN b p{n} ada PX {ms}"));
    }
}

#[test]
fn a_chunk_that_is_not_sealed_in_time_is_reclaimed_and_each_write_gives_it_time() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b");
    run(&server, "LTMC.CHUNK.ALLOC b ID slow SIZE 10 PX 60000");
    run(&server, "LTMC.CHUNK.ALLOC b ID gone SIZE 10 PX 60000");
    run(&server, "LTMC.CHUNK.ALLOC b ID done SIZE 10 PX 60000");
    run(&server, "LTMC.CHUNK.SEAL b done");
    set_clock(&server, 50_000);
    run(&server, "LTMC.CHUNK.WRITE b slow 0 x");
    set_clock(&server, 65_000);
    wait_until("it is reclaimed", || ids(&server) == ["slow", "done"] && stat(&server, "chunks") == 2);
    assert_eq!(server.run("LTMC.CHUNK.SEAL b gone").error_code(), "NOCHUNK");
    let (name, event) = story(&server).pop().expect("events");
    assert_eq!((&*name, event["chunks"].to_string()), ("chunk.reclaimed", "[\"gone\"]".to_string()));
    set_clock(&server, 115_000);
    wait_until("it had its time anew, and no more", || ids(&server) == ["done"]);
}

#[test]
fn nothing_that_is_held_is_evicted_and_a_full_buffer_says_by_how_much() {
    let server = Server::start();
    pinned(&server, 15, FAR_MS);
    let before = ids(&server);
    let refused = server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"more", &[b'x'; 50_000]]);
    let held = stat(&server, "held_bytes");
    let numbers = format!("of 200000 bytes are in use, {held} of them retained, pinned or unsealed");
    assert!(refused.error().starts_with("LIMIT ") && refused.error().contains(&numbers), "{refused:?}");
    let refused = server.run("LTMC.CHUNK.ALLOC b SIZE 50000");
    assert_eq!(refused.error_code(), "LIMIT");
    assert_eq!(ids(&server), before);
    // What is not held goes for it, and nothing else.
    run(&server, "LTMC.CHUNK.UNPIN b p3 ada");
    run(&server, "LTMC.CHUNK.UNPIN b p7 ada");
    server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"more", &[b'x'; 50_000]]).array();
    let gone: Vec<_> = before.iter().filter(|id| !ids(&server).contains(id)).cloned().collect();
    assert_eq!(gone, ["p3", "p7"]);
    assert!(stat(&server, "used_bytes") <= 200_000);
    // Holding one more can be too much as well.
    put(&server, "loose", b"x");
    run(&server, "LTMC.CHUNK.BUFFER b POLICY NONE");
    let refused = server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"last", &[b'x'; 60_000]]);
    assert!(refused.error().contains("policy lets none go"), "{refused:?}");
}

#[test]
fn a_pin_ends_by_itself_and_its_chunk_can_go_then() {
    let server = Server::start();
    pinned(&server, 15, 60_000);
    assert_eq!(server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"x", &[b'x'; 60_000]]).error_code(), "LIMIT");
    run(&server, "LTMC.CHUNK.PIN b p4 bob PX 90000");
    set_clock(&server, 60_001);
    wait_until("the pins are over", || stat(&server, "pinned") == 1);
    assert_eq!(story(&server).iter().filter(|(name, _)| name == "chunk.pinexpired").count(), 15);
    assert_eq!(info(&server, "p4").get("pins").array().len(), 1);
    server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", b"x", &[b'x'; 60_000]]).array();
    assert!(ids(&server).contains(&"p4".to_string()));
}

#[test]
fn an_agent_has_one_pin_and_its_longer_end_stands() {
    let server = Server::start();
    put(&server, "a", b"x");
    let first = run(&server, "LTMC.CHUNK.PIN b a ada PX 600000").int();
    let second = run(&server, "LTMC.CHUNK.PIN b a ada PX 1000").int();
    assert_eq!(second, first);
    let longer = run(&server, "LTMC.CHUNK.PIN b a ada PX 900000").int();
    assert!(longer > first, "{longer} {first}");
    let pins = info(&server, "a").get("pins").array().to_vec();
    assert_eq!((pins.len(), pins[0].get("agent").text(), pins[0].get("until_at_ms").int()), (1, "ada", longer));
    assert_eq!(run(&server, "LTMC.CHUNK.UNPIN b a ada").int(), 1);
    assert_eq!(run(&server, "LTMC.CHUNK.UNPIN b a ada").int(), 0);
}

#[test]
fn a_chunk_lives_as_long_as_was_said_and_longer_while_somebody_holds_it() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b");
    for id in ["plain", "retained", "pinned"] {
        run(&server, &format!("LTMC.CHUNK.PUT b {id} x PX 60000"));
    }
    run(&server, "LTMC.CHUNK.ALLOC b ID sealed SIZE 1");
    run(&server, "LTMC.CHUNK.SEAL b sealed EX 60");
    run(&server, "LTMC.CHUNK.PUT b put-again x PX 60000");
    run(&server, "LTMC.CHUNK.PUT b put-again x");
    run(&server, "LTMC.CHUNK.RETAIN b retained ada");
    run(&server, "LTMC.CHUNK.PIN b pinned ada PX 70000");
    set_clock(&server, 60_001);
    assert!(read(&server, "plain").is_none(), "at once, whatever the scheduler does");
    wait_until("those that are over are gone", || stat(&server, "chunks") == 3);
    assert_eq!(ids(&server), ["retained", "pinned", "put-again"]);
    assert!(read(&server, "retained").is_some() && read(&server, "pinned").is_some());
    assert_eq!(run(&server, "LTMC.CHUNK.RELEASE b retained ada").int(), 1);
    assert_eq!(ids(&server), ["pinned", "put-again"], "the last one who held it let go");
    set_clock(&server, 70_002);
    wait_until("the pin is over, and the chunk with it", || ids(&server) == ["put-again"]);
    assert_eq!(run(&server, "LTMC.CHUNK.PUT b plain y IFVERSION 0").array()[0].text(), "plain");
}

#[test]
fn what_is_held_cannot_be_freed_and_all_or_nothing_goes() {
    let server = Server::start();
    ["a", "c", "d"].into_iter().for_each(|id| {
        put(&server, id, b"x");
    });
    run(&server, "LTMC.CHUNK.RETAIN b c bob");
    run(&server, "LTMC.CHUNK.RETAIN b c ada");
    run(&server, "LTMC.CHUNK.PIN b c bob PX 600000");
    let refused = server.run("LTMC.CHUNK.FREE b a c d");
    assert!(refused.error_code() == "BADSTATE" && refused.error().ends_with("agents: ada, bob"), "{refused:?}");
    assert_eq!(ids(&server), ["a", "c", "d"]);
    run(&server, "LTMC.CHUNK.RELEASE b c ada");
    run(&server, "LTMC.CHUNK.RELEASE b c bob");
    run(&server, "LTMC.CHUNK.UNPIN b c bob");
    assert_eq!(run(&server, "LTMC.CHUNK.FREE b a c d none").int(), 3);
    run(&server, "LTMC.CHUNK.ALLOC b ID open SIZE 5");
    assert_eq!(run(&server, "LTMC.CHUNK.FREE b open").int(), 1, "who fills it may give up");
}
