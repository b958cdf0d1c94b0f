//! Carries out what follows from the end of an agent: in each key in which it held something, in the same transaction.
//!
//! What follows is said in `domain::reactions`; where, in the list of [holders](crate::command::node::holdings). A key that cannot be worked on just now (it is in
//! quarantine, its slot is on the move) keeps its binding, and is asked again after a while.

use super::bindings::binding_in;
use super::commit::commit_changes;
use super::entity_types::with_key_type;
use super::repair::check_usable;
use super::service::Serve;
use crate::command::host::{Host, KeyType, Ownership};
use crate::command::node::holdings::Recheck;
use crate::command::node::Node;
use crate::command::settings::Setting;
use crate::domain::limits::REACTION_PIECES_MAX;
use crate::domain::reactions::has_ended;
use crate::domain::registry::Registry;
use crate::domain::{Bytes, Change, Code, KeyId, Millis};
use crate::observe::trace::Stage;

/// How soon it is tried again what could not be done, ms.
const RETRY_MS: Millis = 1000;
/// Agents that are asked for in one look at a registry.
const AGENTS_PER_LOOK: usize = 256;

/// The scheduler looks at a registry: are those who hold something still there? Says how much work it was.
///
/// A registry that is not there may be about to come: keys are loaded, restored and moved to other nodes one by one. So it has a time to live of its own
/// before its agents count as gone.
pub fn check_holders<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId) -> usize {
    let Some(mut rest) = node.holdings.take_recheck(registry) else { return 0 };
    let (now, grace_ms) = (node.now(), node.settings.get(Setting::AgentTtlMs));
    let is_missing = host.key_type(registry.into()) == KeyType::Nothing;
    let missing_since = if rest.missing_since > 0 { rest.missing_since } else { now };
    rest.missing_since = if is_missing { missing_since } else { 0 };
    let mut wait_until = if is_missing { missing_since.saturating_add(grace_ms) } else { 0 };
    if host.ownership(registry.into()) != Ownership::Here || check_usable(node, host, registry.into()).is_err() {
        wait_until = wait_until.max(now + RETRY_MS);
    }
    if wait_until > now {
        ask_again(node, registry, rest, wait_until);
        return 1;
    }
    let agents = node.holdings.agents_after(registry, &rest.after, AGENTS_PER_LOOK);
    let mut work = 1;
    for agent in &agents {
        let (pieces, again_at) = give_all_back(node, host, registry, agent);
        work += pieces;
        rest.again_at = rest.again_at.into_iter().chain(again_at).min();
    }
    match agents.last().filter(|_| agents.len() == AGENTS_PER_LOOK) {
        Some(last) => ask_again(node, registry, Recheck { after: last.clone(), ..rest }, now),
        // Those who had to wait are asked for once more when all the others have been.
        None => {
            if let Some(again_at) = rest.again_at {
                ask_again(node, registry, Recheck { after: Bytes::EMPTY, again_at: None, ..rest }, again_at);
            }
        }
    }
    work
}

fn ask_again(node: &mut Node, registry: &KeyId, rest: Recheck, when: Millis) {
    node.holdings.go_on(registry, rest);
    node.schedule.look_at(registry.clone(), when);
}

/// An incarnation of an agent is over: what it held goes back.
pub fn agent_gone<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8]) {
    let (_, again_at) = give_all_back(node, host, registry, agent);
    if let Some(again_at) = again_at {
        // It is known that it is gone, even if its registry went with it.
        ask_again(node, registry, Recheck { missing_since: 1, ..Recheck::default() }, again_at);
    }
}

/// Gives back what an agent holds under bindings that are over, in all its keys. Says how many pieces, and when to ask again if some have to wait.
fn give_all_back<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8]) -> (usize, Option<Millis>) {
    let keys: Vec<KeyId> = node.holdings.keys_of(registry, agent).cloned().collect();
    let (mut pieces, mut again_at) = (0, None);
    for key in keys {
        let left = REACTION_PIECES_MAX.saturating_sub(pieces);
        if left == 0 {
            again_at = Some(node.now());
            break;
        }
        match give_back(node, host, registry, agent, &key, left) {
            GiveBack::All(count) => pieces += count,
            GiveBack::Stale => node.holdings.forget(registry, agent, &key),
            GiveBack::Part(count) => {
                pieces += count;
                again_at = Some(node.now());
            }
            GiveBack::Nothing => again_at = again_at.or(Some(node.now() + RETRY_MS)),
        }
    }
    (pieces, again_at)
}

/// What became of what an agent holds in a key.
enum GiveBack {
    /// So many pieces were given back; or it is not over.
    All(usize),
    /// The same, and there is more.
    Part(usize),
    /// It has to wait.
    Nothing,
    /// There was nothing.
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
        // It may have gone ahead to another node, and its registry will follow.
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
    let is_over = match host.read::<Registry>(registry.into()) {
        Ok(stored) => has_ended(&binding, stored.map(|stored| &stored.state)),
        Err(error) if error.code == Code::Quarantined => return GiveBack::Nothing,
        // Something else stands in its place, so nobody is registered there.
        Err(_) => true,
    };
    if !is_over {
        return GiveBack::All(0);
    }
    if check_usable(node, host, key.into()).is_err() {
        return GiveBack::Nothing;
    }
    let env = node.settings.reaction_env(node.now());
    let Ok(Some(stored)) = host.read::<E>(key.into()) else { return GiveBack::Stale };
    let mut events = stored.state.agent_gone(&binding, &env);
    let all = events.len();
    E::choose(node, host, key.into(), &mut events, max);
    let (count, is_all) = (events.len(), events.len() == all);
    if count == 0 && !is_all {
        return GiveBack::Nothing;
    }
    let over = is_all.then(|| Change::Unbound { agent: binding.agent.clone() });
    let mut changes: Vec<_> = events.into_iter().map(Change::Event).chain(over).collect();
    // The key was just read as of this type. What can keep it from being changed is a key that belongs to it and is on another node.
    let done = node.following(Stage::Decide, |node| commit_changes::<E, H>(node, host, key.into(), &mut changes));
    node.metrics.reactions += u64::from(done.is_ok());
    match done {
        Ok(()) if is_all => GiveBack::All(count.max(1)),
        Ok(()) => GiveBack::Part(count),
        Err(_) => GiveBack::Nothing,
    }
}
