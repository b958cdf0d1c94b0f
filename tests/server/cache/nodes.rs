//! What only one node decides: replicas follow, a failover gives tickets to the next, and slots
//! move with their caches.

use super::*;

#[test]
fn a_replica_gives_no_tickets_and_ends_nothing() {
    let mut primary = Server::start();
    let replica = primary.replica();
    // Longer than the replica may take to come up, shorter than its clock is moved.
    put(&primary, "c t 1 v PX 60000");
    put(&primary, "c t 2 v PX 60000 STALE 10000000");
    let computes = ticket(&primary, "c t 3 LEASE 60000");
    replica.wait_synced(&primary);
    let before = primary.dataset();
    for line in [
        "LTMC.CACHE.GET c t 1",
        "LTMC.CACHE.GET c t 9 BLOCK 0",
        "LTMC.CACHE.PUT c t 1 v",
        "LTMC.CACHE.FAIL c t 3 5",
        "LTMC.CACHE.INVALIDATE c ALL",
        "LTMC.CACHE.CONFIG c",
    ] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line}");
    }
    assert_eq!(replica.run("LTMC.CACHE.STATS c").get("entries").int(), 2);
    replica.run("CONFIG SET replica-read-only no").ok();
    for line in ["LTMC.CACHE.GET c t 1", "LTMC.CACHE.PUT c t 1 v", "LTMC.CACHE.INVALIDATE c ALL"] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line} on a replica that may be written to");
    }
    set_clock(&replica, 100_000);
    assert_eq!(scanned(&replica, 10), [2], "what is over is not shown");
    assert_same("it does nothing about it", &before, &replica.dataset());
    assert_eq!(happened(&replica, "cache.expired"), 0);
    primary.kill();
    replica.promote();
    wait_until("the new primary removes it", || stat(&replica, "entries") == 1);
    assert_eq!(stat(&replica, "tickets_out"), 0);
    assert_eq!(found(&replica, "c t 2"), answer("STALE", "v"));
    assert!(ticket(&replica, "c t 3") > computes);
}

#[test]
fn waiters_of_a_primary_that_becomes_a_replica_are_sent_away() {
    let primary = Server::start();
    let server = Server::start();
    let computes = ticket(&server, "c t 1");
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters, |_| "LTMC.CACHE.GET c t 1 BLOCK 0".into());
    server.follow(&primary);
    assert_sent_away(&mut waiters);
    assert_idle(&server);
    assert_eq!(server.run("LTMC.CACHE.GET c t 1 BLOCK 0").error_code(), "READONLY");
    server.promote();
    assert!(ticket(&server, "c t 1") > computes);
}

#[test]
fn a_ticket_of_the_old_primary_is_waited_for_a_little_and_then_given_on() {
    let mut primary = Server::start();
    let replica = primary.replica();
    replica.run("CONFIG SET ltmc.cache-orphan-ms 300000").ok();
    let tickets = [1, 2].map(|n| ticket(&primary, &format!("c t {n} LEASE 600000")));
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    let mut waiters = replica.clients(2);
    replica.block_in_turn(&mut waiters, |n| format!("LTMC.CACHE.GET c t {} BLOCK 0", n + 1));
    // One client continues over a new connection, the other is gone for good.
    put(&replica, &format!("c t 1 v TICKET {}", tickets[0]));
    assert_eq!(status_and_value(&waiters[0].recv()), answer("HIT", "v"));
    assert_eq!(waiting(&replica), 1);
    set_clock(&replica, 300_001);
    let next = promoted(&waiters[1].recv());
    assert!(next > tickets[1]);
    put_is_stale(&replica, &format!("c t 2 late TICKET {}", tickets[1]));
    put(&replica, &format!("c t 2 v TICKET {next}"));
    assert_idle(&replica);
}

#[test]
fn a_slot_that_moves_takes_answers_tickets_and_labels_along_and_sends_waiters_after_it() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[1 - from]);
    new.run("CONFIG SET ltmc.cache-orphan-ms 600000").ok();
    put(old, "{t}:c t 1 v DEPS 1 d");
    put(old, "{t}:c t 2 v DEPS 1 other");
    let tickets = [3, 4].map(|n| ticket(old, &format!("{{t}}:c t {n} LEASE 600000")));
    let mut waiters = old.clients(2);
    old.block_in_turn(&mut waiters, |n| format!("LTMC.CACHE.GET {{t}}:c t {} BLOCK {}", n + 3, n * 600_000));
    cluster.migrate_slot(slot, from, 1 - from);
    for waiter in &mut waiters {
        assert_eq!(waiter.recv().error(), format!("MOVED {slot} 127.0.0.1:{}", new.port()));
    }
    assert_idle(old);
    assert_eq!(old.run("LTMC.CACHE.GET {t}:c t 1").error_code(), "MOVED");
    assert_eq!(found(new, "{t}:c t 1"), answer("HIT", "v"));
    let mut again = waiter(new, "{t}:c t 3");
    put(new, &format!("{{t}}:c t 3 v TICKET {}", tickets[0]));
    assert_eq!(status_and_value(&again.recv()), answer("HIT", "v"));
    let mut again = waiter(new, "{t}:c t 4");
    // The offset of the clock counts as a key.
    let offset = (600_001..).find(|offset| cluster.owner(cluster.slot(&offset.to_string())) == 1 - from);
    set_clock(new, offset.expect("half of them are on each node"));
    assert!(promoted(&again.recv()) > tickets[1]);
    assert_eq!(new.run("LTMC.CACHE.INVALIDATE {t}:c DEP 1 d").int(), 1);
    assert_eq!(found(new, "{t}:c t 2"), answer("HIT", "v"));
}
