//! The one way that every command and every decision of the scheduler goes.

use super::node::Chore;
use super::schedule::Due;
use super::spec::{Command, Flags};
use super::waits::Unserved;
use super::{lock_serve, Host, Key, Node, Ownership, Reply};
use crate::domain::lock::Lock;
use crate::domain::{Change, Code, Connection, Entity, Error, Event, KeyId, Millis, Service, Stored};
use smallvec::SmallVec;

/// How long a waited-for key may go unlooked at, ms. Everything that matters is noticed at once by an event; this catches what Redis
/// tells nobody: a key that was overwritten by SET, a slot that moved.
const RECHECK_MS: Millis = 1000;

/// What a command runs in.
#[derive(Debug)]
pub struct Cx<'a, H: Host> {
    /// The process.
    pub node: &'a mut Node,
    /// The server.
    pub host: &'a mut H,
    /// The command's row.
    pub spec: &'static super::spec::Spec,
    /// Its arguments, the name first.
    pub args: &'a [&'a [u8]],
    /// The client's database.
    pub db: u32,
}

impl<'a, H: Host> Cx<'a, H> {
    /// The key that is argument `index`.
    pub fn key(&self, index: usize) -> Key<'a> {
        Key {
            db: self.db,
            name: self.args[index],
            arg: index,
        }
    }

    /// The time of this command, unix ms.
    pub fn now(&self) -> Millis {
        self.node.now()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With a reply.
    Reply(Reply),
    /// The client waits; the reply comes later.
    Waits,
}

/// Runs a command: checks what holds for all commands, then hands over to its handler.
pub fn run<H: Host>(command: &Command<H>, cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let outcome = checked(command, cx).and_then(|()| (command.run)(cx));
    if let Some(service) = command.spec.service {
        let metrics = cx.node.metrics.of_mut(service);
        metrics.commands += 1;
        metrics.errors += u64::from(outcome.is_err());
    }
    outcome
}

fn checked<H: Host>(command: &Command<H>, cx: &Cx<H>) -> Result<(), Error> {
    let given = cx.args.len() as i32;
    let arity = command.spec.arity;
    if (arity > 0 && given != arity) || given < arity.abs() {
        let text = format!(
            "wrong number of arguments ({}); syntax: {}",
            given - 1,
            command.spec.syntax()
        );
        return Err(Error::usage(text));
    }
    if cx.node.replica && command.spec.writes() && !command.spec.flags.has(Flags::ADMIN) {
        // A replica with replica-read-only no lets writes through. It must not grant anything all the same.
        return Err(Error::new(
            Code::ReadOnly,
            "only the primary decides about locks and other shared state",
        ));
    }
    Ok(())
}

/// Applies what was decided: the one place where an entity changes by a decision of this node.
pub fn commit<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    events: impl IntoIterator<Item = E::Event>,
) -> Result<(), Error> {
    let changes: SmallVec<[Change<E::Event>; 1]> = events.into_iter().map(Change::Event).collect();
    commit_changes::<E, H>(node, host, key, &changes)
}

/// Like [`commit`], for changes that are not all events of the service.
pub fn commit_changes<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &[Change<E::Event>],
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    change_value::<E, H>(node, host, key, changes)?;
    host.replicate::<E>(key, changes);
    host.settle::<E>(key);
    for name in changes.iter().filter_map(Change::name) {
        host.notify(key, name);
        node.metrics.count_event(name);
    }
    node.metrics.of_mut(E::SERVICE).changes += changes.len() as u64;
    Ok(())
}

fn change_value<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &[Change<E::Event>],
) -> Result<(), Error> {
    let waited_for = node.is_waited_for(key);
    let stored = host.write::<E>(key)?;
    for change in changes {
        let Change::Event(event) = change else {
            stored.apply(change);
            continue;
        };
        let untied = stored.state.unties(event);
        stored.apply(change);
        if let Some(fence) = event.fence() {
            node.fences.observe(fence);
        }
        if let Some(connection) = event.connection() {
            node.ties.tie(connection, key.id());
        }
        if let Some(connection) = untied.filter(|connection| !stored.state.connections().contains(connection))
        {
            node.ties.untie(connection, &key.id());
        }
    }
    if let Some(when) = stored.state.wakes_at(waited_for) {
        node.schedule.look_at(key.id(), when);
    }
    Ok(())
}

/// Applies changes that another node decided or that a file held. From a client that is not trusted the result is checked first, and
/// nothing changes if it breaks a rule.
pub fn apply_changes<E: Entity + Clone, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    changes: &[Change<E::Event>],
) -> Result<(), Error> {
    if !cx.host.is_trusted() {
        let mut trial = cx.host.read::<E>(key)?.cloned().unwrap_or_default();
        changes.iter().for_each(|change| trial.try_apply(change));
        trial
            .check()
            .map_err(|broken| Error::usage(format!("payload does not fit this key: {}", broken.0)))?;
    }
    change_value::<E, H>(cx.node, cx.host, key, changes)?;
    cx.host.replicate::<E>(key, changes);
    settle_applied::<E, H>(cx, key, changes.len());
    Ok(())
}

/// Puts a whole value that another node or a file sent under `key`.
pub fn apply_snapshot<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, stored: Stored<E>) -> Result<(), Error> {
    note_value(cx.node, key, &stored);
    cx.host.put(key, stored)?;
    cx.host.replicate_snapshot::<E>(key);
    settle_applied::<E, H>(cx, key, 1);
    Ok(())
}

