//! Where traces begin and end, and `LTMC.TRACE`, which shows them. What a trace is: [`crate::observe::trace`].

use super::args::Args;
use super::budget::Budget;
use super::dispatch::{Cx, Outcome};
use super::policies::Mode;
use super::settings::Setting;
use super::{keys, Host, Node, Reply};
use crate::domain::id::printable;
use crate::domain::{Error, KeyId};
use crate::observe::trace::{Beginning, First, Happened, Stage, Traced};
use std::borrow::Cow;

/// So many traces are shown if nothing is said.
const SHOWN: u64 = 10;
/// So many woken clients are named in the log.
const LOGGED_WOKEN_MAX: usize = 16;

/// Begins the trace of a command, in debug mode.
#[inline]
pub fn begin<H: Host>(cx: &mut Cx<H>) {
    if cx.node.settings.mode() == Mode::Debug {
        begin_command(cx);
    }
}

#[cold]
fn begin_command<H: Host>(cx: &mut Cx<H>) {
    // Who looks at traces must not push them out. What a file holds happened before.
    if cx.spec.name == "LTMC.TRACE" || cx.host.is_loading() {
        return;
    }
    let named = keys::positions(cx.spec, cx.args).into_iter().map(|(at, _)| KeyId::new(cx.db, cx.args[at]));
    // Scripts and inner calls have a client of the server's own, whose id would tell nobody anything.
    let (at, client) = (cx.now(), cx.host.connection().unwrap_or(0));
    let args = cx.args.get(1..).unwrap_or_default();
    let beginning = Beginning { at, client, db: cx.db, name: cx.spec.name, args, keys: named.collect() };
    cx.node.trace.begin(beginning);
}

/// Begins the trace of a piece of the scheduler's work, in debug mode.
#[inline]
pub fn begin_round(node: &mut Node, key: Option<&KeyId>) {
    if node.settings.mode() == Mode::Debug {
        node.trace.begin_round(node.fences.now(), key);
    }
}

/// Ends the trace of a command, if there is one.
#[inline]
pub fn end<H: Host>(node: &mut Node, host: &mut H, outcome: &Result<Outcome, Error>) {
    if node.trace.is_open() {
        let max = node.settings.get(Setting::TraceMax) as usize;
        log(host, node.trace.end(&shown(outcome), max));
    }
}

/// Ends the trace of a piece of the scheduler's work, if there is one.
#[inline]
pub fn end_round<H: Host>(node: &mut Node, host: &mut H) {
    if node.trace.is_open() {
        let max = node.settings.get(Setting::TraceMax) as usize;
        log(host, node.trace.end_round(max));
    }
}

/// How a command ended: the kind of its reply with its size or number, or its error.
fn shown(outcome: &Result<Outcome, Error>) -> Cow<'static, str> {
    let reply = match outcome {
        Err(error) => return error.line().into(),
        Ok(Outcome::Waits) => return "waits".into(),
        Ok(Outcome::Reply(reply)) => reply,
    };
    match reply {
        Reply::Nil => "nil".into(),
        Reply::Ok => "ok".into(),
        Reply::Integer(value) => format!("integer {value}").into(),
        Reply::Text(text) => format!("bytes {}", text.len()).into(),
        Reply::Bytes(bytes) => format!("bytes {}", bytes.len()).into(),
        Reply::Blob(blob) => format!("bytes {}", blob.len()).into(),
        Reply::BlobPart(_, part) => format!("bytes {}", part.len()).into(),
        Reply::Array(items) => format!("list {}", items.len()).into(),
        Reply::Pairs(pairs) => format!("map {}", pairs.len()).into(),
        Reply::Map(fields) => format!("map {}", fields.len()).into(),
        Reply::Called => "the reply of the inner command".into(),
    }
}

fn log<H: Host>(host: &H, traced: Option<&Traced>) {
    let Some(traced) = traced else { return };
    let key = traced.args.first().map(|arg| format!(" {}", printable(arg))).unwrap_or_default();
    let clients: Vec<_> = traced.woken.kept.iter().take(LOGGED_WOKEN_MAX).map(|(id, _)| id.to_string()).collect();
    let more = traced.woken.count() - clients.len() as u64;
    let woken = match (clients.is_empty(), more) {
        (true, _) => "nobody".to_string(),
        (false, 0) => clients.join(" "),
        (false, more) => format!("{} and {more} more", clients.join(" ")),
    };
    host.log_verbose(&format!(
        "trace {}: {}{key}: {}; {} us; events: {}; woken: {woken}",
        traced.id,
        traced.name,
        traced.outcome,
        traced.total_us(),
        traced.events.count(),
    ));
}

/// `LTMC.TRACE`
pub fn trace<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let what = args.word("subcommand", &["GET", "LEN", "RESET"])?;
    let is_counted = what == 0 && args.position() < cx.args.len();
    let count = if is_counted { args.number("n", 0, Setting::TraceMax.row().max())? } else { SHOWN };
    args.finish()?;
    let mut budget = Budget::of(cx.node);
    let trace = &mut cx.node.trace;
    // The setting may have changed since the last command.
    trace.keep(cx.node.settings.get(Setting::TraceMax) as usize);
    Ok(Outcome::Reply(match what {
        0 => budget.list(trace.newest().take(count as usize).map(trace_map)),
        1 => Reply::number(trace.len() as u64),
        _ => {
            trace.reset();
            Reply::Ok
        }
    }))
}

fn trace_map(traced: &Traced) -> Reply {
    let stages = Stage::ALL.map(|stage| (stage.name(), Reply::number(traced.stage_us(stage))));
    Reply::map([
        ("id", Reply::number(traced.id)),
        ("at_ms", Reply::number(traced.at)),
        ("client", Reply::number(traced.client)),
        ("db", Reply::number(traced.db.into())),
        ("command", Reply::text(traced.name)),
        ("args", Reply::Array(traced.args.iter().map(|arg| Reply::bytes(arg)).collect())),
        ("outcome", Reply::bytes(traced.outcome.as_bytes())),
        ("total_us", Reply::number(traced.total_us())),
        ("stages_us", Reply::map(stages)),
        ("events", list(&traced.events, event)),
        ("events_beyond", Reply::number(traced.events.beyond)),
        ("woken", list(&traced.woken, |(client, key)| Reply::Array(vec![Reply::number(*client), Reply::bytes(key)]))),
        ("woken_beyond", Reply::number(traced.woken.beyond)),
    ])
}

fn list<T>(all: &First<T>, show: impl Fn(&T) -> Reply) -> Reply {
    Reply::Array(all.kept.iter().map(show).collect())
}

fn event(event: &Happened) -> Reply {
    let whose = if event.is_follow_up { "follow-up" } else { "command" };
    Reply::Array(vec![Reply::bytes(&event.key), Reply::bytes(event.text.as_bytes()), Reply::text(whose)])
}
