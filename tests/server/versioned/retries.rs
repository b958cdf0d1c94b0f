//! `REQID`: a write that is sent again, since its answer got lost, gets the same answer and happens
//! once.

use super::*;

/// Every write that takes an id, with its answer. A second execution would do harm or be refused.
const WRITES: [(&str, i64); 16] = [
    ("LTMC.CTX.CREATE c OWNER a DOC {\"n\":0} REQID r", 1),
    ("LTMC.CTX.UPDATE c a IFVERSION 1 INCRBY /n 1 REQID r2", 2),
    ("LTMC.CTX.UPDATE c a REQID r3 INCRBY /n 1", 3),
    ("LTMC.CTX.CHECKPOINT c NAME x PIN REQID r4", 1),
    ("LTMC.CTX.UPDATE c a REQID r5 INCRBY /n 1", 4),
    ("LTMC.CTX.RESTORE c x IFVERSION 4 REQID r6", 5),
    ("LTMC.CTX.ROLLBACK c x IFVERSION 5 REQID r7", 5),
    ("LTMC.CTX.FORK c d REQID r", 5),
    ("LTMC.CTX.GENERATE g 1 c FOR a REQID r", 1),
    ("LTMC.CTX.GENERATE g 2 c d REQID r", 1),
    ("LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1} REQID r", 1),
    ("LTMC.SESSION.SET s f 2 IFVERSION 1 REQID r2", 2),
    ("LTMC.SESSION.SET made f 1 IFVERSION 0 REQID r PX 90000000", 1),
    ("LTMC.SESSION.CHECKPOINT s REQID r3", 1),
    ("LTMC.SESSION.RESTORE s 1 IFVERSION 2 REQID r4", 2),
    ("LTMC.SESSION.FORK s t AT 1 REQID r", 2),
];

#[track_caller]
fn retry_all(server: &Server, when: &str) {
    let before = server.dataset();
    for (line, expected) in WRITES {
        assert_eq!(run(server, line).int(), expected, "{when}: {line}");
    }
    assert_same(when, &before, &server.dataset());
}

#[test]
fn a_write_that_is_sent_again_is_answered_the_same_and_happens_once() {
    let mut server = Server::builder().durable().start();
    let replica = server.replica();
    for (line, expected) in WRITES {
        assert_eq!(run(&server, line).int(), expected, "{line}");
        assert_eq!(run(&server, line).int(), expected, "at once: {line}");
    }
    run_all(&server, &["LTMC.CTX.UPDATE c b SET /n 9", "LTMC.SESSION.SET s f 9"]);
    retry_all(&server, "after other writes");
    assert_persisted_everywhere(&server, &[&replica]);
    retry_all(&server, "after all reloads");
    run(&server, "LTMC.SESSION.STATUS made suspended");
    run_all(&server, &["LTMC.SESSION.STATUS s suspended", "LTMC.SESSION.STATUS t suspended"]);
    server.crash_and_restart();
    retry_all(&server, "after a crash");
    replica.wait_synced(&server);
    server.kill();
    replica.promote();
    retry_all(&replica, "after a failover");
}

#[test]
fn ids_belong_to_who_acts_and_to_their_key() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c REQID x", "LTMC.CTX.CREATE d REQID x"]);
    let versions = ["a REQID x", "b REQID x", "a REQID x", "a REQID y"].map(|who| {
        let (agent, id) = who.split_once(' ').expect("two words");
        run(&server, &format!("LTMC.CTX.UPDATE c {agent} {id} INCRBY /n 1")).int()
    });
    assert_eq!(versions, [2, 3, 2, 4]);
    assert_eq!(doc(&server, "c"), r#"{"n":3}"#);
    // Without an acting agent the ids belong to the key, whatever the command.
    let refused = server.run("LTMC.CTX.CHECKPOINT c REQID x");
    assert!(refused.error().contains("the REQID 'x' was used with other arguments"), "CREATE had this id: {refused:?}");
    assert!(run(&server, "LTMC.CTX.CHECKPOINTS c").array().is_empty());
}

#[test]
fn a_refused_write_is_not_remembered_and_an_id_is_forgotten_after_64_others_and_with_its_key() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.CTX.UPDATE c a SET /n 1 REQID x").error_code(), "NOCONTEXT");
    run(&server, "LTMC.CTX.CREATE c");
    assert_eq!(server.run("LTMC.CTX.UPDATE c a IFVERSION 7 SET /n 1 REQID x").error_code(), "CONFLICT");
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c a SET /n 1 REQID x").int(), 2);
    (0..63).for_each(|n| drop(run(&server, &format!("LTMC.CTX.UPDATE c a INCRBY /n 1 REQID other-{n}"))));
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c a SET /n 1 REQID x").int(), 2);
    run(&server, "LTMC.CTX.UPDATE c a INCRBY /n 1 REQID one-more");
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c a SET /n 1 REQID x").int(), 67);
    run_all(&server, &["DEL c", "LTMC.CTX.CREATE c"]);
    assert_eq!(run(&server, "LTMC.CTX.UPDATE c a SET /n 1 REQID x").int(), 2);
    // The end of its life ends what it remembers, whether the key is still there or not.
    set_clock(&server, 0);
    assert_eq!(run(&server, "LTMC.SESSION.SET s f 1 PX 50000 REQID x").int(), 1);
    assert_eq!(run(&server, "LTMC.SESSION.SET s f 2 REQID y").int(), 2);
    set_clock(&server, 50_001);
    assert_eq!(run(&server, "LTMC.SESSION.SET s f 3 REQID y").int(), 1, "nor does it refuse another request");
    assert_eq!(field(&server, "s", "f").as_deref(), Some("3"));
}

#[test]
fn a_session_that_has_ended_still_answers_a_retry() {
    let server = Server::start();
    run_all(&server, &["LTMC.SESSION.SET s f 1 REQID x", "LTMC.SESSION.END s"]);
    assert_eq!(run(&server, "LTMC.SESSION.SET s f 1 REQID x").int(), 1);
    assert_eq!(server.run("LTMC.SESSION.SET s f 1 REQID y").error_code(), "BADSTATE");
    for (line, part) in [
        ("LTMC.SESSION.SET s f 1 REQID", "a field has no value"),
        ("LTMC.CTX.UPDATE c a SET /n 1 REQID", "REQID is missing"),
        ("LTMC.CTX.UPDATE c a REQID x REQID y SET /n 1", "option REQID is given twice"),
        ("LTMC.CTX.FORK c d REQID x REQID y", "option REQID is given twice"),
    ] {
        assert!(server.run(line).error().contains(part), "{line}: {:?}", server.run(line));
    }
    let long = format!("LTMC.CTX.CHECKPOINT c REQID {}", "x".repeat(257));
    assert!(server.run(&long).error().contains("REQID is 257 bytes long, allowed are 1 to 256"));
}
