//! Carries out what follows from the end of an agent: in each key in which it held something, in the same transaction.
//!
//! What follows is said in `domain::reactions`; where, in the list of [holders](super::holders). A key that cannot be worked on just now (it is in
//! quarantine, its slot is on the move) keeps its bond, and is asked again after a while.

use super::dispatch::{check_here, commit_changes};
use super::holders::Unsettled;
use super::kinds::with_kind;
use super::policies::Mode;
use super::repair::check_usable;
use super::settings::Setting;
use super::{flow_serve, lock_serve, mail_serve, registry_serve, Host, Key, Kind, Node, Ownership};
use crate::domain::bonds::Bond;
use crate::domain::buffer::Buffer;
use crate::domain::cache::Cache;
use crate::domain::context::Context;
use crate::domain::flow::{Flow, FlowEvent};
use crate::domain::id::printable;
use crate::domain::limits::{BONDS_MAX, REACTION_PIECES_MAX};
use crate::domain::lock::Lock;
use crate::domain::mail::Mail;
use crate::domain::reactions::{is_over, Moment, Reacts};
use crate::domain::registry::agent::{Agent, Life};
use crate::domain::registry::Registry;
use crate::domain::session::Session;
use crate::domain::{Bytes, Change, Code, Entity, Error, KeyId, Millis};
use crate::observe::trace::Stage;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// How soon it is tried again what could not be done, ms.
const RETRY_MS: Millis = 1000;
/// Agents that are asked for in one look at a registry.
const AGENTS_PER_LOOK: usize = 256;

/// An agent of a registry that is named with `key`, now or by who began to wait or to work then; `NOAGENT` if it is not alive.
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
    let found = found.ok_or_else(|| crate::domain::registry::decide::no_agent(agent))?;
    if matches!(found.life, Life::Dead { .. }) {
        return Err(Error::new(Code::NoAgent, format!("'{}' is dead", printable(agent))));
    }
    Ok(found)
}

/// The bond that a command with `REGISTRY` makes for what `agent` gets in `key`; `None` if there is that bond, or the mode makes none. Errs if the
/// agent is not alive, or holds something in too many keys.
pub fn bond_for<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    registry: Option<&Bytes>,
    agent: &[u8],
) -> Result<Option<Bond>, Error> {
    match registry.filter(|_| node.settings.mode() > Mode::Basic) {
        Some(registry) => bond_always::<E, H>(node, host, key, registry, agent),
        None => Ok(None),
    }
}

/// The same for all keys of a request, in their order.
pub fn bonds_for<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    keys: &[KeyId],
    registry: Option<&Bytes>,
    agent: &[u8],
) -> Result<SmallVec<[Option<Bond>; 1]>, Error> {
    let bonds = keys.iter().map(|key| bond_for::<E, H>(node, host, key.into(), registry, agent));
    let bonds: SmallVec<[Option<Bond>; 1]> = bonds.collect::<Result<_, _>>()?;
    if keys.len() > 1 {
        // There may be room for each of them and not for all.
        let bound = keys.iter().zip(&bonds).filter(|(_, bond)| bond.is_some());
        let bound: Vec<KeyId> = bound.map(|(key, _)| key.clone()).collect();
        if let Some(bond) = bonds.iter().flatten().next() {
            check_room(node, host, &bound, bond)?;
        }
    }
    Ok(bonds)
}

/// [`bond_for`] in every mode.
pub fn bond_always<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    registry: &Bytes,
    agent: &[u8],
) -> Result<Option<Bond>, Error> {
    let epoch = alive(node, host, key, registry, agent)?.epoch;
    let bond = Bond { registry: registry.clone(), agent: Bytes::from(agent), epoch };
    if let Some(stored) = host.read::<E>(key)? {
        let known = stored.bond_of(agent);
        if known == Some(&bond) {
            return Ok(None);
        }
        if known.is_none() && stored.bound() >= BONDS_MAX {
            let text = format!("one more agent bound to this key, at most {BONDS_MAX} are allowed");
            return Err(Error::new(Code::Limit, text));
        }
        match known.filter(|_| stored.state.holds(agent)).cloned() {
            Some(known) if known.registry != *registry => check_is_over(host, key, &known, registry)?,
            // It is so much that it goes back in parts. What is left must not come to the new incarnation.
            Some(_) => {
                let text = "what this agent held before it registered anew is still being given back; try again";
                return Err(Error::new(Code::BadState, text));
            }
            None => {}
        }
    }
    check_room(node, host, &[key.id()], &bond)?;
    Ok(Some(bond))
}

