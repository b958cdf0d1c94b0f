//! One client computes, the others wait: who gets the ticket, who the answer, and what becomes of
//! both.

use super::*;

const CROWD: usize = 1000;

#[test]
fn a_thousand_who_miss_at_once_make_one_ticket_and_are_answered_by_one_put() {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let mut clients = server.clients(CROWD);
    for client in &mut clients {
        client.send_line("LTMC.CACHE.GET c t {\"q\":1} BLOCK 0");
    }
    server.wait_blocked(CROWD - 1);
    assert_eq!((stat(&server, "tickets"), stat(&server, "tickets_out")), (1, 1));
    let mut answered: Vec<Reply> = clients.iter_mut().filter_map(|client| client.recv_within(1)).collect();
    let computes = promoted(&answered.remove(0));
    assert!(answered.is_empty(), "one is asked to compute: {answered:?}");
    assert_eq!(happened(&server, "cache.ticketed"), 1);
    put(&server, &format!("c t {{\"q\":1}} v TICKET {computes}"));
    wait_until("all of them are answered by one PUT, some in later rounds", || waiting(&server) == 0);
    let mut hits = 0;
    for client in &mut clients {
        if let Some(reply) = client.recv_within(1) {
            assert_eq!((status_and_value(&reply), ticket_in(&reply)), (answer("HIT", "v"), None));
            hits += 1;
        }
    }
    assert_eq!(hits, CROWD - 1);
    assert_eq!((stat(&server, "tickets"), stat(&server, "misses"), stat(&server, "hits")), (1, 1000, 999));
    assert_eq!(server.info_int("ltmc", "ltmc_cache_waits_served"), 999);
    assert_idle(&server);
}

#[test]
fn a_thousand_who_wait_compute_one_after_the_other_if_all_of_them_fail() {
    let server = Server::builder().arg("maxclients", CROWD + 100).start();
    let mut clients = server.clients(CROWD);
    let mut computes = ticket(&server, "c t 1");
    server.block_in_turn(&mut clients, |_| "LTMC.CACHE.GET c t 1 BLOCK 0".into());
    for client in &mut clients {
        assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {computes}")).int(), 1);
        let next = promoted(&client.recv());
        assert!(next > computes);
        computes = next;
    }
    assert_eq!(happened(&server, "cache.ticketed"), 1 + CROWD as i64);
    assert_idle(&server);
    put(&server, &format!("c t 1 v TICKET {computes}"));
}

/// A ticket for call `t 1` of cache `c` that `holder` has, and two clients that wait for the answer
/// in turn.
pub struct Line {
    pub server: Server,
    pub holder: Client,
    pub computes: i64,
    pub b: Client,
    pub c: Client,
}

impl Line {
    #[track_caller]
    pub fn start() -> Line {
        Line::on(Server::start())
    }

    #[track_caller]
    pub fn on(server: Server) -> Line {
        let mut holder = server.client();
        let computes = promoted(&holder.run("LTMC.CACHE.GET c t 1 AGENT a"));
        let [b, c] =
            waiters_in_turn(&server, ["b", "c"], |agent| format!("LTMC.CACHE.GET c t 1 AGENT {agent} BLOCK 0"));
        Line { server, holder, computes, b, c }
    }

    /// The ticket has passed to `b`, and its answer serves `c`. Then nothing is left.
    #[track_caller]
    pub fn b_then_c(mut self) -> Server {
        let next = promoted(&self.b.recv());
        assert!(next > self.computes, "{next} is not above {}", self.computes);
        assert_eq!(waiting(&self.server), 1, "one is enough");
        put_is_stale(&self.server, &format!("c t 1 late TICKET {}", self.computes));
        put(&self.server, &format!("c t 1 new TICKET {next}"));
        self.ends_with_c("new")
    }

    #[track_caller]
    pub fn ends_with_c(mut self, value: &str) -> Server {
        assert_eq!(status_and_value(&self.c.recv()), answer("HIT", value));
        assert_eq!(found(&self.server, "c t 1"), answer("HIT", value));
        assert_idle(&self.server);
        assert_in_step([&mut self.b, &mut self.c]);
        self.server.run("DEL c").int();
        self.server
    }
}

#[test]
fn a_put_answers_all_who_wait() {
    let mut line = Line::start();
    put(&line.server, &format!("c t 1 v TICKET {}", line.computes));
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "v"));
    line.ends_with_c("v");
}

#[test]
fn an_answer_that_there_is_none_answers_all_who_wait() {
    let mut line = Line::start();
    put(&line.server, &format!("c t 1 v NEGATIVE TICKET {}", line.computes));
    for client in [&mut line.b, &mut line.c] {
        assert_eq!(status_and_value(&client.recv()), answer("NEGATIVE", "v"));
    }
    assert_idle(&line.server);
}

