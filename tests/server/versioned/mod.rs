//! Sessions and contexts: what survives, what replicas get, and watching them.

use crate::harness::*;
use crate::waiting::*;
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

/// The revision of `key` and its events after `since`.
#[track_caller]
fn news(part: &Reply) -> (i64, Vec<Value>) {
    let [revision, events] = part.array() else { panic!("not news: {part:?}") };
    let parse = |text: &String| serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
    (revision.int(), events.texts().iter().map(parse).collect())
}

/// The same of a reply about one key.
#[track_caller]
fn only_news(reply: &Reply) -> (i64, Vec<Value>) {
    assert_eq!(reply.array().len(), 1, "{reply:?}");
    news(&reply.array()[0])
}

/// The revision of a key whose watcher is too far behind, and the oldest revision that is kept.
#[track_caller]
fn compacted(reply: &Reply) -> (i64, i64) {
    let [revision, word, oldest] = reply.array()[0].array() else { panic!("not compacted: {reply:?}") };
    assert_eq!(word.text(), "COMPACTED");
    (revision.int(), oldest.int())
}

/// Everything that is known of a key.
#[track_caller]
fn story(server: &Server, key: &str) -> Vec<Value> {
    only_news(&server.run(&format!("LTMC.WATCH 1 {key} SINCE 0"))).1
}

/// The revision of `key`; 0 if there is none.
#[track_caller]
fn revision(server: &Server, key: &str) -> i64 {
    only_news(&server.run(&format!("LTMC.WATCH 1 {key} SINCE $"))).0
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap_or("nameless")).collect()
}

/// A client that waits. `what` is the command before BLOCK.
#[track_caller]
fn watcher_of(server: &Server, what: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| format!("LTMC.WATCH {what} BLOCK 0"));
    client
}

/// How often an event has happened on a server.
#[track_caller]
fn happened(server: &Server, event: &str) -> i64 {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    server.info("ltmc").get(&field).map_or(0, |text| text.parse().unwrap_or(-1))
}
