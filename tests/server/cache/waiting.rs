//! The many ways in which a wait for an answer ends other than by a PUT.

use super::flights::Line;
use super::*;

#[test]
fn a_transaction_a_script_and_a_guard_ask_once() {
    let server = Server::start();
    let lock = server.run("LTMC.LOCK {t}:l me PX 600000").int();
    let mut client = server.client();
    let mut ask = |args: &str| {
        let get = format!("LTMC.CACHE.GET {{t}}:c t {args} BLOCK 0");
        let words: Vec<String> = get.split(' ').map(|word| format!("'{word}'")).collect();
        let replies = client.pipeline(&["MULTI", &get, "SET {t}:after 1", "EXEC"]);
        replies[3].array()[1].ok();
        let by_script = client.cmd(&["EVAL", &format!("return redis.call({})", words.join(",")), "0"]);
        let guarded = client.run(&format!("LTMC.GUARD {{t}}:l {lock} {get}"));
        [replies[3].array()[0].clone(), by_script, guarded]
    };
    let replies = ask("1");
    assert!(replies.iter().all(|reply| said(reply) == miss()), "{replies:?}");
    let tickets: Vec<bool> = replies.iter().map(|reply| ticket_in(reply).is_some()).collect();
    assert_eq!(tickets, [true, false, false], "nobody waits, and one computes");
    assert_eq!(waiting(&server), 0);
    put(&server, "{t}:c t 1 v");
    assert!(ask("1").iter().all(|reply| said(reply) == answer("HIT", "v")));
}

