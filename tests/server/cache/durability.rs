//! Every way in which a server copies or reloads what it holds, and what goes to replicas.

use super::*;
use serde_json::Value;

/// The caches that [`make_everything`] leaves.
pub const CACHES: [&str; 5] = ["c", "limits", "called", "flights", "big"];

/// Runs lines, each of which has to be accepted.
#[track_caller]
fn run_all(server: &Server, lines: &[&str]) {
    for line in lines {
        let reply = server.run(line);
        assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
    }
}

/// Answers of every kind.
fn make_answers(server: &Server) {
    for (n, size) in [0, 1, 100, 511, 512, 513, 600, 4096, 1 << 20].into_iter().enumerate() {
        server.cmd(&["LTMC.CACHE.PUT", "c", "sizes", &n.to_string(), &"v".repeat(size)]).ok();
    }
    run_all(
        server,
        &[
            "LTMC.CACHE.PUT c t {\"b\":1,\"a\":[]} v PX 90000000 STALE 90000000 DEPS 2 d1 d2 TAGS 2 g2 g1 COST 9 AGENT ada",
            "LTMC.CACHE.PUT c t 1 own AGENT ada PRIVATE EX 90000000",
            "LTMC.CACHE.PUT c t 1 none NEGATIVE PX 90000000",
            "LTMC.CACHE.PUT c t {{} raw RAW",
            "LTMC.CACHE.PUT c t 3 stale PX 1 STALE 90000000",
            "LTMC.CACHE.PUT c t 2 old DEPS 1 d3",
            "LTMC.CACHE.PUT c t 2 new DEPS 1 d4",
        ],
    );
    server
        .cmd(&[b"LTMC.CACHE.PUT".as_slice(), b"c", b"\0\xff", b"\xfe\0", b"\r\n\0", b"RAW", b"TAGS", b"1", b"\xff"])
        .ok();
    run_all(server, &["LTMC.CACHE.CONFIG limits MAXENTRIES 3 PX 90000000 POLICY LRU MAXBYTES 100000"]);
    for n in 0..8 {
        run_all(server, &[&format!("LTMC.CACHE.PUT limits t {n} v")]);
    }
    let mut other = server.client();
    other.run("SELECT 4").ok();
    other.run("LTMC.CACHE.PUT c t 1 elsewhere").ok();
}

/// A ticket that is tied to no connection: nothing happens to it by itself, wherever its cache is
/// copied to.
#[track_caller]
fn loose_ticket(server: &Server, what: &str) -> i64 {
    let words: Vec<String> = what.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!("return redis.call('LTMC.CACHE.GET', {})[10]", words.join(","));
    server.cmd(&["EVAL", &script, "0"]).int()
}

/// Tickets, and everything that ends one.
fn make_flights(server: &Server, clock: &mut i64) {
    server.run("CONFIG SET ltmc.cache-orphan-ms 0").ok();
    let far = |n: usize| format!("flights t {n} LEASE {FAR_MS}");
    for n in 0..3 {
        loose_ticket(server, &format!("{} AGENT ada", far(n)));
    }
    let used = ticket(server, &far(10));
    run_all(server, &[&format!("LTMC.CACHE.PUT flights t 10 v TICKET {used}")]);
    let failed = ticket(server, &far(11));
    run_all(server, &[&format!("LTMC.CACHE.FAIL flights t 11 {failed}")]);
    ticket(server, "flights t 12 LEASE 1000");
    *clock += 1001;
    set_clock(server, *clock);
    wait_until("the lease is over", || happened(server, "cache.ticketended") == 2);
    // An invalidation makes it void. That is remembered as long as tickets are out.
    let void = ticket(server, &far(13));
    run_all(server, &["LTMC.CACHE.INVALIDATE flights DEP 2 x y"]);
    put_is_stale(server, &format!("flights t 13 v DEPS 1 y TICKET {void}"));
    // The holder of these tickets is gone: one is no longer waited for, one was given to the next.
    let mut holder = server.client();
    promoted(&holder.run(&format!("LTMC.CACHE.GET {}", far(14))));
    promoted(&holder.run(&format!("LTMC.CACHE.GET {}", far(15))));
    let mut waits = waiter(server, &far(15));
    holder.close();
    let next = promoted(&waits.recv());
    run_all(server, &[&format!("LTMC.CACHE.PUT flights t 15 v TICKET {next}")]);
    // It is taken back: the client is gone in the tick in which it is asked to compute.
    let first = ticket(server, &far(16));
    let untold = waiter(server, &far(16));
    let lines = [format!("LTMC.CACHE.FAIL flights t 16 {first}"), format!("CLIENT KILL ID {}", untold.id())];
    server.client().pipeline(&lines);
    wait_until("it is taken back", || server.info_int("ltmc", "ltmc_cache_taken_back") == 1);
}

