//! Real servers for tests: start them, talk to them, break them, and compare what they hold.
//!
//! * [`Server`] is one server process with its own port and folder. It dies and is cleaned up when
//!   dropped.
//! * [`Client`] is one connection with its own RESP codec, so that one thread can drive many
//!   blocked clients.
//! * [`assert_persisted_everywhere`] takes a data set through every way it can be copied or
//!   reloaded.
//! * [`replication_stream`] shows what a write sends to replicas.
//! * [`Cluster`] starts a small cluster and moves slots.
//! * [`Certificates`] make a server speak only TLS; all of the above then do too.
//!
//! Nothing in here waits for a time to pass: it waits for a condition, with a limit. Nothing links
//! the `ltmc` library, whose allocator only works inside a server. Benches include this folder too,
//! by `#[path]`.
#![allow(dead_code, unused_imports)] // Each program that includes the harness uses its own part of it.

mod client;
mod cluster;
mod persistence;
mod process;
mod replication;
mod reply;
#[cfg(test)]
mod selftest;
mod server;
mod shapes;
mod tls;

pub use client::Client;
pub use cluster::Cluster;
pub use persistence::{assert_copied, assert_persisted_everywhere, assert_same, Dataset};
pub use process::{module_path, servers};
pub use replication::{replication_stream, show_stream, ReplicationTap, Stream};
pub use reply::{encode, Reply};
pub use server::{Builder, Server};
pub use shapes::{check_reply, expect_forged_values, reference};
pub use tls::Certificates;

use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up: far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition. The first looks come sooner, since most conditions hold almost
/// at once.
const POLL_MAX: Duration = Duration::from_millis(8);

/// The reply to a command that has to be accepted, and to return a value.
#[track_caller]
pub fn run(server: &Server, line: &str) -> Reply {
    let reply = server.run(line);
    assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
    reply
}

/// Waits until `cond` holds. Panics with `what` if it does not within [`PATIENCE`]; then the
/// servers of the test print their logs.
#[track_caller]
pub fn wait_until(what: &str, cond: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, cond), "waited {PATIENCE:?} in vain until {what}");
}

/// Whether `cond` comes to hold within `limit`.
pub fn holds_within(limit: Duration, mut cond: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    let mut pause = Duration::from_micros(125);
    loop {
        if cond() {
            return true;
        }
        if started.elapsed() > limit {
            return false;
        }
        std::thread::sleep(pause);
        pause = POLL_MAX.min(pause * 2);
    }
}
