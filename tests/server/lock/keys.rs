//! Locks as keys of Redis: types, notifications, transactions, databases, copies, replicas.

use super::*;

#[test]
fn other_types_are_refused_and_refuse_locks() {
    let server = Server::start();
    server.run("SET text v").ok();
    for line in [
        "LTMC.LOCK text a",
        "LTMC.LOCK text a OPTIMISTIC",
        "LTMC.UNLOCK text a",
        "LTMC.LOCK.RENEW text a TOKEN 2 PX 1000",
        "LTMC.LOCK.CONVERT text a TOKEN 2 SHARED",
        "LTMC.LOCK.CHECK text 2",
        "LTMC.LOCK.INFO text",
        "LTMC.LOCK.BREAK text",
        "LTMC.MLOCK a 2 free text",
        "LTMC.GUARD text 2 PING",
        "LTMC.REPAIR text",
    ] {
        assert_eq!(server.run(line).error_code(), "WRONGTYPE", "{line}");
    }
    assert_eq!(server.run("EXISTS free").int(), 0);
    server.run("LTMC.LOCK k a").int();
    assert_eq!(server.run("TYPE k").text(), "ltmc-lock");
    for line in ["GET k", "LPUSH k v", "HSET k f v"] {
        assert_eq!(server.run(line).error_code(), "WRONGTYPE", "{line}");
    }
}

/// The names of the events of `key` while `action` runs. The last of them has to be `last`.
fn events_until(server: &Server, key: &str, last: &str, action: impl FnOnce()) -> Vec<String> {
    let mut listener = server.client();
    listener.run(&format!("SUBSCRIBE __keyspace@0__:{key}"));
    action();
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != last) {
        names.push(listener.recv().array()[2].text().to_string());
    }
    names
}

#[test]
fn every_visible_event_is_a_notification() {
    let server = Server::start();
    server.run("CONFIG SET notify-keyspace-events KEAd").ok();
    let own =
        |names: Vec<String>| -> Vec<String> { names.into_iter().filter(|name| name.starts_with("lock.")).collect() };
    let names = events_until(&server, "k", "lock.released", || {
        let fence = server.run("LTMC.LOCK k a PX 600000").int();
        server.run("LTMC.LOCK k a").int();
        server.run("LTMC.UNLOCK k a").int();
        server.run(&format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 60000")).int();
        let fence = server.run(&format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED")).int();
        server.run(&format!("LTMC.UNLOCK k a TOKEN {fence}")).int();
    });
    assert_eq!(
        own(names),
        ["lock.granted", "lock.reentered", "lock.unlocked", "lock.renewed", "lock.converted", "lock.released"]
    );
    let names = events_until(&server, "k", "lock.broken", || {
        let stamp = server.run("LTMC.LOCK k a OPTIMISTIC").int();
        server.run(&format!("LTMC.UNLOCK k a TOKEN {stamp}")).int();
        server.run("LTMC.LOCK k a").int();
        server.run("LTMC.LOCK.BREAK k").int();
    });
    assert_eq!(own(names), ["lock.stamped", "lock.committed", "lock.granted", "lock.broken"]);
    let names = events_until(&server, "k", "lock.granted", || {
        server.client().run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
        wait_until("it is released", || server.run("EXISTS k").int() == 0);
        server.run("LTMC.LOCK k b PX 600000").int();
    });
    assert_eq!(names[0], "lock.granted");
}

#[test]
fn a_lock_that_expires_under_a_waiter_says_so() {
    let server = Server::start();
    server.run("CONFIG SET notify-keyspace-events KEAd").ok();
    let names = events_until(&server, "k", "lock.released", || {
        server.run("LTMC.LOCK k long SHARED PX 600000").int();
        server.run("LTMC.LOCK k short SHARED PX 20").int();
        let mut waiting = server.client();
        waiting.send_line("LTMC.LOCK k c SHARED LIMIT 2 PX 600000 BLOCK 0");
        assert!(waiting.recv().int() > 0);
        server.run("LTMC.UNLOCK k c").int();
    });
    assert!(names.iter().any(|name| name == "lock.expired"), "{names:?}");
}

#[test]
fn a_replica_answers_questions_and_refuses_decisions() {
    let primary = Server::start();
    let replica = primary.replica();
    let fence = primary.run("LTMC.LOCK k a PX 600000").int();
    replica.wait_synced(&primary);
    for line in ["LTMC.LOCK k b", "LTMC.UNLOCK k a", "LTMC.MLOCK b 1 x", "LTMC.LOCK.BREAK k", "LTMC.GUARD k 2 PING"] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line}");
    }
    assert_eq!(replica.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
    assert_eq!(owners(&replica, "k", "holders"), ["a"]);
    replica.run("CONFIG SET replica-read-only no").ok();
    for line in ["LTMC.LOCK other b", "LTMC.UNLOCK k a"] {
        assert_eq!(replica.run(line).error_code(), "READONLY", "{line} on a replica that takes writes");
    }
}

#[test]
fn only_a_change_breaks_watch() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut client = server.client();
    let mut runs_after = |lines: &[&str]| {
        client.run("WATCH k").ok();
        lines.iter().for_each(|line| drop(server.run(line)));
        !client.pipeline(&["MULTI", "PING", "EXEC"])[2].is_nil()
    };
    assert!(runs_after(&[
        "LTMC.LOCK k b",
        "LTMC.LOCK k b PATH src",
        "LTMC.UNLOCK k b",
        "LTMC.LOCK.CHECK k 2",
        "LTMC.LOCK.INFO k",
        "LTMC.MLOCK b 2 k x",
        "LTMC.LOCK.BREAK k nobody",
    ]));
    for line in ["LTMC.LOCK k a", "LTMC.UNLOCK k a", "LTMC.UNLOCK k a", "LTMC.LOCK k b"] {
        assert!(!runs_after(&[line]), "{line}");
    }
}

