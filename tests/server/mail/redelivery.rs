//! What becomes of messages that are not acknowledged.

use super::*;
use crate::waiting::set_clock;

#[test]
fn what_is_not_acknowledged_comes_back_before_what_was_sent_later() {
    let server = Server::start();
    let ids: Vec<i64> = (0..3).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    assert_eq!(deliveries(&recv(&server, "bob COUNT 2 PX 5000")), [1, 1]);
    assert_eq!(ack(&server, "bob", &[ids[0]]), 1);
    send(&server, "ada TO 1 bob 3");
    set_clock(&server, 5001);
    wait_for(&server, "mail.leaseended", 1);
    let again = recv(&server, "bob COUNT 9");
    assert_eq!(payloads(&again), ["1", "2", "3"]);
    assert_eq!(deliveries(&again), [2, 1, 1]);
    assert_eq!(ack(&server, "bob", &ids), 2, "the first was done with before");
}

#[test]
fn a_lease_that_ends_in_the_moment_of_the_call_is_over() {
    let server = Server::start();
    send(&server, "ada TO 1 bob x");
    recv(&server, "bob PX 5000");
    // The scheduler has no turn in a transaction.
    let replies = server.client().pipeline(&["MULTI", "LTMC.DEBUG CLOCK 6000", "LTMC.MSG.RECV m bob", "EXEC"]);
    assert_eq!(deliveries(replies[3].array()[1].array()), [2]);
}

#[test]
fn without_px_the_setting_says_how_long_a_lease_is() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.mail-lease-ms 7000").ok();
    send(&server, "ada TO 1 bob x");
    let message = &recv(&server, "bob")[0];
    let lease = message.get("ends_at_ms").int() - message.get("sent_at_ms").int();
    assert!((7000..30_000).contains(&lease), "{lease}");
    set_clock(&server, 7001);
    wait_for(&server, "mail.leaseended", 1);
    let message = &recv(&server, "bob EX 100")[0];
    assert!(message.get("ends_at_ms").int() - message.get("sent_at_ms").int() >= 107_000);
}

#[test]
fn a_message_that_is_received_too_often_is_a_dead_letter() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.mail-deliveries-max 2").ok();
    let id = send(&server, "ada TO 2 bob eve poison");
    let fine = send(&server, "ada TO 1 bob fine");
    recv(&server, "bob COUNT 2 PX 1000");
    ack(&server, "bob", &[fine]);
    set_clock(&server, 1001);
    wait_for(&server, "mail.leaseended", 1);
    assert_eq!(deliveries(&recv(&server, "bob PX 1000")), [2]);
    set_clock(&server, 3002);
    wait_for(&server, "mail.died", 1);
    assert!(recv(&server, "bob").is_empty());
    let dead = server.run("LTMC.MSG.DEAD m");
    let letter = &dead.array()[0];
    assert_eq!(dead.array().len(), 1);
    assert_eq!((letter.get("id").int(), letter.get("agent").text(), letter.get("from").text()), (id, "bob", "ada"));
    assert_eq!((letter.get("deliveries").int(), letter.get("reason").text()), (2, "deliveries"));
    assert_eq!(letter.get("payload").text(), "poison");
    assert_eq!(read(&server, "eve"), ["poison"], "to the others it is a message like any other");
    assert_eq!(ack(&server, "eve", &[id]), 1);
    assert_eq!(info(&server, "messages"), 1, "the dead letter is still there");
    assert_eq!(ack(&server, "bob", &[id]), 1, "until somebody says that it is done with");
    assert_eq!(server.run("EXISTS m").int(), 0);
}

#[test]
fn a_dead_letter_gets_another_chance_in_its_old_place() {
    let server = Server::start();
    let ids: Vec<i64> = (0..3).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    recv(&server, "bob COUNT 2");
    assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {} DEAD", ids[1])).int(), 1);
    let requeue = |id: i64| server.run(&format!("LTMC.MSG.REQUEUE m bob {id}")).int();
    assert_eq!((requeue(ids[0]), requeue(ids[1]), requeue(ids[1])), (0, 1, 0));
    assert_eq!(server.run(&format!("LTMC.MSG.REQUEUE m eve {}", ids[1])).int(), 0);
    let again = recv(&server, "bob COUNT 9");
    assert_eq!((payloads(&again), deliveries(&again)), (vec!["1".into(), "2".into()], vec![1, 1]));
    assert_eq!(info(&server, "dead"), 0);
}

