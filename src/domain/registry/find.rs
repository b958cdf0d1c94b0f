//! Discovery: the intersection of inverted indexes, and the best agents in it.
//!
//! The candidates are found by intersecting the sets that the filter names, the smallest first. Of few candidates all are compared. Of
//! many, the order by load or latency is walked from its best end until enough of them were met: the more candidates there are, the
//! sooner that is. So no question costs more than a step for every 64 agents and one for every answer, plus a walk that is short
//! where candidates are many, and that at worst passes the agents that are better but no candidates.

use super::filter::Filter;
use super::index::Order;
use super::slots::{in_all, AnyOf, Slot, SlotSet};
use super::time::View;
use super::{Agent, Health, Registry, Status};
use crate::domain::algorithm::splitmix::next_below;
use crate::domain::Bytes;
use smallvec::{smallvec, SmallVec};
use std::collections::BTreeMap;

/// Which of those who fit come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// In no particular order.
    None,
    /// The least loaded.
    Load,
    /// The quickest.
    Latency,
    /// Of two that are drawn at random the less loaded: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing"
    /// (2001). Callers that ask at the same time do not all get the same one.
    Random,
}

/// Up to so many candidates are all compared instead of walking along an order.
const FEW: usize = 256;
/// Up to so many are drawn one by one.
const DRAWN_MAX: usize = 64;

/// At most `limit` agents that fit, the best first. `seed` is what a random choice depends on.
pub fn find(registry: &Registry, view: &View, filter: &Filter, sort: Sort, limit: usize, seed: u64) -> Vec<Slot> {
    let candidates = candidates(registry, view, filter);
    let admitted = |slot: Slot| registry.at(slot).is_some_and(|agent| filter.admits(view, registry, agent));
    let order = match sort {
        Sort::None => return candidates.iter().filter(|slot| admitted(*slot)).take(limit).collect(),
        Sort::Random => return draw(registry, &candidates, admitted, limit, seed),
        Sort::Load => registry.index().by_load(),
        Sort::Latency => registry.index().by_latency(),
    };
    if is_few(registry, &candidates) || limit >= candidates.len() / 2 {
        let all = candidates.iter().filter(|slot| admitted(*slot));
        if limit == 1 {
            return all.min_by_key(|slot| (measure(registry, sort, *slot), *slot)).into_iter().collect();
        }
        let mut all: Vec<Slot> = all.collect();
        all.sort_by_cached_key(|slot| (measure(registry, sort, *slot), *slot));
        all.truncate(limit);
        return all;
    }
    walk(order, &candidates, admitted, limit)
}

/// The agent that fits with the most of worth (as given, 0 to 1000) and rest (1000 less its load, which is at least the share of its
/// capacity that is claimed); one that is degraded comes behind all that are well, and of several the one whose id comes first is it.
/// `None` if nobody fits.
///
/// Looks at those who are worth something and at the least loaded of all others: nobody else could be better.
pub fn find_worthiest(
    registry: &Registry,
    view: &View,
    filter: &Filter,
    worth: &BTreeMap<Bytes, u64>,
) -> Option<Bytes> {
    let score = |agent: &Agent| {
        let worth = worth.get(&agent.id).copied().unwrap_or(0);
        (agent.health == Health::Ok, worth + 1000 - u64::from(agent.effective_load().min(1000)))
    };
    let worthy = worth.keys().filter_map(|id| registry.agent(id)).filter(|agent| filter.fits(view, registry, agent));
    let idlest = idlest(registry, view, filter);
    let order = |one: &&Agent, other: &&Agent| score(one).cmp(&score(other)).then_with(|| other.id.cmp(&one.id));
    worthy.chain(idlest).max_by(order).map(|best| best.id.clone())
}

/// The least loaded agent that fits, those that are degraded behind the others; of several the one whose id comes first. In what slots
/// agents stand differs from node to node, their ids do not.
fn idlest<'a>(registry: &'a Registry, view: &View, filter: &Filter) -> Option<&'a Agent> {
    let candidates = candidates(registry, view, filter);
    let admitted = |slot: Slot| registry.at(slot).filter(|agent| filter.admits(view, registry, agent));
    if is_few(registry, &candidates) {
        let all = candidates.iter().filter_map(|slot| Some((measure(registry, Sort::Load, slot), admitted(slot)?)));
        return all.min_by_key(|(load, agent)| (*load, &agent.id)).map(|(_, agent)| agent);
    }
    let mut first: Option<&Agent> = None;
    for level in registry.index().by_load().values() {
        level.visit_common(&candidates, |slot| {
            first = first.into_iter().chain(admitted(slot)).min_by_key(|agent| &agent.id);
            true
        });
        if first.is_some() {
            break;
        }
    }
    first
}

/// Whether all candidates are looked at instead of walking along an order: a walk passes at worst everybody, so it is worth it only if
/// candidates are not rare.
fn is_few(registry: &Registry, candidates: &SlotSet) -> bool {
    candidates.len() <= FEW.max(registry.count() / 64)
}

