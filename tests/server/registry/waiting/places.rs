//! Those who wait for a claim, and what happens to the node: a reload, another role, a restart, a slot that moves away.

use super::*;

#[test]
fn a_wait_goes_on_through_a_reload() {
    let line = Line::start();
    line.server.debug_reload();
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(refs(&line.server, "r", "a"), ["holder"]);
    assert_eq!(release(&line.server, line.fence), 1);
    line.b_then_c();
}

#[test]
fn a_wait_goes_on_through_a_replay_of_the_aof() {
    let line = Line::on(Server::builder().durable().start());
    line.server.run("DEBUG LOADAOF").ok();
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(refs(&line.server, "r", "a"), ["holder"]);
    set_clock(&line.server, LEASE_MS + 1);
    line.b_then_c();
}

#[test]
fn a_reload_that_frees_an_agent_serves_who_waits() {
    let line = Line::start();
    line.server.run("SAVE").ok();
    // What was claimed after the save is forgotten by a load without one.
    line.server.run("DEL r");
    register(&line.server, "a", "CAPACITY 0");
    assert_eq!(waiting(&line.server), 2);
    line.server.run("DEBUG RELOAD NOSAVE").ok();
    assert_eq!(refs(&line.server, "r", "a"), ["holder"], "as it was saved");
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(release(&line.server, line.fence), 1);
    let server = line.b_then_c();

    server.run("SAVE").ok();
    let fence = fence_on("a", &server.run("LTMC.AGENT.CLAIM r PX 600000"));
    let mut waiter = waiter(&server, "REF w");
    server.run("DEBUG RELOAD NOSAVE").ok();
    assert!(fence_on("a", &waiter.recv()) > fence, "fences do not go back with the data");
    assert_eq!(refs(&server, "r", "a"), ["w"]);
}

#[test]
fn waiters_of_a_primary_that_becomes_a_replica_are_sent_away() {
    let primary = Server::start();
    let mut line = Line::start();
    line.server.follow(&primary);
    assert_sent_away([&mut line.b, &mut line.c]);
    assert_idle(&line.server);
    assert_eq!(line.server.run("LTMC.AGENT.CLAIM r PX 600000 BLOCK 0").error_code(), "READONLY");
    line.server.promote();
    let again = Line::on(line.server);
    assert_eq!(release(&again.server, again.fence), 1);
    again.b_then_c();
}

#[test]
fn a_promoted_replica_serves_waiters_with_what_the_old_primary_gave_away() {
    let mut primary = Server::start();
    let replica = primary.replica();
    register(&primary, "a", "CAPACITY 2");
    let claims = ["PX 600000", "PX 700000"].map(|lease| primary.run(&format!("LTMC.AGENT.CLAIM r {lease}")));
    let fences = claims.map(|claim| fence_on("a", &claim));
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    let mut waiters = [waiter(&replica, ""), waiter(&replica, "")];
    assert_eq!(release(&replica, fences[0]), 1);
    let first = fence_on("a", &waiters[0].recv());
    set_clock(&replica, 700_001);
    let second = fence_on("a", &waiters[1].recv());
    assert!(fences[1] < first && first < second);
    assert_idle(&replica);
}

#[test]
fn a_shutdown_ends_all_waits_and_keeps_the_claims() {
    let mut line = Line::start();
    line.server.stop();
    line.b.wait_closed();
    line.c.wait_closed();
    assert!(!line.server.log().contains("internal error"), "{}", line.server.log());
    line.server.start_again();
    assert_eq!(refs(&line.server, "r", "a"), ["holder"]);
    let mut waiter = waiter(&line.server, "");
    assert_eq!(release(&line.server, line.fence), 1);
    assert!(fence_on("a", &waiter.recv()) > line.fence);
}

#[test]
fn a_claim_that_was_waited_for_reaches_the_replicas_as_what_it_came_to() {
    let mut line = Line::on(Server::builder().durable().start());
    let replica = line.server.replica();
    assert_eq!(release(&line.server, line.fence), 1);
    line.b.recv().array();
    assert_eq!(line.b.run("WAIT 1 0").int(), 1, "WAIT covers what a client was handed");
    assert_eq!(refs(&replica, "r", "a"), ["b"]);
    set_clock(&line.server, LEASE_MS + 1);
    line.c.recv().array();
    replica.wait_synced(&line.server);
    assert_eq!(refs(&replica, "r", "a"), ["c"]);
    assert_persisted_everywhere(&line.server, &[&replica]);
}

#[test]
fn nothing_is_handed_out_while_clients_are_paused() {
    let mut line = Line::start();
    let replica = line.server.replica();
    let ends_ms = line.holder.run("LTMC.AGENT.GET r a").get("claims").array()[0].get("ends_ms").int();
    let time = line.holder.run("TIME").texts();
    let now_ms = time[0].parse::<i64>().expect("seconds") * 1000 + time[1].parse::<i64>().expect("microseconds") / 1000;
    // The lease ends in the middle of the pause: Redis would not survive a hand-out then.
    let clock = format!("LTMC.DEBUG CLOCK {}", ends_ms - now_ms - 50);
    line.holder.pipeline(&[&clock, "CLIENT PAUSE 300 WRITE"]);
    line.b_then_c();
    drop(replica);
}

#[test]
fn waiters_of_a_slot_that_moves_are_sent_to_the_new_node() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let to = 1 - from;
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[to]);
    old.run(&format!("LTMC.REGISTER {{t}}:r a PX {TTL_MS} CAPS 1 go")).int();
    let fence = fence_on("a", &old.run("LTMC.AGENT.CLAIM {t}:r PX 600000 REF holder"));
    let mut waiters = old.clients(3);
    let wanted = ["BLOCK 0", "CAPS 1 rust BLOCK 600000", "REQID x BLOCK 0"];
    old.block_in_turn(&mut waiters, |n| format!("LTMC.AGENT.CLAIM {{t}}:r PX 600000 {}", wanted[n]));
    let mut nobody = old.client();
    // Nothing is there yet that could move.
    old.block_in_turn(std::slice::from_mut(&mut nobody), |_| "LTMC.AGENT.CLAIM {t}:none PX 600000 BLOCK 0".into());
    cluster.begin_migration(slot, from, to);
    assert_eq!(waiting(old), 4, "an open slot sends nobody away");
    cluster.move_keys(slot, from, to);
    cluster.finish_migration(slot, to);
    let moved = format!("MOVED {slot} 127.0.0.1:{}", new.port());
    for waiter in waiters.iter_mut().chain([&mut nobody]) {
        assert_eq!(waiter.recv().error(), moved);
    }
    assert_idle(old);

    assert_eq!(refs(new, "{t}:r", "a"), ["holder"]);
    let mut again = new.client();
    new.block_in_turn(std::slice::from_mut(&mut again), |_| "LTMC.AGENT.CLAIM {t}:r PX 600000 BLOCK 0".into());
    assert_eq!(new.run(&format!("LTMC.AGENT.RELEASE {{t}}:r {fence}")).int(), 1);
    assert!(fence_on("a", &again.recv()) > fence);
}
