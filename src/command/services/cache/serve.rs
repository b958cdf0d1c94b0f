//! What follows from changes of a cache: clients that wait for an answer get it, or one of them is
//! asked to compute it. Also what time brings.

use crate::command::engine::commit::{commit, commit_one, commit_step, touch};
use crate::command::engine::current::current;
use crate::command::engine::round::Round;
use crate::command::engine::service::Serve;
use crate::command::host;
use crate::command::host::{Host, Key};
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::Node;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::cache::decide::TicketArgs;
use crate::domain::cache::entry::{Answer, NEVER};
use crate::domain::cache::queue;
use crate::domain::cache::stats::HitKind;
use crate::domain::cache::{decide, Cache, CacheEvent, Call, Filled, Found, TicketEnd};
use crate::domain::limits::CACHE_BATCH_MAX;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Blob, Change, Error, Fence, KeyId, Millis};

/// The word for how an answer is given.
fn word(given: HitKind) -> &'static str {
    match given {
        HitKind::Fresh => "HIT",
        HitKind::Stale => "STALE",
        HitKind::Negative => "NEGATIVE",
    }
}

/// The reply with an answer, and with a ticket if the client is to compute the next one.
pub fn answer_reply(given: HitKind, answer: &Answer, now: Millis, ticket: Option<Fence>) -> Reply {
    valued_reply(given, &answer.value, (answer.at, answer.fresh_until), now, ticket)
}

/// The reply with a value that was put at some time and is fresh until another.
fn valued_reply(
    given: HitKind,
    value: &Blob,
    (at, fresh_until): (Millis, Millis),
    now: Millis,
    ticket: Option<Fence>,
) -> Reply {
    let ttl_ms = Some(fresh_until).filter(|end| *end != NEVER).map(|end| end.saturating_sub(now));
    let (age_ms, ttl_ms) = (Reply::number(now.saturating_sub(at)), Reply::number_or_nil(ttl_ms));
    reply(word(given), Reply::Blob(value.clone()), age_ms, ttl_ms, ticket)
}

/// The reply without an answer, with a ticket if the client is to compute it.
pub fn miss_reply(ticket: Option<Fence>) -> Reply {
    reply("MISS", Reply::Nil, Reply::Nil, Reply::Nil, ticket)
}

fn reply(status: &'static str, value: Reply, age_ms: Reply, ttl_ms: Reply, ticket: Option<Fence>) -> Reply {
    Reply::map([
        ("status", Reply::text(status)),
        ("value", value),
        ("age_ms", age_ms),
        ("ttl_ms", ttl_ms),
        ("ticket", Reply::number_or_nil(ticket)),
    ])
}

/// Hands out a ticket for a call, if one is left. Creates the cache if there is none.
pub fn grant<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    call: &Call,
    args: &TicketArgs,
) -> Result<Option<Fence>, Error> {
    let max = node.settings.get(Setting::CacheTicketsMax);
    let cache = current::<Cache, H>(node, host, key)?;
    let Some((event, ticket)) = decide::ticket(&cache, call, args, max, &mut node.clock) else { return Ok(None) };
    let events = cache.first().into_iter().chain([event]);
    commit::<Cache, H>(node, host, key, events)?;
    Ok(Some(ticket))
}

/// Notes that an answer was given, or was not there.
pub fn note_use<H: Host>(node: &mut Node, host: &mut H, key: Key, used: CacheEvent) -> Result<(), Error> {
    touch::<Cache, H>(node, host, key, used, None)
}

/// The event for an answer that is given to `agent`, which may be nobody in particular.
pub fn use_of(cache: &Cache, slot: u32, given: HitKind, answer: &Answer, agent: &[u8]) -> CacheEvent {
    let by_other = answer.agent.is_some_and(|producer| cache.labels().text(producer) != agent);
    CacheEvent::Used { slot, given, by_other }
}

/// The calls whose waiters may have an answer or a ticket after a change.
pub enum Plan {
    /// These calls.
    Calls(Vec<Call>),
    /// All calls.
    All,
}

impl Serve for Cache {
    /// A round ends before all waiting clients are served.
    const PASSES: bool = true;

    type Plan = Plan;

    fn initial(node: &Node) -> Option<CacheEvent> {
        Some(CacheEvent::Configured { config: node.settings.cache_config(), stays: false })
    }

