//! Every way in which a watch ends other than by news.

use super::*;

#[test]
fn a_watch_ends_with_nil_at_its_limit() {
    let server = Server::start();
    register(&server, "a", "");
    let mut client = server.client();
    for what in ["1 r SINCE $", "1 none SINCE 0", "2 r none SINCE $ $"] {
        assert!(client.run(&format!("LTMC.WATCH {what} BLOCK 10")).is_nil(), "{what}");
    }
    assert_eq!(server.info_int("ltmc", "ltmc_watch_timeouts"), 3);
    assert_idle(&server);
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn a_transaction_a_script_and_a_guard_look_once() {
    let server = Server::start();
    let lock = server.run("LTMC.LOCK {t}:l me PX 600000").int();
    server.run("LTMC.REGISTER {t}:r a PX 600000").int();
    let mut client = server.client();
    let mut look = |since: &str| {
        let watch = format!("LTMC.WATCH 1 {{t}}:r SINCE {since} BLOCK 0");
        let words: Vec<String> = watch.split(' ').map(|word| format!("'{word}'")).collect();
        let script = format!("return redis.call({})", words.join(","));
        let replies = client.pipeline(&["MULTI", &watch, "SET {t}:after 1", "EXEC"]);
        replies[3].array()[1].ok();
        let by_script = client.cmd(&["EVAL", &script, "0"]);
        let guarded = client.run(&format!("LTMC.GUARD {{t}}:l {lock} {watch}"));
        [replies[3].array()[0].clone(), by_script, guarded]
    };
    assert!(look("$").iter().all(Reply::is_nil), "no news");
    for reply in look("0") {
        assert_eq!(names_in(&reply), ["agent.registered"]);
    }
    for reply in look("1") {
        compacted(&reply.array()[0]);
    }
    assert_eq!(waiting(&server), 0);
    let replies = client.pipeline(&["MULTI", "LTMC.WATCH 1 {t}:r SINCE $", "EXEC"]);
    assert!(only_news(&replies[2].array()[0]).1.is_empty(), "without BLOCK there is always an answer");
}

#[test]
fn a_watcher_that_is_killed_or_hangs_up_is_forgotten() {
    let server = Server::start();
    register(&server, "a", "");
    let mut watchers: Vec<Client> = (0..4).map(|_| watcher_of(&server, "2 r q SINCE $ $")).collect();
    let mut killed = watchers.remove(0);
    server.run(&format!("CLIENT KILL ID {}", killed.id()));
    killed.wait_closed();
    drop(watchers.remove(0));
    wait_until("two watch", || waiting(&server) == 2);
    // One more in the very tick of the news.
    let kill = format!("CLIENT KILL ID {}", watchers[0].id());
    server.client().pipeline(&[&format!("LTMC.REGISTER r b PX {TTL_MS}"), &kill]);
    watchers[0].wait_closed();
    assert_eq!(news(&watchers[1].recv().array()[0]).1.len(), 1);
    assert_idle(&server);
    assert_eq!(server.info_int("ltmc", "ltmc_watch_waits"), 4);
    assert_eq!(server.info_int("ltmc", "ltmc_watch_taken_back"), 0, "there is nothing to take back");
}

#[test]
fn no_more_than_so_many_may_watch_one_key() {
    let server = Server::start();
    register(&server, "a", "");
    server.run("CONFIG SET ltmc.watchers-max 2").ok();
    let mut watchers = [watcher(&server), watcher_of(&server, "2 q r SINCE $ $")];
    let mut client = server.client();
    for what in ["1 r SINCE $", "2 x r SINCE $ $"] {
        let refused = client.run(&format!("LTMC.WATCH {what} BLOCK 0"));
        assert_eq!(refused.error_code(), "LIMIT", "{what}");
        assert!(refused.error().contains("watchers-max"), "{refused:?}");
    }
    assert!(client.run("LTMC.WATCH 2 q x SINCE $ $ BLOCK 1").is_nil(), "each key has its own limit");
    assert!(!client.run("LTMC.WATCH 1 r SINCE $").is_error(), "who does not wait is not refused");
    assert!(!client.run("LTMC.WATCH 1 r SINCE 0 BLOCK 0").is_error(), "nor who need not wait");
    register(&server, "b", "");
    for watcher in &mut watchers {
        assert!(!watcher.recv().is_error());
    }
    assert!(client.run("LTMC.WATCH 1 r SINCE $ BLOCK 1").is_nil(), "there is room again");
}
