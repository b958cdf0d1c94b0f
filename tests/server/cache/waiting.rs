//! The many ways in which a wait for an answer ends other than by a PUT.

use super::flights::Line;
use super::*;

mod line;

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
    assert!(replies.iter().all(|reply| status_and_value(reply) == miss()), "{replies:?}");
    let tickets: Vec<bool> = replies.iter().map(|reply| ticket_in(reply).is_some()).collect();
    assert_eq!(tickets, [true, false, false], "nobody waits, and one computes");
    assert_eq!(waiting(&server), 0);
    put(&server, "{t}:c t 1 v");
    assert!(ask("1").iter().all(|reply| status_and_value(reply) == answer("HIT", "v")));
}

#[test]
fn when_all_of_the_cache_is_called_off_the_longest_waiter_is_asked_to_compute() {
    for delete in ["LTMC.CACHE.INVALIDATE c ALL", "LTMC.CACHE.INVALIDATE c TOOL t", "LTMC.CACHE.INVALIDATE c AGENT a"] {
        let line = Line::start();
        let reply = line.server.run(delete);
        assert!(!reply.is_error(), "{delete}: {reply:?}");
        eprintln!("after {delete}");
        line.b_then_c();
    }
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

/// `put_in` replaces cache `c` by one that has the answer.
fn waiters_are_served_by_what_is_put_in(put_in: impl FnOnce(&mut Client)) {
    let mut line = Line::start();
    put_in(&mut line.holder);
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "there"));
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
fn who_waits_in_vain_for_one_more_ticket_computes_without_one() {
    let server = Server::start();
    let mut line = Line::on(server);
    ticket(&line.server, "c t 2");
    line.server.run("CONFIG SET ltmc.cache-tickets-max 1").ok();
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    for client in [&mut line.b, &mut line.c] {
        let reply = client.recv();
        assert_eq!((status_and_value(&reply), ticket_in(&reply)), (miss(), None));
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
