//! Two processes that use one name.

use crate::harness::*;

/// How many connections hold the only grant of `key`.
fn connections(server: &Server, key: &str) -> (i64, i64) {
    let info = server.cmd(&["LTMC.LOCK.INFO", key]);
    let holder = &info.get("holders").array()[0];
    (holder.get("connections").int(), holder.get("levels").int())
}

#[test]
fn lock_info_tells_that_two_connections_hold_one_lock() {
    let server = Server::start();
    let (mut one, mut other) = (server.client(), server.client());
    let fence = one.cmd(&["LTMC.LOCK", "lock", "worker"]).int();
    assert_eq!(connections(&server, "lock"), (1, 1));
    assert_eq!(one.cmd(&["LTMC.LOCK", "lock", "worker"]).int(), fence);
    assert_eq!(connections(&server, "lock"), (1, 2), "the same connection again");
    assert_eq!(other.cmd(&["LTMC.LOCK", "lock", "worker"]).int(), fence, "an owner is a name");
    assert_eq!(connections(&server, "lock"), (2, 3));

    drop(one);
    wait_until("one of them has left", || connections(&server, "lock") == (1, 3));
    let replica = server.replica();
    replica.wait_synced(&server);
    assert_eq!(connections(&replica, "lock"), (0, 3), "only the node that granted knows");
}

#[test]
fn connections_that_are_gone_make_room() {
    let server = Server::start();
    let mut first = server.client();
    first.cmd(&["LTMC.LOCK", "lock", "worker"]).int();
    for _ in 0..100 {
        server.client().cmd(&["LTMC.LOCK", "lock", "worker"]).int();
    }
    let mut last = server.clients(3);
    for client in &mut last {
        client.cmd(&["LTMC.LOCK", "lock", "worker"]).int();
    }
    wait_until("the others have left", || connections(&server, "lock").0 == 4);
}

#[test]
fn connections_follow_a_conversion() {
    let server = Server::start();
    let (mut one, mut other) = (server.client(), server.client());
    let fence = one.cmd(&["LTMC.LOCK", "lock", "worker", "SHARED"]).int();
    other.cmd(&["LTMC.LOCK", "lock", "worker", "SHARED"]).int();
    one.cmd(&["LTMC.LOCK.CONVERT", "lock", "worker", "TOKEN", &fence.to_string(), "EXCLUSIVE"]).int();
    assert_eq!(connections(&server, "lock").0, 2);
}

#[test]
fn a_waiter_that_was_served_counts() {
    let server = Server::start();
    let (mut one, mut other) = (server.client(), server.client());
    one.cmd(&["LTMC.LOCK", "lock", "first"]).int();
    other.send(&["LTMC.LOCK", "lock", "second", "BLOCK", "0"]);
    wait_until("it waits", || server.cmd(&["LTMC.LOCK.INFO", "lock"]).get("waiters_count").int() == 1);
    one.cmd(&["LTMC.UNLOCK", "lock", "first"]).int();
    other.recv().int();
    assert_eq!(connections(&server, "lock"), (1, 1));
}

/// How many heartbeats of `a` came without an epoch.
fn beats(server: &Server) -> i64 {
    server.cmd(&["LTMC.AGENT.GET", "agents", "a"]).get("beats_without_epoch").int()
}

#[test]
fn heartbeats_without_an_epoch_are_counted_after_a_second_registration() {
    let server = Server::start();
    let first = server.cmd(&["LTMC.REGISTER", "agents", "a"]).int().to_string();
    server.cmd(&["LTMC.HEARTBEAT", "agents", "a"]).int();
    assert_eq!(beats(&server), 0, "it is the only one");

    let second = server.cmd(&["LTMC.REGISTER", "agents", "a"]).int().to_string();
    server.cmd(&["LTMC.HEARTBEAT", "agents", "a"]).int();
    server.cmd(&["LTMC.HEARTBEAT", "agents", "a"]).int();
    server.cmd(&["LTMC.HEARTBEAT", "agents", "a", "EPOCH", &second]).int();
    assert_eq!(server.cmd(&["LTMC.HEARTBEAT", "agents", "a", "EPOCH", &first]).error_code(), "STALE");
    assert_eq!(beats(&server), 2);

    server.cmd(&["LTMC.DEREGISTER", "agents", "a"]);
    server.cmd(&["LTMC.REGISTER", "agents", "a"]).int();
    server.cmd(&["LTMC.HEARTBEAT", "agents", "a"]).int();
    assert_eq!(beats(&server), 0, "it took nobody's place");
}
