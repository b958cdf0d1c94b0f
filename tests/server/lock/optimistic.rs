//! Optimistic locks: a stamp excludes nobody, and its commit tells whether another owner wrote
//! meanwhile.

use super::*;

fn stamp(server: &Server, owner: &str, more: &str) -> i64 {
    server.run(&format!("LTMC.LOCK k {owner} OPTIMISTIC PX 600000 {more}")).int()
}

fn commit(server: &Server, owner: &str, stamp: i64) -> Reply {
    server.run(&format!("LTMC.UNLOCK k {owner} TOKEN {stamp}"))
}

#[test]
fn an_undisturbed_stamp_commits() {
    let server = Server::start();
    let fence = stamp(&server, "a", "");
    assert_eq!(fence % 2, 1, "a stamp can be told from a grant");
    assert_eq!(server.run("LTMC.LOCK.INFO k").get("mode").text(), "optimistic");
    assert_eq!(commit(&server, "a", fence).int(), 1);
    assert_eq!(server.run("EXISTS k").int(), 0, "no stamp can commit any more");
    assert_eq!(commit(&server, "a", fence).error_code(), "STALE");
}

#[test]
fn the_first_commit_wins() {
    let server = Server::start();
    let (a, b) = (stamp(&server, "a", ""), stamp(&server, "b", ""));
    assert_eq!(commit(&server, "b", b).int(), 1);
    let lost = commit(&server, "a", a);
    assert_eq!(lost.error_code(), "CONFLICT");
    assert!(lost.error().contains("stamp's version is 0") && lost.error().contains("current version is 1"), "{lost:?}");
    let again = stamp(&server, "a", "");
    assert_eq!(commit(&server, "a", again).int(), 1);
}

#[test]
fn an_exclusive_hold_voids_a_stamp() {
    let server = Server::start();
    let before = stamp(&server, "a", "");
    server.run("LTMC.LOCK k writer PX 600000").int();
    let during = stamp(&server, "b", "");
    assert_eq!(commit(&server, "a", before).error_code(), "CONFLICT");
    assert_eq!(commit(&server, "b", during).error_code(), "CONFLICT");
    assert_eq!(server.run("LTMC.UNLOCK k writer").int(), 1);
    assert_eq!(commit(&server, "a", before).error_code(), "CONFLICT");
    assert_eq!(commit(&server, "b", during).error_code(), "CONFLICT");
    let after = stamp(&server, "c", "");
    assert_eq!(commit(&server, "c", after).int(), 1);
}

#[test]
fn readers_do_not_disturb_a_stamp_and_a_stamp_disturbs_nobody() {
    let server = Server::start();
    let fence = stamp(&server, "a", "");
    server.run("LTMC.LOCK k reader SHARED").int();
    server.run("LTMC.UNLOCK k reader").int();
    assert_eq!(commit(&server, "a", fence).int(), 1);
    stamp(&server, "a", "");
    assert!(server.run("LTMC.LOCK k writer").int() > 0);
    assert!(server.run("LTMC.LOCK k other").is_nil());
}

#[test]
fn disjoint_paths_do_not_conflict() {
    let server = Server::start();
    let (a, b) = (stamp(&server, "a", "PATH src"), stamp(&server, "b", "PATH docs"));
    let inner = stamp(&server, "c", "PATH src/db");
    assert_eq!(commit(&server, "b", b).int(), 1);
    assert_eq!(commit(&server, "c", inner).int(), 1);
    assert_eq!(commit(&server, "a", a).error_code(), "CONFLICT", "src/db is part of src");
}

#[test]
fn a_stamp_is_stale_after_its_lease_and_after_a_deletion() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a OPTIMISTIC PX 1").int();
    wait_not_current(&server, "k", fence);
    assert_eq!(commit(&server, "a", fence).error_code(), "STALE");
    let fence = stamp(&server, "a", "");
    server.run("DEL k").int();
    assert_eq!(commit(&server, "a", fence).error_code(), "STALE");
}

#[test]
fn a_stamp_can_be_renewed_but_not_converted_or_released_unnamed() {
    let server = Server::start();
    let fence = stamp(&server, "a", "");
    assert_eq!(server.run(&format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 60000")).int(), 1);
    assert!(server.run("PTTL k").int() <= 60_000);
    let converted = server.run(&format!("LTMC.LOCK.CONVERT k a TOKEN {fence} EXCLUSIVE"));
    assert_eq!(converted.error_code(), "ERR");
    assert_eq!(server.run("LTMC.UNLOCK k a ALL").int(), 0);
    assert_eq!(commit(&server, "b", fence).error_code(), "NOTOWNER");
    assert_eq!(commit(&server, "a", fence).int(), 1);
}

#[test]
fn what_voided_a_stamp_survives_a_reload() {
    let server = Server::start();
    let (a, b) = (stamp(&server, "a", ""), stamp(&server, "b", "PATH elsewhere"));
    server.run("LTMC.LOCK k writer PATH src").int();
    server.run("LTMC.UNLOCK k writer PATH src").int();
    server.debug_reload();
    assert_eq!(commit(&server, "a", a).error_code(), "CONFLICT");
    assert_eq!(commit(&server, "b", b).int(), 1);
}

#[test]
fn the_strategy_says_what_a_plain_lock_means() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.memory-locking-strategy optimistic").ok();
    let fence = server.run("LTMC.LOCK k a").int();
    assert!(server.run("LTMC.LOCK k b").int() > fence, "stamps exclude nobody");
    assert_eq!(commit(&server, "a", fence).int(), 1);
    server.run("FLUSHALL").ok();
    assert!(server.run("LTMC.LOCK k a EXCLUSIVE").int() > 0);
    assert!(server.run("LTMC.LOCK k b EXCLUSIVE").is_nil());
    assert_eq!(server.run("LTMC.MLOCK a 2 x y").array().len(), 2);
    assert!(server.run("LTMC.MLOCK b 2 y z").is_nil(), "several locks at once are always held");
    assert_eq!(owners(&server, "z", "holders"), Vec::<String>::new());
    server.run("CONFIG SET ltmc.memory-locking-strategy pessimistic").ok();
    assert!(server.run("LTMC.LOCK x b").is_nil());
}

#[test]
fn several_locks_at_once_are_held_whatever_the_strategy() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.memory-locking-strategy optimistic").ok();
    server.run("CONFIG SET ltmc.lock-lease-ms 0").ok();
    server.run("LTMC.MLOCK a 2 x y").ints();
    assert_eq!(server.run("LTMC.LOCK.INFO x").get("mode").text(), "exclusive");
    assert_eq!(server.run("PTTL x").int(), -1, "no lease but the one that the setting gives to locks");
}
