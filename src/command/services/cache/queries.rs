//! Commands that read a cache and change nothing.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::page::{Cursor, Items};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::domain::algorithm::eviction::Policy;
use crate::domain::cache::entry::NEVER;
use crate::domain::cache::labels::{Label, LabelKind};
use crate::domain::cache::stats::{Counters, HitKind, TOP_MAX};
use crate::domain::cache::{Cache, Entry};
use crate::domain::limits::TOOL_BYTES_MAX;
use crate::domain::{Entity, Error, Millis};
use std::borrow::Cow;

fn read<'a, H: Host>(cx: &'a mut Cx<H>) -> Result<Option<&'a Cache>, Error> {
    let key = cx.key(1);
    Ok(cx.host.read::<Cache>(key)?.map(|stored| &stored.state))
}

/// `LTMC.CACHE.STATS`
pub fn stats<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::at(cx.spec, cx.args, 2);
    let mut tool = None;
    while args.option()?.is_some() {
        tool = Some(Label::new(LabelKind::Tool, args.text("TOOL", TOOL_BYTES_MAX)?));
    }
    let Some(cache) = read(cx)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let fields = match tool {
        Some(tool) => {
            let id = cache.labels().find(&tool);
            let entries = id.and_then(|id| cache.labels().answers(id)).map_or(0, |answers| answers.len());
            let counters = id.and_then(|id| cache.labels().counters(id)).copied().unwrap_or_default();
            let own = [("tool", Reply::bytes(&tool.text)), ("entries", Reply::number(entries as u64))];
            named(own.into_iter().chain(counters_of(&counters)))
        }
        None => named(whole(cache).into_iter().chain(counters_of(cache.counters()))),
    };
    Ok(Outcome::Reply(Reply::Map(fields)))
}

fn named(fields: impl Iterator<Item = (&'static str, Reply)>) -> Vec<(Cow<'static, str>, Reply)> {
    fields.map(|(name, value)| (name.into(), value)).collect()
}

fn whole(cache: &Cache) -> [(&'static str, Reply); 9] {
    let config = cache.config();
    [
        ("entries", Reply::number(cache.count() as u64)),
        ("entries_max", Reply::number(config.entries_max)),
        ("bytes", Reply::number(cache.bytes() as u64)),
        ("bytes_max", Reply::number(config.bytes_max)),
        ("memory_bytes", Reply::number(cache.memory_bytes() as u64)),
        ("policy", Reply::text(policy_word(config.policy))),
        ("default_ttl_ms", Reply::number_or_nil(config.ttl_ms)),
        ("tickets_out", Reply::number(cache.tickets() as u64)),
        ("labels", Reply::number(cache.labels().len() as u64)),
    ]
}

fn policy_word(policy: Policy) -> &'static str {
    match policy {
        Policy::Lru => "LRU",
        Policy::Lfu => "LFU",
        _ => "GDSF",
    }
}

fn counters_of(counters: &Counters) -> [(&'static str, Reply); 13] {
    [
        ("hits", Reply::number(counters.hits)),
        ("stale_hits", Reply::number(counters.stale)),
        ("negative_hits", Reply::number(counters.negative)),
        ("misses", Reply::number(counters.misses)),
        ("tickets", Reply::number(counters.tickets)),
        ("puts", Reply::number(counters.puts)),
        ("evicted", Reply::number(counters.evicted)),
        ("expired", Reply::number(counters.expired)),
        ("invalidated", Reply::number(counters.invalidated)),
        ("shared_hits", Reply::number(counters.shared)),
        ("calls_saved", Reply::number(counters.saved_calls())),
        ("time_saved_ms", Reply::number(counters.saved_ms)),
        ("bytes_saved", Reply::number(counters.saved_bytes)),
    ]
}

/// An entry with its answer, as replies show it.
fn entry_map(cache: &Cache, entry: &Entry, now: Millis) -> Option<Reply> {
    let (answer, call) = (entry.answer.as_ref()?, entry.call());
    let status = match cache.state_of(answer, now)? {
        HitKind::Fresh => "FRESH",
        HitKind::Stale => "STALE",
        HitKind::Negative => "NEGATIVE",
    };
    let agent = answer.agent.map(|agent| cache.labels().text(agent)).unwrap_or_default();
    let ends_in = Some(answer.fresh_until).filter(|end| *end != NEVER).map(|end| end.saturating_sub(now));
    let texts = |kind: LabelKind| {
        let labels = answer.labels.iter().filter_map(|label| cache.labels().label(*label));
        Reply::Array(labels.filter(|label| label.kind == kind).map(|label| Reply::bytes(&label.text)).collect())
    };
    Some(Reply::map([
        ("tool", Reply::bytes(call.tool())),
        ("args", Reply::bytes(call.args())),
        ("raw", Reply::Integer(call.is_raw().into())),
        ("status", Reply::text(status)),
        ("agent", Reply::bytes_or_nil(agent)),
        ("private", Reply::Integer((!call.scope().is_empty()).into())),
        ("bytes", Reply::number(answer.value.len() as u64)),
        ("age_ms", Reply::number(now.saturating_sub(answer.at))),
        ("ttl_ms", Reply::number_or_nil(ends_in)),
        ("cost_ms", Reply::number(answer.cost_ms)),
        ("uses", Reply::number(entry.uses.into())),
        ("uses_by_others", Reply::number(entry.others.into())),
        ("time_saved_ms", Reply::number(answer.cost_ms.saturating_mul(entry.uses.into()))),
        ("deps", texts(LabelKind::Dep)),
        ("tags", texts(LabelKind::Tag)),
    ]))
}

/// `LTMC.CACHE.TOP`
pub fn top<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    const DEFAULT: usize = 10;
    let mut args = Args::at(cx.spec, cx.args, 2);
    let mut limit = DEFAULT;
    while args.option()?.is_some() {
        limit = args.number("LIMIT", 0, TOP_MAX as u64)? as usize;
    }
    let (now, mut budget) = (cx.now(), Budget::of(cx.node));
    let Some(cache) = read(cx)? else { return Ok(Outcome::Reply(Reply::Array(Vec::new()))) };
    let top = cache.top().into_iter().filter_map(|entry| entry_map(cache, entry, now)).take(limit);
    Ok(Outcome::Reply(budget.list(top)))
}

/// `LTMC.CACHE.SCAN`
pub fn scan<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::at(cx.spec, cx.args, 2);
    let (mut cursor, mut tool) = (Cursor::<u64>::read(Items::Answers, &mut args)?, None);
    while let Some(word) = args.option()? {
        match word {
            "COUNT" => cursor.read_count(&mut args)?,
            "TOOL" => tool = Some(args.text("TOOL", TOOL_BYTES_MAX)?),
            _ => return Err(args.unread(word)),
        }
    }
    let (now, mut budget) = (cx.now(), Budget::of(cx.node));
    let cache = read(cx)?;
    let entries = cache.into_iter().flat_map(|cache| cache.answers_from(cursor.from).map(move |entry| (cache, entry)));
    let id = |(_, entry): &(&Cache, &Entry)| entry.answer.as_ref().map_or(0, |answer| answer.id);
    let reply = cursor.page(&mut budget, entries, id, |(cache, entry)| {
        let is_shown = tool.is_none_or(|tool| entry.call().tool() == tool);
        if is_shown {
            entry_map(cache, entry, now)
        } else {
            None
        }
    });
    Ok(Outcome::Reply(reply))
}
