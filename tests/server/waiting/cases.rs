//! What holds for every command that waits: who is served, and how a wait ends. `all_cases!` makes
//! a test of each for a service.

use super::line::{indirectly, Holder, Line, Loss, Waiting};
use super::*;

pub fn those_who_wait_are_served_in_their_order(how: &Waiting) {
    let line = Line::start(how);
    assert_eq!(waiting(&line.server), 3);
    let server = line.goes_on(&[1, 2, 3]);
    assert_eq!((how.counted(&server, "waits"), how.counted(&server, "waits_served")), (3, 3));
}

pub fn a_waiter_can_be_seen(how: &Waiting) {
    let line = Line::start(how);
    let list = line.server.run(&format!("CLIENT LIST ID {}", line.clients[0].id()));
    assert!(list.text().contains(" flags=b "), "{list:?}");
    assert_eq!(how.counted(&line.server, "waits"), 3);
    line.goes_on(&[1, 2, 3]);
}

pub fn what_serves_may_come_in_a_transaction_a_script_or_a_guard(how: &Waiting) {
    for way in 0..3 {
        let mut line = Line::start(how);
        let serves = line.serves();
        let reply = indirectly(&mut line.driver, way, &serves);
        assert!(!reply.is_error(), "{reply:?}");
        line.is_served(1);
        if how.is_news {
            [2, 3].into_iter().for_each(|n| line.is_served(n));
            line.ends();
        } else {
            line.goes_on(&[2, 3]);
        }
    }
}

pub fn a_transaction_a_script_and_a_guard_ask_once(how: &Waiting) {
    let server = Server::start();
    let mut client = server.client();
    let mut holder = Holder { n: 0, token: (how.prepare)(&mut client, "k") };
    for way in 0..3 {
        let reply = indirectly(&mut client, way, &how.blocks("k", 1));
        assert!(reply.is_nil() || (how.is_nothing)(&reply), "{way}: {reply:?}");
    }
    // What is there is given all the same.
    for way in 0..if how.is_news { 0 } else { 3 } {
        assert!(!client.run(&(how.serve)("k", holder)).is_error());
        let token = (how.token)(&indirectly(&mut client, way, &how.blocks("k", 1)));
        assert!(token > holder.token, "{token} is not above {holder:?}");
        holder = Holder { n: 1, token };
    }
    assert_eq!(waiting(&server), 0);
}

pub fn a_client_that_speaks_resp3_waits_too(how: &Waiting) {
    let mut line = Line::start(how);
    let mut client = line.server.client();
    client.resp3();
    line.clients.push(client);
    let blocks = how.blocks("k", 4);
    line.server.block_in_turn(&mut line.clients[3..], |_| blocks.clone());
    line.goes_on(&[1, 2, 3, 4]);
}

pub fn what_a_client_sends_while_it_waits_is_done_afterwards(how: &Waiting) {
    let mut line = Line::start(how);
    line.client(1).send_line("ECHO later");
    assert_eq!(line.client(1).recv_within(1), None);
    line.serve();
    let reply = line.client(1).recv();
    assert_eq!(line.client(1).recv().text(), "later");
    line.was_served(1, &reply);
}

/// A wait that ends without what it waited for says so as a command does that does not wait.
#[track_caller]
fn assert_nothing(how: &Waiting, reply: &Reply) {
    assert!(is_end(how, reply), "{reply:?}");
}

fn is_end(how: &Waiting, reply: &Reply) -> bool {
    if how.is_list {
        matches!(reply, Reply::Array(elements) if elements.is_empty())
    } else {
        reply.is_nil()
    }
}

pub fn a_wait_ends_with_nothing_at_its_limit(how: &Waiting) {
    let line = Line::start(how);
    let mut late = line.server.client();
    assert_nothing(how, &late.run(&format!("{} BLOCK 20", (how.wait)("k", 4))));
    assert_eq!(how.counted(&line.server, "timeouts"), 1);
    assert_eq!(late.run("PING"), Reply::Simple("PONG".into()));
    line.goes_on(&[1, 2, 3]);
}

pub fn waits_end_each_at_its_own_limit_and_block_0_never(how: &Waiting) {
    let mut line = Line::start(how);
    let mut late = line.server.clients(3);
    let limits = [150_000, 50_000, 100_000];
    line.server.block_in_turn(&mut late, |at| format!("{} BLOCK {}", (how.wait)("k", at + 4), limits[at]));
    for (step, at) in [1, 2, 0].into_iter().enumerate() {
        assert_eq!(waiting(&line.server), 6 - step as i64);
        set_clock(&line.server, limits[at] + 25_000);
        assert_nothing(how, &late[at].recv());
    }
    assert_eq!(line.client(1).recv_within(1), None);
    line.goes_on(&[1, 2, 3]);
}

