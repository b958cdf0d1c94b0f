//! Every way in which a wait for a message ends other than by being served in peace.

use super::*;

/// In one write a message is sent, and the waiter that is given it is killed.
fn what_nobody_was_told_of_is_taken_back(mut line: Line, lines: &[&str]) -> Server {
    let kill = format!("CLIENT KILL ID {}", line.first.id());
    let lines: Vec<&str> = lines.iter().map(|line| if *line == "kill" { kill.as_str() } else { line }).collect();
    let replies = line.server.client().pipeline(&lines);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    line.first.wait_closed();
    wait_until("it is taken back", || line.server.info_int("ltmc", "ltmc_mail_taken_back") == 1);
    let ids = [line.server.run("LTMC.MSG.PENDING m bob").array()[0].get("id").int()];
    assert_eq!(info(&line.server, "total_received"), 1, "the one that was told");
    line.ends_with_second("x", &ids)
}

#[test]
fn a_waiter_killed_in_the_tick_of_its_message_has_not_received_it() {
    const SEND: &str = "LTMC.MSG.SEND m ada TO 1 bob x";
    what_nobody_was_told_of_is_taken_back(Line::start(), &[SEND, "kill"]);
    what_nobody_was_told_of_is_taken_back(Line::start(), &["MULTI", SEND, "kill", "EXEC"]);
}

#[test]
fn a_message_that_is_taken_back_keeps_its_place() {
    let server = Server::start();
    let mut clients = waiters(&server, &["bob"]);
    let kill = format!("CLIENT KILL ID {}", clients[0].id());
    server.client().pipeline(&["LTMC.MSG.SEND m ada TO 1 bob one", &kill, "LTMC.MSG.SEND m ada TO 1 bob two"]);
    clients[0].wait_closed();
    wait_until("it is taken back", || server.info_int("ltmc", "ltmc_mail_taken_back") == 1);
    let messages = recv(&server, "bob COUNT 5");
    assert_eq!((payloads(&messages), deliveries(&messages)), (strings(&["one", "two"]), vec![1, 1]));
}
