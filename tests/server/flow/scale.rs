//! A flow with very many tasks. `LTMC_TASKS=1000000` runs it with as many.

use super::*;

fn tasks() -> usize {
    std::env::var("LTMC_TASKS").ok().and_then(|text| text.parse().ok()).unwrap_or(30_000)
}

/// Sends all lines, a thousand at a time.
#[track_caller]
fn send_all(client: &mut Client, count: usize, line: impl Fn(usize) -> String) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(count);
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        replies.extend(client.pipeline(&chunk.iter().map(|n| line(*n)).collect::<Vec<_>>()));
    }
    replies
}

/// The server's own time for a command, microseconds a call.
fn usec_per_call(server: &Server, command: &str) -> f64 {
    let stats = server.info("commandstats");
    let named = stats.iter().find(|(name, _)| name.eq_ignore_ascii_case(&format!("cmdstat_{command}")));
    let (_, line) = named.unwrap_or_else(|| panic!("no {command} in {stats:?}"));
    let field = line.split(',').find_map(|field| field.strip_prefix("usec_per_call="));
    field.and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn adding_claiming_and_completing_cost_the_same_however_many_there_are() {
    let server = Server::start();
    let (mut client, count) = (server.client(), tasks());
    server.run("CONFIG SET ltmc.flow-tasks-max 100000000").ok();
    server.run("LTMC.FLOW.CREATE f KEEP 100000000").ok();
    let mut costs: Vec<[f64; 3]> = Vec::new();
    for total in [1_000, count] {
        let done = server.run("LTMC.FLOW.INFO f").get("total_added").int() as usize;
        // Everything in the way waits: for a capability, for a parent, for its time.
        send_all(&mut client, total - done, |n| {
            let n = n + done;
            let more = match n % 4 {
                0 => format!("CAPS 1 never{}", n % 50),
                1 => format!("DELAY 900000{n}"),
                2 if n > 10 => format!("AFTER 1 t{}", n - 1),
                _ => String::new(),
            };
            format!("LTMC.TASK.ADD f t{n} payload-{n} {more}")
        });
        server.run("CONFIG RESETSTAT").ok();
        let added = send_all(&mut client, 200, |n| format!("LTMC.TASK.ADD f x{total}-{n} p"));
        assert!(added.iter().all(|reply| !reply.is_error()));
        for _ in 0..200 {
            let (task, fence) = claimed(&client.run(&format!("LTMC.TASK.CLAIM f w PX {LEASE_MS}")));
            client.run(&format!("LTMC.TASK.COMPLETE f {task} {fence} r")).ok();
        }
        costs.push(["ltmc.task.add", "ltmc.task.claim", "ltmc.task.complete"].map(|name| usec_per_call(&server, name)));
    }
    eprintln!("us a call with 1000 tasks and with {count}: {costs:?}");
    for (few, many) in costs[0].iter().zip(costs[1]) {
        assert!(many < few * 12.0 + 60.0, "{costs:?}");
    }
    assert_eq!(info(&server, "tasks"), count as i64 + 200);
}

#[test]
fn the_end_of_one_that_all_wait_for_does_not_stop_the_server() {
    let server = Server::start();
    let (mut client, count) = (server.client(), tasks());
    server.run("CONFIG SET ltmc.flow-tasks-max 100000000").ok();
    server.run("LTMC.FLOW.CREATE f KEEP 100000000").ok();
    add(&server, "root", "");
    send_all(&mut client, count, |n| format!("LTMC.TASK.ADD f t{n} p AFTER 1 root"));
    let fence = fence_of(&server, "root");
    client.send_line(&format!("LTMC.TASK.FAIL f root {fence} x DEAD"));
    assert_eq!(client.recv().text(), "DEAD");
    let mut slowest = std::time::Duration::ZERO;
    while client.run("LTMC.FLOW.INFO f").get("total_skipped").int() < count as i64 {
        let started = std::time::Instant::now();
        client.run("PING");
        slowest = slowest.max(started.elapsed());
    }
    eprintln!("slowest PING meanwhile: {slowest:?}");
    assert_eq!(info(&server, "progress"), 100);
}
