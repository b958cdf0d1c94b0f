//! Waiting for locks: who is served when, and what can be seen of waiting clients.

use super::*;

mod crowd;
mod ends;
mod line;
mod several;

#[test]
fn the_end_of_a_lease_hands_the_lock_on() {
    let queue = Queue::start();
    set_clock(&queue.server, 600_001);
    queue.b_then_c();
}

#[test]
fn a_renewal_to_a_short_lease_hands_the_lock_on_in_time() {
    let mut queue = Queue::start();
    let renew = format!("LTMC.LOCK.RENEW k a TOKEN {} PX 20", queue.fence);
    assert_eq!(queue.holder.run(&renew).int(), 1);
    queue.b_then_c();
}

#[test]
fn breaking_a_lock_hands_it_on() {
    let mut queue = Queue::start();
    assert_eq!(queue.holder.run("LTMC.LOCK.BREAK k").int(), 1);
    queue.b_then_c();
}

#[test]
fn the_end_of_the_holders_connection_hands_the_lock_on() {
    let mut queue = Queue::on(Server::start(), "LTMC.LOCK k a PX 600000 ONDISCONNECT RELEASE");
    queue.holder = queue.server.client();
    queue.b_then_c();
}

#[test]
fn only_the_last_level_hands_the_lock_on() {
    let mut queue = Queue::start();
    let fence = queue.fence;
    assert_eq!(queue.holder.run("LTMC.LOCK k a").int(), fence, "the owner does not wait for itself");
    assert_eq!(queue.holder.run("LTMC.UNLOCK k a").int(), 1);
    assert_eq!(owners(&queue.server, "k", "holders"), ["a"]);
    assert_eq!(queue.holder.run("LTMC.UNLOCK k a").int(), 1);
    queue.b_then_c();
}

#[test]
fn a_downgrade_lets_waiting_readers_in() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiters = server.clients(3);
    let modes = ["SHARED", "SHARED", "EXCLUSIVE"];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k r{n} {} BLOCK 0", modes[n]));
    let converted = server.run(&format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED")).int();
    let first = waiters[0].recv().int();
    let second = waiters[1].recv().int();
    assert!(fence < converted && converted < first && first < second);
    assert_eq!(waiting(&server), 1, "the writer goes on waiting");
    assert_eq!(owners(&server, "k", "holders"), ["a", "r0", "r1"]);
}

#[test]
fn waiting_readers_are_served_together() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut readers = server.clients(3);
    server.block_in_turn(&mut readers, |n| format!("LTMC.LOCK k r{n} SHARED BLOCK 0"));
    assert_eq!(unlock(&server, "k", "a"), 1);
    assert_eq!(owners(&server, "k", "holders"), ["r0", "r1", "r2"]);
    let fences: Vec<i64> = readers.iter_mut().map(|reader| reader.recv().int()).collect();
    assert!(fences.is_sorted(), "{fences:?}");
    assert_idle(&server);
}

#[test]
fn a_free_permit_of_a_semaphore_goes_to_one_waiter() {
    let server = Server::start();
    for owner in ["a", "b"] {
        assert!(server.run(&format!("LTMC.LOCK k {owner} SHARED LIMIT 2 PX 600000")).int() > 0);
    }
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k w{n} SHARED LIMIT 2 BLOCK 0"));
    assert_eq!(unlock(&server, "k", "b"), 1);
    waiters[0].recv().int();
    assert_eq!(owners(&server, "k", "holders"), ["a", "w0"]);
    assert_eq!(owners(&server, "k", "waiters"), ["w1"]);
}

#[test]
fn a_waiting_writer_keeps_later_readers_out() {
    let server = Server::start();
    server.run("LTMC.LOCK k r1 SHARED PX 600000");
    let mut waiters = server.clients(2);
    let wants = ["w EXCLUSIVE", "r2 SHARED"];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k {} BLOCK 0", wants[n]));
    assert!(server.run("LTMC.LOCK k r3 SHARED").is_nil());
    assert_eq!(unlock(&server, "k", "r1"), 1);
    waiters[0].recv().int();
    assert_eq!(owners(&server, "k", "waiters"), ["r2"]);
    assert_eq!(unlock(&server, "k", "w"), 1);
    waiters[1].recv().int();
}