#[test]
fn a_lock_costs_little_memory_and_its_growth_is_seen() {
    let server = Server::start();
    let usage = || server.run("MEMORY USAGE k").int();
    server.run("LTMC.LOCK k a SHARED").int();
    let one = usage();
    assert!((100..1000).contains(&one), "{one}");
    for number in 0..100 {
        server.run(&format!("LTMC.LOCK k owner{number} SHARED")).int();
    }
    let many = usage();
    assert!(many > one + 100 * 72 && many < one + 100 * 1000, "{one} {many}");
    for number in 0..100 {
        server.run(&format!("LTMC.UNLOCK k owner{number}")).int();
    }
    assert!(usage() < one + 1000, "{} after {one}", usage());
}

#[test]
fn an_owner_cannot_be_copied() {
    let server = Server::start();
    server.run("LTMC.LOCK k a").int();
    assert!(server.run("COPY k k2").is_error());
    assert_eq!(server.run("EXISTS k2").int(), 0);
}

#[test]
fn databases_are_apart() {
    let server = Server::start();
    let mut other = server.client();
    other.run("SELECT 3").ok();
    server.run("LTMC.LOCK k a PX 600000").int();
    assert!(other.run("LTMC.LOCK k b PX 600000").int() > 0);
    let mut waiting = server.client();
    waiting.run("SELECT 3").ok();
    waiting.send_line("LTMC.LOCK k c BLOCK 0");
    server.wait_blocked(1);
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert_eq!(waiting.recv_within(0), None);
    assert_eq!(other.run("LTMC.UNLOCK k b").int(), 1);
    assert!(waiting.recv().int() > 0);
}

#[test]
fn a_renamed_or_moved_lock_is_the_same_lock() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    server.run("RENAME k other").ok();
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK other {fence}")).int(), 1);
    assert_eq!(server.run("MOVE other 2").int(), 1);
    let mut client = server.client();
    client.run("SELECT 2").ok();
    assert_eq!(client.run(&format!("LTMC.LOCK.CHECK other {fence}")).int(), 1);
    assert!(client.run("LTMC.LOCK other b").is_nil());
}

