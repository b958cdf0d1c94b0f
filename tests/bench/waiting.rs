//! What it takes to get a lock that another client has.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Server};
use crate::report::{median, percentile, table};
use crate::Options;

/// How often a client that polls looks again; what client libraries usually do.
const POLL: Duration = Duration::from_millis(10);

/// From the release of a lock to the answer of the client that waited for it.
pub fn hand_off(options: &Options) {
    let server = Server::start();
    let count = options.of(2000, 200);
    let mut pings = Vec::new();
    let mut hand_offs = Vec::new();
    let mut pair = [server.client(), server.client()];
    pair[0].run("LTMC.LOCK lock agent-0 PX 600000");
    for turn in 0..count {
        let (holder, waiter) = (turn % 2, (turn + 1) % 2);
        pings.push(micros(|| drop(pair[holder].run("PING"))));
        pair[waiter].send_line(&format!("LTMC.LOCK lock agent-{waiter} PX 600000 BLOCK 0"));
        server.wait_blocked(1);
        hand_offs.push(micros(|| {
            pair[holder].send_line(&format!("LTMC.UNLOCK lock agent-{holder}"));
            pair[waiter].recv();
        }));
        pair[holder].recv();
    }
    let polls: Vec<f64> = (0..options.of(200, 20)).map(|turn| polled_hand_off(&server, turn as u32)).collect();
    let row = |name: &str, values: &[f64]| {
        vec![
            name.to_string(),
            format!("{:.0}", median(values.iter().copied())),
            format!("{:.0}", percentile(values.iter().copied(), 99.0)),
        ]
    };
    table(
        "from the release to the waiter's answer, microseconds",
        &["", "p50", "p99"],
        &[
            row("PING round trip", &pings),
            row("LTMC.UNLOCK to the waiter's reply", &hand_offs),
            row("DEL to a client that polls SET NX every 10 ms", &polls),
        ],
    );
}

fn micros(action: impl FnOnce()) -> f64 {
    let started = Instant::now();
    action();
    started.elapsed().as_secs_f64() * 1e6
}

fn polled_hand_off(server: &Server, turn: u32) -> f64 {
    let mut holder = server.client();
    holder.run("SET polled holder PX 600000");
    let mut poller = server.client();
    let waits = thread::spawn(move || {
        poll_for(&mut poller, "polled");
        let got = Instant::now();
        poller.run("DEL polled");
        got
    });
    // It is released at another point of the interval each time.
    thread::sleep(POLL + POLL * (turn * 37 % 100) / 100);
    let released = Instant::now();
    holder.run("DEL polled");
    let got = waits.join().expect("the poller gets the lock");
    got.saturating_duration_since(released).as_secs_f64() * 1e6
}

fn poll_for(client: &mut Client, key: &str) {
    let line = format!("SET {key} me NX PX 600000");
    while client.run(&line).is_nil() {
        thread::sleep(POLL);
    }
}

/// Many clients want one lock at the same time, and each releases it as soon as it has it. The time
/// until all have had it.
pub fn herd(options: &Options) {
    let waiters = options.of(1000, 100);
    let server = Server::builder().arg("maxclients", waiters + 100).start();
    let mut rows = Vec::new();
    let mut add = |name: &str, seconds: Vec<f64>| {
        let total = median(seconds);
        rows.push(vec![
            name.to_string(),
            format!("{:.0}", total * 1e3),
            format!("{:.0}", total * 1e6 / waiters as f64),
        ]);
    };
    let rounds = options.of(5, 1);
    add("LTMC.LOCK BLOCK", (0..rounds).map(|_| blocked_herd(&server, waiters)).collect());
    let rounds = options.of(3, 1);
    add("SET NX every 10 ms", (0..rounds).map(|_| polling_herd(&server, waiters)).collect());
    table(&format!("{waiters} clients take one lock in turn"), &["", "ms for all", "us each"], &rows);
}

fn blocked_herd(server: &Server, waiters: usize) -> f64 {
    let mut holder = server.client();
    holder.run("LTMC.LOCK herd holder PX 600000");
    let mut clients = server.clients(waiters);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_line(&format!("LTMC.LOCK herd agent-{index} PX 600000 BLOCK 0"));
    }
    server.wait_blocked(waiters);
    // The client that has the lock sends its UNLOCK at once. The replies come in the order of the
    // queue, which is nearly that of sending.
    let queue = server.run("LTMC.LOCK.INFO herd");
    let order: Vec<usize> = queue
        .get("waiters")
        .array()
        .iter()
        .filter_map(|waiter| waiter.get("owner").text().strip_prefix("agent-")?.parse().ok())
        .collect();
    let started = Instant::now();
    holder.send_line("LTMC.UNLOCK herd holder");
    for &index in &order {
        clients[index].recv();
        clients[index].send_line(&format!("LTMC.UNLOCK herd agent-{index}"));
    }
    let last = *order.last().expect("somebody waited");
    clients[last].recv();
    started.elapsed().as_secs_f64()
}

fn polling_herd(server: &Server, waiters: usize) -> f64 {
    let mut holder = server.client();
    holder.run("SET herd-polled holder PX 600000");
    let pollers: Vec<_> = server
        .clients(waiters)
        .into_iter()
        .map(|mut client| {
            thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                poll_for(&mut client, "herd-polled");
                client.run("DEL herd-polled");
            })
        })
        .collect();
    // All of them are polling by then. The exact moment does not matter.
    thread::sleep(POLL * 5);
    let started = Instant::now();
    holder.run("DEL herd-polled");
    for poller in pollers {
        poller.expect("a thread can be started").join().expect("a poller gets the lock");
    }
    started.elapsed().as_secs_f64()
}