/// Unblocks the first in line. Where the server cannot, nothing happens to it.
fn unblocked(how: &Waiting, word: &str, is_right: impl Fn(&Reply) -> bool) {
    let mut line = Line::start(how);
    let done = line.server.run(&format!("CLIENT UNBLOCK {} {word}", line.clients[0].id())).int();
    assert_eq!(done, i64::from(can_unblock(&line.server)));
    if done == 1 {
        let reply = line.client(1).recv();
        assert!(is_right(&reply), "{reply:?}");
        assert_eq!(line.client(1).run("PING"), Reply::Simple("PONG".into()));
        line.goes_on(&[2, 3]);
    } else {
        line.goes_on(&[1, 2, 3]);
    }
}

pub fn client_unblock_ends_a_wait_like_its_limit(how: &Waiting) {
    unblocked(how, "", |reply| is_end(how, reply));
    unblocked(how, "TIMEOUT", |reply| is_end(how, reply));
}

pub fn client_unblock_error_ends_a_wait_with_an_error(how: &Waiting) {
    unblocked(how, "ERROR", |reply| reply.is_error() && reply.error_code() == "UNBLOCKED");
}

pub fn a_killed_waiter_is_passed_over(how: &Waiting) {
    let mut line = Line::start(how);
    let kills = line.kills(1);
    line.driver.run(&kills);
    line.client(1).wait_closed();
    let server = line.goes_on(&[2, 3]);
    assert_eq!(how.counted(&server, "waits_cancelled"), 1);
}

pub fn a_waiter_that_hangs_up_is_passed_over(how: &Waiting) {
    let mut line = Line::start(how);
    *line.client(1) = line.server.client();
    line.goes_on(&[2, 3]);
}

pub fn a_waiter_whose_machine_dies_is_passed_over(how: &Waiting) {
    let server = Server::start();
    let mut driver = server.client();
    let token = (how.prepare)(&mut driver, "k");
    let mut dying = server.client();
    dying.arm_reset();
    server.block_in_turn(std::slice::from_mut(&mut dying), |_| how.blocks("k", 9));
    let line = Line::behind(how, server, driver, token, 2);
    drop(dying);
    line.goes_on(&[1, 2]);
}

/// In one write the first is served and killed. It was not told, so the next is served.
pub fn what_nobody_was_told_of_is_taken_back(how: &Waiting) {
    for is_transaction in [false, true] {
        let mut line = Line::on(how, Server::builder().durable().start());
        let replica = line.server.replica();
        let lines = [line.serves(), line.kills(1)];
        pipelined(&mut line.driver, &lines, is_transaction);
        line.client(1).wait_closed();
        line.is_served(2);
        assert_eq!(how.counted(&line.server, "taken_back"), i64::from(!how.is_news));
        how.assert_persisted(&line.server, &replica);
    }
}

#[track_caller]
fn pipelined(client: &mut Client, lines: &[String], is_transaction: bool) -> Vec<Reply> {
    let mut lines = lines.to_vec();
    if is_transaction {
        lines.insert(0, "MULTI".into());
        lines.push("EXEC".into());
    }
    let replies = client.pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    replies
}

pub fn a_service_and_an_unblock_in_one_tick_give_one_answer(how: &Waiting) {
    for word in ["TIMEOUT", "ERROR"] {
        for is_transaction in [false, true] {
            let mut line = Line::start(how);
            let unblock = format!("CLIENT UNBLOCK {} {word}", line.clients[0].id());
            let lines = [line.serves(), unblock.clone(), unblock];
            pipelined(&mut line.driver, &lines, is_transaction);
            let reply = line.client(1).recv();
            assert_eq!(line.client(1).run("PING"), Reply::Simple("PONG".into()));
            let is_unblocked = is_end(how, &reply) || (reply.is_error() && reply.error_code() == "UNBLOCKED");
            if !is_unblocked {
                line.was_served(1, &reply);
            }
            // What the first was not told of has passed to the second.
            if is_unblocked || how.is_news {
                line.is_served(2);
            }
            if how.is_news {
                line.is_served(3);
            } else {
                let from = line.holder.n - 1;
                line.goes_on(&[2, 3][from..]);
            }
        }
    }
}

pub fn an_unblock_before_the_service_in_one_tick_goes_first(how: &Waiting) {
    let mut line = Line::start(how);
    if can_unblock(&line.server) {
        let lines = [format!("CLIENT UNBLOCK {}", line.clients[0].id()), line.serves()];
        assert_eq!(pipelined(&mut line.driver, &lines, false)[0].int(), 1);
        assert_nothing(how, &line.client(1).recv());
        line.is_served(2);
    }
}

