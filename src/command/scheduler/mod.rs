//! The scheduler's rounds: what is decided because time passed, or because something happened
//! outside our commands.

pub mod memory_pressure;
pub mod scrub;

use super::engine::{auditing, bindings, endings, reactions, remains, tracing, watch_log};
use super::host::{Host, KeyType, Ownership, UNSURE_MS};
use super::node::Node;
use super::settings::Setting;
use crate::command::engine::commit::{act_at_expiry, commit};
use crate::command::engine::entity_types::{gives_way, service_of, with_key_type};
use crate::command::engine::repair::correct_expiry;
use crate::command::engine::replay::note_value;
use crate::command::engine::round::Round;
use crate::command::engine::service::Serve;
use crate::command::engine::waiting::{refuse, refuse_all, refuse_disabled, take_back, tell};
use crate::command::node::deferred::DeferredWork;
use crate::command::node::schedule::Due;
use crate::command::node::waits::{Unserved, OWNERSHIP_MS};
use crate::domain::algorithm::room::GiveBack;
use crate::domain::entity_types::for_each_type;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Code, Connection, Entity, Error, KeyId, Millis};
use crate::observe::trace::Stage;
use memory_pressure::ask_for_memory;

/// How soon to look whether the audit trail takes records again, ms.
const HELD_UP_MS: Millis = 100;

/// One round of the scheduler: a sweep over what is due, and the next step of the automatic check
/// if that is due.
pub fn tick<H: Host>(node: &mut Node, host: &mut H) {
    if auditing::is_held_up(node) {
        return;
    }
    let is_sweep = next_sweep(node).is_some_and(|when| when <= node.now());
    let is_check = scrub::next_step(node).is_some_and(|when| when <= node.now());
    if is_sweep || !is_check {
        sweep(node, host);
    }
    scrub::go_on(node, host);
}

/// Does at most `sweep-batch-max` pieces of work, and begins none once it is
/// [late](crate::command::node::stopwatch::Stopwatch). The rest is due at once, after other
/// commands had their turn.
///
/// A replica decides nothing. It only looks at keys that are due at once, to learn what they mean
/// for this process.
fn sweep<H: Host>(node: &mut Node, host: &mut H) {
    node.metrics.sweeps += 1;
    ask_for_memory(node, host);
    let mut left = node.settings.get(Setting::SweepBatchMax) as usize;
    left = left.saturating_sub(take_turn(node, host)).max(1);
    let mut has_done = false;
    while left > 0 && !(has_done && node.stopwatch.is_late()) {
        // In turns, so that neither many watchers nor many deadlines keep the other waiting.
        let Some(work) = next_piece(node, host, left % 2 == 0) else { break };
        (left, has_done) = (left.saturating_sub(work), true);
        node.trace.at(Stage::Send);
        host.release_keys();
        endings::take_in(node, host);
        tracing::end_round(node, host);
    }
}

/// One turn of what a service does in turns, if that is due. Returns how much work it was.
fn take_turn<H: Host>(node: &mut Node, host: &mut H) -> usize {
    if node.replica {
        return 0;
    }
    let (mut work, service) = (0, node.turns.take(node.now()));
    for_each_type!(E => {
        if Some(E::SERVICE) == service {
            tracing::begin_round(node, None);
            work += E::take_turn(node, host);
        }
    });
    work
}

/// Does the next piece of work, and returns how much it was. `None` if nothing is due.
fn next_piece<H: Host>(node: &mut Node, host: &mut H, watchers_first: bool) -> Option<usize> {
    let work = if node.replica { None } else { node.deferred.pop_front() };
    if let Some(work) = work {
        let work = do_deferred(node, host, work);
        node.deferred.give_back_room();
        return Some(work.max(1));
    }
    let due = if watchers_first { None } else { node.schedule.pop_due(node.now(), !node.replica) };
    let watcher = if due.is_none() { node.watchers.pop_woken() } else { None };
    if let Some(watcher) = watcher {
        return Some(watch_log::serve_in_round(node, host, watcher).max(1));
    }
    match due.or_else(|| node.schedule.pop_due(node.now(), !node.replica))? {
        Due::Key(key) => Some(look_at(node, host, &key, false)),
        Due::Changed(key) => Some(look_at(node, host, &key, true)),
        Due::Owner(key) => {
            check_owner(node, host, &key);
            Some(1)
        }
        Due::Wait(id) => {
            let nothing = node.nothing_for(id);
            if node.drop_wait(id, Unserved::TimedOut) {
                host.answer(id, Ok(nothing));
            }
            Some(1)
        }
    }
}

