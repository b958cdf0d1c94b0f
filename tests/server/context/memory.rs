//! What `MEMORY USAGE` says of contexts is about what they take.

use super::documents::Dice;
use crate::harness::*;
use serde_json::{json, Map, Value};

/// A document of about this many bytes of text.
type Make = fn(usize) -> Value;

fn small_objects(bytes: usize) -> Value {
    let one = |n| json!({"id": n, "name": format!("n{n}"), "ok": true, "at": {"x": n, "y": 1.5}});
    json!({ "items": (0..bytes / 60).map(one).collect::<Vec<_>>() })
}

fn long_texts(bytes: usize) -> Value {
    let texts = (0..bytes.div_ceil(1000)).map(|n| (format!("text-{n}"), json!("x".repeat(bytes.min(1000)))));
    Value::Object(texts.collect::<Map<_, _>>())
}

fn numbers(bytes: usize) -> Value {
    let mut dice = Dice(5);
    json!((0..bytes / 7).map(|_| dice.below(1_000_000)).collect::<Vec<_>>())
}

fn one_wide_object(bytes: usize) -> Value {
    let mut dice = Dice(7);
    let members = (0..bytes / 20).map(|n| (format!("member-{}", dice.below(1_000_000)), json!(n)));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Bytes in use, without those that clients take.
#[track_caller]
fn used(server: &Server) -> i64 {
    server.run("MEMORY PURGE");
    wait_until("nothing is to be freed", || server.info_int("memory", "lazyfree_pending_objects") == 0);
    let memory = server.info("memory");
    let number = |name: &str| memory[name].parse::<i64>().expect("a number");
    number("used_memory") - number("mem_clients_normal")
}

/// What contexts with this document take by the server's count and by their own.
#[track_caller]
fn measured(server: &Server, document: &str, keys: usize) -> (i64, i64) {
    // The server's own tables have room for them then.
    for n in 0..keys {
        server.run(&format!("LTMC.CTX.CREATE c{n}")).int();
    }
    server.run("FLUSHALL SYNC").ok();
    let before = used(server);
    let mut client = server.client();
    for n in 0..keys {
        client.cmd(&["LTMC.CTX.CREATE", &format!("c{n}"), "DOC", document]).int();
    }
    client.close();
    let taken = used(server) - before;
    let counted = (0..keys).map(|n| server.run(&format!("MEMORY USAGE c{n}")).int()).sum();
    server.run("FLUSHALL SYNC").ok();
    (taken, counted)
}

#[test]
fn the_memory_of_a_context_is_about_what_the_server_uses_for_it() {
    // Threads would free what was there before some time later.
    let server = Server::builder()
        .arg("ltmc.context-values-max", 1_000_000)
        .arg("ltmc.context-bytes-max", 4_000_000)
        .arg("ltmc.worker-threads", 0)
        .start();
    let kinds: [(&str, Make); 4] = [
        ("small objects", small_objects),
        ("long texts", long_texts),
        ("numbers", numbers),
        ("a wide object", one_wide_object),
    ];
    for (kind, make) in kinds {
        for (bytes, keys) in [(1_000, 100), (100_000, 8), (1_000_000, 3)] {
            let (taken, counted) = measured(&server, &make(bytes).to_string(), keys);
            let ratio = counted as f64 / taken as f64;
            println!("{kind} of {bytes}: {counted} counted, {taken} taken, {ratio:.2}");
            assert!((0.7..=1.4).contains(&ratio), "{kind} of {bytes} bytes: {counted} counted, {taken} taken");
        }
    }
}
