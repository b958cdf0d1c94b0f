//! Sending, receiving and acknowledging.

use super::*;
use crate::waiting::set_clock;

#[test]
fn a_message_is_received_with_a_lease_and_gone_when_it_is_acknowledged() {
    let server = Server::start();
    let id = send(&server, "ada TO 1 bob hello");
    assert!(id > 1_700_000_000_000_000, "an id is a fence: {id}");
    assert!(recv(&server, "ada").is_empty(), "it is for bob");
    let messages = recv(&server, "bob PX 60000");
    let message = &messages[0];
    assert_eq!(messages.len(), 1);
    assert_eq!((message.get("id").int(), message.get("from").text()), (id, "ada"));
    assert_eq!((message.get("payload").text(), message.get("deliveries").int()), ("hello", 1));
    assert!(message.get("reply_to").is_nil() && message.get("expires_at_ms").is_nil());
    let lease = message.get("ends_at_ms").int() - message.get("sent_at_ms").int();
    assert!((60_000..120_000).contains(&lease), "{lease}");
    assert!(recv(&server, "bob COUNT 10").is_empty(), "it is received already");
    assert_eq!(ack(&server, "ada", &[id]), 0, "ada has not received it");
    assert_eq!(ack(&server, "bob", &[id, id, 4]), 1, "it counts once");
    assert_eq!(ack(&server, "bob", &[id]), 0);
    assert_eq!(server.run("EXISTS m").int(), 0, "an emptied mailbox is deleted");
}

#[test]
fn messages_are_received_in_the_order_in_which_they_were_sent() {
    let server = Server::start();
    let lines: Vec<String> = (0..60).map(|n| format!("LTMC.MSG.SEND m s{} TO 1 bob {n}", n % 3)).collect();
    let ids: Vec<i64> = server.client().pipeline(&lines).iter().map(Reply::int).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "ids grow: {ids:?}");
    let mut seen = Vec::new();
    for count in [1, 2, 7, 50] {
        seen.extend(read(&server, &format!("bob COUNT {count}")));
    }
    let all: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(seen, all);
    assert_eq!(ack(&server, "bob", &ids), 60);
}

#[test]
fn a_message_for_several_is_stored_once_and_goes_with_the_last() {
    let server = Server::start();
    let payload = "x".repeat(100_000);
    let id = send(&server, &format!("ada TO 4 b c d b {payload}"));
    assert_eq!((info(&server, "messages"), info(&server, "payload_bytes")), (1, 100_000));
    assert_eq!((info(&server, "agents"), info(&server, "ready")), (3, 3), "who is named twice gets it once");
    let usage = server.run("MEMORY USAGE m").int();
    assert!((100_000..180_000).contains(&usage), "{usage}");
    for (done, agent) in ["b", "c", "d"].into_iter().enumerate() {
        assert_eq!(info(&server, "agents"), 3 - done as i64);
        assert_eq!(read(&server, agent), std::slice::from_ref(&payload));
        assert_eq!(ack(&server, agent, &[id]), 1);
    }
    assert_eq!(server.run("EXISTS m").int(), 0);
}

#[test]
fn any_bytes_can_be_sent_and_are_received_as_they_are() {
    let server = Server::start();
    let mut client = server.client();
    let large: Vec<u8> = (0..2_000_000u32).map(|n| (n.wrapping_mul(7919) >> 3) as u8).collect();
    for payload in [&b""[..], b"\0\r\n\xff\xfe", b"TO", b"registry", b"ALL", &large] {
        let id = client.cmd(&[b"LTMC.MSG.SEND".as_slice(), b"m", b"a\0\xff", b"TO", b"1", b"\x01b\n", payload]).int();
        let received = client.cmd(&[b"LTMC.MSG.RECV".as_slice(), b"m", b"\x01b\n"]);
        let message = &received.array()[0];
        assert_eq!(message.get("payload").bytes(), payload);
        assert_eq!((message.get("from").bytes(), message.get("id").int()), (&b"a\0\xff"[..], id));
        let id = id.to_string();
        assert_eq!(client.cmd(&[b"LTMC.MSG.ACK".as_slice(), b"m", b"\x01b\n", id.as_bytes()]).int(), 1);
    }
}

