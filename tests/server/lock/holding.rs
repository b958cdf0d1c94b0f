//! What a lock is to its owners: modes, levels, leases, fences, conversion, and what can be seen of
//! it.

use super::*;

#[test]
fn an_exclusive_lock_keeps_everyone_else_out() {
    let server = Server::start();
    assert!(server.run("LTMC.LOCK k a PX 600000").int() > 0);
    assert!(server.run("LTMC.LOCK k b").is_nil());
    assert!(server.run("LTMC.LOCK k b SHARED").is_nil());
    assert_eq!(server.run("LTMC.UNLOCK k b").error_code(), "NOTOWNER");
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 0);
    assert_eq!(server.run("EXISTS k").int(), 0);
    assert!(server.run("LTMC.LOCK k b").int() > 0);
}

#[test]
fn shared_locks_keep_only_writers_out() {
    let server = Server::start();
    let fences = ["a", "b", "c"].map(|owner| server.run(&format!("LTMC.LOCK k {owner} SHARED")).int());
    assert!(fences[0] < fences[1] && fences[1] < fences[2], "{fences:?}");
    assert!(server.run("LTMC.LOCK k d EXCLUSIVE").is_nil());
    assert_eq!(owners(&server, "k", "holders"), ["a", "b", "c"]);
    for owner in ["a", "b", "c"] {
        assert_eq!(server.run(&format!("LTMC.UNLOCK k {owner}")).int(), 1);
    }
    assert!(server.run("LTMC.LOCK k d EXCLUSIVE").int() > 0);
}

#[test]
fn a_counted_lock_is_a_semaphore() {
    let server = Server::start();
    assert!(server.run("LTMC.LOCK k a SHARED LIMIT 2").int() > 0);
    assert!(server.run("LTMC.LOCK k b SHARED LIMIT 2").int() > 0);
    assert!(server.run("LTMC.LOCK k c SHARED LIMIT 2").is_nil());
    assert!(server.run("LTMC.LOCK k c SHARED LIMIT 5").is_nil(), "the tightest limit of all who share holds");
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k c SHARED LIMIT 2 BLOCK 0");
    server.wait_blocked(1);
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert!(waiting.recv().int() > 0);
    assert_eq!(owners(&server, "k", "holders"), ["b", "c"]);
}

#[test]
fn an_owner_takes_what_it_holds_once_more_under_the_same_fence() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    assert_eq!(server.run("LTMC.LOCK k a PX 1000").int(), fence);
    assert_eq!(server.run("LTMC.LOCK k a SHARED").int(), fence, "who holds it alone may also read");
    assert_eq!(holder(&server, "k").get("levels").int(), 3);
    assert!(server.run("PTTL k").int() > 300_000, "an inner level does not shorten the outer lease");
    for _ in 0..3 {
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
        assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    }
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 0);
}

#[test]
fn all_gives_every_level_back() {
    let server = Server::start();
    server.client().pipeline(&["LTMC.LOCK k a", "LTMC.LOCK k a", "LTMC.LOCK k a"]);
    assert_eq!(server.run("LTMC.UNLOCK k a ALL").int(), 1);
    assert_eq!(server.run("EXISTS k").int(), 0);
}

#[test]
fn a_lock_that_is_not_reentrant_keeps_its_owner_out() {
    let server = Server::start();
    server.run("LTMC.LOCK k a").int();
    assert!(server.run("LTMC.LOCK k a NOREENTRANT").is_nil());
    assert_eq!(holder(&server, "k").get("levels").int(), 1);
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    let first = server.run("LTMC.LOCK k a SHARED LIMIT 2 NOREENTRANT").int();
    let second = server.run("LTMC.LOCK k a SHARED LIMIT 2 NOREENTRANT").int();
    assert!(second > first, "each permit is a grant of its own");
    assert!(server.run("LTMC.LOCK k a SHARED LIMIT 2 NOREENTRANT").is_nil());
}

#[test]
fn unlocking_by_token_is_about_that_grant_only() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a").int();
    assert_eq!(server.run(&format!("LTMC.UNLOCK k b TOKEN {fence}")).error_code(), "NOTOWNER");
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a TOKEN {}", fence - 2)).error_code(), "STALE");
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a TOKEN {fence}")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a TOKEN {fence}")).int(), 0);
}

