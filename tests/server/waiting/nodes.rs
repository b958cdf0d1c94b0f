//! What holds for every command that waits when something happens to the node: a reload, another
//! role, a restart, a slot that moves, a panic, a crowd.

use super::line::{Line, Loss, Waiting};
use super::*;

pub fn a_wait_goes_on_through_a_reload_and_a_replay_of_the_aof(how: &Waiting) {
    let line = Line::on(how, Server::builder().durable().start());
    line.server.debug_reload();
    line.server.run("DEBUG LOADAOF").ok();
    assert_eq!(waiting(&line.server), 3);
    line.goes_on(&[1, 2, 3]);
}

pub fn waiters_of_a_primary_that_becomes_a_replica_are_sent_away(how: &Waiting) {
    let primary = Server::start();
    let mut line = Line::start(how);
    line.server.follow(&primary);
    assert_sent_away(&mut line.clients);
    if !how.is_news {
        let refused = line.server.run(&how.blocks("k", 1));
        assert_eq!(refused.error_code(), "READONLY");
    }
    line.server.promote();
    let server = line.ends();
    Line::on(how, server).goes_on(&[1, 2, 3]);
}

pub fn a_promoted_replica_serves_who_waits_for_what_the_old_primary_gave(how: &Waiting) {
    let mut primary = Server::start();
    let replica = primary.replica();
    let mut first = primary.client();
    let token = (how.prepare)(&mut first, "k");
    if how.is_tied {
        // Else the end of the old primary would serve the first waiter sooner or later.
        replica.run("CONFIG SET ltmc.cache-orphan-ms 6000000").ok();
    }
    replica.wait_synced(&primary);
    primary.kill();
    replica.promote();
    let driver = replica.client();
    Line::behind(how, replica, driver, token, 3).goes_on(&[1, 2, 3]);
}

pub fn a_shutdown_ends_all_waits(how: &Waiting) {
    let mut line = Line::start(how);
    line.server.stop();
    line.clients.iter_mut().for_each(Client::wait_closed);
    assert!(!line.server.log().contains("internal error"), "{}", line.server.log());
    line.server.start_again();
    let server = line.ends();
    Line::on(how, server).goes_on(&[1, 2, 3]);
}

pub fn what_was_waited_for_reaches_the_replicas_as_what_it_came_to(how: &Waiting) {
    let mut line = Line::on(how, Server::builder().durable().start());
    let replica = line.server.replica();
    line.serve();
    line.is_served(1);
    assert_eq!(line.client(1).run("WAIT 1 0").int(), 1, "WAIT covers what a client was handed");
    how.assert_persisted(&line.server, &replica);
}

pub fn waiters_of_a_slot_that_moves_are_sent_to_the_new_node(how: &Waiting) {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[1 - from]);
    (how.prepare)(&mut old.client(), "{t}:k");
    let mut clients = old.clients(2);
    old.block_in_turn(&mut clients, |at| how.blocks("{t}:k", at + 1));
    cluster.begin_migration(slot, from, 1 - from);
    assert_eq!(waiting(old), 2, "an open slot sends nobody away");
    cluster.move_keys(slot, from, 1 - from);
    cluster.finish_migration(slot, 1 - from);
    let moved = format!("MOVED {slot} 127.0.0.1:{}", new.port());
    for client in &mut clients {
        let reply = client.recv();
        let was_told = matches!(how.loss, Loss::Tells(is_right) if is_right(&reply));
        assert!(was_told || reply.error() == moved, "{reply:?}");
    }
    assert_idle(old);
    let mut again = new.client();
    new.block_in_turn(std::slice::from_mut(&mut again), |_| how.blocks("{t}:k", 1));
}

pub fn a_panic_of_the_scheduler_loses_no_waiter_and_a_quarantine_is_told(how: &Waiting) {
    let mut line = Line::start(how);
    line.server.run("LTMC.DEBUG SWEEP 2").ok();
    if let Loss::Tells(_) = how.loss {
        line.driver.run("DEL k").int();
        let server = line.goes_on_without_key();
        assert_eq!(server.info_int("ltmc", "ltmc_panics"), 2);
        line = Line::on(how, server);
    } else {
        line.driver.run("RENAME k other").ok();
        line.driver.run("RENAME other k").ok();
        wait_until("the scheduler has panicked", || line.server.info_int("ltmc", "ltmc_panics") == 2);
        if waiting(&line.server) == 3 {
            line.serve();
        }
        line.is_served(1);
    }
    for _ in 0..3 {
        assert!(line.server.run("LTMC.DEBUG PANIC k").is_error());
    }
    for n in if how.is_news { 1..=3 } else { 2..=3 } {
        assert_eq!(line.client(n).recv().error_code(), "QUARANTINED");
    }
    let blocks = how.blocks("k", 1);
    assert_eq!(line.client(1).run(&blocks).error_code(), "QUARANTINED");
    assert_eq!(line.server.run("DEL k").int(), 1);
    let server = line.ends();
    Line::on(how, server).goes_on(&[1, 2, 3]);
}

pub fn a_module_that_is_waited_for_cannot_be_unloaded(how: &Waiting) {
    let line = Line::start(how);
    assert!(line.server.run("MODULE UNLOAD ltmc").is_error());
    line.goes_on(&[1, 2, 3]);
}

const CROWD: usize = 1000;

fn crowd(how: &Waiting) -> Line<'_> {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let mut driver = server.client();
    let token = (how.prepare)(&mut driver, "k");
    Line::behind(how, server, driver, token, CROWD)
}

pub fn a_thousand_waiters_are_served_in_order_and_once_each(how: &Waiting) {
    let line = crowd(how);
    assert_eq!(waiting(&line.server), CROWD as i64);
    let everybody: Vec<usize> = (1..=CROWD).collect();
    let server = line.goes_on(&everybody);
    assert_eq!(how.counted(&server, "waits_served"), CROWD as i64, "one is woken for each");
    assert_idle(&server);
}

/// The next in line dies: before its turn, in the very tick, or by hanging up.
pub fn half_of_a_thousand_die_while_the_line_drains(how: &Waiting) {
    let mut line = crowd(how);
    for n in (1..=CROWD).step_by(2) {
        let (kills, serves) = (line.kills(n), line.serves());
        match n / 2 % 3 {
            0 => drop(line.driver.pipeline(&[kills, serves])),
            1 if !how.is_news => drop(line.driver.pipeline(&[serves, kills])),
            _ => {
                *line.client(n) = line.server.client();
                wait_until("it is gone", || waiting(&line.server) <= (CROWD - n) as i64);
                drop(line.driver.pipeline(&[serves]));
            }
        }
        if how.is_news {
            // All are told at once: from now on no client waits.
            (n + 1..=CROWD).for_each(|n| line.is_served(n));
            break;
        }
        line.is_served(n + 1);
    }
    assert_idle(&line.server);
}
