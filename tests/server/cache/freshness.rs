//! How long an answer is good: TTL, stale answers, MAXAGE, early recomputation.

use super::*;

#[test]
fn an_answer_is_gone_after_its_time() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-ttl-ms 40000").ok();
    server.run("LTMC.CACHE.CONFIG none PX 0").ok();
    for line in ["c t 1 v PX 10000", "c t 2 v EX 20", "c t 3 v", "none t 1 v"] {
        put(&server, line);
    }
    server.run("LTMC.CACHE.CONFIG c EX 30").ok();
    put(&server, "c t 4 v");
    let calls = ["c t 1", "c t 2", "c t 4", "c t 3"];
    for (gone, offset) in [(0, 9000), (1, 10_001), (2, 20_001), (3, 30_001), (4, 40_001)] {
        set_clock(&server, offset);
        let hits: Vec<bool> = calls.iter().map(|call| found(&server, call).0 == "HIT").collect();
        let expected: Vec<bool> = (0..calls.len()).map(|n| n >= gone).collect();
        assert_eq!(hits, expected, "after {offset} ms");
    }
    wait_until("all are removed", || happened(&server, "cache.expired") >= 1 && stat(&server, "expired") == 4);
    assert_eq!(stat(&server, "entries"), 0);
    assert_eq!(found(&server, "none t 1"), answer("HIT", "v"));
}

#[test]
fn who_is_the_first_to_ask_for_a_stale_answer_computes_the_next_one() {
    let server = Server::start();
    put(&server, "c t 1 old PX 10000 STALE 20000");
    set_clock(&server, 10_001);
    let first = get(&server, "c t 1");
    assert_eq!(status_and_value(&first), answer("STALE", "old"));
    assert_eq!(first.get("ttl_ms").int(), 0);
    let computes = ticket_in(&first).expect("the first has the ticket");
    for _ in 0..3 {
        let other = get(&server, "c t 1 BLOCK 0");
        assert_eq!(
            (status_and_value(&other), ticket_in(&other)),
            (answer("STALE", "old"), None),
            "the others do not wait"
        );
    }
    put(&server, &format!("c t 1 new TICKET {computes} PX 10000 STALE 20000"));
    let fresh = get(&server, "c t 1");
    assert_eq!((status_and_value(&fresh), ticket_in(&fresh)), (answer("HIT", "new"), None));
    // No client brings the next one: it is stale, and then gone.
    set_clock(&server, 20_002 + 10_001);
    assert_eq!(found(&server, "c t 1"), answer("STALE", "new"));
    set_clock(&server, 20_002 + 30_001);
    assert_eq!(found(&server, "c t 1"), miss());
    assert_eq!((stat(&server, "stale_hits"), stat(&server, "hits")), (5, 1));
}

#[test]
fn who_does_not_bring_the_next_answer_is_followed_by_another() {
    let server = Server::start();
    put(&server, "c t 1 old PX 1000 STALE 10000000");
    set_clock(&server, 1001);
    let first = ticket_in(&get(&server, "c t 1")).expect("the first has the ticket");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {first}")).int(), 1);
    let second = ticket_in(&get(&server, "c t 1 LEASE 5000")).expect("it was given back");
    assert!(second > first);
    assert_eq!(ticket_in(&get(&server, "c t 1")), None);
    set_clock(&server, 1001 + 5001);
    let third = ticket_in(&get(&server, "c t 1")).expect("its lease is over");
    put_is_stale(&server, &format!("c t 1 late TICKET {second}"));
    put(&server, &format!("c t 1 new TICKET {third}"));
    assert_eq!(found(&server, "c t 1"), answer("HIT", "new"));
}

#[test]
fn a_stale_answer_is_there_until_the_next_one_though_its_caller_may_not_wait() {
    let server = Server::start();
    put(&server, "c t 1 old PX 1000 STALE 10000000");
    set_clock(&server, 1001);
    server.run("CONFIG SET ltmc.cache-tickets-max 1").ok();
    ticket(&server, "c t 2");
    let reply = get(&server, "c t 1");
    assert_eq!(
        (status_and_value(&reply), ticket_in(&reply)),
        (answer("STALE", "old"), None),
        "no more tickets, but an answer"
    );
    assert_eq!(ticket_in(&get(&server, "c t 3")), None);
}

#[test]
fn who_asks_for_no_older_answer_than_that_computes_a_new_one() {
    let server = Server::start();
    put(&server, "c t 1 v AGENT ada");
    set_clock(&server, 20_000);
    assert_eq!(found(&server, "c t 1 MAXAGE 60000"), answer("HIT", "v"));
    let age = get(&server, "c t 1").get("age_ms").int();
    assert!((20_000..40_000).contains(&age), "{age}");
    let computes = ticket(&server, "c t 1 MAXAGE 19999");
    assert_eq!(found(&server, "c t 1"), answer("HIT", "v"), "it is good enough for others");
    let second = get(&server, "c t 1 MAXAGE 0");
    assert_eq!((status_and_value(&second), ticket_in(&second)), (miss(), None));
    let mut waits = waiter(&server, "c t 1 MAXAGE 19999");
    put(&server, &format!("c t 1 new TICKET {computes}"));
    assert_eq!(status_and_value(&waits.recv()), answer("HIT", "new"));
    assert_eq!(found(&server, "c t 1 MAXAGE 19999"), answer("HIT", "new"));
}

#[test]
fn who_waits_for_a_younger_answer_is_asked_to_compute_it_if_nobody_else_does() {
    let server = Server::start();
    put(&server, "c t 1 v");
    set_clock(&server, 20_000);
    let computes = ticket(&server, "c t 1 MAXAGE 100");
    let mut waits = waiter(&server, "c t 1 MAXAGE 100");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {computes}")).int(), 1);
    let next = promoted(&waits.recv());
    put(&server, &format!("c t 1 new TICKET {next}"));
    assert_eq!(found(&server, "c t 1 MAXAGE 100000"), answer("HIT", "new"));
}

#[test]
fn a_dear_answer_is_computed_anew_by_one_before_it_ends() {
    let server = Server::start();
    let dear = 3_153_600_000_000i64;
    put(&server, &format!("c t 1 v PX 600000 COST {dear}"));
    put(&server, "c t 2 v PX 600000");
    put(&server, &format!("c t 3 v COST {dear}"));
    for what in ["c t 1", "c t 1 BETA 0", "c t 2 BETA 1000", "c t 3 BETA 1000"] {
        let reply = get(&server, what);
        assert_eq!((status_and_value(&reply), ticket_in(&reply)), (answer("HIT", "v"), None), "{what}");
    }
    let replies: Vec<Reply> = (0..20).map(|_| get(&server, "c t 1 BETA 1000")).collect();
    assert!(replies.iter().all(|reply| status_and_value(reply) == answer("HIT", "v")), "all have the answer meanwhile");
    let tickets: Vec<i64> = replies.iter().filter_map(ticket_in).collect();
    assert_eq!(tickets.len(), 1, "{tickets:?}");
    assert_eq!(ticket_in(&replies[0]), Some(tickets[0]));
    put(&server, &format!("c t 1 new PX 600000 COST 0 TICKET {}", tickets[0]));
    let reply = get(&server, "c t 1 BETA 1000");
    assert_eq!(
        (status_and_value(&reply), ticket_in(&reply)),
        (answer("HIT", "new"), None),
        "what costs nothing waits for its end"
    );
}
