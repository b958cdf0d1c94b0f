//! The tool cache: tickets that run out, looks that take none, answers that find no room.

use crate::harness::*;

/// The status in a reply, and whether there is a ticket in it.
#[track_caller]
fn status(reply: &Reply) -> (&str, bool) {
    (reply.get("status").text(), !reply.get("ticket").is_nil())
}

#[test]
fn who_finds_no_ticket_left_misses_and_is_no_error() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG small MAXBYTES 65536").ok();
    for (key, n) in [("small", 500), ("many", 30)] {
        server.run(&format!("CONFIG SET ltmc.cache-tickets-max {}", if key == "many" { 20 } else { 10_000 })).ok();
        let replies: Vec<Reply> = (0..n).map(|at| server.run(&format!("LTMC.CACHE.GET {key} t {at}"))).collect();
        let given = replies.iter().filter(|reply| status(reply) == ("MISS", true)).count();
        let without = replies.iter().filter(|reply| status(reply) == ("MISS", false)).count();
        assert!(given > 10 && without >= 10 && given + without == n, "{key}: {given} and {without}");
        // With BLOCK nobody would ever come, so the answer comes at once.
        assert_eq!(status(&server.run(&format!("LTMC.CACHE.GET {key} t {} BLOCK 0", n - 1))), ("MISS", false));
        server.run(&format!("LTMC.CACHE.PUT {key} t {} v", n - 1)).ok();
        // Tickets that take all bytes leave none for answers.
        let found = server.run(&format!("LTMC.CACHE.GET {key} t {}", n - 1));
        assert_eq!(found.get("status").text(), if key == "many" { "HIT" } else { "MISS" });
        let misses = server.run(&format!("LTMC.CACHE.STATS {key}")).get("misses").int();
        assert_eq!(misses, n as i64 + if key == "many" { 1 } else { 2 }, "{key}: all are counted");
    }
    // A cache that cannot even hold one ticket is not made.
    server.run("CONFIG SET ltmc.cache-bytes-max 4096").ok();
    let args = "x".repeat(20_000);
    assert_eq!(status(&server.run(&format!("LTMC.CACHE.GET new t {args} RAW"))), ("MISS", false));
    assert_eq!(server.run("EXISTS new").int(), 0);
}

/// All ways to look at a call.
fn looks(call: &str) -> [String; 2] {
    [format!("LTMC.CACHE.PEEK {call}"), format!("LTMC.CACHE.GET {call} PEEK")]
}

#[test]
fn a_look_takes_no_ticket_and_makes_no_key() {
    let server = Server::start();
    let stream = replication_stream(&server, || {
        for line in looks("c t 1") {
            assert_eq!(status(&server.run(&line)), ("MISS", false), "{line}");
        }
    });
    assert_eq!(show_stream(&stream), Vec::<String>::new());
    assert_eq!(server.run("EXISTS c").int(), 0);
    server.run("LTMC.CACHE.PUT c t 1 old PX 1 STALE 600000").ok();
    server.run("LTMC.CACHE.PUT c t 2 v AGENT ada PRIVATE").ok();
    wait_until("it is stale", || server.run("LTMC.CACHE.PEEK c t 1").get("status").text() == "STALE");
    for line in looks("c t 1") {
        let reply = server.run(&line);
        assert_eq!((status(&reply), reply.get("value").text()), (("STALE", false), "old"), "{line}");
    }
    for line in looks("c t 2") {
        assert_eq!(status(&server.run(&line)), ("MISS", false), "{line}");
        assert_eq!(status(&server.run(&format!("{line} AGENT ada"))), ("HIT", false), "{line}");
        assert_eq!(status(&server.run(&format!("{line} AGENT ada MAXAGE 600000 RAW"))), ("MISS", false), "{line}");
    }
    let stats = server.run("LTMC.CACHE.STATS c");
    assert_eq!(["tickets", "tickets_out"].map(|name| stats.get(name).int()), [0, 0]);
    assert!(stats.get("hits").int() >= 2 && stats.get("misses").int() == 4 && stats.get("stale_hits").int() >= 3);
    for option in ["LEASE 5", "BLOCK 5", "BETA 1"] {
        let error = server.run(&format!("LTMC.CACHE.GET c t 1 PEEK {option}"));
        assert_eq!(error.error_code(), "ERR", "{option}");
        assert!(error.error().contains("PEEK goes without LEASE, BLOCK and BETA"), "{error:?}");
    }
}

