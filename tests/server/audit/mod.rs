//! The audit trail: what is in it, its chain, and its file.

mod file;
mod records;

use crate::harness::*;
use serde_json::Value;
use std::path::PathBuf;

/// A server that records at this level.
fn auditing(level: &str) -> Server {
    Server::builder().arg("ltmc.audit", level).start()
}

/// The records of LTMC.AUDIT, the oldest first.
fn records(server: &Server) -> Vec<Reply> {
    server.cmd(&["LTMC.AUDIT", "GET", "1000"]).array().iter().rev().cloned().collect()
}

/// Fields of a record, as texts; nil is a dash.
fn fields(record: &Reply, names: &str) -> String {
    let shown = |name: &str| match record.get(name) {
        Reply::Nil => "-".to_string(),
        Reply::Int(number) => number.to_string(),
        text => text.text().to_string(),
    };
    names.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

/// The same of each record.
fn shown(server: &Server, names: &str) -> Vec<String> {
    records(server).iter().map(|record| fields(record, names)).collect()
}

/// The file of a server's trail.
fn trail_of(server: &Server) -> PathBuf {
    server.dir().join("trail.jsonl")
}

/// The lines of a trail, once there are so many. Each is a JSON object, and the chain holds.
#[track_caller]
fn lines(path: &std::path::Path, count: usize) -> Vec<Value> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until(&format!("{count} lines"), || read().lines().count() >= count && read().ends_with('\n'));
    let text = read();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), count, "{text}");
    lines
}
