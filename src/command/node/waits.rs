//! Clients that wait, whatever they wait for.
//!
//! A wait begins in a command that finds nothing to give, and ends exactly once: it is served, its time limit comes, `CLIENT UNBLOCK`
//! or `CLIENT KILL` ends it, its client goes, or its key moves to another node. The service keeps its own queue; this is what all
//! queues have in common.

use super::Node;
use crate::command::host::{Host, Key};
use crate::command::reply::Reply;
use crate::domain::queue::rank::WaiterId;
use crate::domain::{Bytes, Error, Fence, KeyId, Millis, Service};
use crate::observe::trace::{Base, Stage};
use ahash::AHashMap;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// How often a node of a cluster makes sure that a key which clients wait for is still its own, ms.
pub const OWNERSHIP_MS: Millis = 1000;

/// A client that waits.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Which service keeps it in a queue.
    pub service: Service,
    /// The keys it waits for.
    pub keys: SmallVec<[KeyId; 1]>,
    /// The server's id of the client.
    pub client: u64,
    /// Since when, unix microseconds.
    pub since_us: u64,
    /// Until when, unix ms; 0 without limit.
    pub deadline: Millis,
}

/// What a waiter got, in case it turns out that nobody is there to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndeliveredGrant {
    /// The keys with the fences that were granted.
    pub grants: SmallVec<[(KeyId, Fence); 1]>,
    /// The `REQID` under which the answer is remembered.
    pub request_id: Option<Bytes>,
}

/// All waits of a node.
#[derive(Debug, Default)]
pub struct Waits {
    waits: AHashMap<WaiterId, Wait>,
    /// The same by service, in the order in which they began.
    of_service: [BTreeSet<WaiterId>; Service::ALL.len()],
    /// Who was served in this tick and may not have been told yet, with what it got.
    undelivered: AHashMap<WaiterId, (Service, UndeliveredGrant)>,
    last_id: u64,
}