/// When the next round has something to do, unix ms; 0 if at once.
pub fn next_tick(node: &Node) -> Option<Millis> {
    if auditing::is_held_up(node) {
        return Some(node.now() + HELD_UP_MS);
    }
    next_sweep(node).into_iter().chain(scrub::next_step(node)).min()
}

fn next_sweep(node: &Node) -> Option<Millis> {
    let has_deferred = !node.replica && !node.deferred.is_empty();
    if has_deferred || node.watchers.has_woken() {
        return Some(0);
    }
    let key = node.schedule.next_key().filter(|_| !node.replica || node.schedule.has_key_at_once());
    let turn = node.turns.next_at().filter(|_| !node.replica);
    let memory = (!node.replica && !node.evictable_keys.is_empty()).then_some(node.memory_asked_at);
    node.schedule.next_wait().into_iter().chain(node.schedule.next_owner()).chain(key).chain(memory).chain(turn).min()
}

/// Opens a key and asks what has to be done about it. Returns how much work that was. With
/// `has_changed`, something may have happened to it unnoticed, so all its waiters are looked at,
/// too.
fn look_at<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    node.looking_at = Some(key.clone());
    tracing::begin_round(node, Some(key));
    let work = look_into(node, host, key, has_changed);
    node.looking_at = None;
    work
}

fn look_into<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    node.metrics.swept_keys += 1;
    node.holdings.key_asked(key);
    #[cfg(feature = "test-hooks")]
    if node.panics_due > 0 {
        node.panics_due -= 1;
        panic!("LTMC.DEBUG SWEEP was asked for");
    }
    if !may_decide(node, host, key, has_changed) {
        return 1;
    }
    if has_changed {
        node.watchers.wake(key);
    }
    let key_type = host.key_type(key.into());
    if !with_key_type!(key_type, E => E::PASSES, else false) {
        node.passes.forget(key.into());
    }
    refuse_disabled(node, host, key);
    if service_of(key_type).is_some_and(|service| !node.settings.is_enabled(service)) {
        node.frozen.insert(key.clone());
        return 1;
    }
    let mut work = 1;
    // A service looks at the keys of its type, and at those that a client expects to become one.
    for_each_type!(E => {
        if key_type == KeyType::Ours(E::TYPE_TAG) || node.queues.waits_for(E::SERVICE, key) {
            work += look_as::<E, H>(node, host, key, has_changed);
        }
    });
    if !node.replica && node.holdings.has(key) {
        // The key is a registry, or is missing.
        work += reactions::check_holders(node, host, key);
    }
    work
}

fn look_as<E: Serve, H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    let looked = take_note::<E, H>(node, host, key).and_then(|()| {
        if node.replica {
            E::wake_on_replica(node, host, key);
            return Ok(0);
        }
        E::wake(node, host, key, has_changed)
    });
    looked.unwrap_or_else(|error| {
        refuse(node, host, key, E::SERVICE, &error);
        0
    })
}

/// A slot moves away without a word. Clients that wait for one of its keys are sent to its new
/// node.
fn check_owner<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    if !node.is_waited_for(key.into()) {
        return;
    }
    match host.ownership(key.into()) {
        Ownership::Here | Ownership::Unsure => node.schedule.check_owner(key.clone(), node.now() + OWNERSHIP_MS),
        Ownership::Moved(text) => refuse_all(node, host, key, &Error::new(Code::Moved, text)),
    }
}

/// Whether this node may decide about a key, so that clients that wait for it can be served. If
/// not, they are told, or the key is looked at later.
fn may_decide<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> bool {
    if !node.is_waited_for(key.into()) {
        return true;
    }
    match host.ownership(key.into()) {
        Ownership::Here => return true,
        Ownership::Unsure => node.schedule.look_later(key.clone(), node.now() + UNSURE_MS, has_changed),
        Ownership::Moved(text) => refuse_all(node, host, key, &Error::new(Code::Moved, text)),
    }
    false
}

