//! COPY and FORK: what the other key has, and that the two are independent from then on.

use super::*;

/// A session with everything that one can have, and a context.
fn make(server: &Server) {
    run_all(
        server,
        &[
            "LTMC.SESSION.CREATE s PARTICIPANTS 2 a b STATE {\"f\":\"v\"} META {\"m\":1} PX 60000000",
            "LTMC.SESSION.SET s f w",
            "LTMC.SESSION.CHECKPOINT s NAME two PIN REQID r",
            "LTMC.SESSION.SET s g x",
            "LTMC.SESSION.STATUS s suspended",
            "LTMC.CTX.CREATE c OWNER a DOC {\"n\":1} PX 60000000 SLIDING",
            "LTMC.CTX.UPDATE c a SET /n 2",
            "LTMC.CTX.CHECKPOINT c NAME two",
            "LTMC.CTX.UPDATE c b SET /n 3",
        ],
    );
}

/// What is shown of a key, without the sizes and what COPY leaves out.
#[track_caller]
fn shown(server: &Server, command: &str) -> Vec<(String, Reply)> {
    let reply = run(server, command);
    let fields = reply.array().chunks_exact(2).map(|pair| (pair[0].text().to_string(), pair[1].clone()));
    fields.filter(|(name, _)| name != "resources" && name != "memory_bytes").collect()
}