    fn plan<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<CacheEvent>]) -> Result<Plan, Error> {
        let mut calls = Vec::new();
        if node.queues.fills.is_empty() || node.queues.fills.waiting_for(&key.id()) == 0 {
            return Ok(Plan::Calls(calls));
        }
        let stored = host.read::<Cache>(key)?;
        for event in changes.iter().filter_map(Change::event) {
            match event {
                CacheEvent::Put(filled) => calls.push(filled.call.clone().with_scope(b"")),
                CacheEvent::TicketEnded { ticket, .. } => {
                    let entry = stored.and_then(|stored| stored.state.of_ticket(*ticket));
                    calls.extend(entry.map(|(entry, _)| Call::from(entry.call())));
                }
                CacheEvent::Invalidated { .. } => return Ok(Plan::All),
                _ => {}
            }
        }
        Ok(Plan::Calls(calls))
    }

    /// Gives the answer to every waiter that takes it. If no client computes one, the first of the
    /// others is asked to.
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, plan: Plan) {
        match plan {
            Plan::Calls(calls) if calls.is_empty() => 0,
            Plan::Calls(calls) => serve_calls(node, host, key, calls, Round::of(node)),
            Plan::All => serve_all(node, host, key),
        };
    }

    /// Decides what time has brought, continues what was begun, and serves waiting clients if that
    /// may matter to them.
    fn wake<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> Result<usize, Error> {
        let work = decide_due(node, host, key.into())?;
        if has_changed || work > 0 {
            return Ok(work + serve_all(node, host, key.into()));
        }
        if !node.passes.has(key.into()) {
            return Ok(work);
        }
        Ok(work + serve_calls(node, host, key.into(), Vec::new(), Round::of(node)))
    }
}

/// Whom a round has left, with replies that are ready.
type Unserved = queue::Unserved<Reply>;

/// Serves the clients that wait for these calls, and those that the rounds before left, as many as
/// one round has room for. The others follow in the next rounds of the scheduler. Returns how much
/// work that was.
fn serve_calls<H: Host>(node: &mut Node, host: &mut H, key: Key, calls: Vec<Call>, round: Round) -> usize {
    if node.queues.fills.is_empty() {
        return 0;
    }
    let mut unserved = node.passes.take::<Unserved>(key).unwrap_or_default();
    unserved.add(calls);
    node.serving(|node| serve_round(node, host, key, unserved, round))
}

fn serve_round<H: Host>(node: &mut Node, host: &mut H, key: Key, mut unserved: Unserved, mut round: Round) -> usize {
    while !round.is_over() {
        if let Some((id, reply)) = unserved.given.pop_front() {
            round.sends(&reply);
            node.serve_wait(id, UndeliveredGrant::default(), reply, host);
            continue;
        }
        let Some(call) = unserved.take_next() else { return round.work() };
        if !serve_waiters(node, host, key, &call, &mut round) {
            unserved.add([call]);
        }
    }
    if !unserved.is_empty() {
        node.passes.stop_at(key, unserved);
        node.schedule.look_at(key.id(), node.now());
    }
    round.work()
}

/// Before a client computes: those that wait for the call come first. False if there are more than
/// one round has room for.
pub fn serve_before<H: Host>(node: &mut Node, host: &mut H, key: Key, call: &Call) -> bool {
    if node.queues.fills.is_empty() {
        return true;
    }
    serve_calls(node, host, key, vec![call.clone()], Round::default());
    let Some(mut left) = node.passes.take::<Unserved>(key) else { return true };
    let is_through = !left.take(call);
    if !is_through {
        left.add([call.clone()]);
    }
    node.passes.stop_at(key, left);
    is_through
}

/// Serves the clients that wait for a call. False if the round is over before that is done.
fn serve_waiters<H: Host>(node: &mut Node, host: &mut H, key: Key, call: &Call, round: &mut Round) -> bool {
    let mut has_served = false;
    for id in node.queues.fills.waiters_in(&key.id(), call) {
        // Those that get nothing stay first in their line, so a line is looked through in one go.
        if has_served && round.is_over() {
            return false;
        }
        round.looks(1);
        if serve_answer(node, host, key, call, id, round) {
            has_served = true;
            continue;
        }
        let now = node.now();
        let cache = host.read::<Cache>(key).ok().flatten().map(|stored| &stored.state);
        if cache.and_then(|cache| cache.flight(call.as_ref())).is_some_and(|flight| flight.is_on(now)) {
            // The remaining waiters do not take the current answer. They wait for the next one,
            // too.
            continue;
        }
        let Some(ticket_args) = node.queues.fills.waiter(id).map(|waiter| waiter.args.clone()) else { continue };
        round.serves(1);
        has_served = true;
        match grant(node, host, key, call, &ticket_args) {
            // Without a ticket there is nobody to wait for.
            Ok(ticket) => {
                let grants = ticket.into_iter().map(|ticket| (key.id(), ticket)).collect();
                let undelivered = UndeliveredGrant { grants, request_id: None };
                node.serve_wait(id, undelivered, miss_reply(ticket), host);
            }
            Err(error) => node.refuse_wait(id, error, host),
        }
    }
    true
}

