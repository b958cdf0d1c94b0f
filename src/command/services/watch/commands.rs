//! `LTMC.WATCH`: what happened to keys since a revision, and waiting for more.
//!
//! It only reads, so it works on replicas, too. A watcher is noted at each of its keys. A change of
//! a key with a log wakes its watchers, and the scheduler answers them in its next round.

use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::engine::watch_log::{look, report, Report};
use crate::command::host::Host;
use crate::command::node::watchers::Watcher;
use crate::command::reply::Reply;
use crate::command::settings::Setting;
use crate::domain::json::Pointer;
use crate::domain::limits::WATCH_KEYS_MAX;
use crate::domain::value::bytes;
use crate::domain::value::bytes::printable;
use crate::domain::{Error, KeyId, Service};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// A revision; `None` for `$`, the current one.
fn parse_revision(args: &mut Args) -> Result<Option<u64>, Error> {
    match args.bytes("revision")? {
        b"$" => Ok(None),
        given => {
            let revision = bytes::parse_u64(given).filter(|since| i64::try_from(*since).is_ok());
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
            "BLOCK" => block_ms = Some(args.millis("BLOCK", 0)?),
            _ => return Err(args.unread(word)),
        }
    }
    if since.is_empty() {
        return Err(args.missing("SINCE"));
    }
    // While the keys are read, only their revisions are needed.
    let count = std::mem::take(&mut watcher.count);
    for (index, since) in (first..first + numkeys).zip(since) {
        let key = cx.key(index);
        if watcher.keys.iter().any(|(known, _)| known.name[..] == *key.name) {
            return Err(Error::usage(format!("the key '{}' is given twice", printable(key.name))));
        }
        let (revision, _) = look(cx.host, key, since.unwrap_or(0), &watcher, &mut Budget::of(cx.node))?;
        watcher.keys.push((key.id(), since.unwrap_or(revision)));
    }
    watcher.count = count;
    let report = report(cx.node, cx.host, &watcher)?;
    match block_ms {
        None => Ok(Outcome::Reply(report.reply)),
        Some(_) if report.has_news => Ok(Outcome::Reply(report.reply)),
        // The client has to go on itself.
        Some(_) if !cx.host.may_block() && report.is_cut => Ok(Outcome::Reply(report.reply)),
        Some(_) if !cx.host.may_block() => Ok(Outcome::Reply(Reply::Nil)),
        Some(block_ms) => wait(cx, watcher, &report, block_ms),
    }
}

fn wait<H: Host>(cx: &mut Cx<H>, watcher: Watcher, report: &Report, block_ms: u64) -> Result<Outcome, Error> {
    let max = cx.node.settings.get(Setting::WatchersMax);
    let watching = |key: &KeyId| cx.node.watchers.by_key.get(key).map_or(0, BTreeSet::len) as u64;
    if watcher.keys.iter().any(|(key, _)| watching(key) >= max) {
        return Err(Error::limit("watchers-max", "one more client watching this key", max));
    }
    let id = cx.node.waits.next_id();
    let keys: SmallVec<[KeyId; 1]> = watcher.keys.iter().map(|(key, _)| key.clone()).collect();
    cx.node.watchers.insert(id, watcher);
    if report.is_cut {
        cx.node.watchers.advance(id, &report.reply);
        cx.node.watchers.look_again(id);
    }
    cx.node.begin_wait(id, Service::Watch, keys, block_ms, None, cx.host);
    Ok(Outcome::Waits)
}
