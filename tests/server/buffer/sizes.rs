//! How much room a buffer takes, and that it is given back without holding up other clients.

use super::*;

/// How much `fill` adds to the memory of the server, and to what the buffer says of itself.
#[track_caller]
fn measured(server: &Server, count: u64, bytes: usize) -> (f64, f64) {
    // Buffers of clients and the like have their size then.
    fill(server, 1, bytes);
    let before = (server.info_int("memory", "used_memory"), stat(server, "used_bytes"));
    fill(server, count, bytes);
    run(server, "LTMC.CHUNK.FREE b none");
    let after = (server.info_int("memory", "used_memory"), stat(server, "used_bytes"));
    ((after.0 - before.0) as f64, (after.1 - before.1) as f64)
}

#[test]
fn what_a_buffer_says_that_it_takes_is_what_the_server_has_allocated() {
    for (count, bytes, band) in
        [(1000, 64 * 1024, 0.02), (40, 1 << 20, 0.02), (20_000, 1024, 0.06), (20_000, 100, 0.15)]
    {
        let server = Server::start();
        run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 1000000000 MINBYTES 1000000000");
        let (allocated, reported) = measured(&server, count, bytes);
        // The log for watchers is not part of what is bounded. It takes up to 1 MiB.
        let log = f64::min(1.2e6, count as f64 * 230.0);
        let ratio = reported / (allocated - log);
        assert!(
            (1.0 - band..1.0 + band).contains(&ratio),
            "{bytes} bytes: said {reported}, allocated {allocated}: {ratio}"
        );
        let usage = run(&server, "MEMORY USAGE b SAMPLES 0").int() as f64;
        let ratio = usage / (stat(&server, "used_bytes") as f64 + log);
        assert!(
            (1.0 - band..1.0 + band).contains(&ratio),
            "{bytes} bytes: MEMORY USAGE {usage}, said {reported}: {ratio}"
        );
        if bytes == 64 * 1024 {
            let overhead = stat(&server, "used_bytes") as f64 / (count as f64 * bytes as f64);
            assert!(overhead < 1.01, "a chunk of 64 KB costs no more than it has: {overhead}");
        }
    }
}

#[test]
fn a_buffer_never_takes_more_than_it_may() {
    let server = Server::start();
    for policy in ["POLICY GDSF", "POLICY LRU", "POLICY TTL", "RING"] {
        server.run("DEL b");
        run(&server, &format!("LTMC.CHUNK.BUFFER b MAXBYTES 3000000 MINBYTES 3000000 {policy}"));
        fill(&server, 200, 64 * 1024);
        let (used, chunks) = (stat(&server, "used_bytes"), stat(&server, "chunks"));
        assert!((2_900_000..=3_000_000).contains(&used) && chunks == 45, "{policy}: {used} in {chunks}");
        assert_eq!(stat(&server, "evicted"), 200 - chunks);
        assert!(read(&server, "c199").is_some(), "{policy}: what was put last is there");
    }
    assert_eq!(ids(&server).first().map(String::as_str), Some("c155"), "the oldest went first from a ring");
}

#[test]
fn a_buffer_is_resized_while_it_is_in_use_and_gives_room_back_in_parts() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 500000000 MINBYTES 500000000 POLICY LRU");
    fill(&server, 30_000, 1000);
    put(&server, "pinned", b"x");
    run(&server, &format!("LTMC.CHUNK.PIN b pinned ada PX {FAR_MS}"));
    let before = server.info_int("memory", "used_memory");
    let mut client = server.client();
    assert_eq!(run(&server, "LTMC.CHUNK.RESIZE b MAXBYTES 1000000").int(), 1_000_000);
    let mut seen = Vec::new();
    wait_until("what is too much is gone", || {
        seen.push(client.run("LTMC.CHUNK.STATS b").get("chunks").int());
        stat(&server, "used_bytes") <= 1_000_000
    });
    seen.dedup();
    assert!(seen.len() > 2, "others were served meanwhile: {seen:?}");
    assert!(before - server.info_int("memory", "used_memory") > 30_000_000);
    assert_eq!(read(&server, "pinned").as_deref(), Some(b"x".as_slice()));
    run(&server, "LTMC.CHUNK.RESIZE b MAXBYTES 2000000");
    let stats = run(&server, "LTMC.CHUNK.STATS b");
    assert_eq!((stats.get("max_bytes").int(), stats.get("min_bytes").int()), (2_000_000, 1_000_000));
}

