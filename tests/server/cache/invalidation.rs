//! Invalidating answers: which ones it concerns, that none of them is given afterwards, and what
//! becomes of answers that are being computed.

use super::flights::Line;
use super::*;

#[track_caller]
fn call_off(server: &Server, what: &str) -> i64 {
    server.run(&format!("LTMC.CACHE.INVALIDATE c {what}")).int()
}

/// The calls that have an answer, of `t 0` to `t 8`.
fn hits(server: &Server) -> Vec<usize> {
    (0..9).filter(|n| found(server, &format!("c t {n} BETA 0")).0 == "HIT").collect()
}

#[test]
fn what_has_a_label_is_called_off_and_counted_once() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    for (what, affected, left) in [
        ("DEP 1 d0", 3, vec![1, 2, 4, 5, 7, 8]),
        ("DEP 2 d0 d1", 6, vec![2, 5, 8]),
        ("DEP 3 d0 none d0", 3, vec![1, 2, 4, 5, 7, 8]),
        ("DEP 1 all", 9, vec![]),
        ("TAG 1 g1", 4, vec![0, 2, 4, 6, 8]),
        ("TAG 2 g0 g1", 9, vec![]),
        ("TAG 1 d0", 0, (0..9).collect()),
        ("DEP 1 g0", 0, (0..9).collect()),
        ("DEP 1 d", 0, (0..9).collect()),
        ("AGENT a2", 3, vec![0, 1, 3, 4, 6, 7]),
        ("AGENT t", 0, (0..9).collect()),
        ("TOOL t", 9, vec![]),
        ("TOOL a2", 0, (0..9).collect()),
        ("TOOL T", 0, (0..9).collect()),
        ("ALL", 9, vec![]),
    ] {
        for n in 0..9 {
            put(&server, &format!("c t {n} v DEPS 2 all d{} TAGS 1 g{} AGENT a{}", n % 3, n % 2, n % 3));
        }
        assert_eq!(call_off(&server, what), affected, "{what}");
        assert_eq!(hits(&server), left, "{what}");
        assert_eq!(call_off(&server, what), 0, "{what} once more");
        call_off(&server, "ALL");
        server.run("CONFIG RESETSTAT").ok();
    }
    assert_eq!(stat(&server, "entries"), 0);
}

#[test]
fn what_is_called_off_softly_is_stale_until_somebody_brings_the_next_one() {
    let server = Server::start();
    for n in 0..3 {
        put(&server, &format!("c t {n} old DEPS 1 d{n}"));
    }
    put(&server, "c t 3 no NEGATIVE DEPS 1 d0");
    assert_eq!(call_off(&server, "DEP 2 d0 d1 SOFT"), 3);
    let first = get(&server, "c t 0");
    assert_eq!(status_and_value(&first), answer("STALE", "old"));
    let computes = ticket_in(&first).expect("the first computes");
    assert_eq!(found(&server, "c t 1"), answer("STALE", "old"));
    assert_eq!(found(&server, "c t 3"), answer("STALE", "no"));
    let other = get(&server, "c t 2");
    assert_eq!((status_and_value(&other), ticket_in(&other)), (answer("HIT", "old"), None));
    put(&server, &format!("c t 0 new DEPS 1 d0 TICKET {computes}"));
    assert_eq!(found(&server, "c t 0"), answer("HIT", "new"));
    assert_eq!(call_off(&server, "ALL SOFT"), 4);
    for (n, value) in [(0, "new"), (1, "old"), (2, "old"), (3, "no")] {
        assert_eq!(found(&server, &format!("c t {n}")), answer("STALE", value), "{n}");
    }
    // A stale answer can be invalidated for good.
    assert_eq!(call_off(&server, "DEP 1 d0"), 2);
    assert_eq!([0, 1, 2, 3].map(|n| found(&server, &format!("c t {n}")).0), ["MISS", "STALE", "STALE", "MISS"]);
}

