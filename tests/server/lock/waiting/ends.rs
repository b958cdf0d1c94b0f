//! The many ways in which a wait ends other than by being served in peace. After each the queue goes on and nothing is left over.

use super::*;

const PONG: &str = "PONG";

/// A client's connection is where client and server both believe it to be.
#[track_caller]
fn is_in_step(client: &mut Client) {
    assert_eq!(client.run("PING"), Reply::Simple(PONG.into()));
}

/// Unblocks the waiter in the middle and checks its answer; where the server cannot, nothing happens to it.
fn client_unblock(how: &str, is_answer: impl Fn(&Reply) -> bool) {
    let mut queue = Queue::start();
    let unblock = format!("CLIENT UNBLOCK {} {how}", queue.b.id());
    if can_unblock(&queue.server) {
        assert_eq!(queue.server.run(&unblock).int(), 1);
        let answer = queue.b.recv();
        assert!(is_answer(&answer), "{answer:?}");
        is_in_step(&mut queue.b);
        queue.a_then_c();
    } else {
        assert_eq!(queue.server.run(&unblock).int(), 0);
        assert_eq!(unlock(&queue.server, "k", "a"), 1);
        queue.b_then_c();
    }
}

#[test]
fn client_unblock_ends_a_wait_like_its_time_limit() {
    client_unblock("TIMEOUT", Reply::is_nil);
}

#[test]
fn client_unblock_error_ends_a_wait_with_an_error() {
    client_unblock("ERROR", |answer| answer.error_code() == "UNBLOCKED");
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let mut queue = Queue::start();
    queue.server.run(&format!("CLIENT KILL ID {}", queue.b.id()));
    queue.b.wait_closed();
    queue.a_then_c();
}

#[test]
fn a_waiter_that_hangs_up_is_passed_over() {
    let mut queue = Queue::start();
    queue.b = queue.server.client();
    queue.a_then_c();
}

#[test]
fn a_waiter_whose_machine_dies_is_passed_over() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut waiters = server.clients(2);
    waiters[0].arm_reset();
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k w{n} BLOCK 0"));
    drop(waiters.remove(0));
    wait_until("one waits", || waiting(&server) == 1);
    assert_eq!(unlock(&server, "k", "a"), 1);
    waiters[0].recv().int();
    assert_eq!(owners(&server, "k", "holders"), ["w1"]);
    assert_idle(&server);
}

/// In one write `a` unlocks and the waiter that is handed the lock by that is killed.
fn a_grant_that_nobody_was_told_of_is_taken_back(lines: &[&str]) {
    let mut queue = Queue::start();
    let kill = format!("CLIENT KILL ID {}", queue.b.id());
    let lines: Vec<&str> = lines.iter().map(|line| if *line == "kill" { &*kill } else { line }).collect();
    let replies = queue.holder.pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    queue.b.wait_closed();
    let fence = queue.fence;
    let holder = queue.holder;
    let queue = Queue { holder, ..queue };
    assert_eq!(queue.server.info_int("ltmc", "ltmc_lock_taken_back"), 1, "the scheduler runs before the next command");
    queue.ends_with_c(fence);
}

#[test]
fn a_waiter_killed_in_the_tick_of_its_grant_gives_it_back() {
    a_grant_that_nobody_was_told_of_is_taken_back(&["LTMC.UNLOCK k a", "kill"]);
}

#[test]
fn a_waiter_killed_in_the_transaction_of_its_grant_gives_it_back() {
    a_grant_that_nobody_was_told_of_is_taken_back(&["MULTI", "LTMC.UNLOCK k a", "kill", "EXEC"]);
}

#[test]
fn a_take_back_replicates() {
    let mut queue = Queue::on(Server::builder().durable().start(), "LTMC.LOCK k a PX 600000");
    let replica = queue.server.replica();
    let kill = format!("CLIENT KILL ID {}", queue.b.id());
    queue.holder.pipeline(&["LTMC.UNLOCK k a", &kill]);
    queue.c.recv().int();
    replica.wait_synced(&queue.server);
    assert_eq!(owners(&replica, "k", "holders"), ["c"]);
    assert_persisted_everywhere(&queue.server, &[&replica]);
}

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

