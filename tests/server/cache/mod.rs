//! The tool cache on real servers.

use crate::harness::*;
use crate::waiting::*;

mod answers;
mod bad_input;
mod bounds;
mod copies;
mod durability;
mod flights;
mod freshness;
mod invalidation;
mod nodes;
mod payloads;
mod rights;
mod shown;
mod waiting;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;
/// The default lease of a ticket.
const LEASE_MS: i64 = 30_000;

/// What a cache answers to `what`: the words behind the name of the command.
#[track_caller]
fn get(server: &Server, what: &str) -> Reply {
    let reply = server.run(&format!("LTMC.CACHE.GET {what}"));
    assert!(!reply.is_error() && !reply.is_nil(), "{what}: {reply:?}");
    reply
}

#[track_caller]
fn put(server: &Server, what: &str) {
    server.run(&format!("LTMC.CACHE.PUT {what}")).ok();
}

/// The status of an answer, and the value if there is one.
#[track_caller]
fn status_and_value(reply: &Reply) -> (String, Option<String>) {
    let value = reply.get("value");
    (reply.get("status").text().into(), (!value.is_nil()).then(|| value.text().into()))
}

/// Status and value of what a cache answers.
#[track_caller]
fn found(server: &Server, what: &str) -> (String, Option<String>) {
    status_and_value(&get(server, what))
}

/// Such an answer, as tests write it.
fn answer(status: &str, value: &str) -> (String, Option<String>) {
    (status.into(), Some(value.into()))
}

/// The answer that there is none.
fn miss() -> (String, Option<String>) {
    ("MISS".into(), None)
}

/// The ticket in an answer.
#[track_caller]
fn ticket_in(reply: &Reply) -> Option<i64> {
    let ticket = reply.get("ticket");
    (!ticket.is_nil()).then(|| ticket.int())
}

/// The ticket in the reply to a client that is asked to compute.
#[track_caller]
fn promoted(reply: &Reply) -> i64 {
    assert_eq!(status_and_value(reply), miss(), "{reply:?}");
    ticket_in(reply).unwrap_or_else(|| panic!("no ticket in {reply:?}"))
}

/// A ticket for a call without an answer.
#[track_caller]
fn ticket(server: &Server, what: &str) -> i64 {
    promoted(&get(server, what))
}

/// A field of the statistics of cache `c`.
#[track_caller]
fn stat(server: &Server, name: &str) -> i64 {
    server.run("LTMC.CACHE.STATS c").get(name).int()
}

/// A client that waits for the answer of a call.
#[track_caller]
fn waiter(server: &Server, what: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| format!("LTMC.CACHE.GET {what} BLOCK 0"));
    client
}

#[track_caller]
fn put_is_stale(server: &Server, what: &str) {
    let reply = server.run(&format!("LTMC.CACHE.PUT {what}"));
    assert_eq!(reply.error_code(), "STALE", "{what}: {reply:?}");
}

/// How often an event has happened on a server.
#[track_caller]
fn happened(server: &Server, event: &str) -> i64 {
    let field = format!("ltmc_event_{}", event.replace('.', "_"));
    server.info("ltmc").get(&field).map_or(0, |text| text.parse().unwrap_or(-1))
}

/// The numbers of the entries that a whole scan of cache `c` shows: their arguments are numbers.
#[track_caller]
fn scanned(server: &Server, count: usize) -> Vec<i64> {
    let (mut cursor, mut numbers) = ("0".to_string(), Vec::new());
    loop {
        let reply = server.run(&format!("LTMC.CACHE.SCAN c {cursor} COUNT {count}"));
        let [next, entries] = reply.array() else { panic!("no cursor and list: {reply:?}") };
        numbers.extend(entries.array().iter().map(|entry| entry.get("args").text().parse::<i64>().unwrap_or(-1)));
        cursor = next.text().to_string();
        if cursor == "0" {
            return numbers;
        }
    }
}

/// Sends one line for each number, in writes of two thousand; each has to be accepted.
#[track_caller]
fn send_all(server: &Server, numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) {
    let lines: Vec<String> = numbers.map(line).collect();
    let mut client = server.client();
    for part in lines.chunks(2000) {
        let replies = client.pipeline(part);
        let refused = replies.iter().find(|reply| reply.is_error());
        assert!(refused.is_none(), "{refused:?}");
    }
}
