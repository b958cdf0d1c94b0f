//! The one way that every command and every change goes: check, run, replicate, apply, notify, count.

use super::args::Args;
use super::keys::{check_access, positions};
use super::repair::{count_panic_on, repair, service_at};
use super::settings::Settings;
use super::spec::Command;
use super::{trace, Host, Key, Node, Ownership, Reply};
use crate::domain::id::{acts_as, printable};
use crate::domain::limits::ID_BYTES_MAX;
use crate::domain::service::HANDED_IN_NUMBER_MAX;
use crate::domain::{Blob, Bytes, Change, Code, Connection, Entity, Error, Event, KeyId, Millis, Service, Stored};
use crate::observe::trace::Stage;
use smallvec::SmallVec;

/// Who may run this may take from others what they hold, so naming an agent is no claim to be it.
const TAKES_FROM_OTHERS: &str = "LTMC.LOCK.BREAK";

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
        debug_assert!(
            Args::new(self.spec, self.args).is_key(index),
            "{} uses argument {index} as a key and does not declare it",
            self.spec.name
        );
        Key { db: self.db, name: self.args[index], arg: index }
    }

    /// Argument `index` as a value to keep.
    pub fn blob(&mut self, index: usize) -> Blob {
        self.host.take_blob(index, self.args[index])
    }

    /// The time of this command, unix ms.
    pub fn now(&self) -> Millis {
        self.node.now()
    }

    /// Reads the id of the owner or agent that the caller acts as. With `bind-agent-to-user` it has to belong to the ACL user.
    pub fn actor<'b>(&self, args: &mut Args<'b>, name: &str) -> Result<&'b [u8], Error> {
        let id = args.id(name)?;
        self.check_actor(id).map(|()| id)
    }

    /// Errs if the caller may not act as `id`.
    pub fn check_actor(&self, id: &[u8]) -> Result<(), Error> {
        self.bound_to().map_or(Ok(()), |user| check_name(&user, id))
    }

    /// The ACL user whose name the caller is bound to, if it is to any.
    fn bound_to(&self) -> Option<Vec<u8>> {
        self.node.settings.agents_are_bound().then(|| self.host.user()).flatten()
    }

    /// Who acts where naming anybody is up to the caller: who it says it is, else its ACL user if it is bound to that name. Empty if it is
    /// not: that is also who may take from others, by `LTMC.LOCK.BREAK`, what they hold in any of the keys.
    pub fn acting(&self, said: Option<&[u8]>) -> Result<Bytes, Error> {
        match (self.bound_to().filter(|_| !self.takes_from_others()), said) {
            (None, said) => Ok(said.map_or(Bytes::EMPTY, Bytes::from)),
            (Some(user), Some(said)) => check_name(&user, said).map(|()| Bytes::from(said)),
            (Some(user), None) if (1..=ID_BYTES_MAX).contains(&user.len()) => Ok(Bytes::from(&user[..])),
            (Some(user), None) => {
                let text = format!("the user's name is {} bytes long, an agent's is 1 to {ID_BYTES_MAX}", user.len());
                Err(Error::new(Code::Denied, text))
            }
        }
    }

    fn takes_from_others(&self) -> bool {
        let keys = positions(self.spec, self.args);
        keys.into_iter().all(|(at, _)| self.host.may_run(TAKES_FROM_OTHERS, self.key(at)))
    }
}

fn check_name(user: &[u8], id: &[u8]) -> Result<(), Error> {
    if acts_as(user, id) {
        return Ok(());
    }
    let (id, user) = (printable(id), printable(user));
    let text = format!("user '{user}' may not act as '{id}' (setting ltmc.bind-agent-to-user)");
    Err(Error::new(Code::Denied, text))
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
    trace::begin(cx);
    let outcome = checked(command, cx).and_then(|()| check_access(cx)).and_then(|()| {
        cx.node.trace.at(Stage::Decide);
        (command.run)(cx)
    });
    cx.node.trace.at(Stage::Send);
    if let Some(service) = command.spec.service {
        let metrics = cx.node.metrics.of_mut(service);
        metrics.commands += 1;
        metrics.errors += u64::from(outcome.is_err());
        metrics.rejected += u64::from(matches!(&outcome, Err(error) if error.code == Code::Limit));
    }
    outcome
}

fn checked<H: Host>(command: &Command<H>, cx: &Cx<H>) -> Result<(), Error> {
    let given = cx.args.len() as i32;
    let arity = command.spec.arity;
    if (arity > 0 && given != arity) || given < arity.abs() {
        let text = format!("wrong number of arguments ({}); syntax: {}", given - 1, command.spec.syntax());
        return Err(Error::usage(text));
    }
    let Some(service) = command.spec.service else { return Ok(()) };
    check_enabled(cx.node, service)?;
    if !command.spec.writes() {
        return Ok(());
    }
    if cx.node.replica {
        // A replica with replica-read-only no lets writes through. It must not grant anything all the same.
        return Err(Error::new(Code::ReadOnly, "only the primary decides about locks and other shared state"));
    }
    cx.node.fences.check_left()
}

