//! `LTMC.WATCH`: what happened to keys since a revision, and waiting for more.
//!
//! It only reads, so it works on replicas, too. A watcher stands beside each of its keys; what changes a key with a log wakes those who
//! stand there, and the scheduler answers them in its next round.

use super::args::Args;
use super::budget::Budget;
use super::dispatch::{check_here, Cx, Outcome};
use super::settings::Setting;
use super::waits::Untold;
use super::{Host, Key, Kind, Node, Reply, UNSURE_MS};
use crate::domain::buffer::Buffer;
use crate::domain::context::Context;
use crate::domain::flow::Flow;
use crate::domain::id::printable;
use crate::domain::json::Pointer;
use crate::domain::limits::WATCH_KEYS_MAX;
use crate::domain::registry::Registry;
use crate::domain::session::Session;
use crate::domain::wait::WaiterId;
use crate::domain::watch::{concerns, Events, Missed};
use crate::domain::{Entity, Error, KeyId, Service};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};

/// Somebody who watches.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// The keys, each with the last revision that is known.
    keys: SmallVec<[(KeyId, u64); 1]>,
    /// At most so many events of each key at a time.
    count: usize,
    /// Only what concerns this place, if one was named.
    path: Option<Pointer>,
}

/// All who watch on a node.
#[derive(Debug, Default)]
pub struct Watchers {
    watchers: AHashMap<WaiterId, Watcher>,
    by_key: AHashMap<KeyId, BTreeSet<WaiterId>>,
    /// Keys with news, and then those who stand beside them.
    woken_keys: BTreeSet<KeyId>,
    woken: VecDeque<WaiterId>,
}

impl Watchers {
    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Whether somebody watches `key`.
    pub fn is_watched(&self, key: Key) -> bool {
        !self.is_empty() && self.by_key.contains_key(&key.id())
    }

