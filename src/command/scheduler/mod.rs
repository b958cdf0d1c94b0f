//! The scheduler's rounds: what is decided because time passed or because something happened outside our commands.

pub mod memory_pressure;
pub mod scrub;

use super::engine::reactions;
use super::host::{Host, KeyType, Ownership, UNSURE_MS};
use super::node::Node;
use super::reply::Reply;
use super::settings::Setting;
use crate::command::engine::entity_types::{gives_way, service_of};
use crate::command::engine::replay::note_value;
use crate::command::node::deferred::DeferredWork;
use crate::command::node::schedule::Due;
use crate::command::node::waits::{Unserved, OWNERSHIP_MS};
use crate::command::scheduler::memory_pressure::ask_for_memory;
use crate::command::services::buffer::serve as buffer_serve;
use crate::command::services::cache::serve as cache_serve;
use crate::command::services::flow::serve as flow_serve;
use crate::command::services::lock::serve as lock_serve;
use crate::command::services::mail::serve as mail_serve;
use crate::command::services::registry::serve as registry_serve;
use crate::command::services::versioned::serve as versioned_serve;
use crate::domain::buffer::Buffer;
use crate::domain::cache::Cache;
use crate::domain::context::{Context, Doc};
use crate::domain::flow::Flow;
use crate::domain::lock::Lock;
use crate::domain::mail::Mail;
use crate::domain::queue::rank::WaiterId;
use crate::domain::registry::Registry;
use crate::domain::session::{Fields, Session};
use crate::domain::versioned::{State, Versioned};
use crate::domain::{Code, Connection, Entity, Error, KeyId, Millis, Service};
use crate::observe::trace::Stage;

/// For how many chores room is kept; a file that was loaded may have left many more of them.
const CHORES_KEPT: usize = 1024;

/// One round of the scheduler: a sweep over what is due, and the next step of the automatic check if that is due.
pub fn tick<H: Host>(node: &mut Node, host: &mut H) {
    let is_sweep = next_sweep(node).is_some_and(|when| when <= node.now());
    let is_check = crate::command::node::scrub_progress::next_step(node).is_some_and(|when| when <= node.now());
    if is_sweep || !is_check {
        sweep(node, host);
    }
    scrub::go_on(node, host);
}

/// Does at most `sweep-batch-max` pieces of work; what is left is due at once, after other commands had their turn.
///
/// On a replica nothing is decided: only keys that are due at once are looked at, to learn what they mean for this process.
fn sweep<H: Host>(node: &mut Node, host: &mut H) {
    let keys_until = if node.replica { 0 } else { node.now() };
    node.metrics.sweeps += 1;
    ask_for_memory(node, host);
    let mut left = node.settings.get(Setting::SweepBatchMax) as usize;
    while left > 0 {
        // In turns, so that neither a crowd of watchers nor a crowd of deadlines keeps the other waiting.
        let Some(work) = next_piece(node, host, keys_until, left % 2 == 0) else { break };
        left = left.saturating_sub(work);
        node.trace.at(Stage::Send);
        host.release_keys();
        crate::command::engine::tracing::end_round(node, host);
    }
}

/// Does the next piece of work, and says how much it was. `None` if nothing is due.
fn next_piece<H: Host>(node: &mut Node, host: &mut H, keys_until: Millis, watchers_first: bool) -> Option<usize> {
    let chore = if node.replica { None } else { node.deferred.pop_front() };
    if let Some(chore) = chore {
        do_chore(node, host, chore);
        if node.deferred.is_empty() {
            node.deferred.shrink_to(CHORES_KEPT);
        }
        return Some(1);
    }
    let due = if watchers_first { None } else { node.schedule.pop_due(node.now(), keys_until) };
    let watcher = if due.is_none() { node.watchers.pop_woken() } else { None };
    if let Some(watcher) = watcher {
        crate::command::engine::watch_log::serve(node, host, watcher);
        return Some(1);
    }
    match due.or_else(|| node.schedule.pop_due(node.now(), keys_until))? {
        Due::Key(key) => Some(look_at(node, host, &key, false)),
        Due::Changed(key) => Some(look_at(node, host, &key, true)),
        Due::Owner(key) => {
            make_sure_of_owner(node, host, &key);
            Some(1)
        }
        Due::Wait(id) => {
            if node.drop_wait(id, Unserved::TimedOut) {
                host.answer(id, Ok(Reply::Nil));
            }
            Some(1)
        }
    }
}