#[test]
fn options_come_in_any_order() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a SHARED PX 600000").int();
    assert_eq!(server.run(&format!("LTMC.LOCK.RENEW k a PX 60000 TOKEN {fence}")).int(), 1);
    assert!(server.run("PTTL k").int() <= 60_000);
    let writer = server.run(&format!("ltmc.lock.convert k a block 5 exclusive token {fence}")).int();
    assert_eq!(server.run(&format!("LTMC.UNLOCK k a ALL TOKEN {writer}")).int(), 1);
}

#[test]
fn zero_is_older_than_every_fence() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    assert_eq!(server.run("LTMC.LOCK.CHECK k 0").int(), 0);
    for line in [
        "LTMC.UNLOCK k a TOKEN 0",
        "LTMC.LOCK.RENEW k a TOKEN 0 PX 1000",
        "LTMC.LOCK.CONVERT k a TOKEN 0 SHARED",
        "LTMC.GUARD k 0 PING",
    ] {
        assert_eq!(server.run(line).error_code(), "STALE", "{line}");
    }
    assert_eq!(server.run("LTMC.UNLOCK free a TOKEN 0").int(), 0, "nobody holds it");
    server.run("LTMC.REGISTER r ada").int();
    assert_eq!(server.run("LTMC.AGENT.RELEASE r 0").int(), 0);
    assert_eq!(server.run("LTMC.HEARTBEAT r ada EPOCH 0").error_code(), "STALE");
    assert_eq!(server.run("LTMC.DEREGISTER r ada EPOCH 0").error_code(), "STALE");
    server.run("LTMC.TASK.ADD f t p").text();
    assert_eq!(server.run("LTMC.TASK.HEARTBEAT f t 0").error_code(), "STALE");
}

#[test]
fn the_end_of_the_lease_is_the_end_of_the_key() {
    let server = Server::start();
    server.run("LTMC.LOCK k a EX 600").int();
    let left = server.run("PTTL k").int();
    assert!((300_000..=600_000).contains(&left), "{left}");
    assert_eq!(server.run("PEXPIRETIME k").int(), holder(&server, "k").get("ends_at_ms").int());
    server.run("LTMC.LOCK shared a SHARED PX 600000").int();
    server.run("LTMC.LOCK shared b SHARED PX 60000").int();
    assert!(server.run("PTTL shared").int() > 300_000, "the last lease counts");
    server.run("CONFIG SET ltmc.lock-lease-ms 0").ok();
    server.run("LTMC.LOCK endless a").int();
    assert_eq!(server.run("PTTL endless").int(), -1);
    assert!(holder(&server, "endless").get("ends_at_ms").is_nil());
}

#[test]
fn an_expired_lock_goes_to_the_first_waiter() {
    let server = Server::start();
    let old = server.run("LTMC.LOCK k a PX 60000").int();
    let mut waiting = server.clients(2);
    server.block_in_turn(&mut waiting, |n| format!("LTMC.LOCK k waiter{n} PX 600000 BLOCK 0"));
    server.run("LTMC.DEBUG CLOCK 61000").ok();
    assert!(waiting[0].recv().int() > old);
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {old}")).int(), 0);
    assert_eq!(owners(&server, "k", "holders"), ["waiter0"]);
    assert_eq!(server.run("LTMC.UNLOCK k waiter0").int(), 1);
    assert!(waiting[1].recv().int() > old);
}

#[test]
fn an_expired_lock_is_free_though_nobody_waited() {
    let server = Server::start();
    let old = server.run("LTMC.LOCK k a PX 1").int();
    wait_not_current(&server, "k", old);
    assert!(server.run("LTMC.LOCK k b").int() > old);
    assert_eq!(server.run(&format!("LTMC.LOCK.RENEW k a TOKEN {old} PX 1000")).error_code(), "STALE");
}

#[test]
fn renewal_sets_the_lease_and_never_adds() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    let renew = |owner: &str, ttl: &str| server.run(&format!("LTMC.LOCK.RENEW k {owner} TOKEN {fence} {ttl}"));
    assert_eq!(renew("a", "PX 60000").int(), 1);
    assert!(server.run("PTTL k").int() <= 60_000);
    assert_eq!(renew("a", "EX 600").int(), 1);
    let left = server.run("PTTL k").int();
    assert!((300_000..=600_000).contains(&left), "{left}");
    assert_eq!(renew("b", "PX 1000").error_code(), "NOTOWNER");
    let stale = server.run(&format!("LTMC.LOCK.RENEW k a TOKEN {} PX 1000", fence - 2));
    assert_eq!(stale.error_code(), "STALE");
    assert!(stale.error().contains(&fence.to_string()), "{stale:?}");
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    assert_eq!(renew("a", "PX 1000").error_code(), "STALE");
}

