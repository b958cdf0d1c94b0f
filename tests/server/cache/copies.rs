//! COPY: the answers are copied, the tickets are not.

use super::durability::{make_everything, readable, CACHES};
use super::*;

#[test]
fn caches_with_everything_are_copied_in_every_way_and_persisted_everywhere() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_everything(&server);
    let seen = readable(&server);
    for cache in CACHES {
        assert_copied(&server, cache);
        assert_eq!(server.run(&format!("LTMC.CACHE.STATS {cache}.1")).get("tickets_out").int(), 0);
    }
    assert_eq!(readable(&server), seen);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_copy_has_the_answers_and_nobody_computes_for_it() {
    let server = Server::start();
    server.run("LTMC.CACHE.CONFIG c MAXENTRIES 100 PX 90000000 POLICY LRU").ok();
    put(&server, "c t 1 v DEPS 1 d TAGS 1 g AGENT ada");
    put(&server, "c t 2 none NEGATIVE PX 90000000");
    put(&server, "c t 3 old PX 90000000");
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c TOOL t SOFT").int(), 3);
    put(&server, "c t 1 v DEPS 1 d TAGS 1 g AGENT ada");
    put(&server, "c t 2 none NEGATIVE PX 90000000");
    // One is recomputed, one is computed for the first time.
    let (renews, computes) = (ticket_in(&get(&server, "c t 3")).expect("stale"), ticket(&server, "c t 4"));
    let mut waits = waiter(&server, "c t 4");
    assert_eq!(server.run("COPY c d").int(), 1);
    let stats = server.run("LTMC.CACHE.STATS d");
    let [out, entries, most] = ["tickets_out", "entries", "entries_max"].map(|name| stats.get(name).int());
    assert_eq!((out, entries, most, stats.get("policy").text()), (0, 3, 100, "LRU"));
    assert_eq!(stat(&server, "tickets_out"), 2);
    assert_eq!(found(&server, "d t 1"), answer("HIT", "v"));
    assert_eq!(found(&server, "d t 2"), answer("NEGATIVE", "none"));
    // An answer for one of the caches is no answer for the other.
    put_is_stale(&server, &format!("d t 3 new TICKET {renews}"));
    put_is_stale(&server, &format!("d t 4 new TICKET {computes}"));
    let next = get(&server, "d t 3");
    assert_eq!(status_and_value(&next), answer("STALE", "old"));
    assert!(ticket_in(&next).expect("to compute it anew") > computes, "fences go on growing");
    put(&server, &format!("d t 4 of-the-copy TICKET {}", ticket(&server, "d t 4")));
    put(&server, &format!("c t 4 of-the-original TICKET {computes}"));
    assert_eq!(status_and_value(&waits.recv()), answer("HIT", "of-the-original"));
    put(&server, &format!("c t 3 new TICKET {renews}"));
    // Labels lead to the copy's own answers.
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE d DEP 1 d").int(), 1);
    assert_eq!((found(&server, "d t 1"), found(&server, "c t 1")), (miss(), answer("HIT", "v")));
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE c TAG 1 g").int(), 1);
    assert_eq!(server.run("LTMC.CACHE.INVALIDATE d ALL").int(), 3);
    assert_eq!(found(&server, "c t 4"), answer("HIT", "of-the-original"));
}

#[test]
fn a_copy_knows_nobody_who_computes_for_the_original() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-orphan-ms 0").ok();
    put(&server, "c t 1 v");
    let mut holder = server.client();
    let first = promoted(&holder.run("LTMC.CACHE.GET c t 2"));
    server.run("COPY c d").int();
    let second = ticket(&server, "d t 2");
    let mut waits = waiter(&server, "c t 2");
    holder.close();
    assert!(promoted(&waits.recv()) > first, "of the original it is known that nobody computes any more");
    put(&server, &format!("d t 2 v TICKET {second}"));
    server.run("DEL d").int();
    assert_eq!(stat(&server, "tickets_out"), 1, "what becomes of the copy does not reach it");
}

#[test]
fn a_copy_of_a_cache_with_tickets_only_stays_with_nothing_in_it() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    let only = ticket(&server, "c t 1");
    assert_eq!(server.run("COPY c d").int(), 1);
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {only}")).int(), 1);
    assert_eq!((server.run("EXISTS c").int(), server.run("EXISTS d").int()), (0, 1));
    put(&server, "d t 1 v");
    server.run("LTMC.CACHE.INVALIDATE d ALL").int();
    assert_eq!(server.run("LTMC.CACHE.STATS d").get("entries").int(), 0);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn answers_of_a_copy_end_by_themselves() {
    let server = Server::start();
    let replica = server.replica();
    put(&server, "c t 1 v PX 60000");
    put(&server, "called t 1 v");
    server.run("COPY c d").int();
    server.run("COPY c c DB 5").int();
    server.run("DEL c").int();
    replica.wait_synced(&server);
    assert_eq!(replica.run("EXISTS d").int(), 1);
    set_clock(&server, 60_001);
    wait_until("it is over in all of them", || happened(&server, "cache.expired") == 2);
    assert_eq!(server.run("EXISTS d").int(), 0, "as the original would have gone");
    assert_eq!(server.info("keyspace").get("db5"), None);
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
}

#[test]
fn who_waits_for_what_is_copied_there_has_it() {
    let server = Server::start();
    put(&server, "c t 1 v");
    let computes = ticket(&server, "d t 1");
    let mut waits = waiter(&server, "d t 1");
    assert_eq!(server.run("COPY c d REPLACE").int(), 1);
    assert_eq!(status_and_value(&waits.recv()), answer("HIT", "v"));
    put_is_stale(&server, &format!("d t 1 w TICKET {computes}"));
}

#[test]
fn a_copy_gives_way_when_the_server_is_short_of_memory() {
    let server = Server::start();
    send_all(&server, 0..200, |n| format!("LTMC.CACHE.PUT c t {n} {}", "x".repeat(50_000)));
    server.run("COPY c d").int();
    server.run("UNLINK c").int();
    wait_until("the original is freed", || server.info_int("memory", "lazyfree_pending_objects") == 0);
    let used = server.info_int("memory", "used_memory");
    server.run(&format!("CONFIG SET maxmemory {}", used * 100 / 95)).ok();
    wait_until("answers of the copy go", || server.run("LTMC.CACHE.STATS d").get("entries").int() < 200);
}

#[test]
fn copies_share_their_values_in_memory() {
    let server = Server::start();
    send_all(&server, 0..100, |n| format!("LTMC.CACHE.PUT c t {n} {}", "x".repeat(50_000)));
    let before = server.info_int("memory", "used_memory");
    (0..20).for_each(|n| assert_eq!(server.run(&format!("COPY c copy{n}")).int(), 1));
    let more = server.info_int("memory", "used_memory") - before;
    assert!(more < 2_000_000, "{more} more bytes for 20 copies of 5000000");
    assert!(server.run("MEMORY USAGE copy7").int() > 5_000_000, "it counts fully wherever it is held");
    server.run("UNLINK c copy0").int();
    assert_eq!(found(&server, "copy7 t 50"), answer("HIT", &"x".repeat(50_000)));
}
