//! The many ways in which a wait ends other than by being served in peace. After each the queue
//! continues and nothing is left over.

use super::*;

#[test]
fn a_dead_waiter_of_several_locks_gives_all_of_them_back() {
    let server = Server::start();
    let mut holder = server.client();
    holder.run("LTMC.LOCK k1 a PX 600000");
    let mut waiters = server.clients(3);
    let lines = ["LTMC.MLOCK m 2 k1 k2 BLOCK 0", "LTMC.LOCK k1 b BLOCK 0", "LTMC.LOCK k2 c BLOCK 0"];
    server.block_in_turn(&mut waiters, |n| lines[n].into());
    let kill = format!("CLIENT KILL ID {}", waiters[0].id());
    holder.pipeline(&["LTMC.UNLOCK k1 a", &kill]);
    waiters[0].wait_closed();
    waiters[1].recv().int();
    waiters[2].recv().int();
    assert_eq!(owners(&server, "k1", "holders"), ["b"]);
    assert_eq!(owners(&server, "k2", "holders"), ["c"]);
    assert_idle(&server);
}

#[test]
fn a_lock_that_was_moved_away_keeps_its_holder() {
    let mut queue = Queue::start();
    queue.holder.run("RENAME k elsewhere").ok();
    let check = format!("LTMC.LOCK.CHECK elsewhere {}", queue.fence);
    assert_eq!(queue.holder.run(&check).int(), 1);
    assert_eq!(unlock(&queue.server, "elsewhere", "a"), 1);
    queue.b_then_c();
}

#[test]
fn the_lease_of_a_lock_that_was_put_in_hands_it_on() {
    let mut queue = Queue::start();
    queue.holder.run("LTMC.LOCK other z PX 700000");
    queue.holder.run("RENAME other k").ok();
    set_clock(&queue.server, 700_001);
    queue.b_then_c();
}

#[test]
fn a_promoted_replica_serves_waiters_for_what_the_old_primary_granted() {
    let mut primary = Server::start();
    let replica = primary.replica();
    let fence = primary.run("LTMC.LOCK k a PX 600000").int();
    let ending = primary.run("LTMC.LOCK ending a PX 600000").int();
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    let mut waiters = replica.clients(2);
    let keys = ["k", "ending"];
    replica.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK {} b BLOCK 0", keys[n]));
    assert_eq!(unlock(&replica, "k", "a"), 1);
    assert!(waiters[0].recv().int() > fence);
    let renew = format!("LTMC.LOCK.RENEW ending a TOKEN {ending} PX 20");
    assert_eq!(replica.run(&renew).int(), 1);
    assert!(waiters[1].recv().int() > ending);
    assert_idle(&replica);
}

#[test]
fn a_shutdown_ends_all_waits_and_keeps_the_lock() {
    let mut queue = Queue::start();
    queue.server.stop();
    queue.b.wait_closed();
    queue.c.wait_closed();
    assert!(!queue.server.log().contains("internal error"), "{}", queue.server.log());
    queue.server.start_again();
    let check = format!("LTMC.LOCK.CHECK k {}", queue.fence);
    assert_eq!(queue.server.run(&check).int(), 1);
    let mut waiter = queue.server.client();
    queue.server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k b BLOCK 0".into());
    assert_eq!(unlock(&queue.server, "k", "a"), 1);
    assert!(waiter.recv().int() > queue.fence);
}

#[test]
fn a_handoff_replicates_as_what_it_came_to() {
    let queue = Queue::on(Server::builder().durable().start(), "LTMC.LOCK k a PX 600000");
    let replica = queue.server.replica();
    assert_eq!(unlock(&queue.server, "k", "a"), 1);
    replica.wait_synced(&queue.server);
    assert_eq!(owners(&replica, "k", "holders"), ["b"]);
    set_clock(&queue.server, 600_001);
    let mut c = queue.c;
    c.recv().int();
    replica.wait_synced(&queue.server);
    assert_eq!(owners(&replica, "k", "holders"), ["c"]);
    assert_persisted_everywhere(&queue.server, &[&replica]);
}

#[test]
fn nothing_is_decided_while_clients_are_paused() {
    let mut queue = Queue::start();
    let replica = queue.server.replica();
    // The lease ends in the middle of the pause: Redis would not survive a hand-off then.
    let renew = format!("LTMC.LOCK.RENEW k a TOKEN {} PX 50", queue.fence);
    let replies = queue.holder.pipeline(&[&renew, "CLIENT PAUSE 400 WRITE"]);
    assert_eq!(replies[0].int(), 1);
    queue.b_then_c();
    drop(replica);
}