#[test]
fn fences_grow_over_release_deletion_restart_and_a_clock_that_steps_back() {
    let mut server = Server::start();
    let mut last = 0;
    let mut take = |server: &Server, key: &str, after: &str| {
        let fence = server.run(&format!("LTMC.LOCK {key} a PX 600000")).int();
        assert!(fence > last && fence < 1 << 53, "after {after}: {fence}, before {last}");
        last = fence;
    };
    take(&server, "k", "the start");
    server.run("LTMC.UNLOCK k a").int();
    take(&server, "k", "a release");
    server.run("DEL k").int();
    take(&server, "k", "a deletion");
    server.run("FLUSHALL").ok();
    take(&server, "k", "a flush");
    server.run("LTMC.DEBUG CLOCK -60000").ok();
    take(&server, "other", "a clock that stepped back");
    server.run("LTMC.DEBUG CLOCK 0").ok();
    server.restart();
    server.run("LTMC.DEBUG CLOCK -60000").ok();
    take(&server, "third", "a restart and a clock that stepped back");
}

#[test]
fn conversion_gives_a_new_fence_and_ends_the_old_one() {
    let server = Server::start();
    let exclusive = server.run("LTMC.LOCK k a PX 600000").int();
    let shared = server.run(&format!("LTMC.LOCK.CONVERT k a TOKEN {exclusive} SHARED")).int();
    assert!(shared > exclusive);
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {exclusive}")).int(), 0);
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {shared}")).int(), 1);
    assert!(server.run("PTTL k").int() > 300_000, "the lease stays");
    let other = server.run("LTMC.LOCK k b SHARED").int();
    let upward = format!("LTMC.LOCK.CONVERT k a TOKEN {shared} EXCLUSIVE");
    assert!(server.run(&upward).is_nil(), "b shares it");
    let mut waiting = server.client();
    waiting.send_line(&format!("{upward} BLOCK 0"));
    server.wait_blocked(1);
    assert!(server.run("LTMC.LOCK k c SHARED").is_nil(), "a waiting writer keeps readers out");
    server.run(&format!("LTMC.UNLOCK k b TOKEN {other}")).int();
    let fence = waiting.recv().int();
    assert!(fence > shared);
    assert_eq!(holder(&server, "k").get("mode").text(), "exclusive");
    assert_eq!(server.run(&upward).error_code(), "STALE");
    let foreign = server.run(&format!("LTMC.LOCK.CONVERT k b TOKEN {fence} SHARED"));
    assert_eq!(foreign.error_code(), "NOTOWNER");
}

#[test]
fn a_downgrade_lets_waiting_readers_in() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    let mut readers = server.clients(3);
    server.block_in_turn(&mut readers, |n| format!("LTMC.LOCK k reader{n} SHARED BLOCK 0"));
    let shared = server.run(&format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED")).int();
    for reader in &mut readers {
        assert!(reader.recv().int() > shared);
    }
    assert_eq!(owners(&server, "k", "holders").len(), 4);
}

#[test]
fn check_says_whether_a_fence_is_current() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.LOCK.CHECK nothing 1").int(), 0);
    let shared = ["a", "b"].map(|owner| server.run(&format!("LTMC.LOCK k {owner} SHARED")).int());
    for fence in shared {
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {}", fence + 1)).int(), 0);
    }
}