#[test]
fn an_answer_goes_to_who_sent_the_message() {
    let server = Server::start();
    let question = send(&server, "ada TO 2 bob eve what?");
    let answer = send(&server, &format!("bob REPLYTO {question} this"));
    let other = send(&server, &format!("eve TO 1 ada that REPLYTO {question}"));
    send(&server, "bob TO 1 ada besides");
    let messages = recv(&server, &format!("ada REPLYTO {question} COUNT 5"));
    assert_eq!(payloads(&messages), ["this", "that"], "only answers to it");
    assert_eq!(messages.iter().map(|m| m.get("id").int()).collect::<Vec<_>>(), [answer, other]);
    assert!(messages.iter().all(|message| message.get("reply_to").int() == question));
    assert!(recv(&server, &format!("ada REPLYTO {answer}")).is_empty());
    assert_eq!(read(&server, "ada COUNT 5"), ["besides"]);
    assert_eq!(ack(&server, "bob", &[question]), 1);
    assert!(server.run(&format!("LTMC.MSG.SEND m eve REPLYTO {question} late")).int() > 0, "eve still has it");
    assert_eq!(ack(&server, "eve", &[question]), 1);
    let refused = server.run(&format!("LTMC.MSG.SEND m bob REPLYTO {question} late"));
    assert_eq!(refused.error_code(), "ERR");
    assert!(refused.error().contains("say TO whom"), "{refused:?}");
}

#[test]
fn a_request_that_is_sent_again_is_one_message() {
    let server = Server::start();
    let id = send(&server, "ada TO 1 bob once REQID job");
    assert_eq!(send(&server, "ada TO 1 bob once REQID job"), id);
    let other = send(&server, "eve TO 1 bob other REQID job");
    assert!(other > id, "the ids belong to the sender");
    assert_eq!(read(&server, "bob COUNT 9"), ["once", "other"]);
    ack(&server, "bob", &[id]);
    assert_eq!(send(&server, "ada TO 1 bob once REQID job"), id, "even if it is done with");
    assert_eq!(info(&server, "messages"), 1);
}

#[test]
fn a_message_that_expires_is_gone_wherever_it_is() {
    let server = Server::start();
    let short = send(&server, "ada TO 4 ready has dead late short PX 60000");
    send(&server, "ada TO 4 ready has dead late long EX 3600");
    send(&server, "ada TO 1 ready stays");
    let received = recv(&server, "has COUNT 2 PX 10000000");
    let (sent, expires) = (received[0].get("sent_at_ms").int(), received[0].get("expires_at_ms").int());
    assert_eq!(expires, sent + 60_000);
    recv(&server, "dead");
    assert_eq!(server.run(&format!("LTMC.MSG.NACK m dead {short} DEAD")).int(), 1);
    // The scheduler has no turn in a transaction. Still an expired message is not received.
    let replies =
        server.client().pipeline(&["MULTI", "LTMC.DEBUG CLOCK 60001", "LTMC.MSG.RECV m late COUNT 5", "EXEC"]);
    assert_eq!(payloads(replies[3].array()[1].array()), ["long"]);
    wait_for(&server, "mail.expired", 1);
    assert_eq!((info(&server, "dead"), info(&server, "messages")), (0, 2));
    assert!(server.run(&format!("LTMC.MSG.GET m {short}")).is_nil());
    assert_eq!(ack(&server, "has", &[short]), 0);
    assert_eq!(server.run("LTMC.MSG.PENDING m has").array().len(), 1);
    assert_eq!(read(&server, "ready COUNT 5"), ["long", "stays"]);
    set_clock(&server, 3_600_001);
    wait_for(&server, "mail.expired", 2);
    assert_eq!((info(&server, "messages"), info(&server, "total_expired")), (1, 2));
}

