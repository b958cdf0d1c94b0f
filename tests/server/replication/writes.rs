//! What writes send, and what comes of it: on replicas, in the AOF, after a failover.

use crate::harness::*;
use crate::lock::owners;

/// Command and key of each command in a stream, without the payloads.
fn shape(stream: &Stream) -> Vec<String> {
    let shown = |command: &Vec<Vec<u8>>| {
        let words: Vec<_> = command.iter().take(2).map(|word| word.escape_ascii().to_string()).collect();
        words.join(" ")
    };
    stream.iter().map(shown).collect()
}

#[track_caller]
fn sends(server: &Server, expected: &[&str], action: impl FnOnce()) {
    assert_eq!(shape(&replication_stream(server, action)), expected);
}

/// The stream of one command that succeeds.
#[track_caller]
fn line_sends(server: &Server, line: &str, expected: &[&str]) -> Reply {
    let mut reply = Reply::Nil;
    sends(server, expected, || reply = server.run(line));
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply
}

#[test]
fn a_write_sends_its_changes_and_nothing_else() {
    let server = Server::start();
    let k: &[&str] = &["LTMC.APPLY k"];
    let fence = line_sends(&server, "LTMC.LOCK k a PX 600000", k).int();
    line_sends(&server, "LTMC.LOCK k a", k);
    line_sends(&server, "LTMC.LOCK k b", &[]);
    line_sends(&server, "LTMC.LOCK.INFO k", &[]);
    line_sends(&server, "LTMC.UNLOCK k a", k);
    line_sends(&server, &format!("LTMC.LOCK.RENEW k a TOKEN {fence} PX 700000"), k);
    let fence = line_sends(&server, &format!("LTMC.LOCK.CONVERT k a TOKEN {fence} SHARED"), k).int();
    line_sends(&server, &format!("LTMC.UNLOCK k a TOKEN {fence}"), k);
    line_sends(&server, "LTMC.UNLOCK k a", &[]);
    line_sends(&server, "LTMC.LOCK k a SHARED LIMIT 2 PATH src META m REQID r1", k);
    line_sends(&server, "LTMC.LOCK k a SHARED LIMIT 2 PATH src META m REQID r1", &[]);
    line_sends(&server, "LTMC.LOCK k b SHARED PATH src", k);
    line_sends(&server, "LTMC.LOCK.BREAK k b", k);
    line_sends(&server, "LTMC.LOCK.BREAK k nobody", &[]);
    line_sends(&server, "LTMC.LOCK.BREAK k", k);
    let stamp = line_sends(&server, "LTMC.LOCK k a OPTIMISTIC", k).int();
    line_sends(&server, &format!("LTMC.UNLOCK k a TOKEN {stamp}"), k);
    assert_eq!(server.run("DBSIZE").int(), 0);
}

#[test]
fn several_keys_are_sent_as_one_transaction() {
    let server = Server::start();
    line_sends(
        &server,
        "LTMC.MLOCK a 3 z x y PX 600000",
        &["MULTI", "LTMC.APPLY z", "LTMC.APPLY x", "LTMC.APPLY y", "EXEC"],
    );
    line_sends(&server, "LTMC.MLOCK b 2 y free", &[]);
    sends(&server, &["MULTI", "LTMC.APPLY k", "SET doc", "LTMC.APPLY k", "EXEC"], || {
        let lines = ["MULTI", "LTMC.LOCK k a", "SET doc text", "LTMC.UNLOCK k a", "EXEC"];
        server.client().pipeline(&lines);
    });
    sends(&server, &["MULTI", "LTMC.APPLY k", "SET doc", "EXEC"], || {
        let script = "redis.call('LTMC.LOCK', 'k', 'a') redis.call('SET', 'doc', 'x')";
        server.cmd(&["EVAL", script, "0"]);
    });
}