/// What is invalidated, and what has expired.
fn make_ends(server: &Server, clock: &mut i64) {
    for n in 0..60 {
        run_all(
            server,
            &[&format!(
                "LTMC.CACHE.PUT called t{} {n} v DEPS 2 d{} all TAGS 1 g{} AGENT a{}",
                n % 2,
                n % 10,
                n % 7,
                n % 5
            )],
        );
    }
    run_all(server, &["LTMC.CACHE.PUT called t 100 v PX 1000"]);
    run_all(server, &["LTMC.CACHE.PUT gone t 1 v PX 1000", "LTMC.CACHE.PUT gone2 t 1 v"]);
    *clock += 1001;
    set_clock(server, *clock);
    wait_until("it is over", || happened(server, "cache.expired") >= 2);
    for what in ["DEP 1 d3", "DEP 2 d4 d5 SOFT", "TAG 1 g1", "AGENT a2 SOFT", "DEP 1 d6 SOFT", "DEP 1 d6", "TOOL t9"] {
        run_all(server, &[&format!("LTMC.CACHE.INVALIDATE called {what}")]);
    }
    run_all(server, &["LTMC.CACHE.INVALIDATE gone2 ALL"]);
    assert_eq!(server.run("EXISTS gone gone2").int(), 0);
}

/// More than fits into one piece of an AOF.
fn make_big(server: &Server) {
    let mut value = vec![b'x'; 1 << 20];
    for n in 0..40 {
        value[..2].copy_from_slice(format!("{n:02}").as_bytes());
        server.cmd(&[b"LTMC.CACHE.PUT".as_slice(), b"big", b"t", n.to_string().as_bytes(), &value]).ok();
    }
    loose_ticket(server, &format!("big t 100 LEASE {FAR_MS}"));
}

pub fn make_everything(server: &Server) -> i64 {
    let mut clock = 0;
    make_answers(server);
    make_flights(server, &mut clock);
    make_ends(server, &mut clock);
    make_big(server);
    for event in ["configured", "ticketed", "ticketended", "put", "invalidated", "expired", "evicted"] {
        assert!(happened(server, &format!("cache.{event}")) > 0, "cache.{event} did not happen");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
    clock
}

/// What readers are told of all answers, without what only the node knows that gave them.
pub fn readable(server: &Server) -> Vec<String> {
    let mut shown = Vec::new();
    for key in CACHES {
        let scan = server.run(&format!("LTMC.CACHE.SCAN {key} 0 COUNT 100000"));
        for entry in scan.array()[1].array() {
            let fields = entry.pairs().into_iter().filter(|(name, _)| {
                !["age_ms", "ttl_ms", "uses", "uses_by_others", "time_saved_ms"].contains(&name.text())
            });
            shown.push(format!("{key}: {:?}", fields.collect::<Vec<_>>()));
        }
        let stats = server.run(&format!("LTMC.CACHE.STATS {key}"));
        let same = ["entries", "entries_max", "bytes", "bytes_max", "policy", "tickets_out", "labels"];
        shown.push(format!("{key}: {:?}", same.map(|name| stats.get(name).clone())));
    }
    shown
}

#[track_caller]
fn assert_readable(server: &Server, expected: &[String], way: &str) {
    let found = readable(server);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{way}");
    }
    assert_eq!(found.len(), expected.len(), "{way}");
}

#[test]
fn everything_that_can_happen_to_a_cache_is_persisted_everywhere() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    make_everything(&primary);
    let seen = readable(&primary);
    replica.wait_synced(&primary);
    assert_readable(&replica, &seen, "live replica");
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_readable(&primary, &seen, "what was reloaded");
    let other = primary.spec().start();
    primary.restore_into(&other);
    assert_readable(&other, &seen, "DUMP and RESTORE");
    replica.wait_synced(&primary);
    primary.kill();
    assert_readable(&replica, &seen, "the last copy");
    replica.promote();
    // Its clock was never moved, so nothing is due there.
    assert_readable(&replica, &seen, "promoted replica");
    assert_eq!(get(&replica, "big t 7").get("value").bytes()[..3], *b"07x");
    assert!(replica.run("LTMC.CACHE.INVALIDATE called DEP 1 all").int() > 0, "labels came along");
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    for preamble in ["yes", "no"] {
        let spec = Server::builder().durable().arg("aof-use-rdb-preamble", preamble);
        let mut server = spec.start();
        let large = "x".repeat(600);
        for n in 0..100 {
            put(&server, &format!("c t {n} {large}{n} DEPS 1 d{}", n % 3));
        }
        let computes = ticket(&server, &format!("c t 100 LEASE {FAR_MS}"));
        server.rewrite_aof();
        assert_eq!(server.run("LTMC.CACHE.INVALIDATE c DEP 1 d1").int(), 33);
        put(&server, "c t 101 v");
        let before = readable_answers(&server);
        server.crash_and_restart();
        assert_eq!(readable_answers(&server), before);
        assert_eq!(found(&server, "c t 1"), miss());
        assert_eq!(found(&server, "c t 2"), answer("HIT", &format!("{large}2")));
        // Its connection ended with the server. It has a short time, and may come as long as no
        // other client computes the answer.
        put(&server, &format!("c t 100 v TICKET {computes}"));
        assert!(ticket(&server, "c t 200") > computes);
    }
}