/// Errs if what an agent holds in a key belongs to another registry, in which it is alive: it would not go back any more when it is gone there.
fn check_is_over<H: Host>(host: &mut H, key: Key, known: &Bond, registry: &Bytes) -> Result<(), Error> {
    let before = Key { db: key.db, name: &known.registry, arg: 0 };
    check_here(host, &[key, before])?;
    let stored = match host.read::<Registry>(before) {
        Err(error) if error.code == Code::Quarantined => return Err(error),
        stored => stored.unwrap_or(None),
    };
    if is_over(known, stored.map(|stored| &stored.state)) {
        return Ok(());
    }
    let (agent, one, other) = (known.agent.show(), known.registry.show(), registry.show());
    let text = format!("'{agent}' holds something in this key as an agent of '{one}', not of '{other}'");
    Err(Error::new(Code::BadState, text))
}

/// Errs if an agent that is to hold something in `keys` would do so in more keys than it may. What is stale of those is forgotten first.
fn check_room<H: Host>(node: &mut Node, host: &mut H, keys: &[KeyId], bond: &Bond) -> Result<(), Error> {
    let registry = KeyId::new(keys[0].db, &bond.registry);
    let max = node.settings.get(Setting::AgentHoldingsMax) as usize;
    if node.holders.keys_of(&registry, &bond.agent).len() + keys.len() <= max {
        return Ok(());
    }
    let mut known: BTreeSet<KeyId> = node.holders.keys_of(&registry, &bond.agent).cloned().collect();
    known.retain(|other| {
        let is_bound = is_bound(host, other.into(), &registry, &bond.agent);
        if !is_bound {
            node.holders.forget(&registry, &bond.agent, other);
        }
        is_bound
    });
    let more = keys.iter().filter(|key| !known.contains(key)).count();
    if more == 0 || known.len() + more <= max {
        return Ok(());
    }
    Err(Error::limit("agent-holdings-max", "one more key in which this agent holds something", max as u64))
}

/// The value of `key` is gone, and what stands there now need not know of `bond`.
pub fn forget_if_stale<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, bond: &Bond) {
    let registry = KeyId::new(key.db, &bond.registry);
    if !is_bound(host, key.into(), &registry, &bond.agent) {
        node.holders.forget(&registry, &bond.agent, key);
    }
}

fn is_bound<H: Host>(host: &mut H, key: Key, registry: &KeyId, agent: &[u8]) -> bool {
    with_kind!(host.kind(key), E => bond_in::<E, H>(host, key, registry, agent).is_some(), else false)
}

fn bond_in<E: Entity, H: Host>(host: &mut H, key: Key, registry: &KeyId, agent: &[u8]) -> Option<Bond> {
    // Even of a value in quarantine: what is held there is not forgotten.
    let bond = host.raw::<E>(key).ok()??.bond_of(agent)?;
    (bond.registry == registry.name).then(|| bond.clone())
}

/// The scheduler looks at a registry: are those who hold something still there? Says how much work it was.
///
/// A registry that is not there may be about to come: keys are loaded, restored and moved to other nodes one by one. So it has a time to live of its own
/// before its agents count as gone.
pub fn settle<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId) -> usize {
    let Some(mut rest) = node.holders.take_unsettled(registry) else { return 0 };
    let (now, grace_ms) = (node.now(), node.settings.get(Setting::AgentTtlMs));
    let is_missing = host.kind(registry.into()) == Kind::Nothing;
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
    let agents = node.holders.agents_after(registry, &rest.after, AGENTS_PER_LOOK);
    let mut work = 1;
    for agent in &agents {
        let (pieces, again_at) = give_all_back(node, host, registry, agent);
        work += pieces;
        rest.again_at = rest.again_at.into_iter().chain(again_at).min();
    }
    match agents.last().filter(|_| agents.len() == AGENTS_PER_LOOK) {
        Some(last) => ask_again(node, registry, Unsettled { after: last.clone(), ..rest }, now),
        // Those who had to wait are asked for once more when all the others have been.
        None => {
            if let Some(again_at) = rest.again_at {
                ask_again(node, registry, Unsettled { after: Bytes::EMPTY, again_at: None, ..rest }, again_at);
            }
        }
    }
    work
}

fn ask_again(node: &mut Node, registry: &KeyId, rest: Unsettled, when: Millis) {
    node.holders.go_on(registry, rest);
    node.schedule.look_at(registry.clone(), when);
}

/// An incarnation of an agent is over: what it held goes back.
pub fn agent_gone<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8]) {
    let (_, again_at) = give_all_back(node, host, registry, agent);
    if let Some(again_at) = again_at {
        // It is known that it is gone, even if its registry went with it.
        ask_again(node, registry, Unsettled { missing_since: 1, ..Unsettled::default() }, again_at);
    }
}

