//! What may be done to a cache. Each function validates everything, and returns events or an error.

use super::entry::{answer_bytes, entry_bytes, flight_bytes, Answer, Call, Entry, Flight};
use super::event::{CacheEvent, Filled, Removal, TicketEnd};
use super::ids::{AnswerId, LabelId, Slot};
use super::labels::{label_bytes, Label, LabelKind};
use super::Cache;
use crate::domain::algorithm::eviction::{worst, Rank};
use crate::domain::{Bytes, Clock, Code, Connection, Error, Fence, Millis};
use ahash::AHashSet;

/// The arguments of a ticket.
#[derive(Debug, Clone)]
pub struct TicketArgs {
    /// The agent; empty if none is named.
    pub agent: Bytes,
    /// How long the ticket is valid, ms.
    pub lease_ms: Millis,
    /// The connection that the ticket ends with.
    pub connection: Option<Connection>,
}

/// How much work it may be to remove the answers that make room for one. The scheduler removes any
/// excess that is left.
const VICTIMS_MAX: usize = 1024;
/// Tickets may take this many times the bytes of the whole cache.
const TICKETS_SHARE: u64 = 2;

/// Grants a ticket for a call that nobody computes. `None` if no ticket is left, by number or by
/// bytes: who asks then computes without one, as if there were no cache.
pub fn ticket(
    cache: &Cache,
    call: &Call,
    args: &TicketArgs,
    tickets_max: u64,
    clock: &mut Clock,
) -> Option<(CacheEvent, Fence)> {
    let tool = Label::new(LabelKind::Tool, call.as_ref().tool());
    let bytes =
        cache.bytes() + entry_bytes(call.as_ref().0.len()) + flight_bytes(&args.agent) + new_bytes(cache, &[tool]);
    let is_full = bytes as u64 > cache.config().bytes_max.saturating_mul(TICKETS_SHARE);
    if is_full || cache.tickets() as u64 >= tickets_max {
        return None;
    }
    let (ticket, since) = (clock.next_fence(), clock.now());
    let ends_at = since.saturating_add(args.lease_ms);
    let TicketArgs { agent, connection, .. } = args.clone();
    let flight = Flight { ticket, agent, since, ends_at, connection, waited_until: None, is_orphaned: false };
    Some((CacheEvent::Ticketed { call: call.clone(), flight }, ticket))
}

fn check_bytes(bytes: usize, max: u64) -> Result<(), Error> {
    if bytes as u64 <= max {
        return Ok(());
    }
    let text = format!(
        "{bytes} bytes would pass the limit of {max} (MAXBYTES of LTMC.CACHE.CONFIG; setting ltmc.cache-bytes-max when the cache was made)"
    );
    Err(Error::new(Code::Limit, text))
}

/// Why an answer may not be put.
#[derive(Debug)]
pub struct Refused {
    /// The error for its client.
    pub error: Error,
    /// Whether the ticket was valid until now, and is void.
    pub is_void: bool,
}

/// Whether `agent` may put an answer with these labels for a ticket. Returns how long
/// computing it took, ms.
pub fn redeem(
    cache: &Cache,
    call: &Call,
    ticket: Fence,
    labels: &[Label],
    agent: &[u8],
    now: Millis,
) -> Result<Millis, Refused> {
    let stale = |why: &str, is_void| {
        let error = Error::new(Code::Stale, format!("ticket {ticket} is not good any more: {why}"));
        Refused { error, is_void }
    };
    let shared = call.with_scope(b"");
    let Some((_, flight)) = cache.of_ticket(ticket).filter(|(entry, _)| *entry.call == *shared.as_ref().0) else {
        let why = match cache.flight(shared.as_ref()).filter(|flight| flight.ticket > ticket) {
            Some(newer) => format!("a newer one is out, {}", newer.ticket),
            None => "it was used, given up, ended by its lease, or what it stands for was called off".into(),
        };
        return Err(stale(&why, false));
    };
    if flight.ends_at <= now {
        return Err(stale("its lease has expired", false));
    }
    if cache.is_void(ticket, labels, agent) {
        return Err(stale("what it was computed from was called off meanwhile", true));
    }
    Ok(now.saturating_sub(flight.since))
}

/// Whether a valid ticket for this call is out.
pub fn is_out(cache: &Cache, call: &Call, ticket: Fence) -> bool {
    cache.of_ticket(ticket).is_some_and(|(entry, _)| *entry.call == *call.as_ref().0)
}

/// The answers that have to make room for this one. The cache may not grow while the server is
/// short of memory.
pub fn room_for(cache: &Cache, filled: &Filled, is_short: bool, seed: &mut u64) -> Result<Vec<AnswerId>, Error> {
    let labels = labels_of(filled);
    let incoming =
        entry_bytes(filled.call.as_ref().0.len()) + answer_bytes(filled.value.heap_bytes(), filled.labels.len());
    let alone = incoming + labels.iter().map(label_bytes).sum::<usize>();
    check_bytes(alone, cache.config().bytes_max)?;
    let known = cache.find(filled.call.as_ref()).and_then(|slot| Some((slot, cache.entry(slot)?)));
    let replaced = known.map_or(0, |(_, entry)| {
        let stays = entry.flight.as_ref().filter(|flight| filled.ticket != Some(flight.ticket));
        entry.bytes() - stays.map_or(0, |flight| flight_bytes(&flight.agent))
    });
    let is_new = known.is_none_or(|(_, entry)| entry.answer.is_none());
    let to_spare = (cache.config().bytes_max as usize).saturating_sub(cache.bytes());
    let room = Room {
        bytes: (incoming + new_bytes(cache, &labels)).saturating_sub(replaced) + if is_short { to_spare } else { 0 },
        answers: is_new.into(),
        spared: known.map(|(slot, _)| slot),
        kept: labels.iter().filter_map(|label| cache.labels().find(label)).collect(),
    };
    Ok(victims(cache, room, VICTIMS_MAX, seed))
}

