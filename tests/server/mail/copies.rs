//! COPY: the messages are copied, and those that are not acknowledged have not been received.

use super::durability::make_everything;
use super::*;
use crate::waiting::set_clock;

/// What an agent receives from `n`, the copy of `m`.
#[track_caller]
fn recv_copy(server: &Server, line: &str) -> Vec<Reply> {
    server.run(&format!("LTMC.MSG.RECV n {line}")).array().to_vec()
}

#[test]
fn a_mailbox_with_everything_is_copied_in_every_way_and_persisted_everywhere() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make_everything(&server);
    for mail in ["m", "other"] {
        assert_copied(&server, mail);
        let same = |command: &str| {
            let of = |key: &str| server.run(&format!("LTMC.MSG.{command} {key}"));
            assert_eq!(of(&format!("{mail}.1")), of(mail));
        };
        same("DEAD");
    }
    let [copy, original] = ["m.1", "m"].map(|key| server.run(&format!("LTMC.MSG.INFO {key}")));
    for field in ["messages", "payload_bytes", "agents", "joined", "dead", "total_sent", "total_acknowledged"] {
        assert_eq!(copy.get(field), original.get(field), "{field}");
    }
    assert!(copy.get("held").int() == 1 && original.get("held").int() > 5, "one is delayed: {copy:?} {original:?}");
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn what_is_not_acknowledged_lies_in_the_inbox_of_the_copy_in_order() {
    let server = Server::start();
    server.run("LTMC.MSG.JOIN m eve").int();
    let ids: Vec<i64> = (0..6).map(|n| send(&server, &format!("ada TO 2 bob eve text{n} REQID r{n}"))).collect();
    let answer = send(&server, &format!("bob REPLYTO {} answer", ids[0]));
    // Received twice, received once, given back for later, and acknowledged.
    recv(&server, "bob COUNT 3 PX 600000");
    server.run(&format!("LTMC.MSG.NACK m bob {}", ids[0])).int();
    recv(&server, "bob COUNT 1 PX 600000");
    server.run(&format!("LTMC.MSG.NACK m bob {} DELAY 600000", ids[1])).int();
    recv(&server, "bob COUNT 1 PX 600000");
    assert_eq!(ack(&server, "bob", &ids[3..4]), 1);
    assert_eq!(server.run("COPY m n").int(), 1);
    let both = |command: &str| ["m", "n"].map(|key| server.run(&format!("LTMC.MSG.{command}").replace("{}", key)));
    let [original, copy] = both("PENDING {} bob");
    assert_eq!((original.array().len(), copy.array().len()), (2, 0));
    // Whoever received them received those of the original.
    assert_eq!(server.run(&format!("LTMC.MSG.NACK n bob {}", ids[0])).int(), 0);
    assert_eq!(server.run(&format!("LTMC.MSG.EXTEND n bob {} PX 1000", ids[2])).int(), 0);
    let received = recv_copy(&server, "bob COUNT 10 PX 600000");
    assert_eq!(payloads(&received), ["text0", "text2", "text4", "text5"]);
    assert_eq!(deliveries(&received), [2, 1, 1, 1], "the one before counts, that of the original does not");
    assert_eq!(server.run(&format!("LTMC.MSG.ACK n bob {} {}", ids[0], ids[2])).int(), 2);
    assert_eq!(ack(&server, "bob", &[ids[0], ids[2]]), 2, "they are there as before");
    assert_eq!(read(&server, "bob COUNT 10 PX 600000"), ["text4", "text5"]);
    let answers = recv_copy(&server, &format!("ada REPLYTO {} PX 600000", ids[0]));
    assert_eq!((payloads(&answers), answers[0].get("id").int()), (vec!["answer".into()], answer));
    // A request was answered for the original only, and ids continue to grow.
    assert_eq!(send(&server, "ada TO 2 bob eve text5 REQID r5"), ids[5]);
    let next = server.run("LTMC.MSG.SEND n ada ALL x REQID r5").int();
    assert!(next > answer && recv_copy(&server, "eve COUNT 10").len() == 7, "eve takes part");
}

