//! Quotas: how much a registered agent may hold.

use crate::harness::*;
use crate::waiting::set_clock;

const PX: &str = "PX 600000000";

fn full() -> Builder {
    Server::builder().arg("ltmc.orchestration-mode", "full")
}

#[track_caller]
fn register(server: &Server, registry: &str, agent: &str) {
    assert!(server.run(&format!("LTMC.REGISTER {registry} {agent} {PX}")).int() > 0);
}

/// A server on which agents of the registry `r` have one quota.
#[track_caller]
fn with_quota(setting: &str, max: u64) -> Server {
    let server = full().arg(&format!("ltmc.{setting}"), max).start();
    register(&server, "r", "ada");
    register(&server, "r", "bob");
    server
}

#[track_caller]
fn assert_limit(reply: &Reply, setting: &str) {
    assert!(reply.error_code() == "LIMIT" && reply.error().contains(&format!("ltmc.{setting})")), "{reply:?}");
}

/// `agent` takes a lock with `REGISTRY r`.
fn lock(server: &Server, key: &str, agent: &str) -> Reply {
    server.run(&format!("LTMC.LOCK {key} {agent} {PX} REGISTRY r"))
}

#[track_caller]
fn assert_locks(server: &Server, keys: &str) {
    keys.split(' ').for_each(|key| assert!(lock(server, key, "ada").int() > 0, "{key}"));
}

/// `ada`, who may have so many locks, has them all.
#[track_caller]
fn assert_full(server: &Server) {
    assert_limit(&lock(server, "one-more", "ada"), "agent-locks-max");
    assert_eq!(server.run("EXISTS one-more").int(), 0);
}

#[test]
fn an_agent_gets_as_many_locks_as_its_quota_allows() {
    let server = with_quota("agent-locks-max", 4);
    assert_locks(&server, "a");
    server.run(&format!("LTMC.LOCK tree ada PATH src/a {PX} REGISTRY r")).int();
    assert_eq!(server.run(&format!("LTMC.MLOCK ada 2 b c {PX} REGISTRY r")).array().len(), 2);
    assert_full(&server);
    let refused = lock(&server, "one-more", "ada");
    let said = "the locks of agent 'ada', which are 4 and would be 1 more, would pass the limit of 4";
    assert!(refused.error().contains(said), "{refused:?}");
    for line in ["LTMC.LOCK tree ada PATH src/b", "LTMC.MLOCK ada 2 a d", "LTMC.LOCK stamps ada OPTIMISTIC"] {
        assert_limit(&server.run(&format!("{line} {PX} REGISTRY r")), "agent-locks-max");
    }
    assert_eq!(server.run("EXISTS d stamps").int(), 0, "all or nothing");
    assert_locks(&server, "a b");
    assert!(server.run(&format!("LTMC.MLOCK ada 2 a b {PX} REGISTRY r")).array().len() == 2, "it has both");
    assert!(lock(&server, "d", "bob").int() > 0, "each agent has its own quota");
    assert_eq!(server.run("LTMC.UNLOCK tree ada PATH src/a").int(), 1);
    assert_locks(&server, "e");
    assert_full(&server);
}