#[test]
fn the_oldest_dead_letters_go_first() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.mail-dead-max 2").ok();
    let ids: Vec<i64> = (0..5).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    recv(&server, "bob COUNT 5 PX 1000");
    let kill = |id: i64| assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {id} DEAD")).int(), 1);
    let dead = || {
        let dead = server.run("LTMC.MSG.DEAD m");
        dead.array().iter().map(|letter| letter.get("id").int()).collect::<Vec<_>>()
    };
    for id in &ids[..3] {
        kill(*id);
    }
    assert_eq!(dead(), ids[1..3]);
    assert_eq!((info(&server, "total_dropped"), info(&server, "messages")), (1, 4));
    server.run("CONFIG SET ltmc.mail-deliveries-max 1").ok();
    set_clock(&server, 1001);
    wait_for(&server, "mail.died", 5);
    assert_eq!(dead(), ids[3..], "what dies together, too");
    server.run("CONFIG SET ltmc.mail-dead-max 0").ok();
    send(&server, "ada TO 1 bob x");
    let last = recv(&server, "bob")[0].get("id").int();
    kill(last);
    assert_eq!(server.run("EXISTS m").int(), 0, "with 0 none are kept");
}

#[test]
fn a_message_is_given_back_at_once_or_later() {
    let server = Server::start();
    let ids: Vec<i64> = (0..3).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    let nack = |line: &str| server.run(&format!("LTMC.MSG.NACK m {line}")).int();
    assert_eq!(nack(&format!("bob {}", ids[0])), 0, "it was not received");
    recv(&server, "bob COUNT 2 PX 50000");
    assert_eq!(nack(&format!("eve {}", ids[0])), 0, "it is not hers");
    assert_eq!(nack(&format!("bob {}", ids[0])), 1);
    assert_eq!(nack(&format!("bob {}", ids[0])), 0, "it is given back already");
    assert_eq!(deliveries(&recv(&server, "bob")), [2], "in its old place");
    assert_eq!(nack(&format!("bob {} DELAY 20000", ids[1])), 1);
    assert_eq!(nack(&format!("bob {} DELAY 20000", ids[1])), 0);
    assert_eq!(server.run(&format!("LTMC.MSG.EXTEND m bob {} PX 5", ids[1])).int(), 0);
    assert_eq!(read(&server, "bob COUNT 9 PX 50000"), ["2"], "the others go on");
    assert_eq!(server.run("LTMC.MSG.PENDING m bob").array().len(), 2);
    set_clock(&server, 20_001);
    wait_for(&server, "mail.delayended", 1);
    let again = recv(&server, "bob COUNT 9");
    assert_eq!((payloads(&again), deliveries(&again)), (vec!["1".into()], vec![2]));
    server.run("CONFIG SET ltmc.mail-deliveries-max 2").ok();
    assert_eq!(nack(&format!("bob {}", ids[1])), 1);
    assert_eq!(server.run("LTMC.MSG.DEAD m").array()[0].get("reason").text(), "deliveries", "that was its last time");
}

#[test]
fn a_lease_is_set_anew_for_who_needs_longer() {
    let server = Server::start();
    let ids: Vec<i64> = (0..3).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    let extend = |line: &str| server.run(&format!("LTMC.MSG.EXTEND m {line}")).int();
    assert_eq!(extend(&format!("bob {} PX 9", ids[0])), 0, "it was not received");
    recv(&server, "bob COUNT 3 PX 10000");
    assert_eq!(extend(&format!("eve {} PX 9", ids[0])), 0);
    assert_eq!((extend(&format!("bob {} PX 40000", ids[0])), extend(&format!("bob {} EX 1", ids[1]))), (1, 1));
    set_clock(&server, 1500);
    wait_for(&server, "mail.leaseended", 1);
    assert_eq!(read(&server, "bob COUNT 9 PX 90000"), ["1"], "a shorter one ends earlier");
    set_clock(&server, 10_001);
    wait_for(&server, "mail.leaseended", 2);
    assert_eq!(read(&server, "bob COUNT 9 PX 90000"), ["2"]);
    assert_eq!(extend(&format!("bob {} PX 40000", ids[0])), 1);
    set_clock(&server, 40_002);
    assert_eq!(server.run("LTMC.MSG.PENDING m bob").array().len(), 3);
    assert_eq!(ack(&server, "bob", &ids), 3);
}

#[test]
fn an_acknowledgement_after_the_lease_counts_until_somebody_else_has_it() {
    let server = Server::start();
    let id = send(&server, "ada TO 1 bob x");
    recv(&server, "bob PX 1000");
    set_clock(&server, 1001);
    wait_for(&server, "mail.leaseended", 1);
    assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {id}")).int(), 0);
    assert_eq!(ack(&server, "bob", &[id]), 1, "the work is done");
    assert_eq!(server.run("EXISTS m").int(), 0);
}

#[test]
fn many_leases_that_end_at_once_end_in_batches() {
    let server = Server::start();
    let lines: Vec<String> = (0..1500)
        .flat_map(|n| [format!("LTMC.MSG.SEND m ada TO 1 bob {n}"), "LTMC.MSG.RECV m bob PX 90000".to_string()])
        .collect();
    server.client().pipeline(&lines);
    assert_eq!(info(&server, "held"), 1500);
    set_clock(&server, 90_001);
    wait_for(&server, "mail.leaseended", 1500);
    let all: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(read(&server, "bob COUNT 1000"), all, "in their order");
}
