//! A thousand clients wait for claims at once. One thread drives them all.

use super::*;
use std::collections::BTreeSet;

const CROWD: usize = 1000;

fn crowd() -> (Server, Vec<Client>) {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let clients = server.clients(CROWD);
    (server, clients)
}

/// Lets all begin to wait, each sending its line in one go. Their order in the line is left open.
#[track_caller]
fn all_wait(server: &Server, clients: &mut [Client], line: impl Fn(usize) -> String) {
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_line(&line(index));
    }
    server.wait_blocked(clients.len());
}

#[test]
fn a_thousand_waiters_are_served_once_each() {
    let (server, mut clients) = crowd();
    all_wait(&server, &mut clients, |n| format!("LTMC.AGENT.CLAIM r PX 600000 REF w{n} BLOCK 0"));
    assert_eq!(waiting(&server), CROWD as i64);
    // Some are served by agents that come, the others by what those release.
    for agent in ["a", "b", "c"] {
        register(&server, agent, "CAPACITY 100");
    }
    let mut left: Vec<usize> = (0..CROWD).collect();
    let mut fences = BTreeSet::new();
    while !left.is_empty() {
        let mut served = Vec::new();
        let free = |agent: &&str| server.run(&format!("LTMC.AGENT.GET r {agent}")).get("free").int();
        let all_given = || ["a", "b", "c"].iter().map(free).sum::<i64>() == 300 - left.len().min(300) as i64;
        wait_until("all that is free is given away", all_given);
        for agent in ["a", "b", "c"] {
            let shown = server.run(&format!("LTMC.AGENT.GET r {agent}"));
            for claim in shown.get("claims").array() {
                let number: usize = claim.get("ref").text()[1..].parse().expect("a number");
                assert_eq!(fence_on(agent, &clients[number].recv()), claim.get("fence").int());
                served.push((number, claim.get("fence").int()));
            }
        }
        assert!(!served.is_empty(), "{} wait and nobody is served", left.len());
        assert_eq!(served.len(), left.len().min(300));
        for (number, fence) in served {
            assert!(fences.insert(fence), "{fence} was given twice");
            left.retain(|other| *other != number);
            assert_eq!(release(&server, fence), 1);
        }
    }
    assert_idle(&server);
    assert_eq!(fences.len(), CROWD);
    assert_eq!(server.info_int("ltmc", "ltmc_registry_waits_served"), CROWD as i64, "one is woken for each claim");
    assert_eq!(server.run("LTMC.AGENT.GET r a").get("free").int(), 100);
    for client in &mut clients {
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
}

#[test]
fn a_thousand_short_leases_drive_the_line() {
    let (server, mut clients) = crowd();
    all_wait(&server, &mut clients, |n| format!("LTMC.AGENT.CLAIM r PX 3 EXCLUDE 1 x{} BLOCK 0", n % 7));
    // From here on nothing happens except that leases end.
    register(&server, "a", "CAPACITY 20");
    let fences: BTreeSet<i64> = clients.iter_mut().map(|client| fence_on("a", &client.recv())).collect();
    assert_eq!(fences.len(), CROWD);
    assert_idle(&server);
    wait_until("the last lease is over", || server.run("LTMC.AGENT.GET r a").get("free").int() == 20);
}

#[test]
fn a_thousand_waiters_are_served_by_one_registry_that_is_put_there() {
    let (server, mut clients) = crowd();
    all_wait(&server, &mut clients, |_| "LTMC.AGENT.CLAIM r PX 600000 BLOCK 0".into());
    server.run(&format!("LTMC.REGISTER other a PX {TTL_MS} CAPACITY {CROWD}")).int();
    // More than the scheduler does in one round.
    server.run("RENAME other r").ok();
    let fences: BTreeSet<i64> = clients.iter_mut().map(|client| fence_on("a", &client.recv())).collect();
    assert_eq!(fences.len(), CROWD);
    assert_eq!(server.run("LTMC.AGENT.GET r a").get("free").int(), 0);
    assert_idle(&server);
}
