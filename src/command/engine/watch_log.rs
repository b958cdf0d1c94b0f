//! What watchers are told about a key, from its log of events.

use super::budget::Budget;
use super::endings;
use super::entity_types::with_key_type;
use super::round::Round;
use crate::command::host::{check_here, Host, Key, KeyType, UNSURE_MS};
use crate::command::node::deferred::DeferredWork;
use crate::command::node::waits::UndeliveredGrant;
use crate::command::node::watchers::Watcher;
use crate::command::node::Node;
use crate::command::reply::{Reply, Size};
use crate::domain::entity::event_log::{concerns, Events, Log, Missed};
use crate::domain::queue::rank::WaiterId;
use crate::domain::value::bytes::printable;
use crate::domain::{Entity, Error, KeyId};
use smallvec::SmallVec;

/// Answers a watcher if there is news. A watcher is told that a key is gone only once it is known
/// that the key has not moved.
fn serve<H: Host>(node: &mut Node, host: &mut H, id: WaiterId, round: &mut Round) {
    let Some(watcher) = node.watchers.watchers.get(&id).cloned() else { return };
    round.looks(watcher.keys.iter().map(|(key, _)| 1 + key.name.len() / NAME_BYTES_OF_LOOK).sum());
    if let Some(moving) = first_moving(host, &watcher) {
        // What becomes of this key decides what its watchers are told.
        return node.schedule.look_later(moving.clone(), node.now() + UNSURE_MS, true);
    }
    match report(node, host, &watcher) {
        Ok(Report { reply, has_news: false, is_cut, parsed }) => {
            round.looks(parsed / PARSED_BYTES_OF_LOOK);
            node.watchers.advance(id, &reply);
            if is_cut {
                node.watchers.look_again(id);
            }
        }
        Ok(Report { reply, parsed, .. }) => {
            round.looks(parsed / PARSED_BYTES_OF_LOOK);
            round.sends(&reply);
            node.serve_wait(id, UndeliveredGrant::default(), reply, host);
        }
        Err(error) => node.refuse_wait(id, error, host),
    }
}

/// The first key that a watcher has seen something of and that may be on another node now.
fn first_moving<'a, H: Host>(host: &mut H, watcher: &'a Watcher) -> Option<&'a KeyId> {
    let keys: SmallVec<[Key; 4]> = watcher.keys.iter().map(|(key, _)| Key::from(key)).collect();
    if check_here(host, &keys).is_ok() {
        return None;
    }
    let is_gone = |(key, since): &&(KeyId, u64)| *since > 0 && host.key_type(key.into()) == KeyType::Nothing;
    watcher.keys.iter().find(is_gone).map(|(key, _)| key)
}

/// The same in a round of the scheduler. Returns how much work that was. A key that ends only now,
/// when it is looked at, is told of by the log that it leaves.
pub fn serve_in_round<H: Host>(node: &mut Node, host: &mut H, id: WaiterId) -> usize {
    let mut round = Round::of(node);
    look_and_serve(node, host, id, &mut round);
    round.work()
}

fn look_and_serve<H: Host>(node: &mut Node, host: &mut H, id: WaiterId, round: &mut Round) {
    let Some(watcher) = node.watchers.watchers.get(&id) else { return };
    for (key, _) in &watcher.keys {
        host.key_type(key.into());
    }
    endings::take_in(node, host);
    serve(node, host, id, round);
}

/// Answers the watchers of a key that is about to go, and its log with it: as many as one round has
/// room for. For the others the log is kept.
pub fn serve_key<E: Entity, H: Host>(node: &mut Node, host: &mut H, key: Key) {
    let mut round = Round::of(node);
    for id in node.watchers.of(&key.id()) {
        // A replica's scheduler does not go on with what was begun.
        if round.is_over() && !node.replica {
            let log = host.raw::<E>(key).ok().flatten().and_then(|stored| stored.log().cloned());
            if log.is_some_and(|log| node.watchers.keep_log(&key.id(), Box::new(log))) {
                node.deferred.push_back(DeferredWork::Expired { key: key.id(), estate: None });
            }
            return;
        }
        serve(node, host, id, &mut round);
    }
}

/// Answers the watchers of a key that has gone, from what its log was, as many as one round has
/// room for. Returns how much work that was, and whether these were all.
pub fn serve_last<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) -> (usize, bool) {
    let mut round = Round::of(node);
    if node.watchers.last_log(key).is_some() {
        for id in node.watchers.not_told(key) {
            if round.is_over() {
                return (round.work(), false);
            }
            look_and_serve(node, host, id, &mut round);
            node.watchers.told(key, id);
        }
        node.watchers.drop_log(key);
    }
    (round.work(), true)
}