#[test]
fn a_hand_off_goes_with_the_release() {
    let server = Server::start();
    server.run("LTMC.LOCK k a PX 600000").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k b PX 600000 REQID r BLOCK 0");
    server.wait_blocked(1);
    sends(&server, &["LTMC.APPLY k"], || {
        assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1);
        assert!(waiting.recv().int() > 0);
    });
    server.run("LTMC.LOCK other c PX 600000").int();
    waiting.send_line("LTMC.MLOCK d 2 k other BLOCK 0");
    server.wait_blocked(1);
    server.run("LTMC.UNLOCK k b").int();
    sends(&server, &["MULTI", "LTMC.APPLY other", "LTMC.APPLY k", "EXEC"], || {
        assert_eq!(server.run("LTMC.UNLOCK other c").int(), 1);
        assert_eq!(waiting.recv().ints().len(), 2);
    });
}

#[test]
fn an_expiry_with_a_waiter_is_sent_as_changes() {
    let server = Server::start();
    // Another share keeps the key itself alive, so that only the scheduler can end the lease.
    server.run("LTMC.LOCK k long SHARED PX 600000").int();
    server.run("LTMC.LOCK k short SHARED PX 60000").int();
    let mut waiting = server.client();
    waiting.send_line("LTMC.LOCK k next SHARED LIMIT 2 PX 600000 BLOCK 0");
    server.wait_blocked(1);
    sends(&server, &["LTMC.APPLY k"], || {
        server.run("LTMC.DEBUG CLOCK 61000").ok();
        assert!(waiting.recv().int() > 0);
    });
    assert_eq!(owners(&server, "k", "holders"), ["long", "next"]);
}

#[test]
fn every_way_to_write_is_persisted_everywhere() {
    let primary = Server::builder().durable().start();
    let replica = primary.replica();
    let run = |line: &str| {
        let reply = primary.run(line);
        assert!(!reply.is_error() && !reply.is_nil(), "{line}: {reply:?}");
        reply
    };
    run("LTMC.LOCK plain a PX 6000000");
    run("LTMC.LOCK plain a");
    run("LTMC.LOCK rich a SHARED LIMIT 4 PATH src/db META text REQID r1 PX 6000000");
    run("LTMC.LOCK rich b EXCLUSIVE PATH docs REQID r2 PX 7000000");
    for number in 0..30 {
        run(&format!("LTMC.LOCK crowd owner{number} SHARED PX {}", 6_000_000 + number * 1000));
    }
    run("LTMC.UNLOCK crowd owner7");
    let fence = run("LTMC.LOCK renewed a PX 5000").int();
    run(&format!("LTMC.LOCK.RENEW renewed a TOKEN {fence} PX 6000000"));
    let fence = run("LTMC.LOCK converted a PX 6000000").int();
    run(&format!("LTMC.LOCK.CONVERT converted a TOKEN {fence} SHARED"));
    run("LTMC.MLOCK a 3 m1 m2 m3 PX 6000000");
    run("LTMC.LOCK broken a SHARED PX 6000000");
    run("LTMC.LOCK broken b SHARED PX 6000000");
    run("LTMC.LOCK.BREAK broken a");
    run("LTMC.LOCK stamped a OPTIMISTIC PX 6000000");
    run("LTMC.LOCK stamped b PX 6000000");
    primary.run("CONFIG SET ltmc.lock-lease-ms 0").ok();
    run("LTMC.LOCK endless a");
    run("LTMC.LOCK handed a");
    run("LTMC.LOCK expired long SHARED");
    run("LTMC.LOCK expired short SHARED PX 50");
    let mut waiting = primary.clients(2);
    waiting[0].send_line("LTMC.LOCK handed b REQID r3 BLOCK 0");
    waiting[1].send_line("LTMC.LOCK expired next SHARED LIMIT 2 BLOCK 0");
    wait_until("the lease is over", || owners(&primary, "expired", "holders") == ["long", "next"]);
    primary.wait_blocked(1);
    run("LTMC.UNLOCK handed a");
    for client in &mut waiting {
        client.recv().int();
    }
    run("LTMC.LOCK gone a");
    run("LTMC.UNLOCK gone a");
    let mut other = primary.client();
    other.run("SELECT 4").ok();
    other.run("LTMC.LOCK plain z PX 6000000").int();
    let mut tied = primary.client();
    tied.run("LTMC.LOCK tied a ONDISCONNECT RELEASE").int();
    tied.close();
    wait_until("the tie is cut", || primary.run("EXISTS tied").int() == 0);
    assert_persisted_everywhere(&primary, &[&replica]);
    assert!(primary.run("LTMC.LOCK plain b").is_nil());
}