#[test]
fn an_agent_gets_as_many_tasks_as_there_is_room_for() {
    let server = with_quota("agent-tasks-max", 3);
    for n in 0..9 {
        server.run(&format!("LTMC.TASK.ADD flow{} t{n} p", n % 2)).bytes();
    }
    let claim = |flow: &str, count: u64| {
        server.run(&format!("LTMC.TASK.CLAIM {flow} ada COUNT {count} {PX} REGISTRY r CAPS 0"))
    };
    assert_eq!(claim("flow0", 2).array().len(), 2);
    let tasks = claim("flow1", 3);
    assert_eq!(tasks.array().len(), 1, "there is room for one");
    assert_limit(&claim("flow0", 1), "agent-tasks-max");
    assert_limit(&claim("empty", 1), "agent-tasks-max");
    let fence = tasks.array()[0].get("fence").int();
    let next = server.run(&format!("LTMC.TASK.COMPLETE flow1 t1 {fence} done NEXT"));
    assert_eq!(next.array().len(), 1, "one for one");
    // Lowering takes nothing away. Who would not get another task does not lose its place.
    server.run("CONFIG SET ltmc.agent-tasks-max 2").ok();
    let (task, fence) = (next.array()[0].get("task").text().to_owned(), next.array()[0].get("fence").int());
    let complete = |rest: &str| server.run(&format!("LTMC.TASK.COMPLETE flow1 {task} {fence} done{rest}"));
    assert_limit(&complete(" NEXT"), "agent-tasks-max");
    assert_eq!(server.run(&format!("LTMC.TASK.GET flow1 {task}")).get("state").text(), "running");
    complete("").ok();
    assert_limit(&claim("flow0", 1), "agent-tasks-max");
    server.run("CONFIG SET ltmc.agent-tasks-max 0").ok();
    assert_eq!(claim("flow0", 9).array().len(), 3);
}

#[test]
fn an_agent_gets_as_many_messages_as_there_is_room_for() {
    let server = with_quota("agent-messages-max", 3);
    for n in 0..8 {
        server.run(&format!("LTMC.MSG.SEND mail{} boss TO 2 ada bob text", n % 2)).int();
    }
    let receive = |mail: &str, agent: &str, count: u64| {
        server.run(&format!("LTMC.MSG.RECV {mail} {agent} COUNT {count} {PX} REGISTRY r"))
    };
    let first = receive("mail0", "ada", 2);
    assert_eq!(first.array().len(), 2);
    assert_eq!(receive("mail1", "ada", 9).array().len(), 1);
    assert_limit(&receive("mail0", "ada", 1), "agent-messages-max");
    assert_eq!(receive("mail0", "bob", 3).array().len(), 3);
    let id = |at: usize| first.array()[at].get("id").int();
    server.run(&format!("LTMC.MSG.EXTEND mail0 ada {} PX 700000000", id(0))).int();
    assert_limit(&receive("mail0", "ada", 1), "agent-messages-max");
    // What is put off is in nobody's hands.
    server.run(&format!("LTMC.MSG.NACK mail0 ada {} DELAY 600000000", id(0))).int();
    server.run(&format!("LTMC.MSG.ACK mail0 ada {}", id(1))).int();
    assert_eq!(receive("mail0", "ada", 9).array().len(), 2);
    assert_limit(&receive("mail1", "ada", 1), "agent-messages-max");
    server.run("LTMC.MSG.LEAVE mail0 ada").int();
    assert_eq!(receive("mail1", "ada", 9).array().len(), 2);
}

