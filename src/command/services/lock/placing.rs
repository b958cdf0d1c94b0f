//! The place of a client that cannot be served in turn.

use super::serve::{rank, search_in_turns, watch, HostLocks};
use crate::command::engine::cx::Cx;
use crate::command::engine::quotas;
use crate::command::host::Host;
use crate::command::settings::Setting;
use crate::domain::lock::deadlock::search::Search;
use crate::domain::lock::deadlock::{self, Checked};
use crate::domain::lock::queue::LockWaiter;
use crate::domain::lock::Lock;
use crate::domain::queue::rank::Class;
use crate::domain::queues::Queues;
use crate::domain::{Code, Error, Millis, Service};

/// Where a client was placed that could not be served in turn.
pub enum Placed {
    /// Nowhere: it does not want to wait, or may not.
    Nowhere,
    /// In the queue.
    Waits,
    /// Before the only waiters that kept it from the lock, so it need not wait.
    GoesAhead(Box<LockWaiter>),
}

/// Finds a place for a client that cannot be served in turn. `fits` says that it could be served if
/// there were no queue.
///
/// It is refused if waiting would close a cycle. If only the waiters before it in the queue close
/// that cycle, it goes before them, since they cannot move before it does. Where that takes long to
/// find out, it waits meanwhile.
pub fn wait<H: Host>(
    cx: &mut Cx<H>,
    waiter: LockWaiter,
    fits: bool,
    block_ms: Option<Millis>,
) -> Result<Placed, Error> {
    let block_ms = block_ms.filter(|_| cx.host.may_block());
    if block_ms.is_none() && !fits {
        return Ok(Placed::Nowhere);
    }
    let max = cx.node.settings.get(Setting::LockWaitersMax);
    if block_ms.is_some() && waiter.keys.iter().any(|key| cx.node.queues.locks.waiting_for(key) as u64 >= max) {
        return Err(Error::limit("lock-waiters-max", "one more client waiting for this lock", max));
    }
    let (first, owner) = ((&waiter.keys[0]).into(), &waiter.request.owner);
    let named = waiter.registry.as_ref();
    let principal =
        block_ms.map(|_| quotas::principal::<Lock, H>(cx.node, cx.host, first, named, owner)).transpose()?;
    let id = waiter.rank.waiter();
    let search = match stand_or_go_first(cx, waiter, fits) {
        Ok(Stood::GoesAhead(waiter)) => return Ok(Placed::GoesAhead(waiter)),
        Ok(Stood::InLine) => None,
        Ok(Stood::Unsure(search)) => Some(search),
        Err(_) if block_ms.is_none() => return Ok(Placed::Nowhere),
        Err(error) => {
            if error.code == Code::Deadlock {
                cx.node.metrics.of_mut(Service::Lock).deadlocks += 1;
            }
            return Err(error);
        }
    };
    let Some(block_ms) = block_ms else {
        cx.node.queues.locks.remove(id);
        return Ok(Placed::Nowhere);
    };
    let keys = cx.node.queues.locks.waiter(id).map(|waiter| waiter.keys.clone()).unwrap_or_default();
    cx.node.begin_wait(id, Service::Lock, keys.clone(), block_ms, principal.flatten(), cx.host);
    for key in &keys {
        watch(cx.node, cx.host, key);
    }
    search.into_iter().for_each(|search| search_in_turns(cx.node, search));
    Ok(Placed::Waits)
}

/// How a waiter stands in the queues.
enum Stood {
    /// It closes no cycle.
    InLine,
    /// The search whether it does goes on.
    Unsure(Box<Search>),
    /// It closes none where it goes first, and so it could be taken out and served.
    GoesAhead(Box<LockWaiter>),
}

/// Puts a waiter into the queues, in its turn or before all others. Errs if it could never be
/// served there.
fn stand_or_go_first<H: Host>(cx: &mut Cx<H>, waiter: LockWaiter, fits: bool) -> Result<Stood, Error> {
    let id = waiter.rank.waiter();
    let is_first = waiter.keys.iter().all(|key| cx.node.queues.locks.is_first(key, waiter.rank));
    match stand(cx, waiter.clone()) {
        // Where nobody is before it, it is ahead already.
        Err(error) if error.code == Code::Deadlock && !is_first => {}
        stood => return stood,
    }
    let ahead = LockWaiter { rank: rank(cx.node, Class::Ahead, waiter.priority, id), ..waiter };
    match stand(cx, ahead)? {
        Stood::InLine if fits => {
            let ahead = cx.node.queues.locks.remove(id);
            Ok(ahead.map_or(Stood::InLine, |waiter| Stood::GoesAhead(Box::new(waiter))))
        }
        stood => Ok(stood),
    }
}

/// Puts a waiter into the queues, unless it could never be served there.
fn stand<H: Host>(cx: &mut Cx<H>, waiter: LockWaiter) -> Result<Stood, Error> {
    let (id, now) = (waiter.rank.waiter(), cx.now());
    cx.node.queues.locks.insert(waiter);
    let Queues { locks, searches, .. } = &mut cx.node.queues;
    match deadlock::check(locks, searches, id, &HostLocks::new(cx.host), now) {
        Checked::Free => Ok(Stood::InLine),
        Checked::Unknown(search) => Ok(Stood::Unsure(search)),
        Checked::Refused(error) => {
            cx.node.queues.locks.remove(id);
            Err(error)
        }
    }
}
