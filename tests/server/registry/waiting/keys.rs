//! What happens to those who wait for a claim when their registry's key is deleted, replaced, moved or becomes something else.

use super::*;

#[test]
fn a_wait_outlives_the_registry_it_began_with() {
    let mut server = Server::start();
    for line in [
        "DEL r",
        "UNLINK r",
        "EXPIRE r 0",
        "FLUSHDB",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "RENAME r elsewhere",
        "MOVE r 1",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
    ] {
        let waiters = Line::on(server);
        let reply = waiters.server.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        assert_eq!(waiters.server.run("EXISTS r").int(), 0, "{line}");
        assert_eq!(waiting(&waiters.server), 2, "{line}");
        assert_eq!(release(&waiters.server, waiters.fence), 0, "{line}: the claim went with its registry");
        register(&waiters.server, "a", "");
        eprintln!("after {line}");
        server = waiters.b_then_c();
        server.run("FLUSHALL").ok();
    }
}

#[test]
fn a_registry_deleted_in_a_transaction_is_missed_by_nobody() {
    let mut line = Line::start();
    let again = format!("LTMC.REGISTER r a PX {TTL_MS}");
    let replies = line.holder.pipeline(&["MULTI", "DEL r", &again, "EXEC"]);
    assert_eq!(replies[3].array().len(), 2);
    line.b_then_c();
}

#[test]
fn a_registry_that_was_moved_away_keeps_its_claims() {
    let mut line = Line::start();
    line.holder.run("RENAME r elsewhere").ok();
    assert_eq!(refs(&line.server, "elsewhere", "a"), ["holder"]);
    assert!(line.holder.run("LTMC.AGENT.CLAIM elsewhere PX 600000").is_nil());
    assert_eq!(line.holder.run(&format!("LTMC.AGENT.RELEASE elsewhere {}", line.fence)).int(), 1);
    assert_eq!(waiting(&line.server), 2, "they wait for the name, not for the value");
    line.holder.run("RENAME elsewhere r").ok();
    line.b_then_c();
}

/// `put` puts a registry with a free agent in the place of `r`.
fn waiters_are_served_by_what_is_put_there(put: &[&str]) {
    let mut line = Line::start();
    line.server.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    for command in put {
        let reply = line.holder.run(command);
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    line.holder = line.server.client();
    line.b_then_c();
}

#[test]
fn a_registry_that_comes_under_the_name_serves_who_waits() {
    waiters_are_served_by_what_is_put_there(&["RENAME other r"]);
    waiters_are_served_by_what_is_put_there(&[
        "RENAME other o",
        "DEL r",
        "MOVE o 1",
        "SELECT 1",
        "RENAME o r",
        "MOVE r 0",
    ]);
    waiters_are_served_by_what_is_put_there(&["MOVE other 1", "SELECT 1", "RENAME other r", "SWAPDB 0 1"]);
}

#[test]
fn a_registry_that_is_restored_serves_who_waits() {
    let mut line = Line::start();
    line.server.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    let dump = line.holder.run("DUMP other").bytes().to_vec();
    line.holder.cmd(&[b"RESTORE".as_slice(), b"r", b"0", &dump, b"REPLACE"]).ok();
    line.b_then_c();
}

#[test]
fn what_comes_under_the_name_and_is_taken_serves_who_waits_when_it_is_free() {
    let mut line = Line::start();
    line.holder.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    let fence = fence_on("a", &line.holder.run("LTMC.AGENT.CLAIM other PX 900000"));
    line.holder.run("RENAME other r").ok();
    assert_eq!(line.b.recv_within(1), None);
    assert_eq!(release(&line.server, line.fence), 0, "that was a claim of the one that is gone");
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(release(&line.server, fence), 1);
    line.b_then_c();
}

#[test]
fn the_lease_in_a_registry_that_was_put_there_ends_in_time() {
    let mut line = Line::start();
    line.holder.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    line.holder.run("LTMC.AGENT.CLAIM other PX 900000").array();
    line.holder.run("RENAME other r").ok();
    set_clock(&line.server, 900_001);
    line.b_then_c();
}

#[test]
fn waiters_learn_that_their_key_became_something_else() {
    for put in ["SET r v", "SET r v PX 600000", "RENAME string r", "RENAME lock r"] {
        let mut line = Line::start();
        line.server.run("SET string v").ok();
        line.server.run("LTMC.LOCK lock z PX 600000").int();
        line.server.run(put).ok();
        assert_eq!(line.b.recv().error_code(), "WRONGTYPE", "{put}");
        assert_eq!(line.c.recv().error_code(), "WRONGTYPE", "{put}");
        assert_idle(&line.server);
        assert_eq!(line.b.run("LTMC.AGENT.CLAIM r PX 1000 BLOCK 0").error_code(), "WRONGTYPE");
        assert_eq!(line.server.run("DEL r").int(), 1);
        register(&line.server, "a", "");
        fence_on("a", &line.b.run("LTMC.AGENT.CLAIM r PX 1000 BLOCK 0"));
    }
}

#[test]
fn clients_wait_in_their_own_database() {
    let server = Server::start();
    let mut waiters = server.clients(2);
    waiters[1].run("SELECT 1").ok();
    server.block_in_turn(&mut waiters, |n| format!("LTMC.AGENT.CLAIM r PX 600000 REF db{n} BLOCK 0"));
    let mut client = server.client();
    client.run("SELECT 1").ok();
    client.run(&format!("LTMC.REGISTER r a PX {TTL_MS}")).int();
    fence_on("a", &waiters[1].recv());
    assert_eq!(waiting(&server), 1);
    assert_eq!(server.run("EXISTS r").int(), 0, "that was in another database");
    register(&server, "z", "");
    fence_on("z", &waiters[0].recv());
}

#[test]
fn a_panic_of_the_scheduler_loses_no_waiter_and_a_quarantine_is_told() {
    let mut line = Line::start();
    line.server.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    line.server.run("LTMC.DEBUG SWEEP 2").ok();
    line.server.run("RENAME other r").ok();
    fence_on("a", &line.b.recv());
    assert_eq!(line.server.info_int("ltmc", "ltmc_panics"), 2);
    for _ in 0..3 {
        assert!(line.server.run("LTMC.DEBUG PANIC r").is_error());
    }
    assert_eq!(line.c.recv().error_code(), "QUARANTINED");
    assert_eq!(line.c.run("LTMC.AGENT.CLAIM r PX 1000 BLOCK 0").error_code(), "QUARANTINED");
    assert_eq!(line.server.run("DEL r").int(), 1);
    register(&line.server, "a", "");
    fence_on("a", &line.c.run("LTMC.AGENT.CLAIM r PX 1000 BLOCK 0"));
}
