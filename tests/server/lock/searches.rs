//! Searches for deadlocks that take more looks than a command may have: they go on while the client
//! waits.

use super::*;

/// So many locks, each of which so many share: together more than a search may look at in one go.
const LOCKS: usize = 110;
const CROWD: usize = 100;
const FAR: &str = "PX 90000000";

/// The locks that a crowd shares.
fn shared() -> String {
    (0..LOCKS).map(|n| format!(" c{n}")).collect()
}

/// A server with these locks, and one of the writer `w`. The last of the crowd waits for that one.
fn crowded() -> (Server, Client) {
    let server = Server::start();
    let mut builder = server.client();
    for key in shared().split_whitespace() {
        let lines: Vec<String> = (0..CROWD).map(|n| format!("LTMC.LOCK {key} h{n} SHARED {FAR}")).collect();
        assert!(builder.pipeline(&lines).iter().all(|reply| !reply.is_error()));
    }
    run(&server, &format!("LTMC.LOCK mine w {FAR}"));
    let mut last = server.client();
    let line = format!("LTMC.LOCK mine h{} {FAR} BLOCK 0", CROWD - 1);
    server.block_in_turn(std::slice::from_mut(&mut last), |_| line.clone());
    (server, last)
}

/// Looks at all of the crowd, and closes a cycle if the owner is `w`.
fn wish(owner: &str, block_ms: u64) -> String {
    format!("LTMC.MLOCK {owner} {LOCKS}{} {FAR} BLOCK {block_ms}", shared())
}

/// Somebody waits for these owners, so that a wait of theirs may close a cycle.
fn needed(server: &Server, owners: &[String]) -> Client {
    owners.iter().for_each(|owner| drop(run(server, &format!("LTMC.LOCK common {owner} SHARED {FAR}"))));
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| format!("LTMC.LOCK common needy {FAR} BLOCK 0"));
    client
}

fn deadlocks(server: &Server) -> i64 {
    server.info_int("ltmc", "ltmc_lock_deadlocks")
}

fn wait_idle_searches(server: &Server) {
    wait_until("no search goes on", || server.info_int("ltmc", "ltmc_lock_searches") == 0);
}

#[test]
fn a_client_waits_while_the_search_goes_on_and_is_refused_if_there_is_a_cycle() {
    let (server, mut last) = crowded();
    let mut writer = server.client();
    let error = writer.run(&wish("w", 0));
    assert_eq!(error.error_code(), "DEADLOCK", "{error:?}");
    let cycle = format!("w -> c0 -> h{} -> mine -> w", CROWD - 1);
    assert!(error.error().contains(&cycle), "{error:?}");
    assert_eq!((deadlocks(&server), waiting(&server)), (1, 1));
    run(&server, "LTMC.UNLOCK mine w");
    last.recv().int();
    assert_idle(&server);
}

#[test]
fn who_closes_no_cycle_goes_on_waiting_and_is_served() {
    let (server, mut last) = crowded();
    let mut needy = needed(&server, &["other".into()]);
    let mut other = server.client();
    server.block_in_turn(std::slice::from_mut(&mut other), |_| wish("other", 0));
    wait_idle_searches(&server);
    assert_eq!((deadlocks(&server), waiting(&server)), (0, 3));
    run(&server, "LTMC.UNLOCK mine w");
    last.recv().int();
    set_clock(&server, 90_000_001);
    assert_eq!(other.recv().ints().len(), LOCKS);
    needy.recv().int();
    assert_idle(&server);
}

#[test]
fn a_cycle_by_the_order_of_the_queue_only_is_resolved_while_the_client_waits() {
    let (server, mut last) = crowded();
    // `first` waits for both, and the holder of what it also waits for wants one of them.
    run(&server, &format!("LTMC.LOCK more w {FAR}"));
    let mut first = server.client();
    server.block_in_turn(std::slice::from_mut(&mut first), |_| {
        format!("LTMC.MLOCK first {} more{} {FAR} BLOCK 0", LOCKS + 1, shared())
    });
    wait_idle_searches(&server);
    // Behind `first` it would never be served; before it, it fits.
    let fence = server.client().run(&format!("LTMC.LOCK c7 w SHARED {FAR} BLOCK 0")).int();
    assert!(fence > 0);
    assert_eq!(deadlocks(&server), 0);
    run(&server, "LTMC.UNLOCK mine w");
    last.recv().int();
    run(&server, "LTMC.UNLOCK more w");
    set_clock(&server, 90_000_001);
    assert_eq!(first.recv().ints().len(), LOCKS + 1);
    assert_idle(&server);
}

