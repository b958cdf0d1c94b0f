//! What a cache shows of itself: CONFIG, STATS, TOP, SCAN, and that looking at an answer changes
//! nothing.

use super::*;
use std::collections::BTreeSet;

const COUNTERS: [&str; 13] = [
    "hits",
    "stale_hits",
    "negative_hits",
    "misses",
    "tickets",
    "puts",
    "evicted",
    "expired",
    "invalidated",
    "shared_hits",
    "calls_saved",
    "time_saved_ms",
    "bytes_saved",
];
const WHOLE: [&str; 9] = [
    "entries",
    "entries_max",
    "bytes",
    "bytes_max",
    "memory_bytes",
    "policy",
    "default_ttl_ms",
    "tickets_out",
    "labels",
];
const ENTRY: [&str; 15] = [
    "tool",
    "args",
    "raw",
    "status",
    "agent",
    "private",
    "bytes",
    "age_ms",
    "ttl_ms",
    "cost_ms",
    "uses",
    "uses_by_others",
    "time_saved_ms",
    "deps",
    "tags",
];

#[track_caller]
fn names(reply: &Reply) -> Vec<String> {
    reply.pairs().iter().map(|(name, _)| name.text().to_string()).collect()
}

/// The counters of a reply that are not 0.
#[track_caller]
fn counted(stats: &Reply) -> Vec<(&'static str, i64)> {
    COUNTERS.map(|name| (name, stats.get(name).int())).into_iter().filter(|(_, count)| *count != 0).collect()
}

#[test]
fn configuration_is_kept_and_changed_one_by_one() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    let shown = |server: &Server| {
        let stats = server.run("LTMC.CACHE.STATS c");
        let ttl = stats.get("default_ttl_ms");
        let numbers = ["bytes_max", "entries_max"].map(|name| stats.get(name).int());
        (numbers, (!ttl.is_nil()).then(|| ttl.int()), stats.get("policy").text().to_string())
    };
    assert_eq!(shown(&server), ([67_108_864, 10_000], None, "GDSF".into()));
    for (options, bytes, entries, ttl, policy) in [
        ("MAXBYTES 5000", 5000, 10_000, None, "GDSF"),
        ("maxentries 12", 5000, 12, None, "GDSF"),
        ("PX 700", 5000, 12, Some(700), "GDSF"),
        ("POLICY lru", 5000, 12, Some(700), "LRU"),
        ("EX 7 policy LFU", 5000, 12, Some(7000), "LFU"),
        ("PX 0 MAXENTRIES 13 MAXBYTES 4096 POLICY GDSF", 4096, 13, None, "GDSF"),
        ("", 4096, 13, None, "GDSF"),
    ] {
        server.run(&format!("LTMC.CACHE.CONFIG c {options}")).ok();
        assert_eq!(shown(&server), ([bytes, entries], ttl, policy.to_string()), "{options}");
    }
    // A cache that a put has created takes them, too, and stays from then on.
    put(&server, "d t 1 v");
    server.run("LTMC.CACHE.CONFIG d MAXENTRIES 1").ok();
    server.run("LTMC.CACHE.INVALIDATE d ALL").int();
    assert_eq!(server.run("LTMC.CACHE.STATS d").get("entries_max").int(), 1);
}

#[test]
fn statistics_say_what_happened_in_all_and_with_each_tool() {
    let server = Server::start();
    let computes = ticket(&server, "c a 1 AGENT ada");
    assert_eq!(found(&server, "c a 1"), miss());
    put(&server, &format!("c a 1 12345 TICKET {computes} COST 700 AGENT ada"));
    get(&server, "c a 1 AGENT ada");
    get(&server, "c a 1 AGENT bob");
    get(&server, "c a 1");
    put(&server, "c b 1 no NEGATIVE COST 10 PX 1000 STALE 1000000");
    get(&server, "c b 1");
    set_clock(&server, 1001);
    get(&server, "c b 1");
    get(&server, "c b 1");
    put(&server, "c b 2 v PX 5 DEPS 1 d TAGS 1 g");
    set_clock(&server, 2000);
    wait_until("it is over", || stat(&server, "expired") == 1);
    put(&server, "c d 1 v DEPS 1 d");
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c DEP 1 d").int(), 1);
    let all = server.run("LTMC.CACHE.STATS c");
    assert_eq!(names(&all), [&WHOLE[..], &COUNTERS].concat());
    assert_eq!(
        counted(&all),
        [
            ("hits", 3),
            ("stale_hits", 2),
            ("negative_hits", 1),
            ("misses", 3),
            ("tickets", 2),
            ("puts", 4),
            ("expired", 1),
            ("invalidated", 1),
            ("shared_hits", 2),
            ("calls_saved", 6),
            ("time_saved_ms", 3 * 700 + 3 * 10),
            ("bytes_saved", 3 * 5 + 3 * 2),
        ]
    );
    assert_eq!((stat(&server, "entries"), stat(&server, "tickets_out"), stat(&server, "labels")), (2, 1, 3));
    let of = |tool: &str| server.run(&format!("LTMC.CACHE.STATS c TOOL {tool}"));
    assert_eq!(names(&of("a")), [&["tool", "entries"][..], &COUNTERS].concat());
    assert_eq!((of("a").get("tool").text(), of("a").get("entries").int()), ("a", 1));
    assert_eq!(
        counted(&of("a")),
        [
            ("hits", 3),
            ("misses", 2),
            ("tickets", 1),
            ("puts", 1),
            ("shared_hits", 2),
            ("calls_saved", 3),
            ("time_saved_ms", 2100),
            ("bytes_saved", 15)
        ]
    );
    assert_eq!(counted(&of("d")), [("puts", 1), ("invalidated", 1)], "a tool is remembered without its answers");
    assert_eq!((of("none").get("entries").int(), counted(&of("none"))), (0, vec![]));
    assert!(server.run("LTMC.CACHE.STATS none TOOL a").is_nil());
}