#[test]
fn a_slow_filler_cannot_bring_back_what_was_called_off() {
    let server = Server::start();
    for (what, is_void) in [
        ("ALL", true),
        ("ALL SOFT", true),
        ("TOOL t", true),
        ("TOOL t SOFT", true),
        ("AGENT ada", true),
        // It is known that these concern the answer only when it comes.
        ("DEP 1 d1", true),
        ("DEP 1 d2 SOFT", true),
        ("DEP 2 x d2", true),
        ("TAG 1 g", true),
        ("DEP 1 g", false),
        ("TAG 1 d1", false),
        ("DEP 1 other", false),
        ("TOOL other", false),
        ("AGENT bob", false),
    ] {
        put(&server, "c other 1 v");
        let computes = ticket(&server, "c t 1 AGENT ada");
        call_off(&server, what);
        let line = format!("LTMC.CACHE.PUT c t 1 v DEPS 2 d1 d2 TAGS 1 g AGENT ada TICKET {computes}");
        let reply = server.run(&line);
        if is_void {
            assert_eq!(reply.error_code(), "STALE", "{what}: {reply:?}");
            assert_eq!(found(&server, "c t 1").0, "MISS", "{what}");
            assert_eq!(server.run(&line).error_code(), "STALE", "{what}");
        } else {
            reply.ok();
            assert_eq!(found(&server, "c t 1").0, "HIT", "{what}");
        }
        // Tickets that are given after it are not concerned.
        server.run("DEL c").int();
        call_off(&server, what);
        let computes = ticket(&server, "c t 1 AGENT ada");
        put(&server, &format!("c t 1 v DEPS 2 d1 d2 TAGS 1 g AGENT ada TICKET {computes}"));
        server.run("DEL c").int();
    }
}

#[test]
fn a_filler_that_names_its_agent_only_with_its_answer_cannot_bring_it_back_either() {
    let server = Server::start();
    let computes = ticket(&server, "c t 1");
    call_off(&server, "AGENT ada");
    put_is_stale(&server, &format!("c t 1 v AGENT ada TICKET {computes}"));
    let computes = ticket(&server, "c t 1");
    call_off(&server, "AGENT ada");
    put(&server, &format!("c t 1 v AGENT bob TICKET {computes}"));
}

#[test]
fn who_computes_the_next_of_a_stale_answer_is_meant_by_what_that_depended_on() {
    let server = Server::start();
    for how in ["", " SOFT"] {
        server.run("DEL c");
        put(&server, "c t 1 old PX 1000 STALE 10000000 DEPS 1 d");
        let offset = if how.is_empty() { 1001 } else { 3000 };
        set_clock(&server, offset);
        let computes = ticket_in(&get(&server, "c t 1")).expect("it is stale");
        assert_eq!(call_off(&server, &format!("DEP 1 d{how}")), 1);
        // The new answer no longer depends on it, but it was computed from what was there before.
        put_is_stale(&server, &format!("c t 1 new TICKET {computes}"));
        assert_eq!(found(&server, "c t 1").0, if how.is_empty() { "MISS" } else { "STALE" });
    }
}

#[test]
fn an_answer_that_is_void_asks_the_next_waiter_to_compute() {
    let mut line = Line::start();
    put(&line.server, "c other 1 v DEPS 1 d");
    assert_eq!(line.server.run("LTMC.CACHE.INVALIDATE c DEP 1 d").int(), 1);
    assert_eq!(waiting(&line.server), 2, "whether it concerns them is not known yet");
    put_is_stale(&line.server, &format!("c t 1 v DEPS 1 d TICKET {}", line.computes));
    let next = promoted(&line.b.recv());
    put(&line.server, &format!("c t 1 new DEPS 1 d TICKET {next}"));
    line.ends_with_c("new");
}

#[test]
fn more_invalidations_than_are_remembered_void_all_tickets() {
    let server = Server::start();
    put(&server, "c other 1 v");
    let computes = ticket(&server, "c t 1");
    let deps = |from: usize| (from..from + 128).map(|n| format!("d{n}")).collect::<Vec<_>>().join(" ");
    for part in 0..32 {
        call_off(&server, &format!("DEP 128 {}", deps(part * 128)));
    }
    assert_eq!(stat(&server, "tickets_out"), 1, "4096 are remembered");
    call_off(&server, "DEP 1 d0");
    assert_eq!(stat(&server, "tickets_out"), 1, "none twice");
    call_off(&server, "TAG 1 d0");
    assert_eq!(stat(&server, "tickets_out"), 0);
    put_is_stale(&server, &format!("c t 1 v TICKET {computes}"));
}

