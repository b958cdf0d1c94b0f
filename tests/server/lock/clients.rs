//! Locks and the clients behind them: several locks at once, retries, connections that end,
//! priorities, the wait-for graph.

use super::*;

#[test]
fn several_locks_are_taken_together_in_the_order_of_the_keys() {
    let server = Server::start();
    let fences = server.run("LTMC.MLOCK a 3 z x y PX 600000").ints();
    assert_eq!(fences.len(), 3);
    for (key, fence) in ["z", "x", "y"].iter().zip(&fences) {
        assert_eq!(server.run(&format!("LTMC.LOCK.CHECK {key} {fence}")).int(), 1);
    }
    let again = server.run("LTMC.MLOCK a 2 x y").ints();
    assert_eq!(again, fences[1..], "what the owner holds is one level more");
}

#[test]
fn several_locks_are_all_or_nothing() {
    let server = Server::start();
    server.run("LTMC.LOCK y b PX 600000").int();
    let before = server.debug_digest();
    assert!(server.run("LTMC.MLOCK a 3 x y z").is_nil());
    assert_eq!(server.debug_digest(), before);
    assert_eq!(server.run("EXISTS x z").int(), 0);
    assert!(server.run("LTMC.MLOCK a 2 x x").error().contains("'x' is given twice"));
    assert_eq!(server.debug_digest(), before);
}

#[test]
fn who_waits_for_several_locks_holds_none_of_them() {
    let server = Server::start();
    server.run("LTMC.LOCK y b PX 600000").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.MLOCK a 3 x y z BLOCK 0");
    server.wait_blocked(1);
    assert_eq!(server.run("EXISTS x z").int(), 0);
    assert_eq!(owners(&server, "y", "waiters"), ["a"]);
    let info = server.run("LTMC.LOCK.INFO y");
    assert_eq!(info.get("waiters").array()[0].get("keys").int(), 3);
    assert!(server.run("LTMC.LOCK x c").is_nil(), "who comes later does not overtake it on a key that is free");
    assert_eq!(server.run("LTMC.UNLOCK y b").int(), 1);
    assert_eq!(waiting.recv().ints().len(), 3);
    assert_eq!(server.run("EXISTS x y z").int(), 3);
}

#[test]
fn readers_of_several_locks_share_them() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.MLOCK a 2 x y SHARED").array().len(), 2);
    assert_eq!(server.run("LTMC.MLOCK b 2 y z SHARED").array().len(), 2);
    assert!(server.run("LTMC.MLOCK c 2 x z EXCLUSIVE").is_nil());
}

#[test]
fn the_graph_shows_who_waits_for_whom() {
    let server = Server::start();
    assert_eq!(server.run("LTMC.LOCK.GRAPH").array().len(), 0);
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiting = server.clients(2);
    server.block_in_turn(&mut waiting, |n| format!("LTMC.LOCK k waiter{n} BLOCK 0"));
    let graph = server.run("LTMC.LOCK.GRAPH");
    let edges: Vec<String> = graph
        .array()
        .iter()
        .map(|edge| {
            let word = |field: &str| edge.get(field).text().to_string();
            assert_eq!((word("key").as_str(), edge.get("db").int()), ("k", 0));
            format!("{} -> {} ({})", word("waiter"), word("waits_for"), word("kind"))
        })
        .collect();
    for edge in ["waiter0 -> a (holder)", "waiter1 -> a (holder)", "waiter1 -> waiter0 (queue)"] {
        assert!(edges.iter().any(|found| found == edge), "{edge} in {edges:?}");
    }
    assert_eq!(edges.len(), 3, "{edges:?}");
}

#[test]
fn a_retry_gets_the_same_fence_and_no_further_level() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a REQID r1 PX 600000").int();
    assert_eq!(server.run("LTMC.LOCK k a REQID r1 PX 600000").int(), fence);
    assert_eq!(holder(&server, "k").get("levels").int(), 1);
    assert_eq!(server.run("LTMC.LOCK k a REQID r2").int(), fence);
    assert_eq!(holder(&server, "k").get("levels").int(), 2);
    server.debug_reload();
    assert_eq!(server.run("LTMC.LOCK k a PX 600000 REQID r1").int(), fence);
    assert_eq!(holder(&server, "k").get("levels").int(), 2);
}