#[test]
fn a_wait_ends_with_nil_at_its_limit() {
    let server = Server::start();
    let computes = ticket(&server, "c t 1");
    let mut client = server.client();
    assert!(client.run("LTMC.CACHE.GET c t 1 BLOCK 10").is_nil());
    let mut waiters = server.clients(3);
    let limits = [20_000, 0, 10_000];
    server.block_in_turn(&mut waiters, |n| format!("LTMC.CACHE.GET c t 1 BLOCK {}", limits[n]));
    for (step, index) in [2, 0].into_iter().enumerate() {
        assert_eq!(waiting(&server), 3 - step as i64);
        set_clock(&server, limits[index] + 5_000);
        assert!(waiters[index].recv().is_nil());
    }
    assert_eq!(server.info_int("ltmc", "ltmc_cache_timeouts"), 3);
    put(&server, &format!("c t 1 v TICKET {computes}"));
    assert_eq!(said(&waiters[1].recv()), answer("HIT", "v"));
    for client in waiters.iter_mut().chain([&mut client]) {
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
    assert_idle(&server);
}

#[test]
fn client_unblock_ends_a_wait_like_its_limit_or_with_an_error() {
    for how in ["", "TIMEOUT", "ERROR"] {
        let mut line = Line::start();
        let done = line.server.run(&format!("CLIENT UNBLOCK {} {how}", line.b.id())).int();
        assert_eq!(done, i64::from(can_unblock(&line.server)));
        if done == 1 {
            let reply = line.b.recv();
            let is_right =
                if how == "ERROR" { reply.is_error() && reply.error_code() == "UNBLOCKED" } else { reply.is_nil() };
            assert!(is_right, "{how}: {reply:?}");
            line.holder_then_c();
        } else {
            assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
            line.b_then_c();
        }
    }
}

#[test]
fn a_waiter_that_is_killed_or_hangs_up_is_passed_over() {
    let mut line = Line::start();
    line.server.run(&format!("CLIENT KILL ID {}", line.b.id())).int();
    line.b.wait_closed();
    let mut line = Line::on(line.holder_then_c());
    line.b = line.server.client();
    let mut line = Line::on(line.holder_then_c());
    line.b.close();
    wait_until("only c waits", || waiting(&line.server) == 1);
    // Nobody else is asked to compute in its place.
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    let next = promoted(&line.c.recv());
    put(&line.server, &format!("c t 1 v TICKET {next}"));
    assert_idle(&line.server);
}

#[test]
fn a_promotion_and_an_unblock_in_one_tick_give_one_answer() {
    for how in ["TIMEOUT", "ERROR"] {
        let mut line = Line::start();
        let (fail, unblock) =
            (format!("LTMC.CACHE.FAIL c t 1 {}", line.computes), format!("CLIENT UNBLOCK {} {how}", line.b.id()));
        line.holder.pipeline(&[fail, unblock]);
        let reply = line.b.recv();
        assert_eq!(line.b.run("PING"), Reply::Simple("PONG".into()));
        let is_map = !reply.is_nil() && !reply.is_error();
        let computes = if is_map { promoted(&reply) } else { promoted(&line.c.recv()) };
        put(&line.server, &format!("c t 1 v TICKET {computes}"));
        if is_map {
            assert_eq!(said(&line.c.recv()), answer("HIT", "v"));
        }
        assert_idle(&line.server);
    }
}

#[test]
fn when_the_cache_goes_the_longest_waiter_is_asked_to_compute() {
    for delete in [
        "DEL c",
        "UNLINK c",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "FLUSHDB",
        "PEXPIRE c 1",
        "RENAME c elsewhere",
        "MOVE c 1",
        "SWAPDB 0 1",
        "LTMC.CACHE.INVALIDATE c ALL",
        "LTMC.CACHE.INVALIDATE c TOOL t",
        "LTMC.CACHE.INVALIDATE c AGENT a",
    ] {
        let line = Line::start();
        let reply = line.server.run(delete);
        assert!(!reply.is_error(), "{delete}: {reply:?}");
        eprintln!("after {delete}");
        line.b_then_c();
    }
}

#[test]
fn when_the_cache_goes_in_a_transaction_or_a_script_the_longest_waiter_is_asked() {
    let mut line = Line::start();
    line.holder.pipeline(&["MULTI", "DEL c", "SET other 1", "EXEC"]);
    let mut line = Line::on(line.b_then_c());
    assert_eq!(line.holder.cmd(&["EVAL", "return redis.call('DEL', KEYS[1])", "1", "c"]).int(), 1);
    line.b_then_c();
}

#[test]
fn a_cache_that_is_renamed_takes_its_tickets_along_and_hears_of_their_holders_end() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-orphan-ms 0").ok();
    let mut holder = server.client();
    let computes = promoted(&holder.run("LTMC.CACHE.GET c t 1 LEASE 600000"));
    let other = ticket(&server, "c t 2 LEASE 600000");
    server.run("RENAME c d").ok();
    put(&server, &format!("d t 2 v TICKET {other}"));
    let mut waits = waiter(&server, "d t 1");
    holder.close();
    let next = promoted(&waits.recv());
    assert!(next > computes);
    put_is_stale(&server, &format!("d t 1 v TICKET {computes}"));
    put(&server, &format!("d t 1 v TICKET {next}"));
}

/// `put_in` replaces cache `c` by one in which the answer is there.
fn waiters_are_served_by_what_is_put_in(put_in: impl FnOnce(&mut Client)) {
    let mut line = Line::start();
    put_in(&mut line.holder);
    assert_eq!(said(&line.b.recv()), answer("HIT", "there"));
    line.ends_with_c("there");
}

#[test]
fn a_cache_that_is_put_in_the_place_of_another_serves_who_waits_there() {
    waiters_are_served_by_what_is_put_in(|client| {
        client.run("LTMC.CACHE.PUT d t 1 there").ok();
        client.run("RENAME d c").ok();
    });
    waiters_are_served_by_what_is_put_in(|client| {
        client.run("LTMC.CACHE.PUT d t 1 there").ok();
        let dump = client.run("DUMP d").bytes().to_vec();
        client.cmd(&[b"RESTORE".as_slice(), b"c", b"0", &dump, b"REPLACE"]).ok();
    });
    waiters_are_served_by_what_is_put_in(|client| {
        client.run("SELECT 1").ok();
        client.run("LTMC.CACHE.PUT c t 1 there").ok();
        client.run("SWAPDB 0 1").ok();
    });
}

