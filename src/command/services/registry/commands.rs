//! The commands of the agent registry: what they take, what they decide, what they answer. The
//! rules are in `domain::registry`.

use super::filter::{labels, FindArgs};
use super::serve::{claim_binding, commit_claim, decide_due, is_back, serve_before};
use crate::command::engine::args::Args;
use crate::command::engine::commit::{commit, touch};
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::quotas;
use crate::command::engine::requests::answered;
use crate::command::engine::waiting::{wait, NewWait};
use crate::command::host::{Host, Key};
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::entity::idempotency::RequestId;
use crate::domain::limits::{AGENT_LABELS_MAX, AGENT_TEXT_BYTES_MAX, CAPACITY_MAX, ID_BYTES_MAX, REGISTRY_BYTES_MAX};
use crate::domain::registry::decide::{ClaimArgs, Heartbeat, RegisterArgs};
use crate::domain::registry::find::Sort;
use crate::domain::registry::queue::ClaimWaiter;
use crate::domain::registry::{decide, meta, Health, Registry, Status};
use crate::domain::value::capability::Capability;
use crate::domain::{Bytes, Code, Error, Fence, Millis, Service};
use std::sync::Arc;

/// How much of what is due is decided before a claim looks for an agent.
const DUE_BEFORE_CLAIM: usize = 64;

/// `LTMC.REGISTER`
pub fn register<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let id = args.id("agent")?;
    let register_args = parse_register(&mut args)?;
    let key = cx.key(1);
    let registry = current::<Registry, H>(cx.node, cx.host, key)?;
    let max = cx.node.settings.get(Setting::RegistryAgentsMax);
    if registry.slot(id).is_none() && registry.count() as u64 >= max {
        return Err(Error::limit("registry-agents-max", "one more agent in this registry", max));
    }
    let capacity_max = cx.node.settings.get(Setting::AgentCapacityMax);
    if register_args.capacity.is_some_and(|capacity| u64::from(capacity) > capacity_max) {
        return Err(Error::limit("agent-capacity-max", "CAPACITY", capacity_max));
    }
    check_versions(cx.node, &registry, register_args.caps.as_deref().unwrap_or_default())?;
    if registry.is_full() {
        return Err(Error::new(
            Code::Limit,
            format!("the registry has {REGISTRY_BYTES_MAX} bytes, which is all that one may have"),
        ));
    }
    let (ttl_ms, policy) = (cx.node.settings.get(Setting::AgentTtlMs), cx.node.settings.registry_policy());
    let event = decide::register(&registry, id, register_args, ttl_ms, &policy, &mut cx.node.clock);
    let Some(event) = event else { return Ok(Outcome::Reply(Reply::Nil)) };
    let epoch = cx.node.clock.last();
    let takes_over = registry.agent(id).is_some_and(|agent| !agent.is_dead());
    commit::<Registry, H>(cx.node, cx.host, key, [event])?;
    if takes_over {
        cx.node.contested.insert(epoch, 0);
    }
    Ok(Outcome::Reply(Reply::number(epoch)))
}

/// Errs if there would be too many versions of one of these capabilities.
fn check_versions(node: &Node, registry: &Registry, caps: &[Capability]) -> Result<(), Error> {
    let max = node.settings.get(Setting::CapabilityVersionsMax);
    for same in caps.chunk_by(|one, next| one.name == next.name) {
        let (_, versions) = registry.index().versions_of(&same[0]);
        let more = same.iter().filter(|cap| !registry.index().versions_of(cap).0).count();
        if more > 0 && (versions + more) as u64 > max {
            let what = format!("so many versions of '{}' in this registry", same[0].name.show());
            return Err(Error::limit("capability-versions-max", &what, max));
        }
    }
    Ok(())
}

fn parse_register(args: &mut Args) -> Result<RegisterArgs, Error> {
    let mut register_args = RegisterArgs::default();
    while let Some(word) = args.option()? {
        match word {
            "NX" => register_args.only_new = true,
            "NAME" => register_args.name = Some(Bytes::from(args.text("NAME", AGENT_TEXT_BYTES_MAX)?)),
            "CAPS" => {
                let caps = args.list("CAPS", 0, AGENT_LABELS_MAX)?.iter().map(|text| Capability::parse(text));
                let mut caps: Vec<Capability> = caps.collect::<Result<_, _>>()?;
                caps.sort_unstable();
                caps.dedup();
                register_args.caps = Some(caps);
            }
            "TAGS" => register_args.tags = Some(labels("TAGS", 0, args)?),
            "META" => register_args.meta = Some(meta::parse(args.bytes("META")?)?),
            "CAPACITY" => register_args.capacity = Some(args.number("CAPACITY", 0, CAPACITY_MAX)? as u32),
            "SESSION" => register_args.session = Some(Bytes::from(args.text("SESSION", ID_BYTES_MAX)?)),
            "STATUS" => {
                register_args.status =
                    Some(if args.choice("status")? == "ACTIVE" { Status::Active } else { Status::Starting })
            }
            "PX" | "EX" => register_args.ttl_ms = Some(args.duration(word)?),
            _ => return Err(args.unread(word)),
        }
    }
    Ok(register_args)
}

