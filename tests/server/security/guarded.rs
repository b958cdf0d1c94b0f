//! What the inner command of `LTMC.GUARD` may not do is refused as if it had been sent alone.

use super::*;

const RULES: &str = "~lock ~a:* %R~ro:* resetchannels &open -@all +ltmc.guard +ltmc.lock +get +mget +mset +publish \
    +config|get +command|count +ltmc.watch";

/// Commands that this user may not run, or not on these keys and channels.
const REFUSED: &[&str] = &[
    "SET a:x 1",
    "GET other",
    "MGET a:x other",
    "MSET a:x 1 other 1",
    "MSET ro:x 1",
    "PUBLISH closed x",
    "CONFIG SET maxmemory 0",
    "CLIENT KILL ID 1",
    "COMMAND DOCS get",
    "EVAL x 0",
    "SUBSCRIBE closed",
    "LTMC.UNLOCK a:l me",
    "LTMC.LOCK other me",
    "LTMC.LOCK ro:l me",
    "LTMC.LOCK a:l me REGISTRY other",
    "LTMC.WATCH 2 a:l other SINCE 0 0",
    "LTMC.APPLY a:l payload",
];

/// Commands that are not refused for want of a right.
const FAILING: &[&str] = &["GET", "NOSUCH x", "GET a:list", "LTMC.LOCK a:l", "PUBLISH open"];

#[test]
fn what_an_inner_command_may_not_do_is_refused_in_the_servers_own_words() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK lock me PX 600000").int();
    server.run("RPUSH a:list x").int();
    let before = server.dataset();
    let mut user = server.user("user", RULES);
    for line in REFUSED {
        let alone = user.run(line);
        assert!(is_refused(&alone), "{line}: {alone:?}");
        let guarded = user.run(&format!("LTMC.GUARD lock {fence} {line}"));
        assert_eq!(guarded, alone, "{line}");
    }
    for line in FAILING {
        let alone = user.run(line);
        assert!(alone.is_error() && !is_refused(&alone), "{line}: {alone:?}");
        assert_eq!(user.run(&format!("LTMC.GUARD lock {fence} {line}")), alone, "{line}");
    }
    assert_same("nothing has changed", &before, &server.dataset());
    assert_eq!(user.run(&format!("LTMC.GUARD lock {fence} PUBLISH open x")).int(), 0);
}

#[test]
fn a_refusal_comes_before_what_else_the_server_has_against_a_command() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK lock me PX 600000").int();
    let mut user = server.user("user", &format!("{RULES} +set"));
    server.run("CONFIG SET maxmemory 1").ok();
    for line in ["SET other 1", "MSET other 1", "CONFIG SET maxmemory 0"] {
        let alone = user.run(line);
        assert!(is_refused(&alone), "{line}: {alone:?}");
        assert_eq!(user.run(&format!("LTMC.GUARD lock {fence} {line}")), alone, "{line}");
    }
}
