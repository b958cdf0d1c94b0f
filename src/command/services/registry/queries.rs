//! The commands that only read agents. They work on replicas, too.

use super::filter::FindArgs;
use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::page::{Items, Paging};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::domain::limits::RESULTS_MAX;
use crate::domain::registry::agent::{Claim, Life};
use crate::domain::registry::damping::decayed;
use crate::domain::registry::find::{find as find_agents, Sort};
use crate::domain::registry::slots::{Slot, SlotSet};
use crate::domain::registry::time::View;
use crate::domain::registry::{Agent, Registry, Status};
use crate::domain::{Error, Millis};
use std::borrow::Cow;

/// `LTMC.AGENT.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let id = args.id("agent")?;
    args.finish()?;
    let key = cx.key(1);
    let shown = Shown::new(cx);
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let Some(agent) = stored.state.agent(id) else { return Ok(Outcome::Reply(Reply::Nil)) };
    Ok(Outcome::Reply(shown.map(cx.node, key, &stored.state, agent)))
}

/// How an agent is shown.
#[derive(Clone, Copy)]
struct Shown {
    view: View,
    half_life_ms: Millis,
}

impl Shown {
    fn new<H: Host>(cx: &Cx<H>) -> Self {
        Self { view: cx.node.view(), half_life_ms: cx.node.settings.registry_policy().damping_half_life_ms }
    }

    /// An agent with its claims and the keys in which it holds something, as far as they fit.
    fn map(&self, node: &Node, key: Key, registry: &Registry, agent: &Agent) -> Reply {
        let mut budget = Budget::of(node);
        let holds = node.holdings.keys_of(&key.id(), &agent.id);
        let (view, profile, now) = (&self.view, &agent.profile, self.view.now);
        let flaps = agent.flaps.as_deref();
        let damped_until = flaps.map_or(0, |flaps| flaps.damped_until);
        let silence_ms = now.saturating_sub(agent.pulse.beat);
        let phi = agent.pulse.intervals.as_ref().and_then(|intervals| intervals.phi(silence_ms));
        let (dead_at, remove_at) = match agent.life {
            Life::Alive => (Reply::Nil, Reply::Nil),
            Life::Suspect { dead_at, .. } => (Reply::number(dead_at), Reply::Nil),
            Life::Dead { remove_at, .. } => (Reply::Nil, Reply::number(remove_at)),
        };
        let latency_us = agent.record.latency_us;
        Reply::map([
            ("id", Reply::bytes(&agent.id)),
            ("epoch", Reply::number(agent.epoch)),
            ("status", Reply::text(view.status(registry, agent).word())),
            ("declared", Reply::text(agent.declared.word())),
            ("health", Reply::text(agent.health.word())),
            ("reason", Reply::bytes_or_nil(&agent.reason)),
            ("name", Reply::bytes_or_nil(&profile.name)),
            ("caps", Reply::Array(profile.caps.iter().map(|cap| Reply::bytes(&cap.text())).collect())),
            ("tags", Reply::Array(profile.tags.iter().map(|tag| Reply::bytes(tag)).collect())),
            ("meta", Reply::bytes_or_nil(&profile.meta)),
            ("session", Reply::bytes_or_nil(&profile.session)),
            ("capacity", Reply::number(profile.capacity.into())),
            ("free", Reply::number(agent.free().into())),
            ("load", thousandths(agent.effective_load())),
            ("latency_ms", if latency_us > 0 { Reply::number(latency_us.div_ceil(1000)) } else { Reply::Nil }),
            ("succeeded", Reply::number(agent.record.succeeded)),
            ("failed", Reply::number(agent.record.failed)),
            ("registered_at_ms", Reply::number(agent.registered_at)),
            ("heartbeat_at_ms", Reply::number(agent.pulse.beat)),
            ("ttl_ms", Reply::number(profile.ttl_ms)),
            ("suspect_at_ms", Reply::number(view.suspect_at(registry, agent))),
            ("dead_at_ms", dead_at),
            ("removed_at_ms", remove_at),
            ("phi", phi.map_or(Reply::Nil, |phi| Reply::text(format!("{phi:.3}")))),
            ("damped", Reply::Integer(i64::from(damped_until > 0))),
            ("damped_until_at_ms", if damped_until > 0 { Reply::number(damped_until) } else { Reply::Nil }),
            ("penalty", Reply::number(flaps.map_or(0, |flaps| decayed(flaps, now, self.half_life_ms)).into())),
            ("beats_without_epoch", Reply::number(node.contested.get(agent.epoch).copied().unwrap_or_default())),
            ("claims", budget.list(agent.claims.iter().map(claim_map))),
            ("holds", budget.list(holds.map(|key| Reply::bytes(&key.name)))),
        ])
    }
}

fn claim_map(claim: &Claim) -> Reply {
    Reply::map([
        ("fence", Reply::number(claim.fence)),
        ("since_at_ms", Reply::number(claim.since)),
        ("ends_at_ms", Reply::number(claim.ends_at)),
        ("ref", Reply::bytes_or_nil(&claim.reference)),
    ])
}

fn thousandths(value: u16) -> Reply {
    Reply::text((f64::from(value) / 1000.0).to_string())
}