#[test]
fn an_agent_holds_as_many_bytes_of_chunks_as_its_quota_allows() {
    let server = with_quota("agent-chunk-bytes-max", 10);
    let held = |line: &str| server.run(&format!("{line} REGISTRY r"));
    server.run("LTMC.CHUNK.PUT one shared 123456").array();
    assert!(held(&format!("LTMC.CHUNK.PIN one shared ada {PX}")).int() > 0);
    assert_eq!(held("LTMC.CHUNK.RETAIN one shared ada").int(), 1, "it holds the chunk already");
    for line in [
        "LTMC.CHUNK.PUT two own 12345 PIN ada 600000000",
        "LTMC.CHUNK.ALLOC two ID draft SIZE 5 AGENT ada",
        "LTMC.CHUNK.PUT one shared 12345678901 PIN ada 600000000",
    ] {
        assert_limit(&held(line), "agent-chunk-bytes-max");
    }
    assert_eq!(server.run("EXISTS two").int(), 0);
    assert_eq!(held("LTMC.CHUNK.ALLOC two ID draft SIZE 4 AGENT ada").text(), "draft");
    assert_limit(&held("LTMC.CHUNK.PUT two own 1 PIN ada 600000000"), "agent-chunk-bytes-max");
    // A sealed chunk is nobody's, until somebody holds it.
    server.run("LTMC.CHUNK.SEAL two draft").int();
    assert_eq!(held("LTMC.CHUNK.PUT two own 1234 PIN ada 600000000").array().len(), 2);
    assert_limit(&held("LTMC.CHUNK.RETAIN two draft ada"), "agent-chunk-bytes-max");
    assert_eq!(held("LTMC.CHUNK.RETAIN two draft bob").int(), 1);
    // Others make a chunk longer that it holds. It keeps that, and gets no more.
    server.run("LTMC.CHUNK.PUT one shared 1234567").array();
    server.run("LTMC.CHUNK.UNPIN two own ada").int();
    assert_limit(&held("LTMC.CHUNK.RETAIN two own ada"), "agent-chunk-bytes-max");
    server.run("LTMC.CHUNK.PUT one shared 12345").array();
    assert_eq!(held("LTMC.CHUNK.RETAIN two own ada").int(), 1);
    server.run("LTMC.CHUNK.UNPIN one shared ada").int();
    assert_limit(&held("LTMC.CHUNK.RETAIN two draft ada"), "agent-chunk-bytes-max");
    server.run("LTMC.CHUNK.RELEASE one shared ada").int();
    assert_eq!(held("LTMC.CHUNK.RETAIN two draft ada").int(), 1);
}

#[test]
fn so_many_clients_wait_on_behalf_of_an_agent_and_no_more() {
    let server = with_quota("agent-waits-max", 2);
    server.run(&format!("LTMC.LOCK k boss {PX}")).int();
    let lines = ["LTMC.LOCK k ada BLOCK 0 REGISTRY r", "LTMC.MSG.RECV mail ada BLOCK 0 REGISTRY r"];
    let mut clients = server.clients(2);
    server.block_in_turn(&mut clients, |at| lines[at].into());
    for line in [
        "LTMC.LOCK k ada BLOCK 10 REGISTRY r",
        "LTMC.MSG.RECV other ada BLOCK 10 REGISTRY r",
        "LTMC.TASK.CLAIM flow ada BLOCK 10 REGISTRY r",
        "LTMC.AGENT.CLAIM r PX 1000 CAPS 1 none REF ada BLOCK 10 REGISTRY r",
    ] {
        assert_limit(&server.run(line), "agent-waits-max");
    }
    assert!(server.run("LTMC.LOCK k ada REGISTRY r").is_nil(), "it does not wait");
    assert!(server.run("LTMC.LOCK k ada BLOCK 10").is_nil(), "it waits on its own account");
    assert!(server.run("LTMC.LOCK k bob BLOCK 10 REGISTRY r").is_nil());
    drop(clients.pop());
    server.wait_blocked(1);
    assert!(server.run("LTMC.LOCK k ada BLOCK 10 REGISTRY r").is_nil(), "one place is free");
    server.run("LTMC.UNLOCK k boss").int();
    assert!(clients[0].recv().int() > 0);
    let mut clients = server.clients(2);
    server.block_in_turn(&mut clients, |_| lines[1].into());
    assert_limit(&server.run(lines[1]), "agent-waits-max");
    // A wait that ends in time counts no more.
    drop(clients);
    server.wait_blocked(0);
    for _ in 0..5 {
        assert_eq!(server.run("LTMC.MSG.RECV mail ada BLOCK 1 REGISTRY r").array().len(), 0);
    }
}

