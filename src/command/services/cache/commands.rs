//! The commands of the tool cache: what they take, what they decide, what they answer. The rules
//! are in `domain::cache`.

use super::serve::{
    answer_reply, decide_due, end_ticket, grant, hand_over, is_short, miss_reply, note_use, serve_all, serve_before,
    use_of,
};
use crate::command::engine::args::Args;
use crate::command::engine::commit::commit;
use crate::command::engine::current::current;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::waiting::{wait, NewWait};
use crate::command::host::Host;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::algorithm::eviction::Policy;
use crate::domain::algorithm::splitmix::next_share;
use crate::domain::cache::decide::{Refused, TicketArgs};
use crate::domain::cache::entry::NEVER;
use crate::domain::cache::ids::AnswerId;
use crate::domain::cache::labels::{Label, LabelKind};
use crate::domain::cache::queue::FillWaiter;
use crate::domain::cache::stats::HitKind;
use crate::domain::cache::{decide, Cache, CacheEvent, Call, Filled, Found, Removal, Target, TicketEnd};
use crate::domain::json::canonical::canonical;
use crate::domain::limits::{
    CACHE_BATCH_MAX, CACHE_LABELS_MAX, CACHE_LABEL_BYTES_MAX, DURATION_MS_MAX, TOOL_BYTES_MAX,
};
use crate::domain::{Bytes, Connection, Error, Fence, Millis, Service};
use crate::observe::trace::Stage;

/// The call that the arguments name. Tool and args follow the cache.
fn call_of<H: Host>(cx: &Cx<H>, is_raw: bool) -> Result<Call, Error> {
    let (tool, args) = (cx.args[2], cx.args[3]);
    Error::check_length("tool", tool.len(), TOOL_BYTES_MAX)?;
    cx.check_bytes(Setting::CacheArgsBytesMax, "the arguments of a tool", args.len())?;
    if is_raw {
        return Ok(Call::new(tool, b"", args, true));
    }
    let depth_max = cx.node.settings.get(Setting::JsonDepthMax) as usize;
    Ok(Call::new(tool, b"", &canonical("args", args, depth_max)?, false))
}

/// The arguments of `LTMC.CACHE.GET` and `LTMC.CACHE.PEEK`.
struct GetArgs {
    call: Call,
    agent: Bytes,
    age_ms_max: Millis,
    lease_ms: Option<Millis>,
    block_ms: Option<Millis>,
    beta: Option<f64>,
    is_peek: bool,
}

fn parse_get<H: Host>(cx: &Cx<H>) -> Result<GetArgs, Error> {
    let mut args = Args::at(cx.spec, cx.args, 4);
    let (mut agent, mut age_ms_max, mut lease_ms) = (Bytes::EMPTY, NEVER, None);
    let (mut block_ms, mut beta, mut is_raw, mut is_peek) = (None, None, false, false);
    while let Some(word) = args.option()? {
        match word {
            "AGENT" => agent = Bytes::from(args.id("AGENT")?),
            "MAXAGE" => age_ms_max = args.millis("MAXAGE", 0)?,
            "LEASE" => lease_ms = Some(args.millis("LEASE", 1)?),
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            "BETA" => beta = Some(args.decimal("BETA", 0.0, 1000.0)?),
            "PEEK" => is_peek = true,
            "RAW" => is_raw = true,
            _ => return Err(args.unread(word)),
        }
    }
    if is_peek && (lease_ms.is_some() || block_ms.is_some() || beta.is_some()) {
        return Err(Error::usage("PEEK goes without LEASE, BLOCK and BETA: it takes no ticket and waits for nobody"));
    }
    Ok(GetArgs { call: call_of(cx, is_raw)?, agent, age_ms_max, lease_ms, block_ms, beta, is_peek })
}

/// `LTMC.CACHE.GET`
pub fn get<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let options = parse_get(cx)?;
    if options.is_peek {
        return look(cx, &options);
    }
    let (key, now) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Cache>(key)? else { return compute(cx, &options) };
    let cache = &stored.state;
    let Found::Answer(slot, given, answer) = cache.look(&options.call, &options.agent, now, options.age_ms_max) else {
        return miss(cx, options);
    };
    let used = use_of(cache, slot, given, answer, &options.agent);
    let share = options.beta.map(|beta| (beta, next_share(&mut cx.node.seed)));
    let is_due =
        given == HitKind::Stale || share.is_some_and(|(beta, share)| decide::is_early(answer, beta, now, share));
    let needs_ticket = is_due && !cache.flight(options.call.as_ref()).is_some_and(|flight| flight.is_on(now));
    if !needs_ticket {
        let reply = answer_reply(given, answer, now, None);
        note_use(cx.node, cx.host, key, used)?;
        return Ok(Outcome::Reply(reply));
    }
    // One client computes the next answer. Meanwhile it has the old one like all others.
    let answer = answer.clone();
    let args = ticket_args(cx, &options);
    let ticket = grant(cx.node, cx.host, key, &options.call, &args)?;
    note_use(cx.node, cx.host, key, used)?;
    Ok(Outcome::Reply(answer_reply(given, &answer, now, ticket)))
}