/// `LTMC.DEREGISTER`
pub fn deregister<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let id = args.id("agent")?;
    let mut epoch = None;
    while args.option()?.is_some() {
        epoch = Some(args.fence_or_zero("EPOCH")?);
    }
    let key = cx.key(1);
    let now = cx.now();
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::deregister(&stored.state, id, epoch, now)?;
    let is_gone = event.is_some();
    commit::<Registry, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(is_gone.into())))
}

/// `LTMC.HEARTBEAT`
pub fn heartbeat<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let id = args.id("agent")?;
    let beat = parse_heartbeat(&mut args)?;
    let key = cx.key(1);
    let (view, policy) = (cx.node.view(), cx.node.settings.registry_policy());
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Err(decide::no_agent(id)) };
    let heard = decide::heartbeat(&stored.state, id, &beat, &policy, &view)?;
    if beat.epoch.is_none() {
        let epoch = stored.state.agent(id).map(|agent| agent.epoch);
        epoch.and_then(|epoch| cx.node.contested.get_mut(epoch)).into_iter().for_each(|beats| *beats += 1);
    }
    touch::<Registry, H>(cx.node, cx.host, key, heard.pulse, heard.wakes_at)?;
    if !heard.events.is_empty() {
        commit::<Registry, H>(cx.node, cx.host, key, heard.events)?;
    }
    if heard.is_back {
        is_back(cx.node, cx.host, key, id);
    }
    Ok(Outcome::Reply(Reply::number(heard.ttl_ms)))
}

fn parse_heartbeat<'a>(args: &mut Args<'a>) -> Result<Heartbeat<'a>, Error> {
    let mut beat = Heartbeat::default();
    let mut reason = None;
    while let Some(word) = args.option()? {
        match word {
            "EPOCH" => beat.epoch = Some(args.fence_or_zero("EPOCH")?),
            "STATUS" => {
                let status = Status::ALL[args.word("STATUS", &Status::WORDS)?];
                if !status.is_declared() {
                    let text = format!("STATUS is '{}': silence makes an agent that, not a heartbeat", status.word());
                    return Err(Error::usage(text));
                }
                beat.status = Some(status);
            }
            "LOAD" => beat.load = Some(args.thousandths("LOAD")?),
            "HEALTH" => beat.health = Some((Health::ALL[args.word("HEALTH", &Health::WORDS)?], &[][..])),
            "REASON" => reason = Some(args.text("REASON", AGENT_TEXT_BYTES_MAX)?),
            _ => return Err(args.unread(word)),
        }
    }
    match (&mut beat.health, reason) {
        (Some((_, text)), Some(reason)) => *text = reason,
        (None, Some(_)) => return Err(Error::usage("REASON goes with HEALTH only: it says why")),
        _ => {}
    }
    Ok(beat)
}

/// The arguments of `LTMC.AGENT.CLAIM`.
struct AgentClaimArgs {
    claim: ClaimArgs,
    block_ms: Option<Millis>,
    request_id: Option<RequestId>,
}

fn parse_claim(args: &mut Args) -> Result<AgentClaimArgs, Error> {
    let mut find_args = FindArgs::new(Sort::Load);
    let (mut lease_ms, mut reference, mut block_ms, mut request_id) = (None, Bytes::EMPTY, None, None);
    let mut registry = None;
    while let Some(word) = args.option()? {
        match word {
            "PX" | "EX" => lease_ms = Some(args.duration(word)?),
            "REF" => reference = Bytes::from(args.text("REF", AGENT_TEXT_BYTES_MAX)?),
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            "REGISTRY" => registry = Some(args.registry()?),
            // A claim has no owner, so the ids belong to the registry.
            "REQID" => request_id = Some(args.request_id(b"")?),
            _ => find_args.read(word, args)?,
        }
    }
    let lease_ms = lease_ms.ok_or_else(|| Error::usage("PX ms (or EX s) is missing: a claim always has a lease"))?;
    let statuses = find_args.filter.statuses;
    if statuses.is_some_and(|statuses| statuses.has(Status::Suspect) || statuses.has(Status::Dead)) {
        return Err(Error::usage("STATUS of a claim cannot be suspect or dead: such agents take no work"));
    }
    if registry.is_some() && (reference.is_empty() || reference.len() > ID_BYTES_MAX) {
        return Err(Error::usage(
            "REGISTRY goes with REF only, which is the id of the agent that the claim belongs to",
        ));
    }
    find_args.filter.free_min = find_args.filter.free_min.max(1);
    let FindArgs { filter, sort } = find_args;
    let claim = ClaimArgs { filter: Arc::new(filter), sort, lease_ms, reference, registry };
    Ok(AgentClaimArgs { claim, block_ms, request_id })
}