const MANY: usize = 10_000;

/// Ten thousand answers of which only `batch` are removed at once.
fn many(batch: usize) -> Server {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    put(&server, "c t 1 v");
    call_off(&server, "ALL");
    send_all(&server, 0..MANY, |n| {
        format!("LTMC.CACHE.PUT c t {n} v DEPS 2 all d{} TAGS 1 g{} AGENT a{}", n % 100, n % 7, n % 3)
    });
    server.run(&format!("CONFIG SET ltmc.sweep-batch-max {batch}")).ok();
    server
}

#[test]
fn none_of_ten_thousand_is_given_once_it_is_called_off() {
    for what in ["ALL", "DEP 1 all", "TOOL t", "TAG 7 g0 g1 g2 g3 g4 g5 g6"] {
        let server = many(2);
        let mut client = server.client();
        let mut lines = vec![format!("LTMC.CACHE.INVALIDATE c {what}")];
        lines.extend((0..500).map(|n| format!("LTMC.CACHE.GET c t {}", (MANY - 1 - n * 20) % MANY)));
        lines.push(format!("LTMC.CACHE.INVALIDATE c {what}"));
        lines.extend(["LTMC.CACHE.SCAN c 0 COUNT 10000", "LTMC.CACHE.TOP c", "LTMC.CACHE.STATS c"].map(String::from));
        // A transaction, so that the scheduler has no turn in between.
        let lines: Vec<String> = ["MULTI".into()].into_iter().chain(lines).chain(["EXEC".into()]).collect();
        let replies = client.pipeline(&lines);
        let replies = replies.last().expect("EXEC answers").array().to_vec();
        assert_eq!(replies[0].int(), MANY as i64, "{what}");
        let given = replies[1..=500].iter().filter(|reply| status_and_value(reply) != miss()).count();
        assert_eq!(given, 0, "{what}");
        assert_eq!(replies[501].int(), 0, "{what}: they are called off already");
        assert!(replies[502].array()[1].array().is_empty() && replies[503].array().is_empty());
        assert!(replies[504].get("bytes").int() > 0, "most of them are still there");
        server.run("CONFIG SET ltmc.sweep-batch-max 1000").ok();
        wait_until("all are removed", || stat(&server, "entries") == 0);
        assert_eq!(stat(&server, "invalidated"), 1 + MANY as i64, "{what}: each once");
    }
}

#[test]
fn what_is_put_after_an_invalidation_is_not_concerned_by_it() {
    let server = many(1);
    let mut client = server.client();
    let lines = [
        "MULTI",
        "LTMC.CACHE.INVALIDATE c DEP 1 all",
        "LTMC.CACHE.PUT c t 5000 new DEPS 1 all",
        "LTMC.CACHE.INVALIDATE c ALL SOFT",
        "LTMC.CACHE.PUT c t 6000 newer DEPS 1 all",
        "LTMC.CACHE.GET c t 5000 BETA 0",
        "LTMC.CACHE.GET c t 6000",
        "LTMC.CACHE.GET c t 7000",
        "EXEC",
    ];
    let replies = client.pipeline(&lines)[8].array().to_vec();
    assert_eq!((replies[0].int(), replies[2].int()), (MANY as i64, 1));
    assert_eq!(status_and_value(&replies[4]), answer("STALE", "new"));
    assert_eq!(status_and_value(&replies[5]), answer("HIT", "newer"));
    assert_eq!(status_and_value(&replies[6]), miss());
    server.run("CONFIG SET ltmc.sweep-batch-max 1000").ok();
    wait_until("the others are removed", || stat(&server, "entries") == 2);
    assert_eq!(found(&server, "c t 5000"), answer("STALE", "new"));
    assert_eq!(found(&server, "c t 6000"), answer("HIT", "newer"));
}