#[test]
fn the_last_64_requests_are_remembered() {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a REQID r0 PX 600000").int();
    let levels = || holder(&server, "k").get("levels").int();
    for number in 1..64 {
        server.run(&format!("LTMC.LOCK k a REQID r{number}")).int();
    }
    assert_eq!(server.run("LTMC.LOCK k a REQID r0 PX 600000").int(), fence);
    assert_eq!(levels(), 64);
    server.run("LTMC.LOCK k a REQID r64").int();
    server.run("LTMC.LOCK k a REQID r0 PX 600000").int();
    assert_eq!(levels(), 66, "r0 was forgotten for r64");
}

#[test]
fn a_retry_beside_a_waiting_request_is_served_with_it_once() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiting = server.clients(2);
    server.block_in_turn(&mut waiting, |_| "LTMC.LOCK k b REQID r BLOCK 0".into());
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
    let fences: Vec<i64> = waiting.iter_mut().map(|client| client.recv().int()).collect();
    assert_eq!(fences[0], fences[1]);
    assert_eq!(holder(&server, "k").get("levels").int(), 1);
}

#[test]
fn a_retry_begins_anew_if_what_it_was_granted_was_taken_back() {
    let server = Server::start();
    let mut client = server.client();
    let mut waiter = server.client();
    let id = waiter.id();
    client.run("LTMC.LOCK k keeper PATH docs").int();
    client.run("LTMC.LOCK k holder PATH src").int();
    waiter.send_line("LTMC.LOCK k a PATH src REQID r BLOCK 0");
    server.wait_blocked(1);
    client.pipeline(&["LTMC.UNLOCK k holder PATH src", &format!("CLIENT KILL ID {id}")]);
    wait_until("the grant is taken back", || server.info_int("ltmc", "ltmc_lock_taken_back") == 1);
    let fence = client.run("LTMC.LOCK k a PATH src REQID r").int();
    assert_eq!(client.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1, "no answer from the past");
}

#[test]
fn the_end_of_a_connection_releases_what_was_tied_to_it() {
    let server = Server::start();
    let mut closing = server.client();
    closing.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
    closing.run("LTMC.LOCK kept a ONDISCONNECT KEEP PX 600000").int();
    closing.run("LTMC.LOCK plain a PX 600000").int();
    assert_eq!(holder(&server, "k").get("on_disconnect").text(), "release");
    assert_eq!(holder(&server, "k").get("client").int(), closing.id());
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    server.wait_blocked(1);
    closing.close();
    assert!(waiting.recv().int() > 0);
    assert_eq!(owners(&server, "k", "holders"), ["b"]);
    assert_eq!(server.run("EXISTS kept plain").int(), 2);
}

#[test]
fn a_killed_connection_releases_too_and_nobody_has_to_wait_for_it() {
    let server = Server::start();
    let mut killed = server.client();
    killed.run("LTMC.LOCK one a ONDISCONNECT RELEASE PX 600000").int();
    killed.run("LTMC.LOCK two a ONDISCONNECT RELEASE PX 600000 PATH src").int();
    server.run(&format!("CLIENT KILL ID {}", killed.id()));
    wait_until("both locks are released", || server.run("EXISTS one two").int() == 0);
}

#[test]
fn a_lock_that_its_owner_released_is_not_touched_when_the_connection_ends() {
    let server = Server::start();
    let mut closing = server.client();
    closing.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
    closing.run("LTMC.UNLOCK k a").int();
    server.run("LTMC.LOCK k b PX 600000").int();
    closing.run("LTMC.LOCK other a ONDISCONNECT RELEASE PX 600000").int();
    closing.close();
    wait_until("the other lock is released", || server.run("EXISTS other").int() == 0);
    assert_eq!(owners(&server, "k", "holders"), ["b"]);
}