    /// The keys that are watched.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.by_key.keys()
    }

    /// Those who watch `key`.
    pub fn of(&self, key: &KeyId) -> Vec<WaiterId> {
        self.by_key.get(key).into_iter().flatten().copied().collect()
    }

    /// There is news of `key`.
    pub fn wake(&mut self, key: &KeyId) {
        if !self.is_empty() && self.by_key.contains_key(key) {
            self.woken_keys.insert(key.clone());
        }
    }

    /// Whether somebody has to be looked at.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty() || !self.woken_keys.is_empty()
    }

    /// The next one to be looked at.
    pub fn pop_woken(&mut self) -> Option<WaiterId> {
        while self.woken.is_empty() {
            let key = self.woken_keys.pop_first()?;
            self.woken.extend(self.by_key.get(&key).into_iter().flatten());
        }
        self.woken.pop_front()
    }

    fn insert(&mut self, id: WaiterId, watcher: Watcher) {
        for (key, _) in &watcher.keys {
            self.by_key.entry(key.clone()).or_default().insert(id);
        }
        self.watchers.insert(id, watcher);
    }

    /// Somebody was told nothing, since nothing up to here concerns it: it need not be looked at again.
    fn advance(&mut self, id: WaiterId, reply: &Reply) {
        let (Some(watcher), Reply::Array(looked_at)) = (self.watchers.get_mut(&id), reply) else { return };
        for ((_, since), looked_at) in watcher.keys.iter_mut().zip(looked_at) {
            if let Reply::Array(parts) = looked_at {
                if let Some(Reply::Integer(revision)) = parts.first() {
                    *since = (*since).max(u64::try_from(*revision).unwrap_or(0));
                }
            }
        }
    }

    /// Somebody watches no more.
    pub fn remove(&mut self, id: WaiterId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for (key, _) in watcher.keys {
            if let Some(others) = self.by_key.get_mut(&key) {
                others.remove(&id);
                if others.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}

/// A revision; `None` for `$`, which is the current one.
fn parse_revision(args: &mut Args) -> Result<Option<u64>, Error> {
    match args.bytes("revision")? {
        b"$" => Ok(None),
        given => {
            let revision = super::args::parse_u64(given).filter(|since| i64::try_from(*since).is_ok());
            let given = printable(given);
            let wrong = || format!("revision is '{given}', allowed are whole numbers from 0 to {} and $", i64::MAX);
            revision.map(Some).ok_or_else(|| Error::usage(wrong()))
        }
    }
}

/// `LTMC.WATCH`
pub fn watch<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    let first = args.position() + 1;
    let numkeys = args.list("numkeys", 1, WATCH_KEYS_MAX)?.len();
    let mut watcher = Watcher { keys: SmallVec::new(), count: usize::MAX, path: None };
    let (mut since, mut block_ms) = (SmallVec::<[Option<u64>; 1]>::new(), None);
    while let Some(word) = args.option()? {
        match word {
            "SINCE" => since = (0..numkeys).map(|_| parse_revision(&mut args)).collect::<Result<_, _>>()?,
            "COUNT" => watcher.count = args.number("COUNT", 1, u64::from(u32::MAX))? as usize,
            "PATH" => watcher.path = Some(Pointer::parse(args.bytes("PATH")?)?),
            _ => block_ms = Some(args.millis("BLOCK", 0)?),
        }
    }
    if since.is_empty() {
        return Err(args.missing("SINCE"));
    }
    // As long as the keys are read nothing but their revisions is asked for.
    let count = std::mem::take(&mut watcher.count);
    for (index, since) in (first..first + numkeys).zip(since) {
        let key = cx.key(index);
        if watcher.keys.iter().any(|(known, _)| known.name[..] == *key.name) {
            return Err(Error::usage(format!("the key '{}' is given twice", printable(key.name))));
        }
        cx.node.check_quarantine(key)?;
        let (revision, _) = look(cx.host, key, since.unwrap_or(0), &watcher, &mut Budget::of(cx.node))?;
        watcher.keys.push((key.id(), since.unwrap_or(revision)));
    }
    watcher.count = count;
    let (reply, has_news) = report(cx.node, cx.host, &watcher)?;
    match block_ms {
        None => Ok(Outcome::Reply(reply)),
        Some(_) if has_news => Ok(Outcome::Reply(reply)),
        Some(_) if !cx.host.may_block() => Ok(Outcome::Reply(Reply::Nil)),
        Some(block_ms) => wait(cx, watcher, block_ms),
    }
}

fn wait<H: Host>(cx: &mut Cx<H>, watcher: Watcher, block_ms: u64) -> Result<Outcome, Error> {
    let max = cx.node.settings.get(Setting::WatchersMax);
    let watching = |key: &KeyId| cx.node.watchers.by_key.get(key).map_or(0, BTreeSet::len) as u64;
    if watcher.keys.iter().any(|(key, _)| watching(key) >= max) {
        return Err(Error::limit("watchers-max", "one more client watching this key", max));
    }
    let id = cx.node.waits.next_id();
    let keys: SmallVec<[KeyId; 1]> = watcher.keys.iter().map(|(key, _)| key.clone()).collect();
    cx.node.watchers.insert(id, watcher);
    cx.node.begin_wait(id, Service::Watch, keys, block_ms, cx.host);
    Ok(Outcome::Waits)
}

/// Answers a watcher if there is something to tell. That a key is gone is not told before it is known that it has not moved.
pub fn serve<H: Host>(node: &mut Node, host: &mut H, id: WaiterId) {
    let Some(watcher) = node.watchers.watchers.get(&id).cloned() else { return };
    if let Some(moving) = first_moving(host, &watcher) {
        // What becomes of it decides what they are told who watch it.
        return node.schedule.look_later(moving.clone(), node.now() + UNSURE_MS, true);
    }
    match report(node, host, &watcher) {
        Ok((reply, false)) => node.watchers.advance(id, &reply),
        Ok((reply, true)) => node.serve_wait(id, Untold::default(), reply, host),
        Err(error) => node.refuse_wait(id, error, host),
    }
}

/// The first key of which a watcher has seen something and that may be on another node now.
fn first_moving<'a, H: Host>(host: &mut H, watcher: &'a Watcher) -> Option<&'a KeyId> {
    let keys: SmallVec<[Key; 4]> = watcher.keys.iter().map(|(key, _)| Key::from(key)).collect();
    if check_here(host, &keys).is_ok() {
        return None;
    }
    let gone = |(key, since): &&(KeyId, u64)| *since > 0 && host.kind(key.into()) == Kind::Nothing;
    watcher.keys.iter().find(gone).map(|(key, _)| key)
}

