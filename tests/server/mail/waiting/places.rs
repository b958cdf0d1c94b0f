//! Clients that wait for messages while something happens to the node: a reload, another role, a
//! restart, a slot that moves away.

use super::*;

#[test]
fn a_reload_that_brings_messages_serves_who_waits() {
    let server = Server::start();
    let id = send(&server, "ada TO 1 bob x");
    server.run("SAVE").ok();
    recv(&server, "bob");
    ack(&server, "bob", &[id]);
    let mut clients = waiters(&server, &["bob"]);
    server.run("DEBUG RELOAD NOSAVE").ok();
    assert_eq!(told(&mut clients[0]), ["x"], "what was saved is there again");
    assert!(send(&server, "ada TO 1 bob y") > id, "ids do not go back with the data");
}

#[test]
fn a_promoted_replica_serves_waiters_with_what_the_old_primary_gave_away() {
    let mut primary = Server::start();
    let replica = primary.replica();
    let ids: Vec<i64> = (0..3).map(|n| send(&primary, &format!("ada TO 1 bob {n}"))).collect();
    recv(&primary, "bob COUNT 2 PX 60000");
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    assert_eq!(replica.run("LTMC.MSG.PENDING m bob").array().len(), 2);
    assert_eq!(read(&replica, "bob COUNT 9 PX 600000"), ["2"]);
    let mut clients = waiters(&replica, &["bob COUNT 9"]);
    set_clock(&replica, 60_001);
    let messages = clients[0].recv().array().to_vec();
    assert_eq!((payloads(&messages), deliveries(&messages)), (strings(&["0", "1"]), vec![2, 2]));
    assert!(send(&replica, "ada TO 1 bob new") > ids[2], "ids grow across a failover");
}

#[test]
fn a_shutdown_ends_all_waits_and_keeps_the_messages() {
    let mut line = Line::start();
    let id = send(&line.server, "ada TO 1 eve x");
    line.server.stop();
    line.first.wait_closed();
    line.second.wait_closed();
    assert!(!line.server.log().contains("internal error"), "{}", line.server.log());
    line.server.start_again();
    assert_eq!(recv(&line.server, "eve")[0].get("id").int(), id);
}

#[test]
fn what_was_waited_for_reaches_the_replicas_as_what_it_came_to() {
    let mut line = Line::on(Server::builder().durable().start());
    let replica = line.server.replica();
    send(&line.server, "ada TO 1 bob one");
    line.first.recv().array();
    assert_eq!(line.first.run("WAIT 1 0").int(), 1, "WAIT covers what a client was handed");
    assert_eq!(replica.run("LTMC.MSG.PENDING m bob").array().len(), 1);
    set_clock(&line.server, 30_001);
    line.second.recv().array();
    replica.wait_synced(&line.server);
    assert_eq!(replica.run("LTMC.MSG.PENDING m bob").array()[0].get("deliveries").int(), 2);
    assert_persisted_everywhere(&line.server, &[&replica]);
}