#[test]
fn a_promoted_replica_goes_on_where_the_primary_ended() {
    let mut primary = Server::start();
    let replica = primary.replica();
    // The primary's clock is ahead: the fences of the replica must still grow.
    primary.run("LTMC.DEBUG CLOCK 60000").ok();
    let fence = primary.run("LTMC.LOCK k a PX 600000").int();
    let short = primary.run("LTMC.LOCK short a SHARED PX 61000").int();
    primary.run("LTMC.LOCK short long SHARED PX 600000").int();
    let mut waiting = primary.client();
    waiting.send_line("LTMC.LOCK k b BLOCK 0");
    primary.wait_blocked(1);
    replica.wait_synced(&primary);
    primary.kill();
    waiting.wait_closed();
    replica.promote();
    assert_eq!(replica.run(&format!("LTMC.LOCK.CHECK k {fence}")).int(), 1);
    assert!(replica.run("LTMC.LOCK k b").is_nil());
    let mut waiting = replica.clients(2);
    waiting[0].send_line("LTMC.LOCK k b PX 600000 BLOCK 0");
    waiting[1].send_line("LTMC.LOCK short c PX 600000 BLOCK 0");
    replica.wait_blocked(2);
    replica.run("LTMC.LOCK.BREAK short long").int();
    assert_eq!(owners(&replica, "short", "holders"), ["a"]);
    assert_eq!(replica.run(&format!("LTMC.UNLOCK k a TOKEN {fence}")).int(), 1);
    let next = waiting[0].recv().int();
    assert!(next > fence && next > short, "{fence} {next}");
    replica.run("LTMC.DEBUG CLOCK 130000").ok();
    // The lease ends at an absolute time, which has come.
    replica.run("LTMC.LOCK short a SHARED");
    assert!(waiting[1].recv().int() > next);
}

#[test]
fn a_replica_ends_no_lease_by_itself() {
    let primary = Server::start();
    let replica = primary.replica();
    primary.run("LTMC.LOCK k long SHARED PX 600000").int();
    let short = primary.run("LTMC.LOCK k short SHARED PX 1").int();
    replica.wait_synced(&primary);
    crate::lock::wait_not_current(&replica, "k", short);
    let before = replica.dataset();
    crate::lock::wait_not_current(&primary, "k", short);
    replica.wait_synced(&primary);
    assert_same("nobody decided anything", &before, &replica.dataset());
    primary.run("LTMC.LOCK k next SHARED").int();
    replica.wait_synced(&primary);
    assert_same("the primary decided", &primary.dataset(), &replica.dataset());
    assert_eq!(owners(&replica, "k", "holders"), ["long", "next"]);
}

#[test]
fn locks_tied_to_clients_of_a_dead_primary_are_released_by_its_successor() {
    let mut primary = Server::start();
    let replica = primary.replica();
    let mut tied = primary.client();
    tied.run("LTMC.LOCK k a ONDISCONNECT RELEASE PX 600000").int();
    primary.run("LTMC.LOCK kept a PX 600000").int();
    replica.wait_synced(&primary);
    assert_eq!(replica.run("EXISTS k").int(), 1);
    primary.kill();
    replica.promote();
    wait_until("it is released", || replica.run("EXISTS k").int() == 0);
    assert_eq!(replica.run("EXISTS kept").int(), 1);
}
