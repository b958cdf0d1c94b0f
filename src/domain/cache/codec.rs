//! The saved form of a cache, and the invariants of a loaded one.

use super::dying::{Dying, Voids};
use super::entry::{Answer, Call, CallRef, Entry, Flight, NEVER};
use super::event::{CacheEvent, Filled, Target};
use super::ids::{AnswerId, Slot};
use super::labels::{Census, Label};
use super::{Cache, Config};
use crate::domain::algorithm::eviction::Policy;
use crate::domain::entity::invariant::rule;
use crate::domain::entity::partial_check::Part;
use crate::domain::json::canonical::is_canonical;
use crate::domain::limits::{
    CACHE_BATCH_MAX, CACHE_LABELS_MAX, CACHE_LABEL_BYTES_MAX, DURATION_MS_MAX, ID_BYTES_MAX, JSON_DEPTH_END,
    RESULT_BYTES_MAX, TOOL_ARGS_BYTES_MAX, TOOL_BYTES_MAX, VOIDS_MAX,
};
use crate::domain::value::fence::check_fence;
use crate::domain::{Blob, Bytes, Entity, Error, Fence, Invariant, Millis};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::VecDeque;

/// The saved form: the answers in the order of their ids, and then the flights without an answer.
/// So equal caches are equal bytes, wherever their entries are.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Cache")]
struct Saved<E, D, V> {
    config: Config,
    stays: bool,
    last_answer: AnswerId,
    last_fence: Fence,
    entries: E,
    dying: D,
    voids: V,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry<C, A, F> {
    call: C,
    answer: Option<A>,
    flight: Option<F>,
}

#[derive(Serialize, Deserialize)]
struct SavedAnswer<V, L> {
    value: V,
    at: Millis,
    fresh_until: Millis,
    gone_at: Millis,
    cost_ms: Millis,
    id: AnswerId,
    is_negative: bool,
    is_soft: bool,
    agent: Bytes,
    labels: Vec<L>,
}

type Loaded = SavedEntry<Call, SavedAnswer<Blob, Label>, Box<Flight>>;

/// The entries of a cache, written one after the other.
struct Entries<'a>(&'a Cache);

struct CallBytes<'a>(&'a [u8]);

impl Serialize for CallBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&crate::domain::value::bytes::printable(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cache = self.0;
        let bare = || ordered_flights(cache).filter(|entry| entry.answer.is_none());
        let mut entries = serializer.serialize_seq(Some(cache.answers.len() + bare().count()))?;
        for entry in cache.answers_from(0).chain(bare()) {
            entries.serialize_element(&SavedEntry {
                call: CallBytes(&entry.call),
                answer: entry.answer.as_ref().map(|answer| saved_answer(cache, answer)),
                flight: entry.flight.as_deref(),
            })?;
        }
        entries.end()
    }
}

fn ordered_flights(cache: &Cache) -> impl Iterator<Item = &Entry> {
    cache.tickets.values().filter_map(|slot| cache.entry(*slot))
}

fn saved_answer<'a>(cache: &'a Cache, answer: &'a Answer) -> SavedAnswer<&'a Blob, &'a Label> {
    let Answer { ref value, at, fresh_until, gone_at, cost_ms, id, is_negative, is_soft, agent, ref labels } = *answer;
    let agent = agent.map(|agent| Bytes::from(cache.labels.text(agent))).unwrap_or_default();
    let labels = labels.iter().filter_map(|label| cache.labels.label(*label)).collect();
    SavedAnswer { value, at, fresh_until, gone_at, cost_ms, id, is_negative, is_soft, agent, labels }
}