#[test]
fn who_completes_a_task_and_may_not_wait_for_the_next_keeps_it() {
    let server = with_quota("agent-waits-max", 1);
    server.run("LTMC.TASK.ADD flow t p").bytes();
    let claim = server.run(&format!("LTMC.TASK.CLAIM flow ada {PX} CAPS 0 REGISTRY r"));
    let fence = claim.array()[0].get("fence").int();
    let mut clients = server.clients(1);
    server.block_in_turn(&mut clients, |_| "LTMC.MSG.RECV mail ada BLOCK 0 REGISTRY r".into());
    let next = format!("LTMC.TASK.COMPLETE flow t {fence} done NEXT BLOCK 10");
    assert_limit(&server.run(&next), "agent-waits-max");
    drop(clients);
    server.wait_blocked(0);
    assert_eq!(server.run(&next).array().len(), 0);
    assert_eq!(server.run("LTMC.TASK.GET flow t").get("state").text(), "succeeded");
}

/// A client waits on behalf of `ada`, who then gets something else; after `give`, it is told that
/// this was enough.
#[track_caller]
fn assert_told(server: &Server, setting: &str, wait: &str, take: &str, give: &str) {
    let mut clients = server.clients(2);
    let lines = [format!("{wait} REGISTRY r"), wait.replace("ada", "bob") + " REGISTRY r"];
    server.block_in_turn(&mut clients, |at| lines[at].clone());
    let taken = server.run(&format!("{take} REGISTRY r"));
    assert!(!taken.is_error() && !taken.is_nil(), "{taken:?}");
    let given = server.run(give);
    assert!(!given.is_error(), "{given:?}");
    assert_limit(&clients[0].recv(), setting);
    // What it did not get is for others.
    if !wait.contains("MSG") {
        let got = clients[1].recv();
        assert!(!got.is_error() && !got.is_nil(), "{got:?}");
    }
}

#[test]
fn a_client_that_waits_is_asked_again_when_its_turn_comes() {
    let server = with_quota("agent-locks-max", 1);
    server.run(&format!("LTMC.LOCK k boss {PX}")).int();
    let wait = format!("LTMC.LOCK k ada {PX} BLOCK 0");
    assert_told(&server, "agent-locks-max", &wait, &format!("LTMC.LOCK other ada {PX}"), "LTMC.UNLOCK k boss");
    assert_limit(&server.run(&format!("{wait} REGISTRY r")), "agent-locks-max");

    let server = with_quota("agent-messages-max", 1);
    server.run("LTMC.MSG.SEND other boss TO 1 ada text").int();
    let (wait, take) = (format!("LTMC.MSG.RECV mail ada {PX} BLOCK 0"), format!("LTMC.MSG.RECV other ada {PX}"));
    assert_told(&server, "agent-messages-max", &wait, &take, "LTMC.MSG.SEND mail boss TO 1 ada text");
    assert_eq!(server.run(&format!("LTMC.MSG.RECV mail ada {PX}")).array().len(), 1, "nothing is lost");

    let server = with_quota("agent-tasks-max", 1);
    server.run("LTMC.TASK.ADD other t p").bytes();
    let (wait, take) = ("LTMC.TASK.CLAIM flow ada CAPS 0 BLOCK 0", "LTMC.TASK.CLAIM other ada CAPS 0");
    assert_told(&server, "agent-tasks-max", wait, take, "LTMC.TASK.ADD flow t p");
}

#[test]
fn what_has_moved_in_the_same_transaction_counts() {
    let server = with_quota("agent-locks-max", 1);
    let take = |key: &str| format!("LTMC.LOCK {key} ada {PX} REGISTRY r");
    server.run(&take("a")).int();
    let mut client = server.client();
    let replies = client.pipeline(&["MULTI", "RENAME a b", &take("c"), "RENAME b a", &take("d"), "EXEC"]);
    let told = replies[5].array();
    [&told[1], &told[3]].into_iter().for_each(|refused| assert_limit(refused, "agent-locks-max"));
    let script =
        "redis.call('RENAME', 'a', 'b'); return redis.pcall('LTMC.LOCK', 'c', 'ada', 'PX', '99999', 'REGISTRY', 'r')";
    assert_limit(&server.cmd(&["EVAL", script, "0"]), "agent-locks-max");
    let replies = client.pipeline(&["MULTI", "DEL b", &take("c"), "EXEC"]);
    assert!(replies[3].array()[1].int() > 0);
}