/// `LTMC.CACHE.PEEK`
pub fn peek<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let options = parse_get(cx)?;
    look(cx, &options)
}

/// Answers with what there is. Nothing is written but what this node counts for itself.
fn look<H: Host>(cx: &mut Cx<H>, options: &GetArgs) -> Result<Outcome, Error> {
    let (key, now) = (cx.key(1), cx.now());
    let Some(stored) = cx.host.read::<Cache>(key)? else { return Ok(Outcome::Reply(miss_reply(None))) };
    let cache = &stored.state;
    let (reply, used) = match cache.look(&options.call, &options.agent, now, options.age_ms_max) {
        Found::Answer(slot, given, answer) => {
            (answer_reply(given, answer, now, None), use_of(cache, slot, given, answer, &options.agent))
        }
        Found::Nothing => (miss_reply(None), CacheEvent::Missed { call: options.call.clone() }),
    };
    note_use(cx.node, cx.host, key, used)?;
    Ok(Outcome::Reply(reply))
}

fn ticket_args<H: Host>(cx: &Cx<H>, options: &GetArgs) -> TicketArgs {
    let lease_ms = options.lease_ms.unwrap_or_else(|| cx.node.settings.get(Setting::CacheLeaseMs));
    let boot = cx.node.boot;
    let connection = cx.host.connection().map(|client| Connection { boot, client });
    TicketArgs { agent: options.agent.clone(), lease_ms, connection }
}

/// There is no answer, and no client computes one. If no ticket is left, the caller computes
/// without one, and so does whoever else asks.
fn compute<H: Host>(cx: &mut Cx<H>, options: &GetArgs) -> Result<Outcome, Error> {
    let (key, ticket_args) = (cx.key(1), ticket_args(cx, options));
    let ticket = grant(cx.node, cx.host, key, &options.call, &ticket_args)?;
    if ticket.is_none() && cx.host.read::<Cache>(key)?.is_some() {
        note_use(cx.node, cx.host, key, CacheEvent::Missed { call: options.call.clone() })?;
    }
    Ok(Outcome::Reply(miss_reply(ticket)))
}

/// There is no answer. The caller computes it unless another client does.
fn miss<H: Host>(cx: &mut Cx<H>, options: GetArgs) -> Result<Outcome, Error> {
    let (key, now) = (cx.key(1), cx.now());
    // If a ticket has just ended, clients that wait already come first.
    let is_first = serve_before(cx.node, cx.host, key, &options.call);
    let cache = cx.host.read::<Cache>(key)?.map(|stored| &stored.state);
    let flight = cache.and_then(|cache| cache.flight(options.call.as_ref()));
    let is_computed = flight.is_some_and(|flight| flight.is_on(now));
    if !is_computed && is_first {
        return compute(cx, &options);
    }
    note_use(cx.node, cx.host, key, CacheEvent::Missed { call: options.call.clone() })?;
    match options.block_ms.filter(|_| cx.host.may_block()) {
        None => Ok(Outcome::Reply(miss_reply(None))),
        Some(block_ms) => wait_for_answer(cx, options, block_ms),
    }
}

fn wait_for_answer<H: Host>(cx: &mut Cx<H>, options: GetArgs, block_ms: Millis) -> Result<Outcome, Error> {
    let (key, args) = (cx.key(1), ticket_args(cx, &options));
    let GetArgs { call, age_ms_max, .. } = options;
    let waiter = FillWaiter { key: key.id(), call, args, age_ms_max };
    let new = NewWait {
        service: Service::Cache,
        waiting: cx.node.queues.fills.waiting_for(&key.id()),
        key: key.id(),
        max: Setting::CacheWaitersMax,
        what: "one more client waiting for this cache",
        block_ms,
        principal: None,
    };
    let outcome = wait(cx, new, |queues, id| queues.fills.insert(id, waiter))?;
    // The lease of the computing client may have been noted before any client waited.
    let ends_at = cx.host.read::<Cache>(key)?.and_then(|stored| stored.state.next_end());
    ends_at.into_iter().for_each(|when| cx.node.schedule.look_at(key.id(), when));
    Ok(outcome)
}