/// `r1` shares the lock, `w` waits to write, `r2` waits behind it to read. `give_up` ends the wait
/// of the writer.
fn a_reader_is_served_when_the_writer_gives_up(give_up: impl FnOnce(&Server, Client)) {
    let server = Server::start();
    server.run("LTMC.LOCK k r1 SHARED PX 6000000");
    let mut waiters = server.clients(2);
    let wants = ["w EXCLUSIVE BLOCK 600000", "r2 SHARED PX 6000000 BLOCK 0"];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k {}", wants[n]));
    let mut reader = waiters.pop().expect("there are two");
    let writer = waiters.pop().expect("there are two");
    give_up(&server, writer);
    reader.recv().int();
    assert_idle(&server);
    assert_eq!(owners(&server, "k", "holders"), ["r1", "r2"]);
}

#[test]
fn a_reader_does_not_wait_for_a_writer_that_timed_out() {
    a_reader_is_served_when_the_writer_gives_up(|server, mut writer| {
        set_clock(server, 600_001);
        assert!(writer.recv().is_nil());
    });
}

#[test]
fn a_reader_does_not_wait_for_a_writer_that_was_killed() {
    a_reader_is_served_when_the_writer_gives_up(|server, mut writer| {
        server.run(&format!("CLIENT KILL ID {}", writer.id()));
        writer.wait_closed();
    });
}

#[test]
fn a_reader_does_not_wait_for_a_writer_that_was_unblocked() {
    a_reader_is_served_when_the_writer_gives_up(|server, mut writer| {
        if can_unblock(server) {
            assert_eq!(server.run(&format!("CLIENT UNBLOCK {}", writer.id())).int(), 1);
            assert!(writer.recv().is_nil());
        }
    });
}

#[test]
fn a_reader_does_not_wait_for_a_writer_that_hung_up() {
    a_reader_is_served_when_the_writer_gives_up(|_, writer| writer.close());
}

#[test]
fn a_higher_priority_is_served_first() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut waiters = server.clients(4);
    let priorities = [0, 50, 100, 50];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k w{n} PRIORITY {} BLOCK 0", priorities[n]));
    assert_eq!(owners(&server, "k", "waiters"), ["w2", "w1", "w3", "w0"]);
    let mut holder = "a".to_string();
    for next in [2, 1, 3, 0] {
        assert_eq!(unlock(&server, "k", &holder), 1);
        waiters[next].recv().int();
        holder = format!("w{next}");
    }
}

#[test]
fn a_long_wait_overtakes_a_priority_that_came_later() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.lock-ageing-ms 1000").ok();
    server.run("LTMC.LOCK k a PX 6000000");
    let mut waiters = server.clients(3);
    server.block_in_turn(&mut waiters[..1], |_| "LTMC.LOCK k old BLOCK 0".into());
    set_clock(&server, 100_000);
    // A priority of 50 is worth 50 s, one of 200 is worth more than the 100 s that `old` has
    // waited.
    server.block_in_turn(&mut waiters[1..2], |_| "LTMC.LOCK k late PRIORITY 50 BLOCK 0".into());
    server.block_in_turn(&mut waiters[2..], |_| "LTMC.LOCK k urgent PRIORITY 200 BLOCK 0".into());
    assert_eq!(owners(&server, "k", "waiters"), ["urgent", "old", "late"]);
    assert_eq!(unlock(&server, "k", "a"), 1);
    waiters[2].recv().int();
}

#[test]
fn block_0_waits_for_ever() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.lock-lease-ms 0").ok();
    let fence = server.run("LTMC.LOCK k a").int();
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.LOCK k b BLOCK 0".into());
    set_clock(&server, 365 * 24 * 3_600_000);
    let sweeps = server.info_int("ltmc", "ltmc_sweeps");
    wait_until("the scheduler has looked", || server.info_int("ltmc", "ltmc_sweeps") > sweeps);
    assert_eq!(waiting(&server), 1);
    assert_eq!(waiter.recv_within(1), None);
    assert_eq!(unlock(&server, "k", "a"), 1);
    assert!(waiter.recv().int() > fence);
}

