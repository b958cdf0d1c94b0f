//! Sessions and contexts: what survives, what replicas get, and watching them.

use crate::harness::*;
use crate::waiting::*;
use crate::watch::news::*;
use serde_json::Value;

mod copies;
mod durability;
mod keys;
mod nodes;
mod retries;
mod rights;
mod scripts;
mod stream;
mod watch;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;

/// Runs lines, each of which has to be accepted.
#[track_caller]
fn run_all(server: &Server, lines: &[&str]) {
    lines.iter().for_each(|line| drop(run(server, line)));
}

/// The document of a context, as text.
#[track_caller]
fn doc(server: &Server, key: &str) -> String {
    run(server, &format!("LTMC.CTX.GET {key}")).get("doc").text().to_string()
}

#[track_caller]
fn field(server: &Server, key: &str, name: &str) -> Option<String> {
    let reply = server.run(&format!("LTMC.SESSION.GET {key} {name}"));
    (!reply.is_nil()).then(|| reply.text().to_string())
}

/// How often an event has happened on a server.
#[track_caller]
fn happened(server: &Server, event: &str) -> i64 {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    server.info("ltmc").get(&field).map_or(0, |text| text.parse().unwrap_or(-1))
}
