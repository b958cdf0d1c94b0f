//! All waiting clients of this node, by what they wait for. One of the places that
//! name every service.

use super::entity::idempotency::RequestId;
use super::{Error, KeyId, Service};
use crate::domain::cache::queue::FillQueues;
use crate::domain::flow::queue::{CompletionWaiters, TaskWaiters};
use crate::domain::lock::deadlock::search::Searches;
use crate::domain::lock::queue::LockQueues;
use crate::domain::mail::queue::MailQueues;
use crate::domain::queue::rank::WaiterId;
use crate::domain::queue::waiting_lines::{InLine, Lines};
use crate::domain::registry::queue::ClaimQueues;

/// Clients that wait for the same kind of thing.
pub trait Queue {
    /// Whether nobody waits.
    fn is_empty(&self) -> bool;

    /// How many wait for `key`.
    fn waiting_for(&self, key: &KeyId) -> usize;

    /// The waiters for `key`, the first one at the front.
    fn waiters(&self, key: &KeyId) -> Vec<WaiterId>;

    /// The keys that are waited for.
    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_>;

    /// Removes a waiter, if it is in this queue.
    fn remove(&mut self, id: WaiterId);

    /// Whether a waiter can hold up those behind it, who could be served.
    fn holds_up(&self) -> bool {
        false
    }
}

impl<W: InLine> Queue for Lines<W> {
    fn is_empty(&self) -> bool {
        Lines::is_empty(self)
    }

    fn waiting_for(&self, key: &KeyId) -> usize {
        Lines::waiting_for(self, key)
    }

    fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        Lines::waiters(self, key)
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_> {
        Box::new(Lines::keys(self))
    }

    fn remove(&mut self, id: WaiterId) {
        Lines::remove(self, id);
    }
}

impl Queue for LockQueues {
    fn is_empty(&self) -> bool {
        LockQueues::is_empty(self)
    }

    fn waiting_for(&self, key: &KeyId) -> usize {
        LockQueues::waiting_for(self, key)
    }

    fn waiters(&self, key: &KeyId) -> Vec<WaiterId> {
        self.queue(key).map(|(rank, _)| rank.waiter()).collect()
    }

    fn keys(&self) -> Box<dyn Iterator<Item = &KeyId> + '_> {
        Box::new(LockQueues::keys(self))
    }

    fn remove(&mut self, id: WaiterId) {
        LockQueues::remove(self, id);
    }

    fn holds_up(&self) -> bool {
        true
    }
}

/// The queues of a node.
#[derive(Debug, Default)]
pub struct Queues {
    /// Clients that wait for locks.
    pub locks: LockQueues,
    /// The searches for deadlocks that go on while their clients wait.
    pub searches: Searches,
    /// Clients that wait for a claim on an agent.
    pub claims: ClaimQueues,
    /// Clients that wait for an answer of a cache.
    pub fills: FillQueues,
    /// Clients that wait for messages.
    pub mails: MailQueues,
    /// Workers that wait for tasks.
    pub tasks: TaskWaiters,
    /// Clients that wait for the ends of tasks and flows.
    pub completions: CompletionWaiters,
}

impl Queues {
    fn all(&self) -> [(Service, &dyn Queue); 6] {
        [
            (Service::Lock, &self.locks),
            (Service::Registry, &self.claims),
            (Service::Cache, &self.fills),
            (Service::Mail, &self.mails),
            (Service::Flow, &self.tasks),
            (Service::Flow, &self.completions),
        ]
    }

    fn all_mut(&mut self) -> [(Service, &mut dyn Queue); 6] {
        [
            (Service::Lock, &mut self.locks),
            (Service::Registry, &mut self.claims),
            (Service::Cache, &mut self.fills),
            (Service::Mail, &mut self.mails),
            (Service::Flow, &mut self.tasks),
            (Service::Flow, &mut self.completions),
        ]
    }

    fn of(&self, service: Service) -> impl Iterator<Item = &dyn Queue> {
        self.all().into_iter().filter(move |(of, _)| *of == service).map(|(_, queue)| queue)
    }

    /// Whether a waiter waits for a list: of tasks or of messages. If nothing comes, that is empty.
    pub fn is_for_list(&self, id: WaiterId) -> bool {
        self.tasks.waiter(id).is_some() || self.mails.waiter(id).is_some()
    }

    /// Errs if a client waits for `key` with another request of the same owner and id.
    pub fn check_request(&self, key: &KeyId, request: &RequestId) -> Result<(), Error> {
        let locks = self.locks.queue(key).filter_map(|(_, waiter)| waiter.request_id.as_ref());
        let claims = self.claims.requests_on(key).chain(self.tasks.requests_on(key));
        locks.chain(claims).try_for_each(|waiting| request.check_same(waiting))
    }

    /// Whether nobody waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all().into_iter().all(|(_, queue)| queue.is_empty())
    }

    /// Whether a client waits for `key`.
    pub fn is_waited_for(&self, key: &KeyId) -> bool {
        self.all().into_iter().any(|(_, queue)| !queue.is_empty() && queue.waiting_for(key) > 0)
    }

    /// Whether a client waits for what a service has under `key`.
    pub fn waits_for(&self, service: Service, key: &KeyId) -> bool {
        self.of(service).any(|queue| !queue.is_empty() && queue.waiting_for(key) > 0)
    }

    /// The clients that wait for what a service has under `key`.
    pub fn waiters(&self, service: Service, key: &KeyId) -> Vec<WaiterId> {
        self.of(service).flat_map(|queue| queue.waiters(key)).collect()
    }

    /// Whether a waiter for `key` may have been held up by one that came before it.
    pub fn may_be_held_up(&self, key: &KeyId) -> bool {
        self.all().into_iter().any(|(_, queue)| queue.holds_up() && queue.waiting_for(key) > 0)
    }

    /// The keys that are waited for.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.all().into_iter().flat_map(|(_, queue)| queue.keys())
    }

    /// Whether clients wait for what a replica tells them, too.
    pub fn has_replica_waiters(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Removes a client that waits for a service.
    pub fn remove(&mut self, service: Service, id: WaiterId) {
        self.all_mut().into_iter().filter(|(of, _)| *of == service).for_each(|(_, queue)| queue.remove(id));
    }
}
