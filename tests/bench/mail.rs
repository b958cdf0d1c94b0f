//! Mailboxes against what teams build from streams with a consumer group, and from lists, on the
//! same server in the same run.
//!
//! All peers keep a message until it is acknowledged, so that it survives its receiver: streams in
//! their pending entries, lists in a second list from which it has to be removed by value.

use std::time::Instant;

use crate::harness::{wait_until, Client, Reply, Server};
use crate::load::roomy;
use crate::report::{median, percentile, table};
use crate::Options;

/// One way to pass messages on.
struct Peer {
    name: &'static str,
    send: fn(usize) -> String,
    /// Receives at most this many.
    receive: fn(usize) -> String,
    /// How many commands it takes to receive this many.
    receives: fn(usize) -> usize,
    /// Acknowledges what was received.
    acknowledge: fn(&[Reply]) -> Vec<String>,
    wait: &'static str,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "XADD, XREADGROUP, XACK",
        send: |n| format!("XADD stream * payload message-{n:06}"),
        receive: |count| format!("XREADGROUP GROUP g bob COUNT {count} STREAMS stream >"),
        receives: |_| 1,
        acknowledge: |replies| {
            let entries = replies.iter().flat_map(|reply| reply.array()[0].array()[1].array());
            vec![format!("XACK stream g {}", joined(entries.map(|entry| entry.array()[0].text().to_string())))]
        },
        wait: "XREADGROUP GROUP g bob COUNT 1 BLOCK 0 STREAMS stream >",
    },
    Peer {
        name: "LPUSH, RPOPLPUSH, LREM",
        send: |n| format!("LPUSH list message-{n:06}"),
        receive: |_| "RPOPLPUSH list taken".into(),
        receives: |count| count,
        acknowledge: |replies| replies.iter().map(|reply| format!("LREM taken 1 {}", reply.text())).collect(),
        wait: "BRPOPLPUSH list taken 0",
    },
    Peer {
        name: "LTMC.MSG.SEND, RECV, ACK",
        send: |n| format!("LTMC.MSG.SEND mail ada TO 1 bob message-{n:06}"),
        receive: |count| format!("LTMC.MSG.RECV mail bob COUNT {count} PX 600000"),
        receives: |_| 1,
        acknowledge: |replies| {
            let messages = replies.iter().flat_map(|reply| reply.array());
            vec![format!("LTMC.MSG.ACK mail bob {}", joined(messages.map(|one| one.get("id").int().to_string())))]
        },
        wait: "LTMC.MSG.RECV mail bob PX 600000 BLOCK 0",
    },
];

fn joined(ids: impl Iterator<Item = String>) -> String {
    ids.collect::<Vec<_>>().join(" ")
}

/// Passes messages on in batches for one round. Returns how many a second, and the server's time
/// for each, microseconds.
fn round(server: &Server, client: &mut Client, peer: &Peer, batch: usize, options: &Options) -> (f64, f64) {
    let cpu = |server: &Server| -> f64 {
        let info = server.info("cpu");
        info["used_cpu_user"].parse::<f64>().unwrap_or(0.0) + info["used_cpu_sys"].parse::<f64>().unwrap_or(0.0)
    };
    let (before, started, mut passed) = (cpu(server), Instant::now(), 0);
    while started.elapsed() < options.round_time() {
        let lines: Vec<String> = (passed..passed + batch).map(peer.send).collect();
        client.pipeline(&lines);
        let lines = vec![(peer.receive)(batch); (peer.receives)(batch)];
        let received = client.pipeline(&lines);
        client.pipeline(&(peer.acknowledge)(&received));
        passed += batch;
    }
    let seconds = started.elapsed().as_secs_f64();
    (passed as f64 / seconds, (cpu(server) - before) * 1e6 / passed as f64)
}

/// Messages that are sent, received and acknowledged, one at a time and a hundred at a time.
pub fn passing(options: &Options) {
    for listener in ["nobody listens", "AOF, everysec", "one replica"] {
        let appendonly = if listener.starts_with("AOF") { "yes" } else { "no" };
        let server = roomy().arg("appendonly", appendonly).arg("appendfsync", "everysec").start();
        let _replica = listener.ends_with("replica").then(|| server.replica());
        server.run("XGROUP CREATE stream g $ MKSTREAM").ok();
        let mut client = server.client();
        for batch in [1, 100] {
            let mut rounds: Vec<Vec<(f64, f64)>> = PEERS.iter().map(|_| Vec::new()).collect();
            for turn in 0..=options.rounds() {
                for (peer, results) in PEERS.iter().zip(&mut rounds) {
                    let result = round(&server, &mut client, peer, batch, options);
                    // The first round only warms up.
                    results.extend((turn > 0).then_some(result));
                }
                server.run("XTRIM stream MAXLEN 0").int();
            }
            let row = |at: usize| {
                let ratios = rounds[at].iter().zip(&rounds[0]).map(|(one, yardstick)| one.0 / yardstick.0);
                vec![
                    PEERS[at].name.to_string(),
                    format!("{:.0}", median(rounds[at].iter().map(|round| round.0))),
                    format!("{:.2}", median(ratios)),
                    format!("{:.2}", median(rounds[at].iter().map(|round| round.1))),
                ]
            };
            let rows: Vec<_> = (0..PEERS.len()).map(row).collect();
            let title = format!("messages sent, received and acknowledged, {batch} at a time, {listener}");
            table(&title, &["", "per second", "ratio", "server us each"], &rows);
        }
    }
}

/// From sending to the reply of the client that waits for it.
pub fn hand_off(options: &Options) {
    let server = roomy().start();
    server.run("XGROUP CREATE stream g $ MKSTREAM").ok();
    let (mut sender, mut receiver) = (server.client(), server.client());
    let mut took: Vec<Vec<f64>> = PEERS.iter().map(|_| Vec::new()).collect();
    for n in 0..options.of(2000, 200) {
        for (peer, took) in PEERS.iter().zip(&mut took) {
            receiver.send_line(peer.wait);
            wait_until("it waits", || server.info_int("clients", "blocked_clients") == 1);
            let started = Instant::now();
            sender.send_line(&(peer.send)(n));
            let reply = receiver.recv();
            took.push(started.elapsed().as_secs_f64() * 1e6);
            sender.recv();
            receiver.pipeline(&(peer.acknowledge)(&[reply]));
        }
    }
    let row = |at: usize| {
        let of = |percent: f64| format!("{:.0}", percentile(took[at].iter().copied(), percent));
        vec![PEERS[at].name.to_string(), of(50.0), of(99.0)]
    };
    let rows: Vec<_> = (0..PEERS.len()).map(row).collect();
    table("from sending to the reply of who waits for it, us", &["", "p50", "p99"], &rows);
}
