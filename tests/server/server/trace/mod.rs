//! Debug mode: `LTMC.TRACE` shows what each command did, and the log has a line for it.

use crate::harness::*;

mod commands;
mod contexts;
mod shown;

const STAGES: [&str; 7] = ["check", "decide", "replicate", "apply", "notify", "wake", "send"];

/// A server in debug mode.
fn start() -> Server {
    Server::builder().arg("ltmc.orchestration-mode", "debug").start()
}

/// The traces of a command, the newest first.
#[track_caller]
fn traces_of(server: &Server, command: &str) -> Vec<Reply> {
    let all = server.run("LTMC.TRACE GET 10000");
    all.array().iter().filter(|traced| traced.get("command").text() == command).cloned().collect()
}

/// The newest trace of a command.
#[track_caller]
fn trace_of(server: &Server, command: &str) -> Reply {
    traces_of(server, command).into_iter().next().unwrap_or_else(|| panic!("{command} was not traced"))
}

/// The newest trace of a round of the scheduler that has such an event.
#[track_caller]
fn wait_round(server: &Server, event: &str) -> Reply {
    let mut found = None;
    wait_until(&format!("a round with {event} is traced"), || {
        let rounds = traces_of(server, "(scheduler)").into_iter();
        found = rounds.into_iter().find(|round| events(round).iter().any(|shown| shown.ends_with(event)));
        found.is_some()
    });
    found.expect("it was waited for")
}

/// The events as `key name`. Those that nobody asked for follow an arrow.
#[track_caller]
fn events(traced: &Reply) -> Vec<String> {
    let shown = traced.get("events").array().iter().map(|event| {
        let [key, text, whose] = event.array() else { panic!("an event has three parts: {event:?}") };
        let name = text.text().split(' ').next().unwrap_or_default();
        let arrow = match whose.text() {
            "command" => "",
            "follow-up" => "> ",
            other => panic!("{other} in {event:?}"),
        };
        format!("{arrow}{} {name}", key.text())
    });
    shown.collect()
}

/// The clients that were woken, each with a key.
#[track_caller]
fn woken(traced: &Reply) -> Vec<(i64, String)> {
    let woken = traced.get("woken").array().iter();
    woken.map(|pair| (pair.array()[0].int(), pair.array()[1].text().to_string())).collect()
}
