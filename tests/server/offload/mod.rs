//! Long work that threads do: replies that are made beside the event loop, and writes that are
//! prepared there. `LTMC.DEBUG OFFLOAD 0 ms` has threads do everything, so much later.

mod answers;
mod writes;

use crate::harness::*;
use crate::waiting::assert_idle;

const READ: &str = "LTMC.SESSION.GET {t}:s";
const WRITE: &str = r#"LTMC.SESSION.CREATE {t}:new STATE {"a":1}"#;

/// Has threads do all that they can do, `ms` later.
#[track_caller]
fn offload(server: &Server, ms: u64) {
    server.run(&format!("LTMC.DEBUG OFFLOAD 0 {ms}")).ok();
}

/// A server with a session of two fields.
fn with_session() -> Server {
    let server = Server::start();
    fill(&server);
    server
}

fn fill(server: &Server) {
    server.run("LTMC.SESSION.SET {t}:s one 1 two 2");
}

/// A client for which a thread works on `line`.
#[track_caller]
fn begun(server: &Server, line: &str) -> Client {
    let mut client = server.client();
    server.block_in_turn(std::slice::from_mut(&mut client), |_| line.to_string());
    client
}

#[test]
fn others_go_on_and_replies_stay_in_their_order() {
    let server = with_session();
    offload(&server, 300);
    let mut client = begun(&server, READ);
    client.send_line("PING");
    server.run("LTMC.SESSION.SET {t}:s one 7").int();
    assert_eq!(client.recv().texts(), ["one", "1", "two", "2"], "it sees what was there when it began");
    assert_eq!(client.recv(), Reply::Simple("PONG".into()));
    offload(&server, 0);
    assert_eq!(client.run(READ).texts(), ["one", "7", "two", "2"]);
    client.resp3();
    assert_eq!(client.run(READ).get("one").text(), "7");
    assert!(client.run("LTMC.SESSION.GET {t}:none").is_nil());
    let figures = ["ltmc_offloaded", "ltmc_offloaded_now"].map(|name| server.info_int("ltmc", name));
    assert_eq!(figures, [3, 0]);
    assert_idle(&server);
}

#[test]
fn what_cannot_wait_is_done_at_once_if_it_is_short() {
    let server = with_session();
    offload(&server, 0);
    let mut client = server.client();
    client.run("MULTI").ok();
    for line in [READ, WRITE] {
        client.run(line);
    }
    let replies = client.run("EXEC");
    assert_eq!(replies.array()[0].texts(), ["one", "1", "two", "2"]);
    assert_eq!(replies.array()[1], Reply::Int(1));
    let script = server.cmd(&["EVAL", "return redis.call('LTMC.SESSION.GET', KEYS[1])", "1", "{t}:s"]);
    assert_eq!(script.texts(), ["one", "1", "two", "2"]);
    assert_idle(&server);
}

#[test]
fn what_cannot_wait_and_is_long_is_refused() {
    let server = with_session();
    let value = "x".repeat(1 << 20);
    let max = (64 << 20).to_string();
    for setting in ["session-bytes-max", "reply-bytes-max"] {
        server.cmd(&["CONFIG", "SET", &format!("ltmc.{setting}"), &max]).ok();
    }
    let names: Vec<String> = (0..30).map(|n| format!("field-{n}")).collect();
    names.iter().for_each(|name| drop(server.cmd(&["LTMC.SESSION.SET", "{t}:s", name, &value])));
    let refused = |reply: &Reply, why: &str| {
        let text = format!("at most 20000 are allowed {why}");
        assert!(
            reply.error().starts_with("LIMIT a reply with all fields takes 30") && reply.error().ends_with(&text),
            "{reply:?}"
        );
    };
    let mut client = server.client();
    client.run("MULTI").ok();
    client.run(READ);
    refused(&client.run("EXEC").array()[0], "in MULTI, scripts and inner calls");
    let script = server.cmd(&["EVAL", "return redis.pcall('LTMC.SESSION.GET', KEYS[1])", "1", "{t}:s"]);
    refused(&script, "in MULTI, scripts and inner calls");
    server.run("CONFIG SET ltmc.worker-threads 0").ok();
    refused(&server.run(READ), "without ltmc.worker-threads");
    server.run("CONFIG SET ltmc.worker-threads 3").ok();
    assert_eq!(server.run(READ).array().len(), 64);
    assert_eq!(server.cmd(&["LTMC.SESSION.GET", "{t}:s", "field-3"]).bytes().len(), 1 << 20);
}

#[test]
fn clients_that_go_meanwhile_leave_nothing() {
    let server = with_session();
    offload(&server, 200);
    for line in [READ, WRITE] {
        let (killed, closed) = (begun(&server, line), begun(&server, line));
        server.cmd(&["CLIENT", "KILL", "ID", &killed.id().to_string()]);
        closed.close();
        assert_idle(&server);
    }
    // The last work of a thread is over when this one is.
    begun(&server, READ).recv();
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0));
    assert_eq!(server.run("LTMC.SESSION.SET {t}:s one 3"), Reply::Int(2));
}

