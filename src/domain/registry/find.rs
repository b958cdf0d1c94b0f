//! Discovery: the intersection of inverted indexes, and the best agents in it.
//!
//! The candidates are found by intersecting the sets that the filter names, the smallest first. A
//! few candidates are all compared. For many, the order by load or latency is walked from its best
//! end until enough of them were met: the more candidates, the sooner. So a query
//! costs at most a step for every 64 agents and one for every answer, plus a walk. The walk is
//! short if candidates are many. At worst it passes the agents that are better but no candidates.

use super::filter::{Filter, MetaWanted};
use super::index::Order;
use super::slots::{in_all, AnyOf, Slot, SlotSet};
use super::time::View;
use super::{Agent, Health, Registry, Status};
use crate::domain::algorithm::splitmix::next_below;
use crate::domain::{looked, looked_at_parts, Bytes, Looked};
use smallvec::{smallvec, SmallVec};
use std::collections::BTreeMap;

/// Which of the agents that fit come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// In no particular order.
    None,
    /// The least loaded.
    Load,
    /// The fastest.
    Latency,
    /// The less loaded of two random ones: M. Mitzenmacher, "The Power of Two Choices in Randomized
    /// Load Balancing" (2001). So callers that ask at the same time do not all get the same agent.
    Random,
}

/// Up to this many candidates are all compared instead of walking an order.
const FEW: usize = 256;
/// As many labels of a filter are compared in one look.
const LABELS_OF_LOOK: usize = 8;
/// Up to this many are drawn one by one.
const DRAWN_MAX: usize = 64;

/// At most `limit` agents that fit, the best first. `seed` decides random choices.
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

/// The agent that fits with the highest sum of worth (given, 0 to 1000) and rest (1000 less its
/// load, which is at least the claimed share of its capacity). A degraded agent comes after all
/// that are well, and a tie goes to the id that sorts first. `None` if none fits.
///
/// Compares the agents that have a worth and the least loaded of all others: no other agent
/// could be better.
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

/// The least loaded agent that fits. A degraded agent comes after all that are well, and a tie goes
/// to the id that sorts first: slots differ between nodes, ids do not.
fn idlest<'a>(registry: &'a Registry, view: &View, filter: &Filter) -> Option<&'a Agent> {
    let candidates = candidates(registry, view, filter);
    let admitted = |slot: Slot| registry.at(slot).filter(|agent| filter.admits(view, registry, agent));
    if is_few(registry, &candidates) {
        let all = candidates.iter().filter_map(|slot| Some((measure(registry, Sort::Load, slot), admitted(slot)?)));
        return all.min_by_key(|(load, agent)| (*load, &agent.id)).map(|(_, agent)| agent);
    }
    let mut first: Option<&Agent> = None;
    for level in registry.index().by_load().values().looked() {
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

/// Whether all candidates are compared instead of walking an order. At worst a walk passes all
/// agents, so it pays only if candidates are not rare.
fn is_few(registry: &Registry, candidates: &SlotSet) -> bool {
    candidates.len() <= FEW.max(registry.count() / 64)
}

impl Filter {
    /// Whether `agent` fits this filter. Only its own capabilities and tags are compared, however
    /// many others have.
    pub fn fits(&self, view: &View, registry: &Registry, agent: &Agent) -> bool {
        looked_at_parts(8 + self.labels(), LABELS_OF_LOOK);
        let Some(slot) = registry.slot(&agent.id) else { return false };
        let (index, profile) = (registry.index(), &agent.profile);
        let is_offered = match self.statuses {
            None if self.free_min > 0 => index.claimable().contains(slot),
            None => index.offered().contains(slot),
            Some(statuses) => {
                let mut requested = Status::ALL.into_iter().filter(|status| statuses.has(*status));
                index.fit().contains(slot) && requested.any(|status| index.with_status(status).contains(slot))
            }
        };
        let has_meta = |meta: &MetaWanted| {
            meta.0.iter().flatten().filter_map(|key| index.with_meta(key)).any(|agents| agents.contains(slot))
        };
        is_offered
            && self.admits(view, registry, agent)
            && self.caps.iter().all(|wanted| profile.can(wanted))
            && (self.any_caps.is_empty() || self.any_caps.iter().any(|wanted| profile.can(wanted)))
            && self.tags.iter().all(|tag| profile.tags.binary_search(tag).is_ok())
            && self.meta.as_ref().is_none_or(has_meta)
    }
}

fn candidates(registry: &Registry, view: &View, filter: &Filter) -> SlotSet {
    // An agent that became suspect without a decision is still indexed under its old status.
    let asks_for_suspects = filter.statuses.is_some_and(|statuses| statuses.has(Status::Suspect));
    let due_suspects = if asks_for_suspects { view.due_suspects(registry) } else { SlotSet::default() };
    groups(registry, filter, &due_suspects).map(in_all).unwrap_or_default()
}

/// The groups of sets: a candidate has to be in one set of each group. `None` if there can
/// be no candidate.
fn groups<'a>(registry: &'a Registry, filter: &Filter, due_suspects: &'a SlotSet) -> Option<SmallVec<[AnyOf<'a>; 8]>> {
    let index = registry.index();
    let mut groups: SmallVec<[AnyOf; 8]> = SmallVec::new();
    match filter.statuses {
        None if filter.free_min > 0 => groups.push(smallvec![index.claimable()]),
        None => groups.push(smallvec![index.offered()]),
        Some(statuses) => {
            let requested = Status::ALL.into_iter().filter(|status| statuses.has(*status));
            groups.push(requested.map(|status| index.with_status(status)).chain([due_suspects]).collect());
            // A failed or damped agent is not offered, whatever status is requested.
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
    for level in order.values().looked() {
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

/// Draws without replacement.
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
        // Few of many: most draws hit a new one. If most candidates turn out not to be admitted,
        // they are listed instead.
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
        looked(1);
        let (one, other) = (next(rest.len()), next(rest.len()));
        let load = |at: usize| measure(registry, Sort::Load, rest[at]);
        let better = if load(other) < load(one) { other } else { one };
        found.push(rest.swap_remove(better));
    }
    found
}
