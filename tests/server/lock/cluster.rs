//! Locks in Redis Cluster: slots, hash tags, and what happens to waiting clients when a slot or a
//! primary moves.

use super::*;

/// The MOVED error that a client of any other node gets for this key now.
fn moved_text(cluster: &Cluster, key: &str) -> String {
    let slot = cluster.slot(key);
    let port = cluster.nodes[cluster.owner(slot)].port();
    format!("MOVED {slot} 127.0.0.1:{port}")
}

#[test]
fn keys_of_one_team_are_locked_together() {
    let cluster = Cluster::start(2);
    let node = cluster.node_of("{t}:a");
    let mut client = node.client();
    let fences = client.run("LTMC.MLOCK m 2 {t}:a {t}:b PX 600000").ints();
    assert_eq!(fences.len(), 2);
    assert_eq!(client.run("LTMC.MLOCK m 2 {t}:a {other}:b").error_code(), "CROSSSLOT");
    let guarded = format!("LTMC.GUARD {{t}}:a {} SET {{t}}:doc text", fences[0]);
    client.run(&guarded).ok();
    assert_eq!(client.run("GET {t}:doc").text(), "text");
    let across = format!("LTMC.GUARD {{t}}:a {} SET {{other}}:doc text", fences[0]);
    assert_eq!(client.run(&across).error_code(), "CROSSSLOT");
    let stranger = cluster.nodes.iter().find(|other| other.port() != node.port()).expect("there are two nodes");
    assert_eq!(stranger.run("LTMC.LOCK {t}:a z").error(), moved_text(&cluster, "{t}:a"));
}

#[test]
fn waiters_are_served_in_a_cluster_as_elsewhere() {
    let cluster = Cluster::start(2);
    let node = cluster.node_of("k");
    let fence = node.run("LTMC.LOCK k a PX 600000").int();
    let mut waiters = node.clients(2);
    node.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k w{n} PX 600000 BLOCK 0"));
    let renew = format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 20");
    assert_eq!(node.run(&renew).int(), 1);
    let first = waiters[0].recv().int();
    assert_eq!(unlock(node, "k", "w0"), 1);
    let second = waiters[1].recv().int();
    assert!(fence < first && first < second);
    node.run("DEL k");
    assert_idle(node);
}

#[test]
fn waiters_of_a_slot_that_moves_are_sent_to_the_new_node() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let to = 1 - from;
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[to]);
    let fence = old.run("LTMC.LOCK {t}:k a PX 600000 META text").int();
    let mut waiters = old.clients(3);
    let lines =
        ["LTMC.LOCK {t}:k b BLOCK 0", "LTMC.LOCK {t}:k c SHARED BLOCK 600000", "LTMC.MLOCK d 2 {t}:j {t}:k BLOCK 0"];
    old.block_in_turn(&mut waiters, |n| lines[n].into());
    cluster.begin_migration(slot, from, to);
    assert_eq!(waiting(old), 3, "an open slot sends nobody away");
    cluster.move_keys(slot, from, to);
    cluster.finish_migration(slot, to);
    for waiter in &mut waiters {
        assert_eq!(waiter.recv().error(), moved_text(&cluster, "{t}:k"));
    }
    assert_idle(old);

    assert_eq!(new.run(&format!("LTMC.LOCK.CHECK {{t}}:k {fence}")).int(), 1);
    let shown = new.run("LTMC.LOCK.INFO {t}:k");
    assert_eq!(shown.get("holders").array()[0].get("meta").text(), "text");
    let mut again = new.client();
    new.block_in_turn(std::slice::from_mut(&mut again), |_| "LTMC.LOCK {t}:k b BLOCK 0".into());
    assert_eq!(unlock(new, "{t}:k", "a"), 1);
    assert!(again.recv().int() > fence);
}

#[test]
fn a_lock_that_comes_with_its_slot_ends_by_its_lease() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let to = 1 - from;
    let fence = cluster.nodes[from].run("LTMC.LOCK {t}:k a PX 600000").int();
    cluster.migrate_slot(slot, from, to);
    let new = &cluster.nodes[to];
    let mut waiter = new.client();
    new.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK {t}:k b BLOCK 0".into());
    let renew = format!("LTMC.LOCK.RENEW {{t}}:k a TOKEN {fence} PX 20");
    assert_eq!(new.run(&renew).int(), 1);
    assert!(waiter.recv().int() > fence);
}

#[test]
fn a_failover_keeps_the_holders_and_sends_the_waiters_away() {
    let cluster = Cluster::start(3);
    let index = cluster.owner(cluster.slot("{t}:k"));
    let old = &cluster.nodes[index];
    let replica = cluster.add_replica(index);
    let fence = old.run("LTMC.LOCK {t}:k a PX 600000").int();
    let ending = old.run("LTMC.LOCK {t}:ending a PX 600000").int();
    let mut waiters = old.clients(2);
    let keys = ["{t}:k", "{t}:ending"];
    old.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK {} b{n} BLOCK 0", keys[n]));
    replica.wait_synced(old);
    replica.take_over();
    for waiter in &mut waiters {
        // The error depends on whether the slot's new owner or the new role is noticed first.
        if let Some(reply) = waiter.recv_or_end() {
            assert!(["UNBLOCKED", "MOVED"].contains(&reply.error_code()), "{reply:?}");
        }
    }
    wait_until("nobody waits at the old primary", || waiting(old) == 0);

    let mut again = replica.clients(2);
    replica.block_in_turn(&mut again, |n| format!("LTMC.LOCK {} b{n} BLOCK 0", keys[n]));
    assert_eq!(unlock(&replica, "{t}:k", "a"), 1);
    assert!(again[0].recv().int() > fence);
    let renew = format!("LTMC.LOCK.RENEW {{t}}:ending a TOKEN {ending} PX 20");
    assert_eq!(replica.run(&renew).int(), 1);
    assert!(again[1].recv().int() > ending);
    assert_eq!(owners(&replica, "{t}:ending", "holders"), ["b1"]);
    assert_idle(&replica);
}

#[test]
fn leases_that_end_in_a_failover_are_handed_on_afterwards() {
    let cluster = Cluster::start(3);
    let index = cluster.owner(cluster.slot("{t}:0"));
    let old = &cluster.nodes[index];
    let replica = cluster.add_replica(index);
    // A steady stream of hand-offs. Some fall into the moment in which the old primary has stopped
    // all writes.
    let mut waiters = old.clients(40);
    for n in 0..8 {
        old.run(&format!("LTMC.LOCK {{t}}:{n} a PX 20"));
    }
    for (n, waiter) in waiters.iter_mut().enumerate() {
        waiter.send_line(&format!("LTMC.LOCK {{t}}:{} w{n} PX 20 BLOCK 0", n % 8));
    }
    replica.take_over();
    for waiter in &mut waiters {
        if let Some(Reply::Error(line)) = waiter.recv_or_end() {
            assert!(line.starts_with("UNBLOCKED") || line.starts_with("MOVED"), "{line}");
        }
    }
    wait_until("nobody waits at the old primary", || waiting(old) == 0);
    assert!(replica.run("LTMC.LOCK {t}:0 z BLOCK 0").int() > 0);
}