#[test]
fn waiters_learn_that_their_key_became_something_else() {
    for put_in in ["SET c v", "SET c v PX 600000", "RENAME string c", "RENAME lock c"] {
        let mut line = Line::start();
        line.server.run("SET string v").ok();
        line.server.run("LTMC.LOCK lock a PX 600000").int();
        line.server.run(put_in).ok();
        assert_eq!(line.b.recv().error_code(), "WRONGTYPE", "{put_in}");
        assert_eq!(line.c.recv().error_code(), "WRONGTYPE", "{put_in}");
        assert_idle(&line.server);
        assert_eq!(line.b.run("PING"), Reply::Simple("PONG".into()));
        assert_eq!(line.server.run("LTMC.CACHE.GET c t 1 BLOCK 0").error_code(), "WRONGTYPE");
        assert_eq!(line.server.run("DEL c").int(), 1);
        ticket(&line.server, "c t 1");
    }
}

#[test]
fn a_wait_goes_on_through_a_reload_and_a_replay() {
    let line = Line::on(Server::builder().durable().start());
    line.server.debug_reload();
    line.server.run("DEBUG LOADAOF").ok();
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    let line = Line::on(line.b_then_c());
    line.server.debug_reload();
    set_clock(&line.server, LEASE_MS + 1);
    line.b_then_c();
}

#[test]
fn waiters_are_bounded() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-waiters-max 2").ok();
    let line = Line::on(server);
    let refused = line.server.run("LTMC.CACHE.GET c t 1 BLOCK 0");
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains("ltmc.cache-waiters-max"), "{refused:?}");
    assert_eq!(said(&line.server.run("LTMC.CACHE.GET c t 1")), miss(), "who does not wait is answered");
    ticket(&line.server, "d t 1");
    let other = waiter(&line.server, "d t 1");
    other.close();
    wait_until("it is gone", || waiting(&line.server) == 2);
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    line.b_then_c();
}

#[test]
fn who_waits_in_vain_for_one_more_ticket_is_told_so() {
    let server = Server::start();
    let mut line = Line::on(server);
    ticket(&line.server, "c t 2");
    line.server.run("CONFIG SET ltmc.cache-tickets-max 1").ok();
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    for client in [&mut line.b, &mut line.c] {
        let refused = client.recv();
        assert_eq!(refused.error_code(), "LIMIT");
        assert!(refused.error().contains("ltmc.cache-tickets-max"), "{refused:?}");
    }
    assert_idle(&line.server);
}

#[test]
fn a_shutdown_ends_all_waits_and_keeps_the_answers() {
    let mut line = Line::start();
    put(&line.server, "c t 2 v");
    line.server.stop();
    line.b.wait_closed();
    line.c.wait_closed();
    assert!(!line.server.log().contains("internal error"), "{}", line.server.log());
    line.server.start_again();
    assert_eq!(found(&line.server, "c t 2"), answer("HIT", "v"));
    // The connection over which the ticket was given is gone for good.
    let mut next = line.server.client();
    next.send_line("LTMC.CACHE.GET c t 1 BLOCK 0");
    assert!(promoted(&next.recv()) > line.computes);
}

#[test]
fn nothing_is_decided_while_clients_are_paused() {
    let server = Server::start();
    let replica = server.replica();
    let mut holder = server.client();
    // The lease ends in the middle of the pause: Redis would not survive a hand-off then.
    let replies = holder.pipeline(&["LTMC.CACHE.GET c t 1 LEASE 50", "CLIENT PAUSE 400 WRITE"]);
    let computes = promoted(&replies[0]);
    let mut next = server.client();
    next.send_line("LTMC.CACHE.GET c t 1 BLOCK 0");
    let following = promoted(&next.recv());
    assert!(following > computes);
    replica.wait_synced(&server);
    assert_eq!(stat(&replica, "tickets_out"), 1);
}

#[test]
fn a_wait_can_be_seen_and_is_counted() {
    let line = Line::start();
    let list = line.server.run(&format!("CLIENT LIST ID {}", line.b.id()));
    assert!(list.text().contains(" flags=b "), "{list:?}");
    assert_eq!(line.server.info_int("ltmc", "ltmc_cache_waits"), 2);
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    let server = line.b_then_c();
    assert_eq!(server.info_int("ltmc", "ltmc_cache_waits_served"), 2);
}