/// Learns what the value of a key means for this process: RENAME, MOVE or RESTORE may have brought
/// it under this name.
fn take_note<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> Result<(), Error> {
    node.check_quarantine(key.into())?;
    let Some(stored) = host.read::<E>(key.into())? else { return Ok(()) };
    note_value(node, key.into(), stored);
    let connections = stored.state.connections();
    if !node.replica {
        correct_expiry::<E, H>(host, key.into());
        end_lost_connections(node, host, connections);
    }
    act_at_expiry::<E, H>(node, host, key.into());
    Ok(())
}

/// A value that came by RESTORE or RENAME may be tied to connections that ended before it came.
fn end_lost_connections<H: Host>(node: &mut Node, host: &H, connections: Vec<Connection>) {
    let lost = |connection: &Connection| connection.boot != node.boot || !host.is_connected(connection.client);
    let lost: Vec<DeferredWork> = connections.into_iter().filter(lost).map(DeferredWork::Disconnected).collect();
    node.deferred.extend(lost);
}

/// Does one piece of work, or one key's part of it: a connection may be tied to any number of keys.
/// Returns how much it was.
fn do_deferred<H: Host>(node: &mut Node, host: &mut H, work: DeferredWork) -> usize {
    tracing::begin_round(node, None);
    match work {
        DeferredWork::Expired { key, estate } => return remains::settle(node, host, key, estate),
        DeferredWork::Tell { clients, answer } => {
            let mut round = Round::of(node);
            tell(node, host, &mut round, clients, answer);
            return round.work();
        }
        DeferredWork::TakeBack(grant) => take_back(node, host, grant),
        DeferredWork::Disconnected(connection) => {
            if let Some(key) = node.connections.take_one(connection) {
                with_key_type!(host.key_type((&key).into()), E => disconnected::<E, H>(node, host, &key, connection), else ());
                node.deferred.push_back(work);
            }
        }
        DeferredWork::ValueGone { key, connections, bindings } => {
            let tied = connections_of(host, &key);
            for connection in connections.into_iter().filter(|known| !tied.contains(known)) {
                node.connections.untie(connection, &key);
            }
            bindings.iter().for_each(|binding| bindings::forget_if_stale(node, host, &key, binding));
            if !gives_way(host.key_type((&key).into())) {
                node.evictable_keys.remove(&key);
            }
        }
        DeferredWork::ForgetForeignConnections => {
            let foreign = node.connections.foreign(node.boot);
            node.deferred.extend(foreign.into_iter().map(DeferredWork::Disconnected));
        }
    }
    1
}

/// A connection has ended: what is tied to it in a key ends, too.
fn disconnected<E: Serve, H: Host>(node: &mut Node, host: &mut H, key: &KeyId, connection: Connection) {
    let env = node.settings.reaction_env(node.now());
    let stored = host.read::<E>(key.into()).ok().flatten();
    let events = stored.map_or_else(Vec::new, |stored| stored.state.disconnected(connection, &env));
    // It was just read as of this type.
    commit::<E, H>(node, host, key.into(), events).ok();
}

/// The connections that the value of a key is tied to.
fn connections_of<H: Host>(host: &mut H, key: &KeyId) -> Vec<Connection> {
    fn of<E: Entity, H: Host>(host: &mut H, key: &KeyId) -> Vec<Connection> {
        let stored = host.read::<E>(key.into()).ok().flatten();
        stored.map_or_else(Vec::new, |stored| stored.state.connections())
    }
    with_key_type!(host.key_type(key.into()), E => of::<E, H>(host, key), else Vec::new())
}

/// A client's connection ended. Called from a callback that must not write.
pub fn client_gone(node: &mut Node, client: u64) {
    let connection = Connection { boot: node.boot, client };
    if node.connections.has(connection) {
        node.deferred.push_back(DeferredWork::Disconnected(connection));
    }
}

/// A waiting client is gone. Its wait ends; if it was granted something and not told, that is taken
/// back. Called from callbacks that must not write.
pub fn waiter_gone(node: &mut Node, id: WaiterId) {
    match node.waits.take_undelivered(id) {
        Some(grant) => node.deferred.push_back(DeferredWork::TakeBack(grant)),
        None => drop(node.drop_wait(id, Unserved::Gone)),
    }
}
