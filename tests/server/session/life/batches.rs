//! The end of sessions that own very much: it is given back in batches.

use super::*;

const MANY: usize = 10_000;
const OWNS_MANY: (&str, usize) = ("ltmc.session-resources-max", MANY);

/// A session `s` of `a` that owns this many locks, all of which `a` holds. The server gives back
/// `batch` at a time.
#[track_caller]
fn owner_of(server: &Server, locks: usize, batch: usize) {
    run(server, &format!("CONFIG SET ltmc.sweep-batch-max {batch}"));
    run(server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a STATE {\"f\":1}");
    let names: Vec<String> = (0..locks).map(|n| format!("lock-{n}")).collect();
    let mut client = server.client();
    let owned: Vec<&str> = ["LTMC.SESSION.OWN", "s"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(client.cmd(&owned).int(), locks as i64);
    for part in names.chunks(500) {
        let lines: Vec<String> = part.iter().map(|name| format!("LTMC.LOCK {name} a PX 60000000")).collect();
        assert!(client.pipeline(&lines).iter().all(|fence| fence.int() > 0));
    }
}

#[track_caller]
fn owned(server: &Server) -> usize {
    info(server, "s", "resources").array().len()
}

/// All of it in one transaction, so that the scheduler has no turn in between.
#[track_caller]
fn at_once(server: &Server, lines: &[&str]) -> Vec<Reply> {
    let mut client = server.client();
    client.run("MULTI").ok();
    lines.iter().for_each(|line| assert_eq!(client.run(line), Reply::Simple("QUEUED".into()), "{line}"));
    client.run("EXEC").array().to_vec()
}

#[track_caller]
fn wait_given_back(server: &Server) {
    wait_until("all is given back", || owned(server) == 0 && run(server, "DBSIZE").int() == 1);
    assert_eq!(info(server, "s", "participants").array(), []);
    assert_eq!(run(server, "LTMC.SESSION.STATUS s").text(), "terminated");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn the_end_of_a_session_with_ten_thousand_locks_gives_back_a_batch_at_once_and_the_rest_in_turns() {
    let server = Server::builder().arg(OWNS_MANY.0, OWNS_MANY.1).start();
    let replica = server.replica();
    owner_of(&server, MANY, 300);
    let replies = at_once(&server, &["LTMC.SESSION.END s GRACE 600000000", "DBSIZE", "LTMC.SESSION.INFO s", "PTTL s"]);
    assert_eq!((replies[0].int(), replies[1].int()), (1, (MANY - 300) as i64 + 1));
    let shown = &replies[2];
    assert_eq!((shown.get("status").text(), shown.get("resources").array().len()), ("terminated", MANY - 300));
    assert_eq!(shown.get("participants").array().len(), 1, "whose grants they are is still known");
    assert_eq!(replies[3].int(), -1, "it does not expire before all is given back");
    wait_given_back(&server);
    assert!(run(&server, "PTTL s").int() > 0);
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
    assert_eq!(server.info_int("ltmc", "ltmc_event_session_ended"), 1);
    assert!(server.info_int("ltmc", "ltmc_event_session_returned") >= (MANY / 300) as i64);
}

#[test]
fn each_batch_goes_to_replicas_with_the_event_that_takes_it_out_of_the_session() {
    let server = Server::start();
    owner_of(&server, 5, 2);
    let stream = replication_stream(&server, || {
        run(&server, "LTMC.SESSION.END s");
        wait_given_back(&server);
    });
    let mut parts: Vec<Vec<String>> = Vec::new();
    for command in &stream {
        match &command[0][..] {
            b"MULTI" => parts.push(Vec::new()),
            b"EXEC" => {}
            _ => parts.last_mut().expect("a transaction").push(command[1].escape_ascii().to_string()),
        }
    }
    assert_eq!(parts.concat().iter().filter(|key| key.starts_with("lock-")).count(), 5, "{parts:?}");
    for part in &parts {
        let locks = part.iter().filter(|key| key.starts_with("lock-")).count();
        assert!((1..=2).contains(&locks) && part.contains(&"s".to_string()), "{parts:?}");
    }
}

#[test]
fn a_crash_in_the_middle_of_an_end_does_not_keep_the_rest() {
    let mut server = Server::builder().durable().arg(OWNS_MANY.0, OWNS_MANY.1).start();
    owner_of(&server, MANY, 10);
    server.append_config("ltmc.sweep-batch-max 1");
    run(&server, "CONFIG SET ltmc.sweep-batch-max 1");
    run(&server, "LTMC.SESSION.END s GRACE 600000000");
    wait_until("some of it is given back", || (1..MANY).contains(&owned(&server)));
    server.crash_and_restart();
    let left = owned(&server);
    assert!((1..MANY).contains(&left), "it was in the middle: {left}");
    run(&server, "CONFIG SET ltmc.sweep-batch-max 100");
    wait_given_back(&server);
}

#[test]
fn a_failover_in_the_middle_of_an_end_does_not_keep_the_rest() {
    let mut server = Server::builder().arg(OWNS_MANY.0, OWNS_MANY.1).start();
    let replica = server.replica();
    owner_of(&server, MANY, 1);
    run(&replica, "CONFIG SET ltmc.sweep-batch-max 1");
    replica.wait_synced(&server);
    run(&server, "LTMC.SESSION.END s GRACE 600000000");
    wait_until("the replica has heard of it", || (1..MANY).contains(&owned(&replica)));
    server.kill();
    wait_until("it hears no more", || replica.info("replication")["master_link_status"] == "down");
    let left = owned(&replica);
    assert!((1..MANY).contains(&left), "it was in the middle: {left}");
    assert_eq!(run(&replica, "DBSIZE").int(), left as i64 + 1, "a lock is free when it is no resource any more");
    replica.promote();
    run(&replica, "CONFIG SET ltmc.sweep-batch-max 100");
    wait_given_back(&replica);
}

#[test]
fn what_is_granted_after_the_end_is_not_taken_back() {
    let server = Server::start();
    run(&server, "CONFIG SET ltmc.sweep-batch-max 1");
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a");
    run(&server, "LTMC.SESSION.OWN s l1 l2 l3 l4 agents");
    for lock in ["l1", "l2", "l3"] {
        run(&server, &format!("LTMC.LOCK {lock} a PX 60000000"));
    }
    run(&server, "LTMC.REGISTER agents x CAPACITY 9 PX 60000000");
    for _ in 0..4 {
        run(&server, "LTMC.AGENT.CLAIM agents PX 60000000 REF s");
    }
    let lines = [
        "LTMC.SESSION.END s",
        "LTMC.LOCK l4 a PX 60000000",
        "LTMC.AGENT.CLAIM agents PX 60000000 REF s",
        // Commands that a session refuses once it has ended, even if it still owes something.
        "LTMC.SESSION.LEAVE s a",
        "LTMC.SESSION.DISOWN s l3",
        "LTMC.SESSION.JOIN s b",
        "LTMC.SESSION.CREATE s",
        "LTMC.SESSION.SET s f 1",
        "LTMC.SESSION.END s GRACE 0",
        "COPY s t",
    ];
    let replies = at_once(&server, &lines);
    let later = replies[2].array()[1].int();
    assert_eq!((replies[3].int(), replies[4].int(), replies[8].int()), (0, 0, 0));
    for refused in [5, 6, 7] {
        assert_eq!(replies[refused].error_code(), "BADSTATE", "{}", lines[refused]);
    }
    assert!(replies[6].error().contains("5 of its resources are still to be given back"), "{:?}", replies[6]);
    assert_eq!(info(&server, "t", "resources").array(), []);
    wait_until("all is given back", || owned(&server) == 0);
    assert_eq!(run(&server, "EXISTS l1 l2 l3 l4").int(), 1);
    let claims = run(&server, "LTMC.AGENT.GET agents x");
    let left: Vec<i64> = claims.get("claims").array().iter().map(|claim| claim.get("fence").int()).collect();
    assert_eq!(left, [later]);
    assert_eq!(run(&server, "LTMC.SESSION.CREATE s").int(), 1, "now another can begin");
}

#[test]
fn the_end_of_a_life_is_in_batches_too_and_whoever_comes_for_the_name_waits_for_it() {
    let server = Server::start();
    for end in ["LTMC.SESSION.TOUCH s PX 20", "LTMC.SESSION.END s GRACE 0", "LTMC.SESSION.STATUS s terminated"] {
        owner_of(&server, 20, 3);
        run(&server, "CONFIG SET ltmc.session-end-grace-ms 20");
        run(&server, end);
        wait_until(&format!("all is gone: {end}"), || run(&server, "DBSIZE").int() == 0);
    }
    owner_of(&server, 20, 3);
    set_clock(&server, 0);
    run(&server, "LTMC.SESSION.TOUCH s PX 50000");
    let replies =
        at_once(&server, &["LTMC.DEBUG CLOCK 50001", "LTMC.SESSION.SET s f 2", "LTMC.SESSION.INFO s", "DBSIZE"]);
    assert_eq!(replies[1].error_code(), "BADSTATE");
    assert_eq!(
        replies[2].get("status").text(),
        "terminated",
        "its life is over, and it is shown as long as it owes something"
    );
    assert_eq!(replies[2].get("resources_count").int(), 17);
    assert_eq!(replies[3].int(), 18, "three were given back, and the rest is still to be");
    wait_until("all is gone", || run(&server, "DBSIZE").int() == 0);
    assert_eq!(run(&server, "LTMC.SESSION.SET s f 2").int(), 1);
}
