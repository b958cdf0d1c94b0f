//! Bindings: which incarnation of an agent owns what is held in a key.

use super::entity_types::with_key_type;
use crate::command::host::{check_here, Host, Key};
use crate::command::node::Node;
use crate::command::settings::policies::Mode;
use crate::command::settings::Setting;
use crate::domain::entity::bindings::AgentBinding;
use crate::domain::limits::BINDINGS_MAX;
use crate::domain::reactions::has_ended;
use crate::domain::registry::agent::Agent;
use crate::domain::registry::{decide, Registry};
use crate::domain::value::bytes::printable;
use crate::domain::{Bytes, Code, Entity, Error, KeyId, Record};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// The agent of a registry that is named together with `key`, in this command or in the one that
/// began the wait or the task. `NOAGENT` if it is not alive.
pub fn alive<'a, H: Host>(
    node: &Node,
    host: &'a mut H,
    key: Key,
    registry: &[u8],
    agent: &[u8],
) -> Result<&'a Agent, Error> {
    let registry = Key { db: key.db, name: registry, arg: 0 };
    node.check_quarantine(registry)?;
    if host.read::<Registry>(registry)?.is_none() {
        check_here(host, &[key, registry])?;
    }
    let stored = host.read::<Registry>(registry)?;
    let found = stored.and_then(|stored| stored.state.agent(agent));
    let found = found.ok_or_else(|| decide::no_agent(agent))?;
    if found.is_dead() {
        return Err(Error::new(Code::NoAgent, format!("'{}' is dead", printable(agent))));
    }
    Ok(found)
}

/// The binding that a command with `REGISTRY` makes for what `agent` gets in `key`. `None` if it
/// exists already, or if the mode makes no bindings. Errs if the agent is not alive, or holds
/// something in too many keys.
pub fn binding_for<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    registry: Option<&Bytes>,
    agent: &[u8],
) -> Result<Option<AgentBinding>, Error> {
    match registry.filter(|_| node.settings.mode() > Mode::Basic) {
        Some(registry) => binding_always::<E, H>(node, host, key, registry, agent),
        None => Ok(None),
    }
}

/// The same for all keys of a request, in their order.
pub fn bindings_for<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    keys: &[KeyId],
    registry: Option<&Bytes>,
    agent: &[u8],
) -> Result<SmallVec<[Option<AgentBinding>; 1]>, Error> {
    let bindings = keys.iter().map(|key| binding_for::<E, H>(node, host, key.into(), registry, agent));
    let bindings: SmallVec<[Option<AgentBinding>; 1]> = bindings.collect::<Result<_, _>>()?;
    if keys.len() > 1 {
        // There may be room for each key alone, and not for all.
        let bound = keys.iter().zip(&bindings).filter(|(_, binding)| binding.is_some());
        let bound: Vec<KeyId> = bound.map(|(key, _)| key.clone()).collect();
        if let Some(binding) = bindings.iter().flatten().next() {
            check_room(node, host, &bound, binding)?;
        }
    }
    Ok(bindings)
}

/// [`binding_for`] in every mode.
pub fn binding_always<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    registry: &Bytes,
    agent: &[u8],
) -> Result<Option<AgentBinding>, Error> {
    let epoch = alive(node, host, key, registry, agent)?.epoch;
    let binding = AgentBinding { registry: registry.clone(), agent: Bytes::from(agent), epoch };
    if let Some(stored) = host.read::<E>(key)? {
        let known = stored.binding_of(agent);
        if known == Some(&binding) {
            return Ok(None);
        }
        if known.is_none() && stored.bound() >= BINDINGS_MAX {
            let text = format!("one more agent bound to this key, at most {BINDINGS_MAX} are allowed");
            return Err(Error::new(Code::Limit, text));
        }
        match known.filter(|_| stored.state.holds(agent)).cloned() {
            Some(known) if known.registry != *registry => check_has_ended(host, key, &known, registry)?,
            // It is so much that it goes back in parts. The rest must not pass to the new
            // incarnation.
            Some(_) => {
                let text = "what this agent held before it registered anew is still being given back; try again";
                return Err(Error::new(Code::BadState, text));
            }
            None => {}
        }
    }
    check_room(node, host, &[key.id()], &binding)?;
    Ok(Some(binding))
}