/// All labels of an answer, its tool and agent among them.
fn labels_of(filled: &Filled) -> Vec<Label> {
    let tool = Label::new(LabelKind::Tool, filled.call.as_ref().tool());
    let agent = (!filled.agent.is_empty()).then(|| Label::new(LabelKind::Agent, &filled.agent));
    filled.labels.iter().cloned().chain(agent).chain([tool]).collect()
}

/// Bytes of those labels that no entry has yet.
fn new_bytes(cache: &Cache, labels: &[Label]) -> usize {
    let is_new = |label: &&Label| cache.labels().find(label).is_none_or(|id| cache.labels().users(id) == 0);
    labels.iter().filter(is_new).map(label_bytes).sum()
}

/// At most `max` answers that have to go since a bound is exceeded.
pub fn excess(cache: &Cache, max: usize, seed: &mut u64) -> Option<CacheEvent> {
    removed(victims(cache, Room::default(), max, seed))
}

/// At most `max` answers that go since the server is short of memory: an eighth of the cache, so
/// that the most valuable stay longest.
pub fn give_way(cache: &Cache, max: usize, seed: &mut u64) -> Option<CacheEvent> {
    let bytes_max = cache.config().bytes_max as usize;
    // As if an answer arrived that makes an eighth of the cache go.
    let bytes = bytes_max.saturating_sub(cache.bytes()) + cache.bytes() / 8 + 1;
    removed(victims(cache, Room { bytes, ..Room::default() }, max, seed))
}

fn removed(answers: Vec<AnswerId>) -> Option<CacheEvent> {
    (!answers.is_empty()).then_some(CacheEvent::Removed { answers, why: Removal::Evicted })
}

/// What a new answer needs.
#[derive(Default)]
struct Room {
    bytes: usize,
    answers: u64,
    /// Its own entry.
    spared: Option<Slot>,
    /// Labels that the new answer shares: they stay, whatever goes.
    kept: AHashSet<LabelId>,
}

fn victims(cache: &Cache, room: Room, max: usize, seed: &mut u64) -> Vec<AnswerId> {
    let (mut bytes, mut count) = ((cache.bytes() + room.bytes) as u64, cache.count() as u64 + room.answers);
    let mut chosen: AHashSet<Slot> = room.spared.into_iter().collect();
    let (mut victims, mut work) = (Vec::new(), 0);
    while (bytes > cache.config().bytes_max || count > cache.config().entries_max) && work < max {
        let rank = |slot: Slot| -> Option<Rank> { (!chosen.contains(&slot)).then(|| cache.rank(slot))? };
        let Some((slot, _)) = worst(&cache.placed, seed, rank) else { break };
        chosen.insert(slot);
        let Some((entry, answer)) = cache.entry(slot).and_then(|entry| Some((entry, entry.answer.as_ref()?))) else {
            break;
        };
        victims.push(answer.id);
        work += entry.weight();
        bytes = bytes.saturating_sub(freed_bytes(cache, entry, answer, &room.kept) as u64);
        count -= 1;
    }
    victims
}

/// Bytes that an answer frees: its entry, unless a flight keeps it, and the labels that no
/// other entry has.
fn freed_bytes(cache: &Cache, entry: &Entry, answer: &Answer, kept: &AHashSet<LabelId>) -> usize {
    let flight = entry.flight.as_ref();
    let staying = flight.map_or(0, |flight| entry_bytes(entry.call.len()) + flight_bytes(&flight.agent));
    let tool = flight.is_none().then_some(entry.tool);
    let labels = answer.labels.iter().copied().chain(answer.agent).chain(tool);
    let only_here = labels.filter(|id| cache.labels().users(*id) == 1 && !kept.contains(id));
    entry.bytes() - staying + only_here.filter_map(|id| cache.labels().label(id)).map(label_bytes).sum::<usize>()
}

/// At most `max` things that are due: answers expire, tickets end.
pub fn due(cache: &Cache, now: Millis, max: usize) -> Vec<CacheEvent> {
    let (mut answers, mut events, mut work) = (Vec::new(), Vec::new(), 0);
    for (_, slot) in cache.ends.range(..=(now, Slot::MAX)) {
        if work >= max {
            break;
        }
        let Some(entry) = cache.entry(*slot) else { continue };
        work += entry.weight();
        answers.extend(entry.answer.as_ref().filter(|answer| answer.gone_at <= now).map(|answer| answer.id));
        let Some(flight) = entry.flight.as_ref() else { continue };
        let ticket = flight.ticket;
        if flight.ends_at <= now {
            events.push(CacheEvent::TicketEnded { ticket, why: TicketEnd::Expired });
        } else if flight.waited_until.is_some_and(|until| until <= now) {
            events.push(CacheEvent::Orphaned { ticket });
        }
    }
    if !answers.is_empty() {
        events.push(CacheEvent::Removed { answers, why: Removal::Expired });
    }
    events
}

/// Whether an answer should be computed again while it is still fresh. The closer its expiry and
/// the higher its cost, the more likely this is, so that answers are not all recomputed when they
/// expire. `share` is drawn evenly from above 0 to 1.
///
/// XFetch: A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal Probabilistic Cache Stampede
/// Prevention" (2015).
pub fn is_early(answer: &Answer, beta: f64, now: Millis, share: f64) -> bool {
    let ahead_ms = answer.cost_ms as f64 * beta * -share.ln();
    now as f64 + ahead_ms >= answer.fresh_until as f64
}
