//! What is refused, and that nothing changes then.

use super::*;
use crate::bad_input::{doubled_and_cut_off, out_of_range, refused_as, refused_line};

/// A server with a mailbox, a lock and a text on it that must not change.
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

/// Each command with no more than it needs, and whether it takes no more.
const LEAST: &[(&str, bool)] = &[
    ("LTMC.MSG.SEND m ada ALL x", false),
    ("LTMC.MSG.RECV m bob", false),
    ("LTMC.MSG.ACK m bob 5", false),
    ("LTMC.MSG.NACK m bob 5", false),
    ("LTMC.MSG.EXTEND m bob 5 PX 5", true),
    ("LTMC.MSG.REQUEUE m bob 5", true),
    ("LTMC.MSG.JOIN m bob", false),
    ("LTMC.MSG.LEAVE m bob", true),
    ("LTMC.MSG.PENDING m bob", false),
    ("LTMC.MSG.DEAD m", false),
    ("LTMC.MSG.GET m 5", true),
    ("LTMC.MSG.AGENTS m", false),
    ("LTMC.MSG.INFO m", true),
];

#[test]
fn too_few_and_too_many_arguments_are_refused_by_every_command() {
    let server = with_data();
    for (line, is_fixed) in LEAST {
        let words: Vec<&str> = line.split(' ').collect();
        for count in 1..words.len() {
            refused_as(&server, &words[..count], "ERR", "wrong number of arguments");
        }
        for surplus in ["surplus", "", "NX\0", "\u{e9}"] {
            let part = match words[0] {
                "LTMC.MSG.ACK" => "id is '".to_string(),
                _ if *is_fixed => "wrong number of arguments".into(),
                name => format!("syntax: {name}"),
            };
            refused_as(&server, &[&words[..], &[surplus]].concat(), "ERR", &part);
        }
    }
}

#[test]
fn options_that_are_unknown_double_exclusive_or_cut_off_are_refused() {
    let server = with_data();
    for (command, options) in [
        ("LTMC.MSG.SEND m ada TO 1 bob x", "REPLYTO 5|PX 5|EX 5|REQID i"),
        ("LTMC.MSG.RECV m bob", "COUNT 1|PX 5|EX 5|BLOCK 1|REPLYTO 5"),
        ("LTMC.MSG.NACK m bob 5", "DELAY 5|DEAD"),
        ("LTMC.MSG.PENDING m bob", "LIMIT 0 1"),
        ("LTMC.MSG.DEAD m", "LIMIT 0 1"),
        ("LTMC.MSG.AGENTS m", "LIMIT 0 1"),
    ] {
        doubled_and_cut_off(&server, command, options);
    }
    for (line, part) in [
        ("LTMC.MSG.SEND m ada bob hello", "the destination is 'bob', allowed are TO, CAP, REGISTRY, ALL, REPLYTO"),
        ("LTMC.MSG.SEND m ada hello REPLYTO 5", "the destination is 'hello'"),
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
        ("LTMC.MSG.EXTEND m bob 5 XX 5", "the lease is 'XX', allowed are PX, EX"),
    ] {
        refused_line(&server, line, part);
    }
}

#[test]
fn numbers_out_of_their_range_are_refused_with_that_range() {
    let server = with_data();
    for (line, name, least, most) in [
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
    ] {
        out_of_range(&server, line, name, least, most);
    }
}

#[test]
fn ids_that_are_empty_or_too_long_are_refused() {
    let server = with_data();
    let long = "x".repeat(257);
    for id in ["", &long] {
        for line in [
            "LTMC.MSG.SEND m # ALL x",
            "LTMC.MSG.SEND m a TO 2 b # x",
            "LTMC.MSG.SEND m a TO 1 b x REQID #",
            "LTMC.MSG.RECV m #",
            "LTMC.MSG.ACK m # 5",
            "LTMC.MSG.NACK m # 5",
            "LTMC.MSG.EXTEND m # 5 PX 5",
            "LTMC.MSG.REQUEUE m # 5",
            "LTMC.MSG.JOIN m #",
            "LTMC.MSG.LEAVE m #",
            "LTMC.MSG.PENDING m #",
        ] {
            let words: Vec<&str> = line.split(' ').map(|word| if word == "#" { id } else { word }).collect();
            refused_as(&server, &words, "ERR", &format!("is {} bytes long, allowed are 1 to 256", id.len()));
        }
    }
}

#[test]
fn a_key_of_another_type_is_refused_by_every_command() {
    let server = with_data();
    for (line, _) in LEAST {
        for key in ["text", "lock", "r"] {
            let line = line.replacen(" m", &format!(" {key}"), 1);
            refused_as(&server, &line.split(' ').collect::<Vec<_>>(), "WRONGTYPE", "wrong kind of value");
        }
    }
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
    // Sent once more under the same id: passed over.
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