#[test]
fn a_transaction_a_script_and_a_guard_try_once() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK {t}:g z PX 600000").int();
    server.run("LTMC.LOCK {t}:k a PX 600000");
    let shared = server.run("LTMC.LOCK {t}:s a SHARED PX 600000").int();
    server.run("LTMC.LOCK {t}:s b SHARED PX 600000");
    let mut client = server.client();
    let tries = [
        "LTMC.LOCK {t}:k b BLOCK 0".to_string(),
        "LTMC.MLOCK b 2 {t}:j {t}:k BLOCK 0".to_string(),
        format!("LTMC.LOCK.CONVERT {{t}}:s a TOKEN {shared} EXCLUSIVE BLOCK 0"),
    ];
    for line in &tries {
        let replies = client.pipeline(&["MULTI", line, "SET after 1", "EXEC"]);
        assert!(replies[3].array()[0].is_nil(), "{line}: {replies:?}");
        replies[3].array()[1].ok();
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let script = format!("return redis.call({})", words.join(","));
        assert!(client.cmd(&["EVAL", &script, "0"]).is_nil(), "{line}");
        let guarded = format!("LTMC.GUARD {{t}}:g {fence} {line}");
        assert!(client.run(&guarded).is_nil(), "{line}");
    }
    assert_eq!(waiting(&server), 0);
    let replies = client.pipeline(&["MULTI", "LTMC.LOCK {t}:free b BLOCK 0", "EXEC"]);
    assert!(replies[2].array()[0].int() > 0, "what is free is had all the same");
}

#[test]
fn a_waiter_can_be_seen() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| {
        "LTMC.LOCK k b SHARED PATH src/db PRIORITY 7 BLOCK 0".into()
    });
    let info = server.run("LTMC.LOCK.INFO k");
    let shown = &info.get("waiters").array()[0];
    assert_eq!(shown.get("owner").text(), "b");
    assert_eq!(shown.get("mode").text(), "shared");
    assert_eq!(shown.get("path").text(), "src/db");
    assert_eq!(shown.get("priority").int(), 7);
    assert_eq!(shown.get("client").int(), waiter.id());
    assert_eq!(shown.get("keys").int(), 1);
    assert!(shown.get("converts").is_nil());
    assert!(shown.get("since_at_ms").int() > 0 && shown.get("waited_ms").int() >= 0);

    let list = server.run(&format!("CLIENT LIST ID {}", waiter.id()));
    assert!(list.text().contains(" flags=b "), "{list:?}");
    let lower = list.text().to_ascii_lowercase();
    assert!(lower.contains(" cmd=ltmc.lock "), "{list:?}");

    assert_eq!(waiting(&server), 1);
    assert_eq!(server.info_int("ltmc", "ltmc_lock_waits"), 1);
    assert_eq!(unlock(&server, "k", "a"), 1);
    waiter.recv().int();
    assert_idle(&server);
    assert_eq!(server.info_int("ltmc", "ltmc_lock_waits_served"), 1);
    let list = server.run(&format!("CLIENT LIST ID {}", waiter.id()));
    assert!(list.text().contains(" flags=N "), "{list:?}");
}

#[test]
fn disjoint_paths_do_not_hold_each_other_up() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PATH src PX 600000");
    server.run("LTMC.LOCK k b PATH docs PX 600000");
    let mut waiters = server.clients(3);
    let paths = ["src/db", "docs/a", "docs/b"];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k w{n} PATH {} BLOCK 0", paths[n]));
    assert!(server.run("LTMC.LOCK k c PATH tests").int() > 0);
    assert_eq!(server.run("LTMC.UNLOCK k b PATH docs").int(), 1);
    waiters[1].recv().int();
    waiters[2].recv().int();
    assert_eq!(owners(&server, "k", "waiters"), ["w0"]);
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    waiters[0].recv().int();
    assert_idle(&server);
}