/// Errs if a service is switched off.
pub fn check_enabled(node: &Node, service: Service) -> Result<(), Error> {
    match Settings::switch_of(service).filter(|switch| node.settings.get(*switch) == 0) {
        None => Ok(()),
        Some(switch) => {
            let text = format!("the {} service is switched off (setting ltmc.{})", service.name(), switch.row().name);
            Err(Error::new(Code::Disabled, text))
        }
    }
}

/// Errs with `TRYAGAIN` if one of these keys is missing and may be on another node, since their slot is on the move. The first is one that the
/// server has checked or that is looked at; the others are opened without an argument that names them.
pub fn check_here<H: Host>(host: &mut H, keys: &[Key]) -> Result<(), Error> {
    match host.presence(keys) {
        Ownership::Unsure => Err(Error::try_again()),
        // What another node serves for good is as good as gone here.
        Ownership::Here | Ownership::Moved(_) => Ok(()),
    }
}

/// Applies one event that was decided.
pub fn commit_one<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, event: E::Event) -> Result<(), Error> {
    commit_changes::<E, H>(node, host, key, &mut [Change::Event(event)])
}

/// Applies the events that were decided.
pub fn commit<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    events: impl IntoIterator<Item = E::Event>,
) -> Result<(), Error> {
    let mut changes: Vec<Change<E::Event>> = events.into_iter().map(Change::Event).collect();
    commit_changes::<E, H>(node, host, key, &mut changes)
}

/// Applies what was decided: the one place where an entity changes by a decision of this node. What is in the changes may be gone then.
pub fn commit_changes<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    if host.read::<E>(key)?.is_none() {
        if E::GIVES_WAY {
            node.yielding.insert(key.id());
        }
        if E::WATCH_EVENTS_MAX > 0 {
            bear::<E, H>(node, host, key)?;
        }
    }
    change_value::<E, H>(node, host, key, changes)?;
    node.trace.at(Stage::Wake);
    tell_watchers::<E, H>(node, host, key, changes);
    node.trace.at(Stage::Notify);
    // What happened is told before the key goes by it, as Redis does: rpop, then del.
    observe::<E, H>(node, host, key, changes);
    host.settle::<E>(key);
    node.hopes.wake(&key.id(), &mut node.schedule);
    node.trace.back();
    Ok(())
}

/// A key with a log comes into being, with revisions above those of its earlier lives.
fn bear<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key) -> Result<(), Error> {
    let revision = node.fences.birth();
    change_value::<E, H>(node, host, key, &mut [Change::Born { revision }])
}

/// Applies an event that only this node hears of. It is not replicated, not notified and not saved: nobody else could see it.
/// `wakes_at` says when the key has to be looked at because of it.
pub fn touch<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    event: E::Event,
    wakes_at: Option<Millis>,
) -> Result<(), Error> {
    debug_assert!(event.is_local() && event.name().is_none(), "{event:?}");
    host.write::<E>(key)?.apply(&Change::Event(event));
    if let Some(when) = wakes_at {
        node.schedule.look_at(key.id(), when);
    }
    Ok(())
}

/// Lets `work` try something on the value of `key`: it takes back every change before it returns.
pub fn try_on<E: Entity, H: Host, T>(host: &mut H, key: Key, work: impl FnOnce(&mut E) -> T) -> Result<T, Error> {
    Ok(work(&mut host.write::<E>(key)?.state))
}

/// Those who watch the key are served in the next round of the scheduler, or at once if the key is about to go, and its log with it.
fn tell_watchers<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<E::Event>]) {
    if E::WATCH_EVENTS_MAX == 0
        || !node.watchers.is_watched(key)
        || changes.iter().all(|change| change.name().is_none())
    {
        return;
    }
    if matches!(host.raw::<E>(key), Ok(Some(stored)) if stored.is_empty()) {
        super::watch::serve_key(node, host, key);
    } else {
        node.watchers.wake(&key.id());
        node.trace_watchers(key);
    }
}

/// Tells the outside what was decided: subscribers, the counters, and whatever else comes to watch (the audit trail).
fn observe<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key, changes: &[Change<E::Event>]) {
    for name in changes.iter().filter_map(Change::name) {
        host.notify(key, name);
        node.metrics.count_event(name);
    }
    node.metrics.of_mut(E::SERVICE).changes += changes.len() as u64;
}

