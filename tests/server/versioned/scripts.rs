//! Sessions and contexts in transactions, in scripts, and behind a fence.

use super::*;

#[test]
fn a_transaction_sees_its_own_versions_and_each_command_answers_for_itself() {
    let server = Server::start();
    let replies = server.client().pipeline(&[
        "MULTI",
        "LTMC.CTX.CREATE c DOC {\"n\":1}",
        "LTMC.CTX.UPDATE c a INCRBY /n 1 IFVERSION 1",
        "LTMC.CTX.UPDATE c a INCRBY /n 1 IFVERSION 1",
        "LTMC.CTX.CHECKPOINT c",
        "LTMC.CTX.UPDATE c a SET /n 9",
        "LTMC.CTX.ROLLBACK c 1",
        "LTMC.SESSION.SET s f v",
        "LTMC.CTX.GENERATE g 2 c s",
        "LTMC.CTX.DIFF c 1",
        "EXEC",
    ]);
    let results = replies.last().expect("EXEC").array();
    let codes: Vec<i64> = [0, 1, 3, 4, 5, 6, 7].iter().map(|at: &usize| results[*at].int()).collect();
    assert_eq!(codes, [1, 2, 1, 3, 4, 1, 1]);
    assert_eq!(results[2].error_code(), "CONFLICT");
    assert_eq!(results[8].text(), "{\"n\":2}");
    assert_eq!(doc(&server, "g"), "{\"f\":\"v\",\"n\":2}");
    // If a command is refused when it is queued, nothing runs at all.
    let replies = server.client().pipeline(&["MULTI", "LTMC.CTX.UPDATE c a SET /n 5", "LTMC.CTX.GET", "EXEC"]);
    assert_eq!(replies[3].error_code(), "EXECABORT");
    assert_eq!(doc(&server, "c"), "{\"n\":2}");
}

#[test]
fn a_watched_transaction_is_broken_by_what_changes_and_by_nothing_else() {
    let server = Server::start();
    run_all(&server, &["LTMC.CTX.CREATE c DOC {\"n\":1}", "LTMC.CTX.CHECKPOINT c", "LTMC.SESSION.SET s f v g v"]);
    run_all(&server, &["LTMC.SESSION.CHECKPOINT s", "LTMC.SESSION.JOIN s a"]);
    let is_broken = |line: &str| {
        let mut client = server.client();
        client.run("WATCH c s").ok();
        server.run(line);
        client.pipeline(&["MULTI", "PING", "EXEC"])[2].is_nil()
    };
    let quiet = [
        "LTMC.CTX.GET c",
        "LTMC.CTX.GET c AT 1",
        "LTMC.CTX.DIFF c 1",
        "LTMC.CTX.BUILD c FOR a",
        "LTMC.CTX.CHECKPOINTS c",
        "LTMC.CTX.UPDATE c a SET /n 2 IFVERSION 7",
        "LTMC.CTX.UPDATE c a SET /m 1 SET /n/x 2",
        "LTMC.CTX.LEAVE c nobody",
        "LTMC.CTX.PRUNE c KEEPLAST 5",
        "LTMC.CTX.PRUNE c KEEPLAST 0 DRYRUN",
        "LTMC.CTX.FORK c d",
        "LTMC.CTX.GENERATE e 2 c s",
        "LTMC.CTX.CREATE c",
        "LTMC.SESSION.GET s f",
        "LTMC.SESSION.INFO s",
        "LTMC.SESSION.STATUS s",
        "LTMC.SESSION.STATUS s ACTIVE",
        "LTMC.SESSION.DEL s none",
        "LTMC.CTX.UPDATE c a DEL /none",
        "LTMC.SESSION.JOIN s a",
        "LTMC.SESSION.SET s f v IFVERSION 9",
        "LTMC.SESSION.DISOWN s nothing",
        "LTMC.WATCH 2 c s SINCE 0 0",
        "SET elsewhere v",
    ];
    for line in quiet {
        assert!(!is_broken(line), "{line}");
    }
    let loud = [
        "LTMC.CTX.UPDATE c a SET /n 2",
        "LTMC.CTX.JOIN c b",
        "LTMC.CTX.CHECKPOINT c",
        "LTMC.CTX.UPDATE c a SET /n 3",
        "LTMC.CTX.RESTORE c 1",
        "LTMC.CTX.PRUNE c KEEPLAST 0",
        "LTMC.SESSION.SET s f new",
        "LTMC.SESSION.DEL s g",
        "LTMC.SESSION.OWN s l",
        "LTMC.SESSION.STATUS s SUSPENDED",
        "LTMC.SESSION.RESTORE s 1",
        "LTMC.SESSION.END s",
        "LTMC.SESSION.CREATE s",
        "LTMC.SESSION.END s GRACE 0",
        "DEL c",
        "LTMC.CTX.CREATE c",
        "RENAME c d",
    ];
    for line in loud {
        assert!(is_broken(line), "{line}");
    }
}