#[test]
fn a_wait_counts_where_the_agent_is_bound() {
    let server = with_quota("agent-waits-max", 1);
    let fence = server.run(&format!("LTMC.LOCK shared ada SHARED {PX} REGISTRY r")).int();
    server.run(&format!("LTMC.LOCK shared boss SHARED {PX}")).int();
    let mut waiter = server.client();
    waiter.send_line(&format!("LTMC.LOCK.CONVERT shared ada TOKEN {fence} EXCLUSIVE BLOCK 0"));
    server.wait_blocked(1);
    server.run(&format!("LTMC.LOCK k boss {PX}")).int();
    assert_limit(&server.run("LTMC.LOCK k ada REGISTRY r BLOCK 50"), "agent-waits-max");
    assert_limit(&server.run("LTMC.LOCK shared ada PATH p BLOCK 50"), "agent-waits-max");
    assert!(server.run("LTMC.LOCK k ada BLOCK 50").is_nil(), "it is bound nowhere");
    server.run("LTMC.UNLOCK shared boss").int();
    assert!(waiter.recv().int() > fence);
    assert!(server.run("LTMC.LOCK k ada REGISTRY r BLOCK 50").is_nil());
}

#[test]
fn what_a_key_no_longer_holds_does_not_count() {
    let server = with_quota("agent-locks-max", 2);
    let frees: [(&str, &[&str]); 9] = [
        ("unlocked", &["LTMC.UNLOCK a ada"]),
        ("broken", &["LTMC.LOCK.BREAK a"]),
        ("deleted", &["DEL a"]),
        ("unlinked", &["UNLINK a"]),
        ("overwritten", &["SET a text", "DEL a"]),
        ("replaced", &["SET s text", "RENAME s a", "DEL a"]),
        ("renamed", &["RENAME a x", "LTMC.UNLOCK x ada"]),
        ("moved", &["MOVE a 1"]),
        ("flushed", &["FLUSHALL", "LTMC.REGISTER r ada PX 600000000"]),
    ];
    for (how, lines) in frees {
        assert_locks(&server, "a b");
        // In one go: the scheduler does not run in between.
        let mut client = server.client();
        let more = [format!("LTMC.LOCK c ada {PX} REGISTRY r"), format!("LTMC.LOCK d ada {PX} REGISTRY r")];
        let all: Vec<&str> = ["MULTI"]
            .into_iter()
            .chain(lines.iter().copied())
            .chain(more.iter().map(|line| &**line))
            .chain(["EXEC"])
            .collect();
        let replies = client.pipeline(&all);
        let done = replies.last().expect("of EXEC").array();
        let [.., one, other] = done else { panic!("{done:?}") };
        assert!(one.int() > 0, "{how}: {done:?}");
        if how == "flushed" {
            assert!(other.int() > 0, "{how}: {done:?}");
        } else {
            assert_limit(other, "agent-locks-max");
        }
        server.run("DEL a b c d").int();
        assert_locks(&server, "e f");
        assert_full(&server);
        server.run("DEL e f").int();
    }
}

