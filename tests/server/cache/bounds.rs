//! Bounds: what is evicted for what, and that what is counted is what is there.

use super::*;

/// The calls `t 1` to `t 9` that have an answer.
fn there(server: &Server) -> Vec<i64> {
    let mut numbers = scanned(server, 100);
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_answer_used_longest_ago_makes_room() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXENTRIES 3 POLICY LRU").ok();
    for n in 1..=3 {
        put(&server, &format!("c t {n} v"));
    }
    for (used, comes, left) in [(1, 4, [1, 3, 4]), (3, 5, [3, 4, 5]), (4, 6, [4, 5, 6]), (4, 4, [4, 5, 6])] {
        assert_eq!(found(&server, &format!("c t {used}")).0, "HIT");
        if comes == 5 {
            get(&server, "c t 4");
        }
        put(&server, &format!("c t {comes} v"));
        assert_eq!(there(&server), left);
    }
    assert_eq!((stat(&server, "entries"), stat(&server, "evicted")), (3, 3));
    assert_eq!(happened(&server, "cache.evicted"), 3);
}

#[test]
fn the_answer_used_least_often_makes_room() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXENTRIES 4 POLICY LFU").ok();
    for n in 1..=4 {
        put(&server, &format!("c t {n} v"));
        (0..10 - n).for_each(|_| drop(get(&server, &format!("c t {n}"))));
    }
    // 4 was used last, but least often. A new answer does not go at once.
    for (comes, left) in [(5, [1, 2, 3, 5]), (6, [1, 2, 3, 6])] {
        put(&server, &format!("c t {comes} v"));
        assert_eq!(there(&server), left);
    }
}

#[test]
fn the_answer_that_is_worth_least_makes_room() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXENTRIES 4").ok();
    let large = "x".repeat(4000);
    put(&server, "c t 1 v COST 1000");
    put(&server, &format!("c t 2 {large} COST 1000"));
    put(&server, "c t 3 v COST 10");
    put(&server, "c t 4 v COST 500");
    // A small, costly answer that is used often is worth much. The level of evicted answers rises
    // slowly.
    (0..3).for_each(|_| drop(get(&server, "c t 4")));
    put(&server, "c t 5 v COST 100000");
    assert_eq!(there(&server), [1, 2, 4, 5], "cheap");
    put(&server, "c t 6 v COST 100000");
    assert_eq!(there(&server), [1, 4, 5, 6], "large for what it costs");
    put(&server, "c t 7 v COST 100000");
    assert_eq!(there(&server), [4, 5, 6, 7], "used less often");
}

#[test]
fn bytes_never_pass_the_bound_and_are_used_up_to_it() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 1000000").ok();
    let mut client = server.client();
    for round in 0..40 {
        let lines: Vec<String> = (0..50)
            .map(|n| {
                let number = round * 50 + n;
                format!("LTMC.CACHE.PUT c t {number} {} COST {}", "x".repeat(100 + number * 7 % 3000), number % 13)
            })
            .collect();
        let replies = client.pipeline(&lines);
        assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
        let bytes = stat(&server, "bytes");
        assert!(bytes <= 1_000_000, "{bytes}");
    }
    assert!(stat(&server, "bytes") > 950_000);
    assert_eq!(stat(&server, "entries") + stat(&server, "evicted"), 2000);
    // A larger answer that replaces a small one needs room, too.
    let last = there(&server)[0];
    server.cmd(&["LTMC.CACHE.PUT", "c", "t", &last.to_string(), &"y".repeat(300_000)]).ok();
    let bytes = stat(&server, "bytes");
    assert!((650_000..=1_000_000).contains(&bytes), "{bytes}");
    assert_eq!(get(&server, &format!("c t {last}")).get("value").bytes().len(), 300_000);
}

#[test]
fn an_answer_that_never_fits_is_refused_and_nothing_makes_room_for_it() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 10000").ok();
    put(&server, &format!("c t 1 {}", "x".repeat(3000)));
    let computes = ticket(&server, "c t 2");
    let before = stat(&server, "evicted");
    let refused = server.run(&format!("LTMC.CACHE.PUT c t 2 {} TICKET {computes}", "x".repeat(10_000)));
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains("MAXBYTES") && refused.error().contains("ltmc.cache-bytes-max"), "{refused:?}");
    assert_eq!(stat(&server, "evicted"), before);
    assert_eq!(found(&server, "c t 1").0, "HIT");
    // The refused answer has ended its ticket: the next one computes.
    let computes = ticket(&server, "c t 2");
    put(&server, &format!("c t 2 {} TICKET {computes}", "x".repeat(8_000)));
    assert_eq!(there(&server), [2]);
    server.run("CONFIG SET ltmc.cache-bytes-max 5000").ok();
    assert_eq!(server.run(&format!("LTMC.CACHE.PUT d t 2 {}", "x".repeat(8_000))).error_code(), "LIMIT");
    assert_eq!(server.run("EXISTS d").int(), 0);
}

