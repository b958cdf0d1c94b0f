//! The file of the trail.

use super::*;
use std::path::Path;
use std::process::Command;

fn with_file() -> Server {
    Server::builder().arg("ltmc.audit", "write").arg("ltmc.audit-file", "trail.jsonl").start()
}

/// The numbers of the records.
fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["n"].as_u64().expect("a number")).collect()
}

/// What `scripts/audit-verify` says of files that it has to find whole.
#[track_caller]
fn verify(files: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/audit-verify");
    let output = Command::new(&script).args(files).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {}: {e}; it needs python3", script.display()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn each_record_is_a_line_that_is_chained_to_the_one_before() {
    let server = with_file();
    server.run("LTMC.LOCK lock ada PATH src").int();
    server.run("LTMC.UNLOCK lock ada PATH src").int();
    let lines = lines(&trail_of(&server), 2);
    assert_eq!(numbers(&lines), [1, 2]);
    let shown = records(&server);
    for (line, record) in lines.iter().zip(&shown) {
        for (name, value) in record.pairs() {
            let in_file = &line[name.text()];
            match value {
                Reply::Nil => assert!(in_file.is_null(), "{name:?}"),
                Reply::Int(number) => assert_eq!(in_file.as_i64(), Some(*number), "{name:?}"),
                text => assert_eq!(in_file.as_str(), Some(text.text()), "{name:?}"),
            }
        }
    }
}

#[test]
fn a_trail_goes_on_after_a_restart_and_behind_a_torn_line() {
    let mut server = with_file();
    server.run("LTMC.LOCK lock ada").int();
    lines(&trail_of(&server), 1);
    server.stop();
    server.start_again();
    server.run("LTMC.LOCK lock bob").is_nil();
    server.run("LTMC.LOCK.BREAK lock").int();
    assert_eq!(numbers(&lines(&trail_of(&server), 2)), [1, 2]);
    server.kill();
    let path = trail_of(&server);
    let whole = std::fs::read_to_string(&path).expect("a trail");
    std::fs::write(&path, format!("{whole}{{\"n\":3,\"at_m")).expect("it can be written");
    server.start_again();
    server.run("LTMC.LOCK more ada").int();
    wait_until("the next line", || std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 4));
    let text = std::fs::read_to_string(&path).expect("a trail");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("it is whole");
    assert_eq!(last["n"], 3);
    let said = verify(&[&path]);
    assert!(said.contains("a crash has cut off") && said.contains("3 records, n 1 to 3"), "{said}");
}

#[test]
fn an_orderly_stop_loses_nothing() {
    let mut server = with_file();
    let mut client = server.client();
    let locks: Vec<String> = (0..5000).map(|n| format!("LTMC.LOCK lock-{n} ada")).collect();
    client.pipeline(&locks);
    server.stop();
    let text = std::fs::read_to_string(trail_of(&server)).expect("a trail");
    assert_eq!(text.lines().count(), 5000);
}

#[test]
fn the_file_may_be_moved_away_or_deleted() {
    let server = with_file();
    let (path, moved) = (trail_of(&server), server.dir().join("trail.1"));
    server.run("LTMC.LOCK one ada").int();
    lines(&path, 1);
    std::fs::rename(&path, &moved).expect("it can be moved");
    server.run("LTMC.LOCK two ada").int();
    assert_eq!(numbers(&lines(&path, 1)), [2]);
    assert!(verify(&[&moved, &path]).contains("2 records, n 1 to 2"));
    std::fs::remove_file(&path).expect("it can be deleted");
    server.run("LTMC.LOCK three ada").int();
    assert_eq!(numbers(&lines(&path, 1)), [3]);
    std::fs::rename(&path, &moved).expect("it can be moved");
    server.run("LTMC.AUDIT ROTATE").ok();
    server.run("LTMC.LOCK four ada").int();
    assert_eq!(numbers(&lines(&path, 1)), [4]);
}