/// When the next round has something to do.
pub fn next_tick(node: &Node) -> Option<Millis> {
    next_sweep(node).into_iter().chain(crate::command::node::scrub_progress::next_step(node)).min()
}

fn next_sweep(node: &Node) -> Option<Millis> {
    let has_chores = !node.replica && !node.deferred.is_empty();
    if has_chores || node.watchers.has_woken() {
        return Some(0);
    }
    let key = node.schedule.next_key().filter(|next| !node.replica || *next == 0);
    let memory = (!node.replica && !node.evictable_keys.is_empty()).then_some(node.memory_asked_at);
    node.schedule.next_wait().into_iter().chain(node.schedule.next_owner()).chain(key).chain(memory).min()
}

/// Opens a key and asks what is to be done about it; says how much work it was. `has_changed`: something may have happened to it that
/// nobody told us of, so that all who wait for it are looked at, too.
fn look_at<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    node.looking_at = Some(key.clone());
    crate::command::engine::tracing::begin_round(node, Some(key));
    let work = look_into(node, host, key, has_changed);
    node.looking_at = None;
    work
}

fn look_into<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, has_changed: bool) -> usize {
    node.metrics.swept_keys += 1;
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
    if !matches!(host.kind(key.into()), KeyType::Ours(Flow::TYPE_TAG | Session::TYPE_TAG | Context::TYPE_TAG)) {
        node.passes.forget(key.into());
    }
    // A service looks at the keys of its type, and at those that somebody expects to become one.
    let kind = host.kind(key.into());
    refuse_disabled(node, host, key);
    if service_of(kind).is_some_and(|service| !node.settings.is_enabled(service)) {
        node.frozen.insert(key.clone());
        return 1;
    }
    let mut work = 1;
    if kind == KeyType::Ours(Lock::TYPE_TAG) || node.locks.waiting_for(key) > 0 {
        match take_note::<Lock, H>(node, host, key) {
            Ok(()) if node.replica => {}
            Ok(()) => lock_serve::wake(node, host, key),
            Err(error) => lock_serve::refuse_all(node, host, key, error),
        }
    }
    if kind == KeyType::Ours(Registry::TYPE_TAG) || node.claims.waiting_for(key) > 0 {
        match take_note::<Registry, H>(node, host, key) {
            Ok(()) if node.replica => {}
            Ok(()) => work += registry_serve::wake(node, host, key, has_changed),
            Err(error) => registry_serve::refuse_all(node, host, key, &error),
        }
    }
    if kind == KeyType::Ours(Cache::TYPE_TAG) || node.fills.waiting_for(key) > 0 {
        match take_note::<Cache, H>(node, host, key) {
            Ok(()) if node.replica => {}
            Ok(()) => work += cache_serve::wake(node, host, key, has_changed),
            Err(error) => cache_serve::refuse_all(node, host, key, &error),
        }
    }
    if kind == KeyType::Ours(Mail::TYPE_TAG) || node.mails.waiting_for(key) > 0 {
        match take_note::<Mail, H>(node, host, key) {
            Ok(()) if node.replica => {}
            Ok(()) => work += mail_serve::wake(node, host, key, has_changed),
            Err(error) => mail_serve::refuse_all(node, host, key, &error),
        }
    }
    if kind == KeyType::Ours(Flow::TYPE_TAG) || node.waits_for_flow(key) {
        match take_note::<Flow, H>(node, host, key) {
            Ok(()) if node.replica => flow_serve::tell_ends(node, host, key),
            Ok(()) => work += flow_serve::wake(node, host, key, has_changed),
            Err(error) => flow_serve::refuse_all(node, host, key, &error),
        }
    }
    if !node.replica && node.holdings.has(key) {
        // Whether it is a registry or nothing any more.
        work += reactions::settle(node, host, key);
    }
    match kind {
        KeyType::Ours(Session::TYPE_TAG) => work + look_at_versioned::<Fields, H>(node, host, key),
        KeyType::Ours(Context::TYPE_TAG) => work + look_at_versioned::<Doc, H>(node, host, key),
        KeyType::Ours(Buffer::TYPE_TAG) => work + look_at_buffer(node, host, key),
        _ => work,
    }
}