#[test]
fn a_buffer_grows_with_use_and_gives_way_when_the_server_is_short_of_memory() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 60000000 MINBYTES 2000000");
    fill(&server, 500, 64 * 1024);
    let grown = stat(&server, "size_bytes");
    assert!(grown > 32_000_000 && stat(&server, "chunks") == 500, "{grown}");
    let used = server.info_int("memory", "used_memory");
    server.run(&format!("CONFIG SET maxmemory {}", used * 100 / 95)).ok();
    wait_until("it is smaller, and with it the server", || {
        server.info_int("memory", "used_memory") * 100 / (used * 100 / 95) < 90
    });
    assert!(stat(&server, "size_bytes") < grown);
    let why: Vec<String> = story(&server)
        .into_iter()
        .filter(|(name, _)| name == "buffer.resized")
        .map(|(_, event)| event["why"].as_str().expect("a word").to_string())
        .collect();
    assert!(why.contains(&"use".to_string()) && why.last().map(String::as_str) == Some("memory"), "{why:?}");
    // The server evicted nothing, and the last chunk is there.
    assert_eq!(server.info_int("stats", "evicted_keys"), 0);
    // The buffer may grow again unless that brings the server near its limit: no write was refused
    // for lack of memory.
    fill(&server, 500, 64 * 1024);
    assert!(server.info_int("memory", "used_memory") < used * 100 / 95);
}

#[test]
fn a_buffer_of_many_small_chunks_gives_up_no_more_than_it_has_to() {
    let server = Server::start();
    run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 200000000 MINBYTES 0");
    fill(&server, 50_000, 600);
    let before = stat(&server, "used_bytes");
    let used = server.info_int("memory", "used_memory");
    server.run(&format!("CONFIG SET maxmemory {}", used * 100 / 92)).ok();
    wait_until("the server is well again", || server.run("LTMC.STATUS").get("memory_permille").int() < 900);
    // The size in force bounds what goes. It shrinks in steps, each of which is finished before the
    // next.
    wait_until("the step is done", || stat(&server, "used_bytes") <= stat(&server, "size_bytes"));
    let after = stat(&server, "used_bytes");
    assert!(after > before / 2, "{before} {after}");
}

#[test]
fn large_buffers_are_freed_in_the_background() {
    let server = Server::start();
    let fill_and = |line: &str| {
        run(&server, "LTMC.CHUNK.BUFFER b MAXBYTES 500000000 MINBYTES 500000000");
        fill(&server, 1000, 64 * 1024);
        let before = server.info_int("memory", "lazyfreed_objects");
        run(&server, line);
        wait_until("it was freed by the background thread", || {
            server.info_int("memory", "lazyfreed_objects") > before
                && server.info_int("memory", "lazyfree_pending_objects") == 0
        });
        wait_until("its memory is back", || server.info_int("memory", "used_memory") < 20_000_000);
    };
    fill_and("UNLINK b");
    fill_and("FLUSHALL ASYNC");
    fill_and("FLUSHDB ASYNC");
}

#[test]
fn the_server_may_defragment_while_chunks_are_in_use() {
    let server = Server::start();
    // This needs the allocator that comes with the server. Without it there is nothing to test.
    if server.run("CONFIG SET activedefrag yes").is_error() {
        return;
    }
    for (name, value) in [("active-defrag-threshold-lower", "0"), ("active-defrag-ignore-bytes", "1")] {
        server.run(&format!("CONFIG SET {name} {value}")).ok();
    }
    fill(&server, 5000, 1000);
    let odd: Vec<String> = (0..5000).filter(|n| n % 2 == 1).map(|n| format!("c{n}")).collect();
    run(&server, &format!("LTMC.CHUNK.FREE b {}", odd.join(" ")));
    fill(&server, 100, 3000);
    for n in [0, 2, 98, 4998] {
        let bytes = if n < 100 { 3000 } else { 1000 };
        assert_eq!(read(&server, &format!("c{n}")), Some(content(n, bytes)));
    }
}
