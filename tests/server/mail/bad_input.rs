//! What is refused, and that nothing changes then.

use super::*;
use crate::bad_input::{all_refusals, refused_as, refused_line, Refusals, FIXED, SYNTAX};

/// A server with a mailbox, a lock and a text that must not change.
fn with_data() -> Server {
    let server = Server::start();
    server.run("SET text v").ok();
    server.run("LTMC.LOCK lock b PX 600000").int();
    server.run("LTMC.REGISTER r b CAPS 1 go PX 6000000").int();
    let id = send(&server, "ada TO 2 bob eve hello PX 6000000");
    send(&server, "ada TO 1 bob again");
    recv(&server, "bob PX 600000");
    assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {id} DEAD")).int(), 1);
    server
}

const OF: Refusals = Refusals {
    with_data,
    names: &["LTMC.MSG"],
    key: "m",
    others: &["text", "lock", "r"],
    least: &[
        ("LTMC.MSG.SEND @ ada ALL x", SYNTAX),
        ("LTMC.MSG.RECV @ bob", SYNTAX),
        ("LTMC.MSG.ACK @ bob 5", Some("id is '")),
        ("LTMC.MSG.NACK @ bob 5", SYNTAX),
        ("LTMC.MSG.EXTEND @ bob 5 PX 5", SYNTAX),
        ("LTMC.MSG.REQUEUE @ bob 5", FIXED),
        ("LTMC.MSG.JOIN @ bob", SYNTAX),
        ("LTMC.MSG.LEAVE @ bob", FIXED),
        ("LTMC.MSG.PENDING @ bob", SYNTAX),
        ("LTMC.MSG.DEAD @", SYNTAX),
        ("LTMC.MSG.GET @ 5", FIXED),
        ("LTMC.MSG.AGENTS @", SYNTAX),
        ("LTMC.MSG.INFO @", FIXED),
    ],
    options: &[
        ("LTMC.MSG.SEND m ada TO 1 bob x", "REPLYTO 5|PX 5|EX 5|REQID i"),
        ("LTMC.MSG.RECV m bob", "COUNT 1|PX 5|EX 5|BLOCK 1|REPLYTO 5"),
        ("LTMC.MSG.NACK m bob 5", "DELAY 5|DEAD"),
        ("LTMC.MSG.PENDING m bob", "LIMIT 0 1"),
        ("LTMC.MSG.DEAD m", "LIMIT 0 1"),
        ("LTMC.MSG.AGENTS m", "LIMIT 0 1"),
    ],
    numbers: &[
        ("LTMC.MSG.SEND m a TO # b x", "the number of values of TO", 1, 1000000),
        ("LTMC.MSG.SEND m a REPLYTO # x", "REPLYTO", 1, 9007199254740991),
        ("LTMC.MSG.SEND m a TO 1 b x REPLYTO #", "REPLYTO", 1, 9007199254740991),
        ("LTMC.MSG.SEND m a TO 1 b x PX #", "PX", 1, 3153600000000),
        ("LTMC.MSG.SEND m a TO 1 b x EX #", "EX", 1, 3153600000),
        ("LTMC.MSG.RECV m bob COUNT #", "COUNT", 1, 1000),
        ("LTMC.MSG.RECV m bob PX #", "PX", 1, 3153600000000),
        ("LTMC.MSG.RECV m bob EX #", "EX", 1, 3153600000),
        ("LTMC.MSG.RECV m bob BLOCK #", "BLOCK", 0, 3153600000000),
        ("LTMC.MSG.RECV m bob REPLYTO #", "REPLYTO", 1, 9007199254740991),
        ("LTMC.MSG.ACK m bob #", "id", 1, 9007199254740991),
        ("LTMC.MSG.ACK m bob 5 6 #", "id", 1, 9007199254740991),
        ("LTMC.MSG.NACK m bob #", "id", 1, 9007199254740991),
        ("LTMC.MSG.NACK m bob 5 DELAY #", "DELAY", 1, 3153600000000),
        ("LTMC.MSG.EXTEND m bob # PX 5", "id", 1, 9007199254740991),
        ("LTMC.MSG.EXTEND m bob 5 PX #", "PX", 1, 3153600000000),
        ("LTMC.MSG.EXTEND m bob 5 EX #", "EX", 1, 3153600000),
        ("LTMC.MSG.REQUEUE m bob #", "id", 1, 9007199254740991),
        ("LTMC.MSG.GET m #", "id", 1, 9007199254740991),
        ("LTMC.MSG.PENDING m bob LIMIT # 1", "the offset after LIMIT", 0, 10000000),
        ("LTMC.MSG.DEAD m LIMIT 1 #", "the count after LIMIT offset", 0, 10000000),
    ],
    texts: &[
        ("LTMC.MSG.SEND m # ALL x", "", 1, 256),
        ("LTMC.MSG.SEND m a TO 2 b # x", "", 1, 256),
        ("LTMC.MSG.SEND m a TO 1 b x REQID #", "", 1, 256),
        ("LTMC.MSG.RECV m #", "", 1, 256),
        ("LTMC.MSG.ACK m # 5", "", 1, 256),
        ("LTMC.MSG.NACK m # 5", "", 1, 256),
        ("LTMC.MSG.EXTEND m # 5 PX 5", "", 1, 256),
        ("LTMC.MSG.REQUEUE m # 5", "", 1, 256),
        ("LTMC.MSG.JOIN m #", "", 1, 256),
        ("LTMC.MSG.LEAVE m #", "", 1, 256),
        ("LTMC.MSG.PENDING m #", "", 1, 256),
    ],
};