#[test]
fn a_time_limit_ends_a_wait_whatever_searches_go_on() {
    let (server, _last) = crowded();
    let owners: Vec<String> = (0..30).map(|n| format!("w{n}")).collect();
    let _needy = needed(&server, &owners);
    let mut clients = server.clients(owners.len());
    clients.iter_mut().zip(&owners).for_each(|(client, owner)| client.send_line(&wish(owner, 0)));
    server.wait_blocked(32);
    assert!(server.client().run(&wish("w0", 5)).is_nil());
    assert!(server.info_int("ltmc", "ltmc_lock_searches") > 1, "they go on");
}

#[test]
fn where_nobody_can_wait_nothing_is_searched_for() {
    let (server, _last) = crowded();
    let before = server.dataset();
    let replies = server.client().pipeline(&["MULTI".to_string(), wish("w", 0), "EXEC".into()]);
    assert!(replies[2].array()[0].is_nil(), "{replies:?}");
    let keys: Vec<String> = shared().split_whitespace().map(String::from).collect();
    let code = "return redis.call('LTMC.MLOCK', 'w', #KEYS, unpack(KEYS))".to_string();
    let script = server.cmd(&[vec!["EVAL".into(), code, LOCKS.to_string()], keys].concat());
    assert!(script.is_nil(), "{script:?}");
    assert_eq!((server.info_int("ltmc", "ltmc_lock_searches"), waiting(&server)), (0, 1));
    assert_same("nothing has changed", &before, &server.dataset());
}

#[test]
fn a_client_that_goes_while_the_search_goes_on_leaves_nothing() {
    let (server, _last) = crowded();
    let mut clients = server.clients(4);
    let ids: Vec<i64> = clients.iter_mut().map(|client| client.id()).collect();
    let mut boss = server.client();
    // All in one step: the search has not ended when they go.
    for (client, owner) in clients.iter_mut().zip(["w", "other", "w", "third"]) {
        client.send_line(&wish(owner, if owner == "third" { 1 } else { 0 }));
    }
    wait_until("they wait or are refused", || waiting(&server) + deadlocks(&server) >= 5 || waiting(&server) == 1);
    boss.run(&format!("CLIENT KILL ID {}", ids[1]));
    boss.run(&format!("CLIENT UNBLOCK {}", ids[0]));
    wait_until("only the last of the crowd waits", || waiting(&server) == 1);
    wait_idle_searches(&server);
    let first = clients[0].recv();
    assert!(first.is_nil() || first.error_code() == "DEADLOCK", "{first:?}");
    assert_eq!(clients[2].recv().error_code(), "DEADLOCK");
    assert!(clients[3].recv().is_nil(), "its time was over");
    run(&server, "DEL mine");
    assert_idle(&server);
}

#[test]
fn the_keys_may_go_while_the_search_goes_on() {
    for (line, served) in [
        (format!("DEL{}", shared()), true),
        ("FLUSHALL".into(), true),
        ("SWAPDB 0 1".into(), false),
        ("RENAME c1 c2".into(), false),
    ] {
        let (server, _last) = crowded();
        let (mut writer, mut boss) = (server.client(), server.client());
        writer.send_line(&wish("w", 0));
        boss.run(&line);
        if served {
            let reply = writer.recv();
            assert!(reply.is_error() || reply.ints().len() == LOCKS, "{line}: {reply:?}");
        }
        wait_idle_searches(&server);
        assert_eq!(run(&server, "PING").text(), "PONG", "{line}");
    }
}

#[test]
fn many_searches_go_on_one_after_the_other_and_others_have_their_turns() {
    let (server, mut last) = crowded();
    let owners: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
    let _needy = needed(&server, &owners);
    let mut clients = server.clients(owners.len());
    clients.iter_mut().zip(&owners).for_each(|(client, owner)| client.send_line(&wish(owner, 0)));
    wait_until("they wait", || waiting(&server) == 62);
    let mut pings = server.client();
    let mut beside = 0;
    while server.info_int("ltmc", "ltmc_lock_searches") > 0 {
        assert_eq!(pings.run("PING").text(), "PONG");
        beside += 1;
    }
    assert!(beside > 3, "{beside}");
    assert_eq!((deadlocks(&server), waiting(&server)), (0, 62));
    run(&server, "LTMC.UNLOCK mine w");
    last.recv().int();
    set_clock(&server, 90_000_001);
    // One of them has all, for as long as it has a lease; and so has who waited for the others.
    wait_until("one of them is served", || waiting(&server) == 59);
}