impl Waits {
    /// A new name for a waiter.
    pub fn next_id(&mut self) -> WaiterId {
        self.last_id += 1;
        WaiterId(self.last_id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// How many wait for a service, and since when the first of them, unix microseconds.
    pub fn of(&self, service: Service) -> (usize, Option<u64>) {
        let ids = &self.of_service[service as usize];
        let first = ids.first().and_then(|id| self.waits.get(id));
        (ids.len(), first.map(|wait| wait.since_us))
    }

    fn insert(&mut self, id: WaiterId, wait: Wait) {
        self.of_service[wait.service as usize].insert(id);
        self.waits.insert(id, wait);
    }

    fn remove(&mut self, id: WaiterId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        self.of_service[wait.service as usize].remove(&id);
        Some(wait)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// The waiter has been told.
    pub fn told(&mut self, id: WaiterId) {
        self.undelivered.remove(&id);
    }

    /// The waiter is gone without having been told: what it got of which service, if it got something.
    pub fn take_undelivered(&mut self, id: WaiterId) -> Option<(Service, UndeliveredGrant)> {
        self.undelivered.remove(&id)
    }
}

/// How a wait ended without being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unserved {
    /// Its time limit came, or `CLIENT UNBLOCK` said so.
    TimedOut,
    /// The client is gone or was unblocked with an error.
    Gone,
    /// It was refused after it had begun: a deadlock, a wrong type, another node.
    Refused,
}

impl Node {
    /// Begins the wait `id`; the service has put it into its queue.
    pub fn begin_wait(
        &mut self,
        id: WaiterId,
        service: Service,
        keys: SmallVec<[KeyId; 1]>,
        block_ms: Millis,
        host: &mut impl Host,
    ) {
        let now = self.now();
        let deadline = if block_ms == 0 { 0 } else { now.saturating_add(block_ms) };
        if deadline > 0 {
            self.schedule.limit_wait(id, deadline);
        }
        if host.is_clustered() {
            keys.iter().for_each(|key| self.schedule.check_owner(key.clone(), now + OWNERSHIP_MS));
        }
        self.metrics.of_mut(service).waits += 1;
        let (client, since_us) = (host.client(), self.clock.now_us());
        self.waits.insert(id, Wait { service, keys, client, since_us, deadline });
        host.block(id);
    }

    fn forget_wait(&mut self, id: WaiterId) -> Option<Wait> {
        let wait = self.waits.remove(id)?;
        if wait.deadline > 0 {
            self.schedule.forget_wait(id, wait.deadline);
        }
        match wait.service {
            Service::Registry => drop(self.claims.remove(id)),
            Service::Lock => drop(self.locks.remove(id)),
            Service::Cache => drop(self.fills.remove(id)),
            Service::Watch => self.watchers.remove(id),
            Service::Mail => drop(self.mails.remove(id)),
            Service::Flow => {
                self.task_waiters.remove(id);
                self.completion_waiters.remove(id);
            }
            Service::Context | Service::Session | Service::Buffer => {}
        }
        Some(wait)
    }

    /// Ends the wait `id` with what it waited for.
    pub fn serve_wait(&mut self, id: WaiterId, undelivered: UndeliveredGrant, reply: Reply, host: &mut impl Host) {
        self.serving(|node| {
            let Some(wait) = node.forget_wait(id) else { return };
            node.trace_woken(&wait);
            let metrics = node.metrics.of_mut(wait.service);
            metrics.served += 1;
            metrics.wait_us.record(node.clock.now_us().saturating_sub(wait.since_us));
            node.waits.undelivered.insert(id, (wait.service, undelivered));
            host.answer(id, Ok(reply));
        });
    }

    /// Lets `serve` serve those who wait; the trace is told.
    pub fn serving<T>(&mut self, serve: impl FnOnce(&mut Self) -> T) -> T {
        self.following(Stage::Wake, serve)
    }

    /// Does what follows from what was asked for; the trace is told.
    pub fn following<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.trace.rebase(Base { stage, follows: true });
        let done = work(self);
        self.trace.rebase(before);
        done
    }

    fn trace_woken(&mut self, wait: &Wait) {
        if let Some(key) = wait.keys.first() {
            self.trace.woken(wait.client, &key.name);
        }
    }

    /// Tells the trace who watches `key`: they are looked at in the scheduler's next round.
    pub fn trace_watchers(&mut self, key: Key) {
        if self.trace.is_open() {
            let watching = self.watchers.of(&key.id()).into_iter().filter_map(|id| self.waits.waits.get(&id));
            watching.for_each(|wait| self.trace.woken(wait.client, key.name));
        }
    }

    /// Ends the wait `id` with an error.
    pub fn refuse_wait(&mut self, id: WaiterId, error: Error, host: &mut impl Host) {
        if self.drop_wait(id, Unserved::Refused) {
            host.answer(id, Err(error));
        }
    }

    /// Ends these waits with an error: nobody can be served on their key any more.
    pub fn refuse_waits(&mut self, ids: Vec<WaiterId>, error: &Error, host: &mut impl Host) {
        ids.into_iter().for_each(|id| self.refuse_wait(id, error.clone(), host));
    }

    /// Ends the wait `id` unserved. It may have been the one that held up others, so its keys are looked at soon: the caller may be
    /// a callback that must not write. False if nobody waits under this id.
    pub fn drop_wait(&mut self, id: WaiterId, how: Unserved) -> bool {
        let Some(wait) = self.forget_wait(id) else {
            return false;
        };
        let metrics = self.metrics.of_mut(wait.service);
        match how {
            Unserved::TimedOut => metrics.timeouts += 1,
            Unserved::Gone => metrics.cancelled += 1,
            Unserved::Refused => self.trace_woken(&wait),
        }
        for key in wait.keys {
            if self.locks.waiting_for(&key) > 0 {
                self.look_at_soon(key);
            }
        }
        true
    }
}