#[test]
fn what_a_session_gives_back_breaks_who_watched_that() {
    let server = Server::start();
    run_all(&server, &["LTMC.SESSION.CREATE s PARTICIPANTS 1 a", "LTMC.SESSION.OWN s l", "LTMC.LOCK l a PX 600000"]);
    let mut client = server.client();
    client.run("WATCH l").ok();
    run(&server, "LTMC.SESSION.END s");
    assert!(client.pipeline(&["MULTI", "PING", "EXEC"])[2].is_nil());
}

#[test]
fn a_script_reads_and_writes_and_is_told_of_conflicts() {
    let server = Server::start();
    run(&server, "LTMC.CTX.CREATE c DOC {\"n\":1}");
    // Read, compute, write. In scripts, replies that are maps are flat lists.
    let script = "local map = redis.call('LTMC.CTX.GET', KEYS[1]) \
                  local version, doc = map[2], cjson.decode(map[4]) \
                  redis.call('LTMC.SESSION.SET', KEYS[2], 'seen', map[4], 'n', doc.n) \
                  return redis.call('LTMC.CTX.UPDATE', KEYS[1], 'me', 'IFVERSION', version, 'SET', '/n', doc.n * 3)";
    assert_eq!(server.cmd(&["EVAL", script, "2", "c", "s"]).int(), 2);
    assert_eq!((doc(&server, "c"), field(&server, "s", "n")), ("{\"n\":3}".into(), Some("1".into())));
    let script = "local reply = redis.pcall('LTMC.CTX.UPDATE', KEYS[1], 'me', 'IFVERSION', 1, 'SET', '/n', 0) \
                  return string.match(reply.err, '%u+')";
    assert_eq!(server.cmd(&["EVAL", script, "1", "c"]).text(), "CONFLICT");
    assert_eq!(server.cmd(&["EVAL_RO", "return redis.call('LTMC.CTX.GET', KEYS[1])[2]", "1", "c"]).int(), 2);
    let refused = server.cmd(&["EVAL_RO", "return redis.call('LTMC.SESSION.SET', KEYS[1], 'f', 'v')", "1", "s"]);
    assert!(refused.is_error(), "{refused:?}");
}

#[test]
fn a_guarded_write_is_made_only_while_the_fence_is_current() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    run(&server, "LTMC.CTX.CREATE c DOC {\"n\":1}");
    let guarded = |fence: i64, line: &str| server.run(&format!("LTMC.GUARD k {fence} {line}"));
    assert_eq!(guarded(fence, "LTMC.SESSION.SET s f v").int(), 1);
    assert_eq!(guarded(fence, "LTMC.CTX.UPDATE c a SET /n 2 IFVERSION 1").int(), 2);
    assert_eq!(guarded(fence, "LTMC.CTX.UPDATE c a SET /n 3 IFVERSION 1").error_code(), "CONFLICT");
    assert_eq!(guarded(fence, "LTMC.CTX.UPDATE none a SET /n 3").error_code(), "NOCONTEXT");
    let mut watcher = watcher_of(&server, "1 c SINCE $ PATH /n");
    let stream = replication_stream(&server, || drop(guarded(fence, "LTMC.CTX.UPDATE c a SET /n 4")));
    assert_eq!(stream.len(), 1, "{:?}", show_stream(&stream));
    assert_eq!(only_news(&watcher.recv()).1[0]["version"], 3);
    assert!(guarded(fence, "LTMC.WATCH 1 c SINCE $ BLOCK 0").is_nil(), "it cannot wait in there");
    run(&server, "LTMC.UNLOCK k a");
    let newer = server.run("LTMC.LOCK k b PX 600000").int();
    for line in ["LTMC.SESSION.SET s f w", "LTMC.CTX.UPDATE c a SET /n 9", "LTMC.SESSION.END s GRACE 0"] {
        assert_eq!(guarded(fence, line).error_code(), "STALE", "{line}");
    }
    assert_eq!((doc(&server, "c"), field(&server, "s", "f")), ("{\"n\":4}".into(), Some("v".into())));
    // The end of a session may take away the very lock that guards it.
    run_all(&server, &["LTMC.SESSION.JOIN s b", "LTMC.SESSION.OWN s k"]);
    assert_eq!(guarded(newer, "LTMC.SESSION.END s").int(), 1);
    assert_eq!(guarded(newer, "LTMC.CTX.UPDATE c a SET /n 9").error_code(), "STALE");
}
