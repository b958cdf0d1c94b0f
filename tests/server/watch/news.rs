//! What `LTMC.WATCH` tells, as tests of every service read it.

use crate::harness::{Client, Reply, Server};
use serde_json::Value;

/// The revision of a key and the events that a watcher is told.
#[track_caller]
pub fn news(part: &Reply) -> (i64, Vec<Value>) {
    let [revision, events] = part.array() else { panic!("not news: {part:?}") };
    let parse = |text: &String| serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
    (revision.int(), events.texts().iter().map(parse).collect())
}

/// The same of a reply about one key.
#[track_caller]
pub fn only_news(reply: &Reply) -> (i64, Vec<Value>) {
    assert_eq!(reply.array().len(), 1, "{reply:?}");
    news(&reply.array()[0])
}

/// The revision of a key whose watcher is too far behind, and the oldest revision that is kept.
#[track_caller]
pub fn compacted(part: &Reply) -> (i64, i64) {
    let [revision, word, oldest] = part.array() else { panic!("not compacted: {part:?}") };
    assert_eq!(word.text(), "COMPACTED");
    (revision.int(), oldest.int())
}

/// All events of a key.
#[track_caller]
pub fn story_of(server: &Server, key: &str) -> Vec<Value> {
    only_news(&server.run(&format!("LTMC.WATCH 1 {key} SINCE 0"))).1
}

/// The revision of `key`; 0 if there is none.
#[track_caller]
pub fn revision(server: &Server, key: &str) -> i64 {
    only_news(&server.run(&format!("LTMC.WATCH 1 {key} SINCE $"))).0
}

pub fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap_or("nameless")).collect()
}

/// A client that waits. `what` is the command before BLOCK.
#[track_caller]
pub fn watcher_of(server: &Server, what: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| format!("LTMC.WATCH {what} BLOCK 0"));
    client
}
