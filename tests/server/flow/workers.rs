//! Fifty workers over their own connections, some of which are killed at random. Every task has
//! exactly one accepted result.

use super::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

const WORKERS: usize = 50;
const TASKS: usize = 1_500;

/// A small generator, so that a run is known by its seed.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What the workers were told: the accepted results by task.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<BTreeMap<String, Vec<String>>>,
    lost: AtomicUsize,
    over: AtomicBool,
}

/// Works until the flow has ended. Now and then the worker dies: with its task, before it was told
/// of one, or after it sent its result.
fn worker(port: u16, name: usize, ledger: &Ledger) {
    let mut seed = 0x9E37_79B9 + name as u64 * 7919;
    let mut client = Client::connect(port);
    while !ledger.over.load(Ordering::Relaxed) {
        let dies = next(&mut seed) % 12;
        client.send_line(&format!("LTMC.TASK.CLAIM f w{name} PX 150 BLOCK 50"));
        if dies == 0 {
            client = Client::connect(port);
            continue;
        }
        let reply = client.recv();
        if reply.is_nil() || reply.array().is_empty() {
            continue;
        }
        let (task, fence) = claimed(&reply);
        if dies == 1 {
            ledger.lost.fetch_add(1, Ordering::Relaxed);
            client = Client::connect(port);
            continue;
        }
        let result = format!("{name}-{fence}");
        let call = match dies {
            2 => format!("LTMC.TASK.FAIL f {task} {fence} unlucky"),
            _ => format!("LTMC.TASK.COMPLETE f {task} {fence} {result}"),
        };
        client.send_line(&call);
        if dies == 3 {
            // It asks again over a new connection, not knowing whether it was heard.
            client = Client::connect(port);
            client.send_line(&call);
        }
        let answer = client.recv();
        if matches!(&answer, Reply::Simple(text) if text == "OK") {
            ledger.accepted.lock().expect("no worker panics").entry(task).or_default().push(result);
        } else {
            assert!(!answer.is_error() || answer.error_code() == "STALE", "{call}: {answer:?}");
        }
    }
}

#[test]
fn fifty_workers_some_of_which_die_give_every_task_exactly_one_result() {
    let server = Server::builder().durable().start();
    let replica = server.replica();
    server.run("LTMC.FLOW.CREATE f KEEP 100000 GROUPMAX 5").ok();
    let lines: Vec<String> = (0..TASKS)
        .map(|n| {
            let after = if n % 3 == 2 { format!("AFTER 2 t{} t{} ON SUCCESS", n - 1, n - 2) } else { String::new() };
            let group = if n % 10 == 0 { "GROUP g" } else { "" };
            format!("LTMC.TASK.ADD f t{n} p{n} RETRIES 1000 BACKOFF FIXED 0 {after} {group}")
        })
        .collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| !reply.is_error()));
    let ledger = Ledger::default();
    std::thread::scope(|scope| {
        for name in 0..WORKERS {
            let (port, ledger) = (server.port(), &ledger);
            scope.spawn(move || worker(port, name, ledger));
        }
        let mut client = server.client();
        client.send_line("LTMC.TASK.WAIT f BLOCK 0");
        let reply = client.recv_within(120_000).expect("the flow comes to its end");
        ledger.over.store(true, Ordering::Relaxed);
        assert_eq!(reply.get("state").text(), "succeeded");
    });
    assert!(ledger.lost.load(Ordering::Relaxed) > 10, "some have died with a task");
    let accepted = ledger.accepted.into_inner().expect("no worker panics");
    for n in 0..TASKS {
        let task = format!("t{n}");
        let shown = shown(&server, &task);
        let result = shown.get("result").text().to_string();
        assert_eq!(result.split('-').next_back(), Some(shown.get("fence").int().to_string().as_str()));
        for told in accepted.get(&task).into_iter().flatten() {
            assert_eq!(*told, result, "{task} has one result");
        }
    }
    assert_eq!(info(&server, "succeeded"), TASKS as i64);
    assert_eq!(server.info_int("ltmc", "ltmc_event_task_completed"), TASKS as i64);
    crate::waiting::assert_idle(&server);
    replica.wait_synced(&server);
    assert_persisted_everywhere(&server, &[&replica]);
}