/// Answers everyone who watches a key that is about to go, and its log with it.
pub fn serve_key<H: Host>(node: &mut Node, host: &mut H, key: Key) {
    for id in node.watchers.of(&key.id()) {
        serve(node, host, id);
    }
}

/// What a watcher is told: for each key its revision and the events, or that it is too far behind. And whether any of that is news. Of a key
/// whose events do not all fit it is told the revision of the last one before those that do not, so that it can go on from there.
fn report<H: Host>(node: &Node, host: &mut H, watcher: &Watcher) -> Result<(Reply, bool), Error> {
    let (mut replies, mut has_news, mut budget) = (Vec::with_capacity(watcher.keys.len()), false, Budget::of(node));
    for (key, since) in &watcher.keys {
        node.check_quarantine(key.into())?;
        let (revision, mut told) = look(host, key.into(), *since, watcher, &mut budget)?;
        has_news |= !matches!(&told[..], [Reply::Array(events)] if events.is_empty());
        told.insert(0, Reply::number(revision));
        replies.push(Reply::Array(told));
    }
    Ok((Reply::Array(replies), has_news))
}

/// The revision of a key, and what happened after `since`: the list of events, or `COMPACTED` with the oldest revision that is kept.
fn look<H: Host>(
    host: &mut H,
    key: Key,
    since: u64,
    watcher: &Watcher,
    budget: &mut Budget,
) -> Result<(u64, Vec<Reply>), Error> {
    match host.kind(key) {
        Kind::Nothing if since == 0 => Ok((0, vec![Reply::Array(Vec::new())])),
        Kind::Nothing => Ok((0, compacted(0))),
        Kind::Ours(Registry::TYPE_TAG) => look_at::<Registry, H>(host, key, since, watcher, budget),
        Kind::Ours(Context::TYPE_TAG) => look_at::<Context, H>(host, key, since, watcher, budget),
        Kind::Ours(Session::TYPE_TAG) => look_at::<Session, H>(host, key, since, watcher, budget),
        Kind::Ours(Buffer::TYPE_TAG) => look_at::<Buffer, H>(host, key, since, watcher, budget),
        Kind::Ours(Flow::TYPE_TAG) => look_at::<Flow, H>(host, key, since, watcher, budget),
        Kind::Ours(_) => {
            let text =
                format!("'{}' is of a type that keeps no log of events: it cannot be watched", printable(key.name));
            Err(Error::usage(text))
        }
        Kind::Foreign => Err(Error::wrong_type()),
    }
}

fn look_at<E: Entity, H: Host>(
    host: &mut H,
    key: Key,
    since: u64,
    watcher: &Watcher,
    budget: &mut Budget,
) -> Result<(u64, Vec<Reply>), Error> {
    let Some(stored) = host.read::<E>(key)? else { return Ok((0, compacted(0))) };
    let mut revision = stored.revision;
    let told = match stored.log().map(|log| log.after(since)) {
        None => vec![Reply::Array(Vec::new())],
        Some(Missed::Events(events)) => {
            let (told, beyond) = tell(events, watcher, budget);
            revision -= beyond;
            vec![Reply::Array(told)]
        }
        Some(Missed::Compacted(oldest)) => compacted(oldest),
    };
    Ok((revision, told))
}

/// The events that a watcher is told, and how many there are from the first on that does not fit.
fn tell(mut events: Events, watcher: &Watcher, budget: &mut Budget) -> (Vec<Reply>, u64) {
    let (mut told, mut left) = (Vec::new(), events.size_hint().0 as u64);
    while told.len() < watcher.count {
        let Some(event) = events.next() else { break };
        if watcher.path.as_ref().is_none_or(|path| concerns(event, path)) {
            if !budget.takes(event.len()) {
                return (told, left);
            }
            told.push(Reply::bytes(event.as_bytes()));
        }
        left -= 1;
    }
    (told, 0)
}

fn compacted(oldest: u64) -> Vec<Reply> {
    vec![Reply::text("COMPACTED"), Reply::number(oldest)]
}
