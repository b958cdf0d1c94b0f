//! The commands that only read locks.

use super::connections::clients_of;
use super::serve::HostLocks;
use crate::command::engine::args::Args;
use crate::command::engine::budget::Budget;
use crate::command::engine::current::{current, Current};
use crate::command::engine::cx::{Cx, Outcome};
use crate::command::host::{Host, Key};
use crate::command::reply::{Reply, Size};
use crate::domain::limits::LOCK_SHOWN_MAX;
use crate::domain::lock::deadlock::edges::{self, Edge};
use crate::domain::lock::queue::LockWaiter;
use crate::domain::lock::{Grant, Lock, NO_END};
use crate::domain::{Error, Millis};
use ahash::AHashSet;

/// `LTMC.LOCK.CHECK`
pub fn check<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let mut args = Args::new(cx.spec, cx.args);
    args.bytes("key")?;
    let fence = args.fence_or_zero("fence")?;
    args.finish()?;
    let key = cx.key(1);
    let now = cx.now();
    let is_current = cx.host.read::<Lock>(key)?.is_some_and(|stored| stored.state.is_current(fence, now));
    Ok(Outcome::Reply(Reply::Integer(i64::from(is_current))))
}

/// `LTMC.LOCK.INFO`
pub fn info<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let key = cx.key(1);
    let (now, mut budget) = (cx.now(), Budget::of(cx.node));
    let id = key.id();
    let waiting = cx.node.queues.locks.waiting_for(&id) as u64;
    let connected = connected(cx, key)?;
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    if matches!(lock, Current::Initial { .. }) && waiting == 0 {
        return Ok(Outcome::Reply(Reply::Nil));
    }
    let (held, strongest) = lock.in_force(now);
    let connections = |grant: &Grant| clients_of(cx.node, grant).filter(|client| connected.contains(client)).count();
    let holders = budget.list(shown(&lock, now).map(|grant| holder_map(grant, connections(grant), now)));
    let waiters = cx.node.queues.locks.queue(&id).take(LOCK_SHOWN_MAX);
    let waiters = budget.list(waiters.map(|(_, waiter)| waiter_map(waiter, now)));
    Ok(Outcome::Reply(Reply::map([
        ("mode", strongest.map_or(Reply::text("free"), |mode| Reply::text(mode.word()))),
        ("version", Reply::number(lock.version())),
        ("holders_count", Reply::number(held as u64)),
        ("holders", holders),
        ("waiters_count", Reply::number(waiting)),
        ("waiters", waiters),
    ])))
}

/// The grants that are shown: the oldest in force.
fn shown(lock: &Lock, now: Millis) -> impl Iterator<Item = &Grant> {
    lock.grants().iter().filter(move |grant| !grant.is_expired(now)).take(LOCK_SHOWN_MAX)
}

/// Those of the clients that took the shown grants of a lock whose connections are still there.
fn connected<H: Host>(cx: &mut Cx<H>, key: Key) -> Result<AHashSet<u64>, Error> {
    let now = cx.now();
    let lock = current::<Lock, H>(cx.node, cx.host, key)?;
    let mut clients: AHashSet<u64> = shown(&lock, now).flat_map(|grant| clients_of(cx.node, grant)).collect();
    clients.retain(|client| *client > 0 && cx.host.is_connected(*client));
    Ok(clients)
}

fn holder_map(grant: &Grant, connections: usize, now: u64) -> Reply {
    let has_end = grant.ends_at != NO_END;
    let meta = grant.extra.as_ref().and_then(|extra| extra.meta.as_ref());
    Reply::map([
        ("owner", Reply::bytes(&grant.owner)),
        ("mode", Reply::text(grant.mode.word())),
        ("path", Reply::bytes(grant.path().bytes())),
        ("fence", Reply::number(grant.fence)),
        ("levels", Reply::number(grant.levels.into())),
        ("limit", Reply::number(grant.limit().into())),
        ("since_at_ms", Reply::number(grant.since)),
        ("ends_at_ms", if has_end { Reply::number(grant.ends_at) } else { Reply::Nil }),
        ("lease_ms", if has_end { Reply::number(grant.ends_at.saturating_sub(now)) } else { Reply::Nil }),
        ("on_disconnect", Reply::text(if grant.connection().is_some() { "release" } else { "keep" })),
        ("client", grant.connection().map_or(Reply::Nil, |connection| Reply::number(connection.client))),
        ("connections", Reply::number(connections as u64)),
        ("meta", meta.map_or(Reply::Nil, |meta| Reply::bytes(meta))),
    ])
}

fn waiter_map(waiter: &LockWaiter, now: u64) -> Reply {
    Reply::map([
        ("owner", Reply::bytes(&waiter.request.owner)),
        ("mode", Reply::text(waiter.request.mode.word())),
        ("path", Reply::bytes(waiter.request.path.bytes())),
        ("priority", Reply::number(waiter.priority)),
        ("since_at_ms", Reply::number(waiter.since)),
        ("waited_ms", Reply::number(now.saturating_sub(waiter.since))),
        ("keys", Reply::number(waiter.keys.len() as u64)),
        ("converts", Reply::number_or_nil(waiter.converts)),
        ("client", Reply::number(waiter.client)),
    ])
}

/// `LTMC.LOCK.GRAPH`
pub fn graph<H: Host>(cx: &mut Cx<H>) -> Result<Outcome, Error> {
    let (now, mut budget, mut room) = (cx.now(), Budget::of(cx.node), Budget::of(cx.node));
    let fits = |edge: &Edge| room.takes(Size::map(5, edge.waiter.len() + edge.key.name.len() + edge.waits_for.len()));
    let edges = edges::edges(&cx.node.queues.locks, &HostLocks::new(cx.host), now, fits);
    let shown = edges.into_iter().map(|edge| {
        Reply::map([
            ("waiter", Reply::bytes(&edge.waiter)),
            ("key", Reply::bytes(&edge.key.name)),
            ("db", Reply::number(edge.key.db.into())),
            ("waits_for", Reply::bytes(&edge.waits_for)),
            ("kind", Reply::text(if edge.holds { "holder" } else { "queue" })),
        ])
    });
    Ok(Outcome::Reply(budget.list(shown)))
}
