//! `LTMC.GUARD`: any command, only while a fence is current.

use super::*;

/// A server where `a` holds the lock `k`, and the fence of that.
fn locked() -> (Server, i64) {
    let server = Server::start();
    let fence = server.run("LTMC.LOCK k a PX 600000").int();
    (server, fence)
}

/// The stream of one guarded command, which has to succeed.
#[track_caller]
fn stream_of(server: &Server, line: &[&str]) -> Vec<String> {
    let stream = replication_stream(server, || {
        let reply = server.cmd(line);
        assert!(!reply.is_error(), "{line:?}: {reply:?}");
    });
    show_stream(&stream)
}

#[test]
fn a_current_fence_lets_the_command_run_and_it_replicates_as_itself() {
    let (server, fence) = locked();
    let fence = fence.to_string();
    assert_eq!(stream_of(&server, &["LTMC.GUARD", "k", &fence, "SET", "doc", "text"]), ["SET doc text"]);
    assert_eq!(server.run("GET doc").text(), "text");
    assert_eq!(server.run(&format!("LTMC.GUARD k {fence} GET doc")).text(), "text");
    assert_eq!(server.run(&format!("LTMC.GUARD k {fence} INCR n")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.GUARD k {fence} INCR n")).int(), 2);
    let wrong = server.run(&format!("LTMC.GUARD k {fence} LPUSH doc v"));
    assert_eq!(wrong.error_code(), "WRONGTYPE", "the command's own errors come through");
    let unknown = server.run(&format!("LTMC.GUARD k {fence} NOSUCHCOMMAND"));
    assert_eq!(unknown.error_code(), "ERR");
}

#[test]
fn an_old_fence_is_stale_and_nothing_runs() {
    let (server, old) = locked();
    server.run("LTMC.UNLOCK k a").int();
    let guarded = |fence: i64| server.run(&format!("LTMC.GUARD k {fence} SET doc text"));
    assert_eq!(guarded(old).error_code(), "STALE", "nobody holds it");
    let new = server.run("LTMC.LOCK k b PX 600000").int();
    let refused = guarded(old);
    assert_eq!(refused.error_code(), "STALE");
    assert!(refused.error().contains(&new.to_string()), "{refused:?}");
    assert_eq!(server.run("EXISTS doc").int(), 0);
    let short = server.run("LTMC.LOCK short a PX 1").int();
    wait_not_current(&server, "short", short);
    assert_eq!(server.run(&format!("LTMC.GUARD short {short} SET doc text")).error_code(), "STALE");
    guarded(new).ok();
}

#[test]
fn whatever_is_not_the_current_fence_is_stale() {
    let (server, fence) = locked();
    for other in [0, 1, 2, fence - 1, fence + 1, fence + 2, (1 << 53) - 1] {
        for key in ["k", "free"] {
            let refused = server.run(&format!("LTMC.GUARD {key} {other} SET doc text"));
            assert_eq!(refused.error_code(), "STALE", "{key} {other}");
        }
    }
    server.run("SET text v").ok();
    for other in [1, 2] {
        assert_eq!(server.run(&format!("LTMC.GUARD text {other} SET doc text")).error_code(), "WRONGTYPE");
    }
    let stamp = server.run("LTMC.LOCK o a OPTIMISTIC").int();
    let refused = server.run(&format!("LTMC.GUARD o {stamp} SET doc text"));
    assert!(refused.error().contains("is an optimistic stamp, which excludes nobody"), "{refused:?}");
    assert_eq!(server.run(&format!("LTMC.UNLOCK o a TOKEN {stamp}")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.GUARD o {stamp} SET doc text")).error_code(), "STALE");
    assert_eq!(server.run("EXISTS doc").int(), 0);
}

#[test]
fn every_share_has_a_current_fence() {
    let server = Server::start();
    for owner in ["a", "b"] {
        let fence = server.run(&format!("LTMC.LOCK k {owner} SHARED PX 600000")).int();
        assert_eq!(server.run(&format!("LTMC.GUARD k {fence} INCR {owner}")).int(), 1);
    }
}

#[test]
fn a_guard_in_a_guard_and_a_transaction_in_a_guard_are_refused() {
    let (server, fence) = locked();
    for inner in [
        format!("LTMC.GUARD k {fence} SET doc text"),
        format!("ltmc.guard k {fence} SET doc text"),
        "MULTI".to_string(),
        "EXEC".to_string(),
        "WATCH doc".to_string(),
        "SUBSCRIBE channel".to_string(),
    ] {
        let reply = server.run(&format!("LTMC.GUARD k {fence} {inner}"));
        assert!(reply.is_error(), "{inner}: {reply:?}");
    }
    assert_eq!(server.run("EXISTS doc").int(), 0);
    server.run("SET after v").ok();
}

#[test]
fn a_guard_works_inside_a_transaction_and_inside_a_script() {
    let (server, fence) = locked();
    let replies = server.client().pipeline(&[
        "MULTI",
        &format!("LTMC.GUARD k {fence} SET a 1"),
        &format!("LTMC.GUARD k {} SET b 1", fence + 2),
        "EXEC",
    ]);
    let results = replies[3].array();
    results[0].ok();
    assert_eq!(results[1].error_code(), "STALE");
    let script = "return redis.call('LTMC.GUARD', KEYS[1], ARGV[1], 'INCR', KEYS[2])";
    let reply = server.cmd(&["EVAL", script, "2", "k", "n", &fence.to_string()]);
    assert_eq!(reply.int(), 1);
}

#[test]
fn a_blocking_command_tries_once() {
    let (server, fence) = locked();
    server.run("LTMC.LOCK busy b PX 600000").int();
    for inner in ["LTMC.LOCK busy c BLOCK 0", "XREAD BLOCK 0 STREAMS s $"] {
        assert!(server.run(&format!("LTMC.GUARD k {fence} {inner}")).is_nil(), "{inner}");
    }
    // Redis 7.0 does not let scripts, and so inner calls, run it at all.
    let popped = server.run(&format!("LTMC.GUARD k {fence} BLPOP list 0"));
    assert!(popped.is_nil() || popped.error().contains("script mode"), "{popped:?}");
}

#[test]
fn a_script_can_be_guarded() {
    let (server, fence) = locked();
    let fence = fence.to_string();
    let script = "redis.call('SET', KEYS[1], 'x') redis.call('SET', KEYS[2], 'y') return 7";
    let stream = stream_of(&server, &["LTMC.GUARD", "k", &fence, "EVAL", script, "2", "d1", "d2"]);
    assert_eq!(stream, ["MULTI", "SET d1 x", "SET d2 y", "EXEC"]);
}

#[test]
fn a_command_of_ours_in_a_guard_replicates_as_changes() {
    let (server, fence) = locked();
    let fence = fence.to_string();
    let stream = stream_of(&server, &["LTMC.GUARD", "k", &fence, "LTMC.LOCK", "inner", "a", "PX", "600000"]);
    assert_eq!(stream.len(), 1, "{stream:?}");
    assert!(stream[0].starts_with("LTMC.APPLY inner "), "{stream:?}");
    let stream = stream_of(&server, &["LTMC.GUARD", "k", &fence, "LTMC.UNLOCK", "k", "a"]);
    assert!(stream[0].starts_with("LTMC.APPLY k "), "{stream:?}");
    let late = server.run(&format!("LTMC.GUARD k {fence} SET doc text"));
    assert_eq!(late.error_code(), "STALE");
}

#[test]
fn a_tie_to_the_connection_is_refused_in_an_inner_call() {
    let (server, fence) = locked();
    let reply = server.run(&format!("LTMC.GUARD k {fence} LTMC.LOCK x a ONDISCONNECT RELEASE"));
    assert_eq!(reply.error_code(), "ERR");
    assert_eq!(server.run("EXISTS x").int(), 0);
}

#[test]
fn no_memory_means_no_guarded_write() {
    let (server, fence) = locked();
    server.run("CONFIG SET maxmemory 1").ok();
    let refused = server.run(&format!("LTMC.GUARD k {fence} SET doc text"));
    assert_eq!(refused.error_code(), "OOM");
    assert_eq!(server.run("LTMC.LOCK x a").error_code(), "OOM");
    assert!(server.run(&format!("LTMC.GUARD k {fence} GET doc")).is_nil());
    assert_eq!(server.run("LTMC.UNLOCK k a").int(), 1, "giving back is always possible");
    server.run("CONFIG SET maxmemory 0").ok();
    assert_eq!(server.run("EXISTS doc x").int(), 0);
}
