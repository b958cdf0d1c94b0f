//! Waiting for messages: what serves a waiter, and which of several is served.

use super::*;
use crate::waiting::*;

mod crowd;
mod ends;
mod keys;
mod line;
mod places;

/// Clients that wait with these lines after `LTMC.MSG.RECV m`, in their order.
#[track_caller]
fn waiters(server: &Server, lines: &[&str]) -> Vec<Client> {
    let mut clients = server.clients(lines.len());
    server.block_in_turn(&mut clients, |n| format!("LTMC.MSG.RECV m {} BLOCK 0", lines[n]));
    clients
}

/// The payloads that a waiter was given.
#[track_caller]
fn told(client: &mut Client) -> Vec<String> {
    payloads(client.recv().array())
}

/// Two clients wait for messages to `bob`, in this order.
struct Line {
    server: Server,
    first: Client,
    second: Client,
}

impl Line {
    #[track_caller]
    fn on(server: Server) -> Line {
        let line = |agent: &str| format!("LTMC.MSG.RECV m {agent} BLOCK 0");
        let [first, second] = waiters_in_turn(&server, ["bob", "bob"], line);
        Line { server, first, second }
    }

    #[track_caller]
    fn start() -> Line {
        Line::on(Server::start())
    }

    /// Two messages go to the two clients, one each, and nothing is left.
    #[track_caller]
    fn first_then_second(mut self) -> Server {
        let ids = [send(&self.server, "ada TO 1 bob one"), send(&self.server, "ada TO 1 bob two")];
        assert_eq!(told(&mut self.first), ["one"]);
        self.ends_with_second("two", &ids)
    }

    /// The first client no longer waits: the next message goes to the second.
    #[track_caller]
    fn only_second(self) -> Server {
        wait_until("only the second waits", || waiting(&self.server) == 1);
        let id = send(&self.server, "ada TO 1 bob one");
        self.ends_with_second("one", &[id])
    }

    /// The second client got this message, which was received once. Then nothing is left.
    #[track_caller]
    fn ends_with_second(mut self, payload: &str, ids: &[i64]) -> Server {
        let messages = self.second.recv().array().to_vec();
        assert_eq!((payloads(&messages), deliveries(&messages)), (vec![payload.to_string()], vec![1]));
        assert_eq!(ack(&self.server, "bob", ids), ids.len() as i64);
        assert_idle(&self.server);
        assert_eq!(self.server.run("EXISTS m").int(), 0);
        assert_in_step([&mut self.first, &mut self.second]);
        self.server
    }
}

#[test]
fn a_message_goes_to_the_longest_waiting_receiver_of_its_agent() {
    let server = Line::start().first_then_second();
    let mut clients = waiters(&server, &["eve", "bob COUNT 5", "tom", "bob"]);
    send(&server, "ada TO 2 bob tom hello");
    assert_eq!((told(&mut clients[1]), told(&mut clients[2])), (vec!["hello".into()], vec!["hello".into()]));
    assert_eq!(waiting(&server), 2, "eve and the other one of bob wait on");
    send(&server, "ada ALL again");
    assert_eq!((told(&mut clients[0]), told(&mut clients[3])), (vec!["again".into()], vec!["again".into()]));
    assert_eq!(read(&server, "tom COUNT 5"), ["again"]);
    assert_idle(&server);
}

#[test]
fn what_comes_back_serves_who_waits() {
    let server = Server::start();
    let id = send(&server, "ada TO 1 bob x");
    recv(&server, "bob PX 5000");
    let wait_then = |line: &str, count: i64| {
        let mut clients = waiters(&server, &["bob PX 5000"]);
        assert!(!server.run(line).is_error(), "{line}");
        let messages = clients[0].recv().array().to_vec();
        assert_eq!((payloads(&messages), deliveries(&messages)), (vec!["x".to_string()], vec![count]), "{line}");
    };
    wait_then(&format!("LTMC.MSG.NACK m bob {id}"), 2);
    wait_then("LTMC.DEBUG CLOCK 5001", 3);
    server.run(&format!("LTMC.MSG.NACK m bob {id} DELAY 3000")).int();
    wait_then("LTMC.DEBUG CLOCK 9000", 4);
    server.run(&format!("LTMC.MSG.NACK m bob {id} DEAD")).int();
    wait_then(&format!("LTMC.MSG.REQUEUE m bob {id}"), 1);
    assert_idle(&server);
}

#[test]
fn a_waiter_takes_as_many_as_come_together() {
    let server = Server::start();
    send_numbers(&server, 5);
    recv(&server, "bob COUNT 5 PX 5000");
    let mut clients = waiters(&server, &["bob COUNT 3", "bob COUNT 3", "bob"]);
    set_clock(&server, 5001);
    assert_eq!((told(&mut clients[0]), told(&mut clients[1])), (strings(&["0", "1", "2"]), strings(&["3", "4"])));
    assert_eq!(waiting(&server), 1);
}

/// Sends this many messages to bob.
#[track_caller]
fn send_numbers(server: &Server, count: usize) {
    for n in 0..count {
        send(server, &format!("ada TO 1 bob {n}"));
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

#[test]
fn who_waits_for_an_answer_gets_that_and_nothing_else() {
    let server = Server::start();
    let questions: Vec<i64> = (0..3).map(|n| send(&server, &format!("ada TO 1 bob {n}?"))).collect();
    let lines: Vec<String> = questions.iter().map(|id| format!("ada REPLYTO {id}")).collect();
    let lines = [&lines[0], &lines[1], "ada", &lines[2]];
    let mut clients = waiters(&server, &lines);
    send(&server, &format!("bob REPLYTO {} one", questions[1]));
    assert_eq!(told(&mut clients[1]), ["one"]);
    send(&server, &format!("bob REPLYTO {} two", questions[2]));
    assert_eq!(told(&mut clients[2]), ["two"], "who waits for anything has waited longer");
    send(&server, "bob TO 1 ada besides");
    send(&server, &format!("bob REPLYTO {} again", questions[2]));
    assert_eq!(told(&mut clients[3]), ["again"]);
    assert_eq!(waiting(&server), 1);
    send(&server, &format!("bob REPLYTO {} zero", questions[0]));
    assert_eq!(told(&mut clients[0]), ["zero"]);
    assert_eq!(read(&server, "ada COUNT 5"), ["besides"]);
    assert_idle(&server);
}

#[test]
fn a_waiter_can_be_seen() {
    let server = Server::start();
    let mut clients = waiters(&server, &["bob"]);
    let list = server.run(&format!("CLIENT LIST ID {}", clients[0].id()));
    assert!(list.text().contains(" flags=b "), "{list:?}");
    assert_eq!(server.run("EXISTS m").int(), 0, "waiting alone makes no mailbox");
    server.run("LTMC.MSG.JOIN m bob").int();
    assert_eq!(info(&server, "waiting"), 1);
    assert_eq!(server.run("LTMC.MSG.AGENTS m").array()[0].get("waiting").int(), 1);
    let counted = |name: &str| server.info_int("ltmc", &format!("ltmc_mail_{name}"));
    assert_eq!((counted("waits"), counted("waits_served")), (1, 0));
    send(&server, "ada ALL hi");
    assert_eq!(told(&mut clients[0]), ["hi"]);
    assert_eq!((counted("waits"), counted("waits_served")), (1, 1));
    assert_idle(&server);
}