#[test]
fn info_shows_holders_and_waiters_in_both_protocols() {
    let server = Server::start();
    assert!(server.run("LTMC.LOCK.INFO k").is_nil());
    let fence = server.run("LTMC.LOCK k a PX 600000 META why").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b SHARED PATH src PRIORITY 7 BLOCK 0");
    server.wait_blocked(1);
    let mut resp3 = server.client();
    resp3.resp3();
    let map = resp3.run("LTMC.LOCK.INFO k");
    let flat = server.run("LTMC.LOCK.INFO k");
    assert!(matches!(map, Reply::Map(_)), "{map:?}");
    assert!(matches!(flat, Reply::Array(_)), "{flat:?}");
    for info in [map, flat] {
        assert_eq!(info.get("mode").text(), "exclusive");
        assert_eq!(info.get("version").int(), 1);
        let held = &info.get("holders").array()[0];
        assert_eq!(held.get("owner").text(), "a");
        assert_eq!(held.get("fence").int(), fence);
        assert_eq!(held.get("levels").int(), 1);
        assert_eq!(held.get("limit").int(), 0);
        assert_eq!(held.get("path").text(), "");
        assert_eq!(held.get("meta").text(), "why");
        assert_eq!(held.get("on_disconnect").text(), "keep");
        assert!(held.get("client").is_nil());
        assert!(held.get("lease_ms").int() <= 600_000);
        let ends_at = held.get("since_at_ms").int() + 600_000;
        assert_eq!(held.get("ends_at_ms").int(), ends_at);
        let waits = &info.get("waiters").array()[0];
        assert_eq!(waits.get("owner").text(), "b");
        assert_eq!(waits.get("mode").text(), "shared");
        assert_eq!(waits.get("path").text(), "src");
        assert_eq!(waits.get("priority").int(), 7);
        assert_eq!(waits.get("keys").int(), 1);
        assert_eq!(waits.get("client").int(), waiting.id());
        assert!(waits.get("converts").is_nil());
        assert!(waits.get("waited_ms").int() >= 0);
    }
}

#[test]
fn the_version_tells_whether_somebody_could_have_written() {
    let server = Server::start();
    server.run("LTMC.LOCK k reader SHARED").int();
    let version = || server.run("LTMC.LOCK.INFO k").get("version").int();
    assert_eq!(version(), 0);
    server.run("LTMC.LOCK k other SHARED").int();
    server.run("LTMC.UNLOCK k other").int();
    assert_eq!(version(), 0, "readers do not write");
    server.run("LTMC.LOCK k reader EXCLUSIVE").int();
    assert!(version() > 0);
}

#[test]
fn breaking_takes_a_lock_away_and_says_so_in_the_log() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.LOCK.BREAK k").int(), 0);
    let a = server.run("LTMC.LOCK k a SHARED PX 600000").int();
    server.run("LTMC.LOCK k b SHARED PX 600000").int();
    let mut writer = server.client();
    writer.send_line("LTMC.LOCK k c BLOCK 0");
    server.wait_blocked(1);
    assert_eq!(server.run("LTMC.LOCK.BREAK k nobody").int(), 0);
    assert_eq!(server.run("LTMC.LOCK.BREAK k a").int(), 1);
    server.wait_log(") broke the lock 'k': 1 holders removed");
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {a}")).int(), 0);
    assert_eq!(owners(&server, "k", "holders"), ["b"]);
    assert_eq!(server.run("LTMC.LOCK.BREAK k").int(), 1);
    assert!(writer.recv().int() > a, "whoever waits has it at once");
}

#[test]
fn meta_is_any_text_and_stays_with_the_grant() {
    let server = Server::start();
    let text = b"\0 any \r\n \xff".as_slice();
    server.cmd(&[b"LTMC.LOCK".as_slice(), b"k", b"a", b"META", text]).int();
    assert_eq!(holder(&server, "k").get("meta").bytes(), text);
    server.debug_reload();
    assert_eq!(holder(&server, "k").get("meta").bytes(), text);
}

#[test]
fn a_request_for_several_locks_ends_no_more_expired_leases_at_once_than_one_lock_may_have() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.lock-holders-max 10").ok();
    for key in ["{k}1", "{k}2", "{k}3"] {
        (0..8).for_each(|n| drop(server.run(&format!("LTMC.LOCK {key} a{n} SHARED PX 60000"))));
    }
    server.run("LTMC.DEBUG CLOCK 60000").ok();
    let line = "LTMC.MLOCK b 3 {k}1 {k}2 {k}3 PX 60000";
    for _ in 0..2 {
        let refused = server.run(line);
        assert!(refused.error().contains("ltmc.lock-holders-max") && refused.error_code() == "LIMIT", "{refused:?}");
    }
    assert_eq!(server.run(line).array().len(), 3, "each try has ended some");
}
