//! Commands across all services and about the module itself.

use super::cluster::role_word;
use super::health;
#[cfg(feature = "test-hooks")]
use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::repair;
use crate::command::engine::replay::apply_payload;
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::SETTINGS;
use crate::domain::{Error, Service};
use std::borrow::Cow;

/// `LTMC.STATUS`
pub fn status<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let node = &*cx.node;
    let settings = SETTINGS.iter().enumerate().map(|(at, row)| {
        let value = node.settings.at(at);
        let text = row.word(value).map(Cow::from).or_else(|| Some(node.settings.text_at(at)?.to_string().into()));
        (row.name.into(), text.map_or(Reply::Integer(value), Reply::Text))
    });
    let health = health::report(node, cx.host);
    let totals = cx.host.totals().into_iter().map(|(name, count)| (name.into(), Reply::number(count)));
    let services = Service::ALL.iter().map(|service| {
        let of = node.metrics.of(*service);
        let counters = Reply::map([
            ("commands", Reply::number(of.commands)),
            ("errors", Reply::number(of.errors)),
            ("changes", Reply::number(of.changes)),
            ("applied", Reply::number(of.applied)),
            ("waits", Reply::number(of.waits)),
            ("panics", Reply::number(of.panics)),
        ]);
        (service.name().into(), counters)
    });
    Ok(Outcome::Reply(Reply::map([
        ("version", Reply::text(env!("CARGO_PKG_VERSION"))),
        ("server", Reply::text(cx.host.server_version())),
        ("role", Reply::text(role_word(node.replica))),
        ("mode", Reply::text(node.mode_word())),
        ("health", Reply::text(health.status())),
        ("cluster", Reply::Integer(i64::from(cx.host.is_clustered()))),
        ("replicas", Reply::number(cx.host.replicas())),
        ("uptime_ms", Reply::number(node.uptime_ms())),
        ("memory_permille", Reply::number_or_nil(health.memory_permille)),
        ("last_fence", Reply::number(node.clock.last())),
        ("waiting_clients", Reply::number(node.waits.len() as u64)),
        ("deadlines", Reply::number(node.schedule.len() as u64)),
        ("sweep_lag_ms", Reply::number(health.sweep_lag_ms)),
        ("panics", Reply::number(node.metrics.panics)),
        ("quarantined_keys", Reply::number(health.quarantined)),
        ("totals", Reply::Map(totals.collect())),
        ("services", Reply::Map(services.collect())),
        ("settings", Reply::Map(settings.collect())),
    ])))
}

/// `LTMC.APPLY`
pub fn apply<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    apply_payload(cx, key, cx.args[2], &cx.args[3..])?;
    Ok(Outcome::Reply(Reply::Ok))
}

/// `LTMC.EXPLAIN`
pub fn explain<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let bytes_max = Budget::of(cx.node).left();
    Ok(Outcome::Reply(Reply::text(cx.host.explain(cx.args[1], &cx.args[2..], bytes_max)?)))
}

/// `LTMC.REPAIR`
pub fn repair<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let repaired = repair::repair_asked(cx.node, cx.host, key)?;
    let Some(repaired) = repaired else {
        // This node did not hear of the DEL of a key that holds nothing any more.
        cx.node.quarantine.remove(&key.id());
        return Ok(Outcome::Reply(Reply::Nil));
    };
    cx.node.count_repair(&repaired);
    // Clients that wait for it or watch it, and flows that wait for it, are served by what it is
    // now.
    cx.node.key_changed(key.id());
    Ok(Outcome::Reply(Reply::map([
        ("type", Reply::text(repaired.type_name)),
        ("was_broken", Reply::Integer(i64::from(repaired.was_broken.is_some()))),
        ("given_up", repaired.given_up.map_or(Reply::Nil, Reply::text)),
    ])))
}

/// `LTMC.DEBUG`, in test builds only: `PANIC [key]`, `CLOCK ms`, `WALL ms`, `SWEEP times`,
/// `CHECK times`, `BREAK key [part]`, `OFFLOAD steps ms`, `WORK`.
#[cfg(feature = "test-hooks")]
pub fn debug<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    match args.word("what", &["PANIC", "CLOCK", "SWEEP", "CHECK", "BREAK", "WALL", "OFFLOAD", "WORK"])? {
        0 => panic!("LTMC.DEBUG PANIC was asked for"),
        1 => cx.node.clock_offset_ms = offset(&mut args)?,
        2 => cx.node.panics_due = args.number("times", 0, 100)?,
        3 => cx.node.checks.panics_due = args.number("times", 0, 100)?,
        5 => cx.host.step_system_clock(offset(&mut args)?),
        6 => {
            cx.node.offloaded_from = Some(args.number("steps", 0, u64::MAX)? as usize);
            cx.host.delay_threads(args.number("ms", 0, 60_000)?);
        }
        7 => return Ok(Outcome::Reply(cx.node.work.take())),
        _ => repair::break_value(cx.host, cx.key(2), cx.args.get(3).copied())?,
    }
    Ok(Outcome::Reply(Reply::Ok))
}

#[cfg(feature = "test-hooks")]
fn offset(args: &mut Args) -> Result<i64, Error> {
    let text = std::str::from_utf8(args.bytes("ms")?).ok();
    let offset = text.and_then(|text| text.parse::<i64>().ok()).filter(|ms| ms.abs() < 1 << 46);
    offset.ok_or_else(|| Error::usage("ms is no whole number below 2^46"))
}