#[test]
fn a_foreign_file_in_the_place_of_the_trail_is_not_written() {
    let server = with_file();
    server.run("LTMC.LOCK one ada").int();
    lines(&trail_of(&server), 1);
    std::fs::remove_file(trail_of(&server)).expect("it is there");
    std::fs::write(trail_of(&server), "root:x:0:0\n").expect("it can be written");
    let is_failing = || server.run("LTMC.HEALTH").get("reasons").texts().contains(&"audit".to_string());
    server.run("LTMC.LOCK two ada").int();
    wait_until("it shows", is_failing);
    let refused = server.run("LTMC.AUDIT ROTATE");
    assert!(refused.error().contains("none of an audit trail"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(trail_of(&server)).expect("it is there"), "root:x:0:0\n");
    std::fs::remove_file(trail_of(&server)).expect("it is there");
    assert_eq!(numbers(&lines(&trail_of(&server), 1)), [2]);
    wait_until("all is well", || !is_failing());
}

#[test]
fn the_file_can_be_changed_while_the_server_runs() {
    let server = with_file();
    let (first, second) = (trail_of(&server), server.dir().join("second.jsonl"));
    server.run("LTMC.LOCK one ada").int();
    server.run("CONFIG SET ltmc.audit-file second.jsonl").ok();
    server.run("LTMC.LOCK two ada").int();
    assert_eq!(numbers(&lines(&first, 1)), [1]);
    assert_eq!(numbers(&lines(&second, 2)), [2, 3]);
    server.cmd(&["CONFIG", "SET", "ltmc.audit-file", ""]).ok();
    server.run("LTMC.LOCK three ada").int();
    server.cmd(&["CONFIG", "SET", "ltmc.audit-file", "second.jsonl"]).ok();
    server.run("LTMC.LOCK four ada").int();
    assert_eq!(numbers(&lines(&second, 4)), [2, 3, 4, 5]);
}

#[test]
fn a_file_that_cannot_be_used_stops_the_load_or_is_reported() {
    for bad in ["no/such/folder/trail.jsonl", "/"] {
        let blocked = Server::builder().arg("ltmc.audit", "write").arg("ltmc.audit-file", bad).try_start();
        let log = blocked.map(|_| ()).expect_err("it starts without its trail");
        assert!(log.contains("ltmc.audit-file") && log.contains("cannot be used"), "{log}");
        let dropping = Server::builder().arg("ltmc.audit-on-full", "drop").arg("ltmc.audit-file", bad).start();
        assert!(dropping.log().contains("cannot be used"));
        assert!(dropping.run("LTMC.HEALTH").get("reasons").texts().contains(&"audit".to_string()));
    }
    let server = auditing("write");
    std::fs::write(server.dir().join("notes.txt"), "not a trail\n").expect("it can be written");
    let refused = server.run("CONFIG SET ltmc.audit-file notes.txt");
    assert!(refused.error().contains("none of an audit trail"), "{refused:?}");
}

#[test]
fn a_change_of_files_loses_no_record() {
    let mut server = with_file();
    let mut client = server.client();
    for round in 0..50 {
        let lock = format!("LTMC.LOCK lock-{round} ada");
        client.pipeline(&[&lock, &lock, &lock, "LTMC.AUDIT LEN", "LTMC.AUDIT ROTATE"]);
    }
    server.stop();
    assert_eq!(numbers(&lines(&trail_of(&server), 150)), (1..=150).collect::<Vec<u64>>());
}

#[test]
fn what_a_file_has_refused_goes_into_the_next_one() {
    let server = auditing("write");
    server.run(&format!("CONFIG SET ltmc.audit-file {FULL}")).ok();
    (0..20).for_each(|n| assert!(server.run(&format!("LTMC.LOCK lock-{n} ada")).int() > 0));
    let is_failing = || server.run("LTMC.HEALTH").get("reasons").texts().contains(&"audit".to_string());
    wait_until("it shows", is_failing);
    server.run("CONFIG SET ltmc.audit-file trail.jsonl").ok();
    assert_eq!(numbers(&lines(&trail_of(&server), 22)), (1..=22).collect::<Vec<u64>>());
}

#[test]
fn a_file_that_can_be_opened_later_is_used_then() {
    let server = Server::builder()
        .arg("ltmc.audit", "write")
        .arg("ltmc.audit-on-full", "drop")
        .arg("ltmc.audit-file", "later/trail.jsonl")
        .start();
    server.run("LTMC.LOCK one ada").int();
    let is_failing = || server.run("LTMC.HEALTH").get("reasons").texts().contains(&"audit".to_string());
    wait_until("a line was refused", || server.info_int("ltmc", "ltmc_audit_failures") > 1);
    assert!(is_failing());
    std::fs::create_dir(server.dir().join("later")).expect("a folder");
    assert_eq!(numbers(&lines(&server.dir().join("later/trail.jsonl"), 1)), [1]);
    wait_until("all is well", || !is_failing());
}

#[test]
fn a_very_long_key_makes_no_line_that_cannot_be_read_again() {
    let mut server = with_file();
    // Commands take no such name, but Redis' RENAME does.
    server.run("LTMC.SESSION.CREATE s PX 300").int();
    server.cmd(&["RENAME", "s", &"k".repeat(1_000_000)]).ok();
    wait_until("it has ended", || server.run("DBSIZE").int() == 0);
    lines(&trail_of(&server), 2);
    server.restart();
    server.run("LTMC.LOCK lock ada").int();
    assert_eq!(numbers(&lines(&trail_of(&server), 3)), [1, 2, 3]);
}

/// Fills the trail of a server whose file takes nothing, until `is_full` says so of some replies.
#[track_caller]
fn fill(server: &Server, is_full: impl Fn(&[Reply]) -> bool) {
    let mut client = server.client();
    let breaks = ["LTMC.LOCK.BREAK nothing"; 1000];
    let is_full = (0..40).any(|_| is_full(&client.pipeline(&breaks)));
    assert!(is_full, "40,000 records do not fill it");
}

fn has_refused(replies: &[Reply]) -> bool {
    replies.iter().any(Reply::is_error)
}

/// A device that refuses every write, as a full disk does.
const FULL: &str = "/dev/full";

#[test]
fn a_full_disk_blocks_or_drops_and_shows() {
    let server = auditing("write");
    server.run(&format!("CONFIG SET ltmc.audit-file {FULL}")).ok();
    server.run("LTMC.LOCK lock ada PX 60000").int();
    let shows = || server.run("LTMC.HEALTH").get("reasons").texts().contains(&"audit".to_string());
    wait_until("it shows", shows);
    fill(&server, has_refused);
    let refused = server.run("LTMC.LOCK other ada");
    assert!(refused.error().starts_with("LIMIT ltmc.audit-on-full"), "{refused:?}");
    assert!(!server.run("LTMC.STATUS").is_error() && !server.run("LTMC.AUDIT LEN").is_error());

    server.run("CONFIG SET ltmc.audit-on-full drop").ok();
    fill(&server, |_| server.info_int("ltmc", "ltmc_audit_dropped") > 0);
    server.run("LTMC.LOCK other ada").int();

    server.cmd(&["CONFIG", "SET", "ltmc.audit-file", ""]).ok();
    // Records are dropped until the thread has caught up; the next one says how many.
    let has_dropped = || {
        server.run("LTMC.LOCK more ada").int();
        shown(&server, "command outcome").iter().any(|line| line.starts_with("(dropped) integer "))
    };
    wait_until("the trail says what was dropped", has_dropped);
    // A slow build may have other reasons left.
    wait_until("it shows no more", || !shows());
}

#[test]
fn what_time_brings_waits_while_the_trail_is_full() {
    let server = auditing("write");
    server.run(&format!("CONFIG SET ltmc.audit-file {FULL}")).ok();
    let mut waiter = server.client();
    server.run("LTMC.LOCK lock ada PX 3000").int();
    waiter.send_line("LTMC.LOCK lock bob BLOCK 0");
    wait_until("bob waits", || server.run("LTMC.LOCK.INFO lock").get("waiters_count").int() == 1);
    fill(&server, has_refused);
    assert!(waiter.recv_within(3500).is_none(), "bob was given a lock that nobody recorded");
    server.cmd(&["CONFIG", "SET", "ltmc.audit-file", ""]).ok();
    waiter.recv().int();
}
