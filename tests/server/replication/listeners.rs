//! Nothing is sent while nothing listens (`src/ffi/listeners.rs` says why that is sound). Every way
//! in which a listener can come is tried here while a client writes. The listener then has to end
//! up with the same data as the primary.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::harness::*;

/// A client in its own thread that locks and unlocks until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(server: &Server) -> Writer {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, mut client) = (stop.clone(), done.clone(), server.client());
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let key = format!("key{}", number % 37);
                // A share that stays keeps the key and its version from one round to the next.
                client.run(&format!("LTMC.LOCK {key} keeper SHARED PATH kept PX 6000000")).int();
                client.run(&format!("LTMC.LOCK {key} writer PATH doc PX 6000000")).int();
                client.run(&format!("LTMC.UNLOCK {key} writer PATH doc")).int();
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let writer = Writer { stop, done, thread: Some(thread) };
        writer.go_on();
        writer
    }

    /// Waits until it has written some more.
    #[track_caller]
    fn go_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        wait_until("the writer has written more", || self.done.load(Ordering::Relaxed) > before + 50);
    }

    /// Writes some more and stops.
    #[track_caller]
    fn finish(mut self) {
        self.go_on();
        self.join();
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the writer failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.join();
    }
}

fn listeners(server: &Server) -> i64 {
    server.info_int("ltmc", "ltmc_replication_listeners")
}

#[track_caller]
fn assert_follows(leg: &str, replica: &Server, primary: &Server) {
    replica.wait_synced(primary);
    assert_same(leg, &primary.dataset(), &replica.dataset());
}

#[track_caller]
fn assert_aof_is_complete(leg: &str, server: &Server) {
    let before = server.dataset();
    server.run("DEBUG LOADAOF").ok();
    assert_same(leg, &before, &server.dataset());
}

fn wait_child_done(server: &Server) {
    wait_until("no child runs", || {
        let info = server.info("persistence");
        ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .iter()
            .all(|field| info[*field] == "0")
    });
}

#[test]
fn nobody_listens_until_a_replica_comes() {
    let server = Server::start();
    server.run("LTMC.LOCK k a").int();
    assert_eq!(listeners(&server), 0);
    server.run("BGSAVE");
    wait_child_done(&server);
    server.run("LTMC.LOCK k a").int();
    assert_eq!(listeners(&server), 0);
    let replica = server.replica();
    server.run("LTMC.LOCK k a").int();
    assert_eq!(listeners(&server), 1);
    assert_follows("first replica", &replica, &server);
    drop(replica);
    server.run("LTMC.LOCK k a").int();
    assert_eq!(listeners(&server), 1, "the backlog is still there");
    let durable = Server::builder().durable().start();
    durable.run("LTMC.LOCK k a").int();
    assert_eq!(listeners(&durable), 1);
}

#[test]
fn a_first_replica_that_comes_while_a_client_writes_misses_nothing() {
    for diskless in ["no", "yes"] {
        let server = Server::builder().arg("repl-diskless-sync", diskless).start();
        let writer = Writer::start(&server);
        assert_eq!(listeners(&server), 0);
        let replica = server.replica();
        writer.finish();
        assert_follows(&format!("diskless {diskless}"), &replica, &server);
    }
}

#[test]
fn an_aof_that_is_switched_on_while_a_client_writes_misses_nothing() {
    let server = Server::start();
    let writer = Writer::start(&server);
    server.run("CONFIG SET appendonly yes").ok();
    writer.go_on();
    wait_child_done(&server);
    writer.finish();
    wait_child_done(&server);
    assert_aof_is_complete("an AOF that was switched on", &server);
    // Off and on again: nothing listens in between.
    let writer = Writer::start(&server);
    server.run("CONFIG SET appendonly no").ok();
    writer.go_on();
    server.run("CONFIG SET appendonly yes").ok();
    writer.go_on();
    wait_child_done(&server);
    writer.finish();
    wait_child_done(&server);
    assert_aof_is_complete("an AOF that was switched on again", &server);
}

#[test]
fn an_aof_that_is_rewritten_while_a_client_writes_misses_nothing() {
    let server = Server::builder().durable().start();
    for preamble in ["yes", "no"] {
        let set = format!("CONFIG SET aof-use-rdb-preamble {preamble}");
        server.run(&set).ok();
        let writer = Writer::start(&server);
        server.rewrite_aof();
        writer.finish();
        assert_aof_is_complete(&set, &server);
    }
}

#[test]
fn a_replica_that_comes_during_a_save_misses_nothing() {
    let server = Server::start();
    let writer = Writer::start(&server);
    server.run("BGSAVE");
    writer.go_on();
    let replica = server.replica();
    writer.finish();
    assert_follows("a replica beside a save", &replica, &server);
}

#[test]
fn a_replica_that_comes_back_misses_nothing() {
    let server = Server::start();
    let replica = server.replica();
    let writer = Writer::start(&server);
    for _ in 0..3 {
        server.run("CLIENT KILL TYPE replica").int();
        writer.go_on();
    }
    writer.finish();
    assert_follows("a partial resync", &replica, &server);
}

#[test]
fn after_a_restart_new_listeners_miss_nothing() {
    for durable in [true, false] {
        let spec = Server::builder();
        let mut server = if durable { spec.durable() } else { spec }.start();
        Writer::start(&server).finish();
        server.restart();
        let writer = Writer::start(&server);
        let replica = server.replica();
        writer.finish();
        assert_follows(&format!("a replica after a restart, AOF {durable}"), &replica, &server);
        if durable {
            assert_aof_is_complete("the AOF after a restart", &server);
        }
    }
}

#[test]
fn a_promoted_replica_is_listened_to_at_once() {
    let mut primary = Server::start();
    let first = primary.replica();
    let second = primary.replica();
    Writer::start(&primary).finish();
    first.wait_synced(&primary);
    second.wait_synced(&primary);
    primary.kill();
    first.promote();
    let writer = Writer::start(&first);
    second.run(&format!("REPLICAOF 127.0.0.1 {}", first.port())).ok();
    let third = first.replica();
    writer.finish();
    assert_follows("the other replica of the dead primary", &second, &first);
    assert_follows("a new replica", &third, &first);
}

#[test]
fn a_primary_that_became_a_replica_and_primary_again_misses_nothing() {
    let (one, two) = (Server::start(), Server::start());
    Writer::start(&one).finish();
    Writer::start(&two).finish();
    one.follow(&two);
    assert_same("a demoted primary", &two.dataset(), &one.dataset());
    one.promote();
    let writer = Writer::start(&one);
    let replica = one.replica();
    writer.finish();
    assert_follows("after both changes of role", &replica, &one);
}