impl Serialize for Cache {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Cache { config, stays, last_answer, last_fence, dying, voids, .. } = self;
        Saved {
            config: *config,
            stays: *stays,
            last_answer: *last_answer,
            last_fence: *last_fence,
            entries: Entries(self),
            dying,
            voids,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cache {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let saved = Saved::<Vec<Loaded>, VecDeque<Dying>, Voids>::deserialize(deserializer)?;
        let Saved { config, stays, last_answer, last_fence, entries, dying, voids } = saved;
        let mut cache = Cache { config, stays, last_answer, last_fence, ..Cache::default() };
        for entry in entries {
            cache.adopt(entry).map_err(serde::de::Error::custom)?;
        }
        (cache.dying, cache.voids) = (dying, voids);
        Ok(cache)
    }
}

impl Cache {
    fn adopt(&mut self, entry: Loaded) -> Result<(), &'static str> {
        if !is_call(&entry.call) || self.find(entry.call.as_ref()).is_some() {
            return Err("a call is broken or there twice");
        }
        let slot = self.slot_for(&entry.call);
        if let Some(answer) = entry.answer {
            let SavedAnswer { value, at, fresh_until, gone_at, cost_ms, id, is_negative, is_soft, agent, labels } =
                answer;
            if self.answers.contains_key(&id) {
                return Err("an answer is there twice");
            }
            let call = entry.call;
            let filled =
                Filled { call, value, at, fresh_until, gone_at, cost_ms, agent, is_negative, labels, ticket: None };
            self.attach(slot, id, &filled, is_soft);
        }
        if let Some(flight) = entry.flight {
            if self.tickets.insert(flight.ticket, slot).is_some() {
                return Err("a ticket is there twice");
            }
            self.change(slot, |entry| entry.flight = Some(flight));
        }
        let is_bare = self.entry(slot).is_some_and(|entry| entry.answer.is_none() && entry.flight.is_none());
        if is_bare {
            return Err("an entry holds nothing");
        }
        Ok(())
    }
}

/// Rebuilds everything derived. The use of answers is kept, except the list of the most used.
pub fn rebuild(cache: &mut Cache) {
    let Cache { config, stays, last_answer, last_fence, .. } = *cache;
    let fresh = Cache { config, stays, last_answer, last_fence, counters: cache.counters, ..Cache::default() };
    let mut old = std::mem::replace(cache, fresh);
    let mut entries: Vec<Box<Entry>> = std::mem::take(&mut old.slots).into_values().collect();
    entries.sort_unstable_by_key(|entry| entry.answer.as_ref().map_or(AnswerId::MAX, |answer| answer.id));
    for entry in entries {
        let answer = entry.answer.as_ref().map(|answer| saved_answer(&old, answer));
        let answer = answer.map(|answer| SavedAnswer {
            value: answer.value.clone(),
            labels: answer.labels.into_iter().cloned().collect(),
            at: answer.at,
            fresh_until: answer.fresh_until,
            gone_at: answer.gone_at,
            cost_ms: answer.cost_ms,
            id: answer.id,
            is_negative: answer.is_negative,
            is_soft: answer.is_soft,
            agent: answer.agent,
        });
        let call = Call::from(entry.call());
        // What cannot be added is broken beyond its derived parts. An entry of a cache can
        // be computed again.
        if cache.adopt(SavedEntry { call, answer, flight: entry.flight }).is_err() {
            let last = cache.slots.iter().last().map(|(slot, _)| slot);
            last.into_iter().for_each(|slot| cache.drop_if_bare(slot));
        } else if let Some(slot) = cache.find(CallRef(&entry.call)) {
            let (usage, uses, others) = (entry.usage, entry.uses, entry.others);
            cache.change(slot, |entry| (entry.usage, entry.uses, entry.others) = (usage, uses, others));
        }
    }
    (cache.dying, cache.voids, cache.evictor) = (old.dying, old.voids, old.evictor);
    cache.evictor.fit(cache.answers.len());
    cache.labels.keep_counters(old.labels);
}

fn is_time(when: Millis) -> bool {
    // Far from every overflow, and within what Redis accepts as a time.
    when <= i64::MAX as Millis / 4
}

fn is_end(when: Millis) -> bool {
    when == NEVER || is_time(when)
}

fn is_call(call: &Call) -> bool {
    let call = call.as_ref();
    call.is_valid()
        && call.tool().len() <= TOOL_BYTES_MAX
        && call.scope().len() <= ID_BYTES_MAX
        && call.args().len() <= TOOL_ARGS_BYTES_MAX
        && (call.is_raw() || is_canonical(call.args(), JSON_DEPTH_END))
}

fn is_flight(flight: &Flight) -> bool {
    flight.agent.len() <= ID_BYTES_MAX
        && is_time(flight.since)
        && is_time(flight.ends_at)
        && flight.waited_until.is_none_or(is_time)
}