#[test]
fn a_reload_or_a_failover_in_the_middle_of_an_invalidation_brings_nothing_back() {
    let mut server = many(1);
    let replica = server.replica();
    let dump = |server: &Server| {
        let replies = server.client().pipeline(&["MULTI", "LTMC.CACHE.INVALIDATE c DEP 1 all", "DUMP c", "EXEC"]);
        replies[3].array()[1].bytes().to_vec()
    };
    let dump = dump(&server);
    assert!(dump.len() > 10 * MANY, "most of them are still there");
    replica.wait_synced(&server);
    assert_eq!(replica.run("LTMC.CACHE.SCAN c 0 COUNT 100000").array()[1].array().len(), 0);
    server.kill();
    replica.promote();
    assert_eq!(found(&replica, "c t 9999"), miss());
    wait_until("the new primary goes on", || stat(&replica, "entries") == 0);
    let other = Server::start();
    other.run("CONFIG SET ltmc.sweep-batch-max 1").ok();
    other.cmd(&[b"RESTORE".as_slice(), b"c", b"0", &dump]).ok();
    for n in (0..MANY).step_by(97) {
        assert_eq!(found(&other, &format!("c t {n}")), miss(), "{n}");
    }
    other.run("CONFIG SET ltmc.sweep-batch-max 1000").ok();
    wait_until("it goes on there", || stat(&other, "entries") == 0);
}

#[test]
fn calling_off_again_and_again_what_is_stale_takes_no_memory() {
    let server = many(1);
    let before = server.run("MEMORY USAGE c SAMPLES 0").int();
    let mut client = server.client();
    let lines: Vec<String> = (0..200).map(|_| "LTMC.CACHE.INVALIDATE c DEP 1 all SOFT".into()).collect();
    let lines: Vec<String> = ["MULTI".into()].into_iter().chain(lines).chain(["EXEC".into()]).collect();
    client.pipeline(&lines);
    let after = server.run("MEMORY USAGE c SAMPLES 0").int();
    assert!(after < before * 2, "{before} bytes became {after}");
    server.run("CONFIG SET ltmc.sweep-batch-max 1000").ok();
    wait_until("all are stale", || stat(&server, "invalidated") > MANY as i64);
    assert_eq!(found(&server, "c t 9999"), answer("STALE", "v"));
}

#[test]
fn memory_is_where_it_was_before_once_everything_is_gone() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c").ok();
    put(&server, "c t 1 v DEPS 1 d TAGS 1 g AGENT a");
    call_off(&server, "ALL");
    let before = server.run("MEMORY USAGE c").int();
    for what in ["ALL", "DEP 1 all", "TAG 2 g0 g1", "TOOL t"] {
        send_all(&server, 0..MANY, |n| {
            format!("LTMC.CACHE.PUT c t {n} v DEPS 2 all only{n} TAGS 1 g{} AGENT a{n}", n % 2)
        });
        assert_eq!(stat(&server, "labels"), 1 + 1 + 2 + 2 * MANY as i64);
        let full = server.run("MEMORY USAGE c").int();
        assert!(full > 100 * MANY as i64, "{full}");
        assert_eq!(call_off(&server, what), MANY as i64);
        wait_until("all are removed", || stat(&server, "entries") == 0);
        assert_eq!((stat(&server, "bytes"), stat(&server, "labels")), (0, 0));
        let after = server.run("MEMORY USAGE c").int();
        // Tables that are empty keep room for a few.
        assert!(after <= before + 4096, "{what}: {before} bytes before, {after} after");
    }
}

#[test]
fn a_ticket_whose_lease_is_over_gives_who_waits_a_good_one_whatever_is_called_off_just_then() {
    for what in ["ALL", "TOOL t", "ALL SOFT", "DEP 1 none", "TAG 1 none"] {
        let server = Server::start();
        ticket(&server, "c t 1 LEASE 50");
        let (mut b, mut c) = (waiter(&server, "c t 1 LEASE 60000"), waiter(&server, "c t 1 LEASE 60000"));
        let mut caller = server.client();
        caller.run("MULTI").ok();
        // In one step, so that the scheduler has no turn between the end of the lease and the call.
        caller.run("DEBUG SLEEP 0.1");
        caller.run(&format!("LTMC.CACHE.INVALIDATE c {what}"));
        caller.run("EXEC");
        let next = promoted(&b.recv());
        put(&server, &format!("c t 1 v TICKET {next}"));
        assert_eq!(status_and_value(&c.recv()), answer("HIT", "v"), "{what}");
    }
}