/// Sends changes on and makes them, on a key that was read as one of this type. They are sent first, so that what is in them can go into
/// the value without being copied.
fn change_value<E: Entity, H: Host>(
    node: &mut Node,
    host: &mut H,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    let waited_for = node.is_waited_for(key);
    node.trace.at(Stage::Replicate);
    host.replicate::<E>(key, changes);
    node.trace.at(Stage::Apply);
    node.trace.events(key.db, key.name, changes);
    let stored = host.raw_or_new::<E>(key)?;
    let mut untied: SmallVec<[Connection; 2]> = SmallVec::new();
    for change in changes {
        if let Change::Event(event) = change {
            if let Some(connection) = stored.state.unties(event) {
                untied.push(connection);
            }
        }
        let over = stored.take(change);
        over.iter().for_each(|bond| node.holders.let_go(bond, &key.id()));
        if let Some(fence) = change.fence() {
            node.fences.observe(fence);
        }
        match change {
            Change::Event(event) => {
                event.connection().into_iter().for_each(|connection| node.ties.tie(connection, key.id()));
            }
            Change::Bound(bond) => drop(node.holders.hold(bond, key.id())),
            _ => {}
        }
    }
    if E::WATCH_EVENTS_MAX > 0 {
        node.fences.observe_revision(stored.revision);
    }
    if !untied.is_empty() {
        let tied = stored.state.connections();
        untied.retain(|connection| !tied.contains(connection));
        untied.into_iter().for_each(|connection| node.ties.untie(connection, &key.id()));
    }
    if let Some(when) = stored.state.wakes_at(waited_for) {
        // What is due because of this change is not overdue.
        node.schedule.look_at(key.id(), when.max(node.now()));
    }
    Ok(())
}

/// Applies changes that another node decided or that a file held: to a value that is under suspicion, too, or it would be stale when it is
/// cleared. From a client that is not trusted the result is checked first, and nothing changes if it breaks a rule.
pub fn apply_changes<E: Entity + Clone, H: Host>(
    cx: &mut Cx<H>,
    key: Key,
    changes: &mut [Change<E::Event>],
) -> Result<(), Error> {
    let is_trusted = cx.host.is_trusted();
    let dropped = if is_trusted { drop_changes::<E, H>(cx, key, changes)? } else { 0 };
    let changes = &mut changes[dropped..];
    if dropped > 0 && changes.is_empty() {
        return Ok(());
    }
    let stored = if is_trusted { cx.host.raw::<E>(key)?.map(|stored| &*stored) } else { cx.host.read::<E>(key)? };
    let is_new = stored.is_none();
    if !is_trusted {
        changes.iter().filter_map(Change::fence).try_for_each(|fence| cx.node.fences.check_handed_in(fence))?;
        let mut trial = stored.cloned().unwrap_or_default();
        changes.iter().for_each(|change| drop(trial.apply_unchecked(change)));
        trial.check_loaded().map_err(|broken| Error::usage(format!("payload does not fit this key: {}", broken.0)))?;
        check_handed_in(cx.node, &trial)?;
    }
    if E::GIVES_WAY && is_new {
        cx.node.yielding.insert(key.id());
    }
    change_value::<E, H>(cx.node, cx.host, key, changes)?;
    note_found::<E>(cx.node, key, &mut cx.host.raw_or_new::<E>(key)?.state);
    cx.node.trace.at(Stage::Notify);
    tell_watchers::<E, H>(cx.node, cx.host, key, changes);
    settle_applied::<E, H>(cx, key, changes.len());
    Ok(())
}

/// Changes of a broken value make nothing of it: they are dropped, until a whole value comes or the life of the key is over. How many are.
fn drop_changes<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, changes: &[Change<E::Event>]) -> Result<usize, Error> {
    let Some(stored) = cx.host.raw::<E>(key)?.filter(|stored| stored.is_broken()) else { return Ok(0) };
    let new_life = Change::new_life(changes);
    let count = new_life.unwrap_or(changes.len());
    let are_first = count > 0 && stored.drop_changes(count);
    let shown = shown::<E>(key);
    if new_life.is_some() {
        cx.host.warn(&format!("LTMC: {shown} was broken, and is gone: the key has ended where it was well"));
        cx.host.put(key, Stored::<E>::default())?;
        cx.host.settle::<E>(key);
    } else if are_first {
        cx.host.warn(&format!("LTMC: {shown} is broken, and the changes that come for it are dropped"));
    }
    // They stand in this node's own AOF all the same.
    cx.host.replicate::<E>(key, &changes[..count]);
    cx.node.metrics.dropped += count as u64;
    Ok(count)
}