/// `LTMC.AGENT.LIST`
pub fn list<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let (mut status, mut page) = (None, Paging::all(Items::Agents));
    while let Some(word) = args.option()? {
        match word {
            "STATUS" => status = Some(Status::ALL[args.word("STATUS", &Status::WORDS)?]),
            _ => page = Paging::read(Items::Agents, word, &mut args)?,
        }
    }
    let key = cx.key(1);
    let (view, mut budget) = (cx.node.view(), Budget::of(cx.node));
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(page.nothing())) };
    let registry = &stored.state;
    match (page, status) {
        (Paging::Cursor(cursor), status) => {
            let has_status = |agent: &Agent| status.is_none_or(|status| view.status(registry, agent) == status);
            let show = |agent: &Agent| has_status(agent).then(|| Reply::bytes(&agent.id));
            let agents = registry.agents_from(cursor.from);
            Ok(Outcome::Reply(cursor.page(&mut budget, agents, |agent| agent.epoch, show)))
        }
        (Paging::Offset(what, page), status) => {
            let slots: &mut dyn Iterator<Item = Slot> = match status {
                None => &mut registry.index().all().iter(),
                Some(status) => &mut with_status(registry, &view, status),
            };
            let agents = page.of(&budget, what, slots)?.filter_map(|slot| registry.at(slot));
            let ids = agents.map(|agent| Reply::bytes(&agent.id));
            Ok(Outcome::Reply(page.list(&mut budget, what, ids)?))
        }
    }
}

/// The agents that have a status for a reader now.
fn with_status<'a>(registry: &'a Registry, view: &'a View, status: Status) -> impl Iterator<Item = Slot> + 'a {
    let overdue = if status == Status::Suspect { view.due_suspects(registry) } else { SlotSet::default() };
    let overdue: Vec<Slot> = overdue.iter().collect();
    let has_status = move |slot: &Slot| registry.at(*slot).is_some_and(|agent| view.status(registry, agent) == status);
    registry.index().with_status(status).iter().chain(overdue).filter(has_status)
}

/// `LTMC.AGENT.FIND`
pub fn find<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let (mut find_args, mut limit, mut with_info) = (FindArgs::new(Sort::None), None, false);
    while let Some(word) = args.option()? {
        match word {
            "LIMIT" => limit = Some(args.number("LIMIT", 1, RESULTS_MAX)? as usize),
            "WITHINFO" => with_info = true,
            _ => find_args.read(word, &mut args)?,
        }
    }
    let key = cx.key(1);
    let (shown, seed, mut budget) = (Shown::new(cx), cx.node.random(), Budget::of(cx.node));
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(Reply::Array(Vec::new()))) };
    let registry = &stored.state;
    // More would not fit.
    let most = limit.unwrap_or(usize::MAX).min(budget.elements_left().saturating_add(1));
    let found = find_agents(registry, &shown.view, &find_args.filter, find_args.sort, most, seed);
    let agents = found.into_iter().filter_map(|slot| registry.at(slot));
    let node = &*cx.node;
    let replies = agents.map(|agent| match with_info {
        true => shown.map(node, key, registry, agent),
        false => Reply::bytes(&agent.id),
    });
    Ok(Outcome::Reply(match limit {
        Some(_) => budget.list(replies),
        None => budget.whole("all agents found (LIMIT asks for fewer)", replies)?,
    }))
}

/// `LTMC.AGENT.STATS`
pub fn stats<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let (view, waiting) = (cx.node.view(), cx.node.queues.claims.waiting_for(&key.id()) as u64);
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(Reply::Nil)) };
    let (registry, totals) = (&stored.state, stored.state.totals());
    let count = |count: usize| Reply::number(count as u64);
    let mut fields: Vec<(Cow<'static, str>, Reply)> = Vec::new();
    let mut add = |name: &'static str, value: Reply| fields.push((name.into(), value));
    add("revision", Reply::number(stored.revision));
    add("agents", count(registry.count()));
    for (status, agents) in Status::ALL.into_iter().zip(counts(registry, &view)) {
        add(status.word(), count(agents));
    }
    add("offered", count(registry.index().offered().len()));
    add("claimable", count(registry.index().claimable().len()));
    add("claims", count(registry.claims()));
    add("waiting", Reply::number(waiting));
    add("held", Reply::Integer(i64::from(registry.hold().is_some())));
    add("held_since_at_ms", registry.hold().map_or(Reply::Nil, |hold| Reply::number(hold.since)));
    let [capabilities, tags, meta_values] = registry.index().widths();
    add("capabilities", count(capabilities));
    add("tags", count(tags));
    add("meta_values", count(meta_values));
    add("total_registered", Reply::number(totals.registered));
    add("total_suspected", Reply::number(totals.suspected));
    add("total_recovered", Reply::number(totals.recovered));
    add("total_died", Reply::number(totals.died));
    add("total_claimed", Reply::number(totals.claimed));
    add("memory_bytes", count(stored.memory_bytes()));
    Ok(Outcome::Reply(Reply::Map(fields)))
}

/// How many agents have each status for a reader now.
fn counts(registry: &Registry, view: &View) -> [usize; 8] {
    let mut counts = Status::ALL.map(|status| registry.index().with_status(status).len());
    for agent in view.due_suspects(registry).iter().filter_map(|slot| registry.at(slot)) {
        counts[agent.decided() as usize] -= 1;
        counts[Status::Suspect as usize] += 1;
    }
    counts
}
