//! Every way in which a wait for a message ends other than by being served in peace.

use super::*;

#[test]
fn a_wait_ends_with_nil_at_its_limit() {
    let server = Server::start();
    let mut client = server.client();
    assert!(client.run("LTMC.MSG.RECV m bob BLOCK 20").is_nil());
    assert_eq!(server.info_int("ltmc", "ltmc_mail_timeouts"), 1);
    assert_idle(&server);
    send(&server, "ada TO 1 bob x");
    assert_eq!(deliveries(&recv(&server, "bob")), [1], "nothing was received for who had given up");
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn waits_end_each_at_its_own_limit_and_block_0_never() {
    let server = Server::start();
    let mut clients = server.clients(4);
    let limits = [300_000, 0, 100_000, 200_000];
    server.block_in_turn(&mut clients, |n| format!("LTMC.MSG.RECV m bob BLOCK {}", limits[n]));
    for (step, index) in [2, 3, 0].into_iter().enumerate() {
        assert_eq!(waiting(&server), 4 - step as i64);
        set_clock(&server, limits[index] + 50_000);
        assert!(clients[index].recv().is_nil());
    }
    set_clock(&server, 365 * 24 * 3_600_000);
    assert_eq!(clients[1].recv_within(1), None);
    send(&server, "ada TO 1 bob x");
    assert_eq!(told(&mut clients[1]), ["x"]);
}

/// Unblocks the first waiter and checks its answer; where the server cannot, nothing happens to it.
fn client_unblock(how: &str, is_answer: impl Fn(&Reply) -> bool) {
    let mut line = Line::start();
    let unblock = format!("CLIENT UNBLOCK {} {how}", line.first.id());
    if can_unblock(&line.server) {
        assert_eq!(line.server.run(&unblock).int(), 1);
        let answer = line.first.recv();
        assert!(is_answer(&answer), "{answer:?}");
        line.only_second();
    } else {
        assert_eq!(line.server.run(&unblock).int(), 0);
        line.first_then_second();
    }
}

#[test]
fn client_unblock_ends_a_wait_like_its_limit_or_with_an_error() {
    client_unblock("", Reply::is_nil);
    client_unblock("TIMEOUT", Reply::is_nil);
    client_unblock("ERROR", |answer| answer.error_code() == "UNBLOCKED");
}

#[test]
fn a_killed_waiter_is_passed_over() {
    let mut line = Line::start();
    line.server.run(&format!("CLIENT KILL ID {}", line.first.id()));
    line.first.wait_closed();
    let server = line.only_second();
    assert_eq!(server.info_int("ltmc", "ltmc_mail_waits_cancelled"), 1);
}

#[test]
fn a_waiter_that_hangs_up_or_whose_machine_dies_is_passed_over() {
    let mut line = Line::start();
    line.first = line.server.client();
    let server = line.only_second();
    let mut clients = server.clients(2);
    clients[0].arm_reset();
    server.block_in_turn(&mut clients, |_| "LTMC.MSG.RECV m bob BLOCK 0".into());
    drop(clients.remove(0));
    wait_until("one waits", || waiting(&server) == 1);
    send(&server, "ada TO 1 bob x");
    assert_eq!(told(&mut clients[0]), ["x"]);
}

/// In one write a message is sent and the waiter that is given it is killed.
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

#[test]
fn an_unblock_in_the_tick_of_a_message_gives_one_answer() {
    for how in ["TIMEOUT", "ERROR"] {
        let mut line = Line::start();
        let unblock = format!("CLIENT UNBLOCK {} {how}", line.first.id());
        let id = line.server.client().pipeline(&["LTMC.MSG.SEND m ada TO 1 bob x", &unblock])[0].int();
        let answer = line.first.recv();
        assert_eq!(line.first.run("PING"), Reply::Simple("PONG".into()));
        // Whichever it is: it is one, and the message is received exactly if it was told.
        if matches!(answer, Reply::Array(_)) {
            assert_eq!(payloads(answer.array()), ["x"]);
            assert_eq!(ack(&line.server, "bob", &[id]), 1);
            line.only_second();
        } else {
            assert!(answer.is_nil() || answer.error_code() == "UNBLOCKED", "{answer:?}");
            line.ends_with_second("x", &[id]);
        }
    }
}

#[test]
fn no_more_than_so_many_may_wait() {
    let mut line = Line::start();
    line.server.run("CONFIG SET ltmc.mail-waiters-max 2").ok();
    let refused = line.server.run("LTMC.MSG.RECV m eve BLOCK 0");
    assert_eq!(refused.error_code(), "LIMIT");
    assert!(refused.error().contains("mail-waiters-max"), "{refused:?}");
    assert!(recv(&line.server, "eve").is_empty(), "who does not wait is not refused");
    assert!(line.server.run("LTMC.MSG.RECV other bob BLOCK 1").is_nil(), "each mailbox has its own bound");
    line.server.run(&format!("CLIENT KILL ID {}", line.first.id()));
    wait_until("one waits", || waiting(&line.server) == 1);
    line.first = line.server.client();
    line.first.send_line("LTMC.MSG.RECV m eve BLOCK 0");
    line.server.wait_blocked(2);
    send(&line.server, "ada TO 2 bob eve x");
    assert_eq!((told(&mut line.first), told(&mut line.second)), (strings(&["x"]), strings(&["x"])));
}
