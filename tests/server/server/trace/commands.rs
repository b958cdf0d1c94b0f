//! `LTMC.TRACE` itself: its arguments, how much is kept, who may see it.

use super::*;
use crate::bad_input::{out_of_range, refused_line};

fn ids(server: &Server, line: &str) -> Vec<i64> {
    server.run(line).array().iter().map(|traced| traced.get("id").int()).collect()
}

#[test]
fn get_shows_the_newest_first_and_ten_if_nothing_is_said() {
    let server = start();
    assert_eq!(server.run("LTMC.TRACE GET"), Reply::Array(Vec::new()));
    assert_eq!(server.run("LTMC.TRACE LEN").int(), 0);
    for _ in 0..12 {
        server.run("LTMC.LOCK k a").int();
    }
    assert_eq!(server.run("ltmc.trace len").int(), 12);
    assert_eq!(ids(&server, "LTMC.TRACE GET"), (3..=12).rev().collect::<Vec<_>>());
    assert_eq!(ids(&server, "LTMC.TRACE get 2"), [12, 11]);
    assert!(ids(&server, "LTMC.TRACE GET 0").is_empty());
    assert_eq!(ids(&server, "LTMC.TRACE GET 10000").len(), 12);
    server.run("LTMC.TRACE RESET").ok();
    assert_eq!(server.run("LTMC.TRACE LEN").int(), 0);
    server.run("LTMC.LOCK k a").int();
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [13], "ids go on");
}

#[test]
fn no_more_are_kept_than_the_setting_says_at_once() {
    let server = start();
    server.run("CONFIG SET ltmc.trace-max 5").ok();
    for _ in 0..9 {
        server.run("LTMC.LOCK k a").int();
    }
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [9, 8, 7, 6, 5]);
    server.run("CONFIG SET ltmc.trace-max 2").ok();
    assert_eq!(server.run("LTMC.TRACE LEN").int(), 2);
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [9, 8]);
    server.run("CONFIG SET ltmc.trace-max 3").ok();
    server.run("LTMC.LOCK k a").int();
    server.run("LTMC.LOCK k a").int();
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [11, 10, 9]);
}

#[test]
fn wrong_arguments_are_refused() {
    let server = start();
    refused_line(&server, "LTMC.TRACE", "wrong number of arguments");
    refused_line(&server, "LTMC.TRACE SHOW", "subcommand is 'SHOW', allowed are GET, LEN, RESET");
    refused_line(&server, "LTMC.TRACE LEN 1", "'1' is not understood here; syntax: LTMC.TRACE GET [n]|LEN|RESET");
    refused_line(&server, "LTMC.TRACE RESET ALL", "'ALL' is not understood here");
    refused_line(&server, "LTMC.TRACE GET 1 2", "'2' is not understood here");
    out_of_range(&server, "LTMC.TRACE GET #", "n", 0, 10_000);
}

#[test]
fn only_who_may_see_the_data_of_others_may_see_it() {
    let server = start();
    let mut agent = server.user("agent", "~* +@all -@dangerous");
    let mut admin = server.user("operator", "resetkeys -@all +ltmc.trace");
    if server.version() < (7, 2, 0) {
        // On such servers a module's commands cannot choose their categories.
        agent = server.user("agent", "~* +@all -ltmc.trace");
    }
    assert!(agent.run("LTMC.LOCK k a").int() > 0);
    for word in ["GET", "LEN", "RESET"] {
        assert_eq!(agent.run(&format!("LTMC.TRACE {word}")).error_code(), "NOPERM");
        assert!(!admin.run(&format!("LTMC.TRACE {word}")).is_error());
    }
}

#[test]
fn the_mode_can_change_while_the_server_runs() {
    let server = Server::start();
    for mode in ["basic", "full"] {
        server.run(&format!("CONFIG SET ltmc.orchestration-mode {mode}")).ok();
        server.run("LTMC.LOCK k a").int();
        assert_eq!(server.run("LTMC.TRACE LEN").int(), 0, "{mode}");
    }
    server.run("CONFIG SET ltmc.orchestration-mode debug").ok();
    server.run("LTMC.LOCK k a").int();
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [1]);
    server.run("CONFIG SET ltmc.orchestration-mode basic").ok();
    server.run("LTMC.LOCK k a").int();
    assert_eq!(ids(&server, "LTMC.TRACE GET"), [1], "what was traced stays");
    server.run("LTMC.TRACE RESET").ok();
    assert_eq!(server.run("LTMC.TRACE LEN").int(), 0);
}

#[test]
fn many_large_traces_take_no_more_than_four_megabytes() {
    let server = start();
    server.run("CONFIG SET ltmc.trace-max 10000").ok();
    let key = "k".repeat(1_000);
    let paths: Vec<String> = (0..100).map(|at| format!("LTMC.LOCK {key} a PATH p{at}")).collect();
    let mut client = server.client();
    let unlock = format!("LTMC.UNLOCK {key} a ALL");
    for _ in 0..200 {
        client.pipeline(&paths);
        client.run(&unlock).int();
    }
    let newest = trace_of(&server, "LTMC.UNLOCK");
    assert_eq!((newest.get("events").array().len(), newest.get("events_beyond").int()), (64, 36));
    let kept = server.run("LTMC.TRACE LEN").int();
    assert!((100..10_000).contains(&kept), "{kept}");
    let shown: usize =
        server.run("LTMC.TRACE GET 10000").array().iter().map(|traced| format!("{traced:?}").len()).sum();
    assert!(shown < 16 << 20, "{shown}");
}