#[test]
fn what_time_takes_away_does_not_count() {
    let server = with_quota("agent-locks-max", 2);
    server.run("LTMC.LOCK a ada PX 1000 REGISTRY r").int();
    assert_locks(&server, "b");
    assert_full(&server);
    set_clock(&server, 1_001);
    wait_until("the lease is over", || !lock(&server, "c", "ada").is_error());
    assert_full(&server);

    let server = with_quota("agent-messages-max", 1);
    for mail in ["mail", "other"] {
        server.run(&format!("LTMC.MSG.SEND {mail} boss TO 1 ada text")).int();
    }
    let receive = |mail: &str| server.run(&format!("LTMC.MSG.RECV {mail} ada PX 1000 REGISTRY r"));
    assert_eq!(receive("mail").array().len(), 1);
    assert_limit(&receive("other"), "agent-messages-max");
    set_clock(&server, 1_001);
    wait_until("the lease is over", || !receive("other").is_error());
    assert_limit(&receive("mail"), "agent-messages-max");
    server.run("PEXPIRE other 1").int();
    wait_until("the mailbox is gone", || !receive("mail").is_error());

    let server = with_quota("agent-chunk-bytes-max", 5);
    server.run("LTMC.CHUNK.PUT buffer a 12345 PIN ada 1000 REGISTRY r").array();
    let other = || server.run("LTMC.CHUNK.PUT buffer b 12345 PIN ada 1000 REGISTRY r");
    assert_limit(&other(), "agent-chunk-bytes-max");
    set_clock(&server, 1_001);
    wait_until("the pin is over", || !other().is_error());
}

#[test]
fn the_next_incarnation_begins_with_nothing() {
    let server = with_quota("agent-locks-max", 2);
    assert_locks(&server, "a b");
    assert_full(&server);
    register(&server, "r", "ada");
    assert_locks(&server, "c d");
    assert_full(&server);
}

#[test]
fn each_registry_has_its_own_count() {
    let server = with_quota("agent-locks-max", 1);
    register(&server, "q", "ada");
    assert_locks(&server, "a");
    assert_full(&server);
    let other = |key: &str| server.run(&format!("LTMC.LOCK {key} ada {PX} REGISTRY q"));
    assert!(other("b").int() > 0);
    assert_limit(&other("c"), "agent-locks-max");
    server.run("LTMC.UNLOCK b ada").int();
    assert!(other("c").int() > 0);
    assert_full(&server);
}

#[test]
fn what_is_bound_counts_whether_it_was_taken_with_registry_or_not() {
    let server = with_quota("agent-locks-max", 3);
    let take = |path: &str, rest: &str| server.run(&format!("LTMC.LOCK tree ada PATH {path} {PX}{rest}"));
    for path in ["a", "b", "c"] {
        assert!(take(path, "").int() > 0, "nobody counts what is not bound");
    }
    assert_limit(&take("d", " REGISTRY r"), "agent-locks-max");
    server.run("LTMC.UNLOCK tree ada PATH c").int();
    assert!(take("d", " REGISTRY r").int() > 0, "it binds the others, too");
    assert_full(&server);
    assert_limit(&take("e", ""), "agent-locks-max");
    assert!(server.run(&format!("LTMC.LOCK free ada {PX}")).int() > 0);
}

#[test]
fn in_mode_basic_nothing_is_refused() {
    let server = with_quota("agent-locks-max", 1);
    server.run("CONFIG SET ltmc.agent-waits-max 1").ok();
    server.run("CONFIG SET ltmc.agent-tasks-max 1").ok();
    assert_locks(&server, "a");
    server.run("CONFIG SET ltmc.orchestration-mode basic").ok();
    assert_locks(&server, "b c");
    (0..3).for_each(|_| drop(server.run("LTMC.TASK.ADD flow * p")));
    let claim = |count: u64| server.run(&format!("LTMC.TASK.CLAIM flow ada CAPS 0 COUNT {count} {PX} REGISTRY r"));
    assert_eq!(claim(2).array().len(), 2);
    let mut clients = server.clients(2);
    server.block_in_turn(&mut clients, |_| "LTMC.MSG.RECV mail ada BLOCK 0 REGISTRY r".into());
    server.run("CONFIG SET ltmc.orchestration-mode full").ok();
    assert_full(&server);
    assert_limit(&claim(1), "agent-tasks-max");
    server.run("LTMC.UNLOCK a ada").int();
    assert_locks(&server, "d");
    assert_full(&server);
    assert_eq!(server.run("LTMC.MSG.RECV mail ada BLOCK 1 REGISTRY r").array().len(), 0);
}