fn settle_applied<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, changes: usize) {
    cx.node.metrics.of_mut(E::SERVICE).applied += changes as u64;
    cx.host.settle::<E>(key);
    if cx.node.is_waited_for(key) {
        cx.node.look_at_soon(key.id());
    }
}

/// Learns what a value means for this process: its fences, deadlines and connections. Called for every value that is loaded.
pub fn note_value<E: Entity>(node: &mut Node, key: Key, stored: &Stored<E>) {
    node.fences.observe(stored.state.last_fence());
    for connection in stored.state.connections() {
        node.ties.tie(connection, key.id());
    }
    if let Some(when) = stored.state.wakes_at(node.is_waited_for(key)) {
        node.schedule.look_at(key.id(), when);
    }
}

/// One round of the scheduler. Does at most `sweep-batch-max` pieces of work; what is left is due at once.
pub fn tick<H: Host>(node: &mut Node, host: &mut H) {
    if node.replica {
        return;
    }
    let now = node.now();
    node.metrics.sweeps += 1;
    node.metrics.sweep_lag_ms = node
        .schedule
        .next()
        .filter(|next| *next > 0)
        .map_or(0, |next| now.saturating_sub(next));
    for chore in std::mem::take(&mut node.chores) {
        do_chore(node, host, chore);
    }
    recheck_waited_for(node, now);
    for _ in 0..node.settings.get(super::settings::Setting::SweepBatchMax) {
        match node.schedule.pop_due(now) {
            Some(Due::Key(key)) => look_at(node, host, &key),
            Some(Due::Wait(id)) => {
                if node.drop_wait(id, Unserved::TimedOut) {
                    host.answer(id, Ok(Reply::Nil));
                }
            }
            None => break,
        }
        host.release_keys();
    }
}

fn recheck_waited_for(node: &mut Node, now: Millis) {
    if node.waits.is_empty() || now < node.recheck_at {
        return;
    }
    node.recheck_at = now + RECHECK_MS;
    let mut keys: Vec<KeyId> = node.locks.keys().cloned().collect();
    keys.sort();
    keys.into_iter().for_each(|key| node.look_at_soon(key));
}

/// When the next round has something to do.
pub fn next_tick(node: &Node) -> Option<Millis> {
    if node.replica {
        return None;
    }
    if !node.chores.is_empty() {
        return Some(0);
    }
    let recheck = (!node.waits.is_empty()).then_some(node.recheck_at);
    [node.schedule.next(), recheck].into_iter().flatten().min()
}

fn look_at<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    node.metrics.swept_keys += 1;
    if node.is_waited_for(key.into()) {
        match host.ownership(key.into()) {
            Ownership::Here => {}
            Ownership::Unsure => return node.schedule.look_at(key.clone(), node.now() + RECHECK_MS / 10),
            Ownership::Moved(text) => {
                return lock_serve::refuse_all(node, host, key, Error::new(Code::Moved, text))
            }
        }
    }
    if node.check_quarantine(key.into()).is_err() {
        return;
    }
    // Only a key of ours, or one that somebody waits for, has anything to decide.
    match host.read::<Lock>(key.into()) {
        Ok(_) => lock_serve::wake(node, host, key),
        Err(error) => lock_serve::refuse_all(node, host, key, error),
    }
}

fn do_chore<H: Host>(node: &mut Node, host: &mut H, chore: Chore) {
    match chore {
        Chore::TakeBack { grants } => lock_serve::take_back(node, host, grants),
        Chore::Disconnected(connection) => disconnected(node, host, connection),
        Chore::Untied { key, connections } => {
            let stored = host.read::<Lock>((&key).into()).ok().flatten();
            let tied = stored.map_or_else(Vec::new, |stored| stored.state.connections());
            for connection in connections.into_iter().filter(|known| !tied.contains(known)) {
                node.ties.untie(connection, &key);
            }
        }
        Chore::ForgetStrangers => {
            for stranger in node.ties.strangers(node.boot) {
                disconnected(node, host, stranger);
            }
        }
    }
}

fn disconnected<H: Host>(node: &mut Node, host: &mut H, connection: Connection) {
    for key in node.ties.take(connection) {
        lock_serve::disconnected(node, host, &key, connection);
    }
}

/// A client's connection ended. Called from a callback that must not write.
pub fn client_gone(node: &mut Node, client: u64) {
    let connection = Connection {
        boot: node.boot,
        client,
    };
    if node.ties.has(connection) {
        node.chores.push(Chore::Disconnected(connection));
    }
}

/// A waiting client is gone: its wait ends, or what it was granted and not told is taken back. Called from callbacks that must not
/// write.
pub fn waiter_gone(node: &mut Node, id: crate::domain::wait::WaiterId) {
    if let Some(grants) = node.waits.take_untold(id) {
        node.chores.push(Chore::TakeBack {
            grants: grants.into_vec(),
        });
    } else {
        node.drop_wait(id, Unserved::Gone);
    }
}

/// A panic was contained while a command worked on `keys`: the values are checked, their derived indexes made anew, and replicas get
/// them whole, for a change may have been applied and not sent.
pub fn after_panic<H: Host>(node: &mut Node, host: &mut H, service: Option<Service>, keys: &[Key]) {
    node.metrics.panics += 1;
    if let Some(service) = service {
        node.metrics.of_mut(service).panics += 1;
    }
    for key in keys {
        node.count_panic(key.id());
        if let Ok(Some((_, broken))) = host.repair(*key) {
            node.metrics.repairs += u64::from(broken);
        }
    }
}