#[test]
fn a_lock_taken_anew_over_the_same_connection_is_still_tied_to_it() {
    let server = Server::start();
    let mut closing = server.client();
    closing.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 30").int();
    wait_until("its lease is over", || closing.run("PTTL k").int() < 0);
    closing.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
    closing.run("LTMC.LOCK moved a ONDISCONNECT RELEASE PX 600000").int();
    closing.run("RENAME moved renamed").ok();
    closing.close();
    wait_until("both are released", || server.run("EXISTS k renamed").int() == 0);
}

#[test]
fn what_an_owner_gets_elsewhere_ends_its_other_waits() {
    let server = Server::start();
    let mut clients = server.clients(3);
    server.run("LTMC.LOCK k holder").int();
    let waits = ["LTMC.LOCK k a BLOCK 0", "LTMC.LOCK k b BLOCK 0", "LTMC.LOCK k a BLOCK 0"];
    server.block_in_turn(&mut clients, |at| waits[at].to_string());
    server.run("LTMC.UNLOCK k holder").int();
    let first = clients[0].recv().int();
    assert_eq!(clients[2].recv().int(), first, "the same owner, one level more, past the one between");
    assert_eq!(server.run("LTMC.LOCK.INFO k").get("holders").array()[0].get("levels").int(), 2);
    server.run("LTMC.UNLOCK k a ALL").int();
    assert!(clients[1].recv().int() > first);
}

#[test]
fn after_a_restart_the_locks_of_lost_connections_are_released() {
    let spec = Server::builder().durable();
    let mut server = spec.start();
    for crash in [false, true] {
        server.run("FLUSHALL").ok();
        let mut lost = server.client();
        lost.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
        server.run("LTMC.LOCK kept a PX 600000").int();
        if crash {
            server.crash_and_restart();
        } else {
            server.restart();
        }
        wait_until("the stranger's lock is released", || server.run("EXISTS k").int() == 0);
        assert_eq!(server.run("EXISTS kept").int(), 1);
    }
}

#[test]
fn the_highest_priority_is_served_first_then_first_come() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    // The waits begin close to each other: one unit of priority is far more than the time between
    // them.
    server.run("CONFIG SET ltmc.lock-ageing-ms 3600000").ok();
    let mut waiting = server.clients(4);
    let priorities = [0, 5, 9, 5];
    server.block_in_turn(&mut waiting, |n| format!("LTMC.LOCK k w{n} PRIORITY {} PX 600000 BLOCK 0", priorities[n]));
    assert_eq!(owners(&server, "k", "waiters"), ["w2", "w1", "w3", "w0"]);
    let mut last = "a".to_string();
    for next in [2, 1, 3, 0] {
        assert_eq!(server.run(&format!("LTMC.UNLOCK k {last}")).int(), 1);
        assert!(waiting[next].recv().int() > 0);
        last = format!("w{next}");
        assert_eq!(owners(&server, "k", "holders"), [last.clone()]);
    }
}

#[test]
fn a_long_wait_overtakes_a_higher_priority() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 6000000").int();
    let mut waiting = server.clients(3);
    waiting[0].send_line("LTMC.LOCK k early PX 6000000 BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.DEBUG CLOCK 10000").ok();
    waiting[1].send_line("LTMC.LOCK k late PRIORITY 5 PX 6000000 BLOCK 0");
    server.wait_blocked(2);
    waiting[2].send_line("LTMC.LOCK k urgent PRIORITY 100 PX 6000000 BLOCK 0");
    server.wait_blocked(3);
    assert_eq!(owners(&server, "k", "waiters"), ["urgent", "early", "late"], "ten seconds are worth ten units");
}

#[test]
fn a_deadlock_is_refused_with_its_cycle() {
    let server = Server::start();
    server.run("LTMC.LOCK x a PX 600000").int();
    server.run("LTMC.LOCK y b PX 600000").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK y a BLOCK 0");
    server.wait_blocked(1);
    let refused = server.run("LTMC.LOCK x b BLOCK 0");
    assert_eq!(refused.error_code(), "DEADLOCK");
    assert!(refused.error().contains('a') && refused.error().contains('b'), "{refused:?}");
    assert!(server.run("LTMC.LOCK x b").is_nil(), "who does not wait cannot deadlock");
    assert_eq!(server.run("LTMC.UNLOCK y b").int(), 1);
    assert!(waiting.recv().int() > 0);
}