#[test]
fn the_answers_used_most_are_shown_with_who_put_them() {
    let server = Server::start();
    assert!(server.run("LTMC.CACHE.TOP c").array().is_empty());
    for n in 0..20 {
        put(&server, &format!("c t {n} v{n} AGENT a{} COST 10 DEPS 1 d TAGS 2 g h", n % 2));
        (0..n).for_each(|_| drop(get(&server, &format!("c t {n} AGENT a0"))));
    }
    let top = server.run("LTMC.CACHE.TOP c");
    let uses: Vec<(String, i64)> =
        top.array().iter().map(|entry| (entry.get("args").text().into(), entry.get("uses").int())).collect();
    let expected: Vec<(String, i64)> = (10..20).rev().map(|n| (n.to_string(), n)).collect();
    assert_eq!(uses, expected, "ten if nothing is said");
    let first = &top.array()[0];
    assert_eq!(names(first), ENTRY);
    for (name, text) in [("tool", "t"), ("args", "19"), ("status", "FRESH"), ("agent", "a1")] {
        assert_eq!(first.get(name).text(), text);
    }
    for (name, number) in
        [("raw", 0), ("private", 0), ("bytes", 3), ("cost_ms", 10), ("uses_by_others", 19), ("time_saved_ms", 190)]
    {
        assert_eq!(first.get(name).int(), number, "{name}");
    }
    assert_eq!(
        (first.get("deps").texts(), first.get("tags").texts()),
        (vec!["d".into()], vec!["g".into(), "h".into()])
    );
    assert_eq!(top.array()[1].get("uses_by_others").int(), 0, "by who put it");
    assert_eq!(server.run("LTMC.CACHE.TOP c LIMIT 3").array().len(), 3);
    assert_eq!(server.run("LTMC.CACHE.TOP c LIMIT 1000").array().len(), 19, "who was never used is not shown");
    assert!(server.run("LTMC.CACHE.TOP c LIMIT 0").array().is_empty());
    server.run("LTMC.CACHE.INVALIDATE c AGENT a1").int();
    assert_eq!(server.run("LTMC.CACHE.TOP c LIMIT 2").array()[0].get("args").text(), "18");
}

#[test]
fn what_is_used_less_is_shown_once_what_was_used_more_is_gone() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    send_all(&server, 0..3000, |n| {
        format!("LTMC.CACHE.PUT c t {n} v TAGS 1 {}", if n < 2500 { "hot" } else { "warm" })
    });
    for _ in 0..3 {
        send_all(&server, 0..2500, |n| format!("LTMC.CACHE.GET c t {n}"));
    }
    send_all(&server, 2500..3000, |n| format!("LTMC.CACHE.GET c t {n}"));
    let uses = |server: &Server| -> Vec<i64> {
        server.run("LTMC.CACHE.TOP c LIMIT 1000").array().iter().map(|entry| entry.get("uses").int()).collect()
    };
    let before = uses(&server);
    assert!(before.len() == 1000 && before.iter().all(|uses| *uses == 3), "{} shown", before.len());
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c TAG 1 hot").int(), 2500);
    wait_until("they are removed", || stat(&server, "entries") == 500);
    send_all(&server, 2500..3000, |n| format!("LTMC.CACHE.GET c t {n}"));
    let after = uses(&server);
    assert!(after.len() == 500 && after.iter().all(|uses| *uses == 2), "{} shown", after.len());
}

