//! The commands that only read flows. They work on replicas, too.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::domain::flow::graph::{draw, outlook, progress, Language};
use crate::domain::flow::task::STATE_WORDS;
use crate::domain::flow::{Flow, How};
use crate::domain::{Error, Millis, Record};
use std::borrow::Cow;

/// How many tasks of a flow ended so, kept or not.
const TOTALS: [(How, &str); 4] = [
    (How::Succeeded, "total_succeeded"),
    (How::Dead, "total_dead"),
    (How::Cancelled, "total_cancelled"),
    (How::Skipped, "total_skipped"),
];

/// `LTMC.FLOW.INFO`
pub fn info<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let (now, waiting, mut budget) = (cx.now(), cx.node.queues.tasks.waiting_for(&key.id()), Budget::of(cx.node));
    let expires_at = cx.host.expires_at(key);
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    Ok(Outcome::Reply(info_map(stored, expires_at, waiting, now, &mut budget)))
}

fn info_map(
    stored: &Record<Flow>,
    expires_at: Option<Millis>,
    waiting: usize,
    now: Millis,
    budget: &mut Budget,
) -> Reply {
    let (flow, options, totals) = (&stored.state, stored.state.options(), stored.state.totals());
    let outlook = outlook(flow, now);
    let bound = |value: u32| Reply::number_or_nil(Some(u64::from(value)).filter(|value| *value > 0));
    let mut fields: Vec<(Cow<'static, str>, Reply)> = Vec::with_capacity(32);
    let mut add = |name: &'static str, value: Reply| fields.push((name.into(), value));
    add("state", Reply::text(flow.state()));
    add("revision", Reply::number(stored.revision));
    add("created_at_ms", Reply::number(flow.created_at()));
    add("ttl_ms", Reply::number_or_nil(options.ttl_ms));
    add("expires_at_ms", Reply::number_or_nil(expires_at));
    add("paused", Reply::Integer(i64::from(flow.is_paused())));
    add("max_active", bound(options.max_active));
    add("group_max", bound(options.group_max));
    add(
        "rate",
        options.rate.map_or(Reply::Nil, |rate| {
            Reply::Array(vec![Reply::number(rate.claims.into()), Reply::number(rate.per_ms)])
        }),
    );
    for (name, age_name, keep) in [("keep", "keep_ms", options.keep), ("keep_dead", "keep_dead_ms", options.keep_dead)]
    {
        add(name, Reply::number(keep.tasks));
        add(age_name, Reply::number_or_nil(Some(keep.age_ms).filter(|age_ms| *age_ms > 0)));
    }
    add("tasks", Reply::number(flow.count() as u64));
    // What is there. Tasks that are no longer kept are in the totals.
    for (state, count) in STATE_WORDS.iter().zip(flow.index().counts()) {
        add(state, Reply::number(count as u64));
    }
    add("total_added", Reply::number(totals.added));
    for (how, name) in TOTALS {
        add(name, Reply::number(flow.ended(how)));
    }
    add("total_claimed", Reply::number(totals.claimed));
    add("total_failed", Reply::number(totals.failed));
    add("progress", Reply::number(progress(flow)));
    add("mean_ms", Reply::number_or_nil(totals.worked_ms.checked_div(totals.completed)));
    add("critical_path", budget.list(outlook.critical_path.iter().map(|id| Reply::bytes(id))));
    add("critical_ms", Reply::number_or_nil(outlook.left_ms.map(|(critical_ms, _)| critical_ms)));
    add("left_ms", Reply::number_or_nil(outlook.left_ms.map(|(_, left_ms)| left_ms)));
    add("waiting_workers", Reply::number(waiting as u64));
    add("memory_bytes", Reply::number(stored.memory_bytes() as u64));
    Reply::Map(fields)
}

/// `LTMC.FLOW.GRAPH`
pub fn graph<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("flow")?;
    let word = args.option()?;
    args.finish()?;
    let (key, bytes_max) = (cx.key(1), Budget::of(cx.node).left());
    let Some(stored) = cx.host.read::<Flow>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let language = if word == Some("MERMAID") { Language::Mermaid } else { Language::Dot };
    let text = draw(&stored.state, language, bytes_max)?;
    Ok(Outcome::Reply(Reply::Text(text.into())))
}