/// Gives back what an agent holds under bonds that are over, in all its keys. Says how many pieces, and when to ask again if some have to wait.
fn give_all_back<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8]) -> (usize, Option<Millis>) {
    let keys: Vec<KeyId> = node.holders.keys_of(registry, agent).cloned().collect();
    let (mut pieces, mut again_at) = (0, None);
    for key in keys {
        let left = REACTION_PIECES_MAX.saturating_sub(pieces);
        if left == 0 {
            again_at = Some(node.now());
            break;
        }
        match give_back(node, host, registry, agent, &key, left) {
            Given::All(count) => pieces += count,
            Given::Stale => node.holders.forget(registry, agent, &key),
            Given::Part(count) => {
                pieces += count;
                again_at = Some(node.now());
            }
            Given::Nothing => again_at = again_at.or(Some(node.now() + RETRY_MS)),
        }
    }
    (pieces, again_at)
}

/// What became of what an agent holds in a key.
enum Given {
    /// So many pieces were given back; or it is not over.
    All(usize),
    /// The same, and there is more.
    Part(usize),
    /// It has to wait.
    Nothing,
    /// There was nothing.
    Stale,
}

fn give_back<H: Host>(node: &mut Node, host: &mut H, registry: &KeyId, agent: &[u8], key: &KeyId, max: usize) -> Given {
    let kind = host.kind(key.into());
    if kind == Kind::Nothing && host.presence(&[registry.into(), key.into()]) != Ownership::Here {
        // It may have gone ahead to another node, and its registry will follow.
        return Given::Nothing;
    }
    with_kind!(kind, E => give_back_in::<E, H>(node, host, registry, agent, key, max), else Given::Stale)
}

fn give_back_in<E: Reacts + Follows, H: Host>(
    node: &mut Node,
    host: &mut H,
    registry: &KeyId,
    agent: &[u8],
    key: &KeyId,
    max: usize,
) -> Given {
    let Some(bond) = bond_in::<E, H>(host, key.into(), registry, agent) else { return Given::Stale };
    let is_over = match host.read::<Registry>(registry.into()) {
        Ok(stored) => is_over(&bond, stored.map(|stored| &stored.state)),
        Err(error) if error.code == Code::Quarantined => return Given::Nothing,
        // Something else stands in its place, so nobody is registered there.
        Err(_) => true,
    };
    if !is_over {
        return Given::All(0);
    }
    if check_usable(node, host, key.into()).is_err() {
        return Given::Nothing;
    }
    let moment = Moment { at: node.now(), tasks: node.settings.task_policy(), mails: mail_serve::policy(node) };
    let Ok(Some(stored)) = host.read::<E>(key.into()) else { return Given::Stale };
    let mut events = stored.state.agent_gone(&bond, &moment);
    let all = events.len();
    E::choose(node, host, key.into(), &mut events, max);
    let (count, is_all) = (events.len(), events.len() == all);
    if count == 0 && !is_all {
        return Given::Nothing;
    }
    let over = is_all.then(|| Change::Unbound { agent: bond.agent.clone() });
    let changes = events.into_iter().map(Change::Event).chain(over).collect();
    // The key was just read as of this type. What can keep it from being changed is a key that belongs to it and is on another node.
    let done = node.following(Stage::Decide, |node| E::follow(node, host, key.into(), changes));
    node.metrics.reactions += u64::from(done.is_ok());
    match done {
        Ok(()) if is_all => Given::All(count.max(1)),
        Ok(()) => Given::Part(count),
        Err(_) => Given::Nothing,
    }
}

/// What happens to a value of type `E`, in order.
type Changes<E> = Vec<Change<<E as Entity>::Event>>;

/// How a service applies changes and serves those who wait for what they free.
trait Follows: Entity {
    /// Leaves at most `max` of the events, such as can happen now.
    fn choose<H: Host>(_node: &mut Node, _host: &mut H, _key: Key, events: &mut Vec<Self::Event>, max: usize) {
        events.truncate(max);
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, mut changes: Changes<Self>) -> Result<(), Error> {
        commit_changes::<Self, H>(node, host, key, &mut changes)
    }
}

impl Follows for Lock {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, mut changes: Changes<Self>) -> Result<(), Error> {
        commit_changes::<Self, H>(node, host, key, &mut changes)?;
        lock_serve::serve_waiting(node, host, key);
        Ok(())
    }
}

impl Follows for Registry {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        registry_serve::commit_all(node, host, key, changes)
    }
}

impl Follows for Mail {
    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        mail_serve::commit(node, host, key, changes)
    }
}

impl Follows for Flow {
    fn choose<H: Host>(node: &mut Node, host: &mut H, key: Key, events: &mut Vec<FlowEvent>, max: usize) {
        if host.is_clustered() {
            // Others each time, so that those whose locks may be on another node keep no other one waiting for good.
            let first = node.random() % events.len().max(1) as u64;
            events.rotate_left(first as usize);
        }
        events.truncate(max);
        flow_serve::leave_out_moving(host, key, events);
    }

    fn follow<H: Host>(node: &mut Node, host: &mut H, key: Key, changes: Changes<Self>) -> Result<(), Error> {
        flow_serve::change(node, host, key, changes)
    }
}

impl Follows for Buffer {}
impl Follows for Context {}
impl Follows for Session {}
impl Follows for Cache {}