#[test]
fn what_was_received_too_often_is_not_dead_by_being_copied() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.mail-deliveries-max 1").ok();
    let id = send(&server, "ada TO 1 bob poison");
    recv(&server, "bob PX 600000");
    server.run("COPY m n").int();
    assert_eq!(server.run("LTMC.MSG.INFO n").get("total_received").int(), 0);
    let received = recv_copy(&server, "bob PX 600000");
    assert_eq!(deliveries(&received), [1]);
    assert_eq!(server.run(&format!("LTMC.MSG.NACK n bob {id}")).int(), 1);
    assert_eq!((server.run("LTMC.MSG.DEAD n").array().len(), server.run("LTMC.MSG.DEAD m").array().len()), (1, 0));
    server.run("COPY n o").int();
    assert_eq!(server.run(&format!("LTMC.MSG.REQUEUE o bob {id}")).int(), 1);
    assert_eq!(payloads(server.run("LTMC.MSG.RECV o bob").array()), ["poison"]);
}

#[test]
fn time_goes_on_in_a_copy() {
    let server = Server::start();
    let replica = server.replica();
    send(&server, "ada TO 1 bob mortal PX 60000");
    let delayed = send(&server, "ada TO 1 eve delayed");
    recv(&server, "eve PX 600000");
    server.run(&format!("LTMC.MSG.NACK m eve {delayed} DELAY 60000")).int();
    server.run("COPY m n").int();
    server.run("COPY m n DB 5").int();
    server.run("DEL m").int();
    let mut waits = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waits), |_| "LTMC.MSG.RECV n eve PX 60000 BLOCK 0".into());
    set_clock(&server, 60_001);
    assert_eq!(payloads(waits.recv().array()), ["delayed"]);
    wait_for(&server, "mail.expired", 2);
    wait_for(&server, "mail.delayended", 2);
    // A lease that begins in the copy ends there.
    set_clock(&server, 150_000);
    wait_for(&server, "mail.leaseended", 1);
    assert_eq!(deliveries(&recv_copy(&server, "eve")), [3]);
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
}

#[test]
fn who_waits_at_the_copys_name_is_served_from_it() {
    let server = Server::start();
    send(&server, "ada TO 1 bob received");
    recv(&server, "bob PX 600000");
    let mut waits = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waits), |_| "LTMC.MSG.RECV n bob BLOCK 0".into());
    assert_eq!(server.run("COPY m n").int(), 1);
    assert_eq!(payloads(waits.recv().array()), ["received"]);
}

#[test]
fn many_messages_with_many_receivers_are_copied() {
    let server = Server::start();
    let agents: Vec<String> = (0..40).map(|n| format!("agent{n}")).collect();
    for n in 0..50 {
        send(&server, &format!("ada TO {} {} {}", 2 + n % 30, agents[..2 + n % 30].join(" "), "x".repeat(2000)));
    }
    agents.iter().for_each(|agent| drop(recv(&server, &format!("{agent} COUNT 3 PX 600000"))));
    let before = server.info_int("memory", "used_memory");
    (0..20).for_each(|n| assert_eq!(server.run(&format!("COPY m copy{n}")).int(), 1));
    let (more, whole) = (server.info_int("memory", "used_memory") - before, server.run("MEMORY USAGE copy3").int());
    assert!(more < 20 * (whole - 50 * 2000) * 2, "{more} more for 20 copies of {whole}: payloads are shared");
    assert_eq!(server.run("LTMC.REPAIR copy3").get("was_broken").int(), 0);
    server.run("LTMC.MSG.LEAVE m agent0").int();
    server.run("UNLINK m").int();
    assert_eq!(server.run("LTMC.MSG.RECV copy3 agent0 COUNT 100").array().len(), 50);
}
