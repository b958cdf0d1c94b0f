//! Where traces begin and end. [`crate::observe::trace`] says what a trace is.

use super::cx::{Cx, Outcome};
use super::keys;
use crate::command::host::Host;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::policies::Mode;
use crate::command::settings::Setting;
use crate::domain::value::bytes::printable;
use crate::domain::{Error, KeyId};
use crate::observe::audit::Ended;
use crate::observe::trace::{Beginning, Traced};
use std::borrow::Cow;

/// How many woken clients the log names.
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
    // Looking at traces must not push them out. What is loaded from a file happened before.
    if cx.spec.name == "LTMC.TRACE" || cx.host.is_loading() {
        return;
    }
    let named = keys::positions(cx.spec, cx.args).into_iter().map(|(at, _)| KeyId::new(cx.db, cx.args[at]));
    // Scripts and inner calls use a client of the server's own, whose id would tell nothing.
    let (at, client) = (cx.now(), cx.host.connection().unwrap_or(0));
    let args = cx.args.get(1..).unwrap_or_default();
    let beginning = Beginning { at, client, db: cx.db, name: cx.spec.name, args, keys: named.collect() };
    cx.node.trace.begin(beginning);
}

/// A piece of the scheduler's work begins. In debug mode it is traced.
#[inline]
pub fn begin_round(node: &mut Node, key: Option<&KeyId>) {
    node.audit.begin(None);
    if node.settings.mode() == Mode::Debug {
        node.trace.begin_round(node.clock.now(), key);
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
    match outcome {
        Err(error) => error.line().into(),
        Ok(outcome) => kind_of(outcome).to_string().into(),
    }
}

/// The kind of a reply with its size or number.
pub fn kind_of(outcome: &Outcome) -> Ended {
    let reply = match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Waits => return Ended::Word("waits".into()),
        Outcome::Offloaded(_) => return Ended::Word("offloaded".into()),
    };
    let sized = |kind, size: usize| Ended::Counted(kind, size as i64);
    match reply {
        Reply::Nil => Ended::Word("nil".into()),
        Reply::Ok => Ended::OK,
        Reply::Integer(value) => Ended::Counted("integer", *value),
        Reply::Text(text) => sized("bytes", text.len()),
        Reply::Bytes(bytes) => sized("bytes", bytes.len()),
        Reply::Blob(blob) => sized("bytes", blob.len()),
        Reply::BlobPart(_, part) => sized("bytes", part.len()),
        Reply::Array(items) => sized("list", items.len()),
        Reply::Pairs(pairs) => sized("map", pairs.len()),
        Reply::Map(fields) => sized("map", fields.len()),
        Reply::Called => Ended::Word("the reply of the inner command".into()),
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
