//! Clients that wait for a claim while something happens to the node: a reload, another role, a
//! restart, a slot that moves away.

use super::*;

#[test]
fn a_reload_that_frees_an_agent_serves_who_waits() {
    let line = Line::start();
    line.server.run("SAVE").ok();
    // A load without a save forgets the claims made since the last one.
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
    let ends_ms = line.holder.run("LTMC.AGENT.GET r a").get("claims").array()[0].get("ends_at_ms").int();
    let time = line.holder.run("TIME").texts();
    let now_ms = time[0].parse::<i64>().expect("seconds") * 1000 + time[1].parse::<i64>().expect("microseconds") / 1000;
    // The lease ends in the middle of the pause: Redis would not survive a hand-off then.
    let clock = format!("LTMC.DEBUG CLOCK {}", ends_ms - now_ms - 50);
    line.holder.pipeline(&[&clock, "CLIENT PAUSE 300 WRITE"]);
    line.b_then_c();
    drop(replica);
}