#[test]
fn labels_count_for_the_bound() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 1000000").ok();
    let label = |n: usize, of: usize| format!("{n}-{of}-{}", "d".repeat(900));
    let labels = |n: usize| (0..100).map(|of| label(n, of)).collect::<Vec<_>>().join(" ");
    for n in 0..30 {
        put(&server, &format!("c t {n} v DEPS 100 {}", labels(n)));
        let used = server.run("MEMORY USAGE c").int();
        assert!(used < 1_300_000, "{used} bytes are used for {n} answers");
    }
    assert!(stat(&server, "entries") >= 4, "{} fit", stat(&server, "entries"));
    let refused =
        server.run(&format!("LTMC.CACHE.PUT c t x v RAW DEPS 128 {} TAGS 128 {}", many_labels(1), many_labels(2)));
    refused.ok();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 100000").ok();
    wait_until("it has shrunk", || server.run("MEMORY USAGE c").int() < 200_000);
    let refused = server.run(&format!("LTMC.CACHE.PUT c t x v RAW DEPS 128 {}", many_labels(3)));
    assert_eq!(refused.error_code(), "LIMIT", "{refused:?}");
}

fn many_labels(of: usize) -> String {
    (0..128).map(|n| format!("{of}-{n}-{}", "l".repeat(1000))).collect::<Vec<_>>().join(" ")
}

#[test]
fn lower_bounds_shrink_a_cache_in_the_background() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.sweep-batch-max 10").ok();
    send_all(&server, 0..5000, |n| format!("LTMC.CACHE.PUT c t {n} {}", "x".repeat(200)));
    let full = stat(&server, "bytes");
    let replies =
        server.client().pipeline(&["MULTI", "LTMC.CACHE.CONFIG c MAXENTRIES 1000", "LTMC.CACHE.STATS c", "EXEC"]);
    assert!(replies[3].array()[1].get("entries").int() > 4900, "not at once");
    wait_until("it has shrunk", || stat(&server, "entries") == 1000);
    server.run(&format!("LTMC.CACHE.CONFIG c MAXBYTES {}", full / 10)).ok();
    wait_until("it has shrunk further", || stat(&server, "bytes") <= full / 10);
    let left = stat(&server, "entries");
    assert!((450..=520).contains(&left), "{left}");
    assert_eq!(stat(&server, "evicted"), 5000 - left);
    assert_eq!(there(&server).len() as i64, left);
}

#[test]
fn a_cache_is_made_with_what_the_settings_say_and_keeps_it() {
    let server = Server::start();
    let set = "CONFIG SET ltmc.cache-bytes-max 123456 ltmc.cache-entries-max 7 ltmc.cache-ttl-ms 5000";
    server.run(set).ok();
    put(&server, "c t 1 v");
    server.run("CONFIG SET ltmc.cache-bytes-max 999999 ltmc.cache-entries-max 9 ltmc.cache-ttl-ms 0").ok();
    let stats = server.run("LTMC.CACHE.STATS c");
    let shown = ["bytes_max", "entries_max", "default_ttl_ms"].map(|name| stats.get(name).int());
    assert_eq!(shown, [123_456, 7, 5000]);
    for n in 0..20 {
        put(&server, &format!("c t {n} v"));
    }
    assert_eq!(stat(&server, "entries"), 7);
}

#[test]
fn tickets_are_bounded_in_number_and_bytes() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-tickets-max 3").ok();
    for n in 0..3 {
        ticket(&server, &format!("c t {n}"));
    }
    let without = get(&server, "c t 3 BLOCK 0");
    assert_eq!((status_and_value(&without), ticket_in(&without)), (miss(), None));
    ticket(&server, "d t 3");
    server.run("CONFIG SET ltmc.cache-tickets-max 1000000").ok();
    server.run("LTMC.CACHE.CONFIG e MAXBYTES 100000").ok();
    let args = "x".repeat(10_000);
    let replies: Vec<Reply> = (0..50).map(|n| server.run(&format!("LTMC.CACHE.GET e t {n}{args} RAW"))).collect();
    let given = replies.iter().take_while(|reply| ticket_in(reply).is_some()).count();
    assert!((10..30).contains(&given), "{given} tickets");
    assert!(replies[given..].iter().all(|reply| ticket_in(reply).is_none()), "{:?}", replies[given]);
    assert!(server.run("MEMORY USAGE e").int() < 300_000);
}

#[test]
fn what_is_counted_is_what_the_server_uses() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    for (value, labels) in [(10, 0), (100, 2), (1000, 0), (1000, 4)] {
        let before = (server.info_int("memory", "used_memory"), stat(&server, "memory_bytes"));
        let value = "x".repeat(value);
        let deps =
            |n: usize| (0..labels).map(|of| format!("label-{}", n * 7 % 1000 + of)).collect::<Vec<_>>().join(" ");
        send_all(&server, 0..20_000, |n| {
            format!("LTMC.CACHE.PUT c tool {n} {value} PX {FAR_MS} DEPS {labels} {}", deps(n))
        });
        let used = server.info_int("memory", "used_memory") - before.0;
        let counted = stat(&server, "memory_bytes") - before.1;
        let share = counted as f64 / used as f64;
        eprintln!(
            "{} bytes, {labels} labels: {} bytes each, counted {counted} of {used}: {share:.2}",
            value.len(),
            used / 20_000
        );
        assert!((0.8..1.25).contains(&share), "counted {counted} of {used}");
        server.run("LTMC.CACHE.INVALIDATE c ALL").int();
        wait_until("all are removed", || stat(&server, "entries") == 0);
    }
}
