//! What becomes of sessions after a stop without notice, and that an orderly one, a reload or a
//! failover changes nothing.

use super::fields::{fields, info, run};
use crate::harness::*;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

mod replicas;

/// A server whose answered writes survive a kill.
fn safe() -> Builder {
    Server::builder().durable()
}

/// The status of a session. The command STATUS would be a write, which replicas refuse.
#[track_caller]
fn status(server: &Server, key: &str) -> String {
    info(server, key, "status").text().to_string()
}

/// The statuses of the sessions of [`make_all`], from `a` to `d`.
#[track_caller]
fn statuses(server: &Server) -> Vec<String> {
    ["a", "m", "s", "t"].iter().map(|key| status(server, key)).collect()
}

/// One session for each status that a client can give.
#[track_caller]
fn make_all(server: &Server) {
    for (key, status) in [("a", "active"), ("m", "migrating"), ("s", "suspended"), ("t", "terminated")] {
        run(server, &format!("LTMC.SESSION.CREATE {key} PARTICIPANTS 1 agent STATE {{\"n\":1}}"));
        run(server, &format!("LTMC.SESSION.CHECKPOINT {key} NAME good"));
        run(server, &format!("LTMC.SESSION.SET {key} n 2"));
        run(server, &format!("LTMC.SESSION.STATUS {key} {status}"));
    }
}

const AFTER_A_CRASH: [&str; 4] = ["recovering", "recovering", "suspended", "terminated"];
const AS_BEFORE: [&str; 4] = ["active", "migrating", "suspended", "terminated"];

/// The file that says that the server was stopped in an orderly way.
fn marker(server: &Server) -> PathBuf {
    server.dir().join(format!("ltmc-{}.stopped", server.port()))
}

/// How many changes of status have happened since the server was started.
fn changes(server: &Server) -> i64 {
    server.info("ltmc").get("ltmc_event_session_status").map_or(0, |text| text.parse().expect("it is a number"))
}

#[test]
fn every_acknowledged_write_is_there_after_a_kill() {
    let mut server = safe().start();
    for _ in 0..2 {
        let first: i64 = info_or(&server, "version").unwrap_or(0);
        let mut client = server.client();
        let (told, hear) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            for n in first + 1.. {
                if !client.try_send_line(&format!("LTMC.SESSION.SET s n {n} f{n} v")) {
                    return;
                }
                let Some(reply) = client.recv_or_end() else { return };
                assert_eq!(reply.int(), n);
                let _ = told.send(n);
            }
        });
        let mut acknowledged = 0;
        while acknowledged < first + 100 {
            acknowledged = hear.recv_timeout(PATIENCE).expect("the writer goes on");
        }
        server.kill();
        writer.join().expect("all replies were as expected");
        acknowledged = hear.try_iter().last().unwrap_or(acknowledged);
        server.start_again();
        let version = info_or(&server, "version").expect("the session is there");
        assert!((acknowledged..=acknowledged + 1).contains(&version), "{acknowledged} {version}");
        assert_eq!(run(&server, "LTMC.SESSION.GET s n").text(), version.to_string());
        assert_eq!(info(&server, "s", "fields").int(), version + 1, "no version is half there");
        assert_eq!(status(&server, "s"), "recovering");
    }
}

fn info_or(server: &Server, member: &str) -> Option<i64> {
    let shown = run(server, "LTMC.SESSION.INFO s");
    (!shown.is_nil()).then(|| shown.get(member).int())
}