/// Whether the indexes offer the agent in `slot` to who asks for this.
pub fn is_candidate(registry: &Registry, filter: &Filter, slot: Slot) -> bool {
    match groups(registry, filter, &SlotSet::default()) {
        Some(groups) => groups.iter().all(|group| group.iter().any(|set| set.contains(slot))),
        None => false,
    }
}

impl Filter {
    /// Whether `agent` is offered to who asks for this.
    pub fn fits(&self, view: &View, registry: &Registry, agent: &Agent) -> bool {
        let Some(slot) = registry.slot(&agent.id) else { return false };
        self.admits(view, registry, agent) && is_candidate(registry, self, slot)
    }
}

fn candidates(registry: &Registry, view: &View, filter: &Filter) -> SlotSet {
    // Whoever became suspect without that being decided yet stands under its old status.
    let asks_for_suspects = filter.statuses.is_some_and(|statuses| statuses.has(Status::Suspect));
    let overdue = if asks_for_suspects { view.overdue(registry) } else { SlotSet::default() };
    groups(registry, filter, &overdue).map(in_all).unwrap_or_default()
}

/// The sets that a candidate has to be in, of each group one. `None` if nobody can be.
fn groups<'a>(registry: &'a Registry, filter: &Filter, overdue: &'a SlotSet) -> Option<SmallVec<[AnyOf<'a>; 8]>> {
    let index = registry.index();
    let mut groups: SmallVec<[AnyOf; 8]> = SmallVec::new();
    match filter.statuses {
        None if filter.free_min > 0 => groups.push(smallvec![index.claimable()]),
        None => groups.push(smallvec![index.offered()]),
        Some(statuses) => {
            let asked = Status::ALL.into_iter().filter(|status| statuses.has(*status));
            groups.push(asked.map(|status| index.with_status(status)).chain([overdue]).collect());
            // Whatever the status asked for: who has failed or is damped is not offered.
            groups.push(smallvec![index.fit()]);
        }
    }
    for wanted in &filter.caps {
        groups.push(SmallVec::new());
        index.add_capable(wanted, groups.last_mut()?);
    }
    if !filter.any_caps.is_empty() {
        groups.push(SmallVec::new());
        let any_of = groups.last_mut()?;
        filter.any_caps.iter().for_each(|wanted| index.add_capable(wanted, any_of));
    }
    for tag in &filter.tags {
        groups.push(smallvec![index.tagged(tag)?]);
    }
    if let Some(meta) = &filter.meta {
        groups.push(meta.0.iter().flatten().filter_map(|key| index.with_meta(key)).collect());
    }
    groups.iter().all(|group| group.iter().any(|set| !set.is_empty())).then_some(groups)
}

fn measure(registry: &Registry, sort: Sort, slot: Slot) -> u32 {
    let place = registry.at(slot).map(|agent| agent.pulse.place).unwrap_or_default();
    if sort == Sort::Latency {
        place.latency()
    } else {
        place.load()
    }
}

fn walk(order: &Order, candidates: &SlotSet, admitted: impl Fn(Slot) -> bool, limit: usize) -> Vec<Slot> {
    let mut found = Vec::new();
    for level in order.values() {
        let goes_on = level.visit_common(candidates, |slot| {
            if admitted(slot) {
                found.push(slot);
            }
            found.len() < limit
        });
        if !goes_on {
            break;
        }
    }
    found
}

/// Draws without putting back.
fn draw(
    registry: &Registry,
    candidates: &SlotSet,
    admitted: impl Fn(Slot) -> bool,
    limit: usize,
    mut seed: u64,
) -> Vec<Slot> {
    let mut next = |end: usize| next_below(&mut seed, end);
    let mut found: Vec<Slot> = Vec::new();
    if limit <= DRAWN_MAX && limit * 8 < candidates.len() {
        // Few of many: most draws hit somebody new. If most of the candidates turn out not to be admitted, they are listed instead.
        for _ in 0..limit * 4 {
            let drawn = [next(candidates.len()), next(candidates.len())].map(|n| candidates.nth(n));
            let usable = drawn.into_iter().flatten().filter(|slot| !found.contains(slot) && admitted(*slot));
            found.extend(usable.min_by_key(|slot| measure(registry, Sort::Load, *slot)));
            if found.len() == limit {
                return found;
            }
        }
        found.clear();
    }
    let mut rest: Vec<Slot> = candidates.iter().filter(|slot| admitted(*slot)).collect();
    while found.len() < limit && !rest.is_empty() {
        let (one, other) = (next(rest.len()), next(rest.len()));
        let load = |at: usize| measure(registry, Sort::Load, rest[at]);
        let better = if load(other) < load(one) { other } else { one };
        found.push(rest.swap_remove(better));
    }
    found
}