/// Errs if what an agent holds in a key belongs to another registry in which it is alive: then it
/// would no longer go back when the agent ends there.
fn check_has_ended<H: Host>(host: &mut H, key: Key, known: &AgentBinding, registry: &Bytes) -> Result<(), Error> {
    let before = Key { db: key.db, name: &known.registry, arg: 0 };
    check_here(host, &[key, before])?;
    let stored = match host.read::<Registry>(before) {
        Err(error) if error.code == Code::Quarantined => return Err(error),
        stored => stored.unwrap_or(None),
    };
    if has_ended(known, stored.map(|stored| &stored.state)) {
        return Ok(());
    }
    let (agent, one, other) = (known.agent.show(), known.registry.show(), registry.show());
    let text = format!("'{agent}' holds something in this key as an agent of '{one}', not of '{other}'");
    Err(Error::new(Code::BadState, text))
}

/// Errs if an agent that is to hold something in `keys` would exceed the number of keys it may hold
/// something in. Stale entries are forgotten first.
fn check_room<H: Host>(node: &mut Node, host: &mut H, keys: &[KeyId], binding: &AgentBinding) -> Result<(), Error> {
    let registry = KeyId::new(keys[0].db, &binding.registry);
    let max = node.settings.get(Setting::AgentHoldingsMax) as usize;
    if node.holdings.keys_of(&registry, &binding.agent).len() + keys.len() <= max {
        return Ok(());
    }
    ask_keys(node, host, &registry, &binding.agent);
    let known: BTreeSet<&KeyId> = node.holdings.keys_of(&registry, &binding.agent).collect();
    let more = keys.iter().filter(|key| !known.contains(key)).count();
    if more == 0 || known.len() + more <= max {
        return Ok(());
    }
    Err(Error::limit("agent-holdings-max", "one more key in which this agent holds something", max as u64))
}

/// The value of `key` is gone. Forgets the binding unless the value that replaced it has it, too.
pub fn forget_if_stale<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, binding: &AgentBinding) {
    ask_key(node, host, &KeyId::new(key.db, &binding.registry), &binding.agent, key);
}

/// Asks all keys in which an agent may hold something, unless nothing can have happened to them
/// since that was done last.
pub fn ask_keys<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8]) {
    if node.holdings.is_sure(registry, agent) {
        return;
    }
    // What was elsewhere may be there now, after RENAME in the same transaction.
    for key in node.holdings.take_changed() {
        let kind = host.key_type((&key).into());
        with_key_type!(kind, E => note_bindings::<E, H>(node, host, &key), else ());
    }
    let keys: Vec<KeyId> = node.holdings.keys_of(registry, agent).cloned().collect();
    keys.iter().for_each(|key| ask_key(node, host, registry, agent, key));
    node.holdings.asked(registry, agent);
}

/// Notes who holds something in a key.
fn note_bindings<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    let stored = host.raw::<E>(key.into()).ok().flatten();
    for (stored, binding) in stored.iter().flat_map(|stored| stored.bindings().map(move |binding| (stored, binding))) {
        node.holdings.hold(binding, key.clone(), stored.amount_of(&binding.agent));
    }
}

/// Asks a key what an agent holds there.
fn ask_key<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8], key: &KeyId) {
    let kind = host.key_type(key.into());
    if !with_key_type!(kind, E => ask_key_as::<E, H>(node, host, registry, agent, key), else false) {
        node.holdings.forget(registry, agent, key);
    }
}

fn ask_key_as<E: Entity, H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8], key: &KeyId) -> bool {
    // This reads a value in quarantine, too: what is held there is not forgotten.
    let stored = host.raw::<E>(key.into()).ok().flatten();
    let Some((stored, binding)) = stored.and_then(|stored| Some((&*stored, stored.binding_of(agent)?))) else {
        return false;
    };
    if binding.registry != registry.name {
        return false;
    }
    node.holdings.hold(binding, key.clone(), stored.amount_of(agent));
    true
}

/// These agents hold more or less in `key` than before. Those that are bound there are noted.
pub fn note_amounts<E: Entity>(node: &mut Node, key: Key, stored: &Record<E>, agents: &[Bytes]) {
    for binding in agents.iter().filter_map(|agent| stored.binding_of(agent)) {
        node.holdings.hold(binding, key.id(), stored.amount_of(&binding.agent));
    }
}

/// The binding of what an agent of a registry holds in `key`, if there is one.
pub fn binding_in<E: Entity, H: Host>(host: &mut H, key: Key, registry: &KeyId, agent: &[u8]) -> Option<AgentBinding> {
    // This reads a value in quarantine, too: what is held there is not forgotten.
    let binding = host.raw::<E>(key).ok()??.binding_of(agent)?;
    (binding.registry == registry.name).then(|| binding.clone())
}
