//! What happens to clients that wait for a claim when their registry's key is deleted, replaced,
//! moved or becomes something else.

use super::*;

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

/// `put` replaces `r` by a registry with a free agent.
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
fn the_lease_in_a_registry_that_was_put_there_ends_in_time() {
    let mut line = Line::start();
    line.holder.run(&format!("LTMC.REGISTER other a PX {TTL_MS}")).int();
    line.holder.run("LTMC.AGENT.CLAIM other PX 900000").array();
    line.holder.run("RENAME other r").ok();
    set_clock(&line.server, 900_001);
    line.b_then_c();
}
