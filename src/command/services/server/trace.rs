//! `LTMC.TRACE` shows traces. [`crate::observe::trace`] says what a trace is.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::Error;
use crate::observe::trace::{First, Happened, Stage, Traced};

/// How many traces are shown by default.
const SHOWN: u64 = 10;

/// `LTMC.TRACE`
pub fn trace<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let what = args.choice("subcommand")?;
    let is_counted = what == "GET" && args.position() < cx.args.len();
    let count = if is_counted { args.number("n", 0, Setting::TraceMax.row().max())? } else { SHOWN };
    args.finish()?;
    let mut budget = Budget::of(cx.node);
    let trace = &mut cx.node.trace;
    // The setting may have changed since the last command.
    trace.keep(cx.node.settings.get(Setting::TraceMax) as usize);
    Ok(Outcome::Reply(match what {
        "GET" => budget.list(trace.newest().take(count as usize).map(trace_map)),
        "LEN" => Reply::number(trace.len() as u64),
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
