//! Tasks of a flow against entries of a stream with a consumer group, and against BullMQ's jobs if
//! that is installed (`scripts/bench-peers`), on the same server in one run: adding, and workers
//! that take one task at a time and complete it.
//!
//! The stream does less: no retries, no order but that of arrival, no result, no fence. BullMQ's
//! workers take the next job as they complete one, like `COMPLETE NEXT`; all of them share one Node
//! process, while ours have a thread each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::bullmq::{BullMq, Layout};
use crate::harness::{Client, Reply, Server};
use crate::report::{median, table};
use crate::Options;

const WORKERS: [usize; 3] = [1, 10, 100];
const PAYLOAD: &str = "a-payload-of-some-forty-bytes-as-usual-xx";

/// How the work is handed out and taken.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Stream,
    Flow,
    FlowNext,
    /// With a capability, a priority and a group, ten different ones of each.
    FlowRich,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Stream, "XADD, XREADGROUP, XACK"),
    (Way::Flow, "LTMC.TASK.ADD, CLAIM, COMPLETE"),
    (Way::FlowNext, "LTMC.TASK.ADD, COMPLETE NEXT"),
    (Way::FlowRich, "LTMC.TASK.ADD with CAPS, PRIORITY, GROUP; CLAIM, COMPLETE"),
];

impl Way {
    fn prepare(self, server: &Server) {
        match self {
            Way::Stream => server.run("XGROUP CREATE s g $ MKSTREAM").ok(),
            _ => server.run("LTMC.FLOW.CREATE f").ok(),
        }
    }

    fn add(self, n: usize) -> String {
        match self {
            Way::Stream => format!("XADD s * p {PAYLOAD}"),
            Way::Flow | Way::FlowNext => format!("LTMC.TASK.ADD f * {PAYLOAD}"),
            Way::FlowRich => {
                let kind = n % 10;
                format!("LTMC.TASK.ADD f * {PAYLOAD} CAPS 1 cap{kind} PRIORITY {kind} GROUP g{kind}")
            }
        }
    }

    /// Does tasks until none is left, and returns how many.
    fn work(self, client: &mut Client, name: usize) -> usize {
        let caps: Vec<String> = (0..10).map(|kind| format!("cap{kind}")).collect();
        let caps = if self == Way::FlowRich { format!("CAPS 10 {}", caps.join(" ")) } else { String::new() };
        let (mut done, mut next): (usize, Option<Reply>) = (0, None);
        loop {
            match self {
                Way::Stream => {
                    let reply = client.run(&format!("XREADGROUP GROUP g w{name} COUNT 1 STREAMS s >"));
                    if reply.is_nil() {
                        return done;
                    }
                    let id = reply.array()[0].array()[1].array()[0].array()[0].text().to_string();
                    assert_eq!(client.run(&format!("XACK s g {id}")).int(), 1);
                }
                _ => {
                    let ask = || format!("LTMC.TASK.CLAIM f w{name} {caps}");
                    let reply = next.take().unwrap_or_else(|| client.run(&ask()));
                    let Some(task) = reply.array().first() else { return done };
                    let (id, fence) = (task.get("task").text(), task.get("fence").int());
                    let is_next = if self == Way::FlowNext { "NEXT" } else { "" };
                    let answer = client.run(&format!("LTMC.TASK.COMPLETE f {id} {fence} done {is_next}"));
                    if self == Way::FlowNext {
                        next = Some(answer);
                    } else {
                        answer.ok();
                    }
                }
            }
            done += 1;
        }
    }
}

/// Tasks a second: added in batches over one connection, and done by this many workers.
fn run(server: &Server, way: Way, tasks: usize, workers: usize) -> (f64, f64) {
    way.prepare(server);
    let mut client = server.client();
    let begun = Instant::now();
    for chunk in (0..tasks).collect::<Vec<_>>().chunks(200) {
        let lines: Vec<String> = chunk.iter().map(|n| way.add(*n)).collect();
        assert!(client.pipeline(&lines).iter().all(|reply| !reply.is_error()));
    }
    let added = tasks as f64 / begun.elapsed().as_secs_f64();
    let done = AtomicUsize::new(0);
    let clients = server.clients(workers);
    let begun = Instant::now();
    thread::scope(|scope| {
        for (name, mut client) in clients.into_iter().enumerate() {
            let done = &done;
            scope.spawn(move || done.fetch_add(way.work(&mut client, name), Ordering::Relaxed));
        }
    });
    assert_eq!(done.into_inner(), tasks, "each task was done once");
    (added, tasks as f64 / begun.elapsed().as_secs_f64())
}