#[test]
fn a_scan_shows_everything_that_was_there_all_the_time() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.CACHE.SCAN c 0"), Reply::Array(vec![Reply::Bulk(b"0".to_vec()), Reply::Array(vec![])]));
    send_all(&server, 0..500, |n| format!("LTMC.CACHE.PUT c t{} {n} v TAGS 1 g{}", n % 2, n % 5));
    for count in [1, 7, 499, 500, 1000] {
        assert_eq!(scanned(&server, count), (0..500).collect::<Vec<_>>(), "COUNT {count}");
    }
    let default = server.run("LTMC.CACHE.SCAN c 0");
    assert_eq!(default.array()[1].array().len(), 10);
    assert_eq!(names(&default.array()[1].array()[0]), ENTRY);
    // Those of one tool. The others are looked at, too.
    let odd = server.run("LTMC.CACHE.SCAN c 0 COUNT 100 TOOL t1");
    let shown: Vec<&str> = odd.array()[1].array().iter().map(|entry| entry.get("tool").text()).collect();
    assert_eq!((shown.len(), shown.iter().all(|tool| *tool == "t1")), (50, true));
    assert!(server.run("LTMC.CACHE.SCAN c 0 COUNT 1000 TOOL none").array()[1].array().is_empty());
    let beyond = server.run("LTMC.CACHE.SCAN c e9223372036854775807");
    assert_eq!((beyond.array()[0].text(), beyond.array()[1].array().len()), ("0", 0));
    // During a scan answers go, come, and come anew.
    let (mut cursor, mut seen) = ("0".to_string(), BTreeSet::new());
    for step in 0.. {
        let reply = server.run(&format!("LTMC.CACHE.SCAN c {cursor} COUNT 9"));
        seen.extend(reply.array()[1].array().iter().map(|entry| entry.get("args").text().to_string()));
        cursor = reply.array()[0].text().to_string();
        if cursor == "0" {
            break;
        }
        match step {
            3 => assert_eq!(server.run("LTMC.CACHE.INVALIDATE c TAG 1 g3").int(), 100),
            n if n < 30 => {
                put(&server, &format!("c t1 {} again", n * 10 + 1));
                put(&server, &format!("c new {} v", 1000 + n));
            }
            _ => {}
        }
    }
    let stayed: Vec<i64> = (0..500).filter(|n| n % 5 != 3).collect();
    let missing: Vec<&i64> = stayed.iter().filter(|n| !seen.contains(&n.to_string())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_scan_shows_stale_and_private_answers_for_what_they_are() {
    let server = Server::start();
    put(&server, "c t 1 v PX 1000 STALE 100000");
    put(&server, "c t 2 v NEGATIVE PX 100000");
    put(&server, "c t 3 v AGENT ada PRIVATE");
    ticket(&server, "c t 4");
    set_clock(&server, 1001);
    let shown = server.run("LTMC.CACHE.SCAN c 0");
    let states: Vec<(&str, &str, i64)> = shown.array()[1]
        .array()
        .iter()
        .map(|entry| (entry.get("args").text(), entry.get("status").text(), entry.get("private").int()))
        .collect();
    assert_eq!(
        states,
        [("1", "STALE", 0), ("2", "NEGATIVE", 0), ("3", "FRESH", 1)],
        "a call in flight has no answer yet"
    );
}

#[test]
fn an_answer_that_is_given_writes_and_replicates_nothing() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    put(&server, "c t 1 v AGENT a");
    put(&server, "c t 2 v NEGATIVE PX 600000");
    let _computes = ticket(&server, "c t 3");
    replica.wait_synced(&server);
    let mut watcher = server.client();
    watcher.run("WATCH c").ok();
    let ask = || {
        for _ in 0..50 {
            for what in ["c t 1 AGENT b", "c t 1 BETA 1", "c t 2", "c t 3", "c t 3 BLOCK 1"] {
                server.run(&format!("LTMC.CACHE.GET {what}"));
            }
            for line in ["LTMC.CACHE.STATS c", "LTMC.CACHE.TOP c", "LTMC.CACHE.SCAN c 0"] {
                server.run(line);
            }
        }
    };
    let state = || (server.debug_digest(), server.info_int("persistence", "rdb_changes_since_last_save"));
    let before = state();
    ask();
    assert_eq!(state(), before);
    let stream = replication_stream(&server, ask);
    assert!(stream.is_empty(), "{:?}", show_stream(&stream));
    let replies = watcher.pipeline(&["MULTI", "PING", "EXEC"]);
    assert_eq!(replies[2].array().len(), 1, "the key did not change");
    assert_eq!(stat(&server, "hits"), 200);
    assert_eq!(replica.run("LTMC.CACHE.STATS c").get("hits").int(), 0, "each node counts what it gave itself");
    watcher.run("WATCH c").ok();
    ticket(&server, "c t 4");
    assert!(watcher.pipeline(&["MULTI", "PING", "EXEC"])[2].is_nil(), "a ticket is a change");
}

#[test]
fn watching_a_cache_is_refused_with_the_reason() {
    let server = Server::start();
    put(&server, "c t 1 v");
    for block in ["", " BLOCK 0"] {
        let refused = server.run(&format!("LTMC.WATCH 1 c SINCE 0{block}"));
        assert_eq!(refused.error(), "ERR 'c' is of a type that keeps no log of events: it cannot be watched");
    }
}