/// The options of `LTMC.CACHE.PUT`.
#[derive(Default)]
struct PutArgs {
    ticket: Option<Fence>,
    ttl_ms: Option<Millis>,
    stale_ms: Millis,
    labels: Vec<Label>,
    cost_ms: Option<Millis>,
    agent: Bytes,
    is_private: bool,
    is_negative: bool,
    is_raw: bool,
}

fn parse_put<H: Host>(cx: &Cx<H>) -> Result<PutArgs, Error> {
    let mut args = Args::at(cx.spec, cx.args, 5);
    let mut options = PutArgs::default();
    while let Some(word) = args.option()? {
        match word {
            "TICKET" => options.ticket = Some(args.fence("TICKET")?),
            "PX" | "EX" => options.ttl_ms = Some(args.duration(word)?),
            "STALE" => options.stale_ms = args.millis("STALE", 0)?,
            "DEPS" => options.labels.extend(labels("DEPS", LabelKind::Dep, 0, &mut args)?),
            "TAGS" => options.labels.extend(labels("TAGS", LabelKind::Tag, 0, &mut args)?),
            "COST" => options.cost_ms = Some(args.millis("COST", 0)?),
            "AGENT" => options.agent = Bytes::from(args.id("AGENT")?),
            "PRIVATE" => options.is_private = true,
            "NEGATIVE" => options.is_negative = true,
            "RAW" => options.is_raw = true,
            _ => return Err(args.unread(word)),
        }
    }
    if options.is_private && options.agent.is_empty() {
        return Err(Error::usage("PRIVATE goes with AGENT only: it says whose own the result is"));
    }
    options.labels.sort_unstable();
    options.labels.dedup();
    Ok(options)
}

fn labels(name: &str, kind: LabelKind, min: usize, args: &mut Args) -> Result<Vec<Label>, Error> {
    let texts = args.list(name, min, CACHE_LABELS_MAX)?;
    let label = |text: &&[u8]| {
        Error::check_length(&format!("a value of {name}"), text.len(), CACHE_LABEL_BYTES_MAX)?;
        Ok(Label::new(kind, text))
    };
    texts.iter().map(label).collect()
}

/// `LTMC.CACHE.PUT`
pub fn put<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let options = parse_put(cx)?;
    let call = call_of(cx, options.is_raw)?;
    let (key, now) = (cx.key(1), cx.now());
    let took_ms = match options.ticket {
        Some(ticket) => redeem(cx, &call, ticket, &options)?,
        None => 0,
    };
    let (value, mut seed, negative_ttl_ms) =
        (cx.blob(4), cx.node.random(), cx.node.settings.get(Setting::CacheNegativeTtlMs));
    // Asked only if memory is short, since the server has to add its memory up for it.
    let is_short = is_short(cx.node, cx.host);
    let is_beyond = is_short && cx.host.is_out_of_memory();
    let fits = cx.check_bytes(Setting::CacheAnswerBytesMax, "an answer", value.len());
    let cache = current::<Cache, H>(cx.node, cx.host, key)?;
    let default_ttl_ms = if options.is_negative { Some(negative_ttl_ms) } else { cache.config().ttl_ms };
    let fresh_until = options.ttl_ms.or(default_ttl_ms).map_or(NEVER, |ttl| now + ttl);
    let scope: &[u8] = if options.is_private { &options.agent } else { b"" };
    let filled = Filled {
        call: call.with_scope(scope),
        value,
        at: now,
        fresh_until,
        gone_at: fresh_until.saturating_add(options.stale_ms),
        cost_ms: options.cost_ms.unwrap_or(took_ms).min(DURATION_MS_MAX),
        agent: options.agent,
        is_negative: options.is_negative,
        labels: options.labels,
        ticket: options.ticket,
    };
    let place = match fits {
        Ok(()) if is_beyond => Err(Error::out_of_memory()),
        Ok(()) => decide::room_for(&cache, &filled, is_short, &mut seed),
        Err(error) => Err(error),
    };
    let victims = match place {
        Ok(victims) => victims,
        Err(error) => {
            hand_over(cx.node, cx.host, key, &filled)?;
            return Err(error);
        }
    };
    let made_room = victims.chunks(CACHE_BATCH_MAX).map(evicted);
    // The new answer precedes the evictions: a cache that is empty between two events would begin
    // anew.
    let put = CacheEvent::Put(Box::new(filled));
    let events = cache.first().into_iter().chain([put]).chain(made_room);
    commit::<Cache, H>(cx.node, cx.host, key, events)?;
    Ok(Outcome::Reply(Reply::Ok))
}