fn readable_answers(server: &Server) -> Vec<i64> {
    scanned(server, 1000)
}

#[test]
fn an_aof_that_is_rewritten_while_answers_come_and_go_loses_nothing() {
    for preamble in ["yes", "no"] {
        let server = Server::builder().durable().arg("aof-use-rdb-preamble", preamble).start();
        send_all(&server, 0..2000, |n| format!("LTMC.CACHE.PUT c t {n} {} DEPS 1 d{}", "x".repeat(700), n % 50));
        server.run("BGREWRITEAOF");
        let (mut client, mut turns) = (server.client(), 0);
        loop {
            let lines = [
                format!("LTMC.CACHE.PUT c t {} {turns}{}", turns * 3 % 2000, "y".repeat(600)),
                format!("LTMC.CACHE.INVALIDATE c DEP 1 d{}", turns % 50),
                format!("LTMC.CACHE.GET c t {} LEASE {FAR_MS}", 5000 + turns),
                format!("LTMC.CACHE.PUT c{turns} t 1 v"),
                format!("LTMC.CACHE.INVALIDATE c DEP 1 d{} SOFT", (turns + 7) % 50),
            ];
            let replies = client.pipeline(&lines);
            assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
            turns += 1;
            if turns >= 20 && !server.is_rewriting_aof() {
                break;
            }
        }
        assert_eq!(server.info("persistence")["aof_last_bgrewrite_status"], "ok");
        let before = (server.dataset(), scanned(&server, 500));
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("AOF with RDB preamble {preamble}"), &before.0, &server.dataset());
        assert_eq!(scanned(&server, 500), before.1);
    }
}

/// The names of the changes in a stream.
#[track_caller]
fn kinds(server: &Server, stream: &Stream) -> Vec<String> {
    let mut all = Vec::new();
    for command in stream.iter().filter(|command| command[0] == b"LTMC.APPLY") {
        let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), &command[2]]);
        let shown: Value = serde_json::from_str(explained.text()).unwrap_or_else(|e| panic!("{e}: {explained:?}"));
        all.push(shown.to_string());
    }
    all
}

#[test]
fn a_write_is_sent_as_what_it_came_to_and_a_long_value_beside_it() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXENTRIES 1").ok();
    let long = "x".repeat(100_000);
    let stream = replication_stream(&server, || put(&server, &format!("c t 1 {long} PX 1000 STALE 5 DEPS 1 d")));
    assert_eq!((stream.len(), stream[0].len()), (1, 4), "{:?}", stream.len());
    assert!(stream[0][2].len() < 200 && stream[0][3] == long.as_bytes());
    assert!(kinds(&server, &stream)[0].contains("\"Put\""), "{:?}", kinds(&server, &stream));
    for (line, parts) in [
        ("LTMC.CACHE.PUT c t 2 v", vec!["Removed", "Evicted", "Put"]),
        ("LTMC.CACHE.GET c t 3 LEASE 5000 AGENT ada", vec!["Ticketed", "ada"]),
        ("LTMC.CACHE.INVALIDATE c DEP 1 x", vec!["Invalidated", "\"x\""]),
        ("LTMC.CACHE.INVALIDATE c ALL SOFT", vec!["Invalidated", "All"]),
        ("LTMC.CACHE.CONFIG c PX 5", vec!["Configured"]),
        ("LTMC.CACHE.GET c t 2", vec!["Ticketed"]),
        ("LTMC.CACHE.GET c t 2", vec![]),
        ("LTMC.CACHE.FAIL c t 9 5", vec![]),
        ("LTMC.CACHE.STATS c", vec![]),
    ] {
        let stream = replication_stream(&server, || assert!(!server.run(line).is_error(), "{line}"));
        let shown = kinds(&server, &stream).concat();
        assert_eq!(stream.len(), usize::from(!parts.is_empty()), "{line}: {:?}", show_stream(&stream));
        assert!(parts.iter().all(|part| shown.contains(part)), "{line}: {shown}");
    }
}

#[test]
fn what_a_refused_write_cleared_away_is_sent_all_the_same() {
    let server = Server::start();
    let replica = server.replica();
    put(&server, "c t 2 v DEPS 1 d");
    let computes = ticket(&server, "c t 1");
    server.run("LTMC.CACHE.INVALIDATE c DEP 1 d").int();
    put_is_stale(&server, &format!("c t 1 v DEPS 1 d TICKET {computes}"));
    assert_eq!(server.run("EXISTS c").int(), 0);
    replica.wait_synced(&server);
    assert_eq!(replica.run("EXISTS c").int(), 0);
}