/// Nobody waits for a session or a context but those who watch it.
fn look_at_versioned<S: State, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> usize {
    let noted = take_note::<Versioned<S>, H>(node, host, key);
    if noted.is_err() || node.replica {
        return 0;
    }
    // It was just read, so it cannot be of a wrong type.
    versioned_serve::wake::<S, H>(node, host, key).unwrap_or(0)
}

/// Nobody waits for a chunk buffer but those who watch it.
fn look_at_buffer<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> usize {
    let noted = take_note::<Buffer, H>(node, host, key);
    // It was just read, so it cannot be of a wrong type.
    noted.and_then(|()| if node.replica { Ok(0) } else { buffer_serve::wake(node, host, key) }).unwrap_or(0)
}

/// A slot moves away without a word. Whoever waits for one of its keys is sent to where it is now.
fn make_sure_of_owner<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    if !node.is_waited_for(key.into()) {
        return;
    }
    match host.ownership(key.into()) {
        Ownership::Here | Ownership::Unsure => node.schedule.check_owner(key.clone(), node.now() + OWNERSHIP_MS),
        Ownership::Moved(text) => refuse_all(node, host, key, &Error::new(Code::Moved, text)),
    }
}

/// Whether this node may decide about a key, so that those who wait for it can be served. If not, they are told, or it is looked at later.
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

/// Who waits for something of a service that was switched off is told so.
fn refuse_disabled<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    if !node.is_waited_for(key.into()) {
        return;
    }
    let disabled = |service| node.settings.check_enabled(service).err();
    let (lock, registry) = (disabled(Service::Lock), disabled(Service::Registry));
    let (cache, orchestration) = (disabled(Service::Cache), disabled(Service::Flow));
    lock.into_iter().for_each(|error| lock_serve::refuse_all(node, host, key, error));
    registry.iter().for_each(|error| registry_serve::refuse_all(node, host, key, error));
    cache.iter().for_each(|error| cache_serve::refuse_all(node, host, key, error));
    if let Some(error) = &orchestration {
        mail_serve::refuse_all(node, host, key, error);
        flow_serve::refuse_all(node, host, key, error);
    }
}

/// Nobody can be served on this key any more.
fn refuse_all<H: Host>(node: &mut Node, host: &mut H, key: &KeyId, error: &Error) {
    lock_serve::refuse_all(node, host, key, error.clone());
    registry_serve::refuse_all(node, host, key, error);
    cache_serve::refuse_all(node, host, key, error);
    mail_serve::refuse_all(node, host, key, error);
    flow_serve::refuse_all(node, host, key, error);
    for watcher in node.watchers.of(key) {
        node.refuse_wait(watcher, error.clone(), host);
    }
}

/// Learns what the value of a key means for this process: it may have come under this name by RENAME, MOVE or RESTORE.
fn take_note<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> Result<(), Error> {
    node.check_quarantine(key.into())?;
    let Some(stored) = host.read::<E>(key.into())? else { return Ok(()) };
    note_value(node, key.into(), stored);
    let connections = stored.state.connections();
    host.keep_expiry::<E>(key.into());
    if !node.replica {
        end_lost_connections(node, host, connections);
    }
    Ok(())
}

