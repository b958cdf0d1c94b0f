//! What comes for a broken value from a primary or an AOF.

use super::*;
use crate::bad_payloads::payload_from;

/// Adds commands to the end of the AOF of a server that is stopped.
fn append(server: &Server, commands: &[Vec<&[u8]>]) {
    let folder = std::fs::read_dir(server.dir().join("appendonlydir")).expect("a folder");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let last = paths.into_iter().find(|path| path.to_string_lossy().contains(".incr.")).expect("a file of commands");
    let mut bytes = std::fs::read(&last).expect("the file is there");
    for command in commands {
        bytes.extend(format!("*{}\r\n", command.len()).bytes());
        for word in command {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    std::fs::write(&last, bytes).expect("the file can be written");
}

#[test]
fn changes_for_a_broken_value_are_dropped_counted_and_told_of_once() {
    let source = plain().start();
    tell(&source);
    let whole = dump(&source, "k");
    let whole = &whole[frames(&whole)[0].clone()];
    let mut forged = whole.to_vec();
    assert_eq!(forge(&mut forged, break_undo), 1);
    let change = payload_from(&source, "LTMC.CTX.UPDATE k a SET /x 1");
    let mut server = plain().durable().start();
    server.run("SET other x").ok();
    server.kill();
    let apply = |payload| vec![b"LTMC.APPLY".as_slice(), b"k", payload];
    append(&server, &[apply(&forged), apply(&change), apply(&change)]);
    server.start_again();
    assert_broken(&server, "k");
    let health = server.run("LTMC.HEALTH");
    assert_eq!((health.get("dropped_changes").int(), quarantined(&server)), (2, (1, 1)));
    assert_eq!(server.info_int("ltmc", "ltmc_dropped_changes"), 2);
    assert_eq!(server.log().matches("the changes that come for it are dropped").count(), 1, "{}", server.log());
    let refused = server.cmd(&apply(&change));
    assert_eq!(refused.error_code(), "QUARANTINED", "a client is told: {refused:?}");
    // A whole value replaces it, from a client or from the file.
    server.cmd(&apply(whole)).ok();
    assert_eq!((server.run("LTMC.CTX.GET k").get("version").int(), quarantined(&server)), (2, (0, 0)));
    server.crash_and_restart();
    assert_eq!((server.run("LTMC.CTX.GET k").get("version").int(), quarantined(&server)), (2, (0, 0)));
    assert!(server.run("LTMC.CTX.ROLLBACK k 1").int() > 0);
}

#[test]
fn a_broken_copy_drops_what_its_primary_sends_until_that_sends_a_whole_value() {
    let primary = plain().start();
    primary.run("LTMC.LOCK k a SHARED PX 600000").int();
    let replica = primary.replica();
    replica.run("CONFIG SET replica-read-only no").ok();
    replica.run("LTMC.DEBUG BREAK k *").ok();
    replica.run("CONFIG SET ltmc.check-rate 1000").ok();
    wait_until("it is in quarantine", || quarantined(&replica).0 == 1);
    primary.run("LTMC.LOCK k b SHARED PX 600000").int();
    replica.wait_synced(&primary);
    assert_eq!(replica.run("LTMC.HEALTH").get("dropped_changes").int(), 1);
    primary.run("LTMC.REPAIR k").get("type").text();
    replica.wait_synced(&primary);
    assert_eq!((quarantined(&replica).0, digest(&replica, "k")), (0, digest(&primary, "k")));
}