#[test]
fn a_replica_and_a_user_who_may_only_read_look_too() {
    let server = Server::start();
    let replica = server.replica();
    server.run("LTMC.CACHE.PUT {team}:c t 1 v").ok();
    replica.wait_synced(&server);
    let before = server.dataset();
    for node in [&server, &replica] {
        let mut reader = node.user("reader", "%R~{team}:* -@all +ltmc.cache.peek");
        let hit = reader.run("LTMC.CACHE.PEEK {team}:c t 1");
        assert_eq!((status(&hit), hit.get("value").text()), (("HIT", false), "v"));
        assert_eq!(status(&reader.run("LTMC.CACHE.PEEK {team}:c t 2")), ("MISS", false));
        assert_eq!(reader.run("LTMC.CACHE.PEEK other t 2").error_code(), "NOPERM");
        // Each node counts for itself.
        assert_eq!(node.run("LTMC.CACHE.STATS {team}:c").get("hits").int(), 1);
    }
    assert_same("a look changes nothing", &before, &server.dataset());
    assert_same("nor on a replica", &before, &replica.dataset());
    assert_eq!(replica.run("LTMC.CACHE.GET {team}:c t 1 PEEK").error_code(), "READONLY");
}

/// A client with the ticket for `c t 1`, and clients that wait for its answer.
fn with_waiters(server: &Server, lines: &[&str]) -> (i64, Vec<Client>) {
    let ticket = server.run("LTMC.CACHE.GET c t 1 LEASE 600000").get("ticket").int();
    let mut waiters = server.clients(lines.len());
    server.block_in_turn(&mut waiters, |n| lines[n].to_string());
    (ticket, waiters)
}

#[test]
fn an_answer_too_large_for_the_cache_still_reaches_those_who_wait() {
    let server = Server::start();
    let replica = server.replica();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 4096").ok();
    let wait = "LTMC.CACHE.GET c t 1 BLOCK 0";
    let (ticket, mut waiters) = with_waiters(&server, &[wait, "LTMC.CACHE.GET c t 1 MAXAGE 0 BLOCK 0"]);
    let large = "x".repeat(10_000);
    let refused = server.run(&format!("LTMC.CACHE.PUT c t 1 {large} TICKET {ticket} PX 5000"));
    assert_eq!(refused.error_code(), "LIMIT");
    for waiter in &mut waiters {
        let reply = waiter.recv();
        assert_eq!((status(&reply), reply.get("value").text()), (("HIT", false), &*large));
        assert_eq!((reply.get("age_ms").int(), reply.get("ttl_ms").int()), (0, 5000));
    }
    // It is not kept, and its ticket has done its work.
    let next = server.run("LTMC.CACHE.GET c t 1 LEASE 600000").get("ticket").int();
    assert!(next > ticket);
    assert_eq!(server.run(&format!("LTMC.CACHE.PUT c t 1 v TICKET {ticket}")).error_code(), "STALE");
    server.run(&format!("LTMC.CACHE.PUT c t 1 v TICKET {next}")).ok();
    assert_eq!(server.run("LTMC.CACHE.STATS c").get("tickets_out").int(), 0);
    replica.wait_synced(&server);
    assert_same("the replica knows", &server.dataset(), &replica.dataset());
}

#[test]
fn a_private_answer_too_large_goes_to_its_agent_and_the_ticket_to_the_next() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXBYTES 4096").ok();
    let lines = [
        "LTMC.CACHE.GET c t 1 AGENT bob BLOCK 0",
        "LTMC.CACHE.GET c t 1 AGENT ada BLOCK 0",
        "LTMC.CACHE.GET c t 1 BLOCK 0",
    ];
    let (ticket, mut waiters) = with_waiters(&server, &lines);
    let large = "x".repeat(10_000);
    let put = format!("LTMC.CACHE.PUT c t 1 {large} TICKET {ticket} AGENT ada PRIVATE NEGATIVE");
    assert_eq!(server.run(&put).error_code(), "LIMIT");
    assert_eq!(status(&waiters[1].recv()), ("NEGATIVE", false));
    let promoted = waiters[0].recv();
    assert_eq!(status(&promoted), ("MISS", true), "bob waited longest of those who got nothing");
    server.run(&format!("LTMC.CACHE.PUT c t 1 small TICKET {}", promoted.get("ticket").int())).ok();
    assert_eq!(waiters[2].recv().get("value").text(), "small");
}

#[test]
fn an_answer_that_a_full_server_does_not_keep_reaches_those_who_wait() {
    let server = Server::start();
    let (ticket, mut waiters) = with_waiters(&server, &["LTMC.CACHE.GET c t 1 BLOCK 0"]);
    server.run("CONFIG SET maxmemory 1").ok();
    let refused = server.run(&format!("LTMC.CACHE.PUT c t 1 v TICKET {ticket}"));
    assert_eq!(refused.error(), "OOM command not allowed when used memory > 'maxmemory'.");
    assert_eq!(waiters[0].recv().get("value").text(), "v");
    assert_eq!(server.run("EXISTS c").int(), 0, "nothing is kept");
    server.run("CONFIG SET maxmemory 0").ok();
    server.run("LTMC.CACHE.PUT c t 1 v").ok();
}