#[test]
fn looking_at_other_databases_leaves_the_client_in_its_own() {
    let server = Server::start();
    let mut waiter = server.client();
    waiter.run("SELECT 5").ok();
    waiter.run("LTMC.LOCK k a").int();
    waiter.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    let mut client = server.client();
    assert_eq!(client.run("LTMC.LOCK.GRAPH").array().len(), 1);
    client.run("SET here 1").ok();
    assert_eq!(server.run("EXISTS here").int(), 1);
}

#[test]
fn ties_to_connections_follow_the_databases_that_swap() {
    let server = Server::start();
    let mut closing = server.client();
    closing.run("LTMC.LOCK k a PX 600000 ONDISCONNECT RELEASE").int();
    server.run("SWAPDB 0 1").ok();
    closing.close();
    let mut other = server.client();
    other.run("SELECT 1").ok();
    wait_until("it is released", || other.run("EXISTS k").int() == 0);
}

#[test]
fn a_lock_that_comes_after_its_connection_ended_is_released() {
    let server = Server::start();
    let mut client = server.client();
    let mut holder = server.client();
    let id = holder.id();
    holder.run("LTMC.LOCK k a PX 600000 ONDISCONNECT RELEASE").int();
    let dump = client.run("DUMP k").bytes().to_vec();
    client.pipeline(&["MULTI", "RENAME k renamed", &format!("CLIENT KILL ID {id}"), "EXEC"]);
    wait_until("the renamed one is released", || client.run("EXISTS renamed").int() == 0);
    client.cmd(&[b"RESTORE".as_slice(), b"restored", b"0", &dump]).ok();
    wait_until("the restored one is released", || client.run("EXISTS restored").int() == 0);
}

#[test]
fn a_lease_ends_though_its_expiry_was_taken_away() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 300").int();
    let dump = server.run("DUMP k").bytes().to_vec();
    server.run("PERSIST k");
    server.cmd(&[b"RESTORE".as_slice(), b"restored", b"0", &dump]).ok();
    wait_until("both are gone", || server.run("EXISTS k restored").int() == 0);
}

#[test]
fn a_request_id_belongs_to_its_owner() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a REQID 1").int();
    assert!(server.run("LTMC.LOCK k b REQID 1").is_nil(), "another owner's request is another request");
    assert_eq!(server.run("LTMC.LOCK k a REQID 1").int(), fence);
    let fences = server.run("LTMC.MLOCK a 2 x y REQID 2");
    assert_eq!(server.run("LTMC.MLOCK a 2 x y REQID 2").ints(), fences.ints());
    assert_eq!(server.run("LTMC.LOCK.INFO x").get("holders").array()[0].get("levels").int(), 1);
}

#[test]
fn a_stamp_guards_nothing_and_is_current_while_it_can_be_committed() {
    let server = Server::start();
    let stamp = server.run("LTMC.LOCK k a OPTIMISTIC").int();
    let check = || server.run(&format!("LTMC.LOCK.CHECK k {stamp}")).int();
    assert_eq!(check(), 1);
    assert_eq!(server.run(&format!("LTMC.GUARD k {stamp} SET {{k}} x")).error_code(), "ERR");
    server.run("LTMC.LOCK k b").int();
    assert_eq!(check(), 0, "somebody writes");
}

#[test]
fn a_holder_is_not_kept_from_more_by_those_who_wait_for_it() {
    let server = Server::start();
    let mut waiter = server.client();
    server.run("LTMC.LOCK k a SHARED").int();
    waiter.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    assert!(server.run("LTMC.LOCK k a EXCLUSIVE").int() > 0, "without BLOCK as with it");
    assert!(server.run("LTMC.LOCK k c SHARED").is_nil(), "others stay behind the waiter");
}

#[test]
fn who_waits_for_a_free_lock_is_shown() {
    let server = Server::start();
    let mut waiter = server.client();
    server.run("LTMC.LOCK {t}1 a").int();
    waiter.send_line("LTMC.MLOCK m 2 {t}1 {t}2 BLOCK 0");
    server.wait_blocked(1);
    let info = server.run("LTMC.LOCK.INFO {t}2");
    assert_eq!(info.get("mode").text(), "free");
    assert_eq!(info.get("waiters").array()[0].get("owner").text(), "m");
}
