//! A thousand watchers. One thread drives them all.

use super::*;

const CROWD: usize = 1000;

fn crowd(what: impl Fn(usize) -> String) -> (Server, Vec<Client>) {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    register(&server, "a", "");
    let mut clients = server.clients(CROWD);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_line(&format!("LTMC.WATCH {} BLOCK 0", what(index)));
    }
    server.wait_blocked(CROWD);
    (server, clients)
}

#[test]
fn a_thousand_watchers_of_one_key_are_all_told() {
    let (server, mut clients) = crowd(|_| "1 r SINCE $".into());
    for round in 0..3 {
        register(&server, &format!("b{round}"), "");
        let expected = server.run(&format!("LTMC.WATCH 1 r SINCE {}", revision(&server, "r") - 1));
        for client in &mut clients {
            assert_eq!(client.recv(), expected);
        }
        assert_idle(&server);
        for client in &mut clients {
            client.send_line(&format!("LTMC.WATCH 1 r SINCE {} BLOCK 0", revision_in(&expected)));
        }
        server.wait_blocked(CROWD);
    }
    // All at once are told of the end, too. That happens before the key goes.
    server.run("DEL r");
    for client in &mut clients {
        assert_eq!(compacted(&client.recv().array()[0]), (0, 0));
    }
    assert_idle(&server);
    assert_eq!(server.info_int("ltmc", "ltmc_watch_waits_served"), 4 * CROWD as i64);
}

#[track_caller]
fn revision_in(reply: &Reply) -> i64 {
    only_news(reply).0
}

#[test]
fn of_a_thousand_watchers_only_those_of_the_key_are_told() {
    let (server, mut clients) = crowd(|n| format!("2 r{} common SINCE $ $", n % 10));
    server.run(&format!("LTMC.REGISTER r7 z PX {TTL_MS}")).int();
    for client in clients.iter_mut().skip(7).step_by(10) {
        assert_eq!(news(&client.recv().array()[0]).1[0]["agent"], "z");
    }
    assert_eq!(waiting(&server), 900);
    server.run(&format!("LTMC.REGISTER common y PX {TTL_MS}")).int();
    for (_, client) in clients.iter_mut().enumerate().filter(|(n, _)| n % 10 != 7) {
        assert_eq!(news(&client.recv().array()[1]).1[0]["agent"], "y");
    }
    assert_idle(&server);
}

#[test]
fn half_of_a_thousand_watchers_go_while_the_others_are_told() {
    let (server, clients) = crowd(|_| "1 r SINCE $".into());
    let mut clients: Vec<Client> = clients;
    // More than one round of the scheduler: some are gone before their turn.
    let mut lines = vec![format!("LTMC.REGISTER r b PX {TTL_MS}")];
    lines.extend(clients.iter().step_by(2).map(|client| format!("CLIENT KILL ID {}", client.id())));
    lines.push("LTMC.HEARTBEAT r b STATUS BUSY".into());
    server.client().pipeline(&lines);
    for client in clients.iter_mut().skip(1).step_by(2) {
        let told = only_news(&client.recv()).1;
        assert_eq!(told[0]["agent"], "b");
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
    }
    drop(clients);
    assert_idle(&server);
}

/// Changes of `s` whose events are a megabyte together, and none of the field `wanted`.
fn much_of_no_concern(server: &Server) {
    let field = "x".repeat(1000);
    let lines: Vec<String> = (0..900).map(|n| format!("LTMC.SESSION.SET s {field} {n}")).collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| reply.int() > 0));
}

#[test]
fn what_does_not_concern_a_watcher_is_looked_through_in_parts() {
    let server = Server::start();
    server.run("LTMC.SESSION.SET s wanted 1").int();
    let first = server.run("LTMC.SESSION.INFO s").get("revision").int();
    much_of_no_concern(&server);
    let last = server.run("LTMC.SESSION.INFO s").get("revision").int();
    let look = |since: i64| {
        let told = server.run(&format!("LTMC.WATCH 1 s SINCE {since} PATH /wanted"));
        assert_eq!(told.array()[0].array()[1].array(), []);
        told.array()[0].array()[0].int()
    };
    let middle = look(first);
    assert!(first < middle && middle < last, "{first} {middle} {last}");
    assert_eq!(look(middle), last);
    let in_script =
        format!("EVAL return(redis.call('LTMC.WATCH','1','s','SINCE','{first}','PATH','/wanted','BLOCK','0')) 0");
    assert_eq!(server.run(&in_script).array()[0].array()[0].int(), middle, "who cannot wait goes on himself");
    // Who waits is looked at again, and sleeps only when all is looked through.
    let mut client = server.client();
    client.send_line(&format!("LTMC.WATCH 1 s SINCE {first} PATH /wanted BLOCK 0"));
    server.wait_blocked(1);
    much_of_no_concern(&server);
    assert_eq!(client.recv_within(1), None);
    server.run("LTMC.SESSION.SET s wanted 2").int();
    assert_eq!(client.recv().array()[0].array()[1].array().len(), 1);
    assert_eq!(server.info_int("ltmc", "ltmc_panics"), 0);
}

#[test]
fn a_crowd_hears_of_the_end_of_a_key_in_rounds() {
    let count = 400;
    for line in ["LTMC.SESSION.END s GRACE 0", "DEL s", "PEXPIRE s 1"] {
        let server = Server::builder().arg("maxclients", count + 100).start();
        server.run("LTMC.SESSION.SET s f v").int();
        let mut clients = server.clients(count);
        clients.iter_mut().for_each(|client| client.send_line("LTMC.WATCH 1 s SINCE $ BLOCK 0"));
        server.wait_blocked(count);
        server.run(line);
        for client in &mut clients {
            let told = client.recv();
            let told = told.array()[0].array();
            let ends = ["session.ended", "session.deleted", "session.expired"];
            let tells = |event: &Reply| ends.iter().any(|end| event.text().contains(end));
            assert!(told.len() == 3 || told[1].array().iter().any(tells), "{line}: {told:?}");
        }
        // Another life begins as usual.
        server.run("LTMC.SESSION.SET s f v").int();
        assert_eq!(server.run("LTMC.WATCH 1 s SINCE 0").array()[0].array()[1].array().len(), 1, "{line}");
    }
}
