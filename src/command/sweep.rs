//! The scheduler's rounds: what is decided because time passed or because something happened outside our commands.

use super::dispatch::note_value;
use super::node::Chore;
use super::schedule::Due;
use super::settings::Setting;
use super::waits::Unserved;
use super::{lock_serve, Host, Node, Ownership, Reply};
use crate::domain::lock::Lock;
use crate::domain::wait::WaiterId;
use crate::domain::{Code, Connection, Entity, Error, KeyId, Millis};

/// How soon a key is looked at again whose slot is on the move, ms.
const UNSURE_MS: Millis = 100;

/// One round. Does at most `sweep-batch-max` pieces of work; what is left is due at once, after other commands had their turn.
///
/// On a replica only what is due at once is looked at, to learn what it means for this process; nothing is decided.
pub fn tick<H: Host>(node: &mut Node, host: &mut H) {
    let now = if node.replica { 0 } else { node.now() };
    node.metrics.sweeps += 1;
    let due_since = node.schedule.next().filter(|next| *next > 0);
    node.metrics.sweep_lag_ms = due_since.map_or(0, |since| now.saturating_sub(since));
    for _ in 0..node.settings.get(Setting::SweepBatchMax) {
        let chore = if node.replica { None } else { node.chores.pop_front() };
        if let Some(chore) = chore {
            do_chore(node, host, chore);
        } else {
            match node.schedule.pop_due(now) {
                Some(Due::Key(key)) => {
                    node.looking_at = Some(key.clone());
                    look_at(node, host, &key);
                    node.looking_at = None;
                }
                Some(Due::Wait(id)) => {
                    if node.drop_wait(id, Unserved::TimedOut) {
                        host.answer(id, Ok(Reply::Nil));
                    }
                }
                None => break,
            }
        }
        host.release_keys();
    }
}

/// When the next round has something to do.
pub fn next_tick(node: &Node) -> Option<Millis> {
    if node.replica {
        return node.schedule.next().filter(|next| *next == 0);
    }
    if node.chores.is_empty() {
        node.schedule.next()
    } else {
        Some(0)
    }
}

fn look_at<H: Host>(node: &mut Node, host: &mut H, key: &KeyId) {
    node.metrics.swept_keys += 1;
    #[cfg(feature = "test-hooks")]
    if node.panics_due > 0 {
        node.panics_due -= 1;
        panic!("LTMC.DEBUG SWEEP was asked for");
    }
    if node.is_waited_for(key.into()) {
        match host.ownership(key.into()) {
            Ownership::Here => {}
            Ownership::Unsure => return node.schedule.look_at(key.clone(), node.now() + UNSURE_MS),
            Ownership::Moved(text) => {
                return lock_serve::refuse_all(node, host, key, Error::new(Code::Moved, text));
            }
        }
    }
    // Only a key of ours, or one that somebody waits for, has anything to decide.
    let usable = node.check_quarantine(key.into()).and_then(|()| host.read::<Lock>(key.into()));
    match usable {
        Ok(found) => {
            // It may have come under this name by RENAME, MOVE or RESTORE.
            if let Some(stored) = found {
                note_value(node, key.into(), stored);
                let connections = stored.state.connections();
                host.keep_expiry::<Lock>(key.into());
                if !node.replica {
                    end_lost_connections(node, host, connections);
                }
            }
            if !node.replica {
                lock_serve::wake(node, host, key);
            }
        }
        Err(error) => lock_serve::refuse_all(node, host, key, error),
    }
}

/// A value that came by RESTORE or RENAME may be tied to connections that ended before it came.
fn end_lost_connections<H: Host>(node: &mut Node, host: &H, connections: Vec<Connection>) {
    let lost = |connection: &Connection| connection.boot != node.boot || !host.is_connected(connection.client);
    let lost: Vec<Chore> = connections.into_iter().filter(lost).map(Chore::Disconnected).collect();
    node.chores.extend(lost);
}

/// Does a chore, or one key's part of it: a connection may be tied to any number of keys.
fn do_chore<H: Host>(node: &mut Node, host: &mut H, chore: Chore) {
    match chore {
        Chore::TakeBack(untold) => lock_serve::take_back(node, host, untold),
        Chore::Disconnected(connection) => {
            if let Some(key) = node.ties.take_one(connection) {
                lock_serve::disconnected(node, host, &key, connection);
                node.chores.push_back(chore);
            }
        }
        Chore::Untied { key, connections } => {
            let stored = host.read::<Lock>((&key).into()).ok().flatten();
            let tied = stored.map_or_else(Vec::new, |stored| stored.state.connections());
            for connection in connections.into_iter().filter(|known| !tied.contains(known)) {
                node.ties.untie(connection, &key);
            }
        }
        Chore::ForgetStrangers => {
            let strangers = node.ties.strangers(node.boot);
            node.chores.extend(strangers.into_iter().map(Chore::Disconnected));
        }
    }
}

/// A client's connection ended. Called from a callback that must not write.
pub fn client_gone(node: &mut Node, client: u64) {
    let connection = Connection { boot: node.boot, client };
    if node.ties.has(connection) {
        node.chores.push_back(Chore::Disconnected(connection));
    }
}

/// A waiting client is gone: its wait ends, or what it was granted and not told is taken back. Called from callbacks that must not
/// write.
pub fn waiter_gone(node: &mut Node, id: WaiterId) {
    match node.waits.take_untold(id) {
        Some(untold) => node.chores.push_back(Chore::TakeBack(untold)),
        None => drop(node.drop_wait(id, Unserved::Gone)),
    }
}
