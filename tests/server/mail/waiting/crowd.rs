//! A thousand clients wait for messages at once. One thread drives them all.

use super::*;

const CROWD: usize = 1000;

fn crowd(line: impl Fn(usize) -> String) -> (Server, Vec<Client>) {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let mut clients = server.clients(CROWD);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_line(&line(index));
    }
    server.wait_blocked(CROWD);
    (server, clients)
}

#[test]
fn one_message_reaches_a_thousand_agents_who_wait() {
    let (server, mut clients) = crowd(|n| format!("LTMC.MSG.RECV m a{n} BLOCK 0"));
    let id = send(&server, "ada ALL hello");
    for client in &mut clients {
        assert_eq!(told(client), ["hello"]);
    }
    assert_idle(&server);
    assert_eq!((info(&server, "messages"), info(&server, "held")), (1, CROWD as i64));
    let lines: Vec<String> = (0..CROWD).map(|n| format!("LTMC.MSG.ACK m a{n} {id}")).collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| reply.int() == 1));
    assert_eq!(server.run("EXISTS m").int(), 0);
}

#[test]
fn a_thousand_who_wait_are_served_by_one_mailbox_that_is_put_there() {
    let (server, mut clients) = crowd(|n| format!("LTMC.MSG.RECV m a{} BLOCK 0", n % 10));
    let lines: Vec<String> = (0..CROWD).map(|n| format!("LTMC.MSG.SEND other ada TO 1 a{} {n}", n % 10)).collect();
    server.client().pipeline(&lines);
    // More than the scheduler does in one round.
    server.run("RENAME other m").ok();
    clients.iter_mut().for_each(|client| assert_eq!(told(client).len(), 1));
    assert_idle(&server);
}

#[test]
fn half_of_a_thousand_die_while_messages_come() {
    let (server, clients) = crowd(|_| "LTMC.MSG.RECV m bob PX 600000 BLOCK 0".into());
    let mut clients: Vec<Option<Client>> = clients.into_iter().map(Some).collect();
    let mut sender = server.client();
    for index in (0..CROWD).step_by(2) {
        let victim = clients[index].take().expect("nobody dies twice");
        let (id, send) = (victim.id(), format!("LTMC.MSG.SEND m ada TO 1 bob {index}"));
        let kill = format!("CLIENT KILL ID {id}");
        match index / 2 % 3 {
            0 => drop(sender.pipeline(&[kill, send])),
            1 => drop(sender.pipeline(&[send, kill])),
            _ => {
                drop(victim);
                wait_until("it is gone", || server.run(&format!("CLIENT LIST ID {id}")).text().is_empty());
                drop(sender.pipeline(&[send]));
            }
        }
    }
    // Each living client is told of one message at most, and none is lost: messages that no client
    // was told of are there for the next.
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < CROWD / 2 {
        let left = recv(&server, "bob COUNT 1000 PX 600000");
        seen.extend(payloads(&left));
        for client in clients.iter_mut().flatten() {
            seen.extend(client.recv_within(1).iter().flat_map(|reply| payloads(reply.array())));
        }
    }
    seen.sort_by_key(|text| text.parse::<usize>().expect("a number"));
    let all: Vec<String> = (0..CROWD).step_by(2).map(|n| n.to_string()).collect();
    assert_eq!(seen, all, "each exactly once");
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}