fn evicted(answers: &[AnswerId]) -> CacheEvent {
    CacheEvent::Removed { answers: answers.to_vec(), why: Removal::Evicted }
}

/// How long it took to compute the answer for a ticket, ms. A ticket that turns out to be void ends
/// here, and the next client is asked to compute.
fn redeem<H: Host>(cx: &mut Cx<H>, call: &Call, ticket: Fence, options: &PutArgs) -> Result<Millis, Error> {
    let (key, now) = (cx.key(1), cx.now());
    let cache = current::<Cache, H>(cx.node, cx.host, key)?;
    match decide::redeem(&cache, call, ticket, &options.labels, &options.agent, now) {
        Ok(took_ms) => Ok(took_ms),
        Err(Refused { error, is_void }) => {
            if is_void {
                end_ticket(cx.node, cx.host, key, ticket, TicketEnd::Void)?;
            }
            Err(error)
        }
    }
}

/// `LTMC.CACHE.FAIL`
pub fn fail<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::at(cx.spec, cx.args, 4);
    let ticket = args.fence("ticket")?;
    let mut is_raw = false;
    while args.option()?.is_some() {
        is_raw = true;
    }
    let (call, key) = (call_of(cx, is_raw)?, cx.key(1));
    let stored = cx.host.read::<Cache>(key)?;
    let is_out = stored.is_some_and(|stored| decide::is_out(&stored.state, &call, ticket));
    let has_ended = is_out && end_ticket(cx.node, cx.host, key, ticket, TicketEnd::Failed)?;
    Ok(Outcome::Reply(Reply::Integer(has_ended.into())))
}

/// `LTMC.CACHE.INVALIDATE`
pub fn invalidate<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::at(cx.spec, cx.args, 2);
    Args::at(cx.spec, cx.args, 2).choice("what")?;
    let (mut what, mut is_soft) = (Target::All, false);
    while let Some(word) = args.option()? {
        match word {
            "DEP" => what = Target::Labels(labels("DEP", LabelKind::Dep, 1, &mut args)?),
            "TAG" => what = Target::Labels(labels("TAG", LabelKind::Tag, 1, &mut args)?),
            "TOOL" => what = Target::Labels(vec![Label::new(LabelKind::Tool, args.text("TOOL", TOOL_BYTES_MAX)?)]),
            "AGENT" => {
                what = Target::Labels(vec![Label::new(LabelKind::Agent, args.id("AGENT")?)]);
            }
            "ALL" => what = Target::All,
            "SOFT" => is_soft = true,
            _ => return Err(args.unread(word)),
        }
    }
    let (key, at) = (cx.key(1), cx.now());
    // What has expired is not invalidated.
    let has_ended = cx.node.following(Stage::Decide, |node| decide_due(node, cx.host, key))? > 0;
    let stored = cx.host.read::<Cache>(key)?;
    let (affected, tickets) = stored.map_or((0, 0), |stored| (stored.state.affected_by(&what), stored.state.tickets()));
    if affected > 0 || tickets > 0 {
        let batch = (cx.node.settings.get(Setting::SweepBatchMax) as usize).min(CACHE_BATCH_MAX);
        let batch = stored.map_or(0, |stored| stored.state.burial_of(&what, batch));
        let fence = cx.node.clock.next_fence();
        let event = CacheEvent::Invalidated { at, what, is_soft, fence, batch };
        commit::<Cache, H>(cx.node, cx.host, key, [event])?;
    } else if has_ended {
        serve_all(cx.node, cx.host, key);
    }
    Ok(Outcome::Reply(Reply::number(affected as u64)))
}

/// `LTMC.CACHE.CONFIG`
pub fn config<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let mut config = *current::<Cache, H>(cx.node, cx.host, key)?.config();
    let mut args = Args::at(cx.spec, cx.args, 2);
    while let Some(word) = args.option()? {
        match word {
            "MAXBYTES" => config.bytes_max = args.bounded("MAXBYTES", Setting::CacheBytesMax)?,
            "MAXENTRIES" => config.entries_max = args.bounded("MAXENTRIES", Setting::CacheEntriesMax)?,
            "PX" => config.ttl_ms = Some(args.millis("PX", 0)?).filter(|ttl| *ttl > 0),
            "EX" => config.ttl_ms = Some(args.seconds("EX")?),
            "POLICY" => config.policy = Policy::of_word(args.choice("policy")?).ok_or_else(Error::internal)?,
            _ => return Err(args.unread(word)),
        }
    }
    commit::<Cache, H>(cx.node, cx.host, key, [CacheEvent::Configured { config, stays: true }])?;
    Ok(Outcome::Reply(Reply::Ok))
}
