//! What a client brings, and what files hold.

use super::*;
use crate::server::health::CASES;

#[test]
fn a_damaged_value_is_refused_from_a_client_with_the_reason_in_the_log() {
    let server = plain().start();
    tell(&server);
    let mut forged = dump(&server, "k");
    assert_eq!(forge(&mut forged, break_undo), 1);
    reseal_dump(&mut forged);
    let refused = server.cmd(&[b"RESTORE".as_slice(), b"z", b"0", &forged]);
    assert!(refused.is_error(), "{refused:?}");
    server.wait_log("LTMC cannot load a ltmc-ctxt: payload holds a broken value: a version cannot be got back to");
    let frame = &forged[frames(&forged)[0].clone()];
    let refused = server.cmd(&[b"LTMC.APPLY".as_slice(), b"z", frame]);
    assert!(refused.error().contains("a version cannot be got back to"), "{refused:?}");
    assert_eq!((server.run("EXISTS z").int(), quarantined(&server)), (0, (0, 0)));
    // Unchanged, it can be restored and rolled back.
    let whole = dump(&server, "k");
    server.cmd(&[b"RESTORE".as_slice(), b"z", b"0", &whole]).ok();
    assert!(server.run("LTMC.CTX.ROLLBACK z 1").int() > 0);
    server.debug_reload();
}

#[test]
fn a_damaged_value_in_a_file_is_there_as_a_broken_one_and_the_server_starts() {
    let mut server = broken();
    server.wait_log("LTMC: the ltmc-ctxt 'k' in database 0 is broken, and in quarantine: payload holds a broken value");
    assert_broken(&server, "k");
    assert_eq!(quarantined(&server), (1, 1));
    assert_eq!(server.info_int("ltmc", "ltmc_quarantined_keys"), 1);
    assert_eq!(server.info_int("ltmc", "ltmc_context_quarantined_keys"), 1);
    assert!(server.run("LTMC.LOCK.INFO well").get("version").int() >= 0);
    let (before, saved) = (digest(&server, "k"), dump(&server, "k"));
    server.debug_reload();
    assert_eq!((digest(&server, "k"), dump(&server, "k")), (before.clone(), saved));
    assert_eq!(quarantined(&server), (1, 1));
    server.restart();
    assert_broken(&server, "k");
    let replica = server.replica();
    replica.wait_synced(&server);
    assert_broken_copy(&replica, "k");
    assert_eq!((digest(&replica, "k"), quarantined(&replica)), (before, (1, 1)));
    assert_eq!(replica.debug_digest(), server.debug_digest());
}

#[test]
fn a_damaged_value_in_an_aof_is_there_as_a_broken_one_and_the_server_starts() {
    for preamble in ["yes", "no"] {
        let mut server = plain().durable().arg("aof-use-rdb-preamble", preamble).start();
        tell(&server);
        server.run("LTMC.LOCK well a PX 600000").int();
        server.rewrite_aof();
        server.kill();
        let folder = std::fs::read_dir(server.dir().join("appendonlydir")).expect("a folder");
        let paths = folder.map(|entry| entry.expect("an entry").path());
        let base = paths.into_iter().find(|path| path.to_string_lossy().contains(".base.")).expect("a base file");
        forge_file(base, break_undo);
        server.start_again();
        assert_broken(&server, "k");
        assert_eq!(quarantined(&server), (1, 1));
        let before = digest(&server, "k");
        server.rewrite_aof();
        server.crash_and_restart();
        assert_broken(&server, "k");
        assert_eq!((digest(&server, "k"), quarantined(&server)), (before, (1, 1)), "preamble {preamble}");
    }
}

#[test]
fn a_value_of_each_type_that_cannot_be_read_is_kept_as_it_is() {
    let mut server = plain().durable().arg("aof-use-rdb-preamble", "no").start();
    CASES.iter().for_each(|case| case.set_up(&server));
    server.rewrite_aof();
    server.run("CONFIG SET appendonly no").ok();
    server.stop();
    forge_file(server.dir().join("dump.rdb"), break_half);
    let folder = server.dir().join("appendonlydir");
    std::fs::remove_dir_all(folder).expect("the folder can be removed");
    server.append_config("appendonly no");
    server.start_again();
    let all = CASES.len() as i64;
    assert_eq!(quarantined(&server).0, all);
    let digests = |server: &Server| CASES.iter().map(|case| digest(server, case.key)).collect::<Vec<_>>();
    let before = digests(&server);
    for case in CASES {
        assert_eq!(server.run(case.probe.0).error_code(), "QUARANTINED", "{}", case.key);
        assert_eq!(server.run(&format!("TYPE {}", case.key)).text(), case.type_name);
        assert!(server.run(&format!("LTMC.REPAIR {}", case.key)).is_error(), "{}", case.key);
        assert!(server.run(&format!("MEMORY USAGE {}", case.key)).int() > 0);
    }
    server.run("CONFIG SET appendonly yes").ok();
    wait_until("there is an AOF", || !server.is_rewriting_aof());
    server.rewrite_aof();
    server.run("DEBUG LOADAOF").ok();
    assert_eq!((digests(&server), quarantined(&server).0), (before, all));
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn what_stands_in_place_of_a_value_is_kept_through_every_file() {
    // Changes instead of a value, an unknown content, and another type.
    for (at, byte) in [(3, 1), (3, 9), (4, 1)] {
        let mut server = plain().start();
        tell(&server);
        server.stop();
        forge_file(server.dir().join("dump.rdb"), |frame| {
            frame[at] = byte;
            true
        });
        server.append_config("aof-use-rdb-preamble no");
        server.start_again();
        assert_eq!(server.run("LTMC.CTX.GET k").error_code(), "QUARANTINED");
        let before = (digest(&server, "k"), dump(&server, "k"));
        server.run("CONFIG SET appendonly yes").ok();
        wait_until("there is an AOF", || !server.is_rewriting_aof());
        server.run("DEBUG LOADAOF").ok();
        assert_eq!((digest(&server, "k"), dump(&server, "k")), before);
        assert_eq!((server.run("TYPE k").text(), quarantined(&server)), ("ltmc-ctxt", (1, 1)));
    }
}

#[test]
fn a_broken_value_does_not_migrate() {
    let (source, target) = (broken(), Server::start());
    let refused = source.run(&format!("MIGRATE 127.0.0.1 {} k 0 5000", target.port()));
    assert!(refused.is_error(), "{refused:?}");
    target.wait_log("LTMC cannot load a ltmc-ctxt: payload holds a broken value");
    assert_eq!((source.run("EXISTS k").int(), target.run("EXISTS k").int()), (1, 0));
}
