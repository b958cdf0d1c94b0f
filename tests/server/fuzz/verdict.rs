//! What may never be, whatever came in.

use std::time::Duration;

use super::{has_valgrind, number};
use crate::faults::frames;
use crate::harness::*;

/// What a server may use: far more than the values of a run take.
const MEMORY_MAX: i64 = 256 << 20;
/// How long a primary and a replica may take to be alike: what time brings needs a moment.
const ALIKE_WITHIN: Duration = Duration::from_secs(15);

/// How long an answer may take. A server under valgrind is slow, and so is a module that is not
/// optimised, if values are large.
fn patience_ms() -> u64 {
    let is_optimised = std::env::var_os("LTMC_MODULE").is_some();
    let usual = if has_valgrind() { 60_000 } else { 5_000 };
    number("LTMC_FUZZ_PATIENCE_MS").unwrap_or(if is_optimised { usual } else { usual.max(20_000) })
}

#[track_caller]
pub fn reply_in_time(client: &mut Client, args: &[Vec<u8>]) -> Reply {
    let name = String::from_utf8_lossy(&args[0]).into_owned();
    client.recv_within(patience_ms()).unwrap_or_else(|| panic!("no answer to {name} within {} ms", patience_ms()))
}

/// No reply tells of a fault of ours.
#[track_caller]
pub fn check_reply(args: &[Vec<u8>], reply: &Reply) {
    let name = || String::from_utf8_lossy(&args[0]).into_owned();
    match reply {
        Reply::Error(line) => {
            let is_fault = line.contains("internal error") || line.contains("cannot be shown");
            assert!(!is_fault, "{}: {line}", name());
        }
        Reply::Array(items) => items.iter().for_each(|item| check_reply(args, item)),
        _ => {}
    }
}

/// The server answers, has contained no panic, holds nothing broken, and uses little memory.
#[track_caller]
pub fn check(server: &Server) {
    let mut client = server.client();
    client.send(&["PING"]);
    assert!(client.recv_within(patience_ms()).is_some(), "no answer to PING: the server hangs");
    let info = server.info("ltmc");
    assert_eq!(info["ltmc_panics"], "0", "a panic was contained");
    assert_eq!(info["ltmc_quarantined_keys"], "0", "a value is in quarantine");
    let used = server.info_int("memory", "used_memory");
    assert!(used < MEMORY_MAX, "{used} bytes are in use");
    let log = server.log();
    for trouble in ["REDIS BUG REPORT", "VALKEY BUG REPORT", "panicked", "internal error"] {
        let line = log.lines().find(|line| line.contains(trouble));
        assert!(line.is_none(), "the log says: {}", line.unwrap_or_default());
    }
}

/// Both hold the same, as soon as nothing is due any more.
#[track_caller]
pub fn check_same(leg: &str, primary: &Server, replica: &Server) {
    let is_alike = holds_within(ALIKE_WITHIN, || {
        replica.wait_synced(primary);
        primary.dataset().is_seen_as(&replica.dataset())
    });
    if !is_alike {
        explain_differences(primary, replica);
        replica.wait_synced(primary);
        assert_same(leg, &primary.dataset(), &replica.dataset());
    }
}

/// Prints what both hold under the keys that differ.
fn explain_differences(primary: &Server, replica: &Server) {
    for db in ["0", "1"] {
        let mut clients = [primary.client(), replica.client()];
        clients.iter_mut().for_each(|client| client.cmd(&["SELECT", db]).ok());
        for key in clients[0].run("KEYS *").array() {
            let mut ask = |words: [&[u8]; 2]| clients.each_mut().map(|client| client.cmd(&words));
            let dumps = ask([b"DUMP", key.bytes()]);
            if dumps[0] == dumps[1] {
                continue;
            }
            for dump in dumps.iter().filter(|dump| !dump.is_nil()) {
                let frame = frames(dump.bytes()).into_iter().next().unwrap_or(0..0);
                let shown = clients[0].cmd(&[b"LTMC.EXPLAIN", &dump.bytes()[frame]]);
                eprintln!("db {db}, {}: {shown:?}", key.bytes().escape_ascii());
            }
        }
    }
}

/// Stops the server. Valgrind, if it runs under it, has found no error.
#[track_caller]
pub fn check_end(mut server: Server) {
    server.end();
    let logs = std::fs::read_dir(server.dir()).expect("a folder").map(|entry| entry.expect("an entry").path());
    for path in logs.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("memcheck.")))
    {
        let text = std::fs::read_to_string(&path).expect("a log");
        let summary = text.lines().rfind(|line| line.contains("ERROR SUMMARY"));
        let is_clean = summary.is_some_and(|line| line.contains("ERROR SUMMARY: 0 errors"));
        assert!(is_clean, "{}: {text}", path.display());
    }
}