#[test]
fn a_put_without_ticket_answers_all_who_wait_and_leaves_the_ticket_good() {
    let mut line = Line::start();
    put(&line.server, "c t 1 other");
    for client in [&mut line.b, &mut line.c] {
        assert_eq!(status_and_value(&client.recv()), answer("HIT", "other"));
    }
    assert_idle(&line.server);
    assert_eq!(stat(&line.server, "tickets_out"), 1);
    put(&line.server, &format!("c t 1 v TICKET {}", line.computes));
    assert_eq!(found(&line.server, "c t 1"), answer("HIT", "v"));
    assert_eq!(stat(&line.server, "tickets_out"), 0);
}

#[test]
fn a_put_in_a_transaction_a_script_or_a_guard_answers_who_waits() {
    let mut line = Line::start();
    let put_it = |line: &Line| format!("LTMC.CACHE.PUT c t 1 v TICKET {}", line.computes);
    let text = put_it(&line);
    line.holder.pipeline(&["MULTI", "SET x 1", &text, "EXEC"])[3].array()[1].ok();
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "v"));
    let mut line = Line::on(line.ends_with_c("v"));
    let script = format!("return redis.call('LTMC.CACHE.PUT', KEYS[1], 't', '1', 'v', 'TICKET', '{}')", line.computes);
    line.holder.cmd(&["EVAL", &script, "1", "c"]).ok();
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "v"));
    let mut line = Line::on(line.ends_with_c("v"));
    let lock = line.holder.run("LTMC.LOCK l me PX 600000").int();
    let text = put_it(&line);
    line.holder.run(&format!("LTMC.GUARD l {lock} {text}")).ok();
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "v"));
    line.ends_with_c("v");
}

#[test]
fn a_failure_asks_the_longest_waiter_to_compute() {
    let line = Line::start();
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 2 {}", line.computes)).int(), 0, "another call's ticket");
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes + 1)).int(), 0);
    assert_eq!(waiting(&line.server), 2);
    assert_eq!(line.server.run(&format!("LTMC.CACHE.FAIL c t 1 {}", line.computes)).int(), 1);
    line.b_then_c();
}

#[test]
fn the_end_of_a_lease_asks_the_longest_waiter_to_compute() {
    let line = Line::start();
    set_clock(&line.server, LEASE_MS + 1);
    line.b_then_c();
}

#[test]
fn a_lease_is_as_long_as_was_said() {
    let server = Server::start();
    let short = ticket(&server, "c t 1 LEASE 5000");
    server.run("CONFIG SET ltmc.cache-lease-ms 20000").ok();
    let set = ticket(&server, "c t 2");
    set_clock(&server, 5001);
    put_is_stale(&server, &format!("c t 1 v TICKET {short}"));
    assert!(ticket(&server, "c t 1 LEASE 100000") > set);
    let put_it = format!("LTMC.CACHE.PUT c t 2 v TICKET {set}");
    assert_eq!(get(&server, "c t 2").get("ticket"), &Reply::Nil);
    set_clock(&server, 20_001);
    assert_eq!(server.run(&put_it).error_code(), "STALE");
}

#[test]
fn a_holder_that_is_killed_or_hangs_up_is_waited_for_a_little_and_then_followed() {
    for orphan_ms in [0, 50] {
        let server = Server::start();
        server.run(&format!("CONFIG SET ltmc.cache-orphan-ms {orphan_ms}")).ok();
        let mut line = Line::on(server);
        line.server.run(&format!("CLIENT KILL ID {}", line.holder.id())).int();
        line.holder.wait_closed();
        let mut line = Line::on(line.b_then_c());
        line.holder = line.server.client();
        let mut line = Line::on(line.b_then_c());
        line.holder.arm_reset();
        line.holder = line.server.client();
        line.b_then_c();
    }
}

/// The holder's connection ends, and the module notices.
#[track_caller]
fn holder_is_gone(mut line: Line) -> Line {
    let changes = |line: &Line| line.server.info_int("ltmc", "ltmc_cache_changes");
    let before = changes(&line);
    line.holder = line.server.client();
    wait_until("the end of the connection is noted", || changes(&line) == before + 1);
    line
}

#[test]
fn a_holder_may_go_on_over_another_connection_while_it_is_waited_for() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-orphan-ms 600000").ok();
    let mut line = holder_is_gone(Line::on(server));
    assert_eq!(waiting(&line.server), 2);
    put(&line.server, &format!("c t 1 v TICKET {}", line.computes));
    assert_eq!(status_and_value(&line.b.recv()), answer("HIT", "v"));
    let line = holder_is_gone(Line::on(line.ends_with_c("v")));
    set_clock(&line.server, 600_001);
    line.b_then_c();
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_may_still_come_until_somebody_else_computes_it() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-orphan-ms 10").ok();
    for is_asked_for in [false, true] {
        let mut holder = server.client();
        let computes = promoted(&holder.run("LTMC.CACHE.GET c t 1 LEASE 600000"));
        holder.close();
        let mut next = None;
        if is_asked_for {
            wait_until("another one is asked to compute", || {
                next = ticket_in(&get(&server, "c t 1"));
                next.is_some()
            });
            put_is_stale(&server, &format!("c t 1 late TICKET {computes}"));
        }
        put(&server, &format!("c t 1 v TICKET {}", next.unwrap_or(computes)));
        assert_eq!(found(&server, "c t 1"), answer("HIT", "v"));
        server.run("DEL c").int();
    }
}