/// A value that came by RESTORE or RENAME may be tied to connections that ended before it came.
fn end_lost_connections<H: Host>(node: &mut Node, host: &H, connections: Vec<Connection>) {
    let lost = |connection: &Connection| connection.boot != node.boot || !host.is_connected(connection.client);
    let lost: Vec<DeferredWork> = connections.into_iter().filter(lost).map(DeferredWork::Disconnected).collect();
    node.deferred.extend(lost);
}

/// Does a chore, or one key's part of it: a connection may be tied to any number of keys.
fn do_chore<H: Host>(node: &mut Node, host: &mut H, chore: DeferredWork) {
    crate::command::engine::tracing::begin_round(node, None);
    match chore {
        DeferredWork::TakeBack(Service::Lock, undelivered) => lock_serve::take_back(node, host, undelivered),
        DeferredWork::TakeBack(Service::Registry, undelivered) => registry_serve::take_back(node, host, undelivered),
        DeferredWork::TakeBack(Service::Cache, undelivered) => cache_serve::take_back(node, host, undelivered),
        DeferredWork::TakeBack(Service::Mail, undelivered) => mail_serve::take_back(node, host, undelivered),
        DeferredWork::TakeBack(Service::Flow, undelivered) => flow_serve::take_back(node, host, undelivered),
        // Nobody gets anything of these that others could have had.
        DeferredWork::TakeBack(Service::Watch | Service::Context | Service::Session | Service::Buffer, _) => {}
        DeferredWork::Disconnected(connection) => {
            if let Some(key) = node.connections.take_one(connection) {
                if host.kind((&key).into()) == KeyType::Ours(Cache::TYPE_TAG) {
                    cache_serve::disconnected(node, host, &key, connection);
                } else {
                    lock_serve::disconnected(node, host, &key, connection);
                }
                node.deferred.push_back(chore);
            }
        }
        DeferredWork::ValueGone { key, connections, bindings } => {
            let tied = connections_of(host, &key);
            for connection in connections.into_iter().filter(|known| !tied.contains(known)) {
                node.connections.untie(connection, &key);
            }
            bindings
                .iter()
                .for_each(|binding| crate::command::engine::bindings::forget_if_stale(node, host, &key, binding));
            if !gives_way(host.kind((&key).into())) {
                node.evictable_keys.remove(&key);
            }
        }
        DeferredWork::ForgetStrangers => {
            let strangers = node.connections.strangers(node.boot);
            node.deferred.extend(strangers.into_iter().map(DeferredWork::Disconnected));
        }
    }
}

/// The connections that the value of a key is tied to.
fn connections_of<H: Host>(host: &mut H, key: &KeyId) -> Vec<Connection> {
    fn of<E: Entity, H: Host>(host: &mut H, key: &KeyId) -> Vec<Connection> {
        let stored = host.read::<E>(key.into()).ok().flatten();
        stored.map_or_else(Vec::new, |stored| stored.state.connections())
    }
    match host.kind(key.into()) {
        KeyType::Ours(Lock::TYPE_TAG) => of::<Lock, H>(host, key),
        KeyType::Ours(Cache::TYPE_TAG) => of::<Cache, H>(host, key),
        _ => Vec::new(),
    }
}

/// A client's connection ended. Called from a callback that must not write.
pub fn client_gone(node: &mut Node, client: u64) {
    let connection = Connection { boot: node.boot, client };
    if node.connections.has(connection) {
        node.deferred.push_back(DeferredWork::Disconnected(connection));
    }
}

/// A waiting client is gone: its wait ends, or what it was granted and not told is taken back. Called from callbacks that must not
/// write.
pub fn waiter_gone(node: &mut Node, id: WaiterId) {
    match node.waits.take_undelivered(id) {
        Some((service, undelivered)) => node.deferred.push_back(DeferredWork::TakeBack(service, undelivered)),
        None => drop(node.drop_wait(id, Unserved::Gone)),
    }
}
