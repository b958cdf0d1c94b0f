//! Persistence, replication, failover, AOF of mailboxes.

use super::*;
use crate::waiting::{set_clock, waiting};
use serde_json::Value;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;

/// The events of a mailbox; each of them happens in [`make_everything`].
const EVENTS: [&str; 14] = [
    "mail.joined",
    "mail.left",
    "mail.sent",
    "mail.received",
    "mail.extended",
    "mail.acked",
    "mail.returned",
    "mail.leaseended",
    "mail.delayended",
    "mail.takenback",
    "mail.died",
    "mail.requeued",
    "mail.dropped",
    "mail.expired",
];

/// A mailbox in which everything that can happen has happened.
pub fn make_everything(server: &Server) {
    let run = |line: &str| {
        let reply = server.run(&format!("LTMC.MSG.{line}"));
        assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
        reply
    };
    server.run("CONFIG SET ltmc.mail-dead-max 2").ok();
    run("JOIN m joined");
    run("JOIN m gone");
    run("SEND m ada ALL hello");
    run("LEAVE m gone");
    let long = "payload".repeat(500);
    let ids: Vec<i64> =
        (0..12).map(|n| send(server, &format!("ada TO 3 bob eve joined {n}{long} REQID r{n}"))).collect();
    send(server, "ada TO 1 bob short PX 5000");
    send(server, &format!("ada TO 1 bob far PX {FAR_MS}"));
    let answer = send(server, &format!("bob REPLYTO {} answer", ids[0]));
    run("RECV m bob COUNT 3 PX 4000");
    run(&format!("RECV m bob COUNT 9 PX {FAR_MS}"));
    run(&format!("RECV m eve COUNT 5 PX {FAR_MS}"));
    run(&format!("EXTEND m bob {} PX {FAR_MS}", ids[1]));
    run(&format!("ACK m bob {} {}", ids[3], ids[4]));
    run(&format!("NACK m bob {}", ids[5]));
    run(&format!("NACK m bob {} DELAY 3000", ids[6]));
    run(&format!("NACK m bob {} DELAY {FAR_MS}", ids[7]));
    for id in &ids[..4] {
        run(&format!("NACK m eve {id} DEAD"));
    }
    run(&format!("REQUEUE m eve {}", ids[3]));
    set_clock(server, 6000);
    wait_for(server, "mail.leaseended", 1);
    wait_for(server, "mail.delayended", 1);
    wait_for(server, "mail.expired", 1);
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.MSG.RECV m late BLOCK 0".into());
    server.client().pipeline(&["LTMC.MSG.SEND m ada TO 1 late x", &format!("CLIENT KILL ID {}", waiter.id())]);
    wait_for(server, "mail.takenback", 1);
    run(&format!("RECV m ada REPLYTO {} PX {FAR_MS}", ids[0]));
    assert!(answer > ids[11]);
    run("SEND other ada TO 1 bob x");
    let mut client = server.client();
    client.run("SELECT 4").ok();
    client.run("LTMC.MSG.SEND m ada TO 1 bob elsewhere").int();
    for event in EVENTS {
        let field = format!("ltmc_event_{}", event.replace('.', "_"));
        assert!(server.info("ltmc").contains_key(&field), "{event} did not happen");
    }
    assert_eq!((waiting(server), server.info_int("ltmc", "ltmc_panics")), (0, 0));
}

/// What readers find.
fn found(server: &Server) -> Vec<Reply> {
    let lines = ["PENDING m bob", "PENDING m eve", "PENDING m ada", "DEAD m", "AGENTS m", "AGENTS other"];
    lines.iter().map(|line| server.run(&format!("LTMC.MSG.{line}"))).collect()
}

