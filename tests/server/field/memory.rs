//! A server beyond `maxmemory`: what takes work out, ends, frees, or only moves a lease goes on.

use crate::harness::*;
use std::collections::BTreeSet;

/// All commands that store more, and that the server therefore refuses beyond `maxmemory`.
const REFUSED: [&str; 27] = [
    "LTMC.CHUNK.ALLOC",
    "LTMC.CHUNK.META",
    "LTMC.CHUNK.PIN",
    "LTMC.CHUNK.PUT",
    "LTMC.CHUNK.RETAIN",
    "LTMC.CHUNK.WRITE",
    "LTMC.CTX.CHECKPOINT",
    "LTMC.CTX.CREATE",
    "LTMC.CTX.FORK",
    "LTMC.CTX.GENERATE",
    "LTMC.CTX.JOIN",
    "LTMC.CTX.RESTORE",
    "LTMC.CTX.ROLLBACK",
    "LTMC.FLOW.CREATE",
    "LTMC.LOCK",
    "LTMC.MLOCK",
    "LTMC.MSG.JOIN",
    "LTMC.MSG.SEND",
    "LTMC.REGISTER",
    "LTMC.SESSION.CHECKPOINT",
    "LTMC.SESSION.CREATE",
    "LTMC.SESSION.FORK",
    "LTMC.SESSION.JOIN",
    "LTMC.SESSION.OWN",
    "LTMC.SESSION.RESTORE",
    "LTMC.SESSION.SET",
    "LTMC.TASK.ADD",
];

/// What stores a little, and is needed to go on with what is there.
const ALSO_REFUSED: [&str; 1] = ["LTMC.TASK.SIGNAL"];

#[test]
fn only_what_stores_more_is_refused_beyond_maxmemory() {
    let server = Server::start();
    let commands = server.run("COMMAND LIST FILTERBY MODULE ltmc").texts();
    let is_denied = |name: &&String| {
        let info = server.run(&format!("COMMAND INFO {name}"));
        info.array()[0].array()[2].texts().iter().any(|flag| flag == "denyoom")
    };
    let denied: BTreeSet<&str> = commands.iter().filter(is_denied).map(String::as_str).collect();
    assert_eq!(denied, REFUSED.into_iter().chain(ALSO_REFUSED).collect());
}

#[test]
fn a_full_server_can_be_drained() {
    let server = Server::start();
    for line in [
        "LTMC.TASK.ADD flow one work",
        "LTMC.TASK.ADD flow two work",
        "LTMC.MSG.SEND mail ada TO 1 bob hello",
        "LTMC.REGISTER team ada CAPACITY 2",
        "LTMC.CTX.CREATE ctx OWNER ada",
        "LTMC.CTX.UPDATE ctx ada SET /a 1 SET /b 2",
        "LTMC.SESSION.SET session a 1 b 2",
        "LTMC.CHUNK.PUT chunks c data PIN ada 60000",
        "LTMC.CACHE.PUT cache tool {} answer",
    ] {
        assert!(!server.run(line).is_error(), "{line}");
    }
    let shared = server.run("LTMC.LOCK lock ada SHARED PX 60000").int();
    server.run("CONFIG SET maxmemory 1").ok();

    let claim = server.run("LTMC.TASK.CLAIM flow w");
    let fence = claim.array()[0].get("fence").int();
    let task = claim.array()[0].get("task").text().to_string();
    server.run(&format!("LTMC.TASK.COMPLETE flow {task} {fence} done NEXT")).array();
    let mails = server.run("LTMC.MSG.RECV mail bob");
    let id = mails.array()[0].get("id").int();
    assert_eq!(server.run(&format!("LTMC.MSG.EXTEND mail bob {id} PX 1000")).int(), 1);
    assert_eq!(server.run(&format!("LTMC.MSG.ACK mail bob {id}")).int(), 1);
    let claim = server.run("LTMC.AGENT.CLAIM team PX 1000").array()[1].int();
    assert_eq!(server.run(&format!("LTMC.AGENT.RELEASE team {claim}")).int(), 1);
    server.run("LTMC.HEARTBEAT team ada").int();
    assert_eq!(server.run("LTMC.CTX.UPDATE ctx ada DEL /a DEL /b").int(), 3);
    assert_eq!(server.run("LTMC.SESSION.DEL session a").int(), 1);
    let exclusive = server.run(&format!("LTMC.LOCK.CONVERT lock ada TOKEN {shared} EXCLUSIVE")).int();
    assert_eq!(server.run(&format!("LTMC.LOCK.RENEW lock ada TOKEN {exclusive} PX 1000")).int(), 1);
    assert_eq!(server.run("LTMC.UNLOCK lock ada").int(), 1);
    // The handler says it here, since waiting clients get the answer all the same.
    assert_eq!(server.run("LTMC.CACHE.PUT cache tool {} other").error_code(), "OOM");
    assert_eq!(server.run("LTMC.CHUNK.UNPIN chunks c ada").int(), 1);
    assert_eq!(server.run("LTMC.CHUNK.FREE chunks c").int(), 1);
    // A cache gives way by itself.
    server.run("LTMC.CACHE.INVALIDATE cache ALL").int();
}

#[test]
fn an_update_of_a_context_runs_beyond_maxmemory_if_all_it_does_is_delete() {
    let server = Server::start();
    server.run("LTMC.CTX.CREATE ctx OWNER ada").int();
    server.run("LTMC.CTX.UPDATE ctx ada SET /a 1").int();
    server.run("CONFIG SET maxmemory 1").ok();
    // The words decide, and not whether the document would become smaller.
    for ops in ["SET /a 0", "DEL /a SET /b 1", "MERGE {\"a\":null}", "REPLACE {}", "INCRBY /a -1"] {
        let native = server.run("SET key value").error().to_string();
        assert_eq!(server.run(&format!("LTMC.CTX.UPDATE ctx ada {ops}")).error(), native, "{ops}");
    }
    let update = |op: &str| {
        let script = format!("return redis.call('LTMC.CTX.UPDATE', KEYS[1], 'ada', {op})");
        server.cmd(&["EVAL", &script, "1", "ctx"])
    };
    assert_eq!(update("'DEL', '/a'").int(), 3);
    assert_eq!(update("'SET', '/a', '1'").error_code(), "OOM");
}