/// As many bytes of events are parsed in one look.
const PARSED_BYTES_OF_LOOK: usize = 64;
/// As many bytes of the name of a key are compared and copied in one look.
const NAME_BYTES_OF_LOOK: usize = 128;

/// What a watcher is told.
pub struct Report {
    /// Of each key the revision and the events, or that it is too far behind.
    pub reply: Reply,
    /// Whether any of that is news.
    pub has_news: bool,
    /// Whether there are more events that may concern it: so many did not that they could not all
    /// be looked at.
    pub is_cut: bool,
    /// How many bytes of events were parsed.
    pub parsed: usize,
}

/// What a watcher is told of each key.
///
/// If the events of a key do not all fit, the revision is that of the last event before those that
/// do not, so that the watcher can continue from there.
pub fn report<H: Host>(node: &Node, host: &mut H, watcher: &Watcher) -> Result<Report, Error> {
    let (mut replies, mut has_news, mut budget) = (Vec::with_capacity(watcher.keys.len()), false, Budget::of(node));
    for (key, since) in &watcher.keys {
        node.check_quarantine(key.into())?;
        let (revision, mut told) = match last_log(node, host, key, *since) {
            Some(log) => from_log(log.revision(), Some(log), *since, watcher, &mut budget),
            None => look(host, key.into(), *since, watcher, &mut budget)?,
        };
        has_news |= !matches!(&told[..], [Reply::Array(events)] if events.is_empty());
        told.insert(0, Reply::number(revision));
        replies.push(Reply::Array(told));
    }
    let (is_cut, parsed) = (budget.has_parsed_enough(), budget.parsed());
    Ok(Report { reply: Reply::Array(replies), has_news, is_cut, parsed })
}

/// The log of a key that has just ended, for whoever has seen nothing of a later life.
fn last_log<'a, H: Host>(node: &'a Node, host: &mut H, key: &KeyId, since: u64) -> Option<&'a Log> {
    let log = node.watchers.last_log(key).filter(|log| since <= log.revision())?;
    (since > 0 || host.key_type(key.into()) == KeyType::Nothing).then_some(log)
}

/// The revision of a key, and what happened after `since`: the list of events, or `COMPACTED` with
/// the oldest revision that is kept.
pub fn look<H: Host>(
    host: &mut H,
    key: Key,
    since: u64,
    watcher: &Watcher,
    budget: &mut Budget,
) -> Result<(u64, Vec<Reply>), Error> {
    match host.key_type(key) {
        KeyType::Nothing if since == 0 => Ok((0, vec![Reply::Array(Vec::new())])),
        KeyType::Nothing => Ok((0, compacted(0))),
        key_type => with_key_type!(
            key_type,
            E => look_at::<E, H>(host, key, since, watcher, budget),
            else Err(Error::wrong_type())
        ),
    }
}

fn look_at<E: Entity, H: Host>(
    host: &mut H,
    key: Key,
    since: u64,
    watcher: &Watcher,
    budget: &mut Budget,
) -> Result<(u64, Vec<Reply>), Error> {
    if E::WATCH_EVENTS_MAX == 0 {
        let name = printable(key.name);
        return Err(Error::usage(format!("'{name}' is of a type that keeps no log of events: it cannot be watched")));
    }
    let Some(stored) = host.read::<E>(key)? else { return Ok((0, compacted(0))) };
    Ok(from_log(stored.revision, stored.log(), since, watcher, budget))
}

fn from_log(
    mut revision: u64,
    log: Option<&Log>,
    since: u64,
    watcher: &Watcher,
    budget: &mut Budget,
) -> (u64, Vec<Reply>) {
    let told = match log.map(|log| log.after(since)) {
        None => vec![Reply::Array(Vec::new())],
        Some(Missed::Events(events)) => {
            let (told, beyond) = tell(events, watcher, budget);
            revision -= beyond;
            vec![Reply::Array(told)]
        }
        Some(Missed::Compacted(oldest)) => compacted(oldest),
    };
    (revision, told)
}

/// The events that a watcher is told, and how many there are from the first one on that does not
/// fit.
fn tell(mut events: Events, watcher: &Watcher, budget: &mut Budget) -> (Vec<Reply>, u64) {
    let (mut told, mut left) = (Vec::new(), events.size_hint().0 as u64);
    while told.len() < watcher.count {
        let Some(event) = events.next() else { break };
        if watcher.path.is_some() && !budget.parses(event.len()) {
            return (told, left);
        }
        if watcher.path.as_ref().is_none_or(|path| concerns(event, path)) {
            if !budget.takes(Size::value(event.len())) {
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
