//! Workers that wait for tasks: what serves one, which of several is served, and every other way in
//! which a wait ends.

use super::*;
use crate::waiting::*;

mod line;

/// A worker that waits.
#[track_caller]
fn waiter(server: &Server, agent: &str, more: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| {
        format!("LTMC.TASK.CLAIM f {agent} PX {LEASE_MS} {more} BLOCK 0")
    });
    client
}

/// `b` and `c` wait, in this order, and nothing is there.
struct Line {
    server: Server,
    b: Client,
    c: Client,
}

impl Line {
    #[track_caller]
    fn start() -> Line {
        Line::on(Server::start())
    }

    #[track_caller]
    fn on(server: Server) -> Line {
        let (b, c) = (waiter(&server, "b", ""), waiter(&server, "c", ""));
        Line { server, b, c }
    }

    #[track_caller]
    fn ends_with_c(mut self, before: i64) -> Server {
        if state_or_none(&self.server, "y").is_none() {
            add(&self.server, "y", "");
        }
        let (task, fence) = claimed(&self.c.recv());
        assert!(fence > before, "{fence} is not above {before}");
        assert_eq!(shown(&self.server, &task).get("agent").text(), "c");
        complete(&self.server, &task, fence);
        assert_idle(&self.server);
        assert_in_step([&mut self.b, &mut self.c]);
        self.server
    }
}

fn state_or_none(server: &Server, task: &str) -> Option<String> {
    let shown = shown(server, task);
    (!shown.is_nil()).then(|| shown.get("state").text().to_string())
}

#[test]
fn whatever_makes_a_task_ready_serves_who_waits() {
    let server = Server::start();
    add(&server, "a", "");
    add(&server, "after", "AFTER 1 a");
    add(&server, "held", "WAITSIGNAL");
    add(&server, "late", "DELAY 60000");
    add(&server, "again", "PRIORITY 9 BACKOFF FIXED 0");
    let again = fence_of(&server, "again");
    let a = fence_of(&server, "a");
    let serves = |what: &dyn Fn(), task: &str| {
        let mut client = waiter(&server, "w", "");
        what();
        assert_eq!(claimed(&client.recv()).0, task);
    };
    serves(&|| complete(&server, "a", a), "after");
    serves(&|| assert_eq!(server.run("LTMC.TASK.SIGNAL f held").int(), 1), "held");
    serves(&|| set_clock(&server, 60_001), "late");
    let fail = format!("LTMC.TASK.FAIL f again {again} x");
    serves(&|| assert_eq!(server.run(&fail).text(), "RETRY"), "again");
    server.run("DEL f");
    add(&server, "lost", "LEASE 90000");
    server.run("LTMC.TASK.CLAIM f w").array();
    serves(&|| set_clock(&server, 200_000), "lost");
}

#[test]
fn work_goes_to_the_longest_waiting_who_can_do_it() {
    let server = Server::start();
    let mut go = waiter(&server, "go", "CAPS 1 go");
    let mut none = waiter(&server, "none", "");
    let mut gpu = waiter(&server, "gpu", "CAPS 2 gpu go");
    add(&server, "a", "CAPS 1 gpu");
    assert_eq!(claimed(&gpu.recv()).0, "a");
    add(&server, "b", "");
    assert_eq!(claimed(&go.recv()).0, "b");
    add(&server, "c", "CAPS 1 go");
    assert_eq!(waiting(&server), 1);
    add(&server, "d", "");
    assert_eq!(claimed(&none.recv()).0, "d");
    assert_eq!(state(&server, "c"), "ready");
}

#[test]
fn who_asks_for_several_gets_what_is_there() {
    let server = Server::start();
    let mut many = waiter(&server, "w", "COUNT 3");
    add(&server, "a", "");
    assert_eq!(many.recv().array().len(), 1, "it does not wait for more");
    let mut many = waiter(&server, "w", "COUNT 3");
    let spec = r#"{"tasks":[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]}"#;
    server.run("DEL f");
    server.cmd(&["LTMC.FLOW.CREATE", "f", "SPEC", spec]).ok();
    assert_eq!(many.recv().array().len(), 3);
    assert_idle(&server);
}

#[test]
fn next_waits_if_asked_to() {
    let server = Server::start();
    add(&server, "a", "");
    let fence = fence_of(&server, "a");
    let mut client = server.client();
    server
        .block_in_turn(std::slice::from_mut(&mut client), |_| format!("LTMC.TASK.COMPLETE f a {fence} r NEXT BLOCK 0"));
    assert_eq!(state(&server, "a"), "succeeded", "that is done at once");
    add(&server, "b", "");
    assert_eq!(claimed(&client.recv()).0, "b");
    let again = server.run(&format!("LTMC.TASK.COMPLETE f a {fence} r NEXT"));
    assert_eq!(claimed(&again).0, "b", "the answer that got lost");
}

#[test]
fn a_task_that_nobody_was_told_of_is_taken_back() {
    for is_transaction in [false, true] {
        let server = Server::builder().durable().start();
        let replica = server.replica();
        let mut line = Line::on(server);
        let mut lines = vec!["LTMC.TASK.ADD f y p".to_string(), format!("CLIENT KILL ID {}", line.b.id())];
        if is_transaction {
            lines.insert(0, "MULTI".into());
            lines.push("EXEC".into());
        }
        line.server.client().pipeline(&lines);
        line.b.wait_closed();
        let server = line.ends_with_c(0);
        assert_eq!(server.info_int("ltmc", "ltmc_flow_taken_back"), 1);
        let shown = shown(&server, "y");
        assert_eq!((shown.get("attempts").int(), shown.get("history").array().len()), (1, 0), "it was no attempt");
        replica.wait_synced(&server);
        assert_persisted_everywhere(&server, &[&replica]);
    }
}