fn are_labels(labels: &[Label]) -> bool {
    let fits = |label: &Label| label.text.len() <= CACHE_LABEL_BYTES_MAX;
    labels.len() <= 2 * CACHE_LABELS_MAX && labels.iter().all(fits)
}

fn is_filled(filled: &Filled) -> bool {
    let has_ends = is_end(filled.fresh_until) && is_end(filled.gone_at) && filled.fresh_until <= filled.gone_at;
    is_call(&filled.call)
        && filled.value.len() <= RESULT_BYTES_MAX
        && is_time(filled.at)
        && has_ends
        && filled.cost_ms <= DURATION_MS_MAX
        && filled.agent.len() <= ID_BYTES_MAX
        && are_labels(&filled.labels)
        && filled.labels.is_sorted_by(|one, next| one < next)
}

fn is_config(config: &Config) -> bool {
    let is_known = matches!(config.policy, Policy::Gdsf | Policy::Lru | Policy::Lfu);
    let has_room = config.bytes_max > 0 && config.entries_max > 0;
    is_known && has_room && config.ttl_ms.is_none_or(|ttl_ms| (1..=DURATION_MS_MAX).contains(&ttl_ms))
}

/// Errs if an event from an unchecked payload is outside the bounds that commands keep.
pub fn admit(event: &CacheEvent) -> Result<(), Error> {
    let fits = match event {
        CacheEvent::Configured { config, .. } => is_config(config),
        CacheEvent::Ticketed { call, flight } => {
            check_fence(flight.ticket)?;
            is_call(call) && is_flight(flight)
        }
        CacheEvent::Put(filled) => is_filled(filled),
        CacheEvent::Invalidated { at, what, fence, batch, .. } => {
            check_fence(*fence)?;
            let is_target = matches!(what, Target::All) || matches!(what, Target::Labels(labels) if are_labels(labels));
            is_time(*at) && is_target && *batch as usize <= CACHE_BATCH_MAX
        }
        CacheEvent::Buried { batch } => *batch as usize <= CACHE_BATCH_MAX,
        CacheEvent::Abandoned { until, .. } => is_time(*until),
        CacheEvent::Removed { .. } | CacheEvent::Orphaned { .. } | CacheEvent::TicketEnded { .. } => true,
        CacheEvent::Used { .. } | CacheEvent::Missed { .. } => false,
    };
    if fits {
        return Ok(());
    }
    Err(Error::usage("payload holds an event of a cache that is out of bounds"))
}

/// Whether all invariants hold.
pub fn check(cache: &Cache) -> Result<(), Invariant> {
    let (mut bytes, mut answers, mut flights, mut ends, mut private, mut count, mut firsts) = (0, 0, 0, 0, 0, 0, 0);
    let mut census = Census::default();
    for (slot, entry) in cache.slots.iter() {
        check_entry(cache, slot, entry)?;
        count += 1;
        bytes += entry.bytes();
        firsts += usize::from(cache.by_hash.get(&entry.hash) == Some(&slot));
        ends += usize::from(entry.due != NEVER);
        flights += usize::from(entry.flight.is_some());
        census.tool(entry.tool);
        if let Some(answer) = &entry.answer {
            answers += 1;
            private += usize::from(!entry.call().scope().is_empty());
            census.answer(&cache.labels, answer, entry.tool);
        }
    }
    rule(bytes == cache.entry_bytes, "the counted bytes differ from the entries")?;
    let counts = [answers, flights, ends, private, answers];
    let indexed = [cache.answers.len(), cache.tickets.len(), cache.ends.len(), cache.private, cache.placed.len()];
    rule(counts == indexed && firsts == cache.by_hash.len(), "an index differs from the entries")?;
    let are_free = cache.slots.is_sound() && cache.slots.count() == count;
    rule(are_free, "the free places differ from the entries")?;
    rule(cache.labels.is_sound(&census), "the labels differ from the entries")?;
    check_bounds(cache)
}