#[test]
fn a_copy_has_all_but_what_belongs_to_the_original() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    make(&server);
    assert_eq!(run(&server, "COPY s t").int(), 1);
    assert_eq!(run(&server, "COPY c d").int(), 1);
    assert_eq!(run(&server, "COPY c c DB 2").int(), 1);
    for (one, other) in [("LTMC.SESSION.INFO s", "LTMC.SESSION.INFO t"), ("LTMC.CTX.GET c", "LTMC.CTX.GET d")] {
        assert_eq!(shown(&server, one), shown(&server, other));
    }
    assert_eq!(server.run("COPY s t").int(), 0, "it is there");
    assert_eq!(field(&server, "t", "g").as_deref(), Some("x"));
    assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINTS t"), run(&server, "LTMC.SESSION.CHECKPOINTS s"));
    for (one, other) in [("s", "t"), ("c", "d")] {
        let (one, other) = (run(&server, &format!("PEXPIRETIME {one}")), run(&server, &format!("PEXPIRETIME {other}")));
        assert!(one.int() > 0 && one == other);
    }
    // From now on they are independent.
    run_all(&server, &["LTMC.SESSION.RESTORE t two", "LTMC.CTX.UPDATE d a SET /n 4", "LTMC.CTX.ROLLBACK c two"]);
    run_all(&server, &["LTMC.SESSION.SET s g y", "LTMC.CTX.UPDATE d b SET /m 1"]);
    assert_eq!((field(&server, "s", "g").as_deref(), field(&server, "t", "g")), (Some("y"), None));
    assert_eq!((doc(&server, "c"), doc(&server, "d")), (r#"{"n":2}"#.into(), r#"{"m":1,"n":4}"#.into()));
    assert_eq!(run(&server, "LTMC.CTX.GET d AT 1").get("doc").text(), r#"{"n":1}"#, "the past came along");
    // A request was answered for the original only.
    assert_eq!(run(&server, "LTMC.SESSION.CHECKPOINT t REQID r").int(), 2);
    assert_persisted_everywhere(&server, &[&replica]);
}

#[test]
fn a_copy_owns_nothing_and_ends_when_the_original_would_have() {
    let server = Server::start();
    let replica = server.replica();
    set_clock(&server, 0);
    run_all(
        &server,
        &[
            "LTMC.SESSION.CREATE s PARTICIPANTS 1 a PX 60000",
            "LTMC.SESSION.OWN s l",
            "LTMC.LOCK l a PX 600000",
            "COPY s t",
        ],
    );
    let info = run(&server, "LTMC.SESSION.INFO t");
    assert!(info.get("resources").array().is_empty() && info.get("participants").array().len() == 1);
    let end = info.get("ends_at_ms").int();
    assert_eq!(run(&server, "PEXPIRETIME s").int(), end);
    wait_until("the copy has its TTL", || server.run("PEXPIRETIME t").int() == end);
    wait_until("on the replica, too", || replica.run("PEXPIRETIME t").int() == end);
    run(&server, "LTMC.SESSION.END t GRACE 0");
    assert_eq!(server.run("EXISTS t l").int(), 1, "the lock is still held");
    // A session that SET has created and that is empty. A copy of it stays.
    run_all(&server, &["LTMC.SESSION.SET u f 1", "LTMC.SESSION.OWN u l2", "LTMC.SESSION.DEL u f", "COPY u w"]);
    assert_eq!(run(&server, "LTMC.SESSION.INFO w").get("fields").int(), 0);
    replica.wait_synced(&server);
    assert_same("the replica", &server.dataset(), &replica.dataset());
}

#[test]
fn a_copy_of_a_session_at_work_is_found_after_a_crash_like_the_original() {
    let mut server = Server::builder().durable().start();
    run_all(&server, &["LTMC.SESSION.SET s f 1", "COPY s t", "LTMC.SESSION.SET t f 2"]);
    server.crash_and_restart();
    for key in ["s", "t"] {
        wait_until("it is recovering", || {
            run(&server, &format!("LTMC.SESSION.INFO {key}")).get("status").text() == "recovering"
        });
    }
    assert_eq!(field(&server, "t", "f").as_deref(), Some("2"));
}

#[test]
fn who_watched_an_earlier_life_of_the_copys_key_is_told_that_it_missed_something() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c", "LTMC.CTX.CREATE d", "LTMC.CTX.UPDATE d a SET /n 1"]);
    let (of_c, of_d) = (revision(&server, "c"), revision(&server, "d"));
    let mut watcher = watcher_of(&server, &format!("1 d SINCE {of_d}"));
    run(&server, "COPY c d REPLACE");
    assert_eq!(compacted(&watcher.recv().array()[0]), (of_c, of_c + 1), "the one who waits");
    assert_eq!(compacted(&server.run(&format!("LTMC.WATCH 1 d SINCE {of_d}")).array()[0]).0, of_c);
    assert_eq!(
        compacted(&server.run("LTMC.WATCH 1 d SINCE 0").array()[0]).0,
        of_c,
        "its beginning was told of another key"
    );
    run(&server, "LTMC.CTX.UPDATE d a SET /n 2");
    let (now, events) = only_news(&server.run(&format!("LTMC.WATCH 1 d SINCE {of_c}")));
    assert_eq!((now, names(&events)), (of_c + 1, vec!["context.changed"]));
    assert_eq!(revision(&server, "c"), of_c);
}

#[test]
fn locks_are_not_copied() {
    let server = Server::start();
    make(&server);
    run_all(&server, &["LTMC.LOCK l a PX 600000", "LTMC.LOCK p a PATH src SHARED PX 600000"]);
    let before = server.dataset();
    for line in ["COPY l other", "COPY p other", "COPY l l DB 1", "COPY l c REPLACE"] {
        assert!(server.run(line).is_error(), "{line}");
    }
    assert_same("nothing happened", &before, &server.dataset());
}

/// Bytes in use, once everything is freed in the background.
#[track_caller]
fn used(server: &Server) -> i64 {
    wait_until("nothing is to be freed", || server.info_int("memory", "lazyfree_pending_objects") == 0);
    server.info_int("memory", "used_memory")
}

#[test]
fn forks_and_copies_take_memory_for_what_is_written_to_them() {
    let server = Server::start();
    let value = "x".repeat(1000);
    for n in 0..1000 {
        server.cmd(&["LTMC.SESSION.SET", "s", &format!("f{n}"), &value, "PX", "600000000"]).int();
        server.cmd(&["LTMC.CTX.UPDATE", "c", "a", "SET", &format!("/f{n}"), &format!("\"{value}\"")]);
        if n == 0 {
            run(&server, "LTMC.CTX.CREATE c DOC {}");
        }
    }
    let whole = server.run("MEMORY USAGE s SAMPLES 0").int();
    let before = used(&server);
    for n in 0..20 {
        run_all(&server, &[&format!("LTMC.SESSION.FORK s fork-{n}"), &format!("LTMC.CTX.FORK c part-{n}")]);
    }
    let forked = used(&server);
    assert!(forked - before < whole / 4, "{} more bytes for 20 forks of {whole} each", forked - before);
    let measured = server.run("MEMORY USAGE fork-1").int();
    assert!(measured > 900_000, "{measured}: it counts fully wherever it is held");
    // The first write to one separates it on the way to what has changed. The others are unchanged.
    run_all(&server, &["LTMC.CTX.UPDATE part-0 a SET /f0 1", "LTMC.SESSION.SET fork-0 f0 new"]);
    assert!(used(&server) - forked < whole / 4, "a copy was made");
    assert_eq!(field(&server, "fork-1", "f0").as_deref(), Some(&value[..]));
    assert_eq!(field(&server, "s", "f0").as_deref(), Some(&value[..]));
    run_all(&server, &["UNLINK s c", "LTMC.SESSION.SET fork-2 f1 new", "LTMC.CTX.UPDATE part-2 a SET /f1 1"]);
    assert_eq!(field(&server, "fork-3", "f1").as_deref(), Some(&value[..]), "the original is not needed");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}
