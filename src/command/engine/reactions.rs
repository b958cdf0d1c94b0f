//! Carries out what follows from the end of an agent: in each key in which it held something, in
//! the same transaction.
//!
//! `domain::reactions` says what follows; the [index of holdings](crate::command::node::holdings)
//! says where. A key that cannot be worked on now (it is in quarantine, or its slot is moving)
//! keeps its binding, and is asked again after a while.

use super::bindings::binding_in;
use super::commit::commit_changes;
use super::entity_types::with_key_type;
use super::repair::check_usable;
use super::service::Serve;
use crate::command::host::{Host, KeyType, Ownership};
use crate::command::node::holdings::Recheck;
use crate::command::node::stopwatch::Stopwatch;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::limits::REACTION_PIECES_MAX;
use crate::domain::reactions::has_ended;
use crate::domain::registry::Registry;
use crate::domain::{Bytes, Change, Code, KeyId, Millis};
use crate::observe::trace::Stage;

/// When to try again what could not be done, ms.
const RETRY_MS: Millis = 1000;
/// How many agents one look at a registry checks.
const AGENTS_PER_LOOK: usize = 256;
/// How many keys of an agent are copied at once.
const KEYS_AT_ONCE: usize = 64;

/// The scheduler looks at a registry: are the agents that hold something still there? Returns how
/// much work that was.
///
/// A registry that is missing may be about to come: keys are loaded, restored and moved to other
/// nodes one by one. So its agents count as gone only when a default TTL has passed.
pub fn check_holders<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId) -> usize {
    let Some(mut rest) = node.holdings.take_recheck(registry) else { return 0 };
    let (now, grace_ms) = (node.now(), node.settings.get(Setting::AgentTtlMs));
    let is_missing = host.key_type(registry.into()) == KeyType::Nothing;
    rest.missing_since = is_missing.then(|| rest.missing_since.unwrap_or(now));
    let mut wait_until = rest.missing_since.map_or(0, |since| since.saturating_add(grace_ms));
    if host.ownership(registry.into()) != Ownership::Here || check_usable(node, host, registry.into()).is_err() {
        wait_until = wait_until.max(now + RETRY_MS);
    }
    if wait_until > now {
        ask_again(node, registry, rest, wait_until);
        return 1;
    }
    let agents = node.holdings.agents_after(registry, &rest.after, AGENTS_PER_LOOK);
    let (mut pieces, mut last, mut is_cut) = (Pieces::of_round(node), rest.after.clone(), false);
    for agent in &agents {
        let again_at = give_all_back(node, host, registry, agent, &mut pieces);
        is_cut = pieces.left() == 0;
        if is_cut {
            // The next look begins with this one: it may hold more.
            break;
        }
        rest.again_at = rest.again_at.into_iter().chain(again_at).min();
        last = agent.clone();
    }
    let work = 1 + pieces.done;
    if is_cut || agents.len() == AGENTS_PER_LOOK {
        ask_again(node, registry, Recheck { after: last, ..rest }, now);
    } else if let Some(again_at) = rest.again_at {
        // Agents that had to wait are asked once more when all the others have been.
        ask_again(node, registry, Recheck { after: Bytes::EMPTY, again_at: None, ..rest }, again_at);
    }
    work
}

fn ask_again(node: &mut Node, registry: &KeyId, rest: Recheck, when: Millis) {
    node.holdings.go_on(registry, rest);
    node.schedule.look_at(registry.clone(), when);
}

/// What is given back at once when agents are gone.
#[derive(Default)]
struct Pieces {
    done: usize,
    stopwatch: Stopwatch,
}

impl Pieces {
    /// A key takes as long as so many pieces in it.
    const OF_KEY: usize = 4;
    /// A client that is served takes as long as so many pieces.
    const OF_CLIENT: usize = 16;

    /// In a round, that also ends when it is late. What a command brings about does not: what an
    /// agent usually holds goes back in the same transaction.
    fn of_round(node: &Node) -> Self {
        Self { done: 0, stopwatch: node.stopwatch }
    }

    fn left(&self) -> usize {
        let max = if self.done > 0 && self.stopwatch.is_late() { 0 } else { REACTION_PIECES_MAX };
        max.saturating_sub(self.done)
    }
}