#[test]
fn many_messages_that_expire_at_once_go_in_batches() {
    let server = Server::start();
    let lines: Vec<String> = (0..2000).map(|n| format!("LTMC.MSG.SEND m ada TO 2 b c {n} PX 100000")).collect();
    server.client().pipeline(&lines);
    set_clock(&server, 100_001);
    wait_until("all are gone", || server.run("EXISTS m").int() == 0);
    assert!(server.info_int("ltmc", "ltmc_event_mail_expired") >= 2000 / 256);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn a_mailbox_has_bounds() {
    let server = Server::start();
    let limit = |line: &str, setting: &str| {
        let before = server.debug_digest();
        let reply = server.run(&format!("LTMC.MSG.{line}"));
        assert_eq!(reply.error_code(), "LIMIT", "{line}: {reply:?}");
        assert!(reply.error().contains(setting), "{line}: {reply:?}");
        assert_eq!(server.debug_digest(), before, "{line}");
    };
    server.run("CONFIG SET ltmc.mail-inbox-max 2 ltmc.mail-messages-max 3 ltmc.mail-bytes-max 1024").ok();
    let first = send(&server, "ada TO 2 b c one");
    send(&server, "ada TO 1 b two");
    limit("SEND m ada TO 2 b d three", "ltmc.mail-inbox-max");
    send(&server, "ada TO 1 d three");
    limit("SEND m ada TO 1 d four", "ltmc.mail-messages-max");
    assert_eq!(ack(&server, "b", &[first]) + ack(&server, "c", &[first]), 2);
    limit(&format!("SEND m ada TO 1 d {}", "x".repeat(1024 - 7)), "ltmc.mail-bytes-max");
    send(&server, &format!("ada TO 1 d {}", "x".repeat(1024 - 8)));
    server.run("CONFIG SET ltmc.mail-agents-max 3 ltmc.mail-messages-max 9 ltmc.mail-bytes-max 9999").ok();
    limit("SEND m ada TO 2 e f five", "ltmc.mail-agents-max");
    assert_eq!(server.run("LTMC.MSG.JOIN m e").int(), 1);
    limit("JOIN m f", "ltmc.mail-agents-max");
    send(&server, "ada TO 1 e five");
}

#[test]
fn what_is_in_a_mailbox_can_be_looked_at() {
    let server = Server::start();
    for line in ["LTMC.MSG.INFO m", "LTMC.MSG.GET m 5"] {
        assert!(server.run(line).is_nil(), "{line}");
    }
    for line in ["LTMC.MSG.AGENTS m", "LTMC.MSG.DEAD m", "LTMC.MSG.PENDING m bob", "LTMC.MSG.RECV m bob"] {
        assert!(server.run(line).array().is_empty(), "{line}");
    }
    let ids: Vec<i64> = (0..4).map(|n| send(&server, &format!("ada TO 2 bob eve {n}"))).collect();
    server.run("LTMC.MSG.JOIN m tom").int();
    recv(&server, "bob COUNT 3 PX 50000");
    server.run(&format!("LTMC.MSG.NACK m bob {} DELAY 9000", ids[1])).int();
    server.run(&format!("LTMC.MSG.NACK m bob {} DEAD", ids[2])).int();
    assert_eq!(ack(&server, "eve", &[ids[3]]), 1, "what was never received can be done with, too");
    let shown = server.run(&format!("LTMC.MSG.GET m {}", ids[0]));
    assert_eq!((shown.get("from").text(), shown.get("payload").text()), ("ada", "0"));
    let states = |id: i64| {
        let shown = server.run(&format!("LTMC.MSG.GET m {id}"));
        let of = |one: &Reply| format!("{} {}", one.get("agent").text(), one.get("state").text());
        shown.get("receivers").array().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(states(ids[0]), ["bob received", "eve ready"]);
    assert_eq!(states(ids[1]), ["bob delayed", "eve ready"]);
    assert_eq!(states(ids[2]), ["bob dead", "eve ready"]);
    assert_eq!(states(ids[3]), ["bob ready"]);
    let pending = server.run("LTMC.MSG.PENDING m bob");
    assert_eq!(pending.array().len(), 1);
    assert_eq!((pending.array()[0].get("id").int(), pending.array()[0].get("deliveries").int()), (ids[0], 1));
    let agents = server.run("LTMC.MSG.AGENTS m");
    let names: Vec<&str> = agents.array().iter().map(|agent| agent.get("agent").text()).collect();
    assert_eq!(names, ["bob", "eve", "tom"]);
    assert!(agents.array()[0].get("joined_at_ms").is_nil() && agents.array()[2].get("joined_at_ms").int() > 0);
    assert_eq!(server.run("LTMC.MSG.AGENTS m LIMIT 1 1").array()[0].get("agent").text(), "eve");
    let counted = ["messages", "agents", "joined", "ready", "held", "dead", "waiting", "total_sent", "total_received"];
    let numbers: Vec<i64> = counted.iter().map(|field| info(&server, field)).collect();
    assert_eq!(numbers, [4, 3, 1, 4, 2, 1, 0, 4, 3]);
    assert!(info(&server, "memory_bytes") > 0 && info(&server, "oldest_at_ms") > 0 && info(&server, "revision") > 0);
}

#[test]
fn pages_of_lists_fit_together() {
    let server = Server::start();
    let ids: Vec<i64> = (0..10).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    recv(&server, "bob COUNT 10");
    let page = |command: &str, limit: &str| {
        let reply = server.run(&format!("LTMC.MSG.{command} {limit}"));
        reply.array().iter().map(|one| one.get("id").int()).collect::<Vec<_>>()
    };
    let check = |command: &str| {
        assert_eq!(page(command, ""), ids);
        assert_eq!(page(command, "LIMIT 0 3"), ids[..3]);
        assert_eq!(page(command, "LIMIT 8 3"), ids[8..]);
        assert!(page(command, "LIMIT 10 3").is_empty() && page(command, "LIMIT 0 0").is_empty());
    };
    check("PENDING m bob");
    for id in &ids {
        server.run(&format!("LTMC.MSG.NACK m bob {id} DEAD")).int();
    }
    check("DEAD m");
}
