//! Chunk buffers: what their commands do, who holds what, how much room they take, and what
//! survives.

use crate::harness::*;
use crate::waiting::set_clock;
use serde_json::Value;

mod bad_input;
mod big;
mod commands;
mod copies;
mod durability;
mod holds;

mod nodes;
mod sizes;

/// A time that does not come within a test.
const FAR_MS: i64 = 31_536_000_000;

/// Puts bytes and returns the version.
#[track_caller]
fn put(server: &Server, id: &str, data: &[u8]) -> i64 {
    let reply = server.cmd(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", id.as_bytes(), data]);
    assert!(!reply.is_error(), "{id}: {reply:?}");
    reply.array()[1].int()
}

/// What can be read of a chunk.
#[track_caller]
fn read(server: &Server, id: &str) -> Option<Vec<u8>> {
    let reply = server.cmd(&["LTMC.CHUNK.READ", "b", id]);
    (!reply.is_nil()).then(|| reply.bytes().to_vec())
}

#[track_caller]
fn info(server: &Server, id: &str) -> Reply {
    run(server, &format!("LTMC.CHUNK.INFO b {id}"))
}

#[track_caller]
fn stat(server: &Server, name: &str) -> i64 {
    run(server, "LTMC.CHUNK.STATS b").get(name).int()
}

#[track_caller]
fn ids(server: &Server) -> Vec<String> {
    server.run("LTMC.CHUNK.LIST b").texts()
}

/// The names of the events of a buffer, with the whole of each.
#[track_caller]
fn story(server: &Server) -> Vec<(String, Value)> {
    let news = server.run("LTMC.WATCH 1 b SINCE 0");
    let parts = news.array()[0].array();
    let parse = |text: &String| serde_json::from_str::<Value>(text).expect("it is JSON");
    let events = parts[1].texts();
    events.iter().map(parse).map(|event| (event["event"].as_str().expect("a name").to_string(), event)).collect()
}

/// Bytes that differ for every number.
fn content(n: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![(n % 251) as u8; bytes];
    let name = n.to_le_bytes();
    let len = name.len().min(bytes);
    data[..len].copy_from_slice(&name[..len]);
    data
}

/// Puts `count` chunks of `bytes` bytes, in pipelines.
#[track_caller]
fn fill(server: &Server, count: u64, bytes: usize) {
    let mut client = server.client();
    let in_turn = ((8 << 20) / bytes as u64).clamp(1, 512);
    for first in (0..count).step_by(in_turn as usize) {
        let last = (first + in_turn).min(count);
        for n in first..last {
            client.send(&[b"LTMC.CHUNK.PUT".as_slice(), b"b", format!("c{n}").as_bytes(), &content(n, bytes)]);
        }
        for n in first..last {
            let reply = client.recv();
            assert!(!reply.is_error(), "c{n}: {reply:?}");
        }
    }
}