/// Hands out a number of tasks to a number of workers on a server. Returns how many a second were
/// added, and done.
type Candidate<'a> = (&'static str, Box<dyn Fn(&Server, usize, usize) -> (f64, f64) + 'a>);

/// All ways, the baseline first.
fn candidates(bullmq: Option<&BullMq>) -> Vec<Candidate<'_>> {
    let ours = WAYS.iter().map(|(way, name)| -> Candidate {
        (name, Box::new(|server, tasks, workers| run(server, *way, tasks, workers)))
    });
    let layouts =
        [(Layout::Workers, "BullMQ, a Worker each"), (Layout::Concurrency, "BullMQ, concurrency of one Worker")];
    let peers = bullmq.into_iter().flat_map(|bullmq| {
        layouts.map(|(layout, name)| -> Candidate {
            (name, Box::new(move |server, tasks, workers| bullmq.run(server, layout, tasks, workers, PAYLOAD)))
        })
    });
    ours.chain(peers).collect()
}

/// Adding, taking and completing with 1, 10 and 100 workers.
pub fn queues(options: &Options) {
    let (tasks, rounds) = (options.of(20_000, 4_000), options.of(5, 3));
    let bullmq = BullMq::find();
    if bullmq.is_none() {
        println!("\nBullMQ is not installed (scripts/bench-peers installs it): not measured beside flows");
    }
    let (server, candidates) = (Server::start(), candidates(bullmq.as_ref()));
    for workers in WORKERS {
        let mut results: Vec<Vec<(f64, f64)>> = vec![Vec::new(); candidates.len()];
        for _ in 0..rounds {
            for (at, (_, measure)) in candidates.iter().enumerate() {
                // What the one before left behind must not slow this one down.
                server.run("FLUSHALL").ok();
                results[at].push(measure(&server, tasks, workers));
            }
        }
        let row = |at: usize| {
            let ratio = |of: fn(&(f64, f64)) -> f64| {
                median(results[at].iter().zip(&results[0]).map(|(one, first)| of(one) / of(first)))
            };
            vec![
                candidates[at].0.to_string(),
                format!("{:.0}", median(results[at].iter().map(|(added, _)| *added))),
                format!("{:.2}", ratio(|(added, _)| *added)),
                format!("{:.0}", median(results[at].iter().map(|(_, done)| *done))),
                format!("{:.2}", ratio(|(_, done)| *done)),
            ]
        };
        table(
            &format!("tasks a second, {workers} workers, {tasks} tasks"),
            &["", "added", "ratio", "done", "ratio"],
            &(0..candidates.len()).map(row).collect::<Vec<_>>(),
        );
    }
}

/// The memory of a waiting task, against that of an entry of a stream.
pub fn memory(options: &Options) {
    let tasks = options.of(200_000, 20_000);
    let mut rows = Vec::new();
    for (way, name) in WAYS.iter().filter(|(way, _)| *way != Way::FlowNext) {
        let server = Server::start();
        way.prepare(&server);
        let before = server.info_int("memory", "used_memory");
        let mut client = server.client();
        for chunk in (0..tasks).collect::<Vec<_>>().chunks(500) {
            client.pipeline(&chunk.iter().map(|n| way.add(*n)).collect::<Vec<_>>());
        }
        let each = (server.info_int("memory", "used_memory") - before) as f64 / tasks as f64;
        rows.push(vec![name.to_string(), format!("{each:.0}")]);
    }
    table(&format!("bytes a waiting task takes, {tasks} tasks"), &["", "used_memory"], &rows);
}
