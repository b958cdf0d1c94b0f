//! The quarantine belongs to the value: it goes where the value goes, and ends with it.

use super::*;

#[test]
fn a_broken_value_takes_its_quarantine_along() {
    let server = broken();
    server.run("RENAME k z").ok();
    assert_broken(&server, "z");
    assert!(server.run("LTMC.CTX.CREATE k").int() > 0, "the name is free");
    assert_eq!(server.run("MOVE z 3").int(), 1);
    assert_eq!(quarantined(&server), (1, 1));
    server.run("SWAPDB 3 5").ok();
    let mut client = server.client();
    client.run("SELECT 5").ok();
    assert_eq!(client.run("LTMC.CTX.GET z").error_code(), "QUARANTINED");
    assert!(client.run("COPY z y").is_error());
    assert_eq!((client.run("EXISTS y").int(), quarantined(&server)), (0, (1, 1)));
    assert_eq!(client.run("PEXPIRE z 60000").int(), 1);
    server.debug_reload();
    assert_eq!(client.run("LTMC.CTX.GET z").error_code(), "QUARANTINED");
    assert!((1..=60_000).contains(&client.run("PTTL z").int()), "it keeps the time to live that it was given");
    assert_eq!(client.run("DEL z").int(), 1);
    assert_eq!(quarantined(&server), (0, 0));
    assert!(client.run("LTMC.CTX.CREATE z").int() > 0);
    assert!(!server.run("LTMC.CTX.GET k").is_error());
}

#[test]
fn a_flush_and_an_expiry_end_the_quarantine() {
    let server = broken();
    server.run("FLUSHALL").ok();
    wait_until("nothing is in quarantine", || quarantined(&server) == (0, 0));
    tell(&server);
    let server = broken();
    server.run("PEXPIRE k 1").int();
    wait_until("it is gone", || server.run("EXISTS k").int() == 0);
    wait_until("nothing is in quarantine", || quarantined(&server) == (0, 0));
    tell(&server);
}

#[test]
fn a_quarantine_for_panics_and_one_by_the_check_go_with_their_values() {
    let server = plain().start();
    for key in ["panicked", "found"] {
        server.run(&format!("LTMC.LOCK {key} a PX 600000")).int();
    }
    for _ in 0..3 {
        assert!(server.run("LTMC.DEBUG PANIC panicked").error().contains("internal error"));
    }
    server.run("LTMC.DEBUG BREAK found *").ok();
    server.run("CONFIG SET ltmc.check-rate 1000").ok();
    wait_until("both are in quarantine", || quarantined(&server).0 == 2);
    server.run("CONFIG SET ltmc.check-rate 0").ok();
    for (key, name) in [("panicked", "p"), ("found", "f")] {
        server.run(&format!("RENAME {key} {name}")).ok();
        assert_eq!(server.run(&format!("LTMC.LOCK.INFO {name}")).error_code(), "QUARANTINED");
        assert!(server.run(&format!("LTMC.LOCK {key} b PX 600000")).int() > 0, "the name is free");
    }
    // A broken value is found broken in a file, too; one that is only under suspicion is not.
    server.debug_reload();
    let refused = server.run("LTMC.LOCK.INFO f");
    assert!(refused.error().contains("a grant is out of bounds"), "{refused:?}");
    assert_eq!((server.run("LTMC.LOCK p b").is_nil(), quarantined(&server).0), (true, 1));
}

#[test]
fn who_waits_for_a_value_that_comes_broken_is_told_so() {
    let server = broken();
    let mut watcher = server.client();
    watcher.send_line("LTMC.WATCH 1 w SINCE 0 BLOCK 0");
    server.wait_blocked(1);
    server.run("RENAME k w").ok();
    assert_eq!(watcher.recv().error_code(), "QUARANTINED");
}

#[test]
fn the_quarantine_of_a_name_that_holds_nothing_says_how_it_ends() {
    let server = plain().start();
    (0..3).for_each(|_| assert!(server.run("LTMC.DEBUG PANIC k").is_error()));
    let refused = server.run("LTMC.LOCK k a PX 600000");
    assert_eq!(refused.error_code(), "QUARANTINED");
    assert!(refused.error().contains("the key 'k', which holds nothing; try LTMC.REPAIR"), "{refused:?}");
    assert!(server.run("LTMC.REPAIR k").is_nil());
    assert!(server.run("LTMC.LOCK k a PX 600000").int() > 0);
}