/// Gives a waiter the answer, if there is one that it takes.
fn serve_answer<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    call: &Call,
    id: WaiterId,
    round: &mut Round,
) -> bool {
    let now = node.now();
    let (Some(waiter), Ok(Some(stored))) = (node.queues.fills.waiter(id), host.read::<Cache>(key)) else {
        return false;
    };
    let cache = &stored.state;
    let Found::Answer(slot, given, answer) = cache.look(call, &waiter.args.agent, now, waiter.age_ms_max) else {
        return false;
    };
    let (reply, used) =
        (answer_reply(given, answer, now, None), use_of(cache, slot, given, answer, &waiter.args.agent));
    round.sends(&reply);
    node.serve_wait(id, UndeliveredGrant::default(), reply, host);
    // It was just read as a cache.
    let _ = note_use(node, host, key, used);
    true
}

/// Serves the clients that wait for any call of a cache.
pub fn serve_all<H: Host>(node: &mut Node, host: &mut H, key: Key) -> usize {
    let calls = node.queues.fills.lines(&key.id()).cloned().collect();
    serve_calls(node, host, key, calls, Round::of(node))
}

/// Gives an answer that cannot be kept to those who wait for it, and ends its ticket: it was
/// computed, and nobody will bring it a second time.
pub fn hand_over<H: Host>(node: &mut Node, host: &mut H, key: Key, filled: &Filled) -> Result<(), Error> {
    let (call, scope) = (filled.call.with_scope(b""), filled.call.as_ref().scope());
    let given = if filled.is_negative { HitKind::Negative } else { HitKind::Fresh };
    let reply = valued_reply(given, &filled.value, (filled.at, filled.fresh_until), filled.at, None);
    let takes_it = |id: &WaiterId| {
        let waiter = node.queues.fills.waiter(*id);
        waiter.is_some_and(|waiter| scope.is_empty() || waiter.args.agent[..] == *scope)
    };
    let waiters = node.queues.fills.waiters_in(&key.id(), &call).into_iter().filter(takes_it);
    let given: Vec<_> = waiters.map(|id| (id, reply.clone())).collect();
    if !given.is_empty() {
        let mut unserved = node.passes.take::<Unserved>(key).unwrap_or_default();
        unserved.given.extend(given);
        node.serving(|node| serve_round(node, host, key, unserved, Round::of(node)));
    }
    if let Some(ticket) = filled.ticket {
        end_ticket(node, host, key, ticket, TicketEnd::Failed)?;
    }
    Ok(())
}

/// Ends a ticket. False if there is no such ticket.
pub fn end_ticket<H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    ticket: Fence,
    why: TicketEnd,
) -> Result<bool, Error> {
    let is_known = host.read::<Cache>(key)?.is_some_and(|stored| stored.state.of_ticket(ticket).is_some());
    if is_known {
        commit_one::<Cache, H>(node, host, key, CacheEvent::TicketEnded { ticket, why })?;
    }
    Ok(is_known)
}

/// Whether memory use is so high that caches give up answers.
pub fn is_short<H: Host>(node: &Node, host: &H) -> bool {
    host::is_short(host, node.settings.get(Setting::CacheShrinkPercent) * 10)
}

/// How soon a cache with nothing to give is asked again while the server is short of memory, ms.
const SHORT_MS: Millis = 1000;

/// Decides a batch of what is due. It serves nobody yet: the caller may invalidate at once what
/// waiting clients would get.
pub fn decide_due<H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<usize, Error> {
    let max = (node.settings.get(Setting::SweepBatchMax) as usize).min(CACHE_BATCH_MAX);
    let (now, mut seed) = (node.now(), node.random());
    let is_short = is_short(node, host);
    let Some(stored) = host.read::<Cache>(key)? else { return Ok(0) };
    let cache = &stored.state;
    let mut events = decide::due(cache, now, max);
    if cache.has_dying() {
        events.push(CacheEvent::Buried { batch: cache.burial(max) });
    } else if events.is_empty() {
        events.extend(decide::excess(cache, max, &mut seed));
        if is_short && events.is_empty() {
            events.extend(decide::give_way(cache, max, &mut seed));
            // Whether that is enough shows when it is done.
            node.schedule.look_at(key.id(), if events.is_empty() { now + SHORT_MS } else { now });
        }
    }
    let work = match events.last() {
        Some(CacheEvent::Removed { answers, .. }) => events.len() + cache.weight_of(answers),
        Some(CacheEvent::Buried { .. }) => events.len() + max,
        _ => events.len(),
    };
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).collect();
    commit_step::<Cache, H>(node, host, key, &mut changes)?;
    Ok(work)
}
