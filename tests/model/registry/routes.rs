//! Which agent is chosen for work on a context, and which claims belong to a session, against a
//! look at all of them.

use crate::prng::Prng;
use crate::server::saved;
use ltmc::domain::registry::decide;
use ltmc::domain::registry::decide::RegisterArgs;
use ltmc::domain::registry::find::find_worthiest;
use ltmc::domain::registry::time::{Policy, View};
use ltmc::domain::registry::{Agent, Claim, Filter, Health, Registry, RegistryEvent};
use ltmc::domain::value::time::Gaps;
use ltmc::domain::{Bytes, Clock, Entity, Record};
use std::collections::BTreeMap;

const NOW: u64 = 1_700_000_000_000;
const VIEW: View = View { now: NOW, since: 0, gaps: Gaps::NONE, is_replica: false };
const POLICY: Policy = Policy {
    dead_percent: 200,
    grace_ms: 1000,
    damping_half_life_ms: 0,
    phi_threshold: None,
    hold_share_percent: 0,
    hold_agents_min: 0,
    hold_extra_percent: 0,
};

fn name(n: u64) -> Bytes {
    Bytes::from(format!("agent-{n}").as_str())
}

/// A registry of agents with few different loads, so that many are equal. Their places have nothing
/// to do with their ids.
fn registry(rng: &mut Prng, agents: u64, fences: &mut Clock) -> Registry {
    let mut registry = Registry::default();
    let mut order: Vec<u64> = (0..agents).collect();
    rng.shuffle(&mut order);
    for n in order {
        let register_args = RegisterArgs { capacity: Some(4), ttl_ms: Some(1_000_000), ..RegisterArgs::default() };
        let event = decide::register(&registry, &name(n), register_args, 1_000_000, &POLICY, fences).expect("new");
        registry.apply(&event);
        registry.apply(&RegistryEvent::Seen { agent: name(n), at: NOW, load: *rng.pick(&[200, 300, 300, 900]) });
        if rng.percent(30) {
            let (agent, at, reason) = (name(n), NOW, Bytes::EMPTY);
            let health = *rng.pick(&[Health::Degraded, Health::Failed]);
            registry.apply(&RegistryEvent::HealthChanged { agent, at, health, reason });
        }
    }
    for n in (0..agents).filter(|n| n % 7 == 0) {
        registry.apply(&RegistryEvent::Deregistered { agent: name(n), at: NOW });
    }
    for _ in 0..agents / 2 {
        let (fence, agent) = (fences.next_fence(), name(rng.below(agents)));
        if registry.agent(&agent).is_some_and(|agent| agent.free() > 0) {
            let reference = Bytes::from(*rng.pick(&["", "s", "s2", "a longer reference than fits inline"]));
            registry.apply(&RegistryEvent::Claimed { fence, agent, at: NOW, ends_at: NOW + 1000, reference });
        }
    }
    registry
}

fn naive_choice(registry: &Registry, filter: &Filter, worth: &BTreeMap<Bytes, u64>) -> Option<Bytes> {
    let score = |agent: &Agent| {
        let rest = (1000 - u64::from(agent.pulse.load)).min(u64::from(agent.free()) * 1000 / 4);
        (
            agent.health == Health::Ok,
            rest + worth.get(&agent.id).copied().unwrap_or(0),
            std::cmp::Reverse(agent.id.clone()),
        )
    };
    let fitting = registry.agents().filter(|agent| filter.fits(&VIEW, registry, agent));
    fitting.max_by_key(|agent| score(agent)).map(|agent| agent.id.clone())
}

#[test]
fn the_worthiest_agent_is_the_same_wherever_it_stands() {
    let mut rng = Prng::new(3);
    for agents in [1, 5, 40, 300, 3_000] {
        let mut fences = Clock::default();
        fences.set_now_us(NOW * 1000);
        let first = registry(&mut rng, agents, &mut fences);
        let mut stored = Record::<Registry>::default();
        stored.state = first.clone();
        let again = saved(&stored).state;
        let mut degraded = Vec::new();
        for turn in 0..40 {
            let known = (0..rng.below(5)).map(|_| (name(rng.below(agents)), *rng.pick(&[100, 200, 1000])));
            let worth: BTreeMap<Bytes, u64> = known.collect();
            let mut filter = Filter { free_min: rng.below(3) as u32, ..Filter::ANY };
            let expected = naive_choice(&first, &filter, &worth);
            // Each chosen agent is excluded from then on, so that the next one comes.
            filter.excluded.extend(expected.iter().filter(|_| turn % 2 == 0).cloned());
            let expected = naive_choice(&first, &filter, &worth);
            for registry in [&first, &again] {
                assert_eq!(find_worthiest(registry, &VIEW, &filter, &worth), expected, "{agents} agents, {worth:?}");
            }
            degraded.extend(expected.and_then(|id| first.agent(&id).map(|agent| agent.health == Health::Degraded)));
        }
        assert!(agents < 40 || degraded.iter().all(|is_degraded| !is_degraded), "somebody is well");
    }
}

#[test]
fn the_claims_with_a_reference_are_those_that_a_look_at_all_finds() {
    let mut rng = Prng::new(9);
    let mut fences = Clock::default();
    fences.set_now_us(NOW * 1000);
    let mut registry = registry(&mut rng, 200, &mut fences);
    let middle = fences.last() - 30;
    for until in [0, middle, fences.last()] {
        for reference in ["s", "s2", "none", "a longer reference than fits inline"] {
            let claims = registry.agents().flat_map(|agent| &agent.claims);
            let fits = |claim: &&Claim| *claim.reference == *reference.as_bytes() && claim.fence <= until;
            let mut all: Vec<u64> = claims.filter(fits).map(|claim| claim.fence).collect();
            all.sort_unstable();
            let found: Vec<u64> = registry.claims_with(reference.as_bytes(), until).collect();
            assert_eq!(found, all, "{reference} until {until}");
        }
    }
    // A batch at a time, the oldest first, until none is left.
    let mut batches = Vec::new();
    loop {
        let events = decide::release_all(&registry, registry.claims_with(b"s", fences.last()).take(7), NOW);
        if events.is_empty() {
            break;
        }
        batches.push(events.len());
        events.iter().for_each(|event| registry.apply(event));
        assert_eq!(registry.check(), Ok(()));
    }
    assert!(batches.len() > 2 && batches[..batches.len() - 1].iter().all(|size| *size == 7), "{batches:?}");
    registry.rebuild();
    assert_eq!(registry.check(), Ok(()));
}