#[test]
fn a_wait_for_the_whole_keeps_later_parts_out() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PATH src PX 600000");
    let mut waiters = server.clients(2);
    let wants = ["whole", "part PATH docs"];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.LOCK k {} BLOCK 0", wants[n]));
    assert_eq!(server.run("LTMC.UNLOCK k a PATH src").int(), 1);
    waiters[0].recv().int();
    assert_eq!(owners(&server, "k", "waiters"), ["part"]);
    assert_eq!(unlock(&server, "k", "whole"), 1);
    waiters[1].recv().int();
}

#[test]
fn a_wait_for_several_locks_holds_none_of_them_meanwhile() {
    let server = Server::start();
    server.run("LTMC.LOCK k1 a PX 600000");
    server.run("LTMC.LOCK k3 b PX 600000");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| "LTMC.MLOCK m 3 k3 k2 k1 BLOCK 0".into());
    let info = server.run("LTMC.LOCK.INFO k1");
    assert_eq!(info.get("waiters").array()[0].get("keys").int(), 3);
    assert_eq!(unlock(&server, "k1", "a"), 1);
    assert_eq!(waiting(&server), 1);
    assert_eq!(server.run("EXISTS k1 k2").int(), 0);
    assert_eq!(unlock(&server, "k3", "b"), 1);
    let fences = waiter.recv().ints();
    assert_eq!(fences.len(), 3);
    for (key, fence) in ["k3", "k2", "k1"].iter().zip(&fences) {
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int(), 1);
    }
    assert_idle(&server);
}

#[test]
fn an_upgrade_is_served_when_the_other_reader_leaves() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a SHARED PX 600000").int();
    server.run("LTMC.LOCK k b SHARED PX 600000");
    let mut waiters = server.clients(2);
    server.block_in_turn(&mut waiters[..1], |_| "LTMC.LOCK k c EXCLUSIVE BLOCK 0".into());
    server.block_in_turn(&mut waiters[1..], |_| format!("LTMC.LOCK.CONVERT k a TOKEN {fence} EXCLUSIVE BLOCK 0"));
    let info = server.run("LTMC.LOCK.INFO k");
    let first = &info.get("waiters").array()[0];
    assert_eq!(first.get("converts").int(), fence, "an upgrade stands before the others");
    assert_eq!(unlock(&server, "k", "b"), 1);
    let upgraded = waiters[1].recv().int();
    assert!(upgraded > fence);
    assert_eq!(server.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 0);
    assert_eq!(server.run("LTMC.LOCK.INFO k").get("mode").text(), "exclusive");
    assert_eq!(unlock(&server, "k", "a"), 1);
    assert!(waiters[0].recv().int() > upgraded);
}

#[test]
fn an_upgrade_whose_own_lease_ends_meanwhile_is_stale() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a SHARED PX 600000").int();
    server.run("LTMC.LOCK k b SHARED PX 600000");
    let mut waiter = server.client();
    server.block_in_turn(std::slice::from_mut(&mut waiter), |_| {
        format!("LTMC.LOCK.CONVERT k a TOKEN {fence} EXCLUSIVE BLOCK 0")
    });
    assert_eq!(server.run(&format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 1")).int(), 1);
    assert_eq!(waiter.recv().error_code(), "STALE");
    assert_idle(&server);
    assert_eq!(owners(&server, "k", "holders"), ["b"]);
}

#[test]
fn a_retried_request_is_answered_like_the_first() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000");
    let mut retries = server.clients(3);
    let line = |_| "LTMC.LOCK k b PX 600000 REQID r1 BLOCK 0".to_string();
    server.block_in_turn(&mut retries, line);
    assert_eq!(unlock(&server, "k", "a"), 1);
    let fences: Vec<i64> = retries.iter_mut().map(|twin| twin.recv().int()).collect();
    assert!(fences.iter().all(|fence| *fence == fences[0]), "{fences:?}");
    assert_eq!(server.run(&line(0)).int(), fences[0]);
    let info = server.run("LTMC.LOCK.INFO k");
    assert_eq!(info.get("holders").array()[0].get("levels").int(), 1);
    assert_idle(&server);
}
