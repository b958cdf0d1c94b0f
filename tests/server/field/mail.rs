//! Mailboxes.

use crate::harness::*;
use crate::waiting::set_clock;

/// What an agent receives of the mailbox `m`: the ids, and the one fence of all.
#[track_caller]
fn receive(server: &Server, more: &str) -> (Vec<i64>, i64) {
    let messages = server.run(&format!("LTMC.MSG.RECV m bob {more}"));
    let fences: Vec<i64> = messages.array().iter().map(|message| message.get("fence").int()).collect();
    assert!(!fences.is_empty() && fences.iter().all(|fence| *fence == fences[0]), "{messages:?}");
    (messages.array().iter().map(|message| message.get("id").int()).collect(), fences[0])
}

#[test]
fn a_receiver_whose_lease_is_over_takes_nothing_from_the_one_who_has_it_now() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    for n in 0..3 {
        server.run(&format!("LTMC.MSG.SEND m ada TO 1 bob m{n}")).int();
    }
    let (ids, first) = receive(&server, "COUNT 2 PX 1000");
    set_clock(&server, 1_001);
    let (again, second) = receive(&server, "COUNT 2 PX 600000");
    assert_eq!(again, ids);
    assert!(second > first);
    let pending = server.run("LTMC.MSG.PENDING m bob");
    assert!(pending.array().iter().all(|message| message.get("fence").int() == second), "{pending:?}");
    let (one, two) = (ids[0], ids[1]);
    for line in [
        format!("LTMC.MSG.ACK m bob {one} TOKEN {first}"),
        format!("LTMC.MSG.ACK m bob {one} {two} TOKEN {first}"),
        format!("LTMC.MSG.NACK m bob {one} TOKEN {first}"),
        format!("LTMC.MSG.NACK m bob {one} DELAY 5 TOKEN {first}"),
        format!("LTMC.MSG.NACK m bob {one} TOKEN {first} DEAD"),
        format!("LTMC.MSG.EXTEND m bob {one} PX 5 TOKEN {first}"),
        format!("LTMC.MSG.EXTEND m bob {one} PX 5 TOKEN 0"),
    ] {
        let error = server.run(&line);
        assert_eq!(error.error_code(), "STALE", "{line}");
        assert!(error.error().contains(&second.to_string()), "{error:?}");
    }
    // The fence stays through an extension, a reload and a failover.
    assert_eq!(server.run(&format!("LTMC.MSG.EXTEND m bob {one} TOKEN {second} EX 900")).int(), 1);
    server.run("DEBUG RELOAD").ok();
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
    assert_eq!(server.run(&format!("LTMC.MSG.NACK m bob {one} DELAY 500 TOKEN {second}")).int(), 1);
    let delayed = server.run(&format!("LTMC.MSG.ACK m bob {one} TOKEN {second}"));
    assert_eq!(delayed.error_code(), "STALE", "nobody has it");
    // A request can be repeated.
    for acked in [1, 0] {
        assert_eq!(server.run(&format!("LTMC.MSG.ACK m bob {two} TOKEN {second}")).int(), acked);
    }
    // Without a token all is as it was.
    assert_eq!(server.run(&format!("LTMC.MSG.ACK m bob {one}")).int(), 1);
    let error = server.run(&format!("LTMC.MSG.ACK m bob TOKEN {second}"));
    assert!(error.error().contains("id is missing"), "{error:?}");
    let error = server.run(&format!("LTMC.MSG.EXTEND m bob {one} TOKEN {second} TOKEN 2"));
    assert!(error.error().contains("TOKEN is given twice"), "{error:?}");
}