#[test]
fn client_unblock_does_not_end_them() {
    let server = with_session();
    offload(&server, 300);
    for line in [READ, WRITE] {
        let mut client = begun(&server, line);
        for how in ["TIMEOUT", "ERROR"] {
            assert_eq!(server.cmd(&["CLIENT", "UNBLOCK", &client.id().to_string(), how]), Reply::Int(0));
        }
        assert!(!client.recv().is_error());
    }
    assert_idle(&server);
}

#[test]
fn a_thousand_clients_are_served_and_one_more_is_refused() {
    let server = with_session();
    server.run("CONFIG SET ltmc.worker-threads 2").ok();
    offload(&server, 1500);
    let mut clients = server.clients(1001);
    let (last, clients) = clients.split_last_mut().expect("a thousand and one");
    clients.iter_mut().for_each(|client| client.send_line(READ));
    server.wait_blocked(1000);
    let text = "LIMIT one more command for threads would pass the limit of 1000 (setting ltmc.worker-queue-max)";
    assert_eq!(last.run(READ).error(), text);
    offload(&server, 0);
    clients.iter_mut().for_each(|client| assert_eq!(client.recv().texts(), ["one", "1", "two", "2"]));
    assert_eq!(last.run(READ).texts(), ["one", "1", "two", "2"]);
    assert_idle(&server);
}

#[test]
fn no_user_keeps_the_threads_from_the_others() {
    let server = with_session();
    server.run("CONFIG SET ltmc.worker-queue-max 5").ok();
    offload(&server, 400);
    let mut greedy: Vec<Client> = (0..6).map(|_| server.user("greedy", "~* &* +@all")).collect();
    let mut modest = server.user("modest", "~* &* +@all");
    greedy[..5].iter_mut().for_each(|client| client.send_line(READ));
    server.wait_blocked(5);
    assert!(greedy[5].run(READ).error().contains("ltmc.worker-queue-max"));
    // Only one of the greedy user's is before it.
    assert_eq!(modest.run(READ).texts(), ["one", "1", "two", "2"]);
    assert!(server.info_int("ltmc", "ltmc_offloaded_now") >= 2);
    offload(&server, 0);
    greedy[..5].iter_mut().for_each(|client| assert_eq!(client.recv().texts(), ["one", "1", "two", "2"]));
    wait_until("none is left", || server.info_int("ltmc", "ltmc_offloaded_now") == 0);
    assert_eq!(greedy[5].run(READ).texts(), ["one", "1", "two", "2"]);
}

#[test]
fn a_server_stops_in_the_middle() {
    let mut server = Server::builder().durable().start();
    fill(&server);
    offload(&server, 400);
    let (mut read, mut write) = (begun(&server, READ), begun(&server, WRITE));
    server.restart();
    assert!(read.recv_or_end().is_none() && write.recv_or_end().is_none());
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0));
    assert_eq!(server.run(READ).texts(), ["one", "1", "two", "2"]);
    offload(&server, 400);
    let _ = (begun(&server, READ), begun(&server, WRITE));
    server.crash_and_restart();
    assert_eq!(server.run("EXISTS {t}:new"), Reply::Int(0));
}

#[test]
fn a_change_of_role_ends_them() {
    let primary = with_session();
    let other = Server::start();
    offload(&primary, 400);
    let (mut read, mut write) = (begun(&primary, READ), begun(&primary, WRITE));
    primary.follow(&other);
    for client in [&mut read, &mut write] {
        let told = client.recv_or_end();
        assert!(told.as_ref().is_none_or(|told| told.error_code() == "UNBLOCKED"), "{told:?}");
    }
    assert_idle(&primary);
    assert_eq!(other.run("EXISTS {t}:new"), Reply::Int(0));
    // A replica reads with threads, too.
    other.run("LTMC.SESSION.SET {t}:s one 9");
    primary.wait_synced(&other);
    assert_eq!(begun(&primary, READ).recv().texts(), ["one", "9"]);
}

#[test]
fn large_values_are_freed_by_threads() {
    let server = Server::start();
    server.run("CONFIG SET ltmc.session-fields-max 100000").ok();
    let before = server.info_int("memory", "used_memory");
    let fields: Vec<String> = (0..6000).map(|n| format!("a-field-with-a-long-name-{n} x")).collect();
    let fill = |key: usize| {
        for (at, part) in fields.chunks(1000).enumerate() {
            server.run(&format!("LTMC.SESSION.SET s{key} {} last-{at} {at}", part.join(" ")));
        }
    };
    server.run("LTMC.DEBUG OFFLOAD 0 0").ok();
    for (key, line) in
        ["DEL s0", "UNLINK s1", "SET s2 x", "PEXPIRE s3 0", "FLUSHALL", "DEBUG RELOAD"].iter().enumerate()
    {
        fill(key);
        assert!(!server.run(line).is_error(), "{line}");
    }
    for threads in ["0", "2"] {
        server.run(&format!("CONFIG SET ltmc.worker-threads {threads}")).ok();
        fill(7);
        assert_eq!(server.run("DEL s7"), Reply::Int(1));
    }
    server.run("FLUSHALL").ok();
    wait_until("nothing is left", || server.info_int("memory", "used_memory") - before < 1 << 20);
    assert_eq!(server.info_int("ltmc", "ltmc_sessions"), 0);
    assert_idle(&server);
}
