//! How much there is of everything, as `LTMC.STATUS` and `INFO` count it.

use crate::harness::*;
use std::collections::BTreeMap;

/// The totals that are not 0. STATUS and INFO agree.
fn totals(server: &Server) -> BTreeMap<String, i64> {
    let status = server.cmd(&["LTMC.STATUS"]);
    let totals: BTreeMap<String, i64> =
        status.get("totals").pairs().into_iter().map(|(name, count)| (name.text().into(), count.int())).collect();
    for (name, count) in &totals {
        assert_eq!(server.info_int("ltmc", &format!("ltmc_{name}")), *count, "{name}");
    }
    totals.into_iter().filter(|(_, count)| *count != 0).collect()
}

fn expected<const N: usize>(counts: [(&str, i64); N]) -> BTreeMap<String, i64> {
    counts.into_iter().map(|(name, count)| (name.to_string(), count)).collect()
}

/// Something of everything.
fn fill(server: &Server) {
    let commands = [
        "LTMC.REGISTER agents a",
        "LTMC.REGISTER agents b",
        "LTMC.LOCK lock a SHARED",
        "LTMC.LOCK lock b SHARED",
        "LTMC.LOCK other a",
        "LTMC.CTX.CREATE context",
        "LTMC.SESSION.SET session field value",
        "LTMC.CACHE.PUT cache tool {} answer",
        "LTMC.CHUNK.PUT buffer one a",
        "LTMC.CHUNK.PUT buffer two b",
        "LTMC.CHUNK.PUT buffer three c",
        "LTMC.MSG.JOIN mail a",
        "LTMC.MSG.SEND mail b TO 1 a hello",
        "LTMC.TASK.ADD flow t1 work",
        "LTMC.TASK.ADD flow t2 work",
    ];
    for command in commands {
        assert!(!run(server, command).is_error(), "{command}");
    }
}

fn full() -> BTreeMap<String, i64> {
    expected([
        ("registries", 1),
        ("agents", 2),
        ("locks", 2),
        ("grants", 3),
        ("contexts", 1),
        ("sessions", 1),
        ("caches", 1),
        ("answers", 1),
        ("buffers", 1),
        ("chunks", 3),
        ("mailboxes", 1),
        ("messages", 1),
        ("flows", 1),
        ("tasks", 2),
    ])
}

#[test]
fn status_and_info_tell_how_much_there_is_of_everything() {
    let server = Server::start();
    assert_eq!(totals(&server), expected([]));
    fill(&server);
    assert_eq!(totals(&server), full());
    server.cmd(&["DEBUG", "RELOAD"]);
    assert_eq!(totals(&server), full(), "after a reload");

    server.cmd(&["COPY", "buffer", "another"]);
    server.cmd(&["LTMC.UNLOCK", "other", "a"]);
    server.cmd(&["LTMC.DEREGISTER", "agents", "b"]);
    server.cmd(&["LTMC.CHUNK.FREE", "buffer", "one", "two"]);
    let now = totals(&server);
    assert_eq!([now["buffers"], now["chunks"]], [2, 4]);
    assert_eq!([now["locks"], now["grants"], now["agents"]], [1, 2, 1]);

    server.cmd(&["FLUSHALL", "SYNC"]);
    assert_eq!(totals(&server), expected([]));
}

#[test]
fn a_replica_counts_the_same() {
    let primary = Server::start();
    let replica = primary.replica();
    fill(&primary);
    replica.wait_synced(&primary);
    assert_eq!(totals(&replica), full());
    primary.cmd(&["DEL", "flow", "buffer"]);
    replica.wait_synced(&primary);
    assert!(!totals(&replica).contains_key("chunks"));
    wait_until("both count the same", || totals(&replica) == totals(&primary));
}

#[test]
fn what_is_overwritten_or_evicted_is_counted_no_more() {
    let server = Server::start();
    fill(&server);
    server.cmd(&["SET", "flow", "x"]);
    server.cmd(&["RENAME", "buffer", "cache"]);
    server.cmd(&["PEXPIRE", "lock", "1"]);
    wait_until("Redis ends the lock", || server.cmd(&["EXISTS", "lock"]).int() == 0);
    let now = totals(&server);
    assert!(!now.contains_key("tasks") && !now.contains_key("answers"), "{now:?}");
    assert_eq!([now["grants"], now["chunks"], now["buffers"]], [1, 3, 1]);
}
