//! What is left of the memory of a peak.

use crate::harness::*;

/// How many there are at the peak, and every how many of them stay.
const PEAK: usize = 20_000;
const STAY: usize = 2_000;

/// What a peak may leave: a few bytes for each place of what was there, and what the server itself
/// takes for one thing or another.
const LEFT_BYTES: i64 = 40 * PEAK as i64 + 200_000;

/// Fills a key, takes nearly all of it out, and compares it with what a load makes of the rest.
#[track_caller]
fn assert_gives_room_back(first: &str, fill: impl Fn(usize) -> String, drain: impl Fn(usize) -> String) {
    let larger = |builder: Builder, name: &str| builder.arg(&format!("ltmc.{name}-max"), PEAK);
    let settings = ["flow-caps", "registry-agents", "mail-agents", "mail-inbox", "cache-entries", "session-fields"];
    let server = settings.into_iter().fold(Server::builder(), larger).start();
    let run_all = |lines: Vec<String>| {
        let mut client = server.client();
        for lines in lines.chunks(500) {
            let replies = client.pipeline(lines);
            let wrong = replies.iter().position(Reply::is_error);
            assert!(wrong.is_none(), "{}: {:?}", lines[wrong.unwrap_or(0)], replies[wrong.unwrap_or(0)]);
        }
    };
    let used = || server.info_int("memory", "used_memory");
    let counted = || server.run("MEMORY USAGE key").int();
    if !first.is_empty() {
        assert!(!server.run(first).is_error(), "{first}");
    }
    run_all((0..PEAK).map(&fill).collect());
    let peak = (used(), counted());
    run_all((0..PEAK).filter(|n| n % STAY != STAY - 1).map(&drain).collect());
    let after = (used(), counted());
    server.debug_reload();
    let loaded = (used(), counted());
    let shown = format!("peak {peak:?}, afterwards {after:?}, loaded {loaded:?}");
    assert!(peak.1 > 4 * LEFT_BYTES, "there was hardly a peak: {shown}");
    assert!(after.0 - loaded.0 < LEFT_BYTES + loaded.0 / 10, "used memory: {shown}");
    assert!(after.1 - loaded.1 < LEFT_BYTES + loaded.1 / 10, "counted memory: {shown}");
}

#[test]
fn a_flow_gives_room_back() {
    assert_gives_room_back(
        "LTMC.FLOW.CREATE key KEEP 0 KEEPDEAD 0",
        |n| format!("LTMC.TASK.ADD key t{n} work GROUP group-{n} CAPS 1 cap-{n}"),
        |n| format!("LTMC.TASK.CANCEL key t{n}"),
    );
}

#[test]
fn a_registry_gives_room_back() {
    assert_gives_room_back(
        "",
        |n| format!("LTMC.REGISTER key agent-{n} CAPS 1 cap-{n}@1.{n} TAGS 1 tag-{n} META {{\"n\":{n}}} PX 3600000"),
        |n| format!("LTMC.DEREGISTER key agent-{n}"),
    );
}

#[test]
fn a_buffer_gives_room_back() {
    assert_gives_room_back(
        "LTMC.CHUNK.BUFFER key MAXBYTES 100000000",
        |n| format!("LTMC.CHUNK.PUT key c{n} data-{n}"),
        |n| format!("LTMC.CHUNK.FREE key c{n}"),
    );
}

#[test]
fn a_cache_gives_room_back() {
    assert_gives_room_back(
        "",
        |n| format!("LTMC.CACHE.PUT key tool {{\"n\":{n}}} answer TAGS 1 tag-{n} DEPS 1 dep-{n}"),
        |n| format!("LTMC.CACHE.INVALIDATE key TAG 1 tag-{n}"),
    );
}

#[test]
fn a_mailbox_gives_room_back() {
    assert_gives_room_back(
        "",
        |n| format!("LTMC.MSG.SEND key ada TO 1 agent-{n} message"),
        |n| format!("LTMC.MSG.RECV key agent-{n} PX 1"),
    );
}