/// In one write `a` unlocks and `b`, which is handed the lock by that, is unblocked: exactly one answer, whichever it is.
fn a_grant_and_an_unblock_in_one_tick(lines: &[&str], how: &str) {
    let mut queue = Queue::start();
    let unblock = format!("CLIENT UNBLOCK {} {how}", queue.b.id());
    let lines: Vec<&str> = lines.iter().map(|line| if *line == "unblock" { &*unblock } else { line }).collect();
    let replies = queue.holder.pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    let reply = queue.b.recv();
    is_in_step(&mut queue.b);
    let mut before = queue.fence;
    if let Reply::Int(fence) = reply {
        assert_eq!(queue.server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
        assert_eq!(unlock(&queue.server, "k", "b"), 1);
        before = fence;
    } else {
        let unblocked = reply.is_nil() || reply.error_code() == "UNBLOCKED";
        assert!(unblocked, "{reply:?}");
    }
    queue.ends_with_c(before);
}

#[test]
fn an_unblock_in_the_tick_of_a_grant_gives_one_answer() {
    a_grant_and_an_unblock_in_one_tick(&["LTMC.UNLOCK k a", "unblock"], "TIMEOUT");
    a_grant_and_an_unblock_in_one_tick(&["LTMC.UNLOCK k a", "unblock", "unblock"], "TIMEOUT");
    a_grant_and_an_unblock_in_one_tick(&["MULTI", "LTMC.UNLOCK k a", "unblock", "EXEC"], "TIMEOUT");
}

#[test]
fn an_unblock_with_an_error_in_the_tick_of_a_grant_gives_one_answer() {
    a_grant_and_an_unblock_in_one_tick(&["LTMC.UNLOCK k a", "unblock"], "ERROR");
    a_grant_and_an_unblock_in_one_tick(&["MULTI", "LTMC.UNLOCK k a", "unblock", "EXEC"], "ERROR");
}

#[test]
fn an_unblock_before_the_release_in_one_tick_goes_first() {
    let mut queue = Queue::start();
    if can_unblock(&queue.server) {
        let unblock = format!("CLIENT UNBLOCK {}", queue.b.id());
        let replies = queue.holder.pipeline(&[&unblock, "LTMC.UNLOCK k a"]);
        assert_eq!(replies[0].int(), 1);
        assert!(queue.b.recv().is_nil());
        is_in_step(&mut queue.b);
        let fence = queue.fence;
        queue.ends_with_c(fence);
    }
}

#[test]
fn deleting_a_lock_serves_its_waiters() {
    for delete in [
        "DEL k",
        "UNLINK k",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "FLUSHDB",
        "EXPIRE k 0",
        "PEXPIRE k 1",
        "RENAME k elsewhere",
        "MOVE k 1",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
    ] {
        let queue = Queue::start();
        let reply = queue.server.run(delete);
        assert!(!reply.is_error(), "{delete}: {reply:?}");
        eprintln!("after {delete}");
        queue.b_then_c();
    }
}

#[test]
fn deleting_a_lock_in_a_transaction_or_a_script_serves_its_waiters() {
    let mut queue = Queue::start();
    queue.holder.pipeline(&["MULTI", "DEL k", "SET other 1", "EXEC"]);
    queue.b_then_c();
    let mut queue = Queue::start();
    let script = "return redis.call('DEL', KEYS[1])";
    assert_eq!(queue.holder.cmd(&["EVAL", script, "1", "k"]).int(), 1);
    queue.b_then_c();
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

/// `put` replaces the lock `k` by one that `z` holds: who waits now waits for `z`.
fn waiters_wait_for_whoever_holds(put: impl FnOnce(&mut Client)) {
    let mut queue = Queue::start();
    put(&mut queue.holder);
    assert_eq!(owners(&queue.server, "k", "holders"), ["z"]);
    assert_eq!(queue.b.recv_within(1), None);
    assert_eq!(waiting(&queue.server), 2);
    assert_eq!(unlock(&queue.server, "k", "z"), 1);
    queue.b_then_c();
}

#[test]
fn a_lock_renamed_onto_another_takes_over_its_waiters() {
    waiters_wait_for_whoever_holds(|client| {
        client.run("LTMC.LOCK other z PX 600000");
        client.run("RENAME other k").ok();
    });
}

#[test]
fn a_lock_restored_over_another_takes_over_its_waiters() {
    waiters_wait_for_whoever_holds(|client| {
        client.run("LTMC.LOCK other z PX 600000");
        let dump = client.run("DUMP other").bytes().to_vec();
        client.cmd(&[b"RESTORE".as_slice(), b"k", b"0", &dump, b"REPLACE"]).ok();
    });
}

#[test]
fn a_lock_swapped_in_takes_over_the_waiters() {
    waiters_wait_for_whoever_holds(|client| {
        client.run("SELECT 1").ok();
        client.run("LTMC.LOCK k z PX 600000");
        client.run("SWAPDB 0 1").ok();
    });
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
fn waiters_learn_that_their_key_became_something_else() {
    for put in ["SET k v", "SET k v PX 600000", "RENAME string k"] {
        let mut queue = Queue::start();
        queue.server.run("SET string v").ok();
        queue.server.run(put).ok();
        assert_eq!(queue.b.recv().error_code(), "WRONGTYPE", "{put}");
        assert_eq!(queue.c.recv().error_code(), "WRONGTYPE", "{put}");
        assert_idle(&queue.server);
        is_in_step(&mut queue.b);
        assert_eq!(queue.server.run("DEL k").int(), 1);
        assert!(queue.b.run("LTMC.LOCK k b").int() > 0);
    }
}

#[test]
fn waiters_of_a_primary_that_becomes_a_replica_are_sent_away() {
    let primary = Server::start();
    let mut queue = Queue::start();
    queue.server.follow(&primary);
    assert_sent_away([&mut queue.b, &mut queue.c]);
    assert_idle(&queue.server);
    assert_eq!(queue.server.run("LTMC.LOCK k d BLOCK 0").error_code(), "READONLY");
    queue.server.promote();
    let again = Queue::on(queue.server, "LTMC.LOCK k a PX 600000");
    assert_eq!(unlock(&again.server, "k", "a"), 1);
    again.b_then_c();
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
fn a_wait_goes_on_through_a_reload() {
    let queue = Queue::start();
    queue.server.debug_reload();
    assert_eq!(waiting(&queue.server), 2);
    assert_eq!(owners(&queue.server, "k", "holders"), ["a"]);
    assert_eq!(unlock(&queue.server, "k", "a"), 1);
    queue.b_then_c();
}

#[test]
fn a_wait_goes_on_through_a_replay_of_the_aof() {
    let queue = Queue::on(Server::builder().durable().start(), "LTMC.LOCK k a PX 600000");
    queue.server.run("DEBUG LOADAOF").ok();
    assert_eq!(waiting(&queue.server), 2);
    assert_eq!(owners(&queue.server, "k", "holders"), ["a"]);
    set_clock(&queue.server, 600_001);
    queue.b_then_c();
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
fn wait_covers_a_lock_that_was_waited_for() {
    let mut queue = Queue::start();
    let replica = queue.server.replica();
    assert_eq!(unlock(&queue.server, "k", "a"), 1);
    let fence = queue.b.recv().int();
    assert_eq!(queue.b.run("WAIT 1 0").int(), 1);
    assert_eq!(replica.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
    let server = queue.server;
    assert_eq!(unlock(&server, "k", "b"), 1);
    queue.c.recv().int();
}

#[test]
fn resp3_clients_wait_too() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut client = server.client();
    client.resp3();
    assert!(client.run("LTMC.LOCK k b BLOCK 20").is_nil());
    server.block_in_turn(std::slice::from_mut(&mut client), |_| "LTMC.MLOCK b 2 k j BLOCK 0".into());
    assert_eq!(unlock(&server, "k", "a"), 1);
    assert_eq!(client.recv().ints().len(), 2);
    assert!(matches!(client.run("LTMC.LOCK.INFO k"), Reply::Map(_)));
}

#[test]
fn a_module_with_waiters_cannot_be_unloaded() {
    let queue = Queue::start();
    assert!(queue.server.run("MODULE UNLOAD ltmc").is_error());
    assert_eq!(unlock(&queue.server, "k", "a"), 1);
    queue.b_then_c();
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