pub fn the_end_of_the_key_serves_or_leaves_or_tells_who_waits(how: &Waiting) {
    let mut server = Server::start();
    for ends in [
        "DEL k",
        "UNLINK k",
        "EXPIRE k 0",
        "PEXPIRE k 1",
        "FLUSHDB",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "RENAME k elsewhere",
        "MOVE k 1",
        "SWAPDB 0 1",
        "SWAPDB 1 0",
    ] {
        let line = Line::on(how, server);
        let reply = line.server.run(ends);
        assert!(!reply.is_error(), "{ends}: {reply:?}");
        eprintln!("after {ends}");
        wait_until("it is gone", || match how.loss {
            Loss::WaitsOn(_) => line.server.run("EXISTS k").int() == 0,
            _ => true,
        });
        server = line.goes_on_without_key();
    }
}

pub fn the_end_of_the_key_in_a_transaction_a_script_or_a_guard_does_the_same(how: &Waiting) {
    for way in 0..3 {
        let mut line = Line::start(how);
        assert_eq!(indirectly(&mut line.driver, way, "DEL k").int(), 1);
        line.goes_on_without_key();
    }
}

/// `put` puts the key `other` in the place of `k`. Clients that wait now wait for the key of that
/// name.
fn replaced(how: &Waiting, put: impl FnOnce(&mut Client)) {
    let mut line = Line::start(how);
    line.holder.token = (how.prepare)(&mut line.driver, "other");
    put(&mut line.driver);
    if let Loss::Tells(is_right) = how.loss {
        if let Some(reply) = line.client(1).recv_within(300) {
            // It is told that this is another life, or told again as of the same one.
            assert!(is_right(&reply) || !reply.is_error(), "{reply:?}");
            return;
        }
    }
    assert_eq!(line.client(1).recv_within(1), None);
    line.goes_on(&[1, 2, 3]);
}

pub fn a_key_that_comes_under_the_name_takes_over_who_waits(how: &Waiting) {
    replaced(how, |client| client.run("RENAME other k").ok());
    replaced(how, |client| {
        for line in ["MOVE other 1", "SELECT 1", "RENAME other k", "SWAPDB 0 1", "SELECT 0"] {
            assert!(!client.run(line).is_error(), "{line}");
        }
    });
    replaced(how, |client| {
        let dump = client.run("DUMP other").bytes().to_vec();
        client.cmd(&[b"RESTORE".as_slice(), b"k", b"0", &dump, b"REPLACE"]).ok();
    });
}

pub fn waiters_learn_that_their_key_became_something_else(how: &Waiting) {
    for put in ["SET k v", "SET k v PX 600000", "RENAME string k", "RENAME else k"] {
        let mut line = Line::start(how);
        line.server.run("SET string v").ok();
        assert!(!line.server.run(&how.other_type.replace('#', "else")).is_error());
        line.server.run(put).ok();
        for n in 1..=3 {
            let reply = line.client(n).recv();
            let is_right = reply.is_error() && ["WRONGTYPE", "ERR"].contains(&reply.error_code());
            assert!(is_right, "{put}: {reply:?}");
        }
        let again = line.client(1).run(&how.blocks("k", 1));
        assert!(again.is_error(), "{put}: {again:?}");
        assert_eq!(line.server.run("DEL k").int(), 1);
        let server = line.ends();
        Line::on(how, server).goes_on(&[1, 2, 3]);
    }
}

pub fn clients_wait_in_their_own_database(how: &Waiting) {
    let mut line = Line::start(how);
    let mut other = line.server.client();
    other.run("SELECT 1").ok();
    let token = (how.prepare)(&mut other, "k");
    let mut there = line.server.client();
    there.run("SELECT 1").ok();
    line.server.block_in_turn(std::slice::from_mut(&mut there), |_| how.blocks("k", 7));
    let serves = (how.serve)("k", Holder { n: 0, token });
    assert!(!other.run(&serves).is_error());
    (how.token)(&there.recv());
    assert_eq!(waiting(&line.server), 3);
    assert_eq!(line.client(1).recv_within(1), None);
    line.goes_on(&[1, 2, 3]);
}

pub fn no_more_than_so_many_may_wait(how: &Waiting) {
    let mut line = Line::start(how);
    line.server.run(&format!("CONFIG SET ltmc.{} 3", how.bound)).ok();
    let blocks = how.blocks("k", 4);
    let refused = line.driver.run(&blocks);
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains(how.bound), "{refused:?}");
    let once = line.driver.run(&(how.wait)("k", 4));
    assert!(!once.is_error(), "who does not wait is not refused: {once:?}");
    // A client that leaves makes room.
    let kills = line.kills(1);
    line.driver.run(&kills);
    wait_until("two wait", || waiting(&line.server) == 2);
    line.clients.push(line.server.client());
    line.server.block_in_turn(&mut line.clients[3..], |_| blocks.clone());
    line.goes_on(&[2, 3, 4]);
}