#[test]
fn a_ticket_of_a_script_or_of_an_open_connection_does_not_end_with_another_connection() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.cache-orphan-ms 0").ok();
    let mut client = server.client();
    let script = "return redis.call('LTMC.CACHE.GET', KEYS[1], 't', '1')[10]";
    let computes = client.cmd(&["EVAL", script, "1", "c"]).int();
    let own = promoted(&server.client().run("LTMC.CACHE.GET c t 2"));
    client.close();
    wait_until("the one that ended was followed", || ticket_in(&get(&server, "c t 2")).is_some_and(|next| next > own));
    assert_eq!(ticket_in(&get(&server, "c t 1")), None);
    put(&server, &format!("c t 1 v TICKET {computes}"));
}

#[test]
fn a_newer_ticket_makes_the_older_one_worthless() {
    let server = Server::start();
    let old = ticket(&server, "c t 1 LEASE 1000");
    set_clock(&server, 1001);
    let new = ticket(&server, "c t 1");
    let late = server.run(&format!("LTMC.CACHE.PUT c t 1 late TICKET {old}"));
    assert_eq!(late.error_code(), "STALE");
    assert!(late.error().contains(&format!("ticket {old}")) && late.error().contains(&new.to_string()), "{late:?}");
    assert_eq!(server.run(&format!("LTMC.CACHE.FAIL c t 1 {old}")).int(), 0);
    put(&server, &format!("c t 1 v TICKET {new}"));
    put_is_stale(&server, &format!("c t 2 v TICKET {new}"));
    put_is_stale(&server, "none t 2 v TICKET 5");
    assert_eq!(server.run("EXISTS none").int(), 0);
    server.run("DEL c").int();
    assert!(ticket(&server, "c t 1") > new, "tickets grow beyond the life of the key");
}

#[test]
fn a_private_answer_serves_its_agent_and_asks_the_next_of_the_others() {
    let server = Server::start();
    let computes = ticket(&server, "c t 1 AGENT a");
    let agents = ["b", "a", "c", "a", "d"];
    let mut waiters = server.clients(agents.len());
    server.block_in_turn(&mut waiters, |n| format!("LTMC.CACHE.GET c t 1 AGENT {} BLOCK 0", agents[n]));
    put(&server, &format!("c t 1 own AGENT a PRIVATE TICKET {computes}"));
    for n in [1, 3] {
        assert_eq!(status_and_value(&waiters[n].recv()), answer("HIT", "own"));
    }
    let next = promoted(&waiters[0].recv());
    assert_eq!(waiting(&server), 2);
    put(&server, &format!("c t 1 all AGENT b TICKET {next}"));
    for n in [2, 4] {
        assert_eq!(status_and_value(&waiters[n].recv()), answer("HIT", "all"));
    }
    assert_idle(&server);
    assert_eq!(found(&server, "c t 1 AGENT a"), answer("HIT", "own"));
}

/// In one write the ticket is given back, and the client that is asked to compute next is killed.
fn a_ticket_that_nobody_was_told_of_is_given_on(lines: &[&str]) {
    let mut line = Line::start();
    let (kill, fail) = (format!("CLIENT KILL ID {}", line.b.id()), format!("LTMC.CACHE.FAIL c t 1 {}", line.computes));
    let lines = lines.iter().map(|line| match *line {
        "kill" => &*kill,
        "fail" => &*fail,
        other => other,
    });
    let replies = line.holder.pipeline(&lines.collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    line.b.wait_closed();
    let next = promoted(&line.c.recv());
    assert!(next > line.computes);
    assert_eq!(line.server.info_int("ltmc", "ltmc_cache_taken_back"), 1);
    assert_eq!(stat(&line.server, "tickets_out"), 1);
    put(&line.server, &format!("c t 1 v TICKET {next}"));
    assert_idle(&line.server);
}

#[test]
fn who_is_asked_to_compute_and_gone_before_it_is_told_gives_the_ticket_on() {
    a_ticket_that_nobody_was_told_of_is_given_on(&["fail", "kill"]);
    a_ticket_that_nobody_was_told_of_is_given_on(&["MULTI", "fail", "kill", "EXEC"]);
}

#[test]
fn lines_of_different_calls_do_not_wait_for_each_other() {
    let server = Server::start();
    let tickets: Vec<i64> = (0..20).map(|n| ticket(&server, &format!("c t {n}"))).collect();
    let mut waiters: Vec<Client> = (0..20).map(|n| waiter(&server, &format!("c t {n}"))).collect();
    for n in (0..20).rev() {
        put(&server, &format!("c t {n} v{n} TICKET {}", tickets[n]));
        assert_eq!(status_and_value(&waiters[n].recv()), answer("HIT", &format!("v{n}")));
        assert_eq!(waiting(&server), n as i64);
    }
    assert_idle(&server);
}