#[test]
fn lowering_a_quota_takes_nothing_away() {
    let server = with_quota("agent-locks-max", 0);
    assert_locks(&server, "a b c");
    server.run("CONFIG SET ltmc.agent-locks-max 1").ok();
    assert_full(&server);
    assert_eq!(server.run("EXISTS a b c").int(), 3);
    assert_locks(&server, "a b c");
    server.run("LTMC.UNLOCK a ada ALL").int();
    server.run("LTMC.UNLOCK b ada ALL").int();
    assert_full(&server);
    server.run("LTMC.UNLOCK c ada ALL").int();
    assert_locks(&server, "d");
}

/// One thing of each kind, and one more.
const EACH: [(&str, &str, &str); 4] = [
    ("agent-locks-max", "LTMC.LOCK a ada", "LTMC.LOCK b ada"),
    ("agent-tasks-max", "LTMC.TASK.CLAIM flow ada CAPS 0", "LTMC.TASK.CLAIM flow ada CAPS 0"),
    ("agent-messages-max", "LTMC.MSG.RECV mail ada", "LTMC.MSG.RECV mail ada"),
    ("agent-chunk-bytes-max", "LTMC.CHUNK.PIN buffer c ada", "LTMC.CHUNK.PIN buffer d ada"),
];

#[test]
fn whoever_loads_or_takes_over_counts_the_same() {
    for way in ["restart", "crash", "reload", "rewrite", "failover", "resync"] {
        let mut builder = full().durable();
        for (setting, ..) in EACH {
            builder = builder.arg(&format!("ltmc.{setting}"), 1);
        }
        let mut server = builder.start();
        register(&server, "r", "ada");
        for line in ["LTMC.TASK.ADD flow * p", "LTMC.MSG.SEND mail boss TO 1 ada text"].repeat(3) {
            assert!(!server.run(line).is_error());
        }
        ["c", "d"].iter().for_each(|id| drop(server.run(&format!("LTMC.CHUNK.PUT buffer {id} x"))));
        let replica = (way == "failover").then(|| server.replica());
        for (_, take, _) in EACH {
            let reply = server.run(&format!("{take} {PX} REGISTRY r"));
            assert!(!reply.is_error() && !reply.is_nil(), "{take}: {reply:?}");
        }
        let server = match way {
            "restart" => {
                server.restart();
                server
            }
            "crash" => {
                server.crash_and_restart();
                server
            }
            "reload" => {
                server.debug_reload();
                server
            }
            "rewrite" => {
                server.rewrite_aof();
                server.crash_and_restart();
                server
            }
            _ => {
                let replica = replica.unwrap_or_else(|| server.replica());
                replica.wait_synced(&server);
                server.kill();
                replica.promote();
                replica
            }
        };
        for (setting, _, more) in EACH {
            assert_limit(&server.run(&format!("{more} {PX} REGISTRY r")), setting);
        }
        server.run("LTMC.UNLOCK a ada").int();
        server.run("LTMC.CHUNK.UNPIN buffer c ada").int();
        server.run("DEL flow mail").int();
        for line in ["LTMC.TASK.ADD flow * p", "LTMC.MSG.SEND mail boss TO 1 ada text"].repeat(2) {
            assert!(!server.run(line).is_error());
        }
        for (setting, _, more) in EACH {
            let reply = server.run(&format!("{more} {PX} REGISTRY r"));
            assert!(!reply.is_error() && !reply.is_nil(), "{way}: {more}: {reply:?}");
            let other = more.replace("LOCK b", "LOCK e").replace("buffer d", "buffer c");
            assert_limit(&server.run(&format!("{other} {PX} REGISTRY r")), setting);
        }
    }
}