/// A value in a line of the log.
fn shown<E: Entity>(key: Key) -> String {
    format!("the {} '{}' in database {}", E::TYPE_NAME, printable(key.name), key.db)
}

/// Puts a whole value that another node or a file sent under `key`. A broken one goes into quarantine.
pub fn apply_snapshot<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, mut stored: Stored<E>) -> Result<(), Error> {
    if !cx.host.is_trusted() {
        check_handed_in(cx.node, &stored)?;
    }
    if let Some(fault) = stored.fault() {
        let (shown, text) = (shown::<E>(key), fault.text());
        cx.host.warn(&format!("LTMC: {shown} is broken, and in quarantine: {text}"));
    } else {
        stored.state.loaded(cx.now());
        note_found::<E>(cx.node, key, &mut stored.state);
    }
    cx.host.put(key, stored)?;
    // What was broken is replaced.
    cx.node.quarantine.remove(&key.id());
    if let Some(stored) = cx.host.raw::<E>(key)?.filter(|stored| stored.fault().is_none()) {
        note_value(cx.node, key, stored);
    }
    cx.node.watchers.wake(&key.id());
    cx.host.replicate_snapshot::<E>(key);
    settle_applied::<E, H>(cx, key, 1);
    Ok(())
}

/// Errs if a value that a client hands in would take fences or revisions from this node, or has used up its own numbers.
pub fn check_handed_in<E: Entity>(node: &Node, stored: &Stored<E>) -> Result<(), Error> {
    node.fences.check_handed_in(stored.last_fence())?;
    if E::WATCH_EVENTS_MAX > 0 {
        node.fences.check_revision(stored.revision)?;
    }
    let number = stored.last_number();
    if number <= HANDED_IN_NUMBER_MAX {
        return Ok(());
    }
    Err(Error::usage(format!("payload holds the number {number}, allowed are up to {HANDED_IN_NUMBER_MAX}")))
}

fn settle_applied<E: Entity, H: Host>(cx: &mut Cx<H>, key: Key, changes: usize) {
    cx.node.metrics.of_mut(E::SERVICE).applied += changes as u64;
    cx.host.settle::<E>(key);
    // On a replica nobody is served, but who waits for an end is told of it.
    if cx.node.is_waited_for(key) && (!cx.node.replica || !cx.node.onlookers.is_empty()) {
        cx.node.look_at_soon(key.id());
    }
}

/// Learns what a value means for this process: its fences, deadlines and connections. Called for every value that is loaded.
pub fn note_value<E: Entity>(node: &mut Node, key: Key, stored: &Stored<E>) {
    node.fences.observe(stored.last_fence());
    if E::WATCH_EVENTS_MAX > 0 {
        node.fences.observe_revision(stored.revision);
    }
    for connection in stored.state.connections() {
        node.ties.tie(connection, key.id());
    }
    if E::GIVES_WAY {
        node.yielding.insert(key.id());
    }
    for bond in stored.bonds() {
        if node.holders.hold(bond, key.id()) {
            // It comes from a file, another name or another node: is its agent still there?
            node.ask_for_agents(KeyId::new(key.db, &bond.registry));
        }
    }
    if let Some(when) = stored.state.wakes_at(node.is_waited_for(key)) {
        node.schedule.look_at(key.id(), when);
    }
}

/// A value that comes from a file after a stop without notice is told of that, and looked at soon. To a replica its primary says what
/// it is.
pub fn note_found<E: Entity>(node: &mut Node, key: Key, state: &mut E) {
    if E::RECOVERS && node.recovers && !node.replica {
        state.found();
        node.look_at_soon(key.id());
    }
}

/// A panic was contained while a command worked on `keys`: the values are checked, their derived indexes made anew, and replicas get
/// them whole, for a change may have been applied and not sent.
pub fn after_panic<H: Host>(node: &mut Node, host: &mut H, service: Option<Service>, keys: &[Key]) {
    let looked_at = node.looking_at.take();
    let concerned = || keys.iter().copied().chain(looked_at.as_ref().map(Key::from));
    let blamed = service.or_else(|| concerned().find_map(|key| service_at(host, key)));
    node.count_panic(blamed);
    let mut concerned: Vec<KeyId> = concerned().map(|key| key.id()).collect();
    concerned.sort();
    concerned.dedup();
    for key in concerned {
        count_panic_on(node, host, &key, blamed);
        // If it was the scheduler, the hint is used up; whoever waits for the key must not be forgotten.
        node.look_at_soon(key);
    }
    for key in keys {
        if let Ok(Some(repaired)) = repair(host, *key, true) {
            node.count_repair(&repaired);
        }
    }
    trace::end(node, host, &Err(Error::internal()));
}