/// What can be checked without the entries.
pub fn check_bounds(cache: &Cache) -> Result<(), Invariant> {
    rule(cache.answers.len() == cache.placed.len(), "an index differs from the entries")?;
    rule(cache.voids.len() <= VOIDS_MAX, "it remembers too much of what was called off")?;
    let is_unborn = cache.is_empty() && cache.config == Config::default();
    rule(is_unborn || is_config(&cache.config), "its bounds are out of bounds")?;
    rule(check_fence(cache.last_fence.max(1)).is_ok(), "its fence is out of bounds")?;
    rule(cache.last_answer < u64::MAX / 2, "the number of its answers is out of bounds")
}

/// Checks a part of it, by the places of the entries.
pub fn check_part(cache: &Cache, from: u64, room: usize) -> Result<Part, Invariant> {
    check_bounds(cache)?;
    let entries = cache.slots.from(from).map(|(slot, entry)| (slot.into(), (slot, entry)));
    Part::of(entries, room, |_, (slot, entry)| {
        check_entry(cache, slot, entry)?;
        Ok(1 + entry.answer.as_ref().map_or(0, |answer| answer.labels.len() / 4))
    })
}

fn check_entry(cache: &Cache, slot: Slot, entry: &Entry) -> Result<(), Invariant> {
    rule(entry.hash == cache.hash(entry.call()), "an entry has another hash than its call")?;
    rule(cache.find(entry.call()) == Some(slot), "an entry is not found by its call")?;
    rule(entry.answer.is_some() || entry.flight.is_some(), "an entry holds nothing")?;
    rule(entry.due == entry.due_at(), "an entry does not know when it is due")?;
    rule(entry.due == NEVER || cache.ends.contains(&(entry.due, slot)), "the end of an entry is not known")?;
    rule(cache.labels.text(entry.tool) == entry.call().tool(), "an entry has a wrong tool")?;
    if let Some(answer) = &entry.answer {
        check_answer(cache, slot, entry, answer)?;
        let is_off = cache.dying.iter().any(|dying| !dying.is_soft && dying.covers(answer.id));
        rule(cache.labels.know(answer, entry.tool, is_off), "a label does not know its answer")?;
    }
    let Some(flight) = &entry.flight else { return Ok(()) };
    rule(cache.tickets.get(&flight.ticket) == Some(&slot), "a ticket is not found")?;
    rule(is_flight(flight) && flight.ticket <= cache.last_fence, "a flight is out of bounds")
}

fn check_answer(cache: &Cache, slot: Slot, entry: &Entry, answer: &Answer) -> Result<(), Invariant> {
    rule(cache.answers.get(&answer.id) == Some(&slot), "an answer is not found by its number")?;
    rule((1..=cache.last_answer).contains(&answer.id), "the number of an answer is out of bounds")?;
    rule(cache.placed.get(entry.place as usize) == Some(&slot), "an answer is not at its place")?;
    let has_ends = is_end(answer.fresh_until) && is_end(answer.gone_at) && answer.fresh_until <= answer.gone_at;
    let fits = is_time(answer.at) && answer.cost_ms <= DURATION_MS_MAX && answer.value.len() <= RESULT_BYTES_MAX;
    rule(has_ends && fits, "an answer is out of bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_configured_as_commands_can_do_it() {
        let known = Config { bytes_max: 1, entries_max: 1, ..Config::default() };
        let admits = |config| admit(&CacheEvent::Configured { config, stays: true }).is_ok();
        for policy in [Policy::Gdsf, Policy::Lru, Policy::Lfu] {
            assert!(admits(Config { policy, ..known }), "{policy:?}");
        }
        for policy in [Policy::Ttl, Policy::Ring, Policy::None] {
            assert!(!admits(Config { policy, ..known }), "{policy:?}");
        }
        assert!(!admits(Config { bytes_max: 0, ..known }) && !admits(Config { entries_max: 0, ..known }));
        assert!(!admits(Config { ttl_ms: Some(0), ..known }));
    }

    #[test]
    fn what_is_loaded_is_bounded_by_what_a_replica_admits() {
        let known = Config { bytes_max: 1, entries_max: 1, ..Config::default() };
        let holds = |config| check(&Cache { config, stays: true, ..Cache::default() }).is_ok();
        assert!(holds(known) && check(&Cache::default()).is_ok());
        let unbounded = [Config { bytes_max: 0, ..known }, Config { entries_max: 0, ..known }];
        assert!(unbounded.into_iter().all(|config| !holds(config)));
    }
}