#[test]
fn everything_that_can_happen_to_a_mailbox_is_persisted_everywhere() {
    let mut primary = Server::builder().durable().start();
    let replica = primary.replica();
    make_everything(&primary);
    let seen = found(&primary);
    replica.wait_synced(&primary);
    assert_eq!(found(&replica), seen);
    assert_persisted_everywhere(&primary, &[&replica]);
    assert_eq!(found(&primary), seen, "what is derived is made anew");
    let request = format!("LTMC.MSG.SEND m ada TO 3 bob eve joined 5{} REQID r5", "payload".repeat(500));
    let again = primary.run(&request);
    replica.wait_synced(&primary);
    let last = primary.dataset();
    primary.kill();
    replica.promote();
    // Its clock was never moved, so nothing is due there.
    assert_same("promoted replica", &last, &replica.dataset());
    assert_eq!(found(&replica), seen);
    assert_eq!(replica.run(&request), again, "what was answered is remembered");
    assert!(send(&replica, "ada TO 1 bob new") > again.int());
    assert_eq!(replica.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn what_was_acknowledged_to_the_client_survives_a_crash() {
    let mut server = Server::builder().durable().start();
    let ids: Vec<i64> = (0..20).map(|n| send(&server, &format!("ada TO 1 bob {n}"))).collect();
    recv(&server, &format!("bob COUNT 5 PX {FAR_MS}"));
    recv(&server, "bob COUNT 5 PX 1");
    ack(&server, "bob", &ids[..2]);
    server.crash_and_restart();
    wait_until("short leases are over", || info(&server, "held") == 3);
    let all: Vec<String> = (5..20).map(|n| n.to_string()).collect();
    assert_eq!(read(&server, "bob COUNT 100"), all);
    assert_eq!(server.run("LTMC.MSG.PENDING m bob").array().len(), 18);
    assert!(send(&server, "ada TO 1 bob next") > ids[19]);
}

#[test]
fn an_aof_that_is_rewritten_while_messages_come_and_go_loses_nothing() {
    for preamble in ["yes", "no"] {
        let server = Server::builder().durable().arg("aof-use-rdb-preamble", preamble).start();
        let large = "x".repeat(3000);
        let lines: Vec<String> =
            (0..2000).map(|n| format!("LTMC.MSG.SEND m ada TO 2 a{} b {n}{large} PX {FAR_MS}", n % 9)).collect();
        server.client().pipeline(&lines);
        server.run("BGREWRITEAOF");
        let (mut client, mut turns) = (server.client(), 0);
        let is_rewriting = || {
            let info = server.info("persistence");
            info["aof_rewrite_in_progress"] == "1" || info["aof_rewrite_scheduled"] == "1"
        };
        while turns < 20 || is_rewriting() {
            let received = client.run(&format!("LTMC.MSG.RECV m a{} COUNT 3 PX {FAR_MS}", turns % 9));
            let ids: Vec<i64> = received.array().iter().map(|message| message.get("id").int()).collect();
            let lines = [
                format!("LTMC.MSG.ACK m a{} {}", turns % 9, ids.first().unwrap_or(&5)),
                format!("LTMC.MSG.NACK m a{} {}", turns % 9, ids.last().unwrap_or(&5)),
                format!("LTMC.MSG.SEND m ada TO 1 b {turns} REQID q{turns}"),
                format!("LTMC.MSG.SEND m{turns} ada TO 1 b {large}"),
            ];
            assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
            turns += 1;
        }
        assert_eq!(server.info("persistence")["aof_last_bgrewrite_status"], "ok");
        let before = server.dataset();
        server.cmd(&["DEBUG", "LOADAOF"]).ok();
        assert_same(&format!("AOF with RDB preamble {preamble}"), &before, &server.dataset());
    }
}

#[test]
fn a_mailbox_that_moves_keeps_its_deadlines() {
    let server = Server::start();
    for (turn, command) in
        ["RENAME m n", "MOVE m 3", "SWAPDB 0 2", "DEBUG RELOAD", "LTMC.REPAIR m", "PEXPIRE m 100000000"]
            .iter()
            .enumerate()
    {
        server.run("FLUSHALL").ok();
        set_clock(&server, 0);
        send(&server, "ada TO 1 bob x PX 20000");
        send(&server, "ada TO 1 bob y");
        recv(&server, "bob COUNT 2 PX 10000");
        assert!(!server.run(command).is_error(), "{command}");
        set_clock(&server, 10_001);
        wait_for(&server, "mail.leaseended", turn as i64 + 1);
        set_clock(&server, 20_001);
        wait_for(&server, "mail.expired", turn as i64 + 1);
    }
}

/// The kinds of the events in a stream, as `LTMC.EXPLAIN` shows them. Every command in it is one of
/// ours.
#[track_caller]
fn kinds(server: &Server, stream: &Stream) -> Vec<String> {
    let mut kinds = Vec::new();
    for command in stream.iter().filter(|command| !matches!(&command[0].to_ascii_uppercase()[..], b"MULTI" | b"EXEC")) {
        assert_eq!(command[0].to_ascii_uppercase(), b"LTMC.APPLY", "{:?}", show_stream(std::slice::from_ref(command)));
        let shown = server.cmd(
            &[&[b"LTMC.EXPLAIN".as_slice()], &command[2..].iter().map(Vec::as_slice).collect::<Vec<_>>()[..]].concat(),
        );
        let json: Value = serde_json::from_str(shown.text()).expect("it is JSON");
        for change in json["value"].as_array().expect("a list") {
            if let Some(name) = change.as_str() {
                kinds.push(name.into());
                continue;
            }
            let (name, inner) =
                change.as_object().and_then(|fields| fields.iter().next()).expect("a change has a name");
            let event = inner.as_object().and_then(|fields| fields.keys().next());
            kinds.push(event.filter(|_| name == "Event").unwrap_or(name).clone());
        }
    }
    kinds
}

#[test]
fn a_write_sends_its_events_and_nothing_else() {
    let server = Server::start();
    let mut tap = ReplicationTap::attach(&server);
    let mut sends = |line: &str, expected: &[&str]| {
        let reply = server.run(&format!("LTMC.MSG.{line}"));
        let stream = tap.take(&server);
        assert_eq!(kinds(&server, &stream), expected, "{line}: {reply:?}");
        reply
    };
    sends("JOIN m bob", &["Joined"]);
    sends("JOIN m bob", &[]);
    let id = sends("SEND m ada ALL x REQID q", &["Sent", "Answered"]).int();
    sends("SEND m ada ALL x REQID q", &[]);
    sends("SEND m ada CAP go REGISTRY r x", &[]);
    sends("RECV m bob PX 600000", &["Received"]);
    sends("RECV m bob", &[]);
    for line in ["PENDING m bob", "DEAD m", "AGENTS m", "INFO m", &format!("GET m {id}")] {
        sends(line, &[]);
    }
    sends(&format!("EXTEND m bob {id} PX 600000"), &["Extended"]);
    sends(&format!("EXTEND m eve {id} PX 600000"), &[]);
    sends(&format!("NACK m bob {id} DEAD"), &["Died"]);
    sends(&format!("NACK m bob {id}"), &[]);
    sends(&format!("REQUEUE m bob {id}"), &["Requeued"]);
    sends(&format!("ACK m bob {id}"), &["Acknowledged"]);
    sends(&format!("ACK m bob {id}"), &[]);
    sends(&format!("SEND m ada ALL {}", "x".repeat(5000)), &["Sent"]);
    sends("LEAVE m bob", &["Left", "Gone"]);
    sends("LEAVE m bob", &[]);
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn a_large_payload_travels_once_and_beside_the_frame() {
    let server = Server::start();
    let payload = "x".repeat(1_000_000);
    let stream = replication_stream(&server, || {
        send(&server, &format!("ada TO 3 b c d {payload}"));
    });
    let sizes: Vec<usize> = stream[0].iter().map(Vec::len).collect();
    assert_eq!((sizes.len(), sizes[3]), (4, 1_000_000), "{sizes:?}");
    assert!(sizes[2] < 200, "{sizes:?}");
}

#[test]
fn replicas_read_and_do_not_decide() {
    let primary = Server::start();
    let replica = primary.replica();
    let id = send(&primary, "ada TO 2 bob eve x PX 60000");
    recv(&primary, "bob PX 5000");
    replica.wait_synced(&primary);
    replica.run("CONFIG SET replica-read-only no").ok();
    for line in [
        "SEND m a TO 1 b x".to_string(),
        "RECV m bob".into(),
        format!("ACK m bob {id}"),
        format!("NACK m bob {id}"),
        format!("EXTEND m bob {id} PX 5"),
        format!("REQUEUE m bob {id}"),
        "JOIN m bob".into(),
        "LEAVE m bob".into(),
    ] {
        assert_eq!(replica.run(&format!("LTMC.MSG.{line}")).error_code(), "READONLY", "{line}");
    }
    set_clock(&replica, 600_000);
    assert_eq!(replica.run("LTMC.MSG.PENDING m bob").array().len(), 1, "only the primary ends leases and messages");
    assert_eq!(replica.run("LTMC.MSG.INFO m").get("messages").int(), 1);
}