/// Brings what a server holds to its files, in one of several ways.
type Keep = (&'static str, Builder, fn(&Server));

fn ways_to_keep() -> Vec<Keep> {
    vec![
        ("AOF as written", safe(), |_| {}),
        ("AOF with an RDB inside", safe(), Server::rewrite_aof),
        ("AOF rewritten as commands", safe().arg("aof-use-rdb-preamble", "no"), Server::rewrite_aof),
        ("RDB", Server::builder(), |server| run(server, "SAVE").ok()),
    ]
}

#[test]
fn who_was_at_work_when_the_server_was_killed_is_recovering() {
    for (way, spec, keep) in ways_to_keep() {
        let mut server = spec.start();
        make_all(&server);
        keep(&server);
        server.crash_and_restart();
        assert_eq!(statuses(&server), AFTER_A_CRASH, "{way}");
        wait_until("both were found", || changes(&server) == 2);
        assert_eq!(statuses(&server), AFTER_A_CRASH, "{way}");
        let shown = run(&server, "LTMC.SESSION.INFO a");
        assert_eq!(shown.get("status").text(), "recovering", "{way}");
        assert_eq!(shown.get("last_checkpoint").get("name").text(), "good", "{way}");
        assert_eq!(shown.get("last_checkpoint").get("version").int(), 1, "{way}");
        assert_eq!(shown.get("version").int(), 2, "{way}");
        assert_eq!(run(&server, "LTMC.SESSION.RESTORE a good").int(), 3, "{way}");
        assert_eq!(fields(&server, "a"), ["n=1"], "{way}");
        assert_eq!(run(&server, "LTMC.SESSION.SET m n 3").int(), 3, "{way}: it can be written meanwhile");
        assert_eq!(status(&server, "a"), "recovering", "{way}: no write resumes it");
        for line in ["a recovering", "m migrating"] {
            let reply = server.run(&format!("LTMC.SESSION.STATUS {line}"));
            assert!(line == "a recovering" || reply.error_code() == "BADSTATE", "{way}: {reply:?}");
        }
        for (key, status) in [("a", "active"), ("m", "suspended")] {
            assert_eq!(run(&server, &format!("LTMC.SESSION.STATUS {key} {status}")).text(), status, "{way}");
        }
        keep(&server);
        server.debug_reload();
        assert_eq!(statuses(&server), ["active", "suspended", "suspended", "terminated"], "{way}");
        server.crash_and_restart();
        assert_eq!(statuses(&server), ["recovering", "suspended", "suspended", "terminated"], "{way}");
    }
}

/// An orderly way to stop a server.
type Stop = (&'static str, Box<dyn Fn(&Server)>);

#[test]
fn after_an_orderly_stop_everything_is_as_it_was() {
    let terminate = |server: &Server| {
        let done = Command::new("kill").args(["-TERM", &server.pid().to_string()]).status();
        assert!(done.expect("kill can be run").success());
    };
    let ask = |line: &'static str| move |server: &Server| server.client().send_line(line);
    let stops: [Stop; 4] = [
        ("SHUTDOWN", Box::new(ask("SHUTDOWN"))),
        ("SHUTDOWN NOSAVE", Box::new(ask("SHUTDOWN NOSAVE"))),
        ("SHUTDOWN NOW FORCE", Box::new(ask("SHUTDOWN NOW FORCE"))),
        ("SIGTERM", Box::new(terminate)),
    ];
    let mut server = safe().start();
    make_all(&server);
    for (how, stop) in stops {
        assert!(!marker(&server).exists(), "{how}: there is none while it runs");
        stop(&server);
        server.wait_ended();
        server.kill();
        assert!(marker(&server).exists(), "{how}");
        server.start_again();
        assert!(!marker(&server).exists(), "{how}: it says so only once");
        assert_eq!(statuses(&server), AS_BEFORE, "{how}");
    }
    server.crash_and_restart();
    assert_eq!(statuses(&server), AFTER_A_CRASH, "an orderly stop is no excuse for a later crash");
    wait_until("both were found", || changes(&server) == 2);
    server.restart();
    assert_eq!(statuses(&server), AFTER_A_CRASH, "and an orderly stop resumes nobody");
}

#[test]
fn a_crash_before_the_first_save_leaves_no_marker_behind() {
    let mut server = safe().start();
    server.restart();
    make_all(&server);
    server.crash_and_restart();
    assert_eq!(statuses(&server), AFTER_A_CRASH);
    assert!(!marker(&server).exists());
}

#[test]
fn what_is_loaded_while_the_server_runs_does_not_recover() {
    let mut server = safe().start();
    make_all(&server);
    server.crash_and_restart();
    wait_until("both were found", || changes(&server) == 2);
    run(&server, "LTMC.SESSION.STATUS a active");
    run(&server, "LTMC.SESSION.CREATE new");
    let dumped = server.cmd(&["DUMP", "new"]);
    server.cmd(&[b"RESTORE".as_slice(), b"restored", b"0", dumped.bytes()]).ok();
    for reload in ["DEBUG RELOAD", "DEBUG LOADAOF", "DEBUG RELOAD NOSAVE NOFLUSH MERGE"] {
        if reload.ends_with("MERGE") {
            run(&server, "DEL a new restored");
        }
        run(&server, reload);
        for key in ["a", "new", "restored"] {
            assert_eq!(status(&server, key), "active", "{key} after {reload}");
        }
        assert_eq!(status(&server, "m"), "recovering", "{reload}");
    }
    assert_eq!(changes(&server), 3, "two were found, one was resumed");
}

#[test]
fn sessions_that_were_moved_recover_where_they_are() {
    let mut server = safe().start();
    make_all(&server);
    run(&server, "RENAME a b");
    run(&server, "SWAPDB 0 2");
    let mut other = server.client();
    other.run("SELECT 2").ok();
    assert_eq!(other.run("MOVE m 5").int(), 1);
    drop(other);
    server.crash_and_restart();
    let mut client = server.client();
    // While an AOF is replayed, RENAME, MOVE and SWAPDB carry a session away from its first name.
    for (db, key) in [("2", "b"), ("5", "m")] {
        client.run(&format!("SELECT {db}")).ok();
        assert_eq!(client.run(&format!("LTMC.SESSION.STATUS {key}")).text(), "recovering", "{key} in {db}");
    }
}

#[test]
fn sessions_that_are_gone_or_begin_anew_are_not_mistaken_for_those_that_were_found() {
    let mut server = safe().start();
    for key in ["x", "y"] {
        run(&server, &format!("LTMC.SESSION.SET {key} n 1"));
    }
    run(&server, "DEL y");
    server.append_config("ltmc.sweep-batch-max 1");
    for n in 0..1500 {
        run(&server, &format!("LTMC.SESSION.SET crowd{n} n 1"));
    }
    server.crash_and_restart();
    run(&server, "DEL x");
    run(&server, "LTMC.SESSION.SET x n 2");
    run(&server, "LTMC.SESSION.SET y n 2");
    wait_until("all were found", || changes(&server) >= 1500);
    // A session that is created under such a name before the scheduler comes by was not found.
    assert_eq!((status(&server, "x"), status(&server, "y")), ("active".to_string(), "active".to_string()));
}

#[test]
fn who_is_resumed_before_the_scheduler_comes_by_stays_resumed() {
    let mut server = safe().start();
    server.append_config("ltmc.sweep-batch-max 1");
    let lines: Vec<String> = (0..2000).map(|n| format!("LTMC.SESSION.SET s{n} n 1")).collect();
    server.client().pipeline(&lines);
    server.crash_and_restart();
    let mut client = server.client();
    let keys: Vec<usize> = (0..2000).step_by(100).collect();
    let lines: Vec<String> = keys.iter().map(|n| format!("LTMC.SESSION.STATUS s{n} active")).collect();
    for reply in client.pipeline(&lines) {
        assert_eq!(reply.text(), "active");
    }
    wait_until("all others were found", || changes(&server) >= 2000 - keys.len() as i64);
    // The command decides before the scheduler does, and the scheduler must respect that.
    for n in keys {
        assert_eq!(status(&server, &format!("s{n}")), "active", "s{n}");
    }
}

/// A session ends, and the server is down for this long after its end.
#[track_caller]
fn ends_while_down(way: Keep, down_ms: u64) {
    let (way, spec, keep) = way;
    let mut server = spec.start();
    run(&server, "LTMC.SESSION.CREATE s PARTICIPANTS 1 a PX 100");
    run(&server, "LTMC.SESSION.OWN s lock");
    run(&server, "LTMC.LOCK lock a PX 60000000");
    keep(&server);
    server.kill();
    std::thread::sleep(Duration::from_millis(100 + down_ms));
    server.start_again();
    let is_free = holds_within(Duration::from_secs(3), || run(&server, "EXISTS lock s").int() == 0);
    assert!(is_free, "{way}: the session is gone and its lock is held");
}

#[test]
fn what_a_session_owned_is_given_back_though_its_end_came_while_the_server_was_down() {
    ways_to_keep().into_iter().for_each(|way| ends_while_down(way, 50));
}

#[test]
fn so_it_is_after_a_long_time() {
    let mut ways = ways_to_keep();
    // Redis must not drop the session before what it owned is given back.
    for at in [3, 0] {
        ends_while_down(ways.swap_remove(at), 1100);
    }
}
