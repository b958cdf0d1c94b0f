//! A thousand clients wait at once. One thread drives them all.

use super::*;

const CROWD: usize = 1000;

/// A server with a crowd of connections.
fn crowd() -> (Server, Vec<Client>) {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let clients = server.clients(CROWD);
    (server, clients)
}

/// Lets all begin to wait, each sending its line in one go. Their order in the queue is left open.
fn all_wait(server: &Server, clients: &mut [Client], line: impl Fn(usize) -> String) {
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_line(&line(index));
    }
    server.wait_blocked(clients.len());
}

#[track_caller]
fn assert_grow(fences: &[i64]) {
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
}

#[test]
fn a_thousand_short_leases_drive_the_queue() {
    let (server, mut clients) = crowd();
    let fence = server.run("LTMC.LOCK k holder PX 600000").int();
    server.block_in_turn(&mut clients, |n| format!("LTMC.LOCK k w{n} PX 3 BLOCK 0"));
    // From here on nothing happens except that leases end.
    let renew = format!("LTMC.LOCK.RENEW k holder TOKEN {fence} PX 1");
    assert_eq!(server.run(&renew).int(), 1);
    let fences: Vec<i64> = clients.iter_mut().map(|client| client.recv().int()).collect();
    assert_grow(&fences);
    assert_idle(&server);
    wait_until("the last lease is over", || server.run("EXISTS k").int() == 0);
}

#[test]
fn a_thousand_waits_for_two_locks_are_served_in_order() {
    let (server, mut clients) = crowd();
    server.run("LTMC.LOCK k1 holder PX 600000");
    server.block_in_turn(&mut clients, |n| {
        let keys = if n % 2 == 0 { "k1 k2" } else { "k2 k1" };
        format!("LTMC.MLOCK w{n} 2 {keys} PX 600000 BLOCK 0")
    });
    assert_eq!(unlock(&server, "k1", "holder"), 1);
    let mut fences = Vec::new();
    for (index, client) in clients.iter_mut().enumerate() {
        let pair = client.recv().ints();
        assert_eq!(pair.len(), 2);
        fences.extend(pair);
        let replies = client.pipeline(&[format!("LTMC.UNLOCK k1 w{index}"), format!("LTMC.UNLOCK k2 w{index}")]);
        assert!(replies.iter().all(|reply| reply.int() == 1), "{replies:?}");
    }
    assert_grow(&fences);
    assert_idle(&server);
}

#[test]
fn a_thousand_readers_are_woken_by_one_release() {
    let (server, mut clients) = crowd();
    server.run("LTMC.LOCK k holder PX 600000");
    all_wait(&server, &mut clients, |n| format!("LTMC.LOCK k r{n} SHARED PX 600000 BLOCK 0"));
    assert_eq!(unlock(&server, "k", "holder"), 1);
    // Some at once, the others in rounds.
    let mut fences: Vec<i64> = clients.iter_mut().map(|client| client.recv().int()).collect();
    fences.sort_unstable();
    assert_grow(&fences);
    assert_eq!(waiting(&server), 0);
    let info = server.run("LTMC.LOCK.INFO k");
    assert_eq!((info.get("holders").array().len(), info.get("holders_count").int()), (100, CROWD as i64));
}
