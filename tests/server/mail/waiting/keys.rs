//! What happens to clients that wait for messages when their mailbox is deleted, replaced, moved or
//! becomes something else.

use super::*;

#[test]
fn a_mailbox_deleted_and_made_anew_in_a_transaction_serves_who_waits() {
    let mut line = Line::start();
    let again = "LTMC.MSG.SEND m ada TO 1 bob x";
    let replies = line.server.client().pipeline(&["MULTI", "LTMC.MSG.JOIN m eve", "DEL m", again, "EXEC"]);
    let id = replies[4].array()[2].int();
    assert_eq!(told(&mut line.first), ["x"]);
    assert_eq!(ack(&line.server, "bob", &[id]), 1);
    line.only_second();
}

/// `put` replaces `m` by a mailbox with a message for bob.
fn waiters_are_served_by_what_is_put_there(put: &[&str]) {
    let mut line = Line::start();
    let id = line.server.run("LTMC.MSG.SEND other ada TO 1 bob x").int();
    let mut client = line.server.client();
    for command in put {
        let reply = client.run(command);
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    assert_eq!(told(&mut line.first), ["x"]);
    assert_eq!(ack(&line.server, "bob", &[id]), 1);
    line.only_second();
}

#[test]
fn a_mailbox_that_comes_under_the_name_serves_who_waits() {
    waiters_are_served_by_what_is_put_there(&["RENAME other m"]);
    waiters_are_served_by_what_is_put_there(&["RENAME other o", "MOVE o 1", "SELECT 1", "RENAME o m", "MOVE m 0"]);
    waiters_are_served_by_what_is_put_there(&["MOVE other 1", "SELECT 1", "RENAME other m", "SWAPDB 0 1"]);
}

#[test]
fn a_mailbox_that_is_restored_serves_who_waits_and_keeps_its_leases() {
    let mut line = Line::start();
    let ids = ["one", "two"].map(|text| line.server.run(&format!("LTMC.MSG.SEND other ada TO 1 bob {text}")).int());
    line.server.run("LTMC.MSG.RECV other bob PX 60000").array();
    let mut client = line.server.client();
    let dump = client.run("DUMP other").bytes().to_vec();
    client.cmd(&[b"RESTORE".as_slice(), b"m", b"0", &dump]).ok();
    assert_eq!(told(&mut line.first), ["two"]);
    set_clock(&line.server, 60_001);
    let messages = line.second.recv().array().to_vec();
    assert_eq!((payloads(&messages), deliveries(&messages)), (strings(&["one"]), vec![2]));
    assert_eq!(ack(&line.server, "bob", &ids), 2);
}

#[test]
fn a_panic_of_the_scheduler_loses_no_waiter_and_a_quarantine_is_told() {
    let mut line = Line::start();
    line.server.run("LTMC.MSG.SEND other ada TO 1 bob x").int();
    line.server.run("LTMC.DEBUG SWEEP 2").ok();
    line.server.run("RENAME other m").ok();
    assert_eq!(told(&mut line.first), ["x"]);
    assert_eq!(line.server.info_int("ltmc", "ltmc_panics"), 2);
    for _ in 0..3 {
        assert!(line.server.run("LTMC.DEBUG PANIC m").is_error());
    }
    assert_eq!(line.second.recv().error_code(), "QUARANTINED");
    for command in [
        "SEND m a TO 1 bob x",
        "RECV m bob BLOCK 0",
        "ACK m bob 5",
        "NACK m bob 5",
        "EXTEND m bob 5 PX 5",
        "REQUEUE m bob 5",
        "JOIN m bob",
        "LEAVE m bob",
        "PENDING m bob",
        "DEAD m",
        "GET m 5",
        "AGENTS m",
        "INFO m",
    ] {
        assert_eq!(line.server.run(&format!("LTMC.MSG.{command}")).error_code(), "QUARANTINED", "{command}");
    }
    assert_eq!(line.server.run("DEL m").int(), 1);
    send(&line.server, "ada TO 1 bob again");
    assert_eq!(payloads(line.first.run("LTMC.MSG.RECV m bob BLOCK 0").array()), ["again"]);
}