/// Incarnations of agents have ended: gives back what they held.
pub fn agents_gone<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agents: &[Bytes]) {
    let mut pieces = Pieces::default();
    let again_at = agents.iter().filter_map(|agent| give_all_back(node, host, registry, agent, &mut pieces)).min();
    if let Some(again_at) = again_at {
        // This is known even if the registry is gone as well, so there is no grace.
        ask_again(node, registry, Recheck { missing_since: Some(0), ..Recheck::default() }, again_at);
    }
}

/// Gives back what an agent holds under bindings that have ended, in all its keys. Returns when to
/// ask again if some has to wait.
fn give_all_back<H: Host>(
    node: &mut Node,
    host: &mut H,
    registry: &KeyId,
    agent: &[u8],
    pieces: &mut Pieces,
) -> Option<Millis> {
    let (mut again_at, mut last) = (None, None);
    loop {
        let keys = node.holdings.keys_after(registry, agent, last.as_ref(), KEYS_AT_ONCE);
        for key in &keys {
            if pieces.left() == 0 {
                return Some(node.now());
            }
            let served = node.metrics.served();
            match give_back(node, host, registry, agent, key, pieces.left()) {
                GiveBack::All(count) => pieces.done += Pieces::OF_KEY + count,
                GiveBack::Stale => node.holdings.forget(registry, agent, key),
                GiveBack::Part(count) => {
                    pieces.done += Pieces::OF_KEY + count;
                    again_at = Some(node.now());
                }
                // It costs nothing, so that it keeps no other waiting.
                GiveBack::Nothing => again_at = again_at.or(Some(node.now() + RETRY_MS)),
            }
            pieces.done += (node.metrics.served() - served) as usize * Pieces::OF_CLIENT;
        }
        if keys.len() < KEYS_AT_ONCE {
            return again_at;
        }
        last = keys.into_iter().next_back();
    }
}

/// What became of what an agent holds in a key.
enum GiveBack {
    /// All of it was given back, this many pieces; or its binding has not ended.
    All(usize),
    /// This many pieces were given back, and there are more.
    Part(usize),
    /// It has to wait.
    Nothing,
    /// The agent holds nothing there.
    Stale,
}

fn give_back<H: Host>(
    node: &mut Node,
    host: &mut H,
    registry: &KeyId,
    agent: &[u8],
    key: &KeyId,
    max: usize,
) -> GiveBack {
    let kind = host.key_type(key.into());
    if kind == KeyType::Nothing && host.presence(&[registry.into(), key.into()]) != Ownership::Here {
        // The key may have gone ahead to another node, and its registry will follow.
        return GiveBack::Nothing;
    }
    with_key_type!(kind, E => give_back_in::<E, H>(node, host, registry, agent, key, max), else GiveBack::Stale)
}

fn give_back_in<E: Serve, H: Host>(
    node: &mut Node,
    host: &mut H,
    registry: &KeyId,
    agent: &[u8],
    key: &KeyId,
    max: usize,
) -> GiveBack {
    let Some(binding) = binding_in::<E, H>(host, key.into(), registry, agent) else { return GiveBack::Stale };
    let is_ended = match host.read::<Registry>(registry.into()) {
        Ok(stored) => has_ended(&binding, stored.map(|stored| &stored.state)),
        Err(error) if error.code == Code::Quarantined => return GiveBack::Nothing,
        // Something else has this name, so nobody is registered there.
        Err(_) => true,
    };
    if !is_ended {
        return GiveBack::All(0);
    }
    node.audit.gives_back(binding.epoch);
    if check_usable(node, host, key.into()).is_err() {
        return GiveBack::Nothing;
    }
    let env = node.settings.reaction_env(node.now());
    let Ok(Some(stored)) = host.read::<E>(key.into()) else { return GiveBack::Stale };
    let mut events = stored.state.agent_gone(&binding, &env, max + 1);
    let all = events.len();
    E::choose(node, host, key.into(), &mut events, max);
    let (count, is_all) = (events.len(), events.len() == all);
    if count == 0 && !is_all {
        return GiveBack::Nothing;
    }
    let unbound = is_all.then(|| Change::Unbound { agent: binding.agent.clone() });
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).chain(unbound).collect();
    // The key was just read as of this type. Only a key that belongs to it and is on another node
    // can keep it from being changed.
    let done = node.following(Stage::Decide, |node| commit_changes::<E, H>(node, host, key.into(), &mut changes));
    node.metrics.reactions += u64::from(done.is_ok());
    match done {
        Ok(()) if is_all => GiveBack::All(count.max(1)),
        Ok(()) => GiveBack::Part(count),
        Err(_) => GiveBack::Nothing,
    }
}