#[test]
fn a_flow_that_comes_under_the_name_serves_who_waits() {
    for put in [&["RENAME other f"][..], &["MOVE other 1", "SELECT 1", "RENAME other f", "SWAPDB 0 1"]] {
        let mut line = Line::start();
        for task in ["x", "y"] {
            line.server.run(&format!("LTMC.TASK.ADD other {task} p")).text();
        }
        let mut client = line.server.client();
        for command in put {
            assert!(!client.run(command).is_error(), "{command}");
        }
        assert_eq!(claimed(&line.b.recv()).0, "x");
        line.ends_with_c(0);
    }
}

#[test]
fn a_retry_that_waits_beside_its_request_gets_the_same_task() {
    let server = Server::start();
    let mut same = [waiter(&server, "w", "REQID job"), waiter(&server, "w", "REQID job")];
    let mut other = waiter(&server, "w", "REQID another");
    add(&server, "a", "");
    let told = same.each_mut().map(|client| claimed(&client.recv()));
    assert_eq!(told[0], told[1]);
    add(&server, "b", "");
    assert_eq!(claimed(&other.recv()).0, "b");
    assert_eq!(claimed(&server.run(&format!("LTMC.TASK.CLAIM f w PX {LEASE_MS} REQID job"))), told[0]);
}

#[test]
fn waiters_of_a_slot_that_moves_are_sent_to_the_new_node() {
    let cluster = Cluster::start(2);
    let slot = cluster.slot("{t}");
    let from = cluster.owner(slot);
    let to = 1 - from;
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[to]);
    old.run("LTMC.TASK.ADD {t}:f a p CAPS 1 never LOCKS 1 {t}:l").text();
    assert_eq!(old.run("LTMC.TASK.ADD {t}:f b p LOCKS 1 {u}:l").error_code(), "CROSSSLOT");
    let mut waiters = old.clients(2);
    let lines = ["LTMC.TASK.CLAIM {t}:f w BLOCK 0", "LTMC.TASK.WAIT {t}:f a BLOCK 0"];
    old.block_in_turn(&mut waiters, |n| lines[n].into());
    cluster.begin_migration(slot, from, to);
    cluster.move_keys(slot, from, to);
    cluster.finish_migration(slot, to);
    let moved = format!("MOVED {slot} 127.0.0.1:{}", new.port());
    for waiter in &mut waiters {
        let answer = waiter.recv();
        // The task went away with its flow. A client that looks finds the key gone or moved.
        assert!(answer.error() == moved || answer.error_code() == "NOFLOW", "{answer:?}");
    }
    assert_idle(old);
    assert_eq!(new.run("LTMC.TASK.GET {t}:f a").get("state").text(), "ready");
}

#[test]
fn whoever_waits_is_not_overtaken_when_a_delay_is_over_in_the_very_step_of_a_claim() {
    let server = Server::start();
    add(&server, "x", "DELAY 50");
    let mut first = waiter(&server, "first", "");
    let mut second = server.client();
    second.run("MULTI").ok();
    second.run("DEBUG SLEEP 0.1");
    second.run("LTMC.TASK.CLAIM f second");
    assert_eq!(second.run("EXEC").array()[1].array(), []);
    let (task, fence) = claimed(&first.recv());
    assert_eq!(task, "x");
    complete(&server, &task, fence);
}

#[test]
fn more_clients_than_one_round_serves_are_told_that_the_flow_has_ended() {
    let server = Server::start();
    add(&server, "t", "");
    let mut waiters = server.clients(300);
    server.block_in_turn(&mut waiters, |_| "LTMC.TASK.WAIT f BLOCK 0".into());
    server.run("LTMC.FLOW.CANCEL f");
    waiters.iter_mut().for_each(|waiter| assert_eq!(waiter.recv().get("state").text(), "cancelled"));
    assert_idle(&server);
}

#[test]
fn one_of_many_kinds_of_workers_gets_what_it_can_do_in_the_end() {
    let server = Server::start();
    let caps =
        |version: &dyn Fn(usize) -> String| (0..63).map(|at| format!(" c{at:02}{}", version(at))).collect::<String>();
    let lines: Vec<String> = (0..300)
        .map(|n| {
            let wanted = caps(&|at| format!("@>={}", 1 + ((n >> (at % 10)) & 1)));
            format!("LTMC.TASK.ADD f t{n} p CAPS 64{wanted} z@>=9")
        })
        .collect();
    assert!(server.client().pipeline(&lines).iter().all(|reply| !reply.is_error()));
    // Nobody can do any of it, and to see that of all takes more than one go.
    let (mut workers, able) = (server.clients(30), caps(&|_| "@5".into()));
    server.block_in_turn(&mut workers, |n| format!("LTMC.TASK.CLAIM f w{n} CAPS 64{able} z@1.{n} BLOCK 0"));
    for n in [29, 0, 17] {
        run(&server, &format!("LTMC.TASK.ADD f for{n} p CAPS 1 z@1.{n}"));
        assert_eq!(workers[n].recv().array()[0].array().len(), 20);
    }
    assert_eq!(waiting(&server), 27);
}