all_refusals!(OF);

#[test]
fn options_that_are_unknown_or_exclude_each_other_are_refused() {
    let server = with_data();
    for (line, part) in [
        ("LTMC.MSG.SEND m ada bob hello", "destination is 'bob', allowed are TO, CAP, REGISTRY, ALL, REPLYTO"),
        ("LTMC.MSG.SEND m ada hello REPLYTO 5", "destination is 'hello'"),
        ("LTMC.MSG.SEND m ada TO bob hello", "the number of values of TO is 'bob'"),
        ("LTMC.MSG.SEND m ada TO 0 hello", "the number of values of TO is '0'"),
        ("LTMC.MSG.SEND m ada TO 2 bob", "TO announces 2 values, but only 1 follow"),
        ("LTMC.MSG.SEND m ada TO 1 bob", "payload is missing"),
        ("LTMC.MSG.SEND m ada CAP go r hello", "the word after the capability is 'r', allowed are REGISTRY"),
        ("LTMC.MSG.SEND m ada CAP go@x REGISTRY r hello", "go@x"),
        ("LTMC.MSG.SEND m ada CAP go REGISTRY", "registry is missing"),
        ("LTMC.MSG.SEND m ada REGISTRY r", "payload is missing"),
        ("LTMC.MSG.SEND m ada TO 1 bob x PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.MSG.SEND m ada REPLYTO 5 x REPLYTO 6", "option REPLYTO is given twice"),
        ("LTMC.MSG.SEND m ada REPLYTO 5 x", "that message is not in the mailbox any more"),
        ("LTMC.MSG.SEND m ada TO 1 bob x COUNT 5", "'COUNT' is not understood here"),
        ("LTMC.MSG.RECV m bob PX 5 EX 5", "PX and EX exclude each other"),
        ("LTMC.MSG.RECV m bob REQID x", "'REQID' is not understood here"),
        ("LTMC.MSG.NACK m bob 5 DELAY 5 DEAD", "DELAY and DEAD exclude each other"),
        ("LTMC.MSG.EXTEND m bob 5 XX 5", "'XX' is not understood here"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn a_registry_of_another_type_is_refused_and_so_is_a_mailbox_by_others() {
    let server = with_data();
    for registry in ["text", "lock", "m"] {
        for destination in ["CAP go REGISTRY", "REGISTRY"] {
            let line = format!("LTMC.MSG.SEND m a {destination} {registry} x");
            refused_as(&server, &line.split(' ').collect::<Vec<_>>(), "WRONGTYPE", "wrong kind of value");
        }
    }
    for line in ["LTMC.LOCK m a", "LTMC.REGISTER m a", "LTMC.SESSION.SET m f v", "GET m"] {
        assert!(server.run(line).is_error(), "{line}");
    }
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let server = with_data();
    let stream = replication_stream(&server, || {
        send(&server, "ada TO 1 bob third");
    });
    let payload = &stream[0][2];
    let explained = server.cmd(&[b"LTMC.EXPLAIN".as_slice(), payload]);
    assert!(explained.text().contains("ltmc-mail") && explained.text().contains("third"), "{explained:?}");
    // Sent again under the same id: ignored.
    let before = info(&server, "messages");
    server.cmd(&[b"LTMC.APPLY".as_slice(), b"m", payload]).ok();
    assert_eq!(info(&server, "messages"), before);
    assert_eq!(server.cmd(&[b"LTMC.APPLY".as_slice(), b"lock", payload]).error_code(), "WRONGTYPE");
    for end in 0..payload.len() {
        assert!(server.cmd(&[b"LTMC.APPLY".as_slice(), b"m", &payload[..end]]).is_error());
    }
    server.cmd(&[b"LTMC.APPLY".as_slice(), b"new", payload]).ok();
    assert_eq!(server.run("LTMC.MSG.INFO new").get("messages").int(), 1);
}