/// `LTMC.AGENT.CLAIM`
pub fn claim<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let claim_args = parse_claim(&mut args)?;
    let key = cx.key(1);
    decide_due(cx.node, cx.host, key, DUE_BEFORE_CLAIM)?;
    let (view, seed) = (cx.node.view(), cx.node.random());
    if let Some(answer) = answered::<Registry, H>(cx.node, cx.host, key, claim_args.request_id.as_ref())? {
        return Ok(Outcome::Reply((&answer).into()));
    }
    let binding = claim_binding(cx.node, cx.host, key, &claim_args.claim)?;
    let is_first = serve_before(cx.node, cx.host, key);
    if let Some(stored) = cx.host.read::<Registry>(key)?.filter(|_| is_first) {
        // Waiting clients have been offered every free agent, so nobody is overtaken.
        let found = decide::claim(&stored.state, &view, &claim_args.claim, seed, &mut cx.node.clock);
        if let Some((event, fence)) = found {
            let request_id = claim_args.request_id.as_ref();
            let reply = commit_claim(cx.node, cx.host, key, event, fence, request_id, binding)?;
            return Ok(Outcome::Reply(reply));
        }
    }
    match claim_args.block_ms.filter(|_| cx.host.may_block()) {
        None => Ok(Outcome::Reply(Reply::Nil)),
        Some(block_ms) => {
            if !is_first {
                // It is offered every agent in its turn.
                cx.node.look_at_soon(key.id());
            }
            wait_for_agent(cx, claim_args, block_ms)
        }
    }
}

fn wait_for_agent<H: Host>(cx: &mut Cx<H>, args: AgentClaimArgs, block_ms: Millis) -> Result<Outcome, Error> {
    let (key, since) = (cx.key(1).id(), cx.now());
    let AgentClaimArgs { claim, request_id, .. } = args;
    let principal =
        quotas::principal::<Registry, H>(cx.node, cx.host, cx.key(1), claim.registry.as_ref(), &claim.reference)?;
    let waiter = ClaimWaiter { key: key.clone(), args: claim, request_id, since };
    let new = NewWait {
        service: Service::Registry,
        waiting: cx.node.queues.claims.waiting_for(&key),
        key,
        max: Setting::ClaimWaitersMax,
        what: "one more client waiting for an agent",
        block_ms,
        principal,
    };
    wait(cx, new, |queues, id| queues.claims.insert_claimer(id, waiter))
}

/// The agent that a claim belongs to, if it was made with `REGISTRY`.
fn bound_claimer<H: Host>(cx: &mut Cx<H>, key: Key, fence: Fence) -> Result<Option<Bytes>, Error> {
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(None) };
    let claim = stored.state.claim(fence).map(|(_, claim)| &claim.reference);
    Ok(claim.filter(|claimer| stored.binding_of(claimer).is_some()).cloned())
}

/// `LTMC.AGENT.RELEASE`
pub fn release<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("registry")?;
    let fence: Fence = args.fence_or_zero("fence")?;
    let (mut is_ok, mut latency_ms) = (true, None);
    while let Some(word) = args.option()? {
        match word {
            "OUTCOME" => is_ok = args.choice("outcome")? == "OK",
            "LATENCY" => latency_ms = Some(args.millis("LATENCY", 0)?),
            _ => return Err(args.unread(word)),
        }
    }
    let key = cx.key(1);
    let now = cx.now();
    if let Some(claimer) = bound_claimer(cx, key, fence)? {
        cx.check_actor(&claimer)?;
    }
    let Some(stored) = cx.host.read::<Registry>(key)? else { return Ok(Outcome::Reply(Reply::Integer(0))) };
    let event = decide::release(&stored.state, fence, is_ok, latency_ms, now);
    let is_released = event.is_some();
    commit::<Registry, H>(cx.node, cx.host, key, event)?;
    Ok(Outcome::Reply(Reply::Integer(is_released.into())))
}
